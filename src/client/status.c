/* SPDX-License-Identifier: BSD-2-Clause */
/* status - names of statuses, and what a handle says about its last failure. */
#include "config.h"

#include "client/client.h"

#include <stdarg.h>

static const struct {
    int status;
    const char *name;
} statuses[] = {
    {YOKE_OK, "ok"},
    {YOKE_ERR_ARGUMENT, "argument"},
    {YOKE_ERR_CONNECT, "connect"},
    {YOKE_ERR_IO, "io"},
    {YOKE_ERR_PROTOCOL, "protocol"},
    {YOKE_ERR_TIMEOUT, "timeout"},
    {YOKE_ERR_INTERRUPTED, "interrupted"},
    {YOKE_ERR_NOMEM, "nomem"},
#define ERROR(id, code, meaning) {YOKE_ERR_##id, code},
#include "wire/errors.def"
#undef ERROR
};

const char *yoke_status_name(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].name;
    return "unknown";
}

const char *yoke_version(void)
{
    return PACKAGE_VERSION;
}

const char *yoke_error_text(const yoke *y)
{
    return y ? y->text : "out of memory";
}

int yk_status_of(struct yoke_bytes text)
{
    const char *space = memchr(text.data, ' ', text.len);
    size_t len = space ? (size_t)(space - text.data) : text.len;

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status <= YOKE_ERR_GENERIC &&
            strlen(statuses[i].name) == len &&
            memcmp(statuses[i].name, text.data, len) == 0)
            return statuses[i].status;
    return YOKE_ERR_GENERIC;
}

int yk_fail(yoke *y, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(y->text, sizeof(y->text), fmt, ap); /* may be cut */
    va_end(ap);
    return status;
}

int yk_nomem(yoke *y)
{
    return yk_fail(y, YOKE_ERR_NOMEM, "out of memory");
}
