/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store on files: segments of checksummed frames, group commit.
 *
 *   caller                 writer                    keeper
 *   append: frames into    takes a whole batch:      keeps spares ready,
 *   the filling batch      write, sync, then says    trims dead segments
 *   commit: hands over     so through the eventfd
 *
 * A fourth, the reader, reads single entries again. Without threads the caller
 * does all of it, in the same functions.
 *
 * Invariants:
 *   1. At most one batch is being written. Its frames are on the disk before
 *      a frame of the next batch is written.
 *   2. A segment is synced before its successor gets its name: only the last
 *      segment can have a torn tail.
 *   3. The file of a segment has its full size, in zeros, before its first
 *      frame is written: a commit changes no metadata, and what is not zero
 *      behind the last frame is a torn write or damage.
 *   4. Segments are trimmed oldest first, each one for good before the next:
 *      a crash leaves no gap in the numbers.
 *   5. After an error nothing is written any more.
 *   6. An entry that has no place in a segment (the disk is full, and so is the
 *      reserve) waits in memory, and every later one behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/directory.h"
#include "store/keeper.h"
#include "store/reader.h"
#include "store/replay.h"
#include "store/scan.h"
#include "store/segment.h"
#include "store/store.h"
#include "store/writer.h"

#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define SEGMENT_BYTES_MIN     ((uint64_t)64 << 10)
#define SEGMENT_BYTES_MAX     ((uint64_t)1 << 30)

/* A commit runs in the caller only while syncs take less than this. */
#define INLINE_SYNC_US_MAX 500u

struct journal {
    struct store base;

    /* Set at open. */
    enum store_sync sync;
    uint32_t inline_bytes;
    uint64_t segment_bytes;
    bool threaded;
    struct directory directory;

    /* The caller's. */
    bool ready;            /* replayed */
    struct replay *replay; /* under way; NULL: not */
    struct {
        int fd;
        struct segment_header header;
        uint64_t end;  /* where the next frame goes */
        uint64_t look; /* an end where the one after it is looked for */
    } tail;
    struct batch batches[2];
    struct batch *filling;
    struct buf held;     /* entries without a place: u32 length, data */
    uint64_t placed;     /* the last entry that has one */
    uint32_t old;        /* last segment of those that a start has found, */
    uint64_t old_bytes;  /* and how long they were on average */
    bool writing;        /* a batch is with the writer */
    uint64_t barrier;    /* entries that are on the disk for sure before
                          * the next one is written */
    uint32_t trim_limit; /* segment of the last durable entry */
    uint32_t gone;       /* segments before that one go, or have */
    uint32_t trimmed;    /* no segment before that one is needed, ... */
    uint64_t trim_pos;   /* ... once this is synced; 0: nothing waits */
    struct scan scan;
    struct store_place end; /* entries before it are in the files */
    struct buf unwritten;   /* asked for, and not before it: struct
                             * store_place, in the order of asking */
    bool narrow, starved;   /* as in keeper_state, ... */
    size_t ready_spares;    /* ... likewise */
    uint64_t sync_us_mean;  /* moving */
    int error;
    char text[STORE_TEXT_MAX];
    struct store_stats stats;

    struct keeper keeper; /* these have mutexes of their own */
    struct reader reader;
    struct writer writer;
};

static struct journal *journal_of(struct store *s)
{
    return container_of(s, struct journal, base);
}

/* Makes store fd readable. */
static void notify(void *arg)
{
    const struct journal *j = arg;
    uint64_t one = 1;

    /* It fails only when the counter is at its maximum: readable, too. */
    if (j->base.fd >= 0 && write(j->base.fd, &one, sizeof(one)) < 0)
        return;
}

/* A part of a segment that is not told of: a step may record more than there
 * was room for, and that should not have to wait in memory. */
#define RESERVE_LAST 16

