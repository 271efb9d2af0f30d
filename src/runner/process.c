/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/process.h"

#include "runner/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)64 << 10)
#define GUARD_SIZE ((size_t)64 << 10) /* a multiple of every page size */
/* Launches that are kept for the next ones. */
#define IDLE_MAX 32
/* Descriptors that wait to be closed. */
#define CLOSING_MAX 256
#define SELF_FD_MIN 16
/* For so many bytes of its /tmp a child may have one file there. */
#define TMP_FILE_SIZE 4096

/* A child on its way to its program: what it reads, and what it tells. It lies
 * at the upper end of the child's stack. */
struct launch {
    _Alignas(16) TAILQ_ENTRY(launch) link;
    bool flying; /* it is in the list of those */
    /* Not 0 as long as the child uses our memory: the kernel changes that
     * (CLONE_CHILD_CLEARTID). */
    int alive;
    struct process_plan plan;
    const char **programs; /* where it may be; NULL: argv[0] says it */
    int procs;             /* cgroup.procs to enter by, or -1 */
    bool probe;            /* there is no program to run */
    unsigned namespaces;   /* CLONE_NEW*: those that it has of its own */
    char tmp[64];          /* how its /tmp is mounted */
    /* out */
    int error;         /* 0: the program runs */
    const char *stage; /* what failed; NULL: to run the program */
    bool in_dir;       /* it was the directory */
};

TAILQ_HEAD(launch_list, launch);

static struct launch_list flying = TAILQ_HEAD_INITIALIZER(flying);
static struct launch_list idle = TAILQ_HEAD_INITIALIZER(idle);
static size_t nidle;
static int closing[CLOSING_MAX];
static size_t nclosing;
static pid_t self;
static int self_fd = -1; /* a pidfd; kept open in a child that needs it */

/* Signals that were ignored when we were started, or are by us: only these
 * would still be in the child, as there are no handlers. */
static int ignored[64];
static size_t nignored;

/* The kernel's idea of an action; all zero is the default. The C library's
 * function refuses signals that it keeps for itself, but inherits them. */
struct action {
    void (*handler)(int);
    unsigned long rest[7];
};

static void find_ignored(void)
{
    nignored = 0;
    for (int i = 1; i <= 64; i++) {
        struct action a = {0};

        if (syscall(SYS_rt_sigaction, i, NULL, &a, sizeof(uint64_t)) == 0 &&
            a.handler == SIG_IGN)
            ignored[nignored++] = i;
    }
}

/* What the runner has and a child would inherit that raises it above others. */
static struct {
    bool scheduler, nice, ionice, capabilities;
} raised;
static struct __user_cap_header_struct cap_header = {
    .version = _LINUX_CAPABILITY_VERSION_3};
static struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

static void find_raised(void)
{
    int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    long ionice = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);

    raised.scheduler = policy == SCHED_FIFO || policy == SCHED_RR;
    raised.nice = getpriority(PRIO_PROCESS, 0) < 0;
    raised.ionice =
        ionice > 0 && ionice >> IOPRIO_CLASS_SHIFT == IOPRIO_CLASS_RT;
    raised.capabilities = false;
    if (syscall(SYS_capget, &cap_header, caps) < 0)
        return;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        raised.capabilities |= caps[i].inheritable != 0;
        caps[i].inheritable = 0;
    }
}

/* The text of a map of ids that leaves one as it is. */
static char uid_map[32], gid_map[32];
static size_t uid_map_len, gid_map_len;
/* Our namespace of mounts, by its name. */
static char mounts[64];

int process_init(void)
{
    int fd;

    self = getpid();
    find_ignored();
    find_raised();
    uid_map_len = (size_t)snprintf(uid_map, sizeof(uid_map), "%u %u 1\n",
                                   geteuid(), geteuid());
    gid_map_len = (size_t)snprintf(gid_map, sizeof(gid_map), "%u %u 1\n",
                                   getegid(), getegid());
    /* Without a name no child mounts anything. */
    memset(mounts, 0, sizeof(mounts));
    (void)!readlink("/proc/self/ns/mnt", mounts, sizeof(mounts));
    /* Out of the way of what a child has by number. */
    fd = (int)syscall(SYS_pidfd_open, self, 0);
    if (fd < 0)
        return -errno;
    self_fd = fcntl(fd, F_DUPFD_CLOEXEC, SELF_FD_MIN);
    close(fd);
    return self_fd < 0 ? -errno : 0;
}

