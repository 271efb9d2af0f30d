/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/conf.h"

#include "base/mem.h"
#include "server/conf_value.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <unistd.h>

/* ------------------------------------------------------------- the list */

#define SETTING(type, section_, key_, member, kind_, preset_, min_, max_, \
                apply_, help_)                                            \
    {.section = (section_),                                               \
     .key = (key_),                                                       \
     .offset = offsetof(type, member),                                    \
     .kind = CONF_##kind_,                                                \
     .preset = (preset_),                                                 \
     .min = (min_),                                                       \
     .max = (max_),                                                       \
     .apply = CONF_##apply_,                                              \
     .help = (help_)},

static const struct conf_setting settings[] = {
#define ROW(...) SETTING(struct conf, __VA_ARGS__)
    CONF_SETTINGS(ROW)
#undef ROW
};

static const struct conf_setting limiter_settings[] = {
#define ROW(...) SETTING(struct conf_limiter, __VA_ARGS__)
    CONF_LIMITER_SETTINGS(ROW)
#undef ROW
};

#define SETTINGS_COUNT         ARRAY_LEN(settings)
#define LIMITER_SETTINGS_COUNT ARRAY_LEN(limiter_settings)

/* The rows of [queue] describe a [queue NAME], too: their offsets in it. */
#define QUEUE_OFFSET offsetof(struct conf, limits.queue_defaults)

const struct conf_setting *conf_settings(size_t *count)
{
    *count = SETTINGS_COUNT;
    return settings;
}

const struct conf_setting *conf_limiter_settings(size_t *count)
{
    *count = LIMITER_SETTINGS_COUNT;
    return limiter_settings;
}

void conf_format(const struct conf *c, const struct conf_setting *s,
                 struct buf *out)
{
    conf_value_format(s, (const char *)c + s->offset, out);
}

/* -------------------------------------------------------------- reading */

/* Lines on which each setting was set; 0: not yet. */
struct seen {
    int line[SETTINGS_COUNT];
};
struct limiter_seen {
    int line[LIMITER_SETTINGS_COUNT];
};

/* One reading of a file, or of the overrides. */
struct reading {
    struct conf *conf;
    const char *name;              /* of the file; NULL: an override */
    struct str text;               /* what is left of it */
    int line;                      /* of what is being read */
    bool skip;                     /* the section is a mistake, which is told */
    struct seen seen;              /* of the sections without a name */
    struct seen *named;            /* of conf->queues, likewise in order */
    struct limiter_seen *limiters; /* of conf->limiters */
    struct buf *errors;
};

static void complain(struct reading *r, const char *section, const char *key,
                     const char *fmt, ...) ATTR_PRINTF(4, 5);

static void complain(struct reading *r, const char *section, const char *key,
                     const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut if too long */
    va_end(ap);
    if (r->name)
        buf_printf(r->errors, "%s:%d: ", r->name, r->line);
    else
        buf_printf(r->errors, "-o: ");
    if (section)
        buf_printf(r->errors, "[%s] ", section);
    if (key)
        buf_printf(r->errors, "%s: ", key);
    buf_printf(r->errors, "%s\n", text);
}

/* What queues and limiters are called; only queues may have a colon. */
static bool name_ok(const char *name, size_t most, bool colon)
{
    size_t len = strlen(name);

    if (len < 1 || len > most || name[0] == '-')
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "abcdefghijklmnopqrstuvwxyz0123456789_.:-") == len &&
           (colon || !strchr(name, ':'));
}

/* With the word "queue", "queue NAME" gives NAME, anything else NULL. */
static const char *section_name(const char *section, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(section, word, len) != 0 ||
        (section[len] != ' ' && section[len] != '\t'))
        return NULL;
    return section + len + strspn(section + len, " \t");
}

