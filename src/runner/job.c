/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/job.h"

#include "runner/memory.h"
#include "runner/message.h"
#include "runner/password.h"
#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Looks at what a job has left begin and end at these distances. */
#define JOB_WAIT_MIN_MS 1
#define JOB_WAIT_MAX_MS 100
/* A job's output is not looked at before it has run that long: most that are
 * short end before, and are read once. */
#define JOB_YOUNG_MS 5
/* The file of a result may have that much more than is taken of it. */
#define JOB_RESULT_SPARE ((int64_t)16 << 20)
/* When a job that cannot be killed is worth a warning. */
#define JOB_STUCK_MS 10000
/* Until a process that was halted has halted: one that the kernel gives no time
 * (cpu-max, a disk that hangs) does so late. */
#define JOB_HALT_MAX_MS 5000

/* What the start of a job needs, and what its process reads until it runs its
 * program. */
struct job_launch {
    int rc;          /* of preparing it */
    int in, ends[3]; /* of the child; -1: closed */
    int password;    /* the same */
    char *paths[2];  /* where those of its 3 and 4 are to be, behind `self` */
    char **env;
    struct command command;
    struct buffer server;
    /* The variables by which a job knows itself. */
    char *self[10];
    size_t nself;
    char room[10][160];
};

static void job_step(struct job *j);
static void launch_free(struct job *j);

int64_t job_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct logbook_source job_source(const struct job *j)
{
    return (struct logbook_source){
        .token = j->token, .group = j->group, .attempt = j->attempt};
}

static void on_piece(void *arg, int stream, const char *data, size_t len)
{
    struct job *j = arg;
    const struct logbook_source source = job_source(j);

    logbook_take(j->queue->logbook, &source, &j->lines, stream, data, len);
    j->host->piece(j->host->arg, j, stream, data, len);
}

void job_watch_output(struct job *j)
{
    if (j->has_output)
        output_watch(&j->output, j->reads_output && !j->host->outputs_paused);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct job *j = timer->data;

    (void)loop;
    (void)events;
    if (!j->reads_output) {
        j->reads_output = true;
        job_watch_output(j);
    }
    if (j->launch && process_settled(&j->process))
        launch_free(j);
    job_step(j);
}

struct job *job_new(struct job_host *host, const struct yoke_work *work,
                    const struct settings_queue *queue)
{
    struct job *j = memory_new(sizeof(*j));

    j->host = host;
    j->settings = settings_hold(host->settings);
    j->queue = queue;
    j->result_fd = j->worker_fd = -1;
    j->step_at_ms = INT64_MAX;
    ev_timer_init(&j->timer, on_timer, 0., 0.);
    j->timer.data = j;
    j->held_ms = job_now_ms();
    snprintf(j->token, sizeof(j->token), "%s", work->token);
    snprintf(j->group, sizeof(j->group), "%s", work->group);
    j->payload = memory_text(work->payload.data, work->payload.len);
    j->payload_len = work->payload.len;
    j->attempt = work->attempt;
    j->timeout_ms = work->timeout_ms;
    j->deadline_ms = work->deadline_ms;
    j->grace_ms = work->grace_ms;
    return j;
}

struct job *job_new_worker(struct job_host *host,
                           const struct settings_queue *queue,
                           const char *token, void *worker, int fd)
{
    struct yoke_work nothing = {.token = token,
                                .attempt = 1,
                                .timeout_ms = -1,
                                .deadline_ms = -1,
                                .grace_ms = -1};
    struct job *j = job_new(host, &nothing, queue);

    j->worker = worker;
    j->worker_fd = fd;
    return j;
}

void job_free(struct job *j)
{
    if (!j)
        return;
    ev_timer_stop(j->host->loop, &j->timer);
    launch_free(j);
    if (j->has_output)
        output_clear(&j->output);
    logbook_lines_clear(&j->lines);
    if (j->result_fd >= 0)
        close(j->result_fd);
    if (j->worker_fd >= 0)
        close(j->worker_fd);
    free(j->payload);
    free(j->reason);
    settings_release(j->settings);
    free(j);
}

