/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon - a core with a virtual clock, an inbox for each client, and a log of
 * its records, for the laws in test_core.c and test_core_scope.c.
 *
 * After each step everything is checked, and at the end all records are
 * replayed: the digest must be the same.
 */
#ifndef YOKE_TEST_DAEMON_H
#define YOKE_TEST_DAEMON_H

#include <check.h>
#include <stdarg.h>

#include "../sim/view.h"
#include "base/mem.h"
#include "core/record.h"

#define DAEMON_REPLIES 4096
#define DAEMON_ENTRIES 32768
#define DAEMON_START   INT64_C(1700000000000)

struct daemon {
    struct core_limits limits;
    struct core *core;
    struct core_effects effects;
    struct arena arena;
    int64_t now;
    uint64_t random;
    struct {
        uint64_t client;
        const struct node *n;
    } replies[DAEMON_REPLIES];
    size_t nreplies;
    const struct node *news[DAEMON_REPLIES];
    size_t nnews;
    struct {
        char *data;
        size_t len;
        uint32_t segment;
    } entries[DAEMON_ENTRIES];
    size_t nentries;
    uint32_t segment;   /* of the store, as the core was told */
    uint32_t trimmed;   /* segments before this one are gone */
    uint64_t cut;       /* the last client whose connection was to be closed */
    bool places;        /* the core is told where entries lie: offset n + 1 */
    uint32_t loads[64]; /* offsets that it has asked for */
    size_t nloads;
};

void violation(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ck_abort_msg("%s", text);
    abort();
}

static void daemon_limits(struct daemon *d)
{
    core_limits_init(&d->limits);
    d->limits.queue_defaults.max_jobs = 10;
    d->limits.image_errors = 70; /* one error, or two short ones */
}

/* What came of a step, but for its replies. */
static inline void daemon_keep(struct daemon *d)
{
    if (buf_size(&d->effects.records)) {
        ck_assert_uint_lt(d->nentries, DAEMON_ENTRIES);
        d->entries[d->nentries].segment = d->segment;
        d->entries[d->nentries].len = buf_size(&d->effects.records);
        d->entries[d->nentries++].data = mem_dup(buf_front(&d->effects.records),
                                                 buf_size(&d->effects.records));
        if (d->places)
            core_placed(d->core, d->segment, (uint32_t)d->nentries);
    }
    for (size_t i = 0; i < d->effects.len; i++)
        if (d->effects.list[i].kind == EFFECT_TRIM)
            d->trimmed = d->effects.list[i].segment;
        else if (d->effects.list[i].kind == EFFECT_LOAD)
            d->loads[d->nloads++ % 64] = d->effects.list[i].offset;
}

static inline void daemon_one(struct daemon *d, struct core_event *ev)
{
    ev->now_ms = d->now;
    ev->random = d->random += UINT64_C(0x9e3779b97f4a7c15);
    core_effects_reset(&d->effects);
    core_step(d->core, ev, &d->effects);
    core_check(d->core);
    daemon_keep(d);
    for (size_t i = 0; i < d->effects.len; i++) {
        const struct core_effect *e = &d->effects.list[i];
        size_t at = d->arena.bytes.len;

        if (e->kind == EFFECT_CUT)
            d->cut = e->client.n;
        if (e->kind != EFFECT_REPLY && e->kind != EFFECT_NEWS)
            continue;
        ck_assert_uint_lt(d->nreplies, DAEMON_REPLIES);
        ck_assert_uint_lt(d->nnews, DAEMON_REPLIES);
        ck_assert_uint_le(e->len, d->arena.bytes.cap - at);
        buf_append(&d->arena.bytes, d->effects.values.data + e->at, e->len);
        if (e->kind == EFFECT_NEWS) {
            d->news[d->nnews++] =
                node_read(&d->arena, d->arena.bytes.data + at, e->len);
            continue;
        }
        d->replies[d->nreplies].client = e->client.n;
        d->replies[d->nreplies++].n =
            node_read(&d->arena, d->arena.bytes.data + at, e->len);
    }
}

