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

#define DETAIL_LINES 8

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

const char *report_outcome(enum yoke_outcome outcome)
{
    switch (outcome) {
    case YOKE_PENDING:
        return NULL;
    case YOKE_SUCCEEDED:
        return "ok";
    case YOKE_FAILED:
        return "failed";
    case YOKE_CANCELLED:
        return "cancelled";
    }
    return NULL;
}

const char *report_state(const struct yoke_value *map)
{
    const char *outcome = output_str(map, "outcome");

    return outcome[0] != '\0' ? outcome : output_str(map, "state");
}

void report_age(struct text *t, const struct yoke_value *job)
{
    int64_t started = output_int(job, "started", -1);
    int64_t ended = output_int(job, "ended", -1);
    int64_t submitted = output_int(job, "submitted", -1);

    if (started < 0)
        started = submitted;
    if (started >= 0)
        output_duration(t, (ended >= 0 ? ended : cli_now_ms()) - started);
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
    size_t columns; /* of the terminal; 0: it is none, nothing is cut */
    int lines;      /* most of what a job wrote last */
};

/* A node as it is drawn, whatever it was read from. */
struct drawn {
    const char *name, *id, *reason;
    bool is_group, is_top;
    enum yoke_outcome outcome;
    int64_t attempts, begun_ms, ended_ms, ok, failed, cancelled;
    size_t nerrors;
    const struct yoke_job_error *errors;
};

static struct drawing drawing_begin(FILE *to, int lines)
{
    struct drawing d = {.to = to,
                        .utf8 = output_is_utf8(),
                        .columns = (size_t)output_columns(to),
                        .lines = lines};

    text_adds(&d.margin, "");
    return d;
}

static void paint(const struct drawing *d, enum color color, const char *s)
{
    fprintf(d->to, "%s%s%s", output_color(d->to, color), s,
            output_color(d->to, COLOR_NONE));
}

static void margin_back(struct drawing *d, size_t len)
{
    d->margin.len = len;
    d->margin.data[len] = '\0';
}

/* Columns that are left behind the margin; never so few that nothing fits. */
static size_t room(const struct drawing *d, size_t taken)
{
    size_t used = output_width(text_str(&d->margin)) + taken;

    if (d->columns == 0)
        return SIZE_MAX;
    return d->columns > used + 20 ? d->columns - used : 20;
}

/* How much of a line fits, at best up to a blank. */
static size_t fitting(const char *s, size_t columns)
{
    size_t len = strlen(s), end = 0;

    if (columns == SIZE_MAX || output_width(s) <= columns)
        return len;
    for (size_t i = 1; i < len; i++) {
        char *part;
        size_t width;

        if (((unsigned char)s[i] & 0xc0) == 0x80)
            continue; /* in the middle of a character */
        part = text_copyn(s, i);
        width = output_width(part);
        free(part);
        if (width > columns)
            break;
        if (s[i] == ' ' || end == 0 || s[end] != ' ')
            end = i;
    }
    return end > 0 ? end : 1;
}

/* A sentence below a node, on as many lines as it needs. */
static void draw_sentence(const struct drawing *d, const char *sentence)
{
    struct text clean = {0};
    const char *s;

    output_clean(&clean, sentence, strlen(sentence));
    for (s = text_str(&clean); *s != '\0'; s += strspn(s, " ")) {
        size_t n = fitting(s, room(d, 0));

        fprintf(d->to, "%s%.*s\n", text_str(&d->margin), (int)n, s);
        s += n;
    }
    text_clear(&clean);
}

