/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup - a cgroup of its own for each job.
 *
 *     where the runner was started/
 *         supervisor/            the runner and its warden, unless that is root
 *         yoke-NAME-PID/         locked (flock) while that runner lives
 *             job-1/ job-2/ ...  one for each job that runs
 *
 * Directories of jobs are used again when a job ended by itself and left its
 * cgroup empty and as it was: making and removing one costs a tenth of a short
 * job. One that had to be killed is removed.
 *
 * Knows:     cgroup v2, its mounts and files.
 * Never:     jobs, processes other than by cgroup.
 */
#ifndef RUNNER_CGROUP_H
#define RUNNER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#define CGROUP_PATH_MAX 4096

enum cgroup_bound { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_BOUNDS };

/* What a job may use at most: bytes, processes, percent of a processor. */
struct cgroup_bounds {
    struct {
        int64_t value; /* 0: no bound */
        bool wish;     /* of use where it can be had */
    } of[CGROUP_BOUNDS];
};

/* The cgroup of one job. */
struct cgroup_leaf {
    TAILQ_ENTRY(cgroup_leaf) link;
    int dir;    /* for CLONE_INTO_CGROUP */
    int events; /* cgroup.events */
    int watch;  /* of inotify; -1: none */
    bool calm;  /* when last looked at: nobody in it, and not frozen */
    unsigned long number;
    void *owner; /* the user's; given back by cgroup_next_event */
    char *path;  /* as in /proc/PID/cgroup */
    int64_t bounds[CGROUP_BOUNDS]; /* as they are set; 0: none */
    int64_t oom_kills;             /* in it, when it was taken */
};

struct cgroup {
    int base;        /* yoke-NAME-PID; -1: there are no cgroups */
    int notify;      /* inotify: readable when a watched cgroup changed */
    char *base_file; /* path of the base in the file system */
    char *base_path; /* the same as in /proc/PID/cgroup */
    char *home; /* file system path of where we were started, if we moved */
    pid_t owner;
    unsigned long last;
    unsigned controllers; /* bits of those that leaves have */
    TAILQ_HEAD(, cgroup_leaf) idle;
    TAILQ_HEAD(, cgroup_leaf) busy;
    size_t idle_count;
};

/*
 * Find a place, kill what dead runners left there, and make the base. `place`
 * is "auto" or a directory. The base has the id of `owner` in its name, which
 * is this process or its parent, and moves with us. 0, or -errno with a
 * sentence in `why`.
 */
int cgroup_init(struct cgroup *c, const char *place, const char *name,
                pid_t owner, char *why, size_t why_size);
/* Removes everything and moves back. No job may be left. */
void cgroup_clear(struct cgroup *c);

/* For the owner of one whose process is dead: kill all that is in the base
 * (base_file); when nobody is left there, remove it, and move back to `home`,
 * or "". */
void cgroup_kill_base(const char *base);
void cgroup_bury(const char *base, const char *home);

/* Let leaves have what a bound needs: before the first that has it. 0, or
 * -errno with a sentence in `why`. */
int cgroup_enable(struct cgroup *c, enum cgroup_bound which, char *why,
                  size_t why_size);

/* An empty cgroup with these bounds, as far as they were enabled; NULL with
 * errno set. */
struct cgroup_leaf *cgroup_take(struct cgroup *c,
                                const struct cgroup_bounds *bounds);
/* Give an empty one back. `kept` says that it may be used again, as far as
 * cgroup_populated() has seen that it is empty. */
void cgroup_put(struct cgroup *c, struct cgroup_leaf *leaf, bool kept);
/* Whether a process is left in it or below. */
bool cgroup_populated(struct cgroup_leaf *leaf);
/* Whether processes are listed in it: one that is just going away still
 * populates its cgroup, but is not listed. */
bool cgroup_has_members(const struct cgroup_leaf *leaf);
/* Whether the kernel has killed in it, since it was taken, for want of memory
 * within its bound. */
bool cgroup_out_of_memory(const struct cgroup_leaf *leaf);
/* Kill every process in it and below. 0 or -errno. */
int cgroup_kill(const struct cgroup_leaf *leaf);
/* Have c->notify become readable when it becomes empty. */
void cgroup_watch(struct cgroup *c, struct cgroup_leaf *leaf);
/* The owner of the next watched cgroup that changed, or NULL: no more. */
void *cgroup_next_event(struct cgroup *c);

/* Write to a file of a cgroup: 0 or -errno. */
int cgroup_write(int dir, const char *file, const char *text);

/* ------------------------------------------------- pure parts, for tests */

/* What cgroup_take does with a leaf: writes those bounds that differ. 0 or
 * -errno. */
int cgroup_bind(struct cgroup *c, struct cgroup_leaf *leaf,
                const struct cgroup_bounds *wanted);

/* Where cgroup v2 is mounted according to the text of a mountinfo file, and
 * which of its cgroups is the root of that mount. The first one counts. */
bool cgroup_parse_mount(const char *mountinfo, char *point, char *root,
                        size_t size);
/* The own cgroup according to the text of /proc/self/cgroup. */
bool cgroup_parse_self(const char *text, char *path, size_t size);
/* The file of a cgroup below a mount, or false if it cannot be seen there. */
bool cgroup_file(const char *point, const char *root, const char *path,
                 char *out, size_t size);

#endif
