/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * groups - keeps many groups under way on one connection, in a loop of libev
 * or libuv.
 *
 *     groups libev|libuv ADDRESS AT_ONCE TOTAL
 *
 * Each group has three jobs in the queue "work". By its number it is cancelled
 * (every 11th), or its first job is asked to fail (every 7th of the others).
 * Prints how many ended how, and how many were under way at most.
 */
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <yoke.h>
#include <yoke/libev.h>
#include <yoke/libuv.h>

#define JOBS 3
/* So many requests may be done twice by a connection that breaks, and are not
 * (yoke.h, "broken connections"); a group's opening leads to JOBS more. */
#define OPENINGS_MAX (1023 / (JOBS + 1))

struct group {
    char id[YOKE_ID_SIZE];
    unsigned long number;
};

static struct {
    unsigned long at_once, total;
    unsigned long begun, ended, open, most, openings;
    unsigned long outcomes[YOKE_CANCELLED + 1];
} state;

static void must(yoke *y, int status)
{
    if (status >= 0)
        return;
    fprintf(stderr, "groups: %s\n", yoke_error_text(y));
    exit(1);
}

static void begin_more(yoke *y);

static void on_end(yoke *y, const char *id, int status,
                   const struct yoke_outcome_info *o, void *arg)
{
    (void)id;
    must(y, status);
    state.outcomes[o->outcome]++;
    state.ended++;
    state.open--;
    free(arg);
    begin_more(y);
}

/* A group that has failed takes no more. */
static void on_submitted(yoke *y, int status, const struct yoke_value *reply,
                         void *arg)
{
    (void)reply;
    (void)arg;
    if (status != YOKE_ERR_CANCELLED)
        must(y, status);
}

static void on_done(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    (void)reply;
    (void)arg;
    must(y, status);
}

static void on_closed(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    (void)reply;
    (void)arg;
    must(y, status);
    state.openings--;
    begin_more(y);
}

static void on_opened(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    struct group *g = arg;
    bool cancelled = g->number % 11 == 0, fails = g->number % 7 == 0;
    struct yoke_submit s;

    must(y, status);
    (void)snprintf(g->id, sizeof(g->id), "%s", reply->s.data);
    yoke_submit_init(&s);
    s.queue = "work";
    s.group = g->id;
    for (int i = 0; i < JOBS; i++) {
        s.payload.data = fails && !cancelled && i == 0 ? "fail" : "good";
        s.payload.len = 4;
        must(y, yoke_send_submit(y, &s, on_submitted, NULL));
    }
    if (cancelled)
        must(y, yoke_sendl(y, on_done, NULL, "CANCEL", g->id, NULL));
    must(y, yoke_sendl(y, on_closed, NULL, "GROUP", "CLOSE", g->id, NULL));
    must(y, yoke_await(y, g->id, on_end, g));
}

static void begin_more(yoke *y)
{
    while (state.begun < state.total && state.open < state.at_once &&
           state.openings < OPENINGS_MAX) {
        struct group *g = calloc(1, sizeof(*g));

        if (!g)
            abort();
        g->number = ++state.begun;
        state.open++;
        state.openings++;
        if (state.open > state.most)
            state.most = state.open;
        must(y,
             yoke_sendl(y, on_opened, g, "GROUP", "OPEN", "FAIL", "1", NULL));
    }
}

static void on_handle_end(yoke *y, int status, void *arg)
{
    (void)arg;
    must(y, status);
}

static void drive_libev(yoke *y)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

    must(y, yoke_libev_attach(loop, y, on_handle_end, NULL));
    begin_more(y);
    while (state.ended < state.total)
        (void)ev_run(loop, EVRUN_ONCE);
    yoke_detach(y);
    ev_loop_destroy(loop);
}

static void drive_libuv(yoke *y)
{
    uv_loop_t loop;

    if (uv_loop_init(&loop) < 0)
        abort();
    must(y, yoke_libuv_attach(&loop, y, on_handle_end, NULL));
    begin_more(y);
    while (state.ended < state.total)
        (void)uv_run(&loop, UV_RUN_ONCE);
    yoke_detach(y);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* its handles close */
    (void)uv_loop_close(&loop);
}

int main(int argc, char **argv)
{
    yoke *y;

    if (argc != 5) {
        fprintf(stderr, "groups libev|libuv ADDRESS AT_ONCE TOTAL\n");
        return 2;
    }
    state.at_once = strtoul(argv[3], NULL, 10);
    state.total = strtoul(argv[4], NULL, 10);
    int status = yoke_open(argv[2], NULL, &y);

    must(y, status);
    (strcmp(argv[1], "libuv") == 0 ? drive_libuv : drive_libev)(y);
    printf("ok %lu failed %lu cancelled %lu most %lu\n",
           state.outcomes[YOKE_SUCCEEDED], state.outcomes[YOKE_FAILED],
           state.outcomes[YOKE_CANCELLED], state.most);
    yoke_close(y);
    return 0;
}
