/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GATHER_MS    1   /* reports wait for each other, if nobody waits */
#define HOLD_MS      100 /* what has not started by then is given back */
#define RETRY_MIN_MS 100 /* between attempts to connect */
#define RETRY_MAX_MS 5000
#define TURNS_MAX    16
#define QUEUES_MAX   256
#define FOR_EVER     INT32_MAX
#define ENV_FD       "YOKE_WORKER_FD"

static int fail(struct yoke_worker *w, int status, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

static int fail(struct yoke_worker *w, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(w->text, sizeof(w->text), fmt, ap);
    va_end(ap);
    return status;
}

const char *yoke_worker_error_text(const struct yoke_worker *w)
{
    return w->text;
}

void yk_serve_note(struct yoke_worker *w, const char *fmt, ...)
{
    char text[YK_TEXT_MAX];
    va_list ap;

    if (!w->note)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    w->note(text, w->arg);
}

void yk_serve_fail(struct yoke_worker *w, int status, const char *text)
{
    if (w->status == 0)
        w->status = fail(w, status, "%s", text);
    if (w->ending == SERVE_ON)
        w->ending = SERVE_DRAIN;
}

/* --------------------------------------------------------------- the object */

static size_t processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1; /* more of them than the set has room for, or no /proc */
    return (size_t)CPU_COUNT(&set);
}

/* The descriptor of the environment; -1: there is none. */
static int inherited_fd(struct yoke_worker *w, int *fd)
{
    const char *text = secure_getenv(ENV_FD);
    char *end;
    long n;

    if (!text || *text == '\0')
        return 0;
    n = strtol(text, &end, 10);
    if (*end != '\0' || n <= 0 || n > INT32_MAX)
        return fail(w, YOKE_ERR_ARGUMENT, ENV_FD " is no descriptor: %s", text);
    *fd = (int)n;
    return 0;
}

static bool keep_text(char **to, const char *text)
{
    struct yoke_bytes copy = {0};

    if (text && !yk_bytes_keep(&copy, (struct yoke_bytes){text, strlen(text)}))
        return false;
    *to = (char *)copy.data;
    return true;
}

static int set_up(struct yoke_worker *w, const struct yoke_worker_options *o)
{
    int status = 0;

    w->fd = o->fd > 0 ? o->fd : -1;
    if (w->fd < 0 && !o->address)
        status = inherited_fd(w, &w->fd);
    if (status < 0)
        return status;
    w->pooled = o->fd <= 0 && w->fd >= 0;
    w->has_fd = w->fd >= 0;
    w->nthreads = o->threads ? o->threads : processors();
    if (w->nthreads > CREW_HANDS_MAX)
        return fail(w, YOKE_ERR_ARGUMENT, "a worker has at most %d threads",
                    CREW_HANDS_MAX);
    w->connect_timeout_ms = o->connect_timeout_ms;
    w->stuck = o->stuck;
    w->note = o->note;
    w->arg = o->arg;
    if (!keep_text(&w->address, o->address) ||
        !keep_text(&w->password, o->password) || !keep_text(&w->name, o->name))
        return fail(w, YOKE_ERR_NOMEM, "out of memory");
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0)
        return fail(w, YOKE_ERR_NOMEM, "no descriptor is left");
    return 0;
}

int yoke_worker_new(const struct yoke_worker_options *options,
                    struct yoke_worker **out)
{
    const struct yoke_worker_options none = {.address = NULL};
    struct yoke_worker *w = yk_zalloc(1, sizeof(*w));

    if (!options)
        options = &none;
    *out = w;
    if (!w) {
        if (options->fd > 0)
            (void)close(options->fd); /* taken over, as always */
        return YOKE_ERR_NOMEM;
    }
    w->wake_fd = -1;
    w->repeat_at_ms = YOKE_NONE;
    w->retry_ms = RETRY_MIN_MS;
    w->average_us = INT32_MAX; /* nothing is fetched ahead at first */
    TAILQ_INIT(&w->tasks);
    TAILQ_INIT(&w->reported);
    TAILQ_INIT(&w->kept);
    return set_up(w, options);
}

