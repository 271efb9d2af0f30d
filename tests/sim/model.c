/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include "rules.h"

void model_init(struct model *m, const struct core_limits *limits)
{
    memset(m, 0, sizeof(*m));
    m->limits = *limits;
}

int model_job_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].id == id)
            return i;
    return -1;
}

int model_group_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && m->groups[i].id == id)
            return i;
    return -1;
}

int model_client_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used && m->clients[i].id == id)
            return i;
    return -1;
}

int model_session_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].used && m->sessions[i].id == id)
            return i;
    return -1;
}

void model_bytes(char *to, size_t len, uint32_t tag)
{
    for (size_t i = 0; i < len; i++, tag = tag * 1664525 + 1013904223)
        to[i] = (char)(tag >> 24);
}

static bool bytes_match(struct str s, int64_t len, uint32_t tag)
{
    char want[512];

    if ((int64_t)s.len != len || s.len > sizeof(want))
        return false;
    model_bytes(want, s.len, tag);
    return memcmp(want, s.p, s.len) == 0;
}

static struct model_client *client_get(struct model *m, uint64_t id)
{
    int i = model_client_find(m, id);

    for (int k = 0; i < 0 && k < MODEL_CLIENTS; k++)
        if (!m->clients[k].used)
            i = k;
    ASSERT(i >= 0);
    if (!m->clients[i].used)
        m->clients[i] =
            (struct model_client){.used = true, .id = id, .session = -1};
    return &m->clients[i];
}

static int queue_find(const struct model *m, struct str name)
{
    for (int i = 0; i < MODEL_QUEUES; i++)
        if (m->queues[i].used && str_eq(str_from(m->queues[i].name), name))
            return i;
    return -1;
}

static int queue_get(struct model *m, struct str name)
{
    int i = queue_find(m, name);

    for (int k = 0; i < 0 && k < MODEL_QUEUES; k++)
        if (!m->queues[k].used)
            i = k;
    ASSERT(i >= 0 && name.len < sizeof(m->queues[i].name));
    if (!m->queues[i].used) {
        m->queues[i] =
            (struct model_queue){.used = true, .set = m->limits.queue_defaults};
        memcpy(m->queues[i].name, name.p, name.len);
    }
    return i;
}

static bool queue_has_room(const struct model *m, int queue, int64_t len)
{
    int64_t jobs = 0, bytes = 0;

    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (j->used && j->queue == queue &&
            (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED)) {
            jobs++;
            bytes += j->payload_len;
        }
    }
    return jobs < m->queues[queue].set.max_jobs &&
           bytes + len <= m->queues[queue].set.max_bytes;
}

bool model_blocked(const struct model *m, uint64_t client)
{
    int i = model_client_find(m, client);

    return i >= 0 && m->clients[i].request.kind != REQUEST_NONE;
}

bool model_at_rest(const struct model *m)
{
    for (int i = 0; i < m->njobs; i++)
        if (rules_job_live(&m->jobs[i]))
            return false;
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].ended)
            return false;
    return true;
}

/* ---------------------------------------------------------------- submit */

static int64_t or_default(int64_t given, int64_t otherwise)
{
    return given == CORE_UNSET ? otherwise : given;
}

/* Codes that refuse it now, one bit each. */
static uint32_t submit_errors(const struct model *m, uint64_t group_id,
                              int64_t payload_len)
{
    int g = group_id ? model_group_find(m, group_id) : -1;
    uint32_t errors = 0;

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
    if (m->disk_full)
        errors |= 1u << CORE_ERR_DISKFULL;
    if (m->draining)
        errors |= 1u << CORE_ERR_DRAINING;
    return errors;
}

static int64_t after(const struct model *m, int64_t ms)
{
    return ms == CORE_NONE ? CORE_NONE : m->now + ms;
}

static void submit_ask(struct model *m, struct model_client *c,
                       const struct event_submit *s)
{
    int q = queue_get(m, s->queue);
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
        .job = {.used = true,
                .group = -1,
                .queue = q,
                .session = -1,
                .payload_len = (int64_t)s->payload.len,
                .priority = or_default(s->priority, CORE_PRIORITY_DEFAULT),
                .timeout = or_default(s->timeout_ms, set->timeout_ms),
                .deadline = or_default(s->deadline_ms, CORE_NONE),
                .expires_at = or_default(s->expires_ms, CORE_NONE),
                .grace = or_default(s->grace_ms, set->grace_ms),
                .delay_lo = or_default(s->delay_ms, 0),
                .retry = or_default(s->retry, set->retry),
                .base = or_default(s->backoff_base_ms, 1000),
                .cap = or_default(s->backoff_cap_ms, 60000),
                .redeliver = or_default(s->redeliver, set->redeliver),
                .keep = min_i64(or_default(s->keep_ms, set->keep_ms),
                                m->limits.keep_max_ms)},
    };
    /* The world writes the tag into the first bytes of the name. */
    for (size_t i = 0; i < s->name.len; i++)
        tag = tag * 10 + (uint32_t)(s->name.p[i] - '0');
    c->request.job.payload_tag = tag;
}

