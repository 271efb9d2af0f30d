/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf - what the administrator set: yoked.ini and -o options.
 *
 * Knows:     every setting of yoked, its default, its bounds (CONF_SETTINGS,
 *            the only place), and the sections that belong to yoke-runner.
 * Never:     opens what a setting names, changes a running daemon, logs.
 * Errors:    0 or -errno; every mistake is one line of text that names the
 *            file, the line, what is wrong and what would be right.
 *
 * Durations are plain milliseconds or have a suffix (ms s m h d), sizes plain
 * bytes or a suffix (K M G T, powers of 1024).
 */
#ifndef YOKE_CONF_H
#define YOKE_CONF_H

#include "base/buf.h"
#include "base/log.h"
#include "core/core.h"
#include "store/store.h"

#define CONF_LISTEN_MAX   16
#define CONF_FILE_MAX     (1024 * 1024) /* bytes of a configuration file */
#define CONF_SECTION_MAX  49            /* inih cuts longer names silently */
#define CONF_PATH_MAX     4095
#define CONF_SOCKET_MAX   107 /* what sockaddr_un takes */
#define CONF_ADDRESS_SIZE 64  /* of the text of one */
#define CONF_PORT_DEFAULT 9653

#define CONF_K      INT64_C(1024)
#define CONF_M      (1024 * CONF_K)
#define CONF_G      (1024 * CONF_M)
#define CONF_T      (1024 * CONF_G)
#define CONF_S      INT64_C(1000)
#define CONF_MINUTE (60 * CONF_S)
#define CONF_H      (60 * CONF_MINUTE)
#define CONF_D      (24 * CONF_H)

enum conf_kind {
    CONF_INT,     /* int64_t */
    CONF_TIME,    /* int64_t, milliseconds */
    CONF_TIME_OR, /* the same, or none: CORE_NONE */
    CONF_SIZE,    /* int64_t, bytes */
    CONF_SIZE_OR, /* the same, or none: CORE_NONE */
    CONF_MODE,    /* int64_t, written in octal */
    CONF_YESNO,   /* bool */
    CONF_LEVEL,   /* enum log_level */
    CONF_STORE,   /* enum conf_store */
    CONF_SYNC,    /* enum store_sync */
    CONF_PATH,    /* char *; absolute; none (NULL) if min is 0; max bytes */
    CONF_NAME,    /* char *; none (NULL) if min is 0; max bytes */
    CONF_LISTEN,  /* struct conf_listen; max addresses */
    CONF_DECIMAL, /* int64_t, thousandths */
    CONF_CLASSES, /* struct str: globs of classes; none: empty; max bytes */
    CONF_FLAG,    /* int64_t, 0 or 1, written no or yes */
    CONF_INT_OR,  /* int64_t, or none: CORE_NONE */
    CONF_RATE, /* struct conf_rate; none: 0 and 0; min and max are those of n */
};

enum conf_store { CONF_STORE_JOURNAL, CONF_STORE_MEMORY };

/* When a change of the file takes effect. */
enum conf_apply { CONF_RELOAD, CONF_RESTART };

/* section, key, member of struct conf, kind, default, min, max, when a change
 * takes effect, help */
