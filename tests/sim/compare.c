/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * compare - looks at all that the core shows and at what the model expects.
 */
#include "parts.h"

/* It is to stop, and what has to ask it has not come by. */
static bool not_asked_yet(const struct model *m, const struct model_job *j,
                          const struct job_view *v)
{
    return m->behind && j->state == MODEL_CANCELLING &&
           v->state == VIEW_RUNNING;
}

static enum view_state state_expected(const struct model *m,
                                      const struct model_job *j,
                                      const struct job_view *v)
{
    switch (j->state) {
    case MODEL_DELAYED:
        return VIEW_DELAYED;
    case MODEL_QUEUED:
        return v->state == VIEW_PARKED &&
                       (rules_group_has_width(m, j->group) || limits_any(j))
                   ? VIEW_PARKED
                   : VIEW_READY;
    case MODEL_RUNNING:
        return VIEW_RUNNING;
    case MODEL_CANCELLING:
        return not_asked_yet(m, j, v) ? VIEW_RUNNING : VIEW_CANCELLING;
    case MODEL_JOINING:
        return VIEW_JOINING;
    case MODEL_DELIVERING:
        return VIEW_DELIVERING;
    case MODEL_ENDED:
        return VIEW_FINISHED;
    }
    BUG("no such state");
}

static bool reason_matches(bool has, const char *want, struct str seen)
{
    return !has || (seen.p && str_eq(seen, str_from(want)));
}

static void compare_live(struct model *m, const struct model_job *j,
                         const struct job_view *v)
{
    int64_t deadline = rules_job_deadline(m, j);

    /* a shield that is over may still be shown, and keep a deadline out */
    if (v->deadline != deadline && !not_asked_yet(m, j, v))
        violation("job %llx: deadline %lld, expected %lld",
                  (unsigned long long)j->id, (long long)v->deadline,
                  (long long)deadline);
    if (!not_asked_yet(m, j, v) &&
        v->shielded !=
            (rules_job_shielded(j) ? j->shield_until : (int64_t)CORE_NONE))
        violation("job %llx is shielded until %lld, expected %lld",
                  (unsigned long long)j->id, (long long)v->shielded,
                  (long long)j->shield_until);
    if (v->ended != CORE_NONE || v->outcome != VIEW_NONE)
        violation("job %llx has an end although it is alive",
                  (unsigned long long)j->id);
    if (j->state != MODEL_DELIVERING &&
        (rules_job_is_ready(j)
             ? !str_eq(v->ready, (struct str){j->ready, j->ready_len})
             : v->ready.p != NULL))
        violation("job %llx shows itself ready with '%.*s'",
                  (unsigned long long)j->id, (int)v->ready.len, v->ready.p);
    if (j->cancelled && !m->behind && /* what cancels it may come */
        (!v->reason.p || !reason_matches(j->has_reason, j->reason, v->reason)))
        violation("job %llx is cancelled because of '%.*s', expected '%s'",
                  (unsigned long long)j->id, (int)v->reason.len, v->reason.p,
                  j->has_reason ? j->reason : "any reason");
    if (v->reason.p && !j->cancelled && !j->timed_out && !j->deadline_hit &&
        !j->murky && j->state != MODEL_DELIVERING)
        violation("job %llx has the reason '%.*s' and nobody cancelled it",
                  (unsigned long long)j->id, (int)v->reason.len, v->reason.p);
}

/* An ended job that is not there: was its time over, or room short? */
static bool job_may_be_gone(const struct model *m, const struct model_job *j)
{
    const struct model_group *g = j->group < 0 ? NULL : &m->groups[j->group];

    if (g && g->ended &&
        (m->now >= g->ended_at + g->keep || rules_parent_is_gone(m, g)))
        return true; /* members go with their group */
    if (m->now >= rules_job_kept_until(j))
        return true;
    return rules_may_be_evicted(m, m->retained);
}

static void compare_job(struct model *m, struct model_eyes *eyes,
                        struct model_job *j)
{
    struct job_view v = rules_job_look(m, eyes, j);
    uint64_t group = j->group >= 0 ? m->groups[j->group].id : 0;

