/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker - clients and their sessions, and what workers say.
 */
#ifndef YOKE_CORE_WORKER_H
#define YOKE_CORE_WORKER_H

#include "base/list.h"
#include "base/map.h"
#include "core/core.h"
#include "core/once.h"
#include "core/timer.h"

struct core;
struct job;
struct queue;
struct waiter;

struct session {
    struct map_node node; /* hash: the id */
    struct list link;     /* core->sessions */
    uint64_t id;
    struct client *client; /* NULL: disconnected */
    struct list held;      /* jobs RUNNING or CANCELLING */
    struct list groups;    /* owned: struct group.owned */
    struct list notices;   /* struct run.notice */
    struct list awaits;    /* struct await.link: not ended, ... */
    struct list ends;      /* ... and ended, but not told */
    size_t nawaits;        /* in both */
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

struct client *client_find(const struct core *c, struct client_id id);
struct client *client_get(struct core *c, struct client_id id);
void client_drop_if_idle(struct core *c, struct client *cl);
struct session *session_of(struct core *c, struct client_id id);
/* By id; made, disconnected, if it is not there (replay). */
struct session *session_get(struct core *c, uint64_t id);
void session_timer(struct core *c, struct session *s);
void session_arm(struct core *c, struct session *s);
/* EVENT_CLOCK: leases and graces last as long as if the clock had not been
 * set. */
void sessions_shift(struct core *c, int64_t by_ms);
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
/* Answer a blocked FETCH with what there is now, or empty when the lease of its
 * session is over. false: nothing; it waits on. */
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

#endif
