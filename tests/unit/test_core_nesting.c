/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of what a running job starts: the group of its body, and groups
 * under its attempt.
 */
#include "daemon.h"

/* Submits in the scope of an attempt; the answer. */
static const struct node *submit_in(struct daemon *d, struct token t)
{
    struct core_event ev = a_job("q");

    ev.u.submit.body = t;
    return ask(d, 1, &ev);
}

static uint64_t child_of(struct daemon *d, struct token t)
{
    return node_id(submit_in(d, t), 'j');
}

/* A running job, alone. */
static struct token running(struct daemon *d)
{
    (void)submit(d, "q", 0);
    return take(d);
}

START_TEST(a_job_submitted_by_token_lives_under_the_attempt)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);
    uint64_t a = child_of(d, t), b = child_of(d, t);
    struct group_view g;

    ck_assert_uint_eq(job(d, a).group, job(d, b).group);
    g = group(d, job(d, a).group);
    ck_assert(g.open);
    ck_assert_int_eq(g.fail, 1);
    ck_assert_int_eq(g.members, 2);
    ck_assert_uint_eq(g.parent->v.id, t.job.n);
    ck_assert_uint_eq(g.parent->v.attempt, t.attempt);
    daemon_crash(d);
    ck_assert_uint_eq(job(d, child_of(d, t)).group, g.id);
    daemon_free(d);
}
END_TEST

/* They are closed in slices: one that none has come to took members. */
START_TEST(all_groups_under_a_job_are_closed_as_soon_as_its_body_is_done)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event done = {.kind = EVENT_DONE, .client = {9}};
    struct core_event open = a_group();
    struct core_event in = a_job("q");
    uint64_t groups[5], n = 0;

    core_limits_init(&d->limits);
    d->limits.step_work = 1;
    daemon_start(d);
    done.u.report.token = running(d);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        groups[i] = open_under_job(d, done.u.report.token);
    daemon_one(d, &done);
    ck_assert(is_ok(got(d, 9)));
    in.client.n = 9;
    in.u.submit.wait_ms = 0;
    open.client.n = 9;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        n += group(d, groups[i]).open;
        in.u.submit.group.n = groups[i];
        daemon_one(d, &in);
        ck_assert(is_error(got(d, 9), CORE_ERR_CLOSED));
        open.u.group_open.parent.group.n = groups[i];
        daemon_one(d, &open);
        ck_assert(is_error(got(d, 9), CORE_ERR_CLOSED));
    }
    ck_assert_uint_gt(n, 0); /* or there was nothing to be seen */
    daemon_free(d);
}
END_TEST

START_TEST(the_group_of_a_body_closes_with_the_body_and_is_joined)
{
    struct daemon *d = daemon_new();
    struct token t = running(d), child;
    uint64_t a = child_of(d, t), g = job(d, a).group;
    struct core_event close = {.kind = EVENT_GROUP_CLOSE, .u.group.id = {g}};

    ck_assert(is_error(ask(d, 4, &close), CORE_ERR_GENERIC));
    child = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_JOINING);
    ck_assert(group(d, g).closed);
    ck_assert(is_error(submit_in(d, t), CORE_ERR_STALE));
    daemon_crash(d);
    ck_assert(is_ok(report(d, EVENT_DONE, child, "")));
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    ck_assert_int_eq(job(d, t.job.n).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(an_idle_body_keeps_its_group_open)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);
    uint64_t a = child_of(d, t);

    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert(group(d, job(d, a).group).open);
    ck_assert_uint_eq(job(d, child_of(d, t)).group, job(d, a).group);
    daemon_free(d);
}
END_TEST

START_TEST(a_failed_child_fails_the_group_of_the_body)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);
    uint64_t a = child_of(d, t), b = child_of(d, t), g = job(d, a).group;

    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, b).outcome, VIEW_CANCELLED);
    ck_assert(group(d, g).ended_state);
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    ck_assert(is_error(submit_in(d, t), CORE_ERR_CANCELLED));
    daemon_crash(d);
    ck_assert(is_error(submit_in(d, t), CORE_ERR_CANCELLED));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, t.job.n).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, t.job.n), STR("group")));
    daemon_free(d);
}
END_TEST

START_TEST(a_cancelled_body_scope_stays_cancelled_when_it_is_forgotten)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct token t;
    uint64_t g;

    daemon_limits(d);
    d->limits.queue_defaults.keep_ms = 10;
    daemon_start(d);
    t = running(d);
    g = job(d, child_of(d, t)).group;
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    daemon_pass(d, 100);
    ck_assert(!group(d, g).found);
    ck_assert(is_error(submit_in(d, t), CORE_ERR_CANCELLED));
    daemon_free(d);
}
END_TEST

