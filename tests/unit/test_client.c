/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of a libyoke handle: connection, replies, order, interrupts. */
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

/* ---------------------------------------------------------------- opening */

START_TEST(open_learns_session_and_lease)
{
    yoke *y = meet(silent);

    ck_assert_str_eq(yoke_session(y), "s0000000000001");
    ck_assert_int_eq(yoke_lease_ms(y), 30000);
    ck_assert_int_ge(yoke_fd(y), 0);
    ck_assert_int_eq(yoke_events(y), POLLIN);
    part();
}
END_TEST

START_TEST(absent_socket_is_said_with_what_to_do)
{
    yoke *y;
    int status = yoke_open("/nonexistent/yoked.sock", NULL, &y);

    ck_assert_int_eq(status, YOKE_ERR_CONNECT);
    ASSERT_TEXT(y, "cannot connect to /nonexistent/yoked.sock: No such file or "
                   "directory (is yoked running? set YOKE_SERVER or --server)");
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), YOKE_ERR_CONNECT);
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_CONNECT);
    yoke_close(y);
}
END_TEST

START_TEST(environment_names_the_server_where_none_is_given)
{
    yoke *y;

    ck_assert_int_eq(setenv("YOKE_SERVER", "unix:/nonexistent/other", 1), 0);
    ck_assert_int_eq(yoke_open(NULL, NULL, &y), YOKE_ERR_CONNECT);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(y), "/nonexistent/other:"));
    yoke_close(y);
}
END_TEST

START_TEST(address_that_is_none_is_an_argument_error)
{
    static const char *const wrong[] = {"[::1", "[::1]x", ":",
                                        ":80",  "host:",  "unix:"};
    char longest[140] = "/";

    memset(longest + 1, 'x', sizeof(longest) - 2);
    for (size_t i = 0; i <= ARRAY_LEN(wrong); i++) {
        yoke *y;
        const char *address = i < ARRAY_LEN(wrong) ? wrong[i] : longest;

        ck_assert_msg(yoke_open(address, NULL, &y) == YOKE_ERR_ARGUMENT,
                      "%s: %s", address, yoke_error_text(y));
        yoke_close(y);
    }
}
END_TEST

/* The longest path that fits is tried; one more byte is refused unseen. */
START_TEST(socket_path_is_bounded)
{
    struct sockaddr_un un;
    char path[sizeof(un.sun_path) + 1];

    for (size_t len = sizeof(un.sun_path) - 1; len <= sizeof(un.sun_path);
         len++) {
        yoke *y;

        memset(path, '/', len);
        path[1] = 'x';
        path[len] = '\0';
        ck_assert_int_eq(yoke_open(path, NULL, &y), len < sizeof(un.sun_path)
                                                        ? YOKE_ERR_CONNECT
                                                        : YOKE_ERR_ARGUMENT);
        yoke_close(y);
    }
}
END_TEST

static void *accept_run(void *arg)
{
    struct peer *p = arg;
    int fd = accept(p->fd, NULL, NULL);

    (void)close(p->fd);
    p->fd = fd;
    return peer_run(p);
}

START_TEST(tcp_address_with_port_connects)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    socklen_t len = sizeof(to);
    char address[64];

    memset(&peer, 0, sizeof(peer));
    peer.script = silent;
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(peer.fd, (struct sockaddr *)&to, len), 0);
    ck_assert_int_eq(listen(peer.fd, 1), 0);
    ck_assert_int_eq(getsockname(peer.fd, (struct sockaddr *)&to, &len), 0);
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, accept_run, &peer), 0);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%d",
                   ntohs(to.sin_port));
    ck_assert_int_eq(yoke_open(address, NULL, &client), 0);
    part();
}
END_TEST

static void *answer_hello(void *arg)
{
    struct peer *p = arg;

    if (peer_read(p) && p->count < 2)
        peer_line(p, p->count ? "*0" : "-WRONGPASS the password is wrong");
    while (peer_read(p)) /* until it gives up */
        continue;
    return NULL;
}

static void open_against(long kind, int status, const char *text)
{
    struct yoke_options o = {.connect_timeout_ms = kind < 2 ? PATIENCE_MS : 50,
                             .password = "secret"};
    int pair[2];

    memset(&peer, 0, sizeof(peer));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    peer.fd = pair[0];
    peer.count = kind;
    o.fd = pair[1];
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, answer_hello, &peer),
                     0);
    ck_assert_int_eq(yoke_open(NULL, &o, &client), status);
    ck_assert_ptr_nonnull(strstr(yoke_error_text(client), text));
    part();
}

