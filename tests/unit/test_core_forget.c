/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of forgetting: what is not kept any longer does not come back with a
 * replay, and what is gone is counted as it was.
 */
#include "daemon.h"

/* Starts the daemon: the next thing that it hears is a request. */
static void start(struct daemon *d)
{
    struct core_event ev = {.kind = EVENT_START};

    daemon_one(d, &ev);
}

static const struct node *first_request(struct daemon *d, struct core_event *ev)
{
    ev->client.n = 3;
    daemon_one(d, ev);
    return got(d, 3);
}

static const struct node *result_at_once(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_RESULT, .u.job.id = {id}};

    return first_request(d, &ev);
}

static struct core_stats stats(struct daemon *d)
{
    struct core_stats s;

    core_stats(d->core, &s);
    return s;
}

/* A number that GROUP INFO root answers. */
static int64_t of_root(struct daemon *d, const char *key)
{
    return node_int(
        node_get(group_ask(d, 3, EVENT_GROUP_INFO, 0, 0, CORE_UNSET, 0), key));
}

static uint64_t submit_kept(struct daemon *d, uint64_t group, int64_t keep_ms)
{
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = group;
    ev.u.submit.keep_ms = keep_ms;
    return submit_event(d, &ev);
}

static uint64_t done_kept(struct daemon *d, uint64_t group, int64_t keep_ms)
{
    uint64_t id = submit_kept(d, group, keep_ms);

    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    return id;
}

START_TEST(an_outcome_past_its_keep_is_not_served_after_a_restart)
{
    struct daemon *d = daemon_new();
    uint64_t gone = done_kept(d, 0, 1000), kept = done_kept(d, 0, 2000);

    d->now += 1000; /* the daemon is down meanwhile */
    daemon_replay(d);
    ck_assert_int_eq(stats(d).finished, 2);
    start(d);
    ck_assert(is_error(result_at_once(d, gone), CORE_ERR_NOJOB));
    ck_assert(!is_error(result_at_once(d, kept), CORE_ERR_NOJOB));
    ck_assert_int_eq(stats(d).finished, 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_group_past_its_keep_is_not_served_after_a_restart)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group(), info = {.kind = EVENT_GROUP_INFO,
                                              .u.group.wait_ms = CORE_UNSET};
    uint64_t g, id;

    ev.u.group_open.keep_ms = 1000;
    g = open_event(d, &ev);
    id = done_kept(d, g, 5000);
    close_group(d, g);
    d->now += 1000;
    daemon_replay(d);
    start(d);
    info.u.group.id.n = g;
    ck_assert(is_error(first_request(d, &info), CORE_ERR_NOGROUP));
    ck_assert(is_error(result_at_once(d, id), CORE_ERR_NOJOB));
    ck_assert_int_eq(stats(d).memory_bytes > 0, 1);
    daemon_free(d);
}
END_TEST

START_TEST(the_dead_past_their_keep_do_not_come_back)
{
    struct daemon *d = daemon_new();
    struct core_event list = {.kind = EVENT_DEAD_LIST};

    d->limits.queue_defaults.dead_keep_ms = 1000;
    core_configure(d->core, &d->limits);
    (void)submit_kept(d, 0, 500);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_int_eq(stats(d).dead, 1);
    d->now += 1000;
    daemon_replay(d);
    start(d);
    list.u.dead.count = CORE_UNSET;
    ck_assert_uint_eq(first_request(d, &list)->v.count, 0);
    ck_assert_int_eq(stats(d).dead, 0);
    daemon_free(d);
}
END_TEST

START_TEST(what_retention_has_forgotten_stays_forgotten)
{
    struct daemon *d = daemon_new();
    uint64_t first, last = 0;

    d->limits.retain_jobs = 10;
    core_configure(d->core, &d->limits);
    first = done_kept(d, 0, 100000);
    for (int i = 0; i < 300; i++)
        last = done_kept(d, 0, 100000);
    ck_assert_int_eq(stats(d).finished, 10);
    daemon_replay(d);
    start(d);
    ck_assert(is_error(result_at_once(d, first), CORE_ERR_NOJOB));
    ck_assert(!is_error(result_at_once(d, last), CORE_ERR_NOJOB));
    ck_assert_int_eq(stats(d).finished, 10);
    daemon_free(d);
}
END_TEST

START_TEST(bounds_that_were_lowered_hold_from_the_start)
{
    struct daemon *d = daemon_new();

    for (int i = 0; i < 300; i++)
        (void)done_kept(d, 0, 100000);
    for (int i = 0; i < 20; i++)
        close_group(d, open_policy(d, 1, 0));
    d->limits.retain_jobs = 10;
    d->limits.groups_max = 5;
    daemon_replay(d);
    start(d);
    ck_assert_int_eq(stats(d).finished, 10);
    ck_assert_int_eq(of_root(d, "members"), 15);
    daemon_free(d);
}
END_TEST

