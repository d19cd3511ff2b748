//! What sampling takes away from a verdict: a curve of few samples rises and falls by chance, in steps
//! of a whole mean.

use crate::human;
use crate::model::Site;
use crate::model::sampling::SampleBasis;
use crate::verdict::{Frame, Opinion, Pattern, Verdict};

/// Live samples from which growth can be told from chance: ten are off by a third at most, in two
/// cases of three.
const ENOUGH_SAMPLES: f64 = 10.0;
/// The two-sided 95% quantile of the normal distribution.
const Z: f64 = 1.96;

/// Withholds a verdict of growth that too few samples carry, and widens the interval of a rate by
/// what sampling adds.
pub fn temper(opinion: &mut Opinion, site: &Site, basis: &SampleBasis, frames: &[Frame]) {
    let live_bytes = site.live_bytes();
    let (low, high) = basis.bytes(live_bytes);
    // Blocks larger than the mean are never missed, however few there are. What may be there besides makes
    // no growth less certain.
    let uncertain = live_bytes.saturating_sub(low) > live_bytes / 8;
    if opinion.verdict == Verdict::Growing && basis.samples < ENOUGH_SAMPLES && uncertain {
        opinion.verdict = Verdict::Unclear;
        opinion.pattern = Pattern::Unclear;
        (opinion.rate, opinion.limit_in_s) = (None, None);
        opinion.why = vec![format!(
            "It seems to grow, but rests on {} of its live blocks: it holds {} to {}.",
            human::plural(basis.samples.round().max(1.0) as u64, "sample"),
            human::bytes(low),
            human::bytes(high)
        )];
        opinion.settle = Some(
            "A smaller mean, such as mode=sample:64k, or mode=exact would settle it.".to_owned(),
        );
        return;
    }
    let span_s = site
        .parts
        .iter()
        .filter_map(|part| {
            let times = &frames.get(part.process)?.times_s;
            Some(times.last()? - times.first()?)
        })
        .fold(0.0, f64::max);
    if let Some(rate) = opinion.rate.as_mut().filter(|_| span_s > 0.0) {
        let by_sampling = Z * basis.bytes_variance.sqrt() / span_s;
        *rate = rate.widened(by_sampling);
    }
}
