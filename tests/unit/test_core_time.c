/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of time: deadlines that are inherited and moved, time-outs, and
 * shields. Time is a number.
 */
#include "daemon.h"

/* ---------------------------------------------------------------- helpers */

static struct core_event a_move(bool is_job, uint64_t id)
{
    return (struct core_event){.kind = EVENT_RESCHEDULE,
                               .u.reschedule = {.is_job = is_job,
                                                .job = {is_job ? id : 0},
                                                .group = {is_job ? 0 : id},
                                                .timeout_ms = CORE_UNSET,
                                                .deadline_ms = CORE_UNSET,
                                                .expires_ms = CORE_UNSET,
                                                .at_ms = CORE_UNSET}};
}

static const struct node *move_deadline(struct daemon *d, bool is_job,
                                        uint64_t id, int64_t deadline_ms)
{
    struct core_event ev = a_move(is_job, id);

    ev.u.reschedule.deadline_ms = deadline_ms;
    return ask(d, 2, &ev);
}

static const struct node *move_timeout(struct daemon *d, bool is_job,
                                       uint64_t id, int64_t timeout_ms)
{
    struct core_event ev = a_move(is_job, id);

    ev.u.reschedule.timeout_ms = timeout_ms;
    return ask(d, 2, &ev);
}

static const struct node *move_expires(struct daemon *d, uint64_t id,
                                       int64_t expires_ms)
{
    struct core_event ev = a_move(true, id);

    ev.u.reschedule.expires_ms = expires_ms;
    return ask(d, 2, &ev);
}

static const struct node *move_start(struct daemon *d, uint64_t id,
                                     int64_t at_ms)
{
    struct core_event ev = a_move(true, id);

    ev.u.reschedule.at_ms = at_ms;
    return ask(d, 2, &ev);
}

static const struct node *shield(struct daemon *d, struct token t, int64_t ms)
{
    struct core_event ev = a_report(EVENT_SHIELD, t, "");

    ev.u.report.shield_ms = ms;
    return ask(d, 9, &ev);
}

static void shielded(struct daemon *d, struct token t, int64_t ms)
{
    ck_assert_int_eq(node_int(shield(d, t, ms)), ms);
}

/* Until when, as STATUS says; CORE_NONE: it is not. */
static int64_t shielded_until(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_STATUS, .u.job.id = {id}};

    return node_int_or(node_get(ask(d, 2, &ev), "shielded"), CORE_NONE);
}

static struct str class_of_group(struct daemon *d, uint64_t id)
{
    struct group_view v = group(d, id);

    ck_assert_uint_eq(v.errors->v.count, 1);
    return node_str(node_get(node_item(v.errors, 0), "class"));
}

/* ------------------------------------------------------------- RESCHEDULE */

