/* Preloaded before leaktrack: writes down each allocation and each free, with address, size, caller and the times before and after it,
 * into the file FAULT_LOG. What fault_truth sees of page faults can then be laid over the blocks that were alive, without
 * leaktrack's help. The process's mappings are written to FAULT_LOG.maps when it ends.
 * Mappings of an allocator's own (jemalloc) are passed on as if this library were not there.
 * build: -shared -fPIC -ldl -pthread */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct entry {
    uint64_t begin_ns, end_ns, addr, size, caller; /* hashes of the innermost CALLS calls, and below of the innermost one */
    uint32_t pid, what;
};

enum { ALLOCATED, FREED, MAPPED, UNMAPPED };

enum { ROOM = 40 << 20 }; /* entries; the file has holes */

static struct entry *entries;
static _Atomic uint64_t *used; /* entry 0 */
static uint32_t pid;
static uintptr_t own_start, own_end;

static void *(*next_malloc)(size_t), *(*next_calloc)(size_t, size_t), *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
__attribute__((visibility("hidden"), used)) void *(*next_mmap)(void *, size_t, int, int, int, off_t), *(*next_mremap)(void *, size_t, size_t, int, void *);
__attribute__((visibility("hidden"), used)) int (*next_munmap)(void *, size_t);
static void *(*next_aligned_alloc)(size_t, size_t), *(*next_memalign)(size_t, size_t);

static char early[64 << 10] __attribute__((aligned(64))); /* dlsym allocates */
static size_t early_used;

static void *early_block(size_t size)
{
    void *block = early + early_used;
    early_used += (size + 63) / 64 * 64;
    return early_used <= sizeof early ? block : NULL;
}

