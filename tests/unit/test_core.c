/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of queues, jobs and workers. Time is a number.
 */
#include "daemon.h"

/* ----------------------------------------------------------------- queues */

START_TEST(eleventh_submit_waits_and_goes_through_in_order)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t first;

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 11, &ev));
    ck_assert_ptr_null(ask(d, 12, &ev));
    ck_assert(core_blocked(d->core, (struct client_id){11}));
    ck_assert(core_blocked(d->core, (struct client_id){12}));
    (void)take(d);
    first = node_id(got(d, 11), 'j');
    ck_assert_ptr_null(got(d, 12));
    ck_assert(!core_blocked(d->core, (struct client_id){11}));
    (void)take(d);
    ck_assert_uint_ne(node_id(got(d, 12), 'j'), first);
    daemon_free(d);
}
END_TEST

START_TEST(wait_zero_is_queuefull)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ev.u.submit.wait_ms = 0;
    ck_assert(is_error(ask(d, 11, &ev), CORE_ERR_QUEUEFULL));
    (void)take(d);
    ck_assert(node_id(ask(d, 11, &ev), 'j') != 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_wait_that_is_over_is_queuefull)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ev.u.submit.wait_ms = 50;
    ck_assert_ptr_null(ask(d, 11, &ev));
    daemon_pass(d, 49);
    ck_assert_ptr_null(got(d, 11));
    daemon_pass(d, 1);
    ck_assert(is_error(got(d, 11), CORE_ERR_QUEUEFULL));
    daemon_free(d);
}
END_TEST

START_TEST(nobody_passes_a_waiting_producer)
{
    struct daemon *d;
    struct core_event big = a_job("q"), small = a_job("q");
    char bytes[90] = {0};

    d = mem_zalloc(sizeof(*d));
    daemon_limits(d);
    d->limits.queue_defaults.max_bytes = 100;
    daemon_start(d);
    big.u.submit.payload = (struct str){.p = bytes, .len = sizeof(bytes)};
    (void)submit(d, "q", 0);
    (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 11, &big));
    ck_assert_ptr_null(ask(d, 12, &small));
    small.u.submit.wait_ms = 0;
    ck_assert(is_error(ask(d, 13, &small), CORE_ERR_QUEUEFULL));
    (void)take(d);
    ck_assert(node_id(got(d, 11), 'j') != 0);
    ck_assert_ptr_null(got(d, 12));
    (void)take(d);
    ck_assert(node_id(got(d, 12), 'j') != 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_producer_that_leaves_submits_nothing)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct core_stats s;

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 11, &ev));
    leave(d, 11, DISCONNECT_BROKEN);
    (void)take(d);
    ck_assert_ptr_null(got(d, 11));
    core_stats(d->core, &s);
    ck_assert_int_eq(s.jobs, 10);
    daemon_free(d);
}
END_TEST

START_TEST(raising_a_bound_lets_producers_in)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), set = {.kind = EVENT_QUEUE_SET};

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 11, &ev));
    set.u.queue.name = STR("q");
    core_settings_unset(&set.u.queue.settings);
    set.u.queue.settings.max_jobs = 11;
    ck_assert(is_ok(ask(d, 2, &set)));
    ck_assert(node_id(got(d, 11), 'j') != 0);
    daemon_free(d);
}
END_TEST

START_TEST(priority_goes_first_then_order)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t low, first, second, high;

    ev.u.submit.priority = 0;
    low = submit_event(d, &ev);
    first = submit(d, "q", 0);
    second = submit(d, "q", 0);
    ev.u.submit.priority = 9;
    high = submit_event(d, &ev);
    ck_assert_uint_eq(take(d).job.n, high);
    ck_assert_uint_eq(take(d).job.n, first);
    ck_assert_uint_eq(take(d).job.n, second);
    ck_assert_uint_eq(take(d).job.n, low);
    daemon_free(d);
}
END_TEST

START_TEST(a_fetch_takes_its_queues_in_their_order)
{
    struct daemon *d = daemon_new();
    struct str names[] = {STR("b"), STR("a")};
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .u.fetch = {.count = 2, .queues = names, .nqueues = 2}};
    uint64_t a = submit(d, "a", 0), b = submit(d, "b", 0);
    const struct node *page = ask(d, 9, &ev);

    ck_assert_uint_eq(token_of(page, 0).job.n, b);
    ck_assert_uint_eq(token_of(page, 1).job.n, a);
    daemon_free(d);
}
END_TEST

