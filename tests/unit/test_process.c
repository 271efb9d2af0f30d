/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of starting a process, with real ones: what is lent and for how
 * long, what is told when it was no program, what becomes of descriptors. Each
 * is tried the way of this kernel, and the way of one that is too old for it.
 */
#include "runner/process.h"

#include "runner/memory.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000
#define MANY        100

static char *no_env[] = {NULL};
static int nothing;
static char why[512];

/* As if the kernel had no clone3. */
static void forget_clone3(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void begin(bool old_kernel)
{
    nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_gt(nothing, 2);
    if (old_kernel)
        forget_clone3();
    ck_assert_int_eq(process_init(), 0);
}

static void end(void)
{
    process_clear();
    ck_assert_int_eq(close(nothing), 0);
}

static struct process_plan plan_of(char *const *argv)
{
    return (struct process_plan){.argv = argv,
                                 .env = no_env,
                                 .dir = "/",
                                 .in = nothing,
                                 .out = nothing,
                                 .err = nothing,
                                 .umask_bits = 022,
                                 .cgroup = -1};
}

/* Waits for its end; what process_ended() says. */
static int end_of(struct process *p, siginfo_t *out)
{
    siginfo_t info;

    ck_assert_int_eq(
        waitid(P_PID, (id_t)p->pid, out ? out : &info, WEXITED | __WALL), 0);
    process_close(p->pidfd);
    return process_ended(p, why, sizeof(why));
}

static void assert_fails(const struct process_plan *plan, int error,
                         const char *text)
{
    struct process p;

    ck_assert_int_eq(process_start(plan, &p, why, sizeof(why)), 0);
    ck_assert_int_eq(end_of(&p, NULL), error);
    ck_assert_str_eq(why, text);
}

START_TEST(why_it_is_no_program_is_told_at_its_end)
{
    char *missing[] = {"/no/such", NULL}, *nowhere[] = {"no-such", NULL};
    char *data[] = {"passwd", NULL}, *fine[] = {"/bin/true", NULL};
    char *path[] = {"PATH=:/no/such::/etc:/usr", NULL};
    struct process_plan plan;

    begin(_i);
    plan = plan_of(missing);
    assert_fails(&plan, -ENOENT,
                 "cannot run '/no/such': No such file or directory");
    plan = plan_of(nowhere);
    assert_fails(&plan, -ENOENT,
                 "cannot run 'no-such': No such file or directory");
    /* That there is one that may not be run is worth more than that there is
     * none elsewhere. */
    plan = plan_of(data);
    plan.env = path;
    assert_fails(&plan, -EACCES, "cannot run 'passwd': Permission denied");
    plan = plan_of(fine);
    plan.dir = "/no/such";
    assert_fails(&plan, -ENOENT,
                 "cannot enter '/no/such': No such file or directory");
    plan = plan_of(fine);
    plan.out = 1000;
    assert_fails(&plan, -EBADF,
                 "cannot run '/bin/true': it cannot set up descriptors: Bad "
                 "file descriptor");
    plan = plan_of(fine);
    plan.cgroup = nothing;
    ck_assert_int_lt(process_start(&plan, &(struct process){0}, why, 512), 0);
    ck_assert_int_lt(process_probe(&plan, why, sizeof(why)), 0);
    ck_assert(strncmp(why, "cannot be started: ", 19) == 0);
    plan = plan_of(NULL);
    ck_assert_int_eq(process_probe(&plan, why, sizeof(why)), 0);
    plan.out = 1000;
    ck_assert_int_eq(process_probe(&plan, why, sizeof(why)), -EBADF);
    ck_assert_str_eq(why, "cannot set up descriptors: Bad file descriptor");
    end();
}
END_TEST

START_TEST(end_of_a_program_is_its_own)
{
    char *fine[] = {"true", NULL},
         *lost[] = {"/bin/sh", "-c", "exit 127", NULL};
    struct process_plan plan;
    struct process p;
    siginfo_t info;

    begin(_i);
    plan = plan_of(fine); /* found without a PATH */
    ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
    ck_assert_int_eq(end_of(&p, &info), 0);
    ck_assert_int_eq(info.si_status, 0);
    /* With the status that the child ends with when it fails. */
    plan = plan_of(lost);
    ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
    ck_assert_int_eq(end_of(&p, &info), 0);
    ck_assert_int_eq(info.si_status, 127);
    end();
}
END_TEST

/* The kernel spares it, and us with it, where its cgroup has no room. */
START_TEST(who_may_run_out_of_memory_is_waited_for)
{
    char *fine[] = {"/bin/true", NULL};
    struct process_plan plan;
    struct process p;
    siginfo_t info;

    begin(_i);
    plan = plan_of(fine);
    plan.memory_bound = true;
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
        ck_assert(process_settled(&p));
        ck_assert_int_eq(end_of(&p, &info), 0);
        ck_assert_int_eq(info.si_status, 0);
    }
    end();
}
END_TEST

