/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * arrivals - in which order jobs have printed, to read what those of a group
 * have, one after the other.
 *
 * An array in the order of the cursors: 24 bytes for each chunk that is kept,
 * and for the last one that each job has lost, which says so in its place. A
 * cursor is found by bisection. What became of no use stays until it is at the
 * front, or as much as the rest.
 */
#ifndef YOKE_CORE_ARRIVALS_H
#define YOKE_CORE_ARRIVALS_H

#include "core/core.h"

struct core;
struct group;
struct output;

struct arrival {
    int64_t cursor; /* of its first byte */
    struct output *output;
    uint64_t at; /* where its chunk lies, or lay */
};

/* A chunk of so many bytes will lie there. */
void arrivals_add(struct core *c, struct output *o, uint64_t at, size_t len);
/* So many of them are not looked at any more. */
void arrivals_drop(struct core *c, int64_t n);
/* What jobs in these groups, and below them, have printed; or the group has
 * ended: answer who follows. */
void arrivals_notify(struct core *c, struct group *g, int64_t cursor);
void arrivals_group_ended(struct core *c, struct group *g);
void arrivals_read(struct core *c, const struct core_event *ev);
void arrivals_check(const struct core *c);

#endif
