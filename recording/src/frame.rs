//! Owns framing: length and checksum around each record of a segment.

use crate::crc32c::Crc32c;
use crate::fields::Input;
use crate::problem::{Fault, Problem};
use crate::record::{decode, encode};
use crate::sink::{Full, SliceSink};
use crate::types::Record;

/// Length of what stands before each record: `len u32`, `crc32c u32`.
pub const FRAME_HEADER_BYTES: usize = 8;
/// What stands after the last frame of a segment, if there is room for it: the header of no frame.
/// New blocks are zero and have it; whoever uses blocks again writes it.
pub const END_OF_FRAMES: [u8; FRAME_HEADER_BYTES] = [0; FRAME_HEADER_BYTES];

/// What to write before `payload`, one encoded record, in the segment `seq`.
///
/// Fails on a payload that no frame can hold: an empty one, or one of 4 GiB.
pub fn frame_header(seq: u64, payload: &[u8]) -> Result<[u8; FRAME_HEADER_BYTES], Full> {
    let len = u32::try_from(payload.len()).map_err(|_| Full)?;
    if len == 0 {
        return Err(Full);
    }
    let [a, b, c, d] = len.to_le_bytes();
    let [e, f, g, h] = checksum(seq, len, payload).to_le_bytes();
    Ok([a, b, c, d, e, f, g, h])
}

/// Encodes `record` with its frame for the segment `seq` at the start of `buffer`; the length.
pub fn frame_into(seq: u64, record: &Record<'_>, buffer: &mut [u8]) -> Result<usize, Full> {
    let (head, room) = buffer
        .split_first_chunk_mut::<FRAME_HEADER_BYTES>()
        .ok_or(Full)?;
    let mut sink = SliceSink::new(room);
    encode(record, &mut sink)?;
    *head = frame_header(seq, sink.written())?;
    sink.len().checked_add(FRAME_HEADER_BYTES).ok_or(Full)
}

/// Covers the segment's number and the length too: a frame is valid in its own segment only.
fn checksum(seq: u64, len: u32, payload: &[u8]) -> u32 {
    Crc32c::new()
        .update(&seq.to_le_bytes())
        .update(&len.to_le_bytes())
        .update(payload)
        .finish()
}

/// A record whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where the frame begins in the file.
    pub offset: u64,
    /// The encoded record.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The record; `None` if a newer version added its tag, a problem if it makes no sense.
    pub fn record(&self) -> Result<Option<Record<'a>>, Problem> {
        decode(self.payload).map_err(|_| self.problem(Fault::Unreadable))
    }

    /// A problem with this frame.
    pub(crate) fn problem(&self, fault: Fault) -> Problem {
        Problem {
            offset: self.offset,
            len: self.len_bytes(),
            fault,
        }
    }

    /// Its length in the file.
    fn len_bytes(&self) -> u64 {
        (self.payload.len() as u64).saturating_add(FRAME_HEADER_BYTES as u64)
    }
}

/// The frames of a segment, in order.
///
/// A frame with a wrong checksum is passed over as long as its length is plausible: what follows
/// it is believed only if its own checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    seq: u64,
    /// Where `rest` begins in the file.
    offset: u64,
    rest: Input<'a>,
    /// The file ends before the segment does.
    cut: bool,
}

/// What stands at some place of a segment.
enum Step<'a> {
    Valid(Frame<'a>),
    Damaged,
    End,
}

impl<'a> Frames<'a> {
    /// The frames in `bytes`, what follows a segment's header, which is at `offset` in the file.
    pub fn new(seq: u64, bytes: &'a [u8], offset: u64) -> Self {
        Frames {
            seq,
            offset,
            rest: Input(bytes),
            cut: false,
        }
    }

    /// The same where the file ends before the segment does.
    pub(crate) fn cut(self) -> Self {
        Frames { cut: true, ..self }
    }

    /// Steps over one frame. `End` and an error leave the place where it is.
    fn step(&mut self) -> Result<Step<'a>, Implausible> {
        let mut input = self.rest;
        let Some(head) = input.array::<FRAME_HEADER_BYTES>() else {
            // No frame fits here.
            return Ok(Step::End);
        };
        if head == END_OF_FRAMES {
            return Ok(Step::End);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let len = u32::from_le_bytes([a, b, c, d]);
        let sum = u32::from_le_bytes([e, f, g, h]);
        let payload = usize::try_from(len).ok().filter(|&len| len > 0);
        let payload = payload.and_then(|len| input.take(len)).ok_or(Implausible)?;
        let frame = Frame {
            offset: self.offset,
            payload,
        };
        self.offset = self.offset.saturating_add(frame.len_bytes());
        self.rest = input;
        let valid = checksum(self.seq, len, payload) == sum;
        Ok(if valid {
            Step::Valid(frame)
        } else {
            Step::Damaged
        })
    }
}

/// A length that cannot be: what follows cannot be found.
struct Implausible;

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.offset;
        let problem = |to: u64, fault| {
            Some(Err(Problem {
                offset: from,
                len: to.saturating_sub(from),
                fault,
            }))
        };
        loop {
            let before = *self;
            match self.step() {
                Ok(Step::Valid(frame)) if frame.offset == from => return Some(Ok(frame)),
                // This good one is for the next call; the bad ones before it come first.
                Ok(Step::Valid(frame)) => {
                    *self = before;
                    return problem(frame.offset, Fault::Damaged);
                }
                Ok(Step::Damaged) => {}
                Ok(Step::End) if self.offset == from => return None,
                Ok(Step::End) => return problem(self.offset, Fault::Unfinished),
                Err(Implausible) => {
                    self.offset = self.offset.saturating_add(self.rest.0.len() as u64);
                    self.rest = Input(&[]);
                    let fault = if self.cut {
                        Fault::Unfinished
                    } else {
                        Fault::Damaged
                    };
                    return problem(self.offset, fault);
                }
            }
        }
    }
}
