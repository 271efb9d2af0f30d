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

/* --------------------------------------------------------------- entries */

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

static void entry_append(struct world *w, const struct buf *records)
{
    size_t len = buf_size(records);
    struct world_entry *e;
    uint64_t pos;

    if (w->nentries == w->entries_cap) {
        w->entries_cap = w->entries_cap ? w->entries_cap * 2 : 1024;
        w->entries = mem_realloc(w->entries,
                                 mem_mul(w->entries_cap, sizeof(*w->entries)));
    }
    e = &w->entries[w->nentries++];
    *e = (struct world_entry){
        .data = mem_dup(buf_front(records), len),
        .len = len,
        .segment = w->segment,
        .digest = w->uncertain ? core_digest(w->core) : 0,
    };
    if (w->journal && store_append(w->store, e->data, e->len, &pos) != 0)
        violation("the journal did not take an entry");
}

static struct core *replay(struct world *w, size_t first, size_t n)
{
    struct core *c = core_new(&w->limits);
    char text[128] = "";

    for (size_t i = first; i < n; i++)
        if (core_replay(c, w->entries[i].data, w->entries[i].len,
                        w->entries[i].segment, text) != 0)
            violation("entry %zu does not replay: %s", i, text);
    w->replayed += n - first;
    core_check(c);
    return c;
}

/* Segments go. What is left must be enough, whenever the crash comes. */
static void entries_trim(struct world *w)
{
    size_t first = w->first;
    struct core *c;

    if (!w->trim)
        return;
    if (w->journal)
        store_trim(w->store, w->trim);
    while (first < w->nentries && w->entries[first].segment < w->trim)
        first++;
    w->trim = 0;
    if (!w->journal) /* there a crash shows which files are gone */
        w->first = first;
    if (!w->crashes)
        return;
    c = replay(w, first, w->nentries);
    if (core_digest(c) != core_digest(w->core))
        violation("what a trim leaves is less than what there was");
    model_numbers_left(w->model, &w->eyes, c);
    core_free(c);
}

void world_commit(struct world *w)
{
    int last = -1;

    if (w->journal) {
        char text[STORE_TEXT_MAX];

        store_commit(w->store);
        store_tick(w->store);
        if (store_error(w->store, text) != 0)
            violation("the journal failed: %s", text);
        if (w->store->durable != w->store->appended)
            violation("a commit without a thread left something behind");
    }
    w->durable = w->nentries;
    w->nvisible = w->ndeliveries;
    for (int i = 0; i < w->nsnapshots; i++)
        if (w->snapshots[i].entries <= w->durable)
            last = i;
    if (last > 0) {
        struct world_snapshot keep = w->snapshots[last];

        w->snapshots[last] = w->snapshots[0];
        w->snapshots[0] = keep;
        w->nsnapshots = 1;
    }
    entries_trim(w);
}

/* ------------------------------------------------------------ deliveries */

static void deliver(struct world *w, const struct delivery *d)
{
    ASSERT(w->ndeliveries < WORLD_DELIVERIES);
    w->deliveries[w->ndeliveries++] = *d;
}

static void deliver_fetch(struct world *w, struct delivery d,
                          const struct node *n)
{
    for (uint32_t i = 0; i < n->v.count; i++) {
        const struct node *e = node_item(n, i);

        d.kind = str_eq(node_str(node_item(e, 0)), STR("job")) ? DELIVERY_TOKEN
                                                               : DELIVERY_ASKED;
        d.id = node_item(e, 1)->v.id;
        d.attempt = node_item(e, 1)->v.attempt;
        deliver(w, &d);
    }
}

static void deliver_tokens(struct world *w, struct delivery d,
                           const struct node *n)
{
    d.kind = DELIVERY_TOKEN;
    for (uint32_t i = 0; i < n->v.count; i++) {
        d.id = node_item(n, i)->v.id;
        d.attempt = node_item(n, i)->v.attempt;
        deliver(w, &d);
    }
}

static void deliver_page(struct world *w, struct delivery d,
                         const struct node *n)
{
    const struct node *entries = node_item(n, 1);

    d.kind = DELIVERY_MEMBER;
    for (uint32_t i = 0; i < entries->v.count; i++) {
        d.id = node_get(node_item(entries, i), "id")->v.id;
        deliver(w, &d);
    }
    d.kind = DELIVERY_CURSOR;
    d.id = (uint64_t)node_int(node_item(n, 0));
    d.attempt = (uint32_t)node_int(node_item(n, 2));
    deliver(w, &d);
}

static void deliver_errors(struct world *w, struct delivery d,
                           const struct node *n)
{
    bool page = n->v.kind == VALUE_ARRAY;
    struct str cursor = page ? node_str(node_item(n, 0)) : STR("");

    d.kind = DELIVERY_ERRORS;
    d.attempt = !page || node_int(node_item(n, 2));
    memcpy(d.cursor, cursor.p, cursor.len);
    deliver(w, &d);
}

