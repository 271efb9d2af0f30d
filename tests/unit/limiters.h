/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiters - jobs that need permits, for the tests of limiters and of who
 * waits.
 */
#ifndef UNIT_LIMITERS_H
#define UNIT_LIMITERS_H

#include "daemon.h"

static inline struct daemon *roomy(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    core_limits_init(&d->limits);
    daemon_start(d);
    return d;
}

static inline const struct node *limiter_ask(struct daemon *d,
                                             enum core_event_kind kind,
                                             const char *name, int64_t permits,
                                             int64_t rate, int64_t rate_ms)
{
    struct core_event ev = {.kind = kind,
                            .u.limiter = {.name = str_from(name),
                                          .permits = permits,
                                          .rate = rate,
                                          .rate_ms = rate_ms}};

    return ask(d, 2, &ev);
}

static inline void set_permits(struct daemon *d, const char *name, int64_t n)
{
    ck_assert(is_ok(
        limiter_ask(d, EVENT_LIMITER_SET, name, n, CORE_UNSET, CORE_UNSET)));
}

static inline void set_rate(struct daemon *d, const char *name, int64_t n,
                            int64_t ms)
{
    ck_assert(
        is_ok(limiter_ask(d, EVENT_LIMITER_SET, name, CORE_UNSET, n, ms)));
}

static inline int64_t figure(struct daemon *d, const char *name,
                             const char *key)
{
    const struct node *n = limiter_ask(d, EVENT_LIMITER_INFO, name, 0, 0, 0);

    return node_get(n, key)->v.i;
}

static inline struct core_event a_limited(const char *queue, const char *limits)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.limits = str_from(limits);
    return ev;
}

static inline uint64_t limited(struct daemon *d, const char *queue,
                               const char *limits)
{
    struct core_event ev = a_limited(queue, limits);

    return submit_event(d, &ev);
}

static inline uint64_t urgent(struct daemon *d, const char *queue,
                              const char *limits, int64_t priority)
{
    struct core_event ev = a_limited(queue, limits);

    ev.u.submit.priority = priority;
    return submit_event(d, &ev);
}

static inline uint64_t in_group(struct daemon *d, const char *limits,
                                uint64_t g)
{
    struct core_event ev = a_limited("q", limits);

    ev.u.submit.group.n = g;
    return submit_event(d, &ev);
}

static inline void set_fair(struct daemon *d, const char *queue, int64_t fair)
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET,
                            .u.queue = {.name = str_from(queue)}};

    core_settings_unset(&ev.u.queue.settings);
    ev.u.queue.settings.fair = fair;
    ck_assert(is_ok(ask(d, 2, &ev)));
}

static inline void pause_queue(struct daemon *d, const char *queue, bool paused)
{
    struct core_event ev = {
        .kind = EVENT_QUEUE_PAUSE,
        .u.queue = {.name = str_from(queue), .paused = paused}};

    ck_assert(is_ok(ask(d, 2, &ev)));
}

/* The jobs in an answer to a FETCH, NULL: none. */
static inline uint32_t count_of(const struct node *page)
{
    return page ? page->v.count : 0;
}

static inline uint64_t id_of(const struct node *page)
{
    ck_assert_uint_eq(count_of(page), 1);
    return token_of(page, 0).job.n;
}

/* The client waits for one job of the queue, and gets none yet. */
static inline void wait_for(struct daemon *d, uint64_t client,
                            const char *queue)
{
    ck_assert_ptr_null(fetch_from(d, client, 1, CORE_NONE, queue));
}

static inline const struct node *status(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_STATUS, .u.job.id = {id}};

    return ask(d, 3, &ev);
}

static inline struct str waits_for(struct daemon *d, uint64_t id)
{
    const struct node *n = node_get(status(d, id), "waits_for");

    return n->v.kind == VALUE_STR ? n->v.s : (struct str){0};
}

#endif
