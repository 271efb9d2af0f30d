/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subscription - events that come unasked.
 *
 * In RESP2 a message looks like a reply. While a connection is subscribed all
 * that comes is an array whose first item says what it is, for the daemon
 * allows nothing else, and each request here has one name, so one confirmation:
 * what is no message is the reply to the oldest request.
 */
#include "client/client.h"

#include <strings.h>

static const struct yoke_value *item(const struct yoke_value *v, size_t i)
{
    return v->kind == YOKE_ARRAY && i < v->count && v->items[i].kind == YOKE_STR
               ? &v->items[i]
               : NULL;
}

static bool is(const struct yoke_value *word, const char *text)
{
    return word && strcmp(word->s.data, text) == 0;
}

bool yk_message(yoke *y, const struct yoke_value *v)
{
    const struct yoke_value *word = item(v, 0), *pattern = NULL, *channel,
                            *text;
    struct yoke_message m;

    if (is(word, "message") && v->count == 3) {
        channel = item(v, 1);
        text = item(v, 2);
    } else if (is(word, "pmessage") && v->count == 4) {
        pattern = item(v, 1);
        channel = item(v, 2);
        text = item(v, 3);
        if (!pattern)
            return false;
    } else {
        return false;
    }
    if (!channel || !text)
        return false;
    m = (struct yoke_message){.pattern = pattern ? pattern->s.data : NULL,
                              .channel = channel->s.data,
                              .text = text->s};
    if (y->told && !y->closing) {
        y->in_callback = true;
        y->told(y, &m, y->told_arg);
        y->in_callback = false;
    }
    return true;
}

bool yk_subscribes(const struct yoke_bytes *word)
{
    static const char end[] = "SUBSCRIBE"; /* P..., UN..., PUN... */
    size_t len = sizeof(end) - 1;

    return word->len >= len &&
           strncasecmp(word->data + word->len - len, end, len) == 0;
}

static int64_t confirmed(const struct yoke_value *v)
{
    return v && v->kind == YOKE_ARRAY && v->count == 3
               ? yk_value_int(&v->items[2], -1)
               : -1;
}

void yk_confirmed(yoke *y, const struct yoke_value *reply)
{
    int64_t count = confirmed(reply);

    if (count >= 0)
        y->subscriptions = count;
    y->listening = y->subscriptions > 0;
    for (size_t i = 0; i < y->ring_count; i++)
        y->listening |=
            y->ring[(y->ring_head + i) & (y->ring_cap - 1)].subscribes;
}

/* Each is confirmed with the number of subscriptions that there are now. */
static int ask(yoke *y, const char *command, size_t n, const char *const *names)
{
    for (size_t i = 0; i < n; i++) {
        struct yoke_value *v = NULL;
        struct yk_args a;
        int status;

        if (!names[i])
            return yk_fail(y, YOKE_ERR_ARGUMENT, "a name is needed");
        yk_args_init(&a, command);
        yk_args_text(&a, names[i]);
        status = yk_call(y, &a, YK_PLAIN, &v);
        if (status < 0)
            return status;
        if (confirmed(v) < 0)
            return yk_bad_reply(y, command, v);
        yoke_value_free(v);
    }
    return 0;
}

static int subscribe(yoke *y, const char *command, size_t n,
                     const char *const *names, yoke_message_fn *fn, void *arg)
{
    int status = yk_check_idle(y);

    if (status < 0)
        return status;
    y->told = fn;
    y->told_arg = arg;
    return ask(y, command, n, names);
}

int yoke_subscribe(yoke *y, size_t n, const char *const *channels,
                   yoke_message_fn *fn, void *arg)
{
    return subscribe(y, "SUBSCRIBE", n, channels, fn, arg);
}

int yoke_psubscribe(yoke *y, size_t n, const char *const *patterns,
                    yoke_message_fn *fn, void *arg)
{
    return subscribe(y, "PSUBSCRIBE", n, patterns, fn, arg);
}

static int unsubscribe(yoke *y, const char *command, size_t n,
                       const char *const *names)
{
    int status = yk_check_idle(y);

    return status < 0 ? status : ask(y, command, n, names);
}

int yoke_unsubscribe(yoke *y, size_t n, const char *const *channels)
{
    return unsubscribe(y, "UNSUBSCRIBE", n, channels);
}

int yoke_punsubscribe(yoke *y, size_t n, const char *const *patterns)
{
    return unsubscribe(y, "PUNSUBSCRIBE", n, patterns);
}
