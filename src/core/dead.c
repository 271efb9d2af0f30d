/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dead - jobs that have failed for good: looked at, run once more, let go.
 *
 * A job ends once, so what is retried is a new job with the same payload and
 * options; the dead one leaves the list and says in its outcome what was made
 * of it. Its place in the history of its group stays as it is: the new job is
 * another member.
 */
#include "core/dead.h"

#include "core/full.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/show.h"
#include "core/waiter.h"
#include "core/worker.h"

#define RETRIES_MAX 1000      /* of one DEAD RETRY */
#define LIST_BYTES  (4 << 20) /* of one DEAD LIST */

/* ------------------------------------------------------------------- apply */

void dead_add(struct core *c, struct job *j)
{
    struct dead *d = mem_alloc(sizeof(*d));

    d->job = j;
    d->payload = j->u.payload;
    list_push_back(&c->dead, &d->all);
    list_push_back(&job_queue(j)->dead, &d->of_queue);
    c->ndead++;
    job_queue(j)->ndead++;
    job_extra(c, j)->dead = d;
    account(c, sizeof(*d));
}

void dead_remove(struct core *c, struct job *j)
{
    struct dead *d = j->extra->dead;

    if (!d)
        return;
    list_remove(&d->all);
    list_remove(&d->of_queue);
    c->ndead--;
    job_queue(j)->ndead--;
    j->extra->dead = NULL;
    account(c, -(int64_t)sizeof(*d));
    mem_free(d);
}

int64_t dead_keep_ms(const struct core *c, const struct job *j)
{
    return max_i64(
        j->options->keep_ms,
        min_i64(job_queue(j)->settings.dead_keep_ms, c->limits.keep_max_ms));
}

/* --------------------------------------------------------------- decisions */

static void clear(struct core *c, const struct job *j, uint64_t retried)
{
    core_record(c, &(struct record){.type = RECORD_CLEAR,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.retried = retried});
}

/* Why it cannot be run again now, and the code for that; NULL: it can. */
static const char *refusal(const struct core *c, const struct job *j,
                           enum core_error *code)
{
    *code = CORE_ERR_DRAINING;
    if (c->draining)
        return "the daemon is shutting down";
    *code = CORE_ERR_DISKFULL;
    if (c->disk_narrow)
        return full_text(c);
    *code = CORE_ERR_OOM;
    if (c->memory + (int64_t)j->payload_len > c->limits.memory_max)
        return "memory-max is reached";
    *code = CORE_ERR_CLOSED;
    if (job_queue(j)->door != DOOR_OPEN)
        return "its queue is closed";
    *code = CORE_ERR_QUEUEFULL;
    if (!queue_has_room(job_queue(j), j->payload_len))
        return "its queue is full";
    *code = CORE_ERR_NOLIMITER;
    if (j->extra->needs && !needs_exist(j->extra->needs))
        return "a limiter that it needs was removed";
    *code = CORE_ERR_GENERIC;
    if (payload_is_lost(j))
        return "its payload is damaged in the journal";
    if (!payload_is_here(j) && payload_is_put_off(c, j))
        return "its payload cannot be read now";
    return NULL;
}

/* Times that were absolute begin anew, or have no meaning any more. */
static struct options options_again(const struct core *c, const struct job *j)
{
    struct options o = *j->options;

    if (o.deadline_ms != CORE_NONE && c->now_ms >= o.deadline_ms)
        o.deadline_ms = CORE_NONE;
    if (o.expires_ms != CORE_NONE)
        o.expires_ms = c->now_ms + (o.expires_ms - (int64_t)j->submitted_ms);
    return o;
}

