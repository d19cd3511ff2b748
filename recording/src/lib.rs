//! The file format of leaktrack recordings: the one thing that the preload library and the
//! analyzer share.
//!
//! This crate never allocates, never panics on any input, and depends on nothing. It does no
//! input or output either: the writer stores bytes where it likes, the reader is given all of them.
//!
//! # The file
//!
//! A file is a row of blocks of 4096 bytes. Block 0 is the header; after it come segments of one
//! or more whole blocks, and unused blocks, which are zero. All numbers outside records are
//! little-endian. `crc` is always [`crc32c`].
//!
//! ```text
//! block 0                 block 1            ...
//! +--------+---------+    +---------+---------------+----+    +---------+----
//! | header | control |    | segment | frames        | 0  |    | segment | ...
//! +--------+---------+    +---------+---------------+----+    +---------+----
//! 0        2048           4096
//! ```
//!
//! ## File header
//!
//! [`FileHeader`], 64 bytes. Between it and the [`control`] page all is zero.
//!
//! ```text
//!  0  8  "LEAKTRK\0"
//!  8  2  major version
//! 10  2  minor version
//! 12  4  0
//! 16 16  identity of the recording
//! 32  8  time of creation, nanoseconds since 1970
//! 40 16  identity of the family's first recording; 0 in that one
//! 56  4  0
//! 60  4  crc of bytes 0 to 59
//! ```
//!
//! ```
//! # use leaktrack_recording::*;
//! let bytes = FileHeader::new(*b"0123456789abcdef", 1_700_000_000_000_000_000).encode();
//! assert_eq!(bytes[..16], *b"LEAKTRK\0\x01\0\0\0\0\0\0\0");
//! assert_eq!(bytes[16..32], *b"0123456789abcdef");
//! assert_eq!(bytes[32..40], [0x00, 0x00, 0x2a, 0x36, 0xfe, 0x9c, 0x97, 0x17]);
//! assert_eq!(bytes[60..], [0x15, 0x03, 0x53, 0x97]);
//! ```
//!
//! ## Segment
//!
//! [`SegmentHeader`], 32 bytes, then frames. A segment holds records of one [`SegmentKind`]; which
//! one is theirs says [`Record::segment_kind`]. Its number, `seq`, occurs once in the file and is
//! higher the later the segment was begun.
//!
//! ```text
//!  0  4  "LTSG"
//!  4  1  kind: 0 free, 1 definitions, 2 snapshots, 3 ages, 4 events, 5 symbols
//!  5  1  level: how often its snapshots were thinned
//!  6  2  0
//!  8  4  length in blocks, header included
//! 12  4  0
//! 16  8  seq
//! 24  4  0
//! 28  4  crc of bytes 0 to 27
//! ```
//!
//! ```
//! # use leaktrack_recording::*;
//! let kind = SegmentKind::Snapshots;
//! let bytes = SegmentHeader { kind, level: 1, blocks: 16, seq: 5 }.encode();
//! assert_eq!(bytes[..16], *b"LTSG\x02\x01\0\0\x10\0\0\0\0\0\0\0");
//! assert_eq!(bytes[16..28], [5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
//! assert_eq!(bytes[28..], [0x53, 0xba, 0xbe, 0x24]);
//! ```
//!
//! ## Frame
//!
//! Each record stands in a frame. The last frame of a segment is followed by [`END_OF_FRAMES`],
//! eight zero bytes, or by less room than that.
//!
//! ```text
//!  0  4  len: length of the record, at least 1
//!  4  4  crc of: seq (8 bytes), len (4 bytes), the record
//!  8     the record
//! ```
//!
//! Since `seq` is in the checksum, what an earlier use of the same blocks left behind never looks
//! valid.
//!
//! ```
//! # use leaktrack_recording::*;
//! let mut buffer = [0; 64];
//! let len = frame_into(5, &Record::Arg(b"-v"), &mut buffer)?;
//! assert_eq!(buffer[..len], [4, 0, 0, 0, 0xea, 0xa2, 0xe3, 0x4f, 2, 2, b'-', b'v']);
//! # Ok::<(), Full>(())
//! ```
//!
//! ## Record
//!
//! A tag byte, then fields. `n` is an unsigned varint (LEB128, at most ten bytes), `z` a zigzag
//! varint, `s` a varint length and so many bytes, `b` a byte.
//!
//! ```text
//!  1 Process     id (16 bytes), flags b (1 has parent, 2 forked), [parent (16 bytes)],
//!                pid n, ppid n, exe s, host s, started_unix_ns n, start_ticks n,
//!                mode b (0 exact, 1 sample, 2 budget, 3 dormant) and its value n (or 0),
//!                depth n, interval_ms n, page_bytes n, inherited_bytes n, inherited_blocks n,
//!                allocator s, options s, version s
//!  2 Arg         s
//!  3 Label       key s, value s
//!  4 Env         name s, value s
//!  5 Module      id n, bias n, start n, end n, generation n, at_ms n, path s, build_id s
//!  6 ModuleGone  id n, at_ms n
//!  7 Node        id n, id - parent n, module n, offset n, exact b
//!  8 Site        flags b (1 mmap, 2 cut, 4 folded), id n, leaf n, first_seen_ms n, thread n,
//!                since added: call n (see [`Call`])
//!  9 Thread      tid n, name s
//! 10 Snapshot    length of head n, head, deltas up to the end of the record
//!        head    flags b (1 has limit, 2 has allocator, 4 the limit is RLIMIT_AS, 8 has
//!                system, 16 has sampling, 32 has rss peak, 64 has temporary,
//!                128 has temporary of sites),
//!                index n,
//!                merged n, at_ms n,
//!                rss_bytes n, vm_bytes n, swap_bytes n, minor_faults n, major_faults n,
//!                threads n, the nine of Totals n, the nine of Coverage n, own_memory_bytes n,
//!                own_cpu_ms n, [limit_bytes n], [the three of AllocatorStats n],
//!                [system], [mean_bytes n, hooks_cpu_us n,
//!                program_cpu_us n], [rss peak: bytes n, at_ms n],
//!                [temporary n], since added: [temporary of sites: length n, bytes:
//!                site - site of the one before n (at least 1), temporary n (at least 1)]
//!        system  its length n, mask of the known fields of System n, these in order n
//!        delta   site - site of the delta before n (at least 1), allocations n, frees n,
//!                allocated_bytes n, freed_bytes n
//! 11 Ages        length of head n, head, ages up to the end of the record
//!        head    at_ms n
//!        age     site - site of the age before n (at least 1), blocks n, oldest_ms n,
//!                median_ms n
//! 12 Event       at_ms n, kind b (0 mark, 1 alert, 2 scan, 3 enable, 4 disable, 5 dlopen,
//!                6 limit, 7 exec, 8 note), text s
//! 13 End         at_ms n, kind b (0 exit, 1 fast exit), status z
//! 14 Spreads     length of head n, head, spreads up to the end of the record
//!        head    at_ms n, mean_bytes n
//!        spread  site - site of the spread before n (at least 1), samples n, sampled_bytes n,
//!                blocks n, bytes n, blocks_error_16 n, bytes_error_16 n
//! 18 Lifetimes   length of head n, head, sites up to the end of the record
//!        head    at_ms n, epoch_us n, least_blocks n
//!        site    site - site of the one before n (at least 1),
//!                freed b (0 not counted, else so many octaves from 1 on plus 1), each n,
//!                live b (so many octaves from 0 on), each n
//! 19 Sizes       length of head n, head, sites up to the end of the record; in a segment of ages
//!        head    at_ms n, least_allocations n
//!        site    site - site of the one before n (at least 1),
//!                temporary + 1 n (0: unknown),
//!                allocated b (0 not counted, else so many classes from 0 on plus 1), each n
//! 20 Account     length of head n, head, parts up to the end of the record
//!        head    flags b (1 has pss, 2 by mincore), at_ms n, rss_bytes n, swap_bytes n,
//!                huge_bytes n, mappings n, duration_us n, cpu_us n, live_bytes n,
//!                untouched_bytes n, live_swapped_bytes n, skipped_bytes n, stacks n,
//!                [pss_bytes n], since added: nodes (length n, bytes): number - number of the node
//!                before n (at least 1), resident_bytes n, host_bytes n, host_free_bytes n, threads n
//!        part    number - number of the part before n (at least 1; see [`part`]),
//!                resident_bytes n, proportional_bytes n, swapped_bytes n
//! 21 Residency   length of head n, head, sites up to the end of the record
//!        head    at_ms n
//!        site    site - site before n (at least 1), live_bytes n, resident_bytes n,
//!                swapped_bytes n, pinned_pages n, pinned_bytes n
//! 22 Arenas      length of head n, head, arenas up to the end of the record
//!        head    at_ms n
//!        arena   number - number before n (at least 1), held_bytes n, resident_bytes n,
//!                live_bytes n, overhead_bytes n, free_bytes n, releasable_bytes n, top_bytes n
//! 23 Areas       length of head n, head, areas up to the end of the record
//!        head    flags b (1 incomplete), at_ms n
//!        area    pages of 4096 bytes from the end of the area before n (the first: from 0), pages n,
//!                kind n (see [`area`]), which n, resident pages n, swapped pages n, gap pages n,
//!                ranges - 1 n, name s
//! 24 Blocks      length of head n, head, blocks up to the end of the record
//!        head    flags b (1 incomplete), at_ms n, known_blocks n, known_bytes n, sites n,
//!                sites_looked_at n, largest n, oldest n
//!        block   address - address of the block before n (at least 1), bytes n, site n, age_ms n,
//!                resident_bytes n
//! 30 Scan        at_ms n, kind b (0 exit, 1 live, 2 fork), flags b (1 complete, 2 lower bound,
//!                4 sites that lost nothing are left out), duration_ms n, passes n,
//!                unread_threads n, excused_per_site n, blocks n, why_not s,
//!                [freed_since n, left out if 0]
//! 31 Losses      length of head n, head, losses up to the end of the record; each scan that is
//!                complete replaces those before
//!        head    at_ms n
//!        loss    site - site of the loss before n (at least 1), since_ms n, bytes n and blocks n
//!                of each kind: definite, indirect, possible, reachable
//! 41 Content     module n, hash n: of the file of a module without build-id
//! 40 Code        name s, nodes up to the end of the record
//!        node    id - id of the node before n (at least 1)
//! 25 Faults      length of head n, head, sites up to the end of the record; in a segment of ages
//!        head    at_ms n, source b (0 off, 1 all, 2 user, 3 refused, 4 too many), error n,
//!                period n, since_ms n, before (minor n, major n), all (the same),
//!                seen + 1 n (0: unknown), lost n, number of regions n, these (minor n, major n);
//!                since added: major ones among seen + 1 n (0: unknown), touches (length n, bytes):
//!                site - site of the one before n, compared n, in_order n, first_ms n, last_ms n
//!        site    site - site of the one before n (at least 1), minor n, major n,
//!                touch_module n, touch_offset n
//! ```
//!
//! ```
//! # use leaktrack_recording::*;
//! fn bytes_of(record: Record) -> Vec<u8> {
//!     let mut buffer = [0; 128];
//!     let mut sink = SliceSink::new(&mut buffer);
//!     encode(&record, &mut sink).unwrap();
//!     sink.written().to_vec()
//! }
//!
//! // Frame 300, called from frame 299, returns to 0x1234 in module 2.
//! let node = Node { id: 300, parent: 299, module: 2, offset: 0x1234, exact: false };
//! assert_eq!(bytes_of(Record::Node(node)), [7, 0xac, 0x02, 1, 2, 0xb4, 0x24, 0]);
//!
//! // Frames 7 and 9 are in code that its runtime calls `f`.
//! let mut buffer = [0; 16];
//! let mut sink = SliceSink::new(&mut buffer);
//! let mut writer = CodeWriter::new(&mut sink);
//! writer.push(7)?;
//! writer.push(9)?;
//! let code = Code { name: b"f", nodes: sink.written() };
//! assert_eq!(bytes_of(Record::Code(code)), [40, 1, b'f', 7, 2]);
//!
//! // One of 13 minor faults is looked at; two such were on blocks of site 3.
//! let mut buffer = [0; 16];
//! let mut sink = SliceSink::new(&mut buffer);
//! let count = FaultCount { minor: 26, major: 0 };
//! FaultWriter::new(&mut sink).push(&SiteFault { site: 3, count, ..Default::default() })?;
//! assert_eq!(sink.written(), [3, 26, 0, 0, 0]);
//! let faults = Faults { at_ms: 9, period: 13, sites: sink.written(), ..Default::default() };
//! let bytes = bytes_of(Record::Faults(faults));
//! assert_eq!(bytes[..7], [25, 28, 9, 0, 0, 13, 0]); // tag, length of head, at_ms, source, ...
//! assert_eq!(bytes[2 + 28..], *sink.written());
//!
//! let end = Record::End { at_ms: 1000, kind: EndKind::Exit, status: -1 };
//! assert_eq!(bytes_of(end), [13, 0xe8, 0x07, 0, 1]);
//!
//! // Of the system two figures are known: the first and the eighth, each of two bytes.
//! let system = System { locked_bytes: Some(300), oom_score: Some(666), ..Default::default() };
//! let head = SnapshotHead { system: Some(system), ..Default::default() };
//! let bytes = bytes_of(Record::Snapshot(Snapshot { head, temporary: None, deltas: &[] }));
//! assert_eq!(bytes[bytes.len() - 7..], [6, 0x81, 0x01, 0xac, 0x02, 0x9a, 0x05]);
//!
//! // One sample of 99 bytes in site 3 stands for 11 blocks: e = 16 sqrt(11 * 10) = 167 sixteenths.
//! let mut buffer = [0; 64];
//! let mut sink = SliceSink::new(&mut buffer);
//! let mut writer = SpreadWriter::new(&mut sink);
//! let (samples, sampled_bytes, blocks, bytes) = (1, 99, 11, 11 * 99);
//! let (blocks_error_16, bytes_error_16) = (167, 16_612);
//! writer.push(&SiteSpread {
//!     site: 3, samples, sampled_bytes, blocks, bytes, blocks_error_16, bytes_error_16,
//! })?;
//! assert_eq!(sink.written(), [3, 1, 99, 11, 0xc1, 0x08, 0xa7, 0x01, 0xe4, 0x81, 0x01]);
//! let head = SpreadsHead { at_ms: 7, mean_bytes: 1024 };
//! let spreads = bytes_of(Record::Spreads(Spreads { head, spreads: sink.written() }));
//! assert_eq!(spreads[..5], [14, 3, 7, 0x80, 0x08]);
//!
//! // 3 MiB were resident, of which 1 MiB were thread stacks.
//! let mut buffer = [0; 64];
//! let mut sink = SliceSink::new(&mut buffer);
//! let number = part::STACKS;
//! let resident_bytes = 1 << 20;
//! PartWriter::new(&mut sink).push(&Part { number, resident_bytes, ..Default::default() })?;
//! assert_eq!(sink.written(), [5, 0x80, 0x80, 0x40, 0, 0]);
//! let head = AccountHead { at_ms: 9, rss_bytes: 3 << 20, ..Default::default() };
//! let account = bytes_of(Record::Account(Account { head, nodes: &[], parts: sink.written() }));
//! assert_eq!(account[..7], [20, 17, 0, 9, 0x80, 0x80, 0xc0]); // tag, length of head, flags, ...
//! assert_eq!(account[2 + 17..], *sink.written());
//!
//! // Sites 4 and 5 allocated: 2 blocks of 64 bytes, of which one was freed, and one of 300.
//! let mut buffer = [0; 64];
//! let mut sink = SliceSink::new(&mut buffer);
//! let mut writer = DeltaWriter::new(&mut sink);
//! let (freed_bytes, frees) = (64, 1);
//! writer.push(&SiteDelta { site: 4, allocations: 2, allocated_bytes: 128, frees, freed_bytes, temporary: 0 })?;
//! let more = SiteDelta { site: 5, allocations: 1, allocated_bytes: 300, ..Default::default() };
//! writer.push(&more)?;
//! assert_eq!(sink.written(), [4, 2, 1, 0x80, 0x01, 64, 1, 1, 0, 0xac, 0x02, 0]);
//!
//! // Site 4: 5 blocks lived for one epoch, 2 for four to seven; 9 live, all of this epoch.
//! let mut freed: Octaves = [0; OCTAVES];
//! (freed[octave(1)], freed[octave(6)]) = (5, 2);
//! let mut live: Octaves = [0; OCTAVES];
//! live[octave(0)] = 9;
//! let mut list = [0; 64];
//! let mut list = SliceSink::new(&mut list);
//! LifetimesWriter::new(&mut list).push(&SiteLifetimes { site: 4, freed: Some(freed), live })?;
//! assert_eq!(list.written(), [4, 4, 5, 0, 2, 1, 9]);
//!
//! // Site 4 allocated 6 blocks of 1 to 8 bytes, of which 2 were temporary, and one of 17 to 32.
//! let mut allocated: BySize = [0; SIZE_CLASSES];
//! (allocated[size_class(8)], allocated[size_class(17)]) = (6, 1);
//! let mut list = [0; 64];
//! let mut list = SliceSink::new(&mut list);
//! let sizes = SiteSizes { site: 4, temporary: Some(2), allocated: Some(allocated) };
//! SizesWriter::new(&mut list).push(&sizes)?;
//! assert_eq!(list.written(), [4, 3, 4, 6, 0, 1]);
//!
//! let scan = Scan { at_ms: 300, duration_ms: 4, complete: true, passes: 1, blocks: 7, ..Default::default() };
//! assert_eq!(bytes_of(Record::Scan(scan)), [30, 0xac, 0x02, 0, 1, 4, 1, 0, 0, 7, 0]);
//!
//! // Site 4 lost a block of 64 bytes, which led to another of 16; found first at 200 ms.
//! let mut list = [0; 64];
//! let mut losses = SliceSink::new(&mut list);
//! let loss = SiteLoss {
//!     site: 4, since_ms: 200, definite_bytes: 64, definite_blocks: 1,
//!     indirect_bytes: 16, indirect_blocks: 1, ..Default::default()
//! };
//! LossWriter::new(&mut losses).push(&loss)?;
//! assert_eq!(losses.written(), [4, 0xc8, 0x01, 64, 1, 16, 1, 0, 0, 0, 0]);
//! let losses = bytes_of(Record::Losses(Losses { at_ms: 300, losses: losses.written() }));
//! assert_eq!(losses[..4], [31, 2, 0xac, 0x02]);
//!
//! let head = SnapshotHead { index: 7, merged: 1, at_ms: 7000, threads: 3, ..Default::default() };
//! let snapshot = bytes_of(Record::Snapshot(Snapshot { head, temporary: None, deltas: sink.written() }));
//! assert_eq!(snapshot[..6], [10, 31, 0, 7, 1, 0xd8]); // tag, length of head, flags, index, ...
//! assert_eq!(snapshot[2 + 31..], *sink.written());
//! # Ok::<(), WriteError>(())
//! ```
//!
//! # Writing
//!
//! A writer may be killed between any two bytes, and readers come while it writes. Therefore:
//!
//! - A record goes in with [`END_OF_FRAMES`] after it, best the record and that end first and the
//!   frame's header last: until then readers see the end where it was.
//! - A new segment over used blocks goes in with [`END_OF_FRAMES`] after its header.
//! - A free segment is one of kind `Free`. If a new one needs less of it, the header of the rest
//!   goes in first; free neighbours are joined by giving the first the length of all.
//! - Snapshots are thinned copy first: [`merge`] pairs into a new segment, whose `seq` is higher,
//!   then free the old. Between the two both are there; [`in_order`] returns the newer alone.
//! - [`Process`] is the first record of the segment with `seq` 1. Frames precede those that they
//!   called and stand before the sites that use them. To write a definition again does no harm.
//!
//! # Reading
//!
//! [`Recording::open`] takes the bytes of a file, whatever they are. It needs no room of its own,
//! so the caller collects what is to be sorted:
//!
//! ```
//! # use leaktrack_recording::*;
//! fn print(bytes: &[u8]) -> Result<(), OpenError> {
//!     let recording = Recording::open(bytes)?;
//!     let mut segments: Vec<_> = recording.segments().collect();
//!     let mut snapshots: Vec<_> = recording.snapshots().collect();
//!     for record in in_order(&mut segments, &mut snapshots) {
//!         println!("{record:?}");
//!     }
//!     for problem in recording.problems() {
//!         eprintln!("{problem}");
//!     }
//!     Ok(())
//! }
//! # assert_eq!(print(b"ELF").unwrap_err().to_string(), "not a leaktrack recording");
//! ```
//!
//! What a reader returns has passed its checksum and makes sense by itself: site ids of a list
//! ascend, a frame's parent has a lower id. Whether an id is defined anywhere is for the caller
//! to look up. The time taken is linear in the length of the file but for the sorting.
//!
//! # Versions
//!
//! A newer **minor** version may add tags (readers skip them, thanks to the frame), kinds of
//! segments (skipped), fields at the end of a record or of the head in a snapshot or ages (not
//! looked at), flags, kinds of events (they read as notes), and fields of headers and of the
//! control page where zeros are now. It writes all that the older one wrote, with the same
//! meaning, so that an old reader is short of news but never wrong. A newer reader takes what is
//! missing from an old file as zero or none.
//!
//! Everything else needs a new **major** version: to change or drop a field, to add a value to
//! another enumeration, to use a number again. Readers refuse another major, so it changes `LTSG`
//! too, for the case that the file header is damaged. The 64 bytes of the file header stay as
//! they are in every version.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod account;
mod code;
mod content;
pub mod control;
mod crc32c;
mod deltas;
mod faults;
mod fields;
mod frame;
mod header;
mod lifetimes;
mod merge;
mod name;
mod order;
mod places;
mod problem;
mod reader;
mod record;
mod sink;
mod sizes;
mod spread;
mod system;
mod types;

