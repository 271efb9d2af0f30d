/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/pool_internal.h"

#include "runner/memory.h"
#include "runner/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A job that was fetched ahead and was not given to a process by then is given
 * back. */
#define HOLD_MS 100
/* Jobs that are fetched ahead for each process, at most. */
#define AHEAD_MAX 256
/* What a job weighs in the average. */
#define AVERAGE_OF 32

int64_t pool_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* -------------------------------------------------------------------- jobs */

static const char *put_text(char **to, const char *text, size_t len)
{
    const char *at = *to;

    if (len)
        memcpy(*to, text, len);
    *to += len + 1;
    return at;
}

static struct pool_job *pool_job_new(const struct yoke_work *work)
{
    size_t name = strlen(work->name), group = strlen(work->group);
    size_t len = work->payload.len;
    struct pool_job *job = memory_new(sizeof(*job) + name + group + len + 3);
    char *to = (char *)(job + 1);

    snprintf(job->token, sizeof(job->token), "%s", work->token);
    job->came_ms = job_now_ms();
    job->kill_at_ms = INT64_MAX;
    job->about =
        (struct peer_job){.token = job->token,
                          .name = put_text(&to, work->name, name),
                          .group = put_text(&to, work->group, group),
                          .payload = put_text(&to, work->payload.data, len),
                          .payload_len = len,
                          .attempt = work->attempt,
                          .timeout_ms = work->timeout_ms,
                          .deadline_ms = work->deadline_ms,
                          .remaining_ms = work->remaining_ms,
                          .grace_ms = work->grace_ms};
    return job;
}

void pool_job_free(struct pool_job *job)
{
    free(job->reason);
    free(job);
}

static void take_ready(struct pool *pool, struct pool_job *job)
{
    TAILQ_REMOVE(&pool->ready, job, link);
    pool->nready--;
}

void pool_release(struct pool *pool, struct pool_job *job)
{
    struct yoke_bytes argv[] = {report_bytes("RELEASE"),
                                report_bytes(job->token)};
    struct report *p = report_new(2, argv);

    p->last_resort = true;
    pool->all->calls->report(pool->all->arg, p);
    pool_job_free(job);
}

static void on_hold(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct pool *pool = timer->data;
    int64_t now = job_now_ms();
    struct pool_job *job;

    (void)loop;
    (void)events;
    /* The first one is the oldest. */
    while ((job = TAILQ_FIRST(&pool->ready)) && now - job->came_ms >= HOLD_MS) {
        take_ready(pool, job);
        pool_release(pool, job);
        /* Jobs are not that short at the moment. */
        pool->average_ns = 10 * (int64_t)POOL_SHORT_NS;
    }
    if (job) {
        ev_timer_set(timer, HOLD_MS / 1000., 0.);
        ev_timer_start(loop, timer);
    }
}

/* How many jobs fit into the time of a short one. */
static int64_t at_once(const struct pool *pool)
{
    return pool->average_ns > 0 ? POOL_SHORT_NS / pool->average_ns : AHEAD_MAX;
}

size_t pool_share(const struct pool *pool, size_t wanted)
{
    int64_t n = at_once(pool);

    return wanted == 0 || n <= 1 ? wanted > 0
           : n < (int64_t)wanted ? (size_t)n
                                 : wanted;
}

void pool_served(struct pool *pool, int64_t ns)
{
    pool->average_ns += (ns - pool->average_ns) / AVERAGE_OF;
    if (pool->failing)
        message_info("the processes of a pool serve again queue=%s",
                     pool->queue->name);
    pool->failing = false;
}

void pool_take(struct pool *pool, const struct yoke_work *work)
{
    struct pool_job *job = pool_job_new(work);

    TAILQ_INSERT_TAIL(&pool->ready, job, link);
    pool->nready++;
}

size_t pool_room(const struct pool *pool)
{
    int64_t each = at_once(pool);
    size_t places = 0, n = 0, taken = pool->nready + pool->ngiven;

    if (pool->all->stopping || pool->retired)
        return 0;
    for (size_t i = 0; i < pool->size; i++) {
        const struct pool_worker *w = &pool->workers[i];
        size_t most = w->nheld + worker_waits_for(w);

        if (w->state != POOL_SERVING)
            continue;
        /* One that is busy will come again for as many. */
        if (!w->peer.fetching) {
            most = pool_share(pool, w->peer.wanted);
            most = w->nheld > most ? w->nheld : most;
        }
        places += most;
        n += most > 0;
    }
    places += n * (size_t)(each < AHEAD_MAX ? each : AHEAD_MAX);
    return places > taken ? places - taken : 0;
}

