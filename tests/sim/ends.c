/* SPDX-License-Identifier: BSD-2-Clause */
#include "parts.h"

static void group_policy(struct model_group *g)
{
    bool was = g->cancelled;

    if (g->fail > 0 && g->fails >= g->fail) {
        g->fail_reached = true;
        g->cancelled = true;
    }
    if (g->succeed > 0 && g->ok >= g->succeed) {
        g->succeed_reached = true;
        g->cancelled = true;
    }
    g->decided |= g->cancelled && !was;
}

void ends_policy(struct model_group *g, int64_t fail, int64_t succeed)
{
    if (g->body_done) /* which has closed it: they come too late */
        return;
    if (fail != CORE_UNSET)
        g->fail = fail;
    if (succeed != CORE_UNSET)
        g->succeed = succeed;
    if (g->decided) /* by those of before: nothing takes that back */
        return;
    g->fail_reached = g->succeed_reached = false;
    group_policy(g);
    if (g->fail_reached) /* where both are reached at once it has failed */
        g->succeed_reached = false;
}

/* A member of `g` has ended. `counts` is false for a failed collect group,
 * which never fails its parent. */
static void group_count(struct model *m, int g, enum view_outcome outcome,
                        bool counts)
{
    struct model_group *group;
    bool failed;

    if (g < 0)
        return;
    group = &m->groups[g];
    if (outcome == VIEW_OK)
        group->ok++;
    else if (outcome == VIEW_CANCELLED)
        group->cancelled_members++;
    else
        group->failed++;
    for (int i = g; outcome == VIEW_FAILED && i >= 0;
         i = m->groups[i].parent_is_job ? m->jobs[m->groups[i].parent].group
                                        : m->groups[i].parent)
        m->groups[i].failed_inside = true;
    if (outcome == VIEW_FAILED && counts)
        group->fails++;
    if (outcome == VIEW_FAILED && !counts)
        group->murky = true;
    failed = group->fail_reached;
    group_policy(group);
    /* of two times that are the same either may come first */
    group->even |= group->fail_reached && !failed && group->deadline_hit &&
                   group->hit_step >= m->since;
}

/* Its result is the payload of another job, of the next queue's kind. */
static void job_follow(struct model *m, struct model_eyes *eyes,
                       struct model_job *j)
{
    struct core_event ev = {.kind = EVENT_RESULT,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.job.id = {j->id}};
    const struct node *map = view_ask(eyes->core, eyes->arena, &ev);
    const struct queue_settings *set = &m->queues[j->then[0]].set;
    struct model_job *f;

    if (node_is_null(node_get(map, "next")))
        violation("the result of job %llx did not go on",
                  (unsigned long long)j->id);
    j->next = node_id(node_get(map, "next"), 'j');
    if (model_job_find(m, j->next) >= 0)
        violation("the result of job %llx became a job that was there before",
                  (unsigned long long)j->id);
    if (!view_job(eyes->core, eyes->arena, m->now, j->next).found)
        violation("the result of job %llx was lost", (unsigned long long)j->id);
    f = &m->jobs[model_job_slot(m)];
    *f = (struct model_job){
        .used = true,
        .id = j->next,
        .group = j->group,
        .queue = j->then[0],
        .session = -1,
        .state = MODEL_QUEUED,
        .name_tag = j->name_tag,
        .payload_tag = j->result_tag,
        .payload_len = j->result_len,
        .nthen = j->nthen - 1,
        .priority = j->priority,
        .timeout = set->timeout_ms,
        .deadline = j->deadline,
        .expires_at =
            set->expires_ms == CORE_NONE ? CORE_NONE : m->now + set->expires_ms,
        .grace = set->grace_ms,
        .retry = set->retry,
        .redeliver = set->redeliver,
        .base = set->backoff_base_ms,
        .cap = set->backoff_cap_ms,
        .factor = set->factor_milli,
        .jitter = set->jitter,
        .retry_on = set->retry_on,
        .keep = min_i64(set->keep_ms, m->limits.keep_max_ms),
        .submitted = m->now,
        .started_first = CORE_NONE,
        .started_last = CORE_NONE,
        .ended = CORE_NONE,
        .cancel_grace = CORE_NONE,
        .ready_step = m->step,
        .loose = true,
    };
    memcpy(f->then, j->then + 1, sizeof(f->then) - sizeof(f->then[0]));
    f->submit_seq = f->ready_seq = ++m->seq;
    if (f->group >= 0)
        m->groups[f->group].members++;
    m->queues[f->queue].made = true;
    m->queues[f->queue].filled = m->step;
}

