/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/proc.h"

#include "runner/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void proc_list_add(struct proc_list *l, struct proc_id id)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->items = memory_resize(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->count++] = id;
}

bool proc_list_has(const struct proc_list *l, struct proc_id id)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].pid == id.pid && l->items[i].start == id.start)
            return true;
    }
    return false;
}

void proc_list_clear(struct proc_list *l)
{
    free(l->items);
    *l = (struct proc_list){0};
}

/* Reads a whole small file; returns its length, NUL-terminated, or -errno. */
static ssize_t read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n;

    if (fd < 0)
        return -errno;
    while ((n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    if (n < 0)
        n = -errno;
    close(fd);
    if (n < 0)
        return n;
    out[len] = '\0';
    return (ssize_t)len;
}

int proc_stat_parse(const char *text, struct proc_stat *out)
{
    /* The name is in parentheses and may hold anything, ')' included. */
    const char *p = strrchr(text, ')');
    struct proc_stat s;
    int parent, group, session;

    if (!p ||
        sscanf(p + 1,
               " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
               "%*d %*d %*d %llu",
               &s.state, &parent, &group, &session, &s.start) != 5)
        return -EINVAL;
    s.parent = parent;
    s.group = group;
    s.session = session;
    *out = s;
    return 0;
}

int proc_stat_read(pid_t pid, struct proc_stat *out)
{
    char path[64], text[1024];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    n = read_file(path, text, sizeof(text));
    if (n < 0)
        return n == -ENOENT ? -ESRCH : (int)n;
    return proc_stat_parse(text, out);
}

bool proc_has_default(pid_t pid, int sig)
{
    static const char *const sets[] = {"\nSigIgn:\t", "\nSigCgt:\t",
                                       "\nSigBlk:\t"};
    char path[64], text[8192];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (read_file(path, text, sizeof(text)) < 0)
        return false;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        const char *at = strstr(text, sets[i]);

        if (!at || strtoull(at + strlen(sets[i]), NULL, 16) >> (sig - 1) & 1)
            return false;
    }
    return true;
}

size_t proc_children_parse(char *text, pid_t *out, size_t max)
{
    size_t n = 0;
    char *at = text, *end;

    while (n < max) {
        long pid = strtol(at, &end, 10);

        if (end == at)
            break;
        out[n++] = (pid_t)pid;
        at = end;
    }
    return n;
}

/* The children of one thread. A file may be long: it is read in pieces, and
 * a pid that is cut by the end of a piece is kept for the next. */
static void children_of_thread(const char *path, struct proc_list *out)
{
    char text[4096];
    pid_t pids[sizeof(text) / 2];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t kept = 0;
    ssize_t n;

    if (fd < 0)
        return;
    while ((n = read(fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
        size_t len = kept + (size_t)n, whole = len, count;

        while (whole > 0 && text[whole - 1] != ' ')
            whole--;
        kept = len - whole;
        if (whole > 0) {
            text[whole - 1] = '\0';
            count =
                proc_children_parse(text, pids, sizeof(pids) / sizeof(*pids));
            for (size_t i = 0; i < count; i++) {
                struct proc_stat s;

                if (proc_stat_read(pids[i], &s) == 0)
                    proc_list_add(out, (struct proc_id){pids[i], s.start});
            }
            memmove(text, text + whole, kept);
        }
    }
    close(fd);
}

void proc_children(pid_t pid, struct proc_list *out)
{
    char path[64];
    struct dirent *e;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (!dir)
        return;
    while ((e = readdir(dir))) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid,
                 e->d_name);
        children_of_thread(path, out);
    }
    closedir(dir);
}

int proc_env(pid_t pid, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    struct buffer b = {0};
    char path[64], text[8192];
    int fd, rc = -ENOENT;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* The kernel's bound on arguments and environment bounds this. */
    while ((n = read(fd, text, sizeof(text))) > 0)
        buffer_append(&b, text, (size_t)n);
    close(fd);
    if (b.len == 0)
        return -ENODATA;
    buffer_append(&b, "", 1);
    for (const char *at = b.data; at < b.data + b.len; at += strlen(at) + 1) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            snprintf(out, size, "%s", at + len + 1);
            rc = 0;
            break;
        }
    }
    buffer_clear(&b);
    return rc;
}

int proc_cgroup(pid_t pid, char *out, size_t size)
{
    char path[64], text[8192];
    const char *line;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    n = read_file(path, text, sizeof(text));
    if (n < 0)
        return (int)n;
    for (line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "0::", 3) == 0) {
            snprintf(out, size, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
            return 0;
        }
    }
    return -ENOENT;
}

int proc_signal(struct proc_id id, int sig)
{
    int fd = (int)syscall(SYS_pidfd_open, id.pid, 0);
    struct proc_stat s;
    int rc;

    if (fd < 0)
        return -errno;
    /* The descriptor holds whoever has the pid now; the same start means that
     * it is still the one that was meant. */
    rc = proc_stat_read(id.pid, &s);
    if (rc == 0 && (s.start != id.start || s.state == 'Z'))
        rc = -ESRCH;
    if (rc == 0 && syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
        rc = -errno;
    close(fd);
    return rc;
}