/* --------------------------------------------------------------------- end */

static void job_end(struct job *j)
{
    enum job_state was = j->state;

    ev_timer_stop(j->host->loop, &j->timer);
    j->state = JOB_ENDED;
    j->host->ended(j->host->arg, j, was);
}

/* Says in the log of the job that its result is not all it has printed. */
static void job_note_cut(struct job *j)
{
    char line[128];
    int len = snprintf(line, sizeof(line),
                       "yoke-runner: the result was cut at %zu bytes\n",
                       j->output.result_max);

    j->host->piece(j->host->arg, j, 2, line, (size_t)len);
}

/* Everything is gone. */
static void job_finish(struct job *j)
{
    j->uncollected = true;
    job_end(j);
}

static void job_outcome(struct job *j)
{
    siginfo_t end = {0};

    /* Until now the zombie kept its pid, and with it its session and process
     * group, from being used again. */
    if (waitid(P_PID, (id_t)j->scope.main, &end, WEXITED | __WALL) < 0) {
        snprintf(j->class_name, sizeof(j->class_name), "lost");
        snprintf(j->text, sizeof(j->text), "its status was lost: %s",
                 strerror(errno));
    } else {
        process_outcome(&end, j->class_name, sizeof(j->class_name), j->text,
                        sizeof(j->text));
    }
    if (end.si_code == CLD_EXITED &&
        ending_has_code(&j->queue->success_exit, end.si_status))
        j->class_name[0] = '\0';
    if (j->class_name[0] && j->leaf && cgroup_out_of_memory(j->leaf)) {
        snprintf(j->class_name, sizeof(j->class_name), "oom");
        snprintf(j->text, sizeof(j->text),
                 "killed as it would have used more memory than memory-max");
    }
    if (j->class_name[0] && j->cause == JOB_TOO_BIG) {
        snprintf(j->class_name, sizeof(j->class_name), "result");
        snprintf(j->text, sizeof(j->text),
                 "killed as the file of its result was too big");
    }
    if (process_ended(&j->process, j->text, sizeof(j->text)) < 0)
        snprintf(j->class_name, sizeof(j->class_name), "spawn");
}

void job_collect(struct job *j)
{
    const struct logbook_source source = job_source(j);

    if (!j->uncollected)
        return;
    j->uncollected = false;
    sweep_remove(&j->host->sweep, &j->scope);
    job_outcome(j);
    launch_free(j);
    output_finish(&j->output);
    logbook_end(j->queue->logbook, &source, &j->lines);
    if (j->result_fd >= 0)
        output_read_result(&j->output, j->result_fd);
    if (j->output.result_cut)
        job_note_cut(j);
    if (j->leaf)
        cgroup_put(&j->host->cgroup, j->leaf, !j->killed);
    j->leaf = NULL;
}

static bool job_is_gone(struct job *j)
{
    return j->scope.main_ended && !(j->leaf && cgroup_populated(j->leaf)) &&
           sweep_empty(&j->host->sweep, &j->scope);
}

/* Whether somebody is left who is not just going away by himself. */
static bool job_has_leftovers(struct job *j)
{
    return (j->leaf && cgroup_has_members(j->leaf)) ||
           !sweep_empty(&j->host->sweep, &j->scope);
}

static void job_kill_now(struct job *j)
{
    size_t denied = 0;

    j->killed = true;
    if (j->leaf && cgroup_populated(j->leaf)) {
        int rc = cgroup_kill(j->leaf);

        if (rc < 0 && !j->warned)
            message_warn("cgroup.kill failed job=%s error=\"%s\"", j->token,
                         strerror(-rc));
    }
    /* Same user, same rights: a process may have left its cgroup. */
    sweep_kill(&j->host->sweep, &j->scope, NULL, &denied);
    if (!j->warned &&
        (denied > 0 || job_now_ms() - j->kill_at_ms > JOB_STUCK_MS)) {
        message_warn("a job has processes that do not die job=%s denied=%zu",
                     j->token, denied);
        j->warned = true;
    }
}

