/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * map - a command for each input, as the members of one group.
 *
 * Two connections: the owner opens the group and submits, and may be held up
 * by a full queue for as long as that lasts; the reader gets what has ended,
 * and cancels. One loop waits for both, for the inputs and for signals.
 *
 * Bounded: WINDOW_MAX jobs are begun and not printed, HELD_MAX bytes of output
 * wait for their turn; beyond that no input is taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/submission.h"
#include "cli/template.h"
#include "cli/text.h"
#include "cli/window.h"

#define PENDING_MAX   512
#define UNSENT_MAX    (1u << 20)
#define HELD_MAX      (64u << 20)
#define PAGE_COUNT    "32" /* members at once: their results are big perhaps */
#define WAIT_MS       "10000"
#define LOOK_MS       500 /* between looks at the group: on a terminal */
#define FIRST_LOOK_MS 50
#define LOOK_SLOW_MS  5000
#define ANSWER_MS     5000 /* an answer that is on its way comes sooner */
#define REPORTED_MAX  20

enum { OPTION_HALT = 400, OPTION_DEADLINE, OPTION_AS_COMPLETED, OPTION_NAME };

const struct option_row map_options[] = {
    {'w', "width", "N", "most running at once (the runner's slots bound it)"},
    {OPTION_HALT, "halt", "WHEN",
     "fail=N, success=N (comma for both), also N%, or never (fail=1)"},
    {OPTION_AS_COMPLETED, "as-completed", NULL,
     "print in the order of completion, not of the inputs"},
    {'0', "null", NULL, "inputs on stdin end with NUL, not with a line"},
    {OPTION_DEADLINE, "deadline", "D", "most time for all of it"},
    {OPTION_NAME, "name", "TEXT", "a label of the group (the template)"},
    SUBMISSION_ROWS,
    {0, NULL, NULL, NULL},
};

struct map {
    struct cli *c;
    struct submission job;
    struct yoke_group_options group_options;
    struct halt halt;
    bool has_halt;
    bool as_completed;
    struct template template;
    struct inputs inputs;

    yoke *owner, *reader;
    char group[YOKE_ID_SIZE];

    struct window window;
    struct progress progress;
    struct progress_counts counts;
    int64_t ok, cancelled, refused;
    struct yoke_error_tree report; /* the first REPORTED_MAX failures */

    bool feeding; /* inputs are still taken */
    bool closed;  /* CLOSE was sent */
    bool cancelling;
    bool over; /* every member has ended and was seen */
    bool next_sent, look_sent, looked;
    size_t logs_sent;
    int64_t looked_ms;
    char cursor[YOKE_ID_SIZE];
    int signals_seen;
    bool printed_any; /* for --json */
    int exit_status;  /* set: how to end, whatever the jobs did */
    struct text trouble;
    struct text refusal; /* why the first input was not begun */
};

/* ------------------------------------------------------- the command line */

static void read_options(struct map *m)
{
    struct cli *c = m->c;
    struct yoke_group_options *group = &m->group_options;
    char separator = '\n';
    int id;

    submission_init(&m->job);
    yoke_group_options_init(group);
    while ((id = options_next(c)) != 0) {
        if (submission_option(c, id, &m->job))
            continue;
        switch (id) {
        case 'w':
            group->width = options_integer(c, 1, INT32_MAX);
            break;
        case OPTION_HALT:
            options_halt(c, &m->halt);
            m->has_halt = true;
            break;
        case OPTION_AS_COMPLETED:
            m->as_completed = true;
            break;
        case '0':
            separator = '\0';
            break;
        case OPTION_DEADLINE:
            group->timeout_ms = options_duration(c);
            break;
        case OPTION_NAME:
            group->name = c->value;
            break;
        }
    }
    inputs_init_fd(&m->inputs, STDIN_FILENO, separator);
}

static void read_operands(struct map *m)
{
    struct cli *c = m->c;
    const char *wrong;
    int words = 0;

    while (words < c->argc && strcmp(c->argv[words], ":::") != 0)
        words++;
    if (words == 0)
        cli_usage(c,
                  "the command is missing: yoke map 'gzip -9 {}' ::: FILE...");
    wrong = template_parse(&m->template, (size_t)words, c->argv);
    if (wrong != NULL)
        cli_usage(c, "cannot read the command '%s': %s", c->argv[0], wrong);
    if (words < c->argc) {
        inputs_clear(&m->inputs);
        inputs_init_list(&m->inputs, c->argv + words + 1,
                         (size_t)(c->argc - words - 1));
    } else if (isatty(STDIN_FILENO)) {
        cli_warn("reading inputs from the terminal, one a line; Ctrl-D ends "
                 "them");
    }
    m->counts.total =
        m->inputs.list != NULL ? (int64_t)m->inputs.nlist : INT64_C(-1);
    if (m->has_halt)
        halt_numbers(&m->halt, m->counts.total, &m->group_options.fail,
                     &m->group_options.succeed);
}

