/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of reading a damaged journal: what was changed is told, what was not
 * is delivered, and nothing else ever is.
 */
#include "disk.h"
#include "store/salvage.h"
#include "store/segment.h"

#define SEGMENT ((uint64_t)65536)
#define ENTRIES 60u
#define LONG    6000u /* bytes of an entry; a segment has ten */

struct world {
    struct disk disk;
    struct store_io io;
    size_t most; /* bytes of an entry */
    /* of the last reading */
    bool got[ENTRIES + 1];
    uint64_t entries, missing, damages, last;
    uint64_t wanted; /* entries, then no more */
    uint32_t segment;
    struct salvage salvage;
    char text[STORE_TEXT_MAX];
};

static size_t entry_len(const struct world *w, uint64_t n)
{
    return 1 + mix(n) % w->most;
}

static void entry_fill(const struct world *w, uint64_t n, char *to)
{
    for (size_t i = 0; i < entry_len(w, n); i++)
        to[i] = (char)mix(n * 100000 + i);
}

static int no_entry(void *arg, const void *data, size_t len,
                    struct store_place place)
{
    (void)arg, (void)data, (void)len, (void)place;
    ck_abort_msg("an entry in a new journal");
}

static struct world *world_new(uint64_t seed, size_t most)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct store_journal_options o = {.dir = "/j",
                                      .sync = STORE_SYNC_ALWAYS,
                                      .segment_bytes = SEGMENT,
                                      .io = &w->io};
    struct store *s;

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
    w->most = most;
    MUST_EQ(store_journal_open(&o, &s, w->text), 0);
    MUST_EQ(store_replay(s, no_entry, NULL, w->text), 0);
    for (uint64_t n = 1; n <= ENTRIES; n++) {
        char data[LONG];
        uint64_t pos;

        entry_fill(w, n, data);
        MUST_EQ(store_append(s, data, entry_len(w, n), &pos), 0);
        store_commit(s);
        store_tick(s);
        MUST(s->durable >= pos);
    }
    store_close(s);
    return w;
}

static void world_free(struct world *w)
{
    disk_clear(&w->disk);
    mem_free(w);
}

static int take(void *arg, const void *data, size_t len, uint32_t segment,
                uint64_t sequence)
{
    struct world *w = arg;
    char expected[LONG];

    MUST(sequence > w->last && sequence <= ENTRIES);
    MUST(segment >= w->segment);
    w->segment = segment;
    w->last = sequence;
    MUST_EQ(len, entry_len(w, sequence));
    entry_fill(w, sequence, expected);
    MUST(memcmp(data, expected, len) == 0);
    w->got[sequence] = true;
    w->entries++;
    return 0;
}

static void note_damage(void *arg, const struct salvage_damage *d)
{
    struct world *w = arg;

    MUST(d->offset <= d->to);
    MUST(d->text[0] != '\0');
    w->damages++;
}

static void note_hole(void *arg, uint64_t first, uint64_t last)
{
    struct world *w = arg;

    MUST(first <= last && first > w->last);
    w->missing += last - first + 1;
}

static void reset(struct world *w)
{
    memset(w->got, 0, sizeof(w->got));
    w->entries = w->missing = w->damages = w->last = 0;
    w->segment = 1;
    w->salvage = (struct salvage){.io = &w->io,
                                  .dir = "/j",
                                  .arg = w,
                                  .entry = take,
                                  .damage = note_damage,
                                  .hole = note_hole};
}

static int read_world(struct world *w)
{
    reset(w);
    return salvage_read(&w->salvage, w->text);
}

/* What was delivered and what was said to be missing is all, but for what may
 * lie behind the last. */
static void check_sums(const struct world *w)
{
    MUST_EQ(w->salvage.entries, w->entries);
    MUST_EQ(w->salvage.damages, w->damages);
    MUST(w->entries + w->missing <= w->last);
    MUST(w->entries == 0 ||
         w->entries + w->missing >= w->last - w->salvage.first + 1);
}

static size_t used(struct world *w, const char *name)
{
    const struct content *c = disk_file(&w->disk, name);
    size_t end = c->size;

    while (end > 0 && c->data[end - 1] == 0)
        end--;
    return end;
}

START_TEST(a_whole_journal_is_whole)
{
    struct world *w = world_new(1, LONG);

    MUST_EQ(read_world(w), 0);
    MUST_EQ(w->entries, ENTRIES);
    MUST_EQ(w->damages + w->missing, 0);
    MUST(w->salvage.segments >= 3);
    MUST_EQ(w->salvage.torn_bytes, 0);
    world_free(w);
}
END_TEST

