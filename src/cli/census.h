/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * census - all that a daemon does at one time, for yoke top: one round of
 * questions, sent at once.
 *
 * What it asks for is bounded, however much there is: CENSUS_MAX of each kind.
 * The answers are kept as JSON, with the names of the protocol:
 *
 *     daemon    the figures of INFO
 *     queues    QUEUE INFO of each, with submit_rate and end_rate
 *     jobs      STATUS of those that run, are to stop, or wait for groups below
 *     parked    STATUS of those that wait for a limiter or a group
 *     limiters  LIMITER INFO of each
 *     workers   the fields of CLIENT LIST of those that hold or fetch
 *     rates     submitted, started, ended, ok, failed, cancelled: a second
 *     counts    queues, limiters: how many there are
 *
 * Rates are null unless there is a census before of the same daemon.
 */
#ifndef CLI_CENSUS_H
#define CLI_CENSUS_H

#include <jansson.h>
#include <stdint.h>

#include <yoke.h>

#define CENSUS_MAX 200

struct census {
    json_t *json; /* NULL: not begun */
    int status;   /* the first thing that went wrong, or 0 */
};

/* Sends the questions. They are answered when yoke_pending() is 0. */
void census_begin(struct census *c, yoke *y);
/* All is answered: adds the rates, by `before`, which may be NULL. */
void census_end(struct census *c, const json_t *before);
void census_clear(struct census *c);

/* The parts of an object; where there is none or it is null: fallback, "". */
int64_t census_int(const json_t *object, const char *key, int64_t fallback);
const char *census_str(const json_t *object, const char *key);
/* The daemon's time in Unix ms. */
int64_t census_now_ms(const json_t *census);

#endif
