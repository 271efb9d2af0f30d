/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/password.h"

#include "runner/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_MAX 1024 /* the daemon's */

/* Its length, or -errno with a sentence. */
static ssize_t read_line(const char *file, char line[PASSWORD_MAX + 2],
                         char *why, size_t why_size)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, line, PASSWORD_MAX + 1);
    struct stat st;
    size_t len;
    int rc = 0;

    if (n < 0 || fstat(fd, &st) < 0) {
        rc = -errno;
        snprintf(why, why_size, "%s: %s", file, strerror(-rc));
    } else if (st.st_mode & 077) {
        rc = -EPERM;
        snprintf(why, why_size,
                 "%s: others may read it; expected mode 0600 or 0400", file);
    }
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return rc;
    line[n] = '\0';
    len = strcspn(line, "\r\n");
    if (len > 0 && len <= PASSWORD_MAX)
        return (ssize_t)len;
    snprintf(why, why_size,
             "%s: expected a password of 1 to %d bytes in its first line", file,
             PASSWORD_MAX);
    return -EINVAL;
}

int password_check(const char *file, char *why, size_t why_size)
{
    char line[PASSWORD_MAX + 2];
    ssize_t len = read_line(file, line, why, why_size);

    explicit_bzero(line, sizeof(line));
    return len < 0 ? (int)len : 0;
}

/* Written, given away, and out of the way of the descriptors of a job. */
static int copy_line(const char *line, size_t len, const struct account *a)
{
    int fd = memory_file("password"), copy, rc = 0;

    if (fd < 0)
        return fd;
    if (pwrite(fd, line, len, 0) != (ssize_t)len || fchmod(fd, 0400) < 0 ||
        (a->changes && fchown(fd, a->uid, a->gid) < 0))
        rc = -errno;
    /* Whose it is can change its mode, and write. */
    if (rc == 0)
        rc = memory_seal(fd);
    copy = rc < 0 ? rc : fcntl(fd, F_DUPFD_CLOEXEC, PASSWORD_FD + 1);
    if (rc == 0 && copy < 0)
        copy = -errno;
    close(fd);
    return copy;
}

int password_copy(const char *file, const struct account *account, char *why,
                  size_t why_size)
{
    char line[PASSWORD_MAX + 2];
    ssize_t len = read_line(file, line, why, why_size);
    int fd = len < 0 ? (int)len : copy_line(line, (size_t)len, account);

    explicit_bzero(line, sizeof(line));
    if (fd < 0 && len >= 0)
        snprintf(why, why_size, "cannot copy it: %s", strerror(-fd));
    return fd;
}
