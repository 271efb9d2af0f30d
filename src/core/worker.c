/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker - clients, sessions, leases, FETCH and the reports of attempts.
 *
 * A session outlives its connection: what it fetched stays its own until its
 * lease ends, counted from its last sign of life, and the groups it opened
 * until its grace is over. A worker that is cut off knows the lease and stops
 * its jobs within it, so no job runs twice at once.
 *
 * One connection at a time speaks for a session: who resumes it takes it from
 * the one before, which is cut, so that nothing that is still on its way there
 * is done after it was said again here.
 */
#include "core/worker.h"

#include "core/attempt.h"
#include "core/await.h"
#include "core/deadline.h"
#include "core/errors.h"
#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/line.h"
#include "core/news.h"
#include "core/once.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/waiter.h"

#define REASON_OWNER_LOST "owner-lost"

/* Most jobs of one FETCH, and bytes of their payloads after which no other is
 * added: the reply must fit into the output of the client. */
#define FETCH_MAX   1000
#define FETCH_BYTES (4 << 20)
#define NOTICES_MAX 1000
/* Likewise of the ends that it tells of. */
#define ENDS_BYTES (1 << 20)
/* Of what a worker holds, where somebody only looks. */
#define HELD_COUNTED 1000

/* ----------------------------------------------------------------- clients */

struct client *client_find(const struct core *c, struct client_id id)
{
    struct map_node *n = map_find(&c->clients, id.n);

    return n ? container_of(n, struct client, node) : NULL;
}

struct client *client_get(struct core *c, struct client_id id)
{
    struct client *cl = client_find(c, id);

    if (cl)
        return cl;
    ASSERT(id.n);
    cl = mem_zalloc(sizeof(*cl));
    cl->id = id;
    cl->node.hash = id.n;
    map_insert(&c->clients, &cl->node);
    list_push_back(&c->all_clients, &cl->link);
    account(c, sizeof(*cl));
    return cl;
}

void core_worker(const struct core *c, struct client_id id,
                 struct core_worker *out)
{
    const struct client *cl = client_find(c, id);

    *out = (struct core_worker){0};
    if (!cl)
        return;
    if (cl->session)
        list_foreach (it, &cl->session->held)
            if (++out->held == HELD_COUNTED)
                break;
    if (cl->waiter && cl->waiter->kind == WAIT_FETCH)
        out->wanted = cl->waiter->count;
}

void client_drop_if_idle(struct core *c, struct client *cl)
{
    if (cl->session || cl->waiter)
        return;
    map_remove(&c->clients, &cl->node);
    list_remove(&cl->link);
    account(c, -(int64_t)sizeof(*cl));
    mem_free(cl);
}

/* ---------------------------------------------------------------- sessions */

static struct session *session_find(const struct core *c, uint64_t id)
{
    struct map_node *n = map_find(&c->sessions, id);

    return n ? container_of(n, struct session, node) : NULL;
}

struct session *session_get(struct core *c, uint64_t id)
{
    struct session *s = session_find(c, id);

    if (s)
        return s;
    if (!c->started)
        once_bound_sessions(c);
    s = mem_zalloc(sizeof(*s));
    s->id = id;
    s->node.hash = id;
    s->timer.kind = TIMER_SESSION;
    s->gone_ms = c->now_ms;
    s->seen_ms = c->now_ms;
    s->forgotten = !c->started && c->dropped;
    list_init(&s->held);
    list_init(&s->groups);
    list_init(&s->notices);
    list_init(&s->awaits);
    list_init(&s->ends);
    list_init(&s->noticed);
    list_init(&s->asked.numbered);
    map_insert(&c->sessions, &s->node);
    list_push_back(&c->all_sessions, &s->link);
    c->nsessions++;
    account(c, sizeof(*s));
    return s;
}

struct session *session_of(struct core *c, struct client_id id)
{
    struct client *cl = client_get(c, id);
    uint64_t sid = c->random;

    if (cl->session)
        return cl->session;
    while (sid == 0 || session_find(c, sid))
        sid = sid * 6364136223846793005u + 1442695040888963407u;
    cl->session = session_get(c, sid);
    cl->session->client = cl;
    cl->session->gone_ms = CORE_NONE;
    return cl->session;
}

