/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Room: a journal on a full disk or at its bound, what is kept for finishing
 * then, and how segments go, stay while they are needed, and are used again.
 */
#include "laws.h"
#include "world.h"

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
    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open_from(w, world_first(w)), 0);
    MUST_EQ(w->seen, at_full);
    world_free(w);
}
END_TEST

START_TEST(a_journal_is_full_at_its_bound_and_recovers)
{
    struct world *w = world_new(1);

    w->options.disk_max = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w), 0);
    while (!w->s->full) {
        world_fill(w, 5, 5);
        MUST(world_stats(w).disk_bytes <= w->options.disk_max);
    }
    MUST(w->s->bounded && w->s->segment == 4);
    while (w->s->room > 0)
        world_fill(w, 1, 1);
    MUST(!w->s->held && world_stats(w).disk_bytes <= w->options.disk_max);
    store_tick(w->s);
    MUST(w->s->full);

    if (_i == 0)
        store_trim(w->s, 3);
    else
        store_bound(w->s, _i == 1 ? 6 * SEGMENT : 0);
    store_tick(w->s);
    MUST(!w->s->full);
    world_fill(w, 300, 10);
    MUST(_i == 2 || world_stats(w).disk_bytes <= (_i == 0 ? 4 : 6) * SEGMENT);
    world_close(w);
    MUST_EQ(world_open_from(w, world_first(w)), 0);
    world_free(w);
}
END_TEST

/* So that the oldest can be written again, whatever lives in it. */
START_TEST(a_journal_is_narrow_with_a_whole_segment_left)
{
    struct world *w = world_new(1);
    uint32_t narrow;

    w->options.disk_max = 6 * SEGMENT;
    MUST_EQ(world_open(w), 0);
    while (!w->s->narrow)
        world_fill(w, 1, 5);
    MUST(!w->s->full && w->s->bounded);
    narrow = w->s->segment;
    while (!w->s->full) {
        MUST(w->s->narrow);
        world_fill(w, 1, 5);
    }
    MUST_EQ(w->s->segment, narrow + 1);
    MUST(!w->s->held && world_stats(w).disk_bytes <= w->options.disk_max);
    store_trim(w->s, 2);
    store_tick(w->s);
    MUST(w->s->narrow && !w->s->full);
    store_trim(w->s, 3);
    store_tick(w->s);
    MUST(!w->s->narrow);
    world_free(w);
}
END_TEST

/* However long nobody looks after it. */
START_TEST(half_a_segment_is_kept_when_the_last_spare_is_taken)
{
    struct world *w = world_new(1);

    w->options.disk_max = 4 * SEGMENT;
    MUST_EQ(world_open(w), 0);
    while (!w->s->full) {
        MUST_EQ(world_append(w), 0);
        store_commit(w->s);
    }
    MUST_EQ(w->s->segment, 4);
    MUST(w->s->room > SEGMENT / 2 - SEGMENT / 16 - 200);
    world_free(w);
}
END_TEST

/* What a backup and compaction go by. */
START_TEST(segments_of_another_size_count_with_their_own)
{
    struct world *w = world_new(1);
    struct store_extent x;
    uint64_t used;

    w->options.segment_bytes = (_i == 0 ? 4 : 1) * SEGMENT;
    MUST_EQ(world_open(w), 0);
    while (w->s->segment < 4)
        world_fill(w, 10, 10);
    world_close(w);
    w->options.segment_bytes = (_i == 0 ? 1 : 4) * SEGMENT;
    MUST_EQ(world_open(w), 0);
    store_extent(w->s, &x);
    MUST_EQ(x.bytes, world_stats(w).used_bytes);
    if (_i == 0)
        MUST(x.bytes > 12 * SEGMENT && x.bytes < 14 * SEGMENT);
    else
        MUST(x.bytes > 3 * SEGMENT && x.bytes < 7 * SEGMENT);
    while (w->s->segment < 6)
        world_fill(w, 10, 10);
    store_trim(w->s, 5);
    store_tick(w->s);
    used = world_stats(w).used_bytes;
    MUST(used > w->options.segment_bytes);
    MUST(used < 2 * w->options.segment_bytes);
    world_free(w);
}
END_TEST

START_TEST(a_bound_that_is_lowered_removes_what_is_trimmed)
{
    struct world *w = world_new(1);

    MUST_EQ(world_open(w), 0);
    while (w->s->segment < 7)
        world_fill(w, 5, 5);
    store_bound(w->s, 4 * SEGMENT);
    for (uint32_t first = 2; first <= 6; first++) {
        uint64_t before = world_stats(w).disk_bytes;

        store_trim(w->s, first);
        store_tick(w->s);
        world_fill(w, 1, 1);
        MUST(world_stats(w).disk_bytes <= before);
    }
    MUST(!w->s->full);
    while (w->s->segment < 12) {
        world_fill(w, 5, 5);
        store_trim(w->s, w->s->segment - 1);
        store_tick(w->s);
        MUST(world_stats(w).disk_bytes <= 4 * SEGMENT);
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
    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open_from(w, world_first(w)), 0);
    MUST_EQ(w->seen, placed);
    world_free(w);
}
END_TEST

