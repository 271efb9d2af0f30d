/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errors - what has failed: the errors of jobs and groups, and their trees.
 *
 * A job's errors are noted as its attempts end, with the classes that the rules
 * allow; which it was is looked up once, when the job has ended. From then on
 * the model knows them all, and computes what each page of GROUP ERRORS must
 * be.
 */
#include "parts.h"

#define TREE_MAX (MODEL_JOBS + MODEL_GROUPS)

static const char *const class_names[MODEL_CLASSES] = {
    [CLASS_NONE] = "",
    [CLASS_EXIT] = "exit:1",
    [CLASS_SIGNAL] = "signal:TERM",
    [CLASS_CANCELLED] = "cancelled",
    [CLASS_TIMEOUT] = "timeout",
    [CLASS_DEADLINE] = "deadline",
    [CLASS_LOST] = "lost",
    [CLASS_GROUP] = "group",
    [CLASS_EXPIRED] = "expired",
    [CLASS_THEN] = "then",
    [CLASS_POLICY] = "policy",
    [CLASS_DAMAGED] = "damaged",
};

static enum model_class class_of(struct str name)
{
    for (int i = CLASS_NONE + 1; i < MODEL_CLASSES; i++)
        if (str_eq(name, str_from(class_names[i])))
            return (enum model_class)i;
    violation("an error has the class '%.*s'", (int)name.len, name.p);
}

/* ------------------------------------------------------- as things happen */

static unsigned bit(enum model_class class)
{
    return 1u << class;
}

/* What an error that the job has got now may be called. */
static unsigned classes_now(const struct model *m, const struct model_job *j)
{
    unsigned may = 0;

    if (j->body == BODY_FAIL || j->body == BODY_CANCELLED)
        may |= bit(class_of(str_from(j->class)));
    if (j->body == BODY_LOST)
        may |= bit(CLASS_LOST);
    if (j->damaged)
        may |= bit(CLASS_DAMAGED);
    if (j->timed_out || j->murky)
        may |= bit(CLASS_TIMEOUT);
    if (j->deadline_hit || j->murky)
        may |= bit(CLASS_DEADLINE);
    if (j->group_failed || j->murky)
        may |= bit(CLASS_GROUP);
    if (j->body == BODY_OK && j->nthen)
        may |= bit(CLASS_THEN);
    if (j->attempt == 0 && j->expires_at != CORE_NONE &&
        j->expires_at <= m->now)
        may |= bit(CLASS_EXPIRED);
    return may;
}

void errors_note(const struct model *m, struct model_job *j, int64_t n)
{
    if (n > MODEL_ERRORS)
        violation("job %llx has %lld errors", (unsigned long long)j->id,
                  (long long)n);
    for (int64_t i = j->errors; i < n; i++)
        j->error[i] =
            (struct model_error){.may = classes_now(m, j),
                                 .attempt = j->attempt,
                                 .from = j->attempt ? j->body_ended : m->now,
                                 .to = m->now};
    j->errors = n;
}

/* What a worker said of its attempt. */
void errors_message(char to[MODEL_MESSAGE], uint64_t job, uint32_t attempt)
{
    (void)snprintf(to, MODEL_MESSAGE, "attempt %u of %llx did not work",
                   attempt, (unsigned long long)job);
}

static bool said_by_worker(enum model_class class)
{
    return class == CLASS_EXIT || class == CLASS_SIGNAL ||
           class == CLASS_CANCELLED;
}

static void check_error(const struct model_job *j, const struct model_error *e,
                        const struct node *map)
{
    enum model_class class = class_of(node_str(node_get(map, "class")));
    int64_t at = node_int(node_get(map, "time"));
    char message[MODEL_MESSAGE];

    if ((e->class ? class != e->class : !(e->may & bit(class))) ||
        node_int(node_get(map, "attempt")) != e->attempt || at < e->from ||
        at > e->to)
        violation("job %llx has an error of attempt %lld, class '%s', at %lld; "
                  "expected attempt %u, class '%s' (%x), %lld to %lld",
                  (unsigned long long)j->id,
                  (long long)node_int(node_get(map, "attempt")),
                  class_names[class], (long long)at, e->attempt,
                  class_names[e->class], e->may, (long long)e->from,
                  (long long)e->to);
    errors_message(message, j->id, e->attempt);
    if (said_by_worker(class) &&
        !str_eq(node_str(node_get(map, "message")), str_from(message)))
        violation("job %llx has an error with the message '%.*s', expected "
                  "'%s'",
                  (unsigned long long)j->id,
                  (int)node_str(node_get(map, "message")).len,
                  node_str(node_get(map, "message")).p, message);
}

