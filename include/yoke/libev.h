/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke/libev.h - handles of libyoke in a loop of libev.
 *
 *     yoke_libev_attach(EV_DEFAULT, y, on_end, NULL);
 *     ev_run(EV_DEFAULT, 0);
 *
 * Link with -lyoke -lev. What begins with yk_ is not for programs.
 */
#ifndef YOKE_LIBEV_H
#define YOKE_LIBEV_H

#include <ev.h>
#include <poll.h>
#include <stdlib.h>

#include <yoke.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yk_libev {
    struct ev_loop *loop;
    yoke *y;
    ev_io io;
    ev_timer timer;
};

static inline void yk_libev_ready(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    yoke_turn(((struct yk_libev *)io->data)->y);
}

static inline void yk_libev_due(struct ev_loop *loop, ev_timer *timer,
                                int revents)
{
    (void)loop;
    (void)revents;
    yoke_turn(((struct yk_libev *)timer->data)->y);
}

static inline int yk_libev_watch(void *data, int fd, short events, bool anew)
{
    struct yk_libev *a = (struct yk_libev *)data;
    int wanted =
        (events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0);

    (void)anew; /* ev_io_set registers it again in any case */
    ev_io_stop(a->loop, &a->io);
    ev_io_set(&a->io, fd, wanted);
    ev_io_start(a->loop, &a->io);
    return 0;
}

static inline int yk_libev_time(void *data, int64_t ms)
{
    struct yk_libev *a = (struct yk_libev *)data;

    ev_timer_stop(a->loop, &a->timer);
    if (ms == YOKE_NONE)
        return 0;
    ev_timer_set(&a->timer, (double)ms / 1000., 0.);
    ev_timer_start(a->loop, &a->timer);
    return 0;
}

static inline void yk_libev_release(void *data)
{
    struct yk_libev *a = (struct yk_libev *)data;

    ev_io_stop(a->loop, &a->io);
    ev_timer_stop(a->loop, &a->timer);
    free(a);
}

/* The loop drives the handle from now on, until yoke_detach, yoke_close, or
 * its end, of which `ended` is told; that may be NULL. Before the loop is
 * freed. YOKE_ERR_NOMEM; YOKE_ERR_ARGUMENT: it is attached already. */
static inline int yoke_libev_attach(struct ev_loop *loop, yoke *y,
                                    yoke_ended_fn *ended, void *arg)
{
    static const struct yoke_loop libev = {yk_libev_watch, yk_libev_time,
                                           yk_libev_release};
    struct yk_libev *a = (struct yk_libev *)calloc(1, sizeof(*a));
    int status;

    if (!a)
        return YOKE_ERR_NOMEM;
    a->loop = loop;
    a->y = y;
    ev_init(&a->io, yk_libev_ready);
    ev_init(&a->timer, yk_libev_due);
    a->io.data = a->timer.data = a;
    status = yoke_attach(y, &libev, a, ended, arg);
    if (status < 0)
        yk_libev_release(a);
    return status;
}

#ifdef __cplusplus
}
#endif

#endif
