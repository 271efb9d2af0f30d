/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "server/arguments.h"

#include <getopt.h>
#include <unistd.h>

#ifndef YOKE_SYSCONFDIR
#define YOKE_SYSCONFDIR "/etc"
#endif

#define DEFAULT_FILE YOKE_SYSCONFDIR "/yoke/yoked.ini"

static void print_help(void)
{
    printf(
        "Usage: yoked [OPTION]...\n"
        "The daemon of the yoke job queue. It stays in the foreground.\n"
        "\n"
        "  -c, --config FILE        read FILE instead of\n"
        "                           " DEFAULT_FILE "\n"
        "  -o, --option SECTION.KEY=VALUE\n"
        "                           this setting, whatever the file says\n"
        "      --check-config       say what is wrong with the "
        "configuration\n"
        "      --verify-journal DIR say what is damaged in a journal, and\n"
        "                           what it holds\n"
        "      --list-jobs          each group and job of it, too\n"
        "      --repair DIR         keep what is whole of a damaged journal;\n"
        "                           the old one stays beside it\n"
        "      --restore DIR        copy a backup to where the journal will\n"
        "                           be; there must be none yet\n"
        "      --version            print the version\n"
        "      --help               print this\n"
        "\n"
        "SIGTERM stops (twice: at once), SIGHUP reads the configuration "
        "again.\n"
        "Exit status: 0 stopped as asked, 1 failed, 2 wrong command line "
        "or\nconfiguration, 3 the journal is damaged.\n");
}

static int refuse(const char *what)
{
    fprintf(stderr, "yoked: %s. Try 'yoked --help'.\n", what);
    return EXIT_USAGE;
}

enum {
    OPTION_CHECK = 256,
    OPTION_VERIFY,
    OPTION_LIST,
    OPTION_REPAIR,
    OPTION_RESTORE,
    OPTION_VERSION,
    OPTION_HELP
};

static enum arguments_task task_of(int option)
{
    return option == OPTION_CHECK    ? TASK_CHECK_CONFIG
           : option == OPTION_VERIFY ? TASK_VERIFY
           : option == OPTION_REPAIR ? TASK_REPAIR
                                     : TASK_RESTORE;
}

/* -1: go on. */
static int take(struct arguments *a, int option, const char *value)
{
    switch (option) {
    case 'c':
        a->file = value;
        return -1;
    case 'o':
        if (a->noverrides == ARGUMENTS_OVERRIDES_MAX) {
            fprintf(stderr, "yoked: at most %d times -o\n",
                    ARGUMENTS_OVERRIDES_MAX);
            return EXIT_USAGE;
        }
        a->overrides[a->noverrides++] = value;
        return -1;
    case OPTION_CHECK:
    case OPTION_VERIFY:
    case OPTION_REPAIR:
    case OPTION_RESTORE:
        if (a->task != TASK_RUN)
            return refuse("--check-config, --verify-journal, --repair and "
                          "--restore go alone");
        if (value && !*value)
            return refuse("the directory has no name");
        a->task = task_of(option);
        a->dir = value;
        return -1;
    case OPTION_LIST:
        a->list = true;
        return -1;
    case OPTION_VERSION:
        printf("yoked %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    case OPTION_HELP:
        print_help();
        return EXIT_SUCCESS;
    default:
        fprintf(stderr, "Try 'yoked --help'.\n");
        return EXIT_USAGE;
    }
}

int arguments_read(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"option", required_argument, NULL, 'o'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"verify-journal", required_argument, NULL, OPTION_VERIFY},
        {"list-jobs", no_argument, NULL, OPTION_LIST},
        {"repair", required_argument, NULL, OPTION_REPAIR},
        {"restore", required_argument, NULL, OPTION_RESTORE},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    int option, status;

    *out = (struct arguments){.task = TASK_RUN};
    while ((option = getopt_long(argc, argv, "c:o:", options, NULL)) >= 0) {
        status = take(out, option, optarg);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        fprintf(stderr, "yoked: '%s' is not an option. Try 'yoked --help'.\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    if (out->list && out->task != TASK_VERIFY)
        return refuse("--list-jobs goes with --verify-journal");
    if (!out->file && access(DEFAULT_FILE, F_OK) == 0)
        out->file = DEFAULT_FILE;
    return -1;
}
