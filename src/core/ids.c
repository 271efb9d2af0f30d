/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ids - vectors of ids, which the core counts.
 */
#include "core/ids.h"

#include "core/internal.h"

void id_vector_push(struct core *c, struct id_vector *v, uint64_t id)
{
    if (v->len == v->cap) {
        size_t cap = v->cap ? v->cap * 2 : 8;

        account(c, (int64_t)((cap - v->cap) * sizeof(*v->ids)));
        v->ids = mem_realloc(v->ids, mem_mul(cap, sizeof(*v->ids)));
        v->cap = cap;
    }
    c->vectors += v->len == 0;
    v->ids[v->len++] = id;
    c->ids++;
}

void id_vector_cut(struct core *c, struct id_vector *v, size_t len)
{
    c->ids -= (int64_t)(v->len - len);
    c->vectors -= v->len > 0 && len == 0;
    v->len = len;
}

void id_vector_clear(struct core *c, struct id_vector *v)
{
    c->ids -= (int64_t)v->len;
    c->vectors -= v->len > 0;
    account(c, -(int64_t)(v->cap * sizeof(*v->ids)));
    mem_free(v->ids);
    *v = (struct id_vector){0};
}

size_t id_vector_after(const struct id_vector *v, uint64_t id)
{
    size_t low = 0, high = v->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if ((v->ids[mid] & ~ID_GROUP) <= id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
