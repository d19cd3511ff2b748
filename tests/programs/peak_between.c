/* Touches 64 MiB and gives them back, between two snapshots: only the kernel saw it. Prints what the kernel says. */
#include "keep.h"
#include <stdio.h>
#include <sys/mman.h>
#define BYTES (64UL << 20)

int main(void) {
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, 1, BYTES);
    CHECK(munmap(memory, BYTES) == 0);
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "VmHWM:", 6) == 0) fputs(line + 6, stdout);
    fclose(status);
    return 0;
}
