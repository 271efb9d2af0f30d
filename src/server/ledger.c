/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/ledger.h"

#include <errno.h>

#include "base/plant.h"

/* The journal is to stay below twice what lives, and two segments. What is read
 * frees nothing as long as all of it lives; then as much is appended meanwhile
 * as a part of it, by the pace, and no more than what is left to the bound:
 * four bytes are read for each, or fewer where that is enough. */
#define COMPACT_PERCENT 170
#define PACE_ONE        16 /* the unit of the pace: a byte for a byte */
#define PACE_MOST       (4 * PACE_ONE)
#define CROWD_MIN       2          /* readers that are waited for, or more; */
#define CROWD_MAX       16         /* with more enough come by themselves, */
#define LARGE_BYTES     65536      /* unless so much was appended already */
#define LOOK_BYTES      65536      /* appended, before it is looked at again */
#define SLICE_BYTES     (1 << 18)  /* read for one commit, or more, */
#define SLICE_BYTES_MAX (4 << 20)  /* but not more than this, */
#define IDLE_BYTES      (16 << 20) /* and in a second in which nothing is done */
#define HEAL_STEPS      16         /* for one commit */

/* --- life --------------------------------------------------------------- */

void ledger_init(struct ledger *l, const struct ledger_hooks *hooks,
                 const struct core_limits *limits, struct store *store)
{
    *l = (struct ledger){.hooks = hooks,
                         .core = core_new(limits),
                         .store = store,
                         .compaction = {.pace = PACE_MOST}};
    core_effects_init(&l->effects);
    list_init(&l->touched);
    list_init(&l->flight);
}

void ledger_clear(struct ledger *l)
{
    core_free(l->core);
    core_effects_clear(&l->effects);
}

struct replay {
    struct ledger *ledger;
    char text[128]; /* what the core did not understand */
};

static int replay_entry(void *arg, const void *data, size_t len,
                        struct store_place place)
{
    struct replay *r = arg;
    struct ledger *l = r->ledger;
    int rc = core_replay(l->core, data, len, place.segment, r->text);

    l->replayed++;
    if (rc == 0 && place.offset)
        core_placed(l->core, place.segment, place.offset);
    return rc;
}

int ledger_replay(struct ledger *l, uint64_t most, char text[STORE_TEXT_MAX])
{
    struct replay r = {.ledger = l};
    int rc = store_replay_some(l->store, most, replay_entry, &r, text);

    if (rc == 0)
        core_replay_end(l->core);
    if (rc >= 0)
        return rc;
    if (r.text[0])
        (void)snprintf(text, STORE_TEXT_MAX, "entry %llu: %s",
                       (unsigned long long)l->replayed, r.text);
    l->status = rc;
    return rc;
}

/* --- the store ---------------------------------------------------------- */

/* Nobody may hear that anything was accepted. */
static void fail(struct ledger *l, int rc, const char *text)
{
    if (l->status)
        return;
    l->status = rc;
    l->hooks->failed(l, rc, text);
}

static void check_store(struct ledger *l)
{
    char text[STORE_TEXT_MAX];
    int rc = store_error(l->store, text);

    if (rc)
        fail(l, rc, text);
}

/* So slowly that the bound is just kept when all that lives lies in what is
 * read first: who submits meanwhile has to wait the less. */
static void set_pace(struct ledger_compaction *k, const struct store_stats *s,
                     bool narrow)
{
    int64_t segment = (int64_t)s->segment_bytes;
    int64_t room = 2 * k->live + 2 * segment - (int64_t)s->used_bytes;
    int64_t read = max_i64(k->live, segment);

    if (!narrow && k->on && k->paced == s->first_segment && room > segment / 8)
        return; /* until it is gone */
    k->paced = s->first_segment;
    /* The images come before it goes. */
    room -= min_i64(k->live, segment) + segment / 16;
    k->pace = !narrow && room > read / (PACE_MOST / PACE_ONE)
                  ? max_i64(read * PACE_ONE / room + 1, PACE_ONE)
                  : PACE_MOST;
}

