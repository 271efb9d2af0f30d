/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay - what the store has is applied again, entry by entry; and when all
 * was, places in line are made good, by the order of ids, and of ends.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/attempt.h"
#include "core/below.h"
#include "core/dead.h"
#include "core/group.h"
#include "core/ids.h"
#include "core/image_apply.h"
#include "core/image_errors.h"
#include "core/internal.h"
#include "core/members.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/retain.h"
#include "core/segment.h"
#include "core/share.h"
#include "core/worker.h"

static bool ended_after(const struct job *a, const struct job *b)
{
    return a->u.end->ended_ms > b->u.end->ended_ms;
}

static bool finished_after(const struct list *a, const struct list *b)
{
    return ended_after(list_entry(a, struct job, link),
                       list_entry(b, struct job, link));
}

static bool spent_after(const struct list *a, const struct list *b)
{
    return list_entry(a, struct group, spent)->ended_ms >
           list_entry(b, struct group, spent)->ended_ms;
}

/* In the order in which they came about, as far as that matters for which of
 * them go first. */
static void sort_outcomes(struct core *c)
{
    list_sort(&c->root.finished, finished_after);
    list_sort(&c->spent, spent_after);
    list_foreach (it, &c->spent)
        list_sort(&list_entry(it, struct group, spent)->finished,
                  finished_after);
}

/* Did apply take it for one of a job that is over, of whose queue or group
 * nothing is known? */
static bool is_passed_over(struct core *c, const struct record *r)
{
    return (r->type == RECORD_JOB || r->type == RECORD_JOB_IMAGE) &&
           !find_job(c, (struct job_id){r->id});
}

/* `left` NULL: what does not fit is an error. */
static const char *replay(struct core *c, const char *entry, size_t len,
                          core_left_fn *left, void *arg)
{
    size_t at = 0;

    while (at < len) {
        struct core_left l = {.record = entry + at};
        struct record r;

        l.wrong = record_decode(entry, len, &at, &r);
        if (!l.wrong && r.at_ms < 0)
            l.wrong = "record from before 1970";
        if (l.wrong)
            return l.wrong;
        c->now_ms = max_i64(c->now_ms, r.at_ms);
        if (UNLIKELY(c->lost) && r.type == RECORD_JOB)
            queue_make_up(c, r.u.job.queue);
        if (UNLIKELY(c->lost) && r.type == RECORD_JOB_IMAGE)
            queue_make_up(c, r.u.job_image.job.queue);
        l.wrong = core_apply(c, &r);
        if (LIKELY(!left) && l.wrong)
            return l.wrong;
        if (left && (l.wrong || is_passed_over(c, &r))) {
            l.type = (uint8_t)r.type;
            l.id = r.id;
            l.len = (size_t)(entry + at - (const char *)l.record);
            left(arg, &l);
        }
    }
    return NULL;
}

/* Images of old outcomes come after newer ones. Which are the oldest is looked
 * at when there are twice as many as may be, which is seldom. */
static void retain_in_replay(struct core *c)
{
    if (!c->imaged) {
        (void)retain_enforce(c); /* the rest with what comes */
        return;
    }
    if (c->retained_jobs <= 2 * c->limits.retain_jobs &&
        c->retained_bytes <= 2 * c->limits.retain_bytes)
        return;
    sort_outcomes(c);
    while (retain_enforce(c))
        continue;
}

int core_salvage(struct core *c, const void *entry, size_t len,
                 uint32_t segment, core_left_fn *left, void *arg,
                 char text[128])
{
    const char *wrong;

    ASSERT(!c->started);
    c->salvaged = c->salvaged || left;
    if (segment < c->segment || segment - c->segment > SEGMENTS_MAX) {
        if (text)
            (void)snprintf(text, 128, "segment %u after segment %u", segment,
                           c->segment);
        return -EBADMSG;
    }
    segment_set(c, segment);
    buf_reset(&c->written);
    wrong = replay(c, entry, len, left, arg);
    if (wrong) {
        if (text)
            (void)snprintf(text, 128, "%s", wrong);
        return -EBADMSG;
    }
    timers_forget_due(c);
    retain_in_replay(c);
    payload_evict(c);
    return 0;
}

void core_lost(struct core *c)
{
    c->lost = true;
}

int core_replay(struct core *c, const void *entry, size_t len, uint32_t segment,
                char text[128])
{
    return core_salvage(c, entry, len, segment, NULL, NULL, text);
}

