//! `libleaktrack.so`: exports the hooks and wires them to the engine. Nothing else lives here.
//!
//! Every export is a handful of instructions that note where the caller's stack is and jump on, so
//! that no frame of ours stands between the caller and the engine's view of its stack.
#![no_std]

mod cxx;
mod heap;
mod map;
mod memory;
mod process;
mod start;

/// Declares an export that jumps to an engine function, handing it the stack pointer and the frame
/// pointer at its own entry in the next two argument registers.
macro_rules! hook {
    ($(#[$doc:meta])* $name:ident => $imp:path, $sp:literal, $bp:literal) => {
        $(#[$doc])*
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $bp, ", rbp"),
                "jmp {imp}",
                ".cfi_endproc",
                imp = sym $imp,
            )
        }
    };
}
pub(crate) use hook;

/// Declares an export that jumps to where its [`leaktrack_engine::hooks::entry`] points, handing
/// over what [`hook`] does.
macro_rules! hook_by_entry {
    ($(#[$doc:meta])* $name:ident => $entry:path, $sp:literal, $bp:literal) => {
        $(#[$doc])*
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $bp, ", rbp"),
                "jmp qword ptr [rip + {entry}]",
                ".cfi_endproc",
                entry = sym $entry,
            )
        }
    };
}
pub(crate) use hook_by_entry;

/// Assembly that keeps the registers named on the stack around `$call` (the last is on top), with
/// unwind information at every step.
macro_rules! keep_around {
    ($call:expr, $($register:literal)+) => {
        crate::keep_around!(@ $call; [] []; $($register)+)
    };
    (@ $call:expr; [$($push:literal)*] [$($pop:literal)*]; $next:literal $($more:literal)*) => {
        crate::keep_around!(@ $call; [$($push)* $next] [$next $($pop)*]; $($more)*)
    };
    (@ $call:expr; [$($push:literal)*] [$($pop:literal)*];) => {
        concat!(
            $("push ", $push, "\n.cfi_adjust_cfa_offset 8\n",)*
            $call,
            $("\npop ", $pop, "\n.cfi_adjust_cfa_offset -8",)*
        )
    };
}
pub(crate) use keep_around;

// Everything that we leave undefined is libc's; without this the library would not say so.
#[link(name = "c")]
unsafe extern "C" {}

/// Not reached: the engine denies every construct that panics, and a test looks for the message
/// texts of panics in the built library.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

// `core` is built to unwind and names this symbol; nothing of ours ever unwinds. Defined here and
// hidden, so that neither side of the process can take it for its own.
core::arch::global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    ".type rust_eh_personality,@function",
    "rust_eh_personality:",
    "ud2",
    ".size rust_eh_personality, . - rust_eh_personality",
);
