/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dead - jobs that have failed for good: the list, RETRY, PURGE.
 */
#include "parts.h"

static bool is_of(const struct model *m, const struct model_job *j,
                  struct str queue)
{
    return j->used && j->dead &&
           (queue.len == 0 ||
            str_eq(queue, str_from(m->queues[j->queue].name)));
}

/* A purge that is not over has not come to it, or has. */
static bool is_purged_now(const struct model *m, const struct model_job *j)
{
    return j->purged_step >= m->since;
}

static bool may_be_gone(const struct model *m, const struct model_job *j)
{
    return rules_job_kept_until(j) <= m->now || j->unseen ||
           rules_may_be_evicted(m, m->retained) || j->group >= 0;
}

/* It was retried before a purge came to it. */
static void unpurge(struct model *m, const struct model_job *j)
{
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        struct model_request *r = &m->clients[i].request;

        if (r->kind == REQUEST_PURGE && !may_be_gone(m, j))
            r->purged_lo--;
    }
}

/* Why it cannot be run again now, one bit for each code. */
static uint32_t refusals(const struct model *m, const struct model_job *j)
{
    uint32_t errors = 0;

    if (m->draining)
        errors |= 1u << CORE_ERR_DRAINING;
    if (m->disk_narrow)
        errors |= 1u << CORE_ERR_DISKFULL;
    if (m->queues[j->queue].closed)
        errors |= 1u << CORE_ERR_CLOSED;
    if (!model_queue_has_room(m, j->queue, j->payload_len) ||
        submit_waits(m, j->queue) ||
        ends_delivery_waits(m, j->queue, UINT64_MAX))
        errors |= 1u << CORE_ERR_QUEUEFULL;
    if (!limits_exist(m, j))
        errors |= 1u << CORE_ERR_NOLIMITER;
    return errors;
}

/* The old job has ended and stays so; the new one begins anew. */
static void run_again(struct model *m, struct model_job *old, uint64_t id)
{
    struct model_job *j = &m->jobs[model_job_slot(m)];
    const struct model_group *g =
        old->group < 0 ? NULL : &m->groups[old->group];

    if (model_job_find(m, id) >= 0 || id == 0)
        violation("job id %llx was given twice", (unsigned long long)id);
    *j = (struct model_job){
        .used = true,
        .id = id,
        .group =
            g && !g->closed && !g->cancelled && !g->ended ? old->group : -1,
        .queue = old->queue,
        .session = -1,
        .state = MODEL_QUEUED,
        .name_tag = old->name_tag,
        .payload_tag = old->payload_tag,
        .payload_len = old->payload_len,
        .priority = old->priority,
        .timeout = old->timeout,
        .deadline = old->deadline <= m->now ? CORE_NONE : old->deadline,
        .expires_at = old->expires_at == CORE_NONE
                          ? CORE_NONE
                          : m->now + old->expires_at - old->submitted,
        .grace = old->grace,
        .retry = old->retry,
        .redeliver = old->redeliver,
        .base = old->base,
        .cap = old->cap,
        .factor = old->factor,
        .jitter = old->jitter,
        .retry_on = old->retry_on,
        .keep = old->keep,
        .submitted = m->now,
        .started_first = CORE_NONE,
        .started_last = CORE_NONE,
        .ended = CORE_NONE,
        .cancel_grace = CORE_NONE,
        .ready_step = m->step,
    };
    memcpy(j->then, old->then, sizeof(j->then));
    j->nthen = old->nthen;
    memcpy(j->needs, old->needs, sizeof(j->needs));
    memcpy(j->needs_made, old->needs_made, sizeof(j->needs_made));
    memcpy(j->key, old->key, sizeof(j->key));
    old->key[0] = '\0';
    old->dead = false;
    old->retried = id;
    if (j->group >= 0)
        m->groups[j->group].members++;
    j->submit_seq = j->ready_seq = ++m->seq;
    j->loose = rules_group_has_width(m, j->group);
    m->queues[j->queue].filled = m->step;
}

/* Perhaps its payload cannot be read, or not now; or what made room since ended
 * when it had been refused. */
