//! The entries at the end of the process: they touch no register before it is kept.

use core::arch::naked_asm;
use core::ffi::c_void;

use crate::scan::with_registers;

/// `exit`: the first handler to be registered and so the last to run, after all destructors.
#[unsafe(naked)]
pub extern "C" fn at_exit(_argument: *mut c_void, _status: i32) {
    naked_asm!(
        "lea rdx, [rip + {then}]",
        "jmp {with_registers}",
        then = sym super::at_exit_with,
        with_registers = sym with_registers,
    )
}

/// Declares what an exported function of the kin of `_exit` jumps to.
macro_rules! fast_exit {
    ($($name:ident => $then:ident;)*) => { $(
        /// Takes the final snapshot, then ends the process.
        ///
        /// # Safety
        /// As the C function that jumps here.
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name(_status: i32) -> ! {
            naked_asm!(
                "mov esi, edi",
                "xor edi, edi",
                "lea rdx, [rip + {then}]",
                "jmp {with_registers}",
                then = sym super::$then,
                with_registers = sym with_registers,
            )
        }
    )* };
}

fast_exit! {
    exit_now => exit_now_with;
    exit_now_c99 => exit_now_c99_with;
    quick_exit => quick_exit_with;
}
