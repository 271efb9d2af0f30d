/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of error trees: their shape, how they are split by class, and that
 * pages of any size say the same. Trees are compared as text: a line for each
 * node, with its depth, its id and the classes of its errors.
 */
#include <fnmatch.h>

#include "base/pattern.h"
#include "daemon.h"

#define TEXT_MAX  65536
#define DEPTH_MAX 80
#define NODES_MAX 400

/* -------------------------------------------------------------- the asking */

struct question {
    bool is_job;
    uint64_t id;
    const char *class, *except; /* NULL: not given */
    int64_t count;
};

static const struct node *errors_page(struct daemon *d,
                                      const struct question *q,
                                      struct str cursor)
{
    struct core_event ev = {.kind = EVENT_GROUP_ERRORS,
                            .u.errors = {.is_job = q->is_job,
                                         .job = {q->is_job ? q->id : 0},
                                         .group = {q->is_job ? 0 : q->id},
                                         .cursor = cursor,
                                         .classes = str_from(q->class),
                                         .except = str_from(q->except),
                                         .count = q->count}};

    return ask(d, 5, &ev);
}

struct text {
    char s[TEXT_MAX];
    size_t len;
};

static void add(struct text *t, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < sizeof(t->s) - t->len);
    t->len += (size_t)n;
}

/* What tells a node from all others. */
static uint64_t mark_of(const struct node *map)
{
    return node_get(map, "id")->v.id;
}

static void add_entry(struct text *t, int64_t depth, const struct node *map)
{
    const struct node *errors = node_get(map, "errors");

    add(t, "%lld %llx", (long long)depth, (unsigned long long)mark_of(map));
    for (uint32_t i = 0; i < errors->v.count; i++) {
        struct str class = node_str(node_get(node_item(errors, i), "class"));

        add(t, " %.*s", (int)class.len, class.p);
    }
    add(t, "\n");
}

static void forget_replies(struct daemon *d)
{
    arena_reset(&d->arena);
    d->nreplies = 0;
}

/* All pages as one tree: what a page repeats of the path is passed over. */
static int read_tree(struct daemon *d, const struct question *q, struct text *t)
{
    uint64_t path[DEPTH_MAX] = {0};
    char cursor[64] = "0";
    bool over = false;
    int pages = 0;

    t->len = 0;
    t->s[0] = '\0';
    while (!over) {
        const struct node *page = errors_page(d, q, str_from(cursor));
        const struct node *entries = node_item(page, 1);
        struct str next = node_str(node_item(page, 0));
        bool on_path = true;

        ck_assert_int_lt(++pages, 10000);
        for (uint32_t i = 0; i < entries->v.count; i++) {
            int64_t depth = node_int(node_item(node_item(entries, i), 0));
            const struct node *map = node_item(node_item(entries, i), 1);

            ck_assert_int_lt(depth, DEPTH_MAX);
            on_path = on_path && depth == i && path[depth] == mark_of(map);
            path[depth] = mark_of(map);
            if (!on_path)
                add_entry(t, depth, map);
        }
        over = node_int(node_item(page, 2)) == 1;
        ck_assert_uint_lt(next.len, sizeof(cursor));
        memcpy(cursor, next.p, next.len);
        cursor[next.len] = '\0';
        forget_replies(d);
    }
    return pages;
}

static void is_tree(struct daemon *d, struct question q, const char *expected)
{
    static struct text t;

    (void)read_tree(d, &q, &t);
    ck_assert_str_eq(t.s, expected);
}

static const char *line(int depth, uint64_t id, const char *classes)
{
    static char lines[8][200];
    static int next;
    char *to = lines[next++ % 8];

    (void)snprintf(to, sizeof(lines[0]), "%d %llx%s%s\n", depth,
                   (unsigned long long)id, classes[0] ? " " : "", classes);
    return to;
}

static const char *joined(const char *a, const char *b, const char *c)
{
    static char text[1000];

    (void)snprintf(text, sizeof(text), "%s%s%s", a, b, c);
    return text;
}