void session_free(struct core *c, struct session *s)
{
    ASSERT(list_empty(&s->held) && list_empty(&s->groups) && !s->client);
    timer_stop(c, &s->timer);
    once_release(c, s);
    await_release(c, s);
    list_remove(&s->noticed);
    map_remove(&c->sessions, &s->node);
    list_remove(&s->link);
    c->nsessions--;
    if (c->asking == s)
        c->asking = NULL;
    account(c, -(int64_t)sizeof(*s));
    mem_free(s);
}

/* The timer is set when there is something to lose, and is not moved at each
 * sign of life: it looks again when it fires. */
void session_arm(struct core *c, struct session *s)
{
    int64_t lease_ends = s->seen_ms + c->limits.lease_ms;
    int64_t at = INT64_MAX;

    if (!list_empty(&s->held))
        at = lease_ends;
    if (!s->client) {
        int64_t grace_ends = s->gone_ms + c->limits.session_grace_ms;

        at = min_i64(
            at, list_empty(&s->groups) && at != INT64_MAX ? at : grace_ends);
    }
    if (at == INT64_MAX)
        timer_stop(c, &s->timer);
    else if (!heap_has(&s->timer.node) ||
             heap_at(&c->timers, &s->timer.node) > at)
        timer_set(c, &s->timer, at);
}

void sessions_shift(struct core *c, int64_t by_ms)
{
    list_foreach (it, &c->all_sessions) {
        struct session *s = list_entry(it, struct session, link);

        s->seen_ms += by_ms;
        if (s->gone_ms != CORE_NONE)
            s->gone_ms += by_ms;
        session_arm(c, s); /* sooner; if later, the timer looks again */
    }
}

/* A slice: end the attempts that it holds. */
static void end_held(struct core *c, struct session *s, enum verdict_kind kind)
{
    while (!list_empty(&s->held) && core_work(c)) {
        c->totals.lost += kind == VERDICT_LOST;
        attempt_body_ended(c,
                           list_entry(list_first(&s->held), struct job, link),
                           &(struct verdict){
                               .kind = (enum verdict_kind)kind,
                               .class = STR("lost"),
                               .message = STR("the worker is gone"),
                           });
    }
}

/* A slice: cancel the groups that it owns. */
static void orphan_groups(struct core *c, struct session *s)
{
    while (!list_empty(&s->groups) && core_work(c)) {
        struct group *g =
            list_entry(list_first(&s->groups), struct group, owned);

        list_remove(&g->owned);
        g->owner = NULL;
        group_cancel(c, g, CAUSE_CANCEL, STR(REASON_OWNER_LOST), CORE_UNSET);
    }
}

/* Is its lease over? The timer may not have come by yet. */
static bool lease_over(const struct core *c, const struct session *s)
{
    return !list_empty(&s->held) &&
           c->now_ms >= s->seen_ms + c->limits.lease_ms;
}

/* Its lease has ended. What is run again must not go to the very session that
 * gave no sign of life: it has to ask again. */
static void lease_ended(struct core *c, struct session *s)
{
    struct waiter *w = s->client ? s->client->waiter : NULL;

    if (w && w->kind == WAIT_FETCH)
        waiter_give_up(c, w);
    end_held(c, s, VERDICT_LOST);
}

void session_timer(struct core *c, struct session *s)
{
    int64_t now = c->now_ms;
    bool gone = !s->client &&
                (s->over || now >= s->gone_ms + c->limits.session_grace_ms);

    if (s->over)
        end_held(c, s,
                 s->how == DISCONNECT_DEAD ? VERDICT_LOST : VERDICT_RELEASED);
    else if (lease_over(c, s))
        lease_ended(c, s);
    if (gone)
        orphan_groups(c, s);
    if (gone && list_empty(&s->held) && list_empty(&s->groups)) {
        session_free(c, s);
        return;
    }
    if (s->over || (gone && !list_empty(&s->groups)))
        timer_set(c, &s->timer, now); /* the next slice */
    else
        session_arm(c, s);
}

void session_notify(struct core *c, struct session *s)
{
    struct waiter *w = s->client ? s->client->waiter : NULL;

    if (w && w->kind == WAIT_FETCH && !list_linked(&s->noticed))
        list_push_back(&c->noticed, &s->noticed);
}

/* Is there anything for a FETCH but jobs? */
static bool has_news(const struct session *s)
{
    return !list_empty(&s->notices) || !list_empty(&s->ends);
}

