/* SPDX-License-Identifier: BSD-2-Clause */
#include "parts.h"

#define EVERYBODY_SEEN 16 /* steps after which each job was looked at */

bool rules_job_live(const struct model_job *j)
{
    return j->used && j->state != MODEL_ENDED;
}

int64_t rules_retained(const struct model *m)
{
    int64_t n = 0;

    for (int i = 0; i < m->njobs; i++)
        n += m->jobs[i].used && m->jobs[i].state == MODEL_ENDED;
    return n;
}

bool rules_may_be_evicted(const struct model *m, int64_t retained)
{
    /* who went is not missed at once */
    return retained > m->limits.retain_jobs ||
           (m->crowded && m->step - m->crowded <= EVERYBODY_SEEN);
}

bool rules_parent_is_gone(const struct model *m, const struct model_group *g)
{
    const struct model_group *p;
    int i;

    if (g->parent_id == 0)
        return false;
    if (g->parent_is_job) {
        i = model_job_find(m, g->parent_id);
        return i < 0 || (m->jobs[i].state == MODEL_ENDED &&
                         rules_job_kept_until(&m->jobs[i]) <= m->now);
    }
    i = model_group_find(m, g->parent_id);
    p = i < 0 ? NULL : &m->groups[i];
    return !p || p->forgotten ||
           (p->ended && p->ended_at + p->keep <= m->now) ||
           rules_parent_is_gone(m, p);
}

int64_t rules_job_kept_until(const struct model_job *j)
{
    return j->ended + (j->dead ? max_i64(j->keep, j->dead_keep) : j->keep);
}

bool rules_job_is_ready(const struct model_job *j)
{
    return j->is_ready &&
           (j->state == MODEL_RUNNING || j->state == MODEL_CANCELLING ||
            j->state == MODEL_JOINING);
}

bool rules_group_live(const struct model_group *g)
{
    return g->used && !g->ended;
}

struct job_view rules_job_look(struct model *m, struct model_eyes *eyes,
                               const struct model_job *j)
{
    return view_job(eyes->core, eyes->arena, m->now, j->id);
}

struct group_view rules_group_look(struct model *m, struct model_eyes *eyes,
                                   const struct model_group *g)
{
    return view_group(eyes->core, eyes->arena, m->now, g->id);
}

static int64_t time_min(int64_t a, int64_t b)
{
    if (a == CORE_NONE)
        return b;
    return b == CORE_NONE ? a : min_i64(a, b);
}

int64_t rules_group_deadline(const struct model *m, int g)
{
    const struct model_group *group;

    if (g < 0)
        return CORE_NONE;
    group = &m->groups[g];
    return time_min(group->deadline,
                    group->parent_is_job
                        ? rules_job_deadline(m, &m->jobs[group->parent])
                        : rules_group_deadline(m, group->parent));
}

bool rules_job_shielded(const struct model_job *j)
{
    return j->state == MODEL_RUNNING && j->shield_until != 0;
}

int64_t rules_job_deadline(const struct model *m, const struct model_job *j)
{
    if (rules_job_shielded(j))
        return j->deadline;
    return time_min(j->deadline, rules_group_deadline(m, j->group));
}

bool rules_group_has_width(const struct model *m, int g)
{
    for (; g >= 0; g = m->groups[g].parent) {
        if (m->groups[g].width != CORE_NONE)
            return true;
        if (m->groups[g].parent_is_job)
            return false;
    }
    return false;
}

/* Is `g` inside `outer`, by groups alone? */
static bool group_inside(const struct model *m, int g, int outer)
{
    for (; g >= 0; g = m->groups[g].parent) {
        if (g == outer)
            return true;
        if (m->groups[g].parent_is_job)
            return false;
    }
    return false;
}

static int64_t group_running(const struct model *m, int g, bool strict)
{
    int64_t n = 0;

    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (!j->used || !group_inside(m, j->group, g))
            continue;
        if (j->state == MODEL_RUNNING || j->state == MODEL_CANCELLING ||
            (strict && j->state == MODEL_JOINING))
            n++;
    }
    return n;
}

