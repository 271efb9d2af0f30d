/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of reading a damaged journal: what was changed is told, what was not
 * is delivered, and nothing else ever is.
 */
#include "laws.h"
#include "store/salvage.h"
#include "world.h"

#define ENTRIES 60u
#define LONG    6000u /* bytes of an entry; a segment has ten */

/* One reading of a journal that nobody has open. */
struct reading {
    struct world *w;
    uint64_t entries, missing, damages, last;
    uint64_t wanted; /* entries, then no more */
    uint32_t segment;
    struct salvage salvage;
    char text[STORE_TEXT_MAX];
};

static struct reading *reading_new(uint64_t seed, size_t most)
{
    struct reading *r = mem_zalloc(sizeof(*r));

    r->w = world_new(seed);
    r->w->most = most;
    MUST_EQ(world_open(r->w), 0);
    world_fill(r->w, ENTRIES, 1);
    world_close(r->w);
    return r;
}

static void reading_free(struct reading *r)
{
    world_free(r->w);
    mem_free(r);
}

static int take(void *arg, const void *data, size_t len, uint32_t segment,
                uint64_t sequence)
{
    struct reading *r = arg;

    MUST(sequence > r->last && sequence <= ENTRIES);
    MUST(segment >= r->segment);
    r->segment = segment;
    r->last = sequence;
    world_must_be(r->w, sequence, data, len,
                  world_entry(r->w, sequence)->place);
    r->entries++;
    return 0;
}

static void note_damage(void *arg, const struct salvage_damage *d)
{
    struct reading *r = arg;

    MUST(d->offset <= d->to);
    MUST(d->text[0] != '\0');
    r->damages++;
}

static void note_hole(void *arg, uint64_t first, uint64_t last)
{
    struct reading *r = arg;

    MUST(first <= last && first > r->last);
    r->missing += last - first + 1;
}

static void reset(struct reading *r)
{
    r->entries = r->missing = r->damages = r->last = 0;
    r->segment = 1;
    r->salvage = (struct salvage){.io = &r->w->io,
                                  .dir = "/disk",
                                  .arg = r,
                                  .entry = take,
                                  .damage = note_damage,
                                  .hole = note_hole};
}

static int read_world(struct reading *r)
{
    reset(r);
    return salvage_read(&r->salvage, r->text);
}

/* What was delivered and what was said to be missing is all, but for what may
 * lie behind the last. */
static void check_sums(const struct reading *r)
{
    MUST_EQ(r->salvage.entries, r->entries);
    MUST_EQ(r->salvage.damages, r->damages);
    MUST(r->entries + r->missing <= r->last);
    MUST(r->entries == 0 ||
         r->entries + r->missing >= r->last - r->salvage.first + 1);
}

static size_t used(const struct content *c)
{
    size_t end = c->size;

    while (end > 0 && c->data[end - 1] == 0)
        end--;
    return end;
}

START_TEST(a_whole_journal_is_whole)
{
    struct reading *r = reading_new(1, LONG);

    MUST_EQ(read_world(r), 0);
    MUST_EQ(r->entries, ENTRIES);
    MUST_EQ(r->damages + r->missing, 0);
    MUST(r->salvage.segments >= 3);
    MUST_EQ(r->salvage.torn_bytes, 0);
    reading_free(r);
}
END_TEST

/* Of one frame at most; a header is made good. */
START_TEST(a_bit_flip_is_told_and_costs_one_entry)
{
    struct reading *r = reading_new(2, 40);
    struct content *c = world_segment(r->w, 1);
    size_t end = used(c);

    for (size_t bit = 0; bit < 8 * end;) {
        bool header = bit < 8 * SEGMENT_HEADER_BYTES;

        c->data[bit / 8] ^= (char)(1 << bit % 8);
        MUST_EQ(read_world(r), 0);
        check_sums(r);
        /* Damage of the very end looks like a write that was torn. */
        MUST_SAY(r->damages > 0 || r->salvage.torn_bytes > 0, "bit %zu", bit);
        MUST(r->damages > 0 || r->last == ENTRIES - 1);
        MUST_SAY(r->entries >= ENTRIES - !header, "bit %zu: %" PRIu64, bit,
                 r->entries);
        c->data[bit / 8] ^= (char)(1 << bit % 8);
        bit += header && bit > 256 && bit < 8 * (SEGMENT_HEADER_BYTES - 8) ? 997
                                                                           : 1;
    }
    reading_free(r);
}
END_TEST

