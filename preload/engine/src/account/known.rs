//! Owns [`Known`], the ranges that are known for what they are: leaktrack's own memory, loaded
//! modules, the program's mappings, the first thread's stack and control block.
//! It must never guess: what nobody wrote down is not in the list.

use crate::arena::{self, AVec, PAGE_BYTES};
use crate::mappings::Mapping;
use crate::{helper, modules, state};

/// What a known range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// leaktrack's.
    Own,
    /// A module's memory that no file backs.
    Module,
    /// A mapping of the program's.
    Mapping,
    /// One that the program made while recording was off.
    Unrecorded,
    /// A range that an allocator other than glibc's mapped.
    Held,
}

/// A range.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
    /// Site of a mapping, id of a module.
    pub site: u32,
    /// Its birth.
    pub epoch: u32,
}

/// Known ranges by address.
pub struct Known {
    list: AVec<Range>,
    /// Not all found room.
    pub incomplete: bool,
}

impl Known {
    /// As of now.
    pub fn collect() -> Known {
        let mut known = Known {
            list: AVec::new(),
            incomplete: false,
        };
        state::MAPPINGS.for_each(|mapping| {
            let kind = match mapping.known_site() {
                Some(_) => Kind::Mapping,
                None => Kind::Unrecorded,
            };
            let Mapping {
                start,
                end,
                site,
                epoch,
            } = mapping;
            known.add(start, end, kind, site, epoch);
        });
        // No allocator is kept waiting while the list grows.
        let mut held = 0;
        state::HELD.for_each(|_| held += 1);
        known.incomplete |= !known.list.reserve(held + held / 8 + 16);
        state::HELD.for_each(|range| known.add(range.start, range.end, Kind::Held, 0, 0));
        modules::for_each(|module| {
            if module.gone_ms() == 0 {
                // Its last page is nobody else's.
                let start = module.start & !(PAGE_BYTES - 1);
                let end = module.end.next_multiple_of(PAGE_BYTES);
                known.add(start, end, Kind::Module, module.id, 0);
            }
        });
        // The arena's own list cannot be looked at while the arena is asked for memory.
        let mut wanted = 8;
        arena::for_each_mapping(&mut |_, _| wanted += 1);
        known.incomplete |= !known.list.reserve(wanted);
        let room = &mut known.list;
        arena::for_each_mapping(&mut |start, bytes| {
            wanted = wanted.saturating_sub(1);
            if wanted > 0 {
                let end = start + bytes;
                let (kind, site, epoch) = (Kind::Own, 0, 0);
                room.try_push(Range {
                    start,
                    end,
                    kind,
                    site,
                    epoch,
                });
            }
        });
        let (start, bytes) = helper::memory();
        known.add(start, start + bytes, Kind::Own, 0, 0);
        let by_start = |range: &Range| (range.start, range.end);
        known.list.as_mut_slice().sort_unstable_by_key(by_start);
        known
    }

    fn add(&mut self, start: usize, end: usize, kind: Kind, site: u32, epoch: u32) {
        if start < end {
            self.incomplete |= !self.list.try_push(Range {
                start,
                end,
                kind,
                site,
                epoch,
            });
        }
    }

    /// All of them.
    pub fn ranges(&self) -> &[Range] {
        self.list.as_slice()
    }

    /// The module that an address is in.
    pub fn module_at(&self, addr: usize) -> Option<u32> {
        let ranges = self.list.as_slice();
        let after = ranges.partition_point(|range| range.start <= addr);
        let near = ranges.get(after.saturating_sub(2)..after)?;
        let module = |range: &&Range| range.kind == Kind::Module && addr < range.end;
        near.iter().rev().find(module).map(|range| range.site)
    }

    /// Cuts `[start, end)` into what is known and what is not, in order.
    pub fn cut(
        &self,
        start: usize,
        end: usize,
        each: &mut dyn FnMut(usize, usize, Option<&Range>),
    ) {
        let ranges = self.list.as_slice();
        // Ranges hardly ever overlap; where they do, the one that begins first counts.
        let first = ranges.partition_point(|range| range.start <= start);
        let first = first.saturating_sub(2);
        let mut at = start;
        for range in ranges.get(first..).unwrap_or_default() {
            if range.start >= end || at >= end {
                break;
            }
            if range.end <= at {
                continue;
            }
            if range.start > at {
                each(at, range.start, None);
            }
            let (from, to) = (range.start.max(at), range.end.min(end));
            each(from, to, Some(range));
            at = to;
        }
        if at < end {
            each(at, end, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn cuts_in_order_without_gaps() {
        let mut known = Known {
            list: AVec::new(),
            incomplete: false,
        };
        known.add(10, 20, Kind::Own, 0, 0);
        known.add(20, 30, Kind::Mapping, 1, 1);
        known.add(40, 50, Kind::Module, 0, 0);
        let cut = |start, end| {
            let mut pieces = Vec::new();
            known.cut(start, end, &mut |a, b, range| {
                pieces.push((a, b, range.map(|range| range.kind)));
            });
            pieces
        };
        assert_eq!(
            cut(5, 45),
            [
                (5, 10, None),
                (10, 20, Some(Kind::Own)),
                (20, 30, Some(Kind::Mapping)),
                (30, 40, None),
                (40, 45, Some(Kind::Module))
            ]
        );
        assert_eq!(cut(25, 28), [(25, 28, Some(Kind::Mapping))]);
        assert_eq!(cut(60, 70), [(60, 70, None)]);
        assert_eq!(
            [39, 40, 49, 50].map(|at| known.module_at(at)),
            [None, Some(0), Some(0), None]
        );
    }
}
