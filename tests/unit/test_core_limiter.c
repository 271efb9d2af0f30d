/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of limiters: permits come back, rates hold, what is named is there.
 */
#include "limiters.h"

/* ----------------------------------------------------- permits come back */

static void expect_held(struct daemon *d, int64_t n)
{
    ck_assert_int_eq(figure(d, "gpu", "held"), n);
    daemon_crash(d);
    ck_assert_int_eq(figure(d, "gpu", "held"), n);
}

static struct token hold_one(struct daemon *d, int64_t retry)
{
    struct core_event ev = a_limited("q", "gpu");

    ev.u.submit.retry = retry;
    (void)submit_event(d, &ev);
    return take(d);
}

START_TEST(permits_come_back_however_the_body_ends)
{
    struct daemon *d = daemon_new();
    struct token t;

    set_permits(d, "gpu", 1);
    t = hold_one(d, 1);
    expect_held(d, 1);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    expect_held(d, 0);
    t = hold_one(d, 1);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "broken")));
    expect_held(d, 0);
    t = hold_one(d, 2); /* it will be run again */
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "broken")));
    expect_held(d, 0);
    cancel_job(d, t.job.n, "enough");
    t = hold_one(d, 1);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    expect_held(d, 0);
    t = take(d);
    expect_held(d, 1);
    cancel_job(d, t.job.n, "enough");
    expect_held(d, 1); /* asked, but not gone */
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    expect_held(d, 0);
    t = hold_one(d, 1);
    leave(d, 9, DISCONNECT_DEAD); /* lost */
    expect_held(d, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_lost_lease_gives_permits_back)
{
    struct daemon *d = daemon_new();
    uint64_t next;

    set_permits(d, "gpu", 1);
    (void)hold_one(d, 1);
    next = limited(d, "r", "gpu");
    wait_for(d, 8, "r");
    for (int i = 0; i < 10 && job(d, next).state != VIEW_RUNNING; i++) {
        alive(d, 8);
        daemon_pass(d, d->limits.lease_ms / 5);
    }
    ck_assert_uint_eq(id_of(got(d, 8)), next);
    daemon_free(d);
}
END_TEST

START_TEST(joining_holds_no_permits)
{
    struct daemon *d = daemon_new();
    struct token t;
    uint64_t below;

    set_permits(d, "gpu", 1);
    t = hold_one(d, 1);
    below = in_group(d, "gpu", open_under_job(d, t));
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_JOINING);
    expect_held(d, 0);
    ck_assert_uint_eq(take(d).job.n, below);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancelled_waiter_leaves_the_line)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token t;

    set_permits(d, "gpu", 1);
    t = hold_one(d, 1);
    for (int i = 0; i < 5; i++)
        (void)in_group(d, "gpu", g);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 5);
    cancel_group(d, g, "enough");
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 0);
    ck_assert(group(d, g).ended_state);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_free(d);
}
END_TEST

START_TEST(width_and_permits_together)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_group();
    struct token t;
    uint64_t g, second, other;

    set_permits(d, "gpu", 2);
    ev.u.group_open.width = 1;
    g = open_event(d, &ev);
    (void)in_group(d, "gpu", g);
    second = in_group(d, "gpu", g);
    other = limited(d, "q", "gpu");
    t = take(d);
    /* Who waits for width is in no line. */
    ck_assert_uint_eq(take(d).job.n, other);
    ck_assert_int_eq(job(d, second).state, VIEW_PARKED);
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 0);
    ck_assert_uint_eq(node_get(status(d, second), "waits_for")->v.id, g);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), second);
    daemon_free(d);
}
END_TEST

/* -------------------------------------------------------------------- rates */

START_TEST(a_rate_lets_no_more_start_than_its_bucket_has)
{
    struct daemon *d = roomy();
    int64_t starts[64];
    int n = 0;

    set_rate(d, "api", 5, 1000);
    for (int i = 0; i < 40; i++)
        (void)limited(d, "q", "api");
    while (n < 40) {
        const struct node *page = fetch_from(d, 9, 40, CORE_NONE, "q");

        while (!page) {
            int64_t next = core_next_ms(d->core);

            alive(d, 9);
            daemon_pass(d, max_i64(next - d->now, 0));
            page = got(d, 9);
        }
        for (uint32_t i = 0; i < page->v.count; i++) {
            starts[n++] = d->now;
            ck_assert(is_ok(report(d, EVENT_DONE, token_of(page, i), "")));
        }
    }
    /* In any window: what was in the bucket, and what time has added. */
    for (int i = 0; i < 40; i++)
        for (int k = i; k < 40; k++)
            ck_assert_int_le(k - i + 1, 5 + (starts[k] - starts[i]) * 5 / 1000);
    /* And no slower: 35 had to wait, 200 ms each. */
    ck_assert_int_eq(starts[39] - starts[0], 7000);
    daemon_free(d);
}
END_TEST

