/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of THEN: a result becomes a job of the next queue, and waits for
 * room there.
 */
#include "daemon.h"

static uint64_t chain(struct daemon *d, uint64_t group, const char *then)
{
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = group;
    ev.u.submit.name = STR("name");
    ev.u.submit.priority = 7;
    ev.u.submit.then = str_from(then);
    return submit_event(d, &ev);
}

static struct token take_from(struct daemon *d, const char *queue)
{
    return token_of(fetch_from(d, 9, 1, 0, queue), 0);
}

static void bound(struct daemon *d, const char *queue, int64_t max_jobs)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET};

    ev.u.queue.name = str_from(queue);
    ev.u.queue.settings = d->limits.queue_defaults;
    ev.u.queue.settings.max_jobs = max_jobs;
    ck_assert(is_ok(ask(d, 1, &ev)));
}

static void close_queue(struct daemon *d, const char *queue)
{
    struct core_event ev = {.kind = EVENT_QUEUE_CLOSE};

    ev.u.queue.name = str_from(queue);
    ev.u.queue.closed = true;
    ck_assert(is_ok(ask(d, 1, &ev)));
}

static uint64_t next_of(struct daemon *d, uint64_t id)
{
    const struct node *n = node_get(result(d, 3, id, 0), "next");

    return node_is_null(n) ? 0 : node_id(n, 'j');
}

static void done(struct daemon *d, struct token t)
{
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
}

/* "next" holds one job at most and has one; a job of "q" is done and waits. */
static uint64_t delivering(struct daemon *d, uint64_t group)
{
    uint64_t id;

    bound(d, "next", 1);
    (void)submit(d, "next", 0);
    id = chain(d, group, "next");
    done(d, take(d));
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING);
    return id;
}

START_TEST(a_result_becomes_a_job_of_the_next_queue)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), id = chain(d, g, "next,last"), next;
    const struct node *page, *work;
    struct job_view v;

    done(d, take(d));
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    next = next_of(d, id);
    v = job(d, next);
    ck_assert(str_eq(v.queue, STR("next")));
    ck_assert(str_eq(v.name, STR("name")));
    ck_assert_uint_eq(v.group, g);
    ck_assert_int_eq(v.priority, 7);
    daemon_crash(d);
    ck_assert_uint_eq(next_of(d, id), next);
    page = fetch_from(d, 9, 1, 0, "next");
    work = node_item(page, 0);
    ck_assert(str_eq(node_str(node_item(work, 3)), STR("result")));
    done(d, token_of(page, 0));
    ck_assert(str_eq(job(d, next_of(d, next)).queue, STR("last")));
    close_group(d, g);
    done(d, take_from(d, "last"));
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    ck_assert_int_eq(group(d, g).members, 3);
    daemon_free(d);
}
END_TEST

