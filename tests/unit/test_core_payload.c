/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of payloads that are not in memory: nobody can tell, but for the
 * time that a read takes.
 */
#include "daemon.h"

#define LENGTH 100

/* All payloads go as soon as they are placed. */
static struct daemon *daemon_short(void)
{
    struct daemon *d = daemon_new();

    d->places = true;
    d->limits.payload_memory = 1;
    core_configure(d->core, &d->limits);
    return d;
}

static char *payload_of(char to[LENGTH], int number)
{
    memset(to, 'a' + number % 26, LENGTH);
    return to;
}

static uint64_t submit_number(struct daemon *d, int number)
{
    struct core_event ev = a_job("q");
    char text[LENGTH];

    ev.u.submit.payload = (struct str){payload_of(text, number), LENGTH};
    return submit_event(d, &ev);
}

static struct core_stats stats(struct daemon *d)
{
    struct core_stats s;

    core_stats(d->core, &s);
    return s;
}

static bool waits(struct daemon *d, uint64_t client)
{
    return core_blocked(d->core, (struct client_id){client});
}

static void fetch_begin(struct daemon *d, uint64_t client, int64_t count)
{
    static const struct str q = {"q", 1};
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .client = {client},
        .u.fetch = {.count = count, .queues = &q, .nqueues = 1}};

    daemon_step(d, &ev);
}

/* The answer to what was asked first, or what is wrong. */
static void load(struct daemon *d, const char *error)
{
    uint32_t offset = d->loads[0];
    struct core_event ev = {.kind = EVENT_LOAD};

    ck_assert_uint_gt(d->nloads, 0);
    ck_assert_uint_le(d->nloads, 64);
    memmove(d->loads, d->loads + 1, --d->nloads * sizeof(d->loads[0]));
    ev.u.load.segment = d->entries[offset - 1].segment;
    ev.u.load.offset = offset;
    if (error)
        ev.u.load.error = str_from(error);
    else
        ev.u.load.entry = (struct str){d->entries[offset - 1].data,
                                       d->entries[offset - 1].len};
    daemon_step(d, &ev);
}

static void must_be(const struct node *page, uint32_t i, int number)
{
    struct str payload = node_str(node_item(node_item(page, i), 3));
    char want[LENGTH];

    ck_assert_uint_eq(payload.len, LENGTH);
    ck_assert(memcmp(payload.p, payload_of(want, number), LENGTH) == 0);
}

START_TEST(a_payload_needs_no_memory_and_comes_when_it_is_wanted)
{
    struct daemon *d = daemon_short();
    const struct node *page;
    int64_t memory;

    memory = stats(d).memory_bytes;
    for (int i = 0; i < 5; i++)
        (void)submit_number(d, i);
    ck_assert_int_eq(stats(d).unloaded, 5);
    ck_assert_int_eq(stats(d).unloaded_bytes, 5 * LENGTH);
    ck_assert_int_eq(stats(d).payload_bytes, 5 * LENGTH);
    ck_assert_int_lt(stats(d).memory_bytes, memory + 6 * LENGTH * 5);
    ck_assert_uint_eq(d->nloads, 0);
    for (int i = 0; i < 5; i++) {
        fetch_begin(d, 9, 1); /* which does not wait, but for this */
        ck_assert(waits(d, 9));
        ck_assert_uint_eq(d->nloads, 1); /* there is no memory for more */
        load(d, NULL);
        page = got(d, 9);
        ck_assert_uint_eq(page->v.count, 1);
        must_be(page, 0, i);
    }
    fetch_begin(d, 9, 1);
    ck_assert_uint_eq(got(d, 9)->v.count, 0);
    daemon_free(d);
}
END_TEST

