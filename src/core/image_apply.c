/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image_apply - images of jobs and groups, read: what is not known becomes
 * known.
 *
 * A replay may meet a member before its group, whose image lies further on:
 *
 *     segment 7          8                       9
 *     (group g: gone)    job j of g, end of j    image of g, image of k in g
 *
 * Then the group is made up, as `unknown`, and its image fills it. What it says
 * is true of that place in the journal, whatever was counted before. What only
 * follows from members that have not ended (live, queued, running, active) is
 * counted from them, as always; and an end counts in its group (done,
 * by_outcome) when it is met, even if the job it is of becomes known by a later
 * image only.
 */
#include "core/image_apply.h"

#include "core/attempt.h"
#include "core/below.h"
#include "core/errors.h"
#include "core/group.h"
#include "core/ids.h"
#include "core/image_errors.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/key.h"
#include "core/limiter.h"
#include "core/live.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/segment.h"
#include "core/worker.h"

#define IDS_ALWAYS (1u << 24) /* of a group, whatever members-max is by now */

/* -------------------------------------------------------------------- jobs */

static bool ids_ok(struct str ids)
{
    return ids.len % sizeof(uint64_t) == 0;
}

static uint64_t id_at(struct str ids, size_t n)
{
    uint64_t id;

    memcpy(&id, ids.p + n * sizeof(id), sizeof(id));
    return id;
}

/* The group is under the attempt of a job that runs. */
static void attach(struct group *g, struct job *j)
{
    g->parent_job = j;
    list_push_back(&j->u.run->groups, &g->sibling);
    j->u.run->live_groups++;
}

static void attach_all(struct core *c, struct job *j, struct str below)
{
    for (size_t n = 0; n < below.len / sizeof(uint64_t); n++) {
        struct group *g =
            find_group(c, (struct group_id){id_at(below, n) & ~ID_GROUP});

        if (g && g->id && !g->ended && !g->parent_job &&
            g->parent_id == j->node.hash && g->parent_attempt == j->attempt)
            attach(g, j);
    }
}

static const char *give_extra(struct core *c, struct job *j,
                              const struct record_job_image *i)
{
    struct str errors = i->errors;
    struct record_error e;
    struct extra *x;

    if (!ids_ok(i->below))
        return "image of a job with half an id";
    if (i->errors_below || i->failures || i->losses || i->next || i->retried ||
        i->job.not_before_ms) {
        x = job_extra(c, j);
        x->errors_below = i->errors_below;
        x->failures = i->failures;
        x->losses = i->losses;
        x->next = i->next;
        x->retried = i->retried;
        x->not_before_ms = i->job.not_before_ms;
    }
    if (i->reason.len)
        job_set_reason(c, job_extra(c, j), i->reason);
    while (record_get_error(&errors, &e))
        errors_add(c, j, &e);
    if (i->apart)
        image_errors_await(c, j, i->apart);
    for (size_t n = 0; n < i->below.len / sizeof(uint64_t); n++)
        below_add(c, j, id_at(i->below, n) & ~ID_GROUP);
    return errors.len ? "image of a job with half an error" : NULL;
}

static char *dup_counted(struct core *c, struct str s)
{
    account(c, (int64_t)s.len);
    return mem_dup(s.p, s.len);
}

/* The list that it goes to. */
static struct list *give_run(struct core *c, struct job *j,
                             const struct record_job_image *i)
{
    struct run *run = run_new(c, j);

    run->body = i->body;
    run->place = i->place;
    if (i->place >= c->next_place)
        c->next_place = i->place + 1;
    run->shield_ms = i->shield_ms;
    run->grace_ms = i->grace_ms;
    run->asked = i->asked;
    run->verdict = i->verdict;
    run->cancelled = i->cancelled;
    run->cancelled_first = i->cancelled_first;
    run->asked_late = i->asked_late;
    run->child_failed = i->child_failed;
    run->child_cancelled = i->child_cancelled;
    run->errors_below = i->run_errors_below;
    run->is_ready = i->is_ready;
    run->started_ms = i->started_ms;
    if (i->is_ready) {
        run->ready = dup_counted(c, i->ready);
        run->ready_len = (uint32_t)i->ready.len;
    }
    if (i->state == JOB_DELIVERING ||
        (i->state == JOB_JOINING && i->verdict == VERDICT_OK)) {
        run->result = dup_counted(c, i->result);
        run->result_len = (uint32_t)i->result.len;
    }
    if (i->state == JOB_JOINING)
        return &c->joining;
    if (i->state == JOB_DELIVERING)
        return &c->delivering;
    run->session = session_get(c, i->session);
    run->session->seen_ms = max_i64(run->session->seen_ms, i->started_ms);
    return &run->session->held;
}

