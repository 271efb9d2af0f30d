/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writer - puts batches on the disk, and syncs what no commit has synced.
 *
 * Knows:     one batch at a time; which entries are written, which are synced;
 *            the policy of syncs.
 * Never:     where a batch comes from, who waits for it.
 * Threads:   the journal's caller calls; the work is done by a thread of its
 *            own, or in the caller when writer_start was not called.
 * Errors:    the first one of a write or a sync is final: the caller hears of
 *            it by writer_ask, and gives nothing more.
 */
#ifndef YOKE_WRITER_H
#define YOKE_WRITER_H

#include <pthread.h>

#include "store/batch.h"

struct writer {
    /* Set before writer_init, and lent until writer_clear. */
    const struct segment_dir *dir;
    enum store_sync sync;
    uint32_t interval_ms;
    bool timed;                  /* how long a sync takes is measured */
    void (*ended_fn)(void *arg); /* a batch has, or a sync has failed; from any
                                  * thread */
    void *arg;

    pthread_t thread;
    bool running;

    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t wake, changed;
    bool stopping;
    int failed; /* the first error of a write or a sync */
    char failed_text[STORE_TEXT_MAX];

    struct batch *job; /* for the thread */
    bool job_ended;
    struct outcome job_outcome;

    int fd;                   /* file of the last written frame */
    uint64_t written, synced; /* sequence numbers */
    uint64_t unsynced_bytes;
    bool sync_wanted;            /* by writer_sync */
    struct outcome sync_outcome; /* of syncs that belong to no batch */
};

void writer_init(struct writer *w);
void writer_clear(struct writer *w);

/* The journal goes on after that entry, which is synced, in that file. */
void writer_adopt(struct writer *w, int fd, uint64_t entry);

/* From now on a thread does the work. 0 or -errno. */
int writer_start(struct writer *w);
/* Ends the thread, if there is one, and syncs what is not. No batch is with it.
 */
void writer_stop(struct writer *w);

/* Write a batch here; while none is with the thread. */
void writer_write(struct writer *w, struct batch *b, struct outcome *o);
/* Let the thread write it. Lent until writer_ended. */
void writer_give(struct writer *w, struct batch *b);
/* What has become of it, valid until the next one is given; NULL: nothing yet.
 * `wait`: until it has ended. */
const struct outcome *writer_ended(struct writer *w, bool wait);

/* Are the entries up to that one synced? If not, and nothing has failed, they
 * will be: without a thread at once. */
bool writer_sync(struct writer *w, uint64_t entry);
/* Without a thread: sync what the interval is over for. */
void writer_work(struct writer *w);

/* The first error, with its text, or 0. Entries up to *synced are on the disk
 * for sure; syncs that belonged to no batch are counted in *stats. */
int writer_ask(struct writer *w, uint64_t *synced, struct store_stats *stats,
               char text[STORE_TEXT_MAX]);

#endif
