/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a libyoke handle whose connection breaks. They hold over a layer
 * as over plain sockets: the program is built for either.
 */
#include "host.h"

static int submit(yoke *y, char id[YOKE_ID_SIZE])
{
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = "q";
    s.payload = bytes("x");
    return yoke_submit(y, &s, id);
}

/* ------------------------------------------------------------ asked again */

static void lose_a_wait(struct peer *p)
{
    (void)peer_expect(p, "WAIT j1 -1");
}

static void resume_and_end(struct peer *p)
{
    if (back(p) && peer_expect(p, "WAIT j1 -1"))
        peer_say(p, ENDED);
}

START_TEST(a_wait_waits_on_over_the_next_connection)
{
    yoke *y = VISIT(lose_a_wait, resume_and_end);
    struct yoke_outcome_info *o = NULL;
    int fd = yoke_fd(y);

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    ck_assert_int_eq(o->outcome, YOKE_SUCCEEDED);
    ck_assert_int_eq(yoke_fd(y), fd);
    ck_assert_uint_gt(yoke_fd_changes(y), 0);
    ck_assert_int_eq(yoke_timeout_ms(y), YOKE_NONE);
    yoke_outcome_free(o);
    leave();
}
END_TEST

static void half_a_reply(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1"))
        peer_line(p, "*12\r\n$2\r\nid\r\n$2\r\nj1\r\n$4\r\nki");
}

static void break_in_the_greeting(struct peer *p)
{
    if (asked_to_resume(p))
        peer_line(p, "*1\r\n$5\r\nj9");
}

static void still_loading(struct peer *p)
{
    if (peer_expect(p, "HELLO 2"))
        peer_line(p, "-LOADING the journal is replayed");
}

START_TEST(half_answers_are_forgotten_and_greetings_tried_again)
{
    yoke *y = VISIT(half_a_reply, cut, break_in_the_greeting, still_loading,
                    resume_and_end);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    ck_assert_str_eq(o->result.data, "fine");
    ck_assert_int_eq(atomic_load(&host.connections), 5);
    yoke_outcome_free(o);
    leave();
}
END_TEST

static void lose_a_submit(struct peer *p)
{
    if (peer_expect(p, "SUBMIT q x ONCE 1 0"))
        peer_say(p, "j1");
    (void)peer_expect(p, "SUBMIT q x ONCE 2 0");
}

static void answer_the_second(struct peer *p)
{
    if (back(p) && peer_expect(p, "SUBMIT q x ONCE 2 0"))
        peer_say(p, "j2");
    if (peer_expect(p, "SUBMIT q x ONCE 3 0"))
        peer_say(p, "j3");
}

START_TEST(a_submit_is_numbered_and_asked_again_with_its_number)
{
    yoke *y = VISIT(lose_a_submit, answer_the_second);
    char id[YOKE_ID_SIZE];

    for (int i = 1; i <= 3; i++) {
        char want[4];

        (void)snprintf(want, sizeof(want), "j%d", i);
        ck_assert_int_eq(submit(y, id), 0);
        ck_assert_str_eq(id, want);
    }
    leave();
}
END_TEST

static void answer_one_of_three(struct peer *p)
{
    if (peer_expect(p, "SUBMIT q x ONCE 1 0") &&
        peer_expect(p, "LOG j9.1 1 text") &&
        peer_expect(p, "submit q x ONCE 2 1") && peer_expect(p, "CANCEL j1"))
        peer_say(p, "j1");
}

static void answer_the_rest(struct peer *p)
{
    if (back(p) && peer_expect(p, "submit q x ONCE 2 1"))
        peer_say(p, "j2");
    if (peer_expect(p, "CANCEL j1"))
        peer_say(p, "+OK");
}

START_TEST(callbacks_come_in_order_also_of_what_is_not_asked_again)
{
    yoke *y = VISIT(answer_one_of_three, answer_the_rest);
    struct calls c = {""};

    ck_assert_int_eq(yoke_sendl(y, note, &c, "SUBMIT", "q", "x", NULL), 0);
    ck_assert_int_eq(yoke_sendl(y, note, &c, "LOG", "j9.1", "1", "text", NULL),
                     0);
    ck_assert_int_eq(yoke_sendl(y, note, &c, "submit", "q", "x", NULL), 0);
    ck_assert_int_eq(yoke_sendl(y, note, &c, "CANCEL", "j1", NULL), 0);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_str_eq(c.text, "j1 io j2 OK");
    leave();
}
END_TEST

