/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errors - what has failed: the errors of a job, one for each attempt that had
 * one, and the tree of those below a group or a job, split by class.
 *
 * A node is in the tree when it has errors that are asked for, or something
 * below it has: a split keeps the shape and drops what is empty, as
 * ExceptionGroup.split does. A job that failed because a group under it did is
 * an inner node: its error `group` says no more than what stands below it.
 *
 * The tree is walked in the order of submission, depth first and without a
 * stack: a place in it is a node and the last of its members that was seen.
 * Ids ascend in the order in which things were made, so a place stays good
 * when that member is forgotten, and nothing is kept between two pages.
 */
#include "core/errors.h"

#include "base/pattern.h"
#include "core/attempt.h"
#include "core/below.h"
#include "core/ids.h"
#include "core/internal.h"
#include "core/job.h"
#include "core/members.h"
#include "core/show.h"

#define PAGE_BYTES    (1 << 20)
#define LOOKS_MAX     10000 /* nodes looked at for one page */
#define CURSOR_DIGITS 32

/* The id of a job, or of a group with ID_GROUP. */
typedef uint64_t node_id;

/* ------------------------------------------------------ errors of one job */

void errors_add(struct core *c, struct job *j, const struct record_error *v)
{
    struct extra *x = job_extra(c, j);
    char *text = mem_alloc(v->class.len + v->message.len + v->detail.len);
    struct job_error *e;

    x->errors =
        mem_realloc(x->errors, mem_mul(x->nerrors + 1, sizeof(*x->errors)));
    e = &x->errors[x->nerrors++];
    x->error_bytes += record_error_bytes(v);
    *e = (struct job_error){
        .class = {text, v->class.len},
        .message = {text + v->class.len, v->message.len},
        .detail = {text + v->class.len + v->message.len, v->detail.len},
        .body_done = v->body_done,
        .attempt = v->attempt,
        .at_ms = v->at_ms,
    };
    if (v->class.len)
        memcpy(text, v->class.p, v->class.len);
    if (v->message.len)
        memcpy(text + v->class.len, v->message.p, v->message.len);
    if (v->detail.len)
        memcpy(text + v->class.len + v->message.len, v->detail.p,
               v->detail.len);
    account(c, (int64_t)(sizeof(*e) + v->class.len + v->message.len +
                         v->detail.len));
}

void errors_of_attempt(struct core *c, struct job *j,
                       const struct record_verdict *v, int64_t at_ms)
{
    errors_add(c, j,
               &(struct record_error){.class = v->class,
                                      .message = v->message,
                                      .detail = v->detail,
                                      .body_done = attempt_body_was_done(j, v),
                                      .attempt = j->attempt,
                                      .at_ms = at_ms});
}

void errors_free(struct core *c, struct extra *x)
{
    for (uint32_t i = 0; i < x->nerrors; i++) {
        struct job_error *e = &x->errors[i];

        account(c, -(int64_t)(sizeof(*e) + e->class.len + e->message.len +
                              e->detail.len));
        mem_free((char *)e->class.p);
    }
    mem_free(x->errors);
}

/* ---------------------------------------------------------------- filters */

bool error_wanted(const struct error_filter *f, struct str class)
{
    if (PLANTED(ERROR_DROPPED) && f->except.len && str_eq(class, STR("lost")))
        return false;
    return !f->forgiven && (!f->inner || !str_eq(class, STR("group"))) &&
           (!f->classes.len || pattern_list_matches(f->classes, class)) &&
           (!f->except.len || !pattern_list_matches(f->except, class));
}

uint32_t errors_wanted(const struct error_filter *f, const struct job *j)
{
    uint32_t n = 0;

    if (!j->extra)
        return 0;
    for (uint32_t i = 0; i < j->extra->nerrors; i++)
        n += error_wanted(f, j->extra->errors[i].class);
    return n;
}

/* ------------------------------------------------------------- the tree */

static struct group *group_of(struct core *c, node_id node)
{
    return node & ID_GROUP ? find_group(c, (struct group_id){node & ~ID_GROUP})
                           : NULL;
}

static struct job *job_of(struct core *c, node_id node)
{
    return node & ID_GROUP ? NULL : find_job(c, (struct job_id){node});
}

static const struct id_vector *members_of(struct core *c, node_id node)
{
    const struct group *g = group_of(c, node);
    const struct job *j = job_of(c, node);

    if (g)
        return &g->members;
    return j && j->extra && j->extra->below ? &j->extra->below->groups : NULL;
}

