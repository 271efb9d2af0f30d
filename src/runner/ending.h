/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ending - how the jobs of a queue are asked to stop, and which exit codes are
 * successes.
 *
 * Knows:     the words for it in the configuration.
 * Never:     processes.
 * Errors:    0, or -EINVAL with a sentence in `why`, and *out is as before.
 */
#ifndef RUNNER_ENDING_H
#define RUNNER_ENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENDING_STEPS_MAX 8

/* Exit codes from 0 to 255; zeroed is none. 0 need not be in it. */
struct ending_codes {
    unsigned char bits[32];
};

/* Signals, one after the other, each with the time before the next one; behind
 * the last one the job is killed. Zeroed stands for TERM and the whole grace.
 */
struct ending_ladder {
    size_t count;
    struct {
        int signal;
        int64_t wait_ms; /* -1: until the grace is over; the last one alone */
    } steps[ENDING_STEPS_MAX];
};

/* Words that are numbers. */
int ending_parse_codes(const char *text, struct ending_codes *out, char *why,
                       size_t why_size);
bool ending_has_code(const struct ending_codes *c, int code);
/* Words NAME:DURATION, such as "INT:2s TERM:5s"; the last one may be a name
 * alone. */
int ending_parse_ladder(const char *text, struct ending_ladder *out, char *why,
                        size_t why_size);

#endif
