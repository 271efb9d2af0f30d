/* SPDX-License-Identifier: BSD-2-Clause */
#include "parts.h"

void model_init(struct model *m, const struct core_limits *limits)
{
    memset(m, 0, sizeof(*m));
    m->limits = *limits;
}

int model_job_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < m->njobs; i++)
        if (m->jobs[i].used && m->jobs[i].id == id)
            return i;
    return -1;
}

int model_group_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && m->groups[i].id == id)
            return i;
    return -1;
}

int model_client_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used && m->clients[i].id == id)
            return i;
    return -1;
}

int model_session_find(const struct model *m, uint64_t id)
{
    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].used && m->sessions[i].id == id)
            return i;
    return -1;
}

void model_bytes(char *to, size_t len, uint32_t tag)
{
    for (size_t i = 0; i < len; i++, tag = tag * 1664525 + 1013904223)
        to[i] = (char)(tag >> 24);
}

bool model_bytes_match(struct str s, int64_t len, uint32_t tag)
{
    char want[512];

    if ((int64_t)s.len != len || s.len > sizeof(want))
        return false;
    model_bytes(want, s.len, tag);
    return memcmp(want, s.p, s.len) == 0;
}

struct model_client *model_client_get(struct model *m, uint64_t id)
{
    int i = model_client_find(m, id);

    for (int k = 0; i < 0 && k < MODEL_CLIENTS; k++)
        if (!m->clients[k].used)
            i = k;
    ASSERT(i >= 0);
    if (!m->clients[i].used)
        m->clients[i] =
            (struct model_client){.used = true, .id = id, .session = -1};
    return &m->clients[i];
}

int model_queue_find(const struct model *m, struct str name)
{
    for (int i = 0; i < MODEL_QUEUES; i++)
        if (m->queues[i].used && str_eq(str_from(m->queues[i].name), name))
            return i;
    return -1;
}

int model_queue_get(struct model *m, struct str name)
{
    int i = model_queue_find(m, name);

    for (int k = 0; i < 0 && k < MODEL_QUEUES; k++)
        if (!m->queues[k].used)
            i = k;
    ASSERT(i >= 0 && name.len < sizeof(m->queues[i].name));
    if (!m->queues[i].used) {
        m->queues[i] =
            (struct model_queue){.used = true, .set = m->limits.queue_defaults};
        memcpy(m->queues[i].name, name.p, name.len);
    }
    return i;
}

/* It has waited for room in the next queue, and has gone on in this step. */
static bool went_on(const struct model *m, const struct model_job *j)
{
    return j->delivery && j->delivery <= m->began;
}

/* `before`: what came back to the queue in this step does not count. `ended`:
 * what ended in it in this step does: without having been started, or as its
 * result found room elsewhere, which another may have come in before. */
static bool has_room(const struct model *m, int queue, int64_t len, bool before,
                     bool ended)
{
    int64_t jobs = 0, bytes = 0;

    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (!j->used || j->queue != queue ||
            (j->state != MODEL_QUEUED && j->state != MODEL_DELAYED &&
             j->state != MODEL_DELIVERING &&
             !(ended && j->state == MODEL_ENDED && j->end_step == m->step &&
               (j->body == BODY_NONE || went_on(m, j)))))
            continue;
        if (before &&
            (j->state == MODEL_DELIVERING ? j->delivery > m->began
                                          : j->again_step >= m->since))
            continue;
        jobs++;
        bytes += j->payload_len;
    }
    return jobs < m->queues[queue].set.max_jobs &&
           bytes + len <= m->queues[queue].set.max_bytes;
}

bool model_queue_has_room(const struct model *m, int queue, int64_t len)
{
    return has_room(m, queue, len, false, false);
}

bool model_queue_had_place(const struct model *m, int queue, int64_t len)
{
    return has_room(m, queue, len, true, false);
}

bool model_queue_was_full(const struct model *m, int queue, int64_t len)
{
    return !has_room(m, queue, len, false, true);
}

bool model_queue_had_room(const struct model *m, int queue, int64_t len)
{
    return has_room(m, queue, len, true, false) &&
           !ends_delivery_waits(m, queue, m->began + 1);
}

