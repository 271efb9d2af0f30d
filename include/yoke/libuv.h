/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke/libuv.h - handles of libyoke in a loop of libuv.
 *
 *     yoke_libuv_attach(uv_default_loop(), y, on_end, NULL);
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *
 * An attached handle keeps uv_run from returning. What yoke_detach leaves is
 * closed in the next turn of the loop, so run it once more before
 * uv_loop_close. Link with -lyoke -luv. What begins with yk_ is not for
 * programs.
 */
#ifndef YOKE_LIBUV_H
#define YOKE_LIBUV_H

#include <poll.h>
#include <stdlib.h>
#include <uv.h>

#include <yoke.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yk_libuv {
    uv_poll_t poll;
    uv_timer_t timer;
    yoke *y;
    int wanted, handles; /* not yet closed */
};

static inline void yk_libuv_ready(uv_poll_t *poll, int status, int events)
{
    struct yk_libuv *a = (struct yk_libuv *)poll->data;

    (void)events;
    /* It stops watching what has an error, which may be the socket's before
     * this one. */
    if (status < 0)
        (void)uv_poll_start(poll, a->wanted, yk_libuv_ready);
    yoke_turn(a->y);
}

static inline void yk_libuv_due(uv_timer_t *timer)
{
    yoke_turn(((struct yk_libuv *)timer->data)->y);
}

static inline int yk_libuv_watch(void *data, int fd, short events, bool anew)
{
    struct yk_libuv *a = (struct yk_libuv *)data;

    (void)fd; /* the number stays */
    a->wanted = (events & POLLIN ? UV_READABLE : 0) |
                (events & POLLOUT ? UV_WRITABLE : 0);
    if (anew)
        (void)uv_poll_stop(&a->poll); /* cannot fail */
    return uv_poll_start(&a->poll, a->wanted, yk_libuv_ready);
}

static inline int yk_libuv_time(void *data, int64_t ms)
{
    struct yk_libuv *a = (struct yk_libuv *)data;

    if (ms == YOKE_NONE)
        return uv_timer_stop(&a->timer);
    return uv_timer_start(&a->timer, yk_libuv_due, (uint64_t)ms, 0);
}

static inline void yk_libuv_closed(uv_handle_t *handle)
{
    struct yk_libuv *a = (struct yk_libuv *)handle->data;

    if (--a->handles == 0)
        free(a);
}

static inline void yk_libuv_release(void *data)
{
    struct yk_libuv *a = (struct yk_libuv *)data;

    uv_close((uv_handle_t *)&a->poll, yk_libuv_closed);
    uv_close((uv_handle_t *)&a->timer, yk_libuv_closed);
}

/* The loop drives the handle from now on, until yoke_detach, yoke_close, or
 * its end, of which `ended` is told; that may be NULL. Before the loop is
 * closed. YOKE_ERR_NOMEM; YOKE_ERR_ARGUMENT: it is attached already, or the
 * loop cannot watch it. */
static inline int yoke_libuv_attach(uv_loop_t *loop, yoke *y,
                                    yoke_ended_fn *ended, void *arg)
{
    static const struct yoke_loop libuv = {yk_libuv_watch, yk_libuv_time,
                                           yk_libuv_release};
    struct yk_libuv *a = (struct yk_libuv *)calloc(1, sizeof(*a));
    int status;

    if (!a)
        return YOKE_ERR_NOMEM;
    if (uv_poll_init(loop, &a->poll, yoke_fd(y)) < 0) {
        free(a);
        return YOKE_ERR_ARGUMENT;
    }
    (void)uv_timer_init(loop, &a->timer); /* cannot fail */
    a->poll.data = a->timer.data = a;
    a->y = y;
    a->handles = 2;
    status = yoke_attach(y, &libuv, a, ended, arg);
    if (status < 0)
        yk_libuv_release(a);
    return status;
}

#ifdef __cplusplus
}
#endif

#endif
