/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handlers - a worker of threads for tests/system/test_threads.py: the first
 * word of a payload says what its handler does.
 *
 *     handlers THREADS [SLOTS]
 *     handlers THREADS 0 QUEUE
 *
 * SLOTS bounds the queue "few"; "work" has no bound; or QUEUE alone. SIGTERM
 * stops it. Prints its notes, and at the end the most handlers of "few" that
 * ran at once.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke.h>

static struct yoke_worker *worker; /* for the signal */
static atomic_int stuck_tasks, at_once, most_at_once;

static int done(struct yoke_task *t, const char *text)
{
    return yoke_task_result(t, (struct yoke_bytes){text, strlen(text)});
}

static int bad(struct yoke_task *t, const char *where)
{
    return yoke_task_fail(t, "test", yoke_task_error_text(t),
                          (struct yoke_bytes){where, strlen(where)}) < 0;
}

static void submit(yoke *y, const char *payload)
{
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = "work";
    s.payload = (struct yoke_bytes){payload, strlen(payload)};
    if (yoke_submit(y, &s, id) < 0)
        fprintf(stderr, "submit: %s\n", yoke_error_text(y));
}

static int announce(struct yoke_task *t)
{
    return yoke_task_ready(t, (struct yoke_bytes){"here", 4});
}

/* --------------------------------------------------- until it is cancelled */

static int do_block(struct yoke_task *t)
{
    return announce(t) < 0 ? bad(t, "ready") : yoke_task_wait(t, YOKE_NONE);
}

static int do_poll(struct yoke_task *t)
{
    struct pollfd p = {.fd = yoke_task_cancel_fd(t), .events = POLLIN};

    if (announce(t) < 0)
        return bad(t, "ready");
    for (int i = 0; i < 3; i++) /* it stays readable */
        if (poll(&p, 1, -1) != 1 || !yoke_task_cancelled(t))
            return 1;
    return YOKE_ERR_CANCELLED;
}

static int do_spin(struct yoke_task *t)
{
    if (announce(t) < 0)
        return bad(t, "ready");
    while (!yoke_task_cancelled(t))
        ;
    return yoke_task_reason(t) ? YOKE_ERR_CANCELLED : 1;
}

/* Asked to stop, it is done all the same. */
static int do_finish(struct yoke_task *t)
{
    if (announce(t) < 0)
        return bad(t, "ready");
    (void)yoke_task_wait(t, YOKE_NONE);
    return done(t, yoke_task_reason(t));
}

/* Does not heed its cancel before somebody has noticed. */
static int do_stubborn(struct yoke_task *t)
{
    int before = atomic_load(&stuck_tasks);

    if (announce(t) < 0)
        return bad(t, "ready");
    while (atomic_load(&stuck_tasks) == before)
        (void)poll(NULL, 0, 1);
    return done(t, "at last");
}

static const char *id_of(const struct yoke_task *t, char id[YOKE_ID_SIZE])
{
    const char *token = yoke_task_work(t)->token;

    (void)snprintf(id, YOKE_ID_SIZE, "%.*s", (int)strcspn(token, "."), token);
    return id;
}

/* The cancel is kept back until it says so, and comes then. */
static int do_shield(struct yoke_task *t)
{
    int64_t granted = 0;
    char id[YOKE_ID_SIZE];
    bool told = false;
    yoke *y;

    if (yoke_task_handle(t, &y) < 0 ||
        yoke_task_shield(t, 30000, &granted) < 0 || announce(t) < 0)
        return bad(t, "shield");
    while (!told) {
        struct yoke_value *v;

        if (yoke_job_status(y, id_of(t, id), &v) < 0)
            return 1;
        told = yoke_value_get(v, "reason")->kind == YOKE_STR;
        yoke_value_free(v);
    }
    if (granted != 30000 || yoke_task_cancelled(t))
        return 2;
    if (yoke_task_unshield(t) < 0)
        return bad(t, "unshield");
    if (yoke_task_wait(t, YOKE_NONE) != YOKE_ERR_CANCELLED)
        return 3;
    return done(t, "after the shield");
}

/* The cancel interrupts what blocks on the thread's handle: it waits for its
 * own end. */
static int do_interrupted(struct yoke_task *t)
{
    struct yoke_outcome_info *o;
    char id[YOKE_ID_SIZE];
    int status;
    yoke *y;

    if (yoke_task_handle(t, &y) < 0 || announce(t) < 0)
        return bad(t, "ready");
    status = yoke_job_wait(y, id_of(t, id), YOKE_NONE, &o);
    if (status != YOKE_ERR_INTERRUPTED || !yoke_task_cancelled(t))
        return 1;
    /* Once: what comes after it may clean up. */
    return yoke_job_wait(y, id, 1, &o) == YOKE_ERR_TIMEOUT ? status : 2;
}

/* ------------------------------------------------------------ other things */

