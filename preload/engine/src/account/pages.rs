//! Owns the pages of private anonymous memory: which part each belongs to. Pages of heaps are told
//! apart by the blocks that were put on them; where blocks are missing, those that are known only
//! tell where heaps are.
//! It must never count a page twice, and leaves to nobody what it cannot tell.

use leaktrack_recording::{Arena, area, part};

use super::areas;
use super::arenas::{self, ArenaList, HEAP_BYTES};
use super::blocks::{Rounding, Walk};
use super::chunks::Chunks;
use super::kept::{self, Gaps, Reader};
use super::known::{Kind, Known};
use super::layout::{Layout, Look};
use super::regions::{MANY, Regions, Shown};
use super::tally::{Kind as Backing, Parts, Tally};
use crate::arena::AVec;
use crate::lifecycle;
use crate::state::LIVE;

const PAGE: usize = 4096;
/// A page pins memory if at least this much of it is free.
const PINNED_BYTES: usize = PAGE / 2;

/// What a piece of anonymous memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The heap that grows by `brk`.
    Break,
    /// A heap of another arena, by its place in the list.
    Heap(u32),
    /// A heap of an allocator other than glibc.
    Other,
    /// Perhaps the stack of a thread, if no block lies there.
    MaybeStack,
    /// Unknown, unless blocks lie there.
    Plain,
    /// A part by its number.
    Part(u32),
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    end: usize,
    class: Class,
    /// What it is told as, see [`area`], and which of its kind; once it was summed.
    told: (u32, u32),
}

impl Piece {
    fn new(start: usize, end: usize, class: Class) -> Piece {
        let told = (area::UNKNOWN, 0);
        Piece {
            start,
            end,
            class,
            told,
        }
    }
}

/// Pieces by address.
pub struct Pages {
    list: AVec<Piece>,
}

impl Pages {
    /// Cuts the spans of the layout by what is known.
    pub fn sort(
        layout: &mut Layout,
        known: &Known,
        arenas: &mut ArenaList,
        rounding: Rounding,
    ) -> Pages {
        let mut pages = Pages { list: AVec::new() };
        let first_stack = lifecycle::first_thread_pointer();
        let mut complete = true;
        for span in layout.spans.as_slice() {
            let mut first = true;
            known.cut(span.start, span.end, &mut |start, end, range| {
                let kind = range.map(|range| range.kind);
                let at_guard = core::mem::take(&mut first) && span.look == Look::AboveGuard;
                let class = match (kind, span.look) {
                    // Counted before, as it was then.
                    (Some(Kind::Own), _) => return,
                    (Some(Kind::Module), _) => Class::Part(part::MODULES_PRIVATE),
                    (_, Look::Named(number)) => Class::Part(number),
                    (Some(Kind::Mapping), _) => Class::Part(part::MAPPINGS),
                    (Some(Kind::Unrecorded), _) => Class::Part(part::UNRECORDED),
                    (Some(Kind::Held), _) => Class::Other,
                    (None, Look::Break) => Class::Break,
                    (None, _) if (start..end).contains(&first_stack) => Class::MaybeStack,
                    (None, _) if at_guard => Class::MaybeStack,
                    (None, _) => Class::Plain,
                };
                complete &= match class {
                    Class::Plain | Class::MaybeStack if rounding == Rounding::Glibc => {
                        pages.cut_heaps(start, end, class, &layout.regions, arenas)
                    }
                    _ => {
                        let mut piece = Piece::new(start, end, class);
                        if let (Some(Kind::Mapping), Some(range)) = (kind, range) {
                            piece.told = (area::MAPPING, range.site);
                        }
                        pages.list.try_push(piece)
                    }
                };
            });
        }
        layout.incomplete |= !complete;
        pages
    }

    /// Asks for page uses where blocks may lie.
    pub fn want_uses(&self, layout: &mut Layout) {
        for piece in self.list.as_slice() {
            if !matches!(piece.class, Class::Part(_)) {
                layout.regions.want_uses(piece.start, piece.end);
            }
        }
    }

