/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single entries of a journal, read again: what an append or a replay says of
 * their places is where they are, and nothing else is ever taken for one.
 */
#include "laws.h"
#include "world.h"

#define ENTRIES 2000

/* Open, with entries of up to `most` bytes. */
static struct world *world_of(bool threaded, uint64_t segment, size_t most)
{
    struct world *w = world_new(1);

    w->options.threaded = threaded;
    w->options.segment_bytes = segment;
    w->most = most;
    MUST_EQ(world_open(w), 0);
    return w;
}

static struct store_place place(struct world *w, uint64_t n)
{
    return world_entry(w, n)->place;
}

static void ask(struct world *w, uint64_t n)
{
    store_read(w->s, place(w, n));
}

static void take(struct world *w, struct store_answer *a)
{
    while (!store_take(w->s, a))
        world_wait(w);
}

static void must_be(struct world *w, uint64_t n, const struct store_answer *a)
{
    MUST_SAY(a->error == 0, "entry %" PRIu64 ": %.*s", n, (int)a->len, a->data);
    world_must_be(w, n, a->data, a->len, a->place);
}

static void must_fail(struct world *w, uint64_t n, int error)
{
    struct store_answer a;

    ask(w, n);
    take(w, &a);
    MUST_EQ(a.error, error);
    MUST(a.len > 0 && a.len < STORE_TEXT_MAX);
}

static void read_all(struct world *w)
{
    uint64_t n = w->s->appended;
    struct store_answer a;

    for (uint64_t i = 0; i < n; i++) /* in another order than they lie in */
        ask(w, 1 + i * 977 % n);
    for (uint64_t i = 0; i < n; i++) {
        take(w, &a);
        must_be(w, 1 + i * 977 % n, &a);
    }
    MUST(!store_take(w->s, &a));
    for (uint64_t i = 1; i <= n; i++)
        ask(w, i);
    for (uint64_t i = 1; i <= n; i++) {
        take(w, &a);
        must_be(w, i, &a);
    }
}

START_TEST(every_entry_is_read_at_its_place_in_the_order_of_asking)
{
    struct world *w = world_of(_i, SEGMENT, 200);
    struct store_stats stats;

    world_fill(w, ENTRIES - 1, 7);
    MUST(w->s->segment >= 3);
    read_all(w);
    store_tick(w->s);
    store_stats(w->s, &stats);
    MUST_EQ(stats.reads, 2 * (ENTRIES - 1));
    MUST(stats.read_bytes > stats.reads * 90);
    world_close(w);
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, ENTRIES - 1);
    read_all(w);
    world_free(w);
}
END_TEST

START_TEST(an_entry_may_be_larger_than_what_is_read_at_once)
{
    struct world *w = world_of(_i, 4 << 20, 300000);

    world_fill(w, 59, 10);
    MUST(w->s->segment >= 2);
    read_all(w);
    world_free(w);
}
END_TEST

/* Of a batch that is being filled, and of one that the disk does not take yet.
 */
START_TEST(what_is_not_written_is_answered_when_it_is)
{
    struct world *w = world_of(false, SEGMENT, 200);
    struct store_answer a;

    world_fill(w, 10, 10);
    MUST_EQ(world_append(w), 0);
    MUST_EQ(world_append(w), 0);
    ask(w, 12);
    ask(w, 3);
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
        MUST_EQ(world_append(w), 0);
    ask(w, w->s->appended);
    store_tick(w->s);
    MUST(!store_take(w->s, &a));
    world_commit(w);
    take(w, &a);
    must_be(w, w->s->appended, &a);
    world_free(w);
}
END_TEST

START_TEST(reads_go_on_beside_commits)
{
    struct world *w = world_of(true, SEGMENT, 200);
    struct store_answer a;
    uint64_t taken = 0;

    while (w->s->appended < ENTRIES - 1) {
        MUST_EQ(world_append(w), 0);
        ask(w, w->s->appended);
        if (!w->s->busy)
            store_commit(w->s);
        store_tick(w->s);
        while (store_take(w->s, &a))
            must_be(w, ++taken, &a);
    }
    world_commit(w);
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

    ask(w, n);
    take(w, &a);
    if (a.error == 0 && may_be)
        must_be(w, n, &a);
    else
        MUST_EQ(a.error, -EBADMSG);
}

START_TEST(damage_is_told_of_the_entry_that_has_it_and_of_no_other)
{
    struct world *w = world_of(_i, SEGMENT, 200);
    struct store_answer a;
    struct content *c;

    world_fill(w, 300, 10);
    c = world_segment(w, 1);
    for (size_t at = 0; at < SEGMENT_FRAME_BYTES + world_entry(w, 50)->len;
         at++) {
        world_close(w);
        MUST_EQ(world_open(w), 0); /* what was read before may still be known */
        c->data[place(w, 50).offset + at] ^= 4;
        must_fail_or_be(w, 50, at < 2);
        ask(w, 50);
        take(w, &a);
        MUST(at < 2 || strstr(a.data, "0000000001.yj: offset "));
        for (uint64_t n = 49; n <= 51; n += 2) {
            ask(w, n);
            take(w, &a);
            must_be(w, n, &a);
        }
        c->data[place(w, 50).offset + at] ^= 4;
        ask(w, 50);
        take(w, &a);
        must_be(w, 50, &a);
    }
    world_free(w);
}
END_TEST

