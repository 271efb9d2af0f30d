/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output - how things look: tables, colours, durations, JSON.
 *
 * Knows:     the terminal, the locale, the shapes of the daemon's answers.
 * Never:     asks the network.
 * Errors:    what stdout does not take is found by its stream's error flag
 *            when the program ends; output_write says so at once.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <yoke.h>

#include "cli/text.h"

/* ---------------------------------------------------------- the terminal */

enum color {
    COLOR_NONE,
    COLOR_BOLD,
    COLOR_DIM,
    COLOR_RED,
    COLOR_GREEN,
    COLOR_YELLOW,
    COLOR_BLUE,
    COLOR_MAGENTA,
    COLOR_CYAN,
};

/* The sequence that begins a colour, or ends it (COLOR_NONE); "" where the
 * stream is no terminal, or NO_COLOR is set. */
const char *output_color(FILE *to, enum color color);
/* The colour of a state or an outcome. */
enum color output_state_color(const char *state);
bool output_is_utf8(void);
/* Columns of the terminal behind a stream; 0: it is none. */
int output_columns(FILE *to);
/* A stream into memory, which is drawn on as if it were a terminal with so many
 * columns, in colours; 0: as if it were none. There is one at a time. */
FILE *output_frame_begin(size_t columns);
/* What was drawn; the caller frees it. */
char *output_frame_end(void);
/* Writes all of it to a descriptor; 0 or -errno. */
int output_write(int fd, const void *data, size_t len);

/* -------------------------------------------------------------- the words */

/* "350ms", "12.3s", "1m12s", "2h05m", "3d04h". */
void output_duration(struct text *t, int64_t ms);
/* "1.5 MiB". */
void output_size(struct text *t, int64_t bytes);
/* "2026-11-22 17:03:22", local time. */
void output_moment(struct text *t, int64_t ms);
/* The same to the millisecond, as RFC 3339 has it: with the distance to UTC. */
void output_instant(struct text *t, int64_t ms);
/* Bytes that others chose, made harmless for a terminal: what is not
 * printable, or turns the direction of writing, becomes '?', a line's end
 * too. */
void output_clean(struct text *t, const char *s, size_t len);
/* Columns that s takes. */
size_t output_width(const char *s);
/* As much of s as fits into so many columns, with "..." where some is missing;
 * the caller frees it. */
char *output_fit(const char *s, size_t columns);
/* What a line of a stream has room for: without a terminal, anything. */
size_t output_room(FILE *to);
/* Prints as much of s as fits into *room, and takes that from it. */
void output_part(FILE *to, const char *s, enum color color, size_t *room);

/* ------------------------------------------------------------- the answers */

/* The parts of a map; where there is none or it is null: fallback, "". */
int64_t output_int(const struct yoke_value *map, const char *key,
                   int64_t fallback);
const char *output_str(const struct yoke_value *map, const char *key);
bool output_is_null(const struct yoke_value *map, const char *key);

/* The pairs of a map, at items[2 * i] and the place behind it; 0: it is none.
 * What travels as RESP2 has maps as flat arrays of names and values: an array
 * that could be one is one, since no answer but QUEUE LIST's is a plain list of
 * strings. */
size_t output_pairs(const struct yoke_value *v);

/* A reply as JSON, the names kept. Bytes that are not UTF-8 stand as
 * KEY_base64 in a map, and as {"base64": ...} in an array. */
json_t *output_json_value(const struct yoke_value *v);
/* Bytes as the pair KEY or KEY_base64 of an object. */
void output_json_bytes(json_t *object, const char *key, struct yoke_bytes b);
/* Prints one JSON text and a line's end; takes it. */
void output_json(json_t *json);

/* ------------------------------------------------------------- the tables */

#define OUTPUT_COLUMNS_MAX 12

struct table {
    size_t ncolumns, ncells;
    bool right[OUTPUT_COLUMNS_MAX];
    char **cells;
    enum color *colors;
};

/* Headings, NULL-terminated; one that begins with '>' is aligned right. */
void table_begin(struct table *t, const char *const *headings);
/* The next cell, row by row; copied. */
void table_cell(struct table *t, const char *s);
void table_cell_color(struct table *t, const char *s, enum color color);
void table_cell_int(struct table *t, int64_t i);
/* Prints, aligned, and frees. On a terminal the last column, if it is
 * not aligned right, is cut so that a row is a line; where that is not enough
 * the line is. */
void table_end(struct table *t, FILE *to);

/* One "  name  value" line of a description. */
void output_field(const char *name, const char *value);

#endif
