/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attempt - a job while it runs: asked to stop, its body ended, joined with
 * what is below it; then run again, or not.
 */
#include "core/attempt.h"

#include "core/deadline.h"
#include "core/deliver.h"
#include "core/drain.h"
#include "core/errors.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/live.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/retry.h"
#include "core/worker.h"

#define REASON_PARENT_FAILED "parent-failed"

/* ------------------------------------------------------------------- apply */

struct run *run_new(struct core *c, struct job *j)
{
    struct run *run = slabs_zalloc(&c->slabs, sizeof(*run));

    run->job = j;
    run->timer.kind = TIMER_RUN;
    list_init(&run->groups);
    list_init(&run->notice);
    list_init(&run->sweep);
    list_init(&run->delivery);
    list_init(&run->fed);
    account(c, sizeof(*run));
    run->payload = j->u.payload;
    j->u.run = run;
    return run;
}

void run_free(struct core *c, struct job *j)
{
    struct run *run = j->u.run;
    char *payload = run->payload;

    ASSERT(list_empty(&run->groups));
    timer_stop(c, &run->timer);
    list_remove(&run->notice);
    list_remove(&run->sweep);
    deliver_leave(c, run);
    if (run->result)
        account(c, -(int64_t)run->result_len);
    if (run->ready)
        account(c, -(int64_t)run->ready_len);
    mem_free(run->result);
    mem_free(run->progress);
    mem_free(run->ready);
    account(c, -(int64_t)sizeof(*run));
    slabs_free(&c->slabs, run, sizeof(*run));
    j->u.payload = payload;
}

bool attempt_body_was_done(const struct job *j, const struct record_verdict *v)
{
    if (!job_has_run(j))
        return false;
    return j->state == JOB_DELIVERING ||
           (j->state == JOB_JOINING && j->u.run->verdict == VERDICT_OK) ||
           (j->u.run->child_failed && str_eq(v->class, STR("group")) &&
            str_eq(v->message, STR(MESSAGE_GROUP_FAILED)));
}

/* It is to stop: no shield holds that back any more. */
static void set_asked(struct core *c, struct job *j, enum cause cause)
{
    struct run *run = j->u.run;

    run->asked = (uint8_t)cause;
    run->asked_late = j->state == JOB_JOINING;
    run->shield_ms = 0;
    if (j->state == JOB_RUNNING)
        job_move(c, j, JOB_CANCELLING, &run->session->held, false);
    attempt_arm(c, j);
}

const char *attempt_apply_start(struct core *c, struct job *j,
                                const struct record *r)
{
    struct session *s;
    struct run *run;

    if (!job_not_started(j))
        return "start of a job that is not queued";
    if (r->u.start.attempt != j->attempt + 1 || r->u.start.session == 0)
        return "attempt out of order";
    /* On replay it may still be parked or delayed by a clock that has moved;
     * the record says that it was ready. */
    job_pass_through_ready(c, j);
    s = session_get(c, r->u.start.session);
    job_move(c, j, JOB_RUNNING, &s->held, false);
    if (j->extra)
        timer_stop(c, &j->extra->timer);
    j->attempt++;
    run = run_new(c, j);
    run->session = s;
    run->started_ms = r->at_ms;
    run->grace_ms = j->options->grace_ms;
    /* Its lease counts from its start, however long the worker has waited. */
    s->seen_ms = max_i64(s->seen_ms, r->at_ms);
    group_active(c, j->group, +1);
    attempt_arm(c, j);
    session_arm(c, s);
    return NULL;
}

const char *attempt_apply_ask(struct core *c, struct job *j,
                              const struct record *r)
{
    enum cause cause = (enum cause)r->u.ask.cause;
    struct run *run = j->u.run;

    if (!job_runs(j) || cause == CAUSE_NONE || cause >= CAUSES_COUNT ||
        !attempt_can_be_asked(run, cause))
        return "ask of a job that cannot be asked";
    run->cancelled_first = run->cancelled;
    if (cause == CAUSE_CANCEL) {
        run->cancelled = true;
        job_set_reason(c, job_extra(c, j), r->u.ask.reason);
    }
    if (run->asked != CAUSE_NONE)
        return NULL;
    run->grace_ms = r->u.ask.grace_ms;
    if (cause != CAUSE_CANCEL || !run->shield_ms)
        set_asked(c, j, cause);
    return NULL;
}

