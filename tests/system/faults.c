/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * faults - stands between a program and its C library (LD_PRELOAD), counts the
 * calls that a durable path is made of, over all threads, and lets chosen ones
 * fail, end the process, or lie; and sets its clock.
 *
 * A page that is shared with the test says what (YOKE_FAULTS names the file)
 * and hears what came. The test finds the counters by the names beside them.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* All that allocates is one call here, and so is all that opens, renames, ...
 */
#define CALLS(X)      \
    X(open)           \
    X(pread)          \
    X(pwrite)         \
    X(write)          \
    X(fdatasync)      \
    X(fsync)          \
    X(rename)         \
    X(unlink)         \
    X(mkdir)          \
    X(rmdir)          \
    X(chown)          \
    X(ftruncate)      \
    X(fstat)          \
    X(flock)          \
    X(scandir)        \
    X(pthread_create) \
    X(malloc)

enum call {
#define X(name) CALL_##name,
    CALLS(X)
#undef X
        CALL_COUNT
};

static const char *const names[] = {
#define X(name) #name,
    CALLS(X)
#undef X
};

enum action { FAIL, KILL, HALF };

/* tests/system/faulty.py knows this layout. */
struct page {
    char call[16];
    int64_t action;
    int64_t error;       /* for FAIL */
    int64_t first, last; /* of these occurrences, from 1 */
    _Atomic int64_t came;
    _Atomic int64_t lying; /* syncs say that they are done */
    _Atomic int64_t ahead; /* the clock of the machine was set by so many s */
    struct {
        char name[16];
        _Atomic int64_t seen;
    } calls[CALL_COUNT];
};

static struct page nobody, *page = &nobody;

/* What was called before it was not counted. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("YOKE_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0)
        return;
    map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        abort();
    page = map;
    for (int i = 0; i < CALL_COUNT; i++)
        strncpy(page->calls[i].name, names[i], sizeof(page->calls[i].name) - 1);
    (void)close(fd);
}

/* Is this one to be disturbed? Does not return if it is the last. */
static bool disturbed(enum call call)
{
    int64_t n = atomic_fetch_add(&page->calls[call].seen, 1) + 1;

    if (strcmp(page->call, names[call]) != 0 || n < page->first ||
        n > page->last)
        return false;
    atomic_fetch_add(&page->came, 1);
    if (page->action == KILL)
        (void)kill(getpid(), SIGKILL);
    errno = (int)page->error;
    return true;
}

static bool lies(void)
{
    return atomic_load(&page->lying) != 0;
}

/* The function of that name behind this one. */
#define BEHIND(name)                 \
    static __typeof__(name) *behind; \
    if (!behind)                     \
    *(void **)&behind = dlsym(RTLD_NEXT, #name)

/* -- What opens ------------------------------------------------------------ */

#define OPEN(name, parameters, arguments)                                  \
    int name parameters                                                    \
    {                                                                      \
        va_list more;                                                      \
        mode_t mode;                                                       \
        BEHIND(name);                                                      \
                                                                           \
        va_start(more, flags);                                             \
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                      \
        return disturbed(CALL_open) ? -1 : behind arguments;               \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int dir, const char *path, int flags, ...),
     (dir, path, flags, mode))
OPEN(openat64, (int dir, const char *path, int flags, ...),
     (dir, path, flags, mode))

#define STREAM(name)                                             \
    FILE *name(const char *path, const char *mode)               \
    {                                                            \
        BEHIND(name);                                            \
        return disturbed(CALL_open) ? NULL : behind(path, mode); \
    }
STREAM(fopen)
STREAM(fopen64)

/* -- What has one result, and -1 when it fails ----------------------------- */

