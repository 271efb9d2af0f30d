/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resp - requests in, replies out.
 *
 * Knows:     RESP2 and RESP3 as Redis speaks them, inline commands, limits.
 * Never:     what a command means; sockets.
 * Errors:    a stream that is no RESP, or beyond a limit, is an error with a
 *            text; the reader takes nothing after it: close the connection.
 *
 * A request is one array of bulk strings, or one line. Limits hold before
 * memory is taken: an announced length beyond them is refused from its header.
 */
#ifndef YOKE_RESP_H
#define YOKE_RESP_H

#include "base/buf.h"
#include "base/value.h"

/* The longest inline command. */
#define RESP_INLINE_MAX 65536

enum resp_result {
    RESP_MORE,    /* no whole request yet: feed */
    RESP_REQUEST, /* one request */
    RESP_INVALID, /* no RESP */
    RESP_TOO_BIG, /* beyond a limit */
};

struct resp_reader;

struct resp_reader *resp_reader_new(void);
void resp_reader_free(struct resp_reader *r);

/* For requests that begin from now on: most arguments, most bytes of all
 * arguments together. */
void resp_reader_limit(struct resp_reader *r, size_t args_max,
                       size_t bytes_max);

/* Copies. Feed pieces of a few KiB and take all requests between them: the
 * cost of taking one grows with what lies behind it. */
void resp_reader_feed(struct resp_reader *r, const char *data, size_t len);

/* The next request; *argv lends until the next call of a resp_reader function,
 * *argc is at least 1: empty requests are skipped, as Redis does. */
enum resp_result resp_reader_next(struct resp_reader *r,
                                  const struct str **argv, size_t *argc);

/* What is wrong, after RESP_INVALID or RESP_TOO_BIG. */
const char *resp_reader_error(const struct resp_reader *r);

/* Nothing is buffered: the reader may serve another connection. */
bool resp_reader_idle(const struct resp_reader *r);

/* Bytes that are held for requests not taken yet. */
size_t resp_reader_buffered(const struct resp_reader *r);

/* Render the value at *at (see value.h) for protocol 2 or 3 and move past it
 * and its items. */
void resp_value(struct buf *out, int proto, const char *bytes, size_t *at);

/* The same, piece by piece, for answers that do not come from the core. */
void resp_status(struct buf *out, const char *text);
void resp_str(struct buf *out, struct str s);
void resp_text(struct buf *out, const char *text);
void resp_int(struct buf *out, int64_t i);
void resp_null(struct buf *out, int proto);
void resp_array(struct buf *out, size_t items);
void resp_map(struct buf *out, int proto, size_t pairs);
/* What was not asked for: an array in RESP2, a push in RESP3. */
void resp_push(struct buf *out, int proto, size_t items);
/* `code` is an index into wire/errors.def. Bytes that would end the line
 * become spaces. */
void resp_error(struct buf *out, uint32_t code, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* The code of an error, "NOJOB". */
const char *resp_error_code(uint32_t code);

#endif
