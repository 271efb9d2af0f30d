/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reader - single entries of the journal, read again beside everything else.
 *
 * Knows:     segments by their numbers, the one that was read last.
 * Never:     what is in the writer's buffers: whoever asks waits until that is
 *            written.
 * Threads:   the journal's caller calls; the work is done by a thread of its
 *            own, or in the caller when reader_start was not called.
 * Errors:    are answers: that it is damaged, or gone. What cannot be read now,
 *            for whatever reason, is put off and tried again; only EIO is
 *            believed after a few times.
 *
 * A segment may go while it is read, and its file may become another one's: no
 * frame of an earlier life of a file validates, so that is answered as damage.
 */
#ifndef YOKE_READER_H
#define YOKE_READER_H

#include <pthread.h>
#include <time.h>

#include "store/segment.h"

struct reader {
    const struct segment_dir *dir;
    void (*changed_fn)(void *arg); /* there are answers; from any thread */
    void *arg;

    pthread_t thread;
    bool running;

    pthread_mutex_t mutex; /* for these */
    pthread_cond_t wake;
    bool stopping;
    struct buf asked;   /* struct item, in order */
    struct buf put_off; /* likewise: those that are tried again then */
    struct timespec due;
    uint32_t waiting;    /* that were put off, those at work included */
    uint32_t first;      /* no segment before that is there for long */
    struct buf answered; /* struct answer and its bytes, each after the other */
    uint64_t reads, bytes;

    struct buf taken; /* the caller's: answers that are being given out */
    size_t given;     /* bytes of it that are lent; they go with the next */

    /* Of whoever does the work. */
    struct buf at_work; /* struct item */
    int fd;             /* -1: none */
    struct segment_header header;
    struct buf window; /* what was read last from it ... */
    uint64_t window_at;
};

/* Lends dir and arg until reader_clear. */
void reader_init(struct reader *r, const struct segment_dir *dir,
                 void (*changed_fn)(void *arg), void *arg);
/* Ends the thread; what was not answered is not. */
void reader_clear(struct reader *r);

/* From now on a thread does the work. 0 or -errno. */
int reader_start(struct reader *r);

/* Without a thread: do what there is to do. With a thread: nothing. */
void reader_work(struct reader *r);

void reader_ask(struct reader *r, struct store_place place);

/* Before segments before that one go: who asks for one is not told to wait. */
void reader_trim(struct reader *r, uint32_t first);

/* As store_take. */
bool reader_take(struct reader *r, struct store_answer *out);

/* *put_off: so many are tried again. */
void reader_get_stats(struct reader *r, uint64_t *reads, uint64_t *bytes,
                      uint32_t *put_off);

#endif
