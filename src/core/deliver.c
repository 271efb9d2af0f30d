/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deliver - THEN: the result of a job becomes a job of the next queue.
 *
 * The end of the one and the acceptance of the other are one entry of the
 * store. While the next queue has no room the job waits as DELIVERING: its
 * body is done and holds neither width nor permits, but it counts in the bound
 * of its own queue, so that pressure travels upstream. Deliveries wait in line
 * before the producers of the next queue, for they have been accepted long ago.
 *
 * That pressure may come round to where it began: queues that are full of
 * nothing but results that wait for each other would wait for ever, a queue for
 * itself as well. Then one result of each goes on, all at once: each takes the
 * place of another, and may overtake those before it in line, for whom there is
 * none. No bound grows: a result that needs more bytes than what makes place
 * for it had, and more than there are, cannot go on.
 *
 * What runs after a job was submitted by nobody: no session, no wait;
 * memory-max does not hold it back, for the payload takes the place of the
 * result.
 */
#include "core/deliver.h"

#include "core/attempt.h"
#include "core/deadline.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/live.h"
#include "core/queue.h"

/* The first name of a chain, and what is behind it. */
static struct str chain_split(struct str chain, struct str *rest)
{
    const char *comma = memchr(chain.p, ',', chain.len);
    size_t len = comma ? (size_t)(comma - chain.p) : chain.len;

    *rest =
        comma ? (struct str){comma + 1, chain.len - len - 1} : (struct str){0};
    return (struct str){chain.p, len};
}

static struct str chain_of(const struct job *j)
{
    return str_from(j->extra->then);
}

bool deliver_chain_ok(struct str chain)
{
    int n = 0;

    do {
        if (n++ == THEN_MAX || !queue_name_ok(chain_split(chain, &chain)))
            return false;
    } while (chain.p);
    return true;
}

bool deliver_make_queues(struct core *c, struct client_id client,
                         struct str chain)
{
    do {
        if (!queue_get(c, client, chain_split(chain, &chain)))
            return false;
    } while (chain.p);
    return true;
}

static struct queue *next_queue(const struct core *c, const struct job *j)
{
    struct str rest;

    return queue_find(c, chain_split(chain_of(j), &rest));
}

/* Why it can never be delivered there, or NULL. */
static const char *refusal(const struct core *c, const struct job *j,
                           const struct queue *q, size_t len)
{
    const struct group *g = j->group;

    if (q->door != DOOR_OPEN)
        return "the next queue is closed";
    if ((int64_t)len > c->limits.payload_max ||
        (int64_t)len > q->settings.max_bytes)
        return "the result is too large for a payload of the next queue";
    if (g->id &&
        (int64_t)(g->members.len - g->forgotten) >= c->limits.members_max)
        return "the group has no room for one more member (members-max)";
    return NULL;
}

/* The chain stops here; the body is not run again for it. */
static void fail(struct core *c, struct job *j, struct str class,
                 const char *message)
{
    job_end(c, j,
            &(struct record_verdict){.outcome = OUTCOME_FAILED,
                                     .has_error = true,
                                     .class = class,
                                     .message = str_from(message)});
}

static void cancel(struct core *c, struct job *j, const char *reason)
{
    job_end(c, j,
            &(struct record_verdict){.outcome = OUTCOME_CANCELLED,
                                     .reason = str_from(reason)});
}

static void hand_over(struct core *c, struct job *j, struct queue *q,
                      struct str result)
{
    struct record_verdict end = {.outcome = OUTCOME_OK, .result = result};
    struct record r = {
        .type = RECORD_JOB,
        .at_ms = c->now_ms,
        .id = c->next_id,
        .u.job = {.queue = q->id,
                  .group = j->group->id,
                  .priority = j->priority,
                  .own_options = j->options->deadline_ms != CORE_NONE ||
                                 q->settings.expires_ms != CORE_NONE,
                  .payload = result},
    };