START_TEST(only_an_ok_result_goes_on)
{
    struct daemon *d = daemon_new();
    uint64_t id = chain(d, 0, "next");

    ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    ck_assert_uint_eq(next_of(d, id), 0);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "next")->v.count, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_closed_group_takes_what_follows_its_members)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0);

    (void)chain(d, g, "next");
    close_group(d, g);
    done(d, take(d));
    ck_assert(!group(d, g).ended_state);
    done(d, take_from(d, "next"));
    ck_assert_int_eq(group(d, g).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(a_full_queue_makes_the_result_wait)
{
    struct daemon *d = daemon_new();
    uint64_t id = delivering(d, 0);
    struct token blocker;

    ck_assert(node_is_null(result(d, 3, id, 0)));
    daemon_crash(d);
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING);
    blocker = take_from(d, "next");
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    done(d, blocker);
    done(d, take_from(d, "next"));
    ck_assert_int_eq(job(d, next_of(d, id)).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(results_go_in_order_and_before_new_producers)
{
    struct daemon *d = daemon_new();
    uint64_t first = delivering(d, 0), second = chain(d, 0, "next");
    struct core_event ev = a_job("next");

    done(d, take(d));
    ck_assert_ptr_null(ask(d, 7, &ev)); /* a producer, behind both */
    (void)take_from(d, "next");
    ck_assert_int_eq(job(d, first).outcome, VIEW_OK);
    ck_assert_int_eq(job(d, second).state, VIEW_DELIVERING);
    (void)take_from(d, "next");
    ck_assert_int_eq(job(d, second).outcome, VIEW_OK);
    ck_assert_ptr_null(got(d, 7));
    (void)take_from(d, "next");
    ck_assert_ptr_nonnull(got(d, 7));
    daemon_free(d);
}
END_TEST

START_TEST(pressure_travels_upstream)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    const struct node *n;
    char text[128];

    bound(d, "q", 1);
    (void)delivering(d, 0);
    ev.u.submit.wait_ms = 0;
    n = ask(d, 1, &ev);
    ck_assert(is_error(n, CORE_ERR_QUEUEFULL));
    node_print(n, text, sizeof(text)); /* it tells of what waits to go on */
    ck_assert_ptr_nonnull(strstr(text, "1 of 1 jobs"));
    (void)take_from(d, "next");
    (void)submit_event(d, &ev);
    daemon_free(d);
}
END_TEST

START_TEST(what_delivers_holds_no_width)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t g, other;

    open.u.group_open.width = 1;
    g = open_event(d, &open);
    (void)delivering(d, g);
    other = submit(d, "q", g);
    ck_assert_uint_eq(take(d).job.n, other);
    ck_assert_int_eq(group(d, g).running, 2);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancel_ends_a_delivery)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = delivering(d, 0);
    uint64_t member = chain(d, g, "next");

    done(d, take(d));
    cancel_job(d, id, "stop");
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    cancel_group(d, g, "stop");
    ck_assert_int_eq(job(d, member).outcome, VIEW_CANCELLED);
    ck_assert(group(d, g).ended_state);
    daemon_free(d);
}
END_TEST

/* Nobody looked at the one behind. */
START_TEST(a_result_goes_on_when_the_larger_one_before_it_gives_up)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_QUEUE_SET};
    uint64_t large, small;

    ev.u.queue.name = STR("next");
    ev.u.queue.settings = d->limits.queue_defaults;
    ev.u.queue.settings.max_bytes = 10;
    ck_assert(is_ok(ask(d, 1, &ev)));
    (void)submit(d, "next", 0);
    large = chain(d, 0, "next");
    ev = a_report(EVENT_DONE, take(d), "");
    ev.u.report.result = STR("12345");
    ck_assert(is_ok(ask(d, 9, &ev)));
    small = chain(d, 0, "next");
    ev = a_report(EVENT_DONE, take(d), "");
    ev.u.report.result = STR("1");
    ck_assert(is_ok(ask(d, 9, &ev)));
    ck_assert_int_eq(job(d, small).state, VIEW_DELIVERING);
    cancel_job(d, large, "stop");
    ck_assert_int_eq(job(d, small).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(a_cancelled_scope_takes_no_result)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = chain(d, g, "next");
    struct token t = take(d);

    cancel_group(d, g, "stop");
    done(d, t);
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert_uint_eq(next_of(d, id), 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_that_is_ok_although_cancelled_delivers_but_does_not_wait)
{
    struct daemon *d = daemon_new();
    uint64_t id = chain(d, 0, "next"), late;
    struct token t = take(d);

    cancel_job(d, id, "stop");
    done(d, t);
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    ck_assert_uint_ne(next_of(d, id), 0);
    bound(d, "next", 1);
    late = chain(d, 0, "next");
    t = take(d);
    cancel_job(d, late, "stop");
    done(d, t);
    ck_assert_int_eq(job(d, late).outcome, VIEW_CANCELLED);
    daemon_free(d);
}
END_TEST

START_TEST(a_deadline_ends_a_delivery)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    bound(d, "next", 1);
    (void)submit(d, "next", 0);
    ev.u.submit.then = STR("next");
    ev.u.submit.deadline_ms = d->now + 1000;
    ev.u.submit.timeout_ms = 100; /* of the body, which is done */
    id = submit_event(d, &ev);
    done(d, take(d));
    daemon_pass(d, 500);
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING);
    daemon_crash(d);
    daemon_pass(d, 1000);
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(the_deadline_goes_with_the_result)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    uint64_t id;

    ev.u.submit.then = STR("next");
    ev.u.submit.deadline_ms = d->now + 1000;
    id = submit_event(d, &ev);
    done(d, take(d));
    id = next_of(d, id);
    ck_assert_int_eq(job(d, id).deadline, ev.u.submit.deadline_ms);
    daemon_pass(d, 2000);
    ck_assert(str_eq(last_class(d, id), STR("deadline")));
    daemon_free(d);
}
END_TEST

