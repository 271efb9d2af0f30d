/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/script.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/text.h"

/* Orphans tell nobody when they end: look again after so long. */
#define LOOK_MS 20
#define TASKS   "/proc/%ld/task/*/children"

struct pids {
    pid_t *list;
    size_t count, cap;
};

static void add_children_of_task(struct pids *p, const char *path)
{
    FILE *file = fopen(path, "re");
    long pid;

    if (file == NULL)
        return; /* it has ended meanwhile */
    while (fscanf(file, "%ld", &pid) == 1) {
        if (p->count == p->cap) {
            p->cap = p->cap > 0 ? 2 * p->cap : 64;
            p->list = text_grow(p->list, p->cap, sizeof(*p->list));
        }
        p->list[p->count++] = (pid_t)pid;
    }
    (void)fclose(file); /* it was only read */
}

static void add_children(struct pids *p, pid_t pid)
{
    char pattern[64];
    glob_t tasks;

    (void)snprintf(pattern, sizeof(pattern), TASKS, (long)pid);
    if (glob(pattern, GLOB_NOSORT, NULL, &tasks) == 0) {
        for (size_t i = 0; i < tasks.gl_pathc; i++)
            add_children_of_task(p, tasks.gl_pathv[i]);
        globfree(&tasks);
    }
}

/* Sends a signal to everything that descends from us, parents first: none of
 * it may be reaped meanwhile, so the numbers are what they were, but for a
 * child of a child that its own parent has reaped. */
static size_t signal_all(int number)
{
    struct pids p = {0};
    size_t count;

    add_children(&p, getpid());
    for (size_t i = 0; i < p.count; i++)
        add_children(&p, p.list[i]);
    for (size_t i = 0; i < p.count; i++)
        (void)kill(p.list[i], number); /* gone is as good */
    count = p.count;
    free(p.list);
    return count;
}

/* Why exec failed; 0: it has not, and closed the pipe. */
static int read_error(int fd)
{
    int error = 0;
    ssize_t n;

    do
        n = read(fd, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(error) ? error : 0;
}

int script_start(struct script *s, char *const *argv)
{
    sigset_t none;
    int ready[2], error = 0;

    *s = (struct script){.fd = -1};
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (pipe2(ready, O_CLOEXEC) != 0)
        return -errno;
    (void)fflush(NULL);
    s->pid = fork();
    if (s->pid == 0) {
        /* exec resets what is caught, not what is ignored or blocked */
        (void)signal(SIGPIPE, SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execvp(argv[0], argv);
        error = errno;
        (void)!write(ready[1], &error, sizeof(error));
        _exit(127);
    }
    (void)close(ready[1]);
    if (s->pid < 0)
        error = errno;
    else
        error = read_error(ready[0]);
    (void)close(ready[0]);
    if (error == 0) {
        s->fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
        if (s->fd >= 0)
            return 0;
        error = errno;
        (void)kill(s->pid, SIGKILL);
    }
    if (s->pid > 0)
        (void)waitpid(s->pid, NULL, 0);
    return -error;
}

void script_stop(struct script *s, int64_t grace_ms)
{
    int64_t kill_ms = cli_monotonic_ms() + grace_ms;

    if (s->stopping && s->kill_ms <= kill_ms)
        return;
    if (!s->stopping)
        (void)signal_all(SIGTERM);
    s->was_stopped = s->was_stopped || !s->ended;
    s->stopping = true;
    s->kill_ms = kill_ms;
}

/* False: no child is left. */
static bool reap(struct script *s)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid <= 0)
            return pid == 0;
        if (pid != s->pid || s->ended)
            continue;
        s->ended = true;
        s->wait_status = status;
        (void)close(s->fd);
        s->fd = -1;
    }
}

bool script_check(struct script *s)
{
    bool left = reap(s);

    if (!s->stopping)
        return s->ended;
    if (left && cli_monotonic_ms() >= s->kill_ms)
        (void)signal_all(SIGKILL);
    return !left;
}

int script_timeout(const struct script *s)
{
    return s->stopping ? LOOK_MS : -1;
}

int script_exit_status(const struct script *s)
{
    return WIFSIGNALED(s->wait_status) ? EXIT_SIGNAL + WTERMSIG(s->wait_status)
                                       : WEXITSTATUS(s->wait_status);
}
