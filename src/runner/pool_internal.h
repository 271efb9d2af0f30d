/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool_internal - a pool as its two files see it: pool.c (the jobs of a queue,
 * and all its processes) and pool_worker.c (one process).
 */
#ifndef RUNNER_POOL_INTERNAL_H
#define RUNNER_POOL_INTERNAL_H

#include "runner/pool.h"

/* A job is short when it takes less than this: jobs that fit into it are given
 * at once where they are asked for, and fetched ahead. */
#define POOL_SHORT_NS 20000000

/* pool.c */
int64_t pool_now_ns(void);
void pool_job_free(struct pool_job *job);
/* How many jobs are given at once to who asks for that many. */
size_t pool_share(const struct pool *pool, size_t wanted);
void pool_release(struct pool *pool, struct pool_job *job);
/* A process has served a job in so much time. */
void pool_served(struct pool *pool, int64_t ns);

/* pool_worker.c */
void worker_init(struct pool_worker *w, struct pool *pool);
/* Its process, now. */
void worker_start(struct pool_worker *w);
void worker_clear(struct pool_worker *w);
/* Answer its FETCH, if there is one, with cancels that it was not told of, and
 * with up to `jobs` jobs. */
void worker_answer(struct pool_worker *w, size_t jobs);
/* May be given jobs: how many it waits for. */
size_t worker_waits_for(const struct pool_worker *w);
/* A job of it is to stop. */
void worker_stop_job(struct pool_worker *w, struct pool_job *job,
                     enum job_cause cause, const char *reason,
                     int64_t grace_ms);
/* It ends, once it has no job; what is left of it then is killed after
 * grace_ms. */
void worker_leave(struct pool_worker *w, int64_t grace_ms);

#endif