#define PLAIN(call, name, type, parameters, arguments)               \
    type name parameters                                             \
    {                                                                \
        BEHIND(name);                                                \
        return disturbed(CALL_##call) ? (type)-1 : behind arguments; \
    }

PLAIN(pread, pread, ssize_t, (int fd, void *to, size_t n, off_t at),
      (fd, to, n, at))
PLAIN(pread, pread64, ssize_t, (int fd, void *to, size_t n, off64_t at),
      (fd, to, n, at))
PLAIN(rename, rename, int, (const char *from, const char *to), (from, to))
PLAIN(rename, renameat, int,
      (int from_dir, const char *from, int to_dir, const char *to),
      (from_dir, from, to_dir, to))
PLAIN(rename, renameat2, int,
      (int from_dir, const char *from, int to_dir, const char *to,
       unsigned flags),
      (from_dir, from, to_dir, to, flags))
PLAIN(unlink, unlink, int, (const char *path), (path))
PLAIN(unlink, unlinkat, int, (int dir, const char *path, int flags),
      (dir, path, flags))
PLAIN(mkdir, mkdir, int, (const char *path, mode_t mode), (path, mode))
PLAIN(rmdir, rmdir, int, (const char *path), (path))
PLAIN(chown, chown, int, (const char *path, uid_t user, gid_t group),
      (path, user, group))
PLAIN(chown, fchown, int, (int fd, uid_t user, gid_t group), (fd, user, group))
PLAIN(chown, fchownat, int,
      (int dir, const char *path, uid_t user, gid_t group, int flags),
      (dir, path, user, group, flags))
PLAIN(ftruncate, ftruncate, int, (int fd, off_t size), (fd, size))
PLAIN(ftruncate, ftruncate64, int, (int fd, off64_t size), (fd, size))
PLAIN(fstat, fstat, int, (int fd, struct stat *to), (fd, to))
PLAIN(flock, flock, int, (int fd, int what), (fd, what))
PLAIN(scandir, scandir, int,
      (const char *path, struct dirent ***to,
       int (*which)(const struct dirent *),
       int (*order)(const struct dirent **, const struct dirent **)),
      (path, to, which, order))

/* -- What can write less than it should ------------------------------------ */

#define WRITES(call, name, parameters, arguments, fewer) \
    ssize_t name parameters                              \
    {                                                    \
        BEHIND(name);                                    \
        if (!disturbed(CALL_##call))                     \
            return behind arguments;                     \
        return page->action == HALF ? behind fewer : -1; \
    }
WRITES(pwrite, pwrite, (int fd, const void *from, size_t n, off_t at),
       (fd, from, n, at), (fd, from, n / 2, at))
WRITES(pwrite, pwrite64, (int fd, const void *from, size_t n, off64_t at),
       (fd, from, n, at), (fd, from, n / 2, at))
WRITES(write, write, (int fd, const void *from, size_t n), (fd, from, n),
       (fd, from, n / 2))

/* -- What makes durable ---------------------------------------------------- */

#define SYNCS(name)                     \
    int name(int fd)                    \
    {                                   \
        BEHIND(name);                   \
        if (disturbed(CALL_##name))     \
            return -1;                  \
        return lies() ? 0 : behind(fd); \
    }
SYNCS(fdatasync)
SYNCS(fsync)

/* -- What answers its error ------------------------------------------------ */

int pthread_create(pthread_t *thread, const pthread_attr_t *how,
                   void *(*function)(void *), void *arg)
{
    BEHIND(pthread_create);
    return disturbed(CALL_pthread_create) ? (int)page->error
                                          : behind(thread, how, function, arg);
}

/* -- Time ------------------------------------------------------------------ */

int clock_gettime(clockid_t id, struct timespec *to)
{
    int rc;
    BEHIND(clock_gettime);

    rc = behind(id, to);
    if (rc == 0 && id == CLOCK_REALTIME)
        to->tv_sec += (time_t)atomic_load(&page->ahead);
    return rc;
}

/* -- Memory ---------------------------------------------------------------- */

#define ALLOCATES(name, parameters, arguments)                   \
    void *name parameters                                        \
    {                                                            \
        BEHIND(name);                                            \
        return disturbed(CALL_malloc) ? NULL : behind arguments; \
    }
ALLOCATES(malloc, (size_t n), (n))
ALLOCATES(calloc, (size_t count, size_t n), (count, n))
ALLOCATES(realloc, (void *old, size_t n), (old, n))
