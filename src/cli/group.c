/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group - groups for scripts: opened by one command, used by others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"

enum {
    OPTION_PARENT = 400,
    OPTION_HALT,
    OPTION_DEADLINE,
    OPTION_KEEP,
    OPTION_NAME,
    OPTION_ERRORS,
    OPTION_CLASS,
    OPTION_EXCEPT,
    OPTION_DETACHED,
    OPTION_KEY,
};

const struct option_row group_open_options[] = {
    {OPTION_PARENT, "parent", "ID", "a group (inside a job: that job)"},
    {OPTION_DETACHED, "detached", NULL, "in the root group, also inside a job"},
    {OPTION_HALT, "halt", "WHEN",
     "fail=N, success=N (comma for both) or never (fail=1)"},
    {'w', "width", "N", "most of its jobs running at once"},
    {OPTION_DEADLINE, "deadline", "D", "most time from now to its end"},
    {OPTION_KEEP, "keep", "D", "how long it is kept after its end (1h)"},
    {OPTION_NAME, "name", "TEXT", "a label for people"},
    {OPTION_KEY, "key", "TEXT",
     "if a group of this key is known, print its id and do nothing else"},
    {0, NULL, NULL, NULL},
};

const struct option_row group_close_options[] = {
    {OPTION_HALT, "halt", "WHEN",
     "instead of what was said when it was opened; N% of its members, too"},
    {0, NULL, NULL, NULL},
};

const struct option_row group_wait_options[] = {
    {'t', "timeout", "D", "most time to wait; then exit with 124"},
    {0, NULL, NULL, NULL},
};

const struct option_row group_results_options[] = {
    {OPTION_ERRORS, "errors", NULL, "only those that failed"},
    {0, NULL, NULL, NULL},
};

const struct option_row group_errors_options[] = {
    {OPTION_CLASS, "class", "GLOB[,GLOB]",
     "only errors of these classes: 'exit:*'"},
    {OPTION_EXCEPT, "except", "GLOB[,GLOB]", "only errors of other classes"},
    {0, NULL, NULL, NULL},
};

int group_open_main(struct cli *c)
{
    struct yoke_group_options options;
    char group[YOKE_ID_SIZE];
    int status, id;
    yoke *y;

    yoke_group_options_init(&options);
    while ((id = options_next(c)) != 0) {
        switch (id) {
        case OPTION_PARENT:
            options.parent = c->value;
            break;
        case OPTION_DETACHED:
            options.parent = "root";
            break;
        case OPTION_HALT:
            options_halt_numbers(c, &options.fail, &options.succeed);
            break;
        case 'w':
            options.width = options_integer(c, 1, INT32_MAX);
            break;
        case OPTION_DEADLINE:
            options.timeout_ms = options_duration(c);
            break;
        case OPTION_KEEP:
            options.keep_ms = options_duration(c);
            break;
        case OPTION_NAME:
            options.name = c->value;
            break;
        case OPTION_KEY:
            options.key = c->value;
            break;
        }
    }
    options_operands(c, 0, 0);
    /* this command's session ends at once */
    options.detached = true;
    y = cli_connect(c);
    status = yoke_group_open(y, &options, group);
    if (status != 0)
        cli_fail(c, y, status, "cannot open a group");
    yoke_close(y);
    if (c->json)
        output_json(json_pack("{s:s}", "id", group));
    else
        puts(group);
    return 0;
}

/* The one operand, which must be a group's id. */
static const char *group_operand(struct cli *c)
{
    options_operands(c, 1, 1);
    if (!cli_is_group(c->argv[0]))
        cli_usage(c, "'%s' is no group's id; those begin with g", c->argv[0]);
    return c->argv[0];
}

/* A share is one of the members that are there now. */
static int close_with_policy(struct cli *c, yoke *y, const char *group,
                             const struct halt *halt)
{
    struct yoke_value *info = NULL;
    int64_t fail, succeed;
    int status;

    status = yoke_commandl(y, &info, "GROUP", "INFO", group, (char *)NULL);
    if (status != 0)
        cli_fail(c, y, status, "cannot count the members of %s", group);
    halt_numbers(halt, output_int(info, "members", 0), &fail, &succeed);
    yoke_value_free(info);
    return yoke_group_close_policy(y, group, fail, succeed);
}

int group_close_main(struct cli *c)
{
    bool with_policy = false;
    struct halt halt;
    const char *group;
    int status;
    yoke *y;

    while (options_next(c) != 0) {
        options_halt(c, &halt);
        with_policy = true;
    }
    group = group_operand(c);
    y = cli_connect(c);
    status = with_policy ? close_with_policy(c, y, group, &halt)
                         : yoke_group_close(y, group);
    if (status != 0)
        cli_fail(c, y, status, "cannot close %s", group);
    yoke_close(y);
    return 0;
}

