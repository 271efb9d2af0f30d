/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/internal.h"

#include "runner/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Jobs are fetched ahead when they are short on average: as many for each slot
 * as fit into SHORT_JOB_US, up to a most. */
#define AHEAD_SLOT_MAX 4
/* The daemon gives no more at once. */
#define FETCH_MAX 1000

/* Sends words; an error is met again by yoke_process. */
struct request *request_send(struct runner *r, enum request_kind kind,
                             size_t argc, const struct yoke_bytes *argv)
{
    struct request *q = memory_new(sizeof(*q));

    if (kind != REQUEST_REPORT)
        r->urgent = true;
    q->runner = r;
    q->kind = kind;
    TAILQ_INSERT_TAIL(&r->requests, q, link);
    /* Whatever is sent ends a FETCH that is open. */
    r->fetch_open = kind == REQUEST_FETCH;
    if (yoke_send(r->y, argc, argv, runner_reply, q) < 0) {
        TAILQ_REMOVE(&r->requests, q, link);
        free(q);
        r->fetch_open = false;
        return NULL;
    }
    return q;
}

void request_free(struct request *q)
{
    struct runner *r = q->runner;

    if (q->kind == REQUEST_FETCH) {
        r->reserved -= q->count;
        r->slots_reserved -= q->slots;
        for (size_t i = 0; q->rooms && i < r->settings->nqueues; i++)
            r->use[i].reserved -= q->rooms[i];
        if (TAILQ_LAST(&r->requests, request_list) == q)
            r->fetch_open = false;
    }
    TAILQ_REMOVE(&r->requests, q, link);
    free(q->report);
    free(q->rooms);
    free(q);
}

void request_repeat(struct runner *r, struct report *p)
{
    struct request *q = request_send(r, REQUEST_REPORT, p->argc, p->argv);

    if (!q) {
        free(p);
        return;
    }
    q->report = p;
    snprintf(q->token, sizeof(q->token), "%s", p->argv[1].data);
}

void request_report(struct runner *r, size_t argc,
                    const struct yoke_bytes *argv, bool last_resort)
{
    struct report *p = report_new(argc, argv);

    p->last_resort = last_resort;
    request_repeat(r, p);
}

void request_fail(struct runner *r, const char *token, const char *class_name,
                  const char *text, struct yoke_bytes detail, bool last_resort)
{
    struct report *p = report_fail(token, class_name, text, detail);

    p->last_resort = last_resort;
    request_repeat(r, p);
}

void request_release(struct runner *r, const char *token)
{
    struct yoke_bytes argv[] = {report_bytes("RELEASE"), report_bytes(token)};

    request_report(r, 2, argv, true);
}

void request_done(struct runner *r, const char *token, struct yoke_bytes result)
{
    struct yoke_bytes argv[] = {report_bytes("DONE"), report_bytes(token),
                                result};

    request_report(r, result.len > 0 ? 3 : 2, argv, false);
}

void request_log(struct runner *r, const char *token, int stream,
                 const char *data, size_t len)
{
    struct yoke_bytes argv[] = {report_bytes("LOG"),
                                report_bytes(token),
                                report_bytes(stream == 1 ? "1" : "2"),
                                {.data = data, .len = len}};
    struct request *q = request_send(r, REQUEST_LOG, 4, argv);

    if (q)
        snprintf(q->token, sizeof(q->token), "%s", token);
}

/* How many jobs may be asked for beyond those that run. */
static size_t lookahead(const struct runner *r)
{
    int64_t each =
        r->average_us > 0 ? SHORT_JOB_US / r->average_us : AHEAD_SLOT_MAX;

    return (size_t)(r->settings->slots *
                    (each < AHEAD_SLOT_MAX ? each : AHEAD_SLOT_MAX));
}

static size_t less(size_t from, size_t n)
{
    return n < from ? from - n : 0;
}

/* How many jobs more may be asked for from one queue, of those for which there
 * are slots. */
static size_t queue_room(struct runner *r, size_t i, size_t slots)
{
    const struct settings_queue *q = &r->settings->queues[i];
    const struct queue_use *use = &r->use[i];
    struct pool *pool = q->pool > 0 ? pools_find(&r->pools, q) : NULL;
    size_t own;

    if (r->stopping)
        return 0;
    if (pool)
        return less(pool_room(pool), use->reserved);
    if (q->slots == 0)
        return slots;
    own = less((size_t)q->slots, use->running + use->held + use->reserved);
    return own < slots ? own : slots;
}

/* So many jobs for slots, from all queues that run in them; when together they
 * might give more, each gets a part, if there is one for each. */
