/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/value.h"

#include <stdarg.h>

static void put(struct buf *b, const void *p, size_t len)
{
    buf_append(b, p, len);
}

static void put_kind(struct buf *b, enum value_kind kind)
{
    buf_append_byte(b, (char)kind);
}

static void put_u32(struct buf *b, uint32_t v)
{
    put(b, &v, sizeof(v));
}

void value_null(struct buf *b)
{
    put_kind(b, VALUE_NULL);
}

void value_ok(struct buf *b)
{
    put_kind(b, VALUE_OK);
}

void value_int(struct buf *b, int64_t i)
{
    put_kind(b, VALUE_INT);
    put(b, &i, sizeof(i));
}

void value_str(struct buf *b, struct str s)
{
    ASSERT(s.len <= UINT32_MAX);
    put_kind(b, VALUE_STR);
    put_u32(b, (uint32_t)s.len);
    put(b, s.p, s.len);
}

void value_str_or_null(struct buf *b, struct str s)
{
    if (s.p)
        value_str(b, s);
    else
        value_null(b);
}

void value_id(struct buf *b, char kind, uint64_t id, uint32_t attempt)
{
    put_kind(b, VALUE_ID);
    buf_append_byte(b, kind);
    put(b, &id, sizeof(id));
    put_u32(b, attempt);
}

void value_error(struct buf *b, uint32_t code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if ((size_t)n >= sizeof(text))
        n = (int)sizeof(text) - 1;
    put_kind(b, VALUE_ERROR);
    put_u32(b, code);
    put_u32(b, (uint32_t)n);
    put(b, text, (size_t)n);
}

static size_t put_container(struct buf *b, enum value_kind kind, uint32_t n)
{
    size_t at;

    put_kind(b, kind);
    at = b->len;
    put_u32(b, n);
    return at;
}

size_t value_array(struct buf *b, uint32_t items)
{
    return put_container(b, VALUE_ARRAY, items);
}

size_t value_map(struct buf *b, uint32_t pairs)
{
    return put_container(b, VALUE_MAP, pairs);
}

void value_set_count(struct buf *b, size_t at, uint32_t count)
{
    ASSERT(at + sizeof(count) <= b->len);
    memcpy(b->data + at, &count, sizeof(count));
}

static void take(const char *bytes, size_t *at, void *to, size_t len)
{
    memcpy(to, bytes + *at, len);
    *at += len;
}

static struct str take_str(const char *bytes, size_t *at)
{
    uint32_t len;
    struct str s;

    take(bytes, at, &len, sizeof(len));
    s = (struct str){.p = bytes + *at, .len = len};
    *at += len;
    return s;
}

void value_read(const char *bytes, size_t *at, struct value *out)
{
    enum value_kind kind = (enum value_kind)bytes[(*at)++];

    *out = (struct value){.kind = kind};
    switch (kind) {
    case VALUE_NULL:
    case VALUE_OK:
        break;
    case VALUE_INT:
        take(bytes, at, &out->i, sizeof(out->i));
        break;
    case VALUE_STR:
        out->s = take_str(bytes, at);
        break;
    case VALUE_ARRAY:
    case VALUE_MAP:
        take(bytes, at, &out->count, sizeof(out->count));
        break;
    case VALUE_ERROR:
        take(bytes, at, &out->code, sizeof(out->code));
        out->s = take_str(bytes, at);
        break;
    case VALUE_ID:
        take(bytes, at, &out->id_kind, 1);
        take(bytes, at, &out->id, sizeof(out->id));
        take(bytes, at, &out->attempt, sizeof(out->attempt));
        break;
    }
}
