/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key - what makes a request idempotent: the same KEY in the same scope leads
 * to the job or group that was made first, for as long as that is known.
 *
 * Durable through the records of what it leads to, which carry the text. A key
 * without such a thing is volatile: submits wait with it, and the first that is
 * let in answers them all.
 */
#include "core/key.h"

#include "core/internal.h"
#include "core/live.h"
#include "core/once.h"
#include "core/queue.h"
#include "core/retain.h"
#include "core/waiter.h"
#include "core/worker.h"

static uint64_t hash_of(struct key_scope scope, struct str text)
{
    uint64_t h = map_hash(text.p, text.len);

    h ^= scope.id * 0x9e3779b97f4a7c15u;
    h ^= ((uint64_t)scope.attempt << 2 | scope.kind) * 0xd6e8feb86659fd93u;
    return h;
}

struct key_scope key_scope_of_queue(const struct queue *q)
{
    return (struct key_scope){.id = q->id, .kind = KEY_QUEUE};
}

struct key_scope key_scope_of_parent(const struct scope_ref *parent)
{
    if (parent->is_job)
        return (struct key_scope){.id = parent->token.job.n,
                                  .attempt = parent->token.attempt,
                                  .kind = KEY_JOB};
    return (struct key_scope){.id = parent->group.n, .kind = KEY_GROUP};
}

bool key_allowed(struct core *c, struct client_id client, struct str text)
{
    if (LIKELY(text.len <= CORE_KEY_MAX))
        return true;
    reply_error(c, client, CORE_ERR_TOOBIG,
                "KEY is %zu bytes, at most %d are allowed", text.len,
                CORE_KEY_MAX);
    return false;
}

struct key *key_find(const struct core *c, struct key_scope scope,
                     struct str text)
{
    struct map_node *n = map_find(&c->keys, hash_of(scope, text));

    for (; n; n = map_next(n)) {
        struct key *k = container_of(n, struct key, node);

        if (k->scope.id == scope.id && k->scope.attempt == scope.attempt &&
            k->scope.kind == scope.kind &&
            str_eq(text, (struct str){k->text, k->len}))
            return k;
    }
    return NULL;
}

static struct key *key_get(struct core *c, struct key_scope scope,
                           struct str text)
{
    struct key *k = key_find(c, scope, text);

    if (k)
        return k;
    k = mem_alloc(sizeof(*k) + text.len);
    *k = (struct key){.scope = scope, .len = (uint32_t)text.len};
    memcpy(k->text, text.p, text.len);
    k->node.hash = hash_of(scope, text);
    list_init(&k->waiters);
    map_insert(&c->keys, &k->node);
    account(c, (int64_t)(sizeof(*k) + k->len));
    return k;
}

void key_drop(struct core *c, struct key *k)
{
    if (k->of || !list_empty(&k->waiters))
        return;
    map_remove(&c->keys, &k->node);
    account(c, -(int64_t)(sizeof(*k) + k->len));
    mem_free(k);
}

void key_release(struct core *c, struct key *k)
{
    if (!k)
        return;
    k->of = 0;
    key_drop(c, k);
}

/* What the key leads to. */
static bool has_ended(struct core *c, const struct key *k)
{
    if (k->scope.kind == KEY_QUEUE)
        return find_job(c, (struct job_id){k->of})->state == JOB_FINISHED;
    return find_group(c, (struct group_id){k->of})->ended;
}

bool key_is_free(struct core *c, struct key_scope scope, struct str text)
{
    const struct key *k = key_find(c, scope, text);

    return text.len <= CORE_KEY_MAX && (!k || !k->of || has_ended(c, k));
}

/* What has ended keeps its key no longer. */
static void unbind(struct core *c, struct key *k)
{
    bool of_job = k->scope.kind == KEY_QUEUE;
    struct job *j = of_job ? find_job(c, (struct job_id){k->of}) : NULL;
    struct group *g = of_job ? NULL : find_group(c, (struct group_id){k->of});

    if (j) {
        retain_count(c, j, -1);
        live_job(c, j, -1);
        j->extra->key = NULL;
        live_job(c, j, +1);
        retain_count(c, j, +1);
        return;
    }
    live_group(c, g, -1);
    g->key = NULL;
    live_group(c, g, +1);
}

struct key *key_bind(struct core *c, struct key_scope scope, struct str text,
                     uint64_t id)
{
    struct key *k = key_get(c, scope, text);

    if (k->of)
        unbind(c, k);
    k->of = id;
    return k;
}

void key_wait(struct core *c, struct waiter *w, struct str text)
{
    w->key = key_get(c, key_scope_of_queue(w->queue), text);
    list_push_back(&w->key->waiters, &w->keyed);
}

void key_answer_one(struct core *c, struct waiter *w)
{
    const struct event_once *once = &w->submit->once;
    struct client_id id = w->client->id;

    if (once_room(c, id, once)) {
        once_remember(c, once, w->key->of);
        value_id(reply_begin(c, id), 'j', w->key->of, 0);
        reply_end(c);
    }
    waiter_free(c, w);
}

/* Numbered ones write an image each. */
void key_answer(struct core *c, struct key *k)
{
    list_foreach_safe (it, &k->waiters) {
        if (buf_size(&c->out->records) > STEP_RECORDS)
            return;
        key_answer_one(c, list_entry(it, struct waiter, keyed));
    }
}
