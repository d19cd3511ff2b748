//! Which share of a site's blocks lives longer than a given age, and what that says of those that
//! live: blocks that normally die within seconds, and survivors that nothing ever freed, are a leak,
//! reachable or not.
//!
//! Blocks that still live count as long as they were watched (Kaplan and Meier); the data are
//! grouped, so that those within an octave count for half of it (the actuarial estimate).

use leaktrack_recording::OCTAVES;

use super::opinion::{Estimate, Opinion, Pattern, Verdict};
use crate::human;
use crate::model::lifetimes::Lifetimes;

/// Fewer freed blocks say nothing of what is normal.
const LEAST_FREED: u64 = 100;
/// Fewer survivors are no pattern.
const LEAST_SURVIVORS: u64 = 20;
/// A survivor has lived so many octaves longer than nearly all that were freed: eight times as long.
const OCTAVES_BEYOND: usize = 3;
/// The share of frees that is nearly all.
const NEARLY_ALL: f64 = 0.95;
/// A twentieth quantile of the normal distribution on both sides.
const Z95: f64 = 1.96;

/// One step of the survival curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Age, seconds.
    pub age_s: f64,
    /// Share of blocks that live longer, with its 95% interval.
    pub share: Estimate,
}

/// The survival curve, a step at the end of each octave in which blocks were freed or watched.
pub fn curve(lifetimes: &Lifetimes) -> Vec<Step> {
    let mut at_risk = (lifetimes.all_freed() + lifetimes.all_live()) as f64;
    let (mut share, mut greenwood) = (1.0, 0.0);
    let mut steps = Vec::new();
    for octave in 0..OCTAVES {
        let count = |counts: &[u64]| counts.get(octave).copied().unwrap_or(0) as f64;
        let (freed, watched) = (count(&lifetimes.freed), count(&lifetimes.live));
        if at_risk <= 0.0 {
            break;
        }
        let exposed = at_risk - watched / 2.0;
        if exposed > 0.0 && freed > 0.0 {
            share *= (1.0 - freed / exposed).max(0.0);
            if exposed > freed {
                greenwood += freed / (exposed * (exposed - freed));
            }
        }
        at_risk -= freed + watched;
        if freed + watched > 0.0 {
            let error = Z95 * share * f64::sqrt(greenwood);
            steps.push(Step {
                age_s: lifetimes.to_s(octave),
                share: Estimate {
                    value: share,
                    low: Some((share - error).max(0.0)),
                    high: Some((share + error).min(1.0)),
                },
            });
        }
    }
    steps
}

/// Blocks that outlived what is normal at their site by far, and of which none was ever freed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivors {
    /// Age by which nearly all freed blocks had been freed.
    pub normal_s: f64,
    /// Survivors are older than this.
    pub older_than_s: f64,
    /// How many.
    pub blocks: u64,
    /// New ones per second, with a 95% interval.
    pub per_s: Estimate,
}

/// Survivors of a site that was watched for `span_s`; `None` if there are none, if some of their
/// age were freed after all, or if they all date from one time, as what a program sets up at its
/// start does.
pub fn survivors(lifetimes: &Lifetimes, span_s: f64) -> Option<Survivors> {
    if lifetimes.all_freed() < LEAST_FREED {
        return None;
    }
    let normal = lifetimes.freed_by(NEARLY_ALL)?;
    let first = normal + 1 + OCTAVES_BEYOND;
    let older_than_s = lifetimes.from_s(first);
    let blocks = Lifetimes::from(&lifetimes.live, first);
    let freed = Lifetimes::from(&lifetimes.freed, first);
    if blocks < LEAST_SURVIVORS || freed * 100 > blocks {
        return None;
    }
    // They must keep coming: about as many per second among the youngest as among all.
    let watched_s = span_s - older_than_s;
    if watched_s < older_than_s {
        return None;
    }
    let per_s = blocks as f64 / watched_s;
    let young = lifetimes.live.get(first).copied().unwrap_or(0) as f64;
    let expected = per_s * (lifetimes.to_s(first) - older_than_s).min(watched_s);
    if young < 5.0 || young < expected / 3.0 || young > expected * 3.0 {
        return None;
    }
    let error = Z95 * f64::sqrt(blocks as f64) / watched_s;
    Some(Survivors {
        normal_s: lifetimes.to_s(normal),
        older_than_s,
        blocks,
        per_s: Estimate {
            value: per_s,
            low: Some((per_s - error).max(0.0)),
            high: Some(per_s + error),
        },
    })
}