/* Each that waits gets a fair part of what there is. */
static void pool_give(struct pool *pool)
{
    size_t waiting = 0;

    for (size_t i = 0; i < pool->size; i++)
        waiting += worker_waits_for(&pool->workers[i]) > 0;
    for (size_t i = 0; i < pool->size && pool->nready > 0 && waiting > 0; i++) {
        struct pool_worker *w = &pool->workers[i];

        if (worker_waits_for(w) == 0)
            continue;
        worker_answer(w, (pool->nready + waiting - 1) / waiting);
        peer_flush(&w->peer);
        waiting--;
    }
    if (pool->nready > 0 && !ev_is_active(&pool->hold)) {
        ev_timer_set(&pool->hold, HOLD_MS / 1000., 0.);
        ev_timer_start(pool->all->host->loop, &pool->hold);
    }
}

/* -------------------------------------------------------------------- stop */

static struct pool_job *find_job(const struct pool_job_list *list,
                                 const char *token)
{
    struct pool_job *job;

    TAILQ_FOREACH(job, list, link)
    {
        if (strcmp(job->token, token) == 0)
            return job;
    }
    return NULL;
}

/* One that no process has. */
static void drop_ready(struct pool *pool, struct pool_job *job,
                       enum job_cause cause, const char *reason)
{
    char text[512];

    take_ready(pool, job);
    if (cause == JOB_RETURNED) {
        pool_release(pool, job);
        return;
    }
    if (cause == JOB_CANCELLED) {
        snprintf(text, sizeof(text), "it was not started%s%s",
                 *reason ? " after the cancel: " : "", reason);
        pool->all->calls->report(
            pool->all->arg,
            report_fail(job->token, "cancelled", text, (struct yoke_bytes){0}));
    }
    pool_job_free(job);
}

/* A job that is somewhere in here, for a cause of its own. False: it is not. */
static bool stop_one(struct pools *p, const char *token, enum job_cause cause,
                     const char *reason, int64_t grace_ms)
{
    for (size_t i = 0; i < p->count; i++) {
        struct pool *pool = p->items[i];
        struct pool_job *job = find_job(&pool->ready, token);

        if (job) {
            drop_ready(pool, job, cause, reason);
            return true;
        }
        for (size_t n = 0; n < pool->size && !job; n++) {
            job = find_job(&pool->workers[n].held, token);
            if (job)
                worker_stop_job(&pool->workers[n], job, cause, reason,
                                grace_ms >= 0 ? grace_ms : job->about.grace_ms);
        }
        if (job)
            return true;
    }
    return false;
}

bool pools_cancel(struct pools *p, const char *token, const char *reason,
                  int64_t grace_ms)
{
    return stop_one(p, token, JOB_CANCELLED, reason, grace_ms);
}

void pools_lose(struct pools *p, const char *token)
{
    (void)stop_one(p, token, JOB_LOST, "the attempt is no longer current", 0);
}

static void worker_stop_all(struct pool_worker *w, enum job_cause cause,
                            int64_t most_ms)
{
    const char *why = cause == JOB_RETURNED ? "the runner is stopping"
                                            : "the daemon cannot be reached";
    struct pool_job *job, *next;

    for (job = TAILQ_FIRST(&w->held); job; job = next) {
        int64_t grace_ms = job->about.grace_ms;

        next = TAILQ_NEXT(job, link);
        worker_stop_job(w, job, cause, why,
                        grace_ms >= 0 && grace_ms < most_ms ? grace_ms
                                                            : most_ms);
    }
    if (cause == JOB_RETURNED)
        worker_leave(w, most_ms);
    else
        peer_reply(&w->peer, NULL, "ERR", why);
}

void pools_stop(struct pools *p, enum job_cause cause, int64_t most_ms)
{
    p->stopping |= cause == JOB_RETURNED;
    for (size_t i = 0; i < p->count; i++) {
        struct pool *pool = p->items[i];

        while (!TAILQ_EMPTY(&pool->ready))
            drop_ready(pool, TAILQ_FIRST(&pool->ready), cause, "");
        for (size_t n = 0; n < pool->size; n++)
            worker_stop_all(&pool->workers[n], cause, most_ms);
    }
}

bool pools_idle(const struct pools *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct pool *pool = p->items[i];

        if (pool->nready + pool->ngiven > 0)
            return false;
        for (size_t n = 0; n < pool->size; n++) {
            const struct pool_worker *w = &pool->workers[n];

            if (!TAILQ_EMPTY(&w->kept) || w->state == POOL_KILLED ||
                ((p->stopping || pool->retired) && w->process))
                return false;
        }
    }
    return true;
}