START_TEST(open_says_why_the_daemon_refused)
{
    open_against(0, YOKE_ERR_WRONGPASS, "WRONGPASS the password is wrong");
    open_against(1, YOKE_ERR_PROTOCOL, "is not a yoked");
    open_against(2, YOKE_ERR_CONNECT, "has not answered within 50 ms");
}
END_TEST

/* ---------------------------------------------------------------- replies */

static void say_numbers(struct peer *p)
{
    for (int i = 0; i < 1000 && peer_expect(p, "PING"); i++)
        peer_say(p, ":%d", i);
}

struct tally {
    int64_t next;
    int status;
    size_t calls;
    bool more;
};

static void count_up(yoke *y, int status, const struct yoke_value *reply,
                     void *arg)
{
    struct tally *t = arg;

    (void)y;
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(reply->kind, YOKE_INT);
    ck_assert_int_eq(reply->i, t->next);
    t->next++;
}

START_TEST(replies_come_back_in_order)
{
    yoke *y = meet(say_numbers);
    struct tally t = {0};

    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(yoke_sendl(y, count_up, &t, "PING", NULL), 0);
    ck_assert_uint_eq(yoke_pending(y), 1000);
    ck_assert_int_eq(yoke_events(y), POLLIN | POLLOUT);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(loop_until_idle(y), 0);
    ck_assert_int_eq(t.next, 1000);
    part();
}
END_TEST

static void count_failures(yoke *y, int status, const struct yoke_value *reply,
                           void *arg)
{
    struct tally *t = arg;

    ck_assert_ptr_null(reply);
    ck_assert(yoke_error_text(y)[0] != '\0');
    t->status = status;
    t->calls++;
    ck_assert_int_lt(yoke_sendl(y, NULL, NULL, "PING", NULL), 0);
}

static void say_half(struct peer *p)
{
    if (peer_read(p) && peer_read(p))
        peer_line(p, "*2\r\n:1\r\n$100\r\nhalf of");
    (void)shutdown(p->fd, SHUT_RDWR);
}

START_TEST(half_a_reply_then_close_is_an_io_error_for_all)
{
    yoke *y = meet(say_half);
    struct tally t = {0};

    ck_assert_int_eq(yoke_sendl(y, count_failures, &t, "PING", NULL), 0);
    ck_assert_int_eq(yoke_sendl(y, count_failures, &t, "PING", NULL), 0);
    ck_assert_int_eq(loop_until_idle(y), YOKE_ERR_IO);
    ck_assert_uint_eq(t.calls, 2);
    ck_assert_int_eq(t.status, YOKE_ERR_IO);
    ASSERT_TEXT(y, "yoked closed the connection");
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_IO);
    ck_assert_int_eq(yoke_cancel(y, "j1", NULL, YOKE_DEFAULT), YOKE_ERR_IO);
    ASSERT_TEXT(y, "yoked closed the connection");
    part();
}
END_TEST

#define QUEUE_TEXT               " queue 'mail' is not it"
#define ERROR(id, code, meaning) {YOKE_ERR_##id, code, "-" code QUEUE_TEXT},
static const struct {
    int status;
    const char *code, *line;
} codes[] = {
#include "wire/errors.def"
    {YOKE_ERR_GENERIC, "ERR", "-NEWCODE of a later daemon"},
    {YOKE_ERR_GENERIC, "ERR", "-OO"},
};
#undef ERROR

static void say_errors(struct peer *p)
{
    for (size_t i = 0; i < ARRAY_LEN(codes) && peer_read(p); i++)
        peer_line(p, codes[i].line);
}

START_TEST(error_reply_is_a_status_with_its_text)
{
    yoke *y = meet(say_errors);

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        ck_assert_int_eq(yoke_commandl(y, NULL, "NO", NULL), codes[i].status);
        ASSERT_TEXT(y, codes[i].line + 1);
        ck_assert_str_eq(yoke_status_name(codes[i].status), codes[i].code);
    }
    part();
}
END_TEST

#define NESTED "[ one :-9223372036854775808 '' ~ [ +OK [ [ [ [ ab ] ] ] ] ] ]"

