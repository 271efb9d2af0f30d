/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke/glib.h - handles of libyoke in a main context of GLib.
 *
 *     yoke_glib_attach(NULL, y, on_end, NULL);
 *     g_main_loop_run(loop);
 *
 * Link with -lyoke -lglib-2.0. What begins with yk_ is not for programs.
 */
#ifndef YOKE_GLIB_H
#define YOKE_GLIB_H

#include <glib-unix.h>
#include <poll.h>

#include <yoke.h>

#ifdef __cplusplus
extern "C" {
#endif

struct yk_glib {
    GSource source; /* first: it is allocated by GLib */
    yoke *y;
    gpointer fd; /* the tag that GLib gave it; NULL: not watched yet */
};

static inline gboolean yk_glib_dispatch(GSource *source, GSourceFunc none,
                                        gpointer arg)
{
    (void)none;
    (void)arg;
    yoke_turn(((struct yk_glib *)source)->y);
    return G_SOURCE_CONTINUE;
}

static inline int yk_glib_watch(void *data, int fd, short events, bool anew)
{
    struct yk_glib *a = (struct yk_glib *)data;
    GIOCondition wanted =
        (GIOCondition)((events & POLLIN ? G_IO_IN : 0) |
                       (events & POLLOUT ? G_IO_OUT : 0) | G_IO_ERR | G_IO_HUP);

    (void)anew; /* it is poll(2) that waits */
    if (a->fd)
        g_source_modify_unix_fd(&a->source, a->fd, wanted);
    else
        a->fd = g_source_add_unix_fd(&a->source, fd, wanted);
    return 0;
}

static inline int yk_glib_time(void *data, int64_t ms)
{
    struct yk_glib *a = (struct yk_glib *)data;

    g_source_set_ready_time(&a->source,
                            ms > 0 ? g_get_monotonic_time() + ms * 1000 : ms);
    return 0;
}

static inline void yk_glib_release(void *data)
{
    struct yk_glib *a = (struct yk_glib *)data;

    g_source_destroy(&a->source);
    g_source_unref(&a->source); /* one that is dispatched is freed after it */
}

/* The context, NULL: the default one, drives the handle from now on, until
 * yoke_detach, yoke_close, or its end, of which `ended` is told; that may be
 * NULL. Memory is GLib's, which aborts without it. YOKE_ERR_ARGUMENT: it is
 * attached already. */
static inline int yoke_glib_attach(GMainContext *context, yoke *y,
                                   yoke_ended_fn *ended, void *arg)
{
    static const struct yoke_loop glib = {yk_glib_watch, yk_glib_time,
                                          yk_glib_release};
    static GSourceFuncs functions = {NULL, NULL, yk_glib_dispatch,
                                     NULL, NULL, NULL};
    struct yk_glib *a =
        (struct yk_glib *)(void *)g_source_new(&functions, sizeof(*a));
    int status;

    a->y = y;
    (void)g_source_attach(&a->source, context);
    status = yoke_attach(y, &glib, a, ended, arg);
    if (status < 0)
        yk_glib_release(a);
    return status;
}

#ifdef __cplusplus
}
#endif

#endif