/* It has ended: which were they? */
void errors_look(const struct model *m, struct model_eyes *eyes,
                 struct model_job *j)
{
    struct core_event ev = {.kind = EVENT_RESULT,
                            .now_ms = m->now,
                            .client = {VIEW_CLIENT},
                            .u.job.id = {j->id}};
    const struct node *map, *errors;

    if (j->errors == 0)
        return;
    map = view_ask(eyes->core, eyes->arena, &ev);
    if (map->v.kind != VALUE_MAP) /* gone as it ended */
        return;
    errors = node_get(map, "errors");
    if (errors->v.count != j->errors)
        violation("job %llx ended with %u errors, expected %lld",
                  (unsigned long long)j->id, errors->v.count,
                  (long long)j->errors);
    for (uint32_t i = 0; i < errors->v.count; i++) {
        const struct node *e = node_item(errors, i);

        check_error(j, &j->error[i], e);
        j->error[i].class = (uint8_t)class_of(node_str(node_get(e, "class")));
        j->error[i].from = j->error[i].to = node_int(node_get(e, "time"));
    }
}

void errors_group_ended(const struct model *m, struct model_group *g,
                        const struct group_view *v)
{
    bool missed =
        v->outcome == VIEW_FAILED && g->succeed > 0 && v->ok < g->succeed;
    bool late = g->deadline_hit && !g->inherited && !g->murky && !g->outside &&
                !g->decided && !g->even && !m->jumped;
    bool none = v->errors->v.count == 0;
    const struct node *error = NULL;

    if (!none)
        error = node_get(node_item(v->errors, 0), "class");
    g->error = error ? (uint8_t)class_of(node_str(error)) : CLASS_NONE;
    if (v->errors->v.count > 1 ||
        (g->error != CLASS_NONE && g->error != CLASS_POLICY &&
         g->error != CLASS_DEADLINE) ||
        (g->error == CLASS_DEADLINE && !g->deadline_hit) ||
        (g->error == CLASS_POLICY && !missed) ||
        (none && (missed || (late && v->outcome == VIEW_FAILED))))
        violation("group %llx ended with an error '%s': deadline %d, succeed "
                  "%lld of %lld",
                  (unsigned long long)g->id, class_names[g->error],
                  g->deadline_hit, (long long)v->ok, (long long)g->succeed);
}

/* --------------------------------------------------------------- the tree */

struct tree_node {
    bool is_job;
    int i; /* of the job or group */
    int depth, own;
};

/* Static: there is one at a time. */
static struct tree {
    struct model *m;
    struct model_eyes *eyes;
    struct str classes, except;
    bool inner[MODEL_JOBS]; /* of jobs in the tree */
    int len;
    struct tree_node list[TREE_MAX];
} tree;

static bool wanted(enum model_class class)
{
    struct str name = str_from(class_names[class]);

    return (!tree.classes.len || ends_class_in(tree.classes, name)) &&
           (!tree.except.len || !ends_class_in(tree.except, name));
}

static bool has_failed(const struct model_job *j)
{
    return j->state == MODEL_ENDED && j->outcome == VIEW_FAILED;
}

static bool is_shown(const struct model_job *j, int error)
{
    enum model_class class = (enum model_class)j->error[error].class;

    return has_failed(j) && wanted(class) &&
           !(class == CLASS_GROUP && tree.inner[j - tree.m->jobs]);
}

/* What has ended may be forgotten by now; whether it may, compare.c looks. */
static bool job_is_there(const struct model_job *j)
{
    size_t len = tree.eyes->arena->len, bytes = tree.eyes->arena->bytes.len;
    bool there =
        j->used && !j->unseen &&
        (j->state != MODEL_ENDED || rules_job_look(tree.m, tree.eyes, j).found);

    tree.eyes->arena->len = len;
    tree.eyes->arena->bytes.len = bytes;
    return there;
}

static bool group_is_there(const struct model_group *g)
{
    size_t len = tree.eyes->arena->len, bytes = tree.eyes->arena->bytes.len;
    bool there = g->used && !g->forgotten &&
                 (!g->ended || rules_group_look(tree.m, tree.eyes, g).found);

    tree.eyes->arena->len = len;
    tree.eyes->arena->bytes.len = bytes;
    return there;
}

static uint64_t place_of(bool is_job, int i)
{
    return is_job ? tree.m->jobs[i].submit_seq : tree.m->groups[i].submit_seq;
}

