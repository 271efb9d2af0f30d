/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of scopes: groups, jobs with groups below them, sessions, and what
 * is left of all of them after a crash. Time is a number.
 */
#include <errno.h>

#include "daemon.h"

/* ------------------------------------------------------------- membership */

START_TEST(group_ends_only_after_all_members)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token a, b;

    (void)submit(d, "q", g);
    (void)submit(d, "q", g);
    a = take(d);
    b = take(d);
    ck_assert_ptr_null(group_ask(d, 5, EVENT_GROUP_INFO, g, 0, CORE_NONE, 0));
    close_group(d, g);
    close_group(d, g);
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    ck_assert(group(d, g).closed);
    ck_assert_ptr_null(got(d, 5));
    ck_assert(is_ok(report(d, EVENT_DONE, b, "")));
    ck_assert(group(d, g).ended_state);
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    ck_assert_ptr_nonnull(got(d, 5));
    daemon_free(d);
}
END_TEST

START_TEST(an_empty_group_ends_when_it_is_closed)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);

    daemon_pass(d, 5);
    ck_assert(group(d, g).open);
    close_group(d, g);
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(closed_group_refuses)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g = open_policy(d, 1, 0);

    (void)submit(d, "q", g);
    close_group(d, g);
    ev.u.submit.group.n = g;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CLOSED));
    open.u.group_open.parent.group.n = g;
    ck_assert(is_error(ask(d, 1, &open), CORE_ERR_CLOSED));
    daemon_free(d);
}
END_TEST

START_TEST(cancelled_group_refuses)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g = open_policy(d, 1, 0), inner = open_under_group(d, g, 1);

    (void)submit(d, "q", inner);
    (void)take(d);
    cancel_group(d, g, "stop");
    ev.u.submit.group.n = inner;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CANCELLED));
    ev.u.submit.group.n = g;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CANCELLED));
    open.u.group_open.parent.group.n = g;
    ck_assert(is_error(ask(d, 1, &open), CORE_ERR_CANCELLED));
    daemon_free(d);
}
END_TEST

START_TEST(unknown_groups_are_NOGROUP)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = 12345;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_NOGROUP));
    ck_assert(!group(d, 12345).found);
    ck_assert(is_error(group_ask(d, 5, EVENT_GROUP_NEXT, 12345, 0, 0, 10),
                       CORE_ERR_NOGROUP));
    daemon_free(d);
}
END_TEST

static uint64_t nest(struct daemon *d, int64_t depth, enum core_error *error)
{
    uint64_t parent = 0;

    for (int64_t i = 0; i < depth; i++) {
        struct core_event ev = a_group();
        const struct node *n;

        ev.u.group_open.parent.group.n = parent;
        n = ask(d, 4, &ev);
        ck_assert_ptr_nonnull(n);
        if (n->v.kind == VALUE_ERROR) {
            *error = (enum core_error)n->v.code;
            return (uint64_t)i;
        }
        parent = node_id(n, 'g');
    }
    return (uint64_t)depth;
}

START_TEST(trees_are_bounded_in_depth)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    enum core_error error = CORE_ERR_GENERIC;

    daemon_limits(d);
    d->limits.depth_max = 5;
    daemon_start(d);
    ck_assert_uint_ge(nest(d, 10, &error), 4);
    ck_assert_int_eq(error, CORE_ERR_LIMIT);
    daemon_free(d);
}
END_TEST

START_TEST(members_and_groups_are_bounded)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g;

    daemon_limits(d);
    d->limits.members_max = 3;
    d->limits.groups_max = 2;
    daemon_start(d);
    g = open_policy(d, 1, 0);
    for (int i = 0; i < 3; i++)
        (void)submit(d, "q", g);
    ev.u.submit.group.n = g;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_LIMIT));
    (void)open_policy(d, 1, 0);
    ck_assert(is_error(ask(d, 1, &open), CORE_ERR_LIMIT));
    daemon_free(d);
}
END_TEST

/* --------------------------------------------------------------- policies */

