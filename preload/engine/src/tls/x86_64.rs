//! The thread-local block of this library by the initial-exec model: three instructions, no call.
//!
//! `thread_local!` in a shared library compiles to `__tls_get_addr`, which may allocate and take
//! the loader's lock; a hook of malloc must not call it. A symbol in `.tbss` whose offset from the
//! thread pointer the loader stores in the GOT needs neither.

use core::arch::{asm, global_asm};

use super::Local;

global_asm!(
    ".pushsection .tbss.leaktrack_local,\"awT\",@nobits",
    ".globl leaktrack_local",
    ".hidden leaktrack_local",
    ".type leaktrack_local,@object",
    ".size leaktrack_local,{size}",
    ".balign 16",
    "leaktrack_local:",
    ".zero {size}",
    ".popsection",
    size = const size_of::<Local>(),
);

/// The calling thread's block.
#[inline(always)]
pub fn local() -> *mut Local {
    let p: *mut Local;
    // SAFETY: the ABI keeps the thread pointer at fs:0 and the loader the block's offset from it
    // in the GOT; both are constant during the thread's life.
    unsafe {
        asm!(
            "mov {0}, qword ptr fs:[0]",
            "add {0}, qword ptr [rip + leaktrack_local@GOTTPOFF]",
            out(reg) p,
            options(pure, readonly, nostack)
        );
    }
    p
}
