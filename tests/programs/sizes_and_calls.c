// Blocks of known sizes, by each function of malloc's family; some are freed before anything else
// is allocated or freed. The counts in the test are those of this file.
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *volatile sink;

static void *keep(void *p) { sink = p; return p; }

// 1,000 temporary blocks of 24 bytes.
__attribute__((noinline)) static void churn(void) {
    for (int i = 0; i < 1000; i++) free(keep(malloc(24)));
}

// 300 blocks of 100 bytes and 300 of 200, none of them temporary.
__attribute__((noinline)) static void cross(void) {
    for (int i = 0; i < 300; i++) {
        void *a = keep(malloc(100));
        void *b = keep(malloc(200));
        free(a);
        free(b);
    }
}

// One block each of 8, 16, ..., 1 MiB: 18 of them, each gone by the next call, and so temporary.
__attribute__((noinline)) static void grow(void) {
    char *p = 0;
    for (size_t size = 8; size <= 1 << 20; size *= 2) p = keep(realloc(p, size));
    free(p);
}

__attribute__((noinline)) static void by_calloc(void) { keep(calloc(7, 9)); }
__attribute__((noinline)) static void by_reallocarray(void) { keep(reallocarray(0, 7, 10)); }
__attribute__((noinline)) static void by_aligned_alloc(void) { keep(aligned_alloc(64, 128)); }
__attribute__((noinline)) static void by_memalign(void) { keep(memalign(64, 129)); }
__attribute__((noinline)) static void by_posix_memalign(void) {
    void *p;
    if (posix_memalign(&p, 64, 513) == 0) keep(p);
}
__attribute__((noinline)) static void by_valloc(void) { keep(valloc(5000)); }
__attribute__((noinline)) static void by_pvalloc(void) { keep(pvalloc(4096)); }
__attribute__((noinline)) static void by_strdup(void) { keep(strdup("a string of 27 characters.")); }
__attribute__((noinline)) static void by_mmap(void) {
    keep(mmap(0, 300000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
// Nothing, and more than 128 KiB.
__attribute__((noinline)) static void edges(void) {
    keep(malloc(0));
    keep(malloc(131072));
    keep(malloc(131073));
    keep(malloc(40 << 20));
}

int main(void) {
    churn();
    cross();
    grow();
    by_calloc();
    by_reallocarray();
    by_aligned_alloc();
    by_memalign();
    by_posix_memalign();
    by_valloc();
    by_pvalloc();
    by_strdup();
    by_mmap();
    edges();
    return 0;
}
