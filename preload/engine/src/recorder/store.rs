//! Owns the bytes of the recording: which parts of the file are mapped, and reading and writing
//! them by offset.
//!
//! Never touches the mapping with an instruction of its own: the file may have been shortened by
//! anyone, and then the page is SIGBUS for us but an error code for the kernel. Where the kernel's
//! copying is refused the file is opened for each access instead.

use super::file::{self, File, FileError, Open};
use crate::arena::AVec;
use crate::permit;
use crate::sys::{self, Errno};

const PROT_READ_WRITE: i32 = 3;
const MAP_SHARED: i32 = 1;
const MADV_DONTNEED: i32 = 4;
const MADV_DONTFORK: i32 = 10;
const MADV_DONTDUMP: i32 = 16;

/// A mapped part of the file.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    address: usize,
    touched: bool,
}

/// The file's content.
#[derive(Debug)]
pub struct Store {
    file: File,
    parts: AVec<Part>,
    /// Bytes from the start that are reserved and mapped.
    end: u64,
    /// The kernel refuses to copy within this process: open the file for each access.
    by_file: bool,
}

impl Store {
    /// Of a new, empty file.
    pub const fn new(file: File) -> Store {
        Store {
            file,
            parts: AVec::new(),
            end: 0,
            by_file: false,
        }
    }

    /// Bytes reserved.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Address of the first page, for futexes; never to be read or written directly.
    pub fn first_page(&self) -> Option<usize> {
        self.parts.get(0).map(|part| part.address)
    }

    /// Reserves and maps up to `to`.
    pub fn grow(&mut self, to: u64) -> Result<(), FileError> {
        let open = self.file.reopen(self.end)?;
        self.extend(&open, to)
    }

    /// As [`Store::grow`], with the file open already. On failure nothing has changed.
    pub fn extend(&mut self, open: &Open, to: u64) -> Result<(), FileError> {
        file::reserve(open, self.end, to)?;
        let len = to.saturating_sub(self.end) as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let mapped = unsafe {
            sys::mmap(
                0,
                len,
                PROT_READ_WRITE,
                MAP_SHARED,
                open.fd(),
                self.end as usize,
            )
        };
        let undo = |errno| {
            let _ = sys::ftruncate(open.fd(), self.end);
            Err(FileError::Kernel(errno))
        };
        let address = match mapped {
            Ok(address) => address,
            Err(errno) => return undo(errno),
        };
        let part = Part {
            start: self.end,
            end: to,
            address,
            touched: false,
        };
        let page = address as *mut u8;
        // SAFETY: the mapping made above. No child ever sees it: it could not tell it from its own.
        unsafe {
            let _ = sys::madvise(page, len, MADV_DONTFORK);
            let _ = sys::madvise(page, len, MADV_DONTDUMP);
        }
        if !self.parts.try_push(part) {
            // SAFETY: nobody knows of the mapping yet.
            let _ = unsafe { sys::munmap(page, len) };
            return undo(Errno::ENOMEM);
        }
        self.end = to;
        Ok(())
    }

