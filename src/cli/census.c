/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/census.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

#define COUNT(n)  COUNT_(n)
#define COUNT_(n) #n

int64_t census_int(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(object, key);

    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

const char *census_str(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s != NULL ? s : "";
}

int64_t census_now_ms(const json_t *census)
{
    return census_int(json_object_get(census, "daemon"), "server_time_usec",
                      0) /
           1000;
}

/* ----------------------------------------------------------------- answers */

/* true: there is an answer of that kind. */
static bool answered(struct census *c, int status, bool right)
{
    if (c->status == 0 && (status != 0 || !right))
        c->status = status != 0 ? status : YOKE_ERR_PROTOCOL;
    return status == 0 && right;
}

/* Numbers as numbers. */
static void set_word(json_t *object, const char *key, size_t key_len,
                     const char *value, size_t len)
{
    char *name = strndup(key, key_len), *text = strndup(value, len), *end;
    long long number;

    if (name == NULL || text == NULL)
        abort();
    number = strtoll(text, &end, 10);
    (void)json_object_set_new(object, name,
                              len > 0 && *end == '\0' ? json_integer(number)
                                                      : json_string(text));
    free(name);
    free(text);
}

/* "name:value" in each line. */
static void on_info(yoke *y, int status, const struct yoke_value *v, void *arg)
{
    struct census *c = arg;
    json_t *daemon = json_object_get(c->json, "daemon");

    (void)y;
    if (!answered(c, status, v != NULL && v->kind == YOKE_STR))
        return;
    for (const char *line = v->s.data; *line != '\0';) {
        size_t len = strcspn(line, "\r\n"), key = strcspn(line, ":\r\n");

        if (key < len && line[0] != '#')
            set_word(daemon, line, key, line + key + 1, len - key - 1);
        line += len;
        line += strspn(line, "\r\n");
    }
}

static json_t *client_json(const char *line, size_t len)
{
    json_t *client = json_object();

    for (size_t at = 0; at < len;) {
        size_t end = at + strcspn(line + at, " \n");
        size_t key = at + strcspn(line + at, "= \n");

        if (key < end)
            set_word(client, line + at, key - at, line + key + 1,
                     end - key - 1);
        at = end + 1;
    }
    return client;
}

/* A line for each, "name=value ..."; of interest are those that work. */
static void on_clients(yoke *y, int status, const struct yoke_value *v,
                       void *arg)
{
    struct census *c = arg;
    json_t *workers = json_object_get(c->json, "workers");

    (void)y;
    if (!answered(c, status, v != NULL && v->kind == YOKE_STR))
        return;
    for (const char *line = v->s.data; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        json_t *client = client_json(line, len);

        if ((census_int(client, "held", 0) > 0 ||
             census_int(client, "wanted", 0) > 0 ||
             strcmp(census_str(client, "cmd"), "fetch") == 0) &&
            json_array_size(workers) < CENSUS_MAX)
            (void)json_array_append(workers, client);
        json_decref(client);
        line += len + (line[len] == '\n');
    }
}

static void add_all(struct census *c, const char *to, int status,
                    const struct yoke_value *v)
{
    if (!answered(c, status, v != NULL && v->kind == YOKE_ARRAY))
        return;
    for (size_t i = 0; i < v->count; i++)
        (void)json_array_append_new(json_object_get(c->json, to),
                                    output_json_value(&v->items[i]));
}

static void on_jobs(yoke *y, int status, const struct yoke_value *v, void *arg)
{
    (void)y;
    add_all(arg, "jobs", status, v);
}

static void on_parked(yoke *y, int status, const struct yoke_value *v,
                      void *arg)
{
    (void)y;
    add_all(arg, "parked", status, v);
}

/* One that was removed meanwhile is not there. */
static void add_one(struct census *c, const char *to, int status,
                    const struct yoke_value *v)
{
    if (status == YOKE_ERR_NOQUEUE || status == YOKE_ERR_NOLIMITER)
        return;
    if (answered(c, status, v != NULL && output_pairs(v) > 0))
        (void)json_array_append_new(json_object_get(c->json, to),
                                    output_json_value(v));
}

static void on_queue(yoke *y, int status, const struct yoke_value *v, void *arg)
{
    (void)y;
    add_one(arg, "queues", status, v);
}

static void on_limiter(yoke *y, int status, const struct yoke_value *v,
                       void *arg)
{
    (void)y;
    add_one(arg, "limiters", status, v);
}

static void sent(struct census *c, int status)
{
    if (c->status == 0)
        c->status = status;
}

/* Asks for each of those that are listed. */
static void ask_each(struct census *c, yoke *y, const char *noun,
                     const char *count, yoke_reply_fn *fn,
                     const struct yoke_value *names)
{
    (void)json_object_set_new(json_object_get(c->json, "counts"), count,
                              json_integer((json_int_t)names->count));
    for (size_t i = 0; i < names->count && i < CENSUS_MAX; i++)
        if (names->items[i].kind == YOKE_STR)
            sent(c, yoke_sendl(y, fn, c, noun, "INFO", names->items[i].s.data,
                               (char *)NULL));
}

static void on_queues(yoke *y, int status, const struct yoke_value *v,
                      void *arg)
{
    if (answered(arg, status, v != NULL && v->kind == YOKE_ARRAY))
        ask_each(arg, y, "QUEUE", "queues", on_queue, v);
}

static void on_limiters(yoke *y, int status, const struct yoke_value *v,
                        void *arg)
{
    if (answered(arg, status, v != NULL && v->kind == YOKE_ARRAY))
        ask_each(arg, y, "LIMITER", "limiters", on_limiter, v);
}

/* ------------------------------------------------------------------- asking */

void census_begin(struct census *c, yoke *y)
{
    static const char *const states[] = {"running", "cancelling", "joining"};

    *c = (struct census){
        .json = json_pack("{s:{}, s:[], s:[], s:[], s:[], s:[], s:{}}",
                          "daemon", "queues", "jobs", "parked", "limiters",
                          "workers", "counts")};
    sent(c, yoke_sendl(y, on_info, c, "INFO", (char *)NULL));
    sent(c, yoke_sendl(y, on_queues, c, "QUEUE", "LIST", (char *)NULL));
    sent(c, yoke_sendl(y, on_limiters, c, "LIMITER", "LIST", (char *)NULL));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        sent(c, yoke_sendl(y, on_jobs, c, "JOBS", "STATE", states[i], "COUNT",
                           COUNT(CENSUS_MAX), (char *)NULL));
    sent(c, yoke_sendl(y, on_parked, c, "JOBS", "STATE", "parked", "COUNT",
                       COUNT(CENSUS_MAX), (char *)NULL));
    sent(c, yoke_sendl(y, on_clients, c, "CLIENT", "LIST", (char *)NULL));
}

/* -------------------------------------------------------------------- rates */

static int64_t ended(const json_t *counts)
{
    return census_int(counts, "ok", 0) + census_int(counts, "failed", 0) +
           census_int(counts, "cancelled", 0);
}

/* By so many in so many ms; null if that cannot be. */
static json_t *rate(int64_t by, int64_t ms)
{
    if (by < 0 || ms <= 0)
        return json_null();
    return json_real((double)(by * 10000 / ms) / 10);
}

/* NULL: there was none of that name. */
static const json_t *named(const json_t *array, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(array, i, one) if (strcmp(census_str(one, "name"),
                                                 name) == 0) return one;
    return NULL;
}

static void queue_rates(json_t *queue, const json_t *before, int64_t ms)
{
    (void)json_object_set_new(queue, "submit_rate",
                              rate(census_int(queue, "submitted", 0) -
                                       census_int(before, "submitted", 0),
                                   before != NULL ? ms : 0));
    (void)json_object_set_new(
        queue, "end_rate",
        rate(ended(queue) - ended(before), before != NULL ? ms : 0));
}

void census_end(struct census *c, const json_t *before)
{
    static const char *const totals[] = {"submitted", "started", "ok", "failed",
                                         "cancelled"};
    const json_t *now = json_object_get(c->json, "daemon");
    const json_t *then = json_object_get(before, "daemon");
    json_t *rates = json_object(), *queue;
    int64_t ms = 0;
    size_t i;

    if (before != NULL &&
        strcmp(census_str(now, "run_id"), census_str(then, "run_id")) == 0)
        ms = census_now_ms(c->json) - census_now_ms(before);
    for (i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
        (void)json_object_set_new(
            rates, totals[i],
            rate(census_int(now, totals[i], 0) - census_int(then, totals[i], 0),
                 ms));
    (void)json_object_set_new(rates, "ended",
                              rate(ended(now) - ended(then), ms));
    (void)json_object_set_new(c->json, "rates", rates);
    json_array_foreach(json_object_get(c->json, "queues"), i, queue)
        queue_rates(
            queue,
            named(json_object_get(before, "queues"), census_str(queue, "name")),
            ms);
}

void census_clear(struct census *c)
{
    json_decref(c->json);
    *c = (struct census){0};
}
