/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/mem.h"

static int read_headers(struct replay *r, const uint32_t *numbers,
                        char text[STORE_TEXT_MAX])
{
    for (size_t i = 0; i < r->len; i++) {
        int rc;

        if (i > 0 && numbers[i] != numbers[i - 1] + 1) {
            segment_say(text,
                        "%s: segment %010" PRIu32 ".yj is missing: "
                        "%010" PRIu32 ".yj follows %010" PRIu32 ".yj",
                        r->dir->path, numbers[i - 1] + 1, numbers[i],
                        numbers[i - 1]);
            return -EBADMSG;
        }
        rc = segment_read_header(r->dir, numbers[i], &r->headers[i],
                                 &r->sizes[i], text);
        if (rc != 0)
            return rc;
        r->size += r->sizes[i];
    }
    return 0;
}

int replay_open(struct replay *r, const struct segment_dir *dir,
                const uint32_t *numbers, size_t len, char text[STORE_TEXT_MAX])
{
    *r = (struct replay){
        .dir = dir,
        .headers = mem_alloc(mem_mul(len, sizeof(*r->headers))),
        .sizes = mem_alloc(mem_mul(len, sizeof(*r->sizes))),
        .len = len,
        .fd = -1,
    };
    buf_init(&r->window);
    return read_headers(r, numbers, text);
}

static int open_segment(struct replay *r, char text[STORE_TEXT_MAX])
{
    const struct store_io *io = r->dir->io;
    bool last = r->at + 1 == r->len;
    char path[SEGMENT_PATH_MAX];
    int fd;

    segment_path(r->dir, SEGMENT_NAME_USED, r->headers[r->at].number, path);
    fd = io->open(io->arg, path, last ? O_RDWR : O_RDONLY, 0);
    if (fd < 0) {
        segment_say(text, "%s: %s", path, strerror(-fd));
        return fd;
    }
    r->fd = fd;
    r->segment = (struct segment_replay){
        .header = &r->headers[r->at],
        .size = r->sizes[r->at],
        .last = last,
        .next = last ? 0 : r->headers[r->at + 1].first,
        .window = &r->window,
    };
    return 0;
}

static void close_segment(struct replay *r)
{
    if (r->fd >= 0)
        (void)r->dir->io->close(r->dir->io->arg, r->fd); /* only read */
    r->fd = -1;
}

int replay_read(struct replay *r, uint64_t most, store_replay_fn *fn, void *arg,
                char text[STORE_TEXT_MAX])
{
    struct segment_replay *s = &r->segment;
    uint64_t entries, end;
    int rc = r->fd < 0 ? open_segment(r, text) : 0;

    if (rc != 0)
        return rc;
    entries = s->entries;
    end = s->end;
    s->fn = fn;
    s->arg = arg;
    rc = segment_replay(r->dir, r->fd, s, most, text);
    r->entries += s->entries - entries;
    r->bytes += s->end - (end ? end : SEGMENT_HEADER_BYTES);
    if (rc != 0 || s->last)
        return rc;
    close_segment(r);
    r->behind += r->sizes[r->at++];
    return 1;
}

uint64_t replay_done(const struct replay *r)
{
    return r->fd < 0 ? r->behind : r->behind + r->segment.end;
}

void replay_clear(struct replay *r)
{
    close_segment(r);
    buf_clear(&r->window);
    mem_free(r->headers);
    mem_free(r->sizes);
}
