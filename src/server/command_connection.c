/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command_connection - what concerns the connection and the daemon itself:
 * answered without the core, but for sessions.
 */
#include <fnmatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <time.h>

#include "base/mem.h"
#include "server/command_internal.h"
#include "wire/id.h"

#define PEER_NAME_MAX 128

/* --- small talk --------------------------------------------------------- */

enum command_result handle_ping(struct command_call *call)
{
    const struct command_peer *peer = call->peer;
    struct str text = call->argc > 1 ? call->argv[1] : STR("");

    /* It is asked whether there is somebody to work for it. */
    if (call->server->loading)
        resp_error(call->out, CORE_ERR_LOADING,
                   "yoked is replaying its journal: %d %%",
                   call->server->loaded(call->server->arg));
    else if (peer->proto == 2 && subscriber_count(&peer->subscriber) > 0) {
        resp_array(call->out, 2); /* it must look like a message */
        resp_text(call->out, "pong");
        resp_str(call->out, text);
    } else if (call->argc > 1) {
        resp_str(call->out, text);
    } else {
        resp_status(call->out, "PONG");
    }
    return COMMAND_ANSWERED;
}

enum command_result handle_echo(struct command_call *call)
{
    resp_str(call->out, call->argv[1]);
    return COMMAND_ANSWERED;
}

enum command_result handle_quit(struct command_call *call)
{
    resp_status(call->out, "OK");
    return COMMAND_QUIT;
}

enum command_result handle_select(struct command_call *call)
{
    if (str_is(call->argv[1], "0"))
        resp_status(call->out, "OK");
    else
        refuse(call, "there is only database 0, not '%.*s'",
               WORD(call->argv[1]));
    return COMMAND_ANSWERED;
}

enum command_result handle_time(struct command_call *call)
{
    struct timespec now;
    char text[32];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    resp_array(call->out, 2);
    (void)snprintf(text, sizeof(text), "%lld", (long long)now.tv_sec);
    resp_text(call->out, text);
    (void)snprintf(text, sizeof(text), "%ld", now.tv_nsec / 1000);
    resp_text(call->out, text);
    return COMMAND_ANSWERED;
}

/* --- who is talking ----------------------------------------------------- */

/* A user other than this one does not exist. */
static bool password_ok(struct command_call *call, struct str user,
                        struct str password)
{
    const struct command_server *server = call->server;
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool equal;

    if (!server->has_password)
        return str_eq(user, STR("default"));
    if (!EVP_Digest(password.p, password.len, digest, NULL, EVP_sha256(), NULL))
        BUG("SHA-256 is not to be had");
    equal =
        CRYPTO_memcmp(digest, server->password_digest, COMMAND_DIGEST_LEN) == 0;
    if (equal && str_eq(user, STR("default")))
        return true;
    call->server->wrong_passwords++;
    return false;
}

static enum command_result wrong_password(struct command_call *call)
{
    resp_error(call->out, CORE_ERR_WRONGPASS,
               "the password is wrong, or the user is not 'default'");
    return COMMAND_ANSWERED;
}

enum command_result handle_auth(struct command_call *call)
{
    struct str user = call->argc > 2 ? call->argv[1] : STR("default");

    if (!call->server->has_password && call->argc == 2) {
        refuse(call, "this daemon has no password; none is needed");
        return COMMAND_ANSWERED;
    }
    if (!password_ok(call, user, call->argv[call->argc - 1]))
        return wrong_password(call);
    call->peer->authenticated = true;
    resp_status(call->out, "OK");
    return COMMAND_ANSWERED;
}

/* Names go into lines of text, between blanks. */
static bool name_ok(struct command_call *call, const char *what,
                    struct str name)
{
    bool ok = name.len <= PEER_NAME_MAX;

    for (size_t i = 0; i < name.len && ok; i++)
        ok = name.p[i] > ' ' && name.p[i] <= '~';
    if (!ok)
        refuse(call,
               "%s may have up to %d printable ASCII characters, no blanks",
               what, PEER_NAME_MAX);
    return ok;
}

static void set_text(char **text, struct str to)
{
    mem_free(*text);
    *text = to.len ? mem_dup_text(to.p, to.len) : NULL;
}