START_TEST(a_deadline_moves_in_both_directions_at_once)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t id;

    ev.u.submit.deadline_ms = d->now + 100;
    id = submit_event(d, &ev);
    t = take(d);
    ck_assert(is_ok(move_deadline(d, true, id, d->now + 1000)));
    ck_assert_int_eq(job(d, id).deadline, d->now + 1000);
    daemon_pass(d, 900);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(move_deadline(d, true, id, CORE_NONE)));
    daemon_pass(d, 900);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(move_deadline(d, true, id, d->now - 1)));
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert(str_eq(last_class(d, id), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_deadline_in_the_past_ends_what_is_queued_now)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t ready = submit(d, "q", 0), delayed;

    ev.u.submit.delay_ms = 1000;
    delayed = submit_event(d, &ev);
    ck_assert(is_ok(move_deadline(d, true, ready, d->now)));
    ck_assert(is_ok(move_deadline(d, true, delayed, 1)));
    ck_assert_int_eq(job(d, ready).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, ready), STR("deadline")));
    ck_assert(str_eq(last_class(d, delayed), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_deadline_of_a_group_moves_for_all_below_it)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t outer, inner, below, id;
    struct token t;

    open.u.group_open.deadline_ms = d->now + 500;
    outer = open_event(d, &open);
    inner = open_under_group(d, outer, 1);
    id = submit(d, "q", inner);
    t = take(d);
    below = open_under_job(d, t);
    ck_assert_int_eq(group(d, below).deadline, d->now + 500);
    ck_assert(is_ok(move_deadline(d, false, outer, d->now + 2000)));
    ck_assert_int_eq(group(d, inner).deadline, d->now + 2000);
    ck_assert_int_eq(job(d, id).deadline, d->now + 2000);
    ck_assert_int_eq(group(d, below).deadline, d->now + 2000);
    daemon_pass(d, 1999);
    ck_assert(group(d, outer).open);
    daemon_crash(d);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert(str_eq(group(d, below).reason, STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_group_can_be_given_and_spared_a_deadline)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g);

    daemon_pass(d, 100);
    ck_assert(is_ok(move_timeout(d, false, g, 300)));
    ck_assert_int_eq(group(d, g).deadline, DAEMON_START + 300);
    ck_assert(is_ok(move_deadline(d, false, g, CORE_NONE)));
    daemon_pass(d, 1000);
    ck_assert(group(d, g).open);
    ck_assert(is_ok(move_timeout(d, false, g, 200)));
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(class_of_group(d, g), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_timeout_moves_for_this_attempt_and_later_ones)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t id;

    ev.u.submit.timeout_ms = 100;
    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 0;
    id = submit_event(d, &ev);
    t = take(d);
    ck_assert(is_ok(move_timeout(d, true, id, 300)));
    daemon_crash(d);
    daemon_pass(d, 299);
    alive(d, 9);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    daemon_pass(d, 1);
    (void)take(d);
    daemon_pass(d, 299);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(move_timeout(d, true, id, 10))); /* passed already */
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    daemon_free(d);
}
END_TEST

START_TEST(a_move_changes_no_other_job_of_the_queue)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), other = submit(d, "q", 0);

    ck_assert(is_ok(move_timeout(d, true, id, 300)));
    ck_assert_int_eq(job(d, id).timeout, 300);
    ck_assert_int_eq(job(d, other).timeout, CORE_NONE);
    ck_assert_int_eq(job(d, submit(d, "q", 0)).timeout, CORE_NONE);
    daemon_free(d);
}
END_TEST

START_TEST(expires_counts_from_the_submit)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), later = submit(d, "q", 0);

    daemon_pass(d, 100);
    ck_assert(is_ok(move_expires(d, later, 300)));
    ck_assert(is_ok(move_expires(d, id, 100)));
    ck_assert(str_eq(last_class(d, id), STR("expired")));
    daemon_pass(d, 199);
    ck_assert_int_eq(job(d, later).state, VIEW_READY);
    daemon_pass(d, 1);
    ck_assert(str_eq(last_class(d, later), STR("expired")));
    daemon_free(d);
}
END_TEST

START_TEST(a_start_moves_until_the_job_has_started)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g, delayed, ready, parked;

    open.u.group_open.width = 1;
    g = open_event(d, &open);
    ev.u.submit.delay_ms = 1000;
    delayed = submit_event(d, &ev);
    ready = submit(d, "q", g);
    ck_assert_uint_eq(take(d).job.n, ready);
    parked = submit(d, "q", g);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    ck_assert_int_eq(job(d, parked).state, VIEW_PARKED);
    ck_assert(is_ok(move_start(d, parked, d->now + 500)));
    ck_assert_int_eq(job(d, parked).state, VIEW_DELAYED);
    ready = submit(d, "q", 0);
    ck_assert(is_ok(move_start(d, ready, d->now + 300)));
    ck_assert_int_eq(job(d, ready).state, VIEW_DELAYED);
    ck_assert_ptr_null(fetch_from(d, 8, 1, CORE_NONE, "q"));
    ck_assert(is_ok(move_start(d, delayed, d->now)));
    ck_assert_uint_eq(token_of(got(d, 8), 0).job.n, delayed);
    daemon_crash(d);
    ck_assert_ptr_null(fetch_from(d, 8, 1, CORE_NONE, "q"));
    daemon_pass(d, 299);
    ck_assert_ptr_null(got(d, 8));
    daemon_pass(d, 1);
    ck_assert_uint_eq(token_of(got(d, 8), 0).job.n, ready);
    ck_assert(is_error(move_start(d, ready, d->now + 1), CORE_ERR_ENDED));
    ck_assert(is_error(move_expires(d, ready, 10), CORE_ERR_ENDED));
    daemon_free(d);
}
END_TEST