static bool add_node(bool is_job, int i, int depth);

/* A job that has not failed answers for its last attempt, if it has not got to
 * wait for the next one. */
static bool answers_for(const struct model_job *j, const struct model_group *g)
{
    return g->used && g->parent_is_job && g->parent_id == j->id &&
           (has_failed(j) ||
            (j->state != MODEL_QUEUED && j->state != MODEL_DELAYED &&
             g->parent_attempt == j->attempt));
}

static bool is_member(const struct model_group *g, bool is_job, int i)
{
    const struct model *m = tree.m;
    int at = (int)(g - m->groups);

    if (is_job)
        return m->jobs[i].used && m->jobs[i].group == at;
    return m->groups[i].used && !m->groups[i].parent_is_job &&
           m->groups[i].parent == at && m->groups[i].parent_id == g->id;
}

/* In the order of submission: each time the next one after the last. */
static bool next_below(const struct tree_node *n, uint64_t *last,
                       struct tree_node *out)
{
    const struct model *m = tree.m;
    uint64_t best = UINT64_MAX;

    for (int i = 0; !n->is_job && i < m->njobs; i++)
        if (is_member(&m->groups[n->i], true, i) && place_of(true, i) > *last &&
            place_of(true, i) < best) {
            best = place_of(true, i);
            *out = (struct tree_node){.is_job = true, .i = i};
        }
    for (int i = 0; i < m->ngroups; i++)
        if ((n->is_job ? answers_for(&m->jobs[n->i], &m->groups[i])
                       : is_member(&m->groups[n->i], false, i)) &&
            place_of(false, i) > *last && place_of(false, i) < best) {
            best = place_of(false, i);
            *out = (struct tree_node){.is_job = false, .i = i};
        }
    *last = best;
    return best != UINT64_MAX;
}

static bool add_below(struct tree_node n)
{
    struct tree_node next;
    uint64_t last = 0;
    bool any = false;

    while (next_below(&n, &last, &next))
        any |= add_node(next.is_job, next.i, n.depth + 1);
    return any;
}

/* Does something below the job stand for its error `group`? */
static bool is_inner(struct tree_node n)
{
    struct str classes = tree.classes, except = tree.except;
    int len = tree.len;
    bool any;

    tree.classes = tree.except = (struct str){0};
    any = add_below(n);
    tree.classes = classes;
    tree.except = except;
    tree.len = len;
    return any;
}

static int own_errors(struct tree_node n)
{
    const struct model_job *j = &tree.m->jobs[n.i];
    int own = 0;

    if (!n.is_job)
        return tree.m->groups[n.i].error && tree.m->groups[n.i].ended &&
               wanted((enum model_class)tree.m->groups[n.i].error);
    tree.inner[n.i] = has_failed(j) && is_inner(n);
    for (int k = 0; k < j->errors; k++)
        own += is_shown(j, k);
    return own;
}

/* False: neither it nor anything below it has such an error. */
static bool add_node(bool is_job, int i, int depth)
{
    struct tree_node n = {.is_job = is_job, .i = i, .depth = depth};
    int at = tree.len;

    if (is_job ? !job_is_there(&tree.m->jobs[i])
               : !group_is_there(&tree.m->groups[i]))
        return false;
    if (at >= TREE_MAX)
        violation("what has failed is a tree without end");
    n.own = own_errors(n);
    tree.len = at + 1;
    if (add_below(n) || n.own) {
        tree.list[at] = n;
        return true;
    }
    tree.len = at;
    return false;
}

static void tree_begin(struct model *m, struct model_eyes *eyes,
                       struct str classes, struct str except)
{
    tree.m = m;
    tree.eyes = eyes;
    tree.classes = classes;
    tree.except = except;
    tree.len = 0;
}

/* --------------------------------------------------------------- the pages */

/* Where the way to that node goes: the places on it. */
static int way_to(int at, uint64_t way[MODEL_DEPTH])
{
    int depth = tree.list[at].depth;

    if (depth >= MODEL_DEPTH)
        violation("the tree of errors is %d deep", depth);
    for (int d = depth; d >= 0; at--)
        if (tree.list[at].depth == d)
            way[d--] = place_of(tree.list[at].is_job, tree.list[at].i);
    return depth + 1;
}

/* Depth first: is the node behind the last one of the page before? */
static bool is_behind(int at, const struct model_reading *r)
{
    uint64_t way[MODEL_DEPTH];
    int len = way_to(at, way);

    for (int d = 0; d < r->len && d < len; d++)
        if (way[d] != r->way[d])
            return way[d] > r->way[d];
    return len > r->len;
}

