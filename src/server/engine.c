/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One turn of the loop:
 *
 *     check    take the time
 *     events   note who can be read; timers, the store, new connections
 *     prepare  read, parse, step the core: records are appended, replies
 *              rendered into the output of their clients, which are `touched`;
 *              then commit what was appended and release what is durable: one
 *              write for each client
 *
 * A reply may leave when everything that was appended before the end of its
 * turn is durable. While a commit is under way the loop reads on; what is
 * touched meanwhile belongs to the next commit.
 */
#include "server/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/engine_internal.h"
#include "wire/resp.h"

/* An id is generation << SLOT_BITS | index. */
#define SLOT_BITS 24
/* With that much appended and not committed no more requests are taken. */
#define BATCH_MAX (16u << 20)
/* When telling events has taken that much of a turn, no more requests are taken
 * in it; about 10 ms. */
#define TURN_WORK 20000
/* A store that has nothing to say is asked at least that often (s). */
#define SECOND    1.0
#define WINDOW_US INT64_C(60000000)
/* The timer of the core's next deadline is never set further ahead (s), so
 * that a step of the clock is noticed. */
#define TICK_FARTHEST 1.0

/* --- time and chance ---------------------------------------------------- */

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t); /* cannot fail for these clocks */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/*
 * The core's time never goes backward. When the system's clock was set back,
 * ours goes on at half speed until they meet again: leases and timeouts last
 * longer for a while, but none stops.
 */
static void take_time(struct engine *e)
{
    int64_t mono_us = clock_us(CLOCK_MONOTONIC);
    int64_t real_ms = clock_us(CLOCK_REALTIME) / 1000;
    int64_t elapsed_ms = (mono_us - e->moved_us) / 1000;

    e->turn_us = mono_us;
    if (real_ms >= e->now_ms) {
        e->now_ms = real_ms;
        e->moved_us = mono_us;
    } else if (elapsed_ms >= 2) {
        e->now_ms += elapsed_ms / 2;
        e->moved_us = mono_us;
    }
}

static void fill_secret(struct engine *e)
{
    size_t done = 0;

    while (done < sizeof(e->secret)) {
        ssize_t n =
            getrandom((char *)e->secret + done, sizeof(e->secret) - done, 0);

        if (n < 0 && errno != EINTR)
            BUG("getrandom failed");
        if (n > 0)
            done += (size_t)n;
    }
    e->secret_left = RANDOM_WORDS;
}

static uint64_t random_secret(struct engine *e)
{
    if (e->secret_left == 0)
        fill_secret(e);
    return e->secret[--e->secret_left];
}

/* xorshift128+: for jitter, which nobody gains from guessing. */
static uint64_t random_cheap(struct engine *e)
{
    uint64_t a = e->seed[0], b = e->seed[1];

    e->seed[0] = b;
    a ^= a << 23;
    e->seed[1] = a ^ b ^ a >> 17 ^ b >> 26;
    return e->seed[1] + b;
}

/* --- the end ------------------------------------------------------------ */

/* The store has failed: nobody may hear that anything was accepted. */
static void fail_store(struct engine *e, int rc, const char *text)
{
    if (e->status)
        return;
    e->status = rc;
    log_error("the journal has failed; nothing is acknowledged any more: %s",
              text);
    ev_break(e->options.loop, EVBREAK_ALL);
}

static void check_store(struct engine *e)
{
    char text[STORE_TEXT_MAX];
    int rc = store_error(e->options.store, text);

    if (rc)
        fail_store(e, rc, text);
}

/* --- clients by id ------------------------------------------------------ */

static struct client_id slot_id(const struct engine *e, uint32_t index)
{
    return (struct client_id){e->slots[index].generation << SLOT_BITS | index};
}

static uint32_t slot_of(struct client_id id)
{
    return (uint32_t)(id.n & ((UINT64_C(1) << SLOT_BITS) - 1));
}

static struct connection *find_connection(struct engine *e, struct client_id id)
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

/* --- replies ------------------------------------------------------------ */

static void touch(struct engine *e, struct connection *c)
{
    if (!list_linked(&c->touched))
        list_push_back(&e->touched, &c->touched);
}

