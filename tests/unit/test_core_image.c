/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of images: what is compacted is what it was, wherever in it the
 * journal is cut. That of every state is seen in all other tests of the core,
 * which compact what they leave (daemon_free); here is what comes in between.
 */
#include "daemon.h"

/* Of the entries from *next on, compacts so many; those of the newest segment
 * stay. */
static void compact_some(struct daemon *d, size_t *next, size_t n)
{
    for (; n > 0 && d->entries[*next].segment < d->segment; n--, ++*next) {
        size_t at = 0;
        bool more = d->entries[*next].segment >= d->trimmed;

        while (more) {
            core_effects_reset(&d->effects);
            more = CORE_COMPACT_MORE ==
                   core_compact(d->core, d->entries[*next].data,
                                d->entries[*next].len,
                                d->entries[*next].segment, &at, &d->effects);
            daemon_keep(d);
        }
    }
}

/* A new segment, with the images of queues at its head. */
static void next_segment(struct daemon *d)
{
    struct core_event tick = {.kind = EVENT_TICK};

    daemon_next_segment(d);
    daemon_step(d, &tick);
}

static int64_t in_group(struct daemon *d, uint64_t group, const char *key)
{
    return node_int(node_get(
        group_ask(d, 3, EVENT_GROUP_INFO, group, 0, CORE_UNSET, 0), key));
}

static uint64_t limited(struct daemon *d)
{
    struct core_event ev = a_job("q");

    ev.u.submit.limits = str_from("l");
    return submit_event(d, &ev);
}

static uint64_t open_detached(struct daemon *d)
{
    struct core_event ev = a_group();

    return open_event(d, &ev);
}

/* A queue whose oldest job lies in the newest segment is still a queue. */
START_TEST(images_keep_the_order_of_a_queue)
{
    struct daemon *d = daemon_new();
    uint64_t ids[6];
    size_t next = 0;

    for (int i = 0; i < 3; i++)
        ids[i] = submit(d, "q", 0);
    next_segment(d);
    for (int i = 3; i < 6; i++)
        ids[i] = submit(d, "q", 0);
    next_segment(d);
    compact_some(d, &next, 4); /* of the first segment only */
    ck_assert_uint_eq(d->trimmed, d->segment - 1);
    daemon_crash(d);
    for (int i = 0; i < 6; i++)
        ck_assert_uint_eq(take(d).job.n, ids[i]);
    daemon_free(d);
}
END_TEST

/* One job that nobody takes, and any number that come and go. */
START_TEST(an_old_job_holds_no_segment)
{
    struct daemon *d = daemon_new();
    uint64_t old = submit(d, "old", 0);
    size_t next = 0;

    for (int i = 0; i < 50; i++) {
        (void)submit(d, "q", 0);
        ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
        next_segment(d);
        compact_some(d, &next, SIZE_MAX);
        ck_assert_uint_eq(d->trimmed, d->segment);
    }
    daemon_crash(d);
    ck_assert_uint_eq(token_of(fetch_from(d, 9, 1, 0, "old"), 0).job.n, old);
    daemon_free(d);
}
END_TEST

/* The last entry had no room in its segment, which the core heard of later. */
static void turned_before_the_last(struct daemon *d)
{
    d->entries[d->nentries - 1].segment++;
    next_segment(d);
}

/* It stands before the images of its queue and its limiter there: in a replay
 * of that segment alone it would come to nothing. */
START_TEST(a_job_that_begins_a_segment_is_not_lost)
{
    struct daemon *d = daemon_new();
    size_t next = 0;
    uint64_t id;

    set_limiter(d, "l");
    (void)submit(d, "q", 0);
    id = limited(d);
    turned_before_the_last(d);
    daemon_crash(d);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    while (next < d->nentries && d->entries[next].segment < d->segment)
        compact_some(d, &next, 1);
    daemon_crash(d);
    ck_assert_uint_eq(take(d).job.n, id);
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_free(d);
}
END_TEST

/* Its group stands there, too, and knows it as a member: a cancel that did not
 * reach it would let it outlive its scope. */
