/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events - what each request changes, apart from jobs that are submitted and
 * fetched.
 */
#include "parts.h"

/* Does the key lead to a group that is known? */
static bool group_of_key(struct model *m, const struct event_group_open *o,
                         const struct node *n)
{
    uint64_t parent =
        o->parent.is_job ? o->parent.token.job.n : o->parent.group.n;
    uint32_t attempt = o->parent.is_job ? o->parent.token.attempt : 0;
    struct model_group *g = NULL;

    for (int i = 0; o->key.len && i < m->ngroups; i++) {
        struct model_group *k = &m->groups[i];

        if (k->used && !k->forgotten && str_eq(o->key, str_from(k->key)) &&
            k->parent_is_job == o->parent.is_job && k->parent_id == parent &&
            k->parent_attempt == attempt)
            g = k;
    }
    if (!g)
        return false;
    if (n->v.kind == VALUE_ID && n->v.id == g->id)
        return true;
    if (m->disk_narrow && o->once.number && node_is_error(n, CORE_ERR_DISKFULL))
        return false; /* the number would have to be recorded */
    if (!g->ended ||
        (g->ended_at + g->keep > m->now && !rules_parent_is_gone(m, g)))
        violation("the key %s leads to group %llx, and another answer came",
                  g->key, (unsigned long long)g->id);
    g->key[0] = '\0';
    return false;
}

static void group_open(struct model *m, struct model_client *c,
                       const struct event_group_open *o, const struct node *n)
{
    struct model_group *p = NULL;
    struct model_group *g = NULL;
    struct model_job *j = NULL;
    uint32_t errors = 0;
    int parent = -1;

    if (o->parent.is_job) {
        parent = model_job_find(m, o->parent.token.job.n);
        j = parent < 0 ? NULL : &m->jobs[parent];
        if (!j || j->attempt != o->parent.token.attempt ||
            (j->state != MODEL_RUNNING && j->state != MODEL_CANCELLING))
            errors |= 1u << CORE_ERR_STALE | 1u << CORE_ERR_NOJOB |
                      1u << CORE_ERR_CLOSED | 1u << CORE_ERR_CANCELLED;
        else if (j->state == MODEL_CANCELLING)
            errors |= 1u << CORE_ERR_CANCELLED;
    } else if (o->parent.group.n) {
        parent = model_group_find(m, o->parent.group.n);
        p = parent < 0 ? NULL : &m->groups[parent];
        if (!p || p->forgotten)
            errors |= 1u << CORE_ERR_NOGROUP;
        if (p && (p->cancelled || p->ended))
            errors |= 1u << CORE_ERR_CANCELLED;
        if (p && (p->closed || p->ended))
            errors |= 1u << CORE_ERR_CLOSED;
    }
    if (m->disk_narrow)
        errors |= 1u << CORE_ERR_DISKFULL;
    if (m->draining)
        errors |= 1u << CORE_ERR_DRAINING;
    if (group_of_key(m, o, n)) {
        once_led(m, c, &o->once, n);
        return;
    }
    if (n->v.kind == VALUE_ERROR) {
        if (!(errors & (1u << n->v.code)))
            violation("GROUP OPEN was refused with %s, allowed: %x",
                      error_code(n->v.code), errors);
        return;
    }
    if (errors)
        violation("GROUP OPEN was accepted although %x refuse it", errors);
    g = &m->groups[model_group_slot(m)];
    *g = (struct model_group){
        .used = true,
        .id = node_id(n, 'g'),
        .parent_is_job = j != NULL,
        .parent = parent,
        .parent_id = j   ? j->id
                     : p ? p->id
                         : 0,
        .parent_attempt = j ? j->attempt : 0,
        .session = o->detached ? -1 : c->session,
        .fail = or_default(o->fail, or_default(o->succeed, 0) == 0),
        .succeed = or_default(o->succeed, 0),
        .width = or_default(o->width, CORE_NONE),
        .deadline = or_default(o->deadline_ms, CORE_NONE),
        .keep = min_i64(or_default(o->keep_ms, 3600000), m->limits.keep_max_ms),
        .opened = m->now,
        .submit_seq = ++m->seq,
    };
    once_led(m, c, &o->once, n);
    if (o->key.len)
        memcpy(g->key, o->key.p, o->key.len);
    if (or_default(o->timeout_ms, CORE_NONE) != CORE_NONE)
        g->deadline = g->deadline == CORE_NONE
                          ? m->now + o->timeout_ms
                          : min_i64(g->deadline, m->now + o->timeout_ms);
    if (p)
        p->members++;
    for (int i = j ? j->group : parent; i >= 0;
         i = m->groups[i].parent_is_job ? m->jobs[m->groups[i].parent].group
                                        : m->groups[i].parent)
        m->groups[i].has_groups = true;
    /* It may have come too late: then that is what stops it, and its end may
     * stop its parent. */
    rules_group_time(m, (int)(g - m->groups));
}

