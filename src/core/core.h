/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core - the state machine of yoke: queues, jobs, groups, workers, sessions.
 *
 * Knows:     every rule of doc/protocol.md.
 * Never:     I/O, clocks, threads, randomness of its own, RESP, callbacks.
 * Threads:   none; one caller.
 * Errors:    a request that cannot be served is answered with an error value;
 *            a broken invariant ends the process.
 *
 * Same events in, same effects out. Each step decides (reads, may refuse,
 * writes nothing), records (a fact about one entity) and applies (the only
 * writer, cannot fail); core_replay runs apply alone.
 *
 * Order of calls: core_new, core_replay for every record entry of the store,
 * core_replay_end, EVENT_DISK_FULL if that is so, one EVENT_START, then any
 * events. Time must not go backward between events.
 */
#ifndef YOKE_CORE_H
#define YOKE_CORE_H

#include "base/buf.h"
#include "base/value.h"

/* Error codes, index into wire/errors.def. */
enum core_error {
#define ERROR(id, code, meaning) CORE_ERR_##id,
#include "wire/errors.def"
#undef ERROR
};

struct job_id {
    uint64_t n;
};
struct group_id {
    uint64_t n; /* 0: root */
};
struct session_id {
    uint64_t n; /* random, so that it cannot be guessed; 0: none */
};
/* A connection, as named by the server; never reused, never 0. */
struct client_id {
    uint64_t n;
};

/* A job or a group. */
struct core_id {
    bool is_group;
    uint64_t n;
};

/* An attempt of a job. */
struct token {
    struct job_id job;
    uint32_t attempt;
};

/* Where something may live: a group, or a running attempt. */
struct scope_ref {
    bool is_job;
    struct group_id group;
    struct token token;
};

#define CORE_NONE             INT64_C(-1) /* no time, no limit, for ever */
#define CORE_UNSET            INT64_MIN /* option not given: the default holds */
#define CORE_QUEUES_PER_FETCH 256       /* as many as a runner may have */
#define CORE_AWAIT_IDS        1000      /* in one AWAIT */
#define CORE_QUEUE_NAME_MAX   64
#define CORE_LIMITER_NAME_MAX 64
#define CORE_LIMITS_MAX       8 /* limiters that one job needs */
#define CORE_PERMITS_MAX      INT64_C(1000000000)
#define CORE_RATE_MAX         INT64_C(1000000)
#define CORE_RATE_MS_MAX      (INT64_C(366) * 24 * 3600 * 1000)
#define CORE_LABEL_MAX        128
#define CORE_KEY_MAX          128
#define CORE_REASON_MAX       256
#define CORE_CLASS_MAX        64
#define CORE_MESSAGE_MAX      1024
#define CORE_DETAIL_MAX       8192
#define CORE_PROGRESS_MAX     256
#define CORE_READY_MAX        1024
#define CORE_RETRY_ON_MAX     512
#define CORE_FACTOR_MIN       1000 /* of a back-off, in thousandths */
#define CORE_FACTOR_MAX       100000
#define CORE_ENTRY_BYTES      16 /* what the store adds to an entry, at most */
#define CORE_PRIORITIES       10
#define CORE_PRIORITY_DEFAULT 4

/* Settings of a queue. CORE_UNSET in an event keeps what holds. */
struct queue_settings {
    int64_t max_jobs;   /* not started, at least 1 */
    int64_t max_bytes;  /* of their payloads */
    int64_t timeout_ms; /* of an attempt; CORE_NONE */
    int64_t grace_ms;
    int64_t retry;     /* attempts in all when they fail, at least 1 */
    int64_t redeliver; /* lost attempts that are run again */
    int64_t keep_ms;
    int64_t wait_ms;      /* of a producer when full; CORE_NONE: for ever */
    int64_t dead_keep_ms; /* of failed jobs, if longer than keep_ms */
    int64_t backoff_base_ms, backoff_cap_ms;
    int64_t factor_milli; /* by which the back-off grows, in thousandths */
    int64_t jitter;       /* percent of the back-off that chance decides */
    int64_t expires_ms;   /* from the submit; CORE_NONE */
    int64_t priority;
    /* Globs of the classes that are tried again, separated by commas; empty:
     * all but `cancelled`, `deadline` and `expired`. p NULL in an event keeps
     * what holds. Those of core_limits are lent while they are in force. */
    struct str retry_on;
    int64_t fair; /* 1: groups take turns within a priority; 0: they do not */
};