static size_t queue_index(struct reading *r, const char *name)
{
    struct conf *c = r->conf;
    struct conf_queue *q;
    size_t i;

    for (i = 0; i < c->nqueues; i++) {
        if (strcmp(c->queues[i].name, name) == 0)
            return i;
    }
    c->nqueues++;
    c->queues = mem_realloc(c->queues, mem_mul(c->nqueues, sizeof(*q)));
    r->named = mem_realloc(r->named, mem_mul(c->nqueues, sizeof(*r->named)));
    q = &c->queues[i];
    memset(q, 0, sizeof(*q));
    memset(&r->named[i], 0, sizeof(r->named[i]));
    memcpy(q->name, name, strlen(name) + 1);
    core_settings_unset(&q->settings);
    return i;
}

static size_t limiter_index(struct reading *r, const char *name)
{
    struct conf *c = r->conf;
    struct conf_limiter *l;
    size_t i;

    for (i = 0; i < c->nlimiters; i++) {
        if (strcmp(c->limiters[i].name, name) == 0)
            return i;
    }
    c->nlimiters++;
    c->limiters = mem_realloc(c->limiters, mem_mul(c->nlimiters, sizeof(*l)));
    r->limiters =
        mem_realloc(r->limiters, mem_mul(c->nlimiters, sizeof(*r->limiters)));
    l = &c->limiters[i];
    memset(l, 0, sizeof(*l));
    memset(&r->limiters[i], 0, sizeof(r->limiters[i]));
    memcpy(l->name, name, strlen(name) + 1);
    l->permits = l->rate.n = l->rate.ms = CORE_UNSET;
    return i;
}

static const struct conf_setting *find_setting(const struct conf_setting *list,
                                               size_t count,
                                               const char *section,
                                               const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].section, section) == 0 &&
            strcmp(list[i].key, key) == 0)
            return &list[i];
    }
    return NULL;
}

bool conf_is_runners(const char *section)
{
    return strcmp(section, "runner") == 0 || strncmp(section, "run ", 4) == 0 ||
           strncmp(section, "run\t", 4) == 0;
}

static void list_keys(const struct conf_setting *list, size_t count,
                      const char *section, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].section, section) == 0)
            buf_printf(out, "%s%s", buf_size(out) ? ", " : "", list[i].key);
    }
}

/* base: the section without its name. */
static void complain_unknown(struct reading *r, const char *section,
                             const char *base, const char *key)
{
    struct buf known;

    buf_init(&known);
    list_keys(settings, SETTINGS_COUNT, base, &known);
    list_keys(limiter_settings, LIMITER_SETTINGS_COUNT, base, &known);
    complain(r, section, key, "'%s' is not a setting; expected one of %.*s",
             key, (int)buf_size(&known), buf_front(&known));
    buf_clear(&known);
}

static bool is_section(const char *section)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (strcmp(settings[i].section, section) == 0)
            return true;
    }
    return conf_is_runners(section);
}

static bool begin_queue(struct reading *r, const char *section,
                        const char *queue)
{
    if (!name_ok(queue, CORE_QUEUE_NAME_MAX, true)) {
        complain(r, section, NULL,
                 "'%s' is not the name of a queue; expected 1 to %d of "
                 "A-Z a-z 0-9 _ . : - that do not begin with -",
                 queue, CORE_QUEUE_NAME_MAX);
        return false;
    }
    (void)queue_index(r, queue);
    return true;
}

static bool begin_limiter(struct reading *r, const char *section,
                          const char *limiter)
{
    if (!name_ok(limiter, CORE_LIMITER_NAME_MAX, false)) {
        complain(r, section, NULL,
                 "'%s' is not the name of a limiter; expected 1 to %d of "
                 "A-Z a-z 0-9 _ . - that do not begin with -",
                 limiter, CORE_LIMITER_NAME_MAX);
        return false;
    }
    (void)limiter_index(r, limiter);
    return true;
}

/* What a section names is made, whether settings follow or not. False: it is
 * no section, which was said. */