static void check_nested(const struct yoke_value *v)
{
    const struct yoke_value *deep;

    ck_assert_int_eq(v->kind, YOKE_ARRAY);
    ck_assert_uint_eq(v->count, 5);
    ck_assert_str_eq(v->items[0].s.data, "one");
    ck_assert_int_eq(v->items[1].i, INT64_MIN);
    ck_assert_int_eq(v->items[2].kind, YOKE_STR);
    ck_assert_str_eq(v->items[2].s.data, "");
    ck_assert_int_eq(v->items[3].kind, YOKE_NULL);
    deep = &v->items[4];
    ck_assert_str_eq(deep->items[0].s.data, "OK");
    for (deep = &deep->items[1]; deep->kind == YOKE_ARRAY;)
        deep = &deep->items[0];
    ck_assert_str_eq(deep->s.data, "ab");
}

static void say_nested_twice(struct peer *p)
{
    size_t len;
    char *text = resp_of(NESTED, &len);

    if (peer_read(p))
        peer_write(p, text, len);
    if (peer_read(p))
        peer_drip(p, text, len);
    free(text);
}

START_TEST(one_byte_reads_give_the_same_values)
{
    yoke *y = meet(say_nested_twice);

    for (int i = 0; i < 2; i++) {
        struct yoke_value *v;

        ck_assert_int_eq(yoke_commandl(y, &v, "X", NULL), 0);
        check_nested(v);
        yoke_value_free(v);
    }
    part();
}
END_TEST

static void say_long_arrays(struct peer *p)
{
    for (int n = 60; n <= 260 && peer_read(p); n += 4) {
        char announce[16];

        (void)snprintf(announce, sizeof(announce), "*%d", n);
        peer_line(p, announce);
        for (int i = 0; i < n; i++)
            peer_say(p, "[ :%d x ]", i);
    }
}

START_TEST(arrays_of_any_length_arrive_whole)
{
    yoke *y = meet(say_long_arrays);

    for (size_t n = 60; n <= 260; n += 4) {
        struct yoke_value *v;

        ck_assert_int_eq(yoke_commandl(y, &v, "X", NULL), 0);
        ck_assert_uint_eq(v->count, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert_int_eq(v->items[i].items[0].i, (int64_t)i);
            ck_assert_str_eq(v->items[i].items[1].s.data, "x");
        }
        yoke_value_free(v);
    }
    part();
}
END_TEST

#define FOUR "*1\r\n*1\r\n*1\r\n*1\r\n"
static const char *const nonsense[] = {
    "HTTP/1.1 400 Bad Request", "$99999999999999999999999", "*2147483648",
    FOUR FOUR "*1\r\n:1",       "+OK\r\n+nobody asked for",
};

static int loop_until_broken(yoke *y)
{
    int status;

    while ((status = yoke_process(y)) == 0) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};

        ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
    }
    return status;
}

static void say_nonsense(struct peer *p)
{
    while (peer_read(p))
        if (strcmp(p->word[0].data, "QUIT") != 0)
            peer_line(p, nonsense[strtoul(p->word[0].data, NULL, 10)]);
}

START_TEST(nonsense_is_a_protocol_error_and_final)
{
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        yoke *y = meet(say_nonsense);
        char word[8];

        (void)snprintf(word, sizeof(word), "%zu", i);
        ck_assert_int_eq(yoke_sendl(y, NULL, NULL, word, NULL), 0);
        ck_assert_int_eq(loop_until_broken(y), YOKE_ERR_PROTOCOL);
        ck_assert_int_eq(yoke_process(y), YOKE_ERR_PROTOCOL);
        ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL),
                         YOKE_ERR_PROTOCOL);
        part();
    }
}
END_TEST

/* The announced items are never made room for before they come. */
static void say_boast(struct peer *p)
{
    if (peer_read(p))
        peer_line(p, "*2147483647\r\n:1");
    (void)shutdown(p->fd, SHUT_RDWR);
}

START_TEST(announced_but_absent_items_cost_nothing)
{
    yoke *y = meet(say_boast);

    ck_assert_int_eq(yoke_commandl(y, NULL, "X", NULL), YOKE_ERR_IO);
    part();
}
END_TEST

static void say_reason_and_close(struct peer *p)
{
    peer_line(p, "-LIMIT too many clients");
    (void)shutdown(p->fd, SHUT_RDWR);
}

START_TEST(last_words_of_the_daemon_are_kept)
{
    yoke *y = meet(say_reason_and_close);

    ck_assert_int_eq(loop_until_broken(y), YOKE_ERR_LIMIT);
    ASSERT_TEXT(y, "LIMIT too many clients");
    part();
}
END_TEST