/* Is the journal longer than it may be? */
static void look(struct ledger *l)
{
    struct ledger_compaction *k = &l->compaction;
    int64_t live = core_live_bytes(l->core);
    bool narrow = l->store->narrow, fits = !narrow, over;
    int64_t oldest = 0;
    struct store_stats s;

    store_stats(l->store, &s);
    k->spared = (int64_t)s.segment_bytes / 16;
    /* Where room is short whatever is dead is too much. */
    over =
        s.first_segment < s.last_segment &&
        (int64_t)s.used_bytes > (narrow ? live : live / 100 * COMPACT_PERCENT) +
                                    (int64_t)s.segment_bytes;
    /* Else it would be used up for nothing; and so it would where something
     * stays in the oldest that was read already. An entry may lie one segment
     * behind the one that the core knows. */
    if (UNLIKELY(narrow) && s.first_segment < s.last_segment) {
        oldest = core_oldest_bytes(l->core);
        fits = oldest <= (int64_t)l->store->room - k->spared &&
               s.scan_segment <= core_oldest_segment(l->core) + 1;
    }
    k->rest -= k->unlooked + max_i64(k->live - live, 0);
    k->unlooked = 0;
    k->live = live;
    /* When all was written twice and that did not help it is as short as it
     * gets, whatever is thought to live: a quarter more must come or die
     * first. */
    if (!over)
        k->mark = k->written;
    if (k->written - k->mark > 2 * s.used_bytes) {
        k->rest = (int64_t)s.used_bytes / 4;
        k->mark = k->written;
    }
    /* A whole segment comes free for a part of one, however long the journal
     * is. */
    k->worth = narrow && fits &&
               (l->store->full || oldest <= (int64_t)s.segment_bytes / 2);
    set_pace(k, &s, narrow);
    k->on = !k->damaged && ((over && fits && k->rest <= 0) || k->worth);
    if (!k->on)
        k->credit = 0;
}

static size_t append(struct ledger *l)
{
    const struct buf *records = &l->effects.records;
    uint64_t pos;
    int rc =
        store_append(l->store, buf_front(records), buf_size(records), &pos);

    if (rc)
        check_store(l); /* its own reason, if it has one */
    if (rc)
        fail(l, rc, "it did not take a record");
    l->batch_bytes += buf_size(records);
    if (!rc && l->store->place.offset)
        core_placed(l->core, l->store->place.segment, l->store->place.offset);
    return buf_size(records);
}

/* --- steps -------------------------------------------------------------- */

/* Does in order what the core asks for. */
static void carry_out(struct ledger *l, struct client_id *cut)
{
    const struct core_effects *effects = &l->effects;

    for (size_t i = 0; i < effects->len; i++) {
        switch (effects->list[i].kind) {
        case EFFECT_RECORD:
            break; /* they lie together and were appended */
        case EFFECT_REPLY:
            l->hooks->reply(l, &effects->list[i]);
            break;
        case EFFECT_NEWS:
            l->hooks->news(l, &effects->list[i]);
            break;
        case EFFECT_TRIM:
            l->trim_segment = effects->list[i].segment;
            l->trim_pos = l->store->appended;
            break;
        case EFFECT_LOAD:
            store_read(l->store, (struct store_place){effects->list[i].segment,
                                                      effects->list[i].offset});
            break;
        case EFFECT_CUT:
            *cut = effects->list[i].client;
            break;
        }
    }
}

static void step(struct ledger *l, struct core_event *ev)
{
    struct ledger_compaction *k = &l->compaction;
    struct client_id cut = {0}; /* one in a step */

    ASSERT(!l->stepping);
    l->stepping = true;
    ev->now_ms = l->now_ms;
    core_effects_reset(&l->effects);
    core_step(l->core, ev, &l->effects);
    if (buf_size(&l->effects.records) > 0) {
        size_t bytes = append(l);

        k->unlooked += (int64_t)bytes;
        if (UNLIKELY(k->on))
            k->credit += (int64_t)bytes * k->pace / PACE_ONE;
    }
    carry_out(l, &cut);
    l->stepping = false;
    /* A step by itself, as every disconnect. */
    if (UNLIKELY(cut.n != 0))
        l->hooks->cut(l, cut);
}

