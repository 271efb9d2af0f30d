/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child - the yoke-runner that the daemon keeps alive on its own machine.
 *
 *     IDLE -> RUNNING -> SWEEPING -> WAITING -> RUNNING ...
 *                            \-> IDLE (when asked to stop)
 *
 * It talks to the daemon over a socketpair, as descriptor 3. When it dies,
 * everything that it left behind is killed and awaited first; only then is
 * the owner told, and a new one started: after 100 ms, and twice as long each
 * time, up to 10 s; a runner that lived for 10 s starts anew at 100 ms. One
 * that ended for its settings (status 2) is tried again after 1 s, and twice as
 * long each time, up to a minute; that is said once.
 *
 * Never:     what the runner says on its socket.
 * Threads:   none; all calls from the thread of the loop.
 * Errors:    logged: nobody waits for them.
 *
 * There may be one of it in a process, and no other child: the sweep knows no
 * friends.
 */
#ifndef YOKE_CHILD_H
#define YOKE_CHILD_H

#include "base/base.h"

struct ev_loop;
struct child;

struct child_options {
    struct ev_loop *loop;    /* lends until child_free */
    const char *program;     /* path of yoke-runner; lends likewise */
    const char *const *args; /* what follows "--fd 3"; NULL ends it; lends
                              * likewise */
    /* A new runner's end of the socketpair; takes the descriptor. */
    void (*attach)(void *arg, int fd);
    /* The runner that was attached last is dead, and so is all it started. */
    void (*dead)(void *arg);
    void *arg;
};

/* Copies the options. Makes this process a subreaper. */
struct child *child_new(const struct child_options *options);
/* Kills what is there, without a wait for the end. NULL is allowed. */
void child_free(struct child *c);

void child_start(struct child *c);

/* The settings have changed: tells the runner that runs (SIGHUP); one that
 * waits for its next start starts now. */
void child_reload(struct child *c);

/* Ask the runner to end (SIGINT: it does not let jobs go on, but asks them to
 * stop and gives them back), kill it after
 * `most_ms`; calls `done` from the loop, once, when nothing is left of it, and
 * in any case soon after most_ms. Once. */
void child_stop(struct child *c, int64_t most_ms, void (*done)(void *arg),
                void *arg);
/* Do not wait any longer: kill. After child_stop. */
void child_hurry(struct child *c);

#endif
