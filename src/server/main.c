/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main - yoked: reads the settings, puts the parts together, and takes them
 * apart again.
 *
 *     LOADING (the journal is replayed)
 *        |
 *     RUNNING -> DRAINING (SHUTDOWN DRAIN: no new work, running jobs end)
 *        |          |
 *        +----------+-> STOPPING (the runner gives its jobs back and ends)
 *                          \-> the loop ends (engine_shutdown)
 *
 * LOADING has nothing to give back, and stops at once.
 */
#include "config.h"

#include "base/log.h"
#include "base/mem.h"
#include "server/arguments.h"
#include "server/child.h"
#include "server/conf.h"
#include "server/engine.h"
#include "server/listener.h"
#include "server/offline.h"
#include "server/runner_program.h"
#include "server/service.h"
#include "server/verify.h"
#include "store/store.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTENERS_MAX    (CONF_LISTEN_MAX + 8)
#define FILES_RESERVE    64 /* descriptors beside those of clients */
#define PASSWORD_MAX     1024
#define PULSE_MS         5000  /* between two lines of status, ... */
#define PULSE_LOADING_MS 1000  /* ... while the journal is replayed */
#define REPLAY_MS        60000 /* more time for the start, as it goes on */
#define STOP_EXTRA_MS    5000  /* for the runner, beyond its stop-grace */
#define FLUSH_MS         5000  /* for last replies */
#define FLUSH_HURRIED_MS 500

enum daemon_state {
    DAEMON_LOADING,
    DAEMON_RUNNING,
    DAEMON_DRAINING,
    DAEMON_STOPPING,
};

struct daemon {
    struct arguments args;
    struct conf conf; /* as in force */

    struct ev_loop *loop;
    struct store *store;
    struct engine *engine;
    struct engine_options options;
    struct listener *listeners[LISTENERS_MAX];
    size_t nlisteners;
    struct child *child; /* NULL: no runner of our own */
    struct client_id runner;
    struct runner_program program;

    enum daemon_state state;
    ev_signal term, interrupt, hangup;
    ev_timer pulse;
    int64_t watchdog_ms;
    uint64_t fed_turns;
    bool unset; /* some queue or limiter of the configuration is */
};

/* -------------------------------------------------------- configuration */

/* Each line of `errors` to the log, or to stderr before there is one. */
static void tell_errors(const struct buf *errors, bool logged)
{
    const char *at = buf_front(errors), *end = at + buf_size(errors);

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        int len = (int)(newline - at);

        if (logged)
            log_error("%.*s", len, at);
        else
            fprintf(stderr, "%.*s\n", len, at);
        at = newline + 1;
    }
}

static const char *file_name(const struct daemon *d)
{
    return d->args.file ? d->args.file : "defaults";
}

/* What the settings say about who may connect. */
static void check_access(const struct daemon *d, const struct conf *c,
                         struct buf *errors)
{
    for (size_t i = 0; i < c->listen.len && !c->password_file; i++) {
        if (!c->listen.list[i].loopback)
            buf_printf(errors,
                       "%s: [daemon] listen: '%s' is not a loopback address; "
                       "expected a password-file with it, for whoever can "
                       "connect can run jobs\n",
                       file_name(d), c->listen.list[i].text);
    }
}

static int load(struct daemon *d, struct conf *c, struct buf *errors)
{
    int rc;

    conf_init(c);
    rc = conf_load(c, d->args.file, d->args.overrides, d->args.noverrides,
                   errors);
    if (rc == 0)
        check_access(d, c, errors);
    if (buf_size(errors) == 0)
        return 0;
    conf_clear(c);
    return rc < 0 ? rc : -EINVAL;
}

/* The first line of the file. -EINVAL: `why` says what is wrong with it. */
static int read_password(const char *path, char to[PASSWORD_MAX + 1],
                         size_t *len, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    ssize_t n;

    *why = NULL;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        *why = "it is not a regular file";
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        *why = "group or others have rights to it; expected chmod 600";
    else if (st.st_uid != 0 && st.st_uid != geteuid())
        *why = "it belongs to another user; expected root or yoked's own";
    n = *why ? 0 : read(fd, to, PASSWORD_MAX + 1);
    (void)close(fd); /* only read from */
    if (*why || n < 0)
        return *why ? -EINVAL : -EIO;
    *len = 0;
    while (*len < (size_t)n && to[*len] != '\n')
        ++*len;
    if (*len == 0 || *len > PASSWORD_MAX) {
        *why = "its first line is no password; expected 1 to 1024 bytes";
        return -EINVAL;
    }
    return 0;
}

