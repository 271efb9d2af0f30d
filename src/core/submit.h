/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * submit - jobs that are asked for, and producers that wait for room.
 */
#ifndef YOKE_CORE_SUBMIT_H
#define YOKE_CORE_SUBMIT_H

#include "core/core.h"

struct core;
struct group;
struct queue;

void submit_job(struct core *c, const struct core_event *ev);
/* Let the first producer of the queue in, or tell it why not. false: it has to
 * wait on. */
bool submit_admit_one(struct core *c, struct queue *q);
/* Producers that wait with a job for this group are told it takes no more. */
void submit_refuse_group(struct core *c, const struct group *g);

#endif
