/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inputs - the arguments of map, from the command line or from a descriptor.
 *
 * A descriptor is read as it becomes readable and never to its end at once:
 * there may be millions of lines, or a program that writes one now and then.
 * Empty lines are no inputs; with NUL as the separator everything is one.
 */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/text.h"

#define INPUTS_LENGTH_MAX (1u << 20)

struct inputs {
    char **list; /* not ours; NULL: they are read */
    size_t nlist;
    int fd;
    char separator;
    bool ended;
    struct text read;
    size_t at; /* in list, or in read */
};

enum inputs_state { INPUTS_GOT, INPUTS_READ, INPUTS_END };

void inputs_init_list(struct inputs *in, char **list, size_t n);
void inputs_init_fd(struct inputs *in, int fd, char separator);
void inputs_clear(struct inputs *in);
/* GOT: *out is the next one, until the next call of a function here. READ: call
 * inputs_read when the descriptor is readable. */
enum inputs_state inputs_next(struct inputs *in, const char **out);
/* Reads once. 0, -errno, or -E2BIG for an input that is too long. */
int inputs_read(struct inputs *in);

#endif
