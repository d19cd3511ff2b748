//! Owns the way through a file: from block to segment to record. Any bytes will do.

use crate::control::{self, FamilyCounts};
use crate::frame::{Frame, Frames};
use crate::header::{
    BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, MAJOR, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentKind,
};
use crate::order::SnapshotRef;
use crate::problem::{Fault, OpenError, OpenFault, Problem};
use crate::types::Record;

/// A recording in memory, or what is left of one.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    bytes: &'a [u8],
    header: Option<FileHeader>,
}

impl<'a> Recording<'a> {
    /// Opens the file whose content is `bytes`.
    ///
    /// Fails only if they are no recording at all, or one of another major version; whatever else
    /// may be wrong is in [`problems`](Self::problems).
    pub fn open(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let fail = |what| Err(OpenError { offset: 0, what });
        let blank = bytes.iter().take(BLOCK_BYTES).all(|&byte| byte == 0);
        if blank || FileHeader::is_too_short(bytes) {
            return fail(OpenFault::Empty);
        }
        if !FileHeader::has_magic(bytes) {
            return fail(OpenFault::NotARecording);
        }
        match FileHeader::decode(bytes) {
            Some(FileHeader { major, minor, .. }) if major != MAJOR => {
                fail(OpenFault::Version { major, minor })
            }
            header => Ok(Recording { bytes, header }),
        }
    }

    /// What became of recordings of the family that there was no room for; only the family's first
    /// says so.
    pub fn family_counts(&self) -> Option<FamilyCounts> {
        let at = control::FAMILY as usize;
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(FamilyCounts::decode(bytes))
    }

    /// The file header, unless it is damaged.
    pub fn header(&self) -> Option<FileHeader> {
        self.header
    }

    /// The segments in the order of the file, without free ones, symbols and those of a kind
    /// that a newer version added.
    pub fn segments(&self) -> Segments<'a> {
        Segments(self.walk())
    }

    /// What tools have put in: segments of the kind [`SegmentKind::Symbols`], in the order of the
    /// file. Their frames hold no records.
    pub fn symbols(&self) -> impl Iterator<Item = Segment<'a>> {
        let segments = self.walk().filter_map(Result::ok);
        segments.filter(|segment| segment.header.kind == SegmentKind::Symbols)
    }

    /// Where the snapshots are, in the order of the file, superseded ones included.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapshotRef<'a>> + use<'a> {
        let frames = self.pieces().filter_map(Result::ok);
        let may_be = frames.filter(|unread| unread.kind == SegmentKind::Snapshots);
        may_be.filter_map(|unread| unread.look().ok()?)
    }

    /// All that could not be read, in the order of the file.
    pub fn problems(&self) -> impl Iterator<Item = Problem> + use<'a> {
        self.pieces()
            .filter_map(|piece| piece.and_then(|unread| unread.look()).err())
    }

    /// All frames of segments that hold records, not looked into yet, and between them what is no frame, in the
    /// order of the file: [`snapshots`](Self::snapshots) and [`problems`](Self::problems) at once.
    pub fn pieces(&self) -> Pieces<'a> {
        let header = self.header.is_none().then_some(Problem {
            offset: 0,
            len: FILE_HEADER_BYTES as u64,
            fault: Fault::Header,
        });
        Pieces {
            header,
            walk: self.walk(),
            current: None,
        }
    }

    fn walk(&self) -> Walk<'a> {
        Walk {
            bytes: self.bytes,
            at: BLOCK_BYTES,
        }
    }
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its header.
    pub header: SegmentHeader,
    /// Where it begins in the file.
    pub offset: u64,
    /// What follows the header, as far as it is in the file.
    body: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment at the start of `bytes`, which are at `offset` in the file.
    pub fn open(bytes: &'a [u8], offset: u64) -> Option<Self> {
        let header = SegmentHeader::decode(bytes)?;
        let len = usize::try_from(header.len_bytes())
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let body = bytes.get(SEGMENT_HEADER_BYTES..len)?;
        Some(Segment {
            header,
            offset,
            body,
        })
    }

    /// Its frames.
    pub fn frames(&self) -> Frames<'a> {
        let offset = self.offset.saturating_add(SEGMENT_HEADER_BYTES as u64);
        let frames = Frames::new(self.header.seq, self.body, offset);
        match self.missing() {
            Some(_) => frames.cut(),
            None => frames,
        }
    }

    /// Its records, those that can be read.
    pub fn records(&self) -> SegmentRecords<'a> {
        SegmentRecords {
            kind: self.header.kind,
            frames: self.frames(),
        }
    }

    /// True if there are records to be read.
    fn holds_records(&self) -> bool {
        use SegmentKind::{Free, Other, Symbols};
        !matches!(self.header.kind, Free | Symbols | Other(_))
    }

    /// What the file lacks of it.
    fn missing(&self) -> Option<Problem> {
        let there = (self.body.len() as u64).saturating_add(SEGMENT_HEADER_BYTES as u64);
        let len = self
            .header
            .len_bytes()
            .checked_sub(there)
            .filter(|&len| len > 0)?;
        let offset = self.offset.saturating_add(there);
        Some(Problem {
            offset,
            len,
            fault: Fault::CutOff,
        })
    }
}

