/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a handle that is attached to a loop, for each of the loops that
 * there is an adapter for.
 */
#include "host.h"
#include "loop_driver.h"

#include <ev.h>
#include <yoke/glib.h>
#include <yoke/libev.h>
#include <yoke/libuv.h>
#include <yoke/poll.h>

/* -------------------------------------------------------------------- loops
 */

static void *ev_new(void)
{
    return ev_loop_new(EVFLAG_AUTO);
}

static int ev_attach(void *loop, yoke *y, yoke_ended_fn *ended, void *arg)
{
    return yoke_libev_attach(loop, y, ended, arg);
}

static void ev_step(void *loop)
{
    (void)ev_run(loop, EVRUN_ONCE);
}

static void ev_free(void *loop)
{
    ev_loop_destroy(loop);
}

static void *uv_new(void)
{
    uv_loop_t *loop = malloc(sizeof(*loop));

    ck_assert_int_eq(uv_loop_init(loop), 0);
    return loop;
}

static int uv_attach(void *loop, yoke *y, yoke_ended_fn *ended, void *arg)
{
    return yoke_libuv_attach(loop, y, ended, arg);
}

/* It would wait also after its timers have done what is waited for. */
static void uv_step(void *loop)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
    (void)sched_yield();
}

static void uv_free(void *loop)
{
    ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(loop), 0);
    free(loop);
}

static void *glib_new(void)
{
    return g_main_context_new();
}

static int glib_attach(void *loop, yoke *y, yoke_ended_fn *ended, void *arg)
{
    return yoke_glib_attach(loop, y, ended, arg);
}

static void glib_step(void *loop)
{
    (void)g_main_context_iteration(loop, TRUE);
}

static void glib_free(void *loop)
{
    g_main_context_unref(loop);
}

static void *poll_new(void)
{
    struct yoke_poll *loop = malloc(sizeof(*loop));

    *loop = (struct yoke_poll)YOKE_POLL_INIT;
    return loop;
}

static int poll_attach(void *loop, yoke *y, yoke_ended_fn *ended, void *arg)
{
    return yoke_poll_attach(loop, y, ended, arg);
}

static void poll_step(void *loop)
{
    struct pollfd fds[4];
    int wait_ms = -1;
    size_t n = yoke_poll_fill(loop, fds, ARRAY_LEN(fds), &wait_ms);

    ck_assert_uint_le(n, ARRAY_LEN(fds));
    (void)poll(fds, n, wait_ms);
    yoke_poll_run(loop, fds, n);
}

static const struct driver *const drivers[] = {
    &(struct driver){ev_new, ev_attach, ev_step, ev_free},
    &(struct driver){uv_new, uv_attach, uv_step, uv_free},
    &(struct driver){glib_new, glib_attach, glib_step, glib_free},
    &(struct driver){poll_new, poll_attach, poll_step, free},
    &libevent_driver,
};

/* ---------------------------------------------------------------- programs */

/* A program on one of the loops, and what has been called back. */
static struct program {
    const struct driver *on;
    void *loop;
    int answers, ends, status;
    bool closes, detaches; /* in the first answer */
} program;

static void on_end(yoke *y, int status, void *arg)
{
    struct program *p = arg;

    ck_assert_ptr_eq(y, client);
    p->ends++;
    p->status = status;
}

static void on_answer(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    struct program *p = arg;

    (void)reply;
    p->answers++;
    p->status = status;
    if (p->detaches)
        yoke_detach(y);
    if (p->closes) {
        yoke_close(y);
        client = NULL;
    }
}

static void program_begin(const struct driver *on)
{
    program = (struct program){.on = on, .loop = on->new ()};
    ck_assert_int_eq(on->attach(program.loop, client, on_end, &program), 0);
}

static void program_end(void)
{
    if (client)
        yoke_detach(client);
    program.on->free(program.loop);
}

static void ping(void)
{
    ck_assert_int_eq(yoke_sendl(client, on_answer, &program, "PING", NULL), 0);
}

static void run_until(const int *count, int enough)
{
    while (*count < enough)
        program.on->step(program.loop);
}