START_TEST(a_paused_queue_starts_nothing)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_QUEUE_PAUSE};
    uint64_t id = submit(d, "q", 0);

    ev.u.queue.name = STR("q");
    ev.u.queue.paused = true;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    ev.u.queue.paused = false;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ck_assert_uint_eq(token_of(got(d, 9), 0).job.n, id);
    daemon_free(d);
}
END_TEST

START_TEST(what_is_over_its_limit_is_toobig)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = a_job("q"), done;
    char bytes[33] = {0};
    uint64_t id;

    daemon_limits(d);
    d->limits.payload_max = d->limits.result_max = 32;
    daemon_start(d);
    ev.u.submit.payload = (struct str){.p = bytes, .len = 33};
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_TOOBIG));
    ev.u.submit.payload.len = 32;
    id = submit_event(d, &ev);
    done = a_report(EVENT_DONE, take(d), "");
    done.u.report.result = (struct str){.p = bytes, .len = 33};
    ck_assert(is_error(ask(d, 9, &done), CORE_ERR_TOOBIG));
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    done.u.report.result.len = 32;
    ck_assert(is_ok(ask(d, 9, &done)));
    daemon_free(d);
}
END_TEST

START_TEST(a_full_disk_refuses_and_lets_running_jobs_finish)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_DISKFULL));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_tell(d, EVENT_DISK_FULL, false);
    (void)submit_event(d, &ev);
    daemon_free(d);
}
END_TEST

START_TEST(a_daemon_that_drains_starts_and_accepts_nothing)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    const struct node *n;

    (void)submit(d, "q", 0);
    daemon_tell(d, EVENT_DRAIN, true);
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_DRAINING));
    n = fetch_from(d, 9, 1, 0, "q");
    ck_assert_uint_eq(n->v.count, 0);
    daemon_tell(d, EVENT_DRAIN, false);
    (void)take(d);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------- jobs */

START_TEST(a_job_goes_from_ready_to_its_result)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    const struct node *n;
    struct token t;

    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    ck_assert(node_is_null(result(d, 3, id, 0)));
    ck_assert_ptr_null(result(d, 5, id, CORE_NONE));
    t = take(d);
    ck_assert_uint_eq(t.attempt, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 5);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    n = got(d, 5);
    ck_assert_ptr_nonnull(n);
    ck_assert(str_eq(node_str(node_get(n, "result")), STR("result")));
    ck_assert(str_eq(node_str(node_get(n, "outcome")), STR("ok")));
    ck_assert_int_eq(node_int(node_get(n, "ended")), DAEMON_START + 5);
    daemon_free(d);
}
END_TEST

START_TEST(cancelled_job_never_starts)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);

    cancel_job(d, id, "no more");
    ck_assert_int_eq(job(d, id).state, VIEW_FINISHED);
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    daemon_free(d);
}
END_TEST

START_TEST(cancel_twice_keeps_the_first_reason)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    cancel_job(d, id, "first");
    cancel_job(d, id, "second");
    ck_assert(str_eq(job(d, id).reason, STR("first")));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    cancel_job(d, id, "third");
    ck_assert(str_eq(job(d, id).reason, STR("first")));
    ck_assert(str_eq(node_str(node_get(result(d, 3, id, 0), "reason")),
                     STR("first")));
    daemon_free(d);
}
END_TEST

START_TEST(cancelled_is_reported_when_the_job_has_ended)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);
    const struct node *n;

    ck_assert_ptr_null(result(d, 5, id, CORE_NONE));
    ck_assert_ptr_null(fetch_from(d, 9, 0, CORE_NONE, "q"));
    cancel_job(d, id, "stop");
    ck_assert_ptr_null(got(d, 5));
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    n = node_item(got(d, 9), 0);
    ck_assert(str_eq(node_str(node_item(n, 0)), STR("cancel")));
    ck_assert_uint_eq(node_id(node_item(n, 1), 'j'), id);
    ck_assert(str_eq(node_str(node_item(n, 2)), STR("stop")));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    n = got(d, 5);
    ck_assert(str_eq(node_str(node_get(n, "outcome")), STR("cancelled")));
    daemon_free(d);
}
END_TEST