/* Who is killed when the machine runs out of memory is not who has filled a
 * file with it. To make the file smaller, or to seal it, would be to wait for
 * who writes. */
static bool job_result_is_too_big(const struct job *j)
{
    struct stat st;

    return j->result_fd >= 0 && fstat(j->result_fd, &st) == 0 &&
           (int64_t)st.st_blocks * 512 >
               j->settings->result_max + JOB_RESULT_SPARE;
}

/* Whether a process ends by a signal that it says nothing of. */
static bool is_fatal(int number)
{
    static const int others[] = {SIGCHLD, SIGCONT, SIGURG,  SIGWINCH,
                                 SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i] == number)
            return false;
    }
    return true;
}

/* A signal to all of the job: to the process group of its main process, which
 * its zombie keeps from being anybody else's, and to those that have left it. A
 * stopped process gets it, too, once it continues. */
static void job_signal(struct job *j, int number)
{
    /* There may be no group yet: then the process gets it alone, and ends by it
     * before it is a program. */
    if (kill(-j->scope.main, number) < 0)
        (void)kill(j->scope.main, number); /* a zombie keeps its pid */
    (void)kill(-j->scope.main, SIGCONT);
    sweep_signal_others(&j->host->sweep, &j->scope, number);
    sweep_signal_others(&j->host->sweep, &j->scope, SIGCONT);
}

/* The signals that ask it to stop. */
static const struct ending_ladder *job_ladder(const struct job *j)
{
    static const struct ending_ladder standard = {
        .count = 1, .steps = {{.signal = SIGTERM, .wait_ms = -1}}};

    return j->queue->stop_signals.count > 0 ? &j->queue->stop_signals
                                            : &standard;
}

/* The next of them; behind the last one its end comes, if not before. */
static void job_ask_now(struct job *j)
{
    const struct ending_ladder *l = job_ladder(j);
    int64_t wait_ms = l->steps[j->step].wait_ms;

    j->halted_ms = 0;
    job_signal(j, l->steps[j->step++].signal);
    j->step_at_ms = wait_ms < 0 ? INT64_MAX : job_now_ms() + wait_ms;
    if (j->step == l->count) {
        if (j->step_at_ms < j->kill_at_ms)
            j->kill_at_ms = j->step_at_ms;
        j->step_at_ms = INT64_MAX;
    }
}

/*
 * The kernel keeps from process 1 what would end it by default, so that it gets
 * what that comes to. But one that waits for the signal, in sigwait(3), looks
 * alike as long as it does: so it is halted first, which takes it out of there.
 * And until it is its program it blocks them all, and loses them then.
 */
static void job_ask(struct job *j)
{
    int number = job_ladder(j)->steps[j->step].signal;

    if (!j->queue->attributes.private_pids || !is_fatal(number) ||
        (!j->launch && !proc_has_default(j->scope.main, number))) {
        job_ask_now(j);
        return;
    }
    j->halted_ms = job_now_ms();
    j->step_at_ms = INT64_MAX;
    (void)kill(j->scope.main, SIGSTOP); /* a zombie keeps its pid */
}

/* Process 1 may have halted by now; where it does not it has the grace. */
static void job_look_at_halted(struct job *j)
{
    int number = job_ladder(j)->steps[j->step].signal;
    struct proc_stat s;

    if (proc_stat_read(j->scope.main, &s) == 0 && s.state == 'T') {
        bool unheard = !process_settled(&j->process) ||
                       proc_has_default(j->scope.main, number);

        job_ask_now(j);
        if (unheard)
            (void)kill(j->scope.main, SIGKILL);
    } else if (j->scope.main_ended ||
               job_now_ms() - j->halted_ms >= JOB_HALT_MAX_MS) {
        job_ask_now(j);
    }
}