    if (j->extra->name)
        r.u.job.name = str_from(j->extra->name);
    queue_anchor(c, q);
    r.u.job.options = *q->defaults;
    r.u.job.options.deadline_ms = j->options->deadline_ms;
    if (q->settings.expires_ms != CORE_NONE)
        r.u.job.options.expires_ms = c->now_ms + q->settings.expires_ms;
    (void)chain_split(chain_of(j), &r.u.job.then);
    if (!PLANTED(RESULT_LOST) || j->state != JOB_DELIVERING)
        core_record(c, &r);
    c->totals.submitted++;
    q->total_submitted++;
    queue_wake(c, q);
    end.next = r.id;
    job_end(c, j, &end);
}

static bool may_enter(const struct core *c, const struct queue *q, size_t len)
{
    return !c->disk_full && queue_fits(q, len);
}

/* What it waits for has gone away, or its time is up: true, it has ended. */
static bool given_up(struct core *c, struct job *j, const struct queue *q,
                     size_t len)
{
    const char *why = refusal(c, j, q, len), *reason;

    deadline_reach(c, j->group);
    group_reach(c, j->group); /* or it would end as if nobody had stopped it */
    reason = group_cancelled(j->group);
    if (reason)
        cancel(c, j, reason);
    else if (why)
        fail(c, j, STR("then"), why);
    else
        return false;
    return true;
}

void deliver_result(struct core *c, struct job *j, struct str result)
{
    struct queue *q = next_queue(c, j);

    if (!q) {
        fail(c, j, STR("then"), "there is no such queue any more");
        return;
    }
    if (given_up(c, j, q, result.len))
        return;
    if (list_empty(&q->deliveries) && may_enter(c, q, result.len)) {
        hand_over(c, j, q, result);
        return;
    }
    /* It would have to wait, and may not. */
    if (j->u.run->cancelled) {
        cancel(c, j, j->extra->reason);
        return;
    }
    core_record(c, &(struct record){.type = RECORD_DELIVER,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.verdict = {.kind = VERDICT_OK,
                                                  .result = result,
                                                  .next = c->next_place}});
    queue_wake(c, job_queue(j)); /* it has left the bodies of its own queue */
    queue_wake(c, q);
}

static struct str result_of(const struct run *run)
{
    return (struct str){run->result, run->result_len};
}

static void enter(struct core *c, struct run *run, struct queue *q)
{
    struct str result = result_of(run);

    /* The records are applied while their strings are read. */
    account(c, -(int64_t)run->result_len);
    live_job(c, run->job, -1);
    run->result = NULL;
    run->result_len = 0;
    live_job(c, run->job, +1);
    hand_over(c, run->job, q, result);
    mem_free((char *)result.p);
}

/* ------------------------------------------------------------------ circles */

/* The results of one queue that wait for room in another; volatile. */
struct feed {
    struct list link; /* to->feeds */
    struct queue *from, *to;
    struct list runs; /* struct run.fed, in the order of the line */
};

static struct run *first_run(const struct feed *f)
{
    return list_entry(list_first(&f->runs), struct run, fed);
}

static struct run *first_in_line(const struct queue *q)
{
    struct list *first = list_first(&q->deliveries);

    return first ? list_entry(first, struct run, delivery) : NULL;
}

/* Nothing that is in it can make room by itself. */
static bool is_stuck(const struct queue *q)
{
    const struct run *run = first_in_line(q);

    return q->jobs == 0 && run && !queue_fits(q, run->result_len);
}

/* Looks from q for those who wait for it, for those who wait for them ... If
 * that leads to q again, the feed out of q by which it does: from the queue
 * that it leads to, `onward` goes on until it is q's turn. NULL: there is no
 * circle. */
static struct feed *find_circle(struct queue *q)
{
    struct feed *found = NULL;
    struct list todo, seen;

    list_init(&todo);
    list_init(&seen);
    list_push_back(&todo, &q->search);
    while (!found && !list_empty(&todo)) {
        struct queue *at = list_entry(list_first(&todo), struct queue, search);

        list_remove(&at->search);
        list_push_back(&seen, &at->search);
        list_foreach (it, &at->feeds) {
            struct feed *f = list_entry(it, struct feed, link);

            if (f->from == q)
                found = f;
            if (list_linked(&f->from->search) || !is_stuck(f->from))
                continue;
            f->from->onward = f;
            list_push_back(&todo, &f->from->search);
        }
    }
    while (!list_empty(&todo))
        list_remove(list_first(&todo));
    while (!list_empty(&seen))
        list_remove(list_first(&seen));
    return found;
}

