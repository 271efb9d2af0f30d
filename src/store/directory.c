/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/directory.h"

#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"

void directory_init(struct directory *d, const struct store_io *io,
                    const char *path)
{
    *d = (struct directory){.dir = {.io = io, .fd = -1}, .lock_fd = -1};
    d->dir.path = d->path = mem_dup_text(path, strlen(path));
}

static void add(struct numbers *n, uint32_t number)
{
    n->at = mem_realloc(n->at, mem_mul(n->len + 1, sizeof(*n->at)));
    n->at[n->len++] = number;
}

static void add_name(void *arg, const char *name)
{
    struct directory *d = arg;
    uint32_t number;

    switch (segment_parse_name(name, &number)) {
    case SEGMENT_NAME_USED:
        add(&d->used, number);
        break;
    case SEGMENT_NAME_SPARE:
        add(&d->spares, number);
        break;
    case SEGMENT_NAME_OTHER:
        break;
    }
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

int directory_open(struct directory *d, char text[STORE_TEXT_MAX])
{
    const struct store_io *io = d->dir.io;
    char lock[SEGMENT_PATH_MAX];
    int rc;

    d->dir.fd = io->open(io->arg, d->path, O_RDONLY | O_DIRECTORY, 0);
    if (d->dir.fd < 0) {
        segment_say(text, "%s: %s", d->path, strerror(-d->dir.fd));
        return d->dir.fd;
    }
    (void)snprintf(lock, sizeof(lock), "%s/lock", d->path);
    d->lock_fd = io->open(io->arg, lock, O_RDWR | O_CREAT, 0600);
    if (d->lock_fd < 0) {
        segment_say(text, "%s: %s", lock, strerror(-d->lock_fd));
        return d->lock_fd;
    }
    rc = io->lock(io->arg, d->lock_fd);
    if (rc == -EWOULDBLOCK)
        segment_say(text, "%s: in use by another process", lock);
    else if (rc != 0)
        segment_say(text, "%s: %s", lock, strerror(-rc));
    if (rc != 0)
        return rc;
    rc = io->list(io->arg, d->path, add_name, d);
    if (rc != 0) {
        segment_say(text, "%s: %s", d->path, strerror(-rc));
        return rc;
    }
    if (d->used.len)
        qsort(d->used.at, d->used.len, sizeof(*d->used.at), compare_numbers);
    return 0;
}

void directory_close(struct directory *d)
{
    const struct store_io *io = d->dir.io;

    /* Nothing was written to them. */
    if (d->dir.fd >= 0)
        (void)io->close(io->arg, d->dir.fd);
    if (d->lock_fd >= 0)
        (void)io->close(io->arg, d->lock_fd);
    mem_free(d->used.at);
    mem_free(d->spares.at);
    mem_free(d->path);
}
