/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke.h - libyoke, the client library of the yoke job queue.
 *
 * A `yoke` handle is one session, over one connection after the other when one
 * breaks (see "broken connections"). There is no global state:
 * any number of handles may exist, each used by one thread at a time. The
 * library never prints, exits, aborts for a request, or touches signals
 * (writes use MSG_NOSIGNAL).
 *
 * Every function that can fail returns 0 or a negative `enum yoke_status`;
 * yoke_error_text() has the words. Out-parameters are untouched on failure.
 * Durations are milliseconds, times Unix milliseconds; YOKE_NONE is "none" or
 * "for ever", YOKE_DEFAULT "as the daemon decides".
 *
 * Ownership: strings and bytes passed in belong to the caller and are copied;
 * what a function gives out belongs to the object it came from and lives until
 * that object is freed, unless said otherwise. All free functions take NULL.
 */
#ifndef YOKE_H
#define YOKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YOKE_NONE       INT64_C(-1)
#define YOKE_DEFAULT    INT64_MIN
#define YOKE_ID_SIZE    32 /* of a buffer for an id or token, NUL included */
#define YOKE_PORT       9653
#define YOKE_SOCKET     "/run/yoke/yoked.sock" /* the default address */
#define YOKE_ENV_SERVER "YOKE_SERVER" /* address, where none is given */
/* File of the password, where none is given. */
#define YOKE_ENV_PASSWORD_FILE "YOKE_PASSWORD_FILE"
#define YOKE_ENV_SCOPE         "YOKE_SCOPE" /* group or token, likewise */
#define YOKE_ENV_TOKEN         "YOKE_TOKEN" /* of the attempt, inside a job */

/* Bytes that may hold NUL. Where the library gives them out, a NUL follows. */
struct yoke_bytes {
    const char *data;
    size_t len;
};

enum yoke_status {
    YOKE_OK = 0,
    YOKE_ERR_ARGUMENT = -1,    /* the call is wrong; nothing was sent */
    YOKE_ERR_CONNECT = -2,     /* cannot connect */
    YOKE_ERR_IO = -3,          /* the connection broke; outcome unknown. The
                                * handle lives on unless it says so again */
    YOKE_ERR_PROTOCOL = -4,    /* the peer does not speak the protocol */
    YOKE_ERR_TIMEOUT = -5,     /* the wait is over, the thing goes on */
    YOKE_ERR_INTERRUPTED = -6, /* yoke_interrupt() was called */
    YOKE_ERR_NOMEM = -7,
    /* what the daemon answered; see doc/protocol.md */
    YOKE_ERR_GENERIC = -32,
    YOKE_ERR_NOAUTH = -33,
    YOKE_ERR_WRONGPASS = -34,
    YOKE_ERR_NOPROTO = -35,
    YOKE_ERR_LOADING = -36,
    YOKE_ERR_NOJOB = -37,
    YOKE_ERR_NOGROUP = -38,
    YOKE_ERR_NOQUEUE = -39,
    YOKE_ERR_NOSESSION = -40,
    YOKE_ERR_STALE = -41,
    YOKE_ERR_QUEUEFULL = -42,
    YOKE_ERR_CLOSED = -43,
    YOKE_ERR_CANCELLED = -44,
    YOKE_ERR_TOOBIG = -45,
    YOKE_ERR_LIMIT = -46,
    YOKE_ERR_OOM = -47,
    YOKE_ERR_DISKFULL = -48,
    YOKE_ERR_DRAINING = -49,
    YOKE_ERR_NOPERM = -50,
    YOKE_ERR_NOTREADY = -51,
    YOKE_ERR_EXPIRED = -52,
    YOKE_ERR_ENDED = -53,
    YOKE_ERR_NOLIMITER = -54,
};

/* A short name: "QUEUEFULL", "connect". Never NULL. */
const char *yoke_status_name(int status);
/* Version of the library, "0.1.0". */
const char *yoke_version(void);

/* ------------------------------------------------------------ connection */

typedef struct yoke yoke;

struct yoke_options {
    const char *password;       /* NULL: that of password_file */
    const char *name;           /* shown by CLIENT LIST; NULL: none */
    int64_t connect_timeout_ms; /* 0: 5000 */
    int64_t reconnect_ms;       /* 0: 8000; YOKE_NONE: never; see below */
    int fd;                     /* a connected socket to take over, used
                                 * instead of the address when > 0; it is
                                 * closed with the handle, also when
                                 * yoke_open fails; not reconnected */
    const char *password_file;  /* its first line is the password, and is read
                                 * again whenever it connects again; "": none;
                                 * NULL: without fd what the environment's
                                 * YOKE_PASSWORD_FILE names, if anything */
};

/*
 * Broken connections. When the connection breaks, the handle connects again to
 * the same address, with growing pauses that are partly up to chance, for at
 * most reconnect_ms; says HELLO; resumes its session; and sends again what had
 * no answer, in its order. The call that waits, waits on, for that time longer
 * than it would. The default is below the daemon's grace for sessions, so that
 * what the client owns lives on; while the daemon is away the grace does not
 * run.
 *
 *  - What reads or waits, CANCEL, RESCHEDULE, GROUP CLOSE, QUEUE SET, TOUCH,
 *    SHIELD, READY and the like are sent again.
 *  - SUBMIT and GROUP OPEN are numbered (ONCE, which the library adds) and done
 *    once; of those under way at once the first 1023. One that waited for room
 *    in its queue waits again at the end of the line.
 *  - The end of an attempt is said again, which is OK if it is known already;
 *    YOKE_ERR_STALE says that it was not this report that counted. Jobs that
 *    came in a reply of FETCH that was lost are given back.
 *  - LOG, RETRY, DEAD RETRY, PURGE, LIMITER DEL, SHUTDOWN, and what concerns
 *    the connection are never sent twice. If they may have been done they
 *    fail with YOKE_ERR_IO, and the handle lives on.
 *
 * The end of the handle, for all calls under way and to come, is
 *
 *    YOKE_ERR_IO         the time is up. A handle that holds jobs gives up when
 *                        two thirds of its lease are over: they are to be
 *                        stopped.
 *    YOKE_ERR_NOSESSION  the session could not be resumed: its groups are
 *                        cancelled, its jobs are given to others, and what had
 *                        no answer may have been done. A handle that had
 *                        nothing to lose goes on with a new session instead.
 *    another one         what the daemon said to HELLO: YOKE_ERR_WRONGPASS ...
 *
 * What is kept for sending again is bounded as for yoke_send.
 */

