/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state - what a process has from whom started it: a job that tells all of it,
 * and who starts a program with much of it.
 *
 *     state dump [N | FILE]    writes it to descriptor N (1), or into FILE; and
 *                              stays, in that case, until descriptor 3 ends
 *     state odd UID COMMAND... runs a command, as UID, in a state that nobody
 *                              else would be in
 *
 * A dump is lines of a name, a blank and a value.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* -------------------------------------------------------------------- dump */

/* The lines of a file, each behind a word. */
static void dump_file(FILE *out, const char *word, const char *path)
{
    char line[4096];
    FILE *in = fopen(path, "re");

    if (!in)
        fail(path);
    while (fgets(line, sizeof(line), in))
        fprintf(out, "%s %s%s", word, line, strchr(line, '\n') ? "" : "\n");
    fclose(in);
}

/* Each: its number, its flags, and what it is. `own` is left out. */
static void dump_descriptors(FILE *out, int own)
{
    char path[64], target[4096];
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir)
        fail("/proc/self/fd");
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        ssize_t n;

        if (entry->d_name[0] == '.' || fd == dirfd(dir) || fd == own)
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target));
        if (n < 0)
            fail(path);
        fprintf(out, "fd %d %o %d %.*s\n", fd, (unsigned)fcntl(fd, F_GETFL),
                fcntl(fd, F_GETFD), (int)n, target);
    }
    closedir(dir);
}

static void dump_signals(FILE *out)
{
    fprintf(out, "actions");
    for (int i = 1; i <= 64; i++) {
        unsigned long action[8] = {0};

        /* The C library does not tell of those that it has for itself. */
        if (syscall(SYS_rt_sigaction, i, NULL, action, 8UL) == 0 && action[0])
            fprintf(out, " %d", i);
    }
    fprintf(out, "\n");
}

static void dump_links(FILE *out)
{
    static const char *const names[] = {"cwd", "root"};
    char path[64], target[4096];

    for (int i = 0; i < 2; i++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/%s", names[i]);
        n = readlink(path, target, sizeof(target));
        fprintf(out, "%s %.*s\n", names[i], n < 0 ? 0 : (int)n, target);
    }
}

static void dump_keys(FILE *out)
{
    char text[256] = "none";

    (void)syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text,
                  sizeof(text));
    fprintf(out, "keyring %s\n",
            strrchr(text, ';') ? strrchr(text, ';') + 1 : text);
}

