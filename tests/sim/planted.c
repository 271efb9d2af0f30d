/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * planted - is the simulation worth anything?
 *
 * Linked with a core and a ledger that have known bugs in them (base/plant.h).
 * Each bug in turn goes through the fixed seeds of the ordinary tests and has
 * to be found there; with none in force nothing may be found. Then, and for the
 * bug that makes hashes matter, each seed is run twice, the second time with
 * other hashes: all answers and records must be the same bytes. What no seed
 * meets a law of a unit has to find, with the same bug in force.
 *
 *     planted             all of them, and a table
 *     planted BUG SEED    one run, with its trace
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/plant.h"
#include "run.h"

#define SALT        UINT64_C(0x5851f42d4c957f2d)
#define TEXT        1024
#define CLEAN_SEEDS 12 /* of those without a bug; sim runs all */
#define SEED_S      20 /* of a processor: one that takes more runs in a circle */

enum { FOUND_NOTHING, FOUND_BY_LAW, FOUND_BY_MODEL = 3, FOUND_BY_ASSERTION };

static const struct {
    const char *name, *what;
    const char *program, *law; /* NULL: the seeds */
} plants[] = {[PLANT_NONE] = {"none", "nothing is wrong", NULL, NULL},
#define X(id, what) [PLANT_##id] = {#id, what, NULL, NULL},
              PLANTS(X)
#undef X
#define X(id, what, program, law) [PLANT_##id] = {#id, what, program, law},
                  LAW_PLANTS(X)
#undef X
};

static const char *folder = "."; /* of this program */

static uint64_t seed_now;

void violation(const char *fmt, ...)
{
    va_list ap;

    trace_print();
    fprintf(stderr, "%llu ", (unsigned long long)seed_now);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    _exit(FOUND_BY_MODEL);
}

static void on_abort(int signal)
{
    (void)signal;
    trace_print();
    fprintf(stderr, "%llu ", (unsigned long long)seed_now);
    _exit(FOUND_BY_ASSERTION);
}

static bool hashes_may_matter(void)
{
    return plant_now == PLANT_NONE || plant_now == PLANT_HASH_ORDER;
}

static void try_seed(uint64_t seed)
{
    struct itimerval limit = {.it_value = {.tv_sec = SEED_S}};
    struct run_result first, second;

    (void)setitimer(ITIMER_VIRTUAL, &limit, NULL); /* ends the process */
    seed_now = seed;
    plant_salt = 0;
    first = run_seed(seed, RUN_STEPS);
    if (!hashes_may_matter())
        return;
    plant_salt = SALT;
    second = run_seed(seed, RUN_STEPS);
    if (second.answers != first.answers && !first.by_buckets)
        violation("with other hashes the same seed has other answers");
}

static void try_seeds(enum plant plant, uint64_t first, uint64_t last)
{
    struct sigaction action = {.sa_handler = on_abort};

    (void)sigaction(SIGABRT, &action, NULL);
    plant_now = plant;
    for (uint64_t seed = first; seed <= last; seed++)
        try_seed(seed);
    _exit(FOUND_NOTHING);
}

/* All in one process: where each has its own most time goes there. What a law
 * that is broken leaves is no leak. */
static void try_laws(enum plant plant)
{
    char path[4096], number[16];

    (void)snprintf(path, sizeof(path), "%s/../unit/planted_%s", folder,
                   plants[plant].program);
    (void)snprintf(number, sizeof(number), "%d", (int)plant);
    (void)setenv("YOKE_PLANT", number, 1);
    (void)setenv("CK_FORK", "no", 1);
    (void)setenv("CK_VERBOSITY", "normal", 1);
    (void)setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    (void)execl(path, path, (char *)NULL);
    perror(path);
    _exit(2);
}

/* What a child wrote to stderr; at most TEXT - 1 bytes, the rest is dropped. */
static void collect(int fd, char text[TEXT])
{
    char more[256];
    size_t len = 0;

    for (;;) {
        ssize_t n = read(fd, more, sizeof(more));
        size_t keep;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        keep = (size_t)n < TEXT - 1 - len ? (size_t)n : TEXT - 1 - len;
        memcpy(text + len, more, keep);
        len += keep;
    }
    text[len] = '\0';
}

static int run_child(enum plant plant, char text[TEXT])
{
    int fds[2], status;
    pid_t pid;

    fflush(stdout);
    if (pipe(fds) != 0 || (pid = fork()) < 0) {
        perror("planted");
        exit(2);
    }
    if (pid == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        trace_on = false;
        if (plants[plant].program)
            try_laws(plant);
        try_seeds(plant, 1, plant == PLANT_NONE ? CLEAN_SEEDS : RUN_SEEDS);
    }
    (void)close(fds[1]);
    collect(fds[0], text);
    (void)close(fds[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            exit(2);
    if (plants[plant].law) /* those that are broken are named */
        return strstr(text, plants[plant].law) ? FOUND_BY_LAW : FOUND_NOTHING;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool report(enum plant plant, int found, const char *text)
{
    bool good = (found == FOUND_NOTHING) == (plant == PLANT_NONE);
    const char *by = found == FOUND_NOTHING        ? "not found"
                     : found == FOUND_BY_LAW       ? "by a law"
                     : found == FOUND_BY_MODEL     ? "by the model"
                     : found == FOUND_BY_ASSERTION ? "by an assertion"
                                                   : "by a crash or a hang";

    printf("%s %-22s %s\n", good ? "ok  " : "FAIL", plants[plant].name,
           plants[plant].what);
    if (found == FOUND_BY_MODEL)
        printf("       seed %s\n", text);
    else if (found == FOUND_BY_LAW)
        printf("       %s: %s\n", by, plants[plant].law);
    else if (found != FOUND_NOTHING || plant != PLANT_NONE)
        printf("       %s: %s\n", by, text);
    return good;
}

/* One run with its trace, for people. */
static int run_one(const char *name, const char *seed)
{
    for (int i = 0; i < PLANT_COUNT; i++)
        if (strcmp(plants[i].name, name) == 0)
            try_seeds((enum plant)i, strtoull(seed, NULL, 10),
                      strtoull(seed, NULL, 10));
    fprintf(stderr, "planted: no bug '%s'\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    char text[TEXT], *slash = strrchr(argv[0], '/');
    int good = 0, bad = 0;

    if (argc == 3)
        return run_one(argv[1], argv[2]);
    if (argc != 1) {
        fprintf(stderr, "usage: planted [BUG SEED]\n");
        return 2;
    }
    if (slash) {
        *slash = '\0';
        folder = argv[0];
    }
    for (int i = 0; i < PLANT_COUNT; i++) {
        if (report((enum plant)i, run_child((enum plant)i, text), text))
            good++;
        else
            bad++;
    }
    printf("%d passed, %d failed\n", good, bad);
    return bad != 0;
}
