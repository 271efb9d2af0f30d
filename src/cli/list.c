/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list - what is there: ls as a table, tree as a tree.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define DEPTH_MAX 256

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

const struct option_row tree_options[] = {
    {'a', "all", NULL, "what has ended well or was cancelled, too"},
    {'n', "count", "N", "at most so many lines (1000)"},
    {0, NULL, NULL, NULL},
};

/* What became of it, or where it is. */
static const char *state_of(const struct yoke_value *map)
{
    const char *outcome = output_str(map, "outcome");

    return outcome[0] != '\0' ? outcome : output_str(map, "state");
}

/* How long it ran, runs, or has been there. */
static void add_age(struct text *t, const struct yoke_value *job)
{
    int64_t started = output_int(job, "started", -1);
    int64_t ended = output_int(job, "ended", -1);
    int64_t submitted = output_int(job, "submitted", -1);

    if (started < 0)
        started = submitted;
    if (started >= 0)
        output_duration(t, (ended >= 0 ? ended : cli_now_ms()) - started);
}

/* -------------------------------------------------------------------- ls */

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
        table_cell_color(&table, state_of(job),
                         output_state_color(state_of(job)));
        add_age(&age, job);
        table_cell(&table, text_str(&age));
        table_cell_int(&table, output_int(job, "attempt", 0));
        table_cell(&table, output_str(job, "name"));
        text_clear(&age);
    }
    table_end(&table);
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

/* ------------------------------------------------------------------ tree */

static void print_colored(const char *s, enum color color)
{
    printf("%s%s%s", output_color(stdout, color), s,
           output_color(stdout, COLOR_NONE));
}

static void print_name(const struct yoke_value *map)
{
    const char *name = output_str(map, "name");
    struct text clean = {0};

    if (name[0] == '\0')
        return;
    output_clean(&clean, name, strlen(name));
    fputs("  ", stdout);
    print_colored(text_str(&clean), COLOR_BOLD);
    text_clear(&clean);
}

static void print_reason(const struct yoke_value *map)
{
    const char *reason = output_str(map, "reason");
    struct text clean = {0};

    if (reason[0] == '\0')
        return;
    output_clean(&clean, reason, strlen(reason));
    printf("  (%s)", text_str(&clean));
    text_clear(&clean);
}

static void print_count(const struct yoke_value *map, const char *key,
                        const char **before)
{
    int64_t n = output_int(map, key, 0);

    if (n == 0)
        return;
    printf("%s%" PRId64 " %s", *before, n, key);
    *before = ", ";
}

static void print_group(const struct yoke_value *map)
{
    static const char *const counts[] = {"running", "queued", "ok", "failed",
                                         "cancelled"};
    int64_t deadline = output_int(map, "deadline", -1);
    int64_t width = output_int(map, "width", 0);
    const char *before = "  ";

    printf("%s  ", output_str(map, "id"));
    print_colored(state_of(map), output_state_color(state_of(map)));
    print_name(map);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        print_count(map, counts[i], &before);
    if (width > 0)
        printf("  width %" PRId64, width);
    if (deadline >= 0 && output_is_null(map, "outcome")) {
        struct text left = {0};

        output_duration(&left, deadline - cli_now_ms());
        printf("  %s left", text_str(&left));
        text_clear(&left);
    }
    print_reason(map);
    putchar('\n');
}

static void print_job(const struct yoke_value *map)
{
    int64_t attempt = output_int(map, "attempt", 0);
    struct text age = {0};

    printf("%s  ", output_str(map, "id"));
    print_colored(state_of(map), output_state_color(state_of(map)));
    add_age(&age, map);
    printf(" %s", text_str(&age));
    text_clear(&age);
    if (attempt > 1)
        printf("  attempt %" PRId64, attempt);
    printf("  [%s]", output_str(map, "queue"));
    print_name(map);
    print_reason(map);
    putchar('\n');
}

static bool is_entry(const struct yoke_value *v)
{
    return v->kind == YOKE_ARRAY && v->count == 2 &&
           v->items[0].kind == YOKE_INT && v->items[0].i >= 0 &&
           output_pairs(&v->items[1]) > 0;
}