static void event_cancel(struct model *m, const struct core_event *ev,
                         const struct node *n)
{
    char reason[24];
    int i = ev->u.cancel.is_job ? model_job_find(m, ev->u.cancel.job.n)
                                : model_group_find(m, ev->u.cancel.group.n);

    if (n->v.kind != VALUE_OK) {
        bool gone = ev->u.cancel.is_job
                        ? i < 0 || m->jobs[i].state == MODEL_ENDED
                        : i < 0 || m->groups[i].ended;

        if (!gone || !(node_is_error(n, CORE_ERR_NOJOB) ||
                       node_is_error(n, CORE_ERR_NOGROUP)))
            violation("CANCEL was not answered OK");
        return;
    }
    if (i < 0)
        violation("CANCEL of what never was is answered OK");
    (void)snprintf(reason, sizeof(reason), "%.*s", (int)ev->u.cancel.reason.len,
                   ev->u.cancel.reason.p);
    if (ev->u.cancel.is_job) {
        if (!m->jobs[i].cancelled)
            m->jobs[i].cancel_grace = ev->u.cancel.grace_ms;
        rules_job_cancel(m, &m->jobs[i], reason);
    } else {
        /* what is below may get the same grace, or its own */
        for (int k = 0; k < m->njobs; k++)
            if (rules_job_live(&m->jobs[k]) && !m->jobs[k].cancelled)
                m->jobs[k].cancel_grace = CORE_NONE;
        rules_group_cancel(m, &m->groups[i], reason);
    }
    if (ev->u.cancel.is_job)
        for (int k = 0; k < m->njobs; k++)
            if (k != i && rules_job_live(&m->jobs[k]) && !m->jobs[k].cancelled)
                m->jobs[k].cancel_grace = CORE_NONE;
}

/* Once for each attempt. */
static void event_ready(const struct model *m, struct model_job *j,
                        const struct core_event *ev, const struct node *n)
{
    const struct str *value = &ev->u.report.value;

    bool other =
        j->is_ready && !str_eq(*value, (struct str){j->ready, j->ready_len});

    if (other ? !node_is_error(n, CORE_ERR_GENERIC) : n->v.kind != VALUE_OK)
        violation("READY was not answered as it should, said before: %d",
                  j->is_ready);
    if (j->is_ready)
        return;
    ASSERT(value->len <= sizeof(j->ready));
    j->is_ready = true;
    j->ready_since = m->step;
    j->ready_len = value->len;
    memcpy(j->ready, value->p, value->len);
}

static struct model_said said_now(const struct core_event *ev)
{
    struct model_said said = {.attempt = ev->u.report.token.attempt,
                              .kind = ev->kind};

    if (ev->kind == EVENT_FAIL)
        (void)snprintf(said.class, sizeof(said.class), "%.*s",
                       (int)ev->u.report.class.len, ev->u.report.class.p);
    if (ev->kind == EVENT_DONE)
        said.result_len = (int64_t)ev->u.report.result.len;
    return said;
}