/* A file that ends anywhere, the last one and one before. */
START_TEST(a_cut_loses_what_was_cut_off)
{
    struct reading *r = reading_new(3, 2500);

    for (uint32_t number = 1; number <= 2; number++) {
        struct content *c = world_segment(r->w, number);
        size_t size = c->size, end = used(c);
        uint64_t before = 0;

        for (size_t cut = 0; cut <= end; cut += cut < end - 100 ? 97 : 1) {
            c->size = cut;
            MUST_EQ(read_world(r), 0);
            check_sums(r);
            MUST(r->entries >= before);
            MUST(cut >= SEGMENT_HEADER_BYTES || r->damages > 0);
            before = r->entries;
        }
        MUST_EQ(before, ENTRIES);
        c->size = size;
    }
    MUST(!world_segment(r->w, 3));
    reading_free(r);
}
END_TEST

/* Any run of bytes, of zeros or of chance, anywhere: all other entries are
 * found again, behind the damage too. */
START_TEST(behind_a_hole_all_is_found_again)
{
    struct reading *r = reading_new(4, LONG);
    uint64_t seed = 4;

    for (int round = 0; round < 300; round++) {
        struct content *c = world_segment(r->w, 1 + chance(&seed) % 2);
        size_t from, len = 1 + chance(&seed) % 9000;
        char *kept = mem_dup(c->data, c->size);

        from = SEGMENT_HEADER_BYTES +
               chance(&seed) % (used(c) - SEGMENT_HEADER_BYTES - 9000);
        for (size_t i = 0; i < len; i++)
            c->data[from + i] = round % 3 ? (char)chance(&seed) : 0;
        MUST_EQ(read_world(r), 0);
        check_sums(r);
        MUST(r->damages > 0 || memcmp(kept, c->data, c->size) == 0);
        MUST_EQ(r->entries + r->missing, ENTRIES);
        MUST_EQ(r->last, ENTRIES);
        /* Entries that the run does not touch. */
        for (size_t at = SEGMENT_HEADER_BYTES; at + 16 < c->size;) {
            uint32_t length;

            memcpy(&length, kept + at + 8, sizeof(length));
            if (length == 0)
                break;
            if (at + 16 + length <= from || at >= from + len)
                r->entries--;
            at += 16 + length;
        }
        MUST(r->entries + r->missing <= ENTRIES);
        memcpy(c->data, kept, c->size);
        mem_free(kept);
    }
    reading_free(r);
}
END_TEST

START_TEST(a_segment_that_is_gone_is_a_hole)
{
    struct reading *r = reading_new(5, LONG);
    uint64_t all;

    MUST_EQ(read_world(r), 0);
    all = r->salvage.segments;
    MUST_EQ(disk_unlink(&r->w->disk, "/disk/0000000002.yj"), 0);
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST_EQ(r->salvage.segments, all - 1);
    MUST_EQ(r->damages, 1);
    MUST(r->missing > 5);
    MUST_EQ(r->entries + r->missing, ENTRIES);
    reading_free(r);
}
END_TEST

/* No byte of it is right: the entries of others are, and follow. */
START_TEST(a_segment_of_rubbish_costs_its_own_entries)
{
    struct reading *r = reading_new(6, LONG);
    struct content *c = world_segment(r->w, 2);
    uint64_t seed = 6;

    for (size_t i = 0; i < c->size; i++)
        c->data[i] = (char)chance(&seed);
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST_EQ(r->entries + r->missing, ENTRIES);
    MUST(r->missing > 5 && r->missing < 40);
    /* The whole header, and then the frames: its epoch is needed for these. */
    reading_free(r);
}
END_TEST

