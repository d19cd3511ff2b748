//! Owns thinning: old snapshots are merged in pairs so that their spacing grows with their age.
//!
//! Copy first: the merged snapshots stand in a new segment, whose header makes them valid in one
//! write and outranks the sources by its number, before any source is given back. So the sums over
//! all snapshots are right at every moment, for a reader and after a kill.

use super::buffer::Buffer;
use super::segment::{END_BYTES, FRAME_BYTES, HEADER_BYTES, Segment};
use super::{Failure, Recorder};
use crate::arena::AVec;
use leaktrack_recording::{Frames, Record, SegmentKind, SliceSink, Snapshot, frame_header, merge};

/// What became of an attempt to merge a run.
enum Outcome {
    Done,
    /// No two of its snapshots can be merged.
    NoGain,
    /// There is no memory or no disk to merge them into.
    NoRoom,
}

/// A record in the output buffer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    len: usize,
    first: u64,
    end: u64,
}

impl Piece {
    fn frame_bytes(&self) -> u64 {
        (self.len + FRAME_BYTES) as u64
    }
}

impl Recorder {
    /// Merges one run of old snapshots; false when nothing can be merged any more.
    pub(super) fn thin(&mut self) -> Result<bool, Failure> {
        // First a whole run; without room for it two snapshots; at last without leaving a gap.
        let mut attempts = [(self.run_bytes(), true), (0, true), (0, false)].into_iter();
        let mut attempt = attempts.next();
        while let Some((most, keep_gap)) = attempt {
            let Some((at, count)) = self.choose_run(self.next_index, most) else {
                return Ok(false);
            };
            match self.thin_run(at, count, keep_gap)? {
                Outcome::Done => {
                    self.health.thinned += 1;
                    return Ok(true);
                }
                Outcome::NoRoom => attempt = attempts.next(),
                Outcome::NoGain => {
                    let run = self
                        .snapshots
                        .as_mut_slice()
                        .get_mut(at..at + count)
                        .unwrap_or_default();
                    run.iter_mut().for_each(|segment| segment.stuck = true);
                }
            }
        }
        Ok(false)
    }

    /// The segment whose snapshots are finest for their age, with enough of those after it to make
    /// a pair.
    fn choose_run(&self, now: u64, most: u64) -> Option<(usize, usize)> {
        let list = self.snapshots.as_slice();
        let closed = list.len() - usize::from(self.tail_open && list.len() > 1);
        let list = list.get(..closed)?;
        let candidates = list
            .iter()
            .enumerate()
            .filter(|(_, segment)| !segment.stuck);
        let (mut at, _) = candidates
            .max_by_key(|(place, segment)| (segment.fineness(now), usize::MAX - place))?;
        let (mut bytes, mut records, mut count) = (0u64, 0u32, 0usize);
        while let Some(segment) = list.get(at + count) {
            if records >= 2 && bytes + segment.used > most {
                break;
            }
            bytes += segment.used;
            records += segment.records;
            count += 1;
        }
        while records < 2 && at > 0 {
            at -= 1;
            count += 1;
            records += list.get(at)?.records;
        }
        (records >= 2).then_some((at, count))
    }

    fn thin_run(&mut self, at: usize, count: usize, keep_gap: bool) -> Result<Outcome, Failure> {
        let run = self
            .snapshots
            .as_slice()
            .get(at..at + count)
            .unwrap_or_default();
        let total: u64 = run.iter().map(|segment| segment.used).sum();
        let records: u32 = run.iter().map(|segment| segment.records).sum();
        let level = run
            .iter()
            .map(|segment| segment.level)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        let (Some(mut source), Some(mut merged)) =
            (Buffer::of(total as usize), Buffer::of(total as usize + 64))
        else {
            return Ok(Outcome::NoRoom);
        };
        let mut read = 0usize;
        for place in at..at + count {
            let Some(segment) = self.snapshots.get(place).copied() else {
                break;
            };
            let len = segment.used as usize;
            let into = source
                .as_mut_slice()
                .get_mut(read..read + len)
                .unwrap_or_default();
            self.store
                .read(segment.extent.offset(), into)
                .map_err(|error| self.stop(error))?;
            read += len;
        }
        let run = self
            .snapshots
            .as_slice()
            .get(at..at + count)
            .unwrap_or_default();
        let mut pieces = AVec::new();
        if !merge_pairs(run, &source, &mut merged, self.merge_limit(), &mut pieces) {
            return Ok(Outcome::NoRoom);
        }
        let out_bytes: u64 = pieces.as_slice().iter().map(Piece::frame_bytes).sum();
        if pieces.len() >= records as usize || out_bytes > total {
            return Ok(Outcome::NoGain);
        }
        drop(source);
        let Some(new) = self.place(&pieces, &mut merged, level, keep_gap)? else {
            return Ok(Outcome::NoRoom);
        };
        self.exchange(at, count, &new)?;
        let lengths = pieces.as_slice().iter().map(|piece| piece.len as u64);
        self.largest_payload = lengths.fold(self.largest_payload, u64::max);
        Ok(Outcome::Done)
    }

