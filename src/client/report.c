/* SPDX-License-Identifier: BSD-2-Clause */
/* report - the requests of a worker of threads, and what their answers mean. */
#include "client/serve.h"

#include <inttypes.h>

#define AHEAD_US  10000 /* of work is fetched ahead for a thread, if short */
#define AHEAD_MAX 32    /* jobs of it */
#define FETCH_MAX 1000  /* jobs of a reply */
#define LONG_US   (10 * AHEAD_US)
#define PAUSE_MS  1000 /* after a FETCH that was refused */
#define REPEAT_MS 1000 /* before a report is said again */
#define WORDS_MAX 320  /* of an error, when they are our own */

static struct yoke_bytes bytes(const char *text)
{
    return (struct yoke_bytes){.data = text, .len = strlen(text)};
}

/* Whatever is sent ends a FETCH that is open. */
static int ask(struct yoke_worker *w, size_t argc,
               const struct yoke_bytes *argv, yoke_reply_fn *fn, void *arg)
{
    w->fetch_open = false;
    return yoke_send(w->y, argc, argv, fn, arg);
}

/* ----------------------------------------------------------------- fetching */

static struct served *find_queue(struct yoke_worker *w, const char *name)
{
    for (size_t i = 0; i < w->nqueues; i++)
        if (strcmp(w->queues[i].name, name) == 0)
            return &w->queues[i];
    return NULL;
}

static void release(struct yoke_worker *w, const char *token)
{
    const struct yoke_bytes argv[] = {bytes("RELEASE"), bytes(token)};

    /* If there is no memory for that its lease will end. */
    (void)ask(w, 2, argv, NULL, NULL);
}

static void take_job(struct yoke_worker *w, struct batch *b,
                     const struct yoke_work *work)
{
    struct served *queue = find_queue(w, work->queue);
    struct yoke_task *t = &b->tasks[b->left];

    if (!queue || w->ending || yk_came_late(w->y)) {
        release(w, work->token);
        return;
    }
    b->left++;
    t->work = work;
    t->batch = b;
    t->served = queue;
    t->told_ms = yk_now_ms();
    t->held_ms = t->told_ms;
    t->remaining_ms = work->remaining_ms;
    queue->taken++;
    w->ntasks++;
    TAILQ_INSERT_TAIL(&w->tasks, t, all);
    yk_crew_give(&w->crew, t);
}

/* One that is not there has ended: its report is on its way. */
static void take_cancel(struct yoke_worker *w, const struct yoke_work *work)
{
    struct yoke_task *t;
    bool never_starts;

    TAILQ_FOREACH(t, &w->tasks, all)
    {
        if (strcmp(t->work->token, work->token) == 0)
            break;
    }
    if (!t)
        return;
    never_starts = yk_crew_take_back(&w->crew, t);
    yk_crew_cancel(&w->crew, t, work->reason, work->grace_ms);
    if (never_starts) {
        t->returned = YOKE_ERR_CANCELLED;
        yk_report(w, t);
    }
}

/* Takes the list; false when there is no memory for what is in it. */
static bool take_work(struct yoke_worker *w, struct yoke_work_list *list)
{
    struct batch *b =
        yk_zalloc(1, sizeof(*b) + list->count * sizeof(struct yoke_task));

    if (!b) {
        yoke_work_free(list);
        return false;
    }
    b->worker = w;
    b->list = list;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].notice == YOKE_NOTICE_JOB)
            take_job(w, b, &list->items[i]);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].notice == YOKE_NOTICE_CANCEL)
            take_cancel(w, &list->items[i]);
    if (b->left == 0) {
        yoke_work_free(list);
        free(b);
    }
    return true;
}

static void fetched(struct yoke_worker *w, int status,
                    const struct yoke_value *reply)
{
    struct yoke_work_list *list;

    w->answered = true;
    w->nfetches--;
    if (w->nfetches == 0)
        w->fetch_open = false;
    if (w->y->broken)
        return; /* yoke_process will say so */
    if (status == 0)
        status = yoke_work_parse(reply, &list);
    if (status == 0 && !take_work(w, list))
        status = YOKE_ERR_NOMEM;
    if (status == 0)
        return;
    if (status == YOKE_ERR_GENERIC || status == YOKE_ERR_NOPERM) {
        yk_serve_fail(w, status, yoke_error_text(w->y));
    } else if (status == YOKE_ERR_NOMEM || status == YOKE_ERR_PROTOCOL) {
        /* What was in it may be held without anybody knowing. */
        (void)yk_end(w->y, status, "the reply to FETCH cannot be read: %s",
                     yoke_status_name(status));
    } else {
        yk_serve_note(w, "FETCH was refused: %s", yoke_error_text(w->y));
        w->pause_until_ms = yk_now_ms() + PAUSE_MS;
    }
}

static void on_jobs(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct yoke_worker *w = arg;

    (void)y;
    w->reserved = 0;
    fetched(w, status, reply);
}

