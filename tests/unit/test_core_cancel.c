/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of cancel and shield: a cancel is a level, in every state and from
 * every scope; the first reason stays; an end that was well is one. What a
 * shield does in time is in test_core_time.c.
 */
#include "daemon.h"

/* A job in some state, in `inner`, which is in `outer`. */
struct subject {
    uint64_t id, inner, outer;
    struct token token; /* of its attempt; attempt 1 if it has none */
    struct token child; /* JOINING: runs in a group under it */
};

static struct core_event a_member(const struct subject *s)
{
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = s->inner;
    return ev;
}

static void begin(struct daemon *d, struct subject *s, struct core_event *ev)
{
    s->id = submit_event(d, ev);
    s->token = take(d);
    ck_assert_uint_eq(s->token.job.n, s->id);
}

static void make_parked(struct daemon *d, struct subject *s)
{
    struct core_event open = a_group(), ev;

    open.u.group_open.parent.group.n = s->outer;
    open.u.group_open.width = 1;
    open.u.group_open.fail = 0;
    s->inner = open_event(d, &open);
    ev = a_member(s);
    (void)submit_event(d, &ev);
    (void)take(d);
    s->id = submit_event(d, &ev);
    ck_assert_uint_eq(fetch_from(d, 9, 1, 0, "q")->v.count, 0);
}

static void make_joining(struct daemon *d, struct subject *s)
{
    struct core_event ev = a_member(s);
    uint64_t below;

    begin(d, s, &ev);
    below = open_under_job(d, s->token);
    (void)submit(d, "q", below);
    s->child = take(d);
    ck_assert(is_ok(report(d, EVENT_DONE, s->token, "")));
}

static void make_delivering(struct daemon *d, struct subject *s)
{
    struct core_event set = {.kind = EVENT_QUEUE_SET}, ev = a_member(s);

    set.u.queue.name = STR("next");
    set.u.queue.settings = d->limits.queue_defaults;
    set.u.queue.settings.max_jobs = 1;
    ck_assert(is_ok(ask(d, 1, &set)));
    (void)submit(d, "next", 0);
    ev.u.submit.then = STR("next");
    begin(d, s, &ev);
    ck_assert(is_ok(report(d, EVENT_DONE, s->token, "")));
}

static struct subject make(struct daemon *d, enum view_state state)
{
    struct subject s = {.outer = open_policy(d, 0, 0)};
    struct core_event ev;

    s.inner = open_under_group(d, s.outer, 0);
    ev = a_member(&s);
    switch (state) {
    case VIEW_DELAYED:
        ev.u.submit.delay_ms = 1000;
        s.id = submit_event(d, &ev);
        break;
    case VIEW_PARKED:
        make_parked(d, &s);
        break;
    case VIEW_READY:
        s.id = submit_event(d, &ev);
        break;
    case VIEW_RUNNING:
        begin(d, &s, &ev);
        break;
    case VIEW_CANCELLING: /* because its own time was up */
        ev.u.submit.timeout_ms = 10;
        ev.u.submit.retry = 5;
        begin(d, &s, &ev);
        daemon_pass(d, 10);
        break;
    case VIEW_JOINING:
        make_joining(d, &s);
        break;
    case VIEW_DELIVERING:
        make_delivering(d, &s);
        break;
    case VIEW_FINISHED:
        begin(d, &s, &ev);
        ck_assert(is_ok(report(d, EVENT_DONE, s.token, "")));
        break;
    }
    if (!s.token.job.n)
        s.token = (struct token){.job = {s.id}, .attempt = 1};
    ck_assert_int_eq(job(d, s.id).state, state);
    return s;
}

enum way { BY_JOB, BY_GROUP, BY_OUTER, WAYS };

static void cancel_by(struct daemon *d, const struct subject *s, enum way way,
                      const char *reason)
{
    switch (way) {
    case BY_JOB:
        cancel_job(d, s->id, reason);
        return;
    case BY_GROUP:
        cancel_group(d, s->inner, reason);
        return;
    case BY_OUTER:
        cancel_group(d, s->outer, reason);
        return;
    case WAYS:
        break;
    }
    ck_abort_msg("no way to cancel");
}

