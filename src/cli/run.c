/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run - one command as a job, in a group of its own, as if it ran here.
 *
 * The group belongs to this session: however yoke ends, the daemon cancels it.
 * What is asked for while the owner's connection may be blocked by a submit
 * that waits for room goes over a second connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/submission.h"
#include "cli/text.h"

#define SLICE_MS INT64_C(20000) /* of a wait; any request renews the lease */
#define HINT_MS  INT64_C(3000)  /* silent for so long: say why */

enum { OPTION_DEADLINE = 400, OPTION_NAME, OPTION_KEY };

const struct option_row run_options[] = {
    SUBMISSION_ROWS,
    {OPTION_DEADLINE, "deadline", "D", "most time in all, with waiting"},
    {OPTION_NAME, "name", "TEXT", "a label (the command)"},
    {OPTION_KEY, "key", "TEXT", "if a job of this key is known, show that one"},
    {'i', "stdin", NULL, "standard input is the command's"},
    {0, NULL, NULL, NULL},
};

struct run {
    struct cli *c;
    struct submission job;
    const char *name;
    int64_t deadline_ms;
    bool input;
    yoke *y;
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE];
    bool known;  /* the key has led to a job that is not ours */
    bool silent; /* nothing was heard of the job yet */
    int64_t cursor;
    int64_t lost;    /* bytes of output that the daemon had to drop */
    int write_error; /* of stdout: -errno */
    struct text out; /* for --json: what the job has written to stdout */
};

static void read_args(struct run *r)
{
    struct cli *c = r->c;
    int id;

    submission_init(&r->job);
    r->deadline_ms = YOKE_DEFAULT;
    while ((id = options_next(c)) != 0) {
        if (submission_option(c, id, &r->job))
            continue;
        switch (id) {
        case OPTION_DEADLINE:
            r->deadline_ms = options_duration(c);
            break;
        case OPTION_NAME:
            r->name = c->value;
            break;
        case OPTION_KEY:
            r->job.submit.key = c->value;
            break;
        case 'i':
            r->input = true;
            break;
        }
    }
    options_operands(c, 1, -1);
    if (r->job.submit.queue == NULL)
        r->job.submit.queue = SUBMISSION_QUEUE;
}

/* ------------------------------------------------------- what goes wrong */

static void broken(struct run *r, int status, const char *what)
{
    if (status == YOKE_ERR_IO)
        cli_warn("the connection broke; unless it was just done the job is "
                 "cancelled by the daemon when the session's grace has passed");
    cli_fail(r->c, r->y, status, "%s", what);
}

static int signal_status(void)
{
    return EXIT_SIGNAL + signals_first();
}

/* What the job printed goes where it would have gone without yoke. */
static void pass_on(struct run *r, const struct yoke_log_chunk *chunk)
{
    const char *data = chunk->data.data;

    if (chunk->stream == 0)
        r->lost += chunk->lost;
    else if (chunk->stream == 2)
        /* whoever closed stderr does not want to hear */
        (void)output_write(STDERR_FILENO, data, chunk->data.len);
    else if (r->c->json)
        text_add(&r->out, data, chunk->data.len);
    else if (r->write_error == 0)
        r->write_error = output_write(STDOUT_FILENO, data, chunk->data.len);
}

/* Once, at the end: a job that prints faster than it is read loses output many
 * times. */
static void tell_lost(const struct run *r)
{
    if (r->lost > 0)
        cli_warn("%lld bytes of output were dropped: the log is bounded "
                 "([limits] log-max, logs-max)",
                 (long long)r->lost);
}

/* Passes on one page of the job's log, waiting for it up to wait_ms. */
static int read_logs(struct run *r, yoke *y, int64_t wait_ms, bool *over)
{
    struct yoke_log_page *page = NULL;
    int status = yoke_job_logs(y, r->id, r->cursor, wait_ms, &page);

    if (status != 0)
        return status;
    for (size_t i = 0; i < page->count; i++)
        pass_on(r, &page->chunks[i]);
    r->silent = r->silent && page->count == 0;
    r->cursor = page->cursor;
    *over = page->over;
    yoke_log_page_free(page);
    return 0;
}

/* Waits for the end of the cancelled group, and shows what the job still says;
 * a signal beyond the `seen` first ones ends the wait. */
