//! Owns what a sandbox still lets the library do. Whoever learns that a call kills or is refused
//! (`trial`, `restrict`) says so here; whoever makes such calls asks first.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

static NO_OPEN: AtomicBool = AtomicBool::new(false);
static NO_COPY: AtomicBool = AtomicBool::new(false);
static NO_SCAN: AtomicBool = AtomicBool::new(false);
static NO_STAGING: AtomicBool = AtomicBool::new(false);
/// Means that threads of the program have lost.
static LOST: AtomicU32 = AtomicU32::new(0);

/// A set of things that system calls are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means(u32);

#[allow(missing_docs)]
pub mod means {
    //! One thing each.
    pub use super::Means;

    /// Who and when we are, and waiting: hooks do without, at a price.
    pub const ASK: Means = Means(1);
    /// More memory.
    pub const MAP: Means = Means(1 << 1);
    /// Giving memory back.
    pub const UNMAP: Means = Means(1 << 2);
    /// Advice on memory of our own.
    pub const ADVISE: Means = Means(1 << 3);
    /// Finding out what may be read of an unknown stack.
    pub const PROBE: Means = Means(1 << 4);
    /// Blocking signals.
    pub const SIGNALS: Means = Means(1 << 5);
    /// Making a module's path absolute.
    pub const PATHS: Means = Means(1 << 6);
    /// Taking snapshots, and having a helper that does.
    pub const SNAPSHOT: Means = Means(1 << 7);
    /// Writing to the recording by copying memory; without, it is written as a file.
    pub const COPY: Means = Means(1 << 8);
    /// A descriptor table of the helper's own.
    pub const DESCRIPTORS: Means = Means(1 << 9);
    /// Waiting for two words at once.
    pub const EITHER: Means = Means(1 << 10);
    /// Messages on stderr.
    pub const SAY: Means = Means(1 << 11);
    /// Scanning for lost blocks.
    pub const SCAN: Means = Means(1 << 12);
    /// Attributing page faults.
    pub const PERF: Means = Means(1 << 13);
    pub const NONE: Means = Means(0);
    /// Looking after the family's share of the disk.
    pub const FOLDER: Means = Means(1 << 14);
    /// Fencing other threads: without, every lock is taken.
    pub const FENCE: Means = Means(1 << 15);
    /// A file in memory through which scans copy many small pieces at once.
    pub const STAGING: Means = Means(1 << 16);
    pub const ALL: Means = Means((1 << 17) - 1);
}

impl Means {
    /// Both.
    pub const fn and(self, other: Means) -> Means {
        Means(self.0 | other.0)
    }

    /// True if one of `other` is among them.
    pub const fn has(self, other: Means) -> bool {
        self.0 & other.0 != 0
    }

    /// As a number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set of a number that [`Means::bits`] gave.
    pub const fn of_bits(bits: u32) -> Means {
        Means(bits)
    }
}

/// May threads of the program use this?
pub fn allows(wanted: Means) -> bool {
    !lost().has(wanted)
}

/// What threads of the program must do without.
pub fn lost() -> Means {
    Means(LOST.load(Relaxed))
}

/// Sets [`lost`].
pub fn set_lost(lost: Means) {
    LOST.store(lost.0, Relaxed);
}

/// May files be opened?
pub fn open() -> bool {
    !NO_OPEN.load(Relaxed)
}

/// Sets [`open`].
pub fn set_open(allowed: bool) {
    NO_OPEN.store(!allowed, Relaxed);
}

/// May `process_vm_readv` and `process_vm_writev` be called?
pub fn copy_memory() -> bool {
    !NO_COPY.load(Relaxed)
}

/// Sets [`copy_memory`].
pub fn set_copy_memory(allowed: bool) {
    NO_COPY.store(!allowed, Relaxed);
}

/// May the calls be made that only scans for lost blocks make?
pub fn scan() -> bool {
    !NO_SCAN.load(Relaxed)
}

/// Sets [`scan`].
pub fn set_scan(allowed: bool) {
    NO_SCAN.store(!allowed, Relaxed);
}

/// May scans have a file in memory?
pub fn staging() -> bool {
    !NO_STAGING.load(Relaxed)
}

/// Sets [`staging`].
pub fn set_staging(allowed: bool) {
    NO_STAGING.store(!allowed, Relaxed);
}
