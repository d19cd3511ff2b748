/* A heap of which only some blocks are known, and what the kernel says of each mapping.
 *
 * build: -pthread
 * usage: memory_unknown [STEP]
 * It differs from the others in that the tracker samples, or is switched off: with STEP the program says "at STEP" after its first
 * blocks and waits for that file. Keeps small blocks with holes between them in two arenas, and large ones, some aligned and some
 * freed between others. Before it ends it prints its own /proc/self/smaps.
 */
#define _GNU_SOURCE
#include "keep.h"
#include <pthread.h>
#include <sys/mman.h>

enum { MIB = 1 << 20, SMALL = 40000, LARGE = 60 };

static pthread_barrier_t ready, end;

static void *fill(void *block, size_t bytes)
{
    CHECK(block);
    return memset(block, 1, bytes);
}

NOIPA static char *map_half(void)
{
    char *p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return memset(p, 1, 4 * MIB);
}

/* In the middle of what nobody saw it map it unmaps a part. */
NOIPA static char *map_unseen(void)
{
    char *p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, 3 * MIB);
    CHECK(munmap(p + MIB, MIB) == 0);
    return p;
}

NOIPA static void keep_small(void)
{
    void *blocks[SMALL];
    for (int i = 0; i < SMALL; i++)
        blocks[i] = fill(malloc(600), 600);
    for (int i = 0; i < SMALL; i += 2)
        free(blocks[i]);
}

NOIPA static void keep_large(void)
{
    void *blocks[LARGE];
    for (int i = 0; i < LARGE; i++) {
        size_t bytes = 140000 + 5000 * (i % 30);
        size_t align = i % 3 ? 16 : i % 2 ? 4096 : 1 << 16;
        blocks[i] = fill(align == 16 ? malloc(bytes) : aligned_alloc(align, bytes / align * align), bytes / align * align);
    }
    for (int i = 0; i < LARGE; i += 7)
        free(blocks[i]);
}

static void *other_arena(void *unused)
{
    keep_small();
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&end);
    return unused;
}

static void print_smaps(void)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    static char line[4096], in[1 << 12];
    CHECK(smaps && setvbuf(smaps, in, _IOFBF, sizeof in) == 0);
    while (fgets(line, sizeof line, smaps))
        fputs(line, stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static char out[1 << 16];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    pthread_barrier_init(&ready, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    for (int i = 0; i < 2000; i++)
        fill(malloc(600), 600);
    void *first = fill(malloc(300000), 300000);
    char *mapped = map_half();
    if (argc > 1) {
        dprintf(1, "at %s\n", argv[1]);
        wait_for_step(argv[1]);
        __asm__ volatile("" : : "r"(map_unseen()) : "memory");
    }
    keep_small();
    keep_large();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_arena, NULL) == 0);
    pthread_barrier_wait(&ready);
    print_smaps();
    __asm__ volatile("" : : "r"(first), "r"(mapped) : "memory");
    return 0; /* the thread still waits */
}
