/*
 * The tables of the docs that are made from the code. Between `<!-- generated: NAME -->` and `<!--
 * end -->` a file must say what the code says.
 *
 *   tables FILE ...            fails and names the table that differs
 *   tables --write FILE ...    puts the tables in
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "providers/registry.h"
#include "settings/config.h"

#define BEGIN "<!-- generated: "
#define END "<!-- end -->\n"

static enum sp_code errors(struct sp_buf *out)
{
    enum sp_code rc = sp_buf_adds(out, "| code | status | kind | retryable | meaning |\n"
                                       "| --- | --- | --- | --- | --- |\n");
    for (int code = SP_SB_NONE + 1; code < SP_SB_COUNT && !rc; code++) {
        const struct sp_sb_row *row = sp_sb_row((enum sp_sb)code);
        rc = sp_buf_addf(out, "| %s | `%s` | `%s` | %s | %s |\n", row->code,
                         sp_status_name(row->status), row->kind, row->retryable ? "yes" : "no",
                         row->meaning);
    }
    return rc;
}

static enum sp_code providers(struct sp_buf *out)
{
    enum sp_code rc = sp_buf_adds(out, "| provider | what it is |\n| --- | --- |\n");
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL && !rc; i++)
        rc = sp_buf_addf(out, "| [`%s`](docs/providers/%s.md) | %s |\n", ops->name, ops->name,
                         ops->description);
    return rc;
}

static enum sp_code configuration(struct sp_buf *out)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; i < sp_config_n_sections && !rc; i++) {
        const struct sp_config_section *section = &sp_config_sections[i];
        rc = sp_buf_addf(out, "%s`[%s]`: %s\n", i ? "\n" : "", section->name, section->help);
        if (!rc && section->fields)
            rc = sp_buf_adds(out, "\n");
        if (!rc && section->fields)
            rc = sp_fields_markdown(section->fields, section->n_fields, out);
    }
    return rc;
}

static enum sp_code table(const char *name, struct sp_buf *out)
{
    if (strcmp(name, "errors") == 0)
        return errors(out);
    if (strcmp(name, "providers") == 0)
        return providers(out);
    if (strcmp(name, "configuration") == 0)
        return configuration(out);
    const struct sp_provider_ops *ops = sp_registry_find(name);
    return ops ? sp_fields_markdown(ops->fields, ops->n_fields, out) : SP_E_INVALID;
}

/* Copies text to out with every generated part made anew. */
static enum sp_code renew(const char *path, const char *text, struct sp_buf *out)
{
    for (const char *at; (at = strstr(text, BEGIN)) != NULL;) {
        char name[64];
        const char *body = strchr(at, '\n');
        const char *end = body ? strstr(body, END) : NULL;
        if (!end || sscanf(at + strlen(BEGIN), "%63s", name) != 1) {
            fprintf(stderr, "%s: a generated part without its end\n", path);
            return SP_E_INVALID;
        }
        enum sp_code rc = sp_buf_add(out, text, (size_t)(body + 1 - text));
        if (!rc)
            rc = table(name, out);
        if (rc) {
            fprintf(stderr, "%s: no table is called %s\n", path, name);
            return rc;
        }
        text = end;
    }
    return sp_buf_adds(out, text);
}

static char *read_file(const char *path)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char part[4096];
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    for (size_t n; (n = fread(part, 1, sizeof(part), f)) > 0;)
        if (sp_buf_add(&buf, part, n))
            break;
    fclose(f);
    return sp_buf_take(&buf, NULL);
}

static bool write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    bool ok = f && fputs(text, f) >= 0;
    return f && fclose(f) == 0 && ok;
}

static bool one_file(const char *path, bool write)
{
    sp_auto(sp_free_str) char *text = read_file(path);
    sp_auto(sp_buf_clear) struct sp_buf now = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (!text) {
        perror(path);
        return false;
    }
    if (renew(path, text, &now))
        return false;
    if (strcmp(text, sp_buf_str(&now)) == 0)
        return true;
    if (write)
        return write_file(path, sp_buf_str(&now));
    fprintf(stderr, "%s: a generated table is out of date; scripts/docs renews it\n", path);
    return false;
}

int main(int argc, char **argv)
{
    bool ok = true, write = argc > 1 && strcmp(argv[1], "--write") == 0;
    for (int i = write ? 2 : 1; i < argc; i++)
        ok = one_file(argv[i], write) && ok;
    return ok ? 0 : 1;
}
