/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command_work - jobs, groups, workers, queues: requests that the core answers.
 */
#include "server/command_internal.h"
#include "wire/id.h"

#define AT(member)      offsetof(struct core_event, u.member)
#define PAGE_COUNT      100
#define TREE_COUNT      1000
#define LOGS_BYTES      65536
#define LOGS_BYTES_MAX  1048576
#define FETCH_COUNT_MAX 10000

static const struct int_range range_number = {0, NUMBER_MAX, ""};
static const struct int_range range_from_one = {1, NUMBER_MAX, ""};
static const struct int_range range_priority = {0, CORE_PRIORITIES - 1, ""};
static const struct int_range range_log_bytes = {1, LOGS_BYTES_MAX, " bytes"};
static const struct int_range range_factor = {CORE_FACTOR_MIN, CORE_FACTOR_MAX,
                                              ""};
static const struct int_range range_percent = {0, 100, " percent"};
static const struct int_range range_stream = {1, 2, ""};
static const struct int_range range_yes_or_no = {0, 1, ""};
static const struct int_range range_permits = {-1, CORE_PERMITS_MAX,
                                               " (-1: no bound)"};
static const struct int_range range_rate = {0, CORE_RATE_MS_MAX, ""};
static const struct int_range range_fetch = {0, FETCH_COUNT_MAX, ""};

static enum command_result step(struct command_call *call,
                                enum core_event_kind kind)
{
    call->event->kind = kind;
    return COMMAND_STEP;
}

/* Numbers count from 1. */
static bool once_ok(struct command_call *call, struct event_once *o)
{
    if (LIKELY(o->number == CORE_UNSET)) {
        o->number = 0;
        return true;
    }
    if (o->number > 0)
        return true;
    refuse(call, "ONCE: the number of a request is at least 1");
    return false;
}

/* --- jobs --------------------------------------------------------------- */

enum command_result handle_submit(struct command_call *call)
{
    static const struct option options[] = {
        {"GROUP", OPTION_MEMBER, AT(submit.group), AT(submit.body), NULL},
        {"NAME", OPTION_LABEL, AT(submit.name), 0, NULL},
        {"KEY", OPTION_KEY, AT(submit.key), 0, NULL},
        {"THEN", OPTION_TEXT, AT(submit.then), 0, NULL},
        {"LIMITS", OPTION_TEXT, AT(submit.limits), 0, NULL},
        {"PRIORITY", OPTION_INT, AT(submit.priority), 0, &range_priority},
        {"TIMEOUT", OPTION_INT, AT(submit.timeout_ms), 0,
         &range_duration_or_none_ms},
        {"DEADLINE", OPTION_INT, AT(submit.deadline_ms), 0, &range_time},
        {"EXPIRES", OPTION_INT, AT(submit.expires_ms), 0,
         &range_duration_or_none_ms},
        {"GRACE", OPTION_INT, AT(submit.grace_ms), 0, &range_duration_ms},
        {"DELAY", OPTION_INT, AT(submit.delay_ms), 0, &range_duration_ms},
        {"AT", OPTION_INT, AT(submit.at_ms), 0, &range_time},
        {"RETRY", OPTION_INT, AT(submit.retry), 0, &range_from_one},
        {"BACKOFF", OPTION_PAIR, AT(submit.backoff_base_ms),
         AT(submit.backoff_cap_ms), &range_duration_ms},
        {"FACTOR", OPTION_DECIMAL, AT(submit.factor_milli), 0, &range_factor},
        {"JITTER", OPTION_INT, AT(submit.jitter), 0, &range_percent},
        {"RETRY-ON", OPTION_TEXT, AT(submit.retry_on), 0, NULL},
        {"REDELIVER", OPTION_INT, AT(submit.redeliver), 0, &range_number},
        {"KEEP", OPTION_INT, AT(submit.keep_ms), 0, &range_duration_ms},
        {"WAIT", OPTION_INT, AT(submit.wait_ms), 0, &range_wait_ms},
        {"ONCE", OPTION_PAIR, AT(submit.once.number), AT(submit.once.open),
         &range_number},
    };
    struct event_submit *s = &call->event->u.submit;