START_TEST(the_next_in_line_are_read_ahead_and_none_twice)
{
    struct daemon *d = daemon_short();
    const struct node *page;

    for (int i = 0; i < 5; i++)
        (void)submit_number(d, i);
    d->limits.payload_memory = 1 << 20;
    core_configure(d->core, &d->limits);
    fetch_begin(d, 9, 3);
    fetch_begin(d, 8, 3);
    ck_assert_uint_eq(d->nloads, 5);
    load(d, NULL); /* whoever has something is answered */
    page = got(d, 9);
    ck_assert_uint_eq(page->v.count, 1);
    must_be(page, 0, 0);
    ck_assert(waits(d, 8));
    load(d, NULL);
    must_be(got(d, 8), 0, 1);
    while (d->nloads > 0)
        load(d, NULL);
    fetch_begin(d, 9, 3);
    page = got(d, 9);
    ck_assert_uint_eq(page->v.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        must_be(page, i, 2 + (int)i);
    daemon_free(d);
}
END_TEST

START_TEST(nobody_goes_before_one_whose_payload_is_read)
{
    struct daemon *d = daemon_short();
    const struct node *page;

    (void)submit_number(d, 0);
    (void)submit_number(d, 1);
    d->limits.payload_memory = 1 << 20;
    core_configure(d->core, &d->limits);
    (void)submit_number(d, 2); /* stays in memory */
    fetch_begin(d, 9, 3);
    ck_assert_uint_eq(d->nloads, 2);
    ck_assert(waits(d, 9));
    {
        uint32_t first = d->loads[0];

        d->loads[0] = d->loads[1]; /* the second comes first */
        d->loads[1] = first;
    }
    load(d, NULL);
    ck_assert(waits(d, 9));
    load(d, NULL);
    page = got(d, 9);
    ck_assert_uint_eq(page->v.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        must_be(page, i, (int)i);
    daemon_free(d);
}
END_TEST

/* What was asked for first cannot be read for now. */
static void put_off(struct daemon *d)
{
    uint32_t offset = d->loads[0];
    struct core_event ev = {.kind = EVENT_LOAD, .u.load.put_off = true};

    ev.u.load.segment = d->entries[offset - 1].segment;
    ev.u.load.offset = offset;
    daemon_step(d, &ev);
}

START_TEST(who_asks_what_there_is_does_not_wait_for_what_is_put_off)
{
    struct daemon *d = daemon_short();
    struct core_event waits_on = {.kind = EVENT_FETCH, .client = {8}};
    struct str q = STR("q");

    (void)submit_number(d, 0);
    (void)submit_number(d, 1);
    fetch_begin(d, 9, 1);
    ck_assert(waits(d, 9));
    put_off(d);
    ck_assert_uint_eq(got(d, 9)->v.count, 0);
    fetch_begin(d, 9,
                1); /* nor does he who comes later; and nobody overtakes */
    ck_assert_uint_eq(got(d, 9)->v.count, 0);
    ck_assert_uint_eq(d->nloads, 1);
    waits_on.u.fetch.count = 1;
    waits_on.u.fetch.queues = &q;
    waits_on.u.fetch.nqueues = 1;
    waits_on.u.fetch.wait_ms = 60000;
    daemon_step(d, &waits_on);
    put_off(d);
    ck_assert(waits(d, 8));
    load(d, NULL);
    must_be(got(d, 8), 0, 0);
    fetch_begin(d, 9, 1); /* the next one is read as ever */
    ck_assert(waits(d, 9));
    load(d, NULL);
    must_be(got(d, 9), 0, 1);
    daemon_free(d);
}
END_TEST

START_TEST(a_queue_that_is_named_twice_is_left_once)
{
    static const struct str names[] = {{"q", 1}, {"q", 1}};
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .client = {9},
        .u.fetch = {.count = 1, .queues = names, .nqueues = 2}};
    struct daemon *d = daemon_short();

    (void)submit_number(d, 0);
    daemon_step(d, &ev);
    ck_assert(waits(d, 9));
    put_off(d);
    ck_assert_uint_eq(got(d, 9)->v.count, 0);
    daemon_free(d);
}
END_TEST

START_TEST(who_asks_for_none_of_a_queue_waits_for_no_payload_of_it)
{
    static const struct str names[] = {{"q", 1}, {"other", 5}};
    static const int64_t bounds[] = {0, 1};
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .client = {8},
        .u.fetch = {
            .count = 1, .queues = names, .bounds = bounds, .nqueues = 2}};
    struct daemon *d = daemon_short();

    (void)submit_number(d, 0);
    fetch_begin(d, 9, 1);
    ck_assert(waits(d, 9));
    daemon_step(d, &ev);
    ck_assert_uint_eq(got(d, 8)->v.count, 0);
    load(d, NULL);
    must_be(got(d, 9), 0, 0);
    daemon_free(d);
}
END_TEST

