/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * heap - intrusive priority queue of times.
 *
 * The earliest comes first; equal times come in the order in which they were
 * set, so that a run can be repeated exactly. A node lives in its owner; an
 * owner must heap_remove() it before it goes away.
 */
#ifndef YOKE_HEAP_H
#define YOKE_HEAP_H

#include "base/base.h"

struct heap_node {
    uint32_t slot; /* index + 1; 0: not in a heap */
};

struct heap_entry {
    int64_t at;
    uint64_t seq;
    struct heap_node *node;
};

struct heap {
    struct heap_entry *entries;
    uint32_t len, cap;
    uint64_t seq;
};

void heap_init(struct heap *h);
void heap_clear(struct heap *h); /* frees the array; nodes are left alone */

/* Insert, or move if it is already there. */
void heap_set(struct heap *h, struct heap_node *n, int64_t at);
void heap_remove(struct heap *h, struct heap_node *n); /* no-op if absent */

/* All times by so much: their order stays. */
void heap_shift(struct heap *h, int64_t by);

/* The earliest node, or NULL. */
struct heap_node *heap_min(const struct heap *h);
/* Time of the earliest node, or INT64_MAX. */
int64_t heap_min_at(const struct heap *h);
/* Time of a node that is in the heap. */
int64_t heap_at(const struct heap *h, const struct heap_node *n);

static inline bool heap_has(const struct heap_node *n)
{
    return n->slot != 0;
}

#endif
