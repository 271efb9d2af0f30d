/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record - facts as bytes, and back.
 *
 *     u8 type | u32 length of the body | body
 *
 * The body is fixed little-endian fields, then strings (u32 length, bytes).
 * New fields are added at the end of a body only: a reader stops at the fields
 * it knows, and takes zero for those an older writer did not know.
 */
#include "core/record.h"

#include "core/field.h"
#include "core/internal.h"
#include "core/record_image.h"

#define HEAD_BYTES  5
#define ERROR_BYTES 25 /* without its texts */

#define DAMAGED "record with damaged fields"

static void put_settings(struct writer *w, const struct queue_settings *s)
{
    put_i64(w, s->max_jobs);
    put_i64(w, s->max_bytes);
    put_i64(w, s->timeout_ms);
    put_i64(w, s->grace_ms);
    put_i64(w, s->retry);
    put_i64(w, s->redeliver);
    put_i64(w, s->keep_ms);
    put_i64(w, s->wait_ms);
}

static void get_settings(struct reader *r, struct queue_settings *s)
{
    s->max_jobs = get_i64(r);
    s->max_bytes = get_i64(r);
    s->timeout_ms = get_i64(r);
    s->grace_ms = get_i64(r);
    s->retry = get_i64(r);
    s->redeliver = get_i64(r);
    s->keep_ms = get_i64(r);
    s->wait_ms = get_i64(r);
}

/* What older writers did not know were the numbers that zero stands for. */
#define FACTOR_ALWAYS 2000
#define JITTER_ALWAYS 100

static void put_retry(struct writer *w, int64_t factor_milli, int64_t jitter,
                      struct str classes)
{
    put_u32(w, (uint32_t)factor_milli - FACTOR_ALWAYS);
    put_u8(w, (uint8_t)(JITTER_ALWAYS - jitter));
    put_str(w, classes);
}

static void get_retry(struct reader *r, int64_t *factor_milli, int64_t *jitter,
                      struct str *classes)
{
    *factor_milli = (uint32_t)(get_u32(r) + FACTOR_ALWAYS);
    *jitter = JITTER_ALWAYS - get_u8(r);
    *classes = get_str(r);
}

/* Defaults of jobs; with a mark, for they were not always there. */
static void put_job_defaults(struct writer *w, const struct queue_settings *s)
{
    put_u8(w, 1);
    put_i64(w, s->backoff_base_ms);
    put_i64(w, s->backoff_cap_ms);
    put_i64(w, s->expires_ms);
    put_u8(w, (uint8_t)s->priority);
    put_retry(w, s->factor_milli, s->jitter, s->retry_on);
}

static void get_job_defaults(struct reader *r, struct queue_settings *s)
{
    bool known = get_bool(r);

    s->backoff_base_ms = get_i64(r);
    s->backoff_cap_ms = get_i64(r);
    s->expires_ms = get_i64(r);
    s->priority = get_u8(r);
    get_retry(r, &s->factor_milli, &s->jitter, &s->retry_on);
    if (known)
        return;
    s->backoff_base_ms = 1000;
    s->backoff_cap_ms = 60000;
    s->expires_ms = CORE_NONE;
    s->priority = CORE_PRIORITY_DEFAULT;
}

void record_put_options(struct writer *w, const struct options *o)
{
    put_i64(w, o->timeout_ms);
    put_i64(w, o->deadline_ms);
    put_i64(w, o->grace_ms);
    put_i64(w, o->keep_ms);
    put_i64(w, o->expires_ms);
    put_i64(w, o->retry);
    put_i64(w, o->backoff_base_ms);
    put_i64(w, o->backoff_cap_ms);
    put_i64(w, o->redeliver);
    put_retry(w, o->factor_milli, o->jitter, o->retry_on);
}

void record_put_needs(struct writer *w, const struct record_needs *n)
{
    put_u8(w, n->len);
    for (size_t i = 0; i < n->len; i++) {
        put_u32(w, n->list[i].limiter);
        put_u32(w, n->list[i].n);
    }
}

void record_get_needs(struct reader *r, struct record_needs *n)
{
    n->len = get_u8(r);
    if (n->len > CORE_LIMITS_MAX) {
        r->bad = true;
        n->len = 0;
    }
    for (size_t i = 0; i < n->len; i++) {
        n->list[i].limiter = get_u32(r);
        n->list[i].n = get_u32(r);
    }
}

