/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of output: what a job, and the jobs of a group, have printed.
 */
#include "core/output.h"
#include "daemon.h"

static void say(struct daemon *d, struct token t, const char *text)
{
    struct core_event ev = a_report(EVENT_LOG, t, "");

    ev.u.report.data = str_from(text);
    ck_assert(is_ok(ask(d, 9, &ev)));
}

static const struct node *logs_of(struct daemon *d, bool is_job, uint64_t id,
                                  int64_t cursor, int64_t wait_ms,
                                  int64_t count)
{
    struct core_event ev = {.kind = EVENT_LOGS,
                            .u.logs = {.is_job = is_job,
                                       .job = {id},
                                       .group = {id},
                                       .cursor = cursor,
                                       .wait_ms = wait_ms,
                                       .count = count,
                                       .times = true}};

    return ask(d, 3, &ev);
}

static const struct node *logs(struct daemon *d, uint64_t group, int64_t cursor)
{
    return logs_of(d, false, group, cursor, 0, CORE_UNSET);
}

static int64_t cursor_of(const struct node *page)
{
    return node_int(node_item(page, 0));
}

static uint32_t entries_of(const struct node *page)
{
    return node_item(page, 1)->v.count;
}

static const struct node *entry_of(const struct node *page, uint32_t i)
{
    return node_item(node_item(page, 1), i);
}

static bool is_over(const struct node *page)
{
    return node_int(node_item(page, 2)) != 0;
}

static bool is_chunk(const struct node *page, uint32_t i, struct token t,
                     const char *text)
{
    const struct node *e = entry_of(page, i);

    return node_int(node_item(e, 0)) == 1 &&
           str_eq(node_str(node_item(e, 1)), str_from(text)) &&
           node_id(node_item(e, 3), 'j') == t.job.n &&
           node_item(e, 3)->v.attempt == t.attempt;
}

/* A job of that group that runs. */
static struct token start(struct daemon *d, uint64_t group)
{
    (void)submit(d, "q", group);
    return take(d);
}

START_TEST(logs_are_bounded)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event logs = {.kind = EVENT_LOGS, .u.logs.is_job = true}, ev;
    const struct node *page;
    struct core_stats s;
    char line[100];
    size_t bytes = 0;
    struct token t;

    daemon_limits(d);
    d->limits.log_max = 1000;
    daemon_start(d);
    memset(line, 'x', sizeof(line));
    (void)submit(d, "q", 0);
    t = take(d);
    logs.u.logs.job = t.job;
    logs.u.logs.count = 100000;
    ev = a_report(EVENT_LOG, t, "");
    ev.u.report.data = (struct str){.p = line, .len = sizeof(line)};
    for (int i = 0; i < 50; i++)
        ck_assert(is_ok(ask(d, 9, &ev)));
    page = node_item(ask(d, 3, &logs), 1);
    ck_assert_int_eq(node_int(node_item(node_item(page, 0), 0)), 0);
    for (uint32_t i = 1; i < page->v.count; i++)
        bytes += node_str(node_item(node_item(page, i), 1)).len;
    ck_assert_uint_le(bytes, 1000);
    ck_assert_uint_ge(bytes, 500);
    core_stats(d->core, &s);
    ck_assert_int_le(s.log_bytes, 2000);
    daemon_free(d);
}
END_TEST

/* What was printed is gone; who read it goes on with what comes. */
START_TEST(a_cursor_into_a_log_outlasts_a_restart)
{
    struct daemon *d = daemon_new();
    struct core_event logs = {.kind = EVENT_LOGS, .u.logs.is_job = true}, ev;
    const struct node *page;
    struct token t;

    (void)submit(d, "q", 0);
    t = take(d);
    logs.u.logs.job = t.job;
    ev = a_report(EVENT_LOG, t, "");
    ev.u.report.data = STR("before, and long");
    ck_assert(is_ok(ask(d, 9, &ev)));
    logs.u.logs.cursor = node_int(node_item(ask(d, 3, &logs), 0));
    daemon_pass(d, 1);
    daemon_crash(d);
    page = ask(d, 3, &logs);
    ck_assert_uint_eq(node_item(page, 1)->v.count, 0);
    ev.u.report.data = STR("after");
    ck_assert(is_ok(ask(d, 9, &ev)));
    for (int i = 0; i < 2; i++) {
        page = ask(d, 3, &logs);
        ck_assert_uint_eq(node_item(page, 1)->v.count, 1);
        ck_assert(
            str_eq(node_str(node_item(node_item(node_item(page, 1), 0), 1)),
                   STR("after")));
        logs.u.logs.cursor = 0;
    }
    logs.u.logs.cursor = node_int(node_item(page, 0)) + 1;
    ck_assert(node_is_error(ask(d, 3, &logs), CORE_ERR_GENERIC));
    daemon_free(d);
}
END_TEST