static void update_full(struct journal *j)
{
    uint64_t end = j->tail.end + j->segment_bytes / RESERVE_LAST;
    uint64_t all = j->segment_bytes +
                   j->ready_spares * (j->segment_bytes - SEGMENT_HEADER_BYTES);

    j->base.held = buf_size(&j->held) > 0;
    j->base.full =
        j->base.held || (j->starved && j->tail.end > j->segment_bytes / 2);
    j->base.narrow = j->base.full || j->narrow;
    j->base.room = j->base.held || end > all ? 0 : all - end;
}

/* What waits for room is a commit that takes long. */
static void update_busy(struct journal *j)
{
    j->base.busy =
        j->writing || (buf_size(&j->held) > 0 && !j->filling->parts_len);
}

static void set_error(struct journal *j, int error, const char *text)
{
    if (j->error)
        return; /* the first one is the cause */
    j->error = error;
    segment_say(j->text, "%s", text);
}

/* What is not needed any more goes, but for what is pinned. */
static void let_go(struct journal *j)
{
    uint32_t to = j->trimmed < j->base.pinned || PLANTED(PIN_UNHEARD)
                      ? j->trimmed
                      : j->base.pinned;

    if (to > j->gone)
        j->gone = to;
    reader_trim(&j->reader, j->gone);
    keeper_trim(&j->keeper, to);
}

static void journal_pin(struct store *s, uint32_t segment)
{
    struct journal *j = journal_of(s);

    s->pinned = segment;
    if (j->trim_pos == 0 && !j->error)
        let_go(j); /* else when that is synced */
}

static void ask_keeper(struct journal *j)
{
    struct keeper_state k;
    char text[STORE_TEXT_MAX];

    keeper_get_state(&j->keeper, &k, text);
    if (k.error)
        set_error(j, k.error, text);
    j->narrow = k.narrow;
    j->starved = k.starved;
    j->ready_spares = k.spares;
    j->base.bounded = k.bounded;
    j->stats.first_segment = k.first;
    j->stats.disk_bytes = k.disk_bytes;
    reader_get_stats(&j->reader, &j->stats.reads, &j->stats.read_bytes,
                     &j->stats.reads_put_off);
    if (UNLIKELY(k.narrow && j->base.pinned < j->trimmed))
        journal_pin(&j->base, STORE_UNPINNED);
    update_full(j);
}

static void ask_writer(struct journal *j)
{
    char text[STORE_TEXT_MAX];
    uint64_t synced;
    int rc = writer_ask(&j->writer, &synced, &j->stats, text);

    if (rc != 0)
        set_error(j, rc, text);
    if (synced > j->barrier)
        j->barrier = synced;
}

/* What was asked for may be in the files by now. */
static void ask_reader(struct journal *j)
{
    size_t kept = 0, len = j->unwritten.len;

    for (size_t at = 0; at < len; at += sizeof(struct store_place)) {
        struct store_place place;

        memcpy(&place, j->unwritten.data + at, sizeof(place));
        if (store_place_before(place, j->end)) {
            reader_ask(&j->reader, place);
            continue;
        }
        memcpy(j->unwritten.data + kept, &place, sizeof(place));
        kept += sizeof(place);
    }
    j->unwritten.len = kept;
}

/* A batch has been written. */
static void batch_ended(struct journal *j, struct batch *b,
                        const struct outcome *o)
{
    const struct part *last;

    outcome_count(o, &j->stats);
    if (o->syncs > 0)
        j->sync_us_mean = (j->sync_us_mean * 7 + o->sync_us / o->syncs) / 8;
    if (j->sync == STORE_SYNC_ALWAYS)
        j->base.sync_us = (uint32_t)min_i64((int64_t)j->sync_us_mean, 1000000);
    if (o->error || j->error)
        return;
    j->base.durable = b->last;
    last = &b->parts[b->parts_len - 1];
    j->trim_limit = last->header.number;
    j->end = (struct store_place){
        last->header.number,
        (uint32_t)(last->offset + (b->bytes.len - last->start))};
    batch_reset(b);
    if (UNLIKELY(j->unwritten.len))
        ask_reader(j);
}

