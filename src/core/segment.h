/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment - in which segments of the store what lives lies.
 */
#ifndef YOKE_CORE_SEGMENT_H
#define YOKE_CORE_SEGMENT_H

#include <stdint.h>

struct core;

#define SEGMENTS_MAX (1u << 20) /* between the oldest and the newest */

/* What is recorded from now on lies in this one. */
void segment_set(struct core *c, uint32_t segment);
/* It lies in this segment: the last, ... */
void segment_hold(struct core *c, uint32_t *where);
/* ... or a later one than before; its image has so many bytes. */
void segment_move(struct core *c, uint32_t *where, uint32_t to, int64_t bytes);
void segment_drop(struct core *c, uint32_t where);
/* Segments go from the oldest on only: a record that brings something to life
 * must not outlast the one that ends it. */
void segments_trim(struct core *c);

#endif
