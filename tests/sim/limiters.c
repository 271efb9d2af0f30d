/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiters - permits and rates: who may start, and that none are lost.
 *
 * What is held follows from the jobs whose bodies run, and from nothing else.
 */
#include "parts.h"

static int find(const struct model *m, struct str name)
{
    for (int i = 0; i < MODEL_LIMITERS; i++)
        if (m->limiters[i].used && str_eq(str_from(m->limiters[i].name), name))
            return i;
    return -1;
}

/* "name:n,name" of names that the world uses; what does not exist gets the
 * number of one that never was. */
void limits_read(const struct model *m, struct str limits, struct model_job *j)
{
    for (size_t from = 0, to; from < limits.len; from = to + 1) {
        size_t colon, end;
        int64_t n = 0;
        int i = -1;

        for (to = from; to < limits.len && limits.p[to] != ','; to++)
            ;
        for (colon = from; colon < to && limits.p[colon] != ':'; colon++)
            ;
        end = colon;
        for (colon++; colon < to; colon++)
            n = n * 10 + (limits.p[colon] - '0');
        for (int k = 0; k < MODEL_LIMITERS; k++)
            if (str_eq(str_from(m->limiters[k].name),
                       (struct str){limits.p + from, end - from}))
                i = k;
        if (i < 0) { /* nobody has made one of that name yet */
            i = MODEL_LIMITERS - 1;
            j->needs_made[i] = UINT32_MAX;
        } else {
            j->needs_made[i] = m->limiters[i].made;
        }
        j->needs[i] = n ? n : 1;
    }
}

void limits_now(const struct model *m, struct model_job *j)
{
    for (int i = 0; i < MODEL_LIMITERS; i++)
        if (j->needs[i] && j->needs_made[i] != UINT32_MAX)
            j->needs_made[i] = m->limiters[i].made;
}

bool limits_any(const struct model_job *j)
{
    for (int i = 0; i < MODEL_LIMITERS; i++)
        if (j->needs[i])
            return true;
    return false;
}

bool limits_same(const struct model_job *a, const struct model_job *b)
{
    return memcmp(a->needs, b->needs, sizeof(a->needs)) == 0;
}

bool limits_exist(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < MODEL_LIMITERS; i++)
        if (j->needs[i] &&
            (!m->limiters[i].used || m->limiters[i].made != j->needs_made[i]))
            return false;
    return true;
}

bool limits_exceed(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < MODEL_LIMITERS; i++) {
        const struct model_limiter *l = &m->limiters[i];

        if (j->needs[i] > 1 && ((l->permits > 0 && j->needs[i] > l->permits) ||
                                (l->rate && j->needs[i] > l->rate)))
            return true;
    }
    return false;
}

static int64_t held(const struct model *m, int l)
{
    int64_t n = 0;

    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && (m->jobs[i].state == MODEL_RUNNING ||
                                m->jobs[i].state == MODEL_CANCELLING))
            n += m->jobs[i].needs[l];
    return n;
}

/* One that needs more than there are takes all of them. */
static int64_t cost(const struct model_limiter *l, int64_t n)
{
    if (l->permits != CORE_NONE)
        n = min_i64(n, l->permits);
    if (l->rate)
        n = min_i64(n, l->rate);
    return max_i64(n, 1);
}

static int64_t level(const struct model *m, const struct model_limiter *l,
                     bool least)
{
    int64_t at = least ? l->level_lo : l->level_hi;

    return min_i64(l->rate * l->rate_ms,
                   at + (m->now - l->filled_at) * l->rate);
}

static bool has_room(const struct model *m, int i, int64_t n, bool least)
{
    const struct model_limiter *l = &m->limiters[i];

    if (l->permits != CORE_NONE && l->permits - held(m, i) < n)
        return false;
    return l->rate == 0 || level(m, l, least) >= n * l->rate_ms;
}

/* Does somebody else wait for something that it needs? Those that come after
 * it with the same needs do not count. */
static bool is_alone(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *k = &m->jobs[i];

        if (!k->used || k == j || k->state != MODEL_QUEUED ||
            m->queues[k->queue].paused)
            continue;
        if (limits_same(j, k) && k->queue == j->queue &&
            k->priority == j->priority && k->submit_seq > j->submit_seq)
            continue;
        for (int l = 0; l < MODEL_LIMITERS; l++)
            if (k->needs[l] && j->needs[l])
                return false;
    }
    return true;
}

bool limits_allow(const struct model *m, const struct model_job *j, bool strict)
{
    for (int i = 0; i < MODEL_LIMITERS; i++) {
        const struct model_limiter *l = &m->limiters[i];

        if (!j->needs[i])
            continue;
        if (!has_room(m, i, cost(l, j->needs[i]), strict))
            return false;
        /* permits are held in full, whatever the rate */
        if (l->permits != CORE_NONE &&
            l->permits - held(m, i) < min_i64(j->needs[i], l->permits))
            return false;
    }
    return !strict || !limits_any(j) || is_alone(m, j);
}