/*
 * Connect. `address` is "/path/to/socket", "unix:/path", "host:port", "host",
 * "[v6]:port", or NULL: the environment's YOKE_SERVER, else YOKE_SOCKET.
 * Says HELLO with the password and the name; the time-out is for all of it but
 * the look-up of a host's name.
 * On failure *out holds a handle that is good for yoke_error_text() and
 * yoke_close() alone; it is NULL only when memory is short.
 */
int yoke_open(const char *address, const struct yoke_options *options,
              yoke **out);
/*
 * The same for programs with a loop of their own ("asynchronous", below): does
 * not wait for the connection or for HELLO. yoke_process goes on with them,
 * when yoke_fd, yoke_events and yoke_timeout_ms say so; yoke_connected tells
 * when it is done, and yoke_session is "" until then. What is sent meanwhile
 * goes out, in its order, after HELLO. A call that waits, waits for that, too.
 *
 * There is one attempt, as with yoke_open, over all addresses of the host and
 * within the same time-out. When it fails that is the end of the handle:
 * yoke_process returns what yoke_open would have, and so do the requests. What
 * can be told at once is returned here. Only after that do connections that
 * break come back by themselves.
 *
 * A host's name is looked up before this returns, which may block for as long
 * as the resolver likes; a numeric address and a Unix socket do not.
 */
int yoke_open_begin(const char *address, const struct yoke_options *options,
                    yoke **out);
/* Says QUIT (leases are given back, owned groups are cancelled), waits up to a
 * second for the answer, closes, frees. Requests of yoke_send that are under
 * way are not called back. A handle whose connection broke, or is not there
 * yet, is only freed. */
void yoke_close(yoke *y);
/* Closes without a word and frees: the session goes into its grace, as after
 * a crash. */
void yoke_abandon(yoke *y);

/* What went wrong in the last call that failed on this handle; valid until the
 * next call. Never NULL. */
const char *yoke_error_text(const yoke *y);
/* The session's id, and its lease in ms. */
const char *yoke_session(const yoke *y);
int64_t yoke_lease_ms(const yoke *y);
/* What is left of it for sure, by the last request that was answered: who
 * holds jobs has stopped them by then. Time in which the machine sleeps counts.
 * YOKE_NONE: there is no lease. */
int64_t yoke_lease_left_ms(const yoke *y);
/* Is there a connection, as far as is known? Not while it is being opened or
 * sought again, and not after the end of the handle. */
bool yoke_connected(const yoke *y);

/*
 * May be called from a signal handler or another thread: the blocking call
 * that this handle is in, or its next one, returns YOKE_ERR_INTERRUPTED; the
 * handle stays usable. Blocking are yoke_submit (unless wait_ms is 0),
 * yoke_submit_many, yoke_queue_purge, yoke_dead_purge, yoke_command,
 * yoke_commandl, yoke_fetch, and what takes a wait_ms that is not 0. What has
 * been answered meanwhile is not lost: the call returns it, and the next one is
 * interrupted.
 *
 * A call that the daemon does not answer is given up a second after the
 * interrupt, or at once after another one; its outcome is unknown then. So it
 * goes with a submit that waits for room: until the daemon takes it, it reads
 * nothing else from this connection. Who wants to act at once (cancel its
 * group, say) needs another handle, or yoke_abandon.
 */
void yoke_interrupt(yoke *y);

/* ----------------------------------------------------------------- values */

/* Any reply as a tree; for requests that have no function of their own. */
enum yoke_kind { YOKE_NULL, YOKE_INT, YOKE_STR, YOKE_ARRAY, YOKE_MAP };

struct yoke_value {
    enum yoke_kind kind;
    int64_t i;                /* INT */
    struct yoke_bytes s;      /* STR (statuses, too) */
    size_t count;             /* ARRAY: items; MAP: pairs */
    struct yoke_value *items; /* ARRAY: count; MAP: 2 * count, keys at even
                               * places */
};

/* The value of a key of a MAP, or NULL. Takes the ARRAY of names and values,
 * too, that yoke_command gives for what doc/protocol.md calls a map. */
const struct yoke_value *yoke_value_get(const struct yoke_value *map,
                                        const char *key);
void yoke_value_free(struct yoke_value *v);

/* Send any request and wait for its reply. An error reply is a status. The
 * caller frees *out (out may be NULL). */
int yoke_command(yoke *y, size_t argc, const struct yoke_bytes *argv,
                 struct yoke_value **out);
/* The same with NUL-terminated arguments, the last one NULL. */
int yoke_commandl(yoke *y, struct yoke_value **out, const char *arg0, ...)
    __attribute__((sentinel));

/* ------------------------------------------------------------------- jobs */

