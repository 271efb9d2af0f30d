/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/runner.h"

#include "runner/host.h"
#include "runner/internal.h"
#include "runner/memory.h"
#include "runner/message.h"
#include "runner/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No more output is read while so much waits to be sent. */
#define UNSENT_HIGH ((size_t)1 << 20)
#define UNSENT_LOW  (UNSENT_HIGH / 2)
/* As long as there is enough to start, reports wait for each other: a write
 * for several costs the daemon one commit. */
#define GATHER_MS 2
/* A job that was fetched ahead and has not started by then is given back. */
#define HOLD_MS 100
/* What a job is given to stop when the connection broke: the daemon may give
 * its attempts to others as soon as the session's grace is over. */
#define LOST_GRACE_MS 1000
/* The part of a lease before whose end all must be over, whether we act or not:
 * far behind the time at which runner_lost kills the jobs. */
#define FENCE_PART 20
/* At least so often leases are looked at, while there are jobs. */
#define HOUSE_MS 1000
/* Between attempts to connect. */
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 2000
#define CONNECT_MS   2000
/* How long the daemon may take to take leave. */
#define QUIT_MS 2000
/* Jobs that are made ready while they wait for a slot. */
#define READY_MAX 8
/* Turns of work before other events are looked at. */
#define TURNS_MAX 16

static void runner_lost(struct runner *r, const char *why);

/* ------------------------------------------------------------------- jobs */

/* Whether one more job of a queue may run. */
static bool queue_has_room(const struct runner *r,
                           const struct settings_queue *q)
{
    return q->slots == 0 ||
           r->use[q - r->settings->queues].running < (size_t)q->slots;
}

/* The job leaves the list it is in. */
static void job_unlink(struct runner *r, struct job *j, enum job_state was)
{
    struct queue_use *use = runner_use_of(r, j);

    if (was == JOB_HELD) {
        TAILQ_REMOVE(&r->held, j, link);
        r->nheld--;
        use->held--; /* it came under these settings */
    } else {
        TAILQ_REMOVE(&r->running, j, link);
        r->nrunning--;
        if (use)
            use->running--;
    }
}

static void start_job(struct runner *r, struct job *j)
{
    job_unlink(r, j, JOB_HELD);
    TAILQ_INSERT_TAIL(&r->running, j, link);
    r->nrunning++;
    runner_use_of(r, j)->running++; /* a held one came under these settings */
    job_start(j);
}

static void give_back(struct runner *r, struct job *j)
{
    job_unlink(r, j, JOB_HELD);
    request_release(r, j->token);
    job_free(j);
}

void runner_give_back_held(struct runner *r)
{
    struct job *j;

    while (r->y && (j = TAILQ_FIRST(&r->held)))
        give_back(r, j);
}

/* A callback of the job: it is freed later, in report_ended. */
static void on_ended(void *arg, struct job *j, enum job_state was)
{
    struct runner *r = arg;

    if (!j->worker)
        job_unlink(r, j, was);
    TAILQ_INSERT_TAIL(&r->ended, j, link);
}

static void watch_outputs(struct runner *r, bool paused)
{
    struct job *j;

    r->host.outputs_paused = paused;
    TAILQ_FOREACH(j, &r->running, link)
    {
        job_watch_output(j);
    }
    pools_watch_output(&r->pools);
}

static void log_piece(void *arg, const char *token, int stream,
                      const char *data, size_t len)
{
    struct runner *r = arg;

    if (!r->y)
        return;
    request_log(r, token, stream, data, len);
    if (!r->host.outputs_paused && yoke_unsent(r->y) > UNSENT_HIGH)
        watch_outputs(r, true);
}

static void on_piece(void *arg, struct job *j, int stream, const char *data,
                     size_t len)
{
    struct runner *r = arg;

    if (j->worker)
        pool_printed(j, stream, data, len);
    else if (j->cause != JOB_LOST)
        log_piece(r, j->token, stream, data, len);
}

static void resume_outputs(struct runner *r)
{
    if (r->host.outputs_paused && (!r->y || yoke_unsent(r->y) <= UNSENT_LOW))
        watch_outputs(r, false);
}

