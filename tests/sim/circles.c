/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * circles - queues that are full of results which wait for each other.
 *
 * Each result of such a circle can go on only in the place of another: one out
 * of each queue goes, all at once, the first of those that go the same way.
 */
#include "parts.h"

static bool waits(const struct model_job *j)
{
    return j->used && j->state == MODEL_DELIVERING;
}

/* It went on in this step: for room that was there, it seemed, but what went in
 * a circle before may have left that. */
static bool just_went(const struct model *m, const struct model_job *j)
{
    return j->used && j->state == MODEL_ENDED && j->next &&
           j->end_step == m->step;
}

static bool same_way(const struct model_job *a, const struct model_job *b)
{
    return a->queue == b->queue && a->then[0] == b->then[0];
}

static bool has_gone(struct model *m, struct model_eyes *eyes,
                     const struct model_job *j)
{
    struct job_view v = rules_job_look(m, eyes, j);

    return v.found && v.state == VIEW_FINISHED && v.outcome == VIEW_OK;
}

/* Of those that go the same way. One before it that has gone on, too, goes
 * first here as well: it was the one in a circle, or made the room. */
static bool is_first(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *k = &m->jobs[i];

        if (waits(k) && k != j && same_way(k, j) && k->delivery < j->delivery)
            return false;
    }
    return true;
}

/* Does it hold nothing that could start? */
static bool has_results_alone(const struct model *m, int queue)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].queue == queue &&
            (m->jobs[i].state == MODEL_QUEUED ||
             m->jobs[i].state == MODEL_DELAYED))
            return false;
    return true;
}

/* From `at`, by results that have gone on, back to where the first came from;
 * `seen` has a bit for each queue on the way. */
static int way_back(struct model *m, struct model_eyes *eyes, int at,
                    unsigned seen, struct model_job **ring, int n)
{
    if (at == ring[0]->queue)
        return n;
    for (int i = 0; i < m->njobs && n < MODEL_QUEUES; i++) {
        struct model_job *k = &m->jobs[i];
        int all;

        if (k->queue != at || seen & 1u << at || !is_first(m, k) ||
            !(just_went(m, k) || (waits(k) && has_gone(m, eyes, k))))
            continue;
        ring[n] = k;
        all = way_back(m, eyes, k->then[0], seen | 1u << at, ring, n + 1);
        if (all)
            return all;
    }
    return 0;
}

int circles_turned(struct model *m, struct model_eyes *eyes,
                   struct model_job *j, struct model_job **ring)
{
    /* What the event did may have come before, such as a purge. */
    if (m->early || !is_first(m, j))
        return 0;
    ring[0] = j;
    return way_back(m, eyes, j->then[0], 1u << j->queue, ring, 1);
}

/* To which queues results wait to go, from each; `only`: of these, a bit for
 * each, and to these. */
static void ways_of(const struct model *m, unsigned only,
                    unsigned ways[MODEL_QUEUES])
{
    memset(ways, 0, MODEL_QUEUES * sizeof(ways[0]));
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (waits(j) && only & 1u << j->queue && only & 1u << j->then[0])
            ways[j->queue] |= 1u << j->then[0];
    }
    for (int by = 0; by < MODEL_QUEUES; by++)
        for (int from = 0; from < MODEL_QUEUES; from++)
            if (ways[from] & 1u << by)
                ways[from] |= ways[by];
}

bool circles_too_large(const struct model *m, const struct model_job *j)
{
    unsigned ways[MODEL_QUEUES];
    int to = j->then[0];

    ways_of(m, ~0u, ways);
    if (to == j->queue)
        return j->result_len > j->payload_len;
    if (!(ways[to] & 1u << j->queue))
        return false;
    for (int i = 0; i < m->njobs; i++)
        if (waits(&m->jobs[i]) && m->jobs[i].queue == to &&
            m->jobs[i].payload_len < j->result_len)
            return true;
    return false;
}

/* Can nothing that is in it make room by itself? */
static bool is_stuck(const struct model *m, int queue)
{
    const struct model_job *first = NULL;

    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (waits(j) && j->then[0] == queue &&
            (!first || j->delivery < first->delivery))
            first = j;
    }
    return first && has_results_alone(m, queue) &&
           !model_queue_has_room(m, queue, first->result_len);
}

void circles_check(const struct model *m)
{
    unsigned stuck = 0, ways[MODEL_QUEUES];

    for (int i = 0; i < MODEL_QUEUES; i++)
        if (m->queues[i].used && is_stuck(m, i))
            stuck |= 1u << i;
    if (!stuck)
        return;
    ways_of(m, stuck, ways);
    for (int i = 0; i < MODEL_QUEUES; i++)
        if (ways[i] & 1u << i)
            violation("queue %s and others are full of results that wait for "
                      "each other, and none of them goes on",
                      m->queues[i].name);
}
