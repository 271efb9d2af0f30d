/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pure parts of the command line: arguments, templates, inputs, window,
 * words.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/inputs.h"
#include "cli/template.h"
#include "cli/text.h"
#include "cli/window.h"

/* ------------------------------------------------------------- arguments */

START_TEST(durations_have_units_and_plain_numbers_are_seconds)
{
    static const struct {
        const char *s;
        int64_t ms;
    } good[] = {
        {"0", 0},           {"7", 7000},      {"500ms", 500},
        {"10s", 10000},     {"5m", 300000},   {"2h", 7200000},
        {"1d", 86400000},   {"1.5s", 1500},   {"0.25", 250},
        {"1h30m", 5400000}, {"1m1ms", 60001}, {"36525d", 36525 * 86400000LL},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = -7;

        ck_assert_msg(argument_duration(good[i].s, &ms), "%s", good[i].s);
        ck_assert_int_eq(ms, good[i].ms);
    }
}
END_TEST

START_TEST(a_rate_is_so_many_in_an_interval)
{
    static const char *const bad[] = {"",
                                      "10",
                                      "/s",
                                      "10/",
                                      "0/s",
                                      "-1/s",
                                      "10/0",
                                      "10/x",
                                      "1.5/s",
                                      "10/1s/1s",
                                      "1/1111111111111111111111111111111s"};
    int64_t n = 0, ms = 0;

    ck_assert(argument_rate("10/1s", &n, &ms));
    ck_assert_int_eq(n, 10);
    ck_assert_int_eq(ms, 1000);
    ck_assert(argument_rate("1000/h", &n, &ms));
    ck_assert_int_eq(n, 1000);
    ck_assert_int_eq(ms, 3600000);
    ck_assert(argument_rate("1/1h30m", &n, &ms));
    ck_assert_int_eq(ms, 5400000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!argument_rate(bad[i], &n, &ms), "%s", bad[i]);
    ck_assert_int_eq(n, 1);
}
END_TEST

START_TEST(durations_that_are_none_are_refused)
{
    static const char *const bad[] = {"",
                                      "abc",
                                      "-1",
                                      "1x",
                                      "1 s",
                                      "s",
                                      " 1",
                                      "1s ",
                                      "1.s",
                                      ".5s",
                                      "1m5",
                                      "36526d",
                                      "1e3",
                                      "0x10",
                                      "1ms2ss",
                                      "+3",
                                      "99999999999999999999s"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = -7;

        ck_assert_msg(!argument_duration(bad[i], &ms), "%s", bad[i]);
        ck_assert_int_eq(ms, -7);
    }
}
END_TEST

START_TEST(moments_are_relative_or_absolute)
{
    int64_t ms = 0;

    ck_assert(argument_moment("10m", 5000, &ms));
    ck_assert_int_eq(ms, 605000);
    ck_assert(argument_moment("@1700000000", 5, &ms));
    ck_assert_int_eq(ms, 1700000000000);
    ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
    ck_assert(argument_moment("2026-11-22T17:03", 0, &ms));
    ck_assert_int_eq(ms, 1795366980000);
    ck_assert(argument_moment("2026-11-22 17:03:21", 0, &ms));
    ck_assert_int_eq(ms, 1795367001000);
    ck_assert(!argument_moment("@", 0, &ms));
    ck_assert(!argument_moment("@-5", 0, &ms));
    ck_assert(!argument_moment("2026-13-01", 0, &ms));
    ck_assert(!argument_moment("tomorrow", 0, &ms));
    ck_assert_int_eq(ms, 1795367001000);
}
END_TEST

START_TEST(a_day_that_no_month_has_is_no_moment)
{
    int64_t ms = 0;

    ck_assert(!argument_moment("2026-02-30", 0, &ms));
    ck_assert(!argument_moment("2026-02-29T12:00", 0, &ms));
    ck_assert(!argument_moment("2026-04-31 01:02:03", 0, &ms));
    ck_assert(!argument_moment("2026-01-00", 0, &ms));
    ck_assert(argument_moment("2028-02-29", 0, &ms));
}
END_TEST

