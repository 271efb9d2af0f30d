/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * line - who waits for limiters, or for the width of a group, and whose turn
 * it is.
 */
#ifndef YOKE_CORE_LINE_H
#define YOKE_CORE_LINE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "core/core.h"

struct core;
struct group;
struct job;
struct limiter;
struct needs;
struct queue;

/*
 * Jobs of one queue and priority that wait for the same: for the width of
 * `group`, or, with `needs`, for permits; volatile. Once there may be room the
 * lane is open, and its first job is as good as the first of the queue's ready
 * ones. See line.c for those with needs.
 */
struct lane {
    struct list link;      /* group->lanes, for as long as the group lives; with
                            * needs: core->lanes, while there are jobs */
    struct list of_queue;  /* queue->lanes, likewise */
    struct heap_node open; /* queue->open[priority], by the first job */
    struct group *group;   /* with needs: of all jobs in it, or NULL: of any */
    struct queue *queue;
    struct list jobs;
    uint8_t priority;
    /* with needs */
    struct map_node node; /* core->lane_map */
    struct needs *needs;
    struct heap order;        /* of the jobs: struct extra.place, by id */
    int64_t turn;             /* its place in the lines; see line.c */
    int64_t served;           /* the earliest turn it can have */
    struct line *waits;       /* the line that has no room for it; NULL: open */
    struct heap_node waiting; /* waits->waiting[priority] */
    struct place {
        struct list link; /* line->places, in the order of turns */
        struct line *line;
        struct lane *lane;
        int64_t n;
    } places[]; /* one for each of its needs */
};

/* The lanes of one queue that need one limiter; volatile. */
struct line {
    struct list of_limiter; /* limiter->lines */
    struct list of_queue;   /* queue->lines */
    struct list offer;      /* queue->offers: there may be room for more of it
                             * than is open */
    struct limiter *limiter;
    struct queue *queue;
    struct list places;
    uint32_t nplaces[CORE_PRIORITIES];
    int64_t reserved;                     /* sum of what its places need */
    struct heap waiting[CORE_PRIORITIES]; /* by turn: lanes that wait for this
                                           * limiter more than for others */
    uint32_t waiting_mask;                /* bit p: waiting[p] is not empty */
    uint32_t shut;     /* bit p: the first of waiting[p] was refused, and so
                        * would be the others */
    uint32_t deferred; /* bit p: the first of waiting[p] is not yet due */
    bool passed_by;    /* in this round: its queue waits for a payload */
};

void lane_open(struct core *c, struct lane *lane);
void lane_close(struct lane *lane);
/* The first job of the queue's open lanes of the best priority, or NULL. */
struct job *lane_first(struct core *c, struct queue *q);

/* May the job take what it needs? If not it is parked, or its lane is closed.
 * It is the first of its lane, or a ready one. *put_off: nothing was decided, a
 * limiter will come by; not said of one that has just been parked. */
bool line_admit(struct core *c, struct job *j, bool *put_off);
/* Why it may not: the limiter, or NULL. */
const struct limiter *line_refuses(const struct core *c, const struct job *j);
/* The limiter that a parked job waits for, or NULL. */
const struct limiter *line_waits_for(const struct job *j);
/* It leaves its lane. */
void line_leave(struct core *c, struct job *j);
/* A job of it starts: in a fair queue it was its group's turn. */
void line_served(struct core *c, struct job *j);
/* It may start and has to wait for something else: it takes its place in line,
 * so that what it needs is put aside. */
void line_hold(struct core *c, struct job *j);
/* Give out what there is, in the order of turns: a slice. */
void line_serve(struct core *c, struct limiter *l);
/* Nobody fetches from it now: those that its jobs held back may go. */
void line_left(struct core *c, struct queue *q);
void line_unattended(struct core *c, struct queue *q);
/* Somebody fetches from it again: its jobs may hold others back. */
void line_attended(struct core *c, struct queue *q);
void lines_clear(struct core *c); /* when the core itself goes */

#endif
