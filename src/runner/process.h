/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process - starts a program with nothing of the runner in it, and says how it
 * ended.
 *
 * The child leads a session and process group of its own, has an empty signal
 * mask and default signals, descriptors 0-2 and no others, the given
 * environment alone, and dies with the runner (PDEATHSIG). It is in its cgroup
 * before its first instruction (CLONE_INTO_CGROUP).
 *
 * The child shares the memory of the runner until it runs its program, as
 * after vfork(2), which is why it costs little and can tell what failed. All
 * its descriptors but 0-2 are closed before that moment, so that closing ours
 * is enough to take them out of epoll.
 *
 * Needs: signals of the runner are blocked or have their default action (libev
 * with EVFLAG_SIGNALFD): no handler may run in the child.
 */
#ifndef RUNNER_PROCESS_H
#define RUNNER_PROCESS_H

#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct process_plan {
    char *const *argv; /* argv[0] is looked for in the PATH of env */
    char *const *env;
    const char *dir;
    int in, out, err; /* all above 2 */
    mode_t umask_bits;
    int cgroup;                 /* directory of a cgroup; -1: none */
    const struct rlimit *files; /* RLIMIT_NOFILE of the child; NULL: ours */
};

struct process {
    pid_t pid;
    int pidfd; /* readable once it has ended; the caller closes it */
};

/* Makes the stack for children and looks which signals are ignored: after the
 * runner has set up its own. Must be called before process_start. 0 or -errno.
 */
int process_init(void);
void process_clear(void);

/* Whether a child can be started in a cgroup: 0 or -errno. */
int process_probe(int cgroup);
/* 0, or -errno with a sentence in `why`: nothing was started then. */
int process_start(const struct process_plan *plan, struct process *out,
                  char *why, size_t why_size);

/* The error class of an end as waitid(2) reports it, "" if it is a success,
 * and a sentence about it. */
void process_outcome(const siginfo_t *end, char *class_name, size_t class_size,
                     char *text, size_t text_size);

#endif
