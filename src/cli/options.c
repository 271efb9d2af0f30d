/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/cli.h"

#define ROWS_MAX     48
#define HELP_LEFT    28
#define HELP_COLUMNS 79
#define PAST_MS      60000 /* clocks differ, and scripts take their time */

enum { OPTION_SERVER = 1000, OPTION_PASSWORD_FILE, OPTION_JSON, OPTION_HELP };

const struct option_row options_global[] = {
    {OPTION_SERVER, "server", "ADDR",
     "the daemon: /path/to/socket, host:port, host (or $YOKE_SERVER)"},
    {OPTION_PASSWORD_FILE, "password-file", "FILE",
     "its first line is the password (or $YOKE_PASSWORD_FILE)"},
    {OPTION_JSON, "json", NULL, "print data as JSON"},
    {OPTION_HELP, "help", NULL, "show what the verb takes"},
    {0, NULL, NULL, NULL},
};

/* getopt's two forms of a verb's rows and of the global ones. */
struct forms {
    char letters[2 * ROWS_MAX + 3];
    struct option longs[ROWS_MAX + 1];
    size_t nletters, nlongs;
};

static void forms_add(struct forms *f, const struct option_row *row)
{
    for (; row != NULL && row->id != 0; row++) {
        if (f->nlongs == ROWS_MAX)
            abort();
        f->longs[f->nlongs++] = (struct option){
            .name = row->name,
            .has_arg = row->value != NULL ? required_argument : no_argument,
            .val = row->id,
        };
        if (row->id >= 256)
            continue;
        f->letters[f->nletters++] = (char)row->id;
        if (row->value != NULL)
            f->letters[f->nletters++] = ':';
    }
}

static void forms_make(struct forms *f, const struct verb *verb)
{
    *f = (struct forms){0};
    if (verb == NULL || verb->in_order)
        f->letters[f->nletters++] = '+';
    f->letters[f->nletters++] = ':';
    if (verb != NULL)
        forms_add(f, verb->options);
    forms_add(f, options_global);
}

static void forms_wrong(struct cli *c, int id)
{
    if (id == ':')
        cli_usage(c, "%s needs a value", c->argv[optind - 1]);
    if (optopt > 0 && optopt < 256 &&
        strncmp(c->argv[optind - 1], "--", 2) != 0)
        cli_usage(c, "unknown option -%c", optopt);
    if (optopt != 0)
        cli_usage(c, "%s takes no value", c->argv[optind - 1]);
    cli_usage(c, "unknown or ambiguous option %s", c->argv[optind - 1]);
}

static void show_help(const struct cli *c)
{
    char *words[] = {(char *)"help",
                     (char *)(c->verb != NULL ? c->verb->name : NULL), NULL};
    struct cli help = {.argc = c->verb != NULL ? 2 : 1, .argv = words};

    for (const struct verb *v = verbs; v->name != NULL; v++)
        if (strcmp(v->name, "help") == 0)
            exit(v->run(&help));
}

int options_next(struct cli *c)
{
    struct forms forms;

    forms_make(&forms, c->verb);
    for (;;) {
        int id =
            getopt_long(c->argc, c->argv, forms.letters, forms.longs, NULL);

        c->value = optarg;
        switch (id) {
        case OPTION_SERVER:
            c->server = optarg;
            break;
        case OPTION_PASSWORD_FILE:
            c->password_file = optarg;
            break;
        case OPTION_JSON:
            c->json = true;
            break;
        case OPTION_HELP:
            show_help(c);
            break;
        case '?':
        case ':':
            forms_wrong(c, id);
            break;
        case -1:
            c->argc -= optind;
            c->argv += optind;
            return 0;
        default:
            return id;
        }
    }
}

void options_none(struct cli *c)
{
    while (options_next(c) != 0)
        continue;
}

/* The word that the value just read was given to. */
static const char *option_word(const struct cli *c)
{
    const char *word = c->argv[optind - 1];

    if (word == c->value && optind >= 2)
        word = c->argv[optind - 2];
    return word;
}

