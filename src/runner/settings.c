/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/settings.h"

#include "runner/memory.h"
#include "runner/message.h"
#include "runner/value.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum settings_type {
    BOOL,
    TEXT,
    COUNT,
    INTEGER,
    SIZE,
    DURATION,
    OCTAL,
    WORDS,
    ARGV,
    IONICE,
    LIMITS,
    SIZE_BOUND, /* as without BOUND, or that and a ? */
    COUNT_BOUND,
    PERCENT_BOUND,
    CODES,
    LADDER,
    RESULT
};

/* One key: where its value lives and what it may be. */
struct settings_key {
    const char *name;
    enum settings_type type;
    size_t offset;
    const char *initial;
    int64_t min, max;
};

#define RUNNER_KEY(name, member, type, initial, min, max) \
    {name, type, offsetof(struct settings, member), initial, min, max},
#define RUN_KEY(name, member, type, initial, min, max) \
    {name, type, offsetof(struct settings_queue, member), initial, min, max},

static const struct settings_key runner_keys[] = {SETTINGS_RUNNER(RUNNER_KEY)};
static const struct settings_key run_keys[] = {SETTINGS_RUN(RUN_KEY)};

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define fail(why, ...) value_refuse(why, SETTINGS_WHY_SIZE, __VA_ARGS__)

/* ----------------------------------------------------------------- values */

static int set_bool(bool *out, const char *value, char *why)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return fail(why, "'%.80s' is not a switch; expected yes or no", value);
    *out = strcmp(value, "yes") == 0;
    return 0;
}

static int set_number(const struct settings_key *key, int64_t *out,
                      const char *value, char *why)
{
    static const char *const expected[] = {
        [COUNT] = "a number",
        [INTEGER] = "a number",
        [SIZE] = "a number of bytes, or of K, M, G, T",
        [DURATION] = "milliseconds, or a number with ms, s, m, h or d",
        [OCTAL] = "an octal number",
        [SIZE_BOUND] = "a number of bytes, or of K, M, G, T, and ? for a wish",
        [COUNT_BOUND] = "a number, and ? for a wish",
        [PERCENT_BOUND] = "a number and %, and ? for a wish",
    };
    int64_t n;
    bool ok = false;

    switch (key->type) {
    case COUNT:
    case COUNT_BOUND:
        ok = value_count(value, &n);
        break;
    case INTEGER:
        ok = value_integer(value, &n);
        break;
    case SIZE:
    case SIZE_BOUND:
        ok = value_size(value, &n);
        break;
    case DURATION:
        ok = value_duration(value, &n);
        break;
    case OCTAL:
        ok = value_octal(value, &n);
        break;
    case PERCENT_BOUND:
        ok = value_percent(value, &n);
        break;
    case BOOL:
    case TEXT:
    case WORDS:
    case ARGV:
    case IONICE:
    case LIMITS:
    case CODES:
    case LADDER:
    case RESULT:
        break;
    }
    if (!ok)
        return fail(why, "'%.80s' is not valid; expected %s", value,
                    expected[key->type]);
    if (n < key->min || n > key->max)
        return fail(why,
                    key->type == OCTAL
                        ? "'%.80s' is out of range; expected %llo to %llo"
                        : "'%.80s' is out of range; expected %lld to %lld",
                    value, (long long)key->min, (long long)key->max);
    *out = n;
    return 0;
}

static int set_bound(const struct settings_key *key, void *at,
                     const char *value, char *why)
{
    size_t len = strlen(value);
    bool wish = len > 0 && value[len - 1] == '?';
    char *number = memory_text(value, len - wish);
    struct cgroup_bounds bounds = {0};
    int rc = set_number(key, &bounds.of[0].value, number, why);

    bounds.of[0].wish = wish;
    if (rc == 0)
        memcpy(at, &bounds.of[0], sizeof(bounds.of[0]));
    free(number);
    return rc;
}

static int set_result(enum settings_result *out, const char *value, char *why)
{
    static const char *const names[] = {[SETTINGS_STDOUT] = "stdout",
                                        [SETTINGS_FILE] = "file",
                                        [SETTINGS_FD3] = "fd3"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], value) == 0) {
            *out = (enum settings_result)i;
            return 0;
        }
    }
    return fail(why, "'%.80s' is not valid; expected stdout, file or fd3",
                value);
}

