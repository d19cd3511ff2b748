/* Trap 27, 28: mappings that are cut, moved, grown and mapped over.
 * Kept (pages of 4096): keep_cut 7 of 10 (3 in the middle unmapped), keep_over 6 of 8 (2 replaced by map_over, which holds
 * 2), keep_moved grown from 3 to 12 by mremap (told under either function), keep_shrunk 2 of 9, keep_protected 5 (protection
 * changed, advised away: still mapped), keep_file 4 (a private file mapping counts for what it is: none is asserted), gone: 0.
 * Large mallocs, which libc maps inside, are heap blocks and not mappings: keep_large 1 x 3000000. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include "keep.h"
#define PAGE 4096ul
KEEPER(keep_large)
NOIPA static char *map(size_t pages) {
    char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, pages * PAGE);
    return p;
}
NOIPA static void keep_cut(void) {
    char *p = map(10);
    CHECK(munmap(p + 4 * PAGE, 3 * PAGE) == 0);
    CHECK(p[3 * PAGE] == 1 && p[7 * PAGE] == 1);
}
NOIPA static void map_over(char *at, size_t pages) {
    CHECK(mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    CHECK(at[0] == 0);
    at[0] = 2;
}
NOIPA static char *keep_over(void) { char *volatile p = map(8); return p; }
NOIPA static char *keep_moved(char *p, char *target) {
    CHECK((p = mremap(p, 3 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target)) == target);
    CHECK(p[0] == 1 && p[2 * PAGE] == 1 && p[3 * PAGE] == 0);
    return p;
}
NOIPA static void keep_shrunk(void) {
    char *p = map(9);
    CHECK(mremap(p, 9 * PAGE, 2 * PAGE, 0) == p);
}
NOIPA static void keep_protected(void) {
    char *p = map(5);
    CHECK(mprotect(p + PAGE, 2 * PAGE, PROT_READ) == 0);
    CHECK(madvise(p + 3 * PAGE, PAGE, MADV_DONTNEED) == 0);
}
NOIPA static void gone(void) {
    char *p = map(20);
    CHECK(munmap(p, 10 * PAGE) == 0);
    CHECK(munmap(p, 20 * PAGE) == 0); /* a hole in it is no error */
    p = map(6);
    char *q = mremap(p, 6 * PAGE, 600 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q[5 * PAGE] == 1);
    CHECK(munmap(q, 600 * PAGE) == 0);
    /* One call takes away several mappings and parts of two more. */
    p = map(30);
    for (int i = 0; i < 30; i += 3) map_over(p + i * PAGE, 2);
    CHECK(munmap(p, 30 * PAGE) == 0);
}
NOIPA static void dont_unmap(void) {
#ifdef MREMAP_DONTUNMAP
    char *p = map(4);
    char *q = mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    if (q == MAP_FAILED) return; /* before Linux 5.7 */
    CHECK(p[0] == 0 && q[0] == 1);
    CHECK(munmap(p, 4 * PAGE) == 0 && munmap(q, 4 * PAGE) == 0);
#endif
}
int main(void) {
    keep_cut();
    char *over = keep_over();
    map_over(over + 3 * PAGE, 2);
    char *target = map(12);
    keep_moved(map(3), target);
    keep_shrunk();
    keep_protected();
    for (int i = 0; i < 10; i++) gone(), dont_unmap();
    keep_large(3000000);
    errno = 3;
    void *bad = mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("mmap of nothing: %d, errno %d\n", bad == MAP_FAILED, errno);
    errno = 3;
    int code = munmap((char *)1, 4096);
    printf("munmap of odd: %d, errno %d\n", code, errno);
    errno = 3;
    bad = mremap((void *)(16 * PAGE), PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    printf("mremap of nothing: %d, errno %d\n", bad == MAP_FAILED, errno);
    errno = 3;
    free(malloc(2 << 20));
    printf("errno %d\n", errno);
    void *top = sbrk(0);
    CHECK(sbrk(1 << 20) != (void *)-1 && sbrk(-(1 << 20)) != (void *)-1 && sbrk(0) <= (void *)((char *)top + (1 << 20)));
    puts("ok");
    return 0;
}
