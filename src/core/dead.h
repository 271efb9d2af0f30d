/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dead - jobs that have failed for good, and running them once more.
 */
#ifndef YOKE_CORE_DEAD_H
#define YOKE_CORE_DEAD_H

#include "base/list.h"
#include "core/core.h"

struct core;
struct job;
struct waiter;

/* A job that has failed for good and may be run once more: its payload is still
 * there. */
struct dead {
    struct list all;      /* core->dead, in order of end */
    struct list of_queue; /* queue->dead, likewise */
    struct job *job;
    char *payload; /* as in struct job */
};

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

#endif
