/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * below - the groups that were opened under a job.
 */
#ifndef YOKE_CORE_BELOW_H
#define YOKE_CORE_BELOW_H

#include "base/list.h"
#include "core/ids.h"

struct core;
struct extra;
struct group;
struct job;

/* The groups that were opened under a job, by all of its attempts. */
struct below {
    struct list link; /* core->belows */
    struct job *job;
    struct id_vector groups; /* in the order of opening */
    size_t forgotten;        /* ids in it that are no more */
};

/* A group was opened under the job; one of a job was forgotten; all are, or the
 * job. */
void below_add(struct core *c, struct job *j, uint64_t group);
void below_forgotten(struct core *c, const struct group *g);
bool below_has(const struct below *below, uint64_t group);
void below_free(struct core *c, struct extra *x);
/* At the end of a replay: those that did not come are forgotten. */
void below_settle(struct core *c);

#endif
