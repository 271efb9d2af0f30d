/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of ONCE and of what is said again: who has lost an answer asks once
 * more, and nothing is done twice.
 */
#include <errno.h>

#include "core/record.h"
#include "daemon.h"

#define MINE 7 /* a client with a session */

static struct core_stats stats(struct daemon *d)
{
    struct core_stats s;

    core_stats(d->core, &s);
    return s;
}

static struct core_event numbered(int64_t number, int64_t open)
{
    struct core_event ev = a_job("q");

    ev.u.submit.once = (struct event_once){number, open};
    return ev;
}

static struct core_event numbered_group(int64_t number, int64_t open)
{
    struct core_event ev = a_group();

    ev.u.group_open.once = (struct event_once){number, open};
    return ev;
}

static const struct node *submit_once(struct daemon *d, uint64_t client,
                                      int64_t number, int64_t open)
{
    struct core_event ev = numbered(number, open);

    return ask(d, client, &ev);
}

static uint64_t job_once(struct daemon *d, uint64_t client, int64_t number,
                         int64_t open)
{
    return node_id(submit_once(d, client, number, open), 'j');
}

START_TEST(a_numbered_request_is_done_once)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, MINE);
    struct core_event group = numbered_group(2, 1), ev = numbered(1, 0);
    uint64_t one = job_once(d, MINE, 1, 0);
    uint64_t two = node_id(ask(d, MINE, &group), 'g');

    ck_assert_uint_ne(job_once(d, MINE, 3, 2), one);
    ev.u.submit.payload = STR("something else");
    ck_assert_uint_eq(node_id(ask(d, MINE, &ev), 'j'), one);
    ck_assert_int_eq(job(d, one).payload_bytes, 7);
    ck_assert(is_error(submit_once(d, MINE, 2, 1), CORE_ERR_GENERIC));

    daemon_crash(d);
    ck_assert(resume(d, MINE + 1, session)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(job_once(d, MINE + 1, 1, 0), one);
    ck_assert_uint_eq(node_id(ask(d, MINE + 1, &group), 'g'), two);
    ck_assert_uint_ne(job_once(d, MINE + 1, 4, 3), one);
    daemon_free(d);
}
END_TEST

/* A KEY leads to nothing once its job is forgotten; a number does. */
START_TEST(a_number_is_known_as_long_as_its_session)
{
    struct daemon *d = daemon_new();
    struct core_event ev = numbered(1, 0);
    uint64_t session = session_of(d, MINE), id;

    ev.u.submit.keep_ms = 0;
    id = node_id(ask(d, MINE, &ev), 'j');
    (void)report(d, EVENT_DONE, take(d), "");
    daemon_pass(d, 1);
    ck_assert(is_error(result(d, 3, id, 0), CORE_ERR_NOJOB));
    ck_assert_uint_eq(job_once(d, MINE, 1, 0), id);
    daemon_crash(d);
    ck_assert(resume(d, MINE, session)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(job_once(d, MINE, 1, 0), id);
    daemon_free(d);
}
END_TEST

START_TEST(a_number_remembers_where_its_key_led)
{
    struct daemon *d = daemon_new();
    struct core_event ev = numbered(1, 0), waits = numbered(3, 2),
                      group = numbered_group(2, 1);
    uint64_t session = session_of(d, MINE), id, g, late;

    ev.u.submit.keep_ms = 0;
    ev.u.submit.key = STR("k");
    group.u.group_open.key = STR("k");
    ev.u.submit.once.number = group.u.group_open.once.number = 0;
    id = submit_event(d, &ev);
    g = open_event(d, &group);
    ev.u.submit.once.number = 1;
    group.u.group_open.once.number = 2;
    ck_assert_uint_eq(node_id(ask(d, MINE, &ev), 'j'), id);
    ck_assert_uint_eq(node_id(ask(d, MINE, &group), 'g'), g);
    for (int i = 0; i < 9; i++)
        (void)submit(d, "q", 0);
    waits.u.submit.key = STR("late");
    waits.u.submit.once.number = 0;
    ck_assert_ptr_null(ask(d, 8, &waits));
    waits.u.submit.once.number = 3;
    ck_assert_ptr_null(ask(d, MINE, &waits));
    (void)report(d, EVENT_DONE, take(d), "");
    late = node_id(got(d, 8), 'j');
    ck_assert_uint_eq(node_id(got(d, MINE), 'j'), late);
    cancel_job(d, late, "");
    close_group(d, g);
    daemon_pass(d, d->limits.queue_defaults.keep_ms + 1);
    ck_assert(is_error(result(d, 3, id, 0), CORE_ERR_NOJOB));
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_uint_eq(node_id(ask(d, MINE, &ev), 'j'), id);
        ck_assert_uint_eq(node_id(ask(d, MINE, &group), 'g'), g);
        ck_assert_uint_eq(node_id(ask(d, MINE, &waits), 'j'), late);
        daemon_crash(d);
        ck_assert(resume(d, MINE, session)->v.kind != VALUE_ERROR);
    }
    daemon_free(d);
}
END_TEST

