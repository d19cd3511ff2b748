//! Owns what our exports do where libc has no function of their name. A program for an older libc
//! does not call them by itself, but it may ask whether they exist, and finds ours.

use crate::{loader, sys};

const ENOSYS: i32 = 38;

/// Returns -1 with `ENOSYS`, as a stub of libc does.
pub extern "C" fn not_there() -> i32 {
    failed(ENOSYS)
}

/// `execveat`, which glibc has from 2.34 on and the kernel from 3.19 on.
///
/// # Safety
/// As `execveat`.
pub unsafe extern "C" fn execveat(
    folder: i32,
    path: *const u8,
    argv: *const *const u8,
    envp: *const *const u8,
    flags: i32,
) -> i32 {
    // SAFETY: the caller's arguments.
    failed(unsafe { sys::execveat(folder, path, argv, envp, flags) })
}

fn failed(errno: i32) -> i32 {
    if let Some(place) = loader::resolve_libc(b"__errno_location") {
        // SAFETY: libc's function of this name has this type and returns the thread's own word.
        unsafe {
            let place: extern "C" fn() -> *mut i32 = core::mem::transmute(place);
            *place() = errno;
        }
    }
    -1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn a_program_is_executed_or_the_reason_told() {
        let run = |path: &core::ffi::CStr| {
            let argv = [path.as_ptr().cast(), core::ptr::null()];
            // SAFETY: the arrays end with null and outlive the call.
            unsafe {
                execveat(
                    -100,
                    path.as_ptr().cast(),
                    argv.as_ptr(),
                    argv[1..].as_ptr(),
                    0,
                )
            }
        };
        assert_eq!(run(c"/nonexistent"), -1);
        assert_eq!(Error::last_os_error().raw_os_error(), Some(2));
        assert_eq!(not_there(), -1);
        assert_eq!(Error::last_os_error().raw_os_error(), Some(ENOSYS));
        // SAFETY: the child does nothing but execute another program.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                run(c"/bin/true");
                libc::_exit(9);
            }
            let mut status = -1;
            libc::waitpid(child, &raw mut status, 0);
            status
        };
        assert_eq!(status, 0);
    }
}
