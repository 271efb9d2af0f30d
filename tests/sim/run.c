/* SPDX-License-Identifier: BSD-2-Clause */
#include "run.h"

#include "actors.h"

#define COMMIT_PERCENT 35
#define CLOCK_PERCENT  1  /* of the turns, in which the clock is set */
#define CRASH_LEAST    50 /* turns between two crashes */
#define CRASH_MORE     400
#define SURVEY_EVERY   64
#define CRASH_NEAR     20 /* turns before it that it may go back */
#define FAIL_PERCENT   2  /* of these turns, in which the store fails */

static bool crashes(uint64_t seed)
{
    return seed % 3 != 0;
}

static bool has_journal(uint64_t seed)
{
    return seed % 3 == 2;
}

const char *run_mode(uint64_t seed)
{
    return has_journal(seed) ? "core and journal, crashes"
           : crashes(seed)   ? "core, crashes"
                             : "core";
}

struct run_result run_seed(uint64_t seed, uint64_t steps)
{
    static struct world world;
    static struct actors actors;
    struct run_result result;
    uint64_t crash_at;

    world_init(&world, seed, crashes(seed), has_journal(seed));
    actors_init(&actors, &world);
    crash_at = CRASH_LEAST + (uint64_t)world_below(&world, CRASH_MORE);
    for (uint64_t i = 0; i < steps && !world.over; i++) {
        actors_act(&actors);
        if (world_chance(&world, COMMIT_PERCENT))
            world_turn(&world);
        if (world_chance(&world, CLOCK_PERCENT))
            world_set_clock(&world);
        if (i % SURVEY_EVERY == 0)
            world_survey(&world);
        if (!crashes(seed) || i + CRASH_NEAR < crash_at)
            continue;
        if (i < crash_at) {
            if (!world.uncertain)
                world_crash_is_near(&world);
            else if (world_chance(&world, FAIL_PERCENT))
                world_fail(&world);
            continue;
        }
        crash_at = i + CRASH_LEAST + (uint64_t)world_below(&world, CRASH_MORE);
        world_crash(&world);
        actors_restart(&actors);
    }
    if (world.late.failed && !world.over) { /* nothing comes to an end so */
        world_crash(&world);
        actors_restart(&actors);
    }
    if (!world.over)
        actors_finish(&actors);
    result = (struct run_result){.steps = world.steps,
                                 .crashes = world.crashes_done,
                                 .by_buckets = world.damages > 0,
                                 .answers = world.answers};
    world_clear(&world);
    return result;
}
