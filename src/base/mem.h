/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem - allocation that never fails, and pools of equal objects.
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

/*
 * A pool hands out zeroed objects of one size from chunks, without a header
 * for each. Chunks go back to the system only at pool_clear; a pool that has
 * grown asks for huge pages. Under AddressSanitizer every object is an
 * allocation of its own, so that use after release is seen.
 */
struct pool {
    size_t size;      /* of one object, a multiple of 8 */
    void *free;       /* released objects, linked through their first word */
    void *chunks;     /* small chunks, linked through their first word ... */
    size_t small;     /* ... and how many there are */
    void *regions;    /* large ones, likewise */
    char *next, *end; /* unused room of the newest chunk */
    size_t used;      /* objects handed out and not yet released */
};

void pool_init(struct pool *p, size_t size);
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object);
/* Every object is gone afterwards, released or not. */
void pool_clear(struct pool *p);

#endif
