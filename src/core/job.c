/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * job - the life of one job: accepted, started, asked to stop, ended.
 *
 * Only this file writes job->state. Invariants:
 *   - membership in lists and all counters follow from job_move alone;
 *   - the payload is there, or in the store, until the job is finished;
 *   - a job ends once.
 */
#include "core/job.h"

#include "core/attempt.h"
#include "core/await.h"
#include "core/below.h"
#include "core/dead.h"
#include "core/deadline.h"
#include "core/deliver.h"
#include "core/drain.h"
#include "core/errors.h"
#include "core/group.h"
#include "core/ids.h"
#include "core/image_apply.h"
#include "core/image_errors.h"
#include "core/internal.h"
#include "core/key.h"
#include "core/limiter.h"
#include "core/line.h"
#include "core/live.h"
#include "core/members.h"
#include "core/once.h"
#include "core/options.h"
#include "core/output.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/retain.h"
#include "core/segment.h"
#include "core/share.h"
#include "core/show.h"
#include "core/waiter.h"
#include "core/worker.h"

static const struct {
    const char *name;
    uint32_t next;
} states[] = {
#define X(id, name, next) [JOB_##id] = {name, next},
    JOB_STATES(X)
#undef X
};

static const char *const outcomes[] = {
#define X(id, name) [OUTCOME_##id] = name,
    OUTCOMES(X)
#undef X
};

const char *job_state_name(enum job_state s)
{
    return states[s].name;
}

const char *outcome_name(enum outcome o)
{
    return outcomes[o];
}

bool job_not_started(const struct job *j)
{
    return j->state == JOB_DELAYED || j->state == JOB_READY ||
           j->state == JOB_PARKED;
}

/* ------------------------------------------------------------------ memory */

/* What one of very many costs in a map besides itself: see map.h. */
#define MAP_NODE_BYTES 4

struct str job_payload(const struct job *j)
{
    const char *p = j->u.payload;

    if (job_has_run(j))
        p = j->u.run->payload;
    else if (j->state == JOB_FINISHED)
        p = j->extra && j->extra->dead ? j->extra->dead->payload : NULL;
    return (struct str){p, j->payload_len};
}

static int64_t job_bytes(const struct job *j)
{
    return (int64_t)(sizeof(*j) + MAP_NODE_BYTES + j->payload_len);
}

struct extra *job_extra(struct core *c, struct job *j)
{
    struct extra *x = j->extra;

    if (x)
        return x;
    x = slabs_zalloc(&c->slabs, sizeof(*x));
    x->job = j;
    x->timer.kind = TIMER_QUEUED;
    list_init(&x->waiters);
    j->extra = x;
    account(c, sizeof(*x));
    return x;
}

static void extra_free(struct core *c, struct job *j)
{
    struct extra *x = j->extra;

    if (!x)
        return;
    ASSERT(list_empty(&x->waiters));
    timer_stop(c, &x->timer);
    output_forget(c, j);
    key_release(c, x->key);
    dead_remove(c, j);
    errors_free(c, x);
    if (x->name)
        account(c, -(int64_t)strlen(x->name));
    if (x->reason)
        account(c, -(int64_t)strlen(x->reason));
    if (x->then)
        account(c, -(int64_t)strlen(x->then));
    mem_free(x->name);
    mem_free(x->reason);
    mem_free(x->then);
    if (x->needs)
        needs_put(c, x->needs);
    below_free(c, x);
    image_errors_drop(c, x);
    account(c, -(int64_t)sizeof(*x));
    slabs_free(&c->slabs, x, sizeof(*x));
    j->extra = NULL;
}

/* ------------------------------------------------------------------- moves */

static bool holds_permits(enum job_state s)
{
    return s == JOB_RUNNING || s == JOB_CANCELLING;
}

static void count(struct core *c, struct job *j, int64_t by)
{
    struct queue *q = job_queue(j);

    c->state_counts[j->state] += by;
    q->counts[j->state] += by;
    if (job_not_started(j)) {
        q->jobs += by;
        q->bytes += by * (int64_t)j->payload_len;
        j->group->queued += by;
    } else if (job_has_run(j)) {
        j->group->running += by;
        if (j->state == JOB_DELIVERING)
            q->delivering_bytes += by * (int64_t)j->payload_len;
    }
}