static struct part *add_part(struct journal *j)
{
    return batch_add(j->filling, j->tail.fd, j->tail.end, &j->tail.header);
}

/* Take the spare for what comes next. It becomes a segment when the batch is
 * written, so that an append costs no call to the system. */
static int roll(struct journal *j)
{
    uint32_t number = j->tail.header.number + 1, spare;
    int closes = j->tail.fd, fd;
    struct part *p;
    int rc = keeper_take(&j->keeper, &fd, &spare);

    if (rc != 0) {
        ask_keeper(j);
        return rc;
    }
    ASSERT(number > 0);
    j->tail.fd = fd;
    j->tail.header = (struct segment_header){
        .number = number,
        .epoch = j->directory.dir.io->random(j->directory.dir.io->arg),
        .first = j->placed + 1};
    j->tail.end = SEGMENT_HEADER_BYTES;
    j->tail.look = j->segment_bytes / 4;
    j->barrier = j->placed;
    j->base.segment = number;
    p = add_part(j);
    p->opens = j->filling->opens = true;
    p->spare = spare;
    p->closes = closes;
    if (UNLIKELY(j->narrow))
        ask_keeper(j);
    return 0;
}

/* The next entry goes to a segment. */
static int place(struct journal *j, const void *data, size_t len)
{
    uint64_t size = segment_frame_size(len);
    struct batch *b = j->filling;

    if (UNLIKELY(j->tail.end + size > j->segment_bytes)) {
        int rc = roll(j);

        if (rc != 0)
            return rc;
    }
    if (b->parts_len == 0)
        (void)add_part(j);
    ASSERT(j->placed - j->barrier <= UINT32_MAX);
    segment_put_frame(&b->bytes, j->tail.header.epoch, j->placed + 1,
                      (uint32_t)(j->placed - j->barrier), data, len);
    j->base.place =
        (struct store_place){j->tail.header.number, (uint32_t)j->tail.end};
    j->tail.end += size;
    b->last = ++j->placed;
    return 0;
}

static void hold(struct journal *j, const void *data, size_t len)
{
    uint32_t length = (uint32_t)len;

    buf_append(&j->held, &length, sizeof(length));
    buf_append(&j->held, data, len);
}

/* There may be room again for what waits in memory. */
static void place_held(struct journal *j)
{
    uint32_t len;

    while (buf_size(&j->held) > 0 && !j->error) {
        const char *front = j->held.data + j->held.head;

        memcpy(&len, front, sizeof(len));
        if (place(j, front + sizeof(len), len) != 0)
            break;
        buf_consume(&j->held, sizeof(len) + len);
    }
    if (buf_size(&j->held) == 0)
        buf_shrink(&j->held, 0);
    update_full(j);
    update_busy(j);
}

/* A spare takes long to make, or to fail; the reserve is not to be used up by
 * then. */
static void look_after(struct journal *j)
{
    if (LIKELY(j->tail.end <= j->tail.look))
        return;
    if (j->tail.end <= j->segment_bytes / 4 * 3) {
        j->tail.look = j->segment_bytes / 4 * 3;
        keeper_hurry(&j->keeper);
        return;
    }
    j->tail.look = UINT64_MAX;
    keeper_wait(&j->keeper);
    ask_keeper(j);
}

static int journal_append(struct store *s, const void *data, size_t len,
                          uint64_t *pos)
{
    struct journal *j = journal_of(s);
    uint64_t size = segment_frame_size(len);
    int rc = 0;

    ASSERT(j->ready && len >= 1 && len <= SEGMENT_ENTRY_MAX);
    if (j->error)
        return -EIO;
    if (size > j->segment_bytes - SEGMENT_HEADER_BYTES)
        return -EMSGSIZE;
    if (LIKELY(!s->held))
        rc = place(j, data, len);
    look_after(j);
    if (UNLIKELY(s->held || rc == -ENOSPC)) {
        hold(j, data, len);
        s->place = (struct store_place){0};
    } else if (UNLIKELY(rc != 0)) {
        return rc;
    }
    *pos = ++s->appended;
    j->stats.entries++;
    j->stats.bytes += size;
    if (UNLIKELY(j->narrow)) {
        update_full(j);
        update_busy(j);
    }
    return 0;
}

