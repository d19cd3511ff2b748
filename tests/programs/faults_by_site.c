/* Touches known numbers of pages of known sites, and nothing else of size.
 * usage: faults_by_site [fork|read]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

__attribute__((noinline)) static char *map_area(size_t pages)
{
    char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, pages * PAGE, MADV_NOHUGEPAGE);
    return area;
}

__attribute__((noinline)) static char *large_block(size_t pages)
{
    char *block = malloc(pages * PAGE);
    madvise((char *)(((size_t)block + PAGE - 1) & ~(size_t)(PAGE - 1)), (pages - 1) * PAGE, MADV_NOHUGEPAGE);
    return block;
}

__attribute__((noinline)) static void *small_block(void)
{
    return malloc(1000);
}

__attribute__((noinline)) static void touch(char *area, size_t pages)
{
    for (size_t page = 0; page < pages; page++)
        area[page * PAGE] = 1;
}

__attribute__((noinline)) static void churn(int times)
{
    for (int i = 0; i < times; i++) {
        char *area = mmap(NULL, 200 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            exit(1);
        madvise(area, 200 * PAGE, MADV_NOHUGEPAGE);
        touch(area, 200);
        munmap(area, 200 * PAGE);
    }
}

/* Freed as soon as it is touched, its pages given back to the kernel before, so that each one faults anew. */
__attribute__((noinline)) static void short_blocks(int times)
{
    for (int i = 0; i < times; i++) {
        char *block = malloc(6 * PAGE);
        char *inner = (char *)(((size_t)block + PAGE - 1) & ~(size_t)(PAGE - 1));
        madvise(inner, 5 * PAGE, MADV_DONTNEED);
        touch(inner, 5);
        free(block);
    }
}

__attribute__((noinline)) static char *read_area(size_t pages)
{
    char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, pages * PAGE, MADV_NOHUGEPAGE);
    return area;
}

int main(int argc, char **argv)
{
    /* Attribution begins some milliseconds after the process does. */
    struct timespec pause = {0, 300 * 1000 * 1000};
    nanosleep(&pause, NULL);
    touch(map_area(20000), 20000);
    touch(large_block(8000), 8000);
    for (int i = 0; i < 40000; i++)
        memset(small_block(), 1, 1000);
    churn(50);
    short_blocks(2000);
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        pid_t child = fork();
        if (child == 0) {
            touch(map_area(9000), 9000);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    if (argc > 1 && strcmp(argv[1], "read") == 0) {
        /* The kernel touches this memory, for the program. */
        int zeros = open("/dev/zero", O_RDONLY);
        if (read(zeros, read_area(3000), 3000 * PAGE) != 3000 * PAGE)
            return 3;
        close(zeros);
    }
    puts("done");
    return 0;
}
