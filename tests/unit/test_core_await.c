/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of AWAIT: ends are told once, to who has asked, and not lost.
 */
#include "daemon.h"

#include "laws.h"

static const struct node *await(struct daemon *d, enum core_event_kind kind,
                                uint64_t client, bool is_group, uint64_t id)
{
    const struct core_id ids[] = {{.is_group = is_group, .n = id}};
    struct core_event ev = {.kind = kind};

    ev.u.await.ids = ids;
    ev.u.await.nids = 1;
    return ask(d, client, &ev);
}

static void awaits(struct daemon *d, uint64_t client, bool is_group,
                   uint64_t id)
{
    ck_assert_uint_eq(await(d, EVENT_AWAIT, client, is_group, id)->v.count, 0);
}

/* Without a queue; NULL: it waits. */
static const struct node *fetch_news(struct daemon *d, uint64_t client,
                                     int64_t wait_ms)
{
    struct core_event ev = {.kind = EVENT_FETCH, .u.fetch.wait_ms = wait_ms};

    return ask(d, client, &ev);
}

static void is_end(const struct node *e, uint64_t id, const char *outcome)
{
    ck_assert(str_eq(node_str(node_item(e, 0)), STR("ended")));
    ck_assert_uint_eq(node_item(e, 1)->v.id, id);
    ck_assert(str_eq(node_str(node_item(e, 2)), str_from(outcome)));
    ck_assert(str_eq(node_str(node_get(node_item(e, 3), "outcome")),
                     str_from(outcome)));
}

START_TEST(ends_of_many_are_told_by_one_fetch_and_only_once)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), a = submit(d, "q", g),
             b = submit(d, "q", g);
    const struct node *n;

    awaits(d, 7, true, g);
    awaits(d, 7, false, a);
    awaits(d, 7, false, b);
    awaits(d, 7, false, b); /* again changes nothing */
    ck_assert_uint_eq(fetch_news(d, 7, 0)->v.count, 0);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    close_group(d, g);
    n = fetch_news(d, 7, 0);
    ck_assert_uint_eq(n->v.count, 3);
    is_end(node_item(n, 0), a, "ok");
    is_end(node_item(n, 1), b, "failed");
    is_end(node_item(n, 2), g, "ok");
    ck_assert_uint_eq(fetch_news(d, 7, 0)->v.count, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_fetch_that_waits_is_answered_with_the_end)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0);
    const struct node *n;

    awaits(d, 7, false, a);
    ck_assert_ptr_null(fetch_news(d, 7, 1000));
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    n = got(d, 7);
    ck_assert_uint_eq(n->v.count, 1);
    is_end(node_item(n, 0), a, "ok");
    daemon_free(d);
}
END_TEST

START_TEST(what_has_ended_before_is_told_at_once)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0);
    const struct node *n;

    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    for (int again = 0; again < 2; again++) { /* its answer may be lost */
        awaits(d, 7, false, a);
        n = fetch_news(d, 7, 1000);
        ck_assert_uint_eq(n->v.count, 1);
        is_end(node_item(n, 0), a, "ok");
    }
    daemon_free(d);
}
END_TEST

START_TEST(what_is_not_known_is_said_and_the_rest_is_awaited)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0);
    const struct core_id ids[] = {
        {.n = a}, {.n = a + 1000}, {.is_group = true, .n = a}};
    struct core_event ev = {.kind = EVENT_AWAIT};
    const struct node *n;

    ev.u.await.ids = ids;
    ev.u.await.nids = 3;
    n = ask(d, 7, &ev);
    ck_assert_uint_eq(n->v.count, 2);
    ck_assert_uint_eq(node_id(node_item(n, 0), 'j'), a + 1000);
    ck_assert_uint_eq(node_id(node_item(n, 1), 'g'), a);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert_uint_eq(fetch_news(d, 7, 0)->v.count, 1);
    daemon_free(d);
}
END_TEST

/* KEEP 0, and a bound that leaves nothing. */
START_TEST(an_end_outlasts_its_job)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct core_stats before, after;
    const struct node *n;
    uint64_t a;

    ev.u.submit.keep_ms = 0;
    a = submit_event(d, &ev);
    (void)fetch_news(d, 7, 0); /* it has a session */
    core_stats(d->core, &before);
    awaits(d, 7, false, a);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    daemon_pass(d, 1000);
    core_stats(d->core, &after);
    ck_assert_int_eq(after.jobs, 0);
    n = fetch_news(d, 7, 0);
    ck_assert_uint_eq(n->v.count, 1);
    is_end(node_item(n, 0), a, "ok");
    core_stats(d->core, &before);
    ck_assert_int_lt(before.memory_bytes, after.memory_bytes);
    daemon_free(d);
}
END_TEST

