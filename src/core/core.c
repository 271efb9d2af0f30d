/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core - one step: an event comes in, records and replies go out.
 *
 * What an event leads to and may be much is not done where it is found but put
 * on a list, and worked off at the end of the step and in EVENT_TICKs, so many
 * units of each kind in one step; what an earlier step has left is for ticks
 * alone, or a thousand requests would do it all at once. Cancels spread through
 * the members of a group, jobs go to waiting workers, ended groups are
 * forgotten. So nothing is re-entered, the stack is flat, and neither a pause
 * of the loop nor an entry of the store grows with the number of jobs. What is
 * recorded is a level: a member that a cancel has not reached yet cannot start
 * (group_cancelled).
 */
#include "core/core.h"

#include <stdarg.h>

#include "core/arrivals.h"
#include "core/attempt.h"
#include "core/await.h"
#include "core/dead.h"
#include "core/deadline.h"
#include "core/deliver.h"
#include "core/drain.h"
#include "core/errors.h"
#include "core/full.h"
#include "core/group.h"
#include "core/image.h"
#include "core/image_apply.h"
#include "core/image_errors.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/line.h"
#include "core/members.h"
#include "core/news.h"
#include "core/once.h"
#include "core/output.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/retain.h"
#include "core/segment.h"
#include "core/show.h"
#include "core/submit.h"
#include "core/waiter.h"
#include "core/worker.h"

/* ----------------------------------------------------------------- effects */

void core_effects_init(struct core_effects *e)
{
    *e = (struct core_effects){0};
    buf_init(&e->records);
    buf_init(&e->values);
}

void core_effects_reset(struct core_effects *e)
{
    e->len = 0;
    buf_reset(&e->records);
    buf_reset(&e->values);
}

void core_effects_clear(struct core_effects *e)
{
    mem_free(e->list);
    buf_clear(&e->records);
    buf_clear(&e->values);
    core_effects_init(e);
}

struct core_effect *effect_add(struct core_effects *e,
                               enum core_effect_kind kind)
{
    if (e->len == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->list = mem_realloc(e->list, mem_mul(e->cap, sizeof(*e->list)));
    }
    e->list[e->len] = (struct core_effect){.kind = kind};
    return &e->list[e->len++];
}

struct buf *reply_begin(struct core *c, struct client_id client)
{
    struct core_effect *e = effect_add(c->out, EFFECT_REPLY);

    e->client = client;
    e->at = c->out->values.len;
    return &c->out->values;
}

void reply_end(struct core *c)
{
    struct core_effect *e = &c->out->list[c->out->len - 1];

    ASSERT(e->kind == EFFECT_REPLY);
    e->len = c->out->values.len - e->at;
    /* What the daemon asks for itself is not answered. */
    if (e->client.n == 0)
        c->out->len--;
}

void reply_ok(struct core *c, struct client_id client)
{
    value_ok(reply_begin(c, client));
    reply_end(c);
}

void reply_null(struct core *c, struct client_id client)
{
    value_null(reply_begin(c, client));
    reply_end(c);
}

void reply_error(struct core *c, struct client_id client, enum core_error code,
                 const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    value_error(reply_begin(c, client), (uint32_t)code, "%s", text);
    reply_end(c);
}

void core_cut(struct core *c, struct client_id client)
{
    effect_add(c->out, EFFECT_CUT)->client = client;
}

/* ------------------------------------------------------------------ finding */

struct job *find_job(struct core *c, struct job_id id)
{
    struct map_node *n = map_find(&c->jobs, id.n);

    return n ? container_of(n, struct job, node) : NULL;
}

struct job *find_job_or_reply(struct core *c, struct client_id client,
                              struct job_id id)
{
    struct job *j = find_job(c, id);

    if (!j)
        reply_error(c, client, CORE_ERR_NOJOB,
                    "no such job: never existed, or forgotten after its keep");
    return j;
}

struct group *find_group(struct core *c, struct group_id id)
{
    struct map_node *n;

