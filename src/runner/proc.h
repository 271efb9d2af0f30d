/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proc - what /proc says about processes.
 *
 * A pid alone names nothing for long: struct proc_id adds the time of its
 * start, and proc_signal() makes sure that both still belong together.
 *
 * Knows:     /proc/PID/stat, task/TID/children, environ, cgroup; pidfds.
 * Never:     jobs.
 */
#ifndef RUNNER_PROC_H
#define RUNNER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct proc_id {
    pid_t pid;
    unsigned long long start; /* ticks since boot */
};

/* Zeroed is empty. */
struct proc_list {
    struct proc_id *items;
    size_t count, cap;
};

void proc_list_add(struct proc_list *l, struct proc_id id);
bool proc_list_has(const struct proc_list *l, struct proc_id id);
void proc_list_clear(struct proc_list *l); /* frees */

struct proc_stat {
    char state; /* R S D Z T ... */
    pid_t parent, group, session;
    unsigned long long start;
};

/* 0, or -errno: -ESRCH when there is no such process. */
int proc_stat_read(pid_t pid, struct proc_stat *out);
/* Appends the children of all threads; those that come and go meanwhile may
 * be missed. */
void proc_children(pid_t pid, struct proc_list *out);
/* The value of a variable in the environment the process was started with.
 * 0; -ENOENT: it is not there; -ENODATA: there is no environment at all, which
 * may be so for the moment in which it becomes another program; or -errno. */
int proc_env(pid_t pid, const char *name, char *out, size_t size);
/* The path of its cgroup v2; 0, or -errno. */
int proc_cgroup(pid_t pid, char *out, size_t size);

/* Whether a process has the default action for a signal, and does not block it;
 * of one that is in sigwait(3) just now the kernel says that it does not, so it
 * is certain only of one that is stopped. False if it cannot be told. */
bool proc_has_default(pid_t pid, int sig);

/* Send a signal to that very process. 0, or -errno: -ESRCH when it is gone
 * (a zombie is gone, too). */
int proc_signal(struct proc_id id, int sig);

/* The children in the text of a `children` file, as pids. */
size_t proc_children_parse(char *text, pid_t *out, size_t max);
/* The fields of a `stat` file; 0 or -EINVAL. */
int proc_stat_parse(const char *text, struct proc_stat *out);

#endif