static void break_at_once(struct peer *p)
{
    cut(p);
    atomic_store(&p->step, 1);
}

static void log_only(struct peer *p)
{
    if (back(p) && peer_expect(p, "LOG j9.1 1 text"))
        peer_say(p, "+OK");
}

/* What is known to have gone nowhere is sent for the first time. */
START_TEST(a_break_that_is_noticed_before_costs_nothing)
{
    yoke *y = VISIT(break_at_once, log_only);

    await_step(&peer, 1);
    ck_assert_int_eq(yoke_log(y, "j9.1", 1, bytes("text")), 0);
    leave();
}
END_TEST

static void subscribed_then_events(struct peer *p)
{
    if (back(p) && peer_expect(p, "SUBSCRIBE job:j1"))
        peer_say(p, "[ subscribe job:j1 :1 ] [ message job:j1 one ]");
    if (peer_expect(p, "SUBSCRIBE job:j2"))
        peer_say(p, "[ subscribe job:j2 :2 ]");
}

static void count_message(yoke *y, const struct yoke_message *m, void *arg)
{
    (void)y;
    (void)m;
    ++*(int *)arg;
}

/* Nothing was subscribed to before: no message can have been missed. */
START_TEST(a_break_before_the_first_subscription_is_restored)
{
    yoke *y = VISIT(break_at_once, still_loading, subscribed_then_events);
    const char *channels[] = {"job:j1", "job:j2"};
    int messages = 0;

    await_step(&peer, 1);
    ck_assert_int_eq(yoke_subscribe(y, 2, channels, count_message, &messages),
                     0);
    ck_assert_int_eq(messages, 1);
    leave();
}
END_TEST

static void subscribed_then_cut(struct peer *p)
{
    if (peer_expect(p, "SUBSCRIBE job:j1"))
        peer_say(p, "[ subscribe job:j1 :1 ]");
}

START_TEST(a_break_of_a_subscribed_connection_is_final)
{
    script_fn *const scripts[] = {subscribed_then_cut, deaf};
    yoke *y = visit_for(30000, 60000, scripts, 2);
    const char *channel = "job:j1";
    int messages = 0;

    ck_assert_int_eq(yoke_subscribe(y, 1, &channel, count_message, &messages),
                     0);
    while (yoke_process(y) == 0) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};

        ck_assert_int_gt(poll(&p, 1, PATIENCE_MS), 0);
    }
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_IO);
    leave();
}
END_TEST

/* --------------------------------------------------------------- attempts */

static void lose_a_fetch(struct peer *p)
{
    if (peer_expect(p, "FETCH 2 10000 mail"))
        peer_say(p, A_JOB);
    (void)peer_expect(p, "FETCH 2 5000 mail"); /* it holds one now */
}

static void release_what_was_lost(struct peer *p)
{
    if (!asked_to_resume(p))
        return;
    peer_say(p, "[ j7.2 j8.1 ]");
    if (!peer_expect(p, "RELEASE j8.1") || !peer_expect(p, "FETCH 2 5000 mail"))
        return;
    peer_say(p, "+OK [ [ job j9.1 mail x [ ] ] ]");
    (void)peer_expect(p, "DONE j7.2 fine"); /* ... and breaks again */
}

static void done_again(struct peer *p)
{
    if (!asked_to_resume(p))
        return;
    peer_say(p, "[ j9.1 ]"); /* the report has arrived */
    if (peer_expect(p, "DONE j7.2 fine"))
        peer_say(p, "+OK");
    (void)peer_expect(p, "RELEASE j9.1");
}

static void released_already(struct peer *p)
{
    if (!back(p) || !peer_expect(p, "RELEASE j9.1"))
        return;
    peer_line(p, "-STALE it is not running");
}

