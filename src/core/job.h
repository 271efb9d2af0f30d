/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * job - one job, whatever it does: what is known of it, and what may be done
 * with it.
 */
#ifndef YOKE_CORE_JOB_H
#define YOKE_CORE_JOB_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "core/options.h"
#include "core/record.h"
#include "core/tables.h"
#include "core/timer.h"

struct below;
struct core;
struct dead;
struct group;
struct imaging;
struct job_error;
struct key;
struct lane;
struct needs;
struct output;
struct queue;
struct run;
struct session;

/* What most queued jobs do not need. */
struct extra {
    struct job *job;
    struct timer timer; /* TIMER_QUEUED */
    char *name;         /* NULL: none */
    char *reason;       /* why it was cancelled, first one; NULL: was not */
    char *then;         /* queues that the result goes through; NULL: none */
    uint64_t next;      /* the job that its result became; 0: none */
    struct job_error *errors;
    uint32_t nerrors;
    int64_t error_bytes; /* as they lie in an image */
    uint32_t failures;   /* failed attempts */
    uint32_t losses;     /* lost attempts */
    bool errors_below; /* as in struct run, of the last attempt that is over */
    int64_t not_before_ms;
    struct needs *needs;     /* NULL: none */
    struct lane *lane;       /* volatile: parked in it for want of `needs` */
    struct heap_node place;  /* volatile: lane->order */
    struct list waiters;     /* volatile: struct waiter.link */
    struct output *output;   /* volatile */
    struct key *key;         /* NULL: none, or it leads elsewhere */
    struct dead *dead;       /* NULL: is not on the list of the dead */
    struct below *below;     /* NULL: no group was opened under it */
    uint64_t retried;        /* the job that was made of it; 0: none */
    struct imaging *imaging; /* volatile: see there; NULL: none */
};

/* A finished job. */
struct end {
    struct job *job;
    struct timer timer; /* TIMER_KEEP */
    uint8_t outcome;    /* enum outcome */
    bool body_done;     /* ... although the last body was done: it is not ok */
    uint32_t result_len;
    char *result;       /* NULL unless ok */
    int64_t started_ms; /* of the last attempt; CORE_NONE */
    int64_t ended_ms;
};

/*
 * A job is in exactly one list, by `link`:
 *   DELAYED              queue->delayed
 *   READY                queue->ready[priority], or share->jobs
 *   PARKED               lane->jobs
 *   RUNNING, CANCELLING  session->held
 *   JOINING              core->joining
 *   DELIVERING           core->delivering
 *   FINISHED             group->finished
 * Millions of these are the memory of the daemon: look at the size.
 */
struct job {
    struct map_node node; /* hash: the id */
    struct list link;
    struct group *group;
    struct options *options; /* they know the queue */
    struct extra *extra;     /* NULL: nothing special */
    union {
        char *payload;   /* DELAYED, READY, PARKED */
        struct run *run; /* RUNNING, CANCELLING, JOINING, DELIVERING; it has the
                          * payload, and so has ... */
        struct end *end; /* FINISHED: ... extra->dead, or nobody any more */
    } u;
    uint64_t submitted_ms : 47; /* Unix; to the year 6429 */
    uint64_t is_read : 1; /* volatile: its payload was, and is wanted soon */
    uint8_t state;
    uint8_t priority;
    uint32_t payload_len;
    uint32_t attempt; /* number of the last one begun */
    uint32_t segment; /* of the store: what it follows from is no older */
    /* volatile: the place of the payload in the store; see payload.c */
    uint32_t offset : 30;     /* of the entry; 0: not known */
    uint32_t lies_behind : 1; /* it is in the segment after `segment` */
    uint32_t loading : 1;
};
_Static_assert(sizeof(struct job) <= 88, "every queued job pays for this");

#define SUBMITTED_MS_MAX ((UINT64_C(1) << 47) - 1)

static inline struct queue *job_queue(const struct job *j)
{
    return j->options->queue;
}

