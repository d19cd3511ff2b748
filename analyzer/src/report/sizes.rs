//! How large a site's blocks were and how many were temporary, as the report has it.

use leaktrack_recording::SiteKind;

use crate::model::site::Part;
use crate::model::sizes::Sizes;
use crate::model::{Family, Site};

/// Of all its processes together; `None` unless known of each.
fn of(site: &Site) -> Option<Sizes> {
    let parts = site.parts.iter().map(|part| part.sizes);
    parts.reduce(|a, b| Some(a?.plus(b?))).flatten()
}

/// Temporary blocks in the window; of processes whose snapshots do not tell, since they began. `None`
/// unless known of each process. What a mapping is freed by is not a call of its own.
pub fn temporary(family: &Family, site: &Site) -> Option<u64> {
    let of_part = |part: &Part| match tells(family, part) {
        true => Some(part.history.last().since(&part.history.base).temporary),
        false => part.sizes?.temporary,
    };
    let mut parts = site.parts.iter().filter(|_| site.kind == SiteKind::Heap);
    let first = of_part(parts.next()?)?;
    parts.try_fold(first, |sum, part| Some(sum.saturating_add(of_part(part)?)))
}

/// Whether temporary blocks are known over time.
pub fn tells_over_time(family: &Family, site: &Site) -> bool {
    site.parts.iter().all(|part| tells(family, part))
}

fn tells(family: &Family, part: &Part) -> bool {
    let process = family.processes.get(part.process);
    process.is_some_and(|process| process.tells_temporary)
}

/// The largest size of each class that occurred, and how often.
pub fn sizes(site: &Site) -> Option<Vec<(Option<u64>, u64)>> {
    let counts = of(site)?.allocated?;
    let classes = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    Some(
        classes
            .map(|(class, count)| (Sizes::up_to(class), *count))
            .collect(),
    )
}
