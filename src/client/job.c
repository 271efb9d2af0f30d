/* SPDX-License-Identifier: BSD-2-Clause */
/* job - submit, look at, wait for, and cancel jobs. */
#include "client/client.h"

/* Of yoke_submit_many: requests sent and not yet answered, and bytes of them
 * not yet written. */
#define WINDOW_REQUESTS YK_NUMBERED_MAX /* what can be asked again */
#define WINDOW_BYTES    (256 * 1024)

void yoke_submit_init(struct yoke_submit *s)
{
    *s = (struct yoke_submit){
        .priority = YOKE_DEFAULT,
        .timeout_ms = YOKE_DEFAULT,
        .deadline_ms = YOKE_DEFAULT,
        .expires_ms = YOKE_DEFAULT,
        .grace_ms = YOKE_DEFAULT,
        .delay_ms = YOKE_DEFAULT,
        .at_ms = YOKE_DEFAULT,
        .factor_milli = YOKE_DEFAULT,
        .jitter = YOKE_DEFAULT,
        .retry = YOKE_DEFAULT,
        .backoff_base_ms = YOKE_DEFAULT,
        .backoff_cap_ms = YOKE_DEFAULT,
        .redeliver = YOKE_DEFAULT,
        .keep_ms = YOKE_DEFAULT,
        .wait_ms = YOKE_DEFAULT,
    };
}

static int put_submit(yoke *y, struct yk_args *a, const struct yoke_submit *s)
{
    if (!s->queue)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "a job needs a queue");
    if ((s->backoff_base_ms == YOKE_DEFAULT) !=
        (s->backoff_cap_ms == YOKE_DEFAULT))
        return yk_fail(y, YOKE_ERR_ARGUMENT, "a back-off has a base and a cap");
    yk_args_init(a, "SUBMIT");
    yk_args_text(a, s->queue);
    yk_args_bytes(a, s->payload);
    yk_args_option(a, "GROUP", yk_scope(y, s->group));
    yk_args_option(a, "NAME", s->name);
    yk_args_option(a, "KEY", s->key);
    yk_args_option(a, "LIMITS", s->limits);
    yk_args_option(a, "THEN", s->then);
    yk_args_option_int(a, "PRIORITY", s->priority);
    yk_args_option_int(a, "TIMEOUT", s->timeout_ms);
    yk_args_option_int(a, "DEADLINE", s->deadline_ms);
    yk_args_option_int(a, "EXPIRES", s->expires_ms);
    yk_args_option_int(a, "GRACE", s->grace_ms);
    yk_args_option_int(a, "DELAY", s->delay_ms);
    yk_args_option_int(a, "AT", s->at_ms);
    yk_args_option_int(a, "RETRY", s->retry);
    yk_args_option_int(a, "BACKOFF", s->backoff_base_ms);
    if (s->backoff_cap_ms != YOKE_DEFAULT)
        yk_args_int(a, s->backoff_cap_ms);
    yk_args_option_decimal(a, "FACTOR", s->factor_milli);
    yk_args_option_int(a, "JITTER", s->jitter);
    yk_args_option(a, "RETRY-ON", s->retry_on);
    yk_args_option_int(a, "REDELIVER", s->redeliver);
    yk_args_option_int(a, "KEEP", s->keep_ms);
    yk_args_option_int(a, "WAIT", s->wait_ms);
    return 0;
}

void yoke_times_init(struct yoke_times *t)
{
    *t = (struct yoke_times){YOKE_DEFAULT, YOKE_DEFAULT, YOKE_DEFAULT,
                             YOKE_DEFAULT};
}

int yoke_submit(yoke *y, const struct yoke_submit *s, char id[YOKE_ID_SIZE])
{
    struct yk_args a;
    int status = put_submit(y, &a, s);

    if (status < 0)
        return status;
    return yk_call_id(y, &a, s->wait_ms == 0 ? YK_PLAIN : YK_BLOCKS, id);
}

int yoke_send_submit(yoke *y, const struct yoke_submit *s, yoke_reply_fn *fn,
                     void *arg)
{
    struct yk_args a;
    int status = put_submit(y, &a, s);

    if (status < 0)
        return status;
    return yk_send(y, a.count, a.v, &(struct yk_pending){.fn = fn, .arg = arg});
}

/* ------------------------------------------------------------------- many */

struct batch {
    yoke *y;
    const struct yoke_submit *jobs;
    char (*ids)[YOKE_ID_SIZE];
    size_t count, sent, answered, accepted;
    int status; /* the first error; nothing is sent after it */
    char text[YK_TEXT_MAX];
};