    /// Writes the pieces into as few new segments as the free space allows; `None`, and nothing
    /// changed, when they do not fit.
    fn place(
        &mut self,
        pieces: &AVec<Piece>,
        merged: &mut Buffer,
        level: u8,
        keep_gap: bool,
    ) -> Result<Option<AVec<Segment>>, Failure> {
        let longest = pieces
            .as_slice()
            .iter()
            .map(Piece::frame_bytes)
            .fold(self.largest_payload + 64, u64::max);
        let gap = if keep_gap {
            Segment::blocks_for(longest.max(self.segment_bytes()))
        } else {
            0
        };
        let mut new: AVec<Segment> = AVec::new();
        let mut rest = pieces.as_slice();
        while let Some(first) = rest.first() {
            // No longer than the gap through which segments are moved.
            let bytes: u64 = rest.iter().map(Piece::frame_bytes).sum();
            let bytes = bytes.min(self.segment_bytes().max(first.frame_bytes()));
            let wanted = Segment::blocks_for(bytes);
            let fits = |this: &Self| {
                this.space
                    .find(wanted)
                    .filter(|e| this.space.longest_without(*e) >= gap)
            };
            if fits(self).is_none() && !self.gather(wanted + gap)? {
                break;
            }
            let Some(extent) = fits(self) else { break };
            let mut segment = Segment::new(extent, self.next_seq(), SegmentKind::Snapshots, level);
            let mut taken = 0;
            while let Some(piece) = rest
                .get(taken)
                .filter(|piece| piece.frame_bytes() <= segment.room())
            {
                segment.add(piece.frame_bytes(), piece.first, piece.end);
                taken += 1;
            }
            if taken == 0 || !new.try_push(segment) {
                break;
            }
            let (these, others) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            segment.extent.blocks = Segment::blocks_for(segment.used - HEADER_BYTES);
            self.write_pieces(&segment, these, merged)?;
            self.space
                .commit(segment.extent, &segment.header(), &mut self.store)
                .map_err(|e| self.stop(e))?;
            if let Some(slot) = new.as_mut_slice().last_mut() {
                *slot = segment;
            }
            rest = others;
        }
        if rest.is_empty() {
            return Ok(Some(new));
        }
        for segment in new.as_slice() {
            self.release(segment.extent)?;
        }
        Ok(None)
    }

    /// Seals the frames, which lie one after the other, and writes them behind the place of the
    /// header.
    fn write_pieces(
        &mut self,
        segment: &Segment,
        pieces: &[Piece],
        merged: &mut Buffer,
    ) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Ok(());
        };
        for piece in pieces {
            let payload = merged
                .as_slice()
                .get(piece.start..piece.start + piece.len)
                .unwrap_or_default();
            let Ok(frame) = frame_header(segment.seq, payload) else {
                continue;
            };
            let front = merged
                .as_mut_slice()
                .get_mut(piece.start - FRAME_BYTES..piece.start);
            front.unwrap_or_default().copy_from_slice(&frame);
        }
        let frames = merged
            .as_slice()
            .get(first.start - FRAME_BYTES..last.start + last.len)
            .unwrap_or_default();
        let offset = segment.extent.offset() + HEADER_BYTES;
        self.store
            .write(offset, frames)
            .map_err(|error| self.stop(error))?;
        let zeros = [0u8; END_BYTES as usize];
        self.store
            .write(segment.write_offset(), &zeros)
            .map_err(|error| self.stop(error))
    }

    /// Puts `new` in the place of `count` segments from `at`, whose blocks become free.
    fn exchange(&mut self, at: usize, count: usize, new: &AVec<Segment>) -> Result<(), Failure> {
        if at + count == self.snapshots.len() {
            self.tail_open = false;
        }
        for _ in 0..count {
            if let Some(old) = self.snapshots.remove(at) {
                self.release(old.extent)?;
            }
        }
        for (place, segment) in new.as_slice().iter().enumerate() {
            self.snapshots.try_insert(at + place, *segment);
        }
        Ok(())
    }
}

/// Merges neighbours into `merged`, each with room for its frame in front; false without memory.
fn merge_pairs(
    run: &[Segment],
    source: &Buffer,
    merged: &mut Buffer,
    limit: u64,
    pieces: &mut AVec<Piece>,
) -> bool {
    let mut waiting: Option<(Snapshot<'_>, &[u8])> = None;
    let mut out = 0usize;
    let mut start = 0usize;
    for segment in run {
        let bytes = source
            .as_slice()
            .get(start + HEADER_BYTES as usize..start + segment.used as usize);
        start += segment.used as usize;
        for frame in Frames::new(segment.seq, bytes.unwrap_or_default(), 0).flatten() {
            let Ok(Some(Record::Snapshot(next))) = frame.record() else {
                continue;
            };
            let Some((previous, payload)) = waiting.take() else {
                waiting = Some((next, frame.payload));
                continue;
            };
            let room = merged
                .as_mut_slice()
                .get_mut(out + FRAME_BYTES..)
                .unwrap_or_default();
            let mut sink = SliceSink::new(room);
            let fits = merge(&previous, &next, &mut sink).is_ok() && sink.len() as u64 <= limit;
            let len = sink.len();
            let (len, last) = if fits {
                (len, next.head.end_index())
            } else {
                waiting = Some((next, frame.payload));
                (copy(payload, merged, out), previous.head.end_index())
            };
            if !push(pieces, &mut out, len, previous.head.index, last) {
                return false;
            }
        }
    }
    match waiting {
        Some((last, payload)) => {
            let len = copy(payload, merged, out);
            push(
                pieces,
                &mut out,
                len,
                last.head.index,
                last.head.end_index(),
            )
        }
        None => true,
    }
}

fn copy(payload: &[u8], merged: &mut Buffer, out: usize) -> usize {
    let start = out + FRAME_BYTES;
    let Some(room) = merged.as_mut_slice().get_mut(start..start + payload.len()) else {
        return 0;
    };
    room.copy_from_slice(payload);
    payload.len()
}

fn push(pieces: &mut AVec<Piece>, out: &mut usize, len: usize, first: u64, end: u64) -> bool {
    let start = *out + FRAME_BYTES;
    *out = start + len;
    len > 0
        && pieces.try_push(Piece {
            start,
            len,
            first,
            end,
        })
}
