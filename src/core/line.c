/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * line - who waits for limiters, and who may start before whom.
 *
 * A job takes all that it needs at once or nothing, so nobody holds permits
 * while it waits. Those that must wait are parked in a lane: one for each
 * queue, priority and set of needs (and group, if the queue is fair). A lane
 * has a place in the line of every limiter that it needs. Only its first job
 * counts there: the others could not start before it.
 *
 * The order of a line is that of turns: the id of the lane's first job, so the
 * order of submission; in a fair queue a lane that was served goes to the end.
 * Turns are the same in all lines, so that nobody waits for one who waits for
 * him. A job may take from a limiter what is left when the needs of those with
 * an earlier turn are put aside: nobody who waits is overtaken, not even one
 * that needs two when one is free, but who waits for something else does not
 * close the line either. Put aside is only for those whom a worker waits for.
 * Within a queue the higher priority goes first, whatever its turn: for the
 * first of those something is put aside, too, unless it has to let somebody go
 * first itself (that, and no more, or two queues could wait for each other).
 *
 * A lane that was refused is closed, and waits for the one limiter that had
 * too little: that limiter opens it again, with the first of each queue, when
 * permits or tokens come back, bounds are raised, or those who were to go first
 * have gone away. So what is done for each start depends on the number of
 * queues that wait, not of jobs.
 */
#include "core/line.h"

#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/queue.h"

/* Places looked at for one decision; who has so many before him waits. */
#define LOOKS_MAX 1000

