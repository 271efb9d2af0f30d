/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/command.h"

#include <stdarg.h>

#include "base/mem.h"
#include "server/command_internal.h"
#include "wire/id.h"
#include "wire/utf8.h"

#define READ    COMMAND_READ
#define WRITE   COMMAND_WRITE
#define BLOCK   COMMAND_BLOCK
#define OPEN    COMMAND_OPEN
#define LIVE    COMMAND_LIVE
#define FAMILY  COMMAND_FAMILY
#define LISTEN  COMMAND_LISTEN
#define LOADING COMMAND_LOADING

const struct command_row command_rows[COMMAND_COUNT] = {
#define COMMAND(id, name, min, max, flags, area, arguments, help) \
    {name, min, max, flags, area, arguments, help, handle_##id},
#define FAMILY_OF(id, name, area, help) \
    {name, 2, -1, READ | FAMILY, area, "subcommand", help, NULL},
#include "wire/commands.def"
#undef COMMAND
#undef FAMILY_OF
};

/* Open addressing by the hash of the upper-case name. */
#define DECIMAL_DIGITS 15 /* before the point */
#define SLOTS          256
#define NAME_MAX_LEN   32
static uint8_t slots[SLOTS]; /* index of the row + 1; 0: empty */

/* The last one found: requests of one kind come in crowds. */
static const struct command_row *recent;
static size_t recent_len;

const struct int_range range_wait_ms = {-1, DURATION_MAX,
                                        " milliseconds (-1: for ever)"};
const struct int_range range_duration_ms = {0, DURATION_MAX, " milliseconds"};
const struct int_range range_duration_or_none_ms = {-1, DURATION_MAX,
                                                    " milliseconds (-1: none)"};
const struct int_range range_time = {-1, TIME_MAX,
                                     " Unix milliseconds (-1: none)"};
const struct int_range range_count = {1, 10000, ""};
const struct int_range range_cursor = {0, INT64_MAX, ""};

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool str_is(struct str text, const char *name)
{
    for (size_t i = 0; i < text.len; i++)
        if (upper(text.p[i]) != name[i] || name[i] == '\0')
            return false;
    return name[text.len] == '\0';
}

static unsigned hash_name(struct str text)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)upper(text.p[i])) * 16777619u;
    return (h ^ h >> 16) & (SLOTS - 1);
}

void command_init(void)
{
    ASSERT(COMMAND_COUNT < SLOTS / 2);
    memset(slots, 0, sizeof(slots));
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        struct str name = str_from(command_rows[i].name);
        unsigned at = hash_name(name);

        ASSERT(name.len <= NAME_MAX_LEN);
        while (slots[at])
            at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)(i + 1);
    }
}

const struct command_row *command_find(struct str text)
{
    if (text.len == 0 || text.len > NAME_MAX_LEN)
        return NULL;
    if (LIKELY(text.len == recent_len) &&
        memcmp(text.p, recent->name, text.len) == 0)
        return recent;
    for (unsigned at = hash_name(text); slots[at]; at = (at + 1) % SLOTS) {
        if (str_is(text, command_rows[slots[at] - 1].name)) {
            recent = &command_rows[slots[at] - 1];
            recent_len = text.len;
            return recent;
        }
    }
    return NULL;
}

const char *command_name(int id)
{
    return command_rows[id].name;
}

unsigned command_flags(int id)
{
    return command_rows[id].flags;
}

void command_peer_init(struct command_peer *peer, uint64_t id)
{
    *peer = (struct command_peer){.id = id, .proto = 2, .last = -1};
    subscriber_init(&peer->subscriber);
}

void command_peer_clear(struct command_peer *peer)
{
    ASSERT(list_empty(&peer->subscriber.list));
    mem_free(peer->name);
    mem_free(peer->library);
    mem_free(peer->library_version);
}

void refuse_with(struct command_call *call, uint32_t code, const char *fmt, ...)
{
    char text[384];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    resp_error(call->out, code, "%s: %s", command_rows[call->id].name, text);
}

/* --- dispatch ----------------------------------------------------------- */

/* The row of a request; NULL: answered. */
static const struct command_row *find_row(struct command_call *call)
{
    const struct command_row *row = command_find(call->argv[0]);
    char name[NAME_MAX_LEN];
    struct str member;
    size_t len;

    if (!row || memchr(call->argv[0].p, ' ', call->argv[0].len)) {
        resp_error(call->out, CORE_ERR_GENERIC,
                   "unknown command '%.*s'; COMMAND LIST shows all",
                   WORD(call->argv[0]));
        return NULL;
    }
    if (!(row->flags & COMMAND_FAMILY) || call->argc < 2)
        return row;
    len = strlen(row->name);
    member = call->argv[1];
    if (len + 1 + member.len <= sizeof(name)) {
        const struct command_row *found;

        memcpy(name, row->name, len);
        name[len] = ' ';
        memcpy(name + len + 1, member.p, member.len);
        found = command_find((struct str){name, len + 1 + member.len});
        if (found)
            return found;
    }
    resp_error(call->out, CORE_ERR_GENERIC,
               "%s: unknown subcommand '%.*s'; COMMAND LIST shows all",
               row->name, WORD(member));
    return NULL;
}