static void job_look_again(struct job *j)
{
    int64_t wait_ms = j->wait_ms, left_ms;

    if (j->scope.main_ended || j->state == JOB_KILLING) {
        if (j->leaf)
            cgroup_watch(&j->host->cgroup, j->leaf);
        j->wait_ms *= 2;
        if (j->wait_ms > JOB_WAIT_MAX_MS)
            j->wait_ms = JOB_WAIT_MAX_MS;
    } else {
        wait_ms = INT64_MAX;
    }
    if (j->state == JOB_STOPPING) {
        left_ms =
            (j->step_at_ms < j->kill_at_ms ? j->step_at_ms : j->kill_at_ms) -
            job_now_ms();
        if (left_ms < wait_ms)
            wait_ms = left_ms > 0 ? left_ms : 0;
        if (j->halted_ms && wait_ms > JOB_WAIT_MIN_MS)
            wait_ms = JOB_WAIT_MIN_MS;
    }
    if (!j->reads_output && wait_ms > JOB_YOUNG_MS)
        wait_ms = JOB_YOUNG_MS;
    if ((j->launch || j->result_fd >= 0) && wait_ms > JOB_WAIT_MAX_MS)
        wait_ms = JOB_WAIT_MAX_MS;
    if (wait_ms == INT64_MAX)
        return;
    ev_timer_stop(j->host->loop, &j->timer);
    ev_timer_set(&j->timer, (double)wait_ms / 1000., 0.);
    ev_timer_start(j->host->loop, &j->timer);
}

/* The one place where a job moves towards its end. */
static void job_step(struct job *j)
{
    if (j->state == JOB_ENDED || j->state == JOB_HELD)
        return;
    if (job_is_gone(j)) {
        job_finish(j);
        return;
    }
    if (j->state == JOB_STOPPING && j->halted_ms)
        job_look_at_halted(j);
    if (j->state == JOB_STOPPING && job_now_ms() >= j->step_at_ms &&
        j->step_at_ms < j->kill_at_ms)
        job_ask(j);
    if (j->state == JOB_STOPPING && job_now_ms() >= j->kill_at_ms) {
        j->state = JOB_KILLING;
        j->wait_ms = JOB_WAIT_MIN_MS;
    }
    if (j->state == JOB_RUNNING && j->scope.main_ended &&
        job_has_leftovers(j)) {
        j->state = JOB_KILLING;
        j->kill_at_ms = job_now_ms();
    }
    if (j->state != JOB_KILLING && job_result_is_too_big(j)) {
        if (j->cause == JOB_NOT_STOPPED && !j->scope.main_ended)
            j->cause = JOB_TOO_BIG;
        j->state = JOB_KILLING;
        j->kill_at_ms = job_now_ms();
        j->wait_ms = JOB_WAIT_MIN_MS;
    }
    if (j->state == JOB_KILLING) {
        job_kill_now(j);
        if (job_is_gone(j)) {
            job_finish(j);
            return;
        }
    }
    job_look_again(j);
}

void job_check(struct job *j)
{
    job_step(j);
}

static void on_exited(struct ev_loop *loop, ev_io *io, int events)
{
    struct job *j = io->data;

    (void)events;
    ev_io_stop(loop, io);
    process_close(io->fd);
    j->scope.main_ended = true;
    j->wait_ms = JOB_WAIT_MIN_MS;
    job_step(j);
    if (j->state == JOB_ENDED && j->host->room)
        j->host->room(j->host->arg);
}

/* ------------------------------------------------------------------- start */

/* A pipe that holds the input: what is not longer than that fits into every
 * pipe, so that writing does not wait. */
static int input_pipe(const char *data, size_t len)
{
    int ends[2], rc = 0;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    if (write(ends[1], data, len) != (ssize_t)len)
        rc = -errno;
    close(ends[1]);
    if (rc < 0)
        close(ends[0]);
    return rc < 0 ? rc : ends[0];
}

/* A file that holds the input, read from its beginning: nothing has to be
 * written while the job runs. Returns a descriptor or -errno. */