static struct core_event news(struct ledger *l, enum core_event_kind kind)
{
    return (struct core_event){.kind = kind, .random = l->hooks->random(l)};
}

/* Has the store become narrow or full, or is it so no more? */
static bool is_news(const struct ledger *l)
{
    return l->narrow != l->store->narrow || l->full != l->store->full;
}

static void tell_full(struct ledger *l)
{
    const struct store *s = l->store;
    uint64_t before = l->room;
    struct core_event ev;

    l->room = s->room;
    if (!is_news(l) &&
        (!s->narrow || (s->room <= before && l->bounded == s->bounded)))
        return;
    if (is_news(l))
        l->hooks->full(l);
    look(l); /* what is spared, and whether that can change it */
    l->narrow = s->narrow;
    l->full = s->full;
    l->bounded = s->bounded;
    ev = news(l, EVENT_DISK_FULL);
    ev.u.full.narrow = s->narrow;
    ev.u.full.on = s->full;
    ev.u.full.bounded = s->bounded;
    ev.u.full.room = (int64_t)s->room;
    ev.u.full.spared = l->compaction.spared;
    step(l, &ev);
}

void ledger_start(struct ledger *l, uint64_t random)
{
    struct core_event ev = {.kind = EVENT_START, .random = random};

    l->segment = l->store->segment + 1; /* any: the core is to be told */
    tell_full(l);
    step(l, &ev);
}

static void tell_news(struct ledger *l, int64_t watched)
{
    const struct store *s = l->store;
    struct core_event ev;

    tell_full(l); /* before it writes images */
    if (l->segment != s->segment) {
        l->segment = s->segment;
        ev = news(l, EVENT_SEGMENT);
        ev.u.segment = s->segment;
        step(l, &ev);
    }
    if (l->watched != watched) {
        l->watched = watched;
        ev = news(l, EVENT_WATCH);
        ev.u.work = watched;
        step(l, &ev);
    }
}

/* What the core asked for has come. */
static void take_loads(struct ledger *l)
{
    struct store_answer a;

    while (!l->status && store_take(l->store, &a)) {
        struct core_event ev = news(l, EVENT_LOAD);
        struct str bytes = {a.data, a.len};

        ev.u.load.segment = a.place.segment;
        ev.u.load.offset = a.place.offset;
        ev.u.load.put_off = a.error == -EAGAIN;
        if (ev.u.load.put_off)
            l->hooks->put_off(l, bytes);
        else if (a.error)
            ev.u.load.error = bytes;
        else
            ev.u.load.entry = bytes;
        ledger_step(l, &ev);
    }
}

void ledger_tick(struct ledger *l)
{
    store_tick(l->store);
    check_store(l);
    take_loads(l);
    /* Who waits for room need not ask whether there is. */
    if (UNLIKELY(is_news(l)) && !l->status)
        tell_news(l, l->watched);
}

void ledger_second(struct ledger *l)
{
    ledger_tick(l);
    look(l);
    if (l->compaction.on && l->compaction.credit < IDLE_BYTES)
        l->compaction.credit = IDLE_BYTES;
}

void ledger_step(struct ledger *l, struct core_event *ev)
{
    const struct store *s = l->store;
    int64_t watched = l->hooks->watched(l);

    if (UNLIKELY(l->segment != s->segment || l->narrow || s->narrow ||
                 l->watched != watched))
        tell_news(l, watched);
    step(l, ev);
}

/* --- compaction --------------------------------------------------------- */

/* What is appended next may lie there. */
static void follow_segment(struct ledger *l)
{
    if (LIKELY(l->segment == l->store->segment))
        return;
    l->segment = l->store->segment;
    core_segment(l->core, l->segment);
}

static int compact_entry(void *arg, const void *data, size_t len,
                         struct store_place place)
{
    struct ledger *l = arg;
    struct client_id nobody;
    size_t at = 0;
    enum core_compacted done = CORE_COMPACT_MORE;