/* What the record says whose segment was removed is still known. */
START_TEST(numbers_outlast_the_records_of_what_they_led_to)
{
    struct daemon *d = daemon_new();
    struct core_event ev = numbered(1, 0);
    uint64_t session = session_of(d, MINE), one, two;

    ev.u.submit.keep_ms = 0;
    one = node_id(ask(d, MINE, &ev), 'j');
    (void)report(d, EVENT_DONE, take(d), "");
    daemon_pass(d, 1);
    daemon_next_segment(d);
    two = job_once(d, MINE, 3, 2);
    daemon_pass(d, 1);
    ck_assert_uint_eq(d->trimmed, d->segment);
    for (int turn = 0; turn < 2; turn++) {
        daemon_crash(d);
        ck_assert(resume(d, MINE, session)->v.kind != VALUE_ERROR);
        ck_assert_uint_eq(job_once(d, MINE, 1, 0), one);
        ck_assert_uint_eq(job_once(d, MINE, 3, 2), two);
        daemon_next_segment(d);
        daemon_pass(d, 1);
    }
    /* Number 2 was never done, and nobody waits for it. */
    ck_assert_uint_gt(job_once(d, MINE, 2, 1), two);
    daemon_free(d);
}
END_TEST

/* A session that is gone holds no segment. */
START_TEST(segments_of_sessions_go_with_them)
{
    struct daemon *d = daemon_new();
    struct core_event ev = numbered(1, 0);

    (void)session_of(d, MINE);
    ev.u.submit.keep_ms = 0;
    (void)ask(d, MINE, &ev);
    (void)report(d, EVENT_DONE, take(d), "");
    leave(d, MINE, DISCONNECT_BROKEN);
    daemon_pass(d, d->limits.session_grace_ms + 1);
    daemon_next_segment(d);
    daemon_pass(d, 1);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_free(d);
}
END_TEST

START_TEST(what_was_refused_was_not_done_and_may_be_asked_again)
{
    struct daemon *d = daemon_new();
    struct core_event ev = numbered(2, 1);
    uint64_t id;

    (void)session_of(d, MINE);
    for (int i = 0; i < 9; i++)
        (void)submit(d, "q", 0);
    (void)job_once(d, MINE, 1, 0);
    ev.u.submit.wait_ms = 0;
    ck_assert(is_error(ask(d, MINE, &ev), CORE_ERR_QUEUEFULL));
    (void)take(d);
    (void)take(d);
    id = job_once(d, MINE, 3, 2);
    ck_assert_uint_ne(node_id(ask(d, MINE, &ev), 'j'), id);
    ck_assert_uint_eq(job_once(d, MINE, 3, 2), id);
    daemon_free(d);
}
END_TEST

START_TEST(what_lies_behind_the_open_ones_is_forgotten)
{
    struct daemon *d = daemon_new();
    uint64_t two;

    (void)session_of(d, MINE);
    (void)job_once(d, MINE, 1, 0);
    two = job_once(d, MINE, 2, 1);
    (void)job_once(d, MINE, 3, 1);
    ck_assert(is_error(submit_once(d, MINE, 1, 0), CORE_ERR_NOSESSION));
    ck_assert_uint_eq(job_once(d, MINE, 2, 0), two);
    (void)job_once(d, MINE, 1000000, 0);
    ck_assert(is_error(submit_once(d, MINE, 999999, 0), CORE_ERR_NOSESSION));
    daemon_free(d);
}
END_TEST