/* ----------------------------------------------------------------- its end */

static bool job_after(const struct list *a, const struct list *b)
{
    return list_entry(a, struct job, link)->node.hash >
           list_entry(b, struct job, link)->node.hash;
}

static bool dead_after(const struct list *a, const struct list *b)
{
    return ended_after(list_entry(a, struct dead, all)->job,
                       list_entry(b, struct dead, all)->job);
}

static bool dead_of_queue_after(const struct list *a, const struct list *b)
{
    return ended_after(list_entry(a, struct dead, of_queue)->job,
                       list_entry(b, struct dead, of_queue)->job);
}

static bool delivery_after(const struct list *a, const struct list *b)
{
    return list_entry(a, struct job, link)->u.run->place >
           list_entry(b, struct job, link)->u.run->place;
}

static bool group_after(const struct list *a, const struct list *b)
{
    return list_entry(a, struct group, link)->ended_ms >
           list_entry(b, struct group, link)->ended_ms;
}

static void settle_ready(struct core *c, struct queue *q, int priority)
{
    struct list *restored = &q->restored[priority];

    if (list_empty(restored))
        return;
    q->ready_mask |= 1u << priority;
    if (!q->settings.fair && list_empty(&q->turns[priority])) {
        list_splice_front(&q->ready[priority], restored);
        list_sort(&q->ready[priority], job_after);
        return;
    }
    list_foreach_safe (it, restored) {
        struct job *j = list_entry(it, struct job, link);

        list_remove(it);
        list_push_back(share_place(c, j, false), it);
    }
    list_sort(&q->ready[priority], job_after);
    list_foreach (it, &q->turns[priority])
        if (it != &q->plain_turn[priority])
            list_sort(&list_entry(it, struct share, turn)->jobs, job_after);
}

/* Was it forgotten while the job that it is under was not? Then that does not
 * know it. */
static bool is_forgotten_below(struct core *c, const struct group *g)
{
    struct job *j = g->parent_attempt && g->ended
                        ? find_job(c, (struct job_id){g->parent_id})
                        : NULL;
    const struct below *below = j && j->extra ? j->extra->below : NULL;

    return j && !(below && below_has(below, g->id));
}

static void drop_zeros(struct core *c, struct id_vector *v)
{
    size_t kept = 0;

    for (size_t n = 0; n < v->len; n++)
        if (v->ids[n])
            v->ids[kept++] = v->ids[n];
    id_vector_cut(c, v, kept);
}

/* Is it not known what lives in it? */
static bool has_lost_members(const struct group *g)
{
    return !g->ended && (g->missing || (g->unknown && g->live > 0));
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a & ~ID_GROUP,
             y = *(const uint64_t *)b & ~ID_GROUP;

    return (x > y) - (x < y);
}

/* In the order of their ids, each once. */
static void sort_members(struct core *c, struct group *g)
{
    struct id_vector *v = &g->members;
    size_t kept = 0;

    qsort(v->ids, v->len, sizeof(*v->ids), by_id);
    for (size_t n = 0; n < v->len; n++)
        if (kept == 0 || v->ids[n] != v->ids[kept - 1])
            v->ids[kept++] = v->ids[n];
    id_vector_cut(c, v, kept);
    if (g->unknown)
        g->members_total = max_i64(g->members_total, (int64_t)kept);
}

/* Groups whose images were lost, or some of it, know those members that are
 * there: a cancel must reach them. Only damage does that. */
static void find_members(struct core *c)
{
    bool lost = false;

    list_foreach (it, &c->all_groups)
        lost |= has_lost_members(list_entry(it, struct group, link));
    for (size_t b = 0; lost && b < c->jobs.active; b++)
        for (struct map_node *n = map_bucket(&c->jobs, b); n; n = n->next) {
            struct group *g = container_of(n, struct job, node)->group;

            if (has_lost_members(g))
                id_vector_push(c, &g->members, n->hash);
        }
    list_foreach (it, &c->all_groups) {
        struct group *g = list_entry(it, struct group, link);

        if (g->parent && has_lost_members(g->parent))
            id_vector_push(c, &g->parent->members, g->id | ID_GROUP);
    }
    list_foreach (it, &c->all_groups) {
        struct group *g = list_entry(it, struct group, link);

        if (has_lost_members(g))
            sort_members(c, g);
    }
}

