/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of jobs that have failed for good: kept with their payload, run once
 * more as new jobs, let go.
 */
#include "daemon.h"

#define WEEK_MS INT64_C(604800000)

static uint64_t fail_event(struct daemon *d, struct core_event *ev)
{
    uint64_t id = submit_event(d, ev);

    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "oops")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    return id;
}

static uint64_t fail_one(struct daemon *d)
{
    struct core_event ev = a_job("q");

    return fail_event(d, &ev);
}

static const struct node *dead(struct daemon *d, enum core_event_kind kind,
                               const char *queue, int64_t count)
{
    struct core_event ev = {.kind = kind};

    ev.u.dead.queue = str_from(queue);
    ev.u.dead.count = count;
    return ask(d, 3, &ev);
}

static const struct node *list_all(struct daemon *d)
{
    return dead(d, EVENT_DEAD_LIST, "", CORE_UNSET);
}

static uint64_t listed(const struct node *list, uint32_t i)
{
    return node_id(node_get(node_item(list, i), "id"), 'j');
}

static const struct node *retry(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_RETRY, .u.job.id = {id}};

    return ask(d, 3, &ev);
}

static struct core_stats stats(struct daemon *d)
{
    struct core_stats s;

    core_stats(d->core, &s);
    return s;
}

static void set_dead_keep(struct daemon *d, int64_t ms)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET};
    const struct node *info;

    ev.u.queue.name = STR("q");
    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.dead_keep_ms = ms;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ev = (struct core_event){.kind = EVENT_QUEUE_INFO};
    ev.u.queue.name = STR("q");
    info = ask(d, 2, &ev);
    ck_assert_int_eq(node_int(node_get(info, "dead_keep")), ms);
}

/* ------------------------------------------------------------------- list */

START_TEST(what_has_failed_for_good_is_kept_with_its_payload)
{
    struct daemon *d = daemon_new();
    int64_t before = stats(d).retained_bytes;
    uint64_t id = fail_one(d);

    ck_assert_uint_eq(listed(list_all(d), 0), id);
    ck_assert_int_eq(job(d, id).payload_bytes, 7);
    ck_assert_int_eq(stats(d).payload_bytes, 7);
    ck_assert_int_ge(stats(d).retained_bytes, before + 7);
    ck_assert_int_eq(stats(d).dead, 1);
    daemon_pass(d, d->limits.queue_defaults.keep_ms + 1);
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    daemon_crash(d);
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    daemon_pass(d, WEEK_MS);
    ck_assert_uint_eq(list_all(d)->v.count, 0);
    ck_assert(!job(d, id).found);
    ck_assert_int_eq(stats(d).payload_bytes, 0);
    daemon_free(d);
}
END_TEST

START_TEST(only_what_has_failed_for_good_is_dead)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    (void)submit(d, "q", 0);
    (void)report(d, EVENT_DONE, take(d), "");
    cancel_job(d, submit(d, "q", 0), "enough");
    ev.u.submit.retry = 2;
    id = submit_event(d, &ev);
    (void)report(d, EVENT_FAIL, take(d), "oops");
    ck_assert_uint_eq(list_all(d)->v.count, 0);
    daemon_pass(d, 60000);
    (void)report(d, EVENT_FAIL, take(d), "oops");
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    ck_assert_int_eq(stats(d).payload_bytes, 7);
    daemon_free(d);
}
END_TEST

START_TEST(the_longer_of_keep_and_dead_keep_holds)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id, shorter;

    ev.u.submit.keep_ms = 5000;
    ev.u.submit.queue = STR("q");
    (void)submit(d, "q", 0);
    (void)take(d);
    set_dead_keep(d, 1000);
    id = fail_event(d, &ev);
    ev.u.submit.keep_ms = 10;
    shorter = fail_event(d, &ev);
    daemon_pass(d, 999);
    ck_assert(job(d, shorter).found);
    daemon_crash(d);
    daemon_pass(d, 1);
    ck_assert(!job(d, shorter).found);
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    daemon_pass(d, 4000);
    ck_assert(!job(d, id).found);
    daemon_free(d);
}
END_TEST

