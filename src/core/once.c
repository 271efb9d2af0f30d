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
 * Durable through the records of what was made, which carry session and number:
 * a session that a replay knows knows its last numbers, for the journal loses
 * its oldest records first. That a session is forgotten is not recorded; its
 * client is told that there is no such session, and asks for nothing again.
 */
#include "core/internal.h"

/* Sessions in a replay: beyond it those that have only numbers go, the oldest
 * first. More than this connections are not to be resumed at once. */
#define SESSIONS_KEPT 20000

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

void once_apply(struct core *c, const struct record_once *o, uint64_t id)
{
    struct session *s;
    struct asked *a;
    uint64_t first, last;

    if (o->number == 0)
        return;
    s = session_get(c, o->session);
    a = &s->asked;
    if (!c->started) { /* the latest are the last */
        list_remove(&s->link);
        list_push_back(&c->all_sessions, &s->link);
    }
    if (is_behind(s, o->number))
        return;
    first = o->number > o->open ? o->number - o->open : 1;
    if (first < a->first)
        first = a->first;
    last = o->number > a->last ? o->number : a->last;
    if (last - first >= ONCE_OPEN_MAX)
        first = last - ONCE_OPEN_MAX + 1;
    resize(c, s, first, last);
    /* Numbers that were refused lie between the last one and this. */
    for (uint64_t n = a->last < first ? first : a->last + 1; n < last; n++)
        *slot(s, n) = 0;
    a->first = first;
    a->last = last;
    *slot(s, o->number) = id;
}

void once_release(struct core *c, struct session *s)
{
    account(c, -(int64_t)s->asked.cap * (int64_t)sizeof(*s->asked.ids));
    mem_free(s->asked.ids);
    s->asked = (struct asked){0};
}

static bool has_only_numbers(const struct session *s)
{
    return !s->client && list_empty(&s->held) && list_empty(&s->groups);
}

/* A few looks are enough: those that stay go to the end. */
void once_bound_sessions(struct core *c)
{
    for (int looks = 0; looks < 8 && c->nsessions > SESSIONS_KEPT; looks++) {
        struct session *s =
            list_entry(list_first(&c->all_sessions), struct session, link);

        if (has_only_numbers(s)) {
            session_free(c, s);
        } else {
            list_remove(&s->link);
            list_push_back(&c->all_sessions, &s->link);
        }
    }
}

bool once_outlives(const struct core *c, const struct session *s)
{
    return s->asked.cap > 0 && c->nsessions <= SESSIONS_KEPT;
}

bool once_answered(struct core *c, struct client_id client,
                   const struct event_once *o, uint64_t kind)
{
    const struct client *cl = o->number ? client_find(c, client) : NULL;
    const struct session *s = cl ? cl->session : NULL;
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
    if (is_behind(s, number)) {
        reply_error(c, client, CORE_ERR_NOSESSION,
                    "what request %llu of this session led to is forgotten",
                    (unsigned long long)number);
        return true;
    }
    if (s->asked.cap == 0 || number > s->asked.last)
        return false;
    id = *slot(s, number);
    if (id == 0)
        return false;
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

struct record_once once_record(struct core *c, struct client_id client,
                               const struct event_once *o)
{
    if (LIKELY(o->number == 0))
        return (struct record_once){0};
    return (struct record_once){.session = session_of(c, client)->id,
                                .number = (uint64_t)o->number,
                                .open = (uint32_t)o->open};
}
