/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine - turns of the loop around the core: requests in, effects out.
 *
 * Knows:     the ledger (the core, its store, what may be heard when), the
 *            clients, the loop.
 * Never:     what a command means (command.c), what a record means (core).
 * Threads:   none of its own; all calls from the thread of the loop.
 * Errors:    a store that has failed is final: nothing is acknowledged any
 *            more, the loop is broken, engine_status() is not 0.
 *
 * Order of calls: engine_new, then engine_accept, engine_configure and
 * engine_shutdown at any time while the loop runs. The loop replays the store,
 * a slice in each turn; clients wait, but for what does not need the core.
 * After options.loaded has told its end, all other functions, too. engine_free
 * after the loop has ended. The store is closed by its owner after that.
 */
#ifndef YOKE_ENGINE_H
#define YOKE_ENGINE_H

#include "core/core.h"
#include "store/store.h"

struct ev_loop;
struct engine;

#define ENGINE_DIGEST_LEN 32 /* SHA-256 */

/* Says one setting; for CONFIG GET. */
typedef void engine_setting_fn(void *arg, const char *name, const char *value);

struct engine_options {
    struct ev_loop *loop; /* lends until engine_free */
    struct store *store;  /* open, not replayed; lends likewise */
    struct core_limits limits;
    int64_t clients_max;         /* connections at once, at least 1 */
    int64_t output_max;          /* bytes of replies that one client leaves
                                  * unread before it is cut */
    int64_t unread_messages_max; /* bytes of messages that all subscribers
                                  * together leave unread before who has most
                                  * is cut */
    int64_t subscriptions_max;   /* of all clients together */
    int64_t client_subscriptions_max;
    int64_t patterns_max;   /* different ones, of all clients together */
    int64_t backup_idle_ms; /* a backup whose client is silent for so long is
                             * broken off */
    bool has_password;
    unsigned char password_digest[ENGINE_DIGEST_LEN]; /* SHA-256 of it */
    const char *version;                              /* lends for ever */

    /* Once, from the loop: the store is replayed and the core has started, or,
     * with -errno, cannot be; then the loop ends when this has returned. */
    void (*loaded)(void *arg, int rc, const char *text);
    /* SHUTDOWN [DRAIN] was asked for and answered; calls engine_drain and
     * engine_shutdown as it sees fit. NULL: the command is refused. */
    void (*shutdown)(void *arg, bool drain);
    /* Calls `each` for every setting; NULL: CONFIG GET knows none. */
    void (*settings)(void *arg, engine_setting_fn *each, void *each_arg);
    /* The disk was full and has room again. May be NULL. */
    void (*room)(void *arg);
    void *arg; /* for these */
};

/* The defaults, those of doc/yoked.ini.5. */
void engine_options_init(struct engine_options *options);

/* Copies the options. The loop must run next. */
struct engine *engine_new(const struct engine_options *options);
/* Closes all connections. NULL is allowed. */
void engine_free(struct engine *e);

/* New bounds for what comes: reload. loop, store, version and the callbacks
 * stay as they were. */
void engine_configure(struct engine *e, const struct engine_options *options);

/* Makes or changes a queue, as QUEUE SET does; CORE_UNSET keeps what holds.
 * 0, or -EINVAL and a text. */
int engine_queue_set(struct engine *e, const char *name,
                     const struct queue_settings *settings,
                     char text[STORE_TEXT_MAX]);

/* The same for a limiter, as LIMITER SET does it. */
int engine_limiter_set(struct engine *e, const char *name, int64_t permits,
                       int64_t rate, int64_t rate_ms,
                       char text[STORE_TEXT_MAX]);

/* A new connection; takes the descriptor (any stream socket). Above
 * clients_max it is told so and closed. Has the signature of listener_fn. */
void engine_accept(void *engine, int fd);

/*
 * A connection of a child of ours (one end of a socketpair); takes the
 * descriptor. It needs no password and does not count for clients_max. When
 * its socket breaks, its jobs stay with it until engine_dead says that all it
 * ran is gone. `name` (copied) is what CLIENT LIST shows.
 */
struct client_id engine_adopt(struct engine *e, int fd, const char *name);
/* The adopted client is dead and nothing that it ran is left: its attempts
 * are lost at once. To be called once for each engine_adopt. */
void engine_dead(struct engine *e, struct client_id client);

/* Accept no submits, start no jobs; calls `done` from the loop, once, when no
 * job runs (perhaps in the next turn, never from within this call). */
void engine_drain(struct engine *e, void (*done)(void *arg), void *arg);

/* Makes durable what was accepted, sends what may be sent, then breaks the
 * loop (ev_break), at the latest after `most_ms`. No new connections, no new
 * requests from now on. */
void engine_shutdown(struct engine *e, int64_t most_ms);

/* 0, or -errno after the store has failed or could not be replayed. The reason
 * has been logged, or told. */
int engine_status(const struct engine *e);

/* Proof of progress for a watchdog: feed it when `turns` moves and
 * `commit_ms` is not beyond patience. */
struct engine_progress {
    bool loading;      /* the store is being replayed */
    int loaded;        /* how much of it, in percent */
    uint64_t turns;    /* of the loop, since the start */
    uint64_t appended; /* as in struct store */
    uint64_t durable;
    int64_t commit_ms; /* age of the commit under way; 0: none, or it waits
                        * for room on the disk */
    int64_t clients;   /* connections */
    int64_t running;   /* jobs started and not ended */
    int64_t queued;    /* jobs not started */
    int64_t turn_us_last, turn_us_max; /* the loop's lag: how long others
                                        * had to wait for one turn */
};
void engine_progress(const struct engine *e, struct engine_progress *out);

#endif
