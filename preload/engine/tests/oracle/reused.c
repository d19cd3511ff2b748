// The same instructions at the same addresses, with a frame of another size.
typedef void (*probe_fn)(void);
__attribute__((noinline)) long frame(probe_fn probe, long n) {
  volatile char buffer[FRAME];
  buffer[n] = 1;
  probe();
  return buffer[n];
}
