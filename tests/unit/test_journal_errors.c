/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the disk refuses, at each of the journal's calls: it is told, undone as
 * far as it was begun, and costs nothing that was durable.
 */
#include "laws.h"
#include "store/salvage.h"
#include "world.h"

#define ENTRIES 40u   /* three segments and a bit */
#define LEN     5000u /* bytes of an entry, about */

static struct world *world_long(void)
{
    struct world *w = world_new(1);

    w->least = LEN - 100;
    w->most = LEN;
    return w;
}

/* All entries are there, and go on being taken. */
static void must_be_whole(struct world *w, uint64_t entries)
{
    MUST_SAY(world_open(w) == 0, "%s", w->text);
    MUST_EQ(w->seen, entries);
    world_fill(w, 1, 1);
    world_close(w);
}

/* A journal that has all that a start can meet: segments, a torn tail, two
 * spares, one of which is too long. */
static struct world *world_left(void)
{
    struct world *w = world_long();
    struct content *last;
    int fd;

    MUST_EQ(world_open(w), 0);
    world_fill(w, ENTRIES, 1);
    MUST_EQ(w->s->segment, 4);
    world_close(w);
    last = world_segment(w, 4);
    last->data[last->size - 100] = 't';
    for (int i = 8; i < 10; i++) {
        char name[NAME_MAX_];

        (void)snprintf(name, sizeof(name), "spare-%010d", i);
        fd = disk_open(&w->disk, name, O_CREAT, 0600);
        MUST_EQ(disk_ftruncate(&w->disk, fd, SEGMENT + 4096), 0);
        MUST_EQ(disk_close(&w->disk, fd), 0);
    }
    return w;
}

/* -- The start ----------------------------------------------------------- */

static const struct {
    enum call kind;
    int with;
} faults[] = {{CALL_OPEN, -EACCES},   {CALL_READ, -EIO},
              {CALL_WRITE, -EIO},     {CALL_WRITE, -ENOSPC},
              {CALL_WRITE, 0},        {CALL_FDATASYNC, -EIO},
              {CALL_FSYNC, -EIO},     {CALL_RENAME, -EIO},
              {CALL_UNLINK, -EACCES}, {CALL_FTRUNCATE, -EIO}};

/* Either the start says so and leaves nothing open, or it can do without. */
START_TEST(an_error_at_any_call_of_a_start_costs_nothing)
{
    bool more = true;

    for (uint64_t n = 1; more; n++) {
        struct world *w = world_left();
        int rc;

        disk_fail(&w->disk, faults[_i].kind, n, faults[_i].with);
        rc = world_open(w);
        more = w->disk.failed;
        if (rc != 0) {
            MUST(more && w->text[0] != '\0');
            MUST_EQ(rc, faults[_i].with ? faults[_i].with : -EIO);
            world_all_closed(w);
        } else {
            MUST_EQ(w->seen, ENTRIES);
            world_close(w);
        }
        disk_fail(&w->disk, CALL_OPEN, 0, 0);
        must_be_whole(w, ENTRIES);
        world_free(w);
    }
}
END_TEST

START_TEST(an_error_at_any_call_of_the_first_start_costs_nothing)
{
    bool more = true;

    for (uint64_t n = 1; more; n++) {
        struct world *w = world_long();
        int rc;

        disk_fail(&w->disk, faults[_i].kind, n, faults[_i].with);
        rc = world_open(w);
        more = w->disk.failed;
        MUST(rc == 0 || (more && w->text[0] != '\0'));
        if (w->s)
            world_close(w);
        disk_fail(&w->disk, CALL_OPEN, 0, 0);
        must_be_whole(w, 0);
        world_free(w);
    }
}
END_TEST

static int no_locks(void *arg, int fd)
{
    (void)arg, (void)fd;
    return -ENOLCK;
}

START_TEST(a_directory_that_cannot_be_listed_or_locked_is_refused)
{
    struct world *w = world_left();
    int rc;

    if (_i == 0)
        w->io.list = disk_list_refused;
    else
        w->io.lock = no_locks;
    rc = world_open(w);
    MUST_EQ(rc, _i == 0 ? -EACCES : -ENOLCK);
    MUST(strstr(w->text, strerror(-rc)) && strstr(w->text, "/disk"));
    w->io.list = disk_list;
    w->io.lock = disk_lock;
    must_be_whole(w, ENTRIES);
    world_free(w);
}
END_TEST

