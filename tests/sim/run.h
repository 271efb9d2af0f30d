/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run - one seed from its first event to the empty daemon.
 *
 * The seed decides the mode: a core alone, a core that crashes and goes back
 * to any record past the last durable one, or core and journal on a disk that
 * loses power.
 *
 * What is wrong ends the process through violation(), which the program that
 * runs the seeds defines.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "world.h"

/* The share of the ordinary tests: seeds 1 to RUN_SEEDS. */
#define RUN_SEEDS 192
#define RUN_STEPS 1500 /* an actor's turns; a step of the core or several */

struct run_result {
    uint64_t steps, crashes;
    bool by_buckets;  /* what was damaged is written again in their order */
    uint64_t answers; /* a digest of all that the core said */
};

/* For people: what the seed will do. */
const char *run_mode(uint64_t seed);
struct run_result run_seed(uint64_t seed, uint64_t steps);

#endif
