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
#include "cli/report.h"
#include "cli/text.h"

#define DEPTH_MAX    512
#define DETAIL_LINES 3 /* of the stderr of what has failed */

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

/* A line of the tree, in parts with two blanks between. When it is too long
 * for the terminal its reason and then its name give way, and then its end. */
enum { PART_STATE, PART_NAME, PART_FACTS, PART_REASON, PARTS };

struct line {
    const char *id;
    struct text parts[PARTS], error;
    enum color state_color;
};

static size_t part_width(const struct text *t)
{
    return t->len > 0 ? 2 + output_width(text_str(t)) : 0;
}

static void give_way(struct text *t, size_t *width, size_t columns)
{
    size_t own = part_width(t), rest = *width - own;
    char *fit;

    if (own == 0 || *width <= columns)
        return;
    fit =
        output_fit(text_str(t), columns > rest + 18 ? columns - rest - 2 : 16);
    text_clear(t);
    text_adds(t, fit);
    free(fit);
    *width = rest + part_width(t);
}

static void print_part(const struct text *t, const char *before,
                       enum color color, size_t *room)
{
    if (t->len == 0)
        return;
    output_part(before, COLOR_NONE, room);
    output_part(text_str(t), color, room);
}

/* Prints and frees it. */
static void line_end(struct line *l, size_t room)
{
    size_t width = strlen(l->id);

    for (int i = 0; i < PARTS; i++)
        width += part_width(&l->parts[i]);
    width += l->error.len > 0 ? 1 + output_width(text_str(&l->error)) : 0;
    give_way(&l->parts[PART_REASON], &width, room);
    give_way(&l->parts[PART_NAME], &width, room);
    output_part(l->id, COLOR_NONE, &room);
    print_part(&l->parts[PART_STATE], "  ", l->state_color, &room);
    print_part(&l->error, " ", COLOR_RED, &room);
    print_part(&l->parts[PART_NAME], "  ", COLOR_BOLD, &room);
    print_part(&l->parts[PART_FACTS], "  ", COLOR_NONE, &room);
    print_part(&l->parts[PART_REASON], "  ", COLOR_NONE, &room);
    putchar('\n');
    for (int i = 0; i < PARTS; i++)
        text_clear(&l->parts[i]);
    text_clear(&l->error);
}

static struct line line_begin(const struct yoke_value *map)
{
    const char *name = output_str(map, "name");
    const char *reason = output_str(map, "reason");
    struct line l = {.id = output_str(map, "id"),
                     .state_color = output_state_color(state_of(map))};

    text_adds(&l.parts[PART_STATE], state_of(map));
    output_clean(&l.parts[PART_NAME], name, strlen(name));
    if (reason[0] != '\0') {
        text_addc(&l.parts[PART_REASON], '(');
        output_clean(&l.parts[PART_REASON], reason, strlen(reason));
        text_addc(&l.parts[PART_REASON], ')');
    }
    return l;
}

static void print_group(const struct yoke_value *map, size_t room)
{
    static const char *const counts[] = {"running", "queued", "ok", "failed",
                                         "cancelled"};
    int64_t deadline = output_int(map, "deadline", -1);
    int64_t width = output_int(map, "width", 0);
    struct line l = line_begin(map);
    struct text *facts = &l.parts[PART_FACTS];

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        int64_t n = output_int(map, counts[i], 0);

        if (n > 0)
            text_addf(facts, "%s%" PRId64 " %s", facts->len > 0 ? ", " : "", n,
                      counts[i]);
    }
    if (width > 0)
        text_addf(facts, "  width %" PRId64, width);
    if (deadline >= 0 && output_is_null(map, "outcome")) {
        text_adds(facts, "  ");
        output_duration(facts, deadline - cli_now_ms());
        text_adds(facts, " left");
    }
    line_end(&l, room);
}