pub use account::{
    Account, AccountHead, Arena, ArenaList, ArenaWriter, Arenas, NumaNode, NumaNodeWriter,
    NumaNodes, Part, PartWriter, Parts, Residency, ResidencyWriter, SiteResidencies, SiteResidency,
    part,
};
pub use code::{Code, CodeNodes, CodeWriter};
pub use content::ContentHash;
pub use crc32c::{Crc32c, crc32c};
pub use deltas::{
    AgeWriter, DeltaWriter, Deltas, FaultWriter, LossWriter, SiteAges, SiteFaults, SiteLosses,
    SiteTouches, TemporaryWriter, TouchWriter,
};
pub use frame::{END_OF_FRAMES, FRAME_HEADER_BYTES, Frame, Frames, frame_header, frame_into};
pub use header::{
    BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, MAJOR, MINOR, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentKind,
};
pub use lifetimes::{
    AllLifetimes, Lifetimes, LifetimesHead, LifetimesWriter, OCTAVES, Octaves, SiteLifetimes,
    octave,
};
pub use merge::merge;
pub use name::program_name;
pub use order::{Records, SnapshotRef, in_order};
pub use places::{
    AREA_BYTES, Area, AreaList, AreaWriter, Areas, AreasHead, BlockList, BlockWriter, Blocks,
    BlocksHead, LiveBlock, area,
};
pub use problem::{Fault, OpenError, OpenFault, Problem};
pub use reader::{Pieces, Recording, Segment, SegmentRecords, Segments, Unread};
pub use record::{
    encode, encode_ages, encode_areas, encode_arenas, encode_blocks, encode_faults,
    encode_lifetimes, encode_losses, encode_residency, encode_sizes, encode_snapshot,
    encode_spreads,
};
pub use sink::{Full, Measure, Sink, SliceSink, WriteError};
pub use sizes::{AllSizes, BySize, SIZE_CLASSES, SiteSizes, Sizes, SizesWriter, size_class};
pub use spread::{SiteSpread, SiteSpreads, SpreadWriter, Spreads, SpreadsHead};
pub use system::System;
pub use types::*;
