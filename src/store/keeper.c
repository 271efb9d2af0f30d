/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#define SPARE_RETRY_MS 1000

/* Between two slices of zeros nothing is written for so many times what a slice
 * took, so that commits mostly have the disk to themselves. */
#define PAUSE_SLICES 3
#define PAUSE_US_MAX 50000u

/* -- Threads ------------------------------------------------------------ */

static void add_us(struct timespec *t, uint64_t us)
{
    t->tv_sec += (time_t)(us / 1000000u);
    t->tv_nsec += (long)(us % 1000000u) * 1000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_nsec -= 1000000000;
        t->tv_sec++;
    }
}

void keeper_after_ms(struct timespec *t, uint32_t ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, t); /* cannot fail */
    add_us(t, (uint64_t)ms * 1000);
}

void keeper_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(cond, &attr) == 0);
    (void)pthread_condattr_destroy(&attr); /* it holds nothing */
}

int keeper_start_thread(pthread_t *thread, void *(*main)(void *arg), void *arg)
{
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all); /* cannot fail */
    ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    rc = pthread_create(thread, NULL, main, arg);
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -rc;
}

static void lock(struct keeper *k)
{
    ASSERT(pthread_mutex_lock(&k->mutex) == 0);
}

static void unlock(struct keeper *k)
{
    ASSERT(pthread_mutex_unlock(&k->mutex) == 0);
}

/* -- Work; with the mutex, which is released meanwhile ------------------- */

/* Between two slices of a spare; true: it is not wanted any more. */
static bool pause_spare(void *arg)
{
    struct keeper *k = arg;
    struct timespec now, due;
    int64_t us;
    int rc = 0;

    if (!k->running)
        return false;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    lock(k);
    us = (now.tv_sec - k->slice_began.tv_sec) * INT64_C(1000000) +
         (now.tv_nsec - k->slice_began.tv_nsec) / 1000;
    due = now;
    add_us(&due, (uint64_t)min_i64(us * PAUSE_SLICES, PAUSE_US_MAX));
    while (k->nspares > 0 && !k->hurried && !k->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&k->wake, &k->mutex, &due);
    unlock(k);
    (void)clock_gettime(CLOCK_MONOTONIC, &k->slice_began);
    return k->stopping;
}

