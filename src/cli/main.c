/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main - finds the verb, and ends the program in one place.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"

#define TRY_MS 2000

static int help_main(struct cli *c);

const struct verb verbs[] = {
    {"run", "[--] COMMAND [ARG...]",
     "run a command as a job; output and status are the job's", run_options,
     true, EXIT_OWN, run_main},
    {"map", "TEMPLATE... [::: INPUT...]",
     "run a command for each input, as one group", map_options, true, EXIT_OWN,
     map_main},
    {"submit", "[PAYLOAD] | --command -- COMMAND [ARG...]",
     "put a job into a queue; prints its id", submit_options, true, 0,
     submit_main},
    {"wait", "ID...", "wait until jobs or groups have ended", wait_options,
     false, 0, wait_main},
    {"result", "ID", "print what a job answered", result_options, false, 0,
     result_main},
    {"ready", "VALUE", "inside a job: say that it is ready, and VALUE", NULL,
     false, 0, ready_main},
    {"progress", "TEXT", "inside a job: say how far it is", NULL, false, 0,
     progress_main},
    {"logs", "ID", "print what a job, or the jobs of a group, have printed",
     logs_options, false, 0, logs_main},
    {"status", "ID...", "all that is known of jobs or groups", NULL, false, 0,
     status_main},
    {"cancel", "ID...", "cancel jobs or groups and all below them",
     cancel_options, false, 0, cancel_main},
    {"reschedule", "ID...", "move deadlines and other times of jobs or groups",
     reschedule_options, false, 0, reschedule_main},
    {"shield", "", "inside a job: keep cancels from outside back for a while",
     shield_options, false, 0, shield_main},
    {"ls", "", "list jobs", ls_options, false, 0, ls_main},
    {"events", "", "show what happens, as it happens", events_options, false, 0,
     events_main},
    {"top", "", "what the daemon does now, again and again", top_options, false,
     0, top_main},
    {"tree", "[ID]", "draw the tree of groups and jobs", tree_options, false, 0,
     tree_main},
    {"group run", "[--] SCRIPT [ARG...]",
     "run a script; all that it submits lives in one group", group_run_options,
     true, EXIT_OWN, group_run_main},
    {"group open", "", "open a group that outlives this command; prints its id",
     group_open_options, false, 0, group_open_main},
    {"group close", "ID", "no more members: it ends when they have ended",
     group_close_options, false, 0, group_close_main},
    {"group wait", "ID", "wait until a group has ended; shows its errors",
     group_wait_options, false, 0, group_wait_main},
    {"group results", "ID", "the members in the order of their submission",
     group_results_options, false, 0, group_results_main},
    {"group errors", "ID", "the errors under a group, as a tree",
     group_errors_options, false, 0, group_errors_main},
    {"group cancel", "ID...", "cancel groups and all below them",
     cancel_options, false, 0, cancel_main},
    {"queue list", "", "the queues, and what waits and runs in them", NULL,
     false, 0, queue_list_main},
    {"queue info", "QUEUE", "all that is known of a queue", NULL, false, 0,
     queue_info_main},
    {"queue set", "QUEUE", "make a queue, or change its bounds and defaults",
     queue_set_options, false, 0, queue_set_main},
    {"queue pause", "QUEUE", "start nothing from this queue", NULL, false, 0,
     queue_pause_main},
    {"queue resume", "QUEUE", "start jobs from this queue again", NULL, false,
     0, queue_resume_main},
    {"queue close", "QUEUE", "take nothing more; what is in it is worked off",
     queue_close_options, false, 0, queue_close_main},
    {"queue open", "QUEUE", "take jobs again", NULL, false, 0, queue_open_main},
    {"queue join", "QUEUE", "wait until nothing in it is unfinished",
     queue_join_options, false, 0, queue_join_main},
    {"queue drain", "QUEUE", "close it, and wait until nothing is unfinished",
     queue_join_options, false, 0, queue_drain_main},
    {"queue purge", "QUEUE", "cancel what has not started", NULL, false, 0,
     queue_purge_main},
    {"queue dead", "QUEUE", "jobs of a queue that have failed for good",
     queue_dead_options, false, 0, queue_dead_main},
    {"dead list", "", "jobs that have failed for good, and may be retried",
     dead_options, false, 0, dead_list_main},
    {"dead retry", "", "run the oldest of them once more; prints the new ids",
     dead_options, false, 0, dead_retry_main},
    {"dead purge", "", "take the oldest of them off the list", dead_options,
     false, 0, dead_purge_main},
    {"retry", "ID...", "run jobs that have failed for good once more", NULL,
     false, 0, retry_main},
    {"limiter set", "NAME [PERMITS]", "make a limiter, or change it",
     limiter_set_options, false, 0, limiter_set_main},
    {"limiter info", "NAME", "all that is known of a limiter", NULL, false, 0,
     limiter_info_main},
    {"limiter list", "", "the limiters, what is held and what waits", NULL,
     false, 0, limiter_list_main},
    {"limiter del", "NAME", "remove a limiter that no job needs", NULL, false,
     0, limiter_del_main},
    {"info", "[SECTION]", "facts and figures of the daemon", NULL, false, 0,
     info_main},
    {"ping", "", "ask whether the daemon answers", NULL, false, 0, ping_main},
    {"backup", "DIR", "copy the daemon's journal to a new directory",
     backup_options, false, 0, backup_main},
    {"help", "[VERB]", "show what a verb takes", NULL, false, 0, help_main},
    {NULL, NULL, NULL, NULL, false, 0, NULL},
};