/* Nothing is said about anything. */
void core_settings_unset(struct queue_settings *s);

/* Bounds; all are enforced by the core. */
struct core_limits {
    int64_t payload_max; /* bytes of one payload */
    int64_t result_max;  /* bytes of one result */
    int64_t memory_max;  /* bytes the core accounts for itself */
    int64_t queues_max;
    int64_t limiters_max;
    int64_t groups_max;
    int64_t members_max; /* of one group */
    int64_t depth_max;   /* of the tree */
    int64_t retain_jobs; /* ended jobs kept, beyond that oldest first */
    int64_t retain_bytes;
    int64_t log_max;  /* output kept of one job */
    int64_t logs_max; /* output kept of all jobs */
    int64_t lease_ms;
    int64_t session_grace_ms;
    int64_t keep_max_ms;
    /* What payloads go by instead of memory_max, if it is less. Not a setting:
     * the tests lower it. */
    int64_t payload_memory;
    /* Units of work of each kind in one step; what is left is done in the
     * next. Not a setting: the tests lower it. */
    int64_t step_work;
    /* Jobs and groups that one session awaits. Not a setting: the tests lower
     * it. */
    int64_t awaits_max;
    /* Bytes of the large parts of an image of a job: a larger one is not
     * written. Not a setting: follows from the size of a segment. */
    int64_t image_max;
    /* Members of a group in one record of its image, likewise. */
    int64_t image_ids;
    /* Bytes of errors in the image of a job, or one record of those that are
     * too many for it. */
    int64_t image_errors;
    /* Numbers of requests (ONCE) that all sessions remember: 8 bytes each at
     * the head of every segment of the store. Not a setting: follows from the
     * size of a segment. */
    int64_t numbers_max;
    bool detach;           /* may groups outlive their session? */
    int64_t shield_max_ms; /* longest shield of a job */
    struct queue_settings queue_defaults;
};

/* The defaults of all limits; etc/yoked.ini is checked against them. */
void core_limits_init(struct core_limits *limits);

/*
 * What an event does to the room of the store, which matters while the disk is
 * full (EVENT_DISK_FULL):
 *
 *   NONE   it records nothing
 *   FREES  it ends something, or leads to an end: it is done as long as the
 *          reserve has room for it
 *   GROWS  it is refused
 *   SOME   it depends, and is decided where that is known: what is known
 *          already is answered, a FETCH waits, the rest is refused
 */
enum core_room {
    ROOM_NONE,
    ROOM_FREES,
    ROOM_GROWS,
    ROOM_SOME,
};

/* Those from clients are answered with exactly one EFFECT_REPLY each, now or
 * later, but for ALIVE, UNBLOCK and DISCONNECT; those from the daemon are not
 * answered. */
