/* A heap fragmented in a known way: on every page of it one small block stays, the rest is freed.
 *
 * build:
 * usage: memory_pinned COUNT KEEP [trim]
 * Blocks of 2,000 bytes by `fill` and of 16 bytes by `pin` in turn; then all of `fill` are freed, and of `pin` all but
 * every KEEPth. Prints how many pages the blocks that stay lie on alone; with `trim`, by how many bytes malloc_trim
 * lowers the resident set.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static void *fill(void) { return memset(malloc(2000), 1, 2000); }
__attribute__((noinline)) static void *pin(void) { return memset(malloc(16), 1, 16); }

static long resident_bytes(void)
{
    /* By the page table itself: the kernel's counter is a few pages late. */
    char line[256];
    long kib = 0;
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    while (fgets(line, sizeof line, rollup) && sscanf(line, "Rss: %ld", &kib) != 1)
        ;
    fclose(rollup);
    return kib * 1024;
}

int main(int argc, char **argv)
{
    int count = atoi(argv[1]), keep = atoi(argv[2]);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    void **fills = malloc(count * sizeof *fills), **pins = malloc(count * sizeof *pins);
    for (int i = 0; i < count; i++) {
        fills[i] = fill();
        pins[i] = pin();
    }
    for (int i = 0; i < count; i++)
        free(fills[i]);
    uintptr_t last = 0;
    long pages = 0;
    for (int i = 0; i < count; i++) {
        if (i % keep != 0) {
            free(pins[i]);
            continue;
        }
        uintptr_t page = (uintptr_t)pins[i] / 4096;
        pages += page != last;
        last = page;
    }
    printf("pinned %ld\n", pages);
    fflush(stdout);
    if (argc > 3) {
        long before = resident_bytes();
        malloc_trim(0);
        printf("trimmed %ld\n", before - resident_bytes());
    }
    return 0;
}
