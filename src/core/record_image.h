/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record_image - what record.c and record_image.c have from each other.
 */
#ifndef YOKE_CORE_RECORD_IMAGE_H
#define YOKE_CORE_RECORD_IMAGE_H

#include "core/field.h"
#include "core/record.h"

/* See record.c: what both have. */
void record_put_options(struct writer *w, const struct options *o);
void record_get_options(struct reader *r, struct options *o);
void record_put_needs(struct writer *w, const struct record_needs *n);
void record_get_needs(struct reader *r, struct record_needs *n);
void record_get_job(struct reader *r, struct record_job *j);
void record_put_group(struct writer *w, const struct record_group *g);
void record_get_group(struct reader *r, struct record_group *g);

/* The bodies of images. */
void record_put_job_image(struct writer *w, const struct record_job_image *i);
void record_get_job_image(struct reader *r, struct record_job_image *i);
/* RECORD_JOB_IMAGE_1: the submitted part was last. */
void record_get_job_image_1(struct reader *r, struct record_job_image *i);
void record_put_group_image(struct writer *w,
                            const struct record_group_image *i);
void record_get_group_image(struct reader *r, struct record_group_image *i);

#endif