static void update_ready_mask(struct queue *q, int priority)
{
    if (list_empty(&q->ready[priority]) && list_empty(&q->turns[priority]))
        q->ready_mask &= ~(1u << priority);
    else
        q->ready_mask |= 1u << priority;
}

void job_move(struct core *c, struct job *j, enum job_state to,
              struct list *place, bool front)
{
    enum job_state from = (enum job_state)j->state;

    ASSERT(states[from].next & (1u << to));
    if (j->extra && j->extra->lane)
        line_leave(c, j);
    list_remove(&j->link);
    if (from == JOB_READY)
        share_left(c, j);
    count(c, j, -1);
    j->state = (uint8_t)to;
    count(c, j, +1);
    if (front)
        list_push_front(place, &j->link);
    else
        list_push_back(place, &j->link);
    if (from == JOB_READY || to == JOB_READY)
        update_ready_mask(job_queue(j), j->priority);
    if (j->extra && j->extra->needs &&
        holds_permits(from) != holds_permits(to) &&
        !(PLANTED(PERMIT_LOST) && to == JOB_READY))
        needs_hold(c, j->extra->needs, holds_permits(to) ? +1 : -1);
}

void job_become_ready(struct core *c, struct job *j, bool front)
{
    job_move(c, j, JOB_READY, share_place(c, j, front), front);
}

void job_pass_through_ready(struct core *c, struct job *j)
{
    if (j->state != JOB_READY)
        job_move(c, j, JOB_READY, &c->passing, false);
}

static struct lane *lane_of(struct group *g, const struct job *j)
{
    struct lane *lane;

    list_foreach (it, &g->lanes) {
        lane = list_entry(it, struct lane, link);
        if (lane->queue == job_queue(j) && lane->priority == j->priority)
            return lane;
    }
    lane = mem_zalloc(sizeof(*lane));
    lane->group = g;
    lane->queue = job_queue(j);
    lane->priority = j->priority;
    list_init(&lane->jobs);
    list_push_back(&g->lanes, &lane->link);
    list_push_back(&job_queue(j)->lanes, &lane->of_queue);
    return lane;
}

/* Who comes from the lane of another group, or is run again, may be older than
 * those who wait: it goes before them. */
void job_park(struct core *c, struct job *j, struct group *full)
{
    struct lane *lane = lane_of(full, j);
    const struct list *first = list_first(&lane->jobs);
    bool front =
        first && j->node.hash < list_entry(first, struct job, link)->node.hash;

    job_pass_through_ready(c, j);
    job_move(c, j, JOB_PARKED, &lane->jobs, front);
}

void job_park_in(struct core *c, struct job *j, struct lane *lane)
{
    job_pass_through_ready(c, j);
    job_move(c, j, JOB_PARKED, &lane->jobs, false);
}

/* ------------------------------------------------------------------- apply */

void job_arm_queued(struct core *c, struct job *j)
{
    const struct options *o = j->options;
    int64_t at = INT64_MAX;

    if (j->state == JOB_DELAYED)
        at = j->extra->not_before_ms;
    if (o->deadline_ms != CORE_NONE)
        at = min_i64(at, o->deadline_ms);
    if (o->expires_ms != CORE_NONE && j->attempt == 0)
        at = min_i64(at, o->expires_ms);
    if (at != INT64_MAX)
        timer_set(c, &job_extra(c, j)->timer, at);
    else if (j->extra)
        timer_stop(c, &j->extra->timer);
}

void job_delay(struct core *c, struct job *j, int64_t not_before_ms,
               int64_t now_ms)
{
    job_extra(c, j)->not_before_ms = max_i64(0, not_before_ms);
    if (not_before_ms <= now_ms) {
        if (j->state == JOB_DELAYED)
            job_become_ready(c, j, false);
        return;
    }
    if (j->state == JOB_PARKED)
        job_pass_through_ready(c, j);
    if (j->state == JOB_READY)
        job_move(c, j, JOB_DELAYED, &job_queue(j)->delayed, false);
}

uint32_t job_follows_from(const struct core *c, const struct job *j)
{
    const struct needs *needs = j->extra ? j->extra->needs : NULL;
    uint32_t from = job_queue(j)->segment;

    for (size_t i = 0; needs && i < needs->len; i++) {
        const struct limiter *l = needs->list[i].limiter;

        if (!l->deleted && l->segment < from)
            from = l->segment;
    }
    return PLANTED(IMAGE_LATE) || PLANTED(TURN_UNHEARD) ? c->segment : from;
}

