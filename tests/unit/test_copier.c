/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of backups below the daemon: what is pinned stays, and a copy is
 * what was durable when it began, or says what is wrong.
 */
#include "laws.h"
#include "store/copier.h"
#include "world.h"

#define FILES 16

struct desk {
    struct world *w;
    struct store *s;
    struct copier *copier;
    struct buf files[FILES]; /* of the copy that was taken last */
};

static struct desk *desk_new(void)
{
    struct desk *k = mem_zalloc(sizeof(*k));

    k->w = world_new(1);
    k->w->least = k->w->most = 1000;
    MUST_EQ(world_open(k->w), 0);
    k->s = k->w->s;
    MUST_EQ(copier_new(&k->w->io, &k->copier), 0);
    return k;
}

static void desk_free(struct desk *k)
{
    copier_free(k->copier);
    for (int i = 0; i < FILES; i++)
        buf_clear(&k->files[i]);
    world_free(k->w);
    mem_free(k);
}

static struct store_extent extent(const struct desk *k)
{
    struct store_extent x;

    store_extent(k->s, &x);
    return x;
}

static bool is_there(struct desk *k, uint32_t segment)
{
    return world_segment(k->w, segment) != NULL;
}

/* ------------------------------------------------------------------- the pin
 */

START_TEST(what_is_pinned_stays_until_the_pin_moves)
{
    struct desk *k = desk_new();

    world_fill_to(k->w, 6);
    store_trim(k->s, 3);
    MUST(!is_there(k, 2) && is_there(k, 3));
    MUST_EQ(extent(k).first, 3);
    store_pin(k->s, 3);
    store_trim(k->s, 6);
    store_tick(k->s);
    MUST(is_there(k, 3) && is_there(k, 4) && is_there(k, 5));
    MUST_EQ(world_stats(k->w).pinned, 3);
    MUST_EQ(extent(k).first, 3);
    store_pin(k->s, 5);
    MUST(!is_there(k, 4) && is_there(k, 5));
    MUST_EQ(world_stats(k->w).pinned, 1);
    MUST_EQ(extent(k).first, 5);
    store_pin(k->s, STORE_UNPINNED);
    MUST(!is_there(k, 5) && is_there(k, 6));
    MUST_EQ(world_stats(k->w).pinned, 0);
    desk_free(k);
}
END_TEST

START_TEST(a_pin_gives_way_when_there_is_no_room)
{
    struct desk *k = desk_new();

    store_pin(k->s, 1);
    store_bound(k->s, 5 * SEGMENT);
    for (uint64_t n = 0; k->s->segment < 12; n++) {
        MUST(n < 10000 && !k->s->held);
        world_fill(k->w, 1, 1);
        store_trim(k->s, k->s->segment);
        store_tick(k->s);
        MUST_EQ(k->s->pinned == STORE_UNPINNED, !is_there(k, 1));
    }
    MUST_EQ(k->s->pinned, STORE_UNPINNED);
    MUST(!k->s->full);
    desk_free(k);
}
END_TEST

/* Nothing is gained by letting go of what is needed anyway. */
START_TEST(a_pin_that_holds_nothing_back_stays_on_a_full_disk)
{
    struct desk *k = desk_new();

    world_fill_to(k->w, 3);
    store_trim(k->s, 2);
    store_pin(k->s, 2);
    store_bound(k->s, SEGMENT);
    while (!k->s->full) {
        world_fill(k->w, 1, 1);
        store_tick(k->s);
    }
    MUST_EQ(k->s->pinned, 2);
    desk_free(k);
}
END_TEST

/* ---------------------------------------------------------------- the copy */

/* Waits for the piece that was asked for. */
static void wait_for(struct desk *k, struct copy *y)
{
    struct pollfd p = {.fd = copier_fd(k->copier), .events = POLLIN};
    struct copy *done = NULL;

    while (!done) { /* it may have been of one that has gone */
        MUST_EQ(poll(&p, 1, 20000), 1);
        done = copier_done(k->copier);
    }
    MUST(done == y && copier_done(k->copier) == NULL);
}

