/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of the stores, most of them on a disk in memory (disk.h) that can
 * fail and lose power at any call.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk.h"
#include "store/segment.h"
#include "store/store.h"

/* -- A journal on a disk in memory
 * ---------------------------------------------------- */

#define SEGMENT ((uint64_t)64 << 10)

/* What the journal should hold: entry n has the contents that n gives it. */
struct world {
    struct disk disk;
    struct store_io io;
    struct store_journal_options options;
    struct store *s;
    char text[STORE_TEXT_MAX];
    uint64_t life;         /* changes the contents of what is appended again */
    uint64_t lives[16384]; /* in which life entry n was appended */
    uint64_t replayed;     /* the next entry that replay should deliver */
    uint32_t segment;      /* of the last replayed one */
};

static size_t entry_len(uint64_t n, uint64_t life)
{
    return 1 + (size_t)(mix(n * 31 + life) % 120);
}

static void entry_fill(uint64_t n, uint64_t life, char out[120])
{
    size_t len = entry_len(n, life);

    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = mix(n * 131 + life * 7 + i);

        memcpy(out + i, &word, sizeof(word)); /* 120 is a multiple of 8 */
    }
}

static int check_entry(void *arg, const void *data, size_t len,
                       struct store_place place)
{
    struct world *w = arg;
    char want[120];
    uint64_t n = w->replayed++, life = w->lives[n % ARRAY_LEN(w->lives)];

    entry_fill(n, life, want);
    MUST_EQ(len, entry_len(n, life));
    MUST(memcmp(data, want, len) == 0);
    MUST(place.segment >= w->segment);
    w->segment = place.segment;
    return 0;
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));

    disk_init(&w->disk, seed);
    w->io = (struct store_io){.arg = &w->disk,
                              .open = disk_open,
                              .close = disk_close,
                              .pread = disk_pread,
                              .pwrite = disk_pwrite,
                              .fdatasync = disk_fdatasync,
                              .fsync = disk_fsync,
                              .rename = disk_rename,
                              .unlink = disk_unlink,
                              .ftruncate = disk_ftruncate,
                              .size = disk_size,
                              .list = disk_list,
                              .lock = disk_lock,
                              .random = disk_random};
    w->options = (struct store_journal_options){
        .dir = "/disk", .segment_bytes = SEGMENT, .io = &w->io};
    return w;
}

/* In one piece, or in small ones of another size each time. */
static int world_replay(struct world *w)
{
    uint64_t most = w->life % 3 == 0 ? UINT64_MAX : w->life * 777 % 5000;
    int rc;

    do
        rc = store_replay_some(w->s, most, check_entry, w, w->text);
    while (rc == 1);
    return rc;
}

/* Opens and replays; entries are expected from `first` on. */
static int world_open(struct world *w, uint64_t first)
{
    int rc = store_journal_open(&w->options, &w->s, w->text);

    w->replayed = first;
    w->segment = 0;
    w->life++;
    if (rc != 0)
        return rc;
    rc = world_replay(w);
    if (rc != 0) {
        MUST(strcmp(w->text, "") != 0);
        store_close(w->s);
        w->s = NULL;
    } else {
        MUST(strcmp(w->text, "") == 0);
    }
    return rc;
}

static void world_close(struct world *w)
{
    store_close(w->s);
    w->s = NULL;
    for (int i = 0; i < FDS_MAX; i++)
        MUST_EQ(w->disk.fds[i], -1);
}

static void world_free(struct world *w)
{
    if (w->s)
        world_close(w);
    disk_clear(&w->disk);
    mem_free(w);
}

/* The sequence number of the next entry is what names it. */
static int world_append(struct world *w)
{
    uint64_t n = w->s->appended + 1, pos = 0;
    char data[120];
    int rc;

    w->lives[n % ARRAY_LEN(w->lives)] = w->life;
    entry_fill(n, w->life, data);
    rc = store_append(w->s, data, entry_len(n, w->life), &pos);
    MUST_EQ(pos, rc == 0 ? n : 0);
    return rc;
}

static void world_commit(struct world *w)
{
    struct pollfd p = {.fd = w->s->fd, .events = POLLIN};

    while (w->s->durable < w->s->appended) {
        store_commit(w->s);
        if (w->s->busy)
            MUST_EQ(poll(&p, 1, 10000), 1);
        store_tick(w->s);
        MUST_SAY(store_error(w->s, w->text) == 0, "%s", w->text);
    }
}

/* That many entries, committed in groups. */
static void world_fill(struct world *w, unsigned entries, unsigned group)
{
    for (unsigned i = 1; i <= entries; i++) {
        MUST_EQ(world_append(w), 0);
        if (i % group == 0)
            world_commit(w);
    }
    world_commit(w);
}

static const char *segment_name(uint32_t number)
{
    static char name[NAME_MAX_];

    (void)snprintf(name, sizeof(name), "%010" PRIu32 ".yj", number);
    return name;
}

/* -- What is durable comes back ------------------------------------------ */

START_TEST(replay_gives_back_what_was_durable_in_order)
{
    struct world *w = world_new(1);

    w->options.sync = (enum store_sync)_i;
    for (unsigned round = 0; round < 5; round++) {
        MUST_EQ(world_open(w, 1), 0);
        MUST_EQ(w->replayed - 1, round * 2500);
        MUST_EQ(w->s->durable, round * 2500);
        world_fill(w, 2500, 1 + round * 7);
        world_close(w);
    }
    MUST(disk_names(&w->disk, "0") > 10);
    world_free(w);
}
END_TEST

