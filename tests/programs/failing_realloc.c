/* Part of put_back.c: a realloc that takes its time before it fails.
 * build: -shared -fPIC */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>
extern void *__libc_realloc(void *, size_t);
void *realloc(void *p, size_t n) {
    if (n != 12345678) return __libc_realloc(p, n);
    (void)!write(1, "at 1\n", 5);
    while (access("1", F_OK) != 0) usleep(1000);
    errno = ENOMEM;
    return 0;
}
