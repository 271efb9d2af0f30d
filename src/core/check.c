/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check - walking everything: invariants, the digest of durable state, and the
 * end of the core.
 */
#include "core/arrivals.h"
#include "core/attempt.h"
#include "core/await.h"
#include "core/below.h"
#include "core/dead.h"
#include "core/drain.h"
#include "core/errors.h"
#include "core/group.h"
#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/line.h"
#include "core/live.h"
#include "core/once.h"
#include "core/options.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/retain.h"
#include "core/share.h"
#include "core/waiter.h"
#include "core/worker.h"

/* Every list of jobs, with the state its jobs must have. */
typedef void job_fn(const struct core *c, struct job *j, void *arg);

static void walk_list(const struct core *c, const struct list *l, job_fn *fn,
                      void *arg)
{
    list_foreach_safe (it, l)
        fn(c, list_entry(it, struct job, link), arg);
}

static void walk_group(const struct core *c, const struct group *g, job_fn *fn,
                       void *arg)
{
    list_foreach (it, &g->lanes)
        walk_list(c, &list_entry(it, struct lane, link)->jobs, fn, arg);
    walk_list(c, &g->finished, fn, arg);
}

static void walk_jobs(const struct core *c, job_fn *fn, void *arg)
{
    list_foreach (it, &c->queues) {
        const struct queue *q = list_entry(it, struct queue, link);

        for (int p = 0; p < CORE_PRIORITIES; p++) {
            walk_list(c, &q->ready[p], fn, arg);
            walk_list(c, &q->restored[p], fn, arg);
            list_foreach (ti, &q->turns[p])
                if (ti != &q->plain_turn[p])
                    walk_list(c, &list_entry(ti, struct share, turn)->jobs, fn,
                              arg);
        }
        walk_list(c, &q->delayed, fn, arg);
    }
    list_foreach (it, &c->lanes)
        walk_list(c, &list_entry(it, struct lane, link)->jobs, fn, arg);
    list_foreach (it, &c->all_sessions)
        walk_list(c, &list_entry(it, struct session, link)->held, fn, arg);
    walk_list(c, &c->joining, fn, arg);
    walk_list(c, &c->delivering, fn, arg);
    walk_group(c, &c->root, fn, arg);
    list_foreach (it, &c->all_groups)
        walk_group(c, list_entry(it, struct group, link), fn, arg);
    list_foreach (it, &c->ended_groups)
        walk_group(c, list_entry(it, struct group, link), fn, arg);
}

/* ------------------------------------------------------------------- check */

struct tally {
    int64_t states[JOB_STATES_COUNT];
    int64_t jobs, payload, retained, retained_bytes, live_bytes, option_bytes;
    int64_t unloaded, unloaded_bytes;
    uint64_t keys;
    int64_t dead;
};

/* It has a key, which leads to it. */
static void check_key(const struct key *k, uint64_t id, uint64_t *count)
{
    if (!k)
        return;
    ASSERT(k->of == id && k->len > 0 && list_empty(&k->waiters));
    (*count)++;
}

static bool is_dead(const struct job *j)
{
    return j->extra && j->extra->dead;
}

static void check_dead(const struct core *c)
{
    int64_t n = 0, in_queues = 0;

    list_foreach (it, &c->dead) {
        ASSERT(is_dead(list_entry(it, struct dead, all)->job));
        n++;
    }
    list_foreach (qi, &c->queues) {
        const struct queue *q = list_entry(qi, struct queue, link);
        int64_t here = 0;

        list_foreach (it, &q->dead) {
            ASSERT(job_queue(list_entry(it, struct dead, of_queue)->job) == q);
            here++;
        }
        ASSERT(here == q->ndead);
        in_queues += here;
    }
    ASSERT(n == c->ndead && in_queues == n);
}