    if (!v.found) {
        if (j->state != MODEL_ENDED || !job_may_be_gone(m, j))
            violation("job %llx was lost: state %d, ended %lld, keep %lld",
                      (unsigned long long)j->id, (int)j->state,
                      (long long)j->ended, (long long)j->keep);
        j->used = false;
        return;
    }
    if (v.state != state_expected(m, j, &v))
        violation("job %llx is in state %d, expected %d",
                  (unsigned long long)j->id, (int)v.state,
                  (int)state_expected(m, j, &v));
    if (v.attempt != j->attempt || v.priority != j->priority ||
        v.group != group || v.submitted != j->submitted ||
        v.timeout != j->timeout ||
        !str_eq(v.queue, str_from(m->queues[j->queue].name)))
        violation("the map of job %llx is wrong: attempt %lld (%u) priority "
                  "%lld (%lld) group %llx (%llx) timeout %lld (%lld)",
                  (unsigned long long)j->id, (long long)v.attempt, j->attempt,
                  (long long)v.priority, (long long)j->priority,
                  (unsigned long long)v.group, (unsigned long long)group,
                  (long long)v.timeout, (long long)j->timeout);
    /* the payload of a job that has ended may have been dropped */
    if (v.payload_bytes != j->payload_len &&
        !(j->state == MODEL_ENDED && v.payload_bytes == 0))
        violation("job %llx: payload of %lld bytes, expected %lld",
                  (unsigned long long)j->id, (long long)v.payload_bytes,
                  (long long)j->payload_len);
    /* one that waits for its next attempt may show no start */
    if (v.started != j->started_first && v.started != j->started_last &&
        !(v.started == CORE_NONE &&
          (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED ||
           j->state == MODEL_ENDED)))
        violation("job %llx started at %lld, not at %lld",
                  (unsigned long long)j->id, (long long)v.started,
                  (long long)j->started_last);
    /* the error of a body that waits for its groups may be there already */
    if (v.errors != j->errors &&
        !(j->state == MODEL_JOINING && v.errors == j->errors + 1))
        violation("job %llx has %lld errors, expected %lld",
                  (unsigned long long)j->id, (long long)v.errors,
                  (long long)j->errors);
    if (j->state != MODEL_ENDED) {
        compare_live(m, j, &v);
        return;
    }
    if (v.outcome != j->outcome || v.ended != j->ended)
        violation("job %llx ended as %d, was %d", (unsigned long long)j->id,
                  (int)v.outcome, (int)j->outcome);
    if (j->retried) {
        struct core_event ev = {.kind = EVENT_RESULT,
                                .now_ms = m->now,
                                .client = {VIEW_CLIENT},
                                .u.job.id = {j->id}};

        check_outcome(m, j, view_ask(eyes->core, eyes->arena, &ev));
    }
    if (j->group < 0 && m->now > rules_job_kept_until(j) && !m->behind)
        violation("job %llx is kept past its time by %lld ms",
                  (unsigned long long)j->id,
                  (long long)(m->now - rules_job_kept_until(j)));
}

static void group_forget(struct model *m, int g)
{
    m->groups[g].forgotten = true;
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].group == g)
            return;
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && i != g && !m->groups[i].parent_is_job &&
            m->groups[i].parent == g)
            return;
    m->groups[g].used = false;
}

