/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * value - a tree of values as bytes: what the core answers.
 *
 * The core writes values into a buffer, in order and without knowing RESP; the
 * wire renders them for the protocol of the connection. Written depth first:
 * an array or map announces its number of items (pairs), which follow.
 *
 * Ownership: values own nothing; strings are copied into the buffer.
 */
#ifndef YOKE_VALUE_H
#define YOKE_VALUE_H

#include "base/buf.h"

enum value_kind {
    VALUE_NULL,
    VALUE_OK,    /* the status OK */
    VALUE_INT,   /* i64 */
    VALUE_STR,   /* u32 length, bytes */
    VALUE_ARRAY, /* u32 items */
    VALUE_MAP,   /* u32 pairs; a key and a value for each */
    VALUE_ERROR, /* u32 code, u32 length, bytes of the text */
    VALUE_ID,    /* u8 kind letter, u64 id, u32 attempt (0: no token) */
};

void value_null(struct buf *b);
void value_ok(struct buf *b);
void value_int(struct buf *b, int64_t i);
void value_str(struct buf *b, struct str s);
/* An empty str with p == NULL becomes null. */
void value_str_or_null(struct buf *b, struct str s);
void value_id(struct buf *b, char kind, uint64_t id, uint32_t attempt);
/* `code` is an index into wire/errors.def. */
void value_error(struct buf *b, uint32_t code, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* Returns where the count lies, for value_set_count once it is known. */
size_t value_array(struct buf *b, uint32_t items);
size_t value_map(struct buf *b, uint32_t pairs);
void value_set_count(struct buf *b, size_t at, uint32_t count);

/* One value as read back. Strings point into the bytes. */
struct value {
    enum value_kind kind;
    int64_t i;        /* INT */
    struct str s;     /* STR, ERROR */
    uint32_t count;   /* ARRAY, MAP */
    uint32_t code;    /* ERROR */
    char id_kind;     /* ID */
    uint64_t id;      /* ID */
    uint32_t attempt; /* ID */
};

/* Reads the value at *at and moves past it (not past its items). The bytes
 * must have been written by the functions above. */
void value_read(const char *bytes, size_t *at, struct value *out);

#endif
