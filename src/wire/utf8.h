/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * utf8 - characters of UTF-8 (RFC 3629).
 */
#ifndef YOKE_UTF8_H
#define YOKE_UTF8_H

#include "base/base.h"

/* Bytes of the character at p, of which there are `len` (at least 1), or 0:
 * they are none. *character is what it stands for. */
size_t utf8_read(const char *p, size_t len, uint32_t *character);

#endif
