/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/heap.h"

#include "base/mem.h"

/* Four children a node: half the depth of a binary heap, and the children of
 * a node share cache lines. */
#define ARITY 4u

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_clear(struct heap *h)
{
    mem_free(h->entries);
    heap_init(h);
}

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void place(struct heap *h, uint32_t i, struct heap_entry e)
{
    h->entries[i] = e;
    e.node->slot = i + 1;
}

static void sift_up(struct heap *h, uint32_t i)
{
    struct heap_entry e = h->entries[i];

    while (i > 0) {
        uint32_t parent = (i - 1) / ARITY;

        if (!before(&e, &h->entries[parent]))
            break;
        place(h, i, h->entries[parent]);
        i = parent;
    }
    place(h, i, e);
}

static void sift_down(struct heap *h, uint32_t i)
{
    struct heap_entry e = h->entries[i];

    for (;;) {
        uint32_t first = i * ARITY + 1, best = first;

        if (first >= h->len)
            break;
        for (uint32_t c = first + 1; c < first + ARITY && c < h->len; c++)
            if (before(&h->entries[c], &h->entries[best]))
                best = c;
        if (!before(&h->entries[best], &e))
            break;
        place(h, i, h->entries[best]);
        i = best;
    }
    place(h, i, e);
}

static void resettle(struct heap *h, uint32_t i)
{
    if (i > 0 && before(&h->entries[i], &h->entries[(i - 1) / ARITY]))
        sift_up(h, i);
    else
        sift_down(h, i);
}

void heap_set(struct heap *h, struct heap_node *n, int64_t at)
{
    struct heap_entry e = {.at = at, .seq = h->seq++, .node = n};

    if (n->slot) {
        uint32_t i = n->slot - 1;

        place(h, i, e);
        resettle(h, i);
        return;
    }
    if (h->len == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 8;
        h->entries =
            mem_realloc(h->entries, mem_mul(h->cap, sizeof(*h->entries)));
    }
    place(h, h->len++, e);
    sift_up(h, h->len - 1);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    uint32_t i;

    if (!n->slot)
        return;
    i = n->slot - 1;
    ASSERT(i < h->len && h->entries[i].node == n);
    n->slot = 0;
    h->len--;
    if (i == h->len)
        return;
    place(h, i, h->entries[h->len]);
    resettle(h, i);
}

void heap_shift(struct heap *h, int64_t by)
{
    for (uint32_t i = 0; i < h->len; i++)
        h->entries[i].at += by;
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->len ? h->entries[0].node : NULL;
}

int64_t heap_min_at(const struct heap *h)
{
    return h->len ? h->entries[0].at : INT64_MAX;
}

int64_t heap_at(const struct heap *h, const struct heap_node *n)
{
    ASSERT(n->slot && n->slot <= h->len);
    return h->entries[n->slot - 1].at;
}