START_TEST(what_jobs_of_a_group_print_is_told_in_the_order_of_arrival)
{
    struct daemon *d = daemon_new();
    uint64_t outer = open_policy(d, 0, 0),
             inner = open_under_group(d, outer, 0), under;
    struct token a = start(d, outer), b = start(d, inner), other = start(d, 0),
                 c;
    const struct node *page;

    under = open_under_job(d, b);
    c = start(d, under);
    say(d, a, "1");
    say(d, b, "2");
    say(d, other, "not of it");
    daemon_pass(d, 7);
    say(d, c, "3");
    say(d, a, "4");
    page = logs(d, outer, 0);
    ck_assert_uint_eq(entries_of(page), 4);
    ck_assert(is_chunk(page, 0, a, "1") && is_chunk(page, 1, b, "2"));
    ck_assert(is_chunk(page, 2, c, "3") && is_chunk(page, 3, a, "4"));
    ck_assert_int_eq(node_int(node_item(entry_of(page, 1), 2)), d->now - 7);
    ck_assert_int_eq(node_int(node_item(entry_of(page, 2), 2)), d->now);
    ck_assert(!is_over(page));
    page = logs(d, inner, 0);
    ck_assert_uint_eq(entries_of(page), 2);
    ck_assert(is_chunk(page, 0, b, "2") && is_chunk(page, 1, c, "3"));
    ck_assert_uint_eq(entries_of(logs(d, 0, 0)), 5);
    daemon_free(d);
}
END_TEST

START_TEST(a_job_tells_when_it_printed_and_in_which_attempt)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token first = start(d, g), second;
    const struct node *page;

    say(d, first, "once");
    ck_assert(is_ok(report(d, EVENT_RELEASE, first, "")));
    daemon_pass(d, 10);
    second = take(d);
    ck_assert_uint_eq(second.attempt, 2);
    say(d, second, "again");
    for (int of_job = 0; of_job < 2; of_job++) {
        page = logs_of(d, of_job, of_job ? first.job.n : g, 0, 0, CORE_UNSET);
        ck_assert_uint_eq(entries_of(page), 2);
        ck_assert(is_chunk(page, 0, first, "once"));
        ck_assert(is_chunk(page, 1, second, "again"));
        ck_assert_int_eq(node_int(node_item(entry_of(page, 0), 2)) + 10,
                         node_int(node_item(entry_of(page, 1), 2)));
    }
    daemon_free(d);
}
END_TEST

START_TEST(who_follows_a_group_is_told_of_its_jobs_alone_and_of_its_end)
{
    struct daemon *d = daemon_new();
    uint64_t outer = open_policy(d, 0, 0),
             inner = open_under_group(d, outer, 0);
    struct token a = start(d, outer), b = start(d, inner), other = start(d, 0);
    const struct node *page;

    ck_assert_ptr_null(logs_of(d, false, outer, 0, CORE_NONE, CORE_UNSET));
    say(d, other, "not of it");
    ck_assert_ptr_null(got(d, 3));
    say(d, b, "below");
    page = got(d, 3);
    ck_assert_uint_eq(entries_of(page), 1);
    ck_assert(is_chunk(page, 0, b, "below") && !is_over(page));

    say(d, other, "not of it either");
    ck_assert_ptr_null(
        logs_of(d, false, outer, cursor_of(page), CORE_NONE, CORE_UNSET));
    close_group(d, inner);
    close_group(d, outer);
    ck_assert(is_ok(report(d, EVENT_DONE, a, "")));
    ck_assert_ptr_null(got(d, 3));
    ck_assert(is_ok(report(d, EVENT_DONE, b, "")));
    page = got(d, 3);
    ck_assert(is_over(page) && entries_of(page) == 0);
    page = logs(d, outer, 0);
    ck_assert(is_over(page) && entries_of(page) == 1);
    daemon_free(d);
}
END_TEST

