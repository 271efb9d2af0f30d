/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * submit - who is let into a queue, who waits for room, who is refused.
 */
#include "parts.h"

/* Codes that refuse it now, one bit each. */
static uint32_t submit_errors(const struct model *m,
                              const struct model_request *r)
{
    uint64_t group_id = r->group_id;
    int64_t payload_len = r->job.payload_len;
    int g = group_id ? model_group_find(m, group_id) : -1;
    uint32_t errors = r->errors;

    if (m->queues[r->job.queue].closed)
        errors |= 1u << CORE_ERR_CLOSED;
    if (!limits_exist(m, &r->job))
        errors |= 1u << CORE_ERR_NOLIMITER;
    else if (limits_exceed(m, &r->job))
        errors |= 1u << CORE_ERR_GENERIC;
    if (group_id && g < 0)
        errors |= 1u << CORE_ERR_NOGROUP;
    if (g >= 0 && m->groups[g].forgotten)
        errors |= 1u << CORE_ERR_NOGROUP;
    if (g >= 0 && (m->groups[g].cancelled || m->groups[g].ended))
        errors |= 1u << CORE_ERR_CANCELLED;
    if (g >= 0 && (m->groups[g].closed || m->groups[g].ended))
        errors |= 1u << CORE_ERR_CLOSED;
    if (payload_len > m->limits.payload_max)
        errors |= 1u << CORE_ERR_TOOBIG;
    if (m->disk_narrow)
        errors |= 1u << CORE_ERR_DISKFULL;
    if (m->draining)
        errors |= 1u << CORE_ERR_DRAINING;
    return errors;
}

bool model_group_is_body(const struct model *m, int g)
{
    const struct model_group *group = &m->groups[g];

    return group->parent_is_job && !group->ended &&
           m->jobs[group->parent].body_id == group->id;
}

/* Why the body of that attempt takes no member, one bit for each code. */
static uint32_t body_errors(const struct model *m, const struct token *t)
{
    int i = model_job_find(m, t->job.n), g;
    const struct model_job *j = i < 0 ? NULL : &m->jobs[i];

    if (!j || j->attempt != t->attempt ||
        (j->state != MODEL_RUNNING && j->state != MODEL_CANCELLING))
        return 1u << CORE_ERR_STALE | 1u << CORE_ERR_NOJOB;
    if (j->state == MODEL_CANCELLING)
        return 1u << CORE_ERR_CANCELLED;
    g = j->body_id ? model_group_find(m, j->body_id) : -1;
    if (j->body_id && (g < 0 || m->groups[g].cancelled || m->groups[g].ended))
        return 1u << CORE_ERR_CANCELLED;
    return 0;
}

/* A group under this attempt that the model does not know yet; 0: none. */
static uint64_t body_look(struct model *m, struct model_eyes *eyes,
                          const struct token *t)
{
    struct core_event ev = {.kind = EVENT_GROUP_TREE,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.group = {.count = 10000}};
    const struct node *tree = view_ask(eyes->core, eyes->arena, &ev);

    for (uint32_t i = 0; i < tree->v.count; i++) {
        const struct node *map = node_item(node_item(tree, i), 1);
        const struct node *id = node_get(map, "id"), *parent;

        if (id->v.kind != VALUE_ID || id->v.id_kind != 'g' ||
            model_group_find(m, id->v.id) >= 0 ||
            !node_is_null(node_get(map, "ended")))
            continue;
        parent = node_get(map, "parent");
        if (parent->v.kind == VALUE_ID && parent->v.id_kind == 'j' &&
            parent->v.id == t->job.n)
            return id->v.id;
    }
    return 0;
}

/* The job is put under an attempt: its body has a group from then on. */
static uint64_t body_group(struct model *m, struct model_eyes *eyes,
                           const struct token *t, const struct node *reply)
{
    int i = model_job_find(m, t->job.n);
    struct model_job *j = &m->jobs[i];
    struct model_group *g;
    uint64_t id = j->body_id;

    if (reply && reply->v.kind == VALUE_ID)
        id = view_job(eyes->core, eyes->arena, m->now, node_id(reply, 'j'))
                 .group;
    else if (!reply && !id)
        id = body_look(m, eyes, t);
    if (reply && reply->v.kind == VALUE_ERROR)
        return j->body_id;
    if (id == 0)
        violation("job %llx has no group of its body",
                  (unsigned long long)j->id);
    if (j->body_id == id)
        return id;
    if (j->body_id || model_group_find(m, id) >= 0)
        violation("job %llx has a second group of its body",
                  (unsigned long long)j->id);
    j->body_id = id;
    g = &m->groups[model_group_slot(m)];
    *g = (struct model_group){
        .used = true,
        .id = id,
        .parent_is_job = true,
        .parent = i,
        .parent_id = j->id,
        .parent_attempt = j->attempt,
        .session = -1,
        .fail = 1,
        .width = CORE_NONE,
        .deadline = CORE_NONE,
        .keep =
            min_i64(m->limits.queue_defaults.keep_ms, m->limits.keep_max_ms),
        .opened = m->now,
        .submit_seq = ++m->seq,
    };
    return id;
}

