/* The settings of `ssh` (reference ragflow 2.5). */
#pragma once

#include "settings/fields.h"

enum { SP_SSH_FIELDS = 16, SP_SSH_TIMEOUT_MAX = 600 /* seconds */ };

struct sp_ssh_settings {
    char *host;
    int64_t port;
    char *username, *password, *private_key, *passphrase, *known_hosts, *host_key_fingerprint;
    char *python_bin, *node_bin, *work_dir;
    int64_t timeout, max_output_bytes, max_artifacts, max_artifact_bytes, max_sessions;
};

extern const struct sp_field sp_ssh_fields[SP_SSH_FIELDS];

/* As sp_provider_ops.validate. */
SP_MUST_CHECK enum sp_code sp_ssh_settings_check(json_t *settings, struct sp_error *err);
