/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_CHILDREN_MAX 4096 /* bytes of a list that one pass looks at */

int sweep_init(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A small file of /proc, NUL-terminated, cut to the room there is. Its length
 * or -errno. */
static ssize_t read_small(int dir, const char *name, char *to, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int saved;

    if (fd < 0)
        return -errno;
    n = read(fd, to, size - 1);
    saved = errno;
    (void)close(fd); /* only read from */
    if (n < 0)
        return -saved;
    to[n] = '\0';
    return n;
}

/* --------------------------------------------------------------- cgroup */

/* Where the cgroup2 file system that holds `path` (as /proc/PID/cgroup says
 * it) is mounted: writes the directory of that path. */
static bool cgroup_directory(const char *path, char *to, size_t size)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[2 * PATH_MAX], root[PATH_MAX], point[PATH_MAX];
    bool found = false;

    if (!f)
        return false;
    while (!found && fgets(line, sizeof(line), f)) {
        size_t len;

        /* id parent major:minor root mount-point ... - type ... */
        if (!strstr(line, " - cgroup2 ") ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2)
            continue;
        len = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (strncmp(path, root, len) == 0 &&
            (path[len] == '/' || path[len] == '\0'))
            found =
                (size_t)snprintf(to, size, "%s%s", point, path + len) < size;
    }
    (void)fclose(f); /* only read from */
    return found;
}

static bool kill_directory(const char *dir)
{
    char path[2 * PATH_MAX];
    int fd;
    bool done;

    (void)snprintf(path, sizeof(path), "%s/cgroup.kill", dir);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    done = write(fd, "1", 1) == 1;
    (void)close(fd); /* the write has said it all */
    return done;
}

/* Kill what matches in a directory. */
static void kill_below(const char *dir, const char *pattern)
{
    char path[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    DIR *d = opendir(dir);

    if (!d)
        return;
    while ((entry = readdir(d))) {
        if (fnmatch(pattern, entry->d_name, 0) != 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        (void)kill_directory(path); /* the sweep finds what is left */
    }
    (void)closedir(d); /* only read from */
}

void sweep_cgroup(pid_t runner)
{
    char name[64], pattern[64], text[PATH_MAX], dir[PATH_MAX];
    char *path, *end, *slash;

    (void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)runner);
    (void)snprintf(pattern, sizeof(pattern), "yoke-*-%d", (int)runner);
    if (read_small(AT_FDCWD, name, text, sizeof(text)) <= 0)
        return;
    path = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!path)
        return;
    path = strchr(path, '/');
    if (!path)
        return;
    end = strchr(path, '\n');
    if (end)
        *end = '\0';
    if (!cgroup_directory(path, dir, sizeof(dir)))
        return;
    /* The runner may have moved into a leaf of that directory, or have made
     * it in or beside the cgroup that it was started in. */
    for (int levels = 0; levels < 3; levels++) {
        kill_below(dir, pattern);
        slash = strrchr(dir, '/');
        if (!slash || slash == dir)
            break;
        *slash = '\0';
    }
}

/* ------------------------------------------------------------- children */

static void kill_child(pid_t pid)
{
    /* It is our child and nobody else reaps: the pid cannot be another's. */
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    (void)close(fd);
}

/* Children of one of our threads. */
static int kill_children_of(int tasks, const char *thread)
{
    char name[NAME_MAX + 16], list[SWEEP_CHILDREN_MAX], *at, *end;
    ssize_t n;

    (void)snprintf(name, sizeof(name), "%s/children", thread);
    n = read_small(tasks, name, list, sizeof(list));
    if (n < 0)
        return (int)n;
    /* A last number without a blank behind it may have been cut. */
    for (at = list; *at; at = end + 1) {
        long pid = strtol(at, &end, 10);

        if (end == at || *end != ' ')
            break;
        kill_child((pid_t)pid);
    }
    return 0;
}

static int kill_all(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int rc = 0, one;

    if (!tasks)
        return -errno;
    while ((entry = readdir(tasks))) {
        if (entry->d_name[0] == '.')
            continue;
        one = kill_children_of(dirfd(tasks), entry->d_name);
        if (one < 0)
            rc = one;
    }
    (void)closedir(tasks); /* only read from */
    return rc;
}

/* Reap what has ended. True: no child is left, says the kernel. */
static bool reap(void)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) < 0) {
            if (errno == EINTR)
                continue;
            return errno == ECHILD;
        }
        if (info.si_pid == 0)
            return false;
    }
}

int sweep_children(int64_t most_ms)
{
    int64_t until = monotonic_ms() + most_ms;
    int rc;

    do {
        rc = kill_all();
        if (reap())
            return 0;
    } while (rc == 0 && monotonic_ms() < until);
    return rc < 0 ? rc : 1;
}
