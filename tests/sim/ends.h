/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ends - how attempts, jobs, results on their way, and groups of the model end.
 *
 * Knows:     which ends the rules allow; the core's view, to go one of them.
 * Never:     when something ends (rules.c), requests and replies (model.c).
 */
#ifndef SIM_ENDS_H
#define SIM_ENDS_H

#include "model.h"

/* Ways to end: bits for ends_queued. */
enum {
    TO_OK = 1,
    TO_FAILED = 2,
    TO_CANCELLED = 4,
    TO_QUEUED = 8,
    TO_DELAYED = 16,
    TO_AGAIN = TO_QUEUED | TO_DELAYED,
};

/* A job whose body does not run ends: cancelled, or by a time. */
void ends_queued(struct model *m, struct model_eyes *eyes, struct model_job *j,
                 unsigned allowed);
/* The current attempt is over, j->body says how. */
void ends_attempt(struct model *m, struct model_eyes *eyes,
                  struct model_job *j);
/* Attempt and all below it are over: what becomes of the job? */
void ends_finish(struct model *m, struct model_eyes *eyes, struct model_job *j);
/* A read has ended: who waits for its start may have lost its payload. */
void ends_damaged(struct model *m, struct model_eyes *eyes);
/* May the end of another have cancelled it in this step? */
bool ends_swept(struct model *m, struct model_eyes *eyes,
                const struct model_job *j);
/* A result that waits for room: true: not any more. */
bool ends_delivery(struct model *m, struct model_eyes *eyes,
                   struct model_job *j);
/* One that went on without room went in a circle, or did not: false. When
 * nothing else explains it. */
bool ends_circle(struct model *m, struct model_eyes *eyes, struct model_job *j);
/* Is a result before `place` waiting for room in that queue? */
bool ends_delivery_waits(const struct model *m, int queue, uint64_t place);

/* Results may have gone on in another order than they were looked at in; ids
 * say in which, as of all that was accepted since that began. */
void ends_in_order(struct model *m);

void ends_group(struct model *m, struct model_group *g,
                const struct group_view *v);
/* Does one of the globs match the class? */
bool ends_class_in(struct str globs, struct str class);
/* GROUP CLOSE brings other numbers, which count what has ended already. */
void ends_policy(struct model_group *g, int64_t fail, int64_t succeed);
/* Is that an end which the rules allow as things are? */
bool ends_group_fits(const struct model *m, const struct model_group *g,
                     const struct group_view *v);
/* Did it end by itself in this step, before what is looked at now? */
bool ends_group_well(struct model *m, struct model_eyes *eyes,
                     const struct model_group *g);

#endif