static void job_end(struct model *m, struct model_job *j,
                    enum view_outcome outcome)
{
    /* Who came back at once, lost ones as well, had his group's turn brought to
     * the front, where it stays. */
    if ((j->ahead && j->state == MODEL_DELAYED) ||
        ((j->ahead || j->attempt > 0) && j->state == MODEL_QUEUED))
        turns_left(m, j);
    j->state = MODEL_ENDED;
    j->outcome = outcome;
    j->ended = m->now;
    j->end_step = m->step;
    j->dead = outcome == VIEW_FAILED;
    j->dead_keep =
        min_i64(m->queues[j->queue].set.dead_keep_ms, m->limits.keep_max_ms);
    j->notice_due = j->notice_may = false;
    group_count(m, j->group, outcome, true);
}

/* With more ended jobs than are to be kept the oldest goes at once: that may
 * be this one, if it is nobody's member or its group has ended, too. */
static bool job_end_unseen(struct model *m, struct model_eyes *eyes,
                           struct model_job *j, const struct job_view *v)
{
    int64_t most = 0; /* others may have ended in this step, too */

    for (int i = 0; i < m->njobs; i++)
        most += m->jobs[i].used;
    if (v->found || !rules_may_be_evicted(m, most))
        return false;
    if (j->group >= 0) {
        if (!rules_group_look(m, eyes, &m->groups[j->group]).ended_state)
            return false;
        m->groups[j->group].murky = true;
    }
    j->unseen = true;
    job_end(m, j, VIEW_OK);
    return true;
}

/* Which of the allowed ways did the core go? */
static unsigned job_went(struct model_job *j, const struct job_view *v,
                         unsigned allowed)
{
    unsigned went = 0;

    if (!v->found)
        violation("job %llx was forgotten as it ended",
                  (unsigned long long)j->id);
    switch (v->state) {
    case VIEW_DELAYED:
        went = TO_DELAYED;
        break;
    case VIEW_READY:
    case VIEW_PARKED:
        went = TO_QUEUED;
        break;
    case VIEW_RUNNING:
    case VIEW_CANCELLING:
        went = v->attempt == (int64_t)j->attempt + 1 ? TO_QUEUED : 0;
        break;
    case VIEW_JOINING:
        went = 0;
        break;
    case VIEW_DELIVERING:
        went = j->nthen ? TO_OK : 0;
        break;
    case VIEW_FINISHED:
        went = v->outcome == VIEW_OK       ? TO_OK
               : v->outcome == VIEW_FAILED ? TO_FAILED
                                           : TO_CANCELLED;
        break;
    }
    if (!(went & allowed))
        violation("job %llx: the core went %u (state %d, outcome %d, attempt "
                  "%lld) of which the rules allow %u (1 ok, 2 failed, 4 "
                  "cancelled, 8 queued, 16 delayed); body %d class '%s' "
                  "cancelled %d timed_out %d deadline %d group_failed %d",
                  (unsigned long long)j->id, went, (int)v->state,
                  (int)v->outcome, (long long)v->attempt, allowed, (int)j->body,
                  j->class, j->cancelled, j->timed_out, j->deadline_hit,
                  j->group_failed);
    return went;
}

