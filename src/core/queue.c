/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue - bounded lines of jobs, and workers that wait for them.
 *
 * max_jobs and max_bytes bound the jobs that have not started. Only new
 * submits are held back by them: a job that comes back (retry, release, lost
 * attempt) was accepted before and always finds its place.
 */
#include "core/queue.h"

#include "base/pattern.h"
#include "core/deliver.h"
#include "core/drain.h"
#include "core/full.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/line.h"
#include "core/live.h"
#include "core/news.h"
#include "core/options.h"
#include "core/payload.h"
#include "core/retry.h"
#include "core/segment.h"
#include "core/share.h"
#include "core/submit.h"
#include "core/waiter.h"
#include "core/worker.h"

/* Bound of the table of queues, whatever queues-max says. */
#define QUEUE_NUMBERS 65536u
#define OLDEST_LOOKS  256 /* lines, where somebody only looks */

bool queue_name_ok(struct str name)
{
    if (name.len == 0 || name.len > CORE_QUEUE_NAME_MAX || name.p[0] == '-')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.p[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
              (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == ':' ||
              ch == '-'))
            return false;
    }
    return true;
}

struct queue *queue_find(const struct core *c, struct str name)
{
    struct map_node *n = map_find(&c->queue_names, map_hash(name.p, name.len));

    for (; n; n = map_next(n)) {
        struct queue *q = container_of(n, struct queue, node);

        if (q->name_len == name.len && memcmp(q->name, name.p, name.len) == 0)
            return q;
    }
    return NULL;
}

/* ------------------------------------------------------------------ apply */

static struct queue *queue_new(struct core *c, uint32_t id, struct str name)
{
    struct queue *q = mem_zalloc(sizeof(*q));

    q->id = id;
    if (id >= c->queue_count) {
        c->queue_table = mem_realloc(c->queue_table,
                                     mem_mul(id + 1, sizeof(*c->queue_table)));
        while (c->queue_count <= id)
            c->queue_table[c->queue_count++] = NULL;
    }
    c->queue_table[id] = q;
    q->name = mem_dup_text(name.p, name.len);
    q->name_len = (uint32_t)name.len;
    c->name_bytes += q->name_len;
    for (size_t i = 0; i < CORE_PRIORITIES; i++) {
        list_init(&q->ready[i]);
        list_init(&q->restored[i]);
        list_init(&q->turns[i]);
        list_init(&q->plain_turn[i]);
        heap_init(&q->open[i]);
    }
    list_init(&q->lines);
    list_init(&q->offers);
    list_init(&q->left);
    list_init(&q->delayed);
    list_init(&q->lanes);
    list_init(&q->emptying);
    list_init(&q->purgers);
    list_init(&q->joiners);
    list_init(&q->dead);
    list_init(&q->wake);
    list_init(&q->producers);
    list_init(&q->deliveries);
    list_init(&q->feeds);
    list_init(&q->search);
    list_init(&q->fetchers);
    q->node.hash = map_hash(name.p, name.len);
    map_insert(&c->queue_names, &q->node);
    if (PLANTED(HASH_ORDER) && (PLANT_HASH(q->node.hash) & 1))
        list_push_front(&c->queues, &q->link);
    else
        list_push_back(&c->queues, &q->link);
    return q;
}

void queue_free(struct core *c, struct queue *q)
{
    ASSERT(list_empty(&q->producers) && list_empty(&q->fetchers));
    ASSERT(list_empty(&q->purgers) && list_empty(&q->joiners));
    shares_clear(q);
    for (size_t i = 0; i < CORE_PRIORITIES; i++)
        heap_clear(&q->open[i]);
    options_release(c, q->defaults);
    mem_free(q->name);
    mem_free(q);
}