/* A web page can make a browser send lines to any port of its own machine.
 * Both words begin a line of HTTP and no request of ours. */
static bool is_http(struct str word)
{
    return str_is(word, "POST") || str_is(word, "HOST:");
}

enum command_result command_run(struct command_call *call)
{
    const struct command_row *row = find_row(call);

    if (!row)
        return is_http(call->argv[0]) ? COMMAND_ABUSE : COMMAND_ANSWERED;
    call->id = (int)(row - command_rows);
    call->render = NULL;
    if (!call->peer->authenticated && !(row->flags & COMMAND_OPEN)) {
        resp_error(call->out, CORE_ERR_NOAUTH,
                   "authenticate first (AUTH or HELLO ... AUTH)");
        return COMMAND_ANSWERED;
    }
    if (call->argc < (size_t)row->min ||
        (row->max >= 0 && call->argc > (size_t)row->max)) {
        resp_error(call->out, CORE_ERR_GENERIC,
                   "wrong number of arguments for '%s'; it is: %s%s%s",
                   row->name, row->name, row->arguments[0] ? " " : "",
                   row->arguments);
        return COMMAND_ANSWERED;
    }
    /* Such a client could not tell a reply from a message. */
    if (UNLIKELY(subscriber_count(&call->peer->subscriber) > 0) &&
        call->peer->proto == 2 && !(row->flags & COMMAND_LISTEN)) {
        resp_error(call->out, CORE_ERR_GENERIC,
                   "%s: this connection is subscribed, and may use SUBSCRIBE, "
                   "UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, PING and QUIT alone "
                   "(RESP3 knows no such limit: HELLO 3)",
                   row->name);
        return COMMAND_ANSWERED;
    }
    if (UNLIKELY(call->server->loading) && !(row->flags & COMMAND_LOADING))
        return COMMAND_EARLY;
    call->server->calls[call->id]++;
    call->peer->last = call->id;
    return row->handler(call);
}

/* --- arguments ---------------------------------------------------------- */

static bool parse_int(struct str text, int64_t *out)
{
    bool negative = text.len > 0 && text.p[0] == '-';
    size_t i = negative ? 1 : 0;
    uint64_t n = 0;

    if (i == text.len || text.len - i > 19)
        return false;
    for (; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.p[i] - '0'); /* 19 digits fit */
    }
    if (n > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)n : (int64_t)n;
    return true;
}

bool int_within(struct str text, const struct int_range *range, int64_t *out)
{
    int64_t n;

    if (!parse_int(text, &n) || n < range->min || n > range->max)
        return false;
    *out = n;
    return true;
}

bool arg_int(struct command_call *call, const char *what, struct str text,
             const struct int_range *range, int64_t *out)
{
    int64_t n;
    bool number = parse_int(text, &n);

    if (int_within(text, range, out))
        return true;
    if (number && n > range->max && range->max >= DURATION_MAX)
        refuse(call, "%s must be an integer of at most %lld%s, not '%.*s'",
               what, (long long)range->max, range->unit, WORD(text));
    else if (range->max >= DURATION_MAX)
        refuse(call, "%s must be an integer of at least %lld%s, not '%.*s'",
               what, (long long)range->min, range->unit, WORD(text));
    else
        refuse(call, "%s must be an integer from %lld to %lld%s, not '%.*s'",
               what, (long long)range->min, (long long)range->max, range->unit,
               WORD(text));
    return false;
}

/* A decimal number, in thousandths. */
static bool parse_decimal(struct str text, int64_t *out)
{
    const char *point = text.len ? memchr(text.p, '.', text.len) : NULL;
    size_t whole = point ? (size_t)(point - text.p) : text.len;
    size_t places = point ? text.len - whole - 1 : 0;
    char digits[DECIMAL_DIGITS + 4] = "";

    if (whole == 0 || whole > DECIMAL_DIGITS || places > 3 ||
        (point && places == 0))
        return false;
    memcpy(digits, text.p, whole);
    memset(digits + whole, '0', 3);
    if (places)
        memcpy(digits + whole, point + 1, places);
    return digits[0] != '-' && parse_int((struct str){digits, whole + 3}, out);
}

static bool arg_decimal(struct command_call *call, const char *what,
                        struct str text, const struct int_range *range,
                        int64_t *out)
{
    int64_t n;

    if (parse_decimal(text, &n) && n >= range->min && n <= range->max) {
        *out = n;
        return true;
    }
    refuse(call,
           "%s must be a number from %lld to %lld with at most 3 decimals, "
           "not '%.*s'",
           what, (long long)(range->min / 1000), (long long)(range->max / 1000),
           WORD(text));
    return false;
}

bool arg_job(struct command_call *call, struct str text, struct job_id *out)
{
    struct id id;

    if (!id_parse(text, &id) || id.kind != ID_JOB || id.attempt) {
        refuse(call,
               "'%.*s' is not the id of a job (j and 13 of 0-9 a-z without i l "
               "o u, not all of them 0)",
               WORD(text));
        return false;
    }
    out->n = id.n;
    return true;
}