    if (id.n == 0)
        return &c->root;
    n = map_find(&c->groups, id.n);
    return n ? container_of(n, struct group, node) : NULL;
}

struct group *find_group_or_reply(struct core *c, struct client_id client,
                                  struct group_id id)
{
    struct group *g = find_group(c, id);

    if (!g)
        reply_error(c, client, CORE_ERR_NOGROUP,
                    "no such group: never existed, or forgotten after its "
                    "keep");
    return g;
}

/* Bounds may have become lower since, and what made room for others has come
 * back with the replay. */
static void bounds_enforce(struct core *c)
{
    struct list *first;

    while (retain_enforce(c))
        continue;
    while (c->ngroups + c->nended > c->limits.groups_max &&
           (first = list_first(&c->ended_groups))) {
        struct group *g = list_entry(first, struct group, link);

        if (!c->disk_full)
            group_record_forget(c, g);
        group_forget_now(c, g);
    }
}

/* -------------------------------------------------------------------- work */

bool core_work(struct core *c)
{
    return !full_is_spent(c) && core_work_unrecorded(c);
}

bool core_work_unrecorded(struct core *c)
{
    if (c->work <= 0 || buf_size(&c->out->records) > STEP_RECORDS ||
        c->out->values.len > STEP_VALUES)
        return false;
    c->work--;
    return true;
}

static void work_cancels(struct core *c)
{
    c->work = c->limits.step_work;
    while (!list_empty(&c->run_sweeps) && core_work(c))
        attempt_sweep(
            c, list_entry(list_first(&c->run_sweeps), struct run, sweep));
    while (!list_empty(&c->sweeps) && core_work(c))
        group_sweep(c, list_entry(list_first(&c->sweeps), struct group, sweep));
    while (!list_empty(&c->emptying) && core_work(c))
        drain_slice(
            c, list_entry(list_first(&c->emptying), struct queue, emptying));
    while (!list_empty(&c->dead_purges) && core_work(c))
        dead_purge_slice(
            c, list_entry(list_first(&c->dead_purges), struct waiter, link));
}

static bool queue_work_left(const struct core *c)
{
    return !list_empty(&c->wakes) || !list_empty(&c->limiter_wakes) ||
           !list_empty(&c->left);
}

static void work_queues(struct core *c)
{
    c->work = c->limits.step_work;
    while (!list_empty(&c->noticed) && core_work_unrecorded(c))
        session_serve(
            c, list_entry(list_first(&c->noticed), struct session, noticed));
    /* What one of these does may be work for the others. */
    while (queue_work_left(c) && core_work_unrecorded(c)) {
        if (!list_empty(&c->left))
            line_unattended(
                c, list_entry(list_first(&c->left), struct queue, left));
        else if (!list_empty(&c->limiter_wakes))
            line_serve(c, list_entry(list_first(&c->limiter_wakes),
                                     struct limiter, wake));
        else
            queue_serve(c,
                        list_entry(list_first(&c->wakes), struct queue, wake));
    }
}

static void work_rest(struct core *c)
{
    c->work = c->limits.step_work;
    while (!list_empty(&c->forgetting) && core_work_unrecorded(c))
        group_forget(
            c, list_entry(list_first(&c->forgetting), struct group, sweep));
    while (c->images_next < c->queue_count && core_work(c))
        queue_write_image(c, c->images_next++);
    if (c->images_next >= c->queue_count)
        c->images_next = UINT32_MAX; /* those made from now on have one */
    while (c->limiter_images_next < c->limiter_count && core_work(c))
        limiter_write_image(c, c->limiter_images_next++);
    if (c->limiter_images_next >= c->limiter_count)
        c->limiter_images_next = UINT32_MAX;
    while (once_images_left(c) && core_work(c))
        once_write_image(c);
    image_write_rest(c);
}

bool core_images_left(const struct core *c)
{
    return c->images_next < c->queue_count ||
           c->limiter_images_next < c->limiter_count || once_images_left(c);
}

