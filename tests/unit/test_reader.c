/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single entries of a journal, read again: what an append or a replay says of
 * their places is where they are, and nothing else is ever taken for one.
 */
#include <poll.h>

#include "disk.h"
#include "store/segment.h"

#define SEGMENT ((uint64_t)64 << 10)
#define ENTRIES 2000

struct world {
    struct disk disk;
    struct store_io io;
    struct store_journal_options options;
    struct store *s;
    char text[STORE_TEXT_MAX];
    size_t len; /* most bytes of an entry */
    struct store_place places[ENTRIES + 1];
    uint64_t replayed;
};

static size_t entry_len(const struct world *w, uint64_t n)
{
    return 1 + (size_t)(mix(n * 31) % w->len);
}

static void entry_fill(const struct world *w, uint64_t n, char *to)
{
    for (size_t i = 0; i < entry_len(w, n); i++)
        to[i] = (char)mix(n * 100000 + i);
}

static int check_place(void *arg, const void *data, size_t len,
                       struct store_place place)
{
    struct world *w = arg;
    uint64_t n = ++w->replayed;

    (void)data;
    MUST_EQ(len, entry_len(w, n));
    MUST_EQ(place.segment, w->places[n].segment);
    MUST_EQ(place.offset, w->places[n].offset);
    return 0;
}

static void world_open(struct world *w)
{
    w->replayed = 0;
    MUST_SAY(store_journal_open(&w->options, &w->s, w->text) == 0, "%s",
             w->text);
    MUST_SAY(store_replay(w->s, check_place, w, w->text) == 0, "%s", w->text);
}

static struct world *world_new(bool threaded, uint64_t segment, size_t len)
{
    struct world *w = mem_zalloc(sizeof(*w));

    disk_init(&w->disk, 1);
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
    w->options = (struct store_journal_options){.dir = "/disk",
                                                .segment_bytes = segment,
                                                .threaded = threaded,
                                                .io = &w->io};
    w->len = len;
    world_open(w);
    return w;
}

static void world_close(struct world *w)
{
    store_close(w->s);
    for (int i = 0; i < FDS_MAX; i++)
        MUST_EQ(w->disk.fds[i], -1);
}

static void world_free(struct world *w)
{
    world_close(w);
    disk_clear(&w->disk);
    mem_free(w);
}

static void append(struct world *w)
{
    uint64_t n = w->s->appended + 1, pos;
    char *data = mem_alloc(w->len);

    ASSERT(n <= ENTRIES);
    entry_fill(w, n, data);
    MUST_EQ(store_append(w->s, data, entry_len(w, n), &pos), 0);
    w->places[n] = w->s->place;
    mem_free(data);
}

static void wait_for_store(struct world *w)
{
    struct pollfd p = {.fd = w->s->fd, .events = POLLIN};

    if (w->options.threaded)
        MUST_EQ(poll(&p, 1, 10000), 1);
    store_tick(w->s);
    MUST_SAY(store_error(w->s, w->text) == 0, "%s", w->text);
}

static void commit(struct world *w)
{
    while (w->s->durable < w->s->appended) {
        store_commit(w->s);
        if (w->s->busy)
            wait_for_store(w);
    }
}

static void fill(struct world *w, unsigned entries, unsigned group)
{
    for (unsigned i = 1; i <= entries; i++) {
        append(w);
        if (i % group == 0)
            commit(w);
    }
    commit(w);
}

static void take(struct world *w, struct store_answer *a)
{
    while (!store_take(w->s, a))
        wait_for_store(w);
}

static void must_be(const struct world *w, uint64_t n,
                    const struct store_answer *a)
{
    char *want = mem_alloc(w->len);

    MUST_SAY(a->error == 0, "entry %" PRIu64 ": %.*s", n, (int)a->len, a->data);
    entry_fill(w, n, want);
    MUST_EQ(a->len, entry_len(w, n));
    MUST(memcmp(a->data, want, a->len) == 0);
    MUST_EQ(a->place.segment, w->places[n].segment);
    MUST_EQ(a->place.offset, w->places[n].offset);
    mem_free(want);
}

static void must_fail(struct world *w, uint64_t n, int error)
{
    struct store_answer a;

    store_read(w->s, w->places[n]);
    take(w, &a);
    MUST_EQ(a.error, error);
    MUST(a.len > 0 && a.len < STORE_TEXT_MAX);
}

static void read_all(struct world *w)
{
    uint64_t n = w->s->appended;
    struct store_answer a;

    for (uint64_t i = 0; i < n; i++) /* in another order than they lie in */
        store_read(w->s, w->places[1 + i * 977 % n]);
    for (uint64_t i = 0; i < n; i++) {
        take(w, &a);
        must_be(w, 1 + i * 977 % n, &a);
    }
    MUST(!store_take(w->s, &a));
    for (uint64_t i = 1; i <= n; i++)
        store_read(w->s, w->places[i]);
    for (uint64_t i = 1; i <= n; i++) {
        take(w, &a);
        must_be(w, i, &a);
    }
}

