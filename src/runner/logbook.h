/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * logbook - what the jobs of one queue print, line by line, in a file of the
 * administrator's and in the systemd journal.
 *
 * In the file a line is "TIME TOKEN out|err TEXT". When it would grow beyond
 * file_max it becomes FILE.1, that FILE.2 and so on; the oldest goes. The file
 * is opened when there is something to write, as who the runner is, and never
 * through a symbolic link.
 *
 * Knows:     files, rotation, the native protocol of the journal.
 * Never:     waits for the journal; keeps a job from going on.
 * Errors:    what cannot be written is dropped. That is told when it begins,
 *            and when it is over.
 */
#ifndef RUNNER_LOGBOOK_H
#define RUNNER_LOGBOOK_H

#include "runner/memory.h"

#include <stdbool.h>
#include <stdint.h>

#define LOGBOOK_JOURNAL   "/run/systemd/journal/socket"
#define LOGBOOK_FILES_MAX 1000
/* A line that is longer is cut into several. */
#define LOGBOOK_LINE_MAX ((size_t)8 << 10)

struct logbook_settings {
    char *file;       /* "": none */
    int64_t file_max; /* bytes */
    int64_t files;    /* old ones that are kept */
    bool journal;
};

/* Whose lines they are; lent. */
struct logbook_source {
    const char *token;
    const char *group; /* "": none */
    int64_t attempt;
};

/* The beginnings of lines, of stdout and stderr. Zeroed is empty. */
struct logbook_lines {
    struct buffer part[2];
};

struct logbook;

/* NULL when nothing is asked for. Lends the settings, the queue's name, and the
 * path of the journal's socket. */
struct logbook *logbook_new(const struct logbook_settings *settings,
                            const char *queue, const char *journal);
void logbook_free(struct logbook *b);

/* Write the lines that are whole by now; stream 1 or 2. */
void logbook_take(struct logbook *b, const struct logbook_source *source,
                  struct logbook_lines *lines, int stream, const char *data,
                  size_t len);
/* Write what has no end, too, and free the lines. */
void logbook_end(struct logbook *b, const struct logbook_source *source,
                 struct logbook_lines *lines);
void logbook_lines_clear(struct logbook_lines *lines);

#endif
