/* Nine ways in which a process's memory grows or stays: the argument names one.
 *
 * build: -pthread
 * usage: memory_diagnosis lost|list|cache|arenas|pinned|stacks|mmap|files|healthy
 * Each goes on for about three seconds. What must be said of each stands in scenarios/memory.rs.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, STEPS = 300, STEP_US = 10000 };

struct node { struct node *next; char data[20000]; };
static struct node *list;
static void *cache[2000], *kept[40000];

__attribute__((noinline)) static void lose(void)
{
    char *p = malloc(20000);
    memset(p, 1, 20000);
    __asm__ volatile("" : : "r"(p) : "memory");
}

__attribute__((noinline)) static void grow_list(void)
{
    struct node *node = malloc(sizeof *node);
    memset(node, 1, sizeof *node);
    node->next = list;
    list = node;
}

__attribute__((noinline)) static void *make_entry(void) { return memset(malloc(10000), 1, 10000); }
__attribute__((noinline)) static void *fill(void) { return memset(malloc(2000), 1, 2000); }
__attribute__((noinline)) static void *pin(void) { return memset(malloc(16), 1, 16); }

static pthread_barrier_t filled;

static void *use_arena(void *unused)
{
    enum { COUNT = 2000 };
    void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = memset(malloc(2000), 1, 2000);
    for (int i = 0; i < COUNT - 1; i++)
        free(blocks[i]);
    pthread_barrier_wait(&filled);
    pause();
    return unused;
}

static void *use_stack(void *unused)
{
    char deep[200000];
    memset(deep, 1, sizeof deep);
    __asm__ volatile("" : : "r"(deep) : "memory");
    pause();
    return unused;
}

__attribute__((noinline)) static void map_more(int fd, int step)
{
    int size = 64 << 10;
    char *p = fd < 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, (off_t)step * size);
    for (int i = 0; i < size; i += 4096)
        if (fd < 0)
            p[i] = 1;
        else
            *(volatile char *)(p + i);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int fd = -1;
    pthread_t thread;
    if (!strcmp(what, "arenas")) {
        enum { THREADS = 12 };
        pthread_barrier_init(&filled, NULL, THREADS + 1);
        for (int i = 0; i < THREADS; i++)
            pthread_create(&thread, NULL, use_arena, NULL);
        pthread_barrier_wait(&filled);
    } else if (!strcmp(what, "pinned")) {
        for (int i = 0; i < 20000; i++) {
            kept[2 * i] = fill();
            kept[2 * i + 1] = pin();
        }
        for (int i = 0; i < 20000; i++)
            free(kept[2 * i]);
    } else if (!strcmp(what, "files")) {
        char page[65536];
        memset(page, 1, sizeof page);
        FILE *file = tmpfile();
        fd = fileno(file);
        for (int i = 0; i < STEPS; i++)
            if (write(fd, page, sizeof page) < 0)
                return 1;
    }
    unsigned seed = 1;
    for (int step = 0; step < STEPS; step++) {
        if (!strcmp(what, "lost"))
            lose();
        else if (!strcmp(what, "list"))
            grow_list();
        else if (!strcmp(what, "stacks") && step % 3 == 0)
            pthread_create(&thread, NULL, use_stack, NULL);
        else if (!strcmp(what, "mmap") || !strcmp(what, "files"))
            map_more(fd, step);
        else if (!strcmp(what, "cache") || !strcmp(what, "healthy")) {
            /* The cache is full after a tenth of the time; what is healthy holds a few entries only. */
            int entries = strcmp(what, "cache") ? 20 : 2000;
            for (int i = 0; i < 100; i++) {
                void **entry = &cache[(seed = seed * 1103515245 + 12345) / 65536 % entries];
                if (!*entry || strcmp(what, "cache")) {
                    free(*entry);
                    *entry = make_entry();
                }
            }
        }
        usleep(STEP_US);
    }
    _Exit(0); /* threads still wait */
}
