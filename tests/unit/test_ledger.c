/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When the journal is compacted, with a store that is as short of room as a
 * test wants it.
 */
#include "daemon.h"
#include "laws.h"
#include "server/ledger.h"

#define SEGMENT     ((int64_t)64 << 10)
#define SPARED      (SEGMENT / 16)
#define ENTRIES_MAX 64

struct world {
    struct store base;
    struct store_stats stats;
    struct {
        char *data;
        size_t len;
        struct store_place place;
    } entries[ENTRIES_MAX];
    size_t nentries, scanned;
    size_t full_at; /* so many entries; 0: never */
    struct ledger ledger;
};

static int append(struct store *s, const void *data, size_t len, uint64_t *pos)
{
    struct world *w = container_of(s, struct world, base);
    struct store_place place = {s->segment, (uint32_t)w->nentries + 1};

    ck_assert_uint_lt(w->nentries, ENTRIES_MAX);
    w->entries[w->nentries].data = mem_dup(data, len);
    w->entries[w->nentries].len = len;
    w->entries[w->nentries++].place = s->place = place;
    *pos = s->durable = ++s->appended;
    s->full = s->full || w->nentries == w->full_at;
    return 0;
}

static int scan(struct store *s, size_t bytes, store_replay_fn *fn, void *arg,
                size_t *got, char text[STORE_TEXT_MAX])
{
    struct world *w = container_of(s, struct world, base);
    int rc = 0;

    (void)text;
    *got = 0;
    while (rc == 0 && *got < bytes && w->scanned < w->nentries &&
           w->entries[w->scanned].place.segment < s->segment) {
        rc = fn(arg, w->entries[w->scanned].data, w->entries[w->scanned].len,
                w->entries[w->scanned].place);
        if (rc == 0)
            *got += w->entries[w->scanned++].len;
    }
    return rc;
}

static int no_error(const struct store *s, char text[STORE_TEXT_MAX])
{
    (void)s, (void)text;
    return 0;
}

static void trim(struct store *s, uint32_t segment)
{
    (void)s, (void)segment;
}

static bool take_nothing(struct store *s, struct store_answer *out)
{
    (void)s, (void)out;
    return false;
}

static void nothing(struct store *s)
{
    (void)s;
}

static void stats(const struct store *s, struct store_stats *out)
{
    *out = container_of(s, const struct world, base)->stats;
}

static const struct store_ops ops = {.append = append,
                                     .commit = nothing,
                                     .error = no_error,
                                     .trim = trim,
                                     .scan = scan,
                                     .take = take_nothing,
                                     .tick = nothing,
                                     .stats = stats};

static void on_reply(struct ledger *l, const struct core_effect *effect)
{
    const char *text = l->effects.values.data + effect->at;

    ck_assert_msg(text[0] != '-', "%.*s", (int)effect->len, text);
}

static int64_t on_watched(struct ledger *l)
{
    (void)l;
    return 0;
}

static uint64_t on_random(struct ledger *l)
{
    (void)l;
    return 1;
}

static void on_full(struct ledger *l)
{
    (void)l;
}

static void on_put_off(struct ledger *l, struct str why)
{
    (void)l;
    (void)why;
}

static const struct ledger_hooks hooks = {.reply = on_reply,
                                          .watched = on_watched,
                                          .random = on_random,
                                          .full = on_full,
                                          .put_off = on_put_off};

/* A segment of so many jobs. */
static void fill(struct world *w, const char *queue, unsigned len)
{
    static const char bytes[3 << 10];

    for (unsigned i = 0; i < len; i++) {
        struct core_event ev = a_job(queue);

        ev.client.n = 1;
        ev.u.submit.payload = (struct str){bytes, sizeof(bytes)};
        ledger_step(&w->ledger, &ev);
    }
    w->stats.last_segment = ++w->base.segment;
}

