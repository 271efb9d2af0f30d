/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list - intrusive doubly linked list.
 *
 * A `struct list` is both head and link. A link that is in no list points to
 * itself (list_init) and list_linked() says so.
 */
#ifndef YOKE_LIST_H
#define YOKE_LIST_H

#include "base/base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline bool list_linked(const struct list *l)
{
    return l->next != l;
}

static inline void list_insert(struct list *after, struct list *link)
{
    link->prev = after;
    link->next = after->next;
    after->next->prev = link;
    after->next = link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    list_insert(head->prev, link);
}

static inline void list_push_front(struct list *head, struct list *link)
{
    list_insert(head, link);
}

/* Safe on a link that is in no list, once list_init was called on it. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* The first link, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

/* All of one list goes to the front of another. */
void list_splice_front(struct list *head, struct list *from);

/* Stable. `after` says whether a belongs behind b. As cheap as looking at each
 * once, as long as few of them are out of order. */
void list_sort(struct list *head,
               bool (*after)(const struct list *a, const struct list *b));

#define list_entry(link, type, member) container_of(link, type, member)

#define list_foreach(it, head) \
    for (struct list *it = (head)->next; it != (head); it = it->next)

/* The body may remove `it`, and nothing else. */
#define list_foreach_safe(it, head)                                           \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

#endif
