/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of retries: which errors, how often, after what delay; and what a
 * queue says for its jobs. Time is a number.
 */
#include "daemon.h"

static struct core_event a_setting(void)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET};

    ev.u.queue.name = STR("q");
    core_settings_unset(&ev.u.queue.settings);
    return ev;
}

/* Fails the running attempt; how long until the job is ready again. */
static int64_t delay_after_failure(struct daemon *d, uint64_t id)
{
    int64_t from = d->now;

    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    while (job(d, id).state == VIEW_DELAYED) {
        ck_assert_int_lt(core_next_ms(d->core), INT64_MAX);
        daemon_pass(d, core_next_ms(d->core) - d->now);
    }
    return d->now - from;
}

START_TEST(a_back_off_grows_by_its_factor_up_to_its_cap)
{
    static const int64_t delays[] = {100, 150, 225, 337, 400, 400};
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.retry = 10;
    ev.u.submit.backoff_base_ms = 100;
    ev.u.submit.backoff_cap_ms = 400;
    ev.u.submit.factor_milli = 1500;
    ev.u.submit.jitter = 0;
    id = submit_event(d, &ev);
    for (size_t i = 0; i < ARRAY_LEN(delays); i++)
        ck_assert_int_eq(delay_after_failure(d, id), delays[i]);
    daemon_free(d);
}
END_TEST

START_TEST(a_small_back_off_grows_although_milliseconds_are_whole)
{
    static const int64_t delays[] = {1, 1, 2, 3, 5};
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.retry = 10;
    ev.u.submit.backoff_base_ms = 1;
    ev.u.submit.factor_milli = 1500;
    ev.u.submit.jitter = 0;
    id = submit_event(d, &ev);
    for (size_t i = 0; i < ARRAY_LEN(delays); i++)
        ck_assert_int_eq(delay_after_failure(d, id), delays[i]);
    daemon_free(d);
}
END_TEST

START_TEST(jitter_spreads_a_back_off_evenly_around_itself)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    int64_t least = INT64_MAX, most = 0, sum = 0;
    uint64_t id;

    ev.u.submit.retry = 201;
    ev.u.submit.backoff_base_ms = 1000;
    ev.u.submit.factor_milli = 1000;
    ev.u.submit.jitter = 40;
    id = submit_event(d, &ev);
    for (int i = 0; i < 200; i++) {
        int64_t ms = delay_after_failure(d, id);

        least = min_i64(least, ms);
        most = max_i64(most, ms);
        sum += ms;
    }
    ck_assert_int_ge(least, 800);
    ck_assert_int_le(most, 1200);
    ck_assert_int_lt(least, 830);
    ck_assert_int_gt(most, 1170);
    ck_assert_int_ge(sum / 200, 970);
    ck_assert_int_le(sum / 200, 1030);
    daemon_free(d);
}
END_TEST

START_TEST(numbers_as_large_as_they_may_be_do_not_overflow)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.retry = 5;
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms =
        INT64_C(3155760000000);
    ev.u.submit.factor_milli = CORE_FACTOR_MAX;
    id = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
    ck_assert_int_lt(core_next_ms(d->core), INT64_MAX);
    daemon_free(d);
}
END_TEST

START_TEST(only_the_classes_that_are_named_are_tried_again)
{
    static const struct {
        const char *classes, *class;
        bool again;
    } rows[] = {
        {"exit:75,net*", "exit:75", true},
        {"exit:75,net*", "network", true},
        {"exit:75,net*", "exit:1", false},
        {"exit:[1-3]", "exit:2", true},
        {"exit:[1-3]", "exit:4", false},
        {"?", "ab", false},
        {"", "exit:1", true},
        {"", "deadline", false},
        {"", "expired", false},
        {"*", "deadline", true},
        {"signal:*,exit:*", "oom", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct daemon *d = daemon_new();
        struct core_event ev = a_job("q");
        struct token t;
        uint64_t id;

        ev.u.submit.retry = 3;
        ev.u.submit.retry_on = str_from(rows[i].classes);
        id = submit_event(d, &ev);
        t = take(d);
        daemon_crash(d);
        ck_assert(is_ok(report(d, EVENT_FAIL, t, rows[i].class)));
        ck_assert_msg((job(d, id).state == VIEW_DELAYED) == rows[i].again,
                      "'%s' and %s", rows[i].classes, rows[i].class);
        daemon_free(d);
    }
}
END_TEST

START_TEST(a_timeout_and_a_failed_group_have_classes_too)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t slow, parent, g;
    struct token t;

    ev.u.submit.retry = 3;
    ev.u.submit.retry_on = STR("exit:*");
    ev.u.submit.timeout_ms = 100;
    slow = submit_event(d, &ev);
    t = take(d);
    daemon_pass(d, 100);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(job(d, slow).outcome, VIEW_FAILED);
    ev.u.submit.timeout_ms = CORE_UNSET;
    ev.u.submit.retry_on = STR("group");
    parent = submit_event(d, &ev);
    t = take(d);
    g = open_under_job(d, t);
    (void)submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(job(d, parent).state, VIEW_DELAYED);
    daemon_free(d);
}
END_TEST

