/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain - the end of a queue's work: closed, waited for, emptied.
 *
 * asyncio.Queue's join() and shutdown(), for jobs: a closed queue takes nothing
 * and is worked off; closed NOW, nothing starts from it any more, and what
 * waits in it is cancelled. PURGE empties it once.
 *
 * A queue may hold a million jobs: it is emptied in slices, from the front of
 * its lists. Nothing starts from it meanwhile, so none is overlooked, and what
 * comes during a PURGE lies behind all that was there and is spared.
 */
#include "core/drain.h"

#include "core/internal.h"
#include "core/job.h"
#include "core/line.h"
#include "core/news.h"
#include "core/queue.h"
#include "core/share.h"
#include "core/waiter.h"
#include "core/worker.h"

#define EMPTY_SLICE 100

static bool purged(const struct queue *q, const struct job *j)
{
    return q->door == DOOR_CLOSED_NOW || j->node.hash < q->purge_before;
}

bool drain_takes(struct core *c, struct job *j)
{
    struct queue *q = job_queue(j);

    if (!list_linked(&q->emptying) || !purged(q, j))
        return false;
    q->purged++;
    job_cancel(c, j,
               q->door == DOOR_CLOSED_NOW ? STR("queue closed") : STR("purged"),
               CORE_UNSET);
    return true;
}

static struct job *first_of(const struct list *jobs)
{
    struct list *first = list_first(jobs);

    return first ? list_entry(first, struct job, link) : NULL;
}

/* Empty lanes are passed by, one at a time. */
static struct job *first_parked(struct queue *q)
{
    struct lane *lane =
        list_entry(list_first(&q->lanes), struct lane, of_queue);

    list_remove(&lane->of_queue);
    list_push_back(&q->lanes, &lane->of_queue);
    return first_of(&lane->jobs);
}

/* false: there is nothing left. */
static bool empty_one(struct core *c, struct queue *q)
{
    struct job *j = first_of(&q->delayed);

    if ((!j || !purged(q, j)) && q->counts[JOB_PARKED] > 0) {
        j = first_parked(q);
        if (!j)
            return true;
    }
    for (int p = CORE_PRIORITIES - 1; p >= 0 && (!j || !purged(q, j)); p--) {
        j = first_of(&q->ready[p]);
        for (struct list *it = q->turns[p].next;
             it != &q->turns[p] && (!j || !purged(q, j)); it = it->next)
            if (it != &q->plain_turn[p])
                j = first_of(&list_entry(it, struct share, turn)->jobs);
    }
    return j && drain_takes(c, j);
}

void drain_begin(struct core *c, struct queue *q)
{
    if ((q->door == DOOR_CLOSED_NOW || q->purge_before) && q->jobs > 0 &&
        !list_linked(&q->emptying))
        list_push_back(&c->emptying, &q->emptying);
    line_left(c, q);
}

void drain_slice(struct core *c, struct queue *q)
{
    list_remove(&q->emptying);
    list_push_back(&c->emptying, &q->emptying);
    for (int n = 0; empty_one(c, q); n++)
        if (n == EMPTY_SLICE || !core_work(c))
            return;
    list_remove(&q->emptying);
    q->purge_before = 0;
    list_foreach_safe (it, &q->purgers) {
        struct waiter *w = list_entry(it, struct waiter, link);

        value_int(reply_begin(c, w->client->id), q->purged - w->cursor);
        reply_end(c);
        waiter_free(c, w);
    }
    queue_wake(c, q);
}

static bool unfinished(const struct queue *q)
{
    for (int s = 0; s < JOB_FINISHED; s++)
        if (q->counts[s])
            return true;
    return false;
}

void drain_ended(struct core *c, struct queue *q)
{
    if (unfinished(q))
        return;
    list_foreach_safe (it, &q->joiners) {
        struct waiter *w = list_entry(it, struct waiter, link);

        value_int(reply_begin(c, w->client->id), 1);
        reply_end(c);
        waiter_free(c, w);
    }
}

/* ------------------------------------------------------------------- events */

static void refuse_producers(struct core *c, struct queue *q)
{
    list_foreach_safe (it, &q->producers) {
        struct waiter *w = list_entry(it, struct waiter, link);

        c->totals.refused++;
        reply_error(c, w->client->id, CORE_ERR_CLOSED,
                    "queue '%s' was closed while this waited for room",
                    q->name);
        waiter_free(c, w);
    }
}

void drain_close(struct core *c, const struct core_event *ev)
{
    struct queue *q = queue_find_or_reply(c, ev->client, ev->u.queue.name);
    enum door door = DOOR_OPEN;

    if (!q)
        return;
    if (ev->u.queue.closed) /* once NOW it stays so until it is opened */
        door = ev->u.queue.at_once || q->door == DOOR_CLOSED_NOW
                   ? DOOR_CLOSED_NOW
                   : DOOR_CLOSED;
    if (door != q->door) {
        queue_change(c, q, &q->settings, q->paused, door);
        news_of_queue(c, q, door == DOOR_OPEN ? "opened" : "closed");
    }
    reply_ok(c, ev->client);
    if (door != DOOR_OPEN)
        refuse_producers(c, q);
    drain_begin(c, q);
    queue_wake(c, q);
    line_attended(c, q);
}

void drain_join(struct core *c, const struct core_event *ev)
{
    struct queue *q = queue_find_or_reply(c, ev->client, ev->u.queue.name);
    struct waiter *w;

    if (!q)
        return;
    if (!unfinished(q) || ev->u.queue.wait_ms == 0) {
        value_int(reply_begin(c, ev->client), !unfinished(q));
        reply_end(c);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_JOIN, ev->u.queue.wait_ms, 0);
    w->queue = q;
    list_push_back(&q->joiners, &w->link);
}

void drain_purge(struct core *c, const struct core_event *ev)
{
    struct queue *q = queue_find_or_reply(c, ev->client, ev->u.queue.name);
    struct waiter *w;

    if (!q)
        return;
    if (q->jobs == 0) {
        value_int(reply_begin(c, ev->client), 0);
        reply_end(c);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_PURGE, CORE_NONE, 0);
    w->queue = q;
    w->cursor = q->purged;
    list_push_back(&q->purgers, &w->link);
    q->purge_before = c->next_id;
    drain_begin(c, q);
}
