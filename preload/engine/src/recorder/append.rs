//! Owns appending: which segment a record goes into, and its frame.

use leaktrack_recording::{Record, SegmentKind, frame_header, frame_into};

use super::segment::{END_BYTES, FRAME_BYTES, HEADER_BYTES, Segment};
use super::space::BLOCK;
use super::{Failure, Kept, Recorder, TAIL_BYTES};

/// Definitions are written in batches of at most this many bytes.
const STAGE_BYTES: usize = 20 << 10;
/// Longest frame of an event.
const EVENT_BYTES: usize = 2048;

impl Recorder {
    /// Appends a definition; [`Recorder::flush`] makes it readable. Definitions have a quarter of
    /// the file; `Full` once they take `share` quarters of that.
    pub fn append_def(&mut self, record: &Record<'_>, share: u64) -> Result<(), Failure> {
        self.check()?;
        if self.defs_bytes + self.staged as u64 > self.cap() / 16 * share
            || !self.stage.grow(STAGE_BYTES)
        {
            return Err(Failure::Full);
        }
        if self.stage_def(record) {
            return Ok(());
        }
        self.flush()?;
        if self.stage_def(record) {
            return Ok(());
        }
        self.begin_defs()?;
        if self.stage_def(record) {
            Ok(())
        } else {
            Err(Failure::Full)
        }
    }

    /// Adds a definition to the batch; false if that or the segment is full.
    fn stage_def(&mut self, record: &Record<'_>) -> bool {
        let Some(tail) = self.defs.as_slice().last().copied() else {
            return false;
        };
        let room = tail.room().saturating_sub(self.staged as u64);
        let end = STAGE_BYTES - TAIL_BYTES;
        let free = self
            .stage
            .as_mut_slice()
            .get_mut(self.staged..end)
            .unwrap_or_default();
        match frame_into(tail.seq, record, free) {
            Ok(len) if len as u64 <= room => {
                self.staged += len;
                true
            }
            _ => false,
        }
    }

    /// Begins a segment that any definition fits in.
    fn begin_defs(&mut self) -> Result<(), Failure> {
        let target = self.segment_bytes().max(STAGE_BYTES as u64);
        let segment = match self.begin(SegmentKind::Defs, target, false) {
            Err(Failure::Full) => self.begin(
                SegmentKind::Defs,
                2 * BLOCK - HEADER_BYTES - END_BYTES,
                true,
            )?,
            other => other?,
        };
        self.trim_last_defs()?;
        if self.defs.try_push(segment) {
            return Ok(());
        }
        self.release(segment.extent)?;
        Err(Failure::Full)
    }

