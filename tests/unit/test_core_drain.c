/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of the end of a queue's work: closed, waited for, purged.
 */
#include "daemon.h"

#define MANY 3000 /* more than one step cancels */

static struct daemon *roomy(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    core_limits_init(&d->limits);
    daemon_start(d);
    return d;
}

static struct core_event about_queue(enum core_event_kind kind,
                                     const char *name)
{
    struct core_event ev = {.kind = kind};

    ev.u.queue.name = str_from(name);
    return ev;
}

static void close_queue(struct daemon *d, bool at_once)
{
    struct core_event ev = about_queue(EVENT_QUEUE_CLOSE, "q");

    ev.u.queue.closed = true;
    ev.u.queue.at_once = at_once;
    ck_assert(is_ok(ask(d, 2, &ev)));
}

static void open_queue(struct daemon *d)
{
    struct core_event ev = about_queue(EVENT_QUEUE_CLOSE, "q");

    ck_assert(is_ok(ask(d, 2, &ev)));
}

static const struct node *join(struct daemon *d, uint64_t client,
                               int64_t wait_ms)
{
    struct core_event ev = about_queue(EVENT_QUEUE_JOIN, "q");

    ev.u.queue.wait_ms = wait_ms;
    return ask(d, client, &ev);
}

static int64_t queue_int(struct daemon *d, const char *key)
{
    struct core_event ev = about_queue(EVENT_QUEUE_INFO, "q");

    return node_int(node_get(ask(d, 3, &ev), key));
}

static int64_t purge(struct daemon *d)
{
    struct core_event ev = about_queue(EVENT_QUEUE_PURGE, "q");

    return node_int(ask(d, 5, &ev));
}

static uint64_t submit_delayed(struct daemon *d, int64_t delay_ms)
{
    struct core_event ev = a_job("q");

    ev.u.submit.delay_ms = delay_ms;
    return submit_event(d, &ev);
}

static uint64_t submit_retried(struct daemon *d, int64_t attempts)
{
    struct core_event ev = a_job("q");

    ev.u.submit.retry = attempts;
    return submit_event(d, &ev);
}

/* One step of many without the checks of daemon_one, which take long in a
 * world of many. */
static void submit_many(struct daemon *d, int n)
{
    struct core_event ev = a_job("q");

    ev.client.n = 1;
    ev.now_ms = d->now;
    for (int i = 0; i < n; i++) {
        core_effects_reset(&d->effects);
        core_step(d->core, &ev, &d->effects);
        ck_assert_uint_lt(d->nentries, DAEMON_ENTRIES);
        d->entries[d->nentries].len = buf_size(&d->effects.records);
        d->entries[d->nentries++].data = mem_dup(buf_front(&d->effects.records),
                                                 buf_size(&d->effects.records));
    }
}

static void one_tick(struct daemon *d)
{
    struct core_event tick = {.kind = EVENT_TICK};

    daemon_one(d, &tick);
}

static void finish(struct daemon *d)
{
    while (core_next_ms(d->core) <= d->now)
        one_tick(d);
}

/* ------------------------------------------------------------------- close */

START_TEST(closed_queue_takes_nothing_and_is_worked_off)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id = submit(d, "q", 0);

    close_queue(d, false);
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CLOSED));
    ck_assert_int_eq(queue_int(d, "closed"), 1);
    daemon_crash(d);
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CLOSED));
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    close_queue(d, false); /* again: changes nothing */
    open_queue(d);
    ck_assert_int_eq(queue_int(d, "closed"), 0);
    daemon_crash(d);
    (void)submit(d, "q", 0);
    daemon_free(d);
}
END_TEST

START_TEST(waiting_producers_are_told_that_the_queue_is_closed)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 6, &ev));
    ck_assert_ptr_null(ask(d, 7, &ev));
    close_queue(d, false);
    ck_assert(is_error(got(d, 6), CORE_ERR_CLOSED));
    ck_assert(is_error(got(d, 7), CORE_ERR_CLOSED));
    ck_assert_int_eq(queue_int(d, "jobs"), 10);
    daemon_free(d);
}
END_TEST

