/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One turn of the loop:
 *
 *     check    take the time
 *     events   note who can be read; timers, the store, new connections
 *     prepare  read, parse, step the core: replies are rendered into the output
 *              of their clients and held (ledger.h); then commit, which
 *              releases what is durable: one write for each client
 */
#include "server/engine.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/engine_internal.h"
#include "wire/resp.h"

/* With that much appended and not committed no more requests are taken. */
#define BATCH_MAX (16u << 20)
/* When telling events has taken that much of a turn, no more requests are taken
 * in it; about 10 ms. */
#define TURN_WORK 20000
/* Bytes that are replayed in a turn; some 2 ms. */
#define LOAD_SLICE (1u << 20)
/* A store that has nothing to say is asked at least that often (s). */
#define SECOND    1.0
#define WINDOW_US INT64_C(60000000)
/* The timer of the core's next deadline is never set further ahead (s), so
 * that a step of the clock is noticed. */
#define TICK_FARTHEST 1.0
/* Clocks that are this far apart (ms) may have been read so: not all at once.
 */
#define STEP_LEAST 20

/* --- time and chance ---------------------------------------------------- */

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t); /* cannot fail for these clocks */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/*
 * The core's time never goes backward. When the system's clock was set back,
 * ours goes on at half speed until they meet again: timeouts last longer for a
 * while, but none stops. What that means for leases: tell_clock.
 */
static void take_time(struct engine *e)
{
    int64_t boot_ms = clock_us(CLOCK_BOOTTIME) / 1000;
    int64_t mono_us = clock_us(CLOCK_MONOTONIC);
    int64_t real_ms = clock_us(CLOCK_REALTIME) / 1000;
    int64_t elapsed_ms = (mono_us - e->moved_us) / 1000;

    e->turn_us = mono_us;
    if (real_ms >= e->ledger.now_ms) {
        e->ledger.now_ms = real_ms;
        e->moved_us = mono_us;
    } else if (elapsed_ms >= 2) {
        e->ledger.now_ms += elapsed_ms / 2;
        e->moved_us = mono_us;
    }
    e->ahead_ms = e->ledger.now_ms - boot_ms;
}

/*
 * The clock of the machine was set, or ours goes at half speed since: the core
 * is told, so that leases are not over at once while their workers go on. The
 * clock that they are measured by goes on while the machine sleeps, as that of
 * the workers does, and is slewed as the system's: what differs is a step.
 */
static void tell_clock(struct engine *e)
{
    struct core_event ev = {.kind = EVENT_CLOCK,
                            .u.shift_ms = e->ahead_ms - e->ahead_told_ms};

    if (LIKELY(ev.u.shift_ms < STEP_LEAST && ev.u.shift_ms > -STEP_LEAST))
        return;
    e->ahead_told_ms = e->ahead_ms;
    ev.random = engine_random(e);
    engine_step(e, &ev);
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

uint64_t engine_random_secret(struct engine *e)
{
    if (e->secret_left == 0)
        fill_secret(e);
    return e->secret[--e->secret_left];
}

/* xorshift128+: for jitter, which nobody gains from guessing. */
uint64_t engine_random(struct engine *e)
{
    uint64_t a = e->seed[0], b = e->seed[1];

    e->seed[0] = b;
    a ^= a << 23;
    e->seed[1] = a ^ b ^ a >> 17 ^ b >> 26;
    return e->seed[1] + b;
}

static struct engine *engine_of_ledger(struct ledger *l)
{
    return container_of(l, struct engine, ledger);
}

static uint64_t on_random(struct ledger *l)
{
    return engine_random(engine_of_ledger(l));
}

/* --- the end ------------------------------------------------------------ */

/* The store has failed. */
static void on_damaged(struct ledger *l, const char *text, bool ends)
{
    (void)l;
    if (ends)
        log_error("compaction: %s: the journal grows from now on", text);
    else
        log_error("compaction: %s: what lies in that segment is written again "
                  "from memory",
                  text);
}

static void on_failed(struct ledger *l, int rc, const char *text)
{
    struct engine *e = engine_of_ledger(l);

    (void)rc;
    log_error("the journal has failed; nothing is acknowledged any more: %s",
              text);
    ev_break(e->options.loop, EVBREAK_ALL);
}

/* --- replies ------------------------------------------------------------ */

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

static void on_reply(struct ledger *l, const struct core_effect *effect)
{
    struct engine *e = engine_of_ledger(l);
    struct connection *c = connection_find(e, effect->client);
    const char *bytes = l->effects.values.data;
    size_t at = effect->at;

    if (!c || c->client.phase != CLIENT_OPEN)
        return; /* it did not wait for the answer */
    e->answered = e->answered || c == e->asking;
    if (c == e->asking && e->call->render)
        e->call->render(e->call, bytes, &at);
    else
        resp_value(&c->client.out, c->peer.proto, bytes, &at);
    if (c->client.wait != CLIENT_RUNS)
        client_resume(&c->client);
    ledger_hold(l, &c->reader);
    connection_check(e, c);
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
    if (e->told_batches != e->ledger.batches) {
        e->told_batches = e->ledger.batches;
        e->told_batch = 0;
    }
    e->told_batch += bytes;
}

void engine_forget_told(struct engine *e, struct connection *c)
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

        engine_forget_told(e, c);
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
    ledger_hold(&e->ledger, &c->reader);
    add_told(e, c, buf_size(out) - before);
    connection_check(e, c);
    bound_told(e);
}