START_TEST(fail_fast_cancels_siblings)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);
    uint64_t failing = submit(d, "q", g), running = submit(d, "q", g);
    uint64_t queued = submit(d, "q", g);
    struct token a = take(d), b = take(d);
    struct group_view v;

    ck_assert_uint_eq(a.job.n, failing);
    close_group(d, g);
    ck_assert(is_ok(report(d, EVENT_FAIL, a, "exit:1")));
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, running).state, VIEW_CANCELLING);
    ck_assert(!group(d, g).ended_state); /* the cancelled are awaited */
    ck_assert(is_ok(report(d, EVENT_FAIL, b, "cancelled")));
    v = group(d, g);
    ck_assert(v.ended_state);
    ck_assert_int_eq(v.outcome, VIEW_FAILED);
    ck_assert_int_eq(v.failed, 1);
    ck_assert_int_eq(v.cancelled, 2);
    ck_assert_int_eq(v.members, 3);
    daemon_free(d);
}
END_TEST

START_TEST(succeed_one_cancels_the_losers)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 1), loser, queued;
    struct token a, b;

    (void)submit(d, "q", g);
    loser = submit(d, "q", g);
    queued = submit(d, "q", g);
    a = take(d);
    b = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, loser).state, VIEW_CANCELLING);
    ck_assert(!group(d, g).ended_state);
    ck_assert(is_ok(report(d, EVENT_FAIL, b, "cancelled")));
    close_group(d, g);
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(a_race_that_nobody_wins_fails)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 1);
    struct group_view v;

    (void)submit(d, "q", g);
    (void)submit(d, "q", g);
    close_group(d, g);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:2")));
    v = group(d, g);
    ck_assert_int_eq(v.outcome, VIEW_FAILED);
    ck_assert_uint_eq(v.errors->v.count, 1);
    ck_assert(str_eq(node_str(node_get(node_item(v.errors, 0), "class")),
                     STR("policy")));
    daemon_free(d);
}
END_TEST

START_TEST(collect_never_fails_its_parent)
{
    struct daemon *d = daemon_new();
    uint64_t outer = open_policy(d, 1, 0);
    uint64_t inner = open_under_group(d, outer, 0);
    uint64_t sibling = submit(d, "other", outer);

    (void)submit(d, "q", inner);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    close_group(d, inner);
    ck_assert_int_eq(group(d, inner).outcome, VIEW_OK);
    ck_assert_int_eq(group(d, inner).failed, 1);
    ck_assert(group(d, outer).open);
    ck_assert_int_eq(job(d, sibling).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(a_failed_group_is_a_failure_of_its_parent)
{
    struct daemon *d = daemon_new();
    uint64_t outer = open_policy(d, 1, 0);
    uint64_t inner = open_under_group(d, outer, 1);
    uint64_t sibling = submit(d, "other", outer);

    (void)submit(d, "q", inner);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    close_group(d, inner);
    ck_assert_int_eq(group(d, inner).outcome, VIEW_FAILED);
    ck_assert_int_eq(job(d, sibling).outcome, VIEW_CANCELLED);
    close_group(d, outer);
    ck_assert_int_eq(group(d, outer).outcome, VIEW_FAILED);
    ck_assert_int_eq(group(d, outer).failed, 1);
    daemon_free(d);
}
END_TEST

START_TEST(cancelled_members_are_no_failures)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);
    uint64_t one = submit(d, "q", g), two = submit(d, "q", g);

    cancel_job(d, one, "not needed");
    ck_assert_int_eq(job(d, two).state, VIEW_READY);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    ck_assert_int_eq(group(d, g).cancelled, 1);
    daemon_free(d);
}
END_TEST

START_TEST(member_that_will_be_retried_has_not_failed)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t g = open_policy(d, 1, 0), sibling, id;

    ev.u.submit.group.n = g;
    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 100;
    id = submit_event(d, &ev);
    sibling = submit(d, "other", g);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
    ck_assert_int_eq(job(d, sibling).state, VIEW_READY);
    ck_assert_int_eq(group(d, g).failed, 0);
    daemon_pass(d, 1000);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, sibling).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g).failed, 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_group_cancelled_while_members_fail_keeps_both)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), failed;
    struct token a, b;

    failed = submit(d, "q", g);
    (void)submit(d, "q", g);
    a = take(d);
    b = take(d);
    ck_assert(is_ok(report(d, EVENT_FAIL, a, "exit:1")));
    cancel_group(d, g, "enough");
    ck_assert(is_ok(report(d, EVENT_FAIL, b, "cancelled")));
    close_group(d, g);
    ck_assert_int_eq(group(d, g).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(group(d, g).reason, STR("enough")));
    ck_assert_int_eq(group(d, g).failed, 1);
    ck_assert(str_eq(last_class(d, failed), STR("exit:1")));
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------ width */

