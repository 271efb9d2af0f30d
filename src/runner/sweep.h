/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep - finds and kills every process of a job by its descent.
 *
 * The runner is a subreaper: whatever a job leaves behind becomes a child of
 * the runner, and nothing else ever does. So a job has ended when its main
 * process has, and none of the runner's other children are its own. This
 * holds with and without cgroups: a process that moved to another cgroup is
 * still found.
 *
 * Whose an orphan is, is told by, in this order: the token in its environment;
 * the session, which its main process leads; its cgroup. One that hides all
 * three is taken for a process of any job that was running when it was
 * started: it dies when the first of these ends.
 *
 * Knows:     processes, scopes (a job's processes).
 * Never:     when to kill, or what a job is.
 */
#ifndef RUNNER_SWEEP_H
#define RUNNER_SWEEP_H

#include "runner/proc.h"

#include <sys/queue.h>
#include <yoke.h>

/* By its value a process says whose it is: it is new for each attempt, and
 * nothing of ours changes it (YOKE_SCOPE is for people to change). */
#define SWEEP_VARIABLE YOKE_ENV_TOKEN

/* The processes of one job; embedded in it. */
struct sweep_scope {
    TAILQ_ENTRY(sweep_scope) link;
    pid_t main;         /* not reaped before sweep_remove() */
    bool main_ended;    /* it is a zombie */
    char token[32];     /* value of SWEEP_VARIABLE in its environment */
    const char *cgroup; /* path of its cgroup, or NULL; lent */
};

struct sweep {
    int children; /* our own `children` file */
    TAILQ_HEAD(, sweep_scope) scopes;
    size_t count; /* of scopes */
};

/* Becomes the subreaper. 0, or -errno. */
int sweep_init(struct sweep *s);
void sweep_clear(struct sweep *s);

/* From the start of the main process to the end of the job. */
void sweep_add(struct sweep *s, struct sweep_scope *scope);
void sweep_remove(struct sweep *s, struct sweep_scope *scope);

/* Whether nothing but the main process (if it has not ended) is left of it.
 * Cheap as long as no job has orphans. */
bool sweep_empty(struct sweep *s, struct sweep_scope *scope);
/* Send a signal once to each process that is not in the main process's
 * process group. */
void sweep_signal_others(struct sweep *s, struct sweep_scope *scope, int sig);
/*
 * Stop and kill everything that belongs to it, main process included, but for
 * those in `spared` (NULL: nobody). Returns how many processes were found; they
 * may take a moment to be gone: call again until sweep_empty(). *denied counts
 * those that may not be signalled.
 */
size_t sweep_kill(struct sweep *s, struct sweep_scope *scope,
                  const struct proc_list *spared, size_t *denied);
/* Everything that belongs to it, main process included, as far as it lives. */
void sweep_list(struct sweep *s, struct sweep_scope *scope,
                struct proc_list *out);
/* Reap orphans that have ended. */
void sweep_reap(struct sweep *s);
/* Kill and reap every child there is, and what they leave; at most for
 * limit_ms. False: some are left. For the time when there is no scope. */
bool sweep_all(struct sweep *s, int limit_ms);

#endif
