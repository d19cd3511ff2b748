/* Trap 45: more stacks than can be kept, and deeper ones.
 * usage: many_sites NUMBER: a live block of 16 bytes under each of NUMBER different stacks (the binary digits of the number
 * say which of two calls is taken at each level); many_sites deep: keep_deep 10 x 100 below 5000 frames.
 * A table of stacks that is full must not turn into silent nonsense: what folds is counted, and no block is lost. */
#include "keep.h"
NOIPA static void level(int depth, unsigned path) {
    if (depth == 0) {
        void *block = malloc(16);
        CHECK(block);
        keep_push(block);
    } else if (path & 1) {
        level(depth - 1, path >> 1);
        __asm__ volatile("nop");
    } else {
        level(depth - 1, path >> 1);
        __asm__ volatile("nop; nop");
    }
}
NOIPA static void keep_deep(int depth) {
    if (depth) {
        keep_deep(depth - 1);
    } else {
        void *block = malloc(100);
        CHECK(block);
        keep_push(block);
    }
    __asm__ volatile("");
}
int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (!strcmp(argv[1], "deep")) {
        for (int i = 0; i < 10; i++) keep_deep(5000);
    } else {
        unsigned number = (unsigned)atoi(argv[1]);
        for (unsigned i = 0; i < number; i++) level(24, i);
    }
    puts("ok");
    return 0;
}
