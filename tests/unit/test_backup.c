/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of backups that several take: who is left, and what is kept for
 * them.
 */
#include "laws.h"
#include "server/backup.h"
#include "world.h"

struct desk {
    struct world *w;
    struct store *s;
    struct ev_loop *loop;
    struct backups all;
    struct buf out;
};

static void no_piece(struct backup *b)
{
    (void)b;
    ck_abort_msg("nothing was asked for");
}

static struct desk *desk_new(void)
{
    struct desk *k = mem_zalloc(sizeof(*k));

    k->w = world_new(1);
    k->w->least = k->w->most = 1000;
    MUST_EQ(world_open(k->w), 0);
    k->s = k->w->s;
    k->loop = ev_loop_new(EVFLAG_AUTO);
    backups_init(&k->all, k->loop, k->s, no_piece);
    buf_init(&k->out);
    return k;
}

static void desk_free(struct desk *k)
{
    backups_clear(&k->all);
    ev_loop_destroy(k->loop);
    buf_clear(&k->out);
    world_free(k->w);
    mem_free(k);
}

/* All that is in the journal has ended. */
static void fill(struct desk *k, uint32_t segment)
{
    while (k->s->segment < segment) {
        world_fill(k->w, 1, 1);
        store_trim(k->s, k->s->segment);
        store_tick(k->s);
    }
}

static void start(struct desk *k, struct backup *b)
{
    backup_start(&k->all, b, 2, &k->out);
    MUST(b->copy != NULL);
}

/* What is said to who asks for the next piece. */
static const char *next(struct desk *k, struct backup *b)
{
    buf_reset(&k->out);
    MUST(backup_next(&k->all, b, 2, &k->out));
    buf_append(&k->out, "", 1);
    return buf_front(&k->out);
}

START_TEST(who_goes_does_not_pin_what_another_has_lost)
{
    struct desk *k = desk_new();
    struct backup a = {0}, b = {0};

    store_bound(k->s, 5 * SEGMENT);
    start(k, &a);
    fill(k, 2);
    start(k, &b);
    MUST_EQ(k->s->pinned, 1);
    while (k->s->pinned != STORE_UNPINNED)
        fill(k, k->s->segment + 1);
    /* In the same second. */
    if (_i == 0)
        backup_stop(&k->all, &b);
    else
        start(k, &b);
    MUST(k->s->pinned > 2);
    MUST(strstr(next(k, &a), "DISKFULL") != NULL);
    MUST_EQ(k->all.count, (size_t)_i);
    backup_stop(&k->all, &b);
    MUST_EQ(k->s->pinned, STORE_UNPINNED);
    desk_free(k);
}
END_TEST

START_TEST(who_is_silent_is_given_up_and_nobody_else)
{
    struct desk *k = desk_new();
    struct backup a = {0}, b = {0};

    start(k, &a);
    fill(k, 3);
    start(k, &b);
    for (int i = 0; i < 5; i++) {
        MUST(a.copy != NULL);
        backups_second(&k->all, 5000);
        backup_heard(&k->all, &b);
    }
    MUST_EQ(k->s->pinned, 1);
    backups_second(&k->all, 5000);
    MUST(a.copy == NULL && b.copy != NULL);
    MUST_EQ(k->s->pinned, b.segment);
    MUST(strstr(next(k, &a), "broken off") != NULL);
    backup_stop(&k->all, &a);
    MUST(strstr(next(k, &a), "has begun no backup") != NULL);
    backup_stop(&k->all, &b);
    desk_free(k);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {who_goes_does_not_pin_what_another_has_lost, 2},
        {who_is_silent_is_given_up_and_nobody_else, 1},
    };

    return laws_run("backup", laws, ARRAY_LEN(laws));
}