static bool submit_is_head(const struct model *m, const struct model_client *c)
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

static int job_slot(struct model *m)
{
    int i = 0;

    while (i < m->njobs && m->jobs[i].used)
        i++;
    ASSERT(i < MODEL_JOBS);
    if (i == m->njobs)
        m->njobs++;
    return i;
}

static int group_slot(struct model *m)
{
    int i = 0;

    while (i < m->ngroups && m->groups[i].used)
        i++;
    ASSERT(i < MODEL_GROUPS);
    if (i == m->ngroups)
        m->ngroups++;
    return i;
}

static void submit_admit(struct model *m, struct model_client *c, uint64_t id)
{
    struct model_request *r = &c->request;
    struct model_job *j = &m->jobs[job_slot(m)];

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
    j->state = r->job.delay_lo > 0 ? MODEL_DELAYED : MODEL_QUEUED;
    j->delay_lo = j->delay_hi = m->now + r->job.delay_lo;
    j->started_first = j->started_last = j->ended = CORE_NONE;
    j->loose = rules_group_has_width(m, j->group);
    j->cancel_grace = CORE_NONE;
}

static bool reply_submit(struct model *m, struct model_client *c,
                         struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    uint32_t errors = submit_errors(m, r->group_id, r->job.payload_len);
    const struct node *n = rep->n;

    if (n->v.kind == VALUE_ERROR) {
        bool full = n->v.code == CORE_ERR_QUEUEFULL && r->until <= m->now &&
                    (!queue_has_room(m, r->job.queue, r->job.payload_len) ||
                     !submit_is_head(m, c) || r->wait_ms > 0);

        if (!full && !(errors & (1u << n->v.code)))
            violation("SUBMIT was refused with %s, allowed: %x%s",
                      error_code(n->v.code), errors,
                      r->until <= m->now ? " or QUEUEFULL if full" : "");
        r->answered = true;
        return true;
    }
    if (errors)
        violation("SUBMIT was accepted although %x refuse it", errors);
    if (!queue_has_room(m, r->job.queue, r->job.payload_len) ||
        !submit_is_head(m, c)) {
        (void)snprintf(why, 128, "SUBMIT went in without room or turn");
        return false;
    }
    submit_admit(m, c, node_id(n, 'j'));
    m->queues[r->job.queue].made = true;
    r->answered = true;
    return true;
}

/* ----------------------------------------------------------------- fetch */

static bool job_can_start(const struct model *m, const struct model_job *j,
                          bool strict)
{
    return j->used && j->state == MODEL_QUEUED && !m->queues[j->queue].paused &&
           !m->draining && rules_group_has_room(m, j->group, strict);
}

static int fetch_place(const struct model_request *r, int queue)
{
    for (int i = 0; i < r->nqueues; i++)
        if (r->queues[i] == queue)
            return i;
    return -1;
}

/* Must `k` go before `j` for this fetch? */
static bool job_precedes(const struct model *m, const struct model_request *r,
                         const struct model_job *k, const struct model_job *j)
{
    int pk = fetch_place(r, k->queue), pj = fetch_place(r, j->queue);

    if (k == j || pk < 0 || !job_can_start(m, k, true) ||
        k->ready_step == m->step)
        return false;
    /* whoever waits for room in a width may be called in any order */
    if (rules_group_has_width(m, k->group))
        return false;
    if (pk != pj)
        return pk < pj;
    if (k->priority != j->priority)
        return k->priority > j->priority;
    if (k->ahead != j->ahead)
        return k->ahead && !j->loose;
    if (k->loose || j->loose || k->ahead)
        return false;
    return k->submit_seq < j->submit_seq && k->ready_seq < j->ready_seq;
}