START_TEST(a_closed_queue_takes_no_result)
{
    struct daemon *d = daemon_new();
    uint64_t waiting = delivering(d, 0), late = chain(d, 0, "next");
    struct token t = take(d);

    close_queue(d, "next");
    ck_assert_int_eq(job(d, waiting).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, waiting), STR("then")));
    done(d, t);
    ck_assert(str_eq(last_class(d, late), STR("then")));
    daemon_free(d);
}
END_TEST

START_TEST(a_result_may_be_too_large_for_a_payload)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    uint64_t id;

    daemon_limits(d);
    d->limits.payload_max = 7;
    daemon_start(d);
    id = chain(d, 0, "next");
    {
        struct core_event ev = a_report(EVENT_DONE, take(d), "");

        ev.u.report.result = STR("8 bytes!");
        ck_assert(is_ok(ask(d, 9, &ev)));
    }
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("then")));
    daemon_free(d);
}
END_TEST

START_TEST(a_joined_body_delivers_after_the_join)
{
    struct daemon *d = daemon_new();
    uint64_t id = chain(d, 0, "next");
    struct token t = take(d);
    uint64_t g = open_under_job(d, t);
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = g;
    (void)submit_event(d, &ev);
    bound(d, "next", 1);
    (void)submit(d, "next", 0);
    done(d, t);
    ck_assert_int_eq(job(d, id).state, VIEW_JOINING);
    done(d, take(d));
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING);
    daemon_crash(d);
    (void)take_from(d, "next");
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(a_full_disk_holds_results_back)
{
    struct daemon *d = daemon_new();
    uint64_t id = chain(d, 0, "next");
    struct token t = take(d);

    daemon_tell(d, EVENT_DISK_FULL, true);
    done(d, t);
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING);
    daemon_tell(d, EVENT_DISK_FULL, false);
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(a_queue_is_joined_with_what_it_delivers)
{
    struct daemon *d = daemon_new();
    struct core_event ev = {.kind = EVENT_QUEUE_JOIN};

    (void)delivering(d, 0);
    ev.u.queue.name = STR("q");
    ev.u.queue.wait_ms = CORE_NONE;
    ck_assert_ptr_null(ask(d, 7, &ev));
    (void)take_from(d, "next");
    ck_assert_int_eq(node_int(got(d, 7)), 1);
    daemon_free(d);
}
END_TEST

START_TEST(chains_are_checked_when_they_are_submitted)
{
    static const char *const bad[] = {",",
                                      "a,",
                                      ",a",
                                      "a,,b",
                                      "-a",
                                      "a b",
                                      "0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g"};
    struct daemon *d = daemon_new();

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct core_event ev = a_job("q");

        ev.u.submit.then = str_from(bad[i]);
        ck_assert_msg(is_error(ask(d, 1, &ev), CORE_ERR_GENERIC), "%s", bad[i]);
    }
    (void)chain(d, 0, "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16");
    daemon_free(d);
}
END_TEST

static int64_t waiting_in(struct daemon *d, const char *queue)
{
    struct core_event ev = {.kind = EVENT_QUEUE_INFO};

    ev.u.queue.name = str_from(queue);
    return node_int(node_get(ask(d, 3, &ev), "jobs"));
}

