/* Part of many_threads.c: a library that takes all thread-specific keys for which libc has room in place, before others
 * come to it. Who notices the end of threads by a key needs another way.
 * build: -shared -fPIC */
#include <pthread.h>
__attribute__((constructor)) static void take_keys(void) {
    pthread_key_t key;
    for (int i = 0; i < 40; i++) pthread_key_create(&key, NULL);
}
