//! Blocks that nothing points to any more: a scan has seen it, whatever the curve looks like.

use leaktrack_recording::{ScanKind, SiteLoss};

use super::super::opinion::{Opinion, Verdict};
use crate::human;

/// What a scan found of a site.
pub struct Found {
    /// All processes together.
    pub loss: SiteLoss,
    /// How the scan was made.
    pub kind: ScanKind,
    /// When, in seconds since the start.
    pub at_s: f64,
    /// The first scan that found a loss.
    pub since_s: f64,
}

/// The opinion on a site of which blocks are lost; growth that the curve shows is kept. `None`: none
/// is lost.
pub fn overrule(opinion: &Opinion, found: &Found) -> Option<Opinion> {
    let loss = &found.loss;
    let lost_blocks = loss.definite_blocks.saturating_add(loss.indirect_blocks);
    if lost_blocks == 0 {
        return None;
    }
    let of = |blocks: u64, bytes: u64| {
        format!(
            "{} ({})",
            human::plural(blocks, "block"),
            human::bytes(bytes)
        )
    };
    let mut lost = match loss.definite_blocks {
        0 => format!(
            "{} can be reached only from blocks that are lost themselves",
            of(loss.indirect_blocks, loss.indirect_bytes)
        ),
        blocks => format!(
            "Nothing in memory points to {} any more",
            of(blocks, loss.definite_bytes)
        ),
    };
    if loss.definite_blocks > 0 && loss.indirect_blocks > 0 {
        lost.push_str(&format!(
            ", and {} more can be reached only from lost ones",
            of(loss.indirect_blocks, loss.indirect_bytes)
        ));
    }
    let scan = match found.kind {
        ScanKind::Exit => "the scan at exit",
        ScanKind::Live => "a scan of the running process",
        ScanKind::Fork => "a scan of a forked copy",
    };
    lost.push_str(&format!(
        ": seen by {scan}, {} after the start.",
        human::duration(found.at_s)
    ));
    let mut why = vec![lost];
    let earlier_s = found.at_s - found.since_s;
    if earlier_s > 0.0 {
        why.push(format!(
            "Blocks of this site were first found lost {} before that.",
            human::duration(earlier_s)
        ));
    }
    let rest = loss.possible_blocks.saturating_add(loss.reachable_blocks);
    if rest > 0 {
        why.push(format!(
            "{} of its blocks {} still held.",
            human::count(rest),
            if rest == 1 { "is" } else { "are" }
        ));
    }
    if opinion.verdict == Verdict::Growing {
        why.extend(opinion.why.iter().cloned());
    }
    Some(Opinion {
        verdict: Verdict::Lost,
        why,
        settle: None,
        rose: false,
        ..opinion.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Estimate, Pattern};

    fn found(definite: (u64, u64), indirect: (u64, u64), since_s: f64) -> Found {
        Found {
            loss: SiteLoss {
                site: 1,
                definite_blocks: definite.0,
                definite_bytes: definite.1,
                indirect_blocks: indirect.0,
                indirect_bytes: indirect.1,
                ..SiteLoss::default()
            },
            kind: ScanKind::Live,
            at_s: 90.0,
            since_s,
        }
    }

    #[test]
    fn a_loss_outranks_the_curve_and_keeps_its_growth() {
        let mut growing = Opinion::new(Verdict::Growing, Pattern::Linear, "It grows.");
        growing.rate = Some(Estimate::exact(7.0));
        let opinion = overrule(&growing, &found((2, 2048), (3, 96), 30.0)).expect("lost");
        assert_eq!(opinion.verdict, Verdict::Lost);
        assert_eq!(opinion.rate, Some(Estimate::exact(7.0)));
        assert_eq!(
            opinion.why,
            [
                "Nothing in memory points to 2 blocks (2.0 KiB) any more, and 3 blocks (96 B) more can be reached only from lost ones: seen by a scan of the running process, 90 s after the start.",
                "Blocks of this site were first found lost 60 s before that.",
                "It grows.",
            ]
        );
    }

    #[test]
    fn a_loss_outranks_too_little_data_and_drops_its_words() {
        let unclear = Opinion::new(Verdict::Unclear, Pattern::Unclear, "Too few snapshots.");
        let opinion = overrule(&unclear, &found((1, 0), (0, 0), 90.0)).expect("lost");
        assert_eq!(opinion.why.len(), 1, "{:?}", opinion.why);
        assert!(overrule(&unclear, &found((0, 0), (0, 0), 90.0)).is_none());
    }
}
