/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cli - what every verb of the command line shares: the table of verbs, their
 * options, the connection, and how the program ends.
 *
 * A verb is one row of the table in main.c: its words, its options (from which
 * both the parser and the help are made) and its function, which returns the
 * exit status. Verbs end early by cli_usage() and cli_fail(), which do not
 * return: what they hold is given back by the end of the process.
 *
 * Errors:    one line on stderr, "yoke: ...", that says what is wrong and what
 *            would be right.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <yoke.h>

enum {
    EXIT_FAILED = 1,        /* the thing asked about failed, or yoke did */
    EXIT_USAGE = 2,         /* the command line is wrong */
    EXIT_FAILED_MANY = 101, /* map: more than 100 failed */
    EXIT_TIMED_OUT = 124,
    EXIT_OWN = 125, /* run, map: yoke itself failed */
    EXIT_CANNOT_RUN = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL = 128, /* plus the number of the signal */
};

struct cli;
struct halt; /* argument.h */

/* id: the letter of a short option, or a number from 256 on where there is
 * none. value: what its argument is called; NULL: it takes none. */
struct option_row {
    int id;
    const char *name, *value, *help;
};

struct verb {
    const char *name;     /* one word or two */
    const char *operands; /* as shown: "ID..." */
    const char *summary;
    const struct option_row *options; /* ends with id 0; NULL: none */
    /* Options end at the first operand, so that those of a command given
     * behind it are left alone. */
    bool in_order;
    /* Statuses of its own failures and of a wrong command line, where they
     * must not look like those of a job: 0 means 1 and 2. */
    int own_failure;
    int (*run)(struct cli *c);
};

struct cli {
    const struct verb *verb;
    const char *server, *password_file;
    bool json;
    /* What is left after options_next() has returned 0: the operands. */
    int argc;
    char **argv;
    const char *value; /* of the option just returned */
};

/* The id of the next option, 0 at the end. */
int options_next(struct cli *c);
/* For verbs without options of their own. */
void options_none(struct cli *c);
/* The value of the option just returned, or a usage error. */
int64_t options_duration(struct cli *c);
int64_t options_moment(struct cli *c);
int64_t options_integer(struct cli *c, int64_t min, int64_t max);
/* A decimal number between them, in thousandths. */
int64_t options_thousandths(struct cli *c, int64_t min, int64_t max);
int64_t options_size(struct cli *c);
/* The policy; and one whose numbers must be known, which is no share. */
void options_halt(struct cli *c, struct halt *out);
void options_halt_numbers(struct cli *c, int64_t *fail, int64_t *succeed);
/* Ends with a usage error unless min <= operands <= max (-1: no bound). */
void options_operands(struct cli *c, int min, int max);
/* Prints the options of a table for the help. */
void options_help(const struct option_row *rows);
extern const struct option_row options_global[];

/* The token of the attempt that this runs in, or a usage error. */
const char *cli_token(struct cli *c);
/* A handle that is connected; the caller closes it. */
yoke *cli_connect(struct cli *c);
/* The same for one that does not come back by itself when it breaks, and within
 * two seconds: 0, or why not, with *out as yoke_open leaves it. */
int cli_try(struct cli *c, yoke **out);
/* "yoke: what: why", and the end. */
void cli_fail(struct cli *c, const yoke *y, int status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));
/* "yoke: verb: what is wrong", and the end. */
void cli_usage(struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* "yoke: ..." and on it goes. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The status for a failure of yoke itself, in this verb. */
int cli_own_failure(const struct cli *c);
/* Unix milliseconds; and those of a clock that only goes forward. */
int64_t cli_now_ms(void);
int64_t cli_monotonic_ms(void);
bool cli_is_group(const char *id);

/* Every verb, and those two that main.c has itself; ends with a NULL name. */
extern const struct verb verbs[];

int submit_main(struct cli *c);
int run_main(struct cli *c);
int map_main(struct cli *c);
int wait_main(struct cli *c);
int result_main(struct cli *c);
int ready_main(struct cli *c);
int progress_main(struct cli *c);
int status_main(struct cli *c);
int cancel_main(struct cli *c);
int reschedule_main(struct cli *c);
int shield_main(struct cli *c);
int logs_main(struct cli *c);
int ls_main(struct cli *c);
int top_main(struct cli *c);
int tree_main(struct cli *c);
int events_main(struct cli *c);
int group_run_main(struct cli *c);
int group_open_main(struct cli *c);
int group_close_main(struct cli *c);
int group_wait_main(struct cli *c);
int group_results_main(struct cli *c);
int group_errors_main(struct cli *c);
int queue_list_main(struct cli *c);
int queue_info_main(struct cli *c);
int queue_set_main(struct cli *c);
int queue_pause_main(struct cli *c);
int queue_resume_main(struct cli *c);
int queue_close_main(struct cli *c);
int queue_open_main(struct cli *c);
int queue_join_main(struct cli *c);
int queue_drain_main(struct cli *c);
int queue_purge_main(struct cli *c);
int queue_dead_main(struct cli *c);
int dead_list_main(struct cli *c);
int dead_retry_main(struct cli *c);
int dead_purge_main(struct cli *c);
int retry_main(struct cli *c);
int limiter_set_main(struct cli *c);
int limiter_info_main(struct cli *c);
int limiter_list_main(struct cli *c);
int limiter_del_main(struct cli *c);
int info_main(struct cli *c);
int ping_main(struct cli *c);
int backup_main(struct cli *c);

extern const struct option_row submit_options[], run_options[], map_options[],
    wait_options[], result_options[], cancel_options[], reschedule_options[],
    shield_options[], logs_options[], events_options[], ls_options[],
    top_options[], tree_options[], group_run_options[], group_open_options[],
    group_close_options[], group_wait_options[], group_results_options[],
    group_errors_options[], queue_set_options[], queue_close_options[],
    queue_join_options[], queue_dead_options[], dead_options[],
    limiter_set_options[], backup_options[];

#endif
