/* Part of dlclose_reuse.c: two libraries of the same shape, whose functions have different names.
 * Part of dlclose_unseen.c with -DPAD=BYTES: longer ones, whose tables lie far below their end.
 * build: -shared -fPIC */
#include <stdlib.h>
#ifdef PAD
static char pad[PAD];
char *padding(size_t *size) {
    *size = PAD;
    return pad;
}
#endif
#ifndef NAME
#define NAME keep_in_a
#endif
__attribute__((noipa)) void *NAME(size_t n) {
    void *volatile p = malloc(n);
    return p;
}
void *entry(size_t n) {
    void *volatile p = NAME(n);
    return p;
}
