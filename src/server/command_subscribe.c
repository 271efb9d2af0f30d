/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command_subscribe - SUBSCRIBE and its kin, as Redis has them.
 */
#include "server/command_internal.h"

#define NAME_MAX_LEN 256

/* Each name of a request is confirmed by a message of its own. */
static void confirm(struct command_call *call, const char *what,
                    struct str name)
{
    struct command_peer *peer = call->peer;

    resp_push(call->out, peer->proto, 3);
    resp_text(call->out, what);
    if (name.p)
        resp_str(call->out, name);
    else
        resp_null(call->out, peer->proto);
    resp_int(call->out, (int64_t)subscriber_count(&peer->subscriber));
}

/* May this client have what it asks for? All of it or nothing; what it has
 * already is counted as if it were new. */
static bool within_bounds(struct command_call *call, bool pattern)
{
    const struct command_server *server = call->server;
    const struct subscriptions *all = &server->subscriptions;
    size_t asked = call->argc - 1, new_patterns = 0;

    for (size_t i = 1; i < call->argc; i++) {
        if (call->argv[i].len > NAME_MAX_LEN) {
            refuse_with(call, CORE_ERR_TOOBIG,
                        "the name of a channel has at most %d bytes",
                        NAME_MAX_LEN);
            return false;
        }
        new_patterns +=
            pattern && subscription_receivers(all, call->argv[i], true) == 0;
    }
    if (subscriber_count(&call->peer->subscriber) + asked >
        (size_t)server->client_subscriptions_max)
        refuse_with(call, CORE_ERR_LIMIT,
                    "a client has at most %lld subscriptions "
                    "(client-subscriptions-max)",
                    (long long)server->client_subscriptions_max);
    else if (all->count + asked > (size_t)server->subscriptions_max)
        refuse_with(call, CORE_ERR_LIMIT,
                    "all clients together have at most %lld subscriptions "
                    "(subscriptions-max)",
                    (long long)server->subscriptions_max);
    else if (new_patterns > 0 &&
             all->npatterns + new_patterns > (size_t)server->patterns_max)
        refuse_with(call, CORE_ERR_LIMIT,
                    "there are at most %lld different patterns "
                    "(patterns-max)",
                    (long long)server->patterns_max);
    else
        return true;
    return false;
}

static enum command_result subscribe(struct command_call *call,
                                     const char *what, bool pattern)
{
    if (!within_bounds(call, pattern))
        return COMMAND_ANSWERED;
    for (size_t i = 1; i < call->argc; i++) {
        (void)subscription_add(&call->server->subscriptions,
                               &call->peer->subscriber, call->argv[i],
                               pattern); /* again is confirmed again */
        confirm(call, what, call->argv[i]);
    }
    return COMMAND_ANSWERED;
}

/* Without names: all of that kind, and if there are none a message says so. */
static enum command_result unsubscribe(struct command_call *call,
                                       const char *what, bool pattern)
{
    struct subscriptions *all = &call->server->subscriptions;
    struct subscriber *who = &call->peer->subscriber;
    char text[NAME_MAX_LEN];
    struct str name;

    for (size_t i = 1; i < call->argc; i++) {
        (void)subscription_remove(all, who, call->argv[i], pattern);
        confirm(call, what, call->argv[i]);
    }
    if (call->argc > 1)
        return COMMAND_ANSWERED;
    if (!subscription_first(who, pattern, &name))
        confirm(call, what, (struct str){0});
    while (subscription_first(who, pattern, &name)) {
        memcpy(text, name.p, name.len);
        name.p = text;
        (void)subscription_remove(all, who, name, pattern);
        confirm(call, what, name);
    }
    return COMMAND_ANSWERED;
}

enum command_result handle_subscribe(struct command_call *call)
{
    return subscribe(call, "subscribe", false);
}

enum command_result handle_psubscribe(struct command_call *call)
{
    return subscribe(call, "psubscribe", true);
}

enum command_result handle_unsubscribe(struct command_call *call)
{
    return unsubscribe(call, "unsubscribe", false);
}

enum command_result handle_punsubscribe(struct command_call *call)
{
    return unsubscribe(call, "punsubscribe", true);
}

/* --- PUBSUB ------------------------------------------------------------- */

struct found {
    struct buf text; /* rendered */
    size_t count;
};

static void add_found(void *arg, struct str name)
{
    struct found *f = arg;

    resp_str(&f->text, name);
    f->count++;
}

enum command_result handle_pubsub_channels(struct command_call *call)
{
    struct found f = {.count = 0};

    subscription_each(&call->server->subscriptions,
                      call->argc > 2 ? call->argv[2] : STR("*"), add_found, &f);
    resp_array(call->out, f.count);
    buf_append(call->out, f.text.data, buf_size(&f.text));
    buf_clear(&f.text);
    return COMMAND_ANSWERED;
}

enum command_result handle_pubsub_numsub(struct command_call *call)
{
    resp_array(call->out, (call->argc - 2) * 2);
    for (size_t i = 2; i < call->argc; i++) {
        resp_str(call->out, call->argv[i]);
        resp_int(call->out,
                 (int64_t)subscription_receivers(&call->server->subscriptions,
                                                 call->argv[i], false));
    }
    return COMMAND_ANSWERED;
}

enum command_result handle_pubsub_numpat(struct command_call *call)
{
    resp_int(call->out, (int64_t)call->server->subscriptions.npatterns);
    return COMMAND_ANSWERED;
}