    *s = (struct event_submit){
        .queue = call->argv[1],
        .payload = call->argv[2],
        .priority = CORE_UNSET,
        .timeout_ms = CORE_UNSET,
        .deadline_ms = CORE_UNSET,
        .expires_ms = CORE_UNSET,
        .grace_ms = CORE_UNSET,
        .delay_ms = CORE_UNSET,
        .at_ms = CORE_UNSET,
        .factor_milli = CORE_UNSET,
        .jitter = CORE_UNSET,
        .retry = CORE_UNSET,
        .backoff_base_ms = CORE_UNSET,
        .backoff_cap_ms = CORE_UNSET,
        .redeliver = CORE_UNSET,
        .keep_ms = CORE_UNSET,
        .wait_ms = CORE_UNSET,
        .once.number = CORE_UNSET,
    };
    if (!options_read(call, 3, options, ARRAY_LEN(options)) ||
        !once_ok(call, &s->once))
        return COMMAND_ANSWERED;
    if (UNLIKELY(s->delay_ms != CORE_UNSET && s->at_ms != CORE_UNSET)) {
        refuse(call, "DELAY and AT exclude each other");
        return COMMAND_ANSWERED;
    }
    return step(call, EVENT_SUBMIT);
}

enum command_result handle_status(struct command_call *call)
{
    if (!arg_job(call, call->argv[1], &call->event->u.job.id))
        return COMMAND_ANSWERED;
    return step(call, EVENT_STATUS);
}

enum command_result handle_result(struct command_call *call)
{
    call->event->u.job.wait_ms = 0;
    if (!arg_job(call, call->argv[1], &call->event->u.job.id))
        return COMMAND_ANSWERED;
    return step(call, EVENT_RESULT);
}

enum command_result handle_wait(struct command_call *call)
{
    call->event->u.job.ready = call->argc > 3;
    if (call->argc > 3 && !str_is(call->argv[3], "READY")) {
        refuse(call, "'%.*s' is not READY", WORD(call->argv[3]));
        return COMMAND_ANSWERED;
    }
    if (!arg_job(call, call->argv[1], &call->event->u.job.id) ||
        !arg_int(call, "the time to wait", call->argv[2], &range_wait_ms,
                 &call->event->u.job.wait_ms))
        return COMMAND_ANSWERED;
    return step(call, EVENT_RESULT);
}

/* The id of a job or a group. */
static bool arg_either(struct command_call *call, struct str text, bool *is_job,
                       struct job_id *job, struct group_id *group)
{
    struct id id;

    if (!id_parse(text, &id) || id.attempt || id.kind == ID_SESSION) {
        refuse(call, "'%.*s' is neither the id of a job nor of a group",
               WORD(text));
        return false;
    }
    *is_job = id.kind == ID_JOB;
    if (*is_job)
        job->n = id.n;
    else
        group->n = id.n;
    return true;
}

static enum command_result cancel(struct command_call *call, size_t first)
{
    static const struct option options[] = {
        {"REASON", OPTION_TEXT, AT(cancel.reason), 0, NULL},
        {"GRACE", OPTION_INT, AT(cancel.grace_ms), 0, &range_duration_ms},
    };

    call->event->u.cancel.grace_ms = CORE_UNSET;
    if (!options_read(call, first, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_CANCEL);
}

enum command_result handle_cancel(struct command_call *call)
{
    struct core_event *ev = call->event;