static bool recording_left(const struct core *c)
{
    return !list_empty(&c->run_sweeps) || !list_empty(&c->sweeps) ||
           !list_empty(&c->emptying) || !list_empty(&c->dead_purges) ||
           core_images_left(c) ||
           (image_may_go_on(c) &&
            (!list_empty(&c->imaging) || !list_empty(&c->imaging_jobs)));
}

static bool work_left(const struct core *c)
{
    return !list_empty(&c->noticed) || queue_work_left(c) ||
           !list_empty(&c->forgetting) ||
           (!full_is_spent(c) && recording_left(c));
}

int64_t core_next_ms(const struct core *c)
{
    return work_left(c) ? c->now_ms : timers_next(c);
}

/* ----------------------------------------------------------------- records */

const char *core_apply(struct core *c, const struct record *r)
{
    switch (r->type) {
    case RECORD_QUEUE:
        return queue_apply(c, r);
    case RECORD_JOB:
    case RECORD_START:
    case RECORD_ASK:
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_READY:
    case RECORD_SHIELD:
    case RECORD_CLEAR:
    case RECORD_DELIVER:
        return job_apply(c, r);
    case RECORD_GROUP:
    case RECORD_GROUP_CLOSE:
    case RECORD_GROUP_CANCEL:
    case RECORD_GROUP_END:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
        return group_apply(c, r);
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
        return deadline_apply(c, r);
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
        return limiter_apply(c, r);
    case RECORD_SESSION:
        return once_apply_image(c, r);
    case RECORD_JOB_IMAGE:
        return image_apply_job(c, r);
    case RECORD_GROUP_IMAGE:
        return image_apply_group(c, r);
    case RECORD_GROUP_IDS:
        return image_apply_ids(c, r);
    case RECORD_JOB_ERRORS:
        return image_errors_apply(c, r);
    }
    BUG("unknown record");
}

/* Pauses and doors of queues are told where they change: their images are also
 * written when nothing does. */
static void tell(struct core *c, const struct record *r)
{
    switch (r->type) {
    case RECORD_JOB:
    case RECORD_START:
    case RECORD_ASK:
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_READY:
    case RECORD_SHIELD:
    case RECORD_CLEAR:
    case RECORD_DELIVER:
    case RECORD_RESCHEDULE:
        news_of_job(c, r);
        return;
    case RECORD_GROUP:
    case RECORD_GROUP_CLOSE:
    case RECORD_GROUP_CANCEL:
    case RECORD_GROUP_END:
    case RECORD_GROUP_TIME:
        news_of_group(c, r);
        return;
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
    case RECORD_QUEUE:
    case RECORD_LIMITER:
    case RECORD_LIMITER_DELETE:
    case RECORD_SESSION:
    case RECORD_JOB_IMAGE:
    case RECORD_GROUP_IMAGE:
    case RECORD_GROUP_IDS:
    case RECORD_JOB_ERRORS:
        return;
    }
    BUG("unknown record");
}

void core_record(struct core *c, const struct record *r)
{
    size_t before = buf_size(&c->out->records);
    const char *wrong;

    if (before == 0)
        effect_add(c->out, EFFECT_RECORD);
    record_encode(&c->out->records, r);
    if (UNLIKELY(c->disk_full))
        c->room -= (int64_t)(buf_size(&c->out->records) - before) +
                   (before == 0 ? CORE_ENTRY_BYTES : 0);
    wrong = core_apply(c, r);
    if (wrong)
        BUG(wrong);
    if (UNLIKELY(c->news_work > 0))
        tell(c, r);
}

/* -------------------------------------------------------------------- step */

/* Steps leave no group behind that has nothing to wait for, but a journal may
 * have been put together by other means. */
static void settle_groups(struct core *c)
{
    for (struct list *it = c->all_groups.next; it != &c->all_groups;) {
        struct group *g = list_entry(it, struct group, link);

        it = it->next;
        if (g->live > 0 || (!g->closed && g->cause == CAUSE_NONE))
            continue;
        group_settle(c, g);
        it = c->all_groups.next; /* its parents may have ended, too */
    }
}