/* ---------------------------------------------------------------- launches */

static void *launch_mapping(struct launch *l)
{
    return (char *)(l + 1) - STACK_SIZE - GUARD_SIZE;
}

static struct launch *launch_new(void)
{
    struct launch *l = TAILQ_FIRST(&idle);
    char *p;

    if (l) {
        TAILQ_REMOVE(&idle, l, link);
        nidle--;
    } else {
        p = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        if (mprotect(p, GUARD_SIZE, PROT_NONE) < 0) {
            int saved = errno;

            munmap(p, GUARD_SIZE + STACK_SIZE);
            errno = saved;
            return NULL;
        }
        l = (struct launch *)(void *)(p + GUARD_SIZE + STACK_SIZE) - 1;
    }
    *l = (struct launch){.procs = -1};
    return l;
}

static void launch_land(struct launch *l)
{
    if (l->flying)
        TAILQ_REMOVE(&flying, l, link);
    l->flying = false;
}

/* Its child has ended, runs its program, or never was. */
static void launch_free(struct launch *l)
{
    launch_land(l);
    free(l->programs);
    if (nidle >= IDLE_MAX) {
        munmap(launch_mapping(l), GUARD_SIZE + STACK_SIZE);
        return;
    }
    TAILQ_INSERT_HEAD(&idle, l, link);
    nidle++;
}

static bool launch_flies(const struct launch *l)
{
    return __atomic_load_n(&l->alive, __ATOMIC_ACQUIRE) != 0;
}

/* Closes what waits for it, if no child has copies any more. */
static void close_waiting(void)
{
    struct launch *l, *next;

    for (l = TAILQ_FIRST(&flying); l; l = next) {
        next = TAILQ_NEXT(l, link);
        if (!launch_flies(l))
            launch_land(l);
    }
    if (!TAILQ_EMPTY(&flying))
        return;
    while (nclosing > 0)
        close(closing[--nclosing]);
}

void process_close(int fd)
{
    close_waiting();
    /* Where it cannot wait libev finds out, and sets up epoll again. */
    if (TAILQ_EMPTY(&flying) || nclosing == CLOSING_MAX)
        close(fd);
    else
        closing[nclosing++] = fd;
}

void process_clear(void)
{
    struct launch *l;

    while (nclosing > 0)
        close(closing[--nclosing]);
    while ((l = TAILQ_FIRST(&idle))) {
        TAILQ_REMOVE(&idle, l, link);
        munmap(launch_mapping(l), GUARD_SIZE + STACK_SIZE);
    }
    nidle = 0;
    if (self_fd >= 0)
        close(self_fd);
    self_fd = -1;
}

/* ------------------------------------------------------------- in the child */

/* The child shares thread-local storage with the runner, and has a stack that
 * no sanitizer knows: neither they nor the C library have a part in this. */
#define IN_CHILD __attribute__((noinline, no_sanitize("address", "thread")))

/* A system call with up to five words; -errno when it fails. */
#if defined(__x86_64__)
#define HAVE_CLONE3 1
static IN_CHILD long bare5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long ret = number;

    __asm__ volatile("syscall"
                     : "+a"(ret)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}
#elif defined(__aarch64__)
#define HAVE_CLONE3 1
static IN_CHILD long bare5(long number, long a, long b, long c, long d, long e)
{
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x8 __asm__("x8") = number;

    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x8)
                     : "memory", "cc");
    return x0;
}
#else
/* The runner stands still: errno can be borrowed. */
static IN_CHILD long bare5(long number, long a, long b, long c, long d, long e)
{
    long ret = syscall(number, a, b, c, d, e);

    return ret < 0 ? -errno : ret;
}
#endif

static IN_CHILD long bare(long number, long a, long b, long c, long d)
{
    return bare5(number, a, b, c, d, 0);
}

