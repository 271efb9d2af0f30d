/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warden - the process above the runner, which outlives it and ends what it
 * leaves.
 *
 *     who started us --- warden --- runner --- jobs
 *
 * What somebody starts is the warden, and the runner is its child. Both are
 * subreapers, so one of them can go at any moment:
 *
 *   - However the runner dies, all that it had started becomes the warden's,
 *     which kills it and ends as the runner has ended.
 *   - A runner that was stopped, or slept with its machine, does not know that
 *     its lease is over. It tells before until when its jobs are its own, and a
 *     warden that sees this moment pass kills it with all of them.
 *   - When the warden dies, the runner's link to it ends (warden_next): it is
 *     to kill its jobs, and end. So it must not be tied by PDEATHSIG.
 *
 * Signals: the warden alone gets those of a terminal, for the runner has a
 * session of its own. It hands TERM, INT and HUP on by a pipe, as what is sent
 * to all processes of a name, or of a cgroup, would be counted twice otherwise:
 * of those that come directly the runner takes no notice once it listens. Any
 * other signal does to the warden what it does to any process.
 *
 * Knows:     processes, signals, cgroups by their directory.
 * Never:     jobs, settings, the daemon.
 * Memory:    nothing is allocated until there is something to kill, and the
 *            warden is forked before the runner has grown.
 */
#ifndef RUNNER_WARDEN_H
#define RUNNER_WARDEN_H

#include <stdint.h>

/* What warden_lease() is told while there is no job. */
#define WARDEN_NO_JOBS INT64_MAX

struct warden_link; /* the runner's end */

struct warden_plan {
    /* The runner; what it returns is its exit status. */
    int (*run)(struct warden_link *link, void *arg);
    void *arg;
    /* A connected socket, which only the runner is to have; or -1. */
    int fd;
};

/*
 * Kills what children there are, runs the runner in one, and returns its exit
 * status when nothing is left of it. Does not return when a signal has ended
 * the runner: the same ends this process.
 *
 * A runner that was killed because its lease was over gets a successor, unless
 * it was asked to stop or its socket went with it: then the status is 1.
 */
int warden_main(const struct warden_plan *plan);

/* From now on what the warden is sent comes by warden_next(). The descriptor to
 * watch, readable when something has; it does not block. Before any thread is
 * made. */
int warden_listen(struct warden_link *link);
/* The next signal; 0: none has come; -EPIPE: the warden is gone. */
int warden_next(struct warden_link *link);
/* Until when (job_now_ms) the jobs are certainly ours, or WARDEN_NO_JOBS:
 * before the first of them is started, and whenever that has changed. Costs
 * nothing to speak of. */
void warden_lease(struct warden_link *link, int64_t until_ms);
/* The base of the cgroups, and where the warden moved from, or NULL. Before the
 * first job. */
void warden_cgroup(struct warden_link *link, const char *base,
                   const char *home);

#endif
