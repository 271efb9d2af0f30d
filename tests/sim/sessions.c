/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sessions - connections come, go on elsewhere, break, and say goodbye.
 */
#include "parts.h"

/* A free place; those that are over are remembered as long as possible. */
static int session_slot(const struct model *m)
{
    int slot = -1;

    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (!m->sessions[i].used &&
            (slot < 0 || m->sessions[i].over < m->sessions[slot].over))
            slot = i;
    ASSERT(slot >= 0);
    return slot;
}

static void session_attach(struct model *m, struct model_client *c, int i)
{
    struct model_session *s = &m->sessions[i];

    c->session = i;
    s->used = true;
    s->client = c->id;
    s->gone_lo = s->gone_hi = MODEL_FOREVER;
    s->grace_over = false;
    session_alive(m, c->session);
}

void session_asked(struct model *m, struct model_client *c,
                   const struct node *n)
{
    uint64_t id = node_id(n, 's');
    int i = model_session_find(m, id);

    if (c->session >= 0) {
        if (i != c->session)
            violation("a client has two sessions");
        return;
    }
    if (i >= 0)
        violation("two clients have the same session");
    i = session_slot(m);
    m->sessions[i] = (struct model_session){.id = id};
    session_attach(m, c, i);
}

void session_alive(struct model *m, int session)
{
    struct model_session *s;

    if (session < 0)
        return;
    s = &m->sessions[session];
    s->alive = s->dispatched = m->now;
    s->lease_lo = m->now + m->limits.lease_ms;
}

/* What a session that is resumed is told that it holds. */
static void session_tokens(const struct model *m, int s, const struct node *n)
{
    uint32_t held = 0;

    for (int i = 0; i < m->njobs; i++)
        held += m->jobs[i].used && m->jobs[i].session == s &&
                (m->jobs[i].state == MODEL_RUNNING ||
                 m->jobs[i].state == MODEL_CANCELLING);
    if (n->v.count != held)
        violation("a resumed session is told of %u tokens, it holds %u",
                  n->v.count, held);
    for (uint32_t k = 0; k < held; k++) {
        int i = model_job_find(m, node_id(node_item(n, k), 'j'));

        if (i < 0 || m->jobs[i].session != s ||
            m->jobs[i].attempt != node_item(n, k)->v.attempt)
            violation("a resumed session is told of a token that is not its");
    }
}

/* Nobody speaks for it: its grace begins. */
static void session_left(struct model *m, struct model_session *s)
{
    s->client = 0;
    s->gone_lo = s->gone_hi = m->now + m->limits.session_grace_ms;
}

/* The connection before is cut, and what waits there for a job or for room is
 * given up: it is asked for anew. */
static void session_taken(struct model *m, struct model_eyes *eyes, int i,
                          const struct model_client *by)
{
    int k = model_client_find(m, m->sessions[i].client);
    struct model_client *before = k < 0 ? NULL : &m->clients[k];

    if (!before || before == by)
        return;
    if (eyes->cut != before->id)
        violation("the session of client %llu goes on with another one, and "
                  "it is not cut off",
                  (unsigned long long)before->id);
    eyes->cut = 0;
    before->session = -1;
    if (before->request.kind != REQUEST_SUBMIT &&
        before->request.kind != REQUEST_FETCH)
        return;
    before->request.unblocked = true;
    before->request.until = m->now;
    before->request.count = 0;
}

/* The session that a restart brought back although it was over. */
static int session_ghost(const struct model *m, uint64_t id)
{
    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (!m->sessions[i].used && m->sessions[i].id == id)
            return i;
    return -1;
}

void session_resume(struct model *m, struct model_eyes *eyes,
                    struct model_client *c, uint64_t id, const struct node *n)
{
    int i = model_session_find(m, id);

    if (n->v.kind == VALUE_ERROR) {
        if (!node_is_error(n, CORE_ERR_NOSESSION))
            violation("SESSION RESUME got %s", error_code(n->v.code));
        /* one that has nothing may be forgotten early */
        if (i >= 0 && m->now < m->sessions[i].gone_lo &&
            m->sessions[i].ending == BODY_NONE &&
            (rules_session_holds(m, i) ||
             (once_remembers(&m->sessions[i]) && !once_is_tight(m))))
            violation("a session was given up before its grace was over");
        if (i >= 0 && !rules_session_holds(m, i))
            rules_session_free(m, i);
        return;
    }
    if (i < 0 ? !m->restarted : m->sessions[i].ending != BODY_NONE)
        violation("a session that is gone was resumed");
    if (i < 0) { /* a restart may give it a new grace */
        i = session_ghost(m, id);
        if (i < 0) {
            i = session_slot(m);
            m->sessions[i] = (struct model_session){.id = id};
        }
    }
    session_tokens(m, i, n);
    if (c->session >= 0 && c->session != i)
        session_left(m, &m->sessions[c->session]);
    session_taken(m, eyes, i, c);
    session_attach(m, c, i);
    for (int k = 0; k < m->njobs; k++)
        if (m->jobs[k].used && m->jobs[k].session == i) {
            m->jobs[k].notice_may = true;
            m->jobs[k].notice_due |= m->jobs[k].state == MODEL_CANCELLING;
        }
}

void session_disconnect(struct model *m, struct model_eyes *eyes,
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
            session_left(m, s);
            break;
        case DISCONNECT_CLEAN:
            s->ending = BODY_RELEASED;
            break;
        case DISCONNECT_DEAD:
            s->ending = BODY_LOST;
            s->gone_lo = m->now;
            s->gone_hi = m->now + m->limits.session_grace_ms;
            break;
        }
        if (s->ending != BODY_NONE)
            rules_session_ending(m, eyes, c->session);
    }
    c->used = false;
}

static void shift(int64_t *at, int64_t by_ms)
{
    if (*at != MODEL_FOREVER)
        *at += by_ms;
}

void sessions_set_clock(struct model *m, int64_t by_ms)
{
    for (int i = 0; i < MODEL_SESSIONS; i++) {
        struct model_session *s = &m->sessions[i];

        s->alive += by_ms;
        s->dispatched += by_ms;
        s->lease_lo += by_ms;
        shift(&s->gone_lo, by_ms);
        shift(&s->gone_hi, by_ms);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        shift(&m->clients[i].request.until, by_ms);
    for (int i = 0; i < m->njobs; i++)
        m->jobs[i].lease_from += by_ms;
}

void sessions_restart(struct model *m, int64_t now)
{
    for (int i = 0; i < MODEL_SESSIONS; i++) {
        struct model_session *s = &m->sessions[i];

        /* those that were over may come back, and then others must go */
        s->dropped |= once_is_tight(m);
        s->nawaits = 0;
        if (!s->used)
            continue;
        s->gone_hi = now + m->limits.session_grace_ms;
        if (s->client || s->gone_lo > m->now)
            s->gone_lo = s->gone_hi;
        s->ending = BODY_NONE;
        s->alive = s->dispatched = now;
        s->lease_lo = now;
        s->client = 0;
    }
}