static struct feed *next_feed(const struct feed *f, const struct queue *q)
{
    return f->to == q ? NULL : f->to->onward;
}

/* Its place is free in any case; is that of the one that leaves large enough?
 * A queue may hold more than it may, as its bound was lowered or bodies have
 * ended: what makes it no fuller may go in. */
static bool can_replace(const struct queue *q, size_t len,
                        const struct job *leaving)
{
    int64_t more = (int64_t)len - (int64_t)leaving->payload_len;

    return more <= 0 ||
           q->bytes + q->delivering_bytes + more <= q->settings.max_bytes;
}

/* false: nothing has moved. */
static bool turn_circle(struct core *c, struct queue *q)
{
    struct feed *circle = is_stuck(q) ? find_circle(q) : NULL, *next;

    for (struct feed *f = circle; f; f = next) {
        struct run *run = first_run(f);

        next = next_feed(f, q);
        if (given_up(c, run->job, f->to, run->result_len))
            return true; /* and its place is free */
        if (can_replace(f->to, run->result_len,
                        first_run(next ? next : circle)->job))
            continue;
        fail(c, run->job, STR("then"),
             "the next queue is full of results that wait for each other, and "
             "in the place of none of them there is room for this one");
        return true;
    }
    for (struct feed *f = circle; f; f = next) {
        next = next_feed(f, q); /* f may go with its last run */
        enter(c, first_run(f), f->to);
    }
    return circle != NULL;
}

bool deliver_one(struct core *c, struct queue *q)
{
    struct run *run = first_in_line(q);

    if (!run)
        return false;
    if (given_up(c, run->job, q, run->result_len))
        return true;
    if (may_enter(c, q, run->result_len)) {
        enter(c, run, q);
        return true;
    }
    return !c->disk_full && !PLANTED(CIRCLE_STANDS) && turn_circle(c, q);
}

void deliver_timer(struct core *c, struct job *j)
{
    if (job_past_deadline(c, j))
        fail(c, j, STR("deadline"),
             "the deadline passed while the result waited for room");
    else
        attempt_arm(c, j);
}

static struct feed *feed_of(struct core *c, struct queue *from,
                            struct queue *to)
{
    struct feed *f;

    list_foreach (it, &to->feeds) {
        f = list_entry(it, struct feed, link);
        if (f->from == from)
            return f;
    }
    f = mem_zalloc(sizeof(*f));
    account(c, sizeof(*f));
    f->from = from;
    f->to = to;
    list_init(&f->runs);
    list_push_back(&to->feeds, &f->link);
    return f;
}

bool deliver_line_up(struct core *c, struct job *j)
{
    struct queue *q = next_queue(c, j);
    struct run *run = j->u.run;

    if (!q || run->feed)
        return q != NULL;
    list_push_back(&q->deliveries, &run->delivery);
    run->feed = feed_of(c, job_queue(j), q);
    list_push_back(&run->feed->runs, &run->fed);
    return true;
}

void deliver_leave(struct core *c, struct run *run)
{
    struct feed *f = run->feed;

    if (!f)
        return;
    list_remove(&run->delivery);
    list_remove(&run->fed);
    run->feed = NULL;
    queue_wake(c, f->to); /* the one behind may fit where it did not */
    if (!list_empty(&f->runs))
        return;
    list_remove(&f->link);
    account(c, -(int64_t)sizeof(*f));
    mem_free(f);
}

void deliver_start(struct core *c)
{
    list_foreach_safe (it, &c->delivering) {
        struct job *j = list_entry(it, struct job, link);

        if (!deliver_line_up(c, j))
            fail(c, j, STR("then"), "there is no such queue any more");
    }
    list_foreach (it, &c->queues)
        queue_wake(c, list_entry(it, struct queue, link));
}