void yoke_worker_free(struct yoke_worker *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->nqueues; i++) {
        free(w->queues[i].name);
        free(w->queues[i].word);
    }
    if (w->fd >= 0)
        (void)close(w->fd); /* nothing was written */
    if (w->wake_fd >= 0)
        (void)close(w->wake_fd);
    free(w->queues);
    free(w->fetch);
    free(w->address);
    free(w->password);
    free(w->name);
    free(w);
}

int yoke_worker_handle(struct yoke_worker *w, const char *queue, unsigned slots,
                       yoke_handler_fn *fn, void *arg)
{
    struct served *grown;
    struct yoke_bytes *fetch;

    if (!queue || !*queue || !fn)
        return fail(w, YOKE_ERR_ARGUMENT, "a queue and a function are needed");
    if (strchr(queue, '/')) /* which yoke_fetch takes for a bound */
        return fail(w, YOKE_ERR_ARGUMENT,
                    "%.100s is no name of a queue; `slots` is its bound",
                    queue);
    if (w->ran)
        return fail(w, YOKE_ERR_ARGUMENT, "the worker runs already");
    for (size_t i = 0; i < w->nqueues; i++)
        if (strcmp(w->queues[i].name, queue) == 0)
            return fail(w, YOKE_ERR_ARGUMENT, "%.100s has a function already",
                        queue);
    if (w->nqueues == QUEUES_MAX)
        return fail(w, YOKE_ERR_LIMIT, "a worker has at most %d queues",
                    QUEUES_MAX);
    grown = yk_resize(w->queues, w->nqueues + 1, sizeof(*grown));
    if (grown)
        w->queues = grown;
    fetch = yk_resize(w->fetch, w->nqueues + 4, sizeof(*fetch));
    if (fetch)
        w->fetch = fetch;
    if (!grown || !fetch)
        return fail(w, YOKE_ERR_NOMEM, "out of memory");
    grown[w->nqueues] = (struct served){.slots = slots, .fn = fn, .arg = arg};
    grown[w->nqueues].word = yk_alloc(strlen(queue) + SERVE_BOUND_SIZE);
    if (!grown[w->nqueues].word || !keep_text(&grown[w->nqueues].name, queue)) {
        free(grown[w->nqueues].word);
        return fail(w, YOKE_ERR_NOMEM, "out of memory");
    }
    w->nqueues++;
    return 0;
}

void yoke_worker_stop(struct yoke_worker *w)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t n;

    atomic_fetch_add(&w->stops, 1);
    /* Only a full counter refuses, and then it is readable as it should be. */
    n = write(w->wake_fd, &one, sizeof(one));
    (void)n;
    errno = saved;
}

/* -------------------------------------------------------------- connection */

static struct yoke_options options_of(const struct yoke_worker *w)
{
    return (struct yoke_options){
        .password = w->password,
        .name = w->name,
        .connect_timeout_ms = w->connect_timeout_ms,
    };
}

int yk_worker_open(const struct yoke_worker *w, yoke **out)
{
    struct yoke_options o = options_of(w);

    return yoke_open(w->address, &o, out);
}

/* On failure w->text says why. */
static int connect_now(struct yoke_worker *w)
{
    struct yoke_options o = options_of(w);
    yoke *y = NULL;
    int status;

    /* As long as it holds jobs the lease bounds that. */
    o.reconnect_ms = FOR_EVER;
    if (w->fd >= 0)
        o.fd = w->fd;
    w->fd = -1; /* taken over */
    status = yoke_open(w->address, &o, &y);
    if (status < 0) {
        (void)fail(w, status, "%s",
                   y ? yoke_error_text(y) : yoke_status_name(status));
        yoke_abandon(y);
        return status;
    }
    w->y = y;
    w->restoring = false;
    return 0;
}

static void reconnect(struct yoke_worker *w)
{
    int64_t now = yk_now_ms();

    if (now < w->retry_at_ms)
        return;
    if (connect_now(w) == 0) {
        yk_serve_note(w, "connected again, session %s", yoke_session(w->y));
        w->retry_ms = RETRY_MIN_MS;
        return;
    }
    if (w->retry_ms == RETRY_MIN_MS) /* to say it once is enough */
        yk_serve_note(w, "%s", w->text);
    w->retry_ms = min_i64(w->retry_ms * 2, RETRY_MAX_MS);
    w->retry_at_ms = yk_now_ms() + w->retry_ms;
}

static void free_all(struct task_list *list)
{
    struct yoke_task *t;

    while ((t = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, t, all);
        yk_task_free(t);
    }
}

