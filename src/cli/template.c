/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/template.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

static const char *const places[] = {"{}", "{.}", "{/}", "{//}", "{/.}", "{#}"};
#define NPLACES (sizeof(places) / sizeof(places[0]))

static void add_word(struct template *t, char *word)
{
    t->words = text_grow(t->words, t->nwords + 1, sizeof(*t->words));
    t->words[t->nwords++] = word;
}

/* The place that s begins with, or NULL. */
static const char *place_at(const char *s)
{
    for (size_t i = 0; i < NPLACES; i++)
        if (strncmp(s, places[i], strlen(places[i])) == 0)
            return places[i];
    return NULL;
}

static bool word_has_place(const char *word)
{
    for (; *word != '\0'; word++)
        if (*word == '{' && place_at(word) != NULL)
            return true;
    return false;
}

/* One word from *at on, which is at no blank. Quotes may begin and end inside
 * a word, as in a shell. */
static const char *read_word(const char **at, struct text *word)
{
    const char *s = *at;
    char quote = '\0';

    text_add(word, "", 0);
    for (; *s != '\0'; s++) {
        if (quote == '\0' && strchr(" \t\n", *s) != NULL)
            break;
        if (*s == quote) {
            quote = '\0';
        } else if (quote == '\0' && (*s == '\'' || *s == '"')) {
            quote = *s;
        } else if (*s == '\\' && quote != '\'' &&
                   (quote == '\0' || s[1] == '"' || s[1] == '\\')) {
            if (*++s == '\0')
                return "it ends with a lone backslash";
            text_addc(word, *s);
        } else {
            text_addc(word, *s);
        }
    }
    *at = s;
    if (quote != '\0')
        return quote == '"' ? "a \" is not closed" : "a ' is not closed";
    return NULL;
}

static const char *split(struct template *t, const char *s)
{
    for (;;) {
        struct text word = {0};
        const char *wrong;

        s += strspn(s, " \t\n");
        if (*s == '\0')
            return NULL;
        wrong = read_word(&s, &word);
        if (wrong != NULL) {
            text_clear(&word);
            return wrong;
        }
        add_word(t, word.data);
    }
}

const char *template_parse(struct template *t, size_t argc, char **argv)
{
    *t = (struct template){0};
    if (argc == 1 && strpbrk(argv[0], " \t\n") != NULL) {
        const char *wrong = split(t, argv[0]);

        if (wrong != NULL)
            return wrong;
    } else {
        for (size_t i = 0; i < argc; i++)
            add_word(t, text_copy(argv[i]));
    }
    if (t->nwords == 0 || t->words[0][0] == '\0')
        return "it names no command";
    for (size_t i = 0; i < t->nwords; i++)
        t->has_place = t->has_place || word_has_place(t->words[i]);
    return NULL;
}

void template_clear(struct template *t)
{
    for (size_t i = 0; i < t->nwords; i++)
        free(t->words[i]);
    free(t->words);
    *t = (struct template){0};
}

/* Where the last component of s begins, and its length without the slashes
 * that end it. */
static const char *last_component(const char *s, size_t *len)
{
    const char *end = s + strlen(s);
    const char *begin;

    while (end > s + 1 && end[-1] == '/')
        end--;
    begin = end;
    while (begin > s && begin[-1] != '/')
        begin--;
    if (begin == end && begin > s)
        begin--; /* "/": its own last component */
    *len = (size_t)(end - begin);
    return begin;
}

/* Length of s[0..len) without its extension. */
static size_t without_extension(const char *s, size_t len)
{
    for (size_t i = len; i-- > 0;) {
        if (s[i] == '/')
            break;
        if (s[i] == '.')
            return i == 0 || s[i - 1] == '/' ? len : i;
    }
    return len;
}

static void add_directory(struct text *out, const char *input)
{
    size_t len;
    const char *last = last_component(input, &len);
    size_t directory = (size_t)(last - input);

    while (directory > 1 && input[directory - 1] == '/')
        directory--;
    if (directory > 0)
        text_add(out, input, directory);
    else
        text_adds(out, input[0] == '/' ? "/" : ".");
}

static void add_place(struct text *out, const char *place, const char *input,
                      uint64_t number)
{
    size_t len;
    const char *last = last_component(input, &len);

    if (strcmp(place, "{}") == 0)
        text_adds(out, input);
    else if (strcmp(place, "{.}") == 0)
        text_add(out, input, without_extension(input, strlen(input)));
    else if (strcmp(place, "{/}") == 0)
        text_add(out, last, len);
    else if (strcmp(place, "{//}") == 0)
        add_directory(out, input);
    else if (strcmp(place, "{/.}") == 0)
        text_add(out, last, without_extension(last, len));
    else
        text_addf(out, "%" PRIu64, number);
}

static char *expand_word(const char *word, const char *input, uint64_t number)
{
    struct text out = {0};

    text_add(&out, "", 0);
    while (*word != '\0') {
        const char *place = *word == '{' ? place_at(word) : NULL;

        if (place == NULL) {
            text_addc(&out, *word++);
            continue;
        }
        add_place(&out, place, input, number);
        word += strlen(place);
    }
    return out.data;
}

char **template_expand(const struct template *t, const char *input,
                       uint64_t number)
{
    char **argv = text_alloc(t->nwords + 2, sizeof(*argv));

    for (size_t i = 0; i < t->nwords; i++)
        argv[i] = expand_word(t->words[i], input, number);
    if (!t->has_place)
        argv[t->nwords] = text_copy(input);
    return argv;
}

void template_argv_free(char **argv)
{
    if (argv == NULL)
        return;
    for (size_t i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    free(argv);
}
