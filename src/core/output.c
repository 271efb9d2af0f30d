/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/output.h"

#include "core/arrivals.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/waiter.h"
#include "core/worker.h"

_Static_assert(OUTPUT_COST == OUTPUT_HEAD + sizeof(struct arrival), "");

#define CURSOR_DIGITS 19

static struct chunk chunk_read(const char *p)
{
    struct chunk chunk = {.stream = (uint8_t)p[0]};
    uint32_t len;

    memcpy(&len, p + 1, sizeof(len));
    memcpy(&chunk.attempt, p + 5, sizeof(chunk.attempt));
    memcpy(&chunk.arrived_ms, p + 9, sizeof(chunk.arrived_ms));
    chunk.data = (struct str){p + OUTPUT_HEAD, len};
    return chunk;
}

struct chunk output_chunk(const struct output *o, uint64_t at)
{
    ASSERT(at >= o->front && at - o->front < buf_size(&o->chunks));
    return chunk_read(buf_front(&o->chunks) + (at - o->front));
}

/* ---------------------------------------------------------------- keeping */

static void drop_oldest(struct core *c, struct output *o)
{
    int64_t len = (int64_t)chunk_read(buf_front(&o->chunks)).data.len;
    bool before = o->dropped_len != CORE_NONE;

    o->dropped_at = o->front;
    o->dropped_len = len;
    o->front += OUTPUT_HEAD + (uint64_t)len;
    o->first += len;
    buf_consume(&o->chunks, OUTPUT_HEAD + (size_t)len);
    c->log_bytes -= OUTPUT_COST + len;
    account(c, -(int64_t)OUTPUT_HEAD - len);
    if (before)
        arrivals_drop(c, 1);
}

static void drop_all(struct core *c, struct output *o)
{
    while (buf_size(&o->chunks))
        drop_oldest(c, o);
    buf_clear(&o->chunks);
    list_remove(&o->link);
}

void output_free(struct core *c, struct output *o)
{
    account(c, -(int64_t)sizeof(*o));
    mem_free(o);
}

void output_forget(struct core *c, struct job *j)
{
    struct output *o = j->extra->output;

    if (!o)
        return;
    j->extra->output = NULL;
    drop_all(c, o);
    o->job = NULL;
    if (o->arrivals)
        arrivals_drop(c, o->dropped_len != CORE_NONE);
    else
        output_free(c, o);
}

static struct output *output_of(struct core *c, struct job *j)
{
    struct extra *x = job_extra(c, j);

    if (x->output)
        return x->output;
    x->output = mem_zalloc(sizeof(*x->output));
    x->output->job = j;
    x->output->first = x->output->total = c->outputs_begin;
    x->output->dropped_len = CORE_NONE;
    list_init(&x->output->link);
    account(c, sizeof(*x->output));
    return x->output;
}

static void append(struct core *c, struct output *o, uint8_t stream,
                   struct str data)
{
    uint32_t len = (uint32_t)data.len;

    if (!list_linked(&o->link))
        list_push_back(&c->outputs, &o->link);
    arrivals_add(c, o, o->front + buf_size(&o->chunks), len);
    buf_append_byte(&o->chunks, (char)stream);
    buf_append(&o->chunks, &len, sizeof(len));
    buf_append(&o->chunks, &o->job->attempt, sizeof(o->job->attempt));
    buf_append(&o->chunks, &c->now_ms, sizeof(c->now_ms));
    buf_append_str(&o->chunks, data);
    o->total += len;
    c->log_bytes += OUTPUT_COST + len;
    account(c, OUTPUT_HEAD + (int64_t)len);
    while (o->total - o->first > c->limits.log_max)
        drop_oldest(c, o);
    while (c->log_bytes > c->limits.logs_max)
        drop_all(c, list_entry(list_first(&c->outputs), struct output, link));
}

void output_log(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.report.token.job);
    struct str data = ev->u.report.data;
    int64_t cursor = c->printed;

    if (!j)
        return;
    if (j->attempt != ev->u.report.token.attempt ||
        (j->state != JOB_RUNNING && j->state != JOB_CANCELLING)) {
        c->totals.stale++;
        reply_error(c, ev->client, CORE_ERR_STALE,
                    "the attempt is not running");
        return;
    }
    if ((int64_t)data.len > c->limits.log_max) {
        reply_error(c, ev->client, CORE_ERR_TOOBIG,
                    "%zu bytes at once, log-max is %lld", data.len,
                    (long long)c->limits.log_max);
        return;
    }
    if (data.len)
        append(c, output_of(c, j), (uint8_t)ev->u.report.stream, data);
    reply_ok(c, ev->client);
    if (!data.len)
        return;
    output_notify(c, j);
    arrivals_notify(c, j->group, cursor);
}

