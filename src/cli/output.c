/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/output.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#define FIT_LEAST 8 /* columns: less of a text says nothing */

/* ---------------------------------------------------------- the terminal */

static struct {
    FILE *to; /* NULL: there is none */
    char *data;
    size_t len;
    size_t columns;
} frame;

FILE *output_frame_begin(size_t columns)
{
    frame.columns = columns;
    frame.to = open_memstream(&frame.data, &frame.len);
    if (frame.to == NULL)
        text_grow(NULL, SIZE_MAX / 2, 1); /* says so */
    return frame.to;
}

char *output_frame_end(void)
{
    if (fclose(frame.to) != 0)
        text_grow(NULL, SIZE_MAX / 2, 1);
    frame.to = NULL;
    return frame.data;
}

static bool is_terminal(FILE *to)
{
    return to == frame.to ? frame.columns > 0 : isatty(fileno(to)) != 0;
}

const char *output_color(FILE *to, enum color color)
{
    static const char *const sequences[] = {
        [COLOR_NONE] = "\033[0m",   [COLOR_BOLD] = "\033[1m",
        [COLOR_DIM] = "\033[2m",    [COLOR_RED] = "\033[31m",
        [COLOR_GREEN] = "\033[32m", [COLOR_YELLOW] = "\033[33m",
        [COLOR_BLUE] = "\033[34m",  [COLOR_MAGENTA] = "\033[35m",
        [COLOR_CYAN] = "\033[36m",
    };
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    if ((no != NULL && no[0] != '\0') || term == NULL ||
        strcmp(term, "dumb") == 0 || !is_terminal(to))
        return "";
    return sequences[color];
}

enum color output_state_color(const char *state)
{
    static const struct {
        const char *state;
        enum color color;
    } colors[] = {
        {"ok", COLOR_GREEN},         {"failed", COLOR_RED},
        {"cancelled", COLOR_YELLOW}, {"cancelling", COLOR_YELLOW},
        {"running", COLOR_BLUE},     {"joining", COLOR_BLUE},
        {"delivering", COLOR_BLUE},  {"delayed", COLOR_DIM},
        {"parked", COLOR_DIM},       {"paused", COLOR_YELLOW},
    };

    for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
        if (strcmp(colors[i].state, state) == 0)
            return colors[i].color;
    return COLOR_NONE;
}

