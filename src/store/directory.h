/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * directory - where the journal is: locked, and what lies in it.
 *
 * Errors:   0 or -errno, with a text.
 */
#ifndef YOKE_DIRECTORY_H
#define YOKE_DIRECTORY_H

#include "store/segment.h"

struct numbers {
    uint32_t *at;
    size_t len;
};

struct directory {
    struct segment_dir dir;
    char *path;
    int lock_fd;
    struct numbers used; /* segments when it was opened, ascending */
    struct numbers spares;
};

/* Lends io. */
void directory_init(struct directory *d, const struct store_io *io,
                    const char *path);
/* Locks it, against other processes and a second time in this one; lists it. */
int directory_open(struct directory *d, char text[STORE_TEXT_MAX]);
/* Opened or not; the lock is released. */
void directory_close(struct directory *d);

#endif