static int set_text(const struct settings_key *key, char **out,
                    const char *value, char *why)
{
    size_t len = strlen(value);

    if (len < (size_t)key->min || len > (size_t)key->max)
        return fail(why, "'%.80s' is too %s; expected %lld to %lld bytes",
                    value, len > (size_t)key->max ? "long" : "short",
                    (long long)key->min, (long long)key->max);
    free(*out);
    *out = memory_text(value, len);
    return 0;
}

static int set_words(const struct settings_key *key, struct command *out,
                     const char *value, bool append, char *why)
{
    char reason[128];

    if (!append)
        command_clear(out);
    if (command_split(value, out, reason, sizeof(reason)) < 0)
        return fail(why, "'%.80s' %s", value, reason);
    if (out->argc < (size_t)key->min || out->argc > (size_t)key->max)
        return fail(why, "%zu words; expected %lld to %lld", out->argc,
                    (long long)key->min, (long long)key->max);
    return 0;
}

/* What no type can say. */
static int check_value(const struct settings_key *key, const char *value,
                       char *why)
{
    enum message_level level;

    if (strcmp(key->name, "cgroup") == 0 && strcmp(value, "auto") != 0 &&
        strcmp(value, "off") != 0 && value[0] != '/')
        return fail(why,
                    "'%.80s' is not valid; expected auto, off or the absolute "
                    "path of a directory of cgroup v2",
                    value);
    if ((strcmp(key->name, "dir") == 0 || strcmp(key->name, "log-file") == 0) &&
        value[0] && value[0] != '/')
        return fail(why, "'%.80s' is not valid; expected an absolute path",
                    value);
    if (strcmp(key->name, "log-level") == 0 &&
        message_parse_level(value, &level) < 0)
        return fail(why,
                    "'%.80s' is not valid; expected error, warn, info "
                    "or debug",
                    value);
    if (strcmp(key->name, "name") == 0 && value[0] &&
        !settings_queue_name_ok(value))
        return fail(why,
                    "'%.80s' is not valid; expected up to 64 of A-Z a-z 0-9 "
                    "_ . : -, not starting with -",
                    value);
    return 0;
}

static int check_words(const struct settings_key *key, const struct command *c,
                       char *why)
{
    static const char *const never[] = {"NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_",
                                        "YOKE_"};

    for (size_t i = 0; i < c->argc; i++) {
        const char *word = c->argv[i], *star;

        if (strcmp(key->name, "command-queues") == 0 &&
            !settings_queue_name_ok(word))
            return fail(why, "'%.80s' cannot be the name of a queue", word);
        if (strcmp(key->name, "pass-env") != 0)
            continue;
        for (size_t n = 0; n < COUNT_OF(never); n++) {
            if (strncmp(word, never[n], strlen(never[n])) == 0)
                return fail(why, "'%.80s' is never passed on to jobs", word);
        }
        star = strchr(word, '*');
        if (strchr(word, '=') || star == word || (star && star[1] != '\0'))
            return fail(why, "'%.80s' is not the name of a variable", word);
    }
    return 0;
}

static int set_value(const struct settings_key *key, void *object,
                     const char *value, bool append, char *why)
{
    void *at = (char *)object + key->offset;
    int rc = check_value(key, value, why);

    if (rc < 0)
        return rc;
    switch (key->type) {
    case BOOL:
        return set_bool(at, value, why);
    case TEXT:
        return set_text(key, at, value, why);
    case COUNT:
    case INTEGER:
    case SIZE:
    case DURATION:
    case OCTAL:
        return set_number(key, at, value, why);
    case WORDS:
    case ARGV:
        rc = set_words(key, at, value, append, why);
        return rc < 0 ? rc : check_words(key, at, why);
    case IONICE:
        return attributes_parse_ionice(value, at, why, SETTINGS_WHY_SIZE);
    case SIZE_BOUND:
    case COUNT_BOUND:
    case PERCENT_BOUND:
        return set_bound(key, at, value, why);
    case LIMITS:
        return attributes_parse_limits(value, at, why, SETTINGS_WHY_SIZE);
    case CODES:
        return ending_parse_codes(value, at, why, SETTINGS_WHY_SIZE);
    case LADDER:
        return ending_parse_ladder(value, at, why, SETTINGS_WHY_SIZE);
    case RESULT:
        return set_result(at, value, why);
    }
    return -EINVAL;
}

