/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of who waits for permits: all or nothing, in order, nothing held
 * back without need, nothing lost.
 */
#include "limiters.h"

START_TEST(a_job_starts_when_it_can_take_its_permit)
{
    struct daemon *d = daemon_new();
    uint64_t second;
    struct token t;

    set_permits(d, "gpu", 1);
    (void)limited(d, "q", "gpu");
    second = limited(d, "q", "gpu");
    t = take(d);
    ck_assert_int_eq(figure(d, "gpu", "held"), 1);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert_int_eq(job(d, second).state, VIEW_PARKED);
    ck_assert(str_eq(waits_for(d, second), STR("gpu")));
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 1);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), second);
    ck_assert_int_eq(figure(d, "gpu", "waiting"), 0);
    ck_assert_int_eq(figure(d, "gpu", "held"), 1);
    daemon_free(d);
}
END_TEST

START_TEST(all_or_nothing_is_taken)
{
    struct daemon *d = daemon_new();
    struct token t;
    uint64_t both;

    set_permits(d, "a", 1);
    set_permits(d, "b", 3);
    (void)limited(d, "q", "a");
    t = take(d);
    both = limited(d, "q", "b:2,a");
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert_int_eq(figure(d, "b", "held"), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(take(d).job.n, both);
    ck_assert_int_eq(figure(d, "a", "held"), 1);
    ck_assert_int_eq(figure(d, "b", "held"), 2);
    daemon_free(d);
}
END_TEST

/* Hundreds of jobs that need two limiters, named in both orders. */
START_TEST(two_limiters_in_both_orders_do_not_deadlock)
{
    struct daemon *d = roomy();
    struct token running[8];
    int nrunning = 0, done = 0;

    set_permits(d, "a", 3);
    set_permits(d, "b", 3);
    for (int i = 0; i < 300; i++)
        (void)limited(d, i % 3 ? "q" : "r",
                      i % 4 == 0   ? "a,b"
                      : i % 4 == 1 ? "b,a"
                      : i % 4 == 2 ? "a:2,b"
                                   : "b:2");
    while (done < 300) {
        const struct node *n = fetch_from(d, 9, 8 - nrunning, 0, "q");

        for (uint32_t i = 0; i < n->v.count; i++)
            running[nrunning++] = token_of(n, i);
        n = fetch_from(d, 9, 8 - nrunning, 0, "r");
        for (uint32_t i = 0; i < count_of(n); i++)
            running[nrunning++] = token_of(n, i);
        ck_assert_int_gt(nrunning, 0);
        ck_assert(is_ok(report(d, EVENT_DONE, running[done % nrunning], "")));
        running[done % nrunning] = running[nrunning - 1];
        nrunning--;
        done++;
    }
    ck_assert_int_eq(figure(d, "a", "held"), 0);
    ck_assert_int_eq(figure(d, "b", "held"), 0);
    daemon_free(d);
}
END_TEST

START_TEST(jobs_wait_in_the_order_of_submission)
{
    struct daemon *d = daemon_new();
    uint64_t ids[6];
    struct token t;

    set_permits(d, "gpu", 1);
    (void)limited(d, "q", "gpu");
    t = take(d);
    /* In two queues in turn; both have workers, the younger one first. */
    for (int i = 0; i < 6; i++)
        ids[i] = limited(d, i % 2 ? "r" : "q", "gpu");
    for (uint64_t i = 0; i < 3; i++) {
        wait_for(d, 30 + i, "r");
        wait_for(d, 20 + i, "q");
    }
    for (uint64_t i = 0; i < 6; i++) {
        const struct node *n;

        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        n = got(d, (i % 2 ? 30 : 20) + i / 2);
        ck_assert_uint_eq(id_of(n), ids[i]);
        t = token_of(n, 0);
    }
    daemon_free(d);
}
END_TEST

START_TEST(who_needs_two_is_not_overtaken_when_one_is_free)
{
    struct daemon *d = daemon_new();
    struct token a, b;
    uint64_t big, small;

    set_permits(d, "gpu", 2);
    (void)limited(d, "q", "gpu");
    (void)limited(d, "q", "gpu");
    a = take(d);
    b = take(d);
    big = limited(d, "q", "gpu:2");
    wait_for(d, 8, "q");
    small = limited(d, "r", "gpu");
    wait_for(d, 7, "r");
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    ck_assert_ptr_null(got(d, 7));
    ck_assert_int_eq(job(d, small).state, VIEW_PARKED);
    ck_assert(is_ok(report(d, EVENT_DONE, b, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), big);
    ck_assert_ptr_null(got(d, 7));
    daemon_free(d);
}
END_TEST

START_TEST(many_permits_at_once_go_to_the_oldest)
{
    struct daemon *d = roomy();
    uint64_t old[3], young;

    set_permits(d, "gpu", 0);
    for (int i = 0; i < 3; i++)
        old[i] = limited(d, "q", "gpu");
    young = limited(d, "r", "gpu");
    wait_for(d, 30, "r");
    for (uint64_t i = 0; i < 3; i++)
        wait_for(d, 20 + i, "q");
    set_permits(d, "gpu", 3);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_uint_eq(id_of(got(d, 20 + i)), old[i]);
    ck_assert_ptr_null(got(d, 30));
    ck_assert_int_eq(job(d, young).state, VIEW_PARKED);
    daemon_free(d);
}
END_TEST

/* A worker that takes many at once takes none that others should have. */
START_TEST(a_worker_that_takes_many_does_not_overtake)
{
    struct daemon *d = roomy();
    uint64_t first, second, third;
    const struct node *n;

    set_permits(d, "gpu", 0);
    first = limited(d, "q", "gpu");
    second = limited(d, "r", "gpu");
    third = limited(d, "q", "gpu");
    ck_assert_ptr_null(fetch_from(d, 20, 10, CORE_NONE, "q"));
    wait_for(d, 30, "r");
    set_permits(d, "gpu", 2);
    n = got(d, 20);
    ck_assert_uint_eq(count_of(n), 1);
    ck_assert_uint_eq(token_of(n, 0).job.n, first);
    ck_assert_uint_eq(id_of(got(d, 30)), second);
    ck_assert_int_ne(job(d, third).state, VIEW_RUNNING);
    daemon_free(d);
}
END_TEST

START_TEST(jobs_that_need_no_permit_pass)
{
    struct daemon *d = daemon_new();
    struct token t;
    uint64_t free, other;

    set_permits(d, "gpu", 1);
    set_permits(d, "net", 1);
    (void)limited(d, "q", "gpu");
    t = take(d);
    (void)limited(d, "q", "gpu");
    free = submit(d, "q", 0);
    other = limited(d, "q", "net");
    ck_assert_uint_eq(take(d).job.n, free);
    ck_assert_uint_eq(take(d).job.n, other);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    daemon_free(d);
}
END_TEST

/* One that waits for something else leaves the rest of a line alone, but what
 * it will need stays there. */
START_TEST(who_waits_for_another_limiter_does_not_close_the_line)
{
    struct daemon *d = daemon_new();
    struct token t, u;
    uint64_t both, last;

    set_permits(d, "tenant", 1);
    set_permits(d, "api", 3);
    (void)limited(d, "q", "tenant");
    t = take(d);
    both = limited(d, "q", "tenant,api");
    wait_for(d, 8, "q");
    (void)limited(d, "r", "api");
    (void)limited(d, "r", "api");
    last = limited(d, "r", "api");
    u = token_of(fetch_from(d, 9, 1, 0, "r"), 0);
    (void)token_of(fetch_from(d, 9, 1, 0, "r"), 0);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "r")), 0);
    ck_assert_int_eq(job(d, last).state, VIEW_PARKED);
    wait_for(d, 7, "r");
    /* One more would do for `last`, as one is put aside. */
    ck_assert(is_ok(report(d, EVENT_DONE, u, "")));
    ck_assert_uint_eq(id_of(got(d, 7)), last);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), both);
    daemon_free(d);
}
END_TEST

