/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parser is hiredis' reader with object functions of our own. Its buffer
 * moves and drops what it has passed, even in the middle of a request, so the
 * functions copy each argument into `args` at once: one short memcpy instead
 * of one allocation for each.
 *
 * Nearly all requests lie there whole and plain, though: those are taken where
 * they lie (next_plain), and hiredis never sees them. Whatever is not so, or is
 * beyond a limit, is left to it from its first byte on.
 */
#include "wire/resp.h"

#include <hiredis/read.h>
#include <hiredis/sds.h>
#include <stdarg.h>

#include "base/mem.h"
#include "wire/id.h"

/* "$", a sign, 19 digits: no header of a length is longer. */
#define HEADER_MAX 21
#define ARGV_FIRST 16
#define ARGS_KEPT  65536
#define ERROR_MAX  160

struct resp_reader {
    redisReader *hiredis;
    struct buf args;  /* bytes of the arguments, one after the other */
    struct str *argv; /* p is not set before the request is whole; into args, or
                       * into hiredis' buffer */
    size_t argc, argv_cap;
    size_t args_max, bytes_max;
    bool inside;             /* in the middle of an array */
    enum resp_result failed; /* RESP_MORE: not */
    char error[ERROR_MAX];
};

static const char *const codes[] = {
#define ERROR(id, code, meaning) code,
#include "wire/errors.def"
#undef ERROR
};

static void fail(struct resp_reader *r, enum resp_result how, const char *fmt,
                 ...) ATTR_PRINTF(3, 4);

static void fail(struct resp_reader *r, enum resp_result how, const char *fmt,
                 ...)
{
    va_list ap;

    if (r->failed != RESP_MORE)
        return; /* the first cause is the one to tell */
    r->failed = how;
    va_start(ap, fmt);
    (void)vsnprintf(r->error, sizeof(r->error), fmt, ap);
    va_end(ap);
}

static void too_many_bytes(struct resp_reader *r)
{
    fail(r, RESP_TOO_BIG, "a request may have at most %zu bytes", r->bytes_max);
}

/* How many bytes the arguments may still have. */
static size_t room(const struct resp_reader *r)
{
    size_t size = buf_size(&r->args);

    return size < r->bytes_max ? r->bytes_max - size : 0;
}

/* Room for one more argument, or false. */
static bool argument_begin(struct resp_reader *r)
{
    if (r->argc >= r->args_max) {
        fail(r, RESP_TOO_BIG, "a request may have at most %zu arguments",
             r->args_max);
        return false;
    }
    if (r->argc == r->argv_cap) {
        r->argv_cap *= 2;
        r->argv =
            mem_realloc(r->argv, mem_mul(r->argv_cap, sizeof(r->argv[0])));
    }
    return true;
}

static void argument_end(struct resp_reader *r, size_t len)
{
    r->argv[r->argc++] = (struct str){.len = len};
}

/* hiredis stops when an object function returns NULL, and keeps what is not
 * NULL without looking at it: the reader itself will do. */
static void *on_string(const redisReadTask *task, char *text, size_t len)
{
    struct resp_reader *r = task->privdata;

    if (task->type != REDIS_REPLY_STRING || !task->parent) {
        fail(r, RESP_INVALID, "Protocol error: expected an array of strings");
        return NULL;
    }
    if (len > room(r)) {
        too_many_bytes(r);
        return NULL;
    }
    if (!argument_begin(r))
        return NULL;
    buf_append(&r->args, text, len);
    argument_end(r, len);
    return r;
}

static void *on_array(const redisReadTask *task, int elements)
{
    struct resp_reader *r = task->privdata;

    if (task->parent) {
        fail(r, RESP_INVALID, "Protocol error: an array inside a request");
        return NULL;
    }
    if (elements > 0 && (size_t)elements > r->args_max) {
        fail(r, RESP_TOO_BIG, "a request may have at most %zu arguments",
             r->args_max);
        return NULL;
    }
    return r;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    struct resp_reader *r = task->privdata;

    (void)value;
    fail(r, RESP_INVALID, "Protocol error: an integer inside a request");
    return NULL;
}

static void *on_nil(const redisReadTask *task)
{
    struct resp_reader *r = task->privdata;

    if (task->parent) {
        fail(r, RESP_INVALID, "Protocol error: a null inside a request");
        return NULL;
    }
    return r; /* a null array is an empty request */
}

