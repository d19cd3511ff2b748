//! Finds programs that gain privileges when started: the loader then ignores `LD_PRELOAD` paths.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const REMEDY: &str = "run it as the user it changes to, or on a copy without that permission";

/// Why the loader would run `program` in secure mode, and the remedy.
pub fn problem(program: &Path) -> Option<(String, &'static str)> {
    if no_new_privileges() || mounted_nosuid(program) {
        return None; // the kernel ignores the bits
    }
    let data = fs::metadata(program).ok()?;
    let (uid, gid) = effective_ids();
    let mode = data.mode();
    let why = if mode & libc::S_ISUID != 0 && data.uid() != uid {
        format!("it is set-user-ID (to user {})", data.uid())
    } else if mode & libc::S_ISGID != 0 && mode & libc::S_IXGRP != 0 && data.gid() != gid {
        format!("it is set-group-ID (to group {})", data.gid())
    } else if uid != 0 && has_capabilities(program) {
        "it has file capabilities".to_owned()
    } else {
        return None;
    };
    Some((
        format!("{why}, and the loader ignores LD_PRELOAD for such programs"),
        REMEDY,
    ))
}

fn effective_ids() -> (u32, u32) {
    // SAFETY: both only return a number and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

fn no_new_privileges() -> bool {
    // SAFETY: with these arguments prctl only returns a flag.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

fn mounted_nosuid(path: &Path) -> bool {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `statvfs` is plain data for which all zeros is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `name` ends with NUL and `found` is writable and of the right type.
    unsafe { libc::statvfs(name.as_ptr(), &mut found) == 0 && found.f_flag & libc::ST_NOSUID != 0 }
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: both strings end with NUL; a null buffer of size 0 only asks for the length.
    unsafe {
        libc::getxattr(
            name.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        ) > 0
    }
}