START_TEST(a_segment_has_64_kib_to_1_gib_and_a_directory_a_bounded_name)
{
    struct world *w = world_long();
    char *dir = mem_zalloc(SEGMENT_PATH_MAX);

    memset(dir, 'd', SEGMENT_PATH_MAX - 31);
    dir[0] = '/';
    w->options.segment_bytes = SEGMENT - 1;
    MUST_EQ(world_open(w), -EINVAL);
    MUST(w->text[0] != '\0');
    w->options.segment_bytes = ((uint64_t)1 << 30) + 1;
    MUST_EQ(world_open(w), -EINVAL);
    w->options.segment_bytes = SEGMENT;
    w->options.dir = dir;
    MUST_EQ(world_open(w), -EINVAL);
    dir[SEGMENT_PATH_MAX - 32] = '\0';
    must_be_whole(w, 0);
    mem_free(dir);
    world_free(w);
}
END_TEST

/* -- Reading ------------------------------------------------------------- */

START_TEST(a_read_may_bring_less_than_was_asked_for)
{
    static const size_t most[] = {1, 100, 4095, 4096, 5000};
    struct world *w = world_left();
    size_t got = 1;

    w->disk.read_most = most[_i];
    must_be_whole(w, ENTRIES);
    MUST_EQ(world_open(w), 0);
    w->seen = w->segment = 0;
    while (got > 0)
        MUST_EQ(store_scan(w->s, 3 * LEN, world_see, w, &got, w->text), 0);
    MUST_EQ(w->segment, 3);
    world_free(w);
}
END_TEST

/* A file that ends before its size: what is missing was in the middle, or at
 * the end. */
static int64_t cut_size(void *arg, int fd)
{
    int64_t size = disk_size(arg, fd);

    return size > 0 ? size + 8192 : size;
}

START_TEST(a_file_that_is_shorter_than_it_says_is_read_to_its_end)
{
    struct world *w = world_left();

    w->io.size = cut_size;
    must_be_whole(w, ENTRIES);
    world_free(w);
}
END_TEST

/* Entries are delivered once and in order, whatever was in between. */
START_TEST(a_scan_tells_any_error_and_goes_on_where_it_was)
{
    static const enum call kinds[] = {CALL_OPEN, CALL_READ};
    bool more = true;

    for (uint64_t n = 1; more; n++) {
        struct world *w = world_left();
        unsigned errors = 0;
        size_t got = 1;

        MUST_EQ(world_open(w), 0);
        w->seen = w->segment = 0;
        disk_fail(&w->disk, kinds[_i], n, -EIO);
        while (got > 0) {
            int rc = store_scan(w->s, LEN, world_see, w, &got, w->text);

            MUST_EQ(rc == 0, w->text[0] == '\0');
            if (rc == 0)
                continue;
            MUST_EQ(rc, -EIO);
            MUST(strstr(w->text, "00000") && strstr(w->text, strerror(EIO)));
            errors++;
            got = 1;
        }
        more = w->disk.failed;
        MUST_EQ(errors, more);
        MUST_EQ(w->segment, 3);
        MUST(w->seen > ENTRIES / 2);
        world_free(w);
    }
}
END_TEST