/* The part of the options that a reload may change. Appends to `errors`. */
static void fill_options(const struct daemon *d, const struct conf *c,
                         struct engine_options *o, struct buf *errors)
{
    char password[PASSWORD_MAX + 1];
    const char *why;
    size_t len = 0;
    int rc;

    o->limits = c->limits;
    o->has_password = c->password_file != NULL;
    if (!c->password_file)
        return;
    rc = read_password(c->password_file, password, &len, &why);
    if (rc < 0)
        buf_printf(errors,
                   "%s: [daemon] password-file: '%s' is not usable: %s\n",
                   file_name(d), c->password_file, why ? why : strerror(-rc));
    else
        rc = EVP_Digest(password, len, o->password_digest, NULL, EVP_sha256(),
                        NULL);
    ASSERT(rc < 0 || rc == 1);
    OPENSSL_cleanse(password, sizeof(password));
}

/* For CONFIG GET. */
static void each_setting(void *arg, engine_setting_fn *each, void *each_arg)
{
    const struct daemon *d = arg;
    const struct conf_setting *s;
    struct buf value;
    char name[128];
    size_t n;

    buf_init(&value);
    s = conf_settings(&n);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof(name), "%s.%s", s[i].section, s[i].key);
        buf_reset(&value);
        conf_format(&d->conf, &s[i], &value);
        buf_append_byte(&value, '\0');
        each(each_arg, name, buf_front(&value));
    }
    buf_clear(&value);
}

/* ----------------------------------------------------------- the runner */

static void attach_runner(void *arg, int fd)
{
    struct daemon *d = arg;

    d->runner = engine_adopt(d->engine, fd, "runner");
}

static void runner_dead(void *arg)
{
    struct daemon *d = arg;

    engine_dead(d->engine, d->runner);
}

/* Jobs find this daemon by it, and no other that the one who started us had in
 * mind. The first listener will do, a Unix socket is better: only this machine
 * uses it. */
static void export_address(const struct daemon *d)
{
    const char *address = NULL;

    for (size_t i = 0; i < d->nlisteners; i++) {
        const char *name = listener_name(d->listeners[i]);

        if (!address || (address[0] != '/' && name[0] == '/'))
            address = name;
    }
    if (address)
        (void)setenv("YOKE_SERVER", address, 1);
}

static void start_runner(struct daemon *d)
{
    struct child_options o = {
        .loop = d->loop,
        .program = d->program.path,
        .args = d->program.args,
        .attach = attach_runner,
        .dead = runner_dead,
        .arg = d,
    };

    export_address(d);
    runner_program_password(&d->program, d->conf.password_file);
    d->child = child_new(&o);
    child_start(d->child);
}

static int check_config(struct daemon *d)
{
    struct engine_options options;
    struct buf errors;
    bool bad, starts = false;

    buf_init(&errors);
    engine_options_init(&options);
    if (load(d, &d->conf, &errors) == 0) {
        fill_options(d, &d->conf, &options, &errors);
        starts = d->conf.runner_start;
        conf_clear(&d->conf);
    }
    tell_errors(&errors, false);
    bad = buf_size(&errors) != 0;
    buf_clear(&errors);
    if (!d->program.path[0])
        fprintf(stderr, "yoked: yoke-runner was not found; its sections were "
                        "not checked\n");
    else if (runner_program_check(&d->program, starts) != 0)
        bad = true;
    if (!bad)
        printf("%s: ok\n", file_name(d));
    return bad ? EXIT_USAGE : EXIT_SUCCESS;
}

/* To where the settings say that the journal is. */
static int restore_journal(struct daemon *d, const char *backup)
{
    char dir[PATH_MAX + 16];
    struct buf errors;
    int status = EXIT_USAGE;

    buf_init(&errors);
    if (load(d, &d->conf, &errors) < 0) {
        tell_errors(&errors, false);
    } else {
        (void)snprintf(dir, sizeof(dir), "%s/journal", d->conf.state_dir);
        status = offline_restore(backup, dir);
        conf_clear(&d->conf);
    }
    buf_clear(&errors);
    return status;
}

/* ------------------------------------------------------------- stopping */

static void flush_and_end(void *arg)
{
    struct daemon *d = arg;

    engine_shutdown(d->engine, FLUSH_MS);
}

static void nothing_runs(void *arg)
{
    (void)arg; /* a plain stop waits for the runner, not for the jobs */
}

