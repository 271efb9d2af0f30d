/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * news - what those who watch are told: one value for each fact.
 *
 *     [[whom, ...], {event, time, kind, id, ...}]
 *
 * `whom` names those whom it concerns: the job (an id), its queue (a string),
 * and the groups around it from the inside out (ids), of which the root is the
 * last. The names of events and fields are those of doc/protocol.md.
 *
 * A fact is told as it was recorded, after it was applied; the engine sees to
 * it that it is durable first. While nobody watches nothing of this is called.
 * To tell it may cost more than the fact itself, so it counts as work: a step
 * of which much is told does less.
 */
#include "core/news.h"

#include "core/attempt.h"
#include "core/errors.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/queue.h"

struct news {
    struct buf *b;
    size_t pairs_at;
    uint32_t pairs;
};

/* ------------------------------------------------------------------ writing */

static void field(struct news *n, const char *name)
{
    value_str(n->b, str_from(name));
    n->pairs++;
}

static void field_text(struct news *n, const char *name, const char *text)
{
    field(n, name);
    value_str_or_null(n->b, str_from(text));
}

static void field_str(struct news *n, const char *name, struct str s)
{
    field(n, name);
    value_str_or_null(n->b, s);
}

static void field_int(struct news *n, const char *name, int64_t i)
{
    field(n, name);
    value_int(n->b, i);
}

/* A time; 0 and CORE_NONE: none. */
static void field_time(struct news *n, const char *name, int64_t at_ms)
{
    field(n, name);
    if (at_ms > 0)
        value_int(n->b, at_ms);
    else
        value_null(n->b);
}

static void field_id(struct news *n, const char *name, char kind, uint64_t id)
{
    field(n, name);
    value_id(n->b, kind, id, 0);
}

/* What is told on the channels of this group and of those around it. */
static uint32_t put_groups(struct core *c, struct buf *b, struct group *g)
{
    uint32_t n = 1;

    for (; g->id; g = group_above(c, g), n++)
        value_id(b, 'g', g->id, 0);
    value_id(b, 'g', 0, 0);
    return n;
}

static void begin(struct core *c, struct news *n, const struct job *j,
                  const struct queue *q, struct group *g)
{
    struct core_effect *e = effect_add(c->out, EFFECT_NEWS);
    struct buf *b = &c->out->values;
    size_t count_at;
    uint32_t count = 0;

    e->at = b->len;
    value_array(b, 2);
    count_at = value_array(b, 0);
    if (j) {
        value_id(b, 'j', j->node.hash, 0);
        count++;
    }
    if (q) {
        value_str(b, (struct str){q->name, q->name_len});
        count++;
    }
    count += put_groups(c, b, g);
    value_set_count(b, count_at, count);
    c->work -= count * c->news_work;
    *n = (struct news){.b = b, .pairs_at = value_map(b, 0)};
}

static void end(struct core *c, struct news *n)
{
    struct core_effect *e = &c->out->list[c->out->len - 1];

    ASSERT(e->kind == EFFECT_NEWS);
    value_set_count(n->b, n->pairs_at, n->pairs);
    e->len = n->b->len - e->at;
}

/* --------------------------------------------------------------------- jobs */

static void begin_job(struct core *c, struct news *n, const struct job *j,
                      const char *event)
{
    begin(c, n, j, job_queue(j), j->group);
    field_text(n, "event", event);
    field_int(n, "time", c->now_ms);
    field_text(n, "kind", "job");
    field_id(n, "id", 'j', j->node.hash);
    field_str(n, "queue",
              (struct str){job_queue(j)->name, job_queue(j)->name_len});
    field_id(n, "group", 'g', j->group->id);
    field_text(n, "name", j->extra ? j->extra->name : NULL);
    field_int(n, "attempt", j->attempt);
}

/* The error of the attempt that is over, if it has one. */
static void field_error(struct news *n, const struct job *j)
{
    const struct extra *x = j->extra;
    const struct job_error *e =
        x && x->nerrors ? &x->errors[x->nerrors - 1] : NULL;

    if (e && e->attempt != j->attempt)
        e = NULL;
    field_str(n, "class", e ? e->class : (struct str){0});
    field_str(n, "message", e ? e->message : (struct str){0});
}

static const char *const causes[] = {
#define X(id, name) [CAUSE_##id] = name,
    CAUSES(X)
#undef X
};

static void field_cancel(struct news *n, const struct record *r)
{
    field_text(n, "cause", causes[r->u.ask.cause]);
    field_str(n, "reason", r->u.ask.reason);
}

/* How an attempt ended that will not be the last. */
static const char *verdict_name(enum verdict_kind kind)
{
    switch (kind) {
    case VERDICT_RELEASED:
        return "released";
    case VERDICT_LOST:
        return "lost";
    case VERDICT_STOPPED:
        return "stopped";
    case VERDICT_OK: /* a group under it failed */
    case VERDICT_FAILED:
    case VERDICT_COUNT:
        break;
    }
    return "failed";
}

static void tell_end(struct core *c, const struct job *j)
{
    const struct end *e = j->u.end;
    struct news n;

    begin_job(c, &n, j, "ended");
    field_text(&n, "outcome", outcome_name((enum outcome)e->outcome));
    if (e->outcome == OUTCOME_FAILED)
        field_error(&n, j);
    if (e->outcome == OUTCOME_CANCELLED)
        field_text(&n, "reason", j->extra ? j->extra->reason : NULL);
    if (e->outcome == OUTCOME_OK) {
        field_int(&n, "result_bytes", e->result_len);
        field(&n, "next");
        if (j->extra && j->extra->next)
            value_id(n.b, 'j', j->extra->next, 0);
        else
            value_null(n.b);
    }
    end(c, &n);
}

