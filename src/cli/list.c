/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list - what is there, as a table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"

enum { OPTION_STATE = 400 };

const struct option_row ls_options[] = {
    {'q', "queue", "QUEUE", "only those of a queue"},
    {OPTION_STATE, "state", "STATE",
     "only delayed, parked, ready, running, cancelling, joining, delivering "
     "or finished"},
    {'g', "group", "ID", "only members of a group"},
    {'n', "count", "N", "at most so many (100)"},
    {0, NULL, NULL, NULL},
};

static void print_jobs(const struct yoke_value *jobs)
{
    static const char *const headings[] = {
        "ID", "QUEUE", "STATE", ">TIME", ">ATTEMPT", "NAME", NULL};
    struct table table;

    table_begin(&table, headings);
    for (size_t i = 0; i < jobs->count; i++) {
        const struct yoke_value *job = &jobs->items[i];
        struct text age = {0};

        table_cell(&table, output_str(job, "id"));
        table_cell(&table, output_str(job, "queue"));
        table_cell_color(&table, report_state(job),
                         output_state_color(report_state(job)));
        report_age(&age, job);
        table_cell(&table, text_str(&age));
        table_cell_int(&table, output_int(job, "attempt", 0));
        table_cell(&table, output_str(job, "name"));
        text_clear(&age);
    }
    table_end(&table, stdout);
}

int ls_main(struct cli *c)
{
    struct yoke_bytes argv[10] = {{"JOBS", 4}};
    struct yoke_value *jobs = NULL;
    size_t argc = 1;
    int64_t count = 100;
    yoke *y;
    int id, status;

    while ((id = options_next(c)) != 0) {
        const char *name = id == 'q'            ? "QUEUE"
                           : id == 'g'          ? "GROUP"
                           : id == OPTION_STATE ? "STATE"
                                                : "COUNT";

        if (id == 'n')
            count = options_integer(c, 1, 10000);
        for (size_t i = 1; i < argc; i += 2)
            if (strcmp(argv[i].data, name) == 0)
                cli_usage(c, "the same option is given twice");
        argv[argc++] = (struct yoke_bytes){name, strlen(name)};
        argv[argc++] = (struct yoke_bytes){c->value, strlen(c->value)};
    }
    options_operands(c, 0, 0);
    y = cli_connect(c);
    status = yoke_command(y, argc, argv, &jobs);
    if (status != 0)
        cli_fail(c, y, status, "cannot list jobs");
    if (c->json)
        output_json(output_json_value(jobs));
    else if (jobs->count == 0)
        cli_warn("no jobs");
    else
        print_jobs(jobs);
    if ((int64_t)jobs->count == count)
        cli_warn("there may be more; -n N shows more than %lld",
                 (long long)count);
    yoke_value_free(jobs);
    yoke_close(y);
    return 0;
}
