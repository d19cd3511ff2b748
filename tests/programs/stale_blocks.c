/* 60 blocks of hold_in_mapping, to which a mapping points, and 60 of lose_plain, and 400,000 others, so that a scan takes a while to list them. After
 * the file "1" is there large blocks side by side are freed, memory that the library does not hear of is mapped where they were, and what pointed
 * to the blocks moves there. Says "at 1" before and "at 2" after, and ends when there is the file "2".
 * build: -O0 */
#define _GNU_SOURCE
#include "held.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#define LARGE 300000ul
#define CHUNK 303104ul /* with its header, in whole pages */
MAKER(hold_in_mapping) MAKER(lose_plain)
static void **holder;
static char *large[COUNT];
NOIPA static void work(void) {
    void *others = NULL;
    for (int i = 0; i < 400000; i++) {
        void **other = malloc(24);
        CHECK(other != NULL);
        *other = others;
        others = other;
    }
    kept_head = others;
    for (int i = 0; i < COUNT; i++) CHECK(large[i] = malloc(LARGE));
    for (int i = 0; i < COUNT; i++) {
        holder[i] = hold_in_mapping();
        lose_plain();
    }
}
int main(void) {
    CHECK(mallopt(M_MMAP_THRESHOLD, 128 << 10) == 1);
    holder = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(holder != MAP_FAILED);
    work();
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    int first = 0, count = 0; /* the most that lie side by side, each below the one before */
    for (int from = 0, to = 1; from < COUNT; from = to++) {
        while (to < COUNT && large[to] == large[to - 1] - CHUNK) to++;
        if (to - from > count) count = to - from, first = from;
    }
    CHECK(count >= 5);
    char *low = large[first + count - 1] - 16;
    for (int i = first; i < first + count; i++) free(large[i]);
    long got = syscall(SYS_mmap, low, count * CHUNK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
    CHECK(got == (long)low);
    void **there = (void **)(low + LARGE + 112);
    memcpy(there, holder, COUNT * sizeof *there);
    memset(holder, 0, COUNT * sizeof *holder);
    scrub();
    dprintf(1, "at 2\n");
    wait_for_step("2");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)there[i] == 0x5a);
    return 0;
}