START_TEST(a_member_that_begins_a_segment_is_cancelled)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    size_t next = 0;
    struct token t;
    uint64_t g, id;

    (void)submit(d, "q", 0);
    t = take(d);
    ev.u.submit.body = t;
    id = submit_event(d, &ev);
    turned_before_the_last(d);
    g = job(d, id).group;
    (void)submit(d, "q", 0); /* for which that segment stays */
    if (_i == 1) /* the group follows from it by now, and needs no image */
        daemon_crash(d);
    next_segment(d);
    while (d->trimmed == 0)
        compact_some(d, &next, 1);
    ck_assert_uint_eq(d->trimmed, d->segment - 1);
    daemon_crash(d);
    ck_assert_int_eq(in_group(d, g, "members"), 1);
    cancel_group(d, g, "over");
    ck_assert_int_eq(in_group(d, g, "queued"), 0);
    daemon_free(d);
}
END_TEST

/* Nor does it have to be known when nothing of it is left. */
START_TEST(a_job_that_began_a_segment_and_is_forgotten_is_passed_over)
{
    struct daemon *d = daemon_new();
    size_t next = 0;

    d->limits.retain_jobs = 0;
    daemon_crash(d); /* with that limit */
    set_limiter(d, "l");
    (void)limited(d);
    turned_before_the_last(d);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    daemon_free(d);
}
END_TEST

/* The group is written, its member not yet, and that ends: a replay of what is
 * left when both are meets the end before the member. */
START_TEST(an_end_between_two_images_counts)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_detached(d), a, b;
    size_t next = 0;
    struct token t;

    a = submit(d, "q", g);
    b = submit(d, "q", g);
    next_segment(d);
    /* Up to the group, which is the first that is written again. */
    for (size_t before = d->nentries; d->nentries == before;)
        compact_some(d, &next, 1);
    t = take(d);
    ck_assert_uint_eq(t.job.n, a);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    ck_assert_int_eq(in_group(d, g, "queued"), 1);
    ck_assert_int_eq(in_group(d, g, "ok"), 1);
    ck_assert_uint_eq(take(d).job.n, b);
    daemon_free(d);
}
END_TEST

/* A replay forgets late what was forgotten before the image of the job above:
 * that counted once more, as the last of those that the image tells of. */
START_TEST(what_is_below_a_job_stays_when_another_is_forgotten)
{
    struct daemon *d = daemon_new();
    struct core_event brief = a_group();
    size_t next = 0;
    struct token t;
    uint64_t kept;

    (void)submit(d, "q", 0);
    t = take(d);
    next_segment(d);
    kept = open_under_job(d, t);
    close_group(d, kept);
    brief.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    brief.u.group_open.keep_ms = 100;
    close_group(d, open_event(d, &brief));
    daemon_pass(d, 101);
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_eq(d->trimmed, d->segment);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_crash(d);
    ck_assert(group(d, kept).found);
    daemon_free(d);
}
END_TEST

/* They are written in the steps after the segment has begun; who healed before
 * the last of them took what was left for what nobody can write. */
START_TEST(healing_waits_for_the_images_of_the_queues)
{
    struct core_event tick = {.kind = EVENT_TICK};
    struct daemon *d = daemon_new();
    size_t at = 0;

    for (int i = 0; i < 3; i++) /* makes them */
        (void)fetch_from(d, 9, 1, 0, (const char *[]){"a", "b", "c"}[i]);
    d->limits.step_work = 1;
    core_configure(d->core, &d->limits);
    daemon_next_segment(d);
    for (int ticks = 0; core_oldest_segment(d->core) < d->segment; ticks++) {
        ck_assert_int_lt(ticks, 10);
        core_effects_reset(&d->effects);
        ck_assert_int_eq(core_heal(d->core, d->segment - 1, &at, &d->effects),
                         CORE_COMPACT_MORE);
        daemon_one(d, &tick);
    }
    core_effects_reset(&d->effects);
    ck_assert_int_eq(core_heal(d->core, d->segment - 1, &at, &d->effects),
                     CORE_COMPACTED);
    daemon_free(d);
}
END_TEST

/* The members of a large group are written in slices, and what comes meanwhile
 * is not lost; until the last of them the segment before is needed. */
START_TEST(a_group_goes_when_its_last_members_are_written)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event tick = {.kind = EVENT_TICK};
    uint64_t g, ids[40];
    size_t next = 0;

    daemon_limits(d);
    d->limits.queue_defaults.max_jobs = 100;
    d->limits.step_work = 1;
    d->limits.image_ids = 8; /* in a slice */
    daemon_start(d);
    g = open_detached(d);
    for (int i = 0; i < 39; i++)
        ids[i] = submit(d, "q", g);
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_lt(d->trimmed, d->segment);
    daemon_crash(d); /* what is written of the group is passed over */
    next = 0;
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    ids[39] = submit(d, "q", g);
    for (int i = 0; i < 20; i++)
        daemon_one(d, &tick);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    ck_assert_int_eq(in_group(d, g, "members"), 40);
    for (int i = 0; i < 40; i++) {
        struct token t = take(d);

        ck_assert_uint_eq(t.job.n, ids[i]);
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    }
    ck_assert_int_eq(in_group(d, g, "ok"), 40);
    daemon_free(d);
}
END_TEST

