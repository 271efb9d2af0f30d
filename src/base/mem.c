/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include <sys/mman.h>

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
/* A huge page of the machines we know; elsewhere it is merely a size. */
#define POOL_REGION ((size_t)2 * 1024 * 1024)

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

/* A region that a huge page can back: a quarter of the time that a queue takes
 * to grow went into page faults. Mapped twice as large and cut to its place. */
static char *region_map(void)
{
    char *all = mmap(NULL, 2 * POOL_REGION, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    (void)mem_check(all == MAP_FAILED ? NULL : all);
    before = -(uintptr_t)all & (POOL_REGION - 1);
    if (before)
        (void)munmap(all, before);
    (void)munmap(all + before + POOL_REGION, POOL_REGION - before);
    (void)madvise(all + before, POOL_REGION, MADV_HUGEPAGE); /* a wish */
    return all + before;
}

/* The first chunks are small, so that a daemon that idles is. */
static void pool_grow(struct pool *p)
{
    bool small = p->small < POOL_REGION / POOL_CHUNK;
    char *chunk = small ? mem_alloc(POOL_CHUNK) : region_map();
    void **list = small ? &p->chunks : &p->regions;

    p->small += small;
    memcpy(chunk, list, sizeof(*list));
    *list = chunk;
    p->next = chunk + 16;
    p->end = chunk + (small ? POOL_CHUNK : POOL_REGION);
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

static void *next_of(void *chunk)
{
    void *next;

    memcpy(&next, chunk, sizeof(next));
    return next;
}

void pool_clear(struct pool *p)
{
    void *chunk, *next;

    for (chunk = p->chunks; chunk; chunk = next) {
        next = next_of(chunk);
        mem_free(chunk);
    }
    for (chunk = p->regions; chunk; chunk = next) {
        next = next_of(chunk);
        (void)munmap(chunk, POOL_REGION);
    }
    *p = (struct pool){.size = p->size};
}