/* Refuses before it has read all, then reads no more. */
static void refuse_early(struct peer *p)
{
    if (peer_fill(p))
        peer_line(p, "-TOOBIG at most 10 bytes");
    await_step(p, 1);
}

START_TEST(request_refused_before_it_was_whole_ends_the_connection)
{
    yoke *y = meet(refuse_early);
    struct yoke_bytes big = {.len = 8u << 20};

    big.data = calloc(1, big.len);
    ck_assert_ptr_nonnull(big.data);
    ck_assert_int_eq(yoke_command(y, 1, &big, NULL), YOKE_ERR_TOOBIG);
    ASSERT_TEXT(y, "TOOBIG at most 10 bytes (yoked closed the connection)");
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), YOKE_ERR_IO);
    free((char *)big.data);
    yoke_close(y);
    client = NULL;
    atomic_store(&peer.step, 1);
    peer_join();
}
END_TEST

/* --------------------------------------------------------- asynchronously */

static void send_from_callback(yoke *y, int status,
                               const struct yoke_value *reply, void *arg)
{
    struct tally *t = arg;

    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(reply->i, t->next++);
    ck_assert_int_eq(yoke_commandl(y, NULL, "PING", NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_ARGUMENT);
    if (t->next < 1000)
        ck_assert_int_eq(yoke_sendl(y, send_from_callback, t, "PING", NULL), 0);
}

START_TEST(callback_may_send_but_not_wait)
{
    yoke *y = meet(say_numbers);
    struct tally t = {0};

    ck_assert_int_eq(yoke_sendl(y, send_from_callback, &t, "PING", NULL), 0);
    ck_assert_int_eq(loop_until_idle(y), 0);
    ck_assert_int_eq(t.next, 1000);
    part();
}
END_TEST

START_TEST(unsent_bytes_are_bounded)
{
    yoke *y = meet(silent);
    struct yoke_bytes big = {.len = YK_UNSENT_MAX};
    size_t unsent;

    big.data = calloc(1, big.len);
    ck_assert_ptr_nonnull(big.data);
    ck_assert_int_eq(yoke_send(y, 1, &big, NULL, NULL), 0);
    unsent = yoke_unsent(y);
    ck_assert_uint_gt(unsent, YK_UNSENT_MAX);
    ck_assert_int_eq(yoke_sendl(y, NULL, NULL, "PING", NULL), YOKE_ERR_LIMIT);
    ck_assert_uint_eq(yoke_unsent(y), unsent);
    free((char *)big.data);
    yoke_abandon(y);
    client = NULL;
    peer_join();
}
END_TEST

START_TEST(request_without_words_is_an_argument_error)
{
    yoke *y = meet(silent);
    const struct yoke_bytes none = {.data = NULL, .len = 1};

    ck_assert_int_eq(yoke_send(y, 0, NULL, NULL, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_send(y, 1, &none, NULL, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_job_wait(y, NULL, 0, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_job_wait(y, "j1", -2, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_DEFAULT, NULL),
                     YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_fetch(y, -1, 0, 0, NULL, NULL), YOKE_ERR_ARGUMENT);
    ck_assert_int_eq(yoke_log(y, "j1.1", 3, none), YOKE_ERR_ARGUMENT);
    ck_assert_uint_eq(yoke_unsent(y), 0);
    part();
}
END_TEST

/* ------------------------------------------------------------- interrupts */

static void interrupt_a_wait(struct peer *p)
{
    if (!peer_expect(p, "WAIT j1 -1"))
        return;
    yoke_interrupt(peer_client(p));
    if (!peer_expect(p, "PING"))
        return;
    peer_say(p, "~ +PONG");
    if (peer_expect(p, "WAIT j1 -1"))
        peer_say(p, ENDED);
}

START_TEST(interrupt_ends_a_wait_and_leaves_the_handle_usable)
{
    yoke *y = meet(interrupt_a_wait);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o),
                     YOKE_ERR_INTERRUPTED);
    ck_assert_ptr_null(o);
    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    ck_assert_int_eq(o->outcome, YOKE_SUCCEEDED);
    yoke_outcome_free(o);
    part();
}
END_TEST

static void expect_cancel_then_wait(struct peer *p)
{
    if (peer_expect(p, "CANCEL j1 REASON why GRACE 5"))
        peer_say(p, "+OK");
    if (peer_expect(p, "WAIT j1 7"))
        peer_say(p, "~");
}

START_TEST(interrupt_is_for_the_next_blocking_call_and_only_once)
{
    yoke *y = meet(expect_cancel_then_wait);
    struct yoke_outcome_info *o = NULL;

    yoke_interrupt(y);
    yoke_interrupt(y);
    ck_assert_int_eq(yoke_cancel(y, "j1", "why", 5), 0);
    ck_assert_int_eq(yoke_job_wait(y, "j1", 7, &o), YOKE_ERR_INTERRUPTED);
    ck_assert_int_eq(yoke_job_wait(y, "j1", 7, &o), YOKE_ERR_TIMEOUT);
    ASSERT_TEXT(y, "j1 has not ended");
    part();
}
END_TEST

static void answer_faster(struct peer *p)
{
    if (!peer_expect(p, "WAIT j1 -1"))
        return;
    yoke_interrupt(peer_client(p));
    if (peer_expect(p, "PING"))
        peer_say(p, ENDED " +PONG");
}

START_TEST(answer_that_is_faster_than_the_interrupt_is_not_lost)
{
    yoke *y = meet(answer_faster);
    struct yoke_outcome_info *o = NULL;

    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o), 0);
    ck_assert_str_eq(o->result.data, "fine");
    yoke_outcome_free(o);
    ck_assert_int_eq(yoke_job_wait(y, "j1", YOKE_NONE, &o),
                     YOKE_ERR_INTERRUPTED);
    part();
}
END_TEST

