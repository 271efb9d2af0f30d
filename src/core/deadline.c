/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deadline - when jobs and groups must have ended: inherited, and moved.
 *
 * What a scope inherits is looked up where it is needed and kept nowhere, so a
 * deadline that is moved is moved for everything below it at once; a tree is
 * not deep. Each deadline has one timer, that of the scope it was given to.
 */
#include "core/deadline.h"

#include "core/attempt.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/live.h"
#include "core/options.h"
#include "core/queue.h"

int64_t deadline_earlier(int64_t a, int64_t b)
{
    if (a == CORE_NONE || b == CORE_NONE)
        return a == CORE_NONE ? b : a;
    return min_i64(a, b);
}

int64_t deadline_of_group(const struct group *g)
{
    int64_t at = CORE_NONE;

    while (g) {
        at = deadline_earlier(at, g->deadline_ms);
        if (g->parent_job) {
            const struct job *j = g->parent_job;

            at = deadline_earlier(at, j->options->deadline_ms);
            if (attempt_shielded(j))
                return at;
            g = j->group;
        } else {
            g = g->parent;
        }
    }
    return at;
}

int64_t deadline_of_job(const struct job *j)
{
    int64_t own = j->options->deadline_ms;

    return attempt_shielded(j) || PLANTED(DEADLINE_NOT_INHERITED)
               ? own
               : deadline_earlier(own, deadline_of_group(j->group));
}

int64_t deadline_remaining(const struct core *c, const struct job *j)
{
    int64_t at = deadline_of_job(j);

    if (j->options->timeout_ms != CORE_NONE)
        at =
            deadline_earlier(at, j->u.run->started_ms + j->options->timeout_ms);
    return at == CORE_NONE ? CORE_NONE : max_i64(0, at - c->now_ms);
}

void deadline_reach(struct core *c, struct group *g)
{
    while (g && g->id) {
        struct job *j = g->parent_job;
        struct group *above = j ? j->group : g->parent;

        if (timer_due(c, &g->timer))
            group_timer(c, g);
        if (j && timer_due(c, &j->u.run->timer))
            attempt_timer(c, j->u.run);
        g = above;
    }
}

/* ------------------------------------------------------------------- apply */

static bool time_ok(int64_t ms)
{
    return ms == CORE_UNSET || ms >= CORE_NONE;
}

static void change(int64_t *to, int64_t ms)
{
    if (ms != CORE_UNSET)
        *to = ms;
}

static const char *apply_job(struct core *c, struct job *j,
                             const struct record *r)
{
    const struct record_times *t = &r->u.times;
    struct options *o;

    if (j->state == JOB_FINISHED)
        return "times of a job that has ended";
    if (t->not_before_ms != CORE_UNSET &&
        (j->attempt > 0 || !job_not_started(j)))
        return "delay of a job that has started";
    o = options_own(c, j);
    change(&o->timeout_ms, t->timeout_ms);
    change(&o->deadline_ms, t->deadline_ms);
    change(&o->expires_ms, t->expires_ms);
    if (t->not_before_ms != CORE_UNSET)
        job_delay(c, j, t->not_before_ms, r->at_ms);
    if (PLANTED(MOVED_LATE))
        return NULL;
    if (job_not_started(j))
        job_arm_queued(c, j);
    else
        attempt_arm(c, j);
    return NULL;
}

const char *deadline_apply(struct core *c, const struct record *r)
{
    const struct record_times *t = &r->u.times;
    const char *wrong;
    struct group *g;
    struct job *j;

    if (!time_ok(t->timeout_ms) || !time_ok(t->deadline_ms) ||
        !time_ok(t->expires_ms) || !time_ok(t->not_before_ms))
        return "impossible times";
    if (r->type == RECORD_RESCHEDULE) {
        j = find_job(c, (struct job_id){r->id});
        if (!j)
            return NULL; /* forgotten, as in job_apply */
        live_job(c, j, -1);
        wrong = apply_job(c, j, r);
        live_job(c, j, +1);
        return wrong;
    }
    g = find_group(c, (struct group_id){r->id});
    if (!g || g->unknown) /* forgotten, or its image comes */
        return NULL;
    if (g == &c->root || g->ended)
        return "deadline of a group that cannot have one";
    change(&g->deadline_ms, t->deadline_ms);
    group_arm(c, g);
    return NULL;
}

/* --------------------------------------------------------------- decisions */

/* Has it begun to end because its time is up? */
static bool expiring(const struct core *c, const struct job *j)
{
    const struct run *run = j->u.run;

    if (job_not_started(j))
        return job_overdue(c, j);
    if (j->state == JOB_DELIVERING) /* its body is done */
        return job_past_deadline(c, j);
    return run->asked == CAUSE_TIMEOUT || run->asked == CAUSE_DEADLINE ||
           (run->asked == CAUSE_NONE &&
            (job_past_deadline(c, j) || attempt_past_timeout(c, j)));
}

/* Who has lost the answer asks again: it is OK as long as the times are what
 * was asked for, also when they have done their work by now. */
static bool is_already(int64_t asked_ms, int64_t is_ms)
{
    return asked_ms == CORE_UNSET || asked_ms == is_ms;
}