START_TEST(an_uncommitted_entry_is_not_durable_and_close_commits_it)
{
    struct world *w = world_new(1);

    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(world_append(w), 0);
    MUST_EQ(w->s->appended, 1);
    MUST_EQ(w->s->durable, 0);
    world_close(w);
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(w->replayed, 2);
    world_free(w);
}
END_TEST

static int refuse_third(void *arg, const void *data, size_t len,
                        struct store_place place)
{
    (void)data;
    (void)len;
    (void)place;
    return ++*(int *)arg == 3 ? -ERANGE : 0;
}

START_TEST(the_reader_can_stop_a_replay)
{
    struct world *w = world_new(1);
    int count = 0;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 10, 2);
    world_close(w);
    MUST_EQ(store_journal_open(&w->options, &w->s, w->text), 0);
    MUST_EQ(store_replay(w->s, refuse_third, &count, w->text), -ERANGE);
    MUST_EQ(count, 3);
    world_free(w);
}
END_TEST

START_TEST(an_entry_may_fill_a_segment_and_not_more)
{
    struct world *w = world_new(1);
    size_t most = SEGMENT - SEGMENT_HEADER_BYTES - SEGMENT_FRAME_BYTES;
    char *big = mem_zalloc(most + 1);
    uint64_t pos = 0;

    memset(big, 'b', most + 1);
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(store_append(w->s, big, most + 1, &pos), -EMSGSIZE);
    for (int i = 0; i < 3; i++)
        MUST_EQ(store_append(w->s, big, most, &pos), 0);
    world_commit(w);
    MUST_EQ(w->s->durable, 3);
    MUST_EQ(w->s->segment, 3);
    mem_free(big);
    world_free(w);
}
END_TEST

/* -- What is torn is cut -------------------------------------------------- */

/* Ends of the frames of the first segment. */
static size_t frame_ends(struct disk *d, size_t ends[], size_t max)
{
    const struct content *c = disk_file(d, segment_name(1));
    size_t at = SEGMENT_HEADER_BYTES, n = 0;
    uint32_t len;

    for (;;) {
        memcpy(&len, c->data + at + 8, sizeof(len));
        len = le32toh(len);
        if (len == 0)
            return n;
        at += SEGMENT_FRAME_BYTES + len;
        MUST(n < max);
        ends[n++] = at;
    }
}

START_TEST(a_journal_cut_at_any_byte_gives_the_exact_prefix)
{
    struct world *w = world_new(1);
    size_t ends[200], cut, n = 0;
    struct content *c, whole;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 200, 7);
    world_close(w);
    MUST_EQ(frame_ends(&w->disk, ends, 200), 200);
    c = disk_file(&w->disk, segment_name(1));
    whole = (struct content){mem_dup(c->data, c->size), c->size};
    for (cut = 0; cut <= ends[199]; cut++) {
        memcpy(c->data, whole.data, cut);
        content_resize(c, cut);
        disk_restart(&w->disk, false);
        if (cut < SEGMENT_HEADER_BYTES) {
            MUST_EQ(world_open(w, 1), -EBADMSG);
            content_resize(c, whole.size);
            cut += cut < SEGMENT_HEADER_BYTES - 10 ? 9 : 0;
            continue;
        }
        while (n < 200 && ends[n] <= cut)
            n++;
        memset(w->lives, 0, sizeof(w->lives));
        for (size_t i = 1; i <= 200; i++)
            w->lives[i] = 1;
        MUST_EQ(world_open(w, 1), 0);
        MUST_EQ(w->replayed - 1, n);
        world_fill(w, 3, 3);
        world_close(w);
        if (cut % 8 == 0) {
            MUST_EQ(world_open(w, 1), 0);
            MUST_EQ(w->replayed - 1, n + 3);
            world_close(w);
        }
        c = disk_file(&w->disk, segment_name(1));
        MUST_EQ(c->size, whole.size);
    }
    mem_free(whole.data);
    world_free(w);
}
END_TEST

/* One random life: appends, commits, trims, ticks, until the power goes.
 * `durable` is what was promised, `appended` the most that may come back. */
static void live(struct world *w, uint64_t *seed, uint64_t *trimmed)
{
    unsigned turns = 40 + (unsigned)(chance(seed) % 200);

    while (turns-- > 0 && store_error(w->s, w->text) == 0) {
        unsigned group = 1 + (unsigned)(chance(seed) % 60);

        while (group-- > 0 && world_append(w) == 0)
            continue;
        store_commit(w->s);
        if (chance(seed) % 8 == 0)
            store_tick(w->s);
        if (chance(seed) % 16 == 0 && w->s->segment > 3 &&
            w->disk.power_off_at >= w->disk.calls) {
            store_trim(w->s, w->s->segment - 2);
            *trimmed = w->s->segment - 2;
        }
    }
}

static int find_first(void *arg, const void *data, size_t len,
                      struct store_place place)
{
    (void)data;
    (void)len;
    (void)place;
    ++*(uint64_t *)arg;
    return 0;
}

/* Which entry the oldest segment starts with: its header says so. */
static uint64_t first_entry(struct world *w)
{
    struct segment_dir dir = {.io = &w->io, .path = "/disk", .fd = -1};
    struct segment_header h;
    uint32_t least = UINT32_MAX, number;
    uint64_t size;

    for (int i = 0; i < FILES_MAX; i++)
        if (w->disk.names[i].inode >= 0 &&
            segment_parse_name(w->disk.names[i].text, &number) ==
                SEGMENT_NAME_USED &&
            number < least)
            least = number;
    if (least == UINT32_MAX)
        return 1;
    MUST_EQ(segment_read_header(&dir, least, &h, &size, w->text), 0);
    return h.first;
}