START_TEST(width_bounds_running_members)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t g, inner, c;
    struct token a;

    ev.u.group_open.width = 2;
    g = open_event(d, &ev);
    inner = open_under_group(d, g, 1);
    (void)submit(d, "q", g);
    (void)submit(d, "q", inner);
    c = submit(d, "q", g);
    a = token_of(fetch_from(d, 9, 5, 0, "q"), 0);
    ck_assert_int_eq(job(d, c).state, VIEW_PARKED);
    ck_assert_uint_eq(fetch_from(d, 9, 5, 0, "q")->v.count, 0);
    ck_assert_ptr_null(fetch_from(d, 8, 5, CORE_NONE, "q"));
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    ck_assert_uint_eq(token_of(got(d, 8), 0).job.n, c);
    daemon_free(d);
}
END_TEST

START_TEST(a_parked_job_does_not_block_others)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t g, free_one;

    ev.u.group_open.width = 1;
    g = open_event(d, &ev);
    for (int i = 0; i < 4; i++)
        (void)submit(d, "q", g);
    free_one = submit(d, "q", 0);
    ck_assert_uint_ne(take(d).job.n, free_one);
    ck_assert_uint_eq(take(d).job.n, free_one);
    daemon_free(d);
}
END_TEST

/* Room in a width is handed on by whoever was called and does not start. */
START_TEST(room_in_a_width_is_never_lost)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group(), job_ev = a_job("q");
    uint64_t g, dying, last;
    struct token a;

    ev.u.group_open.width = 1;
    ev.u.group_open.fail = 0; /* to expire is to fail */
    g = open_event(d, &ev);
    (void)submit(d, "q", g);
    a = take(d);
    job_ev.u.submit.group.n = g;
    job_ev.u.submit.expires_ms = 100;
    dying = submit_event(d, &job_ev);
    last = submit(d, "q", g);
    ck_assert_uint_eq(fetch_from(d, 9, 5, 0, "q")->v.count, 0);
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    daemon_pass(d, 100);
    ck_assert_int_eq(job(d, dying).state, VIEW_FINISHED);
    ck_assert_uint_eq(take(d).job.n, last);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------- time */

START_TEST(effective_deadline_is_the_minimum)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group(), ev = a_job("q");
    uint64_t outer, inner, late, early;

    open.u.group_open.deadline_ms = d->now + 1000;
    outer = open_event(d, &open);
    inner = open_under_group(d, outer, 1);
    ck_assert_int_eq(group(d, inner).deadline, d->now + 1000);
    ev.u.submit.group.n = inner;
    ev.u.submit.deadline_ms = d->now + 5000;
    late = submit_event(d, &ev);
    ev.u.submit.deadline_ms = d->now + 500;
    early = submit_event(d, &ev);
    ck_assert_int_eq(job(d, late).deadline, d->now + 1000);
    ck_assert_int_eq(job(d, early).deadline, d->now + 500);
    daemon_free(d);
}
END_TEST

START_TEST(a_group_under_a_job_inherits_its_deadline)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t g;

    ev.u.submit.deadline_ms = d->now + 700;
    (void)submit_event(d, &ev);
    t = take(d);
    g = open_under_job(d, t);
    ck_assert_int_eq(group(d, g).deadline, DAEMON_START + 700);
    ck_assert_int_eq(job(d, submit(d, "q", g)).deadline, DAEMON_START + 700);
    daemon_free(d);
}
END_TEST

