/* Locks 4 MiB, and for eight seconds keeps 50 kB more every tenth of a second. */
#include "keep.h"
#include <sys/mman.h>
#include <time.h>

static void *volatile kept[80];

int main(void)
{
    size_t bytes = 4 << 20;
    void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED && mlock(area, bytes) == 0);
    for (int i = 0; i < 80; i++) {
        struct timespec pause = {0, 100 * 1000 * 1000};
        kept[i] = malloc(50000);
        CHECK(kept[i]);
        nanosleep(&pause, NULL);
    }
    return 0;
}