START_TEST(nothing_moves_once_expiry_has_begun)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t timed_out, late, g;

    ev.u.submit.timeout_ms = 100;
    timed_out = submit_event(d, &ev);
    ev.u.submit.timeout_ms = CORE_UNSET;
    ev.u.submit.deadline_ms = d->now + 100;
    late = submit_event(d, &ev);
    (void)take(d);
    (void)take(d);
    open.u.group_open.timeout_ms = 100;
    g = open_event(d, &open);
    (void)submit(d, "q", g);
    (void)take(d);
    daemon_pass(d, 100);
    ck_assert(
        is_error(move_timeout(d, true, timed_out, 1000), CORE_ERR_EXPIRED));
    ck_assert(is_error(move_deadline(d, true, late, d->now + 1000),
                       CORE_ERR_EXPIRED));
    ck_assert(
        is_error(move_deadline(d, false, g, CORE_NONE), CORE_ERR_EXPIRED));
    daemon_free(d);
}
END_TEST

START_TEST(what_has_ended_does_not_move)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), g = open_policy(d, 1, 0);
    struct core_event nothing = a_move(true, id);

    ck_assert(is_error(ask(d, 2, &nothing), CORE_ERR_GENERIC));
    ck_assert(is_error(move_start(d, 77, d->now), CORE_ERR_NOJOB));
    ck_assert(is_error(move_deadline(d, false, 77, 1), CORE_ERR_NOGROUP));
    ck_assert(is_error(move_deadline(d, false, 0, 1), CORE_ERR_GENERIC));
    nothing = a_move(false, g);
    nothing.u.reschedule.expires_ms = 1;
    ck_assert(is_error(ask(d, 2, &nothing), CORE_ERR_GENERIC));
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    ck_assert(is_error(move_timeout(d, true, id, 5), CORE_ERR_ENDED));
    ck_assert(is_error(move_timeout(d, false, g, 5), CORE_ERR_ENDED));
    daemon_free(d);
}
END_TEST

/* --------------------------------------------------- deadlines and retries */

START_TEST(no_attempt_is_planned_past_an_inherited_deadline)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g, late, early;

    open.u.group_open.timeout_ms = 1000;
    open.u.group_open.fail = 0;
    g = open_event(d, &open);
    ev.u.submit.group.n = g;
    ev.u.submit.retry = 5;
    ev.u.submit.backoff_base_ms = 3000;
    late = submit_event(d, &ev);
    ev.u.submit.backoff_base_ms = 100;
    early = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, late).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, late), STR("exit:1")));
    ck_assert_int_eq(job(d, early).state, VIEW_DELAYED);
    daemon_free(d);
}
END_TEST

/* The clock jumps and a report comes before the tick. */
START_TEST(a_deadline_that_has_passed_starts_nothing_more)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group(), done;
    uint64_t g, inner, running, queued;
    struct token t;

    open.u.group_open.timeout_ms = 1000;
    open.u.group_open.fail = 0;
    g = open_event(d, &open);
    inner = open_under_group(d, g, 0);
    ev.u.submit.group.n = inner;
    running = submit_event(d, &ev);
    queued = submit_event(d, &ev);
    t = take(d);
    d->now += 1000;
    done = a_report(EVENT_RELEASE, t, "");
    done.client.n = 9;
    daemon_one(d, &done);
    ck_assert_int_eq(job(d, running).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, running).reason, STR("deadline")));
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, queued).reason, STR("deadline")));
    ck_assert(str_eq(class_of_group(d, g), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_worker_is_told_how_much_time_is_left)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    const struct node *page;
    struct token t;

    open.u.group_open.timeout_ms = 1000;
    ev.u.submit.group.n = open_event(d, &open);
    ev.u.submit.timeout_ms = 5000;
    (void)submit_event(d, &ev);
    daemon_pass(d, 100);
    page = fetch_from(d, 9, 1, 0, "q");
    ck_assert_int_eq(
        node_int(node_get(node_item(node_item(page, 0), 4), "remaining")), 900);
    t = token_of(page, 0);
    ck_assert(is_ok(move_deadline(d, false, ev.u.submit.group.n, CORE_NONE)));
    ck_assert_int_eq(node_int(node_item(report(d, EVENT_TOUCH, t, ""), 1)),
                     5000);
    (void)submit(d, "other", 0);
    page = fetch_from(d, 9, 1, 0, "other");
    ck_assert_int_eq(
        node_get(node_item(node_item(page, 0), 4), "remaining")->v.i,
        CORE_NONE);
    daemon_free(d);
}
END_TEST