/* ------------------------------------------------------------ the objects */

bool settings_queue_name_ok(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > SETTINGS_NAME_MAX || name[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_.:-", name[i]))
            return false;
    }
    return true;
}

static void set_initial(const struct settings_key *keys, size_t n, void *object)
{
    char why[SETTINGS_WHY_SIZE];

    for (size_t i = 0; i < n; i++) {
        /* A command has no default and may not be empty; others stay as they
         * are until something is said of them. */
        if (keys[i].type != ARGV && keys[i].initial &&
            set_value(&keys[i], object, keys[i].initial, false, why) < 0)
            abort();
    }
}

void settings_init(struct settings *s)
{
    *s = (struct settings){.holders = 1};
    set_initial(runner_keys, COUNT_OF(runner_keys), s);
}

static void queue_clear(struct settings_queue *q)
{
    command_clear(&q->command);
    command_clear(&q->pass_env);
    environment_clear(&q->environment);
    account_clear(&q->attributes.account);
    free(q->dir);
    logbook_free(q->logbook);
    free(q->logging.file);
    free(q->user);
    free(q->group);
}

void settings_clear(struct settings *s)
{
    for (size_t i = 0; i < s->nqueues; i++)
        queue_clear(&s->queues[i]);
    free(s->queues);
    free(s->name);
    free(s->cgroup);
    free(s->log_level);
    command_clear(&s->command_queues);
    command_clear(&s->pass_env);
    *s = (struct settings){0};
}

struct settings *settings_new(void)
{
    struct settings *s = memory_new(sizeof(*s));

    settings_init(s);
    return s;
}

struct settings *settings_hold(struct settings *s)
{
    s->holders++;
    return s;
}

void settings_release(struct settings *s)
{
    if (!s || --s->holders > 0)
        return;
    settings_clear(s);
    free(s);
}

const struct settings_queue *settings_queue_find(const struct settings *s,
                                                 const char *name)
{
    for (size_t i = 0; i < s->nqueues; i++) {
        if (strcmp(s->queues[i].name, name) == 0)
            return &s->queues[i];
    }
    return NULL;
}

static struct settings_queue *queue_find(struct settings *s, const char *name)
{
    return (struct settings_queue *)settings_queue_find(s, name);
}

static struct settings_queue *queue_add(struct settings *s, const char *name)
{
    struct settings_queue *q;

    s->queues = memory_resize(s->queues, s->nqueues + 1, sizeof(*s->queues));
    q = &s->queues[s->nqueues++];
    *q = (struct settings_queue){.umask_bits = ATTRIBUTES_UNSET,
                                 .attributes.nice = ATTRIBUTES_UNSET};
    snprintf(q->name, sizeof(q->name), "%s", name);
    set_initial(run_keys, COUNT_OF(run_keys), q);
    return q;
}

/* ------------------------------------------------------------------ lines */

