/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report - how an attempt ended, in the words that the daemon is told it by.
 */
#ifndef RUNNER_REPORT_H
#define RUNNER_REPORT_H

#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <yoke.h>

/* FAIL token class message detail: none is longer. */
#define REPORT_WORDS 5

/* The words, with their bytes behind it. argv[1] is the token, with a NUL. */
struct report {
    TAILQ_ENTRY(report) link;
    bool last_resort; /* nothing else can be tried */
    size_t argc;
    struct yoke_bytes argv[REPORT_WORDS];
};
TAILQ_HEAD(report_list, report);

static inline struct yoke_bytes report_bytes(const char *text)
{
    return (struct yoke_bytes){.data = text, .len = strlen(text)};
}

/* Copies; the caller frees it with free(3). */
struct report *report_new(size_t argc, const struct yoke_bytes *argv);
/* FAIL; an empty detail is left out. */
struct report *report_fail(const char *token, const char *class_name,
                           const char *text, struct yoke_bytes detail);

#endif