START_TEST(what_cannot_be_read_fails_alone_and_for_good)
{
    struct daemon *d = daemon_short();
    struct core_event again = {.kind = EVENT_RETRY};
    uint64_t id;

    id = submit_number(d, 0);
    (void)submit_number(d, 1);
    fetch_begin(d, 9, 1);
    load(d, "0000000001.yj: offset 4096: this frame is not valid");
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("damaged")));
    ck_assert(waits(d, 9));
    load(d, NULL);
    must_be(got(d, 9), 0, 1);
    again.u.job.id.n = id;
    ck_assert(is_error(ask(d, 3, &again), CORE_ERR_GENERIC));
    d->places = false;
    daemon_free(d);
}
END_TEST

START_TEST(another_entry_in_its_place_is_damage)
{
    struct daemon *d = daemon_short();
    uint64_t id = submit_number(d, 0);
    struct core_event ev = {.kind = EVENT_LOAD};

    (void)submit_number(d, 1);
    fetch_begin(d, 9, 1);
    ev.u.load.segment = d->segment;
    ev.u.load.offset = d->loads[0];
    ev.u.load.entry = (struct str){d->entries[d->nentries - 1].data,
                                   d->entries[d->nentries - 1].len};
    d->nloads = 0;
    daemon_step(d, &ev);
    ck_assert(str_eq(last_class(d, id), STR("damaged")));
    daemon_free(d);
}
END_TEST