const char *attempt_apply_shield(struct core *c, struct job *j,
                                 const struct record *r)
{
    struct run *run = j->u.run;

    if ((j->state != JOB_RUNNING && j->state != JOB_CANCELLING) ||
        r->u.until_ms < 0 || (r->u.until_ms && run->asked != CAUSE_NONE))
        return "shield of a job that cannot be shielded";
    run->shield_ms = r->u.until_ms;
    if (!run->shield_ms && run->cancelled && run->asked == CAUSE_NONE)
        set_asked(c, j, CAUSE_CANCEL);
    attempt_arm(c, j);
    return NULL;
}

const char *attempt_apply_ready(struct core *c, struct job *j,
                                const struct record *r)
{
    struct run *run = j->u.run;

    if ((j->state != JOB_RUNNING && j->state != JOB_CANCELLING) ||
        run->is_ready)
        return "impossible announcement of a job";
    run->is_ready = true;
    run->ready = mem_dup(r->u.ready.p, r->u.ready.len);
    run->ready_len = (uint32_t)r->u.ready.len;
    account(c, run->ready_len);
    return NULL;
}

const char *attempt_apply_joining(struct core *c, struct job *j,
                                  const struct record *r)
{
    const struct record_verdict *v = &r->u.verdict;
    struct run *run = j->u.run;

    if (j->state != JOB_RUNNING && j->state != JOB_CANCELLING)
        return "joining of a job that is not running";
    if (v->kind >= VERDICT_COUNT)
        return "unknown verdict";
    run->verdict = v->kind;
    if (v->has_error)
        errors_of_attempt(c, j, v, r->at_ms);
    if (v->kind == VERDICT_OK) {
        run->result = mem_dup(v->result.p, v->result.len);
        run->result_len = (uint32_t)v->result.len;
        account(c, run->result_len);
    }
    list_remove(&run->notice);
    run->session = NULL;
    job_move(c, j, JOB_JOINING, &c->joining, false);
    run->shield_ms = 0;
    if (run->cancelled && run->asked == CAUSE_NONE)
        set_asked(c, j, CAUSE_CANCEL);
    attempt_arm(c, j);
    return NULL;
}

const char *attempt_apply_deliver(struct core *c, struct job *j,
                                  const struct record *r)
{
    struct str result = r->u.verdict.result;
    struct run *run = j->u.run;

    if (!job_runs(j) || run->live_groups || !j->extra || !j->extra->then)
        return "delivery of a job that is not done";
    if (run->result) /* replay: it was joining */
        account(c, -(int64_t)run->result_len);
    mem_free(run->result);
    run->result = mem_dup(result.p, result.len);
    run->result_len = (uint32_t)result.len;
    account(c, run->result_len);
    list_remove(&run->notice);
    run->session = NULL;
    group_active(c, j->group, -1);
    job_move(c, j, JOB_DELIVERING, &c->delivering, false);
    run->shield_ms = 0;
    if (run->cancelled && run->asked == CAUSE_NONE)
        set_asked(c, j, CAUSE_CANCEL);
    run->place = r->u.verdict.next;
    if (run->place >= c->next_place)
        c->next_place = run->place + 1;
    if (c->started) /* else deliver_start, when all queues are there */
        (void)deliver_line_up(c, j);
    attempt_arm(c, j);
    return NULL;
}

const char *attempt_apply_requeue(struct core *c, struct job *j,
                                  const struct record *r)
{
    const struct record_verdict *v = &r->u.verdict;
    struct extra *x;

    if (!job_runs(j) || j->u.run->live_groups)
        return "requeue of a job that is not running";
    if (v->kind >= VERDICT_COUNT || v->not_before_ms < 0)
        return "requeue with an impossible verdict";
    x = job_extra(c, j);
    if (v->has_error)
        errors_of_attempt(c, j, v, r->at_ms);
    if ((v->kind == VERDICT_FAILED || v->kind == VERDICT_STOPPED) &&
        (c->started || !PLANTED(RETRIES_FORGOTTEN)))
        x->failures++;
    if (v->kind == VERDICT_LOST)
        x->losses++;
    x->errors_below = j->u.run->errors_below;
    run_free(c, j);
    group_active(c, j->group, -1);
    x->not_before_ms = v->not_before_ms;
    if (v->not_before_ms)
        job_move(c, j, JOB_DELAYED, &job_queue(j)->delayed, false);
    else
        job_become_ready(c, j, true);
    job_arm_queued(c, j);
    return NULL;
}

/* --------------------------------------------------------------- decisions */

