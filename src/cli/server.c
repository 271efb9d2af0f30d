/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server - what is asked of the daemon itself: info, ping.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

#define PING_MS 5000

/* "1234" and "-1" are numbers, "7.0.15" is none. */
static json_t *json_of(const char *value)
{
    int64_t i;

    if (argument_integer(value, INT64_MIN + 1, INT64_MAX, &i))
        return json_integer(i);
    return json_string(value);
}

/* One line of INFO: "# Section" or "key:value". */
static void info_line(char *line, json_t *all, json_t **section)
{
    char *value;

    if (line[0] == '#') {
        char *name = line + 1 + strspn(line + 1, " ");

        for (char *at = name; *at != '\0'; at++)
            if (*at >= 'A' && *at <= 'Z')
                *at = (char)(*at - 'A' + 'a');
        *section = json_object();
        (void)json_object_set_new(all, name, *section);
        return;
    }
    value = strchr(line, ':');
    if (value == NULL)
        return;
    *value++ = '\0';
    (void)json_object_set_new(*section, line, json_of(value));
}

static json_t *parse_info(char *text)
{
    json_t *all = json_object(), *section = all;
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        line[strcspn(line, "\r")] = '\0';
        info_line(line, all, &section);
    }
    return all;
}

static void print_info(json_t *all)
{
    const char *name, *key;
    json_t *section, *value;
    bool first = true;

    json_object_foreach(all, name, section)
    {
        printf("%s%s%s%s\n", first ? "" : "\n",
               output_color(stdout, COLOR_BOLD), name,
               output_color(stdout, COLOR_NONE));
        first = false;
        json_object_foreach(section, key, value)
        {
            char digits[24];

            (void)snprintf(digits, sizeof(digits), "%lld",
                           (long long)json_integer_value(value));
            printf("  %-24s %s\n", key,
                   json_is_string(value) ? json_string_value(value) : digits);
        }
    }
}

int info_main(struct cli *c)
{
    struct yoke_bytes argv[2] = {{"INFO", 4}};
    struct yoke_value *reply = NULL;
    char *copy;
    json_t *all;
    int status;
    yoke *y;

    while (options_next(c) != 0)
        continue;
    options_operands(c, 0, 1);
    if (c->argc == 1)
        argv[1] = (struct yoke_bytes){c->argv[0], strlen(c->argv[0])};
    y = cli_connect(c);
    status = yoke_command(y, (size_t)(1 + c->argc), argv, &reply);
    if (status != 0)
        cli_fail(c, y, status, "cannot get facts of the daemon");
    copy =
        text_copyn(reply->s.data, reply->kind == YOKE_STR ? reply->s.len : 0);
    all = parse_info(copy);
    if (json_object_size(all) == 0 && c->argc == 1) {
        cli_warn("there is no section '%s'; 'yoke info' shows all of them",
                 c->argv[0]);
        exit(EXIT_FAILED);
    }
    if (c->json)
        output_json(json_incref(all));
    else
        print_info(all);
    json_decref(all);
    free(copy);
    yoke_value_free(reply);
    yoke_close(y);
    return 0;
}

static double now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

struct answer {
    bool over;
    int status;
};

static void on_answer(yoke *y, int status, const struct yoke_value *reply,
                      void *arg)
{
    (void)y;
    (void)reply;
    *(struct answer *)arg = (struct answer){true, status};
}

/* Whether there is an answer is the question: it is not waited for for ever. */
static int ping(yoke *y)
{
    int64_t until_ms = cli_monotonic_ms() + PING_MS;
    struct answer a = {false, 0};
    int status = yoke_sendl(y, on_answer, &a, "PING", (char *)NULL);

    while (status == 0 && !a.over) {
        struct pollfd p = {.fd = yoke_fd(y), .events = yoke_events(y)};
        int64_t left_ms = until_ms - cli_monotonic_ms();
        int64_t again_ms = yoke_timeout_ms(y);

        if (left_ms <= 0)
            return YOKE_ERR_TIMEOUT;
        if (again_ms >= 0 && again_ms < left_ms)
            left_ms = again_ms;
        (void)poll(&p, 1, (int)left_ms);
        status = yoke_process(y);
    }
    return a.over ? a.status : status;
}

int ping_main(struct cli *c)
{
    double begin, took;
    yoke *y;
    int status;

    while (options_next(c) != 0)
        continue;
    options_operands(c, 0, 0);
    y = cli_connect(c);
    begin = now_us();
    status = ping(y);
    took = now_us() - begin;
    if (status == YOKE_ERR_TIMEOUT) {
        cli_warn("no answer within %d s", PING_MS / 1000);
        exit(EXIT_FAILED);
    }
    if (status != 0)
        cli_fail(c, y, status, "no answer");
    yoke_close(y);
    if (c->json)
        output_json(json_pack("{s:b, s:f}", "ok", 1, "ms", took / 1000));
    else
        printf("yoked answers, in %.2f ms\n", took / 1000);
    return 0;
}
