/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of a handle that is opened without a wait. */
#include "host.h"

#include <netdb.h>

/* ---------------------------------------------------------------- addresses
 *
 * In place of the resolver's: each host has these addresses. */
static struct {
    struct sockaddr_un address[3];
    size_t n;
} hosts;

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **found)
{
    struct addrinfo *list = calloc(hosts.n, sizeof(*list));

    (void)name;
    (void)service;
    ck_assert_ptr_nonnull(list);
    for (size_t i = 0; i < hosts.n; i++)
        list[i] = (struct addrinfo){
            .ai_family = AF_UNIX,
            .ai_socktype = hints->ai_socktype,
            .ai_addr = (struct sockaddr *)&hosts.address[i],
            .ai_addrlen = sizeof(hosts.address[i]),
            .ai_next = i + 1 < hosts.n ? &list[i + 1] : NULL,
        };
    *found = list;
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

static void add_address(const char *path)
{
    struct sockaddr_un *un = &hosts.address[hosts.n++];

    un->sun_family = AF_UNIX;
    (void)snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
}

/* A listener that takes nobody, and the connections that fill its backlog. */
static struct full {
    int fd[8];
    size_t n;
    char address[80];
} full;

static void full_start(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const struct sockaddr *to = (const struct sockaddr *)&un;

    (void)snprintf(full.address, sizeof(full.address), "/tmp/yoke-full.%d.sock",
                   (int)getpid());
    memcpy(un.sun_path, full.address, sizeof(full.address));
    (void)unlink(full.address); /* of a test that failed */
    full.fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(full.fd[0], to, sizeof(un)), 0);
    ck_assert_int_eq(listen(full.fd[0], 0), 0);
    for (full.n = 1; full.n < ARRAY_LEN(full.fd); full.n++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        full.fd[full.n] = fd;
        if (connect(fd, to, sizeof(un)) < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            (void)close(fd);
            return;
        }
    }
    ck_abort_msg("a backlog of none took %zu", full.n);
}

static void full_stop(void)
{
    for (size_t i = 0; i < full.n; i++)
        (void)close(full.fd[i]);
    (void)unlink(full.address);
}

/* ------------------------------------------------------------------- opening
 */

/* Until it is open, or the handle has ended. */
static int open_in_a_loop(yoke *y)
{
    int status = 0;

    while (status == 0 && !yoke_connected(y)) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};
        int64_t wait = yoke_timeout_ms(y);

        ck_assert_int_ge(wait, 0);
        ck_assert_int_ge(poll(&p, 1, (int)wait), 0);
        status = yoke_process(y);
    }
    return status;
}

static yoke *begin_visit(script_fn *script)
{
    host_start(30000, &script, 1);
    ck_assert_int_eq(yoke_open_begin(host.address, NULL, &client), 0);
    atomic_store(&peer.y, client);
    return client;
}

static void ping_and_echo(struct peer *p)
{
    if (peer_expect(p, "PING"))
        peer_say(p, "+PONG");
    if (peer_expect(p, "SUBMIT q x ONCE 1 0"))
        peer_say(p, "j1");
}

START_TEST(what_is_sent_before_it_is_open_goes_after_HELLO_in_its_order)
{
    yoke *y = begin_visit(ping_and_echo);
    struct calls c = {""};

    ck_assert_int_ge(yoke_fd(y), 0);
    ck_assert_int_eq(yoke_sendl(y, note, &c, "PING", NULL), 0);
    ck_assert_int_eq(yoke_sendl(y, note, &c, "SUBMIT", "q", "x", NULL), 0);
    ck_assert_int_eq(drive(y), 0);
    ck_assert_str_eq(c.text, "PONG j1");
    ck_assert(yoke_connected(y));
    ck_assert_str_eq(yoke_session(y), "s0000000000001");
    ck_assert_int_eq(yoke_timeout_ms(y), YOKE_NONE);
    leave();
}
END_TEST

static void ping(struct peer *p)
{
    if (peer_expect(p, "PING"))
        peer_say(p, "+PONG");
}

START_TEST(a_call_that_waits_waits_until_it_is_open_too)
{
    yoke *y = begin_visit(ping);

    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), 0);
    leave();
}
END_TEST

START_TEST(what_can_be_told_at_once_is_returned_at_once)
{
    yoke *y;

    ck_assert_int_eq(yoke_open_begin("/nonexistent/yoked.sock", NULL, &y),
                     YOKE_ERR_CONNECT);
    ASSERT_TEXT(y, "cannot connect to /nonexistent/yoked.sock: No such file or "
                   "directory (is yoked running? set YOKE_SERVER or --server)");
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_CONNECT);
    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "PING", NULL), YOKE_ERR_CONNECT);
    yoke_close(y);
    ck_assert_int_eq(yoke_open_begin("host:", NULL, &y), YOKE_ERR_ARGUMENT);
    yoke_close(y);
}
END_TEST

