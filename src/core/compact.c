/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * compact - what lies in a segment that is to go, or that is damaged, is
 * written again at the head of the journal.
 */
#include "core/full.h"
#include "core/image.h"
#include "core/internal.h"
#include "core/payload.h"
#include "core/segment.h"

void core_segment(struct core *c, uint32_t segment)
{
    segment_set(c, segment);
    c->images_next = c->limiter_images_next = 0;
}

/* As much at a time as in a step. */
static void begin(struct core *c, struct core_effects *out)
{
    ASSERT(c->started);
    c->out = out;
    c->work = c->limits.step_work;
    buf_reset(&c->written);
}

static void end(struct core *c)
{
    segments_trim(c);
    c->out = NULL;
}

enum core_compacted core_compact(struct core *c, const void *entry, size_t len,
                                 uint32_t segment, size_t *at,
                                 struct core_effects *out)
{
    enum core_compacted done = CORE_COMPACT_MORE;

    begin(c, out);
    while (done == CORE_COMPACT_MORE && core_work_unrecorded(c))
        done = image_write_next(c, entry, len, segment, at);
    image_write_rest(c);
    end(c);
    return done;
}

/* A payload that is in the store only may be whole there; if it is not the job
 * has lost it, and ends. */
static bool heal_job(struct core *c, struct job *j, uint32_t segment,
                     int64_t *asked)
{
    if (j->segment > segment)
        return true;
    /* It has failed, and cannot be run again: so it is not dead any more. */
    if (j->state == JOB_FINISHED && payload_is_lost(j))
        core_record(c, &(struct record){.type = RECORD_CLEAR,
                                        .at_ms = c->now_ms,
                                        .id = j->node.hash});
    if (payload_is_here(j))
        return image_write(c, false, j->node.hash, segment, (struct str){0});
    c->heal_waits = true; /* for it, or for the end of its attempt */
    (void)payload_ask(c, j, asked);
    return true;
}

/* All of one bucket of jobs and of groups; false: the disk has no room. */
static bool heal_some(struct core *c, uint32_t segment, size_t at,
                      int64_t *asked)
{
    const struct map_node *n;

    for (n = at < c->jobs.active ? map_bucket(&c->jobs, at) : NULL; n;
         n = n->next)
        if (!heal_job(c, container_of(n, struct job, node), segment, asked))
            return false;
    if (PLANTED(HEAL_GROUPLESS))
        return true;
    for (n = at < c->groups.active ? map_bucket(&c->groups, at) : NULL; n;
         n = n->next)
        if (!image_write(c, true, n->hash, segment, (struct str){0}))
            return false;
    return true;
}

static enum core_compacted heal(struct core *c, uint32_t segment, size_t *at)
{
    size_t buckets =
        c->jobs.active > c->groups.active ? c->jobs.active : c->groups.active;
    int64_t asked = 0;

    if (*at == 0)
        c->heal_waits = false;
    for (; *at < buckets; ++*at) {
        if (!core_work_unrecorded(c))
            return CORE_COMPACT_MORE;
        if (!heal_some(c, segment, *at, &asked))
            return CORE_COMPACT_ROOM;
    }
    image_write_rest(c);
    if (!list_empty(&c->imaging) || !list_empty(&c->imaging_jobs))
        return image_may_go_on(c) ? CORE_COMPACT_MORE : CORE_COMPACT_ROOM;
    /* What a step writes at the beginning of a segment is of the segments
     * before. */
    if (core_images_left(c))
        return full_is_spent(c) ? CORE_COMPACT_ROOM : CORE_COMPACT_MORE;
    if (!c->heal_waits)
        return CORE_COMPACTED;
    *at = 0;
    return CORE_COMPACT_ROOM;
}

enum core_compacted core_heal(struct core *c, uint32_t segment, size_t *at,
                              struct core_effects *out)
{
    enum core_compacted done;

    begin(c, out);
    done = heal(c, segment, at);
    end(c);
    c->healing = done != CORE_COMPACTED;
    return done;
}

uint32_t core_oldest_segment(const struct core *c)
{
    return c->first_segment;
}

void core_image(struct core *c, bool is_group, uint64_t id,
                struct core_effects *out)
{
    begin(c, out);
    (void)image_write(c, is_group, id, c->segment - 1, (struct str){0});
    image_write_rest(c);
    end(c);
}