/* ---------------------------------------------------------- submitting */

static void on_ok(yoke *y, int status, const struct yoke_value *reply,
                  void *arg);

/* A request to the reader's connection, which nothing blocks. */
static void request(struct map *m, int status)
{
    if (status != 0)
        cli_fail(m->c, m->reader, status, "cannot ask the daemon");
}

static void stop_feeding(struct map *m)
{
    char numbers[2][24];
    int64_t fail, succeed;

    m->feeding = false;
    if (m->closed)
        return;
    m->closed = true;
    if (!halt_is_share(&m->halt) || m->counts.total < 0) {
        request(m, yoke_sendl(m->reader, on_ok, m, "GROUP", "CLOSE", m->group,
                              (char *)NULL));
        return;
    }
    /* Now it is known how many there are. */
    halt_numbers(&m->halt, m->counts.total, &fail, &succeed);
    (void)snprintf(numbers[0], sizeof(numbers[0]), "%" PRId64, fail);
    (void)snprintf(numbers[1], sizeof(numbers[1]), "%" PRId64, succeed);
    request(m,
            yoke_sendl(m->reader, on_ok, m, "GROUP", "CLOSE", m->group, "FAIL",
                       numbers[0], "SUCCEED", numbers[1], (char *)NULL));
}

static void cancel(struct map *m, const char *reason)
{
    if (!m->cancelling)
        request(m, yoke_sendl(m->reader, on_ok, m, "CANCEL", m->group, "REASON",
                              reason, (char *)NULL));
    m->cancelling = m->counts.cancelling = true;
    stop_feeding(m);
}

/* Something that is not a job's fault: no use in going on. The first is what
 * is told. */
static void trouble(struct map *m, const char *what, const char *why)
{
    if (m->exit_status == 0) {
        m->exit_status = EXIT_OWN;
        text_addf(&m->trouble, "%s: %s", what, why);
    }
    cancel(m, what);
}

static void on_ok(yoke *y, int status, const struct yoke_value *reply,
                  void *arg)
{
    struct map *m = arg;

    (void)reply;
    /* that the group is gone already is what was wanted */
    if (status != 0 && status != YOKE_ERR_NOGROUP && m->exit_status == 0) {
        m->exit_status = EXIT_OWN;
        text_addf(&m->trouble, "cannot end the group: %s", yoke_error_text(y));
    }
}

/* What a request is about. */
struct begun {
    struct map *map;
    struct item *item;
};

static void on_submitted(yoke *y, int status, const struct yoke_value *reply,
                         void *arg)
{
    struct begun *s = arg;
    struct map *m = s->map;

    if (status == 0 && reply->kind == YOKE_STR) {
        window_name(&m->window, s->item, reply->s.data);
    } else {
        window_settle(&m->window, s->item);
        m->refused++;
        if (m->refusal.len == 0)
            text_adds(&m->refusal, yoke_error_text(y));
        if (status == YOKE_ERR_CANCELLED || status == YOKE_ERR_CLOSED)
            stop_feeding(m); /* the group says why when it has ended */
        else if (status != YOKE_ERR_IO)
            trouble(m, "cannot submit", yoke_error_text(y));
    }
    free(s);
}

static void submit(struct map *m, const char *input)
{
    struct item *item = window_begin(&m->window, input);
    char **argv = template_expand(&m->template, input, item->number);
    char *label = submission_label(input);
    struct begun *s = text_alloc(1, sizeof(*s));
    struct yoke_submit *job = &m->job.submit;
    int status;

    *s = (struct begun){.map = m, .item = item};
    submission_payload(m->c, &m->job, argv, (struct yoke_bytes){0},
                       &job->payload);
    job->name = label;
    status = yoke_send_submit(m->owner, job, on_submitted, s);
    if (status != 0)
        cli_fail(m->c, m->owner, status, "cannot submit");
    yoke_free((char *)job->payload.data);
    free(label);
    template_argv_free(argv);
}

