/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

void scan_init(struct scan *s, const struct segment_dir *dir)
{
    *s = (struct scan){.dir = dir, .fd = -1};
    buf_init(&s->window);
}

static void close_segment(struct scan *s)
{
    if (s->fd >= 0) /* it was only read */
        (void)s->dir->io->close(s->dir->io->arg, s->fd);
    s->fd = -1;
}

void scan_clear(struct scan *s)
{
    close_segment(s);
    buf_clear(&s->window);
}

static int open_segment(struct scan *s, store_replay_fn *fn, void *arg,
                        char text[STORE_TEXT_MAX])
{
    const struct store_io *io = s->dir->io;
    char path[SEGMENT_PATH_MAX];
    uint64_t size;
    int rc = segment_read_header(s->dir, s->number, &s->header, &size, text);

    if (rc != 0)
        return rc;
    segment_path(s->dir, SEGMENT_NAME_USED, s->number, path);
    s->fd = io->open(io->arg, path, O_RDONLY, 0);
    if (s->fd < 0) {
        segment_say(text, "%s: %s", path, strerror(-s->fd));
        return s->fd;
    }
    s->replay = (struct segment_replay){.header = &s->header,
                                        .size = size,
                                        .fn = fn,
                                        .arg = arg,
                                        .window = &s->window};
    segment_rewind(&s->replay);
    return 0;
}

/* No frame is here: do the entries of the next segment follow? */
static int end_segment(struct scan *s, char text[STORE_TEXT_MAX])
{
    struct segment_header next;
    uint64_t size, sequence = s->header.first + s->replay.entries;
    char path[SEGMENT_PATH_MAX];
    int rc = segment_read_header(s->dir, s->number + 1, &next, &size, text);

    if (rc != 0)
        return rc;
    if (next.first != sequence) {
        segment_path(s->dir, SEGMENT_NAME_USED, s->number, path);
        segment_say(text,
                    "%s: damaged at offset %" PRIu64 " (entry %" PRIu64 ")",
                    path, s->replay.end, sequence);
        return -EBADMSG;
    }
    close_segment(s);
    s->number++;
    return 0;
}

int scan_step(struct scan *s, uint32_t first, uint32_t end, size_t bytes,
              store_replay_fn *fn, void *arg, size_t *got,
              char text[STORE_TEXT_MAX])
{
    char path[SEGMENT_PATH_MAX];
    int rc = 0;

    text[0] = '\0';
    *got = 0;
    if (s->number < first) {
        close_segment(s);
        s->number = first;
    }
    while (rc >= 0 && s->number < end && *got < bytes) {
        uint64_t before;

        rc = s->fd < 0 ? open_segment(s, fn, arg, text) : 0;
        if (rc != 0)
            break;
        before = s->replay.end;
        rc = segment_next(s->dir, s->fd, &s->replay);
        *got += (size_t)(s->replay.end - before);
        if (rc == 0) {
            rc = end_segment(s, text);
        } else if (rc < 0) {
            segment_path(s->dir, SEGMENT_NAME_USED, s->number, path);
            segment_say(text, "%s: cannot be read at offset %" PRIu64 ": %s",
                        path, before, strerror(-rc));
        }
    }
    return rc < 0 ? rc : 0;
}