    while (done == CORE_COMPACT_MORE && !l->status) {
        if (UNLIKELY(is_news(l)))
            return -EAGAIN; /* whether there is room for it is looked at */
        core_effects_reset(&l->effects);
        follow_segment(l);
        done =
            core_compact(l->core, data, len, place.segment, &at, &l->effects);
        if (buf_size(&l->effects.records) > 0)
            l->compaction.written += append(l);
        carry_out(l, &nobody);
    }
    return done == CORE_COMPACT_ROOM ? -EAGAIN : 0; /* read again later */
}

/* So many bytes may be read now. On a full disk it frees room as nothing else
 * does, and takes some first: a part of the reserve is spared for those who
 * finish, and the core sees to that. */
static int64_t compactable(const struct ledger *l)
{
    const struct ledger_compaction *k = &l->compaction;

    return k->on && LIKELY(!l->store->full || k->worth) ? k->credit : 0;
}

/* Of what lies in the segment that cannot be read, or what is left of it. */
static void heal(struct ledger *l)
{
    struct ledger_compaction *k = &l->compaction;
    enum core_compacted done = CORE_COMPACT_MORE;
    struct client_id nobody;
    size_t bytes = 0;

    for (int n = 0; n < HEAL_STEPS && bytes < SLICE_BYTES && !l->status &&
                    done == CORE_COMPACT_MORE && !is_news(l);
         n++) {
        core_effects_reset(&l->effects);
        follow_segment(l);
        done = core_heal(l->core, k->bad, &k->heal_at, &l->effects);
        if (buf_size(&l->effects.records) > 0)
            bytes += append(l);
        carry_out(l, &nobody);
    }
    k->written += bytes;
    k->credit -= (int64_t)bytes;
    k->healed = k->healed || bytes > 0;
    if (done == CORE_COMPACT_MORE)
        return;
    /* It goes when that is durable, and then what follows is read. */
    k->on = k->worth = false;
    if (done == CORE_COMPACT_ROOM)
        return;
    if (!k->healed && !l->store->full &&
        core_oldest_segment(l->core) <= k->bad) {
        k->damaged = true;
        l->hooks->damaged(
            l,
            "not all of a segment that cannot be read could be written again",
            true);
    }
    k->heal_at = 0;
    k->healed = false;
}

static void compact(struct ledger *l)
{
    struct ledger_compaction *k = &l->compaction;
    char text[STORE_TEXT_MAX];
    struct store_stats s;
    int64_t bytes;
    size_t got;
    int rc;

    if (k->unlooked > LOOK_BYTES)
        look(l);
    if (l->stepping || compactable(l) <= 0)
        return;
    tell_news(l, l->watched);
    /* As large as the commit that it goes with asks for. */
    bytes = (int64_t)l->batch_bytes * k->pace / PACE_ONE;
    if (bytes < SLICE_BYTES)
        bytes = SLICE_BYTES;
    bytes = min_i64(bytes, min_i64(compactable(l), SLICE_BYTES_MAX));
    if (bytes <= 0)
        return;
    l->stepping = true;
    if (UNLIKELY(k->bad)) {
        heal(l);
        l->stepping = false;
        return;
    }
    rc = store_scan(l->store, (size_t)bytes, compact_entry, l, &got, text);
    l->stepping = false;
    k->credit -= (int64_t)got;
    if (got == 0 || rc != 0)
        k->on = k->worth = false; /* until that is looked at again */
    if (rc == 0 || rc == -EAGAIN)
        return;
    store_stats(l->store, &s);
    k->bad = s.scan_segment;
    l->hooks->damaged(l, text, false);
}

/* --- readers ------------------------------------------------------------ */

void ledger_reader_init(struct ledger_reader *r)
{
    list_init(&r->touched);
    list_init(&r->flight);
}

void ledger_reader_clear(struct ledger_reader *r)
{
    list_remove(&r->touched);
    list_remove(&r->flight);
}

void ledger_touch(struct ledger *l, struct ledger_reader *r)
{
    if (!list_linked(&r->touched))
        list_push_back(&l->touched, &r->touched);
}

void ledger_hold(struct ledger *l, struct ledger_reader *r)
{
    r->held = true;
    ledger_touch(l, r);
}

/* --- turns -------------------------------------------------------------- */