/* ---------------------------------------------------------------- the laws */

static void fails(struct daemon *d, struct token t, const char *class)
{
    ck_assert(is_ok(report(d, EVENT_FAIL, t, class)));
}

static void done(struct daemon *d, struct token t)
{
    ck_assert(is_ok(report(d, EVENT_DONE, t, "")));
}

static uint64_t failed_in(struct daemon *d, uint64_t group, const char *class)
{
    uint64_t id = submit(d, "q", group);

    fails(d, take(d), class);
    return id;
}

START_TEST(what_has_not_failed_is_not_in_the_tree)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), inner = open_under_group(d, g, 0);

    (void)submit(d, "q", g);
    done(d, take(d));
    cancel_job(d, submit(d, "q", inner), "no need");
    close_group(d, inner);
    is_tree(d, (struct question){.id = g}, "");
    daemon_free(d);
}
END_TEST

START_TEST(a_single_failure_is_a_tree)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 1, 0), id = failed_in(d, g, "exit:1");

    is_tree(d, (struct question){.id = g},
            joined(line(0, g, ""), line(1, id, "exit:1"), ""));
    is_tree(d, (struct question){.is_job = true, .id = id},
            line(0, id, "exit:1"));
    daemon_free(d);
}
END_TEST

START_TEST(a_job_that_failed_by_its_groups_is_an_inner_node)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g), below, leaf;
    struct token t = take(d);

    below = open_under_job(d, t);
    leaf = failed_in(d, below, "exit:1");
    done(d, t);
    ck_assert(str_eq(last_class(d, id), STR("group")));
    is_tree(
        d, (struct question){.id = id, .is_job = true},
        joined(line(0, id, ""), line(1, below, ""), line(2, leaf, "exit:1")));
    /* the split asks about leaves */
    is_tree(d, (struct question){.id = g, .class = "group"}, "");
    is_tree(d, (struct question){.id = g, .except = "exit:*"}, "");
    daemon_free(d);
}
END_TEST

START_TEST(when_what_is_below_is_forgotten_its_error_is_left)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g), below;
    struct token t = take(d);

    open.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    open.u.group_open.keep_ms = 100;
    below = open_event(d, &open);
    (void)failed_in(d, below, "exit:1");
    done(d, t);
    daemon_pass(d, 101);
    ck_assert(!group(d, below).found);
    is_tree(d, (struct question){.id = g},
            joined(line(0, g, ""), line(1, id, "group"), ""));
    daemon_free(d);
}
END_TEST

/* A job that is tried three times, at once. */
static uint64_t submit_tried(struct daemon *d, uint64_t group)
{
    struct core_event ev = a_job("q");

    ev.u.submit.group.n = group;
    ev.u.submit.retry = 2;
    ev.u.submit.backoff_base_ms = 0;
    return submit_event(d, &ev);
}

START_TEST(all_attempts_of_a_failed_job_are_told)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id, first, leaf;
    struct token t;

    id = submit_tried(d, g);
    t = take(d);
    first = open_under_job(d, t);
    leaf = failed_in(d, first, "net");
    done(d, t);
    is_tree(d, (struct question){.id = g}, ""); /* it will be tried again */
    daemon_pass(d, 1);
    fails(d, take(d), "exit:1");
    is_tree(d, (struct question){.id = g, .class = "exit:*"},
            joined(line(0, g, ""), line(1, id, "exit:1"), ""));
    is_tree(d, (struct question){.id = id, .is_job = true},
            joined(line(0, id, "exit:1"), line(1, first, ""),
                   line(2, leaf, "net")));
    daemon_free(d);
}
END_TEST

START_TEST(an_attempt_that_was_made_good_is_forgiven)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct token t;

    (void)submit_tried(d, g);
    t = take(d);
    (void)failed_in(d, open_under_job(d, t), "net");
    done(d, t);
    daemon_pass(d, 1);
    done(d, take(d));
    is_tree(d, (struct question){.id = g}, "");
    daemon_free(d);
}
END_TEST

