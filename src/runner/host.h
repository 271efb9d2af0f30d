/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host - the place where jobs run: finds out what this machine, and our rights
 * on it, can give to them, before the first one comes.
 *
 * Knows:     cgroups, sweep, processes, the settings.
 * Never:     the daemon.
 * Errors:    told in the log.
 */
#ifndef RUNNER_HOST_H
#define RUNNER_HOST_H

#include "runner/job.h"

/* Fills in all but the settings, the loop, the callbacks and what they get. The
 * cgroups are those of `owner`, this process or its parent. 0 or -errno;
 * host_clear in any case. */
int host_init(struct job_host *h, const struct settings *s, pid_t owner);
/* Tries whether cgroups can be entered; does without them if not. */
void host_probe_cgroups(struct job_host *h);
/* Tries what the jobs of a queue will need, jobs of others may run meanwhile.
 * Takes some milliseconds. 0; -errno: it wants what cannot be had. */
int host_probe_queue(struct job_host *h, const struct settings_queue *q);
void host_clear(struct job_host *h);

#endif
