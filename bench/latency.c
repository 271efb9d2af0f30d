/* SPDX-License-Identifier: BSD-2-Clause */
#include "latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

int64_t latency_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

void latency_start(struct latency *l, int64_t rate, size_t n, int64_t window_s)
{
    *l = (struct latency){.rate = rate, .window_s = window_s};
    l->len = n / (size_t)(rate * window_s) + 1;
    l->windows = calloc(l->len, sizeof(*l->windows));
    if (!l->windows) {
        perror("latency");
        exit(1);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1); /* else a sleep is 50 us too long */
    l->start_ns = latency_now_ns();
}

int64_t latency_due_ns(const struct latency *l, size_t i)
{
    return l->start_ns + (int64_t)i * SECOND_NS / l->rate;
}

void latency_sleep(int64_t until_ns)
{
    struct timespec t = {.tv_sec = until_ns / SECOND_NS,
                         .tv_nsec = until_ns % SECOND_NS};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Below 128 each value has a count of its own, then 64 share a power of 2. */
static size_t index_of(uint64_t v)
{
    unsigned shift = 0;

    while (v >> shift >= 128)
        shift++;
    return shift * 64 + (size_t)(v >> shift);
}

static int64_t value_of(size_t index)
{
    unsigned shift = index < 128 ? 0 : (unsigned)(index / 64 - 1);

    return (int64_t)(index - (size_t)shift * 64) << shift;
}

void latency_note(struct latency *l, size_t i, int64_t ns)
{
    size_t window = i / (size_t)(l->rate * l->window_s);
    struct latency_window *w = &l->windows[window];
    size_t index = index_of(ns < 0 ? 0 : (uint64_t)ns);

    w->n++;
    w->counts[index < LATENCY_COUNTS ? index : LATENCY_COUNTS - 1]++;
    if (ns > w->max_ns)
        w->max_ns = ns;
}

static double quantile_us(const struct latency_window *w, double q)
{
    uint64_t rank = (uint64_t)(q * (double)(w->n - 1)), seen = 0;
    size_t i = 0;

    while (i < LATENCY_COUNTS - 1 && (seen += w->counts[i]) <= rank)
        i++;
    return (double)value_of(i) / 1e3;
}

void latency_print(const struct latency *l)
{
    for (size_t i = 0; i < l->len; i++) {
        const struct latency_window *w = &l->windows[i];

        if (w->n > 0)
            printf("%llu %.1f %.1f %.1f %.1f\n", (unsigned long long)w->n,
                   quantile_us(w, .5), quantile_us(w, .99),
                   quantile_us(w, .999), (double)w->max_ns / 1e3);
    }
}
