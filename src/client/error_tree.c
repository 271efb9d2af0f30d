/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * error_tree - the errors under a group, and how they are split.
 *
 * A node without errors of its own or below it is not in a tree. The errors of
 * a node and all their strings are one allocation.
 */
#include "base/pattern.h"
#include "client/client.h"

/* Deeper than any daemon lets groups nest: bounds the recursion. */
#define DEPTH_MAX 512

#define CURSOR_SIZE 64

static char *put_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *to = *at;

    memcpy(to, text, size);
    *at += size;
    return to;
}

/* Does this error go to the half that is being made? */
static bool wanted(const struct yoke_job_error *e, const char *globs,
                   bool match)
{
    return !globs || pattern_list_matches(str_from(globs),
                                          str_from(e->class_name)) == match;
}

/* Deep copies of the errors whose class matches, or does not; globs NULL: of
 * all. False: no memory. */
static bool copy_errors(struct yoke_error_tree *to, size_t n,
                        const struct yoke_job_error *errors, const char *globs,
                        bool match)
{
    size_t count = 0, size = 0;
    char *at;

    for (size_t i = 0; i < n; i++) {
        if (!wanted(&errors[i], globs, match))
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

        if (!wanted(&errors[i], globs, match))
            continue;
        *e = errors[i];
        e->class_name = put_text(&at, errors[i].class_name);
        e->message = put_text(&at, errors[i].message);
        e->detail = put_text(&at, errors[i].detail);
        to->nerrors++;
    }
    return true;
}

/* A node without its errors and children. Name and reason are one
 * allocation. NULL: no memory. */
static struct yoke_error_tree *node_copy(const struct yoke_error_tree *from)
{
    const char *reason = from->reason ? from->reason : "";
    size_t size = strlen(from->name) + strlen(reason) + 2;
    struct yoke_error_tree *t = yk_zalloc(1, sizeof(*t));
    char *at = t ? yk_alloc(size) : NULL;

    if (!at) {
        free(t);
        return NULL;
    }
    *t = *from;
    t->name = put_text(&at, from->name);
    t->reason = from->reason ? put_text(&at, reason) : NULL;
    t->nerrors = t->nchildren = 0;
    t->errors = NULL;
    t->children = NULL;
    return t;
}

