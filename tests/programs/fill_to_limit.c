/* Fills its address space, limited to argv[1] KiB, to 83%, and goes on for a while.
 * Waits for the file 1 before, and for the file 2 then.
 * build: -O1 */
#include "keep.h"
#include <sys/resource.h>
KEEPER(keep_much)
static size_t used_kib(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages * 4;
}
int main(int argc, char **argv) {
    size_t limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    struct rlimit all = {limit << 10, limit << 10};
    CHECK(setrlimit(RLIMIT_AS, &all) == 0);
    wait_for_step("1");
    while (used_kib() < limit / 100 * 83) keep_much(1 << 20);
    wait_for_step("2");
    usleep(2000000); /* nothing more is to happen */
    return 0;
}
