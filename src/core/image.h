/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image - all that is known of a job or a group, as one record.
 */
#ifndef YOKE_CORE_IMAGE_H
#define YOKE_CORE_IMAGE_H

#include "core/internal.h"

/* The vectors of members and ends may not be shortened now. */
static inline bool image_under_way(const struct group *g)
{
    return g->missing > 0 || list_linked(&g->imaging);
}

/* The image of a job or a group, if there is one and all of it lies in that
 * segment or before; of a group the rest follows with image_write_rest. false:
 * the disk is full, and has no room for it. `payload`: of the job, if it is not
 * in memory. */
bool image_write(struct core *c, bool is_group, uint64_t id, uint32_t segment,
                 struct str payload);
/* Has a full disk some for the rest of those that have begun? */
static inline bool image_may_go_on(const struct core *c)
{
    return LIKELY(!c->disk_full) || c->room > c->spared;
}

/* The record at *at of an entry in that segment: if what it made known lives
 * and its image lies nowhere else, it is written again. COMPACTED: it was the
 * last. */
enum core_compacted image_write_next(struct core *c, const char *entry,
                                     size_t len, uint32_t segment, size_t *at);
/* Of the members of groups, and the errors of jobs, whose images have begun,
 * for a while. */
void image_write_rest(struct core *c);
/* Ids of large groups that are still to be written: some of them. */
void image_write_ids(struct core *c, struct group *g);

#endif
