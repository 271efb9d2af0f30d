/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * once - what the numbers of requests led to, as their sessions remember it.
 *
 * A number that led to something is answered with that. One before those that
 * may still be asked for is forgotten; any other was not done, and is asked
 * for as if it had no number. What is remembered changes with what is recorded
 * alone: a crash goes back to it.
 */
#include "parts.h"

#define OPEN_MAX 1024
#define OWN_SIZE 4 /* what a session takes besides its numbers */
#define TIGHT    1000

bool once_remembers(const struct model_session *s)
{
    return s->last > 0;
}

bool once_is_tight(const struct model *m)
{
    return m->limits.numbers_max < TIGHT;
}

static const struct event_once *once_of(const struct core_event *ev)
{
    return ev->kind == EVENT_SUBMIT       ? &ev->u.submit.once
           : ev->kind == EVENT_GROUP_OPEN ? &ev->u.group_open.once
                                          : NULL;
}

static struct model_led *led_by(struct model_session *s, int64_t number)
{
    return &s->led[number % MODEL_NUMBERS];
}

static bool is_known(struct model_session *s, int64_t number)
{
    return number >= s->first && number <= s->last && led_by(s, number)->id;
}

static int64_t size_of(const struct model_session *s)
{
    return once_remembers(s) ? s->last - s->first + 1 + OWN_SIZE : 0;
}

/* As it is once this number led to something. */
static void window(const struct model_session *s, const struct event_once *o,
                   int64_t *first, int64_t *last)
{
    *first = max_i64(max_i64(o->number - o->open, 1), s->first);
    *last = max_i64(o->number, s->last);
}

bool once_full(const struct model *m, const struct model_client *c,
               const struct event_once *o)
{
    int64_t sum = 0, first, last, grows;

    if (o->number == 0 || c->session < 0)
        return false;
    window(&m->sessions[c->session], o, &first, &last);
    grows = last - first + 1 + OWN_SIZE - size_of(&m->sessions[c->session]);
    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].used)
            sum += size_of(&m->sessions[i]);
    /* a restart brings back those of sessions that were over */
    return grows > 0 && (sum + grows > m->limits.numbers_max ||
                         (m->restarted && once_is_tight(m)));
}

/* Those that are certainly there take no more than is allowed. */
static void bound_check(const struct model *m)
{
    int64_t sum = 0;

    for (int i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].used && m->sessions[i].client &&
            !m->sessions[i].dropped)
            sum += size_of(&m->sessions[i]);
    if (sum > m->limits.numbers_max)
        violation("the sessions remember %lld numbers, %lld are allowed",
                  (long long)sum, (long long)m->limits.numbers_max);
}

void once_led(struct model *m, const struct model_client *c,
              const struct event_once *o, const struct node *n)
{
    struct model_session *s;
    int64_t first, last;

    if (o->number == 0)
        return;
    ASSERT(c->session >= 0);
    s = &m->sessions[c->session];
    window(s, o, &first, &last);
    ASSERT(last - first < MODEL_NUMBERS);
    for (int64_t k = max_i64(first, s->last + 1); k <= last; k++)
        *led_by(s, k) = (struct model_led){0};
    *led_by(s, o->number) =
        (struct model_led){.id = n->v.id, .group = n->v.id_kind == 'g'};
    if (o->number == 1 && s->last == 0)
        s->dropped = false; /* there was nothing to be dropped */
    s->first = first;
    s->last = last;
    bound_check(m);
}

/* What the number alone allows as the answer; NULL: that is it. */
static const char *once_wrong(struct model *m, const struct model_client *c,
                              const struct core_event *ev, const struct node *n)
{
    const struct event_once *o = once_of(ev);
    struct model_session *s = c->session < 0 ? NULL : &m->sessions[c->session];
    const struct model_led *led;

    if (!s || o->open >= o->number || o->open >= OPEN_MAX)
        return node_is_error(n, CORE_ERR_GENERIC) ? NULL : "it is malformed";
    if (s->dropped && node_is_error(n, CORE_ERR_NOSESSION))
        return NULL;
    if (s->last && o->number < s->first)
        return node_is_error(n, CORE_ERR_NOSESSION) ? NULL : "it is forgotten";
    led = led_by(s, o->number);
    if (led->group != (ev->kind == EVENT_GROUP_OPEN))
        return node_is_error(n, CORE_ERR_GENERIC) ? NULL : "it was another one";
    return n->v.kind == VALUE_ID && n->v.id == led->id &&
                   n->v.id_kind == (led->group ? 'g' : 'j')
               ? NULL
               : "it was done";
}

