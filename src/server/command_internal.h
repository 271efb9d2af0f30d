/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command_internal - what the files of command share: handlers, and reading of
 * arguments.
 *
 * Errors:    a reader of arguments that returns false has answered.
 */
#ifndef YOKE_COMMAND_INTERNAL_H
#define YOKE_COMMAND_INTERNAL_H

#include "server/command.h"
#include "wire/resp.h"

typedef enum command_result command_handler(struct command_call *call);

struct command_row {
    const char *name;
    int min, max; /* words; max -1: no bound */
    unsigned flags;
    const char *area, *arguments, *help;
    command_handler *handler; /* NULL: the words of a family follow */
};

extern const struct command_row command_rows[COMMAND_COUNT];

/* All handlers, by the list. */
#define COMMAND(id, name, min, max, flags, area, arguments, help) \
    command_handler handle_##id;
#define FAMILY_OF(id, name, area, help)
#include "wire/commands.def"
#undef COMMAND
#undef FAMILY_OF

/* The row with that name, or NULL; for a member of a family `text` is
 * "FAMILY MEMBER". Upper or lower case. */
const struct command_row *command_find(struct str text);

/* Longer durations and later times are refused, so that sums fit. */
#define DURATION_MAX INT64_C(3155760000000)   /* a hundred years */
#define TIME_MAX     INT64_C(253402300799999) /* the end of the year 9999 */
#define NUMBER_MAX   INT64_C(1000000000000000)

/* What an integer may be. */
struct int_range {
    int64_t min, max;
    const char *unit; /* " milliseconds"; may be "" */
};

extern const struct int_range range_wait_ms, range_duration_ms,
    range_duration_or_none_ms, range_time, range_count, range_cursor;

/* Answers nothing, whatever it returns. */
bool int_within(struct str text, const struct int_range *range, int64_t *out);
/* `what` names the argument in the error. */
bool arg_int(struct command_call *call, const char *what, struct str text,
             const struct int_range *range, int64_t *out);
bool arg_job(struct command_call *call, struct str text, struct job_id *out);
bool arg_group(struct command_call *call, struct str text,
               struct group_id *out);
bool arg_token(struct command_call *call, struct str text, struct token *out);

enum option_kind {
    OPTION_INT,     /* int64_t at `at` */
    OPTION_PAIR,    /* two int64_t, at `at` and `at2` */
    OPTION_DECIMAL, /* int64_t, thousandths of a decimal number */
    OPTION_TEXT,    /* struct str */
    OPTION_LABEL,   /* struct str, printable UTF-8 */
    OPTION_KEY,     /* the same, not empty */
    OPTION_GROUP,  /* struct group_id; sets the bool at `at2` if at2 is not 0 */
    OPTION_SCOPE,  /* struct scope_ref */
    OPTION_MEMBER, /* struct group_id at `at`, or struct token at `at2` */
    OPTION_FLAG,   /* bool; takes no value */
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t at, at2; /* offsets in struct core_event */
    const struct int_range *range;
};

/* Reads "NAME value" pairs from argv[first] on into call->event. */
bool options_read(struct command_call *call, size_t first,
                  const struct option *options, size_t n);

/* Equal but for upper and lower case of ASCII letters; `name` is upper. */
bool str_is(struct str text, const char *name);

/* Answers an error of the request itself, "ERR <COMMAND>: ...". */
#define refuse(call, ...) refuse_with(call, CORE_ERR_GENERIC, __VA_ARGS__)
void refuse_with(struct command_call *call, uint32_t code, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* For "%.*s" of a word from a request, cut to what fits a line. */
#define WORD(s) (int)((s).len > 64 ? 64 : (s).len), ((s).p ? (s).p : "")

#endif
