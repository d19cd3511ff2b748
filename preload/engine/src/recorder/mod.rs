//! Owns the recording as it is written: where each record goes, how the file grows up to its cap,
//! and what gives way then.
//!
//! Never keeps a descriptor, never stores through the mapping, never writes in a forked child.
//! What was appended is readable at once and stays so whatever happens to the process. The file is
//! a quarter definitions at most; the rest holds snapshots, the older the more widely spaced.

mod append;
mod buffer;
mod family;
mod file;
mod gather;
mod owner;
mod room;
mod segment;
mod space;
mod store;
mod thin;

pub use buffer::Buffer;
pub use family::Family;
pub use file::FileError;
pub use segment::FRAME_BYTES;

use crate::arena::AVec;
use crate::sys;
use crate::text::{Path, Text};
use file::File;
use leaktrack_recording::{FRAME_HEADER_BYTES, FileHeader, RecordingId, control};
use owner::Owner;
use segment::{END_BYTES, HEADER_BYTES, Segment};
use space::{BLOCK, Extent, Space, blocks_for};
use store::Store;

/// Room behind a payload given to [`Recorder::append_snapshot`].
pub const TAIL_BYTES: usize = END_BYTES as usize;
const FIRST_BYTES: u64 = 256 << 10;
const LEAST_BYTES: u64 = 64 << 10;

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
    /// Bytes moved to gather free space.
    pub moved_bytes: u64,
    /// Why the file cannot become longer, if that is before its cap.
    pub growth_stopped: Option<FileError>,
    /// Events dropped to make room for later ones.
    pub dropped_events: u64,
    /// Length of the file.
    pub file_bytes: u64,
}

/// States of which only the last one is kept, each in a segment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Ages of live blocks.
    Ages,
    /// Residency of sites' memory.
    Residency,
    /// The allocator's arenas.
    Arenas,
    /// How long blocks lived.
    Lifetimes,
    /// Results of the last complete scan.
    Losses,
    /// Spreads of sampled sites.
    Spreads,
    /// Page faults by address.
    Faults,
    /// How large blocks were.
    Sizes,
    /// The address space.
    Areas,
    /// Single blocks.
    Blocks,
}

/// Number of [`Kept`] states.
const KEPT: usize = 10;

/// A recording being written.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    space: Space,
    owner: Owner,
    /// What the file may grow to.
    disk_bytes: u64,
    family: Family,
    host: Text<65>,
    last_seq: u64,
    /// The last takes more.
    defs: AVec<Segment>,
    defs_bytes: u64,
    stage: Buffer,
    staged: usize,
    /// The last takes more.
    events: AVec<Segment>,
    /// By [`Kept`].
    kept: [Option<Segment>; KEPT],
    /// Ascending by index.
    snapshots: AVec<Segment>,
    /// The last of `snapshots` takes more.
    tail_open: bool,
    /// One past the last snapshot index appended.
    next_index: u64,
    largest_payload: u64,
    stopped: Option<FileError>,
    health: Health,
}

impl Recorder {
    /// Creates the file `path` (or `path.2` ...) with its header.
    pub fn create(
        path: &Path,
        perm: u32,
        disk_bytes: u64,
        family: Family,
        id: RecordingId,
        created_unix_ns: u64,
    ) -> Result<Recorder, FileError> {
        let disk_bytes = disk_bytes / BLOCK * BLOCK;
        let mut family = family;
        let mut name = [0u8; 65];
        let len = sys::host_name(&mut name);
        let mut host = Text::new();
        host.push_bytes(name.get(..len).unwrap_or_default());
        let wanted = FIRST_BYTES.min(disk_bytes);
        // Kept until the file has its length and says whose it is.
        let (room, turn) = if family.id == id {
            (wanted, None)
        } else {
            family.room(path.as_bytes(), 0, wanted, host.as_bytes())
        };
        if room < LEAST_BYTES {
            drop(turn);
            family.count_unrecorded(path.as_bytes());
            return Err(FileError::FamilyFull);
        }
        let (file, open) = File::create(path, perm, perm != 0o600)?;
        let mut store = Store::new(file);
        let mut first = room;
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
            family,
            host,
            last_seq: 0,
            defs: AVec::new(),
            defs_bytes: 0,
            stage: Buffer::new(),
            staged: 0,
            events: AVec::new(),
            kept: [None; KEPT],
            snapshots: AVec::new(),
            tail_open: false,
            next_index: 0,
            largest_payload: 0,
            stopped: None,
            health: Health::default(),
        };
        let free = Extent {
            block: 1,
            blocks: blocks_for(first) - 1,
        };
        let header = FileHeader::new(id, created_unix_ns)
            .of_family(family.id)
            .encode();
        let begun = recorder.space.release(free, &mut recorder.store);
        let written = begun.and_then(|()| recorder.store.write(0, &header));
        drop(turn);
        match written {
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

    /// Removes the file: there is nothing to tell. False if it cannot be removed.
    pub fn discard(&mut self) -> bool {
        self.store.file().remove()
    }

    /// What became of it.
    pub fn health(&self) -> Health {
        Health {
            file_bytes: self.store.end(),
            ..self.health
        }
    }

    /// Longest payload of a snapshot or of ages; more is to be split.
    pub fn payload_limit(&self) -> u64 {
        (self.cap() / 16).saturating_sub(HEADER_BYTES + END_BYTES + FRAME_HEADER_BYTES as u64)
    }

    /// Takes what was written out of the process's resident set.
    pub fn release_pages(&mut self) {
        if self.check().is_ok() {
            self.store.release_pages();
        }
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
        let end = offset.saturating_add(bytes.len() as u64);
        if offset < control::OFFSET || end > control::OFFSET + control::LEN {
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
        if self.health.growth_stopped.is_some() {
            self.store.end()
        } else {
            self.disk_bytes
        }
    }

    /// Size at which a segment is full. Follows the file's length, so that the file can stop growing
    /// at any length and still have room for a few segments.
    fn segment_bytes(&self) -> u64 {
        (self.store.end() / 512).clamp(2 * BLOCK, 256 << 10) / BLOCK * BLOCK
            - HEADER_BYTES
            - END_BYTES
    }

    /// Longest payload of a merged snapshot: no larger than there are already, once the file cannot
    /// grow.
    fn merge_limit(&self) -> u64 {
        self.payload_limit().max(self.largest_payload)
    }

    /// Bytes of snapshots that are thinned in one go.
    fn run_bytes(&self) -> u64 {
        2 * self.segment_bytes().max(self.largest_payload + 64)
    }

    /// The longest free extent stays at least this long, so that any segment can be moved through
    /// it, also one that two of the largest snapshots are merged into.
    fn gap_blocks(&self) -> u32 {
        let merged = (2 * self.largest_payload).min(self.merge_limit()) + 64;
        Segment::blocks_for(self.segment_bytes().max(merged))
    }

    /// Blocks that stay free, so that there is always room to thin into.
    fn reserve_blocks(&self) -> u32 {
        blocks_for(self.run_bytes()) + self.gap_blocks()
    }

    fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }
}

#[cfg(test)]
pub(crate) mod testing;
