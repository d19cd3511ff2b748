//! Owns the layout of the control page: the second half of block 0, through which a tool asks a
//! running process for something.
//!
//! Nothing of it belongs to the recording proper: a reader of recordings skips it, and what it
//! holds may change at any time. All fields are little-endian, naturally aligned, and zero in a
//! new file.
//!
//! ```text
//! offset  size  field
//!   2048     4  REQUEST   number of the last request; the futex word that the process waits on
//!   2052     4  KIND      what is asked
//!   2056     8  ARGUMENT  depends on the kind
//!   2064     4  REPLY     number of the last request that was answered; the asker waits on it
//!   2068     4  STATUS    answer: 0 done, else why not
//!   2072    40  FAMILY    sums over the family, see [`FamilyCounts`]
//!   2112     4  TEXT_LEN  bytes of text that follow
//!   2116  1968  TEXT      text of the request (the label of a mark), then that of the answer
//!   4084     4  BEGUN     number of the last request that the process took up
//!   4088     8  PROGRESS  how far a scan is that was asked for, see [`ScanProgress`]
//! ```
//!
//! The asker writes kind, argument and text, and 0 to `PROGRESS`, raises `REQUEST` by one, and wakes it; the process
//! writes `BEGUN` = `REQUEST` before it reads the kind, and answers by writing the status and its own words in place of the request's text, then `REPLY` =
//! `REQUEST`, and wakes that. Askers take turns by an exclusive `flock` on the file, from before the
//! first store until the answer has been read. One that waits no longer writes [`KIND_NONE`], so
//! that the request is not carried out when nobody expects it any more, and reads `BEGUN` after that: if it
//! is the request's, the process may have read the kind before. A scan that has begun ends
//! then, and also when `REQUEST` changes, since its asker must be gone. What was withdrawn gets no
//! answer.
//!
//! A mark, worked through: `REQUEST` is 7, and so is `REPLY`. The asker writes 5 at 2052, 6 at 2112,
//! `deploy` at 2116, then 8 at 2048, and waits on 2064 while that holds 7. The process writes 8 at
//! 4084, reads the page, writes 0 at 2068, 0 at 2112, then 8 at 2064. After 2^32 - 1 comes 1.

/// Where the control page begins in the file.
pub const OFFSET: u64 = 2048;
/// How long it is.
pub const LEN: u64 = 2048;

/// Offset of the request number, a `u32` and a futex word.
pub const REQUEST: u64 = 2048;
/// Offset of the kind of request, a `u32`.
pub const KIND: u64 = 2052;
/// Offset of the request's argument, a `u64`.
pub const ARGUMENT: u64 = 2056;
/// Offset of the number of the last request answered, a `u32` and a futex word.
pub const REPLY: u64 = 2064;
/// Offset of the answer, a `u32`.
pub const STATUS: u64 = 2068;
/// Offset of the [`FamilyCounts`].
pub const FAMILY: u64 = 2072;
/// Offset of the length of the text, a `u32`.
pub const TEXT_LEN: u64 = 2112;
/// Offset of the text.
pub const TEXT: u64 = 2116;
/// Longest text in bytes.
pub const TEXT_MAX: u64 = BEGUN - TEXT;
/// Offset of the number of the last request that the process took up, a `u32`.
pub const BEGUN: u64 = 4084;
/// Offset of how far a scan is, a `u64`: a [`ScanProgress`], or 0.
pub const PROGRESS: u64 = 4088;

/// Kind: nothing; the request was withdrawn.
pub const KIND_NONE: u32 = 0;
/// Kind: take a snapshot now.
pub const KIND_SNAPSHOT: u32 = 1;
/// Kind: scan for unreachable blocks; the argument is a [`ScanWish`].
pub const KIND_SCAN: u32 = 2;
/// Kind: switch recording on.
pub const KIND_ENABLE: u32 = 3;
/// Kind: switch recording off.
pub const KIND_DISABLE: u32 = 4;
/// Kind: put a mark, whose label is the text, into the timeline.
pub const KIND_MARK: u32 = 5;

/// Status: done.
pub const STATUS_DONE: u32 = 0;
/// Status: the library does not know this kind of request.
pub const STATUS_UNKNOWN: u32 = 1;
/// Status: the library cannot do it in this process.
pub const STATUS_REFUSED: u32 = 2;

/// How to scan: the argument of [`KIND_SCAN`].
///
/// ```text
/// bit 0        in a forked copy
/// bits 8-15    share of one processor in percent; 0: as the library sees fit
/// bits 32-63   milliseconds between passes; 0: as the library sees fit
/// ```
///
/// ```
/// use leaktrack_recording::control::ScanWish;
/// let wish = ScanWish { fork: true, percent: 10, apart_ms: 250 };
/// assert_eq!(wish.encode(), 0xfa_0000_0a01);
/// assert_eq!(ScanWish::decode(wish.encode()), wish);
/// assert_eq!(ScanWish::decode(0), ScanWish::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanWish {
    /// In a forked copy of the process.
    pub fork: bool,
    /// Share of one processor; 0: as the library sees fit.
    pub percent: u8,
    /// Time between passes; 0: as the library sees fit.
    pub apart_ms: u32,
}

