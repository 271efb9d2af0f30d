/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retain - what is kept of finished jobs, and in what order it goes when that
 * becomes too much.
 */
#include "core/retain.h"

#include "core/below.h"
#include "core/dead.h"
#include "core/errors.h"
#include "core/internal.h"
#include "core/job.h"

int64_t retain_bytes(const struct job *j)
{
    const struct extra *x = j->extra;
    int64_t bytes =
        (int64_t)(sizeof(*j) + sizeof(struct end)) + j->u.end->result_len;

    if (!x)
        return bytes;
    bytes += (int64_t)(sizeof(*x) + x->nerrors * sizeof(*x->errors));
    bytes += (int64_t)((x->name ? strlen(x->name) : 0) +
                       (x->reason ? strlen(x->reason) : 0) +
                       (x->then ? strlen(x->then) : 0));
    for (uint32_t i = 0; i < x->nerrors; i++)
        bytes += (int64_t)(x->errors[i].class.len + x->errors[i].message.len +
                           x->errors[i].detail.len);
    if (x->dead)
        bytes += (int64_t)(sizeof(*x->dead) + j->payload_len);
    if (x->key)
        bytes += (int64_t)(sizeof(*x->key) + x->key->len);
    if (x->below)
        bytes += (int64_t)(sizeof(*x->below) +
                           x->below->groups.cap * sizeof(uint64_t));
    return bytes;
}

void retain_count(struct core *c, const struct job *j, int sign)
{
    c->retained_jobs += sign;
    c->retained_bytes += sign * retain_bytes(j);
}

/* Jobs forgotten at once, so that a bound that was lowered makes no pause. */
#define RETAIN_SLICE 100

static struct group *first_spent(struct core *c)
{
    while (!list_empty(&c->spent)) {
        struct group *g =
            list_entry(list_first(&c->spent), struct group, spent);

        if (!list_empty(&g->finished))
            return g;
        list_remove(&g->spent);
    }
    return NULL;
}

/* Over the bound the oldest goes: a job of the root group, or a member of a
 * group that has ended and was read. Members of other groups stay until their
 * keep has passed. */
bool retain_enforce(struct core *c)
{
    for (int n = 0; c->retained_jobs > c->limits.retain_jobs ||
                    c->retained_bytes > c->limits.retain_bytes;
         n++) {
        struct list *first = list_first(&c->root.finished);
        struct job *oldest = first ? list_entry(first, struct job, link) : NULL;
        struct group *g = first_spent(c);

        if (g && (!oldest || g->ended_ms < oldest->u.end->ended_ms))
            oldest = list_entry(list_first(&g->finished), struct job, link);
        if (n == RETAIN_SLICE)
            return true;
        if (!oldest)
            return false;
        job_forget(c, oldest);
    }
    return false;
}
