/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/report.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define DETAIL_LINES 12

/* ------------------------------------------------------------ in a line */

const char *report_reason(const char *reason)
{
    static const struct {
        const char *reason, *words;
    } known[] = {
        {"policy", "the policy of its group stopped it"},
        {"deadline", "its deadline had passed"},
        {"timeout", "it ran into its timeout"},
        {"owner-lost", "the session that owned it was gone"},
        {"expired", "it waited in its queue for longer than it may"},
    };

    if (reason == NULL)
        return "no reason was given";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].reason, reason) == 0)
            return known[i].words;
    return reason;
}

static const struct yoke_job_error *last_error(
    const struct yoke_outcome_info *o)
{
    return o->nerrors > 0 ? &o->errors[o->nerrors - 1] : NULL;
}

/* Whether the message of a class says all that the class says. */
static bool is_told(const char *class_name)
{
    static const char *const told[] = {"exit:",   "signal:",  "spawn",
                                       "timeout", "deadline", "expired"};

    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (strncmp(class_name, told[i], strlen(told[i])) == 0)
            return true;
    return false;
}

/* Class and message in a line, without saying it twice. */
static void add_error(struct text *t, const struct yoke_job_error *e)
{
    if (e->message[0] == '\0' || !is_told(e->class_name))
        output_clean(t, e->class_name, strlen(e->class_name));
    if (t->len > 0 && e->message[0] != '\0')
        text_adds(t, ": ");
    output_clean(t, e->message, strlen(e->message));
}

char *report_why(const struct yoke_outcome_info *o)
{
    const struct yoke_job_error *e = last_error(o);
    struct text t = {0};

    switch (o->outcome) {
    case YOKE_PENDING:
        text_adds(&t, "it has not ended");
        break;
    case YOKE_SUCCEEDED:
        text_adds(&t, "ok");
        break;
    case YOKE_FAILED:
        if (e != NULL)
            add_error(&t, e);
        else if (o->is_group && o->failed > 0)
            text_addf(&t, "%" PRId64 " of its %" PRId64 " members failed",
                      o->failed, o->members);
        else
            text_adds(&t, "failed");
        break;
    case YOKE_CANCELLED:
        text_adds(&t, "cancelled: ");
        output_clean(&t, report_reason(o->reason),
                     strlen(report_reason(o->reason)));
        break;
    }
    return t.data;
}

static int signal_number(const char *name)
{
    int64_t number;

    if (argument_integer(name, 1, 64, &number))
        return (int)number;
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int i = 1; i < NSIG; i++) {
        const char *abbreviation = sigabbrev_np(i);

        if (abbreviation != NULL && strcmp(abbreviation, name) == 0)
            return i;
    }
    return SIGKILL;
}

int report_exit_status(const struct yoke_outcome_info *o)
{
    const struct yoke_job_error *e = last_error(o);
    const char *class_name = e != NULL ? e->class_name : "";
    int64_t status;

    if (o->outcome == YOKE_SUCCEEDED)
        return 0;
    if (o->outcome == YOKE_CANCELLED)
        return EXIT_SIGNAL + SIGTERM;
    if (o->outcome == YOKE_PENDING)
        return EXIT_OWN;
    if (strncmp(class_name, "exit:", 5) == 0 &&
        argument_integer(class_name + 5, 1, 255, &status))
        return (int)status;
    if (strncmp(class_name, "signal:", 7) == 0)
        return EXIT_SIGNAL + signal_number(class_name + 7);
    if (strcmp(class_name, "timeout") == 0 ||
        strcmp(class_name, "deadline") == 0 ||
        strcmp(class_name, "expired") == 0)
        return EXIT_TIMED_OUT;
    if (strcmp(class_name, "spawn") == 0)
        return strstr(e->message, "No such file") != NULL ? EXIT_NOT_FOUND
                                                          : EXIT_CANNOT_RUN;
    if (strcmp(class_name, "oom") == 0)
        return EXIT_SIGNAL + SIGKILL;
    return EXIT_OWN;
}