START_TEST(a_read_that_failed_is_asked_again_where_the_job_lies_by_then)
{
    struct daemon *d = daemon_short();
    uint64_t id = submit_number(d, 0);
    uint32_t before;

    fetch_begin(d, 9, 1);
    before = d->loads[0];
    daemon_compact(d);
    ck_assert_int_eq(stats(d).unloaded, 1);
    load(d, "0000000001.yj: No such file or directory");
    ck_assert_int_eq(job(d, id).outcome, VIEW_NONE);
    ck_assert(waits(d, 9));
    ck_assert_uint_eq(d->nloads, 1);
    ck_assert_uint_ne(d->loads[0], before);
    load(d, NULL);
    must_be(got(d, 9), 0, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_read_is_right_wherever_the_job_has_gone)
{
    struct daemon *d = daemon_short();

    (void)submit_number(d, 0);
    (void)submit_number(d, 1);
    fetch_begin(d, 9, 1);
    daemon_compact(d);
    load(d, NULL);
    must_be(got(d, 9), 0, 0);
    fetch_begin(d, 9, 1);
    load(d, NULL); /* an entry with images of both */
    must_be(got(d, 9), 0, 1);
    daemon_free(d);
}
END_TEST

START_TEST(who_is_cancelled_while_it_is_read_is_not_waited_for)
{
    struct daemon *d = daemon_short();
    uint64_t id = submit_number(d, 0);

    (void)submit_number(d, 1);
    fetch_begin(d, 9, 1);
    cancel_job(d, id, "no");
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    ck_assert(waits(d, 9));
    load(d, NULL);
    ck_assert(waits(d, 9));
    load(d, NULL);
    must_be(got(d, 9), 0, 1);
    id = submit_number(d, 2);
    fetch_begin(d, 9, 1);
    cancel_job(d, id, "no");
    ck_assert_uint_eq(got(d, 9)->v.count, 0); /* nothing is left */
    load(d, NULL);
    daemon_free(d);
}
END_TEST

START_TEST(a_wait_for_a_payload_alone_is_not_ended_by_its_client)
{
    struct daemon *d = daemon_short();
    struct core_event ev = {.kind = EVENT_UNBLOCK, .client = {9}};

    (void)submit_number(d, 0);
    fetch_begin(d, 9, 1);
    ck_assert(!core_ends_early(d->core, (struct client_id){9}));
    daemon_step(d, &ev);
    ck_assert(waits(d, 9));
    load(d, NULL);
    must_be(got(d, 9), 0, 0);
    daemon_free(d);
}
END_TEST

START_TEST(a_lost_attempt_gets_its_payload_again)
{
    struct daemon *d = daemon_short();
    const struct node *page;

    (void)submit_number(d, 0);
    for (int i = 0; i < 3; i++) {
        fetch_begin(d, 9, 1);
        load(d, NULL);
        page = got(d, 9);
        must_be(page, 0, 0);
        ck_assert_int_eq(stats(d).unloaded, 1); /* it was given out */
        ck_assert(is_ok(report(d, EVENT_RELEASE, token_of(page, 0), "")));
    }
    daemon_free(d);
}
END_TEST

START_TEST(a_retry_waits_for_payloads)
{
    struct daemon *d = daemon_short();
    struct core_event ev = {.kind = EVENT_RETRY, .client = {3}},
                      many = {.kind = EVENT_DEAD_RETRY, .client = {3}};
    uint64_t ids[3], id;

    for (int i = 0; i < 3; i++) {
        ids[i] = submit_number(d, i);
        fetch_begin(d, 9, 1);
        load(d, NULL);
        ck_assert(is_ok(report(d, EVENT_FAIL, token_of(got(d, 9), 0), "oops")));
    }
    ck_assert_int_eq(stats(d).unloaded, 3);
    ev.u.job.id.n = ids[1];
    daemon_step(d, &ev);
    ck_assert(waits(d, 3));
    load(d, NULL);
    id = node_id(got(d, 3), 'j');
    ck_assert_uint_gt(id, ids[2]);
    many.u.dead.count = 10;
    for (int i = 0; i < 2; i++) { /* as many at once as there is memory for */
        daemon_step(d, &many);
        ck_assert(waits(d, 3));
        load(d, NULL);
        ck_assert_uint_eq(got(d, 3)->v.count, 1);
    }
    for (int i = 0; i < 3; i++) {
        static const int order[] = {1, 0, 2};

        fetch_begin(d, 9, 1);
        load(d, NULL);
        must_be(got(d, 9), 0, order[i]);
    }
    daemon_free(d);
}
END_TEST

START_TEST(a_retry_does_not_wait_for_what_is_put_off)
{
    struct daemon *d = daemon_short();
    struct core_event one = {.kind = EVENT_RETRY, .client = {3}},
                      many = {.kind = EVENT_DEAD_RETRY, .client = {4}};

    one.u.job.id.n = submit_number(d, 0);
    fetch_begin(d, 9, 1);
    load(d, NULL);
    ck_assert(is_ok(report(d, EVENT_FAIL, token_of(got(d, 9), 0), "oops")));
    many.u.dead.count = 10;
    daemon_step(d, &one);
    daemon_step(d, &many);
    ck_assert(waits(d, 3) && waits(d, 4));
    put_off(d);
    ck_assert(is_error(got(d, 3), CORE_ERR_GENERIC));
    ck_assert(is_error(got(d, 4), CORE_ERR_GENERIC));
    ck_assert(is_error(ask(d, 3, &one), CORE_ERR_GENERIC));
    load(d, NULL); /* and it goes again, for nobody waits for it */
    daemon_step(d, &one);
    ck_assert(waits(d, 3));
    load(d, NULL);
    ck_assert_uint_gt(node_id(got(d, 3), 'j'), one.u.job.id.n);
    daemon_free(d);
}
END_TEST

START_TEST(a_retry_whose_job_goes_meanwhile_is_told)
{
    struct daemon *d = daemon_short();
    struct core_event ev = {.kind = EVENT_RETRY, .client = {3}},
                      purge = {.kind = EVENT_DEAD_PURGE};

    ev.u.job.id.n = submit_number(d, 0);
    fetch_begin(d, 9, 1);
    load(d, NULL);
    ck_assert(is_ok(report(d, EVENT_FAIL, token_of(got(d, 9), 0), "oops")));
    daemon_step(d, &ev);
    purge.u.dead.count = CORE_UNSET;
    ck_assert_int_eq(node_int(ask(d, 4, &purge)), 1);
    ck_assert(waits(d, 3));
    load(d, NULL);
    ck_assert(is_error(got(d, 3), CORE_ERR_GENERIC));
    daemon_free(d);
}
END_TEST

/* One slice of writing again what lies in a segment that cannot be read. */
static void heal_some(struct daemon *d)
{
    size_t at = 0;

    core_effects_reset(&d->effects);
    (void)core_heal(d->core, d->segment - 1, &at, &d->effects);
    core_check(d->core);
    daemon_keep(d);
}

START_TEST(what_is_lost_while_it_runs_fails_when_it_would_run_again)
{
    static const enum core_event_kind ends[] = {EVENT_FAIL, EVENT_RELEASE};
    struct daemon *d = daemon_short();
    const struct node *page;

    for (int i = 0; i < 2; i++) {
        struct core_event ev = a_job("q");
        uint64_t id;

        ev.u.submit.payload = STR("abc");
        ev.u.submit.retry = 3;
        id = submit_event(d, &ev);
        fetch_begin(d, 9, 1);
        load(d, NULL);
        page = got(d, 9);
        daemon_next_segment(d);
        heal_some(d); /* for which it is to be read */
        load(d, "0000000001.yj: offset 4096: this frame is not valid");
        ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
        ck_assert(is_ok(report(d, ends[i], token_of(page, 0), "oops")));
        ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
        ck_assert(str_eq(last_class(d, id), STR("damaged")));
        ck_assert_int_eq(job(d, id).errors, 2 - i);
        (void)submit_number(d, i); /* nobody waits behind it */
        fetch_begin(d, 9, 1);
        load(d, NULL);
        page = got(d, 9);
        must_be(page, 0, i);
        ck_assert(is_ok(report(d, EVENT_DONE, token_of(page, 0), "")));
    }
    d->places = false;
    daemon_free(d);
}
END_TEST

START_TEST(what_is_cancelled_is_cancelled_and_not_damaged)
{
    struct daemon *d = daemon_short();
    struct core_event cancel = {.kind = EVENT_CANCEL, .client = {2}},
                      tick = {.kind = EVENT_TICK};
    uint64_t g = open_policy(d, 0, 0), id = 0;

    for (int i = 0; i < 5; i++) {
        struct core_event ev = a_job("q");

        ev.u.submit.payload = STR("abc");
        ev.u.submit.group.n = g;
        id = id ? id : submit_event(d, &ev);
        if (i)
            (void)submit_event(d, &ev);
    }
    fetch_begin(d, 9, 1);
    d->limits.step_work = 1; /* so that the cancel is still on its way */
    core_configure(d->core, &d->limits);
    cancel.u.cancel.group.n = g;
    cancel.u.cancel.grace_ms = CORE_UNSET;
    cancel.u.cancel.reason = STR("no");
    daemon_one(d, &cancel);
    ck_assert_int_eq(job(d, id).outcome, VIEW_NONE);
    {
        struct core_event ev = {.kind = EVENT_LOAD};

        ev.u.load.segment = d->segment;
        ev.u.load.offset = d->loads[0];
        ev.u.load.error = STR("this frame is not valid");
        d->nloads = 0;
        daemon_one(d, &ev);
    }
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    d->limits.step_work = 1000;
    core_configure(d->core, &d->limits);
    daemon_step(d, &tick);
    ck_assert_int_eq(group(d, g).cancelled, 5);
    daemon_free(d);
}
END_TEST

START_TEST(what_was_read_for_somebody_who_has_gone_goes_again)
{
    struct daemon *d = daemon_short();
    struct core_event tick = {.kind = EVENT_TICK};

    for (int i = 0; i < 3; i++) {
        (void)submit_number(d, i);
        fetch_begin(d, 9, 1);
        leave(d, 9, DISCONNECT_CLEAN);
        load(d, NULL);
        for (int n = 0; n < 3; n++)
            daemon_step(d, &tick);
        ck_assert_int_eq(stats(d).unloaded, i + 1);
    }
    daemon_free(d);
}
END_TEST

static void set_fair(struct daemon *d, const char *queue)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET,
                            .u.queue = {.name = str_from(queue)}};

    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.fair = 1;
    ck_assert(is_ok(ask(d, 2, &ev)));
}