static bool fetch_job(struct model *m, struct model_client *c,
                      const struct node *e, char why[128])
{
    struct model_request *r = &c->request;
    const struct node *token = node_item(e, 1), *map = node_item(e, 4);
    int i = model_job_find(m, node_id(token, 'j'));
    struct model_job *j;
    uint64_t group;

    if (i < 0) {
        (void)snprintf(why, 128, "a job was handed out that nobody submitted");
        return false;
    }
    j = &m->jobs[i];
    if (!job_can_start(m, j, false) || fetch_place(r, j->queue) < 0) {
        (void)snprintf(why, 128,
                       "job %llx was handed out: state %d paused %d room %d",
                       (unsigned long long)j->id, (int)j->state,
                       m->queues[j->queue].paused,
                       rules_group_has_room(m, j->group, false));
        return false;
    }
    for (int k = 0; k < m->njobs; k++)
        if (job_precedes(m, r, &m->jobs[k], j))
            violation("job %llx (priority %lld, width %d, ahead %d) was handed "
                      "out before %llx (priority %lld, width %d, ahead %d)",
                      (unsigned long long)j->id, (long long)j->priority,
                      rules_group_has_width(m, j->group), j->ahead,
                      (unsigned long long)m->jobs[k].id,
                      (long long)m->jobs[k].priority,
                      rules_group_has_width(m, m->jobs[k].group),
                      m->jobs[k].ahead);
    rules_job_start(m, j, c->session);
    m->sessions[c->session].dispatched = m->now;
    group = j->group >= 0 ? m->groups[j->group].id : 0;
    if (token->v.attempt != j->attempt)
        violation("attempt %u of job %llx is called %u", j->attempt,
                  (unsigned long long)j->id, token->v.attempt);
    if (!str_eq(node_str(node_item(e, 2)),
                str_from(m->queues[j->queue].name)) ||
        !bytes_match(node_str(node_item(e, 3)), j->payload_len,
                     j->payload_tag) ||
        node_int(node_get(map, "attempt")) != j->attempt ||
        node_int_or(node_get(map, "timeout"), CORE_NONE) != j->timeout ||
        node_int_or(node_get(map, "deadline"), CORE_NONE) !=
            rules_job_deadline(m, j) ||
        node_int(node_get(map, "grace")) != j->grace ||
        node_id(node_get(map, "group"), 'g') != group)
        violation("job %llx was handed out with a wrong description",
                  (unsigned long long)j->id);
    return true;
}

static bool fetch_cancel(struct model *m, struct model_client *c,
                         const struct node *e, char why[128])
{
    const struct node *token = node_item(e, 1);
    int i = model_job_find(m, node_id(token, 'j'));
    struct model_job *j = i < 0 ? NULL : &m->jobs[i];

    if (!j || j->state != MODEL_CANCELLING || j->session != c->session ||
        token->v.attempt != j->attempt || !(j->notice_due || j->notice_may)) {
        (void)snprintf(why, 128, "a cancel notice that nothing justifies");
        return false;
    }
    if (j->timed_out && !j->murky && !j->cancelled && !j->deadline_hit &&
        !str_eq(node_str(node_item(e, 2)), STR("timeout")))
        violation("a timeout is announced as '%.*s'",
                  (int)node_item(e, 2)->v.s.len, node_item(e, 2)->v.s.p);
    if (j->has_reason && !j->murky &&
        !str_eq(node_str(node_item(e, 2)), str_from(j->reason)))
        violation("a cancel because of '%s' is announced as '%.*s'", j->reason,
                  (int)node_item(e, 2)->v.s.len, node_item(e, 2)->v.s.p);
    if (node_int(node_item(e, 3)) != j->grace &&
        node_int(node_item(e, 3)) != j->cancel_grace && j->cancel_grace >= 0)
        violation("job %llx has grace %lld, announced is %lld",
                  (unsigned long long)j->id, (long long)j->grace,
                  (long long)node_int(node_item(e, 3)));
    j->notice_due = j->notice_may = false;
    return true;
}

static bool reply_fetch(struct model *m, struct model_client *c,
                        struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    const struct node *n = rep->n;
    int64_t jobs = 0;

    if (n->v.kind == VALUE_ERROR)
        violation("FETCH was refused with %s", error_code(n->v.code));
    if (n->v.kind != VALUE_ARRAY)
        violation("FETCH did not answer an array");
    if (n->v.count == 0) {
        if (r->until > m->now && !r->unblocked)
            violation("FETCH was answered empty before its time");
        r->idle = r->wait_ms == 0; /* else it came with its time */
        r->answered = true;
        return true;
    }
    while (rep->at < n->v.count) {
        const struct node *e = node_item(n, rep->at);
        bool is_job = str_eq(node_str(node_item(e, 0)), STR("job"));

        if (!(is_job ? fetch_job : fetch_cancel)(m, c, e, why))
            return false;
        rep->at++;
    }
    for (uint32_t i = 0; i < n->v.count; i++)
        jobs += str_eq(node_str(node_item(node_item(n, i), 0)), STR("job"));
    if (jobs > r->count)
        violation("FETCH %lld was answered with %lld jobs", (long long)r->count,
                  (long long)jobs);
    r->answered = true;
    return true;
}

