/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define EVERY_MS  100
#define BAR_WIDTH 24

void progress_init(struct progress *p)
{
    const char *term = getenv("TERM");

    *p = (struct progress){.begin_ms = cli_monotonic_ms()};
    p->on = isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

static void add_bar(struct text *line, const struct progress_counts *n)
{
    bool utf8 = output_is_utf8();
    int64_t full = n->total > 0 ? n->done * BAR_WIDTH / n->total : BAR_WIDTH;

    text_adds(line, output_color(stderr, COLOR_GREEN));
    for (int64_t i = 0; i < BAR_WIDTH; i++) {
        if (i == full)
            text_adds(line, output_color(stderr, COLOR_DIM));
        if (i < full)
            text_adds(line, utf8 ? "\u2501" : "=");
        else
            text_adds(line, utf8 ? "\u2500" : "-");
    }
    text_adds(line, output_color(stderr, COLOR_NONE));
    text_adds(line, "  ");
}

/* Rate, and the time that is left if it stays so. */
static void add_pace(struct text *line, const struct progress_counts *n,
                     int64_t elapsed_ms)
{
    int64_t tenths, left_s;

    if (n->done == 0 || elapsed_ms < 500)
        return;
    tenths = n->done * 10000 / elapsed_ms;
    if (tenths >= 100)
        text_addf(line, "  %" PRId64 "/s", tenths / 10);
    else if (tenths >= 1)
        text_addf(line, "  %" PRId64 ".%" PRId64 "/s", tenths / 10,
                  tenths % 10);
    if (n->total > n->done) {
        text_adds(line, "  ");
        left_s = (n->total - n->done) * elapsed_ms / n->done / 1000 + 1;
        output_duration(line, left_s * 1000);
        text_adds(line, " left");
    }
}

void progress_draw(struct progress *p, const struct progress_counts *n)
{
    int64_t now = cli_monotonic_ms();
    struct text line = {0};
    bool wide = output_columns(stderr) >= 80;

    /* the line of a program in the background would spoil the foreground's */
    if (!p->on || (p->drawn && now - p->last_ms < EVERY_MS) ||
        tcgetpgrp(STDERR_FILENO) != getpgrp())
        return;
    if (wide && n->total > 0)
        add_bar(&line, n);
    text_addf(&line, "%" PRId64, n->done);
    if (n->total >= 0)
        text_addf(&line, "/%" PRId64, n->total);
    text_adds(&line, " done");
    if (n->failed > 0)
        text_addf(&line, "  %s%" PRId64 " failed%s",
                  output_color(stderr, COLOR_RED), n->failed,
                  output_color(stderr, COLOR_NONE));
    text_addf(&line, "  %" PRId64 " running", n->running);
    if (n->cancelling)
        text_adds(&line, "  cancelling");
    else
        add_pace(&line, n, now - p->begin_ms);
    fprintf(stderr, "\r\033[K%s", text_str(&line));
    (void)fflush(stderr);
    text_clear(&line);
    p->drawn = true;
    p->last_ms = now;
}

void progress_erase(struct progress *p)
{
    if (!p->drawn)
        return;
    fputs("\r\033[K", stderr);
    (void)fflush(stderr);
    p->drawn = false;
}
