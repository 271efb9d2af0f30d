/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * job - one attempt that this runner holds, from its arrival to the moment
 * when the last of its processes is gone.
 *
 *     HELD ---> RUNNING ---> STOPPING ---> KILLING ---> ENDED
 *       |          |  \          \            ^           ^
 *       |          |   `----------`-----------|-----------|
 *       `----------'   what the main process left is killed
 *
 * A job has ended when its main process has and nothing that it started is
 * left: by then its cgroup is empty, and the sweep finds no orphan of it. Its
 * last output and its status are collected after that, so that the next job
 * need not wait for them.
 *
 * A process of a pool (pool.h) is started, watched and killed in the same way:
 * it is one of these without a payload, whose token is no attempt's.
 *
 * Knows:     processes, cgroups, sweep, output of one job.
 * Never:     the connection, other jobs.
 */
#ifndef RUNNER_JOB_H
#define RUNNER_JOB_H

#include "runner/cgroup.h"
#include "runner/command.h"
#include "runner/output.h"
#include "runner/process.h"
#include "runner/settings.h"
#include "runner/sweep.h"

#include <sys/resource.h>
#include <yoke.h>

struct job;
struct job_launch;

enum job_state { JOB_HELD, JOB_RUNNING, JOB_STOPPING, JOB_KILLING, JOB_ENDED };

/* What all jobs of a runner share. */
struct job_host {
    struct ev_loop *loop;
    struct sweep sweep;
    struct cgroup cgroup;      /* base -1: none */
    struct settings *settings; /* of the jobs that come; the owner holds it */
    const char *server;        /* YOKE_SERVER of the jobs; NULL: none */
    const char *password_file; /* whose password some get; NULL: none */
    struct rlimit files;       /* RLIMIT_NOFILE of the jobs */
    int nothing;               /* /dev/null */
    bool outputs_paused;       /* no output is read: see job_watch_output */
    void *arg;                 /* of the callbacks */
    /* A piece of the log of a job. */
    void (*piece)(void *arg, struct job *job, int stream, const char *data,
                  size_t len);
    /* The job is in JOB_ENDED; `was` tells whether its process had been
     * started or tried (JOB_RUNNING and later) or not. Free it later, not in
     * this call. */
    void (*ended)(void *arg, struct job *job, enum job_state was);
    /* One or more have ended: a moment at which others may be started, and
     * nothing else is under way. NULL: nobody cares. */
    void (*room)(void *arg);
};

/* Why a job was stopped; the first reason stays, except that one which is
 * lost is not reported any more. */
enum job_cause {
    JOB_NOT_STOPPED,
    JOB_CANCELLED, /* the daemon asked */
    JOB_RETURNED,  /* the runner is stopping */
    JOB_TOO_BIG,   /* its result, which fills the memory */
    JOB_LOST,      /* the attempt is no longer ours */
};

struct job {
    TAILQ_ENTRY(job) link; /* the owner's */
    struct job_host *host;
    struct settings *settings;          /* it holds what it came under */
    const struct settings_queue *queue; /* of these settings */
    void *worker; /* of which pool it is a process; NULL: of none */
    enum job_state state;
    enum job_cause cause;
    int64_t held_ms;  /* when it arrived (job_now_ms) */
    int64_t began_ms; /* when its process was started */

    char token[YOKE_ID_SIZE];
    char *payload;
    size_t payload_len;
    char *reason; /* of the cancel */
    char group[YOKE_ID_SIZE];
    int64_t attempt, timeout_ms, deadline_ms, grace_ms;

    struct sweep_scope scope;
    struct cgroup_leaf *leaf;
    struct output output;
    bool has_output, reads_output;
    struct logbook_lines lines;
    int result_fd; /* of the file that it writes its result to, or -1 */
    int worker_fd; /* its end of the socket of a pool's process, or -1 */
    struct job_launch *launch; /* from job_prepare to the run of its program */
    struct process process;
    bool uncollected;
    ev_io exited; /* on the pidfd */
    ev_timer timer;
    int64_t kill_at_ms; /* end of the grace */
    size_t step;        /* of the signals that ask it to stop */
    int64_t step_at_ms; /* when the next one is due */
    int64_t halted_ms;  /* since when its process 1 is; 0: it is not */
    int64_t wait_ms;    /* until the next look at what is left */
    bool killed;        /* a kill was needed */
    bool warned;

    /* How it ended, once collected: class "" is success. */
    char class_name[32];
    char text[512];
};

/* Milliseconds of a clock that goes on while the machine sleeps. */
int64_t job_now_ms(void);

/* Copies what it needs, and holds host->settings, of which the queue is one. */
struct job *job_new(struct job_host *host, const struct yoke_work *work,
                    const struct settings_queue *queue);
/* A process of a pool: of `worker`, known by `token`. Takes the descriptor,
 * which becomes its 3. */
struct job *job_new_worker(struct job_host *host,
                           const struct settings_queue *queue,
                           const char *token, void *worker, int fd);
/* Only before the start, or after the end and job_collect. */
void job_free(struct job *j);

/* Make ready all that its start needs, so that it is a short one. A failure
 * shows when it is started. */
void job_prepare(struct job *j);
/* Start its process. A failure ends the job with class `spawn`, now or when
 * its process has told. */
void job_start(struct job *j);
/* Take the last output and the status of a job that has ended; may be called
 * for any that has, also from host->ended(). */
void job_collect(struct job *j);
/* The first of the queue's stop-signals now (with private-pids when its process
 * 1 has been halted), the others at their times, and
 * kill what is left after grace_ms (0: at once) or when the last one's time is
 * over. A job that is only held ends at once. Asking again can only make the
 * end come earlier. reason may be NULL. */
void job_stop(struct job *j, enum job_cause cause, const char *reason,
              int64_t grace_ms);
/* Forget one that may still run: its processes are killed, and are nobody's
 * (sweep_strangers). It is freed. */
void job_abandon(struct job *j);
/* host->outputs_paused has changed. */
void job_watch_output(struct job *j);
/* Look now whether it has ended: its cgroup has changed. */
void job_check(struct job *j);

#endif
