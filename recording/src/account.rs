//! Owns the records that tell where resident memory is: parts, arenas, and residency per site.
//! It must never interpret a part that it does not know: a newer writer may add some.

use crate::deltas::{Packer, unpack};
use crate::fields::Input;
use crate::sink::{Sink, WriteError};
use crate::types::TimeMs;

/// Numbers of the parts that memory is divided into. They only grow.
pub mod part {
    /// Live blocks of the malloc family, the bytes that were asked for.
    pub const LIVE_BLOCKS: u32 = 1;
    /// Memory of the allocator in which no block lives.
    pub const ALLOCATOR_FREE: u32 = 2;
    /// Headers of the allocator and what it rounds sizes up by.
    pub const ALLOCATOR_OVERHEAD: u32 = 3;
    /// The program's own private anonymous mappings.
    pub const MAPPINGS: u32 = 4;
    /// Stacks of threads, with what libc keeps beside them.
    pub const STACKS: u32 = 5;
    /// Pages of the executable and of libraries that are the file's.
    pub const MODULES_SHARED: u32 = 6;
    /// Pages of the executable and of libraries that were written to.
    pub const MODULES_PRIVATE: u32 = 7;
    /// Shared memory: anonymous, `memfd`, System V, POSIX.
    pub const SHARED_MEMORY: u32 = 8;
    /// Other files mapped.
    pub const FILES: u32 = 9;
    /// leaktrack's own: its library and what it mapped.
    pub const OWN: u32 = 10;
    /// The allocator's memory as a whole, where its blocks are not all known.
    pub const HEAP: u32 = 11;
    /// Heap of the Go runtime.
    pub const GO: u32 = 12;
    /// Heap of V8.
    pub const V8: u32 = 13;
    /// Heap of a JVM.
    pub const JVM: u32 = 14;
    /// Other mappings that their owner named.
    pub const NAMED: u32 = 15;
    /// The program's own private anonymous mappings of which no site is known: recording was off when they were made.
    pub const UNRECORDED: u32 = 16;
    /// Memory that was found, of which leaktrack had no memory to tell what it is.
    pub const UNTOLD: u32 = 17;
}

/// A moment's account of resident memory; its parts are the memory that was found, so that what
/// they lack of `rss_bytes` is what nobody can explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountHead {
    /// When.
    pub at_ms: TimeMs,
    /// Resident set, as the kernel counts it.
    pub rss_bytes: u64,
    /// Proportional set, as the kernel counts it.
    pub pss_bytes: Option<u64>,
    /// Swapped out.
    pub swap_bytes: u64,
    /// Of the resident set, in transparent huge pages.
    pub huge_bytes: u64,
    /// Mappings looked at.
    pub mappings: u64,
    /// How long it took.
    pub duration_us: u64,
    /// CPU time that it took.
    pub cpu_us: u64,
    /// Live bytes of the malloc family at that moment.
    pub live_bytes: u64,
    /// Of these, on pages that were never touched or were given back.
    pub untouched_bytes: u64,
    /// Of these, swapped out.
    pub live_swapped_bytes: u64,
    /// Address space that could not be looked at.
    pub skipped_bytes: u64,
    /// Thread stacks found.
    pub stacks: u64,
    /// The kernel refused `pagemap`: which pages are resident is an estimate by `mincore`.
    pub by_mincore: bool,
}

/// An account of memory: its head and its encoded parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// The sums.
    pub head: AccountHead,
    /// Encoded [`NumaNode`]s, ascending by number; read with `nodes()`. Empty where there is one node.
    pub nodes: &'a [u8],
    /// Encoded [`Part`]s, ascending by number; read with `parts()`.
    pub parts: &'a [u8],
}

/// One part of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Which, see [`part`].
    pub number: u32,
    /// Resident.
    pub resident_bytes: u64,
    /// Its share of the proportional set.
    pub proportional_bytes: u64,
    /// Swapped out.
    pub swapped_bytes: u64,
}

/// One NUMA node: what of the process is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumaNode {
    /// From 1: the kernel's number plus one.
    pub number: u32,
    /// Resident memory of the process on it; 0 for all nodes: it was not looked at.
    pub resident_bytes: u64,
    /// The node's memory.
    pub host_bytes: u64,
    /// Of it, free.
    pub host_free_bytes: u64,
    /// Threads of the process that ran there last.
    pub threads: u64,
}

/// Residency of sites' live memory at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residency<'a> {
    /// When.
    pub at_ms: TimeMs,
    /// Encoded [`SiteResidency`]s, ascending by site; read with `sites()`.
    pub sites: &'a [u8],
}