static bool settings_ok(const struct queue_settings *s)
{
    return s->max_jobs >= 1 && s->max_bytes >= 1 && s->timeout_ms >= -1 &&
           s->grace_ms >= 0 && s->retry >= 1 && s->retry <= RUNS_MAX &&
           s->redeliver >= 0 && s->redeliver <= RUNS_MAX && s->keep_ms >= 0 &&
           s->wait_ms >= -1 && s->dead_keep_ms >= 0 &&
           s->backoff_base_ms >= 0 && s->backoff_cap_ms >= 0 &&
           s->expires_ms >= -1 && s->priority >= 0 &&
           s->priority < CORE_PRIORITIES &&
           retry_options_ok(s->factor_milli, s->jitter, s->retry_on) &&
           (s->fair == 0 || s->fair == 1);
}

static const char *lost_name(char to[32], uint32_t id)
{
    (void)snprintf(to, 32, "lost-%u", (unsigned)id);
    return to;
}

void queue_make_up(struct core *c, uint32_t id)
{
    char name[32];
    struct record r = {.type = RECORD_QUEUE,
                       .at_ms = c->now_ms,
                       .id = id,
                       .u.queue = {.settings = c->limits.queue_defaults,
                                   .name = str_from(lost_name(name, id))}};

    if (id < c->queue_count && c->queue_table[id])
        return;
    if (!queue_apply(c, &r)) /* the name may be that of another one */
        c->queue_table[id]->made_up = true;
}

/* Its image has come: that is its name. */
static void rename_queue(struct core *c, struct queue *q, struct str name)
{
    map_remove(&c->queue_names, &q->node);
    mem_free(q->name);
    c->name_bytes += (int64_t)name.len - q->name_len;
    q->name = mem_dup_text(name.p, name.len);
    q->name_len = (uint32_t)name.len;
    q->node.hash = map_hash(name.p, name.len);
    map_insert(&c->queue_names, &q->node);
    q->made_up = false;
}

const char *queue_apply(struct core *c, const struct record *r)
{
    const struct record_queue *rq = &r->u.queue;
    struct queue *q = queue_find(c, rq->name);
    struct options defaults;

    if (!queue_name_ok(rq->name) || !settings_ok(&rq->settings) ||
        rq->door > DOOR_CLOSED_NOW)
        return "queue with impossible settings";
    if (!q && r->id < c->queue_count && c->queue_table[r->id] &&
        c->queue_table[r->id]->made_up) {
        q = c->queue_table[r->id];
        rename_queue(c, q, rq->name);
    }
    if (!q) {
        if (r->id >= QUEUE_NUMBERS ||
            (r->id < c->queue_count && c->queue_table[r->id]))
            return "queue with a number that is taken";
        q = queue_new(c, (uint32_t)r->id, rq->name);
    } else {
        if (r->id != q->id)
            return "queue with another number";
        segment_drop(c, q->segment);
    }
    segment_hold(c, &q->segment);
    q->settings = rq->settings;
    q->paused = rq->paused;
    q->door = rq->door;
    defaults = (struct options){
        .queue = q,
        .factor_milli = (uint32_t)rq->settings.factor_milli,
        .timeout_ms = rq->settings.timeout_ms,
        .deadline_ms = CORE_NONE,
        .grace_ms = rq->settings.grace_ms,
        .keep_ms = rq->settings.keep_ms,
        .expires_ms = CORE_NONE,
        .retry = rq->settings.retry,
        .backoff_base_ms = rq->settings.backoff_base_ms,
        .backoff_cap_ms = rq->settings.backoff_cap_ms,
        .redeliver = rq->settings.redeliver,
        .jitter = rq->settings.jitter,
        .retry_on = rq->settings.retry_on,
    };
    /* Jobs share them for as long as they stay the same. */
    if (!q->defaults || !options_equal(q->defaults, &defaults)) {
        struct options *before = q->defaults;

        q->defaults = options_copy(c, &defaults);
        if (before) { /* those who shared them have their own now */
            if (--before->refs > 0)
                live_options_left(c, before);
            before->refs++;
            options_release(c, before);
        }
    }
    q->settings.retry_on = q->defaults->retry_on;
    return NULL;
}

/* --------------------------------------------------------------- decisions */

