/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * base - what every file of yoke may rely on.
 *
 * Knows:     C11, GNU attributes.
 * Never:     jobs, I/O.
 *
 * ASSERT stays on in every build: a state that is known to be wrong must not
 * reach the disk or the network.
 */
#ifndef YOKE_BASE_H
#define YOKE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))
#define ATTR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define ATTR_NORETURN     __attribute__((noreturn))
#define LIKELY(x)         __builtin_expect(!!(x), 1)
#define UNLIKELY(x)       __builtin_expect(!!(x), 0)

#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr)-offsetof(type, member)))

/* Ends the process after saying on stderr which assertion failed, where. */
void base_bug(const char *file, int line, const char *what) ATTR_NORETURN;

#define ASSERT(cond)                             \
    do {                                         \
        if (UNLIKELY(!(cond)))                   \
            base_bug(__FILE__, __LINE__, #cond); \
    } while (0)

/* A place that cannot be reached. */
#define BUG(what) base_bug(__FILE__, __LINE__, (what))

/* A run of bytes that somebody else owns; not NUL-terminated, may hold NUL. */
struct str {
    const char *p;
    size_t len;
};

/* A string literal as a str. */
#define STR(lit) ((struct str){.p = (lit), .len = sizeof(lit) - 1})

static inline struct str str_from(const char *text)
{
    return (struct str){.p = text, .len = text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Functions that overrun, truncate silently, or hide an error. A file that
 * includes base.h cannot call them. */
#ifndef BASE_ALLOW_BANNED
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat atoi atol
#pragma GCC poison atoll strtok gets system
#endif

#endif
