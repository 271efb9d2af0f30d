/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * copier - reads what is durable of a journal for backups, checked, beside the
 * loop.
 *
 * Knows:     segments and their order, frames, which piece comes next.
 * Never:     who wants it; what keeps the segments (store_pin); writes.
 * Threads:   calls from one thread; a thread of its own reads, for one copy
 *            after the other.
 * Errors:    in the piece. A copy whose piece has one is at its end.
 *
 * A copy is all entries of a store_extent, as pieces of files: the header of a
 * segment and its frames, each of which has been checked, without the zeros
 * behind them. Written one behind the other they are a journal.
 *
 *     copy_read -> the thread reads -> fd is readable -> copier_done
 */
#ifndef YOKE_COPIER_H
#define YOKE_COPIER_H

#include "base/buf.h"
#include "store/store.h"

struct copier;
struct copy;

struct copy_piece {
    uint32_t segment;
    uint64_t offset;  /* in its file; 0: the first piece of it */
    struct buf bytes; /* the header, or whole frames */
    bool last;        /* of its segment: then .. */
    uint64_t check;   /* .. XXH3-64 of all of it */
    int error;        /* -errno; -EBADMSG: damage */
    char text[STORE_TEXT_MAX];
};

/* Starts the thread. 0 or -errno. `io` NULL: the operating system; lent. */
int copier_new(const struct store_io *io, struct copier **out);
/* Waits for the read that is under way; all copies are freed before. NULL is
 * allowed. */
void copier_free(struct copier *c);
/* Readable when copier_done has something to tell. */
int copier_fd(const struct copier *c);

/* Copies what it needs of x. */
struct copy *copy_new(struct copier *c, const struct store_extent *x);
/* At any time. NULL is allowed. */
void copy_free(struct copy *y);

/* Read the next piece; the last one, if any, was told of by copier_done. False:
 * there is none, all has been read. */
bool copy_read(struct copy *y);
/* A copy whose piece has been read; NULL: none now. */
struct copy *copier_done(struct copier *c);
/* Lent until the next copy_read or copy_free. */
const struct copy_piece *copy_piece(const struct copy *y);

#endif
