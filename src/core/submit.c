/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * submit - jobs that are asked for: accepted, refused, or blocked until there
 * is room in their queue.
 */
#include "core/submit.h"

#include "base/pattern.h"
#include "core/deliver.h"
#include "core/full.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/key.h"
#include "core/limiter.h"
#include "core/news.h"
#include "core/once.h"
#include "core/queue.h"
#include "core/retry.h"
#include "core/scope.h"
#include "core/waiter.h"
#include "core/worker.h"

static int64_t after(const struct core *c, int64_t ms)
{
    return ms == CORE_NONE ? CORE_NONE : c->now_ms + ms;
}

/* Those of the queue are a time for each job. */
static bool wants_options(const struct queue *q, const struct event_submit *s)
{
    return q->settings.expires_ms != CORE_NONE ||
           s->factor_milli != CORE_UNSET || s->jitter != CORE_UNSET ||
           s->retry_on.p || s->timeout_ms != CORE_UNSET ||
           s->deadline_ms != CORE_UNSET || s->expires_ms != CORE_UNSET ||
           s->grace_ms != CORE_UNSET || s->retry != CORE_UNSET ||
           s->backoff_base_ms != CORE_UNSET ||
           s->backoff_cap_ms != CORE_UNSET || s->redeliver != CORE_UNSET ||
           s->keep_ms != CORE_UNSET;
}

static void fill_options(const struct core *c, const struct queue *q,
                         const struct event_submit *s, struct options *o)
{
    const struct options *d = q->defaults;

    *o = *d;
    o->timeout_ms = or_default(s->timeout_ms, d->timeout_ms);
    o->deadline_ms = or_default(s->deadline_ms, d->deadline_ms);
    o->grace_ms = or_default(s->grace_ms, d->grace_ms);
    o->keep_ms = or_default(s->keep_ms, d->keep_ms);
    o->expires_ms = after(c, or_default(s->expires_ms, q->settings.expires_ms));
    o->retry = or_default(s->retry, d->retry);
    o->backoff_base_ms = or_default(s->backoff_base_ms, d->backoff_base_ms);
    o->backoff_cap_ms = or_default(s->backoff_cap_ms, d->backoff_cap_ms);
    o->redeliver = or_default(s->redeliver, d->redeliver);
    o->factor_milli = (uint32_t)or_default(s->factor_milli, d->factor_milli);
    o->jitter = or_default(s->jitter, d->jitter);
    if (s->retry_on.p)
        o->retry_on = s->retry_on;
}

static void accept(struct core *c, struct client_id client, struct queue *q,
                   const struct event_submit *s)
{
    struct record r = {
        .type = RECORD_JOB,
        .at_ms = c->now_ms,
        .id = c->next_id,
        .u.job = {.queue = q->id,
                  .group = s->group.n,
                  .priority =
                      (uint8_t)or_default(s->priority, q->settings.priority),
                  .own_options = wants_options(q, s),
                  .name = s->name,
                  .payload = s->payload,
                  .key = s->key,
                  .then = s->then,
                  .once = once_record(c, &s->once)},
    };
    int64_t delay = or_default(s->delay_ms, 0);

    queue_anchor(c, q);
    if (UNLIKELY(s->limits.len)) {
        bool known = limiter_read_needs(c, client, s->limits, &r.u.job.needs);

        ASSERT(known); /* allowed has asked */
        limiter_write_images(c, &r.u.job.needs);
    }

    if (delay > 0)
        r.u.job.not_before_ms = c->now_ms + delay;
    else if (s->at_ms > c->now_ms)
        r.u.job.not_before_ms = s->at_ms;
    if (r.u.job.own_options)
        fill_options(c, q, s, &r.u.job.options);
    core_record(c, &r);
    c->totals.submitted++;
    q->total_submitted++;
    value_id(reply_begin(c, client), 'j', r.id, 0);
    reply_end(c);
    if (UNLIKELY(s->key.len))
        key_answer(c, key_find(c, key_scope_of_queue(q), s->key));
}

/* The job that was accepted with this key is the answer, whatever else would
 * be refused or waited for. */
