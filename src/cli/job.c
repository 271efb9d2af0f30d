/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * job - what is asked of jobs (and groups) by their ids: wait, result, status,
 * cancel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"

enum { OPTION_REASON = 400, OPTION_GRACE, OPTION_WAIT, OPTION_READY };

const struct option_row wait_options[] = {
    {'t', "timeout", "D", "most time to wait; then exit with 124"},
    {OPTION_READY, "ready", NULL,
     "until the jobs say that they are ready; prints what they say"},
    {0, NULL, NULL, NULL},
};

const struct option_row result_options[] = {
    {'t', "timeout", "D", "wait for the end for at most this time (0)"},
    {0, NULL, NULL, NULL},
};

const struct option_row cancel_options[] = {
    {OPTION_REASON, "reason", "TEXT", "kept with the job, for people"},
    {OPTION_GRACE, "grace", "D", "between asking to stop and killing"},
    {OPTION_WAIT, "wait", NULL, "return when they have really ended"},
    {0, NULL, NULL, NULL},
};

/* -1 or the time left until then. */
static int64_t left(int64_t until)
{
    int64_t rest;

    if (until < 0)
        return YOKE_NONE;
    rest = until - cli_monotonic_ms();
    return rest > 0 ? rest : 0;
}

static int wait_for(yoke *y, const char *id, int64_t wait_ms,
                    struct yoke_outcome_info **out)
{
    return cli_is_group(id) ? yoke_group_wait(y, id, wait_ms, out)
                            : yoke_job_wait(y, id, wait_ms, out);
}

static void print_outcome(const struct yoke_outcome_info *o)
{
    const char *word = report_outcome(o->outcome);
    struct text line = {0};
    char *why;

    printf("%s  %s%s%s", o->id, output_color(stdout, output_state_color(word)),
           word, output_color(stdout, COLOR_NONE));
    if (o->outcome != YOKE_SUCCEEDED) {
        why = report_why(o);
        printf("  %s", strncmp(why, "cancelled: ", 11) == 0 ? why + 11 : why);
        free(why);
    }
    if (o->name[0] != '\0') {
        output_clean(&line, o->name, strlen(o->name));
        printf("  (%s)", text_str(&line));
        text_clear(&line);
    }
    putchar('\n');
    (void)fflush(stdout); /* the next one may take its time */
}

/* What a job says when it is ready is printed; returns the exit status. */
static int wait_ready(struct cli *c, yoke *y, const char *id, int64_t wait_ms,
                      json_t *array)
{
    struct yoke_value *v = NULL;
    int status;

    if (cli_is_group(id))
        cli_usage(c, "%s is a group; only jobs say that they are ready", id);
    status = yoke_job_wait_ready(y, id, wait_ms, &v);
    if (status == YOKE_ERR_TIMEOUT) {
        cli_warn("%s is not ready", id);
        return EXIT_TIMED_OUT;
    }
    if (status != 0)
        cli_fail(c, y, status, "cannot wait for %s", id);
    if (c->json) {
        json_t *json = json_pack("{s:s}", "id", id);

        output_json_bytes(json, "ready", v->s);
        (void)json_array_append_new(array, json);
    } else {
        (void)fwrite(v->s.data, 1, v->s.len, stdout); /* see finish */
        putchar('\n');
        (void)fflush(stdout); /* the next one may take its time */
    }
    yoke_value_free(v);
    return 0;
}

/* The same for the end. */
static int wait_end(struct cli *c, yoke *y, const char *id, int64_t wait_ms,
                    json_t *array)
{
    struct yoke_outcome_info *o = NULL;
    int status = wait_for(y, id, wait_ms, &o), result;

    if (status == YOKE_ERR_TIMEOUT) {
        cli_warn("%s has not ended", id);
        return EXIT_TIMED_OUT;
    }
    if (status != 0)
        cli_fail(c, y, status, "cannot wait for %s", id);
    result = o->outcome == YOKE_SUCCEEDED ? 0 : EXIT_FAILED;
    if (c->json)
        (void)json_array_append_new(array, output_json_value(o->raw));
    else
        print_outcome(o);
    yoke_outcome_free(o);
    return result;
}

