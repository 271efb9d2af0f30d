/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image_errors - the errors of a job whose image would be too large with them.
 *
 * The image says how many they are, and they follow in JOB_ERRORS, some in
 * each; until the last of them is written the segment before is held. What
 * fails meanwhile is recorded as always and comes behind them: errors are only
 * ever added at the end, so that a place in their order says which one it is,
 * whenever it was written.
 *
 * A replay that meets the image without having known the job puts each in its
 * place as it comes. If a crash came before the last of them, all of it was
 * written once more; what is there already is passed over.
 */
#include "core/image_errors.h"

#include "core/errors.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/live.h"
#include "core/retain.h"
#include "core/segment.h"

static struct record_error error_at(const struct extra *x, uint32_t n)
{
    const struct job_error *e = &x->errors[n];

    return (struct record_error){.class = e->class,
                                 .message = e->message,
                                 .detail = e->detail,
                                 .attempt = e->attempt,
                                 .body_done = e->body_done,
                                 .at_ms = e->at_ms};
}

static int64_t bytes_at(const struct extra *x, uint32_t n)
{
    struct record_error e = error_at(x, n);

    return record_error_bytes(&e);
}

static void collect(struct core *c, const struct extra *x, uint32_t n)
{
    struct record_error e = error_at(x, n);

    record_put_error(&c->scratch, &e);
}

void image_errors_take(struct core *c, const struct extra *x,
                       struct record_job_image *i)
{
    if (x->error_bytes > c->limits.image_errors) {
        i->apart = x->nerrors;
        return;
    }
    for (uint32_t n = 0; n < x->nerrors; n++)
        collect(c, x, n);
}

bool image_errors_fit(const struct core *c, const struct extra *x)
{
    for (uint32_t n = 0; n < x->nerrors; n++)
        if (bytes_at(x, n) > c->limits.image_max)
            return false;
    return true;
}

void image_errors_await(struct core *c, struct job *j, uint32_t n)
{
    struct imaging *m = mem_zalloc(sizeof(*m));

    m->job = j;
    m->then = n;
    m->segment = job_follows_from(c, j);
    list_push_back(&c->imaging_jobs, &m->link);
    job_extra(c, j)->imaging = m;
    account(c, sizeof(*m));
}

void image_errors_drop(struct core *c, struct extra *x)
{
    if (!x->imaging)
        return;
    list_remove(&x->imaging->link);
    mem_free(x->imaging);
    x->imaging = NULL;
    account(c, -(int64_t)sizeof(struct imaging));
}

/* ----------------------------------------------------------------- writing */

void image_errors_write(struct core *c, struct imaging *m)
{
    struct job *j = m->job;
    const struct extra *x = j->extra;
    struct record r = {.type = RECORD_JOB_ERRORS,
                       .at_ms = c->now_ms,
                       .id = j->node.hash,
                       .u.job_errors = {.at = m->next}};

    buf_reset(&c->scratch);
    do
        collect(c, x, m->next++);
    while (m->next < m->then &&
           (int64_t)c->scratch.len + bytes_at(x, m->next) <=
               c->limits.image_errors);
    r.u.job_errors.errors = (struct str){c->scratch.data, c->scratch.len};
    core_record(c, &r);
    if (m->next < m->then)
        return;
    segment_move(c, &j->segment, m->segment, live_job_bytes(j));
    image_errors_drop(c, j->extra);
}

/* ------------------------------------------------------------------- apply */

/* All but `lost` of those before it are there. */
static void put_in_place(struct core *c, struct job *j, uint32_t at,
                         const struct record_error *v)
{
    struct extra *x = j->extra;
    struct job_error e;

    errors_add(c, j, v);
    if (at >= x->nerrors - 1)
        return;
    e = x->errors[x->nerrors - 1];
    memmove(&x->errors[at + 1], &x->errors[at],
            (x->nerrors - 1 - at) * sizeof(e));
    x->errors[at] = e;
}

static const char *fill(struct core *c, struct job *j, uint32_t at,
                        struct str errors)
{
    struct imaging *m = j->extra->imaging;
    struct record_error e;

    if (at > m->next && at < m->then) { /* only damage does that */
        m->lost += at - m->next;
        m->next = at;
    }
    for (; record_get_error(&errors, &e); at++)
        if (at == m->next && at < m->then)
            put_in_place(c, j, m->next++ - m->lost, &e);
    if (m->next == m->then)
        image_errors_drop(c, j->extra);
    return errors.len ? "half an error" : NULL;
}

const char *image_errors_fill(struct core *c, struct job *j, uint32_t at,
                              struct str errors)
{
    const char *wrong;

    if (c->started || !j->extra || !j->extra->imaging)
        return NULL; /* they are there */
    if (j->state == JOB_FINISHED)
        retain_count(c, j, -1);
    live_job(c, j, -1);
    wrong = fill(c, j, at, errors);
    live_job(c, j, +1);
    if (j->state == JOB_FINISHED)
        retain_count(c, j, +1);
    return wrong;
}

const char *image_errors_apply(struct core *c, const struct record *r)
{
    const struct record_job_errors *v = &r->u.job_errors;
    struct job *j = find_job(c, (struct job_id){r->id});

    return j ? image_errors_fill(c, j, v->at, v->errors) : NULL;
}
