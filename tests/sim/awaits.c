/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * awaits - which ends a session has asked to be told of, and was not yet.
 */
#include "parts.h"

static int await_find(const struct model_session *s, bool is_group, uint64_t id)
{
    for (int i = 0; i < s->nawaits; i++)
        if (s->awaits[i].is_group == is_group && s->awaits[i].n == id)
            return i;
    return -1;
}

static void await_drop(struct model_session *s, int i)
{
    s->awaits[i] = s->awaits[--s->nawaits];
}

/* Must the daemon know it? */
static bool is_kept(const struct model *m, const struct core_id *id)
{
    int i =
        id->is_group ? model_group_find(m, id->n) : model_job_find(m, id->n);

    if (i < 0)
        return false;
    if (id->is_group)
        return !m->groups[i].ended ||
               (m->groups[i].ended_at + m->groups[i].keep > m->now &&
                !rules_parent_is_gone(m, &m->groups[i]));
    return m->jobs[i].state != MODEL_ENDED ||
           (rules_job_kept_until(&m->jobs[i]) > m->now &&
            !rules_may_be_evicted(m, m->retained));
}

static void await_add(struct model *m, struct model_session *s,
                      const struct core_id *id, const struct node *unknown)
{
    for (uint32_t k = 0; k < unknown->v.count; k++) {
        const struct node *n = node_item(unknown, k);

        if (n->v.id != id->n || (n->v.id_kind == 'g') != id->is_group)
            continue;
        if (is_kept(m, id))
            violation("AWAIT does not know %llx, which is kept",
                      (unsigned long long)id->n);
        return;
    }
    if (s->nawaits == MODEL_AWAITS)
        violation("the model awaits too much");
    s->awaits[s->nawaits++] = *id;
}

bool await_event(struct model *m, const struct core_event *ev,
                 struct model_reply *replies, size_t n)
{
    const struct node *reply;
    struct model_session *s;
    struct model_client *c;

    if (ev->kind != EVENT_AWAIT && ev->kind != EVENT_UNAWAIT)
        return false;
    c = model_client_get(m, ev->client.n);
    if (c->session < 0)
        violation("an await of a client without a session");
    s = &m->sessions[c->session];
    reply = reply_now(replies, n, c->id);
    session_alive(m, c->session);
    if (node_is_error(reply, CORE_ERR_OOM))
        return true;
    for (size_t i = 0; i < ev->u.await.nids; i++) {
        const struct core_id *id = &ev->u.await.ids[i];
        int at = await_find(s, id->is_group, id->n);

        if (ev->kind == EVENT_UNAWAIT) {
            if (at >= 0)
                await_drop(s, at);
        } else if (at < 0) {
            await_add(m, s, id, reply);
        }
    }
    return true;
}

bool await_told(struct model *m, struct model_client *c, const struct node *e,
                char why[128])
{
    const struct node *id = node_item(e, 1), *map = node_item(e, 3);
    struct model_session *s = &m->sessions[c->session];
    bool is_group = id->v.id_kind == 'g';
    int at = await_find(s, is_group, id->v.id);
    int i =
        is_group ? model_group_find(m, id->v.id) : model_job_find(m, id->v.id);

    if (at < 0)
        violation("an end is told that nobody awaits");
    if (i >= 0 &&
        !(is_group ? m->groups[i].ended : m->jobs[i].state == MODEL_ENDED)) {
        (void)snprintf(why, 128, "the end of %llx is told, which lives",
                       (unsigned long long)id->v.id);
        return false;
    }
    if (!node_is_null(map) &&
        !str_eq(node_str(node_get(map, "outcome")), node_str(node_item(e, 2))))
        violation("the end of %llx is told with two outcomes",
                  (unsigned long long)id->v.id);
    if (i >= 0 && !node_is_null(map)) {
        if (is_group)
            check_group_map(&m->groups[i], map);
        else
            check_outcome(m, &m->jobs[i], map);
    }
    await_drop(s, at);
    return true;
}

uint64_t await_due(const struct model *m, const struct model_client *c)
{
    const struct model_session *s =
        c->session < 0 ? NULL : &m->sessions[c->session];

    for (int k = 0; s && !c->request.answered && k < s->nawaits; k++) {
        const struct core_id *id = &s->awaits[k];
        int i = id->is_group ? model_group_find(m, id->n)
                             : model_job_find(m, id->n);

        if (i < 0 || (id->is_group ? m->groups[i].ended
                                   : m->jobs[i].state == MODEL_ENDED))
            return id->n;
    }
    return 0;
}
