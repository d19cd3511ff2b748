/* Trap 26: an allocator inside the executable.
 * The executable's own malloc comes before any preload: nothing can be recorded, and the report must say so instead of
 * showing an empty, clean program.
 * build: -rdynamic -fno-builtin */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
static char room[1 << 22] __attribute__((aligned(16)));
static size_t used;
void *malloc(size_t n) {
    size_t need = (n + 31) & ~(size_t)15;
    if (n > sizeof room || used + need > sizeof room) return NULL;
    char *p = room + used;
    used += need;
    *(size_t *)p = n;
    return p + 16;
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) {
    void *p = malloc(n * m);
    if (p) memset(p, 0, n * m);
    return p;
}
void *realloc(void *p, size_t n) {
    void *q = malloc(n);
    if (p && q) memcpy(q, p, ((size_t *)p)[-2] < n ? ((size_t *)p)[-2] : n);
    return q;
}
int main(void) {
    for (int i = 0; i < 100; i++)
        if (!malloc(100)) return 1;
    puts("ok");
    return 0;
}
