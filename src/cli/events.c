/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events - what happens, as it happens: one line each.
 *
 * One handle listens, the other one is asked whether what is to be watched is
 * there, and has not ended while nobody listened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/watch.h"

#define RETRY_MS 500 /* while the daemon is gone */

enum { OPTION_JOB = 800 };

const struct option_row events_options[] = {
    {OPTION_JOB, "job", "ID", "of this job; ends with it"},
    {'g', "group", "ID", "of this group and all below it; ends with it"},
    {'q', "queue", "QUEUE", "of this queue and the jobs in it"},
    {'n', "count", "N", "end after so many events"},
    {'t', "timeout", "D", "end after this time, with 124"},
    {0, NULL, NULL, NULL},
};

struct events {
    struct cli *c;
    struct watch watch;
    char **channels;
    size_t nchannels;
    char **ids; /* of jobs and groups that have not ended */
    size_t nids;
    bool ends; /* when they have: nothing else is watched */
    int64_t left;
    char *last;    /* the text of an event, and ... */
    bool *last_by; /* ... the channels by which it has come */
};

/* ------------------------------------------------------------------ words */

static const char *str(const json_t *event, const char *key)
{
    const char *s = json_string_value(json_object_get(event, key));

    return s != NULL ? s : "";
}

static long long number(const json_t *event, const char *key)
{
    return json_integer_value(json_object_get(event, key));
}

static void add_clean(struct text *t, const char *before, const char *s)
{
    if (s[0] == '\0')
        return;
    text_adds(t, before);
    output_clean(t, s, strlen(s));
}

static void add_error(struct text *t, const json_t *event)
{
    add_clean(t, ": ", str(event, "class"));
    if (strncmp(str(event, "class"), "exit:", 5) != 0) /* says it all */
        add_clean(t, ": ", str(event, "message"));
}

static void add_when(struct text *t, const json_t *event, const char *before)
{
    long long at = number(event, "not_before");

    if (at == 0)
        return;
    text_adds(t, before);
    output_duration(t, at > number(event, "time") ? at - number(event, "time")
                                                  : 0);
}

static void add_cancel(struct text *t, const json_t *event)
{
    const char *reason = str(event, "reason");

    add_clean(t, "", report_reason(reason));
    if (number(event, "shielded") != 0)
        text_adds(t, " (shielded)");
}

static void add_outcome(struct text *t, const json_t *event)
{
    add_clean(t, "", str(event, "outcome"));
    if (strcmp(str(event, "kind"), "group") == 0) {
        text_addf(t, ": %lld ok, %lld failed, %lld cancelled",
                  number(event, "ok"), number(event, "failed"),
                  number(event, "cancelled"));
        return;
    }
    add_error(t, event);
    add_clean(t, ": ", report_reason(str(event, "reason")));
    add_clean(t, ", next is ", str(event, "next"));
}

/* What this event has to say beyond its name. Events that are not known here
 * say nothing. */
static void add_details(struct text *t, const json_t *event)
{
    const char *name = str(event, "event");

    if (strcmp(name, "ended") == 0) {
        add_outcome(t, event);
    } else if (strcmp(name, "cancel") == 0) {
        add_cancel(t, event);
    } else if (strcmp(name, "accepted") == 0) {
        output_size(t, number(event, "payload_bytes"));
        add_when(t, event, ", in ");
    } else if (strcmp(name, "requeued") == 0) {
        add_clean(t, "", str(event, "why"));
        add_error(t, event);
        add_when(t, event, "; again in ");
    } else {
        add_clean(t, "", str(event, "progress"));
        add_clean(t, "", str(event, "value"));
    }
}

static void add_time(struct text *t, long long ms)
{
    time_t when = (time_t)(ms / 1000);
    char line[16] = "";
    struct tm tm;

    if (localtime_r(&when, &tm) != NULL)
        (void)strftime(line, sizeof(line), "%H:%M:%S", &tm);
    text_addf(t, "%8s.%03lld", line, ms % 1000);
}

/* "17:03:22.123  j1m826f93h0000  ended      mail #2 failed: exit:1  (name)" */
static void describe(struct text *t, const json_t *event)
{
    bool is_job = strcmp(str(event, "kind"), "job") == 0;
    struct text more = {0};

    add_time(t, number(event, "time"));
    text_adds(t, "  ");
    output_clean(t, str(event, "id"), strlen(str(event, "id")));
    while (output_width(text_str(t)) < 28)
        text_addc(t, ' ');
    text_adds(t, "  ");
    output_clean(t, str(event, "event"), strlen(str(event, "event")));
    while (output_width(text_str(t)) < 40)
        text_addc(t, ' ');
    if (is_job) {
        add_clean(t, " ", str(event, "queue"));
        if (number(event, "attempt") > 0)
            text_addf(t, " #%lld", number(event, "attempt"));
    }
    add_details(&more, event);
    if (more.len > 0)
        text_addc(t, ' ');
    text_adds(t, text_str(&more));
    if (str(event, "name")[0] != '\0') { /* last: it may be long */
        add_clean(t, "  (", str(event, "name"));
        text_addc(t, ')');
    }
    while (t->len > 0 && t->data[t->len - 1] == ' ')
        t->data[--t->len] = '\0'; /* the event has no more to say */
    text_clear(&more);
}

static void print_line(const json_t *event)
{
    const char *state = strcmp(str(event, "event"), "ended") == 0
                            ? str(event, "outcome")
                            : str(event, "event");
    int columns = output_columns(stdout);
    struct text t = {0};
    char *line;

    describe(&t, event);
    line = columns > 0 ? output_fit(text_str(&t), (size_t)columns)
                       : text_copy(text_str(&t));
    printf("%s%s%s\n", output_color(stdout, output_state_color(state)), line,
           output_color(stdout, COLOR_NONE));
    free(line);
    text_clear(&t);
}