START_TEST(a_waiter_without_a_worker_holds_nobody_up)
{
    struct daemon *d = daemon_new();
    uint64_t old, young;
    struct token t;

    set_permits(d, "gpu", 2);
    (void)limited(d, "q", "gpu");
    t = take(d);
    old = limited(d, "nobody", "gpu:2");
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "nobody")), 0);
    ck_assert_int_eq(job(d, old).state, VIEW_PARKED);
    young = limited(d, "q", "gpu");
    ck_assert_uint_eq(take(d).job.n, young);
    (void)t;
    daemon_free(d);
}
END_TEST

/* The worker of the older one goes away, its queue is paused, or it is
 * cancelled: those behind it start at once. */
START_TEST(who_was_held_back_starts_when_the_one_before_is_gone)
{
    for (int how = 0; how < 4; how++) {
        struct daemon *d = daemon_new();
        uint64_t old, young;

        set_permits(d, "gpu", 2);
        (void)limited(d, "q", "gpu");
        (void)take(d);
        old = limited(d, "q", "gpu:2");
        if (how == 3)
            ck_assert_ptr_null(fetch_from(d, 8, 1, 500, "q"));
        else
            wait_for(d, 8, "q");
        young = limited(d, "r", "gpu");
        wait_for(d, 7, "r");
        ck_assert_ptr_null(got(d, 7));
        if (how == 0)
            leave(d, 8, DISCONNECT_CLEAN);
        else if (how == 1)
            pause_queue(d, "q", true);
        else if (how == 2)
            cancel_job(d, old, "enough");
        else
            daemon_pass(d, 500);
        ck_assert_uint_eq(id_of(got(d, 7)), young);
        daemon_free(d);
    }
}
END_TEST