#define CORE_EVENTS(X)                                                         \
    /* from clients */                                                         \
    X(SUBMIT, SOME)                                                            \
    X(STATUS, NONE)                                                            \
    X(RESULT, NONE) /* wait_ms 0: RESULT, else WAIT; ready: WAIT READY */      \
    X(CANCEL, FREES)                                                           \
    X(RESCHEDULE, GROWS)                                                       \
    X(RETRY, SOME)                                                             \
    X(LOGS, NONE)                                                              \
    X(JOBS, NONE)                                                              \
    X(GROUP_OPEN, SOME)                                                        \
    X(GROUP_CLOSE, FREES)                                                      \
    X(GROUP_INFO, NONE) /* wait_ms CORE_UNSET: GROUP INFO, else GROUP WAIT */  \
    X(GROUP_NEXT, SOME)                                                        \
    X(GROUP_RESULTS, SOME)                                                     \
    X(GROUP_TREE, NONE)                                                        \
    X(GROUP_ERRORS, NONE)                                                      \
    X(AWAIT, NONE)                                                             \
    X(UNAWAIT, NONE)                                                           \
    X(FETCH, SOME)                                                             \
    X(DONE, FREES)                                                             \
    X(FAIL, FREES)                                                             \
    X(RELEASE, FREES)                                                          \
    X(TOUCH, NONE)                                                             \
    X(SHIELD, GROWS)                                                           \
    X(UNSHIELD, FREES)                                                         \
    X(LOG, NONE)                                                               \
    X(READY, GROWS)                                                            \
    X(QUEUE_LIST, NONE)                                                        \
    X(QUEUE_INFO, NONE)                                                        \
    X(QUEUE_SET, SOME)                                                         \
    X(QUEUE_PAUSE, GROWS)                                                      \
    X(QUEUE_CLOSE, GROWS) /* closed or open */                                 \
    X(QUEUE_JOIN, NONE)                                                        \
    X(QUEUE_PURGE, FREES)                                                      \
    X(DEAD_LIST, NONE)                                                         \
    X(DEAD_RETRY, SOME)                                                        \
    X(DEAD_PURGE, FREES)                                                       \
    X(LIMITER_SET, SOME)                                                       \
    X(LIMITER_INFO, NONE)                                                      \
    X(LIMITER_LIST, NONE)                                                      \
    X(LIMITER_DELETE, FREES)                                                   \
    X(SESSION, NONE) /* answers the id of the client's; makes one */           \
    X(SESSION_RESUME, NONE)                                                    \
    X(ALIVE, NONE)      /* the client sent something: renews its leases */     \
    X(UNBLOCK, NONE)    /* the client sent something while it was blocked: the \
                         * blocking command (not SUBMIT) is answered empty */  \
    X(DISCONNECT, NONE) /* the client is gone; ends its waits */               \
    /* from the daemon */                                                      \
    X(START, NONE)     /* once, after replay */                                \
    X(TICK, NONE)      /* core_next_ms() has come */                           \
    X(SEGMENT, NONE)   /* records go to another segment from now on */         \
    X(DISK_FULL, NONE) /* on or off; before START, too */                      \
    X(DRAIN, NONE)     /* accept no submits, start no jobs */                  \
    X(LOAD, NONE)      /* what EFFECT_LOAD asked for, or what is wrong */      \
    X(WATCH, NONE) /* EFFECT_NEWS are wanted, and what they cost; or not */    \
    X(CLOCK, NONE) /* now_ms has gone on by more or less than the time that    \
                    * passed; before any other event of that now_ms */

enum core_event_kind {
#define X(id, room) EVENT_##id,
    CORE_EVENTS(X)
#undef X
};

/* A request that is done once, however often its session asks for it (ONCE).
 * `open`: how many of the numbered requests before it have no answer yet; what
 * lies further back is not asked for again. */
struct event_once {
    int64_t number; /* counts from 1 in the session; 0: not such a request */
    int64_t open;   /* less than `number`, and than 1024; the core checks */
};

/* Numbers are CORE_UNSET or in the ranges of doc/protocol.md: the caller has
 * checked them. */
struct event_submit {
    struct str queue, payload, name;
    struct str key;    /* not empty, or there is none */
    struct str then;   /* names of queues with commas between; empty: none */
    struct str limits; /* "name[:n],..."; empty: none */
    struct group_id group;
    struct token body; /* attempt not 0: the group of its body instead */
    int64_t priority;
    int64_t timeout_ms, deadline_ms, expires_ms, grace_ms;
    int64_t delay_ms, at_ms; /* one of them at most; at_ms: a time */
    int64_t retry, backoff_base_ms, backoff_cap_ms, redeliver;
    int64_t factor_milli, jitter;
    struct str retry_on; /* p NULL: not given */
    int64_t keep_ms, wait_ms;
    struct event_once once;
};

struct event_group_open {
    struct scope_ref parent;
    struct str name;
    struct str key;               /* as in event_submit */
    int64_t fail, succeed, width; /* as in event_submit */
    int64_t timeout_ms, deadline_ms, keep_ms;
    bool detached;
    struct event_once once;
};

