/* SPDX-License-Identifier: BSD-2-Clause */
/* worker - fetch jobs, report how they ended, show signs of life. */
#include "client/client.h"

#include <inttypes.h>

/* --------------------------------------------------------------- fetching */

/* ["job", token, queue, payload, map] or ["cancel", token, reason, grace] */
static bool parse_work(struct yoke_work *w, struct yoke_value *v)
{
    const char *kind;

    if (v->kind != YOKE_ARRAY || v->count < 4 || v->items[1].kind != YOKE_STR)
        return false;
    kind = yk_value_text(&v->items[0], "");
    *w = (struct yoke_work){
        .token = v->items[1].s.data,
        .queue = "",
        .name = "",
        .group = "",
        .timeout_ms = YOKE_NONE,
        .deadline_ms = YOKE_NONE,
        .remaining_ms = YOKE_NONE,
    };
    if (strcmp(kind, "cancel") == 0) {
        w->notice = YOKE_NOTICE_CANCEL;
        w->reason = yk_value_text(&v->items[2], "");
        w->grace_ms = yk_value_int(&v->items[3], 0);
        return true;
    }
    if (strcmp(kind, "job") != 0 || v->count < 5 ||
        v->items[3].kind != YOKE_STR || !yk_value_to_map(&v->items[4]))
        return false;
    w->notice = YOKE_NOTICE_JOB;
    w->queue = yk_value_text(&v->items[2], "");
    w->payload = v->items[3].s;
    w->name = yk_map_text(&v->items[4], "name", "");
    w->group = yk_map_text(&v->items[4], "group", "");
    w->attempt = yk_map_int(&v->items[4], "attempt", 1);
    w->timeout_ms = yk_map_int(&v->items[4], "timeout", YOKE_NONE);
    w->deadline_ms = yk_map_int(&v->items[4], "deadline", YOKE_NONE);
    w->remaining_ms = yk_map_int(&v->items[4], "remaining", YOKE_NONE);
    w->grace_ms = yk_map_int(&v->items[4], "grace", 0);
    return true;
}

/* Takes raw, also on failure. */
static int work_list(struct yoke_value *raw, struct yoke_work_list **out)
{
    struct yoke_work_list *w = yk_zalloc(1, sizeof(*w));
    int status = w ? 0 : YOKE_ERR_NOMEM;

    if (w && raw->kind == YOKE_ARRAY && raw->count > 0) {
        w->items = yk_zalloc(raw->count, sizeof(*w->items));
        if (!w->items)
            status = YOKE_ERR_NOMEM;
        for (size_t i = 0; status == 0 && i < raw->count; i++)
            if (!yk_is_end(&raw->items[i]) && /* see await.c */
                !parse_work(&w->items[w->count++], &raw->items[i]))
                status = YOKE_ERR_PROTOCOL;
    } else if (w && raw->kind != YOKE_ARRAY && raw->kind != YOKE_NULL) {
        status = YOKE_ERR_PROTOCOL;
    }
    if (status < 0) {
        if (w)
            free(w->items);
        free(w);
        yoke_value_free(raw);
        return status;
    }
    w->raw = raw;
    *out = w;
    return 0;
}

int yoke_work_parse(const struct yoke_value *reply, struct yoke_work_list **out)
{
    struct yoke_value *copy = reply ? yk_value_copy(reply) : NULL;

    if (!reply)
        return YOKE_ERR_ARGUMENT;
    return copy ? work_list(copy, out) : YOKE_ERR_NOMEM;
}

void yoke_work_free(struct yoke_work_list *w)
{
    if (!w)
        return;
    free(w->items);
    yoke_value_free(w->raw);
    free(w);
}

/* A FETCH that was given up may still bring jobs, which this session would
 * hold for ever. Its reply is in when that of a later request is: true, and
 * what it brought is in *v. */
static int late_reply(yoke *y, struct yoke_value **v)
{
    struct yk_args a;
    int status = 0;

    if (y->kept > 0) {
        yk_args_init(&a, "PING");
        status = yk_call(y, &a, YK_PLAIN, NULL);
    }
    *v = y->late;
    y->late = NULL;
    return *v ? 0 : status;
}

static int fetch(yoke *y, int64_t count, int64_t wait_ms, size_t nqueues,
                 const char *const *queues, struct yoke_value **v)
{
    struct yoke_bytes *argv = yk_zalloc(3 + nqueues, sizeof(*argv));
    char number[24];
    int len, status;

    if (!argv)
        return yk_nomem(y);
    len = snprintf(number, sizeof(number), "%" PRId64, count);
    argv[0] = (struct yoke_bytes){.data = "FETCH", .len = 5};
    argv[1] = (struct yoke_bytes){.data = number, .len = (size_t)len};
    for (size_t i = 0; i < nqueues; i++)
        argv[3 + i] =
            (struct yoke_bytes){.data = queues[i], .len = strlen(queues[i])};
    status = yk_exchange_waiting(y, 3 + nqueues, argv, 2, wait_ms, YK_FETCH, v);
    free(argv);
    return status;
}