START_TEST(torn_writes_lose_nothing_durable)
{
    for (uint64_t round = 0; round < 500; round++) {
        uint64_t seed = mix(round + 1 + (uint64_t)_i * 100000);
        struct world *w = world_new(seed);
        uint64_t durable = 0, appended = 0, trimmed = 0;

        w->options.sync = (enum store_sync)_i;
        for (int crash = 0; crash < 4; crash++) {
            int rc = world_open(w, first_entry(w));

            MUST_SAY(rc == 0, "round %" PRIu64 " crash %d: %s", round, crash,
                     w->text);
            MUST_SAY(_i != STORE_SYNC_ALWAYS || w->replayed > durable,
                     "round %" PRIu64 ": %" PRIu64 " of %" PRIu64, round,
                     w->replayed - 1, durable);
            MUST(w->replayed - 1 <= appended);
            w->disk.power_off_at = w->disk.calls + chance(&seed) % 300;
            live(w, &seed, &trimmed);
            durable = w->s->durable;
            appended = w->s->appended;
            /* No power for the close either: what it writes is in vain. */
            w->disk.power_off_at = 0;
            world_close(w);
            disk_restart(&w->disk, true);
        }
        world_free(w);
    }
}
END_TEST

/* A fixed story that opens, recycles and removes segments. */
static void story(struct world *w)
{
    char text[STORE_TEXT_MAX];

    for (unsigned i = 0; i < 60 && store_error(w->s, text) == 0; i++) {
        for (unsigned k = 0; k < 60; k++)
            if (world_append(w) != 0)
                break;
        store_commit(w->s);
        if (w->s->segment > 2)
            store_trim(w->s, w->s->segment - 1);
        if (i % 10 == 0)
            store_tick(w->s);
    }
}

START_TEST(a_crash_between_any_two_calls_is_recovered)
{
    uint64_t n = 0, total = 1;

    for (n = 0; n < total; n++) {
        struct world *w = world_new(n + 1);
        uint64_t durable = 0, appended = 0;

        w->disk.power_off_at = n;
        if (world_open(w, 1) == 0) {
            story(w);
            durable = w->s->durable;
            appended = w->s->appended;
            if (w->disk.calls > n)
                w->disk.power_off_at = 0;
            else
                MUST(durable > 3000);
            world_close(w);
        }
        total = w->disk.calls > n ? n + 2 : n; /* one run without a crash */
        disk_restart(&w->disk, n % 2);
        MUST_SAY(world_open(w, first_entry(w)) == 0, "%s", w->text);
        MUST(w->replayed > durable);
        MUST(w->replayed - 1 <= appended);
        story(w);
        durable = w->s->durable;
        world_close(w);
        MUST_EQ(world_open(w, first_entry(w)), 0);
        MUST_EQ(w->replayed - 1, durable);
        world_free(w);
    }
    MUST(total > 150);
}
END_TEST

/* -- What is damaged is refused ------------------------------------------- */

/* Entries in order, compared with a copy of the file. */
struct original {
    struct content file;
    size_t at;
    uint64_t entries;
};

/* All bits of a byte would be 15 s with sanitizers: one bit of each byte, each
 * time another, unless the environment asks for all. */
static size_t step(size_t bit, bool every)
{
    return every || bit % 8 == 7 ? 1 : 9;
}

static int check_original(void *arg, const void *data, size_t len,
                          struct store_place place)
{
    struct original *o = arg;

    MUST_EQ(place.segment, 1);
    MUST_EQ(place.offset, o->at);
    o->at += SEGMENT_FRAME_BYTES;
    MUST(memcmp(data, o->file.data + o->at, len) == 0);
    o->at += len;
    o->entries++;
    return 0;
}

START_TEST(no_bit_flip_goes_unseen)
{
    struct world *w = world_new(5);
    struct segment_dir dir = {.io = &w->io, .path = "/disk", .fd = -1};
    struct original o;
    bool every = getenv("YOKE_TEST_EVERY_BIT") != NULL;
    uint64_t tried = 0, last, refused = 0, cut = 0;
    size_t fill = 0, last_group;
    struct content *c;
    struct buf window;

    MUST_EQ(world_open(w, 1), 0);
    do {
        fill = (size_t)w->s->appended;
        world_fill(w, 10, 10);
    } while (w->s->appended < 750);
    last = w->s->appended;
    last_group = fill;
    MUST_EQ(w->s->segment, 1);
    world_close(w);
    c = disk_file(&w->disk, segment_name(1));
    o.file = (struct content){mem_dup(c->data, c->size), c->size};
    buf_init(&window);
    for (size_t bit = 0; bit < c->size * 8; bit += step(bit, every)) {
        struct segment_header h;
        struct segment_replay r = {.header = &h,
                                   .last = true,
                                   .fn = check_original,
                                   .arg = &o,
                                   .window = &window};
        int rc, fd;

        c->data[bit / 8] = (char)(c->data[bit / 8] ^ (1 << bit % 8));
        tried++;
        o.at = SEGMENT_HEADER_BYTES;
        o.entries = 0;
        rc = segment_read_header(&dir, 1, &h, &r.size, w->text);
        if (rc == 0) {
            fd = disk_open(&w->disk, segment_name(1), O_RDONLY, 0);
            rc = segment_replay(&dir, fd, &r, UINT64_MAX, w->text);
            (void)disk_close(&w->disk, fd);
        }
        c->data[bit / 8] = (char)(c->data[bit / 8] ^ (1 << bit % 8));
        if (rc != 0) {
            MUST(rc == -EBADMSG || rc == -ENOTSUP);
            refused++;
        } else {
            MUST_SAY(r.torn_end > r.end, "bit %zu is not seen", bit);
            MUST(o.entries >= last_group);
            MUST(o.entries <= last);
            cut++;
        }
    }
    MUST_EQ(refused + cut, tried);
    MUST(tried >= c->size - 1);
    MUST(refused > cut);
    mem_free(o.file.data);
    buf_clear(&window);
    world_free(w);
}
END_TEST

