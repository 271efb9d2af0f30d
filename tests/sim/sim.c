/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sim - runs the core against a naive model in a seeded world.
 *
 *     sim                       a fixed set of seeds
 *     sim SEED [STEPS]          one of them; the same seed is the same run
 *     sim --range FIRST LAST [STEPS]
 *                               many, without a trace; a seed that fails is
 *                               run again with one
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

static uint64_t seed_now, steps_now, seeds_done, steps_done, crashes_done;
static const char *program;

/* The same once more, with a trace. */
static void run_again(void)
{
    char seed[24], steps[24];

    (void)snprintf(seed, sizeof(seed), "%llu", (unsigned long long)seed_now);
    (void)snprintf(steps, sizeof(steps), "%llu", (unsigned long long)steps_now);
    fflush(stdout);
    (void)execl(program, program, seed, steps, (char *)NULL);
    /* Without the trace, then. */
}

static void end_badly(const char *text)
{
    sigset_t all;

    if (!trace_on) {
        (void)sigemptyset(&all); /* for the next SIGABRT */
        (void)sigprocmask(SIG_SETMASK, &all, NULL);
        run_again();
    }
    trace_print();
    fprintf(stderr, "violation: %s\nagain with: sim %llu %llu\n", text,
            (unsigned long long)seed_now, (unsigned long long)steps_now);
    printf("%llu seeds, %llu steps, 1 violations\n",
           (unsigned long long)seeds_done, (unsigned long long)steps_done);
    printf("%llu passed, 1 failed\n", (unsigned long long)seeds_done);
    fflush(stdout);
    _exit(1);
}

void violation(const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    end_badly(text);
    abort();
}

/* An assertion of the core: show how it came to it. */
static void on_abort(int signal)
{
    (void)signal;
    end_badly("an assertion failed, see above");
}

static void run(uint64_t seed, uint64_t steps)
{
    struct run_result r;

    seed_now = seed;
    steps_now = steps;
    if (trace_on)
        printf("seed %llu: %s\n", (unsigned long long)seed, run_mode(seed));
    fflush(stdout);
    r = run_seed(seed, steps);
    seeds_done++;
    steps_done += r.steps;
    crashes_done += r.crashes;
}

static int number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno || *end || end == text ? -EINVAL : 0;
}

static bool arguments(int argc, char **argv, uint64_t *first, uint64_t *last,
                      uint64_t *steps)
{
    int at = 1;

    if (argc == 1)
        return true;
    trace_on = strcmp(argv[1], "--range") != 0;
    if (!trace_on)
        at++;
    if (argc <= at || number(argv[at++], first) != 0)
        return false;
    *last = *first;
    if (!trace_on && (argc <= at || number(argv[at++], last) != 0))
        return false;
    if (argc > at && number(argv[at++], steps) != 0)
        return false;
    return argc == at;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, last = RUN_SEEDS, steps = RUN_STEPS;
    struct sigaction action = {.sa_handler = on_abort};
    double seconds;

    program = argv[0];
    if (!arguments(argc, argv, &first, &last, &steps)) {
        fprintf(stderr, "usage: sim [SEED [STEPS]]\n"
                        "       sim --range FIRST LAST [STEPS]\n");
        return 2;
    }
    (void)sigaction(SIGABRT, &action, NULL); /* for the trace alone */
    for (uint64_t seed = first; seed <= last; seed++)
        run(seed, steps);
    seconds = (double)clock() / CLOCKS_PER_SEC;
    printf("%llu seeds, %llu steps, %llu crashes, 0 violations; %.0f steps a "
           "second of one processor\n",
           (unsigned long long)seeds_done, (unsigned long long)steps_done,
           (unsigned long long)crashes_done, (double)steps_done / seconds);
    printf("%llu passed, 0 failed\n", (unsigned long long)seeds_done);
    return 0;
}