/* The last lines of what a job wrote to stderr; what is too long is cut. */
static void draw_detail(const struct drawing *d, const char *detail)
{
    size_t len = strlen(detail), begin;
    int lines = 0;

    while (len > 0 && (detail[len - 1] == '\n' || detail[len - 1] == '\r'))
        len--;
    for (begin = len; begin > 0; begin--)
        if (detail[begin - 1] == '\n' && ++lines == d->lines)
            break;
    while (begin < len) {
        size_t end = begin;
        struct text line = {0};
        char *fit;

        while (end < len && detail[end] != '\n')
            end++;
        output_clean(&line, detail + begin,
                     end - begin - (end > begin && detail[end - 1] == '\r'));
        fit = output_fit(text_str(&line), room(d, 2));
        fputs(text_str(&d->margin), d->to);
        paint(d, COLOR_DIM, d->utf8 ? "\u250a " : ": ");
        fprintf(d->to, "%s\n", fit);
        free(fit);
        text_clear(&line);
        begin = end + 1;
    }
}

/* Whether the message is what the class says, in more words. */
static bool is_plain(const struct yoke_job_error *e)
{
    static const char *const plain[] = {
        "the attempt took longer than its timeout", "the job's deadline passed",
        "the group's deadline passed"};
    struct text words = {0};
    bool same;

    if (strncmp(e->class_name, "exit:", 5) == 0)
        text_addf(&words, "exited with status %s", e->class_name + 5);
    else if (strncmp(e->class_name, "signal:", 7) == 0)
        text_addf(&words, "killed by signal %s", e->class_name + 7);
    same = strcmp(text_str(&words), e->message) == 0;
    text_clear(&words);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        same = same || strcmp(plain[i], e->message) == 0;
    return same;
}

/* What the earlier attempts failed with, where that was something else. */
static void draw_earlier(const struct drawing *d, const struct drawn *n)
{
    const struct yoke_job_error *last = &n->errors[n->nerrors - 1];

    for (size_t i = 0; i + 1 < n->nerrors; i++) {
        const struct yoke_job_error *e = &n->errors[i];
        struct text t = {0};

        if (strcmp(e->class_name, last->class_name) == 0 &&
            strcmp(e->message, last->message) == 0)
            continue;
        text_addf(&t, "attempt %" PRId64 ": %s", e->attempt, e->class_name);
        if (!is_plain(e))
            text_addf(&t, "  %s", e->message);
        draw_sentence(d, text_str(&t));
        text_clear(&t);
    }
}

static void draw_errors(const struct drawing *d, const struct drawn *n)
{
    const struct yoke_job_error *last;

    if (n->nerrors == 0)
        return;
    last = &n->errors[n->nerrors - 1];
    draw_earlier(d, n);
    if (!is_plain(last))
        draw_sentence(d, last->message);
    draw_detail(d, last->detail);
}

static void add_count(struct text *t, int64_t n, const char *what)
{
    if (n > 0)
        text_addf(t, "%s%" PRId64 " %s", t->len > 0 ? ", " : "", n, what);
}

/* "23:13:14", with its date unless that is today. */
static void add_when(struct text *t, int64_t ms)
{
    struct text when = {0}, now = {0};
    bool today;

    output_moment(&when, ms);
    output_moment(&now, cli_now_ms());
    today = when.len == now.len && when.len > 11 &&
            strncmp(when.data, now.data, 11) == 0;
    text_adds(t, text_str(&when) + (today ? 11 : 0));
    text_clear(&when);
    text_clear(&now);
}

static void add_facts(struct text *t, const struct drawn *n)
{
    int64_t at_ms = n->nerrors > 0 ? n->errors[n->nerrors - 1].time_ms : 0;
    bool ended = n->ended_ms > 0 && n->begun_ms > 0;

    if (n->is_group) {
        add_count(t, n->failed, "failed");
        add_count(t, n->cancelled, "cancelled");
        add_count(t, n->ok, "ok");
    } else if (n->attempts > 1) {
        text_addf(t, "%" PRId64 " attempts", n->attempts);
    }
    if (n->is_group ? !n->is_top : !ended && at_ms <= 0)
        return;
    if (t->len > 0 && (ended || at_ms > 0))
        text_adds(t, ", ");
    if (ended) {
        text_adds(t, "after ");
        output_duration(t, n->ended_ms - n->begun_ms);
    }
    if (!n->is_group && at_ms > 0) {
        text_adds(t, ended ? " at " : "at ");
        add_when(t, at_ms);
    }
}

