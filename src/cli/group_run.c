/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group_run - a script in a scope: what it submits lives in one group, and
 * neither outlives the other.
 *
 * The group belongs to this session, so the daemon cancels it however yoke
 * ends. One request at a time asks how it is.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/script.h"
#include "cli/signals.h"
#include "cli/submission.h"

#define GRACE_MS 10000
#define WAIT_MS  "300" /* between looks at the group */

enum {
    OPTION_PARENT = 400,
    OPTION_HALT,
    OPTION_DEADLINE,
    OPTION_GRACE,
    OPTION_NAME,
    OPTION_DETACHED,
};

const struct option_row group_run_options[] = {
    {OPTION_HALT, "halt", "WHEN",
     "fail=N, success=N (comma for both) or never (fail=1)"},
    {'w', "width", "N", "most of its jobs running at once"},
    {OPTION_DEADLINE, "deadline", "D", "most time for all of it"},
    {OPTION_GRACE, "grace", "D",
     "between asking the script to stop and killing it (10s)"},
    {OPTION_NAME, "name", "TEXT", "a label (the command)"},
    {OPTION_PARENT, "parent", "ID", "a group (inside a job: that job)"},
    {OPTION_DETACHED, "detached", NULL, "in the root group, also inside a job"},
    {0, NULL, NULL, NULL},
};

struct group_run {
    struct cli *c;
    struct yoke_group_options options;
    int64_t grace_ms;
    yoke *y;
    char group[YOKE_ID_SIZE];
    struct script script;
    bool settled; /* the script's end was told to the group */
    bool asking;  /* a request about the group is under way */
    bool over;    /* the group has ended */
    bool broken;  /* the connection has */
    int signals_seen;
};

static void read_args(struct group_run *r)
{
    struct cli *c = r->c;
    struct yoke_group_options *o = &r->options;
    int id;

    yoke_group_options_init(o);
    r->grace_ms = GRACE_MS;
    while ((id = options_next(c)) != 0) {
        switch (id) {
        case OPTION_HALT:
            options_halt_numbers(c, &o->fail, &o->succeed);
            break;
        case 'w':
            o->width = options_integer(c, 1, INT32_MAX);
            break;
        case OPTION_DEADLINE:
            o->timeout_ms = options_duration(c);
            break;
        case OPTION_GRACE:
            r->grace_ms = options_duration(c);
            break;
        case OPTION_NAME:
            o->name = c->value;
            break;
        case OPTION_PARENT:
            o->parent = c->value;
            break;
        case OPTION_DETACHED:
            o->parent = "root";
            break;
        }
    }
    options_operands(c, 1, -1);
}

/* Also from another directory. */
static bool set_password_file(const char *file)
{
    char *whole = *file ? realpath(file, NULL) : NULL;
    bool set = setenv(YOKE_ENV_PASSWORD_FILE, whole ? whole : file, 1) == 0;

    free(whole);
    return set;
}

/* What the script's own yoke commands find in their environment. */
static void set_environment(const struct group_run *r)
{
    const struct cli *c = r->c;

    if (setenv(YOKE_ENV_SCOPE, r->group, 1) == 0 &&
        (c->server == NULL || setenv(YOKE_ENV_SERVER, c->server, 1) == 0) &&
        (c->password_file == NULL || set_password_file(c->password_file)))
        return;
    cli_warn("cannot set the environment: %s", strerror(errno));
    exit(EXIT_OWN);
}

