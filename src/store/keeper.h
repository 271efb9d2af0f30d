/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keeper - sees to it that the journal never waits for room.
 *
 * Keeps two spares ready (files of the size of a segment, in zeros, synced)
 * and turns segments that nobody needs into spares, or removes them: one is put
 * by for the next spare. With one spare alone the oldest segment can still be
 * written again, whatever it was filled with.
 *
 * Knows:     spares, the oldest segment, what the files take on the disk.
 * Never:     frames, commits.
 * Threads:   the journal's caller calls; the work is done by a thread of its
 *            own, or in the caller when keeper_start was not called.
 * Errors:    a spare that cannot be made is tried again, and only starves the
 *            journal; a directory that cannot be synced is final.
 */
#ifndef YOKE_KEEPER_H
#define YOKE_KEEPER_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/segment.h"

#define KEEPER_SPARES 2
/* With those that are still to be emptied: a new spare is mostly asked for just
 * before a segment is trimmed, and room that has been written to before costs
 * less than new room. */
#define KEEPER_FILES (KEEPER_SPARES + 1)

struct keeper_state {
    bool narrow;    /* an attempt to make one failed, and there are still fewer
                     * than there should be */
    bool bounded;   /* the last one did because it would be beyond the bound */
    bool starved;   /* likewise, and there is none at all */
    size_t spares;  /* that are ready */
    uint32_t first; /* oldest segment */
    uint64_t disk_bytes;
    int error; /* final */
};

struct keeper {
    const struct segment_dir *dir;
    uint64_t segment_bytes;
    void (*changed_fn)(void *arg); /* the state has; from any thread */
    void *arg;

    pthread_t thread;
    bool running;
    atomic_bool stopping; /* read between slices without the mutex, too */
    struct timespec slice_began; /* of zeros; the thread's own */

    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t wake, changed;
    struct keeper_state state;
    char text[STORE_TEXT_MAX]; /* of state.error */
    struct {
        int fd;
        uint32_t number;
    } spares[KEEPER_SPARES];
    size_t nspares;
    uint32_t olds[KEEPER_FILES]; /* numbers of used files to make some from */
    size_t nolds;
    bool failed;      /* the last attempt to make one has */
    bool hurried;     /* a spare will be wanted soon */
    uint32_t numbers; /* highest number given to a spare */
    uint32_t trim_to;
    uint64_t disk_max; /* 0: no bound */
};

/* Lends dir and arg until keeper_clear. */
void keeper_init(struct keeper *k, const struct segment_dir *dir,
                 uint64_t segment_bytes, void (*changed_fn)(void *arg),
                 void *arg);
/* Ends the thread, closes the spare. */
void keeper_clear(struct keeper *k);

/* Before the first keeper_take: what is in the directory. Some of the spares
 * that an earlier process left are used again, the others go. */
void keeper_adopt(struct keeper *k, const uint32_t *spares, size_t len,
                  uint32_t first, uint64_t disk_bytes);

/* From now on a thread does the work. 0 or -errno. */
int keeper_start(struct keeper *k);

/* Without a thread: do what there is to do; `retry` to make a spare although
 * that failed the last time. With a thread: nothing. */
void keeper_work(struct keeper *k, bool retry);

/* The spare, open for writing; it belongs to the caller. Waits for one that
 * is being made. -ENOSPC: there is none; -EIO: after a final error. */
int keeper_take(struct keeper *k, int *fd, uint32_t *number);

/* Spares are made slowly while one is there, so that commits do not wait behind
 * their zeros; from now on, and until the next keeper_take, as fast as it goes.
 */
void keeper_hurry(struct keeper *k);

/* Until all spares are there, or it is known that one cannot be made. */
void keeper_wait(struct keeper *k);

/* No segment before that number is needed any more. */
void keeper_trim(struct keeper *k, uint32_t segment);

/* No spare is made that lets the files take more bytes; 0: no bound. What is
 * there already stays. */
void keeper_bound(struct keeper *k, uint64_t disk_max);

void keeper_get_state(struct keeper *k, struct keeper_state *out,
                      char text[STORE_TEXT_MAX]);

/* A moment that many milliseconds from now, for pthread_cond_timedwait on a
 * condition with CLOCK_MONOTONIC (keeper_init_cond makes one). */
void keeper_after_ms(struct timespec *t, uint32_t ms);
void keeper_init_cond(pthread_cond_t *cond);
/* A thread that takes no signals. 0 or -errno. */
int keeper_start_thread(pthread_t *thread, void *(*main)(void *arg), void *arg);

#endif
