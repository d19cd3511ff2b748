/* A block that alone leads to 200 others is in no table while realloc is at it (failing_realloc.c), which fails once the file "1"
 * is there. Held: hold_by_it 200 blocks. Ends when there is the file "2". */
#include "keep.h"
#define COUNT 200
static void **volatile holder;
NOIPA static void hold_by_it(void **in) {
    for (int i = 0; i < COUNT; i++) {
        CHECK(in[i] = malloc(300));
        memset(in[i], 0x5a, 300);
    }
}
NOIPA static void wipe_stack(void) {
    volatile char room[8192];
    for (size_t i = 0; i < sizeof room; i++) room[i] = 0;
}
int main(void) {
    holder = malloc(COUNT * sizeof *holder);
    CHECK(holder);
    hold_by_it(holder);
    wipe_stack();
    CHECK(realloc(holder, 12345678) == NULL);
    dprintf(1, "at 2\n");
    wait_for_step("2");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)holder[i] == 0x5a);
    return 0;
}
