/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of a client. What is understood must not depend on how they arrive:
 * whole, and in pieces whose size the first byte says.
 */
#include "base/mem.h"
#include "wire/id.h"
#include "wire/resp.h"

#define ARGS_MAX  16
#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Everything that comes out, as bytes that can be compared. */
static void understand(const char *data, size_t len, size_t piece,
                       struct buf *said)
{
    struct resp_reader *r = resp_reader_new();
    enum resp_result result = RESP_MORE;

    resp_reader_limit(r, ARGS_MAX, BYTES_MAX);
    for (size_t at = 0; at < len && result == RESP_MORE; at += piece) {
        const struct str *argv;
        size_t argc;

        resp_reader_feed(r, data + at, len - at < piece ? len - at : piece);
        while ((result = resp_reader_next(r, &argv, &argc)) == RESP_REQUEST) {
            size_t bytes = 0;

            ASSERT(argc >= 1 && argc <= ARGS_MAX);
            for (size_t i = 0; i < argc; i++) {
                struct id id;
                char text[ID_TEXT_MAX];

                bytes += argv[i].len;
                resp_str(said, argv[i]);
                if (id_parse(argv[i], &id))
                    ASSERT(str_eq(argv[i],
                                  (struct str){text, id_format(text, id)}));
            }
            ASSERT(bytes <= BYTES_MAX);
            buf_append_byte(said, '\n');
        }
        ASSERT(resp_reader_buffered(r) <= 2 * BYTES_MAX + 64 + piece ||
               result != RESP_MORE);
    }
    if (result != RESP_MORE)
        buf_append_byte(said, '!');
    resp_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf whole, pieces;
    const char *bytes = (const char *)data + 1;
    size_t piece;

    if (len < 2)
        return 0;
    piece = data[0] % 64u + 1;
    buf_init(&whole);
    buf_init(&pieces);
    understand(bytes, len - 1, len, &whole);
    understand(bytes, len - 1, piece, &pieces);
    ASSERT(str_eq((struct str){buf_front(&whole), buf_size(&whole)},
                  (struct str){buf_front(&pieces), buf_size(&pieces)}));
    buf_clear(&whole);
    buf_clear(&pieces);
    return 0;
}
