/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of policies: all combinations of FAIL and SUCCEED, of what becomes
 * of the members, of when the group is closed and of a cancel from outside,
 * against a few lines of naive model.
 */
#include "daemon.h"

#define MEMBERS  3
#define FAIL_MAX (MEMBERS + 2) /* 0, 1 ... more than there are */
#define ENDS     27            /* 3 to the power of MEMBERS */
#define NEVER    (MEMBERS + 1)

/* How a member ends, whether it was asked to or not. */
enum end { END_OK, END_FAILED, END_CANCELLED };

enum why { WHY_NOT, WHY_FAIL, WHY_SUCCEED, WHY_UNREACHABLE, WHY_OUTSIDE };

/* One course of events. */
struct course {
    int64_t fail, succeed;
    enum end ends[MEMBERS];
    int closed_after;    /* so many ends */
    int cancelled_after; /* likewise; NEVER */
};

/* ------------------------------------------------------------- the model */

struct model {
    const struct course *course;
    int64_t ok, failed, cancelled, live;
    bool closed;
    enum why why;
};

static void model_judge(struct model *m)
{
    const struct course *c = m->course;

    if (m->why != WHY_NOT)
        return;
    if (c->fail > 0 && m->failed >= c->fail)
        m->why = WHY_FAIL;
    else if (c->succeed > 0 && m->ok >= c->succeed)
        m->why = WHY_SUCCEED;
    else if (c->succeed > 0 && m->closed && m->ok + m->live < c->succeed)
        m->why = WHY_UNREACHABLE;
}

static void model_end(struct model *m, enum end end)
{
    m->live--;
    m->ok += end == END_OK;
    m->failed += end == END_FAILED;
    m->cancelled += end == END_CANCELLED;
    model_judge(m);
}

static enum view_outcome model_outcome(const struct model *m)
{
    const struct course *c = m->course;

    switch (m->why) {
    case WHY_FAIL:
    case WHY_UNREACHABLE:
        return VIEW_FAILED;
    case WHY_SUCCEED:
        return VIEW_OK;
    case WHY_OUTSIDE: /* errors and successes that are enough are kept */
        return c->fail > 0 && m->failed >= c->fail     ? VIEW_FAILED
               : c->succeed > 0 && m->ok >= c->succeed ? VIEW_OK
                                                       : VIEW_CANCELLED;
    case WHY_NOT:
        return VIEW_OK;
    }
    return VIEW_NONE;
}

/* --------------------------------------------------------------- the core */

static const char *reason_of(enum why why)
{
    static const char *const reasons[] = {
        NULL, "a member failed", "enough members succeeded",
        "too few members can still succeed", "outside"};

    return reasons[why];
}

static void compare(struct daemon *d, uint64_t g, const struct token *tokens,
                    int ended, const struct model *m)
{
    struct group_view v = group(d, g);
    const char *reason = reason_of(m->why);

    ck_assert_int_eq(v.ok, m->ok);
    ck_assert_int_eq(v.failed, m->failed);
    ck_assert_int_eq(v.cancelled, m->cancelled);
    ck_assert(reason ? str_eq(v.reason, str_from(reason)) : !v.reason.p);
    /* Over when nothing is left that could run, never before. */
    ck_assert_int_eq(v.ended_state,
                     m->live == 0 && (m->closed || m->why != WHY_NOT));
    if (v.ended_state)
        ck_assert_int_eq(v.outcome, model_outcome(m));
    /* Who runs still is asked to stop, spared is nobody. */
    for (int i = ended; i < MEMBERS; i++)
        ck_assert_int_eq(job(d, tokens[i].job.n).state,
                         m->why == WHY_NOT ? VIEW_RUNNING : VIEW_CANCELLING);
}

static void end_member(struct daemon *d, struct token t, enum end end,
                       bool asked)
{
    switch (end) {
    case END_OK:
        ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
        return;
    case END_FAILED:
        ck_assert(is_ok(report(d, EVENT_FAIL, t, "exit:1")));
        return;
    case END_CANCELLED:
        if (!asked)
            cancel_job(d, t.job.n, "not needed");
        ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
        return;
    }
}

