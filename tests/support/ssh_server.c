#include "tests/support/ssh_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/port.h"

enum {
    TRIES = 500,
    TRY_US = 20000,
    LINE_BYTES = 4096,
    PATH_BYTES = 192,
    FIRST_ACCOUNT_ID = 800000
};

/* crypt(3) of SP_SSH_PASSWORD. */
static const char password_hash[] =
    "$6$sandpipertest$XVEsXb3Z18Pz0LnqjbkmCTsiIFLvXVxAien731Rq5wRQ5fhf0T0.7ydo5/9Wib.KQxrXLtT9/"
    "smo71.ig3RYs0";

static bool path_of(char *out, const struct sp_ssh_server *server, const char *name)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", server->dir, name);

    return n > 0 && n < PATH_BYTES;
}

static bool write_file(const struct sp_ssh_server *server, const char *name, const char *mode,
                       const char *fmt, ...)
{
    char path[PATH_BYTES];
    FILE *file = path_of(path, server, name) ? fopen(path, mode) : NULL;
    va_list args;

    if (!file)
        return false;
    va_start(args, fmt);
    bool ok = vfprintf(file, fmt, args) >= 0;
    va_end(args);
    return fclose(file) == 0 && ok;
}

char *sp_ssh_server_read(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t len = 0;
    ssize_t n = file ? getdelim(&text, &len, '\0', file) : -1;

    if (file)
        fclose(file);
    if (n < 0) {
        free(text);
        return NULL;
    }
    return text;
}

static bool run(char *const *argv)
{
    int status = -1;
    pid_t pid = fork();

    if (!pid) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        dup2(null, STDOUT_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool keygen(const char *type, const char *format, const char *passphrase, const char *path)
{
    char *const argv[] = {"ssh-keygen", "-q",           "-t", (char *)type,
                          "-m",         (char *)format, "-N", (char *)passphrase,
                          "-f",         (char *)path,   NULL};

    return run(argv);
}

/* Appends one file to another, each line with this in front. */
static bool add_lines(const struct sp_ssh_server *server, const char *to, const char *front,
                      const char *from_path)
{
    char *text = sp_ssh_server_read(from_path);
    bool ok = text && write_file(server, to, "a", "%s%s", front, text);

    free(text);
    return ok;
}

/* Making it. */

static bool make_host_keys(struct sp_ssh_server *server, const char *types)
{
    char list[64], front[64], path[PATH_BYTES], public[PATH_BYTES + 8];
    char *save = NULL;

    snprintf(list, sizeof list, "%s", types);
    snprintf(front, sizeof front, "[127.0.0.1]:%d ", server->port);
    for (char *type = strtok_r(list, " ", &save); type; type = strtok_r(NULL, " ", &save)) {
        char name[40];

        snprintf(name, sizeof name, "host_%s", type);
        path_of(path, server, name);
        snprintf(public, sizeof public, "%s.pub", path);
        if (!keygen(type, "RFC4716", "", path) ||
            !add_lines(server, "known_hosts", front, public) ||
            !write_file(server, "sshd_config", "a", "HostKey %s\n", path))
            return false;
    }
    return true;
}

static const char *sftp_server(void)
{
    static const char *const paths[] = {"/usr/lib/openssh/sftp-server",
                                        "/usr/libexec/openssh/sftp-server",
                                        "/usr/lib/ssh/sftp-server"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    }
    return "internal-sftp";
}

static bool make_config(const struct sp_ssh_server *server, const char *extra)
{
    return write_file(server, "sshd_config", "a",
                      "%s\n"
                      "ListenAddress 127.0.0.1\nPort %d\nPidFile none\nLogLevel VERBOSE\n"
                      "StrictModes no\nUsePAM no\nUseDNS no\nPrintMotd no\n"
                      "PermitRootLogin yes\nPasswordAuthentication no\n"
                      "KbdInteractiveAuthentication no\nAllowTcpForwarding no\n"
                      "AuthorizedKeysFile %s/authorized_keys\nSubsystem sftp %s\n",
                      extra ? extra : "", server->port, server->dir, sftp_server());
}

static bool make_home(const struct sp_ssh_server *server, const char *name, uid_t owner, char *path)
{
    return path_of(path, server, name) && mkdir(path, 0700) == 0 && chown(path, owner, owner) == 0;
}

/*
 * The accounts as sshd will see them. root has an empty home and a plain shell: what its own shell
 * does on login is not ours to test.
 */
static bool make_accounts(const struct sp_ssh_server *server)
{
    char home[PATH_BYTES], root_home[PATH_BYTES];

    uid_t id = server->account_id;

    return make_home(server, "home", id, home) && make_home(server, "root", 0, root_home) &&
           write_file(server, "passwd", "w", "root:x:0:0::%s:/bin/sh\n%s:x:%u:%u::%s:/bin/sh\n",
                      root_home, SP_SSH_ACCOUNT, id, id, home) &&
           add_lines(server, "passwd", "", "/etc/passwd") &&
           write_file(server, "shadow", "w",
                      "root:*:19000:0:99999:7:::\n%s:%s:19000:0:99999:7:::\n", SP_SSH_ACCOUNT,
                      password_hash) &&
           write_file(server, "pam", "w",
                      "auth required pam_unix.so\naccount required pam_unix.so\n"
                      "session required pam_permit.so\n");
}

static bool make(struct sp_ssh_server *server, const struct sp_ssh_server_options *options)
{
    const struct passwd *me = getpwuid(geteuid());
    const char *types = options && options->host_keys ? options->host_keys : "ed25519";

    snprintf(server->dir, sizeof server->dir, "/tmp/sandpiper-ssh-XXXXXX");
    server->port = sp_free_port();
    server->account_id = FIRST_ACCOUNT_ID + (uid_t)server->port;
    if (!me || !server->port || !mkdtemp(server->dir) || chmod(server->dir, 0755))
        return false;
    snprintf(server->user, sizeof server->user, "%s", me->pw_name);
    snprintf(server->known_hosts, sizeof server->known_hosts, "%s/known_hosts", server->dir);
    return make_config(server, options ? options->config : NULL) && make_host_keys(server, types) &&
           write_file(server, "authorized_keys", "w", "") &&
           (geteuid() != 0 || make_accounts(server));
}

/* Running it. These are called in the child. */

static bool bind_over(const struct sp_ssh_server *server, const char *name, const char *over)
{
    char path[PATH_BYTES];

    return path_of(path, server, name) && mount(path, over, NULL, MS_BIND, NULL) == 0;
}

/* sshd wants an empty /run/sshd where it runs as root. */
static bool enter_namespace(const struct sp_ssh_server *server)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") == 0 && mkdir("/run/sshd", 0755) == 0 &&
           bind_over(server, "passwd", "/etc/passwd") &&
           bind_over(server, "shadow", "/etc/shadow") &&
           bind_over(server, "pam", "/etc/pam.d/sshd");
}

static void become_server(const struct sp_ssh_server *server, pid_t parent)
{
    char config[PATH_BYTES], log[PATH_BYTES];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fd = path_of(log, server, "log") ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

    if (fd < 0 || !path_of(config, server, "sshd_config"))
        _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(126);
    if (geteuid() == 0 && !enter_namespace(server)) {
        dprintf(STDERR_FILENO, "mount namespace: %s\n", strerror(errno));
        _exit(125);
    }
    close_range(3, ~0U, 0);
    execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-e", "-f", config, (char *)NULL);
    _exit(127);
}

/* Lines of the log that hold a text. */
static int count(const struct sp_ssh_server *server, const char *text)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    FILE *file = path_of(path, server, "log") ? fopen(path, "r") : NULL;
    int n = 0;

    while (file && fgets(line, sizeof line, file))
        n += strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return n;
}

