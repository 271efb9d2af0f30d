/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of news: what those who watch are told, and whom it concerns.
 */
#include "daemon.h"

static struct daemon *watched(void)
{
    struct daemon *d = daemon_new();

    daemon_tell(d, EVENT_WATCH, true);
    return d;
}

static const struct node *map_of(struct daemon *d, size_t i)
{
    ck_assert_uint_lt(i, d->nnews);
    return node_item(d->news[i], 1);
}

static bool is_event(const struct node *map, const char *event)
{
    return str_eq(node_str(node_get(map, "event")), str_from(event));
}

/* What was told since the last look is exactly this, in this order. */
static void expect(struct daemon *d, size_t n, const char *const *events)
{
    for (size_t i = 0; i < n && i < d->nnews; i++)
        if (!is_event(map_of(d, i), events[i]))
            ck_abort_msg("news %zu is '%.*s', not '%s'", i,
                         (int)node_str(node_get(map_of(d, i), "event")).len,
                         node_str(node_get(map_of(d, i), "event")).p,
                         events[i]);
    ck_assert_uint_eq(d->nnews, n);
}

#define EXPECT(d, ...)                                         \
    do {                                                       \
        static const char *const wanted[] = {__VA_ARGS__};     \
                                                               \
        expect(d, sizeof(wanted) / sizeof(wanted[0]), wanted); \
    } while (0)

static void forget_news(struct daemon *d)
{
    d->nnews = 0;
}

static struct str text(struct daemon *d, size_t i, const char *key)
{
    return node_str(node_get(map_of(d, i), key));
}

static int64_t number(struct daemon *d, size_t i, const char *key)
{
    return node_int(node_get(map_of(d, i), key));
}

static void pause(struct daemon *d, bool paused)
{
    struct core_event ev = {.kind = EVENT_QUEUE_PAUSE};

    ev.u.queue.name = STR("q");
    ev.u.queue.paused = paused;
    ck_assert(is_ok(ask(d, 1, &ev)));
}

static void close_queue(struct daemon *d, bool closed)
{
    struct core_event ev = {.kind = EVENT_QUEUE_CLOSE};

    ev.u.queue.name = STR("q");
    ev.u.queue.closed = closed;
    ck_assert(is_ok(ask(d, 1, &ev)));
}

START_TEST(nobody_watches_and_nothing_is_told)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);

    (void)submit(d, "q", g);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    pause(d, true);
    ck_assert_uint_eq(d->nnews, 0);
    daemon_tell(d, EVENT_WATCH, true);
    daemon_tell(d, EVENT_WATCH, false);
    (void)submit(d, "q", 0);
    ck_assert_uint_eq(d->nnews, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_is_told_from_acceptance_to_end)
{
    struct daemon *d = watched();
    struct core_event ev = a_job("q");
    struct core_event touch, ready;
    struct token t;
    uint64_t id;

    ev.u.submit.name = STR("name");
    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 100;
    ev.u.submit.jitter = 0;
    id = submit_event(d, &ev);
    t = take(d);
    touch = a_report(EVENT_TOUCH, t, "");
    touch.u.report.progress = STR("half");
    (void)ask(d, 9, &touch);
    ready = a_report(EVENT_READY, t, "");
    ready.u.report.value = STR("port 1");
    ck_assert(is_ok(ask(d, 9, &ready)));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    EXPECT(d, "accepted", "started", "progress", "ready", "requeued");
    for (size_t i = 0; i < d->nnews; i++) {
        ck_assert(str_eq(text(d, i, "kind"), STR("job")));
        ck_assert_uint_eq(node_id(node_get(map_of(d, i), "id"), 'j'), id);
        ck_assert(str_eq(text(d, i, "queue"), STR("q")));
        ck_assert_uint_eq(node_id(node_get(map_of(d, i), "group"), 'g'), 0);
        ck_assert(str_eq(text(d, i, "name"), STR("name")));
        ck_assert_int_eq(number(d, i, "time"), d->now);
        ck_assert_int_eq(number(d, i, "attempt"), i > 0);
    }
    ck_assert_int_eq(number(d, 0, "payload_bytes"), 7);
    ck_assert(node_is_null(node_get(map_of(d, 0), "not_before")));
    ck_assert(str_eq(text(d, 2, "progress"), STR("half")));
    ck_assert(str_eq(text(d, 3, "value"), STR("port 1")));
    ck_assert(str_eq(text(d, 4, "why"), STR("failed")));
    ck_assert(str_eq(text(d, 4, "class"), STR("exit:1")));
    ck_assert_int_eq(number(d, 4, "not_before"), d->now + 100);
    forget_news(d);
    daemon_pass(d, 100);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    EXPECT(d, "started", "ended");
    ck_assert_int_eq(number(d, 1, "attempt"), 2);
    ck_assert(str_eq(text(d, 1, "outcome"), STR("ok")));
    ck_assert_int_eq(number(d, 1, "result_bytes"), 6);
    ck_assert(node_is_null(node_get(map_of(d, 1), "next")));
    daemon_free(d);
}
END_TEST

