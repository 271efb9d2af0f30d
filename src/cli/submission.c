/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/submission.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/output.h"
#include "cli/text.h"

#define LABEL_MAX   128
#define INPUT_MAX   INT64_C(268435456)
#define PAYLOAD_MAX "limits.payload-max"

void submission_init(struct submission *s)
{
    *s = (struct submission){0};
    yoke_submit_init(&s->submit);
}

void submission_clear(struct submission *s)
{
    for (size_t i = 0; i < s->nenv; i++)
        free(s->env[i]);
    free(s->env);
    free(s->dir);
    *s = (struct submission){0};
}

/* NAME=value as it stands, NAME with the value it has here. */
static void add_env(struct cli *c, struct submission *s)
{
    size_t len = strcspn(c->value, "=");
    const char *value;
    struct text pair = {0};

    if (len == 0)
        cli_usage(c, "--env: '%s' has no name", c->value);
    text_adds(&pair, c->value);
    if (c->value[len] == '\0') {
        value = getenv(c->value);
        if (value == NULL)
            cli_usage(c, "--env: %s is not set here; give it a value: %s=...",
                      c->value, c->value);
        text_addf(&pair, "=%s", value);
    }
    s->env = text_grow(s->env, s->nenv + 2, sizeof(*s->env));
    s->env[s->nenv++] = pair.data;
    s->env[s->nenv] = NULL;
}

void submission_backoff(struct cli *c, struct yoke_submit *submit)
{
    char *base = text_copy(c->value);
    char *cap = strchr(base, ',');

    if (cap != NULL)
        *cap++ = '\0';
    if (!argument_duration(base, &submit->backoff_base_ms) ||
        (cap != NULL && !argument_duration(cap, &submit->backoff_cap_ms)))
        cli_usage(c,
                  "--backoff: '%s' is not D or D,CAP, with D and CAP "
                  "being " ARGUMENT_WANTS_DURATION,
                  c->value);
    if (cap == NULL)
        submit->backoff_cap_ms =
            submit->backoff_base_ms > 60000 ? submit->backoff_base_ms : 60000;
    free(base);
}

static void set_dir(struct cli *c, struct submission *s)
{
    free(s->dir);
    s->dir = realpath(c->value, NULL);
    if (s->dir == NULL)
        cli_usage(c, "--dir: '%s': %s", c->value, strerror(errno));
}

bool submission_option(struct cli *c, int id, struct submission *s)
{
    struct yoke_submit *submit = &s->submit;

    switch (id) {
    case 'q':
        submit->queue = c->value;
        return true;
    case 't':
        submit->timeout_ms = options_duration(c);
        return true;
    case SUBMISSION_PRIORITY:
        submit->priority = options_integer(c, 0, 9);
        return true;
    case SUBMISSION_EXPIRES:
        submit->expires_ms = options_duration(c);
        return true;
    case SUBMISSION_GRACE:
        submit->grace_ms = options_duration(c);
        return true;
    case SUBMISSION_RETRY:
        submit->retry = options_integer(c, 1, INT32_MAX);
        return true;
    case SUBMISSION_BACKOFF:
        submission_backoff(c, submit);
        return true;
    case SUBMISSION_FACTOR:
        submit->factor_milli = options_thousandths(c, 1, 100);
        return true;
    case SUBMISSION_JITTER:
        submit->jitter = options_integer(c, 0, 100);
        return true;
    case SUBMISSION_RETRY_ON:
        submit->retry_on = c->value;
        return true;
    case SUBMISSION_AT:
        submit->at_ms = options_moment(c);
        return true;
    case SUBMISSION_REDELIVER:
        submit->redeliver = options_integer(c, 0, INT32_MAX);
        return true;
    case SUBMISSION_KEEP:
        submit->keep_ms = options_duration(c);
        return true;
    case SUBMISSION_WAIT:
        submit->wait_ms = options_duration(c);
        return true;
    case SUBMISSION_LIMITS:
        submit->limits = c->value;
        return true;
    case SUBMISSION_THEN:
        submit->then = c->value;
        return true;
    case SUBMISSION_ENV:
        add_env(c, s);
        return true;
    case SUBMISSION_DIR:
        set_dir(c, s);
        return true;
    default:
        return false;
    }
}