/* Of one frame at most; a header is made good. */
START_TEST(a_bit_flip_is_told_and_costs_one_entry)
{
    struct world *w = world_new(2, 40);
    struct content *c = disk_file(&w->disk, "0000000001.yj");
    size_t end = used(w, "0000000001.yj");

    for (size_t bit = 0; bit < 8 * end;) {
        bool header = bit < 8 * SEGMENT_HEADER_BYTES;

        c->data[bit / 8] ^= (char)(1 << bit % 8);
        MUST_EQ(read_world(w), 0);
        check_sums(w);
        /* Damage of the very end looks like a write that was torn. */
        MUST_SAY(w->damages > 0 || w->salvage.torn_bytes > 0, "bit %zu", bit);
        MUST(w->damages > 0 || w->last == ENTRIES - 1);
        MUST_SAY(w->entries >= ENTRIES - !header, "bit %zu: %" PRIu64, bit,
                 w->entries);
        c->data[bit / 8] ^= (char)(1 << bit % 8);
        bit += header && bit > 256 && bit < 8 * (SEGMENT_HEADER_BYTES - 8) ? 997
                                                                           : 1;
    }
    world_free(w);
}
END_TEST

/* A file that ends anywhere, in the last segment and in one before. */
START_TEST(a_cut_loses_what_was_cut_off)
{
    struct world *w = world_new(3, 900);
    const char *names[] = {"0000000001.yj"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct content *c = disk_file(&w->disk, names[i]);
        size_t size = c->size, end = used(w, names[i]);
        uint64_t before = 0;

        for (size_t cut = 0; cut <= end; cut += cut < end - 50 ? 23 : 1) {
            c->size = cut;
            MUST_EQ(read_world(w), 0);
            check_sums(w);
            MUST(w->last >= before);
            MUST(cut >= SEGMENT_HEADER_BYTES || w->damages > 0);
            before = w->last;
        }
        MUST_EQ(before, ENTRIES);
        c->size = size;
    }
    world_free(w);
}
END_TEST

/* Any run of bytes, of zeros or of chance, anywhere: all other entries are
 * found again, behind the damage too. */
START_TEST(behind_a_hole_all_is_found_again)
{
    struct world *w = world_new(4, LONG);
    uint64_t seed = 4;

    for (int round = 0; round < 300; round++) {
        char name[] = "0000000001.yj";
        struct content *c;
        size_t from, len;
        char *kept;

        name[9] = (char)('1' + chance(&seed) % 2);
        c = disk_file(&w->disk, name);
        from = SEGMENT_HEADER_BYTES +
               chance(&seed) % (used(w, name) - SEGMENT_HEADER_BYTES - 9000);
        len = 1 + chance(&seed) % 9000;
        kept = mem_dup(c->data, c->size);
        for (size_t i = 0; i < len; i++)
            c->data[from + i] = round % 3 ? (char)chance(&seed) : 0;
        MUST_EQ(read_world(w), 0);
        check_sums(w);
        MUST(w->damages > 0 || memcmp(kept, c->data, c->size) == 0);
        MUST_EQ(w->entries + w->missing, ENTRIES);
        MUST_EQ(w->last, ENTRIES);
        /* Entries that the run does not touch. */
        for (size_t at = SEGMENT_HEADER_BYTES; at + 16 < c->size;) {
            uint32_t length;

            memcpy(&length, kept + at + 8, sizeof(length));
            if (length == 0)
                break;
            if (at + 16 + length <= from || at >= from + len)
                w->entries--;
            at += 16 + length;
        }
        MUST(w->entries + w->missing <= ENTRIES);
        memcpy(c->data, kept, c->size);
        mem_free(kept);
    }
    world_free(w);
}
END_TEST

START_TEST(a_segment_that_is_gone_is_a_hole)
{
    struct world *w = world_new(5, LONG);
    uint64_t all;

    MUST_EQ(read_world(w), 0);
    all = w->salvage.segments;
    MUST_EQ(disk_unlink(&w->disk, "/j/0000000002.yj"), 0);
    MUST_EQ(read_world(w), 0);
    check_sums(w);
    MUST_EQ(w->salvage.segments, all - 1);
    MUST_EQ(w->damages, 1);
    MUST(w->missing > 5);
    MUST_EQ(w->entries + w->missing, ENTRIES);
    world_free(w);
}
END_TEST

