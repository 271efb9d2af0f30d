/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * waiter - commands that wait for something.
 */
#ifndef YOKE_CORE_WAITER_H
#define YOKE_CORE_WAITER_H

#include "base/list.h"
#include "core/core.h"
#include "core/timer.h"

struct client;
struct core;
struct group;
struct job;
struct key;
struct queue;

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
    struct list link; /* queue->fetchers; not linked: most is 0 */
    struct waiter *waiter;
    struct queue *queue;
    int64_t most; /* jobs of that queue */
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
    bool times;    /* LOGS */
    bool anew;     /* FETCH: some of its queues were not there, and could not
                    * be made: it is asked again when the disk has room */
    bool at_once;  /* FETCH: it waits for a payload, or what the core has to do
                    * at once, and for nothing else */
    size_t nlinks; /* FETCH */
    struct fetch_link links[];
};

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

#endif
