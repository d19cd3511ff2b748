/* Memory that threads took and gave back, in arenas of their own.
 *
 * build: -pthread
 * usage: memory_threads ends|middles|pinned [trim]
 * Twelve threads fill 4 MB each, and stay. Then they free: `ends` all of it; `middles` all but the last block; `pinned` all but one
 * block in each page. A large block that was freed before has raised the threshold from which glibc gives back an arena's end by
 * itself. Prints how many KiB are `resident`, and with `trim` by how many bytes malloc_trim lowers that: `trimmed`.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 12, BLOCKS = 2000, BYTES = 2000, LARGE = 24 << 20 };

static const char *how;
static pthread_barrier_t filled, freed;
static void *volatile kept[THREADS * BLOCKS];
static _Atomic int many;

__attribute__((noinline)) static void *fill(size_t bytes) { return memset(malloc(bytes), 1, bytes); }
__attribute__((noinline)) static void *pin(void) { return memset(malloc(16), 1, 16); }

static void *use_arena(void *unused)
{
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = fill(BYTES);
        if (!strcmp(how, "pinned") || (!strcmp(how, "middles") && i == BLOCKS - 1))
            kept[many++] = pin();
    }
    pthread_barrier_wait(&filled);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    pthread_barrier_wait(&freed);
    pause();
    return unused;
}

static long resident_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    while (fgets(line, sizeof line, rollup) && sscanf(line, "Rss: %ld", &kib) != 1)
        ;
    fclose(rollup);
    return kib;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    how = argv[1];
    free(fill(LARGE));
    pthread_barrier_init(&filled, NULL, THREADS);
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, use_arena, NULL);
    pthread_barrier_wait(&freed);
    long before = resident_kib();
    printf("resident %ld\n", before);
    if (argc > 2) {
        malloc_trim(0);
        printf("trimmed %ld\n", (before - resident_kib()) * 1024);
    }
    fflush(stdout);
    exit(0); /* threads still wait */
}