/// Where the live memory of a site is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteResidency {
    /// Site id.
    pub site: u32,
    /// Live bytes looked at.
    pub live_bytes: u64,
    /// Of these, resident.
    pub resident_bytes: u64,
    /// Of these, swapped out.
    pub swapped_bytes: u64,
    /// Pages that are at least half free and whose live blocks are all of this site.
    pub pinned_pages: u64,
    /// Free bytes on them.
    pub pinned_bytes: u64,
}

/// The allocator's arenas at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arenas<'a> {
    /// When.
    pub at_ms: TimeMs,
    /// Encoded [`Arena`]s, ascending by number; read with `arenas()`.
    pub arenas: &'a [u8],
}

/// One arena of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arena {
    /// From 1; 1 is the main one.
    pub number: u32,
    /// Address space that it uses.
    pub held_bytes: u64,
    /// Resident.
    pub resident_bytes: u64,
    /// Of these, in live blocks.
    pub live_bytes: u64,
    /// Of these, headers and rounding.
    pub overhead_bytes: u64,
    /// Of these, free.
    pub free_bytes: u64,
    /// Of the free ones, in whole pages that trimming returns.
    pub releasable_bytes: u64,
    /// Of the free ones, in whole pages at the arena's end that only a later `free` returns.
    pub top_bytes: u64,
}

macro_rules! packed {
    ($writer:ident, $reader:ident, $item:ident, $key:ident, $count:literal, [$($field:ident),*]) => {
        #[doc = concat!("Packs [`", stringify!($item), "`]s.")]
        pub struct $writer<'a>(Packer<'a>);

        impl<'a> $writer<'a> {
            /// Appends to `sink`.
            pub fn new(sink: &'a mut dyn Sink) -> Self {
                $writer(Packer { sink, last: 0 })
            }

            /// Appends one; they must ascend. After an error the sink is to be thrown away.
            pub fn push(&mut self, item: &$item) -> Result<(), WriteError> {
                let $item { $key, $($field),* } = *item;
                self.0.push($key, &[$($field),*])
            }
        }

        #[doc = concat!("The [`", stringify!($item), "`]s of a record, ascending.")]
        #[derive(Clone, Debug)]
        pub struct $reader<'a> {
            input: Input<'a>,
            last: u32,
        }

        impl<'a> $reader<'a> {
            fn of(bytes: &'a [u8]) -> Self {
                $reader { input: Input(bytes), last: 0 }
            }

            /// True at the end of a well-formed list, false where it stopped at malformed bytes.
            pub(crate) fn ends_well(mut self) -> bool {
                self.by_ref().for_each(drop);
                self.input.is_empty()
            }
        }

        impl Iterator for $reader<'_> {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                let ($key, [$($field),*]) = unpack::<$count>(&mut self.input, &mut self.last)?;
                Some($item { $key, $($field),* })
            }
        }
    };
}

packed!(
    PartWriter,
    Parts,
    Part,
    number,
    3,
    [resident_bytes, proportional_bytes, swapped_bytes]
);
packed!(
    NumaNodeWriter,
    NumaNodes,
    NumaNode,
    number,
    4,
    [resident_bytes, host_bytes, host_free_bytes, threads]
);
packed!(
    ResidencyWriter,
    SiteResidencies,
    SiteResidency,
    site,
    5,
    [
        live_bytes,
        resident_bytes,
        swapped_bytes,
        pinned_pages,
        pinned_bytes
    ]
);
packed!(
    ArenaWriter,
    ArenaList,
    Arena,
    number,
    7,
    [
        held_bytes,
        resident_bytes,
        live_bytes,
        overhead_bytes,
        free_bytes,
        releasable_bytes,
        top_bytes
    ]
);

impl<'a> Account<'a> {
    /// The parts, ascending by number. Of an account that a reader returned the list is whole.
    pub fn parts(&self) -> Parts<'a> {
        Parts::of(self.parts)
    }

    /// The NUMA nodes, ascending by number.
    pub fn nodes(&self) -> NumaNodes<'a> {
        NumaNodes::of(self.nodes)
    }
}

impl<'a> Residency<'a> {
    /// The sites, ascending; see [`Account::parts`].
    pub fn sites(&self) -> SiteResidencies<'a> {
        SiteResidencies::of(self.sites)
    }
}

impl<'a> Arenas<'a> {
    /// The arenas, ascending; see [`Account::parts`].
    pub fn arenas(&self) -> ArenaList<'a> {
        ArenaList::of(self.arenas)
    }
}
