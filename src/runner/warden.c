/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/warden.h"

#include "runner/cgroup.h"
#include "runner/message.h"
#include "runner/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The runner's name: who kills all processes called yoke-runner is to meet one
 * of the two, and the other one ends what is left. */
#define RUNNER_NAME "yoke-jobs"
/* What is left of a runner has so long to end once it was killed. */
#define LEFT_MS 5000
/* A time that is found twice may differ by so much. */
#define TICKS_MS 4
/* Between two attempts to kill a runner that does not end. */
#define REPEAT_MS 100

/* What both processes see. */
struct page {
    _Atomic int64_t until_ms; /* see warden_lease */
    /* What the warden's timer is set to: it looks at until_ms then, and need
     * not be woken up for a later time. */
    _Atomic int64_t watched_ms;
    /* Written before the first job. */
    char base[CGROUP_PATH_MAX], home[CGROUP_PATH_MAX];
};

struct warden_link {
    struct page *page;
    int commands; /* a byte for each signal, until the warden is gone */
    int poke;     /* wakes the warden up */
};

struct warden {
    struct page *page;
    struct sweep sweep;
    struct sweep_scope scope; /* the runner and all below it */
    int signals, timer, poke;
    int commands; /* to the runner */
    bool stopping, fenced, ended;
    siginfo_t end;
};

static const int passed[] = {SIGTERM, SIGINT, SIGHUP};

static void passed_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        sigaddset(set, passed[i]);
}

/* ---------------------------------------------------------- in the runner */

int warden_listen(struct warden_link *link)
{
    sigset_t set;

    /* Not ignored: that would be handed down to jobs. */
    passed_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return link->commands;
}

int warden_next(struct warden_link *link)
{
    unsigned char number;
    ssize_t n = read(link->commands, &number, 1);

    return n == 1 ? number : n == 0 ? -EPIPE : 0;
}

void warden_lease(struct warden_link *link, int64_t until_ms)
{
    static const uint64_t one = 1;
    struct page *p = link->page;

    atomic_store(&p->until_ms, until_ms);
    if (until_ms < atomic_load(&p->watched_ms) - TICKS_MS)
        (void)!write(link->poke, &one, sizeof(one)); /* it is there already */
}

void warden_cgroup(struct warden_link *link, const char *base, const char *home)
{
    struct page *p = link->page;

    snprintf(p->base, sizeof(p->base), "%s", base);
    snprintf(p->home, sizeof(p->home), "%s", home ? home : "");
}

/* --------------------------------------------------------------- the warden */

static void timer_set(struct warden *w, int64_t at_ms, int flags)
{
    struct itimerspec at = {.it_value = {.tv_sec = at_ms / 1000,
                                         .tv_nsec = at_ms % 1000 * 1000000}};

    timerfd_settime(w->timer, flags, &at, NULL);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Kills the runner, and not its jobs before it: it would see them fail, and say
 * so. Then they are ours. If it does not end, as the kernel has it waiting,
 * they are sought below it. */
static void fence(struct warden *w)
{
    size_t denied;

    if (w->fenced) {
        sweep_kill(&w->sweep, &w->scope, NULL, &denied);
    } else {
        message_error("the lease is over and the runner has not ended its "
                      "jobs: it is killed with them");
        (void)kill(w->scope.main, SIGKILL); /* not reaped: it is ours */
    }
    if (w->page->base[0])
        cgroup_kill_base(w->page->base);
    w->fenced = true;
    timer_set(w, REPEAT_MS, 0);
}

/* Sets the timer to the end of the lease. While there is no job it is off. */
static void watch_lease(struct warden *w)
{
    struct page *p = w->page;
    int64_t until;

    /* What comes after the second look sees what is watched. */
    do {
        until = atomic_load(&p->until_ms);
        atomic_store(&p->watched_ms, until);
    } while (atomic_load(&p->until_ms) < until);
    if (until == WARDEN_NO_JOBS)
        timer_set(w, 0, 0);
    else if (now_ms() >= until)
        fence(w);
    else
        timer_set(w, until, TFD_TIMER_ABSTIME);
}

static void reap(struct warden *w)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) < 0 ||
            info.si_pid == 0)
            return;
        /* As process 1 of a container we have others, too; and once the runner
         * is dead all that it had, maybe without end. */
        if (info.si_pid == w->scope.main) {
            w->end = info;
            w->ended = true;
            return;
        }
    }
}

static void take_signals(struct warden *w)
{
    struct signalfd_siginfo info;

    while (!w->ended && read(w->signals, &info, sizeof(info)) == sizeof(info)) {
        unsigned char number = (unsigned char)info.ssi_signo;

        if (number == SIGCHLD) {
            reap(w);
            continue;
        }
        w->stopping |= number != SIGHUP;
        /* One that is stopped goes on: that comes first, for it would take
         * away the stop by which a debugger, or a look for leaks at its end,
         * attaches. By the pipe for a runner that listens; one that does not
         * yet is ended by the signal. */
        (void)kill(w->scope.main, SIGCONT);    /* not reaped: it is ours */
        (void)!write(w->commands, &number, 1); /* else it is full of them */
        (void)kill(w->scope.main, number);
    }
}