START_TEST(a_closed_queue_still_retries)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit_retried(d, 2);

    close_queue(d, false);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "oops")));
    daemon_pass(d, 60000);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(closed_now_cancels_what_has_not_started)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    uint64_t running = submit_retried(d, 5), ready, delayed, parked, g;
    struct token t = take(d);

    ready = submit(d, "q", 0);
    delayed = submit_delayed(d, 1000);
    ev.u.group_open.width = 1;
    g = open_event(d, &ev);
    ev = a_job("q");
    ev.u.submit.group.n = g;
    ev.u.submit.priority = 9;
    (void)submit_event(d, &ev);
    parked = submit_event(d, &ev);
    (void)take(d);
    ck_assert_uint_eq(take(d).job.n, ready);
    ck_assert_int_eq(job(d, parked).state, VIEW_PARKED);
    ready = submit(d, "q", 0);
    close_queue(d, true);
    ck_assert_int_eq(job(d, ready).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, ready).reason, STR("queue closed")));
    ck_assert_int_eq(job(d, delayed).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, parked).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, running).state, VIEW_RUNNING);
    ck_assert_int_eq(group(d, g).cancelled, 1);
    /* What runs goes on, but is not run again: nothing starts any more. */
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "oops")));
    ck_assert_int_eq(job(d, running).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(last_class(d, running), STR("oops")));
    daemon_free(d);
}
END_TEST

/* More than one step can cancel; returns the event that has begun it. */
static struct core_event close_many(struct daemon *d)
{
    struct core_event ev = about_queue(EVENT_QUEUE_CLOSE, "q");

    (void)submit(d, "q", 0);
    submit_many(d, MANY);
    ev.u.queue.closed = ev.u.queue.at_once = true;
    ev.client.n = 2;
    daemon_one(d, &ev);
    return ev;
}

START_TEST(closed_now_is_a_level_that_survives_a_crash)
{
    struct daemon *d = roomy();
    struct core_stats s;

    (void)close_many(d);
    core_stats(d->core, &s);
    ck_assert_int_gt(s.ready, 0);
    /* What the cancel has not reached does not start. */
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    daemon_crash(d);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    finish(d);
    core_stats(d->core, &s);
    ck_assert_int_eq(s.ready, 0);
    ck_assert_int_eq(s.finished, MANY + 1);
    daemon_free(d);
}
END_TEST

START_TEST(opened_again_what_the_cancel_has_not_reached_goes_on)
{
    struct daemon *d = roomy();
    struct core_event ev = close_many(d);
    struct core_stats s;

    ev.u.queue.closed = false;
    daemon_one(d, &ev);
    finish(d);
    core_stats(d->core, &s);
    ck_assert_int_gt(s.ready, 0);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 1);
    daemon_free(d);
}
END_TEST

/* -------------------------------------------------------------------- join */

START_TEST(join_waits_for_what_was_submitted_and_has_not_ended)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit_retried(d, 2);
    struct token t;

    ck_assert_int_eq(node_int(join(d, 6, 0)), 0);
    ck_assert_ptr_null(join(d, 6, CORE_NONE));
    t = take(d);
    ck_assert_ptr_null(got(d, 6));
    (void)report(d, EVENT_FAIL, t, "oops"); /* it is tried again */
    ck_assert_ptr_null(got(d, 6));
    daemon_pass(d, 60000);
    t = take(d);
    (void)report(d, EVENT_DONE, t, "");
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    ck_assert_int_eq(node_int(got(d, 6)), 1);
    ck_assert_int_eq(node_int(join(d, 6, CORE_NONE)), 1);
    daemon_free(d);
}
END_TEST

