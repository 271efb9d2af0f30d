/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"

#include <stdarg.h>

#include "base/mem.h"

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    mem_free(b->data);
    buf_init(b);
}

void buf_reserve_slow(struct buf *b, size_t room)
{
    size_t size = buf_size(b), need = size + room, cap;

    ASSERT(need >= room);
    /* Moving the valid bytes down is cheaper than growing when at least half
     * of the buffer has been consumed. */
    if (b->head >= b->cap / 2 && need <= b->cap) {
        memmove(b->data, b->data + b->head, size);
        b->head = 0;
        b->len = size;
        return;
    }
    cap = b->cap ? b->cap : 256;
    while (cap < b->len + room)
        cap *= 2;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    va_start(ap, fmt);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (buf_size(b) == 0 && b->cap > keep)
        buf_clear(b);
}