/* --- steps -------------------------------------------------------------- */

/* Have the subscribers of this batch been told enough? */
static bool told_enough(const struct engine *e)
{
    return e->told_batches == e->ledger.batches &&
           e->told_batch > TOLD_BATCH(e);
}

static void set_paused(struct engine *e)
{
    e->clients.paused = e->stopping || e->ledger.batch_bytes > BATCH_MAX ||
                        told_enough(e) ||
                        e->server.subscriptions.work - e->told_work > TURN_WORK;
}

/* The turn is over: others had their chance to say something. */
static void end_told_work(struct engine *e)
{
    e->told_work = e->server.subscriptions.work;
}

static void on_news(struct ledger *l, const struct core_effect *effect)
{
    struct engine *e = engine_of_ledger(l);

    subscription_publish(&e->server.subscriptions, l->effects.values.data,
                         effect->at, tell, e);
}

static int64_t on_watched(struct ledger *l)
{
    return subscription_work(&engine_of_ledger(l)->server.subscriptions);
}

static void on_cut(struct ledger *l, struct client_id client)
{
    struct connection *c = connection_find(engine_of_ledger(l), client);

    if (c && c->client.phase != CLIENT_DEAD)
        client_cut(&c->client);
}

static void on_full(struct ledger *l)
{
    struct engine *e = engine_of_ledger(l);
    struct store_extent x;

    store_extent(l->store, &x);
    e->room_again = !l->store->narrow;
    if (l->store->narrow)
        log_warn("%s: nothing new is accepted%s dir=%s",
                 l->store->bounded ? "the journal has reached disk-max"
                                   : "the disk is full, it has no room for "
                                     "another segment",
                 l->store->full ? " or started" : "", x.dir ? x.dir : "");
    else
        log_info("the journal has room again");
}

static void on_put_off(struct ledger *l, struct str why)
{
    engine_of_ledger(l)->unreadable = true;
    if (why.len)
        log_warn("payloads cannot be read now; their queues wait: %.*s",
                 (int)why.len, why.p);
}

static uint64_t on_output_end(const struct ledger_reader *r)
{
    return client_output_end(
        &container_of(r, const struct connection, reader)->client);
}

static bool on_waits(const struct ledger_reader *r)
{
    return container_of(r, const struct connection, reader)->client.wait !=
           CLIENT_RUNS;
}

static void on_release(struct ledger_reader *r, uint64_t end)
{
    client_release(&container_of(r, struct connection, reader)->client, end);
}

static const struct ledger_hooks ledger_hooks = {
    .reply = on_reply,
    .news = on_news,
    .cut = on_cut,
    .watched = on_watched,
    .random = on_random,
    .output_end = on_output_end,
    .waits = on_waits,
    .release = on_release,
    .full = on_full,
    .put_off = on_put_off,
    .damaged = on_damaged,
    .failed = on_failed,
};

void engine_step(struct engine *e, struct core_event *ev)
{
    ledger_step(&e->ledger, ev);
    set_paused(e);
}

void engine_step_plain(struct engine *e, enum core_event_kind kind,
                       struct client_id client)
{
    struct core_event ev = {
        .kind = kind, .random = engine_random(e), .client = client};

    engine_step(e, &ev);
}

/* --- turns -------------------------------------------------------------- */

static void commit(struct engine *e)
{
    uint64_t batches = e->ledger.batches;

    pace_set(&e->pace, &e->ledger, e->turn_us, e->stopping);
    ledger_commit(&e->ledger);
    if (e->ledger.batches != batches)
        e->commit_us = e->turn_us;
    if (!ledger_in_flight(&e->ledger))
        e->commit_us = 0;
    set_paused(e);
}

/* Is there something left that no event will bring up? */
static bool has_work(const struct engine *e)
{
    return client_set_has_work(&e->clients) || !list_empty(&e->clients.dead) ||
           (ledger_has_work(&e->ledger) && !e->pace.resting) ||
           (e->loading && !e->stopping);
}