START_TEST(jobs_of_a_lost_reply_are_given_back_and_reports_said_again)
{
    yoke *y = VISIT(lose_a_fetch, release_what_was_lost, done_again,
                    released_already);
    const char *queue = "mail";

    for (int i = 0; i < 2; i++) {
        struct yoke_work_list *w;

        ck_assert_int_eq(yoke_fetch(y, 2, YOKE_NONE, 1, &queue, &w), 0);
        ck_assert_uint_eq(w->count, 1);
        ck_assert_str_eq(w->items[0].token, i == 0 ? "j7.2" : "j9.1");
        yoke_work_free(w);
    }
    ck_assert_int_eq(yoke_done(y, "j7.2", bytes("fine")), 0);
    ck_assert_int_eq(yoke_release(y, "j9.1"), 0);
    leave();
}
END_TEST

static void give_a_job(struct peer *p)
{
    if (peer_expect(p, "FETCH 1 10000 mail"))
        peer_say(p, A_JOB);
    (void)peer_expect(p, "TOUCH j7.2");
}

static void hold_nothing(struct peer *p)
{
    (void)back(p);
}

static void no_session(struct peer *p)
{
    if (asked_to_resume(p))
        peer_line(p, "-NOSESSION no such session");
}

static void take_a_job(yoke *y)
{
    const char *queue = "mail";
    struct yoke_work_list *w;

    ck_assert_int_eq(yoke_fetch(y, 1, YOKE_NONE, 1, &queue, &w), 0);
    yoke_work_free(w);
}

START_TEST(a_worker_whose_jobs_are_gone_is_told_so_for_good)
{
    script_fn *const ends[] = {hold_nothing, no_session};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        yoke *y = VISIT(give_a_job, ends[i]);

        take_a_job(y);
        ck_assert_int_eq(yoke_touch(y, "j7.2", NULL, NULL), YOKE_ERR_NOSESSION);
        ck_assert_int_eq(yoke_done(y, "j7.2", bytes("")), YOKE_ERR_NOSESSION);
        leave();
    }
}
END_TEST

static void give_a_job_and_go(struct peer *p)
{
    if (peer_expect(p, "FETCH 1 50 mail"))
        peer_say(p, A_JOB);
}

/* Nobody listens any more: the lease decides, not the patience. */
START_TEST(a_worker_gives_up_while_its_lease_still_holds)
{
    script_fn *const scripts[] = {give_a_job_and_go, deaf};
    yoke *y = visit_for(3000, 60000, scripts, 2);
    const char *queue = "mail";
    struct yoke_work_list *w;

    ck_assert_int_eq(yoke_fetch(y, 1, 50, 1, &queue, &w), 0);
    yoke_work_free(w);
    ck_assert_int_eq(yoke_touch(y, "j7.2", NULL, NULL), YOKE_ERR_IO);
    ck_assert_int_gt(yoke_lease_left_ms(y), 0);
    leave();
}
END_TEST

/* Takes what comes and says no more, until the client is gone. */
static void swallow(struct peer *p)
{
    while (peer_read(p))
        continue;
}

static void give_a_job_then_swallow(struct peer *p)
{
    if (peer_read(p))
        peer_say(p, A_JOB);
    swallow(p);
}

static void still_its_own(struct peer *p)
{
    if (!asked_to_resume(p))
        return;
    peer_say(p, "[ j7.2 ]");
    for (int i = 0; i < 2 && peer_read(p); i++) /* FETCH; what came with it */
        peer_say(p, i == 0 ? "[ [ cancel j7.2 why :99 ] ]" : "+OK");
}

/* While the peer is silent nothing is closed: only its lease tells a worker
 * that it has to look for another way, while there is time. */
START_TEST(a_worker_leaves_a_silent_connection_while_its_lease_holds)
{
    script_fn *const scripts[] = {give_a_job_then_swallow, still_its_own};
    yoke *y = visit_for(3000, 0, scripts, 2);
    const char *queue = "mail";
    struct yoke_work_list *w;

    take_a_job(y);
    ck_assert_int_eq(yoke_fetch(y, 1, YOKE_NONE, 1, &queue, &w), 0);
    ck_assert_int_eq(w->items[0].notice, YOKE_NOTICE_CANCEL);
    ck_assert_int_eq(atomic_load(&host.connections), 2);
    ck_assert_int_gt(yoke_lease_left_ms(y), 0);
    yoke_work_free(w);
    leave();
}
END_TEST

