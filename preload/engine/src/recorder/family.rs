//! Owns how much the recordings of a family take together (option `family-disk`), and what goes when
//! that is used up: recordings of children that are gone, the oldest first; those that lost memory or
//! grew to their end only when they take half of it. How many those were and
//! what they held is added up in the control page of the family's first recording.
//!
//! All recordings of a family that lie in one folder count; each says in its header whose it is.
//! Processes take turns by a lock on the folder that nobody waits for longer than a tenth
//! of a second. Never removes what a living process writes, nor the family's first recording.

use leaktrack_recording::{
    BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, Record, Recording, RecordingId, Totals, control,
};

use super::buffer::Buffer;
use super::file::Open;
use crate::permit::{self, means::FOLDER};
use crate::sys::{self, o};
use crate::text::{Path, Text};

/// Larger recordings are not read, and so not folded.
const READABLE_BYTES: u64 = 4 << 20;
/// Candidates that one look at the folder remembers.
const CANDIDATES: usize = 64;
const ENTRIES_BYTES: usize = 32 << 10;
/// Between two looks at the folder when it was full.
const PAUSE_NS: u64 = 1_000_000_000;

/// A family's share of the disk, as one of its recordings sees it.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The first recording of the family.
    pub id: RecordingId,
    /// Most bytes of all its recordings.
    pub limit_bytes: u64,
    /// When the folder was found full last; 0: never.
    full_at_ns: u64,
}

