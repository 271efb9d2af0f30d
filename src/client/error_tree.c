/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * error_tree - the errors under a group, and how they are split.
 *
 * A node without errors of its own or below it is not in a tree. The errors of
 * a node and all their strings are one allocation.
 */
#include "client/client.h"

#include <fnmatch.h>

/* Deeper than any daemon lets groups nest: bounds the recursion. */
#define DEPTH_MAX 256

static char *put_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *to = *at;

    memcpy(to, text, size);
    *at += size;
    return to;
}

/* Does this error go to the half that is being made? */
static bool wanted(const struct yoke_job_error *e, const char *glob, bool match)
{
    return !glob || (fnmatch(glob, e->class_name, 0) == 0) == match;
}

/* Deep copies of the errors whose class matches, or does not; glob NULL: of
 * all. False: no memory. */
static bool copy_errors(struct yoke_error_tree *to, size_t n,
                        const struct yoke_job_error *errors, const char *glob,
                        bool match)
{
    size_t count = 0, size = 0;
    char *at;

    for (size_t i = 0; i < n; i++) {
        if (!wanted(&errors[i], glob, match))
            continue;
        count++;
        size += sizeof(*errors) + strlen(errors[i].class_name) +
                strlen(errors[i].message) + strlen(errors[i].detail) + 3;
    }
    if (count == 0)
        return true;
    to->errors = yk_alloc(size);
    if (!to->errors)
        return false;
    at = (char *)(to->errors + count);
    for (size_t i = 0; i < n; i++) {
        struct yoke_job_error *e = &to->errors[to->nerrors];

        if (!wanted(&errors[i], glob, match))
            continue;
        *e = errors[i];
        e->class_name = put_text(&at, errors[i].class_name);
        e->message = put_text(&at, errors[i].message);
        e->detail = put_text(&at, errors[i].detail);
        to->nerrors++;
    }
    return true;
}

static struct yoke_error_tree *node_new(const char *id, const char *name,
                                        bool is_group)
{
    struct yoke_error_tree *t = yk_zalloc(1, sizeof(*t));
    size_t size = strlen(name) + 1;

    if (!t)
        return NULL;
    t->name = yk_alloc(size);
    if (!t->name) {
        free(t);
        return NULL;
    }
    memcpy(t->name, name, size);
    (void)snprintf(t->id, sizeof(t->id), "%s", id); /* no id is longer */
    t->is_group = is_group;
    return t;
}

/* Takes the child, also on failure. A tree that is empty is dropped. */
static bool node_adopt(struct yoke_error_tree *t, struct yoke_error_tree *child)
{
    struct yoke_error_tree **grown;
    size_t n = t->nchildren;

    if (!child)
        return true;
    if (child->nerrors == 0 && child->nchildren == 0) {
        yoke_error_tree_free(child);
        return true;
    }
    if ((n & (n - 1)) == 0) { /* 0, 1, 2, 4 …: the room is used up */
        grown = yk_resize(t->children, n ? 2 * n : 1,
                          sizeof(struct yoke_error_tree *));
        if (!grown) {
            yoke_error_tree_free(child);
            return false;
        }
        t->children = grown;
    }
    t->children[t->nchildren++] = child;
    return true;
}

void yoke_error_tree_free(struct yoke_error_tree *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->nchildren; i++)
        yoke_error_tree_free(t->children[i]);
    free(t->children);
    free(t->errors);
    free(t->name);
    free(t);
}

/* ---------------------------------------------------------------- reading */

static int read_group(yoke *y, const struct yoke_outcome_info *info, int depth,
                      struct yoke_error_tree **out);

/* The tree of a member: a leaf, or what is below a group. */
static int read_member(yoke *y, const struct yoke_outcome_info *member,
                       int depth, struct yoke_error_tree **out)
{
    struct yoke_error_tree *leaf;

    if (member->is_group)
        return read_group(y, member, depth + 1, out);
    leaf = node_new(member->id, member->name, false);
    if (!leaf ||
        !copy_errors(leaf, member->nerrors, member->errors, NULL, true)) {
        yoke_error_tree_free(leaf);
        return yk_nomem(y);
    }
    *out = leaf;
    return 0;
}

