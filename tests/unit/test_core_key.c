/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of KEY: what is asked for twice is made once.
 */
#include "daemon.h"

static struct core_event keyed(const char *queue, const char *key)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.key = str_from(key);
    return ev;
}

static uint64_t submit_key(struct daemon *d, const char *queue, const char *key)
{
    struct core_event ev = keyed(queue, key);

    return submit_event(d, &ev);
}

static void fill_queue(struct daemon *d)
{
    for (int i = 0; i < 9; i++)
        (void)submit(d, "q", 0);
}

static struct core_event keyed_group(const char *key)
{
    struct core_event ev = a_group();

    ev.u.group_open.key = str_from(key);
    return ev;
}

START_TEST(the_same_key_leads_to_the_first_job)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed("q", "k");
    uint64_t id = submit_event(d, &ev);

    ev.u.submit.payload = STR("something else");
    ev.u.submit.priority = 9;
    ev.u.submit.delay_ms = 1000;
    ck_assert_uint_eq(submit_event(d, &ev), id);
    ck_assert_int_eq(job(d, id).priority, CORE_PRIORITY_DEFAULT);
    ck_assert_int_eq(job(d, id).payload_bytes, 7);
    daemon_crash(d);
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    ck_assert_uint_ne(submit_key(d, "q", "K"), id);
    ck_assert_uint_ne(submit_key(d, "other", "k"), id);
    ck_assert_uint_ne(submit(d, "q", 0), id);
    daemon_free(d);
}
END_TEST

START_TEST(a_key_lasts_as_long_as_its_job_is_known)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed("q", "k");
    uint64_t id, next;

    ev.u.submit.keep_ms = 1000;
    id = submit_event(d, &ev);
    (void)report(d, EVENT_DONE, take(d), "");
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    daemon_crash(d);
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    daemon_pass(d, 1000);
    next = submit_key(d, "q", "k");
    ck_assert_uint_ne(next, id);
    /* That the first one was forgotten is not written down: a replay meets
     * both, and the later one has the key. */
    daemon_crash(d);
    ck_assert_uint_eq(submit_key(d, "q", "k"), next);
    daemon_free(d);
}
END_TEST

START_TEST(a_known_key_is_answered_whatever_else_would_be_refused)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed("q", "k");
    uint64_t id = submit_event(d, &ev);
    struct core_limits limits = d->limits;

    fill_queue(d);
    ev.u.submit.wait_ms = 0;
    ck_assert_uint_eq(submit_event(d, &ev), id);
    limits.memory_max = 1;
    limits.payload_max = 1;
    core_configure(d->core, &limits);
    ck_assert_uint_eq(submit_event(d, &ev), id);
    core_configure(d->core, &d->limits);
    daemon_tell(d, EVENT_DISK_FULL, true);
    ck_assert_uint_eq(submit_event(d, &ev), id);
    daemon_tell(d, EVENT_DISK_FULL, false);
    ev = (struct core_event){.kind = EVENT_QUEUE_CLOSE};
    ev.u.queue.name = STR("q");
    ev.u.queue.closed = true;
    ck_assert(is_ok(ask(d, 2, &ev)));
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    ev = keyed("q", "k");
    ev.u.submit.group.n = 12345; /* there is no such group */
    ck_assert_uint_eq(submit_event(d, &ev), id);
    daemon_tell(d, EVENT_DRAIN, true);
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    daemon_tell(d, EVENT_DRAIN, false);
    daemon_free(d);
}
END_TEST

START_TEST(several_that_wait_with_one_key_are_one_job)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed("q", "k");
    struct core_stats before, after;
    uint64_t id;

    fill_queue(d);
    (void)submit(d, "q", 0);
    ck_assert_ptr_null(ask(d, 6, &ev));
    ck_assert_ptr_null(ask(d, 7, &ev));
    ck_assert_ptr_null(ask(d, 8, &ev));
    leave(d, 8, DISCONNECT_BROKEN);
    core_stats(d->core, &before);
    (void)take(d);
    id = node_id(got(d, 6), 'j');
    ck_assert_uint_eq(node_id(got(d, 7), 'j'), id);
    core_stats(d->core, &after);
    ck_assert_int_eq(after.jobs, before.jobs + 1);
    ck_assert_uint_eq(submit_key(d, "q", "k"), id);
    daemon_free(d);
}
END_TEST

