/* A program that goes on when it is told to, so that a test knows what it did between two requests.
 * Says "at N" and waits for the file N in its folder; before step 1 it keeps 10 blocks of 1000 bytes in keep_early, before
 * step 2 it keeps 20 of 500 in keep_middle and frees 4 early ones, before step 3 it keeps 5 of 2000 in keep_late, frees 3
 * early ones and 7 middle ones. */
#include "keep.h"
#include <sys/stat.h>
#define BLOCKS(name, count, bytes)             \
    static void *name##_blocks[count];         \
    NOIPA void name(void) {                    \
        for (int i = 0; i < count; i++) CHECK(name##_blocks[i] = malloc(bytes)); \
    }
BLOCKS(keep_early, 10, 1000)
BLOCKS(keep_middle, 20, 500)
BLOCKS(keep_late, 5, 2000)
NOIPA static void churn(void *block) { free(block); }
static void wait_for(const char *step) {
    struct stat found;
    dprintf(1, "at %s\n", step);
    while (stat(step, &found) != 0) {
        churn(malloc(100)); /* without a helper, requests are taken where the program allocates */
        usleep(1000);
    }
}
int main(void) {
    keep_early();
    wait_for("1");
    keep_middle();
    for (int i = 0; i < 4; i++) free(keep_early_blocks[i]);
    wait_for("2");
    keep_late();
    for (int i = 4; i < 7; i++) free(keep_early_blocks[i]);
    for (int i = 0; i < 7; i++) free(keep_middle_blocks[i]);
    wait_for("3");
    return 0;
}