static void await_end(struct run *r, yoke *control, int seen)
{
    struct yoke_outcome_info *info = NULL;
    bool over = r->id[0] == '\0' || r->known;

    signals_interrupt(control);
    while (signals_count() == seen && info == NULL) {
        int status = over ? yoke_group_wait(control, r->group, SLICE_MS, &info)
                          : read_logs(r, control, SLICE_MS, &over);

        if (status == 0 || status == YOKE_ERR_TIMEOUT ||
            status == YOKE_ERR_INTERRUPTED)
            continue;
        cli_warn("cannot wait for the end: %s", yoke_error_text(control));
        break;
    }
    signals_interrupt(NULL);
    yoke_outcome_free(info);
    tell_lost(r);
}

/* Cancels the group over a connection that nothing blocks, waits until it has
 * ended, and ends yoke. */
static void cancel(struct run *r, const char *reason, int exit_status, int seen)
{
    yoke *control;
    int status;

    signals_interrupt(NULL);
    control = cli_connect(r->c);
    status = yoke_cancel(control, r->group, reason, YOKE_DEFAULT);
    if (status == 0)
        status = yoke_group_close(control, r->group);
    if (status != 0)
        cli_fail(r->c, control, status, "cannot cancel %s", r->group);
    await_end(r, control, seen);
    yoke_close(control);
    yoke_abandon(r->y); /* may be blocked; it owns nothing that lives */
    exit(exit_status);
}

/* Does not return when a signal has come. */
static void check_signals(struct run *r)
{
    /* Counted before it is said that another one ends the wait: that one may
     * come while the cancel is still on its way. */
    int seen = signals_count();

    if (seen == 0)
        return;
    if (r->known)
        cli_warn("%s goes on: others have submitted it", r->id);
    else
        cli_warn("cancelling %s (again to stop waiting)",
                 r->id[0] != '\0' ? r->id : r->group);
    cancel(r, signals_reason(), signal_status(), seen);
}

static void stdout_failed(struct run *r)
{
    bool gone = r->write_error == -EPIPE;

    if (!gone)
        cli_warn("cannot write standard output: %s", strerror(-r->write_error));
    cancel(r, "its output could not be written",
           gone ? EXIT_SIGNAL + SIGPIPE : EXIT_OWN, signals_count());
}

/* --------------------------------------------------------------- the job */

static void start(struct run *r)
{
    struct yoke_group_options options;
    struct yoke_bytes input = {0};
    char *name = r->name != NULL
                     ? submission_label(r->name)
                     : submission_command_label((size_t)r->c->argc, r->c->argv);
    int status;

    if (r->input)
        submission_read(r->c, &input);
    submission_payload(r->c, &r->job, r->c->argv, input,
                       &r->job.submit.payload);
    free((char *)input.data);
    r->job.submit.name = name;

    yoke_group_options_init(&options);
    options.name = name;
    options.timeout_ms = r->deadline_ms;
    r->y = cli_connect(r->c);
    status = yoke_group_open(r->y, &options, r->group);
    if (status != 0)
        broken(r, status, "cannot open a group");
    r->job.submit.group = r->group;

    signals_catch();
    signals_interrupt(r->y);
    check_signals(r);
    status = yoke_submit(r->y, &r->job.submit, r->id);
    check_signals(r);
    if (status == 0)
        status = yoke_group_close(r->y, r->group);
    if (status != 0) {
        check_signals(r);
        broken(r, status, "cannot submit");
    }
    yoke_free((char *)r->job.submit.payload.data);
    free(name);
}

/* Whether the key has led to a job that was there before. */
static void look_whose(struct run *r)
{
    struct yoke_value *job = NULL;

    if (r->job.submit.key == NULL)
        return;
    if (yoke_job_status(r->y, r->id, &job) == 0)
        r->known = strcmp(output_str(job, "group"), r->group) != 0;
    yoke_value_free(job); /* a failure shows again when its log is read */
}

/* Inside a job its runner may be what is waited for. */
static const char *inside(void)
{
    const char *token = getenv(YOKE_ENV_TOKEN);

    return token != NULL && token[0] != '\0'
               ? " (this is inside a job: if all slots of the queue's runners "
                 "are held by jobs that wait for their own members, it waits "
                 "for ever; give them more --slots, or use another queue)"
               : "";
}