bool rules_group_has_room(const struct model *m, int g, bool strict)
{
    for (; g >= 0; g = m->groups[g].parent) {
        if (m->groups[g].width != CORE_NONE &&
            group_running(m, g, strict) >= m->groups[g].width)
            return false;
        if (m->groups[g].parent_is_job)
            return true;
    }
    return true;
}

int64_t rules_group_live_members(const struct model *m, int g)
{
    int64_t n = 0;

    for (int i = 0; i < m->njobs; i++)
        n += rules_job_live(&m->jobs[i]) && m->jobs[i].group == g;
    for (int i = 0; i < m->ngroups; i++)
        n += rules_group_live(&m->groups[i]) && !m->groups[i].parent_is_job &&
             m->groups[i].parent == g;
    return n;
}

bool rules_job_has_groups(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < m->ngroups; i++)
        if (rules_group_live(&m->groups[i]) && m->groups[i].parent_is_job &&
            &m->jobs[m->groups[i].parent] == j)
            return true;
    return false;
}

void rules_job_start(struct model *m, struct model_job *j, int session)
{
    j->state = j->cancelled ? MODEL_CANCELLING : MODEL_RUNNING;
    j->notice_due = j->cancelled;
    j->attempt++;
    j->session = session;
    j->started_last = j->lease_from = m->now;
    if (j->attempt == 1)
        j->started_first = m->now;
    j->ahead = false;
    j->shield_until = 0;
    j->kept_back = false;
    j->body_id = 0;
    j->is_ready = false;
}

/* --------------------------------------------------------------- cancels */

static void reason_set(bool *has, char *to, const char *reason)
{
    *has = reason != NULL;
    if (reason)
        (void)snprintf(to, 24, "%s", reason);
}

void rules_job_cancel(struct model *m, struct model_job *j, const char *reason)
{
    if (j->cancelled || !rules_job_live(j))
        return;
    j->cancelled = true;
    j->cancelled_step = m->step;
    reason_set(&j->has_reason, j->reason, reason);
    if (j->timed_out || j->deadline_hit)
        j->has_reason = false; /* the first reason stays: theirs */
    if (rules_job_shielded(j)) {
        j->kept_back = true;
    } else if (j->state == MODEL_RUNNING) {
        j->state = MODEL_CANCELLING;
        j->notice_due = true;
    } else if (j->state == MODEL_CANCELLING) {
        j->notice_may = true;
    }
}

void rules_job_unshield(const struct model *m, struct model_job *j)
{
    j->shield_until = 0;
    if (!j->kept_back)
        return;
    j->kept_back = false;
    j->asked_step = m->step;
    j->state = MODEL_CANCELLING;
    j->notice_due = true;
}

void rules_group_cancel(struct model *m, struct model_group *g,
                        const char *reason)
{
    if (!rules_group_live(g))
        return;
    if (!g->outside)
        g->outside_step = m->step;
    g->outside = true;
    if (g->parent_is_job)
        m->jobs[g->parent].groups_cancelled = true;
    if (g->cancelled)
        return;
    g->cancelled = true;
    reason_set(&g->has_reason, g->reason, reason);
    if (g->closed &&
        g->succeed > g->ok + rules_group_live_members(m, (int)(g - m->groups)))
        g->has_reason = false; /* it may have been given up before */
}

bool rules_session_holds(const struct model *m, int s)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].session == s &&
            (m->jobs[i].state == MODEL_RUNNING ||
             m->jobs[i].state == MODEL_CANCELLING))
            return true;
    for (int i = 0; i < m->ngroups; i++)
        if (rules_group_live(&m->groups[i]) && m->groups[i].session == s)
            return true;
    return false;
}

void rules_session_free(struct model *m, int s)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].session == s)
            m->jobs[i].session = -1;
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].session == s)
            m->groups[i].session = -1;
    m->sessions[s].used = false;
    m->sessions[s].over = m->step;
}

