/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * again - what may be asked again when its answer was lost, and what a handle
 * would lose with its session: the attempts that it holds.
 */
#include "client/client.h"

#include <strings.h>

/* What is not in the list does something each time, or belongs to the
 * connection: it is not asked again. The first row that fits counts. */
static const struct rule {
    const char *word, *second; /* NULL: none, or any */
    enum yk_again again;
    bool waits; /* until more is asked, which ends it; FETCH aside */
} rules[] = {
    {"AWAIT", NULL, YK_ALWAYS, false},
    {"UNAWAIT", NULL, YK_ALWAYS, false},
    {"SUBMIT", NULL, YK_NUMBERED, false},
    {"FETCH", NULL, YK_FETCHES, false},
    {"DONE", NULL, YK_REPORTS, false},
    {"FAIL", NULL, YK_REPORTS, false},
    {"RELEASE", NULL, YK_REPORTS, false},
    {"WAIT", NULL, YK_ALWAYS, true},
    {"STATUS", NULL, YK_ALWAYS, false},
    {"RESULT", NULL, YK_ALWAYS, false},
    {"LOGS", NULL, YK_ALWAYS, true},
    {"JOBS", NULL, YK_ALWAYS, false},
    {"CANCEL", NULL, YK_ALWAYS, false},
    {"RESCHEDULE", NULL, YK_ALWAYS, false},
    {"TOUCH", NULL, YK_ALWAYS, false},
    {"READY", NULL, YK_ALWAYS, false},
    {"SHIELD", NULL, YK_ALWAYS, false},
    {"UNSHIELD", NULL, YK_ALWAYS, false},
    {"GROUP", "OPEN", YK_NUMBERED, false},
    {"GROUP", "WAIT", YK_ALWAYS, true},
    {"GROUP", "NEXT", YK_ALWAYS, true},
    {"GROUP", "LOGS", YK_ALWAYS, true},
    {"GROUP", NULL, YK_ALWAYS, false},
    {"QUEUE", "PURGE", YK_NEVER, false},
    {"QUEUE", "JOIN", YK_ALWAYS, true},
    {"QUEUE", NULL, YK_ALWAYS, false},
    {"DEAD", "LIST", YK_ALWAYS, false},
    {"LIMITER", "DEL", YK_NEVER, false},
    {"LIMITER", NULL, YK_ALWAYS, false},
    {"PING", NULL, YK_ALWAYS, false},
    {"ECHO", NULL, YK_ALWAYS, false},
    {"INFO", NULL, YK_ALWAYS, false},
    {"TIME", NULL, YK_ALWAYS, false},
    {"CONFIG", NULL, YK_ALWAYS, false},
    {"COMMAND", NULL, YK_ALWAYS, false},
};

static bool is_word(struct yoke_bytes given, const char *word)
{
    return given.len == strlen(word) &&
           strncasecmp(given.data, word, given.len) == 0;
}

static const struct rule *rule_of(size_t argc, const struct yoke_bytes *argv)
{
    static const struct rule other = {.again = YK_NEVER};

    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (is_word(argv[0], rules[i].word) &&
            (!rules[i].second ||
             (argc > 1 && is_word(argv[1], rules[i].second))))
            return &rules[i];
    return &other;
}

enum yk_again yk_again_of(size_t argc, const struct yoke_bytes *argv)
{
    return rule_of(argc, argv)->again;
}

bool yk_may_wait(size_t argc, const struct yoke_bytes *argv)
{
    return rule_of(argc, argv)->waits;
}

bool yk_answered_soon(const yoke *y, enum yk_again again, size_t argc,
                      const struct yoke_bytes *argv)
{
    char wait[24] = "";

    if (again != YK_FETCHES || argc < 3 || argv[2].len >= sizeof(wait))
        return again == YK_REPORTS;
    memcpy(wait, argv[2].data, argv[2].len);
    /* What is no number is refused, and that soon. */
    return strtoull(wait, NULL, 10) <= (uint64_t)y->lease_ms / 3;
}