static inline void daemon_step(struct daemon *d, struct core_event *ev)
{
    struct core_event tick = {.kind = EVENT_TICK};
    int ticks = 0;

    daemon_one(d, ev);
    while (core_next_ms(d->core) <= d->now) {
        ck_assert_int_lt(ticks++, 10000);
        daemon_one(d, &tick);
    }
}

/* What a full disk has room for, unless a test says otherwise: all. */
#define DAEMON_ROOM ((int64_t)1 << 30)

/* A step without a client: START, DRAIN ... */
static inline void daemon_tell(struct daemon *d, enum core_event_kind kind,
                               bool on)
{
    struct core_event ev = {.kind = kind};

    if (kind == EVENT_DRAIN)
        ev.u.on = on;
    if (kind == EVENT_DISK_FULL) {
        ev.u.full.on = on;
        ev.u.full.room = DAEMON_ROOM;
    }
    if (kind == EVENT_WATCH)
        ev.u.work = on;
    daemon_step(d, &ev);
}

static inline void daemon_narrow(struct daemon *d)
{
    struct core_event ev = {.kind = EVENT_DISK_FULL, .u.full.narrow = true};

    daemon_step(d, &ev);
}

static inline void daemon_full(struct daemon *d, int64_t room)
{
    struct core_event ev = {.kind = EVENT_DISK_FULL,
                            .u.full = {.on = true, .room = room}};

    daemon_step(d, &ev);
}

/* Records go to the next segment; what that asks for is left undone. */
static inline void daemon_next_segment(struct daemon *d)
{
    struct core_event ev = {.kind = EVENT_SEGMENT};

    ev.u.segment = ++d->segment;
    daemon_one(d, &ev);
}

/* With d->limits as they are. */
static inline void daemon_start(struct daemon *d)
{
    d->core = core_new(&d->limits);
    d->now = DAEMON_START;
    core_effects_init(&d->effects);
    arena_init(&d->arena, (size_t)8 << 20);
    daemon_tell(d, EVENT_START, false);
}

static inline struct daemon *daemon_new(void)
{
    struct daemon *d = mem_zalloc(sizeof(*d));

    daemon_limits(d);
    daemon_start(d);
    return d;
}

/* Replays what was recorded; nothing else has happened yet. */
static inline void daemon_replay(struct daemon *d)
{
    char text[128];

    core_free(d->core);
    d->core = core_new(&d->limits);
    for (size_t i = 0; i < d->nentries; i++)
        if (d->entries[i].segment >= d->trimmed)
            ck_assert_int_eq(core_replay(d->core, d->entries[i].data,
                                         d->entries[i].len,
                                         d->entries[i].segment, text),
                             0);
    core_replay_end(d->core);
}

/* The same daemon after a crash: only what was recorded is left. */
static inline void daemon_crash(struct daemon *d)
{
    uint64_t before = core_digest(d->core);

    daemon_replay(d);
    core_check(d->core);
    ck_assert_uint_eq(core_digest(d->core), before);
    daemon_tell(d, EVENT_START, false);
}

/* Of the records in the entries from that one on, with a frame for each image.
 * The heads of parts are not counted, where they are as small as here. */
static inline int64_t daemon_bytes(const struct daemon *d, size_t from)
{
    int64_t bytes = 0;

    for (size_t i = from; i < d->nentries; i++) {
        struct record r;
        size_t at = 0;

        bytes += (int64_t)d->entries[i].len;
        while (at < d->entries[i].len) {
            ck_assert_ptr_null(
                record_decode(d->entries[i].data, d->entries[i].len, &at, &r));
            if (r.type == RECORD_JOB_IMAGE || r.type == RECORD_GROUP_IMAGE)
                bytes += CORE_ENTRY_BYTES;
            if (r.type == RECORD_JOB_ERRORS)
                bytes -= 29;
            if (r.type == RECORD_GROUP_IDS && r.u.group_ids.at > 0)
                bytes -= 34;
        }
    }
    return bytes;
}

/* What there is lies in a segment of its own afterwards, all before is gone,
 * and that is as long as it was said to be. */