const char *job_make(struct core *c, uint64_t id, const struct record_job *rj,
                     struct group *g, struct job **out)
{
    struct queue *q = c->queue_table[rj->queue];
    struct needs *needs = NULL;
    struct job *j;

    if (rj->priority >= CORE_PRIORITIES || rj->not_before_ms < 0 ||
        (rj->own_options && !options_ok(&rj->options)) || (id & ID_GROUP) ||
        id == 0 || (rj->then.len && !deliver_chain_ok(rj->then)))
        return "job with impossible options";
    if (UNLIKELY(rj->key.len) &&
        !key_is_free(c, key_scope_of_queue(q), rj->key))
        return "key of another job";
    if (rj->needs.len) {
        needs = needs_get(c, &rj->needs);
        if (!needs)
            return "job with impossible limits";
    }
    j = slabs_zalloc(&c->slabs, sizeof(*j));
    j->node.hash = id;
    j->group = g;
    j->priority = rj->priority;
    list_init(&j->link);
    j->options =
        rj->own_options ? options_share(c, q, &rj->options) : q->defaults;
    j->options->refs++;
    j->payload_len = (uint32_t)rj->payload.len;
    if (rj->payload.len)
        j->u.payload = slabs_dup(&c->slabs, rj->payload.p, rj->payload.len);
    if (rj->name.len) {
        job_extra(c, j)->name = mem_dup_text(rj->name.p, rj->name.len);
        account(c, (int64_t)strlen(j->extra->name));
    }
    if (UNLIKELY(rj->key.len) && (c->started || !PLANTED(KEY_FORGOTTEN)))
        job_extra(c, j)->key = key_bind(c, key_scope_of_queue(q), rj->key, id);
    if (rj->then.len) {
        job_extra(c, j)->then = mem_dup_text(rj->then.p, rj->then.len);
        account(c, (int64_t)rj->then.len);
    }
    if (needs)
        job_extra(c, j)->needs = needs;
    map_insert(&c->jobs, &j->node);
    segment_hold(c, &j->segment);
    segment_move(c, &j->segment, job_follows_from(c, j), 0); /* not counted */
    account(c, job_bytes(j));
    c->payload_bytes += j->payload_len;
    if (id >= c->next_id)
        c->next_id = id + 1;
    *out = j;
    return NULL;
}

void job_enter(struct core *c, struct job *j, enum job_state state,
               struct list *place)
{
    struct needs *needs = j->extra ? j->extra->needs : NULL;

    j->state = (uint8_t)state;
    list_push_back(place, &j->link);
    count(c, j, +1);
    if (state != JOB_FINISHED)
        j->group->live++;
    if (needs && state != JOB_FINISHED)
        needs_use(needs, +1);
    if (needs && holds_permits(state))
        needs_hold(c, needs, +1);
}

static void count_member(struct core *c, struct group *g, uint64_t id)
{
    g->members_total++;
    if (g->id)
        id_vector_push(c, &g->members, id);
}

/* It stands before the image of its queue or of a limiter: it is over, or an
 * image of it comes. Its group, if that was opened before it, has it as a
 * member either way; the root counts what is known. */
static void pass_over(struct core *c, const struct record *r)
{
    struct group *g = r->u.job.group
                          ? find_group(c, (struct group_id){r->u.job.group})
                          : NULL;

    if (g && !g->ended && !PLANTED(MEMBER_UNCOUNTED))
        count_member(c, g, r->id);
}

