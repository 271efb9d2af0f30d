/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue - the queues: what is in them, their bounds and defaults.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/submission.h"
#include "cli/text.h"

/* A setting of a queue: its option, its word in the protocol, its key. */
#define SETTINGS(X)                                                        \
    X(MAX_JOBS, "max-jobs", "MAX-JOBS", "max_jobs", INTEGER, "N",          \
      "most jobs that wait in it")                                         \
    X(MAX_BYTES, "max-bytes", "MAX-BYTES", "max_bytes", SIZE, "SIZE",      \
      "most bytes of their payloads")                                      \
    X(TIMEOUT, "timeout", "TIMEOUT", "timeout", DURATION, "D",             \
      "most time of one attempt, or none")                                 \
    X(GRACE, "grace", "GRACE", "grace", DURATION, "D",                     \
      "between asking a job to stop and killing it")                       \
    X(RETRY, "retry", "RETRY", "retry", INTEGER, "N",                      \
      "attempts in all when they fail")                                    \
    X(REDELIVER, "redeliver", "REDELIVER", "redeliver", INTEGER, "N",      \
      "attempts that may be lost with their worker")                       \
    X(KEEP, "keep", "KEEP", "keep", DURATION, "D",                         \
      "how long outcomes are kept")                                        \
    X(WAIT, "wait", "WAIT", "wait", DURATION, "D",                         \
      "how long a submit waits for room, or none: for ever")               \
    X(DEAD_KEEP, "dead-keep", "DEAD-KEEP", "dead_keep", DURATION, "D",     \
      "how long failed jobs are kept to be retried")                       \
    X(BACKOFF, "backoff", "BACKOFF", "backoff", PAIR, "D[,CAP]",           \
      "delay before the second attempt, and the longest one")              \
    X(FACTOR, "factor", "FACTOR", "factor", DECIMAL, "F",                  \
      "by how much the delay grows with each attempt")                     \
    X(JITTER, "jitter", "JITTER", "jitter", INTEGER, "PERCENT",            \
      "how much of the delay is up to chance")                             \
    X(RETRY_ON, "retry-on", "RETRY-ON", "retry_on", TEXT, "CLASS[,CLASS]", \
      "errors that are tried again, or none said")                         \
    X(EXPIRES, "expires", "EXPIRES", "expires", DURATION, "D",             \
      "most time that jobs are queued, or none")                           \
    X(PRIORITY, "priority", "PRIORITY", "priority", INTEGER, "0-9",        \
      "of jobs that have none; higher goes first")                         \
    X(FAIR, "fair", "FAIR", "fair", YESNO, "yes|no",                       \
      "whether groups take turns within a priority")

enum setting_kind { INTEGER, SIZE, DURATION, PAIR, DECIMAL, TEXT, YESNO };

#define SETTING_ID(id, option, word, key, kind, value, help) SETTING_##id,
enum { SETTING_NONE = 399, SETTINGS(SETTING_ID) SETTING_END };
#define NSETTINGS (SETTING_END - SETTING_NONE - 1)