/* The bit of a key in `seen`. */
static int key_find(const struct settings_key *keys, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int unknown_key(const struct settings_key *keys, size_t n,
                       const char *name, char *why)
{
    struct buffer known = {0};

    for (size_t i = 0; i < n; i++)
        buffer_printf(&known, " %s", keys[i].name);
    buffer_append(&known, "", 1);
    fail(why, "unknown key '%.80s'; known are%s", name, known.data);
    buffer_clear(&known);
    return -EINVAL;
}

/* [run NAME]: the queue is served, whether keys follow or not. Other sections
 * of ours give NULL in *out. */
static int begin_section(struct settings *s, const char *section,
                         struct settings_queue **out, char *why)
{
    const char *name;

    *out = NULL;
    if (strcmp(section, "run") == 0)
        return fail(why, "expected the name of a queue: [run NAME]");
    if (strncmp(section, "run ", 4) != 0)
        return 0;
    name = section + 4;
    if (!settings_queue_name_ok(name))
        return fail(why,
                    "'%.80s' cannot be the name of a queue; expected 1 to "
                    "64 of A-Z a-z 0-9 _ . : -, not starting with -",
                    name);
    *out = queue_find(s, name);
    if (!*out && s->nqueues >= SETTINGS_QUEUES_MAX)
        return fail(why, "too many [run] sections (more than %d)",
                    SETTINGS_QUEUES_MAX);
    if (!*out)
        *out = queue_add(s, name);
    return 0;
}

/*
 * One key of one section. `seen` tells a key that is set twice in the file
 * (an error) from one that continues over a second line and from one that an
 * option overrides.
 */
enum source { SOURCE_LINE, SOURCE_CONTINUED, SOURCE_OPTION };

static int set_key(struct settings *s, const char *section, const char *name,
                   const char *value, enum source source, char *why)
{
    const struct settings_key *keys = runner_keys;
    size_t n = COUNT_OF(runner_keys);
    unsigned *seen = &s->seen;
    void *object = s;
    struct settings_queue *q;
    int at = begin_section(s, section, &q, why);

    if (at < 0)
        return at;
    if (q) {
        keys = run_keys;
        n = COUNT_OF(run_keys);
        seen = &q->seen;
        object = q;
    }
    at = key_find(keys, n, name);
    if (at < 0)
        return unknown_key(keys, n, name, why);
    if (source == SOURCE_LINE && (*seen & 1u << at))
        return fail(why, "'%.80s' is set twice", name);
    if (source == SOURCE_CONTINUED && keys[at].type != ARGV &&
        keys[at].type != WORDS)
        return fail(why, "'%.80s' cannot go on over several lines", name);
    if (source != SOURCE_OPTION)
        *seen |= 1u << at;
    /* Its own list replaces the runner's, also by nothing. */
    if (q && strcmp(name, "pass-env") == 0)
        q->has_pass_env = true;
    return set_value(&keys[at], object, value, source == SOURCE_CONTINUED, why);
}

static bool is_ours(const char *section)
{
    return strcmp(section, "runner") == 0 || strncmp(section, "run ", 4) == 0 ||
           strcmp(section, "run") == 0;
}

/*
 * inih splits the file into sections and keys. It knows lines of up to 200
 * bytes and takes " ;" for a comment, neither of which suits command lines:
 * so it is given the beginning of each line, and values are taken from the
 * line itself.
 */
struct reader {
    FILE *stream;
    char *line; /* the current one, whole, without its end */
    size_t cap;
    int number;
    bool in_key; /* an indented line continues the key before it */
    struct settings *settings;
    const char *file;
    char *why; /* empty until the first error */
};

/* inih tells of keys alone. */
static void reader_section(struct reader *r)
{
    char *end = *r->line == '[' ? strchr(r->line, ']') : NULL;
    char why[SETTINGS_WHY_SIZE];
    struct settings_queue *q;

    if (!end)
        return;
    *end = '\0';
    if (begin_section(r->settings, r->line + 1, &q, why) < 0 && !*r->why)
        fail(r->why, "%s:%d: [%.80s]: %s", r->file, r->number, r->line + 1,
             why);
    *end = ']';
}

static char *reader_line(char *text, int size, void *arg)
{
    struct reader *r = arg;
    ssize_t n = getline(&r->line, &r->cap, r->stream);

    if (n < 0)
        return NULL;
    while (n > 0 && (r->line[n - 1] == '\n' || r->line[n - 1] == '\r'))
        r->line[--n] = '\0';
    r->number++;
    if (r->line[strspn(r->line, " \t")] == '[')
        r->in_key = false;
    reader_section(r);
    /* The last byte tells inih that this is the end of the line. */
    snprintf(text, (size_t)size - 1, "%s", r->line);
    text[strlen(text) + 1] = '\0';
    text[strlen(text)] = '\n';
    return text;
}

/* The value of the current line: behind the sign, or all of a line that
 * continues; in place, without blanks around it. */
static char *reader_value(struct reader *r, const char *name, bool *continued)
{
    char *value = r->line, *end;
    bool words = strcmp(name, "command") == 0;

    *continued = r->in_key && (*value == ' ' || *value == '\t');
    r->in_key = true;
    if (!*continued)
        value += strcspn(value, "=:") + (value[strcspn(value, "=:")] != '\0');
    while (*value == ' ' || *value == '\t')
        value++;
    for (end = value; !words && *end; end++) {
        if (*end == ';' && (end == value || isspace((unsigned char)end[-1]))) {
            *end = '\0';
            break;
        }
    }
    end = value + strlen(value);
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    return value;
}

static int reader_entry(void *arg, const char *section, const char *name,
                        const char *value)
{
    struct reader *r = arg;
    char why[SETTINGS_WHY_SIZE];
    bool continued;

    /* What inih says about the value is not used; see struct reader. */
    (void)value;
    value = reader_value(r, name, &continued);
    if (!is_ours(section))
        return 1;
    if (set_key(r->settings, section, name, value,
                continued ? SOURCE_CONTINUED : SOURCE_LINE, why) == 0)
        return 1;
    if (!*r->why)
        fail(r->why, "%s:%d: [%.80s] %.80s: %s", r->file, r->number, section,
             name, why);
    return 0;
}

int settings_load(struct settings *s, const char *file, char *why)
{
    struct reader r = {.settings = s, .file = file, .why = why};
    int rc;

    why[0] = '\0';
    r.stream = fopen(file, "re");
    if (!r.stream) {
        rc = -errno;
        fail(why, "%s: %s", file, strerror(-rc));
        return rc;
    }
    rc = ini_parse_stream(reader_line, &r, reader_entry, &r);
    if (ferror(r.stream) && !*why)
        fail(why, "%s: it cannot be read", file);
    else if (rc != 0 && !*why)
        fail(why, "%s:%d: expected [section] or key = value", file, rc);
    fclose(r.stream);
    free(r.line);
    return *why ? -EINVAL : 0;
}

int settings_override(struct settings *s, const char *text, char *why)
{
    char reason[SETTINGS_WHY_SIZE];
    const char *equal = strchr(text, '='), *dot;
    char *section, *key;
    int rc = 0;

    /* A queue's name may have dots: the last one before the sign counts. */
    dot = equal ? memrchr(text, '.', (size_t)(equal - text)) : NULL;
    if (!dot)
        return fail(why, "-o '%.80s': expected section.key=value", text);
    section = memory_text(text, (size_t)(dot - text));
    key = memory_text(dot + 1, (size_t)(equal - dot) - 1);
    if (is_ours(section) &&
        set_key(s, section, key, equal + 1, SOURCE_OPTION, reason) < 0)
        rc = fail(why, "-o [%.80s] %.80s: %s", section, key, reason);
    free(section);
    free(key);
    return rc;
}

/* --------------------------------------------------------------- together */

/* Puts the queues that are to be served, and no others, in their order. */
static int choose_queues(struct settings *s, const char *const *queues,
                         size_t n, char *why)
{
    struct settings_queue *old = s->queues;
    size_t nold = s->nqueues;
    int rc = 0;

    s->queues = NULL;
    s->nqueues = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct settings_queue *q;

        if (!settings_queue_name_ok(queues[i])) {
            rc = fail(why, "--queue '%.80s' cannot be the name of a queue",
                      queues[i]);
            break;
        }
        if (queue_find(s, queues[i]))
            continue;
        q = queue_add(s, queues[i]);
        for (size_t o = 0; o < nold; o++) {
            if (strcmp(old[o].name, queues[i]) == 0) {
                struct settings_queue fresh = *q;

                *q = old[o];
                old[o] = fresh;
            }
        }
    }
    for (size_t i = 0; i < nold; i++)
        queue_clear(&old[i]);
    free(old);
    return rc;
}