void record_get_options(struct reader *r, struct options *o)
{
    int64_t factor;

    o->timeout_ms = get_i64(r);
    o->deadline_ms = get_i64(r);
    o->grace_ms = get_i64(r);
    o->keep_ms = get_i64(r);
    o->expires_ms = get_i64(r);
    o->retry = get_i64(r);
    o->backoff_base_ms = get_i64(r);
    o->backoff_cap_ms = get_i64(r);
    o->redeliver = get_i64(r);
    get_retry(r, &factor, &o->jitter, &o->retry_on);
    o->factor_milli = (uint32_t)factor;
}

static void put_once(struct writer *w, const struct record_once *o)
{
    if (o->number == 0)
        return;
    put_u64(w, o->session);
    put_u64(w, o->number);
    put_u32(w, o->open);
}

static void get_once(struct reader *r, struct record_once *o)
{
    o->session = get_u64(r);
    o->number = get_u64(r);
    o->open = get_u32(r);
}

/* What most jobs do not have is the end, and left out when there is nothing of
 * it. */
static bool has_tail(const struct record_job *j)
{
    return j->key.len > 0 || j->then.len > 0 || j->needs.len > 0 ||
           j->once.number > 0;
}

static void put_job(struct writer *w, const struct record_job *j)
{
    put_u32(w, j->queue);
    put_u64(w, j->group);
    put_u8(w, j->priority);
    put_u8(w, j->own_options);
    put_i64(w, j->not_before_ms);
    put_str(w, j->name);
    put_str(w, j->payload);
    if (j->own_options)
        record_put_options(w, &j->options);
    if (!has_tail(j))
        return;
    put_str(w, j->key);
    put_str(w, j->then);
    record_put_needs(w, &j->needs);
    put_once(w, &j->once);
}

void record_get_job(struct reader *r, struct record_job *j)
{
    j->queue = get_u32(r);
    j->group = get_u64(r);
    j->priority = get_u8(r);
    j->own_options = get_bool(r);
    j->not_before_ms = get_i64(r);
    j->name = get_str(r);
    j->payload = get_str(r);
    if (j->own_options)
        record_get_options(r, &j->options);
    j->key = get_str(r);
    j->then = get_str(r);
    record_get_needs(r, &j->needs);
    get_once(r, &j->once);
}

static void put_limiter(struct writer *w, const struct record_limiter *l)
{
    put_i64(w, l->permits);
    put_i64(w, l->rate);
    put_i64(w, l->rate_ms);
    put_i64(w, l->level);
    put_i64(w, l->filled_ms);
    put_str(w, l->name);
}

static void get_limiter(struct reader *r, struct record_limiter *l)
{
    l->permits = get_i64(r);
    l->rate = get_i64(r);
    l->rate_ms = get_i64(r);
    l->level = get_i64(r);
    l->filled_ms = get_i64(r);
    l->name = get_str(r);
}

static void put_verdict_body(struct writer *w, const struct record_verdict *v)
{
    put_u8(w, v->kind);
    put_u8(w, v->outcome);
    put_u8(w, v->has_error);
    put_i64(w, v->not_before_ms);
    put_str(w, v->reason);
    put_str(w, v->result);
    if (!v->has_error)
        return;
    put_str(w, v->class);
    put_str(w, v->message);
    put_str(w, v->detail);
}

static void get_verdict_body(struct reader *r, struct record_verdict *v)
{
    v->kind = get_u8(r);
    v->outcome = get_u8(r);
    v->has_error = get_bool(r);
    v->not_before_ms = get_i64(r);
    v->reason = get_str(r);
    v->result = get_str(r);
    if (!v->has_error)
        return;
    v->class = get_str(r);
    v->message = get_str(r);
    v->detail = get_str(r);
}

/* Most jobs are of the root and have no next one. */
static void put_verdict(struct writer *w, const struct record_verdict *v)
{
    put_verdict_body(w, v);
    if (v->next || v->group)
        put_u64(w, v->next);
    if (!v->group)
        return;
    put_u64(w, v->group);
    put_u8(w, v->errors_below);
}

static void get_verdict(struct reader *r, struct record_verdict *v)
{
    get_verdict_body(r, v);
    v->next = get_u64(r);
    v->group = get_u64(r);
    v->errors_below = get_bool(r);
}

static void put_group_end(struct writer *w, const struct record_group_end *e)
{
    put_u8(w, e->outcome);
    put_u8(w, e->counted_as);
    put_u8(w, e->parent_is_job);
    put_u64(w, e->parent);
    put_u32(w, e->parent_attempt);
    put_u8(w, e->failed_inside);
    put_u8(w, e->errors_below);
    put_u8(w, e->fails_parent);
}

