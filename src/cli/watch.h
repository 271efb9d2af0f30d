/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch - a handle that asks and one that listens, for verbs that stay: they
 * say so when the daemon is gone, and go on when it is back.
 *
 * Neither handle comes back by itself: a verb that waits for an answer knows at
 * once that there will be none.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <yoke.h>

struct cli;

struct watch {
    struct cli *c;
    const char *const *channels; /* what is listened to; may be none */
    size_t nchannels;
    yoke_message_fn *told;
    void *arg;
    yoke *asker, *listener; /* NULL: lost; or there are no channels */
    bool quiet;             /* the verb itself shows that it is lost */
};

/* Connects and subscribes, or ends the program as cli_connect does. What `w`
 * says of channels, told, arg and quiet holds from then on. */
void watch_begin(struct watch *w, struct cli *c);
/* Whether a status means that the daemon is gone. */
bool watch_is_loss(int status);
/* It is gone: both handles are given up; says so. Anything that is no loss ends
 * the program, with "what: why". */
void watch_lose(struct watch *w, yoke *y, int status, const char *what);
/* Tries once to come back; true: it is back, and what happened meanwhile was
 * not told. */
bool watch_again(struct watch *w);
/* Until something was told, or comes from `fd` (-1: none), or a signal, or for
 * so long; -1: for ever. What is told goes to `told`. */
void watch_wait(struct watch *w, int fd, int64_t ms);
void watch_end(struct watch *w);

#endif
