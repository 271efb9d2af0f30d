/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/copier.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/list.h"
#include "base/mem.h"
#include "store/keeper.h"
#include "store/segment.h"

/* A frame may be larger; then it is a piece. */
#define PIECE_BYTES ((size_t)512 << 10)

struct copier {
    const struct store_io *io;
    int fd;
    pthread_t thread;

    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t wake;
    bool stopping;
    struct list asked, done; /* struct copy.link */
};

struct copy {
    struct copier *copier;
    struct list link; /* asked, done, or none: idle or being read */
    bool reading;     /* the thread has it .. */
    bool unwanted;    /* .. and frees it; both with the mutex */

    /* Of the thread while it reads, else of the caller. */
    char *path;
    struct segment_dir dir;
    struct store_extent extent;
    uint32_t next; /* segment */
    int fd;        /* of the one that is read; -1: none */
    struct segment_header header;
    struct segment_replay replay;
    struct buf window;
    XXH3_state_t *hash;
    struct copy_piece piece;
};

static void lock(struct copier *c)
{
    ASSERT(pthread_mutex_lock(&c->mutex) == 0);
}

static void unlock(struct copier *c)
{
    ASSERT(pthread_mutex_unlock(&c->mutex) == 0);
}

/* -- Reading: by the thread, without the mutex --------------------------- */

static void add(struct copy *y, const void *bytes, size_t len)
{
    buf_append(&y->piece.bytes, bytes, len);
    ASSERT(XXH3_64bits_update(y->hash, bytes, len) == XXH_OK);
}

/* An entry lies behind its frame. */
static int take(void *arg, const void *data, size_t len,
                struct store_place place)
{
    (void)place;
    add(arg, (const char *)data - SEGMENT_FRAME_BYTES,
        SEGMENT_FRAME_BYTES + len);
    return 0;
}

static int read_header(struct copy *y, const char *path)
{
    const struct store_io *io = y->dir.io;
    char block[SEGMENT_HEADER_BYTES];
    int64_t n;

    y->fd = io->open(io->arg, path, O_RDONLY, 0);
    n = y->fd < 0 ? y->fd : io->pread(io->arg, y->fd, block, sizeof(block), 0);
    if (n >= 0 && n < (int64_t)sizeof(block))
        n = -EIO; /* it was longer just now */
    if (n < 0) {
        segment_say(y->piece.text, "%s: %s", path, strerror((int)-n));
        return (int)n;
    }
    ASSERT(XXH3_64bits_reset(y->hash) == XXH_OK);
    add(y, block, sizeof(block));
    return 0;
}

static int begin_segment(struct copy *y)
{
    struct copy_piece *p = &y->piece;
    bool last = y->next == y->extent.last;
    struct segment_header after = {0};
    char path[SEGMENT_PATH_MAX];
    uint64_t size, after_size;
    int rc = segment_read_header(&y->dir, y->next, &y->header, &size, p->text);

    if (rc == 0 && !last)
        rc = segment_read_header(&y->dir, y->next + 1, &after, &after_size,
                                 p->text);
    if (rc != 0)
        return rc;
    segment_path(&y->dir, SEGMENT_NAME_USED, y->next, path);
    if (last && size < y->extent.end) {
        segment_say(p->text, "%s: shorter than what was written", path);
        return -EBADMSG;
    }
    rc = read_header(y, path);
    y->replay = (struct segment_replay){.header = &y->header,
                                        .size = last ? y->extent.end : size,
                                        .last = last,
                                        .next = after.first,
                                        .fn = take,
                                        .arg = y,
                                        .window = &y->window};
    p->offset = 0;
    return rc;
}

static void close_file(struct copy *y)
{
    if (y->fd >= 0)
        (void)y->dir.io->close(y->dir.io->arg, y->fd); /* it was only read */
    y->fd = -1;
}

static int end_segment(struct copy *y)
{
    uint64_t entry = y->header.first + y->replay.entries - 1;

    /* That a segment goes on where the one before has ended was seen there. */
    if (y->next == y->extent.last &&
        (y->replay.end != y->extent.end || entry != y->extent.entry)) {
        segment_say(y->piece.text,
                    "%s: segment %" PRIu32 " ends with entry %" PRIu64
                    " at %" PRIu64 ", not %" PRIu64 " at %" PRIu64,
                    y->path, y->next, entry, y->replay.end, y->extent.entry,
                    y->extent.end);
        return -EBADMSG;
    }
    close_file(y);
    y->piece.last = true;
    y->piece.check = XXH3_64bits_digest(y->hash);
    y->next++;
    return 0;
}

