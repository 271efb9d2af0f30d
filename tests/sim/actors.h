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
#define ACTOR_OPEN   6
#define ACTOR_TEXT   256
#define KNOWN        48

struct actor_token {
    uint64_t job;
    uint32_t attempt;
    bool asked; /* to stop */
};

/* A request without an answer that may be said again. */
struct actor_open {
    struct core_event ev;
    char text[2][ACTOR_TEXT]; /* strings of it that are no constants */
};

struct actor {
    uint64_t client; /* 0: not connected */
    uint64_t before; /* a connection that it left without a word; 0: none */
    uint64_t session;
    bool attached; /* the connection has asked for the session */
    struct actor_open open[ACTOR_OPEN]; /* oldest first */
    int nopen, nsaid; /* so many of them were said on this connection */
    int64_t number;   /* of its last numbered request */
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
    bool disk_narrow, disk_full, draining;
    /* What this world is like, in percent: how much is submitted, how lazy
     * the workers are, how large the payloads, how many groups there are, how
     * much needs limiters or has a chain; and how fast the time goes, in ms. */
    int busy, lazy, large, open, limited, piped, numbered;
    int64_t pace;
};

/* again.c: requests that are said again, and connections that break. */
void again_number(struct actors *a, struct actor *c, struct event_once *once);
/* The request is about to be asked. */
void again_remember(struct actor *c, const struct core_event *ev);
/* The first one that was not said on this connection, to be asked. */
struct core_event again_next(struct actor *c);
/* The oldest request has its answer. True: there are more. */
bool again_answered(struct actor *c);
/* There is no connection any more. */
void again_broken(struct actor *c);
/* There is no session any more. */
void again_forget(struct actor *c);
/* May another numbered one be sent although the last is not answered? */
bool again_may_hurry(const struct actors *a, const struct actor *c);

void actors_init(struct actors *a, struct world *w);
/* Somebody does something. */
void actors_act(struct actors *a);
/* The daemon was restarted: all connections are gone. */
void actors_restart(struct actors *a);
/* The faults stop: all work is done and everything comes to its end. */
void actors_finish(struct actors *a);

#endif