/* A client that does not read its replies is cut before they fill the memory
 * of everybody. Not at once: that is a step, and we may be in one. */
static void check_output(struct engine *e, struct connection *c)
{
    if (UNLIKELY(buf_size(&c->client.out) > (size_t)e->options.output_max) &&
        !list_linked(&c->over))
        list_push_back(&e->over, &c->over);
}

static void cut_over(struct engine *e)
{
    while (!list_empty(&e->over)) {
        struct connection *c =
            list_entry(e->over.next, struct connection, over);

        list_remove(&c->over);
        if (c->client.phase == CLIENT_DEAD)
            continue;
        e->cut_for_output++;
        log_warn("client does not read what it is sent and is cut: id=%llu "
                 "bytes=%zu",
                 (unsigned long long)c->peer.id, buf_size(&c->client.out));
        client_cut(&c->client);
    }
}

static void deliver(struct engine *e, const struct core_effect *effect)
{
    struct connection *c = find_connection(e, effect->client);
    const char *bytes = e->effects.values.data;
    size_t at = effect->at;

    if (!c || c->client.phase != CLIENT_OPEN)
        return; /* it did not wait for the answer */
    if (c == e->asking) {
        e->answered = true;
        if (e->call->render)
            e->call->render(e->call, bytes, &at);
        else
            resp_value(&c->client.out, c->peer.proto, bytes, &at);
    } else {
        resp_value(&c->client.out, c->peer.proto, bytes, &at);
    }
    if (c->client.wait != CLIENT_RUNS)
        client_resume(&c->client);
    c->held = true;
    touch(e, c);
    check_output(e, c);
}

/* --- events for subscribers --------------------------------------------- */

/* Messages that wait for the disk, told since the last commit and by the one
 * before: their subscribers could not have read them, and are not to be cut
 * for it. Each of the two may be that part of the bound. */
#define TOLD_BATCH(e) ((size_t)(e)->options.unread_messages_max / 4)

static void add_told(struct engine *e, struct connection *c, size_t bytes)
{
    c->told += bytes;
    e->told += bytes;
    e->told_batch += bytes;
}

static void forget_told(struct engine *e, struct connection *c)
{
    e->told -= c->told;
    c->told = 0;
}

/*
 * Which bytes of its output a client has read is known, but not what was a
 * message among them: when nothing is left, nothing is. So the counts are too
 * high, and corrected only when somebody asks or the bound is reached.
 */
size_t engine_unread_messages(struct engine *e)
{
    list_foreach (it, &e->clients.all) {
        struct connection *c = container_of(list_entry(it, struct client, all),
                                            struct connection, client);
        size_t unread = buf_size(&c->client.out);

        if (c->told > unread) {
            e->told -= c->told - unread;
            c->told = unread;
        }
    }
    return e->told;
}

static struct connection *fattest(struct engine *e)
{
    struct connection *found = NULL;

    list_foreach (it, &e->clients.all) {
        struct connection *c = container_of(list_entry(it, struct client, all),
                                            struct connection, client);

        if (c->told > 0 && (!found || c->told > found->told))
            found = c;
    }
    return found;
}

/* Subscribers have asked for nothing, so memory-max does not hold for what they
 * are told. Some room is made, for the walks cost more than a message. */
static void bound_told(struct engine *e)
{
    size_t enough = (size_t)e->options.unread_messages_max / 8 * 7;

    if (LIKELY(e->told <= (size_t)e->options.unread_messages_max))
        return;
    while (engine_unread_messages(e) > enough) {
        struct connection *c = fattest(e);

        forget_told(e, c);
        if (!list_linked(&c->over))
            list_push_back(&e->over, &c->over);
    }
}

