/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of backups below the daemon: what is pinned stays, and a copy is
 * what was durable when it began, or says what is wrong.
 */
#include <poll.h>

#include "disk.h"
#include "store/copier.h"
#include "store/segment.h"

#define SEGMENT ((uint64_t)64 << 10)
#define FILES   16

struct world {
    struct disk disk;
    struct store_io io;
    struct store_journal_options options;
    struct store *s;
    struct copier *copier;
    char text[STORE_TEXT_MAX];
    uint64_t replayed;
    struct buf files[FILES]; /* of the copy that was taken last */
};

/* Entry n says so. */
static int check_entry(void *arg, const void *data, size_t len,
                       struct store_place place)
{
    struct world *w = arg;
    uint64_t n;

    (void)place;
    MUST(len >= sizeof(n));
    memcpy(&n, data, sizeof(n));
    MUST_EQ(n, ++w->replayed);
    return 0;
}

static struct world *world_new(void)
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
    w->options = (struct store_journal_options){
        .dir = "/disk", .segment_bytes = SEGMENT, .io = &w->io};
    MUST_EQ(store_journal_open(&w->options, &w->s, w->text), 0);
    MUST_EQ(store_replay(w->s, check_entry, w, w->text), 0);
    MUST_EQ(copier_new(&w->io, &w->copier), 0);
    return w;
}

static void world_free(struct world *w)
{
    copier_free(w->copier);
    store_close(w->s);
    for (int i = 0; i < FDS_MAX; i++)
        MUST_EQ(w->disk.fds[i], -1);
    for (int i = 0; i < FILES; i++)
        buf_clear(&w->files[i]);
    disk_clear(&w->disk);
    mem_free(w);
}

static void append(struct world *w, size_t len)
{
    uint64_t n = w->s->appended + 1, pos;
    char *data = mem_zalloc(len);

    memcpy(data, &n, sizeof(n));
    MUST_EQ(store_append(w->s, data, len, &pos), 0);
    mem_free(data);
}

static void commit(struct world *w)
{
    while (w->s->durable < w->s->appended && !w->s->held) {
        store_commit(w->s);
        store_tick(w->s);
    }
}

static void fill(struct world *w, uint32_t segment)
{
    while (w->s->segment < segment) {
        append(w, 1000);
        commit(w);
    }
}

static struct store_extent extent(const struct world *w)
{
    struct store_extent x;

    store_extent(w->s, &x);
    return x;
}

static bool is_there(struct world *w, uint32_t segment)
{
    char name[NAME_MAX_];

    (void)snprintf(name, sizeof(name), "%010" PRIu32 ".yj", segment);
    return name_find(w->disk.names, name) != NULL;
}

static uint32_t pinned(const struct world *w)
{
    struct store_stats stats;

    store_stats(w->s, &stats);
    return stats.pinned;
}

/* ------------------------------------------------------------------- the pin
 */

START_TEST(what_is_pinned_stays_until_the_pin_moves)
{
    struct world *w = world_new();

    fill(w, 6);
    store_trim(w->s, 3);
    MUST(!is_there(w, 2) && is_there(w, 3));
    MUST_EQ(extent(w).first, 3);
    store_pin(w->s, 3);
    store_trim(w->s, 6);
    store_tick(w->s);
    MUST(is_there(w, 3) && is_there(w, 4) && is_there(w, 5));
    MUST_EQ(pinned(w), 3);
    MUST_EQ(extent(w).first, 3);
    store_pin(w->s, 5);
    MUST(!is_there(w, 4) && is_there(w, 5));
    MUST_EQ(pinned(w), 1);
    MUST_EQ(extent(w).first, 5);
    store_pin(w->s, STORE_UNPINNED);
    MUST(!is_there(w, 5) && is_there(w, 6));
    MUST_EQ(pinned(w), 0);
    world_free(w);
}
END_TEST

