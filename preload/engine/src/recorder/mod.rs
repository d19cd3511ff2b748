//! Owns the recording as it is written: where each record goes, how the file grows up to its cap,
//! and what gives way then.
//!
//! Never keeps a descriptor, never stores through the mapping, never writes in a forked child.
//! What was appended is readable at once and stays so whatever happens to the process. The file is
//! a quarter definitions at most; the rest holds snapshots, the older the more widely spaced.

mod buffer;
mod file;
mod owner;
mod segment;
mod space;
mod store;
mod thin;

pub use buffer::Buffer;
pub use file::FileError;
pub use segment::FRAME_BYTES;

use crate::arena::AVec;
use crate::sys::Errno;
use crate::text::{Path, Text};
use file::File;
use leaktrack_recording::{
    FRAME_HEADER_BYTES, FileHeader, Record, RecordingId, SegmentKind, control, frame_header,
    frame_into,
};
use owner::Owner;
use segment::{END_BYTES, HEADER_BYTES, Segment};
use space::{BLOCK, Extent, Space, blocks_for};
use store::Store;

/// Room behind a payload given to [`Recorder::append_snapshot`].
pub const TAIL_BYTES: usize = END_BYTES as usize;
/// Definitions are written in batches of this many bytes.
const STAGE_BYTES: usize = 20 << 10;
const FIRST_BYTES: u64 = 256 << 10;
const LEAST_BYTES: u64 = 64 << 10;
const LARGEST_STEP_BYTES: u64 = 4 << 20;
const SMALLEST_STEP_BYTES: u64 = 64 << 10;

/// Why something was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No room under the cap; later there may be.
    Full,
    /// Recording is over for good.
    Stopped(FileError),
    /// This is a child of the process that records.
    NotOwner,
}

/// What became of the file so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Runs of snapshots that were merged.
    pub thinned: u64,
    /// Why the file cannot become longer, if that is before its cap.
    pub growth_stopped: Option<FileError>,
    /// Why recording is over, if it is.
    pub stopped: Option<FileError>,
    /// Events dropped to make room for later ones.
    pub dropped_events: u64,
    /// Length of the file.
    pub file_bytes: u64,
}

/// A recording being written.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    space: Space,
    owner: Owner,
    /// What the file may grow to.
    disk_bytes: u64,
    last_seq: u64,
    defs: Option<Segment>,
    defs_bytes: u64,
    stage: Buffer,
    staged: usize,
    events: AVec<Segment>,
    ages: Option<Segment>,
    /// Ascending by index.
    snapshots: AVec<Segment>,
    /// The last of `snapshots` takes more.
    tail_open: bool,
    /// One past the last snapshot index appended.
    next_index: u64,
    largest_payload: u64,
    thinned: u64,
    dropped_events: u64,
    growth_stopped: Option<FileError>,
    stopped: Option<FileError>,
}

impl Recorder {
    /// Creates the file `path` (or `path.2` ...) with its header.
    pub fn create(
        path: &Path,
        perm: u32,
        disk_bytes: u64,
        id: RecordingId,
        created_unix_ns: u64,
    ) -> Result<Recorder, FileError> {
        let disk_bytes = disk_bytes / BLOCK * BLOCK;
        let (file, open) = File::create(path, perm, perm != 0o600)?;
        let mut store = Store::new(file);
        let mut first = FIRST_BYTES.min(disk_bytes);
        while let Err(error) = store.extend(&open, first) {
            if first <= LEAST_BYTES {
                store.file().remove();
                return Err(error);
            }
            // A disk that is nearly full still takes a small recording.
            first = (first / 2 / BLOCK * BLOCK).max(LEAST_BYTES);
        }
        drop(open);
        let mut recorder = Recorder {
            store,
            space: Space::new(),
            owner: Owner::new(),
            disk_bytes,
            last_seq: 0,
            defs: None,
            defs_bytes: 0,
            stage: Buffer::new(),
            staged: 0,
            events: AVec::new(),
            ages: None,
            snapshots: AVec::new(),
            tail_open: false,
            next_index: 0,
            largest_payload: 0,
            thinned: 0,
            dropped_events: 0,
            growth_stopped: None,
            stopped: None,
        };
        let free = Extent {
            block: 1,
            blocks: blocks_for(first) - 1,
        };
        let header = FileHeader::new(id, created_unix_ns).encode();
        let begun = recorder.space.release(free, &mut recorder.store);
        match begun.and_then(|()| recorder.store.write(0, &header)) {
            Ok(()) => Ok(recorder),
            Err(error) => {
                recorder.store.file().remove();
                Err(error)
            }
        }
    }