static void must_be_in(void *arg, const struct core_thing *thing)
{
    const char *queue = arg;

    ck_assert(str_eq(thing->queue, str_from(queue)));
}

/* Its jobs are known by its number alone; a later image has its name. */
START_TEST(a_queue_whose_image_was_lost_is_made_up)
{
    struct daemon *d = daemon_new();

    (void)submit(d, "q", 0);
    (void)submit(d, "q", 0);
    for (int segments = 0; segments < 2; segments++) {
        /* Without the first entry: the queue, and its first job. */
        struct core *c = daemon_salvage(d, &d->limits, 0, 1);
        struct core_stats stats;

        core_stats(c, &stats);
        ck_assert_int_eq(stats.jobs, 1 + segments);
        ck_assert_int_eq(stats.queues, 1);
        core_each(c, must_be_in, segments ? "q" : "lost-0");
        core_check(c);
        core_free(c);
        next_segment(d);
        (void)submit(d, "q", 0);
    }
    daemon_free(d);
}
END_TEST

/* A crash between an image and its members, and the same group written again,
 * into the same segment, with one member more. */
START_TEST(an_image_that_was_cut_off_is_replaced_by_the_next)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event tick = {.kind = EVENT_TICK};
    size_t next = 0;
    uint64_t g;

    daemon_limits(d);
    d->limits.queue_defaults.max_jobs = 100;
    d->limits.step_work = 1;
    d->limits.image_ids = 8;
    daemon_start(d);
    g = open_detached(d);
    for (int i = 0; i < 39; i++)
        (void)submit(d, "q", g);
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    for (int i = 0; i < _i; i++)
        daemon_one(d, &tick); /* some of the members */
    daemon_crash(d);
    (void)submit(d, "q", g);
    next = 0;
    compact_some(d, &next, SIZE_MAX);
    for (int i = 0; i < 20; i++)
        daemon_one(d, &tick);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    ck_assert_int_eq(in_group(d, g, "members"), 40);
    ck_assert_int_eq(in_group(d, g, "queued"), 40);
    for (int i = 0; i < 40; i++)
        ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert_int_eq(in_group(d, g, "ok"), 40);
    daemon_free(d);
}
END_TEST

/* Images of old outcomes lie behind newer ones: over the bound it is the old
 * ones that go, in a replay, too. */
START_TEST(a_replay_forgets_the_oldest_outcomes)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t ids[30];
    size_t next = 0;

    daemon_limits(d);
    d->limits.retain_jobs = 20;
    daemon_start(d);
    for (int i = 0; i < 30; i++) {
        if (i == 10)
            next_segment(d);
        if (i == 20)
            compact_some(d, &next, SIZE_MAX);
        ids[i] = submit(d, "q", 0);
        ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
        daemon_pass(d, 1);
    }
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(job(d, ids[i]).found, i >= 10);
    daemon_free(d);
}
END_TEST

/* Its image was written, and those of some of its members; the others went with
 * it. */
START_TEST(a_group_that_made_room_does_not_come_back)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event ev = a_group();
    uint64_t g, others[3];
    size_t next = 0;

    daemon_limits(d);
    d->limits.groups_max = 3;
    daemon_start(d);
    g = open_detached(d);
    for (int i = 0; i < 3; i++)
        (void)submit(d, "q", g);
    for (int i = 0; i < 3; i++)
        ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    next_segment(d);
    compact_some(d, &next, (size_t)_i);
    ev.u.group_open.keep_ms = 1000;
    for (int i = 0; i < 3; i++)
        others[i] = open_event(d, &ev);
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_eq(d->trimmed, d->segment);
    for (int i = 0; i < 3; i++)
        close_group(d, others[i]);
    daemon_pass(d, 2000); /* there is room again */
    for (int i = 0; i < 2; i++) {
        ck_assert(
            is_error(group_ask(d, 3, EVENT_GROUP_INFO, g, 0, CORE_UNSET, 0),
                     CORE_ERR_NOGROUP));
        daemon_crash(d);
    }
    daemon_free(d);
}
END_TEST

