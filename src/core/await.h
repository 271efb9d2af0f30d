/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * await - the ends that sessions have asked to be told of.
 *
 * Knows:     who awaits which job or group, and which ends were not told yet.
 * Never:     records: all of it is volatile, and goes with the session.
 *
 * An end is told once, in an answer to FETCH. What is forgotten before that
 * leaves a copy of its outcome here, if memory-max has room for it.
 */
#ifndef YOKE_CORE_AWAIT_H
#define YOKE_CORE_AWAIT_H

#include "core/core.h"

struct core;
struct group;
struct job;
struct session;

void await_ask(struct core *c, const struct core_event *ev);
void await_take_back(struct core *c, const struct core_event *ev);

/* It has ended: those that await it are told with their next FETCH. */
void await_job_ended(struct core *c, const struct job *j);
void await_group_ended(struct core *c, const struct group *g);
/* It has ended, and is about to be freed. */
void await_job_forgotten(struct core *c, const struct job *j);
void await_group_forgotten(struct core *c, const struct group *g);

/* Writes ends that were not told, as entries of an answer to FETCH, until it
 * has `most` bytes; they are forgotten here. Their number. */
uint32_t await_show(struct core *c, struct session *s, struct buf *b,
                    size_t most);
/* For core_check: every await is in exactly one list, and in the map. */
void await_check(const struct core *c);
void await_release(struct core *c, struct session *s);

#endif