/* Permits came back meanwhile, too few for the first, and nobody asked those
 * behind it in its queue. */
START_TEST(who_was_not_asked_starts_when_the_one_before_is_gone)
{
    struct daemon *d = daemon_new();
    uint64_t old, young;
    struct token t;

    set_permits(d, "gpu", 3);
    (void)limited(d, "q", "gpu");
    (void)limited(d, "q", "gpu");
    t = take(d);
    (void)take(d);
    old = limited(d, "q", "gpu:3");
    young = limited(d, "q", "gpu");
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_ptr_null(got(d, 8));
    cancel_job(d, old, "enough");
    ck_assert_uint_eq(id_of(got(d, 8)), young);
    daemon_free(d);
}
END_TEST

/* What is offered from one queue may, before it is taken, be put aside for a
 * job of another queue that the worker asked for first. */
START_TEST(a_fetch_that_finds_nothing_after_all_waits_on)
{
    struct str queues[] = {STR("q"), STR("r")};
    struct core_event fetch = {
        .kind = EVENT_FETCH,
        .u.fetch = {
            .count = 1, .wait_ms = CORE_NONE, .queues = queues, .nqueues = 2}};
    struct daemon *d = daemon_new();
    struct token holder, released;

    set_permits(d, "gpu", 3);
    set_permits(d, "net", 3);
    (void)limited(d, "q", "gpu");
    holder = take(d);
    (void)limited(d, "q", "gpu:2,net:2");
    released = take(d);
    (void)limited(d, "r", "net:3");
    ck_assert_ptr_null(ask(d, 8, &fetch));
    set_permits(d, "gpu", 2);
    ck_assert(is_ok(report(d, EVENT_RELEASE, released, "")));
    ck_assert_ptr_null(got(d, 8));
    ck_assert(is_ok(report(d, EVENT_DONE, holder, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), released.job.n);
    daemon_free(d);
}
END_TEST

START_TEST(a_higher_priority_of_the_queue_goes_first)
{
    struct daemon *d = daemon_new();
    uint64_t low, high;
    struct token t;

    set_permits(d, "gpu", 1);
    (void)limited(d, "q", "gpu");
    t = take(d);
    low = urgent(d, "q", "gpu", 1);
    wait_for(d, 8, "q");
    high = urgent(d, "q", "gpu", 9);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    t = token_of(got(d, 8), 0);
    ck_assert_uint_eq(t.job.n, high);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), low);
    daemon_free(d);
}
END_TEST

/* Also when it needs two, and older ones of lower priority would do with the
 * one that is free. */
