/* Goes on as an ordinary user who may have no more processes. Says "at 1" and waits for the file 1.
 * build: -O1 */
#include "keep.h"
#include <sys/resource.h>
#include <sys/stat.h>
KEEPER(keep)
int main(void) {
    struct stat found;
    struct rlimit none = {0, 0};
    for (int i = 0; i < 100; i++) keep(64 + i);
    CHECK(getuid() != 0 || setuid(65534) == 0);
    usleep(500000); /* leaktrack's helper has started again */
    CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) usleep(1000);
    return 0;
}
