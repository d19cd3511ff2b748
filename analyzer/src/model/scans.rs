//! Reachability scans of a process, and what the last of them found of each site.
//!
//! A site of which a scan says nothing had no live blocks then, unless the scan left sites out.

use leaktrack_recording::{self as format, Losses, ScanKind, SiteKind, SiteLoss};

use super::process::{ById, text};

/// A scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// When it began.
    pub at_ms: u64,
    /// How it was made.
    pub kind: ScanKind,
    /// How long it took.
    pub duration_ms: u64,
    /// All memory was looked at.
    pub complete: bool,
    /// More may be lost than was found.
    pub lower_bound: bool,
    /// Sites that lost nothing are left out of the results.
    pub partial: bool,
    /// Threads whose registers could not be read.
    pub unread_threads: u32,
    /// Lost blocks of a site that these may hold, at most.
    pub excused_per_site: u64,
    /// Why it is not complete.
    pub why_not: Option<String>,
    /// Times that memory was gone through.
    pub passes: u32,
    /// Blocks looked at.
    pub blocks: u64,
    /// Blocks that the scan before called lost and that were freed since.
    pub freed_since: u64,
}

impl Scan {
    /// As recorded.
    pub fn of(scan: &format::Scan<'_>) -> Self {
        Self {
            at_ms: scan.at_ms,
            kind: scan.kind,
            duration_ms: scan.duration_ms,
            complete: scan.complete,
            lower_bound: scan.lower_bound,
            partial: scan.partial,
            unread_threads: scan.unread_threads,
            excused_per_site: scan.excused_per_site,
            why_not: (!scan.why_not.is_empty()).then(|| text(scan.why_not)),
            passes: scan.passes,
            blocks: scan.blocks,
            freed_since: scan.freed_since,
        }
    }
}

/// Gives the sites what a scan found of them.
pub(super) fn assign(scans: &[Scan], losses: &Losses<'_>, sites: &mut ById) {
    let scan = scans.iter().find(|scan| scan.at_ms == losses.at_ms);
    let Some(scan) = scan.filter(|scan| scan.complete) else {
        return; // cut off before it was said what kind of scan it was
    };
    for site in sites.values_mut() {
        let scanned = site.site.kind == SiteKind::Heap && !scan.partial;
        site.losses = scanned.then(|| SiteLoss {
            site: site.site.id,
            ..SiteLoss::default()
        });
    }
    for loss in losses.losses() {
        if let Some(site) = sites.get_mut(&loss.site) {
            site.losses = Some(loss);
        }
    }
}

/// The sum of what scans found of the same site; `None` if none did.
pub fn sum(losses: impl IntoIterator<Item = SiteLoss>) -> Option<SiteLoss> {
    let earlier = |a: u64, b: u64| match (a, b) {
        (0, one) | (one, 0) => one,
        (a, b) => a.min(b),
    };
    losses.into_iter().reduce(|a, b| SiteLoss {
        site: a.site,
        since_ms: earlier(a.since_ms, b.since_ms),
        definite_bytes: a.definite_bytes.saturating_add(b.definite_bytes),
        definite_blocks: a.definite_blocks.saturating_add(b.definite_blocks),
        indirect_bytes: a.indirect_bytes.saturating_add(b.indirect_bytes),
        indirect_blocks: a.indirect_blocks.saturating_add(b.indirect_blocks),
        possible_bytes: a.possible_bytes.saturating_add(b.possible_bytes),
        possible_blocks: a.possible_blocks.saturating_add(b.possible_blocks),
        reachable_bytes: a.reachable_bytes.saturating_add(b.reachable_bytes),
        reachable_blocks: a.reachable_blocks.saturating_add(b.reachable_blocks),
    })
}