/* Nor a job that waits for groups which are not there: those were lost. */
static void settle_joining(struct core *c)
{
    for (struct list *it = c->joining.next; it != &c->joining;) {
        struct job *j = list_entry(it, struct job, link);

        it = it->next;
        if (j->u.run->live_groups > 0)
            continue;
        attempt_child_ended(c, j);
        it = c->joining.next; /* others may have ended with it */
    }
}

static void start(struct core *c)
{
    ASSERT(!c->started);
    c->started = true;
    /* Ids are never reused, even if the journal lost its tail: those of each
     * start begin at the clock. */
    if (c->next_id < (uint64_t)c->now_ms << 20)
        c->next_id = (uint64_t)c->now_ms << 20;
    /* Nor are cursors into logs: nobody prints a MiB in a millisecond. */
    c->outputs_begin = c->printed = c->now_ms << 20;
    /* Everybody was cut off; leases and graces count from now. */
    list_foreach_safe (it, &c->all_sessions) {
        struct session *s = list_entry(it, struct session, link);

        s->seen_ms = s->gone_ms = c->now_ms;
        timer_stop(c, &s->timer);
        session_arm(c, s);
        session_renotify(s);
        list_foreach (ji, &s->held)
            attempt_sweep_begin(c, list_entry(ji, struct job, link)->u.run);
    }
    list_foreach (it, &c->joining)
        attempt_sweep_begin(c, list_entry(it, struct job, link)->u.run);
    settle_joining(c);
    settle_groups(c);
    deliver_start(c);
    list_foreach (it, &c->queues)
        drain_begin(c, list_entry(it, struct queue, link));
    timers_forget_due(c);
    bounds_enforce(c);
}

static void drain(struct core *c, bool on)
{
    c->draining = on;
    list_foreach (it, &c->queues) {
        struct queue *q = list_entry(it, struct queue, link);

        while (on && !list_empty(&q->producers)) {
            struct waiter *w =
                list_entry(list_first(&q->producers), struct waiter, link);

            reply_error(c, w->client->id, CORE_ERR_DRAINING,
                        "the daemon is shutting down");
            waiter_free(c, w);
        }
        queue_wake(c, q);
    }
}

static void unblock(struct core *c, struct client_id id)
{
    struct client *cl = client_find(c, id);

    if (cl && cl->waiter && core_ends_early(c, id))
        waiter_give_up(c, cl->waiter);
}

bool core_ends_early(const struct core *c, struct client_id client)
{
    const struct client *cl = client_find(c, client);

    switch (cl->waiter->kind) {
    case WAIT_SUBMIT:
    case WAIT_PURGE:
    case WAIT_DEAD_PURGE:
    case WAIT_RETRY:
    case WAIT_DEAD_RETRY:
        return false;
    case WAIT_JOB:
    case WAIT_READY:
    case WAIT_LOGS:
    case WAIT_GROUP:
    case WAIT_NEXT:
    case WAIT_JOIN:
        return true;
    case WAIT_FETCH:
        return !cl->waiter->at_once;
    }
    BUG("unknown wait");
}

