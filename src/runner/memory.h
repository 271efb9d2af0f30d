/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory - allocation that never fails, growing byte buffers, files in memory.
 *
 * Knows:     bytes.
 * Errors:    out of memory ends the process (abort): the kernel then kills
 *            the jobs, and the daemon gives them to another runner.
 */
#ifndef RUNNER_MEMORY_H
#define RUNNER_MEMORY_H

#include <stddef.h>

void *memory_new(size_t size); /* zeroed */
void *memory_resize(void *old, size_t count, size_t size);
/* A copy of len bytes with a NUL behind it. */
char *memory_text(const void *data, size_t len);

/* Zeroed is empty. */
struct buffer {
    char *data;
    size_t len, cap;
};

void buffer_append(struct buffer *b, const void *data, size_t len);
void buffer_printf(struct buffer *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_clear(struct buffer *b); /* frees */

/* A file without a place: a descriptor, closed on exec, or -errno. */
int memory_file(const char *name);
/* From now on it stays as long as it is, whoever has it. 0 or -errno. */
int memory_seal(int fd);

#endif
