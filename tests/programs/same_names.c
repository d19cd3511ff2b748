/* Trap 47: the program has functions of every name that a careless library would import or export.
 * They end the program when anyone else calls them: a preload that imports them, or that exports its inner names, is
 * caught. (Copying and comparing functions are left alone: compilers call them on their own.) Kept: keep_main 5 x 60.
 * build: -rdynamic -fno-builtin */
#include <stddef.h>
void *malloc(size_t);
long write(int, const void *, size_t);
void _exit(int) __attribute__((noreturn));
#define TRAP(name)                                      \
    int name(void) {                                    \
        write(1, "called " #name "\n", sizeof "called " #name); \
        _exit(97);                                      \
    }
TRAP(_Unwind_Backtrace) TRAP(_Unwind_GetIP) TRAP(_Unwind_Find_FDE) TRAP(_Unwind_Resume) TRAP(backtrace)
TRAP(unw_backtrace) TRAP(unw_step) TRAP(unw_init_local) TRAP(dladdr) TRAP(dlsym) TRAP(dlopen) TRAP(_dl_find_object)
TRAP(pthread_create) TRAP(pthread_mutex_lock) TRAP(pthread_getattr_np) TRAP(pthread_atfork) TRAP(pthread_key_create)
TRAP(clock_gettime) TRAP(gettimeofday) TRAP(getpid) TRAP(gettid) TRAP(open) TRAP(open64) TRAP(openat) TRAP(ftruncate)
TRAP(fallocate) TRAP(posix_fallocate) TRAP(fopen) TRAP(getenv) TRAP(secure_getenv) TRAP(sysconf) TRAP(getauxval)
TRAP(strcmp) TRAP(strchr) TRAP(qsort) TRAP(snprintf) TRAP(abort) TRAP(syscall_)
TRAP(recorder) TRAP(arena_alloc) TRAP(rust_eh_personality) TRAP(rust_begin_unwind) TRAP(__rust_alloc) TRAP(mi_malloc)
TRAP(process_vm_readv) TRAP(process_vm_writev) TRAP(tgkill) TRAP(sched_yield) TRAP(nanosleep) TRAP(usleep)
void *volatile kept[5];
__attribute__((noipa)) void keep_main(int i) { kept[i] = malloc(60); }
int main(void) {
    for (int i = 0; i < 5; i++) keep_main(i);
    for (volatile int i = 0; i < 100000000; i++) {
    }
    write(1, "ok\n", 3);
    return 0;
}
