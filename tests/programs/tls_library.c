/* Part of tls_dlopen.c: a library with a large thread-local block and a constructor that allocates in a new thread and
 * waits for it, while the loader's lock is held.
 * build: -shared -fPIC -pthread */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static __thread char big[5000];
static __thread void *owned;
static void *in_thread(void *unused) {
    for (int i = 0; i < 200; i++) {
        void *p = malloc(64 + i), *q = calloc(3, i + 1);
        p = realloc(p, 900 + i);
        free(p);
        free(q);
    }
    return unused;
}
__attribute__((constructor)) static void constructor(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, NULL) == 0) pthread_join(thread, NULL);
}
__attribute__((destructor)) static void destructor(void) { in_thread(NULL); }
__attribute__((noipa)) static void *in_touch(void) {
    void *volatile block = malloc(100);
    return block;
}
void touch(int value) {
    memset(big, value, sizeof big);
    free(owned);
    owned = in_touch();
}
void leave(void) {
    free(owned);
    owned = NULL;
}