START_TEST(a_forgotten_member_of_a_live_group_counts_once)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = 0;
    struct group_view v;

    for (int i = 0; i < 5; i++)
        id = done_kept(d, g, 100);
    (void)submit_kept(d, g, 100);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    daemon_next_segment(d);
    daemon_pass(d, 1000);
    ck_assert(is_error(result(d, 3, id, 0), CORE_ERR_NOJOB));
    for (int i = 0; i < 2; i++) {
        v = group(d, g);
        ck_assert_int_eq(v.members, 6);
        ck_assert_int_eq(v.ok, 5);
        ck_assert_int_eq(v.failed, 1);
        ck_assert(v.open);
        daemon_crash(d);
        ck_assert(is_error(result(d, 3, id, 0), CORE_ERR_NOJOB));
    }
    daemon_free(d);
}
END_TEST

START_TEST(the_root_counts_what_is_still_known)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();

    ev.u.group_open.keep_ms = 100;
    close_group(d, open_event(d, &ev));
    (void)done_kept(d, 0, 100);
    (void)done_kept(d, 0, 5000);
    (void)submit_kept(d, 0, 5000);
    ck_assert_int_eq(of_root(d, "members"), 4);
    ck_assert_int_eq(of_root(d, "ok"), 3);
    daemon_pass(d, 1000);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(of_root(d, "members"), 2);
        ck_assert_int_eq(of_root(d, "ok"), 1);
        ck_assert_int_eq(of_root(d, "queued"), 1);
        daemon_crash(d);
    }
    daemon_free(d);
}
END_TEST

START_TEST(a_long_replay_holds_no_more_than_the_daemon_did)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct core_event ev = a_group();

    (void)submit_kept(d, g, 1); /* it holds all the segments */
    ev.u.group_open.keep_ms = 10;
    for (int i = 0; i < 200; i++) {
        uint64_t inner = open_event(d, &ev);

        (void)done_kept(d, inner, 10);
        close_group(d, inner);
        daemon_pass(d, 10);
    }
    daemon_replay(d);
    ck_assert_int_le(stats(d).finished, 2);
    start(d);
    daemon_free(d);
}
END_TEST

START_TEST(a_read_group_makes_room_after_a_restart_too)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t g, last[5];

    daemon_limits(d);
    d->limits.retain_jobs = 10;
    daemon_start(d);
    g = open_policy(d, 1, 0);
    for (int i = 0; i < 10; i++)
        (void)done_kept(d, g, 100000);
    close_group(d, g);
    for (int i = 0; i < 2; i++) /* it is read once */
        ck_assert_int_eq(
            node_int(
                node_item(group_ask(d, 3, EVENT_GROUP_NEXT, g, 0, 0, 100), 2)),
            1);
    daemon_pass(d, 1000);
    for (int i = 0; i < 5; i++)
        last[i] = done_kept(d, 0, 100000);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++)
            ck_assert(!is_error(result(d, 3, last[i], 0), CORE_ERR_NOJOB));
        daemon_crash(d);
    }
    daemon_free(d);
}
END_TEST

START_TEST(what_an_outcome_keeps_counts_in_retain_bytes)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), open = a_group();
    int64_t before = stats(d).retained_bytes, plain, held;
    struct token t;

    (void)done_kept(d, 0, 5000);
    plain = stats(d).retained_bytes - before;
    before += plain;
    ev.u.submit.keep_ms = 5000;
    ev.u.submit.key = STR("key");
    (void)submit_event(d, &ev);
    t = take(d);
    open.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    open.u.group_open.keep_ms = 100;
    for (int i = 0; i < 100; i++)
        close_group(d, open_event(d, &open));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    held = stats(d).retained_bytes - before;
    ck_assert_int_ge(held, plain + 3 + 100 * 8);
    daemon_pass(d, 101); /* the groups are forgotten, it is not */
    ck_assert_int_lt(stats(d).retained_bytes - before, held - 100 * 8);
    held = stats(d).retained_bytes;
    daemon_crash(d);
    ck_assert_int_eq(stats(d).retained_bytes, held);
    daemon_pass(d, 5000);
    ck_assert_int_eq(stats(d).retained_bytes, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_key_that_goes_to_another_job_counts_there)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), retry = {.kind = EVENT_RETRY};
    uint64_t id;

    ev.u.submit.key = STR("key");
    id = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    retry.u.job.id.n = id;
    (void)submit_event(d, &retry);
    ck_assert(
        is_ok(report(d, EVENT_DONE, take(d), ""))); /* core_check counts */
    daemon_free(d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_outcome_past_its_keep_is_not_served_after_a_restart,
        a_group_past_its_keep_is_not_served_after_a_restart,
        the_dead_past_their_keep_do_not_come_back,
        what_retention_has_forgotten_stays_forgotten,
        bounds_that_were_lowered_hold_from_the_start,
        a_forgotten_member_of_a_live_group_counts_once,
        the_root_counts_what_is_still_known,
        a_long_replay_holds_no_more_than_the_daemon_did,
        a_read_group_makes_room_after_a_restart_too,
        what_an_outcome_keeps_counts_in_retain_bytes,
        a_key_that_goes_to_another_job_counts_there,
    };
    Suite *suite = suite_create("core_forget");
    TCase *forget = tcase_create("forget");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(forget, tests[i]);
    suite_add_tcase(suite, forget);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
