/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answers - the replies to WAIT, GROUP WAIT and GROUP NEXT.
 */
#include "parts.h"

void check_outcome(const struct model *m, const struct model_job *j,
                   const struct node *map)
{
    struct str result = node_str(node_get(map, "result"));
    int64_t started = node_int_or(node_get(map, "started"), CORE_NONE);

    (void)m;
    if (j->unseen)
        return;
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
    if (j->next ? node_id(node_get(map, "next"), 'j') != j->next
                : !node_is_null(node_get(map, "next")))
        violation("the outcome of job %llx names another follower",
                  (unsigned long long)j->id);
    if (j->retried ? node_id(node_get(map, "retried"), 'j') != j->retried
                   : !node_is_null(node_get(map, "retried")))
        violation("the outcome of job %llx does not name what RETRY made of it",
                  (unsigned long long)j->id);
    if ((result.p != NULL) != (j->outcome == VIEW_OK) ||
        (result.p && !model_bytes_match(result, j->result_len, j->result_tag)))
        violation("the result of job %llx is not what was reported",
                  (unsigned long long)j->id);
}

void check_group_map(const struct model_group *g, const struct node *map)
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
                         struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    int i = model_job_find(m, r->id);

    r->answered = true;
    if (node_is_null(rep->n)) {
        if (i < 0)
            violation("WAIT for an unknown job was answered null");
        if (r->until > m->now && !r->unblocked)
            violation("WAIT was answered null before its time");
        if (m->jobs[i].state == MODEL_ENDED && m->jobs[i].end_step < m->since)
            violation("WAIT was answered null for a job that has ended");
        return true;
    }
    if (node_is_error(rep->n, CORE_ERR_NOJOB)) {
        if (i >= 0 && (m->jobs[i].state != MODEL_ENDED ||
                       (rules_job_kept_until(&m->jobs[i]) > m->now &&
                        !rules_may_be_evicted(m, m->retained))))
            violation("RESULT says NOJOB for job %llx, which is kept",
                      (unsigned long long)r->id);
        return true;
    }
    if (i < 0 || m->jobs[i].state != MODEL_ENDED) {
        (void)snprintf(why, 128, "WAIT was answered for job %llx, which lives",
                       (unsigned long long)r->id);
        r->answered = false; /* what comes next may explain it */
        return false;
    }
    check_outcome(m, &m->jobs[i], rep->n);
    if (!str_eq(node_str(node_get(rep->n, "kind")), STR("job")))
        violation("the outcome of a job has another kind");
    return true;
}

static bool reply_ready(struct model *m, struct model_client *c,
                        struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    int i = model_job_find(m, r->id);
    const struct model_job *j = i < 0 ? NULL : &m->jobs[i];

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOJOB)) {
        if (j && (j->state != MODEL_ENDED ||
                  (rules_job_kept_until(j) > m->now &&
                   !rules_may_be_evicted(m, m->retained))))
            violation("WAIT READY says NOJOB for job %llx, which is kept",
                      (unsigned long long)r->id);
        return true;
    }
    if (!j)
        violation("WAIT READY was answered for an unknown job");
    if (node_is_error(rep->n, CORE_ERR_NOTREADY)) {
        r->answered = j->state == MODEL_ENDED;
        (void)snprintf(why, 128, "job %llx has not ended and may become ready",
                       (unsigned long long)r->id);
        return r->answered; /* what comes next may explain it */
    }
    if (node_is_null(rep->n)) {
        if (r->until > m->now && !r->unblocked)
            violation("WAIT READY was answered null before its time");
        if (rules_job_is_ready(j) && j->ready_since < m->since)
            violation("WAIT READY was answered null for a ready job");
        return true;
    }
    if (!rules_job_is_ready(j) ||
        !str_eq(node_str(rep->n), (struct str){j->ready, j->ready_len}))
        violation("WAIT READY was answered with what job %llx never said",
                  (unsigned long long)r->id);
    return true;
}

static bool reply_group_wait(struct model *m, struct model_client *c,
                             struct model_reply *rep, char why[128])
{
    struct model_request *r = &c->request;
    int i = model_group_find(m, r->id);

    r->answered = true;
    if (node_is_error(rep->n, CORE_ERR_NOGROUP)) {
        if (i >= 0 && (!m->groups[i].ended ||
                       (m->groups[i].ended_at + m->groups[i].keep > m->now &&
                        !rules_parent_is_gone(m, &m->groups[i]))))
            violation("NOGROUP for group %llx, which is kept",
                      (unsigned long long)r->id);
        return true;
    }
    if (i < 0)
        violation("GROUP WAIT was answered for a group that never was");
    if (node_is_null(rep->n)) {
        if ((r->until > m->now && !r->unblocked) || r->wait_ms == CORE_UNSET)
            violation("GROUP WAIT was answered null before its time");
        if (m->groups[i].ended && m->groups[i].end_step < m->since)
            violation("GROUP WAIT was answered null after the end");
        return true;
    }
    if (!m->groups[i].ended &&
        str_eq(node_str(node_get(rep->n, "state")), STR("ended"))) {
        (void)snprintf(why, 128, "group %llx is said to have ended",
                       (unsigned long long)r->id);
        r->answered = false;
        return false;
    }
    check_group_map(&m->groups[i], rep->n);
    if (r->wait_ms != CORE_UNSET && !m->groups[i].ended)
        violation("GROUP WAIT was answered before the end");
    return true;
}

/* Have the jobs of a page ended? */
static bool all_ended(const struct model *m, const struct node *entries)
{
    for (uint32_t i = 0; i < entries->v.count; i++) {
        const struct node *id = node_get(node_item(entries, i), "id");
        int k = id->v.id_kind == 'j' ? model_job_find(m, id->v.id) : -1;

        if (k >= 0 && m->jobs[k].state != MODEL_ENDED)
            return false;
    }
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
                       (m->groups[g].ended_at + m->groups[g].keep > m->now &&
                        !rules_parent_is_gone(m, &m->groups[g]))))
            violation("GROUP NEXT: NOGROUP for a group that is kept");
        return true;
    }
    if (g < 0)
        violation("GROUP NEXT was answered for a group that never was");
    entries = node_item(rep->n, 1);
    if (entries->v.kind != VALUE_ARRAY)
        violation("a page without entries");
    if (!m->stumped && !all_ended(m, entries)) { /* a circle may explain it */
        r->answered = false;
        return false;
    }
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

bool answers_take(struct model *m, struct model_eyes *eyes,
                  struct model_reply *rep, char why[128])
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
        return reply_result(m, c, rep, why);
    case REQUEST_GROUP_WAIT:
        return reply_group_wait(m, c, rep, why);
    case REQUEST_NEXT:
        return reply_next(m, c, rep);
    case REQUEST_READY:
        return reply_ready(m, c, rep, why);
    case REQUEST_JOIN:
        return reply_join(m, c, rep);
    case REQUEST_PURGE:
        return reply_purge(c, rep);
    case REQUEST_RETRY:
        return reply_retry(m, eyes, c, rep);
    case REQUEST_NONE:
        break;
    }
    BUG("a request without a kind");
}