static void compare_counts(struct model *m, int i, const struct group_view *v)
{
    struct model_group *g = &m->groups[i];
    int64_t queued = 0, running = 0, others = 0;

    for (int k = 0; k < m->njobs; k++) {
        const struct model_job *j = &m->jobs[k];

        if (!rules_job_live(j) || j->group != i)
            continue;
        if (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED)
            queued++;
        else if (j->state == MODEL_JOINING || j->state == MODEL_DELIVERING)
            others++;
        else
            running++;
    }
    others += rules_group_live_members(m, i) - queued - running - others;
    if (v->members != g->members || v->queued != queued ||
        v->running < running || v->running > running + others)
        violation("group %llx counts members %lld queued %lld running %lld, "
                  "expected %lld, %lld, %lld to %lld",
                  (unsigned long long)g->id, (long long)v->members,
                  (long long)v->queued, (long long)v->running,
                  (long long)g->members, (long long)queued, (long long)running,
                  (long long)(running + others));
    if (g->murky ? v->ok + v->failed + v->cancelled !=
                       g->ok + g->failed + g->cancelled_members
                 : v->ok != g->ok || v->failed != g->failed ||
                       v->cancelled != g->cancelled_members)
        violation("group %llx counts ok %lld failed %lld cancelled %lld, "
                  "expected %lld, %lld, %lld",
                  (unsigned long long)g->id, (long long)v->ok,
                  (long long)v->failed, (long long)v->cancelled,
                  (long long)g->ok, (long long)g->failed,
                  (long long)g->cancelled_members);
}

static void compare_group(struct model *m, struct model_eyes *eyes, int i)
{
    struct model_group *g = &m->groups[i];
    struct group_view v = rules_group_look(m, eyes, g);

    if (!v.found) {
        if (!g->forgotten && (!g->ended || (m->now < g->ended_at + g->keep &&
                                            !rules_parent_is_gone(m, g))))
            violation("group %llx was lost: ended %d at %lld, keep %lld",
                      (unsigned long long)g->id, g->ended,
                      (long long)g->ended_at, (long long)g->keep);
        group_forget(m, i);
        return;
    }
    if (g->forgotten)
        violation("group %llx came back", (unsigned long long)g->id);
    if (v.ended_state != g->ended || v.outcome != g->outcome ||
        (v.open && g->closed && !(m->behind && g->parent_is_job)) ||
        (v.closed && !g->closed && !g->cancelled))
        violation("group %llx: open %d closed %d ended %d outcome %d, expected "
                  "closed %d ended %d outcome %d",
                  (unsigned long long)g->id, v.open, v.closed, v.ended_state,
                  (int)v.outcome, g->closed, g->ended, (int)g->outcome);
    if (v.fail != g->fail || v.succeed != g->succeed || v.width != g->width ||
        v.opened != g->opened)
        violation(
            "the map of group %llx is wrong: fail %lld (%lld) succeed "
            "%lld (%lld) width %lld (%lld) opened %lld (%lld)",
            (unsigned long long)g->id, (long long)v.fail, (long long)g->fail,
            (long long)v.succeed, (long long)g->succeed, (long long)v.width,
            (long long)g->width, (long long)v.opened, (long long)g->opened);
    if (g->ended && v.ended != g->ended_at)
        violation("group %llx ended at %lld, not %lld",
                  (unsigned long long)g->id, (long long)v.ended,
                  (long long)g->ended_at);
    if (!g->ended && v.deadline != rules_group_deadline(m, i))
        violation("group %llx: deadline %lld, expected %lld",
                  (unsigned long long)g->id, (long long)v.deadline,
                  (long long)rules_group_deadline(m, i));
    if (g->outside && !v.reason.p && !g->ended && !m->behind)
        violation("group %llx is cancelled without a reason",
                  (unsigned long long)g->id);
    /* its policy may have stopped it in the same step */
    if (g->outside && g->has_reason && v.reason.p && !g->deadline_hit &&
        !g->fail_reached && !g->succeed_reached &&
        !reason_matches(true, g->reason, v.reason))
        violation("group %llx is cancelled because of '%.*s', expected '%s'",
                  (unsigned long long)g->id, (int)v.reason.len, v.reason.p,
                  g->reason);
    if (v.reason.p && !g->cancelled && !(g->ended && g->ok < g->succeed))
        violation("group %llx has the reason '%.*s' and nobody cancelled it",
                  (unsigned long long)g->id, (int)v.reason.len, v.reason.p);
    compare_counts(m, i, &v);
}