/* The answer of HELLO; the value is the session's id. */
static void render_hello(struct command_call *call, const char *bytes,
                         size_t *at)
{
    struct buf *out = call->out;
    int proto = call->peer->proto;

    resp_map(out, proto, 9);
    resp_text(out, "server");
    resp_text(out, "yoke");
    resp_text(out, "version");
    resp_text(out, call->server->version);
    resp_text(out, "proto");
    resp_int(out, proto);
    resp_text(out, "id");
    resp_int(out, (int64_t)call->peer->id);
    resp_text(out, "mode");
    resp_text(out, "standalone");
    resp_text(out, "role");
    resp_text(out, "master");
    resp_text(out, "modules");
    resp_array(out, 0);
    resp_text(out, "session");
    resp_value(out, proto, bytes, at);
    resp_text(out, "lease");
    resp_int(out, call->server->lease_ms);
}

enum command_result handle_hello(struct command_call *call)
{
    struct command_peer *peer = call->peer;
    int proto = peer->proto;
    bool authenticated = peer->authenticated, named = false;
    struct str name = {0};
    size_t i = 2;

    if (call->argc > 1) {
        if (!str_is(call->argv[1], "2") && !str_is(call->argv[1], "3")) {
            resp_error(call->out, CORE_ERR_NOPROTO,
                       "HELLO: the protocol must be 2 or 3, not '%.*s'",
                       WORD(call->argv[1]));
            return COMMAND_ANSWERED;
        }
        proto = call->argv[1].p[0] - '0';
    }
    while (i < call->argc) {
        size_t left = call->argc - i;

        if (str_is(call->argv[i], "AUTH") && left > 2) {
            if (!password_ok(call, call->argv[i + 1], call->argv[i + 2]))
                return wrong_password(call);
            authenticated = true;
            i += 3;
        } else if (str_is(call->argv[i], "SETNAME") && left > 1) {
            name = call->argv[i + 1];
            named = true;
            if (!name_ok(call, "the name", name))
                return COMMAND_ANSWERED;
            i += 2;
        } else {
            refuse(call, "'%.*s' is not AUTH user password, nor SETNAME name",
                   WORD(call->argv[i]));
            return COMMAND_ANSWERED;
        }
    }
    if (!authenticated) {
        resp_error(call->out, CORE_ERR_NOAUTH,
                   "HELLO needs AUTH default <password> here");
        return COMMAND_ANSWERED;
    }
    peer->authenticated = true;
    peer->proto = proto;
    if (named)
        set_text(&peer->name, name);
    call->render = render_hello;
    call->event->kind = EVENT_SESSION;
    return COMMAND_STEP;
}

enum command_result handle_session_resume(struct command_call *call)
{
    struct id id;

    if (!id_parse(call->argv[2], &id) || id.kind != ID_SESSION) {
        refuse(call,
               "'%.*s' is not the id of a session (s and 13 of 0-9 a-z without "
               "i l o u, not all of them 0)",
               WORD(call->argv[2]));
        return COMMAND_ANSWERED;
    }
    call->event->u.session.n = id.n;
    call->event->kind = EVENT_SESSION_RESUME;
    return COMMAND_STEP;
}

enum command_result handle_backup_start(struct command_call *call)
{
    return call->server->backup(call->server->arg, call);
}

enum command_result handle_backup_next(struct command_call *call)
{
    return call->server->backup(call->server->arg, call);
}

enum command_result handle_backup_stop(struct command_call *call)
{
    return call->server->backup(call->server->arg, call);
}

enum command_result handle_client_id(struct command_call *call)
{
    resp_int(call->out, (int64_t)call->peer->id);
    return COMMAND_ANSWERED;
}

enum command_result handle_client_getname(struct command_call *call)
{
    if (call->peer->name)
        resp_text(call->out, call->peer->name);
    else
        resp_null(call->out, call->peer->proto);
    return COMMAND_ANSWERED;
}

enum command_result handle_client_setname(struct command_call *call)
{
    if (!name_ok(call, "the name", call->argv[2]))
        return COMMAND_ANSWERED;
    set_text(&call->peer->name, call->argv[2]);
    resp_status(call->out, "OK");
    return COMMAND_ANSWERED;
}

enum command_result handle_client_setinfo(struct command_call *call)
{
    char **text;

    if (str_is(call->argv[2], "LIB-NAME"))
        text = &call->peer->library;
    else if (str_is(call->argv[2], "LIB-VER"))
        text = &call->peer->library_version;
    else {
        refuse(call, "'%.*s' is neither LIB-NAME nor LIB-VER",
               WORD(call->argv[2]));
        return COMMAND_ANSWERED;
    }
    if (!name_ok(call, "the value", call->argv[3]))
        return COMMAND_ANSWERED;
    set_text(text, call->argv[3]);
    resp_status(call->out, "OK");
    return COMMAND_ANSWERED;
}