START_TEST(they_are_kept_as_their_queue_said_when_they_ended)
{
    struct daemon *d = daemon_new();
    uint64_t shorter, longer;

    (void)submit(d, "q", 0);
    (void)take(d);
    set_dead_keep(d, WEEK_MS);
    longer = fail_one(d);
    set_dead_keep(d, 2 * WEEK_MS / 3);
    shorter = fail_one(d);
    set_dead_keep(d, 5 * WEEK_MS / 6);
    daemon_compact(d); /* nothing is left but what the images say */
    daemon_crash(d);
    daemon_pass(d, 2 * WEEK_MS / 3 - 1);
    ck_assert(job(d, shorter).found);
    daemon_pass(d, 1);
    ck_assert(!job(d, shorter).found);
    daemon_crash(d);
    daemon_pass(d, WEEK_MS - 2 * WEEK_MS / 3 - 1);
    ck_assert(job(d, longer).found);
    daemon_pass(d, 1);
    ck_assert(!job(d, longer).found);
    daemon_free(d);
}
END_TEST

START_TEST(the_newest_are_listed_last)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("other");
    uint64_t first = fail_one(d), second = fail_one(d), third, other;
    const struct node *list;

    other = submit_event(d, &ev);
    (void)report(d, EVENT_FAIL, token_of(fetch_from(d, 9, 1, 0, "other"), 0),
                 "oops");
    third = fail_one(d);
    list = list_all(d);
    ck_assert_uint_eq(list->v.count, 4);
    ck_assert_uint_eq(listed(list, 0), first);
    ck_assert_uint_eq(listed(list, 2), other);
    ck_assert_uint_eq(listed(list, 3), third);
    list = dead(d, EVENT_DEAD_LIST, "q", 2);
    ck_assert_uint_eq(list->v.count, 2);
    ck_assert_uint_eq(listed(list, 0), second);
    ck_assert_uint_eq(listed(list, 1), third);
    ck_assert(
        is_error(dead(d, EVENT_DEAD_LIST, "nowhere", 2), CORE_ERR_NOQUEUE));
    daemon_free(d);
}
END_TEST

START_TEST(the_dead_of_a_group_go_with_it)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g);

    (void)report(d, EVENT_FAIL, take(d), "oops");
    close_group(d, g);
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    daemon_pass(d, d->limits.queue_defaults.keep_ms + 1);
    ck_assert_uint_eq(list_all(d)->v.count, 0);
    ck_assert_int_eq(stats(d).payload_bytes, 0);
    daemon_free(d);
}
END_TEST

START_TEST(payloads_of_the_dead_count_in_what_is_retained)
{
    struct daemon *d = daemon_new();
    struct core_limits limits = d->limits;
    char *big = mem_zalloc(100000);
    struct core_event ev = a_job("q");
    uint64_t first, second;

    ev.u.submit.payload = (struct str){big, 100000};
    first = fail_event(d, &ev);
    limits.retain_bytes = 150000;
    core_configure(d->core, &limits);
    ck_assert(job(d, first).found);
    second = fail_event(d, &ev);
    ck_assert(!job(d, first).found);
    ck_assert_uint_eq(listed(list_all(d), 0), second);
    mem_free(big);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------ retry */

START_TEST(a_retry_is_a_new_job_of_the_same_kind)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    const struct node *page, *n;
    uint64_t id, again;

    ev.u.submit.payload = STR("the payload");
    ev.u.submit.name = STR("label");
    ev.u.submit.priority = 7;
    ev.u.submit.timeout_ms = 1234;
    id = fail_event(d, &ev);
    again = node_id(retry(d, id), 'j');
    ck_assert_uint_ne(again, id);
    ck_assert_int_eq(job(d, again).priority, 7);
    ck_assert_int_eq(job(d, again).timeout, 1234);
    ck_assert(str_eq(job(d, again).name, STR("label")));
    ck_assert_int_eq(job(d, again).attempt, 0);
    /* The dead one has ended, and stays so; its payload is gone. */
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert_int_eq(job(d, id).payload_bytes, 0);
    ck_assert_uint_eq(list_all(d)->v.count, 0);
    n = result(d, 3, id, 0);
    ck_assert_uint_eq(node_id(node_get(n, "retried"), 'j'), again);
    daemon_crash(d);
    n = result(d, 3, id, 0);
    ck_assert_uint_eq(node_id(node_get(n, "retried"), 'j'), again);
    page = fetch_from(d, 9, 1, 0, "q");
    ck_assert(
        str_eq(node_str(node_item(node_item(page, 0), 3)), STR("the payload")));
    daemon_pass(d, d->limits.queue_defaults.keep_ms);
    ck_assert(!job(d, id).found);
    daemon_free(d);
}
END_TEST