/* The handle has ended: what runs is stopped before it may be given to somebody
 * else, and what it will report is nobody's. */
static void lose(struct yoke_worker *w, int status)
{
    int64_t left_ms = yoke_lease_left_ms(w->y);
    struct yoke_task *t, *next;

    if (w->pooled && w->ntasks == 0 && status == YOKE_ERR_IO) {
        if (w->ending == SERVE_ON)
            w->ending = SERVE_DRAIN;
    } else {
        yk_serve_note(w, "the connection is lost, %zu jobs are stopped: %s",
                      w->ntasks, yoke_error_text(w->y));
        if (w->has_fd)
            yk_serve_fail(w, status, yoke_error_text(w->y));
    }
    for (t = TAILQ_FIRST(&w->tasks); t; t = next) {
        bool unstarted = yk_crew_take_back(&w->crew, t);

        next = TAILQ_NEXT(t, all);
        yk_crew_cancel(&w->crew, t, NULL, left_ms);
        if (unstarted)
            yk_report(w, t);
    }
    free_all(&w->reported);
    free_all(&w->kept);
    yoke_abandon(w->y);
    w->y = NULL;
    w->repeat_at_ms = YOKE_NONE;
    w->fetch_open = false;
    w->nfetches = w->reserved = 0;
    w->retry_at_ms = yk_now_ms();
}

/* The time by which the daemon must have answered something. */
static int64_t silent_until_ms(const struct yoke_worker *w)
{
    int64_t lease_ms = yoke_lease_ms(w->y);

    if (lease_ms <= 0)
        return INT64_MAX;
    return yk_now_ms() + yoke_lease_left_ms(w->y) - lease_ms / 3;
}

static void watch_connection(struct yoke_worker *w)
{
    bool restoring = w->y->link != YK_UP;

    if (restoring != w->restoring)
        yk_serve_note(
            w, restoring ? "the connection broke and is restored, jobs go on"
                         : "the connection is restored");
    w->restoring = restoring;
}

static void exchange(struct yoke_worker *w)
{
    int status;

    yk_fetch_more(w);
    status = yoke_process(w->y);
    if (status == 0 && !w->restoring && yk_now_ms() >= silent_until_ms(w))
        status = yk_end(w->y, YOKE_ERR_IO,
                        "yoked has not answered for two thirds of the lease");
    if (status < 0)
        lose(w, status);
    else
        watch_connection(w);
}

/* -------------------------------------------------------------------- turns */

static void take_stops(struct yoke_worker *w)
{
    int stops = atomic_load(&w->stops);

    if (stops > 0 && w->ending == SERVE_ON)
        w->ending = SERVE_DRAIN;
    if (stops > 1 && w->ending == SERVE_DRAIN) {
        w->ending = SERVE_CUT;
        free_all(&w->kept); /* nobody waits for a full disk then */
    }
}

static void cut(struct yoke_worker *w)
{
    int64_t now = yk_now_ms();
    struct yoke_task *t;

    TAILQ_FOREACH(t, &w->tasks, all)
    {
        if (atomic_load(&t->cancelled) ||
            atomic_load(&t->shielded_until_ms) > now)
            continue;
        t->worker_stops = true;
        yk_crew_cancel(&w->crew, t, "worker stopped", t->work->grace_ms);
    }
}

static void watch_stuck(struct yoke_worker *w)
{
    int64_t now = yk_now_ms();
    struct yoke_task *t;

    TAILQ_FOREACH(t, &w->tasks, all)
    {
        if (!atomic_load(&t->cancelled) || t->told_stuck || now < t->stop_by_ms)
            continue;
        t->told_stuck = true;
        yk_report_stuck(w, t);
        if (w->stuck)
            w->stuck(t, w->arg);
    }
}

static void collect(struct yoke_worker *w)
{
    struct task_list done = TAILQ_HEAD_INITIALIZER(done);
    struct call_list calls = TAILQ_HEAD_INITIALIZER(calls);
    struct yoke_task *t;
    struct call *call;

    w->nready = yk_crew_collect(&w->crew, &done, &calls);
    while ((t = TAILQ_FIRST(&done))) {
        TAILQ_REMOVE(&done, t, turn);
        yk_report(w, t);
    }
    while ((call = TAILQ_FIRST(&calls))) {
        TAILQ_REMOVE(&calls, call, link);
        yk_report_call(w, call);
    }
}