static void enter_running(struct core *c, struct job *j,
                          const struct record_job_image *i)
{
    job_enter(c, j, (enum job_state)i->state, give_run(c, j, i));
    if (job_runs(j)) {
        group_active(c, j->group, +1);
        attach_all(c, j, i->below);
    }
    attempt_arm(c, j);
    if (j->u.run->session)
        session_arm(c, j->u.run->session);
}

static void enter_finished(struct core *c, struct job *j,
                           const struct record_job_image *i)
{
    struct end *end = job_make_end(c, j);

    end->outcome = i->outcome;
    end->body_done = i->body_done;
    end->ended_ms = i->ended_ms;
    end->started_ms = i->started_ms;
    if (i->outcome == OUTCOME_OK) {
        end->result = mem_dup(i->result.p, i->result.len);
        end->result_len = (uint32_t)i->result.len;
    }
    job_enter(c, j, JOB_FINISHED, &j->group->finished);
    job_set_end(c, j, end, i->dead, i->dead_keep_ms);
}

static void enter(struct core *c, struct job *j,
                  const struct record_job_image *i)
{
    struct queue *q = job_queue(j);

    switch ((enum job_state)i->state) {
    case JOB_DELAYED:
        job_enter(c, j, JOB_DELAYED, &q->delayed);
        job_arm_queued(c, j);
        return;
    case JOB_READY:
        job_enter(c, j, JOB_READY, &q->restored[j->priority]);
        job_arm_queued(c, j);
        return;
    case JOB_RUNNING:
    case JOB_CANCELLING:
    case JOB_JOINING:
    case JOB_DELIVERING:
        enter_running(c, j, i);
        return;
    case JOB_FINISHED:
        enter_finished(c, j, i);
        return;
    case JOB_PARKED:
    case JOB_STATES_COUNT:
        break;
    }
    BUG("not the state of an image"); /* possible() has looked */
}

static bool possible(const struct record_job_image *i, const struct group *g)
{
    if (i->state >= JOB_STATES_COUNT || i->submitted_ms < 0 ||
        (uint64_t)i->submitted_ms > SUBMITTED_MS_MAX ||
        (i->state != JOB_FINISHED && needs_deleted(&i->job.needs)))
        return false;
    switch ((enum job_state)i->state) {
    case JOB_DELAYED:
        return !g->ended && !i->dead && i->job.not_before_ms > 0;
    case JOB_READY:
        return !g->ended && !i->dead;
    case JOB_RUNNING:
        return !g->ended && !i->dead && i->session && i->attempt > 0 &&
               i->asked == CAUSE_NONE;
    case JOB_CANCELLING:
        return !g->ended && !i->dead && i->session && i->attempt > 0 &&
               i->asked > CAUSE_NONE && i->asked < CAUSES_COUNT;
    case JOB_JOINING:
    case JOB_DELIVERING:
        return !g->ended && !i->dead && i->attempt > 0 &&
               i->asked < CAUSES_COUNT && i->verdict < VERDICT_COUNT &&
               (i->state == JOB_JOINING || i->job.then.len > 0);
    case JOB_FINISHED:
        return i->outcome > OUTCOME_NONE && i->outcome < OUTCOMES_COUNT &&
               (!i->dead || i->outcome == OUTCOME_FAILED) && i->ended_ms >= 0 &&
               i->dead_keep_ms >= 0 && (i->dead || i->dead_keep_ms == 0);
    case JOB_PARKED:
    case JOB_STATES_COUNT:
        break;
    }
    return false;
}