START_TEST(a_pin_gives_way_when_there_is_no_room)
{
    struct world *w = world_new();

    store_pin(w->s, 1);
    store_bound(w->s, 5 * SEGMENT);
    for (uint64_t n = 0; w->s->segment < 12; n++) {
        MUST(n < 10000 && !w->s->held);
        append(w, 1000);
        commit(w);
        store_trim(w->s, w->s->segment);
        store_tick(w->s);
        MUST_EQ(w->s->pinned == STORE_UNPINNED, !is_there(w, 1));
    }
    MUST_EQ(w->s->pinned, STORE_UNPINNED);
    MUST(!w->s->full);
    world_free(w);
}
END_TEST

/* Nothing is gained by letting go of what is needed anyway. */
START_TEST(a_pin_that_holds_nothing_back_stays_on_a_full_disk)
{
    struct world *w = world_new();

    fill(w, 3);
    store_trim(w->s, 2);
    store_pin(w->s, 2);
    store_bound(w->s, SEGMENT);
    while (!w->s->full) {
        append(w, 1000);
        commit(w);
        store_tick(w->s);
    }
    MUST_EQ(w->s->pinned, 2);
    world_free(w);
}
END_TEST

/* ---------------------------------------------------------------- the copy */

/* Waits for the piece that was asked for. */
static void wait_for(struct world *w, struct copy *y)
{
    struct pollfd p = {.fd = copier_fd(w->copier), .events = POLLIN};
    struct copy *done = NULL;

    while (!done) { /* it may have been of one that has gone */
        MUST_EQ(poll(&p, 1, 20000), 1);
        done = copier_done(w->copier);
    }
    MUST(done == y && copier_done(w->copier) == NULL);
}

/* All of it; the error it ends with, or 0. */
static int take(struct world *w, struct copy *y, uint32_t *segments)
{
    *segments = 0;
    while (copy_read(y)) {
        const struct copy_piece *p = copy_piece(y);
        struct buf *file;

        wait_for(w, y);
        if (p->error)
            break;
        MUST(p->segment < FILES);
        file = &w->files[p->segment];
        if (p->offset == 0)
            buf_reset(file);
        MUST_EQ(p->offset, buf_size(file));
        MUST(buf_size(&p->bytes) > 0);
        buf_append(file, buf_front(&p->bytes), buf_size(&p->bytes));
        *segments += p->last;
    }
    return copy_piece(y)->error;
}

/* What was copied takes the place of what is on the disk, and is replayed. */
static uint64_t replay(struct world *w, const struct store_extent *x)
{
    char name[64];

    store_close(w->s);
    for (uint32_t i = 1; i < 2 * FILES; i++) {
        (void)snprintf(name, sizeof(name), "/disk/%010" PRIu32 ".yj", i);
        (void)disk_unlink(&w->disk, name);
        if (i < x->first || i > x->last)
            continue;
        int fd = disk_open(&w->disk, name, O_RDWR | O_CREAT, 0600);
        size_t len = buf_size(&w->files[i]);

        MUST_EQ(disk_pwrite(&w->disk, fd, buf_front(&w->files[i]), len, 0),
                len);
        (void)disk_close(&w->disk, fd);
    }
    MUST_EQ(store_journal_open(&w->options, &w->s, w->text), 0);
    MUST_SAY(store_replay(w->s, check_entry, w, w->text) == 0, "%s", w->text);
    return w->s->durable;
}

START_TEST(a_copy_is_what_was_durable_when_it_began)
{
    struct world *w = world_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;
    uint64_t first = 1;

    if (_i > 0)
        fill(w, (uint32_t)_i);
    if (_i == 3) {
        store_trim(w->s, 2);
        while (w->s->segment < 5) { /* large ones, alone in a segment */
            append(w, 60000);
            commit(w);
        }
        first = 0;
    }
    append(w, 100); /* not durable */
    x = extent(w);
    MUST_EQ(x.entry, w->s->durable);
    store_pin(w->s, x.first);
    y = copy_new(w->copier, &x);
    /* It goes on meanwhile. */
    commit(w);
    fill(w, w->s->segment + 2);
    store_trim(w->s, w->s->segment);
    MUST_EQ(take(w, y, &segments), 0);
    MUST_EQ(segments, x.last - x.first + 1);
    MUST(!copy_read(y));
    copy_free(y);
    MUST_EQ(buf_size(&w->files[x.last]), x.end);
    if (first == 0) { /* the number that the first segment begins with */
        memcpy(&first, buf_front(&w->files[x.first]) + 24, sizeof(first));
        MUST(first > 1);
    }
    w->replayed = first - 1;
    MUST_EQ(replay(w, &x), x.entry);
    MUST_EQ(w->replayed, x.entry);
    world_free(w);
}
END_TEST

