/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record_image - images of jobs and groups as bytes, and back.
 */
#include "core/record_image.h"

#include "core/field.h"
#include "core/internal.h"

static void put_run(struct writer *w, const struct record_job_image *i)
{
    put_u64(w, i->session);
    put_u64(w, i->body);
    put_u64(w, i->place);
    put_i64(w, i->shield_ms);
    put_i64(w, i->grace_ms);
    put_u8(w, i->asked);
    put_u8(w, i->verdict);
    put_u8(w, i->cancelled);
    put_u8(w, i->cancelled_first);
    put_u8(w, i->asked_late);
    put_u8(w, i->child_failed);
    put_u8(w, i->child_cancelled);
    put_u8(w, i->run_errors_below);
    put_u8(w, i->is_ready);
    put_str(w, i->ready);
}

static void get_run(struct reader *r, struct record_job_image *i)
{
    i->session = get_u64(r);
    i->body = get_u64(r);
    i->place = get_u64(r);
    i->shield_ms = get_i64(r);
    i->grace_ms = get_i64(r);
    i->asked = get_u8(r);
    i->verdict = get_u8(r);
    i->cancelled = get_bool(r);
    i->cancelled_first = get_bool(r);
    i->asked_late = get_bool(r);
    i->child_failed = get_bool(r);
    i->child_cancelled = get_bool(r);
    i->run_errors_below = get_bool(r);
    i->is_ready = get_bool(r);
    i->ready = get_str(r);
}

/* What follows a queued job, an attempt, an end. */
enum image_part { PART_NONE, PART_RUN, PART_END };

static enum image_part image_part(uint8_t state)
{
    switch ((enum job_state)state) {
    case JOB_DELAYED:
    case JOB_READY:
    case JOB_PARKED:
        return PART_NONE;
    case JOB_RUNNING:
    case JOB_CANCELLING:
    case JOB_JOINING:
    case JOB_DELIVERING:
        return PART_RUN;
    case JOB_FINISHED:
        return PART_END;
    case JOB_STATES_COUNT:
        break;
    }
    return PART_NONE; /* for apply to say */
}

static void put_state(struct writer *w, const struct record_job_image *i)
{
    enum image_part part = image_part(i->state);

    if (part == PART_RUN)
        put_run(w, i);
    if (part == PART_END) {
        put_u8(w, i->outcome);
        put_u8(w, i->body_done);
        put_i64(w, i->ended_ms);
    }
    if (part != PART_NONE) {
        put_i64(w, i->started_ms);
        put_str(w, i->result);
    }
}

static void get_state(struct reader *r, struct record_job_image *i)
{
    enum image_part part = image_part(i->state);

    if (part == PART_RUN)
        get_run(r, i);
    if (part == PART_END) {
        i->outcome = get_u8(r);
        i->body_done = get_bool(r);
        i->ended_ms = get_i64(r);
    }
    if (part != PART_NONE) {
        i->started_ms = get_i64(r);
        i->result = get_str(r);
    }
}

/* What most jobs do not have is left out of their images, and so are the bytes
 * that would say so: a bit for each. */
enum image_has {
    HAS_DEAD = 1 << 0,
    HAS_ERRORS_BELOW = 1 << 1,
    HAS_ATTEMPTS = 1 << 2,
    HAS_DELAY = 1 << 3,
    HAS_OPTIONS = 1 << 4,
    HAS_NAME = 1 << 5,
    HAS_KEY = 1 << 6,
    HAS_THEN = 1 << 7,
    HAS_NEEDS = 1 << 8,
    HAS_NEXT = 1 << 9,
    HAS_RETRIED = 1 << 10,
    HAS_REASON = 1 << 11,
    HAS_ERRORS = 1 << 12,
    HAS_APART = 1 << 13,
    HAS_BELOW = 1 << 14,
    HAS_DEAD_KEEP = 1 << 15,
    HAS_ALL = (1 << 16) - 1,
};

static uint32_t image_has(const struct record_job_image *i)
{
    uint32_t has = 0;

    has |= i->dead ? HAS_DEAD : 0;
    has |= i->errors_below ? HAS_ERRORS_BELOW : 0;
    has |= i->attempt || i->failures || i->losses ? HAS_ATTEMPTS : 0;
    has |= i->job.not_before_ms ? HAS_DELAY : 0;
    has |= i->job.own_options ? HAS_OPTIONS : 0;
    has |= i->job.name.len ? HAS_NAME : 0;
    has |= i->job.key.len ? HAS_KEY : 0;
    has |= i->job.then.len ? HAS_THEN : 0;
    has |= i->job.needs.len ? HAS_NEEDS : 0;
    has |= i->next ? HAS_NEXT : 0;
    has |= i->retried ? HAS_RETRIED : 0;
    has |= i->reason.len ? HAS_REASON : 0;
    has |= i->errors.len ? HAS_ERRORS : 0;
    has |= i->apart ? HAS_APART : 0;
    has |= i->below.len ? HAS_BELOW : 0;
    has |= i->dead_keep_ms ? HAS_DEAD_KEEP : 0;
    return has;
}