/* Memory for as many answers as are open, and given back when they are not. */
START_TEST(open_requests_are_bounded)
{
    struct daemon *d;
    struct core_stats before, most, after;
    uint64_t ids[1025], session;

    d = mem_zalloc(sizeof(*d));
    daemon_limits(d);
    d->limits.queue_defaults.max_jobs = 2000;
    daemon_start(d);
    session = session_of(d, MINE);
    ids[1] = job_once(d, MINE, 1, 0);
    core_stats(d->core, &before);
    for (int64_t i = 2; i <= 1024; i++)
        ids[i] = job_once(d, MINE, i, i - 1);
    ck_assert(is_error(submit_once(d, MINE, 1025, 1024), CORE_ERR_GENERIC));
    for (int round = 0; round < 2; round++) {
        for (int64_t i = 1; i <= 1024; i++)
            ck_assert_uint_eq(job_once(d, MINE, i, 0), ids[i]);
        daemon_crash(d);
        ck_assert(resume(d, MINE, session)->v.kind != VALUE_ERROR);
    }
    core_stats(d->core, &most);
    (void)job_once(d, MINE, 1025, 0);
    core_stats(d->core, &after);
    ck_assert_int_ge(most.memory_bytes, before.memory_bytes + 8 * 1023);
    ck_assert_int_le(after.memory_bytes, most.memory_bytes - 8 * 1000);
    daemon_free(d);
}
END_TEST

/* Or their images would not fit into a segment, and be written for ever. */
START_TEST(all_sessions_together_remember_a_bounded_many)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = numbered(1024, 1023);

    daemon_limits(d);
    d->limits.numbers_max = 4000;
    daemon_start(d);
    ev.u.submit.queue = STR("other");
    for (uint64_t client = 20; client < 24; client++) {
        const struct node *n;

        (void)session_of(d, client);
        n = ask(d, client, &ev);
        ck_assert(client < 23 ? n->v.kind == VALUE_ID
                              : is_error(n, CORE_ERR_LIMIT));
    }
    (void)job_once(d, 23, 1, 0);
    /* Nor does who waits for room get past it. */
    for (int i = 0; i < 9; i++)
        (void)submit(d, "q", 0);
    (void)session_of(d, 24);
    ck_assert_ptr_null(submit_once(d, 24, 800, 799));
    ev.u.submit.once = (struct event_once){900, 899};
    (void)session_of(d, 25);
    (void)node_id(ask(d, 25, &ev), 'j');
    (void)take(d);
    (void)take(d);
    ck_assert(is_error(got(d, 24), CORE_ERR_LIMIT));
    daemon_free(d);
}
END_TEST

START_TEST(a_number_beyond_those_of_requests_is_damage)
{
    struct core_limits limits;
    uint64_t ids[2] = {1, 2};
    struct record r = {.type = RECORD_SESSION,
                       .at_ms = DAEMON_START,
                       .id = 5,
                       .u.session = {.first = UINT64_MAX - 1,
                                     .ids = {(const char *)ids, sizeof(ids)}}};
    struct buf b;
    struct core *core;

    buf_init(&b);
    core_limits_init(&limits);
    core = core_new(&limits);
    record_encode(&b, &r);
    ck_assert_int_eq(core_replay(core, buf_front(&b), buf_size(&b), 0, NULL),
                     -EBADMSG);
    core_free(core);
    buf_clear(&b);
}
END_TEST

/* What it has done since makes the session known again, not its numbers. */
START_TEST(a_session_whose_numbers_a_replay_dropped_does_nothing_twice)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, 9), other = session_of(d, MINE), id;

    (void)job_once(d, 9, 2, 1);
    id = job_once(d, MINE, 1, 0);
    (void)take(d);
    d->limits.numbers_max = 5; /* their images are 6 and 5 */
    daemon_crash(d);
    d->limits.numbers_max = 1000;
    core_configure(d->core, &d->limits);
    ck_assert_uint_eq(resume(d, 19, session)->v.count, 1);
    ck_assert(is_error(submit_once(d, 19, 2, 1), CORE_ERR_NOSESSION));
    ck_assert(resume(d, MINE, other)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(job_once(d, MINE, 1, 0), id);
    daemon_free(d);
}
END_TEST

