//! What a scan must know of x86-64: registers, the red zone, and taking the registers of a thread
//! that calls in.

use core::arch::naked_asm;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use core::ffi::c_void;

use super::threads::Registers;

/// Below the stack pointer, leaf functions keep words that no other frame does.
pub const RED_ZONE_BYTES: usize = 128;
/// Registers that a function must preserve for its caller: rbx, rbp, r12 to r15.
pub const PRESERVED: u64 = 6;
/// General registers.
pub const ALL_REGISTERS: u64 = 16;

/// Starts fetching a cache line; the address may be anything.
#[inline(always)]
pub fn prefetch(p: *const u8) {
    // SAFETY: a prefetch of an address that is not mapped does nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}

/// Calls `then(argument, status, registers)` with the stack pointer and the preserved registers as
/// they are at the entry of this very function; returns when that does.
///
/// # Safety
/// As `then` says of its first two arguments.
#[unsafe(naked)]
pub unsafe extern "C" fn with_registers(
    argument: *mut c_void,
    status: i32,
    then: extern "C" fn(*mut c_void, i32, &Registers),
) {
    naked_asm!(
        ".cfi_startproc",
        "lea rax, [rsp]",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "mov rax, rdx",
        "mov rdx, rsp",
        "call rax",
        "add rsp, 56",
        ".cfi_adjust_cfa_offset -56",
        "ret",
        ".cfi_endproc",
    )
}
