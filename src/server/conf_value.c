/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/conf_value.h"

#include "base/mem.h"
#include "base/pattern.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

/* ------------------------------------------------- numbers with a unit */

struct unit {
    const char *suffix;
    int64_t factor;
};

/* From the largest to the smallest. */
static const struct unit time_units[] = {
    {"d", CONF_D}, {"h", CONF_H}, {"m", CONF_MINUTE}, {"s", CONF_S}, {"ms", 1}};
static const struct unit size_units[] = {
    {"T", CONF_T}, {"G", CONF_G}, {"M", CONF_M}, {"K", CONF_K}, {"", 1}};

static int unit_factor(const struct unit *units, const char *suffix,
                       int64_t *factor)
{
    *factor = 1;
    if (suffix[0] == '\0')
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(time_units); i++) {
        if (strcmp(units[i].suffix, suffix) == 0) {
            *factor = units[i].factor;
            return 0;
        }
    }
    return -EINVAL;
}
_Static_assert(ARRAY_LEN(time_units) == ARRAY_LEN(size_units),
               "one loop serves both");

/* -EINVAL: not a number; -ERANGE: more than an int64_t holds. */
static int parse_digits(const char *text, int base, const char **end,
                        int64_t *out)
{
    int64_t n = 0;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    for (; isdigit((unsigned char)*text); text++) {
        if (*text - '0' >= base)
            return -EINVAL;
        if (__builtin_mul_overflow(n, base, &n) ||
            __builtin_add_overflow(n, *text - '0', &n))
            return -ERANGE;
    }
    *end = text;
    *out = n;
    return 0;
}

static const struct unit *kind_units(enum conf_kind kind)
{
    if (kind == CONF_TIME || kind == CONF_TIME_OR)
        return time_units;
    return kind == CONF_SIZE || kind == CONF_SIZE_OR ? size_units : NULL;
}

static bool may_be_none(enum conf_kind kind)
{
    return kind == CONF_TIME_OR || kind == CONF_INT_OR || kind == CONF_SIZE_OR;
}

static int parse_number(enum conf_kind kind, const char *text, int64_t *out)
{
    const struct unit *units = kind_units(kind);
    const char *end;
    int64_t n, factor = 1;
    int rc;

    if (may_be_none(kind) && strcmp(text, "none") == 0) {
        *out = CORE_NONE;
        return 0;
    }
    rc = parse_digits(text, kind == CONF_MODE ? 8 : 10, &end, &n);
    if (rc < 0)
        return rc;
    if (units ? unit_factor(units, end, &factor) < 0 : *end != '\0')
        return -EINVAL;
    if (__builtin_mul_overflow(n, factor, &n))
        return -ERANGE;
    *out = n;
    return 0;
}

static void format_number(enum conf_kind kind, int64_t n, struct buf *out)
{
    const struct unit *unit = kind_units(kind);

    if (may_be_none(kind) && n == CORE_NONE) {
        buf_printf(out, "none");
    } else if (kind == CONF_MODE) {
        buf_printf(out, "%04llo", (unsigned long long)n);
    } else if (!unit || n == 0) {
        buf_printf(out, "%lld", (long long)n);
    } else {
        while (n % unit->factor != 0)
            unit++;
        buf_printf(out, "%lld%s", (long long)(n / unit->factor), unit->suffix);
    }
}

/* -------------------------------------------------------------- choices */

static const char *const yesno_names[] = {"no", "yes"};
static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const store_names[] = {"journal", "memory"};
static const char *const sync_names[] = {"always", "interval", "never"};

/* The words of a kind, in the order of its enum; NULL for other kinds. */
static const char *const *kind_words(enum conf_kind kind, size_t *count)
{
    *count = 0;
    switch (kind) {
    case CONF_YESNO:
    case CONF_FLAG:
        *count = ARRAY_LEN(yesno_names);
        return yesno_names;
    case CONF_LEVEL:
        *count = ARRAY_LEN(level_names);
        return level_names;
    case CONF_STORE:
        *count = ARRAY_LEN(store_names);
        return store_names;
    case CONF_SYNC:
        *count = ARRAY_LEN(sync_names);
        return sync_names;
    case CONF_INT:
    case CONF_TIME:
    case CONF_TIME_OR:
    case CONF_SIZE:
    case CONF_SIZE_OR:
    case CONF_MODE:
    case CONF_PATH:
    case CONF_NAME:
    case CONF_LISTEN:
    case CONF_DECIMAL:
    case CONF_CLASSES:
    case CONF_INT_OR:
    case CONF_RATE:
        return NULL;
    }
    BUG("kind of setting");
}

