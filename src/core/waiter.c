/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * waiter - commands that block until something happens or their time is up.
 *
 * All of it is volatile: a crash ends the connections that wait. A client
 * waits for one thing at a time.
 */
#include "core/waiter.h"

#include "core/attempt.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/key.h"
#include "core/line.h"
#include "core/queue.h"
#include "core/show.h"
#include "core/worker.h"

struct waiter *waiter_new(struct core *c, struct client_id client,
                          enum waiter_kind kind, int64_t wait_ms, size_t nlinks)
{
    struct client *cl = client_get(c, client);
    struct waiter *w =
        mem_zalloc(sizeof(*w) + mem_mul(nlinks, sizeof(w->links[0])));

    ASSERT(!cl->waiter);
    cl->waiter = w;
    w->kind = kind;
    w->client = cl;
    w->nlinks = nlinks;
    w->timer.kind = TIMER_WAITER;
    list_init(&w->link);
    list_init(&w->keyed);
    for (size_t i = 0; i < nlinks; i++)
        list_init(&w->links[i].link);
    if (wait_ms != CORE_NONE)
        timer_set(c, &w->timer, c->now_ms + wait_ms);
    c->nblocked++;
    return w;
}

void waiter_free(struct core *c, struct waiter *w)
{
    struct client *cl = w->client;

    timer_stop(c, &w->timer);
    list_remove(&w->link);
    for (size_t i = 0; i < w->nlinks; i++) {
        list_remove(&w->links[i].link);
        w->links[i].queue->nfetchers--;
        line_left(c, w->links[i].queue);
    }
    c->at_once -= w->at_once;
    if (w->kind == WAIT_SUBMIT) {
        w->queue->nproducers--;
        if (w->group)
            w->group->nproducers--;
        list_remove(&w->keyed);
        if (w->key)
            key_drop(c, w->key);
        account(c, -(int64_t)w->submit_size);
        mem_free(w->submit);
    }
    mem_free(w);
    c->nblocked--;
    cl->waiter = NULL;
    client_drop_if_idle(c, cl);
}

/* An empty page: [cursor, [], over]. */
static void empty_page(struct core *c, const struct waiter *w)
{
    struct buf *b = reply_begin(c, w->client->id);
    char cursor[24];

    (void)snprintf(cursor, sizeof(cursor), "%lld", (long long)w->cursor);
    value_array(b, 3);
    value_str(b, str_from(cursor));
    value_array(b, 0);
    value_int(b, 0);
    reply_end(c);
}

void waiter_give_up(struct core *c, struct waiter *w)
{
    struct queue *q = w->kind == WAIT_SUBMIT ? w->queue : NULL;
    struct client_id id = w->client->id;

    switch (w->kind) {
    case WAIT_SUBMIT:
        c->totals.refused++;
        reply_error(c, id, CORE_ERR_QUEUEFULL,
                    "queue '%s' is still full (%lld of %lld jobs) after the "
                    "wait",
                    w->queue->name, (long long)queue_holds(w->queue),
                    (long long)w->queue->settings.max_jobs);
        break;
    case WAIT_JOB:
    case WAIT_READY:
    case WAIT_GROUP:
        reply_null(c, id);
        break;
    case WAIT_LOGS:
    case WAIT_NEXT:
        empty_page(c, w);
        break;
    case WAIT_JOIN:
    case WAIT_PURGE: /* these two have no time */
    case WAIT_DEAD_PURGE:
        value_int(reply_begin(c, id), 0);
        reply_end(c);
        break;
    case WAIT_RETRY:
    case WAIT_DEAD_RETRY:
        BUG("a retry has no time");
    case WAIT_FETCH:
        value_array(reply_begin(c, id), 0);
        reply_end(c);
        break;
    }
    waiter_free(c, w);
    /* The one behind may fit where this one did not. */
    if (q)
        queue_wake(c, q);
}

void waiter_job_ended(struct core *c, struct job *j)
{
    while (!list_empty(&j->extra->waiters)) {
        struct waiter *w =
            list_entry(list_first(&j->extra->waiters), struct waiter, link);
        struct client_id id = w->client->id;

        if (w->kind == WAIT_READY) {
            reply_error(c, id, CORE_ERR_NOTREADY,
                        "the job ended (%s) before it was ready",
                        outcome_name((enum outcome)j->u.end->outcome));
        } else {
            show_outcome(c, reply_begin(c, id), j);
            reply_end(c);
        }
        waiter_free(c, w);
    }
}

void waiter_job_ready(struct core *c, struct job *j)
{
    if (!j->extra)
        return;
    list_foreach_safe (it, &j->extra->waiters) {
        struct waiter *w = list_entry(it, struct waiter, link);

        if (w->kind != WAIT_READY)
            continue;
        value_str(reply_begin(c, w->client->id),
                  (struct str){j->u.run->ready, j->u.run->ready_len});
        reply_end(c);
        waiter_free(c, w);
    }
}
