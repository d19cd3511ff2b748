//! Owns the two headers: of the file and of a segment.

use crate::crc32c::crc32c;
use crate::fields::Input;
use crate::types::RecordingId;

/// Everything on disk starts on a multiple of this.
pub const BLOCK_BYTES: usize = 4096;
/// Length of the file header at the start of block 0.
pub const FILE_HEADER_BYTES: usize = 64;
/// Length of the header at the start of each segment.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// Raised when old readers cannot read what is written any more.
pub const MAJOR: u16 = 1;
/// Raised when something was added that old readers may skip.
pub const MINOR: u16 = 0;

const FILE_MAGIC: [u8; 8] = *b"LEAKTRK\0";
const SEGMENT_MAGIC: [u8; 4] = *b"LTSG";

/// The file header: the first 64 bytes, laid out alike in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Major version of the format.
    pub major: u16,
    /// Minor version of the format.
    pub minor: u16,
    /// Identity, the same as in the record [`Process`](crate::Process).
    pub id: RecordingId,
    /// `CLOCK_REALTIME` when the file was created, nanoseconds since the epoch.
    pub created_unix_ns: u64,
    /// Identity of the family's first recording; of this one where it is that.
    pub family: RecordingId,
}

impl FileHeader {
    /// A header of this version.
    pub fn new(id: RecordingId, created_unix_ns: u64) -> Self {
        FileHeader {
            major: MAJOR,
            minor: MINOR,
            id,
            created_unix_ns,
            family: id,
        }
    }

    /// The same, of a recording of this family.
    pub fn of_family(self, family: RecordingId) -> Self {
        FileHeader { family, ..self }
    }

    /// The bytes on disk.
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        let family = if self.family == self.id {
            [0; 16]
        } else {
            self.family
        };
        fill(
            &mut bytes,
            &[
                &FILE_MAGIC,
                &self.major.to_le_bytes(),
                &self.minor.to_le_bytes(),
                &[0; 4],
                &self.id,
                &self.created_unix_ns.to_le_bytes(),
                &family,
            ],
        );
        bytes
    }

    /// True if `bytes` begin like a recording, whole or not.
    pub(crate) fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(&FILE_MAGIC)
    }

    /// True if `bytes` are too few to tell.
    pub(crate) fn is_too_short(bytes: &[u8]) -> bool {
        FILE_MAGIC.starts_with(bytes)
    }

    /// The header at the start of `bytes`; `None` if there is none or it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(sealed::<FILE_HEADER_BYTES>(bytes)?);
        if input.array::<8>()? != FILE_MAGIC {
            return None;
        }
        let major = u16::from_le_bytes(input.array()?);
        let minor = u16::from_le_bytes(input.array()?);
        input.take(4)?;
        let id = input.array()?;
        let created_unix_ns = u64::from_le_bytes(input.array()?);
        let family: RecordingId = input.array()?;
        Some(FileHeader {
            major,
            minor,
            id,
            created_unix_ns,
            family: if family == [0; 16] { id } else { family },
        })
    }
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Nothing: space to be used again.
    Free,
    /// Who is recorded, modules, stacks, sites, threads.
    Defs,
    /// Snapshots.
    Snapshots,
    /// Ages of live blocks.
    Ages,
    /// Events and the end.
    Events,
    /// Names of the frames, put in afterwards by a tool; no [`Record`](crate::Record)s.
    Symbols,
    /// A kind that a newer version added; readers pass over it.
    Other(u8),
}

impl SegmentKind {
    fn to_byte(self) -> u8 {
        match self {
            SegmentKind::Free => 0,
            SegmentKind::Defs => 1,
            SegmentKind::Snapshots => 2,
            SegmentKind::Ages => 3,
            SegmentKind::Events => 4,
            SegmentKind::Symbols => 5,
            SegmentKind::Other(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => SegmentKind::Free,
            1 => SegmentKind::Defs,
            2 => SegmentKind::Snapshots,
            3 => SegmentKind::Ages,
            4 => SegmentKind::Events,
            5 => SegmentKind::Symbols,
            other => SegmentKind::Other(other),
        }
    }
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What it holds.
    pub kind: SegmentKind,
    /// How often its snapshots were thinned; for the writer.
    pub level: u8,
    /// Length in blocks, this header's included; at least 1.
    pub blocks: u32,
    /// Unique in the file, from 1, higher the later the segment was begun. It goes into every
    /// checksum inside, so that bytes of an earlier use of the same blocks never look valid.
    pub seq: u64,
}

impl SegmentHeader {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        fill(
            &mut bytes,
            &[
                &SEGMENT_MAGIC,
                &[self.kind.to_byte(), self.level, 0, 0],
                &self.blocks.to_le_bytes(),
                &[0; 4],
                &self.seq.to_le_bytes(),
            ],
        );
        bytes
    }

    /// The header at the start of `bytes`; `None` if there is none or it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(&SEGMENT_MAGIC) {
            return None;
        }
        let mut input = Input(sealed::<SEGMENT_HEADER_BYTES>(bytes)?);
        input.take(SEGMENT_MAGIC.len())?;
        let [kind, level, ..] = input.array::<4>()?;
        let blocks = u32::from_le_bytes(input.array()?);
        input.take(4)?;
        let seq = u64::from_le_bytes(input.array()?);
        let kind = SegmentKind::from_byte(kind);
        (blocks > 0).then_some(SegmentHeader {
            kind,
            level,
            blocks,
            seq,
        })
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        u64::from(self.blocks).saturating_mul(BLOCK_BYTES as u64)
    }
}

/// Lays `parts` end to end at the front of `bytes` and puts the checksum of all but the last four
/// bytes into those.
fn fill<const N: usize>(bytes: &mut [u8; N], parts: &[&[u8]]) {
    let Some((body, seal)) = bytes.split_last_chunk_mut::<4>() else {
        return;
    };
    for (to, &from) in body.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = from;
    }
    *seal = crc32c(body).to_le_bytes();
}

/// The first `N` bytes without their checksum, if that is right.
fn sealed<const N: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let (body, seal) = bytes.first_chunk::<N>()?.split_last_chunk::<4>()?;
    (crc32c(body) == u32::from_le_bytes(*seal)).then_some(body)
}