/* How a client went away. */
enum core_disconnect {
    DISCONNECT_BROKEN, /* it may come back: the session's grace begins */
    DISCONNECT_CLEAN,  /* it said goodbye: leases are given back, groups are
                        * cancelled, at once */
    DISCONNECT_DEAD,   /* it is known to be dead and all it ran is gone: its
                        * attempts are lost, at once */
};

struct core_event {
    enum core_event_kind kind;
    int64_t now_ms;          /* Unix milliseconds */
    uint64_t random;         /* fresh for each event */
    struct client_id client; /* who asks; 0 for events from the daemon */
    union {
        struct event_submit submit;
        struct {
            struct job_id id;
            int64_t wait_ms;
            bool ready;
        } job; /* STATUS, RESULT, RETRY */
        struct {
            bool is_job;
            struct job_id job;
            struct group_id group;
            struct str reason;
            int64_t grace_ms;
        } cancel;
        struct {
            bool is_job;
            struct job_id job;
            struct group_id group;
            /* CORE_UNSET: stays; CORE_NONE: none; `expires_ms` counts from the
             * submit, `at_ms` is when a job may start. Jobs alone have those
             * two. */
            int64_t timeout_ms, deadline_ms, expires_ms, at_ms;
        } reschedule;
        struct {
            bool is_job;
            struct job_id job;
            struct group_id group;
            int64_t cursor, wait_ms, count;
            bool times; /* of a job; of a group always */
        } logs;
        struct {
            struct str queue, state; /* empty: any */
            bool has_group;
            struct group_id group;
            int64_t count;
        } jobs;
        struct event_group_open group_open;
        struct {
            struct group_id id;
            int64_t cursor, wait_ms, count;
            bool errors_only;
            bool policy; /* CLOSE: with these; CORE_UNSET: as before */
            int64_t fail, succeed;
        } group; /* CLOSE, INFO, NEXT, RESULTS, TREE */
        struct {
            bool is_job;
            struct job_id job;
            struct group_id group;
            struct str cursor;          /* "0" begins */
            struct str classes, except; /* lists of globs; empty: all, none */
            int64_t count;
        } errors; /* GROUP_ERRORS */
        struct {
            const struct core_id *ids; /* lends until return */
            size_t nids;               /* at most CORE_AWAIT_IDS */
        } await;                       /* AWAIT, UNAWAIT */
        struct {
            int64_t count, wait_ms;
            const struct str *queues; /* lends until return, ... */
            const int64_t *bounds;    /* ... these, too: as many, most of the
                                       * jobs of each; CORE_NONE: count is the
                                       * bound. NULL: so it is of all */
            size_t nqueues;
        } fetch;
        struct {
            struct token token;
            struct str result;                 /* DONE */
            struct str class, message, detail; /* FAIL */
            struct str progress;               /* TOUCH */
            struct str value;                  /* READY */
            int64_t shield_ms;                 /* SHIELD */
            int64_t stream;                    /* LOG */
            struct str data;                   /* LOG */
        } report; /* DONE, FAIL, RELEASE, TOUCH, SHIELD, UNSHIELD, LOG,
                   * READY */
        struct {
            struct str name;
            struct queue_settings settings;
            bool paused; /* QUEUE_PAUSE */
            bool closed; /* QUEUE_CLOSE */
            bool at_once;
            int64_t wait_ms; /* QUEUE_JOIN */
        } queue;
        struct {
            struct str queue; /* empty: any */
            int64_t count;    /* CORE_UNSET: as many as there are, or may be */
        } dead;
        struct {
            struct str name;
            /* SET: CORE_UNSET keeps what holds */
            int64_t permits;       /* CORE_NONE: no bound */
            int64_t rate, rate_ms; /* tokens each interval; 0 and 0: no bound */
        } limiter;
        struct session_id session; /* SESSION_RESUME */
        enum core_disconnect disconnect;
        uint32_t segment; /* SEGMENT */
        bool on;          /* DRAIN */
        struct {
            uint32_t segment, offset;
            struct str entry; /* lends until return */
            struct str error; /* not empty: it cannot be read, and why */
            bool put_off;     /* not now; there will be another one */
        } load;               /* LOAD */
        /* DISK_FULL: on, and so many bytes can still be recorded until the
         * next one (frames of the store's included, CORE_ENTRY_BYTES each).
         * Beyond that a step may go by what follows from one event. */
        struct {
            bool narrow;  /* nothing new is taken in; so while it is on */
            bool on;      /* nothing starts either */
            bool bounded; /* by disk-max, and not by the disk */
            int64_t room;
            int64_t spared; /* of it, for what is no image and no report */
        } full;
        int64_t work;     /* WATCH: what the news of one fact takes of the work
                           * of a step for each one whom it concerns; 0: nobody
                           * is interested */
        int64_t shift_ms; /* CLOCK: by so much more; negative: less */
    } u;
};

