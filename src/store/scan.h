/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scan - reads segments once more, in order, some of it at a time.
 *
 * Knows:     where it is, and what the end of a whole segment looks like.
 * Never:     what is done with the entries.
 * Threads:   none; the caller's.
 * Errors:    0 or -errno, with a text.
 *
 * A segment may go while it is read: the caller says from where on they are
 * needed, each time.
 */
#ifndef YOKE_SCAN_H
#define YOKE_SCAN_H

#include "store/segment.h"

struct scan {
    const struct segment_dir *dir;
    int fd; /* -1: between two segments */
    uint32_t number;
    struct segment_header header;
    struct segment_replay replay;
    struct buf window;
};

/* Lends dir until scan_clear. */
void scan_init(struct scan *s, const struct segment_dir *dir);
void scan_clear(struct scan *s);

/* Delivers entries of about so many bytes from where it was, or from segment
 * `first` if it was before that; none of segment `end` or later. *got = their
 * bytes, 0 when there are no more. -EBADMSG: damage. */
int scan_step(struct scan *s, uint32_t first, uint32_t end, size_t bytes,
              store_replay_fn *fn, void *arg, size_t *got,
              char text[STORE_TEXT_MAX]);

#endif