/* One event for one client; it leaves no earlier than a reply would. */
static void tell(void *arg, struct subscriber *to, const struct message *m)
{
    struct connection *c = container_of(to, struct connection, peer.subscriber);
    struct buf *out = &c->client.out;
    size_t before = buf_size(out);
    struct engine *e = arg;

    if (c->client.phase != CLIENT_OPEN || list_linked(&c->over))
        return;
    resp_push(out, c->peer.proto, m->pattern.p ? 4 : 3);
    resp_text(out, m->pattern.p ? "pmessage" : "message");
    if (m->pattern.p)
        resp_str(out, m->pattern);
    resp_str(out, m->channel);
    resp_str(out, m->text);
    c->held = true;
    touch(e, c);
    add_told(e, c, buf_size(out) - before);
    check_output(e, c);
    bound_told(e);
}

/* --- steps -------------------------------------------------------------- */

static void set_paused(struct engine *e)
{
    e->clients.paused = e->stopping || e->batch_bytes > BATCH_MAX ||
                        e->told_batch > TOLD_BATCH(e) ||
                        e->server.subscriptions.work - e->told_work > TURN_WORK;
}

/* The turn is over: others had their chance to say something. */
static void end_told_work(struct engine *e)
{
    e->told_work = e->server.subscriptions.work;
}

static void end_batch(struct engine *e)
{
    e->batch_bytes = e->told_batch = 0;
}

static void append(struct engine *e)
{
    struct buf *records = &e->effects.records;
    uint64_t pos;
    int rc = store_append(e->options.store, buf_front(records),
                          buf_size(records), &pos);

    if (rc)
        fail_store(e, rc, "no room for a record, even in the reserve");
    e->batch_bytes += buf_size(records);
    set_paused(e);
}

static void step_core(struct engine *e, struct core_event *ev)
{
    const struct core_effects *effects = &e->effects;
    struct connection *cut = NULL; /* one in a step */

    ASSERT(!e->stepping);
    e->stepping = true;
    ev->now_ms = e->now_ms;
    core_effects_reset(&e->effects);
    core_step(e->core, ev, &e->effects);
    if (buf_size(&effects->records) > 0)
        append(e);
    for (size_t i = 0; i < effects->len; i++) {
        switch (effects->list[i].kind) {
        case EFFECT_RECORD:
            break; /* they lie together and were appended */
        case EFFECT_REPLY:
            deliver(e, &effects->list[i]);
            break;
        case EFFECT_NEWS:
            subscription_publish(&e->server.subscriptions,
                                 e->effects.values.data, effects->list[i].at,
                                 tell, e);
            set_paused(e);
            break;
        case EFFECT_TRIM:
            e->trim_segment = effects->list[i].segment;
            e->trim_pos = e->options.store->appended;
            break;
        case EFFECT_CUT:
            cut = find_connection(e, effects->list[i].client);
            break;
        }
    }
    e->stepping = false;
    /* A step by itself, as every disconnect. */
    if (UNLIKELY(cut != NULL) && cut->client.phase != CLIENT_DEAD)
        client_cut(&cut->client);
}

/* Steps the core after it was told what the store has said meanwhile, and
 * what those who watch cost now. */
static void step(struct engine *e, struct core_event *ev)
{
    const struct store *s = e->options.store;
    int64_t news_work = subscription_work(&e->server.subscriptions);

    if (UNLIKELY(e->segment != s->segment || e->full != s->full ||
                 e->news_work != news_work)) {
        struct connection *asking = e->asking;
        struct core_event news = {.random = random_cheap(e)};

        e->asking = NULL;
        if (e->segment != s->segment) {
            e->segment = s->segment;
            news.kind = EVENT_SEGMENT;
            news.u.segment = s->segment;
            step_core(e, &news);
        }
        if (e->full != s->full) {
            e->full = s->full;
            if (s->full)
                log_warn("the disk is full: submits are refused");
            else
                log_info("the disk has room again");
            news = (struct core_event){.kind = EVENT_DISK_FULL,
                                       .random = random_cheap(e)};
            news.u.on = s->full;
            step_core(e, &news);
        }
        if (e->news_work != news_work) {
            e->news_work = news_work;
            news = (struct core_event){.kind = EVENT_WATCH,
                                       .random = random_cheap(e)};
            news.u.work = news_work;
            step_core(e, &news);
        }
        e->asking = asking;
    }
    step_core(e, ev);
}