static inline void daemon_compact(struct daemon *d)
{
    struct core_event tick = {.kind = EVENT_TICK};
    int64_t live = core_live_bytes(d->core), bytes;
    uint64_t before = core_digest(d->core);
    size_t n = d->nentries;

    daemon_next_segment(d);
    daemon_one(d, &tick);
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        bool more = d->entries[i].segment >= d->trimmed;

        while (more) {
            core_effects_reset(&d->effects);
            more = CORE_COMPACT_MORE ==
                   core_compact(d->core, d->entries[i].data, d->entries[i].len,
                                d->entries[i].segment, &at, &d->effects);
            daemon_keep(d);
        }
    }
    core_check(d->core);
    ck_assert_uint_eq(core_digest(d->core), before);
    for (int ticks = 0; core_next_ms(d->core) <= d->now; ticks++) {
        ck_assert_int_lt(ticks, 10000);
        daemon_one(d, &tick);
    }
    ck_assert(n == 0 || d->trimmed == d->segment);
    bytes = daemon_bytes(d, n);
    ck_assert_int_ge(live, bytes - bytes / 32);
    ck_assert_int_le(live, bytes + bytes / 4 + 64);
}

/* As if nothing of it could be read. */
static inline void daemon_heal(struct daemon *d)
{
    struct core_event tick = {.kind = EVENT_TICK};
    uint64_t before = core_digest(d->core);
    enum core_compacted done = CORE_COMPACT_MORE;
    size_t at = 0;

    daemon_next_segment(d);
    daemon_one(d, &tick);
    while (done == CORE_COMPACT_MORE) {
        core_effects_reset(&d->effects);
        done = core_heal(d->core, d->segment - 1, &at, &d->effects);
        core_check(d->core);
        daemon_keep(d);
        daemon_one(d, &tick); /* steps go on meanwhile */
    }
    ck_assert_uint_eq(core_digest(d->core), before);
    for (int ticks = 0; core_next_ms(d->core) <= d->now; ticks++) {
        ck_assert_int_lt(ticks, 10000);
        daemon_one(d, &tick);
    }
    ck_assert_uint_eq(core_oldest_segment(d->core), d->segment);
}

static inline void daemon_left(void *arg, const struct core_left *left)
{
    ck_assert_uint_gt(left->len, 0);
    ++*(size_t *)arg;
}

/* A core that has read what was not trimmed, but for the entries from `from` to
 * `to`, which are lost. */
static inline struct core *daemon_salvage(const struct daemon *d,
                                          const struct core_limits *limits,
                                          size_t from, size_t to)
{
    struct core *c = core_new(limits);
    size_t left = 0;

    for (size_t i = 0; i < d->nentries; i++) {
        if (i == from && to > from)
            core_lost(c);
        if (d->entries[i].segment < d->trimmed || (i >= from && i < to))
            continue;
        ck_assert_int_eq(core_salvage(c, d->entries[i].data, d->entries[i].len,
                                      d->entries[i].segment, daemon_left, &left,
                                      NULL),
                         0);
    }
    core_replay_end(c);
    return c;
}

static inline void daemon_never(void *arg, const struct core_left *left)
{
    ck_assert_ptr_null(arg);
    ck_abort_msg("%s", left->wrong ? left->wrong : "passed over");
}

/* One step of a core beside d->core; what it records is replayed at once,
 * unless `again` is NULL. */
static inline void daemon_beside(struct daemon *d, struct core *c,
                                 struct core *again, struct core_event *ev)
{
    ev->now_ms = core_now_ms(c);
    core_effects_reset(&d->effects);
    core_step(c, ev, &d->effects);
    if (again && buf_size(&d->effects.records))
        ck_assert_int_eq(core_salvage(again, buf_front(&d->effects.records),
                                      buf_size(&d->effects.records),
                                      ev->u.segment, daemon_never, NULL, NULL),
                         0);
}

static inline void daemon_note(void *arg, const struct core_thing *thing)
{
    buf_append(arg, thing, sizeof(*thing));
}

/* Of the entries from `from` to `to` nothing is known: what is left can be
 * taken, can be run, and written anew it says the same. */
