/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter - named permits and rates that jobs need.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define PERMITS_MAX INT64_C(1000000000)

enum { OPTION_RATE = 400 };

const struct option_row limiter_set_options[] = {
    {OPTION_RATE, "rate", "N/D",
     "most starts in each interval: 10/1s, 5/s, 1000/1h; none: no bound"},
    {0, NULL, NULL, NULL},
};

static struct yoke_limiter get_info(struct cli *c, yoke *y, const char *name)
{
    struct yoke_limiter l;
    int status = yoke_limiter_info(y, name, &l);

    if (status != 0)
        cli_fail(c, y, status, "cannot look at limiter '%s'", name);
    return l;
}

/* With the names and values of the protocol. */
static json_t *info_json(const char *name, const struct yoke_limiter *l)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "name", name, "permits",
                     (json_int_t)l->permits, "rate",
                     (json_int_t)(l->rate == YOKE_NONE ? 0 : l->rate),
                     "rate_interval", (json_int_t)l->interval_ms, "held",
                     (json_int_t)l->held, "waiting", (json_int_t)l->waiting);
}

static void add_permits(struct text *t, const struct yoke_limiter *l)
{
    if (l->permits == YOKE_NONE)
        text_adds(t, "none");
    else
        text_addf(t, "%" PRId64, l->permits);
}

static void add_rate(struct text *t, const struct yoke_limiter *l)
{
    if (l->rate == YOKE_NONE) {
        text_adds(t, "none");
        return;
    }
    text_addf(t, "%" PRId64 "/", l->rate);
    output_duration(t, l->interval_ms);
}

/* ------------------------------------------------------------------- set */

static int64_t read_permits(struct cli *c, const char *word)
{
    int64_t permits = YOKE_NONE;

    if (strcmp(word, "none") != 0 &&
        !argument_integer(word, 0, PERMITS_MAX, &permits))
        cli_usage(c,
                  "PERMITS: '%s' is not none or a whole number from 0 to "
                  "%" PRId64,
                  word, PERMITS_MAX);
    return permits;
}

int limiter_set_main(struct cli *c)
{
    int64_t permits = YOKE_DEFAULT, rate = YOKE_DEFAULT;
    int64_t interval_ms = YOKE_DEFAULT;
    int status;
    yoke *y;

    while (options_next(c) != 0) {
        if (strcmp(c->value, "none") == 0)
            rate = YOKE_NONE;
        else if (!argument_rate(c->value, &rate, &interval_ms))
            cli_usage(c, "--rate: '%s' is not " ARGUMENT_WANTS_RATE, c->value);
    }
    options_operands(c, 1, 2);
    if (c->argc == 2)
        permits = read_permits(c, c->argv[1]);
    else if (rate == YOKE_DEFAULT)
        cli_usage(c, "say how many permits, or a --rate");
    y = cli_connect(c);
    status = yoke_limiter_set(y, c->argv[0], permits, rate, interval_ms);
    if (status != 0)
        cli_fail(c, y, status, "cannot set limiter '%s'", c->argv[0]);
    yoke_close(y);
    return 0;
}

/* ---------------------------------------------------------- info, list */

static void describe(const char *name, const struct yoke_limiter *l)
{
    struct text permits = {0}, rate = {0}, held = {0}, waiting = {0};

    add_permits(&permits, l);
    add_rate(&rate, l);
    text_addf(&held, "%" PRId64, l->held);
    text_addf(&waiting, "%" PRId64, l->waiting);
    output_field("name", name);
    output_field("permits", text_str(&permits));
    output_field("rate", text_str(&rate));
    output_field("held", text_str(&held));
    output_field("waiting", text_str(&waiting));
    text_clear(&permits);
    text_clear(&rate);
    text_clear(&held);
    text_clear(&waiting);
}

int limiter_info_main(struct cli *c)
{
    struct yoke_limiter l;
    yoke *y;

    options_none(c);
    options_operands(c, 1, 1);
    y = cli_connect(c);
    l = get_info(c, y, c->argv[0]);
    if (c->json)
        output_json(info_json(c->argv[0], &l));
    else
        describe(c->argv[0], &l);
    yoke_close(y);
    return 0;
}

static void print_row(struct table *table, const char *name,
                      const struct yoke_limiter *l)
{
    struct text permits = {0}, rate = {0};

    add_permits(&permits, l);
    add_rate(&rate, l);
    table_cell(table, name);
    table_cell(table, text_str(&permits));
    table_cell_int(table, l->held);
    table_cell(table, text_str(&rate));
    table_cell_int(table, l->waiting);
    text_clear(&permits);
    text_clear(&rate);
}

static json_t *list_json(struct cli *c, yoke *y, const struct yoke_value *names)
{
    json_t *array = json_array();

    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i].s.data;
        struct yoke_limiter l = get_info(c, y, name);

        (void)json_array_append_new(array, info_json(name, &l));
    }
    return array;
}

static void print_list(struct cli *c, yoke *y, const struct yoke_value *names)
{
    static const char *const headings[] = {"LIMITER", ">PERMITS", ">HELD",
                                           ">RATE",   ">WAITING", NULL};
    struct table table;

    table_begin(&table, headings);
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i].s.data;
        struct yoke_limiter l = get_info(c, y, name);

        print_row(&table, name, &l);
    }
    table_end(&table, stdout);
}

int limiter_list_main(struct cli *c)
{
    struct yoke_value *names = NULL;
    int status;
    yoke *y;

    options_none(c);
    options_operands(c, 0, 0);
    y = cli_connect(c);
    status = yoke_limiter_list(y, &names);
    if (status != 0)
        cli_fail(c, y, status, "cannot list the limiters");
    if (c->json)
        output_json(list_json(c, y, names));
    else if (names->count == 0)
        cli_warn("no limiters yet; 'yoke limiter set' makes one");
    else
        print_list(c, y, names);
    yoke_value_free(names);
    yoke_close(y);
    return 0;
}

/* ------------------------------------------------------------------- del */

int limiter_del_main(struct cli *c)
{
    int status;
    yoke *y;

    options_none(c);
    options_operands(c, 1, 1);
    y = cli_connect(c);
    status = yoke_limiter_delete(y, c->argv[0]);
    if (status != 0)
        cli_fail(c, y, status, "cannot remove limiter '%s'", c->argv[0]);
    yoke_close(y);
    return 0;
}
