/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command - what requests mean: from words to events of the core, or answers.
 *
 * Knows:     wire/commands.def: names, numbers of words, options, flags.
 * Never:     sockets, the store, the core's insides. Whether a queue, group or
 *            job exists is for the core to say.
 * Errors:    a request that means nothing is answered with an error that names
 *            the word and what would be right.
 *
 * commands.def has a row for each; a row's handler is handle_<id>.
 */
#ifndef YOKE_COMMAND_H
#define YOKE_COMMAND_H

#include "base/buf.h"
#include "core/core.h"
#include "server/subscription.h"

#define COMMAND_DIGEST_LEN 32
#define COMMAND_RUN_ID_LEN 40

/* Before authentication a request is small. */
#define COMMAND_ARGS_MAX_NOAUTH  10
#define COMMAND_BYTES_MAX_NOAUTH 16384
#define COMMAND_ARGS_MAX         1024

enum command_flag {
    COMMAND_READ = 1,
    COMMAND_WRITE = 2,
    COMMAND_BLOCK = 4,
    COMMAND_OPEN = 8,
    COMMAND_LIVE = 16,
    COMMAND_FAMILY = 32,
    COMMAND_LISTEN = 64,
    COMMAND_LOADING = 128,
};

enum command_id {
#define COMMAND(id, name, min, max, flags, area, arguments, help) \
    COMMAND_ID_##id,
#define FAMILY_OF(id, name, area, help) COMMAND_ID_##id,
#include "wire/commands.def"
#undef COMMAND
#undef FAMILY_OF
    COMMAND_COUNT
};

/* What a connection has said about itself. The texts are owned. */
struct command_peer {
    uint64_t id;
    int proto; /* 2 or 3 */
    bool authenticated;
    bool session;                           /* the core knows a session of it */
    char *name, *library, *library_version; /* NULL: not said */
    int last;                               /* enum command_id, -1: none yet */
    struct subscriber subscriber;
};

void command_peer_init(struct command_peer *peer, uint64_t id);
/* Its subscriptions must have been ended. */
void command_peer_clear(struct command_peer *peer);

typedef void command_setting_fn(void *arg, const char *name, const char *value);

enum command_result {
    COMMAND_ANSWERED, /* the answer is in `out` */
    COMMAND_STEP,     /* `event` is for the core, which answers */
    COMMAND_EARLY,    /* not before the core is there; nothing was done */
    COMMAND_LATER,    /* who was asked answers, and nothing else before */
    COMMAND_QUIT,     /* answered; the client says goodbye */
    COMMAND_ABUSE,    /* answered; close the connection */
    COMMAND_SHUTDOWN, /* answered; end the daemon */
};

struct command_call;

/* What commands need of the daemon. */
struct command_server {
    const char *version;
    bool has_password;
    unsigned char password_digest[COMMAND_DIGEST_LEN];
    int64_t lease_ms;
    bool can_shutdown;
    bool loading; /* the core is not there yet */
    uint64_t calls[COMMAND_COUNT];
    uint64_t wrong_passwords;
    struct str queues[CORE_QUEUES_PER_FETCH]; /* lent to the event, ... */
    int64_t bounds[CORE_QUEUES_PER_FETCH];    /* ... and so are these, ... */
    struct core_id ids[CORE_AWAIT_IDS];       /* ... and these */
    struct subscriptions subscriptions;
    int64_t subscriptions_max, client_subscriptions_max, patterns_max;

    void *arg; /* of the functions below */
    /* Text of the sections that match; `wants` says which. */
    void (*info)(void *arg, const struct str *sections, size_t n,
                 struct buf *out);
    /* One line for each connection, or for `peer` alone if not NULL. */
    void (*clients)(void *arg, const struct command_peer *peer,
                    struct buf *out);
    void (*settings)(void *arg, command_setting_fn *each, void *each_arg);
    /* While loading: how much of it is done, in percent. */
    int (*loaded)(void *arg);
    /* BACKUP START, NEXT and STOP: ANSWERED or LATER. */
    enum command_result (*backup)(void *arg, struct command_call *call);
};

/* One request on its way. */
struct command_call {
    struct command_server *server;
    struct command_peer *peer;
    const struct str *argv; /* lends */
    size_t argc;
    struct buf *out;
    struct core_event *event; /* kind and u are filled in */
    int id;                   /* enum command_id */
    bool drain;               /* of SHUTDOWN */
    /* Not NULL: renders the core's answer, instead of resp_value. The core
     * answers such events at once. */
    void (*render)(struct command_call *call, const char *bytes, size_t *at);
};

/* Builds the table for lookups; once, before the first command_run. */
void command_init(void);

enum command_result command_run(struct command_call *call);

const char *command_name(int id);
unsigned command_flags(int id);

/* Does INFO with these arguments (none: all) show this section? */
bool command_info_wants(const struct str *sections, size_t n,
                        const char *section);

#endif
