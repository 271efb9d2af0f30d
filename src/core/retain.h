/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retain - how much is kept of finished jobs.
 */
#ifndef YOKE_CORE_RETAIN_H
#define YOKE_CORE_RETAIN_H

#include "core/job.h"

/* What is kept of a finished job, in bytes. */
int64_t retain_bytes(const struct job *j);
/* Of a finished job, for apply: before (-1) and after (+1) that changes. */
void retain_count(struct core *c, const struct job *j, int sign);
/* The oldest outcomes go, so many in one call, until the bounds hold; false:
 * none is left that may. */
bool retain_enforce(struct core *c);

#endif
