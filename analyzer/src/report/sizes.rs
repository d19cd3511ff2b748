//! How large a site's blocks were and how many were temporary, as the report has it.

use crate::model::Site;
use crate::model::sizes::Sizes;

/// Of all its processes together; `None` unless known of each.
fn of(site: &Site) -> Option<Sizes> {
    let parts = site.parts.iter().map(|part| part.sizes);
    parts.reduce(|a, b| Some(a?.plus(b?))).flatten()
}

/// Temporary blocks.
pub fn temporary(site: &Site) -> Option<u64> {
    of(site)?.temporary
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
