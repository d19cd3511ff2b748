/* Blocks that stay live at the end, allocated under functions whose names the test knows, and CHECK, which ends the
 * program with status 99 and says where. */
#ifndef KEEP_H
#define KEEP_H
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOIPA __attribute__((noipa))

#define CHECK(condition)                                                                                  \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            dprintf(1, "failed: %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            _exit(99);                                                                                    \
        }                                                                                                 \
    } while (0)

/* Waits for a file, by which the test lets the program go on. */
static inline void wait_for_step(const char *file) {
    while (access(file, F_OK) != 0) usleep(1000);
}

/* Kept blocks hang in a list through their first word, so that nothing else has to be allocated for them. */
static void *volatile kept_head;

static inline void keep_push(void *block) {
    void *old = __atomic_load_n(&kept_head, __ATOMIC_RELAXED);
    do
        memcpy(block, &old, sizeof old);
    while (!__atomic_compare_exchange_n(&kept_head, &old, block, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}

/* Defines void NAME(size_t bytes): one block of that size (at least 8) that is never freed. */
#define KEEPER(name)                          \
    NOIPA void name(size_t bytes) {           \
        void *block = malloc(bytes);          \
        CHECK(block != NULL);                 \
        memset(block, 0x5a, bytes);           \
        keep_push(block);                     \
    }

/* Defines void NAME(void): allocates and frees blocks of many sizes. */
#define CHURNER(name)                                                   \
    NOIPA void name(void) {                                             \
        void *blocks[32];                                               \
        for (int i = 0; i < 32; i++) CHECK(blocks[i] = malloc(1 + 97 * i)); \
        for (int i = 0; i < 32; i++) free(blocks[i]);                   \
    }
#endif
