/* SPDX-License-Identifier: BSD-2-Clause */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/resp.h"

#define ARGS_MAX  8
#define BYTES_MAX 64

static struct resp_reader *reader;
static struct buf said; /* requests as text: "[a][b]\n", "!text\n" */

static void setup(void)
{
    reader = resp_reader_new();
    resp_reader_limit(reader, ARGS_MAX, BYTES_MAX);
    buf_init(&said);
    buf_append_byte(&said, '\0'); /* so that there always are bytes */
    buf_reset(&said);
}

static void teardown(void)
{
    resp_reader_free(reader);
    buf_clear(&said);
}

static void restart(void)
{
    teardown();
    setup();
}

/* Takes all requests that are there. */
static void drain(void)
{
    const struct str *argv;
    size_t argc;

    for (;;) {
        enum resp_result result = resp_reader_next(reader, &argv, &argc);

        if (result == RESP_MORE)
            return;
        if (result != RESP_REQUEST) {
            buf_printf(&said, "%s%s\n", result == RESP_TOO_BIG ? "#" : "!",
                       resp_reader_error(reader));
            return;
        }
        for (size_t i = 0; i < argc; i++) {
            buf_append_byte(&said, '[');
            buf_append_str(&said, argv[i]);
            buf_append_byte(&said, ']');
        }
        buf_append_byte(&said, '\n');
    }
}

static void feed(const char *data, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece) {
        resp_reader_feed(reader, data + at,
                         len - at < piece ? len - at : piece);
        drain();
    }
}

/* The same is understood however the bytes arrive. */
static void expect_bytes(const char *data, size_t len, const char *want)
{
    for (size_t piece = 1; piece <= len; piece++) {
        restart();
        feed(data, len, piece);
        ck_assert_msg(buf_size(&said) >= strlen(want) &&
                          memcmp(said.data, want, strlen(want)) == 0,
                      "in pieces of %zu: '%.*s', not '%s'", piece,
                      (int)buf_size(&said), said.data ? said.data : "", want);
        /* An error stays; nothing else may follow what is wanted. */
        if (want[0] == '\0' || (want[strlen(want) - 1] == '\n' &&
                                !memchr(want, '!', strlen(want)) &&
                                !memchr(want, '#', strlen(want))))
            ck_assert_uint_eq(buf_size(&said), strlen(want));
    }
}

static void expect(const char *data, const char *want)
{
    expect_bytes(data, strlen(data), want);
}

START_TEST(arrays_of_strings_are_requests)
{
    expect("*1\r\n$4\r\nPING\r\n", "[PING]\n");
    expect("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nQUIT\r\n",
           "[ECHO][hi]\n[QUIT]\n");
    expect("*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", "[][\r\n]\n");
    expect_bytes("*1\r\n$3\r\n\0\1\2\r\n", 13, "[");
}
END_TEST

START_TEST(empty_requests_are_skipped)
{
    expect("*0\r\n*-1\r\n\r\n  \r\n\n*1\r\n$1\r\na\r\n", "[a]\n");
}
END_TEST

START_TEST(arguments_at_the_limit_are_taken_one_more_is_not)
{
    expect("*8\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
           "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
           "[a][a][a][a][a][a][a][a]\n");
    expect("*9\r\n$1\r\na\r\n", "#a request may have at most 8 arguments\n");
    expect("a b c d e f g h\r\n", "[a][b][c][d][e][f][g][h]\n");
    expect("a b c d e f g h i\r\n", "#a request may have at most 8 arguments");
}
END_TEST

static void put_argument(struct buf *b, size_t len)
{
    buf_printf(b, "$%zu\r\n", len);
    for (size_t i = 0; i < len; i++)
        buf_append_byte(b, 'x');
    buf_append_str(b, STR("\r\n"));
}