/* It was submitted between those two; there is one if there are they. */
static bool oldest_fits(const struct node *told, int64_t oldest, int64_t newest)
{
    if (node_is_null(told))
        return newest < 0;
    return node_int(told) >= oldest && node_int(told) <= newest;
}

static void compare_queue(struct model *m, struct model_eyes *eyes, int i)
{
    const struct model_queue *q = &m->queues[i];
    struct core_event ev = {.kind = EVENT_QUEUE_INFO,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.queue.name = str_from(q->name)};
    const struct node *map = view_ask(eyes->core, eyes->arena, &ev);
    int64_t jobs = 0, bytes = 0, delayed = 0, running = 0, joining = 0;
    int64_t producers = 0, oldest = INT64_MAX, newest = -1;

    if (node_is_error(map, CORE_ERR_NOQUEUE)) {
        for (int k = 0; k < m->njobs; k++)
            if (rules_job_live(&m->jobs[k]) && m->jobs[k].queue == i)
                violation("queue %s is gone and its jobs are not", q->name);
        return;
    }
    for (int k = 0; k < m->njobs; k++) {
        const struct model_job *j = &m->jobs[k];

        if (!rules_job_live(j) || j->queue != i)
            continue;
        if (j->state == MODEL_QUEUED || j->state == MODEL_DELAYED) {
            jobs++;
            bytes += j->payload_len;
            delayed += j->state == MODEL_DELAYED;
            if (j->state == MODEL_QUEUED && j->submitted < oldest)
                oldest = j->submitted;
            if (j->state == MODEL_QUEUED && j->submitted > newest)
                newest = j->submitted;
        } else if (j->state == MODEL_JOINING || j->state == MODEL_DELIVERING) {
            joining++;
        } else {
            running++;
        }
    }
    for (int k = 0; k < MODEL_CLIENTS; k++)
        producers += m->clients[k].used &&
                     m->clients[k].request.kind == REQUEST_SUBMIT &&
                     m->clients[k].request.job.queue == i;
    if (node_int(node_get(map, "jobs")) != jobs ||
        node_int(node_get(map, "bytes")) != bytes ||
        node_int(node_get(map, "delayed")) != delayed ||
        node_int(node_get(map, "ready")) + node_int(node_get(map, "parked")) !=
            jobs - delayed ||
        node_int(node_get(map, "running")) < running ||
        node_int(node_get(map, "running")) > running + joining ||
        node_int(node_get(map, "waiting_producers")) != producers ||
        node_int(node_get(map, "max_jobs")) != q->set.max_jobs ||
        node_int(node_get(map, "max_bytes")) != q->set.max_bytes ||
        !oldest_fits(node_get(map, "oldest"), oldest, newest) ||
        node_int(node_get(map, "closed")) != q->closed ||
        node_int(node_get(map, "paused")) != q->paused) {
        char text[1024];

        node_print(map, text, sizeof(text));
        violation("queue %s: %s; expected jobs %lld bytes %lld delayed %lld "
                  "running %lld (joining %lld) producers %lld paused %d",
                  q->name, text, (long long)jobs, (long long)bytes,
                  (long long)delayed, (long long)running, (long long)joining,
                  (long long)producers, q->paused);
    }
}

static void compare_retries(struct model *m, struct model_eyes *eyes)
{
    struct core_stats s;

    core_stats(eyes->core, &s);
    if (s.retried < m->retries || s.retried > m->retries + m->retries_maybe)
        violation("the core counts %llu retries, expected %llu, and perhaps "
                  "%llu more",
                  (unsigned long long)s.retried, (unsigned long long)m->retries,
                  (unsigned long long)m->retries_maybe);
    m->retries = s.retried;
    m->retries_maybe = 0;
}