static IN_CHILD int child_fail(struct launch *l, long rc, const char *stage)
{
    l->error = (int)-rc;
    l->stage = stage;
    return 127;
}

/* Runs the program from the first place that has it; returns why not. */
static IN_CHILD long child_exec(const struct launch *l)
{
    const struct process_plan *plan = &l->plan;
    long rc = -ENOENT, last;

    if (!l->programs)
        return bare(SYS_execve, (long)plan->argv[0], (long)plan->argv,
                    (long)plan->env, 0);
    for (const char **file = l->programs; *file; file++) {
        last =
            bare(SYS_execve, (long)*file, (long)plan->argv, (long)plan->env, 0);
        if (last == -EACCES)
            rc = last;
        else if (last != -ENOENT && last != -ENOTDIR)
            return last;
    }
    return rc;
}

/* Descriptors first: see process_close. */
static IN_CHILD long child_descriptors(const struct process_plan *plan)
{
    bool keeps_self = plan->attributes && plan->attributes->private_pids;
    const int *extra = plan->extra;
    long first = extra[1] > 0 ? 5 : extra[0] > 0 ? 4 : 3; /* to close */
    long rc = bare(SYS_dup3, plan->in, 0, 0, 0);

    if (rc >= 0)
        rc = bare(SYS_dup3, plan->out, 1, 0, 0);
    if (rc >= 0)
        rc = bare(SYS_dup3, plan->err, 2, 0, 0);
    /* dup3 refuses to copy 3 to itself. */
    if (rc >= 0 && extra[0] == 3)
        rc = bare(SYS_fcntl, 3, F_SETFD, 0, 0);
    else if (rc >= 0 && extra[0] > 0)
        rc = bare(SYS_dup3, extra[0], 3, 0, 0);
    if (rc >= 0 && extra[1] > 0)
        rc = bare(SYS_dup3, extra[1], 4, 0, 0);
    if (rc >= 0 && extra[1] > 0 && extra[0] == 0)
        rc = bare(SYS_close_range, 3, 3, 0, 0);
    if (rc >= 0 && keeps_self) {
        rc = bare(SYS_close_range, first, self_fd - 1, 0, 0);
        first = self_fd + 1;
    }
    if (rc >= 0)
        rc = bare(SYS_close_range, first, ~0U, 0, 0);
    return rc;
}

static IN_CHILD char *child_copy(char *to, const char *from)
{
    while (*from)
        *to++ = *from++;
    return to;
}

/* The path of its descriptor: who it is in a namespace of processes is known
 * there alone. */
static IN_CHILD void child_write_path(char *to, char digit)
{
    long pid = bare(SYS_getpid, 0, 0, 0, 0), unit = 1;

    to = child_copy(to, "/proc/");
    while (pid / unit >= 10)
        unit *= 10;
    for (; unit > 0; unit /= 10)
        *to++ = (char)('0' + pid / unit % 10);
    to = child_copy(to, "/fd/");
    *to++ = digit;
    *to = '\0';
}

