/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * disk - how long a small append and its sync take, for comparison.
 *
 *     disk DIR RATE SECONDS [due]
 *
 * Makes a file in DIR, in zeros, as the journal does; then appends 4 KiB and
 * syncs, RATE times a second or as often as it can, and removes the file.
 * Prints as latency_print does. An append counts from when it began, not from
 * when it was due: this is what the disk takes for one.
 *
 * With "due" whatever is due is appended together, 200 bytes for each, and each
 * counts from when it was due. No durable queue can be quicker: the sync under
 * way has to end first, and so has whatever else the machine does meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latency.h"

enum { APPEND = 4096, ENTRY = 200, SLICE = 1 << 20, FILE_BYTES = 64 << 20 };

static char bytes[SLICE];

static void check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void append(int fd, size_t len, off_t at)
{
    check(pwrite(fd, bytes, len, at) == (ssize_t)len, "write");
    check(fdatasync(fd) == 0, "fdatasync");
}

/* One append after the other, each at its time or later. */
static void each(int fd, struct latency *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t began;

        latency_sleep(latency_due_ns(l, i));
        began = latency_now_ns();
        append(fd, APPEND, (off_t)(i * APPEND % FILE_BYTES));
        latency_note(l, i, latency_now_ns() - began);
    }
}

/* All that are due together. */
static void together(int fd, struct latency *l, size_t n)
{
    size_t done = 0, at = 0;

    while (done < n) {
        size_t due = done + 1;
        int64_t now;

        latency_sleep(latency_due_ns(l, done));
        now = latency_now_ns();
        while (due < n && (due - done + 1) * ENTRY <= SLICE &&
               latency_due_ns(l, due) <= now)
            due++;
        if (at + (due - done) * ENTRY > FILE_BYTES)
            at = 0;
        append(fd, (due - done) * ENTRY, (off_t)at);
        at += (due - done) * ENTRY;
        for (now = latency_now_ns(); done < due; done++)
            latency_note(l, done, now - latency_due_ns(l, done));
    }
}

int main(int argc, char **argv)
{
    struct latency l;
    char path[PATH_MAX];
    long rate, n;
    int fd;

    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "due") != 0) ||
        (rate = strtol(argv[2], NULL, 10)) <= 0 ||
        (n = rate * strtol(argv[3], NULL, 10)) <= 0) {
        fprintf(stderr, "usage: disk DIR RATE SECONDS [due]\n");
        return 2;
    }
    (void)snprintf(path, sizeof(path), "%s/disk", argv[1]);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    check(fd >= 0, path);
    for (off_t at = 0; at < FILE_BYTES; at += SLICE)
        append(fd, SLICE, at);
    memset(bytes, 'x', APPEND);
    latency_start(&l, rate, (size_t)n, LONG_MAX / rate);
    if (argc == 5)
        together(fd, &l, (size_t)n);
    else
        each(fd, &l, (size_t)n);
    check(unlink(path) == 0, path);
    latency_print(&l);
    return 0;
}