static void spoil(struct world *w, uint32_t segment, size_t offset)
{
    char name[NAME_MAX_];

    (void)snprintf(name, sizeof(name), "%010" PRIu32 ".yj", segment);
    disk_file(&w->disk, name)->data[offset] ^= 1;
}

START_TEST(a_copy_of_what_is_damaged_says_so)
{
    static const struct {
        uint32_t segment;
        size_t offset;
    } bits[] = {{1, 30}, {1, 5000}, {2, 40000}, {3, 4}, {3, 4096}, {3, 4500}};
    struct world *w = world_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;

    fill(w, 3);
    append(w, 1000);
    commit(w);
    x = extent(w);
    spoil(w, bits[_i].segment, bits[_i].offset);
    y = copy_new(w->copier, &x);
    MUST_EQ(take(w, y, &segments), -EBADMSG);
    MUST(strstr(copy_piece(y)->text, "/disk/") != NULL);
    /* A header is looked at with the end of the one before. */
    MUST(segments == bits[_i].segment - 1 ||
         (segments == 1 && bits[_i].segment == 3));
    MUST(!copy_read(y));
    copy_free(y);
    spoil(w, bits[_i].segment, bits[_i].offset);
    world_free(w);
}
END_TEST

START_TEST(a_copy_ends_where_it_should_or_says_so)
{
    struct world *w = world_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;
    int wanted = -EBADMSG;

    fill(w, 3);
    append(w, 1000);
    commit(w);
    x = extent(w);
    switch (_i) {
    case 0:
        x.end += 8; /* there are zeros */
        break;
    case 1:
        x.end -= 8;
        break;
    case 2:
        x.end = 2 * SEGMENT;
        break;
    case 3:
        x.entry++;
        break;
    case 4:
        x.last++; /* its header is looked for with the last one */
        wanted = -ENOENT;
        break;
    case 5:
        x.first = 7;
        x.last = 8;
        wanted = -ENOENT;
        break;
    default:
        w->disk.fail_kind = _i == 6 ? CALL_OPEN : CALL_READ;
        w->disk.fail_at = w->disk.count[w->disk.fail_kind] + (uint64_t)_i - 5;
        w->disk.fail_with = wanted = -EIO;
    }
    y = copy_new(w->copier, &x);
    MUST_EQ(take(w, y, &segments), wanted);
    MUST(strlen(copy_piece(y)->text) > 0);
    copy_free(y);
    world_free(w);
}
END_TEST

START_TEST(a_copy_that_nobody_wants_goes_at_any_time)
{
    struct world *w = world_new();
    struct store_extent x;
    struct copy *y[20];

    fill(w, 4);
    x = extent(w);
    for (size_t i = 0; i < ARRAY_LEN(y); i++) {
        y[i] = copy_new(w->copier, &x);
        MUST(copy_read(y[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(y); i++)
        copy_free(y[ARRAY_LEN(y) - 1 - i]);
    y[0] = copy_new(w->copier, &x);
    MUST(copy_read(y[0]));
    wait_for(w, y[0]);
    copy_free(y[0]);
    world_free(w);
}
END_TEST

static Suite *copier_suite(void)
{
    Suite *s = suite_create("copier");
    TCase *t = tcase_create("laws");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, what_is_pinned_stays_until_the_pin_moves);
    tcase_add_test(t, a_pin_gives_way_when_there_is_no_room);
    tcase_add_test(t, a_pin_that_holds_nothing_back_stays_on_a_full_disk);
    tcase_add_loop_test(t, a_copy_is_what_was_durable_when_it_began, 0, 4);
    tcase_add_loop_test(t, a_copy_of_what_is_damaged_says_so, 0, 6);
    tcase_add_loop_test(t, a_copy_ends_where_it_should_or_says_so, 0, 10);
    tcase_add_test(t, a_copy_that_nobody_wants_goes_at_any_time);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(copier_suite());
    int failed;

    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