static uint32_t may_refuse(const struct model *m, const struct model_eyes *eyes,
                           const struct model_job *j)
{
    bool unread = eyes->put_off ||
                  (eyes->is_damaged && eyes->is_damaged(eyes->world, j->id));

    return (unread ? 1u << CORE_ERR_GENERIC : 0) |
           (model_queue_was_full(m, j->queue, j->payload_len)
                ? 1u << CORE_ERR_QUEUEFULL
                : 0);
}

static void retry(struct model *m, struct model_eyes *eyes, uint64_t id,
                  const struct node *n)
{
    int i = model_job_find(m, id);
    struct model_job *j = i < 0 ? NULL : &m->jobs[i];
    uint32_t errors;

    if (node_is_error(n, CORE_ERR_NOJOB)) {
        if (j && (rules_job_live(j) || (j->dead && !may_be_gone(m, j))))
            violation("RETRY says NOJOB for a job that is kept");
        return;
    }
    if (!j)
        violation("RETRY of what never was was answered");
    if (is_purged_now(m, j) && !node_is_error(n, CORE_ERR_GENERIC)) {
        j->dead = true;
        unpurge(m, j);
    }
    errors = j->dead ? refusals(m, j) : 1u << CORE_ERR_GENERIC;
    if (n->v.kind == VALUE_ERROR) {
        errors |= may_refuse(m, eyes, j);
        if (!(errors & (1u << n->v.code)))
            violation("RETRY was refused with %s, allowed: %x",
                      error_code(n->v.code), errors);
        return;
    }
    if (errors)
        violation("RETRY was accepted although %x refuse it", errors);
    run_again(m, j, node_id(n, 'j'));
}

/* Which dead job did the new one come from? It has the name still. */
static struct model_job *origin(struct model *m, struct model_eyes *eyes,
                                struct str queue, uint64_t id)
{
    struct job_view v = view_job(eyes->core, eyes->arena, m->now, id);
    uint32_t tag = 0;

    for (size_t i = 0; i < v.name.len; i++)
        tag = tag * 10 + (uint32_t)(v.name.p[i] - '0');
    for (int i = 0; i < m->njobs; i++)
        if (is_of(m, &m->jobs[i], queue) && m->jobs[i].name_tag == tag)
            return &m->jobs[i];
    violation("DEAD RETRY gave job %llx, which was made of none of the dead",
              (unsigned long long)id);
}

static void retry_many(struct model *m, struct model_eyes *eyes,
                       struct str queue, int64_t count, const struct node *n)
{
    uint32_t errors = 0;

    for (int i = 0; i < m->njobs; i++)
        if (is_of(m, &m->jobs[i], queue))
            errors |=
                refusals(m, &m->jobs[i]) | may_refuse(m, eyes, &m->jobs[i]);
    if (n->v.kind == VALUE_ERROR) {
        if (n->v.code != CORE_ERR_NOQUEUE && !(errors & (1u << n->v.code)))
            violation("DEAD RETRY was refused with %s, allowed: %x",
                      error_code(n->v.code), errors);
        return;
    }
    if ((int64_t)n->v.count > count)
        violation("DEAD RETRY ran more than COUNT jobs again");
    for (uint32_t k = 0; k < n->v.count; k++) {
        uint64_t id = node_id(node_item(n, k), 'j');
        struct model_job *j = origin(m, eyes, queue, id);

        if (refusals(m, j))
            violation("DEAD RETRY ran job %llx again although %x refuse it",
                      (unsigned long long)j->id, refusals(m, j));
        run_again(m, j, id);
    }
}

/* Its payload, or theirs, may have to be read first. */
static void ask(struct model *m, struct model_eyes *eyes,
                struct model_client *c, const struct core_event *ev,
                struct model_reply *replies, size_t n)
{
    struct model_reply now = {0};

    c->request =
        (struct model_request){.kind = REQUEST_RETRY, .until = MODEL_FOREVER};
    if (ev->kind == EVENT_RETRY) {
        c->request.id = ev->u.job.id.n;
    } else {
        c->request.count = ev->u.dead.count;
        if (ev->u.dead.queue.len) {
            c->request.queues[0] = model_queue_find(m, ev->u.dead.queue);
            c->request.nqueues = c->request.queues[0] >= 0;
        }
    }
    if (m->loading && !reply_peek(replies, n, c->id))
        return;
    now.n = reply_now(replies, n, c->id);
    (void)reply_retry(m, eyes, c, &now);
}