/* `say` ends the run when they differ. */
static bool compare_stats(const struct model *m, struct model_eyes *eyes,
                          bool say)
{
    int64_t n[MODEL_ENDED + 1] = {0};
    struct core_stats s;
    bool equal;

    core_stats(eyes->core, &s);
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used)
            n[m->jobs[i].state]++;
    equal =
        s.delayed == n[MODEL_DELAYED] &&
        s.ready + s.parked == n[MODEL_QUEUED] &&
        s.running + s.cancelling == n[MODEL_RUNNING] + n[MODEL_CANCELLING] &&
        (m->behind ? s.cancelling <= n[MODEL_CANCELLING]
                   : s.cancelling == n[MODEL_CANCELLING]) &&
        s.joining == n[MODEL_JOINING] && s.delivering == n[MODEL_DELIVERING] &&
        s.finished == n[MODEL_ENDED];
    if (equal || !say)
        return equal;
    violation("the core counts delayed %lld queued %lld running %lld "
              "cancelling %lld joining %lld finished %lld, expected %lld "
              "%lld %lld %lld %lld %lld",
              (long long)s.delayed, (long long)(s.ready + s.parked),
              (long long)s.running, (long long)s.cancelling,
              (long long)s.joining, (long long)s.finished,
              (long long)n[MODEL_DELAYED], (long long)n[MODEL_QUEUED],
              (long long)n[MODEL_RUNNING], (long long)n[MODEL_CANCELLING],
              (long long)n[MODEL_JOINING], (long long)n[MODEL_ENDED]);
}

static uint64_t member_seq(const struct model *m, int group,
                           const struct node *map)
{
    bool is_job = str_eq(node_str(node_get(map, "kind")), STR("job"));
    uint64_t id = node_id(node_get(map, "id"), is_job ? 'j' : 'g');
    int i = is_job ? model_job_find(m, id) : model_group_find(m, id);

    if (i < 0 || (is_job ? m->jobs[i].group : m->groups[i].parent) != group)
        violation("GROUP RESULTS lists %llx, which is no member",
                  (unsigned long long)id);
    if (view_outcome_read(node_get(map, "outcome")) !=
        (is_job ? m->jobs[i].outcome : m->groups[i].outcome))
        violation("GROUP RESULTS gives member %llx a wrong outcome",
                  (unsigned long long)id);
    return is_job ? m->jobs[i].submit_seq : m->groups[i].submit_seq;
}

/* All members, in order of submission; with errors_only the failed ones. */
static void compare_results(struct model *m, struct model_eyes *eyes, int i,
                            bool errors_only)
{
    struct core_event ev = {.kind = EVENT_GROUP_RESULTS,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.group = {.id = {m->groups[i].id},
                                        .count = 10000,
                                        .errors_only = errors_only}};
    const struct node *page =
        view_read(eyes->core, eyes->arena, &ev, &eyes->records);
    const struct node *entries = node_item(page, 1);
    /* members of a group that has ended make room for others */
    bool short_of_room =
        m->groups[i].ended && rules_may_be_evicted(m, m->retained);
    uint32_t expected = 0, inside = 0;
    uint64_t last = 0;

    for (int k = 0; k < m->njobs; k++)
        if (m->jobs[k].used && m->jobs[k].group == i &&
            (!errors_only || m->jobs[k].outcome == VIEW_FAILED))
            (*(short_of_room ? &inside : &expected))++;
    for (int k = 0; k < m->ngroups; k++)
        expected += m->groups[k].used && !m->groups[k].forgotten &&
                    !m->groups[k].parent_is_job && m->groups[k].parent == i &&
                    (!errors_only || m->groups[k].outcome == VIEW_FAILED);
    for (int k = 0; k < m->ngroups; k++)
        /* One with failures somewhere inside may be listed, too; some of what
         * is inside may be forgotten. */
        inside += m->groups[k].used && !m->groups[k].forgotten &&
                  !m->groups[k].parent_is_job && m->groups[k].parent == i &&
                  m->groups[k].outcome != VIEW_FAILED && errors_only &&
                  (m->groups[k].failed_inside || m->groups[k].has_groups);
    for (uint32_t k = 0; k < entries->v.count; k++) {
        uint64_t seq = member_seq(m, i, node_item(entries, k));

        if (seq <= last)
            violation("GROUP RESULTS is not in order of submission");
        last = seq;
    }
    if (entries->v.count < expected || entries->v.count > expected + inside) {
        char text[600];

        node_print(entries, text, sizeof(text));
        violation("GROUP RESULTS of %llx%s has %u entries, expected %u: %s",
                  (unsigned long long)m->groups[i].id,
                  errors_only ? " ERRORS" : "", entries->v.count, expected,
                  text);
    }
}

