/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/logbook.h"

#include "runner/message.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Of syslog(3): stderr stands out, and need not be an error. */
#define PRIORITY_OUT 6
#define PRIORITY_ERR 4

/* Of a line in the file what is neither its token nor its text: the time, the
 * stream, three blanks and the end. */
#define LINE_HEAD (sizeof("2026-01-01T00:00:00.000Z  out \n") - 1)

/* One place that lines go to, and whether that works. */
struct target {
    const char *name; /* for people */
    int error;        /* of the last write; 0: it was written */
    uint64_t dropped; /* lines, since then */
};

struct logbook {
    const struct logbook_settings *settings;
    const char *queue;
    struct target file, journal;
    int fd; /* of the file; -1: not open */
    int64_t size;
    dev_t device;
    ino_t inode;
    bool torn; /* its last line has no end */
    int socket;
    struct sockaddr_un address;
    struct buffer text; /* for the file, not yet written */
    size_t lines;       /* in it */
};

/* --------------------------------------------------------------- failures */

static const char *reason_of(int error)
{
    if (error == ELOOP)
        return "it is a symbolic link";
    return error == EINVAL ? "it is no regular file" : strerror(error);
}

static void target_failed(struct target *t, int error, size_t lines)
{
    if (!t->error)
        message_warn("output of jobs cannot be written, and is dropped there: "
                     "to=%s reason=\"%s\"",
                     t->name, reason_of(error));
    t->error = error;
    t->dropped += lines;
}

static void target_works(struct target *t)
{
    if (t->error)
        message_info("output of jobs is written again: to=%s dropped_lines="
                     "%" PRIu64,
                     t->name, t->dropped);
    t->error = 0;
    t->dropped = 0;
}

/* ------------------------------------------------------------------- file */

static int file_open(struct logbook *b)
{
    /* Without O_NONBLOCK a fifo would be waited for. */
    int fd = open(b->settings->file,
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
                      O_NOCTTY | O_NONBLOCK,
                  0640);
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    b->fd = fd;
    b->size = st.st_size;
    b->device = st.st_dev;
    b->inode = st.st_ino;
    b->torn = false;
    return 0;
}

/* Somebody else may have moved it, so that there is to be a new one, or have
 * written to it: jobs that came under settings before these do both. */
static void file_look(struct logbook *b)
{
    struct stat st;

    if (b->fd < 0)
        return;
    if (lstat(b->settings->file, &st) == 0 && st.st_dev == b->device &&
        st.st_ino == b->inode) {
        b->size = st.st_size;
        return;
    }
    close(b->fd);
    b->fd = -1;
}

/* FILE, or FILE.N. */
static char *file_name(const struct logbook *b, int64_t n)
{
    struct buffer name = {.data = NULL};

    buffer_printf(&name, "%s", b->settings->file);
    if (n > 0)
        buffer_printf(&name, ".%" PRId64, n);
    buffer_append(&name, "", 1);
    return name.data;
}

/* What is not there need not be moved. */
static int file_rotate(struct logbook *b)
{
    int64_t oldest = b->settings->files;
    int rc = 0;

    close(b->fd);
    b->fd = -1;
    if (oldest == 0 && unlink(b->settings->file) < 0)
        return -errno;
    for (int64_t n = oldest; n > 0 && rc == 0; n--) {
        char *from = file_name(b, n - 1), *to = file_name(b, n);

        if (rename(from, to) < 0 && errno != ENOENT)
            rc = -errno;
        free(from);
        free(to);
    }
    return rc;
}

/* All of it or an error; what is behind a short write is lost. */
static int file_append(struct logbook *b, const char *data, size_t len)
{
    ssize_t n = write(b->fd, data, len);

    if (n < 0)
        return -errno;
    b->size += n;
    b->torn = n > 0 && data[n - 1] != '\n';
    return (size_t)n == len ? 0 : -ENOSPC;
}

static int file_put(struct logbook *b)
{
    int rc;

    file_look(b);
    rc = b->fd < 0 ? file_open(b) : 0;
    if (rc == 0 && b->size > 0 &&
        b->size + (int64_t)b->text.len > b->settings->file_max) {
        rc = file_rotate(b);
        if (rc == 0)
            rc = file_open(b);
    }
    if (rc == 0 && b->torn)
        rc = file_append(b, "\n", 1);
    return rc < 0 ? rc : file_append(b, b->text.data, b->text.len);
}

static void file_flush(struct logbook *b)
{
    int rc;

    if (b->text.len == 0)
        return;
    rc = file_put(b);
    if (rc == 0)
        target_works(&b->file);
    else
        target_failed(&b->file, -rc, b->lines);
    b->text.len = 0;
    b->lines = 0;
}