START_TEST(bytes_at_the_limit_are_taken_one_more_is_not)
{
    struct buf b, want;

    buf_init(&b);
    buf_init(&want);
    buf_append_str(&b, STR("*2\r\n"));
    put_argument(&b, 4);
    put_argument(&b, BYTES_MAX - 4);
    buf_append_str(&want, STR("[xxxx]["));
    for (int i = 0; i < BYTES_MAX - 4; i++)
        buf_append_byte(&want, 'x');
    buf_append(&want, "]\n", 3);
    expect_bytes(b.data, buf_size(&b), want.data);
    buf_reset(&b);
    buf_append_str(&b, STR("*2\r\n"));
    put_argument(&b, 4);
    put_argument(&b, BYTES_MAX - 3);
    expect_bytes(b.data, buf_size(&b),
                 "#a request may have at most 64 bytes\n");
    buf_clear(&b);
    buf_clear(&want);
}
END_TEST

START_TEST(a_length_over_the_limit_is_refused_from_its_header)
{
    expect("*2\r\n$60\r\n", "");
    expect("*1\r\n$65\r\n", "#a request may have at most 64 bytes\n");
    expect("*1\r\n$9223372036854775807\r\n",
           "#a request may have at most 64 bytes\n");
    expect("*2\r\n$4\r\nECHO\r\n$61\r\n",
           "#a request may have at most 64 bytes\n");
    expect("*1000000000\r\n", "#a request may have at most 8 arguments\n");
}
END_TEST

START_TEST(a_line_at_the_limit_is_taken_one_more_is_not)
{
    char line[BYTES_MAX + 3];

    memset(line, 'y', sizeof(line));
    line[BYTES_MAX] = '\n';
    feed(line, BYTES_MAX + 1, 7);
    ck_assert_uint_eq(buf_size(&said), BYTES_MAX + 3);
    restart();
    line[BYTES_MAX] = 'y';
    feed(line, BYTES_MAX, 7);
    ck_assert_uint_eq(buf_size(&said), 0);
    feed(line, 1, 1); /* the end of the line need not have come */
    ck_assert_int_eq(said.data[0], '#');
}
END_TEST

START_TEST(anything_but_strings_in_one_array_is_refused)
{
    expect("*1\r\n*1\r\n$1\r\na\r\n", "!Protocol error");
    expect("*1\r\n:1\r\n", "!Protocol error");
    expect("*1\r\n+OK\r\n", "!Protocol error");
    expect("*1\r\n-ERR\r\n", "!Protocol error");
    expect("*1\r\n$-1\r\n", "!Protocol error");
    expect("*1\r\n%1\r\n", "!Protocol error");
    expect("*x\r\n", "!Protocol error");
    expect("*1\r\n$x\r\n", "!Protocol error");
    expect("*1\r\n$-2\r\n", "!Protocol error");
    expect("*1\r\n$111111111111111111111111111111", "!Protocol error");
    expect("*1\r\n+a line without an end", "!Protocol error");
}
END_TEST

START_TEST(after_an_error_nothing_is_taken)
{
    const struct str *argv;
    size_t argc;

    feed("*1\r\n:1\r\n", 8, 8);
    resp_reader_feed(reader, "PING\r\n", 6);
    ck_assert_int_eq(resp_reader_next(reader, &argv, &argc), RESP_INVALID);
    ck_assert(!resp_reader_idle(reader));
}
END_TEST

START_TEST(lines_are_requests_with_quotes)
{
    expect("PING\r\n", "[PING]\n");
    expect("  SUBMIT\tq  x \n", "[SUBMIT][q][x]\n");
    expect("a \"b c\" 'd e'\r\n", "[a][b c][d e]\n");
    expect("a \"\\x41\\x62\\n\\\"\\\\\\q\"\r\n", "[a][Ab\n\"\\q]\n");
    expect("a \"\\xg1\"\r\n", "[a][xg1]\n");
    expect("a 'it\\'s \\x41'\r\n", "[a][it's \\x41]\n");
    expect("a \"\" ''\r\n", "[a][][]\n");
    expect("a \"b\r\n", "!Protocol error: unbalanced quotes in request\n");
    expect("a 'b\r\n", "!Protocol error: unbalanced quotes in request\n");
    expect("a \"b\"c\r\n", "!Protocol error: unbalanced quotes in request\n");
    expect("a \"b\\\"\r\n", "!Protocol error: unbalanced quotes in request\n");
}
END_TEST

START_TEST(lines_and_arrays_may_follow_each_other)
{
    expect("PING\r\n*1\r\n$4\r\nPING\r\nECHO x\r\n*1\r\n$1\r\nz\r\n",
           "[PING]\n[PING]\n[ECHO][x]\n[z]\n");
}
END_TEST