/* Whether its worker says so, or takes leave. */
START_TEST(a_job_that_is_given_back_after_its_timeout_has_failed_with_it)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;
    struct token t;

    ev.u.submit.retry = 2;
    ev.u.submit.timeout_ms = 100;
    id = submit_event(d, &ev);
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        t = take(d);
        ck_assert_uint_eq(t.attempt, attempt);
        daemon_pass(d, 100);
        if (_i == 0)
            ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
        else
            leave(d, 9, DISCONNECT_CLEAN);
        ck_assert_int_eq(job(d, id).errors, attempt);
        if (attempt == 1)
            ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
        daemon_pass(d, 60000);
    }
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("timeout")));
    daemon_free(d);
}
END_TEST

/* The first of both to fail has the group cancelled: too late for the other. */
START_TEST(a_cancel_after_the_timeout_does_not_undo_it)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t g = open_policy(d, 1, 0), ids[2];

    ev.u.submit.group.n = g;
    ev.u.submit.timeout_ms = 100;
    for (int i = 0; i < 2; i++) {
        ev.u.submit.retry = 1 + i;
        ids[i] = submit_event(d, &ev);
        (void)take(d);
    }
    daemon_pass(d, 100);
    leave(d, 9, DISCONNECT_CLEAN);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(job(d, ids[i]).outcome, VIEW_FAILED);
        ck_assert(str_eq(last_class(d, ids[i]), STR("timeout")));
    }
    ck_assert_int_eq(group(d, g).failed, 2);
    daemon_free(d);
}
END_TEST

/* The body fails while groups are open: its error counts, not the last one. */
START_TEST(the_class_of_a_body_is_known_after_joining)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    ev.u.submit.retry = 3;
    ev.u.submit.retry_on = STR("exit:75");
    for (int i = 0; i < 2; i++) {
        uint64_t id = submit_event(d, &ev);
        struct token t = take(d), child;

        (void)submit(d, "q", open_under_job(d, t));
        child = take(d);
        ck_assert(is_ok(report(d, EVENT_FAIL, t, i ? "exit:1" : "exit:75")));
        ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
        daemon_crash(d);
        ck_assert(is_ok(report(d, EVENT_FAIL, child, "cancelled")));
        ck_assert_int_eq(job(d, id).state, i ? VIEW_FINISHED : VIEW_DELAYED);
    }
    daemon_free(d);
}
END_TEST

START_TEST(a_lost_attempt_goes_by_redeliver_alone)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.retry_on = STR("exit:*");
    ev.u.submit.redeliver = 1;
    id = submit_event(d, &ev);
    (void)take(d);
    leave(d, 9, DISCONNECT_DEAD);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    (void)take(d);
    leave(d, 9, DISCONNECT_DEAD);
    ck_assert(str_eq(last_class(d, id), STR("lost")));
    daemon_free(d);
}
END_TEST

START_TEST(attempts_are_counted_before_they_start)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.redeliver = 3;
    id = submit_event(d, &ev);
    for (int i = 1; i <= 4; i++) {
        ck_assert_int_eq(take(d).attempt, i);
        daemon_crash(d); /* together with its worker */
        ck_assert_int_eq(job(d, id).attempt, i);
        daemon_pass(d, d->limits.lease_ms);
    }
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert_int_eq(job(d, id).errors, 4);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancelled_job_is_not_tried_again_in_any_state)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t waiting, running;
    struct token t;

    ev.u.submit.retry = 5;
    ev.u.submit.retry_on = STR("*");
    waiting = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    cancel_job(d, waiting, "stop");
    ck_assert_int_eq(job(d, waiting).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, waiting).errors, 1);
    ck_assert(str_eq(job(d, waiting).reason, STR("stop")));
    running = submit_event(d, &ev);
    t = take(d);
    cancel_job(d, running, "stop");
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    ck_assert_int_eq(job(d, running).outcome, VIEW_FAILED);
    ck_assert(str_eq(job(d, running).reason, STR("stop")));
    daemon_free(d);
}
END_TEST

