/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a full disk: first nothing new is accepted, then nothing starts
 * either; what frees room goes on as long as the reserve lasts, and nothing
 * goes beyond it.
 */
#include "daemon.h"

static void room_again(struct daemon *d)
{
    daemon_tell(d, EVENT_DISK_FULL, false);
}

/* Bytes of records from entry `from` on, as the store counts them. */
static int64_t recorded(const struct daemon *d, size_t from)
{
    int64_t bytes = 0;

    for (size_t i = from; i < d->nentries; i++)
        bytes += (int64_t)d->entries[i].len + CORE_ENTRY_BYTES;
    return bytes;
}

static bool has_room(struct daemon *d, uint64_t client, struct core_event *ev)
{
    const struct node *n = ask(d, client, ev);

    ck_assert(is_ok(n) || is_error(n, CORE_ERR_DISKFULL));
    return is_ok(n);
}

static struct core_event a_setting(enum core_event_kind kind)
{
    struct core_event ev = {.kind = kind, .u.queue.name = STR("q")};

    core_settings_unset(&ev.u.queue.settings);
    return ev;
}

START_TEST(nothing_starts_on_a_full_disk)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0);

    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    ck_assert_ptr_null(fetch_from(d, 9, 1, 60000, "q"));
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    room_again(d);
    ck_assert_uint_eq(token_of(got(d, 9), 0).job.n, id);
    daemon_free(d);
}
END_TEST

START_TEST(while_the_disk_is_narrow_nothing_new_comes_and_all_else_goes_on)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), then;
    struct core_event ev = a_job("q");
    struct token t;

    ev.u.submit.then = STR("next");
    then = submit_event(d, &ev);
    daemon_narrow(d);
    ev = a_job("q");
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_DISKFULL));
    ev = a_group();
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_DISKFULL));
    t = take(d);
    ck_assert_uint_eq(t.job.n, id);
    ev = a_report(EVENT_READY, t, "up");
    ck_assert(is_ok(ask(d, 9, &ev)));
    ev = a_report(EVENT_DONE, t, "r");
    ck_assert(is_ok(ask(d, 9, &ev)));
    /* And what comes of it goes into the next queue. */
    ev = a_report(EVENT_DONE, take(d), "r");
    ck_assert(is_ok(ask(d, 9, &ev)));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    ck_assert_int_eq(job(d, then).outcome, VIEW_OK);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "next")->v.count, 1);
    room_again(d);
    (void)submit(d, "q", 0);
    daemon_free(d);
}
END_TEST

START_TEST(what_grows_is_refused_and_leaves_no_record)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), queued = submit(d, "q", 0);
    struct token t = take(d);
    struct core_event refused[] = {
        {.kind = EVENT_RESCHEDULE,
         .u.reschedule = {.is_job = true,
                          .job = {queued},
                          .timeout_ms = CORE_UNSET,
                          .deadline_ms = DAEMON_START + 9000,
                          .expires_ms = CORE_UNSET,
                          .at_ms = CORE_UNSET}},
        a_report(EVENT_SHIELD, t, ""),
        a_report(EVENT_READY, t, ""),
        a_setting(EVENT_QUEUE_PAUSE),
        a_setting(EVENT_QUEUE_CLOSE),
        a_setting(EVENT_QUEUE_SET),
        {.kind = EVENT_LIMITER_SET,
         .u.limiter = {.name = STR("l"),
                       .permits = 3,
                       .rate = CORE_UNSET,
                       .rate_ms = CORE_UNSET}},
        a_job("q"),
        a_job("another"),
        a_group(),
    };
    size_t before;

    refused[1].u.report.shield_ms = 1000;
    refused[3].u.queue.paused = true;
    refused[4].u.queue.closed = true;
    refused[5].u.queue.settings.max_jobs = 3;
    daemon_tell(d, EVENT_DISK_FULL, true);
    before = d->nentries;
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < ARRAY_LEN(refused); k++)
            ck_assert(is_error(ask(d, 9, &refused[k]), CORE_ERR_DISKFULL));
    ck_assert_uint_eq(d->nentries, before);
    room_again(d);
    for (size_t k = 0; k < ARRAY_LEN(refused); k++)
        ck_assert(!is_error(ask(d, 9, &refused[k]), CORE_ERR_DISKFULL));
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_free(d);
}
END_TEST