/* Is it the turn of number `i`, when one in `of` is looked at in a step? */
static bool turn(const struct model *m, int i, uint64_t of)
{
    return (m->step + (uint64_t)i) % of == 0;
}

static bool group_is_due(const struct model *m, int g)
{
    const struct model_group *group = &m->groups[g];

    return group->ended && m->now >= group->ended_at + group->keep;
}

/* It may have been forgotten by now. */
static bool job_is_due(const struct model *m, const struct model_job *j)
{
    return m->now >= rules_job_kept_until(j) ||
           (j->group >= 0 && group_is_due(m, j->group));
}

static bool job_has_turn(const struct model *m, int i, bool all)
{
    const struct model_job *j = &m->jobs[i];

    if (!j->used)
        return false;
    if (j->state == MODEL_ENDED)
        return all || job_is_due(m, j) || turn(m, i, 16);
    return all || turn(m, i, 4);
}

static bool group_has_turn(const struct model *m, int i, bool all)
{
    const struct model_group *g = &m->groups[i];

    if (!g->used)
        return false;
    if (g->ended)
        return all || group_is_due(m, i) || turn(m, i, 16);
    return all || turn(m, i, 4);
}

void model_compare(struct model *m, struct model_eyes *eyes, bool all)
{
    size_t len = eyes->arena->len, bytes = eyes->arena->bytes.len;

    m->retained = rules_retained(m);
    if (m->retained > m->limits.retain_jobs)
        m->crowded = m->step;
#define RELEASE_ARENA() (eyes->arena->len = len, eyes->arena->bytes.len = bytes)
    for (int i = 0; i < m->njobs; i++)
        if (job_has_turn(m, i, all)) {
            compare_job(m, eyes, &m->jobs[i]);
            RELEASE_ARENA();
        }
    for (int i = 0; i < m->ngroups; i++)
        if (group_has_turn(m, i, all)) {
            compare_group(m, eyes, i);
            RELEASE_ARENA();
        }
    for (int i = 0; i < MODEL_QUEUES; i++)
        if (m->queues[i].used && (all || turn(m, i, 4))) {
            compare_queue(m, eyes, i);
            RELEASE_ARENA();
        }
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].forgotten &&
            turn(m, i, all ? 8 : 128)) {
            compare_results(m, eyes, i, m->step % 256 < 128);
            RELEASE_ARENA();
        }
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].forgotten &&
            turn(m, i, all ? 16 : 128)) {
            errors_compare(m, eyes, false, i);
            RELEASE_ARENA();
        }
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].body_ended &&
            turn(m, i, all ? 64 : 512)) {
            if (rules_job_look(m, eyes, &m->jobs[i]).found)
                errors_compare(m, eyes, true, i);
            RELEASE_ARENA();
        }
    while (m->njobs > 0 && !m->jobs[m->njobs - 1].used)
        m->njobs--;
    while (m->ngroups > 0 && !m->groups[m->ngroups - 1].used)
        m->ngroups--;
    limits_compare(m, eyes);
    compare_retries(m, eyes);
    RELEASE_ARENA();
    if (turn(m, 0, all ? 4 : 32)) {
        dead_compare(m, eyes);
        RELEASE_ARENA();
    }
#undef RELEASE_ARENA
    if (!compare_stats(m, eyes, all)) { /* where? */
        model_compare(m, eyes, true);
        return;
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used &&
            core_blocked(eyes->core, (struct client_id){m->clients[i].id}) !=
                model_blocked(m, m->clients[i].id))
            violation("client %llu: the core says blocked %d",
                      (unsigned long long)m->clients[i].id,
                      !model_blocked(m, m->clients[i].id));
}
