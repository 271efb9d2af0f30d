/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/internal.h"
#include "runner/memory.h"
#include "runner/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After an error in answer to a FETCH. */
#define FETCH_PAUSE_MS 1000
/* Between attempts to say what the daemon's disk had no room for. */
#define REPEAT_MS 1000

static struct job *find_job(struct runner *r, const char *token)
{
    struct job *j;

    TAILQ_FOREACH(j, &r->running, link)
    {
        if (strcmp(j->token, token) == 0)
            return j;
    }
    TAILQ_FOREACH(j, &r->held, link)
    {
        if (strcmp(j->token, token) == 0)
            return j;
    }
    return NULL;
}

/* An answer to FETCH may have been under way for long, or we were stopped. Its
 * lease counts from when it was asked for: what is left of it may be too little
 * to do more than to end the job. */
static bool comes_late(const struct runner *r)
{
    return yoke_lease_ms(r->y) > 0 &&
           yoke_lease_left_ms(r->y) < r->lease_ms / 3;
}

static void take_job(struct runner *r, const struct yoke_work *work)
{
    const struct settings_queue *queue =
        settings_queue_find(r->settings, work->queue);
    bool late = comes_late(r);
    struct job *j;

    if (late)
        message_warn("a job came too late and is given back job=%s",
                     work->token);
    if (!queue || r->stopping || late) {
        request_release(r, work->token);
        return;
    }
    r->turn = (size_t)(queue - r->settings->queues) + 1;
    if (queue->pool > 0) {
        pool_take(pools_find(&r->pools, queue), work);
        return;
    }
    j = job_new(&r->host, work, queue);
    TAILQ_INSERT_TAIL(&r->held, j, link);
    r->nheld++;
    runner_use_of(r, j)->held++;
}

static void take_cancel(struct runner *r, const struct yoke_work *work)
{
    struct job *j = find_job(r, work->token);

    /* One that is not there has ended meanwhile: its report is on its way. */
    if (j)
        job_stop(j, JOB_CANCELLED, work->reason,
                 work->grace_ms >= 0 ? work->grace_ms : j->grace_ms);
    else
        pools_cancel(&r->pools, work->token, work->reason, work->grace_ms);
}

static void take_work(struct runner *r, const struct yoke_value *reply)
{
    struct yoke_work_list *list;

    if (yoke_work_parse(reply, &list) < 0) {
        message_error("an answer to FETCH cannot be read");
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].notice == YOKE_NOTICE_JOB)
            take_job(r, &list->items[i]);
        else
            take_cancel(r, &list->items[i]);
    }
    yoke_work_free(list);
    runner_tell_lease(r);
}

/* What was done is not to be done again because there is no room to say so. */
static void keep_report(struct runner *r, struct request *q)
{
    if (TAILQ_EMPTY(&r->kept))
        message_warn("a report waits for room on the daemon's disk job=%s",
                     q->token);
    TAILQ_INSERT_TAIL(&r->kept, q->report, link);
    q->report = NULL;
    if (!ev_is_active(&r->repeat)) {
        ev_timer_set(&r->repeat, REPEAT_MS / 1000., 0.);
        ev_timer_start(r->host.loop, &r->repeat);
    }
}

void reply_drop_reports(struct runner *r)
{
    struct report *p;

    while ((p = TAILQ_FIRST(&r->kept))) {
        TAILQ_REMOVE(&r->kept, p, link);
        message_warn("a report was given up job=%s", p->argv[1].data);
        free(p);
    }
}

void reply_on_repeat(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct runner *r = timer->data;
    struct report_list list = TAILQ_HEAD_INITIALIZER(list);
    struct report *p;

    (void)loop;
    (void)events;
    TAILQ_CONCAT(&list, &r->kept, link);
    while ((p = TAILQ_FIRST(&list))) {
        TAILQ_REMOVE(&list, p, link);
        request_repeat(r, p);
    }
}

/* The daemon refused a report. */
static void report_refused(struct runner *r, struct request *q, int status)
{
    char text[256];

    snprintf(text, sizeof(text), "%s", yoke_error_text(r->y));
    if (status == YOKE_ERR_DISKFULL) {
        keep_report(r, q);
    } else if (status == YOKE_ERR_STALE || status == YOKE_ERR_NOJOB) {
        message_info("the attempt is no longer ours job=%s", q->token);
    } else if (q->report->last_resort) {
        message_error("a report was refused job=%s error=\"%s\"", q->token,
                      text);
    } else if (status == YOKE_ERR_TOOBIG) {
        char note[] = "yoke-runner: the result was too big and is dropped\n";
        struct yoke_bytes argv[] = {report_bytes("DONE"),
                                    report_bytes(q->token)};

        request_log(r, q->token, 2, note, sizeof(note) - 1);
        request_report(r, 2, argv, true);
    } else {
        request_fail(r, q->token, "lost", text, (struct yoke_bytes){0}, true);
    }
}

/* The end of the handle: what it means for all is seen by yoke_process's
 * caller. So is a request that the connection took with it. */
static bool is_connection_error(int status)
{
    return status > YOKE_ERR_GENERIC || status == YOKE_ERR_NOSESSION ||
           status == YOKE_ERR_NOAUTH || status == YOKE_ERR_WRONGPASS;
}

void runner_reply(yoke *y, int status, const struct yoke_value *reply,
                  void *arg)
{
    struct request *q = arg;
    struct runner *r = q->runner;
    struct request copy = *q;
    struct job *j;

    q->report = NULL; /* it is in the copy */
    request_free(q);
    r->answered = true;
    if (y != r->y || (status < 0 && is_connection_error(status))) {
        free(copy.report);
        if (copy.kind == REQUEST_ASK)
            pools_answer(&r->pools, copy.serial, NULL, "ERR",
                         "the connection to the daemon broke");
        return;
    }
    switch (copy.kind) {
    case REQUEST_FETCH:
        if (status == 0) {
            take_work(r, reply);
        } else {
            message_warn("FETCH was refused error=\"%s\"", yoke_error_text(y));
            ev_timer_set(&r->pause, FETCH_PAUSE_MS / 1000., 0.);
            ev_timer_start(r->host.loop, &r->pause);
        }
        break;
    case REQUEST_LOG:
        /* Full logs are the daemon's to count; an attempt that is not ours is
         * to be stopped. */
        j = status == YOKE_ERR_STALE ? find_job(r, copy.token) : NULL;
        if (j)
            job_stop(j, JOB_LOST, NULL, 0);
        else if (status == YOKE_ERR_STALE)
            pools_lose(&r->pools, copy.token);
        break;
    case REQUEST_ASK:
        pools_answer(&r->pools, copy.serial, reply, yoke_status_name(status),
                     status < 0 ? yoke_error_text(y) : "");
        break;
    case REQUEST_REPORT:
        if (status < 0)
            report_refused(r, &copy, status);
        break;
    case REQUEST_QUIT:
        ev_break(r->host.loop, EVBREAK_ALL);
        break;
    }
    free(copy.report);
}