static int is_early(void *block)
{
    return (char *)block >= early && (char *)block < early + sizeof early;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void note(uint64_t begin_ns, void *addr, size_t size, uint64_t caller, int what)
{
    if (!entries || !addr)
        return;
    uint64_t at = atomic_fetch_add(used, 1) + 1;
    if (at < ROOM)
        entries[at] = (struct entry){begin_ns, what & 1 ? begin_ns : now(), (uintptr_t)addr, size, caller, pid, what};
}

enum { CALLS = 5 };

/* Of return addresses, this library's left out. */
static uint64_t callers(void)
{
    void *calls[CALLS + 4];
    static __thread int busy;
    uint64_t hash = 0xcbf29ce484222325, innermost = 0;
    if (!entries || busy)
        return 0;
    busy = 1; /* the unwinder may allocate */
    int many = backtrace(calls, CALLS + 4), taken = 0;
    busy = 0;
    for (int at = 0; at < many && taken < CALLS; at++)
        if ((uintptr_t)calls[at] < own_start || (uintptr_t)calls[at] >= own_end) {
            hash = (hash ^ (uintptr_t)calls[at]) * 0x100000001b3;
            innermost = taken++ ? innermost : hash >> 32;
        }
    return hash >> 32 << 32 | innermost;
}

static void in_child(void)
{
    pid = getpid();
}

static void ready(void)
{
    if (next_free)
        return;
    next_calloc = dlsym(RTLD_NEXT, "calloc");
    next_malloc = dlsym(RTLD_NEXT, "malloc");
    next_realloc = dlsym(RTLD_NEXT, "realloc");
    next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    next_memalign = dlsym(RTLD_NEXT, "memalign");
    next_mmap = dlsym(RTLD_NEXT, "mmap");
    next_munmap = dlsym(RTLD_NEXT, "munmap");
    next_mremap = dlsym(RTLD_NEXT, "mremap");
    next_free = dlsym(RTLD_NEXT, "free");
}

__attribute__((visibility("hidden"), used)) uintptr_t allocator_start, allocator_bytes;

static int find_libraries(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (int at = 0; strstr(info->dlpi_name, "fault_log") && at < info->dlpi_phnum; at++)
        if (info->dlpi_phdr[at].p_type == PT_LOAD && info->dlpi_phdr[at].p_flags & PF_X) {
            own_start = info->dlpi_addr + info->dlpi_phdr[at].p_vaddr;
            own_end = own_start + info->dlpi_phdr[at].p_memsz;
        }
    for (int at = 0; strstr(info->dlpi_name, "libjemalloc") && at < info->dlpi_phnum; at++)
        if (info->dlpi_phdr[at].p_type == PT_LOAD && info->dlpi_phdr[at].p_flags & PF_X) {
            allocator_start = info->dlpi_addr + info->dlpi_phdr[at].p_vaddr;
            allocator_bytes = info->dlpi_phdr[at].p_memsz;
        }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    void *calls[2];
    ready();
    dl_iterate_phdr(find_libraries, NULL);
    backtrace(calls, 2); /* it loads a library at its first call */
    pid = getpid();
    char *path = getenv("FAULT_LOG"), *only = getenv("FAULT_ONLY");
    if (!path || (only && strcmp(only, program_invocation_short_name) != 0))
        return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    size_t bytes = (size_t)ROOM * sizeof(struct entry);
    if (file < 0 || ftruncate(file, bytes) != 0)
        return;
    void *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (all == MAP_FAILED)
        return;
    pthread_atfork(NULL, NULL, in_child);
    used = all;
    entries = all;
}

__attribute__((destructor)) static void end(void)
{
    char path[PATH_MAX], text[4096];
    if (!entries)
        return;
    snprintf(path, sizeof path, "%s.maps", getenv("FAULT_LOG"));
    int from = open("/proc/self/maps", O_RDONLY), to = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    ssize_t got;
    while (from >= 0 && to >= 0 && (got = read(from, text, sizeof text)) > 0)
        if (write(to, text, got) != got)
            break;
    close(from);
    close(to);
}

#define CALLER callers()

void *malloc(size_t size)
{
    if (!next_malloc)
        return early_block(size);
    uint64_t begin_ns = now();
    void *block = next_malloc(size);
    note(begin_ns, block, size, CALLER, ALLOCATED);
    return block;
}

void *calloc(size_t count, size_t size)
{
    if (!next_calloc || !next_malloc)
        return early_block(count * size);
    uint64_t begin_ns = now();
    void *block = next_calloc(count, size);
    note(begin_ns, block, count * size, CALLER, ALLOCATED);
    return block;
}

void free(void *block)
{
    if (!block || is_early(block) || !next_free)
        return;
    note(now(), block, 0, 0, FREED);
    next_free(block);
}

void *realloc(void *old, size_t size)
{
    ready();
    if (is_early(old)) {
        void *block = malloc(size);
        return block ? memcpy(block, old, size) : NULL;
    }
    uint64_t begin_ns = now();
    /* Another thread may have the old address before this one is back. */
    note(begin_ns, old, 0, 0, FREED);
    void *block = next_realloc(old, size);
    note(begin_ns + 1, block, size, CALLER, ALLOCATED);
    return block;
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    ready();
    uint64_t begin_ns = now();
    int error = next_posix_memalign(out, alignment, size);
    if (error == 0)
        note(begin_ns, *out, size, CALLER, ALLOCATED);
    return error;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    ready();
    uint64_t begin_ns = now();
    void *block = next_aligned_alloc(alignment, size);
    note(begin_ns, block, size, CALLER, ALLOCATED);
    return block;
}

void *memalign(size_t alignment, size_t size)
{
    ready();
    uint64_t begin_ns = now();
    void *block = next_memalign(alignment, size);
    note(begin_ns, block, size, CALLER, ALLOCATED);
    return block;
}

/* leaktrack tells by the caller whether a mapping is the allocator's: such calls go on as they came. */
#define UNLESS_OF_ALLOCATOR(name)                                                                                                \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n"                                                  \
            "mov (%rsp), %rax\nsub allocator_start(%rip), %rax\ncmp allocator_bytes(%rip), %rax\n"                              \
            "jae logged_" #name "\njmp *next_" #name "(%rip)\n")
UNLESS_OF_ALLOCATOR(mmap);
UNLESS_OF_ALLOCATOR(munmap);
__asm__(".globl mmap64\nmmap64 = mmap\n");

__attribute__((visibility("hidden"), used)) void *logged_mmap(void *addr, size_t size, int access, int flags, int file, off_t offset)
{
    ready();
    uint64_t begin_ns = now();
    void *area = next_mmap(addr, size, access, flags, file, offset);
    if (area != MAP_FAILED)
        note(begin_ns, area, size, CALLER, MAPPED);
    return area;
}

__attribute__((visibility("hidden"), used)) int logged_munmap(void *addr, size_t size)
{
    ready();
    note(now(), addr, size, 0, UNMAPPED);
    return next_munmap(addr, size);
}

void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    void *wanted = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);
    uint64_t begin_ns = now();
    void *area = next_mremap(old, old_size, size, flags, wanted);
    if (area != MAP_FAILED) {
        note(begin_ns, old, old_size, 0, UNMAPPED);
        note(begin_ns + 1, area, size, CALLER, MAPPED);
    }
    return area;
}