START_TEST(damage_in_the_middle_is_refused_and_changes_nothing)
{
    struct world *w = world_new(1);
    struct content *c, before;
    uint64_t calls;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 2500, 20);
    MUST(w->s->segment >= 3);
    world_close(w);
    for (uint32_t number = 1; number <= 3; number++) {
        c = disk_file(&w->disk, segment_name(number));
        before = (struct content){mem_dup(c->data, c->size), c->size};
        memset(c->data + SEGMENT_HEADER_BYTES + 5000, 0, 600);
        calls = w->disk.calls;
        MUST_EQ(world_open(w, 1), -EBADMSG);
        MUST_EQ(w->disk.calls, calls);
        MUST(strstr(w->text, segment_name(number)));
        MUST(strstr(w->text, "offset"));
        memcpy(c->data, before.data, before.size);
        mem_free(before.data);
    }
    MUST_EQ(world_open(w, 1), 0);
    world_free(w);
}
END_TEST

START_TEST(missing_segments_and_entries_are_refused)
{
    struct world *w = world_new(1);
    struct content *c;
    size_t ends[1000], n;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 3000, 20);
    MUST(w->s->segment >= 4);
    world_close(w);

    /* A segment under the number of another. */
    MUST_EQ(disk_rename(&w->disk, segment_name(2), "x"), 0);
    MUST_EQ(world_open(w, 1), -EBADMSG);
    MUST(strstr(w->text, "missing"));
    MUST_EQ(disk_rename(&w->disk, segment_name(1), "0000000002.yj"), 0);
    MUST_EQ(world_open(w, 1), -EBADMSG);
    MUST_EQ(disk_rename(&w->disk, "0000000002.yj", "0000000001.yj"), 0);
    MUST_EQ(disk_rename(&w->disk, "x", "0000000002.yj"), 0);

    /* The last entries of a segment that is not the last. */
    n = frame_ends(&w->disk, ends, ARRAY_LEN(ends));
    c = disk_file(&w->disk, segment_name(1));
    memset(c->data + ends[n - 2], 0, ends[n - 1] - ends[n - 2]);
    MUST_EQ(world_open(w, 1), -EBADMSG);
    MUST(strstr(w->text, "next segment"));
    world_free(w);
}
END_TEST

START_TEST(a_newer_format_and_a_damaged_header_are_refused)
{
    struct world *w = world_new(1);
    struct content *c;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 10, 10);
    world_close(w);
    c = disk_file(&w->disk, segment_name(1));
    c->data[8]++;
    MUST_EQ(world_open(w, 1), -ENOTSUP);
    MUST(strstr(w->text, "newer"));
    c->data[8]--;
    c->data[0]++;
    MUST_EQ(world_open(w, 1), -EBADMSG);
    c->data[0]--;
    c->data[3000]++;
    MUST_EQ(world_open(w, 1), -EBADMSG);
    MUST(strstr(w->text, "checksum"));
    c->data[3000]--;
    MUST_EQ(world_open(w, 1), 0);
    world_free(w);
}
END_TEST

/* -- What fails is final -------------------------------------------------- */

START_TEST(a_failed_write_or_sync_is_final)
{
    static const struct {
        enum call kind;
        int with;
    } faults[] = {{CALL_WRITE, -EIO},    {CALL_WRITE, 0},
                  {CALL_WRITE, -ENOSPC}, {CALL_FDATASYNC, -EIO},
                  {CALL_RENAME, -EIO},   {CALL_FSYNC, -EIO}};
    struct world *w = world_new(1);
    bool final = false;

    w->options.threaded = _i >= (int)ARRAY_LEN(faults);
    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 30, 10);
    w->disk.fail_kind = faults[_i % (int)ARRAY_LEN(faults)].kind;
    w->disk.fail_with = faults[_i % (int)ARRAY_LEN(faults)].with;
    /* Not the next one: with threads that may be of a spare, and only
     * starves the journal. */
    for (unsigned turn = 0; turn < 400 && !final; turn++) {
        struct pollfd p = {.fd = w->s->fd, .events = POLLIN};
        uint64_t durable = w->s->durable, calls;

        if (turn == 20)
            w->disk.fail_at = w->disk.count[w->disk.fail_kind] + 1;
        for (unsigned k = 0; k < 20; k++)
            (void)world_append(w);
        store_commit(w->s);
        while (w->s->busy && poll(&p, 1, 10000) == 1)
            store_tick(w->s);
        store_tick(w->s);
        final = store_error(w->s, w->text) != 0;
        if (!final)
            continue;
        MUST(strcmp(w->text, "") != 0);
        MUST_EQ(w->s->durable, durable);
        MUST_EQ(world_append(w), -EIO);
        calls = w->disk.count[CALL_FDATASYNC] + w->disk.count[CALL_WRITE];
        for (int i = 0; i < 3 && !w->options.threaded; i++) {
            store_commit(w->s);
            store_tick(w->s);
            store_trim(w->s, 2);
            MUST_EQ(calls,
                    w->disk.count[CALL_FDATASYNC] + w->disk.count[CALL_WRITE]);
        }
        MUST_EQ(w->s->durable, durable);
    }
    MUST(w->disk.failed);
    /* A write of zeros into a spare is none of the promises. */
    MUST(final || w->options.threaded);
    world_close(w);
    MUST_EQ(world_open(w, 1), 0);
    world_free(w);
}
END_TEST

/* -- Room ------------------------------------------------------------------ */