struct yoke_submit {
    const char *queue; /* required */
    struct yoke_bytes payload;
    const char *group;  /* a group, "root", or the token of a running
                         * attempt: the group of its body; NULL: the
                         * environment's YOKE_SCOPE, else root */
    const char *name;   /* NULL: none */
    const char *key;    /* at most 128 bytes, unique in the queue: while
                         * a job of that key is known a submit gives its
                         * id, and changes nothing; NULL: none */
    const char *limits; /* permits that it holds while it runs, with
                         * commas between: "gpu:2,api"; NULL: none */
    const char *then;   /* queues that the result goes through, with
                         * commas between; NULL: none */
    /* YOKE_DEFAULT where not set; see SUBMIT in doc/protocol.md */
    int64_t priority, timeout_ms, deadline_ms, expires_ms, grace_ms;
    int64_t delay_ms, at_ms; /* one of them at most */
    int64_t retry, redeliver, keep_ms;
    int64_t backoff_base_ms, backoff_cap_ms; /* both or neither */
    int64_t factor_milli; /* of the back-off, in thousandths: 1500 */
    int64_t jitter;       /* percent */
    const char *retry_on; /* classes of errors, or globs of them, with
                           * commas between; NULL: the queue's */
    int64_t wait_ms;
};

/* All options to YOKE_DEFAULT, everything else to nothing. */
void yoke_submit_init(struct yoke_submit *s);
/* Waits while the queue is full, as wait_ms says. YOKE_ERR_QUEUEFULL: the wait
 * is over; YOKE_ERR_CLOSED, YOKE_ERR_CANCELLED: the queue or the group takes no
 * more; YOKE_ERR_NOLIMITER: yoke_limiter_set makes one. */
int yoke_submit(yoke *y, const struct yoke_submit *s, char id[YOKE_ID_SIZE]);
/* Many at once, pipelined: *done counts those accepted, from the first on;
 * stops at the first error, which it returns. Jobs after the refused one may
 * have been on their way already and be accepted, too. ids may be NULL; ids[i]
 * is "" for each job that was not accepted. Both are set on failure, too. */
int yoke_submit_many(yoke *y, const struct yoke_submit *s, size_t n,
                     char (*ids)[YOKE_ID_SIZE], size_t *done);

/* One error of one attempt. */
struct yoke_job_error {
    const char *class_name, *message, *detail; /* never NULL */
    int64_t attempt, time_ms;
};

enum yoke_outcome {
    YOKE_PENDING,   /* has not ended */
    YOKE_SUCCEEDED, /* "ok" */
    YOKE_FAILED,
    YOKE_CANCELLED,
};

/* How a job or group ended. */
struct yoke_outcome_info {
    const char *id;
    const char *name; /* "" if none */
    bool is_group;
    enum yoke_outcome outcome;
    struct yoke_bytes result; /* data is NULL unless a job ended ok */
    const char *reason;       /* of the cancel; NULL: none */
    const char *next; /* the job that the result became (then); NULL: none */
    int64_t attempts, submitted_ms, started_ms, ended_ms; /* YOKE_NONE */
    size_t nerrors;
    struct yoke_job_error *errors; /* oldest first */
    /* groups alone; "" and 0 for jobs */
    const char *parent;
    const char *state;
    int64_t members, queued, running, ok, failed, cancelled;
    struct yoke_value *raw; /* the whole reply */
};

void yoke_outcome_free(struct yoke_outcome_info *o);

/* Status as a MAP; see STATUS. The caller frees *out. */
int yoke_job_status(yoke *y, const char *id, struct yoke_value **out);
/* wait_ms 0 asks, YOKE_NONE waits for ever. YOKE_ERR_TIMEOUT: not ended yet.
 * The caller frees *out. */
int yoke_job_wait(yoke *y, const char *id, int64_t wait_ms,
                  struct yoke_outcome_info **out);
/* Waits until the job announces itself (yoke_ready), not for its end; *out is
 * a STR, what it said. YOKE_ERR_NOTREADY: it has ended. The caller frees
 * *out. */
int yoke_job_wait_ready(yoke *y, const char *id, int64_t wait_ms,
                        struct yoke_value **out);
/* Of a job or group. Returns when the cancel is recorded, not when it ended.
 * reason may be NULL; grace_ms may be YOKE_DEFAULT. */
int yoke_cancel(yoke *y, const char *id, const char *reason, int64_t grace_ms);
/* Makes a new job of one that has failed for good, in its queue and, while that
 * takes members, its group; gives the id of the new one. YOKE_ERR_GENERIC: it
 * has not failed, or is not on the list of the dead any more. Does not wait for
 * room: YOKE_ERR_QUEUEFULL. */
int yoke_job_retry(yoke *y, const char *id, char new_id[YOKE_ID_SIZE]);

/* YOKE_DEFAULT: stays as it is; YOKE_NONE: none. See RESCHEDULE. */
struct yoke_times {
    int64_t timeout_ms, deadline_ms;
    int64_t expires_ms, at_ms; /* jobs alone */
};

/* Nothing moves. */
void yoke_times_init(struct yoke_times *t);
/* Moves times of a job or group, which acts at once. YOKE_ERR_EXPIRED: its
 * time is up already; YOKE_ERR_ENDED: it has ended, or been started. */
int yoke_reschedule(yoke *y, const char *id, const struct yoke_times *t);

/* A piece of what a job printed. What it points to is in the page. */
struct yoke_log_chunk {
    int stream; /* 1, 2; 0: `lost` bytes were dropped here */
    int64_t lost;
    struct yoke_bytes data;
    int64_t time_ms;   /* when it came to the daemon; of stream 0: YOKE_NONE */
    const char *token; /* of the attempt; of stream 0: the id of the job */
};
struct yoke_log_page {
    int64_t cursor; /* for the next call; the first is 0 */
    bool over;      /* nothing more will come */
    size_t count;
    struct yoke_log_chunk *chunks;
    struct yoke_value *raw;
};
void yoke_log_page_free(struct yoke_log_page *p);
int yoke_job_logs(yoke *y, const char *id, int64_t cursor, int64_t wait_ms,
                  struct yoke_log_page **out);
