/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * members - the members of a group.
 */
#ifndef YOKE_CORE_MEMBERS_H
#define YOKE_CORE_MEMBERS_H

#include "core/core.h"

struct core;
struct group;

/* By its id, with ID_GROUP or without. */
bool member_exists(struct core *c, uint64_t id);
/* A member was forgotten. */
void member_forgotten(struct core *c, struct group *g);
/* One has ended, or the group: answer who waits for the next. */
void members_notify_next(struct core *c, struct group *g);

/* So many are in a page, where so many are asked for. */
int64_t members_page(int64_t count);

void members_next(struct core *c, const struct core_event *ev);
void members_results(struct core *c, const struct core_event *ev);

#endif