static void step_plain(struct engine *e, enum core_event_kind kind,
                       struct client_id client)
{
    struct core_event ev = {
        .kind = kind, .random = random_cheap(e), .client = client};

    step(e, &ev);
}

static void tell_disconnect(struct engine *e, struct client_id client,
                            enum core_disconnect how)
{
    struct core_event ev = {
        .kind = EVENT_DISCONNECT, .random = random_cheap(e), .client = client};

    ev.u.disconnect = how;
    step(e, &ev);
}

/* --- what clients do ---------------------------------------------------- */

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

static void set_limits(struct engine *e, struct connection *c)
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

    if (c->peer.session)
        step_plain(engine_of(client), EVENT_ALIVE, id_of(c));
}

static void on_interrupt(struct client *client)
{
    step_plain(engine_of(client), EVENT_UNBLOCK, id_of(connection_of(client)));
}

/* A request for the core. No answer now: its client waits for one. */
static void ask_core(struct engine *e, struct connection *c,
                     struct command_call *call)
{
    unsigned flags = command_flags(call->id);

    call->event->client = id_of(c);
    call->event->random =
        flags & COMMAND_LIVE ? random_secret(e) : random_cheap(e);
    e->asking = c;
    e->call = call;
    e->answered = false;
    step(e, call->event);
    e->asking = NULL;
    e->call = NULL;
    if (flags & COMMAND_LIVE)
        c->peer.session = true;
    if (!e->answered && c->client.phase == CLIENT_OPEN)
        c->client.wait =
            core_ends_early(call->event->kind) ? CLIENT_BLOCKED : CLIENT_STUCK;
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
            set_limits(e, c);
        return;
    case COMMAND_ANSWERED:
        if (UNLIKELY(call.id == COMMAND_ID_auth))
            set_limits(e, c);
        break;
    case COMMAND_QUIT:
        tell_disconnect(e, id_of(c), DISCONNECT_CLEAN);
        client_end(client, false);
        break;
    case COMMAND_ABUSE:
        client_end(client, true);
        tell_disconnect(e, id_of(c), DISCONNECT_BROKEN);
        break;
    case COMMAND_SHUTDOWN:
        e->options.shutdown(e->options.arg, call.drain);
        break;
    }
    touch(e, c);
    check_output(e, c);
}

static void on_refused(struct client *client, bool too_big, const char *text)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);

    log_debug("request refused, connection closed: id=%llu %s",
              (unsigned long long)c->peer.id, text);
    resp_error(&client->out, too_big ? CORE_ERR_TOOBIG : CORE_ERR_GENERIC, "%s",
               text);
    touch(e, c);
    client_end(client, true);
    tell_disconnect(e, id_of(c), DISCONNECT_BROKEN);
}

/* Its socket is gone. What an adopted client runs may still be alive: until
 * engine_dead says otherwise only its wait ends. */
static void on_gone(struct client *client)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);

    log_debug("client gone: id=%llu", (unsigned long long)c->peer.id);
    if (c->adopted)
        step_plain(e, EVENT_UNBLOCK, id_of(c));
    else
        tell_disconnect(e, id_of(c), DISCONNECT_BROKEN);
}

static void on_reap(struct client *client)
{
    struct connection *c = connection_of(client);
    struct engine *e = engine_of(client);
    uint32_t index = slot_of(id_of(c));

    list_remove(&c->touched);
    list_remove(&c->flight);
    list_remove(&c->over);
    forget_told(e, c);
    e->slots[index].connection = NULL;
    if (!e->slots[index].adopted)
        give_slot(e, index);
    subscriber_clear(&e->server.subscriptions, &c->peer.subscriber);
    command_peer_clear(&c->peer);
    mem_free(c);
}

static const struct client_hooks hooks = {
    .received = on_received,
    .interrupt = on_interrupt,
    .request = on_request,
    .refused = on_refused,
    .gone = on_gone,
    .reap = on_reap,
};

/* --- connections come ---------------------------------------------------- */

static struct connection *add_connection(struct engine *e, int fd, bool adopted)
{
    struct connection *c = mem_zalloc(sizeof(*c));
    uint32_t index = take_slot(e);

