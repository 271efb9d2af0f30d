/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * json - values as JSON (RFC 8259), in one line.
 *
 * Ids are strings, as everywhere. Bytes of a string that are no UTF-8 become
 * U+FFFD: what comes out can always be read.
 */
#ifndef YOKE_JSON_H
#define YOKE_JSON_H

#include "base/buf.h"

/* Renders the value at *at (see value.h; no errors in it) and moves past it and
 * its items. The depth of the value is the depth of the stack. */
void json_value(struct buf *out, const char *bytes, size_t *at);

#endif
