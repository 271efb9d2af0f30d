/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store that keeps nothing: an entry is durable as soon as it is appended,
 * because there is no restart that could miss it. It counts, so that INFO
 * shows the same figures whatever the store is.
 */
#include "base/mem.h"
#include "store/store.h"

struct memory {
    struct store base;
    uint64_t bytes;
};

static int memory_replay(struct store *s, uint64_t most, store_replay_fn *fn,
                         void *arg, char text[STORE_TEXT_MAX])
{
    (void)s;
    (void)most;
    (void)fn;
    (void)arg;
    text[0] = '\0';
    return 0;
}

static int memory_append(struct store *s, const void *data, size_t len,
                         uint64_t *pos)
{
    struct memory *m = container_of(s, struct memory, base);

    (void)data;
    m->bytes += len;
    *pos = s->durable = ++s->appended;
    return 0;
}

static void memory_nothing(struct store *s)
{
    (void)s;
}

static int memory_error(const struct store *s, char text[STORE_TEXT_MAX])
{
    (void)s;
    text[0] = '\0';
    return 0;
}

static void memory_trim(struct store *s, uint32_t segment)
{
    (void)s;
    (void)segment;
}

static void memory_extent(const struct store *s, struct store_extent *out)
{
    (void)s;
    *out = (struct store_extent){.dir = NULL};
}

static void memory_pin(struct store *s, uint32_t segment)
{
    s->pinned = segment;
}

static void memory_bound(struct store *s, uint64_t disk_max)
{
    (void)s;
    (void)disk_max;
}

static int memory_scan(struct store *s, size_t bytes, store_replay_fn *fn,
                       void *arg, size_t *got, char text[STORE_TEXT_MAX])
{
    (void)s;
    (void)bytes;
    (void)fn;
    (void)arg;
    *got = 0;
    text[0] = '\0';
    return 0;
}

static void memory_read(struct store *s, struct store_place place)
{
    (void)s;
    (void)place;
    BUG("the store that keeps nothing names no places");
}

static bool memory_take(struct store *s, struct store_answer *out)
{
    (void)s;
    (void)out;
    return false;
}

static void memory_stats(const struct store *s, struct store_stats *out)
{
    const struct memory *m = container_of(s, const struct memory, base);

    *out = (struct store_stats){.entries = s->appended,
                                .bytes = m->bytes,
                                .first_segment = s->segment,
                                .last_segment = s->segment};
}

static void memory_close(struct store *s)
{
    mem_free(container_of(s, struct memory, base));
}

static const struct store_ops memory_ops = {
    .replay = memory_replay,
    .append = memory_append,
    .commit = memory_nothing,
    .error = memory_error,
    .trim = memory_trim,
    .extent = memory_extent,
    .pin = memory_pin,
    .bound = memory_bound,
    .scan = memory_scan,
    .read = memory_read,
    .take = memory_take,
    .tick = memory_nothing,
    .stats = memory_stats,
    .close = memory_close,
};

struct store *store_memory_open(void)
{
    struct memory *m = mem_zalloc(sizeof(*m));

    m->base = (struct store){
        .ops = &memory_ops, .segment = 1, .pinned = STORE_UNPINNED, .fd = -1};
    return &m->base;
}
