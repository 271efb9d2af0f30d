/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain - the end of the work of a queue.
 */
#ifndef YOKE_CORE_DRAIN_H
#define YOKE_CORE_DRAIN_H

#include "core/queue.h"

struct core;
struct job;

/* Does nothing start from it, because what waits in it is being cancelled? */
static inline bool drain_stops(const struct queue *q)
{
    return list_linked(&q->emptying) || q->door == DOOR_CLOSED_NOW;
}
/* Cancel what may not start any more, in slices from now on. */
void drain_begin(struct core *c, struct queue *q);
void drain_slice(struct core *c, struct queue *q);
/* The job waits in its queue. If it is to be cancelled there, it is now. */
bool drain_takes(struct core *c, struct job *j);
/* A job of the queue has ended: answer who waits for the last one. */
void drain_ended(struct core *c, struct queue *q);

void drain_close(struct core *c, const struct core_event *ev);
void drain_join(struct core *c, const struct core_event *ev);
void drain_purge(struct core *c, const struct core_event *ev);

#endif
