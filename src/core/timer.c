/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timer - when something is to be looked at again, and whom that wakes.
 */
#include "core/timer.h"

#include "core/attempt.h"
#include "core/full.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/waiter.h"
#include "core/worker.h"

static struct heap *timer_heap(struct core *c, const struct timer *t)
{
    switch ((enum timer_kind)t->kind) {
    case TIMER_KEEP:
    case TIMER_FORGET:
        return &c->keeps;
    case TIMER_WAITER:
        return &c->waits;
    case TIMER_QUEUED:
    case TIMER_RUN:
    case TIMER_GROUP:
    case TIMER_SESSION:
    case TIMER_LIMITER:
        break;
    }
    return &c->timers;
}

void timer_set(struct core *c, struct timer *t, int64_t at_ms)
{
    heap_set(timer_heap(c, t), &t->node, at_ms);
}

void timer_stop(struct core *c, struct timer *t)
{
    heap_remove(timer_heap(c, t), &t->node);
}

bool timer_due(const struct core *c, const struct timer *t)
{
    ASSERT(t->kind != TIMER_KEEP && t->kind != TIMER_FORGET &&
           t->kind != TIMER_WAITER);
    return heap_has(&t->node) && heap_at(&c->timers, &t->node) <= c->now_ms;
}

static void timer_fire(struct core *c, struct timer *t)
{
    switch ((enum timer_kind)t->kind) {
    case TIMER_QUEUED:
        job_queued_timer(c, container_of(t, struct extra, timer));
        return;
    case TIMER_RUN:
        attempt_timer(c, container_of(t, struct run, timer));
        return;
    case TIMER_KEEP:
        job_keep_timer(c, container_of(t, struct end, timer));
        return;
    case TIMER_GROUP:
        group_timer(c, container_of(t, struct group, timer));
        return;
    case TIMER_FORGET:
        group_keep_timer(c, container_of(t, struct group, timer));
        return;
    case TIMER_SESSION:
        session_timer(c, container_of(t, struct session, timer));
        return;
    case TIMER_WAITER:
        waiter_give_up(c, container_of(t, struct waiter, timer));
        return;
    case TIMER_LIMITER:
        limiter_timer(c, container_of(t, struct limiter, timer));
        return;
    }
    BUG("unknown timer");
}

/* The first timer whose time has come, stopped; NULL: none. */
static struct timer *timer_take(struct core *c, struct heap *heap)
{
    struct timer *t;

    if (!heap_min(heap) || heap_min_at(heap) > c->now_ms)
        return NULL;
    t = container_of(heap_min(heap), struct timer, node);
    timer_stop(c, t);
    return t;
}

int64_t timers_next(const struct core *c)
{
    int64_t silent = min_i64(heap_min_at(&c->waits), heap_min_at(&c->keeps));

    return full_is_spent(c) ? silent : min_i64(silent, heap_min_at(&c->timers));
}

void timers_tick(struct core *c)
{
    while (timers_next(c) <= c->now_ms && core_work_unrecorded(c)) {
        bool waits = full_is_spent(c) ||
                     heap_min_at(&c->waits) < heap_min_at(&c->timers);
        struct timer *t = timer_take(c, waits ? &c->waits : &c->timers);

        timer_fire(c, t ? t : timer_take(c, &c->keeps));
    }
}

void timers_shift_waits(struct core *c, int64_t by_ms)
{
    heap_shift(&c->waits, by_ms);
}

void timers_forget_due(struct core *c)
{
    struct timer *t;

    while ((t = timer_take(c, &c->keeps))) {
        if (t->kind == TIMER_KEEP)
            job_keep_timer(c, container_of(t, struct end, timer));
        else
            group_forget_now(c, container_of(t, struct group, timer));
    }
}
