/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * buf - growing byte buffer with a consumed front.
 *
 *     data               head           len            cap
 *     | already consumed | valid bytes  | room         |
 *
 * The owner sets the limit; buf itself grows as asked.
 */
#ifndef YOKE_BUF_H
#define YOKE_BUF_H

#include "base/base.h"

struct buf {
    char *data;
    size_t head; /* first valid byte */
    size_t len;  /* end of the valid bytes */
    size_t cap;
};

void buf_init(struct buf *b);
void buf_clear(struct buf *b); /* frees */
void buf_reserve_slow(struct buf *b, size_t room);
void buf_printf(struct buf *b, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* Give back memory beyond `keep` bytes if the buffer is empty. */
void buf_shrink(struct buf *b, size_t keep);

static inline void buf_reset(struct buf *b)
{
    b->head = b->len = 0;
}

static inline size_t buf_size(const struct buf *b)
{
    return b->len - b->head;
}

/* "" when nothing was ever appended. */
static inline const char *buf_front(const struct buf *b)
{
    return b->data ? b->data + b->head : "";
}

/* Room for at least that many bytes at the end. */
static inline char *buf_reserve(struct buf *b, size_t room)
{
    if (UNLIKELY(b->cap - b->len < room))
        buf_reserve_slow(b, room);
    return b->data + b->len;
}

static inline void buf_append(struct buf *b, const void *data, size_t len)
{
    char *p = buf_reserve(b, len);

    if (len)
        memcpy(p, data, len);
    b->len += len;
}

static inline void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.p, s.len);
}

static inline void buf_append_byte(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}

static inline void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= buf_size(b));
    b->head += n;
    if (b->head == b->len)
        b->head = b->len = 0;
}

#endif
