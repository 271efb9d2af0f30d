/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * error-tree - ExceptionGroup and except*: every error is kept, in a tree
 * shaped like the groups; split by class keeps the shape.
 *
 * Prints:
 *     all:
 *       release
 *         build
 *           compile: exit:1
 *           link: exit:2
 *         test
 *           hangs: timeout
 *     except* exit:*
 *       release
 *         build
 *           compile: exit:1
 *           link: exit:2
 *     what is left:
 *       release
 *         test
 *           hangs: timeout
 */
#include "example.h"

static void open_group(yoke *y, const char *name, const char *parent,
                       char id[YOKE_ID_SIZE])
{
    struct yoke_group_options o;

    yoke_group_options_init(&o);
    o.name = name;
    o.parent = parent;
    o.fail = 0; /* all are to end by themselves */
    must(y, yoke_group_open(y, &o, id));
}

static void show(const struct yoke_error_tree *t, int depth)
{
    if (!t)
        return;
    printf("%*s%s%s%s\n", 2 * depth, "", t->name, t->nerrors ? ": " : "",
           t->nerrors ? t->errors[t->nerrors - 1].class_name : "");
    for (size_t i = 0; i < t->nchildren; i++)
        show(t->children[i], depth + 1);
}

int main(void)
{
    char release[YOKE_ID_SIZE], build[YOKE_ID_SIZE], test[YOKE_ID_SIZE];
    char id[YOKE_ID_SIZE];
    struct yoke_error_tree *all, *match, *rest;
    struct yoke_outcome_info *o;
    yoke *y = example_open();
    struct yoke_submit s;

    open_group(y, "release", NULL, release);
    open_group(y, "build", release, build);
    example_member(y, build, "compile", "echo no such header >&2; exit 1");
    example_member(y, build, "link", "exit 2");
    example_member(y, build, "strip", "exit 0");
    open_group(y, "test", release, test);
    yoke_submit_init(&s);
    s.group = test;
    s.name = "hangs";
    s.timeout_ms = 200;
    example_run(y, &s, "sleep 60", NULL, id);
    must(y, yoke_group_close(y, build));
    must(y, yoke_group_close(y, test));
    must(y, yoke_group_close(y, release));
    must(y, yoke_group_wait(y, release, YOKE_NONE, &o));

    must(y, yoke_group_errors(y, release, &all));
    printf("all:\n");
    show(all, 1);
    must(y, yoke_error_tree_split(all, "exit:*", &match, &rest));
    printf("except* exit:*\n");
    show(match, 1);
    printf("what is left:\n");
    show(rest, 1);

    yoke_error_tree_free(all);
    yoke_error_tree_free(match);
    yoke_error_tree_free(rest);
    yoke_outcome_free(o);
    yoke_close(y);
    return 0;
}