/* No byte of it is right: the entries of others are, and follow. */
START_TEST(a_segment_of_rubbish_costs_its_own_entries)
{
    struct world *w = world_new(6, LONG);
    struct content *c = disk_file(&w->disk, "0000000002.yj");
    uint64_t seed = 6;

    for (size_t i = 0; i < c->size; i++)
        c->data[i] = (char)chance(&seed);
    MUST_EQ(read_world(w), 0);
    check_sums(w);
    MUST_EQ(w->entries + w->missing, ENTRIES);
    MUST(w->missing > 5 && w->missing < 40);
    /* The whole header, and then the frames: its epoch is needed for these. */
    world_free(w);
}
END_TEST

/* Part of the header is enough. */
START_TEST(a_wrong_header_costs_nothing_when_its_epoch_is_right)
{
    struct world *w = world_new(7, LONG);
    struct content *c = disk_file(&w->disk, "0000000002.yj");

    memset(c->data + 24, 0x5a, 8); /* its first entry */
    memset(c->data, 0, 4);
    MUST_EQ(read_world(w), 0);
    MUST_EQ(w->entries, ENTRIES);
    MUST_EQ(w->missing, 0);
    MUST_EQ(w->damages, 1);
    world_free(w);
}
END_TEST

/* An old copy of a segment under another number. */
START_TEST(no_entry_is_delivered_twice_or_out_of_order)
{
    struct world *w = world_new(8, LONG);
    struct content *one = disk_file(&w->disk, "0000000001.yj"),
                   *two = disk_file(&w->disk, "0000000002.yj");

    memcpy(two->data, one->data, one->size);
    MUST_EQ(read_world(w), 0);
    check_sums(w);
    MUST(w->damages > 0);
    MUST_EQ(w->entries + w->missing, ENTRIES);
    world_free(w);
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
    struct world *w = world_new(9, 40);
    struct content *c = disk_file(&w->disk, "0000000001.yj");

    c->data[8] = 7; /* several bits, and the checksum is another one, too */
    c->data[40] = 1;
    MUST_EQ(read_world(w), -ENOTSUP);
    MUST(strstr(w->text, "newer") != NULL);
    world_free(w);
}
END_TEST

START_TEST(a_torn_tail_is_no_damage)
{
    struct world *w = world_new(10, 40);
    struct content *c = disk_file(&w->disk, "0000000001.yj");
    size_t end = used(w, "0000000001.yj");

    memset(c->data + end, 0x11, 30);
    MUST_EQ(read_world(w), 0);
    MUST_EQ(w->entries, ENTRIES);
    MUST_EQ(w->damages, 0);
    MUST_EQ(w->salvage.torn_bytes, 30);
    world_free(w);
}
END_TEST

/* A disk that fails: what can be read is. */
START_TEST(what_cannot_be_read_is_damage)
{
    struct world *w = world_new(11, LONG);
    int read = 0;

    MUST_EQ(read_world(w), 0);
    w->disk.fail_kind = CALL_READ;
    w->disk.fail_with = -EIO;
    for (uint64_t n = 1; n < 12; n++) {
        memset(w->disk.count, 0, sizeof(w->disk.count));
        w->disk.fail_at = n;
        /* Whose size is not known is not read at all. */
        if (read_world(w) != 0) {
            MUST(strstr(w->text, strerror(EIO)) != NULL);
            continue;
        }
        read++;
        check_sums(w);
        MUST_EQ(w->entries + w->missing, ENTRIES);
        MUST(w->damages > 0);
    }
    MUST(read > 5);
    world_free(w);
}
END_TEST

/* An error that says nothing of the journal ends the reading: a repair must not
 * take for lost what could not be looked at. */
START_TEST(an_error_that_is_no_damage_ends_the_reading)
{
    struct world *w = world_new(12, LONG);
    const enum call kind = _i == 0 ? CALL_OPEN : CALL_READ;
    const int with = _i == 0 ? -EMFILE : -EACCES;
    uint64_t n = 0;
    int rc;

    disk_file(&w->disk, "0000000002.yj")->data[20000] ^= 1;
    w->disk.fail_kind = kind;
    w->disk.fail_with = with;
    do {
        w->disk.failed = false;
        w->disk.count[kind] = 0;
        w->disk.fail_at = ++n;
        rc = read_world(w);
        MUST_EQ(rc, w->disk.failed ? with : 0);
        if (rc != 0)
            MUST_SAY(strstr(w->text, strerror(-rc)), "%s", w->text);
    } while (rc != 0);
    MUST(n > 2 * w->salvage.segments);
    MUST_EQ(w->entries, ENTRIES - 1);
    world_free(w);
}
END_TEST

static int refused_list(void *arg, const char *dir,
                        void (*each)(void *each_arg, const char *name),
                        void *each_arg)
{
    (void)arg, (void)dir, (void)each, (void)each_arg;
    return -EACCES;
}

