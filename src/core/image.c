/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image - all that is known of a job or a group as one record, so that those it
 * follows from can go.
 *
 * Compaction reads the oldest segment in order and writes an image, to the head
 * of the journal, of what an entry there made known and is still there. The
 * image replaces all records before it; to who knows its entity already it says
 * nothing new. What a group owns is too much for one record: its members, and
 * the order of their ends, follow in records of so many ids each, and until the
 * last of them is written the segment before is held. So do the errors of a job
 * that has many (image_errors.c).
 */
#include "core/image.h"

#include "core/attempt.h"
#include "core/below.h"
#include "core/dead.h"
#include "core/ids.h"
#include "core/image_errors.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/live.h"
#include "core/options.h"
#include "core/payload.h"
#include "core/queue.h"
#include "core/segment.h"
#include "core/worker.h"

static struct str scratch_part(const struct core *c, size_t from, size_t to)
{
    return (struct str){c->scratch.data + from, to - from};
}

static void collect_below(struct core *c, const struct below *below)
{
    for (size_t n = 0; n < below->groups.len; n++) {
        uint64_t id = below->groups.ids[n];

        if (find_group(c, (struct group_id){id & ~ID_GROUP}))
            buf_append(&c->scratch, &id, sizeof(id));
    }
}

static struct str text_or_none(const char *text)
{
    return text ? str_from(text) : (struct str){0};
}

static void take_extra(struct core *c, const struct extra *x,
                       struct record_job_image *i)
{
    size_t errors;

    i->errors_below = x->errors_below;
    i->failures = x->failures;
    i->losses = x->losses;
    i->next = x->next;
    i->retried = x->retried;
    i->dead = x->dead != NULL;
    i->reason = text_or_none(x->reason);
    i->job.name = text_or_none(x->name);
    i->job.then = text_or_none(x->then);
    i->job.not_before_ms = x->not_before_ms;
    if (x->key)
        i->job.key = (struct str){x->key->text, x->key->len};
    if (x->needs)
        needs_write(x->needs, &i->job.needs);
    buf_reset(&c->scratch);
    image_errors_take(c, x, i);
    errors = c->scratch.len;
    if (x->below)
        collect_below(c, x->below);
    if (c->scratch.len == 0)
        return;
    i->errors = scratch_part(c, 0, errors);
    i->below = scratch_part(c, errors, c->scratch.len);
}

static void take_run(const struct run *run, struct record_job_image *i)
{
    i->session = run->session ? run->session->id : 0;
    i->body = run->body;
    i->place = run->place;
    i->shield_ms = run->shield_ms;
    i->grace_ms = run->grace_ms;
    i->asked = run->asked;
    i->verdict = run->verdict;
    i->cancelled = run->cancelled;
    i->cancelled_first = run->cancelled_first;
    i->asked_late = run->asked_late;
    i->child_failed = run->child_failed;
    i->child_cancelled = run->child_cancelled;
    i->run_errors_below = run->errors_below;
    i->is_ready = run->is_ready;
    i->ready = (struct str){run->ready, run->ready_len};
    i->started_ms = run->started_ms;
    i->result = (struct str){run->result, run->result_len};
}

static void take_end(const struct core *c, const struct job *j,
                     struct record_job_image *i)
{
    const struct end *end = j->u.end;

    i->outcome = end->outcome;
    i->body_done = end->body_done;
    i->ended_ms = end->ended_ms;
    i->started_ms = end->started_ms;
    i->result = (struct str){end->result, end->result_len};
    /* Its queue may have been changed since, and the image would follow. */
    if (i->dead && !PLANTED(DEAD_KEPT_ANEW)) {
        int64_t keep_ms = job_kept_until(c, j) - end->ended_ms;

        i->dead_keep_ms = keep_ms == dead_keep_ms(c, j) ? 0 : keep_ms;
    }
}