START_TEST(numbers_are_a_session_s_and_begin_at_one)
{
    struct daemon *d = daemon_new();
    uint64_t one;

    ck_assert(is_error(submit_once(d, MINE, 1, 0), CORE_ERR_GENERIC));
    (void)session_of(d, MINE);
    (void)session_of(d, MINE + 1);
    ck_assert(is_error(submit_once(d, MINE, 1, 1), CORE_ERR_GENERIC));
    one = job_once(d, MINE, 1, 0);
    ck_assert_uint_ne(job_once(d, MINE + 1, 1, 0), one);
    daemon_free(d);
}
END_TEST

/* What is still on its way on the old connection must not come in later. */
START_TEST(one_connection_at_a_time_speaks_for_a_session)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, MINE), id;

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(submit_once(d, MINE, 1, 0)); /* waits for room */
    ck_assert(resume(d, MINE + 1, session)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(d->cut, MINE);
    ck_assert(is_error(got(d, MINE), CORE_ERR_QUEUEFULL));
    leave(d, MINE, DISCONNECT_BROKEN);
    ck_assert_ptr_null(submit_once(d, MINE + 1, 1, 0));
    (void)take(d);
    id = node_id(got(d, MINE + 1), 'j');
    ck_assert_uint_eq(job_once(d, MINE + 1, 1, 0), id);
    ck_assert_uint_eq(stats(d).submitted, 11);
    daemon_free(d);
}
END_TEST

START_TEST(who_waits_behind_a_superseded_submit_is_let_in)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = numbered(1, 0), small = a_job("q");
    uint64_t session;

    daemon_limits(d);
    d->limits.queue_defaults.max_bytes = 10;
    daemon_start(d);
    session = session_of(d, MINE);
    (void)submit(d, "q", 0); /* 7 bytes */
    ev.u.submit.payload = STR("12345678");
    ck_assert_ptr_null(ask(d, MINE, &ev));
    small.u.submit.payload = STR("123");
    ck_assert_ptr_null(ask(d, 8, &small));
    ck_assert(resume(d, MINE + 1, session)->v.kind != VALUE_ERROR);
    (void)node_id(got(d, 8), 'j');
    daemon_free(d);
}
END_TEST

START_TEST(a_session_with_numbers_waits_for_its_client_during_its_grace)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, MINE), id = job_once(d, MINE, 1, 0);
    uint64_t plain = session_of(d, MINE + 1);

    leave(d, MINE, DISCONNECT_BROKEN);
    leave(d, MINE + 1, DISCONNECT_BROKEN);
    ck_assert(is_error(resume(d, 20, plain), CORE_ERR_NOSESSION));
    daemon_pass(d, d->limits.session_grace_ms - 1);
    ck_assert(resume(d, 21, session)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(job_once(d, 21, 1, 0), id);
    leave(d, 21, DISCONNECT_BROKEN);
    daemon_pass(d, d->limits.session_grace_ms);
    ck_assert(is_error(resume(d, 22, session), CORE_ERR_NOSESSION));

    session = session_of(d, 23);
    (void)job_once(d, 23, 1, 0);
    leave(d, 23, DISCONNECT_CLEAN);
    ck_assert(is_error(resume(d, 24, session), CORE_ERR_NOSESSION));
    daemon_free(d);
}
END_TEST

