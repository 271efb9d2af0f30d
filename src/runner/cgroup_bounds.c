/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The period of cpu.max, in microseconds, and how many are a percent of it. */
#define CPU_PERIOD_US  100000
#define CPU_PERCENT_US (CPU_PERIOD_US / 100)

static const struct {
    const char *controller, *file;
} bounds[CGROUP_BOUNDS] = {
    [CGROUP_MEMORY] = {"memory", "memory.max"},
    [CGROUP_PIDS] = {"pids", "pids.max"},
    [CGROUP_CPU] = {"cpu", "cpu.max"},
};

/* A short file as text; false when it cannot be read. */
static bool read_file(int dir, const char *file, char *text, size_t size)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Whether a cgroup may use a controller. */
static bool has_controller(int dir, const char *name)
{
    char text[512], *rest;

    if (!read_file(dir, "cgroup.controllers", text, sizeof(text)))
        return false;
    for (char *word = strtok_r(text, " \n", &rest); word;
         word = strtok_r(NULL, " \n", &rest)) {
        if (strcmp(word, name) == 0)
            return true;
    }
    return false;
}

int cgroup_enable(struct cgroup *c, enum cgroup_bound which, char *why,
                  size_t why_size)
{
    const char *name = bounds[which].controller;
    char text[32];
    int rc = 0;

    if (c->base < 0) {
        snprintf(why, why_size, "there are no cgroups");
        return -ENOENT;
    }
    snprintf(text, sizeof(text), "+%s", name);
    if (!has_controller(c->base, name))
        rc = cgroup_write(c->base, "../cgroup.subtree_control", text);
    if (rc == 0)
        rc = cgroup_write(c->base, "cgroup.subtree_control", text);
    if (rc < 0) {
        snprintf(why, why_size,
                 "the controller %s of cgroup v2 cannot be had in %s/..: %s",
                 name, c->base_file, strerror(-rc));
        return rc;
    }
    c->controllers |= 1u << which;
    return 0;
}

/* What makes the bound one: beyond it there is no swap, and a job that lost one
 * of its processes to it has lost. Kernels may have no swap to count, and
 * before 4.19 do not know the other. */
static int memory_rest(int dir, int64_t value)
{
    int rc = cgroup_write(dir, "memory.swap.max", value > 0 ? "0" : "max");

    (void)cgroup_write(dir, "memory.oom.group", value > 0 ? "1" : "0");
    return rc == -ENOENT ? 0 : rc;
}

static int bound_write(int dir, enum cgroup_bound which, int64_t value)
{
    char text[64] = "max";
    int rc;

    if (value > 0 && which == CGROUP_CPU)
        snprintf(text, sizeof(text), "%lld %d",
                 (long long)value * CPU_PERCENT_US, CPU_PERIOD_US);
    else if (value > 0)
        snprintf(text, sizeof(text), "%lld", (long long)value);
    rc = cgroup_write(dir, bounds[which].file, text);
    return rc == 0 && which == CGROUP_MEMORY ? memory_rest(dir, value) : rc;
}

static int64_t oom_kills(int dir)
{
    char text[512];
    const char *line;

    if (!read_file(dir, "memory.events", text, sizeof(text)))
        return 0;
    line = strstr(text, "oom_kill ");
    return line ? strtoll(line + 9, NULL, 10) : 0;
}

int cgroup_bind(struct cgroup *c, struct cgroup_leaf *leaf,
                const struct cgroup_bounds *wanted)
{
    for (int i = 0; i < CGROUP_BOUNDS; i++) {
        int64_t value = wanted->of[i].value;
        int rc;

        if (leaf->bounds[i] == value || !(c->controllers & 1u << i))
            continue;
        rc = bound_write(leaf->dir, (enum cgroup_bound)i, value);
        if (rc < 0)
            return rc;
        leaf->bounds[i] = value;
    }
    if (leaf->bounds[CGROUP_MEMORY] > 0)
        leaf->oom_kills = oom_kills(leaf->dir);
    return 0;
}

bool cgroup_out_of_memory(const struct cgroup_leaf *leaf)
{
    return leaf->bounds[CGROUP_MEMORY] > 0 &&
           oom_kills(leaf->dir) > leaf->oom_kills;
}