int model_job_slot(struct model *m)
{
    int i = 0;

    while (i < m->njobs && m->jobs[i].used)
        i++;
    ASSERT(i < MODEL_JOBS);
    if (i == m->njobs)
        m->njobs++;
    return i;
}

int model_group_slot(struct model *m)
{
    int i = 0;

    while (i < m->ngroups && m->groups[i].used)
        i++;
    ASSERT(i < MODEL_GROUPS);
    if (i == m->ngroups)
        m->ngroups++;
    return i;
}

bool model_blocked(const struct model *m, uint64_t client)
{
    int i = model_client_find(m, client);

    return i >= 0 && m->clients[i].request.kind != REQUEST_NONE;
}

bool model_at_rest(const struct model *m)
{
    for (int i = 0; i < m->njobs; i++)
        if (rules_job_live(&m->jobs[i]))
            return false;
    for (int i = 0; i < m->ngroups; i++)
        if (m->groups[i].used && !m->groups[i].ended)
            return false;
    return true;
}

/* Any order that makes sense will do: a fetch makes room for a submit, and the
 * submitted job may be fetched in the same step. */
static void replies_match(struct model *m, struct model_eyes *eyes,
                          struct model_reply *replies, size_t n)
{
    char why[128] = "";
    bool progress, late = false;

    do {
        progress = false;
        for (size_t i = 0; i < n; i++) {
            uint32_t at = replies[i].at;

            if (replies[i].done)
                continue;
            replies[i].done = answers_take(m, eyes, &replies[i], why);
            progress |= replies[i].done || replies[i].at > at;
            /* what was handed out may have made room */
            if (replies[i].done) {
                rules_settle(m, eyes);
                late = m->stumped = false;
            }
        }
        if (!progress && !late) { /* what waited may have come too late */
            late = progress = true;
            rules_time(m, eyes);
        } else if (!progress && !m->stumped) {
            m->stumped = progress = true;
        }
        if (rules_settle(m, eyes)) {
            late = false; /* what went on in a circle may be due at once */
            progress = true;
        }
    } while (progress);
    for (size_t i = 0; i < n; i++)
        if (!replies[i].done)
            violation("%s", why);
    m->stumped = true;
}

/* A job that this fetch could get; 0: none. One that waited for a payload alone
 * may be answered empty before something comes in in the same step. */
static uint64_t job_for(const struct model *m, const struct model_request *r)
{
    bool early = r->answered && r->wait_ms == 0 && r->step < m->since;

    for (int i = 0; i < m->njobs; i++)
        if (job_can_start(m, &m->jobs[i], true) &&
            fetch_place(r, m->jobs[i].queue) >= 0 &&
            !(early && m->jobs[i].ready_step >= m->since))
            return m->jobs[i].id;
    return 0;
}

/* A job whose cancel the client must be told of; 0: none. What a step asks for
 * may come after an empty answer of the same step: the next FETCH is told. */
static uint64_t notice_for(const struct model *m, const struct model_client *c)
{
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (j->used && j->state == MODEL_CANCELLING && j->notice_due &&
            j->session == c->session &&
            !(c->request.answered &&
              (j->asked_step == m->step || j->cancelled_step == m->step)))
            return j->id;
    }
    return 0;
}