static unsigned get_choice(enum conf_kind kind, const void *at)
{
    switch (kind) {
    case CONF_YESNO:
        return *(const bool *)at;
    case CONF_FLAG:
        return *(const int64_t *)at != 0;
    case CONF_LEVEL:
        return *(const enum log_level *)at;
    case CONF_STORE:
        return *(const enum conf_store *)at;
    case CONF_SYNC:
        return *(const enum store_sync *)at;
    case CONF_INT:
    case CONF_TIME:
    case CONF_TIME_OR:
    case CONF_SIZE:
    case CONF_SIZE_OR:
    case CONF_MODE:
    case CONF_PATH:
    case CONF_NAME:
    case CONF_LISTEN:
    case CONF_DECIMAL:
    case CONF_CLASSES:
    case CONF_INT_OR:
    case CONF_RATE:
        break;
    }
    BUG("kind of setting");
}

static void set_choice(enum conf_kind kind, void *at, unsigned choice)
{
    if (kind == CONF_YESNO)
        *(bool *)at = choice != 0;
    else if (kind == CONF_FLAG)
        *(int64_t *)at = choice;
    else if (kind == CONF_LEVEL)
        *(enum log_level *)at = (enum log_level)choice;
    else if (kind == CONF_STORE)
        *(enum conf_store *)at = (enum conf_store)choice;
    else
        *(enum store_sync *)at = (enum store_sync)choice;
}

/* ------------------------------------------------------------ addresses */

static bool is_loopback(int family, const void *raw)
{
    const unsigned char *b = raw;
    static const unsigned char one[16] = {[15] = 1};
    static const unsigned char mapped[13] = {[10] = 0xff, [11] = 0xff, 127};

    if (family == AF_INET)
        return b[0] == 127;
    return memcmp(b, one, sizeof(one)) == 0 ||
           memcmp(b, mapped, sizeof(mapped)) == 0;
}

/* "a.b.c.d", "a.b.c.d:port", "[v6]", "[v6]:port". */
static int parse_address(const char *text, size_t len, struct conf_address *out)
{
    char host[INET6_ADDRSTRLEN];
    unsigned char raw[sizeof(struct in6_addr)];
    const char *end = text + len, *stop, *from = text;
    int family = AF_INET;
    int64_t port = CONF_PORT_DEFAULT;

    if (len && *text == '[') {
        family = AF_INET6;
        from = text + 1;
        stop = memchr(text, ']', len);
    } else {
        stop = memchr(text, ':', len);
        if (!stop)
            stop = end;
    }
    if (!stop || (size_t)(stop - from) >= sizeof(host))
        return -EINVAL;
    memcpy(host, from, (size_t)(stop - from));
    host[stop - from] = '\0';
    if (inet_pton(family, host, raw) != 1)
        return -EINVAL;
    if (family == AF_INET6)
        stop++;
    if (stop < end) {
        const char *rest;

        if (*stop != ':' || parse_digits(stop + 1, 10, &rest, &port) < 0 ||
            rest != end || port < 0 || port > 65535)
            return -EINVAL;
    }
    out->loopback = is_loopback(family, raw);
    (void)inet_ntop(family, raw, host, sizeof(host)); /* room for any */
    (void)snprintf(out->text, sizeof(out->text),
                   family == AF_INET6 ? "[%s]:%d" : "%s:%d", host, (int)port);
    return 0;
}

static int parse_listen(const char *text, int64_t most, struct conf_listen *out)
{
    struct conf_listen l = {.len = 0};

    if (strcmp(text, "none") == 0) {
        *out = l;
        return 0;
    }
    for (;;) {
        size_t len;

        text += strspn(text, " \t,");
        len = strcspn(text, " \t,");
        if (len == 0)
            break;
        if (l.len == (size_t)most)
            return -ERANGE;
        if (parse_address(text, len, &l.list[l.len]) < 0)
            return -EINVAL;
        l.len++;
        text += len;
    }
    if (l.len == 0)
        return -EINVAL;
    *out = l;
    return 0;
}

static void format_listen(const struct conf_listen *l, struct buf *out)
{
    if (l->len == 0)
        buf_printf(out, "none");
    for (size_t i = 0; i < l->len; i++)
        buf_printf(out, "%s%s", i ? " " : "", l->list[i].text);
}

/* ------------------------------------------------------- one value, any */

