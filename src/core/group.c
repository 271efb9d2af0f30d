/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group - scopes: members, policy, deadline, cancel, join.
 *
 * A group ends when it takes no more members (closed or cancelled) and none of
 * its members is left (asyncio.TaskGroup's exit rules). A group under a job is
 * awaited by the job in the same way.
 *
 * A cancel is a level: it is recorded once for the group, and then swept
 * through the members in slices, so that a group of a million does not stop
 * the loop. What has not been swept yet cannot start either, nor can what is
 * below it (group_cancelled).
 */
#include "core/group.h"

#include "core/arrivals.h"
#include "core/attempt.h"
#include "core/await.h"
#include "core/below.h"
#include "core/deadline.h"
#include "core/errors.h"
#include "core/full.h"
#include "core/ids.h"
#include "core/image_apply.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/key.h"
#include "core/line.h"
#include "core/live.h"
#include "core/members.h"
#include "core/once.h"
#include "core/scope.h"
#include "core/segment.h"
#include "core/show.h"
#include "core/submit.h"
#include "core/waiter.h"
#include "core/worker.h"

void group_init(struct group *g)
{
    *g = (struct group){
        .fail = 0,
        .width = CORE_NONE,
        .deadline_ms = CORE_NONE,
        .ended_ms = CORE_NONE,
        .timer.kind = TIMER_GROUP,
    };
    list_init(&g->link);
    list_init(&g->sibling);
    list_init(&g->groups);
    list_init(&g->owned);
    list_init(&g->finished);
    list_init(&g->waiters);
    list_init(&g->followers);
    list_init(&g->lanes);
    list_init(&g->sweep);
    list_init(&g->spent);
    list_init(&g->imaging);
}

/* An ended group has let go of its parent, but knows its id. */
struct group *group_above(struct core *c, const struct group *g)
{
    struct group *above;

    if (g->parent_attempt) {
        struct job *j = find_job(c, (struct job_id){g->parent_id});

        above = j ? j->group : NULL;
    } else {
        above = find_group(c, (struct group_id){g->parent_id});
    }
    return above ? above : &c->root;
}

void group_release(struct core *c, struct group *g)
{
    ASSERT(list_empty(&g->waiters) && list_empty(&g->followers));
    ASSERT(list_empty(&g->finished));
    list_foreach_safe (it, &g->lanes) {
        struct lane *lane = list_entry(it, struct lane, link);

        ASSERT(list_empty(&lane->jobs));
        lane_close(lane);
        list_remove(&lane->of_queue);
        mem_free(lane);
    }
    timer_stop(c, &g->timer);
    key_release(c, g->key);
    id_vector_clear(c, &g->members);
    id_vector_clear(c, &g->done);
    mem_free(g->name);
    mem_free(g->reason);
}

/* How an ended group counts in its parent. One that collects its failures is
 * neither a failure, nor a success that SUCCEED could count. */
static enum outcome counted_as(const struct group *g, enum outcome outcome)
{
    if (outcome == OUTCOME_FAILED && g->fail == 0 && g->succeed == 0)
        return OUTCOME_CANCELLED;
    return outcome;
}

void group_root_forgets(struct group *root, enum outcome counted)
{
    root->members_total--;
    root->by_outcome[counted]--;
}

void group_root_knows(struct core *c, const struct group *g, int by)
{
    c->root.members_total += by;
    c->root.by_outcome[counted_as(g, (enum outcome)g->outcome)] += by;
}

static void group_free(struct core *c, struct group *g)
{
    struct group *parent = g->parent_attempt
                               ? NULL
                               : find_group(c, (struct group_id){g->parent_id});

    await_group_forgotten(c, g);
    if (parent == &c->root)
        group_root_knows(c, g, -1);
    below_forgotten(c, g);
    list_remove(&g->link);
    list_remove(&g->sweep);
    list_remove(&g->spent);
    list_remove(&g->imaging);
    c->nended--;
    map_remove(&c->groups, &g->node);
    segment_drop(c, g->segment);
    live_group(c, g, -1);
    account(c, -(int64_t)sizeof(*g));
    group_release(c, g);
    mem_free(g);
    if (parent)
        member_forgotten(c, parent);
}

/* ------------------------------------------------------------------- apply */

void group_arm(struct core *c, struct group *g)
{
    if (g->ended) {
        timer_stop(c, &g->timer);
        g->timer.kind = TIMER_FORGET;
        timer_set(c, &g->timer, g->ended_ms + g->keep_ms);
    } else if (g->cause == CAUSE_NONE && g->deadline_ms != CORE_NONE)
        timer_set(c, &g->timer, g->deadline_ms);
    else
        timer_stop(c, &g->timer);
}

struct key_scope group_key_scope(const struct record_group *rg)
{
    struct scope_ref parent = {.is_job = rg->parent_is_job};

    if (parent.is_job)
        parent.token = (struct token){.job = {rg->parent},
                                      .attempt = (uint32_t)rg->parent_attempt};
    else
        parent.group.n = rg->parent;
    return key_scope_of_parent(&parent);
}

bool group_possible(uint64_t id, const struct record_group *rg)
{
    return id && !(id & ID_GROUP) && rg->fail >= 0 && rg->succeed >= 0 &&
           rg->width >= -1 && rg->width != 0 && rg->keep_ms >= 0 &&
           rg->deadline_ms >= -1;
}

struct group *group_make(struct core *c, uint64_t id)
{
    struct group *g = mem_alloc(sizeof(*g));

    group_init(g);
    account(c, sizeof(*g));
    g->id = g->node.hash = id;
    map_insert(&c->groups, &g->node);
    list_push_back(&c->all_groups, &g->link);
    c->ngroups++;
    segment_hold(c, &g->segment);
    live_group(c, g, +1);
    if (id >= c->next_id)
        c->next_id = id + 1;
    return g;
}

void group_fill(struct group *g, const struct record_group *rg)
{
    g->parent_id = rg->parent;
    g->parent_attempt = rg->parent_is_job ? (uint32_t)rg->parent_attempt : 0;
    g->fail = rg->fail;
    g->succeed = rg->succeed;
    g->width = rg->width;
    g->deadline_ms = rg->deadline_ms;
    g->keep_ms = rg->keep_ms;
    if (rg->name.len)
        g->name = mem_dup_text(rg->name.p, rg->name.len);
}

static const char *apply_open(struct core *c, const struct record *r)
{
    const struct record_group *rg = &r->u.group;
    struct group *parent = NULL, *g;
    struct job *parent_job = NULL;

    if (!group_possible(r->id, rg) || (rg->of_body && !rg->parent_is_job) ||
        !once_ok(&rg->once))
        return "group with impossible options";
    if (rg->parent_is_job) {
        /* If it is not known its image comes, or nobody needs any of this. */
        parent_job = find_job(c, (struct job_id){rg->parent});
        c->imaged = c->imaged || !parent_job;
        if (parent_job && (!job_runs(parent_job) ||
                           parent_job->attempt != rg->parent_attempt))
            return "group under a job that does not run";
        if (parent_job && rg->of_body && parent_job->u.run->body)
            return "second group of a body";
    } else {
        parent = image_group(c, rg->parent);
        if (parent->ended)
            return "group in a group that has ended";
    }
    if (find_group(c, (struct group_id){r->id}))
        return "group opened twice";
    if (PLANTED(CHILD_OUTLIVES) && rg->parent_attempt > 1) {
        parent_job = NULL;
        parent = &c->root;
    }
    if (rg->key.len && !key_is_free(c, group_key_scope(rg), rg->key))
        return "key of another group";
    once_apply(c, &rg->once, r->id | ID_GROUP);
    g = group_make(c, r->id);
    live_group(c, g, -1);
    group_fill(g, rg);
    g->parent = parent;
    g->parent_job = parent_job;
    g->opened_ms = r->at_ms;
    if (rg->key.len)
        g->key = key_bind(c, group_key_scope(rg), rg->key, r->id);
    live_group(c, g, +1);
    if (rg->session) {
        g->owner = session_get(c, rg->session);
        list_push_back(&g->owner->groups, &g->owned);
    }
    if (parent_job) {
        g->depth = parent_job->group->depth + 2;
        list_push_back(&parent_job->u.run->groups, &g->sibling);
        parent_job->u.run->live_groups++;
        below_add(c, parent_job, r->id);
        if (rg->of_body)
            parent_job->u.run->body = r->id;
    } else if (parent) {
        g->depth = parent->depth + 1;
        list_push_back(&parent->groups, &g->sibling);
        parent->live++;
        parent->running++;
        parent->members_total++;
        if (parent->id)
            id_vector_push(c, &parent->members, r->id | ID_GROUP);
    }
    group_arm(c, g);
    return NULL;
}

static const char *apply_cancel(struct core *c, struct group *g,
                                const struct record *r)
{
    if (g->cause != CAUSE_NONE || r->u.ask.cause == CAUSE_NONE ||
        r->u.ask.cause >= CAUSES_COUNT)
        return "impossible cancel of a group";
    g->cause = r->u.ask.cause;
    g->cancel_grace_ms = r->u.ask.grace_ms;
    live_group(c, g, -1);
    g->reason = mem_dup_text(r->u.ask.reason.p, r->u.ask.reason.len);
    live_group(c, g, +1);
    g->sweep_next = 0;
    list_remove(&g->sweep);
    list_push_back(&c->sweeps, &g->sweep);
    group_arm(c, g);
    return NULL;
}

static const char *apply_close(struct group *g, const struct record *r)
{
    int64_t fail = r->u.policy.fail, succeed = r->u.policy.succeed;

    if (fail < 0 || succeed < 0)
        return "group closed with an impossible policy";
    g->closed = true;
    if (fail > 0)
        g->fail = fail - 1;
    if (succeed > 0)
        g->succeed = succeed - 1;
    return NULL;
}

static void tell_parent_job(struct run *run, enum outcome outcome, bool fails,
                            bool errors)
{
    run->errors_below = run->errors_below || errors;
    run->child_failed =
        run->child_failed || (outcome == OUTCOME_FAILED && fails);
    run->child_cancelled = run->child_cancelled || outcome == OUTCOME_CANCELLED;
}

/* A collect group never fails its parent. */
static bool fails_parent(const struct group *g)
{
    return g->fail > 0 || g->succeed > 0;
}

static bool failed_inside(const struct group *g)
{
    return g->failed_inside || g->by_outcome[OUTCOME_FAILED] > 0;
}

/* As with jobs: it counts in its parent even when it becomes known later. */
static const char *count_unknown_end(struct core *c, const struct record *r)
{
    const struct record_group_end *e = &r->u.group_end;
    struct group *parent = NULL;
    struct job *j = NULL;

    if (e->counted_as == OUTCOME_NONE || e->counted_as >= OUTCOMES_COUNT)
        return NULL;
    if (e->parent_is_job)
        j = find_job(c, (struct job_id){e->parent});
    else if (e->parent)
        parent = find_group(c, (struct group_id){e->parent});
    if (parent) {
        parent->by_outcome[e->counted_as]++;
        parent->failed_inside = parent->failed_inside || e->failed_inside;
        parent->errors_below = parent->errors_below || e->errors_below;
        id_vector_push(c, &parent->done, r->id | ID_GROUP);
    }
    if (j && job_runs(j) && j->attempt == e->parent_attempt)
        tell_parent_job(j->u.run, (enum outcome)e->outcome, e->fails_parent,
                        e->errors_below);
    return NULL;
}

static const char *apply_end(struct core *c, struct group *g,
                             const struct record *r)
{
    enum outcome outcome = (enum outcome)r->u.group_end.outcome;

    if (g->live != 0 || outcome == OUTCOME_NONE || outcome >= OUTCOMES_COUNT)
        return "impossible end of a group";
    g->ended = true;
    g->closed = true;
    g->outcome = (uint8_t)outcome;
    g->ended_ms = r->at_ms;
    list_remove(&g->sweep);
    list_remove(&g->sibling);
    list_remove(&g->owned);
    g->owner = NULL;
    if (g->parent_job) {
        g->parent_job->u.run->live_groups--;
        tell_parent_job(g->parent_job->u.run, outcome, fails_parent(g),
                        errors_in_group(g));
    } else if (g->parent) {
        struct group *parent = g->parent;

        parent->live--;
        parent->running--;
        parent->failed_inside = parent->failed_inside || failed_inside(g);
        parent->errors_below = parent->errors_below || errors_in_group(g);
        parent->by_outcome[counted_as(g, outcome)]++;
        if (parent->id)
            id_vector_push(c, &parent->done, g->id | ID_GROUP);
    }
    g->parent = NULL;
    g->parent_job = NULL;
    list_remove(&g->link);
    list_push_back(&c->ended_groups, &g->link);
    c->ngroups--;
    c->nended++;
    group_arm(c, g);
    return NULL;
}

static const char *apply_read(struct core *c, struct group *g)
{
    if (g->read)
        return "group read to its end twice";
    g->read = true;
    list_push_back(&c->spent, &g->spent);
    return NULL;
}

/* It goes to the end of the ended ones, for group_evict. */
static void forget_begin(struct core *c, struct group *g)
{
    list_remove(&g->sweep);
    list_push_back(&c->forgetting, &g->sweep);
    list_remove(&g->link);
    list_push_back(&c->ended_groups, &g->link);
}

static const char *apply_forget(struct core *c, struct group *g)
{
    if (!c->started) {
        if (!PLANTED(GROUP_AGAIN))
            group_forget_now(c, g);
        return NULL;
    }
    timer_stop(c, &g->timer);
    forget_begin(c, g);
    return NULL;
}

static bool is_of_ended(const struct record *r)
{
    return r->type == RECORD_GROUP_READ || r->type == RECORD_GROUP_FORGET;
}

const char *group_apply(struct core *c, const struct record *r)
{
    struct group *g;

    if (r->type == RECORD_GROUP)
        return apply_open(c, r);
    g = find_group(c, (struct group_id){r->id});
    /* Forgotten, its oldest segment removed; or its image comes. */
    if (!g || g->unknown)
        return r->type == RECORD_GROUP_END ? count_unknown_end(c, r) : NULL;
    if (g == &c->root || g->ended != is_of_ended(r))
        return "change of a group that cannot change";
    switch (r->type) {
    case RECORD_GROUP_CLOSE:
        return apply_close(g, r);
    case RECORD_GROUP_CANCEL:
        return apply_cancel(c, g, r);
    case RECORD_GROUP_END:
        return apply_end(c, g, r);
    case RECORD_GROUP_READ:
        return apply_read(c, g);
    case RECORD_GROUP_FORGET:
        return apply_forget(c, g);
    case RECORD_GROUP:
    case RECORD_QUEUE:
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
    case RECORD_SESSION:
    case RECORD_JOB_IMAGE:
    case RECORD_GROUP_IMAGE:
    case RECORD_GROUP_IDS:
    case RECORD_JOB_ERRORS:
    case RECORD_JOB:
    case RECORD_START:
    case RECORD_ASK:
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_READY:
    case RECORD_SHIELD:
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
    case RECORD_CLEAR:
    case RECORD_DELIVER:
        break;
    }
    BUG("not a record of a group");
}

/* ------------------------------------------------------------------- width */

void group_active(struct core *c, struct group *g, int64_t by)
{
    for (; g; g = g->parent) {
        bool was_full = g->width != CORE_NONE && g->active >= g->width;

        g->active += by;
        if (was_full && g->active < g->width)
            list_foreach (it, &g->lanes)
                lane_open(c, list_entry(it, struct lane, link));
    }
}

/* ------------------------------------------------------------------ cancel */

const char *group_cancelled(const struct group *g)
{
    while (g) {
        if (g->cause != CAUSE_NONE)
            return g->reason;
        if (g->parent_job) {
            const char *reason = attempt_stops_groups(g->parent_job);

            if (reason || attempt_shielded(g->parent_job))
                return reason;
            g = g->parent_job->group;
        } else {
            g = g->parent;
        }
    }
    return NULL;
}

/* From the top: what is below a group or job gets its reason. */
void group_reach(struct core *c, struct group *g)
{
    if (g->cause != CAUSE_NONE || !group_cancelled(g))
        return;
    if (g->parent_job) {
        struct job *j = g->parent_job;
        struct run *run = j->u.run;
        const char *reason;

        group_reach(c, j->group);
        if (j->group->cause != CAUSE_NONE)
            job_cancel(c, j, str_from(j->group->reason),
                       j->group->cancel_grace_ms);
        reason = attempt_stops_groups(j);
        if (reason)
            group_cancel(c, g, CAUSE_CANCEL, str_from(reason),
                         run->asked == CAUSE_NONE ? CORE_UNSET : run->grace_ms);
    } else if (g->parent) {
        group_reach(c, g->parent);
        if (g->parent->cause != CAUSE_NONE)
            group_cancel(c, g, CAUSE_CANCEL, str_from(g->parent->reason),
                         g->parent->cancel_grace_ms);
    }
}

/* --------------------------------------------------------------- decisions */

static void record_simple(struct core *c, const struct group *g,
                          enum record_type type)
{
    core_record(
        c, &(struct record){.type = type, .at_ms = c->now_ms, .id = g->id});
}

static bool full_of_members(const struct core *c, const struct group *g)
{
    return g->id &&
           (int64_t)(g->members.len - g->forgotten) >= c->limits.members_max;
}

/* Groups under a job are closed when its body is done, if not all at once. */
static bool is_closed(const struct group *g)
{
    return g->closed || (g->parent_job && g->parent_job->state == JOB_JOINING);
}

bool group_takes(const struct core *c, const struct group *g)
{
    return !is_closed(g) && !group_cancelled(g) && !full_of_members(c, g);
}

bool group_accepts(struct core *c, struct client_id client,
                   const struct group *g)
{
    const char *reason = group_cancelled(g);

    if (reason) {
        reply_error(c, client, CORE_ERR_CANCELLED,
                    g->cause != CAUSE_NONE
                        ? "the group is cancelled (%s) and takes no more "
                          "members"
                        : "a scope above it is cancelled (%s)",
                    reason);
        return false;
    }
    if (is_closed(g)) {
        reply_error(c, client, CORE_ERR_CLOSED,
                    "the group is closed and takes no more members");
        return false;
    }
    if (full_of_members(c, g)) {
        reply_error(c, client, CORE_ERR_LIMIT,
                    "the group has %lld members (members-max)",
                    (long long)c->limits.members_max);
        return false;
    }
    return true;
}

static void show_and_free(struct core *c, struct waiter *w,
                          const struct group *g)
{
    show_group(c, reply_begin(c, w->client->id), g);
    reply_end(c);
    waiter_free(c, w);
}

static enum outcome decide_outcome(const struct group *g)
{
    bool outside = g->cause == CAUSE_CANCEL;

    if (g->cause == CAUSE_DEADLINE || g->cause == CAUSE_UNREACHABLE ||
        g->cause == CAUSE_FAIL)
        return OUTCOME_FAILED;
    if (g->cause == CAUSE_SUCCEED)
        return OUTCOME_OK;
    if (g->fail > 0 && g->by_outcome[OUTCOME_FAILED] >= g->fail)
        return OUTCOME_FAILED;
    if (g->succeed > 0 && g->by_outcome[OUTCOME_OK] >= g->succeed)
        return OUTCOME_OK;
    if (outside)
        return OUTCOME_CANCELLED;
    return g->succeed > 0 ? OUTCOME_FAILED : OUTCOME_OK;
}

static enum cause policy_cause(const struct group *g)
{
    if (g->fail > 0 && g->by_outcome[OUTCOME_FAILED] >= g->fail)
        return CAUSE_FAIL;
    if (g->succeed == 0)
        return CAUSE_NONE;
    if (g->by_outcome[OUTCOME_OK] >= g->succeed)
        return CAUSE_SUCCEED;
    if (g->closed && g->by_outcome[OUTCOME_OK] + g->live < g->succeed)
        return CAUSE_UNREACHABLE;
    return CAUSE_NONE;
}

static struct str policy_reason(enum cause cause)
{
    switch (cause) {
    case CAUSE_FAIL:
        return STR("a member failed");
    case CAUSE_SUCCEED:
        return STR("enough members succeeded");
    case CAUSE_UNREACHABLE:
        return STR("too few members can still succeed");
    case CAUSE_NONE:
    case CAUSE_CANCEL:
    case CAUSE_TIMEOUT:
    case CAUSE_DEADLINE:
    case CAUSES_COUNT:
        break;
    }
    BUG("not a policy");
}

static void group_ended(struct core *c, struct group *g)
{
    list_foreach_safe (it, &g->waiters) {
        struct waiter *w = list_entry(it, struct waiter, link);

        if (w->kind == WAIT_GROUP)
            show_and_free(c, w, g);
    }
    arrivals_group_ended(c, g);
    await_group_ended(c, g);
    members_notify_next(c, g);
}

static void record_end(struct core *c, const struct group *g)
{
    enum outcome outcome = decide_outcome(g);

    core_record(c, &(struct record){
                       .type = RECORD_GROUP_END,
                       .at_ms = c->now_ms,
                       .id = g->id,
                       .u.group_end = {
                           .outcome = (uint8_t)outcome,
                           .counted_as = (uint8_t)counted_as(g, outcome),
                           .parent_is_job = g->parent_attempt > 0,
                           .parent = g->parent_id,
                           .parent_attempt = g->parent_attempt,
                           .failed_inside = failed_inside(g),
                           .errors_below = g->errors_below ||
                                           outcome == OUTCOME_FAILED ||
                                           g->by_outcome[OUTCOME_FAILED] > 0,
                           .fails_parent = fails_parent(g)}});
}

void group_settle(struct core *c, struct group *g)
{
    while (g && g->id && !g->ended) {
        struct group *parent = g->parent;
        struct job *parent_job = g->parent_job;
        enum cause cause =
            g->cause == CAUSE_NONE ? policy_cause(g) : CAUSE_NONE;

        if (cause != CAUSE_NONE) {
            /* Settles again by itself. */
            group_cancel(c, g, cause, policy_reason(cause), CORE_UNSET);
            return;
        }
        if (g->live > 0 || (!g->closed && g->cause == CAUSE_NONE))
            return;
        record_end(c, g);
        group_ended(c, g);
        if (parent_job) {
            attempt_child_ended(c, parent_job);
            return;
        }
        if (parent && parent->id)
            members_notify_next(c, parent);
        g = parent;
    }
}

/* A slice each, so that none has to wait for a group of a million. */
#define SWEEP_SLICE 100

/* Ending the last member ends the group; it stays in memory. While it is in
 * the list its members keep their places. */
void group_sweep(struct core *c, struct group *g)
{
    struct str reason = str_from(g->reason);

    list_remove(&g->sweep);
    list_push_back(&c->sweeps, &g->sweep);
    for (int n = 0; !g->ended && g->sweep_next < g->members.len; n++) {
        uint64_t id = g->members.ids[g->sweep_next];

        if (n == SWEEP_SLICE || !core_work(c))
            return;
        g->sweep_next++;
        if (id & ID_GROUP) {
            struct group *m = find_group(c, (struct group_id){id & ~ID_GROUP});

            if (m)
                group_cancel(c, m, CAUSE_CANCEL, reason, g->cancel_grace_ms);
        } else {
            struct job *j = find_job(c, (struct job_id){id});

            if (j && !(PLANTED(SIBLING_SPARED) && g->cause == CAUSE_FAIL &&
                       job_runs(j)))
                job_cancel(c, j, reason, g->cancel_grace_ms);
        }
    }
    list_remove(&g->sweep);
}

void group_cancel(struct core *c, struct group *g, enum cause cause,
                  struct str reason, int64_t grace_ms)
{
    if (g->ended || g->cause != CAUSE_NONE)
        return;
    core_record(c, &(struct record){.type = RECORD_GROUP_CANCEL,
                                    .at_ms = c->now_ms,
                                    .id = g->id,
                                    .u.ask = {.cause = (uint8_t)cause,
                                              .grace_ms = grace_ms,
                                              .reason = reason}});
    submit_refuse_group(c, g);
    group_settle(c, g);
}

void group_close(struct core *c, struct group *g)
{
    if (g->closed || g->ended)
        return;
    record_simple(c, g, RECORD_GROUP_CLOSE);
    submit_refuse_group(c, g);
    group_settle(c, g);
}

/* With the numbers that were not known before: what they ask for happens as
 * soon as it is closed, and counts what has ended already. A job whose body is
 * done has closed it, though nothing may have come to it yet. */
static void close_with_policy(struct core *c, struct group *g, int64_t fail,
                              int64_t succeed)
{
    if (is_closed(g) || g->ended)
        return;
    core_record(c, &(struct record){
                       .type = RECORD_GROUP_CLOSE,
                       .at_ms = c->now_ms,
                       .id = g->id,
                       .u.policy = {fail == CORE_UNSET ? 0 : fail + 1,
                                    succeed == CORE_UNSET ? 0 : succeed + 1}});
    submit_refuse_group(c, g);
    if (PLANTED(CLOSE_DEAF) && g->live > 0 && g->succeed > 0 &&
        g->by_outcome[OUTCOME_OK] >= g->succeed)
        return;
    group_settle(c, g);
}

void group_timer(struct core *c, struct group *g)
{
    group_cancel(c, g, CAUSE_DEADLINE, STR("deadline"), CORE_UNSET);
}

void group_keep_timer(struct core *c, struct group *g)
{
    forget_begin(c, g);
}

void group_forget_now(struct core *c, struct group *g)
{
    while (!list_empty(&g->finished))
        job_forget(c, list_entry(list_first(&g->finished), struct job, link));
    group_free(c, g);
}

void group_forget(struct core *c, struct group *g)
{
    while (!list_empty(&g->finished)) {
        if (!core_work_unrecorded(c))
            return;
        job_forget(c, list_entry(list_first(&g->finished), struct job, link));
    }
    ASSERT(list_empty(&g->waiters)); /* all were answered when it ended */
    group_free(c, g);
}

/* What would make it known again may be written already, and of what its
 * members are known by some may be gone. */
void group_record_forget(struct core *c, const struct group *g)
{
    core_record(c, &(struct record){.type = RECORD_GROUP_FORGET,
                                    .at_ms = c->now_ms,
                                    .id = g->id});
}

bool group_evict(struct core *c)
{
    struct list *first = list_first(&c->ended_groups);
    struct group *g = first ? list_entry(first, struct group, link) : NULL;

    if (!g || list_linked(&g->sweep))
        return false;
    group_record_forget(c, g);
    return true;
}

/* ------------------------------------------------------------------ events */

struct group *group_find_not_root(struct core *c, const struct core_event *ev,
                                  const char *why)
{
    struct group *g = find_group_or_reply(c, ev->client, ev->u.group.id);

    if (g == &c->root) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "GROUP %s; open a group of your own", why);
        return NULL;
    }
    return g;
}