static void silent_on_submit(struct peer *p)
{
    if (!peer_expect(p, "SUBMIT q x"))
        return;
    yoke_interrupt(peer_client(p));
    if (!peer_expect(p, "PING"))
        return;
    yoke_interrupt(peer_client(p));
    await_step(p, 1); /* the call has been given up */
    peer_say(p, "j7 +PONG");
    if (peer_expect(p, "CANCEL j1"))
        peer_line(p, "-NOJOB j1");
}

START_TEST(second_interrupt_gives_up_and_the_late_reply_is_dropped)
{
    yoke *y = meet(silent_on_submit);
    struct yoke_submit s;
    char id[YOKE_ID_SIZE] = "before";

    yoke_submit_init(&s);
    s.queue = "q";
    s.payload = bytes("x");
    ck_assert_int_eq(yoke_submit(y, &s, id), YOKE_ERR_INTERRUPTED);
    ck_assert_str_eq(id, "before");
    ck_assert_uint_eq(yoke_pending(y), 0);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(yoke_cancel(y, "j1", NULL, YOKE_DEFAULT), YOKE_ERR_NOJOB);
    part();
}
END_TEST

static void late_jobs(struct peer *p)
{
    if (!peer_expect(p, "FETCH 1 5000 mail"))
        return;
    yoke_interrupt(peer_client(p));
    if (!peer_expect(p, "PING"))
        return;
    yoke_interrupt(peer_client(p));
    await_step(p, 1);
    peer_say(p, A_JOB);
    peer_say(p, "+PONG");
    if (peer_expect(p, "PING"))
        peer_say(p, "+PONG");
}

START_TEST(interrupted_fetch_loses_no_job)
{
    yoke *y = meet(late_jobs);
    const char *queue = "mail";
    struct yoke_work_list *w;

    ck_assert_int_eq(yoke_fetch(y, 1, YOKE_NONE, 1, &queue, &w),
                     YOKE_ERR_INTERRUPTED);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(yoke_fetch(y, 1, YOKE_NONE, 1, &queue, &w), 0);
    ck_assert_uint_eq(w->count, 1);
    ck_assert_str_eq(w->items[0].token, "j7.2");
    yoke_work_free(w);
    part();
}
END_TEST

/* ----------------------------------------------------------------- events */

static void say_events(struct peer *p)
{
    if (peer_expect(p, "SUBSCRIBE job:j1"))
        peer_say(p, "[ subscribe job:j1 :1 ] [ message job:j1 one ]");
    if (peer_expect(p, "PSUBSCRIBE queue:*"))
        peer_say(p, "[ message job:j1 two ] [ psubscribe queue:* :2 ] "
                    "[ pmessage queue:* queue:q three ]");
    if (peer_expect(p, "SUBSCRIBE x"))
        peer_line(p, "-LIMIT too many");
    if (peer_expect(p, "UNSUBSCRIBE job:j1"))
        peer_say(p, "[ unsubscribe job:j1 :1 ]");
    if (peer_expect(p, "PUNSUBSCRIBE queue:*"))
        peer_say(p, "[ punsubscribe queue:* :0 ]");
    if (peer_expect(p, "QUEUE LIST")) /* queues may be called so */
        peer_say(p, "[ message a b ]");
}

