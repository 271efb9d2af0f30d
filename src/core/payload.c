/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * payload - where the payload of a job is: in memory, or in the store only.
 *
 * The ledger says of each entry where the store has put it (core_placed), and
 * the jobs that it made known remember that. While memory is short their
 * payloads are let go, and those of jobs that a worker has got; when it is
 * shorter still, any. Whose turn it is to start without a payload is waited
 * for: EFFECT_LOAD asks the store for the entry, and for those of the next in
 * line, and EVENT_LOAD brings it. Nobody goes first meanwhile.
 *
 * All of it is volatile. Invariants:
 *   - a job that has no place has its payload, or has lost it to damage: then
 *     it is over, or will be with its attempt;
 *   - a job is being loaded while it is in the ids of one load, and asks for
 *     nothing else until that has ended;
 *   - what a read brings is right for whoever it is of, wherever the job lies
 *     by then: a payload never changes. A read that failed is asked for again
 *     when the job lies elsewhere.
 */
#include "core/payload.h"

#include "core/attempt.h"
#include "core/dead.h"
#include "core/full.h"
#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/line.h"
#include "core/queue.h"
#include "core/share.h"

/* Read ahead of the one whose turn it is. */
#define AHEAD_JOBS  64
#define AHEAD_BYTES (1 << 20)
/* Buckets of jobs looked at in one step, when any payload may go. */
#define EVICT_LOOKS 32

/* Entries that the store was asked for, by place; who wants what is in it. */
struct load {
    struct map_node node; /* hash: the place */
    struct list link;     /* core->loads_asked */
    struct buf ids;       /* uint64_t */
    int64_t bytes;
    bool put_off; /* the store cannot read them now, and tries again */
};

static uint64_t key_of(uint32_t segment, uint32_t offset)
{
    return (uint64_t)segment << 32 | offset;
}

static uint32_t segment_of(const struct job *j)
{
    return j->segment + j->lies_behind;
}

static char **slot(struct job *j)
{
    if (job_not_started(j))
        return &j->u.payload;
    if (j->state != JOB_FINISHED)
        return &j->u.run->payload;
    return &j->extra->dead->payload; /* or it has none */
}

/* ------------------------------------------------------------------ places */

void payload_written(struct core *c, const struct job *j, bool stays)
{
    uint64_t id = j->node.hash | (stays ? ID_GROUP : 0);

    buf_append(&c->written, &id, sizeof(id));
}

static int64_t memory_max(const struct core *c)
{
    return min_i64(c->limits.memory_max, c->limits.payload_memory);
}

static bool is_short(const struct core *c)
{
    return c->memory > memory_max(c) / 4 * 3;
}

/* It was read for somebody who still waits for it: else that would never
 * come to an end. */
static bool is_awaited(const struct core *c, const struct job *j)
{
    return j->is_read &&
           (j->state == JOB_FINISHED ? !list_empty(&c->retries)
                                     : queue_attended(c, job_queue(j)));
}

static void drop(struct core *c, struct job *j)
{
    char **p;

    if (j->payload_len == 0 || j->offset == 0 ||
        (j->state == JOB_FINISHED && !(j->extra && j->extra->dead)))
        return;
    p = slot(j);
    if (!*p)
        return;
    slabs_free(&c->slabs, *p, j->payload_len);
    *p = NULL;
    j->is_read = false;
    account(c, -(int64_t)j->payload_len);
    c->unloaded++;
    c->unloaded_bytes += j->payload_len;
}

static void fill(struct core *c, struct job *j, struct str payload)
{
    *slot(j) = slabs_dup(&c->slabs, payload.p, payload.len);
    account(c, (int64_t)payload.len);
    c->unloaded--;
    c->unloaded_bytes -= (int64_t)payload.len;
}

void core_placed(struct core *c, uint32_t segment, uint32_t offset)
{
    uint64_t id;

    ASSERT(offset > 0 && offset <= OFFSET_MAX);
    for (size_t at = 0; at < c->written.len; at += sizeof(id)) {
        struct job *j;

        memcpy(&id, c->written.data + at, sizeof(id));
        j = find_job(c, (struct job_id){id & ~ID_GROUP});
        if (UNLIKELY(!j))
            continue; /* it is forgotten already */
        /* It follows from images that may lie in the segment before. Further
         * back they do not lie; if they did its payload would stay. */
        j->offset = 0;
        if (UNLIKELY(segment - j->segment > 1))
            continue;
        j->lies_behind = segment != j->segment;
        j->offset = offset & OFFSET_MAX;
        if (UNLIKELY(is_short(c)) && !(id & ID_GROUP))
            drop(c, j);
    }
    buf_reset(&c->written);
}