START_TEST(who_waits_in_vain_goes_on_where_it_was)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token a = start(d, g), other = start(d, 0);
    const struct node *page;

    say(d, other, "not of it");
    ck_assert_ptr_null(logs_of(d, false, g, 0, 1000, CORE_UNSET));
    daemon_pass(d, 1000);
    page = got(d, 3);
    ck_assert(entries_of(page) == 0 && !is_over(page));
    say(d, a, "late");
    page = logs(d, g, cursor_of(page));
    ck_assert(entries_of(page) == 1 && is_chunk(page, 0, a, "late"));
    page = logs(d, g, cursor_of(page));
    ck_assert(entries_of(page) == 0 && !is_over(page));
    ck_assert_ptr_null(
        logs_of(d, false, g, cursor_of(page), CORE_NONE, CORE_UNSET));
    leave(d, 3, DISCONNECT_DEAD);
    say(d, a, "nobody hears");
    daemon_free(d);
}
END_TEST

START_TEST(a_page_ends_between_two_chunks)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token a = start(d, g), b = start(d, g);
    const struct node *page;
    int64_t cursor = 0;

    say(d, a, "long enough");
    say(d, b, "short");
    say(d, a, "end");
    page = logs_of(d, false, g, cursor, 0, 1);
    ck_assert(entries_of(page) == 1 && is_chunk(page, 0, a, "long enough"));
    page = logs_of(d, false, g, cursor_of(page), 0, 8);
    ck_assert(entries_of(page) == 2 && is_chunk(page, 0, b, "short"));
    ck_assert(is_chunk(page, 1, a, "end"));
    page = logs(d, g, cursor_of(page) + 1);
    ck_assert(node_is_error(page, CORE_ERR_GENERIC));
    daemon_free(d);
}
END_TEST

START_TEST(who_looks_for_little_among_much_is_led_there_in_steps)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token a = start(d, g), other = start(d, 0);
    struct core_event ev = a_report(EVENT_LOG, other, "");
    const struct node *page;
    int64_t first;

    say(d, other, "0");
    first = cursor_of(logs(d, 0, 0)) - 1;
    ev.now_ms = d->now;
    ev.u.report.data = STR("x");
    for (int i = 1; i < OUTPUT_PAGE_CHUNKS; i++) {
        core_effects_reset(&d->effects);
        core_step(d->core, &ev, &d->effects);
    }
    say(d, a, "there");
    page = logs_of(d, false, g, first, CORE_NONE, CORE_UNSET);
    ck_assert(entries_of(page) == 0 && !is_over(page));
    ck_assert_int_eq(cursor_of(page), first + OUTPUT_PAGE_CHUNKS);
    page = logs(d, g, cursor_of(page));
    ck_assert(entries_of(page) == 1 && is_chunk(page, 0, a, "there"));
    first = cursor_of(page);
    ck_assert_int_eq(cursor_of(logs(d, g, first)), first);
    daemon_free(d);
}
END_TEST

static bool is_lost(const struct node *page, uint32_t i, struct token t,
                    int64_t bytes)
{
    const struct node *e = entry_of(page, i);

    return node_int(node_item(e, 0)) == 0 &&
           node_int(node_item(e, 1)) == bytes &&
           node_is_null(node_item(e, 2)) &&
           node_id(node_item(e, 3), 'j') == t.job.n;
}

START_TEST(what_a_group_has_lost_is_said_in_its_place)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    const struct node *page;
    struct token a, b;
    int64_t cursor;
    uint64_t g;

    daemon_limits(d);
    d->limits.log_max = 10;
    daemon_start(d);
    g = open_policy(d, 0, 0);
    a = start(d, g);
    b = start(d, g);
    say(d, a, "aaaa");
    say(d, b, "bbbb");
    cursor = cursor_of(logs(d, g, 0));
    say(d, a, "AAAA");
    say(d, b, "BBBB");
    say(d, a, "ccccccc");
    page = logs(d, g, 0);
    ck_assert_uint_eq(entries_of(page), 4);
    ck_assert(is_chunk(page, 0, b, "bbbb") && is_lost(page, 1, a, 8));
    ck_assert(is_chunk(page, 2, b, "BBBB") && is_chunk(page, 3, a, "ccccccc"));
    page = logs(d, g, cursor);
    ck_assert_uint_eq(entries_of(page), 3);
    ck_assert(is_lost(page, 0, a, 4) && is_chunk(page, 1, b, "BBBB"));
    page = logs(d, g, cursor_of(page));
    ck_assert_uint_eq(entries_of(page), 0);
    daemon_free(d);
}
END_TEST

