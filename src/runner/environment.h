/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * environment - the variables that a job sees.
 *
 * Those of the runner reach a job by an allow-list alone (PATH HOME LANG
 * LANGUAGE LC_* TZ USER LOGNAME SHELL TMPDIR TERM, and what pass-env adds);
 * the job's own override them; what the runner says about the job (YOKE_*)
 * cannot be overridden.
 */
#ifndef RUNNER_ENVIRONMENT_H
#define RUNNER_ENVIRONMENT_H

#include <stddef.h>

struct environment {
    char **passed; /* "NAME=value" */
    size_t count;
};

/* `extra` are n more names that may pass; a * at the end of one stands for any
 * ending. Reads the process's own environment, and copies. */
void environment_init(struct environment *e, char *const *extra, size_t n);
void environment_clear(struct environment *e);
/* A variable that is said anew; value NULL: it stays as it is. */
void environment_set(struct environment *e, const char *name,
                     const char *value);

/*
 * The array for execve: `ours` first (n_ours), then `own` (n_own) of the job,
 * then what is passed. Points to the strings given; the caller frees the array
 * with free(3).
 */
char **environment_make(const struct environment *e, char *const *ours,
                        size_t n_ours, char *const *own, size_t n_own);

#endif