START_TEST(a_higher_priority_that_needs_two_is_not_overtaken)
{
    struct daemon *d = daemon_new();
    uint64_t high;
    struct token t, u;

    set_permits(d, "gpu", 2);
    (void)limited(d, "q", "gpu");
    (void)limited(d, "q", "gpu");
    t = take(d);
    u = take(d);
    for (int i = 0; i < 3; i++)
        (void)urgent(d, "q", "gpu", 1);
    high = urgent(d, "q", "gpu:2", 9);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_ptr_null(got(d, 8));
    ck_assert(is_ok(report(d, EVENT_DONE, u, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), high);
    daemon_free(d);
}
END_TEST

/* Two queues, each with one that the other one has to let go first: the higher
 * priority of q is younger than the job of r, and that than the lower one. */
START_TEST(queues_with_priorities_do_not_wait_for_each_other)
{
    struct daemon *d = daemon_new();
    uint64_t low, other, high;
    struct token t;

    set_permits(d, "gpu", 0);
    low = urgent(d, "q", "gpu", 1);
    other = limited(d, "r", "gpu");
    high = urgent(d, "q", "gpu", 9);
    wait_for(d, 8, "q");
    wait_for(d, 7, "r");
    set_permits(d, "gpu", 1);
    t = token_of(got(d, 8), 0);
    ck_assert_uint_eq(t.job.n, low);
    wait_for(d, 8, "q");
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    t = token_of(got(d, 7), 0);
    ck_assert_uint_eq(t.job.n, other);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), high);
    daemon_free(d);
}
END_TEST

START_TEST(raising_wakes_at_once)
{
    struct daemon *d = daemon_new();

    set_permits(d, "gpu", 1);
    for (int i = 0; i < 4; i++)
        (void)limited(d, "q", "gpu");
    (void)take(d);
    for (uint64_t i = 20; i < 23; i++)
        wait_for(d, i, "q");
    set_permits(d, "gpu", 3);
    ck_assert_uint_eq(count_of(got(d, 20)), 1);
    ck_assert_uint_eq(count_of(got(d, 21)), 1);
    ck_assert_ptr_null(got(d, 22));
    set_permits(d, "gpu", CORE_NONE);
    ck_assert_uint_eq(count_of(got(d, 22)), 1);
    daemon_free(d);
}
END_TEST

START_TEST(lowering_lets_holders_finish)
{
    struct daemon *d = daemon_new();
    struct token t[3];
    uint64_t next;

    set_permits(d, "gpu", 3);
    for (int i = 0; i < 3; i++)
        (void)limited(d, "q", "gpu");
    for (int i = 0; i < 3; i++)
        t[i] = take(d);
    next = limited(d, "q", "gpu");
    wait_for(d, 8, "q");
    set_permits(d, "gpu", 1);
    ck_assert_int_eq(figure(d, "gpu", "held"), 3);
    ck_assert(is_ok(report(d, EVENT_DONE, t[0], "")));
    ck_assert(is_ok(report(d, EVENT_DONE, t[1], "")));
    ck_assert_ptr_null(got(d, 8));
    ck_assert(is_ok(report(d, EVENT_DONE, t[2], "")));
    ck_assert_uint_eq(id_of(got(d, 8)), next);
    daemon_free(d);
}
END_TEST

/* Who needs more than there are now takes all of them. */
START_TEST(lowering_below_a_need_does_not_strand_it)
{
    struct daemon *d = daemon_new();
    struct token t;
    uint64_t big;

    set_permits(d, "gpu", 4);
    big = limited(d, "q", "gpu:4");
    (void)limited(d, "q", "gpu");
    set_permits(d, "gpu", 2);
    t = take(d);
    ck_assert_uint_eq(t.job.n, big);
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    (void)take(d);
    daemon_free(d);
}
END_TEST

/* Each step began with the first of those that wait, and never came to the
 * last: there was always work left. */
START_TEST(short_steps_get_to_the_end_of_a_line)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct token one, two;
    uint64_t first;

    core_limits_init(&d->limits);
    d->limits.step_work = 2;
    daemon_start(d);
    set_permits(d, "gpu", 2);
    (void)limited(d, "q", "gpu");
    (void)limited(d, "q", "gpu");
    one = take(d);
    two = take(d);
    first = limited(d, "a", "gpu:2");
    (void)limited(d, "b", "gpu:2");
    (void)limited(d, "c", "gpu:2");
    wait_for(d, 11, "a");
    wait_for(d, 12, "b");
    wait_for(d, 13, "c");
    ck_assert(is_ok(report(d, EVENT_DONE, one, "")));
    ck_assert_int_gt(core_next_ms(d->core), d->now);
    ck_assert(is_ok(report(d, EVENT_DONE, two, "")));
    ck_assert_uint_eq(id_of(got(d, 11)), first);
    daemon_free(d);
}
END_TEST

