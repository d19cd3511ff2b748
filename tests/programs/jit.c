/* Trap 38, 45: code that no file describes.
 * Machine code in anonymous memory, with and without a frame pointer, calls malloc from ever new addresses. Unwinding must
 * not crash there, and addresses without end must fold: they are one [jit] to the report.
 * usage: jit ROUNDS; kept: keep_jit 100 x 72. */
#include <sys/mman.h>
#include "keep.h"
KEEPER(keep_jit)
CHURNER(churn)
static const unsigned char with_frame[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};             /* push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
static const unsigned char without_frame[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3}; /* sub rsp,8; call rdi; add rsp,8; ret */
static void keep_one(void) { keep_jit(72); }
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    size_t bytes = 4 << 20;
    unsigned char *code = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    size_t at = 0;
    for (int i = 0; i < rounds; i++) {
        if (mprotect(code, bytes, PROT_READ | PROT_WRITE)) break;
        if (at + 64 * 32 > bytes) at = 0;
        size_t first = at;
        for (int k = 0; k < 64; k++, at += 32)
            memcpy(code + at, k % 2 ? with_frame : without_frame, k % 2 ? sizeof with_frame : sizeof without_frame);
        CHECK(mprotect(code, bytes, PROT_READ | PROT_EXEC) == 0);
        for (int k = 0; k < 64; k++) ((void (*)(void (*)(void)))(code + first + 32 * k))(churn);
        if (i < 100) ((void (*)(void (*)(void)))(code + first + 32 * (i % 2)))(keep_one);
    }
    CHECK(munmap(code, bytes) == 0);
    puts("ok");
    return 0;
}