void news_of_job(struct core *c, const struct record *r)
{
    const struct job *j = find_job(c, (struct job_id){r->id});
    struct news n;

    switch (r->type) {
    case RECORD_JOB:
        begin_job(c, &n, j, "accepted");
        field_int(&n, "priority", j->priority);
        field_int(&n, "payload_bytes", j->payload_len);
        field_time(&n, "not_before", r->u.job.not_before_ms);
        break;
    case RECORD_START:
        begin_job(c, &n, j, "started");
        break;
    case RECORD_READY:
        begin_job(c, &n, j, "ready");
        field_str(&n, "value",
                  (struct str){j->u.run->ready, j->u.run->ready_len});
        break;
    case RECORD_ASK:
        begin_job(c, &n, j, "cancel");
        field_cancel(&n, r);
        field_time(&n, "shielded", j->u.run->shield_ms);
        break;
    case RECORD_JOINING:
        begin_job(c, &n, j, "joining");
        break;
    case RECORD_DELIVER:
        begin_job(c, &n, j, "delivering");
        break;
    case RECORD_REQUEUE:
        begin_job(c, &n, j, "requeued");
        field_text(&n, "why",
                   verdict_name((enum verdict_kind)r->u.verdict.kind));
        field_error(&n, j);
        field_time(&n, "not_before", r->u.verdict.not_before_ms);
        break;
    case RECORD_END:
        tell_end(c, j);
        if (PLANTED(TOLD_TWICE) && j->u.end->outcome == OUTCOME_FAILED)
            tell_end(c, j);
        return;
    case RECORD_SHIELD:
    case RECORD_CLEAR:
    case RECORD_RESCHEDULE:
        return;
    case RECORD_GROUP:
    case RECORD_GROUP_CLOSE:
    case RECORD_GROUP_CANCEL:
    case RECORD_GROUP_END:
    case RECORD_GROUP_TIME:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
    case RECORD_QUEUE:
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
    case RECORD_SESSION:
    case RECORD_JOB_IMAGE:
    case RECORD_GROUP_IMAGE:
    case RECORD_GROUP_IDS:
    case RECORD_JOB_ERRORS:
        BUG("not a record of a job");
    }
    end(c, &n);
}

void news_of_progress(struct core *c, const struct job *j)
{
    struct news n;

    if (!c->news_work)
        return;
    begin_job(c, &n, j, "progress");
    field_text(&n, "progress", j->u.run->progress);
    end(c, &n);
}

/* ------------------------------------------------------------------- groups */

static void begin_group(struct core *c, struct news *n, struct group *g,
                        const char *event)
{
    begin(c, n, NULL, NULL, g);
    field_text(n, "event", event);
    field_int(n, "time", c->now_ms);
    field_text(n, "kind", "group");
    field_id(n, "id", 'g', g->id);
    field_id(n, "parent", g->parent_attempt ? 'j' : 'g', g->parent_id);
    field_text(n, "name", g->name);
}

void news_of_group(struct core *c, const struct record *r)
{
    struct group *g = find_group(c, (struct group_id){r->id});
    struct news n;

    switch (r->type) {
    case RECORD_GROUP:
        begin_group(c, &n, g, "opened");
        break;
    case RECORD_GROUP_CLOSE:
        begin_group(c, &n, g, "closed");
        break;
    case RECORD_GROUP_CANCEL:
        begin_group(c, &n, g, "cancel");
        field_cancel(&n, r);
        break;
    case RECORD_GROUP_END:
        begin_group(c, &n, g, "ended");
        field_text(&n, "outcome", outcome_name((enum outcome)g->outcome));
        field_int(&n, "members", g->members_total);
        field_int(&n, "ok", g->by_outcome[OUTCOME_OK]);
        field_int(&n, "failed", g->by_outcome[OUTCOME_FAILED]);
        field_int(&n, "cancelled", g->by_outcome[OUTCOME_CANCELLED]);
        break;
    case RECORD_GROUP_TIME:
        return;
    case RECORD_JOB:
    case RECORD_START:
    case RECORD_ASK:
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_READY:
    case RECORD_SHIELD:
    case RECORD_CLEAR:
    case RECORD_DELIVER:
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
    case RECORD_QUEUE:
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
    case RECORD_SESSION:
    case RECORD_JOB_IMAGE:
    case RECORD_GROUP_IMAGE:
    case RECORD_GROUP_IDS:
    case RECORD_JOB_ERRORS:
        BUG("not a record of a group");
    }
    end(c, &n);
}

/* ------------------------------------------------------------------- queues */

void news_of_queue(struct core *c, const struct queue *q, const char *event)
{
    struct news n;

    if (!c->news_work)
        return;
    begin(c, &n, NULL, q, &c->root);
    field_text(&n, "event", event);
    field_int(&n, "time", c->now_ms);
    field_text(&n, "kind", "queue");
    field_str(&n, "id", (struct str){q->name, q->name_len});
    field_int(&n, "jobs", q->jobs + q->counts[JOB_DELIVERING]);
    end(c, &n);
}