    /// Where the recording is.
    pub fn path(&mut self) -> &[u8] {
        self.store.file().path()
    }

    /// What became of it.
    pub fn health(&self) -> Health {
        Health {
            thinned: self.thinned,
            growth_stopped: self.growth_stopped,
            stopped: self.stopped,
            dropped_events: self.dropped_events,
            file_bytes: self.store.end(),
        }
    }

    #[cfg(test)]
    pub fn debug(&self) -> std::string::String {
        std::format!("free {} longest {} reserve {} largest {} run {} segs {:?}", self.space.free_bytes(), self.space.longest(), self.reserve_blocks(), self.largest_payload, self.run_bytes(),
            self.snapshots.as_slice().iter().map(|s| (s.first, s.end, s.records, s.used, s.extent.blocks, s.stuck)).collect::<std::vec::Vec<_>>())
    }

    /// Longest payload of a snapshot or of ages; more is to be split.
    pub fn payload_limit(&self) -> u64 {
        (self.cap() / 16).saturating_sub(HEADER_BYTES + END_BYTES + FRAME_HEADER_BYTES as u64)
    }

    /// Appends a definition; [`Recorder::flush`] makes it readable. `Full` once definitions take
    /// `share` quarters of their budget.
    pub fn append_def(&mut self, record: &Record<'_>, share: u64) -> Result<(), Failure> {
        self.check()?;
        if self.defs_bytes + self.staged as u64 > self.cap() / 16 * share {
            return Err(Failure::Full);
        }
        if self.stage.is_empty() && !self.stage.grow(STAGE_BYTES) {
            return Err(Failure::Full);
        }
        for attempt in 0..2 {
            let seq = self.defs.map_or(0, |segment| segment.seq);
            let room = self
                .defs
                .map_or(0, |segment| segment.room())
                .saturating_sub(self.staged as u64);
            let free = self
                .stage
                .as_mut_slice()
                .get_mut(self.staged..STAGE_BYTES - TAIL_BYTES)
                .unwrap_or_default();
            match frame_into(seq, record, free) {
                Ok(len) if len as u64 <= room => {
                    self.staged += len;
                    return Ok(());
                }
                result if attempt == 0 => {
                    self.flush()?;
                    let len = result.map_or(STAGE_BYTES, |len| len) as u64;
                    if self.defs.is_none_or(|segment| segment.room() < len) {
                        self.begin_defs(len)?;
                    }
                }
                _ => break,
            }
        }
        Err(Failure::Full)
    }

    fn begin_defs(&mut self, len: u64) -> Result<(), Failure> {
        let target = self.segment_bytes().max(len);
        let segment = match self.begin(SegmentKind::Defs, target, false) {
            Err(Failure::Full) => self.begin(SegmentKind::Defs, len, true)?,
            other => other?,
        };
        if let Some(old) = self.defs.replace(segment) {
            self.trim(old)?;
        }
        Ok(())
    }

