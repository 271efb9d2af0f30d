/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke/libevent.h - handles of libyoke in a loop of libevent.
 *
 *     yoke_libevent_attach(base, y, on_end, NULL);
 *     event_base_dispatch(base);
 *
 * Link with -lyoke -levent_core. What begins with yk_ is not for programs.
 */
#ifndef YOKE_LIBEVENT_H
#define YOKE_LIBEVENT_H

#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>

#include <yoke.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yk_libevent {
    struct event_base *base;
    yoke *y;
    struct event *io, *timer;
};

static inline void yk_libevent_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    yoke_turn(((struct yk_libevent *)arg)->y);
}

static inline int yk_libevent_watch(void *data, int fd, short events, bool anew)
{
    struct yk_libevent *a = (struct yk_libevent *)data;
    int wanted = EV_PERSIST | (events & POLLIN ? EV_READ : 0) |
                 (events & POLLOUT ? EV_WRITE : 0);

    (void)anew; /* it is registered again in any case */
    if (event_del(a->io) < 0 || event_assign(a->io, a->base, fd, (short)wanted,
                                             yk_libevent_ready, a) < 0)
        return -1;
    return event_add(a->io, NULL);
}

static inline int yk_libevent_time(void *data, int64_t ms)
{
    struct yk_libevent *a = (struct yk_libevent *)data;
    struct timeval after;

    if (ms == YOKE_NONE)
        return event_del(a->timer);
    after.tv_sec = (time_t)(ms / 1000);
    after.tv_usec = (suseconds_t)(ms % 1000 * 1000);
    return event_add(a->timer, &after);
}

static inline void yk_libevent_release(void *data)
{
    struct yk_libevent *a = (struct yk_libevent *)data;

    if (a->io)
        event_free(a->io);
    if (a->timer)
        event_free(a->timer);
    free(a);
}

/* The loop drives the handle from now on, until yoke_detach, yoke_close, or
 * its end, of which `ended` is told; that may be NULL. Before the loop is
 * freed. YOKE_ERR_NOMEM; YOKE_ERR_ARGUMENT: it is attached already. */
static inline int yoke_libevent_attach(struct event_base *base, yoke *y,
                                       yoke_ended_fn *ended, void *arg)
{
    static const struct yoke_loop libevent = {
        yk_libevent_watch, yk_libevent_time, yk_libevent_release};
    struct yk_libevent *a = (struct yk_libevent *)calloc(1, sizeof(*a));
    int status = YOKE_ERR_NOMEM;

    if (!a)
        return status;
    a->base = base;
    a->y = y;
    a->io = event_new(base, yoke_fd(y), EV_READ, yk_libevent_ready, a);
    a->timer = event_new(base, -1, 0, yk_libevent_ready, a);
    if (a->io && a->timer)
        status = yoke_attach(y, &libevent, a, ended, arg);
    if (status < 0)
        yk_libevent_release(a);
    return status;
}

#ifdef __cplusplus
}
#endif

#endif
