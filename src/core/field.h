/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * field - what the bytes of records are made of: little-endian numbers, and
 * strings with their lengths.
 */
#ifndef YOKE_CORE_FIELD_H
#define YOKE_CORE_FIELD_H

#include <string.h>

#include "base/buf.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are little endian; this machine would have to swap"
#endif

struct writer {
    char *p;
};

static inline void put(struct writer *w, const void *v, size_t len)
{
    memcpy(w->p, v, len);
    w->p += len;
}

static inline void put_u8(struct writer *w, uint8_t v)
{
    put(w, &v, sizeof(v));
}

static inline void put_u32(struct writer *w, uint32_t v)
{
    put(w, &v, sizeof(v));
}

static inline void put_u64(struct writer *w, uint64_t v)
{
    put(w, &v, sizeof(v));
}

static inline void put_i64(struct writer *w, int64_t v)
{
    put(w, &v, sizeof(v));
}

static inline void put_str(struct writer *w, struct str s)
{
    put_u32(w, (uint32_t)s.len);
    if (s.len)
        put(w, s.p, s.len);
}

struct reader {
    const char *p, *end;
    bool bad;
};

static inline void get(struct reader *r, void *v, size_t len)
{
    if ((size_t)(r->end - r->p) < len) {
        /* A field that an older writer did not know reads as zero; half a
         * field is damage. */
        if (r->p != r->end)
            r->bad = true;
        memset(v, 0, len);
        return;
    }
    memcpy(v, r->p, len);
    r->p += len;
}

static inline uint8_t get_u8(struct reader *r)
{
    uint8_t v;

    get(r, &v, sizeof(v));
    return v;
}

static inline uint32_t get_u32(struct reader *r)
{
    uint32_t v;

    get(r, &v, sizeof(v));
    return v;
}

static inline uint64_t get_u64(struct reader *r)
{
    uint64_t v;

    get(r, &v, sizeof(v));
    return v;
}

static inline int64_t get_i64(struct reader *r)
{
    int64_t v;

    get(r, &v, sizeof(v));
    return v;
}

static inline bool get_bool(struct reader *r)
{
    uint8_t v = get_u8(r);

    if (v > 1)
        r->bad = true;
    return v == 1;
}

static inline struct str get_str(struct reader *r)
{
    uint32_t len = get_u32(r);
    struct str s = {.p = r->p, .len = len};

    if ((size_t)(r->end - r->p) < len) {
        r->bad = true;
        return (struct str){0};
    }
    r->p += len;
    return s;
}

#endif