#define SETTING_OPTION(id, option, word, key, kind, value, help) \
    {SETTING_##id, option, value, help},
const struct option_row queue_set_options[] = {
    SETTINGS(SETTING_OPTION){0, NULL, NULL, NULL},
};

#define SETTING_ROW(id, option, word, key, kind, value, help) {word, key, kind},
static const struct {
    const char *word, *key;
    enum setting_kind kind;
} settings[] = {SETTINGS(SETTING_ROW)};

enum { OPTION_NOW = 500 };

const struct option_row queue_close_options[] = {
    {OPTION_NOW, "now", NULL,
     "cancel what has not started, and start nothing any more"},
    {0, NULL, NULL, NULL},
};

const struct option_row queue_join_options[] = {
    {'t', "timeout", "D", "most time to wait; then exit with 124"},
    {0, NULL, NULL, NULL},
};

static struct yoke_value *get_info(struct cli *c, yoke *y, const char *name)
{
    struct yoke_value *info = NULL;
    int status = yoke_queue_info(y, name, &info);

    if (status != 0)
        cli_fail(c, y, status, "cannot look at queue '%s'", name);
    return info;
}

static void print_row(struct table *table, const struct yoke_value *info)
{
    const char *state = output_int(info, "closed", 0) != 0   ? "closed"
                        : output_int(info, "paused", 0) != 0 ? "paused"
                                                             : "open";

    table_cell(table, output_str(info, "name"));
    table_cell_color(table, state, output_state_color(state));
    table_cell_int(table, output_int(info, "jobs", 0));
    table_cell_int(table, output_int(info, "running", 0));
    table_cell_int(table, output_int(info, "waiting_producers", 0));
    table_cell_int(table, output_int(info, "waiting_workers", 0));
    table_cell_int(table, output_int(info, "ok", 0));
    table_cell_int(table, output_int(info, "failed", 0));
    table_cell_int(table, output_int(info, "dead", 0));
}

static json_t *list_json(struct cli *c, yoke *y, const struct yoke_value *names)
{
    json_t *array = json_array();

    for (size_t i = 0; i < names->count; i++) {
        struct yoke_value *info = get_info(c, y, names->items[i].s.data);

        (void)json_array_append_new(array, output_json_value(info));
        yoke_value_free(info);
    }
    return array;
}

static void print_list(struct cli *c, yoke *y, const struct yoke_value *names)
{
    static const char *const headings[] = {
        "QUEUE",    "STATE", ">QUEUED", ">RUNNING", ">PRODUCERS",
        ">WORKERS", ">OK",   ">FAILED", ">DEAD",    NULL};
    struct table table;

    table_begin(&table, headings);
    for (size_t i = 0; i < names->count; i++) {
        struct yoke_value *info = get_info(c, y, names->items[i].s.data);

        print_row(&table, info);
        yoke_value_free(info);
    }
    table_end(&table, stdout);
}

int queue_list_main(struct cli *c)
{
    struct yoke_value *names = NULL;
    int status;
    yoke *y;

    options_none(c);
    options_operands(c, 0, 0);
    y = cli_connect(c);
    status = yoke_queue_list(y, &names);
    if (status != 0)
        cli_fail(c, y, status, "cannot list the queues");
    if (c->json)
        output_json(list_json(c, y, names));
    else if (names->count == 0)
        cli_warn("no queues yet; the first submit or 'yoke queue set' makes "
                 "one");
    else
        print_list(c, y, names);
    yoke_value_free(names);
    yoke_close(y);
    return 0;
}

static enum setting_kind kind_of(const char *key)
{
    for (size_t i = 0; i < NSETTINGS; i++)
        if (strcmp(settings[i].key, key) == 0)
            return settings[i].kind;
    if (strcmp(key, "backoff_cap") == 0)
        return PAIR;
    return strcmp(key, "bytes") == 0 ? SIZE : INTEGER;
}

static bool is_yesno(const char *key)
{
    return strcmp(key, "paused") == 0 || strcmp(key, "closed") == 0 ||
           kind_of(key) == YESNO;
}

/* What it means that a setting is not there. */
static const char *without(const char *key)
{
    if (strcmp(key, "wait") == 0)
        return "for ever";
    if (strcmp(key, "retry_on") == 0)
        return "all";
    return "none";
}

static void describe(const char *key, const struct yoke_value *value)
{
    struct text t = {0};

    if (value->kind == YOKE_STR)
        text_adds(&t, value->s.data);
    else if (value->kind != YOKE_INT)
        text_adds(&t, without(key));
    else if (is_yesno(key))
        text_adds(&t, value->i != 0 ? "yes" : "no");
    else if (kind_of(key) == DURATION && value->i < 0)
        text_adds(&t, without(key));
    else if (kind_of(key) == DURATION || kind_of(key) == PAIR)
        output_duration(&t, value->i);
    else if (kind_of(key) == SIZE)
        output_size(&t, value->i);
    else
        text_addf(&t, "%" PRId64, value->i);
    output_field(key, text_str(&t));
    text_clear(&t);
}

int queue_info_main(struct cli *c)
{
    struct yoke_value *info;
    yoke *y;

    options_none(c);
    options_operands(c, 1, 1);
    y = cli_connect(c);
    info = get_info(c, y, c->argv[0]);
    if (c->json)
        output_json(output_json_value(info));
    else
        for (size_t i = 0; i < output_pairs(info); i++)
            describe(info->items[2 * i].s.data, &info->items[2 * i + 1]);
    yoke_value_free(info);
    yoke_close(y);
    return 0;
}

/* The words of one setting in the request. */
struct given {
    size_t count; /* 0: not given */
    const char *words[2];
    char digits[2][24];
};

static void give_number(struct given *g, int64_t n)
{
    (void)snprintf(g->digits[g->count], sizeof(g->digits[0]), "%" PRId64, n);
    g->words[g->count] = g->digits[g->count];
    g->count++;
}

static void give(struct cli *c, enum setting_kind kind, struct given *g)
{
    int64_t milli;

    *g = (struct given){0};
    switch (kind) {
    case INTEGER:
        give_number(g, options_integer(c, 0, INT64_MAX));
        return;
    case SIZE:
        give_number(g, options_size(c));
        return;
    case DURATION:
        give_number(g, strcmp(c->value, "none") == 0 ? YOKE_NONE
                                                     : options_duration(c));
        return;
    case PAIR: {
        struct yoke_submit s;

        submission_backoff(c, &s);
        give_number(g, s.backoff_base_ms);
        give_number(g, s.backoff_cap_ms);
        return;
    }
    case DECIMAL:
        milli = options_thousandths(c, 1, 100);
        (void)snprintf(g->digits[0], sizeof(g->digits[0]),
                       "%" PRId64 ".%03" PRId64, milli / 1000, milli % 1000);
        g->words[g->count++] = g->digits[0];
        return;
    case TEXT:
        g->words[g->count++] = strcmp(c->value, "none") == 0 ? "" : c->value;
        return;
    case YESNO:
        if (strcmp(c->value, "yes") != 0 && strcmp(c->value, "no") != 0)
            cli_usage(c, "--fair: '%s' is not yes or no", c->value);
        give_number(g, strcmp(c->value, "yes") == 0);
        return;
    }
}

int queue_set_main(struct cli *c)
{
    struct given given[NSETTINGS] = {{0}};
    struct yoke_bytes argv[3 + 3 * NSETTINGS] = {{"QUEUE", 5}, {"SET", 3}};
    size_t argc = 3;
    int status, id;
    yoke *y;

    while ((id = options_next(c)) != 0) {
        size_t i = (size_t)(id - SETTING_NONE - 1);

        give(c, settings[i].kind, &given[i]);
    }
    options_operands(c, 1, 1);
    argv[2] = (struct yoke_bytes){c->argv[0], strlen(c->argv[0])};
    for (size_t i = 0; i < NSETTINGS; i++) {
        const struct given *g = &given[i];

        if (g->count == 0)
            continue;
        argv[argc++] =
            (struct yoke_bytes){settings[i].word, strlen(settings[i].word)};
        for (size_t k = 0; k < g->count; k++)
            argv[argc++] =
                (struct yoke_bytes){g->words[k], strlen(g->words[k])};
    }
    y = cli_connect(c);
    status = yoke_command(y, argc, argv, NULL);
    if (status != 0)
        cli_fail(c, y, status, "cannot set queue '%s'", c->argv[0]);
    yoke_close(y);
    return 0;
}

/* The verbs that a queue is told and that say nothing but OK. */
static int tell(struct cli *c, int (*call)(yoke *y, const char *queue))
{
    int status;
    yoke *y;

    options_none(c);
    options_operands(c, 1, 1);
    y = cli_connect(c);
    status = call(y, c->argv[0]);
    if (status != 0)
        cli_fail(c, y, status, "queue '%s'", c->argv[0]);
    yoke_close(y);
    return 0;
}

int queue_pause_main(struct cli *c)
{
    return tell(c, yoke_queue_pause);
}

int queue_resume_main(struct cli *c)
{
    return tell(c, yoke_queue_resume);
}

int queue_open_main(struct cli *c)
{
    return tell(c, yoke_queue_open);
}

int queue_close_main(struct cli *c)
{
    bool now = false;
    int status;
    yoke *y;

    while (options_next(c) != 0)
        now = true;
    options_operands(c, 1, 1);
    y = cli_connect(c);
    status = yoke_queue_close(y, c->argv[0], now);
    if (status != 0)
        cli_fail(c, y, status, "cannot close queue '%s'", c->argv[0]);
    yoke_close(y);
    return 0;
}

/* ------------------------------------------------------- its work's end */

/* What is in the way of a join: it may be for ever. */
static void say_what_holds(yoke *y, const char *queue)
{
    struct yoke_value *info = NULL;

    if (yoke_queue_info(y, queue, &info) != 0)
        return; /* only a help; the join itself has told the failure */
    cli_warn("not everything in queue '%s' has ended: %lld queued, %lld "
             "running%s",
             queue, (long long)output_int(info, "jobs", 0),
             (long long)output_int(info, "running", 0),
             output_int(info, "paused", 0) != 0 ? "; it is paused" : "");
    yoke_value_free(info);
}

static int join(struct cli *c, bool close)
{
    int64_t wait_ms = YOKE_NONE;
    const char *queue;
    int status = 0;
    yoke *y;

    while (options_next(c) != 0)
        wait_ms = options_duration(c);
    options_operands(c, 1, 1);
    queue = c->argv[0];
    y = cli_connect(c);
    if (close)
        status = yoke_queue_close(y, queue, false);
    if (status != 0)
        cli_fail(c, y, status, "cannot close queue '%s'", queue);
    status = yoke_queue_join(y, queue, wait_ms);
    if (status == YOKE_ERR_TIMEOUT)
        say_what_holds(y, queue);
    else if (status != 0)
        cli_fail(c, y, status, "cannot wait for queue '%s'", queue);
    yoke_close(y);
    return status == 0 ? 0 : EXIT_TIMED_OUT;
}

int queue_join_main(struct cli *c)
{
    return join(c, false);
}

int queue_drain_main(struct cli *c)
{
    return join(c, true);
}

int queue_purge_main(struct cli *c)
{
    int64_t purged = 0;
    int status;
    yoke *y;

    options_none(c);
    options_operands(c, 1, 1);
    y = cli_connect(c);
    status = yoke_queue_purge(y, c->argv[0], &purged);
    if (status != 0)
        cli_fail(c, y, status, "cannot purge queue '%s'", c->argv[0]);
    if (c->json)
        output_json(json_pack("{s:I}", "purged", (json_int_t)purged));
    else
        printf("%" PRId64 " cancelled\n", purged);
    yoke_close(y);
    return 0;
}