bool once_event(struct model *m, const struct core_event *ev,
                struct model_reply *replies, size_t n)
{
    const struct event_once *o = once_of(ev);
    struct model_client *c;
    struct model_session *s;
    const struct node *reply;
    const char *wrong;

    if (!o || o->number == 0)
        return false;
    c = model_client_get(m, ev->client.n);
    s = c->session < 0 ? NULL : &m->sessions[c->session];
    reply = reply_peek(replies, n, c->id);
    if (s && o->open < o->number && o->open < OPEN_MAX &&
        !(s->last && o->number < s->first) && !is_known(s, o->number)) {
        if (!reply ||
            !((s->dropped && node_is_error(reply, CORE_ERR_NOSESSION)) ||
              (node_is_error(reply, CORE_ERR_LIMIT) && once_full(m, c, o))))
            return false; /* as if it had no number */
        (void)reply_now(replies, n, c->id);
        return true;
    }
    reply = reply_now(replies, n, c->id);
    wrong = once_wrong(m, c, ev, reply);
    if (wrong) {
        char text[128];

        node_print(reply, text, sizeof(text));
        violation("request %lld (%lld open) of session %llx: %s, and the "
                  "answer is %s",
                  (long long)o->number, (long long)o->open,
                  (unsigned long long)(s ? s->id : 0), wrong, text);
    }
    return true;
}

/* --------------------------------------------------- what the journal has */

#define ASKS UINT64_C(0xfffffff0) /* a client of the core that is looked at */

static const struct node *ask_left(struct core *left, struct model_eyes *eyes,
                                   struct core_event *ev)
{
    ev->client.n = ASKS;
    return view_ask(left, eyes->arena, ev);
}

static void numbers_left(struct model_session *s, struct model_eyes *eyes,
                         struct core *left, int64_t now)
{
    struct core_event ev = {
        .kind = EVENT_SESSION_RESUME, .now_ms = now, .u.session = {s->id}};

    if (ask_left(left, eyes, &ev)->v.kind == VALUE_ERROR)
        violation("what the journal has left does not know session %llx",
                  (unsigned long long)s->id);
    for (int64_t k = s->first; k <= s->last; k++) {
        const struct model_led *led = led_by(s, k);
        const struct node *n;

        if (!led->id)
            continue;
        ev = (struct core_event){.kind = led->group ? EVENT_GROUP_OPEN
                                                    : EVENT_SUBMIT,
                                 .now_ms = now};
        if (led->group)
            ev.u.group_open.once.number = k;
        else
            ev.u.submit =
                (struct event_submit){.queue = STR("a"), .once.number = k};
        n = ask_left(left, eyes, &ev);
        if (n->v.kind != VALUE_ID || n->v.id != led->id)
            violation("request %lld of session %llx led to %llx, which is not "
                      "in what the journal has left",
                      (long long)k, (unsigned long long)s->id,
                      (unsigned long long)led->id);
    }
}

void model_numbers_left(const struct model *m, struct model_eyes *eyes,
                        struct core *left)
{
    struct core_event ev = {.kind = EVENT_START, .now_ms = m->now};
    struct core_effects effects;

    if (once_is_tight(m))
        return;
    core_effects_init(&effects);
    core_step(left, &ev, &effects);
    core_effects_clear(&effects);
    for (int i = 0; i < MODEL_SESSIONS; i++) {
        struct model_session s = m->sessions[i];

        if (!s.used || !once_remembers(&s) || s.gone_lo <= m->now)
            continue;
        arena_reset(eyes->arena);
        numbers_left(&s, eyes, left, m->now);
    }
}
