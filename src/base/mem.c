/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_PLAIN 1
#endif
#endif
#ifndef POOL_PLAIN
#define POOL_PLAIN 0
#endif

#define POOL_CHUNK ((size_t)64 * 1024)

void base_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "yoke: bug at %s:%d: %s\n", file, line, what);
    abort();
}

static void *mem_check(void *p)
{
    if (UNLIKELY(!p)) {
        fputs("yoke: out of memory\n", stderr);
        abort();
    }
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

void pool_init(struct pool *p, size_t size)
{
    ASSERT(size >= sizeof(void *) && size <= POOL_CHUNK / 8);
    *p = (struct pool){.size = (size + 7) & ~(size_t)7};
}

static void pool_grow(struct pool *p)
{
    char *chunk = mem_alloc(POOL_CHUNK);

    memcpy(chunk, &p->chunks, sizeof(p->chunks));
    p->chunks = chunk;
    p->next = chunk + 16;
    p->end = chunk + POOL_CHUNK;
}

void *pool_get(struct pool *p)
{
    void *object;

    p->used++;
    if (POOL_PLAIN)
        return mem_zalloc(p->size);
    if (p->free) {
        object = p->free;
        memcpy(&p->free, object, sizeof(p->free));
    } else {
        if ((size_t)(p->end - p->next) < p->size)
            pool_grow(p);
        object = p->next;
        p->next += p->size;
    }
    return memset(object, 0, p->size);
}

void pool_put(struct pool *p, void *object)
{
    ASSERT(p->used > 0);
    p->used--;
    if (POOL_PLAIN) {
        mem_free(object);
        return;
    }
    memcpy(object, &p->free, sizeof(p->free));
    p->free = object;
}

void pool_clear(struct pool *p)
{
    void *chunk = p->chunks;

    while (chunk) {
        void *next;

        memcpy(&next, chunk, sizeof(next));
        mem_free(chunk);
        chunk = next;
    }
    *p = (struct pool){.size = p->size};
}