void session_serve(struct core *c, struct session *s)
{
    struct waiter *w = s->client ? s->client->waiter : NULL;

    list_remove(&s->noticed);
    if (w && w->kind == WAIT_FETCH && has_news(s))
        (void)worker_serve(c, w);
}

void session_renotify(struct session *s)
{
    list_foreach (it, &s->held) {
        struct job *j = list_entry(it, struct job, link);

        if (j->state == JOB_CANCELLING && !list_linked(&j->u.run->notice))
            list_push_back(&s->notices, &j->u.run->notice);
    }
}

static bool owns_anything(const struct session *s)
{
    return !list_empty(&s->held) || !list_empty(&s->groups);
}

static void detach(struct core *c, struct client *cl)
{
    struct session *s = cl->session;

    cl->session = NULL;
    s->client = NULL;
    s->gone_ms = c->now_ms;
}

/* It waits for its client, if there is anything to come back for. */
static void leave_alone(struct core *c, struct session *s)
{
    if (owns_anything(s) || once_outlives(c, s))
        session_arm(c, s);
    else
        session_free(c, s);
}

/* The old connection may not have noticed yet that it is dead. What waits there
 * for a job or for room must not have it: it is asked for anew. */
static void supersede(struct core *c, struct client *before)
{
    struct client_id id = before->id;

    if (before->waiter &&
        (before->waiter->kind == WAIT_FETCH ||
         (before->waiter->kind == WAIT_SUBMIT && !PLANTED(TAKEN_SUBMIT))))
        waiter_give_up(c, before->waiter);
    before->session = NULL;
    client_drop_if_idle(c, before);
    if (!PLANTED(TAKEN_UNCUT))
        core_cut(c, id);
}

void worker_session(struct core *c, const struct core_event *ev)
{
    struct session *s = session_of(c, ev->client);

    s->seen_ms = c->now_ms;
    value_id(reply_begin(c, ev->client), 's', s->id, 0);
    reply_end(c);
}

void worker_resume(struct core *c, const struct core_event *ev)
{
    struct session *s = session_find(c, ev->u.session.n);
    struct client *cl;
    uint32_t held = 0;
    struct buf *b;
    size_t at;

    if (!s || s->over) {
        reply_error(c, ev->client, CORE_ERR_NOSESSION,
                    "no such session: never existed, or gone past its grace");
        return;
    }
    cl = client_get(c, ev->client);
    if (cl->session && cl->session != s) {
        struct session *old = cl->session;

        detach(c, cl);
        leave_alone(c, old);
    }
    if (s->client && s->client != cl)
        supersede(c, s->client);
    cl->session = s;
    s->client = cl;
    s->gone_ms = CORE_NONE;
    s->seen_ms = c->now_ms;
    session_arm(c, s);
    session_renotify(s);
    if (PLANTED(AWAITS_LEFT))
        await_release(c, s);
    b = reply_begin(c, ev->client);
    at = value_array(b, 0);
    list_foreach (it, &s->held) {
        const struct job *j = list_entry(it, struct job, link);

        value_id(b, 'j', j->node.hash, j->attempt);
        held++;
    }
    value_set_count(b, at, held);
    reply_end(c);
}

void worker_alive(struct core *c, const struct core_event *ev)
{
    struct client *cl = client_find(c, ev->client);

    if (cl && cl->session && !PLANTED(LIFE_UNHEARD))
        cl->session->seen_ms = c->now_ms;
}

void worker_disconnect(struct core *c, const struct core_event *ev)
{
    struct client *cl = client_find(c, ev->client);
    struct session *s;

    if (!cl)
        return;
    s = cl->session;
    if (cl->waiter) {
        struct queue *q =
            cl->waiter->kind == WAIT_SUBMIT ? cl->waiter->queue : NULL;

        /* Keep the client: its session is dealt with below. */
        waiter_free(c, cl->waiter);
        if (q)
            queue_wake(c, q);
        if (!s)
            return;
    }
    if (s)
        detach(c, cl);
    client_drop_if_idle(c, cl);
    if (!s)
        return;
    if (ev->u.disconnect != DISCONNECT_BROKEN) {
        s->over = true;
        s->how = (uint8_t)ev->u.disconnect;
        session_timer(c, s);
    } else {
        leave_alone(c, s);
    }
}

/* ------------------------------------------------------------------- fetch */

