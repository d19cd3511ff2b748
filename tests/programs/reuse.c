/* Trap 40: a freed address is at once another block.
 * Two call sites take turns on what is mostly the same address; the last block of each run of ten stays.
 * Kept: keep_even 100 x 64, keep_odd 100 x 64. */
#include "keep.h"
NOIPA static void *keep_even(void) { void *p = malloc(64); CHECK(p); return p; }
NOIPA static void *keep_odd(void) { void *p = malloc(64); CHECK(p); return p; }
int main(void) {
    for (int i = 0; i < 200; i++)
        for (int k = 0; k < 10; k++) {
            void *first = i % 2 ? keep_odd() : keep_even();
            free(first);
            void *other = i % 2 ? keep_even() : keep_odd();
            free(other);
            if (k == 9) keep_push(i % 2 ? keep_odd() : keep_even());
        }
    puts("ok");
    return 0;
}
