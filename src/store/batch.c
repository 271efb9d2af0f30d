/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/batch.h"

#include <errno.h>
#include <time.h>

#include "base/mem.h"

/* A buffer that grew beyond this for one batch is given back after it. */
#define KEEP_BYTES ((size_t)4 << 20)

void outcome_count(const struct outcome *o, struct store_stats *stats)
{
    stats->syncs += o->syncs;
    stats->sync_us_total += o->sync_us;
    if (o->sync_us_max > stats->sync_us_max)
        stats->sync_us_max = o->sync_us_max;
}

struct part *batch_add(struct batch *b, int fd, uint64_t offset,
                       const struct segment_header *header)
{
    struct part *p;

    if (b->parts_len == b->parts_cap) {
        b->parts_cap = b->parts_cap ? b->parts_cap * 2 : 4;
        b->parts =
            mem_realloc(b->parts, mem_mul(b->parts_cap, sizeof(*b->parts)));
    }
    p = &b->parts[b->parts_len++];
    *p = (struct part){.fd = fd,
                       .start = b->bytes.len,
                       .offset = offset,
                       .header = *header,
                       .closes = -1};
    return p;
}

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

int batch_sync(const struct segment_dir *d, int fd, bool timed,
               struct outcome *o)
{
    uint64_t start = timed ? now_us() : 0, us;
    int rc = d->io->fdatasync(d->io->arg, fd);

    us = timed ? now_us() - start : 0;
    o->syncs++;
    o->sync_us += us;
    if (us > o->sync_us_max)
        o->sync_us_max = us;
    return rc;
}

static int open_part(struct part *p, const struct segment_dir *d, bool timed,
                     const char **what, struct outcome *o)
{
    int rc = 0;

    *what = "sync of the segment before";
    if (p->closes >= 0)
        rc = batch_sync(d, p->closes, timed, o);
    if (rc != 0)
        return rc;
    if (p->closes >= 0) /* it was synced: an error has nothing to tell */
        (void)d->io->close(d->io->arg, p->closes);
    p->closes = -1;
    rc = segment_start(d, p->fd, p->spare, &p->header, what);
    p->opens = rc != 0;
    return rc;
}

static int write_part(const struct part *p, const struct segment_dir *d,
                      const char *data, size_t len, const char **what)
{
    int64_t n;

    if (len == 0)
        return 0;
    *what = "write";
    n = d->io->pwrite(d->io->arg, p->fd, data, len, (int64_t)p->offset);
    if (n < 0)
        return (int)n;
    if ((size_t)n < len) {
        *what = "short write";
        return -EIO;
    }
    return 0;
}

void batch_write(struct batch *b, const struct segment_dir *d, bool sync,
                 bool timed, struct outcome *o)
{
    const char *what = "";
    struct part *p = NULL;
    char path[SEGMENT_PATH_MAX];
    int rc = 0;

    for (size_t i = 0; i < b->parts_len && rc == 0; i++) {
        size_t end =
            i + 1 < b->parts_len ? b->parts[i + 1].start : b->bytes.len;

        p = &b->parts[i];
        if (p->opens)
            rc = open_part(p, d, timed, &what, o);
        if (rc == 0)
            rc = write_part(p, d, b->bytes.data + p->start, end - p->start,
                            &what);
    }
    if (rc == 0 && sync) {
        what = "sync";
        rc = batch_sync(d, p->fd, timed, o);
    }
    if (rc == 0)
        return;
    o->error = rc;
    segment_path(d, SEGMENT_NAME_USED, p->header.number, path);
    segment_say(o->text, "%s: %s: %s", path, what, strerror(-rc));
}

void batch_reset(struct batch *b)
{
    buf_reset(&b->bytes);
    buf_shrink(&b->bytes, KEEP_BYTES);
    b->parts_len = 0;
    b->opens = false;
}

void batch_clear(struct batch *b, const struct segment_dir *d)
{
    for (size_t i = 0; i < b->parts_len; i++) {
        if (b->parts[i].closes >= 0) /* what had to be durable was synced */
            (void)d->io->close(d->io->arg, b->parts[i].closes);
    }
    mem_free(b->parts);
    buf_clear(&b->bytes);
}
