/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/report.h"

#include "runner/memory.h"

struct report *report_new(size_t argc, const struct yoke_bytes *argv)
{
    size_t size = sizeof(struct report);
    struct report *p;
    char *to;

    for (size_t i = 0; i < argc; i++)
        size += argv[i].len + 1;
    p = memory_new(size);
    p->argc = argc;
    to = (char *)(p + 1);
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len)
            memcpy(to, argv[i].data, argv[i].len);
        p->argv[i] = (struct yoke_bytes){.data = to, .len = argv[i].len};
        to += argv[i].len + 1;
    }
    return p;
}

struct report *report_fail(const char *token, const char *class_name,
                           const char *text, struct yoke_bytes detail)
{
    struct yoke_bytes argv[REPORT_WORDS] = {
        report_bytes("FAIL"), report_bytes(token), report_bytes(class_name),
        report_bytes(text), detail};

    return report_new(detail.len > 0 ? REPORT_WORDS : REPORT_WORDS - 1, argv);
}