/* Of all jobs in a group and below it, in the order in which it came; "root":
 * of all jobs. Of stream 0 at most so many bytes were dropped. A page without
 * chunks whose cursor is not the one that was asked with may be followed by
 * others at once. */
int yoke_group_logs(yoke *y, const char *id, int64_t cursor, int64_t wait_ms,
                    struct yoke_log_page **out);

/* A command line as a payload for a runner; see "Command payloads". dir may be
 * NULL; env is NULL or NULL-terminated "NAME=value"s; argv is NULL-terminated;
 * input.data may be NULL. The caller frees out->data with yoke_free. */
int yoke_command_payload(const char *dir, const char *const *env,
                         const char *const *argv, struct yoke_bytes input,
                         struct yoke_bytes *out);
void yoke_free(void *p);

/* ----------------------------------------------------------------- groups */

struct yoke_group_options {
    const char *parent; /* group, "root" or token; NULL: the environment's
                         * YOKE_SCOPE, else root */
    const char *name;   /* NULL: none */
    const char *key;    /* as of yoke_submit, unique under its parent */
    int64_t fail, succeed, width, timeout_ms, deadline_ms, keep_ms;
    bool detached;
};

void yoke_group_options_init(struct yoke_group_options *o);
int yoke_group_open(yoke *y, const struct yoke_group_options *o,
                    char id[YOKE_ID_SIZE]);
int yoke_group_close(yoke *y, const char *id);
/* With numbers that were not known when it was opened; YOKE_DEFAULT: as they
 * are. Changes nothing when it is closed already. */
int yoke_group_close_policy(yoke *y, const char *id, int64_t fail,
                            int64_t succeed);
/* As yoke_job_wait, for a group. */
int yoke_group_wait(yoke *y, const char *id, int64_t wait_ms,
                    struct yoke_outcome_info **out);

/* Some members; pass cursor on to get more. */
struct yoke_page {
    char cursor[YOKE_ID_SIZE];
    bool over;
    size_t count;
    struct yoke_outcome_info **members;
};
void yoke_page_free(struct yoke_page *p);
/* Members in the order in which they ended. cursor "0" begins. Waits up to
 * wait_ms for at least one; count 0: the daemon's default. */
int yoke_group_next(yoke *y, const char *id, const char *cursor,
                    int64_t wait_ms, int64_t count, struct yoke_page **out);
/* Members in the order of submission; only failed ones if errors_only. */
int yoke_group_results(yoke *y, const char *id, const char *cursor,
                       bool errors_only, int64_t count, struct yoke_page **out);

/* The errors under a group or job, shaped like the tree of groups. What
 * failed because something below it did has that below it, and no error of its
 * own for it. */
struct yoke_error_tree {
    char id[YOKE_ID_SIZE];
    char *name; /* "" if none */
    bool is_group;
    enum yoke_outcome outcome;
    const char *reason;            /* of a cancel; NULL: none */
    int64_t attempts;              /* of a job */
    int64_t started_ms, ended_ms;  /* YOKE_NONE; a group starts by opening */
    int64_t ok, failed, cancelled; /* members of a group */
    size_t nerrors;                /* the node's own */
    struct yoke_job_error *errors;
    size_t nchildren;
    struct yoke_error_tree **children;
};
/* Of a group or a job; see GROUP ERRORS. NULL in *out: no errors. The caller
 * frees it. Asks page by page; blocks no longer than the answers take. */
int yoke_group_errors(yoke *y, const char *id, struct yoke_error_tree **out);
/* Split by the class of the errors (globs with commas between, as in
 * RETRY-ON), as `except*` does: both halves keep the shape and drop what is
 * empty; either may be NULL. The tree passed in, which may be NULL, is left as
 * it is; the caller frees both halves. */
int yoke_error_tree_split(const struct yoke_error_tree *tree,
                          const char *classes, struct yoke_error_tree **match,
                          struct yoke_error_tree **rest);
void yoke_error_tree_free(struct yoke_error_tree *t);

/* ----------------------------------------------------------------- queues */

/* Bounds of a queue, and the defaults of its jobs; see QUEUE SET. */
struct yoke_queue_settings {
    /* YOKE_DEFAULT: stays as it is */
    int64_t max_jobs, max_bytes; /* that have not started; of their payloads */
    int64_t timeout_ms, expires_ms, wait_ms; /* YOKE_NONE: none, for ever */
    int64_t grace_ms, keep_ms, dead_keep_ms;
    int64_t retry, redeliver;
    int64_t backoff_base_ms, backoff_cap_ms; /* both or neither */
    int64_t factor_milli;                    /* in thousandths */
    int64_t jitter;                          /* percent */
    int64_t priority;
    int64_t fair;         /* 1: groups take turns within a priority; 0 */
    const char *retry_on; /* as of yoke_submit; "": all that may be tried
                           * again; NULL: stays as it is */
};

/* Nothing changes. */
void yoke_queue_settings_init(struct yoke_queue_settings *s);
/* Makes a queue, or changes it for what is submitted from now on. */
int yoke_queue_set(yoke *y, const char *queue,
                   const struct yoke_queue_settings *s);
/* *out is a MAP, see QUEUE INFO; the caller frees it. YOKE_ERR_NOQUEUE, here
 * and below: nobody has set or used a queue of that name. */
int yoke_queue_info(yoke *y, const char *queue, struct yoke_value **out);
/* *out is an ARRAY of names; the caller frees it. */
int yoke_queue_list(yoke *y, struct yoke_value **out);
/* A paused queue takes jobs and starts none. */
int yoke_queue_pause(yoke *y, const char *queue);
int yoke_queue_resume(yoke *y, const char *queue);
/* Takes nothing more (YOKE_ERR_CLOSED, also for those that wait for room); what
 * is in it is worked off, or, if `now`, cancelled unless it runs. Returns when
 * that is recorded; yoke_queue_join waits for it. */
