/* Every part of resident memory in a known amount, and what the kernel says of each mapping.
 *
 * build: -pthread
 * usage: memory_parts [ARENAS]
 * It differs from the others in that the amounts are the point: none of it is a leak. Before it ends it prints its own
 * /proc/self/smaps. With ARENAS, two threads allocate and free in arenas of their own.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIB = 1 << 20, SMALL = 100000, PAIRS = 20000, THREADS = 4 };

static pthread_barrier_t ready, end;
static void *kept[SMALL];
static void *pairs[2 * PAIRS];

/* 200 bytes each: with header and rounding 208. */
__attribute__((noinline)) static void keep_small(void)
{
    for (int i = 0; i < SMALL; i++)
        kept[i] = memset(malloc(200), 1, 200);
}

/* Every second of 40,000 neighbours of 1,000 bytes is freed: 20,000 holes of 1,008. */
__attribute__((noinline)) static void *make_pair(int i) { return memset(malloc(1000), i, 1000); }

__attribute__((noinline)) static void *keep_untouched(void) { return malloc(64 * MIB); }

__attribute__((noinline)) static void *keep_large(void) { return memset(malloc(10 * MIB), 1, 10 * MIB); }

__attribute__((noinline)) static char *map_half_touched(void)
{
    char *p = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p + 3 * MIB, 1, 8 * MIB);
    return p;
}

static void *with_stack(void *unused)
{
    char deep[2 * MIB];
    memset(deep, 1, sizeof deep);
    __asm__ volatile("" : : "r"(deep) : "memory");
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&end);
    return unused;
}

static void *with_arena(void *unused)
{
    void **blocks = malloc(20000 * sizeof *blocks);
    for (int i = 0; i < 20000; i++)
        blocks[i] = memset(malloc(500), 1, 500);
    for (int i = 0; i < 19999; i++)
        free(blocks[i]);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&end);
    return unused;
}

static void print_smaps(void)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    static char line[4096];
    while (fgets(line, sizeof line, smaps))
        fputs(line, stdout);
    fclose(smaps);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int arenas = argc > 1 ? atoi(argv[1]) : 0;
    static char out[1 << 16];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    pthread_barrier_init(&ready, NULL, THREADS + arenas + 1);
    pthread_barrier_init(&end, NULL, THREADS + arenas + 1);
    keep_small();
    for (int i = 0; i < 2 * PAIRS; i++)
        pairs[i] = make_pair(i);
    for (int i = 0; i < 2 * PAIRS; i += 2)
        free(pairs[i]);
    void *untouched = keep_untouched(), *large = keep_large();
    char *mapped = map_half_touched();
    char *shared = mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared, 1, 6 * MIB);
    FILE *file = tmpfile();
    ftruncate(fileno(file), 5 * MIB);
    char *view = mmap(NULL, 5 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    memset(view, 1, 5 * MIB);
    pthread_t thread;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, with_stack, NULL);
    for (int i = 0; i < arenas; i++)
        pthread_create(&thread, NULL, with_arena, NULL);
    pthread_barrier_wait(&ready);
    print_smaps();
    __asm__ volatile("" : : "r"(untouched), "r"(large), "r"(mapped) : "memory");
    return 0; /* the threads still wait */
}
