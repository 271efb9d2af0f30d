/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener - sockets that take connections.
 *
 * Knows:     addresses, Unix socket files, descriptors that run out.
 * Never:     what is said on a connection.
 * Threads:   none; all calls from the thread of the loop.
 * Errors:    0 or -errno and a text that names the address.
 *
 * Order of calls: open or adopt (binds, so that a second daemon is refused
 * early; connections wait in the backlog), listener_start, listener_stop,
 * listener_free.
 */
#ifndef YOKE_LISTENER_H
#define YOKE_LISTENER_H

#include "base/base.h"

#include <sys/types.h>

#define LISTENER_TEXT_MAX 256

struct ev_loop;
struct listener;

/* Takes the descriptor (non-blocking, close-on-exec; TCP_NODELAY and
 * SO_KEEPALIVE are set where they apply). engine_accept is one. */
typedef void listener_fn(void *arg, int fd);

/*
 * "host:port", "[v6]:port" or ":port" (every address); numeric or a name, of
 * which the first address is taken. Port 0 lets the kernel choose; see
 * listener_name. On failure *out is untouched.
 */
int listener_open_tcp(const char *address, struct listener **out,
                      char text[LISTENER_TEXT_MAX]);

/*
 * A socket file, created with no rights for others and then given `mode` and
 * `group` ((gid_t)-1: as it is). A stale file (nobody answers) is replaced; a
 * live one gives -EADDRINUSE. listener_free removes the file.
 */
int listener_open_unix(const char *path, mode_t mode, gid_t group,
                       struct listener **out, char text[LISTENER_TEXT_MAX]);

/* A listening socket that somebody else opened (systemd); takes it. A socket
 * file is left alone at the end. */
int listener_adopt(int fd, struct listener **out, char text[LISTENER_TEXT_MAX]);

/* Accept from now on; lends loop and arg until listener_stop. */
void listener_start(struct listener *l, struct ev_loop *loop, listener_fn *fn,
                    void *arg);
/* No more; no-op when it is not started. */
void listener_stop(struct listener *l);
/* Stops and closes. NULL is allowed. */
void listener_free(struct listener *l);

/* The address as bound: "127.0.0.1:9653", "/run/yoke/yoked.sock". */
const char *listener_name(const struct listener *l);
/* Reached only from this machine: loopback or a Unix socket. */
bool listener_is_local(const struct listener *l);

#endif