/* Each time the limiter came by, a job that only had to step aside took all
 * that there was to spend, and stayed where it was. */
START_TEST(short_steps_get_past_those_that_step_aside)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event width = a_group(), late, tick = {.kind = EVENT_TICK};
    struct core_event resume_queue = {.kind = EVENT_QUEUE_PAUSE,
                                      .client = {2},
                                      .u.queue = {.name = STR("a")}};
    struct token holder, busy;
    uint64_t g, waits;

    core_limits_init(&d->limits);
    d->limits.step_work = 2;
    daemon_start(d);
    set_permits(d, "gpu", 1);
    set_permits(d, "disk", 1);
    width.u.group_open.width = 1;
    g = open_event(d, &width);
    (void)in_group(d, "", g);
    busy = take(d);
    (void)limited(d, "q", "gpu");
    holder = take(d);
    waits = limited(d, "a", "gpu");
    (void)limited(d, "a", "gpu,disk");
    wait_for(d, 11, "a");
    pause_queue(d, "a", true);
    for (int i = 0; i < 6; i++) {
        struct core_event ev = a_job("a");

        ev.u.submit.group.n = g;
        ev.u.submit.priority = 9;
        (void)submit_event(d, &ev);
    }
    daemon_one(d, &resume_queue);
    late = a_report(EVENT_DONE, holder, "");
    late.client.n = 9;
    daemon_one(d, &late);
    for (int i = 0; i < 100 && core_next_ms(d->core) <= d->now; i++)
        daemon_one(d, &tick);
    ck_assert_int_gt(core_next_ms(d->core), d->now);
    ck_assert_uint_eq(id_of(got(d, 11)), waits);
    ck_assert(is_ok(report(d, EVENT_DONE, busy, "")));
    daemon_free(d);
}
END_TEST

/* Each was served a little in turn, and left the job to the other. */
START_TEST(short_steps_get_to_the_end_of_two_lines)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event done, tick = {.kind = EVENT_TICK};
    uint64_t waits;

    core_limits_init(&d->limits);
    d->limits.step_work = 2;
    daemon_start(d);
    set_permits(d, "gpu", 1);
    set_permits(d, "net", 1);
    (void)limited(d, "q", "gpu,net");
    done = a_report(EVENT_DONE, take(d), "");
    waits = limited(d, "a", "gpu,net");
    (void)limited(d, "a", "gpu");
    (void)limited(d, "a", "net");
    wait_for(d, 11, "a");
    done.client.n = 9;
    daemon_one(d, &done);
    for (int i = 0; i < 100 && core_next_ms(d->core) <= d->now; i++)
        daemon_one(d, &tick);
    ck_assert_int_gt(core_next_ms(d->core), d->now);
    ck_assert_uint_eq(id_of(got(d, 11)), waits);
    daemon_free(d);
}
END_TEST

/* A cancelled member had left its group's place in the queue open, and whoever
 * waited for a permit was behind that. */
START_TEST(nobody_is_behind_a_place_that_is_empty)
{
    struct daemon *d = daemon_new();
    struct core_event width = a_group(), member = a_job("a");
    struct token busy, holder;
    uint64_t gone, waits;

    set_permits(d, "gpu", 1);
    width.u.group_open.width = 1;
    member.u.submit.group.n = open_event(d, &width);
    (void)in_group(d, "", member.u.submit.group.n);
    busy = take(d);
    (void)limited(d, "q", "gpu");
    holder = take(d);
    gone = submit_event(d, &member);
    waits = limited(d, "a", "gpu");
    ck_assert_uint_eq(count_of(fetch_from(d, 11, 1, 0, "a")), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, busy, "")));
    cancel_job(d, gone, "");
    ck_assert(is_ok(report(d, EVENT_DONE, holder, "")));
    ck_assert_uint_eq(id_of(fetch_from(d, 11, 1, 0, "a")), waits);
    daemon_free(d);
}
END_TEST

