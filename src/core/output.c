/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output - what jobs print, for LOGS.
 *
 * Volatile and bounded twice: each job keeps its newest log_max bytes, and
 * over logs_max in all the job that printed first loses its output. A reader's
 * cursor counts the bytes printed since the start of the daemon, from a number
 * on that no earlier start came to, so it can tell what it missed, and that it
 * has to begin anew.
 *
 * Kept as a byte queue of chunks: u8 stream, u32 length, bytes.
 */
#include "core/output.h"

#include "core/internal.h"
#include "core/job.h"
#include "core/waiter.h"
#include "core/worker.h"

#define CHUNK_HEAD 5u
#define PAGE_BYTES (1 << 20)

struct output {
    struct list link; /* core->outputs */
    struct job *job;
    struct buf chunks;
    int64_t first; /* cursor of the first byte kept */
    int64_t total; /* cursor after the last byte */
};

static uint32_t chunk_len(const char *chunk)
{
    uint32_t len;

    memcpy(&len, chunk + 1, sizeof(len));
    return len;
}

static void drop_oldest(struct core *c, struct output *o)
{
    uint32_t len = chunk_len(buf_front(&o->chunks));

    buf_consume(&o->chunks, CHUNK_HEAD + len);
    o->first += len;
    c->log_bytes -= len;
    account(c, -(int64_t)(CHUNK_HEAD + len));
}

static void drop_all(struct core *c, struct output *o)
{
    while (buf_size(&o->chunks))
        drop_oldest(c, o);
    buf_clear(&o->chunks);
}

void output_free(struct core *c, struct job *j)
{
    struct output *o = j->extra->output;

    if (!o)
        return;
    drop_all(c, o);
    list_remove(&o->link);
    account(c, -(int64_t)sizeof(*o));
    mem_free(o);
    j->extra->output = NULL;
}

static struct output *output_of(struct core *c, struct job *j)
{
    struct extra *x = job_extra(c, j);

    if (x->output)
        return x->output;
    x->output = mem_zalloc(sizeof(*x->output));
    x->output->job = j;
    x->output->first = x->output->total = c->outputs_begin;
    list_push_back(&c->outputs, &x->output->link);
    account(c, sizeof(*x->output));
    return x->output;
}

static void append(struct core *c, struct output *o, uint8_t stream,
                   struct str data)
{
    uint32_t len = (uint32_t)data.len;

    buf_append_byte(&o->chunks, (char)stream);
    buf_append(&o->chunks, &len, sizeof(len));
    buf_append_str(&o->chunks, data);
    o->total += len;
    c->log_bytes += len;
    account(c, CHUNK_HEAD + (int64_t)len);
    while (o->total - o->first > c->limits.log_max)
        drop_oldest(c, o);
    list_foreach (it, &c->outputs) {
        if (c->log_bytes <= c->limits.logs_max)
            break;
        drop_all(c, list_entry(it, struct output, link));
    }
}

/* Writes a page from the cursor on. */
static void write_page(struct core *c, struct client_id client,
                       const struct job *j, int64_t cursor, int64_t count)
{
    const struct output *o = j->extra ? j->extra->output : NULL;
    struct buf *b = reply_begin(c, client);
    int64_t at = o ? o->first : cursor, end = cursor;
    uint32_t entries = 0;
    size_t count_at, cursor_at;
    char text[24];

    value_array(b, 3);
    cursor_at = b->len;
    value_str(b, STR("0000000000000000000"));
    count_at = value_array(b, 0);
    if (o && cursor < o->first) {
        (void)snprintf(text, sizeof(text), "%lld",
                       (long long)(o->first - cursor));
        value_array(b, 2);
        value_int(b, 0);
        value_str(b, str_from(text));
        entries++;
        end = o->first;
    }
    for (size_t p = o ? o->chunks.head : 0; o && p < o->chunks.len;) {
        const char *chunk = o->chunks.data + p;
        int64_t len = chunk_len(chunk), skip = max_i64(0, end - at);

        if (len > skip && end - cursor < count) {
            value_array(b, 2);
            value_int(b, chunk[0]);
            value_str(b, (struct str){chunk + CHUNK_HEAD + skip,
                                      (size_t)(len - skip)});
            entries++;
            end += len - skip;
        }
        at += len;
        p += CHUNK_HEAD + (size_t)len;
    }
    value_set_count(b, count_at, entries);
    value_int(b, j->state == JOB_FINISHED && (!o || end == o->total));
    (void)snprintf(text, sizeof(text), "%019lld", (long long)end);
    memcpy(b->data + cursor_at + 1 + sizeof(uint32_t), text, 19);
    reply_end(c);
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
        write_page(c, w->client->id, j, w->cursor, w->count);
        waiter_free(c, w);
    }
}

void output_log(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.report.token.job);
    struct str data = ev->u.report.data;

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
    if (j->extra)
        output_notify(c, j);
}

void output_read(struct core *c, const struct core_event *ev)
{
    struct job *j = find_job_or_reply(c, ev->client, ev->u.logs.id);
    int64_t cursor = max_i64(ev->u.logs.cursor, c->outputs_begin);
    int64_t count = ev->u.logs.count;
    const struct output *o;
    struct waiter *w;

    if (!j)
        return;
    if (count == CORE_UNSET || count <= 0 || count > PAGE_BYTES)
        count = PAGE_BYTES;
    o = j->extra ? j->extra->output : NULL;
    if (cursor > (o ? o->total : c->outputs_begin)) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "LOGS: the cursor is past the end; the first is 0");
        return;
    }
    if (j->state == JOB_FINISHED || (o && o->total > cursor) ||
        ev->u.logs.wait_ms == 0) {
        write_page(c, ev->client, j, cursor, count);
        return;
    }
    w = waiter_new(c, ev->client, WAIT_LOGS, ev->u.logs.wait_ms, 0);
    w->job = j;
    w->cursor = cursor;
    w->count = count;
    list_push_back(&job_extra(c, j)->waiters, &w->link);
}