START_TEST(join_ends_when_its_time_is_up_or_its_client_says_more)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_UNBLOCK, .client = {6}};

    (void)submit(d, "q", 0);
    ck_assert_ptr_null(join(d, 6, 50));
    daemon_pass(d, 49);
    ck_assert_ptr_null(got(d, 6));
    daemon_pass(d, 1);
    ck_assert_int_eq(node_int(got(d, 6)), 0);
    ck_assert_ptr_null(join(d, 6, CORE_NONE));
    daemon_step(d, &ev);
    ck_assert_int_eq(node_int(got(d, 6)), 0);
    ck_assert_ptr_null(join(d, 6, CORE_NONE));
    leave(d, 6, DISCONNECT_BROKEN);
    (void)report(d, EVENT_DONE, take(d), "");
    ck_assert_ptr_null(got(d, 6));
    daemon_free(d);
}
END_TEST

START_TEST(join_does_not_wait_for_producers)
{
    struct daemon *d = daemon_new();
    struct core_event ev = about_queue(EVENT_QUEUE_SET, "q");
    struct token t;

    (void)submit(d, "q", 0);
    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.max_jobs = 1;
    ev.u.queue.settings.max_bytes = 7;
    ck_assert(is_ok(ask(d, 2, &ev)));
    t = take(d);
    ev = a_job("q");
    (void)submit_event(d, &ev);
    ck_assert_ptr_null(ask(d, 7, &ev));
    ck_assert_ptr_null(join(d, 6, CORE_NONE));
    (void)report(d, EVENT_DONE, t, "");
    ck_assert_ptr_null(got(d, 6)); /* the second one has not ended */
    ck_assert_int_eq(purge(d), 1);
    /* Its end let the third in, after the queue had been empty. */
    ck_assert_int_eq(node_int(got(d, 6)), 1);
    ck_assert_uint_ne(node_id(got(d, 7), 'j'), 0);
    daemon_free(d);
}
END_TEST

START_TEST(queues_that_are_not_there_cannot_be_closed_joined_or_purged)
{
    struct daemon *d = daemon_new();
    const enum core_event_kind kinds[] = {EVENT_QUEUE_CLOSE, EVENT_QUEUE_JOIN,
                                          EVENT_QUEUE_PURGE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct core_event ev = about_queue(kinds[i], "nowhere");

        ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_NOQUEUE));
    }
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------- purge */

START_TEST(purge_cancels_what_has_not_started)
{
    struct daemon *d = daemon_new();
    uint64_t running = submit(d, "q", 0), ready, delayed;
    struct token t = take(d);

    ready = submit(d, "q", 0);
    delayed = submit_delayed(d, 500);
    ck_assert_int_eq(purge(d), 2);
    ck_assert_int_eq(job(d, ready).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(job(d, ready).reason, STR("purged")));
    ck_assert_int_eq(job(d, delayed).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, running).state, VIEW_RUNNING);
    ck_assert_int_eq(purge(d), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    (void)submit(d, "q", 0);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 1);
    daemon_free(d);
}
END_TEST

START_TEST(purge_goes_in_slices_and_spares_what_comes_meanwhile)
{
    struct daemon *d = roomy();
    struct core_event ev = about_queue(EVENT_QUEUE_PURGE, "q"), more;
    uint64_t delayed = submit_delayed(d, 5), later;
    struct core_stats s;

    submit_many(d, MANY);
    ev.client.n = 5;
    daemon_one(d, &ev);
    ck_assert_ptr_null(got(d, 5));
    core_stats(d->core, &s);
    ck_assert_int_gt(s.ready, 0);
    ck_assert_int_lt(s.ready, MANY);
    ck_assert_uint_le(s.cancelled, 1001);
    ck_assert_int_eq(job(d, delayed).outcome, VIEW_CANCELLED);
    more = a_job("q");
    more.client.n = 1;
    daemon_one(d, &more);
    later = node_id(got(d, 1), 'j');
    more = (struct core_event){.kind = EVENT_UNBLOCK, .client = {5}};
    daemon_one(d, &more); /* it is not ended early */
    ck_assert_ptr_null(got(d, 5));
    finish(d);
    ck_assert_int_eq(node_int(got(d, 5)), MANY + 1);
    ck_assert_uint_eq(take(d).job.n, later);
    daemon_free(d);
}
END_TEST