static uint64_t submit_more(struct daemon *d, const char *queue,
                            const char *limits, uint64_t group,
                            int64_t delay_ms)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.payload = STR("abc");
    ev.u.submit.limits = str_from(limits);
    ev.u.submit.group.n = group;
    ev.u.submit.delay_ms = delay_ms;
    return submit_event(d, &ev);
}

/* Wherever their jobs are. */
START_TEST(all_payloads_go_when_memory_is_short)
{
    struct daemon *d = daemon_short();
    struct core_event tick = {.kind = EVENT_TICK}, wide = a_group();
    uint64_t narrow;

    d->limits.payload_memory = 1 << 20;
    core_configure(d->core, &d->limits);
    set_fair(d, "fair");
    set_limiter(d, "l");
    wide.u.group_open.width = 1;
    narrow = open_event(d, &wide);
    for (int i = 0; i < 2; i++) {
        (void)submit_more(d, "ready", "", 0, 0);
        (void)submit_more(d, "delayed", "", 0, 100000);
        (void)submit_more(d, "fair", "", narrow, 0);
        (void)submit_more(d, "width", "", narrow, 0);
        (void)submit_more(d, "lane", "l", 0, 0);
        (void)submit_more(d, "runs", "", 0, 0);
    }
    ck_assert_uint_eq(fetch_from(d, 9, 2, 0, "width")->v.count, 1);
    ck_assert_uint_eq(fetch_from(d, 9, 2, 0, "lane")->v.count, 1);
    ck_assert_uint_eq(fetch_from(d, 9, 2, 0, "runs")->v.count, 2);
    ck_assert_int_eq(stats(d).parked, 2);
    ck_assert_int_eq(stats(d).unloaded, 0);
    d->limits.payload_memory = 1;
    core_configure(d->core, &d->limits);
    for (int n = 0; n < 3; n++)
        daemon_step(d, &tick);
    ck_assert_int_eq(stats(d).unloaded, 12);
    daemon_free(d);
}
END_TEST

