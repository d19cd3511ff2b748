/* Holds and frees known amounts, and prints what the allocator says of itself at the end, asked by the program.
 *
 * build: -ldl
 * usage: allocator_figures
 * It differs from the others in that it runs behind jemalloc and tcmalloc. Prints "jemalloc RESIDENT ACTIVE ALLOCATED METADATA" or
 * "tcmalloc HELD FREE ALLOCATED", or "glibc".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 20000, BYTES = 1000 };

static void *kept[COUNT];

__attribute__((noinline)) static void *hold(void) { return memset(malloc(BYTES), 1, BYTES); }

typedef int (*mallctl_t)(const char *, void *, size_t *, void *, size_t);
typedef int (*property_t)(const char *, size_t *);

static size_t ask(mallctl_t mallctl, const char *name)
{
    size_t value = 0, size = sizeof value;
    mallctl(name, &value, &size, NULL, 0);
    return value;
}

static size_t get(property_t property, const char *name)
{
    size_t value = 0;
    property(name, &value);
    return value;
}

int main(void)
{
    for (int i = 0; i < COUNT; i++)
        kept[i] = hold();
    for (int i = 0; i < COUNT; i++)
        if (i % 4)
            free(kept[i]);
    mallctl_t mallctl = (mallctl_t)dlsym(RTLD_DEFAULT, "mallctl");
    property_t property = (property_t)dlsym(RTLD_DEFAULT, "MallocExtension_GetNumericProperty");
    char line[256] = "glibc\n";
    if (mallctl) {
        uint64_t epoch = 1;
        mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
        snprintf(line, sizeof line, "jemalloc %zu %zu %zu %zu\n", ask(mallctl, "stats.resident"), ask(mallctl, "stats.active"),
                 ask(mallctl, "stats.allocated"), ask(mallctl, "stats.metadata"));
    } else if (property) {
        size_t held = get(property, "generic.heap_size") - get(property, "tcmalloc.pageheap_unmapped_bytes");
        snprintf(line, sizeof line, "tcmalloc %zu %zu %zu\n", held, get(property, "tcmalloc.pageheap_free_bytes"),
                 get(property, "generic.current_allocated_bytes"));
    }
    return write(1, line, strlen(line)) < 0;
}