static void read_piece(struct copy *y)
{
    struct copy_piece *p = &y->piece;
    int rc = 0;

    p->offset += buf_size(&p->bytes);
    buf_reset(&p->bytes);
    buf_shrink(&p->bytes, 2 * PIECE_BYTES);
    p->segment = y->next;
    p->last = false;
    if (y->fd < 0)
        rc = begin_segment(y);
    if (rc == 0)
        rc = segment_replay(&y->dir, y->fd, &y->replay, PIECE_BYTES, p->text);
    if (rc == 0)
        rc = end_segment(y);
    if (rc < 0)
        p->error = rc;
}

static void destroy(struct copy *y)
{
    close_file(y);
    buf_clear(&y->window);
    buf_clear(&y->piece.bytes);
    XXH3_freeState(y->hash);
    mem_free(y->path);
    mem_free(y);
}

static void *copier_main(void *arg)
{
    struct copier *c = arg;
    uint64_t one = 1;

    lock(c);
    while (!c->stopping) {
        struct copy *y;

        if (list_empty(&c->asked)) {
            (void)pthread_cond_wait(&c->wake, &c->mutex); /* cannot fail */
            continue;
        }
        y = list_entry(c->asked.next, struct copy, link);
        list_remove(&y->link);
        y->reading = true;
        unlock(c);
        read_piece(y);
        lock(c);
        y->reading = false;
        if (y->unwanted) {
            destroy(y);
            continue;
        }
        list_push_back(&c->done, &y->link);
        /* It fails only when the counter is at its maximum: readable, too. */
        if (write(c->fd, &one, sizeof(one)) < 0)
            continue;
    }
    unlock(c);
    return NULL;
}

/* -- Calls --------------------------------------------------------------- */

int copier_new(const struct store_io *io, struct copier **out)
{
    struct copier *c = mem_zalloc(sizeof(*c));
    int rc;

    c->io = io ? io : store_io_system();
    list_init(&c->asked);
    list_init(&c->done);
    ASSERT(pthread_mutex_init(&c->mutex, NULL) == 0);
    keeper_init_cond(&c->wake);
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = c->fd < 0 ? -errno : keeper_start_thread(&c->thread, copier_main, c);
    if (rc == 0) {
        *out = c;
        return 0;
    }
    if (c->fd >= 0)
        (void)close(c->fd);                 /* an eventfd holds nothing */
    (void)pthread_mutex_destroy(&c->mutex); /* nobody holds them */
    (void)pthread_cond_destroy(&c->wake);
    mem_free(c);
    return rc;
}

void copier_free(struct copier *c)
{
    if (!c)
        return;
    lock(c);
    c->stopping = true;
    ASSERT(pthread_cond_signal(&c->wake) == 0);
    unlock(c);
    ASSERT(pthread_join(c->thread, NULL) == 0);
    ASSERT(list_empty(&c->asked) && list_empty(&c->done));
    (void)close(c->fd);                     /* an eventfd holds nothing */
    (void)pthread_mutex_destroy(&c->mutex); /* nobody holds them */
    (void)pthread_cond_destroy(&c->wake);
    mem_free(c);
}

int copier_fd(const struct copier *c)
{
    return c->fd;
}

struct copy *copy_new(struct copier *c, const struct store_extent *x)
{
    struct copy *y = mem_zalloc(sizeof(*y));

    y->copier = c;
    list_init(&y->link);
    y->path = mem_dup_text(x->dir, strlen(x->dir));
    y->dir = (struct segment_dir){.io = c->io, .path = y->path, .fd = -1};
    y->extent = *x;
    y->extent.dir = y->path;
    y->next = x->first;
    y->fd = -1;
    buf_init(&y->window);
    buf_init(&y->piece.bytes);
    y->hash = XXH3_createState();
    mem_must(y->hash != NULL);
    return y;
}

void copy_free(struct copy *y)
{
    struct copier *c;
    bool reading;

    if (!y)
        return;
    c = y->copier;
    lock(c);
    reading = y->unwanted = y->reading;
    list_remove(&y->link);
    unlock(c);
    if (!reading)
        destroy(y);
}

bool copy_read(struct copy *y)
{
    struct copier *c = y->copier;

    ASSERT(!list_linked(&y->link));
    if (y->piece.error || (y->fd < 0 && y->next > y->extent.last))
        return false;
    lock(c);
    list_push_back(&c->asked, &y->link);
    ASSERT(pthread_cond_signal(&c->wake) == 0);
    unlock(c);
    return true;
}

struct copy *copier_done(struct copier *c)
{
    struct copy *y = NULL;
    uint64_t count;

    /* Nothing to read is fine. */
    if (read(c->fd, &count, sizeof(count)) < 0)
        count = 0;
    lock(c);
    if (!list_empty(&c->done)) {
        y = list_entry(c->done.next, struct copy, link);
        list_remove(&y->link);
    }
    unlock(c);
    return y;
}

const struct copy_piece *copy_piece(const struct copy *y)
{
    return &y->piece;
}