static void check_job(const struct core *c, struct job *j, void *arg)
{
    struct tally *t = arg;
    const struct map_node *n = map_find(&c->jobs, j->node.hash);

    ASSERT(n == &j->node);
    ASSERT(j->state < JOB_STATES_COUNT);
    t->states[j->state]++;
    t->jobs++;
    t->payload += j->payload_len;
    ASSERT(j->state != JOB_FINISHED || is_dead(j) || j->payload_len == 0);
    if (!payload_is_here(j)) {
        t->unloaded++;
        t->unloaded_bytes += j->payload_len;
        ASSERT(j->offset > 0 || is_dead(j) || job_has_run(j));
    }
    ASSERT(!is_dead(j) ||
           (j->state == JOB_FINISHED && !j->extra->retried &&
            j->u.end->outcome == OUTCOME_FAILED && j->extra->dead->job == j));
    t->dead += is_dead(j);
    if (job_has_run(j)) {
        const struct run *run = j->u.run;
        uint32_t groups = 0;

        ASSERT(run->job == j && j->attempt > 0);
        bool done = j->state == JOB_JOINING || j->state == JOB_DELIVERING;

        ASSERT((run->session == NULL) == done);
        /* A job asked to stop is cancelling, unless its body has ended. */
        ASSERT(done ||
               (run->asked != CAUSE_NONE) == (j->state == JOB_CANCELLING));
        /* A cancel that nobody was told of is kept back by a shield, which
         * ends when anything asks the job to stop. */
        ASSERT(!run->cancelled || run->asked != CAUSE_NONE || run->shield_ms);
        ASSERT(!run->shield_ms ||
               (run->asked == CAUSE_NONE && j->state == JOB_RUNNING &&
                heap_has(&run->timer.node)));
        list_foreach (it, &run->groups) {
            ASSERT(list_entry(it, struct group, sibling)->parent_job == j);
            groups++;
        }
        ASSERT(groups == run->live_groups);
        ASSERT(j->state != JOB_JOINING || groups > 0);
        ASSERT(j->state != JOB_DELIVERING ||
               (groups == 0 && j->extra->then &&
                (!c->started || list_linked(&run->delivery))));
        ASSERT((run->feed != NULL) == list_linked(&run->delivery));
    } else if (j->state == JOB_FINISHED) {
        ASSERT(j->u.end->job == j && heap_has(&j->u.end->timer.node));
        t->retained++;
        t->retained_bytes += retain_bytes(j);
        ASSERT(!j->extra || list_empty(&j->extra->waiters));
    } else {
        ASSERT(!j->group->ended);
    }
    if (j->state == JOB_DELAYED)
        ASSERT(heap_has(&j->extra->timer.node));
    ASSERT(!j->extra || j->extra->job == j);
    check_key(j->extra ? j->extra->key : NULL, j->node.hash, &t->keys);
    t->live_bytes += live_job_bytes(j);
    t->option_bytes += live_options_bytes(j->options);
}

/* In a replay, which begins anywhere, it is told at the end. */
static void check_forgotten(const struct core *c, const struct below *below)
{
    size_t gone = 0;

    ASSERT(below->job->extra->below == below && below->groups.len > 0);
    for (size_t i = 0; i < below->groups.len; i++)
        gone += !map_find(&c->groups, below->groups.ids[i] & ~ID_GROUP);
    ASSERT(!c->started || gone == below->forgotten);
}

struct group_tally {
    const struct group *group;
    int64_t queued, running;
    int64_t active;
};

static bool inside(const struct group *g, const struct group *top)
{
    for (; g; g = g->parent)
        if (g == top)
            return true;
    return false;
}

static void count_member(const struct core *c, struct job *j, void *arg)
{
    struct group_tally *t = arg;

    (void)c;
    if (job_runs(j) && inside(j->group, t->group))
        t->active++;
    if (j->group != t->group)
        return;
    t->queued += job_not_started(j);
    t->running += job_has_run(j);
}

/* The job that it is under, as long as that is known, knows it. */
static void check_below(const struct core *c, const struct group *g)
{
    const struct map_node *n =
        g->parent_attempt ? map_find(&c->jobs, g->parent_id) : NULL;
    const struct extra *x =
        n ? container_of(n, const struct job, node)->extra : NULL;
    size_t at;

    if (!n)
        return;
    ASSERT(x && x->below);
    at = id_vector_after(&x->below->groups, g->id - 1);
    ASSERT(at < x->below->groups.len &&
           x->below->groups.ids[at] == (g->id | ID_GROUP));
}

/* Whole walks for each group: for the small worlds of simulation and fuzzing
 * only, see core_check. */