static void stop(struct daemon *d)
{
    enum daemon_state before = d->state;

    if (before == DAEMON_STOPPING)
        return;
    log_info("stopping");
    service_stopping();
    if (before == DAEMON_RUNNING)
        engine_drain(d->engine, nothing_runs, NULL);
    d->state = DAEMON_STOPPING;
    for (size_t i = 0; i < d->nlisteners; i++)
        listener_stop(d->listeners[i]);
    if (before == DAEMON_LOADING)
        engine_shutdown(d->engine, FLUSH_HURRIED_MS);
    else if (d->child)
        child_stop(d->child, d->conf.runner_stop_grace_ms + STOP_EXTRA_MS,
                   flush_and_end, d);
    else
        flush_and_end(d);
}

static void drained(void *arg)
{
    stop(arg);
}

/* SHUTDOWN [DRAIN] */
static void asked_to_stop(void *arg, bool drain)
{
    struct daemon *d = arg;

    if (!drain || d->state == DAEMON_LOADING) {
        stop(d);
    } else if (d->state == DAEMON_RUNNING) {
        log_info("draining");
        d->state = DAEMON_DRAINING;
        engine_drain(d->engine, drained, d);
    }
}

static void on_stop(struct ev_loop *loop, ev_signal *w, int events)
{
    struct daemon *d = w->data;

    (void)loop;
    (void)events;
    if (d->state != DAEMON_STOPPING) {
        stop(d);
        return;
    }
    log_warn("stopping at once");
    if (d->child)
        child_hurry(d->child);
    else
        engine_shutdown(d->engine, FLUSH_HURRIED_MS);
}

/* -------------------------------------------------------------- running */

static void set_queues_and_limiters(struct daemon *d)
{
    char text[STORE_TEXT_MAX];

    d->unset = false;
    for (size_t i = 0; i < d->conf.nqueues; i++) {
        const struct conf_queue *q = &d->conf.queues[i];

        if (engine_queue_set(d->engine, q->name, &q->settings, text) == 0)
            continue;
        log_error("queue is not set: %s queue=%s", text, q->name);
        d->unset = true;
    }
    for (size_t i = 0; i < d->conf.nlimiters; i++) {
        const struct conf_limiter *l = &d->conf.limiters[i];

        if (engine_limiter_set(d->engine, l->name, l->permits, l->rate.n,
                               l->rate.ms, text) == 0)
            continue;
        log_error("limiter is not set: %s limiter=%s", text, l->name);
        d->unset = true;
    }
}

/* A full disk may have had no room for them. */
static void room_again(void *arg)
{
    struct daemon *d = arg;

    if (d->unset)
        set_queues_and_limiters(d);
}

/* The listeners stay until the next start, so the password must, too. */
static void check_listeners(const struct daemon *d, const struct conf *wanted,
                            struct buf *errors)
{
    for (size_t i = 0; i < d->nlisteners && !wanted->password_file; i++) {
        if (!listener_is_local(d->listeners[i]))
            buf_printf(errors,
                       "%s: [daemon] password-file: 'none' is not possible "
                       "while %s is open; expected one until the next start\n",
                       file_name(d), listener_name(d->listeners[i]));
    }
}

/* And so do the files of the journal. */
static void check_segments(const struct daemon *d, const struct conf *wanted,
                           struct buf *errors)
{
    const struct core_limits *l = &wanted->limits;

    if (l->payload_max + l->result_max + 512 * CONF_K > d->conf.segment_size)
        buf_printf(errors,
                   "%s: [limits] payload-max: '%lld' is too much with "
                   "result-max for the segments of %lld that there are until "
                   "the next start; expected at most %lld together\n",
                   file_name(d), (long long)l->payload_max,
                   (long long)d->conf.segment_size,
                   (long long)(d->conf.segment_size - 512 * CONF_K));
}

static uint64_t disk_max(const struct daemon *d)
{
    return d->conf.disk_max == CORE_NONE ? 0 : (uint64_t)d->conf.disk_max;
}

