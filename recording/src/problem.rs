//! Owns what can be wrong with a file, and says it in words.

use core::fmt;

/// Why a file cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: OpenFault,
}

/// See [`OpenError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// The file ends within its first bytes, or its first block is all zero: it was created but
    /// not written.
    Empty,
    /// Something else than a recording.
    NotARecording,
    /// Written in a format that this reader does not know.
    Version {
        /// Major version of the file.
        major: u16,
        /// Minor version of the file.
        minor: u16,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            OpenFault::Empty => f.write_str(
                "the recording is empty: the process ended before anything was written to it",
            ),
            OpenFault::NotARecording => f.write_str("not a leaktrack recording"),
            OpenFault::Version { major, minor } => write!(
                f,
                "the recording is of format {major}.{minor}, this leaktrack reads format {}: \
                 use the leaktrack that recorded it, or a newer one",
                crate::MAJOR
            ),
        }
    }
}

impl core::error::Error for OpenError {}

/// A range of the file that could not be read. The rest was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// First byte of it.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// See [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file header's checksum is wrong; identity and version are unknown.
    Header,
    /// Neither a segment nor unused space.
    NoSegment,
    /// The file ends before its last segment does.
    CutOff,
    /// Records with a wrong checksum amid good ones, or a length that cannot be and all that
    /// follows it in the segment.
    Damaged,
    /// The last record of a segment or of a file that was cut off is not whole: the process was
    /// stopped while it wrote, or is writing, or the bytes are damaged.
    Unfinished,
    /// The checksum is right but the record makes no sense.
    Unreadable,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Header => "the file header is damaged",
            Fault::NoSegment => "not part of any segment, the segment's header may be damaged",
            Fault::CutOff => "missing, the file was cut off here",
            Fault::Damaged => "damaged records, left out",
            Fault::Unfinished => "a record that is unfinished or damaged, left out",
            Fault::Unreadable => "a record that makes no sense, left out",
        };
        write!(f, "{} bytes at offset {}: {what}", self.len, self.offset)
    }
}
