/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke/poll.h - handles of libyoke in a program that calls poll(2) itself.
 *
 *     struct yoke_poll loop = YOKE_POLL_INIT;
 *     yoke_poll_attach(&loop, y, on_end, NULL);
 *     for (;;) {
 *         struct pollfd fds[MAX];  // its own ones first
 *         int wait_ms = -1;
 *         size_t n = yoke_poll_fill(&loop, fds + own, MAX - own, &wait_ms);
 *         poll(fds, own + n, wait_ms);
 *         yoke_poll_run(&loop, fds + own, n);
 *     }
 *
 * Link with -lyoke. What begins with yk_ is not for programs.
 */
#ifndef YOKE_POLL_H
#define YOKE_POLL_H

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include <yoke.h>

#ifdef __cplusplus
extern "C" {
#endif

LIST_HEAD(yk_poll_list, yk_poll);

struct yoke_poll {
    struct yk_poll_list all, ready; /* each handle is in one of them */
    size_t count;                   /* of handles: read it, leave it alone */
};
/* clang-format off */
#define YOKE_POLL_INIT {{NULL}, {NULL}, 0}
/* clang-format on */

struct yk_poll {
    LIST_ENTRY(yk_poll) link;
    struct yoke_poll *loop;
    yoke *y;
    int fd;
    short events;
    size_t place;   /* in what was filled */
    int64_t due_ms; /* YOKE_NONE: never */
};

static inline int64_t yk_poll_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int yk_poll_watch(void *data, int fd, short events, bool anew)
{
    struct yk_poll *a = (struct yk_poll *)data;

    (void)anew; /* poll(2) asks each time */
    a->fd = fd;
    a->events = events;
    return 0;
}

static inline int yk_poll_time(void *data, int64_t ms)
{
    ((struct yk_poll *)data)->due_ms =
        ms == YOKE_NONE ? YOKE_NONE : yk_poll_now_ms() + ms;
    return 0;
}

static inline void yk_poll_release(void *data)
{
    struct yk_poll *a = (struct yk_poll *)data;

    LIST_REMOVE(a, link);
    a->loop->count--;
    free(a);
}

/* The calls below drive the handle from now on, until yoke_detach, yoke_close,
 * or its end, of which `ended` is told; that may be NULL. YOKE_ERR_NOMEM;
 * YOKE_ERR_ARGUMENT: it is attached already. */
static inline int yoke_poll_attach(struct yoke_poll *loop, yoke *y,
                                   yoke_ended_fn *ended, void *arg)
{
    static const struct yoke_loop poll2 = {yk_poll_watch, yk_poll_time,
                                           yk_poll_release};
    struct yk_poll *a = (struct yk_poll *)calloc(1, sizeof(*a));
    int status;

    if (!a)
        return YOKE_ERR_NOMEM;
    a->loop = loop;
    a->y = y;
    a->fd = yoke_fd(y);
    LIST_INSERT_HEAD(&loop->all, a, link);
    loop->count++;
    status = yoke_attach(y, &poll2, a, ended, arg);
    if (status < 0)
        yk_poll_release(a);
    return status;
}

/* What poll(2) is to wait for: an entry for each of loop->count handles, and no
 * longer than *wait_ms (-1: for ever) is afterwards. The number of entries, at
 * most room; a handle for which there is none is not looked at this time. */
static inline size_t yoke_poll_fill(struct yoke_poll *loop, struct pollfd *fds,
                                    size_t room, int *wait_ms)
{
    int64_t now = yk_poll_now_ms(), wait = *wait_ms;
    struct yk_poll *a;
    size_t n = 0;

    LIST_FOREACH(a, &loop->all, link)
    {
        int64_t left = a->due_ms > now ? a->due_ms - now : 0;

        a->place = n;
        if (n < room) {
            fds[n].fd = a->fd;
            fds[n].events = a->events;
            fds[n++].revents = 0;
        }
        if (a->due_ms != YOKE_NONE && (wait < 0 || left < wait))
            wait = left;
    }
    *wait_ms = wait < INT_MAX ? (int)wait : INT_MAX;
    return n;
}

/* After poll(2), with the n entries as it left them: calls back. Not within a
 * callback. */
static inline void yoke_poll_run(struct yoke_poll *loop,
                                 const struct pollfd *fds, size_t n)
{
    int64_t now = yk_poll_now_ms();
    struct yk_poll *a, *next;

    for (a = LIST_FIRST(&loop->all); a; a = next) {
        bool due = a->due_ms != YOKE_NONE && a->due_ms <= now;

        next = LIST_NEXT(a, link);
        if (!due && (a->place >= n || fds[a->place].revents == 0))
            continue;
        LIST_REMOVE(a, link);
        LIST_INSERT_HEAD(&loop->ready, a, link);
    }
    while ((a = LIST_FIRST(&loop->ready))) {
        LIST_REMOVE(a, link);
        LIST_INSERT_HEAD(&loop->all, a, link);
        yoke_turn(a->y);
    }
}

#ifdef __cplusplus
}
#endif

#endif
