/* Trap 14: a library goes away without anyone being told, as those that libc itself opens and closes.
 * A long library is closed by libc's own dlclose; a short one comes to lie where the end of the long one was. A hook that
 * believes the long one to be there still reads unwind tables that are no longer mapped, and dies.
 * usage: dlclose_unseen LONG SHORT ROUNDS; kept: keep_in_a ROUNDS x 40, keep_in_b ROUNDS x 60.
 * build: -ldl */
#include <dlfcn.h>
#include "keep.h"
int main(int argc, char **argv) {
    CHECK(argc == 4);
    int (*close_unseen)(void *) = (int (*)(void *))dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "dlclose");
    CHECK(close_unseen);
    int rounds = atoi(argv[3]), within = 0;
    char *start = NULL, *end = NULL;
    for (int i = 0; i < 2 * rounds; i++) {
        void *library = dlopen(argv[1 + i % 2], RTLD_NOW);
        CHECK(library);
        void *(*entry)(size_t) = (void *(*)(size_t))dlsym(library, "entry");
        CHECK(entry);
        char *(*padding)(size_t *) = (char *(*)(size_t *))dlsym(library, "padding");
        CHECK(padding);
        size_t size;
        char *pad = padding(&size);
        if (i % 2 == 0) start = pad, end = pad + size;
        else within += (char *)entry > start && (char *)entry < end;
        void *block = entry(i % 2 ? 60 : 40);
        CHECK(block);
        keep_push(block);
        CHECK(close_unseen(library) == 0);
    }
    // Where the kernel put the short ones is not for others to compare.
    fprintf(stderr, "%d of %d within the other's place\n", within, rounds);
    puts("done");
    return 0;
}