static void run_course(struct daemon *d, const struct course *course)
{
    struct model m = {.course = course, .live = MEMBERS};
    struct core_event open = a_group();
    struct token tokens[MEMBERS];
    uint64_t g;

    open.u.group_open.fail = course->fail;
    open.u.group_open.succeed = course->succeed;
    open.u.group_open.keep_ms = 1; /* or each step would check all of them */
    g = open_event(d, &open);
    for (int i = 0; i < MEMBERS; i++)
        (void)submit(d, "q", g);
    for (int i = 0; i < MEMBERS; i++)
        tokens[i] = take(d);
    for (int i = 0; i <= MEMBERS; i++) {
        if (course->closed_after == i) {
            close_group(d, g);
            m.closed = true;
            model_judge(&m);
        }
        if (course->cancelled_after == i && !group(d, g).ended_state) {
            cancel_group(d, g, "outside");
            if (m.why == WHY_NOT)
                m.why = WHY_OUTSIDE;
        }
        if (course->closed_after == i || course->cancelled_after == i)
            compare(d, g, tokens, i, &m);
        if (i == MEMBERS)
            break;
        end_member(d, tokens[i], course->ends[i], m.why != WHY_NOT);
        model_end(&m, course->ends[i]);
        compare(d, g, tokens, i + 1, &m);
        arena_reset(&d->arena);
        d->nreplies = 0;
    }
    daemon_pass(d, 1);
    ck_assert(!group(d, g).found);
}

/* Each _i is a pair of FAIL and SUCCEED. */
START_TEST(every_policy_does_what_its_two_numbers_say)
{
    struct course c = {.fail = _i / FAIL_MAX, .succeed = _i % FAIL_MAX};

    for (c.closed_after = 0; c.closed_after <= MEMBERS; c.closed_after++) {
        struct daemon *d = daemon_new();

        for (c.cancelled_after = 0; c.cancelled_after <= NEVER;
             c.cancelled_after++)
            for (int ends = 0; ends < ENDS; ends++) {
                int rest = ends;

                for (int i = 0; i < MEMBERS; i++, rest /= 3)
                    c.ends[i] = (enum end)(rest % 3);
                run_course(d, &c);
            }
        daemon_free(d);
    }
}
END_TEST

/* ------------------------------------------------------- what has no table */

START_TEST(first_done_ends_with_the_first_end_good_or_bad)
{
    for (int good = 0; good < 2; good++) {
        struct daemon *d = daemon_new();
        uint64_t g = open_policy(d, 1, 1), queued;
        struct token first, second;

        (void)submit(d, "q", g);
        (void)submit(d, "q", g);
        queued = submit(d, "q", g);
        first = take(d);
        second = take(d);
        ck_assert(
            is_ok(report(d, good ? EVENT_DONE : EVENT_FAIL, second, "exit:1")));
        ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
        ck_assert_int_eq(job(d, first.job.n).state, VIEW_CANCELLING);
        ck_assert(!group(d, g).ended_state); /* the loser is awaited */
        ck_assert(is_ok(report(d, EVENT_FAIL, first, "cancelled")));
        ck_assert_int_eq(group(d, g).outcome, good ? VIEW_OK : VIEW_FAILED);
        daemon_free(d);
    }
}
END_TEST

START_TEST(a_quorum_of_more_than_there_are_fails_when_it_is_closed)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 3), one = submit(d, "q", g);

    (void)submit(d, "q", g);
    ck_assert_int_eq(job(d, one).state, VIEW_READY); /* more may come */
    close_group(d, g);
    ck_assert_int_eq(job(d, one).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    daemon_free(d);
}
END_TEST

static const struct node *close_with(struct daemon *d, uint64_t g, int64_t fail,
                                     int64_t succeed)
{
    struct core_event ev = {
        .kind = EVENT_GROUP_CLOSE,
        .u.group = {
            .id = {g}, .policy = true, .fail = fail, .succeed = succeed}};

    return ask(d, 4, &ev);
}