static const char *accept(struct core *c, const struct record *r)
{
    const struct record_job *rj = &r->u.job;
    struct queue *q =
        rj->queue < c->queue_count ? c->queue_table[rj->queue] : NULL;
    struct group *g;
    struct job *j;
    const char *wrong;

    if ((uint64_t)r->at_ms > SUBMITTED_MS_MAX)
        return "job of an impossible time";
    if (!once_ok(&rj->once))
        return "job asked for by nobody";
    if (needs_deleted(&rj->needs))
        return "job with limits that are gone";
    if (!q || !needs_known(c, &rj->needs) ||
        (PLANTED(MADE_UP) && !find_group(c, (struct group_id){rj->group}))) {
        pass_over(c, r);
        return NULL;
    }
    g = image_group(c, rj->group);
    if (g->ended)
        return NULL;
    if (r->id < c->next_id && find_job(c, (struct job_id){r->id}))
        return "job accepted twice";
    wrong = job_make(c, r->id, rj, g, &j);
    if (wrong)
        return wrong;
    j->submitted_ms = (uint64_t)r->at_ms & SUBMITTED_MS_MAX;
    payload_written(c, j, false);
    count_member(c, g, r->id);
    if (rj->not_before_ms) {
        job_extra(c, j)->not_before_ms = rj->not_before_ms;
        job_enter(c, j, JOB_DELAYED, &q->delayed);
    } else {
        job_enter(c, j, JOB_READY, share_place(c, j, false));
        q->ready_mask |= 1u << j->priority;
    }
    live_job(c, j, +1);
    job_arm_queued(c, j);
    return NULL;
}

static const char *apply_job(struct core *c, const struct record *r)
{
    const char *wrong = accept(c, r);

    if (!wrong)
        once_apply(c, &r->u.job.once, r->id);
    return wrong;
}

/* An end counts in its group even when the job becomes known later, by an
 * image that was written after it. */
static const char *count_unknown_end(struct core *c, const struct record *r)
{
    const struct record_verdict *v = &r->u.verdict;
    struct group *g =
        v->group ? find_group(c, (struct group_id){v->group}) : NULL;

    if (!g || PLANTED(ENDS_UNCOUNTED) || v->outcome == OUTCOME_NONE ||
        v->outcome >= OUTCOMES_COUNT)
        return NULL;
    g->by_outcome[v->outcome]++;
    g->errors_below = g->errors_below || v->errors_below;
    id_vector_push(c, &g->done, r->id);
    return NULL;
}

void job_set_reason(struct core *c, struct extra *x, struct str reason)
{
    if (x->reason)
        return;
    x->reason = mem_dup_text(reason.p, reason.len);
    account(c, (int64_t)strlen(x->reason));
}

static const char *apply_clear(struct core *c, struct job *j,
                               const struct record *r)
{
    if (!j->extra || !j->extra->dead)
        return "a job that is not dead leaves the dead";
    retain_count(c, j, -1);
    if (!PLANTED(DEAD_TWICE)) {
        payload_free(c, j, j->extra->dead->payload);
        dead_remove(c, j);
    }
    j->extra->retried = PLANTED(RETRIED_UNTOLD) ? 0 : r->u.retried;
    retain_count(c, j, +1);
    timer_set(c, &j->u.end->timer, j->u.end->ended_ms + j->options->keep_ms);
    return NULL;
}

struct end *job_make_end(struct core *c, struct job *j)
{
    struct end *end = slabs_zalloc(&c->slabs, sizeof(*end));

    end->job = j;
    end->timer.kind = TIMER_KEEP;
    end->started_ms = CORE_NONE;
    return end;
}

void job_set_end(struct core *c, struct job *j, struct end *end, bool dead,
                 int64_t dead_keep)
{
    int64_t keep_ms = j->options->keep_ms;

    account(c, (int64_t)(sizeof(*end) + end->result_len));
    if (UNLIKELY(dead))
        dead_add(c, j);
    else
        payload_free(c, j, j->u.payload);
    j->u.end = end;
    if (UNLIKELY(dead))
        payload_given(c, j);
    retain_count(c, j, +1);
    if (UNLIKELY(dead))
        keep_ms = dead_keep ? dead_keep : dead_keep_ms(c, j);
    timer_set(c, &end->timer, end->ended_ms + keep_ms);
}

int64_t job_kept_until(const struct core *c, const struct job *j)
{
    return heap_at(&c->keeps, &j->u.end->timer.node);
}

/* Under its last attempt, though that be over and the job wait for one more. */
static bool has_errors_below(const struct job *j)
{
    return job_has_run(j) ? j->u.run->errors_below
                          : j->extra && j->extra->errors_below;
}

