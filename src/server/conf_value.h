/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_value - the value of one setting: from text, to text, and what it should
 * have been.
 *
 * Knows:     every kind of value (enum conf_kind) and its units.
 * Never:     which settings there are, files, lines.
 * Errors:    -EINVAL: it is no such thing; -ERANGE: it is, but beyond the
 *            bounds of the setting. What was there stays.
 */
#ifndef YOKE_CONF_VALUE_H
#define YOKE_CONF_VALUE_H

#include "server/conf.h"

/* Writes the value to `at`, which is of the type that the kind has; texts that
 * it held are freed. */
int conf_value_parse(const struct conf_setting *s, const char *text, void *at);
/* Appends the value as it would be written. */
void conf_value_format(const struct conf_setting *s, const void *at,
                       struct buf *out);
/* Appends what a value should have been: "an integer from 1 to 10". */
void conf_value_expected(const struct conf_setting *s, struct buf *out);
/* The same in short: "an integer". */
const char *conf_value_noun(enum conf_kind kind);

#endif
