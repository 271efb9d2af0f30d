/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * settings - what the administrator decides, from a file and from options.
 *
 * Knows:     the sections [runner] and [run QUEUE] of yoked.ini(5). All other
 *            sections belong to yoked and are skipped.
 * Errors:    0, or -errno with a sentence in `why` that names the file and
 *            line (or the option), what is wrong and what would be right.
 */
#ifndef RUNNER_SETTINGS_H
#define RUNNER_SETTINGS_H

#include "runner/attributes.h"
#include "runner/cgroup.h"
#include "runner/command.h"
#include "runner/ending.h"
#include "runner/environment.h"
#include "runner/logbook.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SETTINGS_WHY_SIZE   512
#define SETTINGS_NAME_MAX   64
#define SETTINGS_QUEUES_MAX 256

/*
 * The keys of [runner]: name, member, type, default as text (NULL: none),
 * least and most (of text: bytes; of words: words).
 */
#define SETTINGS_RUNNER(X)                                                    \
    X("start", start, BOOL, "no", 0, 0)                                       \
    X("name", name, TEXT, "", 0, SETTINGS_NAME_MAX)                           \
    X("slots", slots, COUNT, "0", 0, 4096)                                    \
    X("allow-commands", allow_commands, BOOL, "no", 0, 0)                     \
    X("command-queues", command_queues, WORDS, "run", 0, SETTINGS_QUEUES_MAX) \
    X("cgroup", cgroup, TEXT, "auto", 1, 4000)                                \
    X("result-max", result_max, SIZE, "1M", 0, 1 << 30)                       \
    X("drain", drain_ms, DURATION, "30s", 0, 86400000)                        \
    X("stop-grace", stop_grace_ms, DURATION, "10s", 0, 86400000)              \
    X("pass-env", pass_env, WORDS, "", 0, 1000)                               \
    X("umask", umask_bits, OCTAL, "022", 0, 0777)                             \
    X("log-level", log_level, TEXT, "info", 4, 5)

/* The keys of [run QUEUE]. */
#define SETTINGS_RUN(X)                                                        \
    X("command", command, ARGV, "", 1, COMMAND_WORDS_MAX)                      \
    X("dir", dir, TEXT, "", 0, 4000)                                           \
    X("slots", slots, COUNT, "0", 0, 4096)                                     \
    X("pool", pool, COUNT, "0", 0, 256)                                        \
    X("pool-jobs-max", pool_jobs_max, COUNT, "0", 0, 1LL << 50)                \
    X("pool-memory-max", pool_memory_max, SIZE, "0", 0, 1LL << 50)             \
    X("user", user, TEXT, "", 0, 256)                                          \
    X("group", group, TEXT, "", 0, 256)                                        \
    X("umask", umask_bits, OCTAL, NULL, 0, 0777)                               \
    X("pass-env", pass_env, WORDS, NULL, 0, 1000)                              \
    X("pass-password", pass_password, BOOL, "no", 0, 0)                        \
    X("nice", attributes.nice, INTEGER, NULL, -20, 19)                         \
    X("ionice", attributes.ionice, IONICE, NULL, 0, 0)                         \
    X("rlimits", attributes.limits, LIMITS, "", 0, 0)                          \
    X("no-new-privileges", attributes.no_new_privileges, BOOL, "no", 0, 0)     \
    X("private-tmp", attributes.private_tmp, BOOL, "no", 0, 0)                 \
    X("private-tmp-max", attributes.tmp_max, SIZE, "256M", 1 << 20, 1LL << 50) \
    X("private-pids", attributes.private_pids, BOOL, "no", 0, 0)               \
    X("memory-max", bounds.of[CGROUP_MEMORY], SIZE_BOUND, NULL, 1 << 20,       \
      1LL << 50)                                                               \
    X("pids-max", bounds.of[CGROUP_PIDS], COUNT_BOUND, NULL, 1, 1 << 22)       \
    X("cpu-max", bounds.of[CGROUP_CPU], PERCENT_BOUND, NULL, 1, 1000000)       \
    X("success-exit", success_exit, CODES, "", 0, 0)                           \
    X("result", result, RESULT, "stdout", 0, 0)                                \
    X("stop-signals", stop_signals, LADDER, NULL, 0, 0)                        \
    X("log-file", logging.file, TEXT, "", 0, 4000)                             \
    X("log-file-max", logging.file_max, SIZE, "10M", 4096, 1LL << 40)          \
    X("log-files", logging.files, COUNT, "5", 0, LOGBOOK_FILES_MAX)            \
    X("log-journal", logging.journal, BOOL, "no", 0, 0)

