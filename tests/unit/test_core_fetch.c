/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of FETCH with bounds: at most so many jobs of each queue, at once or
 * when they come, and whoever asks for none of a queue does not serve it.
 */
#include "limiters.h"

#include "laws.h"

#define QUEUES 3

/* Of the queues a, b and c. NULL: it waits. */
static const struct node *fetch(struct daemon *d, uint64_t client,
                                int64_t count, int64_t wait_ms,
                                const int64_t bounds[QUEUES])
{
    static const struct str names[QUEUES] = {{"a", 1}, {"b", 1}, {"c", 1}};
    struct core_event ev = {.kind = EVENT_FETCH,
                            .u.fetch = {.count = count,
                                        .wait_ms = wait_ms,
                                        .queues = names,
                                        .bounds = bounds,
                                        .nqueues = QUEUES}};

    return ask(d, client, &ev);
}

/* The queues of the jobs, in their order, as one word. */
static void must_be_of(const struct node *page, const char *queues)
{
    size_t n = strlen(queues);

    ck_assert_ptr_nonnull(page);
    ck_assert_uint_eq(page->v.count, n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert(str_eq(node_str(node_item(node_item(page, i), 2)),
                         (struct str){queues + i, 1}));
}

static void submit_each(struct daemon *d, int n)
{
    for (int i = 0; i < n; i++) {
        (void)submit(d, "a", 0);
        (void)submit(d, "b", 0);
        (void)submit(d, "c", 0);
    }
}

static void pause_each(struct daemon *d)
{
    pause_queue(d, "a", true);
    pause_queue(d, "b", true);
    pause_queue(d, "c", true);
}

static int64_t wanted(const struct daemon *d, uint64_t client)
{
    struct core_worker w;

    core_worker(d->core, (struct client_id){client}, &w);
    return w.wanted;
}

START_TEST(no_queue_gives_more_than_its_bound_nor_all_more_than_the_count)
{
    static const int64_t some[] = {2, 1, CORE_NONE}, more[] = {9, 9, 9};
    struct daemon *d = roomy();

    submit_each(d, 4);
    must_be_of(fetch(d, 9, 5, 0, some), "aabcc");
    must_be_of(fetch(d, 9, 2, 0, some), "aa");
    must_be_of(fetch(d, 9, 4, 0, more), "bbbc");
    must_be_of(fetch(d, 9, 4, 0, NULL), "c");
    daemon_free(d);
}
END_TEST

START_TEST(a_bound_holds_for_what_comes_while_it_waits)
{
    static const int64_t two[] = {CORE_NONE, 2, 0};
    struct daemon *d = roomy();

    submit_each(d, 3);
    pause_each(d);
    ck_assert_ptr_null(fetch(d, 9, 5, CORE_NONE, two));
    ck_assert_ptr_null(fetch(d, 8, 5, CORE_NONE, two));
    pause_queue(d, "c", false); /* which neither serves */
    pause_queue(d, "b", false);
    must_be_of(got(d, 9), "bb");
    must_be_of(got(d, 8), "b");
    daemon_free(d);
}
END_TEST

START_TEST(a_queue_of_which_nothing_is_asked_is_not_served)
{
    static const int64_t second[] = {0, 1, 0}, none[] = {0, 0, 0};
    struct daemon *d = roomy();
    uint64_t job = submit(d, "a", 0);
    const struct node *n;

    must_be_of(fetch(d, 9, 5, 0, second), "");
    must_be_of(fetch(d, 8, 5, 0, none), "");
    ck_assert_ptr_null(fetch(d, 9, 5, CORE_NONE, second));
    ck_assert_uint_eq(id_of(fetch_from(d, 8, 1, 0, "a")), job);
    ck_assert_ptr_null(fetch(d, 8, 5, CORE_NONE, none));
    submit_each(d, 1);
    must_be_of(got(d, 9), "b");
    cancel_job(d, job, "enough"); /* of which it is told all the same */
    n = node_item(got(d, 8), 0);
    ck_assert(str_eq(node_str(node_item(n, 0)), STR("cancel")));
    daemon_free(d);
}
END_TEST

START_TEST(nothing_is_put_aside_for_a_queue_of_which_nothing_is_asked)
{
    static const int64_t second[] = {0, 1, 0};
    struct daemon *d = roomy();
    uint64_t small;

    set_permits(d, "gpu", 2);
    (void)limited(d, "q", "gpu");
    (void)take(d);
    (void)limited(d, "a", "gpu:2");
    ck_assert_uint_eq(count_of(fetch_from(d, 7, 1, 0, "a")), 0);
    small = limited(d, "b", "gpu");
    ck_assert_uint_eq(id_of(fetch(d, 9, 2, CORE_NONE, second)), small);
    daemon_free(d);
}
END_TEST

START_TEST(with_bounds_each_queue_is_named_once)
{
    static const struct str names[] = {{"a", 1}, {"b", 1}, {"a", 1}};
    static const int64_t bounds[] = {CORE_NONE, CORE_NONE, 2};
    struct daemon *d = roomy();
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .u.fetch = {
            .count = 5, .queues = names, .bounds = bounds, .nqueues = 3}};
    const struct node *n;

    submit_each(d, 2);
    n = ask(d, 9, &ev);
    ck_assert_int_eq(n->v.kind, VALUE_ERROR);
    ev.u.fetch.bounds = NULL; /* then the first place counts */
    must_be_of(ask(d, 9, &ev), "aabb");
    daemon_free(d);
}
END_TEST

START_TEST(it_says_how_many_jobs_it_may_get)
{
    static const int64_t bounds[][QUEUES] = {
        {1, 2, 0}, {1, CORE_NONE, 0}, {0, 0, 0}};
    static const int64_t counts[] = {3, 7, 0};
    struct daemon *d = roomy();

    for (uint64_t i = 0; i < ARRAY_LEN(counts); i++) {
        ck_assert_ptr_null(fetch(d, 9 + i, 7, CORE_NONE, bounds[i]));
        ck_assert_int_eq(wanted(d, 9 + i), counts[i]);
    }
    daemon_free(d);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {no_queue_gives_more_than_its_bound_nor_all_more_than_the_count, 1},
        {a_bound_holds_for_what_comes_while_it_waits, 1},
        {a_queue_of_which_nothing_is_asked_is_not_served, 1},
        {nothing_is_put_aside_for_a_queue_of_which_nothing_is_asked, 1},
        {with_bounds_each_queue_is_named_once, 1},
        {it_says_how_many_jobs_it_may_get, 1},
    };

    return laws_run("core_fetch", laws, ARRAY_LEN(laws));
}
