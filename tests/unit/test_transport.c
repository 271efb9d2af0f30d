/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a transport: what a handle does over a layer with the habits of
 * TLS is what it does over a plain socket. See test_reconnect.c for more of
 * them.
 */
#include "host.h"

/* ------------------------------------------------------------------- bytes */

static void say_numbers(struct peer *p)
{
    for (int i = 0; i < 300 && peer_expect(p, "PING"); i++)
        peer_say(p, "%d", i);
}

static void count_up(yoke *y, int status, const struct yoke_value *reply,
                     void *arg)
{
    int *next = arg;

    (void)y;
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(strtol(reply->s.data, NULL, 10), (*next)++);
}

/* The loop waits for what yoke_events and yoke_timeout_ms say, alone. */
START_TEST(a_loop_gets_all_replies_although_poll_does_not_see_all_bytes)
{
    yoke *y = VISIT(say_numbers);
    int next = 0;

    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(yoke_sendl(y, count_up, &next, "PING", NULL), 0);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_int_eq(next, 300);
    leave();
}
END_TEST

static void echo(struct peer *p)
{
    while (peer_read(p) && strcmp(p->word[0].data, "ECHO") == 0) {
        char head[32];
        int n = snprintf(head, sizeof(head), "$%zu\r\n", p->word[1].len);

        peer_write(p, head, (size_t)n);
        peer_write(p, p->word[1].data, p->word[1].len);
        peer_write(p, "\r\n", 2);
    }
    peer_say(p, "+OK"); /* QUIT */
}

START_TEST(calls_that_wait_carry_large_requests_and_replies)
{
    static char text[4000];
    yoke *y = VISIT(echo);

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    for (size_t len = 0; len <= sizeof(text); len = len ? len * 10 : 2) {
        const struct yoke_bytes words[] = {bytes("ECHO"), {text, len}};
        struct yoke_value *v;

        ck_assert_int_eq(yoke_command(y, 2, words, &v), 0);
        ck_assert_uint_eq(v->s.len, len);
        ck_assert_mem_eq(v->s.data, text, len);
        yoke_value_free(v);
    }
    leave();
}
END_TEST

static void interrupt_a_wait(struct peer *p)
{
    if (peer_expect(p, "WAIT j1 -1"))
        yoke_interrupt(peer_client(p));
    if (peer_expect(p, "PING"))
        peer_say(p, "~ +PONG");
    if (peer_expect(p, "PING"))
        peer_say(p, "+PONG");
}

START_TEST(an_interrupt_ends_a_wait_over_a_layer)
{
    yoke *y = VISIT(interrupt_a_wait);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o),
                     YOKE_ERR_INTERRUPTED);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    leave();
}
END_TEST

/* ------------------------------------------------------------- life and end */

/* As VISIT, over a socket that is handed over. */
static yoke *meet_at_the_gate(struct gate *g, bool wrong, int status)
{
    struct yoke_options o = {.connect_timeout_ms = PATIENCE_MS};
    int pair[2], opened;

    memset(&peer, 0, sizeof(peer));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    peer.script = silent;
    peer.lease_ms = 30000;
    peer.fd = gate_open(g, pair[0], wrong);
    o.fd = pair[1];
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, peer_run, &peer), 0);
    opened = yk_open_over(&odd_layer, NULL, NULL, &o, &client);
    if (opened == 0)
        opened = yk_open_wait(client);
    ck_assert_int_eq(opened, status);
    return client;
}

START_TEST(closing_says_goodbye_and_abandoning_says_nothing)
{
    for (int close = 0; close <= 1; close++) {
        struct gate g;
        yoke *y = meet_at_the_gate(&g, false, 0);

        ck_assert_int_eq(atomic_load(&odd_states), 1);
        if (close)
            yoke_close(y);
        else
            yoke_abandon(y);
        ck_assert_int_eq(atomic_load(&odd_states), 0);
        peer_join();
        gate_close(&g);
        ck_assert_int_eq(atomic_load(&g.farewell), close);
    }
}
END_TEST

START_TEST(a_handshake_that_fails_is_said_in_the_words_of_the_layer)
{
    struct gate g;
    yoke *y = meet_at_the_gate(&g, true, YOKE_ERR_CONNECT);

    ASSERT_TEXT(y, "cannot connect to the descriptor that was handed over: the "
                   "gate is another one");
    yoke_close(y);
    ck_assert_int_eq(atomic_load(&odd_states), 0);
    (void)pthread_join(peer.thread, NULL); /* it has missed its HELLO */
    (void)close(peer.fd);
    gate_close(&g);
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        a_loop_gets_all_replies_although_poll_does_not_see_all_bytes,
        calls_that_wait_carry_large_requests_and_replies,
        an_interrupt_ends_a_wait_over_a_layer,
        closing_says_goodbye_and_abandoning_says_nothing,
        a_handshake_that_fails_is_said_in_the_words_of_the_layer,
    };

    return run_suite("transport", laws, ARRAY_LEN(laws));
}