static bool open_allowed(struct core *c, const struct core_event *ev)
{
    const struct event_group_open *o = &ev->u.group_open;

    if (o->name.len > CORE_LABEL_MAX) {
        reply_error(c, ev->client, CORE_ERR_TOOBIG,
                    "NAME is %zu bytes, at most %d are allowed", o->name.len,
                    CORE_LABEL_MAX);
        return false;
    }
    /* In another scope it ends with that at the latest. */
    if (o->detached && !o->parent.is_job && o->parent.group.n == 0 &&
        !c->limits.detach) {
        reply_error(c, ev->client, CORE_ERR_NOPERM,
                    "DETACHED is not allowed in the root group ([limits] "
                    "detach)");
        return false;
    }
    return scope_takes_group(c, ev->client, &o->parent) &&
           scope_room_for_group(c, ev->client);
}

/* The group that was opened with this key is the answer. */
static bool known(struct core *c, const struct core_event *ev)
{
    const struct event_group_open *o = &ev->u.group_open;
    const struct key *k =
        o->key.len ? key_find(c, key_scope_of_parent(&o->parent), o->key)
                   : NULL;

    if (!k)
        return false;
    if (o->once.number && !full_may_grow(c, ev->client))
        return true;
    once_remember(c, &o->once, k->of | ID_GROUP);
    value_id(reply_begin(c, ev->client), 'g', k->of, 0);
    reply_end(c);
    return true;
}