/* It stands there for what is below it, and may still end well. */
START_TEST(a_job_that_has_not_failed_tells_of_no_attempt)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id, below, leaf;
    struct token t;

    id = submit_tried(d, g);
    fails(d, take(d), "net");
    daemon_pass(d, 1);
    t = take(d);
    below = open_under_job(d, t);
    leaf = failed_in(d, below, "exit:1");
    ck_assert_int_eq(job(d, id).errors, 1);
    is_tree(
        d, (struct question){.id = id, .is_job = true},
        joined(line(0, id, ""), line(1, below, ""), line(2, leaf, "exit:1")));
    is_tree(d, (struct question){.id = g, .class = "net"}, "");
    daemon_free(d);
}
END_TEST

/* The group is still kept, and holds nothing any more. */
START_TEST(when_all_that_failed_below_is_forgotten_its_error_is_left)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0), id = submit(d, "q", g), below, leaf;
    struct token t = take(d);

    below = open_under_job(d, t);
    leaf = failed_in(d, below, "exit:1");
    done(d, t);
    (void)group_ask(d, 3, EVENT_GROUP_NEXT, below, 0, 0, 100);
    d->limits.retain_jobs = 3;
    core_configure(d->core, &d->limits);
    daemon_pass(d, 1);
    for (int i = 0; i < 10; i++) {
        (void)submit(d, "q", 0);
        done(d, take(d));
    }
    ck_assert(!job(d, leaf).found);
    ck_assert(group(d, below).found);
    is_tree(d, (struct question){.id = g},
            joined(line(0, g, ""), line(1, id, "group"), ""));
    daemon_free(d);
}
END_TEST

/* asyncio's task of a TaskGroup that was cancelled while members failed. */
START_TEST(a_cancelled_job_keeps_the_errors_below_it)
{
    struct daemon *d = daemon_new();
    uint64_t top = open_policy(d, 0, 0), g = open_under_group(d, top, 0);
    uint64_t id = submit(d, "q", g), below, leaf;
    struct token t = take(d), other;

    below = open_under_job(d, t);
    leaf = submit(d, "q", below);
    other = take(d);
    cancel_group(d, top, "outside");
    fails(d, other, "exit:9");
    fails(d, t, "cancelled");
    ck_assert_int_eq(job(d, id).outcome, VIEW_CANCELLED);
    daemon_crash(d);
    is_tree(
        d, (struct question){.id = id, .is_job = true},
        joined(line(0, id, ""), line(1, below, ""), line(2, leaf, "exit:9")));
    is_tree(d, (struct question){.id = top, .class = "lost"}, "");
    {
        struct question q = {.id = top};
        static struct text t5;

        ck_assert_int_eq(read_tree(d, &q, &t5), 1);
        ck_assert_ptr_nonnull(strstr(t5.s, line(4, leaf, "exit:9")));
    }
    daemon_free(d);
}
END_TEST

/* Wherever one looks from: its last attempt is over, and there is no other. */
START_TEST(a_job_that_is_cancelled_between_attempts_keeps_them_too)
{
    struct daemon *d = daemon_new();
    uint64_t top = open_policy(d, 0, 0), g = open_under_group(d, top, 0);
    struct core_event ev = a_job("q");
    uint64_t id, below, leaf;
    char tree[400];
    struct token t;

    ev.u.submit.group.n = g;
    ev.u.submit.retry = 3;
    id = submit_event(d, &ev);
    t = take(d);
    below = open_under_job(d, t);
    leaf = failed_in(d, below, "exit:9");
    done(d, t);
    ck_assert_int_eq(job(d, id).state, VIEW_DELAYED);
    cancel_job(d, id, "no need");
    close_group(d, g);
    daemon_crash(d);
    for (int up = 0; up < 2; up++) {
        (void)snprintf(tree, sizeof(tree), "%s%s%s%s%s",
                       up ? line(0, top, "") : "", line(up, g, ""),
                       line(up + 1, id, ""), line(up + 2, below, ""),
                       line(up + 3, leaf, "exit:9"));
        is_tree(d, (struct question){.id = up ? top : g}, tree);
    }
    daemon_free(d);
}
END_TEST

