/* Trap 23, 24: the aligned family, and its errors.
 * Kept: keep_aligned 5 blocks, 1000 + 2000 + 3008 + 100 + 4096 bytes (memalign, posix_memalign, aligned_alloc, valloc,
 * pvalloc: what was asked for; valgrind counts the rounded 4096 of pvalloc). */
#include <malloc.h>
#include <stdint.h>
#include "keep.h"
static void *kept[5];
static volatile size_t huge = (size_t)PTRDIFF_MAX, odd = 24, page = 4096;
NOIPA static void keep_aligned(void) {
    CHECK(kept[0] = memalign(64, 1000));
    CHECK(posix_memalign(&kept[1], 256, 2000) == 0);
    CHECK(kept[2] = aligned_alloc(32, 3008));
    CHECK(kept[3] = valloc(100));
    CHECK(kept[4] = pvalloc(page));
    const size_t alignment[] = {64, 256, 32, 4096, 4096};
    for (int i = 0; i < 5; i++) CHECK((uintptr_t)kept[i] % alignment[i] == 0);
}
int main(void) {
    keep_aligned();
    for (size_t align = 8; align <= 1 << 20; align *= 2) {
        void *p = NULL;
        CHECK(posix_memalign(&p, align, 3 * align + 1) == 0 && (uintptr_t)p % align == 0);
        memset(p, 1, 3 * align + 1);
        CHECK(malloc_usable_size(p) >= 3 * align + 1);
        CHECK(p = realloc(p, 7 * align));
        free(p);
        CHECK(p = memalign(align, align));
        free(p);
    }
    void *untouched = (void *)&page;
    errno = 5;
    int code = posix_memalign(&untouched, odd, 10);
    printf("odd alignment: %d, errno %d, untouched %d\n", code, errno, untouched == &page);
    code = posix_memalign(&untouched, 64, huge);
    printf("too much: %d, errno %d, untouched %d\n", code, errno, untouched == &page);
    errno = 6;
    void *p = aligned_alloc(4096, huge);
    printf("too much: %d, errno %d\n", p != NULL, errno);
    errno = 6;
    p = memalign(odd, 100); /* glibc rounds up */
    printf("memalign of odd: %d, errno %d\n", p != NULL, errno);
    free(p);
    errno = 6;
    p = valloc(huge);
    printf("valloc of too much: %d, errno %d\n", p != NULL, errno);
    p = pvalloc(huge);
    printf("pvalloc of too much: %d, errno %d\n", p != NULL, errno);
    return 0;
}
