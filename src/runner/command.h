/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command - what a job runs: program, arguments, directory, environment, input.
 *
 * Knows:     the command payload of doc/protocol.md; splitting a configured
 *            command line into words.
 * Never:     a shell; files; processes.
 */
#ifndef RUNNER_COMMAND_H
#define RUNNER_COMMAND_H

#include <stddef.h>

#define COMMAND_WORDS_MAX 16384 /* arguments, or variables, of one command */

/* Zeroed is empty. argv and env are NULL-terminated once a parse succeeded. */
struct command {
    const char *dir; /* NULL: the default */
    char **argv;
    size_t argc;
    char **env; /* "NAME=value" */
    size_t envc;
    const char *input;
    size_t input_len;
    char *text; /* holds what the pointers point to */
};

/*
 * Read a command payload; copies it. 0, or -EINVAL with the reason in `why`
 * (one sentence, no newline) and *out empty.
 */
int command_parse(const char *payload, size_t len, struct command *out,
                  char *why, size_t why_size);

/*
 * Split a line into words at blanks and append them to out->argv. 'single'
 * quotes take everything as it is; in "double" quotes and outside of quotes a
 * backslash takes the next byte as it is. There are no variables, globs,
 * pipes or comments. Errors as above; on failure *out is as before.
 */
int command_split(const char *line, struct command *out, char *why,
                  size_t why_size);

void command_clear(struct command *c); /* frees */

#endif