/* What is neither over nor of interest any more. */
static bool is_live(const struct yoke_value *map)
{
    const char *outcome = output_str(map, "outcome");

    return outcome[0] == '\0' || strcmp(outcome, "failed") == 0;
}

/* Leaves out what is over, unless something below it is not. The first entry
 * is what was asked for, and stays. */
static bool *choose(const struct yoke_value *tree)
{
    bool *shown = text_alloc(tree->count, sizeof(*shown));
    int64_t above = 0; /* the depth of what must be shown for its children */

    for (size_t i = tree->count; i-- > 0;) {
        int64_t depth = tree->items[i].items[0].i;

        shown[i] = i == 0 || depth < above || is_live(&tree->items[i].items[1]);
        if (shown[i])
            above = depth;
    }
    return shown;
}

/* Whether a later entry that is shown hangs at the same place as entry i. */
static bool has_sibling(const struct yoke_value *tree, const bool *shown,
                        size_t i)
{
    int64_t depth = tree->items[i].items[0].i;

    for (size_t k = i + 1; k < tree->count; k++) {
        if (tree->items[k].items[0].i < depth)
            return false;
        if (tree->items[k].items[0].i == depth && shown[k])
            return true;
    }
    return false;
}

static void draw(const struct yoke_value *tree, const bool *shown)
{
    bool utf8 = output_is_utf8(), open[DEPTH_MAX] = {false};
    const char *bar = utf8 ? "\u2502  " : "|  ";

    for (size_t i = 0; i < tree->count; i++) {
        const struct yoke_value *map = &tree->items[i].items[1];
        int64_t depth = tree->items[i].items[0].i;
        int64_t first = tree->items[0].items[0].i;

        if (depth >= DEPTH_MAX || !shown[i])
            continue;
        open[depth] = has_sibling(tree, shown, i);
        for (int64_t k = first + 1; k < depth; k++)
            fputs(open[k] ? bar : "   ", stdout);
        if (depth > first && utf8)
            fputs(open[depth] ? "\u251c\u2500 " : "\u2514\u2500 ", stdout);
        else if (depth > first)
            fputs(open[depth] ? "|- " : "`- ", stdout);
        if (cli_is_group(output_str(map, "id")))
            print_group(map);
        else
            print_job(map);
    }
}

static void print_tree(const struct yoke_value *tree, bool all)
{
    bool *shown = choose(tree);
    size_t hidden = 0;

    for (size_t i = 0; i < tree->count; i++) {
        hidden += !shown[i];
        shown[i] = shown[i] || all;
    }
    draw(tree, shown);
    if (hidden > 0 && !all)
        printf("%s(%zu that ended well or were cancelled are not shown; -a "
               "shows them)%s\n",
               output_color(stdout, COLOR_DIM), hidden,
               output_color(stdout, COLOR_NONE));
    free(shown);
}

int tree_main(struct cli *c)
{
    struct yoke_value *tree = NULL;
    const char *count = "1000", *id;
    bool all = false;
    int status, option;
    yoke *y;

    while ((option = options_next(c)) != 0) {
        if (option == 'a') {
            all = true;
            continue;
        }
        (void)options_integer(c, 1, 10000);
        count = c->value;
    }
    options_operands(c, 0, 1);
    id = c->argc > 0 ? c->argv[0] : "root";
    y = cli_connect(c);
    status = yoke_commandl(y, &tree, "GROUP", "TREE", id, "COUNT", count,
                           (char *)NULL);
    if (status != 0)
        cli_fail(c, y, status, "cannot get the tree below %s", id);
    for (size_t i = 0; i < tree->count; i++)
        if (!is_entry(&tree->items[i]))
            cli_fail(c, NULL, YOKE_ERR_PROTOCOL, "cannot read the tree");
    if (c->json)
        output_json(output_json_value(tree));
    else if (tree->count == 0)
        cli_warn("nothing is there");
    else
        print_tree(tree, all);
    yoke_value_free(tree);
    yoke_close(y);
    return 0;
}