/* A delay that is over while the queue is being emptied is no way out. */
START_TEST(a_purged_job_does_not_slip_out_of_its_delay)
{
    struct daemon *d = roomy();
    struct core_event ev = a_job("q");
    struct core_stats s;

    ev.u.submit.delay_ms = 10;
    for (int i = 0; i < MANY; i++) {
        ev.client.n = 1;
        ev.now_ms = d->now;
        core_effects_reset(&d->effects);
        core_step(d->core, &ev, &d->effects);
        d->entries[d->nentries].len = buf_size(&d->effects.records);
        d->entries[d->nentries++].data = mem_dup(buf_front(&d->effects.records),
                                                 buf_size(&d->effects.records));
    }
    ev = about_queue(EVENT_QUEUE_PURGE, "q");
    ev.client.n = 5;
    daemon_one(d, &ev);
    d->now += 10;
    finish(d);
    ck_assert_int_eq(node_int(got(d, 5)), MANY);
    core_stats(d->core, &s);
    ck_assert_uint_eq(s.cancelled, MANY);
    daemon_free(d);
}
END_TEST

START_TEST(purge_lets_waiting_producers_in)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 6, &ev));
    ck_assert_int_eq(purge(d), 10);
    ck_assert_uint_eq(take(d).job.n, node_id(got(d, 6), 'j'));
    daemon_free(d);
}
END_TEST

START_TEST(a_purge_goes_on_without_its_client)
{
    struct daemon *d = roomy();
    struct core_event ev = about_queue(EVENT_QUEUE_PURGE, "q");
    struct core_stats s;

    (void)submit(d, "q", 0);
    submit_many(d, MANY);
    ev.client.n = 5;
    daemon_one(d, &ev);
    leave(d, 5, DISCONNECT_BROKEN);
    finish(d);
    core_stats(d->core, &s);
    ck_assert_int_eq(s.ready, 0);
    (void)submit(d, "q", 0);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 1);
    daemon_free(d);
}
END_TEST

static Suite *drain_suite(void)
{
    Suite *suite = suite_create("core drain");
    TCase *close = tcase_create("close"), *joins = tcase_create("join"),
          *purges = tcase_create("purge");

    tcase_set_timeout(close, 60);
    tcase_add_test(close, closed_queue_takes_nothing_and_is_worked_off);
    tcase_add_test(close, waiting_producers_are_told_that_the_queue_is_closed);
    tcase_add_test(close, a_closed_queue_still_retries);
    tcase_add_test(close, closed_now_cancels_what_has_not_started);
    tcase_add_test(close, closed_now_is_a_level_that_survives_a_crash);
    tcase_add_test(close, opened_again_what_the_cancel_has_not_reached_goes_on);
    tcase_add_test(joins, join_waits_for_what_was_submitted_and_has_not_ended);
    tcase_add_test(joins,
                   join_ends_when_its_time_is_up_or_its_client_says_more);
    tcase_add_test(joins, join_does_not_wait_for_producers);
    tcase_add_test(joins,
                   queues_that_are_not_there_cannot_be_closed_joined_or_purged);
    tcase_set_timeout(purges, 60);
    tcase_add_test(purges, purge_cancels_what_has_not_started);
    tcase_add_test(purges,
                   purge_goes_in_slices_and_spares_what_comes_meanwhile);
    tcase_add_test(purges, a_purged_job_does_not_slip_out_of_its_delay);
    tcase_add_test(purges, purge_lets_waiting_producers_in);
    tcase_add_test(purges, a_purge_goes_on_without_its_client);
    suite_add_tcase(suite, close);
    suite_add_tcase(suite, joins);
    suite_add_tcase(suite, purges);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(drain_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
