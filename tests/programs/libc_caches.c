/* Trap 44: libc allocates under its own locks and keeps what it allocated.
 * atexit calls calloc with a lock held, from many threads at once; locale, stdio, time zone and user lookups keep caches.
 * A hook that calls back into libc meets these locks. Kept: keep_main 3 x 50; in_handler: nothing.
 * build: -pthread */
#include <locale.h>
#include <pthread.h>
#include <pwd.h>
#include <time.h>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
static int called;
NOIPA static void in_handler(void) {
    void *volatile p = malloc(77);
    free(p);
    called++;
}
static void say(void) { printf("%d handlers\n", called); }
static void *registers(void *unused) {
    for (int i = 0; i < 500; i++) {
        CHECK(atexit(in_handler) == 0);
        churn();
    }
    return unused;
}
int main(void) {
    pthread_t threads[4];
    CHECK(atexit(say) == 0);
    for (int i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, registers, NULL));
    for (int i = 0; i < 20; i++) {
        setlocale(LC_ALL, i % 2 ? "C" : "C.UTF-8");
        setenv("TZ", i % 2 ? "UTC" : "Europe/Berlin", 1);
        tzset();
        time_t now = 0;
        CHECK(localtime(&now) && getpwuid(0));
        FILE *file = fopen("/dev/null", "w");
        CHECK(file);
        fprintf(file, "%s %d", "text", i);
        fclose(file);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) keep_main(50);
    return 0;
}