static enum command_result describe(struct command_call *call,
                                    const struct command_peer *peer)
{
    struct buf text;

    buf_init(&text);
    call->server->clients(call->server->arg, peer, &text);
    resp_str(call->out, (struct str){text.data, buf_size(&text)});
    buf_clear(&text);
    return COMMAND_ANSWERED;
}

enum command_result handle_client_info(struct command_call *call)
{
    return describe(call, call->peer);
}

enum command_result handle_client_list(struct command_call *call)
{
    return describe(call, NULL);
}

/* --- COMMAND ------------------------------------------------------------ */

/* "GROUP OPEN" is shown as Redis does: "group|open". */
static void put_name(struct buf *out, const struct command_row *row)
{
    char name[32];
    size_t len = strlen(row->name);

    ASSERT(len <= sizeof(name));
    for (size_t i = 0; i < len; i++) {
        char c = row->name[i];

        name[i] = c == ' ' ? '|' : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    resp_str(out, (struct str){name, len});
}

/* A second word of the family `row`. */
static bool is_member(const struct command_row *row,
                      const struct command_row *member)
{
    size_t len = strlen(row->name);

    return strncmp(member->name, row->name, len) == 0 &&
           member->name[len] == ' ';
}

static bool is_top(const struct command_row *row)
{
    return !strchr(row->name, ' ');
}

static size_t count_top(void)
{
    size_t n = 0;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        n += is_top(&command_rows[i]);
    return n;
}

static size_t count_members(const struct command_row *row)
{
    size_t n = 0;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        n += is_member(row, &command_rows[i]);
    return n;
}

static void put_flags(struct buf *out, unsigned flags)
{
    bool write = flags & COMMAND_WRITE, block = flags & COMMAND_BLOCK,
         open = flags & COMMAND_OPEN, loading = flags & COMMAND_LOADING;

    resp_array(out, 1u + block + open + loading);
    resp_status(out, write ? "write" : "readonly");
    if (block)
        resp_status(out, "blocking");
    if (open)
        resp_status(out, "no_auth");
    if (loading)
        resp_status(out, "loading");
}

/* The ten elements of Redis' COMMAND INFO; no command here has keys. Members
 * of families have none of their own. */
static void put_info(struct buf *out, const struct command_row *row)
{
    resp_array(out, 10);
    put_name(out, row);
    resp_int(out, row->min == row->max ? row->min : -row->min);
    put_flags(out, row->flags);
    for (int i = 0; i < 3; i++)
        resp_int(out, 0);
    for (int i = 0; i < 3; i++)
        resp_array(out, 0);
    resp_array(out, count_members(row));
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (is_member(row, &command_rows[i]))
            put_info(out, &command_rows[i]);
}

static void put_docs(struct buf *out, int proto, const struct command_row *row)
{
    size_t members = count_members(row);
    bool arguments = members == 0 && row->arguments[0];

    resp_map(out, proto, 3u + arguments + (members > 0));
    resp_text(out, "summary");
    resp_text(out, row->help);
    resp_text(out, "since");
    resp_text(out, "0.1.0");
    resp_text(out, "group");
    resp_text(out, row->area);
    if (arguments) {
        resp_text(out, "arguments");
        resp_array(out, 1);
        resp_map(out, proto, 2);
        resp_text(out, "name");
        resp_text(out, row->arguments);
        resp_text(out, "type");
        resp_text(out, "string");
    }
    if (members == 0)
        return;
    resp_text(out, "subcommands");
    resp_map(out, proto, members);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (is_member(row, &command_rows[i])) {
            put_name(out, &command_rows[i]);
            put_docs(out, proto, &command_rows[i]);
        }
    }
}

/* A row by the name that a client uses: "submit", "group|open". */
static const struct command_row *find_shown(struct str shown)
{
    char name[32];

    if (shown.len > sizeof(name))
        return NULL;
    for (size_t i = 0; i < shown.len; i++)
        name[i] = shown.p[i] == '|' ? ' ' : shown.p[i];
    return command_find((struct str){name, shown.len});
}

static enum command_result all_info(struct command_call *call)
{
    resp_array(call->out, count_top());
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (is_top(&command_rows[i]))
            put_info(call->out, &command_rows[i]);
    return COMMAND_ANSWERED;
}

