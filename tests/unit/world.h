/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world - a journal on a disk in memory (disk.h), and what it should hold.
 *
 * Entry n is the one of that sequence number. Its length and its bytes follow
 * from n and from the life in which it was appended: a life begins with each
 * opening, so that what is appended again after a crash differs. All that a
 * replay or a scan delivers is compared with that.
 */
#ifndef YOKE_TEST_WORLD_H
#define YOKE_TEST_WORLD_H

#include <poll.h>

#include "disk.h"
#include "store/segment.h"

#define SEGMENT      ((uint64_t)64 << 10)
#define ENTRIES_KEPT 16384

struct entry {
    uint64_t life;
    size_t len;
    struct store_place place;
};

struct world {
    struct disk disk;
    struct store_io io;
    struct store_journal_options options;
    struct store *s;
    char text[STORE_TEXT_MAX];
    uint64_t life;      /* counts the openings */
    size_t least, most; /* bytes of what is appended from now on */
    struct entry entries[ENTRIES_KEPT]; /* n is at n % ENTRIES_KEPT */
    uint64_t seen;                      /* the last entry that came back ... */
    uint32_t segment;                   /* ... and where it was */
};

static inline struct world *world_new(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));

    disk_init(&w->disk, seed);
    w->io = disk_io(&w->disk);
    w->options = (struct store_journal_options){
        .dir = "/disk", .segment_bytes = SEGMENT, .io = &w->io};
    w->least = 1;
    w->most = 120;
    return w;
}

static inline struct entry *world_entry(struct world *w, uint64_t n)
{
    return &w->entries[n % ENTRIES_KEPT];
}

/* Its bytes. */
static inline void world_bytes(struct world *w, uint64_t n, char *to)
{
    const struct entry *e = world_entry(w, n);
    uint64_t first = mix(n * 31 + e->life);

    for (size_t i = 0; i < e->len; i += sizeof(uint64_t)) {
        uint64_t word = mix(first + i);
        size_t left = e->len - i;

        memcpy(to + i, &word, left < sizeof(word) ? left : sizeof(word));
    }
}

static inline void world_must_be(struct world *w, uint64_t n, const void *data,
                                 size_t len, struct store_place place)
{
    const struct entry *e = world_entry(w, n);
    char *want = mem_alloc(e->len + 1);

    MUST_EQ(len, e->len);
    world_bytes(w, n, want);
    MUST(memcmp(data, want, len) == 0);
    mem_free(want);
    if (e->place.offset == 0) /* it waited for room */
        return;
    MUST_EQ(place.segment, e->place.segment);
    MUST_EQ(place.offset, e->place.offset);
}

/* A store_replay_fn: entries come in order. */
static inline int world_see(void *arg, const void *data, size_t len,
                            struct store_place place)
{
    struct world *w = arg;

    world_must_be(w, ++w->seen, data, len, place);
    MUST(place.segment >= w->segment);
    w->segment = place.segment;
    return 0;
}

/* In one piece, or in small ones of another size each time. */
static inline int world_replay(struct world *w)
{
    uint64_t most = w->life % 3 == 0 ? UINT64_MAX : w->life * 777 % 5000;
    int rc;

    do
        rc = store_replay_some(w->s, most, world_see, w, w->text);
    while (rc == 1);
    return rc;
}

/* Opens and replays, expecting entries from `first` on; what cannot be is
 * closed, and said. */
static inline int world_open_from(struct world *w, uint64_t first)
{
    int rc;

    w->seen = first - 1;
    w->segment = 0;
    w->life++;
    w->text[0] = '\0';
    w->s = NULL;
    rc = store_journal_open(&w->options, &w->s, w->text);
    if (rc == 0)
        rc = world_replay(w);
    if (rc != 0) {
        store_close(w->s);
        w->s = NULL;
    }
    MUST_EQ(w->text[0] != '\0', rc != 0);
    return rc;
}

static inline int world_open(struct world *w)
{
    return world_open_from(w, 1);
}

static inline void world_all_closed(const struct world *w)
{
    for (int i = 0; i < FDS_MAX; i++)
        MUST_EQ(w->disk.fds[i], -1);
}

static inline void world_close(struct world *w)
{
    store_close(w->s);
    w->s = NULL;
    world_all_closed(w);
}

static inline void world_free(struct world *w)
{
    if (w->s)
        world_close(w);
    disk_clear(&w->disk);
    mem_free(w);
}

static inline int world_append(struct world *w)
{
    uint64_t n = w->s->appended + 1, pos = 0;
    struct entry *e = world_entry(w, n);
    char *data = mem_alloc(w->most);
    int rc;

    e->life = w->life;
    e->len = w->least + mix(n * 31 + e->life) % (w->most - w->least + 1);
    world_bytes(w, n, data);
    rc = store_append(w->s, data, e->len, &pos);
    e->place = w->s->place;
    MUST_EQ(pos, rc == 0 ? n : 0);
    mem_free(data);
    return rc;
}

/* Until the helper has done something, if there is one. */
static inline void world_wait(struct world *w)
{
    struct pollfd p = {.fd = w->s->fd, .events = POLLIN};

    if (w->options.threaded)
        MUST_EQ(poll(&p, 1, 30000), 1);
    store_tick(w->s);
}

/* All that is appended, but for what waits for room. */
static inline void world_commit(struct world *w)
{
    bool held = false;

    while (w->s->durable < w->s->appended && !held) {
        store_commit(w->s);
        if (w->s->busy && !w->s->held)
            world_wait(w);
        store_tick(w->s);
        MUST_SAY(store_error(w->s, w->text) == 0, "%s", w->text);
        held = w->s->held;
    }
}

/* That many entries, committed in groups. */
static inline void world_fill(struct world *w, unsigned entries, unsigned group)
{
    for (unsigned i = 1; i <= entries; i++) {
        MUST_EQ(world_append(w), 0);
        if (i % group == 0)
            world_commit(w);
    }
    world_commit(w);
}

static inline void world_fill_to(struct world *w, uint32_t segment)
{
    while (w->s->segment < segment)
        world_fill(w, 1, 1);
}

/* Behind its frame. */
static inline size_t world_end(struct world *w, uint64_t n)
{
    const struct entry *e = world_entry(w, n);

    return e->place.offset + segment_frame_size(e->len);
}

static inline const char *segment_name(uint32_t number)
{
    static char name[NAME_MAX_];

    (void)snprintf(name, sizeof(name), "%010" PRIu32 ".yj", number);
    return name;
}

static inline struct content *world_segment(struct world *w, uint32_t number)
{
    return disk_file(&w->disk, segment_name(number));
}

static inline struct store_stats world_stats(const struct world *w)
{
    struct store_stats stats;

    store_stats(w->s, &stats);
    return stats;
}

/* What the oldest segment begins with: its header says so. */
static inline uint64_t world_first(struct world *w)
{
    struct segment_dir dir = {.io = &w->io, .path = "/disk", .fd = -1};
    struct segment_header h;
    uint32_t least = UINT32_MAX, number;
    uint64_t size;

    for (int i = 0; i < FILES_MAX; i++)
        if (w->disk.names[i].inode >= 0 &&
            segment_parse_name(w->disk.names[i].text, &number) ==
                SEGMENT_NAME_USED &&
            number < least)
            least = number;
    if (least == UINT32_MAX)
        return 1;
    MUST_EQ(segment_read_header(&dir, least, &h, &size, w->text), 0);
    return h.first;
}

#endif