void submission_payload(struct cli *c, const struct submission *s,
                        char *const *argv, struct yoke_bytes input,
                        struct yoke_bytes *out)
{
    char here[PATH_MAX];
    const char *dir = s->dir;
    int status;

    if (dir == NULL)
        dir = getcwd(here, sizeof(here));
    if (dir == NULL) {
        cli_warn("the current directory has no name: %s; give one by --dir",
                 strerror(errno));
        exit(cli_own_failure(c));
    }
    if (argv[0][0] == '\0') {
        cli_warn("the command is an empty word");
        exit(cli_own_failure(c));
    }
    status = yoke_command_payload(dir, (const char *const *)s->env,
                                  (const char *const *)argv, input, out);
    if (status != 0)
        cli_fail(c, NULL, status, "cannot put the command into a job");
}

/* One word, quoted if a shell would see more in it than the word. */
static void add_word(struct text *line, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789%+,-./:=@_{}#";

    if (word[0] != '\0' && word[0] != '#' &&
        word[strspn(word, plain)] == '\0') {
        text_adds(line, word);
        return;
    }
    text_addc(line, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            text_adds(line, "'\\''");
        else
            text_addc(line, *word);
    }
    text_addc(line, '\'');
}

char *submission_command_label(size_t argc, char *const *argv)
{
    struct text line = {0};
    char *label;

    for (size_t i = 0; i < argc; i++) {
        if (i > 0)
            text_addc(&line, ' ');
        add_word(&line, argv[i]);
    }
    label = submission_label(text_str(&line));
    text_clear(&line);
    return label;
}

char *submission_label(const char *s)
{
    /* labels are UTF-8 whatever the locale is that yoke runs in */
    static locale_t utf8;
    struct text label = {0};
    locale_t old;

    if (utf8 == (locale_t)0)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    old = uselocale(utf8);
    output_clean(&label, s, strlen(s));
    (void)uselocale(old);
    if (label.len > LABEL_MAX) {
        size_t len = LABEL_MAX - 3;

        /* not in the middle of a character */
        while (len > 0 && (label.data[len] & 0xc0) == 0x80)
            len--;
        label.len = len;
        text_adds(&label, "...");
    }
    return label.data;
}

/* The connection is one of its own: to read may take long. */
static int64_t payload_max(struct cli *c)
{
    struct yoke_value *reply = NULL;
    int64_t most = INPUT_MAX;
    yoke *y = cli_connect(c);

    /* A daemon that does not tell judges what it is sent. */
    if (yoke_commandl(y, &reply, "CONFIG", "GET", PAYLOAD_MAX, (char *)NULL) ==
        0)
        (void)argument_size(output_str(reply, PAYLOAD_MAX), &most);
    yoke_value_free(reply);
    yoke_close(y);
    return most < INPUT_MAX ? most : INPUT_MAX;
}

void submission_read(struct cli *c, struct yoke_bytes *out)
{
    size_t most = (size_t)payload_max(c);
    struct text all = {0};
    char part[65536];

    text_add(&all, "", 0);
    for (;;) {
        ssize_t n = read(STDIN_FILENO, part, sizeof(part));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            cli_warn("cannot read standard input: %s", strerror(errno));
            exit(cli_own_failure(c));
        }
        if (n == 0)
            break;
        text_add(&all, part, (size_t)n);
        if (all.len > most) {
            cli_warn("standard input is longer than %zu bytes, the most that a "
                     "payload may have (" PAYLOAD_MAX ")",
                     most);
            exit(cli_own_failure(c));
        }
    }
    *out = (struct yoke_bytes){.data = all.data, .len = all.len};
}