static void dispatch(struct core *c, const struct core_event *ev)
{
    switch (ev->kind) {
    case EVENT_SUBMIT:
        submit_job(c, ev);
        return;
    case EVENT_STATUS:
        job_status(c, ev);
        return;
    case EVENT_RESULT:
        job_result(c, ev);
        return;
    case EVENT_CANCEL:
        job_cancel_event(c, ev);
        return;
    case EVENT_RESCHEDULE:
        deadline_reschedule(c, ev);
        return;
    case EVENT_RETRY:
        dead_retry(c, ev);
        return;
    case EVENT_LOGS:
        if (ev->u.logs.is_job)
            output_read(c, ev);
        else
            arrivals_read(c, ev);
        return;
    case EVENT_JOBS:
        show_list(c, ev);
        return;
    case EVENT_GROUP_OPEN:
        group_open(c, ev);
        return;
    case EVENT_GROUP_CLOSE:
        group_close_event(c, ev);
        return;
    case EVENT_GROUP_INFO:
        group_info(c, ev);
        return;
    case EVENT_GROUP_NEXT:
        members_next(c, ev);
        return;
    case EVENT_GROUP_RESULTS:
        members_results(c, ev);
        return;
    case EVENT_GROUP_TREE:
        show_tree(c, ev);
        return;
    case EVENT_GROUP_ERRORS:
        errors_page(c, ev);
        return;
    case EVENT_AWAIT:
        await_ask(c, ev);
        return;
    case EVENT_UNAWAIT:
        await_take_back(c, ev);
        return;
    case EVENT_FETCH:
        worker_fetch(c, ev);
        return;
    case EVENT_DONE:
    case EVENT_FAIL:
    case EVENT_RELEASE:
        worker_report(c, ev);
        return;
    case EVENT_TOUCH:
        worker_touch(c, ev);
        return;
    case EVENT_SHIELD:
        attempt_shield(c, ev);
        return;
    case EVENT_UNSHIELD:
        attempt_unshield(c, ev);
        return;
    case EVENT_LOG:
        output_log(c, ev);
        return;
    case EVENT_READY:
        worker_ready(c, ev);
        return;
    case EVENT_QUEUE_LIST:
        queue_list(c, ev);
        return;
    case EVENT_QUEUE_INFO:
        queue_info(c, ev);
        return;
    case EVENT_QUEUE_SET:
        queue_set(c, ev);
        return;
    case EVENT_QUEUE_PAUSE:
        queue_pause(c, ev);
        return;
    case EVENT_QUEUE_CLOSE:
        drain_close(c, ev);
        return;
    case EVENT_QUEUE_JOIN:
        drain_join(c, ev);
        return;
    case EVENT_QUEUE_PURGE:
        drain_purge(c, ev);
        return;
    case EVENT_DEAD_LIST:
        dead_list(c, ev);
        return;
    case EVENT_DEAD_RETRY:
        dead_retry_many(c, ev);
        return;
    case EVENT_DEAD_PURGE:
        dead_purge(c, ev);
        return;
    case EVENT_LIMITER_SET:
        limiter_set(c, ev);
        return;
    case EVENT_LIMITER_INFO:
        limiter_info(c, ev);
        return;
    case EVENT_LIMITER_LIST:
        limiter_list(c, ev);
        return;
    case EVENT_LIMITER_DELETE:
        limiter_delete(c, ev);
        return;
    case EVENT_SESSION:
        worker_session(c, ev);
        return;
    case EVENT_SESSION_RESUME:
        worker_resume(c, ev);
        return;
    case EVENT_ALIVE:
        worker_alive(c, ev);
        return;
    case EVENT_UNBLOCK:
        unblock(c, ev->client);
        return;
    case EVENT_DISCONNECT:
        worker_disconnect(c, ev);
        return;
    case EVENT_START:
        start(c);
        return;
    case EVENT_TICK:
        timers_tick(c);
        return;
    case EVENT_SEGMENT:
        core_segment(c, ev->u.segment);
        return;
    case EVENT_DISK_FULL:
        full_set(c, ev);
        return;
    case EVENT_DRAIN:
        drain(c, ev->u.on);
        return;
    case EVENT_LOAD:
        c->totals.loads++;
        payload_load(c, ev);
        return;
    case EVENT_WATCH:
        c->news_work = ev->u.work;
        return;
    case EVENT_CLOCK:
        timers_shift_waits(c, ev->u.shift_ms);
        sessions_shift(c, ev->u.shift_ms);
        return;
    }
    BUG("unknown event");
}

void core_step(struct core *c, const struct core_event *ev,
               struct core_effects *out)
{
    bool backlog = work_left(c);