/* A start that was stopped, or met damage. */
START_TEST(a_replay_that_is_given_up_leaves_nothing)
{
    struct daemon *d = daemon_new();
    struct core *c = core_new(&d->limits);

    (void)submit(d, "q", 0);
    daemon_compact(d);
    for (size_t i = 0; i < d->nentries; i++)
        if (d->entries[i].segment >= d->trimmed)
            ck_assert_int_eq(core_replay(c, d->entries[i].data,
                                         d->entries[i].len,
                                         d->entries[i].segment, NULL),
                             0);
    core_free(c);
    daemon_free(d);
}
END_TEST

static uint64_t submit_large(struct daemon *d, size_t len, int64_t retry)
{
    static char large[3000];
    struct core_event ev = a_job("q");

    memset(large, 'x', sizeof(large));
    ev.u.submit.payload = (struct str){large, len};
    ev.u.submit.retry = retry;
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 0;
    return submit_event(d, &ev);
}

/* An entry that no store takes would end the daemon, at each start anew. */
START_TEST(a_job_too_large_for_an_image_stays_where_it_is)
{
    struct daemon *d = daemon_new();
    size_t next = 0;
    uint64_t id = submit_large(d, 3000, 1);

    d->limits.image_max = 2999;
    core_configure(d->core, &d->limits);
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    ck_assert_uint_lt(d->trimmed, d->segment);
    daemon_crash(d);
    ck_assert(job(d, id).found);
    d->limits.image_max = 3000;
    core_configure(d->core, &d->limits);
    daemon_free(d); /* compacts it */
}
END_TEST

static void fail_one(struct daemon *d, size_t len)
{
    static char detail[3000];
    struct core_event fail = a_report(EVENT_FAIL, take(d), "exit:1");

    memset(detail, 'y', sizeof(detail));
    fail.u.report.detail = (struct str){detail, len};
    ck_assert(is_ok(ask(d, 9, &fail)));
}

static int64_t errors_of(struct daemon *d, uint64_t id)
{
    const struct node *n = node_get(result(d, 3, id, 0), "errors");
    int64_t last = 0;

    for (uint32_t i = 0; i < n->v.count; i++) {
        int64_t attempt = node_int(node_get(&n->items[i], "attempt"));

        ck_assert_int_gt(attempt, last); /* they are in their order */
        last = attempt;
    }
    return n->v.count;
}

/* However large they are together, and whatever fails meanwhile. */
START_TEST(a_job_of_many_errors_goes_in_parts)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event tick = {.kind = EVENT_TICK};
    size_t next = 0;
    uint64_t id;

    daemon_limits(d);
    d->limits.step_work = 1;
    d->limits.image_max = 6200; /* of 90000 bytes in all */
    d->limits.image_errors = 6100;
    daemon_start(d);
    id = submit_large(d, 10, 32);
    for (int i = 0; i < 29; i++)
        fail_one(d, 3000);
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    for (int i = 0; i < _i; i++)
        daemon_one(d, &tick); /* some of the errors */
    daemon_crash(d);
    fail_one(d, 100);
    next = 0;
    next_segment(d);
    compact_some(d, &next, SIZE_MAX);
    for (int i = 0; i < _i % 7; i++)
        daemon_one(d, &tick);
    fail_one(d, 200);
    for (int i = 0; i < 40; i++)
        daemon_one(d, &tick);
    ck_assert_uint_eq(d->trimmed, d->segment);
    daemon_crash(d);
    fail_one(d, 300);
    ck_assert_int_eq(errors_of(d, id), 32);
    daemon_free(d);
}
END_TEST

/* What is whole of them is there, in its order. */
START_TEST(a_job_that_lost_some_of_its_errors_has_the_others)
{
    struct daemon *d = daemon_new();
    size_t first;
    uint64_t id;

    id = submit_large(d, 10, 10);
    for (int i = 0; i < 10; i++)
        fail_one(d, 1000);
    first = d->nentries;
    daemon_compact(d);
    for (size_t lost = first; lost < d->nentries; lost++) {
        struct core *c = daemon_salvage(d, &d->limits, lost, lost + 1);
        struct core *before = d->core;
        struct core_event start = {.kind = EVENT_START, .now_ms = d->now};

        core_check(c);
        core_effects_reset(&d->effects);
        core_step(c, &start, &d->effects);
        d->core = c;
        if (job(d, id).found)
            ck_assert_int_ge(errors_of(d, id), 8);
        d->core = before;
        core_free(c);
    }
    daemon_free(d);
}
END_TEST

