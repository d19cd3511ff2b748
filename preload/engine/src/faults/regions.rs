//! Owns the map of the process's memory by kind, read from `/proc/self/maps` when an address is in
//! none that is known. It must never be read more often than its cost allows.

use crate::arena::AVec;
use crate::facts::lines;
use crate::state;

/// Kinds, by their place in `leaktrack_recording::FAULT_REGIONS`.
pub const STACKS: usize = 0;
pub const LIBRARIES: usize = 1;
pub const FILES: usize = 2;
pub const FREED: usize = 3;
pub const ANONYMOUS: usize = 4;
pub const OWN: usize = 5;
pub const UNKNOWN: usize = 6;

/// glibc's heaps of further arenas begin at multiples of this.
const ARENA_BYTES: usize = 64 << 20;
/// At most one part in so many of the time goes into reading.
const COST_SHARE: u64 = 500;
/// Likewise, where each fault is to have its name.
const COST_SHARE_OF_EVERY: u64 = 10;
/// Ranges kept.
const MOST: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    end: usize,
    kind: usize,
}

/// The map.
#[derive(Debug)]
pub struct Regions {
    ranges: AVec<Range>,
    not_before_ms: u64,
    cost_share: u64,
}

impl Regions {
    pub const fn new() -> Regions {
        Regions {
            ranges: AVec::new(),
            not_before_ms: 0,
            cost_share: COST_SHARE,
        }
    }

    /// Each fault is to have its name, whatever it costs.
    pub fn is_of_every(&mut self) {
        self.cost_share = COST_SHARE_OF_EVERY;
    }

    /// The kind of memory at an address.
    pub fn kind_of(&mut self, addr: usize) -> usize {
        if let Some(kind) = self.find(addr) {
            return kind;
        }
        let now_ms = state::tick();
        if now_ms < self.not_before_ms {
            return UNKNOWN;
        }
        self.read();
        let cost_ms = state::tick().saturating_sub(now_ms).max(1);
        self.not_before_ms = now_ms + cost_ms.saturating_mul(self.cost_share).min(60_000);
        self.find(addr).unwrap_or(UNKNOWN)
    }

    /// The map may be read again.
    pub fn is_due(&self) -> bool {
        state::tick() >= self.not_before_ms
    }

    /// Reads the map when it is next needed, whatever it costs.
    pub fn want(&mut self) {
        self.not_before_ms = 0;
    }

    /// Forgets what may have changed since.
    pub fn forget(&mut self) {
        self.ranges.clear();
    }

    fn find(&self, addr: usize) -> Option<usize> {
        let ranges = self.ranges.as_slice();
        let at = ranges.partition_point(|range| range.end <= addr);
        let range = ranges.get(at).filter(|range| range.start <= addr)?;
        Some(range.kind)
    }

    fn read(&mut self) {
        self.ranges.clear();
        let ranges = &mut self.ranges;
        let mut guard_end = 0;
        let _ = lines::for_each_line(c"/proc/self/maps", |line| {
            let Some((start, end, rest)) = parse(line) else {
                return true;
            };
            let above_guard = guard_end == start;
            let is_guard = rest.starts_with(b" ---p");
            guard_end = if is_guard { end } else { 0 };
            let name = rest
                .splitn(6, |&byte| byte == b' ')
                .nth(5)
                .map(<[u8]>::trim_ascii)
                .unwrap_or_default();
            let kind = kind(name, start, above_guard);
            is_guard || ranges.len() < MOST && ranges.try_push(Range { start, end, kind })
        });
    }
}

fn kind(name: &[u8], start: usize, above_guard: bool) -> usize {
    if name.starts_with(b"[stack") || name.starts_with(b"[anon: glibc: pthread stack") {
        STACKS
    } else if name == b"[heap]" || name.starts_with(b"[anon: glibc: malloc") {
        FREED
    } else if name.starts_with(b"anon_inode:[perf_event]") || name.ends_with(b".ltk") {
        OWN
    } else if name.starts_with(b"[v") {
        LIBRARIES
    } else if name.starts_with(b"/") {
        FILES
    } else if above_guard {
        STACKS
    } else if start.is_multiple_of(ARENA_BYTES) {
        FREED
    } else {
        ANONYMOUS
    }
}

/// `start-end perms offset dev inode   name`.
fn parse(line: &[u8]) -> Option<(usize, usize, &[u8])> {
    let dash = line.iter().position(|&byte| byte == b'-')?;
    let space = line.iter().position(|&byte| byte == b' ')?;
    let start = hex(line.get(..dash)?)?;
    let end = hex(line.get(dash + 1..space)?)?;
    Some((start, end, line.get(space..)?))
}

fn hex(text: &[u8]) -> Option<usize> {
    text.iter().try_fold(0usize, |sum, &byte| {
        let digit = (byte as char).to_digit(16)? as usize;
        sum.checked_mul(16)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_this_process() {
        let mut regions = Regions::new();
        let here = 0u8;
        let on_heap = std::boxed::Box::new(1u8);
        let heap_kind = regions.kind_of((&raw const *on_heap).addr());
        assert!([FREED, ANONYMOUS].contains(&heap_kind), "{heap_kind}");
        // A test runs in a thread of its own; the main thread's stack has its name.
        assert_eq!(regions.kind_of((&raw const here).addr()), STACKS);
        assert_eq!(
            regions.kind_of(kinds_of_this_process as *const () as usize),
            FILES
        );
        assert_eq!(regions.kind_of(8), UNKNOWN);
    }

    #[test]
    fn lines() {
        let line = b"7f00-7f10 rw-p 00000000 00:00 0                  [heap]";
        let (start, end, _) = parse(line).unwrap();
        assert_eq!((start, end), (0x7f00, 0x7f10));
        assert!(parse(b"zz-1 rw").is_none() && parse(b"").is_none());
        assert_eq!(kind(b"", ARENA_BYTES * 3, false), FREED);
        assert_eq!(kind(b"", ARENA_BYTES * 3 + 4096, false), ANONYMOUS);
        assert_eq!(kind(b"", 4096, true), STACKS);
        assert_eq!(kind(b"/usr/lib/x.so", 4096, true), FILES);
    }
}
