/* SPDX-License-Identifier: BSD-2-Clause */
/* queue - queues as wholes, and their dead. */
#include "client/client.h"

void yoke_queue_settings_init(struct yoke_queue_settings *s)
{
    *s = (struct yoke_queue_settings){
        .max_jobs = YOKE_DEFAULT,
        .max_bytes = YOKE_DEFAULT,
        .timeout_ms = YOKE_DEFAULT,
        .expires_ms = YOKE_DEFAULT,
        .wait_ms = YOKE_DEFAULT,
        .grace_ms = YOKE_DEFAULT,
        .keep_ms = YOKE_DEFAULT,
        .dead_keep_ms = YOKE_DEFAULT,
        .retry = YOKE_DEFAULT,
        .redeliver = YOKE_DEFAULT,
        .backoff_base_ms = YOKE_DEFAULT,
        .backoff_cap_ms = YOKE_DEFAULT,
        .factor_milli = YOKE_DEFAULT,
        .jitter = YOKE_DEFAULT,
        .priority = YOKE_DEFAULT,
        .fair = YOKE_DEFAULT,
    };
}

static int queue_args(yoke *y, struct yk_args *a, const char *verb,
                      const char *queue)
{
    if (!queue)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "the name of a queue is needed");
    yk_args_init(a, "QUEUE");
    yk_args_text(a, verb);
    yk_args_text(a, queue);
    return 0;
}

static int queue_ok(yoke *y, const char *verb, const char *queue)
{
    struct yk_args a;
    int status = queue_args(y, &a, verb, queue);

    return status < 0 ? status : yk_call_ok(y, &a);
}

int yoke_queue_set(yoke *y, const char *queue,
                   const struct yoke_queue_settings *s)
{
    struct yk_args a;
    int status = queue_args(y, &a, "SET", queue);

    if (status < 0)
        return status;
    if ((s->backoff_base_ms == YOKE_DEFAULT) !=
        (s->backoff_cap_ms == YOKE_DEFAULT))
        return yk_fail(y, YOKE_ERR_ARGUMENT, "a back-off has a base and a cap");
    yk_args_option_int(&a, "MAX-JOBS", s->max_jobs);
    yk_args_option_int(&a, "MAX-BYTES", s->max_bytes);
    yk_args_option_int(&a, "TIMEOUT", s->timeout_ms);
    yk_args_option_int(&a, "EXPIRES", s->expires_ms);
    yk_args_option_int(&a, "WAIT", s->wait_ms);
    yk_args_option_int(&a, "GRACE", s->grace_ms);
    yk_args_option_int(&a, "KEEP", s->keep_ms);
    yk_args_option_int(&a, "DEAD-KEEP", s->dead_keep_ms);
    yk_args_option_int(&a, "RETRY", s->retry);
    yk_args_option_int(&a, "REDELIVER", s->redeliver);
    yk_args_option_int(&a, "BACKOFF", s->backoff_base_ms);
    if (s->backoff_cap_ms != YOKE_DEFAULT)
        yk_args_int(&a, s->backoff_cap_ms);
    yk_args_option_decimal(&a, "FACTOR", s->factor_milli);
    yk_args_option_int(&a, "JITTER", s->jitter);
    yk_args_option_int(&a, "PRIORITY", s->priority);
    yk_args_option_int(&a, "FAIR", s->fair);
    yk_args_option(&a, "RETRY-ON", s->retry_on);
    return yk_call_ok(y, &a);
}

int yoke_queue_info(yoke *y, const char *queue, struct yoke_value **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = queue_args(y, &a, "INFO", queue);

    if (status < 0)
        return status;
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    if (!yk_value_to_map(v))
        return yk_bad_reply(y, "QUEUE INFO", v);
    *out = v;
    return 0;
}

int yoke_queue_list(yoke *y, struct yoke_value **out)
{
    struct yk_args a;

    yk_args_init(&a, "QUEUE");
    yk_args_text(&a, "LIST");
    return yk_call_names(y, &a, out);
}

int yoke_queue_pause(yoke *y, const char *queue)
{
    return queue_ok(y, "PAUSE", queue);
}

int yoke_queue_resume(yoke *y, const char *queue)
{
    return queue_ok(y, "RESUME", queue);
}

int yoke_queue_close(yoke *y, const char *queue, bool now)
{
    struct yk_args a;
    int status = queue_args(y, &a, "CLOSE", queue);

    if (status < 0)
        return status;
    if (now)
        yk_args_text(&a, "NOW");
    return yk_call_ok(y, &a);
}

int yoke_queue_open(yoke *y, const char *queue)
{
    return queue_ok(y, "OPEN", queue);
}

int yoke_queue_join(yoke *y, const char *queue, int64_t wait_ms)
{
    struct yoke_value *v;
    struct yk_args a;
    int64_t joined;
    int status = queue_args(y, &a, "JOIN", queue);

    if (status < 0)
        return status;
    yk_args_text(&a, "");
    status = yk_call_waiting(y, &a, 3, wait_ms, &v);
    if (status < 0)
        return status;
    if (v->kind != YOKE_INT)
        return yk_bad_reply(y, "QUEUE JOIN", v);
    joined = v->i;
    yoke_value_free(v);
    if (joined)
        return 0;
    return yk_fail(y, YOKE_ERR_TIMEOUT, "not everything in '%s' has ended",
                   queue);
}

int yoke_queue_purge(yoke *y, const char *queue, int64_t *purged)
{
    struct yk_args a;
    int status = queue_args(y, &a, "PURGE", queue);

    return status < 0 ? status : yk_call_int(y, &a, YK_BLOCKS, purged);
}

/* --------------------------------------------------------------- the dead */

static void dead_args(struct yk_args *a, const char *verb, const char *queue,
                      int64_t count)
{
    yk_args_init(a, "DEAD");
    yk_args_text(a, verb);
    yk_args_option(a, "QUEUE", queue);
    yk_args_option_int(a, "COUNT", count);
}

int yoke_dead_list(yoke *y, const char *queue, int64_t count,
                   struct yoke_page **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status;

    dead_args(&a, "LIST", queue, count);
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    status = yk_page_of_list(v, out);
    return status < 0 ? yk_parse_failed(y, status, "DEAD LIST") : 0;
}

int yoke_dead_retry(yoke *y, const char *queue, int64_t count,
                    struct yoke_value **out)
{
    struct yk_args a;

    dead_args(&a, "RETRY", queue, count);
    return yk_call_names(y, &a, out);
}

int yoke_dead_purge(yoke *y, const char *queue, int64_t count, int64_t *purged)
{
    struct yk_args a;

    dead_args(&a, "PURGE", queue, count);
    return yk_call_int(y, &a, YK_BLOCKS, purged);
}
