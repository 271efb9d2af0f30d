/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/crew.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static const char lost[] = "lost";
static const char cancelled[] = "cancelled"; /* no memory for the reason */

int64_t yk_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void lock(struct crew *c)
{
    (void)pthread_mutex_lock(&c->lock); /* a plain mutex cannot fail */
}

static void unlock(struct crew *c)
{
    (void)pthread_mutex_unlock(&c->lock);
}

/* What makes poll(2) return at a descriptor of eventfd. */
static void make_readable(int fd)
{
    const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    (void)n; /* a full counter is readable, too */
}

/* Under the lock. */
static void wake(struct crew *c)
{
    if (!c->woken)
        make_readable(c->wake_fd);
    c->woken = true;
}

/* ------------------------------------------------------------------- hands */

/* Under the lock: what the task has of the hand ends with it. */
static void leave_task(struct hand *h)
{
    uint64_t count;

    h->task = NULL;
    h->uses_y = false;
    if (h->cancel_fd >= 0 && read(h->cancel_fd, &count, sizeof(count)) < 0)
        count = 0; /* it was not cancelled */
    if (h->y)
        (void)yk_take_interrupt(h->y);
}

static void run(struct hand *h, struct yoke_task *t)
{
    struct crew *c = h->crew;

    h->text[0] = '\0';
    t->began_us = yk_now_us();
    t->returned = t->served->fn(t, t->served->arg);
    t->ended_us = yk_now_us();
    if (h->y)
        h->y->scope[0] = '\0';

    lock(c);
    leave_task(h);
    TAILQ_INSERT_TAIL(&c->done, t, turn);
    if (!c->resting || c->nready < c->nhands)
        wake(c);
}

static void *hand_main(void *arg)
{
    struct hand *h = arg;
    struct crew *c = h->crew;
    struct yoke_task *t;
    yoke *y;

    lock(c);
    for (;;) {
        while (!(t = TAILQ_FIRST(&c->ready)) && !c->closing)
            (void)pthread_cond_wait(&c->work, &c->lock);
        if (!t)
            break;
        TAILQ_REMOVE(&c->ready, t, turn);
        c->nready--;
        h->task = t;
        t->hand = h;
        unlock(c);
        run(h, t); /* comes back with the lock */
    }
    y = h->y;
    h->y = NULL;
    unlock(c);
    yoke_close(y);
    return NULL;
}

static bool hand_init(struct hand *h, struct crew *c)
{
    pthread_condattr_t attr;
    bool ok = false;

    h->crew = c;
    h->cancel_fd = -1;
    if (pthread_condattr_init(&attr))
        return false;
    if (!pthread_condattr_setclock(&attr, CLOCK_MONOTONIC))
        ok = !pthread_cond_init(&h->news, &attr);
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

static void hand_clear(struct hand *h)
{
    (void)pthread_cond_destroy(&h->news);
    if (h->cancel_fd >= 0)
        (void)close(h->cancel_fd); /* nothing was written */
}

/* No signal comes to a hand: its mask is that of the thread that makes it. */
static bool hand_start(struct hand *h)
{
    sigset_t all, before;
    bool ok;

    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before))
        return false;
    ok = !pthread_create(&h->thread, NULL, hand_main, h);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

int yk_crew_start(struct crew *c, size_t n, int wake_fd, struct yoke_worker *w)
{
    *c = (struct crew){.wake_fd = wake_fd, .worker = w};
    TAILQ_INIT(&c->ready);
    TAILQ_INIT(&c->done);
    TAILQ_INIT(&c->calls);
    c->hands = yk_zalloc(n, sizeof(*c->hands));
    if (!c->hands)
        return YOKE_ERR_NOMEM;
    (void)pthread_mutex_init(&c->lock, NULL); /* without attributes they */
    (void)pthread_cond_init(&c->work, NULL);  /* cannot fail */
    while (c->nhands < n) {
        struct hand *h = &c->hands[c->nhands];

        if (!hand_init(h, c))
            break;
        if (!hand_start(h)) {
            hand_clear(h);
            break;
        }
        c->nhands++; /* no hand reads it before it has a task */
    }
    if (c->nhands == n)
        return 0;
    yk_crew_stop(c);
    return YOKE_ERR_NOMEM;
}

void yk_crew_stop(struct crew *c)
{
    lock(c);
    c->closing = true;
    (void)pthread_cond_broadcast(&c->work);
    unlock(c);
    for (size_t i = 0; i < c->nhands; i++)
        (void)pthread_join(c->hands[i].thread, NULL);
    for (size_t i = 0; i < c->nhands; i++)
        hand_clear(&c->hands[i]);
    (void)pthread_cond_destroy(&c->work);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->hands);
    c->hands = NULL;
}

void yk_crew_call(struct crew *c, struct call *call)
{
    lock(c);
    call->over = false;
    TAILQ_INSERT_TAIL(&c->calls, call, link);
    wake(c);
    while (!call->over)
        (void)pthread_cond_wait(&call->hand->news, &c->lock);
    unlock(c);
}

