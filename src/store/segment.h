/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment - one file of the journal: header, frames, what a damaged one says.
 *
 * Knows:     the byte layout (doc/journal.md), checksums, directory names.
 * Never:     when to write, threads, what an entry means.
 * Threads:   functions keep no state of their own.
 * Errors:    0 or -errno; `text` says which file and what is wrong.
 *
 * A frame carries how far behind it the last entry is that was certainly on
 * the disk before this frame was written. That tells a torn write from damage:
 * a bad frame is damage if a later valid frame proves that it was once synced,
 * and a torn tail if none does.
 */
#ifndef YOKE_SEGMENT_H
#define YOKE_SEGMENT_H

#include "base/base.h"
#include "base/buf.h"
#include "store/store.h"

#define SEGMENT_VERSION      1u
#define SEGMENT_HEADER_BYTES 4096u
#define SEGMENT_FRAME_BYTES  16u /* in front of the data of an entry */
#define SEGMENT_ENTRY_MAX    ((size_t)16 << 20)
#define SEGMENT_PATH_MAX     4096u

/* Where the files are. Lends all three. */
struct segment_dir {
    const struct store_io *io;
    const char *path;
    int fd; /* of the directory, for fsync */
};

struct segment_header {
    uint32_t number;
    uint64_t epoch; /* random, new at each use of a file */
    uint64_t first; /* sequence number of the first entry */
};

enum segment_name { SEGMENT_NAME_OTHER, SEGMENT_NAME_USED, SEGMENT_NAME_SPARE };

/* What a name in the directory stands for, and its number. */
enum segment_name segment_parse_name(const char *name, uint32_t *number);
void segment_path(const struct segment_dir *d, enum segment_name kind,
                  uint32_t number, char out[SEGMENT_PATH_MAX]);

/*
 * Make the spare of that number: `bytes` of zeros, synced, open for writing.
 * `fresh` creates the file, else one that was used before is overwritten. On
 * failure the file is gone. *stop is read between slices: true ends the work
 * with -ECANCELED.
 */
int segment_make_spare(const struct segment_dir *d, uint32_t number,
                       uint64_t bytes, bool fresh, bool (*stop)(void *arg),
                       void *arg, int *fd);

/* Turn a spare into a segment: header written and synced, renamed, directory
 * synced. `what` receives a word for the step that failed. */
int segment_start(const struct segment_dir *d, int fd, uint32_t spare,
                  const struct segment_header *h, const char **what);

/* -EBADMSG: damaged or of another number; -ENOTSUP: a newer format. *size is
 * that of the file. */
int segment_read_header(const struct segment_dir *d, uint32_t number,
                        struct segment_header *h, uint64_t *size,
                        char text[STORE_TEXT_MAX]);

/* Put the frame of one entry at the end of `out`. `behind` = sequence - 1 -
 * (last entry synced before this one is written). */
void segment_put_frame(struct buf *out, uint64_t epoch, uint64_t sequence,
                       uint32_t behind, const void *data, size_t len);

static inline uint64_t segment_frame_size(size_t len)
{
    return SEGMENT_FRAME_BYTES + (uint64_t)len;
}

struct segment_replay {
    const struct segment_header *header;
    uint64_t size; /* of the file */
    bool last;     /* nothing follows: the tail may be torn */
    uint64_t next; /* first sequence of the following segment */
    store_replay_fn *fn;
    void *arg;
    struct buf *window; /* scratch, reused from segment to segment */
    /* Results: */
    uint64_t entries;
    uint64_t end;      /* offset behind the last valid frame; 0: not begun */
    uint64_t torn_end; /* last byte that is not zero behind it, + 1; or end */
};

/*
 * Read frames in order, about `most` bytes, at least one frame. 1: there may be
 * more, call again with the same *r. 0: that was all. -EBADMSG: damage. A torn
 * tail of the last segment is no error: then torn_end > end, and segment_cut
 * must follow.
 */
int segment_replay(const struct segment_dir *d, int fd,
                   struct segment_replay *r, uint64_t most,
                   char text[STORE_TEXT_MAX]);

/* Before the first of: the entries of that file from its beginning on. */
void segment_rewind(struct segment_replay *r);
/* The next entry. 1: it was delivered; 0: no valid one is here; or -errno. */
int segment_next(const struct segment_dir *d, int fd, struct segment_replay *r);

/*
 * Is what lies at that offset of the segment a frame of it? `bytes` is what
 * there is from there on. 0: its data is *len bytes at *data; -EAGAIN: it has
 * *len bytes, which is more than there are; -EBADMSG: it is none.
 */
int segment_check_frame(const char *bytes, size_t have,
                        const struct segment_header *h, uint64_t offset,
                        const char **data, size_t *len);

struct segment_frame {
    size_t at, len; /* offset; of its data */
    uint64_t sequence;
};

/* What would be a frame there, if its sequence number can be right: it is any
 * number where there is none. */
bool segment_frame_at(const char *bytes, size_t len, size_t at, uint64_t epoch,
                      struct segment_frame *out);

/* Where frames are looked for, and which. */
struct segment_range {
    uint64_t epoch;
    uint64_t low, high; /* sequence numbers that they may have */
    size_t from;        /* offset */
};

/* The first frame from r->from on in that part of a file; false: there is none,
 * or the search became too long. */
bool segment_find(const char *bytes, size_t len, const struct segment_range *r,
                  struct segment_frame *out);

/* What a header that is not valid may have said; one wrong bit is made good,
 * then it is *sure. false: it seems to be of a newer format. */
bool segment_guess_header(char block[SEGMENT_HEADER_BYTES],
                          struct segment_header *h, bool *sure);

/* Zeros from `from` to `to`, synced. */
int segment_cut(const struct segment_dir *d, int fd, uint64_t from,
                uint64_t to);

/* printf into a text for humans. */
void segment_say(char text[STORE_TEXT_MAX], const char *fmt, ...)
    ATTR_PRINTF(2, 3);

/* The operating system's implementation of the seam. */
const struct store_io *store_io_system(void);

#endif