static void queue_record(struct core *c, uint32_t id, struct str name,
                         const struct queue_settings *s, bool paused,
                         enum door door)
{
    core_record(c, &(struct record){.type = RECORD_QUEUE,
                                    .at_ms = c->now_ms,
                                    .id = id,
                                    .u.queue = {.paused = paused,
                                                .settings = *s,
                                                .name = name,
                                                .door = (uint8_t)door}});
}

static struct str queue_name(const struct queue *q)
{
    return (struct str){.p = q->name, .len = q->name_len};
}

void queue_change(struct core *c, const struct queue *q,
                  const struct queue_settings *s, bool paused, enum door door)
{
    queue_record(c, q->id, queue_name(q), s, paused, door);
}

static void write_image(struct core *c, const struct queue *q)
{
    queue_change(c, q, &q->settings, q->paused, (enum door)q->door);
}

void queue_write_image(struct core *c, uint32_t number)
{
    const struct queue *q = c->queue_table[number];

    /* After a restart it may lie in the segment that is written to. */
    if (q && q->segment != c->segment)
        write_image(c, q);
}

void queue_anchor(struct core *c, const struct queue *q)
{
    if (UNLIKELY(q->segment != c->segment) && !PLANTED(IMAGE_LATE))
        write_image(c, q);
}

struct queue *queue_find_or_reply(struct core *c, struct client_id client,
                                  struct str name)
{
    struct queue *q = queue_find(c, name);

    if (!q)
        reply_error(c, client, CORE_ERR_NOQUEUE, "no queue of that name");
    return q;
}

struct queue *queue_get(struct core *c, struct client_id client,
                        struct str name)
{
    struct queue *q = queue_find(c, name);

    if (LIKELY(q))
        return q;
    if (!queue_name_ok(name)) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "'%.*s' is no name for a queue: 1 to %d of A-Z a-z 0-9 _ "
                    ". : -, not starting with -",
                    (int)(name.len < 80 ? name.len : 80), name.p,
                    CORE_QUEUE_NAME_MAX);
        return NULL;
    }
    if (c->queue_count >= min_i64(c->limits.queues_max, QUEUE_NUMBERS)) {
        reply_error(c, client, CORE_ERR_LIMIT,
                    "there are %u queues already (queues-max)", c->queue_count);
        return NULL;
    }
    if (!full_may_grow(c, client))
        return NULL;
    queue_record(c, c->queue_count, name, &c->limits.queue_defaults, false,
                 DOOR_OPEN);
    return queue_find(c, name);
}

/* First of the best priority; those that were parked had come before. */
static struct job *first_job(struct core *c, struct queue *q)
{
    struct job *parked = NULL;

    if (UNLIKELY(q->open_mask || !list_empty(&q->offers)))
        parked = lane_first(c, q);
    if (parked || !q->ready_mask)
        return parked;
    return share_first(q, 31 - __builtin_clz(q->ready_mask));
}

/* It waits for the width of a group, or goes on to wait for that of another. */
static void wait_for_width(struct core *c, struct queue *q, struct job *j,
                           struct group *full)
{
    struct lane *lane;

    if (j->state == JOB_PARKED && !(j->extra && j->extra->lane)) {
        lane = container_of(heap_min(&q->open[j->priority]), struct lane, open);
        if (lane->group == full) {
            lane_close(lane);
            return;
        }
    }
    job_park(c, j, full);
}

/* It may start now, if its payload is there; else nobody goes before it. */
static struct job *with_payload(struct core *c, struct queue *q, struct job *j)
{
    if (LIKELY(payload_is_here(j)))
        return j;
    if (PLANTED(LOAD_OVERTAKEN) && j->state == JOB_READY &&
        j->link.next != j->link.prev) {
        struct job *next = list_entry(j->link.next, struct job, link);

        if (payload_is_here(next) && !(next->extra && next->extra->needs) &&
            !job_full_group(next) && !group_cancelled(next->group))
            return next;
    }
    payload_await(c, j);
    q->stuck = true;
    q->put_off = payload_is_put_off(c, j);
    return NULL;
}

struct job *queue_next(struct core *c, struct queue *q)
{
    struct job *j;