/* ------------------------------------------------------------ wait, next */

static void check_outcome(const struct model *m, const struct model_job *j,
                          const struct node *map)
{
    struct str result = node_str(node_get(map, "result"));
    int64_t started = node_int_or(node_get(map, "started"), CORE_NONE);

    (void)m;
    if (j->state != MODEL_ENDED) {
        if (!node_is_null(node_get(map, "outcome")))
            violation("job %llx has an outcome and has not ended",
                      (unsigned long long)j->id);
        return;
    }
    if (node_id(node_get(map, "id"), 'j') != j->id ||
        view_outcome_read(node_get(map, "outcome")) != j->outcome ||
        node_int(node_get(map, "attempts")) != j->attempt ||
        node_int(node_get(map, "submitted")) != j->submitted ||
        (started != j->started_first && started != j->started_last &&
         started != CORE_NONE) ||
        node_int(node_get(map, "ended")) != j->ended ||
        node_get(map, "errors")->v.count != j->errors)
        violation("the outcome of job %llx is not what it was",
                  (unsigned long long)j->id);
    if ((result.p != NULL) != (j->outcome == VIEW_OK) ||
        (result.p && !bytes_match(result, j->result_len, j->result_tag)))
        violation("the result of job %llx is not what was reported",
                  (unsigned long long)j->id);
}

static void check_group_map(const struct model_group *g, const struct node *map)
{
    struct group_view v;

    view_group_read(map, &v);
    if (v.id != g->id || v.ended_state != g->ended || v.outcome != g->outcome ||
        v.members != g->members ||
        (g->ended && !g->murky &&
         (v.ok != g->ok || v.failed != g->failed ||
          v.cancelled != g->cancelled_members)))
        violation("the map of group %llx is wrong", (unsigned long long)g->id);
}

static bool reply_result(struct model *m, struct model_client *c,
                         struct model_reply *rep)
{
    struct model_request *r = &c->request;
    int i = model_job_find(m, r->id);

    r->answered = true;
    if (node_is_null(rep->n)) {
        if (i < 0)
            violation("WAIT for an unknown job was answered null");
        if (r->until > m->now && !r->unblocked)
            violation("WAIT was answered null before its time");
        if (m->jobs[i].state == MODEL_ENDED && m->jobs[i].end_step != m->step)
            violation("WAIT was answered null for a job that has ended");
        return true;
    }
    if (node_is_error(rep->n, CORE_ERR_NOJOB)) {
        if (i >= 0 && (m->jobs[i].state != MODEL_ENDED ||
                       m->jobs[i].ended + m->jobs[i].keep > m->now))
            violation("RESULT says NOJOB for job %llx, which is kept",
                      (unsigned long long)r->id);
        return true;
    }
    if (i < 0 || m->jobs[i].state != MODEL_ENDED)
        violation("WAIT was answered for a job that has not ended");
    check_outcome(m, &m->jobs[i], rep->n);
    if (!str_eq(node_str(node_get(rep->n, "kind")), STR("job")))
        violation("the outcome of a job has another kind");
    return true;
}

static bool reply_group_wait(struct model *m, struct model_client *c,
                             struct model_reply *rep)
{
    struct model_request *r = &c->request;
    int i = model_group_find(m, r->id);

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOGROUP)) {
        if (i >= 0 && (!m->groups[i].ended ||
                       m->groups[i].ended_at + m->groups[i].keep > m->now))
            violation("NOGROUP for group %llx, which is kept",
                      (unsigned long long)r->id);
        return true;
    }
    if (i < 0)
        violation("GROUP WAIT was answered for a group that never was");
    if (node_is_null(rep->n)) {
        if ((r->until > m->now && !r->unblocked) || r->wait_ms == CORE_UNSET)
            violation("GROUP WAIT was answered null before its time");
        if (m->groups[i].ended && m->groups[i].end_step != m->step)
            violation("GROUP WAIT was answered null after the end");
        return true;
    }
    check_group_map(&m->groups[i], rep->n);
    if (r->wait_ms != CORE_UNSET && !m->groups[i].ended)
        violation("GROUP WAIT was answered before the end");
    return true;
}