START_TEST(stale_report_changes_nothing)
{
    static const enum core_event_kind kinds[] = {
        EVENT_DONE, EVENT_FAIL, EVENT_RELEASE, EVENT_TOUCH, EVENT_LOG};
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), digest;
    struct token old = take(d), now;

    ck_assert(is_ok(report(d, EVENT_RELEASE, old, "")));
    now = take(d);
    ck_assert_uint_eq(now.attempt, 2);
    digest = core_digest(d->core);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        ck_assert(is_error(report(d, kinds[i], old, "exit:1"), CORE_ERR_STALE));
    ck_assert_uint_eq(core_digest(d->core), digest);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(report(d, EVENT_DONE, now, "")));
    ck_assert(is_error(report(d, EVENT_FAIL, now, "exit:1"), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_RELEASE, now, ""), CORE_ERR_STALE));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(ok_although_asked_to_stop_is_ok)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    cancel_job(d, id, "stop");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(timeout_becomes_class_timeout)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    const struct node *n;
    struct token t;
    uint64_t id;

    ev.u.submit.timeout_ms = 100;
    ev.u.submit.grace_ms = 7;
    id = submit_event(d, &ev);
    daemon_pass(d, 1000); /* the time in the queue does not count */
    t = take(d);
    ck_assert_ptr_null(fetch_from(d, 9, 0, CORE_NONE, "q"));
    daemon_pass(d, 99);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    n = node_item(got(d, 9), 0);
    ck_assert(str_eq(node_str(node_item(n, 2)), STR("timeout")));
    ck_assert_int_eq(node_int(node_item(n, 3)), 7);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("timeout")));
    daemon_free(d);
}
END_TEST

START_TEST(a_cancel_after_a_timeout_is_not_lost)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t id;

    ev.u.submit.timeout_ms = 100;
    ev.u.submit.retry = 3;
    id = submit_event(d, &ev);
    t = take(d);
    daemon_pass(d, 100);
    cancel_job(d, id, "stop");
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    ck_assert_int_eq(job(d, id).state, VIEW_FINISHED);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_past_its_deadline_fails_and_never_starts_again)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t queued, running;
    struct token t;

    ev.u.submit.retry = 5;
    ev.u.submit.deadline_ms = d->now + 200;
    running = submit_event(d, &ev);
    t = take(d);
    queued = submit_event(d, &ev);
    daemon_pass(d, 200);
    ck_assert_int_eq(job(d, queued).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, queued), STR("deadline")));
    ck_assert_int_eq(job(d, running).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    ck_assert_int_eq(job(d, running).state, VIEW_FINISHED);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_that_nobody_starts_expires)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t started, waiting;

    ev.u.submit.expires_ms = 100;
    started = submit_event(d, &ev);
    (void)take(d);
    waiting = submit_event(d, &ev);
    daemon_pass(d, 99);
    ck_assert_int_eq(job(d, waiting).state, VIEW_READY);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, waiting).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, waiting), STR("expired")));
    ck_assert_int_eq(job(d, started).state, VIEW_RUNNING);
    daemon_free(d);
}
END_TEST

START_TEST(a_delayed_job_is_not_handed_out_before_its_time)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.delay_ms = 100;
    id = submit_event(d, &ev);
    ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    daemon_pass(d, 99);
    ck_assert_ptr_null(got(d, 9));
    daemon_pass(d, 1);
    ck_assert_uint_eq(token_of(got(d, 9), 0).job.n, id);
    daemon_free(d);
}
END_TEST

START_TEST(a_failed_attempt_is_retried_after_its_back_off)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    int64_t delay = 100; /* doubled each time, 250 at most */
    uint64_t id;

    ev.u.submit.retry = 4;
    ev.u.submit.backoff_base_ms = 100;
    ev.u.submit.backoff_cap_ms = 250;
    id = submit_event(d, &ev);
    for (int i = 1; i <= 3; i++) {
        ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
        ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
        ck_assert_int_eq(job(d, id).errors, i);
        daemon_pass(d, delay / 2 - 1);
        ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
        daemon_pass(d, delay + 1);
        ck_assert_int_eq(job(d, id).state, VIEW_READY);
        delay = min_i64(delay * 2, 250);
    }
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:2")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert_int_eq(job(d, id).errors, 4);
    ck_assert(str_eq(last_class(d, id), STR("exit:2")));
    daemon_free(d);
}
END_TEST

START_TEST(keep_passes_then_NOJOB)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.keep_ms = 100;
    id = submit_event(d, &ev);
    daemon_pass(d, 1000);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    daemon_pass(d, 99);
    ck_assert(job(d, id).found);
    daemon_pass(d, 2);
    ck_assert(!job(d, id).found);
    ck_assert(is_error(result(d, 3, id, 0), CORE_ERR_NOJOB));
    daemon_free(d);
}
END_TEST