static const char *apply_end(struct core *c, struct job *j,
                             const struct record *r)
{
    const struct record_verdict *v = &r->u.verdict;
    struct group *g = j->group;
    struct end *end;

    if (j->state == JOB_FINISHED)
        return "job ended twice";
    if (v->outcome == OUTCOME_NONE || v->outcome >= OUTCOMES_COUNT ||
        (job_runs(j) && j->u.run->live_groups))
        return "impossible end of a job";
    end = job_make_end(c, j);
    end->outcome = v->outcome;
    end->ended_ms = r->at_ms;
    end->body_done = v->outcome != OUTCOME_OK && attempt_body_was_done(j, v);
    if (v->has_error)
        errors_of_attempt(c, j, v, r->at_ms);
    if (v->reason.len)
        job_set_reason(c, job_extra(c, j), v->reason);
    if (v->outcome == OUTCOME_OK) {
        end->result = mem_dup(v->result.p, v->result.len);
        end->result_len = (uint32_t)v->result.len;
    }
    if (j->extra && j->extra->needs)
        needs_use(j->extra->needs, -1);
    g->errors_below = g->errors_below || has_errors_below(j);
    if (job_has_run(j)) {
        end->started_ms = j->u.run->started_ms;
        run_free(c, j);
        if (j->state != JOB_DELIVERING)
            group_active(c, g, -1);
    }
    if (v->next)
        job_extra(c, j)->next = v->next;
    if (j->extra)
        timer_stop(c, &j->extra->timer);
    job_move(c, j, JOB_FINISHED, &g->finished, false);
    job_set_end(c, j, end, v->outcome == OUTCOME_FAILED, 0);
    g->live--;
    g->by_outcome[v->outcome]++;
    if (PLANTED(OUTCOME_TWICE) && v->outcome == OUTCOME_OK && j->attempt > 1)
        g->by_outcome[v->outcome]++;
    if (g->id)
        id_vector_push(c, &g->done, j->node.hash);
    return NULL;
}

static const char *apply_known(struct core *c, struct job *j,
                               const struct record *r)
{
    switch (r->type) {
    case RECORD_START:
        return attempt_apply_start(c, j, r);
    case RECORD_ASK:
        return attempt_apply_ask(c, j, r);
    case RECORD_JOINING:
        return attempt_apply_joining(c, j, r);
    case RECORD_REQUEUE:
        return attempt_apply_requeue(c, j, r);
    case RECORD_END:
        return apply_end(c, j, r);
    case RECORD_READY:
        return attempt_apply_ready(c, j, r);
    case RECORD_SHIELD:
        return attempt_apply_shield(c, j, r);
    case RECORD_CLEAR:
        return apply_clear(c, j, r);
    case RECORD_DELIVER:
        return attempt_apply_deliver(c, j, r);
    case RECORD_JOB:
    case RECORD_QUEUE:
    case RECORD_GROUP:
    case RECORD_GROUP_CLOSE:
    case RECORD_GROUP_CANCEL:
    case RECORD_GROUP_END:
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
    case RECORD_SESSION:
    case RECORD_JOB_IMAGE:
    case RECORD_GROUP_IMAGE:
    case RECORD_GROUP_IDS:
    case RECORD_JOB_ERRORS:
        break;
    }
    BUG("not a record of a job");
}

const char *job_apply(struct core *c, const struct record *r)
{
    const char *wrong;
    struct job *j;

    if (r->type == RECORD_JOB)
        return apply_job(c, r);
    if (r->type == RECORD_JOB_IMAGE)
        return image_apply_job(c, r);
    if (r->type == RECORD_START)
        limiter_spend(c, &r->u.start.spends, r->at_ms);
    j = find_job(c, (struct job_id){r->id});
    if (!j) /* forgotten, its oldest segment removed; or its image comes */
        return r->type == RECORD_END ? count_unknown_end(c, r) : NULL;
    live_job(c, j, -1);
    wrong = apply_known(c, j, r);
    live_job(c, j, +1);
    return wrong;
}

void job_free(struct core *c, struct job *j)
{
    slabs_free(&c->slabs, (char *)job_payload(j).p, j->payload_len);
    if (job_has_run(j)) {
        list_init(&j->u.run->groups);
        run_free(c, j);
    } else if (j->state == JOB_FINISHED) {
        timer_stop(c, &j->u.end->timer);
        mem_free(j->u.end->result);
        slabs_free(&c->slabs, j->u.end, sizeof(*j->u.end));
    }
    extra_free(c, j);
    options_release(c, j->options);
    list_remove(&j->link);
    slabs_free(&c->slabs, j, sizeof(*j));
}

