/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retry - which errors are tried again, and after what delay.
 */
#ifndef YOKE_CORE_RETRY_H
#define YOKE_CORE_RETRY_H

#include "core/core.h"

struct core;
struct options;

#define RETRY_ON_WANTED                                             \
    "RETRY-ON is classes of errors or globs of them, separated by " \
    "commas, without blanks, %d bytes at most"
#define RUNS_MAX 1000 /* RETRY, REDELIVER: every error is kept */

bool retry_options_ok(int64_t factor_milli, int64_t jitter, struct str classes);
/* Is an error of that class tried again? */
bool retry_wanted(const struct options *o, struct str class);
/* Before the attempt after so many failed ones. */
int64_t retry_delay(const struct core *c, const struct options *o,
                    uint32_t failures);

#endif
