/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * times - RESCHEDULE and SHIELD in the model.
 */
#include "parts.h"

static bool has_started(const struct model_job *j)
{
    return j->attempt > 0;
}

static void set_if(int64_t *to, int64_t ms)
{
    if (ms != CORE_UNSET)
        *to = ms;
}

/* Codes that may refuse it, one bit each; `must`: one of them has to. */
static uint32_t job_errors(const struct model *m, const struct model_job *j,
                           const struct core_event *ev, bool *must)
{
    bool queued = ev->u.reschedule.expires_ms != CORE_UNSET ||
                  ev->u.reschedule.at_ms != CORE_UNSET;
    bool time_up = j->timed_out || j->deadline_hit;

    if (j->state == MODEL_ENDED) {
        *must = j->end_step < m->since;
        return 1u << CORE_ERR_ENDED;
    }
    /* what else stops it may have come first */
    *must = (time_up && !j->cancelled && !j->inherited && !j->murky) ||
            (queued && has_started(j));
    return (time_up || j->murky ? 1u << CORE_ERR_EXPIRED : 0) |
           (queued && has_started(j) ? 1u << CORE_ERR_ENDED : 0);
}

static void refused(uint32_t errors, bool must, const struct node *n)
{
    if (n->v.kind == VALUE_ERROR && !(errors & (1u << n->v.code)))
        violation("RESCHEDULE was refused with %s, allowed: %x",
                  error_code(n->v.code), errors);
    if (n->v.kind != VALUE_ERROR && must)
        violation("RESCHEDULE was accepted although %x refuse it", errors);
}

/* It may start then; it has not begun. */
static void job_delay(const struct model *m, struct model_job *j, int64_t at)
{
    if (at > m->now)
        j->state = MODEL_DELAYED;
    if (j->state == MODEL_DELAYED)
        j->delay_lo = j->delay_hi = at;
}

/* It is so already: OK, whatever that did, and nothing changes. */
static bool is_so(const struct node *n)
{
    if (n->v.kind == VALUE_ERROR)
        violation("RESCHEDULE to what is so already was refused with %s",
                  error_code(n->v.code));
    return true;
}

static bool job_is_so(const struct model_job *j, const struct core_event *ev,
                      int64_t expires, bool must, const struct node *n)
{
    int64_t timeout = ev->u.reschedule.timeout_ms;
    int64_t deadline = ev->u.reschedule.deadline_ms;

    if ((timeout != CORE_UNSET && timeout != j->timeout) ||
        (deadline != CORE_UNSET && deadline != j->deadline) ||
        (expires != CORE_UNSET && expires != j->expires_at))
        return false;
    /* The model does not know what the last start of a job was to be. */
    if (ev->u.reschedule.at_ms != CORE_UNSET)
        return must && n->v.kind != VALUE_ERROR;
    return is_so(n);
}

static void move_job(struct model *m, const struct core_event *ev,
                     const struct node *n)
{
    int i = model_job_find(m, ev->u.reschedule.job.n);
    struct model_job *j = i < 0 ? NULL : &m->jobs[i];
    int64_t expires = ev->u.reschedule.expires_ms;
    bool must;
    uint32_t errors;

    if (node_is_error(n, CORE_ERR_NOJOB)) {
        if (j && rules_job_live(j))
            violation("RESCHEDULE says NOJOB for a job that is alive");
        return;
    }
    if (!j)
        violation("RESCHEDULE of what never was was answered");
    if (expires != CORE_UNSET && expires != CORE_NONE)
        expires += j->submitted;
    errors = job_errors(m, j, ev, &must);
    if (job_is_so(j, ev, expires, must, n))
        return;
    refused(errors, must, n);
    if (n->v.kind == VALUE_ERROR)
        return;
    set_if(&j->timeout, ev->u.reschedule.timeout_ms);
    set_if(&j->deadline, ev->u.reschedule.deadline_ms);
    set_if(&j->expires_at, expires);
    if (ev->u.reschedule.at_ms != CORE_UNSET)
        job_delay(m, j, ev->u.reschedule.at_ms);
}

static void move_group(struct model *m, const struct core_event *ev,
                       const struct node *n)
{
    int i = model_group_find(m, ev->u.reschedule.group.n);
    struct model_group *g = i < 0 ? NULL : &m->groups[i];
    int64_t timeout = ev->u.reschedule.timeout_ms;
    int64_t deadline = ev->u.reschedule.deadline_ms;
    bool time_up;

    if (node_is_error(n, CORE_ERR_NOGROUP)) {
        if (g && !g->ended)
            violation("RESCHEDULE says NOGROUP for a group that is alive");
        return;
    }
    if (!g)
        violation("RESCHEDULE of what never was was answered");
    if (timeout != CORE_UNSET && timeout != CORE_NONE)
        timeout += g->opened;
    if (deadline == CORE_UNSET || deadline == CORE_NONE)
        deadline = timeout == CORE_UNSET ? deadline : timeout;
    else if (timeout != CORE_UNSET && timeout != CORE_NONE)
        deadline = min_i64(deadline, timeout);
    if (deadline == g->deadline) {
        (void)is_so(n);
        return;
    }
    time_up = g->deadline_hit && !g->ended;
    refused((g->ended ? 1u << CORE_ERR_ENDED : 0) |
                (time_up ? 1u << CORE_ERR_EXPIRED : 0),
            (g->ended && g->end_step < m->since) ||
                (!g->ended && time_up && !g->inherited && !g->outside &&
                 !g->murky && !g->fail_reached && !g->succeed_reached),
            n);
    if (n->v.kind == VALUE_ERROR)
        return;
    set_if(&g->deadline, deadline);
}

void times_move(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, const struct node *n)
{
    if (ev->u.reschedule.is_job)
        move_job(m, ev, n);
    else
        move_group(m, ev, n);
    rules_time(m, eyes); /* it acts at once */
}

void times_shield(struct model *m, struct model_job *j, bool current,
                  const struct core_event *ev, const struct node *n)
{
    int64_t ms = min_i64(ev->u.report.shield_ms, m->limits.shield_max_ms);

    if (!current) {
        if (!node_is_error(n, CORE_ERR_STALE) &&
            !(!j && node_is_error(n, CORE_ERR_NOJOB)))
            violation("a stale attempt may shield itself");
        return;
    }
    if (ev->kind == EVENT_UNSHIELD) {
        if (n->v.kind != VALUE_OK)
            violation("UNSHIELD was not answered OK");
        if (rules_job_shielded(j))
            rules_job_unshield(m, j);
        return;
    }
    if (j->state == MODEL_CANCELLING || j->kept_back) {
        if (!node_is_error(n, CORE_ERR_CANCELLED))
            violation("job %llx is to stop and shields itself",
                      (unsigned long long)j->id);
        return;
    }
    if (n->v.kind != VALUE_INT || node_int(n) != ms)
        violation("a shield of %lld ms was asked for, %lld are to be granted",
                  (long long)ev->u.report.shield_ms, (long long)ms);
    j->shield_until = ms > 0 ? m->now + ms : 0;
}
