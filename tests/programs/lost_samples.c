/* Keeps 20,000 blocks of 1,000 bytes in keep and loses as many in lose. Says "at 1" and waits for the file 1.
 * build: -O1 */
#include "keep.h"
#include <sys/stat.h>
#define COUNT 20000
static void *kept[COUNT];
NOIPA static void *keep(void) { return memset(malloc(1000), 0x5a, 1000); }
NOIPA static void *lose(void) { return memset(malloc(1000), 0x5a, 1000); }
NOIPA static void scrub(void) {
    volatile char junk[16384];
    memset((void *)junk, 0, sizeof junk);
}
int main(void) {
    struct stat found;
    for (int i = 0; i < COUNT; i++) {
        kept[i] = keep();
        lose();
    }
    scrub();
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) usleep(1000);
    return kept[getpid() % COUNT] == NULL;
}
