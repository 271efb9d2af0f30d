/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The spares of a journal: while there are fewer than there should be, and one
 * could not be made, nobody is told that there is room.
 */
#include "disk.h"
#include "laws.h"
#include "store/keeper.h"

#define SEGMENT ((uint64_t)64 << 10)

struct world {
    struct disk disk;
    struct store_io io;
    struct segment_dir dir;
    struct keeper keeper;
    size_t told;
};

/* Of the keeper, which is at work. */
static void changed(void *arg)
{
    struct world *w = arg;
    const struct keeper *k = &w->keeper;

    MUST(k->state.narrow || k->nspares == KEEPER_SPARES);
    MUST_EQ(k->state.starved, k->nspares == 0);
    w->told++;
}

static struct world *world_new(uint64_t room)
{
    struct world *w = mem_zalloc(sizeof(*w));

    disk_init(&w->disk, 1);
    w->disk.room = room;
    w->io = disk_io(&w->disk);
    w->dir = (struct segment_dir){.io = &w->io, .path = "/disk"};
    w->dir.fd = disk_open(&w->disk, "/disk", O_RDONLY | O_DIRECTORY, 0);
    keeper_init(&w->keeper, &w->dir, SEGMENT, changed, w);
    return w;
}

static void world_free(struct world *w)
{
    keeper_clear(&w->keeper);
    (void)disk_close(&w->disk, w->dir.fd);
    disk_clear(&w->disk);
    mem_free(w);
}

static void check_state(struct world *w, size_t spares)
{
    struct keeper_state state;
    char text[STORE_TEXT_MAX];

    keeper_get_state(&w->keeper, &state, text);
    MUST_EQ(state.spares, spares);
    MUST_EQ(state.narrow, spares < KEEPER_SPARES);
    MUST_EQ(state.starved, spares == 0);
}

START_TEST(room_for_one_spare_is_not_room)
{
    struct world *w = world_new(SEGMENT / 2);

    keeper_adopt(&w->keeper, NULL, 0, 1, 0);
    keeper_work(&w->keeper, false);
    for (size_t n = 0; n < KEEPER_SPARES; n++) {
        check_state(w, n);
        w->disk.room += SEGMENT;
        keeper_work(&w->keeper, true);
        MUST_EQ(w->told, n + 2);
    }
    check_state(w, KEEPER_SPARES);
    world_free(w);
}
END_TEST

static void make_segments(struct world *w, uint32_t first, uint32_t count)
{
    char path[SEGMENT_PATH_MAX];

    for (uint32_t n = first; n < first + count; n++) {
        int fd;

        segment_path(&w->dir, SEGMENT_NAME_USED, n, path);
        fd = disk_open(&w->disk, path, O_RDWR | O_CREAT, 0600);
        MUST_EQ(disk_ftruncate(&w->disk, fd, (int64_t)SEGMENT), 0);
        (void)disk_close(&w->disk, fd);
    }
}

START_TEST(what_is_trimmed_is_not_room_before_it_is_a_spare)
{
    struct world *w = world_new(KEEPER_SPARES * SEGMENT);

    make_segments(w, 1, KEEPER_SPARES);
    keeper_adopt(&w->keeper, NULL, 0, 1, KEEPER_SPARES * SEGMENT);
    keeper_bound(&w->keeper, KEEPER_SPARES * SEGMENT);
    keeper_work(&w->keeper, false);
    for (uint32_t n = 0; n < KEEPER_SPARES; n++) {
        check_state(w, n);
        keeper_trim(&w->keeper, n + 2);
    }
    check_state(w, KEEPER_SPARES);
    world_free(w);
}
END_TEST

START_TEST(who_has_trimmed_as_much_as_it_took_makes_no_new_file)
{
    struct world *w = world_new(NO_LIMIT);
    uint32_t number;
    int fd;

    make_segments(w, 1, 2);
    keeper_adopt(&w->keeper, NULL, 0, 1, 2 * SEGMENT);
    for (uint32_t n = 2; n < 10; n++) {
        keeper_trim(&w->keeper, n);
        MUST_EQ(keeper_take(&w->keeper, &fd, &number), 0);
        (void)disk_close(&w->disk, fd);
        make_segments(w, n + 1, 1);
    }
    keeper_work(&w->keeper, false);
    check_state(w, KEEPER_SPARES);
    MUST_EQ(w->disk.count[CALL_UNLINK], 0);
    keeper_trim(&w->keeper, 10); /* one more than it took, and another one */
    keeper_trim(&w->keeper, 11);
    MUST_EQ(w->disk.count[CALL_UNLINK], 1);
    world_free(w);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {room_for_one_spare_is_not_room, 1},
        {what_is_trimmed_is_not_room_before_it_is_a_spare, 1},
        {who_has_trimmed_as_much_as_it_took_makes_no_new_file, 1},
    };

    return laws_run("keeper", laws, ARRAY_LEN(laws));
}
