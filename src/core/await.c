/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * await - see await.h. An await lies in core->awaits, by the id, until it was
 * told; several sessions may await one id, so an id may be there several times.
 */
#include "core/await.h"

#include "base/plant.h"
#include "core/group.h"
#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/show.h"
#include "core/worker.h"

/* Ends in one answer. */
#define ENDS_MAX 1000

struct await {
    struct map_node node; /* core->awaits; hash: see key_of */
    struct list link;     /* session->awaits, or ->ends once it has ended */
    struct session *session;
    struct buf copy; /* of its entry, when it was forgotten; else empty */
    bool ended;
};

/* Jobs and groups have their ids from one count, but a client may ask for a
 * group by the number of a job. */
static uint64_t key_of(const struct core_id *id)
{
    return id->is_group ? id->n | ID_GROUP : id->n;
}

static struct await *await_of(struct map_node *n)
{
    return n ? container_of(n, struct await, node) : NULL;
}

static struct await *find(const struct core *c, const struct session *s,
                          uint64_t key)
{
    struct map_node *n = map_find(&c->awaits, key);

    while (n && await_of(n)->session != s)
        n = map_next(n);
    return await_of(n);
}

static void await_free(struct core *c, struct await *a)
{
    account(c, -(int64_t)(sizeof(*a) + buf_size(&a->copy)));
    map_remove(&c->awaits, &a->node);
    list_remove(&a->link);
    a->session->nawaits--;
    buf_clear(&a->copy);
    mem_free(a);
}

void await_release(struct core *c, struct session *s)
{
    struct list *first;

    while ((first = list_first(&s->awaits)))
        await_free(c, list_entry(first, struct await, link));
    while ((first = list_first(&s->ends)))
        await_free(c, list_entry(first, struct await, link));
}

/* ------------------------------------------------------------------ asking */

/* Is it known? `ended`: and over. */
static bool is_known(struct core *c, const struct core_id *id, bool *ended)
{
    const struct group *g;
    const struct job *j;

    if (id->is_group) {
        g = find_group(c, (struct group_id){id->n});
        *ended = g && g->ended;
        return g;
    }
    j = find_job(c, (struct job_id){id->n});
    *ended = j && j->state == JOB_FINISHED;
    return j;
}

static void await_new(struct core *c, struct session *s, uint64_t key,
                      bool ended)
{
    struct await *a = mem_zalloc(sizeof(*a));

    a->node.hash = key;
    a->session = s;
    a->ended = ended;
    buf_init(&a->copy);
    map_insert(&c->awaits, &a->node);
    list_push_back(ended ? &s->ends : &s->awaits, &a->link);
    s->nawaits++;
    account(c, sizeof(*a));
}

/* For as many ids more. */
static bool has_room(struct core *c, const struct core_event *ev,
                     const struct session *s)
{
    size_t n = ev->u.await.nids;

    if ((int64_t)(s->nawaits + n) > c->limits.awaits_max) {
        reply_error(c, ev->client, CORE_ERR_LIMIT,
                    "a session awaits at most %lld jobs and groups, this "
                    "one %zu; nothing was changed",
                    (long long)c->limits.awaits_max, s->nawaits);
        return false;
    }
    if (c->memory + (int64_t)(n * sizeof(struct await)) >
        c->limits.memory_max) {
        reply_error(c, ev->client, CORE_ERR_OOM,
                    "the daemon is at memory-max; nothing was changed");
        return false;
    }
    return true;
}

void await_ask(struct core *c, const struct core_event *ev)
{
    struct session *s = session_of(c, ev->client);
    uint32_t unknown = 0;
    struct buf *b;
    size_t at;

    s->seen_ms = c->now_ms;
    if (!has_room(c, ev, s))
        return;
    b = reply_begin(c, ev->client);
    at = value_array(b, 0);
    for (size_t i = 0; i < ev->u.await.nids; i++) {
        const struct core_id *id = &ev->u.await.ids[i];
        uint64_t key = key_of(id);
        bool ended;

        if (find(c, s, key))
            continue;
        if (is_known(c, id, &ended)) {
            await_new(c, s, key, ended);
            continue;
        }
        value_id(b, id->is_group ? 'g' : 'j', id->n, 0);
        unknown++;
    }
    value_set_count(b, at, unknown);
    reply_end(c);
}

void await_take_back(struct core *c, const struct core_event *ev)
{
    struct session *s = session_of(c, ev->client);

    s->seen_ms = c->now_ms;
    for (size_t i = 0; i < ev->u.await.nids; i++) {
        struct await *a = find(c, s, key_of(&ev->u.await.ids[i]));

        if (a)
            await_free(c, a);
    }
    reply_ok(c, ev->client);
}