static void get_group_end(struct reader *r, struct record_group_end *e)
{
    e->outcome = get_u8(r);
    e->counted_as = get_u8(r);
    e->parent_is_job = get_bool(r);
    e->parent = get_u64(r);
    e->parent_attempt = get_u32(r);
    e->failed_inside = get_bool(r);
    e->errors_below = get_bool(r);
    e->fails_parent = get_bool(r);
}

void record_put_group(struct writer *w, const struct record_group *g)
{
    put_u8(w, g->parent_is_job);
    put_u64(w, g->parent);
    put_u64(w, g->parent_attempt);
    put_u64(w, g->session);
    put_i64(w, g->fail);
    put_i64(w, g->succeed);
    put_i64(w, g->width);
    put_i64(w, g->deadline_ms);
    put_i64(w, g->keep_ms);
    put_str(w, g->name);
    put_u8(w, g->of_body);
    put_str(w, g->key);
    put_once(w, &g->once);
}

void record_get_group(struct reader *r, struct record_group *g)
{
    g->parent_is_job = get_u8(r);
    g->parent = get_u64(r);
    g->parent_attempt = get_u64(r);
    g->session = get_u64(r);
    g->fail = get_i64(r);
    g->succeed = get_i64(r);
    g->width = get_i64(r);
    g->deadline_ms = get_i64(r);
    g->keep_ms = get_i64(r);
    g->name = get_str(r);
    g->of_body = get_bool(r);
    g->key = get_str(r);
    get_once(r, &g->once);
}

static void put_times(struct writer *w, const struct record_times *t)
{
    put_i64(w, t->timeout_ms);
    put_i64(w, t->deadline_ms);
    put_i64(w, t->expires_ms);
    put_i64(w, t->not_before_ms);
}

static void get_times(struct reader *r, struct record_times *t)
{
    t->timeout_ms = get_i64(r);
    t->deadline_ms = get_i64(r);
    t->expires_ms = get_i64(r);
    t->not_before_ms = get_i64(r);
}

/* No body is larger than this and its strings. */
#define FIXED_BYTES_MAX 512

static size_t job_strings_bytes(const struct record_job *j)
{
    return j->name.len + j->payload.len + j->key.len + j->then.len +
           j->options.retry_on.len;
}

static size_t strings_bytes(const struct record *r)
{
    const struct record_job_image *i;

    switch (r->type) {
    case RECORD_QUEUE:
        return r->u.queue.name.len + r->u.queue.settings.retry_on.len;
    case RECORD_JOB:
        return job_strings_bytes(&r->u.job);
    case RECORD_JOB_IMAGE:
        i = &r->u.job_image;
        return job_strings_bytes(&i->job) + i->reason.len + i->errors.len +
               i->below.len + i->ready.len + i->result.len;
    case RECORD_JOB_ERRORS:
        return r->u.job_errors.errors.len;
    case RECORD_GROUP_IMAGE:
        return r->u.group_image.group.name.len +
               r->u.group_image.group.key.len + r->u.group_image.reason.len;
    case RECORD_GROUP_IDS:
        return r->u.group_ids.ids.len;
    case RECORD_ASK:
    case RECORD_GROUP_CANCEL:
        return r->u.ask.reason.len;
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_DELIVER:
        return r->u.verdict.reason.len + r->u.verdict.result.len +
               r->u.verdict.class.len + r->u.verdict.message.len +
               r->u.verdict.detail.len;
    case RECORD_GROUP:
        return r->u.group.name.len + r->u.group.key.len;
    case RECORD_READY:
        return r->u.ready.len;
    case RECORD_LIMITER:
        return r->u.limiter.name.len;
    case RECORD_SESSION:
        return r->u.session.ids.len;
    case RECORD_START:
    case RECORD_LIMITER_DELETE:
    case RECORD_GROUP_CLOSE:
    case RECORD_GROUP_END:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
    case RECORD_SHIELD:
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
    case RECORD_CLEAR:
        return 0;
    }
    BUG("unknown record");
}