START_TEST(a_silent_peer_leaves_a_worker_without_a_way_time_to_stop_its_jobs)
{
    script_fn *const scripts[] = {give_a_job_then_swallow, swallow, swallow};
    yoke *y = visit_for(3000, 60000, scripts, 3);

    take_a_job(y);
    ck_assert_int_eq(yoke_touch(y, "j7.2", NULL, NULL), YOKE_ERR_IO);
    ck_assert_int_gt(yoke_lease_left_ms(y), 0);
    while (atomic_load(&host.connections) < 3) { /* scripts that nobody met */
        yoke *other;

        (void)host_open(&(struct yoke_options){.connect_timeout_ms = 1},
                        &other);
        yoke_abandon(other);
    }
    leave();
}
END_TEST

static void ping_comes_by_itself(struct peer *p)
{
    if (peer_expect(p, "FETCH 1 -1 mail"))
        peer_say(p, A_JOB);
    if (peer_expect(p, "FETCH 1 -1 mail") && peer_expect(p, "PING"))
        peer_say(p, "[ ] +PONG");
    if (peer_expect(p, "FETCH 1 -1 mail"))
        swallow(p);
}

static void fetch_for_ever(yoke *y, int status, const struct yoke_value *reply,
                           void *arg)
{
    int *notices = arg;
    struct yoke_work_list *w;

    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(yoke_work_parse(reply, &w), 0);
    for (size_t i = 0; i < w->count; i++)
        *notices += w->items[i].notice == YOKE_NOTICE_CANCEL;
    yoke_work_free(w);
    if (*notices == 0)
        ck_assert_int_eq(yoke_sendl(y, fetch_for_ever, arg, "FETCH", "1", "-1",
                                    "mail", NULL),
                         0);
}

START_TEST(a_loop_keeps_the_lease_of_its_jobs_although_its_FETCH_waits)
{
    script_fn *const scripts[] = {ping_comes_by_itself, still_its_own};
    yoke *y = visit_for(3000, 0, scripts, 2);
    int notices = 0;

    fetch_for_ever(y, 0, &(struct yoke_value){.kind = YOKE_NULL}, &notices);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_int_eq(notices, 1);
    ck_assert_int_eq(atomic_load(&host.connections), 2);
    ck_assert(yoke_connected(y));
    ck_assert_int_gt(yoke_lease_left_ms(y), 0);
    leave();
}
END_TEST

static void was_not_missed(struct peer *p)
{
    if (asked_to_resume(p))
        peer_line(p, "-NOSESSION no such session");
    if (peer_expect(p, "FETCH 1 50 mail"))
        peer_say(p, "[ ]");
}

/* Nothing is at stake but the time in which it could work. */
START_TEST(a_loop_that_asks_for_jobs_leaves_a_silent_connection)
{
    script_fn *const scripts[] = {swallow, was_not_missed};
    yoke *y = visit_for(600, 0, scripts, 2);
    struct calls c = {""};

    ck_assert_int_eq(yoke_sendl(y, note, &c, "FETCH", "1", "50", "mail", NULL),
                     0);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_int_eq(atomic_load(&host.connections), 2);
    leave();
}
END_TEST

/* ----------------------------------------------------------- the session */

static void lose_an_open(struct peer *p)
{
    if (peer_expect(p, "GROUP OPEN ONCE 1 0"))
        peer_say(p, "g1");
    (void)peer_expect(p, "WAIT j1 -1");
}

START_TEST(owned_groups_and_numbered_requests_go_with_the_session)
{
    struct yoke_outcome_info *o = NULL;
    char id[YOKE_ID_SIZE];
    yoke *y = VISIT(lose_an_open, no_session);

    ck_assert_int_eq(yoke_group_open(y, NULL, id), 0);
    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), YOKE_ERR_NOSESSION);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "may have been done"));
    leave();

    y = VISIT(lose_a_submit, no_session);
    ck_assert_int_eq(submit(y, id), 0);
    ck_assert_int_eq(submit(y, id), YOKE_ERR_NOSESSION);
    leave();
}
END_TEST