static void report(struct runner *r, struct job *j)
{
    struct yoke_bytes detail = {0};
    char text[600];

    if (j->has_output)
        detail.data = output_tail(&j->output, &detail.len);
    if (j->cause == JOB_LOST || !r->y) {
        message_info("a job was given up job=%s", j->token);
    } else if (j->class_name[0] == '\0') {
        request_done(r, j->token,
                     (struct yoke_bytes){.data = j->output.result.data,
                                         .len = j->output.result.len});
    } else if (j->cause == JOB_RETURNED) {
        request_release(r, j->token);
    } else if (j->cause == JOB_CANCELLED) {
        snprintf(text, sizeof(text), "%s%s%s", j->text,
                 j->reason ? " after the cancel: " : "",
                 j->reason ? j->reason : "");
        request_fail(r, j->token, "cancelled", text, detail, false);
    } else {
        request_fail(r, j->token, j->class_name, j->text, detail, false);
    }
}

static void report_ended(struct runner *r)
{
    struct job *j;

    while ((j = TAILQ_FIRST(&r->ended))) {
        TAILQ_REMOVE(&r->ended, j, link);
        job_collect(j);
        if (j->worker)
            pool_process_ended(j);
        else
            report(r, j);
        if (j->began_ms && !j->worker) {
            int64_t us = (job_now_ms() - j->began_ms) * 1000;

            r->average_us += (us - r->average_us) / 8;
        }
        job_free(j);
    }
}

static void start_held(struct runner *r)
{
    struct job *j, *next;

    for (j = TAILQ_FIRST(&r->held);
         j && r->nrunning < (size_t)r->settings->slots && !r->stopping;
         j = next) {
        next = TAILQ_NEXT(j, link);
        if (queue_has_room(r, j->queue))
            start_job(r, j);
    }
    if (r->nheld > 0 && !ev_is_active(&r->hold)) {
        ev_timer_set(&r->hold, HOLD_MS / 1000., 0.);
        ev_timer_start(r->host.loop, &r->hold);
    }
}

/* A callback of the jobs: what waits for a slot goes before the book-keeping
 * about what had it. */
static void on_room(void *arg)
{
    start_held(arg);
}

/* Makes the next ones ready to start, while others run. */
static void prepare_held(struct runner *r)
{
    size_t slots = (size_t)r->settings->slots, n = 0;
    struct job *j;

    TAILQ_FOREACH(j, &r->held, link)
    {
        if (n++ == (slots < READY_MAX ? slots : READY_MAX))
            break;
        job_prepare(j);
    }
}

static void on_hold(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;
    int64_t now = job_now_ms();
    struct job *j, *next;

    (void)loop;
    (void)events;
    for (j = TAILQ_FIRST(&r->held); j && r->y; j = next) {
        next = TAILQ_NEXT(j, link);
        if (now - j->held_ms >= HOLD_MS) {
            give_back(r, j);
            /* Jobs are not that short at the moment. */
            r->average_us = 10 * SHORT_JOB_US;
        }
    }
}

/* ------------------------------------------------------------------- pools */

static void pool_report(void *arg, struct report *p)
{
    struct runner *r = arg;

    if (r->y) {
        request_repeat(r, p);
        return;
    }
    message_info("a job was given up job=%s", p->argv[1].data);
    free(p);
}

static bool pool_ask(void *arg, unsigned long serial, size_t argc,
                     const struct str *argv)
{
    struct runner *r = arg;
    struct yoke_bytes words[3] = {0};
    struct request *q;

    for (size_t i = 0; i < argc && i < 3; i++)
        words[i] = (struct yoke_bytes){.data = argv[i].p, .len = argv[i].len};
    q = r->y ? request_send(r, REQUEST_ASK, argc, words) : NULL;
    if (q)
        q->serial = serial;
    return q;
}

/* -------------------------------------------------------------- connection */

/* Stops every job for one cause; each gets its grace, at most `most_ms`. */
static void stop_all(struct runner *r, enum job_cause cause, int64_t most_ms)
{
    struct job *j, *next;

    for (j = TAILQ_FIRST(&r->held); j; j = next) {
        next = TAILQ_NEXT(j, link);
        if (cause == JOB_RETURNED && r->y)
            give_back(r, j);
        else
            job_stop(j, cause, NULL, 0);
    }
    for (j = TAILQ_FIRST(&r->running); j; j = next) {
        int64_t grace_ms = j->grace_ms >= 0 ? j->grace_ms : most_ms;

        next = TAILQ_NEXT(j, link);
        job_stop(j, cause, NULL, grace_ms < most_ms ? grace_ms : most_ms);
    }
    pools_stop(&r->pools, cause, most_ms);
}

