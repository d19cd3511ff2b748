//! Exports of the calls that end, replace or confine the process.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;

use crate::keep_around;
use leaktrack_engine::confine::Filter;
use leaktrack_engine::hooks::real::{ORIGINALS, Originals, original};
use leaktrack_engine::{absent, confine, exit, fork, hooks};

/// A filter as `prctl` installs it.
const THIS_THREAD: Filter = Filter {
    all_threads: false,
    listener: false,
    can_be_tried: true,
};
const STRICT: Filter = Filter {
    can_be_tried: false,
    ..THIS_THREAD
};

/// Declares an `exec` export: the recording is brought up to date, then the call goes on with its
/// arguments as they came, however many there are.
macro_rules! exec_hook {
    ($($name:ident)*) => { $( exec_hook!($name or absent::not_there); )* };
    ($name:ident or $absent:path) => {
        /// Brings the recording up to date, then passes through.
        ///
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                // `rax` counts the vector registers of a call with variable arguments.
                keep_around!("call {note}", "rdi" "rsi" "rdx" "rcx" "r8" "r9" "rax"),
                "mov r11, qword ptr [rip + {originals} + {slot}]",
                "test r11, r11",
                "jz {absent}",
                "jmp r11",
                ".cfi_endproc",
                note = sym exit::before_exec,
                absent = sym $absent,
                originals = sym ORIGINALS,
                slot = const offset_of!(Originals, $name),
            )
        }
    };
}

exec_hook!(execve execv execvp execvpe execl execlp execle fexecve);
exec_hook!(execveat or absent::execveat);

/// Declares an export of a call that changes credentials or the view of the file system.
macro_rules! confine_hook {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => { $(
        /// Ends the helper and secures the recording before the real call; starts it again after.
        ///
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> i32 {
            type F = unsafe extern "C" fn($($ty),*) -> i32;
            if !hooks::ready() || ORIGINALS.$name.load(Relaxed) == 0 {
                return -1;
            }
            // SAFETY: the original has this type.
            confine::around(|| unsafe { original::<F>(&ORIGINALS.$name)($($arg),*) })
        }
    )* };
}

confine_hook! {
    setuid(id: u32);
    setgid(id: u32);
    seteuid(id: u32);
    setegid(id: u32);
    setreuid(real: u32, effective: u32);
    setregid(real: u32, effective: u32);
    setresuid(real: u32, effective: u32, saved: u32);
    setresgid(real: u32, effective: u32, saved: u32);
    setgroups(count: usize, list: *const u32);
    initgroups(user: *const u8, group: u32);
    unshare(flags: i32);
    setns(fd: i32, kind: i32);
    chroot(path: *const u8);
    pivot_root(new: *const u8, old: *const u8);
}

/// Passes through; installing a seccomp filter is prepared for.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(option: i32, a: usize, b: usize, c: usize, d: usize) -> i32 {
    const PR_SET_SECCOMP: i32 = 22;
    const PR_SET_TSC: i32 = 26;
    const MODE_STRICT: usize = 1;
    type F = unsafe extern "C" fn(i32, usize, usize, usize, usize) -> i32;
    if !hooks::ready() || ORIGINALS.prctl.load(Relaxed) == 0 {
        return -1;
    }
    // SAFETY: the original takes these in registers, however many it reads.
    let real = || unsafe { original::<F>(&ORIGINALS.prctl)(option, a, b, c, d) };
    if option == PR_SET_SECCOMP {
        let filter = if a == MODE_STRICT {
            STRICT
        } else {
            THIS_THREAD
        };
        confine::around_seccomp(filter, || real() as isize) as i32
    } else {
        if option == PR_SET_TSC {
            confine::clock_may_be_forbidden();
        }
        real()
    }
}

/// Passes through; installing a seccomp filter is prepared for.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall() {
    naked_asm!(
        ".cfi_startproc",
        "cmp rdi, 317", // seccomp
        "je {filter}",
        "mov r11, qword ptr [rip + {originals} + {slot}]",
        "test r11, r11",
        "jz {early}",
        "jmp r11",
        ".cfi_endproc",
        filter = sym syscall_seccomp,
        early = sym syscall_early,
        originals = sym ORIGINALS,
        slot = const offset_of!(Originals, syscall),
    )
}

type Syscall = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize) -> isize;

unsafe extern "C" fn syscall_seccomp(nr: usize, op: usize, flags: usize, args: usize) -> isize {
    const SECCOMP_SET_MODE_STRICT: usize = 0;
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    const TSYNC: usize = 1;
    const NEW_LISTENER: usize = 8;
    if !hooks::ready() {
        return -1;
    }
    // SAFETY: the original has this type.
    let real = || unsafe { original::<Syscall>(&ORIGINALS.syscall)(nr, op, flags, args, 0, 0, 0) };
    match op {
        // Without a filter it only asks which flags the kernel knows.
        SECCOMP_SET_MODE_FILTER if args == 0 => real(),
        SECCOMP_SET_MODE_STRICT => confine::around_seccomp(STRICT, real),
        SECCOMP_SET_MODE_FILTER => {
            let filter = Filter {
                all_threads: flags & TSYNC != 0,
                listener: flags & NEW_LISTENER != 0,
                can_be_tried: flags & NEW_LISTENER == 0,
            };
            confine::around_seccomp(filter, real)
        }
        _ => real(),
    }
}

/// The first call of all: find the original, then go there.
unsafe extern "C" fn syscall_early(
    nr: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    if !hooks::ready() || ORIGINALS.syscall.load(Relaxed) == 0 {
        return -1;
    }
    // SAFETY: the original has this type.
    unsafe { original::<Syscall>(&ORIGINALS.syscall)(nr, a, b, c, d, e, f) }
}

/// Takes the final snapshot, then ends the process.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _exit(_status: i32) -> ! {
    naked_asm!("jmp {}", sym exit::exit_now)
}

/// Takes the final snapshot, then ends the process.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _Exit(_status: i32) -> ! {
    naked_asm!("jmp {}", sym exit::exit_now_c99)
}

/// Takes the final snapshot, then ends the process.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn quick_exit(_status: i32) -> ! {
    naked_asm!("jmp {}", sym exit::quick_exit)
}

/// Passes through; the child is not recorded, since nobody announced it.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Fork() -> i32 {
    // SAFETY: passed on.
    unsafe { fork::unannounced() }
}

/// Looks again at the loaded objects before and after the real call.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlclose(handle: *mut u8) -> i32 {
    type F = unsafe extern "C" fn(*mut u8) -> i32;
    if !hooks::ready() || ORIGINALS.dlclose.load(Relaxed) == 0 {
        return -1;
    }
    leaktrack_engine::modules::note_dlclose();
    // SAFETY: the original has this type.
    let r = unsafe { original::<F>(&ORIGINALS.dlclose)(handle) };
    leaktrack_engine::modules::note_dlclose();
    r
}
