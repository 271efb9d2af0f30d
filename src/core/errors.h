/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errors - the tree of what failed, and which of it is asked for.
 */
#ifndef YOKE_CORE_ERRORS_H
#define YOKE_CORE_ERRORS_H

#include "core/core.h"

struct core;
struct extra;
struct group;
struct job;
struct record_error;
struct record_verdict;

struct job_error {
    struct str class, message, detail; /* owned, one allocation at class.p */
    uint32_t attempt;
    bool body_done; /* what failed was not the body of the attempt */
    int64_t at_ms;
};

/* Which errors are asked for. */
struct error_filter {
    struct str classes, except; /* lists of globs; empty: all, none */
    bool inner;    /* of a job: the error `group` is told by what is below it */
    bool forgiven; /* of a job that has not failed: none */
};

/* For apply: a job has one more; so it has by this verdict on its attempt;
 * those of a job that goes. */
void errors_add(struct core *c, struct job *j, const struct record_error *v);
void errors_of_attempt(struct core *c, struct job *j,
                       const struct record_verdict *v, int64_t at_ms);
void errors_free(struct core *c, struct extra *x);

bool error_wanted(const struct error_filter *f, struct str class);
/* How many of the job's errors. */
uint32_t errors_wanted(const struct error_filter *f, const struct job *j);
/* Has something failed in it, or may have? */
bool errors_in_group(const struct group *g);
void errors_page(struct core *c, const struct core_event *ev);

#endif