START_TEST(every_entry_is_read_at_its_place_in_the_order_of_asking)
{
    struct world *w = world_new(_i, SEGMENT, 200);
    struct store_stats stats;

    fill(w, ENTRIES - 1, 7);
    MUST(w->s->segment >= 3);
    read_all(w);
    store_tick(w->s);
    store_stats(w->s, &stats);
    MUST_EQ(stats.reads, 2 * (ENTRIES - 1));
    MUST(stats.read_bytes > stats.reads * 90);
    world_close(w);
    world_open(w);
    MUST_EQ(w->replayed, ENTRIES - 1);
    read_all(w);
    world_free(w);
}
END_TEST

START_TEST(an_entry_may_be_larger_than_what_is_read_at_once)
{
    struct world *w = world_new(_i, 4 << 20, 300000);

    fill(w, 59, 10);
    MUST(w->s->segment >= 2);
    read_all(w);
    world_free(w);
}
END_TEST

/* Of a batch that is being filled, and of one that the disk does not take yet.
 */
START_TEST(what_is_not_written_is_answered_when_it_is)
{
    struct world *w = world_new(false, SEGMENT, 200);
    struct store_answer a;

    fill(w, 10, 10);
    append(w);
    append(w);
    store_read(w->s, w->places[12]);
    store_read(w->s, w->places[3]);
    store_tick(w->s);
    MUST(store_take(w->s, &a));
    must_be(w, 3, &a);
    store_tick(w->s);
    MUST(!store_take(w->s, &a));
    store_commit(w->s);
    store_tick(w->s);
    MUST(store_take(w->s, &a));
    must_be(w, 12, &a);
    while (w->s->segment == 1) /* the last one opens a segment */
        append(w);
    store_read(w->s, w->places[w->s->appended]);
    store_tick(w->s);
    MUST(!store_take(w->s, &a));
    commit(w);
    take(w, &a);
    must_be(w, w->s->appended, &a);
    world_free(w);
}
END_TEST

START_TEST(reads_go_on_beside_commits)
{
    struct world *w = world_new(true, SEGMENT, 200);
    struct store_answer a;
    uint64_t taken = 0;

    while (w->s->appended < ENTRIES - 1) {
        append(w);
        store_read(w->s, w->places[w->s->appended]);
        if (!w->s->busy)
            store_commit(w->s);
        store_tick(w->s);
        while (store_take(w->s, &a))
            must_be(w, ++taken, &a);
    }
    commit(w);
    while (taken < w->s->appended) {
        take(w, &a);
        must_be(w, ++taken, &a);
    }
    world_free(w);
}
END_TEST

/* In the check itself a wrong bit may make another number of the entry, which
 * could be the right one: then the entry is whole. */
static void must_fail_or_be(struct world *w, uint64_t n, bool may_be)
{
    struct store_answer a;

    store_read(w->s, w->places[n]);
    take(w, &a);
    if (a.error == 0 && may_be)
        must_be(w, n, &a);
    else
        MUST_EQ(a.error, -EBADMSG);
}

START_TEST(damage_is_told_of_the_entry_that_has_it_and_of_no_other)
{
    struct world *w = world_new(_i, SEGMENT, 200);
    struct store_answer a;
    struct content *c;

    fill(w, 300, 10);
    c = disk_file(&w->disk, "0000000001.yj");
    for (size_t at = 0; at < SEGMENT_FRAME_BYTES + entry_len(w, 50); at++) {
        world_close(w);
        world_open(w); /* what was read before may still be known */
        c->data[w->places[50].offset + at] ^= 4;
        must_fail_or_be(w, 50, at < 2);
        store_read(w->s, w->places[50]);
        take(w, &a);
        MUST(at < 2 || strstr(a.data, "0000000001.yj: offset "));
        for (uint64_t n = 49; n <= 51; n += 2) {
            store_read(w->s, w->places[n]);
            take(w, &a);
            must_be(w, n, &a);
        }
        c->data[w->places[50].offset + at] ^= 4;
        store_read(w->s, w->places[50]);
        take(w, &a);
        must_be(w, 50, &a);
    }
    world_free(w);
}
END_TEST

