//! Owns the choice of how to start fetching a cache line.
//! It must never read the memory: the address may be unmapped.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

pub(super) use arch::line;