/// Adds to an opinion what lifetimes say: evidence to growth, and growth where the curve alone did
/// not show it. `block_bytes` is the mean size of a live block.
pub fn weigh(opinion: &mut Opinion, lifetimes: &Lifetimes, span_s: f64, block_bytes: f64) {
    let Some(found) = survivors(lifetimes, span_s) else {
        if opinion.verdict.is_finding() {
            opinion.why.extend(never_freed(lifetimes));
        }
        return;
    };
    let words = format!(
        "{} of its {} freed blocks lived at most {}, but {} live ones are older than {}, and of that age \
         {} was ever freed.",
        percent(lifetimes, found.normal_s),
        human::count(lifetimes.all_freed()),
        human::duration(found.normal_s),
        human::count(found.blocks),
        human::duration(found.older_than_s),
        match Lifetimes::from(
            &lifetimes.freed,
            first_octave(lifetimes, found.older_than_s)
        ) {
            0 => "none",
            _ => "hardly one",
        }
    );
    if !opinion.verdict.is_finding() {
        let rate = |per_s: f64| per_s * block_bytes;
        opinion.verdict = Verdict::Growing;
        if matches!(
            opinion.pattern,
            Pattern::Unclear | Pattern::Flat | Pattern::Plateau
        ) {
            opinion.pattern = Pattern::Linear;
        }
        opinion.rate = Some(Estimate {
            value: rate(found.per_s.value),
            low: found.per_s.low.map(rate),
            high: found.per_s.high.map(rate),
        });
        opinion.settle = None;
        opinion.why = vec![words, "They keep coming, at an even pace.".to_owned()];
    } else {
        opinion.why.push(words);
    }
}

fn first_octave(lifetimes: &Lifetimes, age_s: f64) -> usize {
    (0..OCTAVES)
        .find(|octave| lifetimes.from_s(*octave) >= age_s)
        .unwrap_or(OCTAVES)
}

/// The share of frees by an age, in words.
fn percent(lifetimes: &Lifetimes, age_s: f64) -> String {
    let upto = lifetimes
        .freed
        .iter()
        .enumerate()
        .filter(|(octave, _)| lifetimes.to_s(*octave) <= age_s)
        .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let share = 100.0 * upto as f64 / lifetimes.all_freed().max(1) as f64;
    match share {
        _ if upto == lifetimes.all_freed() => "All".to_owned(),
        99.95.. => "Over 99.9%".to_owned(),
        _ => format!("{share:.1}%"),
    }
}