/* It dies with the runner, which may have died before that. */
static IN_CHILD const char *child_tie(const struct process_plan *plan, long *rc)
{
    static const struct timespec now;
    struct pollfd end = {.fd = self_fd, .events = POLLIN};

    *rc = bare(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if (*rc < 0)
        return "cannot be tied to the runner";
    if (plan->attributes && plan->attributes->private_pids)
        *rc =
            bare5(SYS_ppoll, (long)&end, 1, (long)&now, 0, 0) == 0 ? 0 : -ESRCH;
    else
        *rc = bare(SYS_getppid, 0, 0, 0, 0) == self ? 0 : -ESRCH;
    return *rc < 0 ? "cannot be tied to the runner" : NULL;
}

static IN_CHILD long child_write(const char *file, const char *text, size_t len)
{
    long fd = bare(SYS_openat, AT_FDCWD, (long)file, O_WRONLY | O_CLOEXEC, 0);
    long rc = fd < 0 ? fd : bare(SYS_write, fd, (long)text, (long)len, 0);

    if (fd >= 0)
        bare(SYS_close, fd, 0, 0, 0);
    return rc;
}

/* What is mounted in our own namespace would hide the files of the whole
 * machine: so it is not enough to have asked for another one. */
static IN_CHILD long child_is_apart(void)
{
    char mine[sizeof(mounts)];
    long n = bare(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/ns/mnt",
                  (long)mine, sizeof(mine));

    if (n < 0)
        return n;
    if (!mounts[0])
        return -ENOENT;
    for (long i = 0; i < n; i++) {
        if (mine[i] != mounts[i])
            return 0;
    }
    return -EXDEV;
}

/* What belongs into the namespaces that it was started with. */
static IN_CHILD const char *child_namespaces(const struct launch *l, long *rc)
{
    const struct attributes *a = l->plan.attributes;

    if (l->namespaces & CLONE_NEWUSER) {
        *rc = child_write("/proc/self/setgroups", "deny", 4);
        if (*rc >= 0)
            *rc = child_write("/proc/self/uid_map", uid_map, uid_map_len);
        if (*rc >= 0)
            *rc = child_write("/proc/self/gid_map", gid_map, gid_map_len);
        if (*rc < 0)
            return "cannot keep its ids in a namespace of users";
    }
    if (!l->namespaces)
        return NULL;
    *rc = child_is_apart();
    if (*rc < 0)
        return "is not in a namespace of mounts of its own";
    /* Nothing of it is seen outside. */
    if ((*rc = bare5(SYS_mount, (long)"none", (long)"/", 0, MS_REC | MS_PRIVATE,
                     0)) < 0)
        return "cannot have mounts of its own";
    if (a->private_tmp &&
        (*rc = bare5(SYS_mount, (long)"tmpfs", (long)"/tmp", (long)"tmpfs",
                     MS_NOSUID | MS_NODEV, (long)l->tmp)) < 0)
        return "cannot have a /tmp of its own";
    if (a->private_pids &&
        (*rc = bare5(SYS_mount, (long)"proc", (long)"/proc", (long)"proc",
                     MS_NOSUID | MS_NODEV | MS_NOEXEC, 0)) < 0)
        return "cannot have a /proc of its own";
    return NULL;
}

/* What raises the runner above others is not the job's. */
static IN_CHILD const char *child_lower(const struct launch *l, long *rc)
{
    static const struct sched_param none;

    if (raised.scheduler && (*rc = bare(SYS_sched_setscheduler, 0, SCHED_OTHER,
                                        (long)&none, 0)) < 0)
        return "cannot lower its scheduling policy";
    if (raised.nice && (*rc = bare(SYS_setpriority, PRIO_PROCESS, 0, 0, 0)) < 0)
        return "cannot lower its nice value";
    if (raised.ionice &&
        (*rc = bare(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0, 0)) < 0)
        return "cannot lower its I/O priority";
    /* Those that are inherited, and with them the ambient ones. In a namespace
     * of users it has none of ours. */
    if (raised.capabilities && !(l->namespaces & CLONE_NEWUSER) &&
        (*rc = bare(SYS_capset, (long)&cap_header, (long)caps, 0, 0)) < 0)
        return "cannot drop capabilities";
    return NULL;
}

/* What the runner may still do. Returns what failed, or NULL. */
static IN_CHILD const char *child_resources(const struct attributes *a,
                                            long *rc)
{
    const struct attributes_limits *limits = &a->limits;

    if (a->nice != ATTRIBUTES_UNSET &&
        (*rc = bare(SYS_setpriority, PRIO_PROCESS, 0, (long)a->nice, 0)) < 0)
        return "cannot set its nice value";
    if (a->ionice != 0 && (*rc = bare(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                                      (long)a->ionice, 0)) < 0)
        return "cannot set its I/O priority";
    for (size_t i = 0; i < limits->count; i++) {
        *rc = bare(SYS_prlimit64, 0, limits->items[i].resource,
                   (long)&limits->items[i].limit, 0);
        if (*rc < 0)
            return "cannot set its rlimits";
    }
    return NULL;
}

/* The user after the groups: with it goes the right to set them. */
static IN_CHILD const char *child_rights(const struct attributes *a, long *rc)
{
    const struct account *who = &a->account;
    const char *failed = "cannot become its user";

    /* Who has a keyring may use the keys in it, whoever owns them. Kernels and
     * filters of system calls may not know any keys. */
    if (who->changes &&
        (*rc = bare(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0)) < 0 &&
        *rc != -ENOSYS && *rc != -EPERM)
        return "cannot have a keyring of its own";
    if (who->sets_groups && (*rc = bare(SYS_setgroups, (long)who->ngroups,
                                        (long)who->groups, 0, 0)) < 0)
        return failed;
    if (who->changes &&
        (*rc = bare(SYS_setresgid, who->gid, who->gid, who->gid, 0)) < 0)
        return failed;
    if (who->changes &&
        (*rc = bare(SYS_setresuid, who->uid, who->uid, who->uid, 0)) < 0)
        return failed;
    if (a->no_new_privileges &&
        (*rc = bare(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0)) < 0)
        return "cannot give up new privileges";
    return NULL;
}

static IN_CHILD int child_main(void *arg)
{
    static const struct action standard;
    static const uint64_t none;
    struct launch *l = arg;
    const struct process_plan *plan = &l->plan;
    const char *stage;
    long rc;

    if (l->procs >= 0 && (rc = bare(SYS_write, l->procs, (long)"0", 1, 0)) < 0)
        return child_fail(l, rc, "cannot enter its cgroup");
    rc = child_descriptors(plan);
    if (rc < 0)
        return child_fail(l, rc, "cannot set up descriptors");
    stage = child_tie(plan, &rc);
    if (stage)
        return child_fail(l, rc, stage);
    rc = bare(SYS_setsid, 0, 0, 0, 0);
    if (rc < 0)
        return child_fail(l, rc, "cannot get a session");
    if (plan->files &&
        (rc = bare(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)plan->files, 0)) < 0)
        return child_fail(l, rc, "cannot set limits");
    for (size_t i = 0; i < nignored; i++)
        bare(SYS_rt_sigaction, ignored[i], (long)&standard, 0,
             sizeof(uint64_t));
    bare(SYS_umask, plan->umask_bits, 0, 0, 0);
    stage = child_lower(l, &rc);
    if (stage)
        return child_fail(l, rc, stage);
    if (plan->attributes) {
        stage = child_resources(plan->attributes, &rc);
        if (!stage)
            stage = child_namespaces(l, &rc);
        if (!stage)
            stage = child_rights(plan->attributes, &rc);
        /* The kernel forgets the tie when the user changes. */
        if (!stage)
            stage = child_tie(plan, &rc);
        if (stage)
            return child_fail(l, rc, stage);
    }
    if (l->probe)
        return 0;
    for (int i = 0; i < 2; i++) {
        if (plan->paths[i])
            child_write_path(plan->paths[i], (char)('3' + i));
    }
    rc = bare(SYS_chdir, (long)plan->dir, 0, 0, 0);
    if (rc < 0) {
        l->in_dir = true;
        return child_fail(l, rc, NULL);
    }
    bare(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof(none));
    return child_fail(l, child_exec(l), NULL);
}

