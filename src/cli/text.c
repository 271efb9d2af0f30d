/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p)
{
    if (p == NULL) {
        fputs("yoke: out of memory\n", stderr);
        exit(125);
    }
    return p;
}

void *text_alloc(size_t n, size_t size)
{
    return need(calloc(n > 0 ? n : 1, size));
}

void *text_grow(void *p, size_t n, size_t size)
{
    return need(reallocarray(p, n > 0 ? n : 1, size));
}

char *text_copyn(const char *s, size_t len)
{
    char *copy = text_alloc(len + 1, 1);

    if (len > 0)
        memcpy(copy, s, len);
    return copy;
}

char *text_copy(const char *s)
{
    return text_copyn(s, strlen(s));
}

/* Room for len more bytes and a NUL. */
static char *text_room(struct text *t, size_t len)
{
    if (len > SIZE_MAX / 4 - t->len)
        need(NULL);
    if (t->len + len + 1 > t->cap) {
        t->cap = (t->len + len + 1) * 2;
        t->data = text_grow(t->data, t->cap, 1);
    }
    return t->data + t->len;
}

void text_add(struct text *t, const void *bytes, size_t len)
{
    char *at = text_room(t, len);

    if (len > 0)
        memcpy(at, bytes, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_adds(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_addc(struct text *t, char c)
{
    text_add(t, &c, 1);
}

void text_addf(struct text *t, const char *fmt, ...)
{
    size_t room = 64;

    for (;;) {
        char *at = text_room(t, room);
        va_list args;
        int len;

        va_start(args, fmt);
        len = vsnprintf(at, room + 1, fmt, args);
        va_end(args);
        if (len < 0)
            len = 0; /* not representable in the locale: nothing */
        if ((size_t)len <= room) {
            t->len += (size_t)len;
            t->data[t->len] = '\0';
            return;
        }
        room = (size_t)len;
    }
}

const char *text_str(const struct text *t)
{
    return t->data != NULL ? t->data : "";
}

void text_clear(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}
