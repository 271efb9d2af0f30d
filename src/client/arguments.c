/* SPDX-License-Identifier: BSD-2-Clause */
/* arguments - a request as it is put together. */
#include "client/client.h"

#include <inttypes.h>
#include <stdlib.h>

void yk_args_init(struct yk_args *a, const char *word)
{
    a->count = a->numbers = 0;
    yk_args_text(a, word);
}

void yk_args_bytes(struct yk_args *a, struct yoke_bytes bytes)
{
    /* Every request has a known shape and YK_ARGS_MAX holds the longest. A
     * library does not abort: yk_call refuses what did not fit. */
    if (a->count < YK_ARGS_MAX)
        a->v[a->count] = bytes;
    a->count++;
}

void yk_args_text(struct yk_args *a, const char *text)
{
    yk_args_bytes(a, (struct yoke_bytes){.data = text, .len = strlen(text)});
}

void yk_args_int(struct yk_args *a, int64_t i)
{
    char *to;

    if (a->numbers == YK_NUMBERS_MAX) {
        a->count = YK_ARGS_MAX + 1;
        return;
    }
    to = a->number[a->numbers++];
    (void)snprintf(to, sizeof(a->number[0]), "%" PRId64, i); /* always fits */
    yk_args_text(a, to);
}

void yk_args_option(struct yk_args *a, const char *name, const char *text)
{
    if (!text)
        return;
    yk_args_text(a, name);
    yk_args_text(a, text);
}

void yk_args_option_decimal(struct yk_args *a, const char *name, int64_t milli)
{
    char *to;

    if (milli == YOKE_DEFAULT)
        return;
    yk_args_text(a, name);
    yk_args_int(a, milli / 1000);
    if (milli % 1000 <= 0 || a->count > YK_ARGS_MAX)
        return; /* below zero: the daemon says what is wrong */
    to = a->number[a->numbers - 1];
    (void)snprintf(to, sizeof(a->number[0]), "%" PRId64 ".%03d", milli / 1000,
                   (int)(milli % 1000)); /* always fits */
    a->v[a->count - 1].len = strlen(to);
}

void yk_args_option_int(struct yk_args *a, const char *name, int64_t i)
{
    if (i == YOKE_DEFAULT)
        return;
    yk_args_text(a, name);
    yk_args_int(a, i);
}

void yk_args_hello(struct yk_args *a, const char *password, const char *name)
{
    yk_args_init(a, "HELLO");
    yk_args_text(a, "2");
    if (password) {
        yk_args_text(a, "AUTH");
        yk_args_text(a, "default");
        yk_args_text(a, password);
    }
    yk_args_option(a, "SETNAME", name);
}

const char *yk_scope(const yoke *y, const char *given)
{
    const char *scope = given ? given : y->scope;

    if (!given && scope[0] == '\0')
        scope = secure_getenv(YOKE_ENV_SCOPE);
    return scope && scope[0] != '\0' ? scope : NULL;
}