void job_forget(struct core *c, struct job *j)
{
    struct end *end = j->u.end;
    struct group *g = j->group;

    ASSERT(j->state == JOB_FINISHED);
    await_job_forgotten(c, j);
    retain_count(c, j, -1);
    live_job(c, j, -1);
    count(c, j, -1);
    if (!g->id)
        group_root_forgets(g, (enum outcome)end->outcome);
    list_remove(&j->link);
    timer_stop(c, &end->timer);
    payload_free(c, j, (char *)job_payload(j).p);
    account(c, -(int64_t)(sizeof(*end) + end->result_len) - job_bytes(j));
    mem_free(end->result);
    slabs_free(&c->slabs, end, sizeof(*end));
    extra_free(c, j);
    options_release(c, j->options);
    segment_drop(c, j->segment);
    map_remove(&c->jobs, &j->node);
    slabs_free(&c->slabs, j, sizeof(*j));
    member_forgotten(c, g);
}

/* ------------------------------------------------------------------ looking */

struct group *job_full_group(const struct job *j)
{
    for (struct group *g = j->group; g; g = g->parent) {
        if (g->width != CORE_NONE && g->active >= g->width)
            return g;
        if (PLANTED(WIDTH_OF_ONE))
            break;
    }
    return NULL;
}

/* --------------------------------------------------------------- decisions */

/* After a record END: tell who waits, and let the scope act. */
static void after_end(struct core *c, struct job *j, bool was_queued)
{
    struct queue *q = job_queue(j);
    struct group *g = j->group;

    c->totals.ok += j->u.end->outcome == OUTCOME_OK;
    c->totals.failed += j->u.end->outcome == OUTCOME_FAILED;
    c->totals.cancelled += j->u.end->outcome == OUTCOME_CANCELLED;
    q->total[j->u.end->outcome]++;
    if (j->extra) {
        output_notify(c, j);
        waiter_job_ended(c, j);
    }
    await_job_ended(c, j);
    if (g->id) {
        members_notify_next(c, g);
        group_settle(c, g);
    }
    if (was_queued && !PLANTED(LOST_WAKEUP))
        queue_wake(c, q);
    if (UNLIKELY(!list_empty(&q->joiners)))
        drain_ended(c, q);
    (void)retain_enforce(c); /* the rest with the next end */
}

void job_end(struct core *c, struct job *j, const struct record_verdict *v)
{
    bool was_queued = job_not_started(j) || j->state == JOB_DELIVERING;
    struct record r = {.type = RECORD_END,
                       .at_ms = c->now_ms,
                       .id = j->node.hash,
                       .u.verdict = *v};

    r.u.verdict.group = j->group->id;
    r.u.verdict.errors_below = has_errors_below(j);
    core_record(c, &r);
    after_end(c, j, was_queued);
}

static void end_failed(struct core *c, struct job *j, struct str class,
                       struct str message)
{
    job_end(c, j,
            &(struct record_verdict){.outcome = OUTCOME_FAILED,
                                     .has_error = true,
                                     .class = class,
                                     .message = message});
}

void job_start(struct core *c, struct job *j, struct session *s)
{
    struct record r = {
        .type = RECORD_START,
        .at_ms = c->now_ms,
        .id = j->node.hash,
        .u.start = {.attempt = j->attempt + 1, .session = s->id}};

    if (UNLIKELY(j->extra && j->extra->needs)) {
        needs_spends(j->extra->needs, &r.u.start.spends);
        line_served(c, j);
    }
    if (UNLIKELY(c->unloaded > 0))
        payload_go_on(c, j);
    share_served(j);
    core_record(c, &r);
    c->totals.started++;
}

void job_cancel(struct core *c, struct job *j, struct str reason,
                int64_t grace_ms)
{
    if (j->state == JOB_FINISHED ||
        (PLANTED(CANCELLED_STARTS) && j->state == JOB_DELAYED))
        return;
    if (job_runs(j)) {
        attempt_ask(c, j, CAUSE_CANCEL, reason, grace_ms);
        return;
    }
    job_end(c, j,
            &(struct record_verdict){.outcome = OUTCOME_CANCELLED,
                                     .reason = reason});
}