static void set_tick(struct engine *e)
{
    int64_t next = core_next_ms(e->ledger.core);
    double after;

    if (next == e->tick_ms && ev_is_active(&e->tick_timer))
        return;
    e->tick_ms = next;
    ev_timer_stop(e->options.loop, &e->tick_timer);
    if (next == INT64_MAX)
        return;
    after = next <= e->ledger.now_ms
                ? 0.
                : (double)(next - e->ledger.now_ms) / 1000.;
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
    core_stats(e->ledger.core, &stats);
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

/* The store is replayed. */
static void start_core(struct engine *e)
{
    int fd = e->options.store->fd;

    take_time(e); /* what was replayed may come from a moment ago */
    e->ahead_told_ms = e->ahead_ms; /* leases count from here */
    ledger_start(&e->ledger, engine_random_secret(e));
    ev_io_set(&e->store_io, fd, EV_READ);
    if (fd >= 0)
        ev_io_start(e->options.loop, &e->store_io);
    e->loading = e->server.loading = false;
    e->turn_us_max = e->turn_us_window = 0;
    list_foreach (it, &e->clients.all) {
        struct client *c = list_entry(it, struct client, all);

        if (c->wait == CLIENT_EARLY)
            client_resume(c);
    }
}

static void load(struct engine *e)
{
    char text[STORE_TEXT_MAX];
    int rc = ledger_replay(&e->ledger, LOAD_SLICE, text);

    if (rc > 0)
        return;
    if (rc == 0)
        start_core(e);
    else
        ev_break(e->options.loop, EVBREAK_ALL);
    e->options.loaded(e->options.arg, rc, text);
}

int engine_loaded(const struct engine *e)
{
    struct store_stats stats;

    store_stats(e->options.store, &stats);
    return stats.replay_size
               ? (int)(stats.replay_done * 100 / stats.replay_size)
               : 0;
}

/* The end of a turn: before the loop waits again. */
static void on_prepare(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct engine *e = container_of(w, struct engine, prepare);

    (void)events;
    if (UNLIKELY(e->loading && !e->stopping))
        load(e);
    if (e->ledger.status)
        return;
    client_set_read(&e->clients);
    client_set_run(&e->clients);
    cut_over(e);
    end_told_work(e);
    commit(e);
    client_set_reap(&e->clients);
    if (LIKELY(!e->loading))
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
    if (LIKELY(!e->loading && !e->ledger.status))
        tell_clock(e);
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
    if (core_next_ms(e->ledger.core) <= e->ledger.now_ms)
        engine_step_plain(e, EVENT_TICK, (struct client_id){0});
}

static void on_store(struct ev_loop *loop, ev_io *w, int events)
{
    struct engine *e = container_of(w, struct engine, store_io);

    (void)loop;
    (void)events;
    ledger_tick(&e->ledger);
}

/* Payloads could not be read when last looked at. */
static void look_at_reads(struct engine *e)
{
    struct store_stats stats;

    store_stats(e->options.store, &stats);
    e->unreadable = stats.reads_put_off > 0;
    if (!e->unreadable)
        log_info("payloads can be read again");
}

static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    struct engine *e = container_of(w, struct engine, second_timer);

    (void)loop;
    (void)events;
    if (!e->loading)
        ledger_second(&e->ledger);
    backups_second(&e->backups, e->options.backup_idle_ms);
    client_set_tidy(&e->clients);
    if (UNLIKELY(e->unreadable))
        look_at_reads(e);
    if (UNLIKELY(e->room_again)) {
        e->room_again = false;
        if (e->options.room)
            e->options.room(e->options.arg);
    }
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
        .backup_idle_ms = INT64_C(300000),
        .version = "",
    };
    core_limits_init(&options->limits);
}