static void on_free(void *object)
{
    (void)object; /* it is the reader, which lives on */
}

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

struct resp_reader *resp_reader_new(void)
{
    struct resp_reader *r = mem_zalloc(sizeof(*r));

    r->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!r->hiredis)
        abort(); /* as mem_alloc does */
    r->hiredis->privdata = r;
    r->argv_cap = ARGV_FIRST;
    r->argv = mem_alloc(mem_mul(r->argv_cap, sizeof(r->argv[0])));
    return r;
}

void resp_reader_free(struct resp_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    buf_clear(&r->args);
    mem_free(r->argv);
    mem_free(r);
}

void resp_reader_limit(struct resp_reader *r, size_t args_max, size_t bytes_max)
{
    r->args_max = args_max;
    r->bytes_max = bytes_max;
}

/* Drop what was taken. Only between requests: hiredis does it itself inside
 * of one. */
static void drop_taken(redisReader *h)
{
    sdsrange(h->buf, (int)h->pos, -1);
    h->pos = 0;
    h->len = sdslen(h->buf);
}

void resp_reader_feed(struct resp_reader *r, const char *data, size_t len)
{
    if (r->failed != RESP_MORE)
        return;
    if (!r->inside && r->hiredis->pos > 0)
        drop_taken(r->hiredis);
    if (redisReaderFeed(r->hiredis, data, len) != REDIS_OK)
        abort(); /* it only fails out of memory */
}

bool resp_reader_idle(const struct resp_reader *r)
{
    return r->failed == RESP_MORE && !r->inside &&
           r->hiredis->pos == r->hiredis->len;
}

size_t resp_reader_buffered(const struct resp_reader *r)
{
    return buf_size(&r->args) + r->hiredis->len - r->hiredis->pos;
}

const char *resp_reader_error(const struct resp_reader *r)
{
    return r->error;
}

/*
 * hiredis waits for a string until it is there, however long it says it will
 * be, and for the end of a header line for ever. Look at the header that it
 * waits on and refuse what can never be taken.
 */
static void check_partial(struct resp_reader *r)
{
    const redisReader *h = r->hiredis;
    const char *p = h->buf + h->pos;
    size_t n = h->len - h->pos, digits = 0, length = 0;
    int type = h->ridx < 0 ? -1 : h->rstack[h->ridx].type;

    if (type < 0)
        return; /* not even the type is there */
    if (type != REDIS_REPLY_STRING && type != REDIS_REPLY_ARRAY) {
        fail(r, RESP_INVALID, "Protocol error: expected an array of strings");
        return;
    }
    while (digits < n && digits < HEADER_MAX && p[digits] >= '0' &&
           p[digits] <= '9')
        length = length * 10 + (size_t)(p[digits++] - '0');
    if (digits == n)
        return;
    if (p[digits] != '\r' && !(p[0] == '-' && n < HEADER_MAX))
        fail(r, RESP_INVALID, "Protocol error: a length must be a number");
    else if (type == REDIS_REPLY_STRING && (digits >= 19 || length > room(r)))
        too_many_bytes(r);
}

/* true: an array was taken whole. */
static bool next_array(struct resp_reader *r)
{
    void *object = NULL;

    if (!r->inside) {
        buf_reset(&r->args);
        r->argc = 0;
        r->inside = true;
    }
    if (redisReaderGetReply(r->hiredis, &object) != REDIS_OK) {
        fail(r, RESP_INVALID, "Protocol error: %s", r->hiredis->errstr);
        return false;
    }
    if (!object) {
        check_partial(r);
        return false;
    }
    r->inside = false;
    return true;
}

/* The number of "<type>digits\r\n" at *p, which moves behind it. */
static bool plain_header(const char **p, const char *end, char type, size_t *n)
{
    const char *first = *p + 1, *at = first;
    size_t value = 0;

    if (*p == end || **p != type)
        return false;
    while (at < end && *at >= '0' && *at <= '9' && at - first < 8)
        value = value * 10 + (size_t)(*at++ - '0');
    if (end - at < 2 || at == first || at[0] != '\r' || at[1] != '\n' ||
        (*first == '0' && at - first > 1))
        return false;
    *p = at + 2;
    *n = value;
    return true;
}

