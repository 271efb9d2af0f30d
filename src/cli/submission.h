/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * submission - the options of a job that submit, run and map share, and the
 * payload that carries a command line.
 *
 * Scope: inside a job the environment names the attempt (or a group); libyoke
 * puts what a yoke command there starts below it.
 */
#ifndef CLI_SUBMISSION_H
#define CLI_SUBMISSION_H

#include <yoke.h>

#include "cli/cli.h"

#define SUBMISSION_QUEUE "run" /* whose payloads carry command lines */

enum {
    SUBMISSION_PRIORITY = 300,
    SUBMISSION_EXPIRES,
    SUBMISSION_GRACE,
    SUBMISSION_RETRY,
    SUBMISSION_BACKOFF,
    SUBMISSION_FACTOR,
    SUBMISSION_JITTER,
    SUBMISSION_RETRY_ON,
    SUBMISSION_AT,
    SUBMISSION_REDELIVER,
    SUBMISSION_KEEP,
    SUBMISSION_WAIT,
    SUBMISSION_ENV,
    SUBMISSION_DIR,
    SUBMISSION_THEN,
    SUBMISSION_LIMITS,
};

#define SUBMISSION_ROWS                                                        \
    {'q', "queue", "QUEUE", "the queue (for commands: run)"},                  \
        {'t', "timeout", "D", "most time of one attempt"},                     \
        {SUBMISSION_GRACE, "grace", "D",                                       \
         "between asking to stop and killing"},                                \
        {SUBMISSION_RETRY, "retry", "N", "attempts in all when they fail"},    \
        {SUBMISSION_BACKOFF, "backoff", "D[,CAP]",                             \
         "delay before the second attempt, and the longest one"},              \
        {SUBMISSION_FACTOR, "factor", "F",                                     \
         "by how much the delay grows with each attempt (2)"},                 \
        {SUBMISSION_JITTER, "jitter", "PERCENT",                               \
         "how much of the delay is up to chance (100)"},                       \
        {SUBMISSION_RETRY_ON, "retry-on", "CLASS[,CLASS]",                     \
         "errors that are tried again, such as exit:75 or net*"},              \
        {SUBMISSION_AT, "at", "WHEN", "not before then: 10m from now, @UNIX"}, \
        {SUBMISSION_REDELIVER, "redeliver", "N",                               \
         "attempts that may be lost with their worker"},                       \
        {SUBMISSION_PRIORITY, "priority", "0-9", "higher goes first (4)"},     \
        {SUBMISSION_EXPIRES, "expires", "D", "most time queued"},              \
        {SUBMISSION_KEEP, "keep", "D", "how long the outcome is kept"},        \
        {SUBMISSION_WAIT, "wait", "D", "most time to wait for room, 0: none"}, \
        {SUBMISSION_LIMITS, "limits", "NAME[:N][,...]",                        \
         "permits of limiters that it holds while it runs"},                   \
        {SUBMISSION_THEN, "then", "QUEUE[,QUEUE]",                             \
         "the result becomes a job of that queue, and so on"},                 \
        {SUBMISSION_DIR, "dir", "DIR", "where the command runs (here)"},       \
    {                                                                          \
        SUBMISSION_ENV, "env", "NAME[=VALUE]",                                 \
            "put into the command's environment"                               \
    }

struct submission {
    struct yoke_submit submit; /* queue is NULL until it is given */
    char *dir;
    char **env; /* NULL, or ends with NULL */
    size_t nenv;
};

void submission_init(struct submission *s);
void submission_clear(struct submission *s);
/* Takes an option that is one of SUBMISSION_ROWS; false: it is another. */
bool submission_option(struct cli *c, int id, struct submission *s);
/* The value "D" or "D,CAP" of --backoff. */
void submission_backoff(struct cli *c, struct yoke_submit *submit);
/* The payload of a command line, by submission's dir and env. argv ends with
 * NULL. The caller frees out->data by yoke_free. */
void submission_payload(struct cli *c, const struct submission *s,
                        char *const *argv, struct yoke_bytes input,
                        struct yoke_bytes *out);
/* A command line as one would type it into a shell, as a label. */
char *submission_command_label(size_t argc, char *const *argv);
/* A label of at most 128 printable bytes from what people wrote; the caller
 * frees it. */
char *submission_label(const char *s);
/* Reads standard input to its end; the caller frees out->data. A failure, or
 * more than the daemon takes (it is asked), ends the program. */
void submission_read(struct cli *c, struct yoke_bytes *out);

#endif
