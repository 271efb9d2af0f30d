/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool - long-lived processes that serve the jobs of a queue, one after the
 * other, so that a job costs no start of a process.
 *
 * Each process is started as a job's is (job.h), with a socket as descriptor 3
 * over which it speaks the worker protocol with us (peer.h). It is given jobs
 * that the runner has fetched; its reports go out over the runner's connection.
 *
 *     GONE --> STARTING --> SERVING --> LEAVING --> KILLED --> GONE
 *                  |            |          |           ^         ^
 *                  `------------`----------`-----------|---------|
 *
 * STARTING until its first FETCH; LEAVING once it was told to end, or has
 * closed its end of the socket. One that ends before it has served a job is
 * started again after a pause, which grows.
 *
 * A job has ended when its process has reported it and nothing that was started
 * since the first FETCH of the process is left: what is, is killed, and the
 * report waits for that. While a process that has several jobs reports one, and
 * has children, they may be another's: then it gets no more until it has
 * reported all, and is looked at again.
 *
 * What happens to the jobs of a process that ends: the one that it was killed
 * for (a cancel, a broken promise) fails for that, and the others are given
 * back; when it ends by itself all that it has fail as it did.
 *
 * Jobs are fetched ahead as long as they are short, and given out as they are
 * asked for; one that would wait too long is given back.
 *
 * Knows:     processes by job.h, the protocol by peer.h, the settings.
 * Never:     the connection to the daemon: see pool_calls.
 */
#ifndef RUNNER_POOL_H
#define RUNNER_POOL_H

#include "runner/job.h"
#include "runner/peer.h"
#include "runner/proc.h"
#include "runner/report.h"

enum pool_state {
    POOL_GONE,
    POOL_STARTING,
    POOL_SERVING,
    POOL_LEAVING,
    POOL_KILLED
};

/* An attempt. */
struct pool_job {
    TAILQ_ENTRY(pool_job) link;
    struct peer_job about; /* its texts lie behind it */
    int64_t came_ms;       /* about.remaining_ms counts from then */
    enum job_cause cause;
    char *reason;       /* of the cancel */
    int64_t kill_at_ms; /* the end of its grace; INT64_MAX: none */
    bool told;          /* of the cancel */
    char token[YOKE_ID_SIZE];
};
TAILQ_HEAD(pool_job_list, pool_job);

struct pool;

/* The place of one process. */
struct pool_worker {
    struct pool *pool;
    enum pool_state state;
    struct job *process; /* NULL: GONE */
    unsigned long serial;
    struct peer peer;
    struct pool_job_list held; /* in the order in which they were given */
    size_t nheld;
    /* Of jobs that are done, but for what they have left. */
    struct report_list kept;
    int children, tasks, memory; /* its files in /proc */
    struct proc_list spared;     /* who was there at its first FETCH */
    unsigned long looked;        /* the read of the socket last looked after */
    bool clean;                  /* what was seen then */
    int64_t served;              /* reports */
    bool asked;                  /* to end */
    int64_t since_ns;            /* when its present job began */
    int64_t weighed_ms;          /* when its memory was looked at */
    int64_t kill_at_ms;          /* when LEAVING ends; INT64_MAX: never */
    int64_t wait_ms;             /* until the next look */
    int64_t pause_ms;            /* before the next start */
    int64_t silent_at_ms; /* when it is told of that it has not asked for jobs;
                           * INT64_MAX: it has been, or has asked */
    ev_timer timer;
    char wrong[256]; /* what it is killed for; "": for a job's sake */
};

/* What a pool asks of the runner. */
struct pool_calls {
    void (*report)(void *arg, struct report *p); /* takes it */
    void (*log)(void *arg, const char *token, int stream, const char *data,
                size_t len);
    /* A request that the daemon answers: by pools_answer(). False: there is no
     * connection. */
    bool (*ask)(void *arg, unsigned long serial, size_t argc,
                const struct str *argv);
};

/* The processes and jobs of one queue. */
struct pool {
    struct pools *all;
    struct settings *settings; /* it holds those that it was started by */
    const struct settings_queue *queue; /* of these settings */
    bool retired; /* takes no jobs; its processes end with those they have */
    struct pool_worker *workers; /* queue->pool */
    size_t size;
    struct pool_job_list ready; /* fetched, and not given to a process */
    size_t nready;
    size_t ngiven;
    int64_t average_ns; /* of the jobs' times */
    bool failing;       /* its processes end before they serve */
    bool silent;        /* its processes do not ask for jobs: told of */
    ev_timer hold;      /* gives back what waits too long */
};

struct pools {
    struct job_host *host;
    const struct pool_calls *calls;
    void *arg;
    bool stopping;
    struct pool **items;
    size_t count;
    unsigned long last; /* serial */
};

/* One for each queue that has a pool, and their processes are started. */
void pools_start(struct pools *p, struct job_host *host,
                 const struct pool_calls *calls, void *arg);
/* Those that there are take no more jobs, and go when they have none: what they
 * have not begun is given back. */
void pools_retire(struct pools *p);
/* Likewise, and the queues of host->settings have others from now on. */
void pools_renew(struct pools *p);
/* Kills those that are left, without waiting; also good for what is zeroed. */
void pools_clear(struct pools *p);

/* The pool of a queue, which has not retired, or NULL. */
struct pool *pools_find(struct pools *p, const struct settings_queue *queue);
/* How many jobs more may be fetched for it. */
size_t pool_room(const struct pool *pool);
/* A new job; it is given out by pools_give(), after all that came with it. */
void pool_take(struct pool *pool, const struct yoke_work *work);
void pools_give(struct pools *p);

/* The daemon wants it to stop. False: none has it. */
bool pools_cancel(struct pools *p, const char *token, const char *reason,
                  int64_t grace_ms);
/* The attempt is no longer ours. */
void pools_lose(struct pools *p, const char *token);
/* Stops all jobs for one cause, each with its grace, at most most_ms. With
 * JOB_RETURNED no more are taken, and the processes end. */
void pools_stop(struct pools *p, enum job_cause cause, int64_t most_ms);
/* No jobs, nor a process that is being killed with what they have left; and no
 * processes, of those that stop or have retired. */
bool pools_idle(const struct pools *p);
/* Whether the processes have enough to do while reports wait for each other. */
bool pools_busy(const struct pools *p);
/* Jobs that processes have. */
size_t pools_given(const struct pools *p);
/* host->outputs_paused has changed. */
void pools_watch_output(struct pools *p);

/* A process has printed something. */
void pool_printed(struct job *process, int stream, const char *data,
                  size_t len);
/* It has ended, and was collected; it is freed by the caller. */
void pool_process_ended(struct job *process);
/* What was asked was answered; as peer_reply(). */
void pools_answer(struct pools *p, unsigned long serial,
                  const struct yoke_value *reply, const char *code,
                  const char *text);

#endif
