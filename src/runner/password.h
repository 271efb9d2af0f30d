/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * password - the daemon's, for us and for the jobs that may have it.
 *
 * A job gets a copy in memory, as a descriptor: it is in no environment, in no
 * argument and on no disk, only who the job runs as can read it, and it is gone
 * with the job, or the runner, in whatever way these end.
 *
 * Never:     keeps it in memory of ours: who changes the password changes the
 *            file, and the next job gets that.
 * Errors:    0 or a descriptor; or -errno with a sentence in `why`.
 */
#ifndef RUNNER_PASSWORD_H
#define RUNNER_PASSWORD_H

#include "runner/account.h"

/* Whether the first line of the file is one, and nobody else may read it. */
int password_check(const char *file, char *why, size_t why_size);
/* A file in memory with that line, which the account alone may read. The
 * descriptor is above PASSWORD_FD and closed on exec. */
int password_copy(const char *file, const struct account *account, char *why,
                  size_t why_size);

/* Its number in the job. */
#define PASSWORD_FD 4

#endif