/* Does the attempt go on, as the core shows it? */
static bool job_runs_on(struct model *m, struct model_eyes *eyes,
                        const struct model_job *j)
{
    struct job_view v = rules_job_look(m, eyes, j);

    return v.found && v.attempt == (int64_t)j->attempt &&
           (v.state == VIEW_RUNNING || v.state == VIEW_CANCELLING);
}

/* A session's presence is over; BODY_NONE: its attempts go on. False: some of
 * what it holds has not been reached yet. */
static bool session_end(struct model *m, struct model_eyes *eyes, int s,
                        enum model_body body, bool certain)
{
    bool all = true;

    for (int i = 0; body != BODY_NONE && i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (!j->used || j->session != s ||
            (j->state != MODEL_RUNNING && j->state != MODEL_CANCELLING))
            continue;
        if (m->behind && job_runs_on(m, eyes, j)) {
            all = false;
            continue;
        }
        j->body = body;
        ends_attempt(m, eyes, j);
        j->session = -1;
    }
    for (int i = 0; i < m->ngroups; i++) {
        struct model_group *g = &m->groups[i];
        struct group_view v;

        if (!rules_group_live(g) || g->session != s)
            continue;
        v = rules_group_look(m, eyes, g);
        if (ends_group_well(m, eyes, g))
            continue;
        if (m->behind && v.found && !v.reason.p && !v.ended_state) {
            all = false;
            continue;
        }
        if (!certain && v.found && !v.reason.p && !v.ended_state)
            continue;
        rules_group_cancel(m, g, "owner-lost");
        /* a member of it may have gone first, and its policy with that; where
         * many times were passed at once so may what it is in */
        if ((g->closed && g->succeed > 0) || m->jumped)
            g->has_reason = false;
    }
    return all;
}

void rules_session_ending(struct model *m, struct model_eyes *eyes, int s)
{
    enum model_body body = m->sessions[s].ending;

    if (!session_end(m, eyes, s, body, body == BODY_RELEASED))
        return;
    m->sessions[s].ending = BODY_NONE;
    if (body == BODY_RELEASED)
        rules_session_free(m, s);
}

/* ------------------------------------------------------------------ time */

static void job_ask(const struct model *m, struct model_job *j)
{
    j->asked_step = m->step;
    if (j->state == MODEL_RUNNING) {
        j->has_reason &= !j->kept_back; /* this one is announced */
        j->shield_until = 0;
        j->kept_back = false;
        j->state = MODEL_CANCELLING;
        j->notice_due = true;
    } else if (j->state == MODEL_CANCELLING) {
        j->notice_may = true;
        j->murky = true;
    } else if (j->state == MODEL_JOINING) {
        j->murky = true;
    }
}

bool rules_job_unreached(struct model *m, struct model_eyes *eyes,
                         const struct model_job *j)
{
    struct job_view v;

    if (!m->behind)
        return false;
    v = rules_job_look(m, eyes, j);
    return v.found && v.attempt == (int64_t)j->attempt &&
           (v.state == VIEW_DELAYED || v.state == VIEW_READY ||
            v.state == VIEW_PARKED);
}

/* Is it being cancelled? Of what is also due whatever comes first ends it. */
static bool job_stops(const struct model *m, const struct model_job *j)
{
    return j->id == m->stopped || j->queue == m->emptied || j->purging ||
           m->queues[j->queue].closed_now;
}

static void job_time_queued(struct model *m, struct model_eyes *eyes,
                            struct model_job *j)
{
    int64_t deadline = rules_job_deadline(m, j);
    bool expired = j->expires_at != CORE_NONE && j->expires_at <= m->now &&
                   j->attempt == 0;