static bool is_within(const struct group *g, const struct group *scope)
{
    while (g && g != scope)
        g = g->parent ? g->parent : g->parent_job ? g->parent_job->group : NULL;
    return g != NULL;
}

/* A group that was lost and lives goes on in its scope: that group, or the
 * attempt of a job in it, knows its id. */
static void adopt(struct core *c, uint64_t id, const struct group *scope,
                  const struct job *j)
{
    struct group *g =
        id & ID_GROUP ? find_group(c, (struct group_id){id & ~ID_GROUP}) : NULL;

    if (g && g->unknown && g->live > 0 && !is_within(scope, g))
        image_settle_unknown(c, g, j ? j->node.hash : scope->id,
                             j ? j->attempt : 0);
}

static void adopt_groups(struct core *c)
{
    list_foreach (it, &c->all_groups) {
        const struct group *g = list_entry(it, struct group, link);

        for (size_t n = 0; !g->unknown && n < g->members.len; n++)
            adopt(c, g->members.ids[n], g, NULL);
    }
    list_foreach (it, &c->belows) {
        const struct below *below = list_entry(it, struct below, link);

        for (size_t n = 0; job_runs(below->job) && n < below->groups.len; n++)
            adopt(c, below->groups.ids[n], below->job->group, below->job);
    }
}

static void settle_group(struct core *c, struct group *g)
{
    if (g->missing) { /* they were lost: only damage does that */
        drop_zeros(c, &g->members);
        drop_zeros(c, &g->done);
        g->missing = 0;
    }
    if (g->unknown || (!g->ended && !g->parent && !g->parent_job))
        image_settle_unknown(c, g, 0, 0);
    else if (is_forgotten_below(c, g))
        group_forget_now(c, g);
}

/* How many members of those that it is told of are gone. */
static void count_forgotten(struct core *c, struct group *g)
{
    if (!g->image_segment)
        return;
    g->forgotten = 0;
    for (size_t n = 0; n < g->members.len; n++)
        g->forgotten += !member_exists(c, g->members.ids[n]);
}

static uint32_t depth_of(const struct group *g)
{
    uint32_t depth = 0;

    while (g->id) {
        depth += g->parent ? 1 : 2;
        g = g->parent ? g->parent : g->parent_job->group;
    }
    return depth;
}

static void count_active(const struct list *jobs)
{
    list_foreach (it, jobs)
        for (struct group *g = list_entry(it, struct job, link)->group; g;
             g = g->parent)
            g->active++;
}

static void settle_groups(struct core *c)
{
    find_members(c);
    adopt_groups(c);
    list_foreach_safe (it, &c->all_groups)
        settle_group(c, list_entry(it, struct group, link));
    list_foreach_safe (it, &c->ended_groups)
        settle_group(c, list_entry(it, struct group, link));
    below_settle(c);
    list_foreach (it, &c->all_groups) {
        struct group *g = list_entry(it, struct group, link);

        count_forgotten(c, g);
        g->depth = depth_of(g);
        g->active = 0;
    }
    list_foreach (it, &c->ended_groups)
        list_entry(it, struct group, link)->active = 0;
    c->root.active = 0;
    list_foreach (it, &c->all_sessions)
        count_active(&list_entry(it, struct session, link)->held);
    count_active(&c->joining);
}

void core_replay_end(struct core *c)
{
    ASSERT(!c->started);
    if (!c->imaged && !c->salvaged)
        return;
    while (!list_empty(&c->imaging_jobs)) /* lost: only damage does that */
        image_errors_drop(
            c, list_entry(list_first(&c->imaging_jobs), struct imaging, link)
                   ->job->extra);
    c->imaged = false;
    settle_groups(c);
    list_foreach (it, &c->queues) {
        struct queue *q = list_entry(it, struct queue, link);

        for (int p = 0; p < CORE_PRIORITIES; p++)
            settle_ready(c, q, p);
        list_sort(&q->dead, dead_of_queue_after);
    }
    list_sort(&c->delivering, delivery_after);
    list_sort(&c->dead, dead_after);
    sort_outcomes(c);
    list_foreach (it, &c->all_groups)
        list_sort(&list_entry(it, struct group, link)->finished,
                  finished_after);
    list_foreach (it, &c->ended_groups)
        list_sort(&list_entry(it, struct group, link)->finished,
                  finished_after);
    list_sort(&c->ended_groups, group_after);
}
