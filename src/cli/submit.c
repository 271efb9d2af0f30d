/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * submit - puts one job into a queue.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/submission.h"

enum {
    OPTION_DELAY = 400,
    OPTION_DEADLINE,
    OPTION_NAME,
    OPTION_KEY,
    OPTION_PAYLOAD,
    OPTION_DETACHED,
};

const struct option_row submit_options[] = {
    SUBMISSION_ROWS,
    {'g', "group", "ID", "the group it belongs to (inside a job: the job's)"},
    {OPTION_DETACHED, "detached", NULL, "the root group, also inside a job"},
    {OPTION_NAME, "name", "TEXT",
     "a label for people (the command, if it is one)"},
    {OPTION_KEY, "key", "TEXT",
     "if a job of this key is known, print its id and do nothing else"},
    {OPTION_DELAY, "delay", "D", "not before this much time has passed"},
    {OPTION_DEADLINE, "deadline", "WHEN",
     "must have ended by then: 10m from now, @UNIX, YYYY-MM-DDTHH:MM"},
    {OPTION_PAYLOAD, "payload", "TEXT", "the payload (else: standard input)"},
    {'c', "command", NULL, "the operands are a command line for a runner"},
    {'i', "stdin", NULL, "with --command: standard input is the command's"},
    {0, NULL, NULL, NULL},
};

struct submit_args {
    struct submission job;
    const char *payload;
    bool command, input;
};

static void read_args(struct cli *c, struct submit_args *a)
{
    int id;

    submission_init(&a->job);
    while ((id = options_next(c)) != 0) {
        if (submission_option(c, id, &a->job))
            continue;
        switch (id) {
        case 'g':
            a->job.submit.group = c->value;
            break;
        case OPTION_DETACHED:
            a->job.submit.group = "root";
            break;
        case OPTION_NAME:
            a->job.submit.name = c->value;
            break;
        case OPTION_KEY:
            a->job.submit.key = c->value;
            break;
        case OPTION_DELAY:
            a->job.submit.delay_ms = options_duration(c);
            break;
        case OPTION_DEADLINE:
            a->job.submit.deadline_ms = options_moment(c);
            break;
        case OPTION_PAYLOAD:
            a->payload = c->value;
            break;
        case 'c':
            a->command = true;
            break;
        case 'i':
            a->input = true;
            break;
        }
    }
    if (a->command) {
        if (a->payload != NULL)
            cli_usage(c, "--payload and --command exclude each other");
        options_operands(c, 1, -1);
        return;
    }
    if (a->input || a->job.dir != NULL || a->job.nenv > 0)
        cli_usage(c, "--stdin, --dir and --env need --command");
    options_operands(c, 0, a->payload != NULL ? 0 : 1);
    if (c->argc == 1)
        a->payload = c->argv[0];
}

static void read_stdin(struct cli *c, struct yoke_bytes *out)
{
    if (isatty(STDIN_FILENO))
        cli_warn("reading the payload from the terminal; Ctrl-D ends it");
    submission_read(c, out);
}

static void submit(struct cli *c, struct submit_args *a)
{
    struct yoke_submit *job = &a->job.submit;
    char id[YOKE_ID_SIZE];
    yoke *y = cli_connect(c);
    int status = yoke_submit(y, job, id);

    if (status != 0)
        cli_fail(c, y, status, "cannot submit to queue '%s'", job->queue);
    yoke_close(y);
    if (c->json)
        output_json(json_pack("{s:s}", "id", id));
    else
        puts(id);
}

int submit_main(struct cli *c)
{
    struct submit_args a = {0};
    struct yoke_bytes input = {0}, payload = {0};
    char *label = NULL;

    read_args(c, &a);
    if (a.job.submit.queue == NULL) {
        if (!a.command)
            cli_usage(c, "which queue? -q QUEUE names it");
        a.job.submit.queue = SUBMISSION_QUEUE;
    }
    if (a.payload != NULL)
        payload = (struct yoke_bytes){a.payload, strlen(a.payload)};
    else if (!a.command || a.input)
        read_stdin(c, &input);
    if (a.command && a.job.submit.name == NULL)
        a.job.submit.name = label =
            submission_command_label((size_t)c->argc, c->argv);
    if (a.command)
        submission_payload(c, &a.job, c->argv, input, &payload);
    else if (a.payload == NULL)
        payload = input;
    a.job.submit.payload = payload;
    submit(c, &a);
    free(label);
    if (a.command)
        yoke_free((char *)payload.data);
    free((char *)input.data);
    submission_clear(&a.job);
    return 0;
}