static void check_group(const struct core *c, const struct group *g)
{
    struct group_tally t = {.group = g};
    int64_t groups = 0;

    check_below(c, g);
    walk_jobs(c, count_member, &t);
    list_foreach (it, &g->groups) {
        ASSERT(list_entry(it, struct group, sibling)->parent == g);
        groups++;
    }
    ASSERT(g->queued == t.queued && g->running == t.running + groups);
    ASSERT(g->live == t.queued + t.running + groups);
    ASSERT(g->active == t.active);
    /* That a member made room may have been lost. */
    ASSERT(g->width == CORE_NONE || g->active <= g->width || c->salvaged);
    ASSERT(g->read ? g->ended : !list_linked(&g->spent));
    if (g->ended) {
        ASSERT(g->live == 0 && !g->parent && !g->parent_job && !g->owner);
        ASSERT(g->outcome != OUTCOME_NONE);
    } else if (g->id) {
        ASSERT((g->parent != NULL) != (g->parent_job != NULL));
        /* Nothing is left to wait for: it would have ended. */
        ASSERT(!c->started || g->live > 0 ||
               (!g->closed && g->cause == CAUSE_NONE));
    }
}

static uint32_t check_share(const struct queue *q, const struct share *s, int p)
{
    ASSERT(s->queue == q && s->priority == p && !list_empty(&s->jobs));
    list_foreach (it, &s->jobs) {
        const struct job *j = list_entry(it, struct job, link);

        ASSERT(job_queue(j) == q && j->priority == p && j->state == JOB_READY &&
               j->group == s->group);
    }
    return 1;
}

static void check_queue(const struct queue *q)
{
    int64_t jobs = 0, nproducers = 0, nfetchers = 0;
    uint32_t shares = 0;

    for (int p = 0; p < CORE_PRIORITIES; p++) {
        ASSERT(((q->ready_mask >> p) & 1) ==
               (!list_empty(&q->ready[p]) || !list_empty(&q->turns[p])));
        ASSERT(((q->open_mask >> p) & 1) == (heap_min(&q->open[p]) != NULL));
        /* Ready jobs that have no turn would never start. */
        ASSERT(list_empty(&q->turns[p]) ||
               list_linked(&q->plain_turn[p]) == !list_empty(&q->ready[p]));
        list_foreach (it, &q->turns[p])
            if (it != &q->plain_turn[p])
                shares += check_share(q, list_entry(it, struct share, turn), p);
        list_foreach (it, &q->ready[p]) {
            const struct job *j = list_entry(it, struct job, link);

            ASSERT(job_queue(j) == q && j->priority == p &&
                   j->state == JOB_READY);
        }
    }
    list_foreach (it, &q->delayed)
        ASSERT(list_entry(it, struct job, link)->state == JOB_DELAYED);
    list_foreach (it, &q->producers)
        nproducers++;
    list_foreach (it, &q->fetchers) {
        const struct fetch_link *link = list_entry(it, struct fetch_link, link);

        ASSERT(link->queue == q && link->most > 0);
        nfetchers++;
    }
    ASSERT(nproducers == q->nproducers && nfetchers <= q->nfetchers);
    for (int s = JOB_DELAYED; s <= JOB_PARKED; s++)
        jobs += q->counts[s];
    ASSERT(jobs == q->jobs && q->bytes >= 0);
    ASSERT(q->door == DOOR_OPEN || list_empty(&q->producers));
    /* What is to be emptied is on the list, and only that. */
    ASSERT(list_linked(&q->emptying) ||
           (q->purge_before == 0 && list_empty(&q->purgers)));
    for (int s = JOB_RUNNING; s < JOB_FINISHED; s++)
        jobs += q->counts[s];
    ASSERT(jobs > 0 || list_empty(&q->joiners));
    ASSERT(shares == q->nshares);
}

/* Keys that lead to nothing yet: each is counted with its first waiter. */
static uint64_t check_waiting_keys(const struct queue *q)
{
    uint64_t keys = 0;

    list_foreach (it, &q->producers) {
        const struct waiter *w = list_entry(it, struct waiter, link);

        ASSERT((w->key != NULL) == (w->submit->key.len > 0));
        if (!w->key)
            continue;
        ASSERT(w->key->of == 0 && list_linked(&w->keyed));
        keys += list_first(&w->key->waiters) == &w->keyed;
    }
    return keys;
}

static bool is_full(const struct group *g)
{
    return g->width != CORE_NONE && g->active >= g->width;
}

/* No producer waits while there is room, no worker while there is work, unless
 * the queue will be looked at again. */
