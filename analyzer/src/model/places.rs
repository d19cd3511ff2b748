//! The address space and single live blocks as a recording has them, as owned values.

use leaktrack_recording as format;

/// The address space at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSpace {
    /// Its sums.
    pub head: format::AreasHead,
    /// Areas by address.
    pub list: Vec<Area>,
}

/// One area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// From its first to its last address.
    pub bytes: u64,
    /// See [`format::area`].
    pub kind: u32,
    /// Which of its kind.
    pub which: u32,
    /// Resident.
    pub resident_bytes: u64,
    /// Swapped out.
    pub swapped_bytes: u64,
    /// Within it, not mapped.
    pub gap_bytes: u64,
    /// Ranges that it was made of.
    pub ranges: u32,
    /// Path, or a name that its owner gave.
    pub name: String,
}

impl AddressSpace {
    /// Decodes it.
    pub fn of(areas: &format::Areas<'_>) -> Self {
        let bytes = |pages: u64| pages.saturating_mul(format::AREA_BYTES);
        let area = |area: format::Area<'_>| Area {
            start: bytes(area.start),
            bytes: bytes(area.pages),
            kind: area.kind,
            which: area.which,
            resident_bytes: bytes(area.resident_pages),
            swapped_bytes: bytes(area.swapped_pages),
            gap_bytes: bytes(area.gap_pages),
            ranges: area.ranges,
            name: super::process::text(area.name),
        };
        Self {
            head: areas.head,
            list: areas.areas().map(area).collect(),
        }
    }
}

/// Some of the live blocks at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBlocks {
    /// What they were chosen from.
    pub head: format::BlocksHead,
    /// Blocks by address.
    pub list: Vec<format::LiveBlock>,
}

impl LiveBlocks {
    /// Decodes them.
    pub fn of(blocks: &format::Blocks<'_>) -> Self {
        Self {
            head: blocks.head,
            list: blocks.blocks().collect(),
        }
    }
}
