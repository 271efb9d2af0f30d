/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a job as processes, with real ones, without a daemon. Each is
 * tried with cgroups, where they can be written, and with the sweep alone.
 */
#include "runner/job.h"

#include "hostile.h"
#include "runner/memory.h"
#include "runner/message.h"
#include "runner/process.h"

#include <check.h>
#include <dirent.h>
#include <sched.h>
#include <sys/prctl.h>

#define DEADLINE_MS 30000

static const char *const modes[] = {"setsid", "bare",   "move", "nest",
                                    "chain",  "frozen", "tree"};
#define NMODES ((int)(sizeof(modes) / sizeof(modes[0])))

static struct settings settings;
static struct settings_queue commands = {
    .name = "q", .dir = "", .umask_bits = 022};
static struct job_host host;
static size_t ended, pieces_bytes, pieces_largest;
static struct buffer printed; /* the first bytes of stdout */
static char self[512], tag[64], mount[512];
static size_t fds_before;

static size_t open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void on_piece(void *arg, struct job *j, int stream, const char *data,
                     size_t len)
{
    (void)arg;
    (void)j;
    if (stream == 1 && printed.len < 8192)
        buffer_append(&printed, data, len);
    if (stream == 1)
        pieces_bytes += len;
    if (len > pieces_largest)
        pieces_largest = len;
}

static void on_ended(void *arg, struct job *j, enum job_state was)
{
    (void)arg;
    (void)was;
    job_collect(j);
    ended++;
}

static void on_notify(struct ev_loop *loop, ev_io *io, int events)
{
    struct job *j;

    (void)loop;
    (void)io;
    (void)events;
    while ((j = cgroup_next_event(&host.cgroup)))
        job_check(j);
}

static ev_io notify;

static void start_host(bool cgroups)
{
    static int number;
    char why[512];

    message_set_level(MESSAGE_ERROR);
    fds_before = open_fds();
    snprintf(tag, sizeof(tag), "hostile-%d-%d", (int)getpid(), ++number);
    settings_init(&settings);
    host = (struct job_host){.settings = &settings,
                             .piece = on_piece,
                             .ended = on_ended,
                             .server = "/nowhere"};
    host.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    host.cgroup = (struct cgroup){.base = -1, .notify = -1};
    getrlimit(RLIMIT_NOFILE, &host.files);
    environment_init(&commands.environment, NULL, 0);
    host.nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(process_init(), 0);
    ck_assert_int_eq(sweep_init(&host.sweep), 0);
    mount[0] = '\0';
    if (cgroups && cgroup_init(&host.cgroup, "auto", "test", getpid(), why,
                               sizeof(why)) == 0) {
        size_t len =
            strlen(host.cgroup.base_file) - strlen(host.cgroup.base_path);

        snprintf(mount, sizeof(mount), "%.*s", (int)len, host.cgroup.base_file);
        ev_io_init(&notify, on_notify, host.cgroup.notify, EV_READ);
        ev_io_start(host.loop, &notify);
    }
    ended = pieces_bytes = pieces_largest = 0;
    printed.len = 0;
}

/* Nothing of it may be left: no process, no descriptor. */
static void stop_host(void)
{
    if (host.cgroup.base >= 0)
        ev_io_stop(host.loop, &notify);
    cgroup_clear(&host.cgroup);
    sweep_clear(&host.sweep);
    environment_clear(&commands.environment);
    process_clear();
    close(host.nothing);
    ev_loop_destroy(host.loop);
    settings_clear(&settings);
    buffer_clear(&printed);
    ck_assert_uint_eq(open_fds(), fds_before);
}

/* A command payload from words that end with NULL; stdin may be NULL. */
static struct job *make_job(const char *const *words, const char *dir,
                            const char *input, size_t input_len)
{
    struct yoke_work work = {.token = "j0123456789abc.1",
                             .attempt = 1,
                             .timeout_ms = YOKE_NONE,
                             .deadline_ms = YOKE_NONE,
                             .grace_ms = 1000};
    static int number;
    char token[32], env[600];
    struct buffer b = {0};
    struct job *j;

    snprintf(token, sizeof(token), "j%013d.1", ++number);
    work.token = token;
    if (dir) {
        buffer_append(&b, "dir=", 4);
        buffer_append(&b, dir, strlen(dir) + 1);
    }
    snprintf(env, sizeof(env), "env=HOSTILE_MOUNT=%s", mount);
    buffer_append(&b, env, strlen(env) + 1);
    for (; *words; words++) {
        buffer_append(&b, "arg=", 4);
        buffer_append(&b, *words, strlen(*words) + 1);
    }
    if (input) {
        buffer_append(&b, "stdin=", 6);
        buffer_append(&b, input, input_len);
    }
    work.payload = (struct yoke_bytes){b.data, b.len};
    j = job_new(&host, &work, &commands);
    buffer_clear(&b);
    return j;
}