static void check_no_lost_wakeup(const struct core *c, const struct queue *q)
{
    if (list_linked(&q->wake) || !c->started)
        return;
    if (!list_empty(&q->producers)) {
        const struct waiter *w =
            list_entry(list_first(&q->producers), struct waiter, link);

        ASSERT(!list_empty(&q->deliveries) ||
               !queue_fits(q, w->submit->payload.len));
    }
    if (!list_empty(&q->deliveries)) {
        const struct run *run =
            list_entry(list_first(&q->deliveries), struct run, delivery);

        ASSERT(q->door == DOOR_OPEN);
        ASSERT(c->disk_full || !queue_fits(q, run->result_len));
    }
    if (q->paused || c->draining || c->disk_full || drain_stops(q) ||
        list_empty(&q->fetchers))
        return;
    ASSERT(!q->stuck || !list_empty(&c->loads_asked));
    if (q->stuck)
        return;
    ASSERT(q->ready_mask == 0);
    for (int p = 0; p < CORE_PRIORITIES; p++)
        for (uint32_t i = 0; i < q->open[p].len; i++) {
            const struct lane *lane =
                container_of(q->open[p].entries[i].node, struct lane, open);

            ASSERT(list_empty(&lane->jobs) ||
                   (!lane->needs && is_full(lane->group)));
        }
}

static void check_lanes(const struct group *g)
{
    list_foreach (it, &g->lanes) {
        const struct lane *lane = list_entry(it, struct lane, link);

        ASSERT(!lane->needs && lane->group == g);
        list_foreach (ji, &lane->jobs) {
            const struct job *j = list_entry(ji, struct job, link);

            ASSERT(j->state == JOB_PARKED && job_queue(j) == lane->queue);
            ASSERT(j->priority == lane->priority);
        }
        ASSERT(list_empty(&lane->jobs) || heap_has(&lane->open) || is_full(g));
    }
}

/* In a lane of a limiter: the order, the places, and that somebody opens it. */
static void check_limit_lane(const struct core *c, const struct lane *lane)
{
    const struct limiter *l = lane->waits ? lane->waits->limiter : NULL;
    const struct job *first =
        container_of(heap_min(&lane->order), struct extra, place)->job;
    uint32_t jobs = 0;

    list_foreach (it, &lane->jobs) {
        const struct job *j = list_entry(it, struct job, link);

        ASSERT(j->state == JOB_PARKED && job_queue(j) == lane->queue);
        ASSERT(j->priority == lane->priority && j->extra->lane == lane);
        ASSERT(j->extra->needs == lane->needs &&
               j->node.hash >= first->node.hash);
        ASSERT(!lane->group || j->group == lane->group);
        jobs++;
    }
    ASSERT(jobs > 0 && jobs == lane->order.len);
    ASSERT(lane->turn == max_i64((int64_t)first->node.hash, lane->served));
    ASSERT((l != NULL) != heap_has(&lane->open));
    for (size_t i = 0; i < lane->needs->len; i++) {
        const struct place *p = &lane->places[i];

        ASSERT(p->lane == lane && p->n == lane->needs->list[i].n);
        ASSERT(p->line->limiter == lane->needs->list[i].limiter);
        ASSERT(p->line->queue == lane->queue);
    }
    /* No worker waits for one that could start, unless it will be looked at. */
    if (l && queue_attended(c, lane->queue) && !list_linked(&l->wake) &&
        !list_linked(&lane->queue->wake) && list_empty(&c->left) &&
        !lane->queue->stuck && !group_cancelled(first->group) &&
        !job_overdue(c, first) && !job_full_group(first))
        ASSERT(line_refuses(c, first));
}

static void check_line(const struct line *line, int64_t *shut_out)
{
    int64_t reserved = 0, last = 0;
    uint32_t n[CORE_PRIORITIES] = {0};

    ASSERT(!list_empty(&line->places));
    list_foreach (it, &line->places) {
        const struct place *p = list_entry(it, struct place, link);

        ASSERT(p->line == line && p->lane->turn >= last);
        last = p->lane->turn;
        reserved += p->n;
        n[p->lane->priority]++;
    }
    ASSERT(reserved == line->reserved);
    for (int p = 0; p < CORE_PRIORITIES; p++) {
        ASSERT(n[p] == line->nplaces[p]);
        ASSERT(((line->waiting_mask >> p) & 1) == (line->waiting[p].len > 0));
        *shut_out += line->waiting[p].len;
    }
}

struct limiter_tally {
    const struct limiter *limiter;
    int64_t held, users, waiting;
};

