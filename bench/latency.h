/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * latency - how long things took that were to begin at given times.
 *
 * The n-th begins at its time whether those before have ended or not, and its
 * latency counts from that time: a server that stands still makes all wait that
 * were due meanwhile, and each of them is counted.
 *
 * Latencies are kept in windows, by the time at which they were to begin, as
 * counts of values with seven significant bits.
 */
#ifndef YOKE_BENCH_LATENCY_H
#define YOKE_BENCH_LATENCY_H

#include <stddef.h>
#include <stdint.h>

enum { LATENCY_COUNTS = 64 * 32 };

struct latency_window {
    uint64_t n;
    int64_t max_ns;
    uint32_t counts[LATENCY_COUNTS];
};

struct latency {
    int64_t start_ns, rate, window_s;
    struct latency_window *windows;
    size_t len;
};

int64_t latency_now_ns(void); /* monotonic */

/* Things begin `rate` a second from now on, `n` in all. Ends the process when
 * there is no memory. */
void latency_start(struct latency *l, int64_t rate, size_t n, int64_t window_s);

/* When the i-th begins. */
int64_t latency_due_ns(const struct latency *l, size_t i);

/* Sleeps until then, or not at all. */
void latency_sleep(int64_t until_ns);

/* The i-th took so long. */
void latency_note(struct latency *l, size_t i, int64_t ns);

/* A line for each window: how many, then p50, p99, p99.9 and the longest in
 * microseconds. */
void latency_print(const struct latency *l);

#endif