/* true: a request that is there whole was taken. Else nothing was. */
static bool next_plain(struct resp_reader *r)
{
    redisReader *h = r->hiredis;
    const char *p = h->buf + h->pos, *end = h->buf + h->len;
    size_t argc, left = r->bytes_max;

    if (!plain_header(&p, end, '*', &argc) || argc == 0 || argc > r->args_max)
        return false;
    for (r->argc = 0; r->argc < argc; r->argc++) {
        size_t len;

        if (!plain_header(&p, end, '$', &len) || len > left ||
            (size_t)(end - p) < len + 2 || !argument_begin(r))
            return false;
        r->argv[r->argc] = (struct str){p, len};
        left -= len;
        p += len + 2;
    }
    h->pos = (size_t)(p - h->buf);
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that a backslash in double quotes stands for; p points behind the
 * backslash. Returns how many bytes were used. */
static size_t unescape(const char *p, const char *end, char *out)
{
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    const char *found;

    if (end - p >= 3 && p[0] == 'x' && hex_value(p[1]) >= 0 &&
        hex_value(p[2]) >= 0) {
        *out = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
        return 3;
    }
    found = memchr(names, p[0], sizeof(names) - 1);
    *out = found ? bytes[found - names] : p[0];
    return 1;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' ||
           c == '\0';
}

/* One word of a line, quotes and all: appended to args. Returns where it
 * ends, or NULL when a quote is not closed or is followed by more. */
static const char *inline_word(struct resp_reader *r, const char *p,
                               const char *end)
{
    char quote = '\0';

    for (; p < end; p++) {
        char c = *p;

        if (quote && c == quote) {
            return p + 1 == end || is_space(p[1]) ? p + 1 : NULL;
        } else if (quote == '"' && c == '\\' && p + 1 < end) {
            p += unescape(p + 1, end, &c);
        } else if (quote == '\'' && c == '\\' && p + 1 < end && p[1] == '\'') {
            c = *++p;
        } else if (!quote && is_space(c)) {
            return p;
        } else if (!quote && (c == '"' || c == '\'')) {
            quote = c;
            continue;
        }
        buf_append_byte(&r->args, c);
    }
    return quote ? NULL : p;
}

static void split_inline(struct resp_reader *r, const char *p, const char *end)
{
    buf_reset(&r->args);
    r->argc = 0;
    for (;;) {
        size_t before = buf_size(&r->args);

        while (p < end && is_space(*p))
            p++;
        if (p == end || !argument_begin(r))
            return;
        p = inline_word(r, p, end);
        if (!p) {
            fail(r, RESP_INVALID,
                 "Protocol error: unbalanced quotes in request");
            return;
        }
        argument_end(r, buf_size(&r->args) - before);
    }
}

/* true: a line was taken (into argv, or failed). */
static bool next_inline(struct resp_reader *r)
{
    redisReader *h = r->hiredis;
    const char *line = h->buf + h->pos;
    size_t have = h->len - h->pos;
    size_t max =
        r->bytes_max < RESP_INLINE_MAX ? r->bytes_max : RESP_INLINE_MAX;
    const char *end = memchr(line, '\n', have);
    size_t len = end ? (size_t)(end - line) : have;

    if (len > max) {
        fail(r, RESP_TOO_BIG, "a line may have at most %zu bytes", max);
        return false;
    }
    if (!end)
        return false;
    split_inline(r, line, end);
    h->pos += len + 1;
    return true;
}

enum resp_result resp_reader_next(struct resp_reader *r,
                                  const struct str **argv, size_t *argc)
{
    const redisReader *h = r->hiredis;
    bool plain = false;
    const char *p;

    while (r->failed == RESP_MORE) {
        bool whole;

        if (!r->inside && h->pos == h->len) {
            buf_reset(&r->args);
            buf_shrink(&r->args, ARGS_KEPT);
            return RESP_MORE;
        }
        plain = !r->inside && next_plain(r);
        if (LIKELY(plain))
            break;
        whole =
            r->inside || h->buf[h->pos] == '*' ? next_array(r) : next_inline(r);
        if (r->failed == RESP_MORE && !whole)
            return RESP_MORE;
        if (whole && r->argc > 0 && r->failed == RESP_MORE)
            break;
    }
    if (r->failed != RESP_MORE)
        return r->failed;
    p = r->args.data;
    for (size_t i = 0; i < r->argc && !plain; i++) {
        r->argv[i].p = p;
        p += r->argv[i].len;
    }
    *argv = r->argv;
    *argc = r->argc;
    return RESP_REQUEST;
}

/* --- replies ----------------------------------------------------------- */

/* "<type><number>\r\n" */
static void put_header(struct buf *out, char type, int64_t n)
{
    char *p = buf_reserve(out, 1 + 20 + 2);
    char reverse[20];
    size_t len = 0, count = 0;
    uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    p[len++] = type;
    if (n < 0)
        p[len++] = '-';
    do
        reverse[count++] = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    while (count)
        p[len++] = reverse[--count];
    p[len++] = '\r';
    p[len++] = '\n';
    out->len += len;
}

void resp_status(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    char *p = buf_reserve(out, len + 3);

    p[0] = '+';
    memcpy(p + 1, text, len);
    memcpy(p + 1 + len, "\r\n", 2);
    out->len += len + 3;
}

void resp_str(struct buf *out, struct str s)
{
    put_header(out, '$', (int64_t)s.len);
    buf_append(out, s.p, s.len);
    buf_append(out, "\r\n", 2);
}

void resp_text(struct buf *out, const char *text)
{
    resp_str(out, str_from(text));
}

void resp_int(struct buf *out, int64_t i)
{
    put_header(out, ':', i);
}

void resp_null(struct buf *out, int proto)
{
    buf_append_str(out, proto == 3 ? STR("_\r\n") : STR("$-1\r\n"));
}

void resp_array(struct buf *out, size_t items)
{
    put_header(out, '*', (int64_t)items);
}

void resp_map(struct buf *out, int proto, size_t pairs)
{
    if (proto == 3)
        put_header(out, '%', (int64_t)pairs);
    else
        put_header(out, '*', (int64_t)pairs * 2);
}

void resp_push(struct buf *out, int proto, size_t items)
{
    put_header(out, proto == 3 ? '>' : '*', (int64_t)items);
}

const char *resp_error_code(uint32_t code)
{
    ASSERT(code < ARRAY_LEN(codes));
    return codes[code];
}

static void put_error(struct buf *out, uint32_t code, struct str text)
{
    const char *name = resp_error_code(code);
    char *p;

    buf_append_byte(out, '-');
    buf_append(out, name, strlen(name));
    buf_append_byte(out, ' ');
    p = buf_reserve(out, text.len);
    /* A name from a request may be part of the text. */
    for (size_t i = 0; i < text.len; i++)
        p[i] = (unsigned char)text.p[i] < ' ' ? ' ' : text.p[i];
    out->len += text.len;
    buf_append(out, "\r\n", 2);
}

void resp_error(struct buf *out, uint32_t code, const char *fmt, ...)
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
    put_error(out, code, (struct str){text, (size_t)n});
}

static void put_id(struct buf *out, const struct value *v)
{
    char text[ID_TEXT_MAX];
    size_t len = id_format(
        text,
        (struct id){.kind = v->id_kind, .n = v->id, .attempt = v->attempt});

    resp_str(out, (struct str){text, len});
}

void resp_value(struct buf *out, int proto, const char *bytes, size_t *at)
{
    size_t todo = 1; /* values to come, all levels together */

    while (todo--) {
        struct value v;

        value_read(bytes, at, &v);
        switch (v.kind) {
        case VALUE_NULL:
            resp_null(out, proto);
            break;
        case VALUE_OK:
            buf_append_str(out, STR("+OK\r\n"));
            break;
        case VALUE_INT:
            resp_int(out, v.i);
            break;
        case VALUE_STR:
            resp_str(out, v.s);
            break;
        case VALUE_ARRAY:
            resp_array(out, v.count);
            todo += v.count;
            break;
        case VALUE_MAP:
            resp_map(out, proto, v.count);
            todo += 2 * (size_t)v.count;
            break;
        case VALUE_ERROR:
            put_error(out, v.code, v.s);
            break;
        case VALUE_ID:
            put_id(out, &v);
            break;
        }
    }
}