/// The folder's lock: nobody else of the family takes room until it is dropped.
pub struct Turn(#[allow(dead_code, reason = "held for its drop")] Open);

/// A file's name in the folder.
type Name = Text<256>;

#[derive(Clone, Copy)]
struct Candidate {
    name: Name,
    created_unix_ns: u64,
    bytes: u64,
}

/// What a look at the folder found.
struct Seen {
    /// Bytes of the family's recordings, without the asker's.
    others_bytes: u64,
    /// The family's first recording; empty if it is not here.
    first: Name,
    /// The oldest others.
    candidates: [Candidate; CANDIDATES],
    len: usize,
}

/// What became of a recording that was to be folded.
enum Fold {
    /// It is gone.
    Done,
    /// It may have a finding.
    Spared,
    /// Its process lives, or it cannot be read or removed.
    Impossible,
}

/// What is known of a recording whose process is gone.
struct Past {
    allocations: u64,
    frees: u64,
    live_bytes: u64,
    /// It lost memory, or its live memory still grew when it ended: a report may find something.
    is_suspect: bool,
}

impl Family {
    /// A family that may take `limit_bytes`.
    pub const fn new(id: RecordingId, limit_bytes: u64) -> Family {
        Family {
            id,
            limit_bytes,
            full_at_ns: 0,
        }
    }

    /// Of `wanted` bytes more, how many the recording at `path` (with `own_bytes` now) may take.
    /// Makes room by folding recordings of processes that are gone. The room is the asker's as long
    /// as it keeps the turn.
    pub fn room(
        &mut self,
        path: &[u8],
        own_bytes: u64,
        wanted: u64,
        host: &[u8],
    ) -> (u64, Option<Turn>) {
        if self.limit_bytes == u64::MAX || !permit::open() || !permit::allows(FOLDER) {
            return (wanted, None);
        }
        let now_ns = sys::clock_ns(sys::clock::MONOTONIC);
        if self.full_at_ns != 0 && now_ns.saturating_sub(self.full_at_ns) < PAUSE_NS {
            return (0, None);
        }
        let Some(mut folder) = Folder::open(path) else {
            return (wanted, None);
        };
        let Some(mut memory) = Buffer::of(size_of::<Seen>() + ENTRIES_BYTES) else {
            return (wanted, None);
        };
        let (seen, entries) = memory.as_mut_slice().split_at_mut(size_of::<Seen>());
        // SAFETY: the arena's memory is aligned to 16, zeroed, and long enough; all zeroes is a
        // valid `Seen`.
        let seen = unsafe { &mut *seen.as_mut_ptr().cast::<Seen>() };
        folder.look(self.id, path, entries, seen);
        let room = |seen: &Seen| {
            self.limit_bytes
                .saturating_sub(seen.others_bytes)
                .saturating_sub(own_bytes)
        };
        let mut suspects_bytes = 0_u64;
        for spares in [true, false] {
            for at in 0..seen.len {
                // Without others to fold, suspects have half of what the family may take.
                let enough = room(seen) >= wanted;
                if enough || !spares && suspects_bytes <= self.limit_bytes / 2 {
                    break;
                }
                let Some(candidate) = seen.candidates.get_mut(at).filter(|it| it.bytes > 0) else {
                    continue;
                };
                let bytes = candidate.bytes;
                match folder.fold(candidate, &seen.first, host, spares) {
                    Fold::Done => {
                        candidate.bytes = 0;
                        seen.others_bytes = seen.others_bytes.saturating_sub(bytes);
                        suspects_bytes = suspects_bytes.saturating_sub(bytes);
                    }
                    Fold::Spared => suspects_bytes = suspects_bytes.saturating_add(bytes),
                    Fold::Impossible => {}
                }
            }
        }
        let room = room(seen).min(wanted) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        self.full_at_ns = if room < wanted { now_ns.max(1) } else { 0 };
        (room, Some(Turn(folder.open)))
    }

    /// Counts a process that finds no room for a recording.
    pub fn count_unrecorded(&self, path: &[u8]) {
        let Some(mut folder) = Folder::open(path) else {
            return;
        };
        let Some(mut memory) = Buffer::of(size_of::<Seen>() + ENTRIES_BYTES) else {
            return;
        };
        let (seen, entries) = memory.as_mut_slice().split_at_mut(size_of::<Seen>());
        // SAFETY: as in `room`.
        let seen = unsafe { &mut *seen.as_mut_ptr().cast::<Seen>() };
        folder.look(self.id, path, entries, seen);
        folder.add(&seen.first, |counts| {
            counts.unrecorded = counts.unrecorded.saturating_add(1);
        });
    }
}

/// The folder of the recordings, locked if that could be had at once.
struct Folder {
    open: Open,
    /// Its path, with a slash at the end.
    path: Path,
}

impl Folder {
    fn open(recording: &[u8]) -> Option<Folder> {
        const LOCK_EX_NB: usize = 2 | 4;
        const ATTEMPTS: u32 = 100;
        let slash = recording.iter().rposition(|&byte| byte == b'/')?;
        let mut path = Path::new();
        path.push_bytes(recording.get(..=slash)?);
        let fd = sys::open(path.c_str()?, o::RDONLY | o::DIRECTORY, 0).ok()?;
        let open = Open::of(fd);
        for _ in 0..ATTEMPTS {
            if sys::flock(open.fd(), LOCK_EX_NB) {
                break;
            }
            sys::pause_ms(1);
        }
        Some(Folder { open, path })
    }

    fn full(&self, name: &Name) -> Path {
        let mut path = self.path;
        path.push_bytes(name.as_bytes());
        path
    }

    /// Looks for recordings of the family `id` besides that at `own`.
    fn look(&mut self, id: RecordingId, own: &[u8], entries: &mut [u8], seen: &mut Seen) {
        let own_name = own.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let ending = ending(own_name);
        loop {
            let read = sys::getdents(self.open.fd(), entries).unwrap_or(0);
            let Some(mut rest) = entries.get(..read).filter(|read| !read.is_empty()) else {
                break;
            };
            while let Some((name, is_file, next)) = entry(rest) {
                rest = next;
                if is_file && name != own_name && name.windows(ending.len()).any(|w| w == ending) {
                    self.note(id, name, seen);
                }
            }
        }
    }

    fn note(&self, family: RecordingId, name: &[u8], seen: &mut Seen) {
        let mut kept = Name::new();
        kept.push_bytes(name);
        let mut path = self.full(&kept);
        let flags = o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK;
        let Some(Ok(fd)) = path.c_str().map(|path| sys::open(path, flags, 0)) else {
            return;
        };
        let open = Open::of(fd);
        let mut bytes = [0; FILE_HEADER_BYTES];
        let (Ok(_), Ok(stat)) = (sys::pread(fd, &mut bytes, 0), sys::fstat(fd)) else {
            return;
        };
        drop(open);
        let Some(header) = FileHeader::decode(&bytes).filter(|header| header.family == family)
        else {
            return;
        };
        seen.others_bytes = seen.others_bytes.saturating_add(stat.size_bytes);
        if header.id == family {
            seen.first = kept;
            return;
        }
        let candidate = Candidate {
            name: kept,
            created_unix_ns: header.created_unix_ns,
            bytes: stat.size_bytes,
        };
        seen.remember(candidate);
    }

    /// Removes a recording whose process is gone, and adds what it held to the family's first. Not
    /// one that may have a finding, if it is to be spared.
    fn fold(&self, candidate: &Candidate, first: &Name, host: &[u8], spares: bool) -> Fold {
        let mut path = self.full(&candidate.name);
        let Some(past) = past(&mut path, candidate.bytes, host) else {
            return Fold::Impossible;
        };
        if spares && past.is_suspect {
            return Fold::Spared;
        }
        if path.c_str().is_none_or(|path| sys::unlink(path).is_err()) {
            return Fold::Impossible;
        }
        self.add(first, |counts| {
            counts.folded = counts.folded.saturating_add(1);
            counts.allocations = counts.allocations.saturating_add(past.allocations);
            counts.frees = counts.frees.saturating_add(past.frees);
            counts.live_bytes = counts.live_bytes.saturating_add(past.live_bytes);
        });
        Fold::Done
    }

    /// Changes the sums in the control page of the family's first recording.
    fn add(&self, first: &Name, change: impl FnOnce(&mut control::FamilyCounts)) {
        if first.is_empty() {
            return;
        }
        let mut path = self.full(first);
        let flags = o::RDWR | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK;
        let Some(Ok(fd)) = path.c_str().map(|path| sys::open(path, flags, 0)) else {
            return;
        };
        let open = Open::of(fd);
        let mut bytes = [0; control::FamilyCounts::BYTES];
        if sys::pread(open.fd(), &mut bytes, control::FAMILY) == Ok(bytes.len()) {
            let mut counts = control::FamilyCounts::decode(&bytes);
            change(&mut counts);
            let _ = sys::pwrite(open.fd(), &counts.encode(), control::FAMILY);
        }
    }
}

impl Seen {
    /// Keeps the oldest candidates, in order of age.
    fn remember(&mut self, new: Candidate) {
        let Some(known) = self.candidates.get(..self.len) else {
            return;
        };
        let at = known.partition_point(|known| known.created_unix_ns <= new.created_unix_ns);
        self.len = (self.len + 1).min(CANDIDATES);
        let Some(later) = self.candidates.get_mut(at..self.len) else {
            return;
        };
        if !later.is_empty() {
            later.rotate_right(1);
            if let Some(slot) = later.first_mut() {
                *slot = new;
            }
        }
    }
}

/// `.ltk` of `server.12.ltk.3`: what the names of all recordings of this template have.
fn ending(name: &[u8]) -> &[u8] {
    let mut end = name.len();
    while let Some(dot) = name
        .get(..end)
        .and_then(|name| name.iter().rposition(|&byte| byte == b'.'))
    {
        let part = name.get(dot..end).unwrap_or_default();
        if part.len() > 1 && !part.iter().skip(1).all(u8::is_ascii_digit) {
            return part;
        }
        end = dot;
    }
    &[]
}

/// The first `linux_dirent64` of `bytes`: its name, whether it may be a file, and what follows.
fn entry(bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    const LEN: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    const UNKNOWN: u8 = 0;
    const FILE: u8 = 8;
    let len = u16::from_ne_bytes([*bytes.get(LEN)?, *bytes.get(LEN + 1)?]);
    let (entry, rest) = bytes.split_at_checked(usize::from(len))?;
    let kind = *entry.get(KIND)?;
    let name = entry.get(NAME..)?.split(|&byte| byte == 0).next()?;
    Some((name, matches!(kind, UNKNOWN | FILE), rest))
}

/// What a recording holds, if its process was on this host and is gone.
fn past(path: &mut Path, bytes: u64, host: &[u8]) -> Option<Past> {
    if bytes > READABLE_BYTES {
        return None;
    }
    let mut memory = Buffer::of(bytes as usize)?;
    let flags = o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK;
    let open = Open::of(sys::open(path.c_str()?, flags, 0).ok()?);
    let content = memory.as_mut_slice().get_mut(..bytes as usize)?;
    let read = sys::pread(open.fd(), content, 0).ok()?;
    let recording = Recording::open(content.get(..read)?).ok()?;
    let mut gone = false;
    let mut lost = false;
    let mut last: Option<(u64, u64, Totals)> = None;
    for record in recording.segments().flat_map(|segment| segment.records()) {
        match record {
            Record::Process(process) => {
                gone = process.host == host && !sys::thread_exists(process.pid, process.pid);
            }
            Record::Snapshot(snapshot)
                if last.is_none_or(|(index, ..)| index <= snapshot.head.index) =>
            {
                let head = snapshot.head;
                last = Some((head.index, head.end_index(), head.totals));
            }
            Record::Losses(losses) => {
                lost |= losses
                    .losses()
                    .any(|loss| loss.definite_bytes > 0 || loss.indirect_bytes > 0);
            }
            _ => {}
        }
    }
    let (_, end, totals) = last.unwrap_or_default();
    Some(Past {
        allocations: totals.allocations,
        frees: totals.frees,
        live_bytes: live_bytes(&totals),
        is_suspect: lost || grew(&recording, end, &totals),
    })
    .filter(|_| gone)
}

fn live_bytes(totals: &Totals) -> u64 {
    totals.allocated_bytes.saturating_sub(totals.freed_bytes)
}

/// True if more was live at the end than in the middle of the run, and there more than at a quarter,
/// by a tenth each, in a run long enough to be judged. `end`: one past the last snapshot's index.
fn grew(recording: &Recording<'_>, end: u64, totals: &Totals) -> bool {
    const LEAST_SNAPSHOTS: u64 = 8;
    if end < LEAST_SNAPSHOTS {
        return false;
    }
    // Most live bytes in the first quarter and in the first half.
    let (mut quarter, mut half) = (0, 0);
    for record in recording.segments().flat_map(|segment| segment.records()) {
        if let Record::Snapshot(snapshot) = record {
            let (at, live) = (snapshot.head.end_index(), live_bytes(&snapshot.head.totals));
            if at <= end / 4 {
                quarter = quarter.max(live);
            }
            if at <= end / 2 {
                half = half.max(live);
            }
        }
    }
    let rises = |from: u64, to: u64| to > from.saturating_add(from / 10);
    rises(quarter, half) && rises(half, live_bytes(totals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        for (name, expected) in [
            ("leaktrack.server.12.170.ltk", ".ltk"),
            ("server.12.ltk.3", ".ltk"),
            ("rec", ""),
            ("rec.12", ""),
            ("a.b.rec", ".rec"),
        ] {
            assert_eq!(ending(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}