static struct world *world_new(void)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct core_limits limits;

    w->base = (struct store){.ops = &ops, .segment = 1, .fd = -1};
    w->base.pinned = STORE_UNPINNED;
    w->stats = (struct store_stats){.first_segment = 1,
                                    .last_segment = 1,
                                    .scan_segment = 1,
                                    .segment_bytes = (uint64_t)SEGMENT};
    core_limits_init(&limits);
    ledger_init(&w->ledger, &hooks, &limits, &w->base);
    w->ledger.now_ms = DAEMON_START;
    core_replay_end(w->ledger.core);
    ledger_start(&w->ledger, 1);
    fill(w, "first", 16);
    fill(w, "second", 32);
    return w;
}

static void world_free(struct world *w)
{
    ledger_clear(&w->ledger);
    for (size_t i = 0; i < w->nentries; i++)
        mem_free(w->entries[i].data);
    mem_free(w);
}

/* Half a segment more than it may be where room is short. */
static void make_long(struct world *w)
{
    w->stats.used_bytes =
        (uint64_t)(core_live_bytes(w->ledger.core) + SEGMENT + SEGMENT / 2);
}

/* Is the journal compacted with that much room? */
static bool compacts(struct world *w, int64_t room)
{
    w->base.room = (uint64_t)room;
    ledger_second(&w->ledger);
    return w->ledger.compaction.on &&
           (!w->base.full || w->ledger.compaction.worth);
}

START_TEST(where_room_is_short_the_oldest_segment_must_fit_into_it)
{
    struct world *w = world_new();
    int64_t oldest = core_oldest_bytes(w->ledger.core);

    ck_assert_int_gt(oldest, SEGMENT / 2);
    make_long(w);
    ck_assert(!compacts(w, 10 * SEGMENT));
    w->base.narrow = true;
    w->base.full = _i == 1;
    ck_assert(!compacts(w, oldest + SPARED - 1));
    ck_assert(compacts(w, oldest + SPARED));
    ck_assert(compacts(w, 10 * SEGMENT));
    /* What is in it stays, for it has been read. */
    w->stats.scan_segment = 2; /* or its last entry lies there */
    ck_assert(compacts(w, 10 * SEGMENT));
    w->stats.scan_segment = 3;
    ck_assert(!compacts(w, 10 * SEGMENT));
    world_free(w);
}
END_TEST

START_TEST(a_disk_that_gets_full_is_looked_at_before_more_is_written_again)
{
    struct world *w = world_new();
    size_t before = w->nentries;

    make_long(w);
    w->base.narrow = true;
    ck_assert(compacts(w, 10 * SEGMENT));
    w->full_at = before + 3;
    w->base.room = SPARED; /* when it is */
    for (int i = 0; i < 10; i++)
        ledger_commit(&w->ledger);
    ck_assert(w->base.full);
    ck_assert_uint_eq(w->nentries, before + 3);
    ck_assert(!compacts(w, core_oldest_bytes(w->ledger.core)));
    ck_assert(compacts(w, core_oldest_bytes(w->ledger.core) + SPARED));
    world_free(w);
}
END_TEST

START_TEST(when_it_was_no_use_what_dies_is_as_good_as_what_comes)
{
    struct world *w = world_new();
    struct core_event ev = {.kind = EVENT_QUEUE_PURGE,
                            .client.n = 1,
                            .u.queue.name = STR("second")};

    make_long(w);
    w->base.narrow = true;
    ck_assert(compacts(w, 10 * SEGMENT));
    w->ledger.compaction.written += 2 * w->stats.used_bytes + 1;
    ck_assert(!compacts(w, 10 * SEGMENT));
    ck_assert(!compacts(w, 10 * SEGMENT));
    ledger_step(&w->ledger, &ev);
    ck_assert(compacts(w, 10 * SEGMENT));
    world_free(w);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {where_room_is_short_the_oldest_segment_must_fit_into_it, 2},
        {a_disk_that_gets_full_is_looked_at_before_more_is_written_again, 1},
        {when_it_was_no_use_what_dies_is_as_good_as_what_comes, 1},
    };

    return laws_run("ledger", laws, ARRAY_LEN(laws));
}
