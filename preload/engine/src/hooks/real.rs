//! Owns the one list of hooked functions and the originals behind them.
//!
//! Originals are found once and eagerly through the loader's tables: `dlsym` may allocate, and a
//! look-up inside a hook that the allocator itself calls (mmap) deadlocks in the allocator.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::loader;

/// Declares the table of originals from the list of hooked symbols.
macro_rules! originals {
    ($($field:ident = $name:literal,)*) => {
        /// Addresses of the originals; 0 where no loaded object defines one.
        #[allow(missing_docs)]
        pub struct Originals { $(pub $field: AtomicUsize,)* }

        /// The originals behind our exports.
        pub static ORIGINALS: Originals = Originals { $($field: AtomicUsize::new(0),)* };

        /// The exported symbols, in the order of the table.
        pub const HOOKED: &[&str] = &[$($name,)*];

        /// Finds every original behind the object that contains `own`.
        pub(crate) fn resolve_all(own: usize) {
            $(
                let addr = loader::resolve_next($name.as_bytes(), own).unwrap_or(0);
                ORIGINALS.$field.store(addr, Relaxed);
            )*
        }
    };
}

originals! {
    malloc = "malloc",
    calloc = "calloc",
    realloc = "realloc",
    reallocarray = "reallocarray",
    free = "free",
    cfree = "cfree",
    free_sized = "free_sized",
    free_aligned_sized = "free_aligned_sized",
    posix_memalign = "posix_memalign",
    aligned_alloc = "aligned_alloc",
    memalign = "memalign",
    valloc = "valloc",
    pvalloc = "pvalloc",
    malloc_usable_size = "malloc_usable_size",
    mmap = "mmap",
    mmap64 = "mmap64",
    munmap = "munmap",
    mremap = "mremap",
    brk = "brk",
    sbrk = "sbrk",
    new = "_Znwm",
    new_array = "_Znam",
    new_nothrow = "_ZnwmRKSt9nothrow_t",
    new_array_nothrow = "_ZnamRKSt9nothrow_t",
    new_aligned = "_ZnwmSt11align_val_t",
    new_array_aligned = "_ZnamSt11align_val_t",
    new_aligned_nothrow = "_ZnwmSt11align_val_tRKSt9nothrow_t",
    new_array_aligned_nothrow = "_ZnamSt11align_val_tRKSt9nothrow_t",
    delete = "_ZdlPv",
    delete_array = "_ZdaPv",
    delete_sized = "_ZdlPvm",
    delete_array_sized = "_ZdaPvm",
    delete_nothrow = "_ZdlPvRKSt9nothrow_t",
    delete_array_nothrow = "_ZdaPvRKSt9nothrow_t",
    delete_aligned = "_ZdlPvSt11align_val_t",
    delete_array_aligned = "_ZdaPvSt11align_val_t",
    delete_sized_aligned = "_ZdlPvmSt11align_val_t",
    delete_array_sized_aligned = "_ZdaPvmSt11align_val_t",
    delete_aligned_nothrow = "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    delete_array_aligned_nothrow = "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    fork_raw = "_Fork",
    dlclose = "dlclose",
    exit_now = "_exit",
    exit_now_c99 = "_Exit",
    quick_exit = "quick_exit",
    execve = "execve",
    execv = "execv",
    execvp = "execvp",
    execvpe = "execvpe",
    execl = "execl",
    execlp = "execlp",
    execle = "execle",
    fexecve = "fexecve",
    execveat = "execveat",
    setuid = "setuid",
    setgid = "setgid",
    seteuid = "seteuid",
    setegid = "setegid",
    setreuid = "setreuid",
    setregid = "setregid",
    setresuid = "setresuid",
    setresgid = "setresgid",
    setgroups = "setgroups",
    initgroups = "initgroups",
    unshare = "unshare",
    setns = "setns",
    chroot = "chroot",
    pivot_root = "pivot_root",
    prctl = "prctl",
    syscall = "syscall",
}

/// Reads an original as a function. The caller names its type.
///
/// # Safety
/// `F` must be the type of the function, and it must have been found (non-zero).
#[inline(always)]
pub unsafe fn original<F: Copy>(slot: &AtomicUsize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    let addr = slot.load(Relaxed);
    // SAFETY: a function pointer has the size of an address; the type is the caller's promise.
    unsafe { core::mem::transmute_copy::<usize, F>(&addr) }
}