START_TEST(errors_of_groups_are_their_own)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t g = open_policy(d, 0, 0), late, race;

    open.u.group_open.parent.group.n = g;
    open.u.group_open.timeout_ms = 10;
    open.u.group_open.fail = 0;
    late = open_event(d, &open);
    (void)submit(d, "other", late);
    open.u.group_open.timeout_ms = CORE_UNSET;
    open.u.group_open.succeed = 1;
    race = open_event(d, &open);
    close_group(d, race);
    daemon_pass(d, 10);
    is_tree(d, (struct question){.id = g},
            joined(line(0, g, ""), line(1, late, "deadline"),
                   line(1, race, "policy")));
    is_tree(d, (struct question){.id = g, .except = "policy"},
            joined(line(0, g, ""), line(1, late, "deadline"), ""));
    daemon_free(d);
}
END_TEST

START_TEST(a_tree_that_lives_tells_what_has_failed_so_far)
{
    struct daemon *d = daemon_new();
    uint64_t top = open_policy(d, 0, 0), mid = open_under_group(d, top, 0);
    uint64_t low = open_under_group(d, mid, 0), leaf;
    static struct text t;
    struct question q = {.id = top};

    (void)submit(d, "other", mid);
    leaf = failed_in(d, low, "exit:1");
    (void)read_tree(d, &q, &t);
    ck_assert_ptr_nonnull(strstr(t.s, line(3, leaf, "exit:1")));
    daemon_free(d);
}
END_TEST

START_TEST(the_top_counts_in_its_page)
{
    struct daemon *d = daemon_new();
    uint64_t id = submit(d, "q", 0), below;
    struct question q = {.id = id, .is_job = true, .count = 1};
    struct token t = take(d);
    const struct node *page;

    below = open_under_job(d, t);
    (void)failed_in(d, below, "exit:1");
    fails(d, t, "exit:2");
    page = errors_page(d, &q, STR("0"));
    ck_assert_int_eq(node_item(page, 1)->v.count, 1);
    ck_assert_int_eq(node_int(node_item(page, 2)), 0);
    page = errors_page(d, &q, node_str(node_item(page, 0)));
    ck_assert_int_eq(node_item(page, 1)->v.count, 3);
    daemon_free(d);
}
END_TEST

START_TEST(cursors_that_lead_nowhere_are_refused)
{
    struct daemon *d = daemon_new();
    struct core_event open = a_group();
    uint64_t g = open_policy(d, 0, 0), other = open_policy(d, 0, 0), inner;
    struct question q = {.id = g, .count = 1};
    char cursor[64];
    struct str s;

    open.u.group_open.parent.group.n = g;
    open.u.group_open.keep_ms = 100;
    open.u.group_open.fail = 0;
    inner = open_event(d, &open);
    (void)failed_in(d, inner, "a");
    (void)failed_in(d, inner, "b");
    (void)failed_in(d, g, "c");
    close_group(d, inner);
    s = node_str(node_item(errors_page(d, &q, STR("0")), 0));
    (void)snprintf(cursor, sizeof(cursor), "%.*s", (int)s.len, s.p);
    ck_assert(is_error(errors_page(d, &q, STR("")), CORE_ERR_GENERIC));
    ck_assert(is_error(errors_page(d, &q, STR("1")), CORE_ERR_GENERIC));
    ck_assert(
        is_error(errors_page(d, &q, STR("8000000000000000x000000000000000")),
                 CORE_ERR_GENERIC));
    q.id = other;
    ck_assert(is_error(errors_page(d, &q, str_from(cursor)), CORE_ERR_NOGROUP));
    q.id = g;
    ck_assert(
        !is_error(errors_page(d, &q, str_from(cursor)), CORE_ERR_NOGROUP));
    daemon_pass(d, 101); /* where it stands is forgotten */
    ck_assert(is_error(errors_page(d, &q, str_from(cursor)), CORE_ERR_NOGROUP));
    daemon_free(d);
}
END_TEST

