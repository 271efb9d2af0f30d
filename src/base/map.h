/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map - intrusive hash table that grows one bucket at a time.
 *
 * Linear hashing: an insert splits at most one bucket, so a table of millions
 * never stops the loop to grow. The bucket of a node is the low bits of its
 * hash: keys that count up (ids) are their own hash and neighbours share cache
 * lines. Two nodes share a bucket: 4 bytes a node, for half a look more.
 * Several nodes may have the same hash; the caller compares keys.
 *
 * There is no iteration but by buckets: an order that depends on hashing must
 * not be observable. Owners keep a list beside it.
 */
#ifndef YOKE_MAP_H
#define YOKE_MAP_H

#include "base/base.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t len;    /* nodes */
    size_t active; /* buckets in use */
    size_t cap;    /* buckets allocated */
    uint64_t mask; /* hash & mask, or hash & (mask >> 1) when not split yet */
};

void map_init(struct map *m);
void map_clear(struct map *m); /* frees the buckets; nodes are left alone */

/* Set n->hash first. The node must not be in a map. */
void map_insert(struct map *m, struct map_node *n);
/* The node must be in the map. */
void map_remove(struct map *m, struct map_node *n);
/* First node with that hash, or NULL; map_next gives the others. */
struct map_node *map_find(const struct map *m, uint64_t hash);
struct map_node *map_next(const struct map_node *n);
/* The first node of bucket b < active, each followed by ->next. Whoever goes
 * through all of them, from 0 on, with inserts in between, has met each node
 * that was there: none ever moves to a lower one. */
static inline struct map_node *map_bucket(const struct map *m, size_t b)
{
    return m->buckets[b];
}

/* A hash for names. Not a defence against chosen collisions by itself: the
 * number of names is limited. */
uint64_t map_hash(const void *data, size_t len);

#endif