/* ---------------------------------------------------------------- shields */

START_TEST(a_shield_keeps_a_cancel_back_until_it_ends)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);
    const struct node *n;

    shielded(d, t, 500);
    ck_assert_int_eq(shielded_until(d, id), d->now + 500);
    ck_assert_ptr_null(fetch_from(d, 9, 0, CORE_NONE, "q"));
    cancel_job(d, id, "first");
    cancel_job(d, id, "second");
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(str_eq(job(d, id).reason, STR("first")));
    ck_assert_ptr_null(got(d, 9));
    daemon_pass(d, 499);
    ck_assert_ptr_null(got(d, 9));
    daemon_pass(d, 1);
    n = node_item(got(d, 9), 0);
    ck_assert(str_eq(node_str(node_item(n, 0)), STR("cancel")));
    ck_assert(str_eq(node_str(node_item(n, 2)), STR("first")));
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert_int_eq(shielded_until(d, id), CORE_NONE);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, id).reason, STR("first")));
    daemon_free(d);
}
END_TEST

START_TEST(a_shielded_job_is_not_told_of_a_cancel)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);
    const struct node *n;

    shielded(d, t, 500);
    cancel_job(d, id, "stop");
    n = report(d, EVENT_TOUCH, t, "");
    ck_assert_int_eq(node_int(node_item(n, 0)), 0);
    ck_assert(node_is_null(node_item(n, 2)));
    ck_assert(is_ok(report(d, EVENT_UNSHIELD, t, "")));
    n = report(d, EVENT_TOUCH, t, "");
    ck_assert_int_eq(node_int(node_item(n, 0)), 1);
    ck_assert(str_eq(node_str(node_item(n, 2)), STR("stop")));
    ck_assert(is_ok(report(d, EVENT_UNSHIELD, t, "")));
    daemon_free(d);
}
END_TEST

START_TEST(the_grace_of_a_cancel_waits_with_it)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, 9), id = submit(d, "q", 0);
    struct core_event ev = {.kind = EVENT_CANCEL,
                            .u.cancel = {.is_job = true,
                                         .job = {id},
                                         .reason = STR("stop"),
                                         .grace_ms = 77}};
    struct token t = take(d);

    shielded(d, t, 500);
    ck_assert(is_ok(ask(d, 2, &ev)));
    daemon_crash(d);
    ck_assert(resume(d, 9, session)->v.kind != VALUE_ERROR);
    ck_assert(is_ok(report(d, EVENT_UNSHIELD, t, "")));
    ck_assert_int_eq(
        node_int(node_item(node_item(fetch_from(d, 9, 0, 0, "q"), 0), 3)), 77);
    daemon_free(d);
}
END_TEST

START_TEST(a_shield_is_bounded_by_the_server)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    ck_assert_int_eq(node_int(shield(d, t, INT64_C(1) << 40)),
                     d->limits.shield_max_ms);
    ck_assert_int_eq(shielded_until(d, id), d->now + d->limits.shield_max_ms);
    alive(d, 9);
    daemon_pass(d, 20000);
    alive(d, 9);
    shielded(d, t, 5000); /* moves the end, here to an earlier time */
    ck_assert_int_eq(shielded_until(d, id), d->now + 5000);
    daemon_pass(d, 5000);
    ck_assert_int_eq(shielded_until(d, id), CORE_NONE);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_free(d);
}
END_TEST

