/* Trap 16, 23: memory that never passed the hook's malloc arrives in its free, and the reverse.
 * A library opened with RTLD_DEEPBIND, and callers of __libc_malloc, bypass every preload. The program frees 50 such
 * blocks: unknown frees are silent and counted. It also has 50 blocks of its own freed behind the hook's back, whose
 * addresses then come back from the hook's malloc.
 * usage: deepbind LIBRARY; kept: keep_main 60 x 120.
 * build: -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include "keep.h"
KEEPER(keep_main)
extern void *__libc_malloc(size_t);
int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library);
    void *(*make)(size_t) = (void *(*)(size_t))dlsym(library, "make");
    void (*drop)(void *) = (void (*)(void *))dlsym(library, "drop");
    CHECK(make && drop);
    for (int i = 0; i < 30; i++) free(make(100 + i));
    for (int i = 0; i < 20; i++) {
        void *block = __libc_malloc(70);
        CHECK(block);
        free(block);
    }
    for (int i = 0; i < 50; i++) {
        void *block = malloc(120);
        CHECK(block);
        drop(block);
    }
    void *grown = realloc(make(60), 5000);
    CHECK(grown && ((char *)grown)[59] == 1);
    free(grown);
    for (int i = 0; i < 60; i++) keep_main(120);
    puts("ok");
    return 0;
}
