/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A natural merge sort: runs that are in order already are merged in pairs
 * until one is left.
 */
#include "base/list.h"

void list_splice_front(struct list *head, struct list *from)
{
    if (list_empty(from))
        return;
    from->prev->next = head->next;
    head->next->prev = from->prev;
    head->next = from->next;
    from->next->prev = head;
    list_init(from);
}

typedef bool after_fn(const struct list *a, const struct list *b);

/* The end of the run that begins at `first`: what follows it. */
static struct list *run_end(const struct list *head, struct list *first,
                            after_fn *after)
{
    struct list *it = first->next;

    while (it != head && !after(it->prev, it))
        it = it->next;
    return it;
}

/* The runs from a to b and from b to end become one. */
static void merge(struct list *a, struct list *b, const struct list *end,
                  after_fn *after)
{
    while (b != end) {
        while (a != b && !after(a, b))
            a = a->next;
        if (a == b)
            return;
        /* All that belongs before a. */
        do {
            struct list *next = b->next;

            list_remove(b);
            list_insert(a->prev, b);
            b = next;
        } while (b != end && after(a, b));
    }
}

void list_sort(struct list *head, after_fn *after)
{
    size_t merged;

    do {
        struct list *at = head->next;

        merged = 0;
        while (at != head) {
            struct list *second = run_end(head, at, after), *end;

            if (second == head)
                break;
            end = run_end(head, second, after);
            merge(at, second, end, after);
            merged++;
            at = end;
        }
    } while (merged > 0);
}