/* ------------------------------------------------------------ in the parent */

/*
 * clone3 with a stack of the child's own. There is no function for it in the C
 * library, and syscall(2) cannot be used: the child would return on the
 * parent's stack.
 */
#if defined(__x86_64__)
static long clone3_call(struct clone_args *args, size_t size, int (*fn)(void *),
                        void *arg)
{
    register int (*r8)(void *) __asm__("r8") = fn;
    register void *r9 __asm__("r9") = arg;
    long ret = SYS_clone3;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r9, %%rdi\n\t"
                     "call *%%r8\n\t"
                     "mov %%eax, %%edi\n\t"
                     "mov %[leave], %%eax\n\t"
                     "syscall\n\t"
                     "1:"
                     : "+a"(ret)
                     : "D"(args), "S"(size), "r"(r8),
                       "r"(r9), [leave] "i"(SYS_exit_group)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}
#elif defined(__aarch64__)
static long clone3_call(struct clone_args *args, size_t size, int (*fn)(void *),
                        void *arg)
{
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)size;
    register long x8 __asm__("x8") = SYS_clone3;
    register int (*x2)(void *) __asm__("x2") = fn;
    register void *x3 __asm__("x3") = arg;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x3\n\t"
                     "blr x2\n\t"
                     "mov x8, %[leave]\n\t"
                     "svc #0\n\t"
                     "1:"
                     : "+r"(x0)
                     : "r"(x1), "r"(x8), "r"(x2),
                       "r"(x3), [leave] "i"(SYS_exit_group)
                     : "x30", "memory", "cc");
    return x0;
}
#endif