/* Jobs that ask for the same share it, also after they were written again. */
START_TEST(images_share_what_jobs_have_in_common)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct core_stats one, many;

    d->limits.queue_defaults.max_jobs = 1000;
    core_configure(d->core, &d->limits);
    ev.u.submit.timeout_ms = 5000;
    (void)submit_event(d, &ev);
    core_stats(d->core, &one);
    (void)submit_event(d, &ev);
    core_stats(d->core, &many);
    many.memory_bytes -= one.memory_bytes; /* of one more */
    for (int i = 0; i < 98; i++)
        (void)submit_event(d, &ev);
    daemon_compact(d);
    daemon_crash(d);
    core_stats(d->core, &one);
    ck_assert_int_eq(one.jobs, 100);
    ck_assert_int_lt(one.memory_bytes, 101 * many.memory_bytes + 2048);
    daemon_free(d);
}
END_TEST

/* Whatever was lost of a group, its cancel reaches what lives in it: one that
 * runs, one that waits, what is in a group below it, and below an attempt. */
START_TEST(what_is_in_a_group_that_was_lost_is_cancelled_with_it)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t g, below, ids[4];
    struct token t;
    size_t first;
    int lost_groups = 0;

    daemon_limits(d);
    d->limits.image_ids = 1;
    daemon_start(d);
    g = open_detached(d);
    ids[0] = submit(d, "q", g);
    t = take(d);
    ids[1] = submit(d, "q", g);
    below = open_under_group(d, g, 0);
    ids[2] = submit(d, "q", below);
    ids[3] = submit(d, "q", open_under_job(d, t));
    first = d->nentries;
    daemon_compact(d);
    for (size_t lost = first; lost < d->nentries; lost++) {
        struct core *c = daemon_salvage(d, &d->limits, lost, lost + 1),
                    *before = d->core;
        struct core_event start = {.kind = EVENT_START, .now_ms = d->now},
                          cancel = {.kind = EVENT_CANCEL};

        daemon_beside(d, c, NULL, &start);
        core_check(c);
        d->core = c;
        lost_groups += group(d, g).closed;
        if (group(d, g).found && group(d, below).found)
            ck_assert_uint_eq(node_id(group(d, below).parent, 'g'), g);
        cancel.u.cancel.group.n = g;
        cancel.u.cancel.reason = STR("over");
        cancel.u.cancel.grace_ms = CORE_UNSET;
        daemon_beside(d, c, NULL, &cancel);
        cancel.kind = EVENT_TICK;
        while (core_next_ms(c) <= core_now_ms(c))
            daemon_beside(d, c, NULL, &cancel);
        for (int i = 0; group(d, g).found && i < 4; i++) {
            struct job_view v = job(d, ids[i]);

            /* Below an attempt that was lost itself it is on its own. */
            if (i == 3 && !job(d, ids[0]).found)
                continue;
            ck_assert(!v.found || v.state == VIEW_CANCELLING ||
                      v.outcome == VIEW_CANCELLED);
        }
        d->core = before;
        core_free(c);
    }
    ck_assert_int_ge(lost_groups, 1); /* made up, from what is in it */
    daemon_free(d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        images_keep_the_order_of_a_queue,
        an_old_job_holds_no_segment,
        a_job_that_begins_a_segment_is_not_lost,
        a_job_that_began_a_segment_and_is_forgotten_is_passed_over,
        an_end_between_two_images_counts,
        what_is_below_a_job_stays_when_another_is_forgotten,
        healing_waits_for_the_images_of_the_queues,
        a_group_goes_when_its_last_members_are_written,
        a_queue_whose_image_was_lost_is_made_up,
        a_job_too_large_for_an_image_stays_where_it_is,
        a_job_that_lost_some_of_its_errors_has_the_others,
        a_replay_forgets_the_oldest_outcomes,
        what_is_in_a_group_that_was_lost_is_cancelled_with_it,
        a_replay_that_is_given_up_leaves_nothing,
        images_share_what_jobs_have_in_common,
    };
    Suite *suite = suite_create("core_image");
    TCase *images = tcase_create("images");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(images, tests[i]);
    tcase_add_loop_test(
        images, an_image_that_was_cut_off_is_replaced_by_the_next, 0, 5);
    tcase_add_loop_test(images, a_member_that_begins_a_segment_is_cancelled, 0,
                        2);
    tcase_add_loop_test(images, a_group_that_made_room_does_not_come_back, 0,
                        8);
    tcase_add_loop_test(images, a_job_of_many_errors_goes_in_parts, 0, 18);
    suite_add_tcase(suite, images);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
