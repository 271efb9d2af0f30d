/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internal - struct core, which has everything, and what core.c offers to the
 * other files of the core. What else there is is in the header of its noun.
 *
 * Of what the core knows part is durable: it follows from the records alone and
 * is written by apply functions only (job_apply, group_apply, queue_apply). The
 * rest is volatile: who waits, which ready job is parked, leases, output.
 * Volatile members are marked so; after a replay they are empty.
 */
#ifndef YOKE_CORE_INTERNAL_H
#define YOKE_CORE_INTERNAL_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/slab.h"
#include "core/core.h"
#include "core/group.h"
#include "core/record.h"
#include "core/tables.h"
#include "core/timer.h"

struct job;
struct limiter;
struct options;
struct queue;
struct session;

/* What one step does at most of what can wait for the next: units of work (a
 * job ended, parked, forgotten ...) of each kind, and bytes, for the records of
 * a step are one entry of the store. */
#define STEP_WORK    1000
#define STEP_RECORDS (1 << 18)
#define STEP_VALUES  (4 << 20)

struct core {
    struct core_limits limits;
    struct map jobs, groups, sessions, clients, queue_names, keys;
    struct map awaits; /* volatile: see await.c */
    struct queue **queue_table;
    uint32_t queue_count;
    struct map limiter_names, needs, lane_map, shares;
    struct limiter **limiter_table;  /* by number, with gaps */
    uint32_t limiter_count;          /* of the table */
    struct limiter *deleted_limiter; /* of images; NULL: none yet */
    int64_t nlimiters;
    struct list limiters, lanes, passing, outranked;
    int64_t last_turn;
    struct list queues, all_groups, ended_groups, all_sessions, all_clients,
        joining, delivering;
    struct list numbered;      /* sessions with numbers, by asked.segment */
    int64_t numbers;           /* the size of their images, in numbers */
    uint32_t numbered_segment; /* of the oldest of these; UINT32_MAX: none */
    struct session *asking;    /* volatile: whose numbered request was looked
                                * at last; NULL: it is gone */
    struct group root;
    /* Whose end may be recorded, and two kinds that nothing is recorded for:
     * of the commands that wait (TIMER_WAITER), and of what is kept (TIMER_KEEP
     * and TIMER_FORGET), which a replay goes by, too. */
    struct heap timers, waits, keeps;
    struct slabs slabs; /* of jobs, what they have, and payloads */
    uint64_t next_id;
    bool started, disk_full, draining;
    bool disk_narrow;  /* volatile: nothing new is taken in; so while it is
                        * full */
    bool disk_bounded; /* volatile: ... by disk-max */
    int64_t room;   /* volatile: that can be recorded while the disk is full */
    int64_t spared; /* volatile: of it, for what is no image and no report */
    bool dropped;   /* the replay has dropped numbers of some session */
    int64_t news_work; /* volatile: of EVENT_WATCH; 0: no EFFECT_NEWS */
    /* What goes on in slices; see core.c. */
    struct list run_sweeps;  /* runs whose groups are told of their fate */
    struct list sweeps;      /* groups whose members are being cancelled */
    struct list emptying;    /* queues whose jobs are being cancelled */
    struct list dead;        /* struct dead.all */
    struct list dead_purges; /* struct waiter.link */
    int64_t ndead;
    struct list retries; /* struct waiter.link: RETRY, DEAD_RETRY */
    struct list noticed; /* sessions with news for a FETCH */
    struct list wakes;   /* queues with room for producers, or with work */
    struct list
        limiter_wakes;       /* limiters with room, or who waits has changed */
    struct list left;        /* queues that others need not wait for any more */
    struct limiter *serving; /* whose permits are given out now ... */
    int64_t serving_until;   /* ... to those whose turn is not later */
    struct list forgetting;  /* ended groups whose members are being freed */
    uint32_t images_next;    /* queues from this number on want an image */
    uint32_t limiter_images_next;
    int64_t work;             /* left in this step */
    struct list spent;        /* ended groups, in the order of being read */
    struct list imaging;      /* groups; see image.c */
    struct list imaging_jobs; /* struct imaging.link */
    struct list belows;       /* struct below.link */
    bool
        heal_waits; /* volatile: core_heal has met payloads that are not here */
    bool healing;   /* volatile: ... and is not through */
    struct buf scratch;   /* for what an image is put together from */
    bool lost;            /* core_lost: what is not known may be made up */
    bool salvaged;        /* core_salvage: what cannot be may be */
    bool imaged;          /* an image made something known in this replay */
    int64_t ids;          /* in all vectors; ... */
    int64_t vectors;      /* those that are not empty */
    int64_t live_bytes;   /* see live.c: of jobs and groups, ... */
    int64_t option_bytes; /* ... of the options of jobs, ... */
    int64_t name_bytes;   /* ... of the names of queues and limiters */
    uint64_t next_place;  /* of a result that waits to be delivered */
    struct options *last_options; /* that were a job's own; NULL: none yet */
    int64_t memory;               /* bytes */
    /* Payloads; volatile. See payload.c. */
    struct buf written;      /* uint64_t: jobs that the last entry made known;
                              * with ID_GROUP: their payloads stay */
    struct map loads;        /* struct load, by place, ... */
    struct list loads_asked; /* ... and in the order of asking */
    int64_t loading_bytes;   /* of the jobs that wait for them */
    int64_t unloaded, unloaded_bytes; /* jobs, and bytes of payload */
    int64_t at_once;                  /* FETCHes that wait for nothing else */
    uint64_t fetches;                 /* volatile: that have come */
    size_t hand; /* payloads are let go in the bucket of jobs before it next */
    int64_t retained_jobs, retained_bytes; /* finished jobs */
    int64_t state_counts[JOB_STATES_COUNT];
    int64_t payload_bytes, log_bytes, ngroups, nended, nsessions, nblocked;
    struct list outputs;     /* jobs' output, oldest first */
    int64_t outputs_begin;   /* where the cursors of all of it begin; another at
                              * each start */
    int64_t printed;         /* the cursor after all of it */
    struct buf arrivals;     /* struct arrival, ... */
    int64_t arrivals_useful; /* ... of which so many are of use */
    /* live entities whose image lies in a segment */
    uint32_t first_segment, segment;
    uint32_t *segment_live;
    int64_t *segment_bytes; /* of c->live_bytes */
    size_t segment_cap;
    uint64_t segment_held;    /* sum of segment_live */
    struct core_stats totals; /* the counters that only grow */
    /* valid during a step */
    struct core_effects *out; /* NULL: replay */
    int64_t now_ms;
    uint64_t random;
};