static void make_room(struct world *w, bool trim)
{
    if (trim)
        store_trim(w->s, 2);
    else /* others do */
        w->disk.room += 2 * SEGMENT;
    store_tick(w->s);
}

START_TEST(a_full_disk_leaves_a_reserve_and_recovers)
{
    struct world *w = world_new(1);
    uint64_t at_full, room;

    w->disk.room = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->full)
        world_fill(w, 5, 5);
    MUST_EQ(w->s->segment, 4);
    MUST(w->s->room > SEGMENT / 3 && w->s->room < SEGMENT / 2);
    at_full = w->s->appended;
    while ((room = w->s->room) > 0) {
        world_fill(w, 1, 1);
        MUST(w->s->full && w->s->room < room);
    }
    MUST(w->s->appended - at_full > 300); /* the reserve */
    world_fill(w, 30, 1);                 /* and some for a last step */
    MUST(!w->s->held && w->s->segment == 4);

    make_room(w, _i == 0);
    MUST(!w->s->full);
    world_fill(w, 100, 10);
    at_full = w->s->durable;
    world_close(w);
    MUST_EQ(world_open(w, first_entry(w)), 0);
    MUST_EQ(w->replayed - 1, at_full);
    world_free(w);
}
END_TEST

static uint64_t disk_bytes(const struct world *w)
{
    struct store_stats stats;

    store_stats(w->s, &stats);
    return stats.disk_bytes;
}

START_TEST(a_journal_is_full_at_its_bound_and_recovers)
{
    struct world *w = world_new(1);

    w->options.disk_max = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->full) {
        world_fill(w, 5, 5);
        MUST(disk_bytes(w) <= w->options.disk_max);
    }
    MUST(w->s->bounded && w->s->segment == 4);
    while (w->s->room > 0)
        world_fill(w, 1, 1);
    MUST(!w->s->held && disk_bytes(w) <= w->options.disk_max);
    store_tick(w->s);
    MUST(w->s->full);

    if (_i == 0)
        store_trim(w->s, 3);
    else
        store_bound(w->s, _i == 1 ? 6 * SEGMENT : 0);
    store_tick(w->s);
    MUST(!w->s->full);
    world_fill(w, 300, 10);
    MUST(_i == 2 || disk_bytes(w) <= (_i == 0 ? 4 : 6) * SEGMENT);
    world_close(w);
    MUST_EQ(world_open(w, first_entry(w)), 0);
    world_free(w);
}
END_TEST

/* So that the oldest can be written again, whatever lives in it. */
START_TEST(a_journal_is_narrow_with_a_whole_segment_left)
{
    struct world *w = world_new(1);
    uint32_t narrow;

    w->options.disk_max = 6 * SEGMENT;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->narrow)
        world_fill(w, 1, 5);
    MUST(!w->s->full && w->s->bounded);
    narrow = w->s->segment;
    while (!w->s->full) {
        MUST(w->s->narrow);
        world_fill(w, 1, 5);
    }
    MUST_EQ(w->s->segment, narrow + 1);
    MUST(!w->s->held && disk_bytes(w) <= w->options.disk_max);
    store_trim(w->s, 2);
    store_tick(w->s);
    MUST(w->s->narrow && !w->s->full);
    store_trim(w->s, 3);
    store_tick(w->s);
    MUST(!w->s->narrow);
    world_free(w);
}
END_TEST

START_TEST(a_bound_that_is_lowered_removes_what_is_trimmed)
{
    struct world *w = world_new(1);

    MUST_EQ(world_open(w, 1), 0);
    while (w->s->segment < 7)
        world_fill(w, 5, 5);
    store_bound(w->s, 4 * SEGMENT);
    for (uint32_t first = 2; first <= 6; first++) {
        uint64_t before = disk_bytes(w);

        store_trim(w->s, first);
        store_tick(w->s);
        world_fill(w, 1, 1);
        MUST(disk_bytes(w) <= before);
    }
    MUST(!w->s->full);
    while (w->s->segment < 12) {
        world_fill(w, 5, 5);
        store_trim(w->s, w->s->segment - 1);
        store_tick(w->s);
        MUST(disk_bytes(w) <= 4 * SEGMENT);
    }
    world_free(w);
}
END_TEST

/* What fills the disk decides what is said of it. */
START_TEST(a_full_disk_below_the_bound_is_not_the_bounds)
{
    struct world *w = world_new(1);

    w->options.disk_max = 5 * SEGMENT;
    w->disk.room = 3 * SEGMENT;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->full)
        world_fill(w, 5, 5);
    MUST(!w->s->bounded);
    store_bound(w->s, SEGMENT);
    store_tick(w->s);
    MUST(w->s->full && w->s->bounded);
    world_free(w);
}
END_TEST

START_TEST(what_the_reserve_has_no_room_for_waits_and_is_not_lost)
{
    struct world *w = world_new(1);
    uint64_t placed;

    w->disk.room = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->held) {
        MUST_EQ(world_append(w), 0);
        if (!w->s->held)
            world_commit(w);
    }
    placed = w->s->durable;
    MUST_EQ(w->s->appended, placed + 1);
    for (int i = 0; i < 50; i++) {
        MUST_EQ(world_append(w), 0);
        store_commit(w->s);
        store_tick(w->s);
        MUST(w->s->held && w->s->full && w->s->room == 0);
        MUST(w->s->busy && w->s->durable == placed);
    }
    MUST(store_error(w->s, w->text) == 0);

    if (_i < 2) {
        make_room(w, _i == 0);
        MUST(!w->s->held && !w->s->full);
        world_commit(w);
        MUST_EQ(w->s->durable, placed + 51);
        world_fill(w, 100, 10);
        placed = w->s->durable;
    }
    world_close(w); /* without room none of that was said to be durable */
    MUST_EQ(world_open(w, first_entry(w)), 0);
    MUST_EQ(w->replayed - 1, placed);
    world_free(w);
}
END_TEST