static bool begin_section(struct reading *r, const char *section)
{
    const char *queue = section_name(section, "queue");
    const char *limiter = section_name(section, "limiter");

    if (queue)
        return begin_queue(r, section, queue);
    if (limiter)
        return begin_limiter(r, section, limiter);
    if (is_section(section))
        return true;
    complain(r, section, NULL,
             "'%s' is not a section; expected daemon, journal, limits, queue, "
             "queue NAME, limiter NAME, runner or run NAME",
             section);
    return false;
}

/* Where a setting belongs: its row, its value, the line that has set it. */
struct place {
    const struct conf_setting *row;
    void *at;
    int *line;
};

static bool place_in_queue(struct reading *r, const char *section,
                           const char *queue, const char *key, struct place *p)
{
    size_t i;

    p->row = find_setting(settings, SETTINGS_COUNT, "queue", key);
    if (!p->row) {
        complain_unknown(r, section, "queue", key);
        return false;
    }
    i = queue_index(r, queue);
    p->at =
        (char *)&r->conf->queues[i].settings + (p->row->offset - QUEUE_OFFSET);
    p->line = &r->named[i].line[p->row - settings];
    return true;
}

static bool place_in_limiter(struct reading *r, const char *section,
                             const char *limiter, const char *key,
                             struct place *p)
{
    size_t i;

    p->row =
        find_setting(limiter_settings, LIMITER_SETTINGS_COUNT, "limiter", key);
    if (!p->row) {
        complain_unknown(r, section, "limiter", key);
        return false;
    }
    i = limiter_index(r, limiter);
    p->at = (char *)&r->conf->limiters[i] + p->row->offset;
    p->line = &r->limiters[i].line[p->row - limiter_settings];
    return true;
}

/* False: there is none, and it was said unless it is the runner's. */
static bool find_place(struct reading *r, const char *section, const char *key,
                       struct place *p)
{
    const char *queue = section_name(section, "queue");
    const char *limiter = section_name(section, "limiter");

    if (queue)
        return place_in_queue(r, section, queue, key, p);
    if (limiter)
        return place_in_limiter(r, section, limiter, key, p);
    p->row = find_setting(settings, SETTINGS_COUNT, section, key);
    if (!p->row) {
        if (!conf_is_runners(section))
            complain_unknown(r, section, section, key);
        return false;
    }
    p->at = (char *)r->conf + p->row->offset;
    p->line = &r->seen.line[p->row - settings];
    return true;
}

/* One setting of the file or of an override. */
static void set(struct reading *r, const char *section, const char *key,
                const char *value)
{
    struct buf expected;
    struct place p;
    int rc;

    if (!find_place(r, section, key, &p))
        return;
    if (*p.line && r->name) {
        complain(r, section, key,
                 "'%s' is not the only value; expected one, and line %d has "
                 "one already",
                 value, *p.line);
        return;
    }
    *p.line = r->line;
    rc = conf_value_parse(p.row, value, p.at);
    if (rc == 0)
        return;
    buf_init(&expected);
    conf_value_expected(p.row, &expected);
    complain(r, section, key, "'%s' is not %s; expected %.*s", value,
             rc == -ERANGE ? "within the bounds" : conf_value_noun(p.row->kind),
             (int)buf_size(&expected), buf_front(&expected));
    buf_clear(&expected);
}

static int on_setting(void *arg, const char *section, const char *key,
                      const char *value)
{
    struct reading *r = arg;

    if (r->skip)
        return 1;
    if (section[0] == '\0')
        complain(r, NULL, NULL,
                 "'%s' is not in a section; expected a line such as [daemon] "
                 "before it",
                 key);
    else
        set(r, section, key, value);
    return 1;
}

/* inih tells of settings alone, and would cut a long name silently: a section
 * is looked at when its line is read. False: it is not for inih. */
