// Ordinary C that makes unwinding hard. Every exported function takes the probe and a number.
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

typedef void (*probe_fn)(void);
static volatile long sink;
static void use(void *p) { __asm__ volatile("" ::"r"(p) : "memory"); }

__attribute__((noinline)) long recursion(probe_fn probe, long n) {
  if (n == 0) {
    probe();
    return 1;
  }
  return recursion(probe, n - 1) + 1;
}

__attribute__((noinline)) void with_alloca(probe_fn probe, long n) {
  char *p = alloca(n);
  memset(p, 1, n);
  probe();
  char *q = alloca(2 * n);
  memset(q, 1, 2 * n);
  probe();
  use(p), use(q);
}

__attribute__((noinline)) void with_vla(probe_fn probe, long n) {
  for (long i = n; i < n + 3; i++) {
    char a[i];
    memset(a, 1, i);
    probe();
    use(a);
  }
}

__attribute__((noinline)) long realigned(probe_fn probe, long n) {
  __attribute__((aligned(64))) char buffer[192];
  memset(buffer, (int)n, sizeof buffer);
  use(buffer);
  probe();
  long below = n ? realigned(probe, n - 1) : 0;
  return below + buffer[n];
}

__attribute__((noinline)) long realigned_with_alloca(probe_fn probe, long n) {
  __attribute__((aligned(32))) char buffer[64];
  char *p = alloca(n);
  memset(buffer, 1, sizeof buffer);
  memset(p, 1, n);
  use(buffer), use(p);
  probe();
  realigned(probe, 2);
  return buffer[1];
}

__attribute__((noinline)) static long many(long a, long b, long c, long d, long e, long f, probe_fn probe, long n) {
  __attribute__((aligned(64))) char buffer[128];
  char *p = alloca(n);
  memset(buffer, (int)(a + b + c + d + e + f), sizeof buffer);
  memset(p, 1, n);
  use(buffer), use(p);
  probe();
  return buffer[2] + p[1] + n;
}

__attribute__((noinline)) void realigned_with_arguments_on_the_stack(probe_fn probe, long n) {
  sink = many(1, 2, 3, 4, 5, 6, probe, n);
}

__attribute__((noinline)) long large_frame(probe_fn probe, long n) {
  volatile char buffer[200 << 10];
  buffer[n] = (char)n;
  probe();
  long below = n ? large_frame(probe, n - 1) : 0;
  return below + buffer[n];
}

static _Thread_local probe_fn current;
static int compare(const void *a, const void *b) {
  current();
  return *(const int *)a - *(const int *)b;
}

void through_qsort(probe_fn probe, long n) {
  int values[100];
  for (int i = 0; i < n; i++) values[i] = (i * 7919) % 101;
  current = probe;
  qsort(values, n, sizeof *values, compare);
}

void through_bsearch(probe_fn probe, long n) {
  int values[100], key = 5;
  for (int i = 0; i < n; i++) values[i] = i;
  current = probe;
  use(bsearch(&key, values, n, sizeof *values, compare));
}

static jmp_buf back;
__attribute__((noreturn, noinline)) static void leave(probe_fn probe) {
  probe();
  longjmp(back, 1);
}
__attribute__((noinline)) static void last_call(probe_fn probe, long n) {
  volatile char pad[64];
  pad[n] = 1;
  leave(probe);
}
void never_returns(probe_fn probe, long n) {
  if (setjmp(back) == 0) last_call(probe, n);
  sink = n;
}

__attribute__((noinline)) static void second(probe_fn probe) { probe(); }
__attribute__((noinline)) static void first(probe_fn probe) { second(probe); }
__attribute__((noinline)) void tail_call(probe_fn probe, long n) {
  first(probe);
  if (n) tail_call(probe, n - 1);
}

__attribute__((noinline)) static void jump(probe_fn probe, long n) {
  if (n) {
    jump(probe, n - 1);
    sink = n;
  } else {
    longjmp(back, 1);
  }
}
void after_longjmp(probe_fn probe, long n) {
  probe();
  for (volatile int round = 0; round < 2; round++) {
    if (setjmp(back) == 0) jump(probe, n);
    probe();
  }
}

static void on_signal(int signal) {
  (void)signal;
  current();
}
static void on_signal_nested(int signal) {
  current();
  if (signal == SIGUSR1) raise(SIGUSR2);
  current();
}
static void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, 0);
}
static void *alternate;
static void use_alternate_stack(long yes) {
  if (!yes) return;
  stack_t stack = {.ss_size = 64 << 10};
  stack.ss_sp = alternate = mmap(0, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  sigaltstack(&stack, 0);
}
static void drop_alternate_stack(long yes) {
  if (!yes) return;
  stack_t off = {.ss_flags = SS_DISABLE};
  sigaltstack(&off, 0);
  munmap(alternate, 64 << 10);
}

void in_signal_handler(probe_fn probe, long alternate) {
  current = probe;
  use_alternate_stack(alternate);
  handle(SIGUSR1, on_signal, alternate ? SA_ONSTACK : 0);
  raise(SIGUSR1);
  probe();
  drop_alternate_stack(alternate);
}

void in_nested_signal_handlers(probe_fn probe, long alternate) {
  current = probe;
  use_alternate_stack(alternate);
  handle(SIGUSR1, on_signal_nested, alternate ? SA_ONSTACK : 0);
  handle(SIGUSR2, on_signal_nested, 0);
  raise(SIGUSR1);
  drop_alternate_stack(alternate);
}

// Needs its own registers: the function is interrupted where only they say where its frame is.
static sigjmp_buf resume;
static void on_fault(int signal) {
  (void)signal;
  current();
  siglongjmp(resume, 1);
}
__attribute__((noinline)) static int faulting(volatile int *p, long n) {
  volatile char pad[32];
  pad[n & 15] = 1;
  return *p + pad[n & 15];
}
void in_handler_of_a_fault(probe_fn probe, long n) {
  current = probe;
  handle(SIGSEGV, on_fault, SA_NODEFER);
  if (sigsetjmp(resume, 1) == 0) sink = faulting((int *)16, n);
  signal(SIGSEGV, SIG_DFL);
}

// Single steps: the kernel sends SIGTRAP after each instruction while the trap flag is set.
static volatile int steps_left;
static void on_step(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  if (--steps_left <= 0) {
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
    return;
  }
  current();
}
static void steps(probe_fn probe, int count) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_step;
  action.sa_flags = SA_SIGINFO;
  current = probe;
  steps_left = count;
  sigaction(SIGTRAP, &action, 0);
}
#define STEP() __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory")

