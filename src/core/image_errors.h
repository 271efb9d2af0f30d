/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image_errors - the errors of a job that are too many for its image.
 */
#ifndef YOKE_CORE_IMAGE_ERRORS_H
#define YOKE_CORE_IMAGE_ERRORS_H

#include "base/list.h"
#include "core/core.h"

struct core;
struct extra;
struct job;
struct record;
struct record_job_image;

/* Errors of a job that lie apart from its image, and are still to be written;
 * in a replay, to be read. */
struct imaging {
    struct list link; /* core->imaging_jobs */
    struct job *job;
    uint32_t next, then; /* those from `next` on, before `then` */
    uint32_t lost;       /* replay: of those before `next` */
    uint32_t segment;    /* the image lies here */
};

/* Into c->scratch, or, when they are too much for it, that they come apart. */
void image_errors_take(struct core *c, const struct extra *x,
                       struct record_job_image *i);
/* Can each be written? */
bool image_errors_fit(const struct core *c, const struct extra *x);
/* The image was written, or read; so many errors follow. */
void image_errors_await(struct core *c, struct job *j, uint32_t n);
/* Some of them. */
void image_errors_write(struct core *c, struct imaging *m);
/* For apply: these come, the first of them in this place. */
const char *image_errors_fill(struct core *c, struct job *j, uint32_t at,
                              struct str errors);
const char *image_errors_apply(struct core *c, const struct record *r);
/* What is still to come does not. */
void image_errors_drop(struct core *c, struct extra *x);

#endif