void payload_given(struct core *c, struct job *j)
{
    j->is_read = false;
    if (UNLIKELY(is_short(c)))
        drop(c, j);
}

const char *payload_moved(struct core *c, struct job *j, struct str payload,
                          bool whole)
{
    bool away = !payload_is_here(j);

    if (away && payload.len != j->payload_len)
        return "image of a job with another payload";
    if (away)
        fill(c, j, payload);
    j->offset = 0; /* where it was may go */
    if (whole)
        payload_written(c, j, !away && (!j->is_read || is_awaited(c, j)));
    return NULL;
}

void payload_free(struct core *c, struct job *j, char *payload)
{
    c->payload_bytes -= j->payload_len;
    if (payload || j->payload_len == 0) {
        account(c, -(int64_t)j->payload_len);
        slabs_free(&c->slabs, payload, j->payload_len);
    } else {
        c->unloaded--;
        c->unloaded_bytes -= j->payload_len;
    }
    j->payload_len = 0;
}

static void evict(struct core *c, struct job *j)
{
    if (!is_awaited(c, j) && !(j->is_read && c->healing))
        drop(c, j);
}

/* Memory is nearly used up: whatever can be read again goes, the newest jobs
 * first, wherever they wait. */
void payload_evict(struct core *c)
{
    int64_t most = memory_max(c);

    if (LIKELY(c->memory <= most / 8 * 7) ||
        c->payload_bytes - c->unloaded_bytes < most / 16)
        return;
    for (int looks = 0; looks < EVICT_LOOKS; looks++) {
        if (c->hand == 0 || c->hand > c->jobs.active)
            c->hand = c->jobs.active;
        if (c->hand-- == 0)
            return;
        for (struct map_node *n = map_bucket(&c->jobs, c->hand); n; n = n->next)
            evict(c, container_of(n, struct job, node));
    }
}

/* ------------------------------------------------------------------- loads */

static void ask(struct core *c, struct job *j)
{
    uint64_t key = key_of(segment_of(j), j->offset), id = j->node.hash;
    struct map_node *n;
    struct load *load;

    if (j->loading || payload_is_lost(j))
        return;
    n = map_find(&c->loads, key);
    if (n) {
        load = container_of(n, struct load, node);
    } else {
        struct core_effect *e = effect_add(c->out, EFFECT_LOAD);

        e->segment = segment_of(j);
        e->offset = j->offset;
        load = mem_zalloc(sizeof(*load));
        load->node.hash = key;
        map_insert(&c->loads, &load->node);
        list_push_back(&c->loads_asked, &load->link);
    }
    buf_append(&load->ids, &id, sizeof(id));
    load->bytes += j->payload_len;
    c->loading_bytes += j->payload_len;
    j->loading = true;
}

/* What is submitted meanwhile needs memory, too. Where jobs fill it without
 * their payloads a little is left to those that start: one by one each would
 * wait for a read, and its worker for a commit. */
static bool may_read_ahead(const struct core *c, int64_t len)
{
    int64_t most = memory_max(c), more = c->loading_bytes + len;

    return c->memory + more <= most / 8 * 7 ||
           c->payload_bytes - c->unloaded_bytes + more <= most / 64;
}

bool payload_ask(struct core *c, struct job *j, int64_t *bytes)
{
    int64_t len = j->payload_len;

    if (payload_is_here(j) || j->loading)
        return true;
    if (*bytes > 0 && (*bytes + len > AHEAD_BYTES || !may_read_ahead(c, len)))
        return false;
    *bytes += max_i64(len, 1);
    ask(c, j);
    return true;
}

/* The first in its list; those behind it, too, and before them the first of
 * the groups that have a turn. Who waits for limiters mostly lies in the order
 * in which he starts. */
static void ask_ahead(struct core *c, struct job *j)
{
    const struct lane *lane = j->extra ? j->extra->lane : NULL;
    const struct list *head = lane ? &lane->jobs : j->link.prev;
    const struct queue *q = job_queue(j);
    int64_t bytes = 0;
    int n = 0;

    (void)payload_ask(c, j, &bytes);
    if (j->state == JOB_READY)
        list_foreach (it, &q->turns[j->priority])
            if (n++ == AHEAD_JOBS ||
                !payload_ask(c, share_first_of(q, j->priority, it), &bytes))
                return;
    for (struct list *it = &j->link; n < AHEAD_JOBS && it != head;
         n++, it = it->next)
        if (!payload_ask(c, list_entry(it, struct job, link), &bytes))
            return;
}

