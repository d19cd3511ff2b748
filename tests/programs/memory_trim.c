/* What threads keep for themselves of what they freed: malloc_trim does not return the pages that it lies on.
 *
 * build: -pthread
 * usage: memory_trim THREADS FILE
 * Each thread makes 20,000 entries, each a node, a key and a value of many sizes, frees all but every fiftieth in a scattered order,
 * and stays. Then prints `ready`, waits until FILE exists, and prints by how many bytes malloc_trim lowers what is resident: `trimmed`.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES = 20000, KEPT = 50, STEP = 7919 /* a prime */ };

struct entry {
    char *key, *value;
    long words[4];
};

static pthread_barrier_t freed;
static struct entry **all;

static char *text(unsigned *seed, unsigned least, unsigned most)
{
    *seed = *seed * 1103515245 + 12345;
    size_t bytes = least + (*seed >> 16) % (most - least);
    return memset(malloc(bytes), 'x', bytes);
}

static void use(struct entry **entries, unsigned seed)
{
    for (int i = 0; i < ENTRIES; i++) {
        entries[i] = malloc(sizeof *entries[i]);
        entries[i]->key = text(&seed, 20, 60);
        entries[i]->value = text(&seed, 10, 500);
    }
    for (int turn = 0; turn < ENTRIES; turn++) {
        int i = (int)((long)turn * STEP % ENTRIES);
        if (i % KEPT == 0)
            continue;
        free(entries[i]->key);
        free(entries[i]->value);
        free(entries[i]);
        entries[i] = NULL;
    }
}

static void *thread(void *entries)
{
    use(entries, (unsigned)((struct entry **)entries - all) + 1);
    pthread_barrier_wait(&freed);
    pause();
    return entries;
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

int main(int unused, char **argv)
{
    (void)unused;
    int threads = atoi(argv[1]);
    pthread_t id;
    all = calloc((size_t)threads * ENTRIES, sizeof *all);
    pthread_barrier_init(&freed, NULL, (unsigned)threads);
    for (int i = 1; i < threads; i++)
        pthread_create(&id, NULL, thread, all + (size_t)i * ENTRIES);
    use(all, 1);
    pthread_barrier_wait(&freed);
    puts("ready");
    fflush(stdout);
    while (access(argv[2], F_OK))
        usleep(10000);
    long before = resident_kib();
    malloc_trim(0);
    printf("trimmed %ld\n", (before - resident_kib()) * 1024);
    fflush(stdout);
    exit(0); /* threads still wait */
}
