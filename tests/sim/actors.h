/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * actors - the clients of the simulated world: producers, workers, watchers.
 *
 * Knows:     what a client can know: replies that were delivered to it.
 * Never:     the core's or the model's state, except to keep the world small.
 */
#ifndef SIM_ACTORS_H
#define SIM_ACTORS_H

#include "world.h"

#define ACTORS       10
#define ACTOR_TOKENS 12
#define ACTOR_SEEN   256
#define KNOWN        48

struct actor_token {
    uint64_t job;
    uint32_t attempt;
    bool asked; /* to stop */
};

struct actor {
    uint64_t client; /* 0: not connected */
    uint64_t session;
    bool waiting, resuming, worker;
    bool submitting; /* its wait cannot be ended by a further command */
    int64_t stalled_until;
    struct actor_token tokens[ACTOR_TOKENS], stale[ACTOR_TOKENS];
    int ntokens, nstale;
    uint64_t page_group, page_cursor; /* GROUP NEXT, to be gone on with */
    uint64_t seen[ACTOR_SEEN];
    int nseen;
    bool page_over;
    struct { /* GROUP ERRORS, likewise */
        bool on, is_job;
        uint64_t id;
        size_t classes, except;
        char cursor[40];
    } errors;
};

struct actors {
    struct world *world;
    uint64_t clients; /* the last id given to a connection */
    uint32_t tag;
    struct actor list[ACTORS];
    uint64_t jobs[KNOWN], groups[KNOWN];
    uint64_t njobs, ngroups; /* ever known */
    bool disk_full, draining;
    /* What this world is like, in percent: how much is submitted, how lazy
     * the workers are, how large the payloads, how many groups there are, how
     * much needs limiters or has a chain; and how fast the time goes, in ms. */
    int busy, lazy, large, open, limited, piped;
    int64_t pace;
};

void actors_init(struct actors *a, struct world *w);
/* Somebody does something. */
void actors_act(struct actors *a);
/* The daemon was restarted: all connections are gone. */
void actors_restart(struct actors *a);
/* The faults stop: all work is done and everything comes to its end. */
void actors_finish(struct actors *a);

#endif