const char *image_apply_job(struct core *c, const struct record *r)
{
    const struct record_job_image *i = &r->u.job_image;
    struct job *j = find_job(c, (struct job_id){r->id});
    struct group *g;
    const char *wrong;

    if (j && j->extra && j->extra->imaging)
        return image_errors_fill(c, j, 0, i->errors);
    if (j) {
        if (!i->apart)
            segment_move(c, &j->segment, job_follows_from(c, j),
                         live_job_bytes(j));
        return payload_moved(c, j, i->job.payload, !i->apart);
    }
    if (i->job.queue >= c->queue_count || !c->queue_table[i->job.queue] ||
        !needs_known(c, &i->job.needs))
        return NULL; /* as with jobs: removed with its oldest segment */
    g = image_group(c, i->job.group);
    if (!possible(i, g))
        return "image of an impossible job";
    wrong = job_make(c, r->id, &i->job, g, &j);
    if (wrong)
        return wrong;
    c->imaged = true;
    j->submitted_ms = (uint64_t)i->submitted_ms & SUBMITTED_MS_MAX;
    j->attempt = i->attempt;
    if (!i->apart)
        payload_written(c, j, false);
    wrong = give_extra(c, j, i);
    enter(c, j, i);
    live_job(c, j, +1);
    if (!g->id) {
        g->members_total++;
        if (i->state == JOB_FINISHED)
            g->by_outcome[i->outcome]++;
    }
    return wrong;
}

/* ------------------------------------------------------------------ groups */

struct group *image_group(struct core *c, uint64_t id)
{
    struct group *g = find_group(c, (struct group_id){id});

    if (g)
        return g;
    g = group_make(c, id);
    g->unknown = true;
    g->parent_id = UINT64_MAX; /* nobody */
    c->imaged = true;
    return g;
}

/* So many, which come later. */
static void make_room(struct core *c, struct id_vector *v, uint64_t n)
{
    id_vector_clear(c, v);
    if (n == 0)
        return;
    v->ids = mem_zalloc((size_t)n * sizeof(*v->ids));
    v->len = v->cap = (size_t)n;
    c->ids += (int64_t)n;
    c->vectors++;
    account(c, (int64_t)(v->cap * sizeof(*v->ids)));
}

static void enter_live(struct core *c, struct group *g)
{
    struct group *parent;
    struct job *j;

    if (g->parent_attempt) {
        j = find_job(c, (struct job_id){g->parent_id});
        if (j && job_runs(j) && j->attempt == g->parent_attempt)
            attach(g, j);
        return;
    }
    parent = image_group(c, g->parent_id);
    g->parent = parent;
    list_push_back(&parent->groups, &g->sibling);
    parent->live++;
    parent->running++;
    if (!parent->id)
        parent->members_total++;
}

static void enter_ended(struct core *c, struct group *g)
{
    list_remove(&g->link);
    list_push_back(&c->ended_groups, &g->link);
    c->ngroups--;
    c->nended++;
    if (g->read)
        list_push_back(&c->spent, &g->spent);
    if (!g->parent_attempt && !g->parent_id)
        group_root_knows(c, g, +1);
}

static const char *give_key(struct core *c, struct group *g,
                            const struct record_group *rg)
{
    struct key_scope scope = group_key_scope(rg);

    if (rg->key.len == 0)
        return NULL;
    if (!key_is_free(c, scope, rg->key))
        return "key of another group";
    live_group(c, g, -1);
    g->key = key_bind(c, scope, rg->key, g->id);
    live_group(c, g, +1);
    return NULL;
}

/* Room is made for all of them before they come. */
static bool too_many_ids(const struct core *c,
                         const struct record_group_image *i)
{
    /* Half of them may be forgotten, and those that the bound was lowered
     * for are there. */
    uint64_t most = (uint64_t)c->limits.members_max * 4 + IDS_ALWAYS;

    return i->members > most || i->done > most;
}

static bool possible_group(struct core *c, const struct record *r,
                           const struct group *before)
{
    const struct record_group_image *i = &r->u.group_image;
    const struct record_group *rg = &i->group;
    const struct group *parent = NULL;

    if (!group_possible(r->id, rg) || rg->once.number || rg->of_body ||
        i->cause >= CAUSES_COUNT || i->outcome >= OUTCOMES_COUNT ||
        i->done_dropped < 0)
        return false;
    if (i->ended)
        return i->outcome != OUTCOME_NONE && (!before || before->live == 0);
    if (!rg->parent_is_job)
        parent = find_group(c, (struct group_id){rg->parent});
    return !parent || !parent->ended;
}

