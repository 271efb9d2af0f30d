/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/window.h"

#include <stdlib.h>
#include <string.h>

/* A power of two, twice the items. */
#define BUCKETS (2 * WINDOW_MAX)

void window_init(struct window *w)
{
    *w = (struct window){.first = 1};
    w->items = text_alloc(WINDOW_MAX, sizeof(*w->items));
    w->buckets = text_alloc(BUCKETS, sizeof(struct item *));
    w->order = text_alloc(WINDOW_MAX, sizeof(struct item *));
    for (size_t i = WINDOW_MAX; i-- > 0;) {
        w->items[i].next = w->free;
        w->free = &w->items[i];
    }
}

static void item_clear(struct item *item)
{
    free(item->input);
    text_clear(&item->out);
    json_decref(item->json);
    *item = (struct item){0};
}

void window_clear(struct window *w)
{
    for (size_t i = 0; i < WINDOW_MAX; i++)
        item_clear(&w->items[i]);
    free(w->items);
    free(w->buckets);
    free(w->order);
    *w = (struct window){0};
}

struct item *window_begin(struct window *w, const char *input)
{
    struct item *item = w->free;

    if (item == NULL)
        return NULL;
    w->free = item->next;
    item->next = NULL;
    item->number = ++w->last;
    item->input = text_copy(input);
    w->order[item->number % WINDOW_MAX] = item;
    w->used++;
    return item;
}

/* FNV-1a; ids come from the daemon, which is trusted with more than this. */
static struct item **bucket_of(struct window *w, const char *id)
{
    uint32_t hash = 2166136261u;

    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619u;
    return &w->buckets[(hash ^ hash >> 16) & (BUCKETS - 1)];
}

void window_name(struct window *w, struct item *item, const char *id)
{
    size_t len = strlen(id);
    struct item **bucket = bucket_of(w, id);

    if (len >= sizeof(item->id))
        return;
    memcpy(item->id, id, len + 1);
    item->next = *bucket;
    *bucket = item;
}

struct item *window_find(struct window *w, const char *id)
{
    struct item *item = *bucket_of(w, id);

    while (item != NULL && strcmp(item->id, id) != 0)
        item = item->next;
    return item;
}

struct item *window_head(struct window *w)
{
    return w->first <= w->last ? w->order[w->first % WINDOW_MAX] : NULL;
}

void window_settle(struct window *w, struct item *item)
{
    item->settled = true;
    w->held_bytes += item->out.len;
}

void window_drop(struct window *w, struct item *item)
{
    if (item->number == w->first)
        w->first++;
    if (item->id[0] != '\0') {
        struct item **link = bucket_of(w, item->id);

        while (*link != item)
            link = &(*link)->next;
        *link = item->next;
    }
    if (item->settled)
        w->held_bytes -= item->out.len;
    item_clear(item);
    item->next = w->free;
    w->free = item;
    w->used--;
}
