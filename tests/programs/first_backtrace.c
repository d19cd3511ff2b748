/* Trap 7: the unwinder's first use allocates.
 * glibc's backtrace() opens libgcc_s at its first call; a hook that uses it does so from inside malloc. The program prints
 * whether libgcc_s is loaded before its own first backtrace (no, unless a hook brought it), then takes one.
 * Kept: keep_main 50 x 64. */
#include <execinfo.h>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
static int loaded(const char *name) {
    static char line[1000];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    while (fgets(line, sizeof line, maps)) found |= strstr(line, name) != NULL;
    fclose(maps);
    return found;
}
int main(void) {
    void *frames[20];
    for (int i = 0; i < 50; i++) keep_main(64), churn();
    printf("libgcc_s loaded: %d\n", loaded("libgcc_s"));
    printf("backtrace works: %d\n", backtrace(frames, 20) > 1);
    printf("libgcc_s loaded: %d\n", loaded("libgcc_s"));
    return 0;
}
