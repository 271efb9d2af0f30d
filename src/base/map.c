/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/map.h"

#include "base/mem.h"
#include "base/plant.h"

#define FIRST_BUCKETS 16u

#ifdef YOKE_PLANT
enum plant plant_now;
uint64_t plant_salt;
#endif

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_clear(struct map *m)
{
    mem_free(m->buckets);
    map_init(m);
}

static size_t bucket_of(const struct map *m, uint64_t hash)
{
    size_t b;

    hash = PLANT_HASH(hash);
    b = (size_t)(hash & m->mask);

    /* Buckets at and past `active` are still folded into their lower half. */
    return b < m->active ? b : (size_t)(hash & (m->mask >> 1));
}

static void split_one(struct map *m)
{
    size_t from, to = m->active;
    struct map_node **link, *n;

    if (to == m->cap) {
        m->cap *= 2;
        m->buckets =
            mem_realloc(m->buckets, mem_mul(m->cap, sizeof(*m->buckets)));
        m->mask = m->cap - 1;
    }
    from = to & (size_t)(m->mask >> 1);
    m->buckets[to] = NULL;
    m->active++;
    link = &m->buckets[from];
    while ((n = *link)) {
        if ((PLANT_HASH(n->hash) & m->mask) == to) {
            *link = n->next;
            n->next = m->buckets[to];
            m->buckets[to] = n;
        } else {
            link = &n->next;
        }
    }
}

void map_insert(struct map *m, struct map_node *n)
{
    size_t b;

    if (!m->buckets) {
        m->buckets = mem_zalloc(FIRST_BUCKETS * sizeof(*m->buckets));
        m->cap = m->active = FIRST_BUCKETS;
        m->mask = FIRST_BUCKETS - 1;
    }
    if (m->len >= 2 * m->active)
        split_one(m);
    b = bucket_of(m, n->hash);
    n->next = m->buckets[b];
    m->buckets[b] = n;
    m->len++;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **link;

    ASSERT(m->len > 0);
    link = &m->buckets[bucket_of(m, n->hash)];
    while (*link != n) {
        ASSERT(*link);
        link = &(*link)->next;
    }
    *link = n->next;
    n->next = NULL;
    m->len--;
}

struct map_node *map_find(const struct map *m, uint64_t hash)
{
    struct map_node *n;

    if (!m->len)
        return NULL;
    for (n = m->buckets[bucket_of(m, hash)]; n; n = n->next)
        if (n->hash == hash)
            return n;
    return NULL;
}

struct map_node *map_next(const struct map_node *n)
{
    struct map_node *next = n->next;

    while (next && next->hash != n->hash)
        next = next->next;
    return next;
}

uint64_t map_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then a final mix */

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    return h;
}