START_TEST(who_takes_it_back_is_not_told)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0);

    awaits(d, 7, false, a);
    awaits(d, 8, false, a);
    ck_assert(is_ok(await(d, EVENT_UNAWAIT, 7, false, a)));
    ck_assert(is_ok(await(d, EVENT_UNAWAIT, 7, false, a)));
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    ck_assert_uint_eq(fetch_news(d, 7, 0)->v.count, 0);
    ck_assert_uint_eq(fetch_news(d, 8, 0)->v.count, 1);
    daemon_free(d);
}
END_TEST

START_TEST(awaits_go_with_their_session)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_DISCONNECT, .client = {7}};
    struct core_stats before, after;
    uint64_t a = submit(d, "q", 0);

    core_stats(d->core, &before);
    awaits(d, 7, false, a);
    ev.u.disconnect = DISCONNECT_CLEAN;
    daemon_one(d, &ev);
    core_stats(d->core, &after);
    ck_assert_int_eq(after.memory_bytes, before.memory_bytes);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    daemon_free(d);
}
END_TEST

START_TEST(at_memory_max_nothing_more_is_awaited)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0);

    (void)fetch_news(d, 7, 0);
    d->limits.memory_max = 1;
    core_configure(d->core, &d->limits);
    ck_assert(is_error(await(d, EVENT_AWAIT, 7, false, a), CORE_ERR_OOM));
    daemon_free(d);
}
END_TEST

START_TEST(a_session_awaits_so_many_and_no_more)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0), b = submit(d, "q", 0),
             e = submit(d, "q", 0);

    d->limits.awaits_max = 2;
    core_configure(d->core, &d->limits);
    awaits(d, 7, false, a);
    awaits(d, 7, false, b);
    ck_assert(is_error(await(d, EVENT_AWAIT, 7, false, e), CORE_ERR_LIMIT));
    awaits(d, 8, false, e);
    ck_assert(is_ok(await(d, EVENT_UNAWAIT, 7, false, a)));
    awaits(d, 7, false, e);
    daemon_free(d);
}
END_TEST

/* One of its ends came before, one comes while nobody speaks for it. */
START_TEST(who_resumes_the_session_is_told)
{
    struct daemon *d = daemon_new();
    uint64_t a = submit(d, "q", 0), b = submit(d, "q", 0), session;
    struct token first = take(d), second = take(d);
    const struct node *n;

    session = session_of(d, 7);
    (void)submit(d, "held", 0);
    ck_assert_uint_eq(fetch_from(d, 7, 1, 0, "held")->v.count, 1);
    awaits(d, 7, false, a);
    awaits(d, 7, false, b);
    ck_assert(is_ok(report(d, EVENT_DONE, first, "")));
    leave(d, 7, DISCONNECT_BROKEN);
    ck_assert(is_ok(report(d, EVENT_FAIL, second, "exit:1")));
    ck_assert_uint_eq(resume(d, 8, session)->v.count, 1);
    awaits(d, 8, false, b); /* as a client does that cannot know */
    n = fetch_news(d, 8, 0);
    ck_assert_uint_eq(n->v.count, 2);
    is_end(node_item(n, 0), a, "ok");
    is_end(node_item(n, 1), b, "failed");
    ck_assert_uint_eq(fetch_news(d, 8, 0)->v.count, 0);
    daemon_free(d);
}
END_TEST

/* Of a job and of a group. */
START_TEST(at_memory_max_an_end_outlasts_without_its_map)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group(), ev = a_job("q");
    const struct node *n;
    uint64_t a, g;

    open.u.group_open.keep_ms = ev.u.submit.keep_ms = 0;
    g = open_event(d, &open);
    a = submit_event(d, &ev);
    awaits(d, 7, false, a);
    awaits(d, 7, true, g);
    d->limits.memory_max = 1;
    core_configure(d->core, &d->limits);
    ck_assert(is_ok(report(d, EVENT_DONE, take(d), "")));
    close_group(d, g);
    daemon_pass(d, 1000);
    n = fetch_news(d, 7, 0);
    ck_assert_uint_eq(n->v.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(node_item(node_item(n, i), 1)->v.id, i ? g : a);
        ck_assert(str_eq(node_str(node_item(node_item(n, i), 2)), STR("ok")));
        ck_assert(node_is_null(node_item(node_item(n, i), 3)));
    }
    daemon_free(d);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {who_resumes_the_session_is_told, 1},
        {at_memory_max_an_end_outlasts_without_its_map, 1},
        {ends_of_many_are_told_by_one_fetch_and_only_once, 1},
        {a_fetch_that_waits_is_answered_with_the_end, 1},
        {what_has_ended_before_is_told_at_once, 1},
        {what_is_not_known_is_said_and_the_rest_is_awaited, 1},
        {an_end_outlasts_its_job, 1},
        {who_takes_it_back_is_not_told, 1},
        {awaits_go_with_their_session, 1},
        {at_memory_max_nothing_more_is_awaited, 1},
        {a_session_awaits_so_many_and_no_more, 1},
    };

    return laws_run("core_await", laws, ARRAY_LEN(laws));
}