START_TEST(a_new_limit_holds_from_the_next_request_on)
{
    const struct str *argv;
    size_t argc;

    resp_reader_limit(reader, 1, 4);
    resp_reader_feed(reader, "AUTH\nECHO hello\n", 16);
    ck_assert_int_eq(resp_reader_next(reader, &argv, &argc), RESP_REQUEST);
    resp_reader_limit(reader, 2, 10);
    ck_assert_int_eq(resp_reader_next(reader, &argv, &argc), RESP_REQUEST);
    ck_assert_uint_eq(argc, 2);
    ck_assert(str_eq(argv[1], STR("hello")));
    ck_assert_int_eq(resp_reader_next(reader, &argv, &argc), RESP_MORE);
    ck_assert(resp_reader_idle(reader));
}
END_TEST

START_TEST(a_reader_is_idle_only_between_requests)
{
    const char *request = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";

    ck_assert(resp_reader_idle(reader));
    for (size_t i = 0; request[i]; i++) {
        feed(request + i, 1, 1);
        ck_assert_int_eq(resp_reader_idle(reader), request[i + 1] == '\0');
    }
    feed("PIN", 3, 3);
    ck_assert(!resp_reader_idle(reader));
    ck_assert_uint_eq(resp_reader_buffered(reader), 3);
}
END_TEST

START_TEST(many_requests_in_one_piece_come_out_in_order)
{
    struct buf b;
    const struct str *argv;
    size_t argc, n = 0;

    buf_init(&b);
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "*2\r\n$1\r\nn\r\n$4\r\n%04d\r\n", i);
    resp_reader_feed(reader, b.data, buf_size(&b));
    while (resp_reader_next(reader, &argv, &argc) == RESP_REQUEST) {
        char want[8];

        (void)snprintf(want, sizeof(want), "%04zu", n++);
        ck_assert_uint_eq(argc, 2);
        ck_assert(str_eq(argv[1], str_from(want)));
    }
    ck_assert_uint_eq(n, 3000);
    buf_clear(&b);
}
END_TEST

/* A request that is there whole is taken by other code than one in pieces. */
START_TEST(odd_headers_mean_the_same_whole_and_in_pieces)
{
    static const char *const odd[] = {
        "*1\r\n$04\r\nPING\r\n",        "*01\r\n$4\r\nPING\r\n",
        "*1\r\n$4\r\nPINGab",           "*1\r\n$4\r\nPING\n\r",
        "*1\r\n$+4\r\nPING\r\n",        "*1\r\n$ 4\r\nPING\r\n",
        "*1\r\n$\r\nPING\r\n",          "*\r\n$4\r\nPING\r\n",
        "*1\r\n$4\nPING\r\n",           "*1\r\n$00\r\n\r\n",
        "*1\r\n$000000004\r\nPING\r\n", "*1\r\n$4294967300\r\nPING\r\n",
        "*1\r\n$100000000\r\nPING\r\n", "*4294967297\r\n$4\r\nPING\r\n",
        "*1\r\n:4\r\nPING\r\n",         "*2\r\n$1\r\na\r\n:1\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        size_t len = strlen(odd[i]);
        char *whole;

        restart();
        feed(odd[i], len, len);
        whole = mem_dup_text(said.data, buf_size(&said));
        if (whole[0] == '!' || whole[0] == '#')
            whole[1] = '\0'; /* the words may differ */
        expect_bytes(odd[i], len, whole);
        mem_free(whole);
    }
}
END_TEST

/* --- replies ------------------------------------------------------------ */

static struct buf value, out;

static void setup_out(void)
{
    buf_init(&value);
    buf_init(&out);
}

static void teardown_out(void)
{
    buf_clear(&value);
    buf_clear(&out);
}

/* Renders what is in `value` for both protocols. */
static void renders(const char *resp2, const char *resp3)
{
    for (int proto = 2; proto <= 3; proto++) {
        const char *want = proto == 2 ? resp2 : resp3;
        size_t at = 0;

        buf_reset(&out);
        resp_value(&out, proto, value.data, &at);
        ck_assert_uint_eq(at, buf_size(&value));
        ck_assert_uint_eq(buf_size(&out), strlen(want));
        ck_assert_mem_eq(out.data, want, strlen(want));
    }
    buf_reset(&value);
}