    client_init(&c->client, &e->clients, fd);
    command_peer_init(&c->peer, slot_id(e, index).n);
    c->peer.authenticated = adopted || !e->options.has_password;
    c->adopted = adopted;
    list_init(&c->touched);
    list_init(&c->flight);
    list_init(&c->over);
    set_limits(e, c);
    e->slots[index].connection = c;
    e->slots[index].adopted = adopted;
    log_debug("client came: id=%llu", (unsigned long long)c->peer.id);
    return c;
}

void engine_accept(void *engine, int fd)
{
    static const char full[] = "-LIMIT max number of clients reached\r\n";
    struct engine *e = engine;

    if (e->stopping || e->status) {
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
    struct connection *c = find_connection(e, client);

    ASSERT(index < e->slots_len && e->slots[index].adopted &&
           e->slots[index].generation == client.n >> SLOT_BITS);
    if (c)
        client_cut(&c->client);
    tell_disconnect(e, client, DISCONNECT_DEAD);
    e->slots[index].adopted = false;
    if (!c)
        give_slot(e, index);
}

/* --- turns -------------------------------------------------------------- */

static void release_all(struct connection *c)
{
    c->held = false;
    client_release(&c->client, client_output_end(&c->client));
}

/*
 * The commit that was under way has ended. A write may find its socket broken,
 * and the core's answer to that may give others replies that are not durable
 * yet: those are touched again, and only what was in flight is released.
 */
static void release_flight(struct engine *e)
{
    while (!list_empty(&e->flight)) {
        struct connection *c =
            list_entry(e->flight.next, struct connection, flight);

        list_remove(&c->flight);
        if (list_linked(&c->touched))
            client_release(&c->client, c->flight_end);
        else
            release_all(c);
    }
}

/* Answers that did not come from the core wait for nobody. */
static void release_unheld(struct engine *e)
{
    list_foreach_safe (it, &e->touched) {
        struct connection *c = list_entry(it, struct connection, touched);

        if (!c->held) {
            list_remove(&c->touched);
            release_all(c);
        }
    }
}

static void start_flight(struct engine *e)
{
    e->flight_pos = e->options.store->appended;
    while (!list_empty(&e->touched)) {
        struct connection *c =
            list_entry(e->touched.next, struct connection, touched);

        list_remove(&c->touched);
        list_remove(&c->flight);
        c->flight_end = client_output_end(&c->client);
        list_push_back(&e->flight, &c->flight);
    }
}

static void commit(struct engine *e)
{
    struct store *s = e->options.store;

    release_unheld(e);
    if (s->durable >= e->flight_pos && !list_empty(&e->flight))
        release_flight(e);
    if (s->durable < s->appended && !s->busy) {
        store_commit(s);
        check_store(e);
        end_batch(e);
        e->commit_us = e->turn_us;
        start_flight(e);
    } else if (s->durable >= s->appended) {
        end_batch(e);
        start_flight(e); /* it has arrived already */
    }
    if (e->status)
        return;
    if (s->durable >= e->flight_pos) {
        e->commit_us = 0;
        release_flight(e);
    }
    if (e->trim_segment && s->durable >= e->trim_pos) {
        store_trim(s, e->trim_segment);
        e->trim_segment = 0;
    }
    set_paused(e);
}

/* Is there something left that no event will bring up? */
static bool has_work(const struct engine *e)
{
    const struct store *s = e->options.store;

    return client_set_has_work(&e->clients) || !list_empty(&e->clients.dead) ||
           (!s->busy && (s->durable < s->appended || !list_empty(&e->touched)));
}

static void set_tick(struct engine *e)
{
    int64_t next = core_next_ms(e->core);
    double after;

    if (next == e->tick_ms && ev_is_active(&e->tick_timer))
        return;
    e->tick_ms = next;
    ev_timer_stop(e->options.loop, &e->tick_timer);
    if (next == INT64_MAX)
        return;
    after = next <= e->now_ms ? 0. : (double)(next - e->now_ms) / 1000.;
    if (after > TICK_FARTHEST)
        after = TICK_FARTHEST;
    ev_timer_set(&e->tick_timer, after, 0.);
    ev_timer_start(e->options.loop, &e->tick_timer);
}

static void check_drained(struct engine *e)
{
    void (*done)(void *) = e->drained;
    struct core_stats stats;

    /* A job whose body is done waits for what may never start now; it is there
     * after the restart. */
    core_stats(e->core, &stats);
    if (stats.running + stats.cancelling > 0)
        return;
    e->drained = NULL;
    done(e->drained_arg);
}

static bool all_written(const struct engine *e)
{
    list_foreach (it, &e->clients.all) {
        const struct client *c = list_entry(it, struct client, all);

        if (c->released > c->written && c->phase != CLIENT_DEAD)
            return false;
    }
    return true;
}

static void check_stopped(struct engine *e)
{
    const struct store *s = e->options.store;
    bool durable = s->durable >= s->appended;

    if ((durable && all_written(e)) || e->turn_us >= e->stop_us)
        ev_break(e->options.loop, EVBREAK_ALL);
}

static void measure_turn(struct engine *e)
{
    int64_t us = clock_us(CLOCK_MONOTONIC) - e->turn_us;

    e->turns++;
    e->turn_us_last = us;
    e->turn_us_max = max_i64(e->turn_us_max, us);
    e->turn_us_window = max_i64(e->turn_us_window, us);
    if (e->turn_us - e->window_us > WINDOW_US) {
        e->turn_us_minute = e->turn_us_window;
        e->turn_us_window = 0;
        e->window_us = e->turn_us;
    }
}

/* The end of a turn: before the loop waits again. */
static void on_prepare(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct engine *e = container_of(w, struct engine, prepare);

    (void)events;
    if (e->status)
        return;
    client_set_read(&e->clients);
    client_set_run(&e->clients);
    cut_over(e);
    end_told_work(e);
    commit(e);
    client_set_reap(&e->clients);
    set_tick(e);
    if (UNLIKELY(e->drained != NULL))
        check_drained(e);
    if (UNLIKELY(e->stopping))
        check_stopped(e);
    if (has_work(e))
        ev_idle_start(loop, &e->idle);
    else
        ev_idle_stop(loop, &e->idle);
    measure_turn(e);
}

static void on_check(struct ev_loop *loop, ev_check *w, int events)
{
    struct engine *e = container_of(w, struct engine, check);

    (void)loop;
    (void)events;
    take_time(e);
}

/* Its being active keeps the loop from waiting; there is nothing to do. */
static void on_idle(struct ev_loop *loop, ev_idle *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    struct engine *e = container_of(w, struct engine, tick_timer);

    (void)loop;
    (void)events;
    if (core_next_ms(e->core) <= e->now_ms)
        step_plain(e, EVENT_TICK, (struct client_id){0});
}

static void on_store(struct ev_loop *loop, ev_io *w, int events)
{
    struct engine *e = container_of(w, struct engine, store_io);

    (void)loop;
    (void)events;
    store_tick(e->options.store);
    check_store(e);
}

static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    struct engine *e = container_of(w, struct engine, second_timer);

    (void)loop;
    (void)events;
    store_tick(e->options.store);
    check_store(e);
    client_set_tidy(&e->clients);
}

