/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues - settings, pause, close, purge and join of queues in the model.
 */
#include "parts.h"

static void set_if(int64_t *to, int64_t from)
{
    if (from != CORE_UNSET)
        *to = from;
}

static bool queue_is_made(const struct model *m, struct str name)
{
    int i = model_queue_find(m, name);

    return i >= 0 && m->queues[i].made;
}

static void queue_set(struct model *m, const struct core_event *ev,
                      const struct node *n)
{
    const struct queue_settings *s = &ev->u.queue.settings;
    struct queue_settings *to, before;

    if (node_is_error(n, CORE_ERR_DISKFULL) && m->disk_narrow)
        return;
    if (node_is_error(n, CORE_ERR_NOQUEUE) && ev->kind == EVENT_QUEUE_PAUSE &&
        !queue_is_made(m, ev->u.queue.name))
        return;
    if (n->v.kind != VALUE_OK)
        violation("QUEUE SET or PAUSE was not answered OK");
    to = &m->queues[model_queue_get(m, ev->u.queue.name)].set;
    m->queues[model_queue_find(m, ev->u.queue.name)].made = true;
    if (ev->kind == EVENT_QUEUE_PAUSE) {
        m->queues[model_queue_find(m, ev->u.queue.name)].paused =
            ev->u.queue.paused;
        return;
    }
    before = *to;
    set_if(&to->max_jobs, s->max_jobs);
    set_if(&to->max_bytes, s->max_bytes);
    set_if(&to->timeout_ms, s->timeout_ms);
    set_if(&to->grace_ms, s->grace_ms);
    set_if(&to->retry, s->retry);
    set_if(&to->redeliver, s->redeliver);
    set_if(&to->keep_ms, s->keep_ms);
    set_if(&to->dead_keep_ms, s->dead_keep_ms);
    set_if(&to->wait_ms, s->wait_ms);
    if (s->fair != CORE_UNSET && s->fair != to->fair)
        m->queues[model_queue_find(m, ev->u.queue.name)].fair_changed =
            ++m->seq;
    set_if(&to->fair, s->fair);
    if (m->disk_narrow && memcmp(&before, to, sizeof(before)) != 0)
        violation("QUEUE SET changed something although the disk is full");
}

bool queue_is_unfinished(const struct model *m, int queue)
{
    for (int i = 0; i < m->njobs; i++)
        if (rules_job_live(&m->jobs[i]) && m->jobs[i].queue == queue)
            return true;
    return false;
}

static bool is_queued(const struct model_job *j)
{
    return j->used && (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED);
}

static void queue_close(struct model *m, const struct core_event *ev,
                        const struct node *n)
{
    struct model_queue *q;

    if (node_is_error(n, CORE_ERR_NOQUEUE) &&
        !queue_is_made(m, ev->u.queue.name))
        return;
    if (n->v.kind != VALUE_OK)
        violation("QUEUE CLOSE or OPEN was not answered OK");
    q = &m->queues[model_queue_find(m, ev->u.queue.name)];
    q->closed = ev->u.queue.closed;
    /* once NOW it stays so until it is opened */
    q->closed_now = q->closed && (q->closed_now || ev->u.queue.at_once);
}

/* What has not started is cancelled. Members that a group cancels because of
 * that may not be counted. */
static void queue_purge(struct model *m, struct model_client *c,
                        const struct core_event *ev)
{
    struct model_request *r = &c->request;
    int q = model_queue_find(m, ev->u.queue.name);

    *r = (struct model_request){.kind = REQUEST_PURGE, .until = MODEL_FOREVER};
    r->queues[r->nqueues++] = q;
    m->purged = q;
    for (int i = 0; q >= 0 && i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        /* What is joining may be back in the queue before the purge is over,
         * and what the purge has led to may have been looked at already. */
        if (j->used && j->queue == q)
            r->purged_hi += j->state == MODEL_JOINING ||
                            (j->outcome == VIEW_CANCELLED && j->group >= 0 &&
                             j->end_step >= m->since);
        if (!is_queued(j) || j->queue != q)
            continue;
        r->purged_hi++;
        r->purged_lo += j->group < 0;
        j->purging = true;
    }
}

bool reply_purge(struct model_client *c, struct model_reply *rep)
{
    struct model_request *r = &c->request;

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOQUEUE) && r->purged_hi == 0)
        return true;
    if (node_int(rep->n) < r->purged_lo || node_int(rep->n) > r->purged_hi)
        violation("QUEUE PURGE cancelled %lld jobs, %lld to %lld were there",
                  (long long)node_int(rep->n), (long long)r->purged_lo,
                  (long long)r->purged_hi);
    return true;
}

bool reply_join(struct model *m, struct model_client *c,
                struct model_reply *rep)
{
    struct model_request *r = &c->request;

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOQUEUE)) {
        if (r->queues[0] >= 0 && m->queues[r->queues[0]].made)
            violation("QUEUE JOIN does not know its queue");
        return true;
    }
    if (node_int(rep->n) == 1 && queue_is_unfinished(m, r->queues[0]) &&
        m->queues[r->queues[0]].filled < m->since) {
        if (!m->stumped) { /* a circle may explain it */
            r->answered = false;
            return false;
        }
        violation("QUEUE JOIN says 1, and something is unfinished");
    }
    if (node_int(rep->n) == 0 && r->until > m->now && !r->unblocked)
        violation("QUEUE JOIN says 0 before its time");
    return true;
}

bool queues_event(struct model *m, const struct core_event *ev,
                  struct model_reply *replies, size_t n)
{
    struct model_client *c = model_client_get(m, ev->client.n);

    switch (ev->kind) {
    case EVENT_QUEUE_SET:
    case EVENT_QUEUE_PAUSE:
        queue_set(m, ev, reply_now(replies, n, c->id));
        return true;
    case EVENT_QUEUE_CLOSE:
        queue_close(m, ev, reply_now(replies, n, c->id));
        return true;
    case EVENT_QUEUE_PURGE:
        queue_purge(m, c, ev);
        return true;
    case EVENT_QUEUE_JOIN:
        c->request = (struct model_request){
            .kind = REQUEST_JOIN,
            .until = until(m, ev->u.queue.wait_ms),
            .nqueues = 1,
        };
        c->request.queues[0] = model_queue_find(m, ev->u.queue.name);
        return true;
    default:
        return false;
    }
}