START_TEST(no_place_but_that_of_an_entry_is_one)
{
    struct world *w = world_of(false, SEGMENT, 200);
    struct store_answer a;

    world_fill(w, 20, 10);
    for (uint32_t at = SEGMENT_HEADER_BYTES; at < place(w, 20).offset; at++) {
        bool is_one = false;

        for (uint64_t n = 1; n <= 20; n++)
            is_one = is_one || place(w, n).offset == at;
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
    struct world *w = world_of(false, SEGMENT, 200);
    struct store_answer a;

    world_fill(w, 1200, 10);
    ask(w, 1);
    take(w, &a);
    must_be(w, 1, &a);
    store_trim(w->s, w->s->segment);
    store_tick(w->s);
    MUST(!world_segment(w, 1));
    must_fail(w, 700, -ENOENT);
    world_fill(w, 700, 10);
    ask(w, 1900);
    take(w, &a);
    must_be(w, 1900, &a);
    must_fail(w, 1, -ENOENT);
    world_free(w);
}
END_TEST

START_TEST(an_open_file_that_was_trimmed_shows_nothing)
{
    struct world *w = world_of(false, 4 * SEGMENT, 1000);
    struct store_answer a;

    store_bound(w->s, 12 * SEGMENT); /* so that it will become a spare */
    world_fill(w, 600, 10);
    ask(w, 1); /* so that it is open */
    take(w, &a);
    MUST(place(w, 400).segment == 1 && w->s->segment > 1);
    store_trim(w->s, w->s->segment);
    world_fill(w, 1390, 10);
    must_fail(w, 400, -EBADMSG); /* behind what was read before */
    world_free(w);
}
END_TEST

/* It is put off; the others are not. `why`: that is said of it. */
static void must_be_put_off(struct world *w, uint64_t n, bool why)
{
    struct store_place at = place(w, n);
    struct store_answer a;
    struct store_stats stats;

    MUST(store_take(w->s, &a));
    MUST_EQ(a.error, -EAGAIN);
    MUST(memcmp(&a.place, &at, sizeof(at)) == 0);
    MUST_EQ(a.len > 0, why);
    store_stats(w->s, &stats);
    MUST(stats.reads_put_off > 0);
}

START_TEST(what_cannot_be_read_now_is_tried_again_and_holds_nothing_up)
{
    static const int errors[] = {-EMFILE, -ENFILE, -ENOMEM, -EACCES,
                                 -EPERM,  -ENOENT, -EIO};
    struct world *w = world_of(false, SEGMENT, 200);
    struct store_answer a;
    struct store_stats stats;

    world_fill(w, 20, 10);
    disk_fail(&w->disk, CALL_OPEN, 2, errors[_i]); /* after the header's */
    ask(w, 5);
    ask(w, 6);
    store_tick(w->s);
    must_be_put_off(w, 5, true);
    MUST(store_take(w->s, &a));
    must_be(w, 6, &a);
    MUST(!store_take(w->s, &a));
    store_tick(w->s);
    MUST(store_take(w->s, &a));
    must_be(w, 5, &a);
    store_tick(w->s);
    store_stats(w->s, &stats);
    MUST_EQ(stats.reads_put_off, 0);
    world_free(w);
}
END_TEST

/* One that is damaged for good must not hold its queue up for ever. */
START_TEST(a_sector_that_is_lost_is_believed_after_some_tries)
{
    struct world *w = world_of(false, SEGMENT, 200);
    struct store_answer a = {.error = -EAGAIN};

    world_fill(w, 20, 10);
    ask(w, 5);
    for (int tries = 1; a.error == -EAGAIN; tries++) {
        MUST(tries < 10);
        disk_fail(&w->disk, CALL_READ, 2, -EIO); /* header, window */
        store_tick(w->s);
        if (tries == 1)
            must_be_put_off(w, 5, true);
        else
            (void)store_take(w->s, &a);
    }
    MUST_EQ(a.error, -EIO);
    MUST(a.len > 0 && a.len < STORE_TEXT_MAX);
    world_free(w);
}
END_TEST

START_TEST(what_waits_for_room_has_no_place)
{
    struct world *w = world_of(false, SEGMENT, 200);

    w->disk.room = 2 * SEGMENT + 100;
    while (!w->s->held) {
        MUST_EQ(world_append(w), 0);
        MUST((w->s->place.offset == 0) == w->s->held);
        if (!w->s->held)
            world_commit(w);
    }
    MUST_EQ(world_append(w), 0);
    MUST_EQ(w->s->place.offset, 0);
    w->disk.room += 4 * SEGMENT;
    world_commit(w);
    MUST_EQ(world_append(w), 0);
    MUST(w->s->place.offset > 0);
    world_free(w);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {every_entry_is_read_at_its_place_in_the_order_of_asking, 2},
        {an_entry_may_be_larger_than_what_is_read_at_once, 2},
        {what_is_not_written_is_answered_when_it_is, 1},
        {reads_go_on_beside_commits, 1},
        {damage_is_told_of_the_entry_that_has_it_and_of_no_other, 2},
        {no_place_but_that_of_an_entry_is_one, 1},
        {what_was_trimmed_is_an_error_whatever_its_file_is_now, 1},
        {an_open_file_that_was_trimmed_shows_nothing, 1},
        {what_cannot_be_read_now_is_tried_again_and_holds_nothing_up, 7},
        {a_sector_that_is_lost_is_believed_after_some_tries, 1},
        {what_waits_for_room_has_no_place, 1},
    };

    return laws_run("reader", laws, ARRAY_LEN(laws));
}
