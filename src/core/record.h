/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record - facts about one entity: what apply takes, and what is on the disk.
 *
 * Knows:     the fields of each record, and their bytes.
 * Never:     whether a fact is possible: that is for apply to say.
 * Errors:    damaged bytes are told by record_decode.
 *
 * Ids are numbers here, as on the disk; strings are lent.
 */
#ifndef YOKE_CORE_RECORD_H
#define YOKE_CORE_RECORD_H

#include "base/buf.h"
#include "core/core.h"
#include "core/options.h"
#include "core/tables.h"

/* The numbered request that it came from; number 0: none. */
struct record_once {
    uint64_t session, number;
    uint32_t open;
};

struct record_group {
    uint8_t parent_is_job;
    uint64_t parent, parent_attempt;
    uint64_t session;
    int64_t fail, succeed, width, deadline_ms, keep_ms;
    struct str name;
    bool of_body; /* of the attempt that is its parent */
    struct str key;
    struct record_once once;
};

/* Numbers of limiters, ascending, and how many permits of each. */
struct record_needs {
    uint8_t len;
    struct {
        uint32_t limiter, n;
    } list[CORE_LIMITS_MAX];
};

struct record_limiter {
    int64_t permits, rate, rate_ms, level, filled_ms;
    struct str name;
};

struct record_job {
    uint32_t queue;
    uint64_t group;
    uint8_t priority;
    bool own_options; /* else those of the queue at this point */
    int64_t not_before_ms;
    struct options options;
    struct str name, payload, key, then;
    struct record_needs needs;
    struct record_once once;
};

struct record_queue {
    bool paused;
    struct queue_settings settings;
    struct str name;
    uint8_t door;
};

/* RESCHEDULE, GROUP_TIME: CORE_UNSET where nothing changed, CORE_NONE: none. */
struct record_times {
    int64_t timeout_ms, deadline_ms;
    int64_t expires_ms, not_before_ms; /* absolute; jobs alone */
};

/* REQUEUE, JOINING and END keep the error of the attempt, if there is one. */
struct record_verdict {
    uint8_t kind;          /* JOINING, REQUEUE: enum verdict_kind */
    uint8_t outcome;       /* END */
    int64_t not_before_ms; /* REQUEUE; 0: at once */
    struct str reason;     /* END cancelled */
    struct str result;
    bool has_error;
    struct str class, message, detail;
    uint64_t next; /* END ok: id of the job that the result became, or 0;
                    * DELIVER: its place in line */
    /* END, for when the job is known from a later image only: its group, 0 for
     * the root, and whether something failed below it. */
    uint64_t group;
    bool errors_below;
};

/* What it counts as is for its parent, as `group` is in record_verdict. */
struct record_group_end {
    uint8_t outcome, counted_as;
    bool parent_is_job;
    uint64_t parent;
    uint32_t parent_attempt;
    bool failed_inside, errors_below, fails_parent;
};

struct record_session {
    uint64_t first; /* number */
    struct str ids; /* 8 bytes each, of this and the following numbers */
};

/* The error of one attempt, as it lies in an image. */
struct record_error {
    struct str class, message, detail;
    uint32_t attempt;
    bool body_done;
    int64_t at_ms;
};

/* What struct job, extra, run and end have; see there. */
struct record_job_image {
    struct record_job job; /* without `once` */
    uint8_t state;         /* enum job_state; READY, too, for what is parked */
    bool dead;
    bool errors_below; /* of the last attempt that is over */
    int64_t submitted_ms;
    uint32_t attempt, failures, losses;
    uint64_t next, retried;
    struct str reason;
    struct str errors; /* record_put_error */
    uint32_t apart;    /* so many come in JOB_ERRORS instead */
    struct str below;  /* 8 bytes each: groups, with ID_GROUP */
    /* RUNNING, CANCELLING, JOINING, DELIVERING */
    uint64_t session; /* 0: its body has ended */
    uint64_t body, place;
    int64_t shield_ms, grace_ms;
    uint8_t asked, verdict;
    bool cancelled, cancelled_first, asked_late, child_failed, child_cancelled,
        run_errors_below, is_ready;
    struct str ready;
    /* FINISHED */
    uint8_t outcome;
    bool body_done;
    int64_t ended_ms;
    int64_t dead_keep_ms; /* if not what the queue says by now; else 0 */
    /* of either */
    int64_t started_ms;
    struct str result;
};

/* What struct group has; see there. Members and the order of their ends follow
 * in GROUP_IDS, so many of them. */
struct record_group_image {
    struct record_group group; /* without `once` and `of_body` */
    uint32_t depth;
    int64_t opened_ms, ended_ms, cancel_grace_ms;
    int64_t by_outcome[OUTCOMES_COUNT];
    int64_t members_total, done_dropped;
    uint64_t members, done;
    uint8_t cause, outcome;
    bool closed, ended, read, failed_inside, errors_below;
    struct str reason;
};

struct record_job_errors {
    uint32_t at;       /* place of the first */
    struct str errors; /* record_put_error */
};

struct record_group_ids {
    bool done;      /* of the ends; else of the members */
    uint64_t at;    /* place of the first */
    struct str ids; /* 8 bytes each */
};

struct record {
    enum record_type type;
    int64_t at_ms;
    uint64_t id; /* of the job, group or session; QUEUE, LIMITER: its number */
    union {
        struct record_queue queue;
        struct record_job job;
        struct {
            uint32_t attempt;
            uint64_t session;
            struct record_needs spends; /* tokens of limiters with a rate */
        } start;
        struct {
            uint8_t cause;
            int64_t grace_ms;
            struct str reason;
        } ask;                         /* ASK, GROUP_CANCEL */
        struct record_verdict verdict; /* JOINING, REQUEUE, END, DELIVER */
        struct record_group group;
        struct {
            int64_t fail, succeed; /* plus one; 0: as before */
        } policy;                  /* GROUP_CLOSE */
        struct record_group_end group_end;
        struct str ready; /* READY */
        int64_t until_ms; /* SHIELD; 0: it is over */
        struct record_times times;
        uint64_t retried; /* CLEAR: the new job, or 0 */
        struct record_limiter limiter;
        struct record_session session;
        struct record_job_image job_image;
        struct record_job_errors job_errors;
        struct record_group_image group_image;
        struct record_group_ids group_ids;
    } u;
};

void record_encode(struct buf *to, const struct record *r);
/* Reads the record at *at and moves past it. Strings point into the bytes.
 * NULL, or what is wrong. */
const char *record_decode(const char *bytes, size_t len, size_t *at,
                          struct record *out);

/* Moves past the record at *at, whose type and id it tells; false: there is no
 * whole record. */
bool record_peek(const char *bytes, size_t len, size_t *at, uint8_t *type,
                 uint64_t *id);

/* The errors of an image, one after the other, and what each takes. */
int64_t record_error_bytes(const struct record_error *e);
void record_put_error(struct buf *to, const struct record_error *e);
/* Takes the first from *errors; false: there is no whole one. */
bool record_get_error(struct str *errors, struct record_error *out);

#endif
