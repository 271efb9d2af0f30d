/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * members - the members of a group: in pages, in the order of submission or of
 * their ends, and forgotten.
 */
#include "core/members.h"

#include "core/group.h"
#include "core/ids.h"
#include "core/image.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/show.h"
#include "core/waiter.h"
#include "core/worker.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX     10000
#define PAGE_BYTES   (1 << 20)
#define SCAN_MAX     10000 /* members looked at for one page */
#define COMPACT_AT   1024

bool member_exists(struct core *c, uint64_t id)
{
    return (id & ID_GROUP)
               ? find_group(c, (struct group_id){id & ~ID_GROUP}) != NULL
               : find_job(c, (struct job_id){id}) != NULL;
}

/* Long-lived groups outlive their members: drop the ids of those that are
 * gone once they are the larger part. A cursor of NEXT is a number in the
 * order of ends, so there only the front can go. */
void member_forgotten(struct core *c, struct group *g)
{
    size_t kept = 0, front = 0;

    if (!g->id)
        return;
    g->forgotten++;
    if (g->forgotten < COMPACT_AT || g->forgotten < g->members.len / 2 ||
        list_linked(&g->sweep) || g->ended || image_under_way(g))
        return;
    for (size_t i = 0; i < g->members.len; i++)
        if (member_exists(c, g->members.ids[i]))
            g->members.ids[kept++] = g->members.ids[i];
    id_vector_cut(c, &g->members, kept);
    g->forgotten = 0;
    while (front < g->done.len && !member_exists(c, g->done.ids[front]))
        front++;
    if (front == 0)
        return;
    memmove(g->done.ids, g->done.ids + front,
            (g->done.len - front) * sizeof(*g->done.ids));
    id_vector_cut(c, &g->done, g->done.len - front);
    g->done_dropped += (int64_t)front;
}

/* ------------------------------------------------------------------- pages */

static void show_member(struct core *c, struct buf *b, uint64_t id)
{
    if (id & ID_GROUP)
        show_group(c, b, find_group(c, (struct group_id){id & ~ID_GROUP}));
    else
        show_outcome(c, b, find_job(c, (struct job_id){id}));
}

static bool member_failed(struct core *c, uint64_t id)
{
    if (id & ID_GROUP) {
        const struct group *g =
            find_group(c, (struct group_id){id & ~ID_GROUP});

        return g->by_outcome[OUTCOME_FAILED] > 0 || g->failed_inside ||
               g->outcome == OUTCOME_FAILED;
    }
    {
        const struct job *j = find_job(c, (struct job_id){id});

        return j->state == JOB_FINISHED && j->u.end->outcome == OUTCOME_FAILED;
    }
}

int64_t members_page(int64_t count)
{
    if (count == CORE_UNSET || count == 0)
        return PAGE_DEFAULT;
    return min_i64(count, PAGE_MAX);
}

/* The cursor comes before the entries in a page but is known after them: it is
 * written as text of a fixed width. */
#define CURSOR_DIGITS 19

static void write_page(struct core *c, struct group *g, struct client_id client,
                       const struct id_vector *v, size_t from, int64_t count,
                       bool errors_only, bool by_id)
{
    struct buf *b = reply_begin(c, client);
    char cursor[CURSOR_DIGITS + 1];
    size_t at = from, start = b->len, cursor_at, count_at;
    uint32_t n = 0;
    uint64_t next;
    bool over;

    value_array(b, 3);
    cursor_at = b->len;
    value_str(b, STR("0000000000000000000"));
    count_at = value_array(b, 0);
    while (at < v->len && n < count && b->len - start < PAGE_BYTES &&
           at - from < SCAN_MAX) {
        uint64_t id = v->ids[at++];

        if (!member_exists(c, id) || (errors_only && !member_failed(c, id)))
            continue;
        show_member(c, b, id);
        n++;
    }
    value_set_count(b, count_at, n);
    over = g->ended && at == v->len;
    value_int(b, over);
    next = !by_id    ? (uint64_t)g->done_dropped + at
           : at == 0 ? 0
                     : v->ids[at - 1] & ~ID_GROUP;
    (void)snprintf(cursor, sizeof(cursor), "%0*llu", CURSOR_DIGITS,
                   (unsigned long long)next);
    memcpy(b->data + cursor_at + 1 + sizeof(uint32_t), cursor, CURSOR_DIGITS);
    reply_end(c);
    /* A fact, for from now on its members make room for newer outcomes: those
     * would have to go instead after a restart. */
    if (over && !g->read && !c->disk_full)
        core_record(c, &(struct record){.type = RECORD_GROUP_READ,
                                        .at_ms = c->now_ms,
                                        .id = g->id});
}

static bool next_ready(const struct group *g, int64_t cursor)
{
    return g->ended || cursor < g->done_dropped + (int64_t)g->done.len;
}

/* Where in `done` to go on; what was dropped there is skipped. */
static size_t done_from(const struct group *g, int64_t cursor)
{
    return cursor < g->done_dropped ? 0 : (size_t)(cursor - g->done_dropped);
}

void members_notify_next(struct core *c, struct group *g)
{
    list_foreach_safe (it, &g->waiters) {
        struct waiter *w = list_entry(it, struct waiter, link);

        if (w->kind != WAIT_NEXT || !next_ready(g, w->cursor))
            continue;
        write_page(c, g, w->client->id, &g->done, done_from(g, w->cursor),
                   w->count, false, false);
        waiter_free(c, w);
    }
}

/* ------------------------------------------------------------------ events */

void members_next(struct core *c, const struct core_event *ev)
{
    struct group *g = group_find_not_root(
        c, ev, "NEXT: the root group keeps no order of its members");
    int64_t cursor = ev->u.group.cursor;
    struct waiter *w;

    if (!g)
        return;
    if (cursor > g->done_dropped + (int64_t)g->done.len) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "GROUP NEXT: the cursor is past the end; the first is 0");
        return;
    }
    if (next_ready(g, cursor) || ev->u.group.wait_ms == 0) {
        write_page(c, g, ev->client, &g->done, done_from(g, cursor),
                   members_page(ev->u.group.count), false, false);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_NEXT, ev->u.group.wait_ms, 0);
    w->group = g;
    w->cursor = cursor;
    w->count = members_page(ev->u.group.count);
    list_push_back(&g->waiters, &w->link);
}

void members_results(struct core *c, const struct core_event *ev)
{
    struct group *g = group_find_not_root(
        c, ev, "RESULTS: the root group keeps no order of its members");

    if (!g)
        return;
    write_page(c, g, ev->client, &g->members,
               id_vector_after(&g->members, (uint64_t)ev->u.group.cursor),
               members_page(ev->u.group.count), ev->u.group.errors_only, true);
}