static int top_priority(uint32_t mask)
{
    return 31 - __builtin_clz(mask);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static bool pending(const struct limiter *l)
{
    return list_linked(&l->wake);
}

static struct needs *needs_of(const struct job *j)
{
    return j->extra ? j->extra->needs : NULL;
}

/* ------------------------------------------------------------------- lanes */

static int64_t first_id(const struct lane *lane)
{
    if (lane->needs)
        return heap_min_at(&lane->order);
    return (int64_t)list_entry(list_first(&lane->jobs), struct job, link)
        ->node.hash;
}

static struct job *first_of(const struct lane *lane)
{
    if (lane->needs)
        return container_of(heap_min(&lane->order), struct extra, place)->job;
    return list_entry(list_first(&lane->jobs), struct job, link);
}

/* No line holds it back any more. */
static void stop_waiting(struct lane *lane)
{
    struct line *line = lane->waits;
    int p = lane->priority;

    if (!line)
        return;
    heap_remove(&line->waiting[p], &lane->waiting);
    if (!heap_min(&line->waiting[p]))
        line->waiting_mask &= ~(1u << p);
    line->limiter->shut_out--;
    lane->waits = NULL;
}

void lane_open(struct core *c, struct lane *lane)
{
    struct queue *q = lane->queue;

    if (list_empty(&lane->jobs))
        return;
    if (lane->needs)
        stop_waiting(lane);
    if (!heap_has(&lane->open))
        heap_set(&q->open[lane->priority], &lane->open,
                 lane->needs ? lane->turn : first_id(lane));
    q->open_mask |= 1u << lane->priority;
    queue_wake(c, q);
}

void lane_close(struct lane *lane)
{
    struct queue *q = lane->queue;

    heap_remove(&q->open[lane->priority], &lane->open);
    if (!heap_min(&q->open[lane->priority]))
        q->open_mask &= ~(1u << lane->priority);
}

/* Closed: it waits for that limiter. */
static void wait_for(struct lane *lane, struct line *line)
{
    int p = lane->priority;

    lane_close(lane);
    stop_waiting(lane);
    lane->waits = line;
    heap_set(&line->waiting[p], &lane->waiting, lane->turn);
    line->waiting_mask |= 1u << p;
    line->limiter->shut_out++;
}

/* ------------------------------------------------------------------- lines */

static struct line *line_of(struct core *c, struct queue *q, struct limiter *l)
{
    struct line *line;

    list_foreach (it, &l->lines) {
        line = list_entry(it, struct line, of_limiter);
        if (line->queue == q)
            return line;
    }
    line = mem_zalloc(sizeof(*line));
    line->limiter = l;
    line->queue = q;
    list_init(&line->places);
    list_init(&line->offer);
    for (int p = 0; p < CORE_PRIORITIES; p++)
        heap_init(&line->waiting[p]);
    list_push_back(&l->lines, &line->of_limiter);
    list_push_back(&q->lines, &line->of_queue);
    account(c, sizeof(*line));
    return line;
}

static void line_drop_if_empty(struct core *c, struct line *line)
{
    if (!list_empty(&line->places))
        return;
    for (int p = 0; p < CORE_PRIORITIES; p++)
        heap_clear(&line->waiting[p]);
    list_remove(&line->offer);
    list_remove(&line->of_limiter);
    list_remove(&line->of_queue);
    account(c, -(int64_t)sizeof(*line));
    mem_free(line);
}

/* Where its turn says; mostly that is at the end. */
static void put_place(struct place *place)
{
    struct list *after = place->line->places.prev;

    while (after != &place->line->places &&
           list_entry(after, struct place, link)->lane->turn >
               place->lane->turn)
        after = after->prev;
    list_insert(after, &place->link);
}

/* Somebody has come whom others have to let go first. Those may have been first
 * of a higher priority, and have held back others of their queue. */
static void elder_came(struct core *c)
{
    while (!list_empty(&c->outranked)) {
        struct limiter *l =
            list_entry(list_first(&c->outranked), struct limiter, outranked);

        list_remove(&l->outranked);
        limiter_wake(c, l);
    }
}

/* A lane that has jobs and is in no line yet. */
static void line_up(struct core *c, struct lane *lane)
{
    lane->turn = max_i64(first_id(lane), lane->served);
    for (size_t i = 0; i < lane->needs->len; i++) {
        struct place *place = &lane->places[i];

        place->lane = lane;
        place->n = lane->needs->list[i].n;
        place->line = line_of(c, lane->queue, lane->needs->list[i].limiter);
        place->line->nplaces[lane->priority]++;
        place->line->reserved += place->n;
        put_place(place);
    }
    elder_came(c);
}

/* Its first job is another one. */
static void turn_changed(struct core *c, struct lane *lane)
{
    int64_t turn = max_i64(first_id(lane), lane->served);

    if (turn == lane->turn)
        return;
    lane->turn = turn;
    for (size_t i = 0; i < lane->needs->len; i++) {
        list_remove(&lane->places[i].link);
        put_place(&lane->places[i]);
    }
    if (lane->waits)
        heap_set(&lane->waits->waiting[lane->priority], &lane->waiting, turn);
    if (heap_has(&lane->open))
        heap_set(&lane->queue->open[lane->priority], &lane->open, turn);
    elder_came(c);
}

/* Those that were to let its first job go first may go now. */
static void release_others(struct core *c, const struct needs *needs)
{
    for (size_t i = 0; i < needs->len; i++)
        if (needs->list[i].limiter->stuck)
            limiter_wake(c, needs->list[i].limiter);
}

static void lane_drop(struct core *c, struct lane *lane)
{
    struct needs *needs = lane->needs;

    stop_waiting(lane);
    lane_close(lane);
    for (size_t i = 0; i < needs->len; i++) {
        struct line *line = lane->places[i].line;

        list_remove(&lane->places[i].link);
        line->nplaces[lane->priority]--;
        line->reserved -= lane->places[i].n;
        line_drop_if_empty(c, line);
    }
    map_remove(&c->lane_map, &lane->node);
    list_remove(&lane->link);
    list_remove(&lane->of_queue);
    heap_clear(&lane->order);
    account(c, -(int64_t)(sizeof(*lane) + needs->len * sizeof(struct place)));
    mem_free(lane);
    needs_put(c, needs);
}

void lines_clear(struct core *c)
{
    while (!list_empty(&c->lanes))
        lane_drop(c, list_entry(list_first(&c->lanes), struct lane, link));
}

static struct lane *lane_of(struct core *c, const struct job *j)
{
    struct needs *needs = j->extra->needs;
    struct group *g = job_queue(j)->settings.fair ? j->group : NULL;
    uint64_t hash = mix(mix(needs->node.hash, job_queue(j)->id), j->priority);
    struct map_node *n;
    struct lane *lane;

    hash = mix(hash, g ? g->id + 1 : 0);
    for (n = map_find(&c->lane_map, hash); n; n = map_next(n)) {
        lane = container_of(n, struct lane, node);
        if (lane->needs == needs && lane->queue == job_queue(j) &&
            lane->priority == j->priority && lane->group == g)
            return lane;
    }
    lane = mem_zalloc(sizeof(*lane) + needs->len * sizeof(struct place));
    lane->node.hash = hash;
    lane->needs = needs;
    needs->refs++;
    lane->group = g;
    lane->queue = job_queue(j);
    lane->priority = j->priority;
    list_init(&lane->jobs);
    heap_init(&lane->order);
    map_insert(&c->lane_map, &lane->node);
    list_push_back(&c->lanes, &lane->link);
    list_push_back(&job_queue(j)->lanes, &lane->of_queue);
    account(c, (int64_t)(sizeof(*lane) + needs->len * sizeof(struct place)));
    return lane;
}

static void line_enter(struct core *c, struct lane *lane, struct job *j)
{
    bool first = !heap_min(&lane->order);

    heap_set(&lane->order, &j->extra->place, (int64_t)j->node.hash);
    j->extra->lane = lane;
    for (size_t i = 0; i < lane->needs->len; i++)
        lane->needs->list[i].limiter->waiting++;
    if (first)
        line_up(c, lane);
    else
        turn_changed(c, lane);
}

void line_leave(struct core *c, struct job *j)
{
    struct lane *lane = j->extra->lane;
    bool first = heap_min(&lane->order) == &j->extra->place;

    heap_remove(&lane->order, &j->extra->place);
    list_remove(&j->link);
    j->extra->lane = NULL;
    for (size_t i = 0; i < lane->needs->len; i++)
        lane->needs->list[i].limiter->waiting--;
    if (first)
        release_others(c, lane->needs);
    if (list_empty(&lane->jobs))
        lane_drop(c, lane);
    else
        turn_changed(c, lane);
}

void line_served(struct core *c, struct job *j)
{
    if (j->state != JOB_PARKED || !j->extra || !j->extra->lane ||
        !j->extra->lane->group)
        return;
    c->last_turn = max_i64((int64_t)c->next_id, c->last_turn + 1);
    j->extra->lane->served = c->last_turn;
}

void line_hold(struct core *c, struct job *j)
{
    struct lane *lane;

    if (j->extra->lane)
        return;
    lane = lane_of(c, j);
    job_park_in(c, j, lane);
    line_enter(c, lane, j);
    if (!heap_has(&lane->open))
        lane_open(c, lane);
}

const struct limiter *line_waits_for(const struct job *j)
{
    const struct lane *lane = j->extra ? j->extra->lane : NULL;

    return lane && lane->waits ? lane->waits->limiter : NULL;
}

/* --------------------------------------------------------------- decisions */

/* Does it have to let somebody go first? Somebody may be one of the same
 * queue, if it has no lower priority. */
static bool has_elders(const struct core *c, const struct lane *lane)
{
    for (size_t i = 0; i < lane->needs->len; i++) {
        list_foreach (it, &lane->needs->list[i].limiter->lines) {
            const struct line *line = list_entry(it, struct line, of_limiter);
            int looks = 0;

            if (line->queue != lane->queue && !queue_attended(c, line->queue))
                continue;
            list_foreach (pi, &line->places) {
                const struct lane *other =
                    list_entry(pi, struct place, link)->lane;

                if (other->turn >= lane->turn)
                    break;
                if (line->queue != lane->queue ||
                    other->priority >= lane->priority || ++looks > LOOKS_MAX)
                    return true;
            }
        }
    }
    return false;
}

static bool higher_there(const struct line *line, int priority)
{
    for (int p = priority + 1; p < CORE_PRIORITIES; p++)
        if (line->nplaces[p])
            return true;
    return false;
}

/* What is put aside in one line for those before a job whose turn is `turn`;
 * more than `spare` is as good as any. *outranked: some of it for one that is
 * before it by its priority alone. */
static int64_t put_aside(const struct core *c, const struct line *line,
                         const struct job *j, int64_t turn, int64_t spare,
                         bool *outranked)
{
    bool own = line->queue == job_queue(j);
    bool higher = own && higher_there(line, j->priority);
    const struct place *best = NULL;
    int64_t sum = 0;
    int looks = 0;

    if (PLANTED(PERMITS_OVERTAKEN))
        return 0;
    list_foreach (it, &line->places) {
        const struct place *p = list_entry(it, struct place, link);
        bool later = p->lane->turn >= turn;

        if (later && !higher)
            break;
        if (++looks > LOOKS_MAX)
            return INT64_MAX;
        if (own &&
            (p->lane == j->extra->lane || p->lane->priority < j->priority))
            continue;
        if (!later)
            sum += limiter_cost(line->limiter, p->n);
        else if (p->lane->priority > j->priority &&
                 (!best || p->lane->priority > best->lane->priority))
            best = p;
        if (sum > spare)
            return sum;
    }
    if (best && !has_elders(c, best->lane)) {
        sum += limiter_cost(line->limiter, best->n);
        *outranked = true;
    }
    return sum;
}

static int64_t put_aside_in_all(const struct core *c, const struct limiter *l,
                                const struct job *j, int64_t turn,
                                int64_t spare, bool *outranked)
{
    int64_t most = 0, sum = 0;

    /* Mostly there is enough for all of them, which is soon seen. */
    list_foreach (it, &l->lines) {
        const struct line *line = list_entry(it, struct line, of_limiter);

        if (line->queue == job_queue(j) || queue_attended(c, line->queue))
            most += line->reserved;
    }
    if (most <= spare)
        return most;
    list_foreach (it, &l->lines) {
        struct line *line = list_entry(it, struct line, of_limiter);
        int64_t here;

        if (line->queue != job_queue(j) && !queue_attended(c, line->queue))
            continue;
        here = put_aside(c, line, j, turn, spare - sum, outranked);
        if (here > spare - sum)
            return here == INT64_MAX ? here : sum + here;
        sum += here;
    }
    return sum;
}

enum refusal_kind {
    REFUSAL_NONE,
    REFUSAL_LACK,    /* there are too few */
    REFUSAL_LATER,   /* what there is belongs to others */
    REFUSAL_PENDING, /* the limiter gives out in order; it comes by */
};

struct refusal {
    enum refusal_kind kind;
    struct limiter *by; /* the first that does not let it start */
    int64_t tokens;     /* that it takes, if tokens are what is short */
    bool outranked;     /* those of higher priority hold it back */
};

static struct refusal refusal(const struct core *c, const struct job *j)
{
    const struct needs *needs = needs_of(j);
    const struct lane *lane = j->extra->lane;
    int64_t turn = lane ? lane->turn : (int64_t)j->node.hash;
    struct refusal r = {.kind = REFUSAL_NONE};

    for (size_t i = 0; i < needs->len; i++) {
        struct limiter *l = needs->list[i].limiter;
        int64_t cost = limiter_cost(l, needs->list[i].n);
        int64_t room = limiter_room(c, l), aside;

        r.by = l;
        r.tokens = cost;
        /* A rate below the need makes tokens cheaper, not permits: those are
         * held in full. */
        if (room < cost || limiter_lacks_permits(l, needs->list[i].n))
            r.kind = REFUSAL_LACK;
        else if (pending(l) && (c->serving != l || turn > c->serving_until))
            r.kind = REFUSAL_PENDING;
        if (r.kind != REFUSAL_NONE)
            return r;
        r.outranked = false;
        aside = put_aside_in_all(c, l, j, turn, room - cost, &r.outranked);
        if (aside > room - cost) {
            r.tokens = aside > CORE_PERMITS_MAX ? INT64_MAX : aside + cost;
            r.kind = REFUSAL_LATER;
            return r;
        }
    }
    return r;
}

const struct limiter *line_refuses(const struct core *c, const struct job *j)
{
    struct refusal r = refusal(c, j);

    return r.kind == REFUSAL_NONE ? NULL : r.by;
}

/* Those of other queues that are before it hold it back: when nobody fetches
 * from these any more, line_left says so. */
static void note_holders(const struct core *c, const struct limiter *l,
                         const struct queue *q)
{
    list_foreach (it, &l->lines) {
        struct line *line = list_entry(it, struct line, of_limiter);

        if (line->queue != q && queue_attended(c, line->queue))
            line->queue->holds_back = true;
    }
}

bool line_admit(struct core *c, struct job *j, bool *put_off)
{
    struct refusal r = refusal(c, j);
    struct lane *lane;
    struct line *line;

    *put_off = r.kind == REFUSAL_PENDING && j->extra->lane;
    if (r.kind == REFUSAL_NONE)
        return true;
    if (!j->extra->lane) {
        lane = lane_of(c, j);
        job_park_in(c, j, lane);
        line_enter(c, lane, j);
    }
    lane = j->extra->lane;
    if (first_of(lane) != j)
        return false; /* another one of it has been refused before */
    line = line_of(c, job_queue(j), r.by);
    wait_for(lane, line);
    if (r.kind == REFUSAL_PENDING) {
        line->deferred |= 1u << lane->priority;
        return false;
    }
    line->shut |= 1u << lane->priority;
    limiter_wake_at(c, r.by, r.tokens);
    /* Those behind it in this line are not looked at: it may be more than they
     * need that it lacks. */
    if (r.kind == REFUSAL_LATER || line->waiting[lane->priority].len > 1)
        r.by->stuck = true;
    if (r.kind == REFUSAL_LATER)
        note_holders(c, r.by, job_queue(j));
    if (r.outranked && !list_linked(&r.by->outranked))
        list_push_back(&c->outranked, &r.by->outranked);
    return false;
}

/* ----------------------------------------------------------------- serving */

static uint32_t takers(const struct line *line)
{
    return line->waiting_mask & ~line->shut & ~line->deferred;
}

static struct lane *line_first(const struct line *line)
{
    int p = top_priority(takers(line));

    return container_of(heap_min(&line->waiting[p]), struct lane, waiting);
}

static bool goes_before_open(const struct queue *q, const struct lane *lane)
{
    int p = lane->priority;

    if (q->open_mask >= 2u << p)
        return false;
    return !(q->open_mask & (1u << p)) || lane->turn < heap_min_at(&q->open[p]);
}

/* Where there may be room, the first of those that wait is opened. */
static void take_offers(struct core *c, struct queue *q)
{
    list_foreach_safe (it, &q->offers) {
        struct line *line = list_entry(it, struct line, offer);
        struct limiter *l = line->limiter;

        if (pending(l) && c->serving != l)
            continue;
        if (!(line->waiting_mask & ~line->shut) || limiter_room(c, l) < 1) {
            limiter_wake_at(c, l, 1);
            list_remove(&line->offer);
        } else if (takers(line) && goes_before_open(q, line_first(line))) {
            lane_open(c, line_first(line));
        }
    }
}

struct job *lane_first(struct core *c, struct queue *q)
{
    for (;;) {
        struct lane *lane;
        int p;

        if (!list_empty(&q->offers))
            take_offers(c, q);
        if (!q->open_mask)
            return NULL;
        p = top_priority(q->open_mask);
        if (q->ready_mask && p < top_priority(q->ready_mask))
            return NULL;
        lane = container_of(heap_min(&q->open[p]), struct lane, open);
        if (!list_empty(&lane->jobs))
            return first_of(lane);
        lane_close(lane); /* an offer may have been behind it */
    }
}

/* The earliest turn of those that have not been looked at. */
static int64_t earliest(const struct line *line)
{
    uint32_t mask = line->waiting_mask & ~line->shut;
    int64_t turn = INT64_MAX;

    while (mask) {
        int p = top_priority(mask);

        turn = min_i64(turn, heap_min_at(&line->waiting[p]));
        mask &= ~(1u << p);
    }
    return turn;
}

/* Whose turn it is: the line, and the turn of the next one. NULL: none that a
 * worker waits for. */
static struct line *next_line(const struct core *c, const struct limiter *l,
                              int64_t *until)
{
    struct line *first = NULL;
    int64_t turn = INT64_MAX;

    *until = INT64_MAX;
    list_foreach (it, &l->lines) {
        struct line *line = list_entry(it, struct line, of_limiter);
        int64_t here;

        if (line->passed_by || !queue_attended(c, line->queue))
            continue;
        here = earliest(line);
        if (here < turn) {
            *until = turn;
            turn = here;
            first = line;
        } else {
            *until = min_i64(*until, here);
        }
    }
    return first;
}

static void offer(struct line *line)
{
    line->deferred = 0;
    if ((line->waiting_mask & ~line->shut) && !list_linked(&line->offer))
        list_push_back(&line->queue->offers, &line->offer);
}

/* Whose turn it is there has no payload yet. Those behind it stay on offer: the
 * queue looks at them as soon as it does not wait for that one any more. */
static void pass_by(struct limiter *l, const struct queue *q)
{
    list_foreach (it, &l->lines) {
        struct line *line = list_entry(it, struct line, of_limiter);

        line->passed_by |= line->queue == q;
    }
}

void line_serve(struct core *c, struct limiter *l)
{
    struct line *line;
    struct queue *q;
    int64_t until;

    /* A step that ends in the middle goes on there: from the beginning it might
     * never come further than to those whom it has just refused. Nor do others
     * have a turn before it is through: two of them could put off a job that
     * needs both to one another for ever. */
    if (!l->halfway) {
        l->stuck = l->again = false;
        list_remove(&l->outranked);
        list_foreach (it, &l->lines) {
            line = list_entry(it, struct line, of_limiter);
            line->shut = 0;
            line->passed_by = false;
        }
    }
    l->halfway = false;
    list_foreach (it, &l->lines)
        offer(list_entry(it, struct line, of_limiter));
    while (limiter_room(c, l) > 0 && (line = next_line(c, l, &until))) {
        if (!core_work(c)) {
            l->halfway = true;
            return;
        }
        offer(line);
        c->serving = l;
        c->serving_until = until;
        q = line->queue;
        queue_hand_out(c, q); /* and perhaps nobody is in that line any more */
        c->serving = NULL;
        if (UNLIKELY(q->stuck))
            pass_by(l, q);
    }
    list_remove(&l->wake);
    /* Whom the worker has left is looked at when there is another one. */
    list_foreach (it, &l->lines) {
        line = list_entry(it, struct line, of_limiter);
        offer(line);
        /* Its payload may have come, and another worker, since. */
        if (line->passed_by && !line->queue->stuck)
            queue_wake(c, line->queue);
    }
    if (l->shut_out)
        limiter_wake_at(c, l, 1);
    if (l->again)
        limiter_wake(c, l);
}

void line_left(struct core *c, struct queue *q)
{
    if (q->holds_back && !list_linked(&q->left) && !queue_attended(c, q))
        list_push_back(&c->left, &q->left);
}

void line_attended(struct core *c, struct queue *q)
{
    if (!list_empty(&q->lines))
        elder_came(c);
}

void line_unattended(struct core *c, struct queue *q)
{
    list_remove(&q->left);
    q->holds_back = false;
    list_foreach (it, &q->lines) {
        struct limiter *l = list_entry(it, struct line, of_queue)->limiter;

        if (l->stuck)
            limiter_wake(c, l);
    }
}
