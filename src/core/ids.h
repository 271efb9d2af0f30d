/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ids - ids in order, many of them: the members of a group, and their ends.
 */
#ifndef YOKE_CORE_IDS_H
#define YOKE_CORE_IDS_H

#include <stddef.h>
#include <stdint.h>

struct core;

/* Ids in order of arrival. */
struct id_vector {
    uint64_t *ids;
    size_t len, cap;
};

/* Ids of groups in vectors carry this bit; no id itself does. */
#define ID_GROUP (UINT64_C(1) << 63)

void id_vector_push(struct core *c, struct id_vector *v, uint64_t id);
/* Only the first so many stay. */
void id_vector_cut(struct core *c, struct id_vector *v, size_t len);
void id_vector_clear(struct core *c, struct id_vector *v);
/* The first index whose id is greater, in one where they ascend. */
size_t id_vector_after(const struct id_vector *v, uint64_t id);

#endif
