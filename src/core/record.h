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
#include "core/tables.h"

/* What a job was submitted with. Jobs that took the defaults of their queue
 * share one. */
struct options {
    uint32_t refs;
    uint32_t factor_milli;
    int64_t timeout_ms, deadline_ms, grace_ms, keep_ms; /* or CORE_NONE */
    int64_t expires_ms;                                 /* absolute */
    int64_t retry, backoff_base_ms, backoff_cap_ms, redeliver;
    int64_t jitter;      /* percent */
    struct str retry_on; /* owned */
};

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
    uint64_t next; /* END ok: id of the job that the result became, or 0 */
};

struct record_session {
    uint64_t first; /* number */
    struct str ids; /* 8 bytes each, of this and the following numbers */
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
        uint8_t outcome;           /* GROUP_END */
        struct str ready;          /* READY */
        int64_t until_ms;          /* SHIELD; 0: it is over */
        struct record_times times;
        uint64_t retried; /* CLEAR: the new job, or 0 */
        struct record_limiter limiter;
        struct record_session session;
    } u;
};

void record_encode(struct buf *to, const struct record *r);
/* Reads the record at *at and moves past it. Strings point into the bytes.
 * NULL, or what is wrong. */
const char *record_decode(const char *bytes, size_t len, size_t *at,
                          struct record *out);

#endif
