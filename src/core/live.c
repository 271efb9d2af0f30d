/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * live - how many bytes images of everything would take: what the journal may
 * be a multiple of.
 *
 * Kept as things change: who changes a job or a group so that its image is
 * longer or shorter takes what it was off before (-1), and adds what it is
 * after that (+1). core_check counts again.
 */
#include "core/live.h"

#include "core/attempt.h"
#include "core/below.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/limiter.h"
#include "core/queue.h"

/* Of the records without their texts, as record.c writes them. */
#define JOB_BYTES     51
#define RUN_BYTES     65
#define END_BYTES     22
#define ATTEMPT_BYTES 12
#define OPTIONS_BYTES 81
#define GROUP_BYTES   198
#define IDS_BYTES     34
#define QUEUE_BYTES   142
#define LIMITER_BYTES 65
#define TEXT_BYTES    4 /* the length of one */

static int64_t text_bytes(const char *text)
{
    return text ? (int64_t)(TEXT_BYTES + strlen(text)) : 0;
}

static int64_t key_bytes(const struct key *k)
{
    return k ? TEXT_BYTES + (int64_t)k->len : 0;
}

int64_t live_options_bytes(const struct options *o)
{
    return o == o->queue->defaults ? 0
                                   : OPTIONS_BYTES + (int64_t)o->retry_on.len;
}

void live_options_left(struct core *c, const struct options *o)
{
    c->option_bytes += (int64_t)o->refs * live_options_bytes(o);
}

static int64_t extra_bytes(const struct extra *x)
{
    int64_t bytes = text_bytes(x->name) + text_bytes(x->reason) +
                    text_bytes(x->then) + key_bytes(x->key);

    bytes += x->not_before_ms ? (int64_t)sizeof(int64_t) : 0;
    bytes += x->next ? (int64_t)sizeof(uint64_t) : 0;
    bytes += x->retried ? (int64_t)sizeof(uint64_t) : 0;
    bytes += x->nerrors ? TEXT_BYTES + x->error_bytes : 0;
    bytes += x->needs ? 1 + 8 * (int64_t)x->needs->len : 0;
    return bytes;
}

/* What lies below it is among c->ids. */
int64_t live_job_bytes(const struct job *j)
{
    const struct extra *x = j->extra;
    int64_t bytes = CORE_ENTRY_BYTES + JOB_BYTES + (int64_t)j->payload_len;

    if (j->state == JOB_FINISHED)
        bytes += END_BYTES + (int64_t)j->u.end->result_len;
    else if (!job_not_started(j))
        bytes +=
            RUN_BYTES + (int64_t)(j->u.run->result_len + j->u.run->ready_len);
    if (j->attempt || (x && (x->failures || x->losses)))
        bytes += ATTEMPT_BYTES;
    return x ? bytes + extra_bytes(x) : bytes;
}

int64_t live_image_bytes(const struct core *c, const struct job *j)
{
    const struct extra *x = j->extra;
    const struct queue *q = job_queue(j);
    int64_t bytes = live_job_bytes(j) + live_options_bytes(j->options);

    if (q->segment != c->segment)
        bytes += QUEUE_BYTES + q->name_len;
    if (x && x->needs)
        bytes +=
            (int64_t)x->needs->len * (LIMITER_BYTES + CORE_LIMITER_NAME_MAX);
    if (x && x->below)
        bytes += (int64_t)(x->below->groups.len * sizeof(uint64_t));
    if (x && x->dead)
        bytes += (int64_t)sizeof(int64_t); /* how long it is kept */
    return bytes;
}

int64_t live_group_bytes(const struct group *g)
{
    return CORE_ENTRY_BYTES + GROUP_BYTES + text_bytes(g->name) +
           text_bytes(g->reason) + key_bytes(g->key);
}

int64_t live_ids_bytes(const struct group *g)
{
    return (int64_t)(g->members.len + g->done.len) * (int64_t)sizeof(uint64_t);
}

int64_t core_live_bytes(const struct core *c)
{
    return c->live_bytes + c->option_bytes + c->name_bytes +
           c->ids * (int64_t)sizeof(uint64_t) + c->vectors * IDS_BYTES +
           c->numbers * (int64_t)sizeof(uint64_t) +
           (int64_t)c->queue_names.len * QUEUE_BYTES +
           c->nlimiters * LIMITER_BYTES;
}

/* Options lie in all segments alike. */
int64_t core_oldest_bytes(const struct core *c)
{
    int64_t bytes = c->segment_bytes[0];
    const struct list *lists[] = {&c->all_groups, &c->ended_groups};

    if (c->segment_held)
        bytes +=
            c->option_bytes / (int64_t)c->segment_held * c->segment_live[0];
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_foreach (it, lists[i]) {
            const struct group *g = list_entry(it, struct group, link);

            if (g->segment == c->first_segment)
                bytes += live_ids_bytes(g);
        }
    return bytes;
}