/* Without clone3 the child enters its cgroup itself, before it is a program;
 * that is as safe, and slower. */
static int start_by_clone(struct launch *l, struct process *out)
{
    int pidfd = -1, rc = 0;
    pid_t pid;

    if (l->plan.cgroup >= 0) {
        l->procs = openat(l->plan.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (l->procs < 0)
            return -errno;
    }
    l->alive = 0;
    pid = clone(child_main, l,
                (int)l->namespaces | CLONE_VM | CLONE_VFORK | CLONE_PIDFD |
                    SIGCHLD,
                l, &pidfd);
    if (pid < 0)
        rc = -errno;
    else
        *out = (struct process){.pid = pid, .pidfd = pidfd, .launch = l};
    if (l->procs >= 0)
        close(l->procs);
    return rc;
}

static int launch_start(struct launch *l, struct process *out)
{
#ifdef HAVE_CLONE3
    static bool missing; /* an old kernel, or a filter of system calls */
    char *stack = (char *)launch_mapping(l) + GUARD_SIZE;
    int pidfd = -1;
    /* When its cgroup is out of memory the kernel kills all that share the
     * memory of whom it picks, but spares who is waited for as by vfork(2). */
    unsigned waited_for = l->plan.memory_bound ? CLONE_VFORK : 0;
    struct clone_args args = {
        /* A handler of ours would run in our memory. */
        .flags = CLONE_VM | CLONE_CHILD_CLEARTID | CLONE_CLEAR_SIGHAND |
                 CLONE_PIDFD | l->namespaces | waited_for,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .child_tid = (uint64_t)(uintptr_t)&l->alive,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = (uint64_t)((char *)l - stack),
    };
    long pid;

    if (!missing) {
        if (l->plan.cgroup >= 0) {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = (unsigned)l->plan.cgroup;
        }
        l->alive = 1;
        pid = clone3_call(&args, sizeof(args), child_main, l);
        if (pid > 0) {
            l->flying = true;
            TAILQ_INSERT_TAIL(&flying, l, link);
            *out = (struct process){
                .pid = (pid_t)pid, .pidfd = pidfd, .launch = l};
            return 0;
        }
        if (pid != -ENOSYS && pid != -EINVAL)
            return (int)pid;
        /* Or a kernel without such namespaces. */
        missing = l->namespaces == 0;
    }
#endif
    return start_by_clone(l, out);
}

/* Those that the plan wants. What we may not do as we are may be done in a
 * namespace of users. */
static unsigned namespaces_of(const struct attributes *a)
{
    unsigned flags = 0;

    if (a && a->private_tmp)
        flags |= CLONE_NEWNS;
    if (a && a->private_pids)
        flags |= CLONE_NEWNS | CLONE_NEWPID;
    if (flags && geteuid() != 0)
        flags |= CLONE_NEWUSER;
    return flags;
}

static int start_child(struct launch *l, struct process *out)
{
    const struct attributes *a = l->plan.attributes;

    l->namespaces = namespaces_of(a);
    /* An empty file takes none of the bytes, but memory all the same. */
    if (a && a->private_tmp)
        snprintf(l->tmp, sizeof(l->tmp),
                 "mode=1777,size=%" PRId64 ",nr_inodes=%" PRId64, a->tmp_max,
                 a->tmp_max / TMP_FILE_SIZE);
    return launch_start(l, out);
}

int process_probe(const struct process_plan *plan, char *why, size_t why_size)
{
    struct launch *l = launch_new();
    struct process process = {.pid = -1};
    siginfo_t end;
    int rc;

    if (!l)
        return -errno;
    l->plan = *plan;
    l->probe = true;
    rc = start_child(l, &process);
    if (rc == 0) {
        (void)waitid(P_PID, (id_t)process.pid, &end, WEXITED | __WALL);
        close(process.pidfd);
        rc = -l->error;
    }
    snprintf(why, why_size, "%s: %s", l->stage ? l->stage : "cannot be started",
             strerror(-rc));
    launch_free(l);
    return rc;
}

static const char *value_of(char *const *env, const char *prefix)
{
    for (; *env; env++) {
        if (strncmp(*env, prefix, strlen(prefix)) == 0)
            return *env + strlen(prefix);
    }
    return NULL;
}

/* The files that a name may stand for, in one piece of memory. An entry of PATH
 * that is empty means the working directory to a shell, and nothing here. */
static const char **find_programs(const char *path, const char *name)
{
    size_t len = strlen(name), count = 1;
    const char **files, **file;
    char *text;

    for (const char *p = path; *p; p++)
        count += *p == ':';
    files = memory_new((count + 1) * sizeof(*files) + strlen(path) + 1 +
                       count * (len + 2));
    text = (char *)(files + count + 1);
    file = files;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, ":");

        if (n > 0 && n + len + 2 <= PATH_MAX) {
            *file++ = text;
            memcpy(text, p, n);
            text[n] = '/';
            memcpy(text + n + 1, name, len + 1);
            text += n + len + 2;
        }
        p += n + (p[n] == ':');
    }
    return files;
}