static struct str last_class(const struct model *m, struct model_eyes *eyes,
                             const struct model_job *j)
{
    struct core_event ev = {.kind = EVENT_RESULT,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.job.id = {j->id}};
    const struct node *map = view_ask(eyes->core, eyes->arena, &ev);
    const struct node *errors = node_get(map, "errors");

    if (errors->v.count == 0) /* if it was the work of others */
        return (struct str){0};
    return node_str(node_get(node_item(errors, errors->v.count - 1), "class"));
}

/* Did it fail for that? Then the disk has lost it. */
static bool lost_payload(const struct model *m, struct model_eyes *eyes,
                         struct model_job *j, const struct job_view *v)
{
    if (!eyes->is_damaged || !v->found || v->outcome != VIEW_FAILED ||
        !str_eq(last_class(m, eyes, j), STR("damaged")))
        return false;
    if (!eyes->is_damaged(eyes->world, j->id))
        violation("job %llx has lost its payload, which is whole",
                  (unsigned long long)j->id);
    j->damaged = true;
    return true;
}

void ends_damaged(struct model *m, struct model_eyes *eyes)
{
    for (int i = 0; eyes->is_damaged && i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];
        struct job_view v;

        if (!j->used || (j->state != MODEL_QUEUED && j->state != MODEL_DELAYED))
            continue;
        v = rules_job_look(m, eyes, j);
        if (lost_payload(m, eyes, j, &v) ||
            (!v.found && eyes->is_damaged(eyes->world, j->id)))
            ends_queued(m, eyes, j, TO_FAILED);
    }
}

/* The classes that the last error of a failed job may have. */
static void job_check_class(struct model *m, struct model_eyes *eyes,
                            const struct model_job *j)
{
    struct str class = last_class(m, eyes, j);

    if (!class.p)
        violation("job %llx failed without an error",
                  (unsigned long long)j->id);
    if (j->damaged && str_eq(class, STR("damaged")))
        return;
    if (j->body == BODY_FAIL && str_eq(class, str_from(j->class)))
        return;
    if (j->timed_out && str_eq(class, STR("timeout")))
        return;
    if (j->deadline_hit && str_eq(class, STR("deadline")))
        return;
    if (j->body == BODY_LOST && str_eq(class, STR("lost")))
        return;
    if (j->nthen && str_eq(class, STR("then")) &&
        (m->queues[j->then[0]].closed || circles_too_large(m, j)))
        return;
    if (j->expires_at != CORE_NONE && j->expires_at <= m->now &&
        j->attempt == 0 && str_eq(class, STR("expired")))
        return;
    if (j->body == BODY_CANCELLED && !j->timed_out && !j->deadline_hit &&
        str_eq(class, STR("cancelled")))
        return;
    violation("job %llx failed with class '%.*s', body %d '%s' timed_out %d "
              "deadline %d",
              (unsigned long long)j->id, (int)class.len, class.p, (int)j->body,
              j->class, j->timed_out, j->deadline_hit);
}

/* A job that has not started ends: cancelled, or by a time. */
void ends_queued(struct model *m, struct model_eyes *eyes, struct model_job *j,
                 unsigned allowed)
{
    struct job_view v = rules_job_look(m, eyes, j);

    if (job_end_unseen(m, eyes, j, &v))
        return;
    if (lost_payload(m, eyes, j, &v))
        allowed |= TO_FAILED;
    (void)job_went(j, &v, allowed);
    if (v.outcome == VIEW_FAILED) {
        job_check_class(m, eyes, j);
        errors_note(m, j, v.errors);
    }
    job_end(m, j, v.outcome);
    errors_look(m, eyes, j);
}

/* Without what chance adds; `up`: rounded that way. */
static int64_t backoff(const struct model_job *j, int64_t i, bool up)
{
    int64_t d = j->base;

    for (; i > 1 && d < j->cap; i--)
        d = (d * j->factor + (up ? 999 : 0)) / 1000 + up;
    return min_i64(d, j->cap);
}