static inline void daemon_without(struct daemon *d, size_t from, size_t to)
{
    struct core_event start = {.kind = EVENT_START},
                      tick = {.kind = EVENT_TICK};
    struct core_event segment = {.kind = EVENT_SEGMENT,
                                 .u.segment = d->segment + 1};
    struct buf things; /* struct core_thing */
    struct core_limits limits = d->limits;
    struct core *c, *again;

    buf_init(&things);
    limits.groups_max = limits.members_max = limits.queues_max = 1 << 20;
    limits.memory_max = limits.retain_bytes = INT64_C(1) << 40;
    limits.retain_jobs = 1 << 20;
    c = daemon_salvage(d, &limits, from, to);
    again = core_new(&limits);
    daemon_beside(d, c, NULL, &start);
    core_check(c);
    while (core_next_ms(c) <= core_now_ms(c))
        daemon_beside(d, c, NULL, &tick);
    core_check(c);
    daemon_beside(d, c, again, &segment);
    tick.u.segment = segment.u.segment;
    while (core_next_ms(c) <= core_now_ms(c))
        daemon_beside(d, c, again, &tick);
    core_each(c, daemon_note, &things);
    while (buf_size(&things) > 0) {
        struct core_thing thing;

        memcpy(&thing, buf_front(&things), sizeof(thing));
        buf_consume(&things, sizeof(thing));
        core_effects_reset(&d->effects);
        core_image(c, thing.is_group, thing.id, &d->effects);
        if (buf_size(&d->effects.records))
            ck_assert_int_eq(core_salvage(again, buf_front(&d->effects.records),
                                          buf_size(&d->effects.records),
                                          segment.u.segment, daemon_never, NULL,
                                          NULL),
                             0);
        while (core_next_ms(c) <= core_now_ms(c))
            daemon_beside(d, c, again, &tick);
    }
    core_replay_end(again);
    core_check(again);
    ck_assert_uint_eq(core_digest(again), core_digest(c));
    core_free(c);
    core_free(again);
    buf_clear(&things);
}

/* Nothing, one entry, or some, anywhere. */
static inline void daemon_damage(struct daemon *d)
{
    size_t n = d->nentries < 200 ? 32 : 4;

    daemon_without(d, 0, 0);
    for (size_t i = 0; i < n; i++) {
        size_t from = d->nentries * i / n;

        daemon_without(d, from, from + 1 + i % 3 * i);
    }
}

static inline void daemon_free(struct daemon *d)
{
    daemon_crash(d);
    daemon_damage(d);
    daemon_compact(d);
    daemon_crash(d);
    daemon_heal(d);
    daemon_crash(d);
    core_free(d->core);
    core_effects_clear(&d->effects);
    arena_clear(&d->arena);
    for (size_t i = 0; i < d->nentries; i++)
        mem_free(d->entries[i].data);
    mem_free(d);
}

/* The clock goes on; what is due happens in time. */
static inline void daemon_pass(struct daemon *d, int64_t ms)
{
    int64_t target = d->now + ms;
    struct core_event tick = {.kind = EVENT_TICK};

    while (core_next_ms(d->core) <= target) {
        d->now = max_i64(d->now, core_next_ms(d->core));
        daemon_step(d, &tick);
    }
    d->now = target;
}

/* The newest reply to a client that was not looked at yet, or NULL. */
static inline const struct node *got(struct daemon *d, uint64_t client)
{
    for (size_t i = 0; i < d->nreplies; i++)
        if (d->replies[i].client == client) {
            const struct node *n = d->replies[i].n;

            d->replies[i].client = 0;
            return n;
        }
    return NULL;
}

/* Asks and gives the answer, NULL if there is none yet. */
static inline const struct node *ask(struct daemon *d, uint64_t client,
                                     struct core_event *ev)
{
    ev->client.n = client;
    daemon_step(d, ev);
    return got(d, client);
}

static inline bool is_ok(const struct node *n)
{
    return n && n->v.kind == VALUE_OK;
}

static inline bool is_error(const struct node *n, enum core_error code)
{
    return n && node_is_error(n, code);
}

/* ------------------------------------------------------------------- jobs */

