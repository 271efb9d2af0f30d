/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slab - memory for crowds of small objects.
 *
 * Objects of like size lie next to each other in a slab of 64 KiB, without a
 * header for each; 32 slabs are a region, which is as large as a huge page and
 * aligned to one. A slab whose last object is released serves any size again,
 * and a region whose last slab is goes back to the system: what a crowd took is
 * there for the next one, whatever its objects look like.
 *
 * Limits:    sizes up to SLAB_OBJECT_MAX; larger objects come from malloc.
 * Errors:    as in mem.h.
 * Threads:   none; one user.
 *
 * Under AddressSanitizer every object is an allocation of its own, so that use
 * after release is seen.
 */
#ifndef YOKE_SLAB_H
#define YOKE_SLAB_H

#include "base/list.h"

#define SLAB_OBJECT_MAX 512
#define SLAB_GRAIN      8 /* sizes are rounded up to it, and so is alignment */

struct slabs {
    struct list usable[SLAB_OBJECT_MAX / SLAB_GRAIN + 1]; /* by size: slabs
                                                           * with room */
    struct list regions; /* with unused slabs first */
    size_t nregions;
    size_t used; /* objects handed out and not yet released */
};

void slabs_init(struct slabs *s);
/* Contents undefined; any size, 0 too. */
void *slabs_alloc(struct slabs *s, size_t size);
void *slabs_zalloc(struct slabs *s, size_t size);
void *slabs_dup(struct slabs *s, const void *data, size_t len);
/* With the size that it was asked for with. NULL is allowed. */
void slabs_free(struct slabs *s, void *object, size_t size);
/* Everything must have been released. */
void slabs_clear(struct slabs *s);

#endif
