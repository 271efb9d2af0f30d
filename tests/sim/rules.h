/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rules - how jobs and groups of the model begin, and what time and cancels do.
 *
 * Knows:     the model's arrays; the core's view where the rules are open.
 * Never:     requests and replies (model.c), the comparison (compare.c).
 */
#ifndef SIM_RULES_H
#define SIM_RULES_H

#include "model.h"

bool rules_job_live(const struct model_job *j);
struct job_view rules_job_look(struct model *m, struct model_eyes *eyes,
                               const struct model_job *j);
struct group_view rules_group_look(struct model *m, struct model_eyes *eyes,
                                   const struct model_group *g);

bool rules_job_has_groups(const struct model *m, const struct model_job *j);
bool rules_group_live(const struct model_group *g);

/* Jobs that have ended and that nobody has seen to be forgotten. */
int64_t rules_retained(const struct model *m);
/* May an ended job have made room for others? */
bool rules_may_be_evicted(const struct model *m, int64_t retained);
/* Members are forgotten with their scope at the latest, or, when a restart
 * has not found it any more, then. */
bool rules_parent_is_gone(const struct model *m, const struct model_group *g);
/* Until when an ended job is kept, if there is room. */
int64_t rules_job_kept_until(const struct model_job *j);
/* Did the attempt that runs say READY? */
bool rules_job_is_ready(const struct model_job *j);

/* CORE_NONE: none. */
int64_t rules_group_deadline(const struct model *m, int g);
int64_t rules_job_deadline(const struct model *m, const struct model_job *j);
bool rules_group_has_width(const struct model *m, int g);
/* Is there room for one more running job? `strict` counts joining ones. */
bool rules_group_has_room(const struct model *m, int g, bool strict);
int64_t rules_group_live_members(const struct model *m, int g);

void rules_job_cancel(struct model *m, struct model_job *j, const char *reason);
void rules_group_cancel(struct model *m, struct model_group *g,
                        const char *reason);
void rules_job_start(struct model *m, struct model_job *j, int session);
/* Has it attempts or groups that live? */
bool rules_session_holds(const struct model *m, int s);
/* Its place may be taken by another. */
void rules_session_free(struct model *m, int s);
/* It cannot be cancelled from outside now. */
bool rules_job_shielded(const struct model_job *j);
/* The shield is over: what it kept back is delivered. */
void rules_job_unshield(const struct model *m, struct model_job *j);
/* What a session holds whose client will not come back ends. */
void rules_session_ending(struct model *m, struct model_eyes *eyes, int s);

/* Does the core show it as if it still waited for its start? It may, while
 * something is left to be done. */
bool rules_job_unreached(struct model *m, struct model_eyes *eyes,
                         const struct model_job *j);

/* Its deadline, if that has passed. */
void rules_group_time(struct model *m, int g);
/* What is due by now happens. */
void rules_time(struct model *m, struct model_eyes *eyes);
/* What follows from what happened, until nothing more does. */
bool rules_settle(struct model *m, struct model_eyes *eyes);

#endif
