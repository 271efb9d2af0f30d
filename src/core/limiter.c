/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter - named permits and rates, the sets of them that jobs need, and the
 * commands about them.
 *
 * A permit is held from the start of an attempt until its body has ended:
 * `held` follows from the states of the jobs alone (job.c takes and gives
 * back). A rate is a bucket of tokens that starts take and time fills; what is
 * in it follows from the times in the records of the starts, in whole numbers:
 * the level counts in parts of 1 / rate_ms of a token, so that a millisecond
 * adds `rate` of them. Who waits, and in which order, is line.c.
 *
 * A deleted limiter stays in memory, without a name, for as long as a job that
 * has ended but is kept was submitted with it.
 */
#include "core/limiter.h"

#include "core/full.h"
#include "core/internal.h"
#include "core/segment.h"

/* Bound of the table, whatever limiters-max says. In images the first number
 * behind it stands for limiters that were deleted. */
#define LIMITER_NUMBERS 65536u
#define LIMITER_DELETED LIMITER_NUMBERS

static struct str limiter_name(const struct limiter *l)
{
    return (struct str){.p = l->name, .len = l->name_len};
}

/* As that of a queue, but for the colon, which LIMITS has another use for. */
static bool name_ok(struct str name)
{
    if (name.len == 0 || name.len > CORE_LIMITER_NAME_MAX || name.p[0] == '-')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.p[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
              (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == '-'))
            return false;
    }
    return true;
}

static struct limiter *limiter_find(const struct core *c, struct str name)
{
    struct map_node *n =
        map_find(&c->limiter_names, map_hash(name.p, name.len));

    for (; n; n = map_next(n)) {
        struct limiter *l = container_of(n, struct limiter, node);

        if (str_eq(limiter_name(l), name))
            return l;
    }
    return NULL;
}

static struct limiter *limiter_numbered(const struct core *c, uint64_t id)
{
    return id < c->limiter_count ? c->limiter_table[id] : NULL;
}

/* ------------------------------------------------------------------ bucket */

static int64_t full_level(const struct limiter *l)
{
    return l->rate * l->rate_ms;
}

static int64_t level_at(const struct limiter *l, int64_t now_ms)
{
    int64_t passed = now_ms - l->filled_ms;

    if (passed <= 0)
        return l->level;
    if (passed >= l->rate_ms)
        return full_level(l);
    return min_i64(full_level(l), l->level + passed * l->rate);
}

int64_t limiter_room(const struct core *c, const struct limiter *l)
{
    int64_t room = INT64_MAX;

    if (l->permits != CORE_NONE)
        room = l->permits - l->held;
    if (l->rate)
        room = min_i64(room, level_at(l, c->now_ms) / l->rate_ms);
    return room;
}

int64_t limiter_cost(const struct limiter *l, int64_t n)
{
    if (l->permits != CORE_NONE)
        n = min_i64(n, l->permits);
    if (l->rate)
        n = min_i64(n, l->rate);
    return max_i64(n, 1);
}

bool limiter_lacks_permits(const struct limiter *l, int64_t n)
{
    return l->permits != CORE_NONE &&
           l->permits - l->held < min_i64(n, l->permits);
}

void limiter_spend(struct core *c, const struct record_needs *spends,
                   int64_t at_ms)
{
    for (size_t i = 0; i < spends->len; i++) {
        struct limiter *l = limiter_numbered(c, spends->list[i].limiter);

        if (!l || !l->rate)
            continue;
        l->level =
            max_i64(0, level_at(l, at_ms) -
                           limiter_cost(l, spends->list[i].n) * l->rate_ms);
        l->filled_ms = max_i64(l->filled_ms, at_ms);
    }
}

/* ------------------------------------------------------------------- needs */

static uint64_t needs_hash(const struct need *list, size_t len)
{
    uint64_t h = len;

    for (size_t i = 0; i < len; i++) {
        h = (h ^ list[i].limiter->id) * UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ (uint64_t)list[i].n) * UINT64_C(0xd6e8feb86659fd93);
        h ^= h >> 32;
    }
    return h;
}

