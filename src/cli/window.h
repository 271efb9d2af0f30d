/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * window - the jobs of a map that were begun and are not yet printed.
 *
 * Bounded: WINDOW_MAX jobs. They are found by the daemon's id and, where the
 * order of the inputs is kept, taken in the order of their numbers.
 * Pointers to items stay valid until window_drop.
 */
#ifndef CLI_WINDOW_H
#define CLI_WINDOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <yoke.h>

#include "cli/text.h"

#define WINDOW_MAX 16384u

struct item {
    uint64_t number; /* of the input, from 1; 0: the item is free */
    char *input;
    char id[YOKE_ID_SIZE]; /* "" until the daemon has answered */
    bool settled;          /* `out` is all that is to be printed */
    struct text out;
    json_t *json;   /* NULL, or what `out` is made of when all of it is here */
    int64_t cursor; /* of the log that is being read */
    struct item *next; /* in its bucket, or among the free ones */
};

struct window {
    struct item *items, *free;
    struct item **buckets, **order;
    size_t used;
    size_t held_bytes;    /* in the `out` of items that are settled */
    uint64_t first, last; /* first number not dropped; last one begun */
};

void window_init(struct window *w);
void window_clear(struct window *w);
/* A new item with the next number, or NULL: the window is full. */
struct item *window_begin(struct window *w, const char *input);
/* The daemon has named it. */
void window_name(struct window *w, struct item *item, const char *id);
/* NULL: not (or no longer) here. */
struct item *window_find(struct window *w, const char *id);
/* The one with the lowest number, if there is one. Only right when items are
 * dropped in this order. */
struct item *window_head(struct window *w);
void window_settle(struct window *w, struct item *item);
void window_drop(struct window *w, struct item *item);

#endif
