/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/child.h"

#include "base/log.h"
#include "base/mem.h"
#include "server/sweep.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FD           3 /* where the runner finds its socket */
#define CHILD_ARGS_MAX     64
#define CHILD_BACKOFF_MIN  100
#define CHILD_BACKOFF_MAX  10000
#define CHILD_REFUSED      2 /* exit status: its settings are wrong */
#define CHILD_REFUSED_MIN  1000
#define CHILD_REFUSED_MAX  60000
#define CHILD_SLICE_MS     5    /* of sweeping in one turn of the loop */
#define CHILD_PATIENCE_MS  5000 /* between two complaints about a sweep */
#define CHILD_LAST_WORD_MS 3000 /* for a sweep once the time to stop is up */

enum child_state {
    CHILD_IDLE,
    CHILD_RUNNING,
    CHILD_SWEEPING,
    CHILD_WAITING, /* for the next start */
};

struct child {
    struct child_options options;
    enum child_state state;
    pid_t pid;
    int pidfd; /* -1: none */
    ev_io ended;
    ev_timer timer; /* SWEEPING: next slice; WAITING: next start */
    ev_timer stop;  /* time to stop is up */
    double started, swept;
    int64_t backoff_ms;
    bool stopping, killed;
    bool refused; /* how the last one ended: see CHILD_REFUSED */
    void (*done)(void *arg);
    void *done_arg;
};

/* The variables of systemd are for this process alone. */
static bool is_private(const char *variable)
{
    static const char *const private[] = {"NOTIFY_SOCKET=", "LISTEN_",
                                          "WATCHDOG_", "FDSTORE="};

    for (size_t i = 0; i < ARRAY_LEN(private); i++) {
        if (strncmp(variable, private[i], strlen(private[i])) == 0)
            return true;
    }
    return false;
}

static char **make_environment(void)
{
    size_t n = 0, kept = 0;
    char **out;

    while (environ[n])
        n++;
    out = mem_alloc(mem_mul(n + 1, sizeof(*out)));
    for (size_t i = 0; i < n; i++) {
        if (!is_private(environ[i]))
            out[kept++] = environ[i];
    }
    out[kept] = NULL;
    return out;
}

/* posix_spawn does not copy the page tables: its cost does not grow with the
 * daemon. 0 or -errno. */
static int spawn(struct child *c, int fd)
{
    const char *argv[CHILD_ARGS_MAX] = {c->options.program, "--fd", "3"};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, hangup;
    char **env = make_environment();
    int rc;

    for (size_t i = 0; c->options.args[i]; i++) {
        ASSERT(i + 4 < ARRAY_LEN(argv));
        argv[i + 3] = c->options.args[i];
    }
    sigfillset(&all);
    /* One that is sent before the runner can take it is not to end it: see
     * child_reload. */
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    rc = posix_spawn_file_actions_init(&actions);
    ASSERT(rc == 0); /* these fail only for want of memory */
    rc = posix_spawnattr_init(&attr);
    ASSERT(rc == 0);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETPGROUP);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setsigmask(&attr, &hangup);
    rc = posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&actions, CHILD_FD + 1);
    if (rc == 0)
        rc = posix_spawn(&c->pid, c->options.program, &actions, &attr,
                         (char *const *)argv, env);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    mem_free(env);
    return -rc;
}

static void wait_and_start(struct child *c)
{
    c->state = CHILD_WAITING;
    ev_timer_set(&c->timer, (double)c->backoff_ms / 1000, 0);
    ev_timer_start(c->options.loop, &c->timer);
    c->backoff_ms = min_i64(2 * c->backoff_ms,
                            c->refused ? CHILD_REFUSED_MAX : CHILD_BACKOFF_MAX);
}

void child_start(struct child *c)
{
    int pair[2], rc = 0;

    ASSERT(c->state == CHILD_IDLE || c->state == CHILD_WAITING);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        log_error("no socketpair for the runner: %s", strerror(errno));
        wait_and_start(c);
        return;
    }
    rc = spawn(c, pair[1]);
    (void)close(pair[1]); /* nothing was written to it */
    if (rc == 0) {
        c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
        rc = c->pidfd < 0 ? -errno : 0;
        if (rc < 0) {
            /* It has said nothing yet; without its socket it ends. */
            (void)kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, NULL, 0);
        }
    }
    if (rc < 0) {
        (void)close(pair[0]); /* nothing was written to it */
        log_error("cannot start the runner: %s program=%s retry_ms=%lld",
                  strerror(-rc), c->options.program, (long long)c->backoff_ms);
        wait_and_start(c);
        return;
    }
    c->state = CHILD_RUNNING;
    c->killed = false;
    c->started = ev_now(c->options.loop);
    ev_io_set(&c->ended, c->pidfd, EV_READ);
    ev_io_start(c->options.loop, &c->ended);
    log_info("runner started pid=%d", (int)c->pid);
    c->options.attach(c->options.arg, pair[0]);
}

static void send_signal(const struct child *c, int signal)
{
    if (syscall(SYS_pidfd_send_signal, c->pidfd, signal, NULL, 0) < 0 &&
        errno != ESRCH)
        log_error("cannot signal the runner: %s pid=%d", strerror(errno),
                  (int)c->pid);
}

void child_reload(struct child *c)
{
    if (c->state == CHILD_RUNNING) {
        send_signal(c, SIGHUP);
    } else if (c->state == CHILD_WAITING && !c->stopping) {
        c->backoff_ms = CHILD_BACKOFF_MIN;
        c->refused = false; /* whatever is wrong now is to be said */
        ev_timer_stop(c->options.loop, &c->timer);
        child_start(c);
    }
}

