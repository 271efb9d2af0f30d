/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * show - maps for replies.
 */
#ifndef YOKE_CORE_SHOW_H
#define YOKE_CORE_SHOW_H

#include "core/core.h"

struct core;
struct error_filter;
struct group;
struct job;

void show_job(struct core *c, struct buf *b, const struct job *j);
void show_outcome(struct core *c, struct buf *b, const struct job *j);
void show_group(struct core *c, struct buf *b, const struct group *g);
/* The same with those errors alone that are asked for. */
void show_outcome_errors(struct core *c, struct buf *b, const struct job *j,
                         const struct error_filter *f);
void show_group_errors(struct core *c, struct buf *b, const struct group *g,
                       const struct error_filter *f);
bool show_group_has_error(const struct group *g, const struct error_filter *f);
void show_tree(struct core *c, const struct core_event *ev);

void show_list(struct core *c, const struct core_event *ev);

#endif
