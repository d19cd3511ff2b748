/* Copy-on-write after fork: a child that writes to what its parent filled copies it, page by page; what is
 * shared from the start is not copied, and what is only read costs nothing.
 *
 * build:  cc -g -O1 -o copy_on_write copy_on_write.c
 * run:    leaktrack run --report -- ./copy_on_write
 *
 * What leaktrack must report of the family:
 *   copied      64 MiB by the parent, all of it written by the child: 16,384 minor faults in the child,
 *               touched there by write_all; the advice says that pages shared since the fork are copied.
 *               In proportional memory (PSS): 128 MiB, twice the 64
 *   shared      64 MiB of shared memory, written by both, in PSS once: 64 MiB
 *   only_read   64 MiB by the parent, read by the child: no fault in the child that matters; in PSS once
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "pages.h"

static const size_t BYTES = 64ul << 20;

static char *filled(char *area)
{
    return memset(of_small_pages(area, BYTES), 1, BYTES);
}

__attribute__((noinline)) static char *copied(void)
{
    return filled(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *shared(void)
{
    return filled(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *only_read(void)
{
    return filled(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static void write_all(volatile char *area)
{
    for (size_t at = 0; at < BYTES; at += PAGE)
        area[at] = 2;
}

__attribute__((noinline)) static unsigned read_all(const volatile char *area)
{
    unsigned sum = 0;
    for (size_t at = 0; at < BYTES; at += PAGE)
        sum += area[at];
    return sum;
}

static void wait_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

int main(void)
{
    settle();
    char *a = copied(), *b = shared(), *c = only_read();
    pid_t child = fork();
    if (child == 0) {
        char *own = malloc(100); /* the first allocation is what makes the child a recorded one */
        wait_ms(300); /* and after the child does */
        write_all(a);
        write_all(b);
        unsigned sum = read_all(c);
        wait_ms(1500); /* both are looked at while both live */
        return own == NULL || sum == 0;
    }
    wait_ms(1300);
    int status = 1;
    waitpid(child, &status, 0);
    return status != 0;
}
