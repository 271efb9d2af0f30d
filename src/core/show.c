/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * show - jobs, groups and trees as maps for people and programs.
 *
 * The names of the fields are part of the protocol; see doc/protocol.md.
 */
#include "core/show.h"

#include "core/attempt.h"
#include "core/below.h"
#include "core/deadline.h"
#include "core/errors.h"
#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/line.h"
#include "core/queue.h"
#include "core/share.h"
#include "core/worker.h"

#define LIST_DEFAULT 100
#define LIST_MAX     10000
#define TREE_DEFAULT 1000
/* Jobs looked at for one answer, shown or not: the loop must go on. */
#define LOOKS_MAX 50000

static void field(struct buf *b, const char *name)
{
    value_str(b, str_from(name));
}

static void field_int(struct buf *b, const char *name, int64_t v)
{
    field(b, name);
    value_int(b, v);
}

/* A time or number that is null when there is none. */
static void field_opt(struct buf *b, const char *name, int64_t v)
{
    field(b, name);
    if (v == CORE_NONE)
        value_null(b);
    else
        value_int(b, v);
}

static void field_text(struct buf *b, const char *name, const char *text)
{
    field(b, name);
    value_str_or_null(b, text ? str_from(text) : (struct str){0});
}

static void field_group(struct buf *b, const char *name, uint64_t id)
{
    field(b, name);
    if (id)
        value_id(b, 'g', id, 0);
    else
        value_str(b, STR("root"));
}

static const char *job_reason(const struct job *j)
{
    const struct run *run = job_has_run(j) ? j->u.run : NULL;

    if (run && run->asked == CAUSE_TIMEOUT && !run->cancelled_first)
        return "timeout";
    if (run && run->asked == CAUSE_DEADLINE && !run->cancelled_first)
        return "deadline";
    return j->extra ? j->extra->reason : NULL;
}

static int64_t job_started(const struct job *j)
{
    if (job_has_run(j))
        return j->u.run->started_ms;
    return j->state == JOB_FINISHED ? j->u.end->started_ms : CORE_NONE;
}

/* The limiter or the group that a parked job waits for; null: none any more,
 * or a worker. */
static void field_waits_for(struct buf *b, const struct job *j)
{
    bool parked = j->state == JOB_PARKED;
    const struct limiter *l = parked ? line_waits_for(j) : NULL;
    const struct group *full = parked && !l ? job_full_group(j) : NULL;

    field(b, "waits_for");
    if (l)
        value_str(b, (struct str){l->name, l->name_len});
    else if (full)
        value_id(b, 'g', full->id, 0);
    else
        value_null(b);
}

/* As SUBMIT takes it: "gpu:2,api". */
static void field_limits(struct buf *b, const struct job *j)
{
    const struct needs *needs = j->extra ? j->extra->needs : NULL;
    struct buf text;

    buf_init(&text);
    field(b, "limits");
    for (uint32_t i = 0; needs && i < needs->len; i++) {
        const struct need *need = &needs->list[i];

        if (i > 0)
            buf_append_byte(&text, ',');
        buf_append(&text, need->limiter->name, need->limiter->name_len);
        if (need->n != 1)
            buf_printf(&text, ":%lld", (long long)need->n);
    }
    value_str_or_null(b, needs ? (struct str){buf_front(&text), buf_size(&text)}
                               : (struct str){0});
    buf_clear(&text);
}

/* Who holds its attempt, by the number in CLIENT LIST. */
static void field_worker(struct buf *b, const struct job *j)
{
    const struct session *s = job_has_run(j) ? j->u.run->session : NULL;

    field_opt(b, "worker",
              s && s->client ? (int64_t)s->client->id.n : CORE_NONE);
}

