//! Owns the hash of a module's file, for modules that have no build-id to be known by.

use leaktrack_recording::ContentHash;

use crate::permit;
use crate::recorder::Buffer;
use crate::sys::{self, o};
use crate::text::Text;

const CHUNK_BYTES: usize = 1 << 16;
/// A longer file is known by its size alone: hashing it would take a tenth of a second.
const MOST_BYTES: u64 = 64 << 20;

/// The hash of the file at `path`; `None` if it cannot be read or is too long.
pub fn hash(path: &[u8]) -> Option<u64> {
    if !permit::open() || !path.starts_with(b"/") {
        return None;
    }
    let mut text = Text::<4096>::new();
    text.push_bytes(path);
    let mut buffer = Buffer::of(CHUNK_BYTES)?;
    let fd = sys::open(text.c_str()?, o::RDONLY | o::NOCTTY | o::NONBLOCK, 0).ok()?;
    let hash = hash_open(fd, buffer.as_mut_slice());
    sys::close(fd);
    hash
}

fn hash_open(fd: i32, buffer: &mut [u8]) -> Option<u64> {
    const KIND: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    let stat = sys::fstat(fd).ok()?;
    if stat.mode & KIND != REGULAR || stat.size_bytes > MOST_BYTES {
        return None;
    }
    let mut hash = ContentHash::default();
    loop {
        match sys::read(fd, buffer) {
            Ok(0) => return Some(hash.finish()),
            Ok(len) => hash.add(buffer.get(..len)?),
            Err(sys::Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_longer_than_a_chunk() {
        let path =
            std::env::temp_dir().join(std::format!("leaktrack-content-{}", std::process::id()));
        let content: std::vec::Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mut expected = ContentHash::default();
        expected.add(&content);
        let found = hash(path.as_os_str().as_encoded_bytes());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found, Some(expected.finish()));
        assert_eq!(hash(b"/dev/null"), None);
        assert_eq!(hash(b"[vdso]"), None);
        assert_eq!(hash(b"/nonexistent"), None);
    }
}
