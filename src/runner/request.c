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
        if (TAILQ_LAST(&r->requests, request_list) == q)
            r->fetch_open = false;
    }
    TAILQ_REMOVE(&r->requests, q, link);
    free(q->report);
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

    if (r->queues_bounded)
        return 0;
    return (size_t)(r->settings->slots *
                    (each < AHEAD_SLOT_MAX ? each : AHEAD_SLOT_MAX));
}

/* How many jobs more may be asked for from one queue. */
static size_t queue_room(struct runner *r, size_t i)
{
    const struct settings_queue *q = &r->settings->queues[i];
    struct pool *pool = q->pool > 0 ? pools_find(&r->pools, q) : NULL;
    size_t limit, taken;

    if (pool) {
        limit = pool_room(pool);
        taken = r->reserved;
    } else {
        limit = (size_t)r->settings->slots + lookahead(r);
        taken = r->nheld + r->nrunning + r->reserved;
        if (q->slots > 0 && limit > (size_t)q->slots) {
            limit = (size_t)q->slots;
            taken = r->queue_running[i] + r->nheld + r->reserved;
        }
    }
    return taken < limit ? limit - taken : 0;
}

/* Puts the queues that have room behind the other words of the FETCH, and
 * bounds *count by the room that each of them has. */
static size_t fetch_queues(struct runner *r, size_t *count)
{
    size_t argc = 3;

    for (size_t i = 0; i < r->settings->nqueues; i++) {
        size_t room = r->stopping ? 0 : queue_room(r, i);

        if (room == 0)
            continue;
        if (*count > room)
            *count = room;
        r->fetch[argc++] = report_bytes(r->settings->queues[i].name);
    }
    if (argc == 3) {
        /* Cancels alone; the command wants a queue all the same. */
        *count = 0;
        r->fetch[argc++] = report_bytes(r->settings->queues[0].name);
    }
    return argc;
}

/* What the open FETCH asks for. */
static size_t open_count(const struct runner *r)
{
    return TAILQ_LAST(&r->requests, request_list)->count;
}

/*
 * Jobs that an unanswered FETCH has asked for may be on their way, so the next
 * one asks for the others alone. When it is an open one that asks for too few
 * or too many, it is first ended by one that asks for none.
 */
void request_fetch(struct runner *r)
{
    size_t count = FETCH_MAX;
    char number[24], wait[24];
    struct request *q;
    size_t argc;

    if (ev_is_active(&r->pause))
        return;
    argc = fetch_queues(r, &count);
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
    q = request_send(r, REQUEST_FETCH, argc, r->fetch);
    if (q) {
        q->count = count;
        r->reserved += count;
    }
}