START_TEST(an_end_says_why)
{
    struct daemon *d = watched();
    uint64_t id;

    (void)submit(d, "q", 0);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:2")));
    id = submit(d, "q", 0);
    cancel_job(d, id, "no need");
    EXPECT(d, "accepted", "started", "ended", "accepted", "ended");
    ck_assert(str_eq(text(d, 2, "outcome"), STR("failed")));
    ck_assert(str_eq(text(d, 2, "class"), STR("exit:2")));
    ck_assert(str_eq(text(d, 4, "outcome"), STR("cancelled")));
    ck_assert(str_eq(text(d, 4, "reason"), STR("no need")));
    ck_assert_int_eq(number(d, 4, "attempt"), 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancel_is_told_when_it_is_asked_and_when_it_has_ended)
{
    struct daemon *d = watched();
    uint64_t id = submit(d, "q", 0);
    struct token t = take(d);
    struct core_event shield = a_report(EVENT_SHIELD, t, "");

    forget_news(d);
    shield.u.report.shield_ms = 500;
    (void)ask(d, 9, &shield);
    cancel_job(d, id, "stop");
    cancel_job(d, id, "stop again");
    EXPECT(d, "cancel");
    ck_assert(str_eq(text(d, 0, "cause"), STR("cancel")));
    ck_assert(str_eq(text(d, 0, "reason"), STR("stop")));
    ck_assert_int_eq(number(d, 0, "shielded"), d->now + 500);
    daemon_pass(d, 500);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    EXPECT(d, "cancel", "ended");
    ck_assert(str_eq(text(d, 1, "reason"), STR("stop")));
    daemon_free(d);
}
END_TEST

START_TEST(a_group_is_told_from_opening_to_end)
{
    struct daemon *d = watched();
    uint64_t g = open_policy(d, 1, 0);
    struct token t;

    (void)submit(d, "q", g);
    t = take(d);
    (void)submit(d, "q", g);
    close_group(d, g);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
    EXPECT(d, "opened", "accepted", "started", "accepted", "closed", "ended",
           "cancel", "ended", "ended");
    ck_assert(str_eq(text(d, 6, "kind"), STR("group")));
    ck_assert(str_eq(text(d, 6, "cause"), STR("fail")));
    ck_assert(str_eq(text(d, 7, "kind"), STR("job")));
    ck_assert(str_eq(text(d, 8, "kind"), STR("group")));
    ck_assert_uint_eq(node_id(node_get(map_of(d, 8), "id"), 'g'), g);
    ck_assert_uint_eq(node_id(node_get(map_of(d, 8), "parent"), 'g'), 0);
    ck_assert(str_eq(text(d, 8, "outcome"), STR("failed")));
    ck_assert_int_eq(number(d, 8, "members"), 2);
    ck_assert_int_eq(number(d, 8, "failed"), 1);
    ck_assert_int_eq(number(d, 8, "cancelled"), 1);
    daemon_free(d);
}
END_TEST

/* Whom news i concerns, but for its job and queue: these groups, and root. */
static void concerns(struct daemon *d, size_t i, uint32_t skip,
                     uint32_t ngroups, const uint64_t *groups)
{
    const struct node *whom = node_item(d->news[i], 0);

    ck_assert_uint_eq(whom->v.count, skip + ngroups + 1);
    for (uint32_t k = 0; k < ngroups; k++)
        ck_assert_uint_eq(node_id(node_item(whom, skip + k), 'g'), groups[k]);
    ck_assert_uint_eq(node_id(node_item(whom, skip + ngroups), 'g'), 0);
}

START_TEST(news_concerns_the_job_its_queue_and_all_groups_around_it)
{
    struct daemon *d = watched();
    uint64_t outer = open_policy(d, 1, 0), body, inner, id;
    struct token t;

    (void)submit(d, "q", outer);
    t = take(d);
    body = open_under_job(d, t);
    inner = open_under_group(d, body, 1);
    forget_news(d);
    id = submit(d, "q", inner);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, inner);
    close_group(d, body);
    EXPECT(d, "accepted", "started", "ended", "closed", "ended", "closed",
           "ended");
    for (size_t i = 0; i < 3; i++) {
        const struct node *whom = node_item(d->news[i], 0);

        ck_assert_uint_eq(node_id(node_item(whom, 0), 'j'), id);
        ck_assert(str_eq(node_str(node_item(whom, 1)), STR("q")));
        concerns(d, i, 2, 3, (uint64_t[]){inner, body, outer});
    }
    concerns(d, 4, 0, 3, (uint64_t[]){inner, body, outer});
    concerns(d, 6, 0, 2, (uint64_t[]){body, outer});
    ck_assert_uint_eq(node_id(node_get(map_of(d, 6), "parent"), 'j'), t.job.n);
    daemon_free(d);
}
END_TEST

