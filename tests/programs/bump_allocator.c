/* Part of signal_storm.c: an allocator that may be interrupted, re-entered and left by longjmp at any instruction. Memory
 * is never used again; sizes are kept in front of the blocks.
 * build: -shared -fPIC */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#define ROOM ((size_t)4 << 30)
static char *base;
static size_t used;
__attribute__((constructor)) static void start(void) {
    if (!base) base = mmap(0, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}
void *malloc(size_t n) {
    if (!base) start();
    size_t need = (n + 31) & ~(size_t)15;
    if (n > ROOM) return 0;
    size_t at = __atomic_fetch_add(&used, need, __ATOMIC_RELAXED);
    if (at + need > ROOM) return 0;
    *(size_t *)(base + at) = n;
    return base + at + 16;
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) {
    void *q = malloc(n);
    if (p && q) {
        size_t old = ((size_t *)p)[-2];
        memcpy(q, p, old < n ? old : n);
    }
    return q;
}
size_t malloc_usable_size(void *p) { return p ? ((size_t *)p)[-2] : 0; }
