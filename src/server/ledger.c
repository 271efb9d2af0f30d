/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/ledger.h"

#include "base/plant.h"

/* Progress of a replay is told every so many entries. */
#define PROGRESS_EVERY 65536

/* --- life --------------------------------------------------------------- */

void ledger_init(struct ledger *l, const struct ledger_hooks *hooks,
                 const struct core_limits *limits, struct store *store)
{
    *l = (struct ledger){
        .hooks = hooks, .core = core_new(limits), .store = store};
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
    void (*progress)(void *arg, uint64_t entries);
    void *arg;
    uint64_t entries;
    char text[128]; /* what the core did not understand */
};

static int replay_entry(void *arg, const void *data, size_t len,
                        uint32_t segment)
{
    struct replay *r = arg;

    if (++r->entries % PROGRESS_EVERY == 0 && r->progress)
        r->progress(r->arg, r->entries);
    return core_replay(r->ledger->core, data, len, segment, r->text);
}

int ledger_replay(struct ledger *l,
                  void (*progress)(void *arg, uint64_t entries), void *arg,
                  char text[STORE_TEXT_MAX])
{
    struct replay r = {.ledger = l, .progress = progress, .arg = arg};
    int rc = store_replay(l->store, replay_entry, &r, text);

    if (rc && r.text[0])
        (void)snprintf(text, STORE_TEXT_MAX, "entry %llu: %s",
                       (unsigned long long)r.entries, r.text);
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

void ledger_tick(struct ledger *l)
{
    store_tick(l->store);
    check_store(l);
}

static void append(struct ledger *l)
{
    const struct buf *records = &l->effects.records;
    uint64_t pos;
    int rc =
        store_append(l->store, buf_front(records), buf_size(records), &pos);

    if (rc)
        check_store(l); /* its own reason, if it has one */
    if (rc)
        fail(l, rc, "no room for a record, even in the reserve");
    l->batch_bytes += buf_size(records);
}

/* --- steps -------------------------------------------------------------- */

static void step(struct ledger *l, struct core_event *ev)
{
    const struct core_effects *effects = &l->effects;
    struct client_id cut = {0}; /* one in a step */

    ASSERT(!l->stepping);
    l->stepping = true;
    ev->now_ms = l->now_ms;
    core_effects_reset(&l->effects);
    core_step(l->core, ev, &l->effects);
    if (buf_size(&effects->records) > 0)
        append(l);
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
        case EFFECT_CUT:
            cut = effects->list[i].client;
            break;
        }
    }
    l->stepping = false;
    /* A step by itself, as every disconnect. */
    if (UNLIKELY(cut.n != 0))
        l->hooks->cut(l, cut);
}

void ledger_start(struct ledger *l, uint64_t random)
{
    struct core_event ev = {.kind = EVENT_START, .random = random};

    l->segment = l->store->segment + 1; /* any: the core is to be told */
    step(l, &ev);
}

static struct core_event news(struct ledger *l, enum core_event_kind kind)
{
    return (struct core_event){.kind = kind, .random = l->hooks->random(l)};
}

static void tell_news(struct ledger *l, int64_t watched)
{
    const struct store *s = l->store;
    struct core_event ev;

    if (l->segment != s->segment) {
        l->segment = s->segment;
        ev = news(l, EVENT_SEGMENT);
        ev.u.segment = s->segment;
        step(l, &ev);
    }
    if (l->full != s->full) {
        l->full = s->full;
        l->hooks->full(l, s->full);
        ev = news(l, EVENT_DISK_FULL);
        ev.u.on = s->full;
        step(l, &ev);
    }
    if (l->watched != watched) {
        l->watched = watched;
        ev = news(l, EVENT_WATCH);
        ev.u.work = watched;
        step(l, &ev);
    }
}

void ledger_step(struct ledger *l, struct core_event *ev)
{
    const struct store *s = l->store;
    int64_t watched = l->hooks->watched(l);

    if (UNLIKELY(l->segment != s->segment || l->full != s->full ||
                 l->watched != watched))
        tell_news(l, watched);
    step(l, ev);
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
    l->batches++;
    l->batch_bytes = 0;
    l->flight_pos = l->store->appended;
    while (!list_empty(&l->touched)) {
        struct ledger_reader *r =
            list_entry(l->touched.next, struct ledger_reader, touched);

        list_remove(&r->touched);
        list_remove(&r->flight);
        r->flight_end = l->hooks->output_end(r);
        list_push_back(&l->flight, &r->flight);
    }
}

void ledger_commit(struct ledger *l)
{
    struct store *s = l->store;

    if (l->status && !PLANTED(FAILED_HEARD))
        return;
    release_unheld(l);
    if (!ledger_in_flight(l) && !list_empty(&l->flight))
        release_flight(l);
    if (s->durable < s->appended && !s->busy) {
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
        l->trim_segment = 0;
    }
}

bool ledger_has_work(const struct ledger *l)
{
    const struct store *s = l->store;

    return !s->busy && (s->durable < s->appended || !list_empty(&l->touched));
}