int wait_main(struct cli *c)
{
    int64_t timeout_ms = -1, until;
    int result = 0, id;
    json_t *array = json_array();
    bool ready = false;
    yoke *y;

    while ((id = options_next(c)) != 0) {
        if (id == OPTION_READY)
            ready = true;
        else
            timeout_ms = options_duration(c);
    }
    options_operands(c, 1, -1);
    y = cli_connect(c);
    until = timeout_ms < 0 ? -1 : cli_monotonic_ms() + timeout_ms;
    for (int i = 0; i < c->argc; i++) {
        int status = ready ? wait_ready(c, y, c->argv[i], left(until), array)
                           : wait_end(c, y, c->argv[i], left(until), array);

        /* that the time was up goes before that something failed */
        if (status > result)
            result = status;
    }
    if (c->json)
        output_json(array);
    else
        json_decref(array);
    yoke_close(y);
    return result;
}

/* The errors of a job or group and of all that is below it; NULL: none. */
static struct yoke_error_tree *get_errors(struct cli *c, yoke *y,
                                          const char *id)
{
    struct yoke_error_tree *tree = NULL;
    int status = yoke_group_errors(y, id, &tree);

    if (status != 0)
        cli_fail(c, y, status, "cannot get the errors of %s", id);
    return tree;
}

static void report_job(struct cli *c, yoke *y,
                       const struct yoke_outcome_info *o)
{
    struct yoke_error_tree *tree = get_errors(c, y, o->id);
    char *why = report_why(o);

    cli_warn("%s has no result%s%s", o->id, tree != NULL ? ":" : ": ",
             tree != NULL ? "" : why);
    if (tree != NULL)
        report_tree(stderr, NULL, tree, 0);
    free(why);
    yoke_error_tree_free(tree);
}

int result_main(struct cli *c)
{
    struct yoke_outcome_info *o = NULL;
    int64_t wait_ms = 0;
    int status, id, result;
    yoke *y;

    while ((id = options_next(c)) != 0)
        wait_ms = options_duration(c);
    options_operands(c, 1, 1);
    if (cli_is_group(c->argv[0]))
        cli_usage(c, "%s is a group; see 'yoke group results'", c->argv[0]);
    y = cli_connect(c);
    status = yoke_job_wait(y, c->argv[0], wait_ms, &o);
    if (status == YOKE_ERR_TIMEOUT) {
        cli_warn("%s has not ended; 'yoke wait %s' waits for it", c->argv[0],
                 c->argv[0]);
        exit(EXIT_TIMED_OUT);
    }
    if (status != 0)
        cli_fail(c, y, status, "cannot get the result of %s", c->argv[0]);
    result = o->outcome == YOKE_SUCCEEDED ? 0 : EXIT_FAILED;
    if (c->json)
        output_json(output_json_value(o->raw));
    else if (result == 0)
        (void)fwrite(o->result.data, 1, o->result.len, stdout); /* see finish */
    else
        report_job(c, y, o);
    yoke_outcome_free(o);
    yoke_close(y);
    return result;
}

/* The one operand of what is said inside a job, and its token. */
static const char *job_words(struct cli *c)
{
    while (options_next(c) != 0)
        continue;
    options_operands(c, 1, 1);
    return cli_token(c);
}

int ready_main(struct cli *c)
{
    const char *token = job_words(c);
    yoke *y = cli_connect(c);
    int status;

    status = yoke_ready(y, token,
                        (struct yoke_bytes){c->argv[0], strlen(c->argv[0])});
    if (status != 0)
        cli_fail(c, y, status, "cannot say that %s is ready", token);
    yoke_close(y);
    return 0;
}

int progress_main(struct cli *c)
{
    const char *token = job_words(c);
    struct yoke_touch touch = {0};
    yoke *y = cli_connect(c);
    int status;

    status = yoke_touch(y, token, c->argv[0], &touch);
    if (status != 0)
        cli_fail(c, y, status, "cannot say how far %s is", token);
    if (c->json)
        output_json(json_pack("{s:b, s:o}", "cancelled", touch.cancelled,
                              "remaining_ms",
                              touch.remaining_ms == YOKE_NONE
                                  ? json_null()
                                  : json_integer(touch.remaining_ms)));
    yoke_close(y);
    return 0;
}

/* -------------------------------------------------------------- status */