    if (!arg_either(call, call->argv[1], &ev->u.cancel.is_job,
                    &ev->u.cancel.job, &ev->u.cancel.group))
        return COMMAND_ANSWERED;
    return cancel(call, 2);
}

enum command_result handle_reschedule(struct command_call *call)
{
    static const struct option options[] = {
        {"TIMEOUT", OPTION_INT, AT(reschedule.timeout_ms), 0,
         &range_duration_or_none_ms},
        {"DEADLINE", OPTION_INT, AT(reschedule.deadline_ms), 0, &range_time},
        {"EXPIRES", OPTION_INT, AT(reschedule.expires_ms), 0,
         &range_duration_or_none_ms},
        {"AT", OPTION_INT, AT(reschedule.at_ms), 0, &range_time},
    };
    struct core_event *ev = call->event;

    ev->u.reschedule.timeout_ms = CORE_UNSET;
    ev->u.reschedule.deadline_ms = CORE_UNSET;
    ev->u.reschedule.expires_ms = CORE_UNSET;
    ev->u.reschedule.at_ms = CORE_UNSET;
    if (!arg_either(call, call->argv[1], &ev->u.reschedule.is_job,
                    &ev->u.reschedule.job, &ev->u.reschedule.group) ||
        !options_read(call, 2, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_RESCHEDULE);
}

enum command_result handle_logs(struct command_call *call)
{
    static const struct option options[] = {
        {"TIMES", OPTION_FLAG, AT(logs.times), 0, NULL},
        {"COUNT", OPTION_INT, AT(logs.count), 0, &range_log_bytes},
    };
    struct core_event *ev = call->event;

    ev->u.logs.count = LOGS_BYTES;
    if (!arg_either(call, call->argv[1], &ev->u.logs.is_job, &ev->u.logs.job,
                    &ev->u.logs.group) ||
        !arg_int(call, "the cursor", call->argv[2], &range_cursor,
                 &ev->u.logs.cursor) ||
        !arg_int(call, "the time to wait", call->argv[3], &range_wait_ms,
                 &ev->u.logs.wait_ms) ||
        !options_read(call, 4, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_LOGS);
}

enum command_result handle_jobs(struct command_call *call)
{
    static const struct option options[] = {
        {"QUEUE", OPTION_TEXT, AT(jobs.queue), 0, NULL},
        {"STATE", OPTION_TEXT, AT(jobs.state), 0, NULL},
        {"GROUP", OPTION_GROUP, AT(jobs.group), AT(jobs.has_group), NULL},
        {"COUNT", OPTION_INT, AT(jobs.count), 0, &range_count},
    };

    call->event->u.jobs.count = PAGE_COUNT;
    if (!options_read(call, 1, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_JOBS);
}

/* --- groups ------------------------------------------------------------- */

enum command_result handle_group_open(struct command_call *call)
{
    static const struct option options[] = {
        {"PARENT", OPTION_SCOPE, AT(group_open.parent), 0, NULL},
        {"FAIL", OPTION_INT, AT(group_open.fail), 0, &range_number},
        {"SUCCEED", OPTION_INT, AT(group_open.succeed), 0, &range_number},
        {"WIDTH", OPTION_INT, AT(group_open.width), 0, &range_from_one},
        {"TIMEOUT", OPTION_INT, AT(group_open.timeout_ms), 0,
         &range_duration_or_none_ms},
        {"DEADLINE", OPTION_INT, AT(group_open.deadline_ms), 0, &range_time},
        {"KEEP", OPTION_INT, AT(group_open.keep_ms), 0, &range_duration_ms},
        {"NAME", OPTION_LABEL, AT(group_open.name), 0, NULL},
        {"KEY", OPTION_KEY, AT(group_open.key), 0, NULL},
        {"DETACHED", OPTION_FLAG, AT(group_open.detached), 0, NULL},
        {"ONCE", OPTION_PAIR, AT(group_open.once.number),
         AT(group_open.once.open), &range_number},
    };