/* Reads until the end of the pipe, and closes it. */
static void read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    ck_assert_int_eq(n, 0);
    close(fd);
}

/* Its words are not needed any more: they are spoiled. */
static void spoil(char *text)
{
    memset(text, '#', strlen(text));
}

static void assert_exits(const struct process_plan *plan, int status)
{
    struct process p;
    siginfo_t end;

    ck_assert_int_eq(process_start(plan, &p, why, sizeof(why)), 0);
    ck_assert_int_eq(end_of(&p, &end), 0);
    ck_assert_int_eq(end.si_code, CLD_EXITED);
    ck_assert_int_eq(end.si_status, status);
}

/* Were a child to mount where it must not, it would be where this test alone
 * sees it. */
static void keep_mounts_here(void)
{
    if (unshare(CLONE_NEWNS) == 0)
        ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL),
                         0);
    else
        ck_assert_int_eq(errno, EPERM);
}

static size_t count_mounts(void)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    size_t lines = 0;
    int c;

    ck_assert_ptr_nonnull(f);
    while ((c = getc(f)) != EOF)
        lines += c == '\n';
    fclose(f);
    return lines;
}

START_TEST(what_a_child_changes_is_not_ours)
{
    char *argv[] = {"/bin/sh", "-c",
                    "test $$ = 1 && test -z \"$(ls -A /tmp)\" && test "
                    "$(ulimit -n) = 77 && test -e /proc/1 && exit 9",
                    NULL};
    struct attributes a = {
        .nice = 3,
        .limits = {.count = 1, .items = {{RLIMIT_NOFILE, {77, 77}}}},
        .no_new_privileges = true,
        .private_tmp = true,
        .private_pids = true,
        .tmp_max = 1 << 20};
    char file[] = "/tmp/test_process.XXXXXX";
    struct process_plan plan;
    struct rlimit files;
    size_t mounts;
    int fd;

    keep_mounts_here();
    fd = mkstemp(file);
    mounts = count_mounts();
    begin(_i);
    plan = plan_of(argv);
    plan.attributes = &a;
    if (process_probe(&plan, why, sizeof(why)) < 0)
        fprintf(stderr, "not possible here: a child %s\n", why);
    else
        assert_exits(&plan, 9);
    ck_assert_uint_eq(count_mounts(), mounts);
    ck_assert_int_eq(access(file, F_OK), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert_uint_ne(files.rlim_max, 77);
    ck_assert_int_ne(getpriority(PRIO_PROCESS, 0), 3);
    close(fd);
    unlink(file);
    end();
}
END_TEST

START_TEST(a_private_tmp_holds_so_much_and_no_more)
{
    char *argv[] = {"/bin/sh", "-c",
                    "head -c 1M /dev/zero >/tmp/a && ! echo >/tmp/b && "
                    "rm /tmp/a && echo >/tmp/b && seq -f /tmp/%g 300 >/tmp/b "
                    "&& ! xargs touch </tmp/b && test -e /tmp/200 && ! test "
                    "-e /tmp/260",
                    NULL};
    struct attributes a = {
        .nice = ATTRIBUTES_UNSET, .private_tmp = true, .tmp_max = 1 << 20};
    char *env[] = {"PATH=/usr/bin:/bin", NULL};
    struct process_plan plan;

    keep_mounts_here();
    begin(_i);
    plan = plan_of(argv);
    plan.env = env;
    plan.attributes = &a;
    if (process_probe(&plan, why, sizeof(why)) < 0)
        fprintf(stderr, "not possible here: a child %s\n", why);
    else
        assert_exits(&plan, 0);
    end();
}
END_TEST

START_TEST(descriptor_3_may_be_any_of_ours)
{
    char *argv[] = {"/bin/sh", "-c", "echo word >&3; test ! -e /proc/$$/fd/4",
                    NULL};

    begin(_i);
    for (int i = 0; i < 2; i++) {
        struct process_plan plan = plan_of(argv);
        /* Check tells of each assertion by what is 3 here: it is given back
         * before the next one. */
        int ends[2], kept = fcntl(3, F_DUPFD_CLOEXEC, 20);
        int started, ended = -1;
        struct process p;
        siginfo_t end = {0};
        char text[8] = "";

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        plan.extra[0] = fcntl(ends[1], F_DUPFD_CLOEXEC, 20);
        plan.in = plan.out = plan.err = fcntl(nothing, F_DUPFD_CLOEXEC, 20);
        ends[0] = fcntl(ends[0], F_DUPFD_CLOEXEC, 20);
        if (i == 0) /* its own number already */
            plan.extra[0] = dup3(ends[1], 3, O_CLOEXEC);
        started = process_start(&plan, &p, why, sizeof(why));
        if (started == 0) {
            waitid(P_PID, (id_t)p.pid, &end, WEXITED | __WALL);
            ended = process_ended(&p, why, sizeof(why));
        }
        if (kept >= 0)
            dup2(kept, 3);
        ck_assert_int_eq(started, 0);
        ck_assert_int_eq(ended, 0);
        ck_assert_int_eq(end.si_status, 0);
        ck_assert_int_eq(read(ends[0], text, 7), 5);
        ck_assert_str_eq(text, "word\n");
    }
    process_clear();
}
END_TEST

START_TEST(descriptor_4_is_found_by_the_id_of_its_process)
{
    char *argv[] = {"/bin/sh", "-c",
                    "cat $X; test $X = /proc/$$/fd/4 && ! test -e /dev/fd/3",
                    NULL};
    char variable[2 + PROCESS_PATH_MAX] = "X=";
    char *env[] = {variable, "PATH=/usr/bin:/bin", NULL};
    char text[8] = "";
    int ends[2], file;

    begin(_i);
    file = fcntl(memory_file("text"), F_DUPFD_CLOEXEC, 20);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(write(file, "word\n", 5), 5);
    for (int i = 0; i < 2; i++) {
        struct process_plan plan = plan_of(argv);
        struct process p;
        siginfo_t end = {0};

        plan.env = env;
        plan.out = fcntl(ends[1], F_DUPFD_CLOEXEC, 20);
        plan.extra[1] = file;
        plan.paths[1] = variable + strlen("X=");
        ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
        close(plan.out);
        waitid(P_PID, (id_t)p.pid, &end, WEXITED | __WALL);
        close(p.pidfd);
        ck_assert_int_eq(process_ended(&p, why, sizeof(why)), 0);
        ck_assert_int_eq(end.si_status, 0);
        ck_assert_int_eq(read(ends[0], text, 7), 5);
        ck_assert_str_eq(text, "word\n");
    }
    process_clear();
}
END_TEST

START_TEST(what_is_lent_may_go_once_it_has_settled)
{
    begin(_i);
    for (int i = 0; i < 20; i++) {
        char *script = memory_text("sleep 0.01; echo $X$1", 21);
        char *x = memory_text("X=right", 7), *word = memory_text(" words", 6);
        char *argv[] = {"/bin/sh", "-c", script, "sh", word, NULL};
        char *env[] = {x, "PATH=/usr/bin:/bin", NULL}, text[64];
        struct process_plan plan = plan_of(argv);
        struct process p;
        int ends[2], tries = 0;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        plan.env = env;
        plan.out = ends[1];
        ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
        close(ends[1]); /* the child has its own */
        while (!process_settled(&p)) {
            ck_assert_int_lt(tries++, DEADLINE_MS);
            (void)poll(NULL, 0, 1);
        }
        spoil(script);
        spoil(x);
        spoil(word);
        argv[0] = argv[1] = env[0] = NULL;
        read_all(ends[0], text, sizeof(text));
        ck_assert_str_eq(text, "right words\n");
        ck_assert_int_eq(end_of(&p, NULL), 0);
        free(script);
        free(x);
        free(word);
    }
    end();
}
END_TEST

START_TEST(many_at_once_do_not_mix_their_words)
{
    struct process p[MANY];
    char number[MANY][16], text[16], want[20];
    char *argv[MANY][3];
    int ends[MANY][2];

    begin(_i);
    for (int i = 0; i < MANY; i++) {
        struct process_plan plan;

        snprintf(number[i], sizeof(number[i]), "%d", i);
        /* Each third one is no program. */
        argv[i][0] = i % 3 == 2 ? "no-such-program" : "echo";
        argv[i][1] = number[i];
        argv[i][2] = NULL;
        ck_assert_int_eq(pipe2(ends[i], O_CLOEXEC), 0);
        plan = plan_of(argv[i]);
        plan.out = ends[i][1];
        ck_assert_int_eq(process_start(&plan, &p[i], why, sizeof(why)), 0);
        close(ends[i][1]);
    }
    for (int i = 0; i < MANY; i++) {
        siginfo_t info;
        int rc = end_of(&p[i], &info);

        read_all(ends[i][0], text, sizeof(text));
        if (i % 3 == 2) {
            ck_assert_int_eq(rc, -ENOENT);
            ck_assert_str_eq(text, "");
        } else {
            ck_assert_int_eq(rc, 0);
            ck_assert_int_eq(info.si_status, 0);
            snprintf(want, sizeof(want), "%d\n", i);
            ck_assert_str_eq(text, want);
        }
    }
    end();
}
END_TEST

START_TEST(closed_descriptor_is_not_reported_any_more)
{
    char *argv[] = {"/bin/true", NULL};
    struct process_plan plan;
    int waited = 0, ep;

    begin(_i);
    ep = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_ge(ep, 0);
    plan = plan_of(argv);
    for (int i = 0; i < 200; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        struct process p;
        int ends[2];

        /* A pipe at its end is readable for ever. */
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        close(ends[1]);
        event.data.fd = ends[0];
        ck_assert_int_eq(epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], &event), 0);
        ck_assert_int_eq(process_start(&plan, &p, why, sizeof(why)), 0);
        process_close(ends[0]);
        /* As long as it is reported it can be taken out. */
        if (epoll_wait(ep, &event, 1, 0) == 1) {
            ck_assert_int_eq(event.data.fd, ends[0]);
            ck_assert_int_eq(epoll_ctl(ep, EPOLL_CTL_DEL, ends[0], NULL), 0);
            waited++;
        }
        ck_assert_int_eq(end_of(&p, NULL), 0);
        ck_assert_int_eq(fcntl(ends[0], F_GETFD), -1);
        ck_assert_int_eq(epoll_wait(ep, &event, 1, 0), 0);
    }
    /* On an old kernel the runner stands still until there is no copy. */
    ck_assert(!_i || waited == 0);
    close(ep);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");
    TCase *c = tcase_create("process");
    SRunner *runner;
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, why_it_is_no_program_is_told_at_its_end, 0, 2);
    tcase_add_loop_test(c, end_of_a_program_is_its_own, 0, 2);
    tcase_add_loop_test(c, who_may_run_out_of_memory_is_waited_for, 0, 2);
    tcase_add_loop_test(c, what_a_child_changes_is_not_ours, 0, 2);
    tcase_add_loop_test(c, a_private_tmp_holds_so_much_and_no_more, 0, 2);
    tcase_add_loop_test(c, descriptor_3_may_be_any_of_ours, 0, 2);
    tcase_add_loop_test(c, descriptor_4_is_found_by_the_id_of_its_process, 0,
                        2);
    tcase_add_loop_test(c, what_is_lent_may_go_once_it_has_settled, 0, 2);
    tcase_add_loop_test(c, many_at_once_do_not_mix_their_words, 0, 2);
    tcase_add_loop_test(c, closed_descriptor_is_not_reported_any_more, 0, 2);
    suite_add_tcase(suite, c);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