/* ------------------------------------------------------------------ pages */

void output_page_begin(struct core *c, struct client_id client, bool detailed,
                       struct output_page *p)
{
    struct buf *b = reply_begin(c, client);

    value_array(b, 3);
    *p =
        (struct output_page){.b = b, .cursor_at = b->len, .detailed = detailed};
    value_str(b, STR("0000000000000000000"));
    p->count_at = value_array(b, 0);
}

void output_page_chunk(struct output_page *p, const struct job *j,
                       const struct chunk *chunk)
{
    value_array(p->b, p->detailed ? 4 : 2);
    value_int(p->b, chunk->stream);
    value_str(p->b, chunk->data);
    if (p->detailed) {
        value_int(p->b, chunk->arrived_ms);
        value_id(p->b, 'j', j->node.hash, chunk->attempt);
    }
    p->entries++;
}

void output_page_lost(struct output_page *p, const struct job *j, int64_t lost)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%lld", (long long)lost);
    value_array(p->b, p->detailed ? 4 : 2);
    value_int(p->b, 0);
    value_str(p->b, str_from(text));
    if (p->detailed) {
        value_null(p->b);
        value_id(p->b, 'j', j->node.hash, 0);
    }
    p->entries++;
}

void output_page_end(struct core *c, struct output_page *p, int64_t cursor,
                     bool over)
{
    char text[24];

    value_set_count(p->b, p->count_at, p->entries);
    value_int(p->b, over);
    (void)snprintf(text, sizeof(text), "%0*lld", CURSOR_DIGITS,
                   (long long)cursor);
    memcpy(p->b->data + p->cursor_at + 1 + sizeof(uint32_t), text,
           CURSOR_DIGITS);
    reply_end(c);
}

/* --------------------------------------------------------------- of a job */

static void write_page(struct core *c, struct client_id client,
                       const struct job *j, int64_t cursor, int64_t count,
                       bool times)
{
    const struct output *o = j->extra ? j->extra->output : NULL;
    int64_t at = o ? o->first : cursor, end = cursor;
    struct output_page page;

    output_page_begin(c, client, times, &page);
    if (o && cursor < o->first) {
        output_page_lost(&page, j, o->first - cursor);
        end = o->first;
    }
    for (uint64_t p = o ? o->front : 0; o && end < o->total &&
                                        end - cursor < count &&
                                        page.entries < OUTPUT_PAGE_CHUNKS;) {
        struct chunk chunk = output_chunk(o, p);
        size_t len = chunk.data.len, skip = (size_t)max_i64(0, end - at);

        if (len > skip) {
            chunk.data = (struct str){chunk.data.p + skip, len - skip};
            output_page_chunk(&page, j, &chunk);
            end += (int64_t)(len - skip);
        }
        at += (int64_t)len;
        p += OUTPUT_HEAD + len;
    }
    output_page_end(c, &page, end,
                    j->state == JOB_FINISHED && (!o || end == o->total));
}

void output_notify(struct core *c, struct job *j)
{
    const struct output *o = j->extra->output;

    list_foreach_safe (it, &j->extra->waiters) {
        struct waiter *w = list_entry(it, struct waiter, link);

        if (w->kind != WAIT_LOGS)
            continue;
        if (j->state != JOB_FINISHED && (!o || o->total <= w->cursor))
            continue;
        write_page(c, w->client->id, j, w->cursor, w->count, w->times);
        waiter_free(c, w);
    }
}

void output_read(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.logs.job);
    int64_t cursor = max_i64(ev->u.logs.cursor, c->outputs_begin);
    int64_t count = ev->u.logs.count;
    const struct output *o;
    struct waiter *w;

    if (!j)
        return;
    if (count == CORE_UNSET || count <= 0 || count > OUTPUT_PAGE_BYTES)
        count = OUTPUT_PAGE_BYTES;
    o = j->extra ? j->extra->output : NULL;
    if (cursor > (o ? o->total : c->outputs_begin)) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "LOGS: the cursor is past the end; the first is 0");
        return;
    }
    if (j->state == JOB_FINISHED || (o && o->total > cursor) ||
        ev->u.logs.wait_ms == 0) {
        write_page(c, ev->client, j, cursor, count, ev->u.logs.times);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_LOGS, ev->u.logs.wait_ms, 0);
    w->job = j;
    w->cursor = cursor;
    w->count = count;
    w->times = ev->u.logs.times;
    list_push_back(&job_extra(c, j)->waiters, &w->link);
}
