/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sim - runs the core against a naive model in a seeded world.
 *
 *     sim                  a fixed set of seeds
 *     sim SEED [STEPS]     one of them; the same seed is the same run
 *
 * The seed decides the mode: a core alone (crashes go back to any record past
 * the last durable one), or core and journal on a disk that loses power.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "actors.h"

#define SEEDS          48
#define STEPS          1500
#define COMMIT_PERCENT 35

static uint64_t seed_now, seeds_done, steps_done, crashes_done;

static void end_badly(const char *text)
{
    trace_print();
    fprintf(stderr, "violation: %s\nagain with: sim %llu\n", text,
            (unsigned long long)seed_now);
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
    static struct world world;
    static struct actors actors;
    bool crashes = seed % 3 != 0, journal = seed % 3 == 2;
    uint64_t crash_at;

    seed_now = seed;
    printf("seed %llu%s\n", (unsigned long long)seed,
           journal   ? ": core and journal, crashes"
           : crashes ? ": core, crashes"
                     : ": core");
    fflush(stdout);
    world_init(&world, seed, crashes, journal);
    actors_init(&actors, &world);
    crash_at = 50 + (uint64_t)world_below(&world, 400);
    for (uint64_t i = 0; i < steps && !world.over; i++) {
        actors_act(&actors);
        if (world_chance(&world, COMMIT_PERCENT))
            world_commit(&world);
        if (crashes && i == crash_at) {
            crash_at = i + 50 + (uint64_t)world_below(&world, 400);
            world_crash(&world);
            actors_restart(&actors);
        }
    }
    if (!world.over)
        actors_finish(&actors);
    seeds_done++;
    steps_done += world.steps;
    crashes_done += world.crashes_done;
    world_clear(&world);
}

static int number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno || *end || end == text ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, steps = STEPS;
    struct sigaction action = {.sa_handler = on_abort};

    if (argc > 3 || (argc > 1 && number(argv[1], &seed) != 0) ||
        (argc > 2 && number(argv[2], &steps) != 0)) {
        fprintf(stderr, "usage: sim [seed] [steps]\n");
        return 2;
    }
    (void)sigaction(SIGABRT, &action, NULL); /* for the trace alone */
    if (argc > 1)
        run(seed, steps);
    else
        for (seed = 1; seed <= SEEDS; seed++)
            run(seed, steps);
    printf("%llu seeds, %llu steps, %llu crashes, 0 violations\n",
           (unsigned long long)seeds_done, (unsigned long long)steps_done,
           (unsigned long long)crashes_done);
    printf("%llu passed, 0 failed\n", (unsigned long long)seeds_done);
    return 0;
}