START_TEST(the_job_that_printed_first_loses_its_output_to_the_others)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    const struct node *page;
    struct core_stats s;
    struct token a, b;
    uint64_t g;

    daemon_limits(d);
    d->limits.logs_max = 3 * (OUTPUT_COST + 4);
    daemon_start(d);
    g = open_policy(d, 0, 0);
    a = start(d, g);
    b = start(d, g);
    say(d, a, "aaaa");
    say(d, b, "bbbb");
    say(d, a, "AAAA");
    say(d, b, "BBBB");
    page = logs(d, g, 0);
    ck_assert_uint_eq(entries_of(page), 3);
    ck_assert(is_chunk(page, 0, b, "bbbb") && is_lost(page, 1, a, 8));
    ck_assert(is_chunk(page, 2, b, "BBBB"));
    page = logs_of(d, true, a.job.n, 0, 0, CORE_UNSET);
    ck_assert(entries_of(page) == 1 && is_lost(page, 0, a, 8));
    say(d, a, "cccc"); /* it is the younger one from now on */
    say(d, a, "dddd");
    page = logs(d, g, 0);
    ck_assert_uint_eq(entries_of(page), 4);
    ck_assert(is_lost(page, 0, a, 8) && is_lost(page, 1, b, 8));
    ck_assert(is_chunk(page, 2, a, "cccc") && is_chunk(page, 3, a, "dddd"));
    core_stats(d->core, &s);
    ck_assert_int_eq(s.log_bytes, 2 * (OUTPUT_COST + 4));
    daemon_free(d);
}
END_TEST

START_TEST(what_forgotten_jobs_printed_takes_no_memory)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token quiet = start(d, g);
    struct core_stats before, after;

    say(d, quiet, "first");
    for (int i = 0; i < 3000; i++) {
        struct core_event ev = a_job("q");
        struct token t;

        ev.u.submit.keep_ms = 0;
        (void)submit_event(d, &ev);
        t = take(d);
        say(d, t, "x");
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        if (i == 10)
            core_stats(d->core, &before);
        d->nreplies = 0;
        arena_reset(&d->arena);
    }
    core_stats(d->core, &after);
    ck_assert_int_le(after.memory_bytes, before.memory_bytes + 1100 * 200);
    ck_assert_int_eq(after.log_bytes, OUTPUT_COST + 5);
    ck_assert(is_chunk(logs(d, g, 0), 0, quiet, "first"));
    ck_assert(is_ok(report(d, EVENT_DONE, quiet, "")));
    close_group(d, g);
    daemon_pass(d, INT64_C(8) * 24 * 3600 * 1000);
    core_stats(d->core, &after);
    ck_assert_int_eq(after.log_bytes, 0);
    daemon_free(d);
}
END_TEST

/* ------------------------------------------- any order, against a model */

#define CHUNKS 400
#define JOBS   6
#define GROUPS 4 /* the root, outer, inner in it, and one apart */

struct model {
    uint64_t groups[GROUPS];
    struct {
        struct token token;
        int group;
        int64_t kept, lost;
    } jobs[CHUNKS + JOBS];
    int njobs, running[JOBS];
    struct {
        int job;
        int64_t cursor, len;
        bool dropped;
        char text[16];
    } chunks[CHUNKS];
    int nchunks;
    int64_t end, log_max;
    uint64_t random;
};

static int below(struct model *m, int n)
{
    m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (int)((m->random >> 33) % (uint64_t)n);
}

static void model_start(struct daemon *d, struct model *m, int slot)
{
    struct core_event ev = a_job("q");
    int i = m->njobs++;

    m->running[slot] = i;
    m->jobs[i].group = below(m, GROUPS);
    ev.u.submit.group.n = m->groups[m->jobs[i].group];
    if (below(m, 2))
        ev.u.submit.keep_ms = 0;
    (void)submit_event(d, &ev);
    m->jobs[i].token = take(d);
}

static void model_say(struct daemon *d, struct model *m, int job)
{
    int n = m->nchunks++;

    m->chunks[n].job = job;
    m->chunks[n].cursor = m->end;
    m->chunks[n].len = snprintf(m->chunks[n].text, sizeof(m->chunks[n].text),
                                "%d%.*s", n, below(m, 6), "aaaaaa");
    m->end += m->chunks[n].len;
    m->jobs[job].kept += m->chunks[n].len;
    for (int i = 0; m->jobs[job].kept > m->log_max; i++) {
        if (m->chunks[i].job != job || m->chunks[i].dropped)
            continue;
        m->chunks[i].dropped = true;
        m->jobs[job].kept -= m->chunks[i].len;
        m->jobs[job].lost += m->chunks[i].len;
    }
    say(d, m->jobs[job].token, m->chunks[n].text);
}