static void deliver_reply(struct world *w, uint64_t client,
                          const struct node *n)
{
    int slot = model_client_find(w->model, client);
    struct delivery d = {.client = client};

    if (slot < 0)
        return;
    d.event = w->asked[slot];
    if (n->v.kind == VALUE_ERROR && d.event == EVENT_SESSION_RESUME) {
        d.kind = DELIVERY_NO_SESSION;
        deliver(w, &d);
    } else if (n->v.kind == VALUE_ID && n->v.id_kind != 0) {
        d.kind = n->v.id_kind == 'j'   ? DELIVERY_JOB
                 : n->v.id_kind == 'g' ? DELIVERY_GROUP
                                       : DELIVERY_SESSION;
        d.id = n->v.id;
        deliver(w, &d);
    } else if (d.event == EVENT_FETCH && n->v.kind == VALUE_ARRAY) {
        deliver_fetch(w, d, n);
    } else if (d.event == EVENT_SESSION_RESUME && n->v.kind == VALUE_ARRAY) {
        deliver_tokens(w, d, n);
    } else if (d.event == EVENT_GROUP_NEXT && n->v.kind == VALUE_ARRAY) {
        deliver_page(w, d, n);
    } else if (d.event == EVENT_GROUP_ERRORS) {
        deliver_errors(w, d, n);
    }
    d.kind = DELIVERY_END;
    deliver(w, &d);
}

/* ----------------------------------------------------------------- steps */

static void hash(struct world *w, const char *bytes, size_t len)
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

/* What a step begins in a new segment is there when all before that is gone. */
static void roll_check(struct world *w)
{
    struct core *c = replay(w, w->roll_from, w->nentries);
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

static size_t core_event_run(struct world *w, const struct core_event *ev,
                             struct model_reply *replies, size_t n, size_t max)
{
    bool look = w->thorough || w->steps % 16 == 0;
    uint64_t before = look ? core_digest(w->core) : 0;

    trace_event(ev);
    core_effects_reset(&w->effects);
    core_step(w->core, ev, &w->effects);
    if (buf_size(&w->effects.records))
        entry_append(w, &w->effects.records);
    else if (look && core_digest(w->core) != before)
        violation("the durable state changed without a record");
    hash(w, buf_front(&w->effects.records), buf_size(&w->effects.records));
    hash(w, w->effects.values.data, w->effects.values.len);
    for (size_t i = 0; i < w->effects.len; i++) {
        const struct core_effect *e = &w->effects.list[i];
        struct buf *bytes = &w->arena.bytes;
        size_t at = bytes->len;

        if (e->kind == EFFECT_TRIM)
            w->trim = e->segment > w->trim ? e->segment : w->trim;
        if (e->kind == EFFECT_CUT)
            w->cut = w->eyes.cut = e->client.n;
        if (e->kind != EFFECT_REPLY && e->kind != EFFECT_NEWS)
            continue;
        if (n == max || e->len > bytes->cap - at)
            violation("too many replies in one step");
        buf_append(bytes, w->effects.values.data + e->at, e->len);
        if (e->kind == EFFECT_NEWS) {
            watcher_told(&w->watcher,
                         node_read(&w->arena, bytes->data + at, e->len));
            continue;
        }
        replies[n] = (struct model_reply){
            .client = e->client.n,
            .n = node_read(&w->arena, bytes->data + at, e->len),
        };
        trace_reply(e->client.n, replies[n].n);
        n++;
    }
    return n;
}

/* As the engine does: the core hears of a new segment before the next event,
 * and what that asks for may be half done when the event comes. Of the requests
 * that come together the first alone is a sign of life: here a switch is never
 * just before one. */
static size_t core_event_next(struct world *w, const struct core_event *ev,
                              struct model_reply *replies, size_t n, size_t max)
{
    struct core_event news = {.kind = EVENT_SEGMENT, .now_ms = w->now};

    if (ev->kind != EVENT_ALIVE && ev->kind != EVENT_SEGMENT &&
        segment_rolled(w)) {
        news.random = world_random(w);
        news.u.segment = w->segment;
        roll_begin(w);
        n = core_event_run(w, &news, replies, n, max);
    }
    return core_event_run(w, ev, replies, n, max);
}

static void step_checked(struct world *w, struct core_event *ev)
{
    struct model_reply replies[64];
    size_t before = w->nentries, n;
    struct core_event tick = {.kind = EVENT_TICK, .now_ms = w->now};
    int ticks = 0, slot;

    w->steps++;
    arena_reset(&w->arena);
    n = core_event_next(w, ev, replies, 0, ARRAY_LEN(replies));
    while (core_next_ms(w->core) <= w->now) {
        if (++ticks > TICKS_AT_ONCE)
            violation("core_next_ms stays in the past");
        tick.random = world_random(w);
        n = core_event_next(w, &tick, replies, n, ARRAY_LEN(replies));
    }
    model_step(w->model, &w->eyes, ev, replies, n);
    slot = model_client_find(w->model, ev->client.n);
    if (slot >= 0 && ev->kind != EVENT_ALIVE && ev->kind != EVENT_UNBLOCK)
        w->asked[slot] = ev->kind;
    for (size_t i = 0; i < n; i++)
        deliver_reply(w, replies[i].client, replies[i].n);
    if (w->rolled && w->roll_from == before) /* the model is as it was then */
        roll_check(w);
    w->rolled = false;
    model_compare(w->model, &w->eyes, w->thorough);
    if (buf_size(&w->eyes.records)) {
        entry_append(w, &w->eyes.records);
        buf_reset(&w->eyes.records);
    }
    core_check(w->core); /* last: the model says more about what is wrong */
    if (w->nentries > before && w->uncertain)
        snapshot_take(w);
    else if (w->uncertain)
        snapshot_again(w);
}

void world_step(struct world *w, struct core_event *ev)
{
    ev->now_ms = w->now;
    ev->random = world_random(w);
    step_checked(w, ev);
    if (w->cut) { /* nothing more that it sent is looked at */
        struct core_event gone = {.kind = EVENT_DISCONNECT,
                                  .client = {w->cut},
                                  .u.disconnect = DISCONNECT_BROKEN};

        w->cut = 0;
        world_step(w, &gone);
    }
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
        hash(w, w->arena.bytes.data, w->arena.bytes.len);
    }
}

