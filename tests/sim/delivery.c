/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * delivery - what clients learn of a reply, each thing by itself; and that
 * nothing is seen that may still be lost.
 */
#include "world.h"

static void deliver(struct world *w, const struct delivery *d)
{
    ASSERT(w->ndeliveries < WORLD_DELIVERIES);
    w->deliveries[w->ndeliveries++] = *d;
}

static void deliver_fetch(struct world *w, struct delivery d,
                          const struct node *n)
{
    for (uint32_t i = 0; i < n->v.count; i++) {
        const struct node *e = node_item(n, i);

        d.kind = str_eq(node_str(node_item(e, 0)), STR("job")) ? DELIVERY_TOKEN
                                                               : DELIVERY_ASKED;
        d.id = node_item(e, 1)->v.id;
        d.attempt = node_item(e, 1)->v.attempt;
        deliver(w, &d);
    }
}

static void deliver_tokens(struct world *w, struct delivery d,
                           const struct node *n)
{
    d.kind = DELIVERY_TOKEN;
    for (uint32_t i = 0; i < n->v.count; i++) {
        d.id = node_item(n, i)->v.id;
        d.attempt = node_item(n, i)->v.attempt;
        deliver(w, &d);
    }
}

static void deliver_page(struct world *w, struct delivery d,
                         const struct node *n)
{
    const struct node *entries = node_item(n, 1);

    d.kind = DELIVERY_MEMBER;
    for (uint32_t i = 0; i < entries->v.count; i++) {
        d.id = node_get(node_item(entries, i), "id")->v.id;
        deliver(w, &d);
    }
    d.kind = DELIVERY_CURSOR;
    d.id = (uint64_t)node_int(node_item(n, 0));
    d.attempt = (uint32_t)node_int(node_item(n, 2));
    deliver(w, &d);
}

static void deliver_errors(struct world *w, struct delivery d,
                           const struct node *n)
{
    bool page = n->v.kind == VALUE_ARRAY;
    struct str cursor = page ? node_str(node_item(n, 0)) : STR("");

    d.kind = DELIVERY_ERRORS;
    d.attempt = !page || node_int(node_item(n, 2));
    memcpy(d.cursor, cursor.p, cursor.len);
    deliver(w, &d);
}

void world_deliver(struct world *w, const struct model_reply *r, size_t place,
                   size_t entries)
{
    const struct node *n = r->n;
    int slot = model_client_find(w->model, r->client);
    struct delivery d = {
        .client = r->client, .place = place, .entries = entries};

    if (slot < 0)
        return;
    d.event = w->asked[slot];
    if (n->v.kind == VALUE_ERROR && d.event == EVENT_SESSION_RESUME) {
        d.kind = DELIVERY_NO_SESSION;
        deliver(w, &d);
    } else if (n->v.kind == VALUE_ID && n->v.id_kind != 0) {
        d.kind = n->v.id_kind == 'j'   ? DELIVERY_JOB
                 : n->v.id_kind == 'g' ? DELIVERY_GROUP
                                       : DELIVERY_SESSION;
        d.id = n->v.id;
        deliver(w, &d);
    } else if (d.event == EVENT_FETCH && n->v.kind == VALUE_ARRAY) {
        deliver_fetch(w, d, n);
    } else if (d.event == EVENT_SESSION_RESUME && n->v.kind == VALUE_ARRAY) {
        deliver_tokens(w, d, n);
    } else if (d.event == EVENT_GROUP_NEXT && n->v.kind == VALUE_ARRAY) {
        deliver_page(w, d, n);
    } else if (d.event == EVENT_GROUP_ERRORS) {
        deliver_errors(w, d, n);
    }
    d.kind = DELIVERY_END;
    deliver(w, &d);
}

void world_release(struct world_reader *r, uint64_t place)
{
    struct world *w = r->world;
    const struct late *late = &w->late;

    for (int i = 0; i < w->ndeliveries; i++) {
        struct delivery *d = &w->deliveries[i];

        if (d->client != r->client || d->place > place || d->visible)
            continue;
        if (w->ledger.status)
            violation("a client is answered although the store has failed");
        if (d->entries > late->base.durable)
            violation("a client sees an answer after %zu entries, %llu are "
                      "durable",
                      d->entries, (unsigned long long)late->base.durable);
        d->visible = true;
    }
}

bool world_take(struct world *w, struct delivery *out)
{
    for (int i = 0; i < w->ndeliveries; i++) {
        if (!w->deliveries[i].visible)
            continue;
        *out = w->deliveries[i];
        w->ndeliveries--;
        memmove(w->deliveries + i, w->deliveries + i + 1,
                (size_t)(w->ndeliveries - i) * sizeof(*w->deliveries));
        return true;
    }
    return false;
}

void world_forget(struct world *w, uint64_t client)
{
    int kept = 0;

    for (int i = 0; i < w->ndeliveries; i++)
        if (w->deliveries[i].visible ||
            (client && w->deliveries[i].client != client))
            w->deliveries[kept++] = w->deliveries[i];
    w->ndeliveries = kept;
}