START_TEST(only_ten_digits_name_a_segment_or_a_spare)
{
    static const struct {
        const char *name;
        enum segment_name kind;
        uint32_t number;
    } names[] = {
        {"0000000001.yj", SEGMENT_NAME_USED, 1},
        {"4294967295.yj", SEGMENT_NAME_USED, UINT32_MAX},
        {"4294967296.yj", SEGMENT_NAME_OTHER, 0},
        {"0000000000.yj", SEGMENT_NAME_OTHER, 0},
        {"000000001.yj", SEGMENT_NAME_OTHER, 0},
        {"00000000010.yj", SEGMENT_NAME_OTHER, 0},
        {"0000000001.yj~", SEGMENT_NAME_OTHER, 0},
        {"000000000a.yj", SEGMENT_NAME_OTHER, 0},
        {"-000000001.yj", SEGMENT_NAME_OTHER, 0},
        {"spare-0000000007", SEGMENT_NAME_SPARE, 7},
        {"spare-0000000007.yj", SEGMENT_NAME_OTHER, 0},
        {"spare-0000000000", SEGMENT_NAME_OTHER, 0},
        {"spare-", SEGMENT_NAME_OTHER, 0},
        {"lock", SEGMENT_NAME_OTHER, 0},
        {"", SEGMENT_NAME_OTHER, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        uint32_t number = 0;

        MUST_SAY(segment_parse_name(names[i].name, &number) == names[i].kind,
                 "%s", names[i].name);
        MUST_EQ(number, names[i].number);
    }
}
END_TEST

/* Whether the entry there was ever acknowledged cannot be told: it is not cut
 * off then. */
START_TEST(a_tail_that_could_be_frames_for_ever_is_refused)
{
    struct world *w = world_long();
    struct content *c, before;
    size_t from;

    w->options.segment_bytes = (uint64_t)4 << 20;
    MUST_EQ(world_open(w), 0);
    world_fill(w, 3, 1);
    world_close(w);
    c = world_segment(w, 1);
    from = c->size;
    while (c->data[from - 1] == 0)
        from--;
    for (size_t at = from; at + 32 < c->size; at += 16) {
        uint32_t head[4] = {1, 1, (uint32_t)(c->size - at - 16), 1};

        memcpy(c->data + at, head, sizeof(head));
    }
    before = (struct content){mem_dup(c->data, c->size), c->size};
    MUST_EQ(world_open(w), -EBADMSG);
    MUST_SAY(strstr(w->text, "looks like frames"), "%s", w->text);
    MUST(c->size == before.size && memcmp(c->data, before.data, c->size) == 0);
    mem_free(before.data);
    world_free(w);
}
END_TEST

/* The next segment that is opened to be read only: not a file of another
 * thread, which looks at spares and makes some meanwhile. */
static int refuse;

static int open_refused(void *arg, const char *path, int flags, unsigned mode)
{
    int rc = refuse;

    if ((flags & O_ACCMODE) != O_RDONLY || !strstr(path, ".yj") || rc == 0)
        return disk_open(arg, path, flags, mode);
    refuse = 0;
    return rc;
}

/* That it is put off, and then, when it can be read, with what is there. */
START_TEST(a_read_of_one_entry_is_answered_whatever_fails)
{
    static const int errors[] = {-EACCES, -EMFILE, -ENFILE, -ENOMEM};
    struct world *w = world_left();
    struct pollfd p = {.events = POLLIN};
    struct store_answer answer;
    struct store_place place;
    bool said = false;

    w->options.threaded = true;
    w->io.open = open_refused;
    MUST_EQ(world_open(w), 0);
    world_fill(w, 1, 1);
    place = w->s->place;
    refuse = errors[_i];
    store_read(w->s, place);
    p.fd = w->s->fd;
    while (!said) {
        MUST_EQ(poll(&p, 1, 30000), 1);
        store_tick(w->s);
        said = store_take(w->s, &answer) && answer.error != -EAGAIN;
    }
    MUST_EQ(refuse, 0);
    MUST(memcmp(&answer.place, &place, sizeof(place)) == 0);
    MUST_EQ(answer.error, 0);
    world_must_be(w, ENTRIES + 1, answer.data, answer.len, place);
    world_free(w);
}
END_TEST

/* -- Trimming ------------------------------------------------------------ */

/* With room for one spare the first becomes the other one, by rename; the next
 * goes, by unlink. */
START_TEST(a_segment_that_cannot_go_goes_with_the_next_trim)
{
    struct world *w = world_left();

    w->options.disk_max = 5 * SEGMENT;
    MUST_EQ(world_open(w), 0);
    disk_fail(&w->disk, _i == 0 ? CALL_RENAME : CALL_UNLINK, 1, -EACCES);
    store_trim(w->s, 4);
    MUST(w->disk.failed);
    MUST_EQ(store_error(w->s, w->text), 0);
    MUST(world_stats(w).first_segment < 4);
    world_fill(w, 1, 1);
    store_trim(w->s, 4);
    MUST_EQ(world_stats(w).first_segment, 4);
    MUST_EQ(disk_names(&w->disk, "0"), 1);
    world_free(w);
}
END_TEST

/* Whether the name is gone is not known then, so that nothing may follow. */
START_TEST(a_directory_that_cannot_be_synced_is_final)
{
    struct world *w = world_left();
    uint64_t calls;

    MUST_EQ(world_open(w), 0);
    disk_fail(&w->disk, CALL_FSYNC, 1, -EIO);
    store_trim(w->s, 2);
    MUST_EQ(store_error(w->s, w->text), -EIO);
    MUST(strstr(w->text, "directory"));
    calls = w->disk.calls;
    MUST_EQ(world_append(w), -EIO);
    store_commit(w->s);
    store_trim(w->s, 4);
    store_tick(w->s);
    MUST_EQ(w->disk.calls, calls);
    MUST_EQ(w->s->durable, ENTRIES);
    world_free(w);
}
END_TEST

/* With threads it may be an append that waits for the next segment meanwhile:
 * it must not wait for ever. */
START_TEST(an_append_during_a_failed_trim_is_refused)
{
    struct world *w = world_left();
    int rc = 0;

    w->options.threaded = true;
    MUST_EQ(world_open(w), 0);
    world_fill(w, 1, 1);
    disk_fail(&w->disk, CALL_FSYNC, 1, -EIO);
    store_trim(w->s, 2);
    for (unsigned i = 0; i < 10 * ENTRIES && rc == 0; i++)
        rc = world_append(w);
    MUST_EQ(rc, -EIO);
    MUST_EQ(store_error(w->s, w->text), -EIO);
    world_free(w);
}
END_TEST

/* -- Room ---------------------------------------------------------------- */

START_TEST(a_starved_journal_asks_again_by_itself)
{
    struct world *w = world_long();
    struct pollfd p = {.events = POLLIN};

    w->options.threaded = true;
    w->disk.room = 2 * SEGMENT;
    MUST_EQ(world_open(w), 0);
    while (!w->s->full) {
        MUST_EQ(world_append(w), 0);
        store_tick(w->s);
    }
    MUST_EQ(pthread_mutex_lock(&w->disk.mutex), 0);
    w->disk.room = NO_LIMIT;
    MUST_EQ(pthread_mutex_unlock(&w->disk.mutex), 0);
    p.fd = w->s->fd;
    while (w->s->full) {
        MUST_EQ(poll(&p, 1, 30000), 1);
        store_tick(w->s);
    }
    world_free(w);
}
END_TEST

START_TEST(a_store_in_memory_has_nothing_to_scan)
{
    struct store *s = store_memory_open();
    char text[STORE_TEXT_MAX] = "none";
    size_t got = 1;
    uint64_t pos;

    MUST_EQ(store_replay(s, world_see, NULL, text), 0);
    MUST_EQ(store_append(s, "x", 1, &pos), 0);
    MUST_EQ(store_scan(s, 1000, world_see, NULL, &got, text), 0);
    MUST_EQ(got, 0);
    MUST(text[0] == '\0');
    store_close(s);
}
END_TEST

int main(void)
{
    enum { ALL = ARRAY_LEN(faults) };
    const struct law laws[] = {
        {an_error_at_any_call_of_a_start_costs_nothing, ALL},
        {an_error_at_any_call_of_the_first_start_costs_nothing, ALL},
        {a_directory_that_cannot_be_listed_or_locked_is_refused, 2},
        {a_segment_has_64_kib_to_1_gib_and_a_directory_a_bounded_name, 1},
        {a_read_may_bring_less_than_was_asked_for, 5},
        {a_file_that_is_shorter_than_it_says_is_read_to_its_end, 1},
        {a_scan_tells_any_error_and_goes_on_where_it_was, 2},
        {a_tail_that_could_be_frames_for_ever_is_refused, 1},
        {a_read_of_one_entry_is_answered_whatever_fails, 4},
        {only_ten_digits_name_a_segment_or_a_spare, 1},
        {a_segment_that_cannot_go_goes_with_the_next_trim, 2},
        {a_directory_that_cannot_be_synced_is_final, 1},
        {an_append_during_a_failed_trim_is_refused, 20},
        {a_starved_journal_asks_again_by_itself, 1},
        {a_store_in_memory_has_nothing_to_scan, 1},
    };

    return laws_run("journal errors", laws, ARRAY_LEN(laws));
}