    /// Writes the definitions staged so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.check()?;
        let len = core::mem::take(&mut self.staged);
        let (Some(segment), true) = (self.defs.as_mut(), len > 0) else {
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
        self.largest_payload = self.largest_payload.max(len as u64);
        self.next_index = self.next_index.max(end);
        let tail = |this: &Recorder| {
            this.snapshots
                .as_slice()
                .last()
                .copied()
                .filter(|_| this.tail_open)
        };
        if tail(self).is_none_or(|segment| segment.room() < bytes) {
            let target = self.segment_bytes().max(bytes);
            let segment = match self.begin(SegmentKind::Snapshots, target, false) {
                Err(Failure::Full) if last_resort => {
                    self.begin(SegmentKind::Snapshots, bytes, true)?
                }
                other => other?,
            };
            if let Some(old) = tail(self) {
                let trimmed = self.trim(old)?;
                if let Some(slot) = self.snapshots.as_mut_slice().last_mut() {
                    *slot = trimmed;
                }
            }
            if !self.snapshots.try_push(segment) {
                self.space
                    .release(segment.extent, &mut self.store)
                    .map_err(|error| self.stop(error))?;
                return Err(Failure::Full);
            }
            self.tail_open = true;
        }
        let Some(mut segment) = tail(self) else {
            return Err(Failure::Full);
        };
        self.write_frame(&segment, buf, len)?;
        segment.add(bytes, first, end);
        if let Some(slot) = self.snapshots.as_mut_slice().last_mut() {
            *slot = segment;
        }
        Ok(())
    }

    /// Puts ages in the place of the last ones; the buffer is laid out as for a snapshot.
    pub fn replace_ages(&mut self, buf: &mut [u8], len: usize) -> Result<(), Failure> {
        self.check()?;
        let segment = self.begin(SegmentKind::Ages, (FRAME_BYTES + len) as u64, false)?;
        self.write_frame(&segment, buf, len)?;
        match self.ages.replace(segment) {
            Some(old) => self
                .space
                .release(old.extent, &mut self.store)
                .map_err(|error| self.stop(error)),
            None => Ok(()),
        }
    }

    /// Appends an event or the end.
    pub fn append_event(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        self.check()?;
        let mut buf = [0u8; 2048];
        let seq = self
            .events
            .as_slice()
            .last()
            .map_or(0, |segment| segment.seq);
        let len = frame_into(seq, record, &mut buf).map_err(|_| Failure::Full)?;
        let bytes = len as u64;
        if self
            .events
            .as_slice()
            .last()
            .is_none_or(|segment| segment.room() < bytes)
        {
            let budget = (self.cap() / 32).max(4 * BLOCK);
            let used: u64 = self
                .events
                .as_slice()
                .iter()
                .map(|segment| segment.extent.bytes())
                .sum();
            // The first events stay: they tell how it began.
            if used >= budget
                && let Some(old) = self.events.remove(1)
            {
                self.dropped_events += u64::from(old.records);
                self.space
                    .release(old.extent, &mut self.store)
                    .map_err(|error| self.stop(error))?;
            }
            let room = 2 * BLOCK - HEADER_BYTES - END_BYTES;
            let segment = match self.begin(SegmentKind::Events, room, false) {
                Err(Failure::Full) => self.begin(SegmentKind::Events, bytes, true)?,
                other => other?,
            };
            if !self.events.try_push(segment) {
                return Err(Failure::Full);
            }
        }
        let Some(mut segment) = self.events.as_slice().last().copied() else {
            return Err(Failure::Full);
        };
        let len = frame_into(segment.seq, record, &mut buf).map_err(|_| Failure::Full)?;
        let end = (len + TAIL_BYTES).min(buf.len());
        buf.get_mut(len..end).unwrap_or_default().fill(0);
        let frame = buf.get(..end).unwrap_or_default();
        self.store
            .write(segment.write_offset(), frame)
            .map_err(|error| self.stop(error))?;
        segment.used += len as u64;
        segment.records += 1;
        if let Some(slot) = self.events.as_mut_slice().last_mut() {
            *slot = segment;
        }
        Ok(())
    }