/* -------------------------------------------------------------------- laws */

/* Also after a turn in which nothing was to be done. */
START_TEST(what_is_sent_anywhere_is_answered_without_a_call)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(silent);
        program_begin(drivers[i]);
        for (int n = 1; n <= 3; n++) {
            ping();
            ping();
            run_until(&program.answers, 2 * n);
        }
        ck_assert_int_eq(program.status, 0);
        ck_assert_int_eq(program.ends, 0);
        program_end();
        part();
    }
}
END_TEST

#define LARGE_BYTES (4u << 20) /* more than a socket takes at once */

static void take_a_large_one(struct peer *p)
{
    size_t taken = 0;
    ssize_t n;

    while (taken < LARGE_BYTES &&
           (n = recv(p->fd, p->in, sizeof(p->in), 0)) > 0)
        taken += (size_t)n;
    peer_say(p, "+OK");
}

START_TEST(what_does_not_fit_into_the_socket_is_written_later)
{
    char *data = calloc(1, LARGE_BYTES);
    const struct yoke_bytes echo[] = {bytes("ECHO"), {data, LARGE_BYTES}};

    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(take_a_large_one);
        program_begin(drivers[i]);
        ck_assert_int_eq(yoke_send(client, 2, echo, on_answer, &program), 0);
        run_until(&program.answers, 1);
        ck_assert_int_eq(program.status, 0);
        program_end();
        part();
    }
    free(data);
}
END_TEST

static void lose_a_wait(struct peer *p)
{
    (void)peer_expect(p, "WAIT j1 -1");
}

static void resume_and_end(struct peer *p)
{
    if (back(p) && peer_expect(p, "WAIT j1 -1"))
        peer_say(p, ENDED);
}

START_TEST(another_connection_comes_into_the_loop_by_itself)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)VISIT(lose_a_wait, cut, resume_and_end);
        program_begin(drivers[i]);
        ck_assert_int_eq(
            yoke_sendl(client, on_answer, &program, "WAIT", "j1", "-1", NULL),
            0);
        run_until(&program.answers, 1);
        ck_assert_int_eq(program.status, 0);
        for (int n = 2; n <= 3; n++) {
            ping();
            run_until(&program.answers, n);
        }
        program_end();
        leave();
    }
}
END_TEST

/* The loop connects, says HELLO, and sends what was sent before that. */
START_TEST(a_handle_may_be_attached_before_it_is_connected)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        host_start(30000, (script_fn *const[]){silent}, 1);
        ck_assert_int_eq(yoke_open_begin(host.address, NULL, &client), 0);
        program_begin(drivers[i]);
        ping();
        run_until(&program.answers, 1);
        ck_assert_int_eq(program.status, 0);
        ck_assert(yoke_connected(client));
        ping();
        run_until(&program.answers, 2);
        program_end();
        leave();
    }
}
END_TEST

static void break_in_a_call(struct peer *p)
{
    if (peer_expect(p, "PING"))
        peer_say(p, "+OK");
    (void)peer_expect(p, "PING"); /* ... and breaks */
}

static void resume_alone(struct peer *p)
{
    (void)back(p);
}

/* The loop has no part in the call that connects again. */
START_TEST(a_connection_that_a_call_has_restored_is_watched)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)VISIT(break_in_a_call, resume_alone);
        program_begin(drivers[i]);
        ping();
        run_until(&program.answers, 1); /* it is watched */
        ck_assert_int_eq(yoke_commandl(client, NULL, "PING", NULL), 0);
        for (int n = 2; n <= 3; n++) {
            ping();
            run_until(&program.answers, n);
        }
        program_end();
        leave();
    }
}
END_TEST

static void close_at_once(struct peer *p)
{
    (void)peer_expect(p, "PING");
    (void)shutdown(p->fd, SHUT_RDWR);
}

START_TEST(the_end_is_told_once_after_all_answers)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(close_at_once);
        program_begin(drivers[i]);
        ping();
        ping();
        run_until(&program.ends, 1);
        ck_assert_int_eq(program.answers, 2);
        ck_assert_int_eq(program.status, YOKE_ERR_IO);
        program_end();
        part();
        ck_assert_int_eq(program.ends, 1);
    }
}
END_TEST