/// The records of one segment, see [`Segment::records`].
#[derive(Clone, Copy, Debug)]
pub struct SegmentRecords<'a> {
    kind: SegmentKind,
    frames: Frames<'a>,
}

impl<'a> Iterator for SegmentRecords<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let kind = self.kind;
        let readable = |frame: Result<Frame<'a>, Problem>| frame.ok()?.record().ok()?;
        self.frames
            .by_ref()
            .filter_map(readable)
            .find(|record| record.segment_kind() == kind)
    }
}

/// See [`Recording::segments`].
#[derive(Clone, Debug)]
pub struct Segments<'a>(Walk<'a>);

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        self.0
            .by_ref()
            .filter_map(Result::ok)
            .find(Segment::holds_records)
    }
}

/// Goes from segment to segment; what is neither a segment nor zero is a problem.
#[derive(Clone, Debug)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Segment<'a>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        // From the first to one past the last block that is not zero, before the next segment.
        let mut strange: Option<(usize, usize)> = None;
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty());
            let segment = rest.and_then(|rest| Segment::open(rest, self.at as u64));
            if rest.is_none() || segment.is_some() {
                if let Some((from, to)) = strange {
                    let len = to.saturating_sub(from) as u64;
                    let offset = from as u64;
                    return Some(Err(Problem {
                        offset,
                        len,
                        fault: Fault::NoSegment,
                    }));
                }
                let segment = segment?;
                let len = usize::try_from(segment.header.len_bytes()).unwrap_or(usize::MAX);
                self.at = self.at.saturating_add(len);
                return Some(Ok(segment));
            }
            let rest = rest?;
            let block = rest.get(..BLOCK_BYTES).unwrap_or(rest);
            let from = self.at;
            self.at = self.at.saturating_add(block.len());
            if block.iter().any(|&byte| byte != 0) {
                strange = Some((strange.map_or(from, |(first, _)| first), self.at));
            }
        }
    }
}

/// A frame whose record was not looked into yet, see [`Recording::pieces`].
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a> {
    kind: SegmentKind,
    seq: u64,
    frame: Frame<'a>,
}

impl<'a> Unread<'a> {
    /// Bytes of the record.
    pub fn len_bytes(&self) -> usize {
        self.frame.payload.len()
    }

    /// Looks at every byte of the record: the snapshot, if it is one, or what is wrong with it.
    pub fn look(&self) -> Result<Option<SnapshotRef<'a>>, Problem> {
        match self.frame.record()? {
            Some(record) if record.segment_kind() != self.kind => {
                Err(self.frame.problem(Fault::Unreadable))
            }
            Some(Record::Snapshot(snapshot)) => {
                let found = SnapshotRef::new(snapshot, self.seq, self.frame.offset);
                Ok(Some(found))
            }
            _ => Ok(None),
        }
    }
}

/// See [`Recording::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    header: Option<Problem>,
    walk: Walk<'a>,
    current: Option<(Segment<'a>, Frames<'a>)>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Unread<'a>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(header) = self.header.take() {
            return Some(Err(header));
        }
        loop {
            if let Some((segment, frames)) = &mut self.current {
                let SegmentHeader { kind, seq, .. } = segment.header;
                if let Some(found) = frames.next() {
                    return Some(found.map(|frame| Unread { kind, seq, frame }));
                }
                let missing = segment.missing();
                self.current = None;
                if let Some(missing) = missing {
                    return Some(Err(missing));
                }
            }
            match self.walk.next()? {
                Ok(segment) if segment.holds_records() => {
                    self.current = Some((segment, segment.frames()));
                }
                Ok(_) => {}
                Err(problem) => return Some(Err(problem)),
            }
        }
    }
}
