/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * once - requests that are done once, however often they are asked (ONCE).
 *
 * A client numbers those of its requests that must not be done twice, and asks
 * again what it has no answer to when its connection broke. A session knows
 * what its last numbers led to:
 *
 *     number   first ... last      what the client may still ask for again
 *     id       ids[number % cap]   0: was refused, and so not done
 *
 * Durable through the records of what was made, which carry session and number,
 * and through an image of all its numbers at the head of each segment, for what
 * was made may be forgotten and its record gone; and at once when a KEY led to
 * something older. That a session is forgotten is
 * not recorded; its client is told that there is no such session, and asks for
 * nothing again.
 */
#include "core/once.h"

#include "core/ids.h"
#include "core/internal.h"
#include "core/segment.h"
#include "core/worker.h"

/* Sessions in a replay: beyond it those that have only numbers go, the oldest
 * first. More than this connections are not to be resumed at once. */
#define SESSIONS_KEPT 20000

static int64_t weight(const struct asked *a)
{
    return a->cap ? (int64_t)(a->last - a->first) + 1 + ONCE_IMAGE_WEIGHT : 0;
}

static uint64_t *slot(const struct session *s, uint64_t number)
{
    return &s->asked.ids[number & (s->asked.cap - 1)];
}

/* Room for the numbers from first to last; what lies in between stays. */
static void resize(struct core *c, struct session *s, uint64_t first,
                   uint64_t last)
{
    struct asked *a = &s->asked;
    struct asked old = *a;
    uint64_t need = last - first + 1;
    uint32_t cap = 1;

    while (cap < need)
        cap *= 2;
    if (cap <= old.cap && cap > old.cap / 8)
        return;
    a->cap = cap;
    a->ids = mem_zalloc(cap * sizeof(*a->ids));
    for (uint64_t n = first < old.first ? old.first : first;
         old.cap > 0 && n <= old.last; n++)
        *slot(s, n) = old.ids[n & (old.cap - 1)];
    account(c, ((int64_t)cap - old.cap) * (int64_t)sizeof(*a->ids));
    mem_free(old.ids);
}

/* A number that is behind those of which something is known. */
static bool is_behind(const struct session *s, uint64_t number)
{
    return s->asked.cap > 0 && number < s->asked.first;
}

static struct session *oldest_image(const struct core *c)
{
    return container_of(list_first(&c->numbered), struct session,
                        asked.numbered);
}

/* Each step asks for it. */
static void find_oldest(struct core *c)
{
    c->numbered_segment =
        list_empty(&c->numbered) ? UINT32_MAX : oldest_image(c)->asked.segment;
}

/* Its numbers follow from records that lie in this segment and later ones. */
static void anchor(struct core *c, struct session *s)
{
    segment_hold(c, &s->asked.segment);
    list_push_back(&c->numbered, &s->asked.numbered);
    find_oldest(c);
}

/* The numbers that are remembered once this one is: those from *first on. */
static void window_with(const struct asked *a, uint64_t number, uint64_t open,
                        uint64_t *first, uint64_t *last)
{
    *first = number > open ? number - open : 1;
    if (*first < a->first)
        *first = a->first;
    *last = number > a->last ? number : a->last;
    if (*last - *first >= ONCE_OPEN_MAX)
        *first = *last - ONCE_OPEN_MAX + 1;
}

bool once_ok(const struct record_once *o)
{
    return (o->number > 0) == (o->session > 0) && o->number <= INT64_MAX;
}

void once_apply(struct core *c, const struct record_once *o, uint64_t id)
{
    struct session *s;
    struct asked *a;
    uint64_t first, last;

    if (o->number == 0 || (PLANTED(ONCE_FORGOTTEN) && !c->started))
        return;
    s = c->asking && c->asking->id == o->session ? c->asking
                                                 : session_get(c, o->session);
    a = &s->asked;
    if (!c->started) { /* the latest are the last */
        list_remove(&s->link);
        list_push_back(&c->all_sessions, &s->link);
    }
    if (o->number == 1 && a->cap == 0)
        s->forgotten = false; /* there was none before */
    if (is_behind(s, o->number))
        return;
    window_with(a, o->number, o->open, &first, &last);
    c->numbers -= weight(a);
    if (a->cap == 0)
        anchor(c, s);
    resize(c, s, first, last);
    /* Numbers that were refused lie between the last one and this. */
    for (uint64_t n = a->last < first ? first : a->last + 1; n < last; n++)
        *slot(s, n) = 0;
    a->first = first;
    a->last = last;
    c->numbers += weight(a);
    *slot(s, o->number) = id;
}

const char *once_apply_image(struct core *c, const struct record *r)
{
    const struct record_session *rs = &r->u.session;
    uint64_t n = rs->ids.len / sizeof(uint64_t), last = rs->first + n - 1;
    struct session *s;

    if (r->id == 0 || rs->ids.len % sizeof(uint64_t) || n == 0 ||
        n > ONCE_OPEN_MAX || rs->first == 0 || last < rs->first ||
        last > INT64_MAX)
        return "session with impossible numbers";
    s = session_get(c, r->id);
    once_release(c, s);
    s->forgotten = false;
    anchor(c, s);
    resize(c, s, rs->first, last);
    s->asked.first = rs->first;
    s->asked.last = last;
    c->numbers += weight(&s->asked);
    for (uint64_t i = 0; i < n; i++)
        memcpy(slot(s, rs->first + i), rs->ids.p + i * sizeof(uint64_t),
               sizeof(uint64_t));
    return NULL;
}

bool once_images_left(const struct core *c)
{
    return c->numbered_segment < c->segment;
}