static int64_t backoff_least(const struct model_job *j)
{
    int64_t d = min_i64(backoff(j, 1, false), backoff(j, j->attempt, false));

    return d - (d * j->jitter + 199) / 200;
}

static int64_t backoff_most(const struct model_job *j)
{
    int64_t d = max_i64(backoff(j, 1, true), backoff(j, j->attempt, true));

    return d + (d * j->jitter + 199) / 200 + 1;
}

/* `*` and `?` alone: the world uses no more. */
static bool glob(struct str p, struct str s)
{
    if (p.len == 0)
        return s.len == 0;
    if (p.p[0] == '*')
        return glob((struct str){p.p + 1, p.len - 1}, s) ||
               (s.len > 0 && glob(p, (struct str){s.p + 1, s.len - 1}));
    return s.len > 0 && (p.p[0] == '?' || p.p[0] == s.p[0]) &&
           glob((struct str){p.p + 1, p.len - 1},
                (struct str){s.p + 1, s.len - 1});
}

bool ends_class_in(struct str globs, struct str class)
{
    for (size_t from = 0, to; from <= globs.len; from = to + 1) {
        for (to = from; to < globs.len && globs.p[to] != ','; to++)
            ;
        if (glob((struct str){globs.p + from, to - from}, class))
            return true;
    }
    return false;
}

static bool retryable(const struct model_job *j, const char *class)
{
    struct str all = j->retry_on, s = str_from(class);

    if (all.len == 0)
        return !str_eq(s, STR("cancelled")) && !str_eq(s, STR("deadline")) &&
               !str_eq(s, STR("expired"));
    return ends_class_in(all, s);
}

/* An attempt failed, of which several things may be said. */
static unsigned job_after_failure(const struct model *m,
                                  const struct model_job *j)
{
    int64_t deadline = rules_job_deadline(m, j);
    const char *classes[] = {
        j->timed_out ? "timeout" : NULL, j->group_failed ? "group" : NULL,
        j->body == BODY_FAIL || j->body == BODY_CANCELLED ? j->class : NULL};
    unsigned to = 0;

    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (classes[i])
            to |= retryable(j, classes[i]) ? TO_DELAYED : TO_FAILED;
    if (j->fails >= j->retry || to == TO_FAILED)
        return TO_FAILED;
    if (j->fails + j->maybe_fails >= j->retry)
        to |= TO_FAILED;
    if (backoff_least(j) <= 0)
        to |= TO_QUEUED; /* the delay may be over at once */
    if (deadline != CORE_NONE && m->now + backoff_most(j) >= deadline)
        to |= TO_FAILED;
    return to;
}

/* Several things end in one step: the first may have made the policy of the
 * group cancel the next. */
bool ends_swept(struct model *m, struct model_eyes *eyes,
                const struct model_job *j)
{
    struct group_view v;

    if (j->group < 0 || (j->body != BODY_LOST && j->body != BODY_RELEASED &&
                         j->body != BODY_NONE))
        return false;
    v = rules_group_look(m, eyes, &m->groups[j->group]);
    return v.found && (v.reason.p || v.ended_state);
}

static bool cancelled_now(const struct model *m, const struct model_job *j)
{
    return j->cancelled && j->cancelled_step >= m->since;
}

static unsigned job_ways(const struct model *m, const struct model_job *j);

/* Attempts that end at once end in any order; the first may have had this one
 * cancelled. Had it been over before? */
static unsigned job_ways_before(const struct model *m,
                                const struct model_job *j)
{
    struct model_job before = *j;

    before.cancelled = false;
    return job_ways(m, &before);
}

/* Its timeout was over in this step: the report may have come first, and then
 * it has not been asked to stop. */
static bool timed_out_now(const struct model *m, const struct model_job *j)
{
    return j->timed_out &&
           (j->started_last == m->now || j->asked_step >= m->since);
}