START_TEST(retention_is_bounded)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t ids[5];
    struct core_stats s;

    daemon_limits(d);
    d->limits.retain_jobs = 3;
    daemon_start(d);
    for (int i = 0; i < 5; i++) {
        ids[i] = submit(d, "q", 0);
        ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
        daemon_pass(d, 1);
    }
    core_stats(d->core, &s);
    ck_assert_int_eq(s.finished, 3);
    ck_assert(!job(d, ids[0]).found && !job(d, ids[1]).found);
    ck_assert(job(d, ids[2]).found && job(d, ids[4]).found);
    daemon_free(d);
}
END_TEST

/* ---------------------------------------------------------------- workers */

START_TEST(lost_attempt_is_redelivered_then_fails_as_lost)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.redeliver = 1;
    id = submit_event(d, &ev);
    (void)take(d);
    daemon_pass(d, d->limits.lease_ms - 1);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    ck_assert_int_eq(job(d, id).errors, 1);
    ck_assert_uint_eq(take(d).attempt, 2);
    leave(d, 9, DISCONNECT_DEAD);
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("lost")));
    daemon_free(d);
}
END_TEST

START_TEST(any_sign_of_life_renews_the_lease)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    for (int i = 0; i < 5; i++) {
        daemon_pass(d, d->limits.lease_ms - 1);
        alive(d, 9);
    }
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_free(d);
}
END_TEST

START_TEST(a_lease_begins_when_the_job_is_handed_out)
{
    struct daemon *d = daemon_new();
    uint64_t id;

    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    daemon_pass(d, 3 * d->limits.lease_ms);
    id = submit(d, "q", 0);
    ck_assert_uint_eq(token_of(got(d, 9), 0).attempt, 1);
    daemon_pass(d, d->limits.lease_ms - 1);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert_int_eq(job(d, id).attempt, 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_lease_that_ends_costs_one_attempt)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    const struct node *n;

    (void)take(d);
    /* The worker waits for more, longer than its lease: what it held is lost,
     * and it gets nothing new before it gave a sign of life. */
    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    daemon_pass(d, d->limits.lease_ms);
    n = got(d, 9);
    ck_assert(n && n->v.kind == VALUE_ARRAY && n->v.count == 0);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    ck_assert_int_eq(job(d, id).attempt, 1);
    ck_assert_int_eq(job(d, id).errors, 1);
    ck_assert_uint_eq(take(d).attempt, 2);
    daemon_free(d);
}
END_TEST

/* What comes in just then, before the time is looked at, does not go there
 * either: it would renew the lease of what was held before. */
START_TEST(who_is_past_its_lease_gets_no_job)
{
    struct daemon *d = daemon_new();
    uint64_t held = submit(d, "q", 0), id;

    (void)take(d);
    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    d->now += d->limits.lease_ms;
    id = submit(d, "q", 0);
    ck_assert_int_eq(job(d, id).attempt, 0);
    ck_assert_int_eq(job(d, held).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(quit_gives_leases_back)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), other;

    (void)take(d);
    other = submit(d, "q", 0);
    leave(d, 9, DISCONNECT_CLEAN);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    ck_assert_int_eq(job(d, id).errors, 0);
    ck_assert_uint_eq(take(d).job.n, id);
    ck_assert_uint_eq(take(d).job.n, other);
    daemon_free(d);
}
END_TEST

START_TEST(a_released_job_goes_before_its_priority)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), other;
    struct token t = take(d);

    other = submit(d, "q", 0);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    ck_assert_int_eq(job(d, id).errors, 0);
    t = take(d);
    ck_assert_uint_eq(t.job.n, id);
    ck_assert_uint_eq(t.attempt, 2);
    ck_assert_uint_eq(take(d).job.n, other);
    daemon_free(d);
}
END_TEST

START_TEST(touch_tells_what_a_job_should_know)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    const struct node *n;
    struct token t;

    ev.u.submit.timeout_ms = 1000;
    ev.u.submit.grace_ms = 77;
    (void)submit_event(d, &ev);
    t = take(d);
    daemon_pass(d, 400);
    n = report(d, EVENT_TOUCH, t, "");
    ck_assert_int_eq(node_int(node_item(n, 0)), 0);
    ck_assert_int_eq(node_int(node_item(n, 1)), 600);
    ck_assert(node_is_null(node_item(n, 2)));
    ck_assert(node_is_null(node_item(n, 3)));
    cancel_job(d, t.job.n, "stop");
    n = report(d, EVENT_TOUCH, t, "");
    ck_assert_int_eq(node_int(node_item(n, 0)), 1);
    ck_assert(str_eq(node_str(node_item(n, 2)), STR("stop")));
    ck_assert_int_eq(node_int(node_item(n, 3)), 77);
    daemon_free(d);
}
END_TEST

