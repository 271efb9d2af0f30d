/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/command.h"

#include "runner/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(char *why, size_t why_size, const char *text)
{
    snprintf(why, why_size, "%s", text);
    return -EINVAL;
}

/* Words are kept in an array that is NULL-terminated and grows by doubling;
 * counts that are a power of two are its capacities. */
static void words_add(char ***words, size_t *count, char *word)
{
    size_t n = *count;

    if (n == 0 || (n & (n - 1)) == 0)
        *words = memory_resize(*words, (n ? 2 * n : 1) + 1, sizeof(**words));
    (*words)[n] = word;
    (*words)[n + 1] = NULL;
    *count = n + 1;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* One field other than stdin, NUL-terminated. */
static int command_field(struct command *c, char *field, char *why, size_t size)
{
    if (has_prefix(field, "arg=")) {
        if (c->argc >= COMMAND_WORDS_MAX)
            return fail(why, size, "too many arguments (more than 16384)");
        words_add(&c->argv, &c->argc, field + 4);
        return 0;
    }
    if (has_prefix(field, "env=")) {
        const char *equal = strchr(field + 4, '=');

        if (!equal || equal == field + 4)
            return fail(why, size, "env= must be followed by NAME=value");
        if (c->envc >= COMMAND_WORDS_MAX)
            return fail(why, size, "too many variables (more than 16384)");
        words_add(&c->env, &c->envc, field + 4);
        return 0;
    }
    if (has_prefix(field, "dir=")) {
        if (c->dir)
            return fail(why, size, "dir= is there twice");
        if (field[4] != '/')
            return fail(why, size, "dir= must be followed by an absolute path");
        c->dir = field + 4;
        return 0;
    }
    snprintf(why, size,
             "unknown field '%.40s'; known are dir= env= arg= stdin=", field);
    return -EINVAL;
}

int command_parse(const char *payload, size_t len, struct command *out,
                  char *why, size_t why_size)
{
    struct command c = {.text = memory_text(payload, len)};
    char *at = c.text, *end = c.text + len;
    int rc = 0;

    while (at < end && rc == 0) {
        char *nul;

        if ((size_t)(end - at) >= 6 && memcmp(at, "stdin=", 6) == 0) {
            c.input = at + 6;
            c.input_len = (size_t)(end - at) - 6;
            break;
        }
        nul = memchr(at, '\0', (size_t)(end - at));
        if (!nul) {
            rc = fail(why, why_size,
                      "a field is not ended by a NUL byte; "
                      "see \"Command payloads\" in the protocol");
            break;
        }
        rc = command_field(&c, at, why, why_size);
        at = nul + 1;
    }
    if (rc == 0 && c.argc == 0)
        rc = fail(why, why_size, "there is no arg=");
    if (rc == 0 && c.argv[0][0] == '\0')
        rc = fail(why, why_size, "the first arg=, the program, is empty");
    if (rc < 0) {
        command_clear(&c);
        return rc;
    }
    *out = c;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Unquotes one word from *from to *to, both of which move on. */
static int split_word(const char **from, char **to, char *why, size_t size)
{
    char quote = '\0';
    const char *p = *from;
    char *o = *to;

    for (; *p && (quote || !is_blank(*p)); p++) {
        if (quote ? *p == quote : (*p == '\'' || *p == '"')) {
            quote = quote ? '\0' : *p;
        } else if (*p == '\\' && quote != '\'') {
            if (!p[1])
                return fail(why, size, "ends with a backslash");
            *o++ = *++p;
        } else {
            *o++ = *p;
        }
    }
    if (quote)
        return fail(why, size, "a quote is not closed");
    *o++ = '\0';
    *from = p;
    *to = o;
    return 0;
}

int command_split(const char *line, struct command *out, char *why,
                  size_t why_size)
{
    size_t old_len = 0, line_len = strlen(line), words = 0;
    struct buffer text = {0};
    char *scratch = memory_resize(NULL, line_len + 2, 1), *to = scratch;
    char *at;
    int rc = 0;

    while (rc == 0) {
        while (is_blank(*line))
            line++;
        if (!*line)
            break;
        rc = split_word(&line, &to, why, why_size);
        words++;
    }
    if (rc == 0 && out->argc + words > COMMAND_WORDS_MAX)
        rc = fail(why, why_size, "too many words (more than 16384)");
    if (rc < 0) {
        free(scratch);
        return rc;
    }

    /* The words move into one piece of text with those of earlier lines. */
    for (size_t i = 0; i < out->argc; i++)
        old_len += strlen(out->argv[i]) + 1;
    buffer_append(&text, out->text, old_len);
    buffer_append(&text, scratch, (size_t)(to - scratch));
    buffer_append(&text, "", 1);
    free(scratch);
    free(out->text);
    out->text = text.data;
    words += out->argc;
    out->argc = 0;
    at = out->text;
    for (size_t i = 0; i < words; i++) {
        words_add(&out->argv, &out->argc, at);
        at += strlen(at) + 1;
    }
    return 0;
}

void command_clear(struct command *c)
{
    free(c->argv);
    free(c->env);
    free(c->text);
    *c = (struct command){0};
}