void show_job(struct core *c, struct buf *b, const struct job *j)
{
    bool finished = j->state == JOB_FINISHED;

    (void)c;
    value_map(b, 24);
    field(b, "id");
    value_id(b, 'j', j->node.hash, 0);
    field(b, "queue");
    value_str(b, (struct str){job_queue(j)->name, job_queue(j)->name_len});
    field_group(b, "group", j->group->id);
    field_text(b, "name", j->extra ? j->extra->name : NULL);
    field_text(b, "state", job_state_name((enum job_state)j->state));
    field_text(b, "outcome",
               finished ? outcome_name((enum outcome)j->u.end->outcome) : NULL);
    field_int(b, "priority", j->priority);
    field_int(b, "attempt", j->attempt);
    field_int(b, "submitted", (int64_t)j->submitted_ms);
    field_opt(b, "started", job_started(j));
    field_opt(b, "ended", finished ? j->u.end->ended_ms : CORE_NONE);
    /* After the end its group may be gone, and with it what was inherited. */
    field_opt(b, "deadline",
              finished ? j->options->deadline_ms : deadline_of_job(j));
    field_opt(b, "timeout", j->options->timeout_ms);
    field_text(b, "reason", job_reason(j));
    field_opt(b, "shielded",
              job_has_run(j) && j->u.run->shield_ms ? j->u.run->shield_ms
                                                    : CORE_NONE);
    field_text(b, "progress", job_has_run(j) ? j->u.run->progress : NULL);
    field_int(b, "errors", j->extra ? j->extra->nerrors : 0);
    field_int(b, "payload_bytes", j->payload_len);
    field_text(b, "then", j->extra ? j->extra->then : NULL);
    field(b, "ready");
    if (job_has_run(j) && j->u.run->is_ready)
        value_str(b, (struct str){j->u.run->ready, j->u.run->ready_len});
    else
        value_null(b);
    field(b, "key");
    if (j->extra && j->extra->key)
        value_str(b, (struct str){j->extra->key->text, j->extra->key->len});
    else
        value_null(b);
    field_waits_for(b, j);
    field_limits(b, j);
    field_worker(b, j);
}

static void show_error(struct buf *b, struct str class, struct str message,
                       struct str detail, int64_t attempt, int64_t at_ms)
{
    value_map(b, 5);
    field(b, "class");
    value_str(b, class);
    field(b, "message");
    value_str(b, message);
    field_int(b, "attempt", attempt);
    field_int(b, "time", at_ms);
    field(b, "detail");
    value_str(b, detail);
}

static const struct error_filter all_errors;

void show_outcome(struct core *c, struct buf *b, const struct job *j)
{
    show_outcome_errors(c, b, j, &all_errors);
}

void show_outcome_errors(struct core *c, struct buf *b, const struct job *j,
                         const struct error_filter *f)
{
    const struct end *end = j->state == JOB_FINISHED ? j->u.end : NULL;

    (void)c;
    value_map(b, 14);
    field(b, "id");
    value_id(b, 'j', j->node.hash, 0);
    field_text(b, "kind", "job");
    field_text(b, "name", j->extra ? j->extra->name : NULL);
    field(b, "queue");
    value_str(b, (struct str){job_queue(j)->name, job_queue(j)->name_len});
    field_text(b, "outcome",
               end ? outcome_name((enum outcome)end->outcome) : NULL);
    field(b, "result");
    if (end && end->outcome == OUTCOME_OK)
        value_str(b, (struct str){end->result, end->result_len});
    else
        value_null(b);
    field_text(b, "reason", job_reason(j));
    field(b, "next");
    if (j->extra && j->extra->next)
        value_id(b, 'j', j->extra->next, 0);
    else
        value_null(b);
    field_int(b, "attempts", j->attempt);
    field_int(b, "submitted", (int64_t)j->submitted_ms);
    field_opt(b, "started", job_started(j));
    field_opt(b, "ended", end ? end->ended_ms : CORE_NONE);
    field(b, "retried");
    if (j->extra && j->extra->retried)
        value_id(b, 'j', j->extra->retried, 0);
    else
        value_null(b);
    field(b, "errors");
    value_array(b, errors_wanted(f, j));
    for (uint32_t i = 0; j->extra && i < j->extra->nerrors; i++) {
        const struct job_error *e = &j->extra->errors[i];

        if (error_wanted(f, e->class))
            show_error(b, e->class, e->message, e->detail, e->attempt,
                       e->at_ms);
    }
}

/* The class of a group's own error; empty: it has none. */
static struct str group_error_class(const struct group *g)
{
    if (g->ended && g->cause == CAUSE_DEADLINE)
        return STR("deadline");
    if (g->ended && g->outcome == OUTCOME_FAILED && g->succeed > 0 &&
        g->by_outcome[OUTCOME_OK] < g->succeed)
        return STR("policy");
    return (struct str){0};
}

bool show_group_has_error(const struct group *g, const struct error_filter *f)
{
    struct str class = group_error_class(g);

    return class.len && error_wanted(f, class);
}