    /// Adds a piece, without the heaps of arenas that begin in it.
    fn cut_heaps(
        &mut self,
        start: usize,
        end: usize,
        class: Class,
        regions: &Regions,
        arenas: &mut ArenaList,
    ) -> bool {
        let mut complete = true;
        let mut at = start;
        let mut class = class;
        let mut next = start.next_multiple_of(HEAP_BYTES);
        while next < end {
            // A look at a page that was never touched would map it.
            let on_it = regions.count(next, next + PAGE);
            if on_it.resident() + on_it.swapped != 0
                && let Some(heap) = arenas::heap_at(next)
                && let Some(place) = arenas.add(heap)
            {
                if at < next {
                    complete &= self.list.try_push(Piece::new(at, next, class));
                }
                class = Class::Plain;
                at = end.min(next + HEAP_BYTES);
                let class = Class::Heap(place);
                complete &= self.list.try_push(Piece::new(next, at, class));
            }
            next += HEAP_BYTES;
        }
        if at < end {
            complete &= self.list.try_push(Piece::new(at, end, class));
        }
        complete
    }

    /// Whole ranges of allocators other than glibc are heaps if any block lies there; glibc's blocks lie in arenas, or each in
    /// pages of its own. Such allocators also reserve much, and open a piece of it after the other: it is one range.
    fn find_heaps(&mut self, layout: &Layout) {
        let mut from = 0;
        while let Some((piece, rest)) = self
            .list
            .as_mut_slice()
            .get_mut(from..)
            .and_then(<[Piece]>::split_first_mut)
        {
            from += 1;
            let is_heap = |piece: &Piece| layout.regions.holds_blocks(piece.start, piece.end);
            let is_one = |end, start| {
                layout.ranges.is_reserve(end, start)
                    && layout.regions.count(end, start).resident() == 0
            };
            let mut holds = match piece.class {
                Class::Other => true,
                Class::Plain | Class::MaybeStack => is_heap(piece),
                _ => false,
            };
            let mut end = piece.end;
            let mut length = 0;
            if matches!(piece.class, Class::Plain | Class::Other) {
                for next in rest.iter() {
                    let may_be = matches!(next.class, Class::Plain | Class::Other);
                    if !may_be || !is_one(end, next.start) {
                        break;
                    }
                    holds |= next.class == Class::Other || is_heap(next);
                    end = next.end;
                    length += 1;
                }
            }
            if holds {
                piece.class = Class::Other;
                let run = rest.get_mut(..length).unwrap_or_default();
                run.iter_mut().for_each(|next| next.class = Class::Other);
            }
            from += length;
        }
    }

    /// Adds every piece to its part; the number of stacks. Where blocks are missing heaps stay whole.
    pub fn sum(
        &mut self,
        layout: &mut Layout,
        arenas: &mut ArenaList,
        walk: &mut Walk,
        rounding: Rounding,
    ) -> u64 {
        let mut stacks = 0;
        let mut chunks = Chunks::new();
        if rounding != Rounding::Glibc {
            self.find_heaps(layout);
        }
        let tells = rounding == Rounding::Glibc && walk.complete;
        let mut reader = Reader::new();
        // Blocks are looked up by the thousand.
        let _calm = tells.then(|| LIVE.calm());
        if tells && !kept::has_key() {
            self.learn_key(layout, arenas);
        }
        for piece in self.list.as_mut_slice() {
            let Piece {
                start, end, class, ..
            } = *piece;
            let heap = match class {
                Class::Part(number) => {
                    if number == part::STACKS {
                        stacks += 1;
                    }
                    if number != part::MAPPINGS {
                        piece.told = areas::of_part(number);
                    }
                    let tally = layout.tally(start, end);
                    layout.parts.add(number, &tally);
                    continue;
                }
                Class::Break | Class::Heap(_) | Class::Other => Sort::Heap,
                Class::Plain | Class::MaybeStack => Sort::Single,
            };
            let place = match class {
                Class::Heap(place) => arenas.heap(place).copied(),
                _ => None,
            };
            let mut sums = Sums::new(heap);
            sums.top = place.and_then(|heap| heap.top);
            let counted = walk.complete;
            let apart = !counted && heap == Sort::Single && rounding == Rounding::Glibc;
            // Chunks that were swapped out are not read.
            let walked =
                tells && heap == Sort::Heap && layout.regions.count(start, end).swapped == 0;
            let mut gaps = walked.then(|| Gaps::of(&layout.regions, start, end, place.as_ref()));
            layout.regions.for_each_page(start, end, &mut |page| {
                let alone = apart && chunks.hold(&page, start, end);
                match counted {
                    true => sums.page(&page, &mut |site, free| walk.pin(site, free)),
                    false => sums.page_of_some(&page, alone),
                }
                if let Some(gaps) = &mut gaps {
                    gaps.page(&page, is_free(&page), &mut reader);
                }
            });
            if let Some(mut gaps) = gaps {
                gaps.close(&mut reader);
                sums.keep(gaps.kept_bytes);
            }
            if let Some(heap) = &place {
                sums.move_to_overhead(arenas::header_bytes(heap) as u64);
            }
            if sums.rest.is_empty() || class != Class::MaybeStack {
                sums.give(&mut layout.parts, None);
            } else {
                stacks += 1;
                sums.give(&mut layout.parts, Some(part::STACKS));
            }
            let is_stack = class == Class::MaybeStack && !sums.rest.is_empty();
            piece.told = match (heap, &place) {
                (Sort::Heap, Some(heap)) => (area::HEAP, arenas.number_of(heap)),
                (Sort::Heap, None) => (area::HEAP, u32::from(class == Class::Break)),
                (Sort::Single, _) if is_stack => (area::STACK, 0),
                (Sort::Single, _) if sums.is_blocks() => (area::LARGE_BLOCKS, sums.one_site()),
                (Sort::Single, _) => (area::UNKNOWN, 0),
            };
            if heap == Sort::Heap {
                let last = place.is_some_and(|heap| arenas.is_last(&heap));
                if let Some(arena) = arenas.sums_mut(place.as_ref()) {
                    let held = place.map_or(end - start, |heap| heap.bytes);
                    sums.add_to(arena, held as u64, last);
                }
            }
        }
        stacks
    }