START_TEST(what_holds_already_is_answered)
{
    struct daemon *d = daemon_new();
    struct core_event set = a_setting(EVENT_QUEUE_SET), keyed = a_job("q");
    struct core_event limiter = {.kind = EVENT_LIMITER_SET,
                                 .u.limiter = {.name = STR("l"),
                                               .permits = 3,
                                               .rate = CORE_UNSET,
                                               .rate_ms = CORE_UNSET}};
    uint64_t id;

    set.u.queue.settings.max_jobs = 5;
    keyed.u.submit.key = STR("k");
    id = submit_event(d, &keyed);
    ck_assert(is_ok(ask(d, 2, &set)));
    ck_assert(is_ok(ask(d, 2, &limiter)));
    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert_uint_eq(submit_event(d, &keyed), id);
    ck_assert(has_room(d, 2, &set));
    ck_assert(has_room(d, 2, &limiter));
    set.u.queue.settings.max_jobs = 6;
    limiter.u.limiter.permits = 4;
    ck_assert(!has_room(d, 2, &set));
    ck_assert(!has_room(d, 2, &limiter));
    daemon_free(d);
}
END_TEST

START_TEST(what_frees_goes_on)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), member = submit(d, "other", g);
    uint64_t id = submit(d, "q", 0), queued = submit(d, "q", 0);
    struct token t = take(d);
    struct core_event purge = a_setting(EVENT_QUEUE_PURGE);

    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    cancel_group(d, g, "enough");
    close_group(d, g);
    ck_assert_int_eq(node_int(ask(d, 2, &purge)), 1);
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, member).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(a_fetch_of_a_new_queue_waits_for_room)
{
    struct daemon *d = daemon_new();
    const struct node *n;
    uint64_t id;

    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert_ptr_null(fetch_from(d, 9, 1, 60000, "new"));
    ck_assert_uint_eq(fetch_from(d, 8, 1, 0, "new")->v.count, 0);
    room_again(d);
    n = got(d, 9);
    ck_assert(n && n->v.count == 0); /* it asks again, and is there */
    ck_assert_ptr_null(fetch_from(d, 9, 1, 60000, "new"));
    id = submit(d, "new", 0);
    ck_assert_uint_eq(token_of(got(d, 9), 0).job.n, id);
    daemon_free(d);
}
END_TEST

START_TEST(a_page_that_is_read_is_no_record)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);
    size_t before;

    (void)submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    daemon_tell(d, EVENT_DISK_FULL, true);
    before = d->nentries;
    ck_assert_ptr_nonnull(group_ask(d, 4, EVENT_GROUP_RESULTS, g, 0, 0, 100));
    ck_assert_uint_eq(d->nentries, before);
    daemon_free(d);
}
END_TEST

/* One step may go beyond it, by what it leads to at once. */
START_TEST(finishing_stops_where_the_reserve_ends)
{
    struct daemon *d = daemon_new();
    struct token t[8];
    size_t from;
    int done = 0, refused = 0;

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        (void)submit(d, "q", 0);
        t[i] = take(d);
    }
    daemon_full(d, 200);
    from = d->nentries;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct core_event ev = a_report(EVENT_DONE, t[i], "");

        if (has_room(d, 9, &ev))
            done++;
        else
            refused++;
        ck_assert(refused == 0 || job(d, t[i].job.n).state == VIEW_RUNNING);
    }
    ck_assert_int_gt(done, 1);
    ck_assert_int_gt(refused, 1);
    ck_assert_int_ge(recorded(d, from), 200);
    ck_assert_int_lt(recorded(d, from), 400);
    daemon_full(d, 100000);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        ck_assert(is_ok(report(d, EVENT_DONE, t[i], "")));
    daemon_free(d);
}
END_TEST

START_TEST(reports_leave_room_for_who_cancels_and_purges)
{
    struct daemon *d = daemon_new();
    struct core_event purge = a_setting(EVENT_QUEUE_PURGE), ev;
    struct core_event full = {
        .kind = EVENT_DISK_FULL,
        .u.full = {.on = true, .room = 1000, .spared = 800}};
    char large[300] = "";
    uint64_t queued;
    struct token t, other;

    memset(large, 'r', sizeof(large) - 1);
    (void)submit(d, "q", 0);
    (void)submit(d, "q", 0);
    t = take(d);
    other = take(d);
    queued = submit(d, "q", 0);
    (void)submit(d, "q", 0);
    daemon_step(d, &full);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ev = a_report(EVENT_DONE, other, "");
    ev.u.report.result = str_from(large);
    ck_assert(is_error(ask(d, 9, &ev), CORE_ERR_DISKFULL));
    cancel_job(d, queued, "enough");
    ck_assert_int_eq(node_int(ask(d, 2, &purge)), 1);
    daemon_free(d);
}
END_TEST