    call->event->u.group_open = (struct event_group_open){
        .fail = CORE_UNSET,
        .succeed = CORE_UNSET,
        .width = CORE_UNSET,
        .timeout_ms = CORE_UNSET,
        .deadline_ms = CORE_UNSET,
        .keep_ms = CORE_UNSET,
        .once.number = CORE_UNSET,
    };
    if (!options_read(call, 2, options, ARRAY_LEN(options)) ||
        !once_ok(call, &call->event->u.group_open.once))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_OPEN);
}

enum command_result handle_group_close(struct command_call *call)
{
    static const struct option options[] = {
        {"FAIL", OPTION_INT, AT(group.fail), 0, &range_number},
        {"SUCCEED", OPTION_INT, AT(group.succeed), 0, &range_number},
    };
    struct core_event *ev = call->event;

    ev->u.group.fail = ev->u.group.succeed = CORE_UNSET;
    ev->u.group.policy = call->argc > 3;
    if (!arg_group(call, call->argv[2], &ev->u.group.id) ||
        !options_read(call, 3, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_CLOSE);
}

enum command_result handle_group_info(struct command_call *call)
{
    call->event->u.group.wait_ms = CORE_UNSET;
    if (!arg_group(call, call->argv[2], &call->event->u.group.id))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_INFO);
}

enum command_result handle_group_wait(struct command_call *call)
{
    if (!arg_group(call, call->argv[2], &call->event->u.group.id) ||
        !arg_int(call, "the time to wait", call->argv[3], &range_wait_ms,
                 &call->event->u.group.wait_ms))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_INFO);
}

enum command_result handle_group_next(struct command_call *call)
{
    static const struct option options[] = {
        {"COUNT", OPTION_INT, AT(group.count), 0, &range_count},
    };
    struct core_event *ev = call->event;

    ev->u.group.count = PAGE_COUNT;
    if (!arg_group(call, call->argv[2], &ev->u.group.id) ||
        !arg_int(call, "the cursor", call->argv[3], &range_cursor,
                 &ev->u.group.cursor) ||
        !arg_int(call, "the time to wait", call->argv[4], &range_wait_ms,
                 &ev->u.group.wait_ms) ||
        !options_read(call, 5, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_NEXT);
}

enum command_result handle_group_results(struct command_call *call)
{
    static const struct option options[] = {
        {"ERRORS", OPTION_FLAG, AT(group.errors_only), 0, NULL},
        {"COUNT", OPTION_INT, AT(group.count), 0, &range_count},
    };
    struct core_event *ev = call->event;

    ev->u.group.count = PAGE_COUNT;
    if (!arg_group(call, call->argv[2], &ev->u.group.id) ||
        !arg_int(call, "the cursor", call->argv[3], &range_cursor,
                 &ev->u.group.cursor) ||
        !options_read(call, 4, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_RESULTS);
}

enum command_result handle_group_errors(struct command_call *call)
{
    static const struct option options[] = {
        {"CLASS", OPTION_TEXT, AT(errors.classes), 0, NULL},
        {"EXCEPT", OPTION_TEXT, AT(errors.except), 0, NULL},
        {"COUNT", OPTION_INT, AT(errors.count), 0, &range_count},
    };
    struct core_event *ev = call->event;

    ev->u.errors.count = CORE_UNSET;
    ev->u.errors.cursor = call->argv[3];
    if (!arg_either(call, call->argv[2], &ev->u.errors.is_job,
                    &ev->u.errors.job, &ev->u.errors.group) ||
        !options_read(call, 4, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_ERRORS);
}

enum command_result handle_group_cancel(struct command_call *call)
{
    if (!arg_group(call, call->argv[2], &call->event->u.cancel.group))
        return COMMAND_ANSWERED;
    return cancel(call, 3);
}

enum command_result handle_group_tree(struct command_call *call)
{
    static const struct option options[] = {
        {"COUNT", OPTION_INT, AT(group.count), 0, &range_count},
    };
    struct core_event *ev = call->event;
    size_t first = 2;

    ev->u.group.count = TREE_COUNT;
    if (call->argc % 2 == 1) { /* an id and perhaps one option */
        if (!arg_group(call, call->argv[2], &ev->u.group.id))
            return COMMAND_ANSWERED;
        first = 3;
    }
    if (!options_read(call, first, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_GROUP_TREE);
}

/* --- workers ------------------------------------------------------------ */

/* The ids of AWAIT and UNAWAIT. */
static enum command_result ids(struct command_call *call,
                               enum core_event_kind kind)
{
    struct core_id *to = call->server->ids;
    size_t n = call->argc - 1;