static inline struct core_event a_job(const char *queue)
{
    return (struct core_event){.kind = EVENT_SUBMIT,
                               .u.submit = {.queue = str_from(queue),
                                            .payload = STR("payload"),
                                            .priority = CORE_UNSET,
                                            .timeout_ms = CORE_UNSET,
                                            .deadline_ms = CORE_UNSET,
                                            .expires_ms = CORE_UNSET,
                                            .grace_ms = CORE_UNSET,
                                            .delay_ms = CORE_UNSET,
                                            .at_ms = CORE_UNSET,
                                            .factor_milli = CORE_UNSET,
                                            .jitter = CORE_UNSET,
                                            .retry = CORE_UNSET,
                                            .backoff_base_ms = CORE_UNSET,
                                            .backoff_cap_ms = CORE_UNSET,
                                            .redeliver = CORE_UNSET,
                                            .keep_ms = CORE_UNSET,
                                            .wait_ms = CORE_UNSET}};
}

/* Submits what must be accepted at once; its id. */
static inline uint64_t submit_event(struct daemon *d, struct core_event *ev)
{
    const struct node *n = ask(d, 1, ev);

    ck_assert_ptr_nonnull(n);
    return node_id(n, 'j');
}

static inline uint64_t submit(struct daemon *d, const char *queue,
                              uint64_t group)
{
    struct core_event ev = a_job(queue);

    ev.u.submit.group.n = group;
    return submit_event(d, &ev);
}

static inline struct job_view job(struct daemon *d, uint64_t id)
{
    return view_job(d->core, &d->arena, d->now, id);
}

static inline const struct node *fetch_from(struct daemon *d, uint64_t client,
                                            int64_t count, int64_t wait_ms,
                                            const char *queue)
{
    struct str name = str_from(queue);
    struct core_event ev = {
        .kind = EVENT_FETCH,
        .u.fetch = {
            .count = count, .wait_ms = wait_ms, .queues = &name, .nqueues = 1}};

    return ask(d, client, &ev);
}

/* Entry i of the answer to a FETCH as the token of a job. */
static inline struct token token_of(const struct node *page, uint32_t i)
{
    const struct node *e;

    ck_assert_ptr_nonnull(page);
    e = node_item(page, i);
    ck_assert(str_eq(node_str(node_item(e, 0)), STR("job")));
    return (struct token){.job = {node_id(node_item(e, 1), 'j')},
                          .attempt = node_item(e, 1)->v.attempt};
}

/* Takes one job of "q" as client 9. */
static inline struct token take(struct daemon *d)
{
    return token_of(fetch_from(d, 9, 1, 0, "q"), 0);
}

static inline struct core_event a_report(enum core_event_kind kind,
                                         struct token t, const char *class)
{
    struct core_event ev = {.kind = kind};

    ev.u.report.token = t;
    ev.u.report.class = str_from(class);
    ev.u.report.stream = 1;
    if (kind == EVENT_DONE)
        ev.u.report.result = STR("result");
    return ev;
}

static inline const struct node *report(struct daemon *d,
                                        enum core_event_kind kind,
                                        struct token t, const char *class)
{
    struct core_event ev = a_report(kind, t, class);

    return ask(d, 9, &ev);
}

static inline const struct node *result(struct daemon *d, uint64_t client,
                                        uint64_t id, int64_t wait_ms)
{
    struct core_event ev = {.kind = EVENT_RESULT,
                            .u.job = {.id = {id}, .wait_ms = wait_ms}};

    return ask(d, client, &ev);
}

/* The class of the last error of a job that has ended. */
static inline struct str last_class(struct daemon *d, uint64_t id)
{
    const struct node *errors = node_get(result(d, 3, id, 0), "errors");

    ck_assert_uint_gt(errors->v.count, 0);
    return node_str(node_get(node_item(errors, errors->v.count - 1), "class"));
}

static inline const struct node *cancel_event(struct daemon *d, bool is_job,
                                              uint64_t id, const char *reason)
{
    struct core_event ev = {.kind = EVENT_CANCEL,
                            .u.cancel = {.is_job = is_job,
                                         .job = {is_job ? id : 0},
                                         .group = {is_job ? 0 : id},
                                         .reason = str_from(reason),
                                         .grace_ms = CORE_UNSET}};

    return ask(d, 2, &ev);
}

