/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output - what jobs print.
 */
#ifndef YOKE_CORE_OUTPUT_H
#define YOKE_CORE_OUTPUT_H

#include "core/core.h"

struct core;
struct job;

void output_log(struct core *c, const struct core_event *ev);
void output_read(struct core *c, const struct core_event *ev);
void output_free(struct core *c, struct job *j);
/* New output, or the job ended: answer who follows. */
void output_notify(struct core *c, struct job *j);

#endif