static int loaded(void *engine)
{
    return engine_loaded(engine);
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

    ev_prepare_init(&e->prepare, on_prepare);
    ev_prepare_start(loop, &e->prepare);
    ev_check_init(&e->check, on_check);
    ev_set_priority(&e->check, EV_MAXPRI); /* before all other callbacks */
    ev_check_start(loop, &e->check);
    ev_idle_init(&e->idle, on_idle);
    ev_timer_init(&e->tick_timer, on_tick, 0., 0.);
    pace_init(&e->pace, loop);
    ev_timer_init(&e->second_timer, on_second, SECOND, SECOND);
    ev_timer_start(loop, &e->second_timer);
    ev_init(&e->store_io, on_store);
}

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *e = mem_zalloc(sizeof(*e));

    ASSERT(sizeof(e->options.password_digest) ==
           sizeof(e->server.password_digest));
    e->options = *options;
    ledger_init(&e->ledger, &ledger_hooks, &options->limits, options->store);
    client_set_init(&e->clients, options->loop, &connection_hooks);
    list_init(&e->over);
    command_init();
    e->server = (struct command_server){
        .version = options->version,
        .can_shutdown = options->shutdown != NULL,
        .loading = true,
        .loaded = loaded,
        .arg = e,
        .info = figures_info,
        .clients = figures_clients,
        .settings = settings,
        .backup = connection_backup,
    };
    backups_init(&e->backups, options->loop, options->store, connection_piece);
    subscriptions_init(&e->server.subscriptions);
    spread_options(e);
    e->seed[0] = engine_random_secret(e);
    e->seed[1] = engine_random_secret(e) | 1; /* never both 0 */
    (void)snprintf(e->run_id, sizeof(e->run_id), "%016llx%016llx%08llx",
                   (unsigned long long)engine_random_secret(e),
                   (unsigned long long)engine_random_secret(e),
                   (unsigned long long)engine_random_secret(e) & 0xffffffff);
    take_time(e);
    e->started_ms = e->ledger.now_ms;
    e->loading = true;
    start_watchers(e);
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
    backups_clear(&e->backups);
    if (ev_is_active(&e->prepare)) {
        struct ev_loop *loop = e->options.loop;

        ev_prepare_stop(loop, &e->prepare);
        ev_check_stop(loop, &e->check);
        ev_idle_stop(loop, &e->idle);
        ev_timer_stop(loop, &e->tick_timer);
        pace_clear(&e->pace);
        ev_timer_stop(loop, &e->second_timer);
        ev_io_stop(loop, &e->store_io);
    }
    ledger_clear(&e->ledger);
    mem_free(e->slots);
    mem_free(e->free_slots);
    mem_free(e);
}

void engine_configure(struct engine *e, const struct engine_options *options)
{
    struct engine_options now = *options;

    now.loop = e->options.loop;
    now.store = e->options.store;
    now.version = e->options.version;
    now.loaded = e->options.loaded;
    now.shutdown = e->options.shutdown;
    now.settings = e->options.settings;
    now.room = e->options.room;
    now.arg = e->options.arg;
    e->options = now;
    spread_options(e);
    core_configure(e->ledger.core, &now.limits);
    list_foreach (it, &e->clients.all)
        connection_limit(e, container_of(list_entry(it, struct client, all),
                                         struct connection, client));
}

/* No connection has the last slot and generation 0. */
static const struct client_id nobody = {(UINT64_C(1) << SLOT_BITS) - 1};

/* A request of our own; -EINVAL and what the core answers if that is an
 * error. */
static int step_own(struct engine *e, struct core_event *ev,
                    char text[STORE_TEXT_MAX])
{
    ev->random = engine_random(e);
    ev->client = nobody;
    engine_step(e, ev);
    for (size_t i = 0; i < e->ledger.effects.len; i++) {
        const struct core_effect *effect = &e->ledger.effects.list[i];
        size_t at = effect->at;
        struct value v;

        if (effect->kind != EFFECT_REPLY || effect->client.n != nobody.n)
            continue;
        value_read(e->ledger.effects.values.data, &at, &v);
        if (v.kind == VALUE_ERROR) {
            (void)snprintf(text, STORE_TEXT_MAX, "%.*s", (int)v.s.len, v.s.p);
            return -EINVAL;
        }
    }
    return e->ledger.status;
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
    struct core_event ev = {.kind = EVENT_DRAIN, .random = engine_random(e)};

    e->drained = done;
    e->drained_arg = arg;
    ev.u.on = true;
    engine_step(e, &ev);
}

void engine_shutdown(struct engine *e, int64_t most_ms)
{
    e->stopping = true;
    e->stop_us = clock_us(CLOCK_MONOTONIC) + most_ms * 1000;
    set_paused(e);
}

int engine_status(const struct engine *e)
{
    return e->ledger.status;
}

void engine_progress(const struct engine *e, struct engine_progress *out)
{
    const struct store *s = e->options.store;
    struct core_stats stats;

    core_stats(e->ledger.core, &stats);
    *out = (struct engine_progress){
        .loading = e->loading,
        .loaded = e->loading ? engine_loaded(e) : 100,
        .turns = e->turns,
        .appended = s->appended,
        .durable = s->durable,
        .commit_ms = e->commit_us && !s->held
                         ? (clock_us(CLOCK_MONOTONIC) - e->commit_us) / 1000
                         : 0,
        .clients = (int64_t)e->clients.count,
        .running = stats.running + stats.cancelling + stats.joining,
        .queued = stats.delayed + stats.ready + stats.parked,
        .turn_us_last = e->turn_us_last,
        .turn_us_max = e->turn_us_max,
    };
}