START_TEST(group_deadline_fails_the_group)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    struct group_view v;
    uint64_t g, running, queued;
    struct token t;

    open.u.group_open.timeout_ms = 1000;
    open.u.group_open.fail = 0;
    g = open_event(d, &open);
    running = submit(d, "q", g);
    queued = submit(d, "q", g);
    t = take(d);
    close_group(d, g);
    daemon_pass(d, 999);
    ck_assert_int_eq(job(d, running).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, queued).state, VIEW_FINISHED);
    ck_assert_int_eq(job(d, running).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    v = group(d, g);
    ck_assert_int_eq(v.outcome, VIEW_FAILED);
    ck_assert(str_eq(v.reason, STR("deadline")));
    ck_assert_uint_eq(v.errors->v.count, 1);
    ck_assert(str_eq(node_str(node_get(node_item(v.errors, 0), "class")),
                     STR("deadline")));
    daemon_free(d);
}
END_TEST

/* ---------------------------------------------------------------- nesting */

START_TEST(joining_job_ends_after_its_groups)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), child, g;
    struct core_event ev = a_job("q");
    struct token t = take(d);

    g = open_under_job(d, t);
    child = submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
    ck_assert(group(d, g).closed); /* the body's report closes them */
    ev.u.submit.group.n = g;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CLOSED));
    ck_assert(node_is_null(result(d, 3, id, 0)));
    t = take(d);
    ck_assert_uint_eq(t.job.n, child);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(failing_body_cancels_its_groups_first)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id, running, queued, g;
    struct token t, child;

    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 0;
    id = submit_event(d, &ev);
    t = take(d);
    g = open_under_job(d, t);
    running = submit(d, "q", g);
    child = take(d);
    queued = submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, running).state, VIEW_CANCELLING);
    daemon_pass(d, 10); /* no retry before the subtree has ended */
    ck_assert_int_eq(job(d, id).attempt, 1);
    ck_assert(is_ok(report(d, EVENT_FAIL, child, "cancelled")));
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    ck_assert_int_eq(group(d, g).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(a_group_outlives_the_memory_of_its_job)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    struct token t;
    uint64_t g;

    ev.u.submit.keep_ms = 100;
    (void)submit_event(d, &ev);
    t = take(d);
    open.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    open.u.group_open.keep_ms = 1000;
    g = open_event(d, &open);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    daemon_pass(d, 500);
    ck_assert(!job(d, t.job.n).found);
    ck_assert(group(d, g).found);
    daemon_crash(d);
    ck_assert(group(d, g).found);
    daemon_pass(d, 501);
    ck_assert(!group(d, g).found);
    daemon_free(d);
}
END_TEST

START_TEST(a_failed_group_fails_its_job)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), g;
    struct token t = take(d);

    g = open_under_job(d, t);
    (void)submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancel_reaches_the_whole_tree)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), id = submit(d, "q", g);
    struct token t = take(d), leaf;
    uint64_t below = open_under_job(d, t);
    uint64_t deep = open_under_group(d, below, 1);
    uint64_t child = submit(d, "q", deep), queued;

    leaf = take(d);
    queued = submit(d, "q", deep);
    cancel_group(d, g, "all of it");
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, child).state, VIEW_CANCELLING);
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
    ck_assert(is_ok(report(d, EVENT_FAIL, leaf, "cancelled")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, deep).outcome, VIEW_CANCELLED);
    close_group(d, g);
    ck_assert_int_eq(group(d, g).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(only_the_current_attempt_opens_groups)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    (void)take(d);
    ev.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    ck_assert(is_error(ask(d, 4, &ev), CORE_ERR_STALE));
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------ pages */

START_TEST(results_in_order_of_submission)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), ids[6];
    const struct node *page;
    int64_t cursor = 0;
    struct token t[6];
    int seen = 0;

    for (int i = 0; i < 6; i++)
        ids[i] = submit(d, "q", g);
    for (int i = 0; i < 6; i++)
        t[i] = take(d);
    for (int i = 5; i >= 1; i--) { /* they end in another order */
        ck_assert(is_ok(report(d, i % 2 ? EVENT_FAIL : EVENT_DONE, t[i],
                               i % 2 ? "exit:1" : "")));
        daemon_pass(d, 1);
    }
    do {
        page = group_ask(d, 3, EVENT_GROUP_RESULTS, g, cursor, 0, 4);
        cursor = node_int(node_item(page, 0));
        for (uint32_t i = 0; i < node_item(page, 1)->v.count; i++) {
            const struct node *map = node_item(node_item(page, 1), i);

            ck_assert_int_lt(seen, 6);
            ck_assert_uint_eq(node_id(node_get(map, "id"), 'j'), ids[seen]);
            ck_assert_int_eq(view_outcome_read(node_get(map, "outcome")),
                             seen == 0  ? VIEW_NONE
                             : seen % 2 ? VIEW_FAILED
                                        : VIEW_OK);
            seen++;
        }
    } while (node_item(page, 1)->v.count == 4);
    ck_assert_int_eq(seen, 6);
    daemon_free(d);
}
END_TEST