static void show_log(const struct sp_ssh_server *server)
{
    char path[PATH_BYTES];
    char *text = path_of(path, server, "log") ? sp_ssh_server_read(path) : NULL;

    fprintf(stderr, "sshd did not start:\n%s\n", text ? text : "no log");
    free(text);
}

bool sp_ssh_server_start(struct sp_ssh_server *server, const struct sp_ssh_server_options *options)
{
    pid_t parent = getpid();

    if (!server->dir[0] && !make(server, options))
        return false;
    int listening = count(server, "Server listening");
    server->pid = fork();
    if (!server->pid)
        become_server(server, parent);
    for (int i = 0; i < TRIES && server->pid > 0; i++) {
        if (count(server, "Server listening") > listening)
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            server->pid = 0;
        usleep(TRY_US);
    }
    show_log(server);
    sp_ssh_server_kill(server);
    return false;
}

/* Parents before children, so that none of them starts another one. */
static void kill_tree(pid_t pid)
{
    char path[64];

    kill(pid, SIGSTOP);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *file = fopen(path, "r");
    int child;
    while (file && fscanf(file, "%d", &child) == 1)
        kill_tree(child);
    if (file)
        fclose(file);
    kill(pid, SIGKILL);
}

void sp_ssh_server_kill(struct sp_ssh_server *server)
{
    if (server->pid > 0) {
        kill_tree(server->pid);
        waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void sp_ssh_server_stop(struct sp_ssh_server *server)
{
    sp_ssh_server_kill(server);
    if (server->dir[0])
        nftw(server->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    server->dir[0] = '\0';
}

int sp_ssh_server_connections(const struct sp_ssh_server *server)
{
    return count(server, "Connection from ");
}

int sp_ssh_server_logins(const struct sp_ssh_server *server, const char *method)
{
    char text[64];

    snprintf(text, sizeof text, "Accepted %s ", method);
    return count(server, text);
}

bool sp_ssh_server_make_strange_key(const struct sp_ssh_server *server, const char *type,
                                    const char *format, const char *passphrase, char *path)
{
    static int serial;

    return snprintf(path, 128, "%s/user_%s_%d", server->dir, type, serial++) < 128 &&
           keygen(type, format, passphrase, path);
}

bool sp_ssh_server_make_key(const struct sp_ssh_server *server, const char *type,
                            const char *format, const char *passphrase, char *path)
{
    char public[PATH_BYTES];

    if (!sp_ssh_server_make_strange_key(server, type, format, passphrase, path))
        return false;
    snprintf(public, sizeof public, "%.128s.pub", path);
    return add_lines(server, "authorized_keys", "", public);
}

bool sp_ssh_server_fingerprint(const struct sp_ssh_server *server, const char *type, char *out)
{
    char command[PATH_BYTES * 2];

    snprintf(command, sizeof command, "ssh-keygen -l -f %s/host_%s.pub", server->dir, type);
    FILE *pipe = popen(command, "re");
    bool ok = pipe && fscanf(pipe, "%*d %63s", out) == 1;
    if (pipe)
        pclose(pipe);
    return ok;
}
