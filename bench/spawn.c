/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spawn - the floor under a process job: a plain loop of posix_spawn and wait.
 *
 *     spawn COUNT AT-ONCE PROGRAM [ARGUMENT...]
 *
 * Runs PROGRAM (a path) COUNT times, AT-ONCE at a time, and prints the seconds.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    long count, at_once, started = 0, ended = 0;
    double began;
    int status;
    pid_t pid;

    if (argc < 4) {
        fprintf(stderr, "usage: spawn COUNT AT-ONCE PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    count = strtol(argv[1], NULL, 10);
    at_once = strtol(argv[2], NULL, 10);
    began = now_s();
    while (ended < count) {
        while (started < count && started - ended < at_once) {
            if (posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, environ)) {
                perror(argv[3]);
                return 1;
            }
            started++;
        }
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "spawn: %s failed\n", argv[3]);
            return 1;
        }
        ended++;
    }
    printf("%.6f\n", now_s() - began);
    return 0;
}