/* Has a worker waited for jobs of the queue since before this step? While the
 * disk is full, or all is drained, none is looked at, and then one queue comes
 * after the other. */
static bool is_attended(const struct model *m, int queue)
{
    if (m->resumed >= m->since)
        return false;
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        const struct model_request *r = &m->clients[i].request;

        if (m->clients[i].used && r->kind == REQUEST_FETCH && !r->answered &&
            !r->unblocked && r->step < m->since && r->until > m->now &&
            r->count > 0 && fetch_place(r, queue) >= 0)
            return !m->queues[queue].paused && !m->draining && !m->disk_full;
    }
    return false;
}

/* Is something put aside for it when a job of `queue` wants to start? */
static bool is_in_line(const struct model *m, const struct model_job *k,
                       const struct model_job *j)
{
    if (k->queue == j->queue)
        return k->priority == j->priority;
    /* One whose payload is being read may be before it in its queue: then it
     * has not come to the line. */
    return m->queues[k->queue].set.fair != 1 && !m->loading &&
           !m->queues[k->queue].fair_changed && is_attended(m, k->queue);
}

/* Is `k` the first of those with its needs, and was it before `j`? One that
 * has come back (a retry) may be so by either measure. */
static bool is_before(const struct model *m, const struct model_job *k,
                      const struct model_job *j)
{
    if (!k->used || k->state != MODEL_QUEUED || k->ready_step >= m->since ||
        !is_in_line(m, k, j) || k->submit_seq >= j->submit_seq ||
        k->ready_seq >= j->ready_seq || k->loose ||
        rules_group_has_width(m, k->group))
        return false;
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *first = &m->jobs[i];

        if (first->used && first->state == MODEL_QUEUED &&
            first->queue == k->queue && first->priority == k->priority &&
            limits_same(first, k) && first->submit_seq < k->submit_seq)
            return false;
    }
    return true;
}

const struct model_job *limits_overtake(const struct model *m,
                                        const struct model_job *j)
{
    if (!limits_any(j) || j->ahead || j->loose ||
        m->queues[j->queue].fair_changed)
        return NULL;
    for (int l = 0; l < MODEL_LIMITERS; l++) {
        const struct model_job *before = NULL;
        int64_t aside = 0;

        for (int i = 0; j->needs[l] && i < m->njobs; i++) {
            const struct model_job *k = &m->jobs[i];

            if (k->needs[l] && is_before(m, k, j)) {
                aside += cost(&m->limiters[l], k->needs[l]);
                before = k;
            }
        }
        if (before &&
            !has_room(m, l, aside + cost(&m->limiters[l], j->needs[l]), false))
            return before;
    }
    return NULL;
}

static void fill(struct model *m, struct model_limiter *l)
{
    l->level_lo = level(m, l, true);
    l->level_hi = level(m, l, false);
    l->filled_at = m->now;
}

void limits_spend(struct model *m, const struct model_job *j)
{
    for (int i = 0; i < MODEL_LIMITERS; i++) {
        struct model_limiter *l = &m->limiters[i];
        int64_t n;

        if (!j->needs[i] || !l->rate)
            continue;
        fill(m, l);
        n = cost(l, j->needs[i]) * l->rate_ms;
        l->level_lo = max_i64(0, l->level_lo - n);
        l->level_hi -= n;
    }
}

void limits_restart(struct model *m)
{
    for (int i = 0; i < MODEL_LIMITERS; i++)
        if (m->limiters[i].used)
            fill(m, &m->limiters[i]);
}

/* ---------------------------------------------------------------- requests */

static void limiter_set(struct model *m, const struct core_event *ev,
                        const struct node *n)
{
    int i = find(m, ev->u.limiter.name);
    struct model_limiter *l, before;
    bool new = i < 0;

    if (node_is_error(n, CORE_ERR_DISKFULL) && m->disk_narrow)
        return;
    if (n->v.kind != VALUE_OK)
        violation("LIMITER SET was not answered OK");
    for (int k = 0; i < 0 && k < MODEL_LIMITERS; k++)
        if (str_eq(str_from(m->limiters[k].name), ev->u.limiter.name) ||
            !m->limiters[k].name[0])
            i = k;
    ASSERT(i >= 0 && ev->u.limiter.name.len < sizeof(l->name));
    l = &m->limiters[i];
    memcpy(l->name, ev->u.limiter.name.p, ev->u.limiter.name.len);
    before = *l;
    if (new) {
        l->used = true;
        l->made++;
        l->permits = CORE_NONE;
        l->rate = l->rate_ms = 0;
    }
    if (ev->u.limiter.permits != CORE_UNSET)
        l->permits = ev->u.limiter.permits;
    if (m->disk_narrow && (new || l->permits != before.permits))
        violation("LIMITER SET changed something although the disk is full");
    if (ev->u.limiter.rate == CORE_UNSET)
        return;
    /* what is in a bucket of another size is open */
    l->rate = ev->u.limiter.rate;
    l->rate_ms = ev->u.limiter.rate_ms;
    if (m->disk_narrow &&
        (l->rate != before.rate || l->rate_ms != before.rate_ms))
        violation("LIMITER SET changed a rate although the disk is full");
    l->level_lo = 0;
    l->level_hi = l->rate * l->rate_ms;
    l->filled_at = m->now;
}

