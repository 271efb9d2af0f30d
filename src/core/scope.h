/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scope - where something new may live.
 */
#ifndef YOKE_CORE_SCOPE_H
#define YOKE_CORE_SCOPE_H

#include "core/core.h"

struct core;

/* Answer the error if not: may a group be opened there, is there room for one
 * more group, may a job join the group of this attempt's body? */
bool scope_takes_group(struct core *c, struct client_id client,
                       const struct scope_ref *ref);
bool scope_room_for_group(struct core *c, struct client_id client);
bool scope_body_takes_job(struct core *c, struct client_id client,
                          const struct token *t);
/* The group of the body; opened if it is not there. Only after
 * scope_body_takes_job. */
struct group_id scope_body(struct core *c, const struct token *t);

#endif