static int parse_word(enum conf_kind kind, const char *text, void *at)
{
    size_t count;
    const char *const *words = kind_words(kind, &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            set_choice(kind, at, (unsigned)i);
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_text(const struct conf_setting *s, const char *text, char **at)
{
    bool none = strcmp(text, "none") == 0;
    size_t len = strlen(text);

    if (none ? s->min > 0 : len == 0)
        return -EINVAL;
    if (!none && s->kind == CONF_PATH && text[0] != '/')
        return -EINVAL;
    if ((int64_t)len > s->max)
        return -ERANGE;
    mem_free(*at);
    *at = none ? NULL : mem_dup_text(text, len);
    return 0;
}

/* At most three places behind the point. */
static int parse_decimal(const char *text, int64_t *out)
{
    int64_t n, part = 0;
    const char *end;
    int places = 0, rc = parse_digits(text, 10, &end, &n);

    if (rc < 0 || __builtin_mul_overflow(n, 1000, &n))
        return rc < 0 ? rc : -ERANGE;
    if (*end == '.') {
        for (end++; isdigit((unsigned char)*end) && places < 3; places++)
            part = part * 10 + (*end++ - '0');
        for (int i = places; i < 3; i++)
            part *= 10;
        if (places == 0)
            return -EINVAL;
    }
    *out = n + part;
    return *end == '\0' ? 0 : -EINVAL;
}

static void format_decimal(int64_t n, struct buf *out)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld.%03lld", (long long)(n / 1000),
                       (long long)(n % 1000));

    while (text[len - 1] == '0')
        len--;
    len -= text[len - 1] == '.';
    buf_append(out, text, (size_t)len);
}

static int parse_classes(const struct conf_setting *s, const char *text,
                         struct str *at)
{
    struct str list = str_from(strcmp(text, "none") == 0 ? "" : text);

    if ((int64_t)list.len > s->max)
        return -ERANGE;
    if (text[0] == '\0' || !pattern_list_ok(list))
        return -EINVAL;
    mem_free((char *)at->p);
    at->p = list.len ? mem_dup(list.p, list.len) : NULL;
    at->len = list.len;
    return 0;
}

/* "10/1s", "10/s", none. */
static int parse_rate(const struct conf_setting *s, const char *text,
                      struct conf_rate *at)
{
    struct conf_rate rate = {0};
    const char *end;
    int rc;

    if (strcmp(text, "none") == 0) {
        *at = rate;
        return 0;
    }
    rc = parse_digits(text, 10, &end, &rate.n);
    if (rc < 0 || *end != '/')
        return rc < 0 ? rc : -EINVAL;
    if (unit_factor(time_units, end + 1, &rate.ms) < 0)
        rc = parse_number(CONF_TIME, end + 1, &rate.ms);
    else if (end[1] == '\0')
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    if (rate.n < s->min || rate.n > s->max || rate.ms < 1 ||
        rate.ms > CORE_RATE_MS_MAX)
        return -ERANGE;
    *at = rate;
    return 0;
}

static void format_rate(const struct conf_rate *rate, struct buf *out)
{
    if (rate->n == 0) {
        buf_printf(out, "none");
        return;
    }
    buf_printf(out, "%lld/", (long long)rate->n);
    format_number(CONF_TIME, rate->ms, out);
}

int conf_value_parse(const struct conf_setting *s, const char *text, void *at)
{
    int64_t n = 0;
    int rc;

    switch (s->kind) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_TIME_OR:
    case CONF_SIZE:
    case CONF_SIZE_OR:
    case CONF_MODE:
    case CONF_INT_OR:
        rc = parse_number(s->kind, text, &n);
        if (rc < 0)
            return rc;
        if (n != CORE_NONE && (n < s->min || n > s->max))
            return -ERANGE;
        *(int64_t *)at = n;
        return 0;
    case CONF_YESNO:
    case CONF_FLAG:
    case CONF_LEVEL:
    case CONF_STORE:
    case CONF_SYNC:
        return parse_word(s->kind, text, at);
    case CONF_PATH:
    case CONF_NAME:
        return parse_text(s, text, at);
    case CONF_LISTEN:
        return parse_listen(text, s->max, at);
    case CONF_DECIMAL:
        rc = parse_decimal(text, &n);
        if (rc < 0)
            return rc;
        if (n < s->min || n > s->max)
            return -ERANGE;
        *(int64_t *)at = n;
        return 0;
    case CONF_CLASSES:
        return parse_classes(s, text, at);
    case CONF_RATE:
        return parse_rate(s, text, at);
    }
    BUG("kind of setting");
}

void conf_value_format(const struct conf_setting *s, const void *at,
                       struct buf *out)
{
    size_t count;

