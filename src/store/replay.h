/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay - all segments of a journal, read from the first to the last, a piece
 * at a time.
 *
 * Knows:     which segments follow each other, how far it has come.
 * Never:     what an entry means; writes nothing.
 * Threads:   none of its own; one caller.
 * Errors:    0 or -errno; `text` says which file and what is wrong. After an
 *            error nothing is left to do but replay_clear.
 */
#ifndef YOKE_REPLAY_H
#define YOKE_REPLAY_H

#include "store/segment.h"

struct replay {
    const struct segment_dir *dir;
    struct segment_header *headers;
    uint64_t *sizes; /* of the files */
    size_t len, at;  /* segments; the one that is read now */
    int fd;          /* its file; -1: not open yet */
    struct segment_replay segment;
    struct buf window;
    uint64_t size;    /* of all files */
    uint64_t behind;  /* of those that were read to the end */
    uint64_t entries; /* delivered */
    uint64_t bytes;   /* of their frames */
};

/* All headers are read here, before the first entry is delivered: most of what
 * can be wrong with a directory is seen at once. `numbers` are sorted, at least
 * one. Lends `dir`. replay_clear follows, whatever this returns. */
int replay_open(struct replay *r, const struct segment_dir *dir,
                const uint32_t *numbers, size_t len, char text[STORE_TEXT_MAX]);

/*
 * Deliver entries of about `most` bytes, at least one. 1: there may be more,
 * call again. 0: that was all; r->segment says how the last segment ends, and
 * r->fd is its file, open for writing: the caller may take it and leave -1.
 */
int replay_read(struct replay *r, uint64_t most, store_replay_fn *fn, void *arg,
                char text[STORE_TEXT_MAX]);

/* Bytes of the files that have been gone through, of r->size. */
uint64_t replay_done(const struct replay *r);

void replay_clear(struct replay *r);

#endif
