/* Trap 15: whose dlopen is it?
 * The loader resolves RUNPATH, $ORIGIN and the namespace for the caller of dlopen. A hook that calls dlopen in the
 * program's stead makes itself the caller, and the inner library is not found, or lands in the wrong namespace.
 * usage: runpath OUTER; kept: inner_text 2 blocks of 23.
 * build: -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include "keep.h"
int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *outer = dlopen(argv[1], RTLD_NOW);
    CHECK(outer);
    void *(*open_inner)(void) = (void *(*)(void))dlsym(outer, "open_inner");
    CHECK(open_inner);
    void *inner = open_inner();
    CHECK(inner);
    char *(*inner_text)(void) = (char *(*)(void))dlsym(inner, "inner_text");
    CHECK(inner_text);
    for (int i = 0; i < 2; i++) {
        char *text = inner_text();
        puts(text);
        keep_push(text);
    }
    CHECK(!dlopen("runpath_inner.so.not", RTLD_NOW) && dlerror());
    /* A namespace of its own, with its own libc: what it allocates is its own affair. */
    void *apart = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
    CHECK(apart);
    Lmid_t id = LM_ID_BASE;
    CHECK(dlinfo(apart, RTLD_DI_LMID, &id) == 0 && id != LM_ID_BASE);
    open_inner = (void *(*)(void))dlsym(apart, "open_inner");
    CHECK(open_inner && (inner = open_inner()));
    inner_text = (char *(*)(void))dlsym(inner, "inner_text");
    CHECK(inner_text);
    char *text = inner_text();
    puts(text);
    CHECK(dlinfo(inner, RTLD_DI_LMID, &id) == 0 && id != LM_ID_BASE);
    CHECK(dlclose(apart) == 0);
    CHECK(dlclose(outer) == 0);
    puts("ok");
    return 0;
}