START_TEST(numbers_that_come_with_the_close_count_what_has_ended)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), queued;

    for (int i = 0; i < 2; i++) {
        (void)submit(d, "q", g);
        ck_assert(is_ok(report(d, EVENT_FAIL, take(d), "exit:1")));
    }
    queued = submit(d, "q", g);
    ck_assert_int_eq(job(d, queued).state, VIEW_READY);
    ck_assert(is_ok(close_with(d, g, 2, CORE_UNSET)));
    ck_assert_int_eq(job(d, queued).outcome, VIEW_CANCELLED);
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    daemon_crash(d);
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    daemon_free(d);
}
END_TEST

START_TEST(numbers_of_a_close_survive_a_crash_and_come_once)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 2), other = open_policy(d, 0, 2);
    struct token t[2];

    for (int i = 0; i < 2; i++)
        (void)submit(d, "q", g);
    for (int i = 0; i < 2; i++)
        t[i] = take(d);
    ck_assert(is_ok(close_with(d, g, 0, CORE_UNSET)));
    ck_assert(is_ok(close_with(d, g, 1, 1))); /* it is closed already */
    daemon_crash(d);
    ck_assert(is_ok(report(d, EVENT_FAIL, t[0], "exit:1")));
    /* FAIL 0 now, but the SUCCEED 2 of the opening cannot be any more */
    ck_assert(
        str_eq(group(d, g).reason, STR("too few members can still succeed")));
    ck_assert(is_ok(report(d, EVENT_DONE, t[1], "")));
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    ck_assert(is_ok(close_with(d, other, CORE_UNSET, 0)));
    ck_assert_int_eq(group(d, other).outcome, VIEW_OK);
    daemon_free(d);
}
END_TEST

/* They are closed in slices: one that none has come to took the numbers. */
START_TEST(numbers_that_come_after_the_body_is_done_change_nothing)
{
    struct daemon *d = mem_zalloc(sizeof(*d));
    struct core_event done = {.kind = EVENT_DONE, .client = {9}};
    struct core_event close = {
        .kind = EVENT_GROUP_CLOSE,
        .client = {9},
        .u.group = {.policy = true, .fail = CORE_UNSET, .succeed = 1}};
    uint64_t groups[5], n = 0;

    core_limits_init(&d->limits);
    d->limits.step_work = 1;
    daemon_start(d);
    (void)submit(d, "q", 0);
    done.u.report.token = take(d);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        groups[i] = open_under_job(d, done.u.report.token);
    daemon_one(d, &done);
    ck_assert(is_ok(got(d, 9)));
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        n += group(d, groups[i]).open;
        close.u.group.id.n = groups[i];
        daemon_one(d, &close);
        ck_assert(is_ok(got(d, 9)));
        ck_assert_int_eq(group(d, groups[i]).succeed, 0);
    }
    ck_assert_uint_gt(n, 0); /* or there was nothing to be seen */
    daemon_free(d);
}
END_TEST

static Suite *policy_suite(void)
{
    Suite *suite = suite_create("core policies");
    TCase *table = tcase_create("table"), *close = tcase_create("close");

    tcase_add_loop_test(table, every_policy_does_what_its_two_numbers_say, 0,
                        FAIL_MAX * FAIL_MAX);
    tcase_set_timeout(table, 120);
    tcase_add_test(close, first_done_ends_with_the_first_end_good_or_bad);
    tcase_add_test(close,
                   a_quorum_of_more_than_there_are_fails_when_it_is_closed);
    tcase_add_test(close,
                   numbers_that_come_with_the_close_count_what_has_ended);
    tcase_add_test(close, numbers_of_a_close_survive_a_crash_and_come_once);
    tcase_add_test(close,
                   numbers_that_come_after_the_body_is_done_change_nothing);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, close);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(policy_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