/* The job that a key leads to; -1: none. */
static int key_find(const struct model *m, const struct model_request *r)
{
    for (int i = 0; r->job.key[0] && i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].queue == r->job.queue &&
            strcmp(m->jobs[i].key, r->job.key) == 0)
            return i;
    return -1;
}

bool submit_key_leads(const struct model *m, const struct model_request *r,
                      const struct node *reply)
{
    int i = key_find(m, r);

    if (i < 0)
        return false;
    /* one that has ended may be forgotten by now */
    if (rules_job_live(&m->jobs[i]) ||
        (rules_job_kept_until(&m->jobs[i]) > m->now &&
         !rules_may_be_evicted(m, m->retained) && m->jobs[i].group < 0))
        return true;
    return reply && reply->v.kind == VALUE_ID && reply->v.id == m->jobs[i].id;
}

/* Forgotten as it ended, or since. */
static void key_free(struct model *m, const struct model_request *r)
{
    int i = key_find(m, r);

    if (i >= 0)
        m->jobs[i].key[0] = '\0';
}

static void chain_read(struct model *m, struct str then, struct model_job *j)
{
    for (size_t from = 0, to; from < then.len; from = to + 1) {
        for (to = from; to < then.len && then.p[to] != ','; to++)
            ;
        ASSERT(j->nthen < MODEL_CHAIN);
        j->then[j->nthen++] =
            model_queue_get(m, (struct str){then.p + from, to - from});
    }
}

void submit_ask(struct model *m, struct model_eyes *eyes,
                struct model_client *c, const struct event_submit *s,
                const struct node *reply)
{
    int q = model_queue_get(m, s->queue);
    const struct queue_settings *set = &m->queues[q].set;
    int64_t wait = or_default(s->wait_ms, set->wait_ms);
    uint32_t tag = 0;

    ASSERT(s->payload.len >= sizeof(tag) || s->payload.len == 0);
    c->request = (struct model_request){
        .kind = REQUEST_SUBMIT,
        .line = ++m->seq,
        .wait_ms = wait,
        .until = wait == CORE_NONE ? MODEL_FOREVER : m->now + wait,
        .group_id = s->group.n,
        .once = s->once,
        .job = {.used = true,
                .group = -1,
                .queue = q,
                .session = -1,
                .payload_len = (int64_t)s->payload.len,
                .priority = or_default(s->priority, set->priority),
                .timeout = or_default(s->timeout_ms, set->timeout_ms),
                .deadline = or_default(s->deadline_ms, CORE_NONE),
                .expires_at = or_default(s->expires_ms, set->expires_ms),
                .grace = or_default(s->grace_ms, set->grace_ms),
                .delay_lo = or_default(s->delay_ms, 0),
                .retry = or_default(s->retry, set->retry),
                .base = or_default(s->backoff_base_ms, set->backoff_base_ms),
                .cap = or_default(s->backoff_cap_ms, set->backoff_cap_ms),
                .factor = or_default(s->factor_milli, set->factor_milli),
                .jitter = or_default(s->jitter, set->jitter),
                .retry_on = s->retry_on.p ? s->retry_on : set->retry_on,
                .at = or_default(s->at_ms, CORE_NONE),
                .redeliver = or_default(s->redeliver, set->redeliver),
                .keep = min_i64(or_default(s->keep_ms, set->keep_ms),
                                m->limits.keep_max_ms)},
    };
    /* The world writes the tag into the first bytes of the name. */
    for (size_t i = 0; i < s->name.len; i++)
        tag = tag * 10 + (uint32_t)(s->name.p[i] - '0');
    c->request.job.payload_tag = c->request.job.name_tag = tag;
    limits_read(m, s->limits, &c->request.job);
    chain_read(m, s->then, &c->request.job);
    ASSERT(s->key.len < sizeof(c->request.job.key));
    if (s->key.len)
        memcpy(c->request.job.key, s->key.p, s->key.len);
    if (!s->body.attempt || submit_key_leads(m, &c->request, reply))
        return;
    c->request.errors = body_errors(m, &s->body);
    if (!c->request.errors)
        c->request.group_id = body_group(m, eyes, &s->body, reply);
}

