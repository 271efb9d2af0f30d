/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/subscription.h"

#include "base/mem.h"
#include "base/pattern.h"
#include "base/value.h"
#include "wire/id.h"
#include "wire/json.h"

/* A name or a pattern; lives as long as somebody is subscribed to it. */
struct channel {
    struct map_node node;
    struct list link;        /* subscriptions->names or ->patterns */
    struct list subscribers; /* struct subscription.of_channel */
    size_t receivers;
    bool pattern;
    size_t len;
    size_t plain; /* of a pattern: characters before the first special one */
    char text[];
};

struct subscription {
    struct list of_channel, of_subscriber;
    struct channel *channel;
    struct subscriber *who;
};

/* "queue:" and the longest name; ids are shorter. */
#define NAME_MAX_LEN 128

/* Comparing so many bytes is about as much work as a message is. */
#define WORK_BYTES 1024
/* Names are that long; queues may have longer ones. */
#define NAME_USUAL 32

static struct str name_of(const struct channel *c)
{
    return (struct str){c->text, c->len};
}

void subscriptions_init(struct subscriptions *s)
{
    *s = (struct subscriptions){0};
    map_init(&s->channels);
    list_init(&s->names);
    list_init(&s->patterns);
    buf_init(&s->text);
}

void subscriptions_clear(struct subscriptions *s)
{
    ASSERT(s->count == 0 && s->nnames + s->npatterns == 0);
    map_clear(&s->channels);
    buf_clear(&s->text);
}

void subscriber_init(struct subscriber *who)
{
    *who = (struct subscriber){0};
    list_init(&who->list);
}

static struct channel *find(const struct subscriptions *s, struct str name,
                            bool pattern)
{
    struct map_node *n = map_find(&s->channels, map_hash(name.p, name.len));

    for (; n; n = map_next(n)) {
        struct channel *c = container_of(n, struct channel, node);

        if (c->pattern == pattern && str_eq(name_of(c), name))
            return c;
    }
    return NULL;
}

static size_t plain_beginning(struct str pattern)
{
    size_t n = 0;

    while (n < pattern.len && !memchr("*?[\\", pattern.p[n], 4))
        n++;
    return n;
}

static struct channel *make(struct subscriptions *s, struct str name,
                            bool pattern)
{
    struct channel *c = mem_zalloc(sizeof(*c) + name.len);

    s->bytes += sizeof(*c) + name.len;

    c->pattern = pattern;
    c->len = name.len;
    if (name.len)
        memcpy(c->text, name.p, name.len);
    c->plain = pattern ? plain_beginning(name) : 0;
    s->glob_bytes += pattern ? c->len - c->plain : 0;
    list_init(&c->subscribers);
    c->node.hash = map_hash(name.p, name.len);
    map_insert(&s->channels, &c->node);
    list_push_back(pattern ? &s->patterns : &s->names, &c->link);
    *(pattern ? &s->npatterns : &s->nnames) += 1;
    return c;
}

static struct subscription *find_own(const struct channel *c,
                                     const struct subscriber *who)
{
    /* Walk what is shorter: many watch one queue, one watches many jobs. */
    if (c->receivers < subscriber_count(who)) {
        list_foreach (it, &c->subscribers)
            if (list_entry(it, struct subscription, of_channel)->who == who)
                return list_entry(it, struct subscription, of_channel);
    } else {
        list_foreach (it, &who->list)
            if (list_entry(it, struct subscription, of_subscriber)->channel ==
                c)
                return list_entry(it, struct subscription, of_subscriber);
    }
    return NULL;
}

size_t subscription_receivers(const struct subscriptions *s, struct str name,
                              bool pattern)
{
    const struct channel *c = find(s, name, pattern);

    return c ? c->receivers : 0;
}

bool subscription_add(struct subscriptions *s, struct subscriber *who,
                      struct str name, bool pattern)
{
    struct channel *c = find(s, name, pattern);
    struct subscription *sub;

    if (c && find_own(c, who))
        return false;
    if (!c)
        c = make(s, name, pattern);
    sub = mem_alloc(sizeof(*sub));
    s->bytes += sizeof(*sub);
    sub->channel = c;
    sub->who = who;
    list_push_back(&c->subscribers, &sub->of_channel);
    list_push_back(&who->list, &sub->of_subscriber);
    c->receivers++;
    s->count++;
    *(pattern ? &who->patterns : &who->names) += 1;
    return true;
}

static void drop(struct subscriptions *s, struct subscription *sub)
{
    struct channel *c = sub->channel;

    *(c->pattern ? &sub->who->patterns : &sub->who->names) -= 1;
    s->count--;
    s->bytes -= sizeof(*sub);
    list_remove(&sub->of_channel);
    list_remove(&sub->of_subscriber);
    mem_free(sub);
    if (--c->receivers > 0)
        return;
    *(c->pattern ? &s->npatterns : &s->nnames) -= 1;
    s->glob_bytes -= c->pattern ? c->len - c->plain : 0;
    list_remove(&c->link);
    map_remove(&s->channels, &c->node);
    s->bytes -= sizeof(*c) + c->len;
    mem_free(c);
}

