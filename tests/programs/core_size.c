/* Trap 50: core dumps and memory that must not be copied.
 * Prints nothing about it, but leaves /proc/self/smaps in smaps.txt: memory that a hook maps for itself is marked `dd`
 * (not dumped). Kept: keep_main 50000 x 16. */
#include <fcntl.h>
#include "keep.h"
KEEPER(keep_main)
int main(void) {
    static char text[1 << 16];
    for (int i = 0; i < 50000; i++) keep_main(16);
    int from = open("/proc/self/smaps", O_RDONLY), to = open("smaps.txt", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(from >= 0 && to >= 0);
    for (ssize_t n; (n = read(from, text, sizeof text)) > 0;) CHECK(write(to, text, n) == n);
    close(from);
    close(to);
    puts("ok");
    return 0;
}
