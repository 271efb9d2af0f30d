/* SPDX-License-Identifier: BSD-2-Clause */
#include <check.h>
#include <stdlib.h>

#include "wire/id.h"

static void expect_text(struct id id, const char *text)
{
    char out[ID_TEXT_MAX];
    size_t len = id_format(out, id);
    struct id back = {0};

    ck_assert_uint_eq(len, strlen(text));
    ck_assert_mem_eq(out, text, len);
    ck_assert(id_parse(str_from(text), &back));
    ck_assert_int_eq(back.kind, id.kind);
    ck_assert_uint_eq(back.n, id.n);
    ck_assert_uint_eq(back.attempt, id.attempt);
}

START_TEST(an_id_has_a_letter_and_thirteen_digits)
{
    expect_text((struct id){.kind = ID_JOB, .n = 1}, "j0000000000001");
    expect_text((struct id){.kind = ID_GROUP, .n = 31}, "g000000000000z");
    expect_text((struct id){.kind = ID_SESSION, .n = 32}, "s0000000000010");
    expect_text((struct id){.kind = ID_JOB, .n = UINT64_MAX}, "jfzzzzzzzzzzzz");
}
END_TEST

START_TEST(a_token_has_its_attempt_behind_a_dot)
{
    expect_text((struct id){.kind = ID_JOB, .n = 7, .attempt = 1},
                "j0000000000007.1");
    expect_text((struct id){.kind = ID_JOB, .n = 7, .attempt = UINT32_MAX},
                "j0000000000007.4294967295");
}
END_TEST

START_TEST(the_group_zero_is_root)
{
    expect_text((struct id){.kind = ID_GROUP}, "root");
}
END_TEST

START_TEST(every_bit_comes_back)
{
    for (int bit = 0; bit < 64; bit++) {
        char out[ID_TEXT_MAX];
        struct id id = {.kind = ID_JOB, .n = UINT64_C(1) << bit}, back = {0};
        size_t len = id_format(out, id);

        ck_assert(id_parse((struct str){out, len}, &back));
        ck_assert_uint_eq(back.n, id.n);
    }
}
END_TEST

START_TEST(only_one_spelling_is_an_id)
{
    static const char *const wrong[] = {
        "",
        "j",
        "j000000000001",             /* a digit short */
        "j00000000000001",           /* one too many */
        "x0000000000001",            /* no such kind */
        "J0000000000001",            /* upper case */
        "j000000000000A",            /**/
        "j000000000000i",            /* no digit: looks like 1 */
        "j000000000000l",            /**/
        "j000000000000o",            /* looks like 0 */
        "j000000000000u",            /**/
        "j000000000000-",            /**/
        "j0000000000000",            /* zero names nothing */
        "g0000000000000",            /* that is root */
        "jg000000000000",            /* the 65th bit */
        "j0000000000001.",           /* an attempt must follow */
        "j0000000000001.0",          /* the first is 1 */
        "j0000000000001.01",         /* not the spelling of 1 */
        "j0000000000001.1x",         /**/
        "j0000000000001,1",          /**/
        "j0000000000001.4294967296", /* one more than fits */
        "j0000000000001.42949672950",
        "g0000000000001.1", /* only jobs have attempts */
        "s0000000000001.1", /**/
        "Root",
        "root ",
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct id id = {.kind = '?', .n = 42, .attempt = 43};

        ck_assert_msg(!id_parse(str_from(wrong[i]), &id), "'%s' is an id",
                      wrong[i]);
        ck_assert(id.kind == '?' && id.n == 42 && id.attempt == 43);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("id");
    TCase *laws = tcase_create("laws");
    SRunner *runner;
    int failed;

    tcase_add_test(laws, an_id_has_a_letter_and_thirteen_digits);
    tcase_add_test(laws, a_token_has_its_attempt_behind_a_dot);
    tcase_add_test(laws, the_group_zero_is_root);
    tcase_add_test(laws, every_bit_comes_back);
    tcase_add_test(laws, only_one_spelling_is_an_id);
    suite_add_tcase(suite, laws);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