static void batch_stop(struct batch *b, int status)
{
    if (b->status < 0)
        return;
    b->status = status;
    memcpy(b->text, b->y->text, sizeof(b->text));
}

static void batch_reply(yoke *y, int status, const struct yoke_value *reply,
                        void *arg)
{
    struct batch *b = arg;
    size_t i = b->answered++;
    char id[YOKE_ID_SIZE];

    if (status == 0 && !yk_value_id(reply, id))
        status = yk_bad_reply(y, "SUBMIT", NULL);
    if (status < 0) {
        batch_stop(b, status);
        return;
    }
    if (b->status == 0)
        b->accepted++;
    if (b->ids)
        memcpy(b->ids[i], id, sizeof(id));
}

static void batch_send(struct batch *b)
{
    const struct yk_pending pending = {.fn = batch_reply, .arg = b};

    while (b->sent < b->count && b->status == 0 &&
           b->sent - b->answered < WINDOW_REQUESTS &&
           yoke_unsent(b->y) < WINDOW_BYTES) {
        struct yk_args a;
        int status = put_submit(b->y, &a, &b->jobs[b->sent]);

        if (status == 0)
            status = yk_send(b->y, a.count, a.v, &pending);
        if (status < 0)
            batch_stop(b, status);
        else
            b->sent++;
    }
    yk_flush(b->y);
}

/* Until all that was sent is answered, or an interrupt has lost patience. */
static void batch_run(struct batch *b)
{
    int64_t until = YOKE_NONE;

    for (;;) {
        int64_t left = YOKE_NONE;

        batch_send(b);
        if (b->answered == b->sent)
            return;
        if (until != YOKE_NONE) {
            left = until - yk_now_ms();
            if (left <= 0 || yk_take_interrupt(b->y)) {
                yk_abandon_calls(b->y, false);
                return;
            }
        } else if (yk_take_interrupt(b->y)) {
            batch_stop(b, yk_interrupted(b->y));
            until = yk_now_ms() + YK_PATIENCE_MS;
            continue;
        }
        (void)yk_poll(b->y, left); /* a break answers every request */
    }
}

int yoke_submit_many(yoke *y, const struct yoke_submit *s, size_t n,
                     char (*ids)[YOKE_ID_SIZE], size_t *done)
{
    struct batch b = {.y = y, .jobs = s, .ids = ids, .count = n};
    int status = yk_check_idle(y);

    for (size_t i = 0; ids && i < n; i++)
        ids[i][0] = '\0';
    if (status == 0 && n > 0 && yk_take_interrupt(y))
        status = yk_interrupted(y);
    if (status == 0) {
        batch_run(&b);
        status = b.status;
        if (status < 0)
            (void)yk_fail(y, status, "%s", b.text);
    }
    *done = b.accepted;
    return status;
}

/* ------------------------------------------------------------ what became */

static int need_id(yoke *y, const char *id)
{
    return id ? 0 : yk_fail(y, YOKE_ERR_ARGUMENT, "an id is needed");
}

int yoke_job_status(yoke *y, const char *id, struct yoke_value **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "STATUS");
    yk_args_text(&a, id);
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    if (!yk_value_to_map(v))
        return yk_bad_reply(y, "STATUS", v);
    *out = v;
    return 0;
}

int yk_outcome_wait(yoke *y, struct yk_args *a, const char *id, int64_t wait_ms,
                    struct yoke_outcome_info **out)
{
    struct yoke_value *v;
    size_t at;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_text(a, id);
    at = a->count;
    yk_args_text(a, "");
    status = yk_call_waiting(y, a, at, wait_ms, &v);
    if (status < 0)
        return status;
    if (v->kind == YOKE_NULL) {
        yoke_value_free(v);
        return yk_fail(y, YOKE_ERR_TIMEOUT, "%s has not ended", id);
    }
    status = yk_outcome_parse(v, out);
    return status < 0 ? yk_parse_failed(y, status, a->v[0].data) : 0;
}

int yoke_job_wait(yoke *y, const char *id, int64_t wait_ms,
                  struct yoke_outcome_info **out)
{
    struct yk_args a;

    yk_args_init(&a, "WAIT");
    return yk_outcome_wait(y, &a, id, wait_ms, out);
}

