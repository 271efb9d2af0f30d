/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_core - any bytes as a row of events: no assertion may fail, each
 * request gets one answer, and the records give the same state again.
 *
 * An event is a byte for its kind and a few bytes for what it asks. Ids are
 * picked from those that were given out; options are in their range, as the
 * server sees to.
 */
#include "base/mem.h"
#include "core/core.h"

#define EVENTS_MAX 400
#define TICKS_MAX  200
#define CLIENTS    6
#define IDS        64
#define START_MS   INT64_C(1700000000000)
#define ADVANCE_MS 700

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    const uint8_t *data;
    size_t size;
    struct core_limits limits;
    struct core *core;
    struct core_effects out;
    struct buf entries; /* u32 length and bytes, for each */
    int64_t now;
    int64_t room; /* of a full disk; INT64_MAX: it is not */
    uint64_t random;
    bool waiting[CLIENTS + 1];
    struct token tokens[IDS];
    uint64_t jobs[IDS], groups[IDS], sessions[IDS];
    size_t ntokens, njobs, ngroups, nsessions;
};

static uint8_t take(struct fuzz *f)
{
    if (f->size == 0)
        return 0;
    f->size--;
    return *f->data++;
}

static int64_t option(struct fuzz *f, int64_t most)
{
    uint8_t b = take(f);

    if (b < 96)
        return CORE_UNSET;
    return most * (b - 96) / 159;
}

static uint64_t pick(struct fuzz *f, const uint64_t *ids, size_t n)
{
    uint8_t b = take(f);

    if (n == 0 || b == 255)
        return 77;
    return ids[(n - 1 - b % (n < IDS ? n : IDS)) % IDS];
}

static struct token pick_token(struct fuzz *f)
{
    uint8_t b = take(f);

    if (f->ntokens == 0 || b == 255)
        return (struct token){.job = {77}, .attempt = 1};
    return f
        ->tokens[(f->ntokens - 1 - b % (f->ntokens < IDS ? f->ntokens : IDS)) %
                 IDS];
}

/* Remembers ids wherever they are in a reply. */
static void learn(struct fuzz *f, const char *bytes, size_t len)
{
    size_t at = 0;

    while (at < len) {
        struct value v;

        value_read(bytes, &at, &v);
        if (v.kind != VALUE_ID)
            continue;
        if (v.attempt)
            f->tokens[f->ntokens++ % IDS] =
                (struct token){.job = {v.id}, .attempt = v.attempt};
        else if (v.id_kind == 'j')
            f->jobs[f->njobs++ % IDS] = v.id;
        else if (v.id_kind == 'g')
            f->groups[f->ngroups++ % IDS] = v.id;
        else
            f->sessions[f->nsessions++ % IDS] = v.id;
    }
    ASSERT(at == len);
}

/* It is whole, and ends where it says. */
static void check_news(const char *bytes, size_t len)
{
    size_t at = 0, todo = 1;

    while (todo--) {
        struct value v;

        value_read(bytes, &at, &v);
        ASSERT(at <= len && v.kind != VALUE_ERROR);
        if (v.kind == VALUE_ARRAY)
            todo += v.count;
        if (v.kind == VALUE_MAP)
            todo += (size_t)v.count * 2;
    }
    ASSERT(at == len);
}

/* Nothing is recorded any more when the reserve of a full disk is used up. */
static void check_room(struct fuzz *f, const struct core_event *ev, int64_t len)
{
    if (ev->kind == EVENT_DISK_FULL)
        f->room = ev->u.full.on ? ev->u.full.room : INT64_MAX;
    if (f->room == INT64_MAX || len == 0)
        return;
    ASSERT(f->room > 0);
    f->room -= len + CORE_ENTRY_BYTES;
}

