/* Trap 1: another interposer behind the hook that finds its own malloc with dlsym at the first call, and asks for a symbol
 * that does not exist first, so that dlsym allocates its error text through the hook. A hook that resolves lazily, or that
 * holds a lock meanwhile, recurses without end.
 * build: -shared -fPIC -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
static void *(*real_malloc)(size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static __thread volatile int resolving __attribute__((tls_model("initial-exec")));
static char pool[65536];
static size_t used;
static int ours(void *p) { return (char *)p >= pool && (char *)p < pool + sizeof pool; }
static void *from_pool(size_t n) {
    size_t at = __atomic_fetch_add(&used, (n + 31) & ~(size_t)15, __ATOMIC_RELAXED);
    if (at + n > sizeof pool) return NULL;
    return pool + at;
}
static void resolve(void) {
    resolving = 1;
    dlsym(RTLD_NEXT, "a_symbol_that_no_library_has");
    dlerror();
    real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    resolving = 0;
}
void *malloc(size_t n) {
    if (resolving) return from_pool(n);
    if (!real_malloc) resolve();
    return real_malloc(n);
}
void *calloc(size_t n, size_t m) {
    void *p = malloc(n * m);
    if (p) memset(p, 0, n * m);
    return p;
}
void *realloc(void *p, size_t n) {
    if (!real_malloc) resolve();
    if (!ours(p)) return real_realloc(p, n);
    void *q = malloc(n);
    size_t room = (size_t)(pool + sizeof pool - (char *)p);
    if (q) memcpy(q, p, n < room ? n : room);
    return q;
}
void free(void *p) {
    if (!p || ours(p)) return;
    if (!real_free) resolve();
    real_free(p);
}
