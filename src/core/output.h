/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output - what jobs print.
 *
 * Volatile and bounded twice: each job keeps its newest log_max bytes, and over
 * logs_max in all the job that printed first loses its output; there each chunk
 * counts with what it costs beside its bytes. Of a job it is read here, of a
 * group by arrivals.h.
 *
 * Cursors: of a job's output they count its own bytes, of all that arrives
 * those of all jobs, both since the start of the daemon and from a number on
 * that no earlier start came to. So a reader is told what it missed, and one
 * of before a restart begins anew.
 */
#ifndef YOKE_CORE_OUTPUT_H
#define YOKE_CORE_OUTPUT_H

#include "base/buf.h"
#include "base/list.h"
#include "core/core.h"

struct core;
struct job;

/* A page has so many bytes at most, and so many chunks. */
#define OUTPUT_PAGE_BYTES  (1 << 20)
#define OUTPUT_PAGE_CHUNKS 20000

/* Before the bytes of a chunk, packed: u8 stream, u32 length, u32 attempt, i64
 * arrived_ms; and all that a chunk costs beside its bytes. */
#define OUTPUT_HEAD 17
#define OUTPUT_COST (OUTPUT_HEAD + 24)

/* What one job has printed: a byte queue of chunks, each a packed head and its
 * bytes. Where a chunk lies is counted from the first one that ever was. */
struct output {
    struct list link; /* core->outputs, while it has chunks */
    struct job *job;  /* NULL: forgotten, but not by core->arrivals */
    struct buf chunks;
    uint64_t front; /* where the first chunk that is kept lies */
    int64_t first;  /* cursor of the first byte kept */
    int64_t total;  /* cursor after the last byte */
    /* Of the last chunk that was dropped; none was: CORE_NONE. */
    int64_t dropped_len;
    uint64_t dropped_at;
    uint32_t arrivals; /* that lead here */
};

struct chunk {
    uint8_t stream;
    uint32_t attempt;
    int64_t arrived_ms;
    struct str data;
};

void output_log(struct core *c, const struct core_event *ev);
void output_read(struct core *c, const struct core_event *ev);
/* The chunk that lies there; lent until the output changes. */
struct chunk output_chunk(const struct output *o, uint64_t at);
/* The job is forgotten. */
void output_forget(struct core *c, struct job *j);
/* Nothing leads to what the job has printed any more, and the job is gone. */
void output_free(struct core *c, struct output *o);
/* New output, or the job ended: answer who follows. */
void output_notify(struct core *c, struct job *j);

/* Pages, [cursor, [entry, ...], over], written as one reply; `detailed` entries
 * say when and from which attempt. */
struct output_page {
    struct buf *b;
    size_t cursor_at, count_at;
    uint32_t entries;
    bool detailed;
};

void output_page_begin(struct core *c, struct client_id client, bool detailed,
                       struct output_page *p);
void output_page_chunk(struct output_page *p, const struct job *j,
                       const struct chunk *chunk);
/* So many bytes were dropped here. */
void output_page_lost(struct output_page *p, const struct job *j, int64_t lost);
void output_page_end(struct core *c, struct output_page *p, int64_t cursor,
                     bool over);

#endif