/* Takes inputs while there is room for them; true: more must be read. */
static bool feed(struct map *m)
{
    while (m->feeding && m->window.used < WINDOW_MAX &&
           m->window.held_bytes < HELD_MAX &&
           yoke_pending(m->owner) < PENDING_MAX &&
           yoke_unsent(m->owner) < UNSENT_MAX) {
        const char *input;

        switch (inputs_next(&m->inputs, &input)) {
        case INPUTS_GOT:
            submit(m, input);
            break;
        case INPUTS_READ:
            return true;
        case INPUTS_END:
            m->feeding = false;
            m->counts.total = (int64_t)m->window.last;
            break;
        }
    }
    /* closing must come behind the last submit */
    if (!m->feeding && yoke_pending(m->owner) == 0)
        stop_feeding(m);
    return false;
}

/* ------------------------------------------------------------- printing */

static void print(struct map *m, const struct item *item)
{
    int error;

    if (m->exit_status != 0 || item->out.len == 0)
        return;
    progress_erase(&m->progress);
    if (m->c->json) {
        const char *before = m->printed_any ? ",\n" : "{\"members\":[\n";

        error = output_write(STDOUT_FILENO, before, strlen(before));
        if (error == 0)
            error = output_write(STDOUT_FILENO, item->out.data, item->out.len);
        m->printed_any = true;
    } else {
        error = output_write(STDOUT_FILENO, item->out.data, item->out.len);
    }
    if (error == 0)
        return;
    if (error == -EPIPE) {
        m->exit_status = EXIT_SIGNAL + SIGPIPE;
        cancel(m, "nobody reads its output");
    } else {
        trouble(m, "cannot write standard output", strerror(-error));
    }
}

/* Prints what may be printed now. */
static void print_settled(struct map *m)
{
    struct item *item;

    while ((item = window_head(&m->window)) != NULL && item->settled) {
        print(m, item);
        window_drop(&m->window, item);
    }
}

static void settle(struct map *m, struct item *item)
{
    if (item->json != NULL) {
        char *dump;

        if (item->out.len > 0) /* of a failed one; else it is the result */
            output_json_bytes(
                item->json, "stdout",
                (struct yoke_bytes){item->out.data, item->out.len});
        dump = json_dumps(item->json, 0);
        text_clear(&item->out);
        text_adds(&item->out, dump != NULL ? dump : "null");
        free(dump);
        json_decref(item->json);
        item->json = NULL;
    }
    window_settle(&m->window, item);
    if (m->as_completed) {
        print(m, item);
        window_drop(&m->window, item);
    }
}

/* -------------------------------------------------------- what has ended */

static void ask_logs(struct map *m, struct item *item);

/* What a failed job has written to stdout before it failed: its result is
 * not kept, its log is. */
static void on_logs(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct begun *l = arg;
    struct map *m = l->map;
    struct item *item = l->item;
    bool more = false;

    (void)y;
    free(l);
    m->logs_sent--;
    if (status == 0 && reply->kind == YOKE_ARRAY && reply->count == 3 &&
        reply->items[1].kind == YOKE_ARRAY) {
        const struct yoke_value *entries = &reply->items[1];
        const struct yoke_value *cursor = &reply->items[0];

        for (size_t i = 0; i < entries->count; i++) {
            const struct yoke_value *e = &entries->items[i];

            if (e->kind == YOKE_ARRAY && e->count == 2 &&
                e->items[0].kind == YOKE_INT && e->items[0].i == 1 &&
                e->items[1].kind == YOKE_STR)
                text_add(&item->out, e->items[1].s.data, e->items[1].s.len);
        }
        more = entries->count > 0 && cursor->kind == YOKE_STR &&
               reply->items[2].kind == YOKE_INT && reply->items[2].i == 0 &&
               argument_integer(cursor->s.data, 0, INT64_MAX, &item->cursor);
    }
    if (more)
        ask_logs(m, item);
    else
        settle(m, item);
}

static void ask_logs(struct map *m, struct item *item)
{
    struct begun *l = text_alloc(1, sizeof(*l));
    char cursor[24];

    *l = (struct begun){.map = m, .item = item};
    (void)snprintf(cursor, sizeof(cursor), "%" PRId64, item->cursor);
    m->logs_sent++;
    request(m, yoke_sendl(m->reader, on_logs, l, "LOGS", item->id, cursor, "0",
                          (char *)NULL));
}

