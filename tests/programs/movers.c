/* Five threads that move the only pointers to blocks from place to place without a pause, until the file "end" is there:
 * between two arrays (hold_moved), between two that lie 16 MiB of other memory apart, so that a scan reads them at different
 * times (hold_far), between two lists in the heap (hold_listed), into ever new tables (hold_rehashed), and with
 * an array that grows and shrinks (hold_resized). 200 blocks each; none is ever lost. Says "at 1" when all is going on.
 * build: -O1 -pthread */
#include "keep.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#define COUNT 200
#define MAKER(name)                              \
    NOIPA static void *name(void) {              \
        char *block = malloc(100);               \
        CHECK(block != NULL);                    \
        memset(block, 0x5a, 100);                \
        return block;                            \
    }
MAKER(hold_moved) MAKER(hold_far) MAKER(hold_listed) MAKER(hold_rehashed) MAKER(hold_resized)

static volatile int end, going;

static void *move(void *unused) {
    static void *volatile here[COUNT], *volatile there[COUNT];
    for (int i = 0; i < COUNT; i++) here[i] = hold_moved();
    for (__atomic_add_fetch(&going, 1, __ATOMIC_SEQ_CST); !end;) {
        for (int i = 0; i < COUNT; i++) there[i] = here[i], here[i] = NULL;
        for (int i = 0; i < COUNT; i++) here[i] = there[i], there[i] = NULL;
    }
    return unused;
}

static void *move_far(void *unused) {
    enum { WORDS = (16 << 20) / sizeof(void *) };
    void *volatile *between = mmap(NULL, WORDS * sizeof *between, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(between != MAP_FAILED);
    for (long i = 0; i < WORDS; i++) between[i] = (void *)1;
    void *volatile *here = between, *volatile *there = between + WORDS - COUNT;
    for (int i = 0; i < COUNT; i++) here[i] = hold_far(), there[i] = NULL;
    for (__atomic_add_fetch(&going, 1, __ATOMIC_SEQ_CST); !end;) {
        for (int i = 0; i < COUNT; i++) there[i] = here[i], here[i] = NULL;
        for (int i = 0; i < COUNT; i++) here[i] = there[i], there[i] = NULL;
    }
    return unused;
}

struct item { struct item *volatile next; };
static void *list(void *unused) {
    struct item *volatile *heads = malloc(sizeof *heads * 2);
    static struct item *volatile *kept;
    CHECK((kept = heads) != NULL);
    heads[0] = heads[1] = NULL;
    for (int i = 0; i < COUNT; i++) {
        struct item *item = hold_listed();
        item->next = heads[0];
        heads[0] = item;
    }
    for (__atomic_add_fetch(&going, 1, __ATOMIC_SEQ_CST); !end;)
        for (int from = 0; from < 2; from++)
            while (heads[from]) { /* one by one, each linked where it goes before it is unlinked where it was */
                struct item *item = heads[from], *rest = item->next;
                heads[from] = rest;
                item->next = heads[!from];
                heads[!from] = item;
            }
    return unused;
}

static void *rehash(void *unused) {
    static void *volatile *volatile table;
    size_t size = 512;
    table = calloc(size, sizeof *table);
    CHECK(table != NULL);
    for (int i = 0; i < COUNT; i++) table[i * 2] = hold_rehashed();
    for (__atomic_add_fetch(&going, 1, __ATOMIC_SEQ_CST); !end;) {
        size_t next = size >= 16384 ? 512 : size * 2, to = 0;
        void *volatile *fresh = calloc(next, sizeof *fresh), *volatile *old = table;
        CHECK(fresh != NULL);
        for (size_t i = 0; i < size; i++)
            if (old[i]) fresh[to] = old[i], to += 2;
        table = fresh;
        size = next;
        free((void *)old);
    }
    return unused;
}

static void *resize(void *unused) {
    static void **volatile array;
    CHECK(array = malloc(COUNT * sizeof *array));
    for (int i = 0; i < COUNT; i++) array[i] = hold_resized();
    for (__atomic_add_fetch(&going, 1, __ATOMIC_SEQ_CST); !end;)
        for (size_t count = COUNT; count < 100000; count = count * 3 / 2) {
            CHECK(array = realloc(array, count * sizeof *array));
            free(malloc(count));
        }
    return unused;
}

int main(void) {
    static void *(*const all[])(void *) = {move, move_far, list, rehash, resize};
    pthread_t threads[5];
    struct stat found;
    for (int i = 0; i < 5; i++) CHECK(pthread_create(&threads[i], NULL, all[i], NULL) == 0);
    while (going < 5) usleep(1000);
    dprintf(1, "at 1\n");
    while (stat("end", &found) != 0) usleep(10000);
    end = 1;
    for (int i = 0; i < 5; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