int yoke_fetch(yoke *y, int64_t count, int64_t wait_ms, size_t nqueues,
               const char *const *queues, struct yoke_work_list **out)
{
    struct yoke_value *v;
    int status;

    if (count < 0 || wait_ms < YOKE_NONE || wait_ms > INT64_MAX / 4 ||
        (nqueues > 0 && !queues))
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "yoke_fetch takes a count, a wait of 0 or more ms or "
                       "YOKE_NONE, and names of queues");
    y->worker = true;
    if (!y->in_callback)
        yk_await_ask(y);
    status = late_reply(y, &v);
    if (status == 0 && !v)
        status = fetch(y, count, wait_ms, nqueues, queues, &v);
    if (status < 0)
        return status;
    status = work_list(v, out);
    return status < 0 ? yk_parse_failed(y, status, "FETCH") : 0;
}

/* -------------------------------------------------------------- reporting */

static int report_args(yoke *y, struct yk_args *a, const char *verb,
                       const char *token)
{
    if (!token)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "a token is needed");
    yk_args_init(a, verb);
    yk_args_text(a, token);
    return 0;
}

int yoke_done(yoke *y, const char *token, struct yoke_bytes result)
{
    struct yk_args a;
    int status = report_args(y, &a, "DONE", token);

    if (status < 0)
        return status;
    yk_args_bytes(&a, result);
    return yk_call_ok(y, &a);
}

int yoke_fail(yoke *y, const char *token, const char *class_name,
              const char *message, struct yoke_bytes detail)
{
    struct yk_args a;
    int status = report_args(y, &a, "FAIL", token);

    if (status < 0)
        return status;
    if (!class_name)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "an error needs a class");
    yk_args_text(&a, class_name);
    yk_args_text(&a, message ? message : "");
    if (detail.len > 0)
        yk_args_bytes(&a, detail);
    return yk_call_ok(y, &a);
}

int yoke_release(yoke *y, const char *token)
{
    struct yk_args a;
    int status = report_args(y, &a, "RELEASE", token);

    return status < 0 ? status : yk_call_ok(y, &a);
}

int yoke_touch(yoke *y, const char *token, const char *progress,
               struct yoke_touch *out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = report_args(y, &a, "TOUCH", token);

    if (status < 0)
        return status;
    if (progress)
        yk_args_text(&a, progress);
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    if (v->kind != YOKE_ARRAY || v->count < 2)
        return yk_bad_reply(y, "TOUCH", v);
    if (out) {
        out->cancelled = yk_value_int(&v->items[0], 0) != 0;
        out->remaining_ms = yk_value_int(&v->items[1], YOKE_NONE);
        out->grace_ms =
            v->count > 3 ? yk_value_int(&v->items[3], YOKE_NONE) : YOKE_NONE;
    }
    yoke_value_free(v);
    return 0;
}

int yoke_ready(yoke *y, const char *token, struct yoke_bytes value)
{
    struct yk_args a;
    int status = report_args(y, &a, "READY", token);

    if (status < 0)
        return status;
    yk_args_bytes(&a, value);
    return yk_call_ok(y, &a);
}

int yoke_shield(yoke *y, const char *token, int64_t ms, int64_t *granted_ms)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = report_args(y, &a, "SHIELD", token);

    if (status < 0)
        return status;
    yk_args_int(&a, ms);
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    if (v->kind != YOKE_INT)
        return yk_bad_reply(y, "SHIELD", v);
    if (granted_ms)
        *granted_ms = v->i;
    yoke_value_free(v);
    return 0;
}

int yoke_unshield(yoke *y, const char *token)
{
    struct yk_args a;
    int status = report_args(y, &a, "UNSHIELD", token);

    return status < 0 ? status : yk_call_ok(y, &a);
}

int yoke_log(yoke *y, const char *token, int stream, struct yoke_bytes data)
{
    struct yk_args a;
    int status = report_args(y, &a, "LOG", token);

    if (status < 0)
        return status;
    if (stream != 1 && stream != 2)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a stream is 1 (stdout) or 2 (stderr)");
    yk_args_int(&a, stream);
    yk_args_bytes(&a, data);
    return yk_call_ok(y, &a);
}
