//! Exports of the mapping calls.

use core::arch::naked_asm;

use leaktrack_engine::hooks::map as imp;

use crate::hook;

/// Declares an export with so many arguments that stack and frame pointer go on the stack, as the
/// seventh and eighth.
macro_rules! hook_six {
    ($name:ident) => {
        /// Records after the real call.
        ///
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "lea rax, [rsp]",
                "sub rsp, 8", // alignment at the call
                ".cfi_adjust_cfa_offset 8",
                "push rbp",
                ".cfi_adjust_cfa_offset 8",
                "push rax",
                ".cfi_adjust_cfa_offset 8",
                "call {imp}",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                imp = sym imp::mmap,
            )
        }
    };
}

hook_six!(mmap);
hook_six!(mmap64);

hook!(/** Forgets before the real call. */ munmap => imp::munmap, "rdx", "rcx");

/// Forgets before the real call, records after it.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn mremap() {
    naked_asm!(
        ".cfi_startproc",
        "mov r9, rsp",
        "sub rsp, 16", // alignment at the call
        ".cfi_adjust_cfa_offset 16",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        "call {imp}",
        "add rsp, 24",
        ".cfi_adjust_cfa_offset -24",
        "ret",
        ".cfi_endproc",
        imp = sym imp::mremap,
    )
}

hook!(/** Accounted as a total. */ sbrk => imp::sbrk, "rsi", "rdx");
hook!(/** Accounted as a total. */ brk => imp::brk, "rsi", "rdx");
