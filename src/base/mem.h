/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem - allocation that never fails. See slab.h for crowds of small objects.
 *
 * Errors:    out of memory ends the process (abort). Limits make that rare;
 *            the daemon is restarted and replays its journal.
 * Never:     a size from the network that was not checked first.
 */
#ifndef YOKE_MEM_H
#define YOKE_MEM_H

#include "base/base.h"

void *mem_alloc(size_t size);                /* contents undefined */
void *mem_zalloc(size_t size);               /* zeroed */
void *mem_realloc(void *old, size_t size);   /* old may be NULL */
void *mem_dup(const void *data, size_t len); /* len 0 gives a unique pointer */
char *mem_dup_text(const void *data, size_t len); /* adds a NUL */
void mem_free(void *p);                           /* NULL is allowed */

/* Multiplication for sizes; an overflow ends the process. */
size_t mem_mul(size_t n, size_t size);

/* Ends the process if memory that was asked for is not there. */
void mem_must(bool there);

#endif