START_TEST(next_in_order_of_end_and_resumable)
{
    static const int order[] = {3, 0, 2, 1};
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), ids[4];
    const struct node *page;
    int64_t cursor = 0;
    struct token t[4];

    for (int i = 0; i < 4; i++)
        ids[i] = submit(d, "q", g);
    close_group(d, g);
    for (int i = 0; i < 4; i++)
        t[i] = take(d);
    for (int i = 0; i < 4; i++) {
        ck_assert_ptr_null(
            group_ask(d, 6, EVENT_GROUP_NEXT, g, cursor, CORE_NONE, 10));
        ck_assert(is_ok(report(d, EVENT_DONE, t[order[i]], "")));
        page = got(d, 6);
        ck_assert_ptr_nonnull(page);
        ck_assert_uint_eq(node_item(page, 1)->v.count, 1);
        ck_assert_uint_eq(
            node_id(node_get(node_item(node_item(page, 1), 0), "id"), 'j'),
            ids[order[i]]);
        cursor = node_int(node_item(page, 0));
        if (i == 1)
            daemon_crash(d); /* a cursor outlives the daemon */
    }
    page = group_ask(d, 6, EVENT_GROUP_NEXT, g, 0, 0, 10);
    ck_assert_uint_eq(node_item(page, 1)->v.count, 4);
    page = group_ask(d, 6, EVENT_GROUP_NEXT, g, cursor, CORE_NONE, 10);
    ck_assert_ptr_nonnull(page);
    ck_assert_uint_eq(node_item(page, 1)->v.count, 0);
    ck_assert_int_eq(node_int(node_item(page, 2)), 1);
    daemon_free(d);
}
END_TEST

/* --------------------------------------------------------------- sessions */

START_TEST(owner_lost_cancels_after_grace)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t owned, detached = open_policy(d, 1, 0), id;

    ev.u.group_open.detached = false;
    owned = open_event(d, &ev);
    id = submit(d, "q", owned);
    leave(d, 4, DISCONNECT_BROKEN);
    daemon_pass(d, d->limits.session_grace_ms - 1);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(group(d, owned).reason, STR("owner-lost")));
    ck_assert(group(d, detached).open);
    daemon_free(d);
}
END_TEST

START_TEST(a_client_that_says_goodbye_cancels_its_groups_at_once)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t owned, id;

    ev.u.group_open.detached = false;
    owned = open_event(d, &ev);
    id = submit(d, "q", owned);
    leave(d, 4, DISCONNECT_CLEAN);
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(a_resumed_session_keeps_what_it_holds)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t session = session_of(d, 9), g, id;
    struct token t;

    ev.u.group_open.detached = false;
    g = node_id(ask(d, 9, &ev), 'g');
    id = submit(d, "q", g);
    t = take(d);
    leave(d, 9, DISCONNECT_BROKEN);
    daemon_pass(d, d->limits.session_grace_ms - 1);
    ck_assert(resume(d, 19, session)->v.kind != VALUE_ERROR);
    daemon_pass(d, d->limits.session_grace_ms + 1);
    ck_assert(group(d, g).open);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    leave(d, 19, DISCONNECT_CLEAN);
    ck_assert(is_error(resume(d, 20, session), CORE_ERR_NOSESSION));
    daemon_free(d);
}
END_TEST

START_TEST(a_resumed_session_is_told_of_cancels_again)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, 9), id = submit(d, "q", 0);
    struct token t = take(d);
    const struct node *n;

    cancel_job(d, id, "stop");
    n = fetch_from(d, 9, 0, 0, "q");
    ck_assert_uint_eq(n->v.count, 1); /* and it is lost on its way */
    leave(d, 9, DISCONNECT_BROKEN);
    ck_assert(resume(d, 19, session)->v.kind != VALUE_ERROR);
    n = fetch_from(d, 19, 0, 0, "q");
    ck_assert_uint_eq(n->v.count, 1);
    ck_assert_uint_eq(node_item(node_item(n, 0), 1)->v.attempt, t.attempt);
    ck_assert_uint_eq(fetch_from(d, 19, 0, 0, "q")->v.count, 0);
    daemon_free(d);
}
END_TEST

