/* Every way in which live memory can move, one at a time.
 *
 * build:  cc -g -O1 -o patterns patterns.c
 * run:    leaktrack run -- ./patterns PATTERN [TICKS [TICK_MS [SCALE]]]        (400, 10, 1)
 *
 * Ticks go by the clock: one that comes late, on a busy machine, is made up for at once, so that what is
 * live at any time is as the pattern says. With a SCALE there are so many times more blocks, for sampling
 * to see.
 *
 * At each tick a buffer of 1 to 32 KiB comes and goes, as in a server that works. What leaktrack must
 * report of the other site:
 *   linear         keep_request     growing, linear: 4 KiB in one block at each tick
 *   accelerating   keep_request     growing, accelerating: blocks of 64 bytes, at tick t so many as t
 *   staircase      run_batch        growing, staircase: 64 blocks of 1 KiB at every 40th tick
 *   doubling       append           growing, staircase, told as a container: one array, doubled when full
 *   periodic       run_task         healthy, periodic: 64 KiB for half of every 40 ticks
 *   residue        run_task         growing, periodic: the same, but a quarter of it stays each time
 *   spike          load_object      healthy, spike: 4 MiB once, for a twentieth of the time
 *   plateau        fill_cache       retained, plateau: 4 KiB at each tick for a third of the time
 *   flat           hold             retained, flat: 1 MiB in 16 blocks from the start
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct kept {
    struct kept *next;
    char data[];
};

static struct kept *kept;
static int scale = 1;
static unsigned seed = 12345;

static unsigned draw(void)
{
    return seed = seed * 1664525u + 1013904223u;
}

static struct kept *link_block(struct kept *block)
{
    block->next = kept;
    return kept = block;
}

__attribute__((noinline)) static void keep_request(size_t bytes)
{
    link_block(malloc(bytes));
}

__attribute__((noinline)) static void run_batch(void)
{
    for (int i = 0; i < 64 * scale; i++)
        link_block(malloc(1024));
}

__attribute__((noinline)) static void append(void)
{
    static long *array;
    static size_t used, room;
    for (int i = 0; i < scale; i++) {
        if (used == room) {
            room = room ? 2 * room : 16;
            array = realloc(array, room * sizeof *array);
        }
        array[used++] = (long)draw();
    }
}

__attribute__((noinline)) static void fill_cache(void)
{
    link_block(malloc(4096));
}

__attribute__((noinline)) static void hold(void)
{
    for (int i = 0; i < 16 * scale; i++)
        link_block(malloc(65536));
}

/* The task holds 64 blocks while it runs; `residue` of them it hands on to a list that nobody trims. */
__attribute__((noinline)) static void run_task(int tick, int residue)
{
    static void **work;
    if (tick % 40 == 0) {
        work = malloc(64 * scale * sizeof *work);
        for (int i = 0; i < 64 * scale; i++)
            work[i] = malloc(1024);
    }
    if (tick % 40 == 20) {
        for (int i = 0; i < 64 * scale; i++)
            if (i < residue * scale)
                link_block(work[i]);
            else
                free(work[i]);
        free(work);
    }
}

__attribute__((noinline)) static char *load_object(void)
{
    return malloc(4 << 20);
}

__attribute__((noinline)) static void *serve(void)
{
    return malloc(1024 + draw() % 31744);
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static void tick(const char *pattern, int t, int ticks)
{
    static char *object;
    if (!strcmp(pattern, "linear"))
        for (int i = 0; i < scale; i++)
            keep_request(4096);
    else if (!strcmp(pattern, "accelerating"))
        for (int i = 0; i < t * scale; i++)
            keep_request(64);
    else if (!strcmp(pattern, "staircase") && t % 40 == 0)
        run_batch();
    else if (!strcmp(pattern, "doubling"))
        append();
    else if (!strcmp(pattern, "periodic"))
        run_task(t, 0);
    else if (!strcmp(pattern, "residue"))
        run_task(t, 16);
    else if (!strcmp(pattern, "plateau") && t < ticks / 3)
        for (int i = 0; i < scale; i++)
            fill_cache();
    else if (!strcmp(pattern, "spike") && t == ticks / 2)
        object = load_object();
    else if (!strcmp(pattern, "spike") && t == ticks / 2 + ticks / 20)
        free(object);
}

int main(int argc, char **argv)
{
    const char *pattern = argc > 1 ? argv[1] : "linear";
    int ticks = argc > 2 ? atoi(argv[2]) : 400;
    int tick_ms = argc > 3 ? atoi(argv[3]) : 10;
    struct timespec pause = {tick_ms / 1000, tick_ms % 1000 * 1000000L};
    void *buffer = NULL;
    long start_ms = now_ms();
    scale = argc > 4 ? atoi(argv[4]) : 1;
    if (!strcmp(pattern, "flat"))
        hold();
    for (int t = 0; t < ticks;) {
        free(buffer);
        buffer = serve();
        for (long due = 1 + (now_ms() - start_ms) / tick_ms; t < due && t < ticks; t++)
            tick(pattern, t, ticks);
        nanosleep(&pause, NULL);
    }
    /* Ends with everything in place, as a server does that is looked at while it runs. */
    quick_exit(kept == NULL && argc > 9);
}