START_TEST(a_rate_is_remembered_over_a_crash)
{
    struct daemon *d = roomy();

    set_rate(d, "api", 3, 60000);
    for (int i = 0; i < 6; i++)
        (void)limited(d, "q", "api");
    (void)take(d);
    (void)take(d);
    (void)take(d);
    daemon_crash(d);
    ck_assert_uint_eq(count_of(fetch_from(d, 8, 1, 0, "q")), 0);
    daemon_pass(d, 20000);
    ck_assert_uint_eq(count_of(fetch_from(d, 8, 6, 0, "q")), 1);
    daemon_free(d);
}
END_TEST

/* The record of the start says what it cost: the job may be forgotten. */
START_TEST(a_forgotten_start_has_cost_its_tokens)
{
    struct daemon *d = roomy();
    struct core_event ev;
    size_t first;

    set_rate(d, "api", 2, 60000);
    (void)submit(d, "q", 0);
    (void)take(d);
    ev = a_limited("q", "api");
    ev.u.submit.keep_ms = 0;
    (void)submit_event(d, &ev);
    first = d->nentries;
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    daemon_pass(d, 10);
    /* As if the segment with its image had been removed. */
    mem_free(d->entries[first - 1].data);
    memmove(&d->entries[first - 1], &d->entries[first],
            (d->nentries - first) * sizeof(d->entries[0]));
    d->nentries--;
    daemon_crash(d);
    (void)limited(d, "q", "api");
    (void)limited(d, "q", "api");
    ck_assert_uint_eq(count_of(fetch_from(d, 8, 9, 0, "q")), 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_rate_and_permits_hold_together)
{
    struct daemon *d = roomy();
    struct token t;

    set_permits(d, "api", 1);
    set_rate(d, "api", 2, 1000);
    for (int i = 0; i < 4; i++)
        (void)limited(d, "q", "api");
    t = take(d);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    t = token_of(got(d, 8), 0);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_ptr_null(got(d, 8)); /* a permit, but no token */
    daemon_pass(d, 499);
    ck_assert_ptr_null(got(d, 8));
    daemon_pass(d, 1);
    ck_assert_uint_eq(count_of(got(d, 8)), 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_rate_below_the_need_lends_no_permits)
{
    struct daemon *d = roomy();
    uint64_t one, all;
    struct token t;

    set_permits(d, "net", 3);
    one = limited(d, "q", "net");
    all = limited(d, "q", "net:3");
    t = take(d);
    ck_assert_uint_eq(t.job.n, one);
    set_rate(d, "net", 2, 1000); /* as many as there are tokens are free */
    daemon_pass(d, 5000);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert_int_eq(figure(d, "net", "held"), 1);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(fetch_from(d, 9, 1, 0, "q")), all);
    ck_assert_int_eq(figure(d, "net", "held"), 3);
    daemon_free(d);
}
END_TEST

START_TEST(a_changed_rate_keeps_what_fits)
{
    struct daemon *d = roomy();

    set_rate(d, "api", 10, 1000000);
    for (int i = 0; i < 20; i++)
        (void)limited(d, "q", "api");
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 4, 0, "q")), 4);
    set_rate(d, "api", 3, 1000000);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 10, 0, "q")), 3);
    wait_for(d, 8, "q");
    set_rate(d, "api", 0, 0);
    ck_assert_uint_eq(count_of(got(d, 8)), 1);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 20, 0, "q")), 12);
    daemon_free(d);
}
END_TEST

/* ----------------------------------------------------------------- commands */

START_TEST(limits_are_checked_when_a_job_is_submitted)
{
    struct daemon *d = daemon_new();
    static const char *const wrong[] = {
        "gpu:0",     "gpu:",  "gpu:x",           "gpu,",   ",gpu",
        "gpu,gpu:2", "gpu:3", "gpu:99999999999", "gpu:-1", "a,b,c,d,e,f,g,h,i",
        "gpu::1"};
    struct core_event ev = a_limited("q", "nobody");

    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_NOLIMITER));
    set_permits(d, "gpu", 2);
    for (int i = 0; i < 9; i++) {
        const char name[2] = {(char)('a' + i)};

        set_permits(d, name, 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        ev = a_limited("q", wrong[i]);
        ck_assert_msg(is_error(ask(d, 1, &ev), CORE_ERR_GENERIC), "%s",
                      wrong[i]);
    }
    (void)limited(d, "q", "a,b,c,d,e,f,g,gpu:2");
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 0);
    (void)take(d);
    ck_assert_int_eq(figure(d, "gpu", "held"), 2);
    daemon_free(d);
}
END_TEST

