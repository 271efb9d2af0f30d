/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tree - groups and jobs as a tree; once, or again whenever it changes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/watch.h"

#define DEPTH_MAX    512
#define DETAIL_LINES 3 /* of the stderr of what has failed */
#define PACE_MS      100
#define TICK_MS      1000 /* on a terminal: time goes on */
#define RETRY_MS     500  /* while the daemon is gone */

enum { OPTION_WATCH = 400 };

const struct option_row tree_options[] = {
    {'a', "all", NULL, "what has ended well or was cancelled, too"},
    {'n', "count", "N", "at most so many lines (1000)"},
    {OPTION_WATCH, "watch", NULL,
     "again whenever something changes, until the group has ended"},
    {0, NULL, NULL, NULL},
};

/* ------------------------------------------------------------------ drawing */

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

static void print_part(FILE *to, const struct text *t, const char *before,
                       enum color color, size_t *room)
{
    if (t->len == 0)
        return;
    output_part(to, before, COLOR_NONE, room);
    output_part(to, text_str(t), color, room);
}

/* Prints and frees it. */
static void line_end(struct line *l, FILE *to, size_t room)
{
    size_t width = strlen(l->id);

    for (int i = 0; i < PARTS; i++)
        width += part_width(&l->parts[i]);
    width += l->error.len > 0 ? 1 + output_width(text_str(&l->error)) : 0;
    give_way(&l->parts[PART_REASON], &width, room);
    give_way(&l->parts[PART_NAME], &width, room);
    output_part(to, l->id, COLOR_NONE, &room);
    print_part(to, &l->parts[PART_STATE], "  ", l->state_color, &room);
    print_part(to, &l->error, " ", COLOR_RED, &room);
    print_part(to, &l->parts[PART_NAME], "  ", COLOR_BOLD, &room);
    print_part(to, &l->parts[PART_FACTS], "  ", COLOR_NONE, &room);
    print_part(to, &l->parts[PART_REASON], "  ", COLOR_NONE, &room);
    fputc('\n', to);
    for (int i = 0; i < PARTS; i++)
        text_clear(&l->parts[i]);
    text_clear(&l->error);
}

static struct line line_begin(const struct yoke_value *map)
{
    const char *name = output_str(map, "name");
    const char *reason = output_str(map, "reason");
    struct line l = {.id = output_str(map, "id"),
                     .state_color = output_state_color(report_state(map))};

    text_adds(&l.parts[PART_STATE], report_state(map));
    output_clean(&l.parts[PART_NAME], name, strlen(name));
    if (reason[0] != '\0') {
        text_addc(&l.parts[PART_REASON], '(');
        output_clean(&l.parts[PART_REASON], reason, strlen(reason));
        text_addc(&l.parts[PART_REASON], ')');
    }
    return l;
}

static void print_group(FILE *to, const struct yoke_value *map, size_t room)
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
    line_end(&l, to, room);
}