bool attempt_shielded(const struct job *j)
{
    return job_runs(j) && j->u.run->shield_ms != 0;
}

bool attempt_past_timeout(const struct core *c, const struct job *j)
{
    return j->options->timeout_ms != CORE_NONE &&
           c->now_ms >= j->u.run->started_ms + j->options->timeout_ms;
}

void attempt_arm(struct core *c, struct job *j)
{
    struct run *run = j->u.run;
    int64_t at = INT64_MAX;

    if (j->state == JOB_DELIVERING) {
        if (j->options->deadline_ms != CORE_NONE)
            at = j->options->deadline_ms;
    } else if (run->asked == CAUSE_NONE) {
        if (j->options->timeout_ms != CORE_NONE)
            at = run->started_ms + j->options->timeout_ms;
        if (j->options->deadline_ms != CORE_NONE)
            at = min_i64(at, j->options->deadline_ms);
        if (run->shield_ms && !PLANTED(SHIELD_UNBOUND))
            at = min_i64(at, run->shield_ms);
    }
    if (at == INT64_MAX)
        timer_stop(c, &run->timer);
    else
        timer_set(c, &run->timer, at);
}

/* A cancel is a level: it also reaches an attempt that was asked to stop
 * because its own time was up, and keeps it from being tried again. */
bool attempt_can_be_asked(const struct run *run, enum cause cause)
{
    return cause == CAUSE_CANCEL ? !run->cancelled : run->asked == CAUSE_NONE;
}

const char *attempt_cancelled(const struct job *j)
{
    const char *reason = attempt_stops_groups(j);

    return reason || attempt_shielded(j) ? reason : group_cancelled(j->group);
}

const char *attempt_stops_groups(const struct job *j)
{
    const struct run *run = j->u.run;

    switch ((enum cause)run->asked) {
    case CAUSE_TIMEOUT:
        return "timeout";
    case CAUSE_DEADLINE:
        return "deadline";
    case CAUSE_CANCEL:
    case CAUSE_FAIL:
    case CAUSE_SUCCEED:
    case CAUSE_UNREACHABLE:
        return j->extra && j->extra->reason ? j->extra->reason : "cancelled";
    case CAUSE_NONE:
    case CAUSES_COUNT:
        break;
    }
    return j->state == JOB_JOINING && run->verdict != VERDICT_OK
               ? REASON_PARENT_FAILED
               : NULL;
}

/* They are cancelled; when the body is done and was not asked to stop they
 * are closed. */
void attempt_sweep_begin(struct core *c, struct run *run)
{
    if (run->live_groups == 0 ||
        (run->asked == CAUSE_NONE && run->job->state != JOB_JOINING))
        return;
    run->sweep_left = run->live_groups;
    list_remove(&run->sweep);
    list_push_back(&c->run_sweeps, &run->sweep);
}

/* The last group to end may take the attempt with it. */
void attempt_sweep(struct core *c, struct run *run)
{
    const char *reason = attempt_stops_groups(run->job);
    struct list *first = list_first(&run->groups);
    struct group *g;

    if (!first || --run->sweep_left == 0)
        list_remove(&run->sweep);
    if (!first)
        return;
    list_remove(first);
    list_push_back(&run->groups, first);
    g = list_entry(first, struct group, sibling);
    if (reason)
        group_cancel(c, g, CAUSE_CANCEL, str_from(reason),
                     run->asked == CAUSE_NONE ? CORE_UNSET : run->grace_ms);
    else
        group_close(c, g);
}

/* It has been asked to stop, by its last record: its worker is told, and
 * everything below it is cancelled with it. */
static void tell(struct core *c, struct run *run)
{
    if (run->session) {
        list_push_back(&run->session->notices, &run->notice);
        session_notify(c, run->session);
    }
    attempt_sweep_begin(c, run);
}

/* A shield keeps the cancel back. */
void attempt_ask(struct core *c, struct job *j, enum cause cause,
                 struct str reason, int64_t grace_ms)
{
    struct run *run = j->u.run;
    bool first = run->asked == CAUSE_NONE;

    if (!attempt_can_be_asked(run, cause))
        return;
    if (grace_ms == CORE_UNSET)
        grace_ms = j->options->grace_ms;
    core_record(c, &(struct record){.type = RECORD_ASK,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.ask = {.cause = (uint8_t)cause,
                                              .grace_ms = grace_ms,
                                              .reason = reason}});
    if (first && run->asked != CAUSE_NONE)
        tell(c, run);
}