/* What a job waits for, as the daemon sees it. */
static void hint_job(yoke *y, const struct yoke_value *job)
{
    const char *id = output_str(job, "id"), *name = output_str(job, "queue");
    const char *state = output_str(job, "state");
    struct yoke_value *queue = NULL;

    if (strcmp(state, "ready") == 0 && yoke_queue_info(y, name, &queue) == 0) {
        if (output_int(queue, "paused", 0) != 0)
            cli_warn("%s waits: queue '%s' is paused", id, name);
        else if (output_int(queue, "running", 0) == 0 &&
                 output_int(queue, "waiting_workers", 0) == 0)
            cli_warn("%s waits: no runner serves queue '%s' now", id, name);
        else
            cli_warn("%s waits in queue '%s': %lld running, %lld queued%s", id,
                     name, (long long)output_int(queue, "running", 0),
                     (long long)output_int(queue, "jobs", 0), inside());
    } else if (strcmp(state, "delayed") == 0) {
        cli_warn("%s waits to be tried again", id);
    } else if (strcmp(state, "parked") == 0) {
        cli_warn("%s waits for %s", id, output_str(job, "waits_for"));
    }
    yoke_value_free(queue);
}

/* Silence may mean that nobody serves the queue. A failure here is none: it is
 * only a hint, and what matters fails again where it is told. */
static void hint(struct run *r)
{
    struct yoke_value *job = NULL;

    r->silent = false;
    if (yoke_job_status(r->y, r->id, &job) == 0)
        hint_job(r->y, job);
    yoke_value_free(job);
}

/* The same for what follows the job by --then: its group waits for it. */
static void hint_next(struct run *r)
{
    struct yoke_value *jobs = NULL;

    if (yoke_commandl(r->y, &jobs, "JOBS", "GROUP", r->group, "STATE", "ready",
                      "COUNT", "1", (char *)NULL) == 0 &&
        jobs->count > 0)
        hint_job(r->y, &jobs->items[0]);
    yoke_value_free(jobs);
}

/* Until the job has ended. */
static void stream(struct run *r)
{
    bool over = false;

    r->silent = true;
    while (!over) {
        int status = read_logs(r, r->y, r->silent ? HINT_MS : SLICE_MS, &over);

        check_signals(r);
        if (r->write_error != 0)
            stdout_failed(r);
        if (status != 0 && status != YOKE_ERR_TIMEOUT &&
            status != YOKE_ERR_INTERRUPTED)
            broken(r, status, "cannot read what the job prints");
        if (!over && r->silent && status != YOKE_ERR_INTERRUPTED)
            hint(r);
    }
}

/* The job's end, and that of its group. */
static struct yoke_outcome_info *await(struct run *r, bool group)
{
    struct yoke_outcome_info *o = NULL;
    bool silent = group && r->job.submit.then != NULL;

    for (;;) {
        int64_t wait_ms = silent ? HINT_MS : SLICE_MS;
        int status = group ? yoke_group_wait(r->y, r->group, wait_ms, &o)
                           : yoke_job_wait(r->y, r->id, wait_ms, &o);

        check_signals(r);
        if (status == 0)
            return o;
        if (status != YOKE_ERR_TIMEOUT && status != YOKE_ERR_INTERRUPTED)
            broken(r, status, "cannot wait for the job");
        if (silent && status == YOKE_ERR_TIMEOUT) {
            silent = false;
            hint_next(r);
        }
    }
}

static void print_json(struct run *r, const struct yoke_outcome_info *o)
{
    json_t *json = output_json_value(o->raw);

    (void)json_object_set_new(json, "group", json_string(r->group));
    output_json_bytes(json, "stdout",
                      (struct yoke_bytes){text_str(&r->out), r->out.len});
    output_json(json);
}

/* What the status of the command does not say by itself. */
static void explain(const struct yoke_outcome_info *o)
{
    const char *class_name =
        o->nerrors > 0 ? o->errors[o->nerrors - 1].class_name : "";
    char *why;

    if (o->outcome == YOKE_SUCCEEDED || strncmp(class_name, "exit:", 5) == 0)
        return;
    why = report_why(o);
    cli_warn("%s: %s", o->name[0] != '\0' ? o->name : o->id, why);
    free(why);
}

int run_main(struct cli *c)
{
    struct run r = {.c = c};
    struct yoke_outcome_info *job, *group;
    int status;

    read_args(&r);
    start(&r);
    look_whose(&r);
    stream(&r);
    job = await(&r, false);
    group = await(&r, true);
    signals_interrupt(NULL);
    if (c->json)
        print_json(&r, job);
    tell_lost(&r);
    explain(job);
    status = report_exit_status(job);
    /* a deadline is the group's; its job was only cancelled by it */
    if (job->outcome == YOKE_CANCELLED && job->reason != NULL &&
        strcmp(job->reason, "deadline") == 0)
        status = EXIT_TIMED_OUT;
    yoke_outcome_free(job);
    yoke_outcome_free(group);
    yoke_close(r.y);
    submission_clear(&r.job);
    text_clear(&r.out);
    return status;
}