START_TEST(no_place_but_that_of_an_entry_is_one)
{
    struct world *w = world_new(false, SEGMENT, 200);
    struct store_answer a;

    fill(w, 20, 10);
    for (uint32_t at = SEGMENT_HEADER_BYTES; at < w->places[20].offset; at++) {
        bool is_one = false;

        for (uint64_t n = 1; n <= 20; n++)
            is_one = is_one || w->places[n].offset == at;
        store_read(w->s, (struct store_place){1, at});
        take(w, &a);
        MUST_EQ(a.error, is_one ? 0 : -EBADMSG);
    }
    world_free(w);
}
END_TEST

/* Its file is a spare then, and another segment later: the reader may have it
 * open. */
START_TEST(what_was_trimmed_is_an_error_whatever_its_file_is_now)
{
    struct world *w = world_new(false, SEGMENT, 200);
    struct store_answer a;

    fill(w, 1200, 10);
    store_read(w->s, w->places[1]);
    take(w, &a);
    must_be(w, 1, &a);
    store_trim(w->s, w->s->segment);
    store_tick(w->s);
    MUST(!disk_file(&w->disk, "0000000001.yj"));
    must_fail(w, 700, -ENOENT);
    fill(w, 700, 10);
    store_read(w->s, w->places[1900]);
    take(w, &a);
    must_be(w, 1900, &a);
    must_fail(w, 1, -ENOENT);
    world_free(w);
}
END_TEST

START_TEST(an_open_file_that_was_trimmed_shows_nothing)
{
    struct world *w = world_new(false, 4 * SEGMENT, 1000);
    struct store_answer a;

    store_bound(w->s, 12 * SEGMENT); /* so that it will become a spare */
    fill(w, 600, 10);
    store_read(w->s, w->places[1]); /* so that it is open */
    take(w, &a);
    MUST(w->places[400].segment == 1 && w->s->segment > 1);
    store_trim(w->s, w->s->segment);
    fill(w, 1390, 10);
    must_fail(w, 400, -EBADMSG); /* behind what was read before */
    world_free(w);
}
END_TEST

START_TEST(a_disk_that_cannot_read_is_an_error)
{
    struct world *w = world_new(_i, SEGMENT, 200);

    fill(w, 20, 10);
    w->disk.fail_kind = CALL_READ;
    w->disk.fail_at = w->disk.count[CALL_READ] + 3; /* header, its size */
    w->disk.fail_with = -EIO;
    must_fail(w, 1, -EIO);
    world_free(w);
}
END_TEST

START_TEST(what_the_process_is_short_of_is_tried_again)
{
    struct world *w = world_new(false, SEGMENT, 200);
    struct store_answer a;

    fill(w, 20, 10);
    w->disk.fail_kind = CALL_OPEN;
    w->disk.fail_at = w->disk.count[CALL_OPEN] + 1;
    w->disk.fail_with = -EMFILE;
    store_read(w->s, w->places[5]);
    store_read(w->s, w->places[6]);
    store_tick(w->s);
    MUST(!store_take(w->s, &a));
    store_tick(w->s);
    MUST(store_take(w->s, &a));
    must_be(w, 5, &a);
    MUST(store_take(w->s, &a));
    must_be(w, 6, &a);
    world_free(w);
}
END_TEST

START_TEST(what_waits_for_room_has_no_place)
{
    struct world *w = world_new(false, SEGMENT, 200);

    w->disk.room = 2 * SEGMENT + 100;
    while (!w->s->held) {
        append(w);
        MUST((w->s->place.offset == 0) == w->s->held);
        if (!w->s->held)
            commit(w);
    }
    append(w);
    MUST_EQ(w->s->place.offset, 0);
    w->disk.room += 4 * SEGMENT;
    commit(w);
    append(w);
    MUST(w->s->place.offset > 0);
    world_free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reader");
    TCase *laws = tcase_create("laws");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(
        laws, every_entry_is_read_at_its_place_in_the_order_of_asking, 0, 2);
    tcase_add_loop_test(laws, an_entry_may_be_larger_than_what_is_read_at_once,
                        0, 2);
    tcase_add_test(laws, what_is_not_written_is_answered_when_it_is);
    tcase_add_test(laws, reads_go_on_beside_commits);
    tcase_add_loop_test(
        laws, damage_is_told_of_the_entry_that_has_it_and_of_no_other, 0, 2);
    tcase_add_test(laws, no_place_but_that_of_an_entry_is_one);
    tcase_add_test(laws, what_was_trimmed_is_an_error_whatever_its_file_is_now);
    tcase_add_test(laws, an_open_file_that_was_trimmed_shows_nothing);
    tcase_add_loop_test(laws, a_disk_that_cannot_read_is_an_error, 0, 2);
    tcase_add_test(laws, what_the_process_is_short_of_is_tried_again);
    tcase_add_test(laws, what_waits_for_room_has_no_place);
    tcase_set_timeout(laws, 60);
    suite_add_tcase(suite, laws);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
