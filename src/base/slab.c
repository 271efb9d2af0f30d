/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/slab.h"

#include "base/mem.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLABS_PLAIN true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLABS_PLAIN true
#endif
#endif
#ifndef SLABS_PLAIN
#define SLABS_PLAIN false
#endif

#define SLAB_BYTES   ((size_t)64 * 1024)
#define REGION_SLABS 32
/* A huge page of the machines we know; elsewhere it is merely a size. */
#define REGION_BYTES (REGION_SLABS * SLAB_BYTES)
#define ALL_UNUSED   UINT32_MAX

struct slab {
    struct list link; /* slabs->usable, while it has room */
    void *released;   /* objects, linked through their first word */
    char *next;       /* what was never handed out ... */
    char *end;        /* ... ends here */
    uint32_t used;    /* objects */
    uint32_t size;    /* of one */
};

/* At the start of its first slab. */
struct region {
    struct list link; /* slabs->regions */
    uint32_t unused;  /* bit i: slab i */
    struct slab slab[REGION_SLABS];
};

void slabs_init(struct slabs *s)
{
    *s = (struct slabs){0};
    list_init(&s->regions);
    for (size_t i = 0; i < ARRAY_LEN(s->usable); i++)
        list_init(&s->usable[i]);
}

/* Mapped twice as large and cut to its place. */
static struct region *region_map(void)
{
    char *all = mmap(NULL, 2 * REGION_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    mem_must(all != MAP_FAILED);
    before = -(uintptr_t)all & (REGION_BYTES - 1);
    if (before)
        (void)munmap(all, before);
    (void)munmap(all + before + REGION_BYTES, REGION_BYTES - before);
    return (struct region *)(void *)(all + before);
}

static void region_add(struct slabs *s)
{
    struct region *r = region_map();

    /* A quarter of the time that a queue takes to grow went into page faults.
     * Only a wish; and not for the first one, so that a daemon that idles is
     * small. */
    if (s->nregions > 0)
        (void)madvise(r, REGION_BYTES, MADV_HUGEPAGE);
    s->nregions++;
    r->unused = ALL_UNUSED;
    for (size_t i = 0; i < REGION_SLABS; i++)
        list_init(&r->slab[i].link);
    list_push_front(&s->regions, &r->link);
}

/* A slab for objects of this size, with all of its room. */
static struct slab *slab_take(struct slabs *s, uint32_t size)
{
    struct region *r = NULL;
    struct slab *slab;
    char *base;
    uint32_t i;

    if (!list_empty(&s->regions))
        r = list_entry(list_first(&s->regions), struct region, link);
    if (!r || !r->unused) {
        region_add(s);
        r = list_entry(list_first(&s->regions), struct region, link);
    }
    i = (uint32_t)__builtin_ctz(r->unused);
    r->unused &= ~(1u << i);
    if (!r->unused) {
        list_remove(&r->link);
        list_push_back(&s->regions, &r->link);
    }
    slab = &r->slab[i];
    base = (char *)r + i * SLAB_BYTES;
    slab->released = NULL;
    slab->next = i == 0 ? base + sizeof(*r) : base;
    slab->end = base + SLAB_BYTES;
    slab->size = size;
    return slab;
}

static void slab_give_back(struct slabs *s, struct region *r, struct slab *slab)
{
    list_remove(&slab->link);
    list_remove(&r->link);
    r->unused |= 1u << (slab - r->slab);
    /* One is kept, so that a crowd of one does not map and unmap. */
    if (r->unused == ALL_UNUSED && s->nregions > 1) {
        s->nregions--;
        (void)munmap(r, REGION_BYTES);
    } else {
        list_push_front(&s->regions, &r->link);
    }
}

void *slabs_alloc(struct slabs *s, size_t size)
{
    uint32_t rounded;
    struct list *usable;
    struct slab *slab;
    void *object;

    s->used++;
    if (SLABS_PLAIN || size > SLAB_OBJECT_MAX)
        return mem_alloc(size);
    rounded = ((uint32_t)size + SLAB_GRAIN - 1 + !size) / SLAB_GRAIN;
    usable = &s->usable[rounded];
    rounded *= SLAB_GRAIN;
    if (UNLIKELY(list_empty(usable)))
        list_push_front(usable, &slab_take(s, rounded)->link);
    slab = list_entry(list_first(usable), struct slab, link);
    object = slab->released;
    if (object) {
        memcpy(&slab->released, object, sizeof(slab->released));
    } else {
        object = slab->next;
        slab->next += rounded;
    }
    slab->used++;
    if (!slab->released && (size_t)(slab->end - slab->next) < rounded)
        list_remove(&slab->link);
    return object;
}

void *slabs_zalloc(struct slabs *s, size_t size)
{
    return memset(slabs_alloc(s, size), 0, size);
}

void *slabs_dup(struct slabs *s, const void *data, size_t len)
{
    void *object = slabs_alloc(s, len);

    if (len)
        memcpy(object, data, len);
    return object;
}

void slabs_free(struct slabs *s, void *object, size_t size)
{
    struct region *r;
    struct slab *slab;

    if (!object)
        return;
    ASSERT(s->used > 0);
    s->used--;
    if (SLABS_PLAIN || size > SLAB_OBJECT_MAX) {
        mem_free(object);
        return;
    }
    r = (struct region *)((uintptr_t)object & ~(REGION_BYTES - 1));
    slab = &r->slab[((uintptr_t)object & (REGION_BYTES - 1)) / SLAB_BYTES];
    ASSERT(slab->used > 0 && slab->size >= size &&
           slab->size < size + SLAB_GRAIN + !size);
    memcpy(object, &slab->released, sizeof(slab->released));
    slab->released = object;
    if (!list_linked(&slab->link))
        list_push_front(&s->usable[slab->size / SLAB_GRAIN], &slab->link);
    if (--slab->used == 0)
        slab_give_back(s, r, slab);
}

void slabs_clear(struct slabs *s)
{
    ASSERT(s->used == 0);
    list_foreach_safe (it, &s->regions)
        (void)munmap(list_entry(it, struct region, link), REGION_BYTES);
    slabs_init(s);
}