bool subscription_remove(struct subscriptions *s, struct subscriber *who,
                         struct str name, bool pattern)
{
    const struct channel *c = find(s, name, pattern);
    struct subscription *sub = c ? find_own(c, who) : NULL;

    if (!sub)
        return false;
    drop(s, sub);
    return true;
}

void subscriber_clear(struct subscriptions *s, struct subscriber *who)
{
    while (!list_empty(&who->list))
        drop(s, list_entry(list_first(&who->list), struct subscription,
                           of_subscriber));
}

bool subscription_first(const struct subscriber *who, bool pattern,
                        struct str *name)
{
    list_foreach (it, &who->list) {
        const struct channel *c =
            list_entry(it, struct subscription, of_subscriber)->channel;

        if (c->pattern != pattern)
            continue;
        *name = name_of(c);
        return true;
    }
    return false;
}

void subscription_each(const struct subscriptions *s, struct str glob,
                       subscription_name_fn *fn, void *arg)
{
    list_foreach (it, &s->names) {
        struct str name = name_of(list_entry(it, struct channel, link));

        if (pattern_matches(glob, name))
            fn(arg, name);
    }
}

int64_t subscription_work(const struct subscriptions *s)
{
    /* A name has at most that many receivers more than channels. */
    size_t more = s->count - s->nnames - s->npatterns;

    if (s->count == 0)
        return 0;
    return (int64_t)(1 + s->npatterns / 32 +
                     s->glob_bytes / (WORK_BYTES / NAME_USUAL) + more / 4);
}

/* ------------------------------------------------------------------ publish */

/* One event on its way to those who want it. */
struct publication {
    struct subscriptions *all;
    const char *bytes;
    size_t map; /* where the event lies; it becomes text for the first one */
    subscription_tell_fn *tell;
    void *arg;
};

static void tell_channel(struct publication *p, const struct channel *c,
                         struct str channel)
{
    struct buf *text = &p->all->text;
    size_t at = p->map;

    if (buf_size(text) == 0)
        json_value(text, p->bytes, &at);
    list_foreach (it, &c->subscribers) {
        p->all->published++;
        p->all->work++;
        p->tell(p->arg, list_entry(it, struct subscription, of_channel)->who,
                &(struct message){.pattern =
                                      c->pattern ? name_of(c) : (struct str){0},
                                  .channel = channel,
                                  .text = {buf_front(text), buf_size(text)}});
    }
}

/* Most patterns differ from a name before their first special character. */
static bool matches(struct subscriptions *s, const struct channel *c,
                    struct str name)
{
    struct str glob = name_of(c);

    if (name.len < c->plain || memcmp(name.p, glob.p, c->plain) != 0)
        return false;
    glob = (struct str){glob.p + c->plain, glob.len - c->plain};
    name = (struct str){name.p + c->plain, name.len - c->plain};
    s->work += glob.len * name.len / WORK_BYTES;
    return pattern_matches(glob, name);
}

/* The name of the channel of whom an event concerns. */
static struct str channel_name(const struct value *whom,
                               char name[NAME_MAX_LEN])
{
    struct str kind = whom->kind == VALUE_STR ? STR("queue:")
                      : whom->id_kind == 'j'  ? STR("job:")
                                              : STR("group:");
    size_t len = kind.len;

    memcpy(name, kind.p, len);
    if (whom->kind == VALUE_STR) {
        ASSERT(len + whom->s.len <= NAME_MAX_LEN);
        memcpy(name + len, whom->s.p, whom->s.len);
        len += whom->s.len;
    } else {
        len += id_format(name + len,
                         (struct id){.kind = whom->id_kind, .n = whom->id});
    }
    return (struct str){name, len};
}

void subscription_publish(struct subscriptions *s, const char *bytes, size_t at,
                          subscription_tell_fn *tell, void *arg)
{
    struct publication p = {.all = s, .bytes = bytes, .tell = tell, .arg = arg};
    struct value outer, list, whom;

    value_read(bytes, &at, &outer);
    value_read(bytes, &at, &list);
    p.map = at;
    for (uint32_t i = 0; i < list.count; i++)
        value_read(bytes, &p.map, &whom); /* scalars: no items to pass by */
    buf_reset(&s->text);
    for (uint32_t i = 0; i < list.count; i++) {
        char text[NAME_MAX_LEN];
        const struct channel *c;
        struct str name;

        value_read(bytes, &at, &whom);
        name = channel_name(&whom, text);
        c = find(s, name, false);
        if (c)
            tell_channel(&p, c, name);
        s->work += s->npatterns / 32;
        list_foreach (it, &s->patterns) {
            c = list_entry(it, struct channel, link);
            if (matches(s, c, name))
                tell_channel(&p, c, name);
        }
    }
}
