/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attributes - what the system gives the jobs of a queue: who they are, their
 * priorities, limits and rights.
 *
 * Everything here is numbers for a child to set that can look up nothing.
 *
 * Knows:     the names of limits and of classes of priority.
 * Never:     processes, other settings of a queue.
 * Errors:    0, or -EINVAL with a sentence in `why`, and *out is as before.
 */
#ifndef RUNNER_ATTRIBUTES_H
#define RUNNER_ATTRIBUTES_H

#include "runner/account.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

/* A number of which nothing was said. */
#define ATTRIBUTES_UNSET INT64_MIN
/* As many as the kernel has. */
#define ATTRIBUTES_LIMITS_MAX 16

struct attributes_limits {
    size_t count;
    struct {
        int resource; /* RLIMIT_ */
        struct rlimit limit;
    } items[ATTRIBUTES_LIMITS_MAX];
};

struct attributes {
    struct account account;
    int64_t nice;   /* or unset */
    int64_t ionice; /* as ioprio_set(2) has it; 0: none was given */
    struct attributes_limits limits;
    bool no_new_privileges;
    bool private_tmp;  /* /tmp is an empty one of its own, in memory */
    bool private_pids; /* it sees no processes but its own, and is process 1 */
    int64_t tmp_max;   /* bytes in that /tmp, and a file for each 4 KiB of it */
};

/* Whether any of it was asked for. */
bool attributes_any(const struct attributes *a);

/* "idle", "best-effort[:0-7]" or "realtime[:0-7]". */
int attributes_parse_ionice(const char *text, int64_t *out, char *why,
                            size_t why_size);
/* Words "name=soft[:hard]"; soft alone is both. */
int attributes_parse_limits(const char *text, struct attributes_limits *out,
                            char *why, size_t why_size);

#endif