/* Bytes of what may be much. */
static int64_t large_parts(const struct record_job_image *i)
{
    return (int64_t)(i->job.payload.len + i->errors.len + i->below.len +
                     i->ready.len + i->result.len);
}

static void write_job(struct core *c, struct job *j, struct str payload)
{
    struct record r = {
        .type = RECORD_JOB_IMAGE, .at_ms = c->now_ms, .id = j->node.hash};
    struct record_job_image *i = &r.u.job_image;

    queue_anchor(c, job_queue(j));
    i->state = j->state == JOB_PARKED ? JOB_READY : j->state;
    i->submitted_ms = (int64_t)j->submitted_ms;
    i->attempt = j->attempt;
    i->job.queue = job_queue(j)->id;
    i->job.group = j->group->id;
    i->job.priority = j->priority;
    i->job.payload = payload_is_here(j) ? job_payload(j) : payload;
    i->job.own_options = !options_equal(j->options, job_queue(j)->defaults);
    if (i->job.own_options)
        i->job.options = *j->options;
    if (j->extra)
        take_extra(c, j->extra, i);
    if (i->job.needs.len)
        limiter_write_images(c, &i->job.needs);
    if (j->state == JOB_FINISHED)
        take_end(c, j, i);
    else if (!job_not_started(j))
        take_run(j->u.run, i);
    ASSERT(i->job.payload.len == j->payload_len);
    /* No segment could take it: it stays where it is, and so does all behind
     * it, for as long as it is there. */
    if (large_parts(i) > c->limits.image_max ||
        (i->apart && !image_errors_fit(c, j->extra)))
        return;
    if (PLANTED(IMAGE_SKIPPED) && j->state == JOB_DELAYED)
        segment_move(c, &j->segment, c->segment, live_job_bytes(j));
    else
        core_record(c, &r);
    if (i->apart)
        image_errors_await(c, j, i->apart);
}

/* All of it is written: what was before is not needed any more. */
static void group_written(struct core *c, struct group *g)
{
    list_remove(&g->imaging);
    segment_move(c, &g->segment, g->image_segment, live_group_bytes(g));
}

void image_write_ids(struct core *c, struct group *g)
{
    bool done = g->imaged >= g->members_then;
    const struct id_vector *v = done ? &g->done : &g->members;
    uint64_t at = done ? g->imaged - g->members_then : g->imaged;
    uint64_t n = (done ? g->done_then : g->members_then) - at;
    uint64_t most = (uint64_t)c->limits.image_ids;

    if (n > most)
        n = most;
    core_record(c, &(struct record){
                       .type = RECORD_GROUP_IDS,
                       .at_ms = c->now_ms,
                       .id = g->id,
                       .u.group_ids = {.done = done,
                                       .at = at,
                                       .ids = {(const char *)(v->ids + at),
                                               (size_t)n * sizeof(uint64_t)}}});
    g->imaged += n;
    if (g->imaged == g->members_then + g->done_then)
        group_written(c, g);
}

static void write_group(struct core *c, struct group *g)
{
    struct record r = {
        .type = RECORD_GROUP_IMAGE, .at_ms = c->now_ms, .id = g->id};
    struct record_group_image *i = &r.u.group_image;

    *i = (struct record_group_image){
        .group = {.parent_is_job = g->parent_attempt > 0,
                  .parent = g->parent_id,
                  .parent_attempt = g->parent_attempt,
                  .session = g->owner ? g->owner->id : 0,
                  .fail = g->fail,
                  .succeed = g->succeed,
                  .width = g->width,
                  .deadline_ms = g->deadline_ms,
                  .keep_ms = g->keep_ms,
                  .name = text_or_none(g->name)},
        .depth = g->depth,
        .opened_ms = g->opened_ms,
        .ended_ms = g->ended_ms,
        .cancel_grace_ms = g->cancel_grace_ms,
        .members_total = g->members_total,
        .done_dropped = g->done_dropped,
        .members = g->members.len,
        .done = g->done.len,
        .cause = g->cause,
        .outcome = g->outcome,
        .closed = g->closed,
        .ended = g->ended,
        .read = g->read,
        .failed_inside = g->failed_inside,
        .errors_below = g->errors_below,
        .reason = text_or_none(g->reason),
    };
    if (g->key)
        i->group.key = (struct str){g->key->text, g->key->len};
    for (int o = 0; o < OUTCOMES_COUNT; o++)
        i->by_outcome[o] = g->by_outcome[o];
    core_record(c, &r);
    g->imaged = 0;
    g->members_then = g->members.len;
    g->done_then = g->done.len;
    g->image_segment = c->segment;
    list_push_back(&c->imaging, &g->imaging);
    if (g->members.len + g->done.len == 0)
        group_written(c, g);
}