    if (deadline != CORE_NONE && deadline <= m->now) {
        j->inherited = deadline != j->deadline || m->jumped;
        j->deadline_hit = true;
    }
    if ((j->deadline_hit || expired) && !rules_job_unreached(m, eyes, j)) {
        ends_queued(m, eyes, j,
                    TO_FAILED | (j->inherited || m->jumped || job_stops(m, j) ||
                                         ends_swept(m, eyes, j)
                                     ? (unsigned)TO_CANCELLED
                                     : 0));
        return;
    }
    if (j->state == MODEL_DELAYED && j->delay_lo <= m->now) {
        struct job_view v = rules_job_look(m, eyes, j);

        if ((j->delay_hi > m->now || m->behind) && v.state == VIEW_DELAYED)
            return;
        if (v.state == VIEW_DELAYED)
            violation("job %llx is delayed past its time by %lld ms",
                      (unsigned long long)j->id,
                      (long long)(m->now - j->delay_hi));
        j->state = MODEL_QUEUED;
        j->ready_seq = ++m->seq;
        j->ready_step = m->step;
        j->loose = true;
    }
}

static void job_time_running(struct model *m, struct model_eyes *eyes,
                             struct model_job *j)
{
    int64_t deadline;

    if (rules_job_shielded(j) && j->shield_until <= m->now &&
        !(m->behind && rules_job_look(m, eyes, j).shielded != CORE_NONE))
        rules_job_unshield(m, j);
    deadline = rules_job_deadline(m, j);
    if (deadline != CORE_NONE && deadline <= m->now && !j->deadline_hit) {
        j->deadline_hit = true;
        j->inherited = deadline != j->deadline || m->jumped;
        if (j->cancelled || j->timed_out || m->jumped)
            j->murky = true;
        job_ask(m, j);
    }
    if (j->timeout != CORE_NONE && j->started_last + j->timeout <= m->now &&
        !j->timed_out) {
        j->timed_out = true;
        j->asked_step = m->step;
        if (j->state == MODEL_RUNNING)
            job_ask(m, j);
        else
            j->murky = true;
    }
}

static void job_time_delivering(const struct model *m, struct model_job *j)
{
    int64_t deadline = rules_job_deadline(m, j);

    if (deadline == CORE_NONE || deadline > m->now)
        return;
    j->inherited = deadline != j->deadline || m->jumped;
    j->deadline_hit = true;
}

/* Its lease is over: an open FETCH of the session ends, as if unblocked; or it
 * may, while what it holds has not been come to. */
static void end_fetch(struct model *m, int session, bool certain)
{
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        struct model_client *c = &m->clients[i];

        if (c->used && c->session == session &&
            c->request.kind == REQUEST_FETCH) {
            c->request.unblocked |= certain;
            c->request.cut_short = true;
            c->request.until = min_i64(c->request.until, m->now);
        }
    }
}

/* Has the session's silence cost the job this attempt? */
static void job_time_lease(struct model *m, struct model_eyes *eyes,
                           struct model_job *j)
{
    const struct model_session *s = &m->sessions[j->session];
    int64_t hi = max_i64(s->alive, s->dispatched) + m->limits.lease_ms;

    if (m->now < max_i64(s->lease_lo, j->lease_from + m->limits.lease_ms))
        return;
    /* A report or a farewell explains the end, too. */
    /* Just then it may have been handed another job, which renews it. */
    if (m->now <= hi && (j->id == m->reported || j->session == m->leaving))
        return;
    if ((m->now <= hi || m->behind) && job_runs_on(m, eyes, j)) {
        if (m->now >= hi && m->behind)
            end_fetch(m, j->session, false);
        return;
    }
    end_fetch(m, j->session, true);
    j->body = BODY_LOST;
    ends_attempt(m, eyes, j);
    j->session = -1;
}

void rules_group_time(struct model *m, int i)
{
    struct model_group *g = &m->groups[i];
    int64_t deadline = rules_group_deadline(m, i);

    if (g->deadline_hit || deadline == CORE_NONE || deadline > m->now)
        return;
    g->deadline_hit = true;
    g->hit_step = m->step;
    g->inherited = deadline != g->deadline || g->cancelled || m->jumped;
    if (g->cancelled && !g->outside)
        g->murky = true;
    g->cancelled = true;
}

