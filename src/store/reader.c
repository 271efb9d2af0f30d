/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/mem.h"
#include "store/keeper.h"

/* Read at once: who asks for one job mostly asks for those behind it, too. */
#define WINDOW_BYTES ((size_t)64 << 10)
#define RETRY_MS     1000
#define EIO_TRIES    5 /* then these bytes are lost */
/* Buffers that grew beyond this are given back. */
#define KEEP_BYTES ((size_t)1 << 20)

struct item {
    struct store_place place;
    uint32_t tries; /* that came to nothing */
};

/* In `answered`, in front of the bytes. */
struct answer {
    struct store_place place;
    int error;
    uint32_t len;
};

static void lock(struct reader *r)
{
    ASSERT(pthread_mutex_lock(&r->mutex) == 0);
}

static void unlock(struct reader *r)
{
    ASSERT(pthread_mutex_unlock(&r->mutex) == 0);
}

/* -- One entry; without the mutex --------------------------------------- */

static void close_segment(struct reader *r)
{
    if (r->fd >= 0) /* it was only read */
        (void)r->dir->io->close(r->dir->io->arg, r->fd);
    r->fd = -1;
}

static int open_segment(struct reader *r, uint32_t number,
                        char text[STORE_TEXT_MAX])
{
    const struct store_io *io = r->dir->io;
    char path[SEGMENT_PATH_MAX];
    uint64_t size;
    int rc;

    if (r->fd >= 0 && r->header.number == number)
        return 0;
    close_segment(r);
    buf_reset(&r->window);
    rc = segment_read_header(r->dir, number, &r->header, &size, text);
    if (rc != 0)
        return rc;
    segment_path(r->dir, SEGMENT_NAME_USED, number, path);
    r->fd = io->open(io->arg, path, O_RDONLY, 0);
    if (r->fd >= 0)
        return 0;
    segment_say(text, "%s: %s", path, strerror(-r->fd));
    return r->fd;
}

/* The window begins there and has that many bytes, or ends with the file. */
static int fill(struct reader *r, uint64_t offset, size_t len)
{
    const struct store_io *io = r->dir->io;
    int64_t n = 1;

    if (len < WINDOW_BYTES)
        len = WINDOW_BYTES;
    buf_reset(&r->window);
    buf_shrink(&r->window, KEEP_BYTES);
    r->window_at = offset;
    while (r->window.len < len && n > 0) {
        size_t have = r->window.len;

        n = io->pread(io->arg, r->fd, buf_reserve(&r->window, len - have),
                      len - have, (int64_t)(offset + have));
        if (n < 0)
            return (int)n;
        r->window.len += (size_t)n;
    }
    return 0;
}

/* Is there a whole frame in the window? -EAGAIN: more must be read for it,
 * *len bytes from its beginning on. */
static int look(const struct reader *r, uint64_t offset, const char **data,
                size_t *len)
{
    uint64_t at = offset - r->window_at;

    *len = WINDOW_BYTES;
    if (offset < r->window_at || at >= r->window.len)
        return -EAGAIN;
    return segment_check_frame(r->window.data + at, r->window.len - (size_t)at,
                               &r->header, offset, data, len);
}

/* What was read before the frame was written, or is not whole, is read again:
 * but once. */
static int find_frame(struct reader *r, uint64_t offset, const char **data,
                      size_t *len)
{
    int rc = look(r, offset, data, len);

    for (int tries = 0; rc != 0 && tries < 2; tries++) {
        rc = fill(r, offset, *len);
        if (rc != 0)
            return rc;
        rc = look(r, offset, data, len);
        if (rc != -EAGAIN)
            break;
    }
    return rc == -EAGAIN ? -EBADMSG : rc;
}

static int read_entry(struct reader *r, struct store_place place,
                      const char **data, size_t *len, char text[STORE_TEXT_MAX])
{
    char path[SEGMENT_PATH_MAX];
    int rc = open_segment(r, place.segment, text);

    if (rc != 0)
        return rc;
    rc = find_frame(r, place.offset, data, len);
    if (rc == 0)
        return 0;
    close_segment(r); /* it may have become another file */
    segment_path(r->dir, SEGMENT_NAME_USED, place.segment, path);
    segment_say(text, "%s: offset %" PRIu32 ": %s", path, place.offset,
                rc == -EBADMSG ? "this frame is not valid" : strerror(-rc));
    return rc;
}

/* With the mutex. It may be whole. */
static bool may_pass(const struct reader *r, const struct item *item, int error)
{
    return error != -EBADMSG && error != -ENOTSUP &&
           item->place.segment >= r->first &&
           (error != -EIO || item->tries + 1 < EIO_TRIES);
}

/* Likewise. */
static void put_answer(struct reader *r, struct store_place place, int error,
                       const char *data, size_t len)
{
    struct answer a = {.place = place, .error = error, .len = (uint32_t)len};

    buf_append(&r->answered, &a, sizeof(a));
    buf_append(&r->answered, data, len);
}

/* Likewise. That is said of each when it is so for the first time, and why when
 * it is the only one. */
static void put_off(struct reader *r, struct item item, const char *why)
{
    if (buf_size(&r->put_off) == 0)
        keeper_after_ms(&r->due, RETRY_MS);
    if (item.tries++ == 0)
        put_answer(r, item.place, -EAGAIN, why,
                   r->waiting++ == 0 ? strlen(why) : 0);
    buf_append(&r->put_off, &item, sizeof(item));
}

