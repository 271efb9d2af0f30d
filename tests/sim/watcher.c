/* SPDX-License-Identifier: BSD-2-Clause */
#include "watcher.h"

#include "base/mem.h"

void watcher_reset(struct watcher *w, bool on)
{
    w->on = on;
    w->len = 0;
}

void watcher_clear(struct watcher *w)
{
    mem_free(w->list);
}

static struct watched *find(struct watcher *w, uint64_t id)
{
    for (size_t i = w->len; i > 0; i--)
        if (w->list[i - 1].id == id)
            return &w->list[i - 1];
    return NULL;
}

static void add(struct watcher *w, uint64_t id)
{
    if (w->len == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->list = mem_realloc(w->list, mem_mul(w->cap, sizeof(*w->list)));
    }
    w->list[w->len++] = (struct watched){.id = id};
}

static bool is(const struct node *map, const char *key, const char *text)
{
    return str_eq(node_str(node_get(map, key)), str_from(text));
}

static void told_job(struct watcher *w, const struct node *map)
{
    uint64_t id = node_id(node_get(map, "id"), 'j');
    int64_t attempt = node_int(node_get(map, "attempt"));
    struct watched *j = find(w, id);

    if (is(map, "event", "accepted")) {
        if (j || attempt != 0)
            violation("a job is told to be accepted twice");
        add(w, id);
        return;
    }
    if (!j)
        return; /* of a life before */
    if (j->ended)
        violation("a job is told about after its end");
    if (attempt != j->attempt + is(map, "event", "started"))
        violation("attempt %lld of a job is told after attempt %lld",
                  (long long)attempt, (long long)j->attempt);
    j->attempt = attempt;
    j->ended = is(map, "event", "ended");
}

static void told_group(struct watcher *w, const struct node *map)
{
    uint64_t id = node_id(node_get(map, "id"), 'g');
    struct watched *g = find(w, id);

    if (is(map, "event", "opened")) {
        if (g)
            violation("a group is told to be opened twice");
        add(w, id);
    } else if (g) {
        g->ended = is(map, "event", "ended");
    }
}

void watcher_told(struct watcher *w, const struct node *news)
{
    const struct node *whom = node_item(news, 0), *map = node_item(news, 1);

    if (!w->on)
        violation("something is told and nobody watches");
    w->told++;
    for (uint32_t i = 0; i < whom->v.count; i++) {
        const struct node *n = node_item(whom, i);
        const struct watched *g =
            n->v.kind == VALUE_ID && n->v.id_kind == 'g' && n->v.id
                ? find(w, n->v.id)
                : NULL;

        if (g && g->ended)
            violation("something is told of a group that has ended");
    }
    if (is(map, "kind", "job"))
        told_job(w, map);
    else if (is(map, "kind", "group"))
        told_group(w, map);
}
