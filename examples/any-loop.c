/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * any-loop - anyio: one code, any loop. The work is done by callbacks that know
 * no loop; whoever has one attaches the handle to it. Here it is poll(2), then
 * libev; there are adapters for libuv, libevent and GLib, too.
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
#include <yoke/libev.h>
#include <yoke/poll.h>

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
    struct yoke_poll loop = YOKE_POLL_INIT;

    must(y, yoke_poll_attach(&loop, y, NULL, NULL));
    while (!w->over) {
        struct pollfd fds[1]; /* more, in a program that does more */
        int wait_ms = -1;
        size_t n = yoke_poll_fill(&loop, fds, 1, &wait_ms);

        (void)poll(fds, n, wait_ms);
        yoke_poll_run(&loop, fds, n);
    }
    yoke_detach(y);
}

/* ------------------------------------------------------------------- libev */

static void drive_with_libev(yoke *y, struct work *w)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

    must(y, yoke_libev_attach(loop, y, NULL, NULL));
    while (!w->over)
        ev_run(loop, EVRUN_ONCE);
    yoke_detach(y);
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
