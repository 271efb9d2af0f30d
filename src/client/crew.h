/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew - the threads of a worker, and what goes to and from them.
 *
 *     serve.c            crew.c              task.c
 *     the I/O thread  ──ready──>  a hand  ──>  handler
 *                     <──done───          <──  returns
 *                     <──calls──          <──  yoke_task_shield ...
 *                     ──answers, cancels──>
 *
 * A task belongs to the I/O thread, but for the time between yk_crew_give and
 * yk_crew_take: then to the crew, and while its handler runs what the handler
 * writes is the hand's. Both sides meet under one lock, which is held for a few
 * instructions; nobody calls out, waits for I/O, or allocates under it.
 *
 * Knows:     threads, tasks, who waits for what.
 * Never:     the protocol, the connection.
 * Threads:   all of them; see each function.
 * Errors:    0 or a negative enum yoke_status.
 */
#ifndef YOKE_CLIENT_CREW_H
#define YOKE_CLIENT_CREW_H

#include <pthread.h>
#include <sys/queue.h>

#include "client/client.h"

#define CREW_HANDS_MAX 1024

#pragma GCC visibility push(hidden)

/* Jobs of one queue, and who runs them. */
struct served {
    char *name;   /* owned */
    char *word;   /* owned: room for the name and SERVE_BOUND_SIZE more */
    size_t slots; /* 0: no bound but that of the threads */
    size_t taken; /* fetched and not ended; the I/O thread's */
    yoke_handler_fn *fn;
    void *arg;
};

/* How an attempt ends; what the handler said last counts. */
enum task_end {
    TASK_RETURNED, /* by what the handler returns */
    TASK_FAILED,
    TASK_RELEASED,
};

struct yoke_task {
    /* from the beginning */
    const struct yoke_work *work; /* in the batch */
    struct batch *batch;
    struct served *served;

    TAILQ_ENTRY(yoke_task) all;  /* the I/O thread's lists */
    TAILQ_ENTRY(yoke_task) turn; /* ready or done; under the lock */
    struct hand *hand;           /* whose it is; under the lock */

    /* Written once, under the lock, before the flag says so. */
    const char *reason; /* owned unless it is one of the words of crew.c */
    int64_t stop_by_ms; /* then the grace is over */
    _Atomic bool cancelled;
    _Atomic bool lost;                 /* the attempt is not ours any more */
    _Atomic int64_t shielded_until_ms; /* 0: it is not */

    /* the hand's, until it is done */
    int64_t told_ms, remaining_ms; /* what is left of its time, and when */
    int64_t began_us, ended_us;
    enum task_end end;
    int returned;
    /* owned; data is NULL: there is none */
    struct yoke_bytes result, class_name, message, detail;

    /* the I/O thread's */
    int64_t held_ms; /* since then */
    bool told_stuck;
    bool worker_stops; /* it is the worker that has cancelled it */
    bool last_resort;  /* what cannot be refused has been reported */
};
TAILQ_HEAD(task_list, yoke_task);

/* What came in one reply to FETCH: tasks, and what they point into. */
struct batch {
    struct yoke_worker *worker;
    struct yoke_work_list *list; /* owned */
    size_t left;                 /* tasks that are not yet freed */
    struct yoke_task tasks[];
};

/* What a handler asks of the daemon and waits for; lives on its stack. */
struct call {
    TAILQ_ENTRY(call) link;
    struct hand *hand;
    size_t argc;
    const struct yoke_bytes *argv; /* lent while it waits */
    /* the answer */
    bool over;
    int status;
    int64_t number;
    char text[256];
};
TAILQ_HEAD(call_list, call);

/* A thread. */
struct hand {
    struct crew *crew;
    pthread_t thread;
    pthread_cond_t news;    /* a cancel, or an answer */
    struct yoke_task *task; /* under the lock */
    int cancel_fd;          /* -1: never asked for; under the lock */
    yoke *y;                /* its own handle, or NULL; under the lock */
    bool uses_y;            /* in this task; under the lock */
    char text[256];         /* of the last error */
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct task_list ready, done;
    struct call_list calls;
    size_t nready;
    bool closing;
    bool resting; /* the I/O thread looks at reports by itself, soon */
    bool woken;   /* it has been told, and not yet looked */
    int wake_fd;  /* lent: it waits for it */
    struct hand *hands;
    size_t nhands;
    struct yoke_worker *worker;
};

/* ---------------------------------------------------- of the I/O thread */

/* Starts n threads, which block all signals. On failure there are none. */
int yk_crew_start(struct crew *c, size_t n, int wake_fd, struct yoke_worker *w);
/* Ends them, when nothing is ready or runs, and waits for that. */
void yk_crew_stop(struct crew *c);
/* The task goes to the next hand that is idle. */
void yk_crew_give(struct crew *c, struct yoke_task *t);
/* Takes it back if no hand has it yet. */
bool yk_crew_take_back(struct crew *c, struct yoke_task *t);
/* What the hands have left, put at the ends of both lists; returns how many
 * tasks no hand has yet. */
size_t yk_crew_collect(struct crew *c, struct task_list *done,
                       struct call_list *calls);
/* Before it waits: false when there is something to collect at once. *gather:
 * there is work ready for all hands, so reports are left to gather, and do not
 * end the wait, which must be short. */
bool yk_crew_may_wait(struct crew *c, bool *gather);
/* Tells a task that it is to stop; the first reason stays. NULL: it is lost. */
void yk_crew_cancel(struct crew *c, struct yoke_task *t, const char *reason,
                    int64_t grace_ms);
/* The hand goes on with this; the call is gone. */
void yk_crew_answer(struct crew *c, struct call *call, int status,
                    int64_t number, const char *text);

/* ---------------------------------------------------------- of the hands */

/* Asks, and waits for the answer. */
void yk_crew_call(struct crew *c, struct call *call);
/* Sleeps, YOKE_NONE: for ever; true as soon as its task is cancelled. */
bool yk_crew_wait(struct hand *h, int64_t ms);
/* The descriptor that its task's cancel makes readable, or -errno. */
int yk_crew_cancel_fd(struct hand *h);
/* Puts another handle in the place of its own, for the rest of the task at
 * least; returns the one before. */
yoke *yk_crew_set_handle(struct hand *h, yoke *y);

/* ---------------------------------------------------------------- others */

int64_t yk_now_us(void); /* monotonic */
/* A handle for a thread, as the worker's options say. */
int yk_worker_open(const struct yoke_worker *w, yoke **out);
void yk_task_free(struct yoke_task *t);
/* Puts a copy in the place of what is there, which is freed; false: no memory,
 * and nothing has changed. */
bool yk_bytes_keep(struct yoke_bytes *to, struct yoke_bytes from);

#pragma GCC visibility pop

#endif
