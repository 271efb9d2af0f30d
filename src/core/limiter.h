/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter - permits and tokens that jobs take when they start.
 */
#ifndef YOKE_CORE_LIMITER_H
#define YOKE_CORE_LIMITER_H

#include "base/list.h"
#include "base/map.h"
#include "core/core.h"
#include "core/record.h"
#include "core/timer.h"

struct core;

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

#endif