/* Is the caller the better place for this batch? Opening a segment waits for
 * several syncs. One sync of a fast disk is cheaper than waking a thread. */
static bool commit_in_caller(const struct journal *j, const struct batch *b)
{
    if (!j->writer.running)
        return true;
    if (b->opens)
        return false;
    if (j->sync != STORE_SYNC_ALWAYS)
        return true;
    return b->bytes.len <= j->inline_bytes &&
           j->sync_us_mean < INLINE_SYNC_US_MAX;
}

static void commit_here(struct journal *j, struct batch *b)
{
    struct outcome o = {0};

    writer_write(&j->writer, b, &o);
    ask_writer(j);
    batch_ended(j, b, &o);
    keeper_work(&j->keeper, false);
}

static void journal_commit(struct store *s)
{
    struct journal *j = journal_of(s);
    struct batch *b = j->filling;

    if (j->writing || j->error || b->parts_len == 0)
        return;
    if (j->sync == STORE_SYNC_ALWAYS)
        j->barrier = j->placed;
    if (commit_in_caller(j, b)) {
        commit_here(j, b);
        update_busy(j);
        return;
    }
    s->busy = j->writing = true;
    j->filling = b == &j->batches[0] ? &j->batches[1] : &j->batches[0];
    writer_give(&j->writer, b);
}

/* Take over a batch that the writer has ended; before an error of it is known
 * nothing else may be given to it. */
static void end_job(struct journal *j, bool wait)
{
    const struct outcome *o =
        j->writing ? writer_ended(&j->writer, wait) : NULL;
    struct batch *b =
        j->filling == &j->batches[0] ? &j->batches[1] : &j->batches[0];

    ask_writer(j);
    if (!o)
        return;
    j->writing = false;
    batch_ended(j, b, o);
    update_busy(j);
}

/* What replaces the segments may be in the cache only, where the policy lets it
 * be durable so; then it would be lost with what it replaces. */
static void trim_synced(struct journal *j)
{
    if (!writer_sync(&j->writer, j->trim_pos))
        return; /* asked again with the next tick */
    j->trim_pos = 0;
    let_go(j);
}

static void journal_tick(struct store *s)
{
    struct journal *j = journal_of(s);
    uint64_t count;

    if (!j->ready)
        return;
    /* Nothing to read is fine: a tick also comes with time. */
    if (s->fd >= 0 && read(s->fd, &count, sizeof(count)) < 0)
        count = 0;
    keeper_work(&j->keeper, true);
    reader_work(&j->reader);
    writer_work(&j->writer);
    end_job(j, false);
    if (UNLIKELY(j->trim_pos) && !j->error)
        trim_synced(j);
    ask_keeper(j);
    if (UNLIKELY(j->base.held))
        place_held(j);
}

static int journal_error(const struct store *s, char text[STORE_TEXT_MAX])
{
    const struct journal *j = container_of(s, const struct journal, base);

    segment_say(text, "%s", j->text);
    return j->error;
}

static void journal_trim(struct store *s, uint32_t segment)
{
    struct journal *j = journal_of(s);

    /* What replaces the old entries may still be in memory only. */
    if (segment > j->trim_limit)
        segment = j->trim_limit;
    if (segment > j->trimmed)
        j->trimmed = segment;
    j->trim_pos = s->durable;
    if (!j->error)
        trim_synced(j);
    ask_keeper(j);
}

/* Of entries from a segment on, and up to an end in another. Those of an
 * earlier process may have had another size. */
