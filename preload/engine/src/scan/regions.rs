//! Owns the process's memory map as the kernel tells it: one [`Region`] a line of `maps`.
//! It must never take a name for more than it is: what a region is for, others decide.

use crate::arena::AVec;
use crate::facts::lines;

/// What a region is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anonymous memory, private or shared.
    Anonymous,
    /// A file, or memory that looks like one (`memfd`, `/dev/shm`).
    File,
    /// The break.
    Break,
    /// The first thread's stack.
    MainStack,
    /// Of the kernel or a device: never to be read.
    Foreign,
}

/// A line of the map.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Region {
    pub start: usize,
    pub end: usize,
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
    pub shared: bool,
    pub kind: Kind,
    /// The file: device (major and minor number) and inode, which only together tell files apart.
    pub file: File,
}

/// See [`Region::file`].
pub type File = (u32, u32, u64);

/// All of it, in order of address; `None` if it cannot be read or there is no memory for it.
pub fn read() -> Option<AVec<Region>> {
    let mut regions = AVec::new();
    let mut whole = true;
    lines::for_each_line(c"/proc/thread-self/maps", |line| {
        if let Some(region) = parse(line) {
            whole &= regions.try_push(region);
        }
        whole
    })
    .ok()?;
    (whole && !regions.is_empty()).then_some(regions)
}

/// The region at an address.
pub fn at(regions: &[Region], addr: usize) -> Option<&Region> {
    let after = regions.partition_point(|region| region.start <= addr);
    regions
        .get(after.checked_sub(1)?)
        .filter(|region| addr < region.end)
}

/// A hexadecimal number.
pub fn hex(text: &[u8]) -> Option<usize> {
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    (!text.is_empty() && text.len() <= 16).then_some(())?;
    text.iter().try_fold(0usize, |number, &byte| {
        Some(number << 4 | digit(byte)? as usize)
    })
}

/// `start-end rwxp offset major:minor inode   name`.
fn parse(line: &[u8]) -> Option<Region> {
    let mut fields = line.split(|&byte| byte == b' ').filter(|f| !f.is_empty());
    let range = fields.next()?;
    let dash = range.iter().position(|&byte| byte == b'-')?;
    let (start, end) = range.split_at_checked(dash)?;
    let modes = fields.next()?;
    let device = fields.nth(1)?;
    let inode = crate::config::units::number(fields.next()?)?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let (major, minor) = device.split_at_checked(colon)?;
    let number = |text: &[u8]| u32::try_from(hex(text)?).ok();
    let name = fields.next().unwrap_or_default();
    let has = |at: usize, byte: u8| modes.get(at) == Some(&byte);
    Some(Region {
        start: hex(start)?,
        end: hex(end.get(1..)?)?,
        readable: has(0, b'r'),
        writable: has(1, b'w'),
        executable: has(2, b'x'),
        shared: has(3, b's'),
        kind: kind(name),
        file: (number(major)?, number(minor.get(1..)?)?, inode),
    })
}

fn kind(name: &[u8]) -> Kind {
    let starts = |with: &[u8]| name.starts_with(with);
    if name.is_empty() || starts(b"[anon:") || starts(b"[anon_shmem:") || name == b"/dev/zero" {
        Kind::Anonymous
    } else if name == b"[heap]" {
        Kind::Break
    } else if name == b"[stack]" {
        Kind::MainStack
    } else if starts(b"[stack:") {
        Kind::Anonymous
    } else if starts(b"/dev/shm/") || starts(b"/dev/hugepages") {
        Kind::File // memory in files, not a device
    } else if starts(b"[") || starts(b"anon_inode:") || starts(b"/dev/") {
        Kind::Foreign
    } else {
        Kind::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        let kinds = |line: &[u8]| {
            let region = parse(line).unwrap();
            (region.kind, region.shared, region.readable)
        };
        let cases: [(&[u8], Kind, bool, bool); 10] = [
            (b"7f0000000000-7f0000200000 rw-s 00000000 00:2c 9  /dev/hugepages/rtemap_0", Kind::File, true, true),
            (b"7f0000000000-7f0040000000 rw-s 00000000 00:2d 9  /dev/hugepages-1G/pool", Kind::File, true, true),
            (b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ", Kind::Anonymous, false, true),
            (b"7f0000000000-7f0000001000 rw-s 00000000 00:01 77  /dev/zero (deleted)", Kind::Anonymous, true, true),
            (b"55d5c0000000-55d5c0021000 rw-p 00000000 00:00 0    [heap]", Kind::Break, false, true),
            (b"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]", Kind::MainStack, false, true),
            (b"7ffc00000000-7ffc00021000 r-xp 00000000 00:00 0    [vdso]", Kind::Foreign, false, true),
            (b"7f0000000000-7f0000001000 ---p 00000000 fe:00 1234  /lib/x86_64-linux-gnu/libc.so.6", Kind::File, false, false),
            (b"7f0000000000-7f0000001000 rw-s 00000000 00:05 9  /dev/dri/card0", Kind::Foreign, true, true),
            (b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0  [anon:arena]", Kind::Anonymous, false, true),
        ];
        for (line, kind, shared, readable) in cases {
            assert_eq!(kinds(line), (kind, shared, readable));
        }
        assert!(parse(b"").is_none() && parse(b"zz-1 rw-p 0 0:0 0").is_none());
        // Two file systems number their files alike.
        let file = |line: &[u8]| parse(line).unwrap().file;
        let one = file(b"7f0000000000-7f0000001000 rw-s 00000000 00:2c 9  /run/a.ltk");
        let other = file(b"7f0000000000-7f0000001000 rw-s 00000000 103:2d 9  /run/b/pool");
        assert_eq!((one, other), ((0, 0x2c, 9), (0x103, 0x2d, 9)));
    }

    #[test]
    fn this_process_has_code_data_and_a_stack() {
        let regions = read().unwrap();
        let local = 0u8;
        let regions = regions.as_slice();
        let stack = at(regions, (&raw const local).addr()).unwrap();
        assert!(stack.writable && !stack.executable);
        assert!(at(regions, read as *const () as usize).unwrap().executable);
        assert!(regions.windows(2).all(|two| two[0].end <= two[1].start));
    }
}