    q->stuck = false;
    if (q->paused || c->draining || UNLIKELY(drain_stops(q)) ||
        (UNLIKELY(c->disk_full) && !PLANTED(FULL_STARTS)) ||
        (PLANTED(NARROW_STOPS) && c->disk_narrow))
        return NULL;
    while ((j = first_job(c, q))) {
        bool put_off = false;

        if (LIKELY(!job_end_due(c, j))) {
            struct group *full = job_full_group(j);

            if (LIKELY(!full && !(j->extra && j->extra->needs)))
                return with_payload(c, q, j);
            if (full)
                wait_for_width(c, q, j, full);
            else if (line_admit(c, j, &put_off))
                return with_payload(c, q, j);
        }
        /* One is out of the way in any case: whoever asks again and again gets
         * to the end, as short as steps may be. Who was put off will be back,
         * and there are as many at most as priorities in each line. */
        if (!put_off && !core_work(c)) {
            queue_wake(c, q);
            return NULL;
        }
    }
    return NULL;
}

void queue_wake(struct core *c, struct queue *q)
{
    if (list_linked(&q->wake) ||
        (list_empty(&q->producers) && list_empty(&q->fetchers) &&
         list_empty(&q->deliveries)))
        return;
    list_push_back(&c->wakes, &q->wake);
}

/* ------------------------------------------------------------------- room */

/* What waits to go on counts, so that pressure travels upstream. */
int64_t queue_holds(const struct queue *q)
{
    return q->jobs + q->counts[JOB_DELIVERING];
}

int64_t queue_holds_bytes(const struct queue *q)
{
    return q->bytes + q->delivering_bytes;
}

bool queue_fits(const struct queue *q, size_t len)
{
    return queue_holds(q) < q->settings.max_jobs + PLANTED(QUEUE_OVER_BOUND) &&
           queue_holds_bytes(q) + (int64_t)len <= q->settings.max_bytes;
}

bool queue_has_room(const struct queue *q, size_t len)
{
    return (list_empty(&q->producers) || PLANTED(WAITER_OVERTAKEN)) &&
           list_empty(&q->deliveries) && queue_fits(q, len);
}

/* -------------------------------------------------------------- handing out */

bool queue_attended(const struct core *c, const struct queue *q)
{
    return !q->paused && !list_empty(&q->fetchers) && !c->draining &&
           !c->disk_full && !drain_stops(q);
}

/* Give the worker that has waited longest what there is. What it is to look at
 * before, in another queue, may on the way be put aside what the job here
 * needs: then both wait on. */
static bool dispatch_one(struct core *c, struct queue *q)
{
    struct fetch_link *first;

    if (list_empty(&q->fetchers) || !queue_next(c, q))
        return false;
    first = list_entry(list_first(&q->fetchers), struct fetch_link, link);
    if (worker_serve(c, first->waiter))
        return true;
    if (!core_work(c)) /* or nothing was looked at */
        queue_wake(c, q);
    return false;
}

void queue_hand_out(struct core *c, struct queue *q)
{
    while (dispatch_one(c, q) && core_work(c))
        continue;
}

/* Turns of a queue, so that none waits for another that is very busy. */
#define SERVE_SLICE 100

void queue_serve(struct core *c, struct queue *q)
{
    list_remove(&q->wake);
    for (int n = 0;
         deliver_one(c, q) || submit_admit_one(c, q) || dispatch_one(c, q);
         n++) {
        if (n == SERVE_SLICE || !core_work(c)) {
            queue_wake(c, q);
            return;
        }
    }
    if (UNLIKELY(c->at_once))
        worker_serve_at_once(c, q);
}

/* ---------------------------------------------------------------- commands */

void queue_list(struct core *c, const struct core_event *ev)
{
    struct buf *b = reply_begin(c, ev->client);

    value_array(b, c->queue_count);
    list_foreach (it, &c->queues)
        value_str(b, queue_name(list_entry(it, struct queue, link)));
    reply_end(c);
}

/* Thousandths as a decimal number without needless zeros. */
static void show_decimal(struct buf *b, int64_t milli)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld.%03lld",
                       (long long)(milli / 1000), (long long)(milli % 1000));

    while (text[len - 1] == '0')
        len--;
    len -= text[len - 1] == '.';
    value_str(b, (struct str){text, (size_t)len});
}

