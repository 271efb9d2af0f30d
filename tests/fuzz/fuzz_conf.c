/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_conf - any bytes as a configuration file: it is taken or refused, with
 * a reason, and what was taken can be written down and read back.
 */
#include "server/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is in force, as a file. */
static void write_down(const struct conf *c, struct buf *out)
{
    const struct conf_setting *s;
    size_t n;

    s = conf_settings(&n);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "[%s]\n%s = ", s[i].section, s[i].key);
        conf_format(c, &s[i], out);
        buf_append_byte(out, '\n');
    }
}

/* A path or a list may be longer than a line with its key before it, or hold
 * what begins a comment. */
static bool fits(const struct buf *file)
{
    const char *at = buf_front(file), *end = at + buf_size(file);

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        if (newline - at > 198 || memchr(at, ';', (size_t)(newline - at)))
            return false;
        at = newline + 1;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf errors, first, second;
    struct conf c;
    int rc;

    buf_init(&errors);
    buf_init(&first);
    buf_init(&second);
    conf_init(&c);
    rc = conf_read(&c, "fuzz", (struct str){(const char *)data, size}, NULL, 0,
                   &errors);
    ASSERT((rc == 0) == (buf_size(&errors) == 0));
    if (rc == 0)
        write_down(&c, &first);
    conf_clear(&c);
    if (rc == 0 && fits(&first)) {
        conf_init(&c);
        rc = conf_read(&c, "again",
                       (struct str){buf_front(&first), buf_size(&first)}, NULL,
                       0, &errors);
        ASSERT(rc == 0);
        write_down(&c, &second);
        ASSERT(str_eq((struct str){buf_front(&first), buf_size(&first)},
                      (struct str){buf_front(&second), buf_size(&second)}));
        conf_clear(&c);
    }
    buf_clear(&errors);
    buf_clear(&first);
    buf_clear(&second);
    return 0;
}