void group_open(struct core *c, const struct core_event *ev)
{
    const struct event_group_open *o = &ev->u.group_open;
    int64_t succeed = or_default(o->succeed, 0);
    int64_t timeout = or_default(o->timeout_ms, CORE_NONE);
    int64_t deadline = or_default(o->deadline_ms, CORE_NONE);
    struct record r;

    if (once_answered(c, ev->client, &o->once, ID_GROUP) ||
        !key_allowed(c, ev->client, o->key) || known(c, ev) ||
        !open_allowed(c, ev))
        return;
    if (timeout != CORE_NONE)
        deadline = deadline_earlier(deadline, c->now_ms + timeout);
    r = (struct record){
        .type = RECORD_GROUP,
        .at_ms = c->now_ms,
        .id = c->next_id,
        .u.group = {.parent_is_job = o->parent.is_job,
                    .parent = o->parent.is_job ? o->parent.token.job.n
                                               : o->parent.group.n,
                    .parent_attempt = o->parent.token.attempt,
                    .fail = or_default(o->fail, succeed > 0 ? 0 : 1),
                    .succeed = succeed,
                    .width = or_default(o->width, CORE_NONE),
                    .deadline_ms = deadline,
                    .keep_ms =
                        min_i64(or_default(o->keep_ms,
                                           c->limits.queue_defaults.keep_ms),
                                c->limits.keep_max_ms),
                    .name = o->name,
                    .key = o->key,
                    .once = once_record(c, &o->once)},
    };
    if (!o->detached)
        r.u.group.session = session_of(c, ev->client)->id;
    core_record(c, &r);
    value_id(reply_begin(c, ev->client), 'g', r.id, 0);
    reply_end(c);
}

