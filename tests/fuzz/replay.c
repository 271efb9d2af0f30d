/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay - runs a fuzz target over files, without a fuzzer: the corpus and
 * every input that once crashed are part of the ordinary tests.
 *
 * usage: replay FILE|DIRECTORY...
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned long inputs;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    struct buf b;
    size_t n;

    if (!f) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    buf_init(&b);
    while ((n = fread(buf_reserve(&b, 65536), 1, 65536, f)) > 0)
        b.len += n;
    (void)fclose(f); /* it was only read */
    (void)LLVMFuzzerTestOneInput((const uint8_t *)buf_front(&b), buf_size(&b));
    buf_clear(&b);
    inputs++;
    return 0;
}

static int replay_path(const char *path)
{
    struct stat st;
    struct dirent **names;
    int n, bad = 0;

    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return replay_file(path);
    n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char child[4096];

        (void)snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            bad |= replay_path(child);
        free(names[i]);
    }
    free(names);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        bad |= replay_path(argv[i]);
    (void)printf("%lu inputs replayed\n", inputs);
    return bad;
}