int yoke_queue_close(yoke *y, const char *queue, bool now);
/* Undoes both. */
int yoke_queue_open(yoke *y, const char *queue);
/* Waits until nothing that was accepted is unfinished; wait_ms 0 asks,
 * YOKE_NONE waits for ever. YOKE_ERR_TIMEOUT: something is. */
int yoke_queue_join(yoke *y, const char *queue, int64_t wait_ms);
/* Cancels what has not started; *purged (may be NULL) is how many that were.
 * Returns when it is done: blocks longer the more there are. */
int yoke_queue_purge(yoke *y, const char *queue, int64_t *purged);

/* Jobs that have failed for good, and are kept with their payloads until they
 * are retried or purged. queue NULL: of all queues. count YOKE_DEFAULT: 100 are
 * listed, 1000 retried, all purged.
 *
 * The newest `count`, newest last: all in one page, which is over. The caller
 * frees it. */
int yoke_dead_list(yoke *y, const char *queue, int64_t count,
                   struct yoke_page **out);
/* yoke_job_retry for the oldest; those whose queue has no room are passed by,
 * unless that is so for all of them: YOKE_ERR_QUEUEFULL, YOKE_ERR_CLOSED. *out
 * (may be NULL) is an ARRAY of the new ids; the caller frees it. */
int yoke_dead_retry(yoke *y, const char *queue, int64_t count,
                    struct yoke_value **out);
/* Takes the oldest off the list, which frees their payloads; *purged (may be
 * NULL) is how many. Blocks longer the more there are. */
int yoke_dead_purge(yoke *y, const char *queue, int64_t count, int64_t *purged);

/* --------------------------------------------------------------- limiters */

/* Named permits and rates, which jobs need (`limits` of yoke_submit). */
struct yoke_limiter {
    int64_t permits;     /* YOKE_NONE: no bound; 0: nothing starts */
    int64_t rate;        /* starts in each interval; YOKE_NONE: no bound */
    int64_t interval_ms; /* 0 where there is no rate */
    /* of yoke_limiter_info */
    int64_t held;    /* permits */
    int64_t waiting; /* jobs that are parked for it */
};

/* Makes a limiter, or changes it; YOKE_DEFAULT: stays as it is, at first no
 * bound. interval_ms belongs to rate. Raising wakes who waits, lowering lets
 * holders finish. */
int yoke_limiter_set(yoke *y, const char *name, int64_t permits, int64_t rate,
                     int64_t interval_ms);
/* Fills *out, which holds nothing to be freed. YOKE_ERR_NOLIMITER. */
int yoke_limiter_info(yoke *y, const char *name, struct yoke_limiter *out);
/* *out is an ARRAY of names; the caller frees it. */
int yoke_limiter_list(yoke *y, struct yoke_value **out);
/* YOKE_ERR_GENERIC: jobs that have not ended need it. */
int yoke_limiter_delete(yoke *y, const char *name);

/* ---------------------------------------------------------------- workers */

enum yoke_notice { YOKE_NOTICE_JOB, YOKE_NOTICE_CANCEL };

/* What FETCH tells a worker. */
struct yoke_work {
    enum yoke_notice notice;
    const char *token;
    /* JOB */
    const char *queue, *name, *group; /* "" if none */
    struct yoke_bytes payload;
    int64_t attempt, timeout_ms, deadline_ms;
    int64_t remaining_ms; /* until the earlier of both; YOKE_NONE: no limit */
    int64_t grace_ms;     /* JOB and CANCEL */
    const char *reason;   /* CANCEL */
};
struct yoke_work_list {
    size_t count;
    struct yoke_work *items;
    struct yoke_value *raw;
};
void yoke_work_free(struct yoke_work_list *w);

/* Wait up to wait_ms for at most count jobs from the queues, or cancels of
 * jobs held. "queue/4" is a queue of which at most 4 of them come; 0: none. An
 * empty list when the time is up. The caller frees *out. Long
 * waits are cut into slices that renew the session's lease. A daemon that is
 * silent is left for another connection after half of the lease, and when two
 * thirds are over without one it is YOKE_ERR_IO: the worker must stop its jobs
 * then. With yoke_send that is yoke_process' part: it sends a PING, which ends
 * an open FETCH, when the handle holds jobs and has said nothing for a fifth
 * of the lease; so keep the waits of a FETCH below that. */
int yoke_fetch(yoke *y, int64_t count, int64_t wait_ms, size_t nqueues,
               const char *const *queues, struct yoke_work_list **out);
/* YOKE_ERR_DISKFULL, in answer to one of these three: the daemon's disk has no
 * room for that, not even in the reserve for it. Nothing was changed, the job
 * is still held: say it again after a second or so. */
int yoke_done(yoke *y, const char *token, struct yoke_bytes result);
int yoke_fail(yoke *y, const char *token, const char *class_name,
              const char *message, struct yoke_bytes detail);
int yoke_release(yoke *y, const char *token);

struct yoke_touch {
    bool cancelled;
    int64_t remaining_ms; /* YOKE_NONE: no limit */
    int64_t grace_ms;     /* of the cancel; YOKE_NONE: there is none */
};
/* progress and out may be NULL. */
int yoke_touch(yoke *y, const char *token, const char *progress,
               struct yoke_touch *out);
/* Keeps cancels from outside back, for at most ms and what the daemon grants
 * (*granted_ms, which may be NULL); its own timeout and deadline hold. What was
 * kept back arrives when the shield or the body ends. YOKE_ERR_CANCELLED: it
 * is too late. */