static bool job_is_moved(const struct core_event *ev, const struct job *j,
                         int64_t expires_ms)
{
    return is_already(ev->u.reschedule.timeout_ms, j->options->timeout_ms) &&
           is_already(ev->u.reschedule.deadline_ms, j->options->deadline_ms) &&
           is_already(expires_ms, j->options->expires_ms) &&
           is_already(ev->u.reschedule.at_ms,
                      j->extra ? j->extra->not_before_ms : CORE_NONE);
}

static bool job_may_move(struct core *c, const struct core_event *ev,
                         const struct job *j)
{
    bool queued = ev->u.reschedule.expires_ms != CORE_UNSET ||
                  ev->u.reschedule.at_ms != CORE_UNSET;

    if (j->state == JOB_FINISHED) {
        reply_error(c, ev->client, CORE_ERR_ENDED, "the job has ended");
        return false;
    }
    if (expiring(c, j)) {
        reply_error(c, ev->client, CORE_ERR_EXPIRED,
                    "the job's time is up, it is being stopped");
        return false;
    }
    if (queued && j->attempt > 0) {
        reply_error(c, ev->client, CORE_ERR_ENDED,
                    "the job has been started: EXPIRES and AT are of the time "
                    "before");
        return false;
    }
    return true;
}

static void move_job(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.reschedule.job);
    int64_t expires = ev->u.reschedule.expires_ms;

    if (!j)
        return;
    if (expires != CORE_UNSET && expires != CORE_NONE)
        expires += (int64_t)j->submitted_ms;
    if (job_is_moved(ev, j, expires)) {
        reply_ok(c, ev->client);
        return;
    }
    if (!job_may_move(c, ev, j))
        return;
    reply_ok(c, ev->client);
    core_record(c, &(struct record){
                       .type = RECORD_RESCHEDULE,
                       .at_ms = c->now_ms,
                       .id = j->node.hash,
                       .u.times = {.timeout_ms = ev->u.reschedule.timeout_ms,
                                   .deadline_ms = ev->u.reschedule.deadline_ms,
                                   .expires_ms = expires,
                                   .not_before_ms = ev->u.reschedule.at_ms}});
    if (!job_not_started(j)) {
        if (timer_due(c, &j->u.run->timer))
            attempt_timer(c, j->u.run); /* not before the next tick: now */
    } else if (j->extra && timer_due(c, &j->extra->timer)) {
        job_queued_timer(c, j->extra);
    } else {
        queue_wake(c, job_queue(j));
    }
}

static bool group_has_times(struct core *c, const struct core_event *ev,
                            const struct group *g)
{
    if (g == &c->root) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "RESCHEDULE: the root group has no deadline");
        return false;
    }
    if (ev->u.reschedule.expires_ms != CORE_UNSET ||
        ev->u.reschedule.at_ms != CORE_UNSET) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "RESCHEDULE: a group has TIMEOUT and DEADLINE alone");
        return false;
    }
    return true;
}

static bool group_may_move(struct core *c, const struct core_event *ev,
                           const struct group *g)
{
    if (g->ended) {
        reply_error(c, ev->client, CORE_ERR_ENDED, "the group has ended");
        return false;
    }
    if (g->cause == CAUSE_DEADLINE ||
        (g->cause == CAUSE_NONE && timer_due(c, &g->timer))) {
        reply_error(c, ev->client, CORE_ERR_EXPIRED,
                    "the group's deadline has passed, it is being stopped");
        return false;
    }
    return true;
}

static void move_group(struct core *c, const struct core_event *ev)
{
    struct group *g =
        find_group_or_reply(c, ev->client, ev->u.reschedule.group);
    int64_t timeout = ev->u.reschedule.timeout_ms;
    int64_t deadline = ev->u.reschedule.deadline_ms;

    if (!g || !group_has_times(c, ev, g))
        return;
    if (timeout != CORE_UNSET && timeout != CORE_NONE)
        timeout += g->opened_ms;
    if (deadline == CORE_UNSET)
        deadline = timeout;
    else if (timeout != CORE_UNSET)
        deadline = deadline_earlier(deadline, timeout);
    if (deadline == g->deadline_ms) {
        reply_ok(c, ev->client);
        return;
    }
    if (!group_may_move(c, ev, g))
        return;
    reply_ok(c, ev->client);
    core_record(c, &(struct record){.type = RECORD_GROUP_TIME,
                                    .at_ms = c->now_ms,
                                    .id = g->id,
                                    .u.times = {.timeout_ms = CORE_UNSET,
                                                .deadline_ms = deadline,
                                                .expires_ms = CORE_UNSET,
                                                .not_before_ms = CORE_UNSET}});
    if (timer_due(c, &g->timer))
        group_timer(c, g);
}

void deadline_reschedule(struct core *c, const struct core_event *ev)
{
    if (ev->u.reschedule.timeout_ms == CORE_UNSET &&
        ev->u.reschedule.deadline_ms == CORE_UNSET &&
        ev->u.reschedule.expires_ms == CORE_UNSET &&
        ev->u.reschedule.at_ms == CORE_UNSET)
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "RESCHEDULE: say what is to be moved: TIMEOUT, DEADLINE, "
                    "EXPIRES or AT");
    else if (ev->u.reschedule.is_job)
        move_job(c, ev);
    else
        move_group(c, ev);
}