static struct job *hostile_job(const char *mode, const char *after)
{
    const char *const words[] = {self, "hostile", mode, tag, after, NULL};

    return make_job(words, NULL, NULL, 0);
}

static struct job *shell_job(const char *script)
{
    const char *const words[] = {"/bin/sh", "-c", script, tag, NULL};

    return make_job(words, NULL, NULL, 0);
}

/* Turns of the loop until a condition holds. */
static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

static bool is_ready(void)
{
    return printed.len > 0 &&
           memmem(printed.data, printed.len, "ready\n", 6) != NULL;
}

#define run_until(condition)                                                  \
    do {                                                                      \
        int64_t limit_ = job_now_ms() + DEADLINE_MS;                          \
        ev_timer tick_;                                                       \
                                                                              \
        ev_timer_init(&tick_, on_tick, .05, .05);                             \
        ev_timer_start(host.loop, &tick_);                                    \
        while (!(condition)) {                                                \
            ck_assert_msg(job_now_ms() < limit_, "not in time: " #condition); \
            ev_run(host.loop, EVRUN_ONCE);                                    \
        }                                                                     \
        ev_timer_stop(host.loop, &tick_);                                     \
    } while (0)

/* Processes with the tag in their arguments; zombies have none. */
static int survivors(void)
{
    struct dirent *e;
    DIR *dir = opendir("/proc");
    int n = 0;

    while ((e = readdir(dir))) {
        char path[300], text[4096];
        ssize_t len = 0;
        int fd;

        if (e->d_name[0] < '0' || e->d_name[0] > '9')
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            len = read(fd, text, sizeof(text));
            close(fd);
        }
        n += len > 0 && memmem(text, (size_t)len, tag, strlen(tag)) != NULL;
    }
    closedir(dir);
    return n;
}