static int read_page(yoke *y, struct yoke_error_tree *t,
                     const struct yoke_page *page, int depth)
{
    for (size_t i = 0; i < page->count; i++) {
        struct yoke_error_tree *child = NULL;
        int status = read_member(y, page->members[i], depth, &child);

        if (status < 0)
            return status;
        if (!node_adopt(t, child))
            return yk_nomem(y);
    }
    return 0;
}

static int read_members(yoke *y, struct yoke_error_tree *t, int depth)
{
    char cursor[YOKE_ID_SIZE] = "0";
    bool more = true;

    while (more) {
        struct yoke_page *page;
        int status = yoke_group_results(y, t->id, cursor, true, 0, &page);

        if (status < 0)
            return status;
        memcpy(cursor, page->cursor, sizeof(cursor));
        /* The page of a group that is still open is never over. */
        more = !page->over && page->count > 0;
        status = read_page(y, t, page, depth);
        yoke_page_free(page);
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_group(yoke *y, const struct yoke_outcome_info *info, int depth,
                      struct yoke_error_tree **out)
{
    struct yoke_error_tree *t;
    int status = 0;

    if (depth > DEPTH_MAX || strlen(info->id) > YK_ID_MAX)
        return yk_bad_reply(y, "GROUP RESULTS", NULL);
    t = node_new(info->id, info->name, true);
    if (!t || !copy_errors(t, info->nerrors, info->errors, NULL, true))
        status = yk_nomem(y);
    else
        status = read_members(y, t, depth);
    if (status < 0) {
        yoke_error_tree_free(t);
        return status;
    }
    *out = t;
    return 0;
}

int yoke_group_errors(yoke *y, const char *id, struct yoke_error_tree **out)
{
    struct yoke_outcome_info *info;
    struct yoke_error_tree *t = NULL;
    struct yoke_value *v;
    struct yk_args a;
    int status;

    if (!id)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "an id is needed");
    yk_args_init(&a, "GROUP");
    yk_args_text(&a, "INFO");
    yk_args_text(&a, id);
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    status = yk_outcome_parse(v, &info);
    if (status < 0)
        return yk_parse_failed(y, status, "GROUP INFO");
    status = read_group(y, info, 0, &t);
    yoke_outcome_free(info);
    if (status < 0)
        return status;
    if (t->nerrors == 0 && t->nchildren == 0) {
        yoke_error_tree_free(t);
        t = NULL;
    }
    *out = t;
    return 0;
}

/* --------------------------------------------------------------- splitting */

/* One half: NULL in *out when nothing is in it. False: no memory. */
static bool half(const struct yoke_error_tree *tree, const char *glob,
                 bool match, struct yoke_error_tree **out)
{
    struct yoke_error_tree *t = node_new(tree->id, tree->name, tree->is_group);

    *out = NULL;
    if (!t)
        return false;
    if (!copy_errors(t, tree->nerrors, tree->errors, glob, match)) {
        yoke_error_tree_free(t);
        return false;
    }
    for (size_t i = 0; i < tree->nchildren; i++) {
        struct yoke_error_tree *child;

        if (!half(tree->children[i], glob, match, &child) ||
            !node_adopt(t, child)) {
            yoke_error_tree_free(t);
            return false;
        }
    }
    if (t->nerrors == 0 && t->nchildren == 0)
        yoke_error_tree_free(t);
    else
        *out = t;
    return true;
}

int yoke_error_tree_split(const struct yoke_error_tree *tree,
                          const char *class_glob,
                          struct yoke_error_tree **match,
                          struct yoke_error_tree **rest)
{
    struct yoke_error_tree *matching = NULL, *other = NULL;

    if (!class_glob)
        return YOKE_ERR_ARGUMENT;
    if (tree && ((match && !half(tree, class_glob, true, &matching)) ||
                 (rest && !half(tree, class_glob, false, &other)))) {
        yoke_error_tree_free(matching);
        return YOKE_ERR_NOMEM;
    }
    if (match)
        *match = matching;
    if (rest)
        *rest = other;
    return 0;
}