/* clang-format off */
#define CONF_SETTINGS(X)                                                       \
    X("daemon", "listen", listen, LISTEN, "127.0.0.1:9653 [::1]:9653",         \
      0, CONF_LISTEN_MAX, RESTART,                                             \
      "TCP addresses to listen on, separated by blanks; none: no TCP. "        \
      "Addresses other than loopback need a password-file.")                   \
    X("daemon", "socket", socket, PATH, "/run/yoke/yoked.sock",                \
      0, CONF_SOCKET_MAX, RESTART,                                             \
      "Unix socket to listen on; none: no Unix socket.")                       \
    X("daemon", "socket-mode", socket_mode, MODE, "0660", 0600, 0777, RESTART, \
      "Permissions of the Unix socket, in octal.")                             \
    X("daemon", "socket-group", socket_group, NAME, "none", 0, 64, RESTART,    \
      "Group that owns the Unix socket; none: the daemon's own group.")        \
    X("daemon", "password-file", password_file, PATH, "none",                  \
      0, CONF_PATH_MAX, RELOAD,                                                \
      "File whose first line is the password that every client must give "     \
      "first; not readable by group and others. none: no password.")           \
    X("daemon", "state-dir", state_dir, PATH, "/var/lib/yoke",                 \
      1, CONF_PATH_MAX, RESTART,                                               \
      "Directory of the journal; made if its parent exists.")                  \
    X("daemon", "log-level", log_level, LEVEL, "info", 0, 0, RELOAD,           \
      "Least important messages to log: error, warn, info or debug.")          \
    X("daemon", "clients-max", clients_max, INT, "10000", 1, 1000000, RESTART, \
      "Connections at the same time; more are refused with LIMIT.")            \
    X("daemon", "output-max", output_max, SIZE, "64M", CONF_M, 4 * CONF_G,     \
      RESTART,                                                                 \
      "Replies waiting for one client that does not read them; beyond that "   \
      "it is disconnected.")                                                   \
    X("daemon", "unread-messages-max", unread_messages_max, SIZE, "64M",       \
      CONF_M, CONF_T, RESTART,                                                 \
      "Messages that all subscribers together leave unread; beyond that "      \
      "whoever leaves most is disconnected.")                                  \
    X("daemon", "subscriptions-max", subscriptions_max, INT, "100000",         \
      0, 10000000, RESTART,                                                    \
      "Subscriptions to channels of events, all clients together.")            \
    X("daemon", "client-subscriptions-max", client_subscriptions_max, INT,     \
      "1024", 0, 10000000, RESTART, "Subscriptions of one client.")            \
    X("daemon", "patterns-max", patterns_max, INT, "256", 0, 100000, RESTART,  \
      "Different patterns among them; every event is compared with each.")     \
    X("journal", "store", store, STORE, "journal", 0, 0, RESTART,              \
      "journal: files in state-dir. memory: nothing survives a restart.")      \
    X("journal", "sync", sync, SYNC, "always", 0, 0, RESTART,                  \
      "When what was acknowledged is on the disk: always = before the reply, " \
      "interval = within sync-interval, never = when the kernel likes.")       \
    X("journal", "sync-interval", sync_interval_ms, TIME, "1s",                \
      1, CONF_H, RESTART,                                                      \
      "Time between syncs, with sync = interval.")                             \
    X("journal", "segment-size", segment_size, SIZE, "64M",                    \
      CONF_M, CONF_G, RESTART,                                                 \
      "Size of one file of the journal.")                                      \
    X("journal", "disk-max", disk_max, SIZE_OR, "none",                        \
      5 * CONF_M, 1024 * CONF_T, RELOAD,                                       \
      "Most bytes of all its files; then it is as if the disk were full; "     \
      "none: no bound. At least five times segment-size.")                     \
    X("journal", "backup-idle", backup_idle_ms, TIME, "5m",                    \
      CONF_S, CONF_D, RELOAD,                                                  \
      "A backup whose client is silent for so long is broken off.")            \
    X("limits", "payload-max", limits.payload_max, SIZE, "1M",                 \
      1, 8 * CONF_M, RELOAD,                                                   \
      "Most bytes of the payload of one job.")                                 \
    X("limits", "result-max", limits.result_max, SIZE, "1M",                   \
      0, 8 * CONF_M, RELOAD,                                                   \
      "Most bytes of the result of one job.")                                  \
    X("limits", "memory-max", limits.memory_max, SIZE, "1G",                   \
      CONF_M, 16 * CONF_T, RELOAD,                                             \
      "Memory for jobs, results and logs. Beyond three quarters of it "        \
      "payloads are in the journal only; at the limit submits get OOM.")       \
    X("limits", "queues-max", limits.queues_max, INT, "1024",                  \
      1, 1000000, RELOAD, "Number of queues.")                                 \
    X("limits", "limiters-max", limits.limiters_max, INT, "1024",              \
      1, 1000000, RELOAD, "Number of limiters.")                               \
    X("limits", "groups-max", limits.groups_max, INT, "100000",                \
      1, 100000000, RELOAD, "Number of groups, ended ones that are kept "      \
      "included.")                                                             \
    X("limits", "members-max", limits.members_max, INT, "1000000",             \
      1, 1000000000, RELOAD, "Members of one group.")                          \
    X("limits", "depth-max", limits.depth_max, INT, "64", 1, 256, RELOAD,      \
      "Depth of the tree of groups and jobs.")                                 \
    X("limits", "retain-jobs", limits.retain_jobs, INT, "100000",              \
      1, 100000000, RELOAD,                                                    \
      "Ended jobs kept, all queues together; beyond that the oldest are "      \
      "forgotten.")                                                            \
    X("limits", "retain-bytes", limits.retain_bytes, SIZE, "256M",             \
      64 * CONF_K, 16 * CONF_T, RELOAD,                                        \
      "Bytes of ended jobs kept, all queues together.")                        \
    X("limits", "log-max", limits.log_max, SIZE, "1M", 0, CONF_G, RELOAD,      \
      "Output kept of one job; beyond that the oldest is dropped.")            \
    X("limits", "logs-max", limits.logs_max, SIZE, "64M",                      \
      0, 16 * CONF_T, RELOAD,                                                  \
      "Output kept of all jobs together, each piece with 41 bytes more; beyond " \
      "that the job that printed first loses its output.")                     \
    X("limits", "lease", limits.lease_ms, TIME, "30s", 100, CONF_D, RELOAD,    \
      "A worker that is silent for so long has lost its jobs.")                \
    X("limits", "session-grace", limits.session_grace_ms, TIME, "10s",         \
      0, CONF_D, RELOAD,                                                       \
      "A client whose connection broke has so long to come back before what "  \
      "it owns is cancelled.")                                                 \
    X("limits", "keep-max", limits.keep_max_ms, TIME, "30d",                   \
      CONF_S, 3650 * CONF_D, RELOAD,                                           \
      "Longest time an outcome may be kept, whatever a client asks for.")      \
    X("limits", "detach", limits.detach, YESNO, "yes", 0, 0, RELOAD,           \
      "Whether a group in the root group may outlive the session that opened " \
      "it (DETACHED); one in another group or job always may, for it ends "    \
      "with that.")                                                            \
    X("limits", "shield-max", limits.shield_max_ms, TIME, "1m",                \
      0, CONF_D, RELOAD,                                                       \
      "Longest time for which a job may keep cancels from outside back.")      \
    X("queue", "max-jobs", limits.queue_defaults.max_jobs, INT, "100000",      \
      1, 1000000000, RELOAD,                                                   \
      "Jobs that have not started; a full queue makes producers wait.")        \
    X("queue", "max-bytes", limits.queue_defaults.max_bytes, SIZE, "256M",     \
      1, 16 * CONF_T, RELOAD, "Bytes of their payloads.")                      \
    X("queue", "timeout", limits.queue_defaults.timeout_ms, TIME_OR, "none",   \
      1, 3650 * CONF_D, RELOAD, "Most time of one attempt; none: no limit.")   \
    X("queue", "grace", limits.queue_defaults.grace_ms, TIME, "10s",           \
      0, CONF_D, RELOAD,                                                       \
      "Time between asking a job to stop and killing it.")                     \
    X("queue", "retry", limits.queue_defaults.retry, INT, "1",                 \
      1, 1000, RELOAD, "Attempts in all of a job that fails.")              \
    X("queue", "redeliver", limits.queue_defaults.redeliver, INT, "3",         \
      0, 1000, RELOAD,                                                         \
      "Attempts that may be lost with their worker and are run again.")        \
    X("queue", "keep", limits.queue_defaults.keep_ms, TIME, "1h",              \
      0, 3650 * CONF_D, RELOAD, "How long an outcome is kept.")                \
    X("queue", "wait", limits.queue_defaults.wait_ms, TIME_OR, "none",         \
      0, 3650 * CONF_D, RELOAD,                                                \
      "How long a producer waits for room in a full queue; none: for ever, "   \
      "0: not at all.")                                                        \
    X("queue", "dead-keep", limits.queue_defaults.dead_keep_ms, TIME, "7d",    \
      0, 3650 * CONF_D, RELOAD,                                                \
      "How long a job that failed for good is kept with its payload, to be "   \
      "retried; keep holds if it is longer, keep-max if it is shorter.")       \
    X("queue", "backoff", limits.queue_defaults.backoff_base_ms, TIME, "1s",   \
      0, 3650 * CONF_D, RELOAD,                                                \
      "Delay before the second attempt of a job that failed.")                 \
    X("queue", "backoff-cap", limits.queue_defaults.backoff_cap_ms, TIME,      \
      "1m", 0, 3650 * CONF_D, RELOAD, "Longest delay before an attempt.")      \
    X("queue", "factor", limits.queue_defaults.factor_milli, DECIMAL, "2",     \
      CORE_FACTOR_MIN, CORE_FACTOR_MAX, RELOAD,                                \
      "By how much the delay grows with each attempt, with at most three "     \
      "decimals.")                                                             \
    X("queue", "jitter", limits.queue_defaults.jitter, INT, "100",             \
      0, 100, RELOAD,                                                          \
      "Percent of the delay that are up to chance, half of it upward.")        \
    X("queue", "retry-on", limits.queue_defaults.retry_on, CLASSES, "none",    \
      0, CORE_RETRY_ON_MAX, RELOAD,                                            \
      "Classes of errors that are tried again, or globs of them, separated "   \
      "by commas; none: all but cancelled, deadline and expired.")             \
    X("queue", "expires", limits.queue_defaults.expires_ms, TIME_OR, "none",   \
      1, 3650 * CONF_D, RELOAD,                                                \
      "Most time queued before the first start; none: no limit.")              \
    X("queue", "priority", limits.queue_defaults.priority, INT, "4",           \
      0, CORE_PRIORITIES - 1, RELOAD, "Priority of jobs; higher goes first.")  \
    X("queue", "fair", limits.queue_defaults.fair, FLAG, "no", 0, 1, RELOAD,   \
      "Whether the groups of its jobs take turns within a priority.")          \
    X("runner", "start", runner_start, YESNO, "no", 0, 0, RESTART,             \
      "Whether yoked starts a yoke-runner of its own on this machine.")        \
    X("runner", "stop-grace", runner_stop_grace_ms, TIME, "10s", 0, CONF_D,    \
      RELOAD,                                                                  \
      "Time that jobs get to end when the runner is stopped.")