    /// Goes through heaps until a key is found.
    fn learn_key(&self, layout: &Layout, arenas: &ArenaList) {
        let mut reader = Reader::for_key();
        for piece in self.list.as_slice() {
            let place = match piece.class {
                Class::Break => None,
                Class::Heap(place) => arenas.heap(place),
                _ => continue,
            };
            let (start, end) = (piece.start, piece.end);
            if layout.regions.count(start, end).swapped != 0 {
                continue;
            }
            let mut gaps = Gaps::of(&layout.regions, start, end, place);
            layout.regions.for_each_page(start, end, &mut |page| {
                if !reader.is_spent() && !kept::has_key() {
                    gaps.page(&page, is_free(&page), &mut reader);
                }
            });
            gaps.close(&mut reader);
        }
    }

    /// Cuts a range into what was summed, with what it is told as, and the rest, in order.
    pub fn show(
        &self,
        start: usize,
        end: usize,
        each: &mut dyn FnMut(usize, usize, Option<(u32, u32)>),
    ) {
        let list = self.list.as_slice();
        let first = list.partition_point(|piece| piece.end <= start);
        let mut at = start;
        for piece in list.get(first..).unwrap_or_default() {
            if piece.start >= end {
                break;
            }
            if piece.start > at {
                each(at, piece.start, None);
            }
            let (from, to) = (piece.start.max(at), piece.end.min(end));
            if from < to {
                each(from, to, Some(piece.told));
                at = to;
            }
        }
        if at < end {
            each(at, end, None);
        }
    }
}

/// No block lies on a page, and nothing of the allocator's around one.
fn is_free(page: &Shown) -> bool {
    let on_it = page.on_it;
    on_it.is_some_and(|on_it| on_it.live == 0 && on_it.overhead == 0)
}

/// Adds bytes of a page.
fn add(tally: &mut Tally, page: &Shown, bytes: usize) {
    match page.resident {
        true => tally.bytes(Backing::Anonymous, page.exclusive, bytes as u64),
        false => tally.swapped(bytes as u64),
    }
}

/// How the free memory of a piece is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// The allocator's.
    Heap,
    /// Each block has pages of its own: what is free on them is rounding; other pages are not the
    /// allocator's.
    Single,
}

/// Sums of one piece.
struct Sums {
    sort: Sort,
    live: Tally,
    overhead: Tally,
    free: Tally,
    /// The heap as a whole, of which nothing more is known.
    whole: Tally,
    /// Pages without blocks.
    rest: Tally,
    /// The site of its blocks; 0: none, [`MANY`]: several, or not known.
    site: u32,
    releasable_bytes: u64,
    /// Of these, those of the arena's end.
    top_bytes: u64,
    /// Where the arena's end begins; `None`: after the last page with a block.
    top: Option<usize>,
}

