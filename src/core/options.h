/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options - what a job was submitted with; shared by those that have the same.
 */
#ifndef YOKE_CORE_OPTIONS_H
#define YOKE_CORE_OPTIONS_H

#include "core/core.h"

struct core;
struct job;
struct queue;

/* What a job was submitted with. Jobs that took the defaults of their queue
 * share one. */
struct options {
    struct queue *queue; /* of the core: where those jobs are; not on disk */
    uint32_t refs;
    uint32_t factor_milli;
    int64_t timeout_ms, deadline_ms, grace_ms, keep_ms; /* or CORE_NONE */
    int64_t expires_ms;                                 /* absolute */
    int64_t retry, backoff_base_ms, backoff_cap_ms, redeliver;
    int64_t jitter;      /* percent */
    struct str retry_on; /* owned */
};

/* May it stand in a record? */
bool options_ok(const struct options *o);
/* The defaults of the queue, or what the job before has, if that is the same;
 * else new ones. Who takes them counts in `refs`. */
struct options *options_share(struct core *c, struct queue *q,
                              const struct options *o);
void options_release(struct core *c, struct options *o);
struct options *options_copy(struct core *c, const struct options *o);
bool options_equal(const struct options *a, const struct options *b);
/* Its options, for writing: not shared with others. */
struct options *options_own(struct core *c, struct job *j);

#endif
