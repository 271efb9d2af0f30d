/* SPDX-License-Identifier: BSD-2-Clause */
/* What jobs print: lines in a file that is rotated, and in the journal. */
#include "runner/logbook.h"

#include "runner/message.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[64], file[128], journal[128];
static struct logbook_settings settings;
static struct logbook *book;
static struct logbook_lines lines;
static const struct logbook_source source = {
    .token = "j1m826f93h0000.2", .group = "g1m826f93h0000", .attempt = 2};
static int listener;

static void setup(void)
{
    message_set_level(MESSAGE_ERROR);
    strcpy(directory, "/tmp/yoke-logbook-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/log", directory);
    snprintf(journal, sizeof(journal), "%s/journal", directory);
    settings = (struct logbook_settings){
        .file = file, .file_max = 1 << 20, .files = 2};
    listener = -1;
}

static void teardown(void)
{
    DIR *d = opendir(directory);
    struct dirent *e;

    logbook_free(book);
    book = NULL;
    logbook_lines_clear(&lines);
    if (listener >= 0)
        close(listener);
    while ((e = readdir(d)) != NULL)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void begin(void)
{
    book = logbook_new(&settings, "mail", journal);
}

static void take(int stream, const char *text)
{
    logbook_take(book, &source, &lines, stream, text, strlen(text));
}

/* The lines of a file without their times, or NULL when it is not there. */
static const char *content(const char *suffix)
{
    static char text[64 << 10];
    char name[160], line[16 << 10];
    FILE *f;

    snprintf(name, sizeof(name), "%s%s", file, suffix);
    f = fopen(name, "r");
    if (!f)
        return NULL;
    text[0] = '\0';
    while (fgets(line, sizeof(line), f)) {
        size_t time = strlen("2026-11-29T00:36:51.259Z ");

        ck_assert_int_eq(line[time - 2], 'Z');
        ck_assert_uint_lt(strlen(text) + strlen(line), sizeof(text));
        strcat(text, line + time);
    }
    fclose(f);
    return text;
}

START_TEST(queue_without_settings_has_no_logbook)
{
    settings.file = (char *)"";
    begin();
    ck_assert_ptr_null(book);
    take(1, "nobody\n"); /* and that costs nothing */
    logbook_end(book, &source, &lines);
}
END_TEST

START_TEST(line_says_whose_it_is_and_where_it_came_from)
{
    begin();
    take(1, "one\n");
    take(2, "two\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out one\n"
                                  "j1m826f93h0000.2 err two\n");
}
END_TEST

START_TEST(pieces_become_lines_of_their_stream)
{
    begin();
    take(1, "a");
    take(2, "x\ny");
    take(1, "b\n\nc");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 err x\n"
                                  "j1m826f93h0000.2 out ab\n"
                                  "j1m826f93h0000.2 out \n");
}
END_TEST

START_TEST(line_without_end_is_written_at_the_end_of_the_job)
{
    begin();
    take(1, "last");
    take(2, "words");
    ck_assert_ptr_null(content(""));
    logbook_end(book, &source, &lines);
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out last\n"
                                  "j1m826f93h0000.2 err words\n");
}
END_TEST

START_TEST(line_is_cut_at_its_most_and_not_before)
{
    static char text[LOGBOOK_LINE_MAX + 3];
    size_t head = strlen("j1m826f93h0000.2 out ");

    memset(text, 'x', LOGBOOK_LINE_MAX + 1);
    begin();
    text[LOGBOOK_LINE_MAX - 1] = '\n';
    text[LOGBOOK_LINE_MAX] = '\0';
    take(1, text);
    ck_assert_uint_eq(strlen(content("")), head + LOGBOOK_LINE_MAX);

    ck_assert_int_eq(unlink(file), 0);
    memset(text, 'y', LOGBOOK_LINE_MAX + 1);
    strcpy(text + LOGBOOK_LINE_MAX + 1, "\n");
    take(1, text);
    ck_assert_uint_eq(strlen(content("")), 2 * head + LOGBOOK_LINE_MAX + 1 + 2);
}
END_TEST

START_TEST(full_file_is_rotated_and_the_oldest_goes)
{
    settings.file_max = 100; /* two lines of 47 bytes */
    begin();
    for (int i = 1; i <= 7; i++) {
        char text[8];

        snprintf(text, sizeof(text), "%d\n", i);
        take(1, text);
    }
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 7\n");
    ck_assert_str_eq(content(".1"), "j1m826f93h0000.2 out 5\n"
                                    "j1m826f93h0000.2 out 6\n");
    ck_assert_str_eq(content(".2"), "j1m826f93h0000.2 out 3\n"
                                    "j1m826f93h0000.2 out 4\n");
    ck_assert_ptr_null(content(".3"));
}
END_TEST

/* Also where what was read at once has more lines than a file. */
START_TEST(no_file_of_several_lines_is_longer_than_it_may_be)
{
    settings.file_max = 100; /* two lines of 47 bytes */
    begin();
    take(1, "1\n2\n3\n4\n5\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 5\n");
    ck_assert_str_eq(content(".1"), "j1m826f93h0000.2 out 3\n"
                                    "j1m826f93h0000.2 out 4\n");
    ck_assert_str_eq(content(".2"), "j1m826f93h0000.2 out 1\n"
                                    "j1m826f93h0000.2 out 2\n");
}
END_TEST

