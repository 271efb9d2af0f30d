/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options - what a job was submitted with, shared by those that have the same:
 * with the defaults of its queue, or with the one that came before it.
 */
#include "core/options.h"

#include "core/internal.h"
#include "core/job.h"
#include "core/queue.h"
#include "core/retry.h"

bool options_ok(const struct options *o)
{
    return o->timeout_ms >= -1 && o->deadline_ms >= -1 && o->grace_ms >= 0 &&
           o->keep_ms >= 0 && o->expires_ms >= -1 && o->retry >= 1 &&
           o->backoff_base_ms >= 0 && o->backoff_cap_ms >= 0 &&
           o->redeliver >= 0 &&
           retry_options_ok(o->factor_milli, o->jitter, o->retry_on);
}

void options_release(struct core *c, struct options *o)
{
    if (--o->refs > 0)
        return;
    account(c, -(int64_t)(sizeof(*o) + o->retry_on.len));
    mem_free((char *)o->retry_on.p);
    mem_free(o);
}

struct options *options_copy(struct core *c, const struct options *o)
{
    struct options *copy = mem_dup(o, sizeof(*o));

    copy->refs = 1;
    copy->retry_on.p =
        o->retry_on.len ? mem_dup(o->retry_on.p, o->retry_on.len) : NULL;
    account(c, (int64_t)(sizeof(*o) + o->retry_on.len));
    return copy;
}

bool options_equal(const struct options *a, const struct options *b)
{
    return a->timeout_ms == b->timeout_ms && a->deadline_ms == b->deadline_ms &&
           a->grace_ms == b->grace_ms && a->keep_ms == b->keep_ms &&
           a->expires_ms == b->expires_ms && a->retry == b->retry &&
           a->backoff_base_ms == b->backoff_base_ms &&
           a->backoff_cap_ms == b->backoff_cap_ms &&
           a->redeliver == b->redeliver && a->jitter == b->jitter &&
           a->factor_milli == b->factor_milli &&
           str_eq(a->retry_on, b->retry_on);
}

struct options *options_share(struct core *c, struct queue *q,
                              const struct options *o)
{
    if (options_equal(q->defaults, o))
        return q->defaults;
    if (c->last_options && c->last_options->queue == q &&
        options_equal(c->last_options, o))
        return c->last_options;
    if (c->last_options)
        options_release(c, c->last_options);
    c->last_options = options_copy(c, o);
    c->last_options->queue = q;
    return c->last_options;
}

struct options *options_own(struct core *c, struct job *j)
{
    struct options *o = j->options;

    if (o->refs == 1)
        return o;
    j->options = options_copy(c, o);
    options_release(c, o);
    return j->options;
}
