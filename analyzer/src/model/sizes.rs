//! How large the blocks of a site were when they were allocated, and how many were temporary, since
//! the recording began.

use std::collections::HashMap;

use leaktrack_recording::{self as format, BySize, SIZE_CLASSES, SiteKind, SiteSizes};

use super::process::ById;

/// What is known of a site in one process, or in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Blocks freed before their thread allocated or freed anything else, since the recording began:
    /// for recordings whose snapshots do not tell them.
    pub temporary: Option<u64>,
    /// Blocks allocated, by class of size.
    pub allocated: Option<BySize>,
}

impl Sizes {
    /// Both together; what is not known of one is not known of both.
    pub fn plus(self, other: Self) -> Self {
        let add = |a: BySize, b: BySize| std::array::from_fn(|at| at_of(&a, at) + at_of(&b, at));
        Self {
            temporary: self
                .temporary
                .zip(other.temporary)
                .map(|(a, b)| a.saturating_add(b)),
            allocated: self.allocated.zip(other.allocated).map(|(a, b)| add(a, b)),
        }
    }

    /// The largest size of a class in bytes; `None`: any.
    pub fn up_to(class: usize) -> Option<u64> {
        (class + 1 < SIZE_CLASSES).then(|| 8 << class)
    }
}

/// Recordings may claim any number.
fn at_of(counts: &BySize, at: usize) -> u64 {
    counts.get(at).copied().unwrap_or(0).min(u64::MAX / 2)
}

/// Takes a list in. Of a site that is not there nothing is known: it allocated later, or there was no
/// room to tell.
pub(super) fn assign(list: &format::Sizes<'_>, sites: &mut ById) {
    let known: HashMap<u32, SiteSizes> = list.sizes().map(|it| (it.site, it)).collect();
    for (id, site) in sites {
        site.sizes = known.get(id).map(|it| Sizes {
            // What a mapping is freed by is not a call of its own.
            temporary: it.temporary.filter(|_| site.site.kind == SiteKind::Heap),
            allocated: it.allocated,
        });
    }
}
