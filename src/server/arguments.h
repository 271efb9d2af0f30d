/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * arguments - the command line of yoked.
 *
 * Knows:     its options, what goes with what.
 * Never:     what settings mean.
 * Errors:    told on stderr.
 */
#ifndef YOKE_ARGUMENTS_H
#define YOKE_ARGUMENTS_H

#include "base/base.h"

#define EXIT_USAGE              2 /* the command line or the configuration */
#define ARGUMENTS_OVERRIDES_MAX 24

enum arguments_task {
    TASK_RUN,
    TASK_CHECK_CONFIG,
    TASK_VERIFY,
    TASK_REPAIR,
    TASK_RESTORE,
};

struct arguments {
    const char *file; /* of settings; NULL: there is none, all defaults */
    const char *overrides[ARGUMENTS_OVERRIDES_MAX];
    size_t noverrides;
    enum arguments_task task;
    const char *dir; /* of the last three tasks */
    bool list;       /* VERIFY: the jobs, too */
};

/* Lends what it finds. -1: do what it says; else nothing is left to do but to
 * end with that status. */
int arguments_read(int argc, char **argv, struct arguments *out);

#endif
