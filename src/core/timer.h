/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timer - when something is to be looked at again.
 *
 * Timers lie in what they belong to and are found again by their kind.
 */
#ifndef YOKE_CORE_TIMER_H
#define YOKE_CORE_TIMER_H

#include "base/heap.h"

enum timer_kind {
    TIMER_QUEUED,  /* struct extra: delay, deadline or expiry of a queued job */
    TIMER_RUN,     /* struct run: timeout, deadline, shield of an attempt */
    TIMER_KEEP,    /* struct end: forget the job */
    TIMER_GROUP,   /* struct group: deadline */
    TIMER_FORGET,  /* struct group, once it has ended: forget it */
    TIMER_SESSION, /* struct session: lease or grace */
    TIMER_WAITER,  /* struct waiter */
    TIMER_LIMITER, /* struct limiter: tokens for one that waits */
};

struct timer {
    struct heap_node node;
    uint8_t kind; /* enum timer_kind */
};

struct core;

void timer_set(struct core *c, struct timer *t, int64_t at_ms);
void timer_stop(struct core *c, struct timer *t);
/* Is its time up, although it has not fired yet? */
bool timer_due(const struct core *c, const struct timer *t);
/* When the next one fires. */
int64_t timers_next(const struct core *c);
/* Those fire whose time has come, for a while. Without room for records time
 * stands still but for what needs none. */
void timers_tick(struct core *c);
/* The clock was set by so much: those of waits, which are durations, go with
 * it. */
void timers_shift_waits(struct core *c, int64_t by_ms);
/* What is not to be kept any longer goes at once: in a replay, where it would
 * pile up, and before the first question is answered. */
void timers_forget_due(struct core *c);

#endif
