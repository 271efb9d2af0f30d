/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)256 << 10)
#define GUARD_SIZE ((size_t)64 << 10) /* a multiple of every page size */

/* The one stack on which children run until they are a program; the runner
 * stands still meanwhile. */
static char *process_stack;

/* What the child reads, and what it tells. */
struct child {
    const struct process_plan *plan;
    pid_t parent;
    const char *path; /* the value of PATH, never NULL */
    int procs;        /* cgroup.procs to enter by, or -1 */
    /* out */
    int error;         /* 0: the program runs */
    const char *stage; /* what failed; NULL: to run the program */
    bool in_dir;       /* it was the directory */
};

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

int process_init(void)
{
    void *p = mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    if (mprotect(p, GUARD_SIZE, PROT_NONE) < 0) {
        int rc = -errno;

        munmap(p, STACK_SIZE + GUARD_SIZE);
        return rc;
    }
    process_stack = p;
    find_ignored();
    return 0;
}

void process_clear(void)
{
    if (process_stack)
        munmap(process_stack, STACK_SIZE + GUARD_SIZE);
    process_stack = NULL;
}

/* ------------------------------------------------------------- in the child */

/* AddressSanitizer must not watch frames that are never left. */
#define IN_CHILD __attribute__((noinline, no_sanitize("address")))

static IN_CHILD int child_fail(struct child *c, const char *stage)
{
    c->error = errno;
    c->stage = stage;
    return 127;
}

/* Runs the program from the first directory of PATH that has it. An entry
 * that is empty means the working directory to a shell, and nothing here. */
static IN_CHILD void child_search(struct child *c, const char *name)
{
    size_t len = strlen(name);
    char file[4096];
    int error = ENOENT;

    for (const char *p = c->path; *p;) {
        size_t n = strcspn(p, ":");

        if (n > 0 && n + len + 2 <= sizeof(file)) {
            memcpy(file, p, n);
            file[n] = '/';
            memcpy(file + n + 1, name, len + 1);
            execve(file, c->plan->argv, c->plan->env);
            if (errno == EACCES)
                error = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                return;
        }
        p += n + (p[n] == ':');
    }
    errno = error;
}

static IN_CHILD int child_main(void *arg)
{
    struct child *c = arg;
    const struct process_plan *plan = c->plan;
    const struct action standard = {0};
    sigset_t none;

    if (c->procs >= 0 && write(c->procs, "0", 1) < 0)
        return child_fail(c, "cannot enter its cgroup");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return child_fail(c, "cannot be tied to the runner");
    /* The runner may have died before that. */
    if (getppid() != c->parent)
        return 127;
    if (setsid() < 0)
        return child_fail(c, "cannot get a session");
    if (dup2(plan->in, 0) < 0 || dup2(plan->out, 1) < 0 ||
        dup2(plan->err, 2) < 0 || close_range(3, ~0U, 0) < 0)
        return child_fail(c, "cannot set up descriptors");
    if (plan->files && setrlimit(RLIMIT_NOFILE, plan->files) < 0)
        return child_fail(c, "cannot set limits");
    for (size_t i = 0; i < nignored; i++)
        syscall(SYS_rt_sigaction, ignored[i], &standard, NULL,
                sizeof(uint64_t));
    umask(plan->umask_bits);
    if (chdir(plan->dir) < 0) {
        c->in_dir = true;
        return child_fail(c, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (strchr(plan->argv[0], '/'))
        execve(plan->argv[0], plan->argv, plan->env);
    else
        child_search(c, plan->argv[0]);
    return child_fail(c, NULL);
}

/* Nothing but being there. */
static IN_CHILD int child_probe(void *arg)
{
    struct child *c = arg;

    if (c->procs >= 0 && write(c->procs, "0", 1) < 0)
        return child_fail(c, NULL);
    return 0;
}

/* ------------------------------------------------------------ in the parent */

/*
 * clone3 with a stack of the child's own. There is no function for it in the C
 * library, and syscall(2) cannot be used: the child would return on the
 * parent's stack.
 */
#if defined(__x86_64__)
#define HAVE_CLONE3 1
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
#define HAVE_CLONE3 1
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
static int start_by_clone(struct child *c, int (*fn)(void *),
                          struct process *out)
{
    int pidfd = -1, procs = -1;
    pid_t pid;

    if (c->plan->cgroup >= 0) {
        procs = openat(c->plan->cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (procs < 0)
            return -errno;
    }
    c->procs = procs;
    pid = clone(fn, process_stack + GUARD_SIZE + STACK_SIZE,
                CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, c, &pidfd);
    if (pid < 0) {
        int rc = -errno;

        if (procs >= 0)
            close(procs);
        return rc;
    }
    if (procs >= 0)
        close(procs);
    *out = (struct process){.pid = pid, .pidfd = pidfd};
    return 0;
}

static int start_child(struct child *c, int (*fn)(void *), struct process *out)
{
#ifdef HAVE_CLONE3
    static bool missing; /* an old kernel, or a filter of system calls */
    int pidfd = -1;
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)(process_stack + GUARD_SIZE),
        .stack_size = STACK_SIZE,
    };
    long pid;

    if (!missing) {
        if (c->plan->cgroup >= 0) {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = (unsigned)c->plan->cgroup;
        }
        pid = clone3_call(&args, sizeof(args), fn, c);
        if (pid > 0) {
            *out = (struct process){.pid = (pid_t)pid, .pidfd = pidfd};
            return 0;
        }
        if (pid != -ENOSYS && pid != -EINVAL)
            return (int)pid;
        missing = true;
    }
#endif
    return start_by_clone(c, fn, out);
}

int process_probe(int cgroup)
{
    struct process_plan plan = {.cgroup = cgroup};
    struct child c = {.plan = &plan, .parent = getpid(), .procs = -1};
    struct process process;
    siginfo_t end;
    int rc = start_child(&c, child_probe, &process);

    if (rc < 0)
        return rc;
    (void)waitid(P_PID, (id_t)process.pid, &end, WEXITED | __WALL);
    close(process.pidfd);
    return -c.error;
}

static const char *value_of(char *const *env, const char *prefix)
{
    for (; *env; env++) {
        if (strncmp(*env, prefix, strlen(prefix)) == 0)
            return *env + strlen(prefix);
    }
    return NULL;
}

int process_start(const struct process_plan *plan, struct process *out,
                  char *why, size_t why_size)
{
    struct child c = {.plan = plan, .parent = getpid(), .procs = -1};
    siginfo_t end;
    int rc;

    c.path = value_of(plan->env, "PATH=");
    if (!c.path)
        c.path = "/usr/local/bin:/usr/bin:/bin";
    rc = start_child(&c, child_main, out);
    if (rc < 0) {
        snprintf(why, why_size, "cannot start a process: %s", strerror(-rc));
        return rc;
    }
    if (c.error == 0)
        return 0;
    (void)waitid(P_PID, (id_t)out->pid, &end, WEXITED | __WALL); /* it exits */
    close(out->pidfd);
    if (c.in_dir)
        snprintf(why, why_size, "cannot enter '%.400s': %s", plan->dir,
                 strerror(c.error));
    else if (c.stage)
        snprintf(why, why_size, "cannot run '%.400s': it %s: %s", plan->argv[0],
                 c.stage, strerror(c.error));
    else
        snprintf(why, why_size, "cannot run '%.400s': %s", plan->argv[0],
                 strerror(c.error));
    return -c.error;
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
