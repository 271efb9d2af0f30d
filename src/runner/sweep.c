/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/sweep.h"

#include "runner/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Rounds of one kill: a chain of forks is caught between two of its forks, so
 * it needs some; what is still there after them is met at the next call. */
#define SWEEP_ROUNDS 64

int sweep_init(struct sweep *s)
{
    char path[64];

    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -errno;
    TAILQ_INIT(&s->scopes);
    s->count = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    s->children = open(path, O_RDONLY | O_CLOEXEC);
    return s->children < 0 ? -errno : 0;
}

void sweep_clear(struct sweep *s)
{
    if (s->children >= 0)
        close(s->children);
    s->children = -1;
}

void sweep_add(struct sweep *s, struct sweep_scope *scope)
{
    TAILQ_INSERT_TAIL(&s->scopes, scope, link);
    s->count++;
}

void sweep_remove(struct sweep *s, struct sweep_scope *scope)
{
    TAILQ_REMOVE(&s->scopes, scope, link);
    s->count--;
}

static struct sweep_scope *scope_of_main(struct sweep *s, pid_t pid)
{
    struct sweep_scope *scope;

    TAILQ_FOREACH(scope, &s->scopes, link)
    {
        if (scope->main == pid)
            return scope;
    }
    return NULL;
}

/* Our children that are in no scope; those that have ended are reaped. As
 * nobody else reaps them, the list misses none and no pid is used anew. */
static void find_orphans(struct sweep *s, struct proc_list *out)
{
    char fixed[4096], *text = fixed;
    size_t cap = sizeof(fixed), len = 0;
    pid_t *pids;
    size_t count;
    ssize_t n;

    /* The kernel gives a page at a time, so less than half of one is the
     * end. */
    do {
        if (cap - len < sizeof(fixed) / 2) {
            cap *= 2;
            text = memory_resize(text == fixed ? NULL : text, cap, 1);
            if (len > 0 && cap == 2 * sizeof(fixed))
                memcpy(text, fixed, len);
        }
        n = pread(s->children, text + len, cap - len - 1, (off_t)len);
        len += n > 0 ? (size_t)n : 0;
    } while (n >= (ssize_t)sizeof(fixed) / 2);
    text[len] = '\0';

    count = 0;
    for (const char *p = text; *p; p++)
        count += *p == ' ';
    if (count > s->count) {
        pids = memory_resize(NULL, count + 1, sizeof(*pids));
        count = proc_children_parse(text, pids, count + 1);
        for (size_t i = 0; i < count; i++) {
            struct proc_stat stat;

            if (scope_of_main(s, pids[i]) ||
                waitpid(pids[i], NULL, WNOHANG | __WALL) == pids[i] ||
                proc_stat_read(pids[i], &stat) < 0)
                continue;
            proc_list_add(out, (struct proc_id){pids[i], stat.start});
        }
        free(pids);
    }
    if (text != fixed)
        free(text);
}

/* Whether the path is that of a cgroup or of one below it. */
static bool path_is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 &&
           (path[len] == '\0' || path[len] == '/');
}

static bool orphan_is_of(struct sweep *s, struct proc_id id,
                         struct sweep_scope *scope)
{
    struct sweep_scope *other;
    struct proc_stat stat, main;
    char cgroup[4096];

    TAILQ_FOREACH(other, &s->scopes, link)
    {
        if (proc_has_env(id.pid, other->marker))
            return other == scope;
    }
    if (proc_stat_read(id.pid, &stat) < 0)
        return false;
    TAILQ_FOREACH(other, &s->scopes, link)
    {
        if (stat.session == other->main)
            return other == scope;
    }
    if (proc_cgroup(id.pid, cgroup, sizeof(cgroup)) == 0) {
        TAILQ_FOREACH(other, &s->scopes, link)
        {
            if (other->cgroup && path_is_below(cgroup, other->cgroup))
                return other == scope;
        }
    }
    /* Times are in ticks: the same one may be either way. */
    return proc_stat_read(scope->main, &main) < 0 || stat.start >= main.start;
}

/* The processes of a scope: descendants of its main process and of its
 * orphans, parents first. */
static void collect(struct sweep *s, struct sweep_scope *scope,
                    struct proc_list *out)
{
    struct proc_list orphans = {0};
    struct proc_stat stat;

    if (!scope->main_ended && proc_stat_read(scope->main, &stat) == 0 &&
        stat.state != 'Z')
        proc_list_add(out, (struct proc_id){scope->main, stat.start});
    find_orphans(s, &orphans);
    for (size_t i = 0; i < orphans.count; i++) {
        if (orphan_is_of(s, orphans.items[i], scope))
            proc_list_add(out, orphans.items[i]);
    }
    proc_list_clear(&orphans);
    for (size_t i = 0; i < out->count; i++)
        proc_children(out->items[i].pid, out);
}

bool sweep_empty(struct sweep *s, struct sweep_scope *scope)
{
    struct proc_list orphans = {0};
    bool empty = true;

    find_orphans(s, &orphans);
    for (size_t i = 0; i < orphans.count && empty; i++)
        empty = !orphan_is_of(s, orphans.items[i], scope);
    proc_list_clear(&orphans);
    return empty;
}

void sweep_signal_others(struct sweep *s, struct sweep_scope *scope, int sig)
{
    struct proc_list found = {0};
    struct proc_stat stat;

    collect(s, scope, &found);
    for (size_t i = 0; i < found.count; i++) {
        /* One that is gone needs no signal, and one that may not be signalled
         * is met again when it is killed. */
        if (proc_stat_read(found.items[i].pid, &stat) == 0 &&
            stat.group != scope->main)
            (void)proc_signal(found.items[i], sig);
    }
    proc_list_clear(&found);
}

size_t sweep_kill(struct sweep *s, struct sweep_scope *scope, size_t *denied)
{
    struct proc_list stopped = {0};
    bool grown = true;
    size_t n;

    /* Stopped processes make no new ones, and keep their place in the
     * kernel's count of processes, which holds a fork bomb down. */
    *denied = 0;
    for (int round = 0; grown && round < SWEEP_ROUNDS; round++) {
        struct proc_list found = {0};

        grown = false;
        collect(s, scope, &found);
        for (size_t i = 0; i < found.count; i++) {
            int rc;

            if (proc_list_has(&stopped, found.items[i]))
                continue;
            rc = proc_signal(found.items[i], SIGSTOP);
            if (rc == -EPERM)
                ++*denied;
            if (rc == 0 || rc == -EPERM)
                proc_list_add(&stopped, found.items[i]);
            grown = true;
        }
        proc_list_clear(&found);
    }
    for (size_t i = 0; i < stopped.count; i++)
        (void)proc_signal(stopped.items[i], SIGKILL); /* EPERM is counted */
    n = stopped.count;
    proc_list_clear(&stopped);
    return n;
}

void sweep_reap(struct sweep *s)
{
    struct proc_list orphans = {0};

    find_orphans(s, &orphans);
    proc_list_clear(&orphans);
}

void sweep_strangers(struct sweep *s, int limit_ms)
{
    for (int waited = 0; waited <= limit_ms; waited++) {
        struct proc_list found = {0};
        size_t count;

        find_orphans(s, &found);
        count = found.count;
        for (size_t i = 0; i < found.count; i++)
            (void)proc_signal(found.items[i], SIGKILL); /* tried again */
        proc_list_clear(&found);
        if (count == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}