/* A session in the window of its grace: did the core give it up? */
static void session_time(struct model *m, struct model_eyes *eyes, int i)
{
    struct model_session *s = &m->sessions[i];
    bool gone = m->now >= s->gone_hi;

    if (s->ending != BODY_NONE) {
        rules_session_ending(m, eyes, i);
        return;
    }
    if (!rules_session_holds(m, i) && s->client == 0 && s->grace_over) {
        rules_session_free(m, i);
        return;
    }
    if (m->now < s->gone_lo || s->grace_over)
        return;
    for (int k = 0; k < m->ngroups && !gone; k++) {
        struct model_group *g = &m->groups[k];
        struct group_view v;

        if (!rules_group_live(g) || g->session != i || g->cancelled)
            continue;
        v = rules_group_look(m, eyes, g);
        gone = !v.found || str_eq(v.reason, STR("owner-lost"));
    }
    if (!gone)
        return;
    /* what it fetched waits for the end of the lease */
    if (session_end(m, eyes, i, BODY_NONE, true))
        s->grace_over = true;
}

/* That a delay is over is not recorded: after a start it is found out anew. */
static void delays_again(struct model *m, struct model_eyes *eyes)
{
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (j->used && j->state == MODEL_QUEUED && j->delay_lo <= m->now &&
            rules_job_look(m, eyes, j).state == VIEW_DELAYED)
            j->state = MODEL_DELAYED;
    }
}

void rules_time(struct model *m, struct model_eyes *eyes)
{
    if (m->jumped && m->behind)
        delays_again(m, eyes);
    for (int i = 0; i < m->ngroups; i++)
        if (rules_group_live(&m->groups[i]))
            rules_group_time(m, i);
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (!rules_job_live(j))
            continue;
        if (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED)
            job_time_queued(m, eyes, j);
        else if (j->state == MODEL_DELIVERING)
            job_time_delivering(m, j);
        else
            job_time_running(m, eyes, j);
    }
    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].used)
            session_time(m, eyes, i);
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (j->used && j->session >= 0 &&
            (j->state == MODEL_RUNNING || j->state == MODEL_CANCELLING))
            job_time_lease(m, eyes, j);
    }
}

/* ---------------------------------------------------------------- settle */

static bool settle_group_cancel(struct model *m, struct model_eyes *eyes,
                                struct model_group *g)
{
    const struct model_job *job = g->parent_is_job ? &m->jobs[g->parent] : NULL;
    bool due = job ? (job->cancelled && !job->kept_back) || job->deadline_hit
                   : g->parent >= 0 && m->groups[g->parent].cancelled;
    bool may = job && job->asked_step >= m->since;
    struct group_view v;

    if (g->outside || (g->cancelled && !due))
        return false;
    if (due && !job && m->groups[g->parent].murky) {
        /* it may have ended before, and been what its parent waited for */
        v = rules_group_look(m, eyes, g);
        due = v.reason.p || !v.ended_state;
    }
    if (!due && !may &&
        !(g->closed && g->succeed > g->ok + rules_group_live_members(
                                                m, (int)(g - m->groups))))
        return false;
    if (!due) {
        v = rules_group_look(m, eyes, g);
        if (!v.reason.p)
            return false;
        if (!may && m->early)
            return false; /* the event may explain it */
        if (!may) {       /* SUCCEED is out of reach: an early end is allowed */
            g->cancelled = true;
            return true;
        }
    }
    rules_group_cancel(m, g, NULL);
    return true;
}

/* It was handed out in the very step of its cancel, just before that. */
static bool job_started_before(struct model *m, struct model_eyes *eyes,
                               const struct model_job *j)
{
    struct job_view v;

    if (j->cancelled_step < m->since)
        return false;
    v = rules_job_look(m, eyes, j);
    return v.found && v.state == VIEW_CANCELLING &&
           v.attempt == (int64_t)j->attempt + 1;
}

static bool settle_job(struct model *m, struct model_eyes *eyes,
                       struct model_job *j)
{
    bool queued = j->state == MODEL_QUEUED || j->state == MODEL_DELAYED;