/* The numbers from first to last, of which `number`, if not 0, led to `id`. */
static void write_image(struct core *c, const struct session *s, uint64_t first,
                        uint64_t last, uint64_t number, uint64_t id)
{
    const struct asked *a = &s->asked;
    uint64_t ids[ONCE_OPEN_MAX], len = last - first + 1;

    ASSERT(len <= ONCE_OPEN_MAX);
    for (uint64_t n = first; n <= last; n++) {
        bool known = a->cap > 0 && n >= a->first && n <= a->last;

        ids[n - first] = n == number ? id : known ? *slot(s, n) : 0;
    }
    core_record(c,
                &(struct record){.type = RECORD_SESSION,
                                 .at_ms = c->now_ms,
                                 .id = s->id,
                                 .u.session = {.first = first,
                                               .ids = {(const char *)ids,
                                                       len * sizeof(ids[0])}}});
}

void once_write_image(struct core *c)
{
    const struct session *s = oldest_image(c);

    write_image(c, s, s->asked.first, s->asked.last, 0, 0);
}

void once_release(struct core *c, struct session *s)
{
    c->numbers -= weight(&s->asked);
    if (s->asked.cap > 0) {
        segment_drop(c, s->asked.segment);
        list_remove(&s->asked.numbered);
        find_oldest(c);
    }
    account(c, -(int64_t)s->asked.cap * (int64_t)sizeof(*s->asked.ids));
    mem_free(s->asked.ids);
    s->asked = (struct asked){0};
    list_init(&s->asked.numbered);
}

static bool has_only_numbers(const struct session *s)
{
    return !s->client && list_empty(&s->held) && list_empty(&s->groups);
}

static bool too_many(const struct core *c)
{
    return c->nsessions >= SESSIONS_KEPT || c->numbers > c->limits.numbers_max;
}

/* A few looks are enough: those that stay go to the end. */
void once_bound_sessions(struct core *c)
{
    for (int looks = 0; looks < 8 && too_many(c); looks++) {
        struct session *s =
            list_entry(list_first(&c->all_sessions), struct session, link);

        if (has_only_numbers(s)) {
            c->dropped = c->dropped || s->asked.cap > 0;
            session_free(c, s);
        } else {
            list_remove(&s->link);
            list_push_back(&c->all_sessions, &s->link);
        }
    }
}

bool once_outlives(const struct core *c, const struct session *s)
{
    /* Those that are gone leave half of the room to the others. */
    return s->asked.cap > 0 && c->nsessions <= SESSIONS_KEPT &&
           c->numbers <= c->limits.numbers_max / 2;
}

/* The images of all must fit well into a segment, or writing them would fill
 * one after the other. */

static bool has_room(struct core *c, struct client_id client,
                     const struct asked *a, const struct event_once *o)
{
    uint64_t first, last;
    int64_t grows;

    window_with(a, (uint64_t)o->number, (uint64_t)o->open, &first, &last);
    grows = (int64_t)(last - first) + 1 + ONCE_IMAGE_WEIGHT - weight(a);
    if (grows <= 0 || c->numbers + grows <= c->limits.numbers_max)
        return true;
    reply_error(c, client, CORE_ERR_LIMIT,
                "ONCE: all sessions together have too many open requests");
    return false;
}

bool once_room(struct core *c, struct client_id client,
               const struct event_once *o)
{
    if (LIKELY(o->number == 0))
        return true;
    c->asking = session_of(c, client);
    return has_room(c, client, &c->asking->asked, o);
}

bool once_answered(struct core *c, struct client_id client,
                   const struct event_once *o, uint64_t kind)
{
    const struct client *cl = o->number ? client_find(c, client) : NULL;
    struct session *s = cl ? cl->session : NULL;
    uint64_t number = (uint64_t)o->number, id;

    if (LIKELY(o->number == 0))
        return false;
    if (!s || o->open >= ONCE_OPEN_MAX || o->open >= o->number) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "ONCE wants a session (say HELLO), a number from 1 on, and "
                    "how many before it are open: fewer than that, at most %d",
                    ONCE_OPEN_MAX - 1);
        return true;
    }
    if (s->forgotten || is_behind(s, number)) {
        reply_error(c, client, CORE_ERR_NOSESSION,
                    "what request %llu of this session led to is forgotten",
                    (unsigned long long)number);
        return true;
    }
    c->asking = s;
    id = s->asked.cap && number <= s->asked.last ? *slot(s, number) : 0;
    if (id == 0 || PLANTED(ONCE_TWICE))
        return !has_room(c, client, &s->asked, o);
    if ((id & ID_GROUP) != kind) {
        reply_error(c, client, CORE_ERR_GENERIC,
                    "ONCE: request %llu of this session was another one",
                    (unsigned long long)number);
        return true;
    }
    value_id(reply_begin(c, client), kind ? 'g' : 'j', id & ~ID_GROUP, 0);
    reply_end(c);
    return true;
}

struct record_once once_record(const struct core *c, const struct event_once *o)
{
    if (LIKELY(o->number == 0))
        return (struct record_once){0};
    return (struct record_once){.session = c->asking->id,
                                .number = (uint64_t)o->number,
                                .open = (uint32_t)o->open};
}

void once_remember(struct core *c, const struct event_once *o, uint64_t id)
{
    const struct session *s = c->asking;
    uint64_t number = (uint64_t)o->number, first, last;

    if (LIKELY(number == 0) || PLANTED(ONCE_UNKEYED))
        return;
    window_with(&s->asked, number, (uint64_t)o->open, &first, &last);
    write_image(c, s, first, last, number, id);
}