static uint64_t extent_bytes(const struct journal *j, uint32_t first,
                             uint32_t last, uint64_t end)
{
    uint32_t mid = last < j->old + 1 ? last : j->old + 1;

    mid = mid < first ? first : mid;
    return (mid - first) * j->old_bytes + (last - mid) * j->segment_bytes + end;
}

static void journal_extent(const struct store *s, struct store_extent *out)
{
    const struct journal *j = container_of(s, const struct journal, base);
    uint32_t first = j->stats.first_segment;

    first = first > j->gone ? first : j->gone;
    *out = (struct store_extent){
        .dir = j->directory.dir.path,
        .first = first,
        .last = j->trim_limit,
        .end = j->end.offset,
        .bytes = extent_bytes(j, first, j->trim_limit, j->end.offset),
        .entry = s->durable};
}

static void journal_bound(struct store *s, uint64_t disk_max)
{
    struct journal *j = journal_of(s);

    j->stats.disk_max = disk_max;
    keeper_bound(&j->keeper, disk_max);
}

static int journal_scan(struct store *s, size_t bytes, store_replay_fn *fn,
                        void *arg, size_t *got, char text[STORE_TEXT_MAX])
{
    struct journal *j = journal_of(s);
    uint32_t first = j->stats.first_segment;
    int rc = scan_step(&j->scan, first > j->trimmed ? first : j->trimmed,
                       j->trim_limit, bytes, fn, arg, got, text);

    j->stats.scanned_bytes += *got;
    return rc;
}

static void journal_read(struct store *s, struct store_place place)
{
    struct journal *j = journal_of(s);

    ASSERT(j->ready && place.offset > 0);
    if (store_place_before(place, j->end))
        reader_ask(&j->reader, place);
    else
        buf_append(&j->unwritten, &place, sizeof(place));
}

static bool journal_take(struct store *s, struct store_answer *out)
{
    return reader_take(&journal_of(s)->reader, out);
}

static void journal_stats(const struct store *s, struct store_stats *out)
{
    const struct journal *j = container_of(s, const struct journal, base);
    uint32_t first;

    *out = j->stats;
    out->last_segment = j->tail.header.number;
    out->segments = out->last_segment - out->first_segment + 1;
    out->segment_bytes = j->segment_bytes;
    out->scan_segment = j->scan.number;
    /* Those that are about to go are as good as gone. */
    first = j->trimmed > out->first_segment ? j->trimmed : out->first_segment;
    out->used_bytes = extent_bytes(j, first, out->last_segment, j->tail.end);
    first = out->first_segment > s->pinned ? out->first_segment : s->pinned;
    out->pinned = j->trimmed > first ? j->trimmed - first : 0;
}

/* -- Replay ------------------------------------------------------------- */

/* Cut off a torn tail, and let the file have its full size. What is in the
 * cache only after a crash of the process is synced, too. */
static int settle_tail(struct journal *j, const struct segment_replay *r,
                       char text[STORE_TEXT_MAX])
{
    const struct store_io *io = j->directory.dir.io;
    uint64_t to = r->torn_end;
    bool grows = r->size < j->segment_bytes;
    int rc;

    if (grows)
        to = j->segment_bytes;
    rc = segment_cut(&j->directory.dir, j->tail.fd, r->end, to);
    if (rc == 0 && grows) {
        j->stats.disk_bytes += j->segment_bytes - r->size;
    } else if (rc != 0 && grows) {
        /* Some of it may have had room. It stays as long as it is, and takes
         * nothing more. */
        rc = io->ftruncate(io->arg, j->tail.fd, (int64_t)r->size);
        if (rc == 0)
            rc =
                segment_cut(&j->directory.dir, j->tail.fd, r->end, r->torn_end);
        j->tail.end = j->segment_bytes;
    }
    if (rc == 0)
        rc = io->fdatasync(io->arg, j->tail.fd);
    if (rc != 0)
        segment_say(text, "%s: segment %010" PRIu32 ".yj: %s",
                    j->directory.dir.path, r->header->number, strerror(-rc));
    j->stats.torn_bytes = r->torn_end - r->end;
    return rc;
}