static void new_session_then_end(struct peer *p)
{
    no_session(p);
    if (peer_expect(p, "WAIT j1 -1"))
        peer_say(p, ENDED);
}

START_TEST(who_has_nothing_to_lose_goes_on_with_a_new_session)
{
    yoke *y = VISIT(lose_a_wait, new_session_then_end);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    yoke_outcome_free(o);
    leave();
}
END_TEST

static void wrong_password(struct peer *p)
{
    if (peer_expect(p, "HELLO 2"))
        peer_line(p, "-WRONGPASS the password is wrong");
}

START_TEST(what_the_daemon_says_to_HELLO_is_final)
{
    yoke *y = VISIT(lose_a_wait, wrong_password);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), YOKE_ERR_WRONGPASS);
    ASSERT_TEXT(y, "WRONGPASS the password is wrong");
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_WRONGPASS);
    leave();
}
END_TEST

/* -------------------------------------------------------------- passwords */

static char password_file[64];

static void write_password(const char *line)
{
    FILE *file = fopen(password_file, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(fprintf(file, "%s\nnot this line\n", line), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void change_the_password(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1"))
        write_password("new");
}

static void lose_the_file(struct peer *p)
{
    host.hello = "HELLO 2 AUTH default new";
    if (back(p) && peer_expect(p, "WAIT j1 -1"))
        (void)unlink(password_file); /* it is there */
}

static void read_again_from(const char *named)
{
    static script_fn *const scripts[] = {change_the_password, lose_the_file,
                                         resume_and_end};
    const struct yoke_options options = {.password_file = named};
    struct yoke_outcome_info *o = NULL;

    host_start(30000, scripts, ARRAY_LEN(scripts));
    host.hello = "HELLO 2 AUTH default old";
    write_password("old");
    ck_assert_int_eq(host_open(&options, &client), 0);
    atomic_store(&peer.y, client);
    ck_assert_int_eq(yoke_job_wait(client, "j1", YOKE_NONE, &o), 0);
    yoke_outcome_free(o);
    leave();
}

/* While the file is being replaced the one before is all there is. */
START_TEST(a_password_is_read_again_for_each_connection)
{
    (void)snprintf(password_file, sizeof(password_file),
                   "/tmp/yoke-test.%d.password", (int)getpid());
    read_again_from(password_file);
    ck_assert_int_eq(setenv(YOKE_ENV_PASSWORD_FILE, password_file, 1), 0);
    read_again_from(NULL);
    ck_assert_int_eq(unsetenv(YOKE_ENV_PASSWORD_FILE), 0);
}
END_TEST

/* Nobody is asked for anything then. */
static void open_refused(const struct yoke_options *o, const char *text)
{
    ck_assert_int_eq(yoke_open("/no/daemon", o, &client), YOKE_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(client), text));
    yoke_close(client);
    client = NULL;
}

START_TEST(a_file_without_a_password_is_told_of)
{
    open_refused(&(struct yoke_options){.password_file = "/nothing/here"},
                 "cannot read the password from /nothing/here: No such file");
    open_refused(&(struct yoke_options){.password_file = "/dev/null"},
                 "the first line of /dev/null is no password");
    open_refused(&(struct yoke_options){.password_file = "/dev/zero"},
                 "the first line of /dev/zero is no password");
}
END_TEST

/* What is said goes before what is found, and nothing is said of a socket that
 * somebody has made for us. */
START_TEST(a_password_of_the_environment_is_for_who_names_none)
{
    static script_fn *const scripts[] = {silent};

    ck_assert_int_eq(setenv(YOKE_ENV_PASSWORD_FILE, "/nothing/here", 1), 0);
    host_start(30000, scripts, 1);
    ck_assert_int_eq(
        host_open(&(struct yoke_options){.password_file = ""}, &client), 0);
    leave();
    host_start(30000, scripts, 1);
    host.hello = "HELLO 2 AUTH default said";
    ck_assert_int_eq(
        host_open(&(struct yoke_options){.password = "said"}, &client), 0);
    leave();
    (void)meet(silent);
    part();
    open_refused(NULL, "/nothing/here");
    ck_assert_int_eq(unsetenv(YOKE_ENV_PASSWORD_FILE), 0);
}
END_TEST

/* ------------------------------------------------------- bounds, refusals */

START_TEST(the_time_to_try_is_bounded)
{
    script_fn *const scripts[] = {lose_a_wait, deaf};
    yoke *y = visit_for(30000, 100, scripts, 2);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), YOKE_ERR_IO);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "could not be restored"));
    leave();
}
END_TEST

