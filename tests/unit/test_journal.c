/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of the stores, most of them on a disk in memory (disk.h) that can
 * fail and lose power at any call.
 */
#include <ftw.h>
#include <time.h>
#include <unistd.h>

#include "laws.h"
#include "world.h"

/* -- What is durable comes back ------------------------------------------ */

START_TEST(replay_gives_back_what_was_durable_in_order)
{
    struct world *w = world_new(1);

    w->options.sync = (enum store_sync)_i;
    for (unsigned round = 0; round < 5; round++) {
        MUST_EQ(world_open(w), 0);
        MUST_EQ(w->seen, round * 2500);
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

    MUST_EQ(world_open(w), 0);
    MUST_EQ(world_append(w), 0);
    MUST_EQ(w->s->appended, 1);
    MUST_EQ(w->s->durable, 0);
    world_close(w);
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, 1);
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

    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open(w), 0);
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

START_TEST(a_journal_cut_at_any_byte_gives_the_exact_prefix)
{
    struct world *w = world_new(1);
    size_t cut, n = 0;
    struct content *c, whole;
    struct entry *kept;

    MUST_EQ(world_open(w), 0);
    world_fill(w, 200, 7);
    world_close(w);
    kept = mem_dup(w->entries, sizeof(w->entries));
    c = world_segment(w, 1);
    whole = (struct content){mem_dup(c->data, c->size), c->size};
    for (cut = 0; cut <= world_end(w, 200); cut++) {
        memcpy(c->data, whole.data, cut);
        content_resize(c, cut);
        disk_restart(&w->disk, false);
        if (cut < SEGMENT_HEADER_BYTES) {
            MUST_EQ(world_open(w), -EBADMSG);
            content_resize(c, whole.size);
            cut += cut < SEGMENT_HEADER_BYTES - 10 ? 9 : 0;
            continue;
        }
        memcpy(w->entries, kept, sizeof(w->entries));
        while (n < 200 && world_end(w, n + 1) <= cut)
            n++;
        MUST_EQ(world_open(w), 0);
        MUST_EQ(w->seen, n);
        world_fill(w, 3, 3);
        world_close(w);
        if (cut % 8 == 0) {
            MUST_EQ(world_open(w), 0);
            MUST_EQ(w->seen, n + 3);
            world_close(w);
        }
        c = world_segment(w, 1);
        MUST_EQ(c->size, whole.size);
    }
    mem_free(whole.data);
    mem_free(kept);
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

START_TEST(torn_writes_lose_nothing_durable)
{
    for (uint64_t round = 0; round < 500; round++) {
        uint64_t seed = mix(round + 1 + (uint64_t)_i * 100000);
        struct world *w = world_new(seed);
        uint64_t durable = 0, appended = 0, trimmed = 0;

        w->options.sync = (enum store_sync)_i;
        for (int crash = 0; crash < 4; crash++) {
            int rc = world_open_from(w, world_first(w));

            MUST_SAY(rc == 0, "round %" PRIu64 " crash %d: %s", round, crash,
                     w->text);
            MUST_SAY(_i != STORE_SYNC_ALWAYS || w->seen >= durable,
                     "round %" PRIu64 ": %" PRIu64 " of %" PRIu64, round,
                     w->seen, durable);
            MUST(w->seen <= appended);
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
        if (world_open(w) == 0) {
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
        MUST_SAY(world_open_from(w, world_first(w)) == 0, "%s", w->text);
        MUST(w->seen >= durable);
        MUST(w->seen <= appended);
        story(w);
        durable = w->s->durable;
        world_close(w);
        MUST_EQ(world_open_from(w, world_first(w)), 0);
        MUST_EQ(w->seen, durable);
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

    MUST_EQ(world_open(w), 0);
    do {
        fill = (size_t)w->s->appended;
        world_fill(w, 10, 10);
    } while (w->s->appended < 750);
    last = w->s->appended;
    last_group = fill;
    MUST_EQ(w->s->segment, 1);
    world_close(w);
    c = world_segment(w, 1);
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

    MUST_EQ(world_open(w), 0);
    world_fill(w, 2500, 20);
    MUST(w->s->segment >= 3);
    world_close(w);
    for (uint32_t number = 1; number <= 3; number++) {
        c = world_segment(w, number);
        before = (struct content){mem_dup(c->data, c->size), c->size};
        memset(c->data + SEGMENT_HEADER_BYTES + 5000, 0, 600);
        calls = w->disk.calls;
        MUST_EQ(world_open(w), -EBADMSG);
        MUST_EQ(w->disk.calls, calls);
        MUST(strstr(w->text, segment_name(number)));
        MUST(strstr(w->text, "offset"));
        memcpy(c->data, before.data, before.size);
        mem_free(before.data);
    }
    MUST_EQ(world_open(w), 0);
    world_free(w);
}
END_TEST

START_TEST(missing_segments_and_entries_are_refused)
{
    struct world *w = world_new(1);
    struct content *c;
    uint64_t n = 1;

    MUST_EQ(world_open(w), 0);
    world_fill(w, 3000, 20);
    MUST(w->s->segment >= 4);
    world_close(w);

    /* A segment under the number of another. */
    MUST_EQ(disk_rename(&w->disk, segment_name(2), "x"), 0);
    MUST_EQ(world_open(w), -EBADMSG);
    MUST(strstr(w->text, "missing"));
    MUST_EQ(disk_rename(&w->disk, segment_name(1), "0000000002.yj"), 0);
    MUST_EQ(world_open(w), -EBADMSG);
    MUST_EQ(disk_rename(&w->disk, "0000000002.yj", "0000000001.yj"), 0);
    MUST_EQ(disk_rename(&w->disk, "x", "0000000002.yj"), 0);

    /* The last entries of a segment that is not the last. */
    while (world_entry(w, n + 1)->place.segment == 1)
        n++;
    c = world_segment(w, 1);
    memset(c->data + world_entry(w, n)->place.offset, 0,
           world_end(w, n) - world_entry(w, n)->place.offset);
    MUST_EQ(world_open(w), -EBADMSG);
    MUST(strstr(w->text, "next segment"));
    world_free(w);
}
END_TEST

START_TEST(a_newer_format_and_a_damaged_header_are_refused)
{
    struct world *w = world_new(1);
    struct content *c;

    MUST_EQ(world_open(w), 0);
    world_fill(w, 10, 10);
    world_close(w);
    c = world_segment(w, 1);
    c->data[8]++;
    MUST_EQ(world_open(w), -ENOTSUP);
    MUST(strstr(w->text, "newer"));
    c->data[8]--;
    c->data[0]++;
    MUST_EQ(world_open(w), -EBADMSG);
    c->data[0]--;
    c->data[3000]++;
    MUST_EQ(world_open(w), -EBADMSG);
    MUST(strstr(w->text, "checksum"));
    c->data[3000]--;
    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open(w), 0);
    world_fill(w, 30, 10);
    /* Not the next one: with threads that may be of a spare, and only
     * starves the journal. */
    for (unsigned turn = 0; turn < 400 && !final; turn++) {
        struct pollfd p = {.fd = w->s->fd, .events = POLLIN};
        uint64_t durable = w->s->durable, calls;

        if (turn == 20)
            disk_fail(&w->disk, faults[_i % (int)ARRAY_LEN(faults)].kind, 1,
                      faults[_i % (int)ARRAY_LEN(faults)].with);
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
    MUST_EQ(world_open(w), 0);
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
        MUST_EQ(world_open_from(w, first), 0);
        MUST_EQ(w->seen, round * 4000);
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
    uint64_t n;

    w->options.threaded = true;
    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, 4000);

    /* What is written only after an entry is synced says so. */
    c = world_segment(w, 1);
    for (n = 1; world_entry(w, n)->place.segment == 1; n++) {
        memcpy(&found, c->data + world_entry(w, n)->place.offset + 12,
               sizeof(found));
        MUST_EQ(le32toh(found), behind[n]);
    }
    MUST(n > 500);
    world_free(w);
}
END_TEST

START_TEST(interval_syncs_come_by_themselves)
{
    struct world *w = world_new(1);
    struct timespec t, end;

    w->options.sync = STORE_SYNC_INTERVAL;
    w->options.interval_ms = 5;
    w->options.threaded = true;
    MUST_EQ(world_open(w), 0);
    world_fill(w, 10, 10);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 10;
    do {
        store_tick(w->s);
        (void)poll(NULL, 0, 1);
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        MUST(t.tv_sec < end.tv_sec);
    } while (world_stats(w).syncs == 0);
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

int main(void)
{
    const struct law laws[] = {
        {replay_gives_back_what_was_durable_in_order, 3},
        {an_uncommitted_entry_is_not_durable_and_close_commits_it, 1},
        {the_reader_can_stop_a_replay, 1},
        {an_entry_may_fill_a_segment_and_not_more, 1},
        {a_journal_cut_at_any_byte_gives_the_exact_prefix, 1},
        {torn_writes_lose_nothing_durable, 3},
        {a_crash_between_any_two_calls_is_recovered, 1},
        {no_bit_flip_goes_unseen, 1},
        {damage_in_the_middle_is_refused_and_changes_nothing, 1},
        {missing_segments_and_entries_are_refused, 1},
        {a_newer_format_and_a_damaged_header_are_refused, 1},
        {a_failed_write_or_sync_is_final, 12},
        {threads_and_real_files_keep_the_same_promises, 4},
        {appends_go_on_while_a_commit_is_under_way, 1},
        {interval_syncs_come_by_themselves, 1},
        {a_directory_has_one_owner, 1},
        {memory_is_durable_at_once, 1},
    };

    return laws_run("journal", laws, ARRAY_LEN(laws));
}