/* Until that time; 0: it is over, and what it kept back is delivered. */
static void set_shield(struct core *c, struct job *j, int64_t until_ms)
{
    struct run *run = j->u.run;

    if (run->shield_ms == until_ms)
        return;
    core_record(c, &(struct record){.type = RECORD_SHIELD,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.until_ms = until_ms});
    if (run->asked != CAUSE_NONE)
        tell(c, run);
}

/* Of the attempt that is over; it was kept when the job began to join. */
static struct str error_class(const struct job *j,
                              const struct record_verdict *v)
{
    const struct extra *x = j->extra;

    if (v->has_error || !x || !x->nerrors ||
        x->errors[x->nerrors - 1].attempt != j->attempt)
        return v->class;
    return x->errors[x->nerrors - 1].class;
}

/* May the job run again after this verdict? *not_before_ms: when. */
static bool will_run_again(const struct core *c, const struct job *j,
                           const struct record_verdict *v,
                           int64_t *not_before_ms)
{
    const struct extra *x = j->extra;
    uint32_t failures = x ? x->failures : 0, losses = x ? x->losses : 0;
    const struct run *run = j->u.run;

    int64_t deadline =
        deadline_earlier(j->options->deadline_ms, deadline_of_group(j->group));

    *not_before_ms = 0;
    if (run->cancelled || run->asked == CAUSE_DEADLINE ||
        job_past_deadline(c, j) || group_cancelled(j->group))
        return false;
    switch ((enum verdict_kind)v->kind) {
    case VERDICT_RELEASED:
        return true;
    case VERDICT_LOST:
        return losses < j->options->redeliver;
    case VERDICT_STOPPED:
        if (run->asked != CAUSE_TIMEOUT)
            return false;
        break;
    case VERDICT_OK: /* a group under it failed */
    case VERDICT_FAILED:
        break;
    case VERDICT_COUNT:
        BUG("no verdict");
    }
    if (failures + 1 >= j->options->retry ||
        !retry_wanted(j->options, error_class(j, v)))
        return false;
    *not_before_ms = c->now_ms + retry_delay(c, j->options, failures + 1);
    return deadline == CORE_NONE || PLANTED(RETRY_PAST_DEADLINE) ||
           *not_before_ms < deadline;
}

static void requeue(struct core *c, struct job *j,
                    const struct record_verdict *v)
{
    struct queue *q = job_queue(j);

    core_record(c, &(struct record){.type = RECORD_REQUEUE,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.verdict = *v});
    c->totals.retried += !(PLANTED(RETRY_UNCOUNTED) && v->kind == VERDICT_LOST);
    drain_begin(c, q);
    queue_wake(c, q);
}

/* A job that stopped because its own time was up has failed with that. */
static void explain_stop(const struct run *run, struct record_verdict *v)
{
    if (v->kind != VERDICT_STOPPED)
        return;
    if (run->asked == CAUSE_TIMEOUT) {
        v->has_error = true;
        v->class = STR("timeout");
        v->message = STR("the attempt took longer than its timeout");
    } else if (run->asked == CAUSE_DEADLINE) {
        v->has_error = true;
        v->class = STR("deadline");
        v->message = STR("the job's deadline passed");
    }
}

/* The attempt is over and nothing is left below it: what becomes of the job?
 * `v` has the error, unless it was kept when the job began to join. */
static void attempt_over(struct core *c, struct job *j,
                         struct record_verdict *v)
{
    const struct run *run = j->u.run;
    enum verdict_kind kind = (enum verdict_kind)v->kind;
    bool again;

