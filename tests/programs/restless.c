/* Loses 100 blocks in lose_all while a thread runs without a pause, so that no single pass of a scan is exact. Says "at 1" and
 * waits for the file "1".
 * build: -O0 -pthread */
#include "keep.h"
#include <pthread.h>
#include <sys/stat.h>
NOIPA static void lose_all(void) {
    for (int i = 0; i < 100; i++) memset(malloc(300), 0x5a, 300);
}
static void *run(void *unused) {
    for (volatile long turns = 0;; turns++) continue;
    return unused;
}
int main(void) {
    pthread_t thread;
    struct stat found;
    lose_all();
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) usleep(10000);
    return 0;
}