START_TEST(a_limiter_in_use_is_not_deleted)
{
    struct daemon *d = daemon_new();
    const struct node *n;
    struct token t;

    set_permits(d, "gpu", 1);
    set_permits(d, "net", 1);
    n = limiter_ask(d, EVENT_LIMITER_LIST, "", 0, 0, 0);
    ck_assert_uint_eq(n->v.count, 2);
    ck_assert(str_eq(node_str(node_item(n, 0)), STR("gpu")));
    (void)limited(d, "q", "gpu");
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_DELETE, "gpu", 0, 0, 0),
                       CORE_ERR_GENERIC));
    t = take(d);
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_DELETE, "gpu", 0, 0, 0),
                       CORE_ERR_GENERIC));
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert(is_ok(limiter_ask(d, EVENT_LIMITER_DELETE, "gpu", 0, 0, 0)));
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_INFO, "gpu", 0, 0, 0),
                       CORE_ERR_NOLIMITER));
    daemon_crash(d);
    ck_assert_uint_eq(limiter_ask(d, EVENT_LIMITER_LIST, "", 0, 0, 0)->v.count,
                      1);
    /* Its number is free for another one, which has nothing to do with it. */
    set_permits(d, "disk", 7);
    ck_assert_int_eq(figure(d, "disk", "held"), 0);
    daemon_free(d);
}
END_TEST

/* Its number is that of nobody, or of another limiter, when the job is written
 * again. */
START_TEST(a_dead_job_outlives_its_limiter)
{
    for (int taken = 0; taken < 2; taken++) {
        struct daemon *d = daemon_new();
        struct core_event ev = {.kind = EVENT_RETRY};

        set_permits(d, "gpu", 1);
        ev.u.job.id.n = limited(d, "q", "gpu");
        ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "")));
        ck_assert(is_ok(limiter_ask(d, EVENT_LIMITER_DELETE, "gpu", 0, 0, 0)));
        if (taken)
            set_permits(d, "disk", 7);
        daemon_compact(d);
        daemon_crash(d);
        ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_NOLIMITER));
        if (taken)
            ck_assert_int_eq(figure(d, "disk", "held"), 0);
        daemon_free(d);
    }
}
END_TEST

START_TEST(limiters_have_names_and_a_bound)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev;

    core_limits_init(&d->limits);
    d->limits.limiters_max = 2;
    daemon_start(d);
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_SET, "a:b", 1, 0, 0),
                       CORE_ERR_GENERIC));
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_SET, "", 1, 0, 0),
                       CORE_ERR_GENERIC));
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_SET, "a", 1, 5, 0),
                       CORE_ERR_GENERIC));
    ck_assert(is_error(
        limiter_ask(d, EVENT_LIMITER_SET, "a", 1, CORE_RATE_MAX + 1, 1),
        CORE_ERR_GENERIC));
    set_permits(d, "a", 1);
    set_permits(d, "b", 1);
    ck_assert(is_error(limiter_ask(d, EVENT_LIMITER_SET, "c", 1, 0, 0),
                       CORE_ERR_LIMIT));
    ev = (struct core_event){.kind = EVENT_LIMITER_INFO};
    ev.u.limiter.name = STR("c");
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_NOLIMITER));
    daemon_free(d);
}
END_TEST

/* A producer that waits for room asks again when there is some. */
START_TEST(limits_are_kept_while_a_producer_waits)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_limited("q", "gpu");

    set_permits(d, "gpu", 1);
    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 1, &ev));
    ev = a_limited("q", "net");
    set_permits(d, "net", 1);
    ck_assert_ptr_null(ask(d, 4, &ev));
    ck_assert(is_ok(limiter_ask(d, EVENT_LIMITER_DELETE, "net", 0, 0, 0)));
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 5, 0, "q")), 5);
    ck_assert_uint_ne(node_id(got(d, 1), 'j'), 0);
    ck_assert(is_error(got(d, 4), CORE_ERR_NOLIMITER));
    daemon_free(d);
}
END_TEST

#define TEST(name) tcase_add_test(t, name)

int main(void)
{
    Suite *s = suite_create("limiters");
    TCase *t = tcase_create("laws");
    SRunner *runner;
    int failed;

    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    TEST(permits_come_back_however_the_body_ends);
    TEST(a_lost_lease_gives_permits_back);
    TEST(joining_holds_no_permits);
    TEST(a_cancelled_waiter_leaves_the_line);
    TEST(width_and_permits_together);
    TEST(a_rate_lets_no_more_start_than_its_bucket_has);
    TEST(a_rate_is_remembered_over_a_crash);
    TEST(a_forgotten_start_has_cost_its_tokens);
    TEST(a_rate_and_permits_hold_together);
    TEST(a_rate_below_the_need_lends_no_permits);
    TEST(a_changed_rate_keeps_what_fits);
    TEST(limits_are_checked_when_a_job_is_submitted);
    TEST(a_limiter_in_use_is_not_deleted);
    TEST(a_dead_job_outlives_its_limiter);
    TEST(limiters_have_names_and_a_bound);
    TEST(limits_are_kept_while_a_producer_waits);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
