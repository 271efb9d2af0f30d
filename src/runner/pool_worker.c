/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/pool_internal.h"

#include "runner/memory.h"
#include "runner/message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Before a process that ended without serving a job is started again. */
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 10000
/* Programs that have much to load ask for their first job after seconds. */
#define SILENT_MS 10000
/* Looks at what a job has left begin and end at these distances. */
#define WAIT_MIN_MS 1
#define WAIT_MAX_MS 100
/* Between looks at the memory of a process. */
#define WEIGH_MS 50
/* What a report may have beside the result. */
#define REQUEST_ROOM ((size_t)64 << 10)
/* Of what a process prints between its jobs, in one line of our log. */
#define PRINTED_MAX 200

static void worker_step(struct pool_worker *w);
static void serve(struct pool_worker *w);

static struct pools *pools_of(const struct pool_worker *w)
{
    return w->pool->all;
}

static struct sweep *sweep_of(const struct pool_worker *w)
{
    return &w->pool->all->host->sweep;
}

static const char *name_of(const struct pool_worker *w)
{
    return w->pool->queue->name;
}

static void set_timer(struct pool_worker *w, int64_t ms)
{
    ev_timer_stop(pools_of(w)->host->loop, &w->timer);
    ev_timer_set(&w->timer, (double)(ms > 0 ? ms : 0) / 1000., 0.);
    ev_timer_start(pools_of(w)->host->loop, &w->timer);
}

/* -------------------------------------------------------------------- ends */