/* It has no payload in memory, and ends before that is read. */
START_TEST(who_is_passed_by_for_one_that_is_read_goes_on_without_it)
{
    struct daemon *d = roomy();
    struct core_event small = a_limited("q", "net");
    struct token holder;
    uint64_t read, second;

    d->places = true;
    d->limits.payload_memory = 1; /* all go as soon as they are placed */
    core_configure(d->core, &d->limits);
    set_permits(d, "net", 2);
    small.u.submit.payload = STR(""); /* is always there */
    small.u.submit.limits = STR("net:2");
    (void)submit_event(d, &small);
    holder = token_of(fetch_from(d, 7, 1, 0, "q"), 0);
    small.u.submit.limits = STR("net");
    wait_for(d, 8, "q");
    wait_for(d, 9, "q");
    small.u.submit.priority = 1;
    (void)submit_event(d, &small);
    small.u.submit.priority = 0;
    second = submit_event(d, &small);
    pause_queue(d, "q", true);
    read = urgent(d, "q", "", 2);
    pause_queue(d, "q", false);
    ck_assert_uint_eq(d->nloads, 1);
    ck_assert(is_ok(report(d, EVENT_DONE, holder, "")));
    ck_assert_ptr_null(got(d, 8)); /* nobody goes before it */
    cancel_job(d, read, "no");
    ck_assert_uint_eq(count_of(got(d, 8)), 1);
    ck_assert_uint_eq(id_of(got(d, 9)), second);
    daemon_free(d);
}
END_TEST

/* The first job needs both limiters, the next one has no payload in memory, and
 * behind that one somebody waits for either. Each limiter that came by once
 * woke the other one, which then came first, and so on. */
START_TEST(two_limiters_do_not_come_by_in_turns_for_one_that_is_read)
{
    struct daemon *d = roomy();
    struct core_event small = a_limited("q", "net");
    struct str names[] = {STR("r"), STR("q")};
    struct core_event fetch = {
        .kind = EVENT_FETCH,
        .u.fetch = {
            .count = 1, .wait_ms = CORE_NONE, .queues = names, .nqueues = 2}};
    struct token net, cpu;
    uint64_t both;

    d->places = true;
    d->limits.payload_memory = 1; /* all go as soon as they are placed */
    core_configure(d->core, &d->limits);
    set_permits(d, "net", 1);
    set_permits(d, "cpu", 1);
    small.u.submit.payload = STR(""); /* is always there */
    (void)submit_event(d, &small);
    net = token_of(fetch_from(d, 5, 1, 0, "q"), 0);
    small.u.submit.limits = STR("cpu");
    (void)submit_event(d, &small);
    cpu = token_of(fetch_from(d, 6, 1, 0, "q"), 0);
    ck_assert_ptr_null(ask(d, 8, &fetch));
    for (int priority = 0; priority < 2; priority++) {
        small.u.submit.priority = priority;
        small.u.submit.limits = STR("cpu");
        (void)submit_event(d, &small);
        small.u.submit.limits = STR("net");
        (void)submit_event(d, &small);
    }
    small.u.submit.limits = STR("net,cpu");
    small.u.submit.priority = 3;
    both = submit_event(d, &small);
    pause_queue(d, "q", true);
    (void)urgent(d, "q", "", 2);
    pause_queue(d, "q", false);
    ck_assert_uint_eq(d->nloads, 1);
    ck_assert(is_ok(report(d, EVENT_DONE, cpu, "")));
    ck_assert_ptr_null(got(d, 8));
    ck_assert(is_ok(report(d, EVENT_DONE, net, "")));
    ck_assert_uint_eq(id_of(got(d, 8)), both);
    daemon_free(d);
}
END_TEST

/* That somebody fetches again woke a limiter, which had to come by before what
 * had just been found could start; and so it was each time. */