/* All or nothing: a file with a mistake changes nothing. */
static void reload(struct daemon *d)
{
    struct engine_options options = d->options;
    struct buf errors, late;
    struct conf wanted;

    buf_init(&errors);
    buf_init(&late);
    if (load(d, &wanted, &errors) == 0) {
        fill_options(d, &wanted, &options, &errors);
        check_listeners(d, &wanted, &errors);
        check_segments(d, &wanted, &errors);
        if (buf_size(&errors) == 0) {
            conf_unapplied(&d->conf, &wanted, &late);
            conf_adopt(&d->conf, &wanted);
            d->options = options;
            d->options.limits = d->conf.limits; /* whose strings stay */
        }
        conf_clear(&wanted);
    }
    if (buf_size(&errors) == 0) {
        log_set_level(d->conf.log_level);
        engine_configure(d->engine, &d->options);
        store_bound(d->store, disk_max(d));
        if (d->state != DAEMON_LOADING) /* else it is going to */
            set_queues_and_limiters(d);
        log_info("reloaded");
        runner_program_password(&d->program, d->conf.password_file);
        if (d->child)
            child_reload(d->child);
    } else {
        tell_errors(&errors, true);
        log_error("not reloaded: the settings stay as they were");
    }
    if (buf_size(&late))
        log_warn("these take effect at the next start only: %.*s",
                 (int)buf_size(&late), buf_front(&late));
    buf_clear(&errors);
    buf_clear(&late);
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int events)
{
    const struct daemon *d = w->data;
    bool ready = d->state != DAEMON_LOADING;

    (void)loop;
    (void)events;
    if (ready)
        service_reloading();
    reload(w->data);
    if (ready)
        service_ready();
}

/* The watchdog is fed when the loop has turned and the store is not stuck;
 * a commit that takes longer than the watchdog's time is not slow but lost. */
static void on_pulse(struct ev_loop *loop, ev_timer *w, int events)
{
    struct daemon *d = container_of(w, struct daemon, pulse);
    struct engine_progress p;

    (void)loop;
    (void)events;
    engine_progress(d->engine, &p);
    if (d->watchdog_ms && p.turns != d->fed_turns &&
        p.commit_ms < d->watchdog_ms) {
        d->fed_turns = p.turns;
        service_alive();
    }
    if (p.loading) {
        service_patience(REPLAY_MS);
        service_status("replaying the journal: %d %%", p.loaded);
        return;
    }
    service_status("%lld running, %lld queued, %lld clients",
                   (long long)p.running, (long long)p.queued,
                   (long long)p.clients);
}

static void set_pulse(struct daemon *d, int64_t ms)
{
    if (d->watchdog_ms)
        ms = min_i64(ms, max_i64(d->watchdog_ms / 3, 1));
    d->pulse.repeat = (double)ms / 1000;
    ev_timer_again(d->loop, &d->pulse);
}

static void start_watchers(struct daemon *d)
{
    ev_signal_init(&d->term, on_stop, SIGTERM);
    ev_signal_init(&d->interrupt, on_stop, SIGINT);
    ev_signal_init(&d->hangup, on_hangup, SIGHUP);
    d->term.data = d->interrupt.data = d->hangup.data = d;
    ev_signal_start(d->loop, &d->term);
    ev_signal_start(d->loop, &d->interrupt);
    ev_signal_start(d->loop, &d->hangup);
    d->watchdog_ms = service_watchdog_ms();
    ev_timer_init(&d->pulse, on_pulse, 0, 0);
    set_pulse(d, PULSE_LOADING_MS);
}

/* ------------------------------------------------------------- starting */

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        rc = -errno;
    (void)close(fd); /* nothing was written to it */
    return rc;
}

/* One that is new is there after a power cut, too. */
static int make_directory(const char *path)
{
    char above[PATH_MAX + 32];
    int rc = mkdir(path, 0700) < 0 ? -errno : 0;

    if (rc == -EEXIST)
        return 0;
    (void)snprintf(above, sizeof(above), "%s/..", path);
    if (rc == 0)
        rc = sync_directory(above);
    if (rc < 0)
        log_error("cannot make the directory: %s path=%s", strerror(-rc), path);
    return rc;
}

static int open_store(struct daemon *d)
{
    char dir[PATH_MAX + 16], text[STORE_TEXT_MAX];
    struct store_journal_options o = {
        .dir = dir,
        .sync = d->conf.sync,
        .interval_ms = (uint32_t)d->conf.sync_interval_ms,
        .segment_bytes = (uint64_t)d->conf.segment_size,
        .disk_max = disk_max(d),
        .threaded = true,
        /* A few dozen requests that wait for one sync: handing it to another
         * thread would take longer than the loop could gain by it. */
        .inline_bytes = 64 * 1024,
    };
    int rc;

    if (d->conf.store == CONF_STORE_MEMORY) {
        d->store = store_memory_open();
        return 0;
    }
    (void)snprintf(dir, sizeof(dir), "%s/journal", d->conf.state_dir);
    rc = make_directory(d->conf.state_dir);
    if (rc == 0)
        rc = make_directory(dir);
    if (rc < 0)
        return rc;
    rc = store_journal_open(&o, &d->store, text);
    if (rc < 0)
        log_error("cannot open the journal: %s", text);
    if (rc < 0 || !verify_unfinished(dir))
        return rc;
    log_error("cannot use the journal: a restore was broken off: restore it "
              "again dir=%s",
              dir);
    return -EBUSY;
}