/* ----------------------------------------------------------- as a tree */

struct drawing {
    FILE *to;
    struct text margin;
    bool utf8;
};

static void paint(const struct drawing *d, enum color color, const char *s)
{
    fprintf(d->to, "%s%s%s", output_color(d->to, color), s,
            output_color(d->to, COLOR_NONE));
}

/* The last lines of what a job wrote to stderr. */
static void draw_detail(const struct drawing *d, const char *detail)
{
    size_t len = strlen(detail), lines = 0, begin;
    const char *bar = d->utf8 ? "\u2502 " : "| ";

    while (len > 0 && (detail[len - 1] == '\n' || detail[len - 1] == '\r'))
        len--;
    for (begin = len; begin > 0; begin--)
        if (detail[begin - 1] == '\n' && ++lines == DETAIL_LINES)
            break;
    while (begin < len) {
        size_t end = begin;
        struct text line = {0};

        while (end < len && detail[end] != '\n')
            end++;
        output_clean(&line, detail + begin, end - begin);
        fprintf(d->to, "%s    ", text_str(&d->margin));
        paint(d, COLOR_DIM, bar);
        fprintf(d->to, "%s\n", text_str(&line));
        text_clear(&line);
        begin = end + 1;
    }
}

static void draw_error(const struct drawing *d, const struct yoke_job_error *e,
                       bool several)
{
    struct text t = {0};

    fprintf(d->to, "%s    ", text_str(&d->margin));
    output_clean(&t, e->class_name, strlen(e->class_name));
    paint(d, COLOR_RED, text_str(&t));
    text_clear(&t);
    if (e->message[0] != '\0') {
        output_clean(&t, e->message, strlen(e->message));
        fprintf(d->to, "  %s", text_str(&t));
        text_clear(&t);
    }
    if (several || e->attempt > 1)
        text_addf(&t, "attempt %" PRId64 ", ", e->attempt);
    if (e->time_ms > 0) {
        text_adds(&t, "at ");
        output_moment(&t, e->time_ms);
    }
    fprintf(d->to, "  (%s)\n", text_str(&t));
    text_clear(&t);
}

static void draw_name(const struct drawing *d, const struct yoke_error_tree *n)
{
    struct text name = {0};

    if (n->name != NULL && n->name[0] != '\0') {
        output_clean(&name, n->name, strlen(n->name));
        paint(d, COLOR_BOLD, text_str(&name));
        fputs("  ", d->to);
        text_clear(&name);
    }
    paint(d, COLOR_DIM, n->id);
}

static void draw_node(struct drawing *d, const struct yoke_error_tree *n,
                      bool last)
{
    size_t margin = d->margin.len;
    const char *branch, *below;

    if (d->utf8) {
        branch = last ? "\u2514\u2500 " : "\u251c\u2500 ";
        below = last ? "   " : "\u2502  ";
    } else {
        branch = last ? "`- " : "|- ";
        below = last ? "   " : "|  ";
    }
    fprintf(d->to, "%s%s", text_str(&d->margin), branch);
    draw_name(d, n);
    fputc('\n', d->to);
    text_adds(&d->margin, below);
    for (size_t i = 0; i < n->nerrors; i++)
        draw_error(d, &n->errors[i], n->nerrors > 1);
    if (n->nerrors > 0)
        draw_detail(d, n->errors[n->nerrors - 1].detail);
    for (size_t i = 0; i < n->nchildren; i++)
        draw_node(d, n->children[i], i + 1 == n->nchildren);
    d->margin.len = margin;
    d->margin.data[margin] = '\0';
}