static int input_file(const char *data, size_t len)
{
    int fd = memory_file("stdin");

    if (fd < 0)
        return fd;
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(fd, data + at, len - at, (off_t)at);

        if (n < 0) {
            int rc = -errno;

            close(fd);
            return rc;
        }
        at += (size_t)n;
    }
    /* The job can write to it, too, which nothing would bound. */
    (void)memory_seal(fd);
    return fd;
}

static void self_add(struct job_launch *l, const char *name, const char *value)
{
    char *to = l->room[l->nself];

    snprintf(to, sizeof(l->room[0]), "%s=%s", name, value);
    l->self[l->nself++] = to;
}

static void self_add_number(struct job_launch *l, const char *name,
                            int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    self_add(l, name, text);
}

/* The path of a descriptor, which the child fills in. Not that of /proc/self:
 * many a language closes descriptors in what it starts, and under that number
 * has others, which would be written over. */
static char *self_add_path(struct job_launch *l, const char *name)
{
    self_add(l, name, "");
    return strchr(l->self[l->nself - 1], '\0');
}

/* What it is told of its attempt. */
static void self_attempt(struct job_launch *l, const struct job *j)
{
    char id[YOKE_ID_SIZE];

    snprintf(id, sizeof(id), "%.*s", (int)strcspn(j->token, "."), j->token);
    self_add(l, "YOKE_JOB", id);
    self_add(l, YOKE_ENV_SCOPE, j->token);
    self_add_number(l, "YOKE_ATTEMPT", j->attempt);
    if (j->deadline_ms >= 0)
        self_add_number(l, "YOKE_DEADLINE", j->deadline_ms);
    if (j->timeout_ms >= 0)
        self_add_number(l, "YOKE_TIMEOUT", j->timeout_ms);
    if (j->queue->result == SETTINGS_FILE)
        l->paths[0] = self_add_path(l, "YOKE_RESULT");
}

static void self_make(struct job_launch *l, const struct job *j)
{
    /* The token: it is new for each attempt, so it tells whose an orphan is. */
    self_add(l, SWEEP_VARIABLE, j->token);
    self_add(l, "YOKE_QUEUE", j->queue->name);
    if (j->queue->pass_password)
        l->paths[1] = self_add_path(l, YOKE_ENV_PASSWORD_FILE);
    if (j->worker)
        self_add(l, "YOKE_WORKER_FD", "3");
    else
        self_attempt(l, j);
    if (j->host->server) {
        /* An address may be longer than the others. */
        buffer_append(&l->server, "YOKE_SERVER=", 12);
        buffer_append(&l->server, j->host->server, strlen(j->host->server) + 1);
        l->self[l->nself++] = l->server.data;
    }
}

static void close_end(int *fd, int keep)
{
    if (*fd >= 0 && *fd != keep)
        close(*fd);
    *fd = -1;
}

/* Our copies of what the child has. */
static void launch_close(struct job *j)
{
    struct job_launch *l = j->launch;

    close_end(&l->in, j->host->nothing);
    for (int i = 0; i < 3; i++)
        close_end(&l->ends[i], -1);
    close_end(&l->password, -1);
}

static void launch_free(struct job *j)
{
    struct job_launch *l = j->launch;

    if (!l)
        return;
    launch_close(j);
    command_clear(&l->command);
    buffer_clear(&l->server);
    free(l->env);
    free(l);
    j->launch = NULL;
}

/* What a job reads and writes belongs to who it runs as: /dev/stdin and its
 * like open the pipe anew. */
static void launch_own(const struct job *j)
{
    const struct account *a = &j->queue->attributes.account;
    const struct job_launch *l = j->launch;

    if (!a->changes)
        return;
    /* One that refuses can still be used as it is. */
    if (l->in != j->host->nothing)
        (void)!fchown(l->in, a->uid, a->gid);
    for (int i = 0; i < 3; i++) {
        if (l->ends[i] >= 0)
            (void)!fchown(l->ends[i], a->uid, a->gid);
    }
}

