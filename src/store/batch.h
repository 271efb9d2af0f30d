/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * batch - the frames of one commit on their way to the files.
 *
 * Knows:    which bytes go to which file, and what comes before the first frame
 *           of a new segment.
 * Never:    who waits for it, or in which thread it runs.
 * Errors:   the first one ends the writing, with a text; nothing is tried
 * again. Threads:  one at a time.
 */
#ifndef YOKE_BATCH_H
#define YOKE_BATCH_H

#include "base/buf.h"
#include "store/segment.h"

/* A run of frames for one file. It ends where the next part starts. */
struct part {
    int fd;
    size_t start;    /* in the bytes of the batch */
    uint64_t offset; /* in the file */
    struct segment_header header;
    bool opens;     /* the file is still a spare: */
    uint32_t spare; /* its number, */
    int closes;     /* and the file before it, done with; -1: none */
};

struct batch {
    struct buf bytes;
    struct part *parts;
    size_t parts_len, parts_cap;
    bool opens;    /* a part does */
    uint64_t last; /* sequence number of the last entry */
};

/* What became of it, and how long the disk took. */
struct outcome {
    int error; /* 0 or -errno */
    char text[STORE_TEXT_MAX];
    uint32_t syncs;
    uint64_t sync_us, sync_us_max; /* 0 where nothing is measured */
};

/* Its syncs, in the statistics. */
void outcome_count(const struct outcome *o, struct store_stats *stats);

/* What comes next goes to that file, at that offset. The part is valid until
 * the next one. */
struct part *batch_add(struct batch *b, int fd, uint64_t offset,
                       const struct segment_header *header);

/* Write all of it; `sync`, too. Files that a new segment follows are synced
 * and closed. */
void batch_write(struct batch *b, const struct segment_dir *d, bool sync,
                 bool timed, struct outcome *o);

/* Sync a file; counted in *o. 0 or -errno. */
int batch_sync(const struct segment_dir *d, int fd, bool timed,
               struct outcome *o);

/* It has been written: empty again, with some of its memory. */
void batch_reset(struct batch *b);
/* Closes what it would have closed. */
void batch_clear(struct batch *b, const struct segment_dir *d);

#endif