/* What makes no sense for a pool, or without one. */
static int check_pool(const struct settings_queue *q, char *why)
{
    static const struct ending_codes none;
    const bool has_codes = memcmp(&q->success_exit, &none, sizeof(none)) != 0;
    const char *other = q->slots > 0                   ? "slots"
                        : q->result != SETTINGS_STDOUT ? "result"
                        : has_codes                    ? "success-exit"
                        : q->stop_signals.count > 0    ? "stop-signals"
                                                       : NULL;

    if (q->pool == 0 && (q->pool_jobs_max > 0 || q->pool_memory_max > 0))
        return fail(why,
                    "[run %s]: %s is about the processes of a pool; give "
                    "it `pool = N`",
                    q->name,
                    q->pool_jobs_max > 0 ? "pool-jobs-max" : "pool-memory-max");
    if (q->pool == 0)
        return 0;
    if (q->command.argc == 0)
        return fail(why, "[run %s]: a pool needs the command of its processes",
                    q->name);
    if (other)
        return fail(why,
                    "[run %s]: %s is nothing for a pool: its processes "
                    "are told of their jobs, and report them, by a socket",
                    q->name, other);
    return 0;
}

/* What the runner decides where the queue does not, and what has to be looked
 * up. */
static int finish_queue(const struct settings *s, struct settings_queue *q,
                        char *why)
{
    const struct command *pass = q->has_pass_env ? &q->pass_env : &s->pass_env;
    struct account *account = &q->attributes.account;
    char reason[256];
    int rc = check_pool(q, why);

    if (rc < 0)
        return rc;
    if (q->command.argc == 0 && !s->allow_commands)
        return fail(why,
                    "queue '%s' has nothing to run; give [run %s] a "
                    "command, or set [runner] allow-commands = yes",
                    q->name, q->name);
    if (q->umask_bits == ATTRIBUTES_UNSET)
        q->umask_bits = s->umask_bits;
    account_clear(account);
    if (account_find(account, q->user, q->group, reason, sizeof(reason)) < 0)
        return fail(why, "[run %s]: %s", q->name, reason);
    environment_clear(&q->environment);
    environment_init(&q->environment, pass->argv, pass->argc);
    environment_set(&q->environment, "HOME", account->home);
    environment_set(&q->environment, "USER", account->name);
    environment_set(&q->environment, "LOGNAME", account->name);
    environment_set(&q->environment, "SHELL", account->shell);
    q->has_attributes = attributes_any(&q->attributes);
    logbook_free(q->logbook);
    q->logbook = logbook_new(&q->logging, q->name, LOGBOOK_JOURNAL);
    return 0;
}