static uint64_t run_again(struct core *c, const struct job *j)
{
    const struct extra *x = j->extra;
    struct queue *q = job_queue(j);
    bool own_options = j->options != q->defaults;
    struct record r = {
        .type = RECORD_JOB,
        .at_ms = c->now_ms,
        .id = c->next_id,
        .u.job = {.queue = q->id,
                  .group = group_takes(c, j->group) ? j->group->id : 0,
                  .priority = j->priority,
                  .own_options = own_options,
                  .name = x->name ? str_from(x->name) : (struct str){0},
                  .payload = job_payload(j),
                  .key = x->key ? (struct str){x->key->text, x->key->len}
                                : (struct str){0},
                  .then = x->then ? str_from(x->then) : (struct str){0}},
    };

    queue_anchor(c, q);
    if (own_options)
        r.u.job.options = options_again(c, j);
    if (x->needs) {
        needs_write(x->needs, &r.u.job.needs);
        limiter_write_images(c, &r.u.job.needs);
    }
    core_record(c, &r);
    c->totals.submitted++;
    q->total_submitted++;
    clear(c, j, r.id);
    queue_wake(c, q);
    return r.id;
}

/* Of the list of one queue, or of all the dead if there is none. */
static struct job *entry(struct list *it, const struct queue *q)
{
    return q ? list_entry(it, struct dead, of_queue)->job
             : list_entry(it, struct dead, all)->job;
}

/* Finds the queue that was named, if one was. false: answered. */
static bool named_queue(struct core *c, const struct core_event *ev,
                        struct queue **q)
{
    *q = NULL;
    if (ev->u.dead.queue.len == 0)
        return true;
    *q = queue_find_or_reply(c, ev->client, ev->u.dead.queue);
    return *q != NULL;
}

static int64_t at_most(const struct core *c, const struct core_event *ev,
                       const struct queue *q)
{
    int64_t there = q ? q->ndead : c->ndead;

    return ev->u.dead.count == CORE_UNSET ? there
                                          : min_i64(ev->u.dead.count, there);
}

/* ------------------------------------------------------------------- events */

/* The newest are of interest; they come last, as on a terminal. */
void dead_list(struct core *c, const struct core_event *ev)
{
    struct queue *q;
    struct list *head, *it;
    uint32_t n = 0;
    int64_t left;
    struct buf *b;
    size_t at, start;

    if (!named_queue(c, ev, &q))
        return;
    head = q ? &q->dead : &c->dead;
    it = head;
    for (left = at_most(c, ev, q); left > 0; left--)
        it = it->prev;
    b = reply_begin(c, ev->client);
    start = b->len;
    at = value_array(b, 0);
    for (; it != head && b->len - start < LIST_BYTES; it = it->next, n++)
        show_outcome(c, b, entry(it, q));
    value_set_count(b, at, n);
    reply_end(c);
}

/* False: its payload is to come. */
static bool retry_one(struct core *c, struct client_id client, struct job_id id)
{
    struct job *j = find_job_or_reply(c, client, id);
    enum core_error code;
    const char *why;
    int64_t bytes = 0;
    uint64_t next;

    if (!j)
        return true;
    if (!j->extra || !j->extra->dead) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "RETRY is for jobs that have failed for good; this one %s",
                    j->state != JOB_FINISHED              ? "has not ended"
                    : j->u.end->outcome != OUTCOME_FAILED ? "has not failed"
                    : j->extra && j->extra->retried ? "was retried already"
                                                    : "was purged");
        return true;
    }
    why = refusal(c, j, &code);
    if (why) {
        reply_error(c, client, code, "the job is not retried: %s", why);
        return true;
    }
    if (!payload_is_here(j)) {
        (void)payload_ask(c, j, &bytes);
        return false;
    }
    next = run_again(c, j);
    value_id(reply_begin(c, client), 'j', next, 0);
    reply_end(c);
    return true;
}

void dead_retry(struct core *c, const struct core_event *ev)
{
    struct waiter *w;

    if (retry_one(c, ev->client, ev->u.job.id))
        return;
    w = waiter_new(c, ev->client, WAIT_RETRY, CORE_NONE, 0);
    w->cursor = (int64_t)ev->u.job.id.n;
    list_push_back(&c->retries, &w->link);
}

