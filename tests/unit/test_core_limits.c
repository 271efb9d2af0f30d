/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bounds that one request meets: what reaches one is taken, what is beyond
 * it is refused with its code, and then nothing has changed.
 */
#include "daemon.h"
#include "laws.h"

static struct daemon *daemon_with(int64_t *limit_of(struct core_limits *l),
                                  int64_t to)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    daemon_limits(d);
    *limit_of(&d->limits) = to;
    daemon_start(d);
    return d;
}

static int64_t *queues(struct core_limits *l)
{
    return &l->queues_max;
}

static int64_t *members(struct core_limits *l)
{
    return &l->members_max;
}

static int64_t *log_bytes(struct core_limits *l)
{
    return &l->log_max;
}

static int64_t *keep(struct core_limits *l)
{
    return &l->keep_max_ms;
}

static void must_refuse(struct daemon *d, struct core_event *ev,
                        enum core_error code)
{
    uint64_t before = core_digest(d->core);
    size_t entries = d->nentries;

    ck_assert(is_error(ask(d, 9, ev), code));
    ck_assert_uint_eq(core_digest(d->core), before);
    ck_assert_uint_eq(d->nentries, entries);
}

/* A text of that length. */
static struct str text(size_t len)
{
    static char bytes[16384];

    ck_assert_uint_le(len, sizeof(bytes));
    memset(bytes, 'x', sizeof(bytes));
    return (struct str){bytes, len};
}

static struct core_event a_setting(void)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET, .u.queue.name = STR("q")};

    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.keep_ms = 1000; /* of the default it may be too long */
    return ev;
}

/* -------------------------------------------------------------------- jobs */

START_TEST(a_submit_is_taken_at_its_bounds_and_refused_beyond)
{
    struct daemon *d = daemon_with(keep, 5000);
    struct core_event ev = a_setting();

    ev.u.queue.settings.max_bytes = 1000;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ev = a_job("q");
    ev.u.submit.payload = text(1001);
    must_refuse(d, &ev, CORE_ERR_TOOBIG);
    ev.u.submit.payload = text(1);
    ev.u.submit.name = text(CORE_LABEL_MAX + 1);
    must_refuse(d, &ev, CORE_ERR_TOOBIG);
    ev.u.submit.name = text(CORE_LABEL_MAX);
    ev.u.submit.keep_ms = 5001;
    must_refuse(d, &ev, CORE_ERR_GENERIC);
    ev.u.submit.keep_ms = 5000;
    ev.u.submit.retry = 1001;
    must_refuse(d, &ev, CORE_ERR_GENERIC);
    ev.u.submit.retry = 1000;
    ev.u.submit.redeliver = 1001;
    must_refuse(d, &ev, CORE_ERR_GENERIC);
    ev.u.submit.redeliver = 1000;
    ev.u.submit.then = STR("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a");
    must_refuse(d, &ev, CORE_ERR_GENERIC);
    ev.u.submit.then.len -= 2; /* 16 of them */
    (void)submit_event(d, &ev);
    ev = a_job("q");
    ev.u.submit.payload = text(999);
    (void)submit_event(d, &ev);
    daemon_free(d);
}
END_TEST

START_TEST(a_reason_has_at_most_256_bytes)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct core_event ev = {
        .kind = EVENT_CANCEL,
        .u.cancel = {.is_job = true, .job = {id}, .grace_ms = CORE_UNSET}};

    ev.u.cancel.reason = text(CORE_REASON_MAX + 1);
    must_refuse(d, &ev, CORE_ERR_TOOBIG);
    ev.u.cancel.reason = text(CORE_REASON_MAX);
    ck_assert(is_ok(ask(d, 9, &ev)));
    daemon_free(d);
}
END_TEST

START_TEST(what_a_job_prints_at_once_has_a_bound)
{
    struct daemon *d = daemon_with(log_bytes, 100);
    struct core_event ev;

    (void)submit(d, "q", 0);
    ev = a_report(EVENT_LOG, take(d), "");
    ev.u.report.data = text(101);
    must_refuse(d, &ev, CORE_ERR_TOOBIG);
    ev.u.report.data = text(100);
    ck_assert(is_ok(ask(d, 9, &ev)));
    daemon_free(d);
}
END_TEST