static void step(struct fuzz *f, struct core_event *ev)
{
    uint32_t len;

    ev->now_ms = f->now;
    ev->random = f->random = f->random * UINT64_C(6364136223846793005) + 1;
    core_effects_reset(&f->out);
    core_step(f->core, ev, &f->out);
    core_check(f->core);
    len = (uint32_t)buf_size(&f->out.records);
    check_room(f, ev, len);
    if (len) {
        buf_append(&f->entries, &len, sizeof(len));
        buf_append(&f->entries, buf_front(&f->out.records), len);
    }
    for (size_t i = 0; i < f->out.len; i++) {
        const struct core_effect *e = &f->out.list[i];

        if (e->kind == EFFECT_NEWS)
            check_news(f->out.values.data + e->at, e->len);
        if (e->kind != EFFECT_REPLY)
            continue;
        ASSERT(e->client.n <= CLIENTS && f->waiting[e->client.n]);
        f->waiting[e->client.n] = false;
        learn(f, f->out.values.data + e->at, e->len);
    }
    for (uint64_t i = 1; i <= CLIENTS; i++)
        ASSERT(f->waiting[i] == core_blocked(f->core, (struct client_id){i}));
}

static void ticks(struct fuzz *f)
{
    for (int i = 0; i < TICKS_MAX && core_next_ms(f->core) <= f->now; i++) {
        struct core_event tick = {.kind = EVENT_TICK};

        step(f, &tick);
    }
}

static void advance(struct fuzz *f, int64_t ms)
{
    int64_t target = f->now + ms;

    while (core_next_ms(f->core) <= target) {
        f->now = max_i64(f->now, core_next_ms(f->core));
        ticks(f);
    }
    f->now = target;
}

/* Few, so that they meet. */
static struct str pick_key(struct fuzz *f)
{
    static const char keys[] = "abc";
    uint8_t b = take(f);

    return (struct str){.p = keys + b % 3, .len = b < 64};
}

static void fill_submit(struct fuzz *f, struct event_submit *s)
{
    static const char payload[200];
    static const char *const limits[] = {"", "x", "y", "x,y", "y:2", "x:3,y"};
    uint8_t which = take(f);
    uint8_t where = take(f);

    *s = (struct event_submit){
        .group = {where & 1 ? pick(f, f->groups, f->ngroups) : 0},
        .then = where & 4 ? STR("b,a") : STR(""),
        .body = where & 2 ? pick_token(f) : (struct token){0},
        .queue = take(f) & 1 ? STR("a") : STR("b"),
        .payload = {.p = payload, .len = take(f) % sizeof(payload)},
        .key = pick_key(f),
        .limits = str_from(limits[which < 128 ? 0 : which % 6]),
        .priority = option(f, CORE_PRIORITIES - 1),
        .timeout_ms = option(f, 3000),
        .deadline_ms = option(f, 3000),
        .expires_ms = option(f, 2000),
        .grace_ms = option(f, 300),
        .delay_ms = option(f, 1000),
        .at_ms = CORE_UNSET,
        .factor_milli = CORE_UNSET,
        .jitter = option(f, 100),
        .retry = option(f, 3),
        .backoff_base_ms = option(f, 300),
        .backoff_cap_ms = option(f, 400),
        .redeliver = option(f, 3),
        .keep_ms = option(f, 2000),
        .wait_ms = option(f, 500),
    };
    if (s->deadline_ms != CORE_UNSET)
        s->deadline_ms += f->now;
    if (s->retry == 0)
        s->retry = 1;
    if (s->jitter != CORE_UNSET && s->jitter % 3 == 0) {
        s->factor_milli = CORE_FACTOR_MIN + s->jitter * 13;
        s->retry_on = s->jitter ? STR("exit:*") : STR("");
        if (s->delay_ms == CORE_UNSET)
            s->at_ms = f->now - 100 + s->jitter * 9;
    }
}

static void fill_group(struct fuzz *f, struct event_group_open *g)
{
    uint8_t how = take(f);

    *g = (struct event_group_open){
        .fail = option(f, 3),
        .succeed = option(f, 3),
        .width = option(f, 3),
        .timeout_ms = option(f, 3000),
        .deadline_ms = option(f, 3000),
        .keep_ms = option(f, 2000),
        .key = how & 8 ? pick_key(f) : (struct str){0},
        .detached = how & 1,
    };
    if (g->deadline_ms != CORE_UNSET)
        g->deadline_ms += f->now;
    if (g->width == 0)
        g->width = 1;
    if (how & 2)
        g->parent = (struct scope_ref){.is_job = true, .token = pick_token(f)};
    else if (how & 4)
        g->parent.group.n = pick(f, f->groups, f->ngroups);
}

