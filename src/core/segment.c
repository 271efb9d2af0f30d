/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment - how much of what lives lies in which segment of the store.
 */
#include "core/segment.h"

#include "core/internal.h"

void segment_set(struct core *c, uint32_t segment)
{
    size_t need;

    if (c->segment_held == 0)
        c->first_segment = segment;
    ASSERT(segment >= c->first_segment);
    need = (size_t)(segment - c->first_segment) + 1;
    if (need > c->segment_cap) {
        c->segment_live =
            mem_realloc(c->segment_live, mem_mul(need, sizeof(uint32_t)));
        memset(c->segment_live + c->segment_cap, 0,
               (need - c->segment_cap) * sizeof(uint32_t));
        c->segment_bytes =
            mem_realloc(c->segment_bytes, mem_mul(need, sizeof(int64_t)));
        memset(c->segment_bytes + c->segment_cap, 0,
               (need - c->segment_cap) * sizeof(int64_t));
        c->segment_cap = need;
    }
    c->segment = segment;
}

void segment_hold(struct core *c, uint32_t *where)
{
    *where = c->segment;
    c->segment_live[c->segment - c->first_segment]++;
    c->segment_held++;
}

void segment_drop(struct core *c, uint32_t where)
{
    uint32_t *live = &c->segment_live[where - c->first_segment];

    ASSERT(*live > 0);
    (*live)--;
    c->segment_held--;
}

void segment_move(struct core *c, uint32_t *where, uint32_t to, int64_t bytes)
{
    segment_drop(c, *where);
    c->segment_bytes[*where - c->first_segment] -= bytes;
    c->segment_bytes[to - c->first_segment] += bytes;
    *where = to;
    c->segment_live[to - c->first_segment]++;
    c->segment_held++;
}

void segments_trim(struct core *c)
{
    uint32_t n = c->segment - c->first_segment, dead = 0;

    while (dead < n && c->segment_live[dead] <= PLANTED(TRIMMED_EARLY))
        dead++;
    if (!dead)
        return;
    memmove(c->segment_live, c->segment_live + dead,
            (c->segment_cap - dead) * sizeof(uint32_t));
    memset(c->segment_live + c->segment_cap - dead, 0, dead * sizeof(uint32_t));
    memmove(c->segment_bytes, c->segment_bytes + dead,
            (c->segment_cap - dead) * sizeof(int64_t));
    memset(c->segment_bytes + c->segment_cap - dead, 0, dead * sizeof(int64_t));
    c->first_segment += dead;
    c->healing = false; /* or core_heal is called again */
    effect_add(c->out, EFFECT_TRIM)->segment = c->first_segment;
}
