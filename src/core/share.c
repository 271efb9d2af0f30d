/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share - the turns of groups in a fair queue.
 *
 * In a fair queue the ready jobs of a priority lie in a share for each group
 * (the root is one, too), in the order in which they became ready; shares take
 * turns, and a turn is one job that starts. Jobs that were ready before the
 * queue was made fair have a turn together, and so have those that come after
 * it is fair no more.
 */
#include "core/share.h"

#include "core/internal.h"
#include "core/job.h"
#include "core/queue.h"

static uint64_t share_hash(const struct job *j)
{
    uint64_t h = j->group->id * UINT64_C(0x9e3779b97f4a7c15);

    h = (h ^ job_queue(j)->id) * UINT64_C(0xd6e8feb86659fd93);
    return (h ^ h >> 31) * 31 + j->priority;
}

static struct share *share_find(const struct core *c, const struct job *j)
{
    struct map_node *n = map_find(&c->shares, share_hash(j));

    for (; n; n = map_next(n)) {
        struct share *s = container_of(n, struct share, node);

        if (s->group == j->group && s->queue == job_queue(j) &&
            s->priority == j->priority)
            return s;
    }
    return NULL;
}

static struct share *share_get(struct core *c, struct job *j)
{
    struct share *s = share_find(c, j);

    if (s)
        return s;
    s = mem_zalloc(sizeof(*s));
    s->group = j->group;
    s->queue = job_queue(j);
    s->priority = j->priority;
    list_init(&s->turn);
    list_init(&s->jobs);
    s->node.hash = share_hash(j);
    map_insert(&c->shares, &s->node);
    job_queue(j)->nshares++;
    account(c, sizeof(*s));
    return s;
}

struct list *share_place(struct core *c, struct job *j, bool front)
{
    struct queue *q = job_queue(j);
    int p = j->priority;
    struct share *s = NULL;
    struct list *turn = &q->plain_turn[p];

    if (LIKELY(!q->settings.fair && list_empty(&q->turns[p])))
        return &q->ready[p];
    if (q->settings.fair) {
        s = share_get(c, j);
        turn = &s->turn;
        if (!list_empty(&q->ready[p]) && !list_linked(&q->plain_turn[p]))
            list_push_back(&q->turns[p], &q->plain_turn[p]);
    }
    if (front) {
        list_remove(turn);
        list_push_front(&q->turns[p], turn);
    } else if (!list_linked(turn)) {
        list_push_back(&q->turns[p], turn);
    }
    return s ? &s->jobs : &q->ready[p];
}

void share_left(struct core *c, const struct job *j)
{
    struct queue *q = job_queue(j);
    struct share *s;

    if (list_empty(&q->ready[j->priority]))
        list_remove(&q->plain_turn[j->priority]);
    if (LIKELY(q->nshares == 0))
        return;
    s = share_find(c, j);
    if (!s || !list_empty(&s->jobs))
        return;
    list_remove(&s->turn);
    map_remove(&c->shares, &s->node);
    q->nshares--;
    account(c, -(int64_t)sizeof(*s));
    mem_free(s);
}

void shares_clear(struct queue *q)
{
    for (int p = 0; p < CORE_PRIORITIES; p++)
        list_foreach_safe (it, &q->turns[p])
            if (it != &q->plain_turn[p])
                mem_free(list_entry(it, struct share, turn));
}

struct job *share_first(const struct queue *q, int priority)
{
    return share_first_of(q, priority, list_first(&q->turns[priority]));
}

struct job *share_first_of(const struct queue *q, int priority,
                           const struct list *turn)
{
    const struct list *jobs = &q->ready[priority];

    if (turn && turn != &q->plain_turn[priority])
        jobs = &list_entry(turn, struct share, turn)->jobs;
    return list_entry(list_first(jobs), struct job, link);
}

void share_served(const struct job *j)
{
    struct list *turns = &job_queue(j)->turns[j->priority];
    struct list *turn = list_first(turns);

    if (LIKELY(!turn) || j->state != JOB_READY || PLANTED(TURN_KEPT))
        return;
    list_remove(turn);
    list_push_back(turns, turn);
}