/* Whoever submits one job and goes is a session in the journal. */
START_TEST(a_replay_knows_the_latest_of_very_many_sessions)
{
    struct core_event ev = numbered(1, 0), purge = {.kind = EVENT_QUEUE_PURGE,
                                                    .u.queue.name = STR("q")};
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t first = 0, last = 0, id = 0;

    daemon_limits(d);
    d->limits.queue_defaults.max_jobs = 30000;
    daemon_start(d);
    ev.u.submit.keep_ms = 0;
    for (uint64_t client = 100; client < 20200; client++) {
        last = session_of(d, client);
        first = first ? first : last;
        id = node_id(ask(d, client, &ev), 'j');
        leave(d, client, DISCONNECT_CLEAN);
        if (client % 100 == 0) { /* only sessions are to become many */
            (void)ask(d, 1, &purge);
            d->nreplies = 0;
            arena_reset(&d->arena);
        }
    }
    daemon_crash(d);
    ck_assert_int_le(stats(d).sessions, 20000);
    ck_assert(is_error(resume(d, MINE, first), CORE_ERR_NOSESSION));
    ck_assert(resume(d, MINE, last)->v.kind != VALUE_ERROR);
    ck_assert_uint_eq(job_once(d, MINE, 1, 0), id);
    daemon_pass(d, d->limits.session_grace_ms);
    ck_assert_int_eq(stats(d).sessions, 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_session_is_resumed_after_a_restart_within_its_grace)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, 9), g;
    struct core_event ev = a_group();
    const struct node *held;
    struct token t;

    ev.u.group_open.detached = false;
    g = node_id(ask(d, 9, &ev), 'g');
    (void)submit(d, "q", 0);
    t = take(d);
    daemon_crash(d);
    daemon_pass(d, d->limits.session_grace_ms - 1);
    held = resume(d, 19, session);
    ck_assert_uint_eq(held->v.count, 1);
    ck_assert_uint_eq(node_id(node_item(held, 0), 'j'), t.job.n);
    daemon_pass(d, d->limits.session_grace_ms * 2);
    ck_assert(group(d, g).open);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));

    daemon_crash(d);
    daemon_pass(d, d->limits.session_grace_ms);
    ck_assert(is_error(resume(d, 29, session), CORE_ERR_NOSESSION));
    ck_assert(!group(d, g).open);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------ said again */

START_TEST(done_said_again_is_OK_and_another_result_is_stale)
{
    struct daemon *d = daemon_new();
    struct core_event other;
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    other = a_report(EVENT_DONE, t, "");
    other.u.report.result = STR("other");
    for (int i = 0; i < 2; i++) {
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        ck_assert(is_error(ask(d, 9, &other), CORE_ERR_STALE));
        ck_assert(is_error(report(d, EVENT_FAIL, t, "x"), CORE_ERR_STALE));
        daemon_crash(d);
    }
    ck_assert_int_eq(stats(d).finished, 1);
    daemon_free(d);
}
END_TEST

START_TEST(done_said_again_is_OK_while_the_job_joins_or_has_gone_on)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t, below;
    uint64_t g;

    ev.u.submit.then = STR("next");
    (void)submit_event(d, &ev);
    t = take(d);
    g = open_under_job(d, t);
    (void)submit(d, "below", g);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_JOINING);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_error(report(d, EVENT_FAIL, t, "cancelled"), CORE_ERR_STALE));
    daemon_crash(d);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    below = token_of(fetch_from(d, 9, 1, 0, "below"), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, below, "")));
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_FINISHED);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_free(d);
}
END_TEST

/* With a retry there is another attempt by then. */
START_TEST(done_said_again_is_OK_when_a_group_below_failed)
{
    struct daemon *d = daemon_new();

    for (int64_t retry = 1; retry <= 2; retry++) {
        for (int joins = 0; joins < 2; joins++) {
            struct core_event ev = a_job("q");
            struct token t, below;

            ev.u.submit.retry = retry;
            ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 0;
            (void)submit_event(d, &ev);
            t = take(d);
            (void)submit(d, "below", open_under_job(d, t));
            below = token_of(fetch_from(d, 9, 1, 0, "below"), 0);
            if (joins)
                ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
            ck_assert(is_ok(report(d, EVENT_FAIL, below, "exit:1")));
            if (!joins)
                ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
            ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
            if (retry == 2)
                ck_assert_uint_eq(take(d).attempt, 2);
            daemon_crash(d);
            ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
            ck_assert(
                is_error(report(d, EVENT_FAIL, t, "group"), CORE_ERR_STALE));
        }
    }
    daemon_free(d);
}
END_TEST