START_TEST(a_result_does_not_wait_for_its_own_place)
{
    struct daemon *d = daemon_new();
    uint64_t id, other;
    struct token t;

    bound(d, "q", 1);
    id = chain(d, 0, "q");
    t = take(d);
    other = submit(d, "q", 0);
    done(d, t);
    ck_assert_int_eq(job(d, id).state, VIEW_DELIVERING); /* it is full */
    t = take(d);
    ck_assert_uint_eq(t.job.n, other);
    ck_assert_int_eq(job(d, id).outcome, VIEW_OK);
    done(d, take(d));
    ck_assert_int_eq(job(d, next_of(d, id)).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

START_TEST(more_results_than_there_is_room_for_come_round_one_by_one)
{
    struct daemon *d = daemon_new();
    struct token t[5];
    uint64_t id[5];

    bound(d, "q", 1);
    for (int i = 0; i < 5; i++) {
        id[i] = chain(d, 0, "q,q");
        t[i] = take(d);
    }
    for (int i = 0; i < 5; i++)
        done(d, t[i]);
    for (int i = 0; i < 10; i++) { /* twice through for each */
        ck_assert_int_eq(waiting_in(d, "q"), 1);
        if (i == 3)
            daemon_crash(d);
        done(d, take(d));
    }
    ck_assert_int_eq(waiting_in(d, "q"), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(job(d, next_of(d, next_of(d, id[i]))).outcome,
                         VIEW_OK);
    daemon_free(d);
}
END_TEST

/* A running job of a queue for one, which has a job that waits, too; its result
 * goes to `then`. */
static struct token filled(struct daemon *d, const char *queue,
                           const char *then)
{
    struct core_event ev = a_job(queue);
    struct token t;

    bound(d, queue, 1);
    ev.u.submit.then = str_from(then);
    (void)submit_event(d, &ev);
    t = take_from(d, queue);
    (void)submit(d, queue, 0);
    return t;
}

static bool delivers(struct daemon *d, struct token t)
{
    return job(d, t.job.n).state == VIEW_DELIVERING;
}

START_TEST(queues_that_are_full_for_each_other_change_places)
{
    struct daemon *d = daemon_new();
    struct token a = filled(d, "a", "b"), b = filled(d, "b", "a"),
                 aside = filled(d, "c", "b");

    done(d, aside); /* before a in the line of b */
    done(d, a);
    done(d, b);
    daemon_crash(d);
    done(d, take_from(d, "a"));
    ck_assert(delivers(d, a) && delivers(d, b));
    done(d, take_from(d, "b")); /* now there is nothing left that could go */
    ck_assert(!delivers(d, a) && !delivers(d, b) && delivers(d, aside));
    ck_assert_int_eq(waiting_in(d, "a"), 1);
    ck_assert_int_eq(waiting_in(d, "b"), 1);
    ck_assert_uint_eq(take_from(d, "b").job.n, next_of(d, a.job.n));
    ck_assert(!delivers(d, aside)); /* it had its place all the time */
    ck_assert_uint_eq(take_from(d, "b").job.n, next_of(d, aside.job.n));
    ck_assert_uint_eq(take_from(d, "a").job.n, next_of(d, b.job.n));
    daemon_free(d);
}
END_TEST

START_TEST(a_circle_of_three_turns_and_a_chain_does_not)
{
    struct daemon *d = daemon_new();
    struct token a = filled(d, "a", "b"), b = filled(d, "b", "c"),
                 c = filled(d, "c", "a");

    done(d, a);
    done(d, b);
    (void)take_from(d, "a");
    (void)take_from(d, "b");
    ck_assert(delivers(d, a) && delivers(d, b)); /* c could make room */
    done(d, c);
    ck_assert(delivers(d, a) && delivers(d, b) && delivers(d, c));
    (void)take_from(d, "c");
    ck_assert(!delivers(d, a) && !delivers(d, b) && !delivers(d, c));
    ck_assert_uint_eq(take_from(d, "a").job.n, next_of(d, c.job.n));
    ck_assert_uint_eq(take_from(d, "b").job.n, next_of(d, a.job.n));
    ck_assert_uint_eq(take_from(d, "c").job.n, next_of(d, b.job.n));
    daemon_free(d);
}
END_TEST

START_TEST(a_cancel_opens_a_circle)
{
    struct daemon *d = daemon_new();
    struct token a = filled(d, "a", "b"), b = filled(d, "b", "a");

    done(d, a);
    done(d, b);
    cancel_job(d, a.job.n, "no need");
    (void)take_from(d, "a");
    (void)take_from(d, "b");
    ck_assert(!delivers(d, b));
    ck_assert_int_eq(waiting_in(d, "a"), 1);
    ck_assert_int_eq(waiting_in(d, "b"), 0);
    daemon_free(d);
}
END_TEST

static const struct node *done_with(struct daemon *d, struct token t,
                                    struct str value)
{
    struct core_event ev = a_report(EVENT_DONE, t, "");

    ev.u.report.result = value;
    return ask(d, 9, &ev);
}

static int64_t bytes_in(struct daemon *d, const char *queue)
{
    struct core_event ev = {.kind = EVENT_QUEUE_INFO};

    ev.u.queue.name = str_from(queue);
    return node_int(node_get(ask(d, 3, &ev), "bytes"));
}

static void bound_bytes(struct daemon *d, const char *queue, int64_t max_bytes)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET};

    ev.u.queue.name = str_from(queue);
    ev.u.queue.settings = d->limits.queue_defaults;
    ev.u.queue.settings.max_bytes = max_bytes;
    ck_assert(is_ok(ask(d, 1, &ev)));
}

START_TEST(a_circle_keeps_to_max_bytes)
{
    struct daemon *d = daemon_new();
    struct token t[4];
    int failed = 0;

    bound_bytes(d, "q", 20);
    for (int i = 0; i < 4; i++) {
        struct core_event ev = a_job("q");

        ev.u.submit.payload = STR("12345");
        ev.u.submit.then = STR("q,q,q,q");
        (void)submit_event(d, &ev);
        t[i] = take(d);
    }
    for (int i = 0; i < 4; i++)
        ck_assert(is_ok(done_with(d, t[i], STR("12345678901234567890"))));
    for (int round = 0; round < 8; round++) {
        const struct node *page = fetch_from(d, 9, 1, 0, "q");

        ck_assert_int_le(bytes_in(d, "q"), 20);
        if (page->v.count == 0)
            break;
        ck_assert(is_ok(
            done_with(d, token_of(page, 0), STR("12345678901234567890"))));
    }
    ck_assert_int_eq(waiting_in(d, "q"), 0);
    for (int i = 0; i < 4; i++) {
        struct job_view v = job(d, t[i].job.n);

        if (v.outcome == VIEW_FAILED)
            ck_assert(str_eq(last_class(d, t[i].job.n), STR("then")));
        failed += v.outcome == VIEW_FAILED;
    }
    ck_assert_int_gt(failed, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_circle_goes_on_in_a_queue_that_is_too_full_already)
{
    struct daemon *d = daemon_new();
    struct token t[3];

    bound_bytes(d, "q", 10);
    for (int i = 0; i < 3; i++) {
        struct core_event ev = a_job("q");

        ev.u.submit.payload = STR("0123456789");
        ev.u.submit.then = STR("q");
        (void)submit_event(d, &ev);
        t[i] = take(d);
    }
    for (int i = 0; i < 3; i++)
        ck_assert(is_ok(done_with(d, t[i], STR("9876543210"))));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(bytes_in(d, "q"), 10);
        done(d, take(d));
        ck_assert_int_eq(job(d, t[i].job.n).outcome, VIEW_OK);
    }
    daemon_free(d);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_result_becomes_a_job_of_the_next_queue,
        only_an_ok_result_goes_on,
        a_closed_group_takes_what_follows_its_members,
        a_full_queue_makes_the_result_wait,
        results_go_in_order_and_before_new_producers,
        pressure_travels_upstream,
        what_delivers_holds_no_width,
        a_cancel_ends_a_delivery,
        a_result_goes_on_when_the_larger_one_before_it_gives_up,
        a_cancelled_scope_takes_no_result,
        a_job_that_is_ok_although_cancelled_delivers_but_does_not_wait,
        a_deadline_ends_a_delivery,
        the_deadline_goes_with_the_result,
        a_closed_queue_takes_no_result,
        a_result_may_be_too_large_for_a_payload,
        a_joined_body_delivers_after_the_join,
        a_full_disk_holds_results_back,
        a_queue_is_joined_with_what_it_delivers,
        chains_are_checked_when_they_are_submitted,
        a_result_does_not_wait_for_its_own_place,
        more_results_than_there_is_room_for_come_round_one_by_one,
        queues_that_are_full_for_each_other_change_places,
        a_circle_of_three_turns_and_a_chain_does_not,
        a_cancel_opens_a_circle,
        a_circle_keeps_to_max_bytes,
        a_circle_goes_on_in_a_queue_that_is_too_full_already,
    };
    Suite *suite = suite_create("core_then");
    TCase *then = tcase_create("then");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(then, tests[i]);
    suite_add_tcase(suite, then);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