/* Of [limiter NAME], which has no section without a name; the member is one of
 * struct conf_limiter. */
#define CONF_LIMITER_SETTINGS(X)                                               \
    X("limiter", "permits", permits, INT_OR, "none", 0, CORE_PERMITS_MAX,      \
      RELOAD,                                                                  \
      "Permits that jobs hold while they run; none: no bound, 0: nothing "     \
      "starts.")                                                               \
    X("limiter", "rate", rate, RATE, "none", 1, CORE_RATE_MAX, RELOAD,         \
      "Most starts in an interval, such as 10/1s; none: no bound.")
/* clang-format on */

/* A row of the list. */
struct conf_setting {
    const char *section, *key;
    size_t offset; /* in struct conf */
    enum conf_kind kind;
    const char *preset; /* the default, as it would be written */
    int64_t min, max;
    enum conf_apply apply;
    const char *help;
};

/* Numeric, with its port: "127.0.0.1:9653", "[::1]:9653". */
struct conf_address {
    char text[CONF_ADDRESS_SIZE];
    bool loopback;
};

struct conf_listen {
    struct conf_address list[CONF_LISTEN_MAX];
    size_t len;
};

/* A [queue NAME] section. CORE_UNSET where nothing was said. */
struct conf_queue {
    char name[CORE_QUEUE_NAME_MAX + 1];
    struct queue_settings settings;
};

