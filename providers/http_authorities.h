/*
 * The authorities whose certificates are good: those of the environment variables SSL_CERT_FILE and
 * SSL_CERT_DIR, or the system's where neither is set. They are read once and shared: libcurl would
 * read a file of all the web's authorities again for each connection, which costs a megabyte and
 * tens of milliseconds each. Used by http_pool.c.
 */
#pragma once

#include <openssl/types.h>

/* NULL where a file cannot be read. X509_STORE_free() frees it; it may be shared by threads. */
X509_STORE *sp_http_authorities_read(void);
