/* Much memory of which only few pages were ever touched: a mapping of its own, a block that is a mapping, many blocks of
 * the heap, a thread's stack. In touched pages are the only pointers to 60 blocks of hold_far. Says "at 1", waits for the
 * file 1, and says in how many pages something is then, and was before.
 * build: -O1 -pthread */
#define _GNU_SOURCE
#include "keep.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#define MAP_BYTES (4UL << 30)
#define BLOCK_BYTES (512UL << 20)
#define FEW 400
#define FEW_BYTES (100UL << 10)
#define STACK_BYTES (64UL << 20)
static char *map, *block, *few[FEW], *stack;
NOIPA static void hold_far(void **place) { *place = malloc(48); }
static void *wait_in_thread(void *unused) {
    (void)unused;
    wait_for_step("1");
    return NULL;
}
static unsigned char in_core[MAP_BYTES / 4096];
/* A page that was only ever read is there, too: it is the kernel's page of zeroes. */
static size_t pages_in(char *start, size_t bytes) {
    char *from = (char *)(((size_t)start + 4095) & ~4095UL), *end = (char *)((size_t)(start + bytes) & ~4095UL);
    size_t count = 0;
    CHECK(mincore(from, (size_t)(end - from), in_core) == 0);
    for (size_t i = 0; i < (size_t)(end - from) / 4096; i++) count += in_core[i] & 1;
    return count;
}
static size_t pages(void) {
    size_t count = pages_in(map, MAP_BYTES) + pages_in(block, BLOCK_BYTES) + pages_in(stack, STACK_BYTES);
    for (int i = 0; i < FEW; i++) count += pages_in(few[i], FEW_BYTES);
    return count;
}
int main(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    CHECK(map != MAP_FAILED && stack != MAP_FAILED && (block = malloc(BLOCK_BYTES)) != NULL);
    /* Whole pages of no other size: nothing of huge pages is filled that nobody asked for. */
    CHECK(madvise(map, MAP_BYTES, MADV_NOHUGEPAGE) == 0 && madvise(stack, STACK_BYTES, MADV_NOHUGEPAGE) == 0);
    CHECK(madvise((char *)(((size_t)block + 4095) & ~4095UL), BLOCK_BYTES - 8192, MADV_NOHUGEPAGE) == 0);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    for (int i = 0; i < FEW; i++) CHECK((few[i] = malloc(FEW_BYTES)) != NULL);
    for (int i = 0; i < 30; i++) {
        hold_far((void **)(map + MAP_BYTES / 32 * i + 4096));
        hold_far((void **)(block + BLOCK_BYTES / 32 * i + 8192));
    }
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, STACK_BYTES) == 0);
    CHECK(pthread_create(&thread, &attributes, wait_in_thread, NULL) == 0);
    usleep(20000); /* the thread has gone as deep as it will */
    size_t before = pages();
    dprintf(1, "at 1\n");
    CHECK(pthread_join(thread, NULL) == 0);
    dprintf(1, "pages: %zu, before: %zu\n", pages(), before);
    return 0;
}