START_TEST(who_asks_for_nonsense_is_told)
{
    struct daemon *d = daemon_new();
    uint64_t g = open_policy(d, 0, 0);
    struct question q = {.id = g, .class = "a,,b"};

    ck_assert(is_error(errors_page(d, &q, STR("0")), CORE_ERR_GENERIC));
    q = (struct question){.id = g, .except = ",a"};
    ck_assert(is_error(errors_page(d, &q, STR("0")), CORE_ERR_GENERIC));
    q = (struct question){.id = 0};
    ck_assert(is_error(errors_page(d, &q, STR("0")), CORE_ERR_GENERIC));
    q = (struct question){.id = 12345};
    ck_assert(is_error(errors_page(d, &q, STR("0")), CORE_ERR_NOGROUP));
    q = (struct question){.id = 12345, .is_job = true};
    ck_assert(is_error(errors_page(d, &q, STR("0")), CORE_ERR_NOJOB));
    daemon_free(d);
}
END_TEST

/* ------------------------------------------------- against a naive model */

struct thing {
    uint64_t id;
    bool is_job, failed;
    int parent; /* -1: the top */
    const char *class;
};

struct forest {
    struct daemon *d;
    struct thing things[NODES_MAX];
    int n;
    unsigned seed;
};

static unsigned dice(struct forest *f, unsigned sides)
{
    f->seed = f->seed * 1103515245 + 12345;
    return (f->seed >> 16) % sides;
}

static int plant(struct forest *f, int parent, uint64_t id, bool is_job)
{
    ck_assert_int_lt(f->n, NODES_MAX);
    f->things[f->n] =
        (struct thing){.id = id, .is_job = is_job, .parent = parent};
    return f->n++;
}

static void grow(struct forest *f, int parent, int depth);

static bool room(const struct forest *f, int depth)
{
    return depth < 6 && f->n < NODES_MAX / 2;
}

/* A job in a group; perhaps with groups of its own; it fails or does not. */
static void grow_job(struct forest *f, int parent, int depth)
{
    static const char *const classes[] = {"exit:1", "exit:2", "signal:KILL",
                                          "net.refused", "net.reset"};
    struct daemon *d = f->d;
    int me = plant(f, parent, submit(d, "q", f->things[parent].id), true);
    struct token t = take(d);
    struct core_event open = a_group();

    open.u.group_open.parent = (struct scope_ref){.is_job = true, .token = t};
    open.u.group_open.fail = 0;
    for (unsigned n = room(f, depth) ? dice(f, 3) : 0; n > 0; n--)
        grow(f, plant(f, me, open_event(d, &open), false), depth + 1);
    f->things[me].failed = dice(f, 3) > 0;
    f->things[me].class = classes[dice(f, ARRAY_LEN(classes))];
    if (f->things[me].failed)
        fails(d, t, f->things[me].class);
    else
        done(d, t);
    forget_replies(d);
}

static void grow(struct forest *f, int parent, int depth)
{
    for (unsigned n = dice(f, 4); n > 0; n--) {
        if (dice(f, 3) == 0 && room(f, depth))
            grow(f,
                 plant(f, parent,
                       open_under_group(f->d, f->things[parent].id, 0), false),
                 depth + 1);
        else
            grow_job(f, parent, depth);
    }
    if (dice(f, 2))
        close_group(f->d, f->things[parent].id);
}

static bool globs_match(const char *list, const char *class)
{
    char copy[100], *save = NULL;

    (void)snprintf(copy, sizeof(copy), "%s", list);
    for (char *glob = strtok_r(copy, ",", &save); glob;
         glob = strtok_r(NULL, ",", &save))
        if (fnmatch(glob, class, 0) == 0)
            return true;
    return false;
}