static void count_user(const struct core *c, struct job *j, void *arg)
{
    struct limiter_tally *t = arg;
    const struct needs *needs = j->extra ? j->extra->needs : NULL;

    (void)c;
    for (size_t i = 0; needs && i < needs->len; i++) {
        if (needs->list[i].limiter != t->limiter)
            continue;
        t->users += j->state != JOB_FINISHED;
        t->waiting += j->state == JOB_PARKED && j->extra->lane;
        if (j->state == JOB_RUNNING || j->state == JOB_CANCELLING)
            t->held += needs->list[i].n;
    }
}

static void check_limiter(const struct core *c, const struct limiter *l)
{
    struct limiter_tally t = {.limiter = l};
    int64_t shut_out = 0;

    walk_jobs(c, count_user, &t);
    ASSERT(t.held == l->held && t.users == l->users);
    ASSERT(t.waiting == l->waiting);
    ASSERT(l->permits == CORE_NONE || l->held <= l->permits || l->lowered);
    ASSERT(l->level >= 0 && l->level <= l->rate * l->rate_ms);
    list_foreach (it, &l->lines) {
        const struct line *line = list_entry(it, struct line, of_limiter);

        ASSERT(line->limiter == l);
        check_line(line, &shut_out);
    }
    ASSERT(shut_out == l->shut_out);
}

/* How many sessions have numbers; the oldest images are written again first. */
static uint64_t check_numbered(const struct core *c)
{
    uint32_t segment = 0;
    uint64_t n = 0;
    int64_t numbers = 0;

    list_foreach (it, &c->numbered) {
        const struct asked *a = list_entry(it, struct asked, numbered);

        ASSERT(a->cap > 0 && a->segment >= segment && a->first <= a->last &&
               a->last - a->first < a->cap);
        segment = a->segment;
        numbers += (int64_t)(a->last - a->first) + 1 + ONCE_IMAGE_WEIGHT;
        n++;
    }
    ASSERT(numbers == c->numbers);
    ASSERT(c->numbered_segment ==
           (n ? list_entry(list_first(&c->numbered), struct session,
                           asked.numbered)
                    ->asked.segment
              : UINT32_MAX));
    return n;
}

struct each {
    core_each_fn *fn;
    void *arg;
};

static void each_job(const struct core *c, struct job *j, void *arg)
{
    const struct each *e = arg;

    (void)c;
    e->fn(e->arg, &(struct core_thing){
                      .id = j->node.hash,
                      .queue = {job_queue(j)->name, job_queue(j)->name_len},
                      .state = job_state_name((enum job_state)j->state),
                      .attempt = j->attempt});
}

void core_each(const struct core *c, core_each_fn *fn, void *arg)
{
    struct each e = {.fn = fn, .arg = arg};

    list_foreach (it, &c->all_groups)
        fn(arg,
           &(struct core_thing){.is_group = true,
                                .id = list_entry(it, struct group, link)->id,
                                .state = "open"});
    list_foreach (it, &c->ended_groups)
        fn(arg,
           &(struct core_thing){.is_group = true,
                                .id = list_entry(it, struct group, link)->id,
                                .state = "ended"});
    walk_jobs(c, each_job, &e);
}