static void release_all(struct ledger *l, struct ledger_reader *r)
{
    r->held = false;
    l->hooks->release(r, l->hooks->output_end(r));
}

/*
 * The commit that was under way has ended. A release may find a connection
 * broken, and the core's answer to that may give others replies that are not
 * durable yet: those are touched again, and only what was in flight is
 * released.
 */
static void release_flight(struct ledger *l)
{
    while (!list_empty(&l->flight)) {
        struct ledger_reader *r =
            list_entry(l->flight.next, struct ledger_reader, flight);

        list_remove(&r->flight);
        if (list_linked(&r->touched) && !PLANTED(FLIGHT_WHOLE))
            l->hooks->release(r, r->flight_end);
        else
            release_all(l, r);
    }
}

/* Answers that did not come from the core wait for nobody. */
static void release_unheld(struct ledger *l)
{
    list_foreach_safe (it, &l->touched) {
        struct ledger_reader *r = list_entry(it, struct ledger_reader, touched);

        if (!r->held || PLANTED(REPLY_EARLY)) {
            list_remove(&r->touched);
            release_all(l, r);
        }
    }
}

static void start_flight(struct ledger *l)
{
    size_t before = l->answered;

    l->batches++;
    l->batch_bytes = 0;
    l->flight_pos = l->store->appended;
    if (list_empty(&l->touched))
        return;
    l->flights++;
    l->answered = l->crowd = 0;
    while (!list_empty(&l->touched)) {
        struct ledger_reader *r =
            list_entry(l->touched.next, struct ledger_reader, touched);

        list_remove(&r->touched);
        list_remove(&r->flight);
        l->answered++;
        l->crowd += r->last_flight + 1 != l->flights;
        r->last_flight = l->flights;
        r->flight_end = l->hooks->output_end(r);
        list_push_back(&l->flight, &r->flight);
    }
    l->crowd += before;
}

/* There is something to commit now, and not so much that it is worth it. */
static bool is_small(const struct ledger *l)
{
    const struct store *s = l->store;

    return !s->busy && s->durable < s->appended &&
           l->batch_bytes <= LARGE_BYTES;
}

bool ledger_at_rest(const struct ledger *l)
{
    if (!is_small(l) || list_empty(&l->touched))
        return false;
    list_foreach (it, &l->touched) {
        if (!l->hooks->waits(list_entry(it, struct ledger_reader, touched)))
            return false;
    }
    return true;
}

size_t ledger_missing(const struct ledger *l)
{
    size_t spoken = 0;

    if (!is_small(l) || l->crowd < CROWD_MIN || l->crowd > CROWD_MAX)
        return 0;
    list_foreach (it, &l->touched) {
        if (++spoken >= l->crowd)
            return 0;
    }
    return l->crowd - spoken;
}

void ledger_commit(struct ledger *l)
{
    struct store *s = l->store;

    if (l->status && !PLANTED(FAILED_HEARD))
        return;
    if (UNLIKELY(l->compaction.on || l->compaction.unlooked > LOOK_BYTES) &&
        !s->busy && !l->patient)
        compact(l);
    release_unheld(l);
    if (!ledger_in_flight(l) && !list_empty(&l->flight))
        release_flight(l);
    if (s->durable < s->appended && !s->busy) {
        if (l->patient)
            return;
        store_commit(s);
        check_store(l);
        start_flight(l);
    } else if (s->durable >= s->appended) {
        start_flight(l); /* it has arrived already */
    }
    if (l->status && !PLANTED(FAILED_HEARD))
        return;
    if (!ledger_in_flight(l))
        release_flight(l);
    if (l->trim_segment && (s->durable >= l->trim_pos || PLANTED(TRIM_HASTY))) {
        store_trim(s, l->trim_segment);
        if (l->trim_segment > l->compaction.bad)
            l->compaction.bad = 0;
        l->trim_segment = 0;
    }
}

bool ledger_has_work(const struct ledger *l)
{
    const struct store *s = l->store;

    return !s->busy && (s->durable < s->appended || !list_empty(&l->touched) ||
                        compactable(l) > 0);
}
