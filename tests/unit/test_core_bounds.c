/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of what is done in slices: a step does a bounded amount of work, and
 * what it leaves for the next is not seen from outside.
 */
#include "daemon.h"

#define MANY 3000
#define STEP_MAX                                                 \
    (2 << 20) /* bytes of records, one payload of 1 MiB included \
               */

static void one_tick(struct daemon *d)
{
    struct core_event tick = {.kind = EVENT_TICK};

    daemon_one(d, &tick);
}

/* A step as daemon_one, but not followed by a check, which takes long in a
 * world of many. The id that is answered, or 0. */
static uint64_t quick(struct daemon *d, uint64_t client, struct core_event *ev)
{
    uint64_t id = 0;

    ev->client.n = client;
    ev->now_ms = d->now;
    ev->random = d->random += UINT64_C(0x9e3779b97f4a7c15);
    core_effects_reset(&d->effects);
    core_step(d->core, ev, &d->effects);
    if (buf_size(&d->effects.records)) {
        ck_assert_uint_lt(d->nentries, DAEMON_ENTRIES);
        d->entries[d->nentries].segment = d->segment;
        d->entries[d->nentries].len = buf_size(&d->effects.records);
        d->entries[d->nentries++].data = mem_dup(buf_front(&d->effects.records),
                                                 buf_size(&d->effects.records));
    }
    for (size_t i = 0; i < d->effects.len; i++) {
        const struct core_effect *e = &d->effects.list[i];
        size_t at = e->at;
        struct value v;

        if (e->kind != EFFECT_REPLY || e->client.n != client)
            continue;
        value_read(d->effects.values.data, &at, &v);
        ck_assert_int_ne(v.kind, VALUE_ERROR);
        id = v.kind == VALUE_ID ? v.id : 0;
    }
    return id;
}

static void submit_many(struct daemon *d, const char *queue, uint64_t group,
                        int n)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.group.n = group;
    for (int i = 0; i < n; i++)
        ck_assert_uint_ne(quick(d, 1, &ev), 0);
}

/* Until there is nothing to do now; every step is small. */
static void finish(struct daemon *d)
{
    int steps = 0;

    do {
        ck_assert_int_lt(steps++, 1000);
        one_tick(d);
        ck_assert_uint_le(buf_size(&d->effects.records), STEP_MAX);
    } while (core_next_ms(d->core) <= d->now);
}

static struct daemon *roomy(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    core_limits_init(&d->limits);
    daemon_start(d);
    return d;
}

static struct core_stats stats(struct daemon *d)
{
    struct core_stats s;

    core_stats(d->core, &s);
    return s;
}

static struct core_event cancel_of(bool is_job, uint64_t id)
{
    return (struct core_event){.kind = EVENT_CANCEL,
                               .client = {2},
                               .u.cancel = {.is_job = is_job,
                                            .job = {is_job ? id : 0},
                                            .group = {is_job ? 0 : id},
                                            .reason = STR("enough"),
                                            .grace_ms = CORE_UNSET}};
}

static void pause_queue(struct daemon *d, bool paused)
{
    struct core_event ev = {.kind = EVENT_QUEUE_PAUSE,
                            .client = {2},
                            .u.queue = {.name = STR("q"), .paused = paused}};

    daemon_one(d, &ev);
}

