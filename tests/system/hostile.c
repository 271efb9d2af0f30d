/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostile - jobs that do not want to end, and who looks for what is left of
 * them.
 *
 *     hostile KIND [N]    a job: of a list at the end of this file
 *     hostile floor N     the milliseconds that N processes, each in a session
 * of its own, take to be killed and reaped by a plain loop hostile find for
 * each mark, a line of its input, the number of processes that carry it
 *
 * Every process of a job has YOKE_TEST_MARK in its environment, or its value
 * among its arguments. When all that a job is made of runs, the mark is sent to
 * the datagram socket YOKE_TEST_UP. A job never ends by itself.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MARK_VARIABLE   "YOKE_TEST_MARK"
#define UP_VARIABLE     "YOKE_TEST_UP"
#define ESCAPE_VARIABLE "YOKE_TEST_ESCAPE" /* a cgroup.procs to move to */
#define PLACE_MAX       65536              /* arguments or environment */

#define HIDDEN_UP 9 /* up[1], across an exec */

static const char *mark;
static int up[2]; /* each process that stays writes a byte, once it is there */

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static pid_t must_fork(void)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    return pid;
}

static void ignore_signals(void)
{
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_IGN); /* KILL and STOP cannot be */
}

static void say_up(void)
{
    if (write(up[1], "", 1) != 1)
        fail("write");
}

static void stay(void)
{
    for (;;)
        pause();
}

static void await_up(int count)
{
    char byte;

    for (int i = 0; i < count; i++) {
        if (read(up[0], &byte, 1) != 1)
            fail("read");
    }
}

/* The whole job is there. */
static void tell_up(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv(UP_VARIABLE);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (!path || fd < 0)
        fail(UP_VARIABLE);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    if (sendto(fd, mark, strlen(mark), 0, (struct sockaddr *)&to, sizeof(to)) <
        0)
        fail(path);
    close(fd);
}

/* Forks twice, so that nobody in between is left. True in the grandchild. */
static int fork_away(void)
{
    pid_t pid = must_fork();

    if (pid > 0) {
        waitpid(pid, NULL, 0);
        return 0;
    }
    if (setsid() < 0)
        fail("setsid");
    if (must_fork() > 0)
        _exit(0);
    return 1;
}

/* ------------------------------------------------------------------- kinds */

static void stubborn(int n)
{
    (void)n;
    ignore_signals();
    tell_up();
    stay();
}

static void daemonised(int n)
{
    (void)n;
    if (fork_away()) {
        ignore_signals();
        if (chdir("/") < 0)
            fail("/");
        say_up();
        for (int fd = 0; fd < 64; fd++)
            close(fd);
        stay();
    }
    await_up(1);
    tell_up();
    stay();
}

static void frozen(int n)
{
    for (int i = 0; i < n; i++) {
        if (must_fork() == 0) {
            if (i % 2 && setsid() < 0)
                fail("setsid");
            say_up();
            raise(SIGSTOP);
            stay();
        }
    }
    await_up(n);
    tell_up();
    raise(SIGSTOP);
    stay();
}

/* Whoever is found has gone on already. */
static void chain(int n)
{
    (void)n;
    if (must_fork() == 0) {
        ignore_signals();
        (void)signal(SIGCHLD, SIG_DFL);
        say_up();
        while (fork() <= 0)
            (void)setsid(); /* who leads a group already may not */
        _exit(0);
    }
    await_up(1);
    tell_up();
    stay();
}

static void pipes(int n)
{
    for (int i = 0; i < n; i++) {
        if (fork_away()) {
            ignore_signals();
            if (write(1 + i % 2, "held\n", 5) != 5)
                fail("write");
            say_up();
            stay();
        }
    }
    await_up(n);
    tell_up();
    stay();
}

/* No variable, session or parent says whose it is. */
static void hidden(int n)
{
    char *const argv[] = {"hostile", "stay", (char *)(size_t)mark, NULL};
    char *const none[] = {NULL};
    char byte;

    (void)n;
    if (fork_away()) {
        ignore_signals();
        if (dup2(up[1], HIDDEN_UP) < 0)
            fail("dup2");
        execve("/proc/self/exe", argv, none);
        fail("exec");
    }
    /* Where there are no cgroups it may have died with another job meanwhile:
     * then this is the end of the pipe. */
    close(up[1]);
    if (read(up[0], &byte, 1) < 0)
        fail("read");
    tell_up();
    stay();
}