    /// Makes sure that `bytes` more can be written without opening the file: for a process that is
    /// about to lose the right to. As much as can be had is kept.
    pub fn ensure_reserved(&mut self, bytes: u64) {
        if self.check().is_ok() {
            let missing = bytes.saturating_sub(self.space.free_bytes());
            if missing > 0 && !self.grow(missing) {
                self.grow(missing / 4);
            }
        }
    }

    /// Takes what was written out of the process's resident set.
    pub fn release_pages(&mut self) {
        if self.check().is_ok() {
            self.store.release_pages();
        }
    }

    /// Gives back what the file has reserved and not used, at the end.
    pub fn finish(&mut self) {
        if self.check().is_err() || self.flush().is_err() {
            return;
        }
        if let Some(defs) = self.defs.take() {
            self.defs = self.trim(defs).ok();
        }
        if self.tail_open
            && let Some(last) = self.snapshots.as_slice().last().copied()
            && let Ok(trimmed) = self.trim(last)
            && let Some(slot) = self.snapshots.as_mut_slice().last_mut()
        {
            *slot = trimmed;
        }
        let end = self.space.used_end(blocks_for(self.store.end()));
        self.store.shrink(u64::from(end) * BLOCK);
        self.space.cut(blocks_for(self.store.end()));
    }

    /// Address of the control page's request word, to wait on with a shared futex; only the kernel
    /// may touch it.
    pub fn control_word(&self) -> Option<usize> {
        Some(self.store.first_page()? + control::REQUEST as usize)
    }