    ASSERT(n <= CORE_AWAIT_IDS); /* the row's max sees to it */
    for (size_t i = 0; i < n; i++) {
        struct job_id job = {0};
        struct group_id group = {0};
        bool is_job;

        if (!arg_either(call, call->argv[1 + i], &is_job, &job, &group))
            return COMMAND_ANSWERED;
        if (!is_job && group.n == 0) {
            refuse(call, "the root group never ends");
            return COMMAND_ANSWERED;
        }
        to[i] = (struct core_id){.is_group = !is_job,
                                 .n = is_job ? job.n : group.n};
    }
    call->event->u.await.ids = to;
    call->event->u.await.nids = n;
    return step(call, kind);
}

enum command_result handle_await(struct command_call *call)
{
    return ids(call, EVENT_AWAIT);
}

enum command_result handle_unawait(struct command_call *call)
{
    return ids(call, EVENT_UNAWAIT);
}

/* Splits "queue/bound", or "queue" alone: then the bound is CORE_NONE. No name
 * of a queue has a '/' in it. */
static bool arg_source(struct command_call *call, struct str text,
                       struct str *queue, int64_t *bound)
{
    const char *slash = text.len ? memchr(text.p, '/', text.len) : NULL;
    char what[128];
    struct str number;

    *queue = text;
    *bound = CORE_NONE;
    if (LIKELY(!slash))
        return true;
    queue->len = (size_t)(slash - text.p);
    number = (struct str){slash + 1, text.len - queue->len - 1};
    if (LIKELY(int_within(number, &range_fetch, bound)))
        return true;
    (void)snprintf(what, sizeof(what), "the bound of queue '%.*s'",
                   WORD(*queue));
    return arg_int(call, what, number, &range_fetch, bound);
}

enum command_result handle_fetch(struct command_call *call)
{
    struct core_event *ev = call->event;
    struct str *queues = call->server->queues;
    int64_t *bounds = call->server->bounds;
    size_t n = call->argc - 3;
    bool bounded = false;