static bool needs_equal(const struct needs *s, const struct need *list,
                        size_t len)
{
    if (s->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (s->list[i].limiter != list[i].limiter || s->list[i].n != list[i].n)
            return false;
    return true;
}

static size_t needs_bytes(size_t len)
{
    return sizeof(struct needs) + len * sizeof(struct need);
}

/* Stands for all that images say were deleted. */
static struct limiter *deleted_limiter(struct core *c)
{
    struct limiter *l = c->deleted_limiter;

    if (l)
        return l;
    l = c->deleted_limiter = mem_zalloc(sizeof(*l));
    l->id = LIMITER_DELETED;
    l->refs = 1;
    l->deleted = true;
    list_init(&l->lines);
    account(c, (int64_t)sizeof(*l));
    return l;
}

bool needs_deleted(const struct record_needs *r)
{
    return r->len == 1 && r->list[0].limiter == LIMITER_DELETED;
}

bool needs_known(const struct core *c, const struct record_needs *r)
{
    for (size_t i = 0; i < r->len && !needs_deleted(r); i++)
        if (!limiter_numbered(c, r->list[i].limiter))
            return false;
    return true;
}

struct needs *needs_get(struct core *c, const struct record_needs *r)
{
    struct need list[CORE_LIMITS_MAX];
    struct map_node *n;
    struct needs *s;

    for (size_t i = 0; i < r->len; i++) {
        list[i].limiter = needs_deleted(r)
                              ? deleted_limiter(c)
                              : limiter_numbered(c, r->list[i].limiter);
        list[i].n = r->list[i].n;
        if (!list[i].limiter || list[i].n < 1 ||
            (i > 0 && r->list[i].limiter <= r->list[i - 1].limiter))
            return NULL;
    }
    n = map_find(&c->needs, needs_hash(list, r->len));
    for (; n; n = map_next(n)) {
        s = container_of(n, struct needs, node);
        if (needs_equal(s, list, r->len)) {
            s->refs++;
            return s;
        }
    }
    s = mem_zalloc(needs_bytes(r->len));
    s->refs = 1;
    s->len = r->len;
    memcpy(s->list, list, r->len * sizeof(*list));
    s->node.hash = needs_hash(list, r->len);
    map_insert(&c->needs, &s->node);
    account(c, (int64_t)needs_bytes(s->len));
    for (size_t i = 0; i < s->len; i++)
        s->list[i].limiter->refs++;
    return s;
}

static void limiter_put(struct core *c, struct limiter *l)
{
    if (--l->refs > 0)
        return;
    ASSERT(l->deleted && list_empty(&l->lines) && l->held == 0);
    account(c, -(int64_t)(sizeof(*l) + l->name_len));
    mem_free(l->name);
    mem_free(l);
}

void needs_put(struct core *c, struct needs *s)
{
    if (--s->refs > 0)
        return;
    map_remove(&c->needs, &s->node);
    account(c, -(int64_t)needs_bytes(s->len));
    for (size_t i = 0; i < s->len; i++)
        limiter_put(c, s->list[i].limiter);
    mem_free(s);
}

void needs_use(struct needs *s, int by)
{
    for (size_t i = 0; i < s->len; i++)
        s->list[i].limiter->users += by;
}

void needs_hold(struct core *c, struct needs *s, int by)
{
    for (size_t i = 0; i < s->len; i++) {
        struct limiter *l = s->list[i].limiter;

        l->held += by * s->list[i].n;
        if (by < 0)
            limiter_wake(c, l);
    }
}

bool needs_exist(const struct needs *s)
{
    for (size_t i = 0; i < s->len; i++)
        if (s->list[i].limiter->deleted)
            return false;
    return true;
}

void needs_write(const struct needs *s, struct record_needs *out)
{
    out->len = (uint8_t)s->len;
    if (!needs_exist(s)) { /* the number may be that of another one by now */
        out->len = 1;
        out->list[0].limiter = LIMITER_DELETED;
        out->list[0].n = 1;
        return;
    }
    for (size_t i = 0; i < s->len; i++) {
        out->list[i].limiter = s->list[i].limiter->id;
        out->list[i].n = (uint32_t)s->list[i].n;
    }
}

void needs_spends(const struct needs *s, struct record_needs *out)
{
    out->len = 0;
    for (size_t i = 0; i < s->len; i++) {
        if (!s->list[i].limiter->rate)
            continue;
        out->list[out->len].limiter = s->list[i].limiter->id;
        out->list[out->len++].n = (uint32_t)s->list[i].n;
    }
}

/* ------------------------------------------------------------------- apply */

static bool bounds_ok(int64_t permits, int64_t rate, int64_t rate_ms)
{
    return permits >= CORE_NONE && permits <= CORE_PERMITS_MAX && rate >= 0 &&
           rate <= CORE_RATE_MAX && rate_ms >= 0 &&
           rate_ms <= CORE_RATE_MS_MAX && (rate == 0) == (rate_ms == 0);
}

static struct limiter *limiter_new(struct core *c, uint32_t id, struct str name)
{
    struct limiter *l = mem_zalloc(sizeof(*l));

    if (id >= c->limiter_count) {
        c->limiter_table = mem_realloc(
            c->limiter_table, mem_mul(id + 1, sizeof(*c->limiter_table)));
        while (c->limiter_count <= id)
            c->limiter_table[c->limiter_count++] = NULL;
    }
    c->limiter_table[id] = l;
    c->nlimiters++;
    l->id = id;
    l->refs = 1;
    l->name = mem_dup_text(name.p, name.len);
    l->name_len = (uint32_t)name.len;
    l->timer.kind = TIMER_LIMITER;
    list_init(&l->lines);
    list_init(&l->wake);
    list_init(&l->outranked);
    l->node.hash = map_hash(name.p, name.len);
    map_insert(&c->limiter_names, &l->node);
    list_push_back(&c->limiters, &l->link);
    account(c, (int64_t)(sizeof(*l) + l->name_len));
    c->name_bytes += l->name_len;
    return l;
}

static const char *apply_set(struct core *c, const struct record *r)
{
    const struct record_limiter *rl = &r->u.limiter;
    struct limiter *l = limiter_find(c, rl->name);

    if (!name_ok(rl->name) || !bounds_ok(rl->permits, rl->rate, rl->rate_ms) ||
        rl->level < 0 || rl->level > rl->rate * rl->rate_ms ||
        rl->filled_ms < 0)
        return "limiter with impossible bounds";
    if (!l) {
        if (r->id >= LIMITER_NUMBERS || limiter_numbered(c, r->id))
            return "limiter with a number that is taken";
        l = limiter_new(c, (uint32_t)r->id, rl->name);
    } else {
        if (r->id != l->id)
            return "limiter with another number";
        segment_drop(c, l->segment);
        l->lowered = l->lowered ||
                     (rl->permits != CORE_NONE &&
                      (l->permits == CORE_NONE || rl->permits < l->permits));
    }
    /* What an older record, removed by now, has lowered is not known; and with
     * no permits at all any need is accepted. */
    l->lowered = l->lowered || !c->started || rl->permits == 0;
    segment_hold(c, &l->segment);
    l->permits = rl->permits;
    l->rate = rl->rate;
    l->rate_ms = rl->rate_ms;
    l->level = rl->level;
    l->filled_ms = rl->filled_ms;
    return NULL;
}

static const char *apply_delete(struct core *c, const struct record *r)
{
    struct limiter *l = limiter_numbered(c, r->id);

    if (!l)
        return NULL; /* its image was removed */
    if (l->users)
        return "deletion of a limiter that is needed";
    c->limiter_table[l->id] = NULL;
    c->nlimiters--;
    c->name_bytes -= l->name_len;
    map_remove(&c->limiter_names, &l->node);
    list_remove(&l->link);
    list_remove(&l->wake);
    list_remove(&l->outranked);
    timer_stop(c, &l->timer);
    segment_drop(c, l->segment);
    l->deleted = true;
    limiter_put(c, l);
    return NULL;
}

const char *limiter_apply(struct core *c, const struct record *r)
{
    return r->type == RECORD_LIMITER ? apply_set(c, r) : apply_delete(c, r);
}

void limiters_clear(struct core *c)
{
    list_foreach_safe (it, &c->limiters) {
        struct limiter *l = list_entry(it, struct limiter, link);

        l->deleted = true;
        l->held = 0;
        limiter_put(c, l);
    }
    if (c->deleted_limiter)
        limiter_put(c, c->deleted_limiter);
    mem_free(c->limiter_table);
}

/* --------------------------------------------------------------- decisions */

static void limiter_record(struct core *c, uint32_t id, struct str name,
                           const struct record_limiter *bounds)
{
    struct record r = {.type = RECORD_LIMITER,
                       .at_ms = c->now_ms,
                       .id = id,
                       .u.limiter = *bounds};

    r.u.limiter.name = name;
    core_record(c, &r);
}

static void write_image(struct core *c, const struct limiter *l)
{
    limiter_record(c, l->id, limiter_name(l),
                   &(struct record_limiter){.permits = l->permits,
                                            .rate = l->rate,
                                            .rate_ms = l->rate_ms,
                                            .level = l->level,
                                            .filled_ms = l->filled_ms});
}

void limiter_write_image(struct core *c, uint32_t number)
{
    const struct limiter *l = limiter_numbered(c, number);

    if (l && l->segment != c->segment)
        write_image(c, l);
}

void limiter_write_images(struct core *c, const struct record_needs *needs)
{
    for (size_t i = 0; i < needs->len; i++) {
        const struct limiter *l = limiter_numbered(c, needs->list[i].limiter);

        if (l && l->segment != c->segment)
            write_image(c, l);
    }
}

void limiter_wake(struct core *c, struct limiter *l)
{
    if (c->serving == l || l->halfway)
        l->again = true;
    else if (l->shut_out && !list_linked(&l->wake))
        list_push_back(&c->limiter_wakes, &l->wake);
}

void limiter_wake_at(struct core *c, struct limiter *l, int64_t tokens)
{
    int64_t level, at;

    if (!l->rate || tokens > l->rate)
        return;
    level = level_at(l, c->now_ms);
    if (level >= tokens * l->rate_ms)
        return;
    at = c->now_ms + (tokens * l->rate_ms - level + l->rate - 1) / l->rate;
    if (!heap_has(&l->timer.node) || heap_at(&c->timers, &l->timer.node) > at)
        timer_set(c, &l->timer, at);
}

void limiter_timer(struct core *c, struct limiter *l)
{
    limiter_wake(c, l);
}

/* "name[:n]" from the front of what is left. */
static bool read_need(struct str *left, struct str *name, int64_t *n)
{
    const char *comma = memchr(left->p, ',', left->len), *colon;
    struct str one = {left->p, comma ? (size_t)(comma - left->p) : left->len};

    left->p += one.len + (comma != NULL);
    left->len -= one.len + (comma != NULL);
    if (comma && left->len == 0)
        return false;
    colon = memchr(one.p, ':', one.len);
    *name = (struct str){one.p, colon ? (size_t)(colon - one.p) : one.len};
    *n = 1;
    if (!colon)
        return name->len > 0;
    *n = 0;
    if (colon + 1 == one.p + one.len || one.p + one.len - colon > 11)
        return false;
    for (const char *p = colon + 1; p < one.p + one.len; p++) {
        if (*p < '0' || *p > '9')
            return false;
        *n = *n * 10 + (*p - '0');
    }
    return name->len > 0 && *n >= 1 && *n <= CORE_PERMITS_MAX;
}

/* In the order of the numbers; false: it is there already. */
static bool add_need(struct record_needs *to, uint32_t limiter, int64_t n)
{
    size_t at = to->len;

    while (at > 0 && to->list[at - 1].limiter >= limiter) {
        if (to->list[at - 1].limiter == limiter)
            return false;
        to->list[at] = to->list[at - 1];
        at--;
    }
    to->list[at].limiter = limiter;
    to->list[at].n = (uint32_t)n;
    to->len++;
    return true;
}

static bool need_fits(struct core *c, struct client_id client,
                      const struct limiter *l, int64_t n)
{
    int64_t most = l->permits > 0 ? l->permits : INT64_MAX;

    if (l->rate)
        most = min_i64(most, l->rate);
    if (n <= most)
        return true;
    reply_error(c, client, CORE_ERR_GENERIC,
                "LIMITS: a job can need at most %lld of '%s', not %lld",
                (long long)most, l->name, (long long)n);
    return false;
}

bool limiter_read_needs(struct core *c, struct client_id client,
                        struct str text, struct record_needs *out)
{
    out->len = 0;
    while (text.len > 0) {
        const struct limiter *l;
        struct str name;
        int64_t n;

        if (out->len == CORE_LIMITS_MAX || !read_need(&text, &name, &n)) {
            reply_error(c, client, CORE_ERR_GENERIC,
                        "LIMITS is name[:n][,name[:n] ...], at most %d names, "
                        "with n from 1 to %lld",
                        CORE_LIMITS_MAX, (long long)CORE_PERMITS_MAX);
            return false;
        }
        l = limiter_find(c, name);
        if (!l) {
            reply_error(c, client, CORE_ERR_NOLIMITER,
                        "no limiter '%.*s': LIMITER SET makes one",
                        (int)(name.len < 80 ? name.len : 80), name.p);
            return false;
        }
        if (!need_fits(c, client, l, n))
            return false;
        if (!add_need(out, l->id, n)) {
            reply_error(c, client, CORE_ERR_GENERIC,
                        "LIMITS names '%s' twice: write '%s:n'", l->name,
                        l->name);
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- commands */

static bool new_allowed(struct core *c, struct client_id client,
                        struct str name, uint32_t *id)
{
    uint32_t free = 0;

    if (!name_ok(name)) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "'%.*s' is no name for a limiter: 1 to %d of A-Z a-z 0-9 "
                    "_ . -, not starting with -",
                    (int)(name.len < 80 ? name.len : 80), name.p,
                    CORE_LIMITER_NAME_MAX);
        return false;
    }
    if (c->nlimiters >= min_i64(c->limits.limiters_max, LIMITER_NUMBERS)) {
        reply_error(c, client, CORE_ERR_LIMIT,
                    "there are %lld limiters already (limiters-max)",
                    (long long)c->nlimiters);
        return false;
    }
    while (free < c->limiter_count && c->limiter_table[free])
        free++;
    *id = free;
    return true;
}

/* What it holds stays when only its permits change; when its rate does, as
 * many tokens as fit. A new bucket is full. */
static void fill_bucket(const struct core *c, const struct limiter *l,
                        struct record_limiter *to)
{
    to->filled_ms = c->now_ms;
    to->level = to->rate * to->rate_ms;
    if (!l || !l->rate)
        return;
    if (l->rate == to->rate && l->rate_ms == to->rate_ms) {
        to->level = l->level;
        to->filled_ms = l->filled_ms;
    } else {
        to->level = min_i64(level_at(l, c->now_ms) / l->rate_ms, to->rate) *
                    to->rate_ms;
    }
}

void limiter_set(struct core *c, const struct core_event *ev)
{
    struct str name = ev->u.limiter.name;
    struct limiter *l = limiter_find(c, name);
    struct record_limiter to = {
        .permits =
            or_default(ev->u.limiter.permits, l ? l->permits : CORE_NONE),
        .rate = or_default(ev->u.limiter.rate, l ? l->rate : 0),
        .rate_ms = or_default(ev->u.limiter.rate_ms, l ? l->rate_ms : 0),
    };
    uint32_t id = l ? l->id : 0;

    if (!bounds_ok(to.permits, to.rate, to.rate_ms)) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "LIMITER SET: PERMITS is at most %lld (-1: no bound), "
                    "RATE is 0 0 (no bound), or at most %lld in an interval "
                    "of 1 to %lld ms",
                    (long long)CORE_PERMITS_MAX, (long long)CORE_RATE_MAX,
                    (long long)CORE_RATE_MS_MAX);
        return;
    }
    if (!l && !new_allowed(c, ev->client, name, &id))
        return;
    fill_bucket(c, l, &to);
    /* The configuration says the same at each start. */
    if (!l || to.permits != l->permits || to.rate != l->rate ||
        to.rate_ms != l->rate_ms) {
        if (!full_may_grow(c, ev->client))
            return;
        limiter_record(c, id, name, &to);
    }
    if (l)
        limiter_wake(c, l);
    reply_ok(c, ev->client);
}