START_TEST(without_old_files_the_full_one_goes)
{
    settings.file_max = 60;
    settings.files = 0;
    begin();
    take(1, "1\n");
    take(1, "2\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 2\n");
    ck_assert_ptr_null(content(".1"));
}
END_TEST

START_TEST(file_of_an_earlier_runner_is_continued)
{
    settings.file_max = 100;
    begin();
    take(1, "1\n");
    logbook_free(book);
    begin();
    take(1, "2\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 1\n"
                                  "j1m826f93h0000.2 out 2\n");
    take(1, "3\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 3\n");
}
END_TEST

START_TEST(moved_file_is_made_anew)
{
    char other[160];

    snprintf(other, sizeof(other), "%s.moved", file);
    begin();
    take(1, "1\n");
    ck_assert_int_eq(rename(file, other), 0);
    take(1, "2\n");
    ck_assert_str_eq(content(".moved"), "j1m826f93h0000.2 out 1\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out 2\n");
}
END_TEST

START_TEST(two_logbooks_of_one_file_rotate_it_together)
{
    struct logbook *other;

    settings.file_max = 100;
    begin();
    other = logbook_new(&settings, "mail", journal);
    for (int i = 0; i < 3; i++) {
        logbook_take(other, &source, &lines, 2, "x\n", 2);
        take(1, "y\n");
    }
    logbook_free(other);
    for (int i = 0; i < 3; i++) {
        static const char *const suffix[] = {"", ".1", ".2"};

        ck_assert_str_eq(content(suffix[i]), "j1m826f93h0000.2 err x\n"
                                             "j1m826f93h0000.2 out y\n");
    }
}
END_TEST

START_TEST(what_is_no_regular_file_is_not_written)
{
    char other[160];

    snprintf(other, sizeof(other), "%s.other", file);
    ck_assert_int_eq(symlink(other, file), 0);
    begin();
    take(1, "through a link\n");
    ck_assert_ptr_null(content(".other"));
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    take(1, "into a fifo\n"); /* and nobody waits for its reader */
    ck_assert_int_eq(unlink(file), 0);
    take(1, "again\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 out again\n");
}
END_TEST

/* ---------------------------------------------------------------- journal */

static void listen_as_journal(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    strcpy(a.sun_path, journal);
    listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (const void *)&a, sizeof(a)), 0);
}

START_TEST(line_is_an_entry_of_the_journal_with_its_fields)
{
    static const char expected[] =
        "PRIORITY=4\nSYSLOG_IDENTIFIER=yoke-mail\nYOKE_QUEUE=mail\n"
        "YOKE_JOB=j1m826f93h0000\nYOKE_ATTEMPT=2\n"
        "YOKE_GROUP=g1m826f93h0000\nYOKE_STREAM=stderr\n"
        "MESSAGE\n\4\0\0\0\0\0\0\0a\tb=\n";
    char got[1024];

    settings.file = (char *)"";
    settings.journal = true;
    listen_as_journal();
    begin();
    take(2, "a\tb=\nno end");
    ck_assert_int_eq(recv(listener, got, sizeof(got), 0), sizeof(expected) - 1);
    ck_assert_mem_eq(got, expected, sizeof(expected) - 1);
    ck_assert_int_lt(recv(listener, got, sizeof(got), 0), 0);
    logbook_end(book, &source, &lines);
    ck_assert_int_gt(recv(listener, got, sizeof(got), 0), 0);
}
END_TEST

START_TEST(journal_that_does_not_read_is_not_waited_for)
{
    settings.journal = true;
    begin();
    take(1, "it is not there\n");
    listen_as_journal();
    /* More than a socket holds; were it waited for, nothing would end this. */
    for (int i = 0; i < 10000; i++)
        take(1, "full\n");
    take(2, "the file has it\n");
    settings.file_max = 1; /* a file for it alone */
    take(2, "the last\n");
    ck_assert_str_eq(content(""), "j1m826f93h0000.2 err the last\n");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("logbook");
    TCase *t = tcase_create("lines");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, queue_without_settings_has_no_logbook);
    tcase_add_test(t, line_says_whose_it_is_and_where_it_came_from);
    tcase_add_test(t, pieces_become_lines_of_their_stream);
    tcase_add_test(t, line_without_end_is_written_at_the_end_of_the_job);
    tcase_add_test(t, line_is_cut_at_its_most_and_not_before);
    tcase_add_test(t, full_file_is_rotated_and_the_oldest_goes);
    tcase_add_test(t, no_file_of_several_lines_is_longer_than_it_may_be);
    tcase_add_test(t, without_old_files_the_full_one_goes);
    tcase_add_test(t, file_of_an_earlier_runner_is_continued);
    tcase_add_test(t, moved_file_is_made_anew);
    tcase_add_test(t, two_logbooks_of_one_file_rotate_it_together);
    tcase_add_test(t, what_is_no_regular_file_is_not_written);
    tcase_add_test(t, line_is_an_entry_of_the_journal_with_its_fields);
    tcase_add_test(t, journal_that_does_not_read_is_not_waited_for);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
