/* Threads: each loses its own amount, and blocks made in one are freed in another.
 *
 * build:  cc -g -O1 -pthread -o threads threads.c
 * run:    leaktrack run -- ./threads
 *
 * What leaktrack must report:
 *   lose_in_worker   worker n (1 to 4) loses n * 100 blocks of 64 bytes:
 *                    64,000 bytes in 1,000 blocks: lost when a scan ran, else unclear, since the run is
 *                    too short for a trend
 *   make_parcel      40,000 allocations of 128 bytes, 40,000 frees (by the consumer), nothing live
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 4, PARCELS = 10000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void *shelf[64];
static int on_shelf;

__attribute__((noinline)) static void lose_in_worker(void)
{
    char *volatile lost = malloc(64);
    memset(lost, 1, 64);
}

__attribute__((noinline)) static void *make_parcel(void)
{
    return memset(malloc(128), 2, 128);
}

static void *work(void *number)
{
    for (long i = 0; i < (long)number * 100; i++)
        lose_in_worker();
    for (int i = 0; i < PARCELS; i++) {
        void *parcel = make_parcel();
        pthread_mutex_lock(&lock);
        while (on_shelf == 64)
            pthread_cond_wait(&changed, &lock);
        shelf[on_shelf++] = parcel;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *consume(void *unused)
{
    for (int i = 0; i < WORKERS * PARCELS; i++) {
        pthread_mutex_lock(&lock);
        while (on_shelf == 0)
            pthread_cond_wait(&changed, &lock);
        void *parcel = shelf[--on_shelf];
        shelf[on_shelf] = NULL;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        free(parcel);
    }
    return unused;
}

int main(void)
{
    pthread_t workers[WORKERS], consumer;
    pthread_create(&consumer, NULL, consume, NULL);
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    pthread_join(consumer, NULL);
    return 0;
}