static void fill_report(struct fuzz *f, struct core_event *ev)
{
    static const struct str classes[] = {{.p = "exit:1", .len = 6},
                                         {.p = "cancelled", .len = 9}};

    ev->u.report.token = pick_token(f);
    ev->u.report.class = classes[take(f) & 1];
    ev->u.report.result = STR("result");
    ev->u.report.message = STR("message");
    ev->u.report.shield_ms = take(f) * 8;
    ev->u.report.stream = 1;
    ev->u.report.data = STR("data");
    ev->u.report.value = STR("value");
}

/* A time before or after now, or none. */
static int64_t moment(struct fuzz *f)
{
    int64_t ms = option(f, 4000);

    if (ms == CORE_UNSET)
        return ms;
    return ms > 3900 ? CORE_NONE : f->now - 1000 + ms;
}

static void fill_move(struct fuzz *f, struct core_event *ev)
{
    ev->u.reschedule.is_job = take(f) & 1;
    if (ev->u.reschedule.is_job)
        ev->u.reschedule.job.n = pick(f, f->jobs, f->njobs);
    else
        ev->u.reschedule.group.n = pick(f, f->groups, f->ngroups);
    ev->u.reschedule.timeout_ms = option(f, 3000);
    ev->u.reschedule.deadline_ms = moment(f);
    ev->u.reschedule.expires_ms = option(f, 2000);
    ev->u.reschedule.at_ms = moment(f);
}

static void fill_queue(struct fuzz *f, struct core_event *ev)
{
    ev->u.queue.name = take(f) & 1 ? STR("a") : STR("b");
    if (ev->kind == EVENT_QUEUE_PAUSE) {
        ev->u.queue.paused = take(f) & 1;
    } else if (ev->kind == EVENT_QUEUE_CLOSE) {
        uint8_t how = take(f);

        ev->u.queue.closed = how & 1;
        ev->u.queue.at_once = how & 2;
    } else if (ev->kind == EVENT_QUEUE_JOIN) {
        ev->u.queue.wait_ms = take(f) * 4;
    } else if (ev->kind == EVENT_QUEUE_SET) {
        struct queue_settings *s = &ev->u.queue.settings;

        core_settings_unset(s);
        s->max_jobs = 1 + take(f) % 20;
        s->max_bytes = 1 + take(f) * 8;
        s->timeout_ms = option(f, 3000);
        s->grace_ms = option(f, 300);
        s->redeliver = option(f, 3);
        s->keep_ms = option(f, 2000);
        s->wait_ms = option(f, 500);
        s->dead_keep_ms = option(f, 4000);
        s->expires_ms = option(f, 2000);
        s->jitter = option(f, 100);
        if (s->jitter != CORE_UNSET)
            s->retry_on = s->jitter % 2 ? STR("exit:*,lost") : STR("");
        s->fair = take(f) & 1;
    }
}

static void fill_limiter(struct fuzz *f, struct core_event *ev)
{
    ev->u.limiter.name = take(f) & 1 ? STR("x") : STR("y");
    ev->u.limiter.permits = take(f) % 5 - 1;
    ev->u.limiter.rate = take(f) % 4;
    ev->u.limiter.rate_ms = ev->u.limiter.rate ? 1 + take(f) : 0;
}

/* False: such an event is not sent, or may not be sent now. */
/* Cursors of its own making: most are refused, some point somewhere. */
static void fill_errors(struct fuzz *f, struct core_event *ev)
{
    static char cursor[33];

    ev->u.errors.is_job = take(f) & 1;
    if (ev->u.errors.is_job)
        ev->u.errors.job.n = pick(f, f->jobs, f->njobs);
    else
        ev->u.errors.group.n = pick(f, f->groups, f->ngroups);
    (void)snprintf(cursor, sizeof(cursor), "%016llx%016llx",
                   (unsigned long long)(pick(f, f->groups, f->ngroups) |
                                        (uint64_t)(take(f) & 1) << 63),
                   (unsigned long long)pick(f, f->jobs, f->njobs));
    ev->u.errors.cursor = take(f) & 3 ? STR("0") : str_from(cursor);
    ev->u.errors.classes = take(f) & 1 ? STR("exit:*") : (struct str){0};
    ev->u.errors.except = take(f) & 1 ? STR("lost,e*") : (struct str){0};
    ev->u.errors.count = 1 + take(f) % 4;
}