/* ------------------------------------------------------------- the ends */

int cli_own_failure(const struct cli *c)
{
    return c->verb != NULL && c->verb->own_failure != 0 ? c->verb->own_failure
                                                        : EXIT_FAILED;
}

/* Names that others chose are in many messages. */
__attribute__((format(printf, 1, 0))) static void say(const char *fmt,
                                                      va_list args)
{
    struct text clean = {0};
    char *message;

    if (vasprintf(&message, fmt, args) < 0)
        message = NULL;
    output_clean(&clean, message != NULL ? message : fmt,
                 strlen(message != NULL ? message : fmt));
    free(message);
    screen_end();
    (void)fflush(stdout);
    fprintf(stderr, "yoke: %s", text_str(&clean));
    text_clear(&clean);
}

void cli_warn(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_usage(struct cli *c, const char *fmt, ...)
{
    const char *verb = c->verb != NULL ? c->verb->name : "";
    va_list args;

    (void)fflush(stdout);
    fprintf(stderr, "yoke: %s%s", verb, c->verb != NULL ? ": " : "");
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (see 'yoke help%s%s')\n", c->verb != NULL ? " " : "",
            verb);
    exit(c->verb != NULL && c->verb->own_failure != 0 ? c->verb->own_failure
                                                      : EXIT_USAGE);
}

void cli_fail(struct cli *c, const yoke *y, int status, const char *fmt, ...)
{
    const char *why = y != NULL ? yoke_error_text(y) : "";
    struct text clean = {0};
    va_list args;

    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    why = why[0] != '\0' ? why : yoke_status_name(status);
    output_clean(&clean, why, strlen(why));
    fprintf(stderr, ": %s\n", text_str(&clean));
    exit(status == YOKE_ERR_TIMEOUT ? EXIT_TIMED_OUT : cli_own_failure(c));
}

/* What was written last may still fail, on a full disk say. */
static int finish(const struct cli *c, int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_warn("cannot write standard output: %s", strerror(errno));
        return cli_own_failure(c);
    }
    return status;
}

/* ------------------------------------------------------------ connection */

static int open_handle(struct cli *c, struct yoke_options *options, yoke **out)
{
    options->password_file = c->password_file;
    options->name = "yoke";
    return yoke_open(c->server, options, out);
}

const char *cli_token(struct cli *c)
{
    const char *token = getenv(YOKE_ENV_TOKEN);

    if (token == NULL || token[0] == '\0')
        cli_usage(c, "this is for use inside a job: " YOKE_ENV_TOKEN
                     " is not set");
    return token;
}

yoke *cli_connect(struct cli *c)
{
    struct yoke_options options = {0};
    yoke *y = NULL;
    int status = open_handle(c, &options, &y);

    if (status != 0) {
        cli_warn("%s",
                 y != NULL ? yoke_error_text(y) : yoke_status_name(status));
        exit(cli_own_failure(c));
    }
    return y;
}

int cli_try(struct cli *c, yoke **out)
{
    struct yoke_options options = {.connect_timeout_ms = TRY_MS,
                                   .reconnect_ms = YOKE_NONE};

    return open_handle(c, &options, out);
}

int64_t cli_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t cli_monotonic_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool cli_is_group(const char *id)
{
    return id[0] == 'g' || strcmp(id, "root") == 0;
}

/* ------------------------------------------------------------- the verbs */

static void help_all(void)
{
    puts("usage: yoke [--server ADDR] [--password-file FILE] [--json] VERB "
         "...\n\n"
         "A job queue whose jobs cannot outlive their scope.\n");
    for (const struct verb *v = verbs; v->name != NULL; v++)
        printf("  %-14s %s\n", v->name, v->summary);
    puts("\nThese options may stand before or behind the verb:");
    options_help(options_global);
    puts("\nDurations: 500ms, 10s, 5m, 1h30m, 2d; a plain number is in "
         "seconds.\n'yoke help VERB' tells more, yoke(1) tells all.");
}

