/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command_payload - a command line as the payload of a job.
 *
 *     dir=…\0  env=NAME=value\0 …  arg=…\0 …  stdin=the rest
 */
#include "client/client.h"

/* Counts when `to` is NULL, writes when it is not. */
struct writer {
    char *to;
    size_t len;
};

static void put(struct writer *w, const char *data, size_t len)
{
    if (w->to && len)
        memcpy(w->to + w->len, data, len);
    w->len += len;
}

static void put_field(struct writer *w, const char *key, const char *text)
{
    put(w, key, strlen(key));
    put(w, text, strlen(text) + 1);
}

static void put_command(struct writer *w, const char *dir,
                        const char *const *env, const char *const *argv,
                        struct yoke_bytes input)
{
    if (dir)
        put_field(w, "dir=", dir);
    for (; env && *env; env++)
        put_field(w, "env=", *env);
    for (; *argv; argv++)
        put_field(w, "arg=", *argv);
    if (input.data) {
        put(w, "stdin=", 6);
        put(w, input.data, input.len);
    }
}

static bool is_setting(const char *text)
{
    const char *equals = strchr(text, '=');

    return equals && equals != text;
}

int yoke_command_payload(const char *dir, const char *const *env,
                         const char *const *argv, struct yoke_bytes input,
                         struct yoke_bytes *out)
{
    struct writer w = {.to = NULL};

    if (!argv || !*argv || **argv == '\0' || (dir && *dir != '/') ||
        (!input.data && input.len > 0))
        return YOKE_ERR_ARGUMENT;
    for (const char *const *e = env; e && *e; e++)
        if (!is_setting(*e))
            return YOKE_ERR_ARGUMENT;

    put_command(&w, dir, env, argv, input);
    w.to = yk_alloc(w.len + 1);
    if (!w.to)
        return YOKE_ERR_NOMEM;
    w.len = 0;
    put_command(&w, dir, env, argv, input);
    w.to[w.len] = '\0';
    *out = (struct yoke_bytes){.data = w.to, .len = w.len};
    return 0;
}

void yoke_free(void *p)
{
    free(p);
}