/* What is lent to an event. */
struct lent {
    struct str queues[2];
    int64_t bounds[2];
    struct core_id id;
};

static void fill_fetch(struct fuzz *f, struct core_event *ev, struct lent *lent)
{
    int64_t *bounds = lent->bounds;
    uint8_t byte;

    lent->queues[0] = STR("a");
    lent->queues[1] = STR("b");
    ev->u.fetch.queues = lent->queues;
    ev->u.fetch.nqueues = 1 + (take(f) & 1);
    byte = take(f);
    ev->u.fetch.count = byte % 5;
    bounds[0] = byte / 5 % 4 - 1;
    bounds[1] = byte / 20 % 4 - 1;
    if (bounds[0] != CORE_NONE || bounds[1] != CORE_NONE)
        ev->u.fetch.bounds = bounds;
    ev->u.fetch.wait_ms = take(f) * 4;
}

static bool fill(struct fuzz *f, struct core_event *ev, struct lent *lent)
{
    struct core_id *id = &lent->id;

    switch (ev->kind) {
    case EVENT_SUBMIT:
        fill_submit(f, &ev->u.submit);
        return true;
    case EVENT_STATUS:
    case EVENT_RESULT:
        ev->u.job.id.n = pick(f, f->jobs, f->njobs);
        ev->u.job.wait_ms = take(f) * 4;
        ev->u.job.ready = ev->u.job.wait_ms & 4;
        return true;
    case EVENT_CANCEL:
        ev->u.cancel.is_job = take(f) & 1;
        if (ev->u.cancel.is_job)
            ev->u.cancel.job.n = pick(f, f->jobs, f->njobs);
        else
            ev->u.cancel.group.n = pick(f, f->groups, f->ngroups);
        ev->u.cancel.reason = STR("reason");
        ev->u.cancel.grace_ms = option(f, 300);
        return true;
    case EVENT_RESCHEDULE:
        fill_move(f, ev);
        return true;
    case EVENT_LOGS:
        ev->u.logs.is_job = take(f) & 1;
        ev->u.logs.times = take(f) & 1;
        ev->u.logs.job.n = pick(f, f->jobs, f->njobs);
        ev->u.logs.group.n = pick(f, f->groups, f->ngroups);
        ev->u.logs.cursor = take(f);
        ev->u.logs.wait_ms = take(f) * 4;
        ev->u.logs.count = 1 + take(f);
        return true;
    case EVENT_JOBS:
        ev->u.jobs.count = 1 + take(f);
        return true;
    case EVENT_GROUP_OPEN:
        fill_group(f, &ev->u.group_open);
        return true;
    case EVENT_GROUP_CLOSE:
    case EVENT_GROUP_INFO:
    case EVENT_GROUP_NEXT:
    case EVENT_GROUP_RESULTS:
    case EVENT_GROUP_TREE:
        ev->u.group.id.n = pick(f, f->groups, f->ngroups);
        ev->u.group.cursor = take(f) % 8;
        ev->u.group.wait_ms = take(f) * 4;
        ev->u.group.count = 1 + take(f);
        ev->u.group.errors_only = take(f) & 1;
        return true;
    case EVENT_GROUP_ERRORS:
        fill_errors(f, ev);
        return true;
    case EVENT_AWAIT:
    case EVENT_UNAWAIT:
        id->is_group = take(f) & 1;
        id->n = id->is_group ? pick(f, f->groups, f->ngroups)
                             : pick(f, f->jobs, f->njobs);
        ev->u.await.ids = id;
        ev->u.await.nids = 1;
        return true;
    case EVENT_FETCH:
        fill_fetch(f, ev, lent);
        return true;
    case EVENT_DONE:
    case EVENT_FAIL:
    case EVENT_RELEASE:
    case EVENT_TOUCH:
    case EVENT_SHIELD:
    case EVENT_UNSHIELD:
    case EVENT_LOG:
    case EVENT_READY:
        fill_report(f, ev);
        return true;
    case EVENT_QUEUE_LIST:
    case EVENT_SESSION:
        return true;
    case EVENT_RETRY:
        ev->u.job.id.n = pick(f, f->jobs, f->njobs);
        return true;
    case EVENT_DEAD_LIST:
    case EVENT_DEAD_RETRY:
    case EVENT_DEAD_PURGE:
        if (take(f) & 1)
            ev->u.dead.queue = STR("a");
        ev->u.dead.count = option(f, 5);
        return true;
    case EVENT_QUEUE_INFO:
    case EVENT_QUEUE_SET:
    case EVENT_QUEUE_PAUSE:
    case EVENT_QUEUE_CLOSE:
    case EVENT_QUEUE_JOIN:
    case EVENT_QUEUE_PURGE:
        fill_queue(f, ev);
        return true;
    case EVENT_LIMITER_SET:
    case EVENT_LIMITER_INFO:
    case EVENT_LIMITER_LIST:
    case EVENT_LIMITER_DELETE:
        fill_limiter(f, ev);
        return true;
    case EVENT_SESSION_RESUME:
        ev->u.session.n = pick(f, f->sessions, f->nsessions);
        return true;
    case EVENT_DISK_FULL:
        ev->client.n = 0;
        ev->u.full.on = take(f) & 1;
        ev->u.full.room = (int64_t)take(f) * 64;
        return true;
    case EVENT_DRAIN:
        ev->client.n = 0;
        ev->u.on = take(f) & 1;
        return true;
    case EVENT_LOAD: /* of what nobody asked for */
        ev->client.n = 0;
        ev->u.load.segment = ev->u.load.offset = take(f);
        return true;
    case EVENT_WATCH:
        ev->client.n = 0;
        ev->u.work = take(f) & 1;
        return true;
    case EVENT_CLOCK:
        ev->client.n = 0;
        ev->u.shift_ms = ((int64_t)take(f) - 128) * 1000;
        return true;
    case EVENT_ALIVE:
    case EVENT_UNBLOCK:
    case EVENT_DISCONNECT:
    case EVENT_START:
    case EVENT_TICK:
    case EVENT_SEGMENT:
        break; /* not answered: see one() */
    }
    return false;
}