/* What became of it, in a word or two; the colour of that. "": nothing that
 * the counts would not say. */
static enum color add_end(struct text *t, const struct drawn *n)
{
    if (n->nerrors > 0) {
        const char *class_name = n->errors[n->nerrors - 1].class_name;

        output_clean(t, class_name, strlen(class_name));
        return COLOR_RED;
    }
    switch (n->outcome) {
    case YOKE_PENDING:
        text_adds(t, "not ended");
        return COLOR_BLUE;
    case YOKE_SUCCEEDED:
        text_adds(t, n->is_top || !n->is_group ? "ok" : "");
        return COLOR_GREEN;
    case YOKE_FAILED:
        text_adds(t, n->is_top || !n->is_group ? "failed" : "");
        return COLOR_RED;
    case YOKE_CANCELLED:
        text_adds(t, "cancelled");
        if (n->reason != NULL && !n->is_top) {
            text_adds(t, ": ");
            output_clean(t, n->reason, strlen(n->reason));
        }
        return COLOR_YELLOW;
    }
    return COLOR_NONE;
}

/* The name, how it ended, the facts, the id; the name gives way. */
static void draw_line(const struct drawing *d, const char *branch,
                      const struct drawn *n)
{
    struct text name = {0}, end = {0}, facts = {0};
    enum color color = add_end(&end, n);
    size_t taken;
    char *fit;

    output_clean(&name, n->name, strlen(n->name));
    add_facts(&facts, n);
    taken = output_width(branch) + output_width(text_str(&end)) +
            output_width(text_str(&facts)) + strlen(n->id) + 6;
    fit = output_fit(text_str(&name), room(d, taken));
    fprintf(d->to, "%s%s", text_str(&d->margin), branch);
    if (name.len > 0) {
        paint(d, COLOR_BOLD, fit);
        fputs("  ", d->to);
    }
    if (end.len > 0) {
        paint(d, color, text_str(&end));
        fputs("  ", d->to);
    }
    if (facts.len > 0)
        fprintf(d->to, "%s  ", text_str(&facts));
    paint(d, COLOR_DIM, n->id);
    fputc('\n', d->to);
    free(fit);
    text_clear(&name);
    text_clear(&end);
    text_clear(&facts);
}

static struct drawn node_drawn(const struct yoke_error_tree *t)
{
    return (struct drawn){
        .name = t->name != NULL ? t->name : "",
        .id = t->id,
        .reason = t->reason,
        .is_group = t->is_group,
        .outcome = t->outcome,
        .attempts = t->attempts,
        .begun_ms = t->started_ms,
        .ended_ms = t->ended_ms,
        .ok = t->ok,
        .failed = t->failed,
        .cancelled = t->cancelled,
        .nerrors = t->nerrors,
        .errors = t->errors,
    };
}

static struct drawn outcome_drawn(const struct yoke_outcome_info *o)
{
    return (struct drawn){
        .name = o->name,
        .id = o->id,
        .reason = o->reason,
        .is_group = o->is_group,
        .outcome = o->outcome,
        .attempts = o->attempts,
        .begun_ms = o->started_ms,
        .ended_ms = o->ended_ms,
        .ok = o->ok,
        .failed = o->failed,
        .cancelled = o->cancelled,
        .nerrors = o->nerrors,
        .errors = o->errors,
    };
}