/* Payloads of the first of them are read before anything is done. False: some
 * are to come. `again`: when some have come those are worked off first. */
static bool read_first(struct core *c, const struct queue *q, int64_t most,
                       bool again)
{
    bool here = false, comes = false;
    enum core_error code;
    int64_t bytes = 0;

    list_foreach (it, q ? &q->dead : &c->dead) {
        struct job *j = entry(it, q);

        if (most-- == 0)
            break;
        if (refusal(c, j, &code))
            continue;
        here = here || payload_is_here(j);
        if (payload_is_here(j))
            continue;
        if ((again && here && !j->loading) || !payload_ask(c, j, &bytes))
            break;
        comes = true;
    }
    return !comes;
}

/* In the order of their ends; those whose queue has no room are passed by. The
 * new jobs of one step are one entry of the store: core_work sees to its size.
 * False: payloads are to come. */
static bool retry_many(struct core *c, struct client_id client,
                       const struct queue *q, int64_t most, bool again)
{
    uint64_t ids[RETRIES_MAX];
    enum core_error code = CORE_ERR_GENERIC;
    const char *why = NULL;
    struct buf *b;
    int64_t n = 0;

    if (UNLIKELY(c->unloaded > 0) && !read_first(c, q, most, again))
        return false;
    list_foreach_safe (it, q ? &q->dead : &c->dead) {
        const struct job *j = entry(it, q);

        if (n == most || !core_work(c))
            break;
        why = refusal(c, j, &code);
        if (!why && !payload_is_here(j))
            break;
        if (!why)
            ids[n++] = run_again(c, j);
    }
    if (why && n == 0) {
        reply_error(c, client, code, "nothing is retried: %s", why);
        return true;
    }
    b = reply_begin(c, client);
    value_array(b, (uint32_t)n);
    for (int64_t i = 0; i < n; i++)
        value_id(b, 'j', ids[i], 0);
    reply_end(c);
    return true;
}

void dead_retry_many(struct core *c, const struct core_event *ev)
{
    struct waiter *w;
    struct queue *q;
    int64_t most;

    if (!named_queue(c, ev, &q))
        return;
    most = min_i64(at_most(c, ev, q), RETRIES_MAX);
    if (retry_many(c, ev->client, q, most, false))
        return;
    w = waiter_new(c, ev->client, WAIT_DEAD_RETRY, CORE_NONE, 0);
    w->queue = q;
    w->count = most;
    list_push_back(&c->retries, &w->link);
}

void dead_retry_on(struct core *c)
{
    list_foreach_safe (it, &c->retries) {
        struct waiter *w = list_entry(it, struct waiter, link);
        struct client_id client = w->client->id;

        if (w->kind == WAIT_RETRY
                ? retry_one(c, client, (struct job_id){(uint64_t)w->cursor})
                : retry_many(c, client, w->queue, w->count, true))
            waiter_free(c, w);
    }
}

void dead_purge(struct core *c, const struct core_event *ev)
{
    struct waiter *w;
    struct queue *q;

    if (!named_queue(c, ev, &q))
        return;
    w = waiter_new(c, ev->client, WAIT_DEAD_PURGE, CORE_NONE, 0);
    w->queue = q;
    w->count = at_most(c, ev, q);
    list_push_back(&c->dead_purges, &w->link);
}

void dead_purge_slice(struct core *c, struct waiter *w)
{
    const struct list *head = w->queue ? &w->queue->dead : &c->dead;

    while (w->count > 0 && !list_empty(head)) {
        if (!core_work(c))
            return;
        clear(c, entry(list_first(head), w->queue), 0);
        w->count--;
        w->cursor++;
    }
    value_int(reply_begin(c, w->client->id), w->cursor);
    reply_end(c);
    waiter_free(c, w);
}
