/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of a runner's reports.
 */
#include "runner/report.h"

#include <check.h>
#include <stdlib.h>

#include "laws.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static void is(struct yoke_bytes word, const char *text)
{
    ck_assert_uint_eq(word.len, strlen(text));
    ck_assert_mem_eq(word.data, text, word.len);
}

START_TEST(a_report_outlasts_what_it_was_made_of)
{
    char token[] = "j1.1", text[] = "why", detail[] = {'a', '\0', 'b'};
    struct report *p = report_fail(token, "exit:1", text,
                                   (struct yoke_bytes){detail, sizeof(detail)});

    memset(token, 'x', sizeof(token));
    memset(text, 'x', sizeof(text));
    memset(detail, 'x', sizeof(detail));
    ck_assert_uint_eq(p->argc, 5);
    is(p->argv[0], "FAIL");
    is(p->argv[1], "j1.1");
    is(p->argv[2], "exit:1");
    is(p->argv[3], "why");
    ck_assert_uint_eq(p->argv[4].len, 3);
    ck_assert_mem_eq(p->argv[4].data, "a\0b", 3);
    ck_assert(!p->last_resort);
    free(p);
}
END_TEST

START_TEST(an_empty_detail_is_no_word)
{
    struct report *p =
        report_fail("j1.1", "timeout", "", (struct yoke_bytes){0});

    ck_assert_uint_eq(p->argc, 4);
    is(p->argv[3], "");
    free(p);
}
END_TEST

/* It is looked for by strcmp. */
START_TEST(a_token_ends_with_a_nul)
{
    const struct yoke_bytes argv[] = {{"DONE", 4}, {"j12.345", 3}, {NULL, 0}};
    struct report *p = report_new(COUNT_OF(argv), argv);

    ck_assert_str_eq(p->argv[1].data, "j12");
    ck_assert_uint_eq(p->argc, 3);
    ck_assert_uint_eq(p->argv[2].len, 0);
    free(p);
}
END_TEST

int main(void)
{
    const struct law laws[] = {
        {a_report_outlasts_what_it_was_made_of, 1},
        {an_empty_detail_is_no_word, 1},
        {a_token_ends_with_a_nul, 1},
    };

    return laws_run("report", laws, COUNT_OF(laws));
}
