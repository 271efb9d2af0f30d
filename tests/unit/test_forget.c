/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of requests whose answer nobody wants any more. */
#include "host.h"

static uint64_t send_words(yoke *y, struct calls *c, const char *a,
                           const char *b, const char *d)
{
    uint64_t before = yoke_last_request(y);

    ck_assert_int_eq(yoke_sendl(y, note, c, a, b, d, NULL), 0);
    ck_assert_uint_gt(yoke_last_request(y), before);
    return yoke_last_request(y);
}

static void two_pings(struct peer *p)
{
    for (int i = 1; i <= 2 && peer_expect(p, "PING"); i++)
        peer_say(p, "%d", i);
}

START_TEST(what_is_forgotten_before_it_is_written_is_not_sent)
{
    yoke *y = VISIT(two_pings);
    struct calls c = {""};
    bool unsent = false;
    uint64_t submit;

    (void)send_words(y, &c, "PING", NULL, NULL);
    submit = send_words(y, &c, "SUBMIT", "q", "x");
    (void)send_words(y, &c, "PING", NULL, NULL);
    ck_assert_int_eq(yoke_forget(y, submit, &unsent), 0);
    ck_assert(unsent);
    ck_assert_int_eq(yoke_forget(y, submit, &unsent), YOKE_ERR_ARGUMENT);
    ck_assert_uint_eq(yoke_pending(y), 2);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_str_eq(c.text, "1 2");
    leave();
}
END_TEST

static void one_ping(struct peer *p)
{
    if (peer_expect(p, "PING"))
        peer_say(p, "+PONG");
}

START_TEST(when_all_is_forgotten_there_is_nothing_to_write)
{
    yoke *y = VISIT(one_ping);
    struct calls c = {""};
    uint64_t first = send_words(y, &c, "SUBMIT", "q", "x");
    uint64_t second = send_words(y, &c, "SUBSCRIBE", "job:j1", NULL);

    ck_assert_int_eq(yoke_forget(y, second, NULL), 0);
    ck_assert_int_eq(yoke_forget(y, first, NULL), 0);
    ck_assert_uint_eq(yoke_unsent(y), 0);
    ck_assert_int_eq(yoke_events(y), POLLIN);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    ck_assert_str_eq(c.text, "");
    leave();
}
END_TEST

static void wait_until_asked(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1"))
        atomic_store(&p->step, 1);
    if (peer_expect(p, "PING"))
        peer_say(p, "~ +PONG");
    if (peer_expect(p, "ECHO x"))
        peer_say(p, "x");
}

/* Until the peer has what was sent. */
static void write_all(yoke *y)
{
    while (atomic_load(&peer.step) == 0) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};

        ck_assert_int_ge(poll(&p, 1, 1), 0);
        ck_assert_int_eq(yoke_process(y), 0);
    }
}

START_TEST(a_wait_that_is_forgotten_is_ended)
{
    /* Alone; before or after what is behind it, and never written. */
    for (int kind = 0; kind < 3; kind++) {
        yoke *y = VISIT(wait_until_asked);
        struct calls c = {""};
        bool unsent = true;
        uint64_t wait = send_words(y, &c, "WAIT", "j1", "-1"), behind;

        write_all(y);
        behind = kind ? send_words(y, &c, "ECHO", "y", NULL) : 0;
        if (kind == 1)
            ck_assert_int_eq(yoke_forget(y, behind, NULL), 0);
        ck_assert_int_eq(yoke_forget(y, wait, &unsent), 0);
        ck_assert(!unsent);
        if (kind == 2)
            ck_assert_int_eq(yoke_forget(y, behind, NULL), 0);
        ck_assert_uint_eq(yoke_pending(y), 0);
        ck_assert_int_eq(yoke_commandl(y, NULL, "ECHO", "x", NULL), 0);
        ck_assert_str_eq(c.text, "");
        leave();
    }
}
END_TEST

static void wait_then_echo(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1") && peer_expect(p, "ECHO x")) {
        atomic_store(&p->step, 1);
        await_step(p, 2);
        peer_say(p, "~ x");
    }
    if (peer_expect(p, "ECHO y"))
        peer_say(p, "y");
}

START_TEST(no_more_is_sent_where_something_ends_the_wait_already)
{
    yoke *y = VISIT(wait_then_echo);
    struct calls c = {""};
    uint64_t wait = send_words(y, &c, "WAIT", "j1", "-1");

    (void)send_words(y, &c, "ECHO", "x", NULL);
    write_all(y);
    ck_assert_int_eq(yoke_forget(y, wait, NULL), 0);
    atomic_store(&peer.step, 2);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_int_eq(yoke_commandl(y, NULL, "ECHO", "y", NULL), 0);
    ck_assert_str_eq(c.text, "x");
    leave();
}
END_TEST