int yoke_shield(yoke *y, const char *token, int64_t ms, int64_t *granted_ms);
int yoke_unshield(yoke *y, const char *token);
/* Announces that the job does what others wait for; once for each attempt.
 * value: at most 1024 bytes that yoke_job_wait_ready gives them. */
int yoke_ready(yoke *y, const char *token, struct yoke_bytes value);
int yoke_log(yoke *y, const char *token, int stream, struct yoke_bytes data);

/* ------------------------------------------------------ worker of threads */

/*
 * A worker that runs jobs on a pool of threads, as asyncio.to_thread does with
 * calls: a function for each queue, and for each job a `task` that it is
 * called with.
 *
 * The thread that calls yoke_worker_run talks to the daemon: it fetches jobs
 * for threads that are idle (and a few more while they are short), passes on
 * cancels, sends what the handlers have to say, several reports in one write,
 * and renews the lease whatever they do: a handler that computes for an hour
 * keeps its job. When that thread gets no turn, since a callback below blocks
 * or the process is stopped, the lease ends at the daemon.
 *
 * When the daemon cannot be reached for two thirds of the lease, or the
 * session is gone, every task is cancelled (reason "lost") and what it reports
 * is dropped, for its job may be given to others. Nothing new starts until all
 * handlers have returned; meanwhile and after that the worker connects again,
 * for ever, with growing pauses.
 *
 * A thread cannot be killed: a handler that does not heed its cancel keeps its
 * job, and the scopes above wait for it. When its grace is over that is written
 * to the job's log, and `stuck` is called, which may end the process.
 *
 * The threads block all signals. No state is global: a program may have
 * several workers.
 */
struct yoke_worker;
struct yoke_task;

struct yoke_worker_options {
    const char *address;  /* as of yoke_open; NULL: `fd`, else the descriptor
                           * that YOKE_WORKER_FD names, else as of yoke_open */
    const char *password; /* NULL: as of yoke_open without password_file */
    const char *name;     /* shown by CLIENT LIST; NULL: none */
    int64_t connect_timeout_ms; /* 0: 5000 */
    int fd; /* > 0: a connected socket, as of yoke_open. When it breaks
             * the worker ends; address is for yoke_task_handle then */
    unsigned threads; /* 0: one for each processor; at most 1024 */
    /* Both are called by the thread of yoke_worker_run, must not block, and may
     * be NULL. `stuck`: the grace of a cancelled task is over and its handler
     * has not returned; once for each task. `note`: what a log would have: the
     * connection is lost, is there again, a report was refused. */
    void (*stuck)(struct yoke_task *t, void *arg);
    void (*note)(const char *text, void *arg);
    void *arg;
};

/* options may be NULL, and is copied. On failure *out is good for
 * yoke_worker_error_text and yoke_worker_free alone; NULL: no memory. */
int yoke_worker_new(const struct yoke_worker_options *options,
                    struct yoke_worker **out);
/* Not while it runs. A worker that never ran closes its fd. */
void yoke_worker_free(struct yoke_worker *w);
/* What went wrong in the last call that failed. Never NULL. */
const char *yoke_worker_error_text(const struct yoke_worker *w);

/*
 * Runs one job, on any of the threads, several at once. 0: it is done, also
 * when it had been asked to stop. Anything else: it has failed, with the class
 * "exit:N" as a program that exits with N; or, if the task is cancelled, it has
 * stopped for that. What yoke_task_fail and yoke_task_release said before goes
 * over either. The task and what it gave out are gone when it returns.
 */
typedef int yoke_handler_fn(struct yoke_task *t, void *arg);

/* Jobs of a queue go to fn; at most `slots` at once, 0: as there are threads.
 * Before yoke_worker_run; each queue once; those that come first are served
 * first. */
int yoke_worker_handle(struct yoke_worker *w, const char *queue, unsigned slots,
                       yoke_handler_fn *fn, void *arg);
/*
 * Connects, starts the threads, and works until it is stopped: 0; once only.
 * So it is when a pool closes the descriptor of YOKE_WORKER_FD while no job
 * runs.
 * Fails when it cannot connect at first (YOKE_ERR_CONNECT, YOKE_ERR_WRONGPASS
 * ...), when the daemon refuses its queues, or when the descriptor it was given
 * breaks. All handlers have returned and all threads have ended when it does.
 */
int yoke_worker_run(struct yoke_worker *w);
/* May be called from anywhere, signal handlers too. Once: nothing new starts,
 * what runs is waited for. Again: tasks are cancelled (reason "worker stopped";
 * those under a shield when that ends), and given back unharmed unless they
 * are done all the same. */
void yoke_worker_stop(struct yoke_worker *w);

/*
 * What follows is for handlers, on the thread that they were called on; only
 * yoke_task_cancelled and yoke_task_reason may be called by other threads, too,
 * until the handler returns. What talks to the daemon waits for the answer;
 * YOKE_ERR_STALE: the job is no longer this worker's.
 */

/* All that FETCH told: payload, queue, name, group, token, attempt, times. */
const struct yoke_work *yoke_task_work(const struct yoke_task *t);
/* Until its timeout or deadline, whichever is earlier, as they were when the
 * daemon told of them last; 0: it is past. YOKE_NONE: no limit. */
int64_t yoke_task_remaining_ms(const struct yoke_task *t);
/* What went wrong in the last call that failed. Never NULL. */
const char *yoke_task_error_text(const struct yoke_task *t);

/* Is it to stop? Costs a load: may be asked in a loop. Once it is true it
 * stays so. */
