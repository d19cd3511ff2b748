/* Part of exit_order.cpp: a library whose destructor frees, after those of the libraries that depend on it.
 * build: -shared -fPIC */
#include <stdlib.h>
static void *held;
__attribute__((noipa)) void *in_library(size_t n) {
    void *p = malloc(n);
    return p;
}
__attribute__((constructor)) static void constructor(void) { held = in_library(1234); }
__attribute__((destructor)) static void destructor(void) {
    free(held);
    free(in_library(50));
}