static void field_group_errors(struct buf *b, const struct group *g,
                               const struct error_filter *f)
{
    bool late = g->cause == CAUSE_DEADLINE, wanted = show_group_has_error(g, f);

    field(b, "errors");
    value_array(b, wanted ? 1 : 0);
    if (wanted)
        show_error(b, group_error_class(g),
                   late ? STR("the group's deadline passed")
                        : STR("fewer members succeeded than SUCCEED asks for"),
                   STR(""), 0, late ? g->deadline_ms : g->ended_ms);
}

void show_group(struct core *c, struct buf *b, const struct group *g)
{
    show_group_errors(c, b, g, &all_errors);
}

void show_group_errors(struct core *c, struct buf *b, const struct group *g,
                       const struct error_filter *f)
{
    (void)c;
    value_map(b, 20);
    field_group(b, "id", g->id);
    field_text(b, "kind", "group");
    field(b, "parent");
    if (g->parent_attempt)
        value_id(b, 'j', g->parent_id, g->parent_attempt);
    else if (g->id == 0)
        value_null(b);
    else if (g->parent_id)
        value_id(b, 'g', g->parent_id, 0);
    else
        value_str(b, STR("root"));
    field_text(b, "name", g->name);
    field_text(b, "state",
               g->ended                 ? "ended"
               : g->cause != CAUSE_NONE ? "cancelling"
               : g->closed              ? "closed"
                                        : "open");
    field_text(b, "outcome",
               g->ended ? outcome_name((enum outcome)g->outcome) : NULL);
    field_text(b, "reason", g->reason);
    field_int(b, "fail", g->fail);
    field_int(b, "succeed", g->succeed);
    field_opt(b, "width", g->width);
    field_opt(b, "deadline", deadline_of_group(g));
    field_int(b, "members", g->members_total);
    field_int(b, "queued", g->queued);
    field_int(b, "running", g->running);
    field_int(b, "ok", g->by_outcome[OUTCOME_OK]);
    field_int(b, "failed", g->by_outcome[OUTCOME_FAILED]);
    field_int(b, "cancelled", g->by_outcome[OUTCOME_CANCELLED]);
    field_opt(b, "opened", g->opened_ms);
    field_opt(b, "ended", g->ended_ms);
    field_group_errors(b, g, f);
}

/* -------------------------------------------------------------------- JOBS */

struct listing {
    struct core *c;
    struct buf *b;
    const struct core_event *ev;
    uint32_t states; /* wanted: bits of enum job_state */
    int64_t left, looks;
    uint32_t n;
};

static bool queue_wanted(const struct listing *l, const struct queue *q)
{
    return l->ev->u.jobs.queue.len == 0 ||
           str_eq(l->ev->u.jobs.queue, (struct str){q->name, q->name_len});
}

static void list_job(struct listing *l, const struct job *j)
{
    const struct core_event *ev = l->ev;

    if (!(l->states & (1u << j->state)) || !queue_wanted(l, job_queue(j)) ||
        (ev->u.jobs.has_group && j->group->id != ev->u.jobs.group.n))
        return;
    show_job(l->c, l->b, j);
    l->left--;
    l->n++;
}

static bool list_enough(struct listing *l)
{
    return l->left == 0 || l->looks-- <= 0;
}

/* `states`: those that jobs in this list can have. */
static void list_jobs(struct listing *l, const struct list *jobs,
                      uint32_t states)
{
    if (!(l->states & states))
        return;
    list_foreach (it, jobs) {
        if (list_enough(l))
            return;
        list_job(l, list_entry(it, struct job, link));
    }
}

static void list_newest_first(struct listing *l, const struct list *jobs)
{
    for (struct list *it = jobs->prev; it != jobs; it = it->prev) {
        if (list_enough(l))
            return;
        list_job(l, list_entry(it, struct job, link));
    }
}

/* Who looks at what has finished wants to see the last of it: jobs of the root
 * and groups that have ended, newest first. */
