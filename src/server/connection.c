/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of the engine: its place and id, and what becomes of its requests.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/engine_internal.h"
#include "wire/resp.h"

/* --- places and ids ------------------------------------------------------ */

static struct client_id slot_id(const struct engine *e, uint32_t index)
{
    return (struct client_id){e->slots[index].generation << SLOT_BITS | index};
}

static uint32_t slot_of(struct client_id id)
{
    return (uint32_t)(id.n & ((UINT64_C(1) << SLOT_BITS) - 1));
}

struct connection *connection_find(struct engine *e, struct client_id id)
{
    uint32_t index = slot_of(id);

    if (index >= e->slots_len ||
        e->slots[index].generation != id.n >> SLOT_BITS)
        return NULL;
    return e->slots[index].connection;
}

static uint32_t take_slot(struct engine *e)
{
    uint32_t index;

    if (e->free_len > 0) {
        index = e->free_slots[--e->free_len];
    } else {
        if (e->slots_len == e->slots_cap) {
            e->slots_cap = e->slots_cap ? e->slots_cap * 2 : 64;
            ASSERT(e->slots_cap <= UINT32_C(1) << SLOT_BITS);
            e->slots =
                mem_realloc(e->slots, mem_mul(e->slots_cap, sizeof(*e->slots)));
            e->free_slots = mem_realloc(
                e->free_slots, mem_mul(e->slots_cap, sizeof(*e->free_slots)));
        }
        index = e->slots_len++;
    }
    e->slots[index] = (struct slot){.generation = ++e->generation};
    return index;
}

static void give_slot(struct engine *e, uint32_t index)
{
    e->slots[index] = (struct slot){0};
    e->free_slots[e->free_len++] = index;
}

/* A client that does not read its replies is cut before they fill the memory
 * of everybody. Not at once: that is a step, and we may be in one. */
void connection_check(struct engine *e, struct connection *c)
{
    if (UNLIKELY(buf_size(&c->client.out) > (size_t)e->options.output_max) &&
        !list_linked(&c->over))
        list_push_back(&e->over, &c->over);
}

static void disconnect(struct engine *e, struct client_id client,
                       enum core_disconnect how)
{
    struct core_event ev = {
        .kind = EVENT_DISCONNECT, .random = engine_random(e), .client = client};

    if (e->loading)
        return; /* the core has heard of nobody yet */
    ev.u.disconnect = how;
    engine_step(e, &ev);
}

/* --- what they do -------------------------------------------------------- */

static struct connection *connection_of(struct client *c)
{
    return container_of(c, struct connection, client);
}

static struct engine *engine_of(struct client *c)
{
    return container_of(c->set, struct engine, clients);
}

static struct client_id id_of(const struct connection *c)
{
    return (struct client_id){c->peer.id};
}

void connection_limit(struct engine *e, struct connection *c)
{
    if (c->peer.authenticated) {
        c->client.args_max = COMMAND_ARGS_MAX;
        c->client.bytes_max =
            (size_t)e->options.limits.payload_max + RESP_INLINE_MAX;
    } else {
        c->client.args_max = COMMAND_ARGS_MAX_NOAUTH;
        c->client.bytes_max = COMMAND_BYTES_MAX_NOAUTH;
    }
}

static void on_received(struct client *client)
{
    struct connection *c = connection_of(client);

    backup_heard(&engine_of(client)->backups, &c->backup);
    if (c->peer.session)
        engine_step_plain(engine_of(client), EVENT_ALIVE, id_of(c));
}

static void on_interrupt(struct client *client)
{
    engine_step_plain(engine_of(client), EVENT_UNBLOCK,
                      id_of(connection_of(client)));
}

/* A request for the core. No answer now: its client waits for one. */
static void ask_core(struct engine *e, struct connection *c,
                     struct command_call *call)
{
    unsigned flags = command_flags(call->id);

    call->event->client = id_of(c);
    call->event->random =
        flags & COMMAND_LIVE ? engine_random_secret(e) : engine_random(e);
    e->asking = c;
    e->call = call;
    e->answered = false;
    engine_step(e, call->event);
    e->asking = NULL;
    e->call = NULL;
    if (flags & COMMAND_LIVE)
        c->peer.session = true;
    if (!e->answered && c->client.phase == CLIENT_OPEN)
        c->client.wait = core_ends_early(e->ledger.core, id_of(c))
                             ? CLIENT_BLOCKED
                             : CLIENT_STUCK;
}

static void on_request(struct client *client, const struct str *argv,
                       size_t argc)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);
    struct core_event ev = {0};
    struct command_call call = {
        .server = &e->server,
        .peer = &c->peer,
        .argv = argv,
        .argc = argc,
        .out = &client->out,
        .event = &ev,
    };

    switch (command_run(&call)) {
    case COMMAND_STEP:
        ask_core(e, c, &call);
        if (UNLIKELY(call.id == COMMAND_ID_hello))
            connection_limit(e, c);
        return;
    case COMMAND_EARLY:
        client->wait = CLIENT_EARLY;
        return;
    case COMMAND_LATER:
        client->wait = CLIENT_STUCK;
        return;
    case COMMAND_ANSWERED:
        if (UNLIKELY(call.id == COMMAND_ID_auth))
            connection_limit(e, c);
        break;
    case COMMAND_QUIT:
        disconnect(e, id_of(c), DISCONNECT_CLEAN);
        client_end(client, false);
        break;
    case COMMAND_ABUSE:
        client_end(client, true);
        disconnect(e, id_of(c), DISCONNECT_BROKEN);
        break;
    case COMMAND_SHUTDOWN:
        e->options.shutdown(e->options.arg, call.drain);
        break;
    }
    ledger_touch(&e->ledger, &c->reader);
    connection_check(e, c);
}