/* Only of a node that exists. */
static node_id parent_of(struct core *c, node_id node)
{
    const struct group *g = group_of(c, node);

    if (!g)
        return job_of(c, node)->group->id | ID_GROUP;
    return g->parent_attempt ? g->parent_id : g->parent_id | ID_GROUP;
}

/* What lives may have failures that it has not told its parent of. */
bool errors_in_group(const struct group *g)
{
    return !g->ended || g->errors_below || g->by_outcome[OUTCOME_FAILED] > 0 ||
           g->outcome == OUTCOME_FAILED;
}

static bool job_failed(const struct job *j)
{
    return j->state == JOB_FINISHED && j->u.end->outcome == OUTCOME_FAILED;
}

/* A job that has not failed answers for its last attempt alone; while it
 * waits for the next one it answers for none. */
static bool counts_below(const struct job *j, const struct group *g)
{
    bool waits = j->state == JOB_DELAYED || j->state == JOB_PARKED ||
                 j->state == JOB_READY;

    return errors_in_group(g) &&
           (job_failed(j) || (!waits && g->parent_attempt == j->attempt));
}

/* ------------------------------------------------------------- the pages */

struct page {
    struct core *c;
    struct buf *b;
    struct error_filter filter;
    node_id top;
    node_id in;      /* the node whose members are looked at, ... */
    uint64_t after;  /* ... from those on whose id is greater */
    int64_t depth;   /* of `in` below `top` */
    int64_t written; /* how many of the path from the top to `in` are here */
    int64_t left, looks;
    uint32_t n;
    bool probes, found; /* nothing is written: is there anything? */
};

static bool walk(struct page *p);
static bool has_own(struct page *p, node_id node);

/* Is there an error in the group, whatever its class? Who failed in it may be
 * forgotten by now. What would take too long is taken to be so. */
static bool holds_errors(struct page *p, node_id group)
{
    struct page q = {.c = p->c,
                     .top = group,
                     .in = group,
                     .looks = p->looks,
                     .probes = true};

    q.found = has_own(&q, group);
    while (!q.found && q.looks > 0 && walk(&q))
        ;
    p->looks = q.looks;
    return q.found || q.looks <= 0;
}

/* Is there something below the job that its error `group` stands for? */
static bool is_inner(struct page *p, const struct job *j)
{
    const struct id_vector *v = members_of(p->c, j->node.hash);

    for (size_t i = v ? v->len : 0; i-- > 0;) {
        const struct group *g = group_of(p->c, v->ids[i]);

        p->looks--;
        if (g && counts_below(j, g) && holds_errors(p, v->ids[i]))
            return true;
    }
    return false;
}

/* NULL: the node is a group. */
static void filter_for(struct page *p, const struct job *j)
{
    p->filter.forgiven = j && !job_failed(j);
    p->filter.inner = j && job_failed(j) && !p->probes && is_inner(p, j);
}

static void write_node(struct page *p, node_id node, int64_t depth)
{
    struct job *j = job_of(p->c, node);

    value_array(p->b, 2);
    value_int(p->b, depth);
    filter_for(p, j);
    if (j)
        show_outcome_errors(p->c, p->b, j, &p->filter);
    else
        show_group_errors(p->c, p->b, group_of(p->c, node), &p->filter);
    p->n++;
}

/* The path to `in` goes before what is found in it: a page is a tree. */
static void write_path(struct page *p)
{
    while (p->written <= p->depth) {
        node_id node = p->in;

        for (int64_t up = p->depth; up > p->written; up--)
            node = parent_of(p->c, node);
        write_node(p, node, p->written++);
    }
}

static void enter(struct page *p, node_id node)
{
    p->in = node;
    p->after = 0;
    p->depth++;
}

/* Has the node, which is at this depth, errors of its own to show? */
static bool has_own(struct page *p, node_id node)
{
    const struct job *j = job_of(p->c, node);

    filter_for(p, j);
    return j ? errors_wanted(&p->filter, j) > 0
             : show_group_has_error(group_of(p->c, node), &p->filter);
}

static void visit(struct page *p, node_id node)
{
    const struct group *g = group_of(p->c, node);
    const struct job *j = job_of(p->c, node), *above = job_of(p->c, p->in);

    if (g ? !(above ? counts_below(above, g) : errors_in_group(g))
          : !j || (!job_failed(j) && !members_of(p->c, node)))
        return;
    if (has_own(p, node)) {
        p->found = true;
        if (p->probes)
            return;
        write_path(p);
        write_node(p, node, p->depth + 1);
        p->left--;
        if (members_of(p->c, node)) {
            enter(p, node);
            p->written = p->depth + 1;
        }
    } else if (members_of(p->c, node)) {
        enter(p, node);
    }
}