/* error: what it failed with, or NULL */
static void print_job(FILE *to, const struct yoke_value *map,
                      const struct yoke_outcome_info *error, size_t room)
{
    int64_t attempt = output_int(map, "attempt", 0);
    struct line l = line_begin(map);
    struct text *facts = &l.parts[PART_FACTS];

    if (error != NULL) {
        const char *class_name = error->errors[error->nerrors - 1].class_name;

        output_clean(&l.error, class_name, strlen(class_name));
    }
    report_age(facts, map);
    if (attempt > 1)
        text_addf(facts, "  attempt %" PRId64, attempt);
    text_addf(facts, "  [%s]", output_str(map, "queue"));
    line_end(&l, to, room);
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
static void draw_job(FILE *to, yoke *y, const struct yoke_value *map,
                     const char *margin, size_t room)
{
    struct yoke_outcome_info *error = failure(y, map);

    print_job(to, map, error, room);
    if (error != NULL)
        report_errors(to, margin, DETAIL_LINES, error);
    yoke_outcome_free(error);
}

static void draw(FILE *to, yoke *y, const struct yoke_value *tree,
                 const bool *shown)
{
    bool utf8 = output_is_utf8(), open[DEPTH_MAX] = {false};
    const char *bar = utf8 ? "\u2502  " : "|  ";
    int64_t first = tree->items[0].items[0].i;

    for (size_t i = 0; i < tree->count; i++) {
        const struct yoke_value *map = &tree->items[i].items[1];
        int64_t depth = tree->items[i].items[0].i;
        size_t room = output_room(to);
        struct text margin = {0};

        if (depth >= DEPTH_MAX || !shown[i])
            continue;
        open[depth] = has_sibling(tree, shown, i);
        for (int64_t k = first + 1; k < depth; k++)
            text_adds(&margin, open[k] ? bar : "   ");
        output_part(to, text_str(&margin), COLOR_NONE, &room);
        if (depth > first && utf8)
            output_part(to, open[depth] ? "\u251c\u2500 " : "\u2514\u2500 ",
                        COLOR_NONE, &room);
        else if (depth > first)
            output_part(to, open[depth] ? "|- " : "`- ", COLOR_NONE, &room);
        if (depth > first)
            text_adds(&margin, open[depth] ? bar : "   ");
        text_adds(&margin, !has_branches(tree, shown, i) ? "  "
                           : utf8                        ? "\u2502 "
                                                         : "| ");
        if (cli_is_group(output_str(map, "id")))
            print_group(to, map, room);
        else
            draw_job(to, y, map, text_str(&margin), room);
        text_clear(&margin);
    }
}

static void print_tree(FILE *to, yoke *y, const struct yoke_value *tree,
                       bool all)
{
    bool *shown = choose(tree);
    size_t hidden = 0;

    for (size_t i = 0; i < tree->count; i++) {
        hidden += !shown[i];
        shown[i] = shown[i] || all;
    }
    draw(to, y, tree, shown);
    if (hidden > 0 && !all)
        fprintf(to,
                "%s(%zu that ended well or were cancelled are not shown; -a "
                "shows them)%s\n",
                output_color(to, COLOR_DIM), hidden,
                output_color(to, COLOR_NONE));
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

/* ------------------------------------------------------------------ asking */

struct view {
    struct cli *c;
    const char *id, *count;
    bool all;
    /* with --watch */
    struct watch watch;
    bool changed, screen;
    char *frame; /* as it was drawn last, or NULL */
};

/* 0, or as yoke_commandl. */
static int get_tree(struct view *v, yoke *y, struct yoke_value **tree)
{
    int status = yoke_commandl(y, tree, "GROUP", "TREE", v->id, "COUNT",
                               v->count, (char *)NULL);

    for (size_t i = 0; status == 0 && i < (*tree)->count; i++)
        if (!is_entry(&(*tree)->items[i]))
            cli_fail(v->c, NULL, YOKE_ERR_PROTOCOL, "cannot read the tree");
    return status;
}

static void show(struct view *v, yoke *y, const struct yoke_value *tree)
{
    if (v->c->json)
        output_json(tree_json(tree));
    else if (tree->count == 0)
        cli_warn("nothing is there");
    else
        print_tree(stdout, y, tree, v->all);
}

static void show_once(struct view *v)
{
    yoke *y = cli_connect(v->c);
    struct yoke_value *tree = NULL;
    int status = get_tree(v, y, &tree);

    if (status != 0)
        cli_fail(v->c, y, status, "cannot get the tree below %s", v->id);
    show(v, y, tree);
    yoke_value_free(tree);
    yoke_close(y);
}

/* ---------------------------------------------------------------- watching */

static void on_event(yoke *y, const struct yoke_message *m, void *arg)
{
    struct view *v = arg;

    (void)y;
    (void)m;
    v->changed = true;
}

/* A frame on the screen; or below the one before, if it is another one. */
static void show_frame(struct view *v, const struct yoke_value *tree)
{
    size_t rows, columns = 0;
    char *before = v->frame;
    FILE *to;

    if (v->screen)
        screen_size(&rows, &columns);
    to = output_frame_begin(columns);
    if (tree->count > 0)
        print_tree(to, v->watch.asker, tree, v->all);
    v->frame = output_frame_end();
    if (v->screen)
        screen_show(v->frame);
    else if (before == NULL || strcmp(before, v->frame) != 0)
        printf("%s%s", before != NULL ? "\n" : "", v->frame);
    free(before);
}

/* Asks, and draws what there is; true: the group has ended. */
static bool redraw(struct view *v)
{
    struct yoke_value *tree = NULL;
    int status = get_tree(v, v->watch.asker, &tree);
    bool over;

    v->changed = false;
    if (status != 0) {
        watch_lose(&v->watch, v->watch.asker, status, "cannot get the tree");
        return false;
    }
    over =
        tree->count > 0 && !output_is_null(&tree->items[0].items[1], "ended");
    if (over) { /* the last one stays */
        screen_end();
        v->screen = false;
    }
    if (v->c->json)
        output_json(tree_json(tree));
    else if (over && screen_possible())
        print_tree(stdout, v->watch.asker, tree, v->all);
    else
        show_frame(v, tree);
    (void)fflush(stdout);
    yoke_value_free(tree);
    return over;
}

/* The frame stays, below the bad news. */
static void show_loss(struct view *v)
{
    struct text lines = {0};
    size_t rows, columns;
    char *fit;

    if (!v->screen)
        return;
    screen_size(&rows, &columns);
    fit = output_fit("the daemon is gone; waiting for it", columns);
    text_addf(&lines, "%s\n%s", fit, v->frame != NULL ? v->frame : "");
    screen_show(text_str(&lines));
    text_clear(&lines);
    free(fit);
}

/* Until it may be drawn anew. */
static void wait_for_change(struct view *v, int64_t drawn_ms, int64_t took_ms)
{
    int64_t pace_ms = PACE_MS > 2 * took_ms ? PACE_MS : 2 * took_ms;

    for (;;) {
        int64_t due_ms = drawn_ms + (v->changed ? pace_ms : TICK_MS);
        int64_t left_ms = due_ms - cli_monotonic_ms();

        if (v->watch.asker == NULL ||
            (left_ms <= 0 && (v->changed || v->screen)))
            return;
        watch_wait(&v->watch, v->screen ? screen_fd() : -1,
                   v->changed || v->screen ? left_ms : -1);
        if (v->screen && screen_key() == 'q') {
            screen_end();
            exit(0);
        }
    }
}

static void watch_tree(struct view *v)
{
    struct text channel = {0};
    const char *channels[1];
    bool over = false;

    text_addf(&channel, "group:%s", v->id);
    channels[0] = text_str(&channel);
    v->screen = screen_possible() && !v->c->json;
    v->watch = (struct watch){.channels = channels,
                              .nchannels = 1,
                              .told = on_event,
                              .arg = v,
                              .quiet = v->screen};
    watch_begin(&v->watch, v->c);
    if (v->screen)
        screen_begin();
    while (!over && !ferror(stdout)) {
        int64_t begin_ms = cli_monotonic_ms(), now_ms;

        if (v->watch.asker == NULL && !watch_again(&v->watch)) {
            show_loss(v);
            watch_wait(&v->watch, v->screen ? screen_fd() : -1, RETRY_MS);
            if (v->screen && screen_key() == 'q')
                break;
            continue;
        }
        over = redraw(v);
        now_ms = cli_monotonic_ms();
        if (!over)
            wait_for_change(v, now_ms, now_ms - begin_ms);
    }
    screen_end();
    free(v->frame);
    watch_end(&v->watch);
    text_clear(&channel);
}

int tree_main(struct cli *c)
{
    struct view v = {.c = c, .count = "1000"};
    bool again = false;
    int option;

    while ((option = options_next(c)) != 0) {
        if (option == 'a') {
            v.all = true;
        } else if (option == OPTION_WATCH) {
            again = true;
        } else {
            (void)options_integer(c, 1, 10000);
            v.count = c->value;
        }
    }
    options_operands(c, 0, 1);
    v.id = c->argc > 0 ? c->argv[0] : "root";
    if (again)
        watch_tree(&v);
    else
        show_once(&v);
    return 0;
}