/* Everything that came up is done, and what is to be sent goes out in one
 * write. */
static void turn(struct yoke_worker *w)
{
    for (int i = 0; i < TURNS_MAX && (i == 0 || w->answered); i++) {
        w->answered = false;
        take_stops(w);
        collect(w);
        if (w->nready > 0)
            yk_report_unstarted(w, w->ending ? 0 : HOLD_MS);
        if (w->ending)
            yk_fetch_end(w);
        if (w->ending == SERVE_CUT)
            cut(w);
        watch_stuck(w);
        if (w->repeat_at_ms != YOKE_NONE && yk_now_ms() >= w->repeat_at_ms)
            yk_report_kept(w);
        if (w->y)
            exchange(w);
        else if (w->ntasks == 0 && !w->ending)
            reconnect(w);
    }
}

/* When the next turn is due although nothing comes; INT64_MAX: not at all. */
static int64_t next_turn_ms(const struct yoke_worker *w)
{
    int64_t at = INT64_MAX;
    const struct yoke_task *t;

    TAILQ_FOREACH(t, &w->tasks, all)
    {
        if (atomic_load(&t->cancelled) && !t->told_stuck)
            at = min_i64(at, t->stop_by_ms);
        else if (w->ending == SERVE_CUT && !t->told_stuck)
            at = min_i64(at, atomic_load(&t->shielded_until_ms));
    }
    if (w->nready > 0)
        at = min_i64(at, TAILQ_FIRST(&w->tasks)->held_ms + HOLD_MS);
    if (w->repeat_at_ms != YOKE_NONE)
        at = min_i64(at, w->repeat_at_ms);
    if (!w->y && w->ntasks == 0)
        at = min_i64(at, w->retry_at_ms);
    if (w->y && yoke_timeout_ms(w->y) >= 0)
        at = min_i64(at, yk_now_ms() + yoke_timeout_ms(w->y));
    else if (w->y)
        at = min_i64(at, silent_until_ms(w));
    if (w->y && w->reserved == 0 && !w->fetch_open)
        at = min_i64(at, w->pause_until_ms);
    return at;
}

static void wait(struct yoke_worker *w)
{
    struct pollfd p[2] = {{.fd = w->wake_fd, .events = POLLIN}, {.fd = -1}};
    int64_t at = next_turn_ms(w), now = yk_now_ms(), timeout = -1;
    bool gather;
    uint64_t count;

    if (w->answered || !yk_crew_may_wait(&w->crew, &gather))
        return;
    if (at != INT64_MAX)
        timeout = min_i64(max_i64(0, at - now), INT32_MAX);
    if (gather && (timeout < 0 || timeout > GATHER_MS))
        timeout = GATHER_MS;
    if (w->y)
        p[1] =
            (struct pollfd){.fd = yoke_fd(w->y), .events = yoke_events(w->y)};
    if (poll(p, 2, (int)timeout) > 0 && p[0].revents &&
        read(w->wake_fd, &count, sizeof(count)) < 0)
        count = 0; /* somebody was faster: what counts is what is there */
}

/* Not before the last report is answered: it may have to be said again. */
static bool is_over(const struct yoke_worker *w)
{
    return w->ending && w->ntasks == 0 && TAILQ_EMPTY(&w->reported) &&
           TAILQ_EMPTY(&w->kept);
}

int yoke_worker_run(struct yoke_worker *w)
{
    int status;

    if (w->ran || w->nqueues == 0)
        return fail(w, YOKE_ERR_ARGUMENT,
                    w->ran ? "a worker runs once"
                           : "a worker needs a queue: yoke_worker_handle");
    w->ran = true;
    status = connect_now(w);
    if (status < 0)
        return status;
    if (yk_crew_start(&w->crew, w->nthreads, w->wake_fd, w) < 0) {
        yoke_close(w->y);
        w->y = NULL;
        return fail(w, YOKE_ERR_NOMEM, "cannot start %zu threads", w->nthreads);
    }
    for (turn(w); !is_over(w); turn(w))
        wait(w);
    yk_crew_stop(&w->crew);
    yoke_close(w->y);
    w->y = NULL;
    return w->status;
}