bool yk_opens_owned(size_t argc, const struct yoke_bytes *argv)
{
    if (!is_word(argv[0], "GROUP"))
        return false;
    for (size_t i = 2; i < argc; i += 2) /* options have one value each */
        if (is_word(argv[i], "DETACHED"))
            return false;
    return true;
}

/* --------------------------------------------------------------- attempts */

static struct yk_held *held_find(yoke *y, const char *token, size_t len)
{
    for (size_t i = 0; i < y->nheld; i++)
        if (strlen(y->held[i].token) == len &&
            memcmp(y->held[i].token, token, len) == 0)
            return &y->held[i];
    return NULL;
}

static bool held_add(yoke *y, struct yoke_bytes token)
{
    if (token.len > YK_ID_MAX || held_find(y, token.data, token.len))
        return true; /* no token of a yoked */
    if (y->nheld == y->held_cap) {
        size_t cap = y->held_cap ? y->held_cap * 2 : 16;
        struct yk_held *grown = yk_resize(y->held, cap, sizeof(*grown));

        if (!grown)
            return false;
        y->held = grown;
        y->held_cap = cap;
    }
    y->held[y->nheld] = (struct yk_held){.reported = false};
    memcpy(y->held[y->nheld++].token, token.data, token.len);
    return true;
}

bool yk_held_fetched(yoke *y, const struct yoke_value *reply)
{
    if (reply->kind != YOKE_ARRAY)
        return true;
    for (size_t i = 0; i < reply->count; i++) {
        const struct yoke_value *e = &reply->items[i];

        if (e->kind == YOKE_ARRAY && e->count > 1 &&
            e->items[1].kind == YOKE_STR &&
            strcmp(yk_value_text(&e->items[0], ""), "job") == 0 &&
            !held_add(y, e->items[1].s))
            return false;
    }
    return true;
}

void yk_held_reported(yoke *y, struct yoke_bytes token)
{
    struct yk_held *h = held_find(y, token.data, token.len);

    if (h)
        h->reported = true;
}

/* The words of a request as it was written, one after the other. */
static struct yoke_bytes next_word(const char **at)
{
    char *end;
    size_t len = strtoul(*at + 1, &end, 10); /* "$len\r\n" */
    struct yoke_bytes word = {.data = end + 2, .len = len};

    *at = end + 2 + len + 2;
    return word;
}

int yk_held_answered(yoke *y, const char *request, bool again, int status)
{
    const char *at = strchr(request, '\n') + 1;
    struct yoke_bytes verb = next_word(&at), token = next_word(&at);
    struct yk_held *h = held_find(y, token.data, token.len);

    if (h &&
        (status == 0 || status == YOKE_ERR_STALE || status == YOKE_ERR_NOJOB))
        *h = y->held[--y->nheld];
    else if (h)
        h->reported = false; /* refused: it is still to be reported */
    /* That it is not ours any more is what was asked for. */
    return again && status == YOKE_ERR_STALE && is_word(verb, "RELEASE")
               ? 0
               : status;
}

static bool names(const struct yoke_value *tokens, const char *token)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (strcmp(yk_value_text(&tokens->items[i], ""), token) == 0)
            return true;
    return false;
}

const char *yk_held_missing(const yoke *y, const struct yoke_value *tokens)
{
    for (size_t i = 0; i < y->nheld; i++)
        if (!y->held[i].reported && !names(tokens, y->held[i].token))
            return y->held[i].token;
    return NULL;
}

bool yk_held_knows(yoke *y, const char *token)
{
    return held_find(y, token, strlen(token)) != NULL;
}

bool yk_held_any(const yoke *y)
{
    for (size_t i = 0; i < y->nheld; i++)
        if (!y->held[i].reported)
            return true;
    return false;
}