static bool read_section(struct reading *r, const char *line, size_t len)
{
    const char *end = len && line[0] == '[' ? memchr(line, ']', len) : NULL;
    char section[CONF_SECTION_MAX + 1];
    size_t size = end ? (size_t)(end - line) - 1 : 0;

    if (!end)
        return true; /* another line, or one that inih finds fault with */
    if (size > CONF_SECTION_MAX) {
        complain(r, NULL, NULL,
                 "this name is not short enough; expected a section of at "
                 "most %d bytes",
                 CONF_SECTION_MAX);
        r->skip = true;
        return false;
    }
    memcpy(section, line + 1, size);
    section[size] = '\0';
    r->skip = !begin_section(r, section);
    return true;
}

/*
 * Hands inih the next line, as fgets would. Blanks before it are dropped: inih
 * would take an indented setting for more of the value before it. What inih
 * cannot hold is a mistake, not something to be cut.
 */
static char *next_line(char *to, int size, void *arg)
{
    struct reading *r = arg;
    const char *line = r->text.p, *newline;
    size_t len, room = (size_t)size - 2;

    if (r->text.len == 0)
        return NULL;
    newline = memchr(line, '\n', r->text.len);
    len = newline ? (size_t)(newline - line) : r->text.len;
    r->text.p += newline ? len + 1 : len;
    r->text.len -= newline ? len + 1 : len;
    r->line++;
    while (len && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    if (len && (*line == '#' || *line == ';')) {
        len = 0; /* a comment may be as long as it likes */
    } else if (memchr(line, '\0', len)) {
        complain(r, NULL, NULL, "this line is not text; expected no NUL byte");
        len = 0;
    } else if (len > room) {
        complain(r, NULL, NULL,
                 "this line of %zu bytes is not short enough; expected at "
                 "most %zu",
                 len, room);
        len = 0;
    } else if (!read_section(r, line, len)) {
        len = 0;
    }
    if (len)
        memcpy(to, line, len);
    to[len] = '\n';
    to[len + 1] = '\0';
    return to;
}

int conf_split(const char *override, char section[CONF_SECTION_MAX + 1],
               char key[CONF_SECTION_MAX + 1], const char **value)
{
    const char *equals = strchr(override, '=');
    const char *dot =
        equals ? memrchr(override, '.', (size_t)(equals - override)) : NULL;
    size_t slen = dot ? (size_t)(dot - override) : 0;
    size_t klen = dot ? (size_t)(equals - dot - 1) : 0;

    if (slen < 1 || slen > CONF_SECTION_MAX || klen < 1 ||
        klen > CONF_SECTION_MAX)
        return -EINVAL;
    memcpy(section, override, slen);
    section[slen] = '\0';
    memcpy(key, dot + 1, klen);
    key[klen] = '\0';
    *value = equals + 1;
    return 0;
}

static void read_overrides(struct reading *r, const char *const *overrides,
                           size_t n)
{
    char section[CONF_SECTION_MAX + 1], key[CONF_SECTION_MAX + 1];
    const char *value;

    r->name = NULL;
    for (size_t i = 0; i < n; i++) {
        if (conf_split(overrides[i], section, key, &value) < 0)
            complain(r, NULL, NULL,
                     "'%s' is not a setting; expected SECTION.KEY=VALUE",
                     overrides[i]);
        else if (begin_section(r, section))
            set(r, section, key, value);
    }
}

static void check_keep(const struct core_limits *l, const struct conf_queue *q,
                       const char *key, int64_t keep_ms, const char *name,
                       struct buf *errors)
{
    if (keep_ms > l->keep_max_ms)
        buf_printf(errors,
                   "%s: [queue %s] %s: '%lld' is not within [limits] "
                   "keep-max; expected at most %lld\n",
                   name, q->name, key, (long long)keep_ms,
                   (long long)l->keep_max_ms);
}

/* Of the large parts of an image, and of two of them: an entry of the journal
 * has at most 16M. */
#define IMAGE_MAX (15 * CONF_M)
#define BOTH_MAX  (14 * CONF_M)

/* What no setting can know alone. */
static void check_together(const struct conf *c, const char *name,
                           struct buf *errors)
{
    const struct core_limits *l = &c->limits;
    int64_t largest = max_i64(l->payload_max, l->result_max);
    int64_t both = l->payload_max + l->result_max;

    if (c->output_max < largest + 64 * CONF_K)
        buf_printf(errors,
                   "%s: [daemon] output-max: '%lld' is not enough for a "
                   "reply; expected at least [limits] payload-max and "
                   "result-max and 64K\n",
                   name, (long long)c->output_max);
    /* What one step of the core writes down lies in one file, and so does the
     * image of a job, which has both. */
    if (c->segment_size < both + 512 * CONF_K)
        buf_printf(errors,
                   "%s: [journal] segment-size: '%lld' is not enough for an "
                   "entry; expected at least %lld, which is [limits] "
                   "payload-max and result-max and 512K\n",
                   name, (long long)c->segment_size,
                   (long long)(both + 512 * CONF_K));
    if (both > BOTH_MAX)
        buf_printf(errors,
                   "%s: [limits] payload-max: '%lld' is too much with "
                   "result-max; expected at most 14M together\n",
                   name, (long long)l->payload_max);
    /* The one that is written, two spares, and two to compact. */
    if (c->disk_max != CORE_NONE && c->disk_max < 5 * c->segment_size)
        buf_printf(errors,
                   "%s: [journal] disk-max: '%lld' is not enough for five "
                   "segments; expected at least %lld\n",
                   name, (long long)c->disk_max,
                   (long long)(5 * c->segment_size));
    if (l->queue_defaults.keep_ms > l->keep_max_ms)
        buf_printf(errors,
                   "%s: [queue] keep: '%lld' is not within [limits] keep-max; "
                   "expected at most %lld\n",
                   name, (long long)l->queue_defaults.keep_ms,
                   (long long)l->keep_max_ms);
    for (size_t i = 0; i < c->nqueues; i++) {
        const struct conf_queue *q = &c->queues[i];

        check_keep(l, q, "keep", q->settings.keep_ms, name, errors);
        check_keep(l, q, "dead-keep", q->settings.dead_keep_ms, name, errors);
    }
    if ((int64_t)c->nqueues > l->queues_max)
        buf_printf(errors,
                   "%s: the file is not within [limits] queues-max: it has "
                   "%zu queues; expected at most %lld\n",
                   name, c->nqueues, (long long)l->queues_max);
    if ((int64_t)c->nlimiters > l->limiters_max)
        buf_printf(errors,
                   "%s: the file is not within [limits] limiters-max: it has "
                   "%zu limiters; expected at most %lld\n",
                   name, c->nlimiters, (long long)l->limiters_max);
    if (c->listen.len == 0 && !c->socket)
        buf_printf(errors,
                   "%s: [daemon] listen: 'none' is not possible together with "
                   "socket = none; expected an address or a socket\n",
                   name);
}

int conf_read(struct conf *c, const char *name, struct str text,
              const char *const *overrides, size_t noverrides,
              struct buf *errors)
{
    struct reading r = {
        .conf = c, .name = name, .text = text, .errors = errors};
    size_t before = buf_size(errors);
    int line;

    r.named = mem_zalloc(mem_mul(c->nqueues + 1, sizeof(*r.named)));
    r.limiters = mem_zalloc(mem_mul(c->nlimiters + 1, sizeof(*r.limiters)));
    line = ini_parse_stream(next_line, &r, on_setting, &r);
    if (line > 0) {
        r.line = line;
        complain(&r, NULL, NULL,
                 "this line is not a setting; expected [SECTION] or "
                 "KEY = VALUE");
    }
    read_overrides(&r, overrides, noverrides);
    if (buf_size(errors) == before)
        check_together(c, name, errors);
    /* At 8 bytes each they take an eighth of a segment. */
    c->limits.numbers_max = c->segment_size / 64;
    /* With what else may be in the same entry, see STEP_RECORDS. */
    c->limits.image_max = min_i64(c->segment_size - 384 * CONF_K, IMAGE_MAX);
    mem_free(r.named);
    mem_free(r.limiters);
    return buf_size(errors) == before ? 0 : -EINVAL;
}

/* The whole file, at most CONF_FILE_MAX bytes. */
static int read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n;
    int rc = 0;

    if (fd < 0)
        return -errno;
    do {
        char *to = buf_reserve(out, 16 * 1024);

        n = read(fd, to, 16 * 1024);
        if (n > 0)
            out->len += (size_t)n;
        else if (n < 0 && errno != EINTR)
            rc = -errno;
        if (buf_size(out) > CONF_FILE_MAX)
            rc = -EFBIG;
    } while (n != 0 && rc == 0);
    (void)close(fd); /* only read from */
    return rc;
}

