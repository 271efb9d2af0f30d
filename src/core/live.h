/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * live - how long the images of all that lives would be.
 */
#ifndef YOKE_CORE_LIVE_H
#define YOKE_CORE_LIVE_H

#include "core/internal.h"
#include "core/job.h"

/* Bytes of the image of one, with its frame. */
int64_t live_job_bytes(const struct job *j);
/* Likewise, with those of what it refers to, which may have to come first:
 * at most. */
int64_t live_image_bytes(const struct core *c, const struct job *j);
int64_t live_group_bytes(const struct group *g);
/* ... and of its GROUP_IDS. */
int64_t live_ids_bytes(const struct group *g);
/* What a job with these has besides: 0 when its queue has them. */
int64_t live_options_bytes(const struct options *o);
/* Before it changes (-1), and after that (+1). */
static inline void live_add(struct core *c, uint32_t segment, int64_t bytes)
{
    c->live_bytes += bytes;
    c->segment_bytes[segment - c->first_segment] += bytes;
}
static inline void live_job(struct core *c, const struct job *j, int sign)
{
    live_add(c, j->segment, sign * live_job_bytes(j));
    c->option_bytes += sign * live_options_bytes(j->options);
}
static inline void live_group(struct core *c, const struct group *g, int sign)
{
    live_add(c, g->segment, sign * live_group_bytes(g));
}
/* The queue of those who share these has others now. */
void live_options_left(struct core *c, const struct options *o);

#endif