void record_encode(struct buf *to, const struct record *r)
{
    struct writer w;
    char *body;

    buf_reserve(to, HEAD_BYTES + FIXED_BYTES_MAX + strings_bytes(r));
    body = to->data + to->len + HEAD_BYTES;
    w.p = body;
    put_i64(&w, r->at_ms);
    put_u64(&w, r->id);
    switch (r->type) {
    case RECORD_QUEUE:
        put_u8(&w, r->u.queue.paused);
        put_settings(&w, &r->u.queue.settings);
        put_str(&w, r->u.queue.name);
        put_u8(&w, r->u.queue.door);
        put_i64(&w, r->u.queue.settings.dead_keep_ms);
        put_job_defaults(&w, &r->u.queue.settings);
        put_i64(&w, r->u.queue.settings.fair);
        break;
    case RECORD_JOB:
        put_job(&w, &r->u.job);
        break;
    case RECORD_START:
        put_u32(&w, r->u.start.attempt);
        put_u64(&w, r->u.start.session);
        if (r->u.start.spends.len)
            record_put_needs(&w, &r->u.start.spends);
        break;
    case RECORD_LIMITER:
        put_limiter(&w, &r->u.limiter);
        break;
    case RECORD_ASK:
    case RECORD_GROUP_CANCEL:
        put_u8(&w, r->u.ask.cause);
        put_i64(&w, r->u.ask.grace_ms);
        put_str(&w, r->u.ask.reason);
        break;
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_DELIVER:
        put_verdict(&w, &r->u.verdict);
        break;
    case RECORD_GROUP:
        record_put_group(&w, &r->u.group);
        break;
    case RECORD_GROUP_END:
        put_group_end(&w, &r->u.group_end);
        break;
    case RECORD_JOB_IMAGE:
        record_put_job_image(&w, &r->u.job_image);
        break;
    case RECORD_JOB_ERRORS:
        put_u32(&w, r->u.job_errors.at);
        put_str(&w, r->u.job_errors.errors);
        break;
    case RECORD_GROUP_IMAGE:
        record_put_group_image(&w, &r->u.group_image);
        break;
    case RECORD_GROUP_IDS:
        put_u8(&w, r->u.group_ids.done);
        put_u64(&w, r->u.group_ids.at);
        put_str(&w, r->u.group_ids.ids);
        break;
    case RECORD_READY:
        put_str(&w, r->u.ready);
        break;
    case RECORD_SHIELD:
        put_i64(&w, r->u.until_ms);
        break;
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
        put_times(&w, &r->u.times);
        break;
    case RECORD_CLEAR:
        put_u64(&w, r->u.retried);
        break;
    case RECORD_SESSION:
        put_u64(&w, r->u.session.first);
        put_str(&w, r->u.session.ids);
        break;
    case RECORD_GROUP_CLOSE:
        if (r->u.policy.fail == 0 && r->u.policy.succeed == 0)
            break;
        put_i64(&w, r->u.policy.fail);
        put_i64(&w, r->u.policy.succeed);
        break;
    case RECORD_LIMITER_DELETE:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
        break;
    }
    to->data[to->len] = (char)r->type;
    {
        uint32_t len = (uint32_t)(w.p - body);

        memcpy(to->data + to->len + 1, &len, sizeof(len));
        to->len += HEAD_BYTES + len;
    }
    ASSERT(to->len <= to->cap);
}

const char *record_decode(const char *bytes, size_t len, size_t *at,
                          struct record *out)
{
    size_t head = *at;
    struct reader r;
    uint32_t body;

