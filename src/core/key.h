/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key - names that their users give, and that lead to one job or group.
 */
#ifndef YOKE_CORE_KEY_H
#define YOKE_CORE_KEY_H

#include "base/list.h"
#include "base/map.h"
#include "core/core.h"

struct core;
struct queue;
struct waiter;

/* Where a KEY is unique: in a queue, or under what a group is opened under. */
enum key_kind { KEY_QUEUE, KEY_GROUP, KEY_JOB };

struct key_scope {
    uint64_t id;
    uint32_t attempt; /* KEY_JOB */
    uint32_t kind;    /* enum key_kind */
};

/* A KEY: the job or group that it leads to for as long as that is known, or
 * none yet but submits that wait for room. */
struct key {
    struct map_node node; /* hash: of all of it */
    struct key_scope scope;
    uint64_t of;         /* the id; 0: nothing yet */
    struct list waiters; /* volatile: struct waiter.keyed */
    uint32_t len;
    char text[];
};

struct key_scope key_scope_of_queue(const struct queue *q);
struct key_scope key_scope_of_parent(const struct scope_ref *parent);
/* Is it well-formed? Answers the error if not. */
bool key_allowed(struct core *c, struct client_id client, struct str text);
/* NULL: nothing has this key. */
struct key *key_find(const struct core *c, struct key_scope scope,
                     struct str text);
/* For apply: may something new have it? What it leads to must have ended: that
 * was forgotten, or is run once more. */
bool key_is_free(struct core *c, struct key_scope scope, struct str text);
struct key *key_bind(struct core *c, struct key_scope scope, struct str text,
                     uint64_t id);
/* What it led to is forgotten; NULL: nothing. */
void key_release(struct core *c, struct key *k);
/* A submit waits for room: it is answered, too, when another one with its key
 * is let in (key_answer), or, when those are very many, at its turn
 * (key_answer_one, which frees it). */
void key_wait(struct core *c, struct waiter *w, struct str text);
void key_answer(struct core *c, struct key *k);
void key_answer_one(struct core *c, struct waiter *w);
/* Frees it if it leads to nothing and nobody waits with it. */
void key_drop(struct core *c, struct key *k);

#endif