/* What a cancel makes of a job in each state. */
static const struct {
    enum view_state after;
    enum view_outcome outcome;
    const char *reason; /* NULL: none */
} becomes[] = {
    [VIEW_DELAYED] = {VIEW_FINISHED, VIEW_CANCELLED, "first"},
    [VIEW_PARKED] = {VIEW_FINISHED, VIEW_CANCELLED, "first"},
    [VIEW_READY] = {VIEW_FINISHED, VIEW_CANCELLED, "first"},
    [VIEW_RUNNING] = {VIEW_CANCELLING, VIEW_NONE, "first"},
    /* it was asked already, for another reason that came first */
    [VIEW_CANCELLING] = {VIEW_CANCELLING, VIEW_NONE, "timeout"},
    [VIEW_JOINING] = {VIEW_JOINING, VIEW_NONE, "first"},
    [VIEW_DELIVERING] = {VIEW_FINISHED, VIEW_CANCELLED, "first"},
    [VIEW_FINISHED] = {VIEW_FINISHED, VIEW_OK, NULL},
};

#define STATES ((int)ARRAY_LEN(becomes))

static void is_as_cancelled(struct daemon *d, const struct subject *s,
                            enum view_state before)
{
    struct job_view v = job(d, s->id);

    ck_assert_int_eq(v.state, becomes[before].after);
    ck_assert_int_eq(v.outcome, becomes[before].outcome);
    if (becomes[before].reason)
        ck_assert(str_eq(v.reason, str_from(becomes[before].reason)));
    else
        ck_assert_ptr_null(v.reason.p);
}

/* Each _i is a state and a way. Asked once or twice, from wherever and in any
 * order, before a crash or after: it is the same cancel. */
START_TEST(a_cancel_is_a_level_in_every_state_and_from_every_scope)
{
    enum view_state state = (enum view_state)(_i / WAYS);
    enum way way = (enum way)(_i % WAYS);

    for (int again = 0; again < WAYS; again++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, state);

        cancel_by(d, &s, way, "first");
        is_as_cancelled(d, &s, state);
        cancel_by(d, &s, (enum way)again, "second");
        is_as_cancelled(d, &s, state);
        daemon_crash(d);
        is_as_cancelled(d, &s, state);
        daemon_pass(d, 5000); /* what was delayed would have started */
        ck_assert_uint_eq(fetch_from(d, 8, 10, 0, "q")->v.count, 0);
        daemon_free(d);
    }
}
END_TEST

/* Law 4: what is submitted into a cancelled scope is refused, whatever has
 * become of the members that it had. */
START_TEST(a_cancelled_scope_takes_nothing_whatever_is_in_it)
{
    for (int state = 0; state < STATES; state++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, (enum view_state)state);
        struct core_event ev = a_member(&s), open = a_group();

        open.u.group_open.parent.group.n = s.inner;
        cancel_group(d, s.outer, "first");
        ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CANCELLED));
        ck_assert(is_error(ask(d, 1, &open), CORE_ERR_CANCELLED));
        daemon_crash(d);
        ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_CANCELLED));
        daemon_free(d);
    }
}
END_TEST

/* `cancelled` when it has ended, never when it was asked to; and then all that
 * is below has. */
START_TEST(who_was_asked_ends_when_he_says_so)
{
    static const enum view_state asked[] = {VIEW_RUNNING, VIEW_CANCELLING,
                                            VIEW_JOINING};

    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, asked[i]);

        cancel_group(d, s.outer, "first");
        ck_assert(!group(d, s.outer).ended_state);
        ck_assert(is_ok(report(d, EVENT_FAIL,
                               asked[i] == VIEW_JOINING ? s.child : s.token,
                               "cancelled")));
        /* whose own time was up first has failed with that, but is not tried
         * again */
        ck_assert_int_eq(job(d, s.id).outcome, asked[i] == VIEW_CANCELLING
                                                   ? VIEW_FAILED
                                                   : VIEW_CANCELLED);
        ck_assert(group(d, s.inner).ended_state);
        ck_assert_int_eq(group(d, s.outer).outcome, VIEW_CANCELLED);
        daemon_free(d);
    }
}
END_TEST