/* --- life --------------------------------------------------------------- */

void engine_options_init(struct engine_options *options)
{
    *options = (struct engine_options){
        .clients_max = 10000,
        .output_max = INT64_C(64) << 20,
        .unread_messages_max = INT64_C(64) << 20,
        .subscriptions_max = 100000,
        .client_subscriptions_max = 1024,
        .patterns_max = 256,
        .version = "",
    };
    core_limits_init(&options->limits);
}

static void settings(void *engine, command_setting_fn *each, void *each_arg)
{
    struct engine *e = engine;

    if (e->options.settings)
        e->options.settings(e->options.arg, each, each_arg);
}

/* What of the options others keep a copy of. */
static void spread_options(struct engine *e)
{
    const struct engine_options *o = &e->options;

    e->server.has_password = o->has_password;
    memcpy(e->server.password_digest, o->password_digest,
           sizeof(o->password_digest));
    e->server.lease_ms = o->limits.lease_ms;
    e->server.subscriptions_max = o->subscriptions_max;
    e->server.client_subscriptions_max = o->client_subscriptions_max;
    e->server.patterns_max = o->patterns_max;
}

static void start_watchers(struct engine *e)
{
    struct ev_loop *loop = e->options.loop;
    const struct store *s = e->options.store;

    ev_prepare_init(&e->prepare, on_prepare);
    ev_prepare_start(loop, &e->prepare);
    ev_check_init(&e->check, on_check);
    ev_set_priority(&e->check, EV_MAXPRI); /* before all other callbacks */
    ev_check_start(loop, &e->check);
    ev_idle_init(&e->idle, on_idle);
    ev_timer_init(&e->tick_timer, on_tick, 0., 0.);
    ev_timer_init(&e->second_timer, on_second, SECOND, SECOND);
    ev_timer_start(loop, &e->second_timer);
    ev_io_init(&e->store_io, on_store, s->fd, EV_READ);
    if (s->fd >= 0)
        ev_io_start(loop, &e->store_io);
}

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *e = mem_zalloc(sizeof(*e));

    ASSERT(sizeof(e->options.password_digest) ==
           sizeof(e->server.password_digest));
    e->options = *options;
    e->core = core_new(&options->limits);
    core_effects_init(&e->effects);
    client_set_init(&e->clients, options->loop, &hooks);
    list_init(&e->touched);
    list_init(&e->flight);
    list_init(&e->over);
    command_init();
    e->server = (struct command_server){
        .version = options->version,
        .can_shutdown = options->shutdown != NULL,
        .arg = e,
        .info = figures_info,
        .clients = figures_clients,
        .settings = settings,
    };
    subscriptions_init(&e->server.subscriptions);
    spread_options(e);
    e->seed[0] = random_secret(e);
    e->seed[1] = random_secret(e) | 1; /* never both 0 */
    (void)snprintf(e->run_id, sizeof(e->run_id), "%016llx%016llx%08llx",
                   (unsigned long long)random_secret(e),
                   (unsigned long long)random_secret(e),
                   (unsigned long long)random_secret(e) & 0xffffffff);
    take_time(e);
    e->started_ms = e->now_ms;
    return e;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    e->stopping = true;
    /* Nobody is told to the core: sessions outlive the daemon. */
    list_foreach (it, &e->clients.all)
        list_entry(it, struct client, all)->told = true;
    list_foreach (it, &e->clients.all)
        client_cut(list_entry(it, struct client, all));
    client_set_reap(&e->clients);
    client_set_clear(&e->clients);
    subscriptions_clear(&e->server.subscriptions);
    if (ev_is_active(&e->prepare)) {
        struct ev_loop *loop = e->options.loop;

        ev_prepare_stop(loop, &e->prepare);
        ev_check_stop(loop, &e->check);
        ev_idle_stop(loop, &e->idle);
        ev_timer_stop(loop, &e->tick_timer);
        ev_timer_stop(loop, &e->second_timer);
        ev_io_stop(loop, &e->store_io);
    }
    core_free(e->core);
    core_effects_clear(&e->effects);
    mem_free(e->slots);
    mem_free(e->free_slots);
    mem_free(e);
}

