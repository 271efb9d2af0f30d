/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine_internal - what engine.c (turns), connection.c (clients) and figures.c
 * (INFO) share.
 */
#ifndef YOKE_ENGINE_INTERNAL_H
#define YOKE_ENGINE_INTERNAL_H

#include <ev.h>

#include "base/list.h"
#include "server/backup.h"
#include "server/client.h"
#include "server/command.h"
#include "server/engine.h"
#include "server/ledger.h"
#include "server/pace.h"

struct connection {
    struct client client;
    struct command_peer peer;
    struct ledger_reader reader; /* of `client.out` */
    struct backup backup;
    struct list over;
    size_t told; /* at most that many bytes of its output are messages */
    bool adopted;
};

/* A place for a connection. The client's id is generation << SLOT_BITS | index.
 */
#define SLOT_BITS 24
struct slot {
    struct connection *connection; /* NULL: free, or its socket is gone */
    uint64_t generation;
    bool adopted; /* taken until engine_dead, socket or not */
};

#define RANDOM_WORDS 64

struct engine {
    struct engine_options options;
    struct ledger ledger;
    struct command_server server;
    struct pace pace;
    struct backups backups;

    struct client_set clients;
    struct slot *slots;
    uint32_t *free_slots; /* a stack */
    uint32_t slots_len, slots_cap, free_len;
    uint64_t generation;
    uint64_t accepted, rejected, cut_for_output;

    struct list over;      /* to be cut: too many unread replies */
    size_t told;           /* of all connections together */
    size_t told_batch;     /* bytes of messages since .. */
    uint64_t told_batches; /* .. that many batches */
    uint64_t told_work;    /* of the subscriptions, up to the last turn */

    struct connection *asking; /* whose request is in the core now */
    struct command_call *call; /* that request */
    bool answered;

    int64_t moved_us;      /* monotonic, when the ledger's now_ms last moved */
    int64_t ahead_ms;      /* of now_ms, before the time since the boot; ... */
    int64_t ahead_told_ms; /* ... as the core knows */
    int64_t started_ms;
    int64_t turn_us;   /* monotonic, when this turn began */
    int64_t commit_us; /* likewise, of the turn whose commit is under way; 0 */
    int64_t tick_ms;   /* what tick_timer is set for */
    uint64_t turns;
    bool room_again; /* after a full disk, and nobody was told yet */
    bool unreadable; /* payloads are, for now */
    int64_t turn_us_last, turn_us_max;
    int64_t turn_us_minute, turn_us_window; /* max of the last full minute, of
                                             * the one that began at .. */
    int64_t window_us;

    uint64_t seed[2];              /* for what need not be secret */
    uint64_t secret[RANDOM_WORDS]; /* from the kernel */
    unsigned secret_left;

    bool loading; /* the store is being replayed, the core is not started */
    ev_prepare prepare;
    ev_check check;
    ev_idle idle;
    ev_timer tick_timer, second_timer;
    ev_io store_io;

    void (*drained)(void *arg);
    void *drained_arg;
    bool stopping;
    int64_t stop_us;
    char run_id[COMMAND_RUN_ID_LEN + 1];
};

/* -- engine.c ----------------------------------------------------------- */

/* One event at the time of this turn. */
void engine_step(struct engine *e, struct core_event *ev);
void engine_step_plain(struct engine *e, enum core_event_kind kind,
                       struct client_id client);

/* Chance: what nobody can guess, and what is only spread well. */
uint64_t engine_random_secret(struct engine *e);
uint64_t engine_random(struct engine *e);

/* What it was told of is not counted any more. */
void engine_forget_told(struct engine *e, struct connection *c);

/* Bytes of messages that wait in the outputs of subscribers, at most. */
size_t engine_unread_messages(struct engine *e);

/* How much of the store has been replayed, in percent. */
int engine_loaded(const struct engine *e);

/* -- connection.c ------------------------------------------------------- */

extern const struct client_hooks connection_hooks;

/* NULL: it is gone. */
struct connection *connection_find(struct engine *e, struct client_id id);

/* Who does not read what it is sent is cut at the end of the turn. */
void connection_check(struct engine *e, struct connection *c);

/* How large its requests may be, after that may have changed. */
void connection_limit(struct engine *e, struct connection *c);

/* BACKUP; and a piece that was asked for is there. */
enum command_result connection_backup(void *engine, struct command_call *call);
void connection_piece(struct backup *b);

/* -- figures.c, for command_server -------------------------------------- */

void figures_info(void *engine, const struct str *sections, size_t n,
                  struct buf *out);
void figures_clients(void *engine, const struct command_peer *peer,
                     struct buf *out);

#endif
