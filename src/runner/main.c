/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * yoke-runner - the worker that ships with yoke: runs jobs as processes.
 */
#include "runner/memory.h"
#include "runner/message.h"
#include "runner/password.h"
#include "runner/runner.h"
#include "runner/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <yoke.h>

#define EXIT_USAGE 2

/* What the command line says. */
struct arguments {
    const char *address, *config, *name, *slots, *password_file;
    const char **overrides, **queues;
    size_t noverrides, nqueues;
    int fd;
    bool allow_commands, check;
};

static void print_help(void)
{
    printf("Usage: yoke-runner [options]\n"
           "Fetches jobs from a yoke daemon and runs them as processes.\n"
           "\n"
           "  --connect ADDRESS    the daemon: /path/to/socket, host:port\n"
           "                       (default: $YOKE_SERVER, else %s)\n"
           "  --fd N               use this connected socket; end with it\n"
           "  --files N            jobs may have N open files (default: as "
           "started)\n"
           "  -c, --config FILE    read [runner] and [run QUEUE] from FILE\n"
           "  -o SECTION.KEY=VALUE set one value, over the file's\n"
           "  --check-config       check the configuration and end\n"
           "  --name NAME          shown by CLIENT LIST (default: the host's)\n"
           "  --slots N            jobs at once (default: processors)\n"
           "  --queue NAME         serve this queue alone (may be repeated)\n"
           "  --allow-commands     run the command lines that payloads carry\n"
           "  --password-file FILE authenticate with the first line of FILE\n"
           "  --version, --help\n"
           "\n"
           "TERM lets jobs go on for a while, and takes no others; a second "
           "TERM,\n"
           "or INT, stops: jobs are asked to stop, given back, and run "
           "elsewhere;\n"
           "the next one kills them. HUP reads the configuration again. See\n"
           "yoke-runner(8).\n",
           YOKE_SOCKET);
}

static const char **add(const char **list, size_t *n, const char *text)
{
    list = memory_resize(list, *n + 1, sizeof(*list));
    list[(*n)++] = text;
    return list;
}

/* A check only asks what would be, and has no such descriptor. */
static bool parse_fd(const char *text, bool check, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 3 || n > 1 << 20 ||
        (!check && fcntl((int)n, F_GETFD) < 0))
        return false;
    *out = (int)n;
    return true;
}

