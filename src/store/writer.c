/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/writer.h"

#include <errno.h>

#include "store/keeper.h"

/* Unless every commit syncs, so many bytes are written before a sync is begun
 * early, so that the one at the end of a segment has little left to do. */
#define UNSYNCED_BYTES_MAX ((uint64_t)8 << 20)

static void lock(struct writer *w)
{
    ASSERT(pthread_mutex_lock(&w->mutex) == 0);
}

static void unlock(struct writer *w)
{
    ASSERT(pthread_mutex_unlock(&w->mutex) == 0);
}

void writer_init(struct writer *w)
{
    ASSERT(pthread_mutex_init(&w->mutex, NULL) == 0);
    keeper_init_cond(&w->wake);
    keeper_init_cond(&w->changed);
}

void writer_clear(struct writer *w)
{
    (void)pthread_mutex_destroy(&w->mutex); /* nobody holds them */
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_cond_destroy(&w->changed);
}

void writer_adopt(struct writer *w, int fd, uint64_t entry)
{
    w->fd = fd;
    w->written = w->synced = entry;
}

/* With the mutex. The first error is the cause, later ones follow from it. */
static void fail(struct writer *w, int error, const char *text)
{
    if (w->failed)
        return;
    w->failed = error;
    segment_say(w->failed_text, "%s", text);
}

/* With the mutex: what the thread or the caller has just written. */
static void note_written(struct writer *w, const struct batch *b)
{
    w->fd = b->parts[b->parts_len - 1].fd;
    w->written = b->last;
    if (w->sync == STORE_SYNC_ALWAYS)
        w->synced = b->last;
    else
        w->unsynced_bytes += b->bytes.len;
}

/* With the mutex, which is released meanwhile: sync what no commit synced. */
static void sync_written(struct writer *w)
{
    uint64_t written = w->written;
    struct outcome o = {0};
    int fd = w->fd, rc;

    w->unsynced_bytes = 0;
    unlock(w);
    rc = batch_sync(w->dir, fd, w->timed, &o);
    lock(w);
    w->sync_outcome.syncs += o.syncs;
    w->sync_outcome.sync_us += o.sync_us;
    if (o.sync_us_max > w->sync_outcome.sync_us_max)
        w->sync_outcome.sync_us_max = o.sync_us_max;
    if (rc == 0) {
        w->synced = written;
        return;
    }
    segment_say(o.text, "%s: sync of the last segment: %s", w->dir->path,
                strerror(-rc));
    fail(w, rc, o.text);
    w->ended_fn(w->arg);
}

/* ------------------------------------------------------------- the thread */

/* With the mutex, which is released meanwhile. */
static void write_job(struct writer *w)
{
    struct batch *b = w->job;

    unlock(w);
    batch_write(b, w->dir, w->sync == STORE_SYNC_ALWAYS, w->timed,
                &w->job_outcome);
    lock(w);
    if (w->job_outcome.error == 0)
        note_written(w, b);
    else
        fail(w, w->job_outcome.error, w->job_outcome.text);
    w->job = NULL;
    w->job_ended = true;
    ASSERT(pthread_cond_broadcast(&w->changed) == 0);
    unlock(w);
    w->ended_fn(w->arg);
    lock(w);
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct timespec due;
    bool waiting = false; /* for `due` */

    lock(w);
    while (!w->stopping) {
        bool dirty = w->written > w->synced && !w->failed;

        if (w->job) {
            write_job(w);
        } else if (dirty && (w->sync_wanted ||
                             w->unsynced_bytes >= UNSYNCED_BYTES_MAX)) {
            w->sync_wanted = false;
            sync_written(w);
            waiting = false;
        } else if (dirty && w->sync == STORE_SYNC_INTERVAL) {
            if (!waiting)
                keeper_after_ms(&due, w->interval_ms);
            waiting = true;
            if (pthread_cond_timedwait(&w->wake, &w->mutex, &due) ==
                ETIMEDOUT) {
                sync_written(w);
                waiting = false;
            }
        } else {
            waiting = false;
            (void)pthread_cond_wait(&w->wake, &w->mutex);
        }
    }
    unlock(w);
    return NULL;
}

int writer_start(struct writer *w)
{
    int rc = keeper_start_thread(&w->thread, writer_main, w);

    w->running = rc == 0;
    return rc;
}

void writer_stop(struct writer *w)
{
    lock(w);
    w->stopping = true;
    ASSERT(pthread_cond_signal(&w->wake) == 0);
    unlock(w);
    if (w->running)
        ASSERT(pthread_join(w->thread, NULL) == 0);
    w->running = false;
    lock(w);
    if (!w->failed && w->written > w->synced)
        sync_written(w);
    unlock(w);
}

/* ------------------------------------------------------------- the caller */

void writer_write(struct writer *w, struct batch *b, struct outcome *o)
{
    batch_write(b, w->dir, w->sync == STORE_SYNC_ALWAYS, w->timed, o);
    lock(w);
    if (o->error) {
        fail(w, o->error, o->text);
    } else {
        bool was_clean = w->written == w->synced;

        note_written(w, b);
        if (w->written > w->synced &&
            (was_clean || w->unsynced_bytes >= UNSYNCED_BYTES_MAX))
            ASSERT(pthread_cond_signal(&w->wake) == 0);
    }
    unlock(w);
}

void writer_give(struct writer *w, struct batch *b)
{
    lock(w);
    w->job = b;
    w->job_ended = false;
    w->job_outcome = (struct outcome){0};
    ASSERT(pthread_cond_signal(&w->wake) == 0);
    unlock(w);
}

const struct outcome *writer_ended(struct writer *w, bool wait)
{
    bool ended;

    lock(w);
    while (wait && !w->job_ended)
        (void)pthread_cond_wait(&w->changed, &w->mutex);
    ended = w->job_ended;
    unlock(w);
    return ended ? &w->job_outcome : NULL;
}

bool writer_sync(struct writer *w, uint64_t entry)
{
    bool synced;

    lock(w);
    if (!w->running && !w->failed && w->synced < entry)
        sync_written(w);
    synced = w->synced >= entry;
    if (!synced && !w->failed) {
        w->sync_wanted = true;
        ASSERT(pthread_cond_signal(&w->wake) == 0);
    }
    unlock(w);
    return synced;
}

void writer_work(struct writer *w)
{
    if (w->running || w->sync != STORE_SYNC_INTERVAL)
        return;
    lock(w);
    if (!w->failed && w->written > w->synced)
        sync_written(w);
    unlock(w);
}

int writer_ask(struct writer *w, uint64_t *synced, struct store_stats *stats,
               char text[STORE_TEXT_MAX])
{
    int rc;

    lock(w);
    rc = w->failed;
    if (rc != 0)
        segment_say(text, "%s", w->failed_text);
    outcome_count(&w->sync_outcome, stats);
    w->sync_outcome = (struct outcome){0};
    *synced = w->synced;
    unlock(w);
    return rc;
}