/* All of it; the error it ends with, or 0. */
static int take(struct desk *k, struct copy *y, uint32_t *segments)
{
    *segments = 0;
    while (copy_read(y)) {
        const struct copy_piece *p = copy_piece(y);
        struct buf *file;

        wait_for(k, y);
        if (p->error)
            break;
        MUST(p->segment < FILES);
        file = &k->files[p->segment];
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
static void replay(struct desk *k, const struct store_extent *x, uint64_t first)
{
    struct disk *d = &k->w->disk;

    world_close(k->w);
    for (uint32_t i = 1; i < 2 * FILES; i++) {
        const char *name = segment_name(i);

        (void)disk_unlink(d, name);
        if (i < x->first || i > x->last)
            continue;
        int fd = disk_open(d, name, O_RDWR | O_CREAT, 0600);
        size_t len = buf_size(&k->files[i]);

        MUST_EQ(disk_pwrite(d, fd, buf_front(&k->files[i]), len, 0), len);
        (void)disk_close(d, fd);
    }
    MUST_SAY(world_open_from(k->w, first) == 0, "%s", k->w->text);
    MUST_EQ(k->w->s->durable, x->entry);
    MUST_EQ(k->w->seen, x->entry);
}

START_TEST(a_copy_is_what_was_durable_when_it_began)
{
    struct desk *k = desk_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;
    uint64_t first = 1;

    if (_i > 0)
        world_fill_to(k->w, (uint32_t)_i);
    if (_i == 3) {
        store_trim(k->s, 2);
        /* Large ones, alone in a segment. */
        k->w->least = k->w->most = 60000;
        world_fill_to(k->w, 5);
        first = 0;
    }
    k->w->least = k->w->most = 1000;
    MUST_EQ(world_append(k->w), 0); /* not durable */
    x = extent(k);
    MUST_EQ(x.entry, k->s->durable);
    store_pin(k->s, x.first);
    y = copy_new(k->copier, &x);
    /* It goes on meanwhile. */
    world_commit(k->w);
    world_fill_to(k->w, k->s->segment + 2);
    store_trim(k->s, k->s->segment);
    MUST_EQ(take(k, y, &segments), 0);
    MUST_EQ(segments, x.last - x.first + 1);
    MUST(!copy_read(y));
    copy_free(y);
    MUST_EQ(buf_size(&k->files[x.last]), x.end);
    if (first == 0) { /* the number that the first segment begins with */
        memcpy(&first, buf_front(&k->files[x.first]) + 24, sizeof(first));
        MUST(first > 1);
    }
    replay(k, &x, first);
    desk_free(k);
}
END_TEST

START_TEST(a_copy_of_what_is_damaged_says_so)
{
    static const struct {
        uint32_t segment;
        size_t offset;
    } bits[] = {{1, 30}, {1, 5000}, {2, 40000}, {3, 4}, {3, 4096}, {3, 4500}};
    struct desk *k = desk_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;

    world_fill_to(k->w, 3);
    world_fill(k->w, 1, 1);
    x = extent(k);
    world_segment(k->w, bits[_i].segment)->data[bits[_i].offset] ^= 1;
    y = copy_new(k->copier, &x);
    MUST_EQ(take(k, y, &segments), -EBADMSG);
    MUST(strstr(copy_piece(y)->text, "/disk/") != NULL);
    /* A header is looked at with the end of the one before. */
    MUST(segments == bits[_i].segment - 1 ||
         (segments == 1 && bits[_i].segment == 3));
    MUST(!copy_read(y));
    copy_free(y);
    world_segment(k->w, bits[_i].segment)->data[bits[_i].offset] ^= 1;
    desk_free(k);
}
END_TEST

START_TEST(a_copy_ends_where_it_should_or_says_so)
{
    struct desk *k = desk_new();
    struct store_extent x;
    struct copy *y;
    uint32_t segments;
    int wanted = -EBADMSG;

    world_fill_to(k->w, 3);
    world_fill(k->w, 1, 1);
    x = extent(k);
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
        wanted = -EIO;
        disk_fail(&k->w->disk, _i == 6 ? CALL_OPEN : CALL_READ,
                  (uint64_t)_i - 5, wanted);
    }
    y = copy_new(k->copier, &x);
    MUST_EQ(take(k, y, &segments), wanted);
    MUST(strlen(copy_piece(y)->text) > 0);
    copy_free(y);
    desk_free(k);
}
END_TEST

START_TEST(a_copy_that_nobody_wants_goes_at_any_time)
{
    struct desk *k = desk_new();
    struct store_extent x;
    struct copy *y[20];

    world_fill_to(k->w, 4);
    x = extent(k);
    for (size_t i = 0; i < ARRAY_LEN(y); i++) {
        y[i] = copy_new(k->copier, &x);
        MUST(copy_read(y[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(y); i++)
        copy_free(y[ARRAY_LEN(y) - 1 - i]);
    y[0] = copy_new(k->copier, &x);
    MUST(copy_read(y[0]));
    wait_for(k, y[0]);
    copy_free(y[0]);
    desk_free(k);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {what_is_pinned_stays_until_the_pin_moves, 1},
        {a_pin_gives_way_when_there_is_no_room, 1},
        {a_pin_that_holds_nothing_back_stays_on_a_full_disk, 1},
        {a_copy_is_what_was_durable_when_it_began, 4},
        {a_copy_of_what_is_damaged_says_so, 6},
        {a_copy_ends_where_it_should_or_says_so, 10},
        {a_copy_that_nobody_wants_goes_at_any_time, 1},
    };

    return laws_run("copier", laws, ARRAY_LEN(laws));
}