/* ---------------------------------------------------------------- crashes */

/* Something of everything. */
static void furnish(struct daemon *d, uint64_t ids[4], struct token *running)
{
    struct core_event ev = a_job("q"), open = a_group();
    uint64_t g;

    open.u.group_open.timeout_ms = 100000;
    open.u.group_open.fail = 2;
    open.u.group_open.detached = false;
    g = open_event(d, &open);
    ev.u.submit.group.n = g;
    ev.u.submit.name = STR("a name");
    ids[0] = submit_event(d, &ev);
    *running = take(d);
    ids[1] = submit(d, "q", open_under_job(d, *running));
    ev.u.submit.delay_ms = 5000;
    ids[2] = submit_event(d, &ev);
    ids[3] = submit(d, "other", 0);
    cancel_job(d, ids[3], "reason");
    cancel_job(d, ids[1], "another");
}

START_TEST(replay_gives_the_same_digest)
{
    struct daemon *d = daemon_new();
    struct token running;
    uint64_t ids[4];

    furnish(d, ids, &running);
    daemon_crash(d);
    ck_assert_int_eq(job(d, ids[0]).state, VIEW_RUNNING);
    ck_assert_int_eq(job(d, ids[1]).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, ids[2]).state, VIEW_DELAYED);
    ck_assert(str_eq(job(d, ids[3]).reason, STR("reason")));
    ck_assert(str_eq(job(d, ids[0]).name, STR("a name")));
    ck_assert(is_ok(report(d, EVENT_DONE, running, "")));
    daemon_free(d);
}
END_TEST

START_TEST(any_first_part_of_the_records_is_a_state)
{
    struct daemon *d = daemon_new();
    struct token running;
    uint64_t ids[4];

    furnish(d, ids, &running);
    for (size_t n = 0; n <= d->nentries; n++) {
        struct core *c = core_new(&d->limits);

        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(
                core_replay(c, d->entries[i].data, d->entries[i].len, 1, NULL),
                0);
        core_check(c);
        core_free(c);
    }
    daemon_free(d);
}
END_TEST

/* A record that was cut may be refused, and may not break anything. */
START_TEST(half_a_record_is_refused)
{
    struct daemon *d = daemon_new();
    struct token running;
    uint64_t ids[4];
    int refused = 0, tried = 0;

    furnish(d, ids, &running);
    for (size_t n = 0; n < d->nentries; n++) {
        for (size_t len = 0; len < d->entries[n].len; len++) {
            struct core *c = core_new(&d->limits);
            char text[128] = "";

            for (size_t i = 0; i < n; i++)
                (void)core_replay(c, d->entries[i].data, d->entries[i].len, 1,
                                  NULL);
            if (core_replay(c, d->entries[n].data, len, 1, text) != 0) {
                ck_assert_str_ne(text, "");
                refused++;
            } else {
                core_check(c);
            }
            tried++;
            core_free(c);
        }
    }
    ck_assert_int_gt(refused, tried / 2);
    daemon_free(d);
}
END_TEST

START_TEST(garbage_is_no_record)
{
    struct daemon *d = daemon_new();
    struct core *c = core_new(&d->limits);
    char text[128] = "";

    ck_assert_int_eq(
        core_replay(c, "\377\377\377\377\377\377\377\377", 8, 1, text),
        -EBADMSG);
    ck_assert_str_ne(text, "");
    core_free(c);
    daemon_free(d);
}
END_TEST