/* When did the member with this map end? It must have. */
static uint64_t next_entry(struct model *m, int group, const struct node *map)
{
    bool is_job = str_eq(node_str(node_get(map, "kind")), STR("job"));
    uint64_t id = node_id(node_get(map, "id"), is_job ? 'j' : 'g');
    int i = is_job ? model_job_find(m, id) : model_group_find(m, id);

    if (i < 0)
        violation("GROUP NEXT lists a member that is not known");
    if (is_job) {
        if (m->jobs[i].group != group || m->jobs[i].state != MODEL_ENDED)
            violation("GROUP NEXT lists job %llx, which has not ended here",
                      (unsigned long long)id);
        check_outcome(m, &m->jobs[i], map);
        return m->jobs[i].end_step;
    }
    if (m->groups[i].parent_is_job || m->groups[i].parent != group ||
        !m->groups[i].ended)
        violation("GROUP NEXT lists group %llx, which has not ended here",
                  (unsigned long long)id);
    check_group_map(&m->groups[i], map);
    return m->groups[i].end_step;
}

static bool reply_next(struct model *m, struct model_client *c,
                       struct model_reply *rep)
{
    struct model_request *r = &c->request;
    int g = model_group_find(m, r->id);
    const struct node *entries;
    uint64_t last = 0;

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOGROUP)) {
        if (g >= 0 && (!m->groups[g].ended ||
                       m->groups[g].ended_at + m->groups[g].keep > m->now))
            violation("GROUP NEXT: NOGROUP for a group that is kept");
        return true;
    }
    if (g < 0)
        violation("GROUP NEXT was answered for a group that never was");
    entries = node_item(rep->n, 1);
    if (entries->v.kind != VALUE_ARRAY)
        violation("a page without entries");
    for (uint32_t i = 0; i < entries->v.count; i++) {
        uint64_t step = next_entry(m, g, node_item(entries, i));

        if (step < last)
            violation("GROUP NEXT is not in the order of the ends");
        last = step;
    }
    if ((int64_t)entries->v.count > r->count)
        violation("GROUP NEXT gave more than COUNT entries");
    if (node_int(node_item(rep->n, 2)) && !m->groups[g].ended)
        violation("GROUP NEXT is over before the group has ended");
    if (entries->v.count == 0 && r->until > m->now && !r->unblocked &&
        !m->groups[g].ended && node_int(node_item(rep->n, 0)) == r->cursor)
        violation("GROUP NEXT was answered empty before its time");
    return true;
}

/* --------------------------------------------------------------- replies */

static bool reply_take(struct model *m, struct model_reply *rep, char why[128])
{
    int i = model_client_find(m, rep->client);
    struct model_client *c;

    if (i < 0 || m->clients[i].request.kind == REQUEST_NONE ||
        m->clients[i].request.answered)
        violation("client %llu got a reply that it did not ask for",
                  (unsigned long long)rep->client);
    c = &m->clients[i];
    switch (c->request.kind) {
    case REQUEST_SUBMIT:
        return reply_submit(m, c, rep, why);
    case REQUEST_FETCH:
        return reply_fetch(m, c, rep, why);
    case REQUEST_RESULT:
        return reply_result(m, c, rep);
    case REQUEST_GROUP_WAIT:
        return reply_group_wait(m, c, rep);
    case REQUEST_NEXT:
        return reply_next(m, c, rep);
    case REQUEST_NONE:
        break;
    }
    BUG("a request without a kind");
}

/* Any order that makes sense will do: a fetch makes room for a submit, and the
 * submitted job may be fetched in the same step. */
static void replies_match(struct model *m, struct model_eyes *eyes,
                          struct model_reply *replies, size_t n)
{
    char why[128] = "";
    bool progress, late = false;

    do {
        progress = false;
        for (size_t i = 0; i < n; i++) {
            uint32_t at = replies[i].at;

            if (replies[i].done)
                continue;
            replies[i].done = reply_take(m, &replies[i], why);
            progress |= replies[i].done || replies[i].at > at;
        }
        if (!progress && !late) { /* what waited may have come too late */
            late = progress = true;
            rules_time(m, eyes);
            rules_settle(m, eyes);
        }
    } while (progress);
    for (size_t i = 0; i < n; i++)
        if (!replies[i].done)
            violation("%s", why);
}

/* A job that this fetch could get; 0: none. */
static uint64_t job_for(const struct model *m, const struct model_request *r)
{
    for (int i = 0; i < m->njobs; i++)
        if (job_can_start(m, &m->jobs[i], true) &&
            fetch_place(r, m->jobs[i].queue) >= 0)
            return m->jobs[i].id;
    return 0;
}

/* A job whose cancel this session must be told of; 0: none. */
static uint64_t notice_for(const struct model *m, int session)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].state == MODEL_CANCELLING &&
            m->jobs[i].notice_due && m->jobs[i].session == session)
            return m->jobs[i].id;
    return 0;
}