START_TEST(where_jobs_alone_fill_the_memory_some_are_read_ahead)
{
    struct daemon *d = daemon_short();

    for (int i = 0; i < 9; i++)
        (void)submit_more(d, "q", "", 0, 0);
    d->limits.payload_memory = 64 * 5 * 3; /* five of three bytes */
    core_configure(d->core, &d->limits);
    ck_assert_int_gt(stats(d).memory_bytes, d->limits.payload_memory / 8 * 7);
    fetch_begin(d, 9, 9);
    ck_assert_uint_eq(d->nloads, 5);
    daemon_free(d);
}
END_TEST

START_TEST(those_parked_for_a_limiter_are_read_ahead)
{
    struct daemon *d = daemon_short();
    struct token first;

    set_limiter(d, "l");
    for (int i = 0; i < 6; i++)
        (void)submit_more(d, "q", "l", 0, 0);
    fetch_begin(d, 9, 6);
    load(d, NULL);
    first = token_of(got(d, 9), 0);
    ck_assert_uint_eq(fetch_from(d, 9, 6, 0, "q")->v.count, 0);
    ck_assert_int_eq(stats(d).parked, 5);
    ck_assert_uint_eq(d->nloads, 0);
    d->limits.payload_memory = 1 << 20;
    core_configure(d->core, &d->limits);
    ck_assert(is_ok(report(d, EVENT_DONE, first, "")));
    fetch_begin(d, 8, 6);
    ck_assert_uint_eq(d->nloads, 5);
    daemon_free(d);
}
END_TEST