START_TEST(a_job_that_ends_ok_although_asked_to_stop_is_ok)
{
    for (int way = 0; way < WAYS; way++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, VIEW_RUNNING);

        cancel_by(d, &s, (enum way)way, "first");
        ck_assert(is_ok(report(d, EVENT_DONE, s.token, "")));
        ck_assert_int_eq(job(d, s.id).outcome, VIEW_OK);
        ck_assert_int_eq(group(d, s.inner).ok, 1);
        daemon_free(d);
    }
}
END_TEST

/* Its error is kept; it will not be tried again. */
START_TEST(a_job_that_fails_although_asked_to_stop_has_failed)
{
    struct daemon *d = daemon_new();
    struct subject s = make(d, VIEW_RUNNING);

    cancel_group(d, s.outer, "first");
    ck_assert(is_ok(report(d, EVENT_FAIL, s.token, "exit:9")));
    ck_assert_int_eq(job(d, s.id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, s.id), STR("exit:9")));
    ck_assert(str_eq(job(d, s.id).reason, STR("first")));
    daemon_free(d);
}
END_TEST

/* As a TaskGroup that is cancelled while members fail raises their errors, and
 * the task around it stays cancelled. */
START_TEST(outside_cancel_and_failures_keep_both_and_the_cancel_goes_on)
{
    struct daemon *d = daemon_new();
    uint64_t outer = open_policy(d, 0, 0);
    uint64_t inner = open_under_group(d, outer, 1), sibling;
    struct token failing, stopping, other;

    (void)submit(d, "q", inner);
    failing = take(d);
    (void)submit(d, "q", inner);
    stopping = take(d);
    sibling = submit(d, "q", outer);
    other = take(d);
    cancel_group(d, outer, "outside");
    ck_assert(is_ok(report(d, EVENT_FAIL, failing, "exit:1")));
    ck_assert(is_ok(report(d, EVENT_FAIL, stopping, "cancelled")));
    /* the errors are reported ... */
    ck_assert_int_eq(group(d, inner).outcome, VIEW_FAILED);
    ck_assert_int_eq(group(d, inner).failed, 1);
    ck_assert(str_eq(group(d, inner).reason, STR("outside")));
    ck_assert(str_eq(last_class(d, failing.job.n), STR("exit:1")));
    /* ... and the cancel goes on */
    ck_assert_int_eq(job(d, sibling).state, VIEW_CANCELLING);
    ck_assert(!group(d, outer).ended_state);
    ck_assert(is_ok(report(d, EVENT_FAIL, other, "cancelled")));
    ck_assert_int_eq(group(d, outer).outcome, VIEW_CANCELLED);
    ck_assert(str_eq(group(d, outer).reason, STR("outside")));
    daemon_free(d);
}
END_TEST

/* -------------------------------------------------------------- the reasons */

START_TEST(of_the_reasons_of_nested_scopes_the_first_stays)
{
    struct daemon *d = daemon_new();
    struct subject s = make(d, VIEW_RUNNING);

    cancel_job(d, s.id, "the job's");
    cancel_group(d, s.inner, "the group's");
    cancel_group(d, s.outer, "the outer one's");
    ck_assert(str_eq(job(d, s.id).reason, STR("the job's")));
    ck_assert(str_eq(group(d, s.inner).reason, STR("the group's")));
    ck_assert(str_eq(group(d, s.outer).reason, STR("the outer one's")));
    daemon_free(d);
}
END_TEST

START_TEST(a_policy_that_acts_first_keeps_its_reason)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), id;
    struct token failing, t;

    (void)submit(d, "q", g);
    id = submit(d, "q", g);
    failing = take(d);
    t = take(d);
    ck_assert(is_ok(report(d, EVENT_FAIL, failing, "exit:1")));
    cancel_group(d, g, "outside");
    ck_assert(str_eq(group(d, g).reason, STR("a member failed")));
    ck_assert(str_eq(job(d, id).reason, STR("a member failed")));
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(group(d, g).outcome, VIEW_FAILED);
    daemon_free(d);
}
END_TEST

/* -------------------------------------------------------------- the shield */

static const struct node *shield(struct daemon *d, struct token t)
{
    struct core_event ev = a_report(EVENT_SHIELD, t, "");

    ev.u.report.shield_ms = 1000;
    return ask(d, 9, &ev);
}

