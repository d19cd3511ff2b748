/* Trap 38: stacks whose end no unwinder can know.
 * A hand-written switch runs code on a stack that ends at the end of a mapping, with a frame pointer of garbage and no
 * return address of zero; then the stack's mapping is cut right above. Walking by frame pointers, or past the end, reads
 * an unmapped page. Kept: keep_switched 200 x 48; the frames beyond the switch may be missing, the block may not. */
#include <sys/mman.h>
#include "keep.h"
KEEPER(keep_switched)
CHURNER(churn)
NOIPA static void on_other_stack(void) {
    keep_switched(48);
    churn();
}
__asm__(".text\n.type switch_to,@function\nswitch_to:\n" /* rdi = stack top, rsi = function */
        "push %rbp\npush %rbx\n"
        "mov %rsp, %rbx\n"
        "mov %rdi, %rsp\n"
        "mov $0x4242424242424240, %rbp\n"
        "call *%rsi\n"
        "mov %rbx, %rsp\n"
        "pop %rbx\npop %rbp\nret\n.size switch_to,.-switch_to\n");
void switch_to(void *top, void (*function)(void));
int main(void) {
    for (int i = 0; i < 200; i++) {
        size_t bytes = 65536;
        char *stack = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(stack != MAP_FAILED);
        CHECK(munmap(stack + bytes, 4096) == 0);
        /* Every second stack is full of words that look like addresses of code. */
        if (i % 2)
            for (size_t k = 0; k < bytes / sizeof(void *); k++) ((void **)stack)[k] = (char *)main + k % 64;
        switch_to(stack + bytes, on_other_stack);
        CHECK(munmap(stack, bytes) == 0);
    }
    puts("ok");
    return 0;
}