bool job_past_deadline(const struct core *c, const struct job *j)
{
    return j->options->deadline_ms != CORE_NONE &&
           c->now_ms >= j->options->deadline_ms;
}

bool job_overdue(const struct core *c, const struct job *j)
{
    return job_past_deadline(c, j) ||
           (j->options->expires_ms != CORE_NONE && j->attempt == 0 &&
            c->now_ms >= j->options->expires_ms);
}

/* ------------------------------------------------------------------- timers */

static void end_overdue(struct core *c, struct job *j)
{
    if (job_past_deadline(c, j))
        end_failed(c, j, STR("deadline"),
                   STR("the deadline passed before the job was started"));
    else
        end_failed(c, j, STR("expired"),
                   STR("the job was queued for longer than EXPIRES allows"));
}

bool job_end_due(struct core *c, struct job *j)
{
    deadline_reach(c, j->group);
    if (UNLIKELY(group_cancelled(j->group) != NULL)) {
        group_reach(c, j->group);
        job_cancel(c, j, str_from(j->group->reason), j->group->cancel_grace_ms);
        return true;
    }
    if (LIKELY(!job_overdue(c, j)))
        return false;
    end_overdue(c, j);
    return true;
}

void job_queued_timer(struct core *c, struct extra *x)
{
    struct job *j = x->job;

    /* What it is in goes first: that may be due or cancelled, and not have come
     * by yet. It must not slip past its own cancel, either. */
    if (job_end_due(c, j) || drain_takes(c, j))
        return;
    if (j->state == JOB_DELAYED && c->now_ms >= x->not_before_ms)
        job_become_ready(c, j, false);
    job_arm_queued(c, j);
    queue_wake(c, job_queue(j));
}

void job_keep_timer(struct core *c, struct end *end)
{
    job_forget(c, end->job);
}

/* ------------------------------------------------------------------- events */

void job_status(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.job.id);

    if (!j)
        return;
    show_job(c, reply_begin(c, ev->client), j);
    reply_end(c);
}

void job_result(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.job.id);
    struct waiter *w;

    if (!j)
        return;
    if (j->state == JOB_FINISHED && ev->u.job.ready) {
        reply_error(c, ev->client, CORE_ERR_NOTREADY,
                    "the job has ended (%s) and is not ready",
                    outcome_name((enum outcome)j->u.end->outcome));
        return;
    }
    if (j->state == JOB_FINISHED) {
        show_outcome(c, reply_begin(c, ev->client), j);
        reply_end(c);
        return;
    }
    if (ev->u.job.ready && job_runs(j) && j->u.run->is_ready) {
        value_str(reply_begin(c, ev->client),
                  (struct str){j->u.run->ready, j->u.run->ready_len});
        reply_end(c);
        return;
    }
    if (ev->u.job.wait_ms == 0) {
        reply_null(c, ev->client);
        return;
    }
    w = waiter_new(c, ev->client, ev->u.job.ready ? WAIT_READY : WAIT_JOB,
                   ev->u.job.wait_ms, 0);
    w->job = j;
    list_push_back(&job_extra(c, j)->waiters, &w->link);
}

void job_cancel_event(struct core *c, const struct core_event *ev)
{
    struct str reason = ev->u.cancel.reason;

    if (reason.len == 0)
        reason = STR("cancelled");
    if (reason.len > CORE_REASON_MAX) {
        reply_error(c, ev->client, CORE_ERR_TOOBIG,
                    "REASON is %zu bytes, at most %d are allowed", reason.len,
                    CORE_REASON_MAX);
        return;
    }
    if (ev->u.cancel.is_job) {
        struct job *j = find_job_or_reply(c, ev->client, ev->u.cancel.job);

        if (!j)
            return;
        job_cancel(c, j, reason, ev->u.cancel.grace_ms);
    } else {
        struct group *g =
            find_group_or_reply(c, ev->client, ev->u.cancel.group);

        if (!g)
            return;
        if (g == &c->root) {
            reply_error(c, ev->client, CORE_ERR_GENERIC,
                        "the root group cannot be cancelled");
            return;
        }
        group_cancel(c, g, CAUSE_CANCEL, reason, ev->u.cancel.grace_ms);
    }
    reply_ok(c, ev->client);
}