/* Nobody may wait for what is there. */
static void check_waiting(struct model *m, struct model_client *c)
{
    struct model_request *r = &c->request;
    int i;

    if (r->kind != REQUEST_NONE && r->until <= m->now && !r->answered &&
        !(m->loading && r->kind == REQUEST_FETCH && r->wait_ms == 0))
        violation("client %llu waits past its time", (unsigned long long)c->id);
    switch (r->kind) {
    case REQUEST_NONE:
        break;
    case REQUEST_SUBMIT:
        if (!r->answered && submit_key_leads(m, r, NULL))
            violation("a submit of client %llu waits although job of its key "
                      "is there",
                      (unsigned long long)c->id);
        if (!r->answered && submit_is_head(m, c) && !m->disk_narrow &&
            !ends_delivery_waits(m, r->job.queue, UINT64_MAX) && !m->draining &&
            model_queue_has_room(m, r->job.queue, r->job.payload_len))
            violation("a submit of client %llu waits although there is room",
                      (unsigned long long)c->id);
        break;
    case REQUEST_FETCH:
        /* What is left of an earlier event may come after an empty answer. */
        if (r->answered && (!r->idle || m->since < m->step))
            break;
        /* Who gets an answer is not told that there is nothing. */
        if (r->count > 0 &&
            !(r->idle && m->limits.step_work < MODEL_JOBS &&
              fetch_is_crowded(m, r)) &&
            (r->answered ? !m->put_off : !m->loading) && job_for(m, r))
            violation("client %llu waits for a job although %llx could start",
                      (unsigned long long)c->id,
                      (unsigned long long)job_for(m, r));
        if (await_due(m, c))
            violation("client %llu was not told of the end of %llx",
                      (unsigned long long)c->id,
                      (unsigned long long)await_due(m, c));
        if (notice_for(m, c))
            violation("client %llu was not told of the cancel of job %llx",
                      (unsigned long long)c->id,
                      (unsigned long long)notice_for(m, c));
        break;
    case REQUEST_RESULT:
        i = model_job_find(m, r->id);
        if (!r->answered && (i < 0 || m->jobs[i].state == MODEL_ENDED))
            violation("client %llu waits for a job that has ended",
                      (unsigned long long)c->id);
        break;
    case REQUEST_READY:
        i = model_job_find(m, r->id);
        if (!r->answered && (i < 0 || m->jobs[i].state == MODEL_ENDED ||
                             rules_job_is_ready(&m->jobs[i])))
            violation("client %llu waits for a job that is ready or has ended",
                      (unsigned long long)c->id);
        break;
    case REQUEST_JOIN:
        if (!r->answered && !queue_is_unfinished(m, r->queues[0]))
            violation("client %llu waits for a queue that is finished",
                      (unsigned long long)c->id);
        break;
    case REQUEST_PURGE:
        if (!r->answered)
            violation("client %llu waits for a purge that has happened",
                      (unsigned long long)c->id);
        break;
    case REQUEST_RETRY:
        if (!r->answered && !m->loading)
            violation("client %llu waits for a payload that nobody reads",
                      (unsigned long long)c->id);
        break;
    case REQUEST_GROUP_WAIT:
    case REQUEST_NEXT:
        i = model_group_find(m, r->id);
        if (!r->answered && (i < 0 || m->groups[i].ended))
            violation("client %llu waits for a group that has ended",
                      (unsigned long long)c->id);
        break;
    }
}

/* A result must not wait for room that is there. */
static void check_deliveries(const struct model *m, struct model_eyes *eyes)
{
    for (int i = 0; i < m->njobs; i++) {
        const struct model_job *j = &m->jobs[i];

        if (!j->used || j->state != MODEL_DELIVERING)
            continue;
        if (view_job(eyes->core, eyes->arena, m->now, j->id).state !=
            VIEW_DELIVERING)
            violation("the result of job %llx went on without room or turn",
                      (unsigned long long)j->id);
        if (!m->behind && !m->disk_full && !m->draining &&
            !ends_delivery_waits(m, j->then[0], j->delivery) &&
            model_queue_has_room(m, j->then[0], j->result_len))
            violation("the result of job %llx waits although there is room",
                      (unsigned long long)j->id);
    }
    if (!m->behind && !m->disk_full && !m->draining)
        circles_check(m);
}

static void event_subject(struct model *m, const struct core_event *ev)
{
    int i = model_client_find(m, ev->client.n);

    m->reported = 0;
    m->stopped = ev->kind == EVENT_CANCEL && ev->u.cancel.is_job
                     ? ev->u.cancel.job.n
                     : 0;
    m->moved = ev->kind == EVENT_RESCHEDULE && ev->u.reschedule.is_job
                   ? ev->u.reschedule.job.n
                   : 0;
    m->purged = -1;
    m->emptied = ev->kind == EVENT_QUEUE_PURGE ||
                         (ev->kind == EVENT_QUEUE_CLOSE && ev->u.queue.closed &&
                          ev->u.queue.at_once)
                     ? model_queue_find(m, ev->u.queue.name)
                     : -1;
    m->leaving = -1;
    if (ev->kind == EVENT_DONE || ev->kind == EVENT_FAIL ||
        ev->kind == EVENT_RELEASE)
        m->reported = ev->u.report.token.job.n;
    if (ev->kind == EVENT_DISCONNECT && i >= 0)
        m->leaving = m->clients[i].session;
}

