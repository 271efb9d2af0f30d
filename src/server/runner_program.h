/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runner_program - the yoke-runner of this yoked: where it is, what it is
 * told, and whether it takes its settings.
 *
 * Knows:     which of the daemon's arguments are the runner's, too.
 * Never:     keeps it alive (child.h), nor what its settings mean.
 * Errors:    of its settings are told by the runner itself, on stderr.
 */
#ifndef YOKE_RUNNER_PROGRAM_H
#define YOKE_RUNNER_PROGRAM_H

#include "server/arguments.h"

#include <limits.h>

struct runner_program {
    char path[PATH_MAX]; /* empty: not found */
    /* What follows "--fd 3"; NULL ends it. */
    const char *args[2 * ARGUMENTS_OVERRIDES_MAX + 8];
    size_t nargs; /* without those of the password */
    char files[32];
};

/* Looks beside this program, and where both were installed. Lends what `a`
 * has. Before the limit of open files is raised: jobs get what it is now. */
void runner_program_init(struct runner_program *p, const struct arguments *a);

/* The file of the password that the runner passes on to jobs that may have it;
 * NULL: there is none. Lends the path; may be said anew, for the next start. */
void runner_program_password(struct runner_program *p, const char *path);

/* Lets the runner look at its own sections; with `starts` as one that is going
 * to run. Its exit status, or -1: it could not be run (told on stderr), or was
 * killed. */
int runner_program_check(const struct runner_program *p, bool starts);

#endif