    deadline_reach(c, j->group);
    if (kind == VERDICT_OK && run->asked_late && run->child_cancelled) {
        /* The body was done; what was stopped was below it. */
        kind = VERDICT_STOPPED;
        v->kind = VERDICT_STOPPED;
        v->result = (struct str){0};
        explain_stop(run, v);
    } else if (kind == VERDICT_OK && run->child_failed) {
        kind = VERDICT_FAILED;
        v->kind = VERDICT_FAILED;
        v->has_error = true;
        v->class = STR("group");
        v->message = STR(MESSAGE_GROUP_FAILED);
        v->result = (struct str){0};
    }
    if (kind == VERDICT_OK && j->extra && j->extra->then) {
        deliver_result(c, j, v->result);
        return;
    }
    if (kind == VERDICT_OK) {
        v->outcome = OUTCOME_OK;
        job_end(c, j, v);
        return;
    }
    again = will_run_again(c, j, v, &v->not_before_ms);
    if (again) {
        requeue(c, j, v);
        payload_wanted_again(c, j);
        return;
    }
    v->not_before_ms = 0;
    v->outcome = OUTCOME_FAILED;
    if (kind == VERDICT_STOPPED && run->asked != CAUSE_TIMEOUT &&
        run->asked != CAUSE_DEADLINE)
        v->outcome = OUTCOME_CANCELLED;
    if ((kind == VERDICT_RELEASED || kind == VERDICT_LOST) &&
        (run->cancelled || group_cancelled(j->group)))
        v->outcome = OUTCOME_CANCELLED;
    if (kind == VERDICT_RELEASED && v->outcome == OUTCOME_FAILED) {
        v->has_error = true;
        v->class = STR("deadline");
        v->message = STR("the job's deadline passed");
    }
    if (v->outcome == OUTCOME_CANCELLED && !(j->extra && j->extra->reason)) {
        const char *reason;

        /* The cancel of a scope above may not have come here yet. The group
         * gets it first, or would end as if nobody had stopped it. */
        group_reach(c, j->group);
        reason = group_cancelled(j->group);
        v->reason = reason ? str_from(reason) : STR("worker");
    }
    job_end(c, j, v);
}

void attempt_body_ended(struct core *c, struct job *j, const struct verdict *v)
{
    struct run *run = j->u.run;
    struct record_verdict rv = {
        .kind = (uint8_t)v->kind,
        .result = v->result,
        .has_error = v->kind == VERDICT_FAILED || v->kind == VERDICT_LOST,
        .class = v->class,
        .message = v->message,
        .detail = v->detail,
    };

    /* To give back what has used up its time does not undo that: what always
     * takes too long would be tried for ever. */
    if (v->kind == VERDICT_RELEASED && run->asked == CAUSE_TIMEOUT)
        rv.kind = VERDICT_STOPPED;
    explain_stop(run, &rv);
    if (run->live_groups == 0) {
        attempt_over(c, j, &rv);
        return;
    }
    core_record(c, &(struct record){.type = RECORD_JOINING,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.verdict = rv});
    attempt_sweep_begin(c, run);
}

void attempt_child_ended(struct core *c, struct job *j)
{
    struct run *run = j->u.run;
    struct record_verdict v = {0};
    char *result;

    if (j->state != JOB_JOINING || run->live_groups)
        return;
    v.kind = run->verdict;
    v.result = (struct str){run->result, run->result_len};
    /* The record is applied while its strings are read: keep them alive. */
    result = run->result;
    account(c, -(int64_t)run->result_len);
    live_job(c, j, -1);
    run->result = NULL;
    run->result_len = 0;
    live_job(c, j, +1);
    attempt_over(c, j, &v);
    mem_free(result);
}

void attempt_timer(struct core *c, struct run *run)
{
    struct job *j = run->job;

    if (j->state == JOB_DELIVERING) {
        deliver_timer(c, j);
        return;
    }
    if (job_past_deadline(c, j))
        attempt_ask(c, j, CAUSE_DEADLINE, STR("deadline"), CORE_UNSET);
    else if (attempt_past_timeout(c, j))
        attempt_ask(c, j, CAUSE_TIMEOUT, STR("timeout"), CORE_UNSET);
    else if (run->shield_ms && c->now_ms >= run->shield_ms)
        set_shield(c, j, 0);
    else
        attempt_arm(c, j);
}

/* ------------------------------------------------------------------ shield */

void attempt_shield(struct core *c, const struct core_event *ev)
{
    int64_t ms = min_i64(ev->u.report.shield_ms, c->limits.shield_max_ms);
    struct job *j = worker_current(c, ev);

    if (!j)
        return;
    deadline_reach(c, j->group);
    if (timer_due(c, &j->u.run->timer))
        attempt_timer(c, j->u.run);
    if (j->u.run->asked != CAUSE_NONE || j->u.run->cancelled ||
        group_cancelled(j->group)) {
        reply_error(c, ev->client, CORE_ERR_CANCELLED,
                    "the job is already cancelled or out of time; a shield "
                    "comes too late");
        return;
    }
    value_int(reply_begin(c, ev->client), ms);
    reply_end(c);
    set_shield(c, j, ms > 0 ? c->now_ms + ms : 0);
}

void attempt_unshield(struct core *c, const struct core_event *ev)
{
    struct job *j = worker_current(c, ev);

    if (!j)
        return;
    reply_ok(c, ev->client);
    set_shield(c, j, 0);
}
