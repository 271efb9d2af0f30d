/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output - what a job prints: read from its pipes, cut into pieces for the
 * log, kept as its result.
 *
 * Knows:     pipes, libev; the bounds of result and error detail.
 * Never:     whose output it is, when the job has ended: a pipe's end says
 *            nothing, since any process may hold the other side for ever.
 */
#ifndef RUNNER_OUTPUT_H
#define RUNNER_OUTPUT_H

#include "runner/memory.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_PIECE_MAX ((size_t)64 << 10)
#define OUTPUT_TAIL_MAX  ((size_t)8 << 10)
/* How long bytes wait for more, to go out as one piece. */
#define OUTPUT_DELAY_MS 20

struct output;

/* Takes a piece of the log; stream 1 or 2. The bytes are lent. */
typedef void output_piece_fn(void *arg, int stream, const char *data,
                             size_t len);

struct output {
    struct ev_loop *loop;
    ev_io io[3];  /* of stdout, stderr, and the result; fd -1: closed */
    bool watched; /* they have been in epoll */
    output_piece_fn *piece;
    void *arg;
    struct buffer waiting; /* not yet given to piece() */
    int waiting_stream;
    ev_timer delay;       /* runs while something is waiting */
    int result_stream;    /* what is kept as the result: 1, 3, or 0: none */
    struct buffer result; /* up to result_max */
    size_t result_max;
    bool result_cut;    /* there was more */
    struct buffer tail; /* the end of stderr */
    bool tail_cut;
};

/* Makes the pipes; ends[] are for the child's 1, 2 and, if result_stream is 3
 * (else -1), 3: close them after its start. 0, or -errno and nothing is open.
 * What comes by 3 is no part of the log. */
int output_init(struct output *o, struct ev_loop *loop, int result_stream,
                size_t result_max, output_piece_fn *piece, void *arg,
                int ends[3]);
/* What is the result is in a file: it is read, from its beginning. */
void output_read_result(struct output *o, int fd);
void output_clear(struct output *o);

/* Read as it comes, or do not. */
void output_watch(struct output *o, bool on);
/* Give what is waiting to piece(). */
void output_flush(struct output *o);
/* Read what is there, without waiting, and give it to piece(). */
void output_take(struct output *o);
/* The same, and close. */
void output_finish(struct output *o);
/* What comes from now on is somebody else's: stderr ends anew. */
void output_turn(struct output *o);
/* The end of stderr, from the beginning of a line where it was cut. */
const char *output_tail(const struct output *o, size_t *len);

#endif