void record_put_job_image(struct writer *w, const struct record_job_image *i)
{
    uint32_t has = image_has(i);

    put_u32(w, has);
    put_u8(w, i->state);
    put_u8(w, i->job.priority);
    put_u32(w, i->job.queue);
    put_u64(w, i->job.group);
    put_i64(w, i->submitted_ms);
    put_str(w, i->job.payload);
    put_state(w, i);
    if (has & HAS_ATTEMPTS) {
        put_u32(w, i->attempt);
        put_u32(w, i->failures);
        put_u32(w, i->losses);
    }
    if (has & HAS_DELAY)
        put_i64(w, i->job.not_before_ms);
    if (has & HAS_OPTIONS)
        record_put_options(w, &i->job.options);
    if (has & HAS_NAME)
        put_str(w, i->job.name);
    if (has & HAS_KEY)
        put_str(w, i->job.key);
    if (has & HAS_THEN)
        put_str(w, i->job.then);
    if (has & HAS_NEEDS)
        record_put_needs(w, &i->job.needs);
    if (has & HAS_NEXT)
        put_u64(w, i->next);
    if (has & HAS_RETRIED)
        put_u64(w, i->retried);
    if (has & HAS_REASON)
        put_str(w, i->reason);
    if (has & HAS_ERRORS)
        put_str(w, i->errors);
    if (has & HAS_APART)
        put_u32(w, i->apart);
    if (has & HAS_BELOW)
        put_str(w, i->below);
    if (has & HAS_DEAD_KEEP)
        put_i64(w, i->dead_keep_ms);
}

void record_get_job_image(struct reader *r, struct record_job_image *i)
{
    uint32_t has = get_u32(r);

    if (has & ~(uint32_t)HAS_ALL) /* what it says cannot be guessed */
        r->bad = true;
    i->dead = has & HAS_DEAD;
    i->errors_below = has & HAS_ERRORS_BELOW;
    i->job.own_options = has & HAS_OPTIONS;
    i->state = get_u8(r);
    i->job.priority = get_u8(r);
    i->job.queue = get_u32(r);
    i->job.group = get_u64(r);
    i->submitted_ms = get_i64(r);
    i->job.payload = get_str(r);
    get_state(r, i);
    if (has & HAS_ATTEMPTS) {
        i->attempt = get_u32(r);
        i->failures = get_u32(r);
        i->losses = get_u32(r);
    }
    if (has & HAS_DELAY)
        i->job.not_before_ms = get_i64(r);
    if (has & HAS_OPTIONS)
        record_get_options(r, &i->job.options);
    if (has & HAS_NAME)
        i->job.name = get_str(r);
    if (has & HAS_KEY)
        i->job.key = get_str(r);
    if (has & HAS_THEN)
        i->job.then = get_str(r);
    if (has & HAS_NEEDS)
        record_get_needs(r, &i->job.needs);
    if (has & HAS_NEXT)
        i->next = get_u64(r);
    if (has & HAS_RETRIED)
        i->retried = get_u64(r);
    if (has & HAS_REASON)
        i->reason = get_str(r);
    if (has & HAS_ERRORS)
        i->errors = get_str(r);
    if (has & HAS_APART)
        i->apart = get_u32(r);
    if (has & HAS_BELOW)
        i->below = get_str(r);
    if (has & HAS_DEAD_KEEP)
        i->dead_keep_ms = get_i64(r);
}

void record_get_job_image_1(struct reader *r, struct record_job_image *i)
{
    i->state = get_u8(r);
    i->dead = get_bool(r);
    i->errors_below = get_bool(r);
    i->submitted_ms = get_i64(r);
    i->attempt = get_u32(r);
    i->failures = get_u32(r);
    i->losses = get_u32(r);
    i->next = get_u64(r);
    i->retried = get_u64(r);
    i->reason = get_str(r);
    i->errors = get_str(r);
    i->below = get_str(r);
    get_state(r, i);
    record_get_job(r, &i->job);
}

void record_put_group_image(struct writer *w,
                            const struct record_group_image *i)
{
    put_u32(w, i->depth);
    put_i64(w, i->opened_ms);
    put_i64(w, i->ended_ms);
    put_i64(w, i->cancel_grace_ms);
    for (int o = 0; o < OUTCOMES_COUNT; o++)
        put_i64(w, i->by_outcome[o]);
    put_i64(w, i->members_total);
    put_i64(w, i->done_dropped);
    put_u64(w, i->members);
    put_u64(w, i->done);
    put_u8(w, i->cause);
    put_u8(w, i->outcome);
    put_u8(w, i->closed);
    put_u8(w, i->ended);
    put_u8(w, i->read);
    put_u8(w, i->failed_inside);
    put_u8(w, i->errors_below);
    put_str(w, i->reason);
    record_put_group(w, &i->group);
}

void record_get_group_image(struct reader *r, struct record_group_image *i)
{
    i->depth = get_u32(r);
    i->opened_ms = get_i64(r);
    i->ended_ms = get_i64(r);
    i->cancel_grace_ms = get_i64(r);
    for (int o = 0; o < OUTCOMES_COUNT; o++)
        i->by_outcome[o] = get_i64(r);
    i->members_total = get_i64(r);
    i->done_dropped = get_i64(r);
    i->members = get_u64(r);
    i->done = get_u64(r);
    i->cause = get_u8(r);
    i->outcome = get_u8(r);
    i->closed = get_bool(r);
    i->ended = get_bool(r);
    i->read = get_bool(r);
    i->failed_inside = get_bool(r);
    i->errors_below = get_bool(r);
    i->reason = get_str(r);
    record_get_group(r, &i->group);
}