bool reply_retry(struct model *m, struct model_eyes *eyes,
                 struct model_client *c, struct model_reply *rep)
{
    struct model_request *r = &c->request;

    if (r->id)
        retry(m, eyes, r->id, rep->n);
    else
        retry_many(m, eyes,
                   r->nqueues ? str_from(m->queues[r->queues[0]].name)
                              : (struct str){0},
                   r->count, rep->n);
    r->answered = true;
    return true;
}

/* All that are there; nothing is added to the list before the answer. */
static void purge(struct model *m, struct model_client *c,
                  const struct core_event *ev)
{
    struct model_request *r = &c->request;

    *r = (struct model_request){.kind = REQUEST_PURGE, .until = MODEL_FOREVER};
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (!is_of(m, j, ev->u.dead.queue))
            continue;
        r->purged_hi++;
        r->purged_lo += !may_be_gone(m, j);
        j->dead = false;
        j->purged_step = m->step;
    }
}

bool dead_event(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, struct model_reply *replies,
                size_t n)
{
    struct model_client *c = model_client_get(m, ev->client.n);

    switch (ev->kind) {
    case EVENT_RETRY:
    case EVENT_DEAD_RETRY:
        ask(m, eyes, c, ev, replies, n);
        return true;
    case EVENT_DEAD_PURGE:
        purge(m, c, ev);
        return true;
    default:
        return false;
    }
}

static const struct node *ask_list(const struct model *m,
                                   struct model_eyes *eyes)
{
    struct core_event ev = {.kind = EVENT_DEAD_LIST,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.dead.count = 10000};

    return view_ask(eyes->core, eyes->arena, &ev);
}

void dead_stopped(struct model *m, struct model_eyes *eyes)
{
    const struct node *list = ask_list(m, eyes);

    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (!j->used || (!j->lost && (j->dead || !is_purged_now(m, j))))
            continue;
        j->dead = j->lost = false;
        for (uint32_t k = 0; k < list->v.count; k++)
            j->dead |=
                node_id(node_get(node_item(list, k), "id"), 'j') == j->id;
    }
}

void model_healed(struct model *m, struct model_eyes *eyes)
{
    const struct node *list = ask_list(m, eyes);

    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];
        bool listed = false;

        if (!j->used || !j->dead)
            continue;
        for (uint32_t k = 0; k < list->v.count; k++)
            listed |= node_id(node_get(node_item(list, k), "id"), 'j') == j->id;
        if (listed)
            continue;
        if (eyes->is_damaged(eyes->world, j->id))
            j->dead = false;
        else if (!may_be_gone(m, j))
            violation("job %llx is dead no more, and its payload is whole",
                      (unsigned long long)j->id);
    }
}

void model_crashed(struct model *m, struct model_eyes *eyes)
{
    for (int i = 0; eyes->is_damaged && i < m->njobs; i++)
        m->jobs[i].lost = m->jobs[i].used && m->jobs[i].dead &&
                          eyes->is_damaged(eyes->world, m->jobs[i].id);
}

void dead_compare(struct model *m, struct model_eyes *eyes)
{
    const struct node *list = ask_list(m, eyes);
    int64_t least = 0, before = 0;
    uint64_t last = 0;

    for (int i = 0; i < m->njobs; i++)
        least += is_of(m, &m->jobs[i], (struct str){0}) &&
                 !may_be_gone(m, &m->jobs[i]);
    for (uint32_t k = 0; k < list->v.count; k++) {
        uint64_t id = node_id(node_get(node_item(list, k), "id"), 'j');
        int i = model_job_find(m, id);

        if (i < 0 || (!m->jobs[i].dead && !is_purged_now(m, &m->jobs[i])))
            violation("job %llx is listed as dead and is not",
                      (unsigned long long)id);
        /* after a replay those of one moment are in any order */
        if (m->jobs[i].end_step < last &&
            (!m->restarted || m->jobs[i].ended < before))
            violation("DEAD LIST is not in the order of the ends");
        last = m->jobs[i].end_step;
        before = m->jobs[i].ended;
    }
    if (list->v.count < least)
        violation("DEAD LIST has %u entries, %lld at least are dead",
                  list->v.count, (long long)least);
}