int conf_load(struct conf *c, const char *path, const char *const *overrides,
              size_t noverrides, struct buf *errors)
{
    struct buf text;
    int rc = 0;

    buf_init(&text);
    if (path)
        rc = read_file(path, &text);
    if (rc < 0)
        buf_printf(errors, "%s: this file is not readable: %s\n", path,
                   strerror(-rc));
    else
        rc = conf_read(c, path ? path : "defaults",
                       (struct str){buf_front(&text), buf_size(&text)},
                       overrides, noverrides, errors);
    buf_clear(&text);
    return rc;
}

/* ------------------------------------------------------------ life-time */

void conf_init(struct conf *c)
{
    memset(c, 0, sizeof(*c));
    core_limits_init(&c->limits);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        int rc = conf_value_parse(&settings[i], settings[i].preset,
                                  (char *)c + settings[i].offset);

        ASSERT(rc == 0);
    }
}

static void free_queues(struct conf *c)
{
    for (size_t i = 0; i < c->nqueues; i++)
        mem_free((char *)c->queues[i].settings.retry_on.p);
    mem_free(c->queues);
}

void conf_clear(struct conf *c)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (settings[i].kind == CONF_PATH || settings[i].kind == CONF_NAME)
            mem_free(*(char **)((char *)c + settings[i].offset));
    }
    mem_free((char *)c->limits.queue_defaults.retry_on.p);
    free_queues(c);
    mem_free(c->limiters);
    memset(c, 0, sizeof(*c));
}