bool submit_waits(const struct model *m, int queue)
{
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used && !m->clients[i].request.answered &&
            m->clients[i].request.kind == REQUEST_SUBMIT &&
            m->clients[i].request.job.queue == queue)
            return true;
    return false;
}

bool submit_is_head(const struct model *m, const struct model_client *c)
{
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        const struct model_client *o = &m->clients[i];

        if (o->used && o != c && o->request.kind == REQUEST_SUBMIT &&
            o->request.job.queue == c->request.job.queue &&
            o->request.line < c->request.line && !o->request.answered)
            return false;
    }
    return true;
}

static void submit_admit(struct model *m, struct model_client *c, uint64_t id)
{
    struct model_request *r = &c->request;
    struct model_job *j = &m->jobs[model_job_slot(m)];

    if (model_job_find(m, id) >= 0 || id == 0)
        violation("job id %llx was given twice", (unsigned long long)id);
    *j = r->job;
    j->id = id;
    j->group = r->group_id ? model_group_find(m, r->group_id) : -1;
    if (j->group >= 0)
        m->groups[j->group].members++;
    j->submitted = m->now;
    j->submit_seq = j->ready_seq = ++m->seq;
    j->ready_step = m->step;
    j->expires_at = after(m, r->job.expires_at);
    j->delay_lo = j->delay_hi =
        j->at == CORE_NONE ? m->now + r->job.delay_lo : j->at;
    j->state = j->delay_lo > m->now ? MODEL_DELAYED : MODEL_QUEUED;
    j->started_first = j->started_last = j->ended = CORE_NONE;
    j->loose = rules_group_has_width(m, j->group);
    j->cancel_grace = CORE_NONE;
}

bool reply_submit(struct model *m, struct model_client *c,
                  struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    const struct node *n = rep->n;
    uint32_t errors;

    limits_now(m, &r->job);
    errors = submit_errors(m, r);
    if (r->unblocked && !node_is_error(n, CORE_ERR_QUEUEFULL))
        violation("a submit was not given up with its connection");
    if (node_is_error(n, CORE_ERR_LIMIT) && once_full(m, c, &r->once)) {
        r->answered = true;
        return true;
    }
    if (node_is_error(n, CORE_ERR_DISKFULL) && m->disk_narrow &&
        r->once.number) {
        r->answered = true; /* a KEY may be known, but not the number */
        return true;
    }
    if (!r->unblocked && submit_key_leads(m, r, n)) {
        if (n->v.kind != VALUE_ID || n->v.id != m->jobs[key_find(m, r)].id)
            violation("the key %s leads to job %llx, and another answer came",
                      r->job.key,
                      (unsigned long long)m->jobs[key_find(m, r)].id);
        once_led(m, c, &r->once, n);
        r->answered = true;
        return true;
    }
    if (n->v.kind == VALUE_ERROR) {
        bool full =
            n->v.code == CORE_ERR_QUEUEFULL && r->until <= m->now &&
            (!model_queue_has_room(m, r->job.queue, r->job.payload_len) ||
             /* what made room since ended when it had been refused */
             (m->stumped &&
              model_queue_was_full(m, r->job.queue, r->job.payload_len)) ||
             ends_delivery_waits(m, r->job.queue, UINT64_MAX) ||
             !submit_is_head(m, c) || r->wait_ms > 0 || r->unblocked);

        if (!full && !(errors & (1u << n->v.code))) {
            (void)snprintf(why, 128,
                           "SUBMIT was refused with %s, allowed: %x%s",
                           error_code(n->v.code), errors,
                           r->until <= m->now ? " or QUEUEFULL if full" : "");
            return false; /* what comes next may explain it */
        }
        r->answered = true;
        return true;
    }
    /* its group may have been stopped by what happened next */
    if (r->group_id && !m->groups[model_group_find(m, r->group_id)].was_over)
        errors &= ~(1u << CORE_ERR_CANCELLED | 1u << CORE_ERR_CLOSED);
    if (errors)
        violation("SUBMIT was accepted although %x refuse it", errors);
    if (!model_queue_had_room(m, r->job.queue, r->job.payload_len) ||
        !submit_is_head(m, c)) {
        (void)snprintf(why, 128, "SUBMIT went in without room or turn");
        return false;
    }
    key_free(m, r);
    submit_admit(m, c, node_id(n, 'j'));
    once_led(m, c, &r->once, n);
    m->queues[r->job.queue].made = true;
    m->queues[r->job.queue].filled = m->step;
    r->answered = true;
    return true;
}