/* When a wait of so many ms is over. Not by CLOCK_BOOTTIME, as all else: a
 * condition cannot be waited for by that. So who sleeps with the machine sleeps
 * on for as long afterwards; his deadline does not wait for him, for it comes
 * as a cancel, from the I/O thread. */
static struct timespec time_after(int64_t ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

bool yk_crew_wait(struct hand *h, int64_t ms)
{
    struct timespec until = time_after(min_i64(max_i64(ms, 0), INT32_MAX));
    struct crew *c = h->crew;
    bool is_cancelled;
    int error = 0;

    lock(c);
    while (!(is_cancelled = atomic_load(&h->task->cancelled)) && !error) {
        if (ms == YOKE_NONE)
            error = pthread_cond_wait(&h->news, &c->lock);
        else
            error = pthread_cond_timedwait(&h->news, &c->lock, &until);
    }
    unlock(c);
    return is_cancelled;
}

int yk_crew_cancel_fd(struct hand *h)
{
    struct crew *c = h->crew;
    int fd;

    lock(c);
    if (h->cancel_fd < 0) {
        h->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (h->cancel_fd >= 0 && atomic_load(&h->task->cancelled))
            make_readable(h->cancel_fd);
    }
    fd = h->cancel_fd < 0 ? -errno : h->cancel_fd;
    unlock(c);
    return fd;
}

yoke *yk_crew_set_handle(struct hand *h, yoke *y)
{
    struct crew *c = h->crew;
    yoke *before;

    lock(c);
    before = h->y;
    h->y = y;
    h->uses_y = y != NULL;
    unlock(c);
    return before;
}

/* ---------------------------------------------------------- the I/O thread */

void yk_crew_give(struct crew *c, struct yoke_task *t)
{
    lock(c);
    TAILQ_INSERT_TAIL(&c->ready, t, turn);
    c->nready++;
    (void)pthread_cond_signal(&c->work);
    unlock(c);
}

bool yk_crew_take_back(struct crew *c, struct yoke_task *t)
{
    bool mine;

    lock(c);
    mine = !t->hand;
    if (mine) {
        TAILQ_REMOVE(&c->ready, t, turn);
        c->nready--;
    }
    unlock(c);
    return mine;
}

size_t yk_crew_collect(struct crew *c, struct task_list *done,
                       struct call_list *calls)
{
    size_t nready;

    lock(c);
    nready = c->nready;
    c->woken = false;
    c->resting = false;
    TAILQ_CONCAT(done, &c->done, turn);
    TAILQ_CONCAT(calls, &c->calls, link);
    unlock(c);
    return nready;
}

bool yk_crew_may_wait(struct crew *c, bool *gather)
{
    bool may;

    lock(c);
    *gather = c->nready >= c->nhands;
    may = TAILQ_EMPTY(&c->calls) && (*gather || TAILQ_EMPTY(&c->done));
    c->resting = may && *gather;
    unlock(c);
    return may;
}

void yk_crew_cancel(struct crew *c, struct yoke_task *t, const char *reason,
                    int64_t grace_ms)
{
    size_t size = reason ? strlen(reason) + 1 : 0;
    char *copy = size ? yk_alloc(size) : NULL;

    if (copy)
        memcpy(copy, reason, size);
    lock(c);
    if (!reason)
        atomic_store(&t->lost, true);
    if (!atomic_load(&t->cancelled)) {
        t->reason = copy ? copy : reason ? cancelled : lost;
        t->stop_by_ms = yk_now_ms() + max_i64(0, grace_ms);
        copy = NULL;
        atomic_store(&t->cancelled, true);
        if (t->hand && t->hand->task == t) {
            (void)pthread_cond_signal(&t->hand->news);
            if (t->hand->cancel_fd >= 0)
                make_readable(t->hand->cancel_fd);
            if (t->hand->uses_y)
                yoke_interrupt(t->hand->y);
        }
    }
    unlock(c);
    free(copy);
}

void yk_crew_answer(struct crew *c, struct call *call, int status,
                    int64_t number, const char *text)
{
    lock(c);
    call->status = status;
    call->number = number;
    (void)snprintf(call->text, sizeof(call->text), "%s", text);
    call->over = true;
    (void)pthread_cond_signal(&call->hand->news);
    unlock(c);
}

bool yk_bytes_keep(struct yoke_bytes *to, struct yoke_bytes from)
{
    char *copy = yk_alloc(from.len + 1); /* a NUL follows */

    if (!copy)
        return false;
    if (from.len)
        memcpy(copy, from.data, from.len);
    copy[from.len] = '\0';
    free((char *)to->data);
    *to = (struct yoke_bytes){.data = copy, .len = from.len};
    return true;
}

void yk_task_free(struct yoke_task *t)
{
    struct batch *b = t->batch;

    if (t->reason != lost && t->reason != cancelled)
        free((char *)t->reason);
    free((char *)t->result.data);
    free((char *)t->class_name.data);
    free((char *)t->message.data);
    free((char *)t->detail.data);
    if (--b->left == 0) {
        yoke_work_free(b->list);
        free(b);
    }
}