static struct model_said *said_by(struct model_job *j, uint32_t attempt)
{
    return &j->said[attempt % ARRAY_LEN(j->said)];
}

/* The last body was done, and has not come to nothing. */
static bool keeps_result(const struct model_job *j)
{
    return j->state == MODEL_JOINING || j->state == MODEL_DELIVERING ||
           (j->state == MODEL_ENDED && j->outcome == VIEW_OK);
}

/* What an attempt has said already it may say again; that it stopped says of
 * one that is over nothing new. */
static bool said_before(struct model_job *j, const struct core_event *ev)
{
    struct model_said now = said_now(ev);
    const struct model_said *then = said_by(j, now.attempt);

    if (now.kind == EVENT_FAIL && strcmp(now.class, "cancelled") == 0)
        return j->attempt >= now.attempt;
    if (now.kind == EVENT_DONE && j->next && j->attempt == now.attempt)
        return true; /* what it was nobody knows now */
    if ((now.kind != EVENT_DONE && now.kind != EVENT_FAIL) ||
        then->attempt != now.attempt || then->kind != now.kind)
        return false;
    /* The result of a body that came to nothing is not kept. */
    if (now.kind == EVENT_DONE &&
        (j->attempt != now.attempt || !keeps_result(j)))
        return true;
    return then->result_len == now.result_len &&
           strcmp(then->class, now.class) == 0;
}

static void event_report(struct model *m, struct model_eyes *eyes,
                         const struct core_event *ev, const struct node *n)
{
    int i = model_job_find(m, ev->u.report.token.job.n);
    struct model_job *j = i < 0 ? NULL : &m->jobs[i];
    bool current = j && j->attempt == ev->u.report.token.attempt &&
                   (j->state == MODEL_RUNNING || j->state == MODEL_CANCELLING);

    if (ev->kind == EVENT_SHIELD || ev->kind == EVENT_UNSHIELD) {
        times_shield(m, j, current, ev, n);
        return;
    }
    if (ev->kind == EVENT_READY && current) {
        event_ready(m, j, ev, n);
        return;
    }
    if (n->v.kind == VALUE_ERROR) {
        if (current)
            violation("a report of the current attempt %llx.%u got %s",
                      (unsigned long long)j->id, j->attempt,
                      error_code(n->v.code));
        if (!node_is_error(n, CORE_ERR_STALE) &&
            !(!j && node_is_error(n, CORE_ERR_NOJOB)))
            violation("a stale report got %s", error_code(n->v.code));
        return;
    }
    if (!current && (!j || !said_before(j, ev)))
        violation("a stale report was accepted");
    if (!current)
        return;
    *said_by(j, j->attempt) = said_now(ev);
    switch (ev->kind) {
    case EVENT_DONE:
        j->body = BODY_OK;
        j->result_len = (int64_t)ev->u.report.result.len;
        j->result_tag = j->payload_tag + 1;
        break;
    case EVENT_FAIL:
        j->body = str_eq(ev->u.report.class, STR("cancelled")) ? BODY_CANCELLED
                                                               : BODY_FAIL;
        (void)snprintf(j->class, sizeof(j->class), "%.*s",
                       (int)ev->u.report.class.len, ev->u.report.class.p);
        break;
    case EVENT_RELEASE:
        j->body = BODY_RELEASED;
        break;
    case EVENT_TOUCH:
        /* A cancel that is on its way may not have come to it. */
        if (node_int(node_item(n, 0)) != (j->state == MODEL_CANCELLING) &&
            (node_int(node_item(n, 0)) || m->since == m->step))
            violation("TOUCH says cancelled %lld, state is %d",
                      (long long)node_int(node_item(n, 0)), (int)j->state);
        if (j->state == MODEL_RUNNING && !j->kept_back &&
            !node_is_null(node_item(n, 2)))
            violation("TOUCH gives a reason for no cancel");
        if (node_is_null(node_item(n, 3)) != !node_int(node_item(n, 0)))
            violation("TOUCH gives a grace without a cancel, or none with it");
        (void)node_int(node_item(n, 1));
        session_alive(m, j->session); /* whoever it is that says so */
        return;
    default: /* LOG */
        return;
    }
    ends_attempt(m, eyes, j);
}