/* Part of the header is enough. */
START_TEST(a_wrong_header_costs_nothing_when_its_epoch_is_right)
{
    struct reading *r = reading_new(7, LONG);
    struct content *c = world_segment(r->w, 2);

    memset(c->data + 24, 0x5a, 8); /* its first entry */
    memset(c->data, 0, 4);
    MUST_EQ(read_world(r), 0);
    MUST_EQ(r->entries, ENTRIES);
    MUST_EQ(r->missing, 0);
    MUST_EQ(r->damages, 1);
    reading_free(r);
}
END_TEST

/* An old copy of a segment under another number. */
START_TEST(no_entry_is_delivered_twice_or_out_of_order)
{
    struct reading *r = reading_new(8, LONG);
    struct content *one = world_segment(r->w, 1), *two = world_segment(r->w, 2);

    memcpy(two->data, one->data, one->size);
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST(r->damages > 0);
    MUST_EQ(r->entries + r->missing, ENTRIES);
    reading_free(r);
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
    struct reading *r = reading_new(9, 40);
    struct content *c = world_segment(r->w, 1);

    c->data[8] = 7; /* several bits, and the checksum is another one, too */
    c->data[40] = 1;
    MUST_EQ(read_world(r), -ENOTSUP);
    MUST(strstr(r->text, "newer") != NULL);
    reading_free(r);
}
END_TEST

START_TEST(a_torn_tail_is_no_damage)
{
    struct reading *r = reading_new(10, 40);
    struct content *c = world_segment(r->w, 1);
    size_t end = used(c);

    memset(c->data + end, 0x11, 30);
    MUST_EQ(read_world(r), 0);
    MUST_EQ(r->entries, ENTRIES);
    MUST_EQ(r->damages, 0);
    MUST_EQ(r->salvage.torn_bytes, 30);
    reading_free(r);
}
END_TEST

/* A disk that fails: what can be read is. */
START_TEST(what_cannot_be_read_is_damage)
{
    struct reading *r = reading_new(11, LONG);
    int read = 0;

    MUST_EQ(read_world(r), 0);
    for (uint64_t n = 1; n < 12; n++) {
        disk_fail(&r->w->disk, CALL_READ, n, -EIO);
        /* Whose size is not known is not read at all. */
        if (read_world(r) != 0) {
            MUST(strstr(r->text, strerror(EIO)) != NULL);
            continue;
        }
        read++;
        check_sums(r);
        MUST_EQ(r->entries + r->missing, ENTRIES);
        MUST(r->damages > 0);
    }
    MUST(read > 5);
    reading_free(r);
}
END_TEST

/* An error that says nothing of the journal ends the reading: a repair must not
 * take for lost what could not be looked at. */
START_TEST(an_error_that_is_no_damage_ends_the_reading)
{
    struct reading *r = reading_new(12, LONG);
    const enum call kind = _i == 0 ? CALL_OPEN : CALL_READ;
    const int with = _i == 0 ? -EMFILE : -EACCES;
    uint64_t n = 0;
    int rc;

    world_segment(r->w, 2)->data[20000] ^= 1;
    do {
        disk_fail(&r->w->disk, kind, ++n, with);
        rc = read_world(r);
        MUST_EQ(rc, r->w->disk.failed ? with : 0);
        if (rc != 0)
            MUST_SAY(strstr(r->text, strerror(-rc)), "%s", r->text);
    } while (rc != 0);
    MUST(n > 2 * r->salvage.segments);
    MUST_EQ(r->entries, ENTRIES - 1);
    reading_free(r);
}
END_TEST

START_TEST(a_directory_that_cannot_be_read_is_no_empty_journal)
{
    struct reading *r = reading_new(13, LONG);
    char *dir = mem_zalloc(5000);

    r->w->io.list = disk_list_refused;
    MUST_EQ(read_world(r), -EACCES);
    MUST(strstr(r->text, "/disk") && strstr(r->text, strerror(EACCES)));
    r->w->io.list = disk_list;
    memset(dir, 'd', 4999);
    r->salvage.dir = dir;
    MUST_EQ(salvage_read(&r->salvage, r->text), -ENAMETOOLONG);
    mem_free(dir);
    reading_free(r);
}
END_TEST

