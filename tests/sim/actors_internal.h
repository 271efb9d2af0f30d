/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * actors_internal - what the files of the actors have from each other.
 */
#ifndef SIM_ACTORS_INTERNAL_H
#define SIM_ACTORS_INTERNAL_H

#include "actors.h"

#define ACTORS_QUEUES   5
#define ACTORS_LIMITERS 3

extern const struct str actors_queues[ACTORS_QUEUES];
extern const struct str actors_limiters[ACTORS_LIMITERS];

static inline int64_t below(struct actors *a, int64_t n)
{
    return world_below(a->world, n);
}

static inline bool chance(struct actors *a, int percent)
{
    return world_chance(a->world, percent);
}

static inline int64_t some_wait(struct actors *a)
{
    return chance(a, 30) ? 0 : chance(a, 10) ? CORE_NONE : below(a, 900);
}

void actors_ask(struct actors *a, struct actor *c, struct core_event *ev);
/* One of these, or an id that nobody ever got. */
uint64_t actors_known(struct actors *a, const uint64_t *ids, uint64_t n);
/* Most clients know what goes on: they ask for what is still alive. */
uint64_t actors_known_group(struct actors *a);
uint64_t actors_known_job(struct actors *a);

/* producers.c */
/* Into a group, or `under` an attempt. */
void producer_submit(struct actors *a, struct actor *c,
                     const struct actor_token *under);
void producer_open(struct actors *a, struct actor *c,
                   const struct actor_token *under);
/* Old groups that nobody closes would hold everything for ever. false: there is
 * none. */
bool producer_close_oldest(struct actors *a, struct actor *c);
/* The world stays small. */
bool producer_may_submit(const struct actors *a);
bool producer_may_open(const struct actors *a);
void producer_act(struct actors *a, struct actor *c);

#endif
