/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

void base_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "yoke: bug at %s:%d: %s\n", file, line, what);
    abort();
}

void mem_must(bool there)
{
    if (LIKELY(there))
        return;
    fputs("yoke: out of memory\n", stderr);
    abort();
}

static void *mem_check(void *p)
{
    mem_must(p != NULL);
    return p;
}

void *mem_alloc(size_t size)
{
    return mem_check(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return mem_check(calloc(1, size ? size : 1));
}

void *mem_realloc(void *old, size_t size)
{
    return mem_check(realloc(old, size ? size : 1));
}

void *mem_dup(const void *data, size_t len)
{
    void *p = mem_alloc(len);

    if (len)
        memcpy(p, data, len);
    return p;
}

char *mem_dup_text(const void *data, size_t len)
{
    char *p = mem_alloc(len + 1);

    if (len)
        memcpy(p, data, len);
    p[len] = '\0';
    return p;
}

void mem_free(void *p)
{
    free(p);
}

size_t mem_mul(size_t n, size_t size)
{
    size_t r;

    if (__builtin_mul_overflow(n, size, &r))
        BUG("size overflow");
    return r;
}
