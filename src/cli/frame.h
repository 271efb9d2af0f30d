/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame - a census as text: the daemon's figures, its queues, what runs, its
 * limiters, its workers.
 *
 * Each part gets as many lines as it has use for, as far as all of them can; a
 * heading says how many there are where not all are shown.
 */
#ifndef CLI_FRAME_H
#define CLI_FRAME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* At most so many lines, in the columns that the stream has. */
void frame_draw(FILE *to, const json_t *census, size_t lines);
/* Sorts the jobs of a census: who runs longest is first; or by_left: who has
 * the least time left. */
void frame_sort(const json_t *census, bool by_left);

#endif
