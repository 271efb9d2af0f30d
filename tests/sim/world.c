/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <errno.h>

#include "base/mem.h"

#define ARENA_BYTES   ((size_t)4 << 20)
#define SEGMENT_BYTES (64 << 10) /* as small as the journal allows */
#define TICKS_AT_ONCE 1000

uint64_t world_random(struct world *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t world_below(struct world *w, int64_t n)
{
    return (int64_t)(world_random(w) % (uint64_t)n);
}

bool world_chance(struct world *w, int percent)
{
    return world_below(w, 100) < percent;
}

/* ------------------------------------------------------------- snapshots */

static void snapshot_take(struct world *w)
{
    struct world_snapshot *s;

    if (w->nsnapshots == WORLD_SNAPSHOTS)
        world_commit(w);
    s = &w->snapshots[w->nsnapshots++];
    s->entries = w->nentries;
    memcpy(s->model, w->model, sizeof(*w->model));
}

/* What has no record is different, too: who is connected, whose grace is over.
 */
static void snapshot_again(struct world *w)
{
    if (w->nsnapshots > 0 &&
        w->snapshots[w->nsnapshots - 1].entries == w->nentries)
        memcpy(w->snapshots[w->nsnapshots - 1].model, w->model,
               sizeof(*w->model));
}

void world_hash(struct world *w, const char *bytes, size_t len)
{
    uint64_t h = w->answers, word;

    for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 29;
    }
    for (size_t i = len & ~(sizeof(word) - 1); i < len; i++)
        h = (h ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    w->answers = h ^ len;
}

uint64_t world_compact_random(struct world *w)
{
    w->compact_random =
        w->compact_random * 6364136223846793005u + 1442695040888963407u;
    return w->compact_random >> 33;
}

/* What was known before the last snapshot that is durable is not needed. */
static void snapshots_prune(struct world *w)
{
    int last = -1;

    for (int i = 0; i < w->nsnapshots; i++)
        if (w->snapshots[i].entries <= w->late.base.durable)
            last = i;
    for (int i = 0; last > 0 && i + last < w->nsnapshots; i++) {
        struct world_snapshot keep = w->snapshots[i + last];

        w->snapshots[i + last] = w->snapshots[i];
        w->snapshots[i] = keep;
    }
    if (last > 0)
        w->nsnapshots -= last;
}

static void healed(struct world *w)
{
    arena_reset(&w->arena);
    model_healed(w->model, &w->eyes);
}

/* With the commit that follows some of the oldest entries are written again,
 * which changes nothing. */
static void compact(struct world *w)
{
    uint64_t before = core_digest(w->core);
    size_t entries = w->nentries;

    ledger_commit(&w->ledger);
    w->ledger.now_ms = w->now;
    w->ledger.compaction.on = w->ledger.compaction.worth = true;
    w->ledger.compaction.credit = 1 + (int64_t)(world_compact_random(w) % 4000);
    w->compacting = true;
    ledger_commit(&w->ledger);
    w->compacting = false;
    w->ledger.compaction.on = false;
    if (entries != w->nentries)
        trace_note("compaction: %zu entries", w->nentries - entries);
    if (w->damages && !w->late.failed)
        healed(w);
    else if (core_digest(w->core) != before)
        violation("compaction changed the state");
    core_check(w->core);
    if (w->uncertain && w->nentries > entries)
        snapshot_take(w);
}

void world_turn(struct world *w)
{
    while (late_asked(&w->late) > 0 && !w->late.failed &&
           world_chance(w, w->damages ? 20 : 50))
        world_load(w);
    if (world_chance(w, 60))
        late_end(&w->late);
    if (!w->late.base.busy) {
        w->late.at_once = world_chance(w, 30);
        w->late.ahead = world_chance(w, 50);
    }
    ledger_tick(&w->ledger);
    if (w->compacts && !w->late.failed &&
        world_compact_random(w) % 100 < (uint64_t)w->compacts)
        compact(w);
    w->ledger.patient = ++w->turns % 10 == 0;
    ledger_commit(&w->ledger);
    w->ledger.patient = false;
    w->ledger.compaction.on = false;
    snapshots_prune(w);
}

void world_commit(struct world *w)
{
    ASSERT(!w->late.failed);
    /* Two: what came after a commit began is handed over when it has ended. */
    for (int i = 0; i < 2; i++) {
        late_end(&w->late);
        ledger_commit(&w->ledger);
        late_end(&w->late);
        ledger_commit(&w->ledger);
    }
    if (w->late.base.durable != w->nentries || ledger_has_work(&w->ledger) ||
        !list_empty(&w->ledger.flight))
        violation("something is left when all commits have ended");
    snapshots_prune(w);
}

/* --------------------------------------------------------------- clients */

static struct world_reader *reader_of(struct world *w, uint64_t client)
{
    struct world_reader *free = NULL;

    for (int i = 0; i < WORLD_READERS; i++) {
        struct world_reader *r = &w->readers[i];

        if (r->client == client)
            return r;
        if (!r->client && !free)
            free = r;
    }
    ASSERT(free);
    *free = (struct world_reader){.world = w, .client = client};
    ledger_reader_init(&free->reader);
    return free;
}

static void reader_forget(struct world *w, uint64_t client)
{
    for (int i = 0; i < WORLD_READERS; i++) {
        struct world_reader *r = &w->readers[i];

        if (r->client != client)
            continue;
        ledger_reader_clear(&r->reader);
        r->client = 0;
    }
    world_forget(w, client);
}

static struct world *world_of(struct ledger *l)
{
    return container_of(l, struct world, ledger);
}

static const struct node *value_of(struct world *w,
                                   const struct core_effect *effect)
{
    const char *value = w->ledger.effects.values.data + effect->at;
    struct buf *bytes = &w->arena.bytes;
    size_t at = bytes->len;

    if (effect->len > bytes->cap - at)
        violation("a reply is too large");
    buf_append(bytes, value, effect->len);
    world_hash(w, value, effect->len);
    return node_read(&w->arena, bytes->data + at, effect->len);
}

static void on_reply(struct ledger *l, const struct core_effect *effect)
{
    struct world *w = world_of(l);
    struct world_reader *r = reader_of(w, effect->client.n);
    const struct node *n = value_of(w, effect);

    if (w->nreplies == WORLD_REPLIES)
        violation("too many replies in one step");
    w->places[w->nreplies] = ++r->said;
    w->reply_entries[w->nreplies] = w->nentries;
    w->replies[w->nreplies++] =
        (struct model_reply){.client = effect->client.n, .n = n};
    trace_reply(effect->client.n, n);
    ledger_hold(l, &r->reader);
}

static void on_news(struct ledger *l, const struct core_effect *effect)
{
    struct world *w = world_of(l);

    watcher_told(&w->watcher, value_of(w, effect));
}

static void on_cut(struct ledger *l, struct client_id client)
{
    struct world *w = world_of(l);

    w->cut = w->eyes.cut = client.n;
}

static int64_t on_watched(struct ledger *l)
{
    return world_of(l)->watcher.on;
}

static uint64_t on_random(struct ledger *l)
{
    return world_random(world_of(l));
}

static uint64_t on_output_end(const struct ledger_reader *r)
{
    return container_of(r, const struct world_reader, reader)->said;
}

static void on_release(struct ledger_reader *r, uint64_t end)
{
    world_release(container_of(r, struct world_reader, reader), end);
}

static void on_full(struct ledger *l)
{
    trace_note("the disk %s", l->store->full     ? "is full"
                              : l->store->narrow ? "is narrow"
                                                 : "has room");
}

static void on_failed(struct ledger *l, int rc, const char *text)
{
    (void)l;
    trace_note("the store has failed: %d, %s", rc, text);
}

static void on_damaged(struct ledger *l, const char *text, bool ends)
{
    if (ends || !world_of(l)->damages)
        violation("compaction found damage: %s", text);
}

static void on_put_off(struct ledger *l, struct str why)
{
    (void)l;
    (void)why;
}

static const struct ledger_hooks ledger_hooks = {
    .reply = on_reply,
    .news = on_news,
    .cut = on_cut,
    .watched = on_watched,
    .random = on_random,
    .output_end = on_output_end,
    .release = on_release,
    .full = on_full,
    .put_off = on_put_off,
    .damaged = on_damaged,
    .failed = on_failed,
};

/* ----------------------------------------------------------------- steps */

/* What a step begins in a new segment is there when all before that is gone. */
static void roll_check(struct world *w)
{
    struct core *c = entries_replay(w, w->roll_from, w->nentries);
    struct core_event ev = {.kind = EVENT_START, .now_ms = w->now};
    struct core_effects effects;

    core_effects_init(&effects);
    core_step(c, &ev, &effects);
    core_effects_clear(&effects);
    for (int i = 0; i < w->model->njobs; i++) {
        const struct model_job *j = &w->model->jobs[i];

        if (j->used && j->group < 0 && j->state != MODEL_ENDED &&
            j->id > w->roll_newest &&
            !view_job(c, &w->arena, w->now, j->id).found)
            violation("job %llx is not to be found without the segments "
                      "before its own",
                      (unsigned long long)j->id);
    }
    core_free(c);
}

static void roll_begin(struct world *w)
{
    if (w->rolled)
        return;
    w->rolled = true;
    w->roll_from = w->nentries;
    w->roll_newest = 0;
    for (int i = 0; i < w->model->njobs; i++)
        if (w->model->jobs[i].used && w->model->jobs[i].id > w->roll_newest)
            w->roll_newest = w->model->jobs[i].id;
}

/* Do entries go to another segment by now? */
static bool segment_rolled(struct world *w)
{
    if (w->journal && w->store->segment != w->segment)
        w->segment = w->store->segment;
    else if (!w->journal && w->nentries >= w->segment_full)
        w->segment++;
    else
        return false;
    w->segment_full = w->nentries + w->segment_entries;
    return true;
}

/* As the ledger has it: the core hears of a new segment before the next event,
 * and what that asks for may be half done when the event comes. Of the requests
 * that come together the first alone is a sign of life: here a switch is never
 * just before one. */
static void event_run(struct world *w, struct core_event *ev)
{
    bool look = w->thorough || w->steps % 16 == 0;
    uint64_t before = look ? core_digest(w->core) : 0;
    size_t entries = w->nentries;

    trace_event(ev);
    if (ev->kind != EVENT_ALIVE && segment_rolled(w)) {
        w->late.base.segment = w->segment;
        trace_note("segment %u", w->segment);
        roll_begin(w);
    }
    w->ledger.now_ms = w->now;
    if (ev->kind == EVENT_LOAD)
        ledger_tick(&w->ledger);
    else if (ev->kind == EVENT_START)
        ledger_start(&w->ledger, ev->random);
    else
        ledger_step(&w->ledger, ev);
    if (look && entries == w->nentries && !w->ledger.status &&
        core_digest(w->core) != before)
        violation("the durable state changed without a record");
    if (ev->kind == EVENT_DISCONNECT)
        reader_forget(w, ev->client.n);
}

/* Is something left to be done at once? Not for long. */
static bool is_behind(struct world *w)
{
    if (core_next_ms(w->core) > w->now)
        w->ticks = 0;
    else if (++w->ticks > TICKS_AT_ONCE)
        violation("core_next_ms stays in the past");
    return w->ticks > 0;
}

/* `as` is what the model is told that has happened. */
static void step_checked(struct world *w, struct core_event *ev,
                         const struct core_event *as)
{
    size_t before = w->nentries;
    struct core_event tick = {.kind = EVENT_TICK};
    bool loading = late_asked(&w->late) > 0, put_off = w->late.put_off;
    int slot;

    w->steps++;
    arena_reset(&w->arena);
    w->nreplies = 0;
    event_run(w, ev);
    /* Whatever a clock that is set makes due at once comes in any order, but
     * before the next event: the rules know no other. */
    while (is_behind(w) && (ev->kind == EVENT_CLOCK ||
                            !(w->hasty && world_chance(w, w->hasty)))) {
        tick.random = world_random(w);
        event_run(w, &tick);
    }
    w->eyes.loading = loading || late_asked(&w->late) > 0;
    w->eyes.put_off = put_off || w->late.put_off;
    model_step(w->model, &w->eyes, as, w->replies, w->nreplies);
    slot = model_client_find(w->model, ev->client.n);
    if (slot >= 0 && ev->kind != EVENT_ALIVE && ev->kind != EVENT_UNBLOCK)
        w->asked[slot] = ev->kind;
    for (size_t i = 0; i < w->nreplies; i++)
        world_deliver(w, &w->replies[i], w->places[i], w->reply_entries[i]);
    /* The model must be as it was then. And what goes on since there is room
     * again comes before the images: it follows from the segment before, which
     * stays. */
    if (w->rolled && w->roll_from == before && !w->late.failed &&
        as->kind != EVENT_DISK_FULL)
        roll_check(w);
    w->rolled = false;
    model_compare(w->model, &w->eyes, w->thorough);
    if (buf_size(&w->eyes.records)) {
        uint64_t pos;

        (void)store_append(&w->late.base, buf_front(&w->eyes.records),
                           buf_size(&w->eyes.records), &pos); /* or failed */
        buf_reset(&w->eyes.records);
    }
    core_check(w->core); /* last: the model says more about what is wrong */
    if (!w->uncertain || w->late.failed)
        return; /* what comes after a failure was never anywhere */
    if (w->nentries > before)
        snapshot_take(w);
    else
        snapshot_again(w);
}

void world_step(struct world *w, struct core_event *ev)
{
    ev->now_ms = w->now;
    ev->random = world_random(w);
    step_checked(w, ev, ev);
    if (w->cut) { /* nothing more that it sent is looked at */
        struct core_event gone = {.kind = EVENT_DISCONNECT,
                                  .client = {w->cut},
                                  .u.disconnect = DISCONNECT_BROKEN};

        w->cut = 0;
        world_step(w, &gone);
    }
}

void world_load(struct world *w)
{
    struct core_event ev = {.kind = EVENT_LOAD, .now_ms = w->now};

    late_answer(&w->late);
    step_checked(w, &ev, &ev);
}

/* The ledger tells the core itself, before the next event. */
static void step_told(struct world *w, const struct core_event *told)
{
    struct core_event as = *told, tick = {.kind = EVENT_TICK};

    as.now_ms = tick.now_ms = w->now;
    tick.random = world_random(w);
    step_checked(w, &tick, &as);
}

/* The reserve has room for all that follows: what it is like without is looked
 * at elsewhere. */
void world_disk(struct world *w, bool narrow, bool full)
{
    int64_t room = INT64_C(1) << 40;
    struct core_event told = {
        .kind = EVENT_DISK_FULL,
        .u.full = {.narrow = narrow || full, .on = full, .room = room}};

    w->late.base.narrow = narrow || full;
    w->late.base.full = full;
    w->late.base.room = (uint64_t)room;
    step_told(w, &told);
}

void world_fail(struct world *w)
{
    trace_note("the disk breaks");
    late_fail(&w->late);
}

void world_survey(struct world *w)
{
    struct core_event ev = {.now_ms = w->now, .client = {VIEW_CLIENT}};
    static const enum core_event_kind kinds[] = {EVENT_QUEUE_LIST, EVENT_JOBS,
                                                 EVENT_GROUP_TREE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        memset(&ev.u, 0, sizeof(ev.u));
        ev.kind = kinds[i];
        if (ev.kind == EVENT_JOBS)
            ev.u.jobs.count = 1000;
        else
            ev.u.group.count = 1000;
        arena_reset(&w->arena);
        (void)view_ask(w->core, &w->arena, &ev);
        world_hash(w, w->arena.bytes.data, w->arena.bytes.len);
    }
}

void world_advance(struct world *w, int64_t ms)
{
    int64_t target = w->now + ms;
    struct core_event tick = {.kind = EVENT_TICK};

    for (;;) {
        int64_t next = core_next_ms(w->core);

        if (next > target)
            break;
        w->now = max_i64(w->now, next);
        world_step(w, &tick);
    }
    w->now = target;
}

void world_set_clock(struct world *w)
{
    int64_t by_ms = world_below(w, 20000) - 5000;
    struct core_event ev = {.kind = EVENT_CLOCK, .u.shift_ms = by_ms};

    if (by_ms > 0)
        w->now += by_ms;
    world_step(w, &ev);
}

/* --------------------------------------------------------------- crashes */

/* A daemon is there again with what was kept: it looks as it did then. */
static void ledger_open(struct world *w)
{
    char text[STORE_TEXT_MAX];
    int rc;

    late_clear(&w->late);
    late_init(&w->late, &entries_hooks, w, w->store, w->nentries, w->segment);
    ledger_init(&w->ledger, &ledger_hooks, &w->limits, &w->late.base);
    w->core = w->eyes.core = w->ledger.core;
    w->read = w->first;
    do /* in pieces of another size each time */
        rc = ledger_replay(&w->ledger, 1 + w->replayed % 997, text);
    while (rc > 0);
    if (rc != 0)
        violation("the entries do not replay: %s", text);
    core_check(w->core);
    if (w->nentries > 0 &&
        core_digest(w->core) != w->entries[w->nentries - 1].digest)
        violation("after a replay of entries %zu to %zu the digest is another "
                  "than it was then",
                  w->first, w->nentries);
}

struct replay_arg {
    struct world *w;
    size_t next;
    bool begun;
};

static int replay_check(void *arg, const void *data, size_t len,
                        struct store_place place)
{
    struct replay_arg *r = arg;
    struct world *w = r->w;
    const struct world_entry *e;

    if (!r->begun) { /* trimmed segments may be gone, or not yet */
        while (r->next < w->nentries &&
               (w->entries[r->next].len != len ||
                memcmp(w->entries[r->next].data, data, len) != 0))
            r->next++;
        r->begun = true;
        w->first = r->next;
    }
    if (r->next >= w->nentries)
        violation("the journal invented an entry");
    e = &w->entries[r->next++];
    if (e->len != len || memcmp(e->data, data, len) != 0)
        violation("entry %zu came back from the journal changed", r->next - 1);
    if (e->place.segment != place.segment || e->place.offset != place.offset)
        violation("entry %zu lies elsewhere than was said", r->next - 1);
    return 0;
}

static void journal_open(struct world *w)
{
    struct store_journal_options options = {.dir = "/journal",
                                            .sync = STORE_SYNC_ALWAYS,
                                            .segment_bytes = SEGMENT_BYTES,
                                            .threaded = false,
                                            .io = &w->disk->io};
    char text[STORE_TEXT_MAX] = "";

    if (store_journal_open(&options, &w->store, text) != 0)
        violation("the journal does not open: %s", text);
}

/* How many entries survived. */
static size_t journal_crash(struct world *w)
{
    struct replay_arg arg = {.w = w};
    char text[STORE_TEXT_MAX] = "";

    disk_fail(w->disk);
    store_close(w->store);
    disk_crash(w->disk);
    journal_open(w);
    if (store_replay(w->store, replay_check, &arg, text) != 0)
        violation("the journal does not replay after a crash: %s", text);
    if (arg.next < w->late.base.durable)
        violation("%llu entries were durable, %zu came back",
                  (unsigned long long)w->late.base.durable, arg.next);
    return arg.next;
}

static void start(struct world *w)
{
    struct core_event ev = {.kind = EVENT_START};

    watcher_reset(&w->watcher, false);
    world_step(w, &ev);
    ev = (struct core_event){.kind = EVENT_SEGMENT, .u.segment = w->segment};
    step_told(w, &ev);
    if (w->seed % 4 != 1)
        return;
    w->watcher.on = true;
    ev = (struct core_event){.kind = EVENT_WATCH, .u.work = 1};
    step_told(w, &ev);
}

void world_crash_is_near(struct world *w)
{
    world_commit(w);
    w->uncertain = true;
    w->nsnapshots = 0;
    if (w->nentries)
        w->entries[w->nentries - 1].digest = core_digest(w->core);
    snapshot_take(w);
}

/* What the world was like when there were n entries; -1: in between. */
static int snapshot_of(const struct world *w, size_t n)
{
    for (;; n--) {
        for (int i = 0; i < w->nsnapshots; i++)
            if (w->snapshots[i].entries == n)
                return i;
        if (n == 0 || !w->entries[n - 1].says_nothing_new)
            return -1;
    }
}

void world_crash(struct world *w)
{
    size_t n, durable = w->late.base.durable;
    int snapshot;

    ASSERT(w->uncertain);
    if (w->journal) {
        n = journal_crash(w);
    } else if (world_chance(w, 10)) { /* perhaps in the middle of a step */
        n = durable +
            (size_t)world_below(w, (int64_t)(w->nentries - durable) + 1);
    } else {
        n = w->snapshots[world_below(w, w->nsnapshots)].entries;
    }
    snapshot = snapshot_of(w, n);
    w->crashes_done++;
    trace_note("---- crash: %zu of %zu entries are kept, %zu were durable", n,
               w->nentries, durable);
    if (n == w->nentries && !w->late.failed) {
        struct core *c = entries_replay(w, w->first, n);

        if (!core_keeps_ends(c, w->core))
            violation("a crash takes an outcome away");
        core_free(c);
    }
    while (w->nentries > n)
        mem_free(w->entries[--w->nentries].data);
    for (int i = 0; i < WORLD_READERS; i++)
        w->readers[i].client = 0;
    world_forget(w, 0);
    w->uncertain = false;
    w->scanned = 0;
    if (snapshot >= 0)
        model_crashed(w->snapshots[snapshot].model, &w->eyes);
    for (size_t i = 0; i < w->nentries; i++)
        w->entries[i].damaged = false;
    if (w->journal)
        w->segment = w->store->segment;
    else if (w->nentries)
        w->segment = w->entries[w->nentries - 1].place.segment;
    w->segment_full = w->nentries + w->segment_entries;
    ledger_clear(&w->ledger);
    ledger_open(w);
    if (snapshot < 0) { /* between an event and its ticks: checked, no more */
        w->over = true;
        return;
    }
    memcpy(w->model, w->snapshots[snapshot].model, sizeof(*w->model));
    w->nsnapshots = 0;
    w->now += 1 + world_below(w, 3000);
    model_restart(w->model, w->now);
    start(w);
}

/* ------------------------------------------------------------------ life */

static void limits_choose(struct world *w)
{
    struct core_limits *l = &w->limits;
    struct queue_settings *q = &l->queue_defaults;

    core_limits_init(l);
    l->payload_max = 200;
    l->result_max = 200;
    l->lease_ms = 1000 + world_below(w, 3000);
    l->session_grace_ms = 200 + world_below(w, 3000);
    l->keep_max_ms = 5000;
    l->shield_max_ms = 100 + world_below(w, 2000);
    /* What follows from an event comes in slices, in some worlds. */
    if (world_chance(w, 50))
        l->step_work = 2 + world_below(w, world_chance(w, 50) ? 2 : 13);
    if (l->step_work < 20 && world_chance(w, 60))
        w->hasty = 20 + (int)world_below(w, 60);
    /* A restart brings back what had made room for others. */
    if (!w->crashes && world_chance(w, 50))
        l->retain_jobs = 5 + world_below(w, 50);
    q->max_jobs = 4 + world_below(w, 12);
    if (w->seed % 3 > 0) /* payloads go at once, or when there are some */
        l->payload_memory = w->seed % 5 == 0 ? 1 : 4096 << w->seed % 7;
    /* Few places, all taken by results that wait: circles. */
    if (l->retain_jobs > 1000 && w->seed % 5 == 1) {
        w->round = 50 + (int)world_below(w, 50);
        q->max_jobs = 1 + world_below(w, 2);
    }
    q->max_bytes = 600 + world_below(w, 1000);
    q->timeout_ms = world_chance(w, 50) ? CORE_NONE : 1500;
    q->grace_ms = 100;
    q->retry = 1 + world_below(w, 3);
    q->redeliver = world_below(w, 3);
    q->keep_ms = 1 + world_below(w, 3000);
    q->wait_ms = world_chance(w, 50) ? CORE_NONE : world_below(w, 1000);
    if (world_chance(w, 35)) { /* nothing lasts: segments go soon */
        l->keep_max_ms = 500;
        q->timeout_ms = q->expires_ms = 600;
        q->keep_ms = 1 + world_below(w, 300);
    }
    if (world_chance(w, 15)) /* of requests; sessions have few */
        l->numbers_max = 20 + world_below(w, 100);
    q->dead_keep_ms = world_chance(w, 30) ? 0 : world_below(w, 4000);
    q->retry_on = world_chance(w, 80) ? STR("") : STR("*");
}

void world_init(struct world *w, uint64_t seed, bool crashes, bool journal)
{
    uint64_t often;

    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->crashes = crashes;
    w->journal = journal;
    w->thorough = seed % 4 == 0;
    w->now = INT64_C(1700000000000);
    w->segment = 1;
    /* more than there are images in all, or there is no end to them */
    w->segment_entries =
        25 + (size_t)world_below(w, world_chance(w, 60) ? 8 : 50);
    w->segment_full = w->segment_entries;
    trace_reset(seed);
    limits_choose(w);
    w->compact_random = seed * UINT64_C(0x9e3779b97f4a7c15);
    w->limits.image_ids = 1 + (int64_t)(world_compact_random(w) % 3);
    w->limits.image_errors = (w->limits.image_ids - 1) * 60;
    often = world_compact_random(w) % 2 ? 10 : 60;
    if (world_compact_random(w) % 10 < 7)
        w->compacts = 1 + (int)(world_compact_random(w) % often);
    if (!journal && seed % 5 < 2)
        w->damages = 1 + (int)(world_compact_random(w) % 60);

    arena_init(&w->arena, ARENA_BYTES);
    w->model = mem_alloc(sizeof(*w->model));
    model_init(w->model, &w->limits);
    for (int i = 0; i < WORLD_SNAPSHOTS; i++)
        w->snapshots[i].model = mem_alloc(sizeof(*w->model));
    if (journal) {
        struct replay_arg arg = {.w = w};
        char text[STORE_TEXT_MAX];

        w->disk = mem_alloc(sizeof(*w->disk));
        disk_init(w->disk, world_random(w));
        journal_open(w);
        if (store_replay(w->store, replay_check, &arg, text) != 0)
            violation("an empty journal does not replay: %s", text);
        w->segment = w->store->segment;
    }
    w->eyes = (struct model_eyes){.arena = &w->arena};
    if (w->damages)
        w->eyes.is_damaged = entries_payload_damaged;
    w->eyes.world = w;
    ledger_open(w);
    start(w);
}

void world_clear(struct world *w)
{
    ledger_clear(&w->ledger);
    late_clear(&w->late);
    buf_clear(&w->eyes.records);
    arena_clear(&w->arena);
    mem_free(w->model);
    for (int i = 0; i < WORLD_SNAPSHOTS; i++)
        mem_free(w->snapshots[i].model);
    for (size_t i = 0; i < w->nentries; i++)
        mem_free(w->entries[i].data);
    mem_free(w->entries);
    watcher_clear(&w->watcher);
    store_close(w->store);
    if (w->disk) {
        disk_clear(w->disk);
        mem_free(w->disk);
    }
}