/* Nobody may wait for what is there. */
static void check_waiting(struct model *m, struct model_client *c)
{
    struct model_request *r = &c->request;
    int i;

    if (r->kind != REQUEST_NONE && r->until <= m->now && !r->answered)
        violation("client %llu waits past its time", (unsigned long long)c->id);
    switch (r->kind) {
    case REQUEST_NONE:
        break;
    case REQUEST_SUBMIT:
        if (!r->answered && submit_is_head(m, c) && !m->disk_full &&
            !m->draining && queue_has_room(m, r->job.queue, r->job.payload_len))
            violation("a submit of client %llu waits although there is room",
                      (unsigned long long)c->id);
        break;
    case REQUEST_FETCH:
        if (r->answered && !r->idle)
            break;
        if (r->count > 0 && !m->disk_full && job_for(m, r))
            violation("client %llu waits for a job although %llx could start",
                      (unsigned long long)c->id,
                      (unsigned long long)job_for(m, r));
        if (notice_for(m, c->session))
            violation("client %llu was not told of the cancel of job %llx",
                      (unsigned long long)c->id,
                      (unsigned long long)notice_for(m, c->session));
        break;
    case REQUEST_RESULT:
        i = model_job_find(m, r->id);
        if (!r->answered && (i < 0 || m->jobs[i].state == MODEL_ENDED))
            violation("client %llu waits for a job that has ended",
                      (unsigned long long)c->id);
        break;
    case REQUEST_GROUP_WAIT:
    case REQUEST_NEXT:
        i = model_group_find(m, r->id);
        if (!r->answered && (i < 0 || m->groups[i].ended))
            violation("client %llu waits for a group that has ended",
                      (unsigned long long)c->id);
        break;
    }
}

/* ---------------------------------------------------------------- events */

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
        if (p && p->cancelled)
            errors |= 1u << CORE_ERR_CANCELLED;
        if (p && (p->closed || p->ended))
            errors |= 1u << CORE_ERR_CLOSED;
    }
    if (m->disk_full)
        errors |= 1u << CORE_ERR_DISKFULL;
    if (m->draining)
        errors |= 1u << CORE_ERR_DRAINING;
    if (n->v.kind == VALUE_ERROR) {
        if (!(errors & (1u << n->v.code)))
            violation("GROUP OPEN was refused with %s, allowed: %x",
                      error_code(n->v.code), errors);
        return;
    }
    if (errors & ~(1u << CORE_ERR_DISKFULL | 1u << CORE_ERR_DRAINING))
        violation("GROUP OPEN was accepted although %x refuse it", errors);
    g = &m->groups[group_slot(m)];
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

static void event_report(struct model *m, struct model_eyes *eyes,
                         const struct core_event *ev, const struct node *n)
{
    int i = model_job_find(m, ev->u.report.token.job.n);
    struct model_job *j = i < 0 ? NULL : &m->jobs[i];
    bool current = j && j->attempt == ev->u.report.token.attempt &&
                   (j->state == MODEL_RUNNING || j->state == MODEL_CANCELLING);

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
    if (!current)
        violation("a stale report was accepted");
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
        if (node_int(node_item(n, 0)) != (j->state == MODEL_CANCELLING))
            violation("TOUCH says cancelled %lld, state is %d",
                      (long long)node_int(node_item(n, 0)), (int)j->state);
        if (j->state == MODEL_RUNNING && !node_is_null(node_item(n, 2)))
            violation("TOUCH gives a reason for no cancel");
        (void)node_int(node_item(n, 1));
        return;
    default: /* LOG */
        return;
    }
    rules_job_close_attempt(m, eyes, j);
}

static void session_new(struct model *m, struct model_client *c, uint64_t id)
{
    int s = model_session_find(m, id);

    if (c->session >= 0) {
        if (s != c->session)
            violation("a client has two sessions");
        return;
    }
    if (s >= 0)
        violation("two clients have the same session");
    for (s = 0; s < MODEL_SESSIONS && m->sessions[s].used; s++)
        ;
    ASSERT(s < MODEL_SESSIONS);
    m->sessions[s] = (struct model_session){
        .used = true,
        .id = id,
        .client = c->id,
        .alive = m->now,
        .lease_lo = m->now + m->limits.lease_ms,
        .gone_lo = MODEL_FOREVER,
        .gone_hi = MODEL_FOREVER,
    };
    c->session = s;
}

static void session_alive(struct model *m, struct model_client *c)
{
    struct model_session *s;

    if (c->session < 0)
        return;
    s = &m->sessions[c->session];
    s->alive = s->dispatched = m->now;
    s->lease_lo = m->now + m->limits.lease_ms;
}

