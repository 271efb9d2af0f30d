/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image_apply - images, read.
 */
#ifndef YOKE_CORE_IMAGE_APPLY_H
#define YOKE_CORE_IMAGE_APPLY_H

#include <stdint.h>

struct core;
struct group;
struct record;

/* For apply. The group of a member, which may not be known yet: then it is made
 * up until its image comes. */
struct group *image_group(struct core *c, uint64_t id);
const char *image_apply_job(struct core *c, const struct record *r);
const char *image_apply_group(struct core *c, const struct record *r);
const char *image_apply_ids(struct core *c, const struct record *r);
/* Its image never came. Where nothing is wrong with the journal it was
 * forgotten, with all its members. Else it goes on under that group, or, with
 * an attempt, that job. */
void image_settle_unknown(struct core *c, struct group *g, uint64_t parent,
                          uint32_t attempt);

#endif