START_TEST(a_queue_is_told_when_it_changes_and_once_when_it_fills_up)
{
    struct daemon *d = watched();
    struct core_event ev = a_job("q");

    for (int i = 0; i < 10; i++)
        (void)submit(d, "q", 0);
    forget_news(d);
    ev.u.submit.wait_ms = 0;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_QUEUEFULL));
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_QUEUEFULL));
    pause(d, true);
    pause(d, true);
    pause(d, false);
    close_queue(d, true);
    close_queue(d, true);
    close_queue(d, false);
    EXPECT(d, "full", "paused", "resumed", "closed", "opened");
    for (size_t i = 0; i < d->nnews; i++) {
        ck_assert(str_eq(text(d, i, "kind"), STR("queue")));
        ck_assert(str_eq(text(d, i, "id"), STR("q")));
        ck_assert_uint_eq(node_item(d->news[i], 0)->v.count, 2);
    }
    forget_news(d);
    (void)take(d);
    (void)submit_event(d, &ev); /* there was room */
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_QUEUEFULL));
    EXPECT(d, "started", "accepted", "full");
    daemon_free(d);
}
END_TEST

START_TEST(images_and_replay_are_no_news)
{
    struct daemon *d = watched();
    struct core_event tick = {.kind = EVENT_TICK};

    (void)submit(d, "q", open_policy(d, 1, 0));
    forget_news(d);
    daemon_next_segment(d);
    daemon_step(d, &tick);
    ck_assert_uint_eq(d->nnews, 0);
    daemon_crash(d); /* and nobody watches any more */
    (void)submit(d, "q", 0);
    ck_assert_uint_eq(d->nnews, 0);
    daemon_free(d);
}
END_TEST

/* A life with a bit of everything. */
static void live(struct daemon *d)
{
    uint64_t g = open_policy(d, 1, 0);
    struct token t;

    for (int i = 0; i < 5; i++)
        (void)submit(d, "q", g);
    t = take(d);
    (void)open_under_job(d, t);
    cancel_group(d, g, "enough");
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    pause(d, true);
    daemon_pass(d, 1000);
}