/// For a site that grows: from which age on no block was ever freed.
fn never_freed(lifetimes: &Lifetimes) -> Option<String> {
    let last = lifetimes.freed.iter().rposition(|count| *count > 0)?;
    let survivors = Lifetimes::from(&lifetimes.live, last + 1);
    (survivors >= LEAST_SURVIVORS && survivors * 4 >= lifetimes.all_live()).then(|| {
        format!(
            "No block that lived longer than {} was ever freed; {} live ones did.",
            human::duration(lifetimes.to_s(last)),
            human::count(survivors)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lifetimes::Lifetimes;

    fn of(freed: &[(usize, u64)], live: &[(usize, u64)]) -> Lifetimes {
        let octaves = |counts: &[(usize, u64)]| {
            let mut octaves = [0; OCTAVES];
            for (octave, count) in counts {
                octaves[*octave] = *count;
            }
            octaves
        };
        Lifetimes {
            epoch_s: 1.0,
            freed: octaves(freed),
            live: octaves(live),
        }
    }

    #[test]
    fn survival_of_a_hand_made_table() {
        // 100 blocks. 50 die within a second, 20 are watched that long; of the 30 left 10 die within
        // the next second. 1 - 50/(100 - 10) = 4/9; 4/9 * (1 - 10/30) = 8/27.
        let steps = curve(&of(&[(0, 50), (1, 10)], &[(0, 20), (2, 20)]));
        let shares: Vec<(f64, f64)> = steps.iter().map(|it| (it.age_s, it.share.value)).collect();
        let expected = [(1.0, 4.0 / 9.0), (2.0, 8.0 / 27.0), (4.0, 8.0 / 27.0)];
        for ((age_s, share), (wanted_s, wanted)) in shares.iter().zip(expected) {
            assert!(
                *age_s == wanted_s && (share - wanted).abs() < 1e-12,
                "{shares:?}"
            );
        }
        assert_eq!(shares.len(), 3);
        // Greenwood: S² (50/(90*40) + 10/(30*20)).
        let error = 1.96 * (8.0 / 27.0) * f64::sqrt(50.0 / 3600.0 + 10.0 / 600.0);
        let low = steps[1].share.low.expect("a bound");
        assert!((low - (8.0 / 27.0 - error)).abs() < 1e-12, "{low}");
    }

    #[test]
    fn survival_agrees_with_the_distribution_that_made_the_blocks() {
        // Lives of 40 s on average, exponential; a block each millisecond for 200 s, watched at the end.
        let mut seed = 42_u64;
        let mut lifetimes = of(&[], &[]);
        for ms in 0..200_000_u64 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let uniform = ((seed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            let (age, life) = ((200_000 - ms) as f64 / 1e3, -40.0 * uniform.ln());
            let octave = leaktrack_recording::octave(age.min(life) as u32);
            let counts = if life < age {
                &mut lifetimes.freed
            } else {
                &mut lifetimes.live
            };
            counts[octave] += 1;
        }
        for step in curve(&lifetimes).iter().filter(|step| step.age_s <= 64.0) {
            let truth = (-step.age_s / 40.0).exp();
            assert!(
                (step.share.value - truth).abs() < 0.02,
                "{step:?}, not {truth}"
            );
        }
        assert_eq!(survivors(&lifetimes, 200.0), None);
    }

    #[test]
    fn survivors_that_keep_coming_are_a_leak() {
        // A hundred requests a second for an hour die within two seconds; one a second is kept.
        let live: Vec<(usize, u64)> = (0..12)
            .map(|octave| (octave, 1_u64 << octave.max(1) >> 1))
            .collect();
        let leaky = of(&[(0, 300_000), (1, 60_000)], &live);
        let found = survivors(&leaky, 3_600.0).expect("a leak");
        assert!(
            found.older_than_s <= 32.0 && found.blocks >= 2_000,
            "{found:?}"
        );
        let (low, high) = (
            found.per_s.low.expect("low"),
            found.per_s.high.expect("high"),
        );
        // 2,048 live over 2,048 s: the last octave is half empty after an hour.
        assert!(low > 0.4 && high < 0.7, "{found:?}");
        let mut opinion = Opinion::new(Verdict::Unclear, Pattern::Unclear, "Too noisy.");
        weigh(&mut opinion, &leaky, 3_600.0, 100.0);
        assert_eq!(
            (opinion.verdict, opinion.pattern),
            (Verdict::Growing, Pattern::Linear)
        );
        assert!(
            opinion.why[0].contains("none was ever freed"),
            "{:?}",
            opinion.why
        );
    }

    #[test]
    fn healthy_sites_have_no_survivors() {
        let spans = 3_600.0;
        for (name, lifetimes) in [
            // Set up at the start, with buffers that come and go beside it.
            ("start", of(&[(0, 300_000)], &[(12, 500)])),
            // A cache: what is old is freed now and then.
            (
                "cache",
                of(
                    &[(0, 300_000), (10, 800), (11, 300)],
                    &[(9, 200), (10, 300), (11, 400)],
                ),
            ),
            // Few frees say nothing of what is normal.
            ("few", of(&[(0, 50)], &[(8, 100), (9, 200), (10, 400)])),
            // Connections that are open now.
            ("young", of(&[(0, 1_000), (5, 10_000)], &[(3, 50), (5, 50)])),
            // They came for a while, and no more do.
            ("past", of(&[(0, 300_000)], &[(11, 500), (12, 900)])),
        ] {
            assert_eq!(survivors(&lifetimes, spans), None, "{name}");
        }
    }
}