START_TEST(a_full_disk_is_known_after_a_restart)
{
    struct world *w = world_new(1);
    uint64_t last, room;

    w->disk.room = 4 * SEGMENT + 100;
    MUST_EQ(world_open(w), 0);
    while (!w->s->full)
        world_fill(w, 5, 5);
    last = w->s->durable;
    room = w->s->room;
    world_close(w);
    if (_i == 1) /* of which there is no room for one */
        w->options.segment_bytes = 2 * SEGMENT;
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, last);
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
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, last + 1);
    world_free(w);
}
END_TEST

START_TEST(no_room_for_the_first_segment_is_said)
{
    struct world *w = world_new(1);

    w->disk.room = SEGMENT / 2;
    MUST_EQ(world_open(w), -ENOSPC);
    MUST(strstr(w->text, "room"));
    w->disk.room = NO_LIMIT;
    MUST_EQ(world_open(w), 0);
    world_free(w);
}
END_TEST

/* -- Segments that go ------------------------------------------------------ */

START_TEST(trim_keeps_what_is_needed_and_no_number_comes_twice)
{
    struct world *w = world_new(1);
    struct store_stats stats;
    uint32_t last = 0;

    MUST_EQ(world_open(w), 0);
    for (int i = 0; i < 20; i++) {
        world_fill(w, 1500, 10);
        MUST(w->s->segment > last);
        last = w->s->segment;
        store_trim(w->s, last + (i % 2 ? 100 : 0));
        store_stats(w->s, &stats);
        MUST_EQ(stats.first_segment, last);
        MUST_EQ(stats.segments, 1);
        MUST_EQ(disk_names(&w->disk, "0"), 1);
        MUST(disk_names(&w->disk, "spare") <= 3);
        MUST_EQ(stats.disk_bytes,
                (1 + disk_names(&w->disk, "spare")) * SEGMENT);
        world_close(w);
        MUST_EQ(world_open_from(w, world_first(w)), 0);
        MUST_EQ(w->s->segment, last);
    }
    world_free(w);
}
END_TEST

START_TEST(a_segment_is_kept_until_what_follows_is_durable)
{
    struct world *w = world_new(1);

    MUST_EQ(world_open(w), 0);
    world_fill(w, 10, 10);
    while (w->s->segment == 1)
        MUST_EQ(world_append(w), 0);
    store_trim(w->s, 2);
    MUST(world_segment(w, 1));
    world_commit(w);
    store_trim(w->s, 2);
    MUST(!world_segment(w, 1));
    world_free(w);
}
END_TEST

/* Reads on, and says how many bytes came; entries are checked as in a replay.
 */
static size_t world_scan(struct world *w, size_t bytes)
{
    size_t got = 0;

    MUST_SAY(store_scan(w->s, bytes, world_see, w, &got, w->text) == 0, "%s",
             w->text);
    return got;
}

/* Entries appended meanwhile, and segments that go while they are read, make no
 * difference. */