impl ScanWish {
    /// As a number.
    pub const fn encode(self) -> u64 {
        self.fork as u64 | (self.percent as u64) << 8 | (self.apart_ms as u64) << 32
    }

    /// From a number; any is one.
    pub const fn decode(argument: u64) -> Self {
        ScanWish {
            fork: argument & 1 != 0,
            percent: (argument >> 8) as u8,
            apart_ms: (argument >> 32) as u32,
        }
    }
}

/// What a scan is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanPhase {
    /// Listing the live blocks.
    Listing,
    /// Looking for pointers to them.
    Passing,
    /// Saying how those are lost that nothing points to.
    Judging,
}

/// How far a scan is that was asked for, while it goes on.
///
/// ```text
/// bits 0-7     1 listing, 2 passing, 3 judging; 0: nothing is known
/// bits 8-31    number of the pass, from 1 on
/// bits 32-63   blocks to which nothing has led yet; as many as fit
/// ```
///
/// ```
/// use leaktrack_recording::control::{ScanPhase, ScanProgress};
/// let progress = ScanProgress { phase: ScanPhase::Passing, pass: 3, left: 250 };
/// assert_eq!(progress.encode(), 0xfa_0000_0302);
/// assert_eq!(ScanProgress::decode(progress.encode()), Some(progress));
/// assert_eq!(ScanProgress::decode(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanProgress {
    /// What it is doing.
    pub phase: ScanPhase,
    /// Which pass; 0 before the first.
    pub pass: u32,
    /// Blocks to which nothing has led yet.
    pub left: u32,
}

impl ScanProgress {
    const PASS_END: u32 = 1 << 24;

    /// As a number.
    pub const fn encode(self) -> u64 {
        let phase = match self.phase {
            ScanPhase::Listing => 1,
            ScanPhase::Passing => 2,
            ScanPhase::Judging => 3,
        };
        let pass = self.pass % Self::PASS_END;
        phase | (pass as u64) << 8 | (self.left as u64) << 32
    }

    /// From a number; `None` where it says nothing that is known.
    pub const fn decode(word: u64) -> Option<Self> {
        let phase = match word as u8 {
            1 => ScanPhase::Listing,
            2 => ScanPhase::Passing,
            3 => ScanPhase::Judging,
            _ => return None,
        };
        Some(ScanProgress {
            phase,
            pass: (word >> 8) as u32 % Self::PASS_END,
            left: (word >> 32) as u32,
        })
    }
}

/// What became of other recordings of the family that the option `family-disk` left no room for:
/// kept in the first one's file, changed by any process of the family under an exclusive `flock` on
/// the folder.
///
/// ```text
///  0  4  recordings of ended processes that were removed and added up here
///  4  4  processes that found no room for a recording
///  8  8  allocations of the former
/// 16  8  frees
/// 24  8  bytes live at their ends
/// 32  8  0
/// ```
///
/// ```
/// use leaktrack_recording::control::FamilyCounts;
/// let counts = FamilyCounts { folded: 2, unrecorded: 1, allocations: 300, frees: 299, live_bytes: 64 };
/// let bytes = counts.encode();
/// assert_eq!(bytes[..9], [2, 0, 0, 0, 1, 0, 0, 0, 0x2c]);
/// assert_eq!(FamilyCounts::decode(&bytes), counts);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyCounts {
    /// Recordings removed.
    pub folded: u32,
    /// Processes without a recording.
    pub unrecorded: u32,
    /// Allocations in the recordings removed.
    pub allocations: u64,
    /// Frees in them.
    pub frees: u64,
    /// Bytes live at the ends of their processes.
    pub live_bytes: u64,
}

impl FamilyCounts {
    /// Length on disk.
    pub const BYTES: usize = 40;

    /// The bytes on disk.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts: [&[u8]; 5] = [
            &self.folded.to_le_bytes(),
            &self.unrecorded.to_le_bytes(),
            &self.allocations.to_le_bytes(),
            &self.frees.to_le_bytes(),
            &self.live_bytes.to_le_bytes(),
        ];
        let values = parts.into_iter().flatten();
        for (to, from) in bytes.iter_mut().zip(values) {
            *to = *from;
        }
        bytes
    }

    /// From the bytes on disk; any bytes make some.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let number = |at: usize, len: usize| {
            let bytes = bytes.iter().skip(at).take(len);
            bytes
                .rev()
                .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte))
        };
        FamilyCounts {
            folded: number(0, 4) as u32,
            unrecorded: number(4, 4) as u32,
            allocations: number(8, 8),
            frees: number(16, 8),
            live_bytes: number(24, 8),
        }
    }
}
