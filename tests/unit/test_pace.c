/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of when a commit begins. The ledger is made up: what pace.h knows of
 * it is who was told something, who waits, and how long a sync takes.
 */
#include "server/pace.h"

#include <check.h>

#define SYNC_US 300
#define READERS 4

static struct reader {
    struct ledger_reader reader;
    bool waits;
} readers[READERS];

static struct store store;
static struct ledger ledger;
static struct pace pace;
static struct ev_loop *loop;
static int64_t now;

static bool on_waits(const struct ledger_reader *r)
{
    return container_of(r, const struct reader, reader)->waits;
}

static void setup(void)
{
    static const struct ledger_hooks hooks = {.waits = on_waits};

    store = (struct store){.appended = 1, .sync_us = SYNC_US};
    ledger = (struct ledger){.hooks = &hooks, .store = &store};
    list_init(&ledger.touched);
    list_init(&ledger.flight);
    for (size_t i = 0; i < READERS; i++) {
        readers[i].waits = false;
        ledger_reader_init(&readers[i].reader);
    }
    loop = ev_loop_new(0);
    ck_assert_ptr_nonnull(loop);
    pace_init(&pace, loop);
    now = 1000000;
}

static void teardown(void)
{
    pace_clear(&pace);
    ev_loop_destroy(loop);
}

static void tell(size_t i, bool waits)
{
    readers[i].waits = waits;
    ledger_touch(&ledger, &readers[i].reader);
}

static bool waits_after(int64_t us)
{
    now += us;
    pace_set(&pace, &ledger, now, false);
    return ledger.patient;
}

/* The ledger has committed: nobody is told anything. */
static void committed(void)
{
    while (!list_empty(&ledger.touched))
        list_remove(ledger.touched.next);
}

START_TEST(nothing_waits_for_what_nobody_is_told)
{
    ck_assert(!waits_after(0));
    tell(0, false);
    ck_assert(!waits_after(0));
    ck_assert(!pace.resting);
}
END_TEST

START_TEST(a_commit_rests_while_all_whom_it_tells_wait_for_something_else)
{
    tell(0, true);
    ck_assert(waits_after(0));
    ck_assert(pace.resting);
    ck_assert(ev_is_active(&pace.timer));
    tell(1, true);
    ck_assert(waits_after(500));
    tell(2, false); /* this one could go on */
    ck_assert(!waits_after(1));
    ck_assert(!pace.resting);
    ck_assert(!ev_is_active(&pace.timer));
}
END_TEST

START_TEST(a_rest_ends_by_itself)
{
    tell(0, true);
    ck_assert(waits_after(0));
    ck_assert(waits_after(999));
    ck_assert(!waits_after(1));
    ck_assert(!ev_is_active(&pace.timer));
    committed();
    ck_assert(!waits_after(1));
    tell(0, true); /* the next one is as long */
    ck_assert(waits_after(1));
    ck_assert(waits_after(999));
}
END_TEST

START_TEST(the_timer_of_a_rest_begins_a_turn)
{
    tell(0, true);
    ck_assert(waits_after(0));
    ck_assert(ev_is_active(&pace.timer));
    (void)ev_run(loop, EVRUN_ONCE);
    ck_assert(!ev_is_active(&pace.timer));
}
END_TEST

START_TEST(a_commit_waits_for_those_who_were_answered_last)
{
    ledger.crowd = READERS;
    for (size_t i = 0; i < READERS - 1; i++) {
        tell(i, false);
        ck_assert(waits_after(10));
        ck_assert(!pace.resting);
    }
    tell(READERS - 1, false);
    ck_assert(!waits_after(10));
}
END_TEST

START_TEST(a_commit_waits_no_longer_than_a_sync_takes)
{
    ledger.crowd = READERS;
    tell(0, false);
    ck_assert(waits_after(0));
    tell(1, false);
    ck_assert(waits_after(SYNC_US - 1));
    ck_assert(!waits_after(1));
}
END_TEST

START_TEST(who_waited_in_vain_does_not_wait_again_at_once)
{
    ledger.crowd = READERS;
    for (int round = 0; round < 2; round++) {
        tell(0, false);
        ck_assert(waits_after(0));
        ck_assert(!waits_after(SYNC_US));
        for (int i = 0; i < 15; i++)
            ck_assert(!waits_after(SYNC_US));
    }
}
END_TEST

START_TEST(two_wait_for_one_another_a_quarter_as_long)
{
    ledger.crowd = 2;
    tell(0, false);
    ck_assert(waits_after(0));
    ck_assert(waits_after(SYNC_US / 4 - 1));
    ck_assert(!waits_after(1));
}
END_TEST

START_TEST(one_waits_for_nobody)
{
    ledger.crowd = 1;
    tell(0, false);
    ck_assert(!waits_after(0));
}
END_TEST

START_TEST(a_slow_disk_lets_a_crowd_gather_by_itself)
{
    store.sync_us = 10000;
    ledger.crowd = READERS;
    tell(0, false);
    ck_assert(!waits_after(0));
}
END_TEST

START_TEST(nothing_waits_where_nothing_is_synced)
{
    store.sync_us = 0;
    ledger.crowd = READERS;
    tell(0, true);
    ck_assert(!waits_after(0));
}
END_TEST

START_TEST(nothing_waits_for_a_daemon_that_stops)
{
    tell(0, true);
    ck_assert(waits_after(0));
    pace_set(&pace, &ledger, now, true);
    ck_assert(!ledger.patient);
    ck_assert(!ev_is_active(&pace.timer));
}
END_TEST

START_TEST(nothing_waits_while_a_commit_is_under_way_or_large)
{
    tell(0, true);
    store.busy = true;
    ck_assert(!waits_after(0));
    store.busy = false;
    ledger.batch_bytes = 1 << 20;
    ck_assert(!waits_after(0));
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        nothing_waits_for_what_nobody_is_told,
        a_commit_rests_while_all_whom_it_tells_wait_for_something_else,
        a_rest_ends_by_itself,
        the_timer_of_a_rest_begins_a_turn,
        a_commit_waits_for_those_who_were_answered_last,
        a_commit_waits_no_longer_than_a_sync_takes,
        who_waited_in_vain_does_not_wait_again_at_once,
        two_wait_for_one_another_a_quarter_as_long,
        one_waits_for_nobody,
        a_slow_disk_lets_a_crowd_gather_by_itself,
        nothing_waits_where_nothing_is_synced,
        nothing_waits_for_a_daemon_that_stops,
        nothing_waits_while_a_commit_is_under_way_or_large,
    };
    Suite *suite = suite_create("pace");
    TCase *tc = tcase_create("pace");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < ARRAY_LEN(laws); i++)
        tcase_add_test(tc, laws[i]);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
