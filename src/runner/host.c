/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/host.h"

#include "runner/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SUID_DUMPABLE "/proc/sys/fs/suid_dumpable"

int host_init(struct job_host *h, const struct settings *s, pid_t owner)
{
    struct rlimit files;
    char why[512];
    int rc;

    h->sweep.children = -1;
    h->cgroup = (struct cgroup){.base = -1, .notify = -1};
    /* Each job takes up to five descriptors of ours; jobs keep the limit. */
    if (getrlimit(RLIMIT_NOFILE, &h->files) == 0) {
        files = h->files;
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer jobs at once, then */
    }
    h->nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    rc = h->nothing < 0 ? -errno : process_init();
    if (rc == 0)
        rc = sweep_init(&h->sweep);
    if (rc < 0) {
        message_error("cannot start: %s", strerror(-rc));
        return rc;
    }
    if (strcmp(s->cgroup, "off") == 0)
        return 0;
    rc = cgroup_init(&h->cgroup, s->cgroup, s->name, owner, why, sizeof(why));
    if (rc == 0)
        return 0;
    if (strcmp(s->cgroup, "auto") != 0) {
        message_error("cgroup: %s", why);
        return rc;
    }
    message_info("no cgroups, jobs are swept by their descent: %s", why);
    return 0;
}

void host_clear(struct job_host *h)
{
    /* Nothing is left of any job by now, whatever way here was taken. */
    (void)sweep_all(&h->sweep, 1000); /* the warden does the rest */
    cgroup_clear(&h->cgroup);
    sweep_clear(&h->sweep);
    process_clear();
    if (h->nothing >= 0)
        close(h->nothing);
    h->nothing = -1;
}

/* ------------------------------------------------------------------- probes */

static struct process_plan plan_of(const struct job_host *h)
{
    return (struct process_plan){.in = h->nothing,
                                 .out = h->nothing,
                                 .err = h->nothing,
                                 .cgroup = -1,
                                 .files = &h->files};
}

/* Whether the cgroups can really be entered: rights and filters of system
 * calls are only known after having tried. */
void host_probe_cgroups(struct job_host *h)
{
    static const struct cgroup_bounds none;
    struct process_plan plan = plan_of(h);
    struct cgroup *c = &h->cgroup;
    struct cgroup_leaf *leaf;
    char why[256];
    int rc;

    if (c->base < 0)
        return;
    leaf = cgroup_take(c, &none);
    if (leaf) {
        plan.cgroup = leaf->dir;
        rc = process_probe(&plan, why, sizeof(why));
        cgroup_put(c, leaf, true);
    } else {
        rc = -errno;
        snprintf(why, sizeof(why), "%s", strerror(errno));
    }
    if (rc == 0)
        return;
    message_warn("cgroups cannot be entered, jobs are swept by their descent: "
                 "%s",
                 why);
    cgroup_clear(c);
}

/* A bound that is a wish, and is not met, is told of and not set. */
static int probe_bounds(struct job_host *h, const struct settings_queue *q)
{
    static const char *const keys[] = {[CGROUP_MEMORY] = "memory-max",
                                       [CGROUP_PIDS] = "pids-max",
                                       [CGROUP_CPU] = "cpu-max"};
    struct cgroup_leaf *leaf;
    bool any = false;
    char why[512];

    for (int i = 0; i < CGROUP_BOUNDS; i++) {
        int rc;

        if (q->bounds.of[i].value == 0)
            continue;
        rc = cgroup_enable(&h->cgroup, (enum cgroup_bound)i, why, sizeof(why));
        any |= rc == 0;
        if (rc == 0)
            continue;
        if (!q->bounds.of[i].wish) {
            message_error("[run %s] %s: %s", q->name, keys[i], why);
            return rc;
        }
        message_warn("[run %s] %s is not met: %s", q->name, keys[i], why);
    }
    if (!any)
        return 0;
    leaf = cgroup_take(&h->cgroup, &q->bounds);
    if (!leaf) {
        int rc = -errno;

        message_error("[run %s]: the bounds of its cgroup cannot be set: %s",
                      q->name, strerror(-rc));
        return rc;
    }
    cgroup_put(&h->cgroup, leaf, true);
    return 0;
}

/* A child that has become its user shares our memory until it runs its program,
 * and the kernel decides whether that user may look into it. */
static int probe_secrecy(const struct settings_queue *q)
{
    int fd = open(SUID_DUMPABLE, O_RDONLY | O_CLOEXEC);
    char digit = '0'; /* a kernel without it has no other */

    if (fd >= 0) {
        (void)!read(fd, &digit, 1);
        close(fd);
    }
    if (digit != '1' || !q->attributes.account.changes)
        return 0;
    message_error("[run %s] %s: with fs.suid_dumpable = 1 the kernel would let "
                  "its jobs look into the runner; set that to 0 or 2, or start "
                  "a runner as that user, without this setting",
                  q->name, *q->user ? "user" : "group");
    return -EPERM;
}

int host_probe_queue(struct job_host *h, const struct settings_queue *q)
{
    struct process_plan plan = plan_of(h);
    char why[256];
    int rc = probe_bounds(h, q);

    if (rc < 0)
        return rc;
    if (q->pass_password && !h->password_file) {
        message_error("[run %s] pass-password: there is no password to "
                      "pass; give --password-file FILE",
                      q->name);
        return -EINVAL;
    }
    if (!q->has_attributes)
        return 0;
    rc = probe_secrecy(q);
    if (rc < 0)
        return rc;
    plan.attributes = &q->attributes;
    rc = process_probe(&plan, why, sizeof(why));
    if (rc < 0)
        message_error("[run %s]: a job %s", q->name, why);
    return rc;
}
