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
//!   2072    40  (zero)
//!   2112     4  TEXT_LEN  bytes of text that follow
//!   2116  1980  TEXT      text of the request (the label of a mark), then that of the answer
//! ```
//!
//! The asker writes kind, argument and text, raises `REQUEST` by one, and wakes it; the process
//! answers by writing the status and its own words in place of the request's text, then `REPLY` =
//! `REQUEST`, and wakes that. Askers take turns by an exclusive `flock` on the file, from before the
//! first store until the answer has been read. One that waits no longer writes [`KIND_NONE`], so
//! that the request is not carried out when nobody expects it any more.
//!
//! A mark, worked through: `REQUEST` is 7, and so is `REPLY`. The asker writes 5 at 2052, 6 at 2112,
//! `deploy` at 2116, then 8 at 2048, and waits on 2064 while that holds 7. The process reads the
//! page, writes 0 at 2068, 0 at 2112, then 8 at 2064. After 2^32 - 1 comes 1.

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
/// Offset of the length of the text, a `u32`.
pub const TEXT_LEN: u64 = 2112;
/// Offset of the text.
pub const TEXT: u64 = 2116;
/// Longest text in bytes.
pub const TEXT_MAX: u64 = OFFSET + LEN - TEXT;

/// Kind: nothing; the request was withdrawn.
pub const KIND_NONE: u32 = 0;
/// Kind: take a snapshot now.
pub const KIND_SNAPSHOT: u32 = 1;
/// Kind: scan for unreachable blocks; the argument is 1 to do so in a forked copy.
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
