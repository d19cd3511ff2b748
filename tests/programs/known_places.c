/* Blocks and mappings of known sizes, which it prints with their addresses, each from a function of its own.
 * Says "at N" and waits for the file N, as steps.c does: what it made before step 1 is older than the rest.
 * build: -O0 -pthread */
#define _GNU_SOURCE
#include "keep.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { MIB = 1 << 20, AGED = 2000, SIZES = 3000, LARGE = 8 };

static pthread_barrier_t ready, end;

static void print_place(const char *name, const void *p, size_t bytes) { printf("%s %#lx %zu\n", name, (long)p, bytes); }

NOIPA static void keep_aged(size_t bytes) {
    void *p = memset(malloc(bytes), 1, bytes);
    keep_push(p);
    print_place("aged", p, bytes);
}

NOIPA static void keep_sizes(size_t bytes) {
    void *p = memset(malloc(bytes), 1, bytes);
    keep_push(p);
    print_place("sizes", p, bytes);
}

NOIPA static void keep_large(size_t bytes) {
    void *p = malloc(bytes);
    keep_push(p);
    memset(p, 1, bytes / 2); /* half of it is never touched */
    print_place("large", p, bytes);
}

NOIPA static void map_some(size_t bytes) {
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, MIB);
    print_place("mapping", p, bytes);
}

static void map_shared(size_t bytes) {
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, bytes);
    print_place("shared", p, bytes);
}

static void map_file(const char *name, size_t bytes) {
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && ftruncate(fd, bytes) == 0);
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, bytes);
    print_place("file", p, bytes);
}

NOIPA static void *keep_in_arena(void) { return memset(malloc(1000), 1, 1000); }

static void *thread(void *unused) {
    char local[64 << 10];
    memset(local, 1, sizeof local);
    void *p = keep_in_arena();
    keep_push(p);
    print_place("arena", p, 1000);
    print_place("stack", local, syscall(SYS_gettid));
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&end);
    return unused;
}

int main(int argc, char **argv) {
    (void)argc;
    static char out[1 << 18];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    pthread_barrier_init(&ready, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    print_place("module", (void *)main, strlen(argv[0]));
    for (int i = 0; i < 2 * AGED; i++) {
        if (i == AGED) {
            printf("at 1\n");
            fflush(stdout);
            wait_for_step("1");
        }
        keep_aged(i < AGED ? 40 : 48);
    }
    for (int i = 0; i < SIZES; i++) keep_sizes(100 + (i * 7919) % SIZES);
    for (int i = 0; i < LARGE; i++) keep_large(400000);
    map_some(3 * MIB);
    map_shared(2 * MIB);
    map_file("mapped.data", MIB);
    pthread_t id;
    CHECK(pthread_create(&id, NULL, thread, NULL) == 0);
    pthread_barrier_wait(&ready);
    printf("at 2\n");
    fflush(stdout);
    wait_for_step("2");
    return 0;
}