/* What it printed is gone with it, when it is not kept. */
static void model_done(struct daemon *d, struct model *m, int job)
{
    ck_assert(is_ok(report(d, EVENT_DONE, m->jobs[job].token, "")));
    if (node_is_error(logs_of(d, true, m->jobs[job].token.job.n, 0, 0, 1),
                      CORE_ERR_NOJOB))
        m->jobs[job].group = -1;
}

static bool model_is_last_dropped(const struct model *m, int n)
{
    for (int i = n + 1; i < m->nchunks; i++)
        if (m->chunks[i].job == m->chunks[n].job && m->chunks[i].dropped)
            return false;
    return m->chunks[n].dropped;
}

/* A page from that cursor on is what the rules say it is; the next cursor. */
static int64_t model_page(struct daemon *d, const struct model *m, int group,
                          int64_t cursor, int64_t count)
{
    const struct node *page =
        logs_of(d, false, m->groups[group], cursor, 0, count);
    int64_t next = cursor_of(page);
    uint32_t at = 0;

    for (int n = 0; n < m->nchunks && m->chunks[n].cursor < next; n++) {
        int job = m->chunks[n].job, of = m->jobs[job].group;
        bool inside =
            of == group || (of >= 0 && group == 0) || (of == 2 && group == 1);

        if (m->chunks[n].cursor < cursor || !inside)
            continue;
        if (!m->chunks[n].dropped)
            ck_assert(
                is_chunk(page, at++, m->jobs[job].token, m->chunks[n].text));
        else if (model_is_last_dropped(m, n))
            ck_assert(is_lost(
                page, at++, m->jobs[job].token,
                min_i64(m->jobs[job].lost,
                        m->chunks[n].cursor + m->chunks[n].len - cursor)));
    }
    ck_assert_uint_eq(entries_of(page), at);
    ck_assert(at > 0 || next == cursor);
    return next;
}

START_TEST(whatever_happens_pages_are_as_the_rules_say)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct model *m = mem_zalloc(sizeof(*m));
    int64_t cursors[GROUPS], begin;

    daemon_limits(d);
    m->random = (uint64_t)_i + 1;
    m->log_max = d->limits.log_max = 16 + below(m, 100);
    daemon_start(d);
    m->groups[1] = open_policy(d, 0, 0);
    m->groups[2] = open_under_group(d, m->groups[1], 0);
    m->groups[3] = open_policy(d, 0, 0);
    begin = m->end = cursor_of(logs(d, 0, 0));
    for (int g = 0; g < GROUPS; g++)
        cursors[g] = begin;
    for (int slot = 0; slot < JOBS; slot++)
        model_start(d, m, slot);
    while (m->nchunks < CHUNKS) {
        int slot = below(m, JOBS), g = below(m, GROUPS);

        model_say(d, m, m->running[slot]);
        if (below(m, 8) == 0) {
            model_done(d, m, m->running[slot]);
            model_start(d, m, slot);
        }
        if (below(m, 3) == 0)
            cursors[g] = model_page(d, m, g, cursors[g], 1 + below(m, 60));
        if (below(m, 8) == 0)
            (void)model_page(d, m, g, begin, CORE_UNSET);
        d->nreplies = 0;
        arena_reset(&d->arena);
    }
    for (int g = 0; g < GROUPS; g++) {
        int64_t before = begin - 1;

        while (cursors[g] != before) {
            before = cursors[g];
            cursors[g] = model_page(d, m, g, before, 1 + below(m, 60));
        }
        ck_assert_int_eq(model_page(d, m, g, begin, CORE_UNSET), m->end);
    }
    daemon_free(d);
    mem_free(m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        logs_are_bounded,
        a_cursor_into_a_log_outlasts_a_restart,
        what_jobs_of_a_group_print_is_told_in_the_order_of_arrival,
        a_job_tells_when_it_printed_and_in_which_attempt,
        who_follows_a_group_is_told_of_its_jobs_alone_and_of_its_end,
        who_waits_in_vain_goes_on_where_it_was,
        a_page_ends_between_two_chunks,
        who_looks_for_little_among_much_is_led_there_in_steps,
        what_a_group_has_lost_is_said_in_its_place,
        the_job_that_printed_first_loses_its_output_to_the_others,
        what_forgotten_jobs_printed_takes_no_memory,
    };
    Suite *suite = suite_create("core_output");
    TCase *output = tcase_create("output");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(output, tests[i]);
    tcase_add_loop_test(output, whatever_happens_pages_are_as_the_rules_say, 0,
                        20);
    suite_add_tcase(suite, output);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