/* The first of a list may have been there for longer. */
static int64_t older(int64_t than_ms, const struct list *jobs)
{
    int64_t ms;

    if (list_empty(jobs))
        return than_ms;
    ms = (int64_t)list_entry(list_first(jobs), struct job, link)->submitted_ms;
    return than_ms == CORE_NONE ? ms : min_i64(than_ms, ms);
}

/* Looks at the first of each line of what may start or is parked; of very many
 * lines at some. */
static int64_t oldest_ms(const struct queue *q)
{
    int64_t oldest = CORE_NONE;
    int looks = OLDEST_LOOKS;

    for (int p = 0; p < CORE_PRIORITIES; p++) {
        oldest = older(oldest, &q->ready[p]);
        list_foreach (it, &q->turns[p]) {
            if (looks-- <= 0)
                break;
            if (it != &q->plain_turn[p])
                oldest =
                    older(oldest, &list_entry(it, struct share, turn)->jobs);
        }
    }
    list_foreach (it, &q->lanes) {
        if (looks-- <= 0)
            break;
        oldest = older(oldest, &list_entry(it, struct lane, of_queue)->jobs);
    }
    return oldest;
}

void queue_info(struct core *c, const struct core_event *ev)
{
    const struct queue *q =
        queue_find_or_reply(c, ev->client, ev->u.queue.name);
    const struct queue_settings *s;
    int64_t oldest;
    struct buf *b;

    if (!q)
        return;
    s = &q->settings;
    oldest = oldest_ms(q);
    b = reply_begin(c, ev->client);
    {
        const struct {
            const char *name;
            int64_t value;
        } rows[] = {
            {"paused", q->paused},
            {"closed", q->door != DOOR_OPEN},
            {"max_jobs", s->max_jobs},
            {"max_bytes", s->max_bytes},
            {"jobs", q->jobs},
            {"bytes", q->bytes},
            {"ready", q->counts[JOB_READY]},
            {"delayed", q->counts[JOB_DELAYED]},
            {"parked", q->counts[JOB_PARKED]},
            {"running", q->counts[JOB_RUNNING] + q->counts[JOB_CANCELLING] +
                            q->counts[JOB_JOINING]},
            {"dead", q->ndead},
            {"delivering", q->counts[JOB_DELIVERING]},
            {"waiting_producers", q->nproducers},
            {"waiting_workers", q->nfetchers},
            {"submitted", (int64_t)q->total_submitted},
            {"ok", (int64_t)q->total[OUTCOME_OK]},
            {"failed", (int64_t)q->total[OUTCOME_FAILED]},
            {"cancelled", (int64_t)q->total[OUTCOME_CANCELLED]},
            {"timeout", s->timeout_ms},
            {"grace", s->grace_ms},
            {"retry", s->retry},
            {"redeliver", s->redeliver},
            {"keep", s->keep_ms},
            {"wait", s->wait_ms},
            {"dead_keep", s->dead_keep_ms},
            {"backoff", s->backoff_base_ms},
            {"backoff_cap", s->backoff_cap_ms},
            {"jitter", s->jitter},
            {"expires", s->expires_ms},
            {"priority", s->priority},
            {"fair", s->fair},
        };

        value_map(b, ARRAY_LEN(rows) + 4);
        value_str(b, STR("name"));
        value_str(b, queue_name(q));
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            value_str(b, str_from(rows[i].name));
            value_int(b, rows[i].value);
        }
        value_str(b, STR("factor"));
        show_decimal(b, s->factor_milli);
        value_str(b, STR("retry_on"));
        value_str_or_null(b, s->retry_on.len ? s->retry_on : (struct str){0});
        value_str(b, STR("oldest"));
        if (oldest == CORE_NONE)
            value_null(b);
        else
            value_int(b, oldest);
    }
    reply_end(c);
}