START_TEST(a_full_disk_is_known_after_a_restart)
{
    struct world *w = world_new(1);
    uint64_t last, room;

    w->disk.room = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w, 1), 0);
    while (!w->s->full)
        world_fill(w, 5, 5);
    last = w->s->durable;
    room = w->s->room;
    world_close(w);
    if (_i == 1) /* of which there is no room for one */
        w->options.segment_bytes = 2 * SEGMENT;
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(w->replayed - 1, last);
    MUST(w->s->full);
    MUST_EQ(w->s->room, _i == 1 ? 0 : room);
    MUST_EQ(world_append(w), 0);
    if (_i == 0) {
        world_commit(w);
    } else {
        w->disk.room += 4 * SEGMENT;
        store_tick(w->s);
        world_commit(w);
        MUST_EQ(w->s->segment, 5);
    }
    world_close(w);
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(w->replayed - 1, last + 1);
    world_free(w);
}
END_TEST

START_TEST(no_room_for_the_first_segment_is_said)
{
    struct world *w = world_new(1);

    w->disk.room = SEGMENT / 2;
    MUST_EQ(world_open(w, 1), -ENOSPC);
    MUST(strstr(w->text, "room"));
    w->disk.room = NO_LIMIT;
    MUST_EQ(world_open(w, 1), 0);
    world_free(w);
}
END_TEST

START_TEST(trim_keeps_what_is_needed_and_no_number_comes_twice)
{
    struct world *w = world_new(1);
    struct store_stats stats;
    uint32_t last = 0;

    MUST_EQ(world_open(w, 1), 0);
    for (int i = 0; i < 20; i++) {
        world_fill(w, 1500, 10);
        MUST(w->s->segment > last);
        last = w->s->segment;
        store_trim(w->s, last + (i % 2 ? 100 : 0));
        store_stats(w->s, &stats);
        MUST_EQ(stats.first_segment, last);
        MUST_EQ(stats.segments, 1);
        MUST_EQ(disk_names(&w->disk, "0"), 1);
        MUST(disk_names(&w->disk, "spare") <= 2);
        MUST_EQ(stats.disk_bytes,
                (1 + disk_names(&w->disk, "spare")) * SEGMENT);
        world_close(w);
        MUST_EQ(world_open(w, first_entry(w)), 0);
        MUST_EQ(w->s->segment, last);
    }
    world_free(w);
}
END_TEST

START_TEST(a_segment_is_kept_until_what_follows_is_durable)
{
    struct world *w = world_new(1);

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 10, 10);
    while (w->s->segment == 1)
        MUST_EQ(world_append(w), 0);
    store_trim(w->s, 2);
    MUST(disk_file(&w->disk, segment_name(1)));
    world_commit(w);
    store_trim(w->s, 2);
    MUST(!disk_file(&w->disk, segment_name(1)));
    world_free(w);
}
END_TEST

/* Reads on, and says how many bytes came; entries are checked as in a replay.
 */
static size_t world_scan(struct world *w, size_t bytes)
{
    size_t got = 0;

    MUST_SAY(store_scan(w->s, bytes, check_entry, w, &got, w->text) == 0, "%s",
             w->text);
    return got;
}

/* Entries appended meanwhile, and segments that go while they are read, make no
 * difference. */
START_TEST(a_scan_reads_all_segments_but_the_last_once_and_in_order)
{
    struct world *w = world_new(1);
    uint64_t first = 0;

    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(world_scan(w, 1), 0); /* there is nothing before the last */
    world_fill(w, 3000, 20);
    MUST(w->s->segment >= 4);
    w->replayed = 1;
    w->segment = 0;
    while (w->segment < 3) {
        MUST(world_scan(w, 1000) >= 1000);
        MUST_EQ(world_append(w), 0);
        world_commit(w);
    }
    store_trim(w->s, w->s->segment);
    MUST_EQ(world_scan(w, 1000), 0);
    world_fill(w, 1500, 20);
    first = first_entry(w);
    w->replayed = first;
    while (world_scan(w, 5000) > 0)
        continue;
    MUST(w->replayed > first);
    MUST(w->segment == w->s->segment - 1);
    world_free(w);
}
END_TEST

/* With a policy that lets entries be durable before they are synced, what
 * replaces a segment could be lost with the power: so the segment waits. */
START_TEST(a_segment_is_kept_until_what_follows_is_synced)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_new(seed);
        uint64_t appended;

        w->options.sync = STORE_SYNC_NEVER;
        MUST_EQ(world_open(w, 1), 0);
        world_fill(w, 10, 10);
        while (w->s->segment == 1)
            MUST_EQ(world_append(w), 0);
        world_fill(w, 50, 10);
        appended = w->s->appended;
        store_trim(w->s, 2);
        MUST(!disk_file(&w->disk, segment_name(1)));
        w->disk.power_off_at = 0;
        world_close(w);
        disk_restart(&w->disk, true);
        MUST_EQ(world_open(w, first_entry(w)), 0);
        MUST_EQ(w->replayed - 1, appended);
        world_free(w);
    }
}
END_TEST