START_TEST(done_said_again_is_OK_when_its_job_was_cancelled_after_it)
{
    struct daemon *d = daemon_new();
    struct token t, below;

    (void)submit(d, "q", 0);
    t = take(d);
    (void)submit(d, "below", open_under_job(d, t));
    below = token_of(fetch_from(d, 9, 1, 0, "below"), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    cancel_job(d, t.job.n, "enough");
    ck_assert(is_ok(report(d, EVENT_FAIL, below, "cancelled")));
    ck_assert_int_eq(job(d, t.job.n).outcome, OUTCOME_CANCELLED);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        ck_assert(
            is_error(report(d, EVENT_FAIL, t, "cancelled"), CORE_ERR_STALE));
        daemon_crash(d);
    }
    daemon_free(d);
}
END_TEST

START_TEST(fail_said_again_is_OK_also_when_the_next_attempt_runs)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token first, second;

    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 0;
    (void)submit_event(d, &ev);
    first = take(d);
    ck_assert(is_ok(report(d, EVENT_FAIL, first, "exit:1")));
    ck_assert(is_ok(report(d, EVENT_FAIL, first, "exit:1")));
    ck_assert(is_error(report(d, EVENT_FAIL, first, "exit:2"), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_DONE, first, ""), CORE_ERR_STALE));
    second = take(d);
    ck_assert_uint_eq(second.attempt, 2);
    ck_assert(is_ok(report(d, EVENT_FAIL, first, "exit:1")));
    ck_assert_int_eq(job(d, second.job.n).state, VIEW_RUNNING);
    ck_assert(is_ok(report(d, EVENT_FAIL, second, "exit:1")));
    ck_assert(is_ok(report(d, EVENT_FAIL, second, "exit:1")));
    ck_assert_uint_eq(node_get(result(d, 3, first.job.n, 0), "errors")->v.count,
                      2);
    daemon_free(d);
}
END_TEST

START_TEST(a_stop_said_again_is_OK)
{
    struct daemon *d = daemon_new();
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    cancel_job(d, t.job.n, "enough");
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert(is_error(report(d, EVENT_DONE, t, ""), CORE_ERR_STALE));
    daemon_free(d);
}
END_TEST

/* The worker had its say too late: that is not what is known. */
START_TEST(a_lost_attempt_has_said_nothing)
{
    struct daemon *d = daemon_new();
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    daemon_pass(d, d->limits.lease_ms);
    ck_assert(is_error(report(d, EVENT_DONE, t, ""), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_FAIL, t, "exit:1"), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_FAIL, t, "cancelled"), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_RELEASE, t, ""), CORE_ERR_STALE));
    daemon_free(d);
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        a_numbered_request_is_done_once,
        a_number_is_known_as_long_as_its_session,
        a_number_remembers_where_its_key_led,
        numbers_outlast_the_records_of_what_they_led_to,
        segments_of_sessions_go_with_them,
        what_was_refused_was_not_done_and_may_be_asked_again,
        what_lies_behind_the_open_ones_is_forgotten,
        open_requests_are_bounded,
        all_sessions_together_remember_a_bounded_many,
        a_number_beyond_those_of_requests_is_damage,
        a_session_whose_numbers_a_replay_dropped_does_nothing_twice,
        numbers_are_a_session_s_and_begin_at_one,
        one_connection_at_a_time_speaks_for_a_session,
        who_waits_behind_a_superseded_submit_is_let_in,
        a_session_with_numbers_waits_for_its_client_during_its_grace,
        a_replay_knows_the_latest_of_very_many_sessions,
        a_session_is_resumed_after_a_restart_within_its_grace,
        done_said_again_is_OK_and_another_result_is_stale,
        done_said_again_is_OK_while_the_job_joins_or_has_gone_on,
        done_said_again_is_OK_when_a_group_below_failed,
        done_said_again_is_OK_when_its_job_was_cancelled_after_it,
        fail_said_again_is_OK_also_when_the_next_attempt_runs,
        a_stop_said_again_is_OK,
        a_lost_attempt_has_said_nothing,
    };
    Suite *s = suite_create("core once");
    TCase *c = tcase_create("laws");
    SRunner *r;
    int failed;

    tcase_set_timeout(c, 60);
    for (size_t i = 0; i < ARRAY_LEN(laws); i++)
        tcase_add_test(c, laws[i]);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