/* Why members of the top were cancelled, unless its own errors say it. */
static void draw_reason(const struct drawing *d, const struct drawn *n)
{
    struct text t = {0};

    if (!n->is_top || n->reason == NULL || n->nerrors > 0 ||
        (n->outcome == YOKE_FAILED && n->cancelled == 0))
        return;
    text_adds(&t, n->outcome == YOKE_CANCELLED ? "cancelled: "
                                               : "the rest was cancelled: ");
    text_adds(&t, report_reason(n->reason));
    draw_sentence(d, text_str(&t));
    text_clear(&t);
}

/* What is written below a node stands beside the line of its branches. */
static void draw_below(struct drawing *d, const struct drawn *n, bool branches)
{
    size_t margin = d->margin.len;

    text_adds(&d->margin, !branches ? "  " : d->utf8 ? "\u2502 " : "| ");
    draw_reason(d, n);
    draw_errors(d, n);
    margin_back(d, margin);
}

static void draw_node(struct drawing *d, const struct yoke_error_tree *t,
                      bool last)
{
    struct drawn n = node_drawn(t);
    size_t margin = d->margin.len;
    const char *branch, *below;

    if (d->utf8) {
        branch = last ? "\u2514\u2500 " : "\u251c\u2500 ";
        below = last ? "   " : "\u2502  ";
    } else {
        branch = last ? "`- " : "|- ";
        below = last ? "   " : "|  ";
    }
    draw_line(d, branch, &n);
    text_adds(&d->margin, below);
    draw_below(d, &n, t->nchildren > 0);
    for (size_t i = 0; i < t->nchildren; i++)
        draw_node(d, t->children[i], i + 1 == t->nchildren);
    margin_back(d, margin);
}

void report_tree(FILE *to, const struct yoke_outcome_info *info,
                 const struct yoke_error_tree *tree, int64_t more)
{
    bool branches = tree != NULL && tree->nchildren > 0;
    struct drawing d;
    struct drawn n;

    if (info == NULL && tree == NULL)
        return;
    d = drawing_begin(to, DETAIL_LINES);
    n = info != NULL ? outcome_drawn(info) : node_drawn(tree);
    n.is_top = true;
    draw_line(&d, "", &n);
    draw_below(&d, &n, branches);
    for (size_t i = 0; branches && i < tree->nchildren; i++)
        draw_node(&d, tree->children[i], i + 1 == tree->nchildren && more == 0);
    if (more > 0)
        fprintf(to, "%s%" PRId64 " more; all of them: yoke group errors %s\n",
                d.utf8 ? "\u2514\u2500 " : "`- ", more, n.id);
    text_clear(&d.margin);
}

void report_errors(FILE *to, const char *margin, int lines,
                   const struct yoke_outcome_info *o)
{
    struct drawing d = drawing_begin(to, lines);
    struct drawn n = outcome_drawn(o);

    text_adds(&d.margin, margin);
    draw_errors(&d, &n);
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

static void add_time(json_t *json, const char *key, int64_t ms)
{
    (void)json_object_set_new(json, key,
                              ms < 0 ? json_null() : json_integer(ms));
}

/* What is there of a group, and of a job. */
static void add_end_json(json_t *json, const struct yoke_error_tree *t)
{
    const char *outcome = report_outcome(t->outcome);

    (void)json_object_set_new(
        json, "outcome", outcome != NULL ? json_string(outcome) : json_null());
    if (t->reason != NULL)
        output_json_bytes(json, "reason",
                          (struct yoke_bytes){t->reason, strlen(t->reason)});
    if (t->is_group) {
        (void)json_object_set_new(json, "ok", json_integer(t->ok));
        (void)json_object_set_new(json, "failed", json_integer(t->failed));
        (void)json_object_set_new(json, "cancelled",
                                  json_integer(t->cancelled));
    } else {
        (void)json_object_set_new(json, "attempts", json_integer(t->attempts));
    }
    add_time(json, "started", t->started_ms);
    add_time(json, "ended", t->ended_ms);
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
    add_end_json(json, tree);
    (void)json_object_set_new(json, "errors", errors);
    (void)json_object_set_new(json, "members", members);
    return json;
}