    if (!arg_int(call, "the count", call->argv[1], &range_fetch,
                 &ev->u.fetch.count) ||
        !arg_int(call, "the time to wait", call->argv[2], &range_wait_ms,
                 &ev->u.fetch.wait_ms))
        return COMMAND_ANSWERED;
    if (n == 0 && ev->u.fetch.count > 0) {
        refuse(call, "name at least one queue, or a count of 0");
        return COMMAND_ANSWERED;
    }
    ASSERT(n <= CORE_QUEUES_PER_FETCH); /* the row's max sees to it */
    for (size_t i = 0; i < n; i++) {
        if (!arg_source(call, call->argv[3 + i], &queues[i], &bounds[i]))
            return COMMAND_ANSWERED;
        bounded = bounded || bounds[i] != CORE_NONE;
    }
    ev->u.fetch.queues = queues;
    ev->u.fetch.bounds = bounded ? bounds : NULL;
    ev->u.fetch.nqueues = n;
    return step(call, EVENT_FETCH);
}

/* Reports: the token first, then what the command says about it. */
static bool report(struct command_call *call)
{
    return arg_token(call, call->argv[1], &call->event->u.report.token);
}

enum command_result handle_done(struct command_call *call)
{
    if (!report(call))
        return COMMAND_ANSWERED;
    if (call->argc > 2)
        call->event->u.report.result = call->argv[2];
    return step(call, EVENT_DONE);
}

enum command_result handle_fail(struct command_call *call)
{
    if (!report(call))
        return COMMAND_ANSWERED;
    call->event->u.report.class = call->argv[2];
    call->event->u.report.message = call->argv[3];
    if (call->argc > 4)
        call->event->u.report.detail = call->argv[4];
    return step(call, EVENT_FAIL);
}

enum command_result handle_release(struct command_call *call)
{
    return report(call) ? step(call, EVENT_RELEASE) : COMMAND_ANSWERED;
}

enum command_result handle_touch(struct command_call *call)
{
    if (!report(call))
        return COMMAND_ANSWERED;
    if (call->argc > 2)
        call->event->u.report.progress = call->argv[2];
    return step(call, EVENT_TOUCH);
}

enum command_result handle_ready(struct command_call *call)
{
    if (!report(call))
        return COMMAND_ANSWERED;
    call->event->u.report.value = call->argv[2];
    return step(call, EVENT_READY);
}

enum command_result handle_shield(struct command_call *call)
{
    if (!report(call) ||
        !arg_int(call, "the time", call->argv[2], &range_duration_ms,
                 &call->event->u.report.shield_ms))
        return COMMAND_ANSWERED;
    return step(call, EVENT_SHIELD);
}

enum command_result handle_unshield(struct command_call *call)
{
    return report(call) ? step(call, EVENT_UNSHIELD) : COMMAND_ANSWERED;
}

enum command_result handle_log(struct command_call *call)
{
    if (!report(call) || !arg_int(call, "the stream", call->argv[2],
                                  &range_stream, &call->event->u.report.stream))
        return COMMAND_ANSWERED;
    call->event->u.report.data = call->argv[3];
    return step(call, EVENT_LOG);
}

/* --- queues ------------------------------------------------------------- */

enum command_result handle_queue_list(struct command_call *call)
{
    return step(call, EVENT_QUEUE_LIST);
}

enum command_result handle_queue_info(struct command_call *call)
{
    call->event->u.queue.name = call->argv[2];
    return step(call, EVENT_QUEUE_INFO);
}

enum command_result handle_queue_set(struct command_call *call)
{
    static const struct option options[] = {
        {"MAX-JOBS", OPTION_INT, AT(queue.settings.max_jobs), 0,
         &range_from_one},
        {"MAX-BYTES", OPTION_INT, AT(queue.settings.max_bytes), 0,
         &range_from_one},
        {"TIMEOUT", OPTION_INT, AT(queue.settings.timeout_ms), 0,
         &range_duration_or_none_ms},
        {"GRACE", OPTION_INT, AT(queue.settings.grace_ms), 0,
         &range_duration_ms},
        {"RETRY", OPTION_INT, AT(queue.settings.retry), 0, &range_from_one},
        {"REDELIVER", OPTION_INT, AT(queue.settings.redeliver), 0,
         &range_number},
        {"KEEP", OPTION_INT, AT(queue.settings.keep_ms), 0, &range_duration_ms},
        {"WAIT", OPTION_INT, AT(queue.settings.wait_ms), 0, &range_wait_ms},
        {"DEAD-KEEP", OPTION_INT, AT(queue.settings.dead_keep_ms), 0,
         &range_duration_ms},
        {"BACKOFF", OPTION_PAIR, AT(queue.settings.backoff_base_ms),
         AT(queue.settings.backoff_cap_ms), &range_duration_ms},
        {"FACTOR", OPTION_DECIMAL, AT(queue.settings.factor_milli), 0,
         &range_factor},
        {"JITTER", OPTION_INT, AT(queue.settings.jitter), 0, &range_percent},
        {"RETRY-ON", OPTION_TEXT, AT(queue.settings.retry_on), 0, NULL},
        {"EXPIRES", OPTION_INT, AT(queue.settings.expires_ms), 0,
         &range_duration_or_none_ms},
        {"PRIORITY", OPTION_INT, AT(queue.settings.priority), 0,
         &range_priority},
        {"FAIR", OPTION_INT, AT(queue.settings.fair), 0, &range_yes_or_no},
    };