START_TEST(a_worker_that_does_not_wait_gets_what_may_start)
{
    struct daemon *d = daemon_new();
    struct token t;
    uint64_t both;

    set_permits(d, "net", 2);
    set_permits(d, "gpu", 1);
    (void)limited(d, "q", "net");
    t = take(d);
    (void)limited(d, "q", "net");
    (void)limited(d, "q", "gpu");
    both = urgent(d, "q", "net:2,gpu", 7);
    ck_assert_uint_eq(count_of(fetch_from(d, 8, 1, 0, "q")), 0);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_uint_eq(id_of(fetch_from(d, 8, 1, 0, "q")), both);
    daemon_free(d);
}
END_TEST

/* core_check() took it for a permit too many. */
START_TEST(a_need_accepted_without_permits_takes_all_there_are)
{
    struct daemon *d = daemon_new();
    struct token t;

    set_permits(d, "gpu", 0);
    (void)limited(d, "q", "gpu:2");
    ck_assert_uint_eq(count_of(fetch_from(d, 9, 1, 0, "q")), 0);
    set_permits(d, "gpu", 1);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
    ck_assert_int_eq(figure(d, "gpu", "held"), 0);
    daemon_free(d);
}
END_TEST

/* --------------------------------------------------------------- everything */

/* Whatever happens: core_check sees to it that nothing is lost, held twice or
 * asleep, and in the end everything has run. */
struct world {
    struct daemon *d;
    uint64_t seed;
    struct token running[64];
    int nrunning;
    uint64_t groups[3];
};

static uint32_t below(struct world *w, uint32_t n)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(w->seed >> 33) % n;
}

static void drop_running(struct world *w, int i)
{
    w->running[i] = w->running[--w->nrunning];
}

/* What a worker got is running now. */
static void note(struct world *w, const struct node *page)
{
    for (uint32_t i = 0; page && i < page->v.count; i++)
        if (str_eq(node_str(node_item(node_item(page, i), 0)), STR("job")))
            w->running[w->nrunning++] = token_of(page, i);
}

/* Answers that have come in the meantime. */
static void collect(struct world *w)
{
    for (uint64_t client = 40; client < 46; client++)
        note(w, got(w->d, client));
}

static void finish_one(struct world *w)
{
    static const enum core_event_kind kinds[] = {EVENT_DONE, EVENT_DONE,
                                                 EVENT_FAIL, EVENT_RELEASE};
    int i = (int)below(w, (uint32_t)w->nrunning);

    (void)report(w->d, kinds[below(w, 4)], w->running[i], "broken");
    drop_running(w, i);
}

static void submit_one(struct world *w)
{
    static const char *const limits[] = {"",    "a",   "a:2", "b",     "a,b",
                                         "b,a", "b:2", "c",   "a:2,c", "c,b:3"};
    struct core_event ev =
        a_limited(below(w, 3) ? "q" : "r", limits[below(w, 10)]);

    ev.u.submit.group.n = below(w, 2) ? w->groups[below(w, 3)] : 0;
    ev.u.submit.priority = below(w, 3) ? CORE_UNSET : below(w, 10);
    ev.u.submit.wait_ms = 0;
    if (below(w, 8) == 0)
        ev.u.submit.deadline_ms = w->d->now + 200;
    if (below(w, 6) == 0)
        ev.u.submit.delay_ms = below(w, 300);
    ev.u.submit.retry = 1 + below(w, 3);
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 20;
    (void)ask(w->d, 1, &ev);
}

static void disturb(struct world *w)
{
    struct daemon *d = w->d;

    switch (below(w, 7)) {
    case 0:
        set_permits(d, "a", below(w, 4));
        return;
    case 1:
        set_permits(d, "b", 1 + below(w, 4));
        return;
    case 2:
        set_rate(d, "c", 1 + below(w, 4), 50);
        return;
    case 3:
        pause_queue(d, "q", below(w, 2));
        return;
    case 4:
        set_fair(d, below(w, 2) ? "q" : "r", below(w, 2));
        return;
    case 5:
        leave(d, 40 + below(w, 6), DISCONNECT_CLEAN);
        return;
    case 6:
        if (w->nrunning)
            (void)cancel_event(d, true, w->running[0].job.n, "enough");
        return;
    default:
        return;
    }
}

