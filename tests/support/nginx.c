#include "tests/support/nginx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/port.h"

enum { START_MS = 10000 };

/* One process, so that its end is the end of all of it, and as whoever runs the test. */
static const char config[] = "daemon off;\n"
                             "master_process off;\n"
                             "error_log error.log;\n"
                             "pid nginx.pid;\n"
                             "events { worker_connections 512; }\n"
                             "http {\n"
                             "    access_log off;\n"
                             "    client_body_temp_path body;\n"
                             "    proxy_temp_path proxy;\n"
                             "    fastcgi_temp_path fastcgi;\n"
                             "    uwsgi_temp_path uwsgi;\n"
                             "    scgi_temp_path scgi;\n"
                             "    upstream service { server 127.0.0.1:%d; keepalive 32; }\n"
                             "    server {\n"
                             "        listen 127.0.0.1:%d%s;\n"
                             "        proxy_http_version 1.1;\n"
                             "        proxy_set_header Connection \"\";\n"
                             "        location / { proxy_pass http://service; }\n"
                             "        %s\n"
                             "        %s\n"
                             "    }\n"
                             "}\n";
static const char tls[] = "ssl_certificate server.pem; ssl_certificate_key server.key;";

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"

static void make_certificate(const struct sp_nginx *n, const char *alt_name)
{
    char command[1024];

    snprintf(command, sizeof command,
             "cd '%s' && exec 2>openssl.log && "
             "openssl req -x509 " NEW_KEY " -keyout ca.key -out ca.pem -subj /CN=test-authority && "
             "openssl req -x509 " NEW_KEY " -keyout server.key -out server.pem -subj /CN=test "
             "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE "
             "-addext subjectAltName=%s",
             n->dir, alt_name);
    cr_assert(system(command) == 0, "%s", command); /* NOLINT(cert-env33-c): words of ours */
}

static void write_config(const struct sp_nginx *n, const struct sp_nginx_options *options)
{
    char path[96];

    snprintf(path, sizeof path, "%s/nginx.conf", n->dir);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    fprintf(f, config, options->upstream, n->port, options->certificate ? " ssl" : "",
            options->certificate ? tls : "", options->directives ? options->directives : "");
    cr_assert(fclose(f) == 0);
}

void sp_nginx_start(struct sp_nginx *n, const struct sp_nginx_options *options)
{
    snprintf(n->dir, sizeof n->dir, "/tmp/sandpiper-nginx-XXXXXX");
    cr_assert(mkdtemp(n->dir) != NULL);
    n->port = sp_free_port();
    snprintf(n->ca, sizeof n->ca, "%s/ca.pem", n->dir);
    snprintf(n->url, sizeof n->url, "%s://127.0.0.1:%d", options->certificate ? "https" : "http",
             n->port);
    if (options->certificate)
        make_certificate(n, options->certificate);
    write_config(n, options);
    sp_process_start(&n->process, (const char *const[]){NGINX_BIN, "-p", n->dir, "-c", "nginx.conf",
                                                        "-e", "error.log", NULL});
    cr_assert(sp_process_listens(n->port, START_MS), "nginx does not start: %s/error.log", n->dir);
}

void sp_nginx_stop(struct sp_nginx *n)
{
    char command[96];

    sp_process_stop(&n->process);
    if (!n->dir[0])
        return;
    snprintf(command, sizeof command, "rm -rf '%s'", n->dir);
    cr_expect(system(command) == 0); /* NOLINT(cert-env33-c): a name of our own making */
    n->dir[0] = '\0';
}