static void session_resume(struct model *m, struct model_client *c, uint64_t id,
                           const struct node *n)
{
    int i = model_session_find(m, id);

    if (n->v.kind == VALUE_ERROR) {
        if (!node_is_error(n, CORE_ERR_NOSESSION))
            violation("SESSION RESUME got %s", error_code(n->v.code));
        /* one that holds nothing may be forgotten early */
        if (i >= 0 && m->now < m->sessions[i].gone_lo &&
            rules_session_holds(m, i))
            violation("a session was given up before its grace was over");
        if (i >= 0 && !rules_session_holds(m, i))
            rules_session_free(m, i);
        return;
    }
    if (i < 0 && !m->restarted)
        violation("a session that is gone was resumed");
    if (i < 0) { /* a restart may give it a new grace */
        session_new(m, c, id);
        return;
    }
    c->session = i;
    m->sessions[i].client = c->id;
    m->sessions[i].gone_lo = m->sessions[i].gone_hi = MODEL_FOREVER;
    m->sessions[i].grace_over = false;
    session_alive(m, c);
    for (int k = 0; k < m->njobs; k++)
        if (m->jobs[k].used && m->jobs[k].session == i)
            m->jobs[k].notice_may = true;
}

static void event_disconnect(struct model *m, struct model_eyes *eyes,
                             const struct core_event *ev)
{
    int i = model_client_find(m, ev->client.n);
    struct model_client *c = i < 0 ? NULL : &m->clients[i];
    struct model_session *s;

    if (!c)
        return;
    if (c->session >= 0) {
        s = &m->sessions[c->session];
        s->client = 0;
        switch (ev->u.disconnect) {
        case DISCONNECT_BROKEN:
            s->gone_lo = s->gone_hi = m->now + m->limits.session_grace_ms;
            break;
        case DISCONNECT_CLEAN:
            rules_session_end(m, eyes, c->session, BODY_RELEASED, true);
            rules_session_free(m, c->session);
            break;
        case DISCONNECT_DEAD:
            rules_session_end(m, eyes, c->session, BODY_LOST, false);
            s->gone_lo = m->now;
            s->gone_hi = m->now + m->limits.session_grace_ms;
            break;
        }
    }
    c->used = false;
}

static int64_t until(const struct model *m, int64_t wait_ms)
{
    if (wait_ms == CORE_UNSET)
        return m->now;
    return wait_ms == CORE_NONE ? MODEL_FOREVER : m->now + wait_ms;
}

static void event_fetch(struct model *m, struct model_client *c,
                        const struct core_event *ev)
{
    c->request = (struct model_request){.kind = REQUEST_FETCH,
                                        .until = until(m, ev->u.fetch.wait_ms),
                                        .wait_ms = ev->u.fetch.wait_ms,
                                        .count = ev->u.fetch.count};
    for (size_t i = 0; i < ev->u.fetch.nqueues; i++) {
        int q = queue_find(m, ev->u.fetch.queues[i]);

        /* one that nobody has used yet may come to be while it waits */
        if (q < 0)
            q = queue_get(m, ev->u.fetch.queues[i]);
        c->request.queues[c->request.nqueues++] = q;
    }
}

static void set_if(int64_t *to, int64_t from)
{
    if (from != CORE_UNSET)
        *to = from;
}

static bool queue_is_made(const struct model *m, struct str name)
{
    int i = queue_find(m, name);

    return i >= 0 && m->queues[i].made;
}

static void queue_set(struct model *m, const struct core_event *ev,
                      const struct node *n)
{
    const struct queue_settings *s = &ev->u.queue.settings;
    struct queue_settings *to;

    if (node_is_error(n, CORE_ERR_DISKFULL) && m->disk_full)
        return;
    if (node_is_error(n, CORE_ERR_NOQUEUE) && ev->kind == EVENT_QUEUE_PAUSE &&
        !queue_is_made(m, ev->u.queue.name))
        return;
    if (n->v.kind != VALUE_OK)
        violation("QUEUE SET or PAUSE was not answered OK");
    to = &m->queues[queue_get(m, ev->u.queue.name)].set;
    m->queues[queue_find(m, ev->u.queue.name)].made = true;
    if (ev->kind == EVENT_QUEUE_PAUSE) {
        m->queues[queue_find(m, ev->u.queue.name)].paused = ev->u.queue.paused;
        return;
    }
    set_if(&to->max_jobs, s->max_jobs);
    set_if(&to->max_bytes, s->max_bytes);
    set_if(&to->timeout_ms, s->timeout_ms);
    set_if(&to->grace_ms, s->grace_ms);
    set_if(&to->retry, s->retry);
    set_if(&to->redeliver, s->redeliver);
    set_if(&to->keep_ms, s->keep_ms);
    set_if(&to->wait_ms, s->wait_ms);
}

