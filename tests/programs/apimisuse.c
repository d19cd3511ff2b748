/* Classic library-API ownership mistakes, one per mode, N requests each.
 *   cc -g -O1 apimisuse.c $(pkg-config --cflags --libs libxml-2.0 libssl libcrypto) [-lsqlite3 -lcurl glib]
 * usage: apimisuse MODE N     each mode leaks exactly one thing per iteration
 * (the expected function is named in the comment above it).
 * build: -O1 -DHAVE_SQLITE -DHAVE_CURL -I/usr/include/libxml2 -lxml2 -lssl -lcrypto -lsqlite3 -lcurl */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/ssl.h>
#ifdef HAVE_SQLITE
#include <sqlite3.h>
#endif
#ifdef HAVE_CURL
#include <curl/curl.h>
#endif
#ifdef HAVE_GLIB
#include <glib.h>
#endif
static const char doc[] = "<order id=\"42\" who=\"bob\"><item n=\"1\"/></order>";

/* leak: xmlGetProp result (a string) is never xmlFree'd */
__attribute__((noinline)) void handle_xml_prop(int i) {
    xmlDocPtr d = xmlReadMemory(doc, sizeof doc - 1, "m", NULL, 0);
    xmlChar *id = xmlGetProp(xmlDocGetRootElement(d), (const xmlChar *)"who");
    if (id[0] == 'z') puts("never");
    xmlFreeDoc(d);
    (void)i;
}
/* leak: the document (a tree: 1 direct, many indirect) is never xmlFreeDoc'd */
__attribute__((noinline)) void handle_xml_doc(int i) {
    xmlDocPtr d = xmlReadMemory(doc, sizeof doc - 1, "m", NULL, 0);
    if (xmlDocGetRootElement(d)->type != XML_ELEMENT_NODE) puts("never");
    (void)i;
}
/* leak: EVP_MD_CTX is never freed */
__attribute__((noinline)) void handle_evp(int i) {
    unsigned char md[64]; unsigned n;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_DigestInit_ex(c, EVP_sha256(), NULL);
    EVP_DigestUpdate(c, &i, sizeof i);
    EVP_DigestFinal_ex(c, md, &n);
}
/* leak: SSL object made per connection, never SSL_free'd (SSL_CTX shared, kept) */
static SSL_CTX *ctx;
__attribute__((noinline)) void handle_ssl(int i) {
    if (!ctx) ctx = SSL_CTX_new(TLS_server_method());
    SSL *s = SSL_new(ctx);
    if (SSL_get_fd(s) > 0) puts("never");
    (void)i;
}
#ifdef HAVE_SQLITE
static sqlite3 *db;
/* leak: sqlite3_mprintf result never sqlite3_free'd */
__attribute__((noinline)) void handle_sq_mprintf(int i) {
    if (!db) sqlite3_open(":memory:", &db);
    char *q = sqlite3_mprintf("select %d, %Q", i, "o'hara");
    sqlite3_exec(db, q, 0, 0, 0);
}
/* growth, not lost: statements never finalized stay linked from db->pVdbe (global db) */
__attribute__((noinline)) void handle_sq_stmt(int i) {
    sqlite3_stmt *st;
    if (!db) sqlite3_open(":memory:", &db);
    sqlite3_prepare_v2(db, "select 1", -1, &st, 0);
    sqlite3_step(st);
    (void)i;
}
#endif
#ifdef HAVE_CURL
/* leak: curl_slist header list never curl_slist_free_all'd */
__attribute__((noinline)) void handle_curl(int i) {
    struct curl_slist *l = NULL;
    l = curl_slist_append(l, "X-A: 1");
    l = curl_slist_append(l, "X-B: 2");
    if (i < 0) printf("%p", (void *)l);
}
#endif
#ifdef HAVE_GLIB
/* growth, not lost: session table only ever grows (global GHashTable) */
static GHashTable *sessions;
__attribute__((noinline)) void handle_glib_table(int i) {
    if (!sessions) sessions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_insert(sessions, g_strdup_printf("sess-%d", i), g_strdup("state"));
}
/* leak: g_strsplit vector freed with g_free, not g_strfreev (elements lost) */
__attribute__((noinline)) void handle_glib_split(int i) {
    char **v = g_strsplit("a,b,c", ",", -1);
    if (i < 0) puts(v[0]);
    g_free(v);
}
#endif
int main(int c, char **v) {
    const char *m = c > 1 ? v[1] : "";
    int n = c > 2 ? atoi(v[2]) : 1000;
    static const struct { const char *n; void (*f)(int); } t[] = {
        {"xml_prop", handle_xml_prop}, {"xml_doc", handle_xml_doc}, {"evp", handle_evp}, {"ssl", handle_ssl},
#ifdef HAVE_SQLITE
        {"sq_mprintf", handle_sq_mprintf}, {"sq_stmt", handle_sq_stmt},
#endif
#ifdef HAVE_CURL
        {"curl", handle_curl},
#endif
#ifdef HAVE_GLIB
        {"glib_table", handle_glib_table}, {"glib_split", handle_glib_split},
#endif
    };
    for (size_t k = 0; k < sizeof t / sizeof *t; k++)
        if (!strcmp(t[k].n, m)) {
            for (int i = 0; i < n; i++) t[k].f(i);
            return 0;
        }
    fprintf(stderr, "modes:");
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) fprintf(stderr, " %s", t[k].n);
    fprintf(stderr, "\n");
    return 2;
}