START_TEST(a_crowd_is_cancelled_in_slices)
{
    struct daemon *d = roomy();
    uint64_t g = open_policy(d, 0, 0);
    struct core_event ev = cancel_of(false, g);

    submit_many(d, "q", g, MANY);
    daemon_one(d, &ev);
    ck_assert_int_gt(stats(d).ready, 0);
    ck_assert_int_lt(stats(d).ready, MANY);
    /* A crash in between changes nothing; none of the others starts. */
    daemon_crash(d);
    ck_assert_uint_eq(fetch_from(d, 9, 5, 0, "q")->v.count, 0);
    finish(d);
    ck_assert_int_eq(stats(d).ready, 0);
    ck_assert(group(d, g).ended_state);
    ck_assert_int_eq(group(d, g).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(stats(d).finished, MANY);
    daemon_free(d);
}
END_TEST

START_TEST(groups_of_groups_are_cancelled_in_slices)
{
    struct daemon *d = roomy();
    uint64_t g = open_policy(d, 0, 0);
    struct core_event ev = cancel_of(false, g);

    for (int i = 0; i < 30; i++) {
        uint64_t inner = open_under_group(d, g, 0);

        submit_many(d, "q", inner, MANY / 30);
    }
    daemon_one(d, &ev);
    ck_assert_int_gt(stats(d).ready, 0);
    finish(d);
    ck_assert_int_eq(stats(d).ready, 0);
    ck_assert(group(d, g).ended_state);
    daemon_free(d);
}
END_TEST

/* The cancel of a group holds for what is below its running jobs before it has
 * reached them. */
START_TEST(what_is_far_below_a_cancelled_group_never_starts)
{
    struct daemon *d = roomy();
    uint64_t g = open_policy(d, 0, 0), below, deep;
    struct core_event ev = cancel_of(false, g);
    struct token t;

    submit_many(d, "far", g, MANY);
    (void)submit(d, "q", g);
    t = take(d);
    below = open_under_job(d, t);
    deep = submit(d, "deep", below);
    daemon_one(d, &ev);
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_RUNNING);
    ev = a_job("deep");
    ev.u.submit.group.n = below;
    ev.client.n = 3;
    daemon_one(d, &ev);
    ck_assert(is_error(got(d, 3), CORE_ERR_CANCELLED));
    ck_assert_uint_eq(fetch_from(d, 8, 1, 0, "deep")->v.count, 0);
    finish(d);
    ck_assert_int_eq(job(d, deep).state, VIEW_FINISHED);
    ck_assert_int_eq(job(d, deep).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, below).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(job(d, t.job.n).state, VIEW_CANCELLING);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_with_many_groups_is_cancelled_in_slices)
{
    struct daemon *d = roomy();
    struct core_event ev = a_group();
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    ev.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    for (int i = 0; i < MANY; i++)
        ck_assert_uint_ne(quick(d, 4, &ev), 0);
    ev = cancel_of(true, t.job.n);
    daemon_one(d, &ev);
    ck_assert_int_gt(stats(d).groups, 0);
    daemon_crash(d);
    finish(d);
    ck_assert_int_eq(stats(d).groups, 0);
    daemon_free(d);
}
END_TEST

/* Each of them as large as a payload may be: together they are no entry that a
 * store would take. */
START_TEST(waiting_producers_come_in_slices)
{
    enum { PRODUCERS = 20 };
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    char *big = mem_zalloc((size_t)d->limits.payload_max);

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    ev.u.submit.payload = (struct str){big, (size_t)d->limits.payload_max};
    for (uint64_t i = 0; i < PRODUCERS; i++)
        ck_assert_ptr_null(ask(d, 100 + i, &ev));
    ev = (struct core_event){.kind = EVENT_QUEUE_SET, .client = {2}};
    ev.u.queue.name = STR("q");
    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.max_jobs = 100;
    daemon_one(d, &ev);
    ck_assert_uint_le(buf_size(&d->effects.records), STEP_MAX);
    finish(d);
    for (uint64_t i = 0; i < PRODUCERS; i++)
        ck_assert_uint_ne(node_id(got(d, 100 + i), 'j'), 0);
    mem_free(big);
    daemon_free(d);
}
END_TEST