    if (j->group >= 0 && m->groups[j->group].cancelled && !j->cancelled) {
        rules_job_cancel(m, j, NULL);
        if (!queued)
            return true;
    }
    if (j->state == MODEL_DELIVERING)
        return ends_delivery(m, eyes, j);
    /* Neither is a level: it may be opened again, or crash, before that comes
     * to this one. */
    if (queued && !j->cancelled &&
        (j->purging || m->queues[j->queue].closed_now) &&
        !rules_job_unreached(m, eyes, j))
        rules_job_cancel(m, j, j->purging ? "purged" : "queue closed");
    if (queued && j->cancelled) {
        if (job_started_before(m, eyes, j) || rules_job_unreached(m, eyes, j))
            return false;
        /* one that has just come may be late as well */
        j->deadline_hit |= rules_job_deadline(m, j) != CORE_NONE &&
                           rules_job_deadline(m, j) <= m->now;
        ends_queued(m, eyes, j,
                    TO_CANCELLED | (j->deadline_hit ? (unsigned)TO_FAILED : 0));
        return true;
    }
    if (j->state == MODEL_JOINING && !rules_job_has_groups(m, j)) {
        ends_finish(m, eyes, j);
        return true;
    }
    if (j->state == MODEL_RUNNING && j->group_failed && !j->murky) {
        struct job_view v = rules_job_look(m, eyes, j);

        if (v.state != VIEW_CANCELLING)
            return false;
        j->murky = true;
        job_ask(m, j);
        return true;
    }
    return false;
}

/* `patient`: what else happens in this step may explain how it ended. */
static bool settle_group_end(struct model *m, struct model_eyes *eyes,
                             struct model_group *g, bool patient)
{
    struct group_view v;

    if (!g->closed && !g->cancelled)
        return false;
    if (rules_group_live_members(m, (int)(g - m->groups)) > 0)
        return false;
    v = rules_group_look(m, eyes, g);
    if (!v.found)
        violation("group %llx was forgotten as it ended",
                  (unsigned long long)g->id);
    if (!v.ended_state) {
        if (!m->behind)
            violation(
                "group %llx takes no members, has none, and has not ended",
                (unsigned long long)g->id);
        return false;
    }
    if (patient && !ends_group_fits(m, g, &v))
        return false;
    ends_group(m, g, &v);
    return true;
}

/* What a failed collect group counts for is left to the core. */
static bool settle_murky(struct model *m, struct model_eyes *eyes,
                         struct model_group *g)
{
    struct group_view v;

    if (!g->murky || g->cancelled || m->early)
        return false;
    v = rules_group_look(m, eyes, g);
    g->cancelled = v.reason.p || v.ended_state;
    return g->cancelled;
}

bool rules_settle(struct model *m, struct model_eyes *eyes)
{
    bool changed, ever = false;

    do {
        changed = false;
        for (int i = 0; i < m->ngroups; i++)
            if (rules_group_live(&m->groups[i]))
                changed |= settle_group_cancel(m, eyes, &m->groups[i]);
        for (int i = 0; i < m->njobs; i++)
            if (rules_job_live(&m->jobs[i]))
                changed |= settle_job(m, eyes, &m->jobs[i]);
        for (int i = 0; i < m->ngroups; i++)
            if (rules_group_live(&m->groups[i]))
                changed |= settle_group_end(m, eyes, &m->groups[i], true);
        for (int i = 0; i < m->ngroups && !changed; i++)
            if (rules_group_live(&m->groups[i]))
                changed = settle_murky(m, eyes, &m->groups[i]) ||
                          settle_group_end(m, eyes, &m->groups[i], m->early);
        for (int i = 0; i < m->njobs && !changed && m->stumped; i++)
            if (m->jobs[i].used && m->jobs[i].state == MODEL_DELIVERING)
                changed = ends_circle(m, eyes, &m->jobs[i]);
        ever |= changed;
    } while (changed);
    return ever;
}
