// Probes while an exception is on its way.
#include <stdexcept>

typedef void (*probe_fn)();
static probe_fn current;

struct Witness {
  ~Witness() { current(); }
};

__attribute__((noinline)) static void thrower(long n) {
  Witness witness;
  if (n == 0) throw std::runtime_error("on its way");
  thrower(n - 1);
  asm volatile("" ::: "memory");
}

__attribute__((noinline)) static void rethrower(long n) {
  try {
    thrower(n);
  } catch (const std::exception &) {
    current();
    Witness witness;
    try {
      thrower(3);
    } catch (...) {
      current();
    }
    throw;
  }
}

extern "C" void exceptions(probe_fn probe, long n) {
  current = probe;
  try {
    rethrower(n);
  } catch (const std::runtime_error &) {
    current();
  }
}
