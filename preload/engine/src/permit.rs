//! Owns what a sandbox still lets the library do. Whoever learns that a call kills or is refused
//! (`confine`) says so here; whoever makes such calls asks first.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

static NO_OPEN: AtomicBool = AtomicBool::new(false);
static NO_COPY: AtomicBool = AtomicBool::new(false);

/// May files be opened?
pub fn open() -> bool {
    !NO_OPEN.load(Relaxed)
}

/// Sets [`open`].
pub fn set_open(allowed: bool) {
    NO_OPEN.store(!allowed, Relaxed);
}

/// May `process_vm_readv` and `process_vm_writev` be called?
pub fn copy_memory() -> bool {
    !NO_COPY.load(Relaxed)
}

/// Sets [`copy_memory`].
pub fn set_copy_memory(allowed: bool) {
    NO_COPY.store(!allowed, Relaxed);
}
