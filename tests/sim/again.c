/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * again - what an actor says once more when its connection broke.
 *
 * As libyoke does: each SUBMIT and GROUP OPEN has the next number of its
 * session and says how many of those before it have no answer; what has none
 * is said again, byte by byte and in its order, once the session is resumed.
 */
#include "actors.h"

#define NUMBERS_MOST 40 /* open ones that anybody speaks of */

static bool is_numbered(const struct actor_open *o)
{
    return o->ev.kind == EVENT_SUBMIT || o->ev.kind == EVENT_GROUP_OPEN;
}

/* Old numbers, those of something else, and impossible ones. */
static void nonsense(struct world *w, struct actor *c, struct event_once *once)
{
    int64_t kind = world_below(w, 20);

    once->number = 1 + world_below(w, c->number + 3);
    if (kind == 0)
        once->number += 1000;
    once->open = world_below(w, once->number < NUMBERS_MOST ? once->number
                                                            : NUMBERS_MOST);
    if (kind == 1)
        once->open = once->number;
    if (kind == 2)
        *once = (struct event_once){2000, 1024};
    else if (once->number > c->number)
        c->number = once->number;
}

void again_number(struct actors *a, struct actor *c, struct event_once *once)
{
    struct world *w = a->world;

    if (!c->waiting && world_chance(w, 4)) {
        nonsense(w, c, once);
        return;
    }
    if (c->nopen == ACTOR_OPEN ||
        (!c->waiting && !world_chance(w, a->numbered)))
        return;
    once->number = ++c->number;
    for (int i = 0; i < c->nopen; i++)
        once->open += is_numbered(&c->open[i]);
}

static int64_t number_of(const struct core_event *ev)
{
    return ev->kind == EVENT_SUBMIT       ? ev->u.submit.once.number
           : ev->kind == EVENT_GROUP_OPEN ? ev->u.group_open.once.number
                                          : 0;
}

/* Those that are made up for each request. */
static void texts_of(struct core_event *ev, struct str *texts[2])
{
    texts[0] = texts[1] = NULL;
    if (ev->kind == EVENT_SUBMIT) {
        texts[0] = &ev->u.submit.payload;
        texts[1] = &ev->u.submit.name;
    } else if (ev->kind == EVENT_DONE) {
        texts[0] = &ev->u.report.result;
    } else if (ev->kind == EVENT_FAIL) {
        texts[0] = &ev->u.report.message;
        texts[1] = &ev->u.report.detail;
    } else if (ev->kind == EVENT_READY) {
        texts[0] = &ev->u.report.value;
    }
}

static bool may_be_said_again(const struct core_event *ev)
{
    return number_of(ev) || ev->kind == EVENT_DONE || ev->kind == EVENT_FAIL ||
           ev->kind == EVENT_RELEASE || ev->kind == EVENT_READY;
}

void again_remember(struct actor *c, const struct core_event *ev)
{
    struct actor_open *o = &c->open[c->nopen];
    struct str *texts[2];

    if (ev->kind == EVENT_SESSION || ev->kind == EVENT_SESSION_RESUME)
        return;
    if (c->nsaid < c->nopen) { /* it is one of them */
        c->nsaid++;
        return;
    }
    if (c->nopen == ACTOR_OPEN || !may_be_said_again(ev))
        return;
    c->nopen++;
    c->nsaid++;
    o->ev = *ev;
    texts_of(&o->ev, texts);
    for (int i = 0; i < 2; i++) {
        if (!texts[i] || !texts[i]->len)
            continue;
        ASSERT(texts[i]->len <= ACTOR_TEXT);
        memcpy(o->text[i], texts[i]->p, texts[i]->len);
    }
}

struct core_event again_next(struct actor *c)
{
    struct actor_open *o = &c->open[c->nsaid];
    struct core_event ev = o->ev;
    struct str *texts[2];

    texts_of(&ev, texts);
    for (int i = 0; i < 2; i++)
        if (texts[i])
            texts[i]->p = o->text[i];
    return ev;
}

bool again_answered(struct actor *c)
{
    if (c->nsaid == 0)
        return false;
    c->nsaid--;
    c->nopen--;
    memmove(c->open, c->open + 1, (size_t)c->nopen * sizeof(c->open[0]));
    return c->nsaid > 0;
}

void again_broken(struct actor *c)
{
    c->client = 0;
    c->waiting = c->resuming = c->submitting = c->attached = false;
    c->errors.on = false;
    c->nsaid = 0;
}

void again_forget(struct actor *c)
{
    c->nopen = c->nsaid = 0;
    c->number = 0;
}

bool again_may_hurry(const struct actors *a, const struct actor *c)
{
    return c->attached && c->nsaid > 0 && c->nsaid == c->nopen &&
           c->nopen < ACTOR_OPEN && !model_blocked(a->world->model, c->client);
}
