/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

void *memory_new(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        abort();
    return p;
}

void *memory_resize(void *old, size_t count, size_t size)
{
    void *p = reallocarray(old, count ? count : 1, size);

    if (!p)
        abort();
    return p;
}

char *memory_text(const void *data, size_t len)
{
    char *p = memory_resize(NULL, len + 1, 1);

    if (len)
        memcpy(p, data, len);
    p[len] = '\0';
    return p;
}

void buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (b->cap - b->len < len) {
        size_t cap = b->cap ? b->cap : 256;

        while (cap - b->len < len)
            cap *= 2;
        b->data = memory_resize(b->data, cap, 1);
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    buffer_append(b, text,
                  (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void buffer_clear(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

int memory_file(const char *name)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, flags);
    return fd < 0 ? -errno : fd;
}

int memory_seal(int fd)
{
    /* Against writing it cannot be: before Linux 6.7 nobody could map it. */
    int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}
