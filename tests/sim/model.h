/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model - the rules of doc/protocol.md once more, with arrays and scans.
 *
 * Knows:     what each event may be answered with and what must be so after.
 * Never:     lists, heaps, hashes, records: nothing that the core is made of.
 * Errors:    what the core did and the rules do not allow is a violation.
 *
 * Written from the rules alone. Where they leave several answers open (which
 * waiting worker gets a job, how long a jittered back-off lasts, whether a job
 * whose group's deadline passed failed or was cancelled) the model looks at
 * what the core did, checks that it is one of them, and goes on from there.
 *
 * Flat, without pointers: a copy is a snapshot.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "view.h"

#define MODEL_JOBS     384
#define MODEL_GROUPS   128
#define MODEL_QUEUES   6
#define MODEL_LIMITERS 3
#define MODEL_TURNS    64
#define MODEL_CHAIN    3
#define MODEL_CLIENTS  32
#define MODEL_SESSIONS 96
#define MODEL_NUMBERS  64
#define MODEL_AWAITS   64
#define MODEL_SEEN     256
#define MODEL_ERRORS   16
#define MODEL_DEPTH    64
#define MODEL_MESSAGE  64
#define MODEL_FOREVER  INT64_MAX

enum model_state {
    MODEL_DELAYED,
    MODEL_QUEUED, /* ready or parked */
    MODEL_RUNNING,
    MODEL_CANCELLING,
    MODEL_JOINING,
    MODEL_DELIVERING,
    MODEL_ENDED,
};

enum model_body {
    BODY_NONE,
    BODY_OK,
    BODY_FAIL,
    BODY_CANCELLED,
    BODY_LOST,
    BODY_RELEASED,
};

/* Of errors. */
enum model_class {
    CLASS_NONE,
    CLASS_EXIT,
    CLASS_SIGNAL,
    CLASS_CANCELLED,
    CLASS_TIMEOUT,
    CLASS_DEADLINE,
    CLASS_LOST,
    CLASS_GROUP,
    CLASS_EXPIRED,
    CLASS_THEN,
    CLASS_POLICY,
    CLASS_DAMAGED,
    MODEL_CLASSES,
};

struct model_error {
    uint8_t class; /* CLASS_NONE: not known yet, one of ... */
    unsigned may;  /* ... these: a bit for each */
    uint32_t attempt;
    int64_t from, to; /* it happened between them */
};

struct model_job {
    bool used;
    uint64_t id;
    int group; /* index; -1: root */
    int queue, session;
    enum model_state state;
    enum view_outcome outcome;
    enum model_body body;
    char class[16]; /* of the body's FAIL */
    uint32_t attempt, name_tag, payload_tag, result_tag;
    int64_t payload_len, result_len;
    int64_t priority, timeout, deadline, expires_at, grace, retry, redeliver;
    int64_t base, cap, factor, jitter, keep;
    struct str retry_on;           /* of the program's text: a constant */
    int64_t at;                    /* AT; CORE_NONE */
    int then[MODEL_CHAIN], nthen;  /* queues that the result goes to */
    uint64_t next;                 /* the job that it became; 0: none yet */
    uint64_t retried;              /* the job that RETRY made of it */
    uint64_t delivery;             /* place in line of the next queue */
    int64_t needs[MODEL_LIMITERS]; /* 0: does not */
    uint32_t needs_made[MODEL_LIMITERS]; /* which of that name it was */
    char key[8];                /* "": none, or it has gone on to a retry */
    bool purging;               /* a QUEUE PURGE will come to it */
    bool damaged;               /* it failed, for its payload is lost */
    bool dead;                  /* on the list of those ... */
    bool lost;                  /* ... or a crash came as it was taken off */
    int64_t dead_keep;          /* ... as its queue said when it ended */
    uint64_t purged_step;       /* it was, when that was purged */
    int64_t delay_lo, delay_hi; /* DELAYED: until somewhere between */
    int64_t fails, losts;       /* counted for sure */
    int64_t maybe_fails, maybe_losts; /* an attempt both timed out and lost */
    int64_t errors;
    struct model_error error[MODEL_ERRORS];
    int64_t body_ended; /* of the last attempt */
    int64_t submitted, started_first, started_last, ended;
    int64_t lease_from; /* started_last, if the clock had always been right */
    uint64_t submit_seq, ready_seq, ready_step, end_step;
    uint64_t asked_step; /* when it was last asked to stop */
    uint64_t again_step; /* when an attempt last led to another */
    uint64_t cancelled_step;
    uint64_t body_id;     /* the group of this attempt's body; 0: none yet */
    bool is_ready;        /* this attempt said READY ... */
    uint64_t ready_since; /* ... in this step */
    char ready[24];
    size_t ready_len;
    bool ahead;           /* was released: goes before its priority's others */
    bool loose;           /* its place among its priority's others is open */
    int64_t shield_until; /* 0: none */
    bool kept_back;       /* it is cancelled, and a shield keeps that back */
    bool cancelled, timed_out, deadline_hit, inherited, group_failed, joined;
    bool groups_cancelled; /* some group under the attempt was cancelled */
    bool murky;  /* two causes met: the rules do not say which one wins */
    bool unseen; /* forgotten as it ended: nobody saw the outcome */
    bool notice_due, notice_may;
    bool has_reason;
    char reason[24];
    int64_t cancel_grace;
    /* The last report of each attempt; those far back may be overwritten. */
    struct model_said {
        uint32_t attempt;
        enum core_event_kind kind;
        char class[16];
        int64_t result_len;
    } said[16];
};

struct model_group {
    bool used, forgotten;
    uint64_t id;
    bool parent_is_job;
    int parent; /* index of a group or job; -1: root */
    uint64_t parent_id;
    uint32_t parent_attempt;
    int session; /* -1: detached */
    int64_t fail, succeed, width, deadline, keep;
    char key[8];
    bool closed, cancelled, outside, fail_reached, succeed_reached;
    bool decided; /* its policy was the first that cancelled it */
    bool deadline_hit, inherited, ended;
    uint64_t outside_step, hit_step;
    bool even;  /* its deadline and FAIL were reached at once */
    bool murky; /* a failed `collect` group was counted */
    enum view_outcome outcome;
    int64_t members, ok, failed, cancelled_members, fails;
    bool was_over;      /* as the step began: it took no members */
    bool failed_inside; /* somewhere below */
    uint8_t error;      /* its own: a model_class */
    bool has_groups;    /* ever; they may have errors of their own */
    bool body_done;     /* that of its job was, as GROUP CLOSE came */
    int64_t opened, ended_at;
    uint64_t submit_seq, end_step;
    bool has_reason;
    char reason[24];
};

struct model_queue {
    bool used, paused, closed, closed_now;
    bool made;             /* by a SUBMIT or SET, not only named */
    uint64_t filled;       /* when something last came in */
    uint64_t fair_changed; /* jobs that became ready before wait in one turn */
    char name[16];
    struct queue_settings set;
};

/* A bucket holds its tokens in parts of 1 / rate_ms: a millisecond fills in
 * `rate` of them. */
struct model_limiter {
    bool used;
    char name[8];
    uint32_t made; /* counts those of this name */
    int64_t permits, rate, rate_ms;
    int64_t level_lo, level_hi, filled_at;
};

/* When a group was last served in a fair queue: for sure, and at all. What was
 * released, waited for something else, or was ready before the queue was fair
 * (and after a restart may be so anew) has a turn of its own, or that of its
 * group. */
struct model_turn {
    int queue, group; /* index; -1: root */
    int64_t priority;
    uint64_t served;
    uint64_t last; /* 0: the slot is free */
};

/* One that is over is still known while its slot is free: a restart may bring
 * it back. */
struct model_session {
    bool used;
    uint64_t id;
    uint64_t client;          /* 0: broken */
    int64_t dispatched;       /* when it last got a job */
    int64_t alive;            /* last sign of life */
    int64_t lease_lo;         /* an attempt may be lost from here on */
    int64_t gone_lo, gone_hi; /* its grace ends between them */
    enum model_body ending; /* its client will not come back: what it holds ends
                             * so, one after the other; BODY_NONE */
    bool grace_over;
    int64_t first, last; /* numbers that it remembers; last 0: none */
    struct model_led {
        uint64_t id; /* 0: was not done */
        bool group;
    } led[MODEL_NUMBERS];                /* by number */
    struct core_id awaits[MODEL_AWAITS]; /* that it was not told of */
    int nawaits;
    bool dropped;  /* a restart may have forgotten numbers */
    uint64_t over; /* when it was, in steps */
};

enum model_request_kind {
    REQUEST_NONE,
    REQUEST_SUBMIT,
    REQUEST_RESULT,
    REQUEST_READY,
    REQUEST_JOIN,
    REQUEST_PURGE, /* of a queue, or of the dead */
    REQUEST_GROUP_WAIT,
    REQUEST_NEXT,
    REQUEST_FETCH,
    REQUEST_RETRY, /* or DEAD RETRY: waits for payloads */
};

struct model_request {
    enum model_request_kind kind;
    bool answered, idle, unblocked;
    bool cut_short; /* FETCH: by the end of a lease */
    bool anew;      /* FETCH: it waits for queues that the full disk has no room
                     * for, and may be answered empty when it has */
    int64_t until;  /* when it must be answered at the latest */
    uint64_t step;  /* FETCH: when it came */
    int64_t wait_ms, count, cursor;
    uint64_t id;
    uint64_t line; /* SUBMIT: place in line */
    struct event_once once;
    int queues[MODEL_QUEUES], nqueues; /* RETRY: of this one, or any */
    int64_t bounds[MODEL_QUEUES], given[MODEL_QUEUES]; /* FETCH: of each */
    struct model_job job; /* SUBMIT: as it would be */
    uint64_t group_id;
    uint32_t errors; /* SUBMIT: bit per code that is due at once */
    int64_t purged_lo, purged_hi;
};

/* Pages of GROUP ERRORS: where the last one ended. */
struct model_reading {
    char cursor[40];
    uint64_t way[MODEL_DEPTH]; /* places in the order of submission */
    int len;
};

struct model_client {
    bool used;
    uint64_t id;
    int session; /* -1: none */
    struct model_request request;
    struct model_reading reading;
};

struct model {
    struct core_limits limits;
    int64_t now;
    uint64_t step, seq;
    bool disk_narrow, disk_full, draining;
    uint64_t resumed;  /* the step since which jobs start again, after a full
                        * disk or a drain */
    bool restarted;    /* ever */
    bool jumped;       /* many times were passed at once: in any order */
    bool loading;      /* as model_eyes has it: ready jobs may be late */
    bool put_off;      /* likewise: and some of them may be for long */
    uint64_t reported; /* the job that this step's event reports on ... */
    uint64_t stopped;  /* ... or cancels ... */
    uint64_t moved;    /* ... or gives other times; 0: none */
    /* The core works off in slices what an event leads to; others may come
     * between two. Until all is done that counts as one step. */
    bool behind;    /* some of it is left ... */
    uint64_t since; /* ... the step that it began in */
    uint64_t began; /* seq, as that began */
    bool early;     /* the event has not been looked at */
    bool stumped;   /* nothing else explains what the core shows */
    int purged;     /* the queue that is purged in this step; -1 */
    int emptied;    /* likewise, or closed NOW */
    /* Attempts that led to others, since the start; and jobs that have ended
     * since the last comparison, perhaps by way of the queue. */
    uint64_t retries, retries_maybe;
    int64_t retained;   /* ended jobs, as the last comparison began */
    uint64_t crowded;   /* when they were last too many to be all kept */
    int leaving;        /* the session whose client leaves; -1 */
    int njobs, ngroups; /* slots that were ever used */
    struct model_job jobs[MODEL_JOBS];
    struct model_group groups[MODEL_GROUPS];
    struct model_queue queues[MODEL_QUEUES];
    struct model_limiter limiters[MODEL_LIMITERS];
    struct model_turn turns[MODEL_TURNS];
    struct model_client clients[MODEL_CLIENTS];
    struct model_session sessions[MODEL_SESSIONS];
};

struct model_reply {
    uint64_t client;
    const struct node *n;
    uint32_t at; /* FETCH: entries that were dealt with */
    bool done;
};

/* What the model may look at to follow the core where the rules are open. */
struct model_eyes {
    struct core *core;
    struct arena *arena;
    struct buf records; /* of what was read to its end; the world keeps them */
    uint64_t cut;       /* the client that the step cuts off; 0: none */
    bool loading;       /* the store was asked for payloads that have not come
                         * or come with this step ... */
    bool put_off;       /* ... and cannot read some of them for now */
    /* Can the payload of that job not be read where it lies? NULL: all can. */
    bool (*is_damaged)(void *world, uint64_t id);
    void *world;
};

void model_init(struct model *m, const struct core_limits *limits);

/* One event, all replies that came of it (those of ticks that were due at
 * once included). */
void model_step(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, struct model_reply *replies,
                size_t nreplies);

/* Does the core look as the model says? `all` looks at everything, else at a
 * part that changes from step to step. */
void model_compare(struct model *m, struct model_eyes *eyes, bool all);

/* A damaged segment was written again: whose payload was lost with it is not
 * dead any more. */
void model_healed(struct model *m, struct model_eyes *eyes);

/* It stopped, perhaps while that was on its way. Before model_restart. */
void model_crashed(struct model *m, struct model_eyes *eyes);

/* The daemon was started again: connections, waits and leases are gone. */
void model_restart(struct model *m, int64_t now);

/* Does a core that was made of what the journal has left know all numbers? */
void model_numbers_left(const struct model *m, struct model_eyes *eyes,
                        struct core *left);

/* What the world may ask; -1 when there is none. */
int model_job_find(const struct model *m, uint64_t id);
int model_group_find(const struct model *m, uint64_t id);
/* Is it the group of a running body, which nobody can close? */
bool model_group_is_body(const struct model *m, int g);
int model_client_find(const struct model *m, uint64_t id);
int model_session_find(const struct model *m, uint64_t id);
bool model_blocked(const struct model *m, uint64_t client);
/* Nothing is left to be done by anybody. */
bool model_at_rest(const struct model *m);

/* What the worker of an attempt says when it fails. */
void errors_message(char to[MODEL_MESSAGE], uint64_t job, uint32_t attempt);
/* Bytes that are recognised again. */
void model_bytes(char *to, size_t len, uint32_t tag);

#endif