void conf_unapplied(const struct conf *running, const struct conf *wanted,
                    struct buf *out)
{
    struct buf a, b;

    buf_init(&a);
    buf_init(&b);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct conf_setting *s = &settings[i];

        buf_reset(&a);
        buf_reset(&b);
        conf_format(running, s, &a);
        conf_format(wanted, s, &b);
        if (s->apply == CONF_RESTART &&
            !str_eq((struct str){buf_front(&a), buf_size(&a)},
                    (struct str){buf_front(&b), buf_size(&b)}))
            buf_printf(out, "%s[%s] %s", buf_size(out) ? ", " : "", s->section,
                       s->key);
    }
    buf_clear(&a);
    buf_clear(&b);
}

void conf_adopt(struct conf *running, struct conf *wanted)
{
    struct buf text;

    buf_init(&text);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct conf_setting *s = &settings[i];
        int rc;

        if (s->apply != CONF_RELOAD)
            continue;
        buf_reset(&text);
        conf_format(wanted, s, &text);
        buf_append_byte(&text, '\0');
        rc = conf_value_parse(s, buf_front(&text), (char *)running + s->offset);
        ASSERT(rc == 0);
    }
    buf_clear(&text);
    free_queues(running);
    running->queues = wanted->queues;
    running->nqueues = wanted->nqueues;
    wanted->queues = NULL;
    wanted->nqueues = 0;
    mem_free(running->limiters);
    running->limiters = wanted->limiters;
    running->nlimiters = wanted->nlimiters;
    wanted->limiters = NULL;
    wanted->nlimiters = 0;
}