    if (len - *at < HEAD_BYTES)
        return "record is shorter than its head";
    memcpy(&body, bytes + *at + 1, sizeof(body));
    if (body > len - *at - HEAD_BYTES)
        return "record is longer than its entry";
    r = (struct reader){.p = bytes + *at + HEAD_BYTES};
    r.end = r.p + body;
    memset(out, 0, sizeof(*out));
    out->type = (enum record_type)(unsigned char)bytes[*at];
    *at += HEAD_BYTES + body;
    out->at_ms = get_i64(&r);
    out->id = get_u64(&r);
    if (bytes[head] == RECORD_JOB_IMAGE_1) {
        out->type = RECORD_JOB_IMAGE;
        record_get_job_image_1(&r, &out->u.job_image);
        return r.bad ? DAMAGED : NULL;
    }
    switch (out->type) {
    case RECORD_QUEUE:
        out->u.queue.paused = get_bool(&r);
        get_settings(&r, &out->u.queue.settings);
        out->u.queue.name = get_str(&r);
        out->u.queue.door = get_u8(&r);
        out->u.queue.settings.dead_keep_ms = get_i64(&r);
        get_job_defaults(&r, &out->u.queue.settings);
        out->u.queue.settings.fair = get_i64(&r);
        break;
    case RECORD_JOB:
        record_get_job(&r, &out->u.job);
        break;
    case RECORD_START:
        out->u.start.attempt = get_u32(&r);
        out->u.start.session = get_u64(&r);
        record_get_needs(&r, &out->u.start.spends);
        break;
    case RECORD_LIMITER:
        get_limiter(&r, &out->u.limiter);
        break;
    case RECORD_ASK:
    case RECORD_GROUP_CANCEL:
        out->u.ask.cause = get_u8(&r);
        out->u.ask.grace_ms = get_i64(&r);
        out->u.ask.reason = get_str(&r);
        break;
    case RECORD_JOINING:
    case RECORD_REQUEUE:
    case RECORD_END:
    case RECORD_DELIVER:
        get_verdict(&r, &out->u.verdict);
        break;
    case RECORD_GROUP:
        record_get_group(&r, &out->u.group);
        break;
    case RECORD_GROUP_END:
        get_group_end(&r, &out->u.group_end);
        break;
    case RECORD_JOB_IMAGE:
        record_get_job_image(&r, &out->u.job_image);
        break;
    case RECORD_JOB_ERRORS:
        out->u.job_errors.at = get_u32(&r);
        out->u.job_errors.errors = get_str(&r);
        break;
    case RECORD_GROUP_IMAGE:
        record_get_group_image(&r, &out->u.group_image);
        break;
    case RECORD_GROUP_IDS:
        out->u.group_ids.done = get_bool(&r);
        out->u.group_ids.at = get_u64(&r);
        out->u.group_ids.ids = get_str(&r);
        break;
    case RECORD_READY:
        out->u.ready = get_str(&r);
        break;
    case RECORD_SHIELD:
        out->u.until_ms = get_i64(&r);
        break;
    case RECORD_RESCHEDULE:
    case RECORD_GROUP_TIME:
        get_times(&r, &out->u.times);
        break;
    case RECORD_CLEAR:
        out->u.retried = get_u64(&r);
        break;
    case RECORD_SESSION:
        out->u.session.first = get_u64(&r);
        out->u.session.ids = get_str(&r);
        break;
    case RECORD_GROUP_CLOSE:
        out->u.policy.fail = get_i64(&r);
        out->u.policy.succeed = get_i64(&r);
        break;
    case RECORD_LIMITER_DELETE:
    case RECORD_GROUP_READ:
    case RECORD_GROUP_FORGET:
        break;
    default:
        return "record of an unknown type (written by a newer version?)";
    }
    return r.bad ? DAMAGED : NULL;
}

bool record_peek(const char *bytes, size_t len, size_t *at, uint8_t *type,
                 uint64_t *id)
{
    const char *p = bytes + *at;
    uint32_t body;

    if (len - *at < HEAD_BYTES)
        return false;
    memcpy(&body, p + 1, sizeof(body));
    if (body > len - *at - HEAD_BYTES || body < sizeof(int64_t) + sizeof(*id))
        return false;
    *type = (uint8_t)p[0];
    if (*type == RECORD_JOB_IMAGE_1)
        *type = RECORD_JOB_IMAGE;
    memcpy(id, p + HEAD_BYTES + sizeof(int64_t), sizeof(*id));
    *at += HEAD_BYTES + body;
    return true;
}

int64_t record_error_bytes(const struct record_error *e)
{
    return (int64_t)(ERROR_BYTES + e->class.len + e->message.len +
                     e->detail.len);
}

void record_put_error(struct buf *to, const struct record_error *e)
{
    struct writer w;

    buf_reserve(to, FIXED_BYTES_MAX + e->class.len + e->message.len +
                        e->detail.len);
    w.p = to->data + to->len;
    put_u32(&w, e->attempt);
    put_u8(&w, e->body_done);
    put_i64(&w, e->at_ms);
    put_str(&w, e->class);
    put_str(&w, e->message);
    put_str(&w, e->detail);
    to->len = (size_t)(w.p - to->data);
}

bool record_get_error(struct str *errors, struct record_error *out)
{
    struct reader r = {.p = errors->p, .end = errors->p + errors->len};

    if (errors->len == 0)
        return false;
    out->attempt = get_u32(&r);
    out->body_done = get_bool(&r);
    out->at_ms = get_i64(&r);
    out->class = get_str(&r);
    out->message = get_str(&r);
    out->detail = get_str(&r);
    errors->p = r.p;
    errors->len = (size_t)(r.end - r.p);
    return !r.bad;
}
