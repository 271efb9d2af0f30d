/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * figures - what the engine tells about itself: INFO and CLIENT LIST, in the
 * form that tools made for Redis read.
 */
#include <netdb.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/engine_internal.h"

/* An INFO reply being written. */
struct info {
    struct engine *engine;
    const struct str *sections;
    size_t n;
    struct buf *out;
};

static bool section(struct info *i, const char *name)
{
    if (!command_info_wants(i->sections, i->n, name))
        return false;
    buf_printf(i->out, "%s# %c%s\r\n", buf_size(i->out) ? "\r\n" : "",
               name[0] - 'a' + 'A', name + 1);
    return true;
}

static void line(struct info *i, const char *name, int64_t value)
{
    buf_printf(i->out, "%s:%lld\r\n", name, (long long)value);
}

static void text_line(struct info *i, const char *name, const char *value)
{
    buf_printf(i->out, "%s:%s\r\n", name, value);
}

/* Resident memory of this process in bytes, or -1. */
static int64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long long pages = -1;

    if (!f)
        return -1;
    if (fscanf(f, "%*s %lld", &pages) != 1)
        pages = -1;
    (void)fclose(f); /* it was only read */
    return pages < 0 ? -1 : (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static void info_server(struct info *i)
{
    const struct engine *e = i->engine;

    text_line(i, "server_name", "yoke");
    text_line(i, "yoke_version", e->options.version);
    text_line(i, "redis_version", e->options.version);
    text_line(i, "redis_mode", "standalone");
    line(i, "arch_bits", (int64_t)sizeof(void *) * 8);
    text_line(i, "multiplexing_api", "libev");
    line(i, "process_id", getpid());
    text_line(i, "run_id", e->run_id);
    line(i, "uptime_in_seconds", (e->ledger.now_ms - e->started_ms) / 1000);
    line(i, "uptime_in_days", (e->ledger.now_ms - e->started_ms) / 86400000);
    line(i, "server_time_usec", e->ledger.now_ms * 1000);
    line(i, "loop_turns", (int64_t)e->turns);
    line(i, "loop_lag_us_last", e->turn_us_last);
    line(i, "loop_lag_us_minute",
         max_i64(e->turn_us_minute, e->turn_us_window));
    line(i, "loop_lag_us_max", e->turn_us_max);
}

static void info_clients(struct info *i, const struct core_stats *core)
{
    const struct engine *e = i->engine;

    line(i, "connected_clients", (int64_t)e->clients.count);
    line(i, "maxclients", e->options.clients_max);
    line(i, "blocked_clients", core->clients_blocked);
    line(i, "sessions", core->sessions);
    line(i, "output_max", e->options.output_max);
    line(i, "clients_cut_for_output", (int64_t)e->cut_for_output);
}

static void info_memory(struct info *i, const struct core_stats *core)
{
    const struct engine *e = i->engine;

    line(i, "used_memory_rss", resident_bytes());
    line(i, "used_memory", core->memory_bytes);
    line(i, "maxmemory", e->options.limits.memory_max);
    line(i, "payload_bytes", core->payload_bytes);
    line(i, "payload_unloaded_bytes", core->unloaded_bytes);
    line(i, "jobs_unloaded", core->unloaded);
    line(i, "retained_bytes", core->retained_bytes);
    line(i, "log_bytes", core->log_bytes);
    line(i, "subscription_bytes", (int64_t)e->server.subscriptions.bytes);
    line(i, "unread_message_bytes", (int64_t)engine_unread_messages(i->engine));
}

/* The names are those of Redis, whose clients wait for it. */
static void info_loading(struct info *i, const struct store_stats *stats)
{
    const struct engine *e = i->engine;
    int64_t done = (int64_t)stats->replay_done;
    int64_t left = (int64_t)stats->replay_size - done;
    int64_t ms = e->ledger.now_ms - e->started_ms;

    line(i, "loading_start_time", e->started_ms / 1000);
    line(i, "loading_total_bytes", (int64_t)stats->replay_size);
    line(i, "loading_loaded_bytes", done);
    line(i, "loading_loaded_perc", engine_loaded(e));
    line(i, "loading_eta_seconds", done > 0 ? left * ms / done / 1000 : 0);
    line(i, "loading_entries", (int64_t)stats->replayed_entries);
}

static void info_persistence(struct info *i)
{
    const struct ledger *l = &i->engine->ledger;
    const struct store *s = i->engine->options.store;
    struct store_stats stats;

    store_stats(s, &stats);
    line(i, "loading", i->engine->loading);
    if (i->engine->loading)
        info_loading(i, &stats);
    line(i, "store_appended", (int64_t)s->appended);
    line(i, "store_durable", (int64_t)s->durable);
    line(i, "store_narrow", s->narrow);
    line(i, "store_full", s->full);
    line(i, "store_room", s->narrow ? (int64_t)s->room : -1);
    line(i, "store_held", s->held);
    line(i, "store_entries", (int64_t)stats.entries);
    line(i, "store_bytes", (int64_t)stats.bytes);
    line(i, "store_disk_bytes", (int64_t)stats.disk_bytes);
    line(i, "store_disk_max",
         stats.disk_max ? (int64_t)stats.disk_max : CORE_NONE);
    line(i, "store_bounded", s->narrow && s->bounded);
    line(i, "store_segments", stats.segments);
    line(i, "store_pinned_segments", stats.pinned);
    line(i, "backups", (int64_t)i->engine->backups.count);
    line(i, "store_first_segment", stats.first_segment);
    line(i, "store_last_segment", stats.last_segment);
    line(i, "store_syncs", (int64_t)stats.syncs);
    line(i, "store_sync_us_total", (int64_t)stats.sync_us_total);
    line(i, "store_sync_us_max", (int64_t)stats.sync_us_max);
    line(i, "store_replayed_entries", (int64_t)stats.replayed_entries);
    line(i, "store_replayed_bytes", (int64_t)stats.replayed_bytes);
    line(i, "store_torn_bytes", (int64_t)stats.torn_bytes);
    line(i, "store_used_bytes", (int64_t)stats.used_bytes);
    line(i, "store_live_bytes", core_live_bytes(l->core));
    line(i, "store_compacting", l->compaction.on);
    line(i, "store_scanned_bytes", (int64_t)stats.scanned_bytes);
    line(i, "store_reads", (int64_t)stats.reads);
    line(i, "store_read_bytes", (int64_t)stats.read_bytes);
    line(i, "store_reads_put_off", stats.reads_put_off);
    line(i, "store_compacted_bytes", (int64_t)l->compaction.written);
}

static void info_stats(struct info *i, const struct core_stats *core)
{
    const struct engine *e = i->engine;
    uint64_t calls = 0;

    for (size_t k = 0; k < COMMAND_COUNT; k++)
        calls += e->server.calls[k];
    line(i, "total_connections_received", (int64_t)e->accepted);
    line(i, "rejected_connections", (int64_t)e->rejected);
    line(i, "total_commands_processed", (int64_t)calls);
    line(i, "total_net_input_bytes", (int64_t)e->clients.bytes_in);
    line(i, "total_net_output_bytes", (int64_t)e->clients.bytes_out);
    line(i, "wrong_passwords", (int64_t)e->server.wrong_passwords);
    line(i, "submitted", (int64_t)core->submitted);
    line(i, "started", (int64_t)core->started);
    line(i, "ok", (int64_t)core->ok);
    line(i, "failed", (int64_t)core->failed);
    line(i, "cancelled", (int64_t)core->cancelled);
    line(i, "retried", (int64_t)core->retried);
    line(i, "lost", (int64_t)core->lost);
    line(i, "stale", (int64_t)core->stale);
    line(i, "refused", (int64_t)core->refused);
    line(i, "pubsub_channels", (int64_t)e->server.subscriptions.nnames);
    line(i, "pubsub_patterns", (int64_t)e->server.subscriptions.npatterns);
    line(i, "subscriptions", (int64_t)e->server.subscriptions.count);
    line(i, "messages_published", (int64_t)e->server.subscriptions.published);
}

static void info_jobs(struct info *i, const struct core_stats *core)
{
    line(i, "queues", core->queues);
    line(i, "limiters", core->limiters);
    line(i, "groups", core->groups);
    line(i, "jobs", core->jobs);
    line(i, "delayed", core->delayed);
    line(i, "ready", core->ready);
    line(i, "parked", core->parked);
    line(i, "running", core->running);
    line(i, "cancelling", core->cancelling);
    line(i, "joining", core->joining);
    line(i, "delivering", core->delivering);
    line(i, "finished", core->finished);
    line(i, "dead", core->dead);
}

static void info_commands(struct info *i)
{
    const struct command_server *server = &i->engine->server;

    for (int k = 0; k < COMMAND_COUNT; k++) {
        const char *name = command_name(k);

        if (server->calls[k] == 0)
            continue;
        buf_append(i->out, "cmdstat_", 8);
        for (; *name; name++)
            buf_append_byte(i->out, *name == ' ' ? '|'
                                    : *name >= 'A' && *name <= 'Z'
                                        ? (char)(*name + 32)
                                        : *name);
        buf_printf(i->out, ":calls=%llu\r\n",
                   (unsigned long long)server->calls[k]);
    }
}

void figures_info(void *engine, const struct str *sections, size_t n,
                  struct buf *out)
{
    struct engine *e = engine;
    struct info i = {.engine = e, .sections = sections, .n = n, .out = out};
    struct core_stats core;

    core_stats(e->ledger.core, &core);
    if (section(&i, "server"))
        info_server(&i);
    if (section(&i, "clients"))
        info_clients(&i, &core);
    if (section(&i, "memory"))
        info_memory(&i, &core);
    if (section(&i, "persistence"))
        info_persistence(&i);
    if (section(&i, "stats"))
        info_stats(&i, &core);
    if (section(&i, "jobs"))
        info_jobs(&i, &core);
    if (section(&i, "commandstats"))
        info_commands(&i);
}

/* "127.0.0.1:1234", or "unix" where addresses say nothing. */
static void put_address(struct buf *out, int fd,
                        int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char host[64], port[16];

    if (fd < 0 || get(fd, (struct sockaddr *)&address, &len) != 0 ||
        address.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        buf_append_str(out, STR("unix"));
        return;
    }
    buf_printf(out, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
               port);
}

/* As Redis writes it: "client|list"; a blank would end the field. */
static void put_command(struct buf *out, int id)
{
    const char *name = id < 0 ? "NULL" : command_name(id);

    for (; *name; name++)
        buf_append_byte(out, *name == ' ' ? '|' : *name);
}

static void put_client(const struct engine *e, const struct connection *c,
                       struct buf *out)
{
    const struct command_peer *peer = &c->peer;
    const struct client *client = &c->client;
    struct core_worker worker;

    core_worker(e->ledger.core, (struct client_id){peer->id}, &worker);
    buf_printf(out, "id=%llu addr=", (unsigned long long)peer->id);
    put_address(out, client->fd, getpeername);
    buf_append_str(out, STR(" laddr="));
    put_address(out, client->fd, getsockname);
    buf_printf(out,
               " fd=%d name=%s idle=%lld flags=%s db=0 sub=%zu psub=%zu "
               "qbuf=%zu omem=%zu session=%d held=%lld wanted=%lld cmd=",
               client->fd, peer->name ? peer->name : "",
               (long long)(ev_now(client->set->loop) - client->last_active),
               client->wait != CLIENT_RUNS           ? "b"
               : subscriber_count(&peer->subscriber) ? "P"
                                                     : "N",
               peer->subscriber.names, peer->subscriber.patterns,
               buf_size(&client->in), buf_size(&client->out), peer->session,
               (long long)worker.held, (long long)worker.wanted);
    put_command(out, peer->last);
    buf_printf(out, " user=default lib-name=%s lib-ver=%s resp=%d\n",
               peer->library ? peer->library : "",
               peer->library_version ? peer->library_version : "", peer->proto);
}

void figures_clients(void *engine, const struct command_peer *peer,
                     struct buf *out)
{
    struct engine *e = engine;

    if (peer) {
        put_client(e, container_of(peer, const struct connection, peer), out);
        return;
    }
    list_foreach (it, &e->clients.all) {
        const struct client *c = list_entry(it, struct client, all);

        if (c->phase != CLIENT_DEAD)
            put_client(e, container_of(c, const struct connection, client),
                       out);
    }
}