static void note(yoke *y, const struct yoke_message *m, void *arg)
{
    char *told = arg;
    size_t len = strlen(told);

    (void)snprintf(told + len, 256 - len, "%s %s %s;",
                   m->pattern ? m->pattern : "-", m->channel, m->text.data);
    ck_assert_uint_eq(m->text.len, strlen(m->text.data));
    ck_assert_int_eq(yoke_process(y), YOKE_ERR_ARGUMENT);
}

START_TEST(messages_are_told_apart_from_replies)
{
    const char *job = "job:j1", *queue = "queue:*", *x = "x";
    struct yoke_value *v;
    char told[256] = "";
    yoke *y = meet(say_events);

    ck_assert_int_eq(yoke_subscribe(y, 1, &job, note, told), 0);
    ck_assert_int_eq(yoke_psubscribe(y, 1, &queue, note, told), 0);
    ck_assert_int_eq(yoke_subscribe(y, 1, &x, note, told), YOKE_ERR_LIMIT);
    ASSERT_TEXT(y, "LIMIT too many");
    ck_assert_int_eq(yoke_unsubscribe(y, 1, &job), 0);
    ck_assert_int_eq(yoke_punsubscribe(y, 1, &queue), 0);
    ck_assert_str_eq(told, "- job:j1 one;- job:j1 two;"
                           "queue:* queue:q three;");
    ck_assert_int_eq(yoke_commandl(y, &v, "QUEUE", "LIST", NULL), 0);
    ck_assert_uint_eq(v->count, 3);
    yoke_value_free(v);
    part();
}
END_TEST

static void confirm_late(struct peer *p)
{
    if (!peer_expect(p, "SUBSCRIBE job:j1"))
        return;
    yoke_interrupt(peer_client(p));
    await_step(p, 1);
    peer_say(p, "[ subscribe job:j1 :1 ] [ message job:j1 one ]");
    if (peer_expect(p, "UNSUBSCRIBE job:j1"))
        peer_say(p, "[ message job:j1 two ] [ unsubscribe job:j1 :0 ]");
    if (peer_expect(p, "QUEUE LIST"))
        peer_say(p, "[ message a b ]");
}

/* What the daemon does not take back is not forgotten here. */
START_TEST(a_subscription_that_was_given_up_counts_when_it_is_confirmed)
{
    const char *job = "job:j1";
    struct yoke_value *v;
    char told[256] = "";
    yoke *y = meet(confirm_late);

    ck_assert_int_eq(yoke_subscribe(y, 1, &job, note, told),
                     YOKE_ERR_INTERRUPTED);
    atomic_store(&peer.step, 1);
    ck_assert_int_eq(yoke_unsubscribe(y, 1, &job), 0);
    ck_assert_str_eq(told, "- job:j1 one;- job:j1 two;");
    ck_assert_int_eq(yoke_commandl(y, &v, "QUEUE", "LIST", NULL), 0);
    ck_assert_uint_eq(v->count, 3);
    yoke_value_free(v);
    part();
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        open_learns_session_and_lease,
        absent_socket_is_said_with_what_to_do,
        environment_names_the_server_where_none_is_given,
        address_that_is_none_is_an_argument_error,
        socket_path_is_bounded,
        tcp_address_with_port_connects,
        open_says_why_the_daemon_refused,
        replies_come_back_in_order,
        half_a_reply_then_close_is_an_io_error_for_all,
        error_reply_is_a_status_with_its_text,
        one_byte_reads_give_the_same_values,
        arrays_of_any_length_arrive_whole,
        nonsense_is_a_protocol_error_and_final,
        announced_but_absent_items_cost_nothing,
        last_words_of_the_daemon_are_kept,
        request_refused_before_it_was_whole_ends_the_connection,
        callback_may_send_but_not_wait,
        unsent_bytes_are_bounded,
        request_without_words_is_an_argument_error,
        interrupt_ends_a_wait_and_leaves_the_handle_usable,
        interrupt_is_for_the_next_blocking_call_and_only_once,
        answer_that_is_faster_than_the_interrupt_is_not_lost,
        second_interrupt_gives_up_and_the_late_reply_is_dropped,
        interrupted_fetch_loses_no_job,
        messages_are_told_apart_from_replies,
        a_subscription_that_was_given_up_counts_when_it_is_confirmed,
    };

    return run_suite("client", laws, ARRAY_LEN(laws));
}
