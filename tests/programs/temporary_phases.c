/* Temporary blocks in two phases. Says "at N" and waits for the file N in its folder.
 * Before step 1: 700 temporary blocks in busy, 60 pairs in crossing, of which none is temporary.
 * Before step 2: 250 temporary blocks in busy, 40 in late. */
#include "keep.h"
#include <sys/stat.h>
static void *volatile sink;
static void *shown(void *block) { return sink = block; }
NOIPA static void busy(int blocks) {
    for (int i = 0; i < blocks; i++) free(shown(malloc(24)));
}
NOIPA static void late(int blocks) {
    for (int i = 0; i < blocks; i++) free(shown(malloc(500)));
}
NOIPA static void crossing(int pairs) {
    for (int i = 0; i < pairs; i++) {
        void *first = shown(malloc(100)), *second = shown(malloc(100));
        free(first);
        free(second);
    }
}
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
    busy(700);
    crossing(60);
    wait_for("1");
    busy(250);
    late(40);
    wait_for("2");
    return 0;
}
