/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * full - a disk without room.
 */
#ifndef YOKE_CORE_FULL_H
#define YOKE_CORE_FULL_H

#include "core/internal.h"

/* What is said of it to who is refused. */
const char *full_text(const struct core *c);
void full_set(struct core *c, const struct core_event *ev);
/* May this be done while the disk is full? False: answered. */
bool full_allows(struct core *c, const struct core_event *ev);
/* Nothing new is taken in while the disk is narrow or full. False: answered. */
bool full_may_grow(struct core *c, struct client_id client);
/* The reserve is used up: nothing is recorded but what one event leads to at
 * once. */
static inline bool full_is_spent(const struct core *c)
{
    return UNLIKELY(c->disk_full) && c->room <= 0;
}

#endif
