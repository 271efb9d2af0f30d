/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runner - a worker of the daemon that runs its jobs as processes.
 *
 * One connection, and on it one FETCH that is always open: for as many jobs as
 * there are free slots, or for cancels alone. Reports and a new FETCH go out
 * in one write. When jobs are short, some more are asked for than can run, so
 * that the next one starts without a round trip; one that would have to wait
 * is given back.
 *
 * A runner that has lost its daemon stops its jobs before its lease can end;
 * one that cannot is killed with them by the process above it, which it tells
 * how long its lease holds (warden.h). What it is asked to do it hears from
 * there.
 *
 * Knows:     libyoke, the loop, jobs by their contract.
 * Never:     processes.
 */
#ifndef RUNNER_RUNNER_H
#define RUNNER_RUNNER_H

#include "runner/settings.h"

struct warden_link;

struct runner_options {
    /* For each HUP: the settings as they are now, finished and with at least
     * one queue, held for the caller; or NULL with a sentence in `why` (of
     * SETTINGS_WHY_SIZE). */
    struct settings *(*load)(void *arg, char *why);
    void *arg;
    const char *address;        /* NULL: as yoke_open decides */
    const char *password_file;  /* NULL: none */
    int fd;                     /* a connected socket, or -1 */
    struct warden_link *warden; /* our parent; lent */
};

/* Serve until a signal ends it or, with fd, the daemon is gone. Takes the
 * settings, which hold at first. Returns the exit status: 0 stopped as asked, 2
 * the settings ask for what cannot be given, 1 otherwise. */
int runner_main(const struct runner_options *options,
                struct settings *settings);

#endif
