/* Holds and loses blocks where few programs do: 60 from each function, those of hold_... held, those of lose_... lost.
 * usage: odd_roots LIBRARY [steps]: the library is built from this file with -DLIB and has a global and a thread-local array; with
 * "steps" it says "at 1" and waits for the file "1" before it ends.
 * build: -O0 -pthread -ldl */
#define _GNU_SOURCE
#ifdef LIB
void *lib_global[64];
static __thread void *lib_local[64];
void **lib_thread_local(void) { return lib_local; }
#else
#include "keep.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#define COUNT 60
#define BYTES 200
#define MAKER(name)                              \
    NOIPA static void *name(void) {              \
        char *block = malloc(BYTES);             \
        CHECK(block != NULL);                    \
        memset(block, 0x5a, BYTES);              \
        return block;                            \
    }
#define EACH(maker, place)                       \
    for (int i = 0; i < COUNT; i++) place = maker()

MAKER(hold_heap_fiber) MAKER(hold_heap_stack) MAKER(hold_thread_key) MAKER(hold_dlopened) MAKER(hold_dlopened_tls)
MAKER(hold_memory_file) MAKER(hold_private_file) MAKER(hold_huge) MAKER(hold_tagged_list) MAKER(hold_moved_mapping)
MAKER(hold_aligned) MAKER(hold_argument) MAKER(hold_code_file) MAKER(hold_code)
MAKER(lose_unmapped) MAKER(lose_thrown_away) MAKER(lose_closed) MAKER(lose_fiber) MAKER(lose_thread_key) MAKER(lose_moved_mapping)


static volatile int ready;
static pthread_key_t key;
static void *kept[8];

NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}

static const char *path;
/* A symbol of the library; none: it is closed. */
static void *library(const char *name) {
    static void *opened;
    if (!opened) CHECK(opened = dlopen(path, RTLD_NOW));
    if (name) return dlsym(opened, name);
    CHECK(dlclose(opened) == 0);
    return opened = NULL;
}

static ucontext_t in_main, in_fiber;
static void *(*volatile fiber_maker)(void);
static void fiber(void) {
    void *volatile frame[COUNT];
    EACH(fiber_maker, frame[i]);
    scrub();
    swapcontext(&in_fiber, &in_main);
    free((void *)frame[1]);
}

/* A fiber that is left in the middle, on a stack of the heap. */
NOIPA static void *leave_fiber(void *(*maker)(void)) {
    char *stack = malloc(128 << 10);
    CHECK(stack != NULL && getcontext(&in_fiber) == 0);
    in_fiber.uc_stack.ss_sp = stack;
    in_fiber.uc_stack.ss_size = 128 << 10;
    in_fiber.uc_link = &in_main;
    fiber_maker = maker;
    makecontext(&in_fiber, fiber, 0);
    swapcontext(&in_main, &in_fiber);
    return stack;
}

static void *on_heap_stack(void *unused) {
    void *volatile frame[COUNT];
    EACH(hold_heap_stack, frame[i]);
    scrub();
    ready++;
    for (;;) pause();
    free((void *)frame[1]);
    return unused;
}

static void *with_key(void *unused) {
    void **of_key = malloc(sizeof *of_key * COUNT);
    CHECK(of_key != NULL && pthread_setspecific(key, of_key) == 0);
    EACH(hold_thread_key, of_key[i]);
    void **local = ((void **(*)(void))library("lib_thread_local"))();
    EACH(hold_dlopened_tls, local[i]);
    of_key = local = NULL;
    scrub();
    ready++;
    for (;;) pause();
    return unused;
}

static void *ends_with_key(void *unused) {
    void **of_key = malloc(sizeof *of_key * COUNT);
    CHECK(of_key != NULL && pthread_setspecific(key, of_key) == 0);
    EACH(lose_thread_key, of_key[i]);
    return unused;
}

static void *has_argument(void *argument) {
    ready++;
    for (;;) pause();
    return argument;
}

static void **map(size_t bytes, int flags, int fd) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    CHECK(start != MAP_FAILED);
    return start;
}

NOIPA static void hold(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    kept[0] = leave_fiber(hold_heap_fiber);
    void *stack = aligned_alloc(4096, 256 << 10);
    CHECK(stack && pthread_attr_setstack(&attributes, stack, 256 << 10) == 0);
    CHECK(pthread_create(&thread, &attributes, on_heap_stack, NULL) == 0);
    for (int i = 0; i < 70; i++) CHECK(pthread_key_create(&key, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, with_key, NULL) == 0);
    void **argument = malloc(sizeof *argument * COUNT);
    CHECK(argument != NULL);
    EACH(hold_argument, argument[i]);
    CHECK(pthread_create(&thread, NULL, has_argument, argument) == 0);
    argument = NULL;
    EACH(hold_dlopened, ((void **)library("lib_global"))[i]);
    int fd = memfd_create("roots", 0);
    CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
    void **shared = map(8192, MAP_SHARED, fd), **private = map(8192, MAP_PRIVATE, fd);
    EACH(hold_memory_file, shared[i]);
    EACH(hold_private_file, private[512 + i]);
    /* Memory of who makes code: a file's, and none's. */
    void **of_file = map(8192, MAP_PRIVATE, fd), **of_none = map(8192, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    CHECK(mprotect(of_file, 8192, all) == 0 && mprotect(of_none, 8192, all) == 0);
    EACH(hold_code_file, of_file[600 + i]);
    EACH(hold_code, of_none[600 + i]);
    /* A TiB, of which 60 pages are touched; valgrind has no room for it. */
    size_t words = (1ul << 40) / sizeof(void *);
    void **huge;
    while ((huge = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) == MAP_FAILED)
        CHECK(words /= 2);
    EACH(hold_huge, huge[words / 64 * i + 17]);
    void *volatile list = NULL;
    for (int i = 0; i < COUNT; i++) {
        void **item = hold_tagged_list();
        item[2] = list;
        list = (void *)((uintptr_t)item | (i & 7));
    }
    kept[2] = list;
    void **moved = map(4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    EACH(hold_moved_mapping, moved[i]);
    void **far = mremap(moved, 4096, 8 << 20, MREMAP_MAYMOVE);
    CHECK(far != MAP_FAILED);
    void **aligned = aligned_alloc(1 << 20, 1 << 20);
    CHECK(kept[3] = aligned);
    EACH(hold_aligned, aligned[1000 + i]);
    while (ready < 3) usleep(1000);
}

NOIPA static void lose(void) {
    pthread_t thread;
    void **gone = map(8192, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    EACH(lose_unmapped, gone[i]);
    munmap(gone, 8192);
    void **thrown = map(8192, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    EACH(lose_thrown_away, thrown[i]);
    madvise(thrown, 8192, MADV_DONTNEED);
    free(leave_fiber(lose_fiber));
    CHECK(pthread_create(&thread, NULL, ends_with_key, NULL) == 0 && pthread_join(thread, NULL) == 0);
    void **moved = map(16384, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    EACH(lose_moved_mapping, moved[1024 + i]);
    CHECK(mremap(moved, 16384, 4096, 0) == moved);
}

NOIPA static void lose_library(void) {
    EACH(lose_closed, ((void **)library("lib_global"))[i]);
    library(NULL);
}

int main(int argc, char **argv) {
    struct stat found;
    CHECK(argc > 1);
    path = argv[1];
    lose_library();
    scrub();
    hold();
    scrub();
    lose();
    scrub();
    if (argc > 2) {
        dprintf(1, "at 1\n");
        while (stat("1", &found) != 0) usleep(1000);
    }
    return 0;
}
#endif