START_TEST(integers_keep_to_their_bounds)
{
    int64_t value = 42;

    ck_assert(argument_integer("0", 0, 9, &value));
    ck_assert_int_eq(value, 0);
    ck_assert(argument_integer("9", 0, 9, &value));
    ck_assert_int_eq(value, 9);
    ck_assert(argument_integer("-3", -3, 9, &value));
    ck_assert_int_eq(value, -3);
    ck_assert(!argument_integer("10", 0, 9, &value));
    ck_assert(!argument_integer("-1", 0, 9, &value));
    ck_assert(!argument_integer("", 0, 9, &value));
    ck_assert(!argument_integer(" 1", 0, 9, &value));
    ck_assert(!argument_integer("1 ", 0, 9, &value));
    ck_assert(!argument_integer("9223372036854775808", 0, INT64_MAX, &value));
    ck_assert_int_eq(value, -3);
}
END_TEST

START_TEST(sizes_have_binary_suffixes)
{
    int64_t value = 42;

    ck_assert(argument_size("17", &value));
    ck_assert_int_eq(value, 17);
    ck_assert(argument_size("3K", &value));
    ck_assert_int_eq(value, 3072);
    ck_assert(argument_size("2G", &value));
    ck_assert_int_eq(value, INT64_C(2) << 30);
    ck_assert(!argument_size("", &value));
    ck_assert(!argument_size("K", &value));
    ck_assert(!argument_size("1KB", &value));
    ck_assert(!argument_size("-1", &value));
    ck_assert(!argument_size("9223372036854775807K", &value));
}
END_TEST

START_TEST(halt_is_two_numbers)
{
    struct halt h = {.fail = -9, .succeed = -9};

    ck_assert(argument_halt("fail=3", &h));
    ck_assert(h.fail == 3 && h.succeed == 0 && !halt_is_share(&h));
    ck_assert(argument_halt("success=2", &h));
    ck_assert(h.fail == 0 && h.succeed == 2);
    ck_assert(argument_halt("success=2,fail=1", &h));
    ck_assert(h.fail == 1 && h.succeed == 2);
    ck_assert(argument_halt("never", &h));
    ck_assert(h.fail == 0 && h.succeed == 0);
}
END_TEST

/* A share is at least what it says, and one at least of any members. */
START_TEST(halt_may_be_a_share_of_the_members)
{
    static const struct {
        const char *halt;
        int64_t members, fail, succeed;
    } shares[] = {
        {"fail=20%", 10, 2, 0},
        {"fail=20%", 11, 3, 0},
        {"fail=20%", 1, 1, 0},
        {"fail=20%", 0, 0, 0},
        {"fail=20%", -1, 0, 0},
        {"fail=100%", 7, 7, 0},
        {"fail=1%", 100, 1, 0},
        {"fail=1%", 101, 2, 0},
        {"success=50%", 7, 0, 4},
        {"success=50%", -1, 0, 0},
        {"fail=3,success=50%", 8, 3, 4},
        {"fail=25%,success=2", 8, 2, 2},
        {"fail=3,success=50%", -1, 3, 0},
    };

    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        int64_t fail, succeed;
        struct halt h;

        ck_assert(argument_halt(shares[i].halt, &h) && halt_is_share(&h));
        halt_numbers(&h, shares[i].members, &fail, &succeed);
        ck_assert_int_eq(fail, shares[i].fail);
        ck_assert_int_eq(succeed, shares[i].succeed);
    }
}
END_TEST