/* Is it more than a full disk has room for, besides the rest of those that have
 * begun? */
static bool has_no_room(const struct core *c, int64_t bytes)
{
    if (LIKELY(!c->disk_full) || PLANTED(ROOM_UNASKED))
        return false;
    bytes += c->spared;
    list_foreach (it, &c->imaging)
        bytes += live_ids_bytes(list_entry(it, struct group, imaging));
    list_foreach (it, &c->imaging_jobs)
        bytes += list_entry(it, struct imaging, link)->job->extra->error_bytes;
    return bytes > c->room;
}

bool image_write(struct core *c, bool is_group, uint64_t id, uint32_t segment,
                 struct str payload)
{
    struct job *j = is_group ? NULL : find_job(c, (struct job_id){id});
    struct group *g =
        is_group && id ? find_group(c, (struct group_id){id}) : NULL;

    if (j && j->segment <= segment && !(j->extra && j->extra->imaging)) {
        if (has_no_room(c, live_image_bytes(c, j)))
            return false;
        write_job(c, j, payload);
    }
    /* One that is being forgotten would come back by it. */
    if (g && g->segment <= segment && !list_linked(&g->imaging) &&
        !(g->ended && list_linked(&g->sweep))) {
        if (has_no_room(c, live_group_bytes(g) + live_ids_bytes(g)))
            return false;
        write_group(c, g);
    }
    return true;
}

/* Of the record there, if it is in no other place. */
static struct str payload_of(struct core *c, uint64_t id, const char *entry,
                             size_t len, size_t at)
{
    const struct job *j = find_job(c, (struct job_id){id});
    struct record r;

    if (!j || payload_is_here(j) || record_decode(entry, len, &at, &r))
        return (struct str){0};
    return r.type == RECORD_JOB ? r.u.job.payload : r.u.job_image.job.payload;
}

enum core_compacted image_write_next(struct core *c, const char *entry,
                                     size_t len, uint32_t segment, size_t *at)
{
    size_t before = *at;
    bool is_job, is_group;
    uint8_t type;
    uint64_t id;

    if (!record_peek(entry, len, at, &type, &id))
        return CORE_COMPACTED;
    is_job = type == RECORD_JOB || type == RECORD_JOB_IMAGE;
    is_group = type == RECORD_GROUP || type == RECORD_GROUP_IMAGE;
    if ((is_job || is_group) &&
        !image_write(c, is_group, id, segment,
                     is_job ? payload_of(c, id, entry, len, before)
                            : (struct str){0})) {
        *at = before;
        return CORE_COMPACT_ROOM;
    }
    return *at < len ? CORE_COMPACT_MORE : CORE_COMPACTED;
}

void image_write_rest(struct core *c)
{
    while (!list_empty(&c->imaging_jobs) && image_may_go_on(c) && core_work(c))
        image_errors_write(
            c, list_entry(list_first(&c->imaging_jobs), struct imaging, link));
    while (!list_empty(&c->imaging) && image_may_go_on(c) && core_work(c))
        image_write_ids(
            c, list_entry(list_first(&c->imaging), struct group, imaging));
}