int64_t until(const struct model *m, int64_t wait_ms)
{
    if (wait_ms == CORE_UNSET)
        return m->now;
    return wait_ms == CORE_NONE ? MODEL_FOREVER : m->now + wait_ms;
}

static void event_fetch(struct model *m, struct model_client *c,
                        const struct core_event *ev)
{
    c->request = (struct model_request){.kind = REQUEST_FETCH,
                                        .step = m->step,
                                        .until = until(m, ev->u.fetch.wait_ms),
                                        .wait_ms = ev->u.fetch.wait_ms,
                                        .count = ev->u.fetch.count};
    for (size_t i = 0; i < ev->u.fetch.nqueues; i++) {
        int64_t bound = ev->u.fetch.bounds ? ev->u.fetch.bounds[i] : CORE_NONE;
        int q = model_queue_find(m, ev->u.fetch.queues[i]);

        /* one that nobody has used yet may come to be while it waits */
        if (q < 0)
            q = model_queue_get(m, ev->u.fetch.queues[i]);
        c->request.anew |= m->disk_narrow && !m->queues[q].made;
        if (bound == 0)
            continue; /* as if it were not named */
        c->request.bounds[c->request.nqueues] =
            bound == CORE_NONE ? INT64_MAX : bound;
        c->request.queues[c->request.nqueues++] = q;
    }
}

const struct node *reply_peek(const struct model_reply *replies, size_t n,
                              uint64_t client)
{
    for (size_t i = 0; i < n; i++)
        if (replies[i].client == client && !replies[i].done)
            return replies[i].n;
    return NULL;
}

const struct node *reply_now(struct model_reply *replies, size_t n,
                             uint64_t client)
{
    for (size_t i = 0; i < n; i++)
        if (replies[i].client == client && !replies[i].done) {
            replies[i].done = true;
            return replies[i].n;
        }
    violation("client %llu got no answer", (unsigned long long)client);
}

static void group_close(struct model *m, const struct core_event *ev,
                        const struct node *n)
{
    int i = model_group_find(m, ev->u.group.id.n);

    if (n->v.kind == VALUE_OK) {
        if (i < 0)
            violation("GROUP CLOSE of what never was is answered OK");
        if (model_group_is_body(m, i))
            violation("the group of a body was closed by somebody else");
        if (ev->u.group.policy && !m->groups[i].closed && !m->groups[i].ended)
            ends_policy(&m->groups[i], ev->u.group.fail, ev->u.group.succeed);
        m->groups[i].closed = true;
    } else if (node_is_error(n, CORE_ERR_GENERIC) && i >= 0 &&
               model_group_is_body(m, i)) {
        return;
    } else if (!node_is_error(n, CORE_ERR_NOGROUP) ||
               (i >= 0 && !m->groups[i].ended)) {
        violation("GROUP CLOSE was not answered OK");
    }
}

/* Requests that may wait. False: it is none of them. */
static bool event_blocking(struct model *m, struct model_eyes *eyes,
                           const struct core_event *ev,
                           const struct model_reply *replies, size_t n)
{
    struct model_client *c = model_client_get(m, ev->client.n);

    switch (ev->kind) {
    case EVENT_SUBMIT:
        submit_ask(m, eyes, c, &ev->u.submit, reply_peek(replies, n, c->id));
        return true;
    case EVENT_RESULT:
        c->request = (struct model_request){
            .kind = ev->u.job.ready ? REQUEST_READY : REQUEST_RESULT,
            .until = until(m, ev->u.job.wait_ms),
            .id = ev->u.job.id.n,
        };
        return true;
    case EVENT_GROUP_INFO:
    case EVENT_GROUP_NEXT:
        c->request = (struct model_request){
            .kind = ev->kind == EVENT_GROUP_NEXT ? REQUEST_NEXT
                                                 : REQUEST_GROUP_WAIT,
            .until = until(m, ev->u.group.wait_ms),
            .wait_ms = ev->u.group.wait_ms,
            .cursor = ev->u.group.cursor,
            .count = ev->u.group.count,
            .id = ev->u.group.id.n,
        };
        return true;
    case EVENT_FETCH:
        event_fetch(m, c, ev);
        return true;
    default:
        return false;
    }
}