static bool known(struct core *c, struct client_id client,
                  const struct event_submit *s)
{
    const struct queue *q = queue_find(c, s->queue);
    const struct key *k = q ? key_find(c, key_scope_of_queue(q), s->key) : NULL;

    if (!k || !k->of)
        return false;
    if (s->once.number && !full_may_grow(c, client))
        return true;
    once_remember(c, &s->once, k->of);
    value_id(reply_begin(c, client), 'j', k->of, 0);
    reply_end(c);
    return true;
}

/* What a submit must satisfy apart from room. Answers the error. */
static bool allowed(struct core *c, struct client_id client,
                    const struct event_submit *s)
{
    struct record_needs needs;
    const struct group *g;

    if (UNLIKELY(c->draining)) {
        reply_error(c, client, CORE_ERR_DRAINING,
                    "the daemon is shutting down");
        return false;
    }
    if (!full_may_grow(c, client))
        return false;
    if (UNLIKELY(c->memory + (int64_t)s->payload.len > c->limits.memory_max)) {
        reply_error(c, client, CORE_ERR_OOM,
                    "memory-max (%lld bytes) is reached",
                    (long long)c->limits.memory_max);
        return false;
    }
    if (UNLIKELY(s->limits.len) &&
        !limiter_read_needs(c, client, s->limits, &needs))
        return false;
    if (s->group.n == 0)
        return true;
    g = find_group_or_reply(c, client, s->group);
    return g && group_accepts(c, client, g);
}

static bool well_formed(struct core *c, struct client_id client,
                        const struct event_submit *s)
{
    if (UNLIKELY((int64_t)s->payload.len > c->limits.payload_max)) {
        reply_error(c, client, CORE_ERR_TOOBIG,
                    "the payload is %zu bytes, payload-max is %lld",
                    s->payload.len, (long long)c->limits.payload_max);
        return false;
    }
    if (UNLIKELY(s->name.len > CORE_LABEL_MAX)) {
        reply_error(c, client, CORE_ERR_TOOBIG,
                    "NAME is %zu bytes, at most %d are allowed", s->name.len,
                    CORE_LABEL_MAX);
        return false;
    }
    if (UNLIKELY(s->then.len) && !deliver_chain_ok(s->then)) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "THEN is 1 to %d names of queues with commas between",
                    THEN_MAX);
        return false;
    }
    if (UNLIKELY(s->retry > RUNS_MAX || s->redeliver > RUNS_MAX)) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "RETRY and REDELIVER are at most %d", RUNS_MAX);
        return false;
    }
    if (UNLIKELY(s->retry_on.p && !pattern_list_ok(s->retry_on))) {
        reply_error(c, client, CORE_ERR_GENERIC, RETRY_ON_WANTED,
                    CORE_RETRY_ON_MAX);
        return false;
    }
    if (UNLIKELY(s->keep_ms != CORE_UNSET &&
                 s->keep_ms > c->limits.keep_max_ms)) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "KEEP is at most %lld ms (keep-max)",
                    (long long)c->limits.keep_max_ms);
        return false;
    }
    return true;
}

static struct str copy_into(char **to, struct str s)
{
    struct str copy = {.p = *to, .len = s.len};

    if (s.len)
        memcpy(*to, s.p, s.len);
    *to += s.len;
    return copy;
}

/* The producer waits at the end of the line; the daemon stops reading from
 * its connection, so there is one such copy for a connection at most. */
static void block_producer(struct core *c, const struct core_event *ev,
                           struct queue *q, int64_t wait_ms)
{
    const struct event_submit *s = &ev->u.submit;
    struct waiter *w = waiter_new(c, ev->client, WAIT_SUBMIT, wait_ms, 0);
    char *strings;

    w->queue = q;
    if (s->group.n) {
        w->group = find_group(c, s->group);
        w->group->nproducers++;
    }
    w->submit_size = sizeof(*w->submit) + s->payload.len + s->name.len +
                     s->key.len + s->then.len + s->retry_on.len + s->limits.len;
    w->submit = mem_alloc(w->submit_size);
    *w->submit = *s;
    strings = (char *)(w->submit + 1);
    w->submit->payload = copy_into(&strings, s->payload);
    w->submit->name = copy_into(&strings, s->name);
    w->submit->key = copy_into(&strings, s->key);
    w->submit->then = copy_into(&strings, s->then);
    if (s->retry_on.p)
        w->submit->retry_on = copy_into(&strings, s->retry_on);
    w->submit->limits = copy_into(&strings, s->limits);
    w->submit->queue = (struct str){0};
    account(c, (int64_t)w->submit_size);
    if (s->key.len)
        key_wait(c, w, s->key);
    list_push_back(&q->producers, &w->link);
    q->nproducers++;
}