/* Where the result of a job comes from. */
enum settings_result {
    SETTINGS_STDOUT,
    SETTINGS_FILE, /* that YOKE_RESULT names */
    SETTINGS_FD3
};

/* A queue whose jobs are served. */
struct settings_queue {
    char name[SETTINGS_NAME_MAX + 1];
    struct command command;  /* argc 0: payloads carry command lines */
    char *dir;               /* "" or an absolute path */
    int64_t slots;           /* most of its jobs at once; 0: no own bound */
    int64_t pool;            /* processes that serve it; 0: one for each job */
    int64_t pool_jobs_max;   /* that one of them serves; 0: any number */
    int64_t pool_memory_max; /* bytes at which one is replaced; 0: never */
    char *user, *group;      /* "": none was named */
    int64_t umask_bits;      /* finished: the runner's, if none was given */
    struct command pass_env;
    bool has_pass_env; /* it counts, and not the runner's */
    bool pass_password;
    /* Its account is settings_finish's. */
    struct attributes attributes;
    struct cgroup_bounds bounds;
    struct ending_codes success_exit; /* beside 0 */
    struct ending_ladder stop_signals;
    enum settings_result result;
    struct logbook_settings logging;
    unsigned seen; /* which keys the file has set */

    /* Of settings_finish. */
    bool has_attributes;            /* there is something to set */
    struct logbook *logbook;        /* of `logging`; NULL: none */
    struct environment environment; /* what its jobs get of ours */
};

/* What is in force; the jobs that started under it keep it. */
struct settings {
    size_t holders;
    bool start;    /* read by yoked alone */
    char *name;    /* "": the host's name */
    int64_t slots; /* 0: as many as there are processors */
    bool allow_commands;
    struct command command_queues; /* argv: names */
    char *cgroup;                  /* auto, off, or a directory */
    int64_t result_max;
    int64_t drain_ms, stop_grace_ms;
    struct command pass_env; /* argv: names; a * at the end stands for all */
    int64_t umask_bits;
    char *log_level;
    unsigned seen; /* which keys of [runner] the file has set */

    struct settings_queue *queues; /* in the order of the file */
    size_t nqueues;
};

/* The defaults. */
void settings_init(struct settings *s);
void settings_clear(struct settings *s);

/* The defaults, held once; freed when the last holder lets go. */
struct settings *settings_new(void);
struct settings *settings_hold(struct settings *s);
/* NULL is allowed. */
void settings_release(struct settings *s);

int settings_load(struct settings *s, const char *file, char *why);
/* "section.key=value", as after -o; overrides the file. */
int settings_override(struct settings *s, const char *text, char *why);
/*
 * Serve these queues alone (n 0: those of the file and of command-queues), and
 * check that every queue served has something to run, as somebody that we can
 * become. Fills in name and slots where they were left to the machine, and what
 * the queues' jobs get of our environment.
 */
int settings_finish(struct settings *s, const char *const *queues, size_t n,
                    char *why);
/*
 * Settings that are to follow others while the runner goes on: what holds from
 * its start on is taken from those. Puts the names of the keys that were to be
 * something else into `names`, separated by blanks; "" if there is none.
 */
void settings_keep_fixed(struct settings *s, const struct settings *before,
                         char *names, size_t size);
/* The queue of that name, NULL if it is not served. */
const struct settings_queue *settings_queue_find(const struct settings *s,
                                                 const char *name);
/* Whether a name may be that of a queue. */
bool settings_queue_name_ok(const char *name);

#endif
