/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter - permits and tokens, who waits for them, and whose turn it is.
 *
 * limiter.c has the limiters, line.c who waits for them and for the width of
 * groups, share.c the turns of groups in a fair queue.
 */
#ifndef YOKE_CORE_LIMITER_H
#define YOKE_CORE_LIMITER_H

#include "base/list.h"
#include "base/map.h"
#include "core/record.h"
#include "core/timer.h"

struct core;
struct group;
struct job;
struct queue;

/* Permits that a job needs, in the order of the limiters' numbers; shared by
 * all jobs that need the same. */
struct need {
    struct limiter *limiter;
    int64_t n;
};

struct needs {
    struct map_node node; /* core->needs */
    uint32_t refs, len;
    struct need list[];
};

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
};

/* Permits and tokens that jobs take when they start. */
struct limiter {
    struct map_node node; /* hash of the name; volatile */
    struct list link;     /* core->limiters */
    uint32_t id;          /* index in core->limiter_table */
    uint32_t segment;
    uint32_t refs; /* sets of needs, and one until it is deleted */
    uint32_t name_len;
    char *name;
    bool deleted;
    int64_t permits;       /* or CORE_NONE */
    int64_t rate, rate_ms; /* tokens and the time to refill them all; 0: any */
    int64_t level;         /* tokens at filled_ms, in parts of 1 / rate_ms */
    int64_t filled_ms;
    int64_t held;      /* permits of attempts whose body has not ended */
    int64_t users;     /* jobs that need it and have not ended */
    bool lowered;      /* volatile: more may be held than there are permits */
    bool stuck;        /* volatile: some wait only because others go first */
    bool again;        /* volatile: serve it once more */
    bool halfway;      /* volatile: a step ended while it was served */
    struct list lines; /* volatile: struct line.of_limiter */
    struct list wake;  /* volatile: core->limiter_wakes */
    struct list outranked; /* volatile: core->outranked; some wait only because
                            * a higher priority of their queue goes first */
    struct timer timer;    /* volatile: TIMER_LIMITER */
    int64_t waiting;       /* volatile: parked jobs that need it */
    int64_t shut_out;      /* volatile: lanes in `waiting` of its lines */
};

/* The ready jobs of one group in a fair queue; volatile. */
struct share {
    struct map_node node; /* core->shares */
    struct list turn;     /* queue->turns[priority] */
    struct list jobs;
    struct group *group;
    struct queue *queue;
    uint8_t priority;
};

/* ------------------------------------------------------------- limiter.c */

const char *limiter_apply(struct core *c, const struct record *r);
/* At the start of an attempt, of a job that may be forgotten by now. */
void limiter_spend(struct core *c, const struct record_needs *spends,
                   int64_t at_ms);
/* "name[:n],..." as numbers of limiters; answers the error if it is none. */
bool limiter_read_needs(struct core *c, struct client_id client,
                        struct str text, struct record_needs *out);
/* The shared set of what a record says; NULL: it says nothing possible. */
struct needs *needs_get(struct core *c, const struct record_needs *r);
void needs_put(struct core *c, struct needs *needs);
/* The job has been accepted (+1), or has ended (-1). */
void needs_use(struct needs *needs, int by);
/* Its permits are taken (+1) or given back (-1). */
void needs_hold(struct core *c, struct needs *needs, int by);
/* Are all of its limiters still there? */
bool needs_exist(const struct needs *needs);
/* Does an image say that they do not? Then only of a job that has ended. */
bool needs_deleted(const struct record_needs *r);
/* Are the limiters there, or were they deleted? */
bool needs_known(const struct core *c, const struct record_needs *r);
/* For a record of a job. */
void needs_write(const struct needs *needs, struct record_needs *out);
/* What a start of the job costs of limiters with a rate. */
void needs_spends(const struct needs *needs, struct record_needs *out);
/* Permits and tokens that are left; may be negative. */
int64_t limiter_room(const struct core *c, const struct limiter *l);
/* What a need for n amounts to as the limiter is now: who needs more than
 * there are takes all. */
int64_t limiter_cost(const struct limiter *l, int64_t n);
/* Are fewer permits free than a need for n holds? Who needs more than there are
 * holds all. */
bool limiter_lacks_permits(const struct limiter *l, int64_t n);
/* Who waits is looked at again before the step ends, or in the next. */
void limiter_wake(struct core *c, struct limiter *l);
/* ... once there are so many tokens, if they are what is short. */
void limiter_wake_at(struct core *c, struct limiter *l, int64_t tokens);
void limiter_timer(struct core *c, struct limiter *l);
/* Old segments can be removed once the images of all lie in newer ones, and a
 * job is never found before the image of what it needs. */
void limiter_write_image(struct core *c, uint32_t number);
void limiter_write_images(struct core *c, const struct record_needs *needs);
void limiters_clear(struct core *c); /* when the core itself goes */

void limiter_set(struct core *c, const struct core_event *ev);
void limiter_info(struct core *c, const struct core_event *ev);
void limiter_list(struct core *c, const struct core_event *ev);
void limiter_delete(struct core *c, const struct core_event *ev);

/* ---------------------------------------------------------------- line.c */

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
void limiter_serve(struct core *c, struct limiter *l);
/* Nobody fetches from it now: those that its jobs held back may go. */
void line_left(struct core *c, struct queue *q);
void line_unattended(struct core *c, struct queue *q);
/* Somebody fetches from it again: its jobs may hold others back. */
void line_attended(struct core *c, struct queue *q);
void lines_clear(struct core *c); /* when the core itself goes */

/* --------------------------------------------------------------- share.c */

/* Where a job that becomes ready goes. */
struct list *share_place(struct core *c, struct job *j, bool front);
/* It has left; the share goes when it is empty. */
void share_left(struct core *c, const struct job *j);
/* The first ready job of that priority, of whose group it is the turn. */
struct job *share_first(const struct queue *q, int priority);
/* It starts: the next turn is another group's. */
void share_served(const struct job *j);
void shares_clear(struct queue *q); /* when the core itself goes */

#endif