START_TEST(another_word_ends_a_wait_but_not_a_submit)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_UNBLOCK}, job_ev = a_job("q");
    const struct node *n;
    uint64_t id;

    ck_assert_ptr_null(fetch_from(d, 9, 1, CORE_NONE, "q"));
    n = ask(d, 9, &ev);
    ck_assert(n && n->v.kind == VALUE_ARRAY && n->v.count == 0);
    id = submit(d, "q", 0);
    ck_assert_ptr_null(result(d, 5, id, CORE_NONE));
    ck_assert(node_is_null(ask(d, 5, &ev)));
    for (int i = 0; i < 9; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 11, &job_ev));
    ck_assert_ptr_null(ask(d, 11, &ev));
    (void)take(d);
    ck_assert(node_id(got(d, 11), 'j') != 0);
    daemon_free(d);
}
END_TEST

START_TEST(fetch_gives_at_most_count)
{
    struct daemon *d = daemon_new();

    for (int i = 0; i < 5; i++)
        (void)submit(d, "q", 0);
    ck_assert_uint_eq(fetch_from(d, 9, 3, 0, "q")->v.count, 3);
    ck_assert_uint_eq(fetch_from(d, 9, 3, 0, "q")->v.count, 2);
    ck_assert_uint_eq(fetch_from(d, 9, 3, 0, "q")->v.count, 0);
    daemon_free(d);
}
END_TEST

static Suite *core_suite(void)
{
    Suite *suite = suite_create("core");
    TCase *queues = tcase_create("queues"), *jobs = tcase_create("jobs");
    TCase *workers = tcase_create("workers");

    tcase_add_test(queues, eleventh_submit_waits_and_goes_through_in_order);
    tcase_add_test(queues, wait_zero_is_queuefull);
    tcase_add_test(queues, a_wait_that_is_over_is_queuefull);
    tcase_add_test(queues, nobody_passes_a_waiting_producer);
    tcase_add_test(queues, a_producer_that_leaves_submits_nothing);
    tcase_add_test(queues, raising_a_bound_lets_producers_in);
    tcase_add_test(queues, priority_goes_first_then_order);
    tcase_add_test(queues, a_fetch_takes_its_queues_in_their_order);
    tcase_add_test(queues, a_paused_queue_starts_nothing);
    tcase_add_test(queues, what_is_over_its_limit_is_toobig);
    tcase_add_test(queues, a_full_disk_refuses_and_lets_running_jobs_finish);
    tcase_add_test(queues, a_daemon_that_drains_starts_and_accepts_nothing);
    tcase_add_test(jobs, a_job_goes_from_ready_to_its_result);
    tcase_add_test(jobs, cancelled_job_never_starts);
    tcase_add_test(jobs, cancel_twice_keeps_the_first_reason);
    tcase_add_test(jobs, cancelled_is_reported_when_the_job_has_ended);
    tcase_add_test(jobs, stale_report_changes_nothing);
    tcase_add_test(jobs, ok_although_asked_to_stop_is_ok);
    tcase_add_test(jobs, timeout_becomes_class_timeout);
    tcase_add_test(jobs, a_cancel_after_a_timeout_is_not_lost);
    tcase_add_test(jobs, a_job_past_its_deadline_fails_and_never_starts_again);
    tcase_add_test(jobs, a_job_that_nobody_starts_expires);
    tcase_add_test(jobs, a_delayed_job_is_not_handed_out_before_its_time);
    tcase_add_test(jobs, a_failed_attempt_is_retried_after_its_back_off);
    tcase_add_test(jobs, keep_passes_then_NOJOB);
    tcase_add_test(jobs, retention_is_bounded);
    tcase_add_test(workers, lost_attempt_is_redelivered_then_fails_as_lost);
    tcase_add_test(workers, any_sign_of_life_renews_the_lease);
    tcase_add_test(workers, a_lease_begins_when_the_job_is_handed_out);
    tcase_add_test(workers, a_lease_that_ends_costs_one_attempt);
    tcase_add_test(workers, who_is_past_its_lease_gets_no_job);
    tcase_add_test(workers, quit_gives_leases_back);
    tcase_add_test(workers, a_released_job_goes_before_its_priority);
    tcase_add_test(workers, touch_tells_what_a_job_should_know);
    tcase_add_test(workers, another_word_ends_a_wait_but_not_a_submit);
    tcase_add_test(workers, fetch_gives_at_most_count);
    suite_add_tcase(suite, queues);
    suite_add_tcase(suite, jobs);
    suite_add_tcase(suite, workers);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(core_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
