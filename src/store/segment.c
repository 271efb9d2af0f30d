/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layout, all numbers little endian (doc/journal.md says more):
 *
 *   NNNNNNNNNN.yj
 *   0         8         12       16      24      32        4088    4096
 *   | "yokejrnl" | version | number | epoch | first | zeros | check | frames
 *
 *   frame
 *   0       8        12       16
 *   | check | length | behind | data ... (length bytes) | next frame
 *
 *   header check = XXH3(bytes 0..4087)
 *   frame check  = XXH3(length, behind, data; seed = epoch) + sequence
 *
 * The sequence number of a frame is not stored: it is what is left of `check`
 * when the hash is taken away. An entry out of its place (skipped, repeated,
 * from an earlier life of the file) therefore never validates, and a search
 * for later frames learns their number from one hash.
 */
#include "store/segment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <xxhash.h>

#include "base/mem.h"

#define MAGIC       "yokejrnl"
#define CHECK_AT    (SEGMENT_HEADER_BYTES - 8)
#define READ_BYTES  ((size_t)1 << 20)
#define SLICE_BYTES ((size_t)1 << 18) /* of zeros between two syncs */

/* How much a search for later frames may hash before it gives up. A payload
 * made to look like frames could otherwise keep it busy for hours. */
#define SEARCH_HASH_BYTES ((uint64_t)4 << 30)

