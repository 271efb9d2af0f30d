/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The journal's seam filled in by the operating system: each function is the
 * system call with its error as a negative result.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/segment.h"

static int io_open(void *arg, const char *path, int flags, unsigned mode)
{
    int fd = open(path, flags | O_CLOEXEC, (mode_t)mode);

    (void)arg;
    return fd < 0 ? -errno : fd;
}

static int io_close(void *arg, int fd)
{
    (void)arg;
    return close(fd) < 0 ? -errno : 0;
}

static int64_t io_pread(void *arg, int fd, void *to, size_t len, int64_t offset)
{
    ssize_t n = pread(fd, to, len, (off_t)offset);

    (void)arg;
    return n < 0 ? -errno : n;
}

static int64_t io_pwrite(void *arg, int fd, const void *from, size_t len,
                         int64_t offset)
{
    ssize_t n = pwrite(fd, from, len, (off_t)offset);

    (void)arg;
    return n < 0 ? -errno : n;
}

static int io_fdatasync(void *arg, int fd)
{
    (void)arg;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int io_fsync(void *arg, int fd)
{
    (void)arg;
    return fsync(fd) < 0 ? -errno : 0;
}

static int io_rename(void *arg, const char *from, const char *to)
{
    (void)arg;
    return rename(from, to) < 0 ? -errno : 0;
}

static int io_unlink(void *arg, const char *path)
{
    (void)arg;
    return unlink(path) < 0 ? -errno : 0;
}

static int io_ftruncate(void *arg, int fd, int64_t size)
{
    (void)arg;
    return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int64_t io_size(void *arg, int fd)
{
    struct stat st;

    (void)arg;
    return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int io_list(void *arg, const char *dir,
                   void (*each)(void *each_arg, const char *name),
                   void *each_arg)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);

    (void)arg;
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        each(each_arg, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return 0;
}

static int io_lock(void *arg, int fd)
{
    (void)arg;
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static uint64_t io_random(void *arg)
{
    uint64_t r;

    (void)arg;
    /* Eight bytes are never cut short once the pool is ready, and the call
     * waits for that. */
    ASSERT(getrandom(&r, sizeof(r), 0) == (ssize_t)sizeof(r));
    return r;
}

const struct store_io *store_io_system(void)
{
    static const struct store_io io = {
        .open = io_open,
        .close = io_close,
        .pread = io_pread,
        .pwrite = io_pwrite,
        .fdatasync = io_fdatasync,
        .fsync = io_fsync,
        .rename = io_rename,
        .unlink = io_unlink,
        .ftruncate = io_ftruncate,
        .size = io_size,
        .list = io_list,
        .lock = io_lock,
        .random = io_random,
    };

    return &io;
}
