/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deliver - results that become the payload of the next job (THEN).
 */
#ifndef YOKE_CORE_DELIVER_H
#define YOKE_CORE_DELIVER_H

#include "core/core.h"

struct core;
struct job;
struct queue;
struct run;

#define THEN_MAX 16 /* queues in a chain */

/* May this be a chain? */
bool deliver_chain_ok(struct str chain);
/* The queues of a chain; false: an error was answered. */
bool deliver_make_queues(struct core *c, struct client_id client,
                         struct str chain);
/* A job with a chain is done and nothing is left below it: its result goes on,
 * waits, or cannot. */
void deliver_result(struct core *c, struct job *j, struct str result);
/* The first that waits for this queue goes in or gives up. false: none. */
bool deliver_one(struct core *c, struct queue *q);
void deliver_timer(struct core *c, struct job *j);
/* A DELIVERING job takes its place in the line of its next queue; false: there
 * is none. */
bool deliver_line_up(struct core *c, struct job *j);
/* It leaves the line, if it is in one. */
void deliver_leave(struct core *c, struct run *run);
/* After a replay: who is not in line takes its place, all are looked at. */
void deliver_start(struct core *c);

#endif
