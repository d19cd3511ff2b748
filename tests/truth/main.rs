//! Ground truth: the numbers of a recording are those of valgrind, in total and stack by stack.

mod apimisuse;
mod compare;
mod mechanisms;
mod programs;
mod shapes;
