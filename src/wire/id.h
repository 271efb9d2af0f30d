/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * id - how identities look on the wire.
 *
 *     j01hzk3v9q8r0t      kind letter, 13 digits of Crockford's base 32
 *     j01hzk3v9q8r0t.2    token: a dot and the number of the attempt
 *     root                the root group
 *
 * An id has exactly one spelling (lower case, all digits), so that clients
 * may compare them as strings.
 */
#ifndef YOKE_ID_H
#define YOKE_ID_H

#include "base/base.h"

#define ID_JOB      'j'
#define ID_GROUP    'g'
#define ID_SESSION  's'
#define ID_DIGITS   13
#define ID_TEXT_MAX (1 + ID_DIGITS + 1 + 10) /* a token; no NUL */

/* An id or, when attempt is not 0, a token. */
struct id {
    char kind;
    uint64_t n;
    uint32_t attempt;
};

/* Writes at most ID_TEXT_MAX bytes, no NUL; returns how many. The group 0 is
 * `root`. */
size_t id_format(char *out, struct id id);

/* false: not the spelling of any id; *out is untouched. */
bool id_parse(struct str text, struct id *out);

#endif