START_TEST(those_whose_turn_is_next_are_read_ahead_in_a_fair_queue)
{
    struct daemon *d = daemon_short();
    uint64_t groups[3];

    set_fair(d, "q");
    for (int i = 0; i < 3; i++)
        groups[i] = open_policy(d, 0, 0);
    for (int i = 0; i < 6; i++)
        (void)submit_more(d, "q", "", groups[i / 2], 0);
    d->limits.payload_memory = 1 << 20;
    core_configure(d->core, &d->limits);
    fetch_begin(d, 9, 3);
    ck_assert_uint_eq(d->nloads, 4); /* and one more of the first group */
    for (int i = 0; i < 3; i++)
        load(d, NULL);
    ck_assert_uint_eq(got(d, 9)->v.count, 1);
    ck_assert_uint_eq(fetch_from(d, 9, 2, 0, "q")->v.count, 2);
    daemon_free(d);
}
END_TEST

static Suite *payload_suite(void)
{
    Suite *suite = suite_create("core payload");
    TCase *t = tcase_create("laws");

    tcase_add_test(t, a_payload_needs_no_memory_and_comes_when_it_is_wanted);
    tcase_add_test(t, the_next_in_line_are_read_ahead_and_none_twice);
    tcase_add_test(t, nobody_goes_before_one_whose_payload_is_read);
    tcase_add_test(t, who_asks_what_there_is_does_not_wait_for_what_is_put_off);
    tcase_add_test(t, a_queue_that_is_named_twice_is_left_once);
    tcase_add_test(t, who_asks_for_none_of_a_queue_waits_for_no_payload_of_it);
    tcase_add_test(t, what_cannot_be_read_fails_alone_and_for_good);
    tcase_add_test(t, another_entry_in_its_place_is_damage);
    tcase_add_test(
        t, a_read_that_failed_is_asked_again_where_the_job_lies_by_then);
    tcase_add_test(t, a_read_is_right_wherever_the_job_has_gone);
    tcase_add_test(t, who_is_cancelled_while_it_is_read_is_not_waited_for);
    tcase_add_test(t, a_wait_for_a_payload_alone_is_not_ended_by_its_client);
    tcase_add_test(t, a_lost_attempt_gets_its_payload_again);
    tcase_add_test(t, a_retry_waits_for_payloads);
    tcase_add_test(t, a_retry_does_not_wait_for_what_is_put_off);
    tcase_add_test(t, a_retry_whose_job_goes_meanwhile_is_told);
    tcase_add_test(t, what_is_lost_while_it_runs_fails_when_it_would_run_again);
    tcase_add_test(t, what_is_cancelled_is_cancelled_and_not_damaged);
    tcase_add_test(t, what_was_read_for_somebody_who_has_gone_goes_again);
    tcase_add_test(t, all_payloads_go_when_memory_is_short);
    tcase_add_test(t, where_jobs_alone_fill_the_memory_some_are_read_ahead);
    tcase_add_test(t, those_parked_for_a_limiter_are_read_ahead);
    tcase_add_test(t, those_whose_turn_is_next_are_read_ahead_in_a_fair_queue);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(payload_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
