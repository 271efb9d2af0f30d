/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep - ends what a dead child has left behind.
 *
 * This process is a subreaper: whatever a child of ours started becomes our
 * own child when its parents are gone. Killing all children again and again
 * until there is none therefore reaches everything, whatever it did with
 * process groups, sessions or cgroups.
 *
 * Never:     to be called while a child is alive that should stay so.
 * Threads:   one; nobody else may wait for children of this process.
 */
#ifndef YOKE_SWEEP_H
#define YOKE_SWEEP_H

#include "base/base.h"

#include <sys/types.h>

/* Become the subreaper of all descendants. 0 or -errno. */
int sweep_init(void);

/* Kill the cgroup that a runner with this pid made for its jobs
 * (`yoke-NAME-PID`), if there is one: that outruns a job that forks faster
 * than it can be swept. The runner must not have been waited for. */
void sweep_cgroup(pid_t runner);

/* Kill and reap children for at most `most_ms`. 0: no child is left.
 * 1: there are some, call again. -errno: they cannot be listed. */
int sweep_children(int64_t most_ms);

#endif