/* For a job's sake, or for what it did wrong. */
static void worker_kill(struct pool_worker *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void worker_kill(struct pool_worker *w, const char *fmt, ...)
{
    va_list ap;

    if (w->state == POOL_KILLED || w->state == POOL_GONE)
        return;
    va_start(ap, fmt);
    if (fmt)
        vsnprintf(w->wrong, sizeof(w->wrong), fmt, ap);
    va_end(ap);
    if (fmt)
        message_warn("a process of a pool is killed: %s queue=%s pid=%d",
                     w->wrong, name_of(w), (int)w->process->scope.main);
    w->state = POOL_KILLED;
    ev_timer_stop(pools_of(w)->host->loop, &w->timer);
    job_stop(w->process, JOB_CANCELLED, NULL, 0);
}

void worker_leave(struct pool_worker *w, int64_t grace_ms)
{
    int64_t kill_at_ms = job_now_ms() + grace_ms;

    if (w->state == POOL_GONE) {
        ev_timer_stop(pools_of(w)->host->loop, &w->timer);
        return;
    }
    if (w->state == POOL_KILLED || w->nheld > 0 || !TAILQ_EMPTY(&w->kept))
        return; /* its jobs have times of their own */
    w->asked = true;
    if (w->state != POOL_LEAVING) {
        w->state = POOL_LEAVING;
        peer_leave(&w->peer);
    }
    if (kill_at_ms < w->kill_at_ms)
        w->kill_at_ms = kill_at_ms;
    worker_step(w);
}

/* What becomes of one that the process had when it ended. */
static void end_job(struct pool_worker *w, struct pool_job *job)
{
    const struct pools *all = pools_of(w);
    const struct job *process = w->process;
    const char *class_name = process->class_name;
    struct yoke_bytes detail = {0};
    char text[sizeof(process->text) + 512];

    if (process->has_output)
        detail.data = output_tail(&process->output, &detail.len);
    if (job->cause == JOB_LOST) {
        pool_job_free(job);
        return;
    }
    if (job->cause == JOB_RETURNED ||
        (job->cause == JOB_NOT_STOPPED && process->cause == JOB_CANCELLED &&
         !w->wrong[0])) {
        pool_release(w->pool, job);
        return;
    }
    if (job->cause == JOB_CANCELLED) {
        class_name = "cancelled";
        snprintf(text, sizeof(text), "%s after the cancel: %s", process->text,
                 job->reason ? job->reason : "");
    } else if (w->wrong[0]) {
        class_name = "worker";
        snprintf(text, sizeof(text), "its process was killed: %s", w->wrong);
    } else {
        if (!class_name[0])
            class_name = "exit:0";
        snprintf(text, sizeof(text), "its process ended before it reported: %s",
                 process->text);
    }
    all->calls->report(all->arg,
                       report_fail(job->token, class_name, text, detail));
    pool_job_free(job);
}

static void send_kept(struct pool_worker *w)
{
    struct report *p;

    while ((p = TAILQ_FIRST(&w->kept))) {
        TAILQ_REMOVE(&w->kept, p, link);
        pools_of(w)->calls->report(pools_of(w)->arg, p);
    }
}

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Nothing is left of the process. */
static void worker_reset(struct pool_worker *w)
{
    w->state = POOL_GONE;
    w->process = NULL;
    w->serial = 0;
    ev_timer_stop(pools_of(w)->host->loop, &w->timer);
    peer_clear(&w->peer);
    close_file(&w->children);
    close_file(&w->tasks);
    close_file(&w->memory);
    proc_list_clear(&w->spared);
}

/* It is started again at once if it was of use. */
static void plan_restart(struct pool_worker *w, bool wanted, const char *how)
{
    struct pool *pool = w->pool;

    if (wanted || w->served > 0)
        w->pause_ms = 0;
    else if (w->pause_ms == 0)
        w->pause_ms = PAUSE_MIN_MS;
    else if (w->pause_ms < PAUSE_MAX_MS / 2)
        w->pause_ms *= 2;
    else
        w->pause_ms = PAUSE_MAX_MS;
    if (w->pause_ms > 0) {
        message_write(pool->failing ? MESSAGE_DEBUG : MESSAGE_WARN,
                      "a process of a pool ended before it served a job, and "
                      "is started again after pauses: %s queue=%s",
                      how, pool->queue->name);
        pool->failing = true;
    }
    if (!pool->all->stopping && !pool->retired)
        set_timer(w, w->pause_ms);
}

void pool_process_ended(struct job *process)
{
    struct pool_worker *w = process->worker;
    bool wanted = w->asked || (w->state == POOL_KILLED && !w->wrong[0]);
    struct pool_job *job;

    w->state = POOL_KILLED; /* it gets nothing more */
    peer_drain(&w->peer);
    send_kept(w);
    if (w->nheld > 0 && process->cause == JOB_NOT_STOPPED)
        message_warn("a process of a pool ended with jobs: %s queue=%s "
                     "jobs=%zu",
                     process->text, name_of(w), w->nheld);
    while ((job = TAILQ_FIRST(&w->held))) {
        TAILQ_REMOVE(&w->held, job, link);
        w->nheld--;
        w->pool->ngiven--;
        w->served++; /* it was of use, or will not be started in a circle */
        end_job(w, job);
    }
    worker_reset(w);
    plan_restart(w, wanted, process->text);
}

/* ------------------------------------------------------------------- rests */

/* Whether nothing was started since its first FETCH. Cheap as long as it has no
 * children: the file of its one thread's is empty, and we have no orphans. */
static bool worker_is_clean(struct pool_worker *w)
{
    struct sweep_scope *scope = &w->process->scope;
    struct proc_list all = {0};
    struct stat st;
    char byte;
    bool clean = true;

    if (w->children >= 0 && w->tasks >= 0 && fstat(w->tasks, &st) == 0 &&
        st.st_nlink == 3 && pread(w->children, &byte, 1, 0) == 0)
        return sweep_empty(sweep_of(w), scope);
    sweep_list(sweep_of(w), scope, &all);
    for (size_t i = 0; i < all.count && clean; i++)
        clean = proc_list_has(&w->spared, all.items[i]);
    proc_list_clear(&all);
    return clean;
}

/* Reports wait for what their jobs have left. Once no job can own it, it is
 * killed. */
static void settle(struct pool_worker *w)
{
    size_t denied;

    if (TAILQ_EMPTY(&w->kept))
        return;
    if (!worker_is_clean(w)) {
        if (w->nheld == 0)
            sweep_kill(sweep_of(w), &w->process->scope, &w->spared, &denied);
        if (!worker_is_clean(w)) {
            w->wait_ms = w->wait_ms ? 2 * w->wait_ms : WAIT_MIN_MS;
            if (w->wait_ms > WAIT_MAX_MS)
                w->wait_ms = WAIT_MAX_MS;
            return;
        }
    }
    w->wait_ms = 0;
    send_kept(w);
    if (w->peer.fetching)
        serve(w);
    peer_flush(&w->peer);
}

/* It has reported all that it had, and gets nothing more: it is not waited for
 * until it asks, which it may never do. */
static bool is_to_leave(const struct pool_worker *w)
{
    return w->state == POOL_SERVING && w->nheld == 0 && TAILQ_EMPTY(&w->kept) &&
           (pools_of(w)->stopping || w->pool->retired);
}

/* Its jobs wait for a program that may not be one for a pool. */
static void tell_silence(struct pool_worker *w)
{
    struct pool *pool = w->pool;

    if (w->peer.held) { /* what it says is not read now */
        w->silent_at_ms = job_now_ms() + SILENT_MS;
        return;
    }
    message_write(pool->silent ? MESSAGE_DEBUG : MESSAGE_WARN,
                  "a process of a pool has not asked for a job in its first %d "
                  "seconds; a worker sends FETCH on descriptor 3 queue=%s "
                  "pid=%d",
                  SILENT_MS / 1000, name_of(w), (int)w->process->scope.main);
    pool->silent = true;
    w->silent_at_ms = INT64_MAX;
}

/* The one place that looks at times. */
static void worker_step(struct pool_worker *w)
{
    int64_t now = job_now_ms(), next = INT64_MAX;
    struct pool_job *job;

    if (w->state == POOL_KILLED)
        return;
    settle(w);
    TAILQ_FOREACH(job, &w->held, link)
    {
        if (job->kill_at_ms < next)
            next = job->kill_at_ms;
    }
    if (next <= now) {
        worker_kill(w, NULL);
        return;
    }
    if (w->state == POOL_LEAVING && w->kill_at_ms <= now) {
        worker_kill(w, "it did not end as it was told to");
        return;
    }
    if (w->state == POOL_LEAVING && w->kill_at_ms < next)
        next = w->kill_at_ms;
    if (w->state == POOL_STARTING && w->silent_at_ms <= now)
        tell_silence(w);
    if (w->state == POOL_STARTING && w->silent_at_ms < next)
        next = w->silent_at_ms;
    if (!TAILQ_EMPTY(&w->kept) && now + w->wait_ms < next)
        next = now + w->wait_ms;
    ev_timer_stop(pools_of(w)->host->loop, &w->timer);
    if (next < INT64_MAX)
        set_timer(w, next - now);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct pool_worker *w = timer->data;

    (void)loop;
    (void)events;
    if (w->state == POOL_GONE) {
        worker_start(w);
        return;
    }
    worker_step(w);
    if (is_to_leave(w))
        worker_leave(w, w->pool->settings->stop_grace_ms);
}

/* -------------------------------------------------------------------- jobs */

static int64_t worker_weight(const struct pool_worker *w)
{
    char text[128], *at;
    ssize_t n = w->memory < 0 ? 0 : pread(w->memory, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return 0;
    text[n] = '\0';
    at = strchr(text, ' '); /* pages: all of it, what is resident, ... */
    return at ? strtoll(at, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

/* Whether it has served its time. */
static bool worker_is_worn(struct pool_worker *w)
{
    const struct settings_queue *q = w->pool->queue;
    int64_t now;

    if (pools_of(w)->stopping || w->pool->retired)
        return true;
    if (q->pool_jobs_max > 0 && w->served >= q->pool_jobs_max)
        return true;
    /* Who needs as much from the beginning is of use all the same. */
    if (q->pool_memory_max == 0 || w->served == 0)
        return false;
    now = job_now_ms();
    if (now - w->weighed_ms < WEIGH_MS)
        return false;
    w->weighed_ms = now;
    if (worker_weight(w) <= q->pool_memory_max)
        return false;
    message_debug("a process of a pool is replaced, as it has grown queue=%s "
                  "pid=%d",
                  q->name, (int)w->process->scope.main);
    return true;
}

size_t worker_waits_for(const struct pool_worker *w)
{
    const struct settings_queue *q = w->pool->queue;
    size_t n;

    if (w->state != POOL_SERVING || w->process->scope.main_ended ||
        !w->peer.fetching || !TAILQ_EMPTY(&w->kept))
        return 0;
    n = pool_share(w->pool, w->peer.wanted);
    if (q->pool_jobs_max > 0) {
        int64_t left = q->pool_jobs_max - w->served - (int64_t)w->nheld;

        n = left <= 0 ? 0 : (int64_t)n > left ? (size_t)left : n;
    }
    return n;
}

static void give(struct pool_worker *w, struct pool_job *job)
{
    struct pool *pool = w->pool;

    TAILQ_REMOVE(&pool->ready, job, link);
    pool->nready--;
    if (job->about.remaining_ms >= 0) {
        job->about.remaining_ms -= job_now_ms() - job->came_ms;
        if (job->about.remaining_ms < 0)
            job->about.remaining_ms = 0;
    }
    peer_put_job(&w->peer, &job->about);
    if (w->nheld++ == 0)
        w->since_ns = pool_now_ns();
    pool->ngiven++;
    TAILQ_INSERT_TAIL(&w->held, job, link);
}

static bool must_be_told(const struct pool_job *job)
{
    return job->cause != JOB_NOT_STOPPED && !job->told;
}

void worker_answer(struct pool_worker *w, size_t jobs)
{
    size_t n = worker_waits_for(w), cancels = 0;
    int64_t now;
    struct pool_job *job;

    if (!w->peer.fetching)
        return;
    if (n > jobs)
        n = jobs;
    if (n > w->pool->nready)
        n = w->pool->nready;
    TAILQ_FOREACH(job, &w->held, link)
    {
        cancels += must_be_told(job);
    }
    if (n + cancels == 0)
        return;
    peer_answer(&w->peer, n + cancels);
    now = cancels > 0 ? job_now_ms() : 0;
    TAILQ_FOREACH(job, &w->held, link)
    {
        if (!must_be_told(job))
            continue;
        job->told = true;
        peer_put_cancel(&w->peer, job->token, job->reason ? job->reason : "",
                        job->kill_at_ms > now ? job->kill_at_ms - now : 0);
    }
    while (n-- > 0)
        give(w, TAILQ_FIRST(&w->pool->ready));
}

void worker_stop_job(struct pool_worker *w, struct pool_job *job,
                     enum job_cause cause, const char *reason, int64_t grace_ms)
{
    int64_t kill_at_ms = job_now_ms() + (grace_ms > 0 ? grace_ms : 0);

    if (cause == JOB_LOST || job->cause == JOB_NOT_STOPPED) {
        job->cause = cause;
        if (!job->reason)
            job->reason = memory_text(reason, strlen(reason));
    }
    if (kill_at_ms < job->kill_at_ms)
        job->kill_at_ms = kill_at_ms;
    worker_answer(w, 0);
    peer_flush(&w->peer);
    worker_step(w);
}

/* ------------------------------------------------------------ what it says */

static struct pool_job *find_held(const struct pool_worker *w, struct str token)
{
    struct pool_job *job;

    TAILQ_FOREACH(job, &w->held, link)
    {
        if (str_eq(str_from(job->token), token))
            return job;
    }
    return NULL;
}

/* It waits for jobs: some, or its end. */
static void serve(struct pool_worker *w)
{
    if (w->nheld == 0 && w->state == POOL_SERVING && worker_is_worn(w))
        worker_leave(w, w->pool->settings->stop_grace_ms);
    else
        worker_answer(w, SIZE_MAX);
}

static void on_fetch(void *arg)
{
    struct pool_worker *w = arg;

    if (w->state == POOL_STARTING) {
        w->state = POOL_SERVING;
        w->pool->silent = false;
        w->silent_at_ms = INT64_MAX;
        sweep_list(sweep_of(w), &w->process->scope, &w->spared);
    }
    serve(w);
}

/* What it printed belongs to the job, what it started, too: all that was said
 * in one go is looked after once. */
static void look_after(struct pool_worker *w)
{
    if (w->looked == w->peer.reads)
        return;
    w->looked = w->peer.reads;
    if (w->process->state == JOB_ENDED) { /* with all that it started */
        w->clean = true;
        return;
    }
    output_take(&w->process->output);
    w->clean = worker_is_clean(w);
}

/* Its words become a report to the daemon, or to nobody. */
static struct report *report_of(const struct pool_job *job,
                                enum peer_report what, size_t argc,
                                const struct str *argv)
{
    static const char *const names[] = {
        [PEER_DONE] = "DONE", [PEER_FAIL] = "FAIL", [PEER_RELEASE] = "RELEASE"};
    struct yoke_bytes words[REPORT_WORDS];
    struct report *p;

    if (job->cause == JOB_LOST)
        return NULL;
    if (what == PEER_FAIL && job->cause == JOB_RETURNED) {
        what = PEER_RELEASE;
        argc = 2;
    }
    words[0] = report_bytes(names[what]);
    for (size_t i = 1; i < argc; i++)
        words[i] = (struct yoke_bytes){.data = argv[i].p, .len = argv[i].len};
    p = report_new(argc, words);
    p->last_resort = what == PEER_RELEASE;
    return p;
}

static bool on_report(void *arg, enum peer_report what, size_t argc,
                      const struct str *argv)
{
    struct pool_worker *w = arg;
    struct pool_job *job = find_held(w, argv[1]);
    struct report *p;
    int64_t now;

    if (!job) {
        worker_kill(w, "it reported '%.*s', which is no job of it",
                    (int)(argv[1].len < 64 ? argv[1].len : 64), argv[1].p);
        return false;
    }
    look_after(w);
    p = report_of(job, what, argc, argv);
    TAILQ_REMOVE(&w->held, job, link);
    w->nheld--;
    w->pool->ngiven--;
    w->served++;
    now = pool_now_ns();
    pool_served(w->pool, now - w->since_ns);
    w->since_ns = now;
    if (w->nheld == 0)
        output_turn(&w->process->output);
    pool_job_free(job);
    if (p)
        TAILQ_INSERT_TAIL(&w->kept, p, link);
    if (w->clean)
        send_kept(w);
    else if (p)
        worker_step(w);
    else /* somebody else may have the job by now */
        worker_kill(w, NULL);
    if (is_to_leave(w))
        set_timer(w, 0); /* once this is answered */
    return p;
}

static bool on_log(void *arg, int stream, struct str token, struct str data)
{
    struct pool_worker *w = arg;
    struct pool_job *job = find_held(w, token);

    if (job && job->cause != JOB_LOST)
        pools_of(w)->calls->log(pools_of(w)->arg, job->token, stream, data.p,
                                data.len);
    return job;
}

static bool on_ask(void *arg, size_t argc, const struct str *argv)
{
    struct pool_worker *w = arg;
    const struct pools *all = pools_of(w);

    return find_held(w, argv[1]) &&
           all->calls->ask(all->arg, w->serial, argc, argv);
}

static void on_over(void *arg, const char *why)
{
    struct pool_worker *w = arg;

    if (why) {
        worker_kill(w, "what it says is not the protocol: %s", why);
        return;
    }
    /* It may be about to end, and tells by its status why. */
    if (w->state == POOL_STARTING || w->state == POOL_SERVING) {
        w->state = POOL_LEAVING;
        w->kill_at_ms = job_now_ms() + w->pool->settings->stop_grace_ms;
    }
    worker_step(w);
}

void pool_printed(struct job *process, int stream, const char *data, size_t len)
{
    struct pool_worker *w = process->worker;
    struct pool_job *job = TAILQ_FIRST(&w->held);

    if (job) {
        if (job->cause != JOB_LOST)
            pools_of(w)->calls->log(pools_of(w)->arg, job->token, stream, data,
                                    len);
        return;
    }
    while (len > 0 && data[len - 1] == '\n')
        len--;
    message_info("a process of a pool without a job wrote: %.*s queue=%s",
                 (int)(len < PRINTED_MAX ? len : PRINTED_MAX), data,
                 name_of(w));
}

/* ------------------------------------------------------------------- start */

static int open_proc(pid_t pid, const char *file, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return open(path, flags | O_RDONLY | O_CLOEXEC);
}

/* Without one of these it is looked at in a slower way, or not weighed. */
static void open_files(struct pool_worker *w)
{
    pid_t pid = w->process->scope.main;
    char path[48];

    snprintf(path, sizeof(path), "task/%d/children", (int)pid);
    w->children = open_proc(pid, path, 0);
    w->tasks = open_proc(pid, "task", O_DIRECTORY);
    if (w->pool->queue->pool_memory_max > 0)
        w->memory = open_proc(pid, "statm", 0);
}

void worker_start(struct pool_worker *w)
{
    static const struct peer_calls calls = {.fetch = on_fetch,
                                            .report = on_report,
                                            .log = on_log,
                                            .ask = on_ask,
                                            .over = on_over};
    struct pools *all = pools_of(w);
    size_t result_max = (size_t)w->pool->settings->result_max;
    char token[32];
    int ends[2];

    w->served = 0;
    w->asked = false;
    w->wrong[0] = '\0';
    w->kill_at_ms = w->silent_at_ms = INT64_MAX;
    w->wait_ms = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        plan_restart(w, false, strerror(errno));
        return;
    }
    w->serial = ++all->last;
    w->looked = 0;
    snprintf(token, sizeof(token), "w%d.%lu", (int)getpid(), w->serial);
    w->state = POOL_STARTING;
    w->process = job_new_worker(all->host, w->pool->queue, token, w, ends[1]);
    peer_init(&w->peer, all->host->loop, ends[0], name_of(w),
              result_max + REQUEST_ROOM, &calls, w);
    peer_hold(&w->peer, all->host->outputs_paused);
    /* One that fails at once is told of as one that ends later. */
    job_start(w->process);
    if (w->process->state != JOB_RUNNING)
        return;
    open_files(w);
    w->silent_at_ms = job_now_ms() + SILENT_MS;
    worker_step(w);
}

void worker_init(struct pool_worker *w, struct pool *pool)
{
    w->pool = pool;
    w->children = w->tasks = w->memory = -1;
    w->peer.io.fd = -1;
    TAILQ_INIT(&w->held);
    TAILQ_INIT(&w->kept);
    ev_init(&w->timer, on_timer);
    w->timer.data = w;
}

void worker_clear(struct pool_worker *w)
{
    struct job *process = w->process;
    struct pool_job *job;
    struct report *p;

    while ((job = TAILQ_FIRST(&w->held))) {
        TAILQ_REMOVE(&w->held, job, link);
        pool_job_free(job);
    }
    while ((p = TAILQ_FIRST(&w->kept))) {
        TAILQ_REMOVE(&w->kept, p, link);
        free(p);
    }
    worker_reset(w);
    if (process)
        job_abandon(process);
}