START_TEST(each_attempt_has_a_scope_of_its_own)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token first, second;
    uint64_t g;

    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 0;
    (void)submit_event(d, &ev);
    first = take(d);
    g = job(d, child_of(d, first)).group;
    ck_assert(is_ok(report(d, EVENT_FAIL, first, "exit:1")));
    ck_assert(group(d, g).ended_state);
    ck_assert(is_error(submit_in(d, first), CORE_ERR_STALE));
    second = take(d);
    ck_assert_uint_eq(second.attempt, 2);
    ck_assert_uint_ne(job(d, child_of(d, second)).group, g);
    daemon_free(d);
}
END_TEST

START_TEST(the_children_of_a_cancelled_job_are_cancelled)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);
    uint64_t a = child_of(d, t);

    cancel_job(d, t.job.n, "stop");
    ck_assert_int_eq(job(d, a).outcome, VIEW_CANCELLED);
    ck_assert(is_error(submit_in(d, t), CORE_ERR_CANCELLED));
    daemon_free(d);
}
END_TEST

START_TEST(a_child_that_is_refused_opens_nothing)
{
    struct daemon *d = daemon_new();
    struct core_event full = {.kind = EVENT_QUEUE_SET,
                              .u.queue = {.name = STR("full")}};
    struct core_event ev = a_job("full");
    struct token t = running(d);
    struct core_stats before, after;

    full.u.queue.settings = d->limits.queue_defaults;
    full.u.queue.settings.max_jobs = 1;
    ck_assert(is_ok(ask(d, 1, &full)));
    (void)submit(d, "full", 0);
    core_stats(d->core, &before);
    ev.u.submit.body = t;
    ev.u.submit.wait_ms = 0;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_QUEUEFULL));
    core_stats(d->core, &after);
    ck_assert_int_eq(after.groups, before.groups);
    daemon_free(d);
}
END_TEST

START_TEST(a_child_may_wait_for_room_until_the_body_ends)
{
    struct daemon *d = daemon_new();
    struct core_event full = {.kind = EVENT_QUEUE_SET,
                              .u.queue = {.name = STR("full")}};
    struct core_event ev = a_job("full");
    struct token t = running(d);

    full.u.queue.settings = d->limits.queue_defaults;
    full.u.queue.settings.max_jobs = 1;
    ck_assert(is_ok(ask(d, 1, &full)));
    (void)submit(d, "full", 0);
    ev.u.submit.body = t;
    ck_assert_ptr_null(ask(d, 7, &ev));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_error(got(d, 7), CORE_ERR_CLOSED));
    ck_assert_int_eq(job(d, t.job.n).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(the_scope_of_a_body_is_bounded_in_depth)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct token t;

    daemon_limits(d);
    d->limits.depth_max = 4;
    daemon_start(d);
    t = running(d);
    for (int i = 0; i < 2; i++) {
        (void)child_of(d, t);
        t = take(d);
    }
    ck_assert(is_error(submit_in(d, t), CORE_ERR_LIMIT));
    daemon_free(d);
}
END_TEST

START_TEST(detached_groups_need_the_right)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = a_group();

    daemon_limits(d);
    d->limits.detach = false;
    daemon_start(d);
    ck_assert(is_error(ask(d, 4, &ev), CORE_ERR_NOPERM));
    ev.u.group_open.detached = false;
    (void)open_event(d, &ev);
    (void)open_under_job(d, running(d)); /* ends with the job */
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------ ready */

static const struct node *say_ready(struct daemon *d, struct token t,
                                    const char *value)
{
    struct core_event ev = a_report(EVENT_READY, t, "");

    ev.u.report.value = str_from(value);
    return ask(d, 9, &ev);
}

static const struct node *wait_ready(struct daemon *d, uint64_t client,
                                     uint64_t id, int64_t wait_ms)
{
    struct core_event ev = {
        .kind = EVENT_RESULT,
        .u.job = {.id = {id}, .wait_ms = wait_ms, .ready = true}};

    return ask(d, client, &ev);
}

static bool says(const struct node *n, const char *text)
{
    return n && n->v.kind == VALUE_STR && str_eq(n->v.s, str_from(text));
}

START_TEST(who_waits_for_ready_hears_what_the_job_says)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);

    ck_assert(node_is_null(wait_ready(d, 5, t.job.n, 0)));
    ck_assert_ptr_null(wait_ready(d, 5, t.job.n, CORE_NONE));
    ck_assert_ptr_null(result(d, 6, t.job.n, CORE_NONE)); /* for the end */
    ck_assert(is_ok(say_ready(d, t, "127.0.0.1:80")));
    ck_assert(says(got(d, 5), "127.0.0.1:80"));
    ck_assert_ptr_null(got(d, 6));
    daemon_crash(d);
    ck_assert(says(wait_ready(d, 5, t.job.n, CORE_NONE), "127.0.0.1:80"));
    daemon_free(d);
}
END_TEST