static bool settings_equal(const struct queue_settings *a,
                           const struct queue_settings *b)
{
    return a->max_jobs == b->max_jobs && a->max_bytes == b->max_bytes &&
           a->timeout_ms == b->timeout_ms && a->grace_ms == b->grace_ms &&
           a->retry == b->retry && a->redeliver == b->redeliver &&
           a->keep_ms == b->keep_ms && a->wait_ms == b->wait_ms &&
           a->dead_keep_ms == b->dead_keep_ms &&
           a->backoff_base_ms == b->backoff_base_ms &&
           a->backoff_cap_ms == b->backoff_cap_ms &&
           a->factor_milli == b->factor_milli && a->jitter == b->jitter &&
           a->expires_ms == b->expires_ms && a->priority == b->priority &&
           str_eq(a->retry_on, b->retry_on) && a->fair == b->fair;
}

void queue_set(struct core *c, const struct core_event *ev)
{
    const struct queue_settings *n = &ev->u.queue.settings;
    struct queue *q = queue_get(c, ev->client, ev->u.queue.name);
    struct queue_settings s;

    if (!q)
        return;
    s = q->settings;
    s.max_jobs = or_default(n->max_jobs, s.max_jobs);
    s.max_bytes = or_default(n->max_bytes, s.max_bytes);
    s.timeout_ms = or_default(n->timeout_ms, s.timeout_ms);
    s.grace_ms = or_default(n->grace_ms, s.grace_ms);
    s.retry = or_default(n->retry, s.retry);
    s.redeliver = or_default(n->redeliver, s.redeliver);
    s.keep_ms = or_default(n->keep_ms, s.keep_ms);
    s.wait_ms = or_default(n->wait_ms, s.wait_ms);
    s.dead_keep_ms = or_default(n->dead_keep_ms, s.dead_keep_ms);
    s.backoff_base_ms = or_default(n->backoff_base_ms, s.backoff_base_ms);
    s.backoff_cap_ms = or_default(n->backoff_cap_ms, s.backoff_cap_ms);
    s.factor_milli = or_default(n->factor_milli, s.factor_milli);
    s.jitter = or_default(n->jitter, s.jitter);
    s.expires_ms = or_default(n->expires_ms, s.expires_ms);
    s.priority = or_default(n->priority, s.priority);
    if (n->retry_on.p)
        s.retry_on = n->retry_on;
    if (!pattern_list_ok(s.retry_on)) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "QUEUE SET: " RETRY_ON_WANTED, CORE_RETRY_ON_MAX);
        return;
    }
    s.fair = or_default(n->fair, s.fair);
    if (!settings_ok(&s) || s.keep_ms > c->limits.keep_max_ms ||
        (n->dead_keep_ms != CORE_UNSET &&
         s.dead_keep_ms > c->limits.keep_max_ms)) {
        reply_error(
            c, ev->client, CORE_ERR_GENERIC,
            "QUEUE SET: MAX-JOBS, MAX-BYTES and RETRY are at least 1, "
            "TIMEOUT and WAIT at least -1, the rest at least 0, RETRY "
            "and REDELIVER at most %d, KEEP and DEAD-KEEP at most %lld, "
            "FAIR is 0 or 1",
            RUNS_MAX, (long long)c->limits.keep_max_ms);
        return;
    }
    /* The configuration says the same at each start. */
    if (!settings_equal(&s, &q->settings) && !full_may_grow(c, ev->client))
        return;
    if (!settings_equal(&s, &q->settings))
        queue_change(c, q, &s, q->paused, (enum door)q->door);
    reply_ok(c, ev->client);
    queue_wake(c, q);
}

void queue_pause(struct core *c, const struct core_event *ev)
{
    struct queue *q = queue_find_or_reply(c, ev->client, ev->u.queue.name);

    if (!q)
        return;
    if (q->paused != ev->u.queue.paused) {
        queue_change(c, q, &q->settings, ev->u.queue.paused,
                     (enum door)q->door);
        news_of_queue(c, q, q->paused ? "paused" : "resumed");
    }
    reply_ok(c, ev->client);
    queue_wake(c, q);
    line_left(c, q);
    line_attended(c, q);
}