void submit_job(struct core *c, const struct core_event *ev)
{
    const struct event_submit *s = &ev->u.submit;
    struct core_event named;
    struct queue *q;
    int64_t wait_ms;
    bool room;

    if (once_answered(c, ev->client, &s->once, 0))
        return;
    if (UNLIKELY(s->key.len) &&
        (!key_allowed(c, ev->client, s->key) || known(c, ev->client, s)))
        return;
    if (!well_formed(c, ev->client, s) || !allowed(c, ev->client, s) ||
        (UNLIKELY(s->body.attempt) &&
         !scope_body_takes_job(c, ev->client, &s->body))) {
        c->totals.refused++;
        return;
    }
    q = queue_get(c, ev->client, s->queue);
    if (!q ||
        (UNLIKELY(s->then.len) && !deliver_make_queues(c, ev->client, s->then)))
        return;
    if (UNLIKELY(q->door != DOOR_OPEN)) {
        c->totals.refused++;
        reply_error(c, ev->client, CORE_ERR_CLOSED, "queue '%s' is closed",
                    q->name);
        return;
    }
    if (UNLIKELY((int64_t)s->payload.len > q->settings.max_bytes)) {
        reply_error(c, ev->client, CORE_ERR_TOOBIG,
                    "the payload is %zu bytes, queue '%s' has max-bytes %lld",
                    s->payload.len, q->name, (long long)q->settings.max_bytes);
        return;
    }
    room = queue_has_room(q, s->payload.len);
    wait_ms = or_default(s->wait_ms, q->settings.wait_ms);
    if (UNLIKELY(room == q->was_full)) {
        q->was_full = !room;
        if (!room)
            news_of_queue(c, q, "full");
    }
    if (UNLIKELY(!room && wait_ms == 0)) {
        c->totals.refused++;
        reply_error(
            c, ev->client, CORE_ERR_QUEUEFULL,
            "queue '%s' is full (%lld of %lld jobs, %lld of %lld "
            "bytes)",
            q->name, (long long)queue_holds(q), (long long)q->settings.max_jobs,
            (long long)queue_holds_bytes(q), (long long)q->settings.max_bytes);
        return;
    }
    if (UNLIKELY(s->body.attempt)) {
        named = *ev;
        named.u.submit.group = scope_body(c, &s->body);
        named.u.submit.body.attempt = 0;
        ev = &named;
        s = &ev->u.submit;
    }
    if (UNLIKELY(!room)) {
        block_producer(c, ev, q, wait_ms);
        return;
    }
    accept(c, ev->client, q, s);
    queue_wake(c, q);
}

bool submit_admit_one(struct core *c, struct queue *q)
{
    struct list *first = list_first(&q->producers);
    struct waiter *w;

    if (!first)
        return false;
    w = list_entry(first, struct waiter, link);
    if (!list_empty(&q->deliveries) || !queue_fits(q, w->submit->payload.len))
        return false;
    if (UNLIKELY(w->key && w->key->of)) {
        key_answer_one(c, w);
        return true;
    }
    list_remove(&w->keyed); /* it has an answer of its own */
    if (once_room(c, w->client->id, &w->submit->once) &&
        allowed(c, w->client->id, w->submit))
        accept(c, w->client->id, q, w->submit);
    waiter_free(c, w);
    return true;
}

void submit_refuse_group(struct core *c, const struct group *g)
{
    list_foreach (qi, &c->queues) {
        struct queue *q = list_entry(qi, struct queue, link);

        if (g->nproducers == 0)
            return;
        list_foreach_safe (it, &q->producers) {
            struct waiter *w = list_entry(it, struct waiter, link);

            if (w->group != g)
                continue;
            (void)group_accepts(c, w->client->id, g);
            waiter_free(c, w);
            queue_wake(c, q); /* the one behind may fit where it did not */
        }
    }
}