static void on_refused(struct client *client, bool too_big, const char *text)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);

    log_debug("request refused, connection closed: id=%llu %s",
              (unsigned long long)c->peer.id, text);
    resp_error(&client->out, too_big ? CORE_ERR_TOOBIG : CORE_ERR_GENERIC, "%s",
               text);
    ledger_touch(&e->ledger, &c->reader);
    client_end(client, true);
    disconnect(e, id_of(c), DISCONNECT_BROKEN);
}

/* Its socket is gone. What an adopted client runs may still be alive: until
 * engine_dead says otherwise only its wait ends. */
static void on_gone(struct client *client)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);

    log_debug("client gone: id=%llu", (unsigned long long)c->peer.id);
    if (c->adopted)
        engine_step_plain(e, EVENT_UNBLOCK, id_of(c));
    else
        disconnect(e, id_of(c), DISCONNECT_BROKEN);
}

static void on_reap(struct client *client)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);
    uint32_t index = slot_of(id_of(c));

    backup_stop(&e->backups, &c->backup);
    ledger_reader_clear(&c->reader);
    list_remove(&c->over);
    engine_forget_told(e, c);
    e->slots[index].connection = NULL;
    if (!e->slots[index].adopted)
        give_slot(e, index);
    subscriber_clear(&e->server.subscriptions, &c->peer.subscriber);
    command_peer_clear(&c->peer);
    mem_free(c);
}

const struct client_hooks connection_hooks = {
    .received = on_received,
    .interrupt = on_interrupt,
    .request = on_request,
    .refused = on_refused,
    .gone = on_gone,
    .reap = on_reap,
};

/* --- backups -------------------------------------------------------------- */

enum command_result connection_backup(void *engine, struct command_call *call)
{
    struct connection *c = container_of(call->peer, struct connection, peer);
    struct engine *e = engine;
    int proto = call->peer->proto;

    if (call->id == COMMAND_ID_backup_next)
        return backup_next(&e->backups, &c->backup, proto, call->out)
                   ? COMMAND_ANSWERED
                   : COMMAND_LATER;
    if (call->id == COMMAND_ID_backup_start) {
        backup_start(&e->backups, &c->backup, proto, call->out);
    } else {
        backup_stop(&e->backups, &c->backup);
        resp_status(call->out, "OK");
    }
    return COMMAND_ANSWERED;
}

/* What a client waits for that has asked for a piece. */
void connection_piece(struct backup *b)
{
    struct connection *c = container_of(b, struct connection, backup);
    struct engine *e = engine_of(&c->client);

    if (c->client.phase != CLIENT_OPEN)
        return; /* it is reaped next */
    backup_answer(&e->backups, b, c->peer.proto, &c->client.out);
    client_resume(&c->client);
    /* One piece has a bound of its own, and nothing more is taken from who does
     * not read it: output-max may be less. */
    ledger_touch(&e->ledger, &c->reader);
}

/* --- how they come ------------------------------------------------------- */

static struct connection *add_connection(struct engine *e, int fd, bool adopted)
{
    struct connection *c = mem_zalloc(sizeof(*c));
    uint32_t index = take_slot(e);

    client_init(&c->client, &e->clients, fd);
    command_peer_init(&c->peer, slot_id(e, index).n);
    c->peer.authenticated = adopted || !e->options.has_password;
    c->adopted = adopted;
    ledger_reader_init(&c->reader);
    list_init(&c->over);
    connection_limit(e, c);
    e->slots[index].connection = c;
    e->slots[index].adopted = adopted;
    log_debug("client came: id=%llu", (unsigned long long)c->peer.id);
    return c;
}

void engine_accept(void *engine, int fd)
{
    static const char full[] = "-LIMIT max number of clients reached\r\n";
    struct engine *e = engine;

    if (e->stopping || e->ledger.status) {
        (void)close(fd);
        return;
    }
    if ((int64_t)e->clients.count >= e->options.clients_max) {
        e->rejected++;
        /* A fresh socket has room for a line; if not, closing says it too. */
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)close(fd);
        return;
    }
    e->accepted++;
    (void)add_connection(e, fd, false);
}

struct client_id engine_adopt(struct engine *e, int fd, const char *name)
{
    struct connection *c;

    /* It is ours: neither call can fail for an open descriptor. */
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    c = add_connection(e, fd, true);
    c->peer.name = mem_dup_text(name, strlen(name));
    return id_of(c);
}

void engine_dead(struct engine *e, struct client_id client)
{
    uint32_t index = slot_of(client);
    struct connection *c = connection_find(e, client);

    ASSERT(index < e->slots_len && e->slots[index].adopted &&
           e->slots[index].generation == client.n >> SLOT_BITS);
    if (c)
        client_cut(&c->client);
    disconnect(e, client, DISCONNECT_DEAD);
    e->slots[index].adopted = false;
    if (!c)
        give_slot(e, index);
}
