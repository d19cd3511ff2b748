/* One mechanism per mode: where the only pointer to a 1000-odd-byte block lives
 * when the process exits.  `truth` = would a programmer call it a leak?
 *   cc -g -O0 -pthread mechanisms.c -ldl -o mechanisms
 *   cc -g -O0 -fPIC -shared -DLIB mechanisms.c -o libmech.so   (same directory)
 * usage: mechanisms MODE [N]; no argument lists "mode truth" lines.
 * build: -O0 -pthread -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#ifdef LIB
static void *lib_global;
static __thread void *lib_tls;
void lib_set(void *p) { lib_global = p; }
void lib_set_tls(void *p) { lib_tls = p; }
#else
#define SZ 1009
#define NI __attribute__((noinline))
static void *g, *g2[8];
static __thread void *tls;
static char odd[32];
static int N = 1;
static pthread_key_t keys[64];

/* allocate behind a noinline call and scrub the registers/stack it used */
NI static void *mk(size_t n) { void *p = malloc(n); memset(p, 0x11, n); return p; }
NI static void scrub(void) { volatile char junk[16384]; memset((void *)junk, 0, sizeof junk); __asm__ volatile("xor %%eax,%%eax\n xor %%ecx,%%ecx\n xor %%edx,%%edx\n xor %%esi,%%esi\n xor %%edi,%%edi\n xor %%r8d,%%r8d\n xor %%r9d,%%r9d\n xor %%r10d,%%r10d\n xor %%r11d,%%r11d" ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory"); }

NI static void m_lost(void) { for (int i = 0; i < N; i++) mk(SZ); }
NI static void m_global(void) { g = mk(SZ); }
NI static void m_interior(void) { g = (char *)mk(SZ) + 8; }
NI static void m_interior_mid(void) { g = (char *)mk(SZ) + 500; }
NI static void m_end(void) { char *p = mk(1008); g = p + 1008; }
NI static void m_length64(void) { uint64_t *p = mk(1008); p[0] = 1000; g = p + 1; }
NI static void m_newarray(void) { uint64_t *p = mk(8 + 10 * 16); p[0] = 10; g = p + 1; }
NI static void m_pygc(void) { char *p = mk(SZ); g = p + 16; }
NI static void m_xor(void) { g = (void *)((uintptr_t)mk(SZ) ^ 0x5555555555555555ull); }
NI static void m_tag_low(void) { g = (void *)((uintptr_t)mk(SZ) | 1); }
NI static void m_tag_high(void) { g = (void *)((uintptr_t)mk(SZ) | 0xabcdull << 48); }
NI static void m_unaligned(void) { void *p = mk(SZ); memcpy(odd + 3, &p, 8); }
NI static void m_split32(void) { uintptr_t p = (uintptr_t)mk(SZ); g2[0] = (void *)(p & 0xffffffff); g2[1] = (void *)(p >> 32); }
NI static void m_freed_holder(void) { void **h = malloc(256); h[8] = mk(SZ); g = h; free(h); }
NI static void m_cycle(void) { void **a = mk(SZ), **b = mk(SZ); a[0] = b; b[0] = a; }
NI static void m_tree(void) { void **a = mk(SZ); for (int i = 0; i < 4; i++) a[i] = mk(SZ); }
NI static void m_self(void) { void **a = mk(SZ); a[0] = a; }
NI static void m_zero(void) { if (!malloc(0)) abort(); }
NI static void m_realloc(void) { void *p = mk(10); p = realloc(p, SZ); if (!p) abort(); }
NI static void m_memalign(void) { void *p; if (posix_memalign(&p, 256, SZ)) abort(); if (!aligned_alloc(64, 1024)) abort(); }
NI static void m_tls(void) { tls = mk(SZ); }
NI static void m_tsd(void) { for (int i = 0; i < 2; i++) pthread_key_create(&keys[i], NULL); pthread_setspecific(keys[1], mk(SZ)); }
NI static void m_tsd_many(void) { for (int i = 0; i < 60; i++) pthread_key_create(&keys[i], NULL); pthread_setspecific(keys[55], mk(SZ)); }
NI static void m_mmap(void) { void **m = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); m[5] = mk(SZ); }
NI static void m_mmap_shared(void) { void **m = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0); m[5] = mk(SZ); }
NI static void m_mmap_ro(void) { void **m = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); m[5] = mk(SZ); mprotect(m, 4096, PROT_READ); }
NI static void m_mmap_none(void) { void **m = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); m[5] = mk(SZ); mprotect(m, 4096, PROT_NONE); }
NI static void m_big(void) { mk(8 << 20); }
NI static void m_big_holder(void) { void **b = mk(8 << 20); g = b; b[100000] = mk(SZ); }
NI static void m_dead_frame2(void) { void *volatile p = mk(SZ); (void)p; }
NI static void m_dead_frame(void) { m_dead_frame2(); }
NI static void *fill(void **slot) { *slot = mk(SZ); return 0; }
static void *park(void *a);
static volatile int ready;
NI static void m_thread_stack(void) { pthread_t t; pthread_create(&t, 0, park, (void *)1); while (!ready) usleep(1000); }
NI static void m_thread_tls(void) { pthread_t t; pthread_create(&t, 0, park, (void *)2); while (!ready) usleep(1000); }
NI static void m_thread_reg(void) { pthread_t t; pthread_create(&t, 0, park, (void *)3); while (!ready) usleep(1000); }
static void *exited(void *a) { if (a) tls = mk(SZ); else { void *volatile p = mk(SZ); (void)p; } return 0; }
NI static void m_exited_tls(void) { pthread_t t; pthread_create(&t, 0, exited, (void *)1); pthread_join(t, 0); usleep(20000); }
NI static void m_exited_stack(void) { pthread_t t; pthread_create(&t, 0, exited, (void *)0); pthread_join(t, 0); usleep(20000); }
NI static void m_unjoined(void) { pthread_t t; pthread_create(&t, 0, exited, (void *)0); usleep(50000); }
static void *park(void *a) {
    void *volatile onstack = 0;
    if (a == (void *)1) { onstack = mk(SZ); }
    if (a == (void *)2) { tls = mk(SZ); }
    if (a == (void *)3) { register void *r __asm__("r12") = mk(SZ); scrub(); ready = 1; __asm__ volatile("1: pause; jmp 1b" : : "r"(r)); }
    scrub(); ready = 1;
    for (;;) pause();
    return (void *)onstack;
}
static ucontext_t uc_main, uc_co;
static void co(void) { void *volatile p = mk(SZ); scrub(); swapcontext(&uc_co, &uc_main); free((void *)p); }
NI static void m_coro(void) { getcontext(&uc_co); uc_co.uc_stack.ss_sp = mmap(0, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); uc_co.uc_stack.ss_size = 65536; uc_co.uc_link = &uc_main; makecontext(&uc_co, co, 0); swapcontext(&uc_main, &uc_co); }
NI static void dl(const char *f, int close) {
    char path[4096]; ssize_t k = readlink("/proc/self/exe", path, 4000); path[k] = 0; strcpy(strrchr(path, '/'), "/libmech.so");
    void *h = dlopen(path, RTLD_NOW); if (!h) { puts(dlerror()); exit(3); }
    ((void (*)(void *))dlsym(h, f))(mk(SZ)); if (close) dlclose(h);
}
NI static void m_dlopen_global(void) { dl("lib_set", 0); }
NI static void m_dlopen_tls(void) { dl("lib_set_tls", 0); }
NI static void m_dlclosed_global(void) { dl("lib_set", 1); }
NI static void freeg(void) { free(g); }
NI static void m_atexit_free(void) { g = mk(SZ); atexit(freeg); }
struct node { struct node *next; char pad[90]; }; static struct node *head;
NI static void m_growth(void) { for (int i = 0; i < N * 100; i++) { struct node *n = malloc(sizeof *n); n->next = head; head = n; } }
NI static void m_cache_bounded(void) { for (int i = 0; i < N * 1000; i++) { free(g2[i & 7]); g2[i & 7] = mk(SZ); } }
static const struct { const char *n, *truth; void (*f)(void); } T[] = {
 {"lost","leak",m_lost},{"tree","leak",m_tree},{"cycle","leak",m_cycle},{"self","leak",m_self},{"zero","leak",m_zero},{"realloc","leak",m_realloc},{"memalign","leak",m_memalign},{"big","leak",m_big},
 {"dead_frame","leak",m_dead_frame},{"freed_holder","leak",m_freed_holder},{"exited_tls","leak",m_exited_tls},{"exited_stack","leak",m_exited_stack},{"unjoined","leak",m_unjoined},{"dlclosed_global","leak",m_dlclosed_global},
 {"growth","growth",m_growth},{"cache_bounded","live",m_cache_bounded},{"atexit_free","live",m_atexit_free},
 {"global","live",m_global},{"interior","live",m_interior},{"interior_mid","live",m_interior_mid},{"end","live?",m_end},{"length64","live",m_length64},{"newarray","live",m_newarray},{"pygc","live",m_pygc},
 {"xor","live",m_xor},{"tag_low","live",m_tag_low},{"tag_high","live",m_tag_high},{"unaligned","live",m_unaligned},{"split32","live",m_split32},
 {"tls","live",m_tls},{"tsd","live",m_tsd},{"tsd_many","live",m_tsd_many},{"thread_stack","live",m_thread_stack},{"thread_tls","live",m_thread_tls},{"thread_reg","live",m_thread_reg},{"coro","live",m_coro},
 {"mmap","live",m_mmap},{"mmap_shared","live",m_mmap_shared},{"mmap_ro","live",m_mmap_ro},{"mmap_none","live",m_mmap_none},{"big_holder","live",m_big_holder},{"dlopen_global","live",m_dlopen_global},{"dlopen_tls","live",m_dlopen_tls},
};
int main(int c, char **v) {
    void *volatile stale[64]; memset((void *)stale, 0, sizeof stale);
    if (c > 2) N = atoi(v[2]);
    if (c > 1 && !strcmp(v[1], "stack_main")) { fill((void **)&stale[7]); scrub(); exit(0); }        /* live: main's frame, exit() inside */
    if (c > 1 && !strcmp(v[1], "stack_main_return")) { fill((void **)&stale[7]); scrub(); return 0; } /* leak: main returned */
    for (size_t i = 0; i < sizeof T / sizeof *T; i++)
        if (c > 1 && !strcmp(T[i].n, v[1])) { T[i].f(); scrub(); exit(0); }
    if (c < 2) { for (size_t i = 0; i < sizeof T / sizeof *T; i++) printf("%s\t%s\n", T[i].n, T[i].truth); printf("stack_main\tlive\nstack_main_return\tleak\n"); }
    return c > 1 ? 2 : 0;
}
#endif