static void on_cancels(yoke *y, int status, const struct yoke_value *reply,
                       void *arg)
{
    (void)y;
    fetched(arg, status, reply);
}

/* How many jobs may be held beyond those that run. */
static size_t ahead(const struct yoke_worker *w)
{
    int64_t each = AHEAD_US / max_i64(1, w->average_us);

    return w->nthreads * (size_t)min_i64(each, AHEAD_MAX);
}

/* The words of a FETCH; *count is what it may ask for. A queue that has its
 * slots full is left out, and one that has less room than there is in all is
 * bound to it. */
static size_t fetch_words(struct yoke_worker *w, size_t *count)
{
    size_t limit = w->nthreads + ahead(w), argc = 3;

    if (limit > w->nthreads + FETCH_MAX)
        limit = w->nthreads + FETCH_MAX;
    *count = !w->ending && w->ntasks < limit ? limit - w->ntasks : 0;
    if (*count > FETCH_MAX)
        *count = FETCH_MAX;
    for (size_t i = 0; i<w->nqueues && * count> 0; i++) {
        const struct served *q = &w->queues[i];
        size_t room = *count;

        if (q->slots > 0)
            room = q->slots > q->taken ? q->slots - q->taken : 0;
        if (room == 0)
            continue;
        if (room < *count) /* FETCH_MAX at most: it fits */
            (void)snprintf(q->word, strlen(q->name) + SERVE_BOUND_SIZE,
                           "%s/%zu", q->name, room);
        w->fetch[argc++] = bytes(room < *count ? q->word : q->name);
    }
    if (argc == 3) {
        *count = 0;
        w->fetch[argc++] = bytes(w->queues[0].name);
    }
    return argc;
}

/* One that asks for jobs is alone: what it brings is not known before. One for
 * cancels is open at any time. */
void yk_fetch_more(struct yoke_worker *w)
{
    char number[24], wait[24];
    size_t count, argc;

    if (w->reserved > 0 || yk_now_ms() < w->pause_until_ms)
        return;
    argc = fetch_words(w, &count);
    if (w->fetch_open && count == 0)
        return;
    (void)snprintf(number, sizeof(number), "%zu", count);
    /* The next sign of life comes when this wait is over. */
    (void)snprintf(wait, sizeof(wait), "%" PRId64,
                   max_i64(1, min_i64(yoke_lease_ms(w->y) / 4, INT32_MAX)));
    w->fetch[0] = bytes("FETCH");
    w->fetch[1] = bytes(number);
    w->fetch[2] = bytes(wait);
    if (ask(w, argc, w->fetch, count > 0 ? on_jobs : on_cancels, w) < 0) {
        w->pause_until_ms = yk_now_ms() + PAUSE_MS;
        return;
    }
    w->reserved = count;
    w->nfetches++;
    w->fetch_open = true;
}

void yk_fetch_end(struct yoke_worker *w)
{
    const struct yoke_bytes ping[] = {bytes("PING")};

    /* If there is no memory for it the wait ends by itself. */
    if (w->y && w->reserved > 0 && w->fetch_open)
        (void)ask(w, 1, ping, NULL, NULL);
}

/* ---------------------------------------------------------------- reporting */

static void keep(struct yoke_worker *w, struct yoke_task *t)
{
    TAILQ_INSERT_TAIL(&w->kept, t, all);
    if (w->repeat_at_ms == YOKE_NONE)
        w->repeat_at_ms = yk_now_ms() + REPEAT_MS;
}

/* Without memory for the words it is told without them. */
static void set_error(struct yoke_task *t, const char *class_name,
                      const char *why)
{
    char message[WORDS_MAX];

    (void)snprintf(message, sizeof(message),
                   "what came of it could not be reported: %s", why);
    t->end = TASK_FAILED;
    (void)yk_bytes_keep(&t->class_name, bytes(class_name));
    (void)yk_bytes_keep(&t->message, bytes(message));
}

static void on_report(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    struct yoke_task *t = arg;
    struct yoke_worker *w = t->batch->worker;
    const char *token = t->work->token;
    char why[256];

    (void)reply;
    w->answered = true;
    if (y->broken)
        return; /* yoke_process will say so, and all of them go */
    TAILQ_REMOVE(&w->reported, t, all);
    if (status == 0) {
        yk_task_free(t);
        return;
    }
    (void)snprintf(why, sizeof(why), "%s", yoke_error_text(y));
    if (status == YOKE_ERR_DISKFULL) {
        if (TAILQ_EMPTY(&w->kept))
            yk_serve_note(w, "the report of %s waits for room: %s", token, why);
        keep(w, t);
        return;
    }
    yk_serve_note(w, "the report of %s was refused: %s", token, why);
    if (t->last_resort || status == YOKE_ERR_STALE ||
        status == YOKE_ERR_NOJOB) {
        yk_task_free(t);
        return;
    }
    t->last_resort = status != YOKE_ERR_TOOBIG || t->end != TASK_RETURNED;
    set_error(t, t->last_resort ? "lost" : "result", why);
    yk_report_send(w, t);
}

