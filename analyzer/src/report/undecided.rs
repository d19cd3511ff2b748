//! Live memory that rose at call sites of which it cannot be told whether they grow: what makes "no
//! finding" say little.

use std::collections::HashSet;

use super::diagnosis::place;
use super::growth::Growth;
use super::judge::Judgement;
use crate::human;
use crate::model::{Family, Site};
use crate::verdict::Verdict;

/// A rise is worth a word from this share of what is live on, and if at least half of all that
/// memory rose by is undecided.
const NOTABLE_SHARE: f64 = 0.05;
/// And from so many bytes on.
const NOTABLE_BYTES: i128 = 64 << 10;

/// What rose in the later half of the recording, and is unclear.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecided {
    /// Live bytes that came in that time on call sites that are unclear, less those that went.
    pub bytes: u64,
    /// Of all call sites.
    pub of_bytes: u64,
    /// How many of them rose.
    pub sites: u64,
    /// Where the one is blamed that rose most.
    pub most: String,
    /// What would settle that one.
    pub settle: Option<String>,
}

impl Undecided {
    /// Of the sites `asked` for, those that are told as growing apart. `None` if what is unclear does
    /// not matter.
    pub fn of(
        family: &Family,
        judgement: &Judgement,
        asked: &[usize],
        growth: &Growth,
    ) -> Option<Self> {
        let told: HashSet<usize> = growth
            .lines
            .iter()
            .flat_map(|line| line.sites.iter().copied())
            .collect();
        let asked: HashSet<usize> = asked
            .iter()
            .copied()
            .filter(|site| !told.contains(site))
            .collect();
        let (mut all, mut unclear, mut sites) = (0, 0, 0);
        let mut most: Option<(i128, &Site, Option<&String>)> = None;
        for (index, (site, opinion)) in family.sites.iter().zip(&judgement.opinions).enumerate() {
            let rise = later_rise(family, site);
            all += rise;
            if opinion.verdict != Verdict::Unclear || !opinion.rose || !asked.contains(&index) {
                continue;
            }
            unclear += rise;
            sites += u64::from(rise > 0);
            if most.is_none_or(|(before, ..)| rise > before) {
                most = Some((rise, site, opinion.settle.as_ref()));
            }
        }
        let live: u64 = family.sites.iter().map(Site::live_bytes).sum();
        let notable = unclear >= NOTABLE_BYTES && unclear as f64 >= live as f64 * NOTABLE_SHARE;
        let (_, site, settle) = most.filter(|_| notable && unclear * 2 >= all)?;
        Some(Self {
            bytes: unclear as u64,
            of_bytes: all.max(unclear) as u64,
            sites,
            most: place(site),
            settle: settle.cloned(),
        })
    }

    /// In words, to follow "but".
    pub fn sentence(&self) -> String {
        let (rose, undecided) = (human::bytes(self.of_bytes), human::bytes(self.bytes));
        let which = match rose == undecided {
            true => "and".to_owned(),
            false => format!("and of {undecided} of that"),
        };
        format!(
            "live memory rose by {rose} in its later half, {which} it cannot be told whether that goes on ({}, \
             most of it at {})",
            human::plural(self.sites, "call site"),
            self.most
        )
    }
}

/// By how much a site's live bytes rose from the middle of the recording to its end, in all processes.
fn later_rise(family: &Family, site: &Site) -> i128 {
    let rise = |part: &crate::model::site::Part| {
        let points = family.processes.get(part.process)?.grid.len();
        let middle = part.history.at(points.div_ceil(2).checked_sub(1)? as u32);
        Some(i128::from(part.history.last().live_bytes()) - i128::from(middle.live_bytes()))
    };
    site.parts.iter().filter_map(rise).sum()
}
