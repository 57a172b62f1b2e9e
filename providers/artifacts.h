/*
 * Files that a program left in artifacts/: finding and reading them safely (reference ragflow 2).
 * The rules are the same wherever the files lie; a source lists and reads.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "base/result.h"

struct sp_artifact_rules {
    int64_t max_count, max_bytes, max_total; /* total of all artifacts of the run */
};
/* Of a provider without fields of its own for them. */
struct sp_artifact_rules sp_artifact_rules_of(const struct sp_limits *limits);

/*
 * Reads `artifacts` below the directory workspace_fd into result, sorted by path, recursively,
 * regular files with one link only, never through a link. Each refused file is named with its
 * reason; nothing refused fails the run. Ends early (with a warning) when deadline_ms passes.
 * SP_E_NOMEM. A folder that is not there is no artifacts.
 */
SP_MUST_CHECK enum sp_code sp_artifacts_collect(int workspace_fd,
                                                const struct sp_artifact_rules *rules,
                                                int64_t deadline_ms, struct sp_result *result);

enum sp_artifact_type { SP_ARTIFACT_FILE, SP_ARTIFACT_FOLDER, SP_ARTIFACT_LINK, SP_ARTIFACT_OTHER };

/* The entries of one folder. */
struct sp_artifact_names {
    struct sp_artifact_name {
        char *name; /* no slash, neither "." nor ".." */
        enum sp_artifact_type type;
    } * names;
    size_t n;
    bool more; /* there were more than asked for */
};
/* Copies the name. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_artifact_names_add(struct sp_artifact_names *names, const char *name,
                                                 enum sp_artifact_type type);

struct sp_artifact_facts {
    enum sp_artifact_type type;
    int64_t size, links; /* links: 1 where the source cannot tell */
};

/*
 * Where artifacts/ lies; the first member of a source's own struct. Paths are relative to it. What
 * can happen: SP_E_INVALID: this one is refused, err->msg is the reason as the reply carries it;
 * SP_E_LIMIT (read): longer than out->max; SP_E_TIMEOUT: the source's deadline passed;
 * SP_E_UNAVAILABLE: the source is lost; SP_E_CANCELLED; SP_E_NOMEM.
 */
struct sp_artifact_source {
    /* At most `max` entries of a folder; "" is artifacts/ itself, which may be missing: no entries.
     * *out is empty before, and the caller frees what is in it, also on failure. */
    enum sp_code (*list)(struct sp_artifact_source *s, const char *folder, size_t max,
                         struct sp_artifact_names *out, struct sp_error *err);
    /* A file that was listed; read() gives its content, into a buffer with a ceiling. Through no
     * link. The next open() or the source's end closes it. */
    enum sp_code (*open)(struct sp_artifact_source *s, const char *path,
                         struct sp_artifact_facts *out, struct sp_error *err);
    enum sp_code (*read)(struct sp_artifact_source *s, struct sp_buf *out, struct sp_error *err);
};

/* As sp_artifacts_collect(). A source that is lost or late ends it with a warning. */
SP_MUST_CHECK enum sp_code sp_artifacts_collect_from(struct sp_artifact_source *source,
                                                     const struct sp_artifact_rules *rules,
                                                     struct sp_result *result);