/* The file for the result: one copy is the child's, one is read at its end. */
static int result_open(struct job *j)
{
    if (j->result_fd < 0)
        j->result_fd = memory_file("result");
    if (j->result_fd < 0)
        return j->result_fd;
    j->launch->ends[2] = fcntl(j->result_fd, F_DUPFD_CLOEXEC, 3);
    return j->launch->ends[2] < 0 ? -errno : 0;
}

static int launch_password(struct job *j)
{
    char why[256];
    int fd = password_copy(j->host->password_file,
                           &j->queue->attributes.account, why, sizeof(why));

    if (fd < 0)
        snprintf(j->text, sizeof(j->text), "cannot pass the password: %s", why);
    j->launch->password = fd;
    return fd < 0 ? fd : 0;
}

/* The descriptors of the child. 0, or -errno with a sentence. */
static int launch_open(struct job *j)
{
    struct job_launch *l = j->launch;
    const struct command *c = &l->command;
    static const int result_stream[] = {
        [SETTINGS_STDOUT] = 1, [SETTINGS_FILE] = 0, [SETTINGS_FD3] = 3};
    int rc;

    if (c->input_len == 0)
        l->in = j->host->nothing;
    else if (c->input_len <= PIPE_BUF)
        l->in = input_pipe(c->input, c->input_len);
    else
        l->in = input_file(c->input, c->input_len);
    if (l->in < 0) {
        snprintf(j->text, sizeof(j->text), "cannot make its standard input: %s",
                 strerror(-l->in));
        return l->in;
    }
    rc = output_init(&j->output, j->host->loop,
                     j->worker ? 0 : result_stream[j->queue->result],
                     (size_t)j->settings->result_max, on_piece, j, l->ends);
    j->has_output = rc == 0;
    if (rc == 0 && j->worker) {
        l->ends[2] = j->worker_fd;
        j->worker_fd = -1;
    } else if (rc == 0 && j->queue->result == SETTINGS_FILE) {
        rc = result_open(j);
    }
    if (rc < 0)
        snprintf(j->text, sizeof(j->text), "cannot make its pipes: %s",
                 strerror(-rc));
    if (rc == 0)
        launch_own(j);
    if (rc == 0 && j->queue->pass_password)
        rc = launch_password(j);
    return rc;
}

/* Reads the payload as the queue wants it. */
static int job_command(struct job *j, struct command *out)
{
    char why[256];

    *out = (struct command){0};
    if (j->queue->command.argc > 0) {
        out->input = j->payload;
        out->input_len = j->payload_len;
        return 0;
    }
    if (command_parse(j->payload, j->payload_len, out, why, sizeof(why)) < 0) {
        snprintf(j->text, sizeof(j->text),
                 "the payload is not a command line: %s", why);
        return -EINVAL;
    }
    return 0;
}

void job_prepare(struct job *j)
{
    struct job_launch *l;

    if (j->launch)
        return;
    l = memory_new(sizeof(*l));
    l->in = l->ends[0] = l->ends[1] = l->ends[2] = l->password = -1;
    j->launch = l;
    l->rc = job_command(j, &l->command);
    if (l->rc == 0)
        l->rc = launch_open(j);
    if (l->rc < 0)
        return;
    self_make(l, j);
    l->env = environment_make(&j->queue->environment, l->self, l->nself,
                              l->command.env, l->command.envc);
}