void payload_await(struct core *c, struct job *j)
{
    if (!j->loading)
        ask_ahead(c, j);
    job_queue(j)->ahead = AHEAD_JOBS;
    if (j->extra && j->extra->needs)
        line_hold(c, j);
}

void payload_go_on(struct core *c, struct job *j)
{
    struct queue *q = job_queue(j);

    if (--q->ahead > AHEAD_JOBS / 2)
        return;
    q->ahead = AHEAD_JOBS;
    ask_ahead(c, j);
}

static void take(struct core *c, struct str entry)
{
    size_t at = 0, start = 0;
    struct str first = {0};
    uint8_t type;
    uint64_t id;

    for (; record_peek(entry.p, entry.len, &at, &type, &id); start = at) {
        struct str payload;
        struct record r;
        struct job *j;

        if (type != RECORD_JOB && type != RECORD_JOB_IMAGE)
            continue;
        j = find_job(c, (struct job_id){id});
        if (!j || !j->loading || payload_is_here(j) ||
            record_decode(entry.p, entry.len, &start, &r))
            continue;
        payload =
            type == RECORD_JOB ? r.u.job.payload : r.u.job_image.job.payload;
        if (!first.p)
            first = payload;
        if (PLANTED(LOAD_MIXED))
            payload = first;
        if (payload.len != j->payload_len)
            continue;
        fill(c, j, payload);
        j->is_read = true;
    }
}

static void lost(struct core *c, struct job *j, struct str why)
{
    j->offset = 0;
    if (!job_not_started(j) || job_end_due(c, j))
        return; /* it is seen when its attempt is over */
    job_end(c, j,
            &(struct record_verdict){.outcome = OUTCOME_FAILED,
                                     .has_error = true,
                                     .class = STR("damaged"),
                                     .message = why});
}

void payload_wanted_again(struct core *c, struct job *j)
{
    if (UNLIKELY(payload_is_lost(j)) && !PLANTED(LOST_QUEUED))
        lost(c, j, STR("its payload is damaged in the journal"));
}

/* Its job goes on, or is asked for again. */
static void loaded(struct core *c, struct job *j, uint64_t key, struct str why)
{
    struct queue *q = job_queue(j);

    j->loading = false;
    if (!payload_is_here(j) &&
        (key == key_of(segment_of(j), j->offset) || PLANTED(LOST_HASTY)) &&
        !full_is_spent(c))
        lost(c, j, why);
    q->stuck = false;
    if (!PLANTED(LOAD_UNHEARD))
        queue_wake(c, q);
}

bool payload_is_put_off(const struct core *c, const struct job *j)
{
    struct map_node *n = map_find(&c->loads, key_of(segment_of(j), j->offset));

    return n && container_of(n, struct load, node)->put_off;
}

/* Whose turn it is keeps it; but who asked what there is at once is told, and
 * who wants it to run once more. */
static void put_off(struct core *c, struct load *load)
{
    uint64_t id;

    load->put_off = true;
    for (size_t at = 0; at < load->ids.len; at += sizeof(id)) {
        struct job *j;

        memcpy(&id, load->ids.data + at, sizeof(id));
        j = find_job(c, (struct job_id){id});
        if (j && j->loading)
            queue_wake(c, job_queue(j));
    }
    dead_retry_on(c);
}

void payload_load(struct core *c, const struct core_event *ev)
{
    uint64_t key = key_of(ev->u.load.segment, ev->u.load.offset), id;
    struct str why = ev->u.load.error;
    struct map_node *n = map_find(&c->loads, key);
    struct load *load;

    if (!n)
        return;
    load = container_of(n, struct load, node);
    if (UNLIKELY(ev->u.load.put_off)) {
        put_off(c, load);
        return;
    }
    map_remove(&c->loads, n);
    list_remove(&load->link);
    c->loading_bytes -= load->bytes;
    if (!why.len)
        take(c, ev->u.load.entry);
    if (!why.len)
        why = STR("the entry in the journal is not that of the job");
    if (why.len > CORE_MESSAGE_MAX)
        why.len = CORE_MESSAGE_MAX;
    for (size_t at = 0; at < load->ids.len; at += sizeof(id)) {
        struct job *j;

        memcpy(&id, load->ids.data + at, sizeof(id));
        j = find_job(c, (struct job_id){id});
        if (j && j->loading)
            loaded(c, j, key, why);
    }
    buf_clear(&load->ids);
    mem_free(load);
    dead_retry_on(c);
}

void payload_clear(struct core *c)
{
    list_foreach_safe (it, &c->loads_asked) {
        struct load *load = list_entry(it, struct load, link);

        buf_clear(&load->ids);
        mem_free(load);
    }
    map_clear(&c->loads);
    buf_clear(&c->written);
}
