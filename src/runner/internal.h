/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internal - the runner as its files see it: runner.c (jobs, connection, turns
 * of the loop), request.c (what is sent to the daemon), reply.c (what it
 * answers) and reload.c (other settings while it runs).
 */
#ifndef RUNNER_INTERNAL_H
#define RUNNER_INTERNAL_H

#include "runner/job.h"
#include "runner/pool.h"
#include "runner/report.h"
#include "runner/runner.h"

#include <ev.h>
#include <string.h>
#include <sys/queue.h>
#include <yoke.h>

/* A job is short when it takes less than this: see request_fetch. */
#define SHORT_JOB_US 20000

TAILQ_HEAD(job_list, job);
TAILQ_HEAD(request_list, request);

/* How far it is with its end: each signal goes a step further. */
enum runner_stop {
    RUNNER_SERVES,
    RUNNER_DRAINS, /* takes no jobs, and lets those that run go on */
    RUNNER_STOPS,  /* they have been asked to stop, with their grace */
    RUNNER_KILLS
};

enum request_kind {
    REQUEST_FETCH,
    REQUEST_LOG,
    REQUEST_REPORT,
    REQUEST_ASK,
    REQUEST_QUIT
};

/* What was sent and is not answered yet. */
struct request {
    TAILQ_ENTRY(request) link;
    struct runner *runner;
    enum request_kind kind;
    size_t count;             /* FETCH: of jobs asked for, ... */
    size_t slots;             /* ... of them for slots, at most, ... */
    size_t *rooms;            /* ... and of each queue; NULL: of none */
    unsigned long serial;     /* ASK: who is told the answer */
    struct report *report;    /* REPORT */
    char token[YOKE_ID_SIZE]; /* LOG, REPORT */
};

/* A queue of the settings. Its pool, if it has one, counts its own jobs. */
struct queue_use {
    size_t held;
    size_t running;  /* whatever settings they came under */
    size_t reserved; /* that unanswered FETCHes have asked for */
    size_t room;     /* that one more FETCH may ask for */
};

struct runner {
    const struct runner_options *options;
    const struct settings *settings; /* those of the host */
    struct job_host host;
    struct pools pools;
    int exit_status;

    /* Settings that are to follow when their queues have been tried; NULL:
     * there are none. */
    struct settings *next;
    size_t next_tried;
    char next_fixed[64]; /* which of them wait for the next start */

    /* The connection; y is NULL while there is none. */
    yoke *y;
    int64_t lease_ms;
    bool restoring; /* it broke, and libyoke seeks another one */
    unsigned fd_changes;
    struct request_list requests;
    size_t reserved; /* jobs that unanswered FETCHes have asked for, ... */
    size_t slots_reserved; /* ... and those that may be for slots */
    bool fetch_open;       /* the last request is a FETCH without an answer */
    bool fetch_stale;      /* it asks for what the settings no longer say */
    int64_t retry_ms;
    unsigned unreached;       /* attempts to connect that failed in a row */
    size_t turn;              /* the queue that is the first to be asked */
    struct yoke_bytes *fetch; /* room for the words of a FETCH, ... */
    struct buffer fetch_text; /* ... and what they are */

    /* Reports that the daemon had no room for on its disk: they are said again
     * until it has. */
    struct report_list kept;

    struct job_list held, running, ended;
    size_t nheld, nrunning;
    struct queue_use *use; /* of each queue of the settings */
    int64_t average_us;    /* of the jobs' times */
    enum runner_stop stopping;
    bool quit_sent;
    bool answered; /* something was, since the last turn */
    bool urgent;   /* what waits to be sent goes out with this turn */

    ev_io connection;
    ev_io notify; /* cgroups that changed */
    ev_prepare prepare;
    ev_idle again;     /* there is more to do at once */
    ev_timer house;    /* leases and zombies */
    ev_timer hold;     /* gives back what waits too long */
    ev_timer retry;    /* connects again */
    ev_timer again_at; /* libyoke wants to be called */
    ev_timer pause;    /* no FETCH while it runs */
    ev_timer repeat;   /* says again what was kept */
    ev_timer gather;   /* reports wait until it ends */
    ev_timer drain;    /* what runs is stopped */
    ev_timer probe;    /* tries the next queue of `next` */
    ev_timer quit;     /* does not wait for ever for the leave */
    ev_io warden;      /* what we are asked to do, or that it is gone */
};

/* request.c: what is sent to the daemon. Errors of the connection are met by
 * the next yoke_process; what is sent before that is lost with it. */
struct request *request_send(struct runner *r, enum request_kind kind,
                             size_t argc, const struct yoke_bytes *argv);
void request_free(struct request *q);
void request_report(struct runner *r, size_t argc,
                    const struct yoke_bytes *argv, bool last_resort);
/* Says what was kept, which is out of the list. */
void request_repeat(struct runner *r, struct report *p);
void request_done(struct runner *r, const char *token,
                  struct yoke_bytes result);
void request_fail(struct runner *r, const char *token, const char *class_name,
                  const char *text, struct yoke_bytes detail, bool last_resort);
void request_release(struct runner *r, const char *token);
void request_log(struct runner *r, const char *token, int stream,
                 const char *data, size_t len);
/* Asks for as many jobs as there is room for, unless that has been done. */
void request_fetch(struct runner *r);

/* reply.c: the answer to a request, which is freed. */
void runner_reply(yoke *y, int status, const struct yoke_value *reply,
                  void *arg);
/* What was kept is said again, or given up. */
void reply_on_repeat(struct ev_loop *loop, ev_timer *timer, int events);
void reply_drop_reports(struct runner *r);

/* runner.c: the warden is told until when the jobs are ours: before the first
 * one is started, or given to a process that asks for it. */
void runner_tell_lease(struct runner *r);
/* What waits for a slot is the daemon's again, if there is one. */
void runner_give_back_held(struct runner *r);

/* reload.c: jobs that come from now on come under these settings, which are
 * taken. What runs goes on under its own. */
void runner_adopt(struct runner *r, struct settings *s);
/* Loads the settings again and adopts them, if they are good and this machine
 * can give what they ask for, which is tried of one queue after the other while
 * jobs go on; else all stays as it was. */
void runner_reload(struct runner *r);
void reload_on_probe(struct ev_loop *loop, ev_timer *timer, int events);
/* The job's queue; NULL: it is not served any more. */
struct queue_use *runner_use_of(struct runner *r, const struct job *j);

#endif
