/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * once - what is asked for again after a broken connection is not done again.
 */
#ifndef YOKE_CORE_ONCE_H
#define YOKE_CORE_ONCE_H

#include "base/list.h"
#include "core/core.h"
#include "core/record.h"

struct core;
struct session;

/* What the last numbered requests of a session led to; see once.c. */
struct asked {
    uint64_t first, last; /* numbers */
    uint32_t cap;         /* a power of two; 0: there was none */
    uint64_t *ids;        /* of jobs, and with ID_GROUP of groups; 0: none */
    struct list numbered; /* core->numbered, if there are any */
    uint32_t segment;     /* all of it follows from records from here on */
};

#define ONCE_OPEN_MAX 1024
/* What the image of a session takes besides its numbers, counted in numbers. */
#define ONCE_IMAGE_WEIGHT 4

/* Was it done before? Then that is the answer; so is what is wrong with the
 * number. kind: ID_GROUP for a group, 0 for a job. */
bool once_answered(struct core *c, struct client_id client,
                   const struct event_once *o, uint64_t kind);
/* May the session remember this number, too? Answers the error if not. */
bool once_room(struct core *c, struct client_id client,
               const struct event_once *o);
/* May it stand in a record? */
bool once_ok(const struct record_once *o);
/* For the record of what the request makes; only after once_answered or
 * once_room, in the same step, let it pass. */
struct record_once once_record(const struct core *c,
                               const struct event_once *o);
/* Likewise, when it has made nothing, for a KEY led here. */
void once_remember(struct core *c, const struct event_once *o, uint64_t id);
/* For apply: the request has made this. */
void once_apply(struct core *c, const struct record_once *o, uint64_t id);
const char *once_apply_image(struct core *c, const struct record *r);
/* Is there a session whose numbers lie in an older segment? Writes one again:
 * old segments can be removed once the images of all lie in newer ones. */
bool once_images_left(const struct core *c);
void once_write_image(struct core *c);
/* Is it worth its grace although it holds and owns nothing? */
bool once_outlives(const struct core *c, const struct session *s);
void once_release(struct core *c, struct session *s);
/* In a replay: there are not too many sessions. */
void once_bound_sessions(struct core *c);

#endif