static char *copy_str(const struct yoke_value *map, const char *key)
{
    return text_copy(output_str(map, key));
}

/* Keeps what the report needs of a failed member. */
static void keep_failure(struct map *m, const struct yoke_value *member)
{
    const struct yoke_value *errors = yoke_value_get(member, "errors");
    struct yoke_error_tree *node;

    if (m->report.nchildren == REPORTED_MAX)
        return;
    node = text_alloc(1, sizeof(*node));
    (void)snprintf(node->id, sizeof(node->id), "%s", output_str(member, "id"));
    node->name = copy_str(member, "name");
    node->is_group = cli_is_group(node->id);
    node->outcome = YOKE_FAILED;
    node->attempts = output_int(member, "attempts", 0);
    node->started_ms =
        output_int(member, node->is_group ? "opened" : "started", YOKE_NONE);
    node->ended_ms = output_int(member, "ended", YOKE_NONE);
    node->ok = output_int(member, "ok", 0);
    node->failed = output_int(member, "failed", 0);
    node->cancelled = output_int(member, "cancelled", 0);
    if (errors != NULL && errors->kind == YOKE_ARRAY) {
        node->nerrors = errors->count;
        node->errors = text_alloc(errors->count, sizeof(*node->errors));
        for (size_t i = 0; i < errors->count; i++) {
            const struct yoke_value *e = &errors->items[i];

            node->errors[i] = (struct yoke_job_error){
                .class_name = copy_str(e, "class"),
                .message = copy_str(e, "message"),
                .detail = copy_str(e, "detail"),
                .attempt = output_int(e, "attempt", 0),
                .time_ms = output_int(e, "time", 0),
            };
        }
    }
    m->report.children = text_grow(m->report.children, REPORTED_MAX,
                                   sizeof(*m->report.children));
    m->report.children[m->report.nchildren++] = node;
}

static void report_clear(struct yoke_error_tree *report)
{
    for (size_t i = 0; i < report->nchildren; i++) {
        struct yoke_error_tree *node = report->children[i];

        for (size_t k = 0; k < node->nerrors; k++) {
            free((char *)node->errors[k].class_name);
            free((char *)node->errors[k].message);
            free((char *)node->errors[k].detail);
        }
        free(node->errors);
        free(node->name);
        free(node);
    }
    free(report->children);
}

/* The item of a member that has ended. The answer to its submit left the daemon
 * before it could start, but may not have been read yet. NULL: somebody else
 * has submitted it. */
static struct item *find(struct map *m, const char *id)
{
    struct item *item = window_find(&m->window, id);

    while (item == NULL && yoke_pending(m->owner) > 0) {
        struct pollfd owner = {.fd = yoke_fd(m->owner), .events = POLLIN};

        if (poll(&owner, 1, ANSWER_MS) <= 0 || yoke_process(m->owner) != 0)
            break;
        item = window_find(&m->window, id);
    }
    return item;
}

/* A member of the group has ended. */
static void on_member(struct map *m, const struct yoke_value *member)
{
    const char *outcome = output_str(member, "outcome");
    const struct yoke_value *result = yoke_value_get(member, "result");
    bool failed = strcmp(outcome, "failed") == 0;
    struct item *item = find(m, output_str(member, "id"));

    m->counts.done++;
    m->counts.failed += failed;
    m->ok += strcmp(outcome, "ok") == 0;
    m->cancelled += strcmp(outcome, "cancelled") == 0;
    if (failed)
        keep_failure(m, member);
    if (item == NULL)
        return; /* counted, and not printed */
    if (m->c->json) {
        item->json = output_json_value(member);
        (void)json_object_set_new(item->json, "number",
                                  json_integer((json_int_t)item->number));
        output_json_bytes(
            item->json, "input",
            (struct yoke_bytes){item->input, strlen(item->input)});
    } else if (result != NULL && result->kind == YOKE_STR) {
        text_add(&item->out, result->s.data, result->s.len);
    }
    if (failed)
        ask_logs(m, item);
    else
        settle(m, item);
}