static unsigned job_ways(const struct model *m, const struct model_job *j)
{
    unsigned deadline = TO_FAILED | (j->inherited ? (unsigned)TO_CANCELLED : 0);
    unsigned ways = 0;

    if (j->murky)
        return (j->body == BODY_OK ? (unsigned)TO_OK : 0) | TO_FAILED |
               (j->cancelled || j->deadline_hit ? (unsigned)TO_CANCELLED
                                                : (unsigned)TO_AGAIN) |
               (j->body == BODY_CANCELLED ? (unsigned)TO_CANCELLED : 0);
    if (cancelled_now(m, j) &&
        (j->body == BODY_LOST || j->body == BODY_RELEASED))
        ways = job_ways_before(m, j);
    switch (j->body) {
    case BODY_NONE:
        BUG("an attempt ends without a word");
    case BODY_OK:
        if (j->group_failed)
            return j->cancelled || j->deadline_hit ? TO_FAILED | TO_CANCELLED
                                                   : job_after_failure(m, j);
        if (j->joined && j->deadline_hit)
            return TO_OK | TO_FAILED | TO_CANCELLED;
        if (j->groups_cancelled && j->timed_out)
            return TO_OK | job_after_failure(m, j);
        return j->joined && j->cancelled ? TO_OK | TO_CANCELLED : TO_OK;
    case BODY_FAIL:
        if (j->cancelled)
            return TO_FAILED | TO_CANCELLED;
        return j->deadline_hit ? deadline : job_after_failure(m, j);
    case BODY_CANCELLED:
        if (j->cancelled)
            return TO_CANCELLED |
                   (j->deadline_hit || j->timed_out ? (unsigned)TO_FAILED : 0);
        if (j->deadline_hit)
            return deadline;
        if (j->timed_out)
            return job_after_failure(m, j) |
                   (timed_out_now(m, j) ? (unsigned)TO_CANCELLED : 0);
        return TO_CANCELLED |
               (retryable(j, j->class) ? job_after_failure(m, j) : TO_FAILED);
    case BODY_LOST:
        if (j->cancelled)
            return ways | TO_CANCELLED |
                   (j->deadline_hit || j->timed_out ? (unsigned)TO_FAILED : 0);
        if (j->deadline_hit)
            return deadline;
        if (j->timed_out)
            return TO_AGAIN | TO_FAILED;
        if (j->losts > j->redeliver)
            return TO_FAILED;
        return j->losts + j->maybe_losts <= j->redeliver
                   ? TO_QUEUED
                   : TO_QUEUED | TO_FAILED;
    case BODY_RELEASED:
        if (j->cancelled || j->deadline_hit)
            return ways | TO_CANCELLED |
                   (j->deadline_hit || j->timed_out ? (unsigned)TO_FAILED : 0);
        if (j->timed_out)
            return job_after_failure(m, j) |
                   (timed_out_now(m, j) ? (unsigned)TO_QUEUED : 0);
        return TO_QUEUED;
    }
    BUG("no such body");
}

/* The policy of its group, which the end of another has met in this step, had
 * it cancelled first: one whose own time was up has failed with that all the
 * same.
 */
static unsigned job_ways_swept(const struct model *m, const struct model_job *j)
{
    struct model_job swept = *j;

    swept.cancelled = true;
    return job_ways(m, &swept);
}

static void job_again(struct model *m, struct model_job *j, unsigned went)
{
    if (went == TO_DELAYED) {
        j->state = MODEL_DELAYED;
        j->delay_lo = m->now + backoff_least(j);
        j->delay_hi = m->now + backoff_most(j);
        if (j->deadline != CORE_NONE && j->delay_lo >= j->deadline)
            violation("job %llx is to run again %lld ms past its deadline",
                      (unsigned long long)j->id,
                      (long long)(j->delay_lo - j->deadline));
    } else {
        j->state = MODEL_QUEUED;
    }
    m->retries++;
    j->ready_seq = ++m->seq;
    j->ready_step = j->again_step = m->step;
    j->ahead = j->body == BODY_RELEASED && went == TO_QUEUED && !j->timed_out;
    j->loose = !j->ahead;
    j->notice_due = j->notice_may = false;
    j->timed_out = j->group_failed = j->joined = j->murky = false;
    j->groups_cancelled = false;
    j->body = BODY_NONE;
    j->session = -1;
}

