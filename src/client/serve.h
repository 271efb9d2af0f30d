/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve - a worker as its I/O thread sees it.
 *
 * serve.c has the object, the connection and the loop; report.c what is asked
 * of the daemon over it: jobs, the ends of attempts, what handlers want to
 * know.
 *
 * Threads:   all of this is the I/O thread's, but for `stops` and what is set
 *            before yoke_worker_run.
 */
#ifndef YOKE_CLIENT_SERVE_H
#define YOKE_CLIENT_SERVE_H

#include "client/crew.h"

/* "/1000", a bound behind the name of a queue in a FETCH, and a NUL. */
#define SERVE_BOUND_SIZE 6

#pragma GCC visibility push(hidden)

enum serve_ending {
    SERVE_ON,
    SERVE_DRAIN, /* nothing new starts */
    SERVE_CUT,   /* and what runs is asked to stop */
};

struct yoke_worker {
    /* set once; the strings are owned */
    char *address, *password, *name;
    int64_t connect_timeout_ms;
    bool has_fd;
    bool pooled; /* it is a pool's: who has it closes it to end us */
    size_t nthreads;
    void (*stuck)(struct yoke_task *t, void *arg);
    void (*note)(const char *text, void *arg);
    void *arg;
    struct served *queues;
    size_t nqueues;
    struct yoke_bytes *fetch; /* words, room for all queues */

    int wake_fd;
    _Atomic int stops; /* calls of yoke_worker_stop */
    bool ran;
    char text[YK_TEXT_MAX];

    struct crew crew;
    enum serve_ending ending;
    int status; /* what yoke_worker_run will return */

    int fd;  /* to take over; -1: there is none (any more) */
    yoke *y; /* NULL: not connected */
    bool restoring;
    int64_t retry_ms, retry_at_ms; /* the next attempt to connect */

    struct task_list tasks;    /* held: ready, or running */
    struct task_list reported; /* their reports are not yet answered */
    struct task_list kept;     /* their reports are to be repeated */
    int64_t repeat_at_ms;
    size_t ntasks, nready; /* of tasks; as of the last look */

    bool fetch_open;        /* the last thing sent, and not answered */
    size_t nfetches;        /* that are under way */
    size_t reserved;        /* the jobs that one of them asks for */
    int64_t pause_until_ms; /* no FETCH before */
    int64_t average_us;     /* that a handler takes */
    bool answered;          /* something came in this turn */
};

/* Says so to the program. */
void yk_serve_note(struct yoke_worker *w, const char *fmt, ...)
    ATTR_PRINTF(2, 3);
/* The worker ends with this status as soon as nothing runs. */
void yk_serve_fail(struct yoke_worker *w, int status, const char *text);

/* ----------------------------------------------------------------- report */

/* Asks for jobs if there is room, else for cancels, unless it is under way. */
void yk_fetch_more(struct yoke_worker *w);
/* The task leaves `tasks`, and how it ended is told, or dropped if it is lost.
 */
void yk_report(struct yoke_worker *w, struct yoke_task *t);
/* Tells it; it is `reported` then, or `kept`. */
void yk_report_send(struct yoke_worker *w, struct yoke_task *t);
/* What no hand has is given back; if it was held for so long at least. */
void yk_report_unstarted(struct yoke_worker *w, int64_t held_ms);
/* Says again what was to be repeated. */
void yk_report_kept(struct yoke_worker *w);
/* Asks for a handler. */
void yk_report_call(struct yoke_worker *w, struct call *call);
/* A line in the job's log. */
void yk_report_stuck(struct yoke_worker *w, const struct yoke_task *t);
/* Ends what waits for jobs. */
void yk_fetch_end(struct yoke_worker *w);

#pragma GCC visibility pop

#endif