/* What would grow is refused as long as the disk is full, whatever else there
 * is to say to it. */
static bool needs_room(enum core_event_kind kind)
{
    return kind == EVENT_RESCHEDULE || kind == EVENT_READY ||
           kind == EVENT_SHIELD || kind == EVENT_QUEUE_PAUSE ||
           kind == EVENT_QUEUE_CLOSE;
}

void events_apply(struct model *m, struct model_eyes *eyes,
                  const struct core_event *ev, struct model_reply *replies,
                  size_t n)
{
    struct model_client *c;

    if (ev->kind == EVENT_DISCONNECT) {
        session_disconnect(m, eyes, ev);
        return;
    }
    if (ev->kind == EVENT_DISK_FULL) {
        m->disk_narrow = ev->u.full.narrow;
        if (m->disk_full && !ev->u.full.on)
            m->resumed = m->step;
        m->disk_full = ev->u.full.on;
    } else if (ev->kind == EVENT_DRAIN) {
        if (m->draining && !ev->u.on)
            m->resumed = m->step;
        m->draining = ev->u.on;
    } else if (ev->kind == EVENT_LOAD) {
        ends_damaged(m, eyes);
    }
    if (m->disk_full && needs_room(ev->kind)) {
        if (!node_is_error(reply_now(replies, n, ev->client.n),
                           CORE_ERR_DISKFULL))
            violation("event %d was done although the disk is full",
                      (int)ev->kind);
        return;
    }
    if (ev->client.n == 0 || once_event(m, ev, replies, n) ||
        await_event(m, ev, replies, n) ||
        event_blocking(m, eyes, ev, replies, n) ||
        queues_event(m, ev, replies, n) ||
        dead_event(m, eyes, ev, replies, n) || limits_event(m, ev, replies, n))
        return;
    c = model_client_get(m, ev->client.n);
    switch (ev->kind) {
    case EVENT_ALIVE:
        session_alive(m, c->session);
        break;
    case EVENT_UNBLOCK:
        if (c->request.kind != REQUEST_SUBMIT &&
            c->request.kind != REQUEST_PURGE &&
            c->request.kind != REQUEST_RETRY &&
            !(c->request.kind == REQUEST_FETCH && c->request.wait_ms == 0))
            c->request.unblocked = true;
        break;
    case EVENT_SESSION:
        session_asked(m, c, reply_now(replies, n, c->id));
        break;
    case EVENT_SESSION_RESUME:
        session_resume(m, eyes, c, ev->u.session.n,
                       reply_now(replies, n, c->id));
        break;
    case EVENT_CANCEL:
        event_cancel(m, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_RESCHEDULE:
        times_move(m, eyes, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_GROUP_OPEN:
        group_open(m, c, &ev->u.group_open, reply_now(replies, n, c->id));
        break;
    case EVENT_GROUP_ERRORS:
        errors_event(m, eyes, c, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_GROUP_CLOSE:
        group_close(m, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_DONE:
    case EVENT_FAIL:
    case EVENT_RELEASE:
    case EVENT_TOUCH:
    case EVENT_LOG:
    case EVENT_READY:
    case EVENT_SHIELD:
    case EVENT_UNSHIELD:
        event_report(m, eyes, ev, reply_now(replies, n, c->id));
        break;
    default: /* questions are asked outside of the model */
        BUG("an event that the model does not know");
    }
}