/* Its attempt is not over: of the body, or of what is below it. */
static inline bool job_runs(const struct job *j)
{
    return j->state == JOB_RUNNING || j->state == JOB_CANCELLING ||
           j->state == JOB_JOINING;
}

/* Its struct run is there: that holds the result of one that is done, too. */
static inline bool job_has_run(const struct job *j)
{
    return job_runs(j) || j->state == JOB_DELIVERING;
}

const char *job_apply(struct core *c, const struct record *r);
const char *job_state_name(enum job_state s);
const char *outcome_name(enum outcome o);

/* For apply and images: a job that is in no list and has no state yet; NULL, or
 * why it cannot be. Its queue exists. */
const char *job_make(struct core *c, uint64_t id, const struct record_job *rj,
                     struct group *g, struct job **out);
/* A record of it that is written or read now is needed from this segment on: a
 * replay takes it only behind images of its queue and its limiters, and which
 * of them was the last may lie in an earlier one. The store begins a segment
 * with an entry that does not fit into the one before, and the core is told
 * then. */
uint32_t job_follows_from(const struct core *c, const struct job *j);
/* It takes its place, and is counted; what its state needs, see below, is for
 * the caller. */
void job_enter(struct core *c, struct job *j, enum job_state state,
               struct list *place);
struct end *job_make_end(struct core *c, struct job *j);
/* It is finished, with this outcome and result, and among the dead or not; for
 * so many ms then, or 0: as long as its queue says. */
void job_set_end(struct core *c, struct job *j, struct end *end, bool dead,
                 int64_t dead_keep);
/* Of a finished one: when it is forgotten. */
int64_t job_kept_until(const struct core *c, const struct job *j);
void job_set_reason(struct core *c, struct extra *x, struct str reason);

/* For apply. The one writer of job->state: leaves the old list, enters the new
 * one, which may be the front of it, and keeps every counter. */
void job_move(struct core *c, struct job *j, enum job_state to,
              struct list *place, bool front);
void job_become_ready(struct core *c, struct job *j, bool front);
/* It is ready for as long as it takes to go somewhere else. */
void job_pass_through_ready(struct core *c, struct job *j);
/* A volatile move, without a record: a ready or parked job waits for the width
 * of this group. */
void job_park(struct core *c, struct job *j, struct group *full);
/* Likewise, for want of permits: into the lane, which counts it already. */
void job_park_in(struct core *c, struct job *j, struct lane *lane);
/* When the core itself goes: no counters, no records. */
void job_free(struct core *c, struct job *j);
/* Forget a finished job. */
void job_forget(struct core *c, struct job *j);

struct extra *job_extra(struct core *c, struct job *j);
/* A group above it that has no width left, or NULL. */
struct group *job_full_group(const struct job *j);
/* Lent for as long as the job stays in its state; p is NULL when it is not in
 * memory. */
struct str job_payload(const struct job *j);
bool job_not_started(const struct job *j);
bool job_past_deadline(const struct core *c, const struct job *j);
/* Before its first start: not before that time; CORE_NONE: now. */
void job_delay(struct core *c, struct job *j, int64_t not_before_ms,
               int64_t now_ms);
/* Queued, but its deadline or EXPIRES has passed. */
bool job_overdue(const struct core *c, const struct job *j);
/* Queued, and a cancel or a time is on its way to it: that ends it now. */
bool job_end_due(struct core *c, struct job *j);

/* Decisions. */
void job_start(struct core *c, struct job *j, struct session *s);
/* Cancel: ends it if it is queued, else asks it. */
void job_cancel(struct core *c, struct job *j, struct str reason,
                int64_t grace_ms);
/* The job is over, whatever it did. It may have been forgotten afterwards. */
void job_end(struct core *c, struct job *j, const struct record_verdict *v);
void job_queued_timer(struct core *c, struct extra *x);
void job_keep_timer(struct core *c, struct end *end);
void job_arm_queued(struct core *c, struct job *j);

/* Events. */
void job_status(struct core *c, const struct core_event *ev);
void job_result(struct core *c, const struct core_event *ev);
void job_cancel_event(struct core *c, const struct core_event *ev);

#endif
