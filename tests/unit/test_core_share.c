/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of fair queues: groups take turns.
 */
#include "limiters.h"

START_TEST(a_small_group_is_served_beside_a_crowd)
{
    struct daemon *d = roomy();
    uint64_t crowd = open_policy(d, 0, 0), few = open_policy(d, 0, 0);
    int last = 0;

    set_fair(d, "q", 1);
    for (int i = 0; i < 200; i++)
        (void)in_group(d, "", crowd);
    for (int i = 0; i < 10; i++)
        (void)in_group(d, "", few);
    for (int i = 1; i <= 30; i++) {
        struct token t = take(d);

        if (job(d, t.job.n).group == few)
            last = i;
    }
    ck_assert_int_eq(group(d, few).running, 10);
    ck_assert_int_le(last, 20);
    daemon_free(d);
}
END_TEST

/* The same where all of them are parked for want of permits. */
START_TEST(a_small_group_is_served_beside_a_crowd_at_a_limiter)
{
    struct daemon *d = roomy();
    uint64_t crowd = open_policy(d, 0, 0), few = open_policy(d, 0, 0);
    uint64_t before[2] = {0, 0};
    struct token t;
    int last = 0;

    set_fair(d, "q", 1);
    set_permits(d, "api", 1);
    for (int i = 0; i < 200; i++)
        (void)in_group(d, "api", crowd);
    for (int i = 0; i < 10; i++)
        (void)in_group(d, "api", few);
    t = take(d);
    for (int i = 2; i <= 30; i++) {
        int which;

        wait_for(d, 8, "q");
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        t = token_of(got(d, 8), 0);
        which = job(d, t.job.n).group == few;
        if (which)
            last = i;
        /* In each group as submitted. */
        ck_assert_uint_gt(t.job.n, before[which]);
        before[which] = t.job.n;
    }
    ck_assert_int_eq(group(d, few).queued, 0);
    ck_assert_int_le(last, 22);
    daemon_free(d);
}
END_TEST

START_TEST(groups_take_turns_within_a_priority_in_their_own_order)
{
    struct daemon *d = roomy();
    uint64_t g[2] = {open_policy(d, 0, 0), open_policy(d, 0, 0)};
    uint64_t ids[2][3], high, root[2];

    set_fair(d, "q", 1);
    for (int i = 0; i < 6; i++)
        ids[i / 3][i % 3] = in_group(d, "", g[i / 3]);
    root[0] = submit(d, "q", 0);
    root[1] = submit(d, "q", 0);
    {
        struct core_event ev = a_job("q");

        ev.u.submit.group.n = g[0];
        ev.u.submit.priority = 9;
        high = submit_event(d, &ev);
    }
    ck_assert_uint_eq(take(d).job.n, high);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(take(d).job.n, ids[0][i]);
        ck_assert_uint_eq(take(d).job.n, ids[1][i]);
        if (i < 2)
            ck_assert_uint_eq(take(d).job.n, root[i]);
    }
    daemon_free(d);
}
END_TEST

/* What was ready before has a turn together. */
START_TEST(a_queue_can_become_fair_and_unfair_with_jobs_in_it)
{
    struct daemon *d = roomy();
    uint64_t g = open_policy(d, 0, 0), early[4], late[2];

    for (int i = 0; i < 3; i++)
        early[i] = submit(d, "q", 0);
    set_fair(d, "q", 1);
    for (int i = 0; i < 2; i++)
        late[i] = in_group(d, "", g);
    set_fair(d, "q", 0);
    early[3] = submit(d, "q", 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(take(d).job.n, early[i]);
        ck_assert_uint_eq(take(d).job.n, late[i]);
    }
    ck_assert_uint_eq(take(d).job.n, early[2]);
    ck_assert_uint_eq(take(d).job.n, early[3]);
    daemon_free(d);
}
END_TEST

START_TEST(a_released_job_of_a_fair_queue_goes_first)
{
    struct daemon *d = roomy();
    uint64_t g = open_policy(d, 0, 0);
    struct token t;

    set_fair(d, "q", 1);
    (void)submit(d, "q", 0);
    (void)submit(d, "q", 0);
    (void)in_group(d, "", g);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_RELEASE, t, "")));
    ck_assert_uint_eq(take(d).job.n, t.job.n);
    daemon_free(d);
}
END_TEST

#define TEST(name) tcase_add_test(t, name)

int main(void)
{
    Suite *s = suite_create("share");
    TCase *t = tcase_create("laws");
    SRunner *runner;
    int failed;

    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    TEST(a_small_group_is_served_beside_a_crowd);
    TEST(a_small_group_is_served_beside_a_crowd_at_a_limiter);
    TEST(groups_take_turns_within_a_priority_in_their_own_order);
    TEST(a_queue_can_become_fair_and_unfair_with_jobs_in_it);
    TEST(a_released_job_of_a_fair_queue_goes_first);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
