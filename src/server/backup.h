/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * backup - copies of the journal that clients take while the daemon runs.
 *
 * Knows:     the copier, which segments have still to be read, how pieces are
 *            answered.
 * Never:     connections; where a copy goes.
 * Threads:   the copier's; all calls from the thread of the loop.
 * Errors:    answered. A backup that was told of one has ended.
 *
 * A backup is all that was durable when it began. Its segments stay until they
 * have been read; when the journal has no room they go all the same, and the
 * backup is lost, for who works goes before who copies. A backup whose client
 * is silent for too long is broken off, so that they do not stay for ever.
 */
#ifndef YOKE_BACKUP_H
#define YOKE_BACKUP_H

#include <ev.h>

#include "base/buf.h"
#include "base/list.h"
#include "store/store.h"

#define BACKUPS_MAX 4 /* at once */

struct copier;
struct copy;

/* Embedded in what has a connection; zeros: none. */
struct backup {
    struct list link; /* only while there is a copy */
    struct copy *copy;
    uint32_t segment; /* the first that has not been read to its end */
    bool lost;        /* its segments went */
    bool reading;     /* the copier has it */
    bool idle;        /* it was broken off; it has no copy any more */
    int64_t heard;    /* of its client, the last time: backups.seconds */
};

struct backups {
    struct ev_loop *loop;
    struct store *store;
    struct copier *copier; /* NULL before the first one */
    ev_io io;
    struct list all;
    size_t count;
    int64_t seconds; /* of the loop */
    /* What was to come later is there: backup_answer. */
    void (*ready)(struct backup *b);
};

/* Lends the loop and the store until backups_clear. */
void backups_init(struct backups *k, struct ev_loop *loop, struct store *store,
                  void (*ready)(struct backup *b));
/* Every backup was stopped. */
void backups_clear(struct backups *k);
/* Once a second: what has become of the segments, and of who copies them? */
void backups_second(struct backups *k, int64_t idle_ms);

/* Answers of the three commands; what was under way is stopped by a start. */
void backup_start(struct backups *k, struct backup *b, int proto,
                  struct buf *out);
/* False: the answer comes later. */
bool backup_next(struct backups *k, struct backup *b, int proto,
                 struct buf *out);
void backup_answer(struct backups *k, struct backup *b, int proto,
                   struct buf *out);
/* Bytes have come from its client. */
static inline void backup_heard(const struct backups *k, struct backup *b)
{
    b->heard = k->seconds;
}

/* At any time, also when there is none. */
void backup_stop(struct backups *k, struct backup *b);

#endif
