/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * argument - what people write on a command line, read strictly.
 *
 * Knows:     durations, moments, integers, sizes, rates, --halt.
 * Never:     prints, asks the clock or the network.
 * Errors:    false, and *out is untouched: the caller says what would be right,
 *            for which the ARGUMENT_WANTS_ strings are there.
 */
#ifndef CLI_ARGUMENT_H
#define CLI_ARGUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGUMENT_WANTS_DURATION                                             \
    "a duration such as 500ms, 10s, 5m, 1h30m or 2d (a plain number is in " \
    "seconds)"
#define ARGUMENT_WANTS_MOMENT \
    "a duration from now (10m), @UNIX-SECONDS or YYYY-MM-DDTHH:MM[:SS]"
#define ARGUMENT_WANTS_SIZE "a number of bytes, with K, M or G if you like"
#define ARGUMENT_WANTS_RATE "a rate such as 10/1s, 5/s or 1000/1h, or none"
#define ARGUMENT_WANTS_HALT                                               \
    "never, fail=N, success=N, or fail=N,success=N, with N from 1 or 1% " \
    "to 100%"
#define ARGUMENT_HALT_PERCENT                                               \
    "--halt: a percentage needs to know how many members there are; 'yoke " \
    "map' knows when its inputs end, 'yoke group close --halt' counts them"

/* Milliseconds. One or more numbers, each with a unit (ms s m h d), largest
 * first or not; a plain number is in seconds; fractions are fine ("1.5h").
 * At most 100 years. */
bool argument_duration(const char *s, int64_t *out_ms);

/* Unix milliseconds; now_ms is what durations are counted from. Dates are in
 * local time. */
bool argument_moment(const char *s, int64_t now_ms, int64_t *out_ms);

/* Decimal, nothing else around it, min <= value <= max. */
bool argument_integer(const char *s, int64_t min, int64_t max, int64_t *out);

/* A decimal number of at most three places, in thousandths. */
bool argument_thousandths(const char *s, int64_t *out);

/* So many in an interval: "10/1s", "100/h"; n from 1, the interval more than
 * nothing. */
bool argument_rate(const char *s, int64_t *out_n, int64_t *out_ms);

/* Bytes; K, M, G are powers of 1024. */
bool argument_size(const char *s, int64_t *out);

/* The policy of a group: FAIL and SUCCEED, numbers or shares of its members.
 * `never` is 0 0; success=N alone is 0 N, since a race goes on when one runner
 * stumbles. */
struct halt {
    int64_t fail, succeed;
    bool fail_percent, succeed_percent;
};
bool argument_halt(const char *s, struct halt *out);
bool halt_is_share(const struct halt *h);
/* The numbers, when there are so many members: a share of them is rounded up.
 * -1: not known yet; a share is 0 then, never. */
void halt_numbers(const struct halt *h, int64_t members, int64_t *fail,
                  int64_t *succeed);

/* How many single-character edits (insert, remove, replace) turn a into b;
 * words longer than 31 characters are infinitely far. */
size_t argument_distance(const char *a, const char *b);

#endif
