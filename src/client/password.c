/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * password - what a handle says with HELLO, and where it has that from.
 *
 * A file is read again before each HELLO: who changes the password changes the
 * file, and no program has to be started anew for it.
 */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD_MAX 1024 /* the daemon's */

static bool keep(char **to, const char *text)
{
    size_t size = strlen(text) + 1;

    *to = yk_alloc(size);
    if (*to)
        memcpy(*to, text, size);
    return *to;
}

/* The beginning of a file, which may be a pipe; 0 or errno. */
static int read_some(const char *file, char *to, size_t size)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t len = 0;
    ssize_t n;
    int error;

    if (fd < 0)
        return errno;
    do {
        n = read(fd, to + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && len < size - 1) || (n < 0 && errno == EINTR));
    error = n < 0 ? errno : 0;
    (void)close(fd); /* it was only read */
    to[len] = '\0';
    return error;
}

static int read_line(yoke *y, const char *file, char line[PASSWORD_MAX + 2])
{
    int error = read_some(file, line, PASSWORD_MAX + 2);
    char words[128];

    if (error)
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "cannot read the password from %s: %s", file,
                       strerror_r(error, words, sizeof(words)));
    line[strcspn(line, "\r\n")] = '\0';
    if (*line && strlen(line) <= PASSWORD_MAX)
        return 0;
    return yk_fail(y, YOKE_ERR_ARGUMENT,
                   "the first line of %s is no password: it has 1 to %d bytes",
                   file, PASSWORD_MAX);
}

static int from_file(yoke *y)
{
    char line[PASSWORD_MAX + 2], *fresh = NULL;
    int status = read_line(y, y->password_file, line);

    if (status == 0 && !keep(&fresh, line))
        status = yk_nomem(y);
    explicit_bzero(line, sizeof(line));
    if (status < 0)
        return status;
    free(y->password);
    y->password = fresh;
    return 0;
}

int yk_password_first(yoke *y, const struct yoke_options *options)
{
    const char *file = options->password_file;

    if (options->password)
        return keep(&y->password, options->password) ? 0 : yk_nomem(y);
    /* Who has made a socket that is handed over knows who may use it. */
    if (!file && options->fd <= 0)
        file = secure_getenv(YOKE_ENV_PASSWORD_FILE);
    if (!file || *file == '\0')
        return 0;
    return keep(&y->password_file, file) ? from_file(y) : yk_nomem(y);
}

void yk_password_again(yoke *y)
{
    /* A file that is just being replaced: the daemon may know the old one. */
    if (y->password_file)
        (void)from_file(y);
}
