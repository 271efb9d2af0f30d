/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * any-loop - anyio: one code, any loop. The work is done by callbacks that know
 * no loop; whoever has one needs three functions of libyoke to drive them:
 * yoke_fd, yoke_events, yoke_process. Here poll(2) does it, then libev.
 *
 * Prints:
 *     with poll:
 *       a: ok
 *       b: ok
 *       all have ended
 *     with libev:
 *       a: ok
 *       b: ok
 *       all have ended
 */
#include <ev.h>
#include <poll.h>

#include "example.h"

/* --------------------------------------------- the work, which knows no loop
 */

struct work {
    char group[YOKE_ID_SIZE];
    bool over;
};

static void ask_next(yoke *y, struct work *w, const char *cursor);

/* A page of GROUP NEXT: its cursor, members, and whether that was all. */
static void on_next(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct work *w = arg;
    const struct yoke_value *members;

    must(y, status);
    members = &reply->items[1];
    for (size_t i = 0; i < members->count; i++)
        printf("  %s: %s\n", yoke_value_get(&members->items[i], "name")->s.data,
               yoke_value_get(&members->items[i], "outcome")->s.data);
    if (reply->items[2].i)
        w->over = true;
    else
        ask_next(y, w, reply->items[0].s.data);
}

static void ask_next(yoke *y, struct work *w, const char *cursor)
{
    must(y, yoke_sendl(y, on_next, w, "GROUP", "NEXT", w->group, cursor, "-1",
                       "COUNT", "1", NULL));
}

static void submit(yoke *y, const char *group, const char *name)
{
    const char *command[] = {"true", NULL};
    struct yoke_bytes argv[] = {{"SUBMIT", 6}, {"run", 3},
                                {NULL, 0}, /* the payload */
                                {"GROUP", 5},  {group, strlen(group)},
                                {"NAME", 4},   {name, strlen(name)}};

    must(y, yoke_command_payload(NULL, NULL, command, (struct yoke_bytes){0},
                                 &argv[2]));
    must(y, yoke_send(y, sizeof(argv) / sizeof(*argv), argv, NULL, NULL));
    yoke_free((char *)argv[2].data);
}

static void on_opened(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    struct work *w = arg;

    must(y, status);
    (void)snprintf(w->group, sizeof(w->group), "%s", reply->s.data);
    submit(y, w->group, "a");
    submit(y, w->group, "b");
    must(y, yoke_sendl(y, NULL, NULL, "GROUP", "CLOSE", w->group, NULL));
    ask_next(y, w, "0");
}

static void begin(yoke *y, struct work *w)
{
    must(y, yoke_sendl(y, on_opened, w, "GROUP", "OPEN", "WIDTH", "1", NULL));
}

/* -------------------------------------------------------------------- poll */

static void drive_with_poll(yoke *y, struct work *w)
{
    while (!w->over) {
        struct pollfd fd = {.fd = yoke_fd(y), .events = yoke_events(y)};

        (void)poll(&fd, 1, (int)yoke_timeout_ms(y));
        must(y, yoke_process(y));
    }
}

/* ------------------------------------------------------------------- libev */

struct driven {
    ev_io io;
    ev_timer again; /* while a broken connection is restored */
    yoke *y;
    struct work *w;
};

static void process(struct ev_loop *loop, struct driven *d)
{
    int64_t again_ms;
    short wanted;

    must(d->y, yoke_process(d->y));
    if (d->w->over) {
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    wanted = yoke_events(d->y);
    ev_io_stop(loop, &d->io);
    ev_io_set(&d->io, yoke_fd(d->y),
              EV_READ | (wanted & POLLOUT ? (int)EV_WRITE : 0));
    ev_io_start(loop, &d->io);
    again_ms = yoke_timeout_ms(d->y);
    ev_timer_stop(loop, &d->again);
    if (again_ms < 0)
        return;
    ev_timer_set(&d->again, (double)again_ms / 1000., 0.);
    ev_timer_start(loop, &d->again);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)revents;
    process(loop, io->data);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)revents;
    process(loop, timer->data);
}

static void drive_with_libev(yoke *y, struct work *w)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct driven d = {.y = y, .w = w};

    ev_io_init(&d.io, on_ready, yoke_fd(y), EV_READ | EV_WRITE);
    d.io.data = &d;
    ev_init(&d.again, on_again);
    d.again.data = &d;
    ev_io_start(loop, &d.io);
    ev_run(loop, 0);
    ev_timer_stop(loop, &d.again);
    ev_io_stop(loop, &d.io);
    ev_loop_destroy(loop);
}

int main(void)
{
    void (*const drive[])(yoke *, struct work *) = {drive_with_poll,
                                                    drive_with_libev};

    for (int i = 0; i < 2; i++) {
        struct work w = {.over = false};
        yoke *y = example_open();

        printf(i == 0 ? "with poll:\n" : "with libev:\n");
        begin(y, &w);
        drive[i](y, &w);
        printf("  all have ended\n");
        yoke_close(y);
    }
    return 0;
}