/* Who rotates a file would take it away from the other. */
static int check_log_files(const struct settings *s, char *why)
{
    for (size_t i = 0; i < s->nqueues; i++) {
        const struct settings_queue *q = &s->queues[i];

        for (size_t n = 0; n < i && *q->logging.file; n++) {
            if (strcmp(q->logging.file, s->queues[n].logging.file) == 0)
                return fail(why,
                            "[run %s] log-file is that of [run %s]; give each "
                            "queue a file of its own",
                            q->name, s->queues[n].name);
        }
    }
    return 0;
}

int settings_finish(struct settings *s, const char *const *queues, size_t n,
                    char *why)
{
    char host[SETTINGS_NAME_MAX + 1] = "";

    if (n > SETTINGS_QUEUES_MAX)
        return fail(why, "too many --queue (more than %d)",
                    SETTINGS_QUEUES_MAX);
    if (n > 0) {
        int rc = choose_queues(s, queues, n, why);

        if (rc < 0)
            return rc;
    } else if (s->allow_commands) {
        for (size_t i = 0; i < s->command_queues.argc; i++) {
            if (!queue_find(s, s->command_queues.argv[i]))
                queue_add(s, s->command_queues.argv[i]);
        }
    }
    for (size_t i = 0; i < s->nqueues; i++) {
        int rc = finish_queue(s, &s->queues[i], why);

        if (rc < 0)
            return rc;
    }
    if (check_log_files(s, why) < 0)
        return -EINVAL;
    if (!*s->name) {
        if (gethostname(host, sizeof(host) - 1) < 0 ||
            !settings_queue_name_ok(host))
            snprintf(host, sizeof(host), "runner");
        free(s->name);
        s->name = memory_text(host, strlen(host));
    }
    if (s->slots == 0)
        s->slots = get_nprocs() > 0 ? get_nprocs() : 1;
    return 0;
}

static void keep_text(char **text, const char *before, const char *name,
                      char *names, size_t size)
{
    size_t len = strlen(names);

    if (strcmp(*text, before) == 0)
        return;
    snprintf(names + len, size - len, "%s%s", len ? " " : "", name);
    free(*text);
    *text = memory_text(before, strlen(before));
}

void settings_keep_fixed(struct settings *s, const struct settings *before,
                         char *names, size_t size)
{
    names[0] = '\0';
    keep_text(&s->name, before->name, "name", names, size);
    keep_text(&s->cgroup, before->cgroup, "cgroup", names, size);
}