START_TEST(what_is_larger_than_the_reserve_is_refused_whole)
{
    struct daemon *d = daemon_new();
    struct core_event ev;
    char large[2000] = {0};
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    daemon_full(d, 1000);
    ev = a_report(EVENT_DONE, t, "");
    ev.u.report.result = (struct str){large, sizeof(large)};
    ck_assert(!has_room(d, 9, &ev));
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_RUNNING);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_free(d);
}
END_TEST

START_TEST(without_room_the_times_of_records_wait_and_others_pass)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q"), kept = a_job("q");
    uint64_t id, over;
    struct token t;
    size_t from;

    kept.u.submit.keep_ms = 500;
    over = submit_event(d, &kept);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ev.u.submit.timeout_ms = 1000;
    id = submit_event(d, &ev);
    t = take(d);
    daemon_full(d, 0);
    from = d->nentries;
    ck_assert_ptr_null(result(d, 5, id, 2000));
    daemon_pass(d, 3000);
    ck_assert_uint_eq(d->nentries, from);
    ck_assert_int_gt(core_next_ms(d->core), d->now); /* and nobody spins */
    ck_assert_int_eq(got(d, 5)->v.kind, VALUE_NULL);
    ck_assert(!job(d, over).found);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    room_again(d);
    daemon_pass(d, 0);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    daemon_free(d);
}
END_TEST

START_TEST(slices_wait_for_room_and_go_on)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), ids[200];
    size_t from;
    int over = 0;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        char name[8];

        (void)snprintf(name, sizeof(name), "q%zu", i / 10);
        ids[i] = submit(d, name, g);
    }
    daemon_full(d, 1000);
    from = d->nentries;
    cancel_group(d, g, "enough");
    daemon_pass(d, 1000);
    ck_assert_int_lt(recorded(d, from), 2000);
    ck_assert_int_gt(core_next_ms(d->core), d->now);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        over += job(d, ids[i]).outcome == VIEW_CANCELLED;
    ck_assert(over > 0 && over < (int)ARRAY_LEN(ids));
    room_again(d);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ck_assert_int_eq(job(d, ids[i]).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

/* Owners and workers go, leases and times end, everybody asks. */
START_TEST(without_room_nothing_is_recorded_whatever_happens)
{
    struct daemon *d = daemon_new();
    struct core_event owned = a_group(), delayed = a_job("q"),
                      timed = a_job("q");
    struct core_event purge = a_setting(EVENT_QUEUE_PURGE);
    uint64_t g, members[6];
    struct token t[3];
    size_t from;

    owned.u.group_open.detached = false;
    owned.u.group_open.timeout_ms = 5000;
    g = open_event(d, &owned);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        members[i] = submit(d, "q", g);
    delayed.u.submit.delay_ms = 1000;
    (void)submit_event(d, &delayed);
    timed.u.submit.expires_ms = 1000;
    (void)submit_event(d, &timed);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        t[i] = take(d);
    daemon_full(d, 0);
    from = d->nentries;
    ck_assert(is_error(report(d, EVENT_DONE, t[0], ""), CORE_ERR_DISKFULL));
    ck_assert(is_error(cancel_event(d, false, g, "x"), CORE_ERR_DISKFULL));
    ck_assert(is_error(ask(d, 2, &purge), CORE_ERR_DISKFULL));
    leave(d, 9, (enum core_disconnect)(_i % 3));
    leave(d, 4, (enum core_disconnect)(_i / 3));
    ck_assert_uint_eq(fetch_from(d, 8, 10, 0, "q")->v.count, 0);
    daemon_pass(d, 600000);
    ck_assert_uint_eq(d->nentries, from);
    ck_assert_int_gt(core_next_ms(d->core), d->now);
    room_again(d);
    daemon_pass(d, 600000);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        ck_assert(job(d, members[i]).outcome != VIEW_NONE);
    ck_assert(group(d, g).ended_state);
    daemon_free(d);
}
END_TEST

/* As the ledger tells it at a start: the disk first. */
START_TEST(a_start_on_a_full_disk_writes_no_image_twice)
{
    struct daemon *d = daemon_new();
    struct core_event full = {.kind = EVENT_DISK_FULL,
                              .u.full = {.on = true, .room = 100000}};
    struct core_event ev = {.kind = EVENT_SEGMENT};
    char text[128];
    size_t from;

    for (int i = 0; i < 3; i++)
        (void)submit(d, "q", 0);
    core_free(d->core);
    d->core = core_new(&d->limits);
    for (size_t i = 0; i < d->nentries; i++)
        ck_assert_int_eq(core_replay(d->core, d->entries[i].data,
                                     d->entries[i].len, d->entries[i].segment,
                                     text),
                         0);
    core_replay_end(d->core);
    from = d->nentries;
    daemon_one(d, &full);
    daemon_tell(d, EVENT_START, false);
    ev.u.segment = d->segment;
    daemon_step(d, &ev);
    ck_assert_uint_eq(d->nentries, from);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    ev.u.segment = ++d->segment; /* into another one they are written */
    daemon_step(d, &ev);
    ck_assert_uint_gt(d->nentries, from);
    daemon_free(d);
}
END_TEST

/* Of all entries there are now; those that have been are passed over. */
static enum core_compacted compact_all(struct daemon *d)
{
    enum core_compacted done = CORE_COMPACTED;

    for (size_t n = d->nentries, i = 0; i < n && done != CORE_COMPACT_ROOM;
         i++) {
        size_t at = 0;

        do {
            core_effects_reset(&d->effects);
            done = core_compact(d->core, d->entries[i].data, d->entries[i].len,
                                d->entries[i].segment, &at, &d->effects);
            core_check(d->core);
            daemon_keep(d);
        } while (done == CORE_COMPACT_MORE);
    }
    return done;
}

/* Jobs, one with errors that come apart, and a group with ids that do: as many
 * as fit are written, and what has begun is ended. */
START_TEST(compaction_leaves_what_is_spared)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event tick = {.kind = EVENT_TICK}, ev = a_group();
    struct core_event full = {.kind = EVENT_DISK_FULL,
                              .u.full = {.on = true, .spared = 1000}};
    int64_t room = _i * 250, before;
    uint64_t g, digest;
    size_t from;

    daemon_limits(d);
    d->limits.queue_defaults.max_jobs = 100;
    d->limits.image_ids = 4;
    daemon_start(d);
    g = open_event(d, &ev);
    ev = a_job("q");
    ev.u.submit.retry = 9;
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 0;
    (void)submit_event(d, &ev);
    for (int i = 0; i < 6; i++)
        ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    for (int i = 0; i < 30; i++)
        (void)submit(d, "q", g);
    daemon_next_segment(d);
    daemon_step(d, &tick);
    digest = core_digest(d->core);
    full.u.full.room = 1000 + room;
    daemon_step(d, &full);
    from = d->nentries;
    before = core_oldest_bytes(d->core);
    for (int i = 0; i < 5; i++) {
        bool all = compact_all(d) == CORE_COMPACTED;

        daemon_step(d, &tick);
        ck_assert(!all || d->trimmed == d->segment || i < 4);
        /* But for the heads of what comes in parts. */
        ck_assert_int_le(recorded(d, from), room + 200);
    }
    ck_assert(d->trimmed == d->segment || before > room - 300);
    ck_assert_uint_eq(core_digest(d->core), digest);
    room_again(d);
    ck_assert_int_eq(compact_all(d), CORE_COMPACTED);
    daemon_step(d, &tick);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_free(d);
}
END_TEST

