/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internal - the private structures of the core, and who offers what.
 *
 * Part of it is durable: it follows from the records alone and is written by
 * apply functions only (job_apply, group_apply, queue_apply). The rest is
 * volatile: who waits, which ready job is parked, leases, output. Volatile
 * members are marked so; after a replay they are empty.
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
#include "core/limiter.h"
#include "core/record.h"
#include "core/tables.h"
#include "core/timer.h"

#define REASON_OWNER_LOST    "owner-lost"
#define REASON_PARENT_FAILED "parent-failed"
#define MESSAGE_GROUP_FAILED "a group under it failed" /* of class "group" */

/* What one step does at most of what can wait for the next: units of work (a
 * job ended, parked, forgotten ...) of each kind, and bytes, for the records of
 * a step are one entry of the store. */
#define STEP_WORK    1000
#define STEP_RECORDS (1 << 18)
#define STEP_VALUES  (4 << 20)

struct job_error {
    struct str class, message, detail; /* owned, one allocation at class.p */
    uint32_t attempt;
    bool body_done; /* what failed was not the body of the attempt */
    int64_t at_ms;
};

/* Where a KEY is unique: in a queue, or under what a group is opened under. */
enum key_kind { KEY_QUEUE, KEY_GROUP, KEY_JOB };

struct key_scope {
    uint64_t id;
    uint32_t attempt; /* KEY_JOB */
    uint32_t kind;    /* enum key_kind */
};

/* A KEY: the job or group that it leads to for as long as that is known, or
 * none yet but submits that wait for room. */
struct key {
    struct map_node node; /* hash: of all of it */
    struct key_scope scope;
    uint64_t of;         /* the id; 0: nothing yet */
    struct list waiters; /* volatile: struct waiter.keyed */
    uint32_t len;
    char text[];
};

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

/* Errors of a job that lie apart from its image, and are still to be written;
 * in a replay, to be read. */
struct imaging {
    struct list link; /* core->imaging_jobs */
    struct job *job;
    uint32_t next, then; /* those from `next` on, before `then` */
    uint32_t lost;       /* replay: of those before `next` */
    uint32_t segment;    /* the image lies here */
};

/* Ids in order of arrival. */
struct id_vector {
    uint64_t *ids;
    size_t len, cap;
};

/* Ids of groups in vectors carry this bit; no id itself does. */
#define ID_GROUP (UINT64_C(1) << 63)

/* The groups that were opened under a job, by all of its attempts. */
struct below {
    struct list link; /* core->belows */
    struct job *job;
    struct id_vector groups; /* in the order of opening */
    size_t forgotten;        /* ids in it that are no more */
};

/* A job that has failed for good and may be run once more: its payload is still
 * there. */
struct dead {
    struct list all;      /* core->dead, in order of end */
    struct list of_queue; /* queue->dead, likewise */
    struct job *job;
    char *payload; /* as in struct job */
};

/* How an attempt's body ended. */
struct verdict {
    enum verdict_kind kind;
    struct str result;                 /* OK */
    struct str class, message, detail; /* FAILED, LOST */
};

