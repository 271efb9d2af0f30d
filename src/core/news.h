/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * news - what those who watch are told.
 */
#ifndef YOKE_CORE_NEWS_H
#define YOKE_CORE_NEWS_H

#include "core/core.h"

struct core;
struct job;
struct queue;
struct record;

/* A record that was just applied; only while somebody watches. */
void news_of_job(struct core *c, const struct record *r);
void news_of_group(struct core *c, const struct record *r);
/* These ask whether somebody does. */
void news_of_progress(struct core *c, const struct job *j);
void news_of_queue(struct core *c, const struct queue *q, const char *event);

#endif