START_TEST(only_a_body_that_runs_and_was_not_asked_can_be_shielded)
{
    for (int state = 0; state < STATES; state++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, (enum view_state)state);
        const struct node *n = shield(d, s.token);

        if (state == VIEW_RUNNING)
            ck_assert_int_eq(node_int(n), 1000);
        else
            ck_assert(is_error(n, state == VIEW_CANCELLING ? CORE_ERR_CANCELLED
                                                           : CORE_ERR_STALE));
        daemon_free(d);
    }
}
END_TEST

/* While it lasts nobody is told, whoever cancels; its end delivers the first
 * reason, once. */
START_TEST(a_shield_holds_back_each_way_to_cancel_and_delivers_the_first)
{
    for (int way = 0; way < WAYS; way++) {
        struct daemon *d = daemon_new();
        struct subject s = make(d, VIEW_RUNNING);
        const struct node *n;

        ck_assert_int_eq(node_int(shield(d, s.token)), 1000);
        cancel_by(d, &s, (enum way)way, "first");
        cancel_by(d, &s, BY_OUTER, "second");
        ck_assert_int_eq(job(d, s.id).state, VIEW_RUNNING);
        ck_assert_uint_eq(fetch_from(d, 9, 0, 0, "q")->v.count, 0);
        daemon_pass(d, 1000);
        ck_assert_int_eq(job(d, s.id).state, VIEW_CANCELLING);
        n = fetch_from(d, 9, 0, 0, "q");
        ck_assert_uint_eq(n->v.count, 1);
        ck_assert(
            str_eq(node_str(node_item(node_item(n, 0), 2)), STR("first")));
        ck_assert_uint_eq(fetch_from(d, 9, 0, 0, "q")->v.count, 0);
        daemon_free(d);
    }
}
END_TEST

START_TEST(its_own_timeout_holds_under_a_shield_that_keeps_a_cancel_back)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t id;

    ev.u.submit.timeout_ms = 100;
    ev.u.submit.retry = 5; /* after a cancel there is no other attempt */
    id = submit_event(d, &ev);
    t = take(d);
    ck_assert_int_eq(node_int(shield(d, t)), 1000);
    cancel_job(d, id, "first");
    daemon_pass(d, 99);
    ck_assert_int_eq(job(d, id).state, VIEW_RUNNING);
    daemon_pass(d, 1);
    ck_assert_int_eq(job(d, id).state, VIEW_CANCELLING);
    ck_assert(is_ok(report(d, EVENT_FAIL, t, "cancelled")));
    ck_assert_int_eq(job(d, id).outcome, VIEW_FAILED);
    ck_assert(str_eq(last_class(d, id), STR("timeout")));
    ck_assert(str_eq(job(d, id).reason, STR("first")));
    daemon_free(d);
}
END_TEST

static Suite *cancel_suite(void)
{
    Suite *suite = suite_create("core cancel");
    TCase *level = tcase_create("level"), *reasons = tcase_create("reasons");
    TCase *shields = tcase_create("shields");

    tcase_add_loop_test(level,
                        a_cancel_is_a_level_in_every_state_and_from_every_scope,
                        0, STATES * WAYS);
    tcase_add_test(level, a_cancelled_scope_takes_nothing_whatever_is_in_it);
    tcase_add_test(level, who_was_asked_ends_when_he_says_so);
    tcase_add_test(level, a_job_that_ends_ok_although_asked_to_stop_is_ok);
    tcase_add_test(level, a_job_that_fails_although_asked_to_stop_has_failed);
    tcase_add_test(
        level, outside_cancel_and_failures_keep_both_and_the_cancel_goes_on);
    tcase_add_test(reasons, of_the_reasons_of_nested_scopes_the_first_stays);
    tcase_add_test(reasons, a_policy_that_acts_first_keeps_its_reason);
    tcase_add_test(shields,
                   only_a_body_that_runs_and_was_not_asked_can_be_shielded);
    tcase_add_test(
        shields, a_shield_holds_back_each_way_to_cancel_and_delivers_the_first);
    tcase_add_test(
        shields, its_own_timeout_holds_under_a_shield_that_keeps_a_cancel_back);
    suite_add_tcase(suite, level);
    suite_add_tcase(suite, reasons);
    suite_add_tcase(suite, shields);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(cancel_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
