/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The child with shell scripts in the place of yoke-runner: each test says
 * what the "runner" does, and looks at what the owner is told and when.
 */
#include "base/log.h"
#include "server/child.h"
#include "server/sweep.h"

#include <check.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_S 20.0

static char dir[] = "/tmp/yoke-test-child-XXXXXX";
static char program[64], note[64];
static struct ev_loop *loop;
static struct child *child;
static const char *const no_args[] = {NULL};
static int attached, dead, stopped, socket_fd;
static int want_attached; /* break the loop then */
static bool children_at_death, break_when_dead;

static void on_attach(void *arg, int fd)
{
    (void)arg;
    if (socket_fd >= 0)
        (void)close(socket_fd);
    socket_fd = fd;
    if (++attached == want_attached)
        ev_break(loop, EVBREAK_ALL);
}

static void on_dead(void *arg)
{
    (void)arg;
    dead++;
    children_at_death = waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD;
    if (break_when_dead)
        ev_break(loop, EVBREAK_ALL);
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped++;
    ev_break(loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *l, ev_timer *w, int events)
{
    (void)l;
    (void)w;
    (void)events;
    ck_abort_msg("nothing happened for too long");
}

static void run_loop(void)
{
    ev_timer deadline;

    ev_timer_init(&deadline, on_deadline, DEADLINE_S, 0);
    ev_timer_start(loop, &deadline);
    ev_run(loop, 0);
    ev_timer_stop(loop, &deadline);
}

static void write_program(const char *script)
{
    int fd = open(program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(dprintf(fd, "#!/bin/sh\nnote=%s\n%s\n", note, script), 0);
    ck_assert_int_eq(close(fd), 0);
}

/* Waits until the script has written that many lines. */
static void wait_for_note(size_t lines)
{
    double until = ev_time() + DEADLINE_S;
    size_t seen = 0;

    while (seen < lines) {
        char text[4096];
        FILE *f = fopen(note, "re");

        ck_assert_msg(ev_time() < until, "the script has not come so far");
        seen = 0;
        while (f && fgets(text, sizeof(text), f))
            seen++;
        if (f)
            (void)fclose(f);
    }
}

static void setup(void)
{
    struct child_options options;

    log_init("test", LOG_LEVEL_ERROR);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(program, sizeof(program), "%s/runner", dir);
    (void)snprintf(note, sizeof(note), "%s/note", dir);
    attached = dead = stopped = want_attached = 0;
    socket_fd = -1;
    children_at_death = break_when_dead = false;
    loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    options = (struct child_options){
        .loop = loop,
        .program = program,
        .args = no_args,
        .attach = on_attach,
        .dead = on_dead,
    };
    child = child_new(&options);
}

static void teardown(void)
{
    child_free(child);
    while (sweep_children(100) == 1)
        ;
    if (socket_fd >= 0)
        (void)close(socket_fd);
    ev_loop_destroy(loop);
    (void)unlink(program);
    (void)unlink(note);
    ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(runner_has_its_socket_as_descriptor_three_and_no_other)
{
    char text[512];
    FILE *f;
    size_t n;

    ck_assert_int_eq(dup2(STDERR_FILENO, 77), 77); /* inheritable */
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", "/nowhere", 1), 0);
    ck_assert_int_eq(setenv("LISTEN_FDS", "1", 1), 0);
    write_program("ls /proc/self/fd >>$note\n"
                  "echo \"$1 $2 ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none}\" "
                  ">>$note\necho done >&3\nexec sleep 60");
    child_start(child);
    ck_assert_int_eq(attached, 1);
    ck_assert_int_eq(read(socket_fd, text, sizeof(text)), 5);
    ck_assert_int_eq(close(77), 0);
    f = fopen(note, "re");
    ck_assert_ptr_nonnull(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    ck_assert_int_eq(fclose(f), 0);
    text[n] = '\0';
    /* 4 is what ls lists. */
    ck_assert_str_eq(text, "0\n1\n2\n3\n4\n--fd 3 none none\n");
}
END_TEST

START_TEST(dead_runner_is_started_again_after_a_pause)
{
    double start = ev_time();

    write_program("exit 1");
    want_attached = 3;
    child_start(child);
    run_loop();
    ck_assert_int_eq(attached, 3);
    ck_assert_int_eq(dead, 2);
    /* 100 ms and 200 ms, less what the loop's clock may be behind */
    ck_assert_double_ge(ev_time() - start, 0.25);
}
END_TEST

START_TEST(nothing_of_a_dead_runner_is_left_when_its_owner_is_told)
{
    write_program("trap '' TERM\n"
                  "setsid sh -c 'trap \"\" TERM; setsid sleep 60 & echo >>"
                  "$0; exec sleep 60' $note </dev/null &\n"
                  "(setsid sleep 60 &)\n"
                  "while [ ! -s $note ]; do :; done\nkill -9 $$");
    want_attached = 2;
    child_start(child);
    run_loop();
    ck_assert_int_ge(dead, 1);
    ck_assert(!children_at_death);
}
END_TEST

START_TEST(runner_that_refuses_its_settings_is_tried_late_or_by_a_reload)
{
    double start;

    write_program("exit 2");
    break_when_dead = true;
    child_start(child);
    run_loop();
    child_reload(child); /* it waits, and starts at once */
    ck_assert_int_eq(attached, 2);
    run_loop();
    ck_assert_int_eq(dead, 2);
    start = ev_time();
    want_attached = 3;
    run_loop();
    ck_assert_double_ge(ev_time() - start, 0.9);
}
END_TEST

START_TEST(stop_asks_and_waits_for_the_end)
{
    write_program("trap 'echo asked >>$note; exit 0' INT\necho up >>$note\n"
                  "while :; do sleep 0.01; done");
    child_start(child);
    wait_for_note(1);
    child_stop(child, 15000, on_stopped, NULL);
    run_loop();
    wait_for_note(2);
    ck_assert_int_eq(stopped, 1);
    ck_assert_int_eq(dead, 1);
    ck_assert_int_eq(attached, 1);
}
END_TEST

START_TEST(stop_kills_when_its_time_is_up)
{
    double start;

    write_program("trap '' INT\necho up >>$note\n"
                  "while :; do sleep 60; done");
    child_start(child);
    wait_for_note(1);
    start = ev_time();
    child_stop(child, 200, on_stopped, NULL);
    run_loop();
    ck_assert_double_ge(ev_time() - start, 0.15);
    ck_assert_int_eq(dead, 1);
    ck_assert(!children_at_death);
}
END_TEST

START_TEST(hurry_kills_at_once)
{
    double start = ev_time();

    write_program("trap '' INT\necho up >>$note\n"
                  "while :; do sleep 60; done");
    child_start(child);
    wait_for_note(1);
    child_stop(child, 600000, on_stopped, NULL);
    child_hurry(child);
    run_loop();
    ck_assert_int_eq(dead, 1);
    ck_assert_double_lt(ev_time() - start, DEADLINE_S);
}
END_TEST

START_TEST(stop_between_two_starts_starts_nothing)
{
    /* There is no such program: the child waits for its next try. */
    child_start(child);
    ck_assert_int_eq(attached, 0);
    child_stop(child, 600000, on_stopped, NULL);
    ck_assert_int_eq(stopped, 0);
    run_loop();
    ck_assert_int_eq(stopped, 1);
    ck_assert_int_eq(attached, 0);
    ck_assert_int_eq(dead, 0);
}
END_TEST

/* Each process forks the next one, in a session of its own, and goes away. */
static void fork_for_ever(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    for (;;) {
        pid_t pid = fork();

        if (pid > 0)
            _exit(0);
        if (pid == 0)
            (void)setsid();
    }
}

START_TEST(sweep_outruns_a_chain_of_forks)
{
    double until = ev_time() + DEADLINE_S;
    int rc;

    for (int i = 0; i < 2; i++) {
        if (fork() == 0)
            fork_for_ever();
    }
    do {
        rc = sweep_children(5);
        ck_assert_msg(ev_time() < until, "the chain goes on");
    } while (rc == 1);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("child");
    TCase *tc = tcase_create("child");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, runner_has_its_socket_as_descriptor_three_and_no_other);
    tcase_add_test(tc, dead_runner_is_started_again_after_a_pause);
    tcase_add_test(tc, nothing_of_a_dead_runner_is_left_when_its_owner_is_told);
    tcase_add_test(
        tc, runner_that_refuses_its_settings_is_tried_late_or_by_a_reload);
    tcase_add_test(tc, stop_asks_and_waits_for_the_end);
    tcase_add_test(tc, stop_kills_when_its_time_is_up);
    tcase_add_test(tc, hurry_kills_at_once);
    tcase_add_test(tc, stop_between_two_starts_starts_nothing);
    tcase_add_test(tc, sweep_outruns_a_chain_of_forks);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