static size_t divide(struct runner *r, size_t slots, size_t among)
{
    size_t part = slots / among > 0 ? slots / among : 1, sum = 0;

    for (size_t i = 0; i < r->settings->nqueues; i++) {
        struct queue_use *use = &r->use[i];

        if (r->settings->queues[i].pool > 0)
            continue;
        if (use->room > part)
            use->room = part;
        sum += use->room;
    }
    return sum;
}

/*
 * What to ask for: how many jobs in all, of which *slots at most are for slots,
 * and use->room of each queue. The jobs of pools need no slots, but a FETCH has
 * one count for all.
 */
static size_t plan(struct runner *r, size_t *slots)
{
    size_t limit = (size_t)r->settings->slots + lookahead(r);
    size_t room = less(limit, r->nheld + r->nrunning + r->slots_reserved);
    size_t in_slots = 0, among = 0, in_pools = 0, count;

    for (size_t i = 0; i < r->settings->nqueues; i++) {
        struct queue_use *use = &r->use[i];

        use->room = queue_room(r, i, room);
        if (r->settings->queues[i].pool > 0) {
            in_pools += use->room;
        } else {
            in_slots += use->room;
            among += use->room > 0;
        }
    }
    *slots = in_slots < room ? in_slots : room;
    if (in_slots > room && in_pools > 0)
        in_slots = divide(r, room, among);
    count = in_slots > room ? room : in_slots + in_pools;
    return count < FETCH_MAX ? count : FETCH_MAX;
}

/* Puts the queues that have room behind the other words of the FETCH. The
 * daemon looks into them in their order, and one that is full would be all that
 * it looks into: so who gave a job last comes last. */
static size_t fetch_queues(struct runner *r, size_t count)
{
    size_t argc = 3, at = 0, n = r->settings->nqueues;

    r->fetch_text.len = 0;
    for (size_t k = 0; k < n; k++) {
        size_t i = (r->turn + k) % n;

        if (r->use[i].room == 0)
            continue;
        buffer_append(&r->fetch_text, r->settings->queues[i].name,
                      strlen(r->settings->queues[i].name));
        if (r->use[i].room < count)
            buffer_printf(&r->fetch_text, "/%zu", r->use[i].room);
        r->fetch[argc++].len = r->fetch_text.len - at;
        at = r->fetch_text.len;
    }
    at = 0; /* the text has stopped moving */
    for (size_t i = 3; i < argc; i++) {
        r->fetch[i].data = r->fetch_text.data + at;
        at += r->fetch[i].len;
    }
    return argc;
}

/* What the open FETCH asks for. */
static size_t open_count(const struct runner *r)
{
    return TAILQ_LAST(&r->requests, request_list)->count;
}

/* The jobs that the request asks for are under way until it is answered. */
static void reserve(struct runner *r, struct request *q, size_t count,
                    size_t slots)
{
    size_t n = r->settings->nqueues;

    q->count = count;
    q->slots = slots;
    q->rooms = memory_new(n * sizeof(*q->rooms));
    r->reserved += count;
    r->slots_reserved += slots;
    for (size_t i = 0; i < n; i++) {
        q->rooms[i] = r->use[i].room;
        r->use[i].reserved += q->rooms[i];
    }
}

/*
 * Jobs that an unanswered FETCH has asked for may be on their way, so the next
 * one asks for the others alone. When it is an open one that asks for too few
 * or too many, in all or of one queue, it is first ended by one that asks for
 * none.
 */
void request_fetch(struct runner *r)
{
    char number[24], wait[24];
    size_t count, slots;
    struct request *q;

    if (ev_is_active(&r->pause))
        return;
    count = plan(r, &slots);
    if (r->fetch_open) {
        if (open_count(r) > 0 ? count == 0 && !r->stopping && !r->fetch_stale
                              : count == 0 || r->reserved > 0)
            return;
        if (open_count(r) > 0)
            count = 0;
    }
    snprintf(number, sizeof(number), "%zu", count);
    /* The next sign of life comes when this wait is over. */
    snprintf(wait, sizeof(wait), "%lld", (long long)(r->lease_ms / 6));
    r->fetch[0] = report_bytes("FETCH");
    r->fetch[1] = report_bytes(number);
    r->fetch[2] = report_bytes(wait);
    r->fetch_stale = false;
    q = request_send(r, REQUEST_FETCH, count > 0 ? fetch_queues(r, count) : 3,
                     r->fetch);
    if (q && count > 0)
        reserve(r, q, count, slots);
}