/* One step on; false: the tree is at its end. */
static bool walk(struct page *p)
{
    const struct id_vector *v = members_of(p->c, p->in);
    size_t at = v ? id_vector_after(v, p->after) : 0;

    p->looks--;
    if (v && at < v->len) {
        p->after = v->ids[at] & ~ID_GROUP;
        visit(p, v->ids[at]);
        return true;
    }
    if (p->in == p->top)
        return false;
    p->after = p->in & ~ID_GROUP;
    p->in = parent_of(p->c, p->in);
    p->written = min_i64(p->written, p->depth);
    p->depth--;
    return true;
}

static bool read_hex(const char *digits, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < CURSOR_DIGITS / 2; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;

        if (digit < 0)
            return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return true;
}

/* Where the last page has ended. Answers the error if there is no such place
 * (any more). */
static bool resume(struct page *p, struct client_id client, struct str cursor)
{
    node_id node;

    p->in = p->top;
    if (str_eq(cursor, STR("0")))
        return true;
    if (cursor.len != CURSOR_DIGITS || !read_hex(cursor.p, &p->in) ||
        !read_hex(cursor.p + CURSOR_DIGITS / 2, &p->after)) {
        reply_error(p->c, client, CORE_ERR_GENERIC,
                    "GROUP ERRORS: this is no cursor of its; the first is 0");
        return false;
    }
    for (node = p->in; node != p->top; node = parent_of(p->c, node)) {
        bool exists = group_of(p->c, node) || job_of(p->c, node);

        if (!exists || node == ID_GROUP) { /* gone, or the root */
            reply_error(p->c, client, CORE_ERR_NOGROUP,
                        "what the cursor points to is not in the tree any "
                        "more; begin again with 0");
            return false;
        }
        p->depth++;
    }
    return true;
}

/* The node that is asked about; answers the error. */
static bool find_top(struct core *c, const struct core_event *ev, node_id *out)
{
    const struct group *g;

    if (ev->u.errors.is_job) {
        *out = ev->u.errors.job.n;
        return find_job_or_reply(c, ev->client, ev->u.errors.job) != NULL;
    }
    *out = ev->u.errors.group.n | ID_GROUP;
    g = find_group_or_reply(c, ev->client, ev->u.errors.group);
    if (g == &c->root) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "GROUP ERRORS: the root group keeps no order of its "
                    "members; name a group or a job");
        return false;
    }
    return g != NULL;
}

void errors_page(struct core *c, const struct core_event *ev)
{
    struct page p = {.c = c,
                     .filter = {.classes = ev->u.errors.classes,
                                .except = ev->u.errors.except},
                     .left = ev->u.errors.count,
                     .looks = LOOKS_MAX};
    size_t start, cursor_at, count_at;
    char cursor[CURSOR_DIGITS + 1];
    bool over = false;

    if (!pattern_list_ok(p.filter.classes) ||
        !pattern_list_ok(p.filter.except)) {
        reply_error(c, ev->client, CORE_ERR_GENERIC,
                    "GROUP ERRORS: CLASS and EXCEPT are globs of classes with "
                    "commas between, at most %d bytes",
                    PATTERN_LIST_MAX);
        return;
    }
    if (!find_top(c, ev, &p.top) ||
        !resume(&p, ev->client, ev->u.errors.cursor))
        return;
    p.left = members_page(p.left);
    p.b = reply_begin(c, ev->client);
    start = p.b->len;
    value_array(p.b, 3);
    cursor_at = p.b->len;
    value_str(p.b, STR("00000000000000000000000000000000"));
    count_at = value_array(p.b, 0);
    if (str_eq(ev->u.errors.cursor, STR("0")) && has_own(&p, p.top)) {
        write_path(&p);
        p.left--;
    }
    while (!over && p.left > 0 && p.looks > 0 && p.b->len - start < PAGE_BYTES)
        over = !walk(&p);
    value_set_count(p.b, count_at, p.n);
    value_int(p.b, over);
    (void)snprintf(cursor, sizeof(cursor), "%016llx%016llx",
                   (unsigned long long)p.in, (unsigned long long)p.after);
    memcpy(p.b->data + cursor_at + 1 + sizeof(uint32_t), cursor, CURSOR_DIGITS);
    reply_end(c);
}
