/* Part of runpath.c: opens a library by bare name; the loader finds it by this library's own RUNPATH.
 * build: -shared -fPIC -Wl,-rpath,$ORIGIN/inner */
#include <dlfcn.h>
#include <stdio.h>
void *open_inner(void) {
    void *inner = dlopen("runpath_inner.so", RTLD_NOW);
    if (!inner) puts(dlerror());
    return inner;
}