static void watch_runner(struct warden *w)
{
    struct pollfd fds[] = {{.fd = w->signals, .events = POLLIN},
                           {.fd = w->poke, .events = POLLIN},
                           {.fd = w->timer, .events = POLLIN}};
    uint64_t count;

    while (!w->ended) {
        if (poll(fds, 3, -1) < 0)
            continue; /* stopped and continued */
        if (fds[1].revents)
            (void)!read(w->poke, &count, sizeof(count));
        if (fds[2].revents)
            (void)!read(w->timer, &count, sizeof(count));
        take_signals(w);
        if (w->ended)
            break;
        if (w->fenced && fds[2].revents)
            fence(w);
        else if (!w->fenced && (fds[1].revents || fds[2].revents))
            watch_lease(w);
    }
}

/* ------------------------------------------------------------------- start */

static int warden_init(struct warden *w)
{
    sigset_t set;
    int rc = sweep_init(&w->sweep);

    if (rc < 0)
        return rc;
    passed_set(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    w->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    w->poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->signals < 0 || w->timer < 0 || w->poke < 0)
        return -errno;
    w->page = mmap(NULL, sizeof(*w->page), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return w->page == MAP_FAILED ? -errno : 0;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* Nothing of the warden but the link to it. */
static _Noreturn void be_runner(struct warden *w,
                                const struct warden_plan *plan, int commands)
{
    struct warden_link link = {
        .page = w->page, .commands = commands, .poke = w->poke};
    sigset_t hangup;

    close_all((int[]){w->signals, w->timer, w->commands, w->sweep.children}, 4);
    (void)setsid(); /* fails for the leader of one */
    (void)prctl(PR_SET_NAME, RUNNER_NAME);
    /* One that comes before the runner listens is in the pipe by then. */
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_SETMASK, &hangup, NULL);
    exit(plan->run(&link, plan->arg));
}

/* 0 or -errno. */
static int start_runner(struct warden *w, const struct warden_plan *plan)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    w->commands = ends[1];
    w->ended = w->fenced = false;
    atomic_store(&w->page->until_ms, WARDEN_NO_JOBS);
    atomic_store(&w->page->watched_ms, WARDEN_NO_JOBS);
    w->page->base[0] = w->page->home[0] = '\0';
    timer_set(w, 0, 0);
    pid = fork();
    if (pid == 0)
        be_runner(w, plan, ends[0]);
    close(ends[0]);
    if (pid < 0) {
        int rc = -errno;

        close(ends[1]);
        return rc;
    }
    w->scope = (struct sweep_scope){.main = pid};
    sweep_add(&w->sweep, &w->scope);
    return 0;
}

/* What the runner has left is killed. False when that does not end. */
static bool clean_up(struct warden *w)
{
    bool clean;

    sweep_remove(&w->sweep, &w->scope);
    close(w->commands);
    if (w->end.si_code != CLD_EXITED && !w->fenced)
        message_warn("the runner was ended by a signal, and what it left is "
                     "killed signal=%s",
                     sigabbrev_np(w->end.si_status));
    if (w->page->base[0])
        cgroup_kill_base(w->page->base);
    clean = sweep_all(&w->sweep, LEFT_MS);
    if (!clean)
        message_error("what the runner has left does not end");
    if (w->page->base[0])
        cgroup_bury(w->page->base, w->page->home);
    return clean;
}

/* The exit status that says how the runner ended; or the same end. */
static int end_alike(const struct warden *w)
{
    const struct rlimit none = {0};
    sigset_t set;
    int number = w->end.si_status;

    if (w->fenced)
        return 1;
    if (w->end.si_code == CLD_EXITED)
        return number;
    setrlimit(RLIMIT_CORE, &none); /* the runner's is the one of use */
    sigemptyset(&set);
    sigaddset(&set, number);
    (void)signal(number, SIG_DFL); /* KILL has no other */
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(number);
    return 128 + number; /* process 1 of a container is spared */
}

int warden_main(const struct warden_plan *plan)
{
    struct warden w = {
        .sweep.children = -1, .signals = -1, .timer = -1, .poke = -1};
    int rc = warden_init(&w);
    bool clean = true;

    if (rc == 0)
        /* Of whom we may have replaced (exec). */
        (void)sweep_all(&w.sweep, LEFT_MS);
    while (rc == 0 && (rc = start_runner(&w, plan)) == 0) {
        if (plan->fd >= 0)
            close(plan->fd);
        watch_runner(&w);
        clean = clean_up(&w);
        if (!w.fenced || plan->fd >= 0 || w.stopping || !clean)
            break;
        message_info("another runner is started");
    }
    if (rc < 0)
        message_error("cannot start: %s", strerror(-rc));
    close_all((int[]){w.signals, w.timer, w.poke}, 3);
    sweep_clear(&w.sweep);
    return rc < 0 ? 1 : end_alike(&w);
}