/* A peer that takes the connection, reads, and says this or nothing. */
static void *answer(void *arg)
{
    struct peer *p = arg;

    while (peer_read(p)) {
        await_step(p, 1);
        if (p->count > 0)
            peer_line(p, "-WRONGPASS the password is wrong");
    }
    return NULL;
}

static void open_against(long count, int64_t timeout_ms, int status,
                         const char *text, const char *called)
{
    struct yoke_options o = {.connect_timeout_ms = timeout_ms};
    struct calls c = {""};
    int pair[2];

    memset(&peer, 0, sizeof(peer));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    peer.fd = pair[0];
    peer.count = count;
    o.fd = pair[1];
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, answer, &peer), 0);
    ck_assert_int_eq(yoke_open_begin(NULL, &o, &client), 0);
    ck_assert_int_eq(yoke_sendl(client, note, &c, "PING", NULL), 0);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(open_in_a_loop(client), status);
    ASSERT_TEXT(client, text);
    ck_assert_str_eq(c.text, called);
    ck_assert_uint_eq(yoke_pending(client), 0);
    ck_assert_int_eq(yoke_timeout_ms(client), YOKE_NONE);
    part();
}

START_TEST(what_fails_ends_the_handle_and_all_that_was_sent)
{
    open_against(1, PATIENCE_MS, YOKE_ERR_WRONGPASS,
                 "WRONGPASS the password is wrong", "WRONGPASS");
    open_against(0, 20, YOKE_ERR_CONNECT,
                 "the descriptor that was handed over has not answered within "
                 "20 ms",
                 "connect");
}
END_TEST

START_TEST(a_full_backlog_is_waited_for_as_long_as_the_time_out_says)
{
    const struct yoke_options o = {.connect_timeout_ms = 50};
    int64_t begun = yk_now_ms();
    yoke *y;

    full_start();
    ck_assert_int_eq(yoke_open_begin(full.address, &o, &y), 0);
    ck_assert_int_eq(open_in_a_loop(y), YOKE_ERR_CONNECT);
    ck_assert_int_ge(yk_now_ms() - begun, 50);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "timed out"));
    yoke_close(y);
    full_stop();
}
END_TEST

/* Refused, silent for its part of the time, and one that answers. */
START_TEST(addresses_of_a_host_are_tried_in_turn_within_one_time_out)
{
    const struct yoke_options o = {.connect_timeout_ms = 200};
    script_fn *script = ping;
    int fd;

    full_start();
    host_start(30000, &script, 1);
    hosts.n = 0;
    add_address("/nonexistent/yoked.sock");
    add_address(full.address);
    add_address(host.address);
    ck_assert_int_eq(yoke_open_begin("somewhere:1", &o, &client), 0);
    fd = yoke_fd(client);
    ck_assert_int_eq(open_in_a_loop(client), 0);
    ck_assert_int_eq(yoke_fd(client), fd);
    ck_assert_uint_gt(yoke_fd_changes(client), 0);
    ck_assert_int_eq(yoke_commandl(client, NULL, "PING", NULL), 0);
    leave();
    full_stop();
}
END_TEST

START_TEST(the_last_address_of_a_host_says_why_there_is_none)
{
    hosts.n = 0;
    add_address("/nonexistent/a");
    add_address("/nonexistent/b");
    ck_assert_int_eq(yoke_open_begin("somewhere:1", NULL, &client),
                     YOKE_ERR_CONNECT);
    ASSERT_TEXT(client, "cannot connect to somewhere:1: No such file or "
                        "directory (is yoked running? set YOKE_SERVER or "
                        "--server)");
    yoke_close(client);
}
END_TEST

START_TEST(a_handle_that_is_not_open_yet_can_be_closed)
{
    yoke *y;

    full_start();
    ck_assert_int_eq(yoke_open_begin(full.address, NULL, &y), 0);
    ck_assert(!yoke_connected(y));
    ck_assert_str_eq(yoke_session(y), "");
    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "PING", NULL), 0);
    yoke_close(y);
    full_stop();
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        what_is_sent_before_it_is_open_goes_after_HELLO_in_its_order,
        a_call_that_waits_waits_until_it_is_open_too,
        what_can_be_told_at_once_is_returned_at_once,
        what_fails_ends_the_handle_and_all_that_was_sent,
        a_full_backlog_is_waited_for_as_long_as_the_time_out_says,
        addresses_of_a_host_are_tried_in_turn_within_one_time_out,
        the_last_address_of_a_host_says_why_there_is_none,
        a_handle_that_is_not_open_yet_can_be_closed,
    };

    return run_suite("open", laws, ARRAY_LEN(laws));
}
