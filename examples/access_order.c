/* Reading files through a mapping: in order, the kernel reads ahead; at random, page after page waits for
 * the disk, unless all of it was brought in before.
 *
 * build:  cc -g -O1 -o access_order access_order.c
 * run:    leaktrack run -- ./access_order [FOLDER]        (.)
 * FOLDER must be on a disk: files of a tmpfs are in memory already.
 *
 * What leaktrack must report (faults by site; where perf is refused, their sum alone):
 *   map_in_order   64 MiB read from end to end: fewer than 600 major faults for 16,384 pages
 *   map_at_random  3,000 reads in no order, on about 2,740 of 16,384 pages, with MADV_RANDOM, so that a disk
 *                  with much read-ahead does not hide it: a major fault for each page, which is the
 *                  diagnosis; the advice names MAP_POPULATE and MADV_POPULATE_READ
 *   map_ahead      the same reads after MADV_POPULATE_READ (Linux 5.14), which reads all of it in order: no
 *                  fault with an address. MADV_WILLNEED would not do: it stops after one read-ahead
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "pages.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum { PAGES = 16384, READ = 3000 };

static int fresh_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/access_order.%s.%d", folder, name, (int)getpid());
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0) {
        perror(path);
        exit(1);
    }
    unlink(path);
    static char part[64 * PAGE];
    memset(part, 'x', sizeof part);
    for (int i = 0; i < PAGES / 64; i++)
        if (write(file, part, sizeof part) != sizeof part) {
            perror(path);
            exit(1);
        }
    /* Out of the page cache again. */
    fsync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    return file;
}

static char *checked(char *area)
{
    if (area == MAP_FAILED)
        exit(1);
    return area;
}

__attribute__((noinline)) static char *map_in_order(int file)
{
    return checked(mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0));
}

__attribute__((noinline)) static char *map_at_random(int file)
{
    return checked(mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0));
}

__attribute__((noinline)) static char *map_ahead(int file)
{
    return checked(mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0));
}

__attribute__((noinline)) static unsigned read_in_order(const char *area)
{
    unsigned sum = 0;
    for (int page = 0; page < PAGES; page++)
        sum += area[(size_t)page * PAGE];
    return sum;
}

__attribute__((noinline)) static unsigned read_at_random(const char *area)
{
    unsigned sum = 0, page = 1;
    for (int i = 0; i < READ; i++) {
        page = (page * 1664525u + 1013904223u);
        sum += area[(size_t)(page >> 8) % PAGES * PAGE];
    }
    return sum;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    int files[] = {fresh_file(folder, "order"), fresh_file(folder, "random"), fresh_file(folder, "ahead")};
    settle();
    unsigned sum = read_in_order(map_in_order(files[0]));
    char *random = map_at_random(files[1]);
    madvise(random, (size_t)PAGES * PAGE, MADV_RANDOM);
    sum += read_at_random(random);
    char *ahead = map_ahead(files[2]);
    if (madvise(ahead, (size_t)PAGES * PAGE, MADV_POPULATE_READ))
        perror("MADV_POPULATE_READ");
    sum += read_at_random(ahead);
    printf("%u\n", sum);
    return 0;
}