/* The job has been done: its result is kept, in the error that says why. */
START_TEST(a_result_that_its_group_has_no_room_for_fails_its_job)
{
    struct daemon *d = daemon_with(members, 2);
    uint64_t g = open_policy(d, 0, 0), id;
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = g;
    ev.u.submit.then = STR("next");
    id = submit_event(d, &ev);
    (void)submit(d, "other", g);
    ev = a_job("other");
    ev.u.submit.group.n = g;
    must_refuse(d, &ev, CORE_ERR_LIMIT);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert(str_eq(last_class(d, id), STR("then")));
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------- queues and groups */

START_TEST(there_are_so_many_queues_and_they_go_on)
{
    struct daemon *d = daemon_with(queues, 2);
    struct core_event ev = a_job("three");

    (void)submit(d, "one", 0);
    (void)submit(d, "two", 0);
    must_refuse(d, &ev, CORE_ERR_LIMIT);
    ev = a_setting();
    ev.u.queue.name = STR("three");
    must_refuse(d, &ev, CORE_ERR_LIMIT);
    (void)submit(d, "one", 0);
    (void)submit(d, "two", 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_setting_of_a_queue_that_cannot_be_changes_nothing)
{
    struct daemon *d = daemon_with(keep, 5000);
    struct core_event good = a_setting();

#define REFUSE(field, value)                   \
    do {                                       \
        struct core_event ev = a_setting();    \
        ev.u.queue.settings.field = (value);   \
        must_refuse(d, &ev, CORE_ERR_GENERIC); \
    } while (0)
    (void)submit(d, "q", 0);
    REFUSE(max_jobs, 0);
    REFUSE(max_bytes, 0);
    REFUSE(timeout_ms, -2);
    REFUSE(grace_ms, -1);
    REFUSE(retry, 0);
    REFUSE(retry, 1001);
    REFUSE(redeliver, -1);
    REFUSE(redeliver, 1001);
    REFUSE(keep_ms, -1);
    REFUSE(keep_ms, 5001);
    REFUSE(dead_keep_ms, -1);
    REFUSE(dead_keep_ms, 5001);
    REFUSE(wait_ms, -2);
    REFUSE(backoff_base_ms, -1);
    REFUSE(backoff_cap_ms, -1);
    REFUSE(factor_milli, CORE_FACTOR_MIN - 1);
    REFUSE(factor_milli, CORE_FACTOR_MAX + 1);
    REFUSE(jitter, -1);
    REFUSE(jitter, 101);
    REFUSE(retry_on, STR(","));
    REFUSE(expires_ms, -2);
    REFUSE(priority, -1);
    REFUSE(priority, CORE_PRIORITIES);
    REFUSE(fair, 2);
#undef REFUSE
    ck_assert(is_ok(ask(d, 2, &good)));
    daemon_free(d);
}
END_TEST

START_TEST(a_group_has_a_name_of_at_most_128_bytes)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();

    ev.u.group_open.name = text(CORE_LABEL_MAX + 1);
    must_refuse(d, &ev, CORE_ERR_TOOBIG);
    ev.u.group_open.name = text(CORE_LABEL_MAX);
    (void)open_event(d, &ev);
    daemon_free(d);
}
END_TEST

/* Nobody would ever be answered. */
START_TEST(the_root_group_cannot_be_waited_for)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_GROUP_INFO,
                            .u.group = {.wait_ms = 1000}};

    must_refuse(d, &ev, CORE_ERR_GENERIC);
    daemon_free(d);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {a_submit_is_taken_at_its_bounds_and_refused_beyond, 1},
        {a_reason_has_at_most_256_bytes, 1},
        {what_a_job_prints_at_once_has_a_bound, 1},
        {a_result_that_its_group_has_no_room_for_fails_its_job, 1},
        {there_are_so_many_queues_and_they_go_on, 1},
        {a_setting_of_a_queue_that_cannot_be_changes_nothing, 1},
        {a_group_has_a_name_of_at_most_128_bytes, 1},
        {the_root_group_cannot_be_waited_for, 1},
    };

    return laws_run("limits of a request", laws, ARRAY_LEN(laws));
}