/* Progress of a replay is told every so many entries. */
#define PROGRESS_EVERY 65536

struct replay {
    struct engine *engine;
    void (*progress)(void *arg, uint64_t entries);
    void *arg;
    uint64_t entries;
    char text[128]; /* what the core did not understand */
};

static int replay_entry(void *arg, const void *data, size_t len,
                        uint32_t segment)
{
    struct replay *r = arg;

    if (++r->entries % PROGRESS_EVERY == 0 && r->progress)
        r->progress(r->arg, r->entries);
    return core_replay(r->engine->core, data, len, segment, r->text);
}

int engine_replay(struct engine *e,
                  void (*progress)(void *arg, uint64_t entries), void *arg,
                  char text[STORE_TEXT_MAX])
{
    struct replay r = {.engine = e, .progress = progress, .arg = arg};
    struct core_event ev = {.kind = EVENT_START, .random = random_secret(e)};
    struct store *s = e->options.store;
    int rc = store_replay(s, replay_entry, &r, text);

    if (rc) {
        if (r.text[0])
            (void)snprintf(text, STORE_TEXT_MAX, "entry %llu: %s",
                           (unsigned long long)r.entries, r.text);
        return rc;
    }
    take_time(e);
    e->segment = s->segment + 1; /* whatever it is, the core is to be told */
    step_core(e, &ev);
    start_watchers(e);
    return e->status;
}

