/* Trap 3, 6: thread-local storage grows under the hook's feet.
 * After every dlopen the first access to a thread-local of the general-dynamic model calls __tls_get_addr, which
 * reallocates the thread's vector through the hook and may take the loader's lock; a constructor that waits for a thread
 * which allocates then deadlocks. The hook's own thread state must be of the initial-exec model.
 * usage: tls_dlopen LIBRARY; kept: keep_worker 4 x 4000.
 * build: -pthread -ldl */
#include <dlfcn.h>
#include <pthread.h>
#include "keep.h"
KEEPER(keep_worker)
static const char *path;
static void *worker(void *unused) {
    for (int i = 0; i < 30; i++) {
        void *library = dlopen(path, RTLD_NOW);
        CHECK(library);
        void (*touch)(int) = (void (*)(int))dlsym(library, "touch");
        void (*leave)(void) = (void (*)(void))dlsym(library, "leave");
        CHECK(touch && leave);
        touch(i);
        free(malloc(i));
        leave();
        dlclose(library);
    }
    keep_worker(4000);
    return unused;
}
int main(int argc, char **argv) {
    CHECK(argc == 2);
    path = argv[1];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, worker, NULL));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    puts("ok");
    return 0;
}
