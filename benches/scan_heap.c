/* A heap to scan: millions of blocks of 100 bytes in 1,000 lists that lead through them in random order, every hundredth block
 * lost. A thread writes to one block after the other without a pause and notes in the file "gap" the longest time between two
 * writes, in nanoseconds, and the longest of which the time is taken off that it waited for a processor (/proc/.../schedstat, read
 * at least every millisecond, which is no gap of its own); whoever reads the two words sets them to 0.
 * usage: scan_heap MILLIONS; says "ready". For each line that it reads it makes a bare clone of itself, whose child ends at
 * once, and says how many nanoseconds the call took. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

/* How long this thread has waited for a processor while it could run. */
static uint64_t waited(int schedstat) {
    char text[96] = "";
    if (pread(schedstat, text, sizeof text - 1, 0) <= 0) return 0;
    char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) : 0;
}

static void *writer(void *gaps) {
    volatile uint64_t *longest = gaps;
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY);
    uint64_t before = now(), asked = before, waits = waited(schedstat);
    for (uint64_t turn = 0;; turn++) {
        void **list = lists[turn % 1000];
        if (list && list[0]) ((volatile char *)list[0])[50] = turn;
        uint64_t here = now(), gap = here - before;
        if (gap > longest[0]) longest[0] = gap;
        if (here - asked > 1000000 || gap > longest[1]) {
            uint64_t sum = waited(schedstat), waiting = sum - waits;
            uint64_t net = gap > waiting ? gap - waiting : 0;
            if (net > longest[1]) longest[1] = net;
            waits = sum, asked = here = now();
        }
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
    if (ftruncate(fd, 16)) return 1;
    void *gap = mmap(0, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pthread_create(&thread, NULL, writer, gap);
    puts("ready");
    fflush(stdout);
    for (int c; (c = getchar()) != EOF;) {
        if (c != '\n') continue;
        uint64_t before = now();
        long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) syscall(SYS_exit_group, 0);
        uint64_t took = now() - before;
        if (child > 0) waitpid(child, NULL, 0);
        printf("%llu\n", (unsigned long long)(child > 0 ? took : 0));
        fflush(stdout);
    }
    pause();
}