enum core_effect_kind {
    EFFECT_RECORD, /* append these bytes to the store, with all records of the
                    * same step as one entry */
    EFFECT_REPLY,  /* a value for a client; nothing may leave before every
                    * record so far is durable */
    EFFECT_NEWS,   /* a value for all who watch, likewise; none before
                    * EVENT_WATCH: an array of whom it concerns (the ids of a
                    * job and of groups, the name of a queue), and a map */
    EFFECT_TRIM,   /* segments before `segment` are not needed any more */
    EFFECT_LOAD,   /* read the entry at this place: EVENT_LOAD, some time */
    EFFECT_CUT,    /* close the connection of a client before anything more
                    * that it sent is looked at: its session goes on with
                    * another one, which may say the same again */
};

struct core_effect {
    enum core_effect_kind kind;
    uint32_t segment, offset;
    struct client_id client;
    size_t at, len; /* bytes in core_effects.bytes */
};

/* What a step asks for, in the order in which it must happen. All records of
 * one step lie next to each other in `records`. The caller owns it, resets it
 * before each step, and may reuse it for ever. */
struct core_effects {
    struct core_effect *list;
    size_t len, cap;
    struct buf records; /* the entry to append, empty if none */
    struct buf values;  /* replies and news */
};

void core_effects_init(struct core_effects *e);
void core_effects_reset(struct core_effects *e);
void core_effects_clear(struct core_effects *e);

struct core;

/* Copies the limits. */
struct core *core_new(const struct core_limits *limits);
void core_free(struct core *c);
/* New limits for what comes; what is already beyond them stays. */
void core_configure(struct core *c, const struct core_limits *limits);

/* Apply one entry of the store. 0, or -EBADMSG when it cannot be a record of
 * any version this program knows (`text`, if not NULL, says why). */
int core_replay(struct core *c, const void *entry, size_t len, uint32_t segment,
                char text[128]);

/* A record that says what cannot be, or a job that is not known although it
 * was whole (`wrong` NULL): its queue is not known or its group has ended.
 * Lent until return. */
struct core_left {
    const char *wrong;
    uint8_t type;
    uint64_t id; /* of the job, group, ... that it is about */
    const void *record;
    size_t len;
};
typedef void core_left_fn(void *arg, const struct core_left *left);

/* As core_replay, of a journal that has lost entries: what does not fit any
 * more is told and left out. -EBADMSG: not written by a version that this
 * program knows. */
int core_salvage(struct core *c, const void *entry, size_t len,
                 uint32_t segment, core_left_fn *left, void *arg,
                 char text[128]);

/* Entries are missing here: a queue that is not known from now on was among
 * them. It is made up, as `lost-` and its number, until its image comes. */
void core_lost(struct core *c);

/*
 * Where the entry lies that the last step, core_compact or core_replay has
 * recorded or was given: payloads that came with it need not stay in memory,
 * and EFFECT_LOAD may ask for them. Not to be called when it can not be read
 * again. `segment` is that of the last EVENT_SEGMENT or the one after it.
 */
void core_placed(struct core *c, uint32_t segment, uint32_t offset);

/* As EVENT_SEGMENT, between two core_compact of one scan. */
void core_segment(struct core *c, uint32_t segment);