bool yoke_task_cancelled(const struct yoke_task *t);
/* Why; NULL while it is not cancelled. */
const char *yoke_task_reason(const struct yoke_task *t);
/* What is left of the grace; YOKE_NONE while it is not cancelled. */
int64_t yoke_task_grace_left_ms(const struct yoke_task *t);
/* A descriptor that is readable as soon as it is cancelled, and from then on;
 * for poll alone: not to be read or closed. YOKE_ERR_NOMEM: there is none. */
int yoke_task_cancel_fd(struct yoke_task *t);
/* A sleep that a cancel ends: 0, or YOKE_ERR_CANCELLED. YOKE_NONE: for ever. */
int yoke_task_wait(struct yoke_task *t, int64_t ms);

/* As yoke_shield, yoke_unshield, yoke_ready, yoke_log. */
int yoke_task_shield(struct yoke_task *t, int64_t ms, int64_t *granted_ms);
int yoke_task_unshield(struct yoke_task *t);
int yoke_task_ready(struct yoke_task *t, struct yoke_bytes value);
int yoke_task_log(struct yoke_task *t, int stream, struct yoke_bytes data);
/* Up to 256 bytes for people, shown by STATUS; NULL: as it is. Learns what is
 * left of the time, too. */
int yoke_task_progress(struct yoke_task *t, const char *text);

/*
 * The handle of this thread, opened by the first call and kept for later
 * tasks; not to be closed. What is submitted and opened with it while the task
 * runs, and names no group or parent, is under the job: joined when the handler
 * returns, cancelled when it fails. The cancel of the task interrupts it once:
 * the call that blocks, or else the next one that may, returns
 * YOKE_ERR_INTERRUPTED. On failure *out is for yoke_error_text, or NULL.
 */
int yoke_task_handle(struct yoke_task *t, yoke **out);

/* The result, if it ends well; copied, the last one counts. One that is larger
 * than the daemon takes fails the attempt, class "result". */
int yoke_task_result(struct yoke_task *t, struct yoke_bytes result);
/* The attempt has failed. class_name: 1 to 64 bytes; of the message, which may
 * be NULL, the first 1024 bytes are told, of detail the last 8192. */
int yoke_task_fail(struct yoke_task *t, const char *class_name,
                   const char *message, struct yoke_bytes detail);
/* It is to be given back unharmed, and run again soon: by others, or by this
 * worker. */
void yoke_task_release(struct yoke_task *t);

/* ----------------------------------------------------------------- events */

/* What was published on a channel; see Events in doc/protocol.md. */
struct yoke_message {
    const char *pattern;    /* NULL: it was subscribed to by name */
    const char *channel;    /* "job:ID", "group:ID", "queue:NAME" */
    struct yoke_bytes text; /* one JSON object */
};

/* What it points to lives until it returns. It may send, but not close. */
typedef void yoke_message_fn(yoke *y, const struct yoke_message *m, void *arg);

/*
 * Subscribes to channels by name, or to all that match patterns, and returns
 * when that is confirmed. Messages come to `fn`, the last one given, from
 * yoke_process (wait for yoke_fd, as below) and from whatever else reads this
 * connection, these functions included. While it is subscribed to anything the
 * daemon takes nothing else from it: other calls are YOKE_ERR_GENERIC, so use
 * one handle to listen and another one to act. YOKE_ERR_LIMIT: too many; those
 * named before hold. A connection that breaks while it is subscribed ends the
 * handle: what was published meanwhile is not told again.
 */
int yoke_subscribe(yoke *y, size_t n, const char *const *channels,
                   yoke_message_fn *fn, void *arg);
int yoke_psubscribe(yoke *y, size_t n, const char *const *patterns,
                    yoke_message_fn *fn, void *arg);
/* After the last one has ended the handle is as any other. */
int yoke_unsubscribe(yoke *y, size_t n, const char *const *channels);
int yoke_punsubscribe(yoke *y, size_t n, const char *const *patterns);

/* ----------------------------------------------------------- asynchronous */

/*
 * For programs with a loop of their own: requests are queued by yoke_send, the
 * program waits until the descriptor is ready for what yoke_events() says, and
 * calls yoke_process(), which writes, reads, and calls back in the order of
 * the requests. Synchronous calls and these may be mixed on one handle only
 * while no request is under way (YOKE_ERR_ARGUMENT otherwise).
 */

/* status 0 and the reply, or an error and NULL (text: yoke_error_text). The
 * value is freed after the call. The callback may send, but not close, unless
 * the handle is attached to a loop (see "loops"). */
typedef void yoke_reply_fn(yoke *y, int status, const struct yoke_value *reply,
                           void *arg);

/* Copies the request; nothing is written before yoke_process. fn may be NULL:
 * the reply is dropped, and yoke_pending does not count it. YOKE_ERR_LIMIT when
 * 64 MiB are not yet written, or not yet answered where they are kept for
 * sending them again, and nothing was added. */
int yoke_send(yoke *y, size_t argc, const struct yoke_bytes *argv,
              yoke_reply_fn *fn, void *arg);
int yoke_sendl(yoke *y, yoke_reply_fn *fn, void *arg, const char *arg0, ...)
    __attribute__((sentinel));
/* yoke_submit in this way; the reply is the id, a STR. */
int yoke_send_submit(yoke *y, const struct yoke_submit *s, yoke_reply_fn *fn,
                     void *arg);
/* The number of what yoke_send or yoke_send_submit took last; they count from 1
 * on, and up, with gaps where the library asks for itself (yoke_await). */
uint64_t yoke_last_request(const yoke *y);
/*
 * Nobody wants the answer to this request of yoke_send any more: its function
 * is not called, now or later, and yoke_pending does not count it. One of which
 * nothing is written yet is not sent (except for the end of an attempt);
 * *unsent, which may be NULL, says that it never was, so that nothing was done.
 * Otherwise the daemon does what it was asked for, and the memory for it is
 * freed when it has answered. A wait is ended: a PING follows if nothing else
 * does. A SUBMIT that waits for room can only be taken back with the connection
 * (yoke_abandon), or by a cancel of its group from another handle.
 * YOKE_ERR_ARGUMENT: it is not under way (any more); or it is a FETCH, of which
 * something is written: the jobs that it brings would be lost. Whatever is sent
 * behind that ends it. May be called by callbacks.
 */