START_TEST(only_the_dead_are_retried_and_once)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);
    struct token t;

    ck_assert(is_error(retry(d, id), CORE_ERR_GENERIC));
    t = take(d);
    ck_assert(is_error(retry(d, id), CORE_ERR_GENERIC));
    (void)report(d, EVENT_DONE, t, "");
    ck_assert(is_error(retry(d, id), CORE_ERR_GENERIC));
    ck_assert(is_error(retry(d, 4711), CORE_ERR_NOJOB));
    id = fail_one(d);
    (void)node_id(retry(d, id), 'j');
    ck_assert(is_error(retry(d, id), CORE_ERR_GENERIC));
    (void)take(d);
    id = fail_one(d);
    ck_assert_int_eq(node_int(dead(d, EVENT_DEAD_PURGE, "", CORE_UNSET)), 1);
    ck_assert(is_error(retry(d, id), CORE_ERR_GENERIC));
    daemon_free(d);
}
END_TEST

START_TEST(a_retry_is_refused_where_a_submit_would_wait)
{
    struct daemon *d = daemon_new();
    uint64_t id = fail_one(d);
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert(is_error(retry(d, id), CORE_ERR_QUEUEFULL));
    ck_assert(is_error(dead(d, EVENT_DEAD_RETRY, "", CORE_UNSET),
                       CORE_ERR_QUEUEFULL));
    (void)take(d);
    ev.u.submit.payload = STR("0123456789");
    (void)submit_event(d, &ev);
    ev = (struct core_event){.kind = EVENT_QUEUE_CLOSE};
    ev.u.queue.name = STR("q");
    ev.u.queue.closed = true;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ck_assert(is_error(retry(d, id), CORE_ERR_CLOSED));
    daemon_tell(d, EVENT_DRAIN, true);
    ck_assert(is_error(retry(d, id), CORE_ERR_DRAINING));
    daemon_tell(d, EVENT_DRAIN, false);
    ck_assert_uint_eq(listed(list_all(d), 0), id);
    daemon_free(d);
}
END_TEST

START_TEST(a_retry_is_a_member_of_the_group_while_that_takes_members)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g), again;

    (void)report(d, EVENT_FAIL, take(d), "oops");
    again = node_id(retry(d, id), 'j');
    ck_assert_uint_eq(job(d, again).group, g);
    ck_assert_int_eq(group(d, g).members, 2);
    close_group(d, g);
    (void)report(d, EVENT_FAIL, take(d), "oops");
    ck_assert(group(d, g).ended_state);
    again = node_id(retry(d, again), 'j');
    ck_assert_uint_eq(job(d, again).group, 0);
    ck_assert_int_eq(group(d, g).members, 2);
    daemon_free(d);
}
END_TEST

START_TEST(times_that_have_passed_do_not_hold_for_a_retry)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id, again;

    ev.u.submit.deadline_ms = d->now + 100;
    id = submit_event(d, &ev);
    daemon_pass(d, 100);
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    again = node_id(retry(d, id), 'j');
    ck_assert_int_eq(job(d, again).deadline, CORE_NONE);
    (void)report(d, EVENT_DONE, take(d), "");
    ck_assert_int_eq(job(d, again).outcome, VIEW_OK);

    ev = a_job("q");
    ev.u.submit.deadline_ms = d->now + 100000;
    ev.u.submit.expires_ms = 50;
    id = submit_event(d, &ev);
    daemon_pass(d, 50);
    again = node_id(retry(d, id), 'j');
    ck_assert_int_eq(job(d, again).deadline, d->now + 100000 - 50);
    daemon_pass(d, 49);
    ck_assert_int_eq(job(d, again).state, VIEW_READY);
    daemon_pass(d, 1);
    ck_assert(str_eq(last_class(d, again), STR("expired")));
    daemon_free(d);
}
END_TEST

/* A KEY stands for the work: who asks for it again gets the job that does it
 * now. */
START_TEST(a_retry_takes_the_key_along)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id, again;

    ev.u.submit.key = STR("k");
    id = fail_event(d, &ev);
    ck_assert_uint_eq(submit_event(d, &ev), id);
    again = node_id(retry(d, id), 'j');
    ck_assert_uint_eq(submit_event(d, &ev), again);
    daemon_crash(d);
    ck_assert_uint_eq(submit_event(d, &ev), again);
    daemon_pass(d, d->limits.queue_defaults.keep_ms);
    ck_assert(!job(d, id).found);
    ck_assert_uint_eq(submit_event(d, &ev), again);
    daemon_free(d);
}
END_TEST