static void one(struct fuzz *f)
{
    struct lent lent;
    uint8_t kind = take(f), who = take(f);
    struct core_event ev = {.client = {1 + who % CLIENTS}};

    advance(f, (who / CLIENTS) * (int64_t)ADVANCE_MS / 42);
    ev.kind = (enum core_event_kind)(kind % (EVENT_CLOCK + 1));
    if (ev.kind == EVENT_ALIVE) {
        step(f, &ev);
    } else if (ev.kind == EVENT_DISCONNECT) {
        ev.u.disconnect = (enum core_disconnect)(take(f) % 3);
        f->waiting[ev.client.n] = false;
        step(f, &ev);
    } else if (f->waiting[ev.client.n]) {
        ev.kind = EVENT_UNBLOCK;
        step(f, &ev);
    } else if (fill(f, &ev, &lent)) {
        f->waiting[ev.client.n] = ev.client.n != 0;
        step(f, &ev);
    }
    ticks(f);
}

static void replay(struct fuzz *f)
{
    struct core *c = core_new(&f->limits);

    while (buf_size(&f->entries)) {
        char text[128];
        uint32_t len;

        memcpy(&len, buf_front(&f->entries), sizeof(len));
        buf_consume(&f->entries, sizeof(len));
        ASSERT(core_replay(c, buf_front(&f->entries), len, 1, text) == 0);
        buf_consume(&f->entries, len);
    }
    core_check(c);
    ASSERT(core_digest(c) == core_digest(f->core));
    core_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core_event ev = {.kind = EVENT_START};
    struct fuzz f = {
        .data = data, .size = size, .now = START_MS, .room = INT64_MAX};

    core_limits_init(&f.limits);
    f.limits.lease_ms = 1500;
    f.limits.session_grace_ms = 900;
    f.limits.retain_jobs = 20;
    f.limits.groups_max = 30;
    f.limits.members_max = 30;
    f.limits.depth_max = 6;
    f.limits.keep_max_ms = 5000;
    f.limits.queue_defaults.max_jobs = 8;
    f.limits.queue_defaults.keep_ms = 3000;
    f.core = core_new(&f.limits);
    core_effects_init(&f.out);
    buf_init(&f.entries);
    step(&f, &ev);
    for (int i = 0; i < EVENTS_MAX && f.size; i++)
        one(&f);
    replay(&f);
    core_free(f.core);
    core_effects_clear(&f.out);
    buf_clear(&f.entries);
    return 0;
}