START_TEST(a_shield_that_comes_after_the_cancel_is_refused)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0), b = submit(d, "q", 0);
    struct core_event ev = a_job("q");
    struct token ta = take(d), tb = take(d), tc;

    cancel_job(d, a, "stop");
    ck_assert(is_error(shield(d, ta, 100), CORE_ERR_CANCELLED));
    shielded(d, tb, 100);
    cancel_job(d, b, "stop");
    ck_assert(is_error(shield(d, tb, 100), CORE_ERR_CANCELLED));
    ev.u.submit.timeout_ms = 10;
    (void)submit_event(d, &ev);
    tc = token_of(fetch_from(d, 8, 1, 0, "q"), 0);
    daemon_pass(d, 10);
    ck_assert(is_error(shield(d, tc, 100), CORE_ERR_CANCELLED));
    ck_assert(is_ok(report(d, EVENT_DONE, ta, "")));
    ck_assert(is_error(shield(d, ta, 100), CORE_ERR_STALE));
    ck_assert(is_error(report(d, EVENT_UNSHIELD, ta, ""), CORE_ERR_STALE));
    daemon_free(d);
}
END_TEST

/* The cancel of a group above, its policy, its deadline, its owner's end. */
START_TEST(a_shield_holds_against_every_scope_above)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t g[4], ids[4], failing;
    struct token t[4], failed;

    g[0] = open_policy(d, 0, 0);
    g[1] = open_policy(d, 1, 0);
    open.u.group_open.timeout_ms = 100;
    g[2] = open_event(d, &open);
    open = a_group();
    open.u.group_open.detached = false;
    g[3] = open_event(d, &open);
    for (int i = 0; i < 4; i++) {
        ids[i] = submit(d, "q", g[i]);
        t[i] = take(d);
        shielded(d, t[i], 1000);
    }
    failing = submit(d, "q", g[1]);
    failed = take(d);
    ck_assert_uint_eq(failed.job.n, failing);
    cancel_group(d, g[0], "stop");
    ck_assert(is_ok(report(d, EVENT_FAIL, failed, "exit:1")));
    daemon_pass(d, 100);
    leave(d, 4, DISCONNECT_CLEAN);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(job(d, ids[i]).state, VIEW_RUNNING);
        ck_assert(job(d, ids[i]).reason.len > 0);
        ck_assert(!group(d, g[i]).ended_state);
    }
    ck_assert(str_eq(job(d, ids[2]).reason, STR("deadline")));
    ck_assert(str_eq(job(d, ids[3]).reason, STR("owner-lost")));
    daemon_pass(d, 900);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(job(d, ids[i]).state, VIEW_CANCELLING);
        ck_assert(is_ok(report(d, EVENT_FAIL, t[i], "cancelled")));
        ck_assert(group(d, g[i]).ended_state);
    }
    ck_assert_int_eq(group(d, g[0]).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g[1]).outcome, VIEW_FAILED);
    ck_assert_int_eq(group(d, g[2]).outcome, VIEW_FAILED);
    ck_assert_int_eq(group(d, g[3]).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(its_own_time_holds_for_a_shielded_job)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t timed_out, late;
    struct token a, b;

    ev.u.submit.timeout_ms = 100;
    timed_out = submit_event(d, &ev);
    ev.u.submit.timeout_ms = CORE_UNSET;
    ev.u.submit.deadline_ms = d->now + 100;
    late = submit_event(d, &ev);
    a = take(d);
    b = take(d);
    shielded(d, a, 1000);
    shielded(d, b, 1000);
    cancel_job(d, timed_out, "stop");
    daemon_pass(d, 100);
    ck_assert_int_eq(job(d, timed_out).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, late).state, VIEW_CANCELLING);
    ck_assert(str_eq(job(d, timed_out).reason, STR("stop")));
    ck_assert(is_ok(report(d, EVENT_FAIL, a, "cancelled")));
    ck_assert(is_ok(report(d, EVENT_FAIL, b, "cancelled")));
    ck_assert(str_eq(last_class(d, timed_out), STR("timeout")));
    ck_assert(str_eq(job(d, timed_out).reason, STR("stop")));
    ck_assert(str_eq(last_class(d, late), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(the_deadline_of_a_shielded_job_is_its_own)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group(), ev = a_job("q");
    uint64_t id, below;
    struct token t;

    open.u.group_open.timeout_ms = 1000;
    ev.u.submit.group.n = open_event(d, &open);
    ev.u.submit.deadline_ms = d->now + 3000;
    id = submit_event(d, &ev);
    t = take(d);
    below = open_under_job(d, t);
    ck_assert_int_eq(group(d, below).deadline, d->now + 1000);
    shielded(d, t, 500);
    ck_assert_int_eq(job(d, id).deadline, d->now + 3000);
    ck_assert_int_eq(group(d, below).deadline, d->now + 3000);
    ck_assert_int_eq(node_int(node_item(report(d, EVENT_TOUCH, t, ""), 1)),
                     3000);
    ck_assert(is_ok(report(d, EVENT_UNSHIELD, t, "")));
    ck_assert_int_eq(group(d, below).deadline, d->now + 1000);
    daemon_free(d);
}
END_TEST

START_TEST(a_shield_protects_what_is_inside_it)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), id = submit(d, "q", g), below, deep;
    uint64_t child, queued, late;
    struct token t = take(d), c;

    below = open_under_job(d, t);
    child = submit(d, "q", below);
    c = take(d);
    queued = submit(d, "q", below);
    shielded(d, t, 500);
    cancel_group(d, g, "stop");
    daemon_crash(d);
    ck_assert_int_eq(job(d, child).state, VIEW_RUNNING);
    deep = open_under_job(d, t);
    late = submit(d, "q", deep); /* takes members although one is pending */
    ck_assert_uint_eq(take(d).job.n, queued);
    ck_assert_int_eq(job(d, late).state, VIEW_READY);
    alive(d, 9);
    daemon_pass(d, 500);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, child).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, late).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, late).reason, STR("stop")));
    ck_assert(is_ok(report(d, EVENT_FAIL, c, "cancelled")));
    daemon_free(d);
}
END_TEST