static void hold_a_fetch(struct peer *p)
{
    if (peer_expect(p, "FETCH 1 -1") && peer_expect(p, "DONE j1.1 r")) {
        atomic_store(&p->step, 1);
        await_step(p, 2);
        peer_say(p, "[ ] +OK");
    }
}

START_TEST(what_brings_jobs_or_reports_them_is_not_taken_back)
{
    yoke *y = VISIT(hold_a_fetch);
    struct calls c = {""};
    bool unsent = true;
    uint64_t fetch, done;

    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "FETCH", "1", "-1", NULL), 0);
    fetch = yoke_last_request(y);
    done = send_words(y, &c, "DONE", "j1.1", "r");
    ck_assert_int_eq(yoke_forget(y, done, &unsent), 0);
    ck_assert(!unsent);
    write_all(y);
    ck_assert_int_eq(yoke_forget(y, done, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_forget(y, fetch, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "must not be lost"));
    atomic_store(&peer.step, 2);
    leave();
}
END_TEST

START_TEST(what_is_not_under_way_cannot_be_forgotten)
{
    yoke *y = VISIT(one_ping);
    struct calls c = {""};
    uint64_t ping;

    ck_assert_int_eq(yoke_forget(y, 0, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_forget(y, 1, NULL), YOKE_ERR_ARGUMENT);
    ping = send_words(y, &c, "PING", NULL, NULL);
    ck_assert_int_eq(yoke_forget(y, ping + 1, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_forget(y, UINT64_MAX, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_int_eq(yoke_forget(y, ping, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_str_eq(c.text, "PONG");
    leave();
}
END_TEST

struct chain {
    uint64_t next[2]; /* a written one, and one that is not */
    struct calls c;
};

static void forget_the_next(yoke *y, int status, const struct yoke_value *reply,
                            void *arg)
{
    struct chain *chain = arg;
    bool unsent = true;

    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(reply->kind, YOKE_STR);
    ck_assert_int_eq(yoke_forget(y, chain->next[0], &unsent), 0);
    ck_assert(!unsent);
    chain->next[1] = send_words(y, &chain->c, "SUBMIT", "q", "x");
    ck_assert_int_eq(yoke_forget(y, chain->next[1], &unsent), 0);
    ck_assert(unsent);
}

static void three_echos(struct peer *p)
{
    for (int i = 1; i <= 3; i++) {
        char want[16];

        (void)snprintf(want, sizeof(want), "ECHO %d", i);
        if (!peer_expect(p, want))
            return;
    }
    peer_say(p, "1 2 3");
}

START_TEST(callbacks_may_forget_what_is_behind_them)
{
    yoke *y = VISIT(three_echos);
    struct chain chain = {.c = {""}};

    ck_assert_int_eq(yoke_sendl(y, forget_the_next, &chain, "ECHO", "1", NULL),
                     0);
    chain.next[0] = send_words(y, &chain.c, "ECHO", "2", NULL);
    (void)send_words(y, &chain.c, "ECHO", "3", NULL);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_str_eq(chain.c.text, "3");
    leave();
}
END_TEST

static void lose_both(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1") && peer_expect(p, "SUBMIT q x ONCE 1 0"))
        cut(p);
}

static void the_submit_again(struct peer *p)
{
    if (back(p) && peer_expect(p, "SUBMIT q x ONCE 1 0"))
        peer_say(p, "j1");
}

START_TEST(what_is_forgotten_while_the_connection_is_lost_is_not_asked_again)
{
    yoke *y = VISIT(lose_both, the_submit_again);
    struct calls c = {""};
    bool unsent = true;
    uint64_t wait = send_words(y, &c, "WAIT", "j1", "-1");

    (void)send_words(y, &c, "SUBMIT", "q", "x");
    while (yoke_connected(y)) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};

        ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
        ck_assert_int_eq(yoke_process(y), 0);
    }
    ck_assert_int_eq(yoke_forget(y, wait, &unsent), 0);
    ck_assert(!unsent);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_str_eq(c.text, "j1");
    leave();
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        what_is_forgotten_before_it_is_written_is_not_sent,
        when_all_is_forgotten_there_is_nothing_to_write,
        a_wait_that_is_forgotten_is_ended,
        no_more_is_sent_where_something_ends_the_wait_already,
        what_brings_jobs_or_reports_them_is_not_taken_back,
        what_is_not_under_way_cannot_be_forgotten,
        callbacks_may_forget_what_is_behind_them,
        what_is_forgotten_while_the_connection_is_lost_is_not_asked_again,
    };

    return run_suite("forget", laws, ARRAY_LEN(laws));
}