/* A running attempt. */
struct run {
    struct job *job;
    char *payload;           /* as in struct job */
    struct session *session; /* NULL once the body has ended */
    struct timer timer;      /* TIMER_RUN */
    uint8_t asked;           /* enum cause, first one; NONE: nobody asked it
                              * to stop */
    bool cancelled;          /* from outside, first or later; while a shield
                              * keeps it back, nobody has asked */
    bool cancelled_first;    /* ... and not by the cause that asked */
    bool asked_late;         /* ... after its body had ended */
    bool child_failed;       /* a group under it failed */
    bool child_cancelled;    /* a group under it was cancelled */
    bool errors_below;       /* something failed in a group under it */
    uint8_t verdict;         /* JOINING: enum verdict_kind */
    int64_t started_ms;
    int64_t shield_ms;  /* shielded until then; 0: is not */
    int64_t grace_ms;   /* of the ask, or of a cancel that is kept back */
    uint64_t body;      /* the group of its body (see scope.c), or 0 */
    struct list groups; /* struct group.sibling: live groups under it */
    uint32_t live_groups;
    struct list sweep;   /* volatile: core->run_sweeps */
    uint32_t sweep_left; /* volatile: groups still to be cancelled or closed */
    char *result;        /* JOINING with VERDICT_OK, DELIVERING */
    uint32_t result_len;
    uint64_t place;       /* DELIVERING: numbers order those that wait */
    struct list notice;   /* volatile: session->notices, until told */
    struct list delivery; /* volatile: queue->deliveries of the next queue */
    struct list fed;      /* volatile, with it: feed->runs */
    struct feed *feed;    /* NULL: it is in no line */
    char *progress;       /* volatile */
    bool is_ready;        /* it has announced itself ... */
    uint32_t ready_len;
    char *ready; /* ... with this value */
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
#define OFFSET_MAX       ((UINT32_C(1) << 30) - 1)

static inline struct queue *job_queue(const struct job *j)
{
    return j->options->queue;
}

/* Who may go in. */
enum door {
    DOOR_OPEN,
    DOOR_CLOSED,     /* nobody; what is in it goes on */
    DOOR_CLOSED_NOW, /* ... and nothing starts any more */
};

struct queue {
    struct map_node node; /* hash of the name; volatile */
    struct list link;     /* core->queues */
    uint32_t id;          /* index in core->queue_table */
    uint32_t segment;
    char *name;
    uint32_t name_len;
    bool made_up; /* its image was lost */
    struct queue_settings settings;
    struct options *defaults; /* settings as options */
    bool paused;
    uint8_t door; /* enum door */
    struct list ready[CORE_PRIORITIES];
    uint32_t ready_mask; /* bit p: ready[p] or turns[p] is not
                          * empty */
    struct list
        turns[CORE_PRIORITIES]; /* volatile: struct share.turn, and ... */
    struct list plain_turn[CORE_PRIORITIES]; /* ... of ready[p], if there are
                                              * shares, too */
    uint32_t nshares;                        /* volatile */
    struct heap open[CORE_PRIORITIES];       /* volatile: struct lane.open */
    uint32_t open_mask;                      /* bit p: open[p] is not empty */
    struct list lines;  /* volatile: struct line.of_queue */
    struct list offers; /* volatile: struct line.offer */
    bool holds_back;    /* volatile: others wait because its
                         * jobs go first */
    struct list left;   /* volatile: core->left, as it is not fetched from */
    struct list restored[CORE_PRIORITIES]; /* ready ones whose images came late
                                            * in a replay, until it is over */
    struct list delayed;
    struct list lanes;     /* volatile: struct lane.of_queue */
    struct list wake;      /* volatile: core->wakes */
    struct list emptying;  /* volatile: core->emptying; see drain.c */
    uint64_t purge_before; /* volatile: jobs with lower ids go; 0: none */
    int64_t purged;        /* volatile: jobs that went so */
    struct list purgers, joiners; /* volatile: struct waiter.link */
    struct list dead;             /* struct dead.of_queue */
    int64_t ndead;
    int64_t jobs, bytes;      /* not started */
    int64_t delivering_bytes; /* payloads of those that are DELIVERING */
    struct list deliveries;   /* volatile: struct run.delivery, to here ... */
    struct list feeds;        /* ... by where they come from: struct feed.to */
    struct list search;       /* while a circle is looked for; see deliver.c */
    struct feed *onward;      /* likewise */
    int64_t counts[JOB_STATES_COUNT];
    struct list producers; /* volatile: struct waiter.link */
    struct list fetchers;  /* volatile: struct fetch_link.link */
    int64_t nproducers, nfetchers;
    bool stuck;    /* volatile: whose turn it is has no payload yet */
    int ahead;     /* volatile: so many starts, and more is read ahead */
    bool was_full; /* volatile: since a submit last found room at once */
    uint64_t total_submitted, total[OUTCOMES_COUNT]; /* volatile */
};

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

/* What the last numbered requests of a session led to; see once.c. */
struct asked {
    uint64_t first, last; /* numbers */
    uint32_t cap;         /* a power of two; 0: there was none */
    uint64_t *ids;        /* of jobs, and with ID_GROUP of groups; 0: none */
    struct list numbered; /* core->numbered, if there are any */
    uint32_t segment;     /* all of it follows from records from here on */
};

#define ONCE_OPEN_MAX 1024
/* What the image of a session takes besides its numbers, counted in numbers. */
#define ONCE_IMAGE_WEIGHT 4

struct session {
    struct map_node node; /* hash: the id */
    struct list link;     /* core->sessions */
    uint64_t id;
    struct client *client; /* NULL: disconnected */
    struct list held;      /* jobs RUNNING or CANCELLING */
    struct list groups;    /* owned: struct group.owned */
    struct list notices;   /* struct run.notice */
    struct timer timer;    /* TIMER_SESSION */
    struct list noticed;   /* core->noticed */
    int64_t seen_ms;       /* last sign of life */
    int64_t gone_ms;       /* since when disconnected; CORE_NONE */
    bool over;             /* its client left for good ... */
    uint8_t how;           /* ... enum core_disconnect */
    bool forgotten;        /* a replay may have dropped numbers of it */
    struct asked asked;
};

/* A connection that has a session or waits for something; volatile. */
struct client {
    struct map_node node; /* hash: the id */
    struct list link;     /* core->all_clients */
    struct client_id id;
    struct session *session; /* or NULL */
    struct waiter *waiter;   /* or NULL */
};

enum waiter_kind {
    WAIT_SUBMIT, /* for room in a queue */
    WAIT_JOB,
    WAIT_READY,
    WAIT_LOGS,
    WAIT_GROUP,
    WAIT_NEXT,
    WAIT_FETCH,
    WAIT_JOIN,
    WAIT_PURGE,
    WAIT_DEAD_PURGE,
    WAIT_RETRY, /* these two for payloads */
    WAIT_DEAD_RETRY,
};

struct fetch_link {
    struct list link; /* queue->fetchers */
    struct waiter *waiter;
    struct queue *queue;
};

/* A blocked command; volatile. */
struct waiter {
    enum waiter_kind kind;
    struct client *client;
    struct list link; /* of the job, group, or queue it waits for */
    struct timer timer;
    struct job *job;
    struct group *group;
    struct queue *queue;         /* SUBMIT (`group` then, too, unless root),
                                  * JOIN, PURGE, DEAD_PURGE (or NULL) */
    struct event_submit *submit; /* SUBMIT: copy, strings included */
    struct key *key;             /* SUBMIT with a KEY */
    struct list keyed;           /* key->waiters */
    size_t submit_size;
    int64_t cursor, count;
    bool anew;     /* FETCH: some of its queues were not there, and could not
                    * be made: it is asked again when the disk has room */
    bool at_once;  /* FETCH: it waits for a payload, and for nothing else */
    size_t nlinks; /* FETCH */
    struct fetch_link links[];
};

struct core {
    struct core_limits limits;
    struct map jobs, groups, sessions, clients, queue_names, keys;
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
    int64_t spared; /* volatile: of it, for what is not an image */
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
    const struct list *hand; /* payloads are let go behind it next, ... */
    uint32_t hand_queue, hand_number; /* ... in this list; NULL: from its begin
                                       * on */
    int64_t retained_jobs, retained_bytes; /* finished jobs */
    int64_t state_counts[JOB_STATES_COUNT];
    int64_t payload_bytes, log_bytes, ngroups, nended, nsessions, nblocked;
    struct list outputs;   /* jobs' output, oldest first */
    int64_t outputs_begin; /* where the cursors of all of it begin; another at
                            * each start */
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

/* ----------------------------------------------------------------- core.c */

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

/* full.c */
const char *full_text(const struct core *c);
void full_set(struct core *c, const struct core_event *ev);
/* May this be done while the disk is full? False: answered. */
bool full_allows(struct core *c, const struct core_event *ev);
/* Nothing new is recorded while the disk is full. False: answered. */
bool core_may_grow(struct core *c, struct client_id client);
/* The reserve is used up: nothing is recorded but what one event leads to at
 * once. */
static inline bool full_is_spent(const struct core *c)
{
    return UNLIKELY(c->disk_full) && c->room <= 0;
}

/* It lies in this segment: the last, ... */
void segment_hold(struct core *c, uint32_t *where);
/* ... or a later one than before; its image has so many bytes. */
void segment_move(struct core *c, uint32_t *where, uint32_t to, int64_t bytes);
void segment_drop(struct core *c, uint32_t where);

static inline void account(struct core *c, int64_t bytes)
{
    c->memory += bytes;
}

/* -------------------------------------------------------------- payload.c */

/* Lent for as long as the job stays in its state; p is NULL when it is not in
 * memory. */
struct str job_payload(const struct job *j);
static inline bool payload_is_here(const struct job *j)
{
    return j->payload_len == 0 || job_payload(j).p != NULL;
}
/* Neither here nor where it could be read from. */
static inline bool payload_is_lost(const struct job *j)
{
    return !payload_is_here(j) && j->offset == 0;
}
/* For apply: the entry that comes makes it known. `stays`: its payload does,
 * too, however short memory is. */
void payload_written(struct core *c, const struct job *j, bool stays);
/* For apply: an image of a known job has its payload, too. `whole`: the job
 * follows from it alone. */
const char *payload_moved(struct core *c, struct job *j, struct str payload,
                          bool whole);
/* A worker has got it, or it is dead. */
void payload_given(struct core *c, struct job *j);
/* The job has none any more; `payload` is what it had in memory. */
void payload_free(struct core *c, struct job *j, char *payload);
void payload_evict(struct core *c);
/* Read it, if it is not here, unless others before it (*bytes) are enough for
 * now: false. */
bool payload_ask(struct core *c, struct job *j, int64_t *bytes);
/* It is its turn, and its payload is not here. */
void payload_await(struct core *c, struct job *j);
/* It starts, and its queue may have others whose payloads are not here. */
void payload_go_on(struct core *c, struct job *j);
void payload_load(struct core *c, const struct core_event *ev);
void payload_clear(struct core *c);

/* ------------------------------------------------------------------ job.c */

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
struct run *job_run(struct core *c, struct job *j);
struct end *job_make_end(struct core *c, struct job *j);
/* It is finished, with this outcome and result, and among the dead or not. */
void job_set_end(struct core *c, struct job *j, struct end *end, bool dead);
void job_add_error(struct core *c, struct job *j, const struct record_error *e);
void job_set_reason(struct core *c, struct extra *x, struct str reason);

/* Only job.c writes job->state. A volatile move, without a record: a ready or
 * parked job waits for the width of this group. */
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
/* What is kept of a finished job, in bytes. */
int64_t job_retained_bytes(const struct job *j);
/* Of a finished job, for apply: before (-1) and after (+1) that changes. */
void job_count_retained(struct core *c, const struct job *j, int sign);
bool job_not_started(const struct job *j);
bool job_past_deadline(const struct core *c, const struct job *j);
/* Before its first start: not before that time; CORE_NONE: now. */
void job_delay(struct core *c, struct job *j, int64_t not_before_ms,
               int64_t now_ms);
/* Queued, but its deadline or EXPIRES has passed. */
bool job_overdue(const struct core *c, const struct job *j);

void options_release(struct core *c, struct options *o);
struct options *options_copy(struct core *c, const struct options *o);
bool options_equal(const struct options *a, const struct options *b);
/* Its options, for writing: not shared with others. */
struct options *options_own(struct core *c, struct job *j);

/* Decisions. */
void job_start(struct core *c, struct job *j, struct session *s);
/* Cancel: ends it if it is queued, else asks it. */
void job_cancel(struct core *c, struct job *j, struct str reason,
                int64_t grace_ms);
/* The job is over, whatever it did. It may have been forgotten afterwards. */
void job_end(struct core *c, struct job *j, const struct record_verdict *v);
void job_queued_timer(struct core *c, struct extra *x);
void job_keep_timer(struct core *c, struct end *end);
/* The oldest outcomes go, so many in one call, until the bounds hold; false:
 * none is left that may. */
bool retain_enforce(struct core *c);
void job_arm_queued(struct core *c, struct job *j);

/* Events. */
void job_status(struct core *c, const struct core_event *ev);
void job_result(struct core *c, const struct core_event *ev);
void job_cancel_event(struct core *c, const struct core_event *ev);
void job_list(struct core *c, const struct core_event *ev);

/* ---------------------------------------------------------------- image.c */

/* For apply. The group of a member, which may not be known yet: then it is made
 * up until its image comes. */
struct group *image_group(struct core *c, uint64_t id);
const char *image_apply_job(struct core *c, const struct record *r);
const char *image_apply_group(struct core *c, const struct record *r);
const char *image_apply_ids(struct core *c, const struct record *r);
/* The vectors of members and ends may not be shortened now. */
static inline bool image_under_way(const struct group *g)
{
    return g->missing > 0 || list_linked(&g->imaging);
}

/* The image of a job or a group, if there is one and all of it lies in that
 * segment or before; of a group the rest follows with write_rest. false: the
 * disk is full, and has no room for it. `payload`: of the job, if it is not in
 * memory. */
bool image_write(struct core *c, bool is_group, uint64_t id, uint32_t segment,
                 struct str payload);
/* Has a full disk some for the rest of those that have begun? */
static inline bool image_may_go_on(const struct core *c)
{
    return LIKELY(!c->disk_full) || c->room > c->spared;
}

/* In a replay: outcomes in the order in which they came about, as far as that
 * matters for which of them go first. */
void image_sort_outcomes(struct core *c);
/* The record at *at of an entry in that segment: if what it made known lives
 * and its image lies nowhere else, it is written again. COMPACTED: it was the
 * last. */
enum core_compacted image_write_next(struct core *c, const char *entry,
                                     size_t len, uint32_t segment, size_t *at);
/* Ids of large groups that are still to be written: some of them. */
void image_write_ids(struct core *c, struct group *g);

/* --------------------------------------------------------- image_errors.c */

/* Into c->scratch, or, when they are too much for it, that they come apart. */
void image_errors_take(struct core *c, const struct extra *x,
                       struct record_job_image *i);
/* Can each be written? */
bool image_errors_fit(const struct core *c, const struct extra *x);
/* The image was written, or read; so many errors follow. */
void image_errors_await(struct core *c, struct job *j, uint32_t n);
/* Some of them. */
void image_errors_write(struct core *c, struct imaging *m);
/* For apply: these come, the first of them in this place. */
const char *image_errors_fill(struct core *c, struct job *j, uint32_t at,
                              struct str errors);
const char *image_errors_apply(struct core *c, const struct record *r);
/* What is still to come does not. */
void image_errors_drop(struct core *c, struct extra *x);

/* ----------------------------------------------------------------- live.c */

/* Bytes of the image of one, with its frame. */
int64_t live_job_bytes(const struct job *j);
int64_t live_group_bytes(const struct group *g);
/* ... and of its GROUP_IDS. */
int64_t live_ids_bytes(const struct group *g);
/* What a job with these has besides: 0 when its queue has them. */
int64_t live_options_bytes(const struct options *o);
/* Before it changes (-1), and after that (+1). */
static inline void live_add(struct core *c, uint32_t segment, int64_t bytes)
{
    c->live_bytes += bytes;
    c->segment_bytes[segment - c->first_segment] += bytes;
}
static inline void live_job(struct core *c, const struct job *j, int sign)
{
    live_add(c, j->segment, sign * live_job_bytes(j));
    c->option_bytes += sign * live_options_bytes(j->options);
}
static inline void live_group(struct core *c, const struct group *g, int sign)
{
    live_add(c, g->segment, sign * live_group_bytes(g));
}
/* The queue of those who share these has others now. */
void live_options_left(struct core *c, const struct options *o);

/* -------------------------------------------------------------- attempt.c */

/* Why the groups below a job are to be cancelled, or NULL: they are not. */
const char *attempt_stops_groups(const struct job *j);
/* Why what is below a running job is cancelled, by itself or from above. */
const char *attempt_cancelled(const struct job *j);
bool attempt_shielded(const struct job *j);
bool attempt_past_timeout(const struct core *c, const struct job *j);
/* Tell groups below it of their fate, as after a restart. */
void attempt_sweep_begin(struct core *c, struct run *run);
/* Tell the next one. */
void attempt_sweep(struct core *c, struct run *run);

/* Set the timer for its timeout and deadline. */
void attempt_arm(struct core *c, struct job *j);
bool attempt_can_be_asked(const struct run *run, enum cause cause);
/* Ask a running job to stop; everything below it is cancelled with it. */
void attempt_ask(struct core *c, struct job *j, enum cause cause,
                 struct str reason, int64_t grace_ms);
/* The body of the current attempt has ended. */
void attempt_body_ended(struct core *c, struct job *j, const struct verdict *v);
/* A group under the job has ended. */
void attempt_child_ended(struct core *c, struct job *j);
void attempt_timer(struct core *c, struct run *run);
void attempt_shield(struct core *c, const struct core_event *ev);
void attempt_unshield(struct core *c, const struct core_event *ev);

/* ---------------------------------------------------------------- retry.c */

bool retry_options_ok(int64_t factor_milli, int64_t jitter, struct str classes);
/* Is an error of that class tried again? */
bool retry_wanted(const struct options *o, struct str class);
/* Before the attempt after so many failed ones. */
int64_t retry_delay(const struct core *c, const struct options *o,
                    uint32_t failures);

/* --------------------------------------------------------------- errors.c */

/* Which errors are asked for. */
struct error_filter {
    struct str classes, except; /* lists of globs; empty: all, none */
    bool inner;    /* of a job: the error `group` is told by what is below it */
    bool forgiven; /* of a job that has not failed: none */
};

bool error_wanted(const struct error_filter *f, struct str class);
/* How many of the job's errors. */
uint32_t errors_wanted(const struct error_filter *f, const struct job *j);
/* Has something failed in it, or may have? */
bool errors_in_group(const struct group *g);
/* A group was opened under the job; one of a job was forgotten; all are, or the
 * job. */
void below_add(struct core *c, struct job *j, uint64_t group);
void below_forgotten(struct core *c, const struct group *g);
void below_free(struct core *c, struct extra *x);
/* At the end of a replay: those that did not come are forgotten. */
void below_settle(struct core *c);
void errors_page(struct core *c, const struct core_event *ev);

/* ------------------------------------------------------------- deadline.c */

/* The earlier of two times, either of which may be CORE_NONE. */
int64_t deadline_earlier(int64_t a, int64_t b);
/* When a scope must have ended, or CORE_NONE: its own deadline, and those of
 * the scopes above it up to the first shield (Trio's effective deadline). */
int64_t deadline_of_group(const struct group *g);
int64_t deadline_of_job(const struct job *j);
/* Milliseconds until a running job has to stop, or CORE_NONE. */
int64_t deadline_remaining(const struct core *c, const struct job *j);
/* Scopes from this one up, which has live members, whose time is up although
 * their timers have not been worked off yet: it acts now. */
void deadline_reach(struct core *c, struct group *g);
const char *deadline_apply(struct core *c, const struct record *r);
void deadline_reschedule(struct core *c, const struct core_event *ev);

/* ---------------------------------------------------------------- queue.c */

const char *queue_apply(struct core *c, const struct record *r);
struct queue *queue_find(const struct core *c, struct str name);
bool queue_name_ok(struct str name);
/* Is there room within its bounds for a payload of that size? */
bool queue_fits(const struct queue *q, size_t len);
void queue_free(struct core *c, struct queue *q);
/* There may be room for its producers, or work for its fetchers: it is served
 * before the step ends, or in the next. */
void queue_wake(struct core *c, struct queue *q);
/* Let producers in and hand jobs to waiting workers, for a while. */
void queue_serve(struct core *c, struct queue *q);
/* The next job of the queue that may run now, or NULL; parks and ends what
 * may not. It may give up before it has looked at all: then it wakes the
 * queue. */
struct job *queue_next(struct core *c, struct queue *q);
/* Find or make a queue; NULL: an error was answered. */
struct queue *queue_get(struct core *c, struct client_id client,
                        struct str name);
/* Hand jobs to waiting workers until there are none, or no more workers. */
void queue_hand_out(struct core *c, struct queue *q);
/* May its jobs start, and does a worker wait for them? */
bool queue_attended(const struct core *c, const struct queue *q);
/* Producers that wait with a job for this group are told it takes no more. */
void queue_refuse_group(struct core *c, const struct group *g);
/* Nothing waits for room, neither producers nor deliveries, and there is some
 * for that many bytes. */
bool queue_has_room(const struct queue *q, size_t len);
/* Whatever is known of it is its number, by its jobs: a name and the defaults
 * until its image comes. */
void queue_make_up(struct core *c, uint32_t id);
/* The image of one queue, if there is a queue of that number: old segments can
 * be removed once the images of all queues lie in newer ones. */
void queue_write_image(struct core *c, uint32_t number);
/* To be called before the record of a job is made up: a job is never found
 * before the image of its queue. Replaces q->defaults. */
void queue_anchor(struct core *c, const struct queue *q);
/* The image of a queue with something changed. */
void queue_change(struct core *c, const struct queue *q,
                  const struct queue_settings *s, bool paused, enum door door);
/* By name; NULL: the error was answered. */
struct queue *queue_find_or_reply(struct core *c, struct client_id client,
                                  struct str name);

void queue_submit(struct core *c, const struct core_event *ev);
void queue_list(struct core *c, const struct core_event *ev);
void queue_info(struct core *c, const struct core_event *ev);
void queue_set(struct core *c, const struct core_event *ev);
void queue_pause(struct core *c, const struct core_event *ev);

/* -------------------------------------------------------------- deliver.c */

#define THEN_MAX 16 /* queues in a chain */

/* May this be a chain? */
bool deliver_chain_ok(struct str chain);
/* The queues of a chain; false: an error was answered. */
bool deliver_make_queues(struct core *c, struct client_id client,
                         struct str chain);
/* A job with a chain is done and nothing is left below it: its result goes on,
 * waits, or cannot. */
void deliver_result(struct core *c, struct job *j, struct str result);
/* The first that waits for this queue goes in or gives up. false: none. */
bool deliver_one(struct core *c, struct queue *q);
void deliver_timer(struct core *c, struct job *j);
/* A DELIVERING job takes its place in the line of its next queue; false: there
 * is none. */
bool deliver_line_up(struct core *c, struct job *j);
/* It leaves the line, if it is in one. */
void deliver_leave(struct core *c, struct run *run);
/* After a replay: who is not in line takes its place, all are looked at. */
void deliver_start(struct core *c);

/* ---------------------------------------------------------------- drain.c */

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

/* ----------------------------------------------------------------- dead.c */

/* For apply: onto the list, and off it. */
void dead_add(struct core *c, struct job *j);
void dead_remove(struct core *c, struct job *j);
/* How long a job that has failed is kept. */
int64_t dead_keep_ms(const struct core *c, const struct job *j);
void dead_purge_slice(struct core *c, struct waiter *w);
/* Payloads have come: retries that wait for some go on. */
void dead_retry_on(struct core *c);

void dead_list(struct core *c, const struct core_event *ev);
void dead_retry(struct core *c, const struct core_event *ev);
void dead_retry_many(struct core *c, const struct core_event *ev);
void dead_purge(struct core *c, const struct core_event *ev);

/* ------------------------------------------------------------------ key.c */

struct key_scope key_scope_of_queue(const struct queue *q);
struct key_scope key_scope_of_parent(const struct scope_ref *parent);
/* Is it well-formed? Answers the error if not. */
bool key_allowed(struct core *c, struct client_id client, struct str text);
/* NULL: nothing has this key. */
struct key *key_find(const struct core *c, struct key_scope scope,
                     struct str text);
/* For apply: may something new have it? What it leads to must have ended: that
 * was forgotten, or is run once more. */
bool key_is_free(struct core *c, struct key_scope scope, struct str text);
struct key *key_bind(struct core *c, struct key_scope scope, struct str text,
                     uint64_t id);
/* What it led to is forgotten; NULL: nothing. */
void key_release(struct core *c, struct key *k);
/* A submit waits for room: it is answered, too, when another one with its key
 * is let in (key_answer), or, when those are very many, at its turn
 * (key_answer_one, which frees it). */
void key_wait(struct core *c, struct waiter *w, struct str text);
void key_answer(struct core *c, struct key *k);
void key_answer_one(struct core *c, struct waiter *w);
/* Frees it if it leads to nothing and nobody waits with it. */
void key_drop(struct core *c, struct key *k);

/* --------------------------------------------------------------- once.c */

/* Was it done before? Then that is the answer; so is what is wrong with the
 * number. kind: ID_GROUP for a group, 0 for a job. */
bool once_answered(struct core *c, struct client_id client,
                   const struct event_once *o, uint64_t kind);
/* May the session remember this number, too? Answers the error if not. */
bool once_room(struct core *c, struct client_id client,
               const struct event_once *o);
/* May it stand in a record? */
bool once_ok(const struct record_once *o);
/* For the record of what the request makes; only after once_answered or
 * once_room, in the same step, let it pass. */
struct record_once once_record(const struct core *c,
                               const struct event_once *o);
/* Likewise, when it has made nothing, for a KEY led here. */
void once_remember(struct core *c, const struct event_once *o, uint64_t id);
/* For apply: the request has made this. */
void once_apply(struct core *c, const struct record_once *o, uint64_t id);
const char *once_apply_image(struct core *c, const struct record *r);
/* Is there a session whose numbers lie in an older segment? Writes one again:
 * old segments can be removed once the images of all lie in newer ones. */
bool once_images_left(const struct core *c);
void once_write_image(struct core *c);
/* Is it worth its grace although it holds and owns nothing? */
bool once_outlives(const struct core *c, const struct session *s);
void once_release(struct core *c, struct session *s);
/* In a replay: there are not too many sessions. */
void once_bound_sessions(struct core *c);

/* ---------------------------------------------------------------- group.c */

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
void id_vector_push(struct core *c, struct id_vector *v, uint64_t id);
/* Only the first so many stay. */
void id_vector_cut(struct core *c, struct id_vector *v, size_t len);
void id_vector_clear(struct core *c, struct id_vector *v);
/* The first index whose id is greater, in one where they ascend. */
size_t id_vector_after(const struct id_vector *v, uint64_t id);
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
/* By its id, with ID_GROUP or without. */
bool group_member_exists(struct core *c, uint64_t id);
/* A member was forgotten. */
void group_member_forgotten(struct core *c, struct group *g);
void group_timer(struct core *c, struct group *g);
void group_keep_timer(struct core *c, struct group *g);
/* Forget an ended one with all its members, however many. */
void group_forget_now(struct core *c, struct group *g);
void group_arm(struct core *c, struct group *g);    /* set its timer */
void group_sweep(struct core *c, struct group *g);  /* a slice */
void group_forget(struct core *c, struct group *g); /* a slice */
void group_notify_next(struct core *c, struct group *g);
/* The oldest ended group makes room, at once or soon; false: there is none. */
bool group_evict(struct core *c);
/* It is forgotten before its keep has passed. */
void group_record_forget(struct core *c, const struct group *g);

void group_open(struct core *c, const struct core_event *ev);
void group_close_event(struct core *c, const struct core_event *ev);
void group_info(struct core *c, const struct core_event *ev);
void group_next(struct core *c, const struct core_event *ev);
void group_results(struct core *c, const struct core_event *ev);

/* ---------------------------------------------------------------- scope.c */

/* Answer the error if not: may a group be opened there, is there room for one
 * more group, may a job join the group of this attempt's body? */
bool scope_takes_group(struct core *c, struct client_id client,
                       const struct scope_ref *ref);
bool scope_room_for_group(struct core *c, struct client_id client);
bool scope_body_takes_job(struct core *c, struct client_id client,
                          const struct token *t);
/* The group of the body; opened if it is not there. Only after
 * scope_body_takes_job. */
struct group_id scope_body(struct core *c, const struct token *t);
/* --------------------------------------------------------------- worker.c */

struct client *client_find(const struct core *c, struct client_id id);
struct client *client_get(struct core *c, struct client_id id);
void client_drop_if_idle(struct core *c, struct client *cl);
struct session *session_of(struct core *c, struct client_id id);
/* By id; made, disconnected, if it is not there (replay). */
struct session *session_get(struct core *c, uint64_t id);
void session_timer(struct core *c, struct session *s);
void session_arm(struct core *c, struct session *s);
/* Tell its worker again what should stop: it may not have heard. */
void session_renotify(struct session *s);
/* The session has news: its open FETCH, if there is one, is answered before
 * the step ends. */
void session_notify(struct core *c, struct session *s);
void session_serve(struct core *c, struct session *s);
void session_free(struct core *c, struct session *s);

/* The job whose current attempt a report names; NULL: the error is answered. */
struct job *worker_current(struct core *c, const struct core_event *ev);
void worker_fetch(struct core *c, const struct core_event *ev);
/* Answer a blocked FETCH with what there is now. false: nothing; it waits on.
 */
bool worker_serve(struct core *c, struct waiter *w);
/* Of the queue, those that do not wait but for payloads: answered, unless some
 * still come. */
void worker_serve_at_once(struct core *c, struct queue *q);
void worker_report(struct core *c, const struct core_event *ev);
void worker_touch(struct core *c, const struct core_event *ev);
void worker_ready(struct core *c, const struct core_event *ev);
void worker_session(struct core *c, const struct core_event *ev);
void worker_resume(struct core *c, const struct core_event *ev);
void worker_alive(struct core *c, const struct core_event *ev);
void worker_disconnect(struct core *c, const struct core_event *ev);

/* --------------------------------------------------------------- waiter.c */

/* Block the client. wait_ms CORE_NONE: for ever. */
struct waiter *waiter_new(struct core *c, struct client_id client,
                          enum waiter_kind kind, int64_t wait_ms,
                          size_t nlinks);
void waiter_free(struct core *c, struct waiter *w);
/* Its time is up, or as if it were: answer it (a SUBMIT: QUEUEFULL), free it,
 * and let in who waits behind it. */
void waiter_give_up(struct core *c, struct waiter *w);
/* The job has ended, or (a value) announced itself: answer who waits for it. */
void waiter_job_ended(struct core *c, struct job *j);
void waiter_job_ready(struct core *c, struct job *j);

/* --------------------------------------------------------------- output.c */

void output_log(struct core *c, const struct core_event *ev);
void output_read(struct core *c, const struct core_event *ev);
void output_free(struct core *c, struct job *j);
/* New output, or the job ended: answer who follows. */
void output_notify(struct core *c, struct job *j);

/* ----------------------------------------------------------------- news.c */

/* A record that was just applied; only while somebody watches. */
void news_of_job(struct core *c, const struct record *r);
void news_of_group(struct core *c, const struct record *r);
/* These ask whether somebody does. */
void news_of_progress(struct core *c, const struct job *j);
void news_of_queue(struct core *c, const struct queue *q, const char *event);

/* ----------------------------------------------------------------- show.c */

/* Maps for replies. */
void show_job(struct core *c, struct buf *b, const struct job *j);
void show_outcome(struct core *c, struct buf *b, const struct job *j);
void show_group(struct core *c, struct buf *b, const struct group *g);
/* The same with those errors alone that are asked for. */
void show_outcome_errors(struct core *c, struct buf *b, const struct job *j,
                         const struct error_filter *f);
void show_group_errors(struct core *c, struct buf *b, const struct group *g,
                       const struct error_filter *f);
bool show_group_has_error(const struct group *g, const struct error_filter *f);
void show_tree(struct core *c, const struct core_event *ev);

#endif
