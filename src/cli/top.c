/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * top - what a daemon does now, again and again.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/census.h"
#include "cli/cli.h"
#include "cli/frame.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/watch.h"

#define INTERVAL_MS 1000
#define RETRY_MS    500 /* while the daemon is gone */

enum { OPTION_ONCE = 400 };

const struct option_row top_options[] = {
    {'i', "interval", "D", "between two looks (1s)"},
    {OPTION_ONCE, "once", NULL, "print it as text and end"},
    {0, NULL, NULL, NULL},
};

struct top {
    struct cli *c;
    int64_t interval_ms;
    struct watch watch;
    struct census now;
    bool screen, paused, by_left; /* jobs: by the time left, not by the time
                                   * since their start */
};

/* ------------------------------------------------------------------- asking */

static void on_key(struct top *t)
{
    char key = screen_key();

    if (key == 'q') {
        screen_end();
        exit(0);
    }
    if (key == 'p')
        t->paused = !t->paused;
    if (key == 's')
        t->by_left = !t->by_left;
}

/* Asks, and keeps the answers; false: the daemon is gone. */
static bool look(struct top *t)
{
    yoke *y = t->watch.asker;
    struct census census;
    int status = 0;

    census_begin(&census, y);
    while (status == 0 && yoke_pending(y) > 0) {
        struct pollfd fds[] = {{.fd = yoke_fd(y), .events = yoke_events(y)},
                               {.fd = -1, .events = POLLIN}};

        if (t->screen)
            fds[1].fd = screen_fd();
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents != 0)
            on_key(t);
        if (fds[0].revents != 0)
            status = yoke_process(y);
    }
    if (status == 0)
        status = census.status;
    if (status != 0) {
        census_clear(&census);
        watch_lose(&t->watch, y, status, "cannot look at the daemon");
        return false;
    }
    census_end(&census, t->now.json);
    census_clear(&t->now);
    t->now = census;
    return true;
}

/* The last frame, below what is to be said about it. */
static void show(struct top *t)
{
    size_t lines, columns;
    char *frame;
    FILE *to;

    screen_size(&lines, &columns);
    to = output_frame_begin(columns);
    if (t->watch.asker == NULL || t->paused) {
        struct text say = {0};
        size_t room = columns;

        text_adds(&say, t->watch.asker == NULL
                            ? "the daemon is gone; waiting for it"
                            : "paused; p goes on");
        output_part(to, text_str(&say), COLOR_YELLOW, &room);
        fputc('\n', to);
        text_clear(&say);
        lines--;
    }
    if (t->now.json != NULL) {
        frame_sort(t->now.json, t->by_left);
        frame_draw(to, t->now.json, lines);
    }
    frame = output_frame_end();
    screen_show(frame);
    free(frame);
}

/* Until it is time, or a key or another size of the screen asks for the frame
 * anew; true: it is time. */
static bool wait_until(struct top *t, int64_t due_ms)
{
    int64_t rest_ms = due_ms - cli_monotonic_ms();
    struct pollfd fd = {.fd = screen_fd(), .events = POLLIN};
    int ready;

    if (rest_ms <= 0 && !t->paused)
        return true;
    ready = poll(&fd, 1, t->paused ? -1 : (int)rest_ms);
    if (ready > 0)
        on_key(t);
    return ready == 0;
}

static void watch_daemon(struct top *t)
{
    screen_begin();
    for (;;) {
        int64_t due_ms = cli_monotonic_ms() + t->interval_ms;

        if (t->watch.asker == NULL && !watch_again(&t->watch))
            due_ms = cli_monotonic_ms() + RETRY_MS;
        else
            (void)look(t);
        do
            show(t);
        while (!wait_until(t, due_ms));
    }
}

/* Rates need two looks. */
static void print_once(struct top *t)
{
    int64_t due_ms = cli_monotonic_ms() + t->interval_ms, rest_ms;
    bool there = look(t);

    while (there && (rest_ms = due_ms - cli_monotonic_ms()) > 0)
        (void)poll(NULL, 0, (int)rest_ms);
    if (!there || !look(t))
        exit(cli_own_failure(t->c));
    frame_sort(t->now.json, false);
    if (t->c->json) {
        output_json(json_incref(t->now.json));
        return;
    }
    frame_draw(stdout, t->now.json, SIZE_MAX);
}

int top_main(struct cli *c)
{
    struct top t = {.c = c, .interval_ms = INTERVAL_MS};
    bool once = false;
    int id;

    while ((id = options_next(c)) != 0) {
        if (id == OPTION_ONCE)
            once = true;
        else
            t.interval_ms = options_duration(c);
    }
    options_operands(c, 0, 0);
    if (t.interval_ms < 100 || t.interval_ms > INT64_C(86400000))
        cli_usage(c, "--interval is from 100ms to 1d");
    t.screen = !once && !c->json && screen_possible();
    t.watch.quiet = t.screen;
    watch_begin(&t.watch, c);
    if (t.screen)
        watch_daemon(&t);
    else
        print_once(&t);
    census_clear(&t.now);
    watch_end(&t.watch);
    return 0;
}