/* Why a job that was asked to stop should. */
static struct str stop_reason(const struct run *run)
{
    const struct extra *x = run->job->extra;

    if (run->asked == CAUSE_TIMEOUT)
        return STR("timeout");
    if (run->asked == CAUSE_DEADLINE)
        return STR("deadline");
    return x && x->reason ? str_from(x->reason) : STR("cancelled");
}

static void show_notice(struct buf *b, const struct run *run)
{
    const struct job *j = run->job;

    value_array(b, 4);
    value_str(b, STR("cancel"));
    value_id(b, 'j', j->node.hash, j->attempt);
    value_str(b, stop_reason(run));
    value_int(b, run->grace_ms);
}

static void show_work(const struct core *c, struct buf *b, const struct job *j)
{
    value_array(b, 5);
    value_str(b, STR("job"));
    value_id(b, 'j', j->node.hash, j->attempt);
    value_str(b, (struct str){job_queue(j)->name, job_queue(j)->name_len});
    value_str(b, job_payload(j));
    value_map(b, 7);
    value_str(b, STR("attempt"));
    value_int(b, j->attempt);
    value_str(b, STR("timeout"));
    value_int(b, j->options->timeout_ms);
    value_str(b, STR("deadline"));
    value_int(b, deadline_of_job(j));
    value_str(b, STR("remaining"));
    value_int(b, deadline_remaining(c, j));
    value_str(b, STR("grace"));
    value_int(b, j->options->grace_ms);
    value_str(b, STR("group"));
    if (j->group->id)
        value_id(b, 'g', j->group->id, 0);
    else
        value_str(b, STR("root"));
    value_str(b, STR("name"));
    value_str_or_null(b, j->extra && j->extra->name ? str_from(j->extra->name)
                                                    : (struct str){0});
}

/* A queue that a FETCH names. */
struct source {
    struct queue *queue;
    int64_t most; /* jobs that may come of it */
};

/* Starts what the queues have for the worker, in the order given; one that has
 * to read a payload first holds up its own jobs alone. Ending a
 * cancelled job on the way may answer other clients, so nothing is written
 * yet. */
static size_t take_jobs(struct core *c, struct session *s, int64_t count,
                        const struct source *sources, size_t n,
                        struct job **jobs)
{
    size_t taken = 0, bytes = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t until = min_i64(count, (int64_t)taken + sources[i].most);
        struct job *j;

        if (PLANTED(BOUND_SPILLS))
            until = count;
        /* Without work left a queue may hold back who is next in it. */
        while ((int64_t)taken < until && bytes < FETCH_BYTES &&
               (taken == 0 || c->work > 0) &&
               (j = queue_next(c, sources[i].queue))) {
            job_start(c, j, s);
            jobs[taken++] = j;
            bytes += j->payload_len;
        }
    }
    c->work -= (int64_t)taken;
    return taken;
}