static struct limiter *limiter_or_reply(struct core *c,
                                        const struct core_event *ev)
{
    struct limiter *l = limiter_find(c, ev->u.limiter.name);

    if (!l)
        reply_error(c, ev->client, CORE_ERR_NOLIMITER,
                    "no limiter of that name");
    return l;
}

void limiter_info(struct core *c, const struct core_event *ev)
{
    const struct limiter *l = limiter_or_reply(c, ev);
    struct buf *b;

    if (!l)
        return;
    b = reply_begin(c, ev->client);
    {
        const struct {
            const char *name;
            int64_t value;
        } rows[] = {
            {"permits", l->permits},       {"rate", l->rate},
            {"rate_interval", l->rate_ms}, {"held", l->held},
            {"waiting", l->waiting},
        };

        value_map(b, ARRAY_LEN(rows) + 1);
        value_str(b, STR("name"));
        value_str(b, limiter_name(l));
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            value_str(b, str_from(rows[i].name));
            value_int(b, rows[i].value);
        }
    }
    reply_end(c);
}

void limiter_list(struct core *c, const struct core_event *ev)
{
    struct buf *b = reply_begin(c, ev->client);

    value_array(b, (uint32_t)c->nlimiters);
    list_foreach (it, &c->limiters)
        value_str(b, limiter_name(list_entry(it, struct limiter, link)));
    reply_end(c);
}

void limiter_delete(struct core *c, const struct core_event *ev)
{
    const struct limiter *l = limiter_or_reply(c, ev);

    if (!l)
        return;
    if (l->users) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "%lld jobs that have not ended need '%s'",
                    (long long)l->users, l->name);
        return;
    }
    core_record(c, &(struct record){.type = RECORD_LIMITER_DELETE,
                                    .at_ms = c->now_ms,
                                    .id = l->id});
    reply_ok(c, ev->client);
}