    switch (s->kind) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_TIME_OR:
    case CONF_SIZE:
    case CONF_SIZE_OR:
    case CONF_MODE:
    case CONF_INT_OR:
        format_number(s->kind, *(const int64_t *)at, out);
        return;
    case CONF_YESNO:
    case CONF_FLAG:
    case CONF_LEVEL:
    case CONF_STORE:
    case CONF_SYNC:
        buf_printf(out, "%s",
                   kind_words(s->kind, &count)[get_choice(s->kind, at)]);
        return;
    case CONF_PATH:
    case CONF_NAME: {
        const char *text = *(char *const *)at;

        buf_printf(out, "%s", text ? text : "none");
        return;
    }
    case CONF_LISTEN:
        format_listen(at, out);
        return;
    case CONF_DECIMAL:
        format_decimal(*(const int64_t *)at, out);
        return;
    case CONF_RATE:
        format_rate(at, out);
        return;
    case CONF_CLASSES: {
        const struct str *list = at;

        buf_printf(out, "%.*s", list->len ? (int)list->len : 4,
                   list->len ? list->p : "none");
        return;
    }
    }
    BUG("kind of setting");
}

void conf_value_expected(const struct conf_setting *s, struct buf *out)
{
    static const char *const nouns[] = {
        [CONF_INT] = "an integer",
        [CONF_TIME] = "a duration (ms, s, m, h, d)",
        [CONF_TIME_OR] = "none or a duration (ms, s, m, h, d)",
        [CONF_SIZE] = "a size (bytes, or K, M, G, T)",
        [CONF_SIZE_OR] = "none or a size (bytes, or K, M, G, T)",
        [CONF_MODE] = "permissions in octal",
        [CONF_INT_OR] = "none or an integer",
    };
    const char *const *words;
    size_t count;

    switch (s->kind) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_TIME_OR:
    case CONF_SIZE:
    case CONF_SIZE_OR:
    case CONF_MODE:
    case CONF_INT_OR:
        buf_printf(out, "%s from ", nouns[s->kind]);
        format_number(s->kind, s->min, out);
        buf_printf(out, " to ");
        format_number(s->kind, s->max, out);
        return;
    case CONF_YESNO:
    case CONF_FLAG:
    case CONF_LEVEL:
    case CONF_STORE:
    case CONF_SYNC:
        words = kind_words(s->kind, &count);
        for (size_t i = 0; i < count; i++)
            buf_printf(out, "%s%s",
                       i == 0          ? ""
                       : i + 1 < count ? ", "
                                       : " or ",
                       words[i]);
        return;
    case CONF_PATH:
    case CONF_NAME:
        buf_printf(out, "%s%s of at most %lld bytes", s->min ? "" : "none or ",
                   s->kind == CONF_PATH ? "an absolute path" : "a name",
                   (long long)s->max);
        return;
    case CONF_LISTEN:
        buf_printf(out,
                   "none, or up to %lld numeric addresses such as "
                   "127.0.0.1:9653 or [::1]:9653",
                   (long long)s->max);
        return;
    case CONF_DECIMAL:
        buf_printf(out, "a number of at most three decimals from ");
        format_decimal(s->min, out);
        buf_printf(out, " to ");
        format_decimal(s->max, out);
        return;
    case CONF_RATE:
        buf_printf(out,
                   "none, or a rate such as 10/1s: from %lld to %lld in an "
                   "interval of 1ms to ",
                   (long long)s->min, (long long)s->max);
        format_number(CONF_TIME, CORE_RATE_MS_MAX, out);
        return;
    case CONF_CLASSES:
        buf_printf(out,
                   "none, or classes and globs of them, separated by commas, "
                   "of at most %lld bytes",
                   (long long)s->max);
        return;
    }
    BUG("kind of setting");
}

const char *conf_value_noun(enum conf_kind kind)
{
    switch (kind) {
    case CONF_INT:
    case CONF_INT_OR:
        return "an integer";
    case CONF_RATE:
        return "a rate";
    case CONF_TIME:
    case CONF_TIME_OR:
        return "a duration";
    case CONF_SIZE:
    case CONF_SIZE_OR:
        return "a size";
    case CONF_MODE:
        return "octal";
    case CONF_YESNO:
    case CONF_FLAG:
    case CONF_LEVEL:
    case CONF_STORE:
    case CONF_SYNC:
        return "one of the choices";
    case CONF_PATH:
        return "an absolute path";
    case CONF_NAME:
        return "a name";
    case CONF_LISTEN:
        return "a list of addresses";
    case CONF_DECIMAL:
        return "a number";
    case CONF_CLASSES:
        return "a list of classes";
    }
    BUG("kind of setting");
}
