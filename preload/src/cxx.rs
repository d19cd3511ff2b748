//! Exports of C++ `operator new` and `delete`.
//!
//! Each jumps to the next definition, unless the allocator behind us brings operators of its own:
//! then the engine records. A throwing operator is called without any frame of ours on the stack.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::keep_around;
use leaktrack_engine::hooks::cxx as imp;
use leaktrack_engine::hooks::real::{ORIGINALS, Originals};

unsafe extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn free(p: *mut u8);
    fn aligned_alloc(align: usize, size: usize) -> *mut u8;
}

/// Serves an operator that no loaded object defines: by `malloc`, as every C++ library would.
unsafe extern "C" fn plain_new(size: usize) -> *mut u8 {
    // SAFETY: any size may be asked for.
    unsafe { malloc(size.max(1)) }
}

unsafe extern "C" fn plain_new_aligned(size: usize, align: usize) -> *mut u8 {
    // SAFETY: `operator new` is given a power of two.
    unsafe { aligned_alloc(align, size.max(1).saturating_add(align - 1) & !(align - 1)) }
}

unsafe extern "C" fn plain_delete(p: *mut u8) {
    // SAFETY: came from one of the two above or from the library found later, whose operators call
    // malloc.
    unsafe { free(p) }
}

/// Declares an operator: `$slot` is its place among the originals, `$imp` the engine's function
/// (with `$sp` and `$bp` behind its own arguments), `$plain` what serves when nobody defines it.
macro_rules! operator {
    ($name:ident, $slot:ident, $plain:ident, new => $imp:path, $sp:literal, $bp:literal) => {
        operator!(@late $name, $slot, $plain);
        /// # Safety
        /// As the C++ operator of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {own}], 0",
                "je 3f",
                keep_around!(
                    concat!("lea ", $sp, ", [rsp + 24]\nmov ", $bp, ", rbp\ncall {imp}"),
                    "rdi" "rsi" "rdx"
                ),
                "test rax, rax",
                "jz 3f",
                "ret",
                "3:",
                "mov r11, qword ptr [rip + {originals} + {slot}]",
                "test r11, r11",
                "jz {late}",
                "jmp r11",
                ".cfi_endproc",
                own = sym imp::OWN_OPERATORS,
                imp = sym $imp,
                originals = sym ORIGINALS,
                slot = const offset_of!(Originals, $slot),
                late = sym $slot::late,
            )
        }
    };
    ($name:ident, $slot:ident, $plain:ident, delete) => {
        operator!(@late $name, $slot, $plain);
        /// # Safety
        /// As the C++ operator of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {own}], 0",
                "je 3f",
                "mov rsi, rsp",
                "mov rdx, rbp",
                "jmp {imp}",
                "3:",
                "mov r11, qword ptr [rip + {originals} + {slot}]",
                "test r11, r11",
                "jz {late}",
                "jmp r11",
                ".cfi_endproc",
                own = sym imp::OWN_OPERATORS,
                imp = sym imp::delete,
                originals = sym ORIGINALS,
                slot = const offset_of!(Originals, $slot),
                late = sym $slot::late,
            )
        }
    };
    (@late $name:ident, $slot:ident, $plain:ident) => {
        mod $slot {
            use super::*;

            pub(super) extern "C" fn find() -> usize {
                let slot: &AtomicUsize = &ORIGINALS.$slot;
                // SAFETY: this is the slot of that name.
                match unsafe { imp::find_late(slot, stringify!($name).as_bytes()) } {
                    Some(addr) => addr,
                    None => {
                        let addr = super::$plain as *const () as usize;
                        slot.store(addr, Relaxed);
                        addr
                    }
                }
            }

            /// Finds the operator, then goes there with the arguments as they came.
            #[unsafe(naked)]
            pub(super) unsafe extern "C" fn late() {
                naked_asm!(
                    ".cfi_startproc",
                    keep_around!("call {find}", "rdi" "rsi" "rdx"),
                    "jmp rax",
                    ".cfi_endproc",
                    find = sym find,
                )
            }
        }
    };
}

operator!(_Znwm, new, plain_new, new => imp::new, "rsi", "rdx");
operator!(_Znam, new_array, plain_new, new => imp::new_array, "rsi", "rdx");
operator!(_ZnwmSt11align_val_t, new_aligned, plain_new_aligned, new => imp::new_aligned, "rdx", "rcx");
operator!(_ZnamSt11align_val_t, new_array_aligned, plain_new_aligned, new => imp::new_array_aligned, "rdx", "rcx");
operator!(_ZnwmRKSt9nothrow_t, new_nothrow, plain_new, new => imp::new, "rsi", "rdx");
operator!(_ZnamRKSt9nothrow_t, new_array_nothrow, plain_new, new => imp::new_array, "rsi", "rdx");
operator!(_ZnwmSt11align_val_tRKSt9nothrow_t, new_aligned_nothrow, plain_new_aligned, new => imp::new_aligned, "rdx", "rcx");
operator!(_ZnamSt11align_val_tRKSt9nothrow_t, new_array_aligned_nothrow, plain_new_aligned, new => imp::new_array_aligned, "rdx", "rcx");
operator!(_ZdlPv, delete, plain_delete, delete);
operator!(_ZdaPv, delete_array, plain_delete, delete);
operator!(_ZdlPvm, delete_sized, plain_delete, delete);
operator!(_ZdaPvm, delete_array_sized, plain_delete, delete);
operator!(_ZdlPvRKSt9nothrow_t, delete_nothrow, plain_delete, delete);
operator!(
    _ZdaPvRKSt9nothrow_t,
    delete_array_nothrow,
    plain_delete,
    delete
);
operator!(_ZdlPvSt11align_val_t, delete_aligned, plain_delete, delete);
operator!(
    _ZdaPvSt11align_val_t,
    delete_array_aligned,
    plain_delete,
    delete
);
operator!(
    _ZdlPvmSt11align_val_t,
    delete_sized_aligned,
    plain_delete,
    delete
);
operator!(
    _ZdaPvmSt11align_val_t,
    delete_array_sized_aligned,
    plain_delete,
    delete
);
operator!(
    _ZdlPvSt11align_val_tRKSt9nothrow_t,
    delete_aligned_nothrow,
    plain_delete,
    delete
);
operator!(
    _ZdaPvSt11align_val_tRKSt9nothrow_t,
    delete_array_aligned_nothrow,
    plain_delete,
    delete
);