/* ------------------------------------------------------------------ events */

static void has_ended(struct events *e, const char *id)
{
    for (size_t i = 0; i < e->nids; i++) {
        if (strcmp(e->ids[i], id) != 0)
            continue;
        free(e->ids[i]);
        e->ids[i] = e->ids[--e->nids];
        return;
    }
}

/* An event comes once by each of its channels: what reads the same and comes by
 * another one is the same; by the same one it is another, as when the same
 * progress is said twice in one millisecond. */
static bool is_new(struct events *e, const struct yoke_message *m)
{
    bool same = e->last != NULL && strcmp(e->last, m->text.data) == 0;
    size_t by = 0;

    while (by < e->nchannels && strcmp(e->channels[by], m->channel) != 0)
        by++;
    if (by == e->nchannels) /* not asked for, but said */
        return true;
    same = same && !e->last_by[by];
    if (!same) {
        free(e->last);
        e->last = text_copy(m->text.data);
        memset(e->last_by, 0, e->nchannels * sizeof(*e->last_by));
    }
    e->last_by[by] = true;
    return !same;
}

static bool is_over(const struct events *e)
{
    return e->left == 0 || (e->ends && e->nids == 0) || ferror(stdout);
}

static void on_message(yoke *y, const struct yoke_message *m, void *arg)
{
    struct events *e = arg;
    json_t *event;

    (void)y;
    if (is_over(e) || !is_new(e, m))
        return;
    event = json_loadb(m->text.data, m->text.len, 0, NULL);
    if (event == NULL) {
        cli_warn("what came on %s is not JSON", m->channel);
        exit(cli_own_failure(e->c));
    }
    if (e->c->json)
        puts(m->text.data);
    else
        print_line(event);
    if (e->left > 0)
        e->left--;
    if (strcmp(str(event, "event"), "ended") == 0)
        has_ended(e, str(event, "id"));
    json_decref(event);
}

/* ----------------------------------------------------------------- options */

static void watch(struct events *e, const char *kind, const char *name)
{
    struct text t = {0};

    text_addf(&t, "%s:%s", kind, name);
    e->channels = text_grow(e->channels, e->nchannels + 1, sizeof(char *));
    e->channels[e->nchannels++] = text_copy(text_str(&t));
    text_clear(&t);
    if (strcmp(kind, "queue") == 0 || strcmp(name, "root") == 0) {
        e->ends = false;
        return;
    }
    e->ids = text_grow(e->ids, e->nids + 1, sizeof(char *));
    e->ids[e->nids++] = text_copy(name);
}

/* After the subscription: what has ended before will not be told. false: the
 * daemon is gone. */
static bool look(struct events *e)
{
    yoke *y = e->watch.asker;

    for (size_t i = e->nids; i > 0; i--) {
        const char *id = e->ids[i - 1];
        struct yoke_value *v = NULL;
        struct text what = {0};
        int status = cli_is_group(id) ? yoke_commandl(y, &v, "GROUP", "INFO",
                                                      id, (char *)NULL)
                                      : yoke_job_status(y, id, &v);

        if (status != 0) {
            text_addf(&what, "cannot watch %s", id);
            watch_lose(&e->watch, y, status, text_str(&what));
            text_clear(&what);
            return false;
        }
        if (!output_is_null(v, "ended"))
            has_ended(e, id);
        yoke_value_free(v);
    }
    return true;
}

/* Until all is said, or the time is up: that is false. */
static bool listen_until(struct events *e, int64_t until)
{
    bool looked = false;

    for (;;) {
        int64_t rest = until < 0 ? -1 : until - cli_monotonic_ms();

        if (e->watch.asker == NULL)
            looked = false;
        if (!looked && (e->watch.asker != NULL || watch_again(&e->watch)))
            looked = look(e);
        if (is_over(e))
            return true;
        if (until >= 0 && rest <= 0)
            return false;
        (void)fflush(stdout);
        if (!looked && (rest < 0 || rest > RETRY_MS))
            rest = RETRY_MS;
        watch_wait(&e->watch, -1, rest);
    }
}

static void clear(struct events *e)
{
    for (size_t i = 0; i < e->nchannels; i++)
        free(e->channels[i]);
    for (size_t i = 0; i < e->nids; i++)
        free(e->ids[i]);
    free(e->channels);
    free(e->ids);
    free(e->last);
    free(e->last_by);
}

int events_main(struct cli *c)
{
    struct events e = {.c = c, .ends = true, .left = -1};
    int64_t timeout_ms = -1;
    bool said;
    int id;

    while ((id = options_next(c)) != 0) {
        if (id == OPTION_JOB)
            watch(&e, "job", c->value);
        else if (id == 'g')
            watch(&e, "group", c->value);
        else if (id == 'q')
            watch(&e, "queue", c->value);
        else if (id == 'n')
            e.left = options_integer(c, 1, INT64_MAX);
        else
            timeout_ms = options_duration(c);
    }
    options_operands(c, 0, 0);
    if (e.nchannels == 0)
        watch(&e, "group", "root");
    e.last_by = text_grow(NULL, e.nchannels, sizeof(*e.last_by));
    memset(e.last_by, 0, e.nchannels * sizeof(*e.last_by));
    e.watch = (struct watch){.channels = (const char *const *)e.channels,
                             .nchannels = e.nchannels,
                             .told = on_message,
                             .arg = &e};
    watch_begin(&e.watch, c);
    said =
        listen_until(&e, timeout_ms < 0 ? -1 : cli_monotonic_ms() + timeout_ms);
    watch_end(&e.watch);
    clear(&e);
    return said ? 0 : EXIT_TIMED_OUT;
}