void core_check(const struct core *c)
{
    struct tally t = {0};
    uint64_t held = 0;

    walk_jobs(c, check_job, &t);
    ASSERT(t.jobs == (int64_t)c->jobs.len);
    for (int s = 0; s < JOB_STATES_COUNT; s++)
        ASSERT(t.states[s] == c->state_counts[s]);
    ASSERT(t.payload == c->payload_bytes);
    ASSERT(t.unloaded == c->unloaded);
    ASSERT(t.unloaded_bytes == c->unloaded_bytes);
    ASSERT(t.retained == c->retained_jobs);
    ASSERT(t.retained_bytes == c->retained_bytes);
    ASSERT(t.dead == c->ndead);
    check_dead(c);
    ASSERT(c->memory >= 0);
    arrivals_check(c);
    list_foreach (it, &c->queues) {
        const struct queue *q = list_entry(it, struct queue, link);

        check_queue(q);
        t.keys += check_waiting_keys(q);
        ASSERT(!c->started || q->door != DOOR_CLOSED_NOW || q->jobs == 0 ||
               list_linked(&q->emptying));
        check_no_lost_wakeup(c, q);
    }
    check_group(c, &c->root);
    check_lanes(&c->root);
    list_foreach (it, &c->all_groups) {
        const struct group *g = list_entry(it, struct group, link);

        check_group(c, g);
        check_lanes(g);
        check_key(g->key, g->id, &t.keys);
        t.live_bytes += live_group_bytes(g);
    }
    list_foreach (it, &c->ended_groups) {
        const struct group *g = list_entry(it, struct group, link);

        check_group(c, g);
        check_key(g->key, g->id, &t.keys);
        t.live_bytes += live_group_bytes(g);
    }
    ASSERT(t.keys == c->keys.len);
    list_foreach (it, &c->belows)
        check_forgotten(c, list_entry(it, struct below, link));
    ASSERT(t.live_bytes == c->live_bytes);
    ASSERT(t.option_bytes == c->option_bytes);
    list_foreach (it, &c->lanes)
        check_limit_lane(c, list_entry(it, struct lane, link));
    list_foreach (it, &c->limiters)
        check_limiter(c, list_entry(it, struct limiter, link));
    ASSERT(list_empty(&c->passing) && !c->serving);
    for (size_t i = 0; i < c->segment_cap; i++) {
        held += c->segment_live[i];
        t.live_bytes -= c->segment_bytes[i];
        ASSERT(c->segment_live[i] > 0 || c->segment_bytes[i] == 0);
    }
    ASSERT(t.live_bytes == 0);
    ASSERT(held == c->segment_held);
    ASSERT(held == (uint64_t)(t.jobs + c->ngroups + c->nended + c->nlimiters) +
                       c->queue_names.len + check_numbered(c));
    await_check(c);
}

/* ------------------------------------------------------------------ digest */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xd6e8feb86659fd93u;
}

static uint64_t mix_text(uint64_t h, const char *text)
{
    return mix(h, text ? map_hash(text, strlen(text)) : 0);
}

static uint64_t digest_extra(const struct extra *x)
{
    uint64_t h = 5;

    for (uint32_t i = 0; i < x->nerrors; i++) {
        const struct job_error *e = &x->errors[i];

        h = mix(h, map_hash(e->class.p, e->class.len));
        h = mix(h, map_hash(e->message.p, e->message.len));
        h = mix(h, map_hash(e->detail.p, e->detail.len));
        h = mix(h, e->attempt);
        h = mix(h, e->body_done);
        h = mix(h, (uint64_t)e->at_ms);
    }
    h = mix(h, x->failures);
    h = mix(h, x->losses);
    h = mix(h, x->errors_below);
    h = mix(h, (uint64_t)x->not_before_ms);
    h = mix(h, x->key ? x->key->node.hash : 0);
    h = mix(h, !x->needs ? 0 : needs_exist(x->needs) ? x->needs->node.hash : 1);
    h = mix_text(h, x->then);
    h = mix_text(h, x->name);
    h = mix_text(h, x->reason);
    return h;
}

static uint64_t digest_run(const struct run *run)
{
    uint64_t h = mix(6, run->asked);

    h = mix(h, run->cancelled);
    h = mix(h, run->cancelled_first);
    h = mix(h, run->asked_late);
    h = mix(h, run->child_failed);
    h = mix(h, run->child_cancelled);
    h = mix(h, run->errors_below);
    h = mix(h, run->verdict);
    h = mix(h, (uint64_t)run->started_ms);
    h = mix(h, (uint64_t)run->shield_ms);
    h = mix(h, (uint64_t)run->grace_ms);
    h = mix(h, run->session ? run->session->id : 0);
    h = mix(h, run->body);
    h = mix(h, run->place);
    h = mix(h, run->live_groups);
    h = mix(h, map_hash(run->result, run->result_len));
    h = mix(h, run->is_ready);
    h = mix(h, map_hash(run->ready, run->ready_len));
    return h;
}

static uint64_t digest_options(const struct options *o)
{
    uint64_t h = 7;

    h = mix(h, (uint64_t)o->timeout_ms);
    h = mix(h, (uint64_t)o->deadline_ms);
    h = mix(h, (uint64_t)o->grace_ms);
    h = mix(h, (uint64_t)o->keep_ms);
    h = mix(h, (uint64_t)o->expires_ms);
    h = mix(h, (uint64_t)o->retry);
    h = mix(h, (uint64_t)o->backoff_base_ms);
    h = mix(h, (uint64_t)o->backoff_cap_ms);
    h = mix(h, (uint64_t)o->redeliver);
    h = mix(h, (uint64_t)o->jitter);
    h = mix(h, (uint64_t)o->factor_milli);
    return mix(h, map_hash(o->retry_on.p, o->retry_on.len));
}