static uint64_t file_size(const struct segment_dir *d, enum segment_name kind,
                          uint32_t number)
{
    char path[SEGMENT_PATH_MAX];
    int64_t size;
    int fd;

    segment_path(d, kind, number, path);
    fd = d->io->open(d->io->arg, path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    size = d->io->size(d->io->arg, fd);
    (void)d->io->close(d->io->arg, fd); /* it was only looked at */
    return size < 0 ? 0 : (uint64_t)size;
}

static int remove_spare(struct keeper *k, uint32_t number)
{
    char path[SEGMENT_PATH_MAX];

    segment_path(k->dir, SEGMENT_NAME_SPARE, number, path);
    return k->dir->io->unlink(k->dir->io->arg, path);
}

static void make_spare(struct keeper *k)
{
    uint32_t old = k->nolds > 0 ? k->olds[--k->nolds] : 0;
    uint32_t number = old ? old : ++k->numbers;
    uint64_t max = k->disk_max, disk_bytes = k->state.disk_bytes, before = 0;
    bool beyond;
    int fd = -1, rc;

    unlock(k);
    (void)clock_gettime(CLOCK_MONOTONIC, &k->slice_began);
    if (old)
        before = file_size(k->dir, SEGMENT_NAME_SPARE, old);
    beyond = max > 0 && disk_bytes - before + k->segment_bytes > max;
    if (!beyond)
        rc = segment_make_spare(k->dir, number, k->segment_bytes, old == 0,
                                pause_spare, k, &fd);
    else
        rc = old ? remove_spare(k, old) : -ENOSPC;
    lock(k);
    if (beyond && old && rc != 0)
        before = 0; /* it stays, and is met again at the next start */
    k->state.disk_bytes -= before;
    k->failed = beyond || rc != 0;
    if (k->failed) {
        k->state.bounded = beyond;
    } else {
        k->state.disk_bytes += k->segment_bytes;
        k->spares[k->nspares].fd = fd;
        k->spares[k->nspares++].number = number;
    }
    ASSERT(pthread_cond_broadcast(&k->changed) == 0);
}

/* The oldest segment becomes a spare (its room stays ours when others fill
 * the disk), or goes. The directory is synced before the next one follows, so
 * that a crash leaves no gap. */
static void trim_one(struct keeper *k)
{
    const struct store_io *io = k->dir->io;
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    uint32_t number = k->state.first;
    bool within = !k->disk_max || k->state.disk_bytes <= k->disk_max;
    bool wanted =
        k->nspares + k->nolds < (within ? KEEPER_FILES : KEEPER_SPARES);
    uint32_t spare = wanted ? ++k->numbers : 0;
    uint64_t size = 0;
    int rc, sync_rc = 0;

    unlock(k);
    segment_path(k->dir, SEGMENT_NAME_USED, number, from);
    if (spare) {
        segment_path(k->dir, SEGMENT_NAME_SPARE, spare, to);
        rc = io->rename(io->arg, from, to);
    } else {
        size = file_size(k->dir, SEGMENT_NAME_USED, number);
        rc = io->unlink(io->arg, from);
    }
    if (rc == 0)
        sync_rc = io->fsync(io->arg, k->dir->fd);
    lock(k);
    if (rc != 0) { /* it stays; the next keeper_trim tries again */
        k->trim_to = number;
        return;
    }
    k->state.first++;
    k->state.disk_bytes -= size;
    if (spare) {
        k->olds[k->nolds++] = spare;
        k->failed = false;
    }
    if (sync_rc != 0) {
        k->state.error = sync_rc;
        segment_say(k->text, "%s: sync of the directory: %s", k->dir->path,
                    strerror(-sync_rc));
        /* Who waits for a spare waits for this one, too. */
        ASSERT(pthread_cond_broadcast(&k->changed) == 0);
    }
}

/* One that is tried again, or made from what was trimmed, is not there yet. */
static void note(struct keeper *k)
{
    struct keeper_state *s = &k->state;

    s->narrow = (s->narrow || k->failed) && k->nspares < KEEPER_SPARES;
    s->starved = s->narrow && k->nspares == 0;
    s->spares = k->nspares;
}

/* One piece of work; false: there is none. */
static bool step(struct keeper *k, bool retry)
{
    struct keeper_state before = k->state;
    bool worked = false;

    if (before.error)
        return false;
    if (before.first < k->trim_to) {
        trim_one(k);
        worked = true;
    } else if (k->nspares < KEEPER_SPARES && (retry || !k->failed)) {
        make_spare(k);
        worked = !k->failed;
    }
    note(k);
    if (k->state.error || k->state.narrow != before.narrow ||
        (k->state.narrow && (k->state.spares != before.spares ||
                             k->state.bounded != before.bounded)))
        k->changed_fn(k->arg);
    return worked;
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    struct timespec due;
    bool retry = false;

    lock(k);
    while (!k->stopping) {
        bool worked = step(k, retry);

        retry = false;
        if (worked || k->stopping)
            continue;
        if (k->failed && !k->state.error) {
            keeper_after_ms(&due, SPARE_RETRY_MS);
            retry =
                pthread_cond_timedwait(&k->wake, &k->mutex, &due) == ETIMEDOUT;
        } else {
            (void)pthread_cond_wait(&k->wake, &k->mutex); /* cannot fail */
        }
    }
    unlock(k);
    return NULL;
}

/* -- Calls -------------------------------------------------------------- */

void keeper_init(struct keeper *k, const struct segment_dir *dir,
                 uint64_t segment_bytes, void (*changed_fn)(void *arg),
                 void *arg)
{
    *k = (struct keeper){.dir = dir,
                         .segment_bytes = segment_bytes,
                         .changed_fn = changed_fn,
                         .arg = arg};
    ASSERT(pthread_mutex_init(&k->mutex, NULL) == 0);
    keeper_init_cond(&k->wake);
    keeper_init_cond(&k->changed);
}

void keeper_clear(struct keeper *k)
{
    if (k->running) {
        lock(k);
        k->stopping = true;
        ASSERT(pthread_cond_signal(&k->wake) == 0);
        unlock(k);
        ASSERT(pthread_join(k->thread, NULL) == 0);
        k->running = false;
    }
    while (k->nspares > 0) /* made again at the next start */
        (void)k->dir->io->close(k->dir->io->arg, k->spares[--k->nspares].fd);
    (void)pthread_mutex_destroy(&k->mutex); /* nobody holds them */
    (void)pthread_cond_destroy(&k->wake);
    (void)pthread_cond_destroy(&k->changed);
}

void keeper_adopt(struct keeper *k, const uint32_t *spares, size_t len,
                  uint32_t first, uint64_t disk_bytes)
{
    k->state.first = first;
    k->state.disk_bytes = disk_bytes;
    for (size_t i = 0; i < len; i++) {
        if (spares[i] > k->numbers)
            k->numbers = spares[i];
        if (k->nolds < KEEPER_SPARES) {
            k->olds[k->nolds++] = spares[i];
            k->state.disk_bytes +=
                file_size(k->dir, SEGMENT_NAME_SPARE, spares[i]);
        } else {
            (void)remove_spare(k, spares[i]); /* what stays is met again */
        }
    }
}

int keeper_start(struct keeper *k)
{
    int rc;

    k->running = true; /* the thread reads it */
    rc = keeper_start_thread(&k->thread, keeper_main, k);
    if (rc != 0)
        k->running = false;
    return rc;
}

void keeper_work(struct keeper *k, bool retry)
{
    if (k->running)
        return;
    lock(k);
    while (step(k, retry))
        retry = false;
    unlock(k);
}

/* With the mutex. */
static void hurry(struct keeper *k)
{
    k->hurried = true;
    ASSERT(pthread_cond_signal(&k->wake) == 0);
}

void keeper_hurry(struct keeper *k)
{
    lock(k);
    hurry(k);
    unlock(k);
}

static void wait_for_spares(struct keeper *k, size_t n)
{
    if (k->nspares < n)
        hurry(k);
    while (k->running && k->nspares < n && !k->failed && !k->state.error)
        (void)pthread_cond_wait(&k->changed, &k->mutex); /* cannot fail */
}

void keeper_wait(struct keeper *k)
{
    lock(k);
    wait_for_spares(k, KEEPER_SPARES);
    unlock(k);
}

int keeper_take(struct keeper *k, int *fd, uint32_t *number)
{
    int rc = 0;

    keeper_work(k, false);
    lock(k);
    wait_for_spares(k, 1);
    if (k->state.error) {
        rc = -EIO;
    } else if (k->nspares == 0) {
        rc = -ENOSPC;
    } else {
        *fd = k->spares[0].fd;
        *number = k->spares[0].number;
        k->nspares--;
        k->hurried = false;
        memmove(k->spares, k->spares + 1, k->nspares * sizeof(*k->spares));
        note(k);
        ASSERT(pthread_cond_signal(&k->wake) == 0);
    }
    unlock(k);
    return rc;
}

void keeper_trim(struct keeper *k, uint32_t segment)
{
    lock(k);
    if (segment > k->trim_to)
        k->trim_to = segment;
    if (k->state.first < k->trim_to)
        ASSERT(pthread_cond_signal(&k->wake) == 0);
    unlock(k);
    keeper_work(k, false);
}

void keeper_bound(struct keeper *k, uint64_t disk_max)
{
    lock(k);
    k->disk_max = disk_max; /* whoever starves tries again every second */
    unlock(k);
}

void keeper_get_state(struct keeper *k, struct keeper_state *out,
                      char text[STORE_TEXT_MAX])
{
    lock(k);
    *out = k->state;
    if (out->error)
        segment_say(text, "%s", k->text);
    unlock(k);
}
