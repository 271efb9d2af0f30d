/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of the process above the runner, with a real one and a runner that
 * is a function of the test: whom it kills, when, in which order, and what it
 * hands on. What jobs and a daemon see of that is in tests/system.
 */
#include "runner/warden.h"

#include "runner/job.h"
#include "runner/message.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000
#define HOUR_MS     3600000
/* Longer than the runner may be held up between two calls. */
#define SOON_MS 500

/* What all processes of a test see. */
static struct {
    atomic_int runs, saw, up;
} * seen;

typedef int run_fn(struct warden_link *link, void *arg);

static void setup(void)
{
    message_set_level(MESSAGE_ERROR);
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(seen, MAP_FAILED);
}

static void teardown(void)
{
    ck_assert_int_eq(munmap(seen, sizeof(*seen)), 0);
}

static pid_t warden_start(run_fn *run, int fd)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(warden_main(&(struct warden_plan){.run = run, .fd = fd}));
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* Its exit status; 1000 and the number of the signal that it ended by. */
static int end_of(pid_t warden)
{
    int status;

    ck_assert_int_eq(waitpid(warden, &status, 0), warden);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* For as long as a law could wait; who is not ended by then says so. */
static void hang(void)
{
    (void)poll(NULL, 0, DEADLINE_MS);
    _exit(99);
}

static int fine(struct warden_link *link, void *arg)
{
    (void)link;
    (void)arg;
    return 7;
}

static int crashes(struct warden_link *link, void *arg)
{
    (void)link;
    (void)arg;
    return raise(SIGUSR1);
}

START_TEST(warden_ends_as_the_runner_has)
{
    ck_assert_int_eq(end_of(warden_start(fine, -1)), 7);
    ck_assert_int_eq(end_of(warden_start(crashes, -1)), 1000 + SIGUSR1);
}
END_TEST

/* The first one hangs until its lease is over, and after it. */
static int outlives(struct warden_link *link, void *arg)
{
    (void)arg;
    if (atomic_fetch_add(&seen->runs, 1) > 0)
        return 3;
    warden_lease(link, job_now_ms() + 20);
    hang();
    return 0;
}

START_TEST(who_outlives_its_lease_is_killed_and_has_a_successor)
{
    ck_assert_int_eq(end_of(warden_start(outlives, -1)), 3);
    ck_assert_int_eq(atomic_load(&seen->runs), 2);
}
END_TEST

START_TEST(who_had_a_socket_has_no_successor)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(end_of(warden_start(outlives, fd)), 1);
    ck_assert_int_eq(atomic_load(&seen->runs), 1);
    close(fd);
}
END_TEST

/* The warden has set its timer to the long one when it hears of the short. */
static int shortens(struct warden_link *link, void *arg)
{
    (void)arg;
    if (atomic_fetch_add(&seen->runs, 1) > 0)
        return 3;
    warden_lease(link, job_now_ms() + HOUR_MS);
    warden_lease(link, job_now_ms() + 20);
    hang();
    return 0;
}

START_TEST(shorter_lease_counts_from_when_it_is_told)
{
    ck_assert_int_eq(end_of(warden_start(shortens, -1)), 3);
}
END_TEST

/* It goes on past the first one's end; without jobs there is none. */
static int extends(struct warden_link *link, void *arg)
{
    int64_t first = job_now_ms() + SOON_MS;

    (void)arg;
    atomic_fetch_add(&seen->runs, 1);
    warden_lease(link, first);
    warden_lease(link, first + HOUR_MS);
    while (job_now_ms() < first + 50)
        (void)poll(NULL, 0, 1);
    first = job_now_ms() + SOON_MS;
    warden_lease(link, first);
    warden_lease(link, WARDEN_NO_JOBS);
    while (job_now_ms() < first + 50)
        (void)poll(NULL, 0, 1);
    return 5;
}

START_TEST(lease_that_was_renewed_ends_nobody)
{
    ck_assert_int_eq(end_of(warden_start(extends, -1)), 5);
    ck_assert_int_eq(atomic_load(&seen->runs), 1);
}
END_TEST