static void drop_connection(struct runner *r)
{
    struct request *q;
    yoke *y = r->y;

    ev_io_stop(r->host.loop, &r->connection);
    ev_timer_stop(r->host.loop, &r->again_at);
    r->y = NULL;
    yoke_abandon(y);
    while ((q = TAILQ_FIRST(&r->requests)))
        request_free(q);
    ev_timer_stop(r->host.loop, &r->repeat);
    reply_drop_reports(r);
    r->fetch_open = false;
    r->quit_sent = false;
}

/* The daemon cannot be reached any more: what runs is stopped before it may be
 * given to somebody else. */
static void runner_lost(struct runner *r, const char *why)
{
    /* To end them takes time, too, and on a busy machine some of it. */
    int64_t left = yoke_lease_left_ms(r->y) / 2;

    message_warn("the connection is lost, jobs are stopped: %s running=%zu",
                 why, r->nrunning);
    drop_connection(r);
    if (left > LOST_GRACE_MS)
        left = LOST_GRACE_MS;
    /* A daemon that started us may be started again at once, and start
     * another one like us. */
    if (r->options->fd >= 0 || left < 0)
        left = 0;
    stop_all(r, JOB_LOST, left);
    if (r->options->fd >= 0)
        r->exit_status = 1;
    r->retry_ms = RETRY_MIN_MS;
}

static void take_lease(struct runner *r)
{
    r->lease_ms = yoke_lease_ms(r->y);
    if (r->lease_ms < 100)
        r->lease_ms = 100;
}

static void connected(struct runner *r, yoke *y)
{
    r->y = y;
    take_lease(r);
    r->restoring = false;
    r->fd_changes = yoke_fd_changes(y);
    ev_io_set(&r->connection, yoke_fd(y), EV_READ);
    ev_io_start(r->host.loop, &r->connection);
    message_info("connected session=%s slots=%lld cgroups=%s",
                 yoke_session(y) ? yoke_session(y) : "-",
                 (long long)r->settings->slots,
                 r->host.cgroup.base >= 0 ? "yes" : "no");
}

/* 0, 1 to try again, or -1 when that would not help. */
static int try_connect(struct runner *r)
{
    struct yoke_options o = {
        .password_file = r->options->password_file,
        .name = r->settings->name,
        .connect_timeout_ms = CONNECT_MS,
        /* For ever, then: what runs bounds it by its lease. */
        .reconnect_ms = INT64_MAX,
        .fd = r->options->fd >= 0 ? r->options->fd : 0,
    };
    yoke *y = NULL;
    int status = yoke_open(r->options->address, &o, &y);

    if (status == 0) {
        connected(r, y);
        r->retry_ms = RETRY_MIN_MS;
        r->unreached = 0;
        return 0;
    }
    /* Once is enough for a daemon that is not there yet. */
    message_write(r->unreached++ ? MESSAGE_DEBUG : MESSAGE_WARN, "%s",
                  y ? yoke_error_text(y) : yoke_status_name(status));
    yoke_close(y);
    return r->options->fd >= 0 || status == YOKE_ERR_NOAUTH ||
                   status == YOKE_ERR_WRONGPASS || status == YOKE_ERR_ARGUMENT
               ? -1
               : 1;
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;

    (void)events;
    switch (try_connect(r)) {
    case 0:
        return;
    case 1:
        r->retry_ms *= 2;
        if (r->retry_ms > RETRY_MAX_MS)
            r->retry_ms = RETRY_MAX_MS;
        return; /* set up again by the next turn */
    default:
        r->exit_status = 1;
        ev_break(loop, EVBREAK_ALL);
    }
}

/* libyoke restores a connection that broke, and its session. What runs goes on
 * meanwhile, for as long as the lease holds. */
static void watch_restoring(struct runner *r)
{
    bool restoring = !yoke_connected(r->y);

    ev_timer_stop(r->host.loop, &r->again_at);
    if (restoring) {
        ev_timer_set(&r->again_at, (double)yoke_timeout_ms(r->y) / 1000., 0.);
        ev_timer_start(r->host.loop, &r->again_at);
    }
    if (r->restoring == restoring)
        return;
    r->restoring = restoring;
    if (r->restoring)
        message_warn("the connection broke and is restored, jobs go on "
                     "running=%zu",
                     r->nrunning);
    else
        message_info("the connection is restored session=%s",
                     yoke_session(r->y));
    take_lease(r);
}