static const struct node *reply_now(struct model_reply *replies, size_t n,
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
        m->groups[i].closed = true;
    } else if (!node_is_error(n, CORE_ERR_NOGROUP) ||
               (i >= 0 && !m->groups[i].ended)) {
        violation("GROUP CLOSE was not answered OK");
    }
}

/* Requests that may wait. False: it is none of them. */
static bool event_blocking(struct model *m, const struct core_event *ev)
{
    struct model_client *c = client_get(m, ev->client.n);

    switch (ev->kind) {
    case EVENT_SUBMIT:
        submit_ask(m, c, &ev->u.submit);
        return true;
    case EVENT_RESULT:
        c->request = (struct model_request){
            .kind = REQUEST_RESULT,
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

static void event_apply(struct model *m, struct model_eyes *eyes,
                        const struct core_event *ev,
                        struct model_reply *replies, size_t n)
{
    struct model_client *c;

    if (ev->kind == EVENT_DISCONNECT) {
        event_disconnect(m, eyes, ev);
        return;
    }
    if (ev->kind == EVENT_DISK_FULL)
        m->disk_full = ev->u.on;
    else if (ev->kind == EVENT_DRAIN)
        m->draining = ev->u.on;
    if (ev->client.n == 0 || event_blocking(m, ev))
        return;
    c = client_get(m, ev->client.n);
    switch (ev->kind) {
    case EVENT_ALIVE:
        session_alive(m, c);
        break;
    case EVENT_UNBLOCK:
        if (c->request.kind != REQUEST_SUBMIT)
            c->request.unblocked = true;
        break;
    case EVENT_SESSION:
        session_new(m, c, node_id(reply_now(replies, n, c->id), 's'));
        break;
    case EVENT_SESSION_RESUME:
        session_resume(m, c, ev->u.session.n, reply_now(replies, n, c->id));
        break;
    case EVENT_CANCEL:
        event_cancel(m, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_GROUP_OPEN:
        group_open(m, c, &ev->u.group_open, reply_now(replies, n, c->id));
        break;
    case EVENT_GROUP_CLOSE:
        group_close(m, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_QUEUE_SET:
    case EVENT_QUEUE_PAUSE:
        queue_set(m, ev, reply_now(replies, n, c->id));
        break;
    case EVENT_DONE:
    case EVENT_FAIL:
    case EVENT_RELEASE:
    case EVENT_TOUCH:
    case EVENT_LOG:
        event_report(m, eyes, ev, reply_now(replies, n, c->id));
        break;
    default: /* questions are asked outside of the model */
        BUG("an event that the model does not know");
    }
}

static void event_subject(struct model *m, const struct core_event *ev)
{
    int i = model_client_find(m, ev->client.n);

    m->reported = 0;
    m->leaving = -1;
    if (ev->kind == EVENT_DONE || ev->kind == EVENT_FAIL ||
        ev->kind == EVENT_RELEASE)
        m->reported = ev->u.report.token.job.n;
    if (ev->kind == EVENT_DISCONNECT && i >= 0)
        m->leaving = m->clients[i].session;
}

void model_step(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, struct model_reply *replies,
                size_t nreplies)
{
    m->now = ev->now_ms;
    m->step++;
    m->jumped = ev->kind == EVENT_START;
    event_subject(m, ev);
    rules_time(m, eyes);
    rules_settle(m, eyes);
    event_apply(m, eyes, ev, replies, nreplies);
    rules_settle(m, eyes);
    replies_match(m, eyes, replies, nreplies);
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        struct model_client *c = &m->clients[i];

        if (!c->used)
            continue;
        if (c->request.unblocked && !c->request.answered)
            violation("UNBLOCK did not end the wait");
        check_waiting(m, c);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used && m->clients[i].request.answered)
            m->clients[i].request = (struct model_request){0};
}

void model_restart(struct model *m, int64_t now)
{
    m->now = now;
    m->disk_full = m->draining = false;
    m->restarted = true;
    for (int i = 0; i < MODEL_CLIENTS; i++)
        m->clients[i].used = false;
    for (int i = 0; i < MODEL_SESSIONS; i++) {
        struct model_session *s = &m->sessions[i];

        if (!s->used)
            continue;
        s->gone_hi = now + m->limits.session_grace_ms;
        s->gone_lo = s->client ? s->gone_hi : min_i64(s->gone_lo, s->gone_hi);
        s->alive = s->dispatched = now;
        s->lease_lo = now;
        s->client = 0;
    }
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (j->ahead)
            j->loose = true;
        j->ahead = false;
        j->notice_may = true;
    }
}