START_TEST(a_scan_tells_damage)
{
    struct world *w = world_new(1);
    struct content *c;
    size_t got;
    int rc;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 2500, 20);
    MUST(w->s->segment >= 3);
    c = disk_file(&w->disk, segment_name(2));
    c->data[SEGMENT_HEADER_BYTES + 5000] ^= 1;
    w->replayed = 1;
    w->segment = 0;
    do {
        rc = store_scan(w->s, 4096, check_entry, w, &got, w->text);
    } while (rc == 0 && got > 0);
    MUST_EQ(rc, -EBADMSG);
    MUST(strstr(w->text, segment_name(2)));
    MUST(strstr(w->text, "offset"));
    c->data[SEGMENT_HEADER_BYTES + 5000] ^= 1;
    world_free(w);
}
END_TEST

START_TEST(a_recycled_file_never_replays_old_entries)
{
    struct world *w = world_new(1);
    struct content *c, old;
    size_t ends[1000], n;
    struct store_stats stats;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 400, 10);
    n = frame_ends(&w->disk, ends, ARRAY_LEN(ends));
    c = disk_file(&w->disk, segment_name(1));
    old = (struct content){mem_dup(c->data, c->size), c->size};
    world_fill(w, 4000, 10);
    store_trim(w->s, w->s->segment);
    world_close(w);
    MUST_EQ(n, 400);

    /* The worst case: a segment with the right header, and the old frames
     * behind it, exactly where its own would go on. */
    MUST_EQ(world_open(w, first_entry(w)), 0);
    while (w->s->segment < 20)
        world_fill(w, 1, 1);
    n = (size_t)w->s->appended;
    c = disk_file(&w->disk, segment_name(20));
    world_close(w);
    for (size_t i = 0; i < 300; i++) {
        size_t at = SEGMENT_HEADER_BYTES +
                    segment_frame_size(entry_len(n, w->lives[n]));

        MUST(c->data[at + 8] == 0);
        memcpy(c->data + at, old.data + ends[i], ends[399] - ends[i]);
        MUST_EQ(world_open(w, first_entry(w)), 0);
        MUST_EQ(w->replayed - 1, n);
        store_stats(w->s, &stats);
        MUST_EQ(stats.torn_bytes, ends[399] - ends[i]);
        world_close(w);
    }
    mem_free(old.data);
    world_free(w);
}
END_TEST

START_TEST(left_over_spares_are_used_or_removed)
{
    struct world *w = world_new(1);
    struct content *c;

    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 10, 10);
    world_close(w);
    for (int i = 50; i < 60; i++) {
        char name[NAME_MAX_];
        int fd;

        (void)snprintf(name, sizeof(name), "spare-%010d", i);
        fd = disk_open(&w->disk, name, O_CREAT, 0);
        MUST_EQ(disk_pwrite(&w->disk, fd, "garbage", 7, i * 4000), 7);
        (void)disk_close(&w->disk, fd);
    }
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(disk_names(&w->disk, "spare"), 2);
    world_fill(w, 3000, 10);
    world_close(w);
    c = disk_file(&w->disk, segment_name(2));
    MUST_EQ(c->size, SEGMENT);
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(w->replayed - 1, 3010);
    world_free(w);
}
END_TEST

START_TEST(segment_bytes_may_change_between_runs)
{
    static const uint64_t sizes[] = {1 << 17, 1 << 16, 1 << 18, 1 << 16};
    struct world *w = world_new(1);

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        w->options.segment_bytes = sizes[i];
        MUST_EQ(world_open(w, 1), 0);
        MUST_EQ(w->replayed - 1, i * 3000);
        world_fill(w, 3000, 10);
        world_close(w);
    }
    w->options.segment_bytes = 1000;
    MUST_EQ(world_open(w, 1), -EINVAL);
    world_free(w);
}
END_TEST

/* -- Threads, real files -------------------------------------------------- */