/* Three jobs in a group under it. */
static int do_group(struct yoke_task *t)
{
    struct yoke_outcome_info *o;
    struct yoke_submit s[3];
    char group[YOKE_ID_SIZE], text[32];
    size_t accepted;
    yoke *y;

    if (yoke_task_handle(t, &y) < 0 || yoke_group_open(y, NULL, group) < 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        yoke_submit_init(&s[i]);
        s[i].queue = "work";
        s[i].group = group;
        s[i].payload = (struct yoke_bytes){"echo", 4};
    }
    if (yoke_submit_many(y, s, 3, NULL, &accepted) < 0 ||
        yoke_group_close(y, group) < 0 ||
        yoke_group_wait(y, group, YOKE_NONE, &o) < 0)
        return 2;
    (void)snprintf(text, sizeof(text), "%d ok", (int)o->ok);
    yoke_outcome_free(o);
    return done(t, text);
}

/* Leaves one behind, which it is joined with. */
static int do_leave(struct yoke_task *t)
{
    yoke *y;

    if (yoke_task_handle(t, &y) < 0)
        return 1;
    submit(y, strchr(yoke_task_work(t)->payload.data, ' ') + 1);
    return 0;
}

static int do_size(struct yoke_task *t)
{
    size_t n = strtoul(strchr(yoke_task_work(t)->payload.data, ' '), NULL, 10);
    char *data = malloc(n + 1);
    int status = 1;

    if (data) {
        memset(data, 'r', n);
        status = yoke_task_result(t, (struct yoke_bytes){data, n});
    }
    free(data);
    return status;
}

static int do_progress(struct yoke_task *t)
{
    if (yoke_task_progress(t, "half of it") < 0 ||
        yoke_task_log(t, 1, (struct yoke_bytes){"a line\n", 7}) < 0 ||
        announce(t) < 0)
        return bad(t, "progress");
    (void)yoke_task_wait(t, YOKE_NONE);
    return done(t, yoke_task_remaining_ms(t) > 1000 ? "time is left" : "none");
}

static int do_release(struct yoke_task *t)
{
    if (yoke_task_work(t)->attempt == 1)
        yoke_task_release(t);
    return done(t, "the second time");
}

static int do_fail(struct yoke_task *t)
{
    return yoke_task_fail(t, "bad", "in words", (struct yoke_bytes){"more", 4});
}

static int do_exit(struct yoke_task *t)
{
    return (int)strtol(strchr(yoke_task_work(t)->payload.data, ' '), NULL, 10);
}

static int do_echo(struct yoke_task *t)
{
    return yoke_task_result(t, yoke_task_work(t)->payload);
}

static int do_few(struct yoke_task *t)
{
    int now = atomic_fetch_add(&at_once, 1) + 1;
    int most = atomic_load(&most_at_once);

    while (now > most &&
           !atomic_compare_exchange_weak(&most_at_once, &most, now))
        ;
    (void)yoke_task_wait(t, 5);
    atomic_fetch_sub(&at_once, 1);
    return 0;
}

static const struct {
    const char *word;
    int (*fn)(struct yoke_task *t);
} things[] = {
    {"block", do_block},       {"poll", do_poll},
    {"spin", do_spin},         {"finish", do_finish},
    {"stubborn", do_stubborn}, {"shield", do_shield},
    {"group", do_group},       {"interrupted", do_interrupted},
    {"leave", do_leave},       {"size", do_size},
    {"progress", do_progress}, {"release", do_release},
    {"fail", do_fail},         {"exit", do_exit},
    {"few", do_few},           {"echo", do_echo},
};

static int handle(struct yoke_task *t, void *arg)
{
    struct yoke_bytes payload = yoke_task_work(t)->payload;

    (void)arg;
    for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++)
        if (strncmp(payload.data, things[i].word, strlen(things[i].word)) == 0)
            return things[i].fn(t);
    return 0;
}

static void on_stuck(struct yoke_task *t, void *arg)
{
    (void)t;
    (void)arg;
    atomic_fetch_add(&stuck_tasks, 1);
}

static void on_note(const char *text, void *arg)
{
    (void)arg;
    printf("note: %s\n", text);
    (void)fflush(stdout);
}

static void on_signal(int number)
{
    static const char said[] = "stopping\n";

    (void)number;
    yoke_worker_stop(worker);
    (void)!write(STDOUT_FILENO, said, sizeof(said) - 1);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct yoke_worker_options options = {
        .name = "handlers", .stuck = on_stuck, .note = on_note};
    unsigned slots = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    int status;

    options.threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    status = yoke_worker_new(&options, &worker);
    if (status == 0)
        status = yoke_worker_handle(worker, argc > 3 ? argv[3] : "work", 0,
                                    handle, NULL);
    if (status == 0 && argc <= 3)
        status = yoke_worker_handle(worker, "few", slots, handle, NULL);
    if (status == 0 && sigaction(SIGTERM, &action, NULL) == 0)
        status = yoke_worker_run(worker);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", yoke_status_name(status),
                worker ? yoke_worker_error_text(worker) : "");
    printf("few: %d\n", atomic_load(&most_at_once));
    yoke_worker_free(worker);
    return status < 0;
}