START_TEST(halt_that_is_none_is_refused)
{
    static const char *const bad[] = {"",
                                      "fail",
                                      "fail=",
                                      "fail=0",
                                      "fail=-1",
                                      "fail=1,",
                                      "fail=1,never",
                                      "sometimes",
                                      "fail=1,fail=2",
                                      "fail=0%",
                                      "fail=101%",
                                      "fail=%",
                                      "fail=2.5%",
                                      "fail=%20",
                                      "fail=20%%",
                                      "20%",
                                      "%",
                                      "never%",
                                      "fail=1%,fail=2",
                                      "success=99999999999999999999999999"};
    struct halt h = {.fail = -9, .succeed = -9};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!argument_halt(bad[i], &h), "%s", bad[i]);
    ck_assert(h.fail == -9 && h.succeed == -9);
}
END_TEST

START_TEST(distance_counts_edits)
{
    ck_assert_uint_eq(argument_distance("status", "status"), 0);
    ck_assert_uint_eq(argument_distance("stauts", "status"), 2);
    ck_assert_uint_eq(argument_distance("", "ls"), 2);
    ck_assert_uint_eq(argument_distance("sbmit", "submit"), 1);
    ck_assert_uint_eq(
        argument_distance("0123456789012345678901234567890123456789", "ls"),
        SIZE_MAX);
}
END_TEST

/* ------------------------------------------------------------- templates */

/* The words of a template for an input, joined by "|". */
static char *expanded(size_t argc, char **argv, const char *input)
{
    struct template t;
    struct text joined = {0};
    char **words;

    ck_assert_ptr_null(template_parse(&t, argc, argv));
    words = template_expand(&t, input, 7);
    for (size_t i = 0; words[i] != NULL; i++)
        text_addf(&joined, "%s%s", i > 0 ? "|" : "", words[i]);
    template_argv_free(words);
    template_clear(&t);
    return joined.data;
}

static void expect(const char *template, const char *input, const char *words)
{
    char *one[] = {(char *)template};
    char *got = expanded(1, one, input);

    ck_assert_str_eq(got, words);
    free(got);
}

START_TEST(places_take_parts_of_the_input)
{
    expect("echo {}", "a/b.tar.gz", "echo|a/b.tar.gz");
    expect("echo {.}.webp", "a/b.jpg", "echo|a/b.webp");
    expect("echo {/}", "a/b.jpg", "echo|b.jpg");
    expect("echo {//}", "a/b.jpg", "echo|a");
    expect("echo {/.}", "a/b.jpg", "echo|b");
    expect("echo {#}:{}", "x", "echo|7:x");
    expect("echo {}{}", "x", "echo|xx");
}
END_TEST

START_TEST(parts_of_odd_names_are_sane)
{
    expect("e {.}", ".bashrc", "e|.bashrc");
    expect("e {.}", "a.d/b", "e|a.d/b");
    expect("e {.}", "a.d/.b", "e|a.d/.b");
    expect("e {/}", "/", "e|/");
    expect("e {//}", "/", "e|/");
    expect("e {/}", "a/b//", "e|b");
    expect("e {//}", "a//b", "e|a");
    expect("e {//}", "/b", "e|/");
    expect("e {//}", "b", "e|.");
    expect("e {/}{//}{.}{/.}", "", "e|.");
}
END_TEST

START_TEST(an_input_stays_within_its_word)
{
    expect("echo {}", "a b; rm -rf $HOME 'x", "echo|a b; rm -rf $HOME 'x");
    expect("echo {}", "{#}", "echo|{#}");
    expect("echo '{} {}'", "a b", "echo|a b a b");
}
END_TEST

START_TEST(words_are_split_as_their_quotes_say)
{
    expect("a 'b c' \"d e\" f\\ g {}", "x", "a|b c|d e|f g|x");
    expect(" a\t'' \"\"b{} ", "x", "a||bx");
    expect("a '\\' \"\\\"\\n\" {}", "x", "a|\\|\"\\n|x");
    expect("awk '{print $1}' {}", "x", "awk|{print $1}|x");
}
END_TEST