/* The descriptor may be another one under the same number. */
static void watch_connection(struct runner *r)
{
    short events = yoke_events(r->y);
    int want =
        (events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0);
    bool changed = r->fd_changes != yoke_fd_changes(r->y);

    if (changed || want != (r->connection.events & (EV_READ | EV_WRITE))) {
        ev_io_stop(r->host.loop, &r->connection);
        ev_io_set(&r->connection, r->connection.fd, want);
        ev_io_start(r->host.loop, &r->connection);
        r->fd_changes = yoke_fd_changes(r->y);
    }
    if (changed || r->restoring)
        watch_restoring(r);
}

/* Sends and receives; false when the connection is gone. */
static bool exchange(struct runner *r)
{
    int status = yoke_process(r->y);

    if (status < 0) {
        char why[256];

        snprintf(why, sizeof(why), "%s", yoke_error_text(r->y));
        if (r->quit_sent) {
            ev_break(r->host.loop, EVBREAK_ALL);
            drop_connection(r);
        } else {
            runner_lost(r, why);
        }
        return false;
    }
    watch_connection(r);
    return true;
}

static void on_connection(struct ev_loop *loop, ev_io *io, int events)
{
    struct runner *r = io->data;

    (void)loop;
    (void)events;
    if (r->y)
        exchange(r);
}

/* ------------------------------------------------------------------- turns */

static void take_leave(struct runner *r)
{
    struct yoke_bytes argv[] = {report_bytes("QUIT")};

    if (!r->y) {
        ev_break(r->host.loop, EVBREAK_ALL);
        return;
    }
    if (r->quit_sent)
        return;
    r->quit_sent = true;
    request_send(r, REQUEST_QUIT, 1, argv);
    ev_timer_set(&r->quit, QUIT_MS / 1000., 0.);
    ev_timer_start(r->host.loop, &r->quit);
}

/* Not before the last report is answered: it may have to be said again. */
static bool is_idle(const struct runner *r)
{
    const struct request *q;

    if (r->nheld + r->nrunning > 0 || !TAILQ_EMPTY(&r->ended) ||
        !TAILQ_EMPTY(&r->kept) || !pools_idle(&r->pools))
        return false;
    TAILQ_FOREACH(q, &r->requests, link)
    {
        if (q->kind == REQUEST_REPORT)
            return false;
    }
    return true;
}

/* Whether there is enough to do for a while. */
static bool has_enough(const struct runner *r)
{
    return pools_busy(&r->pools) &&
           (r->nheld >= (size_t)r->settings->slots ||
            (r->nrunning == 0 && pools_given(&r->pools) > 0));
}

/* Whether what was reported in this turn can wait for more. */
static bool may_gather(struct runner *r)
{
    if (!r->y || r->urgent || r->stopping || TAILQ_EMPTY(&r->requests) ||
        !has_enough(r) || yoke_unsent(r->y) == 0) {
        ev_timer_stop(r->host.loop, &r->gather);
        return false;
    }
    if (!ev_is_active(&r->gather)) {
        ev_timer_set(&r->gather, GATHER_MS / 1000., 0.);
        ev_timer_start(r->host.loop, &r->gather);
    }
    return true;
}

/* Before a job that has come is started. While there is no connection what was
 * told last holds. */
void runner_tell_lease(struct runner *r)
{
    int64_t left_ms;

    if (r->nheld + r->nrunning == 0 && pools_idle(&r->pools)) {
        warden_lease(r->options->warden, WARDEN_NO_JOBS);
    } else if (r->y) {
        left_ms = yoke_lease_left_ms(r->y);
        if (left_ms >= 0)
            warden_lease(r->options->warden,
                         job_now_ms() + left_ms - r->lease_ms / FENCE_PART);
    }
}

/* While nothing is at stake the daemon is looked at as often as it is asked. */
static void watch_house(struct runner *r, bool idle)
{
    int64_t each_ms = r->lease_ms / (idle ? 6 : 10);
    double each =
        (double)(!idle && each_ms > HOUSE_MS ? HOUSE_MS : each_ms) / 1000.;

    if (idle && !r->y) {
        ev_timer_stop(r->host.loop, &r->house);
    } else if (!ev_is_active(&r->house) || r->house.repeat != each) {
        r->house.repeat = each;
        ev_timer_again(r->host.loop, &r->house);
    }
}

static void turn(struct runner *r)
{
    bool idle;

    r->answered = false;
    runner_tell_lease(r);
    start_held(r);
    report_ended(r);
    pools_give(&r->pools);
    resume_outputs(r);
    idle = is_idle(r);
    watch_house(r, idle);
    if (may_gather(r))
        return;
    if (idle && (r->stopping || (!r->y && r->options->fd >= 0))) {
        take_leave(r);
    } else if (r->y) {
        request_fetch(r);
    } else if (idle && !ev_is_active(&r->retry)) {
        ev_timer_set(&r->retry, (double)r->retry_ms / 1000., 0.);
        ev_timer_start(r->host.loop, &r->retry);
    }
}

