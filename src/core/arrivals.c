/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/arrivals.h"

#include "core/group.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/output.h"
#include "core/waiter.h"
#include "core/worker.h"

#define SPARE      1024 /* of no use, before all others are moved together */
#define LOOK_MAX   OUTPUT_PAGE_CHUNKS /* arrivals that one page looks at */
#define KEPT_BYTES 4096

static size_t arrivals_count(const struct core *c)
{
    return buf_size(&c->arrivals) / sizeof(struct arrival);
}

static struct arrival *arrival_at(const struct core *c, size_t i)
{
    return (struct arrival *)(void *)(c->arrivals.data + c->arrivals.head) + i;
}

static bool is_kept(const struct arrival *a)
{
    return a->at >= a->output->front;
}

static bool is_useful(const struct arrival *a)
{
    const struct output *o = a->output;

    return o->job && (is_kept(a) ||
                      (o->dropped_len != CORE_NONE && a->at == o->dropped_at));
}

/* ---------------------------------------------------------------- keeping */

static void let_go(struct core *c, const struct arrival *a)
{
    account(c, -(int64_t)sizeof(*a));
    if (--a->output->arrivals == 0 && !a->output->job)
        output_free(c, a->output);
}

static void pack(struct core *c)
{
    size_t n = arrivals_count(c), kept = 0;

    for (size_t i = 0; i < n; i++) {
        const struct arrival *a = arrival_at(c, i);

        if (is_useful(a))
            *arrival_at(c, kept++) = *a;
        else
            let_go(c, a);
    }
    c->arrivals.len = c->arrivals.head + kept * sizeof(struct arrival);
}

void arrivals_add(struct core *c, struct output *o, uint64_t at, size_t len)
{
    struct arrival a = {.cursor = c->printed, .output = o, .at = at};

    buf_append(&c->arrivals, &a, sizeof(a));
    account(c, sizeof(a));
    o->arrivals++;
    c->arrivals_useful++;
    c->printed += (int64_t)len;
}

void arrivals_drop(struct core *c, int64_t n)
{
    c->arrivals_useful -= n;
    while (arrivals_count(c) && !is_useful(arrival_at(c, 0))) {
        let_go(c, arrival_at(c, 0));
        buf_consume(&c->arrivals, sizeof(struct arrival));
    }
    if ((int64_t)arrivals_count(c) > 2 * c->arrivals_useful + SPARE)
        pack(c);
    buf_shrink(&c->arrivals, KEPT_BYTES);
}

void arrivals_check(const struct core *c)
{
    int64_t useful = 0, log_bytes = 0;

    for (size_t i = 0; i < arrivals_count(c); i++) {
        const struct arrival *a = arrival_at(c, i);

        ASSERT(a->cursor >= c->outputs_begin && a->cursor < c->printed);
        ASSERT(i == 0 || arrival_at(c, i - 1)->cursor < a->cursor);
        ASSERT(a->output->arrivals > 0);
        if (is_useful(a)) {
            useful++;
            ASSERT(a->output->job->extra->output == a->output);
        }
        if (is_useful(a) && is_kept(a)) {
            ASSERT(list_linked(&a->output->link));
            log_bytes +=
                OUTPUT_COST + (int64_t)output_chunk(a->output, a->at).data.len;
        }
    }
    ASSERT(useful == c->arrivals_useful && log_bytes == c->log_bytes);
}

/* ------------------------------------------------------------- of a group */

static bool is_below(struct core *c, const struct group *g,
                     const struct group *outer)
{
    while (g != outer && g->id)
        g = group_above(c, g);
    return g == outer;
}

/* The first from that cursor on. */
static size_t find(const struct core *c, int64_t cursor)
{
    size_t low = 0, high = arrivals_count(c);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (arrival_at(c, middle)->cursor < cursor)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The next one from i on that concerns the group, or the first that was not
 * looked at any more, or how many there are. */
static size_t next_of(struct core *c, const struct group *g, size_t i,
                      int64_t *looks)
{
    size_t n = arrivals_count(c);

    for (; *looks > 0 && i < n; i++, (*looks)--) {
        const struct arrival *a = arrival_at(c, i);

        if (is_useful(a) && is_below(c, a->output->job->group, g))
            break;
    }
    return i;
}

/* Whole chunks, at least one. What a job has lost of what lies behind the
 * cursor is not more than what it has lost, nor than what has arrived until
 * then. */
static void write_page(struct core *c, struct client_id client,
                       const struct group *g, int64_t cursor, int64_t count)
{
    size_t i = find(c, cursor), n = arrivals_count(c);
    int64_t looks = LOOK_MAX, bytes = 0;
    struct output_page page;

    output_page_begin(c, client, true, &page);
    for (i = next_of(c, g, i, &looks); i < n && looks > 0;
         i = next_of(c, g, i + 1, &looks)) {
        const struct arrival *a = arrival_at(c, i);
        const struct output *o = a->output;

        if (is_kept(a)) {
            struct chunk chunk = output_chunk(o, a->at);

            if (bytes && bytes + (int64_t)chunk.data.len > count)
                break;
            output_page_chunk(&page, o->job, &chunk);
            bytes += (int64_t)chunk.data.len;
        } else {
            output_page_lost(&page, o->job,
                             min_i64(o->first - c->outputs_begin,
                                     a->cursor + o->dropped_len - cursor));
        }
        looks--;
    }
    /* Nothing more for now is told by the same cursor again. */
    if (i < n)
        cursor = arrival_at(c, i)->cursor;
    else if (page.entries > 0)
        cursor = c->printed;
    output_page_end(c, &page, cursor, g->ended && i == n);
}

static void answer(struct core *c, struct waiter *w, int64_t cursor)
{
    write_page(c, w->client->id, w->group, cursor, w->count);
    waiter_free(c, w);
}

/* Nothing of what came since they began to wait was theirs. */
void arrivals_notify(struct core *c, struct group *g, int64_t cursor)
{
    for (;; g = group_above(c, g)) {
        list_foreach_safe (it, &g->followers)
            answer(c, list_entry(it, struct waiter, link), cursor);
        if (!g->id)
            break;
    }
}

void arrivals_group_ended(struct core *c, struct group *g)
{
    list_foreach_safe (it, &g->followers)
        answer(c, list_entry(it, struct waiter, link), c->printed);
}

void arrivals_read(struct core *c, const struct core_event *ev)
{
    struct group *g = find_group_or_reply(c, ev->client, ev->u.logs.group);
    int64_t cursor = max_i64(ev->u.logs.cursor, c->outputs_begin);
    int64_t count = ev->u.logs.count, looks = LOOK_MAX;
    struct waiter *w;
    size_t i;

    if (!g)
        return;
    if (count == CORE_UNSET || count <= 0 || count > OUTPUT_PAGE_BYTES)
        count = OUTPUT_PAGE_BYTES;
    if (cursor > c->printed) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "LOGS: the cursor is past the end; the first is 0");
        return;
    }
    i = next_of(c, g, find(c, cursor), &looks);
    if (i < arrivals_count(c) || g->ended || ev->u.logs.wait_ms == 0) {
        write_page(c, ev->client, g, cursor, count);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_LOGS, ev->u.logs.wait_ms, 0);
    w->group = g;
    w->cursor = cursor;
    w->count = count;
    list_push_back(&g->followers, &w->link);
}
