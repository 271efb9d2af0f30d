/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subscription - who is subscribed to which channel, and what goes to whom.
 *
 * Knows:     the names of the channels of events: job:ID, group:ID,
 *            queue:NAME; and that their text is JSON.
 * Never:     sockets, RESP; when a message may leave. The owner bounds the
 *            numbers and the lengths of names.
 *
 * A channel here is a name or a pattern with at least one subscriber. What one
 * event sends goes out in the order of its channels; for each of them to those
 * who are subscribed to the name first, then to those with a pattern, in the
 * order in which they came.
 */
#ifndef YOKE_SUBSCRIPTION_H
#define YOKE_SUBSCRIPTION_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

struct subscriptions {
    struct map channels; /* of both kinds, by name */
    struct list names, patterns;
    size_t nnames, npatterns; /* different ones */
    size_t count;             /* of all subscribers together */
    size_t bytes;             /* that they and their channels take */
    size_t glob_bytes;        /* of patterns, from their first special one on */
    uint64_t published;       /* messages, one for each receiver */
    uint64_t work;            /* done, about 0.5 us each: messages and what is
                               * compared with patterns */
    struct buf text;          /* of the event that goes out */
};

/* One who may subscribe. */
struct subscriber {
    struct list list; /* its subscriptions, oldest first */
    size_t names, patterns;
};

/* What one subscriber is told. All of it lends until the call returns. */
struct message {
    struct str pattern; /* p NULL: it is subscribed to the channel's name */
    struct str channel, text;
};

typedef void subscription_tell_fn(void *arg, struct subscriber *to,
                                  const struct message *m);
typedef void subscription_name_fn(void *arg, struct str name);

void subscriptions_init(struct subscriptions *s);
/* All subscribers must have been cleared. */
void subscriptions_clear(struct subscriptions *s);

void subscriber_init(struct subscriber *who);
/* Ends all of its subscriptions. */
void subscriber_clear(struct subscriptions *s, struct subscriber *who);
static inline size_t subscriber_count(const struct subscriber *who)
{
    return who->names + who->patterns;
}

/* Is anybody subscribed to it? How many are? */
size_t subscription_receivers(const struct subscriptions *s, struct str name,
                              bool pattern);
/* Begins, or ends, one; false: it was so already. Copies the name. */
bool subscription_add(struct subscriptions *s, struct subscriber *who,
                      struct str name, bool pattern);
bool subscription_remove(struct subscriptions *s, struct subscriber *who,
                         struct str name, bool pattern);
/* The oldest one of that kind; false: there is none. *name lends until it is
 * removed. */
bool subscription_first(const struct subscriber *who, bool pattern,
                        struct str *name);
/* Names (not patterns) with subscribers that match the glob. */
void subscription_each(const struct subscriptions *s, struct str glob,
                       subscription_name_fn *fn, void *arg);

/* What one event may cost for each one whom it concerns, in work of a step of
 * the core; 0: nobody is subscribed to anything. */
int64_t subscription_work(const struct subscriptions *s);

/* One event, the value of EFFECT_NEWS at bytes + at. `tell` is called for each
 * message, and must not subscribe or unsubscribe anybody. */
void subscription_publish(struct subscriptions *s, const char *bytes, size_t at,
                          subscription_tell_fn *tell, void *arg);

#endif
