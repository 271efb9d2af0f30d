/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group - one scope: its members, its policy, its end.
 */
#ifndef YOKE_CORE_GROUP_H
#define YOKE_CORE_GROUP_H

#include "base/list.h"
#include "base/map.h"
#include "core/ids.h"
#include "core/key.h"
#include "core/record.h"
#include "core/tables.h"
#include "core/timer.h"

struct core;
struct job;
struct session;

struct group {
    struct map_node node; /* hash: the id */
    uint64_t id;          /* 0: root */
    struct list link;     /* core->groups, or core->ended_groups */
    struct list sibling;  /* parent group's or run's groups, while not ended */
    struct group *parent; /* NULL: root, a job is the parent, or ended */
    struct job *parent_job;  /* NULL once ended */
    uint64_t parent_id;      /* of the group or job */
    uint32_t parent_attempt; /* 0: the parent is a group */
    uint32_t depth;
    uint32_t segment;
    struct list groups;           /* live groups in it */
    int64_t fail, succeed, width; /* width: CORE_NONE */
    int64_t deadline_ms;          /* own, or CORE_NONE */
    int64_t keep_ms;
    int64_t opened_ms, ended_ms;
    struct session *owner; /* NULL: detached, or its session is gone */
    struct list owned;     /* session->groups */
    char *name, *reason;   /* NULL: none */
    struct key *key;       /* as in struct extra */
    int64_t cancel_grace_ms;
    bool closed, ended;
    bool read;          /* its results were, to the end */
    bool failed_inside; /* something failed in a group that ended in it */
    bool errors_below;  /* ... or in one under a job in it */
    uint8_t cause;      /* enum cause: why it was cancelled; NONE: was not */
    uint8_t outcome;    /* enum outcome, once ended */
    int64_t live;       /* members that have not ended */
    int64_t queued, running; /* of live jobs; groups count as running */
    int64_t by_outcome[OUTCOMES_COUNT];
    int64_t members_total;
    int64_t active;           /* jobs running in it and in groups inside it */
    struct id_vector members; /* order of submission; not for root */
    struct id_vector done;    /* order of end; not for root */
    int64_t done_dropped;     /* volatile: ids that were at its front */
    size_t forgotten;         /* ids in `members` that are no more */
    struct list finished;     /* jobs, in order of end */
    struct timer timer;       /* TIMER_GROUP, TIMER_FORGET */
    struct list waiters;      /* volatile */
    struct list followers;    /* volatile: LOGS of it */
    struct list lanes;        /* volatile: of parked jobs */
    int64_t nproducers;       /* volatile: submits that wait with a member */
    struct list sweep;        /* volatile: core->sweeps or ->forgetting */
    size_t sweep_next;        /* volatile: index into members */
    struct list spent;        /* core->spent, while it was read and has some
                               * members left */
    /* See image.c; volatile. */
    bool unknown;          /* a member was met before it in a replay */
    uint64_t missing;      /* replay: ids that are still to come */
    struct list imaging;   /* core->imaging: its ids are being written, ... */
    uint64_t imaged;       /* ... so many are, ... */
    uint64_t members_then; /* ... of those that there were then, ... */
    uint64_t done_then;
    uint32_t image_segment; /* ... and the beginning lies here */
};

const char *group_apply(struct core *c, const struct record *r);
void group_init(struct group *g);
/* For apply and images: a group that is open, known, and in nothing; what it
 * was opened with; and whether it can have been. */
struct group *group_make(struct core *c, uint64_t id);
void group_fill(struct group *g, const struct record_group *rg);
bool group_possible(uint64_t id, const struct record_group *rg);
/* Where the KEY of a group is unique. */
struct key_scope group_key_scope(const struct record_group *rg);
void group_release(struct core *c, struct group *g); /* frees what it owns */
/* The one that it is in, or that the job is in under which it was opened. Of
 * what is forgotten nobody knows that any more: the root. */
struct group *group_above(struct core *c, const struct group *g);
/* Why it, or a scope above it, is cancelled; NULL: it is not. */
const char *group_cancelled(const struct group *g);
/* The cancel of a scope above may not have come here yet: bring it. */
void group_reach(struct core *c, struct group *g);
/* May it take a new member? */
bool group_takes(const struct core *c, const struct group *g);
/* The same; answers the error if not. */
bool group_accepts(struct core *c, struct client_id client,
                   const struct group *g);
void group_cancel(struct core *c, struct group *g, enum cause cause,
                  struct str reason, int64_t grace_ms);
void group_close(struct core *c, struct group *g);
/* After a member ended or the group was closed or cancelled: act on its policy
 * and end it when its time has come; then the same for its parents. */
void group_settle(struct core *c, struct group *g);
/* A job in it started (+1) or stopped running (-1), which lets parked ones go
 * on. */
void group_active(struct core *c, struct group *g, int64_t by);
/* The root counts what is still known of its members: it outlives them all,
 * and the records of those that are not. */
void group_root_forgets(struct group *root, enum outcome counted);
/* A group of it that has ended is known by an image (+1), or by another one
 * (-1). */
void group_root_knows(struct core *c, const struct group *g, int by);
void group_timer(struct core *c, struct group *g);
void group_keep_timer(struct core *c, struct group *g);
/* Forget an ended one with all its members, however many. */
void group_forget_now(struct core *c, struct group *g);
void group_arm(struct core *c, struct group *g);    /* set its timer */
void group_sweep(struct core *c, struct group *g);  /* a slice */
void group_forget(struct core *c, struct group *g); /* a slice */
/* The oldest ended group makes room, at once or soon; false: there is none. */
bool group_evict(struct core *c);
/* It is forgotten before its keep has passed. */
void group_record_forget(struct core *c, const struct group *g);

/* The group of a command; NULL: the error is answered. `why` the root cannot be
 * asked for that, after the name of the command. */
struct group *group_find_not_root(struct core *c, const struct core_event *ev,
                                  const char *why);
void group_open(struct core *c, const struct core_event *ev);
void group_close_event(struct core *c, const struct core_event *ev);
void group_info(struct core *c, const struct core_event *ev);

#endif