static inline void cancel_job(struct daemon *d, uint64_t id, const char *reason)
{
    ck_assert(is_ok(cancel_event(d, true, id, reason)));
}

static inline void cancel_group(struct daemon *d, uint64_t id,
                                const char *reason)
{
    ck_assert(is_ok(cancel_event(d, false, id, reason)));
}

static inline void leave(struct daemon *d, uint64_t client,
                         enum core_disconnect how)
{
    struct core_event ev = {
        .kind = EVENT_DISCONNECT, .client = {client}, .u.disconnect = how};

    daemon_step(d, &ev);
}

static inline void alive(struct daemon *d, uint64_t client)
{
    struct core_event ev = {.kind = EVENT_ALIVE, .client = {client}};

    daemon_step(d, &ev);
}

static inline uint64_t session_of(struct daemon *d, uint64_t client)
{
    struct core_event ev = {.kind = EVENT_SESSION};

    return node_id(ask(d, client, &ev), 's');
}

static inline const struct node *resume(struct daemon *d, uint64_t client,
                                        uint64_t session)
{
    struct core_event ev = {.kind = EVENT_SESSION_RESUME,
                            .u.session = {session}};

    return ask(d, client, &ev);
}

/* ----------------------------------------------------------------- groups */

static inline struct core_event a_group(void)
{
    return (struct core_event){.kind = EVENT_GROUP_OPEN,
                               .u.group_open = {.fail = CORE_UNSET,
                                                .succeed = CORE_UNSET,
                                                .width = CORE_UNSET,
                                                .timeout_ms = CORE_UNSET,
                                                .deadline_ms = CORE_UNSET,
                                                .keep_ms = CORE_UNSET,
                                                .detached = true}};
}

static inline uint64_t open_event(struct daemon *d, struct core_event *ev)
{
    const struct node *n = ask(d, 4, ev);

    ck_assert_ptr_nonnull(n);
    return node_id(n, 'g');
}

static inline uint64_t open_policy(struct daemon *d, int64_t fail,
                                   int64_t succeed)
{
    struct core_event ev = a_group();

    ev.u.group_open.fail = fail;
    ev.u.group_open.succeed = succeed;
    return open_event(d, &ev);
}

static inline uint64_t open_under_job(struct daemon *d, struct token t)
{
    struct core_event ev = a_group();

    ev.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    return open_event(d, &ev);
}

static inline uint64_t open_under_group(struct daemon *d, uint64_t parent,
                                        int64_t fail)
{
    struct core_event ev = a_group();

    ev.u.group_open.parent.group.n = parent;
    ev.u.group_open.fail = fail;
    return open_event(d, &ev);
}

static inline struct group_view group(struct daemon *d, uint64_t id)
{
    return view_group(d->core, &d->arena, d->now, id);
}

static inline void close_group(struct daemon *d, uint64_t id)
{
    struct core_event ev = {.kind = EVENT_GROUP_CLOSE, .u.group.id = {id}};

    ck_assert(is_ok(ask(d, 4, &ev)));
}

/* GROUP INFO, WAIT, NEXT, RESULTS, TREE */
/* With one permit. */
static inline void set_limiter(struct daemon *d, const char *name)
{
    struct core_event ev = {.kind = EVENT_LIMITER_SET,
                            .u.limiter = {.name = str_from(name),
                                          .permits = 1,
                                          .rate = CORE_UNSET,
                                          .rate_ms = CORE_UNSET}};

    ck_assert(is_ok(ask(d, 2, &ev)));
}

static inline const struct node *group_ask(struct daemon *d, uint64_t client,
                                           enum core_event_kind kind,
                                           uint64_t id, int64_t cursor,
                                           int64_t wait_ms, int64_t count)
{
    struct core_event ev = {
        .kind = kind,
        .u.group = {
            .id = {id}, .cursor = cursor, .wait_ms = wait_ms, .count = count}};

    return ask(d, client, &ev);
}

#endif