START_TEST(each_kind_of_value_is_rendered)
{
    value_null(&value);
    renders("$-1\r\n", "_\r\n");
    value_ok(&value);
    renders("+OK\r\n", "+OK\r\n");
    value_int(&value, 0);
    renders(":0\r\n", ":0\r\n");
    value_int(&value, INT64_MIN);
    renders(":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
    value_int(&value, INT64_MAX);
    renders(":9223372036854775807\r\n", ":9223372036854775807\r\n");
    value_str(&value, STR("a\r\nb"));
    renders("$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
    value_str(&value, STR(""));
    renders("$0\r\n\r\n", "$0\r\n\r\n");
    value_id(&value, 'j', 1, 0);
    renders("$14\r\nj0000000000001\r\n", "$14\r\nj0000000000001\r\n");
    value_id(&value, 'j', 1, 12);
    renders("$17\r\nj0000000000001.12\r\n", "$17\r\nj0000000000001.12\r\n");
    value_id(&value, 'g', 0, 0);
    renders("$4\r\nroot\r\n", "$4\r\nroot\r\n");
    value_error(&value, 0, "what is wrong: '%s'", "x\r\n-OK");
    renders("-ERR what is wrong: 'x  -OK'\r\n",
            "-ERR what is wrong: 'x  -OK'\r\n");
    value_array(&value, 0);
    renders("*0\r\n", "*0\r\n");
    value_map(&value, 0);
    renders("*0\r\n", "%0\r\n");
}
END_TEST

START_TEST(values_nest)
{
    value_array(&value, 2);
    value_map(&value, 2);
    value_str(&value, STR("k"));
    value_array(&value, 1);
    value_null(&value);
    value_str(&value, STR("l"));
    value_int(&value, 1);
    value_ok(&value);
    renders("*2\r\n*4\r\n$1\r\nk\r\n*1\r\n$-1\r\n$1\r\nl\r\n:1\r\n+OK\r\n",
            "*2\r\n%2\r\n$1\r\nk\r\n*1\r\n_\r\n$1\r\nl\r\n:1\r\n+OK\r\n");
}
END_TEST

START_TEST(a_long_error_is_cut_to_one_line)
{
    char long_text[2000];

    memset(long_text, 'e', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    resp_error(&out, 0, "%s", long_text);
    ck_assert_uint_lt(buf_size(&out), 600);
    ck_assert_mem_eq(out.data + buf_size(&out) - 2, "\r\n", 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resp");
    TCase *in = tcase_create("requests"), *replies = tcase_create("replies");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(in, setup, teardown);
    tcase_add_test(in, arrays_of_strings_are_requests);
    tcase_add_test(in, empty_requests_are_skipped);
    tcase_add_test(in, arguments_at_the_limit_are_taken_one_more_is_not);
    tcase_add_test(in, bytes_at_the_limit_are_taken_one_more_is_not);
    tcase_add_test(in, a_length_over_the_limit_is_refused_from_its_header);
    tcase_add_test(in, a_line_at_the_limit_is_taken_one_more_is_not);
    tcase_add_test(in, anything_but_strings_in_one_array_is_refused);
    tcase_add_test(in, after_an_error_nothing_is_taken);
    tcase_add_test(in, lines_are_requests_with_quotes);
    tcase_add_test(in, lines_and_arrays_may_follow_each_other);
    tcase_add_test(in, a_new_limit_holds_from_the_next_request_on);
    tcase_add_test(in, a_reader_is_idle_only_between_requests);
    tcase_add_test(in, many_requests_in_one_piece_come_out_in_order);
    tcase_add_test(in, odd_headers_mean_the_same_whole_and_in_pieces);
    suite_add_tcase(suite, in);
    tcase_add_checked_fixture(replies, setup_out, teardown_out);
    tcase_add_test(replies, each_kind_of_value_is_rendered);
    tcase_add_test(replies, values_nest);
    tcase_add_test(replies, a_long_error_is_cut_to_one_line);
    suite_add_tcase(suite, replies);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