static const struct verb *nearest_verb(const char *word)
{
    const struct verb *best = NULL;
    size_t least = 4;

    for (const struct verb *v = verbs; v->name != NULL; v++) {
        size_t distance = argument_distance(word, v->name);

        if (distance < least && distance < strlen(word)) {
            least = distance;
            best = v;
        }
    }
    return best;
}

/* "it takes: list, info, ..." for the first word of two. */
static bool second_words(const char *first, char *out, size_t size)
{
    size_t len = strlen(first), at = 0;

    out[0] = '\0';
    for (const struct verb *v = verbs; v->name != NULL; v++) {
        if (strncmp(v->name, first, len) != 0 || v->name[len] != ' ')
            continue;
        at += (size_t)snprintf(out + at, size - at, "%s%s", at > 0 ? ", " : "",
                               v->name + len + 1);
        if (at >= size)
            break;
    }
    return at > 0;
}

/* The verb that one or two words name; *words is how many. Ends with what is
 * meant perhaps. */
static const struct verb *find_verb(struct cli *c, int argc, char **argv,
                                    int *words)
{
    const struct verb *near;
    char two[64], list[160];

    (void)snprintf(two, sizeof(two), "%s %s", argv[0], argc > 1 ? argv[1] : "");
    for (const struct verb *v = verbs; v->name != NULL; v++) {
        bool both = strcmp(v->name, two) == 0;

        if (both || strcmp(v->name, argv[0]) == 0) {
            *words = both ? 2 : 1;
            return v;
        }
    }
    if (second_words(argv[0], list, sizeof(list)))
        cli_usage(c, "%s needs one of: %s", argv[0], list);
    near = nearest_verb(argv[0]);
    if (near != NULL)
        cli_usage(c, "there is no verb '%s'; did you mean '%s'?", argv[0],
                  near->name);
    cli_usage(c, "there is no verb '%s'", argv[0]);
}

static const char map_places[] =
    "\n  {}    the input             a/b.tar.gz   {/}   its last part   "
    "b.tar.gz\n"
    "  {.}   without extension     a/b.tar      {/.}  both            b.tar\n"
    "  {//}  its directory         a            {#}   its number      1\n\n"
    "The template is one word with blanks, split as a shell would, or several "
    "words;\nno shell is run. Without any of these the input is the last "
    "argument.\nInputs follow ::: or come from standard input, one a line.";

static void help_verb(const struct verb *v)
{
    printf("usage: yoke %s%s%s%s\n\n%s\n", v->name,
           v->options != NULL ? " [OPTION...]" : "",
           v->operands[0] != '\0' ? " " : "", v->operands, v->summary);
    if (v->run == map_main)
        puts(map_places);
    if (v->options != NULL) {
        puts("");
        options_help(v->options);
    }
    puts("");
    options_help(options_global);
}

static int help_main(struct cli *c)
{
    int words = 0;
    char list[160];

    /* "yoke help ..." comes with its own name; --help comes with a verb's */
    if (c->verb != NULL)
        while (options_next(c) != 0)
            continue;
    else
        c->argv++, c->argc--;
    if (c->argc == 0) {
        help_all();
        return 0;
    }
    if (second_words(c->argv[0], list, sizeof(list)) && c->argc == 1) {
        size_t len = strlen(c->argv[0]);

        for (const struct verb *v = verbs; v->name != NULL; v++)
            if (strncmp(v->name, c->argv[0], len) == 0)
                printf("  %-14s %s\n", v->name, v->summary);
        return 0;
    }
    for (const struct verb *v = verbs; v->name != NULL; v++) {
        if (strcmp(v->name, c->argv[0]) == 0) {
            help_verb(v);
            return 0;
        }
    }
    c->verb = NULL; /* what is wrong is not about help */
    help_verb(find_verb(c, c->argc, c->argv, &words));
    return 0;
}

/* A closed standard descriptor would be given to the connection, which would
 * then get what is printed. Opened the wrong way round it stays unusable. */
static void keep_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_OWN);
}

int main(int argc, char **argv)
{
    struct cli c = {.argc = argc, .argv = argv};
    int words;

    keep_standard_descriptors();
    (void)setlocale(LC_CTYPE, "");
    opterr = 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("yoke %s\n", yoke_version());
        return finish(&c, 0);
    }
    if (options_next(&c) != 0 || c.argc == 0) {
        fputs("usage: yoke [--server ADDR] [--json] VERB ...; 'yoke help' "
              "lists the verbs\n",
              stderr);
        return EXIT_USAGE;
    }
    c.verb = find_verb(&c, c.argc, c.argv, &words);
    /* getopt skips the word before the options: the last of the verb's */
    c.argc -= words - 1;
    c.argv += words - 1;
    optind = 0;
    return finish(&c, c.verb->run(&c));
}
