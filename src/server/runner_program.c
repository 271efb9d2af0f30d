/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "server/runner_program.h"

#include "server/conf.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef YOKE_BINDIR
#define YOKE_BINDIR "/usr/bin"
#endif

/* Beside this program, or where both were installed. */
static void find(struct runner_program *p)
{
    static const char *const places[] = {"/yoke-runner", "/../bin/yoke-runner"};
    char self[PATH_MAX / 2];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            (void)snprintf(p->path, sizeof(p->path), "%s%s", self, places[i]);
            if (access(p->path, X_OK) == 0)
                return;
        }
    }
    (void)snprintf(p->path, sizeof(p->path), "%s", YOKE_BINDIR "/yoke-runner");
    if (access(p->path, X_OK) < 0)
        p->path[0] = '\0';
}

void runner_program_init(struct runner_program *p, const struct arguments *a)
{
    struct rlimit files;
    char section[CONF_SECTION_MAX + 1], key[CONF_SECTION_MAX + 1];
    const char *value;
    size_t n = 0;

    find(p);
    /* It will be raised for the daemon's clients, and not for jobs. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        (void)snprintf(p->files, sizeof(p->files), "%llu",
                       (unsigned long long)files.rlim_cur);
        p->args[n++] = "--files";
        p->args[n++] = p->files;
    }
    if (a->file) {
        p->args[n++] = "-c";
        p->args[n++] = a->file;
    }
    for (size_t i = 0; i < a->noverrides; i++) {
        if (conf_split(a->overrides[i], section, key, &value) == 0 &&
            conf_is_runners(section)) {
            p->args[n++] = "-o";
            p->args[n++] = a->overrides[i];
        }
    }
    p->nargs = n;
    runner_program_password(p, NULL);
}

void runner_program_password(struct runner_program *p, const char *path)
{
    size_t n = p->nargs;

    if (path) {
        p->args[n++] = "--password-file";
        p->args[n++] = path;
    }
    p->args[n] = NULL;
}

int runner_program_check(const struct runner_program *p, bool starts)
{
    const char *argv[ARRAY_LEN(p->args) + 4] = {p->path, "--check-config"};
    size_t n = 2;
    pid_t pid;
    int status, rc;

    if (starts) {
        argv[n++] = "--fd";
        argv[n++] = "3";
    }
    for (size_t i = 0; p->args[i]; i++)
        argv[n++] = p->args[i];
    rc = posix_spawn(&pid, p->path, NULL, NULL, (char *const *)argv, environ);
    if (rc != 0) {
        fprintf(stderr, "yoked: cannot run %s: %s\n", p->path, strerror(rc));
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