/* The words of the report. */
static size_t report_words(const struct yoke_task *t, struct yoke_bytes argv[5],
                           char class_name[24], char message[WORDS_MAX])
{
    bool is_cancelled = atomic_load(&t->cancelled);

    argv[1] = bytes(t->work->token);
    if (t->end == TASK_RELEASED ||
        (t->end == TASK_RETURNED && t->returned != 0 && t->worker_stops)) {
        argv[0] = bytes("RELEASE");
        return 2;
    }
    if (t->end == TASK_RETURNED && t->returned == 0) {
        argv[0] = bytes("DONE");
        argv[2] = t->result;
        return t->result.data ? 3 : 2;
    }
    argv[0] = bytes("FAIL");
    if (t->end == TASK_FAILED) {
        argv[2] = t->class_name;
        argv[3] = t->message;
        argv[4] = t->detail;
        return t->detail.len > 0 ? 5 : 4;
    }
    (void)snprintf(class_name, 24, "exit:%d", t->returned);
    argv[2] = bytes(is_cancelled ? "cancelled" : class_name);
    if (is_cancelled && !t->hand)
        (void)snprintf(message, WORDS_MAX, "it had not started: %.256s",
                       t->reason);
    else
        (void)snprintf(message, WORDS_MAX, "the handler returned %d%s%.256s",
                       t->returned, is_cancelled ? " after the cancel: " : "",
                       is_cancelled ? t->reason : "");
    argv[3] = bytes(message);
    return 4;
}

void yk_report_send(struct yoke_worker *w, struct yoke_task *t)
{
    char class_name[24], message[WORDS_MAX];
    struct yoke_bytes argv[5];
    size_t argc = report_words(t, argv, class_name, message);

    if (ask(w, argc, argv, on_report, t) < 0)
        keep(w, t); /* too much is unsent, or there is no memory for it */
    else
        TAILQ_INSERT_TAIL(&w->reported, t, all);
}

void yk_report(struct yoke_worker *w, struct yoke_task *t)
{
    TAILQ_REMOVE(&w->tasks, t, all);
    w->ntasks--;
    t->served->taken--;
    if (t->hand)
        w->average_us += (t->ended_us - t->began_us - w->average_us) / 8;
    if (atomic_load(&t->lost) || !w->y)
        yk_task_free(t);
    else
        yk_report_send(w, t);
}

void yk_report_unstarted(struct yoke_worker *w, int64_t held_ms)
{
    int64_t now = yk_now_ms();
    struct yoke_task *t, *next;

    for (t = TAILQ_FIRST(&w->tasks); t; t = next) {
        next = TAILQ_NEXT(t, all);
        if (now - t->held_ms < held_ms)
            break; /* as all after it */
        if (!yk_crew_take_back(&w->crew, t))
            continue;
        t->end = TASK_RELEASED;
        yk_report(w, t);
        w->average_us = LONG_US; /* jobs are not that short at the moment */
    }
}

void yk_report_kept(struct yoke_worker *w)
{
    struct task_list list = TAILQ_HEAD_INITIALIZER(list);
    struct yoke_task *t;

    w->repeat_at_ms = YOKE_NONE;
    TAILQ_CONCAT(&list, &w->kept, all);
    while ((t = TAILQ_FIRST(&list))) {
        TAILQ_REMOVE(&list, t, all);
        yk_report_send(w, t);
    }
}

/* -------------------------------------------------------- for the handlers */

static void on_call(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct call *call = arg;
    int64_t number = yk_value_int(reply, 0);

    if (reply && reply->kind == YOKE_ARRAY && reply->count > 1)
        number = yk_value_int(&reply->items[1], YOKE_NONE); /* of TOUCH */
    if (y->broken)
        status = YOKE_ERR_STALE;
    yk_crew_answer(call->hand->crew, call, status, number,
                   status < 0 ? yoke_error_text(y) : "");
}

void yk_report_call(struct yoke_worker *w, struct call *call)
{
    int status = YOKE_ERR_STALE;

    if (w->y)
        status = ask(w, call->argc, call->argv, on_call, call);
    if (status < 0)
        yk_crew_answer(&w->crew, call, status, 0,
                       w->y ? yoke_error_text(w->y) : "");
}

void yk_report_stuck(struct yoke_worker *w, const struct yoke_task *t)
{
    char line[WORDS_MAX + 64];
    struct yoke_bytes argv[] = {
        bytes("LOG"), bytes(t->work->token), bytes("2"), {0}};

    (void)snprintf(line, sizeof(line),
                   "worker: the grace is over, and the handler has not "
                   "returned after the cancel: %.256s\n",
                   t->reason);
    argv[3] = bytes(line);
    if (w->y && !atomic_load(&t->lost))
        (void)ask(w, 4, argv, NULL, NULL); /* a note, not a promise */
}
