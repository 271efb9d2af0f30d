/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deadline - times by which something must have ended: inherited, and moved.
 */
#ifndef YOKE_CORE_DEADLINE_H
#define YOKE_CORE_DEADLINE_H

#include "core/core.h"

struct core;
struct group;
struct job;
struct record;

/* The earlier of two times, either of which may be CORE_NONE. */
int64_t deadline_earlier(int64_t a, int64_t b);
/* When a scope must have ended, or CORE_NONE: its own deadline, and those of
 * the scopes above it up to the first shield (Trio's effective deadline). */
int64_t deadline_of_group(const struct group *g);
int64_t deadline_of_job(const struct job *j);
/* Milliseconds until a running job has to stop, or CORE_NONE. */
int64_t deadline_remaining(const struct core *c, const struct job *j);
/* Scopes from this one up, which has live members, whose time is up although
 * their timers have not been worked off yet: it acts now. */
void deadline_reach(struct core *c, struct group *g);
const char *deadline_apply(struct core *c, const struct record *r);
void deadline_reschedule(struct core *c, const struct core_event *ev);

#endif