/* So many starts in each interval. */
struct conf_rate {
    int64_t n, ms;
};

/* A [limiter NAME] section, likewise. */
struct conf_limiter {
    char name[CORE_LIMITER_NAME_MAX + 1];
    int64_t permits;
    struct conf_rate rate;
};

struct conf {
    struct conf_listen listen;
    char *socket;
    int64_t socket_mode;
    char *socket_group;
    char *password_file;
    char *state_dir;
    enum log_level log_level;
    int64_t clients_max, output_max, unread_messages_max;
    int64_t subscriptions_max, client_subscriptions_max, patterns_max;
    enum conf_store store;
    enum store_sync sync;
    int64_t sync_interval_ms, segment_size, disk_max, backup_idle_ms;
    struct core_limits limits;
    bool runner_start;
    int64_t runner_stop_grace_ms; /* how long it may take to end */
    struct conf_queue *queues;    /* in the order of the file */
    size_t nqueues;
    struct conf_limiter *limiters; /* likewise */
    size_t nlimiters;
};

/* The list, for documentation and tests. */
const struct conf_setting *conf_settings(size_t *count);
/* The same of [limiter NAME]; offset is that in struct conf_limiter. */
const struct conf_setting *conf_limiter_settings(size_t *count);

/* All defaults. conf_clear frees what the struct holds. */
void conf_init(struct conf *c);
void conf_clear(struct conf *c);

/*
 * Read `text` over what `c` holds; `name` is the file's name in errors. Then
 * the overrides, each "section.key=value" (a key has no dot: the section is
 * everything before the last one, "queue mail.max-jobs=10"); settings of the
 * runner among them are skipped. Appends one line for each error to `errors`.
 * -EINVAL: at least one error; `c` is good for conf_clear alone.
 */
int conf_read(struct conf *c, const char *name, struct str text,
              const char *const *overrides, size_t noverrides,
              struct buf *errors);

/* The same from a file; NULL: overrides alone. Other errors are those of
 * reading the file; there is a line about it, too. */
int conf_load(struct conf *c, const char *path, const char *const *overrides,
              size_t noverrides, struct buf *errors);

/* Does yoke-runner read this section (of a file, of an override), "runner" or
 * "run NAME"? What it reads and yoked does not know is its own to judge. */
bool conf_is_runners(const char *section);
/* Splits "section.key=value"; the value follows the '='. 0 or -EINVAL. */
int conf_split(const char *override, char section[CONF_SECTION_MAX + 1],
               char key[CONF_SECTION_MAX + 1], const char **value);

/* Appends the value that holds, as it would be written in the file. */
void conf_format(const struct conf *c, const struct conf_setting *s,
                 struct buf *out);

/* Appends "[section] key" (separated by ", ") for each setting that differs
 * and takes effect at the next start only. */
void conf_unapplied(const struct conf *running, const struct conf *wanted,
                    struct buf *out);

/* Takes over what of `wanted` takes effect at once: those settings, and all
 * [queue NAME] and [limiter NAME] sections, which `wanted` loses. */
void conf_adopt(struct conf *running, struct conf *wanted);

#endif