/* Its timeout was over before it was given back. When that came as it waited
 * for what is below it, it had been given back in time. */
static bool stopped_by_timeout(const struct model *m, const struct model_job *j)
{
    return j->timed_out && !timed_out_now(m, j) &&
           (j->body == BODY_CANCELLED ||
            (j->body == BODY_RELEASED && !j->murky));
}

static void job_count_attempt(const struct model *m, struct model_job *j)
{
    if (j->body == BODY_LOST && !j->timed_out)
        j->losts++;
    else if (j->body == BODY_LOST)
        j->maybe_losts++;
    if (j->body == BODY_FAIL ||
        (j->body == BODY_CANCELLED && retryable(j, j->class)) ||
        (j->body == BODY_OK && j->group_failed) || stopped_by_timeout(m, j))
        j->fails++;
    else if (j->timed_out || j->group_failed)
        j->maybe_fails++;
}

/* Its body is done well and its result has to go on. */
static unsigned delivery_ways(const struct model *m, const struct model_job *j)
{
    unsigned ways = 0;

    if (m->queues[j->then[0]].closed)
        ways |= TO_FAILED;
    if (j->deadline_hit)
        ways |= TO_FAILED | (j->inherited ? (unsigned)TO_CANCELLED : 0);
    if (j->cancelled)
        ways |= TO_CANCELLED;
    return ways;
}

bool ends_delivery_waits(const struct model *m, int queue, uint64_t place)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].state == MODEL_DELIVERING &&
            m->jobs[i].then[0] == queue && m->jobs[i].delivery < place)
            return true;
    return false;
}

/* A result that waits is in the next queue by now, or has been given up, or
 * waits on. What makes room for it may not have been looked at yet. */
bool ends_delivery(struct model *m, struct model_eyes *eyes,
                   struct model_job *j)
{
    struct job_view v = rules_job_look(m, eyes, j);
    unsigned ways;

    if (m->early && m->moved == j->id) /* it goes on with its new times */
        return false;
    if (v.found && v.state == VIEW_DELIVERING) {
        if (delivery_ways(m, j) && !m->early && !m->behind)
            violation("the result of job %llx still waits, and must not",
                      (unsigned long long)j->id);
        return false;
    }
    if (!v.found || v.outcome != VIEW_OK) {
        ways = delivery_ways(m, j);
        if (v.outcome == VIEW_FAILED && circles_too_large(m, j))
            ways |= TO_FAILED;
        if (!ways)
            return false; /* what else happens in this step may explain it */
        ends_queued(m, eyes, j, ways);
        return true;
    }
    if (ends_delivery_waits(m, j->then[0], j->delivery) ||
        (!model_queue_has_room(m, j->then[0], j->result_len) &&
         !(m->stumped && model_queue_had_place(m, j->then[0], j->result_len))))
        return false;
    job_follow(m, eyes, j);
    job_end(m, j, VIEW_OK);
    return true;
}

bool ends_circle(struct model *m, struct model_eyes *eyes, struct model_job *j)
{
    struct model_job *ring[MODEL_QUEUES];
    struct job_view v = rules_job_look(m, eyes, j);
    int n = 0;

    if (v.found && v.state == VIEW_FINISHED && v.outcome == VIEW_OK)
        n = circles_turned(m, eyes, j, ring);
    for (int i = 0; i < n; i++) {
        if (ring[i]->state == MODEL_ENDED)
            continue;
        job_follow(m, eyes, ring[i]);
        job_end(m, ring[i], VIEW_OK);
    }
    return n > 0;
}

