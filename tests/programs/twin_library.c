/* Part of dlclose_reuse.c: two libraries of the same shape, whose functions have different names.
 * build: -shared -fPIC */
#include <stdlib.h>
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
