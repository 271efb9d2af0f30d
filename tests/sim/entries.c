/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "base/mem.h"
#include "core/record.h"
#include "world.h"

static void entry_append(void *world, const void *data, size_t len)
{
    struct world *w = world;

    if (w->nentries == w->entries_cap) {
        w->entries_cap = w->entries_cap ? w->entries_cap * 2 : 1024;
        w->entries = mem_realloc(w->entries,
                                 mem_mul(w->entries_cap, sizeof(*w->entries)));
    }
    w->entries[w->nentries++] = (struct world_entry){
        .data = mem_dup(data, len),
        .len = len,
        .place = w->late.base.place,
        .says_nothing_new = w->compacting,
        .digest = w->uncertain ? core_digest(w->core) : 0,
    };
    world_hash(w, data, len);
}

/* The next one; its number is as good as an offset. The core hears of a segment
 * before the next event, what is appended by then begins it; the last entry of
 * every other segment has no room there. */
static struct store_place entry_place(void *world)
{
    const struct world *w = world;
    bool begins =
        !w->journal && w->nentries + w->segment_full % 2 >= w->segment_full;

    return (struct store_place){w->segment + begins, (uint32_t)w->nentries + 1};
}

/* Once and for all, as far as anybody reads it. */
static bool is_damaged(struct world *w, struct world_entry *e)
{
    if (w->damages && !e->damaged && !w->uncertain &&
        world_compact_random(w) % 1000 < (uint64_t)w->damages) {
        trace_note("entry %td is damaged", e - w->entries);
        e->damaged = true;
    }
    return e->damaged;
}

/* The image of one that is dead no more has none. */
static bool has_payload(const struct record *r)
{
    return (r->type == RECORD_JOB && r->u.job.payload.len > 0) ||
           (r->type == RECORD_JOB_IMAGE && r->u.job_image.job.payload.len > 0);
}

/* Is what was written of the job last, and so its payload, damaged? */
bool entries_payload_damaged(void *world, uint64_t id)
{
    const struct world *w = world;

    for (size_t i = w->nentries; i-- > 0;) { /* it may have been trimmed */
        const struct world_entry *e = &w->entries[i];
        size_t at = 0;
        struct record r;

        while (at < e->len && !record_decode(e->data, e->len, &at, &r))
            if (r.id == id && has_payload(&r))
                return e->damaged;
    }
    return false;
}

static int entry_find(void *world, struct store_place place, struct str *entry)
{
    struct world *w = world;
    struct world_entry *e;

    if (place.offset == 0 || place.offset > w->nentries)
        violation("an entry is asked for that never was");
    if (place.offset <= w->first)
        return -ENOENT;
    e = &w->entries[place.offset - 1];
    if (e->place.segment != place.segment)
        violation("entry %u is asked for where it is not", place.offset - 1);
    if (is_damaged(w, e))
        return -EBADMSG;
    *entry = (struct str){e->data, e->len};
    return 0;
}

struct core *entries_replay(struct world *w, size_t first, size_t n)
{
    struct core *c = core_new(&w->limits);
    char text[128] = "";

    for (size_t i = first; i < n; i++)
        if (core_replay(c, w->entries[i].data, w->entries[i].len,
                        w->entries[i].place.segment, text) != 0)
            violation("entry %zu does not replay: %s", i, text);
    core_replay_end(c);
    w->replayed += n - first;
    core_check(c);
    return c;
}

/* Segments go. What is left must be enough, whenever the crash comes. */
static void entries_trim(void *world, uint32_t segment)
{
    struct world *w = world;
    size_t before = w->first, first = w->first, durable = w->late.base.durable;
    struct core *c, *then;

    while (first < w->nentries && w->entries[first].place.segment < segment)
        first++;
    if (!w->journal) /* there a crash shows which files are gone */
        w->first = first;
    if (!w->crashes)
        return;
    c = entries_replay(w, first, w->nentries);
    if (core_digest(c) != core_digest(w->core))
        violation("what a trim leaves is less than what there was");
    if (!core_keeps_ends(c, w->core))
        violation("a trim takes an outcome away, or changes how long it is "
                  "kept");
    model_numbers_left(w->model, &w->eyes, c);
    core_free(c);
    if (first > durable)
        violation("a trim takes entries away that nothing durable replaces");
    if (durable == w->nentries)
        return;
    c = entries_replay(w, first, durable);
    then = entries_replay(w, before, durable);
    if (core_digest(c) != core_digest(then))
        violation("what a trim leaves is less until the next commit ends");
    core_free(c);
    core_free(then);
}

static int entries_read(void *world, uint64_t most, store_replay_fn *fn,
                        void *arg)
{
    struct world *w = world;
    uint64_t bytes = 0;

    for (; w->read < w->nentries; w->read++) {
        const struct world_entry *e = &w->entries[w->read];
        int rc;

        if (bytes >= most)
            return 1;
        rc = fn(arg, e->data, e->len, e->place);
        if (rc != 0)
            return rc;
        bytes += e->len;
        w->replayed++;
    }
    return 0;
}

/* What the store does: none of the segment of the last durable entry. */
static int entries_scan(void *world, size_t bytes, store_replay_fn *fn,
                        void *arg, size_t *got, struct store_place *place)
{
    struct world *w = world;
    size_t durable = w->late.base.durable;
    uint32_t end = durable ? w->entries[durable - 1].place.segment : 0;

    if (w->scanned < w->first)
        w->scanned = w->first;
    *got = 0;
    while (*got < bytes && w->scanned < durable &&
           w->entries[w->scanned].place.segment < end) {
        const struct world_entry e = w->entries[w->scanned];

        if (is_damaged(w, &w->entries[w->scanned])) {
            *place = e.place;
            return -EBADMSG;
        }
        w->scanned++;
        (void)fn(arg, e.data, e.len, e.place);
        *got += e.len;
    }
    return 0;
}

const struct late_hooks entries_hooks = {
    .scan = entries_scan,
    .appended = entry_append,
    .place = entry_place,
    .find = entry_find,
    .replay = entries_read,
    .trimmed = entries_trim,
};