static void value_wrong(struct cli *c, const char *wants)
{
    const char *word = option_word(c);

    cli_usage(c, "%.*s: '%s' is not %s", (int)strcspn(word, "="), word,
              c->value, wants);
}

int64_t options_duration(struct cli *c)
{
    int64_t value = 0;

    if (!argument_duration(c->value, &value))
        value_wrong(c, ARGUMENT_WANTS_DURATION);
    return value;
}

int64_t options_moment(struct cli *c)
{
    int64_t now_ms = cli_now_ms(), value = 0;

    if (!argument_moment(c->value, now_ms, &value))
        value_wrong(c, ARGUMENT_WANTS_MOMENT);
    if (value < now_ms - PAST_MS)
        value_wrong(c, "in the future; 0 is now");
    return value;
}

int64_t options_integer(struct cli *c, int64_t min, int64_t max)
{
    int64_t value = 0;
    char wants[80];

    if (argument_integer(c->value, min, max, &value))
        return value;
    if (max == INT64_MAX || max == INT32_MAX)
        (void)snprintf(wants, sizeof(wants), "a whole number from %lld",
                       (long long)min);
    else
        (void)snprintf(wants, sizeof(wants), "a whole number from %lld to %lld",
                       (long long)min, (long long)max);
    value_wrong(c, wants);
    return 0;
}

int64_t options_thousandths(struct cli *c, int64_t min, int64_t max)
{
    int64_t value = 0;
    char wants[80];

    if (argument_thousandths(c->value, &value) && value >= min * 1000 &&
        value <= max * 1000)
        return value;
    (void)snprintf(wants, sizeof(wants),
                   "a number from %lld to %lld with at most 3 decimals",
                   (long long)min, (long long)max);
    value_wrong(c, wants);
    return 0;
}

int64_t options_size(struct cli *c)
{
    int64_t value = 0;

    if (!argument_size(c->value, &value))
        value_wrong(c, ARGUMENT_WANTS_SIZE);
    return value;
}

void options_halt(struct cli *c, struct halt *out)
{
    if (!argument_halt(c->value, out))
        cli_usage(c, "--halt: '%s' is not %s", c->value, ARGUMENT_WANTS_HALT);
}

void options_halt_numbers(struct cli *c, int64_t *fail, int64_t *succeed)
{
    struct halt halt;

    options_halt(c, &halt);
    if (halt_is_share(&halt))
        cli_usage(c, ARGUMENT_HALT_PERCENT);
    halt_numbers(&halt, -1, fail, succeed);
}

void options_operands(struct cli *c, int min, int max)
{
    if (c->argc < min)
        cli_usage(c, "something is missing; it takes %s", c->verb->operands);
    if (max >= 0 && c->argc > max)
        cli_usage(c, "'%s' is one too many; it takes %s%s", c->argv[max],
                  max == 0 ? "no operands" : c->verb->operands,
                  c->argv[max][0] == '-' ? ", behind all options" : "");
}

/* Two columns within 80; what the left one is too long for goes into the next
 * line. */
static void help_row(const char *left, const char *help)
{
    int at = printf("  %-*s", HELP_LEFT, left);

    if (at > HELP_LEFT + 2) {
        putchar('\n');
        at = printf("%*s", HELP_LEFT + 2, "");
    }
    while (*help != '\0') {
        int len = (int)strcspn(help, " ");

        if (at + 1 + len > HELP_COLUMNS) {
            putchar('\n');
            at = printf("%*s", HELP_LEFT + 2, "");
        }
        at += printf(" %.*s", len, help);
        help += len;
        help += strspn(help, " ");
    }
    putchar('\n');
}

void options_help(const struct option_row *row)
{
    for (; row != NULL && row->id != 0; row++) {
        char left[64], letter[8] = "    ";

        if (row->id < 256)
            (void)snprintf(letter, sizeof(letter), "-%c, ", row->id);
        (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
                       row->value != NULL ? " " : "",
                       row->value != NULL ? row->value : "");
        help_row(left, row->help);
    }
}