static void check_job_entry(const struct model_job *j, const struct node *map)
{
    const struct node *errors = node_get(map, "errors");
    uint32_t n = 0;

    if (node_id(node_get(map, "id"), 'j') != j->id)
        violation("the tree of errors has job %llx in the place of %llx",
                  (unsigned long long)node_id(node_get(map, "id"), 'j'),
                  (unsigned long long)j->id);
    for (int k = 0; k < j->errors; k++) {
        if (!is_shown(j, k))
            continue;
        if (n == errors->v.count)
            violation("an error '%s' of job %llx is not in the tree",
                      class_names[j->error[k].class],
                      (unsigned long long)j->id);
        check_error(j, &j->error[k], node_item(errors, n++));
    }
    if (n != errors->v.count)
        violation("job %llx has %u errors in the tree, expected %u",
                  (unsigned long long)j->id, errors->v.count, n);
}

static void check_group_entry(const struct model_group *g,
                              const struct node *map, int own)
{
    const struct node *errors = node_get(map, "errors");

    if (node_id(node_get(map, "id"), 'g') != g->id ||
        errors->v.count != (uint32_t)own ||
        (own && !str_eq(node_str(node_get(node_item(errors, 0), "class")),
                        str_from(class_names[g->error]))))
        violation("the tree of errors has group %llx with %u errors in the "
                  "place of %llx with %d",
                  (unsigned long long)node_id(node_get(map, "id"), 'g'),
                  errors->v.count, (unsigned long long)g->id, own);
}

static void check_entry(const struct node *entry, int at)
{
    const struct tree_node *n = &tree.list[at];
    const struct node *map = node_item(entry, 1);
    bool is_job = str_eq(node_str(node_get(map, "kind")), STR("job"));

    if (node_int(node_item(entry, 0)) != n->depth || is_job != n->is_job) {
        char text[600];

        node_print(entry, text, sizeof(text));
        violation("the tree of errors has in the place of %s %llx, depth %d: "
                  "%s",
                  n->is_job ? "job" : "group",
                  (unsigned long long)(n->is_job ? tree.m->jobs[n->i].id
                                                 : tree.m->groups[n->i].id),
                  n->depth, text);
    }
    if (is_job)
        check_job_entry(&tree.m->jobs[n->i], map);
    else
        check_group_entry(&tree.m->groups[n->i], map, n->own);
}

/* The page is that part of the tree which comes next, after the way to it.
 * Answers the number of errors that it tells for the first time. */
static int check_page(struct model_reading *r, int64_t count,
                      const struct node *page)
{
    const struct node *entries = node_item(page, 1);
    bool over = node_int(node_item(page, 2)) != 0;
    int64_t left = count;
    uint32_t n = 0;
    int errors = 0, at = 0, first;

    while (at < tree.len && !(tree.list[at].own && is_behind(at, r)))
        at++;
    for (int d = 0, k = 0; at < tree.len && d < tree.list[at].depth; d++) {
        int up = k; /* the last one of this depth before it */

        for (; k < at; k++)
            if (tree.list[k].depth == d)
                up = k;
        k = up;
        check_entry(node_item(entries, n++), up);
    }
    for (first = at; at < tree.len && left > 0; at++) {
        if (n >= entries->v.count)
            violation(
                "%s %llx is not in the tree of errors",
                tree.list[at].is_job ? "job" : "group",
                (unsigned long long)(tree.list[at].is_job
                                         ? tree.m->jobs[tree.list[at].i].id
                                         : tree.m->groups[tree.list[at].i].id));
        check_entry(node_item(entries, n++), at);
        errors += tree.list[at].own;
        left -= tree.list[at].own > 0;
    }
    if (n != entries->v.count) {
        char text[600];

        node_print(node_item(entries, n), text, sizeof(text));
        violation("a page of the tree of errors has %u entries, expected %u; "
                  "the next is %s",
                  entries->v.count, n, text);
    }
    if (over ? at < tree.len : left > 0)
        violation("the tree of errors is over: %d", over);
    if (at > first)
        r->len = way_to(at - 1, r->way);
    return errors;
}

static void cursor_keep(struct model_reading *r, const struct node *page)
{
    struct str cursor = node_str(node_item(page, 0));

    if (cursor.len >= sizeof(r->cursor))
        violation("a cursor of %zu bytes", cursor.len);
    memcpy(r->cursor, cursor.p, cursor.len);
    r->cursor[cursor.len] = '\0';
}

/* ---------------------------------------------------------------- requests */