__attribute__((noinline)) static long leaf(long a, long b) {
  volatile long x[3] = {a, b, a * b};
  return x[0] + x[1] - x[2];
}
__attribute__((noinline)) static long middle(long n) {
  long a = leaf(n, 1), b = leaf(n, 2), c = leaf(a, b), d = leaf(b, c);
  if (n > 1) a += middle(n - 1);
  return a + b + c + d + leaf(c, d);
}
__attribute__((noinline)) static long variable(long n) {
  char *p = alloca(n * 16);
  use(p);
  // Not realigned: compilers describe the epilogues of such frames wrongly, and libgcc crashes.
  return leaf(n, (long)(intptr_t)p & 15);
}
static int ordinary(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
__attribute__((noinline)) void every_instruction_of_functions(probe_fn probe, long n) {
  int values[] = {3, 1, 2};
  steps(probe, 6000);
  STEP();
  sink = middle(n);
  sink = variable(n);
  qsort(values, 3, sizeof *values, ordinary);
  steps_left = 0;
}

void every_instruction_of_lazy_binding(probe_fn probe, long n) {
  steps(probe, 4000);
  STEP();
  sink = labs(n - 5) + (long)strtoul("77", 0, 10);
  steps_left = 0;
}

void every_instruction_of_the_vdso(probe_fn probe, long n) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  steps(probe, 4000);
  STEP();
  clock_gettime(CLOCK_MONOTONIC, &time);
  steps_left = 0;
  sink = n;
}

static ucontext_t outside, inside, other;
static void fiber(void) {
  current();
  recursion(current, 3);
}
static void *stack_memory(long bytes) {
  // Bounded below and above by pages that may not be touched.
  char *p = mmap(0, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(p + 4096, bytes, PROT_READ | PROT_WRITE);
  return p + 4096;
}
static void prepare(ucontext_t *context, void *stack, long bytes, void (*entry)(void), ucontext_t *next) {
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = bytes;
  context->uc_link = next;
  makecontext(context, entry, 0);
}
void in_fiber(probe_fn probe, long bytes) {
  char *stack = stack_memory(bytes);
  current = probe;
  prepare(&inside, stack, bytes, fiber, &outside);
  swapcontext(&outside, &inside);
  munmap(stack - 4096, bytes + 8192);
}
void in_fiber_on_the_heap(probe_fn probe, long bytes) {
  void *stack = malloc(bytes);
  current = probe;
  prepare(&inside, stack, bytes, fiber, &outside);
  swapcontext(&outside, &inside);
  free(stack);
}
static void ping(void) {
  current();
  swapcontext(&inside, &other);
  current();
}
static void pong(void) {
  current();
  recursion(current, 20);
  swapcontext(&other, &inside);
}
void fibers_calling_each_other(probe_fn probe, long bytes) {
  char *a = stack_memory(bytes), *b = stack_memory(bytes);
  current = probe;
  prepare(&inside, a, bytes, ping, &outside);
  prepare(&other, b, bytes, pong, &outside);
  swapcontext(&outside, &inside);
  munmap(a - 4096, bytes + 8192);
  munmap(b - 4096, bytes + 8192);
}

static void *thread(void *probe) {
  current = (probe_fn)probe;
  current();
  recursion(current, 9);
  return 0;
}
static void run_thread(probe_fn probe, pthread_attr_t *attributes) {
  pthread_t id;
  pthread_create(&id, attributes, thread, (void *)probe);
  pthread_join(id, 0);
}
void in_thread(probe_fn probe, long bytes) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (bytes) pthread_attr_setstacksize(&attributes, bytes);
  run_thread(probe, &attributes);
}
void in_thread_on_own_stack(probe_fn probe, long bytes) {
  pthread_attr_t attributes;
  char *stack = malloc(bytes);
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stack, bytes);
  run_thread(probe, &attributes);
  free(stack);
}
static int raw_thread(void *probe) {
  ((probe_fn)probe)();
  return 0;
}
void in_raw_clone(probe_fn probe, long bytes) {
  char *stack = stack_memory(bytes);
  // Without CLONE_SETTLS it borrows the thread pointer of its maker, which waits.
  int child = clone(raw_thread, stack + bytes, CLONE_VM | CLONE_VFORK, (void *)probe);
  waitpid(child, 0, __WCLONE);
  munmap(stack - 4096, bytes + 8192);
}

void in_generated_code(probe_fn probe, long n) {
  static const unsigned char code[] = {
      0x55,                    // push rbp
      0x48, 0x89, 0xe5,        // mov rbp, rsp
      0x48, 0x83, 0xec, 0x20,  // sub rsp, 32
      0xff, 0xd7,              // call rdi
      0xc9,                    // leave
      0xc3,                    // ret
  };
  void *p = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy((char *)p + 64, code, sizeof code);
  ((void (*)(probe_fn))((char *)p + 64))(probe);
  munmap(p, 4096);
  sink = n;
}