START_TEST(ready_is_said_once_by_each_attempt)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;

    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 0;
    (void)submit_event(d, &ev);
    t = take(d);
    ck_assert(is_ok(say_ready(d, t, "")));
    ck_assert(is_error(say_ready(d, t, "other"), CORE_ERR_GENERIC));
    ck_assert(says(wait_ready(d, 5, t.job.n, 0), ""));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    ck_assert_ptr_null(wait_ready(d, 5, t.job.n, CORE_NONE));
    ck_assert(is_error(say_ready(d, t, "late"), CORE_ERR_STALE));
    ck_assert(is_ok(say_ready(d, take(d), "second")));
    ck_assert(says(got(d, 5), "second"));
    daemon_free(d);
}
END_TEST

START_TEST(a_job_that_ends_before_it_is_ready_is_NOTREADY)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);

    ck_assert_ptr_null(wait_ready(d, 5, t.job.n, CORE_NONE));
    ck_assert_ptr_null(wait_ready(d, 6, t.job.n, 50));
    daemon_pass(d, 60);
    ck_assert(node_is_null(got(d, 6)));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_error(got(d, 5), CORE_ERR_NOTREADY));
    ck_assert(is_error(wait_ready(d, 5, t.job.n, 0), CORE_ERR_NOTREADY));
    daemon_free(d);
}
END_TEST

START_TEST(what_ready_says_is_bounded)
{
    struct daemon *d = daemon_new();
    struct token t = running(d);
    char text[CORE_READY_MAX + 2];

    memset(text, 'x', sizeof(text));
    text[CORE_READY_MAX + 1] = '\0';
    ck_assert(is_error(say_ready(d, t, text), CORE_ERR_TOOBIG));
    text[CORE_READY_MAX] = '\0';
    ck_assert(is_ok(say_ready(d, t, text)));
    daemon_free(d);
}
END_TEST

/* It ends as late as the timeout, and is the first to see that; with THEN its
 * result would have to go on. */
START_TEST(a_body_whose_timeout_ends_what_is_below_it_is_not_ok)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token above, below;
    uint64_t g;

    ev.u.submit.timeout_ms = 100;
    (void)submit_event(d, &ev);
    above = take(d);
    g = open_under_job(d, above);
    ev = a_job("q");
    ev.u.submit.group.n = g;
    ev.u.submit.then = _i ? STR("next") : (struct str){0};
    (void)submit_event(d, &ev);
    below = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, above, "")));
    d->now += 100;
    ck_assert(is_ok(report(d, _i ? EVENT_DONE : EVENT_RELEASE, below, "")));
    ck_assert_int_eq(job(d, below.job.n).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, above.job.n).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, above.job.n), STR("timeout")));
    daemon_free(d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core_nesting");
    TCase *body = tcase_create("body"), *ready = tcase_create("ready");
    SRunner *runner;
    int failed;

    tcase_add_test(body, a_job_submitted_by_token_lives_under_the_attempt);
    tcase_add_test(
        body, all_groups_under_a_job_are_closed_as_soon_as_its_body_is_done);
    tcase_add_test(body,
                   the_group_of_a_body_closes_with_the_body_and_is_joined);
    tcase_add_test(body, an_idle_body_keeps_its_group_open);
    tcase_add_test(body, a_failed_child_fails_the_group_of_the_body);
    tcase_add_test(body,
                   a_cancelled_body_scope_stays_cancelled_when_it_is_forgotten);
    tcase_add_test(body, each_attempt_has_a_scope_of_its_own);
    tcase_add_test(body, the_children_of_a_cancelled_job_are_cancelled);
    tcase_add_test(body, a_child_that_is_refused_opens_nothing);
    tcase_add_test(body, a_child_may_wait_for_room_until_the_body_ends);
    tcase_add_test(body, the_scope_of_a_body_is_bounded_in_depth);
    tcase_add_test(body, detached_groups_need_the_right);
    tcase_add_loop_test(
        body, a_body_whose_timeout_ends_what_is_below_it_is_not_ok, 0, 2);
    tcase_add_test(ready, who_waits_for_ready_hears_what_the_job_says);
    tcase_add_test(ready, ready_is_said_once_by_each_attempt);
    tcase_add_test(ready, a_job_that_ends_before_it_is_ready_is_NOTREADY);
    tcase_add_test(ready, what_ready_says_is_bounded);
    suite_add_tcase(suite, body);
    suite_add_tcase(suite, ready);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