/* The limit that we begin with is that of jobs; we raise our own. */
static bool set_files(const char *text)
{
    struct rlimit limit;
    char *end;
    long long n = strtoll(text, &end, 10);

    if (end == text || *end || n < 16 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    limit.rlim_cur = (rlim_t)n;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

enum {
    OPT_CONNECT = 256,
    OPT_FD,
    OPT_FILES,
    OPT_CHECK,
    OPT_NAME,
    OPT_SLOTS,
    OPT_QUEUE,
    OPT_ALLOW,
    OPT_PASSWORD,
    OPT_VERSION,
    OPT_HELP
};

/* -1 to go on, else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"connect", required_argument, NULL, OPT_CONNECT},
        {"fd", required_argument, NULL, OPT_FD},
        {"files", required_argument, NULL, OPT_FILES},
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPT_CHECK},
        {"name", required_argument, NULL, OPT_NAME},
        {"slots", required_argument, NULL, OPT_SLOTS},
        {"queue", required_argument, NULL, OPT_QUEUE},
        {"allow-commands", no_argument, NULL, OPT_ALLOW},
        {"password-file", required_argument, NULL, OPT_PASSWORD},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:o:h", options, NULL)) >= 0) {
        switch (c) {
        case OPT_CONNECT:
            a->address = optarg;
            break;
        case OPT_FD:
            if (!parse_fd(optarg, a->check, &a->fd)) {
                fprintf(stderr,
                        "yoke-runner: --fd %s: expected the number of "
                        "an open descriptor above 2\n",
                        optarg);
                return EXIT_USAGE;
            }
            break;
        case OPT_FILES:
            if (!set_files(optarg)) {
                fprintf(stderr,
                        "yoke-runner: --files %s: expected a number from 16 "
                        "to the hard limit of open files\n",
                        optarg);
                return EXIT_USAGE;
            }
            break;
        case 'c':
            a->config = optarg;
            break;
        case 'o':
            a->overrides = add(a->overrides, &a->noverrides, optarg);
            break;
        case OPT_CHECK:
            a->check = true;
            break;
        case OPT_NAME:
            a->name = optarg;
            break;
        case OPT_SLOTS:
            a->slots = optarg;
            break;
        case OPT_QUEUE:
            a->queues = add(a->queues, &a->nqueues, optarg);
            break;
        case OPT_ALLOW:
            a->allow_commands = true;
            break;
        case OPT_PASSWORD:
            a->password_file = optarg;
            break;
        case OPT_VERSION:
            printf("yoke-runner %s\n", yoke_version());
            return 0;
        case OPT_HELP:
        case 'h':
            print_help();
            return 0;
        default:
            fprintf(stderr, "Try yoke-runner --help.\n");
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "yoke-runner: unexpected argument '%s'; try --help\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

/* An option that stands for a setting. */
static int override(struct settings *s, const char *key, const char *value,
                    char *why)
{
    struct buffer text = {0};
    int rc;

    if (!value)
        return 0;
    buffer_append(&text, key, strlen(key));
    buffer_append(&text, value, strlen(value) + 1);
    rc = settings_override(s, text.data, why);
    buffer_clear(&text);
    return rc;
}

static int fill_settings(const struct arguments *a, struct settings *s,
                         char *why)
{
    int rc = a->config ? settings_load(s, a->config, why) : 0;

    for (size_t i = 0; i < a->noverrides && rc == 0; i++)
        rc = settings_override(s, a->overrides[i], why);
    if (rc == 0)
        rc = override(s, "runner.name=", a->name, why);
    if (rc == 0)
        rc = override(s, "runner.slots=", a->slots, why);
    if (rc == 0)
        rc = override(
            s, "runner.allow-commands=", a->allow_commands ? "yes" : NULL, why);
    if (rc == 0)
        rc = settings_finish(s, a->queues, a->nqueues, why);
    /* With --fd a check is for a runner that somebody will start. */
    if (rc == 0 && s->nqueues == 0 && !(a->check && a->fd < 0)) {
        (void)snprintf(why, SETTINGS_WHY_SIZE,
                       "there is no queue to serve; expected a [run QUEUE] "
                       "section, or [runner] allow-commands = yes "
                       "(--allow-commands)");
        rc = -EINVAL;
    }
    return rc;
}

/* What the file and the command line say now; NULL with a sentence. */
static struct settings *make_settings(void *arg, char *why)
{
    const struct arguments *a = arg;
    struct settings *s = settings_new();

    if (fill_settings(a, s, why) == 0)
        return s;
    settings_release(s);
    return NULL;
}

/* Nothing of who started us: descriptors 0-2 open, default signals (PIPE is
 * ignored: a log that nobody reads is no reason to end), and none blocked but
 * HUP, which waits until it can be taken: whoever changes the settings need not
 * know how far we are. */
static bool clean_process(void)
{
    sigset_t hangup;
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd < 3);
    if (fd < 0)
        return false;
    close(fd);
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL); /* KILL, STOP and two others refuse */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_SETMASK, &hangup, NULL);
    return true;
}

/* What the arguments ask for; with a warden above us, or only a check. */
static int run(struct warden_link *warden, void *arg)
{
    const struct arguments *a = arg;
    struct runner_options options = {.load = make_settings,
                                     .arg = arg,
                                     .address = a->address,
                                     .password_file = a->password_file,
                                     .fd = a->fd,
                                     .warden = warden};
    struct settings *settings;
    char why[SETTINGS_WHY_SIZE];
    int status = -1;

    settings = make_settings(arg, why);
    if (!settings) {
        fprintf(stderr, "yoke-runner: %s\n", why);
        status = EXIT_USAGE;
    } else if (a->check) {
        status = 0;
    }
    if (status < 0 && a->password_file &&
        password_check(a->password_file, why, sizeof(why)) < 0) {
        message_error("%s", why);
        status = EXIT_USAGE;
    }
    if (status < 0) {
        if (a->fd >= 0)
            (void)fcntl(a->fd, F_SETFD, FD_CLOEXEC);
        status = runner_main(&options, settings);
        settings = NULL;
    }
    settings_release(settings);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a = {.fd = -1};
    int status;

    if (!clean_process())
        return 1;
    status = parse_arguments(argc, argv, &a);
    /* Who hands a connection over says what belongs to it. */
    if (!a.password_file && a.fd < 0)
        a.password_file = getenv(YOKE_ENV_PASSWORD_FILE);
    if (a.password_file && !*a.password_file)
        a.password_file = NULL;
    if (status < 0 && a.check)
        status = run(NULL, &a);
    else if (status < 0)
        status = warden_main(
            &(struct warden_plan){.run = run, .arg = &a, .fd = a.fd});
    free(a.overrides);
    free(a.queues);
    return status;
}