    /// Writes the definitions staged so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.check()?;
        let len = core::mem::take(&mut self.staged);
        let Some(segment) = self.defs.as_mut_slice().last_mut().filter(|_| len > 0) else {
            return Ok(());
        };
        let frames = self
            .stage
            .as_mut_slice()
            .get_mut(..len + TAIL_BYTES)
            .unwrap_or_default();
        frames.get_mut(len..).unwrap_or_default().fill(0);
        let offset = segment.write_offset();
        segment.used += len as u64;
        self.defs_bytes += len as u64;
        self.store
            .write(offset, frames)
            .map_err(|error| self.stop(error))
    }

    /// Appends a snapshot that covers indices from `first` to before `end`. The encoded record is
    /// `buf[FRAME_BYTES..FRAME_BYTES + len]`, and `TAIL_BYTES` more are there behind it.
    /// `last_resort`: use even the space kept back for thinning.
    pub fn append_snapshot(
        &mut self,
        buf: &mut [u8],
        len: usize,
        first: u64,
        end: u64,
        last_resort: bool,
    ) -> Result<(), Failure> {
        self.check()?;
        let bytes = (FRAME_BYTES + len) as u64;
        self.next_index = self.next_index.max(end);
        if self.open_tail().is_none_or(|tail| tail.room() < bytes) {
            self.begin_tail(bytes, last_resort)?;
        }
        let Some(mut tail) = self.open_tail() else {
            return Err(Failure::Full);
        };
        self.write_frame(&tail, buf, len)?;
        tail.add(bytes, first, end);
        self.largest_payload = self.largest_payload.max(len as u64);
        if let Some(slot) = self.snapshots.as_mut_slice().last_mut() {
            *slot = tail;
        }
        Ok(())
    }

    fn open_tail(&self) -> Option<Segment> {
        self.snapshots
            .as_slice()
            .last()
            .copied()
            .filter(|_| self.tail_open)
    }

    fn begin_tail(&mut self, bytes: u64, last_resort: bool) -> Result<(), Failure> {
        let target = self.segment_bytes().max(bytes);
        let segment = match self.begin(SegmentKind::Snapshots, target, false) {
            Err(Failure::Full) if last_resort => self.begin(SegmentKind::Snapshots, bytes, true)?,
            other => other?,
        };
        self.trim_last_snapshots()?;
        if !self.snapshots.try_push(segment) {
            self.release(segment.extent)?;
            return Err(Failure::Full);
        }
        self.tail_open = true;
        Ok(())
    }

    /// Puts a state in the place of the last one; the buffer is laid out as for a snapshot.
    pub fn replace(&mut self, kept: Kept, buf: &mut [u8], len: usize) -> Result<(), Failure> {
        self.check()?;
        let segment = self.begin(SegmentKind::Ages, (FRAME_BYTES + len) as u64, false)?;
        self.write_frame(&segment, buf, len)?;
        let mut segment = segment;
        segment.used += (FRAME_BYTES + len) as u64;
        let place = self.kept.get_mut(kept as usize);
        match place.and_then(|place| place.replace(segment)) {
            Some(old) => self.release(old.extent),
            None => Ok(()),
        }
    }

    /// Appends an event or the end.
    pub fn append_event(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.check()?;
        let mut buf = [0u8; EVENT_BYTES + TAIL_BYTES];
        let mut frame = |seq| {
            let room = buf.get_mut(..EVENT_BYTES).unwrap_or_default();
            frame_into(seq, record, room).map_err(|_| Failure::Full)
        };
        let len = frame(0)?; // its length does not depend on the number
        let last = self.events.as_slice().last().copied();
        let mut tail = match last.filter(|tail| tail.room() >= len as u64) {
            Some(tail) => tail,
            None => self.begin_events(len as u64)?,
        };
        frame(tail.seq)?;
        buf.get_mut(len..len + TAIL_BYTES)
            .unwrap_or_default()
            .fill(0);
        let bytes = buf.get(..len + TAIL_BYTES).unwrap_or_default();
        self.store
            .write(tail.write_offset(), bytes)
            .map_err(|error| self.stop(error))?;
        tail.used += len as u64;
        tail.records += 1;
        if let Some(slot) = self.events.as_mut_slice().last_mut() {
            *slot = tail;
        }
        Ok(())
    }

    fn begin_events(&mut self, bytes: u64) -> Result<Segment, Failure> {
        let budget = (self.cap() / 32).max(4 * BLOCK);
        let used: u64 = self
            .events
            .as_slice()
            .iter()
            .map(|segment| segment.extent.bytes())
            .sum();
        // The first ones stay: they tell how it began.
        if used >= budget
            && let Some(old) = self.events.remove(1)
        {
            self.health.dropped_events += u64::from(old.records);
            self.release(old.extent)?;
        }
        let room = (2 * BLOCK - HEADER_BYTES - END_BYTES).max(bytes);
        let segment = match self.begin(SegmentKind::Events, room, false) {
            Err(Failure::Full) => self.begin(SegmentKind::Events, bytes, true)?,
            other => other?,
        };
        if self.events.try_push(segment) {
            return Ok(segment);
        }
        self.release(segment.extent)?;
        Err(Failure::Full)
    }

    fn write_frame(
        &mut self,
        segment: &Segment,
        buf: &mut [u8],
        len: usize,
    ) -> Result<(), Failure> {
        let payload = buf
            .get(FRAME_BYTES..FRAME_BYTES + len)
            .ok_or(Failure::Full)?;
        let frame = frame_header(segment.seq, payload).map_err(|_| Failure::Full)?;
        let whole = buf
            .get_mut(..FRAME_BYTES + len + TAIL_BYTES)
            .ok_or(Failure::Full)?;
        if let Some(front) = whole.first_chunk_mut() {
            *front = frame;
        }
        whole
            .get_mut(FRAME_BYTES + len..)
            .unwrap_or_default()
            .fill(0);
        self.store
            .write(segment.write_offset(), whole)
            .map_err(|error| self.stop(error))
    }
}