/* Its process, in its cgroup. 0, or -errno with a sentence. */
static int job_spawn(struct job *j)
{
    const struct job_launch *l = j->launch;
    const struct command *c = &l->command;
    const struct settings_queue *queue = j->queue;
    struct process_plan plan = {
        .argv = queue->command.argc ? queue->command.argv : c->argv,
        .env = l->env,
        .dir = c->dir          ? c->dir
               : queue->dir[0] ? queue->dir
                               : "/",
        .in = l->in,
        .out = l->ends[0],
        .err = l->ends[1],
        .extra = {l->ends[2] > 0 ? l->ends[2] : 0,
                  l->password > 0 ? l->password : 0},
        .paths = {l->paths[0], l->paths[1]},
        .umask_bits = (mode_t)queue->umask_bits,
        .cgroup = -1,
        .files = &j->host->files,
        .attributes = queue->has_attributes ? &queue->attributes : NULL,
    };

    if (l->rc < 0)
        return l->rc;
    if (j->host->cgroup.base >= 0) {
        j->leaf = cgroup_take(&j->host->cgroup, &queue->bounds);
        if (!j->leaf) {
            int rc = -errno;

            snprintf(j->text, sizeof(j->text), "cannot make its cgroup: %s",
                     strerror(-rc));
            return rc;
        }
        j->leaf->owner = j;
        plan.cgroup = j->leaf->dir;
        plan.memory_bound = queue->bounds.of[CGROUP_MEMORY].value > 0;
    }
    return process_start(&plan, &j->process, j->text, sizeof(j->text));
}

void job_start(struct job *j)
{
    struct job_host *host = j->host;
    int rc;

    /* What it failed for when it was only held may be there now. */
    if (j->launch && j->launch->rc < 0)
        launch_free(j);
    job_prepare(j);
    j->state = JOB_RUNNING;
    rc = job_spawn(j);
    launch_close(j);
    free(j->payload);
    j->payload = NULL;
    if (rc < 0) {
        launch_free(j);
        if (j->leaf)
            cgroup_put(&host->cgroup, j->leaf, true);
        j->leaf = NULL;
        snprintf(j->class_name, sizeof(j->class_name), "spawn");
        job_end(j);
        return;
    }
    j->began_ms = job_now_ms();
    j->scope.main = j->process.pid;
    j->scope.cgroup = j->leaf ? j->leaf->path : NULL;
    snprintf(j->scope.token, sizeof(j->scope.token), "%s", j->token);
    sweep_add(&host->sweep, &j->scope);
    ev_io_init(&j->exited, on_exited, j->process.pidfd, EV_READ);
    /* Before what came from the daemon: somebody may wait for the slot. */
    ev_set_priority(&j->exited, EV_MAXPRI);
    j->exited.data = j;
    ev_io_start(host->loop, &j->exited);
    ev_timer_set(&j->timer, JOB_YOUNG_MS / 1000., 0.);
    ev_timer_start(host->loop, &j->timer);
}

/* -------------------------------------------------------------------- stop */

void job_stop(struct job *j, enum job_cause cause, const char *reason,
              int64_t grace_ms)
{
    int64_t kill_at = job_now_ms() + (grace_ms > 0 ? grace_ms : 0);
    bool first = j->state == JOB_RUNNING;

    if (j->state == JOB_ENDED)
        return;
    /* What has ended by itself was not stopped. */
    if (cause == JOB_LOST ||
        (j->cause == JOB_NOT_STOPPED && !j->scope.main_ended)) {
        j->cause = cause;
        if (reason && !j->reason)
            j->reason = memory_text(reason, strlen(reason));
    }
    if (j->state == JOB_HELD) {
        snprintf(j->class_name, sizeof(j->class_name), "cancelled");
        snprintf(j->text, sizeof(j->text), "it was not started");
        job_end(j);
        return;
    }
    if (j->state == JOB_KILLING)
        return;
    if (first || kill_at < j->kill_at_ms)
        j->kill_at_ms = kill_at;
    j->state = JOB_STOPPING;
    j->wait_ms = JOB_WAIT_MIN_MS;
    if (first && grace_ms > 0)
        job_ask(j);
    job_step(j);
}

void job_abandon(struct job *j)
{
    size_t denied;

    if (j->state != JOB_HELD && j->state != JOB_ENDED) {
        if (!j->scope.main_ended) {
            ev_io_stop(j->host->loop, &j->exited);
            process_close(j->exited.fd);
        }
        sweep_kill(&j->host->sweep, &j->scope, NULL, &denied);
        sweep_remove(&j->host->sweep, &j->scope);
        if (j->leaf)
            cgroup_put(&j->host->cgroup, j->leaf, false);
    } else if (j->uncollected) {
        job_collect(j);
    }
    job_free(j);
}
