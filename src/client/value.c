/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * value - replies as trees, built by hiredis' reader.
 *
 * An array holds its items in one block. The block grows as items arrive, so a
 * reply that announces more than it brings costs only what it brought. While
 * it grows no pointer into it is in use: the reader's stack points to the
 * arrays that are open, and an array grows only when none is open inside it.
 */
#include "client/client.h"

#include <errno.h>
#include <hiredis/read.h>

/* Items that are given room at once. */
#define FIRST_ITEMS 64

/* A reader keeps this much of its buffer; it holds what was not yet parsed. */
#define READER_KEEP (1024 * 1024)

/* Where the value of this task goes: the root, or the next item of the array
 * that is open. NULL: no memory. */
static struct yoke_value *slot_of(const redisReadTask *task)
{
    struct yoke_value *array;
    size_t index, announced;

    if (!task->parent)
        return yk_zalloc(1, sizeof(struct yk_reply));

    array = task->parent->obj;
    index = array->count;
    announced = (size_t)task->parent->elements;
    if (index >= FIRST_ITEMS && (index & (index - 1)) == 0) {
        size_t room = index * 2 < announced ? index * 2 : announced;
        struct yoke_value *items =
            yk_resize(array->items, room, sizeof(*items));

        if (!items)
            return NULL;
        array->items = items;
    }
    memset(&array->items[index], 0, sizeof(array->items[index]));
    array->count++;
    return &array->items[index];
}

/* A root that could not be filled is nobody's yet. */
static void *give_up(const redisReadTask *task, struct yoke_value *slot)
{
    if (!task->parent)
        free(slot);
    return NULL;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct yoke_value *v = slot_of(task);
    char *copy;

    if (!v)
        return NULL;
    copy = yk_alloc(len + 1);
    if (!copy)
        return give_up(task, v);
    memcpy(copy, text, len);
    copy[len] = '\0';
    v->kind = YOKE_STR;
    v->s = (struct yoke_bytes){.data = copy, .len = len};
    if (task->type == REDIS_REPLY_ERROR && !task->parent)
        ((struct yk_reply *)v)->error = true;
    return v;
}

static void *create_array(const redisReadTask *task, int elements)
{
    struct yoke_value *v = slot_of(task);
    size_t room = elements > FIRST_ITEMS ? FIRST_ITEMS : (size_t)elements;

    if (!v)
        return NULL;
    v->kind = YOKE_ARRAY;
    if (elements > 0) {
        v->items = yk_zalloc(room, sizeof(*v->items));
        if (!v->items)
            return give_up(task, v);
    }
    return v;
}

static void *create_integer(const redisReadTask *task, long long i)
{
    struct yoke_value *v = slot_of(task);

    if (!v)
        return NULL;
    v->kind = YOKE_INT;
    v->i = i;
    return v;
}

static void *create_nil(const redisReadTask *task)
{
    return slot_of(task); /* zeroed: YOKE_NULL */
}

static void free_object(void *object)
{
    yoke_value_free(object);
}

/* hiredis takes a pointer to what it could change and never does. */
static const redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

struct redisReader *yk_reader_new(void)
{
    redisReader *r =
        redisReaderCreateWithFunctions((redisReplyObjectFunctions *)&functions);

    if (r)
        r->maxbuf = READER_KEEP;
    return r;
}

void yk_reader_free(struct redisReader *r)
{
    if (r)
        redisReaderFree(r);
}

int yk_reader_feed(struct redisReader *r, const char *data, size_t len)
{
    return redisReaderFeed(r, data, len) == REDIS_OK ? 0 : YOKE_ERR_NOMEM;
}

int yk_reader_next(struct redisReader *r, struct yk_reply **out,
                   const char **why)
{
    void *reply = NULL;

    if (redisReaderGetReply(r, &reply) != REDIS_OK) {
        *why = r->errstr;
        return r->err == REDIS_ERR_OOM ? YOKE_ERR_NOMEM : YOKE_ERR_PROTOCOL;
    }
    *out = reply;
    return 0;
}

/* -------------------------------------------------------------- ownership */

static size_t children_of(const struct yoke_value *v)
{
    if (v->kind == YOKE_ARRAY)
        return v->count;
    return v->kind == YOKE_MAP ? 2 * v->count : 0;
}

