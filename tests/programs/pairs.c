/* COUNT pairs of malloc and free of 64 bytes, eight calls below main. */
#include <stdlib.h>

__attribute__((noinline)) static long pairs(long count, int depth)
{
    if (depth > 0) {
        long done = pairs(count, depth - 1);
        __asm__ volatile("" : "+r"(done) : : "memory");
        return done;
    }
    for (long i = 0; i < count; i++) {
        void *p = malloc(64);
        __asm__ volatile("" : "+r"(p) : : "memory");
        free(p);
    }
    return count;
}

int main(int argc, char **argv)
{
    return argc < 2 || pairs(atol(argv[1]), 8) < 0;
}