START_TEST(a_directory_that_cannot_be_read_is_no_empty_journal)
{
    struct world *w = world_new(13, LONG);
    char *dir = mem_zalloc(5000);

    w->io.list = refused_list;
    MUST_EQ(read_world(w), -EACCES);
    MUST(strstr(w->text, "/j") && strstr(w->text, strerror(EACCES)));
    w->io.list = disk_list;
    memset(dir, 'd', 4999);
    w->salvage.dir = dir;
    MUST_EQ(salvage_read(&w->salvage, w->text), -ENAMETOOLONG);
    mem_free(dir);
    world_free(w);
}
END_TEST

static int take_some(void *arg, const void *data, size_t len, uint32_t segment,
                     uint64_t sequence)
{
    struct world *w = arg;

    (void)take(arg, data, len, segment, sequence);
    return w->entries == w->wanted ? -ENOSPC : 0;
}

/* Of what is replayed, and of what is searched for. */
START_TEST(a_reader_that_refuses_an_entry_gets_no_other)
{
    struct world *w = world_new(14, LONG);

    memset(disk_file(&w->disk, "0000000002.yj")->data, 0, 16);
    for (w->wanted = 1; w->wanted <= ENTRIES; w->wanted++) {
        reset(w);
        w->salvage.entry = take_some;
        MUST_EQ(salvage_read(&w->salvage, w->text), -ENOSPC);
        MUST_EQ(w->entries, w->wanted);
        MUST_EQ(w->salvage.entries, w->wanted);
    }
    world_free(w);
}
END_TEST

/* What comes next says where it began; or, if nothing does, its own number. */
START_TEST(a_first_segment_without_a_header_is_read_too)
{
    struct world *w = world_new(15, _i == 0 ? LONG : 40);
    struct content *c = disk_file(&w->disk, "0000000001.yj");

    memset(c->data, 0, 8);
    if (_i == 0)
        memset(c->data + 24, 0x5a, 8); /* its first entry */
    MUST_EQ(disk_names(&w->disk, "0") > 1, _i == 0);
    MUST_EQ(read_world(w), 0);
    check_sums(w);
    MUST_EQ(w->entries, ENTRIES);
    MUST_EQ(w->missing, 0);
    MUST_EQ(w->damages, 1);
    world_free(w);
}
END_TEST

/* Its number was damaged, and both neighbours, which could tell, are. */
START_TEST(an_entry_whose_number_cannot_be_is_not_believed)
{
    struct world *w = world_new(16, 40);
    struct content *c = disk_file(&w->disk, "0000000001.yj");
    size_t at = SEGMENT_HEADER_BYTES;

    for (int n = 1; n <= 12; n++) {
        uint32_t len;
        uint64_t check;

        memcpy(&len, c->data + at + 8, sizeof(len));
        memcpy(&check, c->data + at, sizeof(check));
        if (n == 11)
            check += 16;
        else if (n >= 10)
            c->data[at + 16] ^= 0x10;
        memcpy(c->data + at, &check, sizeof(check));
        at += 16 + len;
    }
    MUST_EQ(read_world(w), 0);
    check_sums(w);
    MUST_EQ(w->missing, 3);
    MUST_EQ(w->entries, ENTRIES - 3);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_whole_journal_is_whole,
        a_bit_flip_is_told_and_costs_one_entry,
        a_cut_loses_what_was_cut_off,
        behind_a_hole_all_is_found_again,
        a_segment_that_is_gone_is_a_hole,
        a_segment_of_rubbish_costs_its_own_entries,
        a_wrong_header_costs_nothing_when_its_epoch_is_right,
        no_entry_is_delivered_twice_or_out_of_order,
        a_newer_version_is_refused,
        a_torn_tail_is_no_damage,
        what_cannot_be_read_is_damage,
    };
    const struct {
        const TTest *test;
        int times;
    } refusals[] = {
        {an_error_that_is_no_damage_ends_the_reading, 2},
        {a_directory_that_cannot_be_read_is_no_empty_journal, 1},
        {a_reader_that_refuses_an_entry_gets_no_other, 1},
        {a_first_segment_without_a_header_is_read_too, 2},
        {an_entry_whose_number_cannot_be_is_not_believed, 1},
    };
    Suite *suite = suite_create("salvage");
    TCase *laws = tcase_create("laws"), *errors = tcase_create("errors");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(laws, tests[i]);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        tcase_add_loop_test(errors, refusals[i].test, 0, refusals[i].times);
    tcase_set_timeout(laws, 60);
    suite_add_tcase(suite, errors);
    suite_add_tcase(suite, laws);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
