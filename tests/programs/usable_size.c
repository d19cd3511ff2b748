/* Trap 22: programs write up to malloc_usable_size, and rely on alignment.
 * Headers and footers in the block break both; so does an usable size that comes from another allocator than the block.
 * Kept: keep_filled 20 x 101. */
#include <malloc.h>
#include <stdint.h>
#include "keep.h"
static unsigned char *filled[20];
NOIPA static void keep_filled(int i) {
    CHECK(filled[i] = malloc(101));
    memset(filled[i], i, malloc_usable_size(filled[i]));
}
int main(void) {
    for (int i = 0; i < 20; i++) keep_filled(i);
    for (size_t n = 0; n < 70000; n = n * 5 / 4 + 1) {
        unsigned char *p = malloc(n), *q = calloc(1, n);
        CHECK(p && q && (uintptr_t)p % 16 == 0 && (uintptr_t)q % 16 == 0);
        size_t p_room = malloc_usable_size(p), q_room = malloc_usable_size(q);
        CHECK(p_room >= n && q_room >= n);
        memset(p, 0xaa, p_room);
        memset(q, 0xbb, q_room);
        for (size_t i = 0; i < p_room; i++) CHECK(p[i] == 0xaa);
        CHECK(p = realloc(p, n + 1));
        CHECK((uintptr_t)p % 16 == 0);
        memset(p, 0xcc, malloc_usable_size(p));
        free(q);
        free(p);
    }
    CHECK(malloc_usable_size(NULL) == 0);
    for (int i = 0; i < 20; i++)
        for (size_t k = 0; k < malloc_usable_size(filled[i]); k++) CHECK(filled[i][k] == i);
    puts("ok");
    return 0;
}