/* error: what it failed with, or NULL */
static void print_job(const struct yoke_value *map,
                      const struct yoke_outcome_info *error, size_t room)
{
    int64_t attempt = output_int(map, "attempt", 0);
    struct line l = line_begin(map);
    struct text *facts = &l.parts[PART_FACTS];

    if (error != NULL) {
        const char *class_name = error->errors[error->nerrors - 1].class_name;

        output_clean(&l.error, class_name, strlen(class_name));
    }
    add_age(facts, map);
    if (attempt > 1)
        text_addf(facts, "  attempt %" PRId64, attempt);
    text_addf(facts, "  [%s]", output_str(map, "queue"));
    line_end(&l, room);
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

/* Whether an entry below entry i is shown. */
static bool has_branches(const struct yoke_value *tree, const bool *shown,
                         size_t i)
{
    int64_t depth = tree->items[i].items[0].i;

    for (size_t k = i + 1; k < tree->count; k++) {
        if (tree->items[k].items[0].i <= depth)
            return false;
        if (shown[k])
            return true;
    }
    return false;
}

/* How a failed job has ended; NULL: it has not failed, or is forgotten. */
static struct yoke_outcome_info *failure(yoke *y, const struct yoke_value *job)
{
    struct yoke_outcome_info *o = NULL;

    if (strcmp(output_str(job, "outcome"), "failed") != 0 ||
        yoke_job_wait(y, output_str(job, "id"), 0, &o) != 0)
        return NULL;
    if (o->nerrors > 0)
        return o;
    yoke_outcome_free(o);
    return NULL;
}

/* The line of a job and, if it has failed, why; `margin` goes before that. */
static void draw_job(yoke *y, const struct yoke_value *map, const char *margin,
                     size_t room)
{
    struct yoke_outcome_info *error = failure(y, map);

    print_job(map, error, room);
    if (error != NULL)
        report_errors(stdout, margin, DETAIL_LINES, error);
    yoke_outcome_free(error);
}

static void draw(yoke *y, const struct yoke_value *tree, const bool *shown)
{
    bool utf8 = output_is_utf8(), open[DEPTH_MAX] = {false};
    const char *bar = utf8 ? "\u2502  " : "|  ";
    int64_t first = tree->items[0].items[0].i;

    for (size_t i = 0; i < tree->count; i++) {
        const struct yoke_value *map = &tree->items[i].items[1];
        int64_t depth = tree->items[i].items[0].i;
        size_t room = output_room();
        struct text margin = {0};

        if (depth >= DEPTH_MAX || !shown[i])
            continue;
        open[depth] = has_sibling(tree, shown, i);
        for (int64_t k = first + 1; k < depth; k++)
            text_adds(&margin, open[k] ? bar : "   ");
        output_part(text_str(&margin), COLOR_NONE, &room);
        if (depth > first && utf8)
            output_part(open[depth] ? "\u251c\u2500 " : "\u2514\u2500 ",
                        COLOR_NONE, &room);
        else if (depth > first)
            output_part(open[depth] ? "|- " : "`- ", COLOR_NONE, &room);
        if (depth > first)
            text_adds(&margin, open[depth] ? bar : "   ");
        text_adds(&margin, !has_branches(tree, shown, i) ? "  "
                           : utf8                        ? "\u2502 "
                                                         : "| ");
        if (cli_is_group(output_str(map, "id")))
            print_group(map, room);
        else
            draw_job(y, map, text_str(&margin), room);
        text_clear(&margin);
    }
}

static void print_tree(yoke *y, const struct yoke_value *tree, bool all)
{
    bool *shown = choose(tree);
    size_t hidden = 0;

    for (size_t i = 0; i < tree->count; i++) {
        hidden += !shown[i];
        shown[i] = shown[i] || all;
    }
    draw(y, tree, shown);
    if (hidden > 0 && !all)
        printf("%s(%zu that ended well or were cancelled are not shown; -a "
               "shows them)%s\n",
               output_color(stdout, COLOR_DIM), hidden,
               output_color(stdout, COLOR_NONE));
    free(shown);
}

/* Objects in objects: what is below stands in "below", for "members" is
 * the number of a group's members. */
static json_t *tree_json(const struct yoke_value *tree)
{
    json_t *path[DEPTH_MAX] = {NULL}; /* lent: the top owns all */

    for (size_t i = 0; i < tree->count; i++) {
        int64_t depth = tree->items[i].items[0].i;
        json_t *json;

        if (depth >= DEPTH_MAX || (i > 0 && (depth == 0 || !path[depth - 1])))
            continue;
        json = output_json_value(&tree->items[i].items[1]);
        (void)json_object_set_new(json, "below", json_array());
        path[depth] = json;
        if (i > 0)
            (void)json_array_append_new(
                json_object_get(path[depth - 1], "below"), json);
    }
    return path[0] != NULL ? path[0] : json_null();
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
        output_json(tree_json(tree));
    else if (tree->count == 0)
        cli_warn("nothing is there");
    else
        print_tree(y, tree, all);
    yoke_value_free(tree);
    yoke_close(y);
    return 0;
}