START_TEST(lists_of_classes_are_checked)
{
    static const char *const bad[] = {",", "a,", ",a", "a,,b", "a b", "a\tb"};
    struct daemon *d = daemon_new();
    char longest[CORE_RETRY_ON_MAX + 1];
    struct core_event ev = a_job("q"), set = a_setting();

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ev.u.submit.retry_on = set.u.queue.settings.retry_on = str_from(bad[i]);
        ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_GENERIC));
        ck_assert(is_error(ask(d, 1, &set), CORE_ERR_GENERIC));
    }
    memset(longest, 'x', sizeof(longest));
    ev.u.submit.retry_on = (struct str){longest, sizeof(longest)};
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_GENERIC));
    ev.u.submit.retry_on.len--;
    (void)submit_event(d, &ev);
    daemon_free(d);
}
END_TEST

/* ----------------------------------------------------- defaults of a queue */

START_TEST(a_queue_says_what_its_jobs_do_not)
{
    struct daemon *d = daemon_new();
    struct core_event set = a_setting(), ev = a_job("q");
    struct queue_settings *s = &set.u.queue.settings;
    uint64_t before = submit(d, "q", 0), id, own, short_lived;

    s->retry = 3;
    s->backoff_base_ms = 10;
    s->backoff_cap_ms = 1000;
    s->factor_milli = 10000;
    s->jitter = 0;
    s->priority = 7;
    s->retry_on = STR("exit:*");
    ck_assert(is_ok(ask(d, 2, &set)));
    daemon_crash(d);
    id = submit(d, "q", 0);
    ck_assert_int_eq(job(d, id).priority, 7);
    ck_assert_int_eq(job(d, before).priority, CORE_PRIORITY_DEFAULT);
    ck_assert_int_eq(delay_after_failure(d, id), 10);
    ck_assert_int_eq(delay_after_failure(d, id), 100);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ev.u.submit.retry_on = STR(""); /* as if the queue said nothing */
    ev.u.submit.priority = 9;
    own = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "oom")));
    ck_assert_int_eq(job(d, own).state, VIEW_DELAYED);
    set = a_setting();
    s->expires_ms = 50;
    ck_assert(is_ok(ask(d, 2, &set)));
    short_lived = submit(d, "q", 0);
    ev = a_job("q");
    ev.u.submit.expires_ms = CORE_NONE;
    own = submit_event(d, &ev);
    daemon_pass(d, 50);
    ck_assert(str_eq(last_class(d, short_lived), STR("expired")));
    ck_assert_int_eq(job(d, own).state, VIEW_READY);
    ck_assert_int_eq(job(d, before).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_starts_at_the_time_it_was_given)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t later, past;

    ev.u.submit.at_ms = d->now + 100;
    later = submit_event(d, &ev);
    ev.u.submit.at_ms = d->now - 100;
    past = submit_event(d, &ev);
    ck_assert_int_eq(job(d, later).state, VIEW_DELAYED);
    ck_assert_uint_eq(take(d).job.n, past);
    ck_assert_ptr_null(fetch_from(d, 8, 1, CORE_NONE, "q"));
    daemon_crash(d);
    ck_assert_ptr_null(fetch_from(d, 8, 1, CORE_NONE, "q"));
    daemon_pass(d, 99);
    ck_assert_ptr_null(got(d, 8));
    daemon_pass(d, 1);
    ck_assert_uint_eq(token_of(got(d, 8), 0).job.n, later);
    daemon_free(d);
}
END_TEST

static Suite *retry_suite(void)
{
    Suite *suite = suite_create("core retries");
    TCase *retries = tcase_create("retries"), *queues = tcase_create("queues");

    tcase_add_test(retries, a_back_off_grows_by_its_factor_up_to_its_cap);
    tcase_add_test(retries,
                   a_small_back_off_grows_although_milliseconds_are_whole);
    tcase_add_test(retries, jitter_spreads_a_back_off_evenly_around_itself);
    tcase_add_test(retries, numbers_as_large_as_they_may_be_do_not_overflow);
    tcase_add_test(retries, only_the_classes_that_are_named_are_tried_again);
    tcase_add_test(retries, a_timeout_and_a_failed_group_have_classes_too);
    tcase_add_loop_test(
        retries, a_job_that_is_given_back_after_its_timeout_has_failed_with_it,
        0, 2);
    tcase_add_test(retries, a_cancel_after_the_timeout_does_not_undo_it);
    tcase_add_test(retries, the_class_of_a_body_is_known_after_joining);
    tcase_add_test(retries, a_lost_attempt_goes_by_redeliver_alone);
    tcase_add_test(retries, attempts_are_counted_before_they_start);
    tcase_add_test(retries, a_cancelled_job_is_not_tried_again_in_any_state);
    tcase_add_test(retries, lists_of_classes_are_checked);
    tcase_add_test(queues, a_queue_says_what_its_jobs_do_not);
    tcase_add_test(queues, a_job_starts_at_the_time_it_was_given);
    suite_add_tcase(suite, retries);
    suite_add_tcase(suite, queues);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(retry_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