static int take_some(void *arg, const void *data, size_t len, uint32_t segment,
                     uint64_t sequence)
{
    struct reading *r = arg;

    (void)take(arg, data, len, segment, sequence);
    return r->entries == r->wanted ? -ENOSPC : 0;
}

/* Of what is replayed, and of what is searched for. */
START_TEST(a_reader_that_refuses_an_entry_gets_no_other)
{
    struct reading *r = reading_new(14, LONG);

    memset(world_segment(r->w, 2)->data, 0, 16);
    for (r->wanted = 1; r->wanted <= ENTRIES; r->wanted++) {
        reset(r);
        r->salvage.entry = take_some;
        MUST_EQ(salvage_read(&r->salvage, r->text), -ENOSPC);
        MUST_EQ(r->entries, r->wanted);
        MUST_EQ(r->salvage.entries, r->wanted);
    }
    reading_free(r);
}
END_TEST

/* What comes next says where it began; or, if nothing does, its own number. */
START_TEST(a_first_segment_without_a_header_is_read_too)
{
    struct reading *r = reading_new(15, _i == 0 ? LONG : 40);
    struct content *c = world_segment(r->w, 1);

    memset(c->data, 0, 8);
    if (_i == 0)
        memset(c->data + 24, 0x5a, 8); /* its first entry */
    MUST_EQ(disk_names(&r->w->disk, "0") > 1, _i == 0);
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST_EQ(r->entries, ENTRIES);
    MUST_EQ(r->missing, 0);
    MUST_EQ(r->damages, 1);
    reading_free(r);
}
END_TEST

/* What the last segment held is not known when nothing of it is left; what the
 * one before held is, for the last one says how far that went. */
START_TEST(a_file_cut_to_nothing_leaves_the_end_open_if_it_is_the_last)
{
    struct reading *r = reading_new(17, LONG);
    struct content *c;

    MUST_EQ(read_world(r), 0);
    c = world_segment(r->w, r->salvage.last_segment - (uint32_t)_i);
    c->size = 0;
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST_EQ(r->damages, 1);
    MUST_EQ(r->salvage.open_end, _i == 0);
    reading_free(r);
}
END_TEST

/* Its number was damaged, and both neighbours, which could tell, are. */
START_TEST(an_entry_whose_number_cannot_be_is_not_believed)
{
    struct reading *r = reading_new(16, 40);
    struct content *c = world_segment(r->w, 1);
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
    MUST_EQ(read_world(r), 0);
    check_sums(r);
    MUST_EQ(r->missing, 3);
    MUST_EQ(r->entries, ENTRIES - 3);
    reading_free(r);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {a_whole_journal_is_whole, 1},
        {a_bit_flip_is_told_and_costs_one_entry, 1},
        {a_cut_loses_what_was_cut_off, 1},
        {behind_a_hole_all_is_found_again, 1},
        {a_segment_that_is_gone_is_a_hole, 1},
        {a_segment_of_rubbish_costs_its_own_entries, 1},
        {a_wrong_header_costs_nothing_when_its_epoch_is_right, 1},
        {no_entry_is_delivered_twice_or_out_of_order, 1},
        {a_newer_version_is_refused, 1},
        {a_torn_tail_is_no_damage, 1},
        {what_cannot_be_read_is_damage, 1},
        {an_error_that_is_no_damage_ends_the_reading, 2},
        {a_directory_that_cannot_be_read_is_no_empty_journal, 1},
        {a_reader_that_refuses_an_entry_gets_no_other, 1},
        {a_first_segment_without_a_header_is_read_too, 2},
        {a_file_cut_to_nothing_leaves_the_end_open_if_it_is_the_last, 2},
        {an_entry_whose_number_cannot_be_is_not_believed, 1},
    };

    return laws_run("salvage", laws, ARRAY_LEN(laws));
}
