/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of limiters: all or nothing, in order, nothing lost, nothing held
 * back without need.
 */
#include "daemon.h"

static struct daemon *roomy(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    core_limits_init(&d->limits);
    daemon_start(d);
    return d;
}

static const struct node *limiter_ask(struct daemon *d,
                                      enum core_event_kind kind,
                                      const char *name, int64_t permits,
                                      int64_t rate, int64_t rate_ms)
{
    struct core_event ev = {.kind = kind,
                            .u.limiter = {.name = str_from(name),
                                          .permits = permits,
                                          .rate = rate,
                                          .rate_ms = rate_ms}};

    return ask(d, 2, &ev);
}

static void set_permits(struct daemon *d, const char *name, int64_t n)
{
    ck_assert(is_ok(
        limiter_ask(d, EVENT_LIMITER_SET, name, n, CORE_UNSET, CORE_UNSET)));
}

static void set_rate(struct daemon *d, const char *name, int64_t n, int64_t ms)
{
    ck_assert(
        is_ok(limiter_ask(d, EVENT_LIMITER_SET, name, CORE_UNSET, n, ms)));
}

static int64_t figure(struct daemon *d, const char *name, const char *key)
{
    const struct node *n = limiter_ask(d, EVENT_LIMITER_INFO, name, 0, 0, 0);

    return node_get(n, key)->v.i;
}

static struct core_event a_limited(const char *queue, const char *limits)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.limits = str_from(limits);
    return ev;
}

static uint64_t limited(struct daemon *d, const char *queue, const char *limits)
{
    struct core_event ev = a_limited(queue, limits);

    return submit_event(d, &ev);
}

static uint64_t urgent(struct daemon *d, const char *queue, const char *limits,
                       int64_t priority)
{
    struct core_event ev = a_limited(queue, limits);

    ev.u.submit.priority = priority;
    return submit_event(d, &ev);
}

static uint64_t in_group(struct daemon *d, const char *limits, uint64_t g)
{
    struct core_event ev = a_limited("q", limits);

    ev.u.submit.group.n = g;
    return submit_event(d, &ev);
}

static void set_fair(struct daemon *d, const char *queue, int64_t fair)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET,
                            .u.queue = {.name = str_from(queue)}};

    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.fair = fair;
    ck_assert(is_ok(ask(d, 2, &ev)));
}

static void pause_queue(struct daemon *d, const char *queue, bool paused)
{
    struct core_event ev = {
        .kind = EVENT_QUEUE_PAUSE,
        .u.queue = {.name = str_from(queue), .paused = paused}};

    ck_assert(is_ok(ask(d, 2, &ev)));
}

/* The jobs in an answer to a FETCH, NULL: none. */
static uint32_t count_of(const struct node *page)
{
    return page ? page->v.count : 0;
}

static uint64_t id_of(const struct node *page)
{
    ck_assert_uint_eq(count_of(page), 1);
    return token_of(page, 0).job.n;
}

/* The client waits for one job of the queue, and gets none yet. */
static void wait_for(struct daemon *d, uint64_t client, const char *queue)
{
    ck_assert_ptr_null(fetch_from(d, client, 1, CORE_NONE, queue));
}

static const struct node *status(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_STATUS, .u.job.id = {id}};

    return ask(d, 3, &ev);
}

static struct str waits_for(struct daemon *d, uint64_t id)
{
    const struct node *n = node_get(status(d, id), "waits_for");

    return n->v.kind == VALUE_STR ? n->v.s : (struct str){0};
}

/* -------------------------------------------------------------------- rules */

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

/* --------------------------------------------------------------------- fair */

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
    Suite *s = suite_create("limiters");
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
    TEST(a_need_accepted_without_permits_takes_all_there_are);
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
    TEST(a_small_group_is_served_beside_a_crowd);
    TEST(a_small_group_is_served_beside_a_crowd_at_a_limiter);
    TEST(groups_take_turns_within_a_priority_in_their_own_order);
    TEST(a_queue_can_become_fair_and_unfair_with_jobs_in_it);
    TEST(a_released_job_of_a_fair_queue_goes_first);
    tcase_add_loop_test(t, nothing_is_lost_whatever_happens, 0, 40);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
