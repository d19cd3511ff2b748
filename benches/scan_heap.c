/* A heap to scan: millions of blocks of 100 bytes in 1,000 lists that lead through them in random order, every hundredth block
 * lost. A thread writes to one block after the other without a pause and notes the longest time between two writes, in
 * nanoseconds, in the first eight bytes of the file "gap"; whoever reads it sets it to 0.
 * usage: scan_heap MILLIONS; says "ready". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static char **blocks;
static long count;
static uint64_t state = 88172645463325252ull;
static void *lists[1000];

static uint64_t next(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void *writer(void *gap) {
    volatile uint64_t *longest = gap;
    uint64_t before = now();
    for (uint64_t turn = 0;; turn++) {
        void **list = lists[turn % 1000];
        if (list && list[0]) ((volatile char *)list[0])[50] = turn;
        uint64_t here = now();
        if (here - before > *longest) *longest = here - before;
        before = here;
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread;
    (void)argc;
    count = (long)(atof(argv[1]) * 1e6);
    blocks = mmap(0, count * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < count; i++) blocks[i] = memset(malloc(100), 0x5a, 100);
    for (long i = count - 1; i > 0; i--) {
        long other = next() % (i + 1);
        char *swapped = blocks[i];
        blocks[i] = blocks[other], blocks[other] = swapped;
    }
    for (long i = 0; i < count; i++)
        if (i % 100 != 99) {
            memcpy(blocks[i], &lists[i % 1000], 8);
            lists[i % 1000] = blocks[i];
        }
    munmap(blocks, count * sizeof *blocks);
    int fd = open("gap", O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (ftruncate(fd, 8)) return 1;
    void *gap = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pthread_create(&thread, NULL, writer, gap);
    puts("ready");
    fflush(stdout);
    pause();
}