START_TEST(who_watches_changes_nothing)
{
    struct daemon *alone = daemon_new(), *seen = daemon_new();
    struct core_event tick = {.kind = EVENT_TICK};

    daemon_step(alone, &tick); /* as many events, so as much chance */
    daemon_tell(seen, EVENT_WATCH, true);
    live(alone);
    live(seen);
    ck_assert_uint_eq(alone->nnews, 0);
    ck_assert_uint_gt(seen->nnews, 10);
    ck_assert_uint_eq(core_digest(alone->core), core_digest(seen->core));
    ck_assert_uint_eq(alone->nreplies, seen->nreplies);
    ck_assert_uint_eq(alone->nentries, seen->nentries);
    for (size_t i = 0; i < alone->nentries; i++) {
        ck_assert_uint_eq(alone->entries[i].len, seen->entries[i].len);
        ck_assert_mem_eq(alone->entries[i].data, seen->entries[i].data,
                         alone->entries[i].len);
    }
    daemon_free(alone);
    daemon_free(seen);
}
END_TEST

START_TEST(retried_jobs_and_results_that_go_on_are_told_in_order)
{
    struct daemon *d = watched();
    struct core_event ev = a_job("q"), retry = {.kind = EVENT_RETRY};
    uint64_t id, next;

    ev.u.submit.then = STR("next");
    id = submit_event(d, &ev);
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    retry.u.job.id.n = id;
    id = node_id(ask(d, 1, &retry), 'j');
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    EXPECT(d, "accepted", "started", "ended", "accepted", "started", "accepted",
           "ended");
    ck_assert_uint_eq(node_id(node_get(map_of(d, 3), "id"), 'j'), id);
    next = node_id(node_get(map_of(d, 6), "next"), 'j');
    ck_assert_uint_eq(node_id(node_get(map_of(d, 5), "id"), 'j'), next);
    daemon_free(d);
}
END_TEST

/* Cancelling 20 jobs goes on in steps; each does at least something. */
START_TEST(news_are_work_and_a_step_that_tells_much_does_less)
{
    static const int64_t works[] = {0, 1, 2, 10, 1000};

    for (size_t i = 0; i < ARRAY_LEN(works); i++) {
        struct daemon *d = mem_zalloc(sizeof(*d));
        struct core_event watch = {.kind = EVENT_WATCH};
        struct core_event ev = {.kind = EVENT_CANCEL, .client = {1}};
        struct core_stats stats = {.cancelled = 0};
        const int64_t most = 20, names = 4; /* job, queue, group, root */

        core_limits_init(&d->limits);
        d->limits.queue_defaults.max_jobs = 20;
        d->limits.step_work = most;
        daemon_start(d);
        ev.u.cancel.group.n = open_policy(d, 0, 0);
        for (int n = 0; n < 20; n++)
            (void)submit(d, "q", ev.u.cancel.group.n);
        watch.u.work = works[i];
        daemon_step(d, &watch);
        ev.u.cancel.grace_ms = CORE_UNSET;
        daemon_one(d, &ev);
        for (;;) {
            uint64_t before = stats.cancelled;

            core_stats(d->core, &stats);
            if (stats.cancelled == before)
                break;
            /* The last one may pass the bound. */
            ck_assert_int_le((int64_t)(stats.cancelled - before - 1) *
                                 (1 + names * works[i]),
                             most);
            ev = (struct core_event){.kind = EVENT_TICK};
            daemon_one(d, &ev);
        }
        ck_assert_uint_eq(stats.cancelled, 20);
        daemon_free(d);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nobody_watches_and_nothing_is_told,
        a_job_is_told_from_acceptance_to_end,
        an_end_says_why,
        a_cancel_is_told_when_it_is_asked_and_when_it_has_ended,
        a_group_is_told_from_opening_to_end,
        news_concerns_the_job_its_queue_and_all_groups_around_it,
        a_queue_is_told_when_it_changes_and_once_when_it_fills_up,
        images_and_replay_are_no_news,
        who_watches_changes_nothing,
        retried_jobs_and_results_that_go_on_are_told_in_order,
        news_are_work_and_a_step_that_tells_much_does_less,
    };
    Suite *suite = suite_create("core_news");
    TCase *news = tcase_create("news");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(news, tests[i]);
    suite_add_tcase(suite, news);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