enum command_result handle_command(struct command_call *call)
{
    return all_info(call);
}

enum command_result handle_command_count(struct command_call *call)
{
    resp_int(call->out, (int64_t)count_top());
    return COMMAND_ANSWERED;
}

enum command_result handle_command_info(struct command_call *call)
{
    if (call->argc == 2)
        return all_info(call);
    resp_array(call->out, call->argc - 2);
    for (size_t i = 2; i < call->argc; i++) {
        const struct command_row *row = find_shown(call->argv[i]);

        if (row)
            put_info(call->out, row);
        else
            resp_null(call->out, call->peer->proto);
    }
    return COMMAND_ANSWERED;
}

enum command_result handle_command_docs(struct command_call *call)
{
    int proto = call->peer->proto;
    size_t known = 0;

    if (call->argc == 2) {
        resp_map(call->out, proto, count_top());
        for (size_t i = 0; i < COMMAND_COUNT; i++) {
            if (is_top(&command_rows[i])) {
                put_name(call->out, &command_rows[i]);
                put_docs(call->out, proto, &command_rows[i]);
            }
        }
        return COMMAND_ANSWERED;
    }
    for (size_t i = 2; i < call->argc; i++)
        known += find_shown(call->argv[i]) != NULL;
    resp_map(call->out, proto, known);
    for (size_t i = 2; i < call->argc; i++) {
        const struct command_row *row = find_shown(call->argv[i]);

        if (row) {
            put_name(call->out, row);
            put_docs(call->out, proto, row);
        }
    }
    return COMMAND_ANSWERED;
}

enum command_result handle_command_list(struct command_call *call)
{
    resp_array(call->out, COMMAND_COUNT);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        put_name(call->out, &command_rows[i]);
    return COMMAND_ANSWERED;
}

/* --- the daemon --------------------------------------------------------- */

bool command_info_wants(const struct str *sections, size_t n,
                        const char *section)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(section);

        if (sections[i].len == len &&
            strncasecmp(sections[i].p, section, len) == 0)
            return true;
        if (str_is(sections[i], "ALL") || str_is(sections[i], "DEFAULT") ||
            str_is(sections[i], "EVERYTHING"))
            return true;
    }
    return n == 0;
}

enum command_result handle_info(struct command_call *call)
{
    struct buf text;

    buf_init(&text);
    call->server->info(call->server->arg, call->argv + 1, call->argc - 1,
                       &text);
    resp_str(call->out, (struct str){text.data, buf_size(&text)});
    buf_clear(&text);
    return COMMAND_ANSWERED;
}

/* CONFIG GET collects what matches before it knows how much that is. */
struct matches {
    struct command_call *call;
    struct buf found; /* rendered */
    size_t count;
};

static void add_setting(void *arg, const char *name, const char *value)
{
    struct matches *m = arg;

    for (size_t i = 2; i < m->call->argc; i++) {
        char pattern[128];
        struct str given = m->call->argv[i];

        if (given.len >= sizeof(pattern))
            continue; /* longer than any name */
        memcpy(pattern, given.p, given.len);
        pattern[given.len] = '\0';
        if (fnmatch(pattern, name, FNM_CASEFOLD) == 0) {
            resp_text(&m->found, name);
            resp_text(&m->found, value);
            m->count++;
            return;
        }
    }
}

enum command_result handle_config_get(struct command_call *call)
{
    struct matches m = {.call = call};

    /* Asked by redis-benchmark of every server it measures. */
    add_setting(&m, "save", "");
    add_setting(&m, "appendonly", "no");
    if (call->server->settings)
        call->server->settings(call->server->arg, add_setting, &m);
    resp_map(call->out, call->peer->proto, m.count);
    buf_append(call->out, m.found.data, buf_size(&m.found));
    buf_clear(&m.found);
    return COMMAND_ANSWERED;
}

enum command_result handle_shutdown(struct command_call *call)
{
    if (call->argc > 1 && !str_is(call->argv[1], "DRAIN")) {
        refuse(call, "'%.*s' is not DRAIN", WORD(call->argv[1]));
        return COMMAND_ANSWERED;
    }
    if (!call->server->can_shutdown) {
        refuse(call, "this daemon is stopped in another way");
        return COMMAND_ANSWERED;
    }
    call->drain = call->argc > 1;
    resp_status(call->out, "OK");
    return COMMAND_SHUTDOWN;
}