/* Producers and workers that wait for each other are no reason to recurse. */
START_TEST(a_resumed_queue_serves_a_crowd)
{
    enum { EACH = 1500 };
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct str q = STR("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    pause_queue(d, true);
    for (uint64_t i = 0; i < EACH; i++)
        ck_assert_uint_eq(quick(d, 1000 + i, &ev), 0);
    ev = (struct core_event){.kind = EVENT_FETCH};
    ev.u.fetch.count = 1;
    ev.u.fetch.wait_ms = CORE_NONE;
    ev.u.fetch.queues = &q;
    ev.u.fetch.nqueues = 1;
    for (uint64_t i = 0; i < EACH; i++)
        ck_assert_uint_eq(quick(d, 5000 + i, &ev), 0);
    pause_queue(d, false);
    finish(d);
    for (uint64_t i = 0; i < EACH; i++) {
        ck_assert_ptr_nonnull(got(d, 1000 + i));
        ck_assert_uint_eq(got(d, 5000 + i)->v.count, 1);
    }
    ck_assert_int_eq(stats(d).running, EACH);
    ck_assert_int_eq(stats(d).ready, 10);
    daemon_free(d);
}
END_TEST

START_TEST(a_worker_that_leaves_with_a_crowd_gives_all_back)
{
    struct daemon *d = roomy();
    struct core_event ev = {.kind = EVENT_DISCONNECT, .client = {9}};
    uint64_t session = session_of(d, 9);

    submit_many(d, "q", 0, MANY);
    while (stats(d).ready > 0)
        (void)fetch_from(d, 9, 1000, 0, "q");
    ev.u.disconnect = DISCONNECT_CLEAN;
    daemon_one(d, &ev);
    ck_assert_int_gt(stats(d).running, 0);
    ck_assert(is_error(resume(d, 8, session), CORE_ERR_NOSESSION));
    finish(d);
    ck_assert_int_eq(stats(d).ready, MANY);
    ck_assert_int_eq(stats(d).sessions, 0);
    daemon_free(d);
}
END_TEST

START_TEST(parked_jobs_start_in_order)
{
    struct daemon *d = roomy();
    struct core_event ev = a_group();
    struct token first[3];
    uint64_t later[3], g;
    const struct node *page;

    ev.u.group_open.width = 3;
    g = open_event(d, &ev);
    for (int i = 0; i < 3; i++)
        (void)submit(d, "q", g);
    for (int i = 0; i < 3; i++)
        later[i] = submit(d, "q", g);
    page = fetch_from(d, 9, 6, 0, "q");
    ck_assert_uint_eq(page->v.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        first[i] = token_of(page, i);
    for (int i = 0; i < 3; i++)
        ck_assert(is_ok(report(d, EVENT_DONE, first[i], "")));
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(take(d).job.n, later[i]);
    daemon_free(d);
}
END_TEST

START_TEST(parked_jobs_keep_their_priority)
{
    struct daemon *d = roomy();
    struct core_event ev = a_group(), job_ev = a_job("q");
    uint64_t g, high;
    struct token t;

    ev.u.group_open.width = 1;
    g = open_event(d, &ev);
    (void)submit(d, "q", g);
    t = take(d);
    (void)submit(d, "q", g);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    job_ev.u.submit.group.n = g;
    job_ev.u.submit.priority = 9;
    high = submit_event(d, &job_ev);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(take(d).job.n, high);
    daemon_free(d);
}
END_TEST

/* A group that lives for long holds what lives in it, not what ever did. */
START_TEST(a_long_lived_group_does_not_grow)
{
    enum { ROUNDS = 3000 };
    struct daemon *d = mem_zalloc(sizeof(*d));
    const struct node *page;
    int64_t before;
    uint64_t g, last;

    core_limits_init(&d->limits);
    d->limits.members_max = 1200;
    d->limits.queue_defaults.keep_ms = 1;
    daemon_start(d);
    g = open_policy(d, 0, 0);
    before = stats(d).memory_bytes;
    for (int i = 0; i < ROUNDS / 2; i++) {
        uint64_t inner = open_under_group(d, g, 0);

        (void)submit(d, "q", g);
        (void)report(d, EVENT_DONE, take(d), "");
        close_group(d, inner);
        if (i == 0) {
            page = group_ask(d, 5, EVENT_GROUP_NEXT, g, 0, 0, 1);
            ck_assert_uint_eq(node_item(page, 1)->v.count, 1);
        }
        daemon_pass(d, d->limits.queue_defaults.keep_ms);
        if (d->nreplies > DAEMON_REPLIES - 100)
            d->nreplies = 0;
    }
    ck_assert_int_lt(stats(d).memory_bytes - before, 64 * 1024);
    last = submit(d, "q", g);
    (void)report(d, EVENT_DONE, take(d), "");
    /* A cursor from long ago still leads to what came after it. */
    page = group_ask(d, 5, EVENT_GROUP_NEXT, g, 1, 0, 10);
    ck_assert_uint_eq(node_item(page, 1)->v.count, 1);
    ck_assert_uint_eq(
        node_id(node_get(node_item(node_item(page, 1), 0), "id"), 'j'), last);
    page = group_ask(d, 5, EVENT_GROUP_NEXT, g, node_int(node_item(page, 0)), 0,
                     10);
    ck_assert_uint_eq(node_item(page, 1)->v.count, 0);
    daemon_free(d);
}
END_TEST

/* Five queues, and steps that write one image each. */
static struct daemon *slow_with_queues(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    core_limits_init(&d->limits);
    d->limits.step_work = 1;
    daemon_start(d);
    for (int i = 0; i < 5; i++) {
        const char name[] = {'q', (char)('1' + i), '\0'};

        (void)submit(d, name, 0);
        ck_assert(is_ok(report(d, EVENT_DONE,
                               token_of(fetch_from(d, 9, 1, 0, name), 0), "")));
    }
    return d;
}

/* Nothing holds the older segments any more but what is in the last queue. */
static void old_segments_go(struct daemon *d)
{
    uint32_t before = d->trimmed;

    daemon_pass(d, d->limits.queue_defaults.keep_ms);
    ck_assert_uint_gt(d->trimmed, before);
    ck_assert_uint_eq(d->trimmed, d->segment);
}

/* The images of the queues are written again in slices; a job that is accepted
 * in between was lost in a replay once the segment with the older image of its
 * queue had gone. */
START_TEST(job_is_never_replayed_before_its_queue)
{
    struct daemon *d = slow_with_queues();
    struct core_event ev = a_job("q5");
    uint64_t id;

    daemon_next_segment(d);
    ev.client.n = 1;
    daemon_one(d, &ev);
    id = node_id(got(d, 1), 'j');
    old_segments_go(d);
    daemon_crash(d);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(retried_job_is_never_replayed_before_its_queue)
{
    struct daemon *d = slow_with_queues();
    struct core_event ev = a_job("q5");
    uint64_t dead, id;

    ev.u.submit.retry_on = STR("nothing");
    dead = submit_event(d, &ev);
    ev = a_report(EVENT_FAIL, token_of(fetch_from(d, 9, 1, 0, "q5"), 0), "");
    ck_assert(is_ok(ask(d, 9, &ev)));
    daemon_next_segment(d);
    ev = (struct core_event){.kind = EVENT_RETRY, .client.n = 1};
    ev.u.job.id.n = dead;
    daemon_one(d, &ev);
    id = node_id(got(d, 1), 'j');
    old_segments_go(d);
    daemon_crash(d);
    ck_assert_int_eq(job(d, id).state, VIEW_READY);
    daemon_free(d);
}
END_TEST

START_TEST(delivered_job_is_never_replayed_before_its_queue)
{
    struct daemon *d = slow_with_queues();
    struct core_event ev = a_job("q1");
    uint64_t id;

    ev.u.submit.then = STR("q5");
    (void)submit_event(d, &ev);
    ev = a_report(EVENT_DONE, token_of(fetch_from(d, 9, 1, 0, "q1"), 0), "");
    ev.client.n = 9;
    daemon_next_segment(d);
    daemon_one(d, &ev);
    ck_assert(is_ok(got(d, 9)));
    old_segments_go(d);
    daemon_crash(d);
    id = token_of(fetch_from(d, 9, 1, 0, "q5"), 0).job.n;
    ck_assert_uint_ne(id, 0);
    daemon_free(d);
}
END_TEST

static Suite *bounds_suite(void)
{
    Suite *suite = suite_create("core bounds");
    TCase *slices = tcase_create("slices"), *width = tcase_create("width"),
          *growth = tcase_create("growth"),
          *segments = tcase_create("segments");

    tcase_set_timeout(slices, 60);
    tcase_add_test(slices, a_crowd_is_cancelled_in_slices);
    tcase_add_test(slices, groups_of_groups_are_cancelled_in_slices);
    tcase_add_test(slices, what_is_far_below_a_cancelled_group_never_starts);
    tcase_add_test(slices, a_job_with_many_groups_is_cancelled_in_slices);
    tcase_add_test(slices, waiting_producers_come_in_slices);
    tcase_add_test(slices, a_resumed_queue_serves_a_crowd);
    tcase_add_test(slices, a_worker_that_leaves_with_a_crowd_gives_all_back);
    tcase_add_test(width, parked_jobs_start_in_order);
    tcase_add_test(width, parked_jobs_keep_their_priority);
    tcase_set_timeout(growth, 60);
    tcase_add_test(growth, a_long_lived_group_does_not_grow);
    suite_add_tcase(suite, slices);
    suite_add_tcase(suite, width);
    suite_add_tcase(suite, growth);
    tcase_add_test(segments, job_is_never_replayed_before_its_queue);
    tcase_add_test(segments, retried_job_is_never_replayed_before_its_queue);
    tcase_add_test(segments, delivered_job_is_never_replayed_before_its_queue);
    suite_add_tcase(suite, segments);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(bounds_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
