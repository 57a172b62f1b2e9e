#include "providers/ssh/known_hosts.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"
#include "providers/ssh/wire.h"

#define HASH_BYTES ((size_t)64) /* of one in a hashed name, and some */
enum { NAME_BYTES = 300 };

void sp_known_hosts_clear(struct sp_known_hosts *known)
{
    for (size_t i = 0; i < known->n; i++)
        sp_free_str((char *)(uintptr_t)known->keys[i].blob.data);
    free(known->keys);
    *known = (struct sp_known_hosts){0};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line, empty at its end. */
static struct sp_bytes take_word(struct sp_bytes *line)
{
    size_t start = 0, end;

    while (start < line->len && is_space(line->data[start]))
        start++;
    end = start;
    while (end < line->len && !is_space(line->data[end]))
        end++;
    struct sp_bytes word = {line->data + start, end - start};
    line->data += end;
    line->len -= end;
    return word;
}

/* What stands before a separator; *rest goes behind it. */
static struct sp_bytes take_part(struct sp_bytes *rest, char separator)
{
    const char *at = memchr(rest->data, separator, rest->len);
    size_t len = at ? (size_t)(at - rest->data) : rest->len;
    struct sp_bytes part = {rest->data, len};

    rest->data += at ? len + 1 : len;
    rest->len -= at ? len + 1 : len;
    return part;
}

/* * and ? as in file names, in lower case. The last * may take more, so that no recursion is
 * needed. */
static bool matches(struct sp_bytes pattern, const char *name)
{
    size_t p = 0, star = SIZE_MAX;
    const char *from = name;

    while (*name) {
        int c = p < pattern.len ? tolower((unsigned char)pattern.data[p]) : '\0';

        if (c == '*') {
            star = p++;
            from = name;
        } else if (c && (c == '?' || c == (unsigned char)*name)) {
            p++;
            name++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            name = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

/* |1|salt|hash, both in base64: HMAC-SHA1 of the name. */
static bool is_hash_of(struct sp_bytes word, const char *name)
{
    sp_auto(sp_buf_clear) struct sp_buf salt = SP_BUF_INIT(HASH_BYTES);
    sp_auto(sp_buf_clear) struct sp_buf hash = SP_BUF_INIT(HASH_BYTES);
    unsigned char ours[EVP_MAX_MD_SIZE];
    size_t len = 0;

    word.data += 3;
    word.len -= 3;
    struct sp_bytes first = take_part(&word, '|');
    if (sp_base64_decode(first.data, first.len, &salt) ||
        sp_base64_decode(word.data, word.len, &hash) || salt.len == 0)
        return false;
    return EVP_Q_mac(NULL, "HMAC", NULL, "SHA1", NULL, salt.data, salt.len,
                     (const unsigned char *)name, strlen(name), ours, sizeof ours, &len) &&
           hash.len == len && CRYPTO_memcmp(hash.data, ours, len) == 0;
}

/* One negated match outweighs all others. */
static bool names_host(struct sp_bytes patterns, const char *name)
{
    bool matched = false;

    if (patterns.len > 3 && memcmp(patterns.data, "|1|", 3) == 0)
        return is_hash_of(patterns, name);
    while (patterns.len > 0) {
        struct sp_bytes pattern = take_part(&patterns, ',');
        bool negated = pattern.len > 0 && pattern.data[0] == '!';

        if (negated) {
            pattern.data++;
            pattern.len--;
        }
        if (!matches(pattern, name))
            continue;
        if (negated)
            return false;
        matched = true;
    }
    return matched;
}

static enum sp_code add_key(struct sp_known_hosts *known, struct sp_buf *blob, bool revoked)
{
    struct sp_known_key *grown = sp_grow(known->keys, known->n, sizeof *grown);

    if (!grown)
        return SP_E_NOMEM;
    known->keys = grown;
    grown[known->n] = (struct sp_known_key){.revoked = revoked};
    grown[known->n].blob.data = sp_buf_take(blob, &grown[known->n].blob.len);
    if (!grown[known->n].blob.data)
        return SP_E_NOMEM;
    known->n++;
    return SP_OK;
}

static enum sp_code add_line(struct sp_known_hosts *known, struct sp_bytes line, const char *name)
{
    sp_auto(sp_buf_clear) struct sp_buf blob = SP_BUF_INIT(line.len);
    struct sp_bytes word = take_word(&line), type, text, rest;
    bool revoked = sp_bytes_are(word, "@revoked");

    if (revoked)
        word = take_word(&line);
    if (word.len == 0 || word.data[0] == '#' || word.data[0] == '@' || !names_host(word, name))
        return SP_OK;
    type = take_word(&line);
    text = take_word(&line);
    enum sp_code rc = sp_base64_decode(text.data, text.len, &blob);
    if (rc)
        return rc == SP_E_NOMEM ? rc : SP_OK;
    rest = (struct sp_bytes){blob.data, blob.len};
    if (!sp_ssh_take_string(&rest, &word) || word.len != type.len ||
        memcmp(word.data, type.data, word.len) != 0)
        return SP_OK;
    return add_key(known, &blob, revoked);
}

enum sp_code sp_known_hosts_add(struct sp_known_hosts *known, const char *text, size_t len,
                                const char *host, int64_t port)
{
    struct sp_bytes rest = {text, len};
    char name[NAME_BYTES];
    int n = port == 22 ? snprintf(name, sizeof name, "%s", host)
                       : snprintf(name, sizeof name, "[%s]:%lld", host, (long long)port);
    enum sp_code rc = SP_OK;

    if (n < 0 || (size_t)n >= sizeof name)
        return SP_OK; /* longer than any host name */
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    while (!rc && rest.len > 0)
        rc = add_line(known, take_part(&rest, '\n'), name);
    return rc;
}

static bool same_type(struct sp_bytes a, struct sp_bytes b)
{
    struct sp_bytes type_a, type_b;

    return sp_ssh_take_string(&a, &type_a) && sp_ssh_take_string(&b, &type_b) &&
           type_a.len == type_b.len && memcmp(type_a.data, type_b.data, type_a.len) == 0;
}

enum sp_known sp_known_hosts_look(const struct sp_known_hosts *known, struct sp_bytes blob)
{
    enum sp_known best = SP_KNOWN_NOT;

    for (size_t i = 0; i < known->n; i++) {
        const struct sp_known_key *key = &known->keys[i];
        bool same = key->blob.len == blob.len && memcmp(key->blob.data, blob.data, blob.len) == 0;
        enum sp_known found = same_type(key->blob, blob) ? SP_KNOWN_CHANGED : SP_KNOWN_OTHER_TYPE;

        if (same && key->revoked)
            return SP_KNOWN_REVOKED;
        if (same)
            found = SP_KNOWN_YES;
        if (found > best && !key->revoked)
            best = found;
    }
    return best;
}