/* Whether a number of the daemon's is a time, a duration, or just that. */
static void describe_int(struct text *t, const char *key, int64_t i)
{
    static const char *const moments[] = {"submitted", "started", "ended",
                                          "deadline",  "opened",  "shielded"};
    static const char *const durations[] = {"timeout"};

    for (size_t k = 0; k < sizeof(moments) / sizeof(moments[0]); k++) {
        if (strcmp(key, moments[k]) != 0)
            continue;
        if (i < 0) {
            text_adds(t, "none");
            return;
        }
        output_moment(t, i);
        text_adds(t, i <= cli_now_ms() ? "  (" : "  (in ");
        output_duration(t, llabs(cli_now_ms() - i));
        text_adds(t, i <= cli_now_ms() ? " ago)" : ")");
        return;
    }
    for (size_t k = 0; k < sizeof(durations) / sizeof(durations[0]); k++) {
        if (strcmp(key, durations[k]) != 0)
            continue;
        if (i < 0)
            text_adds(t, "none");
        else
            output_duration(t, i);
        return;
    }
    text_addf(t, "%lld", (long long)i);
}

static void describe(const struct yoke_value *map)
{
    for (size_t i = 0; i < output_pairs(map); i++) {
        const char *key = map->items[2 * i].s.data;
        const struct yoke_value *value = &map->items[2 * i + 1];
        struct text t = {0};

        /* errors are told by their tree */
        if (value->kind == YOKE_NULL || value->kind == YOKE_ARRAY ||
            strcmp(key, "errors") == 0)
            continue;
        if (value->kind == YOKE_INT)
            describe_int(&t, key, value->i);
        else if (value->kind == YOKE_STR)
            output_clean(&t, value->s.data, value->s.len);
        output_field(key, text_str(&t));
        text_clear(&t);
    }
}

/* The root has too many to tell. */
static void describe_errors(struct cli *c, yoke *y, const char *id)
{
    struct yoke_error_tree *tree =
        strcmp(id, "root") == 0 ? NULL : get_errors(c, y, id);

    if (tree == NULL)
        return;
    putchar('\n');
    report_tree(stdout, NULL, tree, 0);
    yoke_error_tree_free(tree);
}

int status_main(struct cli *c)
{
    json_t *array = json_array();
    yoke *y;

    while (options_next(c) != 0)
        continue;
    options_operands(c, 1, -1);
    y = cli_connect(c);
    for (int i = 0; i < c->argc; i++) {
        const char *id = c->argv[i];
        struct yoke_value *v = NULL;
        int status = cli_is_group(id) ? yoke_commandl(y, &v, "GROUP", "INFO",
                                                      id, (char *)NULL)
                                      : yoke_job_status(y, id, &v);

        if (status != 0)
            cli_fail(c, y, status, "cannot get the status of %s", id);
        if (c->json) {
            (void)json_array_append_new(array, output_json_value(v));
        } else {
            if (i > 0)
                putchar('\n');
            describe(v);
            describe_errors(c, y, id);
        }
        yoke_value_free(v);
    }
    /* one id, one object: what scripts expect */
    if (c->json && c->argc == 1)
        output_json(json_incref(json_array_get(array, 0)));
    else if (c->json)
        output_json(json_incref(array));
    json_decref(array);
    yoke_close(y);
    return 0;
}

/* -------------------------------------------------------------- cancel */

int cancel_main(struct cli *c)
{
    const char *reason = NULL;
    int64_t grace_ms = YOKE_DEFAULT;
    bool wait = false;
    int id;
    yoke *y;

    while ((id = options_next(c)) != 0) {
        if (id == OPTION_REASON)
            reason = c->value;
        else if (id == OPTION_GRACE)
            grace_ms = options_duration(c);
        else
            wait = true;
    }
    options_operands(c, 1, -1);
    y = cli_connect(c);
    for (int i = 0; i < c->argc; i++) {
        int status = yoke_cancel(y, c->argv[i], reason, grace_ms);

        if (status != 0)
            cli_fail(c, y, status, "cannot cancel %s", c->argv[i]);
    }
    for (int i = 0; wait && i < c->argc; i++) {
        struct yoke_outcome_info *o = NULL;
        int status = wait_for(y, c->argv[i], YOKE_NONE, &o);

        if (status != 0)
            cli_fail(c, y, status, "cannot wait for %s", c->argv[i]);
        yoke_outcome_free(o);
    }
    yoke_close(y);
    return 0;
}
