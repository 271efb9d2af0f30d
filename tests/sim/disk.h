/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * disk - a directory on a disk that loses power.
 *
 * Knows:     files, sectors, which of them are synced; names, and whether the
 *            directory was synced since they changed.
 * Never:     what is in the files.
 *
 * A crash keeps a random subset of the sectors written since the last sync of
 * their file, the old or the new size, and a random first part of the changes
 * of names since the last sync of the directory: what a file system that
 * orders its metadata may do.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "store/store.h"

#define DISK_FILES  24
#define DISK_FDS    16
#define DISK_NAME   64
#define DISK_OPS    64
#define DISK_SECTOR 512

struct disk_inode {
    bool used, locked;
    char *data, *synced; /* as read now, as kept for sure */
    size_t size, synced_size, cap;
    unsigned char *dirty; /* one for each sector */
};

struct disk_name {
    char name[DISK_NAME]; /* "": free */
    int inode;
};

struct disk {
    struct store_io io;
    uint64_t random;
    bool dead; /* every call fails until disk_crash() has ended */
    struct disk_inode inodes[DISK_FILES];
    struct disk_name names[DISK_FILES]; /* as seen now */
    /* as they were after each change since the last sync; [0] is kept */
    struct disk_name history[DISK_OPS][DISK_FILES];
    int changes;
    struct {
        bool used, dir;
        int inode;
    } fds[DISK_FDS];
    uint64_t writes, syncs, torn_sectors;
};

void disk_init(struct disk *d, uint64_t seed);
void disk_clear(struct disk *d);
/* Power is lost: calls fail from now on ... */
void disk_fail(struct disk *d);
/* ... and is back: all descriptors are gone, and what was not synced, too, or
 * not. */
void disk_crash(struct disk *d);

#endif
