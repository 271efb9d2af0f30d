/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process - starts a program with nothing of the runner in it, and says how it
 * ended.
 *
 * The child leads a session and process group of its own, has an empty signal
 * mask and default signals, descriptors 0-2 (and 3, if
 * asked for) and no others, the given environment alone, no priority and no
 * capability that would raise it above others because the runner has it, and
 * dies with the runner (PDEATHSIG). It is in its cgroup before its first
 * instruction (CLONE_INTO_CGROUP).
 *
 * The child shares the memory of the runner until it runs its program, as
 * after vfork(2), which is why it costs little and can tell what failed. But
 * the runner does not stand still meanwhile: an exec takes longer than all that
 * the runner does for a short job. So the child has a stack of its own, makes
 * bare system calls (errno is the runner's), and what it reads stays where it
 * is until process_settled(). It also has copies of the runner's descriptors
 * for that time: see process_close().
 *
 * A child that becomes another user does so alone: the ids that the kernel
 * knows are a thread's. The memory that it shares with us cannot be reached by
 * that user, since the kernel takes the right to look into it away from all but
 * root when an id changes (PR_SET_DUMPABLE); nothing here may give it back.
 * Where the kernel is told not to (fs.suid_dumpable = 1) no such child may be
 * started: to take that right away afterwards would be too late.
 *
 * Namespaces of its own are made with it, by flags of its clone: a child that
 * shares our memory cannot leave a namespace of users afterwards. Where we are
 * not root it gets one of those, too, in which it may mount. In a namespace of
 * processes it is process 1: with it all others there end, and it has no parent
 * that it could ask for, so that it looks at a descriptor (pidfd) to see
 * whether we live.
 *
 * Needs: one thread that starts them all, and lives as long as the runner:
 * PDEATHSIG follows it. Signals that are blocked or have their default action
 * (libev with EVFLAG_SIGNALFD), for kernels without clone3: no handler may run
 * in the child.
 */
#ifndef RUNNER_PROCESS_H
#define RUNNER_PROCESS_H

#include "runner/attributes.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

/* /proc/PID/fd/N, and its end. */
#define PROCESS_PATH_MAX 32

struct process_plan {
    char *const *argv; /* argv[0] is looked for in the PATH of env */
    char *const *env;
    const char *dir;
    int in, out, err; /* all above 2 */
    int extra[2];     /* for its descriptors 3, from above 2, and 4, from
                       * above 4; 0: it has none */
    char *paths[2];   /* where it writes by which path others find these two,
                       * up to PROCESS_PATH_MAX bytes, before it runs its
                       * program: a place in env, for instance; NULL: nowhere */
    mode_t umask_bits;
    int cgroup;                 /* directory of a cgroup; -1: none */
    bool memory_bound;          /* which may run out of memory */
    const struct rlimit *files; /* RLIMIT_NOFILE of the child; NULL: ours */
    const struct attributes *attributes; /* NULL: as ours */
};

struct launch;

struct process {
    pid_t pid;
    int pidfd; /* readable once it has ended; the caller closes it */
    struct launch *launch; /* NULL: it has settled */
};

/* Opens one descriptor, and looks who we are and which signals are ignored:
 * after the runner has set up its own, and in the process that will start the
 * others. 0 or -errno. */
int process_init(void);
/* No child may be left. */
void process_clear(void);

/* Whether a child can get all that the plan says: one does, runs no program and
 * ends. 0, or -errno with what it could not in `why`. argv, env and dir are
 * not used. */
int process_probe(const struct process_plan *plan, char *why, size_t why_size);
/*
 * 0, or -errno with a sentence in `why`: nothing was started then. What the
 * plan points to is lent until process_settled() or process_ended(); its
 * descriptors may be closed at once. The child may still fail to become its
 * program: then it ends, and process_ended() says why.
 */
int process_start(const struct process_plan *plan, struct process *out,
                  char *why, size_t why_size);
/* Whether the child runs its program. */
bool process_settled(struct process *p);
/* Once for each that was started, when it has ended. 0, or -errno with a
 * sentence in `why`: it never was its program. */
int process_ended(struct process *p, char *why, size_t why_size);
/* Closes a descriptor that may be in epoll, where it would stay, and be
 * reported, as long as a child that has not settled yet has a copy of it: that
 * is waited for, not here. */
void process_close(int fd);

/* The error class of an end as waitid(2) reports it, "" if it is a success,
 * and a sentence about it. */
void process_outcome(const siginfo_t *end, char *class_name, size_t class_size,
                     char *text, size_t text_size);

#endif