static void on_next(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct map *m = arg;

    m->next_sent = false;
    if (status != 0)
        cli_fail(m->c, y, status, "cannot read what has ended");
    if (reply->kind != YOKE_ARRAY || reply->count != 3 ||
        reply->items[0].kind != YOKE_STR || reply->items[1].kind != YOKE_ARRAY)
        cli_fail(m->c, NULL, YOKE_ERR_PROTOCOL, "cannot read what has ended");
    (void)snprintf(m->cursor, sizeof(m->cursor), "%s", reply->items[0].s.data);
    for (size_t i = 0; i < reply->items[1].count; i++)
        on_member(m, &reply->items[1].items[i]);
    m->over = reply->items[2].i != 0;
}

/* Now and then a look at the group: what runs, and whether it was cancelled
 * by its policy, its deadline or somebody. */
static void on_look(yoke *y, int status, const struct yoke_value *reply,
                    void *arg)
{
    struct map *m = arg;

    m->look_sent = false;
    if (status != 0)
        cli_fail(m->c, y, status, "cannot look at the group");
    m->counts.running = output_int(reply, "running", 0);
    if (!output_is_null(reply, "reason") || !output_is_null(reply, "outcome"))
        stop_feeding(m);
}

/* ---------------------------------------------------------------- the loop */

/* One request at a time tells what has ended; anything sent behind it makes it
 * answer at once. */
static void ask(struct map *m)
{
    int64_t now = cli_monotonic_ms();
    int64_t every = m->progress.on ? LOOK_MS : LOOK_SLOW_MS;

    if (m->over)
        return;
    if (!m->look_sent && now - m->looked_ms >= every) {
        m->look_sent = m->looked = true;
        m->looked_ms = now;
        request(m, yoke_sendl(m->reader, on_look, m, "GROUP", "INFO", m->group,
                              (char *)NULL));
    }
    if (!m->next_sent && !m->look_sent && m->logs_sent == 0) {
        m->next_sent = true;
        request(m, yoke_sendl(m->reader, on_next, m, "GROUP", "NEXT", m->group,
                              m->cursor, WAIT_MS, "COUNT", PAGE_COUNT,
                              (char *)NULL));
    }
}

static void on_signal(struct map *m)
{
    int count = signals_count();

    if (count == m->signals_seen)
        return;
    m->signals_seen = count;
    progress_erase(&m->progress);
    if (count > 1) {
        yoke_abandon(m->owner);
        yoke_abandon(m->reader);
        exit(EXIT_SIGNAL + signals_first());
    }
    cli_warn("cancelling %s (again to stop waiting)", m->group);
    m->exit_status = EXIT_SIGNAL + signals_first();
    cancel(m, signals_reason());
}

static void process(struct map *m, yoke *y, short revents)
{
    bool due = revents != 0 || yoke_timeout_ms(y) == 0;
    int status = due ? yoke_process(y) : 0;

    if (status == 0)
        return;
    progress_erase(&m->progress);
    cli_fail(m->c, y, status,
             "the connection is lost; what has not ended is cancelled by the "
             "daemon");
}

static void read_inputs(struct map *m)
{
    int status = inputs_read(&m->inputs);

    if (status == -E2BIG)
        trouble(m, "cannot read the inputs", "one is longer than 1 MiB");
    else if (status != 0)
        trouble(m, "cannot read the inputs", strerror(-status));
}

/* The earlier of two waits, the second of which may be none. */
static int64_t sooner(int64_t ms, int64_t other_ms)
{
    return other_ms >= 0 && other_ms < ms ? other_ms : ms;
}

static void turn(struct map *m, const sigset_t *unblocked)
{
    bool read_more = feed(m);
    int64_t tick = !m->looked       ? FIRST_LOOK_MS /* it is due soon */
                   : m->progress.on ? LOOK_MS
                                    : LOOK_SLOW_MS;
    struct timespec wait;
    struct pollfd fds[3];
    int n;

    ask(m);
    tick = sooner(tick, yoke_timeout_ms(m->owner));
    tick = sooner(tick, yoke_timeout_ms(m->reader));
    wait = (struct timespec){.tv_sec = tick / 1000,
                             .tv_nsec = tick % 1000 * 1000000};
    fds[0] = (struct pollfd){.fd = yoke_fd(m->owner),
                             .events = yoke_events(m->owner)};
    fds[1] = (struct pollfd){.fd = yoke_fd(m->reader),
                             .events = yoke_events(m->reader)};
    fds[2] =
        (struct pollfd){.fd = read_more ? m->inputs.fd : -1, .events = POLLIN};
    progress_draw(&m->progress, &m->counts);
    n = ppoll(fds, 3, &wait, unblocked);
    on_signal(m);
    if (n < 0)
        return;
    process(m, m->owner, fds[0].revents);
    process(m, m->reader, fds[1].revents);
    if (fds[2].revents != 0)
        read_inputs(m);
    if (!m->as_completed)
        print_settled(m);
}