void group_close_event(struct core *c, const struct core_event *ev)
{
    struct group *g =
        group_find_not_root(c, ev, "CLOSE: the root group is always open");

    if (!g)
        return;
    if (g->parent_job && g->parent_job->u.run->body == g->id) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "GROUP CLOSE: this is the group of a job's body, and is "
                    "closed when the body has ended");
        return;
    }
    if (ev->u.group.policy)
        close_with_policy(c, g, ev->u.group.fail, ev->u.group.succeed);
    else
        group_close(c, g);
    reply_ok(c, ev->client);
}

void group_info(struct core *c, const struct core_event *ev)
{
    struct group *g = find_group_or_reply(c, ev->client, ev->u.group.id);
    struct waiter *w;

    if (!g)
        return;
    if (ev->u.group.wait_ms != CORE_UNSET && g == &c->root) {
        (void)group_find_not_root(c, ev, "WAIT: the root group never ends");
        return;
    }
    if (ev->u.group.wait_ms == CORE_UNSET || g->ended) {
        show_group(c, reply_begin(c, ev->client), g);
        reply_end(c);
        return;
    }
    if (ev->u.group.wait_ms == 0) {
        reply_null(c, ev->client);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_GROUP, ev->u.group.wait_ms, 0);
    w->group = g;
    list_push_back(&g->waiters, &w->link);
}