/* Of a handle that had ended before it was attached, too. */
START_TEST(a_handle_that_has_ended_is_told_of_by_the_loop)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(close_at_once);
        ck_assert_int_eq(yoke_commandl(client, NULL, "PING", NULL),
                         YOKE_ERR_IO);
        program_begin(drivers[i]);
        ck_assert_int_eq(program.ends, 0);
        run_until(&program.ends, 1);
        ck_assert_int_eq(program.status, YOKE_ERR_IO);
        program_end();
        part();
    }
}
END_TEST

START_TEST(a_handle_may_leave_its_loop_in_a_callback)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(silent);
        program_begin(drivers[i]);
        program.detaches = true;
        ping();
        run_until(&program.answers, 1);
        /* ... and come into another one. */
        ck_assert_int_eq(
            drivers[i]->attach(program.loop, client, on_end, &program), 0);
        ping();
        run_until(&program.answers, 2);
        program_end();
        part();
    }
}
END_TEST

START_TEST(a_handle_may_be_closed_in_a_callback_which_is_the_last_one)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(silent);
        program_begin(drivers[i]);
        program.closes = true;
        ping();
        ping();
        run_until(&program.answers, 1);
        program_end();
        peer_join();
        ck_assert_int_eq(program.answers, 1);
        ck_assert_int_eq(program.ends, 0);
    }
}
END_TEST

static void close_on_end(yoke *y, int status, void *arg)
{
    on_end(y, status, arg);
    yoke_close(y);
    client = NULL;
}

START_TEST(a_handle_may_be_closed_when_its_end_is_told)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(close_at_once);
        program =
            (struct program){.on = drivers[i], .loop = drivers[i]->new ()};
        ck_assert_int_eq(
            drivers[i]->attach(program.loop, client, close_on_end, &program),
            0);
        ping();
        run_until(&program.ends, 1);
        program_end();
        peer_join();
    }
}
END_TEST

START_TEST(a_handle_that_is_closed_leaves_its_loop)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(silent);
        program_begin(drivers[i]);
        ping();
        part();
        program_end();
        ck_assert_int_eq(program.answers, 0);
    }
}
END_TEST

START_TEST(a_handle_has_one_loop)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        (void)meet(silent);
        program_begin(drivers[i]);
        ck_assert_int_eq(
            drivers[i]->attach(program.loop, client, on_end, &program),
            YOKE_ERR_ARGUMENT);
        ping();
        run_until(&program.answers, 1);
        program_end();
        part();
    }
}
END_TEST

/* ------------------------------------------------------------ a poor loop */

/* Counts what it is asked for, and refuses. */
static struct {
    int watches, times, releases;
    int refuse; /* how many calls from now on are the last that it can do */
} poor;

static int poor_answer(void)
{
    return poor.refuse > 0 && --poor.refuse == 0 ? -1 : 0;
}

static int poor_watch(void *data, int fd, short events, bool anew)
{
    (void)data;
    (void)anew;
    ck_assert_int_eq(fd, yoke_fd(client));
    ck_assert_int_eq(events & POLLIN, POLLIN);
    poor.watches++;
    return poor_answer();
}

static int poor_time(void *data, int64_t ms)
{
    (void)data;
    ck_assert_int_ge(ms, YOKE_NONE);
    poor.times++;
    return poor_answer();
}

static void poor_release(void *data)
{
    (void)data;
    poor.releases++;
}

static const struct yoke_loop poor_loop = {poor_watch, poor_time, poor_release};

static void attach_to_poor_loop(void)
{
    memset(&poor, 0, sizeof(poor));
    program = (struct program){.on = NULL};
    ck_assert_int_eq(yoke_attach(client, &poor_loop, NULL, on_end, &program),
                     0);
}