static void job_deliver(struct model *m, struct model_eyes *eyes,
                        struct model_job *j)
{
    j->state = MODEL_DELIVERING;
    j->delivery = ++m->seq;
    j->session = -1;
    j->timed_out = false;
    (void)ends_delivery(m, eyes, j);
}

/* Attempt and all below it are over: what becomes of the job? */
void ends_finish(struct model *m, struct model_eyes *eyes, struct model_job *j)
{
    struct job_view v = rules_job_look(m, eyes, j);
    unsigned ways, went;

    job_count_attempt(m, j);
    if (job_end_unseen(m, eyes, j, &v)) {
        m->retries_maybe++;
        return;
    }
    ways = job_ways(m, j);
    if (ways & TO_AGAIN &&
        (m->queues[j->queue].closed_now || m->purged == j->queue))
        ways |= TO_CANCELLED;
    if (m->stopped == j->id && /* before it, or where it is queued again */
        (ways & TO_AGAIN || j->body == BODY_LOST || j->body == BODY_RELEASED))
        ways |= TO_CANCELLED;
    if (ways & TO_OK && j->nthen) {
        ways |= delivery_ways(m, j);
        if (circles_too_large(m, j))
            ways |= TO_FAILED;
    }
    if (ends_swept(m, eyes, j))
        ways |= job_ways_swept(m, j);
    if (ways & TO_AGAIN && lost_payload(m, eyes, j, &v))
        ways |= TO_FAILED;
    went = job_went(j, &v, ways);
    if (v.errors < j->errors || v.errors > j->errors + 2)
        violation("job %llx had %lld errors, has %lld",
                  (unsigned long long)j->id, (long long)j->errors,
                  (long long)v.errors);
    if (((went == TO_OK && !j->timed_out && !j->deadline_hit) ||
         (j->body == BODY_RELEASED && went == TO_QUEUED && !j->timed_out)) &&
        v.errors != j->errors)
        violation("job %llx kept an error of an attempt that did not fail",
                  (unsigned long long)j->id);
    errors_note(m, j, v.errors);
    if (went & (TO_QUEUED | TO_DELAYED)) {
        job_again(m, j, went);
        return;
    }
    if (cancelled_now(m, j)) /* queued again, and cancelled there? */
        ways |= job_ways_before(m, j);
    m->retries_maybe += (ways & TO_AGAIN) != 0;
    if (went == TO_FAILED && !j->murky && !j->group_failed && !j->cancelled)
        job_check_class(m, eyes, j);
    if (went == TO_OK && j->nthen)
        job_deliver(m, eyes, j);
    else
        job_end(m, j, v.outcome);
    if (j->state == MODEL_ENDED)
        errors_look(m, eyes, j);
}

/* Did it end by itself in this step, before what is looked at now? */
bool ends_group_well(struct model *m, struct model_eyes *eyes,
                     const struct model_group *g)
{
    struct group_view v = rules_group_look(m, eyes, g);

    return v.ended_state && !v.reason.p;
}

void ends_attempt(struct model *m, struct model_eyes *eyes, struct model_job *j)
{
    bool asked = j->state == MODEL_CANCELLING || j->kept_back;

    j->shield_until = 0; /* over with the body */
    j->kept_back = false;
    j->notice_due = j->notice_may = false;
    j->body_ended = m->now;
    if (!rules_job_has_groups(m, j)) {
        ends_finish(m, eyes, j);
        return;
    }
    j->state = MODEL_JOINING;
    j->joined = true;
    for (int i = 0; i < m->ngroups; i++) {
        struct model_group *g = &m->groups[i];

        if (!rules_group_live(g) || !g->parent_is_job ||
            &m->jobs[g->parent] != j)
            continue;
        if (j->body == BODY_OK)
            g->closed |= !asked; /* else it is cancelled */
        else if (!ends_group_well(m, eyes, g))
            rules_group_cancel(m, g, NULL);
    }
}

