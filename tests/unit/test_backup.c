/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of backups that several take: who is left, and what is kept for
 * them.
 */
#include "disk.h"
#include "server/backup.h"
#include "store/store.h"

#define SEGMENT ((uint64_t)64 << 10)

struct world {
    struct disk disk;
    struct store_io io;
    struct store *s;
    struct ev_loop *loop;
    struct backups all;
    struct buf out;
    char text[STORE_TEXT_MAX];
};

static int no_entry(void *arg, const void *data, size_t len,
                    struct store_place place)
{
    (void)arg, (void)data, (void)len, (void)place;
    return -EBADMSG;
}

static void no_piece(struct backup *b)
{
    (void)b;
    ck_abort_msg("nothing was asked for");
}

static struct world *world_new(void)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct store_journal_options o = {
        .dir = "/disk", .segment_bytes = SEGMENT, .io = &w->io};

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
    MUST_EQ(store_journal_open(&o, &w->s, w->text), 0);
    MUST_EQ(store_replay(w->s, no_entry, NULL, w->text), 0);
    w->loop = ev_loop_new(EVFLAG_AUTO);
    backups_init(&w->all, w->loop, w->s, no_piece);
    buf_init(&w->out);
    return w;
}

static void world_free(struct world *w)
{
    backups_clear(&w->all);
    ev_loop_destroy(w->loop);
    store_close(w->s);
    buf_clear(&w->out);
    disk_clear(&w->disk);
    mem_free(w);
}

/* All that is in the journal has ended. */
static void fill(struct world *w, uint32_t segment)
{
    static const char data[1000];
    uint64_t pos;

    while (w->s->segment < segment) {
        MUST_EQ(store_append(w->s, data, sizeof(data), &pos), 0);
        store_commit(w->s);
        store_trim(w->s, w->s->segment);
        store_tick(w->s);
    }
}

static void start(struct world *w, struct backup *b)
{
    backup_start(&w->all, b, 2, &w->out);
    MUST(b->copy != NULL);
}

/* What is said to who asks for the next piece. */
static const char *next(struct world *w, struct backup *b)
{
    buf_reset(&w->out);
    MUST(backup_next(&w->all, b, 2, &w->out));
    buf_append(&w->out, "", 1);
    return buf_front(&w->out);
}

START_TEST(who_goes_does_not_pin_what_another_has_lost)
{
    struct world *w = world_new();
    struct backup a = {0}, b = {0};

    store_bound(w->s, 5 * SEGMENT);
    start(w, &a);
    fill(w, 2);
    start(w, &b);
    MUST_EQ(w->s->pinned, 1);
    while (w->s->pinned != STORE_UNPINNED)
        fill(w, w->s->segment + 1);
    /* In the same second. */
    if (_i == 0)
        backup_stop(&w->all, &b);
    else
        start(w, &b);
    MUST(w->s->pinned > 2);
    MUST(strstr(next(w, &a), "DISKFULL") != NULL);
    MUST_EQ(w->all.count, (size_t)_i);
    backup_stop(&w->all, &b);
    MUST_EQ(w->s->pinned, STORE_UNPINNED);
    world_free(w);
}
END_TEST

START_TEST(who_is_silent_is_given_up_and_nobody_else)
{
    struct world *w = world_new();
    struct backup a = {0}, b = {0};

    start(w, &a);
    fill(w, 3);
    start(w, &b);
    for (int i = 0; i < 5; i++) {
        MUST(a.copy != NULL);
        backups_second(&w->all, 5000);
        backup_heard(&w->all, &b);
    }
    MUST_EQ(w->s->pinned, 1);
    backups_second(&w->all, 5000);
    MUST(a.copy == NULL && b.copy != NULL);
    MUST_EQ(w->s->pinned, b.segment);
    MUST(strstr(next(w, &a), "broken off") != NULL);
    backup_stop(&w->all, &a);
    MUST(strstr(next(w, &a), "has begun no backup") != NULL);
    backup_stop(&w->all, &b);
    world_free(w);
}
END_TEST

static Suite *backup_suite(void)
{
    Suite *s = suite_create("backup");
    TCase *t = tcase_create("laws");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, who_goes_does_not_pin_what_another_has_lost, 0, 2);
    tcase_add_test(t, who_is_silent_is_given_up_and_nobody_else);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(backup_suite());
    int failed;

    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