START_TEST(a_shielded_body_that_ends_ok_is_ok)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    shielded(d, t, 500);
    cancel_job(d, id, "stop");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(nothing_under_a_shield_outlives_its_job)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), below, child;
    struct token t = take(d), c;

    below = open_under_job(d, t);
    child = submit(d, "q", below);
    c = take(d);
    shielded(d, t, 500);
    cancel_job(d, id, "stop");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
    ck_assert_int_eq(job(d, child).state, VIEW_CANCELLING);
    ck_assert_int_eq(shielded_until(d, id), CORE_NONE);
    daemon_crash(d);
    ck_assert_int_eq(job(d, child).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, c, "cancelled")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, id).reason, STR("stop")));
    daemon_free(d);
}
END_TEST

/* Both are kept; and after a cancel there is no other attempt. */
START_TEST(a_shielded_job_that_fails_keeps_its_error_and_the_cancel)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t failed, lost;
    struct token t, u;

    ev.u.submit.retry = 5;
    ev.u.submit.redeliver = 5;
    failed = submit_event(d, &ev);
    lost = submit_event(d, &ev);
    t = take(d);
    u = token_of(fetch_from(d, 8, 1, 0, "q"), 0);
    shielded(d, t, 500);
    shielded(d, u, 500);
    cancel_job(d, failed, "stop");
    cancel_job(d, lost, "stop");
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    leave(d, 8, DISCONNECT_DEAD);
    ck_assert_int_eq(job(d, failed).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, failed), STR("exit:1")));
    ck_assert(str_eq(job(d, failed).reason, STR("stop")));
    ck_assert_int_eq(job(d, lost).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(last_class(d, lost), STR("lost")));
    ck_assert(str_eq(job(d, lost).reason, STR("stop")));
    daemon_free(d);
}
END_TEST

START_TEST(a_shield_is_of_one_attempt)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);

    shielded(d, t, 500);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    t = take(d);
    ck_assert_int_eq(shielded_until(d, id), CORE_NONE);
    cancel_job(d, id, "stop");
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    daemon_free(d);
}
END_TEST

