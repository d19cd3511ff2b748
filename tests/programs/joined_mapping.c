/* 60 blocks of hold_in_library, to which only data of a library point that the kernel has joined with memory of the allocator above
 * it, as far as it does ("joined" or "apart"), and 60 of lose_plain. Says "at 1" and waits for the file "1".
 * usage: joined_mapping LIBRARY: built from this file with -DLIB.
 * build: -O0 -ldl */
#ifdef LIB
void *lib_data[128 << 10];
#else
#define _GNU_SOURCE
#include "held.h"
#include <dlfcn.h>
#include <sys/mman.h>
MAKER(hold_in_library) MAKER(lose_plain)
static void **held;
static char *large;
NOIPA static void work(void) {
    for (int i = 0; i < COUNT; i++) {
        held[i] = hold_in_library();
        lose_plain();
    }
}
/* From now on the highest gap with room for the library is the one below the large block. */
static void fill_gaps(void) {
    for (int i = 0; i < 1000; i++) {
        char *filler = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(filler != MAP_FAILED);
        if (filler < large) {
            munmap(filler, 1 << 20);
            return;
        }
    }
}
static int are_joined(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    char line[512];
    int joined = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end, at = (unsigned long)held, other = (unsigned long)large;
        CHECK(sscanf(line, "%lx-%lx", &start, &end) == 2);
        joined |= start <= at && at < end && start <= other && other < end;
    }
    fclose(maps);
    return joined;
}
int main(int argc, char **argv) {
    /* What lies above a large block may be read as its own. */
    CHECK(mmap(NULL, (64 << 20) + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    for (int last = 0; last < 2; last++) { /* what a tracker maps when it first sees these calls it maps now */
        CHECK(large = malloc((100 << 20) + 200000));
        large[0] = 1;
        fill_gaps();
    }
    CHECK(argc > 1);
    void *library = dlopen(argv[1], RTLD_NOW);
    CHECK(library != NULL);
    void **data = dlsym(library, "lib_data");
    CHECK(data != NULL);
    held = data + (128 << 10) - 1024;
    work();
    scrub();
    dprintf(1, "%s\nat 1\n", are_joined() ? "joined" : "apart");
    wait_for_step("1");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)held[i] == 0x5a);
    return 0;
}
#endif