START_TEST(a_scan_reads_all_segments_but_the_last_once_and_in_order)
{
    struct world *w = world_new(1);
    uint64_t first = 0;

    MUST_EQ(world_open(w), 0);
    MUST_EQ(world_scan(w, 1), 0); /* there is nothing before the last */
    world_fill(w, 3000, 20);
    MUST(w->s->segment >= 4);
    w->seen = 0;
    w->segment = 0;
    while (w->segment < 3) {
        MUST(world_scan(w, 1000) >= 1000);
        MUST_EQ(world_append(w), 0);
        world_commit(w);
    }
    store_trim(w->s, w->s->segment);
    MUST_EQ(world_scan(w, 1000), 0);
    world_fill(w, 1500, 20);
    first = world_first(w);
    w->seen = first - 1;
    while (world_scan(w, 5000) > 0)
        continue;
    MUST(w->seen > first);
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
        MUST_EQ(world_open(w), 0);
        world_fill(w, 10, 10);
        while (w->s->segment == 1)
            MUST_EQ(world_append(w), 0);
        world_fill(w, 50, 10);
        appended = w->s->appended;
        store_trim(w->s, 2);
        MUST(!world_segment(w, 1));
        w->disk.power_off_at = 0;
        world_close(w);
        disk_restart(&w->disk, true);
        MUST_EQ(world_open_from(w, world_first(w)), 0);
        MUST_EQ(w->seen, appended);
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

    MUST_EQ(world_open(w), 0);
    world_fill(w, 2500, 20);
    MUST(w->s->segment >= 3);
    c = world_segment(w, 2);
    c->data[SEGMENT_HEADER_BYTES + 5000] ^= 1;
    w->seen = 0;
    w->segment = 0;
    do {
        rc = store_scan(w->s, 4096, world_see, w, &got, w->text);
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
    size_t ends[401];
    uint64_t n;

    MUST_EQ(world_open(w), 0);
    world_fill(w, 400, 10);
    for (n = 1; n <= 400; n++)
        ends[n] = world_end(w, n);
    c = world_segment(w, 1);
    old = (struct content){mem_dup(c->data, c->size), c->size};
    world_fill(w, 4000, 10);
    store_trim(w->s, w->s->segment);
    world_close(w);

    /* The worst case: a segment with the right header, and the old frames
     * behind it, exactly where its own would go on. */
    MUST_EQ(world_open_from(w, world_first(w)), 0);
    while (w->s->segment < 20)
        world_fill(w, 1, 1);
    n = (size_t)w->s->appended;
    c = world_segment(w, 20);
    world_close(w);
    for (size_t i = 1; i <= 300; i++) {
        size_t at = world_end(w, n);

        MUST(c->data[at + 8] == 0);
        memcpy(c->data + at, old.data + ends[i], ends[400] - ends[i]);
        MUST_EQ(world_open_from(w, world_first(w)), 0);
        MUST_EQ(w->seen, n);
        MUST_EQ(world_stats(w).torn_bytes, ends[400] - ends[i]);
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

    MUST_EQ(world_open(w), 0);
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
    MUST_EQ(world_open(w), 0);
    MUST_EQ(disk_names(&w->disk, "spare"), 2);
    world_fill(w, 3000, 10);
    world_close(w);
    c = world_segment(w, 2);
    MUST_EQ(c->size, SEGMENT);
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, 3010);
    world_free(w);
}
END_TEST

START_TEST(segment_bytes_may_change_between_runs)
{
    static const uint64_t sizes[] = {1 << 17, 1 << 16, 1 << 18, 1 << 16};
    struct world *w = world_new(1);

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        w->options.segment_bytes = sizes[i];
        MUST_EQ(world_open(w), 0);
        MUST_EQ(w->seen, i * 3000);
        world_fill(w, 3000, 10);
        world_close(w);
    }
    w->options.segment_bytes = 1000;
    MUST_EQ(world_open(w), -EINVAL);
    world_free(w);
}
END_TEST

START_TEST(a_last_segment_that_has_no_room_to_grow_stays_as_it_is)
{
    struct world *w = world_new(1);
    uint64_t had;

    MUST_EQ(world_open(w), 0);
    world_fill(w, 300, 10);
    had = w->s->durable;
    world_close(w);
    w->options.segment_bytes = 8 * SEGMENT;
    w->disk.room =
        3 * SEGMENT + (_i == 0 ? SEGMENT / 2 : 0); /* of it or none */
    for (int i = 0; i < 2; i++) {
        MUST_EQ(world_open(w), 0);
        MUST_EQ(w->seen, had);
        MUST(w->s->full && w->s->room == 0);
        MUST(world_stats(w).disk_bytes <= w->disk.room);
        world_close(w);
    }
    w->disk.room = NO_LIMIT;
    MUST_EQ(world_open(w), 0);
    MUST_EQ(w->seen, had);
    world_fill(w, 300, 10);
    MUST_EQ(w->s->segment, 1);
    world_free(w);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {a_full_disk_leaves_a_reserve_and_recovers, 2},
        {a_journal_is_full_at_its_bound_and_recovers, 3},
        {a_journal_is_narrow_with_a_whole_segment_left, 1},
        {half_a_segment_is_kept_when_the_last_spare_is_taken, 1},
        {segments_of_another_size_count_with_their_own, 2},
        {a_bound_that_is_lowered_removes_what_is_trimmed, 1},
        {a_full_disk_below_the_bound_is_not_the_bounds, 1},
        {what_the_reserve_has_no_room_for_waits_and_is_not_lost, 3},
        {a_full_disk_is_known_after_a_restart, 2},
        {no_room_for_the_first_segment_is_said, 1},
        {a_scan_reads_all_segments_but_the_last_once_and_in_order, 1},
        {a_segment_is_kept_until_what_follows_is_synced, 1},
        {a_scan_tells_damage, 1},
        {trim_keeps_what_is_needed_and_no_number_comes_twice, 1},
        {a_segment_is_kept_until_what_follows_is_durable, 1},
        {a_recycled_file_never_replays_old_entries, 1},
        {left_over_spares_are_used_or_removed, 1},
        {segment_bytes_may_change_between_runs, 1},
        {a_last_segment_that_has_no_room_to_grow_stays_as_it_is, 2},
    };

    return laws_run("journal room", laws, ARRAY_LEN(laws));
}