/* False: nothing more is wanted. */
static bool answer_one(struct reader *r, struct item item)
{
    char text[STORE_TEXT_MAX] = "";
    const char *data;
    size_t len;
    int rc = read_entry(r, item.place, &data, &len, text);
    bool first, goes_on;

    lock(r);
    first = r->answered.len == 0;
    goes_on = !r->stopping;
    if (rc != 0 && may_pass(r, &item, rc)) {
        put_off(r, item, text);
    } else {
        r->waiting -= item.tries > 0;
        if (rc == 0)
            put_answer(r, item.place, 0, data, len);
        else
            put_answer(r, item.place, rc, text, strlen(text));
    }
    r->reads++;
    r->bytes += rc == 0 ? len : 0;
    first = first && r->answered.len > 0;
    unlock(r);
    if (first)
        r->changed_fn(r->arg);
    return goes_on;
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf c = *a;

    *a = *b;
    *b = c;
}

/* With the mutex. What is new, and what was put off for long enough. */
static void take_work(struct reader *r)
{
    struct timespec now;

    if (buf_size(&r->put_off) > 0) {
        keeper_after_ms(&now, 0);
        if (!r->running || now.tv_sec > r->due.tv_sec ||
            (now.tv_sec == r->due.tv_sec && now.tv_nsec >= r->due.tv_nsec))
            swap(&r->at_work, &r->put_off);
    }
    if (buf_size(&r->at_work) == 0)
        swap(&r->at_work, &r->asked);
}

static void answer_all(struct reader *r)
{
    bool goes_on = true;

    while (goes_on && buf_size(&r->at_work) > 0) {
        struct item item;

        memcpy(&item, buf_front(&r->at_work), sizeof(item));
        buf_consume(&r->at_work, sizeof(item));
        goes_on = answer_one(r, item);
    }
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;

    lock(r);
    while (!r->stopping) {
        take_work(r);
        if (buf_size(&r->at_work) > 0) {
            unlock(r);
            answer_all(r);
            lock(r);
        } else if (buf_size(&r->put_off) > 0) {
            (void)pthread_cond_timedwait(&r->wake, &r->mutex, &r->due);
        } else {
            (void)pthread_cond_wait(&r->wake, &r->mutex); /* cannot fail */
        }
    }
    unlock(r);
    return NULL;
}

/* -- Calls -------------------------------------------------------------- */

void reader_init(struct reader *r, const struct segment_dir *dir,
                 void (*changed_fn)(void *arg), void *arg)
{
    *r = (struct reader){
        .dir = dir, .changed_fn = changed_fn, .arg = arg, .fd = -1};
    ASSERT(pthread_mutex_init(&r->mutex, NULL) == 0);
    keeper_init_cond(&r->wake);
}

void reader_clear(struct reader *r)
{
    if (r->running) {
        lock(r);
        r->stopping = true;
        ASSERT(pthread_cond_signal(&r->wake) == 0);
        unlock(r);
        ASSERT(pthread_join(r->thread, NULL) == 0);
        r->running = false;
    }
    close_segment(r);
    buf_clear(&r->asked);
    buf_clear(&r->put_off);
    buf_clear(&r->answered);
    buf_clear(&r->taken);
    buf_clear(&r->at_work);
    buf_clear(&r->window);
    (void)pthread_mutex_destroy(&r->mutex); /* nobody holds it */
    (void)pthread_cond_destroy(&r->wake);
}

int reader_start(struct reader *r)
{
    int rc = keeper_start_thread(&r->thread, reader_main, r);

    r->running = rc == 0;
    return rc;
}

void reader_work(struct reader *r)
{
    if (r->running)
        return;
    lock(r);
    take_work(r);
    unlock(r);
    answer_all(r);
}

void reader_ask(struct reader *r, struct store_place place)
{
    struct item item = {.place = place};

    lock(r);
    buf_append(&r->asked, &item, sizeof(item));
    ASSERT(pthread_cond_signal(&r->wake) == 0);
    unlock(r);
}

void reader_trim(struct reader *r, uint32_t first)
{
    lock(r);
    r->first = first;
    unlock(r);
}

bool reader_take(struct reader *r, struct store_answer *out)
{
    struct answer a;
    const char *front;

    buf_consume(&r->taken, r->given);
    r->given = 0;
    if (buf_size(&r->taken) == 0) {
        buf_shrink(&r->taken, KEEP_BYTES);
        lock(r);
        swap(&r->taken, &r->answered);
        unlock(r);
    }
    if (buf_size(&r->taken) == 0)
        return false;
    front = r->taken.data + r->taken.head; /* gcc takes buf_front for empty */
    memcpy(&a, front, sizeof(a));
    *out = (struct store_answer){.place = a.place,
                                 .error = a.error,
                                 .data = front + sizeof(a),
                                 .len = a.len};
    r->given = sizeof(a) + a.len;
    return true;
}

void reader_get_stats(struct reader *r, uint64_t *reads, uint64_t *bytes,
                      uint32_t *put_off)
{
    lock(r);
    *put_off = r->waiting;
    *reads = r->reads;
    *bytes = r->bytes;
    unlock(r);
}