/* -------------------------------------------------------------------- ends */

static void has_ended(struct core *c, uint64_t key)
{
    struct map_node *n;

    if (LIKELY(c->awaits.len == 0))
        return;
    for (n = map_find(&c->awaits, key); n; n = map_next(n)) {
        struct await *a = await_of(n);

        a->ended = true;
        list_remove(&a->link);
        list_push_back(&a->session->ends, &a->link);
        session_notify(c, a->session);
    }
}

void await_job_ended(struct core *c, const struct job *j)
{
    has_ended(c, j->node.hash);
}

void await_group_ended(struct core *c, const struct group *g)
{
    if (PLANTED(END_UNTOLD))
        return;
    has_ended(c, g->id | ID_GROUP);
}

static void show_head(struct buf *b, char kind, uint64_t id,
                      enum outcome outcome)
{
    value_array(b, 4);
    value_str(b, STR("ended"));
    value_id(b, kind, id, 0);
    value_str(b, str_from(outcome_name(outcome)));
}

/* Without `whole` the map is null. */
static void show_job_end(struct core *c, struct buf *b, const struct job *j,
                         bool whole)
{
    show_head(b, 'j', j->node.hash, (enum outcome)j->u.end->outcome);
    if (whole)
        show_outcome(c, b, j);
    else
        value_null(b);
}

static void show_group_end(struct core *c, struct buf *b, const struct group *g,
                           bool whole)
{
    show_head(b, 'g', g->id, (enum outcome)g->outcome);
    if (whole)
        show_group(c, b, g);
    else
        value_null(b);
}

static void show_end(struct core *c, struct buf *b, uint64_t key, bool whole)
{
    uint64_t id = key & ~ID_GROUP;

    if (key & ID_GROUP)
        show_group_end(c, b, find_group(c, (struct group_id){id}), whole);
    else
        show_job_end(c, b, find_job(c, (struct job_id){id}), whole);
}

/* Leaves a copy for each that was not told; without the map where memory-max
 * has no room for those. */
static void forgotten(struct core *c, uint64_t key)
{
    int64_t size = 0;
    struct buf entry;

    if (LIKELY(c->awaits.len == 0) || !map_find(&c->awaits, key))
        return;
    buf_init(&entry);
    show_end(c, &entry, key, true);
    for (struct map_node *n = map_find(&c->awaits, key); n; n = map_next(n))
        size += (int64_t)buf_size(&entry);
    if (c->memory + size > c->limits.memory_max && !PLANTED(COPIES_UNBOUND)) {
        buf_clear(&entry);
        buf_init(&entry);
        show_end(c, &entry, key, false);
    }
    for (struct map_node *n = map_find(&c->awaits, key); n; n = map_next(n)) {
        struct await *a = await_of(n);

        buf_append(&a->copy, buf_front(&entry), buf_size(&entry));
        account(c, (int64_t)buf_size(&a->copy));
    }
    buf_clear(&entry);
}

void await_job_forgotten(struct core *c, const struct job *j)
{
    forgotten(c, j->node.hash);
}

void await_group_forgotten(struct core *c, const struct group *g)
{
    forgotten(c, g->id | ID_GROUP);
}

uint32_t await_show(struct core *c, struct session *s, struct buf *b,
                    size_t most)
{
    size_t from = buf_size(b);
    struct list *first;
    uint32_t n = 0;

    while ((first = list_first(&s->ends)) && n < ENDS_MAX &&
           buf_size(b) - from < most) {
        struct await *a = list_entry(first, struct await, link);

        if (buf_size(&a->copy) > 0)
            buf_append(b, buf_front(&a->copy), buf_size(&a->copy));
        else
            show_end(c, b, a->node.hash, true);
        await_free(c, a);
        n++;
    }
    return n;
}

static size_t check_list(const struct core *c, const struct session *s,
                         const struct list *l, bool ended)
{
    size_t n = 0;

    list_foreach (it, l) {
        const struct await *a = list_entry(it, struct await, link);

        ASSERT(a->ended == ended && a->session == s);
        ASSERT(find(c, s, a->node.hash) == a);
        n++;
    }
    return n;
}

void await_check(const struct core *c)
{
    size_t all = 0;

    list_foreach (it, &c->all_sessions) {
        const struct session *s = list_entry(it, struct session, link);

        ASSERT(s->nawaits == check_list(c, s, &s->awaits, false) +
                                 check_list(c, s, &s->ends, true));
        all += s->nawaits;
    }
    ASSERT(all == c->awaits.len);
}
