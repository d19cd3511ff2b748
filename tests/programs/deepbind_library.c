/* Part of deepbind.c: allocates; opened with RTLD_DEEPBIND its malloc is libc's own, past every preload.
 * build: -shared -fPIC */
#include <stdlib.h>
#include <string.h>
void *make(size_t n) {
    void *p = malloc(n);
    if (p) memset(p, 1, n);
    return p;
}
void drop(void *p) { free(p); }