bool pools_busy(const struct pools *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct pool *pool = p->items[i];

        if (pool->ngiven > 0 && pool->nready < pool->size)
            return false;
    }
    return true;
}

size_t pools_given(const struct pools *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++)
        n += p->items[i]->ngiven;
    return n;
}

/* --------------------------------------------------------------------- all */

/* Nothing is left of one that has retired. */
static bool pool_is_over(const struct pool *pool)
{
    if (!pool->retired)
        return false;
    for (size_t n = 0; n < pool->size; n++) {
        if (pool->workers[n].process)
            return false;
    }
    return true;
}

static void pool_free(struct pool *pool)
{
    for (size_t n = 0; n < pool->size; n++)
        worker_clear(&pool->workers[n]);
    while (!TAILQ_EMPTY(&pool->ready))
        drop_ready(pool, TAILQ_FIRST(&pool->ready), JOB_LOST, "");
    ev_timer_stop(pool->all->host->loop, &pool->hold);
    settings_release(pool->settings);
    free(pool->workers);
    free(pool);
}

void pools_give(struct pools *p)
{
    size_t left = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct pool *pool = p->items[i];

        if (pool_is_over(pool)) {
            pool_free(pool);
            continue;
        }
        if (pool->nready > 0)
            pool_give(pool);
        p->items[left++] = pool;
    }
    p->count = left;
}

static void pool_start(struct pools *p, const struct settings_queue *queue)
{
    struct pool *pool = memory_new(sizeof(*pool));

    p->items = memory_resize(p->items, p->count + 1, sizeof(struct pool *));
    p->items[p->count++] = pool;
    pool->all = p;
    pool->settings = settings_hold(p->host->settings);
    pool->queue = queue;
    pool->size = (size_t)queue->pool;
    pool->average_ns = 10 * (int64_t)POOL_SHORT_NS;
    TAILQ_INIT(&pool->ready);
    ev_init(&pool->hold, on_hold);
    pool->hold.data = pool;
    pool->workers = memory_new(pool->size * sizeof(*pool->workers));
    for (size_t n = 0; n < pool->size; n++)
        worker_init(&pool->workers[n], pool);
    for (size_t n = 0; n < pool->size; n++)
        worker_start(&pool->workers[n]);
}

static void start_all(struct pools *p)
{
    const struct settings *s = p->host->settings;

    for (size_t i = 0; i < s->nqueues; i++) {
        if (s->queues[i].pool > 0)
            pool_start(p, &s->queues[i]);
    }
}

void pools_start(struct pools *p, struct job_host *host,
                 const struct pool_calls *calls, void *arg)
{
    *p = (struct pools){.host = host, .calls = calls, .arg = arg};
    start_all(p);
}

void pools_retire(struct pools *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct pool *pool = p->items[i];

        pool->retired = true;
        while (!TAILQ_EMPTY(&pool->ready))
            drop_ready(pool, TAILQ_FIRST(&pool->ready), JOB_RETURNED, "");
        for (size_t n = 0; n < pool->size; n++)
            worker_leave(&pool->workers[n], pool->settings->stop_grace_ms);
    }
}

void pools_renew(struct pools *p)
{
    pools_retire(p);
    start_all(p);
}

void pools_clear(struct pools *p)
{
    for (size_t i = 0; i < p->count; i++)
        pool_free(p->items[i]);
    free(p->items);
    *p = (struct pools){0};
}

struct pool *pools_find(struct pools *p, const struct settings_queue *queue)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i]->queue == queue && !p->items[i]->retired)
            return p->items[i];
    }
    return NULL;
}

void pools_watch_output(struct pools *p)
{
    for (size_t i = 0; i < p->count; i++) {
        for (size_t n = 0; n < p->items[i]->size; n++) {
            struct pool_worker *w = &p->items[i]->workers[n];

            if (!w->process)
                continue;
            job_watch_output(w->process);
            peer_hold(&w->peer, p->host->outputs_paused);
        }
    }
}

void pools_answer(struct pools *p, unsigned long serial,
                  const struct yoke_value *reply, const char *code,
                  const char *text)
{
    for (size_t i = 0; i < p->count; i++) {
        for (size_t n = 0; n < p->items[i]->size; n++) {
            if (p->items[i]->workers[n].serial == serial)
                peer_reply(&p->items[i]->workers[n].peer, reply, code, text);
        }
    }
}
