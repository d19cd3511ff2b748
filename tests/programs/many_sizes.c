/* A program whose numbers move all the time, for recordings that must grow.
 * usage: many_sizes BLOCKS STACKS SECONDS: keeps BLOCKS blocks of 24 bytes under STACKS different stacks, and allocates and
 * frees under all of them until SECONDS have passed. Kept: all BLOCKS, plus stdout's buffer. */
#include <time.h>
#include "keep.h"
NOIPA static void *level(int depth, unsigned path) {
    void *result;
    if (depth == 0) {
        result = malloc(24);
        CHECK(result);
    } else if (path & 1) {
        result = level(depth - 1, path >> 1);
        __asm__ volatile("nop");
    } else {
        result = level(depth - 1, path >> 1);
        __asm__ volatile("nop; nop");
    }
    return result;
}
int main(int argc, char **argv) {
    CHECK(argc == 4);
    unsigned blocks = (unsigned)atoi(argv[1]), stacks = (unsigned)atoi(argv[2]);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned i = 0; i < blocks; i++) keep_push(level(12, i % stacks));
    do {
        for (unsigned i = 0; i < stacks; i++) free(level(12, i));
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < atoi(argv[3]));
    puts("ok");
    return 0;
}
