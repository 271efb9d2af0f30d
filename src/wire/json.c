/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/json.h"

#include "base/value.h"
#include "wire/id.h"
#include "wire/utf8.h"

static void put_character(struct buf *out, const char *p, size_t n)
{
    unsigned char c = (unsigned char)p[0];

    if (c == '"' || c == '\\')
        buf_append_byte(out, '\\');
    if (c < 0x20 || c == 0x7f)
        buf_printf(out, "\\u%04x", c);
    else
        buf_append(out, p, n);
}

static void put_string(struct buf *out, struct str s)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len;) {
        uint32_t c;
        size_t n = utf8_read(s.p + i, s.len - i, &c);

        if (n)
            put_character(out, s.p + i, n);
        else
            buf_append_str(out, STR("\\ufffd"));
        i += n ? n : 1;
    }
    buf_append_byte(out, '"');
}

static void put_id(struct buf *out, const struct value *v)
{
    char text[ID_TEXT_MAX];
    size_t len = id_format(
        text,
        (struct id){.kind = v->id_kind, .n = v->id, .attempt = v->attempt});

    put_string(out, (struct str){text, len});
}

void json_value(struct buf *out, const char *bytes, size_t *at)
{
    struct value v;

    value_read(bytes, at, &v);
    switch (v.kind) {
    case VALUE_NULL:
        buf_append_str(out, STR("null"));
        return;
    case VALUE_OK:
        buf_append_str(out, STR("true"));
        return;
    case VALUE_INT:
        buf_printf(out, "%lld", (long long)v.i);
        return;
    case VALUE_STR:
        put_string(out, v.s);
        return;
    case VALUE_ID:
        put_id(out, &v);
        return;
    case VALUE_ARRAY:
        buf_append_byte(out, '[');
        for (uint32_t i = 0; i < v.count; i++) {
            if (i)
                buf_append_byte(out, ',');
            json_value(out, bytes, at);
        }
        buf_append_byte(out, ']');
        return;
    case VALUE_MAP:
        buf_append_byte(out, '{');
        for (uint32_t i = 0; i < v.count; i++) {
            if (i)
                buf_append_byte(out, ',');
            json_value(out, bytes, at);
            buf_append_byte(out, ':');
            json_value(out, bytes, at);
        }
        buf_append_byte(out, '}');
        return;
    case VALUE_ERROR:
        break;
    }
    BUG("an error has no place in JSON");
}
