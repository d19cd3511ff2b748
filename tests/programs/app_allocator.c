/* 60 blocks of hold_in_library, to which only data of the library point that also defines malloc, and 60 of lose_plain.
 * usage: app_allocator, behind a library that is built from this file with -DLIB. Says "at 1" and waits for the file "1".
 * build: -O0 -ldl */
#ifdef LIB
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#define ROOM ((size_t)64 << 20)
void *lib_data[512];
static char *base;
static size_t used;
void *malloc(size_t n) {
    if (!base) base = mmap(0, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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
#else
#define _GNU_SOURCE
#include "held.h"
#include <dlfcn.h>
MAKER(hold_in_library) MAKER(lose_plain)
static void **held;
NOIPA static void work(void) {
    for (int i = 0; i < COUNT; i++) {
        held[i] = hold_in_library();
        lose_plain();
    }
}
int main(void) {
    CHECK(held = dlsym(RTLD_DEFAULT, "lib_data"));
    work();
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)held[i] == 0x5a);
    return 0;
}
#endif
