/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dead - jobs that have failed for good: which there are, run them once more,
 * let them go.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define LISTED 100 /* what the daemon gives where no number is named */

const struct option_row dead_options[] = {
    {'q', "queue", "QUEUE", "only those of a queue"},
    {'n', "count", "N", "at most so many (list: 100, retry: 1000, purge: all)"},
    {0, NULL, NULL, NULL},
};

const struct option_row queue_dead_options[] = {
    {'n', "count", "N", "at most so many (100)"},
    {0, NULL, NULL, NULL},
};

/* Which of them a verb is about. */
struct which {
    const char *queue; /* NULL: any */
    int64_t count;     /* YOKE_DEFAULT */
};

static struct which read_which(struct cli *c, int operands)
{
    struct which w = {.count = YOKE_DEFAULT};
    int id;

    while ((id = options_next(c)) != 0) {
        if (id == 'q')
            w.queue = c->value;
        else
            w.count = options_integer(c, 1, INT64_MAX);
    }
    options_operands(c, operands, operands);
    if (operands == 1)
        w.queue = c->argv[0];
    return w;
}

/* ------------------------------------------------------------------ list */

static void print_row(struct table *table, const struct yoke_outcome_info *o)
{
    const struct yoke_job_error *last =
        o->nerrors > 0 ? &o->errors[o->nerrors - 1] : NULL;
    struct text age = {0};

    output_duration(&age, cli_now_ms() - o->ended_ms);
    table_cell(table, o->id);
    table_cell(table, output_str(o->raw, "queue"));
    table_cell(table, text_str(&age));
    table_cell_int(table, o->attempts);
    table_cell(table, last != NULL ? last->class_name : "");
    table_cell(table, o->name);
    text_clear(&age);
}

static void print_page(const struct yoke_page *page)
{
    static const char *const headings[] = {
        "ID", "QUEUE", ">AGE", ">ATTEMPTS", "LAST ERROR", "NAME", NULL};
    struct table table;

    table_begin(&table, headings);
    for (size_t i = 0; i < page->count; i++)
        print_row(&table, page->members[i]);
    table_end(&table, stdout);
}

static json_t *page_json(const struct yoke_page *page)
{
    json_t *array = json_array();

    for (size_t i = 0; i < page->count; i++)
        (void)json_array_append_new(array,
                                    output_json_value(page->members[i]->raw));
    return array;
}

static int list(struct cli *c, int operands)
{
    struct which w = read_which(c, operands);
    struct yoke_page *page = NULL;
    yoke *y = cli_connect(c);
    int status = yoke_dead_list(y, w.queue, w.count, &page);

    if (status != 0)
        cli_fail(c, y, status, "cannot list the dead");
    if (c->json)
        output_json(page_json(page));
    else if (page->count == 0)
        cli_warn("no job has failed for good");
    else
        print_page(page);
    if ((int64_t)page->count == (w.count == YOKE_DEFAULT ? LISTED : w.count))
        cli_warn("there may be older ones; -n N shows more than %zu",
                 page->count);
    yoke_page_free(page);
    yoke_close(y);
    return 0;
}

int dead_list_main(struct cli *c)
{
    return list(c, 0);
}

int queue_dead_main(struct cli *c)
{
    return list(c, 1);
}

/* ----------------------------------------------------------------- retry */

static void print_id(struct cli *c, json_t *array, const char *id)
{
    if (c->json)
        (void)json_array_append_new(array, json_pack("{s:s}", "id", id));
    else
        puts(id);
}

int dead_retry_main(struct cli *c)
{
    struct which w = read_which(c, 0);
    json_t *array = json_array();
    struct yoke_value *ids = NULL;
    yoke *y = cli_connect(c);
    int status = yoke_dead_retry(y, w.queue, w.count, &ids);

    if (status != 0)
        cli_fail(c, y, status, "cannot retry the dead");
    for (size_t i = 0; i < ids->count; i++)
        print_id(c, array, ids->items[i].s.data);
    if (c->json)
        output_json(json_incref(array));
    else if (ids->count == 0)
        cli_warn("no job has failed for good");
    json_decref(array);
    yoke_value_free(ids);
    yoke_close(y);
    return 0;
}

int retry_main(struct cli *c)
{
    json_t *array = json_array();
    yoke *y;

    options_none(c);
    options_operands(c, 1, -1);
    y = cli_connect(c);
    for (int i = 0; i < c->argc; i++) {
        char id[YOKE_ID_SIZE];
        int status = yoke_job_retry(y, c->argv[i], id);

        if (status != 0)
            cli_fail(c, y, status, "cannot retry %s", c->argv[i]);
        print_id(c, array, id);
    }
    /* one id, one object: as status does it */
    if (c->json && c->argc == 1)
        output_json(json_incref(json_array_get(array, 0)));
    else if (c->json)
        output_json(json_incref(array));
    json_decref(array);
    yoke_close(y);
    return 0;
}

/* ----------------------------------------------------------------- purge */

int dead_purge_main(struct cli *c)
{
    struct which w = read_which(c, 0);
    int64_t purged = 0;
    yoke *y = cli_connect(c);
    int status = yoke_dead_purge(y, w.queue, w.count, &purged);

    if (status != 0)
        cli_fail(c, y, status, "cannot purge the dead");
    if (c->json)
        output_json(json_pack("{s:I}", "purged", (json_int_t)purged));
    else
        printf("%" PRId64 " purged\n", purged);
    yoke_close(y);
    return 0;
}