START_TEST(several_words_are_taken_as_they_are)
{
    char *words[] = {(char *)"sh", (char *)"-c", (char *)"echo 'a b' {}"};
    char *got = expanded(3, words, "x");

    ck_assert_str_eq(got, "sh|-c|echo 'a b' x");
    free(got);
}
END_TEST

START_TEST(without_a_place_the_input_comes_last)
{
    expect("gzip", "-9", "gzip|-9");
    expect("gzip -9", "x y", "gzip|-9|x y");
}
END_TEST

START_TEST(templates_that_are_none_are_refused)
{
    static const char *const bad[] = {"a 'b", "a \"b", "a b\\",
                                      " \t ", "",      "'' a"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *one[] = {(char *)bad[i]};
        struct template t;

        ck_assert_msg(template_parse(&t, 1, one) != NULL, "%s", bad[i]);
        template_clear(&t);
    }
}
END_TEST

/* ----------------------------------------------------------------- inputs */

static void send_bytes(int fd, const char *bytes, size_t len)
{
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
}

START_TEST(lines_come_whole_however_they_are_read)
{
    struct inputs in;
    const char *got;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    inputs_init_fd(&in, fds[0], '\n');
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_READ);
    send_bytes(fds[1], "one\n\n\ntw", 8);
    ck_assert_int_eq(inputs_read(&in), 0);
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "one");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_READ);
    send_bytes(fds[1], "o\nthree", 7);
    ck_assert_int_eq(inputs_read(&in), 0);
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "two");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_READ);
    ck_assert_int_eq(close(fds[1]), 0);
    ck_assert_int_eq(inputs_read(&in), 0);
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "three");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_END);
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_END);
    inputs_clear(&in);
    ck_assert_int_eq(close(fds[0]), 0);
}
END_TEST

START_TEST(with_nul_lines_and_nothing_are_inputs)
{
    struct inputs in;
    const char *got;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    send_bytes(fds[1], "a\nb\0\0c", 6);
    ck_assert_int_eq(close(fds[1]), 0);
    inputs_init_fd(&in, fds[0], '\0');
    ck_assert_int_eq(inputs_read(&in), 0);
    ck_assert_int_eq(inputs_read(&in), 0);
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "a\nb");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
    ck_assert_str_eq(got, "c");
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_END);
    inputs_clear(&in);
    ck_assert_int_eq(close(fds[0]), 0);
}
END_TEST

START_TEST(an_endless_line_is_refused)
{
    FILE *zeros = fopen("/dev/zero", "re");
    struct inputs in;
    const char *got;
    int status = 0;
    size_t reads = 0;

    ck_assert_ptr_nonnull(zeros);
    inputs_init_fd(&in, fileno(zeros), '\n');
    while (status == 0 && reads++ < 1000) {
        ck_assert_int_eq(inputs_next(&in, &got), INPUTS_READ);
        status = inputs_read(&in);
    }
    ck_assert_int_eq(status, -E2BIG);
    inputs_clear(&in);
    ck_assert_int_eq(fclose(zeros), 0);
}
END_TEST

START_TEST(a_list_is_taken_as_it_is)
{
    char *list[] = {(char *)"-x", (char *)"", (char *)"y"};
    struct inputs in;
    const char *got;

    inputs_init_list(&in, list, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(inputs_next(&in, &got), INPUTS_GOT);
        ck_assert_str_eq(got, list[i]);
    }
    ck_assert_int_eq(inputs_next(&in, &got), INPUTS_END);
    inputs_clear(&in);
}
END_TEST

/* ----------------------------------------------------------------- window */