static void list_finished(struct listing *l)
{
    const struct list *jobs = &l->c->root.finished;
    const struct list *groups = &l->c->ended_groups;
    struct list *j = jobs->prev, *g = groups->prev;

    if (!(l->states & TO(FINISHED)))
        return;
    if (l->ev->u.jobs.has_group)
        g = groups->next->prev; /* the head: only the root was asked for */
    while ((j != jobs || g != groups) && !list_enough(l)) {
        const struct job *job = list_entry(j, struct job, link);
        const struct group *group = list_entry(g, struct group, link);

        if (g == groups ||
            (j != jobs && job->u.end->ended_ms >= group->ended_ms)) {
            list_job(l, job);
            j = j->prev;
        } else {
            list_newest_first(l, &group->finished);
            g = g->prev;
        }
    }
    list_foreach (it, &l->c->all_groups)
        list_newest_first(l, &list_entry(it, struct group, link)->finished);
}

static void list_queues(struct listing *l)
{
    list_foreach (it, &l->c->queues) {
        const struct queue *q = list_entry(it, struct queue, link);

        if (!queue_wanted(l, q))
            continue;
        for (int p = CORE_PRIORITIES - 1; p >= 0; p--) {
            list_jobs(l, &q->ready[p], TO(READY));
            list_foreach (ti, &q->turns[p])
                if (ti != &q->plain_turn[p])
                    list_jobs(l, &list_entry(ti, struct share, turn)->jobs,
                              TO(READY));
        }
        list_jobs(l, &q->delayed, TO(DELAYED));
    }
}

static void list_lanes(struct listing *l, const struct group *g)
{
    list_foreach (it, &g->lanes)
        list_jobs(l, &list_entry(it, struct lane, link)->jobs, TO(PARKED));
}

static void list_everywhere(struct listing *l)
{
    struct core *c = l->c;

    list_foreach (it, &c->all_sessions)
        list_jobs(l, &list_entry(it, struct session, link)->held,
                  TO(RUNNING) | TO(CANCELLING));
    list_jobs(l, &c->joining, TO(JOINING));
    list_jobs(l, &c->delivering, TO(DELIVERING));
    list_queues(l);
    list_foreach (it, &c->lanes)
        list_jobs(l, &list_entry(it, struct lane, link)->jobs, TO(PARKED));
    list_foreach (it, &c->all_groups)
        list_lanes(l, list_entry(it, struct group, link));
    list_finished(l);
}

/* Those that have not ended, then the others. */
static void list_members(struct listing *l, const struct group *g)
{
    for (int finished = 0; finished < 2; finished++) {
        for (size_t i = 0; i < g->members.len; i++) {
            uint64_t id = g->members.ids[i];
            const struct job *j;

            if (l->left == 0 || l->looks-- <= 0)
                return;
            j = id & ID_GROUP ? NULL : find_job(l->c, (struct job_id){id});
            if (j && (j->state == JOB_FINISHED) == finished)
                list_job(l, j);
        }
    }
}

/* Bits of the states with that name; none: all. 0: there is none. */
static uint32_t states_named(struct str name)
{
    uint32_t states = 0;

    for (int i = 0; i < JOB_STATES_COUNT; i++)
        if (name.len == 0 ||
            str_eq(name, str_from(job_state_name((enum job_state)i))))
            states |= 1u << i;
    return states;
}

void show_list(struct core *c, const struct core_event *ev)
{
    struct listing l = {.c = c,
                        .ev = ev,
                        .states = states_named(ev->u.jobs.state),
                        .left = ev->u.jobs.count,
                        .looks = LOOKS_MAX};
    const struct group *g = NULL;
    size_t at;

    if (!l.states) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "JOBS: STATE is one of delayed ready parked running "
                    "cancelling joining delivering finished");
        return;
    }
    if (ev->u.jobs.has_group) {
        g = find_group_or_reply(c, ev->client, ev->u.jobs.group);
        if (!g)
            return;
    }
    if (l.left == CORE_UNSET)
        l.left = LIST_DEFAULT;
    l.left = min_i64(l.left, LIST_MAX);
    l.b = reply_begin(c, ev->client);
    at = value_array(l.b, 0);
    if (g && g->id)
        list_members(&l, g);
    else
        list_everywhere(&l);
    value_set_count(l.b, at, l.n);
    reply_end(c);
}

/* -------------------------------------------------------------------- tree */

struct tree {
    struct core *c;
    struct buf *b;
    int64_t left, looks;
    uint32_t n;
};

static void tree_group(struct tree *t, const struct group *g, int64_t depth);

static bool tree_entry(struct tree *t, int64_t depth)
{
    if (t->left == 0)
        return false;
    t->left--;
    t->n++;
    value_array(t->b, 2);
    value_int(t->b, depth);
    return true;
}