START_TEST(a_shield_survives_a_crash)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0), b = submit(d, "q", 0), until;
    struct token ta = take(d), tb = take(d);

    shielded(d, ta, 500);
    shielded(d, tb, 5000);
    until = (uint64_t)d->now + 500;
    cancel_job(d, a, "stop");
    daemon_crash(d);
    ck_assert_int_eq(shielded_until(d, a), (int64_t)until);
    ck_assert_int_eq(job(d, a).state, VIEW_RUNNING);
    cancel_job(d, b, "stop");
    ck_assert_int_eq(job(d, b).state, VIEW_RUNNING);
    daemon_pass(d, 500);
    ck_assert_int_eq(job(d, a).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, b).state, VIEW_RUNNING);
    daemon_free(d);
}
END_TEST

START_TEST(a_move_that_is_asked_again_is_OK_whatever_it_did)
{
    struct daemon *d = daemon_new();
    uint64_t running = submit(d, "q", 0), queued, g;

    (void)take(d);
    queued = submit(d, "q", 0);
    g = open_policy(d, 1, 0);
    (void)submit(d, "q", g);
    for (int turn = 0; turn < 3; turn++) {
        ck_assert(is_ok(move_deadline(d, true, running, DAEMON_START)));
        ck_assert(is_ok(move_deadline(d, true, queued, DAEMON_START)));
        ck_assert(is_ok(move_deadline(d, false, g, DAEMON_START)));
        daemon_crash(d);
    }
    ck_assert(is_error(move_deadline(d, true, running, DAEMON_START + 1),
                       CORE_ERR_EXPIRED));
    ck_assert(is_error(move_deadline(d, true, queued, DAEMON_START + 1),
                       CORE_ERR_ENDED));
    ck_assert(is_error(move_deadline(d, false, g, CORE_NONE), CORE_ERR_ENDED));
    daemon_free(d);
}
END_TEST

/* Also when the job is moved just then, before the time is looked at. */
START_TEST(the_deadline_of_a_group_goes_before_times_of_its_jobs)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), move;
    uint64_t g = open_policy(d, 0, 0), id;

    ev.u.submit.group.n = g;
    ev.u.submit.expires_ms = _i == 0 ? 100 : 1000;
    id = submit_event(d, &ev);
    close_group(d, g);
    ck_assert(is_ok(move_deadline(d, false, g, d->now + 100)));
    if (_i == 0) {
        daemon_pass(d, 100);
    } else {
        d->now += 100;
        move = a_move(true, id);
        move.u.reschedule.expires_ms = 50;
        ck_assert(is_ok(ask(d, 1, &move)));
    }
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    daemon_free(d);
}
END_TEST

/* The wall clock is set; no time passes. */
static void set_clock(struct daemon *d, int64_t by_ms)
{
    struct core_event ev = {.kind = EVENT_CLOCK, .u.shift_ms = by_ms};

    if (by_ms > 0) /* else it goes at half speed, so late by as much */
        d->now += by_ms;
    daemon_step(d, &ev);
}

#define HOUR INT64_C(3600000)

START_TEST(a_clock_that_is_set_forward_ends_no_lease)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);

    (void)take(d);
    daemon_pass(d, 1000);
    set_clock(d, HOUR);
    daemon_pass(d, d->limits.lease_ms - 1001);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(a_clock_that_goes_slower_makes_no_lease_longer)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);

    (void)take(d);
    daemon_pass(d, 1000);
    set_clock(d, -1000); /* 2 s have passed */
    daemon_pass(d, d->limits.lease_ms - 2001);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(a_clock_that_is_set_forward_ends_no_grace)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t id;

    ev.u.group_open.detached = false;
    id = submit(d, "q", open_event(d, &ev));
    leave(d, 4, DISCONNECT_BROKEN);
    daemon_pass(d, 1000);
    set_clock(d, HOUR);
    daemon_pass(d, d->limits.session_grace_ms - 1001);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(a_clock_that_is_set_ends_a_wait_neither_sooner_nor_later)
{
    struct daemon *d = daemon_new();

    ck_assert_ptr_null(fetch_from(d, 9, 1, 5000, "q"));
    daemon_pass(d, 1000);
    set_clock(d, HOUR);
    daemon_pass(d, 1000);
    set_clock(d, -1000);
    daemon_pass(d, 1999);
    ck_assert_ptr_null(got(d, 9));
    daemon_pass(d, 1);
    ck_assert_ptr_nonnull(got(d, 9));
    daemon_free(d);
}
END_TEST

