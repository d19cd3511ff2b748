/* Trap 24: C23's free_sized and free_aligned_sized, cfree, malloc_trim and mallinfo2.
 * The program looks the new functions up at run time. If an old libc lacks them, they must not appear through the hook
 * in a way that does not work: what they free is free.
 * Kept: keep_main 2 x 10; in_sized: nothing.
 * build: -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
NOIPA static void *in_sized(size_t n) { void *p = malloc(n); CHECK(p); return p; }
int main(void) {
    void (*sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*aligned)(void *, size_t, size_t) = (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    void (*old)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
    for (int i = 0; i < 20; i++) {
        void *p = in_sized(100 + i), *q = in_sized(50), *r = aligned_alloc(64, 128);
        sized ? sized(p, 100 + i) : free(p);
        old ? old(q) : free(q);
        aligned ? aligned(r, 64, 128) : free(r);
    }
    if (sized) sized(NULL, 0);
    churn();
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    malloc_trim(0);
    CHECK(mallinfo2().uordblks > 0);
    keep_main(10);
    keep_main(10);
    puts("ok");
    return 0;
}