void engine_configure(struct engine *e, const struct engine_options *options)
{
    struct engine_options now = *options;

    now.loop = e->options.loop;
    now.store = e->options.store;
    now.version = e->options.version;
    now.shutdown = e->options.shutdown;
    now.settings = e->options.settings;
    now.arg = e->options.arg;
    e->options = now;
    spread_options(e);
    core_configure(e->core, &now.limits);
    list_foreach (it, &e->clients.all)
        set_limits(e, connection_of(list_entry(it, struct client, all)));
}

/* No connection has the last slot and generation 0. */
static const struct client_id nobody = {(UINT64_C(1) << SLOT_BITS) - 1};

/* A request of our own; -EINVAL and what the core answers if that is an
 * error. */
static int step_own(struct engine *e, struct core_event *ev,
                    char text[STORE_TEXT_MAX])
{
    ev->random = random_cheap(e);
    ev->client = nobody;
    step(e, ev);
    for (size_t i = 0; i < e->effects.len; i++) {
        const struct core_effect *effect = &e->effects.list[i];
        size_t at = effect->at;
        struct value v;

        if (effect->kind != EFFECT_REPLY || effect->client.n != nobody.n)
            continue;
        value_read(e->effects.values.data, &at, &v);
        if (v.kind == VALUE_ERROR) {
            (void)snprintf(text, STORE_TEXT_MAX, "%.*s", (int)v.s.len, v.s.p);
            return -EINVAL;
        }
    }
    return e->status;
}

int engine_queue_set(struct engine *e, const char *name,
                     const struct queue_settings *settings_now,
                     char text[STORE_TEXT_MAX])
{
    struct core_event ev = {.kind = EVENT_QUEUE_SET};

    ev.u.queue.name = str_from(name);
    ev.u.queue.settings = *settings_now;
    return step_own(e, &ev, text);
}

int engine_limiter_set(struct engine *e, const char *name, int64_t permits,
                       int64_t rate, int64_t rate_ms, char text[STORE_TEXT_MAX])
{
    struct core_event ev = {.kind = EVENT_LIMITER_SET};

    ev.u.limiter.name = str_from(name);
    ev.u.limiter.permits = permits;
    ev.u.limiter.rate = rate;
    ev.u.limiter.rate_ms = rate_ms;
    return step_own(e, &ev, text);
}

void engine_drain(struct engine *e, void (*done)(void *arg), void *arg)
{
    struct core_event ev = {.kind = EVENT_DRAIN, .random = random_cheap(e)};

    e->drained = done;
    e->drained_arg = arg;
    ev.u.on = true;
    step(e, &ev);
}

void engine_shutdown(struct engine *e, int64_t most_ms)
{
    e->stopping = true;
    e->stop_us = clock_us(CLOCK_MONOTONIC) + most_ms * 1000;
    set_paused(e);
}

int engine_status(const struct engine *e)
{
    return e->status;
}

void engine_progress(const struct engine *e, struct engine_progress *out)
{
    const struct store *s = e->options.store;
    struct core_stats stats;

    core_stats(e->core, &stats);
    *out = (struct engine_progress){
        .turns = e->turns,
        .appended = s->appended,
        .durable = s->durable,
        .commit_ms = e->commit_us
                         ? (clock_us(CLOCK_MONOTONIC) - e->commit_us) / 1000
                         : 0,
        .clients = (int64_t)e->clients.count,
        .running = stats.running + stats.cancelling + stats.joining,
        .queued = stats.delayed + stats.ready + stats.parked,
        .turn_us_last = e->turn_us_last,
        .turn_us_max = e->turn_us_max,
    };
}