START_TEST(window_keeps_order_and_finds_by_id)
{
    struct window w;
    struct item *a, *b;

    window_init(&w);
    ck_assert_ptr_null(window_head(&w));
    a = window_begin(&w, "a");
    b = window_begin(&w, "b");
    ck_assert_uint_eq(a->number, 1);
    ck_assert_uint_eq(b->number, 2);
    window_name(&w, b, "j0000000000002");
    window_name(&w, a, "j0000000000001");
    ck_assert_ptr_eq(window_find(&w, "j0000000000001"), a);
    ck_assert_ptr_eq(window_find(&w, "j0000000000002"), b);
    ck_assert_ptr_null(window_find(&w, "j0000000000003"));
    ck_assert_ptr_eq(window_head(&w), a);
    window_drop(&w, a);
    ck_assert_ptr_null(window_find(&w, "j0000000000001"));
    ck_assert_ptr_eq(window_head(&w), b);
    window_drop(&w, b);
    ck_assert_ptr_null(window_head(&w));
    window_clear(&w);
}
END_TEST

START_TEST(window_is_bounded_and_counts_what_it_holds)
{
    struct window w;
    struct item *item = NULL;
    char id[YOKE_ID_SIZE];

    window_init(&w);
    for (size_t i = 0; i < WINDOW_MAX; i++) {
        item = window_begin(&w, "x");
        ck_assert_ptr_nonnull(item);
        (void)snprintf(id, sizeof(id), "j%013zu", i);
        window_name(&w, item, id);
    }
    ck_assert_ptr_null(window_begin(&w, "one too many"));
    text_adds(&item->out, "12345");
    window_settle(&w, item);
    ck_assert_uint_eq(w.held_bytes, 5);
    /* the last first, as completion may have it */
    window_drop(&w, item);
    ck_assert_uint_eq(w.held_bytes, 0);
    item = window_begin(&w, "y");
    ck_assert_ptr_nonnull(item);
    ck_assert_uint_eq(item->number, WINDOW_MAX + 1);
    ck_assert_ptr_null(window_begin(&w, "one too many"));
    window_clear(&w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli");
    TCase *arguments = tcase_create("argument");
    TCase *templates = tcase_create("template");
    TCase *inputs = tcase_create("inputs");
    TCase *window = tcase_create("window");

    tcase_add_test(arguments,
                   durations_have_units_and_plain_numbers_are_seconds);
    tcase_add_test(arguments, durations_that_are_none_are_refused);
    tcase_add_test(arguments, a_rate_is_so_many_in_an_interval);
    tcase_add_test(arguments, moments_are_relative_or_absolute);
    tcase_add_test(arguments, a_day_that_no_month_has_is_no_moment);
    tcase_add_test(arguments, integers_keep_to_their_bounds);
    tcase_add_test(arguments, sizes_have_binary_suffixes);
    tcase_add_test(arguments, halt_is_two_numbers);
    tcase_add_test(arguments, halt_may_be_a_share_of_the_members);
    tcase_add_test(arguments, halt_that_is_none_is_refused);
    tcase_add_test(arguments, distance_counts_edits);
    suite_add_tcase(s, arguments);
    tcase_add_test(templates, places_take_parts_of_the_input);
    tcase_add_test(templates, parts_of_odd_names_are_sane);
    tcase_add_test(templates, an_input_stays_within_its_word);
    tcase_add_test(templates, words_are_split_as_their_quotes_say);
    tcase_add_test(templates, several_words_are_taken_as_they_are);
    tcase_add_test(templates, without_a_place_the_input_comes_last);
    tcase_add_test(templates, templates_that_are_none_are_refused);
    suite_add_tcase(s, templates);
    tcase_add_test(inputs, lines_come_whole_however_they_are_read);
    tcase_add_test(inputs, with_nul_lines_and_nothing_are_inputs);
    tcase_add_test(inputs, an_endless_line_is_refused);
    tcase_add_test(inputs, a_list_is_taken_as_it_is);
    suite_add_tcase(s, inputs);
    tcase_add_test(window, window_keeps_order_and_finds_by_id);
    tcase_add_test(window, window_is_bounded_and_counts_what_it_holds);
    suite_add_tcase(s, window);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
