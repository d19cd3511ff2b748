/* Trap 14: a library goes away and another takes its place.
 * Two libraries of the same shape are opened and closed in turn; the loader puts both at the same address. A hook that
 * keeps bare return addresses, or the rules of unwinding learnt for them, gives the blocks of one to the other.
 * usage: dlclose_reuse A B ROUNDS; kept: keep_in_a ROUNDS x 40, keep_in_b ROUNDS x 60.
 * build: -ldl */
#include <dlfcn.h>
#include "keep.h"
CHURNER(churn)
int main(int argc, char **argv) {
    CHECK(argc == 4);
    int rounds = atoi(argv[3]), same = 0;
    void *last = NULL;
    for (int i = 0; i < 2 * rounds; i++) {
        void *library = dlopen(argv[1 + i % 2], RTLD_NOW);
        CHECK(library);
        void *(*entry)(size_t) = (void *(*)(size_t))dlsym(library, "entry");
        CHECK(entry);
        same += (void *)entry == last;
        last = (void *)entry;
        void *block = entry(i % 2 ? 60 : 40);
        CHECK(block);
        keep_push(block);
        churn();
        CHECK(dlclose(library) == 0);
    }
    printf("the same address was used again: %d\n", same > rounds);
    return 0;
}