/* Is something on the way to where the last page ended not there any more? */
static bool way_is_broken(const struct model_reading *r)
{
    for (int d = 0; d < r->len; d++) {
        bool there = false;

        for (int i = 0; i < tree.m->njobs; i++)
            there |= tree.m->jobs[i].submit_seq == r->way[d] &&
                     job_is_there(&tree.m->jobs[i]);
        for (int i = 0; i < tree.m->ngroups; i++)
            there |= tree.m->groups[i].submit_seq == r->way[d] &&
                     group_is_there(&tree.m->groups[i]);
        if (!there)
            return true;
    }
    return false;
}

static int64_t page_size(int64_t count)
{
    return count == CORE_UNSET || count == 0 ? 100 : count;
}

void errors_event(struct model *m, struct model_eyes *eyes,
                  struct model_client *c, const struct core_event *ev,
                  const struct node *n)
{
    bool is_job = ev->u.errors.is_job;
    struct model_reading *r = &c->reading;
    int top = is_job ? model_job_find(m, ev->u.errors.job.n)
                     : model_group_find(m, ev->u.errors.group.n);

    if (!is_job && ev->u.errors.group.n == 0) {
        if (!node_is_error(n, CORE_ERR_GENERIC))
            violation("GROUP ERRORS of the root was answered");
        return;
    }
    tree_begin(m, eyes, ev->u.errors.classes, ev->u.errors.except);
    if (top < 0 || (is_job ? !job_is_there(&m->jobs[top])
                           : !group_is_there(&m->groups[top]))) {
        if (!node_is_error(n, is_job ? CORE_ERR_NOJOB : CORE_ERR_NOGROUP))
            violation("GROUP ERRORS of what is not there was answered");
        return;
    }
    if (str_eq(ev->u.errors.cursor, STR("0"))) {
        *r = (struct model_reading){0};
    } else if (!str_eq(ev->u.errors.cursor, str_from(r->cursor))) {
        if (!node_is_error(n, CORE_ERR_GENERIC))
            violation("GROUP ERRORS has taken a cursor that is none");
        return;
    }
    if (node_is_error(n, CORE_ERR_NOGROUP) && way_is_broken(r))
        return;
    if (n->v.kind != VALUE_ARRAY)
        violation("GROUP ERRORS did not answer a page");
    (void)add_node(is_job, top, 0);
    (void)check_page(r, page_size(ev->u.errors.count), n);
    cursor_keep(r, n);
}

/* All pages, one after the other; answers the number of errors. */
static int read_all(struct model *m, struct model_eyes *eyes, bool is_job,
                    int top, struct str classes, struct str except)
{
    struct model_reading r = {.cursor = "0"};
    int64_t count = 1 + (int64_t)(m->step % 3);
    size_t len = eyes->arena->len, bytes = eyes->arena->bytes.len;
    bool over = false;
    int errors = 0;

    tree_begin(m, eyes, classes, except);
    (void)add_node(is_job, top, 0);
    while (!over) {
        struct core_event ev = {.kind = EVENT_GROUP_ERRORS,
                                .now_ms = m->now,
                                .client = {VIEW_CLIENT},
                                .u.errors = {.is_job = is_job,
                                             .cursor = str_from(r.cursor),
                                             .classes = classes,
                                             .except = except,
                                             .count = count}};
        const struct node *page;

        if (is_job)
            ev.u.errors.job.n = m->jobs[top].id;
        else
            ev.u.errors.group.n = m->groups[top].id;
        page = view_ask(eyes->core, eyes->arena, &ev);
        errors += check_page(&r, count, page);
        over = node_int(node_item(page, 2)) != 0;
        cursor_keep(&r, page);
        eyes->arena->len = len;
        eyes->arena->bytes.len = bytes;
    }
    return errors;
}

/* Both halves of a split together are the whole. */
void errors_compare(struct model *m, struct model_eyes *eyes, bool is_job,
                    int top)
{
    static const char *const lists[] = {"exit:*", "signal:TERM,time*", "*",
                                        "group,policy,dead????", "lost"};
    struct str globs = str_from(lists[m->step / 3 % ARRAY_LEN(lists)]);
    struct str none = {0};
    int all = read_all(m, eyes, is_job, top, none, none);
    int match = read_all(m, eyes, is_job, top, globs, none);
    int rest = read_all(m, eyes, is_job, top, none, globs);

    if (match + rest != all)
        violation("%d errors match %.*s and %d do not, and there are %d", match,
                  (int)globs.len, globs.p, rest, all);
}