static bool stops_a_purge(const struct model *m, const struct core_event *ev)
{
    int i = model_client_find(m, ev->client.n);

    return ev->kind == EVENT_DISCONNECT && i >= 0 &&
           m->clients[i].request.kind == REQUEST_PURGE;
}

/* What is left to do of the cancel of a group may end it in the very step that
 * closes it: by the numbers that it was closed with. */
static void close_cancelled(struct model *m, const struct core_event *ev,
                            const struct model_reply *replies, size_t n)
{
    int i = ev->kind == EVENT_GROUP_CLOSE && ev->u.group.policy
                ? model_group_find(m, ev->u.group.id.n)
                : -1;
    struct model_group *g = i < 0 ? NULL : &m->groups[i];

    if (!g)
        return;
    /* As this step began: what times do in it comes after the event. */
    g->body_done =
        g->parent_is_job && m->jobs[g->parent].state == MODEL_JOINING;
    if (!g->cancelled || g->closed || g->ended)
        return;
    for (size_t r = 0; r < n; r++)
        if (replies[r].client == ev->client.n &&
            replies[r].n->v.kind == VALUE_OK)
            ends_policy(&m->groups[i], ev->u.group.fail, ev->u.group.succeed);
}

void model_step(struct model *m, struct model_eyes *eyes,
                const struct core_event *ev, struct model_reply *replies,
                size_t nreplies)
{
    m->now = ev->now_ms;
    m->loading = eyes->loading;
    m->put_off = eyes->put_off;
    m->step++;
    m->stumped = false;
    if (ev->kind == EVENT_CLOCK)
        sessions_set_clock(m, ev->u.shift_ms);
    if (ev->kind == EVENT_START || ev->kind == EVENT_CLOCK)
        m->jumped = true;
    else if (!m->behind)
        m->jumped = false;
    if (!m->behind) {
        m->since = m->step;
        m->began = m->seq;
        for (int i = 0; i < m->ngroups; i++)
            m->groups[i].was_over = m->groups[i].cancelled ||
                                    m->groups[i].closed || m->groups[i].ended;
    }
    m->behind = core_next_ms(eyes->core) <= m->now;
    event_subject(m, ev);
    close_cancelled(m, ev, replies, nreplies);
    if (ev->kind == EVENT_START || stops_a_purge(m, ev))
        dead_stopped(m, eyes);
    m->early = true;
    rules_time(m, eyes);
    rules_settle(m, eyes);
    m->early = false;
    events_apply(m, eyes, ev, replies, nreplies);
    if (eyes->cut)
        violation("client %llu is cut off and nobody took its session",
                  (unsigned long long)eyes->cut);
    rules_settle(m, eyes);
    replies_match(m, eyes, replies, nreplies);
    rules_time(m, eyes); /* what went on in a circle may be due at once */
    rules_settle(m, eyes);
    check_deliveries(m, eyes);
    ends_in_order(m);
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        struct model_client *c = &m->clients[i];

        if (!c->used)
            continue;
        if (c->request.unblocked && !c->request.answered)
            violation("client %llu waits on although its wait was ended",
                      (unsigned long long)c->id);
        if (!m->behind)
            check_waiting(m, c);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        if (m->clients[i].used && m->clients[i].request.answered)
            m->clients[i].request = (struct model_request){0};
}

void model_restart(struct model *m, int64_t now)
{
    sessions_restart(m, now);
    m->now = now;
    m->disk_narrow = m->disk_full = m->draining = false;
    m->restarted = true;
    m->retries = m->retries_maybe = 0;
    for (int i = 0; i < MODEL_CLIENTS; i++)
        m->clients[i].used = false;
    limits_restart(m);
    memset(m->turns, 0, sizeof(m->turns));
    for (int i = 0; i < m->njobs; i++) {
        struct model_job *j = &m->jobs[i];

        if (j->ahead)
            j->loose = true;
        j->ahead = false;
        j->notice_may = true;
        j->purging = false;
    }
}
