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
#define SWEEP_ROUNDS   64
#define CHILDREN_PIECE 8192
/* Zombies that are reaped before the living are looked at again. */
#define REAP_MAX 256
/* How often an environment that is missing is looked for. */
#define ENV_TRIES 3

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

/* Reads our `children` file; the caller frees it. It misses none that were
 * there before: nobody but us takes children off the list. */
static char *read_children(const struct sweep *s)
{
    size_t cap = 0, len = 0;
    char *text = NULL;
    ssize_t n;

    /* The kernel gives a page at a time, so less than half of one is the
     * end. */
    do {
        if (cap - len < CHILDREN_PIECE) {
            cap = cap ? 2 * cap : CHILDREN_PIECE;
            text = memory_resize(text, cap, 1);
        }
        n = pread(s->children, text + len, cap - len - 1, (off_t)len);
        len += n > 0 ? (size_t)n : 0;
    } while (n >= CHILDREN_PIECE / 4);
    text[len] = '\0';
    return text;
}

/* Our children that are in no scope, as far as they live. False when some had
 * ended: they are reaped, and what they started has become ours meanwhile. */
static bool list_orphans(struct sweep *s, struct proc_list *out)
{
    char *text = read_children(s);
    size_t count = 0;
    bool settled = true;
    pid_t *pids;

    for (const char *p = text; *p; p++)
        count += *p == ' ';
    /* Every scope has its main process among them. */
    if (count > s->count) {
        pids = memory_resize(NULL, count, sizeof(*pids));
        count = proc_children_parse(text, pids, count);
        for (size_t i = 0; i < count; i++) {
            struct proc_stat stat;

            if (scope_of_main(s, pids[i]))
                continue;
            if (waitpid(pids[i], NULL, WNOHANG | __WALL) == pids[i])
                settled = false;
            else if (proc_stat_read(pids[i], &stat) == 0)
                proc_list_add(out, (struct proc_id){pids[i], stat.start});
        }
        free(pids);
    }
    free(text);
    return settled;
}

/* The same until it is settled; false when it never was. */
static bool find_orphans(struct sweep *s, struct proc_list *out)
{
    for (int round = 0; round < SWEEP_ROUNDS; round++) {
        out->count = 0;
        if (list_orphans(s, out))
            return true;
    }
    return false;
}

/* Whether the path is that of a cgroup or of one below it. */
static bool path_is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 &&
           (path[len] == '\0' || path[len] == '/');
}

/* Whose token it carries; NULL: nobody's that we know. */
static struct sweep_scope *scope_by_token(struct sweep *s, pid_t pid)
{
    struct sweep_scope *scope;
    char token[sizeof(scope->token)];
    int rc = proc_env(pid, SWEEP_VARIABLE, token, sizeof(token));

    for (int i = 1; rc == -ENODATA && i < ENV_TRIES; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        rc = proc_env(pid, SWEEP_VARIABLE, token, sizeof(token));
    }
    if (rc < 0)
        return NULL;
    TAILQ_FOREACH(scope, &s->scopes, link)
    {
        if (strcmp(scope->token, token) == 0)
            return scope;
    }
    return NULL;
}

static struct sweep_scope *scope_by_cgroup(struct sweep *s, pid_t pid)
{
    struct sweep_scope *scope;
    char path[4096];

    if (proc_cgroup(pid, path, sizeof(path)) < 0)
        return NULL;
    TAILQ_FOREACH(scope, &s->scopes, link)
    {
        if (scope->cgroup && path_is_below(path, scope->cgroup))
            return scope;
    }
    return NULL;
}

static bool orphan_is_of(struct sweep *s, struct proc_id id,
                         struct sweep_scope *scope)
{
    struct proc_stat stat, main;
    struct sweep_scope *owner;

    if (proc_stat_read(id.pid, &stat) < 0)
        return false;
    owner = scope_by_token(s, id.pid);
    if (!owner)
        owner = scope_of_main(s, stat.session);
    if (!owner)
        owner = scope_by_cgroup(s, id.pid);
    if (owner)
        return owner == scope;
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
    /* What is not settled yet is found in the next round. */
    (void)find_orphans(s, &orphans);
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
    bool empty = find_orphans(s, &orphans);

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

void sweep_list(struct sweep *s, struct sweep_scope *scope,
                struct proc_list *out)
{
    struct proc_list all = {0};
    struct proc_stat stat;

    collect(s, scope, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (proc_stat_read(all.items[i].pid, &stat) == 0 &&
            stat.start == all.items[i].start && stat.state != 'Z')
            proc_list_add(out, all.items[i]);
    }
    proc_list_clear(&all);
}

size_t sweep_kill(struct sweep *s, struct sweep_scope *scope,
                  const struct proc_list *spared, size_t *denied)
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

            if (proc_list_has(&stopped, found.items[i]) ||
                (spared && proc_list_has(spared, found.items[i])))
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

    (void)find_orphans(s, &orphans); /* there is always a next time */
    proc_list_clear(&orphans);
}

/* Reaps what has ended, or much of it: chains of forks may end faster. True: no
 * child is left, says the kernel. */
static bool reap_all(void)
{
    for (int i = 0; i < REAP_MAX; i++) {
        siginfo_t info = {.si_pid = 0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) < 0)
            return errno == ECHILD;
        if (info.si_pid == 0)
            return false;
    }
    return false;
}

/* Kills the first children that there are. A chain of forks is met only by who
 * is quick, so nothing is looked up: a child that only we reap keeps its id. */
static void kill_first(const struct sweep *s)
{
    char text[CHILDREN_PIECE], *end;
    ssize_t n = pread(s->children, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    for (const char *p = text; *p; p = end + 1) {
        long pid = strtol(p, &end, 10);

        /* One without a blank behind it may have been cut. */
        if (end == p || *end != ' ')
            return;
        (void)kill((pid_t)pid, SIGKILL); /* tried again */
    }
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool sweep_all(struct sweep *s, int limit_ms)
{
    int64_t until = now_ms() + limit_ms;

    for (int round = 0; !reap_all(); round++) {
        if (now_ms() >= until)
            return false;
        kill_first(s);
        /* What does not end at once waits for the kernel. */
        if (round >= SWEEP_ROUNDS)
            nanosleep(&(struct timespec){.tv_nsec = round % 2 * 1000000}, NULL);
    }
    return true;
}