bool output_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int output_columns(FILE *to)
{
    struct winsize size;

    if (!is_terminal(to))
        return 0;
    if (to == frame.to)
        return (int)frame.columns;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

int output_write(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EAGAIN) {
            /* somebody else made the descriptor non-blocking */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            (void)poll(&wait, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* -------------------------------------------------------------- the words */

void output_duration(struct text *t, int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 0)
        ms = s = 0;
    if (ms < 1000)
        text_addf(t, "%" PRId64 "ms", ms);
    else if (ms < 60000 && ms % 1000 < 100)
        text_addf(t, "%" PRId64 "s", s);
    else if (ms < 60000)
        text_addf(t, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
    else if (s < 3600)
        text_addf(t, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        text_addf(t, "%" PRId64 "h%02" PRId64 "m", s / 3600, s % 3600 / 60);
    else
        text_addf(t, "%" PRId64 "d%02" PRId64 "h", s / 86400, s % 86400 / 3600);
}

void output_size(struct text *t, int64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    int64_t tenths = bytes * 10;
    size_t i = 0;

    if (bytes < 1024) {
        text_addf(t, "%" PRId64 " bytes", bytes);
        return;
    }
    if (bytes > INT64_MAX / 10)
        tenths = INT64_MAX;
    for (tenths /= 1024; tenths >= 10240 && i < 4; i++)
        tenths /= 1024;
    text_addf(t, "%" PRId64, tenths / 10);
    if (tenths % 10 != 0)
        text_addf(t, ".%" PRId64, tenths % 10);
    text_addf(t, " %s", names[i]);
}

void output_moment(struct text *t, int64_t ms)
{
    time_t when = (time_t)(ms / 1000);
    char line[64];
    struct tm tm;

    if (localtime_r(&when, &tm) == NULL ||
        strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        text_addf(t, "@%" PRId64, ms / 1000);
    else
        text_adds(t, line);
}

void output_instant(struct text *t, int64_t ms)
{
    time_t when = (time_t)(ms / 1000);
    char second[64], zone[16];
    struct tm tm;

    if (localtime_r(&when, &tm) == NULL ||
        strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &tm) == 0 ||
        strftime(zone, sizeof(zone), "%z", &tm) != strlen("+hhmm"))
        text_addf(t, "@%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
    else
        text_addf(t, "%s.%03d%.3s:%s", second, (int)(ms % 1000), zone,
                  zone + 3);
}

/* They turn what is written around them, so that it reads as something else:
 * iswprint() has nothing against that. */
static bool turns_text(wchar_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void output_clean(struct text *t, const char *s, size_t len)
{
    mbstate_t state = {0};
    size_t at = 0;

    text_add(t, "", 0);
    while (at < len) {
        wchar_t wide;
        size_t n = mbrtowc(&wide, s + at, len - at, &state);

        if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
            state = (mbstate_t){0};
            text_addc(t, '?');
            at++;
            continue;
        }
        if (iswprint((wint_t)wide) && !turns_text(wide))
            text_add(t, s + at, n);
        else
            text_addc(t, wide == L'\t' ? ' ' : '?');
        at += n;
    }
}

size_t output_width(const char *s)
{
    mbstate_t state = {0};
    size_t width = 0, left = strlen(s);

    while (left > 0) {
        wchar_t wide;
        size_t n = mbrtowc(&wide, s, left, &state);
        int columns = 1;

        if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
            state = (mbstate_t){0};
            n = 1;
        } else {
            columns = wcwidth(wide);
        }
        width += columns > 0 ? (size_t)columns : 0;
        s += n;
        left -= n;
    }
    return width;
}

char *output_fit(const char *s, size_t columns)
{
    size_t len = strlen(s), dots = columns < 3 ? columns : 3;
    char *part = text_copyn(s, len);

    if (output_width(s) <= columns)
        return part;
    while (len > 0 && output_width(part) + dots > columns) {
        do /* not in the middle of a character */
            len--;
        while (len > 0 && ((unsigned char)part[len] & 0xc0) == 0x80);
        part[len] = '\0';
    }
    part = text_grow(part, len + 4, 1);
    memset(part + len, '.', dots);
    part[len + dots] = '\0';
    return part;
}

size_t output_room(FILE *to)
{
    int columns = output_columns(to);

    return columns > 0 ? (size_t)columns : SIZE_MAX;
}

void output_part(FILE *to, const char *s, enum color color, size_t *room)
{
    char *part = output_fit(s, *room);
    bool colored = color != COLOR_NONE && part[0] != '\0';

    fprintf(to, "%s%s%s", colored ? output_color(to, color) : "", part,
            colored ? output_color(to, COLOR_NONE) : "");
    *room -= output_width(part);
    free(part);
}

/* ------------------------------------------------------------- the answers */

int64_t output_int(const struct yoke_value *map, const char *key,
                   int64_t fallback)
{
    const struct yoke_value *v = yoke_value_get(map, key);

    return v != NULL && v->kind == YOKE_INT ? v->i : fallback;
}

const char *output_str(const struct yoke_value *map, const char *key)
{
    const struct yoke_value *v = yoke_value_get(map, key);

    return v != NULL && v->kind == YOKE_STR ? v->s.data : "";
}

bool output_is_null(const struct yoke_value *map, const char *key)
{
    const struct yoke_value *v = yoke_value_get(map, key);

    return v == NULL || v->kind == YOKE_NULL;
}

size_t output_pairs(const struct yoke_value *v)
{
    if (v->kind == YOKE_MAP)
        return v->count;
    if (v->kind != YOKE_ARRAY || v->count % 2 != 0)
        return 0;
    for (size_t i = 0; i < v->count; i += 2)
        if (v->items[i].kind != YOKE_STR)
            return 0;
    return v->count / 2;
}

static void base64(struct text *t, const unsigned char *p, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";

    text_add(t, "", 0);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)p[i] << 16;

        if (i + 1 < len)
            three |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < len)
            three |= p[i + 2];
        text_addc(t, digits[three >> 18 & 63]);
        text_addc(t, digits[three >> 12 & 63]);
        text_addc(t, i + 1 < len ? digits[three >> 6 & 63] : '=');
        text_addc(t, i + 2 < len ? digits[three & 63] : '=');
    }
}

void output_json_bytes(json_t *object, const char *key, struct yoke_bytes b)
{
    json_t *string;
    struct text name = {0}, digits = {0};

    if (b.data == NULL) {
        (void)json_object_set_new(object, key, json_null());
        return;
    }
    string = json_stringn(b.data, b.len);
    if (string != NULL) {
        (void)json_object_set_new(object, key, string);
        return;
    }
    text_addf(&name, "%s%sbase64", key, key[0] != '\0' ? "_" : "");
    base64(&digits, (const unsigned char *)b.data, b.len);
    (void)json_object_set_new(object, text_str(&name),
                              json_string(text_str(&digits)));
    text_clear(&name);
    text_clear(&digits);
}

static json_t *json_map(const struct yoke_value *v)
{
    json_t *object = json_object();

    for (size_t i = 0; i < output_pairs(v); i++) {
        const struct yoke_value *key = &v->items[2 * i];
        const struct yoke_value *value = &v->items[2 * i + 1];

        if (key->kind != YOKE_STR)
            continue;
        if (value->kind == YOKE_STR)
            output_json_bytes(object, key->s.data, value->s);
        else
            (void)json_object_set_new(object, key->s.data,
                                      output_json_value(value));
    }
    return object;
}

json_t *output_json_value(const struct yoke_value *v)
{
    json_t *json;

    switch (v->kind) {
    case YOKE_INT:
        return json_integer(v->i);
    case YOKE_STR:
        json = json_stringn(v->s.data, v->s.len);
        if (json == NULL) {
            json = json_object();
            output_json_bytes(json, "", v->s);
        }
        return json;
    case YOKE_ARRAY:
        if (output_pairs(v) > 0)
            return json_map(v);
        json = json_array();
        for (size_t i = 0; i < v->count; i++)
            (void)json_array_append_new(json, output_json_value(&v->items[i]));
        return json;
    case YOKE_MAP:
        return json_map(v);
    case YOKE_NULL:
        break;
    }
    return json_null();
}

void output_json(json_t *json)
{
    size_t flags = JSON_ENCODE_ANY;

    if (isatty(STDOUT_FILENO))
        flags |= JSON_INDENT(2);
    if (json_dumpf(json, stdout, flags) == 0)
        putchar('\n');
    json_decref(json);
}

/* ------------------------------------------------------------- the tables */

void table_begin(struct table *t, const char *const *headings)
{
    *t = (struct table){0};
    while (headings[t->ncolumns] != NULL && t->ncolumns < OUTPUT_COLUMNS_MAX) {
        t->right[t->ncolumns] = headings[t->ncolumns][0] == '>';
        t->ncolumns++;
    }
    for (size_t i = 0; i < t->ncolumns; i++)
        table_cell_color(t, headings[i] + (t->right[i] ? 1 : 0), COLOR_BOLD);
}

void table_cell_color(struct table *t, const char *s, enum color color)
{
    struct text clean = {0};

    t->cells = text_grow(t->cells, t->ncells + 1, sizeof(*t->cells));
    t->colors = text_grow(t->colors, t->ncells + 1, sizeof(*t->colors));
    output_clean(&clean, s, strlen(s));
    t->cells[t->ncells] = clean.data;
    t->colors[t->ncells++] = color;
}

void table_cell(struct table *t, const char *s)
{
    table_cell_color(t, s, COLOR_NONE);
}

void table_cell_int(struct table *t, int64_t i)
{
    char digits[24];

    (void)snprintf(digits, sizeof(digits), "%" PRId64, i);
    table_cell(t, digits);
}

/* Is there nothing behind this cell in its row? */
static bool is_last(const struct table *t, size_t cell)
{
    size_t end = cell - cell % t->ncolumns + t->ncolumns;

    while (++cell < end)
        if (t->cells[cell][0] != '\0' || t->right[cell % t->ncolumns])
            return false;
    return true;
}

static void print_blanks(FILE *to, size_t count, size_t *room)
{
    count = count < *room ? count : *room;
    fprintf(to, "%*s", (int)count, "");
    *room -= count;
}

static void print_cell(const struct table *t, FILE *to, size_t cell,
                       size_t width, size_t *room)
{
    size_t column = cell % t->ncolumns;
    bool ends = column + 1 == t->ncolumns, last = is_last(t, cell);
    const char *s = t->cells[cell];
    size_t fill = width - output_width(s);

    if (t->right[column])
        print_blanks(to, fill, room);
    output_part(to, s, t->colors[cell], room);
    if (!t->right[column] && !last)
        print_blanks(to, fill, room);
    if (ends)
        fputc('\n', to);
    else if (!last)
        print_blanks(to, 2, room);
}

/* What is left for the last column on a terminal. */
static void fit_last(struct table *t, FILE *to, const size_t *widths)
{
    size_t columns = (size_t)output_columns(to), used = 0;
    size_t last = t->ncolumns - 1;

    for (size_t i = 0; i < last; i++)
        used += widths[i] + 2;
    if (t->right[last] || columns < used + FIT_LEAST)
        return; /* no terminal, or one where the whole line is cut */
    for (size_t i = last; i < t->ncells; i += t->ncolumns) {
        char *part = output_fit(t->cells[i], columns - used);

        free(t->cells[i]);
        t->cells[i] = part;
    }
}

void table_end(struct table *t, FILE *to)
{
    size_t widths[OUTPUT_COLUMNS_MAX] = {0}, room = 0;

    for (size_t i = 0; i < t->ncells; i++) {
        size_t width = output_width(t->cells[i]);

        if (width > widths[i % t->ncolumns])
            widths[i % t->ncolumns] = width;
    }
    fit_last(t, to, widths);
    for (size_t i = 0; i < t->ncells; i++) {
        if (i % t->ncolumns == 0)
            room = output_room(to);
        print_cell(t, to, i, widths[i % t->ncolumns], &room);
    }
    for (size_t i = 0; i < t->ncells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->colors);
    *t = (struct table){0};
}

void output_field(const char *name, const char *value)
{
    struct text clean = {0};

    output_clean(&clean, value, strlen(value));
    printf("%s%-18s%s %s\n", output_color(stdout, COLOR_DIM), name,
           output_color(stdout, COLOR_NONE), text_str(&clean));
    text_clear(&clean);
}