static void draw_counts(const struct drawing *d,
                        const struct yoke_outcome_info *info)
{
    struct text age = {0};

    fprintf(
        d->to,
        "%s%" PRId64 " failed%s, %" PRId64 " cancelled, %s%" PRId64 " ok%s",
        info->failed > 0 ? output_color(d->to, COLOR_RED) : "", info->failed,
        info->failed > 0 ? output_color(d->to, COLOR_NONE) : "",
        info->cancelled, info->ok > 0 ? output_color(d->to, COLOR_GREEN) : "",
        info->ok, info->ok > 0 ? output_color(d->to, COLOR_NONE) : "");
    if (info->ended_ms > 0 && info->submitted_ms > 0) {
        output_duration(&age, info->ended_ms - info->submitted_ms);
        fprintf(d->to, ", after %s", text_str(&age));
        text_clear(&age);
    }
}

static void draw_group(const struct drawing *d,
                       const struct yoke_outcome_info *info)
{
    struct text name = {0};

    output_clean(&name, info->name, strlen(info->name));
    fputs("group ", d->to);
    if (name.len > 0) {
        paint(d, COLOR_BOLD, text_str(&name));
        fputs("  ", d->to);
    }
    paint(d, COLOR_DIM, info->id);
    fputs(": ", d->to);
    draw_counts(d, info);
    fputc('\n', d->to);
    text_clear(&name);
}

/* Why members were cancelled, unless the group's own errors say it. */
static void draw_reason(const struct drawing *d,
                        const struct yoke_outcome_info *info)
{
    const char *words = report_reason(info->reason);
    struct text clean = {0};

    if (info->reason == NULL || info->nerrors > 0 ||
        (info->outcome == YOKE_FAILED && info->cancelled == 0))
        return;
    output_clean(&clean, words, strlen(words));
    fprintf(d->to, "%s: %s\n",
            info->outcome == YOKE_FAILED ? "the rest was cancelled"
                                         : "cancelled",
            text_str(&clean));
    text_clear(&clean);
}

void report_tree(FILE *to, const struct yoke_outcome_info *info,
                 const struct yoke_error_tree *tree, int64_t more)
{
    struct drawing d = {.to = to, .utf8 = output_is_utf8()};

    text_adds(&d.margin, "");
    if (info != NULL) {
        draw_group(&d, info);
        draw_reason(&d, info);
    }
    if (tree != NULL) {
        for (size_t i = 0; i < tree->nerrors; i++)
            draw_error(&d, &tree->errors[i], false);
        for (size_t i = 0; i < tree->nchildren; i++)
            draw_node(&d, tree->children[i],
                      i + 1 == tree->nchildren && more == 0);
    }
    if (more > 0)
        fprintf(to, "%s%" PRId64 " more; all of them: yoke group errors %s\n",
                d.utf8 ? "\u2514\u2500 " : "`- ", more,
                tree != NULL ? tree->id : "GROUP");
    text_clear(&d.margin);
}

/* ----------------------------------------------------------- as JSON */

static json_t *error_json(const struct yoke_job_error *e)
{
    json_t *json = json_object();

    output_json_bytes(
        json, "class",
        (struct yoke_bytes){e->class_name, strlen(e->class_name)});
    output_json_bytes(json, "message",
                      (struct yoke_bytes){e->message, strlen(e->message)});
    output_json_bytes(json, "detail",
                      (struct yoke_bytes){e->detail, strlen(e->detail)});
    (void)json_object_set_new(json, "attempt", json_integer(e->attempt));
    (void)json_object_set_new(json, "time", json_integer(e->time_ms));
    return json;
}

json_t *report_tree_json(const struct yoke_error_tree *tree)
{
    json_t *json, *errors = json_array(), *members = json_array();

    for (size_t i = 0; i < tree->nerrors; i++)
        (void)json_array_append_new(errors, error_json(&tree->errors[i]));
    for (size_t i = 0; i < tree->nchildren; i++)
        (void)json_array_append_new(members,
                                    report_tree_json(tree->children[i]));
    json = json_pack("{s:s, s:s}", "id", tree->id, "kind",
                     tree->is_group ? "group" : "job");
    if (tree->name != NULL)
        output_json_bytes(json, "name",
                          (struct yoke_bytes){tree->name, strlen(tree->name)});
    (void)json_object_set_new(json, "errors", errors);
    (void)json_object_set_new(json, "members", members);
    return json;
}