/* Also leaves its cgroup, where it may. */
static void escaped(int n)
{
    const char *file = getenv(ESCAPE_VARIABLE);
    int fd;

    (void)n;
    if (fork_away()) {
        ignore_signals();
        fd = file ? open(file, O_WRONLY | O_CLOEXEC) : -1;
        if (fd >= 0 && write(fd, "0", 1) != 1)
            fail(file);
        say_up();
        stay();
    }
    await_up(1);
    tell_up();
    stay();
}

/* N processes, in ten sessions, every second of which is deaf. */
static void crowd(int n)
{
    for (int i = 0; i < 10; i++) {
        if (must_fork() > 0)
            continue;
        if (setsid() < 0)
            fail("setsid");
        for (int k = i; k < n - 11; k += 10) {
            if (must_fork() == 0)
                break;
        }
        if (i % 2)
            ignore_signals();
        say_up();
        stay();
    }
    await_up(n - 1);
    tell_up();
    stay();
}

/* What `hidden` becomes. */
static void stays(int n)
{
    (void)n;
    if (write(HIDDEN_UP, "", 1) != 1)
        fail("write");
    close(HIDDEN_UP);
    stay();
}

/* -------------------------------------------------------------------- find */

static int has_mark(const char *pid, const char *file, const char *wanted)
{
    static char text[PLACE_MAX];
    char path[300];
    size_t len = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0; /* it has ended */
    while (len < sizeof(text) &&
           (n = read(fd, text + len, sizeof(text) - len)) > 0)
        len += (size_t)n;
    close(fd);
    return memmem(text, len, wanted, strlen(wanted)) != NULL;
}

static int count_marked(const char *wanted)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    int count = 0;

    if (!dir)
        fail("/proc");
    while ((e = readdir(dir))) {
        if (isdigit((unsigned char)e->d_name[0]))
            count += has_mark(e->d_name, "environ", wanted) ||
                     has_mark(e->d_name, "cmdline", wanted);
    }
    closedir(dir);
    return count;
}

static int find(void)
{
    char line[256];

    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        printf("%d\n", count_marked(line));
        fflush(stdout);
    }
    return 0;
}

/* ------------------------------------------------------------------- floor */

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int floor_of(int n)
{
    pid_t *pids = calloc((size_t)n, sizeof(*pids));
    double began;

    if (!pids || pipe2(up, O_CLOEXEC) < 0)
        fail("floor");
    for (int i = 0; i < n; i++) {
        pids[i] = must_fork();
        if (pids[i] == 0) {
            (void)setsid(); /* nobody's leader yet */
            say_up();
            stay();
        }
    }
    await_up(n);
    began = now_ms();
    for (int i = 0; i < n; i++)
        (void)kill(pids[i], SIGKILL); /* our child */
    while (wait(NULL) > 0)
        ;
    printf("%.3f\n", now_ms() - began);
    free(pids);
    return 0;
}

static const struct kind {
    const char *name;
    void (*run)(int n);
    int n;
} kinds[] = {
    {"stubborn", stubborn, 0}, {"daemon", daemonised, 0}, {"frozen", frozen, 4},
    {"chain", chain, 0},       {"pipes", pipes, 4},       {"hidden", hidden, 0},
    {"escaped", escaped, 0},   {"crowd", crowd, 200},     {"stay", stays, 0},
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "find") == 0)
        return find();
    if (argc == 3 && strcmp(argv[1], "floor") == 0)
        return floor_of((int)strtol(argv[2], NULL, 10));
    mark = getenv(MARK_VARIABLE);
    for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *k = &kinds[i];

        if (strcmp(argv[1], k->name) != 0)
            continue;
        if (k->run != stays && (!mark || pipe2(up, O_CLOEXEC) < 0))
            fail(MARK_VARIABLE);
        k->run(argc > 2 ? (int)strtol(argv[2], NULL, 10) : k->n);
    }
    fprintf(stderr, "hostile: unknown kind of job\n");
    return 2;
}