bool arg_group(struct command_call *call, struct str text, struct group_id *out)
{
    struct id id;

    if (!id_parse(text, &id) || id.kind != ID_GROUP) {
        refuse(call,
               "'%.*s' is not the id of a group (g and 13 of 0-9 a-z without i "
               "l o u, not all of them 0, or "
               "root)",
               WORD(text));
        return false;
    }
    out->n = id.n;
    return true;
}

bool arg_token(struct command_call *call, struct str text, struct token *out)
{
    struct id id;

    if (!id_parse(text, &id) || !id.attempt) {
        refuse(call, "'%.*s' is not a token (the id of a job, a dot, a number)",
               WORD(text));
        return false;
    }
    *out = (struct token){.job = {.n = id.n}, .attempt = id.attempt};
    return true;
}

static bool arg_scope(struct command_call *call, struct str text,
                      struct scope_ref *out)
{
    struct id id;

    if (id_parse(text, &id) && (id.kind == ID_GROUP || id.attempt)) {
        *out = (struct scope_ref){.is_job = id.kind == ID_JOB};
        if (out->is_job)
            out->token = (struct token){.job = {id.n}, .attempt = id.attempt};
        else
            out->group.n = id.n;
        return true;
    }
    refuse(call, "'%.*s' is neither the id of a group nor a token", WORD(text));
    return false;
}

/* Bytes of the UTF-8 character at p, or 0 if it is none or cannot be printed
 * (C0 and C1 controls). */
static size_t printable(const char *p, size_t len)
{
    uint32_t c = 0;
    size_t n = utf8_read(p, len, &c);

    return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0 : n;
}

static bool arg_label(struct command_call *call, const char *name,
                      struct str text)
{
    for (size_t i = 0; i < text.len;) {
        size_t n = printable(text.p + i, text.len - i);

        if (n == 0) {
            refuse(call, "%s must be printable UTF-8; byte %zu is not", name,
                   i + 1);
            return false;
        }
        i += n;
    }
    return true;
}

/* The value or values behind the name of an option. */
static bool option_value(struct command_call *call, const struct option *o,
                         const struct str *values)
{
    char *event = (char *)call->event;
    void *at = event + o->at;
    struct scope_ref scope;

    switch (o->kind) {
    case OPTION_INT:
        return arg_int(call, o->name, values[0], o->range, at);
    case OPTION_PAIR:
        return arg_int(call, o->name, values[0], o->range, at) &&
               arg_int(call, o->name, values[1], o->range,
                       (void *)(event + o->at2));
    case OPTION_DECIMAL:
        return arg_decimal(call, o->name, values[0], o->range, at);
    case OPTION_LABEL:
        if (!arg_label(call, o->name, values[0]))
            return false;
        *(struct str *)at = values[0];
        return true;
    case OPTION_KEY:
        if (values[0].len == 0) {
            refuse(call, "%s must not be empty", o->name);
            return false;
        }
        if (!arg_label(call, o->name, values[0]))
            return false;
        *(struct str *)at = values[0];
        return true;
    case OPTION_TEXT:
        *(struct str *)at = values[0];
        return true;
    case OPTION_GROUP:
        if (o->at2)
            *(bool *)(event + o->at2) = true;
        return arg_group(call, values[0], at);
    case OPTION_SCOPE:
        return arg_scope(call, values[0], at);
    case OPTION_MEMBER:
        if (!arg_scope(call, values[0], &scope))
            return false;
        if (scope.is_job)
            *(struct token *)(void *)(event + o->at2) = scope.token;
        else
            *(struct group_id *)at = scope.group;
        return true;
    case OPTION_FLAG:
        *(bool *)at = true;
        return true;
    }
    BUG("option kind");
}

static size_t option_values(const struct option *o)
{
    return o->kind == OPTION_FLAG ? 0 : o->kind == OPTION_PAIR ? 2 : 1;
}

static void unknown_option(struct command_call *call, struct str word,
                           const struct option *options, size_t n)
{
    char names[192];
    size_t len = 0;

    for (size_t i = 0; i < n && len < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
                                i ? ", " : "", options[i].name);
    refuse(call, "unknown option '%.*s'; options are %s", WORD(word), names);
}

bool options_read(struct command_call *call, size_t first,
                  const struct option *options, size_t n)
{
    uint32_t seen = 0;

    for (size_t i = first; i < call->argc;) {
        const struct option *o = NULL;
        size_t values, k;

        for (k = 0; k < n && !o; k++)
            if (str_is(call->argv[i], options[k].name))
                o = &options[k];
        if (!o) {
            unknown_option(call, call->argv[i], options, n);
            return false;
        }
        if (seen & UINT32_C(1) << k) {
            refuse(call, "%s is given twice", o->name);
            return false;
        }
        seen |= UINT32_C(1) << k;
        values = option_values(o);
        if (call->argc - i - 1 < values) {
            refuse(call, "%s needs %s", o->name,
                   values == 1 ? "a value" : "two values");
            return false;
        }
        if (!option_value(call, o, call->argv + i + 1))
            return false;
        i += 1 + values;
    }
    return true;
}