bool worker_serve(struct core *c, struct waiter *w)
{
    struct session *s = w->client->session;
    struct client_id id = w->client->id;
    struct source sources[CORE_QUEUES_PER_FETCH];
    struct job *jobs[FETCH_MAX];
    size_t n = w->nlinks, taken, at;
    uint32_t entries = 0;
    struct buf *b;

    /* A job would renew the lease of who gave no sign of life, for all that it
     * holds. */
    if (lease_over(c, s) && !PLANTED(LEASE_REVIVED)) {
        waiter_give_up(c, w);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        sources[i] = (struct source){w->links[i].queue, w->links[i].most};
    /* It waits until it has them: others must not be let past. */
    taken = take_jobs(c, s, w->count, sources, n, jobs);
    if (taken == 0 && !has_news(s))
        return false;
    waiter_free(c, w);
    b = reply_begin(c, id);
    at = value_array(b, 0);
    while (!list_empty(&s->notices) && entries < NOTICES_MAX) {
        struct run *run =
            list_entry(list_first(&s->notices), struct run, notice);

        list_remove(&run->notice);
        show_notice(b, run);
        entries++;
    }
    entries += await_show(c, s, b, ENDS_BYTES);
    for (size_t i = 0; i < taken; i++) {
        show_work(c, b, jobs[i]);
        payload_given(c, jobs[i]);
    }
    value_set_count(b, at, entries + (uint32_t)taken);
    reply_end(c);
    for (size_t i = 0; i < n && taken; i++)
        queue_wake(c, sources[i].queue);
    return true;
}

static bool anything_for(struct core *c, const struct session *s,
                         const struct source *sources, size_t n)
{
    if (has_news(s))
        return true;
    for (size_t i = 0; i < n; i++)
        if (sources[i].most > 0 && queue_next(c, sources[i].queue))
            return true;
    return false;
}

/* Whose turn it is there has a payload that is being read. */
static bool reads(const struct queue *q)
{
    return q->stuck && !q->put_off;
}

/* After anything_for: is there a job whose payload has to be read first? */
static bool payload_comes(const struct source *sources, size_t n)
{
    bool stuck = false;

    for (size_t i = 0; i < n && !PLANTED(LOAD_EMPTY); i++)
        stuck = stuck || (sources[i].most > 0 && reads(sources[i].queue));
    return stuck;
}

/* Who was put off to a limiter may start when that has come by: in this step
 * or, without work left, in one of the next. */
static bool limiters_come(const struct core *c)
{
    return !list_empty(&c->limiter_wakes);
}

void worker_serve_at_once(struct core *c, struct queue *q)
{
    list_foreach_safe (it, &q->fetchers) {
        struct waiter *w = list_entry(it, struct fetch_link, link)->waiter;
        bool stuck = false;

        if (!w->at_once || worker_serve(c, w))
            continue;
        if (limiters_come(c)) {
            queue_wake(c, q);
            return;
        }
        for (size_t i = 0; i < w->nlinks; i++)
            stuck = stuck || (w->links[i].most > 0 && reads(w->links[i].queue));
        if (!stuck)
            waiter_give_up(c, w);
    }
}

/* What a FETCH asks for. */
struct fetch {
    int64_t count; /* as its queues may give it: 0 when they give nothing */
    bool anew;     /* as waiter->anew */
    size_t n;
    struct source sources[CORE_QUEUES_PER_FETCH];
};

/* Finds its queues, or makes them. False: an error was answered. */
static bool fetch_read(struct core *c, const struct core_event *ev,
                       struct fetch *f)
{
    int64_t count = min_i64(ev->u.fetch.count, FETCH_MAX), sum = 0;
    const int64_t *bounds = ev->u.fetch.bounds;

    ASSERT(ev->u.fetch.nqueues <= CORE_QUEUES_PER_FETCH);
    c->fetches++;
    f->anew = false;
    f->n = 0;
    for (size_t i = 0; i < ev->u.fetch.nqueues; i++) {
        struct str name = ev->u.fetch.queues[i];
        bool bounded = bounds && bounds[i] != CORE_NONE;
        int64_t most = bounded ? min_i64(bounds[i], count) : count;
        struct queue *q;

        sum += most;
        if (c->disk_narrow && queue_name_ok(name) && !queue_find(c, name)) {
            f->anew = true;
            continue;
        }
        q = queue_get(c, ev->client, name);
        if (!q)
            return false;
        if (q->named == c->fetches && !bounds)
            continue;
        if (q->named == c->fetches) {
            reply_error(c, ev->client, CORE_ERR_GENERIC,
                        "FETCH: queue '%.*s' is named twice; with bounds each "
                        "may be named once",
                        (int)name.len, name.p);
            return false;
        }
        q->named = c->fetches;
        f->sources[f->n++] = (struct source){q, most};
    }
    f->count = min_i64(count, sum);
    return true;
}

static struct waiter *fetch_block(struct core *c, const struct core_event *ev,
                                  const struct fetch *f)
{
    bool at_once = ev->u.fetch.wait_ms == 0;
    struct waiter *w =
        waiter_new(c, ev->client, WAIT_FETCH,
                   at_once ? CORE_NONE : ev->u.fetch.wait_ms, f->n);

    w->at_once = at_once;
    c->at_once += at_once;
    w->count = f->count;
    w->anew = f->anew;
    for (size_t i = 0; i < f->n; i++) {
        struct queue *q = f->sources[i].queue;

        w->links[i].waiter = w;
        w->links[i].queue = q;
        w->links[i].most = f->sources[i].most;
        q->nfetchers++;
        if (f->sources[i].most == 0)
            continue;
        if (list_empty(&q->fetchers))
            line_attended(c, q);
        list_push_back(&q->fetchers, &w->links[i].link);
    }
    return w;
}

void worker_fetch(struct core *c, const struct core_event *ev)
{
    struct session *s = session_of(c, ev->client);
    struct waiter *w;
    struct fetch f;

    s->seen_ms = c->now_ms;
    if (!fetch_read(c, ev, &f))
        return;
    if (ev->u.fetch.wait_ms == 0 && !anything_for(c, s, f.sources, f.n) &&
        !payload_comes(f.sources, f.n) && (f.count == 0 || !limiters_come(c))) {
        value_array(reply_begin(c, ev->client), 0);
        reply_end(c);
        return;
    }
    w = fetch_block(c, ev, &f);
    if (anything_for(c, s, f.sources, f.n) && worker_serve(c, w))
        return;
    if (!w->at_once || payload_comes(f.sources, f.n))
        return;
    if (!limiters_come(c)) {
        waiter_give_up(c, w);
        return;
    }
    for (size_t i = 0; i < f.n; i++) /* served after them, or given up */
        queue_wake(c, f.sources[i].queue);
}

/* ----------------------------------------------------------------- reports */

static bool is_current(const struct job *j, const struct token *t)
{
    return (j->attempt == t->attempt || PLANTED(STALE_ACCEPTED)) &&
           (j->state == JOB_RUNNING || j->state == JOB_CANCELLING);
}

static void refuse_stale(struct core *c, const struct core_event *ev,
                         const struct job *j)
{
    c->totals.stale++;
    reply_error(c, ev->client, CORE_ERR_STALE,
                "attempt %u is not running (the job is %s, its last attempt "
                "is %u); nothing was changed",
                ev->u.report.token.attempt,
                job_state_name((enum job_state)j->state), j->attempt);
}

struct job *worker_current(struct core *c, const struct core_event *ev)
{
    const struct token *t = &ev->u.report.token;
    struct job *j = find_job_or_reply(c, ev->client, t->job);

    if (!j || is_current(j, t))
        return j;
    refuse_stale(c, ev, j);
    return NULL;
}

static bool within(struct core *c, const struct core_event *ev,
                   const char *what, size_t len, int64_t max)
{
    if ((int64_t)len <= max)
        return true;
    reply_error(c, ev->client, CORE_ERR_TOOBIG,
                "the %s is %zu bytes, at most %lld are allowed", what, len,
                (long long)max);
    return false;
}

/* Did the attempt, which is the job's last one, end ok with this result? When
 * it has gone on to another queue, that it did is all that is left. */
static bool has_done(const struct job *j, struct str result)
{
    switch ((enum job_state)j->state) {
    case JOB_JOINING:
    case JOB_DELIVERING:
        return j->u.run->verdict == VERDICT_OK &&
               str_eq(result,
                      (struct str){j->u.run->result, j->u.run->result_len});
    case JOB_FINISHED:
        return j->u.end->outcome == OUTCOME_OK &&
               ((j->extra && j->extra->next) ||
                str_eq(result,
                       (struct str){j->u.end->result, j->u.end->result_len}));
    case JOB_DELAYED:
    case JOB_PARKED:
    case JOB_READY:
    case JOB_RUNNING:
    case JOB_CANCELLING:
    case JOB_STATES_COUNT:
        break;
    }
    return false;
}

static const struct job_error *error_of(const struct job *j, uint32_t attempt)
{
    for (uint32_t i = 0; j->extra && i < j->extra->nerrors; i++)
        if (j->extra->errors[i].attempt == attempt)
            return &j->extra->errors[i];
    return NULL;
}

/* Did the attempt end ok and come to nothing, for what was below it failed or
 * was cancelled, or its result could not go on? What it was is not kept. */
static bool has_done_in_vain(const struct job *j, uint32_t attempt)
{
    const struct job_error *e = error_of(j, attempt);

    return (e && e->body_done) ||
           (j->attempt == attempt && j->state == JOB_FINISHED &&
            j->u.end->body_done);
}

/* Is this the error that the attempt left? One that stopped when it was asked
 * to left none, or the reason of its own that it was asked for. */
static bool has_failed(const struct job *j, const struct core_event *ev)
{
    uint32_t attempt = ev->u.report.token.attempt;
    const struct job_error *e = error_of(j, attempt);

    if (has_done_in_vain(j, attempt))
        return false;
    if (!str_eq(ev->u.report.class, STR("cancelled")))
        return e && str_eq(e->class, ev->u.report.class) &&
               str_eq(e->message, ev->u.report.message) &&
               str_eq(e->detail, ev->u.report.detail);
    if (e)
        return str_eq(e->class, STR("timeout")) ||
               str_eq(e->class, STR("deadline"));
    return j->attempt == attempt &&
           ((j->state == JOB_FINISHED &&
             j->u.end->outcome == OUTCOME_CANCELLED) ||
            (j->state == JOB_JOINING && j->u.run->verdict == VERDICT_STOPPED));
}

/* The attempt is not the current one: is the report what is known of it
 * already? Its worker may have lost the answer and ask again: nothing changes,
 * and nothing is stale. */
static bool is_repeated(const struct job *j, const struct core_event *ev)
{
    uint32_t attempt = ev->u.report.token.attempt;

    if (ev->kind == EVENT_DONE)
        return (j->attempt == attempt && has_done(j, ev->u.report.result)) ||
               has_done_in_vain(j, attempt);
    return ev->kind == EVENT_FAIL && has_failed(j, ev);
}

void worker_report(struct core *c, const struct core_event *ev)
{
    const struct token *t = &ev->u.report.token;
    struct verdict v = {.kind = VERDICT_RELEASED};
    struct job *j = find_job_or_reply(c, ev->client, t->job);

    if (!j)
        return;
    if (UNLIKELY(!is_current(j, t))) {
        if (is_repeated(j, ev))
            reply_ok(c, ev->client);
        else
            refuse_stale(c, ev, j);
        return;
    }
    if (ev->kind == EVENT_DONE) {
        if (!within(c, ev, "result", ev->u.report.result.len,
                    c->limits.result_max))
            return;
        v.kind = VERDICT_OK;
        v.result = ev->u.report.result;
    } else if (ev->kind == EVENT_FAIL) {
        if (!within(c, ev, "class", ev->u.report.class.len, CORE_CLASS_MAX) ||
            !within(c, ev, "message", ev->u.report.message.len,
                    CORE_MESSAGE_MAX) ||
            !within(c, ev, "detail", ev->u.report.detail.len, CORE_DETAIL_MAX))
            return;
        v.kind = str_eq(ev->u.report.class, STR("cancelled")) ? VERDICT_STOPPED
                                                              : VERDICT_FAILED;
        v.class = ev->u.report.class;
        v.message = ev->u.report.message;
        v.detail = ev->u.report.detail;
    }
    reply_ok(c, ev->client);
    attempt_body_ended(c, j, &v);
}

void worker_ready(struct core *c, const struct core_event *ev)
{
    struct str value = ev->u.report.value;
    struct job *j = worker_current(c, ev);

    if (!j || !within(c, ev, "value", value.len, CORE_READY_MAX))
        return;
    if (j->u.run->is_ready &&
        str_eq(value, (struct str){j->u.run->ready, j->u.run->ready_len})) {
        reply_ok(c, ev->client); /* the answer may have been lost */
        return;
    }
    if (j->u.run->is_ready) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "READY: the attempt has said something else already; "
                    "nothing was changed");
        return;
    }
    core_record(c, &(struct record){.type = RECORD_READY,
                                    .at_ms = c->now_ms,
                                    .id = j->node.hash,
                                    .u.ready = value});
    waiter_job_ready(c, j);
    reply_ok(c, ev->client);
}

void worker_touch(struct core *c, const struct core_event *ev)
{
    struct job *j = worker_current(c, ev);
    struct str reason = {0};
    struct run *run;
    struct buf *b;

    if (!j || !within(c, ev, "progress", ev->u.report.progress.len,
                      CORE_PROGRESS_MAX))
        return;
    run = j->u.run;
    if (ev->u.report.progress.p) {
        mem_free(run->progress);
        run->progress =
            mem_dup_text(ev->u.report.progress.p, ev->u.report.progress.len);
        news_of_progress(c, j);
    }
    if (run->session)
        run->session->seen_ms = c->now_ms;
    if (run->asked != CAUSE_NONE)
        reason = stop_reason(run);
    b = reply_begin(c, ev->client);
    value_array(b, 4);
    value_int(b, run->asked != CAUSE_NONE);
    value_int(b, deadline_remaining(c, j));
    value_str_or_null(b, reason);
    if (run->asked != CAUSE_NONE)
        value_int(b, run->grace_ms);
    else
        value_null(b);
    reply_end(c);
}
