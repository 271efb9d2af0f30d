/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * index - finds by its id what lies in it; see client.h.
 *
 * Chains in a table that doubles. Without memory to double it the chains get
 * longer, so that only the first node ever needs memory.
 */
#include "client/client.h"

#define INDEX_FIRST 16 /* a power of two */

/* FNV-1a: ids count up, and differ in their last letters. */
static size_t hash(const char *id, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)id[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static struct yk_node **chain(const struct yk_index *x, const char *id,
                              size_t len)
{
    return &x->chains[hash(id, len) & (x->cap - 1)];
}

static bool grow(struct yk_index *x)
{
    size_t cap = x->cap ? x->cap * 2 : INDEX_FIRST;
    struct yk_index grown = {.chains = yk_zalloc(cap, sizeof(*grown.chains)),
                             .cap = cap,
                             .count = x->count};

    if (!grown.chains)
        return x->cap > 0;
    for (size_t i = 0; i < x->cap; i++) {
        struct yk_node *n, *next;

        for (n = x->chains[i]; n; n = next) {
            struct yk_node **to = chain(&grown, n->id, strlen(n->id));

            next = n->next;
            n->next = *to;
            *to = n;
        }
    }
    free(x->chains);
    *x = grown;
    return true;
}

bool yk_index_put(struct yk_index *x, struct yk_node *n)
{
    struct yk_node **at;

    if (x->count >= x->cap && !grow(x))
        return false;
    at = chain(x, n->id, strlen(n->id));
    n->next = *at;
    *at = n;
    x->count++;
    return true;
}

struct yk_node *yk_index_find(const struct yk_index *x, const char *id,
                              size_t len)
{
    struct yk_node *n = x->cap && len <= YK_ID_MAX ? *chain(x, id, len) : NULL;

    while (n && (memcmp(n->id, id, len) != 0 || n->id[len] != '\0'))
        n = n->next;
    return n;
}

void yk_index_take(struct yk_index *x, struct yk_node *n)
{
    struct yk_node **at = chain(x, n->id, strlen(n->id));

    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    x->count--;
}

void yk_index_clear(struct yk_index *x)
{
    free(x->chains);
    *x = (struct yk_index){.cap = 0};
}