static bool model_wants(const struct thing *t, const struct question *q)
{
    return t->failed && (!q->class || globs_match(q->class, t->class)) &&
           (!q->except || !globs_match(q->except, t->class));
}

static bool model_holds(const struct forest *f, int i, const struct question *q)
{
    if (model_wants(&f->things[i], q))
        return true;
    for (int k = i + 1; k < f->n; k++)
        if (f->things[k].parent == i && model_holds(f, k, q))
            return true;
    return false;
}

static void model_tree(const struct forest *f, int i, int depth,
                       const struct question *q, struct text *t)
{
    const struct thing *me = &f->things[i];

    if (!model_holds(f, i, q))
        return;
    add(t, "%d %llx%s%s\n", depth, (unsigned long long)me->id,
        model_wants(me, q) ? " " : "", model_wants(me, q) ? me->class : "");
    for (int k = i + 1; k < f->n; k++)
        if (f->things[k].parent == i)
            model_tree(f, k, depth + 1, q, t);
}

static const char *const globs[] = {"exit:*", "net.*,signal:*", "*", "nothing",
                                    "*[12t]"};

/* Every split of random trees, in pages of every size. The things stand in the
 * order in which they were made, which is that of the tree. */
START_TEST(a_split_keeps_the_shape_and_drops_what_is_empty)
{
    static struct forest f;
    static struct text got_text, expected;

    f = (struct forest){.d = daemon_new(), .seed = (unsigned)_i + 1};
    (void)plant(&f, -1, open_policy(f.d, 0, 0), false);
    for (int i = 0; i < 3; i++)
        grow_job(&f, 0, 0);
    grow(&f, 0, 0);
    if (_i % 2)
        daemon_crash(f.d); /* it all follows from the records */
    for (size_t k = 0; k < 1 + 2 * ARRAY_LEN(globs); k++) {
        struct question q = {.id = f.things[0].id, .count = (int64_t)k % 4};

        if (k > 0 && k % 2)
            q.class = globs[k / 2];
        else if (k > 0)
            q.except = globs[k / 2 - 1];
        expected.len = 0;
        expected.s[0] = '\0';
        model_tree(&f, 0, 0, &q, &expected);
        (void)read_tree(f.d, &q, &got_text);
        ck_assert_str_eq(got_text.s, expected.s);
    }
    daemon_free(f.d);
}
END_TEST

static Suite *errors_suite(void)
{
    Suite *suite = suite_create("core errors");
    TCase *shape = tcase_create("shape"), *pages = tcase_create("pages");

    tcase_add_test(shape, what_has_not_failed_is_not_in_the_tree);
    tcase_add_test(shape, a_single_failure_is_a_tree);
    tcase_add_test(shape, a_job_that_failed_by_its_groups_is_an_inner_node);
    tcase_add_test(shape, when_what_is_below_is_forgotten_its_error_is_left);
    tcase_add_test(shape, all_attempts_of_a_failed_job_are_told);
    tcase_add_test(shape, an_attempt_that_was_made_good_is_forgiven);
    tcase_add_test(shape, a_job_that_has_not_failed_tells_of_no_attempt);
    tcase_add_test(shape,
                   when_all_that_failed_below_is_forgotten_its_error_is_left);
    tcase_add_test(pages, the_top_counts_in_its_page);
    tcase_add_test(shape, a_cancelled_job_keeps_the_errors_below_it);
    tcase_add_test(shape,
                   a_job_that_is_cancelled_between_attempts_keeps_them_too);
    tcase_add_test(shape, errors_of_groups_are_their_own);
    tcase_add_test(shape, a_tree_that_lives_tells_what_has_failed_so_far);
    tcase_add_test(pages, cursors_that_lead_nowhere_are_refused);
    tcase_add_test(pages, who_asks_for_nonsense_is_told);
    tcase_add_loop_test(pages, a_split_keeps_the_shape_and_drops_what_is_empty,
                        0, 40);
    tcase_set_timeout(pages, 60);
    suite_add_tcase(suite, shape);
    suite_add_tcase(suite, pages);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(errors_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