/* Before the loop waits: everything that came up is done, and what is to be
 * sent goes out in one write. */
static void on_prepare(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct runner *r = prepare->data;
    bool more = true;

    (void)events;
    for (int i = 0; i < TURNS_MAX && more; i++) {
        turn(r);
        if (ev_is_active(&r->gather)) {
            more = false;
            break;
        }
        r->urgent = false;
        if (r->y && yoke_unsent(r->y) > 0 && !exchange(r))
            continue; /* what the loss leads to is the next turn's */
        more = r->answered || !TAILQ_EMPTY(&r->ended) ||
               (r->y && !r->fetch_open && !r->quit_sent &&
                !ev_is_active(&r->pause));
    }
    prepare_held(r);
    if (more)
        ev_idle_start(loop, &r->again);
    else
        ev_idle_stop(loop, &r->again);
}

static void on_again(struct ev_loop *loop, ev_idle *idle, int events)
{
    /* That it is active keeps the loop from waiting. */
    (void)loop;
    (void)idle;
    (void)events;
}

/* The lease may end while the daemon, or the way to it, is silent: libyoke
 * looks for another way first. Reports alone wait for it: while the lease holds
 * they are taken, and afterwards they do no harm; but nobody who is to stop
 * waits for longer. */
static void on_house(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;
    bool at_stake;
    int64_t left_ms;

    (void)loop;
    (void)events;
    sweep_reap(&r->host.sweep);
    if (!r->y || !exchange(r) || yoke_lease_ms(r->y) <= 0)
        return;
    at_stake = r->nheld + r->nrunning + pools_given(&r->pools) > 0;
    left_ms = yoke_lease_left_ms(r->y);
    if (at_stake ? left_ms < r->lease_ms / 3
                 : left_ms == 0 && r->stopping && !is_idle(r))
        runner_lost(r, "the daemon does not answer");
}

static void on_notify(struct ev_loop *loop, ev_io *io, int events)
{
    struct runner *r = io->data;
    struct job *j;

    (void)loop;
    (void)events;
    while ((j = cgroup_next_event(&r->host.cgroup)))
        job_check(j);
}

static void stop(struct runner *r, enum runner_stop stage)
{
    static const char *const names[] = {[RUNNER_DRAINS] = "draining",
                                        [RUNNER_STOPS] = "stopping",
                                        [RUNNER_KILLS] = "stopping at once"};
    bool now = stage == RUNNER_KILLS;

    message_info("%s running=%zu", names[stage],
                 r->nrunning + pools_given(&r->pools));
    r->stopping = stage;
    ev_timer_stop(r->host.loop, &r->drain);
    if (stage == RUNNER_DRAINS) {
        runner_give_back_held(r);
        pools_retire(&r->pools);
        ev_timer_set(&r->drain, (double)r->settings->drain_ms / 1000., 0.);
        ev_timer_start(r->host.loop, &r->drain);
        return;
    }
    if (now)
        reply_drop_reports(r);
    stop_all(r, JOB_RETURNED, now ? 0 : r->settings->stop_grace_ms);
    /* Nobody is there who could answer. */
    if (now && r->y && r->restoring)
        runner_lost(r, "there is no time to restore it");
    if (now && is_idle(r))
        ev_break(r->host.loop, EVBREAK_ALL);
}

static void on_drain(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    stop(timer->data, RUNNER_STOPS);
}

/* Only TERM, and only the first one, waits for what runs. */
static enum runner_stop next_stop(const struct runner *r, int number)
{
    if (r->stopping == RUNNER_SERVES && number == SIGTERM &&
        r->settings->drain_ms > 0)
        return RUNNER_DRAINS;
    return r->stopping < RUNNER_STOPS ? RUNNER_STOPS : RUNNER_KILLS;
}

static void on_warden(struct ev_loop *loop, ev_io *io, int events)
{
    struct runner *r = io->data;
    int number;

    (void)events;
    while ((number = warden_next(r->options->warden)) > 0) {
        if (number == SIGHUP) {
            runner_reload(r);
            continue;
        }
        message_info("asked to stop signal=%s", sigabbrev_np(number));
        stop(r, next_stop(r, number));
    }
    if (number == 0)
        return;
    /* Nobody would end our jobs now if we were killed, too. */
    ev_io_stop(loop, io);
    r->exit_status = 1;
    message_error("the process above the runner is gone, jobs are killed "
                  "running=%zu",
                  r->nrunning);
    stop(r, RUNNER_KILLS);
}