static Suite *full_suite(void)
{
    Suite *suite = suite_create("core full");
    TCase *gate = tcase_create("gate"), *reserve = tcase_create("reserve");

    tcase_add_test(gate, nothing_starts_on_a_full_disk);
    tcase_add_test(
        gate, while_the_disk_is_narrow_nothing_new_comes_and_all_else_goes_on);
    tcase_add_test(gate, what_grows_is_refused_and_leaves_no_record);
    tcase_add_test(gate, what_holds_already_is_answered);
    tcase_add_test(gate, what_frees_goes_on);
    tcase_add_test(gate, a_fetch_of_a_new_queue_waits_for_room);
    tcase_add_test(gate, a_page_that_is_read_is_no_record);
    tcase_add_test(reserve, finishing_stops_where_the_reserve_ends);
    tcase_add_test(reserve, reports_leave_room_for_who_cancels_and_purges);
    tcase_add_test(reserve, what_is_larger_than_the_reserve_is_refused_whole);
    tcase_add_test(reserve,
                   without_room_the_times_of_records_wait_and_others_pass);
    tcase_add_test(reserve, slices_wait_for_room_and_go_on);
    tcase_add_loop_test(
        reserve, without_room_nothing_is_recorded_whatever_happens, 0, 9);
    tcase_add_test(reserve, a_start_on_a_full_disk_writes_no_image_twice);
    tcase_add_loop_test(reserve, compaction_leaves_what_is_spared, 0, 20);
    suite_add_tcase(suite, gate);
    suite_add_tcase(suite, reserve);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(full_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