/* Takes the child, also on failure. */
static bool node_add(struct yoke_error_tree *t, struct yoke_error_tree *child)
{
    struct yoke_error_tree **grown;
    size_t n = t->nchildren;

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

/* What is being read: the path to the last node of the tree so far. */
struct reading {
    yoke *y;
    struct yoke_error_tree *path[DEPTH_MAX + 1]; /* [0]: the tree */
    int64_t depth;                               /* of the last; -1: none */
    char cursor[CURSOR_SIZE];
    bool over;
};

static struct yoke_error_tree *node_of(const struct yoke_outcome_info *o)
{
    struct yoke_error_tree from = {
        .name = (char *)o->name,
        .reason = o->reason,
        .is_group = o->is_group,
        .outcome = o->outcome,
        .attempts = o->attempts,
        .started_ms = o->started_ms,
        .ended_ms = o->ended_ms,
        .ok = o->ok,
        .failed = o->failed,
        .cancelled = o->cancelled,
    };
    struct yoke_error_tree *t;

    memcpy(from.id, o->id, strlen(o->id) + 1);
    t = node_copy(&from);
    if (t && !copy_errors(t, o->nerrors, o->errors, NULL, true)) {
        yoke_error_tree_free(t);
        return NULL;
    }
    return t;
}

/* The node at this depth, unless it is one that the page repeats. */
static int read_node(struct reading *r, int64_t depth,
                     const struct yoke_outcome_info *o, bool repeats)
{
    struct yoke_error_tree *t;

    if (depth < 0 || depth > r->depth + 1 || depth > DEPTH_MAX ||
        (depth == 0 && r->depth >= 0 && !repeats) ||
        strlen(o->id) >= sizeof(t->id))
        return YOKE_ERR_PROTOCOL;
    if (repeats)
        return 0;
    t = node_of(o);
    if (!t || (depth > 0 && !node_add(r->path[depth - 1], t)))
        return YOKE_ERR_NOMEM;
    r->path[depth] = t;
    r->depth = depth;
    return 0;
}

static int read_entries(struct reading *r, struct yoke_value *entries)
{
    bool repeats = true;

    for (size_t i = 0; i < entries->count; i++) {
        struct yoke_value *entry = &entries->items[i], *raw;
        struct yoke_outcome_info *o;
        int64_t depth;
        int status;

        if (entry->kind != YOKE_ARRAY || entry->count != 2)
            return YOKE_ERR_PROTOCOL;
        depth = yk_value_int(&entry->items[0], -1);
        raw = yk_value_take(&entry->items[1]);
        status = raw ? yk_outcome_parse(raw, &o) : YOKE_ERR_NOMEM;
        if (status < 0)
            return status;
        repeats = repeats && depth == (int64_t)i && depth <= r->depth &&
                  strcmp(r->path[depth]->id, o->id) == 0;
        status = read_node(r, depth, o, repeats);
        yoke_outcome_free(o);
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_page(struct reading *r, struct yoke_value *v)
{
    const char *cursor;

    if (v->kind != YOKE_ARRAY || v->count != 3 ||
        v->items[1].kind != YOKE_ARRAY)
        return YOKE_ERR_PROTOCOL;
    cursor = yk_value_text(&v->items[0], "");
    r->over = yk_value_int(&v->items[2], 0) != 0;
    /* A page that leads nowhere would be asked for for ever. */
    if (strlen(cursor) >= sizeof(r->cursor) ||
        (!r->over && strcmp(cursor, r->cursor) == 0))
        return YOKE_ERR_PROTOCOL;
    memcpy(r->cursor, cursor, strlen(cursor) + 1);
    return read_entries(r, &v->items[1]);
}

static int read_tree(struct reading *r, const char *id)
{
    while (!r->over) {
        struct yoke_value *v;
        struct yk_args a;
        int status;

        yk_args_init(&a, "GROUP");
        yk_args_text(&a, "ERRORS");
        yk_args_text(&a, id);
        yk_args_text(&a, r->cursor);
        status = yk_call(r->y, &a, YK_PLAIN, &v);
        if (status < 0)
            return status;
        status = read_page(r, v);
        yoke_value_free(v);
        if (status < 0)
            return yk_parse_failed(r->y, status, "GROUP ERRORS");
    }
    return 0;
}

int yoke_group_errors(yoke *y, const char *id, struct yoke_error_tree **out)
{
    struct reading r = {.y = y, .depth = -1, .cursor = "0"};
    int status;

    if (!id)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "an id is needed");
    status = read_tree(&r, id);
    if (status < 0)
        yoke_error_tree_free(r.path[0]);
    else
        *out = r.path[0];
    return status;
}

/* --------------------------------------------------------------- splitting */

/* One half: NULL in *out when nothing is in it. False: no memory. */
static bool half(const struct yoke_error_tree *tree, const char *globs,
                 bool match, struct yoke_error_tree **out)
{
    struct yoke_error_tree *t = node_copy(tree);

    *out = NULL;
    if (!t)
        return false;
    if (!copy_errors(t, tree->nerrors, tree->errors, globs, match)) {
        yoke_error_tree_free(t);
        return false;
    }
    for (size_t i = 0; i < tree->nchildren; i++) {
        struct yoke_error_tree *child;

        if (!half(tree->children[i], globs, match, &child) ||
            (child && !node_add(t, child))) {
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
                          const char *classes, struct yoke_error_tree **match,
                          struct yoke_error_tree **rest)
{
    struct yoke_error_tree *matching = NULL, *other = NULL;

    if (!classes || !pattern_list_ok(str_from(classes)))
        return YOKE_ERR_ARGUMENT;
    if (tree && ((match && !half(tree, classes, true, &matching)) ||
                 (rest && !half(tree, classes, false, &other)))) {
        yoke_error_tree_free(matching);
        return YOKE_ERR_NOMEM;
    }
    if (match)
        *match = matching;
    if (rest)
        *rest = other;
    return 0;
}