START_TEST(a_deadline_goes_by_the_clock_that_is_set)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.deadline_ms = d->now + HOUR;
    id = submit_event(d, &ev);
    (void)take(d);
    set_clock(d, HOUR);
    daemon_pass(d, 0);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    daemon_free(d);
}
END_TEST

static Suite *time_suite(void)
{
    Suite *suite = suite_create("core time");
    TCase *moves = tcase_create("moves"), *shields = tcase_create("shields");
    TCase *steps = tcase_create("steps of the clock");

    tcase_add_test(moves, a_move_that_is_asked_again_is_OK_whatever_it_did);
    tcase_add_test(moves, a_deadline_moves_in_both_directions_at_once);
    tcase_add_loop_test(
        moves, the_deadline_of_a_group_goes_before_times_of_its_jobs, 0, 2);
    tcase_add_test(moves, a_deadline_in_the_past_ends_what_is_queued_now);
    tcase_add_test(moves, a_deadline_of_a_group_moves_for_all_below_it);
    tcase_add_test(moves, a_group_can_be_given_and_spared_a_deadline);
    tcase_add_test(moves, a_timeout_moves_for_this_attempt_and_later_ones);
    tcase_add_test(moves, a_move_changes_no_other_job_of_the_queue);
    tcase_add_test(moves, expires_counts_from_the_submit);
    tcase_add_test(moves, a_start_moves_until_the_job_has_started);
    tcase_add_test(moves, nothing_moves_once_expiry_has_begun);
    tcase_add_test(moves, what_has_ended_does_not_move);
    tcase_add_test(moves, no_attempt_is_planned_past_an_inherited_deadline);
    tcase_add_test(moves, a_deadline_that_has_passed_starts_nothing_more);
    tcase_add_test(moves, a_worker_is_told_how_much_time_is_left);
    tcase_add_test(shields, a_shield_keeps_a_cancel_back_until_it_ends);
    tcase_add_test(shields, a_shielded_job_is_not_told_of_a_cancel);
    tcase_add_test(shields, the_grace_of_a_cancel_waits_with_it);
    tcase_add_test(shields, a_shield_is_bounded_by_the_server);
    tcase_add_test(shields, a_shield_that_comes_after_the_cancel_is_refused);
    tcase_add_test(shields, a_shield_holds_against_every_scope_above);
    tcase_add_test(shields, its_own_time_holds_for_a_shielded_job);
    tcase_add_test(shields, the_deadline_of_a_shielded_job_is_its_own);
    tcase_add_test(shields, a_shield_protects_what_is_inside_it);
    tcase_add_test(shields, a_shielded_body_that_ends_ok_is_ok);
    tcase_add_test(shields, nothing_under_a_shield_outlives_its_job);
    tcase_add_test(shields,
                   a_shielded_job_that_fails_keeps_its_error_and_the_cancel);
    tcase_add_test(shields, a_shield_is_of_one_attempt);
    tcase_add_test(shields, a_shield_survives_a_crash);
    suite_add_tcase(suite, moves);
    tcase_add_test(steps, a_clock_that_is_set_forward_ends_no_lease);
    tcase_add_test(steps, a_clock_that_goes_slower_makes_no_lease_longer);
    tcase_add_test(steps, a_clock_that_is_set_forward_ends_no_grace);
    tcase_add_test(steps,
                   a_clock_that_is_set_ends_a_wait_neither_sooner_nor_later);
    tcase_add_test(steps, a_deadline_goes_by_the_clock_that_is_set);
    suite_add_tcase(suite, shields);
    suite_add_tcase(suite, steps);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(time_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