int process_start(const struct process_plan *plan, struct process *out,
                  char *why, size_t why_size)
{
    struct launch *l = launch_new();
    const char *path;
    int rc = -errno;

    if (l) {
        l->plan = *plan;
        if (!strchr(plan->argv[0], '/')) {
            path = value_of(plan->env, "PATH=");
            l->programs = find_programs(
                path ? path : "/usr/local/bin:/usr/bin:/bin", plan->argv[0]);
        }
        rc = start_child(l, out);
    }
    if (rc < 0) {
        if (l)
            launch_free(l);
        snprintf(why, why_size, "cannot start a process: %s", strerror(-rc));
    }
    return rc;
}

bool process_settled(struct process *p)
{
    struct launch *l = p->launch;

    close_waiting();
    if (!l)
        return true;
    if (launch_flies(l) || l->error != 0)
        return false;
    launch_free(l);
    p->launch = NULL;
    return true;
}

int process_ended(struct process *p, char *why, size_t why_size)
{
    struct launch *l = p->launch;
    int rc;

    if (!l)
        return 0;
    rc = -l->error;
    if (l->in_dir)
        snprintf(why, why_size, "cannot enter '%.400s': %s", l->plan.dir,
                 strerror(-rc));
    else if (l->stage)
        snprintf(why, why_size, "cannot run '%.400s': it %s: %s",
                 l->plan.argv[0], l->stage, strerror(-rc));
    else if (rc < 0)
        snprintf(why, why_size, "cannot run '%.400s': %s", l->plan.argv[0],
                 strerror(-rc));
    launch_free(l);
    p->launch = NULL;
    close_waiting();
    return rc;
}

void process_outcome(const siginfo_t *end, char *class_name, size_t class_size,
                     char *text, size_t text_size)
{
    const char *name;
    char number[16];

    if (end->si_code == CLD_EXITED) {
        if (end->si_status == 0) {
            class_name[0] = '\0';
            snprintf(text, text_size, "exited with status 0");
            return;
        }
        snprintf(class_name, class_size, "exit:%d", end->si_status);
        snprintf(text, text_size, "exited with status %d", end->si_status);
        return;
    }
    /* Real-time signals have no names. */
    name = sigabbrev_np(end->si_status);
    snprintf(number, sizeof(number), "%d", end->si_status);
    snprintf(class_name, class_size, "signal:%s", name ? name : number);
    snprintf(text, text_size, "killed by signal %s%s", name ? name : number,
             end->si_code == CLD_DUMPED ? " (core dumped)" : "");
}