static void start(struct group_run *r)
{
    struct cli *c = r->c;
    char *label = submission_command_label((size_t)c->argc, c->argv);
    int status;

    if (r->options.name == NULL)
        r->options.name = label;
    r->y = cli_connect(c);
    status = yoke_group_open(r->y, &r->options, r->group);
    if (status != 0)
        cli_fail(c, r->y, status, "cannot open a group");
    free(label);
    set_environment(r);
    signals_catch();
    status = script_start(&r->script, c->argv);
    if (status != 0) {
        cli_warn("cannot run '%s': %s", c->argv[0], strerror(-status));
        yoke_close(r->y); /* cancels the group */
        exit(status == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
    }
}

/* --------------------------------------------------------------- the group */

/* What cannot be told any more the daemon does by itself: the session ends. */
static void lost(struct group_run *r, int status)
{
    if (r->broken)
        return;
    r->broken = true;
    cli_warn("the connection broke (%s); the daemon cancels %s when the "
             "session's grace has passed",
             yoke_status_name(status), r->group);
    script_stop(&r->script, r->grace_ms);
}

static void on_told(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct group_run *r = arg;

    (void)reply;
    if (status != 0 && status != YOKE_ERR_IO && status != YOKE_ERR_NOGROUP)
        cli_warn("cannot end %s: %s", r->group, yoke_error_text(y));
}

static void send_cancel(struct group_run *r, const char *reason)
{
    if (!r->broken && !r->over)
        (void)yoke_sendl(r->y, on_told, r, "GROUP", "CANCEL", r->group,
                         "REASON", reason, (char *)NULL);
}

static void on_look(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct group_run *r = arg;

    (void)y;
    r->asking = false;
    if (status != 0 || reply->kind == YOKE_NULL)
        return; /* what breaks is seen by yoke_process */
    /* Cancelled, by its policy say: the script is a part of it. */
    if (!output_is_null(reply, "reason"))
        script_stop(&r->script, r->grace_ms);
    r->over = !output_is_null(reply, "outcome");
}

/* A request ends the wait of the one before it, so they take turns. */
static void on_waited(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    struct group_run *r = arg;

    (void)reply;
    if (status != 0 ||
        yoke_sendl(y, on_look, r, "GROUP", "INFO", r->group, (char *)NULL) != 0)
        r->asking = false;
}

static void ask(struct group_run *r)
{
    if (r->asking || r->broken || r->over)
        return;
    r->asking = yoke_sendl(r->y, on_waited, r, "GROUP", "WAIT", r->group,
                           WAIT_MS, (char *)NULL) == 0;
}

/* The script has ended: so does the group, as a block of code is left. */
static void settle(struct group_run *r)
{
    r->settled = true;
    if (script_exit_status(&r->script) == 0)
        (void)yoke_sendl(r->y, on_told, r, "GROUP", "CLOSE", r->group,
                         (char *)NULL);
    else
        send_cancel(r, "the script failed");
}

/* ---------------------------------------------------------------- the loop */

static void on_signal(struct group_run *r)
{
    int count = signals_count();

    if (count == r->signals_seen)
        return;
    r->signals_seen = count;
    if (count > 1) {
        script_stop(&r->script, 0);
        (void)script_check(&r->script);
        yoke_abandon(r->y);
        exit(EXIT_SIGNAL + signals_first());
    }
    cli_warn("cancelling %s (again to stop waiting)", r->group);
    send_cancel(r, signals_reason());
    script_stop(&r->script, r->grace_ms);
}

/* True: everything has ended. */
static bool turn(struct group_run *r, const sigset_t *unblocked)
{
    struct pollfd fds[2] = {{.fd = r->script.fd, .events = POLLIN}, {.fd = -1}};
    int64_t wait_ms = script_timeout(&r->script);
    int64_t again_ms = r->broken ? YOKE_NONE : yoke_timeout_ms(r->y);
    struct timespec wait;
    int status = 0;

    ask(r);
    if (again_ms >= 0 && (wait_ms < 0 || again_ms < wait_ms))
        wait_ms = again_ms;
    wait = (struct timespec){.tv_sec = wait_ms / 1000,
                             .tv_nsec = wait_ms % 1000 * 1000000};
    if (!r->broken)
        fds[1] =
            (struct pollfd){.fd = yoke_fd(r->y), .events = yoke_events(r->y)};
    (void)ppoll(fds, 2, wait_ms < 0 ? NULL : &wait, unblocked);
    on_signal(r);
    if (!r->broken && (fds[1].revents != 0 || yoke_timeout_ms(r->y) == 0))
        status = yoke_process(r->y);
    if (status != 0)
        lost(r, status);
    if (!script_check(&r->script))
        return false;
    /* What has ended the script was perhaps for us, too: a Ctrl-C is for all
     * at the terminal, and poll, with something to tell, lets none in. */
    signals_let_in(unblocked);
    on_signal(r);
    if (!script_check(&r->script))
        return false;
    if (!r->settled && !r->broken)
        settle(r);
    return r->broken || (r->over && yoke_pending(r->y) == 0);
}

/* ---------------------------------------------------------------- the end */

static int exit_status(const struct group_run *r,
                       const struct yoke_outcome_info *group)
{
    int status = script_exit_status(&r->script);

    if (r->signals_seen > 0)
        return EXIT_SIGNAL + signals_first();
    if (r->broken)
        return EXIT_OWN;
    /* That the script died of being stopped says nothing about it. */
    if (status != 0 && !(r->script.was_stopped && status > EXIT_SIGNAL))
        return status;
    if (group->nerrors > 0 &&
        strcmp(group->errors[0].class_name, "deadline") == 0)
        return EXIT_TIMED_OUT;
    return group->outcome == YOKE_SUCCEEDED ? 0 : EXIT_FAILED;
}

static int end(struct group_run *r)
{
    struct yoke_outcome_info *group = NULL;
    struct yoke_error_tree *errors = NULL;
    struct cli *c = r->c;
    int status, result;

    if (r->broken) {
        yoke_abandon(r->y);
        return exit_status(r, NULL);
    }
    status = yoke_group_wait(r->y, r->group, YOKE_NONE, &group);
    if (status == 0)
        status = yoke_group_errors(r->y, r->group, &errors);
    if (status != 0)
        cli_fail(c, r->y, status, "cannot ask how %s ended", r->group);
    result = exit_status(r, group);
    if (c->json)
        output_json(json_pack(
            "{s:i, s:o, s:o}", "script", script_exit_status(&r->script),
            "group", output_json_value(group->raw), "errors",
            errors != NULL ? report_tree_json(errors) : json_null()));
    else if (group->outcome != YOKE_SUCCEEDED || errors != NULL)
        report_tree(stderr, group, errors, 0);
    yoke_error_tree_free(errors);
    yoke_outcome_free(group);
    yoke_close(r->y);
    return result;
}

int group_run_main(struct cli *c)
{
    struct group_run r = {.c = c};
    sigset_t unblocked;

    read_args(&r);
    start(&r);
    signals_block(&unblocked);
    while (!turn(&r, &unblocked))
        continue;
    return end(&r);
}
