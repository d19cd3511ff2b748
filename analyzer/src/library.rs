//! Owns the embedded `libleaktrack.so`: puts it where a program can preload it.
//!
//! Never trusts a file that someone else could have written, and never leaves a half-written one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::commands::files::cannot_write;

/// The library, as built with this executable.
pub static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libleaktrack.so"));

/// File name of the library.
pub const FILE_NAME: &str = "libleaktrack.so";

/// Path of the library on disk; unpacks it if need be.
///
/// Looks, in this order, in `$LEAKTRACK_LIB_DIR` (then nowhere else), beside this executable, in
/// the cache folder, in a private folder in `$TMPDIR`.
pub fn path() -> Result<PathBuf> {
    if let Some(dir) = env_path("LEAKTRACK_LIB_DIR") {
        return unpack(&dir.join(content_name()), 0o755)
            .with_context(|| format!("LEAKTRACK_LIB_DIR={}", dir.display()));
    }
    if let Some(beside) = beside_executable() {
        return Ok(beside);
    }
    let mut refused = Vec::new();
    for (dir, mode) in folders() {
        match unpack(&dir, mode) {
            Ok(path) => return Ok(path),
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    Err(anyhow!(
        "no place to unpack {FILE_NAME}: {}; set LEAKTRACK_LIB_DIR to a folder of yours from which libraries can be loaded",
        refused.join("; ")
    ))
}

/// Writes the library into `dir`, atomically, and returns its path.
pub fn install_into(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(FILE_NAME);
    write_atomically(&path, BYTES, 0o755)?;
    Ok(path)
}

/// Creates or replaces `path` by a complete file with `bytes`.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    // A device or a pipe is written to: its name is not ours to give to a file.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let file = OpenOptions::new().write(true).open(path);
        return file
            .and_then(|mut file| file.write_all(bytes))
            .with_context(|| cannot_write(path));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // The umask must not decide whether the program's user can load it.
        fs::set_permissions(
            &temporary,
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(error).with_context(|| cannot_write(path));
    }
    Ok(())
}

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// A name that only this content has, so that an older leaktrack's library is never replaced
/// under a program that has it mapped.
fn content_name() -> String {
    let hash = BYTES.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{}-{hash:016x}", env!("CARGO_PKG_VERSION"))
}

/// Candidate folders and their permissions.
fn folders() -> Vec<(PathBuf, u32)> {
    let cache = env_path("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| env_path("HOME").map(|home| home.join(".cache")));
    let temporary = env_path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
    let mut folders = Vec::new();
    if let Some(cache) = cache {
        folders.push((cache.join("leaktrack").join(content_name()), 0o755));
    }
    folders.push((
        temporary
            .join(format!("leaktrack-{}", effective_uid()))
            .join(content_name()),
        0o700,
    ));
    folders
}

fn beside_executable() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join(FILE_NAME);
    (same_content(&path) && loadable(&path).is_ok()).then_some(path)
}

/// Makes `dir` and the library in it.
fn unpack(dir: &Path, mode: u32) -> Result<PathBuf> {
    let dir = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
    let path = dir.join(FILE_NAME);
    preloadable_name(&path)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(&dir)
        .with_context(|| format!("cannot create {}", dir.display()))?;
    owned_by_us(&dir)?;
    if let Some(parent) = dir.parent() {
        owned_by_us(parent)?;
    }
    loadable(&dir)?;
    if !(same_content(&path) && owned_by_us(&path).is_ok()) {
        write_atomically(&path, BYTES, 0o755)?;
    }
    Ok(path)
}

/// `LD_PRELOAD` has no way to escape these.
fn preloadable_name(path: &Path) -> Result<()> {
    match path
        .as_os_str()
        .as_bytes()
        .iter()
        .find(|byte| b" :;$\t\n".contains(byte))
    {
        Some(byte) => bail!(
            "{} holds {:?}, which LD_PRELOAD cannot express",
            path.display(),
            char::from(*byte)
        ),
        None => Ok(()),
    }
}

/// Refuses what another user owns, links of another user, and what others may change.
fn owned_by_us(path: &Path) -> Result<()> {
    let look = || -> io::Result<_> { Ok([fs::symlink_metadata(path)?, fs::metadata(path)?]) };
    let found = look().with_context(|| format!("cannot look at {}", path.display()))?;
    for data in &found {
        if data.uid() != effective_uid() && data.uid() != 0 {
            bail!(
                "{} belongs to user {}, not to you or root",
                path.display(),
                data.uid()
            );
        }
    }
    let mode = found[1].mode();
    if mode & 0o022 != 0 && mode & libc::S_ISVTX == 0 {
        bail!(
            "{} can be written by others (mode {:o})",
            path.display(),
            mode & 0o7777
        );
    }
    Ok(())
}

/// Refuses file systems from which nothing can be mapped executable.
fn loadable(path: &Path) -> Result<()> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain data for which all zeros is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `name` ends with NUL and `found` is writable and of the right type.
    if unsafe { libc::statvfs(name.as_ptr(), &mut found) } != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot look at the file system of {}", path.display()));
    }
    if found.f_flag & libc::ST_NOEXEC != 0 {
        bail!("{} is on a file system mounted noexec", path.display());
    }
    Ok(())
}

fn same_content(path: &Path) -> bool {
    let read = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() != BYTES.len() as u64 {
            return Ok(false);
        }
        let mut content = Vec::with_capacity(BYTES.len());
        file.read_to_end(&mut content)?;
        Ok(content == BYTES)
    };
    read().unwrap_or(false)
}

fn effective_uid() -> u32 {
    // SAFETY: it only returns a number and cannot fail.
    unsafe { libc::geteuid() }
}
