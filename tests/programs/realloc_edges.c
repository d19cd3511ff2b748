/* Trap 19, 20, 21, 29: what realloc, calloc and malloc give at the edges, errno included, must stay as it was.
 * realloc(p, 0) frees and gives NULL; a realloc that fails leaves the block; calloc and reallocarray refuse overflow;
 * malloc(0) gives a block of no bytes; sizes past PTRDIFF_MAX fail. Success leaves errno alone, and so does free.
 * Kept: keep_failed 1 x 111 (its realloc failed), keep_zero 3 x 0, keep_moved 1 x 90000.
 * build: -Wno-use-after-free */
#include <stdint.h>
#include "keep.h"
static void *kept[8];
static int failed, failed_errno;
static volatile size_t zero = 0, huge = (size_t)PTRDIFF_MAX + 1, half = SIZE_MAX / 2;
NOIPA static void keep_failed(void) {
    void *block = malloc(111);
    CHECK(block);
    memset(block, 9, 111);
    errno = 7;
    void *moved = realloc(block, huge);
    failed = moved == NULL, failed_errno = errno;
    CHECK(((char *)block)[110] == 9);
    kept[0] = block;
}
NOIPA static void keep_zero(void) {
    for (int i = 0; i < 3; i++) CHECK(kept[1 + i] = malloc(zero));
    CHECK(kept[1] != kept[2] && kept[2] != kept[3]);
}
NOIPA static void keep_moved(void) {
    char *block = malloc(10);
    CHECK(block);
    memset(block, 4, 10);
    for (size_t n = 20; n <= 90000; n += 899) CHECK(block = realloc(block, n));
    CHECK(block = realloc(block, 90000));
    CHECK(block[9] == 4);
    kept[4] = block;
}
int main(void) {
    keep_failed();
    printf("realloc to too much: %d, errno %d\n", !failed, failed_errno);
    keep_zero();
    keep_moved();
    errno = 8;
    void *gone = realloc(malloc(50), zero);
    printf("realloc to nothing: %d, errno %d\n", gone != NULL, errno);
    free(gone);
    errno = 9;
    void *fresh = realloc(NULL, 33);
    printf("realloc of nothing: %d, errno %d\n", fresh != NULL, errno);
    free(fresh);
    fresh = realloc(NULL, zero);
    printf("realloc of nothing to nothing: %d\n", fresh != NULL);
    free(fresh);
    errno = 10;
    fresh = malloc(huge);
    printf("malloc of too much: %d, errno %d\n", fresh != NULL, errno);
    errno = 11;
    fresh = calloc(half, 3);
    printf("calloc overflow: %d, errno %d\n", fresh != NULL, errno);
    errno = 12;
    fresh = reallocarray(NULL, half, 3);
    printf("reallocarray overflow: %d, errno %d\n", fresh != NULL, errno);
    fresh = reallocarray(NULL, 10, 12);
    CHECK(fresh && (fresh = reallocarray(fresh, 100, 12)));
    free(fresh);
    fresh = calloc(zero, 12);
    printf("calloc of nothing: %d\n", fresh != NULL);
    free(fresh);
    char *zeroed = calloc(1000, 3);
    CHECK(zeroed);
    for (int i = 0; i < 3000; i++) CHECK(zeroed[i] == 0);
    errno = 13;
    free(zeroed);
    free(NULL);
    printf("free: errno %d\n", errno);
    fresh = malloc(64 << 20);
    CHECK(fresh);
    errno = 14;
    free(fresh); /* munmap inside */
    printf("free of a mapping: errno %d\n", errno);
    return 0;
}
