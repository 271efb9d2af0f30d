/* SPDX-License-Identifier: BSD-2-Clause */
/* task - what a handler may ask of its job, and say about it. */
#include "client/crew.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <time.h>

#define CLASS_MAX   64
#define MESSAGE_MAX 1024
#define DETAIL_MAX  8192

static int fail(const struct yoke_task *t, int status, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

static int fail(const struct yoke_task *t, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(t->hand->text, sizeof(t->hand->text), fmt, ap);
    va_end(ap);
    return status;
}

const struct yoke_work *yoke_task_work(const struct yoke_task *t)
{
    return t->work;
}

const char *yoke_task_error_text(const struct yoke_task *t)
{
    return t->hand->text;
}

int64_t yoke_task_remaining_ms(const struct yoke_task *t)
{
    if (t->remaining_ms < 0)
        return YOKE_NONE;
    return max_i64(0, t->told_ms + t->remaining_ms - yk_now_ms());
}

/* ------------------------------------------------------------------ cancel */

bool yoke_task_cancelled(const struct yoke_task *t)
{
    return atomic_load(&t->cancelled);
}

const char *yoke_task_reason(const struct yoke_task *t)
{
    return yoke_task_cancelled(t) ? t->reason : NULL;
}

int64_t yoke_task_grace_left_ms(const struct yoke_task *t)
{
    if (!yoke_task_cancelled(t))
        return YOKE_NONE;
    return max_i64(0, t->stop_by_ms - yk_now_ms());
}

int yoke_task_cancel_fd(struct yoke_task *t)
{
    int fd = yk_crew_cancel_fd(t->hand);

    if (fd < 0)
        return fail(t, YOKE_ERR_NOMEM, "no descriptor is left for the cancel");
    return fd;
}

int yoke_task_wait(struct yoke_task *t, int64_t ms)
{
    if (ms < YOKE_NONE)
        return fail(t, YOKE_ERR_ARGUMENT,
                    "a wait is 0 or more ms, or YOKE_NONE for ever");
    if (yk_crew_wait(t->hand, ms))
        return fail(t, YOKE_ERR_CANCELLED, "the task is cancelled: %s",
                    t->reason);
    return 0;
}

/* --------------------------------------------------------------- requests */

static struct yoke_bytes text(const char *s)
{
    return (struct yoke_bytes){.data = s, .len = strlen(s)};
}

/* VERB token words; the number of the answer, if number is not NULL. */
static int ask(struct yoke_task *t, const char *verb, size_t n,
               const struct yoke_bytes *words, int64_t *number)
{
    struct yoke_bytes argv[4] = {text(verb), text(t->work->token)};
    struct call call = {.hand = t->hand, .argc = 2 + n, .argv = argv};

    for (size_t i = 0; i < n; i++)
        argv[2 + i] = words[i];
    if (!atomic_load(&t->lost))
        yk_crew_call(t->hand->crew, &call);
    else
        call.status = YOKE_ERR_STALE;
    if (call.status < 0)
        return fail(t, call.status, "%s",
                    call.text[0] ? call.text
                                 : "the job is no longer this worker's");
    if (number)
        *number = call.number;
    return 0;
}

int yoke_task_shield(struct yoke_task *t, int64_t ms, int64_t *granted_ms)
{
    char number[24];
    int64_t granted;
    int status;

    (void)snprintf(number, sizeof(number), "%" PRId64, ms);
    status = ask(t, "SHIELD", 1, (struct yoke_bytes[]){text(number)}, &granted);
    if (status < 0)
        return status;
    atomic_store(&t->shielded_until_ms, yk_now_ms() + granted);
    if (granted_ms)
        *granted_ms = granted;
    return 0;
}

int yoke_task_unshield(struct yoke_task *t)
{
    atomic_store(&t->shielded_until_ms, 0);
    return ask(t, "UNSHIELD", 0, NULL, NULL);
}

int yoke_task_ready(struct yoke_task *t, struct yoke_bytes value)
{
    return ask(t, "READY", 1, &value, NULL);
}

int yoke_task_log(struct yoke_task *t, int stream, struct yoke_bytes data)
{
    const struct yoke_bytes words[] = {text(stream == 1 ? "1" : "2"), data};

    if (stream != 1 && stream != 2)
        return fail(t, YOKE_ERR_ARGUMENT,
                    "a stream is 1 (stdout) or 2 (stderr)");
    return ask(t, "LOG", 2, words, NULL);
}

int yoke_task_progress(struct yoke_task *t, const char *progress)
{
    const struct yoke_bytes words[] = {text(progress ? progress : "")};
    int64_t remaining;
    int status = ask(t, "TOUCH", progress ? 1 : 0, words, &remaining);

    if (status < 0)
        return status;
    t->told_ms = yk_now_ms();
    t->remaining_ms = remaining;
    return 0;
}

int yoke_task_handle(struct yoke_task *t, yoke **out)
{
    struct hand *h = t->hand;
    int status = 0;
    yoke *y;

    if (h->y && h->y->broken)
        yoke_abandon(yk_crew_set_handle(h, NULL));
    y = h->y;
    if (!y)
        status = yk_worker_open(h->crew->worker, &y);
    /* One that could not be opened is kept for its words until the next call.
     */
    (void)yk_crew_set_handle(h, y);
    *out = y;
    if (status < 0)
        return fail(t, status, "%s", y ? yoke_error_text(y) : "out of memory");
    memcpy(y->scope, t->work->token, strlen(t->work->token) + 1);
    return 0;
}

/* --------------------------------------------------------------------- end */

int yoke_task_result(struct yoke_task *t, struct yoke_bytes result)
{
    if (!result.data && result.len > 0)
        return fail(t, YOKE_ERR_ARGUMENT, "a result of bytes has their place");
    return yk_bytes_keep(&t->result, result)
               ? 0
               : fail(t, YOKE_ERR_NOMEM, "no memory for the result");
}

int yoke_task_fail(struct yoke_task *t, const char *class_name,
                   const char *message, struct yoke_bytes detail)
{
    struct yoke_bytes class = text(class_name ? class_name : "");
    struct yoke_bytes words = text(message ? message : "");

    if (class.len == 0 || class.len > CLASS_MAX)
        return fail(t, YOKE_ERR_ARGUMENT,
                    "the class of an error has 1 to %d bytes", CLASS_MAX);
    if (!detail.data && detail.len > 0)
        return fail(t, YOKE_ERR_ARGUMENT, "a detail of bytes has their place");
    if (words.len > MESSAGE_MAX)
        words.len = MESSAGE_MAX;
    if (detail.len > DETAIL_MAX)
        detail = (struct yoke_bytes){detail.data + detail.len - DETAIL_MAX,
                                     DETAIL_MAX};
    if (!yk_bytes_keep(&t->class_name, class) ||
        !yk_bytes_keep(&t->message, words) ||
        !yk_bytes_keep(&t->detail, detail))
        return fail(t, YOKE_ERR_NOMEM, "no memory for the error");
    t->end = TASK_FAILED;
    return 0;
}

void yoke_task_release(struct yoke_task *t)
{
    t->end = TASK_RELEASED;
}