/* A job in a session of its own that holds the end of a pipe. */
static int job_start_apart(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    if (fork() == 0) {
        (void)setsid();
        close(ends[0]);
        atomic_fetch_add(&seen->up, 1);
        hang();
    }
    close(ends[1]);
    while (atomic_load(&seen->up) == 0)
        (void)poll(NULL, 0, 1);
    return ends[0];
}

/* It sees the end of its job, if it lives to see it. */
static int sees(struct warden_link *link, void *arg)
{
    char byte;
    int job;

    (void)arg;
    if (atomic_fetch_add(&seen->runs, 1) > 0)
        return 3;
    job = job_start_apart();
    warden_lease(link, job_now_ms() + 20);
    if (read(job, &byte, 1) == 0)
        atomic_store(&seen->saw, 1);
    hang();
    return 0;
}

START_TEST(runner_dies_before_its_jobs)
{
    ck_assert_int_eq(end_of(warden_start(sees, -1)), 3);
    ck_assert_int_eq(atomic_load(&seen->up), 1);
    ck_assert_int_eq(atomic_load(&seen->saw), 0);
}
END_TEST

static int outside[2];

static int leaves(struct warden_link *link, void *arg)
{
    (void)link;
    (void)arg;
    (void)job_start_apart();
    return 0;
}

START_TEST(nothing_is_left_when_the_warden_ends)
{
    char byte;
    pid_t warden;

    ck_assert_int_eq(pipe2(outside, O_CLOEXEC | O_NONBLOCK), 0);
    warden = warden_start(leaves, -1);
    close(outside[1]);
    ck_assert_int_eq(end_of(warden), 0);
    ck_assert_int_eq(atomic_load(&seen->up), 1);
    /* The job had a copy of the other end. */
    ck_assert_int_eq(read(outside[0], &byte, 1), 0);
    close(outside[0]);
}
END_TEST

/* What comes by the link, as a number; -EPIPE in time. */
static int next_of(struct warden_link *link)
{
    struct pollfd p = {.fd = warden_listen(link), .events = POLLIN};

    return poll(&p, 1, DEADLINE_MS) == 1 ? warden_next(link) : 0;
}

static int hears(struct warden_link *link, void *arg)
{
    (void)arg;
    warden_listen(link);
    (void)kill(getppid(), SIGHUP);
    if (next_of(link) != SIGHUP)
        return 1;
    (void)kill(getppid(), SIGTERM);
    return next_of(link) == SIGTERM ? 4 : 2;
}

START_TEST(signals_come_by_the_link)
{
    ck_assert_int_eq(end_of(warden_start(hears, -1)), 4);
}
END_TEST

static int misses(struct warden_link *link, void *arg)
{
    (void)arg;
    warden_listen(link);
    atomic_store(&seen->up, 1);
    if (next_of(link) == -EPIPE)
        atomic_store(&seen->saw, 1);
    return 0;
}

START_TEST(end_of_the_warden_is_seen_by_the_link)
{
    int64_t limit = job_now_ms() + DEADLINE_MS;
    pid_t warden = warden_start(misses, -1);

    while (!atomic_load(&seen->up) && job_now_ms() < limit)
        (void)poll(NULL, 0, 1);
    ck_assert_int_eq(kill(warden, SIGKILL), 0);
    ck_assert_int_eq(end_of(warden), 1000 + SIGKILL);
    while (!atomic_load(&seen->saw) && job_now_ms() < limit)
        (void)poll(NULL, 0, 1);
    ck_assert_int_eq(atomic_load(&seen->saw), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("warden");
    TCase *c = tcase_create("warden");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, warden_ends_as_the_runner_has);
    tcase_add_test(c, who_outlives_its_lease_is_killed_and_has_a_successor);
    tcase_add_test(c, who_had_a_socket_has_no_successor);
    tcase_add_test(c, shorter_lease_counts_from_when_it_is_told);
    tcase_add_test(c, lease_that_was_renewed_ends_nobody);
    tcase_add_test(c, runner_dies_before_its_jobs);
    tcase_add_test(c, nothing_is_left_when_the_warden_ends);
    tcase_add_test(c, signals_come_by_the_link);
    tcase_add_test(c, end_of_the_warden_is_seen_by_the_link);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