static void on_again_at(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;

    (void)loop;
    (void)events;
    if (r->y)
        exchange(r);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int events)
{
    /* The turn that follows does what was put off. */
    (void)loop;
    (void)timer;
    (void)events;
}

static void on_gather(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;

    (void)loop;
    (void)events;
    r->urgent = true;
}

static void on_quit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* ------------------------------------------------------------------- start */

static void watchers_init(struct runner *r)
{
    struct ev_loop *loop = r->host.loop;

    ev_init(&r->connection, on_connection);
    r->connection.data = r;
    ev_prepare_init(&r->prepare, on_prepare);
    r->prepare.data = r;
    ev_prepare_start(loop, &r->prepare);
    ev_idle_init(&r->again, on_again);
    ev_init(&r->house, on_house);
    r->house.data = r;
    ev_init(&r->hold, on_hold);
    r->hold.data = r;
    ev_init(&r->retry, on_retry);
    r->retry.data = r;
    ev_init(&r->again_at, on_again_at);
    r->again_at.data = r;
    ev_init(&r->pause, on_pause);
    ev_init(&r->repeat, reply_on_repeat);
    r->repeat.data = r;
    ev_init(&r->gather, on_gather);
    r->gather.data = r;
    ev_init(&r->drain, on_drain);
    r->drain.data = r;
    ev_init(&r->probe, reload_on_probe);
    r->probe.data = r;
    ev_init(&r->quit, on_quit);
    ev_io_init(&r->warden, on_warden, warden_listen(r->options->warden),
               EV_READ);
    r->warden.data = r;
    ev_io_start(loop, &r->warden);
    if (r->host.cgroup.notify >= 0) {
        ev_io_init(&r->notify, on_notify, r->host.cgroup.notify, EV_READ);
        r->notify.data = r;
        ev_io_start(loop, &r->notify);
    }
}

static void runner_clear(struct runner *r)
{
    struct job_host *h = &r->host;

    if (r->y)
        drop_connection(r);
    pools_clear(&r->pools);
    host_clear(h);
    settings_release(h->settings);
    settings_release(r->next);
    free(r->use);
    free(r->fetch);
    buffer_clear(&r->fetch_text);
    if (h->loop)
        ev_loop_destroy(h->loop);
}

int runner_main(const struct runner_options *options, struct settings *settings)
{
    struct runner r = {.options = options,
                       .average_us = 10 * SHORT_JOB_US,
                       .retry_ms = RETRY_MIN_MS};
    static const struct pool_calls pool_calls = {
        .report = pool_report, .log = log_piece, .ask = pool_ask};

    TAILQ_INIT(&r.requests);
    TAILQ_INIT(&r.kept);
    TAILQ_INIT(&r.held);
    TAILQ_INIT(&r.running);
    TAILQ_INIT(&r.ended);
    r.host.arg = &r;
    r.host.piece = on_piece;
    r.host.ended = on_ended;
    r.host.room = on_room;
    r.host.server =
        options->address ? options->address : getenv(YOKE_ENV_SERVER);
    if (!r.host.server && options->fd < 0)
        r.host.server = YOKE_SOCKET;
    r.host.password_file = options->password_file;
    runner_adopt(&r, settings);
    /* Never the default loop, which takes the ends of all children, and
     * signals by descriptor: no handler may run in a child that shares our
     * memory. */
    r.host.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_SIGNALFD | EVFLAG_NOENV);
    if (host_init(&r.host, settings, getppid()) < 0 || !r.host.loop) {
        runner_clear(&r);
        return 1;
    }
    if (r.host.cgroup.base >= 0)
        warden_cgroup(options->warden, r.host.cgroup.base_file,
                      r.host.cgroup.home);
    host_probe_cgroups(&r.host);
    for (size_t i = 0; i < settings->nqueues; i++) {
        if (host_probe_queue(&r.host, &settings->queues[i]) < 0) {
            runner_clear(&r);
            return 2;
        }
    }
    watchers_init(&r);
    pools_start(&r.pools, &r.host, &pool_calls, &r);
    if (try_connect(&r) < 0)
        r.exit_status = 1;
    else
        ev_run(r.host.loop, 0);
    runner_clear(&r);
    return r.exit_status;
}