/* Replies nest 7 deep at most: the reader refuses more. */
static void value_clear(struct yoke_value *v)
{
    size_t n = children_of(v);

    for (size_t i = 0; i < n; i++)
        value_clear(&v->items[i]);
    free(v->items);
    free((char *)v->s.data);
}

void yoke_value_free(struct yoke_value *v)
{
    if (!v)
        return;
    value_clear(v);
    free(v);
}

/* Copies what `from` points to; *v can be cleared also when this fails. */
static bool value_copy(struct yoke_value *v, const struct yoke_value *from)
{
    size_t n = children_of(from);

    *v = (struct yoke_value){.kind = from->kind, .i = from->i};
    if (from->kind == YOKE_STR) {
        char *copy = yk_alloc(from->s.len + 1);

        if (!copy)
            return false;
        memcpy(copy, from->s.data, from->s.len);
        copy[from->s.len] = '\0';
        v->s = (struct yoke_bytes){.data = copy, .len = from->s.len};
    }
    if (n == 0)
        return true;
    v->items = yk_zalloc(n, sizeof(*v->items));
    if (!v->items)
        return false;
    v->count = from->count;
    for (size_t i = 0; i < n; i++)
        if (!value_copy(&v->items[i], &from->items[i]))
            return false;
    return true;
}

struct yoke_value *yk_value_copy(const struct yoke_value *v)
{
    struct yoke_value *copy = yk_zalloc(1, sizeof(*copy));

    if (copy && !value_copy(copy, v)) {
        yoke_value_free(copy);
        return NULL;
    }
    return copy;
}

struct yoke_value *yk_value_take(struct yoke_value *v)
{
    struct yoke_value *taken = yk_alloc(sizeof(*taken));

    if (!taken)
        return NULL;
    *taken = *v;
    *v = (struct yoke_value){.kind = YOKE_NULL};
    return taken;
}

/* ---------------------------------------------------------------- reading */

bool yk_value_to_map(struct yoke_value *v)
{
    if (v->kind == YOKE_ARRAY && v->count % 2 == 0) {
        v->kind = YOKE_MAP;
        v->count /= 2;
    }
    return v->kind == YOKE_MAP;
}

const struct yoke_value *yoke_value_get(const struct yoke_value *map,
                                        const char *key)
{
    size_t len, n;

    if (!map || !key)
        return NULL;
    len = strlen(key);
    n = children_of(map);
    for (size_t i = 0; i + 1 < n; i += 2) {
        const struct yoke_value *k = &map->items[i];

        if (k->kind == YOKE_STR && k->s.len == len &&
            memcmp(k->s.data, key, len) == 0)
            return k + 1;
    }
    return NULL;
}

bool yk_value_empty(const struct yoke_value *v)
{
    if (v->kind == YOKE_NULL)
        return true;
    if (v->kind == YOKE_INT)
        return v->i == 0; /* of QUEUE JOIN */
    if (v->kind != YOKE_ARRAY)
        return false;
    if (v->count == 0)
        return true;
    return v->count == 3 && v->items[1].kind == YOKE_ARRAY &&
           v->items[1].count == 0 && yk_value_int(&v->items[2], 0) == 0;
}

int64_t yk_value_int(const struct yoke_value *v, int64_t otherwise)
{
    long long i;
    char *end;

    if (v && v->kind == YOKE_INT)
        return v->i;
    if (!v || v->kind != YOKE_STR || v->s.len == 0)
        return otherwise;
    errno = 0;
    i = strtoll(v->s.data, &end, 10);
    return errno == 0 && end == v->s.data + v->s.len ? i : otherwise;
}

const char *yk_value_text(const struct yoke_value *v, const char *otherwise)
{
    return v && v->kind == YOKE_STR ? v->s.data : otherwise;
}

int64_t yk_map_int(const struct yoke_value *map, const char *key,
                   int64_t otherwise)
{
    return yk_value_int(yoke_value_get(map, key), otherwise);
}

const char *yk_map_text(const struct yoke_value *map, const char *key,
                        const char *otherwise)
{
    return yk_value_text(yoke_value_get(map, key), otherwise);
}

bool yk_value_id(const struct yoke_value *v, char id[YOKE_ID_SIZE])
{
    if (!v || v->kind != YOKE_STR || v->s.len > YK_ID_MAX)
        return false;
    memcpy(id, v->s.data, v->s.len + 1);
    return true;
}
