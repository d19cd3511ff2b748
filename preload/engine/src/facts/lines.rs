//! Owns reading small kernel files by the line. A descriptor lives only while it reads.

use crate::permit;
use crate::sys::{self, CStr, Errno, o};

const CHUNK_BYTES: usize = 2048;

/// Calls `each` with every line (without its end) until it returns false. Of a line longer than
/// 2 KiB only the beginning is given.
pub fn for_each_line(path: &CStr, mut each: impl FnMut(&[u8]) -> bool) -> sys::Result<()> {
    if !permit::open() {
        return Err(Errno::EPERM);
    }
    let fd = sys::open(path, o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK, 0)?;
    let result = split(b'\n', |buf| sys::read(fd, buf), &mut each);
    sys::close(fd);
    result
}

/// As [`for_each_line`] for files whose items end with a NUL (`cmdline`, `environ`).
pub fn for_each_item(path: &CStr, mut each: impl FnMut(&[u8]) -> bool) -> sys::Result<()> {
    if !permit::open() {
        return Err(Errno::EPERM);
    }
    let fd = sys::open(path, o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK, 0)?;
    let result = split(0, |buf| sys::read(fd, buf), &mut each);
    sys::close(fd);
    result
}

/// Reads the beginning of a file; the length.
pub fn read_start(path: &CStr, buf: &mut [u8]) -> sys::Result<usize> {
    if !permit::open() {
        return Err(Errno::EPERM);
    }
    let fd = sys::open(path, o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK, 0)?;
    let result = retry(|| sys::read(fd, buf));
    sys::close(fd);
    result
}

fn retry(mut call: impl FnMut() -> sys::Result<usize>) -> sys::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => continue,
            other => return other,
        }
    }
}

fn split(
    end: u8,
    mut read: impl FnMut(&mut [u8]) -> sys::Result<usize>,
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> sys::Result<()> {
    let mut buf = [0u8; CHUNK_BYTES];
    let mut held = 0; // bytes of an unfinished line at the front of `buf`
    let mut skipping = false; // the line at hand was given already, drop the rest of it
    loop {
        let room = buf.get_mut(held..).unwrap_or_default();
        let got = retry(|| read(room))?;
        let filled = held + got;
        let mut start = 0;
        let text = buf.get(..filled).unwrap_or_default();
        while let Some(len) = text
            .get(start..)
            .and_then(|rest| rest.iter().position(|&byte| byte == end))
        {
            let line = text.get(start..start + len).unwrap_or_default();
            if !core::mem::take(&mut skipping) && !each(line) {
                return Ok(());
            }
            start += len + 1;
        }
        let rest = text.get(start..).unwrap_or_default();
        if got == 0 {
            if !rest.is_empty() && !skipping {
                each(rest);
            }
            return Ok(());
        }
        held = rest.len();
        if held == CHUNK_BYTES {
            if !skipping && !each(rest) {
                return Ok(());
            }
            skipping = true;
        }
        if skipping {
            held = 0;
        } else {
            buf.copy_within(start..filled, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn lines(text: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut rest = text;
        let mut found = Vec::new();
        split(
            b'\n',
            |buf| {
                let take = step.min(buf.len()).min(rest.len());
                let (head, tail) = rest.split_at(take);
                buf[..take].copy_from_slice(head);
                rest = tail;
                Ok(take)
            },
            &mut |line| {
                found.push(line.to_vec());
                true
            },
        )
        .unwrap();
        found
    }

    #[test]
    fn lines_across_reads_of_any_size() {
        let long = [b'x'; 5000];
        let mut text = b"one\n\ntwo\n".to_vec();
        text.extend_from_slice(&long);
        text.extend_from_slice(b"\nlast");
        for step in [1, 2, 3, 7, 100, 2048, 9000] {
            let found = lines(&text, step);
            let lens: Vec<usize> = found.iter().map(Vec::len).collect();
            assert_eq!(lens, [3, 0, 3, 2048, 4], "step {step}");
            assert_eq!(found[4], b"last");
        }
    }

    #[test]
    fn stops_when_told() {
        let mut count = 0;
        for_each_line(c"/proc/self/status", |_| {
            count += 1;
            count < 3
        })
        .unwrap();
        assert_eq!(count, 3);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert_eq!(for_each_line(c"/nonexistent", |_| true), Err(Errno::ENOENT));
    }
}
