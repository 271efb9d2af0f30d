/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/mem.h"
#include "store/segment.h"

#define FILE_MAX   (((uint64_t)1 << 30) + SEGMENT_HEADER_BYTES)
#define SPAN       ((uint64_t)1 << 24) /* entries that may be in one file */
#define BLOCK_SIZE 4096u /* of a disk: what is read of one that is failing */

struct file {
    uint32_t number;
    struct segment_header header;
    uint64_t size;
    int rc; /* of its header */
    char text[STORE_TEXT_MAX];
};

struct reading {
    struct salvage *s;
    struct segment_dir dir;
    struct file *files; /* in order */
    size_t len, cap, at;
    uint64_t next;     /* the sequence that is expected; 0: any */
    uint64_t sequence; /* of the next entry that segment_replay delivers */
    int stopped;       /* by the caller */
    struct buf window;
};

static int compare_files(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

static void add_file(void *arg, const char *name)
{
    struct reading *r = arg;
    uint32_t number;

    if (segment_parse_name(name, &number) != SEGMENT_NAME_USED)
        return;
    if (r->len == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->files = mem_realloc(r->files, mem_mul(r->cap, sizeof(*r->files)));
    }
    r->files[r->len++] = (struct file){.number = number};
}

/* -- What is told ------------------------------------------------------- */

static void tell(struct reading *r, uint32_t number, uint64_t offset,
                 uint64_t to, const char *text)
{
    char path[SEGMENT_PATH_MAX];
    struct salvage_damage d = {
        .offset = offset, .to = to, .entry = r->next, .text = text};

    segment_path(&r->dir, SEGMENT_NAME_USED, number, path);
    d.file = strrchr(path, '/') + 1;
    if (strncmp(text, path, strlen(path)) == 0) /* it is told anyway */
        d.text += strlen(path) + strlen(": ");
    r->s->damages++;
    r->s->damage(r->s->arg, &d);
}

/* Entries up to `sequence` are not there. */
static void expect(struct reading *r, uint64_t sequence)
{
    if (r->next && sequence > r->next)
        r->s->hole(r->s->arg, r->next, sequence - 1);
    if (sequence >= r->next) {
        r->next = sequence;
        r->s->open_end = false;
    }
}

static int take(struct reading *r, const void *data, size_t len,
                uint64_t sequence)
{
    struct salvage *s = r->s;

    if (sequence < r->next)
        return 0; /* told already */
    expect(r, sequence);
    r->next = sequence + 1;
    s->entries++;
    s->bytes += segment_frame_size(len);
    if (!s->first)
        s->first = sequence;
    s->last = sequence;
    s->open_end = false;
    r->stopped = s->entry(s->arg, data, len, (uint32_t)r->at + 1, sequence);
    return r->stopped;
}

static int take_next(void *arg, const void *data, size_t len,
                     struct store_place place)
{
    struct reading *r = arg;

    (void)place;
    return take(r, data, len, r->sequence++);
}

/* -- One segment -------------------------------------------------------- */

/* What cannot be read is zeros. */
static int load(struct reading *r, const struct file *f, int fd, char *to,
                char text[STORE_TEXT_MAX])
{
    const struct store_io *io = r->dir.io;

    for (uint64_t at = 0; at < f->size;) {
        size_t len = (size_t)(f->size - at);
        int64_t n;

        if (len > BLOCK_SIZE)
            len = BLOCK_SIZE;
        n = io->pread(io->arg, fd, to + at, len, (int64_t)at);
        if (n < 0 && n != -EIO) {
            segment_say(text, "segment %010" PRIu32 ".yj: %s", f->number,
                        strerror((int)-n));
            return (int)n;
        }
        if (n <= 0) {
            memset(to + at, 0, len);
            n = (int64_t)len;
        }
        at += (uint64_t)n;
    }
    return 0;
}

/* Where the entries of the next segment begin that has a header; 0: unknown. */
static uint64_t next_first(const struct reading *r)
{
    for (size_t i = r->at + 1; i < r->len; i++)
        if (r->files[i].rc == 0)
            return r->files[i].header.first;
    return 0;
}

/*
 * The sequence number is what is left of the check; its lowest bits, when they
 * are damaged, make another one that is possible. The frame behind knows
 * better; so does the place, when nothing lies between it and the one before:
 * `placed`. Returns false when it cannot be told.
 */
static bool settle(const char *bytes, size_t len, const struct segment_range *r,
                   bool placed, struct segment_frame *f)
{
    struct segment_frame next;

    if (placed && f->at == r->from) {
        f->sequence = r->low;
        return true;
    }
    if (segment_frame_at(bytes, len, f->at + SEGMENT_FRAME_BYTES + f->len,
                         r->epoch, &next) &&
        next.sequence > r->low && next.sequence - 1 <= r->high) {
        f->sequence = next.sequence - 1;
        return true;
    }
    /* The smallest frame has a byte of data. */
    return !placed || f->sequence - r->low <=
                          (f->at - r->from) / (SEGMENT_FRAME_BYTES + 1);
}

/* All frames from `from` on. `what` is wrong there; NULL: nothing, perhaps.
 * `placed`: the next entry is to be there. */
static int search(struct reading *r, const struct file *f, const char *bytes,
                  uint64_t from, bool placed, const char *what)
{
    static const char *const no_frame = "what is here is no valid frame";
    size_t len = (size_t)f->size, end = len, good = (size_t)from;
    uint64_t following = next_first(r);
    struct segment_range range = {
        .epoch = f->header.epoch, .low = r->next, .from = (size_t)from};
    struct segment_frame frame;

    if (range.low == 0) /* the first, and without a header */
        range.low = following > SPAN ? following - SPAN
                    : following      ? 1
                                     : f->header.first;
    range.high = range.low + SPAN;
    if (following && range.high >= following)
        range.high = following - 1;
    while (end > from && bytes[end - 1] == 0)
        end--;
    while (segment_find(bytes, len, &range, &frame)) {
        uint64_t sequence = frame.sequence;

        range.from = good;
        if (!settle(bytes, len, &range, placed, &frame)) {
            range.from = frame.at + 1;
            continue;
        }
        if (frame.at > good || what || sequence != frame.sequence)
            tell(r, f->number, good, frame.at, what ? what : no_frame);
        what = NULL;
        if (take(r, bytes + frame.at + SEGMENT_FRAME_BYTES, frame.len,
                 frame.sequence))
            return r->stopped;
        range.low = frame.sequence + 1;
        good = range.from = frame.at + SEGMENT_FRAME_BYTES + frame.len;
        placed = true;
    }
    if (what || end > good) {
        tell(r, f->number, good, end > good ? end : good,
             what ? what : no_frame);
        r->s->open_end = true;
    }
    return 0;
}

static int search_file(struct reading *r, struct file *f, int fd, uint64_t from,
                       const char *what, char text[STORE_TEXT_MAX])
{
    bool placed = from > 0 && r->sequence == r->next;
    char *bytes = mem_alloc((size_t)f->size + 1);
    int rc = load(r, f, fd, bytes, text);

    if (rc == 0 && from == 0) {
        char header[SEGMENT_HEADER_BYTES] = {0};
        bool sure;

        memcpy(header, bytes,
               f->size < sizeof(header) ? (size_t)f->size : sizeof(header));
        if (segment_guess_header(header, &f->header, &sure)) {
            from = SEGMENT_HEADER_BYTES;
            tell(r, f->number, 0, from < f->size ? from : f->size, what);
            what = NULL;
            r->s->open_end = true; /* until something that follows is found */
            /* A file that was renamed may be of any time. */
            if (sure && f->header.number == f->number) {
                expect(r, f->header.first);
                placed = r->next == f->header.first;
            }
        } else {
            segment_say(text, "%s", what);
            rc = f->rc;
        }
    }
    if (rc == 0 && from <= f->size)
        rc = search(r, f, bytes, from, placed, what);
    mem_free(bytes);
    return rc;
}

/* As the daemon does it, as far as it would go. */
static int replay(struct reading *r, struct file *f, int fd,
                  char text[STORE_TEXT_MAX])
{
    const struct file *next = r->at + 1 < r->len ? f + 1 : NULL;
    bool follows = next && next->rc == 0 && next->number == f->number + 1;
    char what[STORE_TEXT_MAX];
    struct segment_replay p = {.header = &f->header,
                               .size = f->size,
                               .last = !next,
                               .next = follows ? next->header.first : 0,
                               .fn = take_next,
                               .arg = r,
                               .window = &r->window};
    int rc;

    expect(r, f->header.first);
    r->sequence = f->header.first;
    rc = segment_replay(&r->dir, fd, &p, UINT64_MAX, what);
    if (r->stopped)
        return r->stopped;
    if (rc == 0 && !next)
        r->s->torn_bytes = p.torn_end - p.end;
    if (rc == 0)
        return 0;
    if (rc != -EBADMSG && rc != -EIO) {
        segment_say(text, "%s", what);
        return rc;
    }
    /* Where the entries should have ended is not known. */
    if (rc == -EBADMSG && next && !follows && p.torn_end == p.end)
        return 0;
    return search_file(r, f, fd, p.end, what, text);
}

static int read_file(struct reading *r, char text[STORE_TEXT_MAX])
{
    const struct store_io *io = r->dir.io;
    struct file *f = &r->files[r->at];
    char path[SEGMENT_PATH_MAX];
    int64_t size;
    int fd, rc;

    segment_path(&r->dir, SEGMENT_NAME_USED, f->number, path);
    fd = io->open(io->arg, path, O_RDONLY, 0);
    size = fd < 0 ? fd : io->size(io->arg, fd);
    if (size >= 0) {
        f->size = (uint64_t)size < FILE_MAX ? (uint64_t)size : FILE_MAX;
        rc = f->rc == 0 ? replay(r, f, fd, text)
                        : search_file(r, f, fd, 0, f->text, text);
        if (f->size > r->s->largest)
            r->s->largest = f->size;
    } else {
        segment_say(text, "%s: %s", path, strerror((int)-size));
        rc = (int)size;
    }
    if (fd >= 0)
        (void)io->close(io->arg, fd); /* it was only read */
    return rc;
}

/* -- All ---------------------------------------------------------------- */

static int read_headers(struct reading *r, char text[STORE_TEXT_MAX])
{
    for (size_t i = 0; i < r->len; i++) {
        struct file *f = &r->files[i];

        f->rc = segment_read_header(&r->dir, f->number, &f->header, &f->size,
                                    f->text);
        if (f->rc != 0 && f->rc != -EBADMSG && f->rc != -ENOTSUP &&
            f->rc != -EIO) {
            segment_say(text, "%s", f->text);
            return f->rc;
        }
    }
    return 0;
}

static void tell_missing(struct reading *r)
{
    uint32_t before = r->files[r->at - 1].number, n = r->files[r->at].number;
    char text[STORE_TEXT_MAX];

    segment_say(text, "%" PRIu32 " segment%s missing before %010" PRIu32 ".yj",
                n - before - 1, n - before == 2 ? " is" : "s are", n);
    tell(r, before + 1, 0, 0, text);
}

int salvage_read(struct salvage *s, char text[STORE_TEXT_MAX])
{
    const struct store_io *io = s->io ? s->io : store_io_system();
    struct reading r = {.s = s, .dir = {.io = io, .path = s->dir, .fd = -1}};
    int rc = -ENAMETOOLONG;

    buf_init(&r.window);
    text[0] = '\0';
    if (strlen(s->dir) <= SEGMENT_PATH_MAX - 32)
        rc = io->list(io->arg, s->dir, add_file, &r);
    if (rc != 0)
        segment_say(text, "%s: %s", s->dir, strerror(-rc));
    if (r.len) {
        qsort(r.files, r.len, sizeof(*r.files), compare_files);
        s->first_segment = r.files[0].number;
        s->last_segment = r.files[r.len - 1].number;
    }
    s->segments = (uint32_t)r.len;
    if (rc == 0)
        rc = read_headers(&r, text);
    for (; rc == 0 && r.at < r.len; r.at++) {
        if (r.at > 0 && r.files[r.at].number != r.files[r.at - 1].number + 1)
            tell_missing(&r);
        rc = read_file(&r, text);
    }
    buf_clear(&r.window);
    mem_free(r.files);
    return rc;
}
