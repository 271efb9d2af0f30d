/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attempt - one attempt of a job: its body, who asks it to stop, its end.
 */
#ifndef YOKE_CORE_ATTEMPT_H
#define YOKE_CORE_ATTEMPT_H

#include "base/list.h"
#include "core/core.h"
#include "core/tables.h"
#include "core/timer.h"

struct core;
struct feed;
struct job;
struct record;
struct record_verdict;
struct session;

#define MESSAGE_GROUP_FAILED "a group under it failed" /* of class "group" */

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

/* For apply: it takes the payload of the job, and gives it back. */
struct run *run_new(struct core *c, struct job *j);
void run_free(struct core *c, struct job *j);
const char *attempt_apply_start(struct core *c, struct job *j,
                                const struct record *r);
const char *attempt_apply_ask(struct core *c, struct job *j,
                              const struct record *r);
const char *attempt_apply_shield(struct core *c, struct job *j,
                                 const struct record *r);
const char *attempt_apply_ready(struct core *c, struct job *j,
                                const struct record *r);
const char *attempt_apply_joining(struct core *c, struct job *j,
                                  const struct record *r);
const char *attempt_apply_deliver(struct core *c, struct job *j,
                                  const struct record *r);
const char *attempt_apply_requeue(struct core *c, struct job *j,
                                  const struct record *r);
/* It ends by this verdict and is not ok: was its body? */
bool attempt_body_was_done(const struct job *j, const struct record_verdict *v);

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

#endif