static void tree_job(struct tree *t, const struct job *j, int64_t depth)
{
    const struct below *below = j->extra ? j->extra->below : NULL;

    if (!tree_entry(t, depth))
        return;
    show_job(t->c, t->b, j);
    for (size_t i = 0; below && i < below->groups.len; i++) {
        const struct group *g = find_group(
            t->c, (struct group_id){below->groups.ids[i] & ~ID_GROUP});

        if (t->left == 0 || t->looks-- <= 0)
            return;
        if (g)
            tree_group(t, g, depth + 1);
    }
}

/* What moves, then what failed, then the rest. */
static int tree_class(const struct job *j)
{
    if (job_has_run(j))
        return 0;
    if (j->state == JOB_FINISHED && j->u.end->outcome == OUTCOME_FAILED)
        return 1;
    return 2;
}

static void tree_members(struct tree *t, const struct group *g, int64_t depth)
{
    for (int class = 0; class < 3; class ++) {
        for (size_t i = 0; i < g->members.len; i++) {
            uint64_t id = g->members.ids[i];
            const struct job *j;

            if (t->left == 0 || t->looks-- <= 0)
                return;
            if (id & ID_GROUP) {
                const struct group *m =
                    find_group(t->c, (struct group_id){id & ~ID_GROUP});

                if (m && class == 0)
                    tree_group(t, m, depth);
                continue;
            }
            j = find_job(t->c, (struct job_id){id});
            if (j && tree_class(j) == class)
                tree_job(t, j, depth);
        }
    }
}

/* Jobs of the root group in one list; `class` as of tree_class. */
static void tree_root_jobs(struct tree *t, const struct list *jobs, int class)
{
    list_foreach (it, jobs) {
        const struct job *j = list_entry(it, struct job, link);

        if (t->left == 0 || t->looks-- <= 0)
            return;
        if (j->group == &t->c->root && tree_class(j) == class)
            tree_job(t, j, 1);
    }
}

/* The root has no list of its members: it is a long-lived scope of very many,
 * which are found where their state has put them. */
static void tree_root(struct tree *t)
{
    struct core *c = t->c;

    list_foreach (it, &c->root.groups)
        tree_group(t, list_entry(it, struct group, sibling), 1);
    list_foreach (it, &c->ended_groups) {
        const struct group *g = list_entry(it, struct group, link);

        if (g->parent_id == 0)
            tree_group(t, g, 1);
    }
    list_foreach (it, &c->all_sessions)
        tree_root_jobs(t, &list_entry(it, struct session, link)->held, 0);
    tree_root_jobs(t, &c->joining, 0);
    tree_root_jobs(t, &c->delivering, 0);
    tree_root_jobs(t, &c->root.finished, 1);
    list_foreach (it, &c->queues) {
        const struct queue *q = list_entry(it, struct queue, link);

        for (int p = CORE_PRIORITIES - 1; p >= 0; p--) {
            tree_root_jobs(t, &q->ready[p], 2);
            list_foreach (ti, &q->turns[p])
                if (ti != &q->plain_turn[p])
                    tree_root_jobs(t, &list_entry(ti, struct share, turn)->jobs,
                                   2);
        }
        tree_root_jobs(t, &q->delayed, 2);
    }
    list_foreach (it, &c->lanes)
        tree_root_jobs(t, &list_entry(it, struct lane, link)->jobs, 2);
    tree_root_jobs(t, &c->root.finished, 2);
}

static void tree_group(struct tree *t, const struct group *g, int64_t depth)
{
    if (!tree_entry(t, depth))
        return;
    show_group(t->c, t->b, g);
    if (g->id)
        tree_members(t, g, depth + 1);
    else
        tree_root(t);
}

void show_tree(struct core *c, const struct core_event *ev)
{
    const struct group *g = find_group_or_reply(c, ev->client, ev->u.group.id);
    struct tree t = {.c = c, .left = ev->u.group.count, .looks = LOOKS_MAX};
    size_t at;

    if (!g)
        return;
    if (t.left == CORE_UNSET || t.left == 0)
        t.left = TREE_DEFAULT;
    t.left = min_i64(t.left, LIST_MAX);
    t.b = reply_begin(c, ev->client);
    at = value_array(t.b, 0);
    tree_group(&t, g, 0);
    value_set_count(t.b, at, t.n);
    reply_end(c);
}
