/* Trap 1, 2, 44: allocation before the library's own constructor has run.
 * Functions of .preinit_array run before any library's constructor: a hook that finds the real malloc in its constructor
 * calls a null pointer here, one that asks dlsym recurses through its calloc.
 * Kept: keep_preinit 3 x 100, keep_constructor 5 x 200, keep_main 7 x 300, grown_early 1 x 5000. */
#include <malloc.h>
#include "keep.h"
KEEPER(keep_preinit)
KEEPER(keep_constructor)
KEEPER(keep_main)
CHURNER(churn)
static char *early, *grown;

NOIPA static void grown_early(void) { grown = realloc(grown, 5000); CHECK(grown); }

static void preinit(int argc, char **argv, char **envp) {
    (void)argc, (void)argv, (void)envp;
    for (int i = 0; i < 3; i++) keep_preinit(100);
    CHECK(early = calloc(10, 50));
    for (int i = 0; i < 500; i++) CHECK(early[i] == 0);
    CHECK(malloc_usable_size(early) >= 500);
    CHECK(grown = malloc(40));
    memset(grown, 7, 40);
    churn();
}
__attribute__((section(".preinit_array"), used)) static void (*const run_preinit)(int, char **, char **) = preinit;

__attribute__((constructor(101))) static void constructor(void) {
    for (int i = 0; i < 5; i++) keep_constructor(200);
    churn();
}
int main(void) {
    for (int i = 0; i < 7; i++) keep_main(300);
    churn();
    free(early); /* allocated before any constructor, freed by main */
    grown_early();
    for (int i = 0; i < 40; i++) CHECK(grown[i] == 7);
    puts("ok");
    return 0;
}