START_TEST(a_session_has_its_grace_after_a_restart)
{
    struct daemon *d = daemon_new();
    uint64_t session = session_of(d, 9), id = submit(d, "q", 0);
    struct token t = take(d);

    daemon_crash(d);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    ck_assert(resume(d, 9, session)->v.kind != VALUE_ERROR);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

/* Each command says why, of itself. */
START_TEST(what_the_root_cannot_be_asked_for_is_said)
{
    static const struct {
        enum core_event_kind kind;
        const char *starts;
    } asked[] = {
        {EVENT_GROUP_CLOSE, "GROUP CLOSE: the root group is always open"},
        {EVENT_GROUP_INFO, "GROUP WAIT: the root group never ends"},
        {EVENT_GROUP_NEXT, "GROUP NEXT: the root group keeps no order"},
        {EVENT_GROUP_RESULTS, "GROUP RESULTS: the root group keeps no order"},
    };
    struct daemon *d = daemon_new();

    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        const struct node *n = group_ask(d, 3, asked[i].kind, 0, 0, 10, 10);
        char text[200];

        ck_assert(is_error(n, CORE_ERR_GENERIC));
        node_print(n, text, sizeof(text));
        ck_assert_ptr_nonnull(strstr(text, asked[i].starts));
    }
    daemon_free(d);
}
END_TEST

static Suite *scope_suite(void)
{
    Suite *suite = suite_create("core scopes");
    TCase *members = tcase_create("members"), *policy = tcase_create("policy");
    TCase *nesting = tcase_create("nesting"), *pages = tcase_create("pages");
    TCase *lives = tcase_create("sessions and crashes");

    tcase_add_test(members, what_the_root_cannot_be_asked_for_is_said);
    tcase_add_test(members, group_ends_only_after_all_members);
    tcase_add_test(members, an_empty_group_ends_when_it_is_closed);
    tcase_add_test(members, closed_group_refuses);
    tcase_add_test(members, cancelled_group_refuses);
    tcase_add_test(members, unknown_groups_are_NOGROUP);
    tcase_add_test(members, trees_are_bounded_in_depth);
    tcase_add_test(members, members_and_groups_are_bounded);
    tcase_add_test(policy, fail_fast_cancels_siblings);
    tcase_add_test(policy, succeed_one_cancels_the_losers);
    tcase_add_test(policy, a_race_that_nobody_wins_fails);
    tcase_add_test(policy, collect_never_fails_its_parent);
    tcase_add_test(policy, a_failed_group_is_a_failure_of_its_parent);
    tcase_add_test(policy, cancelled_members_are_no_failures);
    tcase_add_test(policy, member_that_will_be_retried_has_not_failed);
    tcase_add_test(policy, a_group_cancelled_while_members_fail_keeps_both);
    tcase_add_test(policy, width_bounds_running_members);
    tcase_add_test(policy, a_parked_job_does_not_block_others);
    tcase_add_test(policy, room_in_a_width_is_never_lost);
    tcase_add_test(nesting, effective_deadline_is_the_minimum);
    tcase_add_test(nesting, a_group_under_a_job_inherits_its_deadline);
    tcase_add_test(nesting, group_deadline_fails_the_group);
    tcase_add_test(nesting, joining_job_ends_after_its_groups);
    tcase_add_test(nesting, failing_body_cancels_its_groups_first);
    tcase_add_test(nesting, a_group_outlives_the_memory_of_its_job);
    tcase_add_test(nesting, a_failed_group_fails_its_job);
    tcase_add_test(nesting, a_cancel_reaches_the_whole_tree);
    tcase_add_test(nesting, only_the_current_attempt_opens_groups);
    tcase_add_test(pages, results_in_order_of_submission);
    tcase_add_test(pages, next_in_order_of_end_and_resumable);
    tcase_add_test(lives, owner_lost_cancels_after_grace);
    tcase_add_test(lives,
                   a_client_that_says_goodbye_cancels_its_groups_at_once);
    tcase_add_test(lives, a_resumed_session_keeps_what_it_holds);
    tcase_add_test(lives, a_resumed_session_is_told_of_cancels_again);
    tcase_add_test(lives, replay_gives_the_same_digest);
    tcase_add_test(lives, any_first_part_of_the_records_is_a_state);
    tcase_add_test(lives, half_a_record_is_refused);
    tcase_add_test(lives, garbage_is_no_record);
    tcase_add_test(lives, a_session_has_its_grace_after_a_restart);
    suite_add_tcase(suite, members);
    suite_add_tcase(suite, policy);
    suite_add_tcase(suite, nesting);
    suite_add_tcase(suite, pages);
    suite_add_tcase(suite, lives);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(scope_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