/* A descriptor for each client, if the system lets us. */
static void raise_files(const struct conf *c)
{
    rlim_t wanted = (rlim_t)c->clients_max + FILES_RESERVE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_warn("the limit of open files allows fewer clients than "
                 "clients-max: files=%llu clients_max=%lld",
                 (unsigned long long)limit.rlim_cur, (long long)c->clients_max);
}

static void add_listener(struct daemon *d, struct listener *l)
{
    d->listeners[d->nlisteners++] = l;
    log_info("listening address=%s", listener_name(l));
}

static int listen_unix(struct daemon *d)
{
    char text[LISTENER_TEXT_MAX];
    struct listener *l = NULL;
    gid_t group = (gid_t)-1;
    int rc;

    if (!d->conf.socket)
        return 0;
    if (d->conf.socket_group) {
        const struct group *g = getgrnam(d->conf.socket_group);

        if (!g) {
            log_error("there is no such group: socket-group=%s",
                      d->conf.socket_group);
            return -EINVAL;
        }
        group = g->gr_gid;
    }
    rc = listener_open_unix(d->conf.socket, (mode_t)d->conf.socket_mode, group,
                            &l, text);
    if (rc < 0)
        log_error("cannot listen: %s", text);
    else
        add_listener(d, l);
    return rc;
}

static int listen_tcp(struct daemon *d)
{
    const struct conf_listen *all = &d->conf.listen;
    char text[LISTENER_TEXT_MAX];

    for (size_t i = 0; i < all->len; i++) {
        const struct conf_address *a = &all->list[i];
        struct listener *l = NULL;
        int rc = listener_open_tcp(a->text, &l, text);

        /* A machine without IPv6 has no ::1, and does not need it. */
        if ((rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT) && a->loopback &&
            a->text[0] == '[' && all->len > 1) {
            log_info("no such address here, left out address=%s", a->text);
        } else if (rc < 0) {
            log_error("cannot listen: %s", text);
            return rc;
        } else {
            add_listener(d, l);
        }
    }
    return 0;
}

/* Sockets that systemd opened stand for those of the file. */
static int listen_passed(struct daemon *d, int first, int count)
{
    char text[LISTENER_TEXT_MAX];

    if (count > LISTENERS_MAX) {
        log_error("systemd passed more sockets than yoked takes: sockets=%d "
                  "most=%d",
                  count, LISTENERS_MAX);
        return -EINVAL;
    }
    for (int i = 0; i < count; i++) {
        struct listener *l = NULL;
        int rc = listener_adopt(first + i, &l, text);

        if (rc < 0) {
            log_error("cannot listen: %s", text);
            return rc;
        }
        add_listener(d, l);
        if (!listener_is_local(l) && !d->conf.password_file) {
            log_error("this address is not a loopback address; expected a "
                      "password-file with it address=%s",
                      listener_name(l));
            return -EACCES;
        }
    }
    return 0;
}

static int open_listeners(struct daemon *d)
{
    int first, count = service_sockets(&first), rc;

    if (count > 0)
        return listen_passed(d, first, count);
    rc = listen_unix(d);
    return rc < 0 ? rc : listen_tcp(d);
}

static void report_replay(const struct daemon *d)
{
    struct store_stats stats;

    store_stats(d->store, &stats);
    if (stats.torn_bytes)
        log_warn("the journal's torn tail was cut: bytes=%llu",
                 (unsigned long long)stats.torn_bytes);
    log_info("replayed entries=%llu bytes=%llu",
             (unsigned long long)stats.replayed_entries,
             (unsigned long long)stats.replayed_bytes);
}