START_TEST(a_key_that_waits_in_vain_is_free_again)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed("q", "k");

    fill_queue(d);
    (void)submit(d, "q", 0);
    ev.u.submit.wait_ms = 20;
    ck_assert_ptr_null(ask(d, 6, &ev));
    ev.u.submit.wait_ms = 40;
    ck_assert_ptr_null(ask(d, 7, &ev));
    daemon_pass(d, 20);
    ck_assert(is_error(got(d, 6), CORE_ERR_QUEUEFULL));
    ck_assert_ptr_null(got(d, 7));
    daemon_pass(d, 20);
    ck_assert(is_error(got(d, 7), CORE_ERR_QUEUEFULL));
    (void)take(d);
    (void)submit_key(d, "q", "k");
    daemon_free(d);
}
END_TEST

START_TEST(keys_are_bounded)
{
    struct daemon *d = daemon_new();
    char text[CORE_KEY_MAX + 1];
    struct core_event ev = a_job("q");

    memset(text, 'x', sizeof(text));
    ev.u.submit.key = (struct str){text, CORE_KEY_MAX};
    (void)submit_event(d, &ev);
    ev.u.submit.key.len++;
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_TOOBIG));
    ev = a_group();
    ev.u.group_open.key = (struct str){text, CORE_KEY_MAX + 1};
    ck_assert(is_error(ask(d, 1, &ev), CORE_ERR_TOOBIG));
    daemon_free(d);
}
END_TEST

/* ----------------------------------------------------------------- groups */

START_TEST(the_same_key_leads_to_the_first_group)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed_group("k");
    uint64_t g = open_event(d, &ev), inner;

    ev.u.group_open.width = 3;
    ck_assert_uint_eq(open_event(d, &ev), g);
    ck_assert_int_eq(group(d, g).width, CORE_NONE);
    ev.u.group_open.parent.group.n = g;
    inner = open_event(d, &ev);
    ck_assert_uint_ne(inner, g);
    daemon_crash(d);
    ck_assert_uint_eq(open_event(d, &ev), inner);
    close_group(d, inner);
    ev.u.group_open.parent.group.n = 0;
    close_group(d, g);
    ck_assert(group(d, g).ended_state);
    ck_assert_uint_eq(open_event(d, &ev), g);
    daemon_pass(d, d->limits.queue_defaults.keep_ms);
    ck_assert_uint_ne(open_event(d, &ev), g);
    daemon_free(d);
}
END_TEST

START_TEST(groups_of_an_attempt_have_keys_of_their_own)
{
    struct daemon *d = daemon_new();
    struct core_event ev = a_job("q");
    struct token t;
    uint64_t first;

    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = ev.u.submit.backoff_cap_ms = 0;
    (void)submit_event(d, &ev);
    t = take(d);
    ev = keyed_group("k");
    ev.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    first = open_event(d, &ev);
    ck_assert_uint_eq(open_event(d, &ev), first);
    (void)report(d, EVENT_FAIL, t, "oops");
    ck_assert_uint_eq(open_event(d, &ev), first);
    daemon_pass(d, 1);
    t = take(d);
    ev.u.group_open.parent.token = t;
    ck_assert_uint_ne(open_event(d, &ev), first);
    daemon_free(d);
}
END_TEST

/* Who asks again is not the owner: the owner's end still takes the group. */
START_TEST(a_key_does_not_change_the_owner)
{
    struct daemon *d = daemon_new();
    struct core_event ev = keyed_group("k");
    uint64_t g;

    ev.u.group_open.detached = false;
    g = node_id(ask(d, 6, &ev), 'g');
    ck_assert_uint_eq(node_id(ask(d, 7, &ev), 'g'), g);
    leave(d, 7, DISCONNECT_CLEAN);
    ck_assert(!group(d, g).ended_state);
    leave(d, 6, DISCONNECT_CLEAN);
    ck_assert(group(d, g).ended_state);
    daemon_free(d);
}
END_TEST

static Suite *key_suite(void)
{
    Suite *suite = suite_create("core keys");
    TCase *jobs = tcase_create("jobs"), *groups = tcase_create("groups");

    tcase_add_test(jobs, the_same_key_leads_to_the_first_job);
    tcase_add_test(jobs, a_key_lasts_as_long_as_its_job_is_known);
    tcase_add_test(jobs,
                   a_known_key_is_answered_whatever_else_would_be_refused);
    tcase_add_test(jobs, several_that_wait_with_one_key_are_one_job);
    tcase_add_test(jobs, a_key_that_waits_in_vain_is_free_again);
    tcase_add_test(jobs, keys_are_bounded);
    tcase_add_test(groups, the_same_key_leads_to_the_first_group);
    tcase_add_test(groups, groups_of_an_attempt_have_keys_of_their_own);
    tcase_add_test(groups, a_key_does_not_change_the_owner);
    suite_add_tcase(suite, jobs);
    suite_add_tcase(suite, groups);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(key_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