/* Sums of the hashes of entities: the order of the walk must not matter, for
 * places in line are volatile. */
static void digest_job(const struct core *c, struct job *j, void *arg)
{
    static const struct extra nothing;
    uint64_t *sum = arg, h = mix(1, j->node.hash);

    (void)c;
    if (j->state == JOB_FINISHED)
        return; /* may have been forgotten meanwhile */
    h = mix(h, job_queue(j)->id);
    h = mix(h, j->group->id);
    h = mix(h, j->attempt);
    h = mix(h, j->priority);
    h = mix(h, (uint64_t)j->submitted_ms);
    h = mix(h, j->payload_len); /* it may be in the store only */
    /* One may also be there for who waits, which is volatile. */
    h = mix(h, digest_extra(j->extra ? j->extra : &nothing));
    h = mix(h, digest_options(j->options));
    if (job_has_run(j)) {
        h = mix(h, j->state);
        h = mix(h, digest_run(j->u.run));
    }
    *sum += h;
}

static bool has_ended(const struct core *c, uint64_t member)
{
    bool is_group = member & ID_GROUP;
    const struct map_node *n = is_group
                                   ? map_find(&c->groups, member & ~ID_GROUP)
                                   : map_find(&c->jobs, member);

    if (!n)
        return true;
    return is_group
               ? container_of(n, const struct group, node)->ended
               : container_of(n, const struct job, node)->state == JOB_FINISHED;
}

/* A cancel reaches the members that it has in its list, in this order. */
static uint64_t digest_members(const struct core *c, const struct group *g)
{
    uint64_t h = 8;

    for (size_t i = 0; i < g->members.len; i++)
        if (!has_ended(c, g->members.ids[i]))
            h = mix(h, g->members.ids[i]);
    return h;
}

static uint64_t digest_settings(const struct queue_settings *s)
{
    uint64_t h = 9;

    h = mix(h, (uint64_t)s->max_jobs);
    h = mix(h, (uint64_t)s->max_bytes);
    h = mix(h, (uint64_t)s->timeout_ms);
    h = mix(h, (uint64_t)s->grace_ms);
    h = mix(h, (uint64_t)s->retry);
    h = mix(h, (uint64_t)s->redeliver);
    h = mix(h, (uint64_t)s->keep_ms);
    h = mix(h, (uint64_t)s->wait_ms);
    h = mix(h, (uint64_t)s->dead_keep_ms);
    h = mix(h, (uint64_t)s->backoff_base_ms);
    h = mix(h, (uint64_t)s->backoff_cap_ms);
    h = mix(h, (uint64_t)s->factor_milli);
    h = mix(h, (uint64_t)s->jitter);
    h = mix(h, (uint64_t)s->expires_ms);
    h = mix(h, (uint64_t)s->priority);
    h = mix(h, (uint64_t)s->fair);
    return mix(h, map_hash(s->retry_on.p, s->retry_on.len));
}

uint64_t core_digest(const struct core *c)
{
    uint64_t sum = 0;

    walk_jobs(c, digest_job, &sum);
    list_foreach (it, &c->all_groups) {
        const struct group *g = list_entry(it, struct group, link);
        uint64_t h = mix(2, g->id);

        h = mix(h, (uint64_t)g->live);
        h = mix(h, (uint64_t)g->members_total);
        h = mix(h, g->closed);
        h = mix(h, g->key ? g->key->node.hash : 0);
        h = mix(h, g->parent_id);
        h = mix(h, g->parent_attempt);
        h = mix(h, g->depth);
        h = mix(h, (uint64_t)g->fail);
        h = mix(h, (uint64_t)g->succeed);
        h = mix(h, (uint64_t)g->width);
        h = mix(h, (uint64_t)g->opened_ms);
        h = mix(h, (uint64_t)g->keep_ms);
        h = mix(h, (uint64_t)g->done_dropped + g->done.len);
        h = mix(h, g->failed_inside);
        h = mix(h, g->errors_below);
        h = mix_text(h, g->name);
        h = mix_text(h, g->reason);
        h = mix(h, g->cause);
        h = mix(h, (uint64_t)g->cancel_grace_ms);
        h = mix(h, g->owner && g->cause == CAUSE_NONE ? g->owner->id : 0);
        h = mix(h, digest_members(c, g));
        h = mix(h, (uint64_t)g->deadline_ms);
        for (int o = 0; o < OUTCOMES_COUNT; o++)
            h = mix(h, (uint64_t)g->by_outcome[o]);
        sum += h;
    }
    list_foreach (it, &c->queues) {
        const struct queue *q = list_entry(it, struct queue, link);
        uint64_t h = mix(3, q->id);

        h = mix(h, q->node.hash);
        h = mix(h, digest_settings(&q->settings));
        h = mix(h, q->paused);
        h = mix(h, q->door);
        h = mix(h, (uint64_t)q->jobs);
        sum += h;
    }
    list_foreach (it, &c->limiters) {
        const struct limiter *l = list_entry(it, struct limiter, link);
        uint64_t h = mix(4, l->id);

        h = mix(h, l->node.hash);
        h = mix(h, (uint64_t)l->permits);
        h = mix(h, (uint64_t)l->rate);
        h = mix(h, (uint64_t)l->rate_ms);
        h = mix(h, (uint64_t)l->level);
        h = mix(h, (uint64_t)l->filled_ms);
        h = mix(h, (uint64_t)l->held);
        sum += h;
    }
    return sum;
}