impl Sums {
    fn new(sort: Sort) -> Sums {
        Sums {
            sort,
            live: Tally::default(),
            overhead: Tally::default(),
            free: Tally::default(),
            whole: Tally::default(),
            rest: Tally::default(),
            site: 0,
            releasable_bytes: 0,
            top_bytes: 0,
            top: None,
        }
    }

    /// Adds a page of which not all blocks are known. `alone`: of a block with pages of its own.
    fn page_of_some(&mut self, page: &Shown, alone: bool) {
        let tally = match self.sort {
            Sort::Single if !page.occupied && !alone => &mut self.rest,
            _ => &mut self.whole,
        };
        add(tally, page, PAGE);
    }

    fn page(&mut self, page: &Shown, pin: &mut dyn FnMut(u32, u64)) {
        let Some(on_it) = page.on_it else {
            return self.page_of_some(page, false);
        };
        let add = |tally: &mut Tally, bytes| add(tally, page, bytes);
        let live = usize::from(on_it.live).min(PAGE);
        let overhead = usize::from(on_it.overhead).min(PAGE - live);
        let free = PAGE - live - overhead;
        if live + overhead == 0 {
            if self.sort == Sort::Heap {
                add(&mut self.free, PAGE);
                if page.resident {
                    self.releasable_bytes += PAGE as u64;
                    if self.top.is_none_or(|top| page.addr >= top) {
                        self.top_bytes += PAGE as u64;
                    }
                }
            } else {
                add(&mut self.rest, PAGE);
            }
            return;
        }
        self.top_bytes = 0;
        if live > 0 {
            self.site = match self.site {
                0 => on_it.site,
                known if known == on_it.site => known,
                _ => MANY,
            };
        }
        add(&mut self.live, live);
        add(&mut self.overhead, overhead);
        match self.sort {
            Sort::Heap => add(&mut self.free, free),
            Sort::Single => add(&mut self.overhead, free),
        }
        let alone = on_it.site != 0 && on_it.site != MANY;
        if self.sort == Sort::Heap && page.resident && alone && free >= PINNED_BYTES {
            pin(on_it.site, free as u64);
        }
    }

    /// Most of it is blocks.
    fn is_blocks(&self) -> bool {
        let bytes = |tally: &Tally| tally.resident_bytes() + tally.swapped_bytes();
        let [live, overhead, whole] = [&self.live, &self.overhead, &self.whole].map(bytes);
        live + overhead + whole > bytes(&self.rest)
    }

    /// The site of all its blocks, 0 if there is no such.
    fn one_site(&self) -> u32 {
        match self.site {
            MANY => 0,
            site => site,
        }
    }

    /// So much of what is free on whole pages stays.
    fn keep(&mut self, bytes: u64) {
        self.releasable_bytes = self.releasable_bytes.saturating_sub(bytes);
    }

    /// So much of what looks free is the allocator's own.
    fn move_to_overhead(&mut self, bytes: u64) {
        let moved = self.free.take(bytes);
        self.overhead.add(&moved);
    }

    fn give(&self, parts: &mut Parts, rest: Option<u32>) {
        parts.add(part::LIVE_BLOCKS, &self.live);
        parts.add(part::ALLOCATOR_OVERHEAD, &self.overhead);
        parts.add(part::ALLOCATOR_FREE, &self.free);
        parts.add(part::HEAP, &self.whole);
        if let Some(number) = rest {
            parts.add(number, &self.rest);
        }
    }

    fn add_to(&self, arena: &mut Arena, held_bytes: u64, last: bool) {
        let [live, overhead, free, whole] =
            [&self.live, &self.overhead, &self.free, &self.whole].map(Tally::resident_bytes);
        arena.held_bytes += held_bytes;
        arena.resident_bytes += live + overhead + free + whole;
        arena.live_bytes += live;
        arena.overhead_bytes += overhead;
        arena.free_bytes += free;
        arena.releasable_bytes += match last {
            true => self.releasable_bytes - self.top_bytes,
            false => self.releasable_bytes,
        };
        // Before the last heap nothing is an end.
        if last || arena.number == 1 {
            arena.top_bytes += self.top_bytes;
        }
    }
}