/* The test of the tests: the hostile program does escape. */
START_TEST(hostile_program_outlives_its_parent)
{
    struct job *j;
    int before;

    start_host(false);
    j = hostile_job(modes[_i], "stay");
    job_start(j);
    run_until(is_ready());
    before = survivors();
    /* A chain may be between two of its generations. */
    ck_assert_int_ge(before, strcmp(modes[_i], "chain") == 0 ? 1 : 2);
    ck_assert(strcmp(modes[_i], "chain") == 0 ||
              !sweep_empty(&host.sweep, &j->scope) ||
              strcmp(modes[_i], "tree") == 0);
    job_stop(j, JOB_CANCELLED, NULL, 0);
    run_until(ended == 1);
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(nothing_is_left_after_a_normal_end)
{
    struct job *j;

    start_host(_i % 2);
    j = hostile_job(modes[_i / 2], "end");
    job_start(j);
    run_until(ended == 1);
    ck_assert_int_eq(survivors(), 0);
    ck_assert(is_ready());
    ck_assert_str_eq(j->class_name, "");
    ck_assert(j->killed);
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(nothing_is_left_after_a_cancel)
{
    struct job *j;
    int64_t asked;

    start_host(_i % 2);
    j = hostile_job(modes[_i / 2], "stay");
    job_start(j);
    run_until(is_ready());
    asked = job_now_ms();
    job_stop(j, JOB_CANCELLED, "enough", 200);
    run_until(ended == 1);
    ck_assert_int_eq(survivors(), 0);
    ck_assert_int_lt(job_now_ms() - asked, 200 + 10000);
    ck_assert_str_eq(j->class_name, "signal:TERM");
    ck_assert_int_eq(j->cause, JOB_CANCELLED);
    ck_assert_str_eq(j->reason, "enough");
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(job_that_heeds_the_request_is_not_killed)
{
    struct job *j;
    int64_t asked;

    start_host(_i);
    j = hostile_job("polite", "stay");
    job_start(j);
    run_until(is_ready());
    asked = job_now_ms();
    job_stop(j, JOB_CANCELLED, NULL, 60000);
    run_until(ended == 1);
    ck_assert_int_lt(job_now_ms() - asked, 20000);
    ck_assert(!j->killed);
    ck_assert_int_eq(survivors(), 0);
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(second_request_can_only_hasten_the_end)
{
    struct job *j;

    start_host(_i);
    j = shell_job("trap '' TERM; echo ready; while :; do sleep 1; done");
    job_start(j);
    run_until(is_ready());
    job_stop(j, JOB_CANCELLED, "first", 60000);
    job_stop(j, JOB_RETURNED, "second", 90000);
    ck_assert_int_le(j->kill_at_ms, job_now_ms() + 60000);
    job_stop(j, JOB_CANCELLED, "third", 0);
    run_until(ended == 1);
    ck_assert_str_eq(j->reason, "first");
    ck_assert_int_eq(j->cause, JOB_CANCELLED);
    ck_assert_str_eq(j->class_name, "signal:KILL");
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(end_of_one_job_spares_the_others)
{
    struct job *a, *b;
    int left;

    start_host(_i % 2);
    a = hostile_job(_i / 2 ? "setsid" : "polite", "stay");
    job_start(a);
    run_until(is_ready());
    left = survivors();
    b = hostile_job("setsid", "end");
    job_start(b);
    run_until(ended == 1);
    ck_assert_int_eq(b->state, JOB_ENDED);
    ck_assert_int_eq(a->state, JOB_RUNNING);
    ck_assert_int_eq(survivors(), left);
    job_stop(a, JOB_CANCELLED, NULL, 0);
    run_until(ended == 2);
    ck_assert_int_eq(survivors(), 0);
    job_free(a);
    job_free(b);
    stop_host();
}
END_TEST

START_TEST(many_jobs_at_once_end_and_leave_nothing)
{
    struct job *jobs[40];

    start_host(_i);
    for (size_t i = 0; i < 40; i++) {
        jobs[i] = hostile_job(i % 2 ? "setsid" : "polite", "stay");
        job_start(jobs[i]);
    }
    run_until(pieces_bytes == 40 * 6);
    for (size_t i = 0; i < 40; i++)
        job_stop(jobs[i], JOB_CANCELLED, NULL, i % 3 ? 0 : 100);
    run_until(ended == 40);
    ck_assert_int_eq(survivors(), 0);
    for (size_t i = 0; i < 40; i++)
        job_free(jobs[i]);
    stop_host();
}
END_TEST

START_TEST(held_job_that_is_stopped_never_starts)
{
    struct job *j;

    start_host(false);
    j = shell_job("echo ready");
    job_stop(j, JOB_CANCELLED, "too late", 1000);
    ck_assert_uint_eq(ended, 1);
    ck_assert_str_eq(j->class_name, "cancelled");
    ck_assert(!is_ready());
    job_free(j);
    stop_host();
}
END_TEST

/* The request may come before the process has a group, or is a program, and
 * blocks the signals that the runner does. */
START_TEST(request_right_after_the_start_is_not_lost)
{
    const bool first = _i > 1; /* of a namespace: gets no default action */
    sigset_t term;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &term, NULL), 0);
    start_host(_i % 2);
    commands.attributes.private_pids = commands.has_attributes = first;
    for (int i = 0; i < 200; i++) {
        struct job *j = shell_job("exec sleep 1000");

        ended = 0;
        job_start(j);
        for (int n = i % 8; n > 0; n--)
            sched_yield();
        job_stop(j, JOB_CANCELLED, NULL, 2 * DEADLINE_MS);
        run_until(ended == 1);
        ck_assert_str_eq(j->class_name, first ? "signal:KILL" : "signal:TERM");
        job_free(j);
    }
    commands.attributes.private_pids = commands.has_attributes = false;
    ck_assert_int_eq(survivors(), 0);
    stop_host();
}
END_TEST

static void assert_end(struct job *j, const char *class_name, const char *text)
{
    job_start(j);
    run_until(ended > 0);
    ended = 0;
    ck_assert_str_eq(j->class_name, class_name);
    ck_assert_str_eq(j->text, text);
    job_free(j);
}

START_TEST(how_it_ended_is_told)
{
    start_host(_i);
    assert_end(shell_job("exit 0"), "", "exited with status 0");
    assert_end(shell_job("exit 3"), "exit:3", "exited with status 3");
    assert_end(shell_job("kill -SEGV $$"), "signal:SEGV",
               "killed by signal SEGV");
    assert_end(shell_job("kill -40 $$"), "signal:40", "killed by signal 40");
    stop_host();
}
END_TEST

/* A cgroup as the kernel leaves it when it has killed in there. */
static struct cgroup_leaf *killed_in(const char *place)
{
    struct cgroup_leaf *leaf = memory_new(sizeof(*leaf));
    int fd;

    leaf->dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    leaf->events = open("/dev/null", O_RDONLY | O_CLOEXEC); /* nobody in it */
    leaf->watch = -1;
    leaf->bounds[CGROUP_MEMORY] = 1 << 20;
    leaf->oom_kills = 2;
    fd = openat(leaf->dir, "memory.events", O_WRONLY | O_CREAT | O_CLOEXEC,
                0600);
    ck_assert_int_eq(write(fd, "oom 9\noom_kill 3\n", 17), 17);
    close(fd);
    TAILQ_INSERT_TAIL(&host.cgroup.busy, leaf, link);
    return leaf;
}

START_TEST(job_that_needed_more_memory_than_it_may_fails_for_that)
{
    static const char *const scripts[] = {"kill -KILL $$", "exit 1", "exit 0"};

    start_host(false);
    TAILQ_INIT(&host.cgroup.busy);
    for (int i = 0; i < 3; i++) {
        char place[] = "/tmp/test_job.XXXXXX";
        struct job *j = shell_job(scripts[i]);
        int dir;

        ck_assert_ptr_nonnull(mkdtemp(place));
        ended = 0;
        job_start(j);
        j->leaf = killed_in(place);
        run_until(ended == 1);
        /* Who went on without what was killed has not failed. */
        ck_assert_str_eq(j->class_name, i < 2 ? "oom" : "");
        ck_assert_str_eq(j->text, i < 2 ? "killed as it would have used more "
                                          "memory than memory-max"
                                        : "exited with status 0");
        job_free(j);
        dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unlinkat(dir, "memory.events", 0);
        close(dir);
        ck_assert_int_eq(rmdir(place), 0);
    }
    stop_host();
}
END_TEST

START_TEST(what_cannot_be_started_is_told)
{
    static const char *const missing[] = {"no-such-program", NULL};
    static const char *const data[] = {"/etc/passwd", NULL};
    static const char *const fine[] = {"true", NULL};
    static const char *const nothing[] = {NULL};

    start_host(_i);
    assert_end(make_job(missing, NULL, NULL, 0), "spawn",
               "cannot run 'no-such-program': No such file or directory");
    assert_end(make_job(data, NULL, NULL, 0), "spawn",
               "cannot run '/etc/passwd': Permission denied");
    assert_end(make_job(fine, "/no/such", NULL, 0), "spawn",
               "cannot enter '/no/such': No such file or directory");
    assert_end(make_job(nothing, NULL, NULL, 0), "spawn",
               "the payload is not a command line: there is no arg=");
    stop_host();
}
END_TEST

START_TEST(nothing_of_the_runner_reaches_a_job)
{
    struct job *j;
    sigset_t most;

    /* What a careless parent might leave behind. */
    setenv("NOTIFY_SOCKET", "/run/x", 1);
    setenv("WATCHDOG_USEC", "1", 1);
    setenv("SECRET", "1", 1);
    umask(0);
    sigfillset(&most);
    sigprocmask(SIG_SETMASK, &most, NULL);
    signal(SIGPIPE, SIG_IGN);
    start_host(_i);
    j = shell_job("for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do "
                  "[ -e /proc/$$/fd/$n ] && echo open $n; done; pwd; umask; "
                  "env | grep -c -E '^(NOTIFY|WATCH|SECRET)'; grep -E "
                  "'^Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$ | "
                  "grep -c \" *$$\\$\"; echo $YOKE_QUEUE $YOKE_ATTEMPT");
    job_start(j);
    run_until(ended == 1);
    buffer_append(&printed, "", 1);
    ck_assert_str_eq(printed.data, "/\n0022\n0\n"
                                   "SigBlk:\t0000000000000000\n"
                                   "SigIgn:\t0000000000000000\n1\nq 1\n");
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(input_arrives_whole)
{
    static const char *const cksum[] = {"wc", "-c", NULL};
    size_t sizes[] = {0, 1, 65536, 1 << 20};
    char *input = memory_new(1 << 20), want[32];

    start_host(_i);
    for (size_t i = 0; i < 4; i++) {
        struct job *j = make_job(cksum, NULL, input, sizes[i]);

        printed.len = 0;
        ended = 0;
        job_start(j);
        run_until(ended == 1);
        buffer_append(&printed, "", 1);
        snprintf(want, sizeof(want), "%zu\n", sizes[i]);
        ck_assert_str_eq(printed.data, want);
        job_free(j);
    }
    free(input);
    stop_host();
}
END_TEST

START_TEST(output_is_whole_and_the_result_bounded)
{
    struct job *j;

    start_host(_i);
    settings.result_max = 1000;
    j = shell_job("head -c 10000000 /dev/zero");
    job_start(j);
    run_until(ended == 1);
    ck_assert_uint_eq(pieces_bytes, 10000000);
    ck_assert_uint_le(pieces_largest, OUTPUT_PIECE_MAX);
    ck_assert_uint_eq(j->output.result.len, 1000);
    ck_assert(j->output.result_cut);
    job_free(j);

    ended = 0;
    j = shell_job("head -c 1000 /dev/zero");
    job_start(j);
    run_until(ended == 1);
    ck_assert_uint_eq(j->output.result.len, 1000);
    ck_assert(!j->output.result_cut);
    job_free(j);
    stop_host();
}
END_TEST

/* The file of its result is nobody's memory to the kernel. */
START_TEST(job_that_fills_the_memory_by_its_result_is_killed)
{
    struct job *j;

    start_host(_i);
    commands.result = SETTINGS_FILE;
    settings.result_max = 1000;
    assert_end(shell_job("exec cat /dev/zero >$YOKE_RESULT"), "result",
               "killed as the file of its result was too big");
    /* What is only more than is taken is cut, as from a pipe. */
    ended = 0;
    j = shell_job("head -c 1M /dev/zero >$YOKE_RESULT; sleep 0.3");
    job_start(j);
    run_until(ended == 1);
    ck_assert_str_eq(j->class_name, "");
    ck_assert_uint_eq(j->output.result.len, 1000);
    ck_assert(j->output.result_cut);
    job_free(j);
    commands.result = SETTINGS_STDOUT;
    stop_host();
}
END_TEST

START_TEST(input_cannot_grow)
{
    static const char *const words[] = {
        "sh", "-c", "test $(wc -c </dev/stdin) = 9000 && ! echo >>/dev/stdin",
        NULL};
    char *input = memory_new(9000);

    start_host(_i);
    assert_end(make_job(words, NULL, input, 9000), "", "exited with status 0");
    free(input);
    stop_host();
}
END_TEST

START_TEST(detail_is_the_end_of_standard_error)
{
    struct job *j;
    const char *tail;
    size_t len;

    start_host(_i);
    j = shell_job("seq 1 10000 >&2; echo last >&2");
    job_start(j);
    run_until(ended == 1);
    tail = output_tail(&j->output, &len);
    ck_assert_uint_le(len, OUTPUT_TAIL_MAX);
    ck_assert_uint_gt(len, OUTPUT_TAIL_MAX - 16);
    ck_assert(tail[-1] == '\n');
    ck_assert_int_eq(memcmp(tail + len - 11, "10000\nlast\n", 11), 0);
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(sweep_works_without_rights)
{
    struct job *j;

    /* The loader of this program may not be readable to others, but a shell
     * is. /proc is ours again only if we may be dumped. */
    if (getuid() == 0) {
        ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
        ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
        ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
    }
    start_host(false);
    j = shell_job("trap '' TERM; setsid sh -c 'echo ready; sleep 1000' \"$0\" "
                  "& while :; do sleep 1; done");
    job_start(j);
    run_until(is_ready());
    ck_assert_int_ge(survivors(), 2);
    job_stop(j, JOB_CANCELLED, NULL, 50);
    run_until(ended == 1);
    ck_assert_int_eq(survivors(), 0);
    job_free(j);
    stop_host();
}
END_TEST

START_TEST(next_runner_buries_a_dead_one)
{
    char why[512];
    struct job *j;
    pid_t pid;
    int status;

    start_host(true);
    if (host.cgroup.base < 0) {
        stop_host();
        return; /* nowhere to bury it from: the manual says so */
    }
    /* A runner that dies with a job that has left it. */
    pid = fork();
    if (pid == 0) {
        cgroup_init(&host.cgroup, "auto", "dead", getpid(), why, sizeof(why));
        (void)process_init(); /* it is another process */
        j = hostile_job("setsid", "stay");
        job_start(j);
        /* The one that left must be there before its parent dies. */
        run_until(is_ready() && survivors() >= 2);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_ge(survivors(), 1);

    struct cgroup next;
    ck_assert_int_eq(
        cgroup_init(&next, "auto", "other", getpid(), why, sizeof(why)), 0);
    /* Killed before it returns; they are ours to reap, and zombies have no
     * arguments. */
    ck_assert_int_eq(survivors(), 0);
    cgroup_clear(&next);
    sweep_all(&host.sweep, 1000);
    stop_host();
}
END_TEST

START_TEST(living_runner_is_left_alone)
{
    char why[512];
    struct cgroup other;
    struct job *j;

    start_host(true);
    if (host.cgroup.base < 0) {
        stop_host();
        return;
    }
    j = hostile_job("polite", "stay");
    job_start(j);
    run_until(is_ready());
    ck_assert_int_eq(
        cgroup_init(&other, "auto", "test2", getpid(), why, sizeof(why)), 0);
    ck_assert_int_eq(survivors(), 2);
    cgroup_clear(&other);
    /* In namespaces of processes two can have one id: the lock counts. */
    ck_assert_int_eq(
        cgroup_init(&other, "auto", "test", getpid(), why, sizeof(why)),
        -EBUSY);
    ck_assert_ptr_nonnull(strstr(why, ": another runner of this name has it; "
                                      "give it another name"));
    ck_assert_int_eq(survivors(), 2);
    job_stop(j, JOB_CANCELLED, NULL, 0);
    run_until(ended == 1);
    job_free(j);
    stop_host();
}
END_TEST

int main(int argc, char **argv)
{
    SRunner *runner;
    Suite *suite;
    TCase *c;
    ssize_t n;
    int failed;

    if (argc > 1 && strcmp(argv[1], "hostile") == 0)
        return hostile_main(argc, argv);
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return 1;
    self[n] = '\0';

    suite = suite_create("job");
    c = tcase_create("job");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, hostile_program_outlives_its_parent, 0, NMODES);
    tcase_add_loop_test(c, nothing_is_left_after_a_normal_end, 0, 2 * NMODES);
    tcase_add_loop_test(c, nothing_is_left_after_a_cancel, 0, 2 * NMODES);
    tcase_add_loop_test(c, job_that_heeds_the_request_is_not_killed, 0, 2);
    tcase_add_loop_test(c, second_request_can_only_hasten_the_end, 0, 2);
    tcase_add_loop_test(c, end_of_one_job_spares_the_others, 0, 4);
    tcase_add_loop_test(c, many_jobs_at_once_end_and_leave_nothing, 0, 2);
    tcase_add_test(c, held_job_that_is_stopped_never_starts);
    tcase_add_loop_test(c, request_right_after_the_start_is_not_lost, 0, 4);
    tcase_add_loop_test(c, how_it_ended_is_told, 0, 2);
    tcase_add_test(c, job_that_needed_more_memory_than_it_may_fails_for_that);
    tcase_add_loop_test(c, what_cannot_be_started_is_told, 0, 2);
    tcase_add_loop_test(c, nothing_of_the_runner_reaches_a_job, 0, 2);
    tcase_add_loop_test(c, input_arrives_whole, 0, 2);
    tcase_add_loop_test(c, output_is_whole_and_the_result_bounded, 0, 2);
    tcase_add_loop_test(c, job_that_fills_the_memory_by_its_result_is_killed, 0,
                        2);
    tcase_add_loop_test(c, input_cannot_grow, 0, 2);
    tcase_add_loop_test(c, detail_is_the_end_of_standard_error, 0, 2);
    tcase_add_test(c, sweep_works_without_rights);
    tcase_add_test(c, next_runner_buries_a_dead_one);
    tcase_add_test(c, living_runner_is_left_alone);
    suite_add_tcase(suite, c);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