void world_advance(struct world *w, int64_t ms)
{
    int64_t target = w->now + ms;

    while (w->now < target) {
        int64_t next = core_next_ms(w->core);
        struct core_event tick = {.kind = EVENT_TICK};

        if (next > target) {
            w->now = target;
            return;
        }
        if (next <= w->now)
            violation("core_next_ms is in the past after its tick");
        w->now = next;
        world_step(w, &tick);
    }
}

/* --------------------------------------------------------------- crashes */

/* A daemon that was stopped after `n` entries looks as it did then. */
static struct core *replay_prefix(struct world *w, size_t n)
{
    struct core *c = replay(w, w->first, n);

    if (n > 0 && core_digest(c) != w->entries[n - 1].digest)
        violation("after a replay of entries %zu to %zu the digest is another "
                  "than it was then",
                  w->first, n);
    return c;
}

struct replay_arg {
    struct world *w;
    size_t next;
    bool begun;
};

static int replay_check(void *arg, const void *data, size_t len,
                        uint32_t segment)
{
    struct replay_arg *r = arg;
    struct world *w = r->w;
    const struct world_entry *e;

    (void)segment;   /* the core gets the one that was told at the append */
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
    if (arg.next < w->durable)
        violation("%zu entries were durable, %zu came back", w->durable,
                  arg.next);
    return arg.next;
}

static void start(struct world *w)
{
    struct core_event ev = {.kind = EVENT_START};

    watcher_reset(&w->watcher, false);
    world_step(w, &ev);
    ev = (struct core_event){.kind = EVENT_SEGMENT, .u.segment = w->segment};
    world_step(w, &ev);
    if (w->seed % 4 != 1)
        return;
    w->watcher.on = true;
    ev = (struct core_event){.kind = EVENT_WATCH, .u.work = 1};
    world_step(w, &ev);
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

void world_crash(struct world *w)
{
    int snapshot = -1;
    size_t n;

    ASSERT(w->uncertain);
    if (w->journal) {
        n = journal_crash(w);
    } else if (world_chance(w, 10)) { /* perhaps in the middle of a step */
        n = w->durable +
            (size_t)world_below(w, (int64_t)(w->nentries - w->durable) + 1);
    } else {
        n = w->snapshots[world_below(w, w->nsnapshots)].entries;
    }
    for (int i = 0; i < w->nsnapshots; i++)
        if (w->snapshots[i].entries == n)
            snapshot = i;
    core_free(w->core);
    w->core = replay_prefix(w, n);
    w->crashes_done++;
    trace_note("---- crash: %zu of %zu entries are kept, %zu were durable", n,
               w->nentries, w->durable);
    while (w->nentries > n)
        mem_free(w->entries[--w->nentries].data);
    w->ndeliveries = w->nvisible;
    w->uncertain = false;
    w->trim = 0;
    w->eyes.core = w->core;
    if (snapshot < 0) { /* between an event and its ticks: checked, no more */
        w->over = true;
        return;
    }
    memcpy(w->model, w->snapshots[snapshot].model, sizeof(*w->model));
    w->nsnapshots = 0;
    w->durable = n;
    w->now += 1 + world_below(w, 3000);
    if (w->journal)
        w->segment = w->store->segment;
    else if (w->nentries)
        w->segment = w->entries[w->nentries - 1].segment;
    w->segment_full = w->nentries + w->segment_entries;
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
    /* A restart brings back what had made room for others. */
    if (!w->crashes && world_chance(w, 50))
        l->retain_jobs = 5 + world_below(w, 50);
    q->max_jobs = 4 + world_below(w, 12);
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
    core_effects_init(&w->effects);
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
    w->core = core_new(&w->limits);
    w->eyes = (struct model_eyes){.core = w->core, .arena = &w->arena};
    start(w);
}

void world_clear(struct world *w)
{
    core_free(w->core);
    core_effects_clear(&w->effects);
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