/* All was replayed; before EVENT_START. */
void core_replay_end(struct core *c);

void core_step(struct core *c, const struct core_event *ev,
               struct core_effects *out);

/*
 * Compaction. An entry of an old segment, whose number is below that of the
 * last EVENT_SEGMENT: of what it made known and is still there, images are
 * written, so that the segment can go. Begins at *at = 0; MORE: call again with
 * *at as it was left. ROOM: likewise, but the disk is full, and what may be
 * used of its reserve has no room for the next image. Only records, and
 * EFFECT_TRIM, come of it.
 */
enum core_compacted {
    CORE_COMPACTED,
    CORE_COMPACT_MORE,
    CORE_COMPACT_ROOM,
};
enum core_compacted core_compact(struct core *c, const void *entry, size_t len,
                                 uint32_t segment, size_t *at,
                                 struct core_effects *out);

/*
 * The same when that segment cannot be read: images of all that lies in it or
 * before are written, from memory. ROOM: or payloads are not there, and asked
 * for. COMPACTED: they have been, or cannot be; if it was all of it,
 * core_oldest_segment is a later one.
 */
enum core_compacted core_heal(struct core *c, uint32_t segment, size_t *at,
                              struct core_effects *out);
uint32_t core_oldest_segment(const struct core *c);

/* The image of one job or group that lies in an older segment; the rest of what
 * a group owns follows with EVENT_TICK. For those who write everything again,
 * wherever it came from. */
void core_image(struct core *c, bool is_group, uint64_t id,
                struct core_effects *out);

/* Every group, then every job, in any order. Lent until return. */
struct core_thing {
    bool is_group;
    uint64_t id;
    const char *state;
    struct str queue; /* of a job */
    uint32_t attempt; /* likewise */
};
typedef void core_each_fn(void *arg, const struct core_thing *thing);
void core_each(const struct core *c, core_each_fn *fn, void *arg);

/* What images of everything would take, in bytes, to a few percent. */
int64_t core_live_bytes(const struct core *c);
/* Of that, what lies in the oldest segment, about: when it is written again
 * that segment can go. */
int64_t core_oldest_bytes(const struct core *c);

/* The time of the last record or event. */
int64_t core_now_ms(const struct core *c);

/* When EVENT_TICK is due: Unix ms; INT64_MAX: never; in the past: at once. */
int64_t core_next_ms(const struct core *c);

/* Does this client wait for an answer? */
bool core_blocked(const struct core *c, struct client_id client);
/* Is the wait of a client that is blocked ended by what else it sends
 * (EVENT_UNBLOCK)? If it is not, nothing may be asked for the client before the
 * answer. */
bool core_ends_early(const struct core *c, struct client_id client);

struct core_stats {
    int64_t queues, limiters, groups, sessions, clients_blocked;
    int64_t jobs, delayed, ready, parked, running, cancelling, joining,
        delivering, finished, dead;
    int64_t memory_bytes, payload_bytes, retained_bytes, log_bytes;
    int64_t unloaded, unloaded_bytes; /* jobs whose payloads are not in memory
                                       * (payload_bytes counts these, too) */
    uint64_t loads;                   /* EVENT_LOADs */
    uint64_t submitted, started, ok, failed, cancelled, retried, lost, stale,
        refused;
};
void core_stats(const struct core *c, struct core_stats *out);

/* A client as a worker: the attempts that it holds (1000 are counted at most),
 * and how many more its open FETCH may get. */
struct core_worker {
    int64_t held, wanted;
};
void core_worker(const struct core *c, struct client_id client,
                 struct core_worker *out);

/* Walks everything and ends the process if an invariant does not hold. */
void core_check(const struct core *c);

/* A digest of all durable state: equal after a crash and replay to what it was
 * after the last durable record. Volatile state (waits, places in line, leases)
 * is not part of it. */
uint64_t core_digest(const struct core *c);

/* Does `c` have every outcome that `of` has, and keep it for as long? Digests
 * do not say: in one of two some may have been forgotten already. */
bool core_keeps_ends(struct core *c, const struct core *of);

#endif