/* Write a fact down and apply it. */
void core_record(struct core *c, const struct record *r);
/* Apply a fact. NULL, or why it cannot follow from what went before. */
const char *core_apply(struct core *c, const struct record *r);

struct core_effect *effect_add(struct core_effects *e,
                               enum core_effect_kind kind);
/* Answer a client: write one value between begin and end, and nothing else:
 * what is recorded meanwhile may be news. */
struct buf *reply_begin(struct core *c, struct client_id client);
void reply_end(struct core *c);
void reply_ok(struct core *c, struct client_id client);
void reply_null(struct core *c, struct client_id client);
void reply_error(struct core *c, struct client_id client, enum core_error code,
                 const char *fmt, ...) ATTR_PRINTF(4, 5);

/* The connection is to be closed, and what it still has to say is not heard. */
void core_cut(struct core *c, struct client_id client);

/* Reading a missing thing: answers the error and returns NULL. */
struct job *find_job(struct core *c, struct job_id id);
struct job *find_job_or_reply(struct core *c, struct client_id client,
                              struct job_id id);
struct group *find_group(struct core *c, struct group_id id);
struct group *find_group_or_reply(struct core *c, struct client_id client,
                                  struct group_id id);

/* May another unit of work be done in this step? Then it is counted. The second
 * one is for work that records nothing, which goes on when the reserve of a
 * full disk is used up. */
bool core_work(struct core *c);
bool core_work_unrecorded(struct core *c);
/* Queues, limiters, or numbers have no image in the newest segment yet. */
bool core_images_left(const struct core *c);

static inline void account(struct core *c, int64_t bytes)
{
    c->memory += bytes;
}

/* What was not given. */
static inline int64_t or_default(int64_t value, int64_t fallback)
{
    return value == CORE_UNSET ? fallback : value;
}

#endif
