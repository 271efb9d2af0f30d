/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * progress - one line on a terminal that shows how far something is.
 *
 * Draws on stderr, and only if that is a terminal that can move its cursor and
 * the program is in its foreground; otherwise all of it does nothing.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on, drawn;
    int64_t begin_ms, last_ms; /* of the monotonic clock */
};

struct progress_counts {
    int64_t total; /* -1: not known yet */
    int64_t done, failed, running;
    bool cancelling;
};

void progress_init(struct progress *p);
/* Draws unless that was done a moment ago. */
void progress_draw(struct progress *p, const struct progress_counts *counts);
/* Takes the line away, before something else is printed and at the end. */
void progress_erase(struct progress *p);

#endif
