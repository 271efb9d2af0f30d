/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch - who gets which job, and who is told to stop.
 */
#include "parts.h"

bool job_can_start(const struct model *m, const struct model_job *j,
                   bool strict)
{
    return j->used && j->state == MODEL_QUEUED && !j->purging &&
           !m->queues[j->queue].paused && !m->draining && !m->disk_full &&
           rules_group_has_room(m, j->group, strict) &&
           limits_allow(m, j, strict);
}

int fetch_place(const struct model_request *r, int queue)
{
    for (int i = 0; i < r->nqueues; i++)
        if (r->queues[i] == queue)
            return i;
    return -1;
}

bool fetch_is_crowded(const struct model *m, const struct model_request *r)
{
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (!j->used || fetch_place(r, j->queue) < 0)
            continue;
        if (j->state == MODEL_QUEUED &&
            (limits_any(j) || rules_group_has_width(m, j->group)))
            return true;
        if (j->state == MODEL_ENDED && j->end_step >= m->since)
            return true;
    }
    return false;
}

/* Must `k` go before `j` for this fetch? */
static bool job_precedes(const struct model *m, const struct model_request *r,
                         const struct model_job *k, const struct model_job *j)
{
    int pk = fetch_place(r, k->queue), pj = fetch_place(r, j->queue);

    if (k == j || pk < 0 || !job_can_start(m, k, true) ||
        k->ready_step >= m->since)
        return false;
    /* whoever waits for room in a width may be called in any order */
    if (rules_group_has_width(m, k->group))
        return false;
    if (pk != pj)
        return pk < pj && r->given[pk] < r->bounds[pk] &&
               !fetch_is_crowded(m, r) && !m->loading;
    /* who waits for permits has a line of his own */
    if (limits_any(k) && !limits_same(k, j))
        return false;
    if (k->priority != j->priority)
        return k->priority > j->priority;
    if (limits_any(k) != limits_any(j))
        return false;
    if (m->queues[k->queue].fair_changed &&
        (k->group != j->group || limits_any(k) ||
         min_i64((int64_t)k->ready_seq, (int64_t)j->ready_seq) <
             (int64_t)m->queues[k->queue].fair_changed))
        return false;
    if (limits_any(k)) /* one of them may have come back */
        return k->submit_seq < j->submit_seq && k->ready_seq < j->ready_seq &&
               !j->ahead && !j->loose && !k->loose;
    if (k->ahead != j->ahead)
        return k->ahead && !j->loose;
    if (k->loose || j->loose || k->ahead)
        return false;
    return k->submit_seq < j->submit_seq && k->ready_seq < j->ready_seq;
}

/* Who gave no sign of life for a lease, and holds something, gets no more. */
static void check_lease(const struct model *m, const struct model_client *c)
{
    const struct model_session *s = &m->sessions[c->session];

    if (m->now < max_i64(s->alive, s->dispatched) + m->limits.lease_ms)
        return;
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].session == c->session &&
            (m->jobs[i].state == MODEL_RUNNING ||
             m->jobs[i].state == MODEL_CANCELLING))
            violation("client %llu gets a job although its lease is over",
                      (unsigned long long)c->id);
}

static bool fetch_job(struct model *m, struct model_client *c,
                      const struct node *e, char why[128])
{
    struct model_request *r = &c->request;
    const struct node *token = node_item(e, 1), *map = node_item(e, 4);
    int i = model_job_find(m, node_id(token, 'j'));
    const struct model_job *before;
    struct model_job *j;
    uint64_t group;
    int place;

    if (i < 0) {
        (void)snprintf(why, 128, "a job was handed out that nobody submitted");
        return false;
    }
    j = &m->jobs[i];
    place = fetch_place(r, j->queue);
    if (!job_can_start(m, j, false) || place < 0) {
        (void)snprintf(why, 128,
                       "job %llx was handed out: state %d paused %d room %d",
                       (unsigned long long)j->id, (int)j->state,
                       m->queues[j->queue].paused,
                       rules_group_has_room(m, j->group, false));
        return false;
    }
    before = limits_overtake(m, j);
    if (before) {
        (void)snprintf(why, 128, "job %llx took what was put aside for %llx",
                       (unsigned long long)j->id,
                       (unsigned long long)before->id);
        return false;
    }
    turns_check(m, j);
    for (int k = 0; k < m->njobs; k++)
        if (job_precedes(m, r, &m->jobs[k], j))
            violation("job %llx (priority %lld, width %d, ahead %d, loose %d, "
                      "limits %d) was handed "
                      "out before %llx (priority %lld, width %d, ahead %d, "
                      "loose %d, limits %d)",
                      (unsigned long long)j->id, (long long)j->priority,
                      rules_group_has_width(m, j->group), j->ahead, j->loose,
                      limits_any(j), (unsigned long long)m->jobs[k].id,
                      (long long)m->jobs[k].priority,
                      rules_group_has_width(m, m->jobs[k].group),
                      m->jobs[k].ahead, m->jobs[k].loose,
                      limits_any(&m->jobs[k]));
    r->given[place]++;
    if (r->given[place] > r->bounds[place])
        violation("a FETCH of %lld jobs of queue %s gets one more",
                  (long long)r->bounds[place], m->queues[j->queue].name);
    check_lease(m, c);
    limits_spend(m, j);
    turns_served(m, j);
    rules_job_start(m, j, c->session);
    m->sessions[c->session].dispatched = m->now;
    group = j->group >= 0 ? m->groups[j->group].id : 0;
    if (token->v.attempt != j->attempt)
        violation("attempt %u of job %llx is called %u", j->attempt,
                  (unsigned long long)j->id, token->v.attempt);
    if (!str_eq(node_str(node_item(e, 2)),
                str_from(m->queues[j->queue].name)) ||
        !model_bytes_match(node_str(node_item(e, 3)), j->payload_len,
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

bool reply_fetch(struct model *m, struct model_client *c,
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
        if (r->until > m->now && !r->unblocked && !(r->anew && !m->disk_narrow))
            violation("FETCH was answered empty before its time");
        /* else it came with its time */
        r->idle = r->wait_ms == 0 && !r->cut_short;
        r->answered = true;
        return true;
    }
    while (rep->at < n->v.count) {
        const struct node *e = node_item(n, rep->at);
        struct str kind = node_str(node_item(e, 0));

        if (!(str_eq(kind, STR("job"))     ? fetch_job
              : str_eq(kind, STR("ended")) ? await_told
                                           : fetch_cancel)(m, c, e, why))
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