    /// Writes `bytes` at `offset`.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        #[cfg(test)]
        super::testing::note_write(offset, bytes);
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.end {
            return Err(FileError::Kernel(Errno::EINVAL));
        }
        if !self.by_file && permit::copy_memory() {
            match self.copy_in(offset, bytes) {
                Err(Errno::EPERM | Errno::ENOSYS | Errno::EACCES) => self.by_file = true,
                Err(Errno::EFAULT) => return Err(self.why_unwritable()),
                other => return other.map_err(FileError::Kernel),
            }
        }
        let open = self.file.reopen(self.end)?;
        if !file::may_reach(end) {
            return Err(FileError::Kernel(Errno::EFBIG));
        }
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            match sys::pwrite(open.fd(), rest, at) {
                Ok(0) => return Err(FileError::Kernel(Errno::ENOSPC)),
                Ok(written) => {
                    at += written as u64;
                    rest = rest.get(written..).unwrap_or_default();
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads into all of `buf` from `offset`.
    pub fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), FileError> {
        if offset.saturating_add(buf.len() as u64) > self.end {
            return Err(FileError::Kernel(Errno::EINVAL));
        }
        if !self.by_file && permit::copy_memory() {
            match self.copy_out(offset, buf) {
                Err(Errno::EPERM | Errno::ENOSYS | Errno::EACCES) => self.by_file = true,
                Err(Errno::EFAULT) => return Err(self.why_unwritable()),
                other => return other.map_err(FileError::Kernel),
            }
        }
        let open = self.file.reopen(self.end)?;
        let mut done = 0;
        while done < buf.len() {
            match sys::pread(
                open.fd(),
                buf.get_mut(done..).unwrap_or_default(),
                offset + done as u64,
            ) {
                Ok(0) => return Err(FileError::Truncated),
                Ok(got) => done += got,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn copy_in(&mut self, offset: u64, bytes: &[u8]) -> sys::Result<()> {
        let mut at = offset;
        let mut rest = bytes;
        for part in self.parts.as_mut_slice() {
            if rest.is_empty() || at < part.start || at >= part.end {
                continue;
            }
            part.touched = true;
            let room = (part.end - at).min(rest.len() as u64) as usize;
            let (mut piece, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            rest = after;
            while !piece.is_empty() {
                let address = part.address + (at - part.start) as usize;
                // SAFETY: the range lies in a mapping that belongs to this store alone.
                let written = unsafe { sys::write_own_memory(address, piece) }?;
                if written == 0 {
                    return Err(Errno::EFAULT);
                }
                at += written as u64;
                piece = piece.get(written..).unwrap_or_default();
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn copy_out(&mut self, offset: u64, buf: &mut [u8]) -> sys::Result<()> {
        let mut at = offset;
        let mut done = 0;
        for part in self.parts.as_mut_slice() {
            while done < buf.len() && at >= part.start && at < part.end {
                part.touched = true;
                let room = (part.end - at).min((buf.len() - done) as u64) as usize;
                let address = part.address + (at - part.start) as usize;
                let piece = buf.get_mut(done..done + room).unwrap_or_default();
                let got = sys::read_own_memory(address, piece)?;
                if got == 0 {
                    return Err(Errno::EFAULT);
                }
                at += got as u64;
                done += got;
            }
        }
        if done == buf.len() {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// A page of the mapping is gone: find out why.
    fn why_unwritable(&mut self) -> FileError {
        match self.file.reopen(self.end) {
            Ok(_) => FileError::Kernel(Errno::ENOSPC),
            Err(FileError::Truncated) => FileError::Truncated,
            Err(_) => FileError::Kernel(Errno::EFAULT),
        }
    }

    /// Takes the pages touched since the last call out of the process's resident set; the file
    /// keeps them.
    pub fn release_pages(&mut self) {
        for part in self.parts.as_mut_slice() {
            if core::mem::take(&mut part.touched) {
                let len = (part.end - part.start) as usize;
                // SAFETY: a shared file mapping: its content is in the file.
                let _ = unsafe { sys::madvise(part.address as *mut u8, len, MADV_DONTNEED) };
            }
        }
    }

    /// Gives back everything from `to` on; the file ends there.
    pub fn shrink(&mut self, to: u64) {
        let to = to.next_multiple_of(4096);
        if to >= self.end || to == 0 {
            return;
        }
        let Ok(open) = self.file.reopen(self.end) else {
            return;
        };
        if sys::ftruncate(open.fd(), to).is_err() {
            return;
        }
        self.end = to;
        while let Some(last) = self.parts.as_mut_slice().last_mut() {
            let cut_from = last.start.max(to);
            let len = last.end.saturating_sub(cut_from) as usize;
            let address = last.address + (cut_from - last.start) as usize;
            if len > 0 {
                // SAFETY: our own mapping, beyond what `end` allows access to.
                let _ = unsafe { sys::munmap(address as *mut u8, len) };
            }
            last.end = cut_from;
            if last.end > last.start {
                break;
            }
            self.parts.pop();
        }
    }

    /// Forgets the mappings without unmapping: in a forked child they do not exist, and something
    /// of the host's may be in their place.
    pub fn forget(&mut self) {
        self.parts.clear();
        self.end = 0;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for part in self.parts.as_slice() {
            // SAFETY: our own mappings; `forget` has emptied the list in a child.
            let _ =
                unsafe { sys::munmap(part.address as *mut u8, (part.end - part.start) as usize) };
        }
    }
}
