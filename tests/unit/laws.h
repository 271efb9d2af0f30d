/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * laws - what a program of laws does: it runs each in a process of its own,
 * and says which failed.
 */
#ifndef YOKE_TEST_LAWS_H
#define YOKE_TEST_LAWS_H

#include <check.h>
#include <stdlib.h>

struct law {
    const TTest *test;
    int times; /* with _i from 0 on */
};

/* Returns what main does. */
static int laws_run(const char *of, const struct law *laws, size_t count)
{
    Suite *suite = suite_create(of);
    TCase *all = tcase_create("laws");
    SRunner *runner = srunner_create(suite);
    int failed;

    for (size_t i = 0; i < count; i++)
        tcase_add_loop_test(all, laws[i].test, 0, laws[i].times);
    tcase_set_timeout(all, 120);
    suite_add_tcase(suite, all);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
