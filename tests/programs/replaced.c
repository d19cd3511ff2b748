/* Up to 30,000 blocks of hold_replaced in an array behind 96 MiB of other memory, so that many are freed after a scan has listed them
 * and before it reads the array; each 10 ms 600 are freed and as many made anew, so that addresses are used again all the time. Says "at 1" and goes on until the file "1" is there.
 * build: -O1 */
#include "keep.h"
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#define COUNT 30000
#define BEFORE ((96 << 20) / sizeof(void *))
static void **all;
NOIPA static void *hold_replaced(void) {
    char *block = malloc(120);
    CHECK(block != NULL);
    memset(block, 0x5a, 120);
    return block;
}
int main(void) {
    struct stat found;
    uint32_t state = 1;
    all = mmap(NULL, (BEFORE + COUNT) * sizeof *all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(all != MAP_FAILED);
    for (size_t i = 0; i < BEFORE; i++) all[i] = (void *)1;
    all += BEFORE;
    for (int i = 0; i < COUNT; i++) all[i] = hold_replaced();
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) {
        for (int i = 0; i < 600; i++) {
            state = state * 1664525 + 1013904223;
            void **place = &all[state % COUNT];
            free(*place);
            *place = NULL;
            place = &all[(state >> 8) % COUNT];
            if (*place == NULL) *place = hold_replaced();
        }
        usleep(10000);
    }
    return 0;
}
