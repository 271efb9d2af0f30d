/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * salvage - reads a journal that nobody uses, whatever is wrong with it.
 *
 * Knows:     what of a damaged segment can still be read.
 * Never:     writes; what an entry means.
 * Threads:   none; the caller's.
 * Errors:    0 or -errno, with a text. Damage is no error: it is told.
 *
 * What the daemon would take is taken, and judged as by the daemon. Where that
 * refuses, the rest of the file is searched for frames: one is valid at any
 * offset if its sequence number comes after the last and before those of the
 * next segment. The chance that anything else looks like that is 2^-40.
 *
 * What was lost at either end of a journal does not show: nothing says that
 * there was more.
 */
#ifndef YOKE_SALVAGE_H
#define YOKE_SALVAGE_H

#include "store/store.h"

/* Bytes of a file that are no frames. Lent until return. */
struct salvage_damage {
    const char *file;    /* its name in the directory */
    uint64_t offset, to; /* both 0: there is no such file */
    uint64_t entry;      /* that was expected there; 0: not known */
    const char *text;
};

struct salvage {
    const struct store_io *io; /* NULL: the operating system */
    const char *dir;
    void *arg;
    /* An entry that is whole. Segments are counted from 1, whatever their
     * names. Returns 0, or -errno to stop. */
    int (*entry)(void *arg, const void *data, size_t len, uint32_t segment,
                 uint64_t sequence);
    void (*damage)(void *arg, const struct salvage_damage *damage);
    /* These entries are missing, before the next one. */
    void (*hole)(void *arg, uint64_t first, uint64_t last);

    /* Results: */
    uint32_t segments, first_segment, last_segment;
    uint64_t entries, bytes; /* that are whole; frames included */
    uint64_t first, last;    /* sequence numbers; 0: there are none */
    uint64_t torn_bytes;     /* a write that was never acknowledged */
    uint64_t largest;        /* bytes of the largest file */
    uint64_t damages;        /* how many were told */
    bool open_end;           /* damage at the end: more may be missing */
};

/* The caller sets what is above the results. -ENOTSUP: written by a newer
 * version; nothing can be said about the journal then. */
int salvage_read(struct salvage *s, char text[STORE_TEXT_MAX]);

#endif