static void count_replayed(struct journal *j)
{
    j->stats.replayed_entries = j->replay->entries;
    j->stats.replayed_bytes = j->replay->bytes;
    j->stats.replay_size = j->replay->size;
    j->stats.replay_done = replay_done(j->replay);
}

static void end_replay(struct journal *j)
{
    if (j->replay)
        replay_clear(j->replay);
    mem_free(j->replay);
    j->replay = NULL;
}

/* 1: there is more. */
static int replay_used(struct journal *j, uint64_t most, store_replay_fn *fn,
                       void *arg, char text[STORE_TEXT_MAX])
{
    struct segment_replay *last;
    int rc = 0;

    if (!j->replay) {
        j->replay = mem_alloc(sizeof(*j->replay));
        rc = replay_open(j->replay, &j->directory.dir, j->directory.used.at,
                         j->directory.used.len, text);
    }
    if (rc == 0)
        rc = replay_read(j->replay, most, fn, arg, text);
    count_replayed(j);
    if (rc != 0)
        return rc;
    last = &j->replay->segment;
    j->tail.fd = j->replay->fd;
    j->replay->fd = -1;
    j->tail.header = *last->header;
    j->tail.end = last->end;
    j->end = (struct store_place){last->header->number, (uint32_t)last->end};
    j->base.appended = j->placed = last->header->first + last->entries - 1;
    j->stats.disk_bytes = j->stats.replay_done = j->stats.replay_size;
    rc = settle_tail(j, last, text);
    j->old = last->header->number;
    j->old_bytes = j->stats.disk_bytes / j->directory.used.len;
    end_replay(j);
    return rc;
}

/* The first segment of a new directory. */
static int start_empty(struct journal *j, char text[STORE_TEXT_MAX])
{
    struct outcome o = {0};
    int rc = roll(j);

    if (rc != 0) {
        segment_say(text,
                    "%s: no room for the first segment of %" PRIu64 " bytes",
                    j->directory.dir.path, j->segment_bytes);
        return rc;
    }
    writer_write(&j->writer, j->filling, &o);
    segment_say(text, "%s", o.text);
    j->end = (struct store_place){j->tail.header.number, SEGMENT_HEADER_BYTES};
    if (o.error == 0)
        batch_reset(j->filling);
    return o.error;
}

static int start_threads(struct journal *j, char text[STORE_TEXT_MAX])
{
    int rc = keeper_start(&j->keeper);

    if (rc == 0)
        rc = reader_start(&j->reader);
    if (rc == 0)
        rc = writer_start(&j->writer);
    if (rc != 0)
        segment_say(text, "%s: cannot start a thread: %s",
                    j->directory.dir.path, strerror(-rc));
    return rc;
}

static int journal_replay(struct store *s, uint64_t most, store_replay_fn *fn,
                          void *arg, char text[STORE_TEXT_MAX])
{
    struct journal *j = journal_of(s);
    int rc;

    ASSERT(!j->ready);
    text[0] = '\0';
    rc = j->directory.used.len ? replay_used(j, most, fn, arg, text) : 0;
    if (rc != 0)
        return rc;
    keeper_adopt(&j->keeper, j->directory.spares.at, j->directory.spares.len,
                 j->directory.used.len ? j->directory.used.at[0] : 1,
                 j->stats.disk_bytes);
    rc = j->directory.used.len ? 0 : start_empty(j, text);
    if (rc != 0)
        return rc;
    s->durable = s->appended;
    s->segment = j->trim_limit = j->tail.header.number;
    j->barrier = s->appended;
    writer_adopt(&j->writer, j->tail.fd, s->appended);
    if (j->threaded)
        rc = start_threads(j, text);
    if (rc != 0)
        return rc;
    j->ready = true;
    /* Whether the disk is full decides what the first requests are answered. */
    if (j->tail.end > j->segment_bytes / 2)
        keeper_wait(&j->keeper);
    keeper_work(&j->keeper, false);
    ask_keeper(j);
    return 0;
}