static void limiter_del(struct model *m, const struct core_event *ev,
                        const struct node *n)
{
    int i = find(m, ev->u.limiter.name);
    bool needed = false;

    for (int k = 0; i >= 0 && k < m->njobs; k++)
        needed |= rules_job_live(&m->jobs[k]) && m->jobs[k].needs[i] > 0;
    if (i < 0    ? !node_is_error(n, CORE_ERR_NOLIMITER)
        : needed ? !node_is_error(n, CORE_ERR_GENERIC)
                 : n->v.kind != VALUE_OK)
        violation("LIMITER DEL was answered wrongly: there %d, needed %d",
                  i >= 0, needed);
    if (i >= 0 && !needed)
        m->limiters[i].used = false;
}

bool limits_event(struct model *m, const struct core_event *ev,
                  struct model_reply *replies, size_t n)
{
    if (ev->kind == EVENT_LIMITER_SET)
        limiter_set(m, ev, reply_now(replies, n, ev->client.n));
    else if (ev->kind == EVENT_LIMITER_DELETE)
        limiter_del(m, ev, reply_now(replies, n, ev->client.n));
    else
        return false;
    return true;
}

void limits_compare(struct model *m, struct model_eyes *eyes)
{
    for (int i = 0; i < MODEL_LIMITERS; i++) {
        const struct model_limiter *l = &m->limiters[i];
        struct core_event ev = {.kind = EVENT_LIMITER_INFO,
                                .now_ms = m->now,
                                .client = {VIEW_CLIENT},
                                .u.limiter.name = str_from(l->name)};
        const struct node *map;
        int64_t waiting = 0;

        if (!l->name[0])
            continue;
        map = view_ask(eyes->core, eyes->arena, &ev);
        if (node_is_error(map, CORE_ERR_NOLIMITER) != !l->used)
            violation("limiter %s is there: %d", l->name, !l->used);
        if (!l->used)
            continue;
        for (int k = 0; k < m->njobs; k++)
            waiting += m->jobs[k].used && m->jobs[k].state == MODEL_QUEUED &&
                       m->jobs[k].needs[i];
        if (node_int(node_get(map, "held")) != held(m, i) ||
            node_int(node_get(map, "waiting")) > waiting ||
            node_int(node_get(map, "permits")) != l->permits ||
            node_int(node_get(map, "rate")) != l->rate)
            violation("limiter %s holds %lld of %lld, %lld wait, expected "
                      "%lld of %lld, at most %lld",
                      l->name, (long long)node_int(node_get(map, "held")),
                      (long long)node_int(node_get(map, "permits")),
                      (long long)node_int(node_get(map, "waiting")),
                      (long long)held(m, i), (long long)l->permits,
                      (long long)waiting);
    }
}

/* -------------------------------------------------------------------- fair */

static int turn_find(const struct model *m, const struct model_job *j)
{
    for (int i = 0; i < MODEL_TURNS; i++)
        if (m->turns[i].last && m->turns[i].queue == j->queue &&
            m->turns[i].group == j->group &&
            m->turns[i].priority == j->priority)
            return i;
    return -1;
}

static bool takes_turns(const struct model *m, const struct model_job *j)
{
    return m->queues[j->queue].set.fair == 1 && !limits_any(j) &&
           !rules_group_has_width(m, j->group) && !j->ahead &&
           j->ready_seq > m->queues[j->queue].fair_changed;
}

void turns_check(const struct model *m, const struct model_job *j)
{
    int turn = turn_find(m, j);
    uint64_t last = turn < 0 ? 0 : m->turns[turn].served;

    if (!last || !takes_turns(m, j) || j->loose)
        return;
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *k = &m->jobs[i];

        if (!k->used || k->state != MODEL_QUEUED || k->queue != j->queue ||
            k->priority != j->priority || k->group == j->group ||
            !takes_turns(m, k) || k->ready_seq > last)
            continue;
        turn = turn_find(m, k);
        if (turn >= 0 && m->turns[turn].last > last)
            continue;
        violation("job %llx starts, the second of its group, and %llx of "
                  "another has waited all the time",
                  (unsigned long long)j->id, (unsigned long long)k->id);
    }
}

void turns_left(struct model *m, const struct model_job *j)
{
    int turn = turn_find(m, j);

    if (turn >= 0)
        m->turns[turn].served = 0;
}

void turns_served(struct model *m, const struct model_job *j)
{
    int to = turn_find(m, j);

    if (m->queues[j->queue].set.fair != 1)
        return;
    if (to < 0) {
        to = 0;
        for (int i = 0; i < MODEL_TURNS; i++)
            if (m->turns[i].last < m->turns[to].last)
                to = i;
        m->turns[to] = (struct model_turn){
            .queue = j->queue, .group = j->group, .priority = j->priority};
    }
    m->turns[to].last = ++m->seq;
    if (takes_turns(m, j))
        m->turns[to].served = m->turns[to].last;
}
