#include "providers/ssh/settings.h"

#include <string.h>

#include "providers/settings_check.h"

const struct sp_field sp_ssh_fields[] = {
    SP_ROW_STR(struct sp_ssh_settings, host, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .label = "SSH Host", .placeholder = "192.168.1.10",
               .help = "host name or address of the machine"),
    SP_ROW_INT(struct sp_ssh_settings, port, .flags = SP_REQUIRED | SP_RANGED, .min = 1,
               .max = 65535, .def_int = 22, .label = "SSH Port", .help = "port of its SSH server"),
    SP_ROW_STR(struct sp_ssh_settings, username, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .label = "SSH Username", .placeholder = "ragflow",
               .help = "account in which programs run"),
    SP_ROW_STR(struct sp_ssh_settings, password, .flags = SP_SECRET | SP_NO_DEFAULT,
               .label = "SSH Password", .placeholder = "Optional when a private key is given",
               .help = "password of the account; this or private_key is needed"),
    SP_ROW_STR(struct sp_ssh_settings, private_key,
               .flags = SP_SECRET | SP_MULTILINE | SP_NO_DEFAULT, .label = "SSH Private Key",
               .placeholder = "PEM text, or a file path on the server",
               .help = "private key: its text, or the path of a file that the worker can read"),
    SP_ROW_STR(struct sp_ssh_settings, passphrase, .flags = SP_SECRET | SP_NO_DEFAULT,
               .label = "Private Key Passphrase", .placeholder = "Optional",
               .help = "passphrase of the private key"),
    SP_ROW_STR(struct sp_ssh_settings, known_hosts, .label = "SSH known_hosts File",
               .placeholder = "/etc/ragflow/ssh_known_hosts",
               .help = "file with known host keys, beside the system's; unknown hosts are refused"),
    SP_ROW_STR(struct sp_ssh_settings, host_key_fingerprint, .label = "Host Key Fingerprint",
               .placeholder = "SHA256:...",
               .help = "the only host key accepted, as ssh-keygen -l shows it"),
    SP_ROW_STR(struct sp_ssh_settings, python_bin, .def_str = "python3", .label = "Python Binary",
               .help = "Python on the machine, name or path"),
    SP_ROW_STR(struct sp_ssh_settings, node_bin, .def_str = "node", .label = "Node.js Binary",
               .help = "Node.js on the machine, name or path"),
    SP_ROW_STR(struct sp_ssh_settings, work_dir, .def_str = "/tmp",
               .label = "Remote Workspace Root", .placeholder = "/tmp",
               .help = "folder on the machine under which each run has its own"),
    SP_ROW_INT(struct sp_ssh_settings, timeout, SP_RANGE(1, SP_SSH_TIMEOUT_MAX), .def_int = 30,
               .label = "Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_INT(struct sp_ssh_settings, max_output_bytes, SP_RANGE(1024, 10485760),
               .def_int = 1048576, .label = "Max Output Bytes",
               .help = "kept of each output stream, bytes"),
    SP_ROW_INT(struct sp_ssh_settings, max_artifacts, SP_RANGE(0, 100), .def_int = 20,
               .label = "Max Artifacts", .help = "files taken from artifacts/"),
    SP_ROW_INT(struct sp_ssh_settings, max_artifact_bytes, SP_RANGE(1024, 104857600),
               .def_int = 10485760, .label = "Max Artifact Bytes",
               .help = "largest file taken from artifacts/, bytes"),
    SP_ROW_INT(struct sp_ssh_settings, max_sessions, SP_RANGE(2, 100), .def_int = 10,
               .label = "Max Sessions",
               .help =
                   "sessions at once on one connection, one of them for files; OpenSSH allows 10 "
                   "unless told otherwise"),
};
_Static_assert(SP_COUNT(sp_ssh_fields) == SP_SSH_FIELDS, "settings.h counts them");

static bool given_but_empty(json_t *settings, const char *key)
{
    return json_object_get(settings, key) && !*sp_setting_text(settings, key);
}

static enum sp_code check_texts(json_t *settings, struct sp_error *err)
{
    static const char *const required[] = {"host", "username"};
    static const char *const never_empty[] = {"python_bin", "node_bin", "work_dir"};

    for (size_t i = 0; i < SP_COUNT(required); i++) {
        if (!*sp_setting_text(settings, required[i]))
            return sp_error_set(err, SP_E_INVALID, "%s: required", required[i]);
    }
    if (!*sp_setting_text(settings, "password") && !*sp_setting_text(settings, "private_key"))
        return sp_error_set(err, SP_E_INVALID, "password: a password or a private_key is required");
    for (size_t i = 0; i < SP_COUNT(never_empty); i++) {
        if (given_but_empty(settings, never_empty[i]))
            return sp_error_set(err, SP_E_INVALID, "%s: must not be empty", never_empty[i]);
    }
    return SP_OK;
}

/* SHA256: and the base64 of 32 bytes without its padding. */
static enum sp_code check_fingerprint(json_t *settings, struct sp_error *err)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *text = sp_setting_text(settings, "host_key_fingerprint");

    if (!*text || (strncmp(text, "SHA256:", 7) == 0 && strlen(text) == 50 &&
                   strspn(text + 7, alphabet) == 43))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID,
                        "host_key_fingerprint: must be SHA256: and 43 characters of base64, as "
                        "ssh-keygen -l shows it");
}

/* RAGFlow takes an absent number for 0 and refuses it; here it has its default. */
enum sp_code sp_ssh_settings_check(json_t *settings, struct sp_error *err)
{
    static const struct sp_setting_range ranges[] = {
        {"port", "SSH port", ""},
        {"timeout", "Timeout", " seconds"},
        {"max_output_bytes", "Max output", " bytes"},
        {"max_artifacts", "Max artifacts", ""},
        {"max_artifact_bytes", "Max artifact size", " bytes"},
        {"max_sessions", "Max sessions", ""},
    };

    enum sp_code rc = check_texts(settings, err);
    if (!rc)
        rc = sp_setting_check_ranges(settings, sp_ssh_fields, ranges, SP_COUNT(ranges), err);
    return rc ? rc : check_fingerprint(settings, err);
}