static char *make_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/yoke-journal-XXXXXX",
                   tmp ? tmp : "/tmp");
    MUST(mkdtemp(path));
    return mem_dup_text(path, strlen(path));
}

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void remove_dir(char *path)
{
    MUST_EQ(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    mem_free(path);
}

START_TEST(threads_and_real_files_keep_the_same_promises)
{
    struct world *w = world_new(1);
    char *dir = make_dir();
    uint64_t first = 1;

    w->options =
        (struct store_journal_options){.dir = dir,
                                       .sync = (enum store_sync)(_i % 3),
                                       .interval_ms = 1,
                                       .segment_bytes = SEGMENT,
                                       .threaded = true,
                                       .inline_bytes = _i == 3 ? 2000 : 0};
    for (unsigned round = 0; round < 3; round++) {
        MUST_EQ(world_open(w, first), 0);
        MUST_EQ(w->replayed - 1, round * 4000);
        for (unsigned i = 0; i < 40; i++) {
            world_fill(w, 100, 1 + i);
            if (round == 2 && i == 20)
                store_trim(w->s, w->s->segment - 1);
        }
        store_close(w->s);
        w->s = NULL;
    }
    remove_dir(dir);
    world_free(w);
}
END_TEST

START_TEST(appends_go_on_while_a_commit_is_under_way)
{
    struct world *w = world_new(1);
    uint64_t overlaps = 0, began = 0;
    uint32_t behind[4001], found;
    const struct content *c;
    size_t ends[1000], frames;

    w->options.threaded = true;
    MUST_EQ(world_open(w, 1), 0);
    for (unsigned i = 1; i <= 4000; i++) {
        struct pollfd p = {.fd = w->s->fd, .events = POLLIN};

        behind[i] = (uint32_t)(w->s->appended - began);
        MUST_EQ(world_append(w), 0);
        overlaps += w->s->busy;
        if (!w->s->busy)
            began = w->s->appended;
        store_commit(w->s);
        if (i % 50 == 0 && w->s->busy)
            MUST_EQ(poll(&p, 1, 10000), 1);
        store_tick(w->s);
    }
    MUST(overlaps > 0);
    world_close(w);
    MUST_EQ(world_open(w, 1), 0);
    MUST_EQ(w->replayed - 1, 4000);

    /* What is written only after an entry is synced says so. */
    frames = frame_ends(&w->disk, ends, ARRAY_LEN(ends));
    MUST(frames > 500);
    c = disk_file(&w->disk, segment_name(1));
    for (size_t i = 1; i < frames; i++) {
        memcpy(&found, c->data + ends[i - 1] + 12, sizeof(found));
        MUST_EQ(le32toh(found), behind[i + 1]);
    }
    world_free(w);
}
END_TEST

START_TEST(interval_syncs_come_by_themselves)
{
    struct world *w = world_new(1);
    struct timespec t, end;
    struct store_stats stats;

    w->options.sync = STORE_SYNC_INTERVAL;
    w->options.interval_ms = 5;
    w->options.threaded = true;
    MUST_EQ(world_open(w, 1), 0);
    world_fill(w, 10, 10);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 10;
    do {
        store_tick(w->s);
        store_stats(w->s, &stats);
        (void)poll(NULL, 0, 1);
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        MUST(t.tv_sec < end.tv_sec);
    } while (stats.syncs == 0);
    world_free(w);
}
END_TEST

START_TEST(a_directory_has_one_owner)
{
    char *dir = make_dir();
    struct store_journal_options options = {.dir = dir};
    struct store *a, *b = NULL;
    char text[STORE_TEXT_MAX];

    MUST_EQ(store_journal_open(&options, &a, text), 0);
    MUST_EQ(store_journal_open(&options, &b, text), -EWOULDBLOCK);
    MUST(strstr(text, dir));
    MUST(!b);
    store_close(a);
    MUST_EQ(store_journal_open(&options, &b, text), 0);
    store_close(b);
    store_close(NULL);
    remove_dir(dir);
    options.dir = "/nonexistent/yoke";
    MUST_EQ(store_journal_open(&options, &b, text), -ENOENT);
}
END_TEST

START_TEST(memory_is_durable_at_once)
{
    struct store *s = store_memory_open();
    char text[STORE_TEXT_MAX];
    struct store_stats stats;
    uint64_t pos, count = 0;

    MUST_EQ(store_replay(s, find_first, &count, text), 0);
    MUST_EQ(count, 0);
    MUST_EQ(store_append(s, "abc", 3, &pos), 0);
    MUST_EQ(s->durable, pos);
    store_commit(s);
    store_tick(s);
    store_trim(s, 1);
    store_stats(s, &stats);
    MUST_EQ(stats.entries, 1);
    MUST_EQ(stats.bytes, 3);
    MUST_EQ(store_error(s, text), 0);
    MUST(!s->busy && !s->full);
    store_close(s);
}
END_TEST

static Suite *journal_suite(void)
{
    Suite *s = suite_create("journal");
    TCase *t = tcase_create("laws");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, replay_gives_back_what_was_durable_in_order, 0, 3);
    tcase_add_test(t, an_uncommitted_entry_is_not_durable_and_close_commits_it);
    tcase_add_test(t, the_reader_can_stop_a_replay);
    tcase_add_test(t, an_entry_may_fill_a_segment_and_not_more);
    tcase_add_test(t, a_journal_cut_at_any_byte_gives_the_exact_prefix);
    tcase_add_loop_test(t, torn_writes_lose_nothing_durable, 0, 3);
    tcase_add_test(t, a_crash_between_any_two_calls_is_recovered);
    tcase_add_test(t, no_bit_flip_goes_unseen);
    tcase_add_test(t, damage_in_the_middle_is_refused_and_changes_nothing);
    tcase_add_test(t, missing_segments_and_entries_are_refused);
    tcase_add_test(t, a_newer_format_and_a_damaged_header_are_refused);
    tcase_add_loop_test(t, a_failed_write_or_sync_is_final, 0, 12);
    tcase_add_loop_test(t, a_full_disk_leaves_a_reserve_and_recovers, 0, 2);
    tcase_add_loop_test(t, a_journal_is_full_at_its_bound_and_recovers, 0, 3);
    tcase_add_test(t, a_journal_is_narrow_with_a_whole_segment_left);
    tcase_add_test(t, a_bound_that_is_lowered_removes_what_is_trimmed);
    tcase_add_test(t, a_full_disk_below_the_bound_is_not_the_bounds);
    tcase_add_loop_test(
        t, what_the_reserve_has_no_room_for_waits_and_is_not_lost, 0, 3);
    tcase_add_loop_test(t, a_full_disk_is_known_after_a_restart, 0, 2);
    tcase_add_test(t, no_room_for_the_first_segment_is_said);
    tcase_add_test(t, a_scan_reads_all_segments_but_the_last_once_and_in_order);
    tcase_add_test(t, a_segment_is_kept_until_what_follows_is_synced);
    tcase_add_test(t, a_scan_tells_damage);
    tcase_add_test(t, trim_keeps_what_is_needed_and_no_number_comes_twice);
    tcase_add_test(t, a_segment_is_kept_until_what_follows_is_durable);
    tcase_add_test(t, a_recycled_file_never_replays_old_entries);
    tcase_add_test(t, left_over_spares_are_used_or_removed);
    tcase_add_test(t, segment_bytes_may_change_between_runs);
    tcase_add_loop_test(t, threads_and_real_files_keep_the_same_promises, 0, 4);
    tcase_add_test(t, appends_go_on_while_a_commit_is_under_way);
    tcase_add_test(t, interval_syncs_come_by_themselves);
    tcase_add_test(t, a_directory_has_one_owner);
    tcase_add_test(t, memory_is_durable_at_once);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(journal_suite());
    int failed;

    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