/* Nothing is left of the runner. */
static void gone(struct child *c)
{
    c->state = CHILD_IDLE;
    ev_timer_stop(c->options.loop, &c->timer);
    ev_timer_stop(c->options.loop, &c->stop);
    c->options.dead(c->options.arg);
    if (c->stopping) {
        c->done(c->done_arg);
        return;
    }
    if (ev_now(c->options.loop) - c->started > CHILD_BACKOFF_MAX / 1000.0)
        c->backoff_ms = CHILD_BACKOFF_MIN;
    if (c->refused)
        c->backoff_ms = max_i64(c->backoff_ms, CHILD_REFUSED_MIN);
    wait_and_start(c);
}

static void sweep_more(struct child *c)
{
    int rc = sweep_children(CHILD_SLICE_MS);
    double now = ev_time();

    if (rc == 0) {
        gone(c);
        return;
    }
    if (now - c->swept > CHILD_PATIENCE_MS / 1000.0) {
        c->swept = now;
        log_error("processes that the runner left behind do not end: %s",
                  rc < 0 ? strerror(-rc) : "killed again and again");
    }
    /* Others may have their turn; what does not die at once is waiting for
     * the kernel. */
    ev_timer_set(&c->timer, 0.001, 0);
    ev_timer_start(c->options.loop, &c->timer);
}

/* Says how it ended; that it cannot do what the settings want is said once. */
static void tell_end(struct child *c, const siginfo_t *info)
{
    bool exited = info->si_code == CLD_EXITED;
    bool refused = exited && info->si_status == CHILD_REFUSED;

    if (exited && info->si_status == 0 && c->stopping)
        log_info("runner ended pid=%d", (int)c->pid);
    else if (!refused)
        log_warn("runner ended pid=%d %s=%d", (int)c->pid,
                 exited ? "status" : "signal", info->si_status);
    else if (!c->refused)
        log_error("no job is run: the runner says what is wrong with its "
                  "settings, and is tried again later and later, or at once "
                  "after a reload");
    c->refused = refused;
}

static void on_ended(struct ev_loop *loop, ev_io *w, int events)
{
    struct child *c = container_of(w, struct child, ended);
    siginfo_t info = {.si_pid = 0};

    (void)events;
    sweep_cgroup(c->pid);
    if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG) < 0 ||
        info.si_pid == 0)
        return; /* not yet; the descriptor stays readable once it is */
    ev_io_stop(loop, w);
    /* libev leaves it to close() to take a descriptor out of epoll. That is
     * enough here: no other process holds this one, for it is not inherited
     * and no second child is being started meanwhile. */
    (void)close(c->pidfd);
    c->pidfd = -1;
    tell_end(c, &info);
    c->state = CHILD_SWEEPING;
    c->swept = ev_time();
    sweep_more(c);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct child *c = container_of(w, struct child, timer);

    (void)loop;
    (void)events;
    if (c->state == CHILD_SWEEPING)
        sweep_more(c);
    else if (c->stopping)
        c->done(c->done_arg);
    else
        child_start(c);
}

static void on_stop(struct ev_loop *loop, ev_timer *w, int events)
{
    struct child *c = container_of(w, struct child, stop);

    (void)loop;
    (void)events;
    if (!c->killed) {
        child_hurry(c);
        return;
    }
    log_error("processes that the runner left behind are left alone");
    ev_timer_stop(c->options.loop, &c->timer);
    ev_io_stop(c->options.loop, &c->ended);
    c->done(c->done_arg);
}

struct child *child_new(const struct child_options *options)
{
    struct child *c = mem_zalloc(sizeof(*c));
    int rc = sweep_init();

    if (rc < 0)
        log_error("cannot become a subreaper: %s", strerror(-rc));
    c->options = *options;
    c->state = CHILD_IDLE;
    c->pidfd = -1;
    c->backoff_ms = CHILD_BACKOFF_MIN;
    ev_init(&c->ended, on_ended);
    ev_init(&c->timer, on_timer);
    ev_init(&c->stop, on_stop);
    return c;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    ev_io_stop(c->options.loop, &c->ended);
    ev_timer_stop(c->options.loop, &c->timer);
    ev_timer_stop(c->options.loop, &c->stop);
    if (c->pidfd >= 0) {
        send_signal(c, SIGKILL);
        (void)close(c->pidfd);
    }
    mem_free(c);
}

void child_stop(struct child *c, int64_t most_ms, void (*done)(void *arg),
                void *arg)
{
    ASSERT(!c->stopping);
    c->stopping = true;
    c->done = done;
    c->done_arg = arg;
    if (c->state == CHILD_IDLE || c->state == CHILD_WAITING) {
        ev_timer_stop(c->options.loop, &c->timer);
        ev_timer_set(&c->timer, 0, 0); /* from the loop, as promised */
        ev_timer_start(c->options.loop, &c->timer);
        return;
    }
    if (c->state == CHILD_RUNNING)
        send_signal(c, SIGINT);
    ev_timer_set(&c->stop, (double)most_ms / 1000, 0);
    ev_timer_start(c->options.loop, &c->stop);
}

void child_hurry(struct child *c)
{
    if (c->state != CHILD_RUNNING && c->state != CHILD_SWEEPING)
        return;
    if (c->state == CHILD_RUNNING && !c->killed) {
        log_warn("runner is killed pid=%d", (int)c->pid);
        send_signal(c, SIGKILL);
    }
    c->killed = true;
    ev_timer_stop(c->options.loop, &c->stop);
    ev_timer_set(&c->stop, CHILD_LAST_WORD_MS / 1000.0, 0);
    ev_timer_start(c->options.loop, &c->stop);
}