static void begin(struct map *m)
{
    char *name = NULL;
    int status;

    m->owner = cli_connect(m->c);
    m->reader = cli_connect(m->c);
    if (m->group_options.name == NULL)
        m->group_options.name = name =
            submission_command_label(m->template.nwords, m->template.words);
    status = yoke_group_open(m->owner, &m->group_options, m->group);
    if (status != 0)
        cli_fail(m->c, m->owner, status, "cannot open a group");
    free(name);
    m->job.submit.group = m->group;
    if (m->job.submit.queue == NULL)
        m->job.submit.queue = SUBMISSION_QUEUE;
    window_init(&m->window);
    progress_init(&m->progress);
    (void)snprintf(m->cursor, sizeof(m->cursor), "0");
    m->looked_ms = cli_monotonic_ms() - LOOK_MS + FIRST_LOOK_MS;
    m->feeding = true;
}

/* ---------------------------------------------------------------- the end */

static int exit_status(const struct map *m,
                       const struct yoke_outcome_info *group)
{
    if (m->exit_status != 0)
        return m->exit_status;
    if (group->outcome == YOKE_SUCCEEDED &&
        output_int(group->raw, "succeed", 0) > 0)
        return 0;
    if (group->failed > 0)
        return group->failed <= 100 ? (int)group->failed : EXIT_FAILED_MANY;
    if (group->outcome == YOKE_FAILED && group->nerrors > 0 &&
        strcmp(group->errors[0].class_name, "deadline") == 0)
        return EXIT_TIMED_OUT;
    if (group->outcome == YOKE_FAILED)
        return EXIT_FAILED; /* too few succeeded */
    return group->cancelled > 0 || m->refused > 0 ||
                   group->outcome == YOKE_CANCELLED
               ? EXIT_SIGNAL + SIGTERM
               : 0;
}

static void finish_json(struct map *m, const struct yoke_outcome_info *group)
{
    json_t *json = output_json_value(group->raw);
    char *dump = json_dumps(json, 0);

    printf("%s],\n\"group\":%s}\n", m->printed_any ? "" : "{\"members\":[",
           dump != NULL ? dump : "null");
    free(dump);
    json_decref(json);
}

static void report(struct map *m, const struct yoke_outcome_info *group)
{
    int64_t not_begun = m->refused;

    if (m->inputs.list != NULL)
        not_begun += (int64_t)(m->inputs.nlist - m->inputs.at);
    report_tree(stderr, group, &m->report,
                group->failed - (int64_t)m->report.nchildren);
    if (not_begun > 0)
        fprintf(stderr, "%" PRId64 " %s not begun%s%s\n", not_begun,
                not_begun == 1 ? "input was" : "inputs were",
                m->refusal.len > 0 ? ": " : "", text_str(&m->refusal));
}

static int end(struct map *m)
{
    struct yoke_outcome_info *group = NULL;
    int status = yoke_group_wait(m->reader, m->group, YOKE_NONE, &group);
    int result;

    progress_erase(&m->progress);
    if (status != 0)
        cli_fail(m->c, m->reader, status, "cannot ask how the group ended");
    if (m->trouble.len > 0)
        cli_warn("%s", text_str(&m->trouble));
    result = exit_status(m, group);
    if (m->c->json)
        finish_json(m, group);
    else if (result != 0 && result != EXIT_SIGNAL + SIGPIPE)
        report(m, group);
    yoke_outcome_free(group);
    yoke_close(m->reader);
    yoke_close(m->owner);
    return result;
}

int map_main(struct cli *c)
{
    struct map m = {.c = c};
    sigset_t unblocked;
    int status;

    read_options(&m);
    read_operands(&m);
    begin(&m);
    signals_catch();
    signals_block(&unblocked);
    while (!m.over || yoke_pending(m.reader) > 0 || yoke_pending(m.owner) > 0)
        turn(&m, &unblocked);
    if (!m.as_completed)
        print_settled(&m);
    status = end(&m);
    report_clear(&m.report);
    window_clear(&m.window);
    inputs_clear(&m.inputs);
    template_clear(&m.template);
    text_clear(&m.trouble);
    text_clear(&m.refusal);
    submission_clear(&m.job);
    return status;
}