START_TEST(a_loop_is_told_only_what_has_changed)
{
    (void)meet(silent);
    attach_to_poor_loop();
    yoke_turn(client);
    ck_assert_int_eq(poor.watches, 1);
    ck_assert_int_eq(poor.times, 2); /* the first turn, and no other one */
    yoke_turn(client);
    ck_assert_int_eq(poor.watches + poor.times, 3);
    for (int i = 0; i < 100; i++)
        ping();
    ck_assert_int_eq(poor.watches + poor.times, 4);
    while (program.answers < 100) {
        struct pollfd p = {.fd = yoke_fd(client), .events = POLLIN};

        yoke_turn(client);
        ck_assert_int_ge(poll(&p, 1, PATIENCE_MS), 0);
    }
    ck_assert_int_eq(poor.watches + poor.times, 5);
    part();
    ck_assert_int_eq(poor.releases, 1);
}
END_TEST

START_TEST(a_loop_without_memory_ends_the_handle_in_a_status)
{
    for (int refuse = 1; refuse <= 5; refuse++) {
        int status;

        (void)meet(silent);
        memset(&poor, 0, sizeof(poor));
        program = (struct program){.on = NULL};
        poor.refuse = refuse;
        status = yoke_attach(client, &poor_loop, NULL, on_end, &program);
        ck_assert_int_eq(status, refuse == 1 ? YOKE_ERR_NOMEM : 0);
        yoke_turn(client);
        status = yoke_sendl(client, on_answer, &program, "PING", NULL);
        yoke_turn(client);
        /* attached, watched, no other turn; sent; no other turn */
        ck_assert_int_eq(status == 0 || refuse <= 4, true);
        ck_assert_int_eq(program.ends,
                         refuse == 2 || refuse == 3 || refuse == 5);
        if (program.ends)
            ck_assert_int_eq(program.status, YOKE_ERR_NOMEM);
        ck_assert_int_eq(poor.releases, program.ends);
        part();
    }
}
END_TEST

START_TEST(poll_fills_no_more_than_there_is_room_for)
{
    struct yoke_poll loop = YOKE_POLL_INIT;
    struct pollfd fds[2] = {{.fd = -2}, {.fd = -2}};
    int wait_ms = 5000;

    (void)meet(silent);
    ck_assert_int_eq(yoke_poll_attach(&loop, client, NULL, NULL), 0);
    ck_assert_uint_eq(loop.count, 1);
    ck_assert_uint_eq(yoke_poll_fill(&loop, fds, 0, &wait_ms), 0);
    ck_assert_int_eq(fds[0].fd, -2);
    ck_assert_int_eq(wait_ms, 0); /* the first turn is due all the same */
    yoke_poll_run(&loop, fds, 0);
    wait_ms = 5000;
    ck_assert_uint_eq(yoke_poll_fill(&loop, fds, 2, &wait_ms), 1);
    ck_assert_int_eq(fds[0].fd, yoke_fd(client));
    ck_assert_int_eq(fds[1].fd, -2);
    ck_assert_int_eq(wait_ms, 5000);
    part();
    ck_assert_uint_eq(loop.count, 0);
}
END_TEST

int main(void)
{
    const TTest *const laws[] = {
        what_is_sent_anywhere_is_answered_without_a_call,
        what_does_not_fit_into_the_socket_is_written_later,
        another_connection_comes_into_the_loop_by_itself,
        a_handle_may_be_attached_before_it_is_connected,
        a_connection_that_a_call_has_restored_is_watched,
        the_end_is_told_once_after_all_answers,
        a_handle_that_has_ended_is_told_of_by_the_loop,
        a_handle_may_leave_its_loop_in_a_callback,
        a_handle_may_be_closed_in_a_callback_which_is_the_last_one,
        a_handle_may_be_closed_when_its_end_is_told,
        a_handle_that_is_closed_leaves_its_loop,
        a_handle_has_one_loop,
        a_loop_is_told_only_what_has_changed,
        a_loop_without_memory_ends_the_handle_in_a_status,
        poll_fills_no_more_than_there_is_room_for,
    };
    uv_loop_t first;

    /* What libuv opens once for all loops is there before descriptors are
     * counted. */
    if (uv_loop_init(&first) < 0 || uv_loop_close(&first) < 0)
        return EXIT_FAILURE;
    return run_suite("loop", laws, ARRAY_LEN(laws));
}