static void file_line(struct logbook *b, const struct logbook_source *source,
                      int stream, const char *line, size_t len)
{
    struct timespec now;
    struct tm tm;
    char when[32];

    /* What is written at once goes into one file. */
    if ((int64_t)(b->text.len + LINE_HEAD + strlen(source->token) + len) >
        b->settings->file_max)
        file_flush(b);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    buffer_printf(&b->text, "%s.%03ldZ %s %s ", when, now.tv_nsec / 1000000,
                  source->token, stream == 1 ? "out" : "err");
    buffer_append(&b->text, line, len);
    buffer_append(&b->text, "\n", 1);
    b->lines++;
    if (b->text.len > LOGBOOK_LINE_MAX)
        file_flush(b);
}

/* ---------------------------------------------------------------- journal */

static void journal_line(struct logbook *b, const struct logbook_source *source,
                         int stream, const char *line, size_t len)
{
    char fields[768];
    uint64_t size = len;
    unsigned char bytes[8]; /* of the size; little-endian */
    int n = snprintf(fields, sizeof(fields),
                     "PRIORITY=%d\nSYSLOG_IDENTIFIER=yoke-%s\nYOKE_QUEUE=%s\n"
                     "YOKE_JOB=%.*s\nYOKE_ATTEMPT=%" PRId64
                     "\nYOKE_GROUP=%s\nYOKE_STREAM=%s\nMESSAGE\n",
                     stream == 1 ? PRIORITY_OUT : PRIORITY_ERR, b->queue,
                     b->queue, (int)strcspn(source->token, "."), source->token,
                     source->attempt, source->group,
                     stream == 1 ? "stdout" : "stderr");
    struct iovec parts[] = {
        {fields, (size_t)n},
        {bytes, sizeof(bytes)},
        {(void *)(uintptr_t)line, len},
        {"\n", 1},
    };
    const struct msghdr message = {.msg_name = &b->address,
                                   .msg_namelen = sizeof(b->address),
                                   .msg_iov = parts,
                                   .msg_iovlen = 4};

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(size >> (8 * i));
    /* To wait for the journal would be to let all jobs wait. */
    if (sendmsg(b->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        target_works(&b->journal);
    else
        target_failed(&b->journal, errno, 1);
}

/* ------------------------------------------------------------------ lines */

static void put_line(struct logbook *b, const struct logbook_source *source,
                     int stream, const char *line, size_t len)
{
    if (*b->settings->file)
        file_line(b, source, stream, line, len);
    if (b->settings->journal)
        journal_line(b, source, stream, line, len);
}

/* What is kept of a line is written with what ends it. */
static void take_line(struct logbook *b, const struct logbook_source *source,
                      struct buffer *part, int stream, const char *data,
                      size_t len)
{
    if (part->len == 0) {
        put_line(b, source, stream, data, len);
        return;
    }
    buffer_append(part, data, len);
    put_line(b, source, stream, part->data, part->len);
    part->len = 0;
}

void logbook_take(struct logbook *b, const struct logbook_source *source,
                  struct logbook_lines *lines, int stream, const char *data,
                  size_t len)
{
    struct buffer *part = &lines->part[stream - 1];

    if (!b)
        return;
    while (len > 0) {
        size_t room = LOGBOOK_LINE_MAX - part->len, n = len < room ? len : room;
        const char *end = memchr(data, '\n', n);

        if (end) {
            take_line(b, source, part, stream, data, (size_t)(end - data));
            n = (size_t)(end - data) + 1;
        } else if (n == room) {
            take_line(b, source, part, stream, data, n);
        } else {
            buffer_append(part, data, n);
        }
        data += n;
        len -= n;
    }
    file_flush(b);
}

void logbook_end(struct logbook *b, const struct logbook_source *source,
                 struct logbook_lines *lines)
{
    if (!b)
        return;
    for (int i = 0; i < 2; i++)
        if (lines->part[i].len > 0)
            put_line(b, source, i + 1, lines->part[i].data, lines->part[i].len);
    file_flush(b);
    logbook_lines_clear(lines);
}

void logbook_lines_clear(struct logbook_lines *lines)
{
    buffer_clear(&lines->part[0]);
    buffer_clear(&lines->part[1]);
}

/* ------------------------------------------------------------ life and end */

struct logbook *logbook_new(const struct logbook_settings *settings,
                            const char *queue, const char *journal)
{
    struct logbook *b;

    if (!*settings->file && !settings->journal)
        return NULL;
    b = memory_new(sizeof(*b));
    b->settings = settings;
    b->queue = queue;
    b->file.name = settings->file;
    b->journal.name = journal;
    b->fd = b->socket = -1;
    b->address.sun_family = AF_UNIX;
    snprintf(b->address.sun_path, sizeof(b->address.sun_path), "%s", journal);
    /* Without a socket sendmsg says so, with each line. */
    if (settings->journal)
        b->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return b;
}

void logbook_free(struct logbook *b)
{
    if (!b)
        return;
    if (b->fd >= 0)
        close(b->fd);
    if (b->socket >= 0)
        close(b->socket);
    buffer_clear(&b->text);
    free(b);
}
