/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text - strings that grow, and memory that is there or ends the program.
 *
 * Knows:     bytes; a NUL always follows them.
 * Never:     prints, except the last word when memory is short.
 * Errors:    out of memory ends the program with status 125.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>

struct text {
    char *data; /* NULL until something is added */
    size_t len, cap;
};

void text_add(struct text *t, const void *bytes, size_t len);
void text_adds(struct text *t, const char *s);
void text_addc(struct text *t, char c);
void text_addf(struct text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* What is there as a string; never NULL; valid until the next change. */
const char *text_str(const struct text *t);
/* Frees; the text is empty and usable again. */
void text_clear(struct text *t);

/* Zeroed memory for n things; the caller frees it. */
void *text_alloc(size_t n, size_t size);
/* realloc for n things. */
void *text_grow(void *p, size_t n, size_t size);
char *text_copy(const char *s);
char *text_copyn(const char *s, size_t len);

#endif
