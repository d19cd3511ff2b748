/* Generated code at the very first byte of a mapping, with nothing readable before it: the call that a return address stands
 * behind can only be read in part. Kept: keep_at_edge 10 x 72, called by way of the generated code from by_way_of_code. */
#include <sys/mman.h>
#include "keep.h"
KEEPER(keep_at_edge)
static const unsigned char with_frame[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3}; /* push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
static void keep_one(void) { keep_at_edge(72); __asm__ volatile(""); }
NOIPA static void by_way_of_code(void *code) { ((void (*)(void (*)(void)))code)(keep_one); __asm__ volatile(""); }
int main(void) {
    unsigned char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && munmap(pages, 4096) == 0);
    unsigned char *code = pages + 4096;
    memcpy(code, with_frame, sizeof with_frame);
    CHECK(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
    for (int i = 0; i < 10; i++) by_way_of_code(code);
    puts("ok");
    return 0;
}