int yoke_job_wait_ready(yoke *y, const char *id, int64_t wait_ms,
                        struct yoke_value **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "WAIT");
    yk_args_text(&a, id);
    yk_args_text(&a, "");
    yk_args_text(&a, "READY");
    status = yk_call_waiting(y, &a, 2, wait_ms, &v);
    if (status < 0)
        return status;
    if (v->kind == YOKE_STR) {
        *out = v;
        return 0;
    }
    if (v->kind != YOKE_NULL)
        return yk_bad_reply(y, "WAIT", v);
    yoke_value_free(v);
    return yk_fail(y, YOKE_ERR_TIMEOUT, "%s is not ready", id);
}

int yoke_reschedule(yoke *y, const char *id, const struct yoke_times *t)
{
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "RESCHEDULE");
    yk_args_text(&a, id);
    yk_args_option_int(&a, "TIMEOUT", t->timeout_ms);
    yk_args_option_int(&a, "DEADLINE", t->deadline_ms);
    yk_args_option_int(&a, "EXPIRES", t->expires_ms);
    yk_args_option_int(&a, "AT", t->at_ms);
    if (a.count == 2)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "nothing is to be moved");
    return yk_call_ok(y, &a);
}

int yoke_cancel(yoke *y, const char *id, const char *reason, int64_t grace_ms)
{
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "CANCEL");
    yk_args_text(&a, id);
    yk_args_option(&a, "REASON", reason);
    yk_args_option_int(&a, "GRACE", grace_ms);
    return yk_call_ok(y, &a);
}

int yoke_job_retry(yoke *y, const char *id, char new_id[YOKE_ID_SIZE])
{
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "RETRY");
    yk_args_text(&a, id);
    return yk_call_id(y, &a, YK_PLAIN, new_id);
}

/* ------------------------------------------------------------------- logs */

static int fill_log_page(struct yoke_log_page *p, const struct yoke_value *v)
{
    const struct yoke_value *entries;

    if (v->kind != YOKE_ARRAY || v->count != 3 ||
        v->items[1].kind != YOKE_ARRAY)
        return YOKE_ERR_PROTOCOL;
    p->cursor = yk_value_int(&v->items[0], -1);
    p->over = yk_value_int(&v->items[2], 0) != 0;
    entries = &v->items[1];
    if (p->cursor < 0)
        return YOKE_ERR_PROTOCOL;
    if (entries->count == 0)
        return 0;
    p->chunks = yk_zalloc(entries->count, sizeof(*p->chunks));
    if (!p->chunks)
        return YOKE_ERR_NOMEM;
    for (size_t i = 0; i < entries->count; i++) {
        const struct yoke_value *e = &entries->items[i];
        struct yoke_log_chunk *chunk = &p->chunks[i];

        if (e->kind != YOKE_ARRAY || e->count != 4 ||
            e->items[3].kind != YOKE_STR)
            return YOKE_ERR_PROTOCOL;
        chunk->time_ms = yk_value_int(&e->items[2], YOKE_NONE);
        chunk->token = e->items[3].s.data;
        chunk->stream = (int)yk_value_int(&e->items[0], 1);
        if (chunk->stream == 0)
            chunk->lost = yk_value_int(&e->items[1], 0);
        else if (e->items[1].kind == YOKE_STR)
            chunk->data = e->items[1].s;
        else
            return YOKE_ERR_PROTOCOL;
    }
    p->count = entries->count;
    return 0;
}

int yoke_job_logs(yoke *y, const char *id, int64_t cursor, int64_t wait_ms,
                  struct yoke_log_page **out)
{
    struct yoke_log_page *p;
    struct yoke_value *v;
    struct yk_args a;
    int status = need_id(y, id);

    if (status < 0)
        return status;
    yk_args_init(&a, "LOGS");
    yk_args_text(&a, id);
    yk_args_int(&a, cursor);
    yk_args_text(&a, "");
    yk_args_text(&a, "TIMES");
    status = yk_call_waiting(y, &a, 3, wait_ms, &v);
    if (status < 0)
        return status;
    p = yk_zalloc(1, sizeof(*p));
    if (!p) {
        yoke_value_free(v);
        return yk_nomem(y);
    }
    p->raw = v;
    status = fill_log_page(p, v);
    if (status < 0) {
        yoke_log_page_free(p);
        return yk_parse_failed(y, status, "LOGS");
    }
    *out = p;
    return 0;
}

int yoke_group_logs(yoke *y, const char *id, int64_t cursor, int64_t wait_ms,
                    struct yoke_log_page **out)
{
    return yoke_job_logs(y, id, cursor, wait_ms, out);
}

void yoke_log_page_free(struct yoke_log_page *p)
{
    if (!p)
        return;
    free(p->chunks);
    yoke_value_free(p->raw);
    free(p);
}