    ASSERT(c->started || ev->kind == EVENT_START ||
           ev->kind == EVENT_DISK_FULL);
    c->out = out;
    c->now_ms = max_i64(c->now_ms, ev->now_ms);
    c->random = ev->random;
    c->work = c->limits.step_work;
    buf_reset(&c->written);
    if (PLANTED(SLICE_FORGOTTEN) && backlog && ev->client.n &&
        !list_empty(&c->sweeps))
        list_remove(list_first(&c->sweeps));
    if (LIKELY(!c->disk_full) || full_allows(c, ev))
        dispatch(c, ev);
    if (c->started && work_left(c) && (!backlog || ev->kind == EVENT_TICK)) {
        work_cancels(c);
        work_queues(c);
        work_rest(c);
    }
    segments_trim(c);
    payload_evict(c);
    c->out = NULL;
}

int64_t core_now_ms(const struct core *c)
{
    return c->now_ms;
}

bool core_blocked(const struct core *c, struct client_id client)
{
    const struct client *cl = client_find(c, client);

    return cl && cl->waiter;
}

/* -------------------------------------------------------------------- life */

struct core *core_new(const struct core_limits *limits)
{
    struct core *c = mem_zalloc(sizeof(*c));

    c->limits = *limits;
    map_init(&c->jobs);
    map_init(&c->groups);
    map_init(&c->sessions);
    map_init(&c->clients);
    map_init(&c->queue_names);
    map_init(&c->keys);
    map_init(&c->awaits);
    map_init(&c->limiter_names);
    map_init(&c->needs);
    map_init(&c->lane_map);
    map_init(&c->shares);
    list_init(&c->limiters);
    list_init(&c->lanes);
    list_init(&c->passing);
    list_init(&c->outranked);
    list_init(&c->limiter_wakes);
    list_init(&c->left);
    list_init(&c->queues);
    list_init(&c->all_groups);
    list_init(&c->ended_groups);
    list_init(&c->all_sessions);
    list_init(&c->all_clients);
    list_init(&c->numbered);
    c->numbered_segment = UINT32_MAX;
    list_init(&c->joining);
    list_init(&c->delivering);
    list_init(&c->run_sweeps);
    list_init(&c->sweeps);
    list_init(&c->emptying);
    list_init(&c->dead);
    list_init(&c->dead_purges);
    list_init(&c->retries);
    map_init(&c->loads);
    list_init(&c->loads_asked);
    buf_init(&c->written);
    list_init(&c->noticed);
    list_init(&c->wakes);
    list_init(&c->forgetting);
    list_init(&c->spent);
    list_init(&c->imaging);
    list_init(&c->imaging_jobs);
    list_init(&c->belows);
    buf_init(&c->scratch);
    c->images_next = c->limiter_images_next = UINT32_MAX;
    list_init(&c->outputs);
    buf_init(&c->arrivals);
    heap_init(&c->timers);
    heap_init(&c->waits);
    heap_init(&c->keeps);
    slabs_init(&c->slabs);
    group_init(&c->root);
    c->root.opened_ms = CORE_NONE;
    c->next_id = 1;
    segment_set(c, 0);
    return c;
}

void core_configure(struct core *c, const struct core_limits *limits)
{
    c->limits = *limits;
}

void core_stats(const struct core *c, struct core_stats *out)
{
    *out = c->totals;
    out->queues = c->queue_count;
    out->limiters = c->nlimiters;
    out->groups = c->ngroups;
    out->sessions = c->nsessions;
    out->clients_blocked = c->nblocked;
    out->jobs = (int64_t)c->jobs.len;
    out->delayed = c->state_counts[JOB_DELAYED];
    out->ready = c->state_counts[JOB_READY];
    out->parked = c->state_counts[JOB_PARKED];
    out->running = c->state_counts[JOB_RUNNING];
    out->cancelling = c->state_counts[JOB_CANCELLING];
    out->joining = c->state_counts[JOB_JOINING];
    out->delivering = c->state_counts[JOB_DELIVERING];
    out->finished = c->state_counts[JOB_FINISHED];
    out->dead = c->ndead;
    out->memory_bytes = c->memory;
    out->payload_bytes = c->payload_bytes;
    out->unloaded = c->unloaded;
    out->unloaded_bytes = c->unloaded_bytes;
    out->retained_bytes = c->retained_bytes;
    out->log_bytes = c->log_bytes;
}
