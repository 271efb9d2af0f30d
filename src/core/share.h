/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share - the turns of groups in a fair queue.
 */
#ifndef YOKE_CORE_SHARE_H
#define YOKE_CORE_SHARE_H

#include "base/list.h"
#include "base/map.h"

struct core;
struct group;
struct job;
struct queue;

/* The ready jobs of one group in a fair queue; volatile. */
struct share {
    struct map_node node; /* core->shares */
    struct list turn;     /* queue->turns[priority] */
    struct list jobs;
    struct group *group;
    struct queue *queue;
    uint8_t priority;
};

/* Where a job that becomes ready goes. */
struct list *share_place(struct core *c, struct job *j, bool front);
/* It has left; the share goes when it is empty. */
void share_left(struct core *c, const struct job *j);
/* The first ready job of that priority, of whose group it is the turn. */
struct job *share_first(const struct queue *q, int priority);
/* The first of those whose turn that one of queue->turns is; NULL: of those
 * that take no turns. */
struct job *share_first_of(const struct queue *q, int priority,
                           const struct list *turn);
/* It starts: the next turn is another group's. */
void share_served(const struct job *j);
void shares_clear(struct queue *q); /* when the core itself goes */

#endif