static void one_thing(struct world *w)
{
    struct daemon *d = w->d;
    uint64_t client = 40 + below(w, 6);

    collect(w);
    switch (below(w, 5)) {
    case 0:
        submit_one(w);
        return;
    case 1:
        if (w->nrunning < 40 &&
            !core_blocked(d->core, (struct client_id){client}))
            note(w, fetch_from(d, client, 1 + below(w, 3),
                               below(w, 2) ? CORE_NONE : below(w, 100),
                               below(w, 2) ? "q" : "r"));
        return;
    case 2:
        if (w->nrunning)
            finish_one(w);
        return;
    case 3:
        daemon_pass(d, below(w, 30));
        return;
    default:
        disturb(w);
        return;
    }
}

/* No more trouble: one worker runs all there is. */
static void run_all(struct world *w)
{
    struct daemon *d = w->d;
    struct core_stats s;

    set_permits(d, "a", 3);
    set_permits(d, "b", 3);
    pause_queue(d, "q", false);
    for (int i = 0; i < 2000; i++) {
        static const char *const queues[] = {"q", "r"};
        const struct node *n = fetch_from(d, 50, 5, 0, queues[i % 2]);

        note(w, n);
        collect(w);
        while (w->nrunning) {
            (void)report(d, EVENT_DONE, w->running[0], "");
            drop_running(w, 0);
        }
        core_stats(d->core, &s);
        if (s.jobs == s.finished)
            return;
        daemon_pass(d, 30);
    }
    ck_abort_msg("%lld jobs have not ended", (long long)(s.jobs - s.finished));
}

START_TEST(nothing_is_lost_whatever_happens)
{
    struct world w = {.d = roomy(), .seed = (uint64_t)_i};

    set_permits(w.d, "a", 2);
    set_permits(w.d, "b", 3);
    set_rate(w.d, "c", 3, 50);
    for (int i = 0; i < 3; i++)
        w.groups[i] = open_policy(w.d, 0, 0);
    set_fair(w.d, "r", 1);
    (void)submit(w.d, "q", 0);
    for (int i = 0; i < 300; i++)
        one_thing(&w);
    run_all(&w);
    daemon_free(w.d);
}
END_TEST

#define TEST(name) tcase_add_test(t, name)

int main(void)
{
    Suite *s = suite_create("line");
    TCase *t = tcase_create("laws");
    SRunner *runner;
    int failed;

    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    TEST(a_job_starts_when_it_can_take_its_permit);
    TEST(all_or_nothing_is_taken);
    TEST(two_limiters_in_both_orders_do_not_deadlock);
    TEST(jobs_wait_in_the_order_of_submission);
    TEST(who_needs_two_is_not_overtaken_when_one_is_free);
    TEST(many_permits_at_once_go_to_the_oldest);
    TEST(a_worker_that_takes_many_does_not_overtake);
    TEST(jobs_that_need_no_permit_pass);
    TEST(who_waits_for_another_limiter_does_not_close_the_line);
    TEST(a_waiter_without_a_worker_holds_nobody_up);
    TEST(who_was_held_back_starts_when_the_one_before_is_gone);
    TEST(who_was_not_asked_starts_when_the_one_before_is_gone);
    TEST(a_fetch_that_finds_nothing_after_all_waits_on);
    TEST(a_higher_priority_of_the_queue_goes_first);
    TEST(a_higher_priority_that_needs_two_is_not_overtaken);
    TEST(queues_with_priorities_do_not_wait_for_each_other);
    TEST(raising_wakes_at_once);
    TEST(lowering_lets_holders_finish);
    TEST(lowering_below_a_need_does_not_strand_it);
    TEST(short_steps_get_to_the_end_of_a_line);
    TEST(short_steps_get_past_those_that_step_aside);
    TEST(short_steps_get_to_the_end_of_two_lines);
    TEST(nobody_is_behind_a_place_that_is_empty);
    TEST(who_is_passed_by_for_one_that_is_read_goes_on_without_it);
    TEST(two_limiters_do_not_come_by_in_turns_for_one_that_is_read);
    TEST(a_worker_that_does_not_wait_gets_what_may_start);
    TEST(a_need_accepted_without_permits_takes_all_there_are);
    tcase_add_loop_test(t, nothing_is_lost_whatever_happens, 0, 40);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