static void dump(FILE *out, int own)
{
    struct sched_param param;
    int death = 0, tty = open("/dev/tty", O_RDWR | O_CLOEXEC);

    fprintf(out, "tty %s\n", tty < 0 ? "none" : "has one");
    if (tty >= 0)
        close(tty);
    dump_descriptors(out, own);
    for (char **e = environ; *e; e++)
        fprintf(out, "env %s\n", *e);
    dump_file(out, "status", "/proc/self/status");
    dump_file(out, "limit", "/proc/self/limits");
    dump_file(out, "cgroup", "/proc/self/cgroup");
    dump_file(out, "oom", "/proc/self/oom_score_adj");
    dump_signals(out);
    dump_links(out);
    dump_keys(out);
    (void)sched_getparam(0, &param);
    (void)prctl(PR_GET_PDEATHSIG, &death);
    fprintf(out, "leads %d %d\n", getsid(0) == getpid(), getpgrp() == getpid());
    fprintf(out, "nice %d\n", getpriority(PRIO_PROCESS, 0));
    fprintf(out, "ionice %ld\n",
            syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
    fprintf(out, "scheduler %d %d\n", sched_getscheduler(0),
            param.sched_priority);
    fprintf(out, "death %d\n", death);
    fprintf(out, "personality %d\n", personality(0xffffffff));
    fprintf(out, "dumpable %d\n", prctl(PR_GET_DUMPABLE));
    fprintf(out, "securebits %d\n", prctl(PR_GET_SECUREBITS));
}

static int dump_to(const char *where)
{
    char *text = NULL, byte, part[4096];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    int fd = atoi(where);

    if (!out)
        fail("open_memstream");
    dump(out, -1);
    fprintf(out, "input ");
    for (ssize_t n; where[0] != '/' && (n = read(0, part, sizeof(part))) > 0;)
        fwrite(part, 1, (size_t)n, out);
    fprintf(out, "\n");
    fclose(out);
    if (where[0] == '/') {
        /* It is there when all of it is. */
        snprintf(part, sizeof(part), "%s.new", where);
        fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        (void)!chmod(part, 0666);
    }
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        fail(where);
    free(text);
    if (where[0] == '/') {
        if (rename(part, where) < 0)
            fail(where);
        while (read(3, &byte, 1) > 0)
            ;
    }
    return 0;
}

/* --------------------------------------------------------------------- odd */

static void odd_signals(void)
{
    unsigned long ignore[8] = {(unsigned long)SIG_IGN};
    sigset_t all;

    for (int i = 1; i <= 64; i++) /* KILL and STOP cannot be */
        (void)syscall(SYS_rt_sigaction, i, ignore, NULL, 8UL);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}

/* Open in whom is started, and a terminal that controls it. */
static void odd_descriptors(void)
{
    int master, slave, ends[2];

    if (setsid() < 0)
        fail("setsid");
    master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        fail("a terminal");
    slave = open(ptsname(master), O_RDWR);
    if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        fail("a terminal that controls");
    if (pipe(ends) < 0 || open("/", O_RDONLY | O_DIRECTORY) < 0 ||
        dup2(ends[1], 42) < 0 || socket(AF_INET, SOCK_DGRAM, 0) < 0)
        fail("descriptors");
}

static void odd_variables(void)
{
    static char *const junk[] = {
        "JUNK=x",          "LD_JUNK=x",       "NOTIFY_SOCKET=/nowhere",
        "WATCHDOG_PID=1",  "LISTEN_PID=1",    "LISTEN_FDS=1",
        "YOKE_JOB=j1",     "YOKE_SCOPE=j1.1", "YOKE_TOKEN=j1.1",
        "YOKE_RESULT=/x",  "BASH_ENV=/x",     "IFS=x",
        "YOKE_PASSWORD=x", "YOKE_WORKER_FD=3"};

    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
        (void)putenv(junk[i]);
}

static void odd_limits(void)
{
    /* AddressSanitizer sets the soft limit of core files to 0 itself. */
    const struct rlimit files = {4000, 4096}, core = {0, 1 << 21};
    FILE *oom;

    if (setrlimit(RLIMIT_NOFILE, &files) < 0 ||
        setrlimit(RLIMIT_CORE, &core) < 0)
        fail("setrlimit");
    oom = fopen("/proc/self/oom_score_adj", "w");
    if (!oom || fprintf(oom, "300") < 0 || fclose(oom) != 0)
        fail("oom_score_adj");
    umask(0077);
}

/* What only root may have: more than others. */
static void odd_privileges(void)
{
    const struct sched_param param = {.sched_priority = 1};
    if (setpriority(PRIO_PROCESS, 0, -5) < 0)
        fail("setpriority");
    if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 3)) < 0)
        fail("ioprio_set");
    /* Kernels that divide that time among cgroups may have none for us. */
    (void)sched_setscheduler(0, SCHED_RR, &param);
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "odd");
}

/* Capabilities for what is started, whoever runs it. */
static void odd_capabilities(uid_t uid)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (prctl(PR_SET_KEEPCAPS, 1) < 0 ||
        (uid && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)))
        fail("setresuid");
    if (syscall(SYS_capget, &header, data) < 0)
        fail("capget");
    data[0].effective = data[0].permitted;
    data[0].inheritable = 1u << CAP_SYS_NICE | 1u << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capset, &header, data) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_NICE, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0,
              0) < 0)
        fail("ambient capabilities");
}

int main(int argc, char **argv)
{
    bool root = geteuid() == 0;

    if (argc >= 2 && strcmp(argv[1], "dump") == 0)
        return dump_to(argc > 2 ? argv[2] : "1");
    if (argc < 4 || strcmp(argv[1], "odd") != 0) {
        fprintf(stderr, "usage: state dump [N | FILE] | odd UID COMMAND...\n");
        return 2;
    }
    odd_descriptors();
    odd_variables();
    odd_limits();
    if (root)
        odd_privileges();
    if (root)
        odd_capabilities((uid_t)atoi(argv[2]));
    odd_signals();
    execv(argv[3], argv + 3);
    fail(argv[3]);
}
