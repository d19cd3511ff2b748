//! Owns the reading of `/proc/self/maps` and the sums of `smaps_rollup`, a line at a time.
//! It must never hold the whole file: there may be a hundred thousand mappings.

use crate::facts::lines;
use crate::sys::{self, CStr};

/// One line of `maps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vma<'a> {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// May be read.
    pub readable: bool,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// Writes go to what is mapped.
    pub shared: bool,
    /// Device of the file, as printed.
    pub device: &'a [u8],
    /// Inode of the file; 0: no file.
    pub inode: u64,
    /// Path, or a name in brackets; may be empty.
    pub name: &'a [u8],
}

impl Vma<'_> {
    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// No access at all.
    pub fn is_barred(&self) -> bool {
        !self.readable && !self.writable && !self.executable
    }
}

/// Hexadecimal digits off the front; `None` if there are none or too many.
fn hex(text: &[u8]) -> Option<(usize, &[u8])> {
    let len = text
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(len)?;
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let value = digits.iter().fold(0usize, |value, &byte| {
        let digit = (byte as char).to_digit(16).unwrap_or(0);
        value << 4 | digit as usize
    });
    Some((value, rest))
}

/// A word off the front, and what follows its blank.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(len).unwrap_or((text, b""));
    (word, rest.get(1..).unwrap_or_default())
}

/// Reads a line of `maps`, which is also the head of an entry of `smaps`.
pub fn parse(line: &[u8]) -> Option<Vma<'_>> {
    let (start, rest) = hex(line)?;
    let (end, rest) = hex(rest.strip_prefix(b"-")?)?;
    let (access, rest) = word(rest.strip_prefix(b" ")?);
    let &[read, write, execute, share] = access.first_chunk::<4>()?;
    let (_offset, rest) = word(rest);
    let (device, rest) = word(rest);
    let (inode, rest) = word(rest);
    Some(Vma {
        start,
        end,
        readable: read == b'r',
        writable: write == b'w',
        executable: execute == b'x',
        shared: share == b's',
        device,
        inode: crate::config::units::number(inode)?,
        name: rest.trim_ascii(),
    })
    .filter(|vma| vma.start < vma.end)
}

/// A value of `smaps` in bytes: `Rss:   12 kB`.
pub fn value(line: &[u8], name: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(name)?.trim_ascii();
    let (number, _) = word(rest);
    Some(crate::config::units::number(number)?.saturating_mul(1024))
}

/// The kernel's own sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Resident set.
    pub rss_bytes: u64,
    /// Proportional set.
    pub pss_bytes: u64,
    /// Of it anonymous, of files, and of shared memory.
    pub pss_by_kind: [u64; 3],
    /// Transparent huge pages.
    pub huge_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
}

/// Reads `smaps_rollup` (Linux 4.14); `None` without it.
pub fn rollup() -> Option<Rollup> {
    let mut sums = Rollup::default();
    let mut known = false;
    let [mut anonymous, mut file, mut shared] = [0; 3];
    let path: &CStr = c"/proc/self/smaps_rollup";
    let read: sys::Result<()> = lines::for_each_line(path, |line| {
        for (name, field) in [
            (&b"Rss:"[..], &mut sums.rss_bytes),
            (b"Pss:", &mut sums.pss_bytes),
            (b"Pss_Anon:", &mut anonymous),
            (b"Pss_File:", &mut file),
            (b"Pss_Shmem:", &mut shared),
            (b"AnonHugePages:", &mut sums.huge_bytes),
            (b"Swap:", &mut sums.swap_bytes),
        ] {
            if let Some(bytes) = value(line, name) {
                *field = bytes;
                known = true;
            }
        }
        true
    });
    sums.pss_by_kind = [anonymous, file, shared];
    (read.is_ok() && known).then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        let vma = parse(b"7f01-7f03 r-xp 00001000 fe:01 131 /usr/lib/a b.so (deleted)").unwrap();
        assert_eq!(
            (vma.start, vma.end, vma.bytes(), vma.inode),
            (0x7f01, 0x7f03, 2, 131)
        );
        assert!(vma.readable && !vma.writable && vma.executable && !vma.shared);
        assert_eq!(
            (vma.device, vma.name),
            (&b"fe:01"[..], &b"/usr/lib/a b.so (deleted)"[..])
        );
        let vma = parse(b"c000000000-c000400000 ---s 00000000 00:00 0 ").unwrap();
        assert!(vma.is_barred() && vma.shared && vma.name.is_empty());
        for bad in [
            &b""[..],
            b"x",
            b"1-",
            b"2-1 r--p 0 0:0 0",
            b"1-2 r-",
            b"11111111111111111-2 r--p 0 0:0 0",
        ] {
            assert_eq!(parse(bad), None);
        }
        assert_eq!(value(b"Rss:                  12 kB", b"Rss:"), Some(12288));
        assert_eq!(value(b"VmFlags: rd", b"Rss:"), None);
    }

    #[test]
    fn the_rollup_agrees_with_smaps() {
        let sums = rollup().unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let rss: u64 = smaps
            .lines()
            .filter_map(|line| value(line.as_bytes(), b"Rss:"))
            .sum();
        assert!(
            sums.rss_bytes.abs_diff(rss) < 1 << 20,
            "{sums:?} against {rss}"
        );
        assert!(sums.pss_bytes <= sums.rss_bytes && sums.pss_bytes > 0);
        let kinds: u64 = sums.pss_by_kind.iter().sum();
        assert!(kinds.abs_diff(sums.pss_bytes) < 16 << 10);
    }
}