START_TEST(the_oldest_are_retried_first)
{
    struct daemon *d = daemon_new();
    uint64_t ids[5];
    const struct node *n;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = fail_one(d);
    n = dead(d, EVENT_DEAD_RETRY, "q", 2);
    ck_assert_uint_eq(n->v.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t again = node_id(node_item(n, i), 'j');
        const struct node *o = result(d, 3, ids[i], 0);

        ck_assert_uint_eq(node_id(node_get(o, "retried"), 'j'), again);
        ck_assert_uint_eq(take(d).job.n, again);
    }
    /* As many as there is room for. */
    for (int i = 0; i < 8; i++)
        (void)submit(d, "q", 0);
    n = dead(d, EVENT_DEAD_RETRY, "", CORE_UNSET);
    ck_assert_uint_eq(n->v.count, 2);
    ck_assert_uint_eq(listed(list_all(d), 0), ids[4]);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------------------------ purge */

START_TEST(what_is_purged_is_not_dead_and_its_outcome_stays)
{
    struct daemon *d = daemon_new();
    uint64_t id = fail_one(d), other = fail_one(d);

    ck_assert_int_eq(node_int(dead(d, EVENT_DEAD_PURGE, "q", 1)), 1);
    ck_assert_uint_eq(listed(list_all(d), 0), other);
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(node_is_null(node_get(result(d, 3, id, 0), "retried")));
    ck_assert_int_eq(stats(d).payload_bytes, 7);
    daemon_crash(d);
    ck_assert_uint_eq(list_all(d)->v.count, 1);
    daemon_pass(d, d->limits.queue_defaults.keep_ms);
    ck_assert(!job(d, id).found);
    ck_assert_int_eq(node_int(dead(d, EVENT_DEAD_PURGE, "", CORE_UNSET)), 1);
    ck_assert(!job(d, other).found); /* its KEEP was over */
    ck_assert_int_eq(node_int(dead(d, EVENT_DEAD_PURGE, "", CORE_UNSET)), 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_crowd_is_purged_in_slices)
{
    enum { MANY = 2500 };
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev, tick = {.kind = EVENT_TICK};

    core_limits_init(&d->limits);
    daemon_start(d);
    ev = a_job("q");
    ev.u.submit.deadline_ms = d->now; /* they fail as soon as they are there */
    ev.client.n = 1;
    for (int i = 0; i < MANY; i++) {
        ev.now_ms = d->now;
        core_effects_reset(&d->effects);
        core_step(d->core, &ev, &d->effects);
        d->entries[d->nentries].len = buf_size(&d->effects.records);
        d->entries[d->nentries++].data = mem_dup(buf_front(&d->effects.records),
                                                 buf_size(&d->effects.records));
    }
    while (core_next_ms(d->core) <= d->now)
        daemon_one(d, &tick);
    ck_assert_int_eq(stats(d).dead, MANY);
    ev = (struct core_event){.kind = EVENT_DEAD_PURGE, .client = {3}};
    ev.u.dead.count = MANY - 1;
    daemon_one(d, &ev);
    ck_assert_int_gt(stats(d).dead, 1);
    ck_assert_ptr_null(got(d, 3));
    while (core_next_ms(d->core) <= d->now)
        daemon_one(d, &tick);
    ck_assert_int_eq(node_int(got(d, 3)), MANY - 1);
    ck_assert_int_eq(stats(d).dead, 1);
    daemon_free(d);
}
END_TEST

static Suite *dead_suite(void)
{
    Suite *suite = suite_create("core dead");
    TCase *list = tcase_create("list"), *again = tcase_create("retry"),
          *purge = tcase_create("purge");

    tcase_add_test(list, what_has_failed_for_good_is_kept_with_its_payload);
    tcase_add_test(list, only_what_has_failed_for_good_is_dead);
    tcase_add_test(list, the_longer_of_keep_and_dead_keep_holds);
    tcase_add_test(list, they_are_kept_as_their_queue_said_when_they_ended);
    tcase_add_test(list, the_newest_are_listed_last);
    tcase_add_test(list, the_dead_of_a_group_go_with_it);
    tcase_add_test(list, payloads_of_the_dead_count_in_what_is_retained);
    tcase_add_test(again, a_retry_is_a_new_job_of_the_same_kind);
    tcase_add_test(again, only_the_dead_are_retried_and_once);
    tcase_add_test(again, a_retry_is_refused_where_a_submit_would_wait);
    tcase_add_test(again,
                   a_retry_is_a_member_of_the_group_while_that_takes_members);
    tcase_add_test(again, times_that_have_passed_do_not_hold_for_a_retry);
    tcase_add_test(again, a_retry_takes_the_key_along);
    tcase_add_test(again, the_oldest_are_retried_first);
    tcase_set_timeout(purge, 60);
    tcase_add_test(purge, what_is_purged_is_not_dead_and_its_outcome_stays);
    tcase_add_test(purge, a_crowd_is_purged_in_slices);
    suite_add_tcase(suite, list);
    suite_add_tcase(suite, again);
    suite_add_tcase(suite, purge);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(dead_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