    call->event->u.queue.name = call->argv[2];
    core_settings_unset(&call->event->u.queue.settings);
    if (!options_read(call, 3, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_QUEUE_SET);
}

static enum command_result pause_queue(struct command_call *call, bool paused)
{
    call->event->u.queue.name = call->argv[2];
    call->event->u.queue.paused = paused;
    return step(call, EVENT_QUEUE_PAUSE);
}

enum command_result handle_queue_pause(struct command_call *call)
{
    return pause_queue(call, true);
}

enum command_result handle_queue_resume(struct command_call *call)
{
    return pause_queue(call, false);
}

enum command_result handle_queue_close(struct command_call *call)
{
    static const struct option options[] = {
        {"NOW", OPTION_FLAG, AT(queue.at_once), 0, NULL},
    };

    call->event->u.queue.name = call->argv[2];
    call->event->u.queue.closed = true;
    if (!options_read(call, 3, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_QUEUE_CLOSE);
}

enum command_result handle_queue_open(struct command_call *call)
{
    call->event->u.queue.name = call->argv[2];
    return step(call, EVENT_QUEUE_CLOSE);
}

enum command_result handle_queue_join(struct command_call *call)
{
    call->event->u.queue.name = call->argv[2];
    if (!arg_int(call, "the time to wait", call->argv[3], &range_wait_ms,
                 &call->event->u.queue.wait_ms))
        return COMMAND_ANSWERED;
    return step(call, EVENT_QUEUE_JOIN);
}

enum command_result handle_queue_purge(struct command_call *call)
{
    call->event->u.queue.name = call->argv[2];
    return step(call, EVENT_QUEUE_PURGE);
}

/* --- the dead ----------------------------------------------------------- */

enum command_result handle_retry(struct command_call *call)
{
    if (!arg_job(call, call->argv[1], &call->event->u.job.id))
        return COMMAND_ANSWERED;
    return step(call, EVENT_RETRY);
}

static enum command_result dead(struct command_call *call, int64_t count,
                                const struct int_range *range,
                                enum core_event_kind kind)
{
    const struct option options[] = {
        {"QUEUE", OPTION_TEXT, AT(dead.queue), 0, NULL},
        {"COUNT", OPTION_INT, AT(dead.count), 0, range},
    };

    call->event->u.dead.count = count;
    if (!options_read(call, 2, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, kind);
}

enum command_result handle_dead_list(struct command_call *call)
{
    return dead(call, PAGE_COUNT, &range_count, EVENT_DEAD_LIST);
}

enum command_result handle_dead_retry(struct command_call *call)
{
    return dead(call, CORE_UNSET, &range_from_one, EVENT_DEAD_RETRY);
}

enum command_result handle_dead_purge(struct command_call *call)
{
    return dead(call, CORE_UNSET, &range_from_one, EVENT_DEAD_PURGE);
}

/* --- limits ------------------------------------------------------------- */

enum command_result handle_limiter_set(struct command_call *call)
{
    static const struct option options[] = {
        {"PERMITS", OPTION_INT, AT(limiter.permits), 0, &range_permits},
        {"RATE", OPTION_PAIR, AT(limiter.rate), AT(limiter.rate_ms),
         &range_rate},
    };

    call->event->u.limiter.name = call->argv[2];
    call->event->u.limiter.permits = CORE_UNSET;
    call->event->u.limiter.rate = CORE_UNSET;
    call->event->u.limiter.rate_ms = CORE_UNSET;
    if (!options_read(call, 3, options, ARRAY_LEN(options)))
        return COMMAND_ANSWERED;
    return step(call, EVENT_LIMITER_SET);
}

enum command_result handle_limiter_info(struct command_call *call)
{
    call->event->u.limiter.name = call->argv[2];
    return step(call, EVENT_LIMITER_INFO);
}

enum command_result handle_limiter_list(struct command_call *call)
{
    return step(call, EVENT_LIMITER_LIST);
}

enum command_result handle_limiter_del(struct command_call *call)
{
    call->event->u.limiter.name = call->argv[2];
    return step(call, EVENT_LIMITER_DELETE);
}