static void put32(char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

static void put64(char *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static uint64_t get64(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

void segment_say(char text[STORE_TEXT_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, STORE_TEXT_MAX, fmt, ap); /* cut short if long */
    va_end(ap);
}

/* -- Names -------------------------------------------------------------- */

/* Ten digits and nothing else up to `end`. */
static bool parse_number(const char *digits, const char *end, uint32_t *number)
{
    uint64_t n = 0;

    for (int i = 0; i < 10; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(digits[i] - '0');
    }
    if (strcmp(digits + 10, end) != 0 || n == 0 || n > UINT32_MAX)
        return false;
    *number = (uint32_t)n;
    return true;
}

enum segment_name segment_parse_name(const char *name, uint32_t *number)
{
    if (strncmp(name, "spare-", 6) == 0)
        return parse_number(name + 6, "", number) ? SEGMENT_NAME_SPARE
                                                  : SEGMENT_NAME_OTHER;
    return parse_number(name, ".yj", number) ? SEGMENT_NAME_USED
                                             : SEGMENT_NAME_OTHER;
}

void segment_path(const struct segment_dir *d, enum segment_name kind,
                  uint32_t number, char out[SEGMENT_PATH_MAX])
{
    bool spare = kind == SEGMENT_NAME_SPARE;
    int n = snprintf(out, SEGMENT_PATH_MAX, "%s/%s%010" PRIu32 "%s", d->path,
                     spare ? "spare-" : "", number, spare ? "" : ".yj");

    ASSERT(n > 0 && n < (int)SEGMENT_PATH_MAX);
}

/* -- Writing ------------------------------------------------------------ */

/* A short write is an error like any other: the rest is not tried. */
static int write_all(const struct store_io *io, int fd, const char *data,
                     size_t len, uint64_t offset)
{
    int64_t n = io->pwrite(io->arg, fd, data, len, (int64_t)offset);

    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : -EIO;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* Slices are synced one by one: a sync of the whole file at once would make
 * the commits that go on beside it wait for tens of milliseconds. */
static int write_zeros(const struct store_io *io, int fd, uint64_t from,
                       uint64_t to, bool (*stop)(void *arg), void *arg)
{
    size_t most = to - from < SLICE_BYTES ? (size_t)(to - from) : SLICE_BYTES;
    char *zeros = mem_zalloc(most);
    int rc = 0;

    while (from < to && rc == 0) {
        size_t len = to - from < most ? (size_t)(to - from) : most;

        if (stop(arg))
            rc = -ECANCELED;
        else
            rc = write_all(io, fd, zeros, len, from);
        if (rc == 0)
            rc = io->fdatasync(io->arg, fd);
        from += len;
    }
    mem_free(zeros);
    return rc;
}

int segment_make_spare(const struct segment_dir *d, uint32_t number,
                       uint64_t bytes, bool fresh, bool (*stop)(void *arg),
                       void *arg, int *fd)
{
    const struct store_io *io = d->io;
    char path[SEGMENT_PATH_MAX];
    int64_t size;
    int rc, file;

    segment_path(d, SEGMENT_NAME_SPARE, number, path);
    file =
        io->open(io->arg, path, O_RDWR | (fresh ? O_CREAT | O_EXCL : 0), 0600);
    if (file < 0)
        return file;
    size = io->size(io->arg, file);
    rc = size < 0 ? (int)size : 0;
    if (rc == 0 && (uint64_t)size > bytes)
        rc = io->ftruncate(io->arg, file, (int64_t)bytes);
    if (rc == 0)
        rc = write_zeros(io, file, 0, bytes, stop, arg);
    if (rc != 0) {
        (void)io->close(io->arg, file);  /* the first error is the cause */
        (void)io->unlink(io->arg, path); /* a rest is reused at next start */
        return rc;
    }
    *fd = file;
    return 0;
}

int segment_start(const struct segment_dir *d, int fd, uint32_t spare,
                  const struct segment_header *h, const char **what)
{
    const struct store_io *io = d->io;
    char block[SEGMENT_HEADER_BYTES] = {0};
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    int rc;

    memcpy(block, MAGIC, 8);
    put32(block + 8, SEGMENT_VERSION);
    put32(block + 12, h->number);
    put64(block + 16, h->epoch);
    put64(block + 24, h->first);
    put64(block + CHECK_AT, XXH3_64bits(block, CHECK_AT));
    *what = "write of the header";
    rc = write_all(io, fd, block, sizeof(block), 0);
    if (rc != 0)
        return rc;
    *what = "sync of the header";
    rc = io->fdatasync(io->arg, fd);
    if (rc != 0)
        return rc;
    segment_path(d, SEGMENT_NAME_SPARE, spare, from);
    segment_path(d, SEGMENT_NAME_USED, h->number, to);
    *what = "rename";
    rc = io->rename(io->arg, from, to);
    if (rc != 0)
        return rc;
    *what = "sync of the directory";
    return io->fsync(io->arg, d->fd);
}

static uint64_t frame_hash(const char *frame, size_t len, uint64_t epoch)
{
    return XXH3_64bits_withSeed(frame + 8, SEGMENT_FRAME_BYTES - 8 + len,
                                epoch);
}

void segment_put_frame(struct buf *out, uint64_t epoch, uint64_t sequence,
                       uint32_t behind, const void *data, size_t len)
{
    char *p = buf_reserve(out, SEGMENT_FRAME_BYTES + len);

    ASSERT(len >= 1 && len <= SEGMENT_ENTRY_MAX);
    put32(p + 8, (uint32_t)len);
    put32(p + 12, behind);
    memcpy(p + SEGMENT_FRAME_BYTES, data, len);
    put64(p, frame_hash(p, len, epoch) + sequence);
    out->len += SEGMENT_FRAME_BYTES + len;
}

int segment_cut(const struct segment_dir *d, int fd, uint64_t from, uint64_t to)
{
    return write_zeros(d->io, fd, from, to, never, NULL);
}

/* -- Reading ------------------------------------------------------------ */

/* Reads until `len` bytes or the end of the file; returns how many. */
static int64_t read_all(const struct store_io *io, int fd, char *to, size_t len,
                        uint64_t offset)
{
    size_t have = 0;

    while (have < len) {
        int64_t n = io->pread(io->arg, fd, to + have, len - have,
                              (int64_t)(offset + have));

        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (int64_t)have;
}

static int check_header(const char *block, uint32_t number, const char *path,
                        char text[STORE_TEXT_MAX])
{
    if (memcmp(block, MAGIC, 8) != 0) {
        segment_say(text, "%s: damaged header: does not start with %s", path,
                    MAGIC);
        return -EBADMSG;
    }
    if (get32(block + 8) > SEGMENT_VERSION) {
        segment_say(text,
                    "%s: written in format %" PRIu32
                    " by a newer yoked; this one reads up to %u",
                    path, get32(block + 8), SEGMENT_VERSION);
        return -ENOTSUP;
    }
    if (get64(block + CHECK_AT) != XXH3_64bits(block, CHECK_AT)) {
        segment_say(text, "%s: damaged header: wrong checksum", path);
        return -EBADMSG;
    }
    if (get32(block + 12) != number) {
        segment_say(text, "%s: this file is segment %" PRIu32, path,
                    get32(block + 12));
        return -EBADMSG;
    }
    return 0;
}

int segment_read_header(const struct segment_dir *d, uint32_t number,
                        struct segment_header *h, uint64_t *size,
                        char text[STORE_TEXT_MAX])
{
    const struct store_io *io = d->io;
    char path[SEGMENT_PATH_MAX];
    char block[SEGMENT_HEADER_BYTES];
    int64_t n, bytes;
    int fd, rc;

    segment_path(d, SEGMENT_NAME_USED, number, path);
    fd = io->open(io->arg, path, O_RDONLY, 0);
    n = fd < 0 ? fd : read_all(io, fd, block, sizeof(block), 0);
    bytes = n < 0 ? n : io->size(io->arg, fd);
    if (fd >= 0)
        (void)io->close(io->arg, fd); /* it was only read */
    if (bytes < 0) {
        segment_say(text, "%s: %s", path, strerror((int)-bytes));
        return (int)bytes;
    }
    if (n < (int64_t)sizeof(block)) {
        segment_say(text,
                    "%s: damaged header: the file ends after %" PRId64 " bytes",
                    path, n);
        return -EBADMSG;
    }
    rc = check_header(block, number, path, text);
    if (rc != 0)
        return rc;
    *h = (struct segment_header){.number = number,
                                 .epoch = get64(block + 16),
                                 .first = get64(block + 24)};
    *size = (uint64_t)bytes;
    return 0;
}

/* The window holds the file from r->end on; make it at least `need` bytes, or
 * all that is left. */
static int fill(const struct store_io *io, int fd, struct segment_replay *r,
                size_t need)
{
    size_t have = buf_size(r->window);
    uint64_t left = r->size - r->end - have;
    size_t want = need > have ? need - have : 0;
    int64_t n;

    if (want == 0 || left == 0)
        return 0;
    if (want < READ_BYTES)
        want = READ_BYTES;
    if (want > left)
        want = (size_t)left;
    n = read_all(io, fd, buf_reserve(r->window, want), want, r->end + have);
    if (n < 0)
        return (int)n;
    if ((size_t)n < want)
        r->size = r->end + have + (uint64_t)n;
    r->window->len += (size_t)n;
    return 0;
}

static bool all_zero(const char *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Sets r->torn_end: behind the last byte after r->end that is not zero. */
static int find_tail(const struct store_io *io, int fd,
                     struct segment_replay *r)
{
    uint64_t left = r->size - r->end, at = r->end;
    size_t most = left < READ_BYTES ? (size_t)left : READ_BYTES;
    char *block = mem_alloc(most);
    int rc = 0;

    r->torn_end = r->end;
    while (at < r->size) {
        int64_t n = read_all(io, fd, block, most, at);

        if (n <= 0) {
            rc = (int)n;
            break;
        }
        if (!all_zero(block, (size_t)n)) {
            size_t last = (size_t)n;

            while (block[last - 1] == 0)
                last--;
            r->torn_end = at + last;
        }
        at += (uint64_t)n;
    }
    mem_free(block);
    return rc;
}

/* Does a frame at p prove that entry `lost` was on the disk once? */
static bool proves_synced(const char *p, size_t len, uint64_t epoch,
                          uint64_t lost, uint64_t most)
{
    uint64_t sequence = get64(p) - frame_hash(p, len, epoch);
    uint64_t behind = get32(p + 12);

    return sequence > lost && sequence - lost <= most &&
           sequence - 1 - lost >= behind;
}

/*
 * The frame at r->end is bad. 1: a later frame proves that it was synced once,
 * *at says where that one is; 0: none does, this is a torn tail; or -errno.
 * When the search becomes too long it says 1, with *at = 0: cutting off
 * entries that were acknowledged would be worse than asking a human.
 */
static int search(const struct store_io *io, int fd,
                  const struct segment_replay *r, uint64_t *at)
{
    size_t starts = (size_t)(r->torn_end - r->end), len = starts;
    uint64_t lost = r->header->first + r->entries, hashed = 0;
    uint64_t most = r->size / SEGMENT_FRAME_BYTES;
    char *tail;
    int64_t n;
    int rc;

    /* The last frame may end in zeros. */
    len += SEGMENT_FRAME_BYTES + SEGMENT_ENTRY_MAX;
    if (len > r->size - r->end)
        len = (size_t)(r->size - r->end);
    tail = mem_alloc(len);
    n = read_all(io, fd, tail, len, r->end);
    rc = n < 0 ? (int)n : (size_t)n < len ? -EIO : 0;
    for (size_t i = 1; rc == 0 && i < starts; i++) {
        size_t data;

        if (i + SEGMENT_FRAME_BYTES >= len)
            break;
        data = get32(tail + i + 8);

        if (data == 0 || data > SEGMENT_ENTRY_MAX ||
            data > len - i - SEGMENT_FRAME_BYTES || get32(tail + i + 12) > most)
            continue;
        hashed += data;
        if (hashed > SEARCH_HASH_BYTES) {
            *at = 0;
            rc = 1;
        } else if (proves_synced(tail + i, data, r->header->epoch, lost,
                                 most)) {
            *at = r->end + i;
            rc = 1;
        }
    }
    mem_free(tail);
    return rc;
}

/* Which entry it should be is not known; how many can lie before it is. */
int segment_check_frame(const char *bytes, size_t have,
                        const struct segment_header *h, uint64_t offset,
                        const char **data, size_t *len)
{
    size_t n;

    *len = SEGMENT_FRAME_BYTES;
    if (have < SEGMENT_FRAME_BYTES)
        return -EAGAIN;
    n = get32(bytes + 8);
    if (n == 0 || n > SEGMENT_ENTRY_MAX)
        return -EBADMSG;
    *len = SEGMENT_FRAME_BYTES + n;
    if (have < *len)
        return -EAGAIN;
    if (get64(bytes) - frame_hash(bytes, n, h->epoch) - h->first >
        offset / SEGMENT_FRAME_BYTES)
        return -EBADMSG;
    *data = bytes + SEGMENT_FRAME_BYTES;
    *len = n;
    return 0;
}

bool segment_frame_at(const char *bytes, size_t len, size_t at, uint64_t epoch,
                      struct segment_frame *out)
{
    size_t n;

    if (len < SEGMENT_FRAME_BYTES || at >= len - SEGMENT_FRAME_BYTES)
        return false;
    n = get32(bytes + at + 8);
    if (n == 0 || n > SEGMENT_ENTRY_MAX || n > len - at - SEGMENT_FRAME_BYTES ||
        get32(bytes + at + 12) > len / SEGMENT_FRAME_BYTES)
        return false;
    out->at = at;
    out->len = n;
    out->sequence = get64(bytes + at) - frame_hash(bytes + at, n, epoch);
    return true;
}

bool segment_find(const char *bytes, size_t len, const struct segment_range *r,
                  struct segment_frame *out)
{
    uint64_t hashed = 0;

    for (size_t at = r->from; at < len && hashed <= SEARCH_HASH_BYTES; at++) {
        if (!segment_frame_at(bytes, len, at, r->epoch, out))
            continue;
        if (out->sequence >= r->low && out->sequence <= r->high)
            return true;
        hashed += out->len;
    }
    return false;
}

static bool header_is_whole(const char *block)
{
    return memcmp(block, MAGIC, 8) == 0 &&
           get32(block + 8) <= SEGMENT_VERSION &&
           get64(block + CHECK_AT) == XXH3_64bits(block, CHECK_AT);
}

bool segment_guess_header(char block[SEGMENT_HEADER_BYTES],
                          struct segment_header *h, bool *sure)
{
    bool whole = header_is_whole(block);

    /* One wrong bit can be found: a tenth of a second at most. */
    for (size_t bit = 0; bit < 8 * SEGMENT_HEADER_BYTES && !whole; bit++) {
        block[bit / 8] ^= (char)(1 << bit % 8);
        whole = header_is_whole(block);
        if (!whole)
            block[bit / 8] ^= (char)(1 << bit % 8);
    }
    *h = (struct segment_header){.number = get32(block + 12),
                                 .epoch = get64(block + 16),
                                 .first = get64(block + 24)};
    *sure = whole;
    return whole || memcmp(block, MAGIC, 8) != 0 ||
           get32(block + 8) <= SEGMENT_VERSION;
}

static int damage(const char *path, const struct segment_replay *r,
                  const char *why, char text[STORE_TEXT_MAX])
{
    segment_say(text,
                "%s: damaged at offset %" PRIu64 " (entry %" PRIu64 "): %s",
                path, r->end, r->header->first + r->entries, why);
    return -EBADMSG;
}

/* What follows the last valid frame: nothing, a torn tail, or damage. */
static int judge_tail(const struct store_io *io, int fd,
                      struct segment_replay *r, const char *path,
                      char text[STORE_TEXT_MAX])
{
    uint64_t next = r->header->first + r->entries, at = 0;
    char why[128];
    int rc = find_tail(io, fd, r);

    if (rc == 0 && !r->last) {
        if (r->torn_end != r->end)
            return damage(path, r,
                          "this frame is not valid, and another "
                          "segment follows",
                          text);
        if (next == r->next)
            return 0;
        (void)snprintf(why, sizeof(why),
                       "the entries end, but the next segment starts with "
                       "entry %" PRIu64,
                       r->next);
        return damage(path, r, why, text);
    }
    if (rc == 0 && r->torn_end != r->end)
        rc = search(io, fd, r, &at);
    if (rc < 0)
        segment_say(text, "%s: %s", path, strerror(-rc));
    if (rc <= 0)
        return rc;
    if (at == 0)
        return damage(path, r,
                      "this frame is not valid, and too much that "
                      "looks like frames follows to tell whether it "
                      "ever was",
                      text);
    (void)snprintf(why, sizeof(why),
                   "this frame is not valid, but a later one at offset "
                   "%" PRIu64 " shows that it was",
                   at);
    return damage(path, r, why, text);
}

void segment_rewind(struct segment_replay *r)
{
    buf_reset(r->window);
    r->entries = 0;
    r->end = SEGMENT_HEADER_BYTES;
}

int segment_next(const struct segment_dir *d, int fd, struct segment_replay *r)
{
    const char *p;
    size_t len;
    int rc = fill(d->io, fd, r, SEGMENT_FRAME_BYTES);

    if (rc != 0 || buf_size(r->window) < SEGMENT_FRAME_BYTES)
        return rc;
    len = get32(buf_front(r->window) + 8);
    if (len == 0 || len > SEGMENT_ENTRY_MAX)
        return 0;
    rc = fill(d->io, fd, r, SEGMENT_FRAME_BYTES + len);
    if (rc != 0 || buf_size(r->window) < SEGMENT_FRAME_BYTES + len)
        return rc;
    p = buf_front(r->window);
    if (get64(p) - frame_hash(p, len, r->header->epoch) !=
        r->header->first + r->entries)
        return 0;
    rc = r->fn(r->arg, p + SEGMENT_FRAME_BYTES, len,
               (struct store_place){r->header->number, (uint32_t)r->end});
    if (rc != 0)
        return rc;
    buf_consume(r->window, SEGMENT_FRAME_BYTES + len);
    r->entries++;
    r->end += SEGMENT_FRAME_BYTES + len;
    return 1;
}

int segment_replay(const struct segment_dir *d, int fd,
                   struct segment_replay *r, uint64_t most,
                   char text[STORE_TEXT_MAX])
{
    char path[SEGMENT_PATH_MAX];
    uint64_t from;
    int rc;

    if (r->end == 0)
        segment_rewind(r);
    from = r->end;
    do {
        rc = segment_next(d, fd, r);
    } while (rc > 0 && r->end - from < most);
    if (rc > 0)
        return 1;
    segment_path(d, SEGMENT_NAME_USED, r->header->number, path);
    if (rc < 0) {
        segment_say(text, "%s: entry %" PRIu64 ": %s", path,
                    r->header->first + r->entries, strerror(-rc));
        return rc;
    }
    return judge_tail(d->io, fd, r, path, text);
}