int yoke_forget(yoke *y, uint64_t request, bool *unsent);

/*
 * The end of a job or group that is awaited. Called once, from yoke_process
 * (or from yoke_fetch, which brings ends, too): status 0 and how it ended,
 * lent until the function returns. Where the daemon has no map of it any more
 * only id, is_group and outcome are known, and raw is NULL. Else o is NULL:
 * YOKE_ERR_NOJOB or YOKE_ERR_NOGROUP, it is not known (any more);
 * YOKE_ERR_GENERIC, it is no id of a job or group, or that of the root group,
 * which never ends; YOKE_ERR_LIMIT or YOKE_ERR_OOM, the daemon does not await
 * so many; or another error, that of the handle's end perhaps (text:
 * yoke_error_text). It is not awaited any more by then. May do what a
 * yoke_reply_fn may.
 */
typedef void yoke_awaited_fn(yoke *y, const char *id, int status,
                             const struct yoke_outcome_info *o, void *arg);
/*
 * Awaits the end of a job or group, of thousands at once if need be: the
 * daemon takes 65536 of a session. Copies the id; it is asked for by
 * yoke_process (yoke_timeout_ms is 0 until then) and asked for again on a new
 * connection. Ends are told while no WAIT, LOGS, GROUP WAIT, GROUP NEXT or
 * QUEUE JOIN of the program is under way (LOGS of a group is one, too), which
 * would be cut short. A program that says FETCH itself gets the ends with its
 * answers: it goes on with that for as long as it awaits. yoke_pending does not
 * count what is awaited; yoke_close and yoke_abandon call nobody back.
 * YOKE_ERR_ARGUMENT: it is awaited already, or too long for an id, or there is
 * none, or no function.
 */
int yoke_await(yoke *y, const char *id, yoke_awaited_fn *fn, void *arg);
/* Its function is not called. YOKE_ERR_ARGUMENT: it is not awaited (any
 * more). */
int yoke_unawait(yoke *y, const char *id);
/* How many are awaited. */
size_t yoke_awaited(const yoke *y);

/* The descriptor to wait for; the same number until the handle is freed. */
int yoke_fd(const yoke *y);
/* How often another socket has come under that number: when this has changed
 * after yoke_process, a loop that registers descriptors (epoll, libev) has to
 * do so again. poll(2) need not care. */
unsigned yoke_fd_changes(const yoke *y);
/* POLLIN, and POLLOUT while something waits to be written. */
short yoke_events(const yoke *y);
/* After so long yoke_process is to be called although the descriptor is not
 * ready: a connection is being opened or restored, or the lease of jobs is to
 * be kept. YOKE_NONE: no need. */
int64_t yoke_timeout_ms(const yoke *y);
/* 0, or the error that ended the handle; then every request under way has
 * been called back with it. Never blocks. May leave more to be read for the
 * next time: the descriptor is ready again at once (level-triggered). */
int yoke_process(yoke *y);
/* Requests sent and not yet answered; bytes not yet written. */
size_t yoke_pending(const yoke *y);
size_t yoke_unsent(const yoke *y);
/* Reads the reply of a FETCH got by yoke_send; the list copies what it needs
 * and the caller frees it. */
int yoke_work_parse(const struct yoke_value *reply,
                    struct yoke_work_list **out);

/* ------------------------------------------------------------------ loops */

/*
 * What a loop does for a handle that is attached to it. The adapters fill it
 * in: <yoke/poll.h>, <yoke/libev.h>, <yoke/libuv.h>, <yoke/libevent.h> and
 * <yoke/glib.h>, each with a function that attaches a handle, and the loop then
 * does all that is to be done: yoke_process is not called, and where requests
 * are sent from does not matter.
 *
 * The functions get the `data` of the adapter, and may call nothing of the
 * handle. 0, or what is less when the loop has no memory for it.
 */
struct yoke_loop {
    /* Call yoke_turn whenever the descriptor is ready for these events (POLLIN,
     * POLLOUT, level-triggered), in place of those before. anew: another socket
     * has come under its number, which has to be registered once more. */
    int (*watch)(void *data, int fd, short events, bool anew);
    /* Call yoke_turn once after so long, in place of the time before; not from
     * within this call. YOKE_NONE: never. */
    int (*time)(void *data, int64_t ms);
    /* Neither any more; frees data. It may be called by yoke_turn. */
    void (*release)(void *data);
};

/* The handle has ended with this status, and is not attached any more; all
 * requests have been called back. It may be closed here. */
typedef void yoke_ended_fn(yoke *y, int status, void *arg);

/*
 * For adapters. Nothing is called back before the loop runs. ended may be NULL.
 * YOKE_ERR_ARGUMENT: it is attached already; YOKE_ERR_NOMEM: as `time` said.
 * Then `release` is not called. While a handle is attached its callbacks may
 * close it, too: nothing is called back any more then, and it is freed when
 * yoke_turn is over.
 */
int yoke_attach(yoke *y, const struct yoke_loop *loop, void *data,
                yoke_ended_fn *ended, void *arg);
/* Leaves the loop, which may be done in callbacks, too; what is under way waits
 * for yoke_process, or the next loop. yoke_close does it as well. */
void yoke_detach(yoke *y);
/* For adapters: the descriptor is ready, or the time is over. The handle and
 * `data` may be gone when it returns. */
void yoke_turn(yoke *y);

#ifdef __cplusplus
}
#endif

#endif