static unsigned group_ways(const struct model *m, const struct model_group *g)
{
    unsigned ways = TO_OK;
    bool short_of = g->succeed > 0 && !g->succeed_reached;

    if (g->murky)
        return TO_OK | TO_FAILED | TO_CANCELLED;
    if (g->fail_reached)
        ways = TO_FAILED | (g->succeed_reached ? (unsigned)TO_OK : 0);
    else if (g->deadline_hit)
        ways = TO_FAILED | (g->inherited ? (unsigned)TO_CANCELLED : 0);
    else if (g->succeed_reached)
        ways = TO_OK;
    else if (short_of)
        ways = TO_FAILED;
    else if (g->outside)
        ways = TO_CANCELLED;
    /* cancelled from outside while it was about to end by itself */
    if (g->outside && (short_of || g->succeed_reached || g->deadline_hit))
        ways |= TO_CANCELLED;
    /* or was it over just before its time was */
    if (g->deadline_hit && (g->succeed_reached || m->jumped))
        ways |= TO_OK;
    return ways;
}

static unsigned group_went(const struct group_view *v)
{
    return v->outcome == VIEW_OK       ? TO_OK
           : v->outcome == VIEW_FAILED ? TO_FAILED
                                       : TO_CANCELLED;
}

void ends_group(struct model *m, struct model_group *g,
                const struct group_view *v)
{
    unsigned went = group_went(v);
    bool collect = g->fail == 0 && g->succeed == 0;

    /* it may have ended just before the cancel of the same step */
    if (g->outside && g->outside_step >= m->since && !v->reason.p)
        g->outside = false;
    if (!(went & group_ways(m, g)))
        violation("group %llx: outcome %d (%.*s), the rules allow %u (1 ok, 2 "
                  "failed, "
                  "4 cancelled); fail_reached %d succeed_reached %d outside "
                  "%d deadline %d ok %lld fails %lld of %lld",
                  (unsigned long long)g->id, (int)v->outcome,
                  (int)v->reason.len, v->reason.p, group_ways(m, g),
                  g->fail_reached, g->succeed_reached, g->outside,
                  g->deadline_hit, (long long)g->ok, (long long)g->fails,
                  (long long)g->members);
    errors_group_ended(m, g, v);
    g->ended = true;
    g->outcome = v->outcome;
    g->ended_at = m->now;
    g->end_step = m->step;
    if (!g->parent_is_job)
        group_count(m, g->parent, v->outcome, !collect);
    else if (v->outcome == VIEW_FAILED && !collect) {
        m->jobs[g->parent].group_failed = true;
        m->jobs[g->parent].asked_step = m->step;
    }
}

bool ends_group_fits(const struct model *m, const struct model_group *g,
                     const struct group_view *v)
{
    return (group_went(v) & group_ways(m, g)) != 0;
}

/* Has it been accepted since what is looked at began, and not been touched? */
static bool is_new(const struct model *m, const struct model_job *j)
{
    return j->used && j->submit_seq > m->began && j->ready_seq == j->submit_seq;
}

/* Of a pair of them the one with the smaller id came first. */
static bool put_in_order(struct model_job *a, struct model_job *b)
{
    uint64_t seq = a->submit_seq;

    if (a->id > b->id || seq <= b->submit_seq)
        return false;
    a->submit_seq = a->ready_seq = b->submit_seq;
    b->submit_seq = b->ready_seq = seq;
    return true;
}

void ends_in_order(struct model *m)
{
    bool changed;

    do { /* a swap may put another pair out of order */
        changed = false;
        for (int i = 0; i < m->njobs; i++)
            for (int k = 0; k < m->njobs && is_new(m, &m->jobs[i]); k++)
                changed |= is_new(m, &m->jobs[k]) &&
                           put_in_order(&m->jobs[i], &m->jobs[k]);
    } while (changed);
}