/* What it has, whatever was made up. */
static void fill_group(struct core *c, struct group *g,
                       const struct record_group_image *i)
{
    g->unknown = false;
    g->image_segment = c->segment;
    group_fill(g, &i->group);
    g->depth = i->depth;
    g->opened_ms = i->opened_ms;
    g->ended_ms = i->ended_ms;
    g->cancel_grace_ms = i->cancel_grace_ms;
    for (int o = 0; o < OUTCOMES_COUNT; o++)
        g->by_outcome[o] = i->by_outcome[o];
    g->members_total = i->members_total;
    g->done_dropped = i->done_dropped;
    g->cause = i->cause;
    g->outcome = i->outcome;
    g->closed = i->closed;
    g->ended = i->ended;
    g->read = i->read;
    g->failed_inside = i->failed_inside;
    g->errors_below = i->errors_below;
    if (i->cause != CAUSE_NONE)
        g->reason = mem_dup_text(i->reason.p, i->reason.len);
    make_room(c, &g->members, i->members);
    make_room(c, &g->done, i->done);
    g->missing = i->members + i->done;
}

/* A crash came before the last of its ids, and it was written once more: what
 * the first image said is as if it had been made up. */
static void begin_anew(struct core *c, struct group *g)
{
    list_remove(&g->sibling);
    list_remove(&g->owned);
    list_remove(&g->sweep);
    list_remove(&g->spent);
    g->owner = NULL;
    if (g->parent) {
        g->parent->live--;
        g->parent->running--;
        g->parent->members_total -= g->parent->id == 0;
    }
    if (g->parent_job)
        g->parent_job->u.run->live_groups--;
    g->parent = NULL;
    g->parent_job = NULL;
    timer_stop(c, &g->timer);
    g->timer.kind = TIMER_GROUP;
    if (g->ended) {
        if (!g->parent_attempt && !g->parent_id)
            group_root_knows(c, g, -1);
        list_remove(&g->link);
        list_push_back(&c->all_groups, &g->link);
        c->ngroups++;
        c->nended--;
        g->ended = false;
    }
    live_group(c, g, -1);
    key_release(c, g->key);
    g->key = NULL;
    mem_free(g->name);
    mem_free(g->reason);
    g->name = g->reason = NULL;
    live_group(c, g, +1);
    g->parent_attempt = 0;
    g->parent_id = UINT64_MAX;
    g->missing = 0;
    g->unknown = true;
}

const char *image_apply_group(struct core *c, const struct record *r)
{
    const struct record_group_image *i = &r->u.group_image;
    const struct record_group *rg = &i->group;
    struct group *g = find_group(c, (struct group_id){r->id});

    if (g && g->missing)
        begin_anew(c, g);
    if (g && !g->unknown)
        return NULL;
    if (!possible_group(c, r, g))
        return "image of an impossible group";
    if (too_many_ids(c, i))
        return "group of far more members than members-max allows";
    if (!g)
        g = group_make(c, r->id);
    else
        segment_move(c, &g->segment, c->segment, live_group_bytes(g));
    c->imaged = true;
    live_group(c, g, -1);
    fill_group(c, g, i);
    live_group(c, g, +1);
    if (rg->session && !g->ended) {
        g->owner = session_get(c, rg->session);
        list_push_back(&g->owner->groups, &g->owned);
    }
    if (g->ended)
        enter_ended(c, g);
    else
        enter_live(c, g);
    if (g->cause != CAUSE_NONE && !g->ended)
        list_push_back(&c->sweeps, &g->sweep);
    group_arm(c, g);
    return give_key(c, g, rg);
}

const char *image_apply_ids(struct core *c, const struct record *r)
{
    const struct record_group_ids *i = &r->u.group_ids;
    struct group *g = find_group(c, (struct group_id){r->id});
    struct id_vector *v;
    size_t n = i->ids.len / sizeof(uint64_t);

    if (!g || g->missing == 0)
        return NULL; /* it was known before, or is not any more */
    v = i->done ? &g->done : &g->members;
    if (!ids_ok(i->ids) || i->at > v->len || n > v->len - i->at ||
        n > g->missing)
        return "members that a group cannot have";
    memcpy(v->ids + i->at, i->ids.p, n * sizeof(uint64_t));
    g->missing -= n;
    return NULL;
}

void image_settle_unknown(struct core *c, struct group *g, uint64_t parent,
                          uint32_t attempt)
{
    if (g->live > 0) { /* lost: what is in it goes on */
        g->unknown = false;
        g->closed = true;
        g->parent_attempt = attempt;
        g->parent_id = parent;
        g->keep_ms = c->limits.queue_defaults.keep_ms;
        g->opened_ms = c->now_ms;
        enter_live(c, g);
        return;
    }
    list_remove(&g->owned);
    g->owner = NULL;
    g->ended = true;
    g->parent_id = UINT64_MAX;
    enter_ended(c, g);
    group_forget_now(c, g);
}