/* The journal has been replayed, or cannot be. */
static void loaded(void *arg, int rc, const char *text)
{
    struct daemon *d = arg;

    if (rc < 0) {
        log_error("cannot read the journal: %s", text);
        if (rc == -EBADMSG)
            log_error("nothing was changed: yoked --verify-journal says what "
                      "is damaged and what is whole, yoked --repair keeps "
                      "that dir=%s/journal",
                      d->conf.state_dir);
        return;
    }
    report_replay(d);
    if (engine_status(d->engine) < 0)
        return; /* it failed at its first entry, and has said so */
    d->state = DAEMON_RUNNING;
    set_queues_and_limiters(d);
    if (d->conf.runner_start)
        start_runner(d);
    set_pulse(d, PULSE_MS);
    service_ready();
    ev_feed_event(d->loop, &d->pulse, EV_TIMER); /* what is told at once */
    log_info("ready version=%s", PACKAGE_VERSION);
}

static void start_engine(struct daemon *d)
{
    d->options.loop = d->loop;
    d->options.store = d->store;
    d->options.clients_max = d->conf.clients_max;
    d->options.output_max = d->conf.output_max;
    d->options.backup_idle_ms = d->conf.backup_idle_ms;
    d->options.unread_messages_max = d->conf.unread_messages_max;
    d->options.subscriptions_max = d->conf.subscriptions_max;
    d->options.client_subscriptions_max = d->conf.client_subscriptions_max;
    d->options.patterns_max = d->conf.patterns_max;
    d->options.version = PACKAGE_VERSION;
    d->options.loaded = loaded;
    d->options.shutdown = asked_to_stop;
    d->options.settings = each_setting;
    d->options.room = room_again;
    d->options.arg = d;
    d->engine = engine_new(&d->options);
}

static int serve(struct daemon *d)
{
    int rc = open_store(d);

    if (rc == 0)
        rc = open_listeners(d);
    if (rc < 0)
        return rc;
    start_engine(d);
    for (size_t i = 0; i < d->nlisteners; i++)
        listener_start(d->listeners[i], d->loop, engine_accept, d->engine);
    start_watchers(d);
    (void)ev_run(d->loop, 0);
    return engine_status(d->engine);
}

static int run(struct daemon *d)
{
    struct buf errors;
    int rc;

    buf_init(&errors);
    engine_options_init(&d->options);
    log_init("yoked", LOG_LEVEL_INFO);
    if (load(d, &d->conf, &errors) == 0)
        fill_options(d, &d->conf, &d->options, &errors);
    tell_errors(&errors, true);
    rc = buf_size(&errors) ? -EINVAL : 0;
    buf_clear(&errors);
    if (rc == 0 && d->conf.runner_start && !d->program.path[0]) {
        log_error("[runner] start: yoke-runner was not found");
        rc = -EINVAL;
    }
    /* Now, and not by a runner that ends again and again. */
    if (rc == 0 && d->conf.runner_start &&
        runner_program_check(&d->program, true) != 0) {
        log_error("yoke-runner does not take its settings");
        rc = -EINVAL;
    }
    if (rc < 0) {
        conf_clear(&d->conf);
        return EXIT_USAGE;
    }
    log_set_level(d->conf.log_level);
    raise_files(&d->conf);
    /* Not the default loop: its handler of SIGCHLD would take the statuses of
     * children that are not its own. */
    d->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    ASSERT(d->loop);
    rc = serve(d);
    for (size_t i = 0; i < d->nlisteners; i++)
        listener_free(d->listeners[i]);
    engine_free(d->engine);
    child_free(d->child);
    store_close(d->store);
    ev_loop_destroy(d->loop);
    conf_clear(&d->conf);
    log_info("ended");
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ----------------------------------------------------------- the command */

/* Standard descriptors that are closed would be taken by files of ours. */
static void fill_standard_files(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd); /* was not used */
}

static void reset_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;

    sigemptyset(&none);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    /* Ignored, it would take away the statuses of children. */
    (void)sigaction(SIGCHLD, &normal, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
    static struct daemon d;
    int status;

    fill_standard_files();
    status = arguments_read(argc, argv, &d.args);
    if (status >= 0)
        return status;
    umask(077);
    switch (d.args.task) {
    case TASK_VERIFY:
        return verify_journal(d.args.dir, d.args.list);
    case TASK_REPAIR:
        return offline_repair(d.args.dir);
    case TASK_RESTORE:
        return restore_journal(&d, d.args.dir);
    case TASK_RUN:
    case TASK_CHECK_CONFIG:
        break;
    }
    reset_signals();
    runner_program_init(&d.program, &d.args);
    return d.args.task == TASK_RUN ? run(&d) : check_config(&d);
}