START_TEST(no_time_is_no_reconnect)
{
    script_fn *const scripts[] = {lose_a_wait, deaf};
    yoke *y = visit_for(30000, YOKE_NONE, scripts, 2);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), YOKE_ERR_IO);
    ASSERT_TEXT(y, "yoked closed the connection");
    leave();
}
END_TEST

static void break_and_interrupt(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1"))
        yoke_interrupt(peer_client(p));
}

START_TEST(an_interrupt_ends_a_call_while_the_connection_is_restored)
{
    script_fn *const scripts[] = {break_and_interrupt, deaf};
    yoke *y = visit_for(30000, 60000, scripts, 2);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o),
                     YOKE_ERR_INTERRUPTED);
    leave();
}
END_TEST

/* Whatever allocation fails: the call ends, well or not, and nothing leaks. */
START_TEST(memory_that_is_short_while_reconnecting_ends_in_a_status)
{
    int well = 0;

    for (long left = 0; left < 60; left++) {
        yoke *y = VISIT(lose_a_wait, resume_and_end);
        struct yoke_outcome_info *o = NULL;
        int status;

        atomic_store(&allocations_left, left);
        status = yoke_job_wait(y, "j1", YOKE_NONE, &o);
        atomic_store(&allocations_left, -1);
        ck_assert_msg(status == 0 || status == YOKE_ERR_NOMEM, "%ld: %s", left,
                      yoke_error_text(y));
        well += status == 0;
        yoke_outcome_free(o);
        yoke_abandon(y);
        client = NULL;
        /* Those scripts that were not met meet somebody who leaves. */
        while (atomic_load(&host.connections) < 2) {
            yoke *other;

            (void)host_open(&(struct yoke_options){.connect_timeout_ms = 1},
                            &other);
            yoke_abandon(other);
        }
        ck_assert_int_eq(pthread_join(host.thread, NULL), 0);
    }
    (void)unlink(host.address);
    ck_assert_int_gt(well, 0);
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        a_wait_waits_on_over_the_next_connection,
        half_answers_are_forgotten_and_greetings_tried_again,
        a_submit_is_numbered_and_asked_again_with_its_number,
        callbacks_come_in_order_also_of_what_is_not_asked_again,
        a_break_that_is_noticed_before_costs_nothing,
        a_break_before_the_first_subscription_is_restored,
        a_break_of_a_subscribed_connection_is_final,
        jobs_of_a_lost_reply_are_given_back_and_reports_said_again,
        a_worker_whose_jobs_are_gone_is_told_so_for_good,
        owned_groups_and_numbered_requests_go_with_the_session,
        who_has_nothing_to_lose_goes_on_with_a_new_session,
        what_the_daemon_says_to_HELLO_is_final,
        a_password_is_read_again_for_each_connection,
        a_file_without_a_password_is_told_of,
        a_password_of_the_environment_is_for_who_names_none,
        the_time_to_try_is_bounded,
        no_time_is_no_reconnect,
        an_interrupt_ends_a_call_while_the_connection_is_restored,
        memory_that_is_short_while_reconnecting_ends_in_a_status,
    };

    /* Seconds of a lease go by; the bytes do not matter to them. */
    const TTest *const of_leases[] = {
        a_worker_gives_up_while_its_lease_still_holds,
        a_worker_leaves_a_silent_connection_while_its_lease_holds,
        a_silent_peer_leaves_a_worker_without_a_way_time_to_stop_its_jobs,
        a_loop_keeps_the_lease_of_its_jobs_although_its_FETCH_waits,
        a_loop_that_asks_for_jobs_leaves_a_silent_connection,
    };

    if (run_suite("reconnect", laws, ARRAY_LEN(laws)) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    return HOST_LAYER == &yk_layer_none
               ? run_suite("leases", of_leases, ARRAY_LEN(of_leases))
               : EXIT_SUCCESS;
}
