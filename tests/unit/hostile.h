/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostile - what a job may do to outlive its scope, as a program.
 *
 *     PROGRAM hostile MODE TAG end|stay
 *
 * Does what MODE says, prints "ready" once that is done, and then ends with
 * status 0 or waits for a signal. TAG is in the arguments of everything that
 * it leaves, so that a survivor is found in /proc. When the test itself was
 * killed nobody looks for survivors: they end by themselves.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOSTILE_LIFE_S 600 /* longer than any test takes */

static time_t hostile_end;   /* monotonic, in seconds */
static int hostile_ready[2]; /* a byte when the escape has succeeded */

static time_t hostile_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* For a signal, but not for ever. */
static void hostile_wait(void)
{
    alarm(HOSTILE_LIFE_S);
    for (;;)
        pause();
}

static void hostile_say(void)
{
    if (write(hostile_ready[1], "r", 1) != 1)
        _exit(1);
}

static void hostile_stay(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    hostile_say();
    hostile_wait();
}

/* A child of a child that leads a session of its own. */
static int hostile_daemon(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            return 1;
        _exit(0);
    }
    return 0;
}

/* The cgroup of this process, as a path; empty if it cannot be written. */
static void hostile_cgroup(char *out, size_t size, const char *mount)
{
    char line[4096];
    FILE *f = fopen("/proc/self/cgroup", "r");

    out[0] = '\0';
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out, size, "%s%.3000s", mount, line + 3);
        }
    }
    if (f)
        fclose(f);
}

/* Enters a cgroup, which is made: "../name" is beside the own one. */
static void hostile_move(const char *name, const char *mount)
{
    char own[3500], path[4000];
    int fd;

    hostile_cgroup(own, sizeof(own), mount);
    snprintf(path, sizeof(path), "%s/%s", own, name);
    (void)mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/%s/cgroup.procs", own, name);
    fd = open(path, O_WRONLY);
    if (fd >= 0) {
        if (write(fd, "0", 1) != 1)
            fd = -1;
        close(fd);
    }
}

/* Generations that last for a moment each: a scan meets the wrong one. */
static void hostile_chain(void)
{
    for (int i = 0;; i++) {
        pid_t pid = fork();

        if (pid > 0 || hostile_now() > hostile_end)
            _exit(0);
        if (i == 20)
            hostile_say();
    }
}

/* Every process forks at each step: 2 to the power of `steps`. */
static void hostile_tree(int steps)
{
    for (; steps > 0; steps--) {
        if (fork() == 0 && steps % 2 == 0)
            setsid();
    }
    hostile_stay();
}

static int hostile_main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[2] : "";
    const char *mount = getenv("HOSTILE_MOUNT");
    int want = 1;
    char byte;

    hostile_end = hostile_now() + HOSTILE_LIFE_S;
    if (strcmp(mode, "again") == 0) {
        /* What `bare` has become. */
        hostile_ready[1] = 3;
        hostile_stay();
    }
    if (pipe(hostile_ready) < 0)
        return 1;
    if (strcmp(mode, "setsid") == 0) {
        if (hostile_daemon())
            hostile_stay();
    } else if (strcmp(mode, "bare") == 0) {
        /* Neither environment nor session tell whose it is. */
        if (hostile_daemon()) {
            char *again[] = {argv[0], "hostile", "again", argv[3], NULL};
            char *none[] = {NULL};

            if (hostile_ready[1] != 3)
                dup2(hostile_ready[1], 3);
            execve("/proc/self/exe", again, none);
            _exit(1);
        }
    } else if (strcmp(mode, "move") == 0) {
        if (hostile_daemon()) {
            hostile_move("../job-escape", mount ? mount : "");
            hostile_stay();
        }
    } else if (strcmp(mode, "nest") == 0) {
        if (hostile_daemon()) {
            hostile_move("inner", mount ? mount : "");
            hostile_stay();
        }
    } else if (strcmp(mode, "chain") == 0) {
        if (hostile_daemon())
            hostile_chain();
    } else if (strcmp(mode, "tree") == 0) {
        want = 32;
        if (fork() == 0)
            hostile_tree(5);
    } else if (strcmp(mode, "frozen") == 0) {
        if (hostile_daemon()) {
            hostile_say();
            raise(SIGSTOP);
            hostile_wait();
        }
    } else if (strcmp(mode, "polite") == 0) {
        /* Not in the process group, but it does as it is told. */
        if (hostile_daemon()) {
            hostile_say();
            hostile_wait();
        }
    } else {
        want = 0;
    }
    while (want > 0) {
        ssize_t n = read(hostile_ready[0], &byte, 1);

        if (n == 0 || (n < 0 && errno != EINTR))
            return 1;
        want -= n == 1;
    }
    printf("ready\n");
    fflush(stdout);
    if (argc > 4 && strcmp(argv[4], "stay") == 0)
        hostile_wait();
    return 0;
}

#endif
