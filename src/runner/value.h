/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * value - numbers with units, as the configuration writes them, and what is
 * said of those that are wrong.
 *
 * A number takes the whole text or nothing: false when it is something else or
 * does not fit, and *out is as before.
 */
#ifndef RUNNER_VALUE_H
#define RUNNER_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool value_count(const char *text, int64_t *out);   /* 0 and more */
bool value_integer(const char *text, int64_t *out); /* with a sign or not */
bool value_octal(const char *text, int64_t *out);
bool value_size(const char *text, int64_t *out);     /* bytes; K M G T */
bool value_duration(const char *text, int64_t *out); /* ms; ms s m h d */
bool value_percent(const char *text, int64_t *out);  /* N% */

/* -EINVAL, with a sentence in `why`, which is cut to `size`. */
int value_refuse(char *why, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
