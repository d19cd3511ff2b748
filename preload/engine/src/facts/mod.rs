//! Owns what the kernel says of this process: faults, residency, threads, limits, arguments.
//!
//! Never keeps a descriptor, never allocates; a file that cannot be read is an unknown, not an
//! error.

pub mod args;
pub mod auxv;
pub mod env;
pub mod family;
pub mod limit;
pub mod lines;
pub mod mask;
pub mod process;
pub mod sets;
pub mod system;
pub mod tasks;
pub mod threads;