struct ends {
    struct core *in;
    bool kept;
};

static void keeps_end(const struct core *c, struct job *j, void *arg)
{
    struct ends *ends = arg;
    const struct job *k;

    if (j->state != JOB_FINISHED || job_kept_until(c, j) <= c->now_ms)
        return; /* a replay forgets at once what is due */
    k = find_job(ends->in, (struct job_id){j->node.hash});
    if (!k || k->state != JOB_FINISHED ||
        k->u.end->outcome != j->u.end->outcome ||
        k->u.end->result_len != j->u.end->result_len ||
        is_dead(k) != is_dead(j) ||
        job_kept_until(ends->in, k) != job_kept_until(c, j))
        ends->kept = false;
}

bool core_keeps_ends(struct core *c, const struct core *of)
{
    struct ends ends = {.in = c, .kept = true};

    walk_jobs(of, keeps_end, &ends);
    return ends.kept;
}

/* -------------------------------------------------------------------- free */

static void free_job(const struct core *c, struct job *j, void *arg)
{
    (void)c;
    job_free(arg, j);
}

static void free_groups(struct core *c, struct list *groups)
{
    list_foreach_safe (it, groups) {
        struct group *g = list_entry(it, struct group, link);

        group_release(c, g);
        mem_free(g);
    }
}

void core_free(struct core *c)
{
    if (!c)
        return;
    while (!list_empty(&c->all_clients)) {
        struct client *cl =
            list_entry(list_first(&c->all_clients), struct client, link);

        if (cl->session)
            cl->session->client = NULL;
        cl->session = NULL;
        if (cl->waiter)
            waiter_free(c, cl->waiter); /* frees the client, too */
        else
            client_drop_if_idle(c, cl);
    }
    list_foreach (it, &c->all_sessions)
        await_release(c, list_entry(it, struct session, link));
    walk_jobs(c, free_job, c);
    lines_clear(c);
    limiters_clear(c);
    free_groups(c, &c->all_groups);
    free_groups(c, &c->ended_groups);
    group_release(c, &c->root);
    list_foreach_safe (it, &c->queues)
        queue_free(c, list_entry(it, struct queue, link));
    list_foreach_safe (it, &c->all_sessions) {
        struct session *s = list_entry(it, struct session, link);

        once_release(c, s);
        mem_free(s);
    }
    if (c->last_options)
        options_release(c, c->last_options);
    buf_clear(&c->scratch);
    buf_clear(&c->arrivals);
    payload_clear(c);
    slabs_clear(&c->slabs);
    map_clear(&c->jobs);
    map_clear(&c->groups);
    map_clear(&c->sessions);
    map_clear(&c->clients);
    map_clear(&c->queue_names);
    map_clear(&c->keys);
    map_clear(&c->awaits);
    map_clear(&c->limiter_names);
    map_clear(&c->needs);
    map_clear(&c->lane_map);
    map_clear(&c->shares);
    heap_clear(&c->timers);
    heap_clear(&c->waits);
    heap_clear(&c->keeps);
    mem_free(c->queue_table);
    mem_free(c->segment_live);
    mem_free(c->segment_bytes);
    mem_free(c);
}