/* -- Open and close ----------------------------------------------------- */

static void finish_commits(struct journal *j)
{
    while (!j->error && (j->writing || j->filling->parts_len)) {
        journal_commit(&j->base);
        end_job(j, true);
    }
}

static void close_fd(struct journal *j, int fd)
{
    if (fd >= 0) /* what had to be durable was synced before */
        (void)j->directory.dir.io->close(j->directory.dir.io->arg, fd);
}

static void journal_free(struct journal *j)
{
    end_replay(j);
    keeper_clear(&j->keeper);
    reader_clear(&j->reader);
    scan_clear(&j->scan);
    for (size_t i = 0; i < ARRAY_LEN(j->batches); i++)
        batch_clear(&j->batches[i], &j->directory.dir);
    buf_clear(&j->held);
    buf_clear(&j->unwritten);
    close_fd(j, j->tail.fd);
    if (j->base.fd >= 0)
        (void)close(j->base.fd); /* an eventfd holds nothing */
    writer_clear(&j->writer);
    directory_close(&j->directory);
    mem_free(j);
}

static void journal_close(struct store *s)
{
    struct journal *j = journal_of(s);

    if (j->ready)
        finish_commits(j);
    writer_stop(&j->writer);
    journal_free(j);
}

static const struct store_ops journal_ops = {
    .replay = journal_replay,
    .append = journal_append,
    .commit = journal_commit,
    .error = journal_error,
    .trim = journal_trim,
    .extent = journal_extent,
    .pin = journal_pin,
    .bound = journal_bound,
    .scan = journal_scan,
    .read = journal_read,
    .take = journal_take,
    .tick = journal_tick,
    .stats = journal_stats,
    .close = journal_close,
};

int store_journal_open(const struct store_journal_options *options,
                       struct store **out, char text[STORE_TEXT_MAX])
{
    uint64_t bytes =
        options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    struct journal *j;
    int rc = 0;

    if (bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX ||
        strlen(options->dir) > SEGMENT_PATH_MAX - 32) {
        segment_say(text,
                    "a segment must have %" PRIu64 " to %" PRIu64
                    " bytes, and the directory a name of at most %u",
                    SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX,
                    SEGMENT_PATH_MAX - 32);
        return -EINVAL;
    }
    j = mem_zalloc(sizeof(*j));
    *j = (struct journal){
        .base = {.ops = &journal_ops, .pinned = STORE_UNPINNED, .fd = -1},
        .sync = options->sync,
        .inline_bytes = options->inline_bytes,
        .segment_bytes = bytes,
        .threaded = options->threaded,
        .tail = {.fd = -1},
        .filling = &j->batches[0],
    };
    directory_init(&j->directory, options->io ? options->io : store_io_system(),
                   options->dir);
    keeper_init(&j->keeper, &j->directory.dir, bytes, notify, j);
    journal_bound(&j->base, options->disk_max);
    reader_init(&j->reader, &j->directory.dir, notify, j);
    scan_init(&j->scan, &j->directory.dir);
    j->writer = (struct writer){.dir = &j->directory.dir,
                                .sync = options->sync,
                                .interval_ms = options->interval_ms,
                                .timed = options->threaded,
                                .ended_fn = notify,
                                .arg = j};
    writer_init(&j->writer);
    if (j->threaded) {
        j->base.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        rc = j->base.fd < 0 ? -errno : 0;
        if (rc != 0)
            segment_say(text, "eventfd: %s", strerror(-rc));
    }
    if (rc == 0)
        rc = directory_open(&j->directory, text);
    if (rc != 0) {
        journal_free(j);
        return rc;
    }
    *out = &j->base;
    return 0;
}