static struct yoke_error_tree *get_errors(struct cli *c, yoke *y,
                                          const char *group)
{
    struct yoke_error_tree *tree = NULL;
    int status = yoke_group_errors(y, group, &tree);

    if (status != 0)
        cli_fail(c, y, status, "cannot get the errors of %s", group);
    return tree;
}

int group_wait_main(struct cli *c)
{
    struct yoke_outcome_info *info = NULL;
    int64_t wait_ms = YOKE_NONE;
    const char *group;
    int status, result;
    yoke *y;

    while (options_next(c) != 0)
        wait_ms = options_duration(c);
    group = group_operand(c);
    y = cli_connect(c);
    status = yoke_group_wait(y, group, wait_ms, &info);
    if (status == YOKE_ERR_TIMEOUT) {
        cli_warn("%s has not ended after %lld ms", group, (long long)wait_ms);
        exit(EXIT_TIMED_OUT);
    }
    if (status != 0)
        cli_fail(c, y, status, "cannot wait for %s", group);
    result = info->outcome == YOKE_SUCCEEDED ? 0 : EXIT_FAILED;
    if (c->json) {
        output_json(output_json_value(info->raw));
    } else if (result != 0 || info->failed > 0) {
        struct yoke_error_tree *tree = get_errors(c, y, group);

        report_tree(stderr, info, tree, 0);
        yoke_error_tree_free(tree);
    }
    yoke_outcome_free(info);
    yoke_close(y);
    return result;
}

/* ---------------------------------------------------------------- results */

static void print_member(const struct yoke_outcome_info *o)
{
    char *why = report_why(o);
    struct text line = {0};

    printf("%s  %s", o->id, why);
    free(why);
    if (o->name[0] != '\0') {
        output_clean(&line, o->name, strlen(o->name));
        printf("  (%s)", text_str(&line));
        text_clear(&line);
    }
    if (o->result.data != NULL)
        printf("  %zu bytes", o->result.len);
    putchar('\n');
}

static void print_page(struct cli *c, const struct yoke_page *page,
                       bool *printed)
{
    for (size_t i = 0; i < page->count; i++) {
        if (!c->json) {
            print_member(page->members[i]);
            continue;
        }
        /* one array, but never all of it in memory */
        if (*printed)
            fputs(",\n", stdout);
        *printed = true;
        json_t *json = output_json_value(page->members[i]->raw);
        (void)json_dumpf(json, stdout, 0); /* stdout keeps its error */
        json_decref(json);
    }
}

int group_results_main(struct cli *c)
{
    bool errors_only = false, over = false, printed = false;
    char cursor[YOKE_ID_SIZE] = "0";
    const char *group;
    yoke *y;

    while (options_next(c) != 0)
        errors_only = true;
    group = group_operand(c);
    y = cli_connect(c);
    if (c->json)
        putchar('[');
    while (!over) {
        struct yoke_page *page = NULL;
        int status =
            yoke_group_results(y, group, cursor, errors_only, 32, &page);

        if (status != 0)
            cli_fail(c, y, status, "cannot get the results of %s", group);
        print_page(c, page, &printed);
        /* A page of a group that lives is never over; one that is empty has
         * looked at many, or come to the end. */
        over = page->over || strcmp(cursor, page->cursor) == 0;
        memcpy(cursor, page->cursor, sizeof(cursor));
        yoke_page_free(page);
    }
    if (c->json)
        puts("]");
    yoke_close(y);
    return 0;
}

/* ----------------------------------------------------------------- errors */

/* One half of it; the other one, and the tree, are freed. */
static struct yoke_error_tree *split(struct cli *c,
                                     struct yoke_error_tree *tree,
                                     const char *globs, bool match)
{
    struct yoke_error_tree *half = NULL;
    int status;

    if (globs == NULL)
        return tree;
    status = yoke_error_tree_split(tree, globs, match ? &half : NULL,
                                   match ? NULL : &half);
    if (status == YOKE_ERR_ARGUMENT)
        cli_usage(c, "'%s' is no list of classes, such as 'exit:*,timeout'",
                  globs);
    if (status != 0)
        cli_fail(c, NULL, status, "cannot split the errors");
    yoke_error_tree_free(tree);
    return half;
}

/* The one operand: a group, or a job. */
int group_errors_main(struct cli *c)
{
    const char *classes = NULL, *except = NULL;
    struct yoke_error_tree *tree;
    yoke *y;
    int id;

    while ((id = options_next(c)) != 0)
        *(id == OPTION_CLASS ? &classes : &except) = c->value;
    options_operands(c, 1, 1);
    y = cli_connect(c);
    tree = get_errors(c, y, c->argv[0]);
    tree = split(c, split(c, tree, classes, true), except, false);
    if (c->json)
        output_json(tree != NULL ? report_tree_json(tree) : json_null());
    else
        report_tree(stdout, NULL, tree, 0);
    yoke_error_tree_free(tree);
    yoke_close(y);
    return 0;
}