    /// Reads from the control page.
    pub fn read_control(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Failure> {
        self.check()?;
        self.store
            .read(offset, buf)
            .map_err(|error| self.stop(error))
    }

    /// Writes into the control page.
    pub fn write_control(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.check()?;
        if offset < control::OFFSET || offset + bytes.len() as u64 > control::OFFSET + control::LEN
        {
            return Err(Failure::Full);
        }
        self.store
            .write(offset, bytes)
            .map_err(|error| self.stop(error))
    }

    /// Lets go of the parent's recording in a forked child, without touching it.
    pub fn forget_in_child(mut self) {
        self.store.forget();
    }

    fn check(&self) -> Result<(), Failure> {
        match self.stopped {
            Some(error) => Err(Failure::Stopped(error)),
            None if !self.owner.is_here() => Err(Failure::NotOwner),
            None => Ok(()),
        }
    }

    /// Ends recording for good.
    fn stop(&mut self, error: FileError) -> Failure {
        self.stopped = Some(error);
        Failure::Stopped(error)
    }

    /// What the file can reach: the cap, or what is reserved when it cannot grow.
    fn cap(&self) -> u64 {
        if self.growth_stopped.is_some() {
            self.store.end()
        } else {
            self.disk_bytes
        }
    }

    /// Size at which a segment is full.
    fn segment_bytes(&self) -> u64 {
        (self.cap() / 1024).clamp(2 * BLOCK, 256 << 10) - HEADER_BYTES - END_BYTES
    }

    /// Bytes of snapshots that are thinned in one go.
    fn run_bytes(&self) -> u64 {
        (2 * self.segment_bytes()).max(2 * (self.largest_payload + 64))
    }

    /// Blocks that stay free, so that there is always room to thin into.
    fn reserve_blocks(&self) -> u32 {
        blocks_for(self.run_bytes()) + 2
    }

    fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Begins a segment with room for `bytes` of frames: in free space, else by growing, else by
    /// thinning.
    fn begin(
        &mut self,
        kind: SegmentKind,
        bytes: u64,
        last_resort: bool,
    ) -> Result<Segment, Failure> {
        let blocks = Segment::blocks_for(bytes);
        let reserve = if last_resort {
            0
        } else {
            self.reserve_blocks()
        };
        let mut extent = None;
        for _ in 0..256 {
            let spare = self.space.free_bytes() >= (u64::from(blocks) + u64::from(reserve)) * BLOCK;
            extent = self.space.find(blocks).filter(|_| spare);
            let enough = extent.is_some();
            if enough
                || !(self.grow((u64::from(blocks) + u64::from(reserve)) * BLOCK) || self.thin()?)
            {
                break;
            }
        }
        let extent = extent.ok_or(Failure::Full)?;
        let segment = Segment::new(extent, self.next_seq(), kind, 0);
        let zeros = [0u8; END_BYTES as usize];
        self.store
            .write(segment.write_offset(), &zeros)
            .map_err(|error| self.stop(error))?;
        self.space
            .commit(extent, &segment.header(), &mut self.store)
            .map_err(|error| self.stop(error))?;
        Ok(segment)
    }

    /// Makes the file longer by at least `bytes`, if it may be.
    fn grow(&mut self, bytes: u64) -> bool {
        let from = self.store.end();
        if self.growth_stopped.is_some() || from >= self.disk_bytes {
            return false;
        }
        let most = self.disk_bytes - from;
        let least = bytes.next_multiple_of(BLOCK).min(most);
        let wish = least
            .max((from / 2).clamp(SMALLEST_STEP_BYTES, LARGEST_STEP_BYTES))
            .next_multiple_of(BLOCK)
            .min(most);
        let mut result = self.store.grow(from + wish);
        if result.is_err() && least < wish {
            result = self.store.grow(from + least);
        }
        if let Err(error) = result {
            self.growth_stopped = Some(error);
            if error == FileError::Truncated {
                self.stop(error);
            }
            return false;
        }
        let new = Extent {
            block: blocks_for(from),
            blocks: blocks_for(self.store.end() - from),
        };
        match self.space.release(new, &mut self.store) {
            Ok(()) => true,
            Err(error) => {
                self.stop(error);
                false
            }
        }
    }

    /// Gives the blocks behind a segment's last frame back.
    fn trim(&mut self, mut segment: Segment) -> Result<Segment, Failure> {
        let blocks = blocks_for(segment.used + END_BYTES);
        let spare = Extent {
            block: segment.extent.block + blocks,
            blocks: segment.extent.blocks.saturating_sub(blocks),
        };
        if spare.blocks > 0 {
            // In this order: until its header is written the segment covers the spare blocks.
            self.space
                .release(spare, &mut self.store)
                .map_err(|error| self.stop(error))?;
            segment.extent.blocks = blocks;
            let header = segment.header().encode();
            self.store
                .write(segment.extent.offset(), &header)
                .map_err(|error| self.stop(error))?;
        }
        Ok(segment)
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

impl FileError {
    /// In words, for a message.
    pub fn describe<const N: usize>(self, out: &mut Text<N>) {
        let words: &[u8] = match self {
            FileError::Kernel(errno) => match errno {
                Errno::EPERM | Errno::EACCES => b"permission denied",
                Errno::ENOENT => b"no such folder",
                Errno::ENOTDIR => b"a part of the path is not a folder",
                Errno::EROFS => b"the file system is read-only",
                Errno::ENOSPC => b"no space left on the device",
                Errno::EDQUOT => b"the disk quota is used up",
                Errno::EFBIG => {
                    b"RLIMIT_FSIZE or the file system does not allow a file of this size"
                }
                Errno::ENAMETOOLONG => b"the path is too long",
                Errno::ELOOP => b"too many links in the path",
                Errno::ENOMEM => b"no memory",
                Errno(number) => {
                    out.push_bytes(b"error ")
                        .push_u64(number.unsigned_abs().into());
                    return;
                }
            },
            FileError::NotAFile => b"there is something that is not a regular file",
            FileError::TooManyNames => b"there are too many recordings of this name",
            FileError::Replaced => b"the file was removed or replaced",
            FileError::Truncated => b"the file was truncated",
        };
        out.push_bytes(words);
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
